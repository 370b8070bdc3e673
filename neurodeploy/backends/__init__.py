"""The back-ends: each runs a Program and gives back a Recording aligned to network time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, Protocol, cast

from neurodeploy.errors import InvalidInputError, did_you_mean
from neurodeploy.network.arrays import Array
from neurodeploy.network.network import check_registers
from neurodeploy.packages.commands import how_to_install, naming
from neurodeploy.packages.requirements import is_there
from neurodeploy.program.program import Program
from neurodeploy.program.recording import Record, Recording

Progress = Callable[[int, int], None]
"""Called with ``(done, total)`` work units, from the thread that called `Backend`."""

BUILTIN = {
    "reference": "neurodeploy.backends.reference.run:run",
    "hwsim": "neurodeploy.hwsim.engine:run",
    "lava": "neurodeploy.backends.lava:run",
    "lava-stock": "neurodeploy.backends.lava:run_stock",
    "onnxruntime": "neurodeploy.backends.onnx.run:run",
}


class Backend(Protocol):
    """What every back-end is: a function that runs a Program and says what came of it, in network time."""

    def __call__(
        self,
        program: Program,
        inputs: Mapping[str, Array],
        *,
        record: Record = Record(),
        progress: Progress | None = None,
    ) -> Recording:
        """Run a Program.

        Args:
            program: what to run.
            inputs: for each input population ``[time, batch, *shape]``; ``""`` names the only one.
            record: what to record beside the spikes.
            progress: called now and then.

        Raises:
            InvalidInputError: inputs that do not match the Program.
            UnsupportedError: the back-end cannot express the Program; the message says which part and why.
            BackendError: the back-end failed.
        """
        ...


def names() -> tuple[str, ...]:
    """Names of all back-ends, third parties' included (entry-point group ``neurodeploy.backends``)."""
    return (*BUILTIN, *(p.name for p in entry_points(group="neurodeploy.backends") if p.name not in BUILTIN))


def missing(name: str) -> str | None:
    """Why a back-end of ours cannot run here, and what to do; None where it can, or is somebody else's."""
    if name in ("lava", "lava-stock"):
        from .lava.setup import status

        found = status()
        return None if found.installed else f"{found.problem}; to do: {found.hint}"
    lacking = [p for p in ("onnxruntime", "onnx") if name == "onnxruntime" and not is_there(p)]
    if lacking:
        return f"{lacking[0]} is not installed; to do: {how_to_install(lacking[0])}"
    return None


def get(name: str) -> Backend:
    """Import and return the back-end ``name``, which refuses integers that no register of Loihi holds, whichever it is.

    Raises:
        InvalidInputError: there is no such back-end.
        MissingPackageError: one of ours needs a package that is not installed.
    """
    if name in BUILTIN:
        module, _, attribute = BUILTIN[name].partition(":")
        with naming(f"the back-end {name}"):
            ours = cast(Backend, getattr(import_module(module), attribute))
        return _checked(naming(f"the back-end {name}")(ours))
    for point in entry_points(group="neurodeploy.backends"):
        if point.name == name:
            backend: Any = point.load()
            return _checked(cast(Backend, backend))
    raise InvalidInputError(f"unknown back-end {name!r}{did_you_mean(name, names())}", allowed=", ".join(names()))


def _checked(backend: Backend) -> Backend:
    @wraps(backend)
    def run(program: Program, inputs: Mapping[str, Array], **how: Any) -> Recording:
        check_registers(program.network)
        if program.network.stages:
            from .host.run import run as together

            return together(backend, program, inputs, **how)
        return backend(program, inputs, **how)

    return cast(Backend, run)
