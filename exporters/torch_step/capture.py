"""Capturing one time step of a torch module as a flat graph of ATen operators.

On a deep copy every neuron module is swapped for a stub that calls one opaque operator, ``neurodeploy::neuron(input,
path)``; `torch.export` then records the step. So the graph holds the operators between the neurons, every value with
its shape, and the neurons as what they are, whatever their framework computes inside. Functional code (``x + y``,
``torch.flatten``) is seen as well as modules; what depends on the data cannot be captured, as no chip could run it.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from inspect import Parameter, signature
from typing import Any

import torch
from torch import Tensor, fx, nn

from neurodeploy.errors import InvalidInputError, UnsupportedError

from ..framework import Framework
from .settled import settled
from .steady import check_steady

BATCH = 2
"""Samples in the captured step; torch.export treats 0 and 1 specially."""

OPERATOR = "neurodeploy.neuron"

POTENTIAL = "neurodeploy.potential"


def node_name(path: str) -> str:
    """Name of the NIR node of the module at ``path``: the path itself, but for what NIR or HDF5 reserve."""
    name = path.replace("/", "_") or "neuron"
    return f"{name}_" if name in ("input", "output") or name.startswith("output_") else name


def sites(module: nn.Module, framework: Framework) -> Iterator[tuple[str, nn.Module]]:
    """Path and module of everything that ``framework`` claims, outermost modules only.

    A module object at two paths is two sites: frameworks keep the state of each apart.
    """
    claimed: list[str] = []
    for path, part in module.named_modules(remove_duplicate=False):
        if any(path.startswith(f"{outer}." if outer else "") for outer in claimed):
            continue
        if framework.claims(part):
            claimed.append(path)
            yield path, part


def swapped(module: nn.Module, path: str, replacement: nn.Module) -> nn.Module:
    """``module`` with the submodule at ``path`` replaced (in place; the root is returned new)."""
    if not path:
        return replacement
    module.set_submodule(path, replacement)
    return module


def checked_sites(module: nn.Module, framework: Framework, *, some: bool = True) -> dict[str, nn.Module]:
    """The neuron modules by path.

    Args:
        some: whether there must be one.

    Raises:
        UnsupportedError: one that cannot be exported (the message says why), or none at all.
    """
    found = dict(sites(module, framework))
    for path, part in found.items():
        reason = framework.refusal(part)
        if reason is not None:
            raise UnsupportedError(
                f"the module {path or 'itself'!r} of class {type(part).__name__} cannot be exported", found=reason
            )
    paths: dict[int, str] = {}
    for path, part in found.items():
        other = paths.setdefault(id(part), path)
        if other != path and framework.keeps_state is not None and framework.keeps_state(part):
            raise UnsupportedError(
                f"the modules {other!r} and {path!r} are one object, which keeps one state for both",
                allowed="a neuron layer of its own for each place",
                hint="build two layers",
            )
    if not found and some:
        raise UnsupportedError(f"the module has no neuron of {framework.name}", hint="put a neuron layer into it")
    return found


def copied(module: nn.Module) -> nn.Module:
    """A deep copy in evaluation mode.

    Raises:
        UnsupportedError: the module cannot be copied.
    """
    # What a step computed is left in attributes by some frameworks; torch copies only leaves of its autograd graph.
    results: dict[int, Any] = {
        id(value): value.detach().clone()
        for part in module.modules()
        for value in (*_held(vars(part)), *part.buffers(recurse=False))
        if isinstance(value, Tensor) and not value.is_leaf
    }
    try:
        for part in module.modules():
            own = "__deepcopy__" in {name for kind in type(part).__mro__ for name in vars(kind)}
            if own and not isinstance(part, fx.GraphModule):  # whose code is part of its class
                # sinabs's own copying loses parameters of modules inside a layer: copy as torch does.
                twin = results[id(part)] = type(part).__new__(type(part))
                twin.__dict__ = copy.deepcopy(part.__dict__, results)
        return copy.deepcopy(module, results).cpu().eval()
    except Exception as error:
        raise UnsupportedError(
            "the module cannot be copied",
            found=_first_line(error),
            hint="do not keep results of earlier runs in its attributes",
        ) from error


def _held(attributes: Mapping[str, Any]) -> Iterator[Any]:
    """Values of attributes, and of the mappings among them (SpikingJelly keeps its states in one)."""
    for value in attributes.values():
        yield from value.values() if isinstance(value, dict) else (value,)


def prepared(module: nn.Module, framework: Framework) -> nn.Module:
    """A copy in evaluation mode that computes one step; errors as `copied`."""
    body = copied(module)
    if framework.prepare is not None:
        framework.prepare(body)
    return body


def states_of(module: nn.Module) -> tuple[None, ...]:
    """What ``forward`` must be given besides its input: states, which the neurons keep by themselves here."""
    required = [
        parameter
        for parameter in signature(module.forward).parameters.values()
        if parameter.default is Parameter.empty
        and parameter.kind in (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
    ]
    return (None,) * (len(required) - 1)


def capture(
    module: nn.Module, sample_shape: tuple[int, ...], framework: Framework
) -> tuple[torch.export.ExportedProgram, dict[str, nn.Module]]:
    """Capture one step on an input ``[batch, *sample_shape]``; return the graph and the neuron modules by path.

    Raises:
        UnsupportedError: a neuron that cannot be exported, or code that is not one static graph.
        InvalidInputError: the module does not take such an input.
    """
    found = checked_sites(module, framework)
    body = prepared(module, framework)
    for path in found:
        operator = _neuron_at(path)
        stub = framework.stub_for(found[path], operator) if framework.stub_for else framework.stub(operator)
        body = swapped(body, path, copied(stub))
    states = states_of(body)
    sample = torch.zeros(BATCH, *sample_shape)
    for parameter in body.parameters():
        sample = sample.to(parameter.dtype)
        break
    with torch.no_grad(), warnings.catch_warnings():
        # Hooks of the old weight_norm and of pruning compute a weight and keep it; it is a constant here.
        warnings.filterwarnings("ignore", message=".* assigned during export")
        fresh = copied(body)
        try:
            body(sample, *states)
        except Exception as error:  # user code: anything may come
            raise InvalidInputError(
                "the module does not compute one time step of a batch",
                found=f"an input of shape {list(sample.shape)} gave {type(error).__name__}: {_first_line(error)}",
                allowed="forward(input) with an input [batch, *sample shape]; neurons get their state by themselves",
                hint="check the sample's shape; move a loop over time out of forward",
            ) from error
        check_steady(fresh, _two_inputs(sample), states)
        try:
            return torch.export.export(body, (sample, *states)), found
        except Exception as error:  # torch.export fails in many ways
            inputs = (*_two_inputs(sample), sample - 1)
            try:  # where only weights are computed by code that is no graph
                constant = settled(copied(body), inputs, states, list(found))
                if constant is not None:
                    return torch.export.export(constant, (sample.double(), *states)), found
            except Exception:  # the first message says what to do
                pass
            raise UnsupportedError(
                "the module is not one static graph",
                found=f"{type(error).__name__}: {_first_line(error)}",
                hint="remove what depends on the values of the data from forward (if, while, .item())",
            ) from error


def _two_inputs(sample: Tensor) -> tuple[Tensor, Tensor]:
    """Inputs of the shape of ``sample``: spikes and silence, and values up to 2."""
    drawn = torch.rand(sample.shape, generator=torch.Generator().manual_seed(0)).to(sample.dtype)
    return (drawn < 0.5).to(sample.dtype), 2 * drawn


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n")[0] or type(error).__name__


@cache
def _operator() -> Callable[[Tensor, str], Tensor]:
    """Register the opaque operator on first use."""
    operator = torch.library.custom_op(
        "neurodeploy::neuron", lambda x, path: x.clone(), mutates_args=(), schema="(Tensor x, str path) -> Tensor"
    )
    operator.register_fake(lambda x, path: torch.empty_like(x))
    return operator


@cache
def _potential() -> Callable[[Tensor], Tensor]:
    operator = torch.library.custom_op(
        "neurodeploy::potential", lambda x: x.clone(), mutates_args=(), schema="(Tensor x) -> Tensor"
    )
    operator.register_fake(lambda x: torch.empty_like(x))
    return operator


def potential_operator() -> Callable[[Tensor], Tensor]:
    """The opaque operator that stands for the membrane potential of a neuron with this output."""
    return _potential()


def potential_of(output: Tensor) -> Tensor:
    """What a stub returns as the membrane potential of the neuron with this output: it may be returned, not used."""
    return _potential()(output)


def neuron_operator() -> Callable[[Tensor, str], Tensor]:
    """The opaque operator that stands for a neuron in a step."""
    return _operator()


def _neuron_at(path: str) -> Callable[[Tensor], Tensor]:
    operator = _operator()
    return lambda x: operator(x, path)
