"""Ranges of Loihi's integer arithmetic, as Lava 0.10.0 documents and computes it (tag ``fixed_pt``).

Sources: Davies et al., IEEE Micro 38(1), 2018 (9-bit signed weights, 12-bit decays, 23-bit signed state); Lava 0.10.0
``proc/lif``, ``proc/dense`` and ``utils/weightutils`` for the widths of mantissas and exponents.
"""

from typing import Literal

import numpy as np

from .arrays import Array

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


def effective_weights(
    raw: Array, bits: int = 8, sign: Literal["mixed", "excitatory", "inhibitory"] | None = None
) -> Array:
    """Return the weights that a chip makes of ``raw`` (``clip_weights``, ``truncate_weights`` of lava-nc 0.10.0).

    Broken numbers are cut toward zero. Of both signs, the chip keeps multiples of 2^(9 - bits) from -256 to 255,
    rounded down; of one sign, multiples of 2^(8 - bits) up to 255 in magnitude, rounded toward zero.

    Args:
        raw: any shape.
        bits: that the chip spends on a weight, 1 to 8.
        sign: of the projection; as the weights are when None.
    """
    whole = np.trunc(raw).astype(np.int64)
    if sign is None:
        sign = "excitatory" if (whole >= 0).all() else "inhibitory" if (whole <= 0).all() else "mixed"
    mixed = sign == "mixed"
    magnitude = np.clip(-whole if sign == "inhibitory" else whole, -256 if mixed else 0, 255)
    dropped = 8 - bits + mixed
    kept = (magnitude >> dropped) << dropped
    return np.asarray(-kept if sign == "inhibitory" else kept, dtype=np.int16)
