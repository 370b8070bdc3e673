"""A network before it is compiled: exported from torch, or in a file."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from neurodeploy import compiler
from neurodeploy.compiler import NO_CHIP, CompileOptions
from neurodeploy.errors import InvalidInputError, NeurodeployError
from neurodeploy.files.atomic import atomic_path, existing_file
from neurodeploy.files.tables import html_table
from neurodeploy.hwsim.chips.arch import load_architecture
from neurodeploy.network.arrays import Array
from neurodeploy.network.network import Network
from neurodeploy.nir_graph import nir_file
from neurodeploy.nir_graph.proof import Proof
from neurodeploy.program.program import Program as Placed
from neurodeploy.program.recording import check_labels

from .explanation import Explanation, explain
from .inputs import Inputs, Labels, given, over_time
from .inspection import Inspected, inspect
from .program import Program
from .recording import Recording
from .show import progress
from .verification import Verification

if TYPE_CHECKING:
    from neurodeploy.exporters.usage import TimeAxis
    from neurodeploy.hwsim.chips.arch import Architecture
    from neurodeploy.hwsim.cost import Cost, Tier
    from neurodeploy.nir_graph.nir_file import NirFile
    from neurodeploy.nir_graph.proof import Unproven
    from neurodeploy.verify.compare import Pair
    from neurodeploy.verify.export_proof import Exported
    from neurodeploy.verify.stages import Runner


@dataclass(frozen=True, eq=False, repr=False)
class Model:
    """A network in a `.nir` file, a lava-dl ``.net`` file, or a Program in floats (``.ndp``).

    Args:
        path: of the file.
        exported: what the export proved, where this process made it.
        torch: runs the module that it was exported from, for `verify`.
    """

    path: Path
    exported: Exported | None = None
    torch: Runner | None = None
    _folder: TemporaryDirectory[str] | None = None

    def save(self, path: Path | str) -> Path:
        """Write the file to another place.

        Raises:
            StorageError: the folder cannot be written to, or the disk is full.
        """
        with atomic_path(Path(path)) as temporary:
            shutil.copyfile(self.path, temporary)
        return Path(path)

    def compile(
        self, chip: str | Path | None = "loihi1", options: CompileOptions | None = None, *,
        calibration: Inputs | None = None, labels: Labels | None = None, input_axis: TimeAxis | None = None,
        path: Path | str | None = None,
    ) -> Program:  # fmt: skip
        """Compile it for a chip.

        Args:
            chip: its name, or the path of an architecture file; None or ``none`` to place on none.
            options: what else may be said.
            calibration: inputs of a few samples, as `Program.run` takes them.
            labels: their classes, ``[batch]``: passes that train use them, and `Program.after_passes` has accuracies.
            input_axis: where time lies in them, as for `Program.run`.
            path: of a Program's file (``.ndp``) to write.

        Raises:
            VerificationError: the network contradicts the proof in its file.
            DoesNotFitError, UnsupportedError, InvalidInputError: as the passes say, or labels that do not fit.
            StorageError: the folder cannot be written to, or the disk is full.
        """
        options = self._settled(options, calibration, labels, input_axis)
        with progress("compile") as tell:
            made = compiler.compile(self.path, _chip(chip), options if options.tell else replace(options, tell=tell))
        if path is not None:
            made.program.save(path)
        return Program(made.program, made, self.torch, options, None if path is None else Path(path))

    def explain(
        self, chip: str | Path | None = "loihi1", options: CompileOptions | None = None, *,
        calibration: Inputs | None = None, input_axis: TimeAxis | None = None,
    ) -> Explanation:  # fmt: skip
        """Compile it and say what fits on the chip, layer by layer; also where something does not.

        Args:
            chip, options, calibration, input_axis: as for `compile`.

        Raises:
            NeurodeployError: it cannot be read, or not made a network.
        """
        options, seen = self._settled(options, calibration, None, input_axis), list[Network]()

        def after(name: str, network: Network) -> None:
            seen.append(network)
            if options.after:
                options.after(name, network)

        try:
            return self.compile(chip, replace(options, after=after)).explain()
        except NeurodeployError:
            if not seen:
                raise
        return explain(seen[-1], _chip(chip), options.max_neurons_per_core, options.chips)

    def _settled(
        self,
        options: CompileOptions | None,
        calibration: Inputs | None,
        labels: Labels | None,
        input_axis: TimeAxis | None,
    ) -> CompileOptions:
        """The options with samples and their classes in them."""
        found = options or CompileOptions()
        if calibration is not None:
            found = replace(found, calibration=self._over_time(calibration, input_axis))
        if labels is not None:
            if not found.calibration:
                raise InvalidInputError(
                    "labels are the classes of the samples for calibration", found="no samples", hint="give both"
                )
            samples = next((x.shape[1] for x in found.calibration.values() if x.ndim > 1), 0)
            found = replace(found, labels=check_labels(np.asarray(labels), samples))
        return found

    def source(self) -> Network | NirFile | None:
        """What its file holds, a NIR graph or the network of a Program; None of a lava-dl file, which takes no samples.

        Raises:
            MissingFileError, InvalidInputError: there is no such file, or it is damaged.
        """
        if self.path.suffix == ".net":
            return None
        return Placed.load(self.path).network if self.path.suffix == ".ndp" else nir_file.read(self.path)

    def _over_time(self, x: Inputs, input_axis: TimeAxis | None) -> dict[str, Array]:
        samples = given(x)
        source = self.source() if samples else None
        return samples if source is None else over_time(samples, source, input_axis)

    def inspect(self, x: Inputs | None = None, conventions: Mapping[str, Any] | None = None) -> Inspected:
        """Say what its file holds, what was assumed, and what others would make of it; see `neurodeploy.inspect`."""
        return inspect(self.path, x, conventions)

    def run(self, x: Inputs, backend: str = "reference", *, input_axis: TimeAxis | None = None) -> Recording:
        """Run it in floats, on no chip; `Program.run` says the rest."""
        return self._floats().run(x, backend, input_axis=input_axis)

    def verify(
        self, x: Inputs, labels: Labels | None = None, *, chip: str | Path | None = "loihi1",
        options: CompileOptions | None = None, backends: Sequence[str] | None = None, samples: int = 64,
        input_axis: TimeAxis | None = None,
    ) -> Verification:  # fmt: skip
        """Compile it and run some samples through every stage, from the torch module on where this process exported it.

        They are the calibration, too, where ``options`` name none. The rest is said at `Program.verify`.
        """
        program = self.calibrated(x, chip, options, samples=samples, input_axis=input_axis)
        return program.verify(x, labels, backends=backends, samples=samples, input_axis=input_axis)

    def cost(
        self, x: Inputs, tier: Tier = "core", *, chip: str | Path = "loihi1", options: CompileOptions | None = None,
        input_axis: TimeAxis | None = None,
    ) -> Cost:  # fmt: skip
        """Compile it, calibrated on ``x`` where ``options`` name nothing else, and count, price and time it there."""
        return self.calibrated(x, chip, options, input_axis=input_axis).cost(x, tier, input_axis=input_axis)

    def report(
        self, path: Path | str, x: Inputs, labels: Labels | None = None, *, chip: str | Path = "loihi1",
        options: CompileOptions | None = None, backends: Sequence[str] | None = None, samples: int = 64,
        input_axis: TimeAxis | None = None,
    ) -> Path:  # fmt: skip
        """Compile it, calibrated on ``x`` where ``options`` name nothing else, and write `Program.report`'s page."""
        program = self.calibrated(x, chip, options, samples=samples, input_axis=input_axis)
        return program.report(path, x, labels, backends=backends, samples=samples, input_axis=input_axis)

    def calibrated(
        self, x: Inputs, chip: str | Path | None = "loihi1", options: CompileOptions | None = None, *,
        samples: int = 64, input_axis: TimeAxis | None = None,
    ) -> Program:  # fmt: skip
        """Compile it, calibrated on the first ``samples`` of ``x`` where ``options`` name no others.

        A Program in floats is only where it has host stages, of which samples say how large becomes what they send.
        """
        source = self.source() if self.path.suffix == ".ndp" else None
        takes = self.path.suffix == ".nir" or bool(getattr(source, "stages", ()))
        if not takes or (options is not None and options.calibration is not None):
            return self.compile(chip, options)
        inputs = self._over_time(x, input_axis)
        few = {key: value[:, :samples] if value.ndim > 1 else value for key, value in inputs.items()}
        return self.compile(chip, options, calibration=few, input_axis=0)

    @property
    def unproven(self) -> tuple[Unproven, ...]:
        """What the proof in a `.nir` file leaves open; empty where there is none."""
        proof = Proof.read(nir_file.read(self.path)) if self.path.suffix == ".nir" else None
        return tuple(proof.unproven) if proof is not None else ()

    def as_json(self) -> dict[str, Any]:
        """For scripts; what ``neurodeploy export --json`` prints, and less of a file that was not exported here."""
        found = {
            "file": str(self.path),
            "pairs": [pair_said(pair) for pair in self.exported.pairs] if self.exported else [],
            "unproven": [asdict(item) for item in self.unproven],
        }
        if self.exported is None:
            return found
        made, captured = self.exported, self.exported.captured
        return {
            **found,
            "time_axis": captured.usage.axis,
            "steps": made.steps,
            "samples": made.samples,
            "answer": captured.answer.described() if captured.answer else None,
            "left_out": {str(index): why for index, why in captured.left_out.items()},
            "encoder": list(captured.encoded),
            "warnings": list(made.notes),
        }

    def _floats(self) -> Program:
        return self.compile(None, CompileOptions(integer=False))

    def __repr__(self) -> str:
        proven = ", proven equal" if self.exported is not None else ""
        return f"<Model {self.path.name}{proven}>"

    def _repr_html_(self) -> str | None:
        try:
            program = self._floats() if self.path.suffix != ".net" else self.compile(None)
        except NeurodeployError:  # it leaves something open that compile asks for
            return None
        return html_table(Program.COLUMNS[:-1], [row[:-1] for row in program.rows()], repr(self))


PAIR_COLUMNS = ("compared", "verdict", "spikes", "differ")


def pair_said(pair: Pair) -> dict[str, Any]:
    """A comparison of an export, for scripts."""
    return {name: getattr(pair, name) for name in ("first", "second", "verdict", "spikes_different")}


def pair_row(pair: Pair) -> tuple[str, str, object, object]:
    """A comparison of an export, for people: see `PAIR_COLUMNS`."""
    what = f"{pair.first} = {pair.second}"
    if pair.per_layer or pair.states_different is None:
        return (what, pair.verdict, pair.spikes[1], pair.spikes_different)
    return (what, pair.verdict, "-", pair.spikes_different or pair.states_different)


def _chip(chip: str | Path | None) -> Architecture | None:
    return None if chip in (None, NO_CHIP) else load_architecture(str(chip))


def placed(path: Path | str) -> Program:
    """Open a Program, whatever its file is called.

    Raises:
        MissingFileError, InvalidInputError: as `load`.
    """
    return Program(Placed.load(path), path=Path(path))


def load(path: Path | str) -> Model | Program:
    """Open a file: a `.nir` or lava-dl ``.net`` file is a Model, a Program (``.ndp``) a Program.

    Raises:
        MissingFileError: there is no such file.
        InvalidInputError: it is damaged, or none of these.
    """
    found = existing_file(path, "a .nir, .net or .ndp file")
    if found.suffix == ".ndp":
        return placed(found)
    if found.suffix not in (".nir", ".net"):
        raise InvalidInputError(
            f"{found} is no file that neurodeploy compiles",
            found=found.suffix or "no ending",
            allowed=".nir, .net, .ndp",
        )
    if found.suffix == ".nir":
        nir_file.read(found)  # refused now rather than later
    return Model(found)
