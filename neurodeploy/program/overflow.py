"""Integers that leave their range in a run: how often, in which population, and in words.

Loihi's current wraps at 24 bits and its potential saturates there, both without a word. A back-end that counts does so
for each neuron and step:

- ``u_wraps``: the current came out beyond -2^23 .. 2^23 and changed its sign,
- ``v_saturates``: the potential was cut to +-(2^23 - 1), and it mattered: no hard reset took its place in the same
  step, no floor holds it higher, and the neuron was not refractory,
- ``threshold_saturates``: what an adaptive threshold is raised by was cut.

Where `neurodeploy.network.reach` proves that nothing of this can happen, hwsim does not look.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from neurodeploy.network.arrays import Array
from neurodeploy.network.network import Network
from neurodeploy.network.reach import reach

KINDS: Mapping[str, str] = {
    "u_wraps": "its current wrapped",
    "v_saturates": "its potential saturated",
    "threshold_saturates": "its threshold saturated",
}
"""What is counted, in the order of the columns of hwsim's counters, and in words."""

HELD: Mapping[str, str] = {"message_held": "what the host made did not fit its message"}
"""What is counted where a host stage feeds a population: numbers held by more than one at the end of their bits, and
any but 0 and 1 sent as spikes."""

HINT = (
    "compile with --calibration and samples like these: measured spikes choose a scale; "
    "verify says by how much spikes differ"
)
"""What to do about it."""

Left = Mapping[str, Mapping[str, int]]
"""By population and kind, in neuron-steps; only what is above 0."""


def found(counts: Mapping[str, Array | Sequence[int]]) -> Left:
    """Counts ``[len(KINDS)]`` of each population, by name, without those that are 0."""
    named = {name: {kind: int(n) for kind, n in zip(KINDS, row, strict=True) if n} for name, row in counts.items()}
    return {name: row for name, row in named.items() if row}


def said(left: Left | None, network: Network, steps: int, samples: int) -> list[str]:
    """Warnings: one for each population of which integers left their range; empty where none did.

    Args:
        network: that ran.
        left: `Recording.left`; None from back-ends that do not count, which is said where a current could wrap.
        steps, samples: of the run.
    """
    if left is None:
        could = network.arithmetic == "loihi" and any(1 < far.u < math.inf for far in reach(network).values())
        return ["currents could wrap, which this back-end does not count; hwsim and reference do"] if could else []
    lines, words = [], {**KINDS, **HELD}
    for name, row in left.items():
        cells = steps * samples * network.by_name[name].size
        counts = ", ".join(f"{words[kind]} in {n:,} ({percent(n / cells)})" for kind, n in row.items())
        lines.append(f"integers left their range in {name!r}: of {cells:,} neuron-steps {counts}; {HINT}")
    return lines


def percent(share: float) -> str:
    """A share of neuron-steps in words."""
    return f"{100 * share:.2f} %" if share >= 1e-4 else "under 0.01 %"
