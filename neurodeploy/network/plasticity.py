"""Learning rules of plastic projections: Loihi's sum of products over spikes, traces and synaptic variables.

A rule gives the change of a weight (``dw``), a delay (``dd``) and a tag (``dt``) at the end of each *epoch* of some
steps, as a sum of products (Davies et al., IEEE Micro 38(1), 2018; Lava 0.10.0 ``magma/core/learning``):

    dw = 2^-2*x0*y1 - 2*y0*x1 + u0*t*y2

Each product has one *dependency*: ``x0`` or ``y0``, whether the source or target neuron spiked in this epoch, or
``uK``, which holds in every 2^K-th epoch; a factor 2^e times a whole mantissa; and factors: the traces ``x1``, ``x2``
(source), ``y1``, ``y2``, ``y3`` (target), the synaptic variables ``w``, ``d``, ``t``, each also as ``(x1+5)``, ``w``,
``d`` and ``t`` also as ``sgn(w)`` or ``sgn(w-3)``. A trace grows by its impulse with each spike and decays with its
time constant; a product takes it at the time of its dependency's last spike in the epoch, or at the epoch's end.

With three factors the target neuron itself computes what the rule reads as ``y1``, ``y2`` and ``y3`` and sends it along
with its spikes: ``y1`` is the trace of its spikes, ``y2`` what arrives at its port 1 (a reward), ``y3`` the trace of
that.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, NoReturn, TypedDict, Unpack

from neurodeploy.errors import InvalidInputError

from .arrays import Array, Sealed
from .schema import check_numbers, check_types

TRACES = ("x1", "x2", "y1", "y2", "y3")
"""Of the source's spikes, and of the target's."""

VARIABLES = ("w", "d", "t")
"""Of a synapse: its weight, its delay and its tag."""

TARGETS = ("dw", "dd", "dt")
"""What a rule changes: these variables, in the same order."""

WIDTH = {"x0": 1, "y0": 1, **dict.fromkeys(TRACES, 7), **dict.fromkeys(VARIABLES, 9)}
"""Bits of a factor in Loihi's engine (Lava 0.10.0, ``magma/core/learning/constants.py``)."""

MANTISSA_BITS, ACCUMULATOR_BITS = 4, 15
MANTISSA, EXPONENT = (-8, 7), (-7, 8)
LONGEST_EPOCH = 63
"""Steps; spike times within an epoch have 6 bits."""

LIMITS = {"mixed": (-256, 255), "excitatory": (0, 255), "inhibitory": (-255, 0)}
"""Of learned weights in integers, by sign."""

TAG_LIMITS = {"tag_1": (-257, 255), "tag_2": (0, 255)}
"""Of tags and delays in integers (Lava 0.10.0, ``LearningConnectionModelBitApproximate``)."""

Sign = Literal["mixed", "excitatory", "inhibitory"]
"""That learned weights keep."""

_TOKEN = re.compile(r"\s*(?:(?P<number>\d+)|(?P<name>sgn|u\d|[xy][0-3]|[wdt])|(?P<mark>[-+*^()]))")


@dataclass(frozen=True)
class Trace:
    """A trace: what is left of a neuron's spikes.

    Args:
        impulse: added with each spike.
        tau: time constant of its decay, in steps; 0 forgets at once.
    """

    impulse: float = 0.0
    tau: float = 0.0

    def __post_init__(self) -> None:
        check_types(self)


@dataclass(frozen=True)
class Factor:
    """``variable + constant``, or its sign.

    Args:
        variable: one of `TRACES` or `VARIABLES`.
        constant: added to it.
        sign: whether -1, 0 or 1 is meant, the sign of the sum.
    """

    variable: str
    constant: int = 0
    sign: bool = False

    def __str__(self) -> str:
        text = f"{self.variable}{self.constant:+d}" if self.constant else self.variable
        return f"sgn({text})" if self.sign else f"({text})" if self.constant else text


@dataclass(frozen=True)
class Term:
    """``mantissa * 2^exponent * dependency * factors``.

    Args:
        dependency: a spike of the source, of the target, or ``u``: every 2^decimation-th epoch.
        mantissa, exponent: within `MANTISSA` and `EXPONENT`.
        factors: multiplied; none for a constant.
        decimation: of the dependency ``u``.
    """

    dependency: Literal["x0", "y0", "u"]
    mantissa: int
    exponent: int
    factors: tuple[Factor, ...]
    decimation: int = 0

    @property
    def right_shift(self) -> int:
        """By which Loihi's engine brings the product back to the accumulator's 15 bits."""
        return max(0, sum(WIDTH[f.variable] for f in self.factors) + MANTISSA_BITS - ACCUMULATOR_BITS)

    @property
    def left_shift(self) -> int:
        """By which it is scaled afterwards."""
        return self.exponent + 7

    def __str__(self) -> str:
        dependency = f"u{self.decimation}" if self.dependency == "u" else self.dependency
        head = f"{'-' if self.mantissa < 0 else '+'}{abs(self.mantissa)}*2^{self.exponent}*{dependency}"
        return "*".join([head, *map(str, self.factors)])


@dataclass(frozen=True, eq=False)
class LearningRule(Sealed):
    """How the weights of a projection change.

    Args:
        dw, dd, dt: sums of products; empty for none.
        x1, x2: traces of the source's spikes.
        y1, y2, y3: of the target's; with three factors those that the target neuron sends (`y1`: its spikes, `y3`:
            what arrives at port 1; `y2` has none).
        epoch: steps between changes.
        seed: of the stochastic rounding (integers).
        factors: 2 or 3.
        sign: that the weights keep.
        tag_1, tag_2: initial tags and delays, ``[targets, sources]``; zeros when None. Learned delays do not delay.

    Raises:
        InvalidInputError: a rule that is not of the form above, or out of its range; the message cites it.
    """

    dw: str = ""
    dd: str = ""
    dt: str = ""
    x1: Trace = Trace()
    x2: Trace = Trace()
    y1: Trace = Trace()
    y2: Trace = Trace()
    y3: Trace = Trace()
    epoch: int = 1
    seed: int = 0
    factors: Literal[2, 3] = 2
    sign: Sign = "mixed"
    tag_1: Array | None = field(default=None, repr=False)
    tag_2: Array | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not any(self.terms.values()):
            raise InvalidInputError("a learning rule changes nothing", hint="give dw, dd or dt")
        if not 0 <= self.seed < 1 << 63:
            raise InvalidInputError(
                "the seed of a learning rule does not fit", found=self.seed, allowed="0 to 2^63 - 1"
            )
        for tag in (self.tag_1, self.tag_2):
            if tag is not None:
                check_numbers("a tag of a learning rule", tag, 2)
        if not 1 <= self.epoch <= LONGEST_EPOCH:
            raise InvalidInputError(
                "the epoch of a learning rule does not fit", found=self.epoch, allowed=f"1 to {LONGEST_EPOCH} steps"
            )
        for name in TRACES:
            trace: Trace = getattr(self, name)
            if trace.impulse < 0 or trace.tau < 0:
                raise InvalidInputError(
                    f"trace {name} of a learning rule is negative", found=trace, allowed="0 or more"
                )
        if len({t.decimation for terms in self.terms.values() for t in terms if t.dependency == "u"}) > 1:
            raise InvalidInputError(
                "a learning rule has two different uK", allowed="the same K in all its products", found=self.text
            )

    @cached_property
    def terms(self) -> Mapping[str, tuple[Term, ...]]:
        """The products of each target, in the order in which they are applied."""
        return {name: tuple(parse(getattr(self, name))) for name in TARGETS if getattr(self, name)}

    @property
    def text(self) -> str:
        """For messages."""
        return "; ".join(f"{name} = {getattr(self, name)}" for name in TARGETS if getattr(self, name))

    @property
    def used(self) -> frozenset[str]:
        """Traces and variables that some product reads."""
        return frozenset(f.variable for terms in self.terms.values() for term in terms for f in term.factors)

    def traces(self, side: Literal["x", "y"]) -> tuple[Trace, ...]:
        """The traces of one side that the synapse computes by itself."""
        if side == "x":
            return self.x1, self.x2
        if self.factors == 3:
            return (Trace(0.0, SENT_TAU),) * 3
        return self.y1, self.y2, self.y3


SENT_TAU = 65535.0
"""Time constant of traces that the target neuron sends (Lava 0.10.0, ``Loihi3FLearningRule``)."""


class RuleOptions(TypedDict, total=False):
    """What rules have in common; see `LearningRule`."""

    epoch: int
    seed: int
    sign: Sign


def stdp(
    rate: float = 1.0, plus: float = 1.0, minus: float = -1.0, tau_plus: float = 10, tau_minus: float = 10,
    impulse: float = 16.0, **options: Unpack[RuleOptions],
) -> LearningRule:  # fmt: skip
    """Pairwise spike-timing dependent plasticity: ``dw = rate (minus x0 y1 + plus y0 x1)`` (Lava's ``STDPLoihi``)."""
    dw = f"{literal(rate * minus)}*x0*y1{literal(rate * plus)}*y0*x1"
    return LearningRule(dw, x1=Trace(impulse, tau_plus), y1=Trace(impulse, tau_minus), **options)


def reward_modulated(
    rate: float = 1.0, plus: float = 1.0, minus: float = -1.0, tau_plus: float = 10, tau_minus: float = 10,
    tag_decay: float = 0.125, impulse: float = 16.0, **options: Unpack[RuleOptions],
) -> LearningRule:  # fmt: skip
    """Reward-modulated STDP: the tag keeps what STDP would do, the reward ``y2`` makes it so.

    ``dt = rate (minus x0 y1 + plus y0 x1) - tag_decay u0 t``, ``dw = u0 t y2`` (Lava's ``RewardModulatedSTDP``).
    """
    dt = f"{literal(rate * minus)}*x0*y1{literal(rate * plus)}*y0*x1{literal(-tag_decay)}*u0*t"
    x1, y1 = Trace(impulse, tau_plus), Trace(impulse, tau_minus)
    return LearningRule("u0*t*y2", dt=dt, x1=x1, y1=y1, factors=3, **options)


def literal(value: float) -> str:
    """``+m*2^e`` for a number; whole mantissas up to 7, else the nearest power of 2.

    Raises:
        InvalidInputError: out of range.
    """
    if value == 0:
        return "+0*2^0"
    size, exponent = abs(value), 0
    while size != int(size) and exponent > EXPONENT[0]:
        size, exponent = size * 2, exponent - 1
    if size != int(size) or size > MANTISSA[1]:
        import math

        size, exponent = 1, round(math.log2(abs(value)))
    if not EXPONENT[0] <= exponent <= EXPONENT[1]:
        raise InvalidInputError("a learning rate does not fit", found=value, allowed="2^-7 to 7 * 2^8 in magnitude")
    return f"{'-' if value < 0 else '+'}{int(size)}*2^{exponent}"


def parse(text: str) -> Iterator[Term]:
    """Read a sum of products.

    Raises:
        InvalidInputError: cites the rule and where it cannot be read.
    """
    reader = _Reader(text)
    sign = reader.sign()
    while True:
        yield reader.term(sign)
        if reader.done:
            return
        sign = reader.sign(needed=True)


class _Reader:
    def __init__(self, text: str) -> None:
        self.text, self.tokens, position = text, [], 0
        while position < len(text.rstrip()):
            match = _TOKEN.match(text, position)
            if match is None:
                self.fail(f"{text[position:].strip()[:10]!r} is not understood")
            self.tokens.append(match.group(match.lastgroup or 0))
            position = match.end()

    def fail(self, why: str) -> NoReturn:
        raise InvalidInputError(
            f"the learning rule {self.text!r} cannot be used",
            found=why,
            allowed="a sum of products of 2^e, whole numbers, x0, y0, uK, x1, x2, y1, y2, y3, w, d, t, (x1+5), sgn(w)",
        )

    @property
    def done(self) -> bool:
        return not self.tokens

    def take(self, *allowed: str) -> str:
        """The next token if it is allowed, else nothing."""
        return self.tokens.pop(0) if self.tokens and self.tokens[0] in allowed else ""

    def sign(self, needed: bool = False) -> int:
        mark = self.take("+", "-")
        if needed and not mark:
            self.fail(f"'*', '+' or '-' is missing before {self.tokens[0]!r}")
        return -1 if mark == "-" else 1

    def number(self) -> tuple[int, int]:
        """``m`` or ``2^e``, as mantissa and exponent."""
        base = int(self.tokens.pop(0))
        if not self.take("^"):
            return base, 0
        sign = self.sign()
        if base != 2 or not self.tokens or not self.tokens[0].isdigit():
            self.fail("only powers of 2 are possible")
        return 1, sign * int(self.tokens.pop(0))

    def term(self, sign: int) -> Term:
        mantissa, exponent, dependency, decimation = sign, 0, "", 0
        factors: list[Factor] = []
        while True:
            if not self.tokens:
                self.fail("it ends too early")
            token = self.tokens[0]
            if token.isdigit():
                m, e = self.number()
                mantissa, exponent = mantissa * m, exponent + e
            elif token == "(" or token == "sgn":
                m, e, factor = self.bracket()
                mantissa, exponent = mantissa * m, exponent + e
                factors += [factor] if factor else []
            else:
                name = self.tokens.pop(0)
                if name[0] == "u" and not dependency:
                    dependency, decimation = "u", int(name[1])
                elif name in ("x0", "y0") and not dependency:
                    dependency = name
                elif name in WIDTH and not (name in ("x0", "y0") and dependency == "u"):
                    factors.append(Factor(name))
                else:
                    self.fail(f"{name!r} has no place here")
            if not self.take("*"):
                break
        while abs(mantissa) > MANTISSA[1] and mantissa % 2 == 0 and exponent < EXPONENT[1]:
            mantissa, exponent = mantissa // 2, exponent + 1
        if not dependency:
            self.fail("a product has neither x0, y0 nor uK")
        if not MANTISSA[0] <= mantissa <= MANTISSA[1] or not EXPONENT[0] <= exponent <= EXPONENT[1]:
            self.fail(f"{mantissa} * 2^{exponent} is out of range (mantissa -8 to 7, exponent -7 to 8)")
        return Term(dependency, mantissa, exponent, tuple(factors), decimation)  # type: ignore[arg-type]

    def bracket(self) -> tuple[int, int, Factor | None]:
        """``(number)``, ``(variable + constant)`` or ``sgn(variable + constant)``."""
        signum = bool(self.take("sgn"))
        if not self.take("("):
            self.fail("'(' is missing after sgn")
        sign = self.sign()
        if self.tokens and self.tokens[0].isdigit():
            mantissa, exponent = self.number()
            if signum or not self.take(")"):
                self.fail("a bracket holds a number, or a variable and a number")
            return sign * mantissa, exponent, None
        name = self.tokens.pop(0) if self.tokens else ""
        if sign < 0 or name not in (*TRACES, *VARIABLES) or (signum and name not in VARIABLES):
            self.fail(f"{name!r} cannot stand in this bracket")
        constant = 0
        if self.tokens and self.tokens[0] in "+-":
            sign = self.sign()
            if not self.tokens or not self.tokens[0].isdigit():
                self.fail("a number is missing in a bracket")
            mantissa, exponent = self.number()
            constant = sign * (mantissa << exponent if exponent >= 0 else 0)
        if not self.take(")"):
            self.fail("')' is missing")
        return 1, 0, Factor(name, constant, signum)
