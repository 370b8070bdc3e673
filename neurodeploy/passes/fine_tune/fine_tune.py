"""Pass ``fine-tune``: move integer weights until the network does what the float one does. Not exact.

Quantisation-aware training whose weights never leave the integers. The integer network runs forward in its exact
arithmetic; a straight-through gradient (`neurodeploy.passes.fine_tune.trainable`) says of each weight what one step
would change, to first order. The n weights that promise most move by one step, or three, or nine; if the exact loss on
the training samples falls they stay and n doubles, otherwise they go back and n falls to a third, until no move helps.
(Adam on shadow weights was tried first: it moves all weights at once and, from compensated rounding, only did harm.)

With traces x <- (1 - 1/TAU) x + s of the spikes s, the loss is

    L = sum over populations of  mean (x - x_float)^2 / mean x_float^2     (van Rossum's distance of spike trains;
                                 mean (v / S - v_float)^2 / mean v_float^2  read-outs: of potentials)
      + cross entropy of scores / temperature against the labels, where there are labels,

with the scores of the network's answer (`neurodeploy.program.recording.scores`) and the temperature at which the float
network's cross entropy is least (Guo et al., ICML 2017), so that nothing is gained by louder outputs alone. A potential
of spiking neurons that the answer reads counts as those of read-outs do. Samples that were held out (a fifth; all where
there are fewer than five) judge every accepted move by the same loss. The best network is kept, and the one that was
given takes part, so that by this measure the result is never worse.

No gradient goes through host stages: while moves are tried, what they feed is what they made for the float network, so
that each part of the chip learns to follow it; accepted moves are judged by chip and host together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from neurodeploy.errors import InvalidInputError, UnsupportedError
from neurodeploy.network.answer import Expr, Function
from neurodeploy.network.arrays import Array
from neurodeploy.network.connectivity import Conv2d, Dense
from neurodeploy.network.dispatch import expect
from neurodeploy.network.expressions import Port
from neurodeploy.network.host import on_chip
from neurodeploy.network.network import Network, Population
from neurodeploy.network.neurons import Lif
from neurodeploy.packages.commands import missing
from neurodeploy.program.recording import Record, check_inputs, check_labels

from ..data import NOTHING, PassData

if TYPE_CHECKING:
    from torch import Tensor

LARGEST = 1 << 24
"""Most entries of the matrix into which listed synapses are spread."""

TAU = 5.0
"""Memory of the traces in which spike trains are compared, in steps."""

FIRST = 50
"""The first move takes one weight in so many."""

STRIDES = (1, 3, 9)
"""Steps of a move; a weight may have to go several before a spike changes."""

SINGLE = 12
"""Weights that are tried one by one when no move of several helps."""


@dataclass(frozen=True)
class FineTune:
    """Fine-tune the weights of an integer network.

    Args:
        iterations: gradients taken, at most.
        samples: that the network is trained on at most, chosen by ``seed``.
        seed: of the choice.

    It follows the float network (the teacher) on the samples, the more the better, and learns their labels if there
    are any.
    """

    name: ClassVar[str] = "fine-tune"
    iterations: int = 30
    samples: int = 256
    seed: int = 0

    def apply(self, network: Network, data: PassData = NOTHING) -> Network:
        """See the module's docstring.

        Raises:
            InvalidInputError: the network is not in integers, or samples, labels or the float network are missing.
            UnsupportedError: a population or projection that cannot be trained; names it.
            MissingPackageError: torch is not installed.
        """
        if network.arithmetic != "loihi":
            raise InvalidInputError(
                "only an integer network is fine-tuned", found=network.arithmetic, hint="quantise it first"
            )
        if data.calibration is None or data.teacher is None:
            lacking = "samples" if data.calibration is None else "float network"
            raise InvalidInputError(
                f"fine-tuning needs the {lacking}", found="none", hint="give samples with --calibration X.npy"
            )
        try:
            import torch
        except ImportError as error:
            raise missing("fine-tuning", "torch") from error
        _refuse(network)
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # sums in the same order on every machine
        try:
            return _Tuning(self, network, data.teacher, data.calibration, data).run()
        finally:
            torch.set_num_threads(threads)


class _Tuning:
    def __init__(
        self,
        options: FineTune,
        network: Network,
        teacher: Network,
        calibration: Mapping[str, Array],
        data: PassData = NOTHING,
    ) -> None:
        from neurodeploy.backends.host.run import messages
        from neurodeploy.backends.reference.run import run_network
        from neurodeploy.program.recording import scores

        self.options, self.network, self.teacher = options, network, teacher
        self.steps, samples, self.inputs = check_inputs(network, calibration)
        self.registers, self.tell = data.registers, data.tell
        self.labels = None if data.labels is None else check_labels(data.labels, samples, network.classes)
        chosen = np.random.default_rng(options.seed).permutation(samples)
        held = samples // 5
        self.held = np.sort(chosen[:held] if held else chosen)
        self.training = np.sort(chosen[held : held + options.samples])
        recording = run_network(teacher, calibration, record=Record(("v",)))
        there = on_chip(network)
        self.hosted = {
            name: messages(network, network.by_name[name], values)
            for name, values in recording.hosted.items() if name in there
        }  # fmt: skip
        self.wanted: dict[tuple[str, Port], Array] = {}
        for population in (p for p in network.populations if not p.external):
            name = population.name
            if population.spiking:
                self.wanted[name, "spikes"] = recording.spikes[name].dense().astype(np.float64)
            if network.shows(name):
                self.wanted[name, "potential"] = recording.states["v"][name] - _rest(teacher.by_name[name])
        self.score = network.answer.score if network.answer else None
        self.temperature = 1.0
        if self.labels is not None:
            _refuse_values(network)
            found = scores(teacher, recording)
            _refuse_scores(network, found)
            self.temperature = _temperature(found, self.labels)

    def run(self) -> Network:
        """Move weights as long as that helps, and return the best network."""
        import torch

        from .trainable import Weights, run

        options, network = self.options, self.network
        sent = {**self.inputs, **self.hosted}
        given = {n: torch.from_numpy(v[:, self.training].astype(np.float64)) for n, v in sent.items()}
        weights = Weights(network, self.registers)

        def loss() -> Tensor:
            return self._loss(run(network, weights.synapses, given), self.training)

        before = best = self._judge(network)
        result, moves, reached = network, max(weights.count // FIRST, 1), loss()
        for iteration in range(options.iterations):
            gradient = weights.gradient(reached)
            order = torch.argsort(-gradient.abs())
            for part, stride in _attempts(moves):
                before_move = weights.move(order[part], gradient, stride)
                found = loss()
                if found < reached:
                    break
                weights.restore(before_move)
            else:
                break
            reached, moves = found, 2 * (part.stop - (part.start or 0))
            tuned = weights.network()
            judged = self._judge(tuned)
            if judged < best:
                best, result = judged, tuned
            if self.tell:
                self.tell(iteration + 1, options.iterations, f"loss {judged[0]:.4f}, before {before[0]:.4f}")
        text = (
            f"on {len(self.held)} samples held out, {before[1]:.2%} of the spikes differed from the float network's "
            f"before and {best[1]:.2%} after (loss {before[0]:.4f} and {best[0]:.4f})"
        )
        if self.labels is not None and self.score is not None and any(map(_flat, self.score.walk())):
            text += "; labels judged moves but proposed none, since the answer takes an argmax on the way"
        return replace(result, notes={**result.notes, "fine-tune": text})

    def _loss(self, sent: Mapping[tuple[str, Port], Tensor], part: Array) -> Tensor:
        """L of what the populations sent for the samples ``part``; see the module's docstring."""
        import torch

        loss = torch.zeros((), dtype=torch.float64)
        for (name, port), values in self.wanted.items():
            found, wanted = self._read(sent, name, port), torch.from_numpy(values[:, part])
            if port == "spikes":
                found, wanted = _traces(found), _traces(wanted)
            loss = loss + ((found - wanted) ** 2).mean() / (wanted**2).mean().clamp(min=1e-12)
        if self.labels is not None:
            logits = self._scores(sent) / self.temperature
            loss = loss + torch.nn.functional.cross_entropy(logits, torch.from_numpy(self.labels[part]).long())
        return loss

    def _scores(self, sent: Mapping[tuple[str, Port], Tensor]) -> Tensor:
        """What `neurodeploy.program.recording.scores` gives, ``[batch, classes]``."""
        import torch

        from .answers import value

        if self.score is not None:
            return value(self.score, lambda leaf: self._read(sent, leaf.population, leaf.port)).flatten(1)
        outputs = []
        for name in self.network.outputs:
            spiking = self.network.by_name[name].spiking
            found = self._read(sent, name, "spikes" if spiking else "potential")
            outputs.append(found[-1] if self.network.read == "last" and not spiking else found.sum(dim=0))
        return torch.cat(outputs, dim=1)

    def _read(self, sent: Mapping[tuple[str, Port], Tensor], name: str, port: Port) -> Tensor:
        """Spikes, or potentials in float units."""
        import torch

        scales = self.network.by_name[name].scales
        return sent[name, port] if port == "spikes" else sent[name, port] / torch.from_numpy(scales.copy())

    def _judge(self, network: Network) -> tuple[float, float]:
        """The loss of a network that runs on the held-out samples, and the neuron-steps that differ in a spike."""
        import torch

        from neurodeploy.backends.reference.run import run_network

        found = run_network(network, {name: values[:, self.held] for name, values in self.inputs.items()})
        held: dict[tuple[str, Port], Array] = {(name, "spikes"): sent.dense() for name, sent in found.spikes.items()}
        held |= {(name, "potential"): values for name, values in found.states.get("v", {}).items()}
        different = spikes = 0
        for (name, port), values in self.wanted.items():
            if port == "spikes":
                different += int((held[name, port] != values[:, self.held]).sum())
                spikes += int((values[:, self.held] != 0).sum())
        sent = {key: torch.from_numpy(values.astype(np.float64)) for key, values in held.items()}
        return float(self._loss(sent, self.held)), different / max(spikes, 1)


def _attempts(moves: int) -> Iterator[tuple[slice, int]]:
    """Which weights, of the most promising first, to move by how many steps, until one attempt helps."""
    while moves:
        yield from ((slice(moves), stride) for stride in STRIDES)
        moves //= 3
    yield from ((slice(at, at + 1), 1) for at in range(1, SINGLE))


def _temperature(scores: Array, labels: Array) -> float:
    """The one of a geometric grid around the scores' deviation at which their cross entropy is least."""
    from scipy.special import log_softmax

    grid = (float(scores.std()) or 1.0) * np.geomspace(1e-2, 1e2, 81)
    losses = [-log_softmax(scores / value, axis=1)[np.arange(len(labels)), labels].mean() for value in grid]
    return float(grid[int(np.argmin(losses))])


def _traces(spikes: Tensor) -> Tensor:
    """``x <- (1 - 1/TAU) x + s`` over time."""
    import torch

    found, trace = [], torch.zeros_like(spikes[0])
    for step in spikes:
        trace = (1 - 1 / TAU) * trace + step
        found.append(trace)
    return torch.stack(found)


def _rest(population: Population) -> Array | float:
    """What `quantise` counts potentials from."""
    neuron = expect(population, Lif, "fine-tune")
    return neuron.reset_to if neuron.reset == "hard" else 0.0


def _flat(expr: Expr) -> bool:
    """Whether no gradient goes through it."""
    return isinstance(expr, Function) and expr.name == "argmax"


def _refuse_values(network: Network) -> None:
    """Refuse labels where the answer comes from the host, through which no gradient goes."""
    score = network.answer.score if network.answer else None
    read = {leaf.population for leaf in score.series() if leaf.port == "value"} if score is not None else set()
    for stage in network.stages:
        if any(given.name in read for given in stage.gives):
            raise UnsupportedError(
                f"labels cannot fine-tune a network whose answer the host stage {stage.name!r} gives",
                found="no gradient goes through the host",
                hint="leave the labels out: then the float network is followed, on the chip",
            )  # fmt: skip


def _refuse_scores(network: Network, found: Array) -> None:
    """Refuse labels where the float network's own scores are no numbers to compare."""
    if not np.isfinite(found).all():
        rule = f" ({network.answer.described()})" if network.answer else ""
        raise UnsupportedError(
            f"the scores of the float network{rule} are not finite, so labels cannot fine-tune it",
            found=f"{int((~np.isfinite(found)).sum()):,} of {found.size:,}",
            hint="leave the labels out: then only the float network is followed",
        )


def _refuse(network: Network) -> None:
    for population in network.populations:
        if population.external:
            continue
        neuron = expect(population, Lif, "fine-tune", "leave fine-tune out")
        if neuron.spiking and (neuron.threshold <= 0).any():
            raise _unsupported(population, "has a threshold that is not positive")
        if neuron.slow or neuron.lower is not None:
            raise _unsupported(population, "has a refractory time, an adaptive threshold or a lower threshold")
    for projection in network.projections:
        kind = projection.connectivity
        if not isinstance(kind, (Conv2d, Dense)) and kind.inputs * kind.outputs > LARGEST:
            raise UnsupportedError(
                f"projection {projection.name!r} is too large to fine-tune",
                found=f"{kind.inputs:,} x {kind.outputs:,} neurons joined by listed synapses",
                allowed=f"{LARGEST:,} pairs",
                hint="leave fine-tune out, or make the layer a convolution",
            )


def _unsupported(population: Population, what: str) -> UnsupportedError:
    return UnsupportedError(f"population {population.name!r} {what}, so it cannot be fine-tuned")
