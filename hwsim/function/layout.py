"""The columns of the flat tables of `neurodeploy.hwsim.function.tables`, and the numbers in them."""

from __future__ import annotations

# Columns of the table of populations.
KIND, OFFSET, SIZE, FAST, RULE, TIME, EQUAL, SPIKING, MOST, GRADED, HEARD, SHIFT = range(12)
START, BLOCKS, FIRST, LAST, RECORD_V, RECORD_U, BIASED, SLOW_R, SLOW_A, INNER, PORTS = range(12, 23)
MEMORY, KERNEL, EXTRA, OPTIONS, OPTION_COUNT, UNBOUNDED, JOIN, JOINED, COMPARTMENTS, OWN, WRAP = range(23, 34)
POPULATION_FIELDS = 34

# Columns of the table of projections.
FORM, FROM, TO, DELAY, PORT, EXPONENT, WEIGHTS, ROWS, TARGETS, OUTPUTS, BIAS, BIAS_START, SCRATCH = range(13)
C_IN, C_OUT, GROUPS, H_IN, W_IN, H_OUT, W_OUT, K_H, K_W = range(13, 22)
S_Y, S_X, P_Y, P_X, D_Y, D_X, LAST_CHANNELS, PHASES = range(22, 30)
PROJECTION_FIELDS = 30

INPUT, ALWAYS, LIF, SIGMA_DELTA, RELU, PRODUCT, CALLED = range(7)
DENSE, SPARSE, PACKED, CONV, DILATED, PLASTIC = range(6)
TARGET_BITS = 24
"""Of a packed synapse: above them stands its weight, counted from -128."""
BLOCK = 128
"""Neurons that are advanced, or found at rest, together; so few that their counts fit in a byte."""
NEAR = 1 << 17
"""Synapses that stay in a core's own cache, so that asking for them would only cost."""
