"""neurodeploy: from a trained spiking network to a verified program for a neuromorphic chip, and what it costs.

    import neurodeploy as nd

    model = nd.export(module, sample)                  # a NIR graph, proven equal to the torch module
    program = model.compile("loihi1", calibration=sample)
    recording = program.run(x)                         # on the event simulator; backend="lava" for Lava
    cost, verification = program.cost(x), program.verify(x, labels)
    program.report("report.html", x, labels)

Nothing heavy is loaded before it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .api.exporting import export as export
    from .api.model import Model as Model
    from .api.model import load as load
    from .api.program import Program as Program
    from .api.recording import Recording as Recording
    from .api.verification import Verification as Verification
    from .compiler import CompileOptions as CompileOptions
    from .errors import NeurodeployError as NeurodeployError
    from .hwsim.chips.arch import available as chips
    from .hwsim.cost import Cost as Cost

_WHERE = {
    "export": "api.exporting", "load": "api.model", "Model": "api.model", "Program": "api.program",
    "Recording": "api.recording", "Verification": "api.verification", "Cost": "hwsim.cost",
    "CompileOptions": "compiler", "NeurodeployError": "errors", "chips": "hwsim.chips.arch:available",
}  # fmt: skip
"""Public name -> the module that has it, and under which name there."""

__all__ = [
    "CompileOptions", "Cost", "Model", "NeurodeployError", "Program", "Recording", "Verification", "chips", "export",
    "load",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    module, _, own = _WHERE[name].partition(":")
    found = getattr(import_module(f"{__name__}.{module}"), own or name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__", "__doc__"])
