"""What the commands print through: text and tables to standard output, progress and errors to standard error."""

from __future__ import annotations

import json as json_module
import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import Any

from neurodeploy.api.show import PATIENCE
from neurodeploy.errors import NeurodeployError

_SHOWN = {code: repr(chr(code))[1:-1] for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}
_SHOWN |= {code: f"\\u{code:04x}" for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A), *range(0xD800, 0xE000))}
"""Characters that would steer the terminal, and how they are shown: controls, turns of direction, lone surrogates."""


def harmless(text: str) -> str:
    """Text for a terminal, whatever file it came from."""
    return text.translate(_SHOWN)


class _Notes(logging.Handler):
    """Hands what a logger says to a console."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        self._console.note(record.getMessage())


class Console:
    """The one place that prints.

    Args:
        json: print machine-readable results only; `say` and `table` are silent then.
    """

    def __init__(self, json: bool = False) -> None:
        self.json = json

    def say(self, text: str = "") -> None:
        """Print a line for people."""
        if not self.json:
            sys.stdout.write(harmless(text) + "\n")

    def note(self, text: str) -> None:
        """Print a line about what is going on (standard error)."""
        if not self.json:
            sys.stderr.write(harmless(text) + "\n")
            sys.stderr.flush()

    def warn(self, *texts: str) -> None:
        """Print warnings (standard error), also beside machine-readable results, which hold them too."""
        for text in texts:
            sys.stderr.write(f"warning: {harmless(text)}\n")
        sys.stderr.flush()

    def listen(self, name: str) -> None:
        """Note what a logger says, and nothing of what an earlier console of this process listened to."""
        logger = logging.getLogger(name)
        for handler in logger.handlers[:]:
            logger.removeHandler(handler)
        logger.addHandler(_Notes(self))
        logger.setLevel(logging.INFO)
        logger.propagate = False

    def error(self, text: str) -> None:
        """Print an error."""
        sys.stderr.write(f"error: {harmless(text)}\n")

    def failed(self, error: NeurodeployError) -> None:
        """Print the error that ends a command; as machine-readable result, too, where that was asked for."""
        self.error(str(error))
        said = {"what": error.what, "found": error.found, "allowed": error.allowed, "to_do": error.hint}
        said = {key: None if value is None else str(value) for key, value in said.items()}
        self.result({"error": {"kind": type(error).__name__, **said}})

    def result(self, value: Any) -> None:
        """Print a machine-readable result if that was asked for."""
        if self.json:
            sys.stdout.write(json_module.dumps(value, indent=2, allow_nan=False) + "\n")

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[object]], title: str = "") -> None:
        """Print a table; columns whose cells are all numbers are right-aligned."""
        if self.json:
            return
        try:
            from rich.console import Console as Rich
            from rich.table import Table
        except ModuleNotFoundError:  # `doctor` says so, and must be able to
            for row in (columns, *rows):
                self.say("  ".join(map(str, row)).rstrip())
            self.say()
            return
        table = Table(title=harmless(title) or None, title_justify="left", title_style="bold", header_style="bold")
        for index, column in enumerate(columns):
            numeric = all(_numeric(row[index]) for row in rows)
            table.add_column(column, justify="right" if numeric else "left", overflow="fold")
        for row in rows:
            table.add_row(*(harmless(cell) if isinstance(cell, str) else f"{cell:,}" for cell in row))
        rich = Rich(file=sys.stdout, highlight=False, soft_wrap=False, markup=False)
        if not rich.is_terminal:
            rich.width = max(rich.width, 160)
        rich.print(table)

    @contextmanager
    def progress(self, label: str) -> Iterator[Progress]:
        """A bar on standard error for work that takes longer than `PATIENCE` seconds."""
        bar = Progress(label, enabled=not self.json)
        try:
            yield bar
        finally:
            bar.close()


def _numeric(cell: object) -> bool:
    text = str(cell).strip()
    return not text or text in ("-", "–") or text.lstrip("+-~<>").replace(",", "")[:1].isdigit()


class Progress:
    """Call it with ``(done, of)`` or ``(done, of, text)``."""

    def __init__(self, label: str, enabled: bool) -> None:
        self.label, self.enabled = label, enabled
        self.started = monotonic()
        self._bar: Any = None
        self._task: Any = None
        self._said = 0.0

    def __call__(self, done: int, of: int, text: str = "") -> None:
        if not self.enabled or monotonic() - self.started < PATIENCE:
            return
        label = harmless(f"{self.label} {text}".rstrip())
        if not sys.stderr.isatty():
            # A log file gets a line now and then instead of a bar.
            if monotonic() - self._said > 5 * PATIENCE or done == of:
                self._said = monotonic()
                sys.stderr.write(f"  {label}: {done} of {of}\n")
                sys.stderr.flush()
            return
        if self._bar is None:
            from rich.console import Console as Rich
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("left:"),
                TimeRemainingColumn(),
            )
            self._bar = Bar(*columns, console=Rich(stderr=True), transient=True)
            self._task = self._bar.add_task(label, total=of)
            self._bar.start()
        self._bar.update(self._task, description=label, completed=done, total=of)

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
