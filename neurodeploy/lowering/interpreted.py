"""A file run by the NIR reference, its host stages by onnxruntime beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from neurodeploy.backends.host.run import together
from neurodeploy.network.arrays import Array
from neurodeploy.network.network import Network
from neurodeploy.nir_graph import interpreter
from neurodeploy.nir_graph.conventions import Conventions
from neurodeploy.nir_graph.nir_file import NirFile
from neurodeploy.program.recording import Record, Recording


def interpreted(
    file: NirFile, conventions: Conventions, network: Network, *, decisions: bool = False
) -> Callable[[Mapping[str, Array]], Recording]:
    """What interprets the graph of a file.

    Args:
        network: that the file was lowered to, which knows its stages.
        decisions: as for `neurodeploy.nir_graph.interpreter.run`, which says what is raised, too.
    """

    def run(inputs: Mapping[str, Array]) -> Recording:
        if not network.stages:
            return interpreter.run(file, inputs, conventions, decisions=decisions)
        return together(
            network, lambda given, _: interpreter.run(file, {**lacking(inputs), **given}, conventions,
                                                      decisions=decisions), inputs, Record(("v",)),
        )  # fmt: skip

    def lacking(inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Inputs that only the host reads, which stand in the graph all the same."""
        names = [p.name for p in network.inputs]
        return {names[0] if key == "" else key: value for key, value in inputs.items()}

    return run
