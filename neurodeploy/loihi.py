"""Ranges of Loihi's integer arithmetic, as Lava 0.10.0 documents and computes it (tag ``fixed_pt``).

Sources: Davies et al., IEEE Micro 38(1), 2018 (9-bit signed weights, 12-bit decays, 23-bit signed state); Lava 0.10.0
``proc/lif``, ``proc/dense`` and ``utils/weightutils`` for the widths of mantissas and exponents.
"""

STATE_MAX = (1 << 23) - 1
"""Largest magnitude of a membrane potential (it saturates there)."""

DECAY_ONE = 4096
"""A decay of 1 in the 12-bit registers, whose largest value is 4095."""

STATE_SHIFT = 6
"""Weights and thresholds are shifted left by this before they meet the state."""

WEIGHT_MIN, WEIGHT_MAX, WEIGHT_STEP = -256, 254, 2
"""Effective weights of mixed sign with 8 bits are the even integers in this range."""

WEIGHT_ONE_SIGN = 255
"""Largest magnitude of effective weights of one sign with 8 bits."""

WEIGHT_EXPONENT_MIN, WEIGHT_EXPONENT_MAX = -8, 7

THRESHOLD_MAX = (1 << 17) - 1
"""Largest threshold mantissa; the effective threshold is ``mantissa << 6``."""

BIAS_MANTISSA_MAX, BIAS_EXPONENT_MAX = (1 << 12) - 1, 7
"""A bias is ``mantissa << exponent`` with a 13-bit signed mantissa."""

DELAY_MAX = 62
"""Longest axonal delay in steps, beside the one step of every hop."""
