"""What a learning run depends on, and the network and samples that follow from it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

import numpy as np

from neurodeploy.errors import InvalidInputError
from neurodeploy.network.event_rules import RULES, AdaptiveThreshold, EventRule, RuleName, Shape, build
from neurodeploy.network.network import Network
from neurodeploy.network.schema import check_types

from .data import BUILT_IN, DIGITS, MOTION, Dataset, digest, digits, motion, own, steps_of

REFERENCE_STEPS = 16
"""Steps of a sample for which `KEEP` holds. With more of them latency code has a finer time, so that a step leaves
more; rate code shows the sample for longer, at the same rate."""
KEEP: Mapping[str, float] = {"mpd-ed": 0.95, "std-ed": 0.7, "bptt": 0.95}
"""What a step leaves, of u (lambda) or of c (a)."""
READOUT_KEEP = 0.9
"""b of the read-out; likewise."""

LOIHI_RULES = ("stdp", "r-stdp")
NETWORKS: Mapping[str, tuple[int | tuple[int, int, int], ...]] = {"mlp": (100,), "conv": ((8, 3, 2), 48)}
"""Hidden layers by name: neurons, or ``(channels, kernel, stride)``."""
OF_MOTION: Mapping[str, Any] = {"hidden": ((8, 3, 1), 48), "epochs": 15, "learning_rate": 0.02}
"""What motion takes in place of the usual: chosen on 500 of its training samples, learning from the other 1,500."""


@dataclass(frozen=True)
class Setup:
    """A learning run.

    Args:
        rule: a name in `RULES`, or Loihi's ``stdp`` and ``r-stdp``.
        data: ``digits``, ``motion``, or the path of a file of one's own (`neurodeploy.learning.data`).
        code: how pixels become spikes: ``latency`` or ``rate``; ``own`` for motion and files, which are spikes.
        steps: of a sample.
        hidden: as `NETWORKS` has them.
        epochs, seed: of the order of the samples, the initial weights and the rounding.
        learning_rate: falls to 0 along a cosine, epoch by epoch; for 16 steps of rate code (more steps bring more
            spikes, and so larger gradients, and take smaller ones).
        batch, skip, weight_bits: see `neurodeploy.network.event_rules.EventRule`.
        adapt: adaptive thresholds.
        each: one threshold a ``layer``, or one a ``neuron``.
        digest: SHA-256 of a file of one's own, or of samples.
        program: SHA-256 of a Program that goes on learning; empty for a network that begins from nothing.
        initial: standard deviation of the initial weights, in thresholds, times the root of the fan-in.
    """

    rule: str
    data: str = "digits"
    code: str = "latency"
    steps: int = 16
    hidden: tuple[int | tuple[int, int, int], ...] = (100,)
    epochs: int = 30
    seed: int = 0
    learning_rate: float = 0.05
    batch: int = 1
    skip: float = 0.0
    weight_bits: int | None = None
    adapt: bool = True
    initial: float = 1.0
    digest: str = ""
    each: Literal["layer", "neuron"] = "layer"
    program: str = ""

    def __post_init__(self) -> None:
        check_types(self)
        known = (*RULES, *LOIHI_RULES)
        limits = {
            "rule": (self.rule in known, ", ".join(known)),
            "data": (
                self.data in BUILT_IN or self.data.endswith(".npz") or bool(self.program),
                f"{', '.join(BUILT_IN)}, or a file (.npz)",
            ),
            "each": (self.each in ("layer", "neuron"), "layer or neuron"),
            "code": (
                self.code in (("latency", "rate") if self.data == DIGITS else ("own",)),
                "latency or rate for the digits, own for spikes",
            ),
            "steps": (1 <= self.steps <= 4096, "1 to 4096"),
            "epochs": (self.epochs >= 1, "1 or more"),
            "seed": (0 <= self.seed < 1 << 62, "0 to 2^62 - 1"),
            "initial": (self.initial > 0, "above 0"),
        }
        for name, (fine, allowed) in limits.items():
            if not fine:
                raise InvalidInputError(
                    f"{name} of a learning run cannot be used", found=getattr(self, name), allowed=allowed
                )

    @property
    def finer(self) -> float:
        """Length of a step against that of `REFERENCE_STEPS`."""
        return REFERENCE_STEPS / self.steps if self.code == "latency" else 1.0

    @property
    def event_rule(self) -> EventRule:
        """The rule with its constants.

        Raises:
            InvalidInputError: one is out of its range.
        """
        name: RuleName = self.rule  # type: ignore[assignment]
        usual, shorter = AdaptiveThreshold(), REFERENCE_STEPS / self.steps
        adapt = replace(usual, target=usual.target * self.finer, each=self.each) if self.adapt else None
        rate = self.learning_rate * (shorter if self.code == "rate" else 1.0)
        return EventRule(
            name, rate, batch=self.batch, adapt=adapt, skip=self.skip, weight_bits=self.weight_bits,
            seed=self.seed,
        )  # fmt: skip

    def rate(self, epoch: int) -> float:
        """Factor of the learning rate in an epoch."""
        return float(0.5 * (1 + np.cos(np.pi * epoch / self.epochs)))

    def order(self, epoch: int, samples: int) -> Any:
        """In which order the samples come in an epoch."""
        return np.random.default_rng((self.seed, epoch)).permutation(samples)

    def to_json(self) -> str:
        """One line; `from_json` reads it."""
        return json.dumps(asdict(self), sort_keys=True)

    def as_dict(self) -> dict[str, Any]:
        """Field -> value."""
        return asdict(self)

    @classmethod
    def from_json(cls, text: str) -> Setup:
        """Raises InvalidInputError where it is not what `to_json` wrote."""
        try:
            given = json.loads(text)
            hidden = tuple(h if isinstance(h, int) else tuple(h) for h in given.pop("hidden"))
            if set(given) - {f.name for f in fields(cls)}:
                raise ValueError("unknown fields")
            return cls(hidden=hidden, **given)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise InvalidInputError("the settings of a learning run are damaged", found=str(error)) from error

    @classmethod
    def given(cls, rule: str, **options: Any) -> Setup:
        """A rule's usual settings, but for the options that are given.

        Raises:
            InvalidInputError: one that the rule does not have, or a file that cannot be used.
        """
        if rule not in LOIHI_RULES:
            path = options.get("data", DIGITS)
            if path == DIGITS:
                return cls(rule, **options)
            if strange := sorted(set(options) & {"code", "steps"}):
                raise InvalidInputError(
                    f"the spikes of {path} are what they are", found=", ".join(strange), hint="leave these options out"
                )
            usual = OF_MOTION if path == MOTION else {"digest": digest(path)}
            return cls(rule, **{"code": "own", "steps": steps_of(path), **usual, **options})
        if strange := sorted(set(options) - {"epochs", "seed"}):
            raise InvalidInputError(
                f"{rule} does not have every option", found=", ".join(strange), allowed="epochs, seed",
                hint="leave them out, or run the rules one by one",
            )  # fmt: skip
        return cls(rule, **{"code": "rate", "steps": 48, "epochs": 3, **options})


def network(setup: Setup, data: Dataset) -> Network:
    """The untrained network of a setup."""
    shorter = REFERENCE_STEPS / setup.steps
    name: RuleName = setup.rule  # type: ignore[assignment]
    keep = KEEP[setup.rule] ** setup.finer
    # A membrane that adds a current up in more, shorter steps takes in more of it.
    gain = setup.initial * ((1 - keep) / (1 - KEEP[setup.rule]) if name == "std-ed" else 1.0)
    return build(
        Shape(data.shape, setup.hidden, data.classes), name, seed=setup.seed, gain=gain, keep=keep,
        readout_keep=READOUT_KEEP**shorter,
    )  # fmt: skip


def dataset(setup: Setup) -> Dataset:
    """What a setup learns from.

    Raises:
        InvalidInputError: a file of samples that cannot be used, or that has changed since the run began.
    """
    if setup.data == DIGITS:
        return digits(setup.code, setup.steps)
    if setup.data == MOTION:
        return motion()
    found = digest(setup.data)
    if setup.digest and found != setup.digest:
        raise InvalidInputError(
            f"{setup.data} has changed since the run began", found=f"SHA-256 {found[:12]}",
            allowed=f"SHA-256 {setup.digest[:12]}", hint="bring the file back, or begin another run",
        )  # fmt: skip
    return own(setup.data)
