"""Random networks with max pooling, of currents and of spikes, on every back-end, in floats and integers.

    python benchmarks/fuzz_pooling.py -n 500                        reference, hwsim, ONNX, Lava's models in one process
    python benchmarks/fuzz_pooling.py -n 50 --stock                 and Lava's own runtime
    python benchmarks/fuzz_pooling.py -n 500 --log pooling.jsonl    goes on behind what the log holds

In floats the reference is compared with the NIR interpreter, and ONNX and the others with the reference; in integers
all but ONNX are compared with the reference, in every spike and state of every step. Prints each difference with its
seed, and ends with the counts; exit code 1 if there was any.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).parents[1]))

from neurodeploy.backends.lava.setup import setup
from neurodeploy.errors import UnsupportedError
from tests.random_pooling import differences, random_graph


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=500, help="random networks")
    parser.add_argument("--first", type=int, default=0, help="first seed")
    parser.add_argument("--stock", action="store_true", help="also on Lava's own runtime")
    parser.add_argument("--log", type=Path, help="one line of JSON for each network; what it holds is not run again")
    args = parser.parse_args()
    setup()
    others = ("hwsim", "onnxruntime", "lava", *(["lava-stock"] if args.stock else []))
    known = [json.loads(line) for line in args.log.read_text().splitlines()] if args.log and args.log.exists() else []
    done = {row["seed"]: row for row in known}
    rows = []
    with TemporaryDirectory() as folder:
        for seed in range(args.first, args.first + args.n):
            row = done.get(seed) or _run(seed, str(Path(folder) / "net.nir"), others)
            if args.log and seed not in done:
                with args.log.open("a") as log:
                    log.write(json.dumps(row) + "\n")
            for text in row["wrong"]:
                print(f"{seed}: {text}", flush=True)
            rows.append(row)
    counts = Counter(key for row in rows for key in row["kinds"])
    result = Counter("refused" if row["refused"] else "different" if row["wrong"] else "equal" for row in rows)
    print(
        f"{len(rows)} networks on reference, {', '.join(others)}: " + ", ".join(f"{n} {k}" for k, n in result.items())
    )
    print("with " + ", ".join(f"{kind}: {number}" for kind, number in sorted(counts.items())))
    for text, number in Counter(row["refused"] for row in rows if row["refused"]).items():
        print(f"{number:5d}  refused: {text}")
    return 1 if result["different"] else 0


def _run(seed: int, path: str, others: tuple[str, ...]) -> dict[str, object]:
    nodes = [type(node).__name__ for node in random_graph(seed).nodes.values()]
    kinds = [f"max of {what}" for what, name in (("currents", "Max"), ("spikes", "Threshold")) if name in nodes]
    row: dict[str, object] = {"seed": seed, "kinds": kinds, "wrong": [], "refused": ""}
    try:
        row["wrong"] = differences(seed, path, others)
    except UnsupportedError as refused:
        row["refused"] = str(refused).splitlines()[0]
    return row


if __name__ == "__main__":
    raise SystemExit(main())
