"""What is computed for a chip: the integers that it holds, and how they are called.

The engines have one integer arithmetic, Loihi's (`neurodeploy.network.neurons`). On a chip with numbers of its own the
compiled integers are Loihi's, held to the chip's widths and rules, and every output says so (`named`). What a chip
does not have is refused (`neurodeploy.placement.holds`); what nobody published is not checked, and said to be not.
"""

from __future__ import annotations

from neurodeploy.network.registers import LOIHI, Registers

from .arch import Architecture, Limits
from .figures import Limit


def registers_of(arch: Architecture | None) -> Registers:
    """The integers that a chip holds, of those that are computed here; Loihi's where nothing is published."""
    if arch is None:
        return LOIHI
    limits = arch.limits

    def width(limit: Limit | None, most: int) -> int:
        return most if limit is None else min(limit.value, most)

    values = arch.arithmetic.weight_values
    return Registers(
        weight_bits=width(limits.weight_bits, LOIHI.weight_bits),
        weight_values=None if values is None else values.value,
        state_bits=width(limits.state_bits, LOIHI.state_bits),
        decay_bits=width(limits.decay_bits, LOIHI.decay_bits),
        bias_mantissa_bits=width(limits.bias_mantissa_bits, LOIHI.bias_mantissa_bits),
        bias_exponent_max=width(limits.bias_exponent_max, LOIHI.bias_exponent_max),
        threshold_bits=width(limits.threshold_mantissa_bits, LOIHI.threshold_bits),
    )


def named(arithmetic: str, arch: Architecture | None) -> str:
    """The arithmetic of a network (``float`` or ``loihi``) that is meant for a chip, for people."""
    if arch is None:
        return "floats" if arithmetic == "float" else f"{_integers(LOIHI)}, on no chip"
    numbers = arch.arithmetic.numbers.value
    if arithmetic == "float":
        return f"floats, not {arch.title}'s own numbers: spikes may differ on the chip"
    text = _integers(registers_of(arch))
    wide = _wider(arch.limits)
    if numbers == "loihi":
        few = arch.limits.state_bits
        narrow = few is not None and few.value < LOIHI.state_bits
        within = f", within {few.value} bits (states are computed with {LOIHI.state_bits})" if few and narrow else ""
        return f"{text}: the chip's own{within}" + wide
    if numbers is None:
        return f"{text}; {arch.title}'s own numbers are not published: spikes may differ on the chip" + wide
    return f"{text}, not {arch.title}'s own: spikes may differ on the chip" + wide


def not_checked(arch: Architecture) -> tuple[str, ...]:
    """What nobody published of a chip's arithmetic, so that nothing is held to it."""
    own, limits = arch.arithmetic, arch.limits
    facts = {
        "reset rules": own.resets.value,
        "kinds of neuron": own.neurons.value,
        "bits of the state": limits.state_bits,
        "bits of the bias": limits.bias_mantissa_bits,
        "bits of the threshold": limits.threshold_mantissa_bits,
        "bits of the decays": limits.decay_bits,
        "bits of a spike's payload": limits.spike_payload_bits,
    }
    programmed = ("bits of the state", "bits of the bias", "bits of the threshold", "bits of the decays")
    free = programmed if own.neurons.value == "any" else ()
    return tuple(name for name, fact in facts.items() if fact is None and name not in free)


def _integers(registers: Registers) -> str:
    few = registers.grid_bits
    return f"Loihi's integers (weights of {few} bit{'s' * (few > 1)}, states of {registers.state_bits})"


def _wider(limits: Limits) -> str:
    pairs = (("weights", limits.weight_bits, LOIHI.weight_bits), ("states", limits.state_bits, LOIHI.state_bits))
    wide = [f"{name} of {limit.value}" for name, limit, most in pairs if limit is not None and limit.value > most]
    return f" (the chip has {' and '.join(wide)} bits, of which Loihi's are used)" if wide else ""
