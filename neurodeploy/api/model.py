"""A network before it is compiled: exported from torch, or in a file."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from neurodeploy.compiler import NO_CHIP, CompileOptions, compile
from neurodeploy.errors import InvalidInputError, NeurodeployError
from neurodeploy.files.atomic import atomic_path, existing_file
from neurodeploy.files.tables import html_table
from neurodeploy.hwsim.chips.arch import load_architecture
from neurodeploy.network.arrays import Array
from neurodeploy.nir_graph import nir_file
from neurodeploy.program.program import Program as Placed

from .inputs import Inputs, given, over_time
from .program import Program
from .recording import Recording
from .show import progress
from .verification import Verification

if TYPE_CHECKING:
    from torch import Tensor, nn

    from neurodeploy.exporters.usage import TimeAxis
    from neurodeploy.hwsim.cost import Cost, Tier
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
        calibration: Inputs | None = None, input_axis: TimeAxis | None = None,
    ) -> Program:  # fmt: skip
        """Compile it for a chip.

        Args:
            chip: its name, or the path of an architecture file; None or ``none`` to place on none.
            options: what else may be said.
            calibration: inputs of a few samples, as `Program.run` takes them.
            input_axis: where time lies in them, as for `Program.run`.

        Raises:
            VerificationError: the network contradicts the proof in its file.
            DoesNotFitError, UnsupportedError, InvalidInputError: as the passes say.
        """
        arch = None if chip in (None, NO_CHIP) else load_architecture(str(chip))
        options = options or CompileOptions()
        if calibration is not None:
            options = replace(options, calibration=self._over_time(calibration, input_axis))
        with progress("compile") as tell:
            made = compile(self.path, arch, options if options.tell else replace(options, tell=tell))
        return Program(made.program, made, made.warnings, self.torch)

    def _over_time(self, x: Inputs, input_axis: TimeAxis | None) -> dict[str, Array]:
        samples = given(x)
        return over_time(samples, nir_file.read(self.path), input_axis) if self.path.suffix == ".nir" else samples

    def run(self, x: Inputs, backend: str = "reference", *, input_axis: TimeAxis | None = None) -> Recording:
        """Run it in floats, on no chip; `Program.run` says the rest."""
        return self._floats().run(x, backend, input_axis=input_axis)

    def verify(
        self, x: Inputs, labels: Array | None = None, *, chip: str | Path | None = "loihi1",
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
        self, path: Path | str, x: Inputs, labels: Array | None = None, *, chip: str | Path = "loihi1",
        options: CompileOptions | None = None, samples: int = 64, input_axis: TimeAxis | None = None,
    ) -> Path:  # fmt: skip
        """Compile it, calibrated on ``x`` where ``options`` name nothing else, and write `Program.report`'s page."""
        program = self.calibrated(x, chip, options, samples=samples, input_axis=input_axis)
        return program.report(path, x, labels, samples=samples, input_axis=input_axis)

    def calibrated(
        self, x: Inputs, chip: str | Path | None = "loihi1", options: CompileOptions | None = None, *,
        samples: int = 64, input_axis: TimeAxis | None = None,
    ) -> Program:  # fmt: skip
        """Compile it, calibrated on the first ``samples`` of ``x`` where ``options`` name no others."""
        if self.path.suffix != ".nir" or (options is not None and options.calibration is not None):
            return self.compile(chip, options)
        inputs = self._over_time(x, input_axis)
        few = {key: value[:, :samples] if value.ndim > 1 else value for key, value in inputs.items()}
        return self.compile(chip, options, calibration=few, input_axis=0)

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


def export(
    module: nn.Module,
    sample: Array | Tensor,
    path: Path | str | None = None,
    *,
    time_axis: TimeAxis | None = None,
    dt: float | None = None,
    allow_divergence: bool = False,
) -> Model:
    """Say a torch module as a NIR graph, and prove that it is the same network.

    Args:
        module: as it was trained; of norse, snnTorch, SpikingJelly, sinabs or plain torch.
        sample: exactly what its ``forward`` takes.
        path: of the `.nir` file; None keeps it in a temporary folder as long as the Model lives.
        time_axis: where time lies in the sample: 0, 1 or -1; ``flat`` for batch times time, ``none`` for a static
            input that forward repeats, ``step`` where forward computes one step a call; None finds out.
        dt: length of a step in seconds; None takes what the neurons were built for.
        allow_divergence: write the file even if it differs.

    Raises:
        VerificationError: the file would not be the same network; nothing is written.
        UnsupportedError, InvalidInputError, StorageError: says what cannot be said, and where in the user's code.
    """
    from neurodeploy.lowering.lower import lower
    from neurodeploy.nir_graph.conventions import resolve
    from neurodeploy.verify.export_proof import export_proven
    from neurodeploy.verify.stages import torch_runner

    array = sample.detach().cpu().numpy() if hasattr(sample, "detach") else np.asarray(sample)
    folder = TemporaryDirectory(prefix="neurodeploy-") if path is None else None
    target = Path(folder.name) / f"{type(module).__name__}.nir" if folder else Path(str(path))
    made = export_proven(module, array, dt, target, time_axis=time_axis, allow_divergence=allow_divergence)
    runner = None
    if not made.captured.encoded:
        file = nir_file.read(target)
        runner = torch_runner(module, lower(file, resolve(file)), made.captured.usage)
    return Model(target, made, runner, folder)


def placed(path: Path | str) -> Program:
    """Open a Program, whatever its file is called.

    Raises:
        MissingFileError, InvalidInputError: as `load`.
    """
    return Program(Placed.load(path))


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
