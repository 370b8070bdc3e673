"""Reading `.nir` files: the community's HDF5 format, checked before it is believed.

The file is looked at with h5py first (is it HDF5, are the nodes known, does it link to other files), then read by the
`nir` library itself. What NIR cannot say stands in the metadata under the key ``neurodeploy``; see `Conventions`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neurodeploy.errors import InvalidInputError, NeurodeployError, UnsupportedError
from neurodeploy.storage import existing_file, storage_errors

if TYPE_CHECKING:
    import h5py
    import nir

NAMESPACE = "neurodeploy"
"""Key of our metadata in a graph and in a node."""

KNOWN_NODES = (
    "Affine", "AvgPool2d", "Conv1d", "Conv2d", "CubaLI", "CubaLIF", "Delay", "Flatten", "I", "IF", "Input", "LI", "LIF",
    "Linear", "NIRGraph", "Output", "Scale", "SumPool2d", "Threshold",
)  # fmt: skip
"""Node types of nir 1.0.8 that can stand in a file."""


@dataclass(frozen=True, eq=False)
class NirFile:
    """A graph as read, with where it came from.

    Args:
        graph: the `nir.NIRGraph`, not type-checked.
        path: of the file.
        sha256: of its bytes.
        nir_version: that wrote it, empty when unknown.
        metadata: of the graph, our namespace only (``dt``, ``reset``, ``framework`` ...).
        modules: torch module path of each node that has one.
    """

    graph: nir.NIRGraph
    path: Path
    sha256: str
    nir_version: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    modules: Mapping[str, str] = field(default_factory=dict)


def read(path: Path | str) -> NirFile:
    """Read a NIR graph.

    Raises:
        MissingFileError: there is no such file.
        InvalidInputError: not HDF5, truncated, not NIR, an unknown node, or parameters that do not fit each other.
        UnsupportedError: it links to other files.
    """
    import h5py

    path = existing_file(path, "a .nir file")
    with storage_errors("read", path):
        digest = sha256(path.read_bytes()).hexdigest()
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        truncated = "truncated" in str(error)
        raise InvalidInputError(
            f"{path} is {'a truncated' if truncated else 'not an'} HDF5 file",
            found=_first_line(error) if truncated else f"{path.stat().st_size} bytes that do not start as HDF5 does",
            allowed="a NIR graph in HDF5, as nir.write makes it",
            hint="export or copy the file again" if truncated else "check that this is the .nir file you meant",
        ) from error
    with file:
        try:
            _check_links(file, path)
            version = _text(file["version"][()]) if "version" in file else ""
            _check_nodes(file, path)
        except NeurodeployError:
            raise
        except (OSError, KeyError, RuntimeError, ValueError, TypeError, AttributeError) as error:
            raise _damaged(path, error) from error
    return _read_graph(path, digest, version)


def _read_graph(path: Path, digest: str, version: str) -> NirFile:
    import nir

    try:
        graph = nir.read(path, type_check=False)
        metadata = dict(_section(graph.metadata))
        modules = {
            name: str(_section(node.metadata)["module"])
            for name, node in graph.nodes.items()
            if "module" in _section(node.metadata)
        }
    except Exception as error:  # nir reports bad parameters by whatever its constructors happen to raise
        raise _damaged(path, error) from error
    return NirFile(graph, path, digest, version, {k: plain(v) for k, v in metadata.items()}, modules)


def _section(metadata: Mapping[str, Any] | None) -> Mapping[str, Any]:
    section = (metadata or {}).get(NAMESPACE, {})
    return section if isinstance(section, Mapping) else {}


def plain(value: Any) -> Any:
    """A string, number or bool from what HDF5 gave back."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value.item() if hasattr(value, "item") and getattr(value, "size", 1) == 1 else value


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n")[0] or type(error).__name__


def _damaged(path: Path, error: BaseException) -> InvalidInputError:
    return InvalidInputError(
        f"{path} is damaged or not a NIR graph",
        found=f"{type(error).__name__}: {_first_line(error)}",
        allowed="HDF5 with a group /node that nir 1.0 can read",
        hint="export the network again",
    )


def _check_links(file: h5py.File, path: Path) -> None:
    import h5py

    def look(group: h5py.Group, prefix: str) -> None:
        for key in group:
            link = group.get(key, getlink=True)
            if isinstance(link, h5py.ExternalLink):
                raise UnsupportedError(
                    f"{path} links to another file at {prefix}{key}",
                    found=link.filename,
                    allowed="a file that holds all its own data",
                    hint="export the network again into one file",
                )
            if isinstance(link, h5py.HardLink):
                item = group[key]
                if isinstance(item, h5py.Group):
                    look(item, f"{prefix}{key}/")
                elif item.external or item.is_virtual:
                    raise UnsupportedError(
                        f"{path} keeps the data of {prefix}{key} in another file",
                        allowed="a file that holds all its own data",
                        hint="export the network again into one file",
                    )

    look(file, "/")


def _check_nodes(file: h5py.File, path: Path) -> None:
    if "node" not in file or "nodes" not in file["node"]:
        raise InvalidInputError(
            f"{path} is HDF5 but not a NIR graph",
            found=f"top-level groups: {', '.join(file) or 'none'}",
            allowed="a group /node with nodes and edges, as nir.write makes it",
        )
    nodes = file["node"]["nodes"]
    for name in nodes:
        kind = _text(nodes[name]["type"][()])
        if kind not in KNOWN_NODES:
            raise InvalidInputError(
                f"{path}: node {name!r} is of an unknown type",
                found=kind,
                allowed=", ".join(KNOWN_NODES),
                hint="rebuild the network from nodes that NIR defines, or upgrade neurodeploy",
            )
