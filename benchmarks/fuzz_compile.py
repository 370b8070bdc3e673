"""Random networks and NIR files compiled, saved, loaded and run on reference and hwsim, as many as one likes.

    python benchmarks/fuzz_compile.py [-n 5000] [--seed 0]

Prints how many ran equally, how many were refused and why, and every failure with its seed.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.test_compile_properties import check_file, check_network, check_quantised


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=600, help="cases")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    checks = {
        "integer network": lambda seed: check_network(seed, "loihi") or "equal",
        "float network": lambda seed: check_network(seed, "float") or "equal",
        "quantised network": check_quantised,
        "NIR file": check_file,
    }
    started, failures = time.perf_counter(), 0
    found: dict[str, Counter[str]] = {name: Counter() for name in checks}
    for index in range(args.n):
        name = list(checks)[index % len(checks)]
        try:
            result = checks[name](args.seed + index)
        except Exception as error:
            failures += 1
            result = "FAILED"
            print(f"{name}, seed {args.seed + index}: {type(error).__name__}: {str(error)[:300]}", flush=True)
        found[name][re.sub(r"'[^']*'", "...", result)[:90]] += 1
    for name, results in found.items():
        print(f"{name}: {results['equal']:,} equal")
        for why, times in results.most_common():
            if why != "equal":
                print(f"    {times:,} {why}")
    print(f"{args.n:,} cases, {failures} failures, {time.perf_counter() - started:.0f} s")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
