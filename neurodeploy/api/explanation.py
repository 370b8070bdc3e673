"""What of a network fits on a chip and what does not, layer by layer, and what was done to each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from neurodeploy.compiler import limits_of, needs
from neurodeploy.files.tables import html_table
from neurodeploy.hwsim.chips.arch import Architecture
from neurodeploy.network.network import Network
from neurodeploy.placement import fit
from neurodeploy.placement.fit import Need, Stored
from neurodeploy.program.limits import Limits

COLUMNS = ("layer", "in the model", "limit", "need", "have", "used", "fits", "what to do")


@dataclass(frozen=True, eq=False, repr=False)
class Explanation:
    """What `explain` found.

    Args:
        network: that was looked at.
        limits: of its chip; None where it is placed on none.
        needs: every limit of every layer: need, have, whether it fits, and what to do.
        storage: how each projection is stored; memory in bytes.
    """

    network: Network
    limits: Limits | None
    needs: tuple[Need, ...]
    storage: tuple[Stored, ...]

    @property
    def fits(self) -> bool:
        """Whether all of it does."""
        return all(need.fits for need in self.needs)

    def as_json(self) -> dict[str, Any]:
        """All of it for scripts; what ``neurodeploy compile --explain --json`` prints as ``explained``."""
        return {
            "fits": self.fits,
            "needs": [dict(vars(need)) for need in self.needs],
            "storage": [dict(vars(stored)) for stored in self.storage],
            "notes": dict(self.network.notes),
        }

    def rows(self) -> list[tuple[str, ...]]:
        """A row a need: see `COLUMNS`."""
        return [_row(need) for need in self.needs]

    def __repr__(self) -> str:
        where = self.limits.chip if self.limits else "no chip"
        wrong = [str(need) for need in self.needs if not need.fits]
        return f"<Explanation of {self.network.name} on {where}: {'; '.join(wrong) or 'all of it fits'}>"

    def _repr_html_(self) -> str:
        return html_table(COLUMNS, self.rows(), repr(self))


def explain(network: Network, arch: Architecture | None, cap: int | None = None, chips: int = 1) -> Explanation:
    """Compare what a network needs with what a chip has.

    Args:
        arch: the chip; None for none, whose limits hold nothing back.
        cap: neurons that a core takes at most, where that is less than it could.
        chips: how many there are.
    """
    limits = None if arch is None else limits_of(arch)
    found = () if arch is None else needs(network, arch, cap, chips)
    return Explanation(network, limits, found, fit.storage(network, limits))


def _row(need: Need) -> tuple[str, ...]:
    if need.lacks:
        verdict = "as floats" if need.fits else "NO"
        return need.layer, need.where, need.limit, "yes", "no", "-", verdict, need.remedy
    share = f"{100 * need.need / need.have:.0f} %" if need.have else "-"
    verdict = ("yes, " + need.note if need.note else "yes") if need.fits else "NO"
    return (
        need.layer or "all", need.where, need.limit, fit.shown(need.need, need.unit), fit.shown(need.have, need.unit),
        share, verdict, need.remedy,
    )  # fmt: skip
