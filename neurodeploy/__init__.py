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
    from .api.converted import Comparison as Comparison
    from .api.converted import Converted as Converted
    from .api.converted import ConvertOptions as ConvertOptions
    from .api.converted import convert as convert
    from .api.demo import Demo as Demo
    from .api.demo import demo as demo
    from .api.doctor import Diagnosis as Diagnosis
    from .api.doctor import doctor as doctor
    from .api.explanation import Explanation as Explanation
    from .api.exporting import OnnxExport as OnnxExport
    from .api.exporting import export as export
    from .api.exporting import export_onnx as export_onnx
    from .api.exporting import load_module as load_module
    from .api.inspection import Inspection as Inspection
    from .api.inspection import Nodes as Nodes
    from .api.inspection import inspect as inspect
    from .api.lava import LavaScript as LavaScript
    from .api.learning import Adapted as Adapted
    from .api.learning import Learned as Learned
    from .api.learning import LearnOptions as LearnOptions
    from .api.learning import adapt as adapt
    from .api.learning import adapt_digits as adapt_digits
    from .api.learning import learn as learn
    from .api.model import Model as Model
    from .api.model import load as load
    from .api.page import Page as Page
    from .api.page import write_report as write_report
    from .api.passes import Passes as Passes
    from .api.passes import available_passes as available_passes
    from .api.program import Program as Program
    from .api.recording import Recording as Recording
    from .api.training import Imported as Imported
    from .api.training import Models as Models
    from .api.training import Training as Training
    from .api.training import import_checkpoint as import_checkpoint
    from .api.training import models as list_models
    from .api.training import train as train
    from .api.verification import Verification as Verification
    from .backends.lava.setup import LavaStatus as LavaStatus
    from .backends.lava.setup import lava_setup as lava_setup
    from .backends.lava.setup import status as lava_status
    from .compiler import CompileOptions as CompileOptions
    from .errors import NeurodeployError as NeurodeployError
    from .hwsim.chips.arch import available as chips
    from .hwsim.cost import Cost as Cost
    from .network.event_rule import EventRule as EventRule

_WHERE = {
    "Adapted": "api.learning", "Comparison": "api.converted", "CompileOptions": "compiler",
    "ConvertOptions": "api.converted", "Converted": "api.converted", "Cost": "hwsim.cost", "Demo": "api.demo",
    "Diagnosis": "api.doctor", "EventRule": "network.event_rule", "Explanation": "api.explanation",
    "Imported": "api.training", "Inspection": "api.inspection", "LavaScript": "api.lava",
    "LavaStatus": "backends.lava.setup", "LearnOptions": "api.learning", "Learned": "api.learning",
    "Model": "api.model", "Models": "api.training", "NeurodeployError": "errors", "Nodes": "api.inspection",
    "OnnxExport": "api.exporting", "Page": "api.page", "Passes": "api.passes", "Program": "api.program",
    "Recording": "api.recording", "Training": "api.training", "Verification": "api.verification",
    "adapt": "api.learning", "adapt_digits": "api.learning", "available_passes": "api.passes",
    "chips": "hwsim.chips.arch:available", "convert": "api.converted", "demo": "api.demo", "doctor": "api.doctor",
    "export": "api.exporting", "export_onnx": "api.exporting", "import_checkpoint": "api.training",
    "inspect": "api.inspection", "lava_setup": "backends.lava.setup", "lava_status": "backends.lava.setup:status",
    "learn": "api.learning", "list_models": "api.training:models", "load": "api.model", "load_module": "api.exporting",
    "train": "api.training", "write_report": "api.page",
}  # fmt: skip
"""Public name -> the module that has it, and under which name there."""

__all__ = [
    "Adapted", "Comparison", "CompileOptions", "ConvertOptions", "Converted", "Cost", "Demo", "Diagnosis", "EventRule",
    "Explanation", "Imported", "Inspection", "LavaScript", "LavaStatus", "LearnOptions", "Learned", "Model", "Models",
    "NeurodeployError", "Nodes", "OnnxExport", "Page", "Passes", "Program", "Recording", "Training", "Verification",
    "adapt", "adapt_digits", "available_passes", "chips", "convert", "demo", "doctor", "export", "export_onnx",
    "import_checkpoint", "inspect", "lava_setup", "lava_status", "learn", "list_models", "load", "load_module",
    "train", "write_report",
]  # fmt: skip

if not TYPE_CHECKING:  # to a checker of types, a name that is not there is an error

    def __getattr__(name: str) -> Any:
        if name not in _WHERE:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        module, _, own = _WHERE[name].partition(":")
        try:
            found = getattr(import_module(f"{__name__}.{module}"), own or name)
        except ModuleNotFoundError as error:
            from .packages.commands import lacks, missing

            package = (error.name or "").partition(".")[0]
            if not lacks(package):
                raise
            raise missing(f"neurodeploy.{name}", package) from error
        globals()[name] = found
        return found


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__", "__doc__"])
