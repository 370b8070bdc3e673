"""How long ``neurodeploy --help`` takes, beside a bare interpreter and ``pip --help`` in the same run.

Prints medians of interleaved runs in fresh processes, wall time.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

RUNS = 15
COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "neurodeploy --help": ["-m", "neurodeploy", "--help"],
    "neurodeploy compile --help": ["-m", "neurodeploy", "compile", "--help"],
    "pip --help": ["-m", "pip", "--help"],
}


def main() -> None:
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(RUNS):
        for name, arguments in COMMANDS.items():
            start = time.perf_counter()
            subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)
            seconds[name].append(time.perf_counter() - start)
    bare = statistics.median(seconds["python -c pass"])
    for name, values in seconds.items():
        median = statistics.median(values)
        print(f"{name:<28} {1000 * median:6.0f} ms   {median / bare:5.1f} x a bare interpreter")


if __name__ == "__main__":
    main()
