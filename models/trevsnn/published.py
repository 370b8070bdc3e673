"""Checkpoints of the authors' code (github.com/BICLab/T-RevSNN), by the names and shapes in them alone."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from .network import Shape

_NAMES = (
    (r"stem\.down1\.0\.(.*)", r"stems.0.0.\1"),
    (r"stem\.down2\.0\.(.*)", r"stems.0.1.\1"),
    (r"stem\.(\d+)\.down\.0\.(.*)", r"stems.\1.0.\2"),
    (r"subnet(\d+)\.alpha(\d)", r"columns.\1.alphas.\2"),
    (r"subnet(\d+)\.level(\d)\.fusion\.(down|up)\.encode_conv\.(.*)", r"columns.\1.levels.\2.\3.convolution.\4"),
    (r"subnet(\d+)\.level(\d)\.fusion\.(down|up)\.encode_bn\.(.*)", r"columns.\1.levels.\2.\3.norm.\4"),
    (r"subnet(\d+)\.level(\d)\.blocks\.(\d)\.gamma", r"columns.\1.levels.\2.blocks.\3.gamma"),
    (r"subnet(\d+)\.level(\d)\.blocks\.(\d)\.dwconv1\.(.*)", r"columns.\1.levels.\2.blocks.\3.spread.\4"),
    (r"subnet(\d+)\.level(\d)\.blocks\.(\d)\.pwconv1\.(.*)", r"columns.\1.levels.\2.blocks.\3.expand.\4"),
    (r"subnet(\d+)\.level(\d)\.blocks\.(\d)\.pwconv2(?:_reuse)?\.(.*)", r"columns.\1.levels.\2.blocks.\3.tail.0.\4"),
    (r"subnet(\d+)\.level(\d)\.blocks\.(\d)\.dwconv2(?:_reuse)?\.(.*)", r"columns.\1.levels.\2.blocks.\3.tail.1.\4"),
    (r"cls_blocks\.(\d)\.classifier\.0\.(.*)", r"inner_heads.\1.first.\2"),
    (r"cls_blocks\.(?:\d\.)?classifier1\.0\.(.*)", r"head.first.\1"),
    (r"cls_blocks\.(?:\d\.)?classifier2\.(.*)", r"head.second.\1"),
)


def renamed(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The checkpoint under our names; tensors of no name of theirs keep it."""
    return {ours(name): tensor for name, tensor in tensors.items()}


def ours(name: str) -> str:
    """Our name of a tensor of theirs."""
    for pattern, made in _NAMES:
        found = re.fullmatch(pattern, name)
        if found:
            return found.expand(made)
    return name


def shape(tensors: Mapping[str, Tensor], original: Mapping[str, Tensor]) -> Shape:
    """The sizes of the network whose checkpoint, under our names, this is.

    Raises:
        KeyError: a tensor that every network has is missing.
    """
    del original
    numbers = {name.split(".")[1] for name in tensors if name.startswith("columns.")}
    stems = {name.split(".")[1] for name in tensors if name.startswith("stems.")}
    inner = {name.split(".")[1] for name in tensors if name.startswith("inner_heads.")}
    first = tensors["stems.0.0.weight"]
    channels = tuple(int(tensors[f"columns.0.alphas.{level}"].shape[1]) for level in range(4))
    events = len(stems) > 1
    return Shape(
        channels=(channels[0], channels[1], channels[2], channels[3]),
        columns=len(numbers),
        kernel=int(tensors["columns.0.levels.0.blocks.0.spread.weight"].shape[-1]),
        classes=int(tensors["head.first.weight"].shape[0]),
        stem=((3, 1),) if events else ((7, 2), (3, 2)),
        inputs=int(first.shape[1]),
        events=events,
        heads=len(inner) + 1,
    )
