"""What neurodeploy asks of packages: from ``pyproject.toml`` in a checkout, from the metadata of what is installed
elsewhere, and by names alone where there is neither."""

from __future__ import annotations

import ast
import operator
import platform
import re
import sys
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

DISTRIBUTION = "neurodeploy-snn"
"""What pip calls us. A stranger's package has the name ``neurodeploy``, so no command may ask an index for that."""

HOME = Path(__file__).resolve().parents[1]
CONSTRAINTS = HOME / "constraints.txt"
"""Versions that work together."""

EXTRA_OF = {
    "torch": "torch",
    "safetensors": "torch",
    "norse": "norse",
    "snntorch": "snntorch",
    "spikingjelly": "spikingjelly",
    "onnx": "onnx",
    "onnxruntime": "onnx",
    "sklearn": "learn",
    "dask": "dask",
    "distributed": "dask",
    "mtkahypar": "partition",
    "tonic": "events",
}
"""Optional package, as it is imported -> the extra that brings it."""

IMPORTED = {"scikit-learn": "sklearn", "pyyaml": "yaml"}
"""Names that pip and Python do not share."""

BARE = {
    "": "h5py jinja2 networkx nir numba numpy pydantic pyyaml rich scipy shtab",
    "torch": "torch safetensors",
    "norse": "torch safetensors norse",
    "snntorch": "torch safetensors snntorch",
    "spikingjelly": "torch safetensors spikingjelly",
    "onnx": "onnx onnxruntime",
    "dask": "dask distributed",
    "partition": "mtkahypar",
    "learn": "scikit-learn",
    "events": "tonic",
    "demo": "torch safetensors norse scikit-learn",
}
"""By extra (``""``: what nothing works without), for a copy that has neither metadata nor ``pyproject.toml``."""

_FORM = re.compile(r"([\w.-]+)(?:\[([\w,\s-]*)\])?\s*\(?([^;()]*)\)?\s*(?:;\s*(.*))?$")
_EXTRA = re.compile(r"""(?:\s*\band\s+)?\bextra\s*==\s*["']([\w-]+)["']""")
_CLAUSE = re.compile(r"(>=|<=|==|!=|>|<)\s*([\d.]+)")
_TESTS: dict[str | type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ">=": operator.ge, "<=": operator.le, "==": operator.eq, "!=": operator.ne, ">": operator.gt, "<": operator.lt,
    ast.GtE: operator.ge, ast.LtE: operator.le, ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Gt: operator.gt,
    ast.Lt: operator.lt,
}  # fmt: skip


@dataclass(frozen=True)
class Requirement:
    """What is asked of one package.

    Args:
        name: as pip knows it.
        versions: which ones, ``>=1.1``; empty for any.
        marker: where it can be had, as Python's packaging writes it; empty for everywhere.
    """

    name: str
    versions: str = ""
    marker: str = ""

    def __str__(self) -> str:
        return f"{self.name}{self.versions}"

    @property
    def module(self) -> str:
        """The name that Python imports."""
        return IMPORTED.get(self.name, self.name)

    @property
    def available(self) -> bool:
        """Whether there are builds for this machine and Python."""
        return not self.marker or _holds(ast.parse(self.marker, mode="eval").body)

    def met_by(self, version: str) -> bool:
        """Whether a version is one of those that are asked for."""
        have = _numbers(version)
        for test, asked in _CLAUSE.findall(self.versions):
            want = _numbers(asked)
            width = max(len(have), len(want))
            if not _TESTS[test](*(number + (0,) * (width - len(number)) for number in (have, want))):
                return False
        return True


def needed() -> tuple[Requirement, ...]:
    """Packages without which nothing works."""
    return _declared().get("", ())


def of_extra(extra: str) -> tuple[Requirement, ...]:
    """The packages of an extra, those of extras within it included.

    Raises:
        KeyError: there is no such extra.
    """
    return _declared()[extra]


def extras() -> tuple[str, ...]:
    """Names of all extras that are known here."""
    return tuple(name for name in _declared() if name)


def of_module(module: str) -> tuple[Requirement, ...]:
    """What brings a package that Python did not find: its extra, or all needed ones that are missing.

    Empty for a package that neurodeploy has no use for.
    """
    if module in EXTRA_OF:
        return _declared().get(EXTRA_OF[module], ())
    if any(requirement.module == module for requirement in needed()):
        return tuple(r for r in needed() if r.module == module or not is_there(r.module))
    return ()


def is_there(module: str) -> bool:
    """Whether Python would find a package; it is not imported."""
    if module in sys.modules:
        return sys.modules[module] is not None
    return find_spec(module) is not None


def version_of(name: str) -> str | None:
    """The installed version of a package as pip knows it; None where it says none."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


@cache
def _declared() -> dict[str, tuple[Requirement, ...]]:
    """By extra, ``""`` for none: the packages, self-references replaced by what they stand for."""
    written = _of_checkout() or _of_metadata() or {extra: names.split() for extra, names in BARE.items()}

    def of(extra: str) -> dict[str, Requirement]:
        found: dict[str, Requirement] = {}
        for text in written.get(extra, ()):
            name, within, versions, marker = (part or "" for part in _parts(text))
            if name == DISTRIBUTION:
                for inner in re.split(r"\s*,\s*", within):
                    found |= of(inner)
            else:
                found[name] = Requirement(name, versions.replace(" ", ""), marker)
        return found

    return {extra: tuple(of(extra).values()) for extra in written}


def _parts(text: str) -> tuple[str, str, str, str]:
    match = _FORM.match(text)
    assert match is not None, text
    name, within, versions, marker = match.groups()
    return re.sub(r"[-_.]+", "-", name).lower(), within, versions.strip(), marker


def _of_checkout() -> dict[str, list[str]] | None:
    try:
        project = tomllib.loads((HOME.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        if project["name"] != DISTRIBUTION:
            return None
        return {"": project["dependencies"], **project["optional-dependencies"]}
    except (OSError, ValueError, KeyError):
        return None


def _of_metadata() -> dict[str, list[str]] | None:
    try:
        lines = metadata.requires(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return None
    found: dict[str, list[str]] = {"": []}
    for line in lines or ():
        text, _, marker = line.partition(";")
        extra = _EXTRA.search(marker)
        rest = _EXTRA.sub("", marker).strip()
        found.setdefault(extra[1] if extra else "", []).append(f"{text};{rest}" if rest else text)
    return found


def _numbers(version: str) -> tuple[int, ...]:
    """The release of a version: ``2.13.0+cpu`` is 2, 13, 0."""
    match = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(map(int, match[0].split("."))) if match else ()


def _holds(node: ast.expr) -> bool:
    """Whether a marker holds here; its grammar is a part of Python's."""
    if isinstance(node, ast.BoolOp):
        return (all if isinstance(node.op, ast.And) else any)(_holds(value) for value in node.values)
    assert isinstance(node, ast.Compare), ast.dump(node)
    here = {
        "sys_platform": sys.platform, "platform_machine": platform.machine(), "platform_system": platform.system(),
        "python_version": platform.python_version().rpartition(".")[0],
    }  # fmt: skip
    first, second = (
        here[side.id] if isinstance(side, ast.Name) else ast.literal_eval(side)
        for side in (node.left, node.comparators[0])
    )
    numbers = "python_version" in ast.unparse(node)
    return _TESTS[type(node.ops[0])](*((_numbers(first), _numbers(second)) if numbers else (first, second)))
