"""The compiler's passes and their options, to look at."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from neurodeploy import passes
from neurodeploy.files.tables import html_table

COLUMNS = ("pass", "what it does", "options")


@dataclass(frozen=True)
class PassInfo:
    """A pass.

    Args:
        name: as a pipeline names it.
        what: it does, in a line.
        options: what each may be, in words.
    """

    name: str
    what: str
    options: Mapping[str, str]


@dataclass(frozen=True, repr=False)
class Passes:
    """All passes: ours, and those that other packages bring."""

    listed: tuple[PassInfo, ...]

    def as_json(self) -> list[dict[str, Any]]:
        """All of it for scripts; what ``neurodeploy passes --json`` prints."""
        return [{"name": p.name, "what": p.what, "options": dict(p.options)} for p in self.listed]

    def rows(self) -> list[tuple[str, str, str]]:
        """A row a pass: see `COLUMNS`."""
        return [(p.name, p.what, "; ".join(f"{name} = {may}" for name, may in p.options.items())) for p in self.listed]

    def __repr__(self) -> str:
        return f"<Passes {', '.join(p.name for p in self.listed)}>"

    def _repr_html_(self) -> str:
        return html_table(COLUMNS, self.rows())


def available_passes() -> Passes:
    """The passes that a pipeline may name, with their options."""
    found = []
    for name in passes.names():
        doc = sys.modules[passes.get(name).__module__].__doc__ or ""
        what = doc.strip().partition("\n")[0].partition(": ")[2]
        found.append(PassInfo(name, what, {option: str(may) for option, may in passes.options_of(name).items()}))
    return Passes(tuple(found))
