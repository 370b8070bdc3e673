"""What a chip and each of its cores can hold."""

from __future__ import annotations

from dataclasses import dataclass

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

    def compartments(self, neuron: Neuron) -> int:
        """Neurons of a core that one of a population takes."""
        return compartments(neuron, self.of_subtract)

    @property
    def index_bits(self) -> int:
        """Bits of the index of a neuron on a core."""
        return (self.neurons - 1).bit_length()


def compartments(neuron: Neuron, of_subtract: int) -> int:
    """Neurons of a core that one neuron takes, where one that resets by subtraction takes ``of_subtract``."""
    return of_subtract if "subtract" in neuron.resets() else 1
