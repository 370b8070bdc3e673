"""Random fixed linear maps between neurons: exported with proof, and converted between ReLUs.

    python benchmarks/fuzz_linear.py [-n 1000] [--seed 0] [--jobs 2] [--results FILE]

Chains of one to four operators (tests/linear_maps.py) on samples of one to four dimensions, as Sequential, code, a loop
over time or one batch of all steps. Each is exact, refused, or a failure, which is printed at once with its seed. With
``--results`` every outcome is kept in a file as it comes, and a later run goes on from there. Prints the rate of every
kind; exits with 1 if there was a failure, if less than 80 % of all were accepted by `export`, or less than half of a
kind.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from multiprocessing import get_context
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.linear_checks import check_convert, check_export
from tests.linear_maps import FORMS, KINDS, case_of

ALL, EACH = 0.8, 0.5
"""Parts that must be accepted, of all and of each kind."""


def result(seed: int) -> dict[str, Any]:
    """What became of a seed's chain."""
    import torch

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    case = case_of(seed)
    found: dict[str, Any] = {"seed": seed, "kinds": case.kinds, "form": case.form, "shape": case.shape}
    for name, check in (("export", check_export), ("convert", check_convert)):
        try:
            found[name] = check(case, seed)
        except Exception as error:
            found[name] = f"FAILED {type(error).__name__}: {' '.join(str(error).split())[:300]}"
    return found


def results(seeds: Iterable[int], jobs: int, kept: Path | None) -> Iterator[dict[str, Any]]:
    """Outcomes, those in the file first; new ones are added to it."""
    known: dict[int, dict[str, Any]] = {}
    if kept is not None and kept.exists():
        known = {one["seed"]: one for one in map(json.loads, kept.read_text().splitlines())}
    wanted = list(seeds)
    yield from (known[seed] for seed in wanted if seed in known)
    missing = [seed for seed in wanted if seed not in known]
    with get_context("spawn").Pool(jobs) as pool:
        for one in pool.imap_unordered(result, missing):
            if kept is not None:
                with kept.open("a") as file:
                    file.write(json.dumps(one) + "\n")
            yield one


def rates(found: list[Mapping[str, Any]], way: str) -> dict[str, float]:
    """Part of the chains with each kind of operator, and of each form, that was accepted."""
    counts: dict[str, Counter[bool]] = {name: Counter() for name in (*KINDS, *FORMS)}
    for one in found:
        for name in {*one["kinds"], one["form"]}:
            counts[name][one[way] == "equal"] += 1
    return {name: count[True] / max(1, count.total()) for name, count in counts.items() if count}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--results", type=Path)
    given = parser.parse_args()
    started, found = time.perf_counter(), []
    for one in results(range(given.seed, given.seed + given.n), given.jobs, given.results):
        found.append(one)
        for way in ("export", "convert"):
            if one[way].startswith("FAILED"):
                print(f"{way} {one['seed']}: {' -> '.join(one['kinds'])}, {one['form']}: {one[way]}", flush=True)
        if len(found) % 100 == 0:
            print(f"{len(found):,} maps after {time.perf_counter() - started:.0f} s", flush=True)
    bad = 0
    for way in ("export", "convert"):
        reasons = Counter(one[way] for one in found if one[way] != "equal")
        each = rates(found, way)
        equal = sum(one[way] == "equal" for one in found) / max(1, len(found))
        failed = sum(one[way].startswith("FAILED") for one in found)
        print(f"\n{way}: {equal:.1%} of {len(found):,} equal, {failed} failed")
        for name, part in sorted(each.items(), key=lambda item: item[1]):
            print(f"  {name:24s} {part:.0%}")
        for reason, count in reasons.most_common(25):
            print(f"  {count:4d} {reason[:150]}")
        bad += failed
        if way == "export":
            bad += equal < ALL or any(part < EACH for part in each.values())
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
