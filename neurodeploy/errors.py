"""Errors that a user may see: each names the thing, what was found, what is allowed and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any, Self


class NeurodeployError(Exception):
    """Base of all expected failures; the command line prints it without a traceback and exits with 2.

    Args:
        what: the thing that failed and where, in one sentence.
        found: what was found there.
        allowed: what would have been accepted.
        hint: what the user can do about it.

    Attributes:
        at: what was read where it failed, for who can go on without; never shown.
    """

    at: Any = None

    def __init__(
        self,
        what: str,
        *,
        found: object | None = None,
        allowed: object | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(what)
        self.what = what
        self.found = found
        self.allowed = allowed
        self.hint = hint

    def again(self, what: str = "", *, found: object | None = None, hint: str | None = None) -> Self:
        """The same error in other words, where they are given: of who knows more of where it happened."""
        made = type(self)(
            what or self.what,
            found=self.found if found is None else found,
            allowed=self.allowed,
            hint=hint or self.hint,
        )
        made.at = self.at
        return made

    def __str__(self) -> str:
        lines = [self.what]
        for label, value in (("found:  ", self.found), ("allowed:", self.allowed), ("to do:  ", self.hint)):
            if value is not None:
                lines.append(f"  {label} {value}")
        return "\n".join(lines)


class InvalidInputError(NeurodeployError, ValueError):
    """A value, option, shape or file content that cannot be used."""


class MissingFileError(NeurodeployError, FileNotFoundError):
    """A file or folder that was named but is not there."""

    __str__ = NeurodeployError.__str__


class StorageError(NeurodeployError, OSError):
    """Reading or writing failed: no permission, a full disk, a vanished folder."""

    __str__ = NeurodeployError.__str__


class MissingPackageError(NeurodeployError, ModuleNotFoundError):
    """A package that something needs is not installed; ``hint`` is the command that installs it here."""

    __str__ = NeurodeployError.__str__


class UnsupportedError(NeurodeployError, NotImplementedError):
    """A valid network that this pass or back-end does not express."""


class DoesNotFitError(NeurodeployError, ValueError):
    """A network that exceeds a limit of the chip."""


class VerificationError(NeurodeployError, AssertionError):
    """Two stages that must be equal are not."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C during a run.

    Args:
        recording: what was complete by then, a `neurodeploy.program.recording.Recording`; None for nothing.
        text: for people.
    """

    def __init__(self, recording: Any, text: str) -> None:
        super().__init__(text)
        self.recording = recording


class BackendError(NeurodeployError, RuntimeError):
    """A back-end failed while running: it crashed, hung or is not installed."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The known names that an unknown one resembles, as words for a message; empty if none does."""
    found = difflib.get_close_matches(name, sorted(set(known)), n=2, cutoff=0.7)
    return f"; did you mean {' or '.join(found)}?" if found else ""
