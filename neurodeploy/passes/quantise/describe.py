"""What quantisation says of a population and of the whole: scales, what the registers lost, what could overflow."""

from __future__ import annotations

import numpy as np

from neurodeploy.network import loihi_ranges
from neurodeploy.network.dispatch import expect
from neurodeploy.network.network import Network, Population, Projection
from neurodeploy.network.neurons import Lif
from neurodeploy.network.reach import reach
from neurodeploy.network.registers import Registers

from .scaling import UNIT
from .zero import reset_at_zero


def integers_said(network: Network, calibrated: bool) -> str:
    """Which integers could leave their range for some input, and by how much."""
    far = []
    for name, found in reach(network).items():
        if not network.by_name[name].neuron.states:
            continue  # it keeps nothing that could wrap
        if found.u > 1:
            far.append(f"the current of {name!r} {_times(found.u)}, and wrap")
        if found.v > 1:
            far.append(f"the potential of {name!r} {_times(found.v)}, and saturate")
    if not far:
        return "no integer can leave it, whatever the input"
    held = "on the calibration samples, with headroom, currents stay inside" if calibrated else "give --calibration"
    return f"if every input of one sign spiked in every step, {'; '.join(far)} ({held})"


def _times(far: float) -> str:
    return f"could reach {far:.2g} times its range" if np.isfinite(far) else "could go on without end"


def lost(before: Population, after: Population, registers: Registers) -> str:
    """What happens to decays that the register cannot tell from none, and to values beyond the registers."""
    floats, integers = expect(before, Lif, "quantise"), expect(after, Lif, "quantise")
    said = []
    for what, decay, least in (
        ("leak", floats.dv, "none"), ("decay of the current", floats.du, f"1/{1 << registers.decay_bits}"),
        ("decay of the threshold", floats.threshold_decay, "none"),
    ):  # fmt: skip
        small = (decay * (1 << registers.decay_bits) < 0.5) & (decay > 0) if decay is not None else np.zeros(1, bool)
        if decay is not None and small.any():
            count = f"{int(small.sum()):,} neurons, {decay[small].max():.3g} a step at most"
            said.append(
                f"the {what} of {count}, rounds to {least} "
                f"({registers.decay_bits} bits hold 1/{1 << registers.decay_bits})"
            )
    floats, scale = reset_at_zero(floats), after.scales
    limit = (registers.threshold_max + 1) * UNIT if floats.spiking else np.inf
    for what, value, most in (
        ("threshold", floats.threshold, limit), ("initial potential", floats.initial, loihi_ranges.STATE_MAX + 1),
        ("lowest potential", floats.floor, loihi_ranges.STATE_MAX + 1),
        ("lower threshold", floats.lower, loihi_ranges.STATE_MAX + 1),
        ("rise of the threshold", floats.threshold_jump, loihi_ranges.STATE_MAX + 1),
    ):  # fmt: skip
        beyond = np.abs(np.asarray(0.0 if value is None else value) * scale) > most
        if beyond.any():
            held = integers.threshold if what == "threshold" else np.full(before.size, loihi_ranges.STATE_MAX)
            said.append(
                f"the {what} of {int(beyond.sum()):,} neurons is held at {(held / scale)[beyond].min():.4g} at least, "
                f"where it was up to {np.abs(np.broadcast_to(np.asarray(value), scale.shape)[beyond]).max():.4g}"
            )
    return "".join(f"; {text}" for text in said)


def described(population: Population, incoming: list[Projection]) -> str:
    exponents = ", ".join(f"{p.source}: {p.connectivity.exponent}" for p in incoming)
    low, high = float(population.scales.min()), float(population.scales.max())
    scales = (
        f"scale {low:.4g}" if low == high else f"{len(np.unique(population.scales))} scales, {low:.4g} to {high:.4g},"
    )
    return f"{scales} integer units per unit of potential; weight exponents {exponents or 'none'}"
