"""What must hold of a compiled network whatever its layers are: `check_order`."""

from __future__ import annotations

import hashlib
import itertools
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from neurodeploy.backends.reference.run import run_network
from neurodeploy.compiler import CompileOptions, Stages, compile
from neurodeploy.errors import DoesNotFitError, UnsupportedError
from neurodeploy.hwsim import engine
from neurodeploy.hwsim.chips.arch import Architecture
from neurodeploy.hwsim.counts.counts import count
from neurodeploy.hwsim.prices.pricing import price
from neurodeploy.network.arrays import Array
from neurodeploy.network.bias_axons import with_bias_axons
from neurodeploy.network.connectivity import Connectivity, Conv2d
from neurodeploy.network.network import Network
from neurodeploy.network.neurons import Lif
from neurodeploy.nir_graph import interpreter as nir_reference
from neurodeploy.nir_graph.nir_file import NirFile
from neurodeploy.passes.quantise.calibration import Calibration
from neurodeploy.program.program import Program
from neurodeploy.program.recording import Record, Recording
from neurodeploy.verify.compare import FLOAT_TOLERANCE, compare
from tests import nirgraphs
from tests.layer_orders import inputs, ordered_graph
from tests.layer_twists import TWISTS, Twisted, twist_of
from tests.test_compile_properties import architecture, check_program

PIPELINES = (
    "prune,encode,quantise", "quantise{range=max rounding=nearest}",
    "prune,split-signs,encode,quantise{thresholds=any}", "encode,quantise{thresholds=any range=percentile}",
    "split-signs,quantise{thresholds=3 rounding=nearest}", "quantise{thresholds=any range=max}",
)  # fmt: skip
EXACT = ("prune", "encode", "split-signs")
UNIT = 64
"""Units of the state for a weight of 1 with exponent 0 (Loihi: currents are shifted left by 6)."""


def digest(value: Any) -> str:
    """Of all that a dataclass holds: numbers, names and arrays."""
    result = hashlib.sha256()
    for part in _parts(value):
        result.update(part)
    return result.hexdigest()


def _parts(value: Any) -> Iterator[bytes]:
    if isinstance(value, np.ndarray):
        yield f"{value.dtype.str}{value.shape}".encode() + np.ascontiguousarray(value).tobytes()
    elif is_dataclass(value) and not isinstance(value, type):
        yield type(value).__name__.encode()
        for item in fields(value):
            yield from _parts(getattr(value, item.name))
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield str(key).encode()
            yield from _parts(item)
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from _parts(item)
    else:
        yield repr(value).encode()


@dataclass(eq=False)
class Unchanged:
    """Objects that nobody may change once they were seen."""

    seen: dict[str, tuple[Network, str]] = field(default_factory=dict)

    def __call__(self, name: str, network: Network) -> None:
        """Called with the network after each pass."""
        self.seen[f"{len(self.seen)} {name}"] = network, digest(network)
        self.check(f"pass {name}")

    def check(self, who: str) -> None:
        for name, (network, before) in self.seen.items():
            assert digest(network) == before, f"{who} changed the arrays of the network {name!r} that it was given"


def matrix(kind: Connectivity) -> Array:
    """``[inputs, outputs]``, found by sending one spike at a time, and nothing that `to_csr` says."""
    return np.asarray(kind.apply(np.eye(kind.inputs)))


def check_weights(before: Network, after: Network, x: Mapping[str, Array] | None, *, clipped: float) -> None:
    """Every weight of the integer network means what the float one has there, to half a step of its grid.

    Compensated rounding may put weights of sources that were heard further away, if all that arrives while the samples
    run is about as near as it is with each rounded for itself, or as good as right.

    Args:
        x: the samples on which roundings were compensated, None where each weight is rounded for itself.
        clipped: the largest weight over the largest that is held.
    """
    before = with_bias_axons(before)
    floats = {p.name: p for p in before.projections}
    assert floats.keys() == {p.name for p in after.projections}
    seen = Calibration.of(before, x)
    for population in after.populations:
        arriving, off_nearest, off_found = np.zeros((3, 1, population.size))
        for projection in after.into(population.name):
            kind, source = floats[projection.name].connectivity, after.by_name[projection.source]
            both = bool(kind.weights.min(initial=0) < 0 < kind.weights.max(initial=0))
            step = (2 if both else 1) * UNIT * 2.0**projection.connectivity.exponent
            sent = float(source.scales[0]) / 2**source.neuron.send_shift if isinstance(source.neuron, Lif) else 1.0
            sent = 1.0 if source.spiking else sent
            low, high = (-128, 127) if both else (-255, 255)
            wanted = matrix(kind) * population.scales / sent / step
            held = np.clip(wanted, low, high)
            assert (np.abs(wanted) <= clipped * high * (1 + 1e-9)).all(), f"{projection.name}: clipped too much"
            found = matrix(projection.connectivity) * UNIT * 2.0**projection.connectivity.exponent / step
            off = np.abs(found - held)
            ends = before.by_name[projection.source], before.by_name[population.name]
            heard = seen.traces(floats[projection.name], *ends)
            if heard is not None:
                off[heard.any(axis=0) | (isinstance(kind, Conv2d) & heard.any())] = 0
                arriving = arriving + heard * sent @ wanted * step
                off_found = off_found + heard * sent @ (found - wanted) * step
                off_nearest = off_nearest + heard * sent @ (np.rint(held) - wanted) * step
            worst = np.unravel_index(int(off.argmax()), off.shape)
            assert (off <= 0.5 + 1e-6).all(), (
                f"{projection.name}: the weight {worst} is {found[worst]:.3f} steps instead of {wanted[worst]:.3f}"
            )
        lost, least, most = (float(np.linalg.norm(each)) for each in (off_found, off_nearest, arriving))
        assert lost <= max(1.5 * least, most / 100), f"{population.name}: {lost:g} of {most:g} are lost, not {least:g}"


def equal(judge: Recording, network: Network, x: Mapping[str, Array], what: str) -> None:
    """Assert that the network has the judge's spikes and potentials in every neuron and step, to float rounding."""
    pair = compare(judge, run_network(network, x, record=Record(("v",))), network, tolerance=FLOAT_TOLERANCE)
    assert pair.equal, (
        f"{what}: {pair.spikes_different} spikes and {pair.states_different} potentials differ: {pair.divergence}"
    )


def check_graph(file: NirFile, written: Mapping[str, Any]) -> None:
    """The graph that was read has the numbers that were written, also after everything else has happened."""
    for name, node in file.graph.nodes.items():
        for key, value in vars(written[name]).items():
            if isinstance(value, np.ndarray):
                np.testing.assert_array_equal(np.asarray(getattr(node, key)), value, err_msg=f"{name}.{key}")


def check_costs(program: Program, x: Mapping[str, Array]) -> None:
    """What the simulator counts can be priced, where all that is sent are spikes."""
    network, arch = program.network, architecture(program.chip)
    if all(p.spiking or not any(q.source == p.name for q in network.projections) for p in network.populations):
        assert price(count(program, engine.run(program, x), arch), arch).total_pj > 0


@dataclass(eq=False)
class Case:
    """A case of `tests.layer_orders` while it is checked; a method that finds a fault raises `AssertionError`."""

    number: int
    folder: Path
    x: Mapping[str, Array]
    arch: Architecture
    judge: Recording | None = None

    def floats(self, path: Path, options: Mapping[str, Any], written: Mapping[str, Any]) -> None:
        """In floats, against the NIR reference; saved as ``float.ndp``."""
        unchanged = Unchanged()
        compiled = compile(path, None, CompileOptions(conventions=options, integer=False, after=unchanged))
        self.judge = nir_reference.run(compiled.file, self.x, compiled.conventions)
        equal(self.judge, compiled.float_network, self.x, "lowered")
        self.passes(compiled.stages)
        compiled.program.save(self.folder / "float.ndp")
        if self.number % 2:
            check_program(compiled.program, self.folder, self.number)
        unchanged.check("running it")
        check_graph(compiled.file, written)

    def integers(self, path: Path, pipeline: str, calibrated: bool, **more: Any) -> None:
        """In integers, from the ``.nir`` file or a Program in floats."""
        unchanged, samples = Unchanged(), digest(self.x)
        more |= {"calibration": self.x if calibrated else None, "passes": pipeline, "after": unchanged}
        compiled = compile(path, self.arch, CompileOptions(**more))
        program, stages = compiled.program, compiled.stages
        self.passes(stages)
        compensated = self.x if calibrated and "nearest" not in pipeline else None
        check_weights(stages[-2][1], stages[-1][1], compensated, clipped=1.0 if "range=max" in pipeline else 2.0)
        program.save(self.folder / "integer.ndp")
        if calibrated or self.number % 2 == 0:  # of two Programs that cost time to run, one
            check_program(program, self.folder, self.number)
        if calibrated:
            check_costs(program, self.x)
        unchanged.check("running it")
        assert digest(self.x) == samples, "the samples were changed"

    def passes(self, stages: Stages) -> None:
        """Passes that are exact by design are."""
        assert self.judge is not None
        for (_, before), (name, after) in itertools.pairwise(stages):
            if name in EXACT and after is not before:
                equal(self.judge, after, self.x, f"after {name}")


def check_order(number: int) -> tuple[str, str]:
    """Compile a case of `tests.layer_orders` as a user does, and twist it (`tests.layer_twists`).

    Returns ``"equal"``, ``"silent"`` or why it was refused, and what became of the twist.

    Silent is what has a population without a single spike; it was compared all the same.
    """
    rng, graph = np.random.default_rng([number, 4]), ordered_graph(number)
    options = {"dt": 1e-3, "reset": str(rng.choice(["hard", "subtract"])), "comparison": str(rng.choice([">", ">="]))}
    options["recurrent_bias"] = str(rng.choice(["after-delay", "from-start"]))
    placement = {"max_neurons_per_core": int(rng.choice([17, 200])), "share": bool(rng.random() < 0.5)}
    arch = architecture(str(rng.choice(["loihi1", "loihi2"])))
    first, second = (PIPELINES[(number + i) % len(PIPELINES)] for i in (0, 1))
    with tempfile.TemporaryDirectory() as folder:
        case = Case(number, Path(folder), {"input": inputs(graph, number)}, arch)
        path = nirgraphs.write(graph, case.folder / "net.nir")
        try:
            case.floats(path, options, graph.nodes)
            case.integers(path, first, calibrated=True, conventions=options, **placement)
            case.integers(case.folder / "float.ndp", second, calibrated=False, **placement)
            twist = Twisted(number, case.folder, graph, options, case.x["input"])
            twisted = TWISTS[twist_of(number)](twist)
        except (UnsupportedError, DoesNotFitError) as error:
            return error.what, "refused"
    assert case.judge is not None
    return ("equal" if all(events.dense().any() for events in case.judge.spikes.values()) else "silent"), twisted
