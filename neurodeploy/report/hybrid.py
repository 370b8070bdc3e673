"""A run of chip and host together, with all that counting it takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from neurodeploy import backends
from neurodeploy.backends.host.work import host_work
from neurodeploy.hwsim.hybrid import Ran
from neurodeploy.network.arrays import Array
from neurodeploy.program.host_work import Wiring
from neurodeploy.program.program import Program
from neurodeploy.program.recording import Record, check_inputs


def run_hybrid(
    program: Program, inputs: Mapping[str, Array], progress: Callable[[int, int], None] | None = None
) -> Ran:
    """Run a Program with host stages on hwsim, and count what the host does in it.

    Args:
        program: placed on a chip.
        inputs: of the user; see `neurodeploy.backends.Backend`.
        progress: called with samples done and all samples, in each run of the chip's part.

    Raises:
        InvalidInputError: inputs that do not match.
        UnsupportedError: a stage multiplies in a way that nobody can count.
        BackendError: a graph that onnxruntime cannot run.
    """
    _, _, given = check_inputs(program.network, inputs)
    record = Record(Wiring.of(program.network).states())
    recording = backends.get("hwsim")(program, given, record=record, progress=progress)
    return Ran(program, given, recording, host_work(program, given, recording))
