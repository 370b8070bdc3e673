"""A function of torch as the bytes of an ONNX model."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch._decomp import decomposition_table
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx

from neurodeploy.network.arrays import Array

from ...torch_step.wide import in_float64
from .onnx_graph import Graph, Port, writes
from .onnx_operators import OPERATORS

Function = Callable[..., Sequence[Tensor]]


def to_onnx(
    name: str, function: Function, takes: Sequence[Port], gives: Sequence[Port], *, timed: bool = False
) -> Array:
    """The bytes of a graph, uint8 ``[bytes]``, that computes what ``function`` does.

    Args:
        name: of the graph.
        function: from tensors of the shapes of ``takes``, float64, to tensors of those of ``gives``.
        timed: whether the graph takes any number of steps in front of the samples, and computes each by itself.

    Raises:
        UnsupportedError: an operator that is not known here, or one that mixes samples.
    """
    kept = {f"aten.{one}" for one in OPERATORS}
    table = {op: made for op, made in decomposition_table.items()
             if isinstance(op, torch._ops.OpOverload) and (packet := str(op).rpartition(".")[0]) not in kept
             and not writes(packet)}  # fmt: skip
    with torch.no_grad(), in_float64(), FakeTensorMode(allow_non_fake_inputs=True):
        given = [torch.empty(port.dims, dtype=torch.float64) for port in takes]
        traced = make_fx(lambda *x: tuple(one.double() for one in function(*x)), decomposition_table=table)(*given)
    traced.graph.eliminate_dead_code()
    graph = Graph(name, traced, list(takes), OPERATORS, timed)
    graph.run(gives)
    made = graph.model(gives)
    return np.frombuffer(made.SerializeToString(), np.uint8)
