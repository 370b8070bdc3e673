"""Node types of our own for what a host computes; NIR has none, and other tools refuse a file that has them.

`HostStage` stands between the nodes that it reads and `FromHost` nodes, the sources that send to the chip what it gives
(`neurodeploy.network.host`). A stage behind the last step leads to no node: it gives values to the user.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from neurodeploy.errors import InvalidInputError
from neurodeploy.network.arrays import Array
from neurodeploy.network.host import HostInput, HostOutput, HostStage, When

if TYPE_CHECKING:
    import nir

STAGE, FROM_HOST = "HostStage", "FromHost"


@cache
def stage_class() -> type[nir.NIRNode]:
    """The class of a stage's node; made on first use, since the ``nir`` library is slow to load."""
    return _class(STAGE, ("graph", "when", "takes", "gives"), lambda _: (None, None))


@cache
def from_host_class() -> type[nir.NIRNode]:
    """The class of a source that a stage feeds."""
    return _class(FROM_HOST, ("shape",), lambda node: (node.shape, node.shape))


def _class(name: str, fields: Sequence[str], shapes: Any) -> type[nir.NIRNode]:
    from dataclasses import make_dataclass

    import nir

    def completed(node: Any) -> None:
        before, after = shapes(node)
        node.input_type, node.output_type = {"input": before}, {"output": after}

    namespace = {"__post_init__": completed, "__module__": __name__}
    return make_dataclass(name, [(f, Any) for f in fields], bases=(nir.NIRNode,), namespace=namespace, eq=False)


def from_host(shape: Sequence[int], metadata: Mapping[str, Any] | None = None) -> Any:
    """A source of values ``[*shape]`` a step."""
    return from_host_class()(shape=np.asarray(shape, np.int64), metadata=dict(metadata or {}))


def stage_node(stage: HostStage, metadata: Mapping[str, Any] | None = None) -> Any:
    """The node of a stage whose sources and targets are nodes."""
    takes = [[one.name, one.source, one.port, one.over] for one in stage.takes]
    gives = [[one.name, one.target, one.delay] for one in stage.gives]
    return stage_class()(
        graph=np.array(stage.graph, np.uint8), when=stage.when, takes=json.dumps(takes), gives=json.dumps(gives),
        metadata=dict(metadata or {}),
    )  # fmt: skip


def stage_of(name: str, node: Any) -> HostStage:
    """The stage of a node.

    Raises:
        InvalidInputError: what it says cannot be used; names the node.
    """
    try:
        takes = tuple(HostInput(*map(str, one)) for one in json.loads(node.takes))  # type: ignore[arg-type]
        gives = tuple(HostOutput(str(a), str(b), int(c)) for a, b, c in json.loads(node.gives))
        if node.when not in get_args(When):
            raise ValueError(f"when {node.when!r}")
        return HostStage(name, np.asarray(node.graph, np.uint8), takes, gives, node.when)
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        said = str(error).strip().split("\n")[0]
        if isinstance(error, (TypeError, json.JSONDecodeError)):
            said = f"takes {node.takes[:60]!r}, gives {node.gives[:60]!r}"
        raise InvalidInputError(
            f"node {name!r} says no stage of a host", found=said or type(error).__name__,
            allowed="a schedule, what it takes and what it gives, as neurodeploy export writes them",
            hint="export the network again",
        ) from error  # fmt: skip


def edges_of(name: str, stage: HostStage) -> list[tuple[str, str]]:
    """The edges of a graph around a stage."""
    edges = [(one.source, name) for one in stage.takes] + [(name, one.target) for one in stage.gives if one.target]
    return list(dict.fromkeys(edges))


def shape_of(node: Any) -> tuple[int, ...]:
    """Of a source that a stage feeds."""
    found: Array = np.atleast_1d(node.shape)
    return tuple(int(n) for n in found)
