"""What the stages of a network compute in a run: multiply-accumulates and other operations, counted by shapes.

Each graph runs as it ran, and tells the shapes of all that it computes. One multiply-accumulate (MAC) is one product of
two numbers that is added up, zeros and padding included; a bias that is added on top is none.

=====================================  ================================================================================
operator                               MACs
=====================================  ================================================================================
MatMul, Gemm, and with integers        elements of the result times the length of the sums
Conv, and with integers                elements of the result times the weights of one of its channels
ConvTranspose                          elements of the input times the weights of one of its channels
Einsum                                 product of the sizes of all its indices, for each operand but the first
RNN, GRU, LSTM                         steps times samples times all weights
=====================================  ================================================================================

Any other operator counts the elements of its results, a reduction those of its operand, a pooling those of its windows,
under its own name: an exponential costs more than a sum, and nobody publishes by how much. What only looks at memory in
another way (a reshape) counts nothing, and neither does a constant. A Scan counts what its body does, for each of its
steps.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from neurodeploy.errors import BackendError, UnsupportedError
from neurodeploy.network.arrays import Array
from neurodeploy.network.host import HostStage
from neurodeploy.packages.commands import naming
from neurodeploy.program.host_work import (
    HostWork,
    StageWork,
    Wiring,
    barriers,
    buffers,
    crossings,
    frame_bytes,
)
from neurodeploy.program.program import Program
from neurodeploy.program.recording import Recording

from .graph import KINDS
from .run import readings
from .scans import Body, opened

if TYPE_CHECKING:
    from onnx import NodeProto

Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]

VIEWS = {"Constant", "Flatten", "Identity", "Reshape", "Shape", "Size", "Squeeze", "Unsqueeze"}
"""Operators that compute nothing."""
POOLS = {"AveragePool", "LpPool", "MaxPool"}
UNKNOWN = {"Attention", "DeformConv", "If", "Loop", "SequenceMap"}
"""Operators with multiplications that their shapes do not tell; so is a Scan in a Scan, or of a set before 9."""
STANDARD = ("", "ai.onnx", "ai.onnx.ml")


def host_work(program: Program, inputs: Mapping[str, Array], found: Recording) -> HostWork:
    """Count what the host did in a run.

    Args:
        program: with host stages.
        inputs: of the run; see `neurodeploy.backends.Backend`.
        found: its recording, with the states that `neurodeploy.program.host_work.Wiring.states` names.

    Raises:
        UnsupportedError: a graph multiplies in a way that its shapes do not tell (loops, operators of other packages).
        MissingPackageError: onnx or onnxruntime is not installed.
    """
    network, wiring = program.network, Wiring.of(program.network)
    shaped = {stage.name: Shaped(stage) for stage in network.stages}
    macs, operations = Counter[str](), {stage.name: Counter[str]() for stage in network.stages}
    runs, single = Counter[str](), set[str]()
    for stage, taken in readings(program, inputs, found):
        shapes = shaped[stage.name](taken)
        runs[stage.name] += 1
        multiplied, others = shaped[stage.name].counted(shapes)
        macs[stage.name] += multiplied
        operations[stage.name] += others
        if stage.when != "step":
            for one in stage.takes:
                if one.over == "sum":
                    operations[stage.name]["sum over time"] += found.steps * prod(shapes[one.name])
            lead = (found.steps, found.samples)
            single |= {given.target for given in stage.gives if shapes[given.name][:2] != lead}
    steps = found.steps
    stages = tuple(
        StageWork(
            s.name, s.when, wiring.stage_phase(s), runs[s.name], macs[s.name], dict(operations[s.name]),
            _bytes(wiring, s, steps, reads=True) * found.samples,
            _bytes(wiring, s, steps, reads=False) * found.samples,
        )
        for s in network.stages
    )  # fmt: skip
    crossing = crossings(network, steps)
    kept = buffers(network, steps, frozenset(single))
    return HostWork(steps, found.samples, stages, crossing, barriers(network, steps), kept)


def _bytes(wiring: Wiring, stage: HostStage, steps: int, reads: bool) -> int:
    """What crosses the boundary for one stage alone, in a sample."""
    network = wiring.network
    if reads:
        ends = {(t.source, t.port): 1 for t in stage.takes if wiring.computed(t.source)}
    else:
        ends = {(g.target, "spikes"): len(wiring.heard_in(g.target)) for g in stage.gives if g.target}
    return sum(
        times * steps * frame_bytes(network, network.by_name[name], port) for (name, port), times in ends.items()
    )


class Shaped:
    """The graph of a stage, which tells the shape of all that it computes.

    Args:
        stage: whose graph it is.

    Raises:
        UnsupportedError: it has operators of which nobody can tell how much they multiply.
        MissingPackageError: onnx or onnxruntime is not installed.
    """

    def __init__(self, stage: HostStage) -> None:
        with naming(f"counting what the host stage {stage.name!r} does"):
            import onnx
            import onnxruntime
            from onnx.inliner import inline_local_functions

        model = inline_local_functions(onnx.load_from_string(stage.graph.tobytes()))
        graph = model.graph
        self.stage, self.nodes = stage, tuple(graph.node)
        new = all(known.version >= 9 for known in model.opset_import if known.domain in STANDARD[:2])
        self.bodies: Mapping[str, Body] = opened(graph) if new else {}
        self._check(self.nodes, UNKNOWN if new else {*UNKNOWN, "Scan"})
        for body in self.bodies.values():
            self._check(body.nodes, {*UNKNOWN, "Scan"})
        self._given: dict[str, Shape] = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
        there = {value.name for value in graph.output}
        made = [name for node in self.nodes for name in node.output if name and name not in there]
        graph.output.extend(onnx.ValueInfoProto(name=name) for name in made)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        try:
            self._session: Any = onnxruntime.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's exceptions share no base but Exception
            raise self._failed(error) from error
        self._names = [value.name for value in self._session.get_outputs()]
        self._kinds = {value.name: KINDS[value.type] for value in self._session.get_inputs()}

    def __call__(self, taken: Mapping[str, Array]) -> Shapes:
        """Shapes of all values, by name, when it takes these."""
        fed: dict[str, Array] = {name: np.ascontiguousarray(value, self._kinds[name]) for name, value in taken.items()}
        try:
            found = self._session.run(self._names, fed)
        except Exception as error:  # as above
            raise self._failed(error) from error
        made = {name: np.shape(value) for name, value in zip(self._names, found, strict=True)}
        told = {shown for body in self.bodies.values() for shown in body.shown.values()}
        each = {name: value for name, value in zip(self._names, found, strict=True) if name in told}
        made |= {
            name: tuple(map(int, value[0])) if len(value) else (0,) * value.shape[1] for name, value in each.items()
        }
        return {**self._given, **{name: value.shape for name, value in fed.items()}, **made}

    def counted(self, shapes: Shapes) -> tuple[int, Counter[str]]:
        """MACs, and other operations by their names, of a run that had these shapes."""
        macs, others = 0, Counter[str]()
        for node, there, often in self._steps(shapes):
            macs += (mine := multiplications(node, there)) * often
            if not mine and (more := other_operations(node, there)):
                others[node.op_type] += more * often
        return macs, others

    def _steps(self, shapes: Shapes) -> Iterator[tuple[NodeProto, Shapes, int]]:
        """Every node that computes, the shapes of all values that it knows, and how often it runs."""
        for node in self.nodes:
            body = self.bodies.get(node.output[0])
            if body is None:
                yield node, shapes, 1
                continue
            inside, often = body.within(shapes)
            for inner in body.nodes:
                yield inner, inside, often

    def _check(self, nodes: Iterable[NodeProto], unknown: Container[str]) -> None:
        for node in nodes:
            if node.op_type in unknown or node.domain not in STANDARD:
                raise UnsupportedError(
                    f"nobody can tell how much the host stage {self.stage.name!r} multiplies",
                    found=f"{node.domain + '.' if node.domain else ''}{node.op_type}",
                    allowed="ONNX's own operators, without branches, and of loops a Scan that has none in it",
                    hint="export it with loops unrolled and fused operators taken apart",
                )

    def _failed(self, error: Exception) -> BackendError:
        return BackendError(
            f"onnxruntime does not tell what the host stage {self.stage.name!r} computes",
            found=str(error).splitlines()[0],
        )


def multiplications(node: NodeProto, shapes: Shapes) -> int:
    """MACs of a node; 0 for an operator that does no such thing.

    Args:
        shapes: of all values of its graph, by name.
    """
    return PRODUCTS[node.op_type](node, shapes) if node.op_type in PRODUCTS else 0


def other_operations(node: NodeProto, shapes: Shapes) -> int:
    """What a node does that multiplies nothing, in operations; see the module's docstring."""
    kind = node.op_type
    if kind in VIEWS:
        return 0
    made = sum(prod(shapes[name]) for name in node.output if name)
    if kind in POOLS:
        window: tuple[int, ...] = tuple(_attribute(node, "kernel_shape"))
        return prod(shapes[node.output[0]]) * prod(window)
    if kind.startswith(("Reduce", "Global", "Arg")):
        return prod(shapes[node.input[0]])
    return made


def _attribute(node: NodeProto, name: str, default: Any = ()) -> Any:
    from onnx.helper import get_attribute_value

    return next((get_attribute_value(a) for a in node.attribute if a.name == name), default)


def _matrix(node: NodeProto, shapes: Shapes) -> int:
    return prod(shapes[node.output[0]]) * shapes[node.input[0]][-1]


def _gemm(node: NodeProto, shapes: Shapes) -> int:
    rows, columns = shapes[node.input[0]]
    turned = bool(_attribute(node, "transA", 0))
    return prod(shapes[node.output[0]]) * (rows if turned else columns)


def _convolution(weights: int) -> Callable[[NodeProto, Shapes], int]:
    def count(node: NodeProto, shapes: Shapes) -> int:
        return prod(shapes[node.output[0]]) * prod(shapes[node.input[weights]][1:])

    return count


def _transposed(node: NodeProto, shapes: Shapes) -> int:
    return prod(shapes[node.input[0]]) * prod(shapes[node.input[1]][1:])


def _recurrent(node: NodeProto, shapes: Shapes) -> int:
    return prod(shapes[node.input[0]][:2]) * sum(prod(shapes[name]) for name in node.input[1:3])


def _einsum(node: NodeProto, shapes: Shapes) -> int:
    """The size of each index is the largest that any operand has there, since 1 is repeated."""
    terms = _attribute(node, "equation").decode().replace(" ", "").split("->")[0].split(",")
    sizes: dict[str, int] = {}
    for term, name in zip(terms, node.input, strict=True):
        shape, dots = shapes[name], len(shapes[name]) - len(term.replace("...", ""))
        before, _, after = term.partition("...") if "..." in term else (term, "", "")
        axes = [*before, *(f"...{dots - i}" for i in range(dots)), *after]
        for axis, size in zip(axes, shape, strict=True):
            sizes[axis] = max(sizes.get(axis, 1), size)
    return (len(terms) - 1) * prod(sizes.values())


PRODUCTS: Mapping[str, Callable[[NodeProto, Shapes], int]] = {
    "MatMul": _matrix, "MatMulInteger": _matrix, "QLinearMatMul": _matrix, "Gemm": _gemm,
    "Conv": _convolution(1), "ConvInteger": _convolution(1), "QLinearConv": _convolution(3),
    "ConvTranspose": _transposed, "Einsum": _einsum, "RNN": _recurrent, "GRU": _recurrent, "LSTM": _recurrent,
}  # fmt: skip
"""Operators that multiply, and how often."""
