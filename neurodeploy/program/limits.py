"""What a chip and each of its cores can hold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neurodeploy.network.arrays import Array
from neurodeploy.network.join import PORT
from neurodeploy.network.network import Network
from neurodeploy.network.neurons import Neuron
from neurodeploy.network.registers import LOIHI, Registers


@dataclass(frozen=True)
class Mesh:
    """How cores are numbered on the chip; see `neurodeploy.hwsim.chips.arch`."""

    columns: int
    cores_per_tile: int


@dataclass(frozen=True)
class Limits:
    """Limits of one chip. None means that the limit is not known.

    Args:
        chip: name of the architecture.
        cores: on the chip.
        neurons, synapse_bytes, axons_in, axons_out: per core.
        thresholds: different thresholds that the spiking neurons of a core may have.
        delay: longest delay of a synapse, in steps, beside the one step of every hop.
        payload_bits: of the number that a spike may carry; 0 for none.
        mesh: where its cores are.
        registers: widths of the integers that it holds.
        resets: rules by which its neurons can be reset.
        features: what its neurons can have (`neurodeploy.network.neurons.Neuron.features`).
        unsure: of which it is not known whether its neurons have them.
        of_subtract: neurons of a core (compartments) that make up one that resets by subtraction.
        unknown: what nobody published of its arithmetic, in words.
    """

    chip: str
    cores: int
    neurons: int
    synapse_bytes: int | None = None
    axons_in: int | None = None
    axons_out: int | None = None
    thresholds: int | None = None
    delay: int | None = None
    payload_bits: int | None = None
    mesh: Mesh | None = None
    registers: Registers = LOIHI
    resets: tuple[str, ...] | None = None
    features: tuple[str, ...] | None = None
    unsure: tuple[str, ...] = ()
    of_subtract: int = 1
    unknown: tuple[str, ...] = ()

    def compartments(self, network: Network, name: str) -> Array:
        """Neurons of a core that each neuron of population ``name`` takes, ``[neurons]``."""
        return compartments(network, name, self.of_subtract)

    def taken(self, network: Network, name: str, neurons: Array) -> int:
        """Neurons of a core that these neurons of population ``name`` take."""
        population = network.by_name[name]
        if population.join is None:
            return len(neurons) * _of_reset(population.neuron, self.of_subtract)
        return int(self.compartments(network, name)[neurons].sum())

    @property
    def index_bits(self) -> int:
        """Bits of the index of a neuron on a core."""
        return (self.neurons - 1).bit_length()


def compartments(network: Network, name: str, of_subtract: int) -> Array:
    """Neurons of a core that each neuron of population ``name`` takes, ``[neurons]``.

    One that resets by subtraction takes ``of_subtract``. A MAX of k currents takes k compartments: in Loihi's tree each
    takes the larger of its own current and of what its children pass on, so k - 1 stand beside the soma, which is the
    last of them; k where something else arrives at the soma, which is then added to what the k pass on.
    """
    return _of_reset(network.by_name[name].neuron, of_subtract) + beside(network, name)


def _of_reset(neuron: Neuron, of_subtract: int) -> int:
    return of_subtract if "subtract" in neuron.resets() else 1


def beside(network: Network, name: str) -> Array:
    """Compartments of a join that stand beside the soma of each neuron, ``[neurons]``."""
    population = network.by_name[name]
    if population.join is None:
        return np.zeros(population.size, np.int64)
    sizes = population.join.sizes(population.size)
    return sizes if added(network, name) else np.maximum(sizes - 1, 0)


def added(network: Network, name: str) -> bool:
    """Whether anything arrives at the somas of a population themselves, beside what its compartments pass on."""
    return any(p.port != PORT for p in network.into(name))
