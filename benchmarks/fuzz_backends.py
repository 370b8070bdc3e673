"""Random programs and learning rules on every back-end, compared with the reference in every state of every step.

    python benchmarks/fuzz_backends.py -n 10000 --rules 500             hwsim and Lava's models in one process
    python benchmarks/fuzz_backends.py -n 500 --rules 50 --stock        and Lava's own runtime

Prints each difference with the seed that makes it, and ends with the counts; exit code 1 if there was any.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from neurodeploy import backends
from neurodeploy.backends.lava.setup import setup
from neurodeploy.errors import UnsupportedError
from tests.conformance.compare import EVERYTHING, difference
from tests.conformance.programs import Case, learning_case, random_case


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=1000, help="random networks, three of four in integers")
    parser.add_argument("--rules", type=int, default=100, help="random learning rules, three of four in integers")
    parser.add_argument("--first", type=int, default=0, help="first seed")
    parser.add_argument("--stock", action="store_true", help="also on Lava's own runtime")
    args = parser.parse_args()
    setup()
    names = ["hwsim", "lava", *(["lava-stock"] if args.stock else [])]
    counts: Counter[str] = Counter()
    begin = time.monotonic()
    for what, make, number in (("network", random_case, args.n), ("rule", learning_case, args.rules)):
        for index, seed in enumerate(range(args.first, args.first + number)):
            arithmetic = "float" if index % 4 == 3 else "loihi"
            _check(what, make, seed, arithmetic, names, counts)
            if (index + 1) % 500 == 0:
                print(f"{index + 1} {what}s after {time.monotonic() - begin:.0f} s", flush=True)
    for key in sorted(counts):
        print(f"{counts[key]:7d}  {key}")
    wrong = sum(number for key, number in counts.items() if "different" in key)
    print(f"{wrong} differences in {args.n + args.rules} programs on {', '.join(names)}")
    return 1 if wrong else 0


def _check(
    what: str, make: Callable[[int, str], Case], seed: int, arithmetic: str, names: list[str], counts: Counter[str]
) -> None:
    case = make(seed, arithmetic)
    judge = backends.get("reference")(case.program, case.inputs, record=EVERYTHING)
    for name in names:
        try:
            found = backends.get(name)(case.program, case.inputs, record=EVERYTHING)
            result = difference(judge, found, arithmetic == "loihi")
        except UnsupportedError as refused:
            counts[f"{what} in {arithmetic} refused by {name}: {str(refused).splitlines()[0]}"] += 1
            continue
        if result:
            print(f"{what} {seed} in {arithmetic} on {name}: {result}", flush=True)
        counts[f"{what} in {arithmetic} {'different' if result else 'equal'} on {name}"] += 1


if __name__ == "__main__":
    raise SystemExit(main())
