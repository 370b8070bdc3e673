"""A network that need not be placed on the reference, with its host stages where it has some."""

from __future__ import annotations

from collections.abc import Mapping

from neurodeploy.network.arrays import Array
from neurodeploy.network.network import Network
from neurodeploy.program.program import Program
from neurodeploy.program.recording import Record, Recording

from ..reference import run as reference
from .run import run


def run_whole(network: Network, inputs: Mapping[str, Array], *, record: Record = Record()) -> Recording:
    """As `neurodeploy.backends.reference.run.run_network`, chip and host together.

    Args:
        network: float or integer.
        inputs: for each input population ``[time, batch, *shape]``.
        record: state variables to keep.

    Raises:
        InvalidInputError, BackendError: as `neurodeploy.backends.host.run.run`.
    """
    if not network.stages:
        return reference.run_network(network, inputs, record=record)
    return run(reference.run, Program.unplaced(network, {}), inputs, record=record)
