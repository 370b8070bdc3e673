"""Networks that learn on the chip: from nothing, or a Program that goes on learning."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from neurodeploy import __version__
from neurodeploy.errors import InvalidInputError
from neurodeploy.files.atomic import make_folder
from neurodeploy.files.tables import html_table
from neurodeploy.hwsim.chips.arch import Architecture, load_architecture
from neurodeploy.learning.data import DIGITS, Labelled, labelled
from neurodeploy.learning.digits.scenarios import SCENARIOS
from neurodeploy.learning.digits.scenarios import adapt as adapt_scenario
from neurodeploy.learning.learners import ProgramLearner
from neurodeploy.learning.run import CHECKPOINT, PORTION, Run
from neurodeploy.learning.setup import Setup
from neurodeploy.network.event_rules import EventRule, with_rule
from neurodeploy.network.schema import check_types
from neurodeploy.packages.commands import naming
from neurodeploy.program.program import NO_CHIP
from neurodeploy.program.program import Program as Placed
from neurodeploy.report.accuracies import undecided
from neurodeploy.report.html import quantity
from neurodeploy.report.learning.collect import adaptation_of, memory_of, report_of
from neurodeploy.report.learning.document import LearningReport, Memory, RuleResult
from neurodeploy.report.learning.html import write_html

from .program import Program
from .show import progress

Rule = Literal["mpd-ed", "std-ed", "bptt", "stdp", "r-stdp"]
Thresholds = Literal["fixed", "layer", "neuron"]

CHIPS = ("anp-i", "loihi1", "reckon", "odin", "paper-45nm")
"""By whose files a network that learns from nothing is priced, beside the one that is asked for."""
LENGTHS = (8, 16, 32, 64, 128)
"""Steps of a sample at which memory is measured."""
LENGTH_EPOCHS = 2
ADAPT_RATE = 0.002
"""Learning rate of a Program that goes on learning."""

Samples = str | Path | Mapping[str, ArrayLike]
"""A file of samples, or its arrays by name (`neurodeploy.learning.data`)."""


@dataclass(frozen=True, kw_only=True)
class LearnOptions:
    """What may be said of a learning run; None takes the usual.

    Args:
        code, steps: of the digits: ``latency`` or ``rate``, and time steps of a sample.
        hidden: layers, as neurons or ``(channels, kernel, stride)``.
        epochs: passes over the samples.
        seed: of initial weights, order and rounding.
        learning_rate: at the beginning; it falls to 0 along a cosine, epoch by epoch.
        batch: samples between two changes of weights; fewer that are left at the end of the run change none.
        skip: nothing is learned from a sample that is right with a probability above ``1 - skip``.
        weight_bits: weights stay on a grid of so many bits.
        initial: factor of the initial weights.
        thresholds: ``layer`` and ``neuron`` follow activity, one a layer or one a neuron; ``fixed`` stay.
    """

    code: str | None = None
    steps: int | None = None
    hidden: tuple[int | tuple[int, int, int], ...] | None = None
    epochs: int | None = None
    seed: int | None = None
    learning_rate: float | None = None
    batch: int | None = None
    skip: float | None = None
    weight_bits: int | None = None
    initial: float | None = None
    thresholds: Thresholds | None = None

    def given(self) -> dict[str, Any]:
        """Fields of `neurodeploy.learning.setup.Setup` that are said.

        Raises:
            InvalidInputError: something that cannot be.
        """
        check_types(self)
        found = {name: value for name, value in asdict(self).items() if value is not None}
        how = found.pop("thresholds", None)
        return found if how is None else {**found, **_thresholds(how)}


def _thresholds(how: Thresholds) -> dict[str, Any]:
    return {"adapt": False} if how == "fixed" else {"adapt": True, "each": how}


@dataclass(frozen=True, eq=False, repr=False)
class Learned:
    """What came of learning runs.

    Args:
        document: accuracies, counts, energy by component and by layer, ratios to clocked engines.
        programs: what each rule has learned, by its name.
        report, results: the page and the document as files; None where no folder was given.
        before: accuracy on the test samples before a Program learned anything, by rule.
        warnings: what may be wrong with what a Program has learned.
    """

    document: LearningReport
    programs: Mapping[str, Program]
    report: Path | None = None
    results: Path | None = None
    before: Mapping[str, float] | None = None
    warnings: tuple[str, ...] = ()

    @property
    def program(self) -> Program:
        """What the first rule has learned."""
        return next(iter(self.programs.values()))

    @property
    def accuracy(self) -> float:
        """Of the first rule, on the test samples."""
        return self.document.rules[0].accuracy

    def as_json(self) -> dict[str, Any]:
        """In short for scripts; what ``neurodeploy learn --json`` and ``adapt --json`` print."""
        return {
            "report": str(self.report) if self.report else None,
            "results": str(self.results) if self.results else None,
            "rules": [self._short(rule) for rule in self.document.rules],
        }

    def _short(self, rule: RuleResult) -> dict[str, Any]:
        own = rule.priced[0]
        found: dict[str, Any] = {
            "rule": rule.rule,
            "accuracy": rule.accuracy,
            "tested": rule.tested,
            "undecided": rule.undecided,
            "silent": rule.silent,
            "learning_pj": own.learning_pj,
            "inference_pj": own.inference_pj,
            "ratios": {other.name: other.ratio for other in own.baselines},
            "layers": {row.layer: row.learning_pj or (None if row.missing else 0.0) for row in rule.layers},
            "words": rule.words,
            "missing": list(own.lacking),
        }
        if self.before is None:
            return found
        return {**found, "before": self.before[rule.rule], "warnings": list(self.warnings)}

    @property
    def columns(self) -> tuple[str, ...]:
        """Of `rows`."""
        baselines = dict.fromkeys(other.name for rule in self.document.rules for other in rule.priced[0].baselines)
        takes = (f"{name} takes" for name in baselines)
        return ("rule", "test", "undecided", "learning", "forward", *takes, "spikes", "words")

    def rows(self) -> list[tuple[str, ...]]:
        """A row a rule, energies of a sample; see `columns`."""
        return [self._row(rule) for rule in self.document.rules]

    def _row(self, rule: RuleResult) -> tuple[str, ...]:
        own = rule.priced[0]
        ratios = {f"{other.name} takes": f"{other.ratio:.1f}x" if other.ratio else "-" for other in own.baselines}
        return (
            rule.title,
            f"{100 * rule.accuracy:.2f} %",
            undecided(rule.on_test),
            quantity(own.learning_pj, "pJ") if own.learning_pj else "-",
            quantity(own.inference_pj, "pJ") if own.inference_pj else "-",
            *(ratios.get(name, "-") for name in self.columns[5:-2]),
            f"{rule.spikes:,.0f}",
            f"{rule.words:,.0f}",
        )

    def __repr__(self) -> str:
        said = ", ".join(f"{rule.title} {100 * rule.accuracy:.2f} %" for rule in self.document.rules)
        return f"<Learned: {said}>"

    def _repr_html_(self) -> str:
        return html_table(self.columns, self.rows(), repr(self))


@naming("learn")
def learn(
    rules: Rule | Sequence[Rule] = "mpd-ed", data: str | Path = DIGITS, options: LearnOptions | None = None, *,
    chip: str | Path = "anp-i", folder: Path | str = "learn-output", resume: bool = False, memory: bool = True,
    checkpoint_every: int = PORTION,
) -> Learned:  # fmt: skip
    """Train networks on the chip from nothing, event by event, and say what that costs.

    Args:
        rules: ``mpd-ed``, ``std-ed``, ``bptt`` (surrogate gradient), ``stdp``, ``r-stdp``; several are compared.
        data: ``digits``, ``motion`` (`neurodeploy.models.motion`), or a file with spikes (`neurodeploy.learning.data`).
        chip: whose prices come first.
        folder: for checkpoints, Programs and the report.
        resume: go on from the folder's checkpoints.
        memory: also measure what is stored at other lengths of a sample.
        checkpoint_every: samples.

    Raises:
        InvalidInputError: options that a rule does not have, a file that cannot be used, or a folder that holds a run.
        StorageError: the folder cannot be written to, or the disk is full.
    """
    if not isinstance(data, (str, Path)):
        raise InvalidInputError(
            "nd.learn takes its samples from a file", found=type(data).__name__, hint="numpy.savez(path, train_x=...)",
            allowed=f"{DIGITS}, motion, or the path of an .npz",
        )  # fmt: skip
    names: list[Rule] = [rules] if isinstance(rules, str) else list(dict.fromkeys(rules))
    archs = [load_architecture(name) for name in dict.fromkeys([str(chip), *CHIPS])]
    given = (options or LearnOptions()).given() | ({} if str(data) == DIGITS else {"data": str(data)})
    runs = [_begun(Setup.given(n, **given), given, Path(folder) / n, resume, checkpoint_every) for n in names]
    programs = {}
    for run in runs:
        _finish(run)
        placed = run.learner.program()
        placed = replace(placed, provenance={**placed.provenance, "learned": run.setup.to_json()})
        assert run.folder is not None
        placed.save(run.folder / "learned.ndp")
        programs[run.setup.rule] = Program(placed, path=run.folder / "learned.ndp")
    measured = _memory(runs, archs[0]) if memory else []
    document = report_of(runs, archs, f"Learning on the chip: {runs[0].setup.data}", measured)
    return Learned(document, programs, *_written(document, Path(folder)))


def _written(document: LearningReport, folder: Path) -> tuple[Path, Path]:
    document.save(folder / "results.json")
    write_html(document, folder / "report.html")
    return folder / "report.html", folder / "results.json"


def _begun(
    asked: Setup, given: Mapping[str, Any], folder: Path, resume: bool, portion: int,
    of: ProgramLearner | None = None,
) -> Run:  # fmt: skip
    """A run from the beginning, or from its checkpoint."""

    def same(found: Setup) -> None:
        for name in ("rule", *given):
            if getattr(found, name) == getattr(asked, name):
                continue
            whole = {"digest": "set of samples", "program": "Program, rules, layers or chip"}.get(name)
            raise InvalidInputError(
                f"the run in {folder} has another {name.replace('_', ' ')}" if whole is None
                else f"the run in {folder} was begun with another {whole}",
                found=None if whole else getattr(found, name), allowed=None if whole else getattr(asked, name),
                hint=f"{'bring them back' if whole else 'leave it out'} to go on, or give another folder with -o",
            )  # fmt: skip

    there = (folder / CHECKPOINT).is_file()
    if there and not resume:
        raise InvalidInputError(
            f"{folder} holds a run already", hint="--resume to go on with it, or another folder with -o"
        )
    if not there:
        make_folder(folder)
        return Run(asked, folder, portion, of)
    return Run.resume(folder, portion, of, same)


def _finish(run: Run) -> None:
    """To the end; Ctrl-C says how to go on where there are checkpoints."""
    size = run.learner.size
    try:
        with progress(run.setup.rule) as tell:
            while not run.done:
                run.advance()
                tell(run.taken, run.samples, f"epoch {-(-run.taken // size)}, {100 * run.accuracies[-1]:.2f} %")
    except KeyboardInterrupt:
        if run.folder is None:
            raise
        raise InvalidInputError(
            f"{run.setup.rule} was stopped after {run.taken:,} of {run.samples:,} samples",
            hint="the same command with --resume goes on from there",
        ) from None


def _memory(runs: Sequence[Run], arch: Architecture) -> list[Memory]:
    """Short runs at other lengths of a sample."""
    found = []
    chosen = [run.setup for run in runs if run.setup.rule in ("mpd-ed", "std-ed") and run.setup.data == DIGITS]
    with progress("memory") as tell:
        for number, (setup, steps) in enumerate([(setup, steps) for setup in chosen for steps in LENGTHS]):
            short = Run(replace(setup, steps=steps, epochs=LENGTH_EPOCHS))
            while not short.done:
                short.advance()
            tell(number + 1, len(chosen) * len(LENGTHS))
            found.append(memory_of(short, arch))
    return found


@naming("adapt")
def adapt(
    program: Program | str | Path, data: Samples, rule: Literal["mpd-ed", "std-ed"] | EventRule | None = None,
    options: LearnOptions | None = None, *, layers: Sequence[str] = (), chip: str | Path | None = None,
    folder: Path | str | None = None, resume: bool = False,
) -> Learned:  # fmt: skip
    """Let a Program go on learning on its chip, from labelled samples, in its own arithmetic and where it is placed.

    Args:
        program: what comes out of `compile`, or its file.
        data: ``train_x``, ``test_x`` as any run of the Program takes them, ``[time, samples, *shape]``, ``train_y`` and
            ``test_y``: a file, or arrays by name.
        rule: by its name, or with all its constants; None for the rules that its projections have, else ``mpd-ed``.
        options: ``epochs`` (1), ``seed``, ``learning_rate`` (0.002), ``batch``, ``skip``, ``thresholds`` (fixed),
            and of a Program in floats ``weight_bits``.
        layers: names of what learns: layers of neurons, modules or projections; all that can when not given.
        chip: by whose prices it is billed; its own when not given.
        folder: for a checkpoint, the Program (``adapted.ndp``) and the report; None for none of them.
        resume: go on from the folder's checkpoint.

    Raises:
        UnsupportedError: a part of it cannot learn; names it, what was found and what is allowed.
        InvalidInputError: samples that do not match it, or options that it does not have.
        StorageError: the folder cannot be written to, or the disk is full.
    """
    own = program if isinstance(program, Program) else Program(Placed.load(program), path=Path(program))
    samples = labelled(data) if isinstance(data, (str, Path)) else Labelled.of(
        {name: np.asarray(array) for name, array in data.items()}, "the samples"
    )  # fmt: skip
    if resume and folder is None:
        raise InvalidInputError("nothing is there to go on from", found="no folder", hint="folder=...")
    named = [layers] if isinstance(layers, str) else list(layers)
    setup, of = _setup(own.of, data, samples, rule, options or LearnOptions())
    ruled = own.of
    if of is not None or named:
        kept = next((q.event_rule for q in own.network.projections if q.event_rule is not None), setup.event_rule)
        ruled = replace(own.of, network=with_rule(own.network, of or kept, named))
    arch = own.priced(chip) if own.chip != NO_CHIP or own.of.chip_file else None
    prices = arch or load_architecture(str(chip or "anp-i"))
    setup = replace(setup, program=_digest(ruled, prices.name))
    given = {**(options or LearnOptions()).given(), "digest": setup.digest, "program": setup.program}
    learner = ProgramLearner(ruled, samples, arch)
    if folder is None:
        run = Run(setup, of=learner)
    else:
        run = _begun(setup, given, Path(folder), resume, PORTION, learner)
    _finish(run)
    made = learner.program()
    made = replace(made, provenance={**made.provenance, "learned": setup.to_json()})
    document = report_of([run], [prices], f"{own.network.name} goes on learning on {prices.title}")
    before, wary = {setup.rule: run.accuracies[0]}, tuple(_wary(run, ruled, made))
    if folder is None:
        return Learned(document, {setup.rule: Program(made)}, before=before, warnings=wary)
    path = Path(folder) / "adapted.ndp"
    made.save(path)
    return Learned(document, {setup.rule: Program(made, path=path)}, *_written(document, Path(folder)), before, wary)


def _wary(run: Run, before: Placed, after: Placed) -> Iterator[str]:
    """What may be wrong with what a Program has learned, in words."""
    first, last = run.accuracies[0], run.accuracies[-1]
    if last < first:
        yield (
            f"it is worse than before ({100 * last:.2f} %, and was {100 * first:.2f} %): a smaller learning rate than "
            f"{run.setup.learning_rate:g}, or more epochs, may help"
        )
    pairs = zip(before.network.projections, after.network.projections, strict=True)
    still = [
        q.name for q, p in pairs if p.event_rule and np.array_equal(q.connectivity.weights, p.connectivity.weights)
    ]
    if still:
        yield (
            f"no weight of {', '.join(still)} has changed: what follows is silent, or far from its thresholds "
            "(thresholds that follow activity may wake it), or no sample taught anything"
        )


def _setup(
    program: Placed, data: Samples, samples: Labelled, rule: str | EventRule | None, options: LearnOptions
) -> tuple[Setup, EventRule | None]:
    """What the run depends on, and the rule to learn by; None for those that its projections have.

    Raises:
        InvalidInputError: options that only a network that begins from nothing has, or that cannot be.
    """
    if isinstance(rule, str) and rule not in ("mpd-ed", "std-ed"):
        raise InvalidInputError("no Program goes on learning by this rule", found=rule, allowed="mpd-ed, std-ed")
    given = options.given()
    if strange := sorted(set(given) & {"code", "steps", "hidden", "initial"}):
        raise InvalidInputError(
            "a Program that goes on learning is what it is", found=", ".join(strange), hint="leave these options out"
        )
    if program.network.arithmetic != "float" and "weight_bits" in given:
        raise InvalidInputError(
            "weights of a Program in integers have the bits that they have", found="weight_bits", hint="leave it out"
        )
    present = next((q.event_rule for q in program.network.projections if q.event_rule is not None), None)
    known = rule if isinstance(rule, EventRule) else present if rule is None else None
    usual: dict[str, Any] = {"epochs": 1, "learning_rate": ADAPT_RATE, "adapt": False}
    if known is not None:
        if strange := sorted(set(given) - {"epochs", "seed"}):
            raise InvalidInputError(
                "the rule says how it learns",
                found=", ".join(strange),
                hint="name a rule (--rule mpd-ed) to say it anew",
            )
        usual |= {"learning_rate": known.learning_rate, "batch": known.batch, "skip": known.skip,
                  "adapt": known.adapt is not None, "weight_bits": known.weight_bits}  # fmt: skip
    name = rule if isinstance(rule, str) else known.name if known is not None else "mpd-ed"
    where = str(data) if isinstance(data, (str, Path)) else "arrays"
    setup = Setup(
        name, **{**usual, **given}, data=where, code="own", steps=samples.steps, hidden=(), digest=samples.digest,
        program="to be said",
    )  # fmt: skip
    if setup.batch > len(samples.train_y):
        raise InvalidInputError(
            "weights would never change: a batch is larger than all samples", found=f"a batch of {setup.batch}",
            allowed=f"1 to {len(samples.train_y)}",
        )  # fmt: skip
    if isinstance(rule, EventRule):
        return setup, rule
    return setup, setup.event_rule if rule is not None or present is None else None


def _digest(program: Placed, chip: str) -> str:
    """SHA-256 of its file, with its rules, and of the name of the chip that bills it."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "program.ndp"
        program.save(path)
        return sha256(path.read_bytes() + chip.encode()).hexdigest()


@dataclass(frozen=True, eq=False, repr=False)
class Adapted:
    """What came of scenarios in which a deployed network meets a world that has changed.

    Args:
        document: what it learned, and what that cost.
        report, results: the page, and the document as a file.
    """

    document: LearningReport
    report: Path
    results: Path

    def as_json(self) -> dict[str, Any]:
        """In short for scripts; what ``neurodeploy adapt --scenario ... --json`` prints."""
        return {
            "report": str(self.report),
            "results": str(self.results),
            "scenarios": [
                {
                    "scenario": item.scenario,
                    "before": item.points[0].accuracy,
                    "after": item.points[-1].accuracy,
                    "tested": item.tested,
                    "undecided_before": item.points[0].undecided,
                    "undecided_after": item.points[-1].undecided,
                    "samples": item.points[-1].samples,
                    "learned": item.points[-1].learned,
                    "learning_pj": item.learning_pj,
                    "inference_pj": item.inference_pj,
                }
                for item in self.document.adaptations
            ],
        }

    def __repr__(self) -> str:
        said = (f"{item.title.lower()} {100 * item.points[-1].accuracy[item.changed]:.2f} %"
                for item in self.document.adaptations)  # fmt: skip
        return f"<Adapted: {', '.join(said)}>"


@naming("adapt")
def adapt_digits(
    scenarios: Sequence[str] | None = None, rule: Literal["mpd-ed", "std-ed"] = "mpd-ed", *, weight_bits: int = 8,
    skip: float = 0.1, epochs: int = 20, seed: int = 0, chip: str | Path = "anp-i",
    folder: Path | str = "adapt-output",
) -> Adapted:  # fmt: skip
    """Let networks that were trained on the digits and deployed learn on the chip when their world changes.

    Args:
        scenarios: ``new-class``, ``shifted-sensor``; None for both (`neurodeploy.learning.digits.scenarios`).
        weight_bits: of the chip's weights.
        skip: nothing is learned from a sample that is right with a probability above ``1 - skip``.
        epochs: of the training before.
        chip: whose prices are taken.
        folder: for the report.

    Raises:
        InvalidInputError: an unknown scenario, or a constant out of its range.
        StorageError: the folder cannot be written to, or the disk is full.
    """
    arch, target = load_architecture(str(chip)), Path(folder)
    setup = Setup(rule, epochs=epochs, seed=seed, skip=skip, weight_bits=weight_bits)
    make_folder(target)
    names = list(dict.fromkeys(scenarios or SCENARIOS))
    found = tuple(adaptation_of(adapt_scenario(name, setup), name, setup, arch) for name in names)
    document = LearningReport(
        title="Deployed networks that go on learning", neurodeploy=__version__, chip=arch.name, rules=(),
        adaptations=found,
    )  # fmt: skip
    return Adapted(document, *_written(document, target))
