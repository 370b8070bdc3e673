"""Exporting with proof: the file is read back from disk, run, and compared with the torch model before it is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from neurodeploy.backends.reference.run import run_network
from neurodeploy.errors import VerificationError
from neurodeploy.files.atomic import atomic_path
from neurodeploy.lowering.lower import lower
from neurodeploy.network.arrays import Array
from neurodeploy.network.network import Network
from neurodeploy.network.unreachable import never_spiking
from neurodeploy.nir_graph import interpreter as nir_reference
from neurodeploy.nir_graph import nir_file
from neurodeploy.nir_graph.conventions import resolve
from neurodeploy.nir_graph.proof import Proof, Unproven
from neurodeploy.program.recording import Recording

from .compare import Pair, Stage, compare, verify
from .livelier import asleep, idle, left_unproven, livelier
from .stages import STATES, torch_runner

if TYPE_CHECKING:
    from torch import nn

LIVELIER = " (livelier sample)"
"""Behind the stages of a comparison on a sample of our own."""

SINGLE_TOLERANCE = 1e-4
"""Largest difference of a float32 potential, relative to the largest potential, that is rounding."""


def export_proven(
    module: nn.Module,
    sample: Array,
    dt: float | None,
    path: Path | str,
    *,
    allow_divergence: bool = False,
) -> list[Pair]:
    """Write ``module`` as a `.nir` file if, read back, it computes the same in every layer, step and neuron.

    Where a whole layer takes no part on the sample, a livelier one of our own is compared as well
    (`neurodeploy.verify.livelier`). What stayed unproven stands in the file (`neurodeploy.nir_graph.proof`).

    Args:
        sample: input spikes ``[time, batch, *shape]``; float64 arithmetic on both sides leaves rounding out.
        dt: length of a step in seconds; None takes what the neurons were built for.
        allow_divergence: write the file even if it differs.

    Returns:
        torch compared with the NIR reference, and that with the lowered network; then the same on the livelier sample,
        if there was one.

    Raises:
        VerificationError: the file would not be the same network, or nothing spikes; no file is written.
        UnsupportedError, InvalidInputError, StorageError: as `neurodeploy.exporters.export.export`.
    """
    path = Path(path)
    with atomic_path(path) as temporary:
        return _prove(module, sample, dt, temporary, path, allow_divergence)


def _prove(
    module: nn.Module, sample: Array, dt: float | None, temporary: Path, named: Path, allow_divergence: bool
) -> list[Pair]:
    """Write, read back and compare; messages call the file ``named``."""
    from neurodeploy.exporters.export import to_graph
    from neurodeploy.exporters.read_out import make_read_out
    from neurodeploy.exporters.write_nir import write

    shape = tuple(sample.shape[2:])
    graph = to_graph(module, shape, dt)
    write(graph, temporary)
    file = nir_file.read(temporary)
    conventions = resolve(file)
    network = lower(file, conventions)
    if silent_for_ever := [name for name in never_spiking(network) if name in graph.nodes]:
        for name in silent_for_ever:
            make_read_out(graph, name)
        write(graph, temporary)
        file = nir_file.read(temporary)
        network = lower(file, conventions)
    (source,) = network.inputs
    torch = torch_runner(module, network)
    stages = [
        Stage("torch", torch, exact=True, integer=False),
        Stage("NIR", lambda x: nir_reference.run(file, x, conventions), exact=True, integer=False),
        Stage("float network", lambda x: run_network(network, x, record=STATES), exact=True, integer=False),
    ]
    recordings, pairs = verify(stages, {source.name: sample}, network)
    takes = [idle(recordings["torch"], network)]
    own = livelier(lambda x: torch({source.name: x}), network, shape, takes[0]) if asleep(takes[0]) else None
    more: list[Pair] = []
    if own is not None:
        lively, more = verify(stages, {source.name: own}, network)
        more = [replace(pair, first=f"{pair.first}{LIVELIER}", second=f"{pair.second}{LIVELIER}") for pair in more]
        takes.append(idle(lively["torch"], network))
    silent = pairs[0].verdict == "silent" and any(pair.verdict != "silent" for pair in more)
    for pair in more if silent else [*pairs, *more]:
        if not pair.passed and not allow_divergence:
            raise _refusal(named, pair, left_unproven(takes))
    statement = "; ".join(map(_statement, [*pairs, *more]))
    if silent and own is not None:
        sample, recordings = own, lively
    ran = recordings["torch"]
    Proof.of(sample, _spikes(ran, network), statement, left_unproven(takes), _read_outs(ran, network)).store(graph)
    write(graph, temporary)
    return [*pairs, *more]


def _spikes(recording: Recording, network: Network) -> dict[str, Array]:
    """Spikes of each neuron of each spiking population, summed over steps and samples."""
    names = [p.name for p in network.populations if not p.external and p.name in recording.spikes]
    return {name: np.rint(recording.spikes[name].dense().sum((0, 1))).astype(np.int64) for name in names}


def _read_outs(recording: Recording, network: Network) -> dict[str, Array]:
    """Potentials of each neuron of each population that does not spike, summed over steps and samples, if finite."""
    names = [p.name for p in network.populations if not p.external and not p.spiking]
    sums = {name: recording.states["v"][name].sum((0, 1)) for name in names if name in recording.states["v"]}
    return {name: v for name, v in sums.items() if np.isfinite(v).all()}


def export_onnx(
    model: nn.Module | Path | str,
    sample: Array,
    path: Path | str,
    *,
    dt: float | None = None,
    scan: bool = False,
    allow_divergence: bool = False,
    options: Mapping[str, Any] | None = None,
) -> list[Pair]:
    """Write a torch module or a `.nir` file as ONNX if onnxruntime computes the same in every layer, step and neuron.

    The graph is proven in float64, in the form that is written. The file holds float32
    (`neurodeploy.backends.onnx.step`), where a potential within rounding of its threshold may fall on its other side:
    it is read back from disk, run, and what differs is the last pair.

    Args:
        model: a module, which is exported as `export_proven` does it first, or the path of a file.
        sample, dt, allow_divergence: as for `export_proven`.
        scan: write the whole sequence as one graph instead of one step.
        options: of a file, the conventions that the user settles (`neurodeploy.nir_graph.conventions.resolve`).

    Raises:
        VerificationError: the file would not be the same network, or nothing spikes; no file is written.
        UnsupportedError, InvalidInputError, StorageError: as `export_proven` and `neurodeploy.backends.onnx.step`.
    """
    from neurodeploy.backends.onnx.run import run_model
    from neurodeploy.backends.onnx.run import run_network as run_onnx
    from neurodeploy.backends.onnx.step import write

    path = Path(path)
    pairs: list[Pair] = []
    with TemporaryDirectory() as folder:
        if isinstance(model, (str, Path)):
            source = Path(model)
        else:
            source = Path(folder) / path.with_suffix(".nir").name
            pairs = _prove(model, sample, dt, source, path, allow_divergence)
            dt = None
        file = nir_file.read(source)
    network = lower(file, resolve(file, **{**(options or {}), "dt": dt}))
    inputs = {network.inputs[0].name: sample}
    stages = [
        Stage("float network", lambda x: run_network(network, x, record=STATES), exact=True, integer=False),
        Stage("onnxruntime", lambda x: run_onnx(network, x, record=STATES, scan=scan), exact=True, integer=False),
    ]
    recordings, (pair,) = verify(stages, inputs, network)
    if not pair.passed and not allow_divergence:
        raise _refusal(path, pair)
    with atomic_path(path) as temporary:
        write(network, temporary, scan=scan)
        written = run_model(temporary.read_bytes(), network, inputs)
    single = compare(recordings["onnxruntime"], written, network, exact=False, tolerance=SINGLE_TOLERANCE)
    return [*pairs, pair, replace(single, second=f"{path.name} in float32")]


def _statement(pair: Pair) -> str:
    """What is stored in the file's metadata about one comparison."""
    extent = f"{pair.spikes[1]} spikes in {pair.compared} neuron-steps of {pair.samples} samples"
    differ = "" if pair.equal else f", {_difference(pair)}"
    return f"{pair.second} against {pair.first}: {pair.verdict} ({extent}{differ})"


def _difference(pair: Pair) -> str:
    parts = [f"{pair.spikes_different} spikes and {pair.states_different} potentials differ"]
    if pair.not_finite:
        parts.append(f"{pair.not_finite} potentials or messages are not finite")
    return "; ".join(parts)


def said(item: Unproven) -> str:
    """What stayed unproven of a layer, in a line."""
    return f"{item.layer}: {item.neurons:,} of {item.of:,} {item.why}"


def _refusal(path: Path, pair: Pair, unproven: Sequence[Unproven] = ()) -> VerificationError:
    if pair.verdict == "silent":
        return VerificationError(
            f"{path} is not written: no neuron spikes on the sample, so nothing is proven",
            found="; ".join(map(said, unproven)) or None,
            hint="give a sample that makes the network spike (--sample); livelier ones that were drawn here do not",
        )
    d = pair.divergence
    assert d is not None
    what, hint = f"{pair.second} differs from {pair.first}", "write it all the same with --allow-divergence"
    if pair.not_finite:
        what = f"potentials of {pair.first} or {pair.second} are infinite or not numbers, which equal nothing"
        hint = "look where they come from: a sample with large values, a leak or reset that lets the potential grow"
    return VerificationError(
        f"{path} is not written: {what}",
        found=f"{_difference(pair)}; first at {d.population} "
        f"({d.handle}), step {d.step}, sample {d.sample}, neuron {d.neuron}: v = {d.first_v} and {d.second_v}",
        allowed="the same spikes in every layer, step and neuron",
        hint=hint,
    )
