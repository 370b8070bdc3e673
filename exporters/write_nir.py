"""Writing `.nir` files: complete and read back, or not at all."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neurodeploy.errors import StorageError
from neurodeploy.files.atomic import atomic_path
from neurodeploy.nir_graph.host_nodes import FROM_HOST, STAGE
from neurodeploy.nir_graph.max_node import NAME as MAX
from neurodeploy.nir_graph.shapes import kind

if TYPE_CHECKING:
    import h5py
    import nir


def write(graph: nir.NIRGraph, path: Path | str) -> Path:
    """Write ``graph`` and read it back before it is put in place; return its path.

    Raises:
        StorageError: the folder cannot be written to, the disk is full, or what was read back differs.
    """
    import h5py
    import nir

    path = Path(path)
    with atomic_path(path) as temporary:
        made = io.BytesIO()  # HDF5's own files end the process where the disk is full
        nir.write(made, graph)
        temporary.write_bytes(made.getbuffer())
        with h5py.File(temporary, "r") as file:
            if difference := _difference(graph.to_dict(), file["node"], ""):
                raise StorageError(
                    f"{path} does not hold what was written to it",
                    found=difference,
                    hint="check the disk and try again",
                )
        if not any(kind(node) in (MAX, STAGE, FROM_HOST) for node in graph.nodes.values()):
            nir.read(temporary, type_check=False)  # its own check refuses valid grouped convolutions
    return path


def _difference(written: Mapping[str, Any], group: h5py.Group, where: str) -> str:
    """The first entry of which something else stands in the file, empty if none."""
    for key, value in written.items():
        name = f"{where}/{key}"
        if isinstance(value, Mapping):
            if not value and key == "metadata":  # nir leaves it out
                continue
            difference = _difference(value, group[key], name) if key in group else name
        else:
            difference = "" if key in group and _equal(value, group[key][()]) else name
        if difference:
            return difference
    return ""


def _equal(written: Any, found: Any) -> bool:
    import h5py

    if written is None:
        return isinstance(found, h5py.Empty)
    one, other = np.asarray(written), np.asarray(found)
    if one.dtype.kind in "US" or other.dtype.kind in "OS":
        return np.array_equal(one.astype(str), np.char.decode(other.astype(bytes), "utf-8"))
    return np.array_equal(one, other, equal_nan=one.dtype.kind == "f")
