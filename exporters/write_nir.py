"""Writing `.nir` files: complete and read back, or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neurodeploy.errors import StorageError
from neurodeploy.files.atomic import atomic_path

if TYPE_CHECKING:
    import nir


def write(graph: nir.NIRGraph, path: Path | str) -> Path:
    """Write ``graph`` and read it back before it is put in place; return its path.

    Raises:
        StorageError: the folder cannot be written to, the disk is full, or what was read back differs.
    """
    import nir

    path = Path(path)
    with atomic_path(path) as temporary:
        nir.write(temporary, graph)
        # nir's own type check refuses valid grouped convolutions and non-square kernels.
        difference = _difference(graph, nir.read(temporary, type_check=False))
        if difference:
            raise StorageError(
                f"{path} does not hold what was written to it", found=difference, hint="check the disk and try again"
            )
    return path


def _difference(written: nir.NIRGraph, read: nir.NIRGraph) -> str:
    """Where two graphs differ, empty if nowhere."""
    if sorted(written.edges) != sorted(read.edges):
        return "other edges"
    if _unequal(written.metadata, read.metadata):
        return "other metadata"
    if sorted(written.nodes) != sorted(read.nodes):
        return "other nodes"
    for name, node in written.nodes.items():
        if _unequal(node.to_dict(), read.nodes[name].to_dict()):
            return f"node {name!r} has other values"
    return ""


def _unequal(a: Any, b: Any) -> bool:
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() != b.keys() or any(_unequal(a[key], b[key]) for key in a)
    return not np.array_equal(a, b)
