"""One input through every stage, each compared with the one before."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from neurodeploy import backends
from neurodeploy.errors import BackendError
from neurodeploy.files.tables import html_table
from neurodeploy.network.network import Network
from neurodeploy.verify.compare import Pair
from neurodeploy.verify.stages import Accuracy, Verified

if TYPE_CHECKING:
    from neurodeploy.report.document import Report, Stage

BACKENDS = ("reference", "hwsim", "lava")
"""Back-ends that `verify` runs; Lava is left out where it is not set up."""

COLUMNS = ("compared", "verdict", "spikes", "differ", "distance", "potentials differ", "first divergence")


@dataclass(frozen=True, eq=False, repr=False)
class Verification:
    """What was compared, and what came of it.

    Args:
        network: that was verified.
        of: pairs of stages, recordings and accuracies (`neurodeploy.verify.stages.Verified`).
        arithmetic: with which the network runs, in words.
        left_out: back-ends that cannot run here, with the reason.
        warnings: what may make this the verification of another network.
        measured: accuracy, counts, energy and time on all samples, where they were asked for.
    """

    network: Network
    of: Verified
    arithmetic: str
    left_out: Mapping[str, str]
    warnings: tuple[str, ...]
    measured: Report | None = None

    @property
    def passed(self) -> bool:
        """Whether all stages that must be equal are."""
        return self.of.passed

    @property
    def pairs(self) -> list[Pair]:
        """The comparisons, in order."""
        return self.of.pairs

    @property
    def accuracies(self) -> list[Accuracy]:
        """Accuracy at each stage; None where there were no labels."""
        return self.of.accuracies

    @property
    def on_all(self) -> tuple[Stage, ...]:
        """Accuracies on all samples, where they were measured."""
        return self.measured.networks[0].stages_on_all if self.measured else ()

    def as_json(self) -> dict[str, Any]:
        """The comparisons for scripts; what ``neurodeploy verify --json`` prints."""
        answer = self.network.answer
        return {
            "passed": self.passed,
            "pairs": [{**_named(asdict(pair)), "verdict": pair.verdict, "equal": pair.equal} for pair in self.pairs],
            "accuracies": [asdict(entry) for entry in self.accuracies],
            "arithmetic": self.arithmetic,
            "answer": answer.described() if answer else None,
            "accuracies_on_all": [stage.model_dump() for stage in self.on_all],
            "warnings": list(self.warnings),
            "left_out": dict(self.left_out),
        }

    def rows(self) -> list[tuple[object, ...]]:
        """A row a comparison: see `COLUMNS`."""
        return [_row(pair) for pair in self.pairs]

    def __repr__(self) -> str:
        said = ", ".join(f"{p.first} {'=' if p.exact_by_design else '~'} {p.second}: {p.verdict}" for p in self.pairs)
        return f"<Verification {'passed' if self.passed else 'FAILED'}: {said}>"

    def _repr_html_(self) -> str:
        return html_table(COLUMNS, self.rows(), f"{'passed' if self.passed else 'FAILED'}", self.warnings)


def chosen(asked: Sequence[str] | None) -> tuple[tuple[str, ...], dict[str, str]]:
    """The back-ends to verify, and those of the default that cannot run here, with the reason.

    Raises:
        BackendError: one that was asked for cannot run here.
        InvalidInputError: there is no such back-end.
    """
    names = asked or BACKENDS
    reasons = {name: why for name in names if backends.get(name) and (why := backends.missing(name))}
    if asked and reasons:
        name, why = next(iter(reasons.items()))
        raise BackendError(
            f"the back-end {name!r} cannot run here", found=why, hint="make it run, or leave it out of --backends"
        )
    return tuple(name for name in names if name not in reasons), reasons


def _row(pair: Pair) -> tuple[object, ...]:
    where = "-"
    if (d := pair.divergence) is not None:
        where = f"{d.population}, step {d.step}, sample {d.sample}, neuron {d.neuron}"
        if d.first_v is not None and d.second_v is not None:
            where += f": v {d.first_v:.6g} / {d.second_v:.6g}"
    return (
        f"{pair.first} {'=' if pair.exact_by_design else '~'} {pair.second}",
        pair.verdict if pair.passed else pair.verdict.upper(),
        f"{pair.spikes[0]:,} / {pair.spikes[1]:,}",
        pair.spikes_different,
        f"{pair.spike_distance:.4f}",
        "-" if pair.states_different is None else pair.states_different,
        where,
    )


def _named(value: Any) -> Any:
    """What is infinite or not a number as a text, which JSON can hold."""
    if isinstance(value, Mapping):
        return {key: _named(item) for key, item in value.items()}
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
