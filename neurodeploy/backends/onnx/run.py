"""The onnxruntime back-end: the one-step ONNX graph of a float network, run step by step with its states fed back.

It is what a user deploys on ordinary hardware (`neurodeploy.backends.onnx.step`), so running it here checks that file.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from neurodeploy.errors import BackendError, UnsupportedError
from neurodeploy.network.arrays import Array
from neurodeploy.network.network import Network
from neurodeploy.program.program import Program
from neurodeploy.program.recording import Events, Record, Recording, check_inputs


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
    scan: bool = False,
) -> Recording:
    """Run a network that need not be placed.

    Args:
        dtype: ``np.float64`` or ``np.float32``.
        scan: all steps in one call of the Scan form, which shows only potentials that are read.

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
    from .step import to_onnx

    check_inputs(network, inputs)
    model = to_onnx(network, scan=scan, dtype=dtype, currents="u" in record.states and not scan)
    return run_model(model.SerializeToString(), network, inputs, record=record, progress=progress)


def run_model(
    model: bytes,
    network: Network,
    inputs: Mapping[str, Array],
    *,
    record: Record = Record(),
    progress: Callable[[int, int], None] | None = None,
) -> Recording:
    """Run what `neurodeploy.backends.onnx.step.write` made of ``network``, in the file's own form and number type.

    Raises:
        InvalidInputError: inputs that do not match the network.
        BackendError: onnxruntime failed.
    """
    from .step import METADATA

    steps, samples, given = check_inputs(network, inputs)
    session = _session(model)
    said = json.loads(session.get_modelmeta().custom_metadata_map[METADATA])
    kinds = {value.name: value.type for value in session.get_inputs()}
    number = np.dtype(np.float64 if "tensor(double)" in kinds.values() else np.float32)
    fed = {
        said["inputs"][p.name]: given[p.name].reshape(steps, samples, *p.shape).astype(number) for p in network.inputs
    }
    neurons = [p for p in network.populations if not p.external]
    feeds = {s["input"]: _initial(s, samples, number) for s in said["states"]}
    wanted = {(p.name, ""): said["outputs"][p.name] for p in neurons}
    shown = [p.name for p in neurons if p.spiking and network.shows(p.name)]
    if said["form"] == "scan":
        wanted |= {(name, "v"): said["outputs"][f"{name}.v"] for name in shown}
        values = _call(session, list(wanted.values()), {**feeds, **fed}, "the sequence")
        made = {key: values[value] for key, value in wanted.items()}
        if progress:
            progress(steps, steps)
    else:
        kept = {(s["population"], s["variable"]): s["output"] for s in said["states"]}
        for name, variable in ((p.name, variable) for p in neurons for variable in ("u", "v")):
            if variable in record.states or (variable == "v" and name in shown):
                wanted[name, variable] = kept.get((name, variable)) or said["outputs"][f"{name}.u"]
        back = {s["output"]: s["input"] for s in said["states"]}
        names = sorted({*back, *wanted.values()})
        size = {p.name: p.size for p in neurons}
        made = {key: np.zeros((steps, samples, size[key[0]]), number) for key in wanted}
        for t in range(steps):
            now = {name: value[t] for name, value in fed.items()}
            values = _call(session, names, {**feeds, **now}, f"step {t}")
            for key, array in made.items():
                array[t] = values[wanted[key]]
            feeds = {back[name]: values[name] for name in back}
            if progress:
                progress(t + 1, steps)
    return _recording(network, (steps, samples), given, made, record)


def _call(session: Any, names: list[str], feeds: Mapping[str, Array], where: str) -> dict[str, Array]:
    try:
        return dict(zip(names, session.run(names, feeds), strict=True))
    except Exception as error:  # onnxruntime's exceptions share no base but Exception
        raise BackendError("onnxruntime failed", found=f"{where}: {str(error).splitlines()[0]}") from error


def _recording(
    network: Network,
    extent: tuple[int, int],
    given: Mapping[str, Array],
    made: Mapping[tuple[str, str], Array],
    record: Record,
) -> Recording:
    """``made`` is (population, "" for what it sends or the variable) -> ``[time, batch, neurons]``."""
    states: dict[str, dict[str, Array]] = {variable: {} for variable in ("u", "v") if variable in record.states}
    spikes = {}
    for population in network.populations:
        name = population.name
        if name in given:
            spikes[name] = Events.from_dense(given[name].astype(next(iter(made.values())).dtype))
        elif population.external:
            on = np.zeros((*extent, population.size), bool)
            on[population.neuron.start :] = True
            spikes[name] = Events.from_dense(on)
        elif population.spiking:
            spikes[name] = Events.from_dense(made[name, ""])
        else:
            states.setdefault("v", {})[name] = made[name, ""]
    for (name, variable), values in made.items():
        if variable:
            states.setdefault(variable, {}).setdefault(name, values)
    return Recording("onnxruntime", *extent, spikes, dict(states))


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
