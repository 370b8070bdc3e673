"""Random programs of every kind that a back-end may be asked to run; the same program for the same seed.

One to six layers of all neuron models, dense, sparse, convolution and pooling, skips, delays, loops over one and two
layers, several inputs and outputs, parameters of each neuron, weights of one sign with all their bits, and integers at
the ends of their ranges: currents that wrap, potentials that saturate.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from neurodeploy.network.connectivity import Connectivity, Conv2d, Dense, Sparse, largest_sum, with_weights
from neurodeploy.network.join import Join
from neurodeploy.network.network import Network, Population, Projection
from neurodeploy.network.neurons import UNLIMITED, Lif, Neuron, Product, Relu, SigmaDelta, Source
from neurodeploy.network.plasticity import LIMITS, LearningRule, Trace
from neurodeploy.program.program import Program
from neurodeploy.program.schedule import schedule
from tests.networks import placed

HALF = 1 << 23
SHAPES = ((2, 5, 4), (1, 6, 6), (3, 3, 4), (7,), (12,))


@dataclass(frozen=True)
class Case:
    """A program and what to feed it."""

    program: Program
    inputs: dict[str, np.ndarray]


def random_case(seed: int, arithmetic: str = "loihi") -> Case:
    """A network without learning."""
    return _Maker(np.random.default_rng([seed, 1]), arithmetic).case()


def learning_case(seed: int, arithmetic: str = "loihi") -> Case:
    """A small network with one or two projections that learn by a random rule."""
    return _Maker(np.random.default_rng([seed, 2]), arithmetic).learning()


class _Maker:
    def __init__(self, rng: np.random.Generator, arithmetic: str) -> None:
        self.rng, self.arithmetic, self.integer = rng, arithmetic, arithmetic == "loihi"
        self.populations: list[Population] = []
        self.projections: list[Projection] = []

    def case(self) -> Case:
        rng = self.rng
        for index in range(1 + (rng.random() < 0.3)):
            bits = int(rng.choice([1, 1, 1, 8])) if self.integer else 1
            self.populations.append(
                Population(f"in{index}", SHAPES[rng.integers(len(SHAPES))], Source(payload_bits=bits))
            )
        if rng.random() < 0.3:
            self.populations.append(Population("always", (1,), Source(always_on=True, start=int(rng.integers(0, 3)))))
        for index in range(int(rng.choice([1, 1, 2, 2, 3, 4, 6]))):
            self._layer(f"layer{index}")
        if len(self.populations) > 4 and rng.random() < 0.3:
            back, front = self.populations[-1], self.populations[-2]
            if self._neurons(front) and self._neurons(back):
                self._project(back, front, delay=int(rng.integers(2, 5)))
        names = [p.name for p in self.populations if self._neurons(p)]
        outputs = (names[-1], *[n for n in names[:-1] if rng.random() < 0.2])
        return self._finished(outputs, steps=int(rng.integers(5, 16)), samples=int(rng.integers(1, 4)))

    def learning(self) -> Case:
        rng = self.rng
        self.populations.append(Population("pre", (int(rng.integers(2, 9)),), Source()))
        rule = random_rule(rng, self.arithmetic)
        post = Population("post", (int(rng.integers(1, 6)),), self._lif(3, plain=True))
        post = replace(post, neuron=self._lif(post.size, plain=True))
        self.populations.append(post)
        self._learn("pre", "post", 0, rule)
        self._project(self.populations[0], post)  # what stays lets the targets spike whatever is learned
        if rule.factors == 3:
            self.populations.insert(1, Population("reward", (2,), Source()))
            weights = rng.integers(-30, 30, (post.size, 2)) * 2 if self.integer else rng.normal(size=(post.size, 2))
            kind = Dense(weights.astype(np.int16) if self.integer else weights)
            self.projections.append(Projection("reward", "reward", "post", kind, port=1))
        if rng.random() < 0.3:
            other = replace(random_rule(rng, self.arithmetic), factors=2)
            self._learn("post", "post", 1, other)
        return self._finished(("post",), steps=int(rng.integers(10, 40)), samples=int(rng.integers(1, 3)))

    def _learn(self, source: str, target: str, delay: int, rule: LearningRule) -> None:
        by_name = {p.name: p for p in self.populations}
        shape, rng = (by_name[target].size, by_name[source].size), self.rng
        if self.integer:
            low, high = LIMITS[rule.sign]
            weights = rng.integers(low, high + 1, shape) // (2 if rule.sign == "mixed" else 1)
            weights = (weights * (2 if rule.sign == "mixed" else 1)).astype(np.int16)
            tags = [rng.integers(0, 100, shape) if rng.random() < 0.3 else None for _ in range(2)]
            exponent = int(rng.choice([0, 0, 1, -2]))
        else:
            weights, exponent = rng.normal(size=shape) * 3, 0
            weights = {"mixed": weights, "excitatory": np.abs(weights), "inhibitory": -np.abs(weights)}[rule.sign]
            tags = [None, None]
        rule = replace(rule, tag_1=tags[0], tag_2=tags[1])
        name = f"{source}~{target}"
        self.projections.append(Projection(name, source, target, Dense(weights, exponent), delay, rule=rule))

    def _layer(self, name: str) -> None:
        rng = self.rng
        earlier = [p for p in self.populations if p.name != "always"]
        source = earlier[-1]
        kind, shape = self._connectivity(source.shape)
        size = int(np.prod(shape))
        population = Population(name, shape, self._neuron(size))
        self.populations.append(population)
        self.projections.append(Projection(f"{source.name}-{name}", source.name, name, kind))
        population = self._join(population, rng.spawn(1)[0])
        if isinstance(population.neuron, Product):
            self._project(earlier[int(rng.integers(len(earlier)))], population, delay=int(rng.integers(0, 3)), port=1)
        if rng.random() < 0.4:
            other = [p for p in self.populations if p is not population]
            self._project(other[int(rng.integers(len(other)))], population, delay=int(rng.integers(0, 4)))
        if rng.random() < 0.3:
            self._project(population, population, delay=int(rng.integers(1, 4)))
        if not self.integer and rng.random() < 0.2:
            last = self.projections[-1]
            bias = rng.normal(size=size) * 0.1
            self.projections[-1] = replace(last, bias=bias, bias_start=int(rng.integers(0, 3)))

    def _join(self, population: Population, rng: np.random.Generator) -> Population:
        """For some neurons without a filter of the current, put the last projection onto compartments in front.

        Drawn apart, so that all else of a seed is what it was without this.
        """
        if population.neuron.joins(self.arithmetic) or rng.random() < 0.3:
            return population
        last, size = self.projections[-1], population.size
        # More, fewer or no neurons behind as many compartments as the projection had targets.
        join = Join(rng.integers(0, size, size).astype(np.int32) if rng.random() < 0.7 else rng.permutation(size))
        self.populations[-1] = replace(population, join=join)
        self.projections[-1] = replace(last, port=1)
        if rng.random() < 0.4:
            source = self.populations[int(rng.integers(len(self.populations) - 1))]
            kind = Dense(*self._weights((size, source.size)))
            name = f"{last.name} too"
            self.projections.append(
                Projection(name, source.name, population.name, kind, int(rng.integers(0, 3)), port=1)
            )
        return self.populations[-1]

    def _project(self, source: Population, target: Population, delay: int = 0, port: int = 0) -> None:
        name = f"{source.name}-{target.name} {len(self.projections)}"
        kind = Dense(*self._weights((target.size, source.size)))
        self.projections.append(Projection(name, source.name, target.name, kind, delay, port=port))

    def _neurons(self, population: Population) -> bool:
        return not isinstance(population.neuron, Source)

    # Synapses

    def _weights(self, shape: tuple[int, ...]) -> tuple[np.ndarray, int]:
        rng = self.rng
        values = rng.normal(size=shape)
        values[rng.random(shape) < 0.2] = 0
        if not self.integer:
            return values, 0
        exponent = int(rng.choice([0, 0, 0, 2, 7, -1, -3, -8]))
        reach = rng.choice([10, 60, 256])
        if rng.random() < 0.3:  # all 8 bits of one sign
            whole = np.clip(np.rint(np.abs(values) * reach), 0, 255).astype(np.int16)
            return (whole if rng.random() < 0.6 else -whole), exponent
        return (2 * np.rint(np.clip(values * reach / 2, -128, 127))).astype(np.int16), exponent

    def _connectivity(self, shape: tuple[int, ...]) -> tuple[Connectivity, tuple[int, ...]]:
        rng, size = self.rng, int(np.prod(shape))
        choice = rng.choice(["dense", "sparse", "conv", "conv", "pool"] if len(shape) == 3 else ["dense", "sparse"])
        if choice == "pool":
            channels, height, width = shape
            window = (min(2, height), min(2, width))
            ones = np.ones((channels, 1, *window), np.int16 if self.integer else float)
            pool = Conv2d(ones, (channels, height, width), stride=window, groups=channels)
            return pool, pool.output_shape
        if choice == "conv":
            channels, height, width = shape
            groups = int(rng.choice([1, channels]))
            out = groups * int(rng.integers(1, 4))
            kernel = (int(rng.integers(1, 4)), int(rng.integers(1, 4)))
            weights, exponent = self._weights((out, channels // groups, *kernel))
            conv = Conv2d(
                weights,
                (channels, height, width),
                stride=(int(rng.integers(1, 3)), int(rng.integers(1, 3))),
                padding=(kernel[0] - 1, kernel[1] - 1),
                dilation=(1, int(rng.integers(1, 3))) if width > 3 else (1, 1),
                groups=groups,
                exponent=exponent,
            )
            return conv, conv.output_shape
        outputs = int(rng.integers(1, 12))
        weights, exponent = self._weights((outputs, size))
        if choice == "dense":
            return Dense(weights, exponent), (outputs,)
        matrix = Dense(weights).to_csr()
        matrix.eliminate_zeros()
        return replace(Sparse.from_csr(matrix), exponent=exponent), (outputs,)

    # Neurons

    def _neuron(self, size: int) -> Neuron:
        rng = self.rng
        choice = rng.choice(["lif", "sigma", "relu", "product", "readout"], p=[0.68, 0.08, 0.08, 0.08, 0.08])
        scale = 1000 if self.integer else 1.0
        one = rng.random() < 0.5  # one threshold for all, as Lava's own Processes have
        thresholds = np.abs(rng.normal(size=1 if one else size)) * rng.choice([0, 1]) * scale
        bias = rng.normal(size=size) * rng.choice([0, 1]) * scale
        threshold, bias = np.broadcast_to(thresholds, (size,)).copy(), bias
        if self.integer:
            threshold, bias = np.rint(threshold).astype(np.int32), np.rint(bias).astype(np.int32)
        if choice == "sigma":
            shift = int(rng.choice([0, 3, 6])) if self.integer else 0
            kind, remainder = str(rng.choice(["relu", "identity"])), str(rng.choice(["kept", "lost"]))
            return SigmaDelta(bias, threshold, kind, shift, remainder, bool(rng.random() < 0.8))  # type: ignore[arg-type]
        if choice == "relu":
            return Relu(bias, threshold)
        if choice == "product":
            return Product(threshold, int(rng.choice([0, 4, 10])) if self.integer else 0)
        return self._lif(size, spiking=choice == "lif")

    def _lif(self, size: int, spiking: bool = True, plain: bool = False) -> Lif:
        rng = self.rng
        lava = plain or rng.random() < 0.4  # what Lava's own LIF has
        reset = "hard" if lava else str(rng.choice(["hard", "subtract", "none"]))
        times = {"hard": ["now", "now", "next", "gate"], "subtract": ["now", "next", "once"], "none": ["now"]}
        reset_time = "now" if lava or not spiking else str(rng.choice(times[reset]))
        several = not lava and reset_time == "now" and spiking and rng.random() < 0.3
        ternary = not several and not plain and reset_time == "now" and spiking and rng.random() < 0.2
        slow = reset_time == "now" and spiking and not plain
        floor = None if lava or rng.random() < 0.7 else -np.abs(rng.normal(size=size))
        number = np.int32 if self.integer else float
        refractory = rng.integers(0, 4, size).astype(np.int32) if slow and rng.random() < 0.2 else None
        if refractory is not None and rng.random() < 0.5:
            refractory[:] = max(1, int(refractory[0]))  # one for all, as Lava's LIFRefractory has
        adapts = slow and not (lava and refractory is not None) and rng.random() < 0.2
        shared = rng.random() < 0.5  # one parameter for all neurons, or one for each
        # Drawn apart, so that all else of a seed is what it was without this rule.
        clears = reset == "hard" and reset_time == "now" and spiking and rng.spawn(1)[0].random() < 0.3

        def each(draw: np.ndarray) -> np.ndarray:
            return np.full(size, draw[0]) if shared else draw

        if self.integer:
            high = int(rng.choice([1 << 8, 1 << 12, 1 << 17]))
            threshold = each(rng.integers(1, high, size)) << 6
            fields = {
                "du": each(rng.choice([0, 100, 2048, 4095], size)),
                "dv": each(rng.integers(0, 4096, size) * int(rng.choice([0, 1]))),
                "bias": rng.integers(-4096, 4096, size) * int(rng.choice([0, 1, 128])),
                "threshold": threshold,
                "reset_to": np.zeros(size) if lava else rng.integers(-500, 500, size) * int(rng.choice([0, 1])),
                "initial": rng.integers(-100_000, 100_000, size) * int(rng.choice([0, 1])),
                "floor": None if floor is None else np.rint(floor * 5000),
                "lower": None if not ternary else -each(rng.integers(0, high, size)) << 6,
                "threshold_decay": each(rng.integers(0, 4096, size)) if adapts else None,
                "threshold_jump": rng.integers(0, 1 << 14, size) if adapts else None,
            }
        else:
            fields = {
                "du": each(rng.choice([0.0, 0.5, 1.0], size)),
                "dv": each(rng.choice([0.0, 0.3, 1.0], size)),
                "bias": rng.normal(size=size) * rng.choice([0, 0.2]),
                "threshold": each(np.abs(rng.normal(size=size)) + 0.3),
                "reset_to": np.zeros(size) if lava else rng.normal(size=size) * rng.choice([0, 0.1]),
                "initial": rng.normal(size=size) * rng.choice([0, 0.2]),
                "floor": floor,
                "lower": None if not ternary else -each(np.abs(rng.normal(size=size)) + 0.1),
                "threshold_decay": rng.random(size) if adapts else None,
                "threshold_jump": np.abs(rng.normal(size=size)) if adapts else None,
            }
        arrays = {name: None if value is None else value.astype(number) for name, value in fields.items()}
        return Lif(
            **arrays,
            reset=reset,  # type: ignore[arg-type]
            reset_time=reset_time,  # type: ignore[arg-type]
            comparison=">" if lava else str(rng.choice([">", ">="])),  # type: ignore[arg-type]
            spiking=spiking,
            max_spikes=int(rng.choice([3, UNLIMITED])) if several else 1,
            refractory=refractory,
            send_shift=int(rng.choice([8, 12])) if self.integer and not spiking else 0,
            reset_current=bool(clears),
        )

    # The whole

    def _finished(self, outputs: tuple[str, ...], steps: int, samples: int) -> Case:
        network = Network("random", tuple(self.populations), tuple(self.projections), outputs, 1e-3, self.arithmetic)
        network = _possible(network)
        if self.integer:
            network = _bounded(network)
        elif any(not p.external for p in network.populations):
            network = _tame(network)
        inputs = {p.name: self._input(p, steps, samples) for p in network.inputs}
        return Case(placed(network), inputs)

    def _input(self, population: Population, steps: int, samples: int) -> np.ndarray:
        rng, shape = self.rng, (steps, samples, *population.shape)
        spikes = rng.random(shape) < rng.choice([0.1, 0.3, 0.8])
        assert isinstance(population.neuron, Source)
        if population.neuron.payload_bits > 1:
            most = 1 << (population.neuron.payload_bits - 1)
            return spikes * rng.integers(1 - most, most, shape)
        return spikes.astype(np.uint8)


def random_rule(rng: np.random.Generator, arithmetic: str = "loihi") -> LearningRule:
    """Any sum of one to three products for each of one to three targets, any traces and epochs."""
    integer = arithmetic == "loihi"
    factors = 3 if rng.random() < 0.3 else 2
    decimation = int(rng.integers(0, 3))

    def product() -> str:
        dependency = str(rng.choice(["x0", "y0", f"u{decimation}"], p=[0.4, 0.4, 0.2]))
        mantissa = int(rng.integers(1, 8)) * int(rng.choice([-1, 1]))
        scale = int(rng.integers(-4, 5)) if integer else int(rng.integers(-6, -2))
        names = ["x1", "x2", "y1", "y2", "y3", "w", "d", "t", "(x1+3)", "(y1-20)", "(w-7)", "sgn(w)", "sgn(t-2)"]
        if integer:
            names += {"x0": ["y0"], "y0": ["x0"]}.get(dependency, [])
        chosen = [str(name) for name in rng.choice(names, size=int(rng.choice([0, 1, 1, 2, 3])))]
        if not integer:  # a square of a weight grows beyond all floats
            own = [name for name in chosen if name in ("w", "d", "t", "(w-7)")]
            chosen = [name for name in chosen if name not in own] + own[:1]
        return "*".join([f"{mantissa:+d}*2^{scale}*{dependency}", *chosen])

    def series() -> str:
        return "".join(product() for _ in range(int(rng.integers(1, 4)))).lstrip("+")

    def trace() -> Trace:
        impulse = float(rng.choice([0, 16, 20.3, 127, 5.75])) if integer else float(rng.choice([0, 1.5, 16]))
        taus = [0, 1, 3, 10, 100] if integer else [1, 3, 10]
        return Trace(impulse, float(rng.choice(taus)))

    targets = {"dw": series()}
    targets |= {name: series() for name in ("dd", "dt") if rng.random() < 0.4}
    return LearningRule(
        **targets,
        **{name: trace() for name in ("x1", "x2", "y1", "y2", "y3")},
        epoch=int(rng.choice([1, 1, 2, 3, 7])),
        seed=int(rng.integers(0, 1000)),
        factors=factors,  # type: ignore[arg-type]
        sign=str(rng.choice(["mixed", "mixed", "excitatory", "inhibitory"])),  # type: ignore[arg-type]
    )


def _possible(network: Network) -> Network:
    """Give loops that are too short for a chip the delay that they need."""
    from neurodeploy.errors import UnsupportedError

    for _ in range(8):
        try:
            schedule(network)
            return network
        except UnsupportedError as error:
            late = str(error).split("'")[1]
            longer = [replace(p, delay=p.delay + 1) if p.name == late else p for p in network.projections]
            network = replace(network, projections=tuple(longer))
    raise AssertionError("no schedule")


def _bounded(network: Network) -> Network:
    """Scale down what could leave the 32 bits in which Lava adds up currents (refused, and tested, elsewhere)."""
    from neurodeploy.backends.lava.lower import _check_sums
    from neurodeploy.backends.lava.registers import _piles_up
    from neurodeploy.errors import UnsupportedError

    for _ in range(200):
        try:
            largest = _check_sums(network)
            name = next(
                (
                    p.name
                    for p in network.populations
                    if isinstance(p.neuron, Lif) and _piles_up(p.neuron, largest[p.name])
                ),
                "",
            )
            if not name:
                return network
        except UnsupportedError as error:
            name = str(error).split("'")[1]
        network = replace(network, projections=tuple(_smaller(p, name) for p in network.projections))
    raise AssertionError("no bound")


def _smaller(projection: Projection, target: str) -> Projection:
    kind = projection.connectivity
    if projection.target != target:
        return projection
    if kind.exponent > -8:
        return replace(projection, connectivity=replace(kind, exponent=kind.exponent - 1))  # type: ignore[type-var]
    smaller = (np.sign(kind.weights) * (np.abs(kind.weights.astype(np.int32)) // 4 * 2)).astype(np.int16)
    return replace(projection, connectivity=with_weights(kind, smaller, kind.exponent))


def _tame(network: Network) -> Network:
    """Keep floats from growing without bound in loops of graded neurons, where rounding would be magnified."""
    projections = []
    for p in network.projections:
        total = largest_sum(p.connectivity)
        kind = p.connectivity
        if p.rule is None and p.delay and total > 0.5:
            kind = with_weights(kind, kind.weights * (0.5 / total))
        projections.append(replace(p, connectivity=kind))
    return replace(network, projections=tuple(projections))
