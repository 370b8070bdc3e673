"""From a job to connected Lava Processes, and to the ProcessModel that runs each of them.

Every Process is given its model by instance. Lava would otherwise search for one by executing every Python file that
lies beside the Process' own, which also costs most of the compile time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from lava.proc.dense.models import PyDelayDenseModelBitAcc, PyDenseModelBitAcc
from lava.proc.dense.process import DelayDense, Dense
from lava.proc.io.reset import PyResetFixed, Reset
from lava.proc.io.source import PySendModelFixed, RingBuffer
from lava.proc.lif.process import LIFReset
from lava.proc.sparse.models import PyDelaySparseModelBitAcc, PySparseModelBitAcc
from lava.proc.sparse.process import DelaySparse, Sparse
from lava.utils.weightutils import SignMode
from scipy.sparse import csr_matrix

from .models import RecordingLif

Arrays = Mapping[str, Any]


@dataclass
class Graph:
    """The Processes of a job.

    Args:
        models: ProcessModel class of each Process.
        neurons: LIF Processes with the name of the file that each writes in its last step.
    """

    models: dict[Any, Any] = field(default_factory=dict)
    neurons: dict[Any, Path] = field(default_factory=dict)

    def add(self, process: Any, model: Any) -> Any:
        """Note which model runs a Process, and return the Process."""
        self.models[process] = model
        return process


def build(job: Mapping[str, Any], arrays: Arrays, folder: Path) -> Graph:
    """Create and connect all Processes of a job; results go to ``folder``."""
    graph, ends = Graph(), {}
    for index, population in enumerate(job["populations"]):
        values = {name: arrays[f"population{index}.{name}"] for name in population["arrays"]}
        if population["kind"] == "source":
            data = values["data"].T.astype(np.int32)
            ends[population["name"]] = graph.add(RingBuffer(data=data), PySendModelFixed)
        else:
            process = _neurons(population, values)
            prefix = folder / f"population{index}"
            process.proc_params["recording"] = {
                "steps": job["steps"],
                "states": population["states"],
                "prefix": str(prefix),
                "progress": str(folder / "progress") if population["progress"] else "",
            }
            graph.neurons[process] = prefix.with_suffix(".npz")
            ends[population["name"]] = graph.add(process, RecordingLif)
    for index, projection in enumerate(job["projections"]):
        values = {name: arrays[f"projection{index}.{name}"] for name in projection["arrays"]}
        _connect(graph, projection, values, ends[projection["source"]], ends[projection["target"]])
    return graph


def _neurons(population: Mapping[str, Any], values: Arrays) -> Any:
    def register(name: str) -> Any:
        return int(values[name][0]) if values[name].size == 1 else values[name]

    return LIFReset(
        shape=(population["size"],),
        du=register("du"),
        dv=register("dv"),
        vth=register("vth"),
        bias_mant=values["bias_mant"],
        bias_exp=values["bias_exp"],
        reset_interval=population["reset_interval"],
        reset_offset=population["reset_offset"],
    )


def _connect(graph: Graph, projection: Mapping[str, Any], values: Arrays, source: Any, target: Any) -> None:
    if projection["kind"] == "conv":
        _connect_conv(graph, projection, values, source, target)
        return
    options = {
        "weight_exp": projection["exponent"],
        "num_weight_bits": 8,
        "sign_mode": SignMode[projection["sign_mode"]],
    }
    delay, process = projection["delay"], None
    if projection["kind"] == "dense":
        weights = values["weights"].astype(np.int32)
        if delay:
            process = graph.add(DelayDense(weights=weights, delays=delay, **options), PyDelayDenseModelBitAcc)
        else:
            process = graph.add(Dense(weights=weights, **options), PyDenseModelBitAcc)
    else:
        parts = values["data"].astype(np.int32), values["indices"], values["indptr"]
        weights = csr_matrix(parts, shape=(projection["outputs"], projection["inputs"]))
        options["num_message_bits"] = 8  # takes the faster of two equal ways of summing; the messages stay 0 and 1
        if delay:
            delays = csr_matrix((np.full(len(parts[0]), delay, dtype=int), *parts[1:]), shape=weights.shape)
            process = graph.add(DelaySparse(weights=weights, delays=delays, **options), PyDelaySparseModelBitAcc)
        else:
            process = graph.add(Sparse(weights=weights, **options), PySparseModelBitAcc)
    source.s_out.connect(process.s_in)
    process.a_out.connect(target.a_in)
    for offset in projection["clear_offsets"]:
        clear = graph.add(Reset(reset_value=0, interval=projection["clear_interval"], offset=offset), PyResetFixed)
        clear.connect_var(process.a_buff)


def _connect_conv(graph: Graph, projection: Mapping[str, Any], values: Arrays, source: Any, target: Any) -> None:
    """Connect a Conv: Lava counts width, height, channel and flips the kernel; ours is torch's."""
    from lava.proc.conv.models import PyConvModelFixed  # costs half a second
    from lava.proc.conv.process import Conv

    channels, height, width = projection["input_shape"]
    process = graph.add(
        Conv(
            weight=values["weights"][:, :, ::-1, ::-1].transpose(0, 3, 2, 1).astype(np.int32),
            input_shape=(width, height, channels),
            padding=tuple(projection["padding"][::-1]),
            stride=tuple(projection["stride"][::-1]),
            dilation=tuple(projection["dilation"][::-1]),
            groups=projection["groups"],
        ),
        PyConvModelFixed,
    )
    source.s_out.reshape((channels, height, width)).transpose((2, 1, 0)).connect(process.s_in)
    process.a_out.transpose((2, 1, 0)).reshape((projection["outputs"],)).connect(target.a_in)
