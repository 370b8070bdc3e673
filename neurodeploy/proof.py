"""Exporting with proof: the file is read back from disk, run, and compared with the torch model before it is kept."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from neurodeploy import nir_reference, nirfile
from neurodeploy.backends.reference import run_network
from neurodeploy.connectivity import Array
from neurodeploy.conventions import resolve
from neurodeploy.errors import VerificationError
from neurodeploy.lower import lower
from neurodeploy.pipeline import STATES, torch_runner
from neurodeploy.storage import atomic_path
from neurodeploy.verify import Pair, Stage, verify

if TYPE_CHECKING:
    from torch import nn


def export_proven(
    module: nn.Module,
    sample: Array,
    dt: float | None,
    path: Path | str,
    *,
    allow_divergence: bool = False,
) -> list[Pair]:
    """Write ``module`` as a `.nir` file if, read back, it computes the same in every layer, step and neuron.

    Args:
        sample: input spikes ``[time, batch, *shape]``; float64 arithmetic on both sides leaves rounding out.
        dt: length of a step in seconds; None takes what the neurons were built for.
        allow_divergence: write the file even if it differs.

    Returns:
        torch compared with the NIR reference, and that with the lowered network.

    Raises:
        VerificationError: the file would not be the same network, or nothing spikes; no file is written.
        UnsupportedError, InvalidInputError, StorageError: as `neurodeploy.exporters.export.export`.
    """
    from neurodeploy.exporters.export import to_graph
    from neurodeploy.exporters.nirfile import write

    path = Path(path)
    graph = to_graph(module, tuple(sample.shape[2:]), dt)
    with atomic_path(path) as temporary:
        write(graph, temporary)
        file = nirfile.read(temporary)
        conventions = resolve(file)
        network = lower(file, conventions)
        stages = [
            Stage("torch", torch_runner(module, network), exact=True, integer=False),
            Stage("NIR", lambda x: nir_reference.run(file, x, conventions), exact=True, integer=False),
            Stage("float network", lambda x: run_network(network, x, record=STATES), exact=True, integer=False),
        ]
        _, pairs = verify(stages, {network.inputs[0].name: sample}, network)
        for pair in pairs:
            if not pair.passed and not allow_divergence:
                raise _refusal(path, pair)
        graph.metadata[nirfile.NAMESPACE]["proof"] = "; ".join(_statement(pair) for pair in pairs)
        write(graph, temporary)
    return pairs


def _statement(pair: Pair) -> str:
    """What is stored in the file's metadata about one comparison."""
    extent = f"{pair.spikes[1]} spikes in {pair.compared} neuron-steps of {pair.samples} samples"
    differ = "" if pair.equal else f", {pair.spikes_different} spikes and {pair.states_different} potentials differ"
    return f"{pair.second} against {pair.first}: {pair.verdict} ({extent}{differ})"


def _refusal(path: Path, pair: Pair) -> VerificationError:
    if pair.verdict == "silent":
        return VerificationError(
            f"{path} is not written: no neuron spikes on the sample, so nothing is proven",
            hint="give a sample that makes the network spike (--sample)",
        )
    d = pair.divergence
    assert d is not None
    return VerificationError(
        f"{path} is not written: {pair.second} differs from {pair.first}",
        found=f"{pair.spikes_different} spikes and {pair.states_different} potentials differ; first at {d.population} "
        f"({d.handle}), step {d.step}, sample {d.sample}, neuron {d.neuron}: v = {d.first_v} and {d.second_v}",
        allowed="the same spikes in every layer, step and neuron",
        hint="write it all the same with --allow-divergence",
    )
