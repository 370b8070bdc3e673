"""From an ordinary network (ANN) to a spiking one, or to sigma-delta neurons, and how both compare."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from neurodeploy import conversion
from neurodeploy.backends.reference.run import run_network
from neurodeploy.compiler import place
from neurodeploy.errors import InvalidInputError
from neurodeploy.exporters.ann import ann as spiking
from neurodeploy.exporters.ann.ann import PERCENTILE, Coding, checked_calibration
from neurodeploy.exporters.ann.ann_graph import Ann, predict
from neurodeploy.files.atomic import atomic_path
from neurodeploy.files.tables import html_table
from neurodeploy.lowering.lower import lower
from neurodeploy.network.arrays import Array
from neurodeploy.network.network import Network
from neurodeploy.nir_graph import nir_file
from neurodeploy.nir_graph.conventions import resolve
from neurodeploy.packages.commands import naming
from neurodeploy.program.recording import check_labels, decided, decisions
from neurodeploy.verify.stages import Accuracy, judged

from .inputs import Labels, array_of
from .model import Model
from .show import progress

if TYPE_CHECKING:
    from torch import Tensor, nn

Goal = Literal["spiking", "sigma-delta"]
ENDINGS: dict[Goal, str] = {"spiking": ".nir", "sigma-delta": ".ndp"}
COLUMNS = ("population", "shape", "neurons")


@dataclass(frozen=True, kw_only=True)
class ConvertOptions:
    """What may be said about a conversion beside the network and its samples.

    Args:
        dt: length of a step in seconds.
        percentile: of a layer's activations that is its threshold.
        coding: input of a spiking network: the real values in every step (``direct``), or spikes (``rate``).
        relative_threshold: of a sigma-delta network: changes below this part of a layer's largest activation are not
            sent; None for `neurodeploy.conversion.RELATIVE_THRESHOLD`.
        input_unit: of a sigma-delta network: it takes inputs divided by this.
        shape: of one sample, where an ``.onnx`` file leaves it open.
        source: where the network comes from, for a Program's provenance; None for the file's or the module's name.
    """

    dt: float = 1e-3
    percentile: float = PERCENTILE
    coding: Coding = "direct"
    relative_threshold: float | None = None
    input_unit: float = 1.0
    shape: tuple[int, ...] | None = None
    source: str | None = None


@dataclass(frozen=True)
class Comparison:
    """The ANN and the network made of it, on samples for testing.

    Args:
        steps: that each sample ran.
        samples: how many there were.
        agreement: share of samples that get the ANN's class.
        messages_per_sample: spikes or changes sent, mean.
        ann_undecided: samples whose largest score several classes share in the ANN.
        undecided, silent: see `neurodeploy.verify.stages.Accuracy`.
        ann, converted: accuracy of both, where there were labels.
    """

    steps: int
    samples: int
    agreement: float
    messages_per_sample: float
    ann_undecided: int
    undecided: int
    silent: int
    ann: Accuracy | None = None
    converted: Accuracy | None = None

    def as_json(self) -> dict[str, Any]:
        """All of it for scripts."""
        found = {name: value for name, value in vars(self).items() if name not in ("ann", "converted")}
        if self.ann is not None and self.converted is not None:
            found |= {"ann_accuracy": self.ann.accuracy, "accuracy": self.converted.accuracy}
        return found


@dataclass(frozen=True, eq=False, repr=False)
class Converted:
    """What `convert` made.

    Args:
        model: the network in its file, to compile, run and verify.
        network: the same, in floats.
        to: what its neurons are.
        notes: what was folded, assumed or left.
        compared: with the ANN, where there were samples to test.
    """

    model: Model
    network: Network
    to: Goal
    notes: dict[str, str]
    compared: Comparison | None = None

    def as_json(self) -> dict[str, Any]:
        """Everything for scripts but the network; what ``neurodeploy convert --json`` prints."""
        compared = {} if self.compared is None else self.compared.as_json()
        return {"file": str(self.model.path), "notes": dict(self.notes), **compared}

    def rows(self) -> list[tuple[str, str, int]]:
        """Its populations; see `COLUMNS`."""
        return [(p.name, " x ".join(map(str, p.shape)), p.size) for p in self.network.populations]

    def __repr__(self) -> str:
        said = f": {100 * self.compared.agreement:.2f} % get the ANN's class" if self.compared else ""
        return f"<Converted {self.model.path.name}, {self.to}{said}>"

    def _repr_html_(self) -> str:
        return html_table(COLUMNS, self.rows(), repr(self))


@naming("convert")
def convert(
    ann: nn.Module | Path | str,
    calibration: Array | Tensor,
    path: Path | str | None = None,
    *,
    to: Goal = "spiking",
    options: ConvertOptions | None = None,
    test: Array | Tensor | None = None,
    labels: Labels | None = None,
    steps: int = 32,
) -> Converted:
    """Turn an ordinary network into a spiking one (IF neurons, a `.nir` file) or a sigma-delta one (a Program).

    Args:
        ann: a torch module, or the path of an ``.onnx`` file.
        calibration: inputs as the ANN takes them, ``[samples, *shape]``: some hundred of the training set.
        path: of the file, ``.nir`` or ``.ndp``; None keeps it in a temporary folder as long as its Model lives.
        to: what its neurons shall be.
        options: what else may be said.
        test: inputs to compare both networks on, ``[samples, *shape]``.
        labels: their classes, ``[samples]``, for accuracies.
        steps: of the comparison.

    Raises:
        InvalidInputError: options that contradict ``to``, another ending, or samples or labels that do not fit.
        UnsupportedError: a layer that cannot be expressed; the message names it.
        MissingFileError, StorageError: files that are not there or cannot be written.
    """
    given = options or ConvertOptions()
    _check(to, given, path, labels is not None and test is None)
    samples = array_of(calibration)
    read = _read(ann, samples, given)
    tested = None if test is None else checked_calibration(read, array_of(test))
    classes = None if labels is None or tested is None else check_labels(np.asarray(labels), len(tested))
    folder = TemporaryDirectory(prefix="neurodeploy-") if path is None else None
    target = Path(folder.name) / f"{_named(ann)}{ENDINGS[to]}" if folder else Path(str(path))
    make = _spiking if to == "spiking" else _sigma_delta
    network = make(read, samples, target, replace(given, source=given.source or _named(ann)))
    found = Converted(Model(target, _folder=folder), network, to, {**read.notes, **network.notes})
    if tested is None:
        return found
    scale = float(samples.max()) or 1.0
    return replace(found, compared=_compare(read, found, _encoded(tested, to, steps, scale, given), tested, classes))


def _check(to: Goal, given: ConvertOptions, path: Path | str | None, only_labels: bool) -> None:
    """Refuse what contradicts the kind of network that is wanted."""
    if to not in ENDINGS:
        raise InvalidInputError("no such kind of network", found=to, allowed=", ".join(ENDINGS))
    if path is not None and Path(path).suffix != ENDINGS[to]:
        raise InvalidInputError(f"--output of a {to} network", found=Path(path).name, allowed=f"a {ENDINGS[to]} file")
    if to == "spiking" and given.input_unit != 1:
        raise InvalidInputError("--input-unit of a spiking network", found=given.input_unit, allowed="--to sigma-delta")
    if to == "spiking" and given.relative_threshold is not None:
        raise InvalidInputError("--relative-threshold of a spiking network", allowed="--to sigma-delta")
    if to == "sigma-delta" and given.coding != "direct":
        raise InvalidInputError("--coding of a sigma-delta network", found=given.coding, allowed="--to spiking")
    if only_labels:
        raise InvalidInputError("--labels without samples", hint="give them with --test")


def _named(ann: nn.Module | Path | str) -> str:
    return Path(ann).name if isinstance(ann, (str, Path)) else type(ann).__name__


def _read(ann: nn.Module | Path | str, calibration: Array, given: ConvertOptions) -> Ann:
    if isinstance(ann, (str, Path)):
        from neurodeploy.exporters.ann import onnx_import

        return onnx_import.load(ann, given.shape)
    from neurodeploy.exporters.ann import torch_ann

    return torch_ann.from_torch(ann, given.shape or calibration.shape[1:], calibration)


def _spiking(ann: Ann, calibration: Array, path: Path, given: ConvertOptions) -> Network:
    from neurodeploy.exporters.write_nir import write

    graph = spiking.convert(ann, calibration, percentile=given.percentile, coding=given.coding, dt=given.dt)
    with atomic_path(path) as temporary:  # put in place only if it can be lowered
        file = replace(nir_file.read(write(graph, temporary)), path=path)
        return lower(file, resolve(file))


def _sigma_delta(ann: Ann, calibration: Array, path: Path, given: ConvertOptions) -> Network:
    relative = given.relative_threshold
    network = conversion.convert(
        ann, calibration, dt=given.dt, name=path.stem, input_unit=given.input_unit, percentile=given.percentile,
        relative_threshold=conversion.RELATIVE_THRESHOLD if relative is None else relative,
    )  # fmt: skip
    place(network, None, {"source": str(given.source), "framework": ann.origin}).save(path)
    return network


def _encoded(x: Array, to: Goal, steps: int, scale: float, given: ConvertOptions) -> Array:
    """Inputs of the ANN ``[samples, *shape]`` as the network takes them, ``[time, samples, *shape]``."""
    if to == "sigma-delta":
        return conversion.encode(x, steps, given.input_unit)
    return spiking.encode(np.clip(x, None, scale) if given.coding == "rate" else x, steps, given.coding, scale)


def _compare(ann: Ann, made: Converted, inputs: Array, x: Array, classes: Array | None) -> Comparison:
    """Run both on the same samples: ``inputs`` is ``x`` as the network takes it."""
    with progress("reference") as tell:
        recording = run_network(made.network, {"": inputs}, progress=tell)
    before, after = decided(predict(ann, x)), decisions(made.network, recording)
    sources = {population.name for population in made.network.inputs}
    messages = sum(len(events) for name, events in recording.spikes.items() if name not in sources)
    accuracies = () if classes is None else (judged("ANN", before, classes), judged(made.to, after, classes))
    return Comparison(
        len(inputs), len(x), before.accuracy(after.predicted), messages / len(x), before.undecided, after.undecided,
        int(after.silent.sum()), *accuracies,
    )  # fmt: skip
