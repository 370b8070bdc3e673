"""ORRC + SynA as a system: its published sizes, and small ones with each residual and each attention."""

from __future__ import annotations

from dataclasses import replace

from ..system import Preset, Recipe, System
from . import published
from .network import OrrcResNet, Shape

_DIGITS = Shape(widths=(24, 48, 72), steps=4, inputs=1, units=2, largest=16)
_FASHION = Shape(widths=(16, 32, 64), steps=4, inputs=1, units=2, largest=255)
_ON_DIGITS = Recipe(epochs=30, batch=32, learning_rate=4e-3, warm_up=1)
_WITH_ATTENTION = replace(_ON_DIGITS, epochs=40, augment=("shift", "turn"))
_ON_FASHION = Recipe(epochs=8, batch=128, learning_rate=4e-3, warm_up=0.5, augment=("flip",))
_EVENTS = Shape(steps=16, inputs=2, first=(3, 2), events=True, pooled_to=48, max_pool=True, where="first")

_PRESETS = (
    Preset("orrc-cifar10", "published: ResNet-18, CIFAR-10 in 16 steps, no attention", Shape()),
    Preset("orrc-cifar10-temporal", "the same with temporal attention", Shape(attention="temporal")),
    Preset("orrc-cifar10-channel", "the same with channel attention", Shape(attention="channel")),
    Preset("orrc-cifar10-spatial", "the same with spatial attention", Shape(attention="spatial")),
    Preset("orrc-mnist", "published: ResNet-18, MNIST and Fashion-MNIST in 16 steps", Shape(inputs=1)),
    Preset(
        "orrc-cifar10-dvs",
        "published: ResNet-18, CIFAR10-DVS in 16 steps, temporal attention",
        replace(_EVENTS, attention="temporal"),
    ),
    Preset(
        "orrc-gesture",
        "published: ResNet-18, DVS128 Gesture in 32 steps, temporal attention",
        Shape(
            steps=32, classes=11, inputs=2, first=(7, 2), events=True, max_pool=True, attention="temporal",
            where="joined",
        ),
    ),
    Preset("orrc-digits", "OR residual, 24-48-72 channels, digits of 8 x 8", _DIGITS, "digits", _ON_DIGITS),
    Preset("orrc-digits-add", "the same, spikes added", replace(_DIGITS, join="add"), "digits", _ON_DIGITS),
    *(
        Preset(
            f"orrc-digits-{kind}",
            f"OR residual with {kind} attention, gates open at the start, digits of 8 x 8",
            replace(_DIGITS, attention=kind, gate_bias=2.5 if kind != "temporal" else 1.5),
            "digits",
            _WITH_ATTENTION,
        )
        for kind in ("temporal", "channel", "spatial")
    ),
    Preset("orrc-fashion", "OR residual, 16-32-64 channels, Fashion-MNIST", _FASHION, "fashion-mnist", _ON_FASHION),
)  # fmt: skip

SYSTEM = System(
    name="orrc",
    title="ORRC + SynA",
    source="Shan et al., arXiv 2311.06570",
    shape=Shape,
    build=OrrcResNet,
    presets=_PRESETS,
    renamed=published.renamed,
    shape_of=published.shape,
)
