"""What a framework must tell the exporter; a new framework is one file with one `Framework` in it.

A framework is known by the name of its top-level package (``norse``). A third party registers its own as an entry point
of the group ``neurodeploy.exporters``, called like that package, that loads a `Framework`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, EntryPoints, entry_points
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from neurodeploy.errors import InvalidInputError, UnsupportedError
from neurodeploy.network.arrays import Array
from neurodeploy.network.neurons import Comparison, Reset
from neurodeploy.nir_graph.conventions import RecurrentBias
from neurodeploy.nir_graph.metadata import NeuronRules

from .usage import TimeAxis

if TYPE_CHECKING:
    import nir

    from .sequence.site import Site

ENTRY_POINTS = "neurodeploy.exporters"

_OURS: Mapping[str, str] = {
    "neurodeploy": ".model_neurons",
    "norse": ".norse",
    "sinabs": ".sinabs",
    "snntorch": ".snntorch",
    "spikingjelly": ".spikingjelly",
    "torch": ".own_neurons",
}
"""Package of a framework -> our module for it."""


@dataclass(frozen=True, eq=False)
class _Node:
    """The node, in a class of its own so that it is the first field of a `Neuron`, in front of the rules."""

    node: nir.NIRNode


@dataclass(frozen=True, eq=False)
class Neuron(NeuronRules, _Node):
    """A neuron layer as NIR says it, and its rules as the node's metadata say them.

    Args:
        node: every parameter has the full shape of the layer.
        reset: rule after a spike; None for a layer that does not spike.
        comparison: of this layer, if not the framework's.
        recurrent: a linear node (Linear, Affine, Scale, Conv2d) through which the layer's spikes of the last step
            return to its own input; None without recurrence.

    All other rules are those of `NeuronRules`, arrays of the layer's shape.
    """

    reset: Reset | None = field()
    recurrent: nir.NIRNode | None = None


class Note(Protocol):
    """What is told of a call of a neuron module, as its caller saw it.

    Args:
        outputs: what it sent, ``[batch, ...]`` of one step, or with time in a dimension.
        potentials: the membranes after each step, shaped like ``outputs``; or a function that gives them (or None),
            called after the run; None where the module does not tell them.
        time_axis: where time lies in ``outputs``; None for a call of one step.
        state_in: the state that the call got, any nesting of tensors; None where the module keeps its state.
        state_out: the state that it returned.
    """

    def __call__(
        self,
        outputs: Tensor,
        potentials: Tensor | Callable[[], Tensor | None] | None = None,
        time_axis: int | None = None,
        state_in: Any = None,
        state_out: Any = None,
    ) -> None: ...


@dataclass(frozen=True)
class Framework:
    """How a framework's modules are understood.

    Args:
        name: of its top-level package and its distribution.
        comparison: how it compares membrane and threshold.
        claims: whether a module is the framework's own and must not be traced into.
        refusal: why a claimed module cannot be exported; None if it can.
        time_step: the length of a step in seconds that a neuron module was built for; None if it keeps none.
        neuron: ``(module, path, shape, dt) -> Neuron`` for a claimed module that is not refused.
        stub: ``(operator)``: a module that calls ``operator(input) -> output`` and returns what the framework's
            neurons return.
        widen: turns parameters that torch does not know of into float64, in place.
        observe: ``(module, note)``: from now on the module calls ``note`` (a `Note`) after each call. It only looks on:
            what the module gets, keeps and returns is as it was.
        stub_for: ``(module, operator)``, where the stub depends on the module it stands for; used instead of `stub`.
            It may do linear work of its own (input weights) in front of the operator, in submodules.
        default_dt: seconds in a step where neither the neurons nor the user say it; None if one must be given.
        recurrent_bias: whether the bias of a recurrent connection acts in the first step.
        prepare: turns a copied module into one that computes a single step of ``[batch, *shape]``, in place; the paths
            of its neurons stay.
        keeps_state: whether a neuron module keeps its state inside, so that one module at two paths has one state.
        opaque: ``(module, site)``: from now on the module calls ``site`` in place of computing anything
            (`neurodeploy.exporters.sequence.site.Site`), and returns, keeps and resets what it always does; by
            default its stub, for modules that compute one step.
        simplify: replaces, in place, stateless layers that compute something plain in an unusual way.
        fresh: what the framework's users call on a module before each sequence, in place; None if there is nothing.
        alone: ``(copy)``: a context in which what the framework keeps outside of modules is that of the copy.
        time_axis: where time lies in what a module takes whose layers compute whole sequences by themselves, and
            "step" where they compute one step; "step" for all modules without it.
    """

    name: str
    comparison: Comparison
    claims: Callable[[nn.Module], bool]
    refusal: Callable[[nn.Module], str | None]
    time_step: Callable[[nn.Module], float | None]
    neuron: Callable[[nn.Module, str, tuple[int, ...], float], Neuron]
    stub: Callable[[Callable[[Tensor], Tensor]], nn.Module]
    widen: Callable[[nn.Module], None]
    observe: Callable[[nn.Module, Note], None]
    stub_for: Callable[[nn.Module, Callable[[Tensor], Tensor]], nn.Module] | None = None
    default_dt: float | None = None
    recurrent_bias: RecurrentBias = "from-start"
    prepare: Callable[[nn.Module], None] | None = None
    keeps_state: Callable[[nn.Module], bool] | None = None
    opaque: Callable[[nn.Module, Site], None] | None = None
    simplify: Callable[[nn.Module], None] | None = None
    fresh: Callable[[nn.Module], None] | None = None
    alone: Callable[[nn.Module], AbstractContextManager[None]] | None = None
    time_axis: Callable[[nn.Module], TimeAxis] | None = None

    def make_opaque(self, module: nn.Module, site: Site) -> None:
        """Let a neuron module, in place, call ``site`` and compute nothing itself; it returns what it always does."""
        if self.opaque is not None:
            self.opaque(module, site)
        else:
            stub = self.stub_for(module, site) if self.stub_for is not None else self.stub(site)
            module.forward = stub.forward


class Stub(nn.Module):
    """Stands for a neuron that takes an input and returns what it sends, in the capture of a step."""

    def __init__(self, operator: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.operator = operator

    def forward(self, x: Tensor) -> Tensor:
        """What the neuron sends."""
        return self.operator(x)


@cache
def _registered(find: Callable[..., EntryPoints]) -> Mapping[str, EntryPoint]:
    """What others have registered, which an export asks for often and which takes long to look up."""
    return {point.name: point for point in find(group=ENTRY_POINTS)}


def names() -> list[str]:
    """Names of the frameworks that can be exported."""
    return sorted({*_OURS, *_registered(entry_points)})


def get(name: str) -> Framework:
    """The framework called ``name``.

    Raises:
        InvalidInputError: there is none of this name.
    """
    if name in _OURS:
        found = import_module(_OURS[name], __package__).FRAMEWORK
    else:
        points = _registered(entry_points)
        if name not in points:
            raise InvalidInputError("unknown framework", found=name, allowed=", ".join(names()))
        found = points[name].load()
    if not isinstance(found, Framework):
        raise InvalidInputError(f"the exporter {name!r} is not a Framework", found=type(found).__name__)
    return found


def names_in(module: nn.Module) -> list[str]:
    """The frameworks that a module's classes come from, "torch" for neurons of the user's own."""
    classes = [kind for part in module.modules() for kind in type(part).__mro__]
    packages = {kind.__module__.partition(".")[0] for kind in classes} - {"torch"}
    if any(callable(getattr(part, "neurodeploy_neuron", None)) for part in module.modules()):
        packages.add("torch")
    return sorted(packages & set(names()))


def of(module: nn.Module) -> Framework:
    """The framework that a module's neurons come from, by the packages of the classes in it.

    ``torch`` means neurons of the user's own (`neurodeploy.exporters.own_neurons`).

    Raises:
        UnsupportedError: no framework that we know, or several at once.
    """
    found = names_in(module)
    if not found:
        raise no_neurons(sorted({type(part).__name__ for part in module.modules()}))
    if len(found) > 1:
        raise UnsupportedError(
            "the module mixes frameworks", found=", ".join(found), allowed="one of " + ", ".join(names()),
            hint="build the spiking layers from one framework",
        )  # fmt: skip
    return get(found[0])


def of_any(module: nn.Module) -> Framework:
    """As `of`; that of plain torch for a module whose neurons, if it has some, are written by hand."""
    return of(module) if names_in(module) else get("torch")


class NoNeuronsError(UnsupportedError):
    """A module without a neuron that we know, as it is called."""


def no_neurons(classes: Iterable[str]) -> NoNeuronsError:
    """The refusal of a module of these classes without a neuron."""
    return NoNeuronsError(
        "the module has no neurons of a framework that we know, and none that is written by hand",
        found=", ".join(classes),
        allowed="one of " + ", ".join(names()) + ", or comparisons with a threshold",
        hint="declare your neurons (docs: export your own neurons), or add a framework",
    )


def full(value: object, shape: tuple[int, ...], what: str, *, endless: bool = False) -> Array:
    """A parameter of a neuron as float64 of the full shape of its layer.

    Args:
        value: a number, or a tensor that broadcasts against ``shape`` (leading dimensions of one, as for a batch, too).
        shape: of the layer.
        what: how messages name the parameter.
        endless: whether it may be infinite, as the threshold of a neuron that never spikes is.

    Raises:
        InvalidInputError: it does not fit, or is not finite.
    """
    # A Python number is a double; torch would make it float32.
    tensor = torch.as_tensor(value, dtype=None if isinstance(value, Tensor) else torch.float64)
    array = tensor.detach().cpu().double().numpy()
    try:
        if array.ndim > len(shape) and all(n == 1 for n in array.shape[: array.ndim - len(shape)]):
            array = array.reshape(array.shape[array.ndim - len(shape) :])
        whole = np.broadcast_to(array, shape).copy()
    except ValueError as error:
        raise InvalidInputError(
            f"{what} does not fit its layer", found=list(array.shape), allowed=f"a scalar or {list(shape)}"
        ) from error
    if not (np.isfinite(whole) | (endless & np.isposinf(whole))).all():
        raise InvalidInputError(f"{what} is not finite", hint="check the training")
    return whole
