"""The back-ends under test: ours, and all others that are installed (entry-point group ``neurodeploy.backends``)."""

from __future__ import annotations

from collections.abc import Mapping

from neurodeploy import backends
from neurodeploy.backends import Backend
from neurodeploy.program.program import Program

JUDGE = "reference"

APART = {
    "reference": "it is the judge",
    "onnxruntime": "it runs the one-step graphs that `export --to onnx` writes, which have tests of their own",
}
"""Back-ends that the suite does not run, and why."""

REFUSED: Mapping[tuple[str, str, str], str] = {}
"""``(back-end, case, arithmetic)`` of what one of ours may refuse: a part of its message."""


def under_test() -> list[str]:
    """Names of the back-ends."""
    return [name for name in backends.names() if name not in APART]


def run_of(name: str) -> Backend:
    """The back-end of that name."""
    return backends.get(name)


def integer(program: Program) -> bool:
    """Whether a program computes in integers."""
    return program.network.arithmetic == "loihi"
