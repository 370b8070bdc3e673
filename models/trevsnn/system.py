"""T-RevSNN as a system: its published sizes, and small ones."""

from __future__ import annotations

from typing import Any

from ..system import Preset, Recipe, System, parameters
from . import published
from .network import Shape, TRevSNN

_PRESETS = (
    Preset("trevsnn-small", "published: 96-192-384-512, ImageNet", Shape((96, 192, 384, 512), 4, heads=4)),
    Preset("trevsnn-tiny", "published: 64-128-256-384, ImageNet", Shape((64, 128, 256, 384), 4, heads=4)),
    Preset(
        "trevsnn-dvs",
        "published: 32-64-128-256, CIFAR10-DVS in 8 steps",
        Shape((32, 64, 128, 256), 8, classes=10, stem=((3, 1),), inputs=2, events=True),
    ),
    Preset(
        "trevsnn-digits",
        "4 columns of 16-24-32-48 channels, digits of 8 x 8",
        Shape((16, 24, 32, 48), 4, kernel=3, classes=10, stem=((3, 1),), inputs=1, heads=4, largest=16),
        "digits",
        Recipe(
            epochs=40, loss="every-head", batch=32, learning_rate=4e-3, optimiser="adamw", weight_decay=0.01, warm_up=2,
            clip=1.0, augment=("shift", "turn"),
        ),
    ),
    Preset(
        "trevsnn-fashion",
        "4 columns of 8-16-32-64 channels, Fashion-MNIST of 28 x 28",
        Shape((8, 16, 32, 64), 4, kernel=5, classes=10, stem=((3, 1),), inputs=1, heads=4, largest=255),
        "fashion-mnist",
        Recipe(
            epochs=6, loss="every-head", batch=128, learning_rate=4e-3, optimiser="adamw", weight_decay=0.01,
            warm_up=0.5, clip=1.0, augment=("flip",),
        ),
    ),
)  # fmt: skip


def _deployed(module: Any) -> int:
    """Without heads that are for the loss alone; the two linear maps of the last one become one."""
    left_out = (*module.inner_heads, module.head.second)
    return parameters(module) - sum(parameters(part) for part in left_out)


SYSTEM = System(
    name="trevsnn",
    title="T-RevSNN",
    source="Hu et al., ICML 2024, arXiv 2405.16466",
    shape=Shape,
    build=TRevSNN,
    presets=_PRESETS,
    deployed=_deployed,
    renamed=published.renamed,
    shape_of=published.shape,
)
