"""Whether a file is its module on other samples, too: a proof on one sample cannot see what depends on the sample.

What a module does may depend on the values of the data (through numpy, say), on the number of samples, or on the number
of steps. So both are run again: on the same values in another order, with another number of samples; and over more
steps. What depends on the number of steps alone is kept, and the file says for how many steps it holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from neurodeploy.errors import InvalidInputError, NeurodeployError
from neurodeploy.lowering.interpreted import interpreted
from neurodeploy.network.arrays import Array
from neurodeploy.network.network import Network
from neurodeploy.nir_graph.conventions import resolve

from .returned import compare_returned

if TYPE_CHECKING:
    from torch import nn

    from neurodeploy.exporters.sequence.capture import Captured
    from neurodeploy.exporters.usage import Usage
    from neurodeploy.nir_graph.nir_file import NirFile

    from .compare import Pair

LONGER = 24
"""Steps of the longer run at least, where the network is small enough."""

WORK = 1 << 21
"""Neurons times steps times samples of the longer run at most; one step more than the sample where that is more."""


def otherwise(module: nn.Module, sample: Array, captured: Captured, file: NirFile, network: Network) -> Pair | None:
    """What forward returns against what the file gives, on other values and numbers of samples: the first pair that
    differs, or the last; None where the module takes none of them."""
    last = None
    for change in (_livelier, _sparser):
        for samples in _numbers(captured.usage):
            other = change(_several(sample, captured.usage, samples))
            drawn = replace(captured, usage=replace(captured.usage, samples=samples))
            pair = _compared(module, other, drawn, file, network)
            if pair is not None:
                last = pair
                break
        if last is not None and not last.equal:
            break
    return last


def _livelier(sample: Array) -> Array:
    """The values in another order, of three the largest each."""
    rng = np.random.default_rng(0)
    orders = [rng.permutation(sample.reshape(-1)) for _ in range(3)]
    largest: Array = np.maximum.reduce(orders).reshape(sample.shape)
    return largest


def _sparser(sample: Array) -> Array:
    """The values in another order, half of them 0, the others smaller where they are no spikes; nothing at the end."""
    rng = np.random.default_rng(1)
    drawn = rng.permutation(sample.reshape(-1)).reshape(sample.shape) * (rng.random(sample.shape) < 0.5)
    if sample.dtype.kind == "f" and not ((sample == 0) | (sample == 1)).all():
        drawn = drawn * 0.5
    drawn[-(len(drawn) // 3) or len(drawn) :] = 0
    return drawn.astype(sample.dtype)


def longer(
    module: nn.Module, sample: Array, captured: Captured, file: NirFile, network: Network
) -> tuple[int, Pair] | None:
    """The same over more steps, and how many; None where the module does not take them."""
    usage = captured.usage
    if usage.axis in ("none", "flat") or captured.encoded:
        return None
    size = sum(p.size for p in network.populations)
    samples = min(usage.samples, 2)
    steps = max(2 * usage.steps + 1, LONGER)
    steps = steps if size * steps * samples <= WORK else usage.steps + 1
    try:
        if captured.answer is not None:
            captured.answer.check_steps(steps)
    except InvalidInputError:  # its rule says by itself how many steps it holds for
        return None
    first = usage.time_first(_livelier(_several(sample, usage, samples)))
    for count in dict.fromkeys((samples, usage.samples)):
        part = first[np.arange(steps) % len(first)][:, np.arange(count) % samples]
        drawn = replace(usage, steps=steps, samples=count)
        pair = _compared(module, drawn.as_given(part), replace(captured, usage=drawn), file, network)
        if pair is not None:
            return steps, pair
    return None


def _numbers(usage: Usage) -> Iterator[int]:
    """Numbers of samples to try: another one, then that of the sample."""
    if usage.axis != "flat":
        yield 3 if usage.samples == 2 else 2
    yield usage.samples


def _several(sample: Array, usage: Usage, samples: int) -> Array:
    """So many samples of a batch, again from the first where there are fewer."""
    if usage.axis == "flat":
        return sample
    axis = 1 if usage.axis in (0, "step") else 0
    taken: Array = np.take(sample, np.arange(samples) % sample.shape[axis], axis=axis)
    return taken


def _compared(module: nn.Module, sample: Array, captured: Captured, file: NirFile, network: Network) -> Pair | None:
    import torch

    from neurodeploy.exporters import framework
    from neurodeploy.exporters.sequence.capture import network_input
    from neurodeploy.exporters.user_run import run_user

    try:
        run = run_user(module, sample, captured.usage, torch.float64, observe=False)
        x = network_input(module, sample, captured, framework.of_any(module))
    except NeurodeployError:  # of this many samples or steps
        return None
    (source,) = network.inputs
    if captured.whole and len(x) != captured.recorded_steps:
        return None
    recording = interpreted(file, resolve(file), network)({source.name: x})
    if len(run.returned) != len(captured.kept) + len(captured.left_out):
        return None
    return compare_returned(run, recording, network, captured.kept, captured.silent)
