"""Running the torch module itself and recording every neuron layer: the first stage of a verification."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from neurodeploy.errors import InvalidInputError
from neurodeploy.network.arrays import Array

from . import framework
from .torch_step.capture import checked_sites, copied, node_name, prepared, states_of, swapped
from .torch_step.wide import in_float64


@dataclass(frozen=True, eq=False)
class Trace:
    """What every neuron layer did, keyed by the name of its NIR node; arrays are ``[time, batch, neurons]``.

    Args:
        outputs: spikes (0 or 1), or the membrane potential of a layer that does not spike.
        potentials: membrane potential after the step (after the reset of a spike).
    """

    outputs: Mapping[str, Array]
    potentials: Mapping[str, Array]


def run_torch(module: nn.Module, inputs: Array, dtype: torch.dtype = torch.float64) -> Trace:
    """Run a module over time, each neuron keeping its own state, as the exporter understands it.

    Args:
        module: called as ``module(input)`` in every step; it is not changed.
        inputs: ``[time, batch, *sample shape]``.
        dtype: of the arithmetic; float64 leaves rounding out of a comparison.

    Raises:
        UnsupportedError: a neuron that cannot be exported.
        InvalidInputError: the module does not take such an input.
    """
    kind = framework.of(module)
    found = checked_sites(module, kind)
    body = prepared(module, kind).to(dtype)
    outputs: dict[str, list[Array]] = {}
    potentials: dict[str, list[Array]] = {}

    def noting(name: str) -> Callable[[Tensor, Tensor], None]:
        def note(output: Tensor, potential: Tensor) -> None:
            outputs.setdefault(name, []).append(_flat(output))
            potentials.setdefault(name, []).append(_flat(potential))

        return note

    for path in found:
        part = copied(body.get_submodule(path))  # one of its own for each path, also of a shared module
        if dtype == torch.float64:
            kind.widen(part)
        kind.record(part, noting(node_name(path)))
        body = swapped(body, path, part)
    with torch.no_grad(), in_float64() if dtype == torch.float64 else nullcontext():
        for step in torch.from_numpy(np.ascontiguousarray(inputs)).to(dtype):
            try:
                body(step, *states_of(body))
            except Exception as error:  # user code: anything may come
                said = str(error).split("\n")[0]
                raise InvalidInputError(
                    "the module does not take this input",
                    found=f"a step of shape {list(step.shape)} gave {type(error).__name__}: {said}",
                    allowed="[time, batch, *sample shape]",
                ) from error
    return Trace(
        {name: np.stack(values) for name, values in outputs.items()},
        {name: np.stack(values) for name, values in potentials.items()},
    )


def _flat(value: Tensor) -> Array:
    array: Array = value.detach().reshape(len(value), -1).numpy().copy()
    return array
