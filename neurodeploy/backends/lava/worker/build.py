"""From a job to connected Lava Processes, and to the ProcessModel that runs each of them.

Every Process is given its model by instance. Lava would otherwise search for one by executing every Python file that
lies beside the Process' own, which also costs most of the compile time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from lava.proc.dense import models as dense_models
from lava.proc.dense.process import DelayDense, Dense, LearningDense
from lava.proc.graded.models import PyGradedReluVecModelFixed
from lava.proc.graded.process import GradedReluVec
from lava.proc.io import source as sources
from lava.proc.lif import models as lif_models
from lava.proc.lif.process import LIF, LIFRefractory, TernaryLIF
from lava.proc.prodneuron.models import PyProdNeuronModelFixed
from lava.proc.prodneuron.process import ProdNeuron
from lava.proc.sdn.models import PySigmaDeltaModelFloat
from lava.proc.sdn.process import ActivationMode, SigmaDelta
from lava.proc.sparse import models as sparse_models
from lava.proc.sparse.process import DelaySparse, Sparse
from lava.utils.weightutils import SignMode
from scipy.sparse import csr_matrix

from . import neurons
from .learning import LearningNeuron, LearningNeuronModelFixed, LearningNeuronModelFloat, learning, learning_rule
from .recorder import recording

Arrays = Mapping[str, Any]
FIXED = "fixed_pt"


@dataclass(frozen=True)
class Kind:
    """How a kind of neuron is made, and which variables are its state and its results.

    Args:
        make: from the job's entry and arrays to the Process.
        fixed, floating: ProcessModels.
        reset: its state variables.
        states: what is called ``u`` and ``v`` in a recording.
        ports: of its input.
    """

    make: Callable[[Mapping[str, Any], Arrays], Any]
    fixed: Any
    floating: Any
    reset: tuple[str, ...]
    states: Mapping[str, str]
    ports: tuple[str, ...] = ("a_in",)


def _register(values: Any) -> Any:
    """A scalar where all neurons agree, as Lava documents it; arrays pass unchecked."""
    return values.ravel()[0].item() if values.size == 1 else values


def _lif_registers(entry: Mapping[str, Any], a: Arrays) -> dict[str, Any]:
    return {
        "shape": (entry["size"],),
        "v": a["v"],
        "du": _register(a["du"]),
        "dv": _register(a["dv"]),
        "bias_mant": a["bias_mant"],
        "bias_exp": a["bias_exp"],
    }


def _ternary(entry: Mapping[str, Any], a: Arrays) -> Any:
    return TernaryLIF(**_lif_registers(entry, a), vth_hi=_register(a["vth"]), vth_lo=_register(a["vth_lo"]))


def _own_neuron(entry: Mapping[str, Any], a: Arrays) -> Any:
    values = {name: a[name] for name in neurons.PARAMETERS}
    given = {"shape": (entry["size"],), "v": a["v"], "values": values, "rules": entry["rules"]}
    traces = entry["rules"].get("traces")
    return LearningNeuron(**given, traces=traces) if traces else neurons.Neuron(**given)


def _sigma_delta(entry: Mapping[str, Any], a: Arrays) -> Any:
    mode = ActivationMode.RELU if entry["rules"]["relu"] else ActivationMode.UNIT
    return SigmaDelta(shape=(entry["size"],), vth=_register(a["vth"]), bias=a["bias"], act_mode=mode)


def _own_sigma_delta(entry: Mapping[str, Any], a: Arrays) -> Any:
    return neurons.SigmaDeltaNeuron(shape=(entry["size"],), bias=a["bias"], vth=a["vth"], **entry["rules"])


_UV = {"u": "u", "v": "v"}
KINDS = {
    "LIF": Kind(
        lambda e, a: LIF(**_lif_registers(e, a), vth=_register(a["vth"])),
        lif_models.PyLifModelBitAcc, lif_models.PyLifModelFloat, ("u", "v"), _UV,
    ),
    "TernaryLIF": Kind(_ternary, lif_models.PyTernLifModelFixed, lif_models.PyTernLifModelFloat, ("u", "v"), _UV),
    "LIFRefractory": Kind(
        lambda e, a: LIFRefractory(
            **_lif_registers(e, a), vth=_register(a["vth"]), refractory_period=e["rules"]["period"]
        ),
        None, lif_models.PyLifRefractoryModelFloat, ("u", "v", "refractory_period_end"), _UV,
    ),
    "Neuron": Kind(
        _own_neuron, neurons.NeuronModelFixed, neurons.NeuronModelFloat, ("u", "v", "wait", "theta"), _UV
    ),
    "LearningNeuron": Kind(
        _own_neuron, LearningNeuronModelFixed, LearningNeuronModelFloat,
        ("u", "v", "wait", "theta", "y1", "y2", "y3"), _UV, ("a_in", "a_third_factor_in"),
    ),
    "SigmaDelta": Kind(
        _sigma_delta, None, PySigmaDeltaModelFloat, ("sigma", "act", "residue", "error"), {"u": "sigma", "v": "act"}
    ),
    "SigmaDeltaNeuron": Kind(
        _own_sigma_delta, neurons.SigmaDeltaNeuronModelFixed, neurons.SigmaDeltaNeuronModelFloat,
        ("sigma", "act", "sent"), {"u": "sigma", "v": "act"},
    ),
    "GradedReluVec": Kind(
        lambda e, a: GradedReluVec(shape=(e["size"],), vth=_register(a["vth"])),
        PyGradedReluVecModelFixed, None, ("v",), {},
    ),
    "ReluNeuron": Kind(
        lambda e, a: neurons.ReluNeuron(shape=(e["size"],), bias=a["bias"], vth=a["vth"]),
        neurons.ReluNeuronModelFixed, neurons.ReluNeuronModelFloat, (), {},
    ),
    "ProdNeuron": Kind(
        lambda e, a: ProdNeuron(shape=(e["size"],), vth=_register(a["vth"]), exp=e["rules"]["exp"]),
        PyProdNeuronModelFixed, None, ("v",), {}, ("a_in1", "a_in2"),
    ),
    "ProductNeuron": Kind(
        lambda e, a: neurons.ProductNeuron(shape=(e["size"],), vth=a["vth"], exp=e["rules"]["exp"]),
        neurons.ProductNeuronModelFixed, neurons.ProductNeuronModelFloat, (), {}, ("a_in1", "a_in2"),
    ),
}  # fmt: skip


@dataclass
class Graph:
    """The Processes of a job.

    Args:
        models: ProcessModel class of each Process.
        neurons: recorded Processes with the name of the file that each writes in its last step.
    """

    models: dict[Any, Any] = field(default_factory=dict)
    neurons: dict[Any, Path] = field(default_factory=dict)

    def add(self, process: Any, model: Any) -> Any:
        """Note which model runs a Process, and return the Process."""
        self.models[process] = model
        return process


def build(job: Mapping[str, Any], arrays: Arrays, folder: Path) -> Graph:
    """Create and connect all Processes of a job; results go to ``folder``."""
    graph, fixed = Graph(), job["tag"] == FIXED
    ends: dict[str, Any] = {}
    ports: dict[str, tuple[str, ...]] = {}
    trees: dict[str, Any] = {}
    for index, population in enumerate(job["populations"]):
        values = {name: arrays[f"population{index}.{name}"] for name in population["arrays"]}
        name = population["name"]
        if population["kind"] == "source":
            number, model = (np.int32, sources.PySendModelFixed) if fixed else (float, sources.PySendModelFloat)
            ends[name] = graph.add(sources.RingBuffer(data=values["data"].T.astype(number)), model)
            continue
        kind = KINDS[population["kind"]]
        process = kind.make(population, values)
        prefix = folder / f"population{index}"
        process.proc_params["recording"] = {
            **population["window"],
            "name": name,
            "reset": kind.reset,
            "states": {state: kind.states[state] for state in population["states"]},
            "prefix": str(prefix),
            "progress": str(folder / "progress") if population["progress"] else "",
        }
        graph.neurons[process] = prefix.with_suffix(".npz")
        ends[name] = graph.add(process, recording(kind.fixed if fixed else kind.floating))
        ports[name] = kind.ports
        if population["limit"] is not None:
            parent = arrays[f"population{index}.parent"]
            largest = neurons.MaxCurrent(neurons=population["size"], parent=parent, limit=population["limit"])
            trees[name] = graph.add(largest, neurons.MaxCurrentModelFixed if fixed else neurons.MaxCurrentModelFloat)
            largest.a_out.connect(process.a_in)
    for index, projection in enumerate(job["projections"]):
        values = {name: arrays[f"projection{index}.{name}"] for name in projection["arrays"]}
        source, neuron = ends[projection["source"]], ends[projection["target"]]
        tree = trees.get(projection["target"]) if projection["port"] == 1 else None
        target = tree.a_in if tree else getattr(neuron, ports[projection["target"]][projection["port"]])
        if projection["kind"] == "learning":
            _connect_learning(graph, projection, values, source, neuron, folder / f"projection{index}", fixed)
        else:
            _connect(graph, projection, values, source, target, fixed)
    return graph


def _connect(
    graph: Graph, projection: Mapping[str, Any], values: Arrays, source: Any, target: Any, fixed: bool
) -> None:
    if projection["kind"] == "conv":
        _connect_conv(graph, projection, values, source, target, fixed)
        return
    number = np.int32 if fixed else float
    # With graded messages Lava sums by a product of matrices: faster but for Dense integers, and the same result.
    product = projection["kind"] == "sparse" or not fixed
    options: dict[str, Any] = {"num_message_bits": 24 if projection["graded"] or product else 0}
    if fixed:
        options |= {
            "weight_exp": projection["exponent"],
            "num_weight_bits": 8,
            "sign_mode": SignMode[projection["sign_mode"]],
        }
    delay, process = projection["delay"], None
    if projection["kind"] == "dense":
        weights = values["weights"].astype(number)
        if delay:
            model = dense_models.PyDelayDenseModelBitAcc if fixed else dense_models.PyDelayDenseModelFloat
            process = graph.add(DelayDense(weights=weights, delays=delay, **options), model)
        else:
            model = dense_models.PyDenseModelBitAcc if fixed else dense_models.PyDenseModelFloat
            process = graph.add(Dense(weights=weights, **options), model)
    else:
        parts = values["data"].astype(number), values["indices"], values["indptr"]
        weights = csr_matrix(parts, shape=(projection["outputs"], projection["inputs"]))
        if delay:
            delays = csr_matrix((np.full(len(parts[0]), delay, dtype=int), *parts[1:]), shape=weights.shape)
            model = sparse_models.PyDelaySparseModelBitAcc if fixed else sparse_models.PyDelaySparseModelFloat
            process = graph.add(DelaySparse(weights=weights, delays=delays, **options), model)
        else:
            model = sparse_models.PySparseModelBitAcc if fixed else sparse_models.PySparseModelFloat
            process = graph.add(Sparse(weights=weights, **options), model)
    source.s_out.connect(process.s_in)
    process.a_out.connect(target)


def _connect_learning(
    graph: Graph, projection: Mapping[str, Any], values: Arrays, source: Any, neuron: Any, prefix: Path, fixed: bool
) -> None:
    """Connect a plastic projection, and the target's spikes back to it."""
    rule = projection["rule"]
    options: dict[str, Any] = {"tag_1": values["tag_1"], "tag_2": values["tag_2"]}
    if fixed:
        options |= {"weight_exp": projection["exponent"], "num_weight_bits": 8}
    process = LearningDense(
        weights=values["weights"].astype(np.int32 if fixed else float),
        learning_rule=learning_rule(rule),
        sign_mode=SignMode[projection["sign_mode"]],
        **options,
    )
    process.proc_params["recording"] = {**projection["window"], "prefix": str(prefix)}
    model = dense_models.PyLearningDenseModelBitApproximate if fixed else dense_models.PyLearningDenseModelFloat
    graph.add(process, learning(model))
    source.s_out.connect(process.s_in)
    process.a_out.connect(neuron.a_in)
    if rule["factors"] == 2:
        neuron.s_out.connect(process.s_in_bap)
        return
    neuron.s_out_bap.connect(process.s_in_bap)
    for name in ("y1", "y2", "y3"):
        getattr(neuron, f"s_out_{name}").connect(getattr(process, f"s_in_{name}"))


def _connect_conv(
    graph: Graph, projection: Mapping[str, Any], values: Arrays, source: Any, target: Any, fixed: bool
) -> None:
    """Connect a Conv: Lava counts width, height, channel and flips the kernel; ours is torch's."""
    from lava.proc.conv.models import PyConvModelFixed, PyConvModelFloat  # costs half a second
    from lava.proc.conv.process import Conv

    channels, height, width = projection["input_shape"]
    process = graph.add(
        Conv(
            weight=values["weights"][:, :, ::-1, ::-1].transpose(0, 3, 2, 1).astype(np.int32 if fixed else float),
            input_shape=(width, height, channels),
            padding=tuple(projection["padding"][::-1]),
            stride=tuple(projection["stride"][::-1]),
            dilation=tuple(projection["dilation"][::-1]),
            groups=projection["groups"],
            num_message_bits=24 if projection["graded"] else 0,
        ),
        PyConvModelFixed if fixed else PyConvModelFloat,
    )
    source.s_out.reshape((channels, height, width)).transpose((2, 1, 0)).connect(process.s_in)
    process.a_out.transpose((2, 1, 0)).reshape((projection["outputs"],)).connect(target)
