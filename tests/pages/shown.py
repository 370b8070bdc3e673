"""What a page shows beside what was printed: the same, but for what it leaves out and what differs from run to run."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

CUT = "..."


def difference(shown: str, printed: str, varies: Sequence[str] = ()) -> str:
    """The first line of a page that was not printed, in words; empty where all were."""
    lines = _lines(shown)
    found = _matched(lines, _lines(printed), _same(varies))
    if isinstance(found, list):
        return ""
    if found == len(lines):
        return "shown: nothing more\nprinted, and not shown: " + _first_rest(lines, _lines(printed), varies)
    return f"shown: {lines[found]}\nprinted:\n{printed}"


def refreshed(shown: str, printed: str, varies: Sequence[str] = ()) -> str:
    """What a page is to show: all that was printed, or, where it leaves something out, its lines with their figures.

    ``?`` stands for all that was printed.

    Raises:
        ValueError: a line beside some that are left out, and nothing like it was printed.
    """
    lines, given = _lines(shown), _lines(printed)
    if shown.strip() == "?":
        return printed
    if not difference(shown, printed, varies):
        return shown
    if not any(line.endswith(CUT) for line in lines):
        return printed  # nothing was left out, so nothing is now
    found = _matched(lines, given, _alike)
    if not isinstance(found, list):
        where = lines[found] if found < len(lines) else "(the end)"
        raise ValueError(f"nothing like this was printed any more: {where}\nprinted:\n{printed}")
    new = []
    for line, at in zip(lines, found, strict=True):
        if at is None:
            new.append(line)
        elif _open(line):
            new.append(given[at][: _cut_at(line, given[at])].rstrip() + " " + CUT)
        else:
            new.append(given[at])
    return "".join(line + "\n" for line in new)


def _cut_at(line: str, given: str) -> int:
    """Where a line that is cut is to be cut: behind as many columns of a table, or words."""
    sign = "│" if "│" in line else " "
    places = [at.end() for at in re.finditer(re.escape(sign), given)]
    wanted = line.removesuffix(CUT).rstrip().count(sign)
    return places[min(wanted, len(places)) - 1] if wanted and sign == "│" else min(len(line) - len(CUT), len(given))


def _lines(text: str) -> list[str]:
    lines = [line.rstrip() for line in text.splitlines()]
    while lines and not lines[-1]:
        lines.pop()
    return lines


def _open(line: str) -> bool:
    return line.endswith(CUT) and line != CUT


def _matched(lines: list[str], given: list[str], same: Callable[[str, str], bool]) -> list[int | None] | int:
    """For each shown line the printed one; or the number of the first that has none (their count: more was printed)."""
    found: list[int | None] = []
    at, free = 0, False
    for number, line in enumerate(lines):
        if line == CUT:
            free = True
            found.append(None)
            continue
        stop = len(given) if free else min(at + 1, len(given))
        hit = next((here for here in range(at, stop) if same(line, given[here])), None)
        if hit is None:
            return number
        found.append(hit)
        at, free = hit + 1, False
    return found if free or at == len(given) else len(lines)


def _first_rest(lines: list[str], given: list[str], varies: Sequence[str]) -> str:
    found = _matched([*lines, CUT], given, _same(varies))
    last = max((at for at in found if at is not None), default=-1) if isinstance(found, list) else -1
    return given[last + 1] if last + 1 < len(given) else "?"


def _same(varies: Sequence[str]) -> Callable[[str, str], bool]:
    pattern = re.compile("|".join(f"(?:{one})" for one in varies)) if varies else None

    def plain(line: str) -> str:
        line = re.sub(r"[─━]+", "─", line) if pattern else line
        return re.sub(r" +", " ", pattern.sub("~", line)) if pattern else line

    def same(line: str, given: str) -> bool:
        if _open(line):
            return plain(given).startswith(plain(line.removesuffix(CUT).rstrip()))
        return plain(line) == plain(given)

    return same


def _alike(line: str, given: str) -> bool:
    """The same but for figures and the widths of columns."""

    def shape(text: str) -> str:
        text = re.sub(r"\d[\d,]*(\.\d+)?(e[+-]?\d+)?", "#", text)
        return re.sub(r"[ ─━]+", " ", text).strip()

    if _open(line):
        return shape(given).startswith(shape(line.removesuffix(CUT)))
    return shape(line) == shape(given)
