"""Published systems: listed, trained, and read from their authors' checkpoints."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neurodeploy import __version__
from neurodeploy.errors import InvalidInputError, NeurodeployError, did_you_mean
from neurodeploy.files.atomic import atomic_path, make_folder, write_json
from neurodeploy.files.tables import html_table
from neurodeploy.models import registry
from neurodeploy.packages.commands import naming

from .show import progress

if TYPE_CHECKING:
    from torch import nn

    from neurodeploy.models.data.dataset import DataSet
    from neurodeploy.models.system import Preset, Recipe, System
    from neurodeploy.models.training.loop import Epoch, Machine, Trainer

COLUMNS = ("model", "system", "parameters", "deployed", "trained on", "what")
SAMPLES, CALIBRATION = 64, 64
"""Of the test and of the training set, written beside the weights."""


@dataclass(frozen=True)
class Listed:
    """A size of a network.

    Args:
        name: as `train` takes it.
        system: that it is of.
        title, source: of the system.
        parameters: that training moves; one that several layers share counts once.
        deployed: of these, what inference needs.
        data: set that it is sized for here; empty for a published size, which `import_checkpoint` reads.
        what: it is.
    """

    name: str
    system: str
    title: str
    source: str
    parameters: int
    deployed: int
    data: str
    what: str


@dataclass(frozen=True, repr=False)
class Models:
    """The systems and their presets."""

    listed: tuple[Listed, ...]

    def as_json(self) -> list[dict[str, Any]]:
        """All of it for scripts; what ``neurodeploy models --json`` prints."""
        return [asdict(one) for one in self.listed]

    def rows(self) -> list[tuple[str, ...]]:
        """A row a preset: see `COLUMNS`."""
        return [(m.name, m.title, f"{m.parameters:,}", f"{m.deployed:,}", m.data or "-", m.what) for m in self.listed]

    def __repr__(self) -> str:
        return f"<Models {', '.join(one.name for one in self.listed)}>"

    def _repr_html_(self) -> str:
        return html_table(COLUMNS, self.rows())


@dataclass(frozen=True, eq=False, repr=False)
class Training:
    """What `train` did.

    Args:
        folder: with ``weights.safetensors``, ``training.json``, ``sample.npy``, ``labels.npy``, ``calibration.npy``.
        module: the trained network, in evaluation.
        accuracy: on the test set, 0 to 1.
        parameters: of the network.
        history: of the epochs.
        settings: all that the weights depend on.
        sha256: of the weights.
    """

    folder: Path
    module: nn.Module
    accuracy: float
    parameters: int
    history: tuple[Epoch, ...]
    settings: Mapping[str, Any]
    sha256: str

    @property
    def weights(self) -> Path:
        """The file with the weights, which `neurodeploy.load_module` and ``neurodeploy export`` take."""
        return self.folder / "weights.safetensors"

    def as_json(self) -> dict[str, Any]:
        """For scripts; ``training.json``, and what ``neurodeploy train --json`` prints."""
        return {
            "weights": str(self.weights),
            "weights_sha256": self.sha256,
            "test_accuracy": self.accuracy,
            "parameters": self.parameters,
            "seconds": sum(epoch.seconds for epoch in self.history),
            "settings": dict(self.settings),
            "history": [epoch.as_json() for epoch in self.history],
        }

    def __repr__(self) -> str:
        return f"<Training {self.settings['model']}: {self.accuracy:.2%} of the test set>"


@dataclass(frozen=True, eq=False, repr=False)
class Imported:
    """What `import_checkpoint` read.

    Args:
        path: of the file that it wrote.
        module: the network, in evaluation.
        system: its name.
        shape: its sizes.
        parameters: how many.
    """

    path: Path
    module: nn.Module
    system: str
    shape: Any
    parameters: int

    def as_json(self) -> dict[str, Any]:
        """For scripts; what ``neurodeploy models import --json`` prints."""
        found = {"file": str(self.path), "system": self.system, "parameters": self.parameters}
        return {**found, "shape": asdict(self.shape)}

    def __repr__(self) -> str:
        return f"<Imported {self.system}, {self.parameters:,} parameters>"


@naming("models")
def models() -> Models:
    """The published systems, each with its presets and their parameters."""
    import torch

    from neurodeploy.models.system import parameters

    found = []
    for name in registry.SYSTEMS:
        system = registry.system(name)
        for preset in system.presets:
            with torch.device("meta"):
                module = system.build(preset.shape)
            count, deployed = parameters(module), (system.deployed or parameters)(module)
            said = (preset.data, preset.description)
            found.append(Listed(preset.name, name, system.title, system.source, count, deployed, *said))
    return Models(tuple(found))


@naming("train")
def train(
    model: str,
    folder: Path | str,
    *,
    data: str | None = None,
    data_folder: Path | str | None = None,
    recipe: Mapping[str, Any] | None = None,
    seed: int = 0,
    machine: Machine | None = None,
) -> Training:
    """Train a preset of a system; a training that was stopped goes on where its last epoch ended.

    Args:
        model: the name of a preset (`models`).
        folder: for the weights, the state of the training, and samples of the data to deploy with.
        data: name of the data set (`neurodeploy.models.data.sources`); None for the preset's own.
        data_folder: where its files lie, if it has some.
        recipe: fields of `neurodeploy.models.system.Recipe` that are to be others than the preset's.
        seed: of first weights, the order of samples and augmentation.
        machine: device, mixed precision and threads (`neurodeploy.models.training.loop.Machine`); None for the
            processor.

    Raises:
        InvalidInputError: no such preset, a size that is not trained here, data that do not fit, or a folder with a
            training of other settings.
        MissingFileError, MissingPackageError: the data are not there.
        StorageError: the folder cannot be written to, or the disk is full.
        DivergedError: the loss is no number any more.
    """
    import torch

    from neurodeploy.models.data import sources
    from neurodeploy.models.system import parameters
    from neurodeploy.models.training import loop, state

    system, preset = registry.preset(model)
    where = _checked(machine or loop.Machine())
    chosen = _recipe(preset, recipe or {})
    if not 0 <= seed < 1 << 32:
        raise InvalidInputError("seed of a training", found=seed, allowed="0 to 2^32 - 1")
    samples = sources.load(data or preset.data, None if data_folder is None else Path(data_folder))
    _fits(preset, samples)
    target = Path(folder)
    make_folder(target)
    settings = {
        "model": model,
        "shape": json.loads(json.dumps(asdict(preset.shape))),
        "recipe": json.loads(json.dumps(asdict(chosen))),
        "data": samples.name,
        "data_sha256": samples.sha256,
        "seed": seed,
        "mixed": where.mixed,
        "device": torch.device(where.device).type,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = system.build(preset.shape)
    trainer = loop.Trainer(module, chosen, samples, seed, where)
    before = state.load(target / "state.pt", settings)
    if before is not None:
        trainer.load(before)
    with _resumed(target), progress(f"{model}: train") as tell:
        for epoch in trainer.epochs():
            state.save(target / "state.pt", settings, trainer.state())
            tell(epoch.number, chosen.epochs, f"accuracy {epoch.accuracy:.1%}, loss {epoch.loss:.3g}")
    return _finished(system, preset, trainer, samples, target, settings, parameters(module))


def _finished(
    system: System, preset: Preset, trainer: Trainer, data: DataSet, folder: Path, settings: dict[str, Any], count: int
) -> Training:
    """Measure and write what was trained."""
    from neurodeploy.models.training import loop, weights

    module, where = trainer.module, trainer.machine
    accuracy = loop.accuracy(module, data.test, where)
    module = module.cpu().eval()
    digest = weights.sha256(module.state_dict())
    made = Training(folder, module, accuracy, count, tuple(trainer.history), settings, digest)
    said = {"test_accuracy": accuracy, "settings": settings, "neurodeploy": __version__}
    weights.save(made.weights, system, preset.shape, module, said)
    for name, part, most in (("sample", data.test, SAMPLES), ("calibration", data.train, CALIBRATION)):
        _write(folder / f"{name}.npy", part.x[:most].astype(np.float32))
    _write(folder / "labels.npy", data.test.y[:SAMPLES])
    write_json(folder / "training.json", made.as_json())
    return made


def _write(path: Path, array: Any) -> None:
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.save(file, array, allow_pickle=False)


@contextmanager
def _resumed(folder: Path) -> Iterator[None]:
    """Ctrl-C says how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        raise NeurodeployError(
            "train was stopped", found=f"the state of the last complete epoch, in {folder / 'state.pt'}",
            hint="run the same command again to go on from there",
        ) from None  # fmt: skip


def _recipe(preset: Preset, other: Mapping[str, Any]) -> Recipe:
    if preset.recipe is None:
        raise InvalidInputError(
            f"{preset.name} is a published size that is not trained here",
            found=preset.description,
            allowed="presets with data of their own",
            hint=f"read its authors' weights: neurodeploy models import {preset.name.partition('-')[0]} FILE.pth",
        )
    given = {key: value for key, value in other.items() if value is not None}
    known = {f.name for f in fields(preset.recipe)}
    if unknown := sorted(set(given) - known):
        raise InvalidInputError(
            f"no such setting of a training: {unknown[0]}{did_you_mean(unknown[0], known)}",
            allowed=", ".join(sorted(known)),
        )
    return replace(preset.recipe, **given)


def _checked(machine: Machine) -> Machine:
    import torch

    try:
        torch.zeros(1, device=machine.device)
    except (RuntimeError, AssertionError) as error:
        raise InvalidInputError(
            f"the device {machine.device} cannot be used", found=str(error).strip().split("\n")[0],
            allowed="cpu" + (", cuda" if torch.cuda.is_available() else ""),
        ) from error  # fmt: skip
    if machine.mixed and torch.device(machine.device).type == "cpu":
        raise InvalidInputError("mixed precision is for GPUs", found="--device cpu", hint="leave --mixed out")
    return machine


def _fits(preset: Preset, data: DataSet) -> None:
    shape = preset.shape
    sizes = {
        "channels": (data.shape[-3], shape.inputs),
        "classes": (len(data.classes), shape.classes),
        "as the value for 1": (data.largest, shape.largest),
    }
    for what, (found, allowed) in sizes.items():
        if found > allowed or (what != "classes" and found != allowed):
            raise InvalidInputError(
                f"{data.name} does not fit {preset.name}", found=f"{found} {what}", allowed=f"{allowed} {what}",
                hint="take a preset that is sized for it (neurodeploy models)",
            )  # fmt: skip
    if data.timed != shape.events:
        raise InvalidInputError(
            f"{data.name} does not fit {preset.name}",
            found="sequences of events" if data.timed else "images",
            allowed="sequences of events" if shape.events else "images",
            hint="take a preset that is sized for it (neurodeploy models)",
        )


@naming("models")
def import_checkpoint(system: str, path: Path | str, output: Path | str) -> Imported:
    """Read a checkpoint of the authors' code of a system and write it as ours.

    Only tensors are read (``weights_only=True``); sizes come from their shapes.

    Args:
        system: its name (`models`).
        path: ``.pth``, ``.pt`` or ``.safetensors``; its state dict may lie in a dictionary beside others.
        output: the ``.safetensors`` file to write, which `neurodeploy.load_module` and ``neurodeploy export`` take.

    Raises:
        MissingFileError: there is no such file.
        InvalidInputError: no such system, more than tensors, or not a checkpoint of this system.
        StorageError: the file cannot be written.
    """
    from neurodeploy.exporters.checkpoint import fitting
    from neurodeploy.models.system import parameters
    from neurodeploy.models.training import weights

    found = registry.system(system)
    if found.renamed is None or found.shape_of is None:
        raise InvalidInputError(f"there is no public code of {found.title}", allowed="weights of neurodeploy train")
    shape, module = fitting(Path(path), found)
    weights.save(Path(output), found, shape, module, {"imported": Path(path).name, "neurodeploy": __version__})
    return Imported(Path(output), module, found.name, shape, parameters(module))
