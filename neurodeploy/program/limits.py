"""What a chip and each of its cores can hold."""

from __future__ import annotations

from dataclasses import dataclass


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

    @property
    def index_bits(self) -> int:
        """Bits of the index of a neuron on a core."""
        return (self.neurons - 1).bit_length()
