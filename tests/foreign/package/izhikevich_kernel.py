"""The step of `izhikevich.Izhikevich` for hwsim; apart, so that the model is loaded without numba."""

from __future__ import annotations

from typing import Any

import numpy as np

from neurodeploy.hwsim.function.called import Kernel
from neurodeploy.hwsim.function.neuron_kernels import mark

M = (1 << 23) - 1


def floats(
    parameters: Any, options: Any, current: Any, second: Any, u: Any, v: Any, memory: Any, sent: Any, flags: Any
) -> None:
    """See `neurodeploy.hwsim.function.called` for the arguments."""
    for i in range(len(v)):
        old, w, arrived = v[i], memory[0, i], current[i]
        new = old + (0.04 * old * old + 5 * old + 140 - w + arrived)
        kept = w + parameters[0, i] * (parameters[1, i] * old - w)
        fired = new >= 30
        if fired:
            new, kept = parameters[2, i], kept + parameters[3, i]
        v[i], memory[0, i] = new, kept
        sent[i] = 1 if fired else 0
        flags[i] = mark(True, fired, arrived != 0, new != old or kept != w)


def integers(
    parameters: Any, options: Any, current: Any, second: Any, u: Any, v: Any, memory: Any, sent: Any, flags: Any
) -> None:
    """As `floats`, in fixed point."""
    for i in range(len(v)):
        old, w, arrived = np.int64(v[i]), memory[0, i], current[i]
        new = min(max(old + ((old * old * 41) >> 16) + 5 * old + 140 * 64 - w + arrived, -M), M)
        kept = w + ((parameters[0, i] * (((parameters[1, i] * old) >> 12) - w)) >> 12)
        fired = new >= 30 * 64
        if fired:
            new, kept = parameters[2, i], kept + parameters[3, i]
        kept = min(max(kept, -M), M)
        v[i], memory[0, i] = new, kept
        sent[i] = 1 if fired else 0
        flags[i] = mark(True, fired, arrived != 0, new != old or kept != w)


KERNEL = Kernel(floats, integers, ("a", "b", "c", "d"), memory=1)
