"""From a Program to a job of Lava Processes, with many samples in one run.

Time. Sample ``n`` has the *slot* of chip steps from ``n slot`` on. A population with lag ``l``
(`neurodeploy.program.schedule`) computes or, as a source, sends network step ``k`` at chip step ``n slot + l + k``: the
window of the sample, in which alone it is awake (`worker.recorder`). A layer may thus still compute one sample while
the layer before has begun the next. Slots are as long as a sample and the longest delay, so nothing of one sample
arrives in another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from neurodeploy.errors import UnsupportedError
from neurodeploy.network.arrays import Array
from neurodeploy.network.bias_axons import with_bias_axons
from neurodeploy.network.connectivity import Conv2d, Dense, largest_sum, with_weights
from neurodeploy.network.host import alone
from neurodeploy.network.network import Network, Projection, check_registers
from neurodeploy.network.neurons import Neuron, Product, Relu
from neurodeploy.network.plasticity import TARGETS, TRACES, LearningRule
from neurodeploy.network.reach import messages
from neurodeploy.network.registers import QUANTISE, check_synapses, doubled
from neurodeploy.program.program import Program
from neurodeploy.program.recording import Record
from neurodeploy.program.schedule import Schedule, schedule

from .registers import neurons, sign_mode

Runtime = Literal["local", "stock"]

STATE_LIMIT = 1 << 23
"""Where 24-bit state saturates, and where Lava's Conv wraps its sums (the chip's other connections do not)."""

SUM_LIMIT = 1 << 31
"""Lava adds up currents in 32 bits."""

LONGEST_LATENCY = 63
"""Lava's chip delays by at most 62 steps on top of the step that every hop costs; placement asks each chip's own."""

INT8 = 127
"""Lava's Conv keeps its geometry in 8-bit integers."""

EXPANDED = 1 << 24
"""Convolutions of up to so many synapses run as Sparse, which is several times faster and equal."""


@dataclass(frozen=True, eq=False)
class Job:
    """What the worker runs, and how to read its results.

    Args:
        network: that is run: the Program's, with biases of projections as sources of their own.
        description: the Processes and their connections, as JSON.
        arrays: their parameters.
        steps: network steps of a sample.
        samples: in the run.
        slot: chip steps from the beginning of one sample to that of the next.
        lag: of each population.
        files: for each population but the sources the stem of its result files.
        learned: the same for each projection that learns.
    """

    network: Network
    description: Mapping[str, Any]
    arrays: Mapping[str, Array]
    steps: int
    samples: int
    slot: int
    lag: Mapping[str, int]
    files: Mapping[str, str]
    learned: Mapping[str, str]

    @property
    def chip_steps(self) -> int:
        """Length of the run."""
        return int(self.description["steps"])


def lower(
    program: Program,
    inputs: Mapping[str, Array],
    record: Record,
    runtime: Runtime = "local",
    expanded: int = EXPANDED,
) -> Job:
    """Express a Program and its checked inputs in Lava's Processes.

    Args:
        program: to run; integers become ``fixed_pt`` models, floats ``floating_pt`` ones.
        inputs: ``[time, batch, neurons]`` for each input population.
        record: which states to keep.
        runtime: that is to run it.
        expanded: convolutions of up to so many synapses become Sparse, others Conv.

    Raises:
        UnsupportedError: the message names the population or projection that Lava cannot run, and why.
    """
    check_registers(program.network)
    alone(program.network, "this part of the Lava back-end")
    network = with_bias_axons(_as_registers(program.network))
    fixed = network.arithmetic == "loihi"
    steps, samples = next(iter(inputs.values())).shape[:2]
    plan = schedule(network)
    # Synapses that learn begin anew with their source, when their targets must have ended the sample before.
    late = [plan.lag[p.target] - plan.lag[p.source] for p in network.projections if p.local_rule is not None]
    slot = steps + max([0, *(p.delay for p in network.projections), *late])
    chip_steps = (samples - 1) * slot + steps + plan.depth
    learned: dict[str, str] = {}
    if any(p.local_rule is not None for p in network.projections):
        chip_steps += 1  # what the last step has learned is written down in the next
    largest = _check_sums(network, inputs) if fixed else {}
    arrays: dict[str, Array] = {}
    populations, projections, files, graded = [], [], {}, set()
    reporter = next((p.name for p in network.populations if not p.external), "")
    for index, population in enumerate(network.populations):
        name, lag = population.name, plan.lag[population.name]
        entry: dict[str, Any]
        if population.external:
            spikes = _source(population.neuron, population.size, steps, samples, inputs.get(name))
            if not np.isin(spikes, (0, 1)).all():
                graded.add(name)
            entry, own = {"kind": "source"}, {"data": _train(spikes, lag, slot, chip_steps)}
        else:
            taught = network.taught(name)
            described = neurons(population, fixed, largest.get(name, STATE_LIMIT), _read(network, name), taught)
            own = dict(described.arrays)
            window = {"interval": slot, "offset": lag, "length": steps, "samples": samples}
            window["limit"] = described.limit
            entry = {"kind": described.kind, "rules": dict(described.rules), "window": window}
            entry |= {"states": sorted(record.kept(network, population)), "progress": name == reporter, "limit": None}
            if population.join is not None:
                entry["limit"] = STATE_LIMIT >> population.neuron.current_shift
                arrays[f"population{index}.parent"] = population.join.parent
            files[name] = f"population{index}"
            if population.neuron.graded(network.arithmetic):
                graded.add(name)
        populations.append({"name": name, **entry, "size": population.size, "arrays": sorted(own)})
        arrays.update({f"population{index}.{key}": value for key, value in own.items()})
    for index, projection in enumerate(network.projections):
        if projection.local_rule is not None:
            window = {"interval": slot, "offset": plan.lag[projection.source], "length": steps, "samples": samples}
            entry, own = _learning(projection, projection.local_rule, plan, fixed)
            entry["window"] = {**window, "everything": record.learning}
            learned[projection.name] = f"projection{index}"
        else:
            entry, own = _connection(network, projection, plan, fixed, expanded, largest)
        ends = {"name": projection.name, "source": projection.source, "target": projection.target}
        entry |= {"port": projection.port, "graded": projection.source in graded}
        projections.append({**ends, **entry, "arrays": sorted(own)})
        arrays.update({f"projection{index}.{name}": value for name, value in own.items()})
    description = {
        "runtime": runtime,
        "tag": "fixed_pt" if fixed else "floating_pt",
        "steps": chip_steps,
        "populations": populations,
        "projections": projections,
    }
    return Job(network, description, arrays, steps, samples, slot, plan.lag, files, learned)


def _as_registers(network: Network) -> Network:
    """The same network with weights as they are stored: odd ones of both signs twice as large, their exponent lower."""
    if network.arithmetic != "loihi" or not any(_doubled(p) for p in network.projections):
        return network
    found = []
    for p in network.projections:
        kind = p.connectivity
        twice = with_weights(kind, kind.weights.astype(np.int16) * np.int16(2), kind.exponent - 1)
        found.append(replace(p, connectivity=twice) if _doubled(p) else p)
    return replace(network, projections=tuple(found))


def _doubled(projection: Projection) -> bool:
    return projection.local_rule is None and doubled(projection.connectivity.weights)


def _read(network: Network, name: str) -> bool:
    """Whether another population hears this one."""
    return any(p.source == name for p in network.projections)


def _source(source: Neuron, size: int, steps: int, samples: int, given: Array | None) -> Array:
    if given is not None:
        return given
    spikes = np.zeros((steps, samples, size), dtype=bool)
    spikes[source.start :] = True
    return spikes


def _train(spikes: Array, lag: int, slot: int, chip_steps: int) -> Array:
    """``[time, batch, neurons]`` to ``[chip steps, neurons]``, the samples one after the other."""
    steps, samples, size = spikes.shape
    train = np.zeros((chip_steps, size), dtype=spikes.dtype)
    train[lag + np.arange(steps)[:, None] + np.arange(samples) * slot] = spikes
    return train


def _connection(
    network: Network,
    projection: Projection,
    plan: Schedule,
    fixed: bool,
    expanded: int,
    largest: Mapping[str, int],
) -> tuple[dict[str, Any], dict[str, Array]]:
    kind, latency = projection.connectivity, plan.latency[projection.name]
    _check_ends(network, projection, latency, fixed)
    if fixed:
        # Also onto a model with integers of its own: Lava would cut its weights to what a synapse holds.
        check_synapses(projection.name, kind.weights, kind.exponent, plastic=False)
    number = np.dtype(np.int16) if fixed else np.dtype(np.float64)
    entry: dict[str, Any] = {
        "sign_mode": sign_mode(projection) if fixed else "",
        "exponent": kind.exponent,
        "delay": latency - 1,
        "inputs": kind.inputs,
        "outputs": kind.outputs,
    }
    if isinstance(kind, Dense):
        return {"kind": "dense", **entry}, {"weights": kind.weights.astype(number)}
    if isinstance(kind, Conv2d) and latency == 1 and kind.weights[0].size * kind.outputs > expanded:
        bound = largest_sum(kind) * largest.get(projection.source, 1)
        if _fits_conv(kind) and (not fixed or bound < STATE_LIMIT):
            geometry = {name: list(getattr(kind, name)) for name in ("input_shape", "stride", "padding", "dilation")}
            weights = kind.weights.astype(np.int32) << kind.exponent if fixed else kind.weights.astype(np.float64)
            pairs, taps = weights.shape[0] * weights.shape[1], weights[0].size
            size = {"channel_pairs": pairs, "synapses": taps * kind.outputs}
            return {"kind": "conv", **entry, **geometry, **size, "groups": kind.groups}, {"weights": weights}
    synapses = kind.to_csr().astype(number).T.tocsr()
    synapses.eliminate_zeros()
    own = {"data": synapses.data, "indices": synapses.indices, "indptr": synapses.indptr}
    return {"kind": "sparse", **entry}, own


def _learning(
    projection: Projection, rule: LearningRule, plan: Schedule, fixed: bool
) -> tuple[dict[str, Any], dict[str, Array]]:
    """A plastic projection as Lava's LearningDense.

    Raises:
        UnsupportedError: Lava's LearningDense cannot delay, begin with such weights, or read such a factor.
    """
    where = f"projection {projection.name!r}, which learns,"
    kind, latency = projection.connectivity, plan.latency[projection.name]
    if latency != 1:
        raise UnsupportedError(
            f"{where} is delayed", found=f"{latency} steps from spike to arrival",
            allowed="1: Lava's LearningDense has no delays", hint="put the delay before or behind it",
        )  # fmt: skip
    whole = kind.weights.astype(np.int64)
    if fixed and ((whole != kind.weights).any() or (rule.sign == "mixed" and (whole & 1).any())):
        raise UnsupportedError(
            f"{where} begins with weights that the chip cannot hold", found="odd or broken numbers",
            allowed="even numbers from -256 to 254 where both signs may come", hint=QUANTISE,
        )  # fmt: skip
    terms = [term for terms in rule.terms.values() for term in terms]
    if not fixed and any(f.variable in ("x0", "y0") for term in terms for f in term.factors):
        raise UnsupportedError(
            f"{where} multiplies x0 and y0", found=rule.text, allowed="one of them in a product: Lava's floating "
            "point reads no more", hint="compile in integers",
        )  # fmt: skip
    still = [name for name in TRACES if not fixed and not getattr(rule, name).tau and name in rule.used]
    if still and rule.factors == 2:
        raise UnsupportedError(
            f"{where} uses the trace {still[0]} with tau 0, which Lava's floating point makes NaN",
            found=rule.text, allowed="a tau above 0", hint="give it a very small tau",
        )  # fmt: skip
    # A trace that is not used may have tau 0, which in Lava's floating point spreads NaN: 1 keeps it at 0.
    traces = {name: getattr(rule, name) for name in TRACES}
    pairs = {name: [t.impulse, t.tau] if fixed or t.tau else [0.0, 1.0] for name, t in traces.items()}
    text = {name: "".join(map(str, rule.terms.get(name, ()))).lstrip("+") for name in TARGETS}
    shape = kind.weights.shape
    tags = {"tag_1": rule.tag_1, "tag_2": rule.tag_2}
    number = np.dtype(np.int64) if fixed else np.dtype(np.float64)
    entry = {
        "kind": "learning",
        "sign_mode": rule.sign.upper(),
        "exponent": kind.exponent,
        "rule": {**text, **pairs, "epoch": rule.epoch, "seed": rule.seed, "factors": rule.factors},
    }
    own = {name: np.zeros(shape, number) if tag is None else tag.astype(number) for name, tag in tags.items()}
    return entry, {"weights": kind.weights.astype(np.int16 if fixed else np.float64), **own}


def _fits_conv(kind: Conv2d) -> bool:
    sizes = (*kind.stride, *kind.padding, *kind.dilation, kind.groups, *kind.weights.shape[2:])
    return kind.exponent >= 0 and max(sizes) <= INT8


def _check_ends(network: Network, projection: Projection, latency: int, fixed: bool) -> None:
    where = f"projection {projection.name!r}"
    if network.by_name[projection.target].external:
        raise UnsupportedError(f"{where} ends in {projection.target!r}, which is a source")
    if fixed and latency > LONGEST_LATENCY:
        raise UnsupportedError(
            f"{where} needs a longer delay than the chip has",
            found=f"{latency} steps from spike to arrival",
            allowed=f"{LONGEST_LATENCY} at most",
            hint="shorten the delay, or relay it over a population",
        )


def _product_bound(neuron: Product, ports: list[float], arriving: float) -> int:
    del arriving
    return (int(ports[0]) * int(ports[1]) >> neuron.shift) + 1  # rounded down: -1 for -1 >> 4


def _relu_bound(neuron: Relu, ports: list[float], arriving: float) -> int:
    del ports
    return int(arriving) + int(np.abs(neuron.bias).max(initial=0))


def _unbounded(neuron: Neuron, ports: list[float], arriving: float) -> int:
    """What arrives does not bound what the others send more tightly than they do themselves."""
    del neuron, ports, arriving
    return SUM_LIMIT


_BOUNDS: Mapping[type[Neuron], Callable[[Any, list[float], float], int]] = {
    Product: _product_bound,
    Relu: _relu_bound,
}
"""Largest message by what can arrive at each port and at all of them, for models without memory."""


def _check_sums(network: Network, inputs: Mapping[str, Array] | None = None) -> dict[str, int]:
    """Return the largest current that can reach each population; refuse what could leave Lava's 32 bits.

    Inputs (None where they are not known) that add up to more than one message can say are no differences of values,
    on which `neurodeploy.network.reach` relies.
    """
    message = {p.name: p.neuron.largest_message("loihi") for p in network.populations}
    if inputs is not None and all(
        np.abs(np.cumsum(x, axis=0, dtype=np.int64)).max(initial=0) <= message[name] for name, x in inputs.items()
    ):
        message = dict(messages(network))
    largest: dict[str, int] = {}
    for population in network.populations:
        incoming = network.into(population.name)
        walked = [p.largest_sum * message[p.source] for p in incoming]
        shifted = [w * 2.0 ** min(p.connectivity.exponent, 0) for w, p in zip(walked, incoming, strict=True)]
        arriving = sum(shifted) + len(shifted)
        up = population.neuron.current_shift
        shifted_up = (arriving * 2**up) + (2 * STATE_LIMIT if up else 0)
        if max(shifted_up, *walked, 0) >= SUM_LIMIT:
            raise UnsupportedError(
                f"the current into population {population.name!r} could leave the 32 bits in which Lava adds it up",
                found=f"up to {max(arriving, *walked):.0f} when all its inputs send their most",
                allowed=f"sums below 2^{31 - up}",
                hint="lower the weight exponent, give it fewer inputs, or let its sources send smaller numbers",
            )
        largest[population.name] = int(arriving)
        ports = [sum(s + 1 for s, p in zip(shifted, incoming, strict=True) if p.port == port) for port in (0, 1)]
        bound = _BOUNDS.get(type(population.neuron), _unbounded)(population.neuron, ports, arriving)
        message[population.name] = min(message[population.name], bound)
    return largest
