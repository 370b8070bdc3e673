"""Random networks of which no chip computes all, exported, run on chip and host, and compared with torch.

    python benchmarks/fuzz_hybrids.py [-n 500] [--seed 0] [--jobs 2] [--host bits] [--keep FILE.jsonl] [--record]

Of each network of `tests.hybrid_models` that is accepted: its file must be the module (as `export` proves it), chip and
host must do the same on the reference and on hwsim, the chip fed with what the host gave must do it alone, in every
spike and state, and float32 may part from float64 only where a potential is within 1e-4 of its threshold; these are
counted. Rows are kept in FILE.jsonl, from where a run that was stopped goes on. Prints what was accepted of each kind;
``--record`` keeps that in docs/recorded/fuzz_hybrids.txt, where figures of docs/howto-export-attention.md stand.
Exits with 1 if anything was wrong, or if less than 80 % of all, or half of a kind, was accepted.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter, defaultdict
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from recorded import recorded

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parents[1]))

Row = dict[str, Any]


def result(seed: int, host: str) -> Row:
    """What became of the network of a seed."""
    import torch

    from neurodeploy.errors import NeurodeployError, VerificationError
    from tests.hybrid_checks import check
    from tests.hybrid_models import hybrid

    warnings.filterwarnings("ignore")
    logging.disable(logging.CRITICAL)
    torch.set_num_threads(1)
    started = time.perf_counter()
    one = hybrid(seed)
    row: Row = {"seed": seed, "kinds": list(dict.fromkeys(one.kinds)), "said": ""}
    try:
        with tempfile.TemporaryDirectory() as folder:
            found = check(one, Path(folder), host)
        row |= {"verdict": "exact", "stages": list(found.stages), "spikes": found.spikes, "flipped": found.flipped}
    except VerificationError as error:
        silent = "no neuron spikes" in error.what
        row |= {"verdict": "silent" if silent else "WRONG", "said": f"{error.what}: {error.found}"}
    except NeurodeployError as error:
        row |= {"verdict": "refused", "said": f"{error.what}: {error.found}"}
    except AssertionError as error:
        row |= {"verdict": "WRONG", "said": str(error)[:400]}
    except Exception:
        row |= {"verdict": "crash", "said": traceback.format_exc()[-600:]}
    return row | {"seconds": round(time.perf_counter() - started, 2)}


def report(rows: list[Row]) -> bool:
    """Print the rates; return whether all is well."""
    kinds: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        for kind in row["kinds"]:
            kinds[kind][row["verdict"]] += 1
    few = []
    for kind, verdicts in sorted(kinds.items()):
        exact, count = verdicts["exact"], sum(verdicts.values())
        print(f"    {kind:<20} {exact:4} of {count:4} exact, {exact / count:6.1%}   {dict(verdicts)}")
        if exact < count / 2:
            few.append(kind)
    for row in rows:
        if row["verdict"] != "exact":
            print(f"{row['verdict']}: seed {row['seed']}: {row['said']}")
    verdicts, stages = (
        Counter(row["verdict"] for row in rows),
        Counter(s for row in rows for s in row.get("stages", ())),
    )
    exact = [row for row in rows if row["verdict"] == "exact"]
    print(f"{len(rows)} networks: {dict(verdicts)}; {len(exact) / max(len(rows), 1):.1%} exact")
    print(f"stages: {dict(stages)}; spikes: {sum(row['spikes'] for row in exact):,}")
    print(f"samples in which float32 parts from float64 within 1e-4 of a threshold: {sum(r['flipped'] for r in exact)}")
    print(f"kinds of which less than half was exact: {', '.join(few) or 'none'}")
    return not few and len(exact) >= 0.8 * len(rows) and not verdicts["WRONG"] and not verdicts["crash"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--host", choices=("bits", "work"), default="bits")
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--record", action="store_true", help="keep what is printed in docs/recorded/fuzz_hybrids.txt")
    args = parser.parse_args()
    rows: list[Row] = []
    if args.keep and args.keep.exists():
        rows = [json.loads(line) for line in args.keep.read_text().splitlines()]
    wanted = range(args.seed, args.seed + args.n)
    rows = [row for row in rows if row["seed"] in wanted]
    left = sorted(set(wanted) - {row["seed"] for row in rows})
    with get_context("spawn").Pool(args.jobs) as pool:
        for row in pool.imap_unordered(partial(result, host=args.host), left):
            rows.append(row)
            if args.keep:
                with args.keep.open("a") as out:
                    out.write(json.dumps(row) + "\n")
    with recorded("fuzz_hybrids" if args.record else None):
        good = report(sorted(rows, key=lambda row: row["seed"]))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
