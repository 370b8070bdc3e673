"""Random neurons written by hand in random small networks, exported as their users would, and compared with their runs.

    python benchmarks/fuzz_hand_written.py [-n 1000] [--seed 0] [--kind "reset: soft"] [--keep FOLDER] [--jobs 2]

A program of `tests.user_models.by_hand` combines how the spike, its surrogate, decay, threshold, reset, start, gain and
height are written, where the state is kept, the loop and where time lies; a fifth of them hold something that is no
linear leaky integrate-and-fire neuron, and must be refused or exact. All else is as in `benchmarks/fuzz_models.py`.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.fuzz_models import main
from tests.user_models.by_hand import by_hand

if __name__ == "__main__":
    sys.exit(main(by_hand, __doc__))
