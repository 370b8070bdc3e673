"""Running a torch module step by step and recording every neuron layer, where only `[time, batch, ...]` is known."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from neurodeploy.network.arrays import Array

from . import framework
from .torch_step.capture import checked_sites
from .usage import Usage
from .user_run import UserRun, run_user


def own_usage(module: nn.Module, steps: int, samples: int) -> Usage:
    """How a module of one step is called, or one whose layers compute whole sequences by themselves."""
    time_axis = framework.of_any(module).time_axis
    return Usage("step" if time_axis is None else time_axis(module), steps, samples)


def run_torch(
    module: nn.Module, inputs: Array, dtype: torch.dtype = torch.float64, usage: Usage | None = None
) -> UserRun:
    """Run a module on ``[time, batch, *sample shape]``, given as it takes it.

    Args:
        usage: how it is called, whatever its number of steps and samples; by default as `own_usage` says.

    Raises:
        UnsupportedError: a neuron that cannot be exported.
        NeurodeployError: as `run_user`.
    """
    checked_sites(module, framework.of(module))
    steps, samples = inputs.shape[:2]
    called = own_usage(module, steps, samples) if usage is None else replace(usage, steps=steps, samples=samples)
    return run_user(module, called.as_given(inputs), called, dtype)
