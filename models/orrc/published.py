"""Checkpoints of the authors' code (github.com/Ym-Shan/ORRC-SynA-natural-pruning), by the names and shapes in them
alone: layers numbered through in blocks, attention among them, so that a number tells where attention stands."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from torch import Tensor

from .layers import Kind
from .network import Shape, Where

_KINDS: Mapping[str, Kind] = {"ta": "temporal", "ca": "channel", "sa": "spatial"}


def renamed(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The checkpoint under our names; tensors of no name of theirs keep it."""
    convolutions = _convolutions(tensors)
    found = {}
    for name, tensor in tensors.items():
        block, *rest = name.split(".")
        if block == "end_block":
            made = f"classifier.{rest[-1]}"
        elif block in convolutions and rest[0].isdigit():
            made = f"{_place(block, _before(convolutions[block], int(rest[0])))}.{_part(rest, convolutions[block])}"
        else:
            made = name
        # Their linear layers of attention are convolutions of 1 x 1 x 1.
        found[made] = tensor.flatten(1) if ".f." in made and tensor.ndim == 5 else tensor
    return found


def _convolutions(tensors: Iterable[str]) -> dict[str, list[int]]:
    """Numbers of the convolutions of each block: a weight that a normalisation with statistics follows."""
    found: dict[str, list[int]] = {}
    for name in tensors:
        norm = re.fullmatch(r"(first_block|block1|block\d_\d|sample\d)\.(\d+)\.running_mean", name)
        if norm is not None:
            found.setdefault(norm[1], []).append(int(norm[2]) - 1)
    return {block: sorted(numbers) for block, numbers in found.items()}


def _before(convolutions: list[int], number: int) -> int:
    """Which unit of its block a layer is in."""
    return max(i for i, first in enumerate(convolutions) if first <= number)


def _place(block: str, unit: int) -> str:
    if block == "first_block":
        return "first"
    if block == "block1":
        return f"stage1.{unit}"
    stage = re.fullmatch(r"(?:block|sample)(\d)(?:_(\d))?", block)
    assert stage is not None
    if block.startswith("sample"):
        return f"stages.{int(stage[1]) - 1}.shortcut"
    return f"stages.{int(stage[1]) - 2}.{'backbone' if stage[2] == '1' else 'chain'}.{unit}"


def _part(rest: list[str], convolutions: list[int]) -> str:
    number, *within = rest
    kind = next((k for k in within if k in _KINDS), None)
    if kind is not None:
        inner = within[-2:] if kind != "sa" else within[-1:]
        return ".".join(["attention.logits.f", *inner])
    return ".".join(["convolution" if int(number) in convolutions else "norm", *within])


def shape(tensors: Mapping[str, Tensor], original: Mapping[str, Tensor]) -> Shape:
    """The sizes of the network of this checkpoint under our names; ``original``: under theirs.

    Event data are known by two channels of input: with a first kernel of 3 the variant for CIFAR10-DVS, with 7 the one
    for DVS128 Gesture.

    Raises:
        KeyError: a tensor that every network has is missing.
    """
    kinds = {k for name in original for k in _KINDS if f".{k}." in name}
    first = tensors["first.convolution.weight"]
    widths = [int(first.shape[0])]
    widths += [int(tensors[f"stages.{i}.shortcut.convolution.weight"].shape[0]) for i in range(3)]
    attention: Kind = _KINDS[min(kinds)] if kinds else "none"
    hidden = tensors.get("stages.0.shortcut.attention.logits.f.0.weight")
    spatial = tensors.get("stages.0.shortcut.attention.logits.f.weight")
    events, gesture = int(first.shape[1]) == 2, int(first.shape[-1]) == 7
    steps = 32 if gesture else 16
    if attention == "temporal" and hidden is not None:
        steps = int(hidden.shape[1])
    return Shape(
        widths=tuple(widths),
        steps=steps,
        classes=int(tensors["classifier.weight"].shape[0]),
        inputs=int(first.shape[1]),
        first=(int(first.shape[-1]), 2 if events else 1),
        events=events,
        pooled_to=48 if events and not gesture else None,
        max_pool=events,
        attention=attention,
        where=_where(tensors),
        reduction=steps // int(hidden.shape[0]) if attention == "temporal" and hidden is not None else 4,
        kernel=int(spatial.shape[-1]) if spatial is not None else 3,
    )


def _where(tensors: Mapping[str, Tensor]) -> Where:
    if any(name.startswith("stage1.0.attention") for name in tensors):
        return "first"
    attended = any(name.startswith("stages.0.chain.1.attention") for name in tensors)
    return "last" if attended or not any("attention" in name for name in tensors) else "joined"
