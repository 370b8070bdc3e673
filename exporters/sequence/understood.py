"""What is known of a recorded module: the one step that all are, with neurons written by hand, and its answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from neurodeploy.errors import InvalidInputError, NeurodeployError, UnsupportedError

from ..framework import NoNeuronsError, no_neurons
from ..usage import HostCut, Usage
from .answers import Answering, answering
from .encoders import compares
from .fold import Folded, fold
from .hosted.graph import behind_the_last, read_by
from .hosted.phases import Phases, phases
from .hosted.stage import Cutout
from .inputs import labels_of
from .lift import Lifted
from .record import Recorded
from .rewriting import with_neurons, with_thresholds
from .terms import MixedError
from .unroll import unroll


@dataclass(frozen=True, eq=False)
class Understood:
    """What is known of a recording.

    Args:
        before: its steps, with stages for what takes several at once.
        folded: the one that all are.
        by_hand: neuron layers written by hand, by what stands for them.
        encoded: lines of the encoder in front.
        memory: whether there are other neurons than thresholds written by hand.
    """

    before: Phases
    folded: Folded
    by_hand: Mapping[str, Lifted]
    encoded: tuple[str, ...]
    memory: bool = True


def understood(recorded: Recorded, usage: Usage, host: HostCut = "none") -> Understood:
    """The steps of a recording, the one that all are, neuron layers written by hand, and the encoder's lines.

    Args:
        host: how a host is cut out of what takes several steps at once; ``none`` refuses that.

    Raises:
        MixedError: as `fold`.
        UnsupportedError: there is no neuron in it; as `unroll` and `fold`.
    """
    inputs, encoded = labels_of(recorded, usage)
    failed: list[UnsupportedError] = []  # what looks like a neuron written by hand, and is none that we know
    try:
        unrolled, by_hand, failed = with_neurons(unroll(recorded, inputs, over_time=host != "none"), recorded.neurons)
        memory = bool(recorded.neurons or by_hand or failed)
        if not memory:
            unrolled, by_hand = with_thresholds(unrolled)
        if not recorded.neurons and not by_hand:
            raise failed[0] if failed else no_neurons(recorded.module_classes)
        if host != "none" and failed:
            raise failed[0]  # a neuron that nobody knows is no work for a host
        before = phases(unrolled, host) if host != "none" else Phases(unrolled, ())
        folded = fold(before.unrolled, expected(usage), read_by(before, ()))
        return Understood(before, folded, by_hand, encoded, memory)
    except MixedError:
        raise
    except UnsupportedError as error:
        if failed:
            raise failed[0] from None
        line = "" if encoded else compares(recorded)
        if not line:
            raise
        hint = f"if {line} is an encoder, it stays on the host: export the module that takes what it sends"
        raise error.again(hint=hint) from error


def _known(recorded: Recorded, usage: Usage, host: HostCut) -> Understood:
    """What is known of a recording; with stages over time where there is no other way, if there may be a host.

    Raises:
        UnsupportedError: as `understood`.
    """
    try:
        return understood(recorded, usage)
    except UnsupportedError as error:
        if host == "none":
            raise
        try:
            return understood(recorded, usage, host)
        except UnsupportedError as other:
            raise plainer(other, error) from other


def _answered(known: Understood, host: HostCut) -> tuple[Answering, list[Cutout]]:
    """The answer, with a stage behind the last step where no rule says it, if there may be a host."""
    unrolled, folded = known.before.unrolled, known.folded
    answers = answering(unrolled, folded)
    return answers, behind_the_last(unrolled, folded, answers, host) if host != "none" else []


def _with_host(recorded: Recorded, usage: Usage, host: HostCut) -> tuple[Understood, Answering, list[Cutout]] | None:
    """What is known where a host may take several steps at once; None where that says no more."""
    try:
        known = understood(recorded, usage, host)
    except UnsupportedError:
        return None
    answers, last = _answered(known, host)
    return (known, answers, last) if 0 in answers.kept else None


def known_of(recorded: Recorded, usage: Usage, host: HostCut) -> tuple[Understood, Answering, list[Cutout]]:
    """What is known of a recording, the answer, and a stage behind the last step where no rule says that.

    Args:
        host: how it is cut; it takes what there is no other way for.

    Raises:
        UnsupportedError: as `understood`.
    """
    known = _known(recorded, usage, host)
    answers, last = _answered(known, host)
    if host != "none" and 0 not in answers.kept and isinstance(known.before.unrolled.returned[0], UnsupportedError):
        return _with_host(recorded, usage, host) or (known, answers, last)
    return known, answers, last


def expected(usage: Usage) -> int | None:
    return None if usage.axis == "none" else usage.steps


def plainer(first: NeurodeployError | None, other: NeurodeployError) -> NeurodeployError:
    """Of two reasons why a module is refused, the one that says more; the later, which saw more of the sample."""
    ranks = [0 if e is None or isinstance(e, InvalidInputError) else 1 if isinstance(e, _OF_A_READING) else 2
             for e in (first, other)]  # fmt: skip
    return first if first is not None and ranks[0] > ranks[1] else other


_OF_A_READING = (MixedError, NoNeuronsError)
"""What may come of a wrong reading of the sample."""
