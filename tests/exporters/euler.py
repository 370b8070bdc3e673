"""An interpreter of NIR files that shares no code with the product: torch's layers, the equations by forward Euler.

Sequential and branching graphs without loops; hard or subtractive reset, spikes where v > threshold.
"""

from __future__ import annotations

from graphlib import TopologicalSorter

import nir
import numpy as np
import torch
from torch.nn import functional as F

from neurodeploy.backends.reference import run as reference
from neurodeploy.exporters.export import export
from neurodeploy.exporters.trace import run_torch
from neurodeploy.lowering.lower import lower
from neurodeploy.nir_graph import interpreter as nir_reference
from neurodeploy.nir_graph import nir_file
from neurodeploy.nir_graph.conventions import resolve
from neurodeploy.program.recording import Record

LINEAR = {
    "Output": lambda n, x: x,
    "Affine": lambda n, x: F.linear(x, real(n.weight), real(n.bias)),
    "Linear": lambda n, x: F.linear(x, real(n.weight)),
    "Scale": lambda n, x: x * real(n.scale),
    "Flatten": lambda n, x: x.flatten(int(n.start_dim) + 1, int(n.end_dim) + 1 if n.end_dim >= 0 else int(n.end_dim)),
    "Conv2d": lambda n, x: F.conv2d(
        x, real(n.weight), real(n.bias), ints(n.stride), ints(n.padding), ints(n.dilation), int(n.groups)
    ),
    "AvgPool2d": lambda n, x: F.avg_pool2d(x, ints(n.kernel_size), ints(n.stride), ints(n.padding)),
    "SumPool2d": lambda n, x: F.avg_pool2d(x, ints(n.kernel_size), ints(n.stride), ints(n.padding), divisor_override=1),
}


def real(value):
    return torch.as_tensor(np.asarray(value, dtype=np.float64))


def ints(value):
    return tuple(int(v) for v in np.atleast_1d(value))


def interpret(path, inputs):
    """``[time, batch, *shape]`` -> output of every neuron node, ``[time, batch, neurons]``."""
    graph = nir.read(path, type_check=False)
    about = graph.metadata["neurodeploy"]
    before = {name: sorted({a for a, b in graph.edges if b == name}) for name in graph.nodes}
    state = {}
    for name, node in graph.nodes.items():
        start = real(node.metadata.get("neurodeploy", {}).get("v_initial", 0.0))
        state[name] = (start, torch.zeros((), dtype=torch.float64))
    record = {}
    for step in torch.as_tensor(inputs).double():
        out = {}
        for name in TopologicalSorter(before).static_order():
            node, kind = graph.nodes[name], type(graph.nodes[name]).__name__
            arriving = step if kind == "Input" else sum(out[source] for source in before[name])
            if kind == "Input":
                out[name] = step
            elif kind in LINEAR:
                out[name] = LINEAR[kind](node, arriving)
            else:
                out[name], state[name] = neuron(kind, node, arriving, *state[name], float(about["dt"]), about["reset"])
                record.setdefault(name, []).append(out[name].reshape(len(step), -1).numpy())
    return {name: np.stack(values) for name, values in record.items()}


def neuron(kind, node, current, v, i, dt, reset):
    if kind == "IF":
        v = v + dt * real(node.r) * current
    else:
        if kind.startswith("Cuba"):
            i = i + dt / real(node.tau_syn) * (real(node.w_in) * current - i)
            current = i
        tau = real(node.tau_mem if kind.startswith("Cuba") else node.tau)
        v = v + dt / tau * (real(node.v_leak) - v + real(node.r) * current)
    if kind in ("LI", "CubaLI"):
        return v, (v, i)
    spike = (v > real(node.v_threshold)).double()
    after = real(node.v_reset) if reset == "hard" else v - real(node.v_threshold)
    return spike, (torch.where(spike > 0, after, v), i)


def agrees_with_torch(module, path, inputs, dt=None, at_least=0.005, most=0.9):
    """The written file does what torch does, in the NIR reference and in the compiled network, in every layer and step.

    Returns what torch did, after asserting that no layer is silent (or always on).
    """
    export(module, inputs.shape[2:], dt, path)
    file = nir_file.read(path)
    conventions = resolve(file)
    theirs = run_torch(module, inputs)
    name = next(name for name, node in file.graph.nodes.items() if isinstance(node, nir.Input))
    runs = (
        nir_reference.run(file, {"": inputs}, conventions),
        reference.run_network(lower(file, conventions), {name: inputs}, record=Record(states=("v",))),
    )
    for ours in runs:
        for layer, output in theirs.outputs.items():
            if layer in ours.spikes:
                assert at_least < output.mean() < most, f"{layer}: {output.mean()}"
                dense = ours.spikes[layer].dense().reshape(output.shape)
                assert int((dense != output).sum()) == 0, f"{ours.backend}: {layer}"
            potential = theirs.potentials[layer]
            np.testing.assert_allclose(
                ours.states["v"][layer].reshape(potential.shape), potential, rtol=1e-9, atol=1e-9, err_msg=layer
            )
    return theirs
