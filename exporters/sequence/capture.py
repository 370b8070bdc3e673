"""From a module as its user calls it to a NIR graph of one step, and the rule that gives what forward returns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from neurodeploy.errors import InvalidInputError, NeurodeployError, UnsupportedError
from neurodeploy.network.answer import Answer, Returned
from neurodeploy.network.arrays import Array
from neurodeploy.network.expressions import Series

from ..framework import Framework, NoNeuronsError, names_in, of_any
from ..read_out import noted
from ..torch_step.graph import to_nir
from ..usage import AXES, HostCut, TimeAxis, Usage
from ..user_run import as_taken
from ..watching import Watch
from .encoders import encode, encoders_of
from .hosted.graph import read_by, said_of, with_stages
from .hosted.steps import Stepwise, stepwise
from .inputs import tensor_of, time_of
from .record import record
from .terms import MixedError
from .understood import known_of, plainer, understood
from .watched import watched

if TYPE_CHECKING:
    import nir

LONG = 64
"""Steps and samples of a part that is recorded in the search for time, at most."""

FEW = 5
"""Steps of the sample that are recorded first; all of them where these do not say enough."""


@dataclass(frozen=True, eq=False)
class Captured:
    """A module as one step.

    Args:
        graph: of one step.
        answer: how what forward returns comes from it; None where nothing of it can be said as a rule.
        usage: of the sample.
        left_out: number of a returned value that is not kept -> why.
        kept: numbers of the returned values that the answer gives, in its order.
        encoded: lines of the encoder in front of the network, which stays on the host; empty where there is none.
        recorded_steps: how many steps were recorded.
        silent: number of a returned value that depends on spikes of layers that never spike alone -> the value.
        watch: where the neurons that are written by hand spike; None without such.
        whole: whether a host takes all steps at once, so that it holds for as many as were recorded.
    """

    graph: nir.NIRGraph
    answer: Answer | None
    usage: Usage
    left_out: Mapping[int, str]
    kept: tuple[int, ...]
    encoded: tuple[str, ...]
    recorded_steps: int
    silent: Mapping[int, Returned] = field(default_factory=dict)
    watch: Watch | None = None
    whole: bool = False

    @property
    def hosted(self) -> tuple[str, ...]:
        """What the host computes, a line for each stage."""
        return said_of(self.graph)

    def said(self) -> dict[str, Any]:
        """What the file's metadata say of it besides its answer."""
        entries: dict[str, Any] = {"time_axis": str(self.usage.axis), "steps": self.usage.steps}
        if self.usage.order:
            entries["flat_order"] = self.usage.order
        if self.encoded:
            entries["encoder"] = "; ".join(self.encoded)
        if self.left_out:
            entries["left_out"] = "; ".join(f"returned[{i}]: {why}" for i, why in self.left_out.items())
        return entries


def captures(
    module: nn.Module,
    sample: Array,
    axis: TimeAxis | None,
    dt: float | None,
    framework: Framework,
    *,
    host: HostCut = "bits",
) -> Iterator[Captured]:
    """Ways to say the module as one step, the likeliest first; a proof decides.

    Args:
        sample: exactly what forward takes (all steps, where forward takes one).
        axis: where time lies in it; None finds out by what the module does.
        host: how a host beside the chip is cut out, which computes what the chip cannot; ``none`` refuses that.

    Raises:
        UnsupportedError: the module is not the same in every step, or an operator cannot be said.
        InvalidInputError: the module does not take the sample, or the time axis is not clear.
    """
    one = axis if axis is not None else find_axis(module, sample, framework, host=host)
    failed: NeurodeployError | None = None
    some = False
    for part, usage in _parts(module, sample, one, framework):
        try:
            captured = _captured(module, part, usage, dt, framework, host)
        except NeurodeployError as error:
            failed = plainer(failed, error)
            continue
        whole = whole_usage(sample, one, captured.usage)
        if captured.whole and captured.recorded_steps < whole.steps:
            continue
        some = True
        yield replace(captured, usage=whole)
    if failed is not None and not some:
        raise failed


def captured_over(module: nn.Module, sample: Array, steps: int, dt: float | None, framework: Framework) -> Captured:
    """A module of one step, recorded over so many steps; those of the sample follow each other again and again."""
    failed: NeurodeployError | None = None
    for samples in dict.fromkeys((2, sample.shape[1])):
        part = np.take(_batch(sample, 1, samples), np.arange(steps) % len(sample), axis=0)
        try:
            return _captured(module, part, Usage("step", steps, samples), dt, framework)
        except NeurodeployError as error:
            failed = plainer(failed, error)
    assert failed is not None
    raise failed


def whole_usage(sample: Array, axis: TimeAxis, part: Usage) -> Usage:
    """The usage of the whole sample, from that of the part of it that was recorded."""
    if axis == "none":
        return Usage("none", part.steps, len(sample))
    if axis == "flat":
        return replace(part, steps=len(sample) // part.samples)
    time = 0 if axis == "step" else axis
    batch = 1 if time == 0 else 0
    return Usage(axis, sample.shape[time], sample.shape[batch])


def find_axis(module: nn.Module, sample: Array, framework: Framework, *, host: HostCut = "bits") -> TimeAxis:
    """Where time lies in a sample, by what the module does with it: under any other reading its steps and the samples
    of the batch are mixed.

    Raises:
        InvalidInputError: it is not clear.
        UnsupportedError: the module cannot be exported under the only reading in which it runs.
    """
    found: dict[TimeAxis, int] = {}
    failed: dict[TimeAxis, NeurodeployError] = {}
    for also, axes in product(dict.fromkeys(("none", host)), _READINGS):
        without: set[TimeAxis] = set()
        for axis in axes:
            if (axis == -1 and sample.ndim < 3) or isinstance(failed.get(axis), NoNeuronsError):
                continue
            try:
                steps, memory = _steps_under(module, sample, axis, framework, also)
            except NeurodeployError as error:
                failed[axis] = error if axis not in failed else plainer(failed[axis], error)
                continue
            if not memory:
                without.add(axis)
            elif axis != "none" or steps > 1:
                found[axis] = steps
        if found:
            break
        if without:
            return next(axis for axis in _WITHOUT_MEMORY if axis in without)
    # A single step says nothing of time: a module of one step takes [time, 1, ...] as a batch of one step, too.
    fitting = [axis for axis, steps in found.items() if steps > 1] or list(found)
    if len(fitting) == 1:
        return fitting[0]
    refused = [e for a, e in failed.items() if isinstance(e, UnsupportedError) and not isinstance(e, MixedError)]
    refused.sort(key=lambda e: isinstance(e, NoNeuronsError))
    if not fitting and refused:
        raise refused[0]
    if not fitting and all(isinstance(e, InvalidInputError) for a, e in failed.items() if a in ("step", 0, 1, "none")):
        raise failed[0]  # forward does not take it at all
    tried = "; ".join(f"{axis}: {error.what}" for axis, error in failed.items())
    raise InvalidInputError(
        "where time lies in the sample is not clear",
        found=f"it may be {' or '.join(map(str, fitting))}" if fitting else f"{list(sample.shape)}; {tried}",
        allowed=f"--time-axis {', '.join(map(str, AXES))}",
        hint="say it with --time-axis: 0, 1 or -1 where forward takes whole sequences, flat for batch*time, none for a "
        "static input that forward repeats, step where forward computes one step a call",
    )


_READINGS: tuple[tuple[TimeAxis, ...], ...] = (("step", 0, 1, "none"), ("flat", -1))
"""Where time is looked for: in the second places where it is in none of the first."""


_WITHOUT_MEMORY: tuple[TimeAxis, ...] = ("step", "none", 0, 1, "flat", -1)
"""Where time is looked for in a network whose neurons keep nothing, so that steps may be samples: the likeliest."""


def _steps_under(
    module: nn.Module, sample: Array, axis: TimeAxis, framework: Framework, host: HostCut
) -> tuple[int, bool]:
    """Steps of a module when its sample is read in this way, and whether its neurons have a memory.

    Args:
        host: as for `understood`.

    Raises:
        NeurodeployError: it is not the same in every step, or does not take the sample, read in this way.
    """
    failed: NeurodeployError | None = None
    for part, usage in _parts(module, sample, axis, framework):
        if failed is not None and max(usage.steps, usage.samples) > LONG:
            break
        try:
            with _followable():
                recorded = record(module, tensor_of(module, part), usage, framework)
                known = understood(recorded, usage, host)
                return known.folded.last + 1, known.memory
        except NeurodeployError as error:
            failed = plainer(failed, error)
            if isinstance(error, MixedError):  # as it would be in the whole sample
                break
    if failed is None:
        raise InvalidInputError("the sample cannot be read in this way", found=f"{list(sample.shape)}")
    raise failed


def _parts(module: nn.Module, sample: Array, axis: TimeAxis, framework: Framework) -> Iterator[tuple[Array, Usage]]:
    """Parts of the sample to record: a few steps of two samples first, all of it last."""
    least = 2 if axis in ("none", "flat") else 3
    if sample.ndim < least:
        raise InvalidInputError(
            "the sample has too few dimensions", found=f"{list(sample.shape)} with --time-axis {axis}",
            allowed=f"{least} or more: the batch{'' if least == 2 else ', time'} and the shape of what arrives",
            hint="give it a batch (of one: x[:, None] behind time), and let forward take that",
        )  # fmt: skip
    if axis == "none":
        for samples in dict.fromkeys((2, len(sample))):
            yield _batch(sample, 0, samples), Usage("none", 0, samples)
        return
    if axis == "flat":
        for batch, outside in _flat_batches(module, len(sample)):
            usage = Usage("flat", len(sample) // batch, batch, outside)
            first = usage.time_first(sample)
            for steps in dict.fromkeys((min(FEW, usage.steps), usage.steps)):
                few = replace(usage, steps=steps)
                yield few.as_given(first[:steps]), few
        return
    time = 0 if axis == "step" else axis % sample.ndim
    if time >= sample.ndim:
        raise InvalidInputError(
            "the sample has no such time axis", found=f"--time-axis {axis} of {list(sample.shape)}",
            allowed="a dimension for time and one for the batch",
        )  # fmt: skip
    batch = 1 if time == 0 else 0
    steps, samples = sample.shape[time], sample.shape[batch]
    for few, some in dict.fromkeys(((min(FEW, steps), 2), (min(FEW, steps), samples), (steps, 2), (steps, samples))):
        part = np.take(_batch(sample, batch, some), range(few), axis=time)
        yield part, Usage(axis, few, some)


def _batch(sample: Array, axis: int, samples: int) -> Array:
    """So many samples along ``axis``; those that there are again, where there are fewer."""
    taken: Array = np.take(sample, np.arange(samples) % sample.shape[axis], axis=axis)
    return taken


def _flat_batches(module: nn.Module, rows: int) -> list[tuple[int, bool]]:
    """Samples in a flat batch, and whether the batch is the outer one, that fit the module."""
    found: dict[tuple[int, bool], None] = {}
    for part in module.modules():
        batch, steps = getattr(part, "batch_size", None), getattr(part, "num_timesteps", None)
        if isinstance(batch, int) and batch > 0 and rows % batch == 0:
            found[batch, True] = None
        if isinstance(steps, int) and steps > 0 and rows % steps == 0:
            found[rows // steps, True] = None
    if not found:
        for batch in range(1, min(rows, LONG + 1)):
            if rows % batch == 0:
                found |= {(batch, True): None, (batch, False): None}
    return list(found)


@contextmanager
def _followable() -> Iterator[None]:
    """Operators in uses that were not foreseen are refused like those that are not known.

    Raises:
        UnsupportedError: in place of any error that is none of ours.
    """
    try:
        yield
    except NeurodeployError:
        raise
    except Exception as error:
        said = str(error).strip().split("\n")[0]
        raise UnsupportedError(
            "the module cannot be followed through its steps",
            found=f"{type(error).__name__}: {said}",
            hint="write the layers of a step, or of whole sequences, more plainly; please report this with the module",
        ) from error


def _captured(
    module: nn.Module, part: Array, usage: Usage, dt: float | None, framework: Framework, host: HostCut = "bits"
) -> Captured:
    """One way to say a module, of a part of its sample; with a host where it cannot be said without, if it may.

    Raises:
        UnsupportedError, InvalidInputError: as `captures`.
    """
    with _followable():
        return _followed(module, part, usage, dt, framework, host)


def _followed(
    module: nn.Module, part: Array, usage: Usage, dt: float | None, framework: Framework, host: HostCut
) -> Captured:
    recorded = record(module, tensor_of(module, part), usage, framework)
    known, answers, last = known_of(recorded, usage, host)
    folded = known.folded
    read = [*answers.read]
    if not read:
        read = [folded.chains[-1]]
    sites = {chain.site: chain.path for chain in folded.chains}
    modules = {site: recorded.neurons[path] for site, path in sites.items() if site not in known.by_hand}
    rules = {site: known.by_hand[site].rule.neuron for site in sites if site in known.by_hand}

    def build(cut: Stepwise) -> tuple[nir.NIRGraph, list[str], Stepwise]:
        return *to_nir(cut.step, modules, sites, dt, framework, rules), cut

    graph, names, cut = stepwise(folded, read, read_by(known.before, last), build, host=host)
    graph = with_stages(graph, names, known.before, last, cut)
    answer = None if answers.answer is None else _named(answers.answer, read, names, graph)
    if answer is None:
        said = "; ".join(answers.left_out.values())
        raise UnsupportedError("nothing that forward returns can be kept as a rule", found=said)
    whole = bool(last) or any(stage.steps for stage in known.before.stages)
    return Captured(
        graph, answer, replace(usage, steps=folded.last + 1), answers.left_out, tuple(answers.kept), known.encoded,
        folded.last + 1, watch=watched(recorded, known.by_hand), whole=whole,
    )  # fmt: skip


def watch_of(module: nn.Module, sample: Array, usage: Usage) -> Watch | None:
    """Where the neurons of a module that are written by hand spike; None without such.

    Raises:
        UnsupportedError, InvalidInputError: as `captures`.
    """
    if names_in(module):
        return None
    return next(captures(module, sample, usage.axis, None, of_any(module))).watch


def _named(answer: Answer, read: list[Any], names: list[str], graph: nir.NIRGraph) -> Answer:
    """The answer with the names of nodes; what a layer that is no spiking neuron sends is its potential."""
    named = answer.renamed({f"#{i}": name for i, name in enumerate(names)})
    reading = {name for name, node in graph.nodes.items() if type(node).__name__ in ("LI", "I", "CubaLI")}
    reading -= set(noted(graph))

    def meant(expr: Any) -> Any:
        if isinstance(expr, Series):
            if expr.port == "spikes" and expr.population in reading:
                return replace(expr, port="potential")
            return expr
        return expr.rebuilt([meant(child) for child in expr.children])

    return replace(named, returned=tuple(replace(one, value=meant(one.value)) for one in named.returned))


def network_input(module: nn.Module, sample: Array, captured: Captured, framework: Framework, seed: int = 0) -> Array:
    """What the network receives of a sample, ``[time, batch, *shape]``: the sample as the module takes it, or what its
    encoder makes of it with the random numbers that follow ``seed``."""
    if not captured.encoded:
        taken = as_taken(module, sample)
        return captured.usage.time_first(sample if np.array_equal(taken, sample) else taken)
    given = tensor_of(module, sample)
    recorded = record(module, given, captured.usage, framework, wide=False)
    values = encode(recorded, given, seed)
    if len(values) > 1:
        return torch.stack(values).numpy()
    return values[0].movedim(time_of(encoders_of(recorded)[0][0], captured.usage), 0).numpy()


def laid_out(module: nn.Module, steps: Array, axis: TimeAxis | None) -> tuple[Array, TimeAxis]:
    """A sample ``[time, batch, *shape]`` of our own as the module takes it, and where time lies in it.

    Raises:
        InvalidInputError, UnsupportedError: as `find_axis`, of the likeliest reading.
    """
    kind = of_any(module)
    failed: NeurodeployError | None = None
    for one in (axis,) if axis is not None else ("step", 0, 1, "flat", "none"):
        usage = Usage(one, *steps.shape[:2])
        if one == "flat":
            batches = _flat_batches(module, steps.shape[0] * steps.shape[1])
            usage = replace(usage, samples=batches[0][0], steps=steps.shape[0])
            steps = steps[:, np.arange(usage.samples) % steps.shape[1]]
        given = usage.as_given(np.repeat(steps[:1], len(steps), 0) if one == "none" else steps)
        if axis is not None:
            return given, one
        try:
            if find_axis(module, given, kind) == one:
                return given, one
        except NeurodeployError as error:
            if failed is None or (isinstance(error, UnsupportedError) and not isinstance(failed, UnsupportedError)):
                failed = error
    assert failed is not None
    raise failed
