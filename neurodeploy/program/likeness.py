"""Is an input like the one that the file was proven on? An input with time and batch swapped runs without a word."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from neurodeploy.network.arrays import Array

KEYS = ("proof_steps", "proof_samples", "proof_rate")
"""Of a Program's provenance: of the sample on which its file was proven."""
STEPS = 4
"""How many times shorter or longer an input may be."""
RATE = 3.0
"""How many times more or less of an input may spike."""


def facts(steps: int, samples: int, rate: float) -> dict[str, str]:
    """What a Program remembers of the proof of its file."""
    return dict(zip(KEYS, (str(steps), str(samples), f"{rate:.6g}"), strict=True))


def unlike(provenance: Mapping[str, str], inputs: Mapping[str, Array]) -> list[str]:
    """Warnings about an input that is unlike the proof's sample; none where nothing is known.

    Args:
        provenance: of the Program.
        inputs: ``[time, batch, *shape]`` each; the first is compared.
    """
    value = np.asarray(next(iter(inputs.values()), np.zeros(0)))
    try:
        steps, samples, rate = (float(provenance[key]) for key in KEYS)
    except (KeyError, ValueError):
        return []
    if value.ndim < 3 or not value.size:
        return []
    said = []
    proven = f"the file was proven on {samples:,.0f} samples of {steps:,.0f} steps, {100 * rate:.3g} % of it not 0"
    if value.shape[1] == steps != value.shape[0]:
        said.append(
            f"the input looks like [batch, time]: it is read as {value.shape[1]:,} samples of {value.shape[0]:,} "
            f"steps; {proven}. If so, swap its first two axes"
        )
    elif not steps / STEPS <= len(value) <= steps * STEPS:
        said.append(f"the input has {len(value):,} steps (its first axis); {proven}")
    found = np.count_nonzero(value) / value.size
    if rate > 0 and not rate / RATE <= found <= rate * RATE:
        said.append(f"{100 * found:.3g} % of the input is not 0; {proven}")
    return said
