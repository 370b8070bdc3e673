"""A file run by the NIR reference, its host stages by onnxruntime beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from neurodeploy.backends.host.run import together
from neurodeploy.network.arrays import Array
from neurodeploy.network.host import fed
from neurodeploy.network.network import Network
from neurodeploy.nir_graph import interpreter
from neurodeploy.nir_graph.conventions import Conventions
from neurodeploy.nir_graph.nir_file import NirFile
from neurodeploy.program.recording import Record, Recording, check_inputs


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
        steps, samples, own = check_inputs(network, inputs)
        silent = {name: np.zeros((steps, samples, network.by_name[name].size)) for name in fed(network.stages)}
        # What only the host reads stands in the graph all the same.
        return together(
            network,
            lambda given, _: interpreter.run(file, {**silent, **own, **given}, conventions, decisions=decisions),
            inputs, Record(("v",)),
        )  # fmt: skip

    return run
