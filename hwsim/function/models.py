"""The rows of neurons in the flat tables: what each model writes there, and the pools that its parameters go to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from neurodeploy.network.arrays import Array
from neurodeploy.network.dispatch import dispatch
from neurodeploy.network.network import Population
from neurodeploy.network.neurons import Lif, Neuron, Product, Relu, SigmaDelta

from . import layout, neuron_kernels
from .called import Kernel

RESETS = {"hard": neuron_kernels.HARD, "subtract": neuron_kernels.SUBTRACT, "none": neuron_kernels.NONE}
TIMES = {
    "now": neuron_kernels.NOW,
    "next": neuron_kernels.NEXT,
    "gate": neuron_kernels.GATE,
    "once": neuron_kernels.ONCE,
}
PARAMETERS = ("du", "dv", "bias", "threshold", "reset_to", "floor", "lower")
BIAS = PARAMETERS.index("bias")


class NeuronPools:
    """Parameters of all neurons while the tables are filled.

    Args:
        integer: whether in Loihi's integers.
        number: of parameters; currents and messages are wider unless all are plain.
        plain: whether all messages are plain spikes and no sum can leave 32 bits.
    """

    def __init__(self, integer: bool, number: np.dtype[Any], plain: bool) -> None:
        self.integer, self.number = integer, number
        self.current = np.dtype(np.int64) if integer and not plain else number
        self.common: list[tuple[Array, ...]] = []
        self.initial: list[Array] = []
        self.slow: tuple[list[Array], ...] = ([], [], [])
        self.extra: list[Array] = []
        self.options: list[int] = []
        self.memory = 0

    def add(self, p: Array, scalars: Array, population: Population, order: Array | None, wide: bool) -> None:
        """Write the row ``p`` of a population and keep its parameters, in the tables' order of neurons.

        Args:
            scalars: written for common neurons; see `_lif`.
            wide: whether its currents can leave 32 bits.

        Raises:
            UnsupportedError: hwsim does not know its model.
        """
        neuron = population.neuron
        p[layout.SLOW_R] = p[layout.SLOW_A] = -1
        p[layout.MEMORY], p[layout.OPTIONS] = self.memory, len(self.options)
        model = dispatch(MODELS, population, "hwsim")
        lowest = np.full(population.size, np.iinfo(np.int32).min if self.integer else -np.inf, self.number)
        zero = np.zeros(population.size, self.number)
        columns = []
        for name in PARAMETERS:
            value = getattr(neuron, name, None)
            default = lowest if name in ("floor", "lower") else zero
            columns.append(self._ordered(value if isinstance(value, np.ndarray) else default, order))
        self.common.append(tuple(columns))
        self.initial.append(self._ordered(neuron.first_potential(population.size), order))
        if isinstance(model, Kernel):
            self._called(p, population, order, model)
        else:
            model(self, p, scalars, neuron, _Place(order, wide, population.size))

    def _called(self, p: Array, population: Population, order: Array | None, kernel: Kernel) -> None:
        p[layout.KIND] = layout.CALLED
        p[layout.KERNEL] = kernel.address(population, self.current, self.number)
        p[layout.EXTRA] = sum(map(len, self.extra))
        options = kernel.options(population.neuron)
        p[layout.OPTION_COUNT] = len(options)
        self.options += options
        for name in kernel.parameters:
            value = np.asarray(getattr(population.neuron, name), self.current)
            self.extra.append(value if order is None else value[order])
        self.memory += kernel.memory * population.size

    def _ordered(self, values: Array, order: Array | None) -> Array:
        values = np.ascontiguousarray(values, dtype=self.number)
        return values if order is None else values[order]

    def columns(self, uncommon: bool) -> tuple[Array, ...]:
        """`PARAMETERS`, and the pools of called models; common neurons need their bias only."""
        kept = [
            joined([row[k] for row in self.common if uncommon or k == BIAS], self.number)
            for k in range(len(PARAMETERS))
        ]
        return (*kept, joined(self.extra, self.current), np.array(self.options, np.int64))


@dataclass(frozen=True, eq=False)
class _Place:
    """Of a population: its order in the tables, whether its currents can leave 32 bits, and its size."""

    order: Array | None
    wide: bool
    size: int


def joined(parts: Sequence[Array], number: np.dtype[Any]) -> Array:
    """One array of all parts."""
    return np.concatenate([np.zeros(0, number), *(np.asarray(part, number) for part in parts)])


def _lif(pools: NeuronPools, p: Array, scalars: Array, neuron: Lif, place: _Place) -> None:
    """Options of a leaky integrator, its slow variables, and the scalars of a common one."""
    p[layout.KIND] = layout.LIF
    p[layout.RULE] = neuron_kernels.HARD_ALL if neuron.reset_current else RESETS[neuron.reset]
    p[layout.TIME] = TIMES[neuron.reset_time]
    p[layout.EQUAL] = int(neuron.comparison == ">=")
    p[layout.MOST] = neuron.max_spikes
    p[layout.BIASED] = int(np.asarray(neuron.bias).any())
    p[layout.SHIFT] = neuron.send_shift
    for pool, values in zip(
        pools.slow, (neuron.refractory, neuron.threshold_decay, neuron.threshold_jump), strict=True
    ):
        if values is not None:
            if pool is not pools.slow[2]:
                p[layout.SLOW_R if pool is pools.slow[0] else layout.SLOW_A] = sum(map(len, pool))
            pool.append(values if place.order is None else values[place.order])
    if not place.wide and _common(neuron):
        found = _integer_scalars(neuron) if pools.integer else _float_scalars(neuron)
        if found:
            scalars[:] = found
            p[layout.FAST] = 1


def _common(neuron: Lif) -> bool:
    """Whether all neurons agree in what the blocks of `advance` take as one number, and want nothing else."""
    parameters = (neuron.du, neuron.dv, neuron.threshold, neuron.reset_to)
    return (
        ((neuron.reset_time == "now" and neuron.reset in ("hard", "subtract")) or not neuron.spiking)
        and neuron.max_spikes == 1
        and neuron.floor is None
        and neuron.lower is None
        and not neuron.slow
        and not neuron.reset_current
        and all(len(value) and (value == value[0]).all() for value in parameters)
    )


def _integer_scalars(neuron: Lif) -> tuple[float, ...]:
    """What is kept of u and v, the level above which it spikes, the reset, whether it is hard, the threshold."""
    du, dv, threshold, reset_to = (int(value[0]) for value in (neuron.du, neuron.dv, neuron.threshold, neuron.reset_to))
    above = int(threshold) - int(neuron.comparison == ">=") if neuron.spiking else np.iinfo(np.int32).max
    bounded = np.abs(neuron.bias.astype(np.int64)).max() < 1 << 28 and above >= 0 and threshold < 1 << 28
    bounded &= np.abs(neuron.initial.astype(np.int64)).max() < 1 << 28
    if not bounded or abs(int(reset_to)) >= 1 << 23:
        return ()
    return (4095 - du) / 4096, (4096 - dv) / 4096, above, reset_to, neuron.reset == "hard", threshold


def _float_scalars(neuron: Lif) -> tuple[float, ...]:
    du, dv, threshold, reset_to = (value[0] for value in (neuron.du, neuron.dv, neuron.threshold, neuron.reset_to))
    if neuron.spiking and threshold <= 0:
        return ()
    equal, hard = neuron.comparison == ">=", neuron.reset == "hard"
    return 1 - du, 1 - dv, equal, reset_to, hard, threshold if neuron.spiking else np.inf


def _sigma_delta(pools: NeuronPools, p: Array, scalars: Array, neuron: SigmaDelta, place: _Place) -> None:
    del scalars
    rules = neuron_kernels.RECTIFIES * (neuron.activation == "relu") + neuron_kernels.REPLACES * (not neuron.accumulate)
    p[layout.KIND], p[layout.INNER] = layout.SIGMA_DELTA, rules + neuron_kernels.LOSES * (neuron.remainder == "lost")
    p[layout.SHIFT] = neuron.send_shift
    pools.memory += place.size


def _relu(pools: NeuronPools, p: Array, scalars: Array, neuron: Relu, place: _Place) -> None:
    del pools, scalars, neuron, place
    p[layout.KIND] = layout.RELU


def _product(pools: NeuronPools, p: Array, scalars: Array, neuron: Product, place: _Place) -> None:
    del pools, scalars, place
    p[layout.KIND], p[layout.SHIFT] = layout.PRODUCT, neuron.shift


Model = Callable[[NeuronPools, Array, Array, Any, _Place], None] | Kernel
MODELS: Mapping[type[Neuron], Model] = {Lif: _lif, SigmaDelta: _sigma_delta, Relu: _relu, Product: _product}
"""What writes the row of each model; a `Kernel` where the model's step is a function of its own."""
