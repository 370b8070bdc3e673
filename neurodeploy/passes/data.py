"""What a compilation hands to its passes beside the network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from neurodeploy.network.arrays import Array
from neurodeploy.network.network import Network
from neurodeploy.network.registers import LOIHI, Registers
from neurodeploy.program.limits import Limits


@dataclass(frozen=True, eq=False)
class PassData:
    """What a compilation has for its passes beside the network; None for what there is not.

    Args:
        calibration: inputs of a few samples, by input, ``[time, batch, *shape]`` each.
        labels: classes of these samples, ``[batch]``.
        teacher: the network in floats, as it was before it became integers.
        limits: of the chip.
        tell: progress of a pass that takes long: ``(done, of, text)``.
    """

    calibration: Mapping[str, Array] | None = None
    labels: Array | None = None
    teacher: Network | None = None
    limits: Limits | None = None
    tell: Callable[[int, int, str], None] | None = None

    @property
    def registers(self) -> Registers:
        """Widths of the chip's integers; Loihi's where there is no chip."""
        return self.limits.registers if self.limits else LOIHI


NOTHING = PassData()
