"""Ordinary networks that were trained on the digits, to be converted, and networks as lava-dl writes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def ann(folder: Path) -> None:
    """Of ann_model.py's `net`: ann.pt; train.npy, test.npy and labels.npy."""
    import torch

    from .setups import TEST, digits, loaded, trained

    images, classes = digits()
    torch.manual_seed(0)
    weights = trained(loaded(folder / "ann_model.py").net, images[:1500], lambda scores: scores, epochs=20, rate=2e-3)
    torch.save(weights, folder / "ann.pt")
    np.save(folder / "train.npy", images[:300].astype(np.float32))
    np.save(folder / "test.npy", images[-TEST:].astype(np.float32))
    np.save(folder / "labels.npy", classes[-TEST:])


def digits_ann(folder: Path) -> None:
    """Of `neurodeploy.models.digits_ann`: ann.safetensors; cal.npy, test.npy and labels.npy."""
    import torch
    from safetensors.torch import save_file

    from neurodeploy.models import digits_ann

    from .setups import TEST, digits, trained

    images, classes = digits()
    torch.manual_seed(0)
    weights = trained(
        digits_ann.build(), images[:1500].reshape(-1, 1, 8, 8), lambda scores: scores, epochs=8, rate=4e-3
    )
    save_file(weights, folder / "ann.safetensors")
    for name, part in (("cal", slice(300)), ("test", slice(-TEST, None))):
        np.save(folder / f"{name}.npy", digits_ann.inputs(16 * images[part].reshape(-1, 8, 8)))
    np.save(folder / "labels.npy", classes[-TEST:])


def lava_dl(folder: Path) -> None:
    """small.net, as lava-dl writes it, and spikes for it: x.npy."""
    from tests.lowering.test_lava_dl import layers, write

    write(folder / "small.net", layers())
    x = np.random.default_rng(0).random((16, 8, 2, 6, 7)) < 0.3
    np.save(folder / "x.npy", x.astype(np.uint8))
