"""Random networks as people write them, exported as their users would, and compared with the users' own runs.

    python benchmarks/fuzz_models.py [-n 2000] [--seed 0] [--kind "framework norse"] [--keep FOLDER] [--jobs 2]

A program of `tests.user_models` combines a framework, where time lies, a loop or a container, layers, joins, read-outs
and, in half of them, something odd that changes nothing or a trap that changes what a step means. It is exported by
the command line (a quarter of them without ``--time-axis`` at first), compiled, run, and everything is compared with
what its own code does in double precision. A trap must be refused or exact; what is built from listed parts should be
accepted. Prints what was accepted of each kind, and the refusals; writes programs that failed, and all verdicts, into
FOLDER, from where a run that was stopped goes on. Exits with 1 if anything was DIFFERENT or crashed, if less than 80 %
of what is built from listed parts was accepted, or less than half of a kind of which there are 10 or more.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import re
import sys
import tempfile
import time
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

os.environ["TQDM_DISABLE"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.user_models.programs import Program, program

ACCEPTED = ("exact", "unchecked")
BAD = ("DIFFERENT", "crash")
Row = dict[str, Any]


def result(seed: int, kind: str, keep: str, make: Callable[[int], Program] = program) -> Row:
    """What became of the program that ``make`` gives for a seed; nothing where it is not of that kind."""
    import torch

    from tests.user_models.judge import judge

    warnings.filterwarnings("ignore")
    logging.disable(logging.CRITICAL)
    torch.set_num_threads(1)
    made = make(seed)
    row: Row = {"seed": seed, "kinds": sorted(made.kinds), "trap": made.trap, "verdict": "left out"}
    if kind and not any(kind in one for one in made.kinds):
        return row
    axis = seed // 4 % 4 != 3
    with tempfile.TemporaryDirectory() as folder:
        found = judge(made, Path(folder), axis)
    row |= {"verdict": found.verdict, "remark": found.remark, "asked": found.asked, "seconds": round(found.seconds, 2)}
    if not axis:
        row["kinds"].append("without --time-axis")
    if keep and found.verdict in BAD:
        (Path(keep) / f"{seed}.py").write_text(f"{made.source}\n\n# {found.verdict}: {found.remark}\n")
    return row


def remembered(rows: Iterable[Row], file: Path | None) -> Iterator[Row]:
    """Each row, written down as it comes."""
    for row in rows:
        if file is not None:
            with file.open("a") as out:
                out.write(json.dumps(row) + "\n")
        yield row


def kind_of(message: str) -> str:
    """A message without names and numbers, to count."""
    return re.sub(r"\d[\d,.]*", "N", re.sub(r"'[^']*'|/\S+", "_", message)).removeprefix("error: ")[:150]


def report(rows: list[Row], seconds: float) -> bool:
    """Print the rates; return whether all is well."""
    rows = [row for row in rows if row["verdict"] != "left out"]
    listed = [row for row in rows if not row["trap"]]
    kinds: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        for kind in row["kinds"]:
            if kind.startswith("trap") == row["trap"]:
                kinds[kind][row["verdict"]] += 1
    few = []
    print("\nof what is built from listed parts (a trap: of the programs with it)")
    for kind, verdicts in sorted(kinds.items()):
        count, accepted = sum(verdicts.values()), sum(verdicts[one] for one in ACCEPTED)
        print(f"    {kind:<36} {accepted:5} of {count:5} accepted, {accepted / count:6.1%}   {dict(verdicts)}")
        if count >= 10 and accepted < count / 2 and not kind.startswith("trap"):
            few.append(kind)
    print("\nrefused, of what is built from listed parts")
    refusals = Counter(kind_of(row["remark"]) for row in listed if row["verdict"] == "refused")
    examples = {kind_of(row["remark"]): row["seed"] for row in listed if row["verdict"] == "refused"}
    for message, count in refusals.most_common(25):
        print(f"{count:5}  {message} (seed {examples[message]})")
    print("\nrefused, of traps")
    for message, count in Counter(
        kind_of(r["remark"]) for r in rows if r["trap"] and r["verdict"] == "refused"
    ).most_common(12):
        print(f"{count:5}  {message}")
    accepted = sum(row["verdict"] in ACCEPTED for row in listed)
    rate = accepted / max(len(listed), 1)
    traps = Counter(row["verdict"] for row in rows if row["trap"])
    bad = [row for row in rows if row["verdict"] in BAD]
    print(f"\n{len(rows):,} programs in {seconds:.0f} s: {dict(Counter(row['verdict'] for row in rows))}")
    print(f"listed: {accepted:,} of {len(listed):,} accepted, {rate:.1%}; traps: {dict(traps)}")
    print(f"the axis was asked for in {sum(row['asked'] for row in rows)} of those without --time-axis")
    print(f"kinds of which less than half was accepted: {', '.join(few) or 'none'}")
    for row in bad:
        print(f"{row['verdict']}: seed {row['seed']}: {row['remark']}")
    return not bad and rate >= 0.8 and not few


def main(make: Callable[[int], Program] = program, said: str | None = __doc__) -> int:
    parser = argparse.ArgumentParser(description=said, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=2000, help="programs")
    parser.add_argument("--seed", type=int, default=0, help="the first")
    parser.add_argument("--kind", default="", help="only programs with this in one of their kinds")
    parser.add_argument("--keep", type=Path, help="folder of verdicts and of programs that failed")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    args = parser.parse_args()
    file, rows = None, []
    if args.keep:
        args.keep.mkdir(parents=True, exist_ok=True)
        file = args.keep / "verdicts.jsonl"
        if file.exists():
            rows = [json.loads(line) for line in file.read_text().splitlines()]
            rows = [row for row in rows if args.seed <= row["seed"] < args.seed + args.n]
    done = {row["seed"] for row in rows}
    seeds = [seed for seed in range(args.seed, args.seed + args.n) if seed not in done]
    began = time.perf_counter()
    one = partial(result, kind=args.kind, keep=str(args.keep or ""), make=make)
    with get_context("spawn").Pool(args.jobs, maxtasksperchild=250) as pool:
        for row in remembered(pool.imap_unordered(one, seeds, chunksize=2), file):
            rows.append(row)
            if row["verdict"] in BAD:
                print(f"{row['verdict']}: seed {row['seed']}: {row['remark']}", flush=True)
            if len(rows) % 100 == 0:
                print(f"{len(rows):,} after {time.perf_counter() - began:.0f} s", flush=True)
    return 0 if report(rows, time.perf_counter() - began) else 1


if __name__ == "__main__":
    sys.exit(main())
