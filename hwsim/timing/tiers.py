"""How long a step takes on the chip, in tiers that see more and more of it; all of them follow from the counts.

`core`: a step lasts as long as its slowest core, and then the barrier. In chip step ``t`` of one sample, core ``c``
receives and sends

    in(c, t)  = messages_in t_axon_in + sum over encodings e of sops_e t_e + words t_word,
    out(c, t) = active t_active + (updates - active) t_inactive + touched t_dendrite + events_out t_spike
                + messages_out t_axon_out,

    learn(c, t) = synapses visited by the learning engine at the end of an epoch t_learning,

which take ``in + out + learn`` in a core that does one thing after another, and ``max(in, out) + learn`` where both go
on side by side (the architecture's `pipeline.core`); all cores run side by side, and the mesh-wide barrier over the
tiles that hold a used core closes the step:

    T(t) = max over c of T(c, t) + barrier(tiles).

`link`: no link of the mesh, and no tile's way in or out of it, passes more than one message in each t_link, so a step
lasts at least as long as the busiest of them needs (XY routing):

    T(t) = max(core(t), max over links l of messages(l, t) t_link) + barrier(tiles).

`event` (`neurodeploy.hwsim.timing.event_tier`): messages are followed one by one, in the order in which their cores
send them, through finite buffers.

No tier knows the host; the message tiers do not know learning. A time that nobody published counts as 0, and
`Timing.missing` names it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from neurodeploy.errors import InvalidInputError
from neurodeploy.network.arrays import Array
from neurodeploy.program.count_kinds import BY_NAME, ON_CHIP_BY_PRICE, Counter, counted

from ..chips.arch import Architecture
from ..counts.counts import CORE, Counts, check_cores


def _keys(*by: Counter) -> tuple[str, ...]:
    """Keys of the times that what these count takes on a core."""
    return tuple(price for name in counted(*by) for price in BY_NAME[name].prices)


RECEIVING, SENDING, LEARNING = _keys("receiving"), _keys("sending", "resting"), _keys("work")
TERMS = {
    **{key: ON_CHIP_BY_PRICE[key].label for key in (*RECEIVING, *SENDING, *LEARNING)},
    "network": "network-on-chip",
    "barrier": ON_CHIP_BY_PRICE["barrier"].label,
}
"""Parts of a step's time, by their keys in an architecture file, in words."""


@dataclass(frozen=True, eq=False)
class Timing:
    """How long a run takes on the chip.

    Args:
        tier: name of the model.
        step_ns: ``[chip steps, samples]``, ns.
        inference_ns: sum over the steps, ``[samples]``, ns.
        terms: for each name in `TERMS`, its share of an inference in ns (of the slowest core in every step), mean over
            samples; they add up to the mean of `inference_ns`.
        core_ns: mean working time of each core per inference, in the order of `Counts.cores`, ns.
        busiest_core: the core that sets the length of the most steps, weighted by their length; None without cores, or
            without a time for what they do.
        busiest_share: of the working time that is spent waiting for that core, 0 to 1.
        tiles: tiles in the barrier.
        missing: terms without a published time, taken as 0.
        bound: what sets the length of each step, ``[chip steps, samples]``: a row of `Counts.cores`, or -1 for the
            network.
    """

    tier: str
    step_ns: Array
    inference_ns: Array
    terms: Mapping[str, float]
    core_ns: Array
    busiest_core: int | None
    busiest_share: float
    tiles: int
    missing: tuple[str, ...]
    bound: Array

    @property
    def known(self) -> bool:
        """Whether the time of anything that happened was published; what nobody published is not 0."""
        return bool(self.step_ns.any()) or not self.missing

    @property
    def cores_known(self) -> bool:
        """Whether the time of anything that a core does was published."""
        return bool(self.core_ns.any()) or not self.missing

    @property
    def dominant(self) -> str:
        """Name of the largest of `terms`."""
        return max(self.terms, key=lambda name: self.terms[name])


def amounts(counts: Counts, arch: Architecture) -> dict[str, Array]:
    """How often each priced thing of a core happened, by its key, ``[cores, chip steps, samples]``.

    Synapses with a weight of zero count where the chip walks them (`pipeline.zero_weights`); those in lists and shared
    kernels have keys of their own, and are not among the other synaptic operations.
    """
    core = counts.core
    total, listed, shared = (
        ("nonzero_sops", "nonzero_list", "nonzero_kernel")
        if arch.pipeline.zero_weights == "skipped"
        else ("sops", "sops_list", "sops_kernel")
    )
    done = {
        **core,
        "sops": core[total] - core[listed] - core[shared],
        "sops_list": core[listed],
        "sops_kernel": core[shared],
        "inactive_updates": core["updates"] - core["active_updates"],
        "visited": counts.learning["visited"] if counts.learning else np.zeros_like(core["messages_out"]),
    }
    return {key: done[ON_CHIP_BY_PRICE[key].name] for key in (*RECEIVING, *SENDING, *LEARNING)}


def tiles_of(counts: Counts, arch: Architecture) -> int:
    """Number of tiles that hold a used core."""
    return len({(arch.chip_of(core), arch.tile_of(core % arch.cores)) for core in counts.cores})


def core_timing(counts: Counts, arch: Architecture) -> Timing:
    """Return the times of a run in the `core` tier; see the module's docstring.

    Raises:
        InvalidInputError: the counts hold no sample, or a core that the chip does not have.
    """
    return _timing("core", counts, arch, None, arch.pipeline.core == "parallel")


def parallel_timing(counts: Counts, arch: Architecture) -> Timing:
    """As `core_timing`, as if every core received and sent side by side."""
    return _timing("core", counts, arch, None, True)


def link_timing(counts: Counts, arch: Architecture) -> Timing:
    """Return the times of a run in the `link` tier; see the module's docstring.

    Raises:
        InvalidInputError: as `core_timing`, or links were not counted.
    """
    if counts.links is None:
        raise InvalidInputError(
            "the counts know nothing of links", hint="count with links=True, or use the core tier of timing"
        )
    return _timing("link", counts, arch, _network_ns(counts, arch), arch.pipeline.core == "parallel")


def counted_timing(counts: Counts, arch: Architecture, tier: str) -> Timing:
    """As `link_timing` in the `link` tier, else as `core_timing`."""
    return link_timing(counts, arch) if tier == "link" else core_timing(counts, arch)


def _network_ns(counts: Counts, arch: Architecture) -> Array:
    """Time that the busiest link, or a tile's way in or out, needs: ``[chip steps, samples]``, ns."""
    assert counts.links is not None
    each = arch.ns(arch.pipeline.link_message) or 0.0
    heaviest = counts.links.max(axis=0, initial=0)
    tiles: dict[int, list[int]] = {}
    for row, core in enumerate(counts.cores):
        tiles.setdefault(core // arch.mesh.cores_per_tile.value, []).append(row)
    for rows in tiles.values():
        for way in ("messages_in", "messages_out"):
            np.maximum(heaviest, counts.core[way][rows].sum(axis=0), out=heaviest)
    return np.asarray(heaviest * each)


def _timing(tier: str, counts: Counts, arch: Architecture, network: Array | None, parallel: bool) -> Timing:
    steps, samples = counts.core[CORE[0]].shape[1:]
    if samples == 0:
        raise InvalidInputError("there is nothing to time", found="counts of 0 samples", allowed="at least one sample")
    check_cores(counts.cores, counts.chips, arch)
    figures = {name: getattr(arch.latency, name) for name in (*RECEIVING, *SENDING, *LEARNING)}
    price = {name: arch.ns(figure) or 0.0 for name, figure in figures.items()}
    often = amounts(counts, arch)
    missing = [n for n, figure in figures.items() if figure.value is None and not figure.included_in and often[n].any()]
    if network is not None and arch.pipeline.link_message.value is None:
        missing.append("link_message")
    if arch.barrier.latency is None:
        missing.append("barrier")
    terms = dict.fromkeys(TERMS, 0.0)
    working = np.zeros((steps, samples))
    bound = np.full((steps, samples), -1)
    core_ns = np.zeros(len(counts.cores))
    if counts.cores and steps:
        receiving, sending = (_weighted(often, price, names) for names in (RECEIVING, SENDING))
        total = np.maximum(receiving, sending) if parallel else receiving + sending
        total += _weighted(often, price, LEARNING)
        bound = total.argmax(axis=0)
        working = total.max(axis=0)
        core_ns = total.sum(axis=1).mean(axis=1)
        chosen = bound[np.newaxis]
        receives = np.take_along_axis(receiving, chosen, axis=0) >= np.take_along_axis(sending, chosen, axis=0)
        for names, counted in ((RECEIVING, receives), (SENDING, ~receives)):
            for name in names:
                if price[name]:
                    there = np.take_along_axis(often[name], chosen, axis=0)
                    terms[name] = float((there * counted if parallel else there).sum()) * price[name] / samples
        for name in LEARNING:
            there = np.take_along_axis(often[name], chosen, axis=0)
            terms[name] = float(there.sum()) * price[name] / samples
    if network is not None:
        longer = network > working
        terms["network"] = float((network - working)[longer].sum()) / samples
        bound = np.where(longer, -1, bound)
        working = np.maximum(working, network)
    return finished(tier, counts, arch, working, bound, terms, core_ns, tuple(missing))


def finished(
    tier: str,
    counts: Counts,
    arch: Architecture,
    working: Array,
    bound: Array,
    terms: dict[str, float],
    core_ns: Array,
    missing: tuple[str, ...],
) -> Timing:
    """A `Timing` from the working time of each step, to which the barrier is added."""
    waited = np.bincount(bound[bound >= 0], weights=working[bound >= 0], minlength=len(counts.cores))
    busiest, share = None, 0.0
    if len(waited) and bound.size and (core_ns.any() or not missing):
        busiest = counts.cores[int(waited.argmax())]
        share = float(waited.max() / working.sum()) if working.sum() else 0.0
    tiles = tiles_of(counts, arch)
    barrier = arch.barrier_ns(tiles)
    step_ns = working + barrier
    chips = {arch.chip_of(core) for core in counts.cores}
    return Timing(
        tier=tier,
        step_ns=step_ns,
        inference_ns=step_ns.sum(axis=0),
        terms={**terms, "barrier": barrier * len(step_ns)},
        core_ns=core_ns,
        busiest_core=busiest,
        busiest_share=share,
        tiles=tiles,
        missing=(*missing, *(("messages and barrier between chips",) if len(chips) > 1 else ())),
        bound=bound,
    )


def _weighted(often: Mapping[str, Array], price: Mapping[str, float], names: tuple[str, ...]) -> Array:
    """Sum of counts times prices, ``[cores, chip steps, samples]``."""
    total = np.zeros(often[names[0]].shape)
    for name in names:
        if price[name]:
            total += often[name] * price[name]
    return total
