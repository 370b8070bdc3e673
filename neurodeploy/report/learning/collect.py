"""From learning runs and adaptations to the parts of their report document."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from neurodeploy import __version__
from neurodeploy.hwsim.chips.arch import Architecture
from neurodeploy.hwsim.event_learning.kernels import KINDS
from neurodeploy.hwsim.prices.learning_bill import bill, by_layer
from neurodeploy.hwsim.prices.pricing import Bill
from neurodeploy.learning.digits.scenarios import SCENARIOS, Adapted
from neurodeploy.learning.run import Run
from neurodeploy.learning.setup import Setup
from neurodeploy.network.arrays import Array

from ..build import line_of, missing_of
from ..document import EnergyLine, MissingLine
from .document import (
    BASELINES,
    SCENARIO_TITLES,
    TITLES,
    Adaptation,
    AdaptationPoint,
    Baseline,
    LearningReport,
    Memory,
    Point,
    Priced,
    Row,
    RuleResult,
)


def lines_of(found: Bill) -> tuple[EnergyLine, ...]:
    """What has a price, learning first."""
    return tuple(line_of(line) for line in (*found.learning, *found.inference))


def missing_in(found: Bill) -> tuple[MissingLine, ...]:
    """What has none, learning first."""
    return tuple(missing_of(item) for item in sorted(found.missing, key=lambda item: item.part != "learning"))


def priced(run: Run, arch: Architecture) -> Priced:
    """Price a run by one chip's file."""
    total, own = np.sum(run.counts, axis=0), run.learner
    own_bill = own.costs(total, run.taken, arch)
    baselines = own.baselines(total, run.taken, arch)
    return Priced(
        chip=arch.name, learning_pj=own_bill.learning_pj, inference_pj=own_bill.inference_pj, lines=lines_of(own_bill),
        baselines=tuple(
            Baseline(
                name=name, label=BASELINES[name], learning_pj=other.learning_pj,
                ratio=other.learning_pj / own_bill.learning_pj if own_bill.learning_pj and other.learning_pj else None,
            )
            for name, other in baselines.items()
        ),
        missing=missing_in(own_bill),
    )  # fmt: skip


def result_of(run: Run, archs: Sequence[Architecture]) -> RuleResult:
    """What a run did; its curve is priced by the first chip."""
    own, setup, arch = run.learner, run.setup, archs[0]
    total = np.sum(run.counts, axis=0)
    by_kind = dict(zip(own.kinds, total.sum(axis=0).tolist(), strict=True))
    curve = [Point(epoch=0, accuracy=run.accuracies[0], learning_pj=0, inference_pj=0)]
    for epoch, (counts, accuracy) in enumerate(zip(run.counts, run.accuracies[1:], strict=False), 1):
        part = own.costs(counts, own.size, arch)
        curve.append(
            Point(
                epoch=epoch, accuracy=accuracy, learning_pj=curve[-1].learning_pj + part.learning_pj * own.size,
                inference_pj=curve[-1].inference_pj + part.inference_pj * own.size,
            )
        )  # fmt: skip
    clocked = own.baselines(total, run.taken, arch)
    words = own.costs(total, run.taken, arch).count("stored_words")
    dense = clocked["dense"].count("stored_words") if clocked else 0.0
    rows = rows_of(own.layers, own.kinds, total, run.taken, own.by_layer(total, run.taken, arch))
    spikes = sum(row.counts.get("events_out", 0.0) for row in rows if row.layer != "chip")
    decided = own.decisions()
    return RuleResult(
        rule=setup.rule, title=TITLES[setup.rule], network=own.description, samples=run.taken, epochs=setup.epochs,
        accuracy=run.accuracies[-1], tested=len(decided.predicted), undecided=decided.undecided,
        silent=int(decided.silent.sum()), curve=tuple(curve), priced=tuple(priced(run, a) for a in archs),
        layers=rows, spikes=spikes, words=words, clocked_words=dense,
        skipped=by_kind.get("skipped", 0) / run.taken, settings=setup.as_dict(),
        right=tuple(right / own.size for right in run.right),
    )  # fmt: skip


def rows_of(
    layers: Sequence[str], kinds: Sequence[str], counts: Array, samples: int, bills: Sequence[Bill]
) -> tuple[Row, ...]:
    """Each layer's counts ``[layers, kinds]`` and the energy of what it learned, per sample."""
    rows = []
    for name, own, found in zip(layers, counts, bills, strict=True):
        each = {kind: float(n) / samples for kind, n in zip(kinds, own, strict=True) if n}
        missing = dict.fromkeys(item.label for item in found.missing)
        rows.append(Row(layer=name, counts=each, learning_pj=found.learning_pj, missing=tuple(missing)))
    return tuple(rows)


def memory_of(run: Run, arch: Architecture) -> Memory:
    """The words of a run's last epoch."""
    own, last = run.learner, run.counts[-1]
    words, dense = own.costs(last, own.size, arch), own.baselines(last, own.size, arch)["dense"]
    by_kind = dict(zip(own.kinds, last.sum(axis=0), strict=True))
    return Memory(
        rule=run.setup.rule, steps=run.setup.steps, words=words.count("stored_words"),
        events=float(by_kind["events_in"]) / own.size, clocked_words=dense.count("stored_words"),
    )  # fmt: skip


def report_of(
    runs: Sequence[Run], archs: Sequence[Architecture], title: str, memory: Sequence[Memory] = ()
) -> LearningReport:
    """The document of some runs; the first chip is the main one."""
    rules = tuple(result_of(run, archs) for run in runs)
    return LearningReport(
        title=title, neurodeploy=__version__, chip=archs[0].name, rules=rules, memory=tuple(memory)
    )  # fmt: skip


def adaptation_of(found: Adapted, scenario: str, setup: Setup, arch: Architecture) -> Adaptation:
    """What a deployed network learned on the chip, priced."""

    def by_kind(counts: Array) -> dict[str, Array]:
        return dict(zip(KINDS, counts.T, strict=True))

    points = [
        AdaptationPoint(
            samples=0, accuracy=found.accuracies[0], undecided=found.undecided[0], learning_pj=0, inference_pj=0,
            learned=0,
        )
    ]  # fmt: skip
    looks = zip(found.counts, found.samples[1:], found.accuracies[1:], found.undecided[1:], strict=True)
    for counts, samples, accuracy, undecided in looks:
        part = bill(by_kind(counts), 1, arch)
        points.append(
            AdaptationPoint(
                samples=int(samples),
                accuracy=accuracy,
                undecided=undecided,
                learning_pj=points[-1].learning_pj + part.learning_pj,
                inference_pj=points[-1].inference_pj + part.inference_pj,
                learned=points[-1].learned + int(by_kind(counts)["learned"].sum()),
            )
        )
    total, samples = found.counts.sum(axis=0), int(found.samples[-1])
    whole = bill(by_kind(total), samples, arch)
    rows = rows_of(found.layers, KINDS, total, samples, by_layer(by_kind(total), samples, arch))
    assert setup.weight_bits is not None
    return Adaptation(
        scenario=scenario, rule=TITLES[setup.rule], title=SCENARIO_TITLES[scenario], description=SCENARIOS[scenario],
        chip=arch.name, weight_bits=setup.weight_bits, changed=found.changed, tested=found.tested, points=tuple(points),
        lines=lines_of(whole), missing=missing_in(whole), layers=rows,
    )  # fmt: skip
