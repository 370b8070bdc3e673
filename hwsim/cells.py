"""Neurons packed for the kernels: one class a model, each able to advance a block of samples by one step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from neurodeploy.connectivity import Array
from neurodeploy.network import Arithmetic, Population
from neurodeploy.neurons import Lif, Product, Relu, SigmaDelta

from . import kernels
from .flat import TIMES, reset_rule


@dataclass(frozen=True, eq=False)
class State:
    """State of a population for a block of samples, all ``[batch, neurons]``, changed in place.

    Args:
        current: what has arrived in this step; cleared by the step.
        second: what has arrived at port 1, for neurons that have one.
        sent: what this step sends (0 for nothing).
        total: sum of all that was sent, for neurons that keep it.
        wait: steps for which a neuron stays refractory, for those that do.
        raised: what the threshold is raised by, for neurons that adapt.
        flags: which neurons were not at rest, and which sent something (`kernels.ACTIVE`, `kernels.FIRED`).
    """

    current: Array
    second: Array
    u: Array
    v: Array
    sent: Array
    total: Array
    wait: Array
    raised: Array
    flags: Array


class Cells(Protocol):
    """Packed neurons of one population."""

    @property
    def wide(self) -> bool:
        """Whether ``u`` may leave the 32 bits: a single wrap does not bring a very large input back into range."""

    def start(self, samples: int) -> State:
        """The state before the first step."""

    def step(self, state: State) -> None:
        """Advance by one step."""


def pack(population: Population, arithmetic: Arithmetic, wide: bool, taught: bool = False) -> Cells:
    """Pack the neurons of a population; ``wide`` as in `Cells`, ``taught`` where a third factor arrives at port 1."""
    neuron, integer = population.neuron, arithmetic == "loihi"
    number: np.dtype[Any] = np.dtype(np.int64) if integer else np.dtype(np.float64)
    if isinstance(neuron, SigmaDelta):
        relu = int(neuron.activation == "relu")
        return _SigmaDeltaCells(_own(neuron.bias, number), _own(neuron.threshold, number), relu, neuron.send_shift)
    if isinstance(neuron, Relu):
        return _ReluCells(_own(neuron.bias, number), _own(neuron.threshold, number))
    if isinstance(neuron, Product):
        return _ProductCells(_own(neuron.threshold, number), neuron.shift)
    assert isinstance(neuron, Lif)
    state = np.dtype(np.int32) if integer else np.dtype(np.float64)
    lowest = np.full(population.size, np.iinfo(np.int32).min if integer else -np.inf)
    floor, lower = (lowest if value is None else value for value in (neuron.floor, neuron.lower))
    parameters = (neuron.du, neuron.dv, neuron.bias, neuron.threshold, neuron.reset_to, floor, lower)
    none = np.zeros(0, number)
    return _LifCells(
        tuple(_own(value, state) for value in parameters),
        (
            reset_rule(neuron),
            TIMES[neuron.reset_time],
            int(neuron.comparison == ">="),
            int(neuron.spiking),
            neuron.max_spikes,
            0,
        ),
        neuron.initial.astype(state),
        wide and integer,
        integer,
        (
            np.zeros(0, np.int32) if neuron.refractory is None else _own(neuron.refractory, np.dtype(np.int32)),
            none if neuron.threshold_decay is None else _own(neuron.threshold_decay, number),
            none if neuron.threshold_jump is None else _own(neuron.threshold_jump, number),
        ),
        neuron.lower is not None,
        taught,
    )


def _own(values: Array, number: np.dtype[Any]) -> Array:
    return np.ascontiguousarray(values, dtype=number)


@dataclass(frozen=True, eq=False)
class _LifCells:
    parameters: tuple[Array, ...]
    options: tuple[int, int, int, int, int, int]
    initial: Array
    wide: bool
    integer: bool
    slow: tuple[Array, Array, Array]
    signed: bool
    taught: bool

    def start(self, samples: int) -> State:
        shape = (samples, len(self.initial))
        number = np.dtype(np.int64) if self.integer else np.dtype(np.float64)
        sent: np.dtype[Any] = np.dtype(np.uint8 if self.options[4] == 1 and not self.signed else np.int64)
        return State(
            current=np.zeros(shape, number),
            second=np.zeros(shape if self.taught else (0, 0), number),
            u=np.zeros(shape, np.int64 if self.wide else self.initial.dtype),
            v=np.tile(self.initial, (samples, 1)),
            sent=np.zeros(shape, sent),
            total=np.zeros((0, 0)),
            wait=np.zeros((samples, len(self.slow[0])), np.int32),
            raised=np.zeros((samples, len(self.slow[1])), number),
            flags=np.zeros(shape, np.uint8),
        )

    def step(self, state: State) -> None:
        s = state
        update: Callable[..., None] = kernels.update_integer if self.integer else kernels.update_float
        update(*self.parameters, self.options, s.current, s.u, s.v, s.sent, s.flags, *self.slow, s.wait, s.raised)


def _blank(samples: int, neurons: int, number: np.dtype[Any], ports: int = 1) -> State:
    arrays = [np.zeros((samples, neurons), np.uint8 if n == 8 else number) for n in range(9)]
    if ports == 1:
        arrays[1] = np.zeros((0, 0), number)
    return State(*arrays)


@dataclass(frozen=True, eq=False)
class _SigmaDeltaCells:
    bias: Array
    threshold: Array
    relu: int
    shift: int
    wide: bool = False

    def start(self, samples: int) -> State:
        return _blank(samples, len(self.bias), self.bias.dtype)

    def step(self, state: State) -> None:
        s = state
        if self.bias.dtype.kind == "f":
            kernels.update_sigma_delta(
                self.bias, self.threshold, self.relu, s.current, s.u, s.v, s.total, s.sent, s.flags
            )
        else:
            kernels.update_sigma_delta_integer(
                self.bias, self.threshold, self.relu, self.shift, s.current, s.u, s.v, s.total, s.sent, s.flags
            )


@dataclass(frozen=True, eq=False)
class _ReluCells:
    bias: Array
    threshold: Array
    wide: bool = False

    def start(self, samples: int) -> State:
        return _blank(samples, len(self.bias), self.bias.dtype)

    def step(self, state: State) -> None:
        held = int(self.bias.dtype.kind != "f")
        kernels.update_relu(self.bias, self.threshold, held, state.current, state.sent, state.flags)


@dataclass(frozen=True, eq=False)
class _ProductCells:
    threshold: Array
    shift: int
    wide: bool = False

    def start(self, samples: int) -> State:
        return _blank(samples, len(self.threshold), self.threshold.dtype, ports=2)

    def step(self, state: State) -> None:
        s = state
        if self.threshold.dtype.kind == "f":
            kernels.update_product_float(self.threshold, s.current, s.second, s.sent, s.flags)
        else:
            kernels.update_product(self.threshold, self.shift, s.current, s.second, s.sent, s.flags)
