"""One input through every stage, each compared with the one before."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from neurodeploy import backends
from neurodeploy.compiler import Compiled
from neurodeploy.errors import BackendError
from neurodeploy.hwsim import narrow_states
from neurodeploy.hwsim.chips.arch import Architecture
from neurodeploy.network.arrays import Array
from neurodeploy.program import likeness
from neurodeploy.program.recording import check_inputs, check_labels
from neurodeploy.verify.compare import Pair
from neurodeploy.verify.stages import Accuracy, Runner, Verified, verify_program

from .show import html_table, progress

BACKENDS = ("reference", "hwsim", "lava")
"""Back-ends that `verify` runs; Lava is left out where it is not set up."""

COLUMNS = ("compared", "verdict", "spikes", "differ", "distance", "potentials differ", "first divergence")


@dataclass(frozen=True, eq=False, repr=False)
class Verification:
    """What was compared, and what came of it.

    Args:
        of: pairs of stages, recordings and accuracies (`neurodeploy.verify.stages.Verified`).
        left_out: back-ends that cannot run here, with the reason.
        warnings: what may make this the verification of another network.
    """

    of: Verified
    left_out: Mapping[str, str]
    warnings: tuple[str, ...]

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

    def as_json(self) -> dict[str, Any]:
        """The comparisons for scripts."""
        return as_json(self.of)

    def rows(self) -> list[tuple[object, ...]]:
        """A row a comparison: see `COLUMNS`."""
        return [row(pair) for pair in self.pairs]

    def __repr__(self) -> str:
        said = ", ".join(f"{p.first} {'=' if p.exact_by_design else '~'} {p.second}: {p.verdict}" for p in self.pairs)
        return f"<Verification {'passed' if self.passed else 'FAILED'}: {said}>"

    def _repr_html_(self) -> str:
        return html_table(COLUMNS, self.rows(), f"{'passed' if self.passed else 'FAILED'}", self.warnings)


def as_json(found: Verified) -> dict[str, Any]:
    """Comparisons and accuracies for scripts."""
    return {
        "passed": found.passed,
        "pairs": [{**_named(asdict(pair)), "verdict": pair.verdict, "equal": pair.equal} for pair in found.pairs],
        "accuracies": [asdict(entry) for entry in found.accuracies],
    }


def chosen(names: Sequence[str], asked: Sequence[str] | None) -> tuple[tuple[str, ...], dict[str, str]]:
    """The back-ends to verify, and those of the default that cannot run here, with the reason.

    Raises:
        BackendError: one that was asked for cannot run here.
    """
    reasons = {name: why for name in names if backends.get(name) and (why := backends.missing(name))}
    if asked and reasons:
        name, why = next(iter(reasons.items()))
        raise BackendError(
            f"the back-end {name!r} cannot run here", found=why, hint="make it run, or leave it out of --backends"
        )
    return tuple(name for name in names if name not in reasons), reasons


def verified(
    compiled: Compiled,
    inputs: Mapping[str, Array],
    labels: Array | None,
    names: tuple[tuple[str, ...], dict[str, str]],
    count: int,
    model: Runner | None,
    arch: Architecture | None,
) -> Verification:
    """Run the first ``count`` samples through every stage; see `Program.verify`."""
    network = compiled.program.network
    steps, samples, inputs = check_inputs(network, inputs)
    if network.answer:
        network.answer.check_steps(steps)
    classes = None if labels is None else check_labels(labels, samples, network.classes)[:count]
    few = {key: value[:, :count] for key, value in inputs.items()}
    ran, left_out = names
    with progress("verify") as tell:
        found = verify_program(
            compiled, few, classes, model=model, names=ran, tell=lambda stage, done, of: tell(done, of)
        )
    warnings = [*compiled.warnings, *likeness.unlike(compiled.program.provenance, inputs), *found.warnings(network)]
    beyond = narrow_states.found(compiled.program, arch, few)
    warnings += narrow_states.said(beyond, compiled.program, arch, few)
    return Verification(found, left_out, tuple(warnings))


def row(pair: Pair) -> tuple[object, ...]:
    """A comparison as a table shows it: see `COLUMNS`."""
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
