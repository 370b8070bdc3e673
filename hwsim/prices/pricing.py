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
- Where the host computes a part of the network (`neurodeploy.program.host_work`), the bill has three *shares*: of the
  chip, of the host, and of the boundary between them. A total that lacked a share would pass for the whole, so there is
  none (it is not a number) unless all that host and boundary did has a price; `Bill.said` names the shares instead. A
  byte to the chip is not counted twice where the chip has a price for its messages (``host_message``).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from neurodeploy.program.count_kinds import BY_NAME, KINDS, ON_CHIP_BY_PRICE, Part, Side

from ..chips.arch import Architecture
from ..chips.figures import Price
from ..chips.hosts import Host, HostEnergies
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
    def side(self) -> Side:
        """Where it happens."""
        return BY_NAME[self.kind].side

    @property
    def count_unit(self) -> str:
        """Unit of the count."""
        return BY_NAME[self.kind].unit

    def as_json(self) -> dict[str, Any]:
        """All fields, for scripts."""
        told = {"part": self.part, "side": self.side, "label": self.label, "count_unit": self.count_unit}
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
class Share:
    """What one side takes of the energy of a sample.

    Args:
        side: the chip, the host, or the boundary between them.
        title: its name, for people.
        lines, missing: of the bill.
    """

    side: Side
    title: str
    lines: tuple[Line, ...]
    missing: tuple[Missing, ...]

    @property
    def pj(self) -> float | None:
        """What has a price, pJ per sample; None where something happened and nothing of it has one."""
        return None if self.missing and not any(line.count for line in self.lines) else _sum(self.lines)

    @property
    def lacks(self) -> str:
        """What has no price, in words, with its count; empty where all has one."""
        return ", ".join(
            m.label + ("" if m.count is None else f" ({m.count:,.1f} {m.count_unit})") for m in self.missing
        )

    @property
    def said(self) -> str:
        """In a few words: ``chip 1.234 nJ``, or ``host (ARM Cortex-A): not published``; beside the chip's with what it
        lacks."""
        without = ", ".join(item.label for item in self.missing) if self.side != "chip" else ""
        known = f"{self.title} {(self.pj or 0.0) / 1e3:,.3f} nJ" + (f" (without {without})" if without else "")
        return f"{self.title}: not published" if self.pj is None else known

    def as_json(self) -> dict[str, Any]:
        """For scripts; pJ per sample, None where nothing has a price."""
        return {"title": self.title, "pj": self.pj, "not_published": [item.kind for item in self.missing]}


@dataclass(frozen=True)
class Bill:
    """Energy of one sample (mean over the samples of a run), in pJ.

    Args:
        chip: whose prices were taken.
        samples: over which the mean goes.
        lines, missing: in the order of the table of kinds.
        host: title of the processor that computes a part of the network; empty where the chip computes all of it.
    """

    chip: str
    samples: int
    lines: tuple[Line, ...]
    missing: tuple[Missing, ...]
    host: str = ""

    @cached_property
    def shares(self) -> tuple[Share, ...]:
        """Of the chip, and where there is a host, of the host and of the boundary."""
        titles: dict[Side, str] = {"chip": "chip"}
        if self.host:
            titles |= {"host": f"host ({self.host})", "boundary": "boundary"}
        return tuple(
            Share(
                side, title, tuple(line for line in self.lines if line.side == side),
                tuple(item for item in self.missing if item.side == side),
            )
            for side, title in titles.items()
        )  # fmt: skip

    @property
    def whole(self) -> bool:
        """Whether sums mean the whole network: the chip computes all of it, or all that the host did has a price."""
        return not self.host or all(s.pj is not None and (s.side == "chip" or not s.missing) for s in self.shares)

    @property
    def said(self) -> str:
        """The energy of a sample in words; a sum in nJ, or each share, where one is not published."""
        if self.host and not self.whole:
            return " + ".join(share.said for share in self.shares)
        return f"{self.total_pj / 1e3:,.3f} nJ" if self.known else "not published"

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
        """The forward pass, pJ per sample; not a number where the bill is not `whole`."""
        return _sum(self.inference) if self.whole else math.nan

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
        """All priced components, pJ per sample; not a number where the bill is not `whole`."""
        return _sum(self.lines) if self.whole else math.nan

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
        lacking, summed = {item.component for item in self.missing}, self.known and self.whole
        shares = {"host": self.host, "shares": {s.side: s.as_json() for s in self.shares}} if self.host else {}
        return {
            "total_pj": self.total_pj if summed else None,
            **shares,
            "inference_pj": self.inference_pj if summed else None,
            "learning_pj": self.learning_pj if self.known else None,
            "dynamic_pj": self.dynamic_pj if summed else None,
            "static_pj": self.static_pj if "static" not in lacking else None,
            "lines": [line.as_json() for line in self.lines],
            "missing": [item.as_json() for item in self.missing],
        }


def _sum(lines: Iterable[Line]) -> float:
    return float(sum(line.energy_pj for line in lines))


def figure(arch: Architecture, component: str, host: Host | None = None) -> Price:
    """The price of a component: a key of ``energy``, ``static`` power, a message ``between_chips``, or of the host."""
    beside = {"static": arch.static_power_per_core, "between_chips": BETWEEN_CHIPS, "host_barrier": arch.energy.barrier}
    if host is not None:
        beside |= {name: getattr(host.energy, name) for name in HostEnergies.model_fields}
        own = host.static_power
        elsewhere = own.included_in and arch.host != host.name
        beside["host_static"] = own.model_copy(update={"included_in": ""}) if elsewhere else own
    return beside[component] if component in beside else getattr(arch.energy, component)


def bill_of(often: Mapping[str, float], samples: int, arch: Architecture, host: Host | None = None) -> Bill:
    """Price counts by a chip's file.

    Args:
        often: mean of each kind per sample. Kinds that have no price are left out, and so are rare ones of which there
            are none.
        samples: over which the mean goes.
        arch: the chip.
        host: what computes the host stages of the network, where it has some.
    """
    lines: list[Line] = []
    missing: list[Missing] = []
    for kind in KINDS:
        count = often.get(kind.name)
        if count is None or (count == 0 and kind.rare):
            continue
        for component in kind.prices:
            found = figure(arch, component, host)
            if found.included_in or (kind.name == "bytes_to_chip" and arch.energy.host_message.value is not None):
                continue
            if found.value is not None and found.confidence is not None:
                energy = count * found.value
                origin = (found.source, found.confidence, found.bound, found.note)
                lines.append(Line(kind.name, component, count, found.value, found.unit, energy, *origin))
            elif count:
                missing.append(Missing(kind.name, component, count, found.note))
    return Bill(arch.name, samples, tuple(lines), tuple(missing), host.title if host else "")


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


def bill_of_run(often: Mapping[str, float], samples: int, arch: Architecture, host: Host | None = None) -> Bill:
    """`bill_of` what a run on a chip pays for, as `totals` has it: also says what is missing without times."""
    bill = bill_of(often, samples, arch, host)
    missing = list(bill.missing)
    if "used_core_ns" not in often:
        why = "how long the cores are used is not known, since no time was published"
        missing.append(Missing("used_core_ns", "static", None, why))
    static = figure(arch, "host_static", host) if host is not None else None
    if static is not None and "host_ns" not in often and not static.included_in:
        why = static.note if static.value is None else "how long it runs is not known, since no time was published"
        missing.append(Missing("host_ns", "host_static", None, why))
    return replace(bill, missing=tuple(missing))
