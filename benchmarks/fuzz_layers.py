"""Linear layers in every order, compiled from a `.nir` file in floats and in integers, as many cases as one likes.

    python benchmarks/fuzz_layers.py [-n 20000] [--seed 0] [--jobs 2]

All pairs of layers before a neuron take 196 cases, all triples 5,488. Each case is also twisted as users do it:
integers that leave their range, delays between steps, labels, numbers that are not finite, weights of few bits. Prints
each failure at once with its case and the order of its layers, and at the end what was equal, silent or refused, in
all, for each kind of layer and for each twist. Exits with 1 if there was a failure, if less than 80 % of all networks
were accepted, or less than half of a kind.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections import Counter
from collections.abc import Iterable
from multiprocessing import get_context
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.layer_checks import check_order
from tests.layer_orders import KINDS, order
from tests.layer_twists import TWISTS, twist_of


def shown(case: int) -> str:
    """``conv -> average -> neuron, linear -> neuron``."""
    return ", ".join(" -> ".join((*stage, "neuron")) for stage in order(case))


def result(case: int) -> tuple[int, str, str]:
    """What became of a case and of its twist; a failure begins with ``FAILED``."""
    try:
        return case, *check_order(case)
    except Exception as error:
        return case, f"FAILED {type(error).__name__}: {' '.join(str(error).split())[:300]}", "FAILED"


def report(found: Iterable[tuple[int, str, str]], every: int = 1000) -> int:
    """Print failures as they come, then the counts; return the number of failures and of kinds refused too often."""
    started = time.perf_counter()
    total: Counter[str] = Counter()
    kinds: dict[str, Counter[str]] = {kind: Counter() for kind in (*KINDS, *TWISTS)}
    twists: dict[str, Counter[str]] = {twist: Counter() for twist in TWISTS}
    for done, (case, what, twisted) in enumerate(found, 1):
        twist = twist_of(case)
        if what.startswith("FAILED"):
            print(f"case {case}, {twist}: {shown(case)}: {what}", flush=True)
        total[re.sub(r"'[^']*'|\d+", "...", what)[:90] if not what.startswith("FAILED") else "FAILED"] += 1
        short = what if what in ("equal", "silent") else "FAILED" if what.startswith("FAILED") else "refused"
        for kind in {kind for stage in order(case) for kind in stage} | {twist}:
            kinds[kind][short] += 1
        twists[twist][twisted] += 1
        if done % every == 0:
            print(f"{done:,} cases after {time.perf_counter() - started:.0f} s", flush=True)
    count = max(sum(total.values()), 1)
    for what, times in total.most_common():
        print(f"{times:7,} {times / count:6.1%}  {what}")
    refused = 0
    for kind, results in kinds.items():
        number = max(sum(results.values()), 1)
        shares = ", ".join(f"{results[key] / number:.1%} {key}" for key in ("equal", "silent", "refused", "FAILED"))
        became = ", ".join(f"{times:,} {what}" for what, times in sorted(twists.get(kind, Counter()).items()))
        print(f"    {kind:<10} in {number:6,} cases: {shares}{f' ({became})' if became else ''}")
        refused += results["refused"] > number / 2
    accepted = (total["equal"] + total["silent"]) / count
    print(
        f"{count:,} cases, {accepted:.1%} accepted, {total['FAILED']} failures, {time.perf_counter() - started:.0f} s"
    )
    return total["FAILED"] + refused + (accepted < 0.8)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=1000, help="cases")
    parser.add_argument("--seed", type=int, default=0, help="first case")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    args = parser.parse_args()
    cases = range(args.seed, args.seed + args.n)
    if args.jobs == 1:
        return 1 if report(map(result, cases)) else 0
    with get_context("spawn").Pool(args.jobs) as pool:
        return 1 if report(pool.imap_unordered(result, cases, chunksize=4)) else 0


if __name__ == "__main__":
    sys.exit(main())
