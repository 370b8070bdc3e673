"""Reading `.nir` files: the community's HDF5 format, checked before it is believed.

The file is opened safely (`neurodeploy.files.hdf5`) and read tolerantly (`neurodeploy.nir_graph.reader`): every file
that nir 1.0 wrote and that can be understood, also those that the `nir` library itself refuses. What had to be repaired
or assumed stands in `NirFile.repairs`. What NIR cannot say stands in the metadata under the key ``neurodeploy``; see
`Conventions`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neurodeploy.errors import InvalidInputError
from neurodeploy.files.atomic import existing_file
from neurodeploy.files.hdf5 import digest, opened, plain, text

from .host_graphs import check_stages
from .metadata import section_of
from .nodes import KNOWN_NODES, NEEDS
from .reader import load
from .repair import fit

if TYPE_CHECKING:
    import nir

__all__ = ["KNOWN_NODES", "NirFile", "plain", "read"]


@dataclass(frozen=True, eq=False)
class NirFile:
    """A graph as read, with where it came from.

    Args:
        graph: the `nir.NIRGraph`, flat and not type-checked.
        path: of the file.
        sha256: of its bytes.
        nir_version: that wrote it, empty when unknown.
        metadata: of the graph, our namespace only (``dt``, ``reset``, ``framework`` ...); no groups within it.
        modules: torch module path of each node that has one.
        repairs: what was found unusual and how it was read, a sentence each.
    """

    graph: nir.NIRGraph
    path: Path
    sha256: str
    nir_version: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    modules: Mapping[str, str] = field(default_factory=dict)
    repairs: tuple[str, ...] = ()


def read(path: Path | str) -> NirFile:
    """Read a NIR graph.

    Raises:
        MissingFileError: there is no such file.
        InvalidInputError: not HDF5, truncated, not NIR, an unknown node, or parameters without a clear meaning.
        UnsupportedError: it links elsewhere, or nests graphs in a way that is not expressed.
    """
    import nir

    path = existing_file(path, "a .nir file")
    sha256 = digest(path)
    with opened(
        path,
        kind="a NIR graph",
        suffix=".nir",
        allowed="a NIR graph in HDF5, as nir.write makes it",
        needs=NEEDS,
    ) as file:
        found = load(file, path)
        version = text(file["version"][()]) if "version" in file else ""
        edges = list(found.edges)
        nodes = fit(found.nodes, edges, found.repairs)
        graph = nir.NIRGraph(nodes, edges, metadata=found.metadata, type_check=False)
    try:
        check_stages(graph)
    except InvalidInputError as error:
        raise error.again(f"{path}: {error.what}") from error
    modules = {
        name: str(section["module"]) for name, node in nodes.items() if "module" in (section := section_of(node))
    }
    metadata = {k: plain(v) for k, v in section_of(graph).items() if not isinstance(v, Mapping)}
    return NirFile(graph, path, sha256, version, metadata, modules, tuple(found.repairs))
