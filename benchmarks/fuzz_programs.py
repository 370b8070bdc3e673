"""Programs (`.ndp`) with fields changed by somebody who knows the format, as many as one likes.

    python benchmarks/fuzz_programs.py [-n 10000] [--seed 0] [--bounds]

Each is refused with a message or runs equally on the reference and on hwsim (`tests/program_mutants.py`). With
``--bounds`` the kernels are compiled anew, with a check of every index, into a folder of their own.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=10_000, help="mutants (default: 10,000)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--bounds", action="store_true", help="compile checks of every index into the kernels")
    args = parser.parse_args()
    if args.bounds and os.environ.get("NUMBA_BOUNDSCHECK") != "1":
        with tempfile.TemporaryDirectory() as folder:
            checks = {"NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": folder}
            return subprocess.run([sys.executable, *sys.argv], env={**os.environ, **checks}, check=False).returncode
    from tests.program_mutants import check_mutant

    started, failures = time.perf_counter(), 0
    found: Counter[str] = Counter()
    for seed in range(args.seed, args.seed + args.n):
        try:
            result = check_mutant(seed)
        except Exception as error:
            failures += 1
            result = "FAILED"
            text = " ".join(str(error).split())[:400]
            print(f"mutant {seed}: {type(error).__name__}: {text}", flush=True)
        found[re.sub(r"'[^']*'|-?\d[\d.,]*|\[.*", "...", result)[:70]] += 1
    for result, times in found.most_common(40):
        print(f"{times:6,} {result}")
    print(f"{args.n:,} mutants, {failures} failures, {time.perf_counter() - started:.0f} s")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
