"""From a torch module to a file that is proven to be the same network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from neurodeploy.errors import InvalidInputError
from neurodeploy.files.tables import html_table
from neurodeploy.lowering.lower import lower
from neurodeploy.network.arrays import Array
from neurodeploy.nir_graph import nir_file
from neurodeploy.nir_graph.conventions import resolve
from neurodeploy.packages.commands import naming
from neurodeploy.verify import export_proof
from neurodeploy.verify.compare import Pair

from .inputs import array_of
from .model import PAIR_COLUMNS, Model, pair_row, pair_said

if TYPE_CHECKING:
    from torch import Tensor, nn

    from neurodeploy.exporters.usage import HostCut, TimeAxis

STEPS, SAMPLES, RATE = 32, 4, 0.3
"""Of a sample that is drawn: Bernoulli spikes."""

Sample: TypeAlias = "Array | Tensor | tuple[int, ...]"
"""Exactly what ``forward`` takes; or the shape of a step of one sample, for random spikes of `STEPS` and `SAMPLES`."""


@dataclass(frozen=True, eq=False, repr=False)
class OnnxExport:
    """What `export_onnx` wrote and proved.

    Args:
        path: of the file.
        pairs: stages that were compared, in order; the last is the file in float32 with onnxruntime.
        sample: that they ran.
    """

    path: Path
    pairs: tuple[Pair, ...]
    sample: Array

    def as_json(self) -> dict[str, Any]:
        """For scripts; what ``neurodeploy export --to onnx --json`` prints."""
        return {"file": str(self.path), "pairs": [pair_said(pair) for pair in self.pairs]}

    def rows(self) -> list[tuple[str, str, object, object]]:
        """A row a comparison."""
        return [pair_row(pair) for pair in self.pairs]

    def __repr__(self) -> str:
        return f"<OnnxExport {self.path.name}: {', '.join(f'{p.second} {p.verdict}' for p in self.pairs)}>"

    def _repr_html_(self) -> str:
        return html_table(PAIR_COLUMNS, self.rows(), repr(self))


@naming("export")
def export(
    module: nn.Module,
    sample: Sample,
    path: Path | str | None = None,
    *,
    time_axis: TimeAxis | None = None,
    dt: float | None = None,
    allow_divergence: bool = False,
    host: HostCut = "bits",
) -> Model:
    """Say a torch module as a NIR graph, and prove that it is the same network.

    Args:
        module: as it was trained; of norse, snnTorch, SpikingJelly, sinabs or plain torch.
        sample: exactly what its ``forward`` takes; or the shape of a step of one sample, for random spikes.
        path: of the `.nir` file; None keeps it in a temporary folder as long as the Model lives.
        time_axis: where time lies in the sample: 0, 1 or -1; ``flat`` for batch times time, ``none`` for a static
            input that forward repeats, ``step`` where forward computes one step a call; None finds out.
        dt: length of a step in seconds; None takes what the neurons were built for.
        allow_divergence: write the file even if it differs.
        host: what becomes of what no chip computes: a host beside it does, cut out so that the fewest ``bits`` cross,
            or so that it has the least ``work``; ``none`` refuses it.

    Raises:
        VerificationError: the file would not be the same network; nothing is written.
        UnsupportedError, InvalidInputError, StorageError: says what cannot be said, and where in the user's code.
    """
    from neurodeploy.verify.stages import torch_runner

    array, axis = _laid(module, sample, time_axis)
    folder = TemporaryDirectory(prefix="neurodeploy-") if path is None else None
    target = Path(folder.name) / f"{type(module).__name__}.nir" if folder else Path(str(path))
    made = export_proof.export_proven(
        module, array, dt, target, time_axis=axis, allow_divergence=allow_divergence, host=host
    )
    runner = None
    if not made.captured.encoded:
        file = nir_file.read(target)
        runner = torch_runner(module, lower(file, resolve(file)), made.captured.usage)
    return Model(target, made, runner, folder)


@naming("export")
def export_onnx(
    model: nn.Module | Model | Path | str,
    sample: Sample,
    path: Path | str,
    *,
    time_axis: TimeAxis | None = None,
    dt: float | None = None,
    scan: bool = False,
    allow_divergence: bool = False,
    conventions: Mapping[str, Any] | None = None,
) -> OnnxExport:
    """Write a torch module, or the network of a `.nir` file, as ONNX, and prove that onnxruntime computes the same.

    Args:
        model: the module, or the file.
        sample: of a module exactly what ``forward`` takes, of a file ``[time, batch, *shape]``; or the shape of a step
            of one sample, for random spikes.
        path: of the ``.onnx`` file.
        time_axis, dt, allow_divergence: as for `export`.
        scan: write the whole sequence instead of one step.
        conventions: of a file, what it leaves open (`neurodeploy.nir_graph.conventions.resolve`).

    Raises:
        VerificationError: the file would not be the same network; nothing is written.
        UnsupportedError, InvalidInputError, StorageError: as `export`.
    """
    target = Path(path)
    what: nn.Module | Path
    if isinstance(model, (str, Path, Model)):
        what, axis = model.path if isinstance(model, Model) else Path(model), time_axis
        array = _drawn(sample) if isinstance(sample, tuple) else array_of(sample)
        if array.ndim < 3:
            raise InvalidInputError(
                "the sample has the wrong shape", found=list(array.shape), allowed="[time, batch, *shape]",
                hint="put time first, then the batch (use one sample as a batch of 1)",
            )  # fmt: skip
    else:
        what, (array, axis) = model, _laid(model, sample, time_axis)
    pairs = export_proof.export_onnx(
        what, array, target, dt=dt, time_axis=axis, scan=scan, allow_divergence=allow_divergence, options=conventions
    )
    return OnnxExport(target, tuple(pairs), array)


@naming("loading a module")
def load_module(
    spec: str, checkpoint: Path | str | None = None, tell: Callable[[str], None] | None = None
) -> nn.Module:
    """A torch module as the command line names it, with its trained parameters.

    Args:
        spec: ``file.py:name`` or ``package.module:name`` of a module, its class, or a function that makes it; running
            it runs the user's code. Or the weights of one of our own models, as `train` writes them.
        checkpoint: trained parameters: ``.safetensors``, or ``.pt`` with weights only; ``FILE:KEY`` where it holds
            several.
        tell: told what was done to fit them, in words.

    Raises:
        MissingFileError: the file, the package or the checkpoint is not there.
        InvalidInputError: no such attribute, not a module, code that fails, or weights that do not fit.
    """
    from neurodeploy.exporters.load_module import load_module as loaded

    return loaded(spec, checkpoint, tell)


def _drawn(shape: tuple[int, ...]) -> Array:
    """Random spikes, ``[time, batch, *shape]``."""
    return (np.random.default_rng(0).random((STEPS, SAMPLES, *shape)) < RATE).astype(np.uint8)


def _laid(module: nn.Module, sample: Sample, axis: TimeAxis | None) -> tuple[Array, TimeAxis | None]:
    """A sample as the module takes it, and where time lies in it, where that is known."""
    if not isinstance(sample, tuple):
        return array_of(sample), axis
    from neurodeploy.exporters.sequence.capture import laid_out

    return laid_out(module, _drawn(sample), axis)
