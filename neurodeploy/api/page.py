"""The HTML page of a results file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neurodeploy.files.atomic import existing_file, storage_errors
from neurodeploy.report.document import Report
from neurodeploy.report.html import write_html
from neurodeploy.report.learning import document as learning_document
from neurodeploy.report.learning import html as learning_html


@dataclass(frozen=True)
class Page:
    """What `write_report` wrote.

    Args:
        report: the page.
        networks: names of what it shows: networks, learning rules or scenarios.
    """

    report: Path
    networks: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """For scripts; what ``neurodeploy report --json`` prints."""
        return {"report": str(self.report), "networks": list(self.networks)}


def write_report(results: Path | str, path: Path | str | None = None) -> Page:
    """Make the page of a results file (``.json``) of ``verify --results``, ``demo``, ``learn`` or ``adapt``.

    Args:
        path: of the page; None for beside it, ``.html``.

    Raises:
        MissingFileError: there is no such file.
        InvalidInputError: it is damaged, or no results file.
        StorageError: the folder cannot be written to, or the disk is full.
    """
    source = existing_file(results, "a results file (.json)")
    with storage_errors("read", source):
        text = source.read_bytes()
    target = Path(path) if path is not None else Path(results).with_suffix(".html")
    if learning_document.FORMAT.encode() in text[:200]:
        learned = learning_document.LearningReport.from_json(text, str(source))
        learning_html.write_html(learned, target)
        return Page(target, (*(r.rule for r in learned.rules), *(a.scenario for a in learned.adaptations)))
    found = Report.from_json(text, str(source))
    write_html(found, target)
    return Page(target, tuple(network.name for network in found.networks))
