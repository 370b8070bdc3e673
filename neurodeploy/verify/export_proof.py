"""Exporting with proof: the file is read back from disk, run, and compared with the torch model before it is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from neurodeploy.backends.reference.run import run_network
from neurodeploy.errors import InvalidInputError, NeurodeployError, UnsupportedError, VerificationError
from neurodeploy.files.atomic import atomic_path
from neurodeploy.lowering.interpreted import interpreted
from neurodeploy.lowering.lower import lower
from neurodeploy.network.arrays import Array
from neurodeploy.network.network import Network
from neurodeploy.network.unreachable import never_spiking
from neurodeploy.nir_graph import nir_file
from neurodeploy.nir_graph.answer import RECORD as ANSWER
from neurodeploy.nir_graph.answer import store as store_answer
from neurodeploy.nir_graph.conventions import resolve
from neurodeploy.nir_graph.metadata import drop, put
from neurodeploy.nir_graph.proof import Proof, Unproven
from neurodeploy.program.recording import Recording

from .compare import Pair, Stage, compare, verify
from .elsewhere import longer, otherwise
from .livelier import STEPS, asleep, idle, left_unproven, livelier
from .margins import check_precision, decisions
from .returned import WHAT as RETURNS
from .returned import compare_returned, returned_refusal
from .stages import STATES, recording_of

if TYPE_CHECKING:
    from torch import nn

    from neurodeploy.exporters.sequence.capture import Captured
    from neurodeploy.exporters.usage import HostCut, TimeAxis

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
    time_axis: TimeAxis | None = None,
    allow_divergence: bool = False,
    host: HostCut = "bits",
) -> Exported:
    """Write ``module`` as a `.nir` file if, read back, it is the same network.

    The module is run untouched, as its user runs it. What it returns must be what the file's answer gives; and in every
    layer, step and neuron the file must do what the module's layers did. Where a whole layer takes no part on the
    sample, a livelier one of our own is compared as well (`neurodeploy.verify.livelier`). What stayed unproven stands
    in the file (`neurodeploy.nir_graph.proof`).

    Args:
        sample: exactly what ``forward`` takes; ``[time, batch, *shape]`` where it computes one step a call. float64
            arithmetic on both sides leaves rounding out; the module's own precision is compared with it.
        dt: length of a step in seconds; None takes what the neurons were built for.
        time_axis: where time lies in the sample; None finds out by what the module does.
        allow_divergence: write the file even if it differs.
        host: how a host beside the chip is cut out, which computes what the chip cannot; ``none`` refuses that.

    Raises:
        VerificationError: the file would not be the same network, or nothing spikes; no file is written.
        UnsupportedError, InvalidInputError, StorageError: as `neurodeploy.exporters.export.ways`.
    """
    path = Path(path)
    with atomic_path(path) as temporary:
        return _prove(module, sample, time_axis, dt, _Target(temporary, path, allow_divergence, host))


@dataclass(frozen=True)
class Exported:
    """What an export wrote and proved.

    Args:
        pairs: what forward returns, compared with what the file gives; torch compared with the NIR reference, and that
            with the lowered network; then the same on the livelier sample, if there was one.
        captured: the network as one step, how the sample was read, and the answer.
        x: what the network receives of the sample, ``[time, batch, *shape]``.
        samples, steps: of the sample.
        notes: what the user should know.
    """

    pairs: list[Pair]
    captured: Captured
    x: Array
    samples: int
    steps: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Target:
    """Where a file is written while it is proven, what messages call it, whether it may differ, and have a host."""

    temporary: Path
    named: Path
    allow_divergence: bool
    host: HostCut = "bits"


def _prove(module: nn.Module, sample: Array, time_axis: TimeAxis | None, dt: float | None, target: _Target) -> Exported:
    """The first way to say the module as one step that can be proven."""
    from neurodeploy.exporters.export import ways

    failed: NeurodeployError | None = None
    for captured in ways(module, sample, time_axis, dt, host=target.host):
        try:
            return _proven(module, sample, captured, target)
        except (VerificationError, UnsupportedError, InvalidInputError) as error:
            failed = failed if isinstance(failed, VerificationError) and type(error) is not type(failed) else error
    assert failed is not None
    raise failed


def _proven(module: nn.Module, sample: Array, captured: Captured, target: _Target) -> Exported:
    """Write, read back and compare."""
    from neurodeploy.exporters import framework
    from neurodeploy.exporters.sequence.capture import network_input
    from neurodeploy.exporters.user_run import own_dtype, run_user
    from neurodeploy.exporters.write_nir import write as write_graph

    graph, usage = captured.graph, captured.usage
    captured, file, network = _written(captured, target)
    conventions = resolve(file)
    (source,) = network.inputs
    x = network_input(module, sample, captured, framework.of_any(module))
    wide = run_user(module, sample, usage, torch_float64(), watch=captured.watch)
    ran = recording_of(wide, network, {source.name: x})
    decided = interpreted(file, conventions, network, decisions=True)({source.name: x})
    stages = [
        Stage("torch", lambda _: ran, exact=True, integer=False),
        Stage("NIR", lambda _: decided, exact=True, integer=False),
        Stage("float network", lambda x: run_network(network, x, record=STATES), exact=True, integer=False),
    ]
    recordings, pairs = verify(stages, {source.name: x}, network)
    takes = [idle(ran, network)]
    lively = _livelier(module, captured, file, network, takes)
    more = lively.pairs if lively else []
    silent = pairs[0].verdict == "silent" and any(pair.verdict != "silent" for pair in more)
    for pair in more if silent else [*pairs, *more]:
        if not pair.passed and not target.allow_divergence:
            raise _refusal(target.named, pair, left_unproven(takes))
    _check_length(captured, len(wide.returned), target)
    returned = compare_returned(wide, recordings["float network"], network, captured.kept, captured.silent)
    if not returned.equal and not target.allow_divergence:
        raise returned_refusal(target.named, returned)
    own = run_user(module, sample, usage, watch=captured.watch)
    layers = [p.name for p in network.populations if not p.external]
    precision = str(own_dtype(module)).removeprefix("torch.")
    note = check_precision(own, wide, decisions(decided), layers, precision)
    notes = [note] if note else []
    notes += _elsewhere(module, sample, captured, (file, network), target)
    pairs, given = [returned, *pairs], x
    statement = "; ".join(map(_statement, [*pairs, *more]))
    if silent and lively is not None:
        x, ran = lively.sample, lively.ran
    Proof.of(x, _spikes(ran, network), statement, left_unproven(takes), _read_outs(ran, network)).store(graph)
    write_graph(graph, target.temporary)
    return Exported([*pairs, *more], captured, given, usage.samples, usage.steps, tuple(notes))


def _elsewhere(
    module: nn.Module, sample: Array, captured: Captured, written: tuple[nir_file.NirFile, Network], target: _Target
) -> list[str]:
    """Compare on other samples; note where the file holds for as many steps as the sample has alone.

    Raises:
        VerificationError: the file gives something else on other values, or for another number of samples.
    """
    other = otherwise(module, sample, captured, *written)
    if other is not None and not other.equal and not target.allow_divergence:
        raise returned_refusal(target.named, other, " on other values of the sample")
    found = longer(module, sample, captured, *written)
    if captured.answer is None or found is None or found[1].equal:
        return []
    steps, count = captured.usage.steps, found[0]
    store_answer(captured.graph, replace(captured.answer, steps=steps))
    return [f"the file holds for runs of {steps} steps alone: over {count} steps forward returns something else"]


def _check_length(captured: Captured, values: int, target: _Target) -> None:
    """A rule that weighs each step must have been found on as many steps as there are, and one of each value."""
    known = len(captured.kept) + len(captured.left_out)
    if known != values:
        raise VerificationError(
            f"{target.named} is not written: forward returns another number of values for other numbers of steps",
            found=f"{values} for {captured.usage.steps} steps, {known} for {captured.recorded_steps}",
        )
    if captured.answer is None:
        return
    try:
        captured.answer.check_steps(captured.usage.steps)
    except InvalidInputError as error:
        raise VerificationError(f"{target.named} is not written: {error.what}", found=error.found) from error


def torch_float64() -> Any:
    """The type that leaves rounding out."""
    import torch

    return torch.float64


def _written(captured: Captured, target: _Target) -> tuple[Captured, nir_file.NirFile, Network]:
    """Write the graph with its answer and read it back; a last layer that never spikes becomes a read-out."""
    from neurodeploy.exporters.read_out import make_read_out, noted
    from neurodeploy.exporters.sequence.silence import without_spikes
    from neurodeploy.exporters.write_nir import write

    graph = captured.graph
    captured = without_spikes(captured, noted(graph))
    _tell(captured)
    write(graph, target.temporary)
    file = nir_file.read(target.temporary)
    conventions = resolve(file)
    network = lower(file, conventions)
    silent_for_ever = [n for n in never_spiking(network) if n in graph.nodes]
    if silent_for_ever:
        for name in silent_for_ever:
            make_read_out(graph, name)
        captured = without_spikes(captured, silent_for_ever)
        _tell(captured)
        write(graph, target.temporary)
        file = nir_file.read(target.temporary)
        network = lower(file, conventions)
    return captured, file, network


def _tell(captured: Captured) -> None:
    """Let the graph's metadata say what is known of it, and hold its answer."""
    put(captured.graph, captured.said())
    if captured.answer is not None:
        store_answer(captured.graph, captured.answer)
    else:
        drop(captured.graph, ANSWER)


@dataclass(frozen=True, eq=False)
class _Lively:
    """A comparison on a livelier sample ``[time, batch, *shape]`` of our own."""

    sample: Array
    ran: Recording
    pairs: list[Pair]


def _livelier(
    module: nn.Module, captured: Captured, file: nir_file.NirFile, network: Network, takes: list[Any]
) -> _Lively | None:
    """The comparison on a livelier sample, where a layer took no part and another one wakes more.

    ``takes`` gets what took no part in it. Nothing is drawn for an encoder, whose sample is not the network's.
    """
    from neurodeploy.exporters.user_run import run_user

    usage = captured.usage
    (source,) = network.inputs
    if captured.encoded or not asleep(takes[0]):
        return None

    def as_taken(sample: Array) -> Array:
        if usage.axis == "none":
            return np.repeat(sample[:1], usage.steps, 0)
        return sample[:, np.arange(usage.samples) % sample.shape[1]] if usage.axis == "flat" else sample

    def run(sample: Array) -> Recording:
        sample = as_taken(sample)
        drawn = replace(usage, steps=len(sample), samples=sample.shape[1])
        made = run_user(module, drawn.as_given(sample), drawn, torch_float64(), watch=captured.watch)
        return recording_of(made, network, {source.name: sample})

    try:
        steps = usage.steps if captured.whole else STEPS
        found = livelier(run, network, source.shape, takes[0], steps)
    except NeurodeployError:  # a module that takes this many steps and samples alone
        return None
    if found is None:
        return None
    sample, conventions = as_taken(found), resolve(file)
    ran = run(found)
    stages = [
        Stage("torch", lambda _: ran, exact=True, integer=False),
        Stage("NIR", interpreted(file, conventions, network), exact=True, integer=False),
        Stage("float network", lambda x: run_network(network, x, record=STATES), exact=True, integer=False),
    ]
    _, pairs = verify(stages, {source.name: sample}, network)
    takes.append(idle(ran, network))
    named = [replace(pair, first=f"{pair.first}{LIVELIER}", second=f"{pair.second}{LIVELIER}") for pair in pairs]
    return _Lively(sample, ran, named)


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
    time_axis: TimeAxis | None = None,
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
        sample, dt, time_axis, allow_divergence: as for `export_proven`; of a file ``[time, batch, *shape]``.
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
    x = sample
    with TemporaryDirectory() as folder:
        if isinstance(model, (str, Path)):
            source = Path(model)
        else:
            source = Path(folder) / path.with_suffix(".nir").name
            made = _prove(model, sample, time_axis, dt, _Target(source, path, allow_divergence, host="none"))
            pairs, x, dt = made.pairs, made.x, None
        file = nir_file.read(source)
    network = lower(file, resolve(file, **{**(options or {}), "dt": dt}))
    inputs = {network.inputs[0].name: x}
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
    if pair.first == RETURNS:
        extent = f"{pair.compared} numbers of {pair.samples} samples"
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
