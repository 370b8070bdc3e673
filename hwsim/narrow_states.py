"""States that leave the bits that a chip has for them: how often, in which population, and in words.

Currents and potentials are computed with Loihi's 24 bits (`neurodeploy.network.registers`). On a chip with fewer, each
value beyond them would be another one, so that spikes could differ there. The Program runs on hwsim with its states
recorded, a few samples at a time, and what lies beyond is counted:

- ``u_beyond``: the current, at the end of a step,
- ``v_beyond``: the potential, before what a spike subtracts from it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from neurodeploy.network.arrays import Array
from neurodeploy.program import overflow
from neurodeploy.program.program import Program
from neurodeploy.program.recording import Record, Recording, check_inputs

from .chips.arch import Architecture
from .chips.computed import registers_of
from .engine import Simulator

KINDS: Mapping[str, str] = {"u_beyond": "its current", "v_beyond": "its potential"}
"""What is counted, and in words."""

HINT = "calibrate on samples like these (--calibration), train with less inhibition, or take a chip of more bits"
"""What to do about it."""

LARGEST = 1 << 24
"""Most states that are recorded at a time."""


Run = Callable[..., Recording]
"""Runs a Program as `neurodeploy.backends.Backend` does."""


def found(
    program: Program, arch: Architecture | None, inputs: Mapping[str, Array], run: Run | None = None
) -> overflow.Left:
    """Neuron-steps beyond the chip's bits, by population and kind, only what is above 0; nothing with Loihi's 24.

    Args:
        program: that is run again, with its states recorded.
        arch: the chip that is meant; None for none.
        inputs: as `neurodeploy.backends.Backend` takes them.
        run: chip and host together, of a network with host stages (hwsim's back-end); None runs the chip alone.

    Raises:
        UnsupportedError: a network with host stages, and nothing that runs them.
    """
    registers = registers_of(arch)
    if program.network.arithmetic == "float" or registers.state_bits >= 24:
        return {}
    steps, samples, given = check_inputs(program.network, inputs)
    total = {p.name: np.zeros(2, np.int64) for p in program.network.populations}
    together = partial(run, program) if run is not None and program.network.stages else Simulator(program).run
    few = max(1, LARGEST // max(steps * sum(p.size for p in program.network.populations), 1))
    for start in range(0, samples, few):
        part = {name: values[:, start : start + few] for name, values in given.items()}
        recording = together(part, record=Record(("u", "v")))
        for name, counts in total.items():
            counts += _beyond(program, recording, name, registers.state_max)
    rows = {name: {kind: int(n) for kind, n in zip(KINDS, row, strict=True) if n} for name, row in total.items()}
    return {name: row for name, row in rows.items() if row}


def _beyond(program: Program, recording: Recording, name: str, most: int) -> tuple[int, int]:
    u, v = (recording.states.get(state, {}).get(name) for state in ("u", "v"))
    neuron = program.network.by_name[name].neuron
    now = "subtract" in neuron.resets() and getattr(neuron, "reset_time", "now") == "now"
    if v is not None and now and (thresholds := neuron.thresholds()) is not None:
        sent = recording.spikes[name].dense().astype(np.int64)
        lower = getattr(neuron, "lower", None)
        taken = sent * thresholds if lower is None else np.where(sent < 0, lower, sent * thresholds)
        v = v.astype(np.int64) + taken
    return tuple(0 if x is None else int((np.abs(x) > most).sum()) for x in (u, v))  # type: ignore[return-value]


def said(left: overflow.Left, program: Program, arch: Architecture | None, inputs: Mapping[str, Array]) -> list[str]:
    """Warnings: one for each population of which states left the chip's bits (``left``, as `found` returns it)."""
    if arch is None or not left:
        return []
    bits = registers_of(arch).state_bits
    steps, samples, _ = check_inputs(program.network, inputs)
    lines = []
    for name, row in left.items():
        cells = steps * samples * program.network.by_name[name].size
        counts = ", ".join(f"{KINDS[kind]} in {n:,} ({overflow.percent(n / cells)})" for kind, n in row.items())
        differ = ", ".join(("spikes", *_read(program, name)))
        lines.append(
            f"states of {name!r} go beyond the {bits} bits of {arch.name}: of {cells:,} neuron-steps {counts}; "
            f"computed with 24 bits here, {differ} may differ on the chip; {HINT}"
        )
    return lines


def _read(program: Program, name: str) -> list[str]:
    """What host stages read of the potentials of a population, in words."""
    stages = program.network.stages
    reading = [s.name for s in stages if any(t.source == name and t.port == "potential" for t in s.takes)]
    return [f"and the potentials that the host stage {reader!r} reads" for reader in reading]
