"""Whether the stages of a host in a file fit the nodes around them: their edges, and what their ONNX graphs declare.

What a graph takes and gives is ``[batch, *shape]`` where it runs in every step, or of a sum over time; else it is
``[time, batch, *shape]`` or, given once for all steps, ``[batch, *shape]``. Lengths that it leaves open are not
compared.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from neurodeploy.errors import InvalidInputError
from neurodeploy.network.host import HostStage
from neurodeploy.packages.requirements import is_there

from .host_nodes import FROM_HOST, STAGE, shape_of
from .shapes import of_kind, shapes, stages

if TYPE_CHECKING:
    import nir

Dims = Sequence[int] | None
"""Lengths that a graph declares, 0 for one that it leaves open; None where it does not say how many there are."""


def check_stages(graph: nir.NIRGraph) -> None:
    """Refuse stages that do not fit; their graphs are looked at where ``onnx`` is installed, else when they run.

    Raises:
        InvalidInputError: names the node.
    """
    if not of_kind(graph, STAGE, FROM_HOST):
        return
    found = stages(graph)
    if not is_there("onnx"):
        return
    takes, gives = {}, {}
    for stage in found:
        takes[stage.name], gives[stage.name] = declared(stage)
        for one in stage.gives:
            if one.target:
                _check_given(stage, one.target, gives[stage.name][one.name], shape_of(graph.nodes[one.target]))
    known = shapes(graph)
    for stage in found:
        for taken in stage.takes:
            lead = 1 if stage.when == "step" or taken.over == "sum" else 2
            dims, shape = takes[stage.name][taken.name], known[taken.source]
            if dims is not None and (len(dims) != lead + len(shape) or not _alike(dims[lead:], shape)):
                raise _another(stage, f"takes {taken.source!r} in", dims, shape, lead)


def declared(stage: HostStage) -> tuple[Mapping[str, Dims], Mapping[str, Dims]]:
    """What the graph of a stage says of its inputs and outputs, by name.

    Raises:
        InvalidInputError: it is no ONNX model, or has not the inputs and outputs that the stage names.
    """
    import onnx

    try:
        model = onnx.load_model_from_string(stage.graph.tobytes())
    except Exception as error:  # protobuf has errors of its own
        said = str(error).strip().split("\n")[0]
        raise InvalidInputError(
            f"the graph of the host stage {stage.name!r} is damaged or no ONNX model", found=said[:200],
            hint="export the network again",
        ) from error  # fmt: skip
    constants = {one.name for one in model.graph.initializer}
    takes = {value.name: _dims(value) for value in model.graph.input if value.name not in constants}
    gives = {value.name: _dims(value) for value in model.graph.output}
    for what, named, there in (
        ("inputs", {one.name for one in stage.takes}, set(takes)),
        ("outputs", {one.name for one in stage.gives}, set(gives)),
    ):
        if named - there or (what == "inputs" and named != there):
            raise InvalidInputError(
                f"the {what} of the graph of the host stage {stage.name!r} are not those that it names",
                found=sorted(there), allowed=sorted(named), hint="export the network again",
            )  # fmt: skip
    return takes, gives


def _dims(value: Any) -> Dims:
    of = value.type.tensor_type
    return [int(dim.dim_value) for dim in of.shape.dim] if of.HasField("shape") else None


def _check_given(stage: HostStage, target: str, dims: Dims, shape: tuple[int, ...]) -> None:
    """As when it runs: any shape of so many values behind time and batch, or one value for all steps."""
    if dims is None:
        return
    lead = 1 if stage.when == "step" else 2
    once = lead == 2 and len(dims) == 1 + len(shape) and _alike(dims[1:], shape)
    many = len(dims) >= lead and (0 in dims[lead:] or math.prod(dims[lead:]) == math.prod(shape))
    if not (once or many):
        raise _another(stage, f"gives {target!r}", dims, shape, lead)


def _alike(dims: Sequence[int], shape: Sequence[int]) -> bool:
    return all(dim in (0, length) for dim, length in zip(dims, shape, strict=True))


def _another(stage: HostStage, what: str, dims: Sequence[int], shape: Sequence[int], lead: int) -> InvalidInputError:
    return InvalidInputError(
        f"the graph of the host stage {stage.name!r} {what} another shape",
        found=f"[{', '.join(str(dim) if dim else '?' for dim in dims)}]",
        allowed=f"[{', '.join([*('time', 'batch')[2 - lead :], *map(str, shape)])}]", hint="export the network again",
    )  # fmt: skip
