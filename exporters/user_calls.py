"""Calling a module as its user does: what it is given, the states handed from call to call, and what went wrong."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from inspect import Parameter, signature
from typing import Any

import torch
from torch import Tensor, nn

from neurodeploy.errors import InvalidInputError, NeurodeployError

from .framework import Framework, names
from .observed import tensors
from .usage import TimeAxis, Usage

MEANING: dict[TimeAxis, str] = {
    0: "--time-axis 0: forward takes whole sequences [time, batch, ...]",
    1: "--time-axis 1: forward takes whole sequences [batch, time, ...]",
    -1: "--time-axis -1: forward takes whole sequences [batch, ..., time]",
    "flat": "--time-axis flat: forward takes batch and time in dimension 0",
    "none": "--time-axis none: forward takes a static input [batch, ...] and repeats it over time",
    "step": "--time-axis step: forward takes one step [batch, ...] a call, of a sample [time, batch, ...]",
}


def handed_on(module: nn.Module, framework: Framework) -> list[Parameter]:
    """The parameters of ``forward`` that may take states: those behind the input that must be given or are None."""
    if framework.claims(module) and framework.keeps_state is not None and framework.keeps_state(module):
        return []
    try:
        given = list(signature(module.forward).parameters.values())[1:]
    except (TypeError, ValueError):  # code that is not Python's
        return []
    positional = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
    return [one for one in given if one.kind in positional and (one.default in (Parameter.empty, None))]


def split(result: Any, states: int) -> tuple[Any, tuple[Any, ...] | None]:
    """What a call returned, without the states behind it; None where there are not as many states as ``forward`` takes.

    Args:
        states: how many ``forward`` takes.
    """
    if states and type(result) is tuple and len(result) > 1:
        output, *rest = result
        if len(rest) == 1 and states > 1 and isinstance(rest[0], (tuple, list)):
            rest = list(rest[0])
        if len(rest) == states:
            return output, tuple(rest)
    return result, None


def call_as_user(
    module: nn.Module, sample: Tensor, usage: Usage, framework: Framework, tell: Callable[[int], None] | None = None
) -> tuple[Tensor, ...]:
    """Every tensor that a module returns, in order; of one that computes a step, stacked over the calls.

    Args:
        sample: as ``forward`` takes it; ``[time, batch, ...]`` where it takes a step.
        tell: called with the number of each call before it.

    Raises:
        InvalidInputError: the module does not take the sample, or does not return the same from step to step.
    """
    takes = handed_on(module, framework)
    if usage.axis != "step":
        return tuple(tensors(split(_call(module, sample, takes, None, usage), len(takes))[0]))
    found: list[tuple[Tensor, ...]] = []
    states = None
    for number, step in enumerate(sample):
        if tell is not None:
            tell(number)
        output, states = split(_call(module, step, takes, states, usage), len(takes))
        # What a step returns may be the very tensor that the next one writes into.
        found.append(tuple(one.detach().clone() for one in tensors(output)))
        if [one.shape for one in found[0]] != [one.shape for one in found[-1]]:
            raise InvalidInputError(
                "forward does not return the same from step to step",
                found=f"{_shapes(found[0])} in step 0, {_shapes(found[-1])} in step {number}",
                allowed=MEANING["step"],
            )
    return tuple(torch.stack(one) for one in zip(*found, strict=True))


def _call(module: nn.Module, x: Tensor, takes: list[Parameter], states: tuple[Any, ...] | None, usage: Usage) -> Any:
    if states is None:
        given = {one.name: None for one in takes if one.default is Parameter.empty}
    else:
        given = {one.name: state for one, state in zip(takes, states, strict=True)}
    alone = [one.name for one in takes if one.kind is Parameter.POSITIONAL_ONLY]
    shape = list(x.shape)
    try:
        return module(x, *(given.pop(name, None) for name in alone), **given)
    except NeurodeployError:
        raise
    except Exception as error:  # user code: anything may come
        raise failed("the module does not take this sample", error, shape, usage) from error


def failed(what: str, error: Exception, shape: list[int], usage: Usage) -> InvalidInputError:
    """The error of user code in the user's words: where in the user's own code, and what it was given."""
    said = str(error).strip().split("\n")[0]
    one = "a step" if usage.axis == "step" else "an input"
    return InvalidInputError(
        what,
        found=f"{one} of shape {shape} gave {type(error).__name__}: {said}{_place(error)}",
        allowed=MEANING[usage.axis],
        hint="call the module with this sample yourself; check the sample's shape and --time-axis",
    )


def _place(error: BaseException) -> str:
    """The last line of the user's own code that an error went through, in words; empty if there is none."""
    ours = {"torch", "neurodeploy", "numpy", "torchvision", *names()}
    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
        package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if package not in ours and not frame.f_code.co_filename.startswith("<"):
            return f" (at {frame.f_code.co_filename}:{line}, in {frame.f_code.co_name})"
    return ""


def _shapes(found: tuple[Tensor, ...]) -> str:
    return ", ".join(str(list(one.shape)) for one in found) or "nothing"


def start_fresh(module: nn.Module, framework: Framework, usage: Usage) -> None:
    """Bring a module into the state in which its user starts a sequence: the framework's reset, then its own ``reset``.

    Raises:
        InvalidInputError: one of them fails.
    """
    try:
        if framework.fresh is not None:
            framework.fresh(module)
        own = getattr(module, "reset", None)
        if callable(own) and not isinstance(own, nn.Module) and _callable_alone(own):
            own()
    except Exception as error:  # user code: anything may come
        raise failed("the module's states cannot be reset", error, [], usage) from error


def _callable_alone(method: Callable[..., Any]) -> bool:
    try:
        given = signature(method).parameters.values()
    except (TypeError, ValueError):
        return False
    variable = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
    return all(one.default is not Parameter.empty or one.kind in variable for one in given)
