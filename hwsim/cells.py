"""Neurons packed for the kernels: one class a model, each able to advance a block of samples by one step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from neurodeploy.connectivity import Array
from neurodeploy.network import Arithmetic, Population
from neurodeploy.neurons import Lif, SigmaDelta

from . import kernels

_RESETS = {"hard": kernels.HARD, "subtract": kernels.SUBTRACT, "none": kernels.NONE}
_TIMES = {"now": kernels.NOW, "next": kernels.NEXT, "gate": kernels.GATE, "once": kernels.ONCE}


@dataclass(frozen=True, eq=False)
class State:
    """State of a population for a block of samples, all ``[batch, neurons]``, changed in place.

    Args:
        current: what has arrived in this step; cleared by the step.
        sent: what this step sends (0 for nothing).
        total: sum of all that was sent, for neurons that keep it.
        wait: steps for which a neuron stays refractory, for those that do.
        raised: what the threshold is raised by, for neurons that adapt.
    """

    current: Array
    u: Array
    v: Array
    sent: Array
    total: Array
    wait: Array
    raised: Array


class Cells(Protocol):
    """Packed neurons of one population."""

    @property
    def wide(self) -> bool:
        """Whether ``u`` may leave the 32 bits: a single wrap does not bring a very large input back into range."""

    def start(self, samples: int) -> State:
        """The state before the first step."""

    def step(self, state: State, slot: Array, active: Array) -> None:
        """Advance by one step; count the neurons that were not at rest in ``active`` (``[batch, core slots]``)."""


def pack(population: Population, arithmetic: Arithmetic, wide: bool) -> Cells:
    """Pack the neurons of a population; ``wide`` as in `Cells`."""
    neuron = population.neuron
    if isinstance(neuron, SigmaDelta):
        return _SigmaDeltaCells(
            np.ascontiguousarray(neuron.bias, dtype=np.float64),
            np.ascontiguousarray(neuron.threshold, dtype=np.float64),
            int(neuron.activation == "relu"),
        )
    assert isinstance(neuron, Lif)
    integer = arithmetic == "loihi"
    state = np.dtype(np.int32) if integer else np.dtype(np.float64)
    lowest = np.iinfo(np.int32).min if integer else -np.inf
    floor = np.full(population.size, lowest) if neuron.floor is None else neuron.floor
    parameters = (neuron.du, neuron.dv, neuron.bias, neuron.threshold, neuron.reset_to, floor)
    return _LifCells(
        tuple(np.ascontiguousarray(value, dtype=state) for value in parameters),
        (
            _RESETS[neuron.reset],
            _TIMES[neuron.reset_time],
            int(neuron.comparison == ">="),
            int(neuron.spiking),
            neuron.max_spikes,
        ),
        neuron.initial.astype(state),
        wide and integer,
        integer,
        (
            np.zeros(0, np.int32) if neuron.refractory is None else neuron.refractory,
            np.zeros(0) if neuron.threshold_decay is None else neuron.threshold_decay,
            np.zeros(0) if neuron.threshold_jump is None else neuron.threshold_jump,
        ),
    )


@dataclass(frozen=True, eq=False)
class _LifCells:
    parameters: tuple[Array, ...]
    options: tuple[int, int, int, int, int]
    initial: Array
    wide: bool
    integer: bool
    slow: tuple[Array, Array, Array]

    def start(self, samples: int) -> State:
        shape = (samples, len(self.initial))
        sent: np.dtype[Any] = np.dtype(np.uint8 if self.options[-1] == 1 else np.int64)
        return State(
            current=np.zeros(shape, np.int64 if self.integer else np.float64),
            u=np.zeros(shape, np.int64 if self.wide else self.initial.dtype),
            v=np.tile(self.initial, (samples, 1)),
            sent=np.zeros(shape, sent),
            total=np.zeros((0, 0)),
            wait=np.zeros((samples, len(self.slow[0])), np.int32),
            raised=np.zeros((samples, len(self.slow[1]))),
        )

    def step(self, state: State, slot: Array, active: Array) -> None:
        p, s = self.parameters, state
        if self.integer:
            kernels.update_integer(
                p[0], p[1], p[2], p[3], p[4], p[5], self.options, s.current, s.u, s.v, s.sent, slot, active
            )
        else:
            kernels.update_float(
                p[0], p[1], p[2], p[3], p[4], p[5], self.options, s.current, s.u, s.v, s.sent, slot, active,
                *self.slow, s.wait, s.raised,
            )  # fmt: skip


@dataclass(frozen=True, eq=False)
class _SigmaDeltaCells:
    bias: Array
    threshold: Array
    relu: int
    wide: bool = False

    def start(self, samples: int) -> State:
        return State(*(np.zeros((samples, len(self.bias))) for _ in range(7)))

    def step(self, state: State, slot: Array, active: Array) -> None:
        kernels.update_sigma_delta(
            self.bias, self.threshold, self.relu, state.current, state.u, state.v, state.total, state.sent, slot, active
        )
