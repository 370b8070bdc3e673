"""The results of learning runs as one JSON document.

Energies are in pJ and, like all counts, means per training sample unless a field says otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from neurodeploy.files.atomic import write_text

from ..document import Count, EnergyLine, MissingLine, parsed

FORMAT: Literal["neurodeploy learning report"] = "neurodeploy learning report"
VERSION: Literal[4] = 4
"""Written into every document; raised when an older neurodeploy could no longer read what is written."""

Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, le=1)]

TITLES = {
    "mpd-ed": "MPD-ED",
    "std-ed": "STD-ED",
    "bptt": "surrogate gradient (BPTT)",
    "stdp": "STDP",
    "r-stdp": "reward-modulated STDP",
}
SCENARIO_TITLES = {"new-class": "A new class", "shifted-sensor": "A sensor that has shifted"}
BASELINES = {
    "dense": "clocked, dense",
    "zero-skipping": "clocked, skipping zeros",
    "once": "skipping zeros, read-out's error once",
}


def labels(missing: Iterable[MissingLine]) -> tuple[str, ...]:
    """What is missing in words, each once."""
    return tuple(dict.fromkeys(item.label for item in missing))


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Point(_Model):
    """After an epoch: test accuracy, and what all samples so far have cost (not per sample)."""

    epoch: int
    accuracy: Fraction
    learning_pj: Amount
    inference_pj: Amount


class Baseline(_Model):
    """Another way to learn from the same samples, and how many times the rule's learning energy it takes."""

    name: str
    label: str
    learning_pj: Amount
    ratio: Amount | None


class Priced(_Model):
    """A rule's energy by one chip's file; learning comes before the forward pass."""

    chip: str
    learning_pj: Amount
    inference_pj: Amount
    lines: tuple[EnergyLine, ...]
    baselines: tuple[Baseline, ...]
    missing: tuple[MissingLine, ...]

    @property
    def lacking(self) -> tuple[str, ...]:
        """Labels of what has no price, each once."""
        return labels(self.missing)


class Row(_Model):
    """A layer's counts by kind, and the energy of what it learned; None in documents that did not tell it.

    Args:
        layer: its name; ``chip`` for what is not counted by layer.
        missing: labels of what has no price.
    """

    layer: str
    counts: dict[str, Amount]
    learning_pj: Amount | None = None
    missing: tuple[str, ...] = ()


class RuleResult(_Model):
    """One run.

    Args:
        rate: spikes per neuron and step, in percent.
        words, clocked_words: stored for the way back: by the rule, and by the dense clocked engine.
        tested, undecided, silent: test samples; of these, those whose largest score several classes share or for which
            nothing spiked, and the latter; None where they were not counted.
        skipped: share of the samples that taught nothing.
        right: share of each epoch's samples whose class was right before learning from them.
    """

    rule: str
    title: str
    network: str
    samples: int
    epochs: int
    accuracy: Fraction
    tested: Count | None = None
    undecided: Count | None = None
    silent: Count | None = None
    curve: tuple[Point, ...]
    priced: tuple[Priced, ...]
    layers: tuple[Row, ...]
    spikes: Amount
    words: Amount
    clocked_words: Amount
    skipped: Fraction
    right: tuple[Fraction, ...] = ()
    settings: dict[str, object]

    @property
    def on_test(self) -> OnTest:
        """Its accuracy, and how many of the samples that it was tested with are undecided."""
        return OnTest(self.accuracy, self.tested or 0, self.undecided, self.silent)


class OnTest(NamedTuple):
    """An accuracy on so many samples, of them undecided, and of these without an output spike."""

    accuracy: float
    samples: int
    undecided: int | None
    silent: int | None


class Memory(_Model):
    """Words stored for the way back at so many steps of a sample."""

    rule: str
    steps: int
    words: Amount
    events: Amount
    clocked_words: Amount


class AdaptationPoint(_Model):
    """After so many samples: accuracies by the part of the test set, and what learning has cost so far.

    Args:
        undecided: samples of each part whose classes scored alike, where they were counted.
    """

    samples: int
    accuracy: dict[str, Fraction]
    undecided: dict[str, Count] = {}
    learning_pj: Amount
    inference_pj: Amount
    learned: int


class Adaptation(_Model):
    """A deployed network that goes on learning on the chip.

    Args:
        changed: the part of the test set that is new to the network.
        tested: samples of each part of the test set, where they were counted.
        learned: samples that were learned from; the others were right already.
    """

    scenario: str
    rule: str
    title: str
    description: str
    chip: str
    weight_bits: int
    changed: str
    tested: dict[str, Count] = {}
    points: tuple[AdaptationPoint, ...]
    lines: tuple[EnergyLine, ...]
    missing: tuple[MissingLine, ...]
    layers: tuple[Row, ...] = ()

    @property
    def lacking(self) -> tuple[str, ...]:
        """Labels of what has no price, each once."""
        return labels(self.missing)

    @property
    def learning_pj(self) -> float:
        """Per sample that came."""
        return self.points[-1].learning_pj / max(self.points[-1].samples, 1)

    @property
    def inference_pj(self) -> float:
        """Per sample that came."""
        return self.points[-1].inference_pj / max(self.points[-1].samples, 1)


class LearningReport(_Model):
    """The document; `chip` is that whose prices stand first in each rule's `priced`."""

    format: Literal["neurodeploy learning report"] = FORMAT
    version: Literal[2, 3, 4] = VERSION
    title: str
    neurodeploy: str
    chip: str
    rules: tuple[RuleResult, ...]
    memory: tuple[Memory, ...] = ()
    adaptations: tuple[Adaptation, ...] = ()

    def save(self, path: Path | str) -> None:
        """Write the document atomically."""
        write_text(path, self.model_dump_json(indent=1) + "\n")

    @classmethod
    def from_json(cls, text: str | bytes, where: str = "the report") -> LearningReport:
        """Read what `save` wrote; see `neurodeploy.report.document.parsed` for the errors."""
        return parsed(cls, FORMAT, VERSION, text, where)
