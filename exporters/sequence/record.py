"""Recording what a module does with a whole sequence, every call of a neuron layer as one opaque operator.

`make_fx` runs the module on a copy of its neurons that compute nothing and notes every operator in front of PyTorch's
dispatcher, as `torch.export` does, so that loops over time, lists of states and functional code are seen as what they
did. Each operator keeps the module it belongs to and the line of the user's file that called it.
"""

from __future__ import annotations

import operator
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import torch
import torch.fx.traceback as fx_traceback
from torch import Tensor, fx, nn
from torch._guards import TracingContext, tracing
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import get_proxy_mode, get_proxy_slot, make_fx
from torch.overrides import TorchFunctionMode

from neurodeploy.errors import InvalidInputError, NeurodeployError, UnsupportedError

from ..framework import Framework
from ..torch_step.capture import checked_sites, copied, swapped
from ..torch_step.fxgraph import is_random
from ..torch_step.settled import settled
from ..torch_step.wide import in_float64
from ..usage import Usage
from ..user_calls import call_as_user, failed, start_fresh
from ..user_line import user_line
from ..user_run import widen
from .site import CALL, Site
from .spelled_out import spell_out


@dataclass(frozen=True, eq=False)
class Recorded:
    """What a module did with one sample.

    Args:
        graph: operators in the order in which they ran; parameters and constants are attributes of its module.
        sample: the node of the sample.
        returned: nodes of the tensors that forward returned, in order; a tensor that no operator made is a constant.
        neurons: neuron modules by path.
        own: parameters and buffers by the attribute of the graph's module, as they are where they are used as they are.
        module_classes: names of the classes of its parts.
    """

    graph: fx.GraphModule
    sample: fx.Node
    returned: tuple[fx.Node, ...]
    neurons: Mapping[str, nn.Module]
    own: Mapping[str, Tensor] = field(default_factory=dict)
    module_classes: tuple[str, ...] = ()


def record(module: nn.Module, sample: Tensor, usage: Usage, framework: Framework, *, wide: bool = True) -> Recorded:
    """Run ``module`` on ``sample`` as its user does, and note what it does.

    Args:
        wide: in float64, as it is proven, where numbers in the code have all their digits; else in its own precision.

    Raises:
        UnsupportedError: a neuron that cannot be exported, or code that depends on the values of the data.
        InvalidInputError: the module does not take such a sample.
    """
    neurons = checked_sites(module, framework, some=False)
    body = copied(module)
    if framework.simplify is not None:
        framework.simplify(body)
    for path, part in neurons.items():
        if sum(other is part for other in neurons.values()) > 1:
            body = swapped(body, path, copied(part))  # an object at two places, whose states are handed to it
        framework.make_opaque(body.get_submodule(path), Site(path))
    own = dict(_tensors_of(body))
    if wide:
        own = {path: value.detach().clone() for path, value in own.items()}
        body, sample = body.double(), sample.double()
        widen(body)
    start_fresh(body, framework, usage)
    fresh = copied(body)
    with framework.alone(body) if framework.alone is not None else nullcontext():
        try:
            made = _recorded(body, sample, usage, neurons, framework)
        except UnsupportedError:  # perhaps only weights are computed by code that looks at values
            constant = _settled(fresh, sample, usage, list(neurons), framework)
            if constant is None:
                raise
            body = constant
            made = _recorded(constant, sample.double(), usage, neurons, framework)
    places = {id(value): path for path, value in _tensors_of(body)}
    names = {str(node.target) for node in made.graph.graph.nodes if node.op == "get_attr"}
    found = {name: places.get(id(getattr(made.graph, name))) for name in names}
    classes = tuple(sorted({type(part).__name__ for part in module.modules()}))
    known = {name: own[path] for name, path in found.items() if path in own}
    return replace(made, own=known, module_classes=classes)


def _tensors_of(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from module.named_parameters(remove_duplicate=False)
    yield from module.named_buffers(remove_duplicate=False)


def _settled(
    body: nn.Module, sample: Tensor, usage: Usage, neurons: list[str], framework: Framework
) -> nn.Module | None:
    """The module with constants in the place of the parts that give the same for every input; None without such."""
    inputs = [sample, sample.roll(1, -1) * 0.5, 1 - sample]
    try:
        return settled(body, inputs, (), neurons, lambda part, x: call_as_user(part, x, usage, framework))
    except Exception:  # user code: anything may come; the first message says what to do
        return None


def _recorded(
    body: nn.Module, sample: Tensor, usage: Usage, neurons: Mapping[str, nn.Module], framework: Framework
) -> Recorded:
    lines = _Lines()
    removed = [hook for path, part in body.named_modules() for hook in _stacked(path, part)]

    def run(x: Tensor) -> list[Tensor]:
        with lines:
            return list(call_as_user(body, x, usage, framework))

    arithmetic = in_float64() if sample.dtype == torch.float64 else nullcontext()
    try:
        with (
            arithmetic,
            torch.no_grad(),
            warnings.catch_warnings(),
            fx_traceback.preserve_node_meta(),
            torch.random.fork_rng([]),
            tracing(TracingContext(FakeTensorMode(allow_fallback_kernels=True))),  # else one is made for each operator
        ):
            warnings.simplefilter("ignore")
            torch.manual_seed(0)
            graph = make_fx(run, tracing_mode="real", pre_dispatch=True, _error_on_data_dependent_ops=True)(sample)
    except Exception as error:  # user code: anything may come
        reason = error.__cause__ if isinstance(error, InvalidInputError) and error.__cause__ is not None else error
        if any(word in str(reason) for word in _ON_DATA):
            raise _on_data(lines.now) from error
        if isinstance(error, NeurodeployError):
            raise
        raise failed("the module cannot be followed", error, list(sample.shape), usage) from error
    finally:
        for hook in removed:
            hook.remove()
    spell_out(graph.graph)
    nodes = list(graph.graph.nodes)
    return Recorded(graph, nodes[0], tuple(nodes[-1].args[0]), neurons)


def line_of(node: fx.Node) -> str:
    """The line of the user's file that called an operator, as ``net.py:12``; empty where unknown."""
    return str(node.meta.get("custom", {}).get("line", ""))


_VALUES = (torch.Tensor.numpy, torch.Tensor.tolist, torch.Tensor.__array__)
"""What hands the values of a tensor to code that is not PyTorch's."""


def _followed(value: Any) -> bool:
    """Whether a tensor is computed in the recording from the input, a neuron or random numbers."""
    mode = get_proxy_mode()
    if mode is None or not isinstance(value, Tensor):
        return False
    slot: Any = get_proxy_slot(value, mode.tracer, None)
    stack, seen = [] if slot is None else [getattr(slot, "proxy", slot).node], set()
    while stack:
        node = stack.pop()
        if node.op == "placeholder" or is_random(node) or str(node.target).startswith(CALL):
            return True
        if node not in seen:
            seen.add(node)
            stack.extend(node.all_input_nodes)
    return False


class _Lines(TorchFunctionMode):
    """Notes the user's line in front of every operator."""

    def __init__(self) -> None:
        super().__init__()
        self.now = ""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        self.now = user_line()
        if func in _VALUES and args and _followed(args[0]):
            raise _on_data(self.now)
        fx_traceback.current_meta["custom"] = {"line": self.now}
        return func(*args, **(kwargs or {}))


def _stacked(path: str, part: nn.Module) -> Iterator[Any]:
    """Hooks that keep the stack of modules that are running, as `torch.export` notes it."""
    kind = f"{type(part).__module__}.{type(part).__qualname__}"

    def before(_module: nn.Module, _args: Any) -> None:
        stack = fx_traceback.current_meta.get("nn_module_stack", {})
        fx_traceback.current_meta["nn_module_stack"] = {**stack, f"{path}#{len(stack)}": (path, kind)}

    def after(_module: nn.Module, _args: Any, _result: Any) -> None:
        stack = dict(fx_traceback.current_meta["nn_module_stack"])
        stack.popitem()
        fx_traceback.current_meta["nn_module_stack"] = stack

    yield part.register_forward_pre_hook(before)
    yield part.register_forward_hook(after)


_ON_DATA = ("_local_scalar_dense", "is_nonzero", "data-dependent", "aten.item", "nonzero")
"""How PyTorch says that code asks for the value of a tensor."""


def _on_data(line: str) -> UnsupportedError:
    return UnsupportedError(
        f"{line}{': ' if line else ''}what happens next depends on the values of the data",
        found="if, while, .item(), float() or .numpy() of a tensor that is computed from the input",
        allowed="the same operators for every input: no chip can follow another path for each sample",
        hint="compute it with tensors, or leave it out in evaluation mode (if self.training: ...); an encoder that "
        "looks at the values (as spikegen.latency) stays on the host: export the module that takes its spikes",
    )


def is_getitem(node: fx.Node) -> bool:
    """Whether a node picks one of several results of an operator."""
    return node.target is operator.getitem
