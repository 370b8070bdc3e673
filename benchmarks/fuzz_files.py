"""Do damaged ``.nir``, ``.net`` and ``.onnx`` files give a clear error or a valid network, whatever is wrong with them?

    python benchmarks/fuzz_files.py [-n 2000] [--seed 0] [--keep FOLDER] [--suffix .nir ...]

Each mutant (tests/mutants.py) is read by a worker process: *valid* means that it loads, is lowered and, if it is small,
runs 3 steps in the reference, a ``.nir`` file with the spikes and potentials of NIR's own equations and without a delay
that was rounded; *clear error* is a NeurodeployError. Everything else is bad: another exception (*traceback*, also of a
network that is silently another), a dead worker (*crash*), more than 10 s (*hang*), a resident set above 1 GiB
(*memory*). Prints a table and exits with 1 if anything was bad; ``--keep`` keeps the files that were.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from queue import Empty, Queue

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.mutants import mutant, seeds  # noqa: E402

TIME_LIMIT = 10.0
"""Seconds for one file."""
MEMORY_LIMIT = 1 << 30
"""Bytes resident in a worker; its libraries included."""
ADDRESS_SPACE = 12 << 30
"""Protects the machine that runs this; far above `MEMORY_LIMIT`, so that it hides nothing."""
SMALL = 1 << 20
"""Neurons and stored weights up to which a network also runs."""

GOOD, BAD = ("valid", "clear error"), ("traceback", "crash", "hang", "memory")


@dataclass(frozen=True)
class Outcome:
    """What became of one mutant."""

    suffix: str
    kind: str
    outcome: str
    detail: str
    peak: int
    seconds: float


def read_nir(path: Path) -> None:
    import numpy as np

    from neurodeploy.backends.reference.run import run_network
    from neurodeploy.lowering.lower import lower
    from neurodeploy.nir_graph import interpreter as nir_reference
    from neurodeploy.nir_graph import nir_file
    from neurodeploy.nir_graph.conventions import resolve
    from neurodeploy.program.recording import Record
    from neurodeploy.verify.compare import FLOAT_TOLERANCE, compare

    file = nir_file.read(path)
    conventions = resolve(file, dt=None if "dt" in file.metadata else 1e-3)
    network = lower(file, conventions)
    for name, node in file.graph.nodes.items():
        if type(node).__name__ == "Delay":
            late = np.asarray(node.delay, dtype=np.float64) / conventions.dt
            assert np.abs(late - np.rint(late)).max(initial=0) < 1e-3, f"SILENT: the delays of {name!r} were rounded"
    if _run(network):
        inputs = {p.name: np.ones((3, 1, *p.shape)) for p in network.inputs}
        judge = nir_reference.run(file, inputs, conventions)
        found = run_network(network, inputs, record=Record(("v",)))
        pair = compare(judge, found, network, tolerance=FLOAT_TOLERANCE)
        finite = all(np.isfinite(v).all() for r in (judge, found) for v in r.states.get("v", {}).values())
        assert pair.equal or not finite, f"SILENT: {pair.spikes_different} spikes differ from NIR: {pair.divergence}"


def read_net(path: Path) -> None:
    from neurodeploy.lowering.lava_dl import read_net as read

    _run(read(path))


def read_onnx(path: Path) -> None:
    import numpy as np

    from neurodeploy.exporters.ann import onnx_import
    from neurodeploy.exporters.ann.ann_graph import evaluate

    ann = onnx_import.load(path)
    if max(int(np.prod(layer.shape)) for layer in ann.layers) <= SMALL:
        evaluate(ann, np.ones((1, *ann.input_shape)))


def _run(network: object) -> bool:
    """Three steps in the reference, if the network is small."""
    import numpy as np

    from neurodeploy.backends.reference.run import run_network
    from neurodeploy.network.network import Network

    assert isinstance(network, Network)
    stored = sum(p.connectivity.stored_weights() for p in network.projections)
    if max(stored, sum(p.size for p in network.populations)) > SMALL or not network.inputs:
        return False
    run_network(network, {p.name: np.ones((3, 1, *p.shape), np.uint8) for p in network.inputs})
    return True


READERS: dict[str, Callable[[Path], None]] = {".nir": read_nir, ".net": read_net, ".onnx": read_onnx}
"""Reader of each format; another format is one more entry (and its seeds in tests/mutants.py)."""


def peak_memory() -> int:
    """Most memory that this process has held, in bytes."""
    try:
        # Linux hands ru_maxrss on to a child, so that a large parent would be counted.
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")) * 1024
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def worker() -> None:
    """Read the paths that arrive on the standard input, and answer each with a line of JSON."""
    import warnings

    from neurodeploy.errors import NeurodeployError

    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        path, outcome, detail = Path(line.rstrip("\n")), "valid", ""
        try:
            READERS[path.suffix](path)
        except NeurodeployError as error:
            outcome, detail = "clear error", str(error)
        except BaseException:
            outcome, detail = "traceback", traceback.format_exc()
        sys.stdout.write(json.dumps({"outcome": outcome, "detail": detail, "peak": peak_memory()}) + "\n")
        sys.stdout.flush()


class Worker:
    """A worker process, started again after it died or took too much."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[str] | None = None

    def ask(self, path: Path) -> tuple[str, str, int]:
        """Outcome, detail and peak memory of reading a file."""
        if self.process is None:
            self.start()
        assert self.process is not None and self.process.stdin is not None
        self.process.stdin.write(f"{path}\n")
        self.process.stdin.flush()
        try:
            line = self.answers.get(timeout=TIME_LIMIT)
        except Empty:
            self.stop()
            return "hang", f"more than {TIME_LIMIT:g} s", 0
        if not line:
            code = self.process.wait()
            self.stop()
            return "crash", f"the process ended with {code}", 0
        answer = json.loads(line)
        outcome, peak = str(answer["outcome"]), int(answer["peak"])
        if peak > MEMORY_LIMIT:
            self.stop()
            outcome = "memory" if outcome in GOOD else outcome
        return outcome, str(answer["detail"]), peak

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--worker"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT,
        )  # fmt: skip
        answers = self.answers = Queue[str]()
        out = self.process.stdout
        assert out is not None

        def listen() -> None:
            for line in out:
                answers.put(line)
            answers.put("")

        threading.Thread(target=listen, daemon=True).start()
        if self.answers.get(timeout=60) != "ready\n":
            raise RuntimeError("the worker does not start; run it by hand: python benchmarks/fuzz_files.py --worker")

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        self.process = None


def fuzz(count: int, seed: int, suffixes: tuple[str, ...], keep: Path | None = None, workers: int = 2) -> list[Outcome]:
    """Read ``count`` mutants, the formats in turn."""
    for suffix in set(suffixes):
        seeds(suffix)  # not in two threads at once: a forked reader would inherit the lock of a file being made
    numbers = Queue[int]()
    for index in range(count):
        numbers.put(index)

    def loop(folder: Path) -> Iterator[Outcome]:
        reader = Worker()
        try:
            while True:
                try:
                    index = numbers.get_nowait()
                except Empty:
                    return
                made = mutant(seed, index, suffixes[index % len(suffixes)])
                path = folder / f"{seed}-{index}{made.suffix}"
                path.write_bytes(made.data)
                start = time.perf_counter()
                outcome, detail, peak = reader.ask(path)
                yield Outcome(made.suffix, made.kind, outcome, detail, peak, time.perf_counter() - start)
                if outcome in BAD and keep is not None:
                    keep.mkdir(parents=True, exist_ok=True)
                    path.rename(keep / path.name)
                    (keep / f"{path.name}.txt").write_text(f"{made.kind}: {outcome}\n{detail}\n")
                else:
                    path.unlink()
        finally:
            reader.stop()

    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(workers) as pool:
        parts = list(pool.map(lambda _: list(loop(Path(folder))), range(workers)))
    return [outcome for part in parts for outcome in part]


def table(outcomes: list[Outcome]) -> str:
    """Format and kind of mutation against outcome."""
    counted = Counter((o.suffix, o.kind, o.outcome) for o in outcomes)
    columns = (*GOOD, *BAD)
    lines = [f"{'format':7} {'mutation':24}" + "".join(f"{c:>13}" for c in columns) + f"{'peak MiB':>10}"]
    for suffix, kind in sorted({(o.suffix, o.kind) for o in outcomes}):
        peak = max(o.peak for o in outcomes if (o.suffix, o.kind) == (suffix, kind)) / 2**20
        numbers = "".join(f"{counted[suffix, kind, c]:13}" for c in columns)
        lines.append(f"{suffix:7} {kind:24}{numbers}{peak:10.0f}")
    total = Counter(o.outcome for o in outcomes)
    peak = max(o.peak for o in outcomes) / 2**20
    lines.append(f"{'all':32}" + "".join(f"{total[c]:13}" for c in columns) + f"{peak:10.0f}")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("-n", type=int, default=2000, help="number of mutants (default: 2000)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="where to keep the files that gave no clear answer")
    parser.add_argument("--suffix", action="append", choices=list(READERS), help="only this format (may be repeated)")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        for library in (
            "nir_graph.nir_file", "lowering.lava_dl", "lowering.lower", "nir_graph.interpreter",
            "exporters.ann.onnx_import", "backends.reference.run", "verify.compare",
        ):  # fmt: skip
            import_module(f"neurodeploy.{library}")  # not the first file's time
        worker()
        return 0
    start = time.perf_counter()
    outcomes = fuzz(args.n, args.seed, tuple(args.suffix or READERS), args.keep)
    print(table(outcomes))
    slowest = max(o.seconds for o in outcomes)
    bad = [o for o in outcomes if o.outcome in BAD]
    print(f"{len(outcomes)} files in {time.perf_counter() - start:.0f} s; the slowest took {slowest:.1f} s")
    for detail, times in Counter(
        f"{o.suffix} {o.outcome}: {o.detail.strip().splitlines()[-1]}" for o in bad
    ).most_common():
        print(f"{times:4} x {detail}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
