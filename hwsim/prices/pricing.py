"""From counts to a bill: the mean energy of one sample, line by line, each with its price, source and confidence.

One bill serves inference and learning (`neurodeploy.hwsim.prices.learning_bill` makes those of engines that learn event
by event). Conventions, which every number here follows:

- A *synaptic operation* is a stored synapse walked for an arriving spike; zero weights are included where the chip
  reads and adds them as well (`pipeline.zero_weights`). Those of listed synapses and of shared kernels have lines of
  their own, and are not in the line of all others.
- Every mapped neuron is updated in every chip step; it pays the *active* price where it was not at rest.
- A message within a tile pays the within-tile price; one that leaves its tile pays for each hop (XY route) instead.
- A *learning update* is a synapse that the learning engine visits at the end of an epoch, whatever its rule; published
  prices are for pairwise plasticity, and a longer rule costs more.
- What another price contains (`included_in`) is not counted twice, and not missing.
- *Static* energy is the static power of the used cores over the run time of the `core` tier of timing,

      E = P_core * used cores * mean time of a sample        (1 mW * 1 ns = 1 pJ),

  as if unused cores were switched off and no step waited for the host. At a slower, fixed step (1 ms, say) it grows
  in proportion.
- What has no published price is in no total: it stands in `Bill.missing`, with its count where we know it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from neurodeploy.program.count_kinds import BY_NAME, KINDS, ON_CHIP_BY_PRICE, Part

from ..chips.arch import Architecture
from ..chips.figures import Price
from ..counts.counts import Counts
from ..timing.tiers import Timing, amounts, core_timing

BETWEEN_CHIPS = Price(
    value=None, unit="pJ", source="none", note="the energy of a message between chips was not published"
)
"""No architecture file has a key for it."""


@dataclass(frozen=True)
class Item:
    """Something that happened, and the price that it pays.

    Args:
        kind: name of what was counted, in `neurodeploy.program.count_kinds.KINDS`.
        component: key of its price; see `figure`.
    """

    kind: str
    component: str

    @property
    def label(self) -> str:
        """In words."""
        return BY_NAME[self.kind].label

    @property
    def part(self) -> Part:
        """Whether it belongs to inference or to learning."""
        return BY_NAME[self.kind].part

    @property
    def count_unit(self) -> str:
        """Unit of the count."""
        return BY_NAME[self.kind].unit

    def as_json(self) -> dict[str, Any]:
        """All fields, for scripts."""
        told = {"part": self.part, "label": self.label, "count_unit": self.count_unit}
        return {"kind": self.kind, "component": self.component, **told, **asdict(self)}


@dataclass(frozen=True)
class Line(Item):
    """One component of the energy of a sample.

    Args:
        kind, component: as for `Item`.
        count: mean per sample, in `count_unit`.
        price, price_unit: pJ for each, mW of static power.
        energy_pj: ``count * price``, pJ per sample.
        source: paper and table, or program and version.
        confidence: measured, simulated, derived or assumed.
        bound: what the source says the price is: nominal, minimum or maximum.
        note: what the price leaves out.
    """

    count: float
    price: float
    price_unit: str
    energy_pj: float
    source: str
    confidence: str
    bound: str
    note: str


@dataclass(frozen=True)
class Missing(Item):
    """A component that the totals lack.

    Args:
        kind, component: as for `Item`.
        count: mean per sample; None where it was not counted.
        reason: why there is no price.
    """

    count: float | None
    reason: str


@dataclass(frozen=True)
class Bill:
    """Energy of one sample (mean over the samples of a run), in pJ.

    Args:
        chip: whose prices were taken.
        samples: over which the mean goes.
        lines, missing: in the order of the table of kinds.
    """

    chip: str
    samples: int
    lines: tuple[Line, ...]
    missing: tuple[Missing, ...]

    @property
    def inference(self) -> tuple[Line, ...]:
        """Lines of the forward pass."""
        return tuple(line for line in self.lines if line.part == "inference")

    @property
    def learning(self) -> tuple[Line, ...]:
        """Lines of what learning adds."""
        return tuple(line for line in self.lines if line.part == "learning")

    @property
    def inference_pj(self) -> float:
        """The forward pass, pJ per sample."""
        return _sum(self.inference)

    @property
    def learning_pj(self) -> float:
        """What learning adds, pJ per sample."""
        return _sum(self.learning)

    @property
    def known(self) -> bool:
        """Whether anything that happened has a published price; what nobody published is not 0."""
        return bool(self.lines) or not self.missing

    @property
    def total_pj(self) -> float:
        """All priced components, pJ per sample."""
        return _sum(self.lines)

    def count(self, kind: str) -> float:
        """How often something with a price key happened per sample, whether it was priced or is missing."""
        items: tuple[Line | Missing, ...] = (*self.lines, *self.missing)
        return next((item.count or 0.0 for item in items if item.kind == kind), 0.0)

    @property
    def static_pj(self) -> float:
        """Static power alone, pJ per sample."""
        return _sum(line for line in self.lines if line.component == "static")

    @property
    def dynamic_pj(self) -> float:
        """All priced components but static power, pJ per sample."""
        return self.total_pj - self.static_pj

    def as_json(self) -> dict[str, Any]:
        """Sums, lines and what is missing, for scripts; all per sample."""
        lacking = {item.component for item in self.missing}
        return {
            "total_pj": self.total_pj if self.known else None,
            "inference_pj": self.inference_pj if self.known else None,
            "learning_pj": self.learning_pj if self.known else None,
            "dynamic_pj": self.dynamic_pj if self.known else None,
            "static_pj": self.static_pj if "static" not in lacking else None,
            "lines": [line.as_json() for line in self.lines],
            "missing": [item.as_json() for item in self.missing],
        }


def _sum(lines: Iterable[Line]) -> float:
    return float(sum(line.energy_pj for line in lines))


def figure(arch: Architecture, component: str) -> Price:
    """The price of a component: a key of ``energy``, ``static`` power, or a message ``between_chips``."""
    beside = {"static": arch.static_power_per_core, "between_chips": BETWEEN_CHIPS}
    return beside[component] if component in beside else getattr(arch.energy, component)


def bill_of(often: Mapping[str, float], samples: int, arch: Architecture) -> Bill:
    """Price counts by a chip's file.

    Args:
        often: mean of each kind per sample. Kinds that have no price are left out, and so are rare ones of which there
            are none.
        samples: over which the mean goes.
        arch: the chip.
    """
    lines: list[Line] = []
    missing: list[Missing] = []
    for kind in KINDS:
        count = often.get(kind.name)
        if count is None or (count == 0 and kind.rare):
            continue
        for component in kind.prices:
            found = figure(arch, component)
            if found.included_in:
                continue
            if found.value is not None and found.confidence is not None:
                energy = count * found.value
                origin = (found.source, found.confidence, found.bound, found.note)
                lines.append(Line(kind.name, component, count, found.value, found.unit, energy, *origin))
            elif count:
                missing.append(Missing(kind.name, component, count, found.note))
    return Bill(arch.name, samples, tuple(lines), tuple(missing))


def price(counts: Counts, arch: Architecture, timing: Timing | None = None) -> Bill:
    """Return the bill of a run; see the module's docstring for its conventions.

    Args:
        counts: of the run.
        arch: the chip.
        timing: of the same run, for the static energy; computed when not given.

    Raises:
        InvalidInputError: the counts hold no sample, or a core that the chip does not have.
    """
    timing = timing or core_timing(counts, arch)
    samples = timing.step_ns.shape[1]
    return bill_of_run({name: n / samples for name, n in totals(counts, arch, timing).items()}, samples, arch)


def totals(counts: Counts, arch: Architecture, timing: Timing) -> dict[str, float]:
    """All that a run pays for, by kind: sums over samples; how long cores are used is left out where no time is known.

    Args:
        timing: of the same run.
    """
    steps, samples = timing.step_ns.shape
    on_cores = {ON_CHIP_BY_PRICE[key].name: array for key, array in amounts(counts, arch).items()}
    found: dict[str, float] = {name: int(a.sum(dtype=np.int64)) for name, a in {**on_cores, **counts.fabric}.items()}
    found["barriers"] = steps * samples
    if timing.known:
        found["used_core_ns"] = len(counts.cores) * float(timing.inference_ns.mean()) * samples
    return found


def bill_of_run(often: Mapping[str, float], samples: int, arch: Architecture) -> Bill:
    """`bill_of` what a run on a chip pays for, as `totals` has it: also says what is missing without times."""
    bill = bill_of(often, samples, arch)
    if "used_core_ns" in often:
        return bill
    why = "how long the cores are used is not known, since no time was published"
    return replace(bill, missing=(*bill.missing, Missing("used_core_ns", "static", None, why)))
