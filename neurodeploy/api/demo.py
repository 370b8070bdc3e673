"""The digits, all the way from training to a verified report."""

from __future__ import annotations

import hashlib
import inspect
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from logging import getLogger
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neurodeploy import __version__
from neurodeploy.compiler import CompileOptions, compile
from neurodeploy.files.atomic import make_folder
from neurodeploy.files.tables import html_table
from neurodeploy.hwsim.chips.arch import Architecture, load_architecture
from neurodeploy.models import registry
from neurodeploy.packages.commands import naming
from neurodeploy.report.assess import assess
from neurodeploy.report.document import NetworkResult, Report
from neurodeploy.report.html import write_html
from neurodeploy.verify.export_proof import export_proven
from neurodeploy.verify.stages import Verified, torch_runner

from .show import progress

if TYPE_CHECKING:
    from neurodeploy.models.digits_training import Trained

CALIBRATION = 64
"""Samples of the training set that calibrate the integers."""
COLUMNS = ("network", "spikes", "SOPs", "energy", "time per step", "cores")

_log = getLogger("neurodeploy.demo")


@dataclass(frozen=True, eq=False, repr=False)
class Demo:
    """What `demo` did.

    Args:
        report: the HTML page.
        results: the document behind it, as a file.
        document: the same, with accuracy, counts, energy and time of each network.
        verified: the comparisons of each network.
    """

    report: Path
    results: Path
    document: Report
    verified: tuple[Verified, ...]

    @property
    def passed(self) -> bool:
        """Whether all stages that must be equal are."""
        return all(verified.passed for verified in self.verified)

    def as_json(self) -> dict[str, Any]:
        """In short for scripts; what ``neurodeploy demo --json`` prints."""
        return {
            "passed": self.passed,
            "report": str(self.report),
            "results": str(self.results),
            "networks": [_summary(result) for result in self.document.networks],
        }

    def rows(self) -> list[tuple[str, ...]]:
        """A row a network, each figure that of one inference; see `COLUMNS`."""
        return [_row(_summary(result)) for result in self.document.networks]

    def __repr__(self) -> str:
        names = ", ".join(result.name for result in self.document.networks)
        return f"<Demo of {names}: {'passed' if self.passed else 'FAILED'}>"

    def _repr_html_(self) -> str:
        return html_table(COLUMNS, self.rows(), repr(self))


@naming("demo")
def demo(
    folder: Path | str = "demo-output",
    models: Sequence[str] | None = None,
    *,
    chip: str | Path = "loihi1",
    samples: int = 64,
    lava: bool = True,
    max_neurons_per_core: int | None = None,
) -> Demo:
    """Train networks that come with neurodeploy, export, compile, run, verify and report them.

    Args:
        folder: for weights, which a second call takes again, files and the report.
        models: names (`neurodeploy.models.registry.MODELS`); None for all.
        chip: its name, or the path of an architecture file.
        samples: how many go through every stage.
        lava: whether Lava is one of them.
        max_neurons_per_core: fewer than the chip allows.

    Raises:
        InvalidInputError: there is no such model or chip.
        BackendError: Lava is not set up.
        StorageError: the folder cannot be written to, or the disk is full.
    """
    arch, target = load_architecture(str(chip)), Path(folder)
    options, names = CompileOptions(max_neurons_per_core=max_neurons_per_core), ["reference", "hwsim"]
    make_folder(target)
    asked = [registry.load(name) for name in models or registry.MODELS]
    found = [_one(model, arch, target, samples, [*names, *(["lava"] if lava else [])], options) for model in asked]
    document = Report(
        title=f"Digits on {arch.title}", neurodeploy=__version__, chip=arch.name,
        networks=tuple(result for result, _ in found),
    )  # fmt: skip
    document.save(target / "results.json")
    write_html(document, target / "report.html")
    verified = tuple(verified for _, verified in found)
    return Demo(target / "report.html", target / "results.json", document, verified)


def _one(
    model: registry.Model,
    arch: Architecture,
    folder: Path,
    samples: int,
    names: Sequence[str],
    options: CompileOptions,
) -> tuple[NetworkResult, Verified]:
    _log.info("%s: %s", model.name, model.description)
    trained = _trained(model, folder)
    data = model.data()
    nir_path = folder / f"{model.name}.nir"
    with progress(f"{model.name}: export"):
        pairs = export_proven(trained.module, data.inputs[:, :samples], model.dt, nir_path).pairs
    _log.info("  exported %s: %s spikes, the same in torch and in the file", nir_path, f"{pairs[1].spikes[1]:,}")
    calibration = {"": model.calibration(CALIBRATION).inputs}
    compiled = compile(nir_path, arch, replace(options, calibration=calibration))
    compiled.program.save(folder / f"{model.name}.ndp")
    source = compiled.program.network.inputs[0].name
    with progress(f"{model.name}: verify") as tell:
        result, verified = assess(
            compiled,
            arch,
            {source: data.inputs},
            data.labels,
            name=model.name,
            description=model.description,
            model=torch_runner(trained.module, compiled.floats),
            verified_samples=samples,
            names=tuple(names),
            tell=lambda stage, done, total: tell(done, total, stage),
        )
    for pair in verified.pairs:
        differ = "" if pair.equal else f", {pair.spikes_different:,} neuron-steps differ in {pair.spikes[0]:,} spikes"
        sign = "=" if pair.exact_by_design else "~"
        _log.info("  %s %s %s: %s%s", pair.first, sign, pair.second, pair.verdict, differ)
    return result, verified


def weights(model: registry.Model, folder: Path) -> Path:
    """Where the trained weights of a model are kept; other code or settings have another place."""
    from neurodeploy.models import digits
    from neurodeploy.models import digits_training as training

    recipe = "".join(
        (repr(model.settings), *(inspect.getsource(m) for m in (training, digits, sys.modules[model.build.__module__])))
    )
    return folder / f"{model.name}-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}.safetensors"


def _trained(model: registry.Model, folder: Path) -> Trained:
    """Train the model, or take the weights of an earlier run."""
    path = weights(model, folder)
    if path.is_file():
        trained = model.load(path)
        _log.info("  trained before: %.2f %% on the test set", 100 * trained.accuracy)
        return trained
    with progress(f"{model.name}: train") as tell:
        trained = model.train(tell)
    trained.save(path)
    _log.info("  trained in %.0f s: %.2f %% on the test set", trained.seconds, 100 * trained.accuracy)
    return trained


def _summary(result: NetworkResult) -> dict[str, Any]:
    energy = result.energy
    times = result.latency.mean_ns if result.latency is not None else ()
    on_chip = [layer for layer in result.layers if layer.kind not in ("input", "bias axon")]
    return {
        "name": result.name,
        "accuracies": [stage.model_dump() for stage in result.stages],
        "accuracies_on_all": [stage.model_dump() for stage in result.stages_on_all],
        "spikes": sum(layer.events_per_inference for layer in on_chip),
        "sops": sum(layer.sops for layer in on_chip),
        "energy_nj": None if energy is None or energy.total_pj is None else energy.total_pj / 1e3,
        "latency_ns": sum(times) / len(times) if times else None,
        "cores": len(result.cores),
    }


def _row(s: dict[str, Any]) -> tuple[str, ...]:
    return (
        s["name"],
        f"{s['spikes']:,.0f}",
        f"{s['sops']:,.0f}",
        "not published" if s["energy_nj"] is None else f"{s['energy_nj']:,.0f} nJ",
        "not published" if s["latency_ns"] is None else f"{s['latency_ns']:,.0f} ns",
        str(s["cores"]),
    )
