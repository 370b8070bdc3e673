"""Inputs of a run and what comes back: events and state variables, aligned to network time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from neurodeploy.errors import InvalidInputError
from neurodeploy.network.answer import Series
from neurodeploy.network.arrays import Array, Sealed, sole
from neurodeploy.network.connectivity import Connectivity
from neurodeploy.network.host import on_chip
from neurodeploy.network.network import Network, Population

from .count_kinds import counted
from .overflow import Left


@dataclass(frozen=True, eq=False)
class Events(Sealed):
    """Spikes of one population over a run, sorted by time, then sample, then neuron.

    Args:
        time, sample, neuron: int32 ``[events]``; `neuron` is the flat index.
        payload: what each event carries; None where all are plain spikes (1).
        steps, samples, neurons: the extent of the run.
    """

    time: Array
    sample: Array
    neuron: Array
    steps: int
    samples: int
    neurons: int
    payload: Array | None = None

    def __len__(self) -> int:
        return len(self.time)

    @classmethod
    def from_dense(cls, spikes: Array) -> Events:
        """From ``[time, batch, neurons]``; every non-zero is an event."""
        time, sample, neuron = np.nonzero(spikes)
        payload = None if spikes.dtype == bool else sole(spikes[time, sample, neuron])
        if payload is not None and (payload == 1).all():
            payload = None
        when, which, who = (sole(index.astype(np.int32)) for index in (time, sample, neuron))
        steps, samples, neurons = spikes.shape
        return cls(when, which, who, steps, samples, neurons, payload)

    def dense(self) -> Array:
        """``[time, batch, neurons]``: bool, or the payloads where there are any."""
        kind = bool if self.payload is None else self.payload.dtype
        spikes = np.zeros((self.steps, self.samples, self.neurons), dtype=kind)
        spikes[self.time, self.sample, self.neuron] = True if self.payload is None else self.payload
        return spikes


@dataclass(frozen=True)
class Record:
    """What to record beside the spikes: state variables (``"u"``, ``"v"``) of all neuron populations.

    Read-outs that do not spike are always recorded in ``v``, since that is their output, and so is every population
    whose potential the network's answer reads.

    Args:
        states: to keep.
        learning: keep what learns after every step; else only as it is at the end.
    """

    states: tuple[str, ...] = ()
    learning: bool = False

    def kept(self, network: Network, population: Population) -> frozenset[str]:
        """State variables of a population that are recorded."""
        wanted = {*self.states} | ({"v"} if network.shows(population.name) else set())
        return frozenset(wanted.intersection(population.neuron.states))


@dataclass(frozen=True, eq=False)
class Recording(Sealed):
    """The result of running a network or Program; step ``t`` of every array is network step ``t``.

    Args:
        backend: name of the back-end that ran.
        steps, samples: of the run.
        spikes: events of each spiking population, sources included.
        states: ``states["v"]["conv1"]`` is ``[time, batch, neurons]``, after the reset of the step.
        active: neuron updates that changed or could have changed a state (input, ``v``, bias, or what the decay leaves
            of ``u`` not zero), per population ``[time, batch, cores]`` in the order of `Program.cores_of`; only from
            back-ends that count.
        touched: as `active`, only neurons at which something arrived.
        changed: as `active`, only neurons of which a stored variable (u, v, what was sent) took another value.
        reached: compartments beside the somas of a MAX of currents at which something arrived, per population that has
            them ``[time, batch, cores]``, as `active` (where those of the somas themselves are).
        learned: for each projection that learns its ``weights``, ``tag_1``, ``tag_2`` ``[time, batch, targets,
            sources]`` and traces ``x1`` .. ``y3`` ``[time, batch, neurons]``; the last entry is the end of the run,
            and the only one unless more were asked for.
        flags: hwsim's own marks of neurons that were active and that fired, where they were asked for.
        learning_work: what each projection that learns did, for each name in `LEARNING_WORK`, ``[time, batch, names,
            cores]``, in the order of `Program.cores_of` its target; only from back-ends that count. Step t is the
            source's.
        hosted: by source population that a host stage feeds, what the host made for it before it became messages,
            ``[time, batch, neurons]``; and by name, what stages give the user, ``[1, batch, *]``.
        left: how often integers left their range, by population and kind (`neurodeploy.program.overflow`); None from
            back-ends that do not count.
    """

    backend: str
    steps: int
    samples: int
    spikes: Mapping[str, Events]
    states: Mapping[str, Mapping[str, Array]] = field(default_factory=dict)
    active: Mapping[str, Array] = field(default_factory=dict)
    touched: Mapping[str, Array] = field(default_factory=dict)
    changed: Mapping[str, Array] = field(default_factory=dict)
    learned: Mapping[str, Mapping[str, Array]] = field(default_factory=dict)
    flags: Array | None = None
    learning_work: Mapping[str, Array] = field(default_factory=dict)
    left: Left | None = None
    reached: Mapping[str, Array] = field(default_factory=dict)
    hosted: Mapping[str, Array] = field(default_factory=dict)


LEARNING_WORK = counted("work")
"""What learning synapses do: at the end of an epoch, synapses for which some product is due, those of them of which w,
d or t took another value, and products computed; in every step, traces that got an impulse for a spike and traces that
were not 0 and decayed, on the sources' side (on each core that holds synapses of the projection) and the targets'."""


def learned_shapes(kind: Connectivity) -> dict[str, tuple[int, ...]]:
    """Shapes of what `Recording.learned` holds for synapses, of one sample and step."""
    synapses, sources, targets = (kind.outputs, kind.inputs), (kind.inputs,), (kind.outputs,)
    return {
        **dict.fromkeys(("weights", "tag_1", "tag_2"), synapses),
        **dict.fromkeys(("x1", "x2"), sources),
        **dict.fromkeys(("y1", "y2", "y3"), targets),
    }


def differing(population: Population, first: Recording, second: Recording) -> int:
    """Neuron-steps that differ between two runs; of values, which come in units of their own, whether there is one."""
    one, other = (run.spikes[population.name].dense() for run in (first, second))
    values = population.neuron.valued
    return int(((one != 0) != (other != 0)).sum() if values else (one != other).sum())


def series_of(network: Network, recording: Recording) -> Callable[[Series], Array]:
    """Gives what an answer reads, ``[time, batch, neurons]``: payloads, or potentials in float units.

    Integer potentials are divided by the population's scale.

    Raises:
        InvalidInputError: when asked for what was not recorded.
    """

    def series(leaf: Series) -> Array:
        name = leaf.population
        if not recorded(leaf, recording):
            raise InvalidInputError(
                f"the answer reads {leaf.phrase}, which {recording.backend} did not record",
                hint="run it on another back-end, or record them",
            )
        if leaf.port == "spikes":
            return recording.spikes[name].dense()
        if leaf.port == "value":
            return recording.hosted[name]
        return np.asarray(recording.states["v"][name] / network.by_name[name].scales)

    return series


def recorded(leaf: Series, recording: Recording) -> bool:
    """Whether a recording holds what a part of an answer reads."""
    there = {"spikes": recording.spikes, "value": recording.hosted}.get(leaf.port, recording.states.get("v", {}))
    return leaf.population in there


def decidable(network: Network, recording: Recording) -> bool:
    """Whether a recording holds all that `scores` reads by the network's answer."""
    own = network.answer.score if network.answer else None
    return own is None or all(recorded(leaf, recording) for leaf in own.series())


def returned(network: Network, recording: Recording) -> list[Array]:
    """What the user's ``forward`` returns, float64 each; nothing where the network has no answer.

    Raises:
        InvalidInputError: as `Answer.evaluate` and `series_of`.
    """
    return network.answer.evaluate(series_of(network, recording)) if network.answer else []


def scores(network: Network, recording: Recording) -> Array:
    """Class scores ``[batch, classes]``: those of the network's answer.

    Where it has none: for each neuron of all outputs the spikes sent (payloads added up), or the potential of a
    read-out, summed or of the last step as the network has it (`Network.read`), in float units.

    Raises:
        InvalidInputError: as `returned`.
    """
    own = network.answer.scores(series_of(network, recording)) if network.answer else None
    if own is not None:
        return own
    parts = []
    for name in network.outputs:
        population = network.by_name[name]
        if population.spiking:
            events = recording.spikes[name]
            flat = np.bincount(
                events.sample.astype(np.int64) * events.neurons + events.neuron,
                events.payload,
                minlength=events.samples * events.neurons,
            )
            parts.append(flat.reshape(events.samples, events.neurons).astype(np.float64))
        else:
            v = recording.states["v"][name]
            read = v.sum(axis=0, dtype=np.float64) if network.read == "sum" else v[-1].astype(np.float64)
            parts.append(read / population.scales)
    return np.concatenate(parts, axis=1)


def check_labels(labels: Array, samples: int, classes: int | None = None, what: str = "the labels") -> Array:
    """Return the class of each sample as whole numbers, ``[batch]``.

    Args:
        classes: how many there are, where that is known.
        what: for the message, the file for example.

    Raises:
        InvalidInputError: another number of labels than samples, one-hot vectors, fractions, or a class that is none.
    """
    labels = np.asarray(labels)
    if labels.shape != (samples,):
        hint = "give the classes of these samples, in their order"
        if labels.ndim == 2 and len(labels) == samples:
            hint = "these look like one-hot vectors: give their argmax"
        raise InvalidInputError(
            f"{what} are not one class for each sample", found=f"{list(labels.shape)} for {samples} samples",
            allowed=[samples], hint=hint,
        )  # fmt: skip
    if labels.dtype.kind not in "biuf" or (labels.dtype.kind == "f" and (labels != np.rint(labels)).any()):
        raise InvalidInputError(f"{what} are not whole numbers", found=str(labels.dtype), allowed="0, 1, 2, ...")
    most = np.iinfo(np.int64).max if classes is None else classes - 1
    if labels.size and not 0 <= labels.min() <= labels.max() <= most:
        raise InvalidInputError(
            f"{what} name classes that do not exist", found=f"{labels.min()} to {labels.max()}",
            allowed=f"0 to {most}, the network's outputs" if classes is not None else "0 or more",
            hint="count classes from 0",
        )  # fmt: skip
    return labels.astype(np.int64)


TIE = 1e-12
"""Part of a sample's largest score by which others may fall short of the best and still be equal to it: what rounding
makes of equal numbers (shares of votes, means), in an order of additions that no two programs have in common."""


@dataclass(frozen=True, eq=False)
class Decisions(Sealed):
    """The class of each sample, and for which of them it is no decision.

    Args:
        predicted: ``[batch]``, the class with the largest score; of several, the lowest, as argmax does.
        tied: ``[batch]``, whether other classes share that score (to a part of `TIE`), or it is not a number.
        silent: ``[batch]``, whether no output neuron sent a spike; never so where a potential is read.
    """

    predicted: Array
    tied: Array
    silent: Array

    @property
    def undecided(self) -> int:
        """Samples that are tied or silent."""
        return int((self.tied | self.silent).sum())

    def accuracy(self, labels: Array) -> float:
        """Share of samples, ``labels`` of `check_labels`, whose class is their label."""
        return float((self.predicted == labels).mean())


def decided(found: Array, silent: Array | None = None) -> Decisions:
    """Decide by the largest of the scores ``[batch, classes]``; ``silent`` as in `Decisions` (default: none is)."""
    best = found.max(axis=1, keepdims=True)
    known = np.isfinite(best[:, 0])
    with np.errstate(invalid="ignore"):
        size = np.abs(found).max(axis=1, keepdims=True, where=np.isfinite(found), initial=0.0)
        first = found >= best - TIE * size
    predicted = np.where(known, first.argmax(axis=1), found.argmax(axis=1))
    tied = (first.sum(axis=1) != 1) | ~known
    return Decisions(predicted, tied, np.zeros(len(found), bool) if silent is None else silent)


def decisions(network: Network, recording: Recording) -> Decisions:
    """Decide by `scores`."""
    own = network.answer.score if network.answer else None
    if own is not None:
        read = {(leaf.population, leaf.port == "spikes") for leaf in own.series()}
    else:
        read = {(name, network.by_name[name].spiking) for name in network.outputs}
    sent = np.zeros(recording.samples, np.int64)
    for name, spiking in read:
        if spiking:
            sent += np.bincount(recording.spikes[name].sample, minlength=recording.samples)
    return decided(scores(network, recording), (sent == 0) & all(spiking for _, spiking in read))


def accuracy(network: Network, recording: Recording, labels: Array) -> float:
    """Share of samples whose largest score is their label's; ties go to the lower class, as argmax does.

    Raises:
        InvalidInputError: see `check_labels`.
    """
    return decisions(network, recording).accuracy(check_labels(labels, recording.samples, network.classes))


def _binary(value: Array) -> bool:
    """Whether all are 0 or 1."""
    if value.dtype == bool or value.dtype == np.uint8:
        return bool(value.max() <= 1)
    return bool(((value == 0) | (value == 1)).all())


def check_finite(name: str, value: Array) -> None:
    """Refuse what no neuron can compute with: one NaN would silence all that it reaches."""
    if value.dtype.kind not in "fc" or (finite := np.isfinite(value)).all():
        return
    first = np.argwhere(~finite)[0]
    raise InvalidInputError(
        f"input {name!r} holds values that are not finite",
        found=f"{int((~finite).sum()):,} of {value.size:,}, the first {value[tuple(first)]} at {first.tolist()}",
        allowed="finite numbers",
        hint="clean the data, and look where it comes from",
    )


COUNTS_HINT = (
    "clip them to 1 (numpy.minimum(x, 1)), bin the events into more and shorter steps, or take a chip with graded "
    "spikes (--chip loihi2)"
)
"""What to do about counts where single spikes are meant."""

SIGNED_HINT = (
    "give each sign channels of its own (numpy.concatenate([x > 0, x < 0], 2), and a network trained with them), or "
    "take a chip with graded spikes (--chip loihi2)"
)
"""What to do about events of both signs where spikes are meant."""


def what_is_graded(values: Array) -> tuple[str, str]:
    """What whole numbers are that are no spikes, for a message, and what to do."""
    if values.min() < 0:
        return "has negative values", SIGNED_HINT
    return "counts several events in a step", COUNTS_HINT


def check_inputs(network: Network, inputs: Mapping[str, Array]) -> tuple[int, int, dict[str, Array]]:
    """Return ``(steps, samples, inputs)`` with every input as ``[time, batch, neurons]``.

    A single array may be given under the key ``""`` when the network has one input.

    Raises:
        InvalidInputError: a missing or surplus input, a wrong shape, values that are not finite, or in an integer
            network not 0 or 1 spikes (where only the host reads it, any values).
    """
    there = on_chip(network)
    names = [p.name for p in network.inputs]
    given = {names[0] if key == "" and len(names) == 1 else key: np.asarray(value) for key, value in inputs.items()}
    if sorted(given) != sorted(names):
        raise InvalidInputError("the inputs do not match the network", found=sorted(given), allowed=sorted(names))
    flat: dict[str, Array] = {}
    extent: tuple[int, int] | None = None
    for population in network.inputs:
        value = given[population.name]
        expected = f"[time, batch, {', '.join(map(str, population.shape))}]"
        flattened = value.ndim == 3 and value.shape[2] == population.size
        if not flattened and (value.ndim < 2 or value.shape[2:] != population.shape):
            raise InvalidInputError(
                f"input {population.name!r} has the wrong shape",
                found=list(value.shape),
                allowed=expected,
                hint="put time first, then the batch (use one sample as a batch of 1)",
            )
        if value.dtype.kind not in "biuf":
            raise InvalidInputError(f"input {population.name!r} is not numeric", found=str(value.dtype))
        if value.size == 0:
            raise InvalidInputError(f"input {population.name!r} is empty", found=list(value.shape), allowed=expected)
        check_finite(population.name, value)
        if extent not in (None, value.shape[:2]):
            raise InvalidInputError(
                f"input {population.name!r} differs in time or batch", found=value.shape[:2], allowed=extent
            )
        bits, sent = max(1, population.neuron.message_bits(network.arithmetic)), population.name in there
        if network.arithmetic == "loihi" and sent and bits > 1:
            if (value != np.rint(value)).any() or np.abs(value).max() >= 1 << (bits - 1):
                raise InvalidInputError(
                    f"input {population.name!r} does not fit its messages",
                    found=f"values from {value.min()} to {value.max()}",
                    allowed=f"whole numbers of {bits} bits, sign included",
                    hint="scale, clip and round the input, or compile with such samples as --calibration",
                )
        elif network.arithmetic == "loihi" and sent and not _binary(value):
            raise _not_binary(population.name, value)
        extent = (value.shape[0], value.shape[1])
        flat[population.name] = value.reshape(*extent, population.size)
    if extent is None:
        raise InvalidInputError("the network has no input")
    return *extent, flat


def _not_binary(name: str, value: Array) -> InvalidInputError:
    """The refusal of an input that is not spikes: signed ones, counts, or values."""
    whole = bool((value == np.rint(value)).all())
    what, hint = "is not binary", "encode the sample as spikes (rate or latency) before running it on a chip"
    if whole:
        what, hint = what_is_graded(value)
        hint += ", compiled with such samples as --calibration"
    return InvalidInputError(
        f"input {name!r} {what}",
        found=f"values from {value.min()} to {value.max()}",
        allowed="spikes, 0 or 1, as the Program was compiled for",
        hint=hint,
    )
