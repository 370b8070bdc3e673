"""The onnxruntime back-end: the one-step ONNX graph of a float network, run step by step with its states fed back.

It is what a user deploys on ordinary hardware (`neurodeploy.exporters.onnx_step`), so running it here checks that file.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from neurodeploy.connectivity import Array
from neurodeploy.errors import BackendError, UnsupportedError
from neurodeploy.network import Network
from neurodeploy.neurons import Lif
from neurodeploy.program import Program
from neurodeploy.recording import Events, Record, Recording, check_inputs


def run(
    program: Program,
    inputs: Mapping[str, Array],
    *,
    record: Record = Record(),
    progress: Callable[[int, int], None] | None = None,
) -> Recording:
    """Run a float Program in float64; see `neurodeploy.backends.Backend`."""
    return run_network(program.network, inputs, record=record, progress=progress)


def run_network(
    network: Network,
    inputs: Mapping[str, Array],
    *,
    record: Record = Record(),
    progress: Callable[[int, int], None] | None = None,
    dtype: type = np.float64,
) -> Recording:
    """Run a network that need not be placed.

    Args:
        dtype: ``np.float64`` or ``np.float32``.

    Raises:
        InvalidInputError: inputs that do not match the network.
        UnsupportedError: an integer network, or one that ONNX cannot express.
        BackendError: onnxruntime failed.
    """
    if network.arithmetic != "float":
        raise UnsupportedError(
            "onnxruntime runs float networks only",
            found=f"{network.arithmetic} arithmetic",
            hint="run an integer Program on hwsim or the reference",
        )
    from neurodeploy.exporters.onnx_step import METADATA, to_onnx

    steps, samples, given = check_inputs(network, inputs)
    model = to_onnx(network, dtype=dtype, currents="u" in record.states)
    (entry,) = (p for p in model.metadata_props if p.key == METADATA)
    said = json.loads(entry.value)
    session = _session(model.SerializeToString())

    number = np.dtype(dtype)
    neurons = [p for p in network.populations if isinstance(p.neuron, Lif)]
    output = {p.name: np.zeros((steps, samples, p.size), number) for p in neurons}
    kept: dict[str, dict[str, Array]] = {
        variable: {p.name: np.zeros((steps, samples, p.size), number) for p in neurons}
        for variable in ("u", "v")
        if variable in record.states
    }
    feeds = {s["input"]: _initial(s, samples, number) for s in said["states"]}
    back = {s["output"]: s["input"] for s in said["states"]}
    # Value of the graph -> where it is kept.
    wanted: list[tuple[str, Array]] = [(said["outputs"][p.name], output[p.name]) for p in neurons]
    for variable, arrays in kept.items():
        names = {s["population"]: s["output"] for s in said["states"] if s["variable"] == variable}
        wanted += [(names.get(name) or said["outputs"][f"{name}.u"], array) for name, array in arrays.items()]
    names_out = sorted({*back, *(name for name, _ in wanted)})
    for t in range(steps):
        for population in network.inputs:
            value = given[population.name][t].reshape(samples, *population.shape)
            feeds[said["inputs"][population.name]] = value.astype(number)
        try:
            values = dict(zip(names_out, session.run(names_out, feeds), strict=True))
        except Exception as error:  # onnxruntime's exceptions share no base but Exception
            raise BackendError("onnxruntime failed", found=f"step {t}: {str(error).splitlines()[0]}") from error
        for name, array in wanted:
            array[t] = values[name]
        feeds = {back[name]: values[name] for name in back}
        if progress:
            progress(t + 1, steps)

    states: dict[str, Mapping[str, Array]] = dict(kept)
    silent = {p.name: output[p.name] for p in neurons if not p.spiking}
    if silent:
        states["v"] = {**states.get("v", {}), **silent}
    spikes = {}
    for population in network.populations:
        name = population.name
        if name in given:
            spikes[name] = Events.from_dense(given[name].astype(number))
        elif name in output:
            if population.spiking:
                spikes[name] = Events.from_dense(output[name])
        else:
            on = np.zeros((steps, samples, population.size), bool)
            on[population.neuron.start :] = True  # type: ignore[union-attr]
            spikes[name] = Events.from_dense(on)
    return Recording("onnxruntime", steps, samples, spikes, states)


def _session(model: bytes) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = os.cpu_count() or 1
    # Threads that spin while they wait would slow down everything else on a shared machine.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's exceptions share no base but Exception
        raise BackendError(
            "onnxruntime does not take the network",
            found=str(error).splitlines()[0],
            hint="upgrade onnxruntime (1.20 or newer)",
        ) from error


def _initial(state: Mapping[str, Any], samples: int, number: np.dtype[Any]) -> Array:
    shape = [samples if n == "batch" else n for n in state["shape"]]
    kind = np.dtype(np.int64) if state["variable"] == "step" else number
    return np.broadcast_to(np.asarray(state["initial"], kind), shape).copy()
