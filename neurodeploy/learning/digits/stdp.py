"""Digits learned on the chip: spikes in, Loihi's learning rules in integers, no gradient and no torch.

64 pixels -> 100 integrate-and-fire neurons which inhibit each other, so that few of them, the best matches, spike for
a sample; all of it runs on hwsim's learning engine, bit for bit as on Lava's LearningDense. A sample is shown for some
steps (rate code), then nothing for some more, in which potentials and traces fade. Samples follow each other as one
long run; `DigitsStdp.train_chunk` runs some of them. Weights have both signs: x1 - c is negative for a pixel that is
silent.

``stdp`` (unsupervised; after Diehl & Cook, "Unsupervised learning of digit recognition using spike-timing-dependent
plasticity", Frontiers in Computational Neuroscience 9:99, 2015): when a neuron spikes, its weights move towards what
its inputs were just doing,

    dw = 2^-3 y0 x1 - 6 y0 - 2^-4 y0 w,       x1: trace of the input's spikes, so that w settles at 2 x1 - 96,

and its threshold rises, so that all neurons get their share (homeostasis). Afterwards each neuron is given the class to
which it responds most on the training set, and a sample the class whose neurons respond most.

``r-stdp`` (three factors, a reward for each neuron): every neuron has a class from the start. A tag remembers which
inputs made it spike; when a sample ends, its reward at port 1, positive for neurons of the right class, negative for
the others, makes that so:

    dt = 2^-1 y0 x1 - 24 y0 - 2^-2 y0 w - 3/4 u0 t,       dw = 2^-1 u0 t y2,       y2: the reward,

so that weights move towards the sample where the class was right, and away from it where it was wrong (as in Kohonen's
learning vector quantisation). Each product of two factors, t y2, is scaled by 2^-5 by the chip.

What lives on between chunks are weights and what the thresholds were raised by; potentials, traces and tags, which have
faded in the pause, begin anew. Rounding draws new numbers in each chunk.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from neurodeploy.errors import InvalidInputError
from neurodeploy.hwsim.engine import Simulator
from neurodeploy.models import digits
from neurodeploy.network.connectivity import Dense
from neurodeploy.network.loihi_ranges import effective_weights
from neurodeploy.network.network import Network, Population, Projection
from neurodeploy.network.neurons import Lif, Source
from neurodeploy.network.plasticity import LearningRule, Trace
from neurodeploy.program.program import Program
from neurodeploy.program.recording import LEARNING_WORK, Decisions, Recording, decided

Array = np.ndarray[Any, np.dtype[Any]]

PIXELS = 64
UNIT = 64
"""Of a threshold, in units of the current: what arrives is shifted by 6 bits."""
INHIBITION_EXPONENT = 6


@dataclass(frozen=True)
class Settings:
    """What a task is made of: integers of the chip, and how it is shown its samples.

    Args:
        dw, dt: the learning rule; see `neurodeploy.network.plasticity`.
        epoch: of the rule, in steps; samples are whole epochs.
        factors: of the rule; 3 for a reward.
        neurons: that learn; with three factors, neuron n is of class n modulo 10.
        shown, pause: steps of a sample, and of silence after it.
        chunk: samples of a chunk.
        leak: of the potential in a step, in 4096ths.
        threshold: of a fresh neuron, in units of the current.
        jump, fade: what a spike raises the threshold by, and what is taken off again for each sample.
        lowest: that the threshold is raised by; below 0 for neurons that are silent for long.
        inhibition: of all other neurons by a spike, times 2^6.
        initial: range of the weights at the beginning.
        reward, punishment: what arrives at port 1 in the first epoch of the pause.
    """

    dw: str
    dt: str = ""
    epoch: int = 1
    factors: int = 2
    neurons: int = 100
    shown: int = 32
    pause: int = 16
    chunk: int = 50
    leak: int = 200
    threshold: int = 12_000
    jump: int = 120
    fade: int = 6
    lowest: int = 0
    inhibition: int = 100
    initial: tuple[int, int] = (20, 80)
    reward: int = 0
    punishment: int = 0

    @property
    def steps(self) -> int:
        """Of a sample with its pause."""
        return self.shown + self.pause


SETTINGS: Mapping[str, Settings] = {
    "stdp": Settings(dw="2^-3*y0*x1 - 6*y0 - 2^-4*y0*w"),
    "r-stdp": Settings(
        dw="2^-1*u0*t*y2",
        dt="2^-1*y0*x1 - 24*y0 - 2^-2*y0*w - 3*2^-2*u0*t",
        epoch=8,
        factors=3,
        leak=100,
        threshold=4000,
        fade=12,
        lowest=-1500,
        inhibition=60,
        initial=(0, 80),
        reward=16,
        punishment=8,
    ),
}
"""The tasks, by the name of their rule; found by a search on the training set."""


@dataclass(frozen=True)
class Progress:
    """What a chunk did.

    Args:
        samples: that were shown.
        steps: of the chip.
        events: spikes of the pixels, and rewards, that came from the host.
        spikes: of the neurons that learn.
        work: counts for each name in `neurodeploy.program.recording.LEARNING_WORK`.
    """

    samples: int
    steps: int
    events: int
    spikes: int
    work: Mapping[str, int]


class DigitsStdp:
    """A network that learns the digits, chunk by chunk.

    The same seed gives the same weights on every machine, however often the state is stored and restored between.

    Args:
        rule: ``"stdp"`` or ``"r-stdp"``.
        seed: of the initial weights, the order of the samples, and the rounding.
        settings: instead of `SETTINGS`.

    Raises:
        InvalidInputError: no such rule, or settings that do not fit each other.
    """

    def __init__(self, rule: str = "stdp", seed: int = 0, settings: Settings | None = None) -> None:
        if rule not in SETTINGS:
            raise InvalidInputError("unknown learning rule", found=rule, allowed=", ".join(SETTINGS))
        self.rule, self.seed, self.settings = rule, seed, settings or SETTINGS[rule]
        s = self.settings
        if s.steps % s.epoch or s.shown % s.epoch:
            raise InvalidInputError(
                "a sample does not consist of whole epochs", found=f"{s.shown} + {s.pause} steps", allowed=f"{s.epoch}s"
            )
        if s.neurons < digits.CLASSES:
            raise InvalidInputError("too few neurons", found=s.neurons, allowed=f"{digits.CLASSES} or more")
        self.data = digits.load()
        self.chunk = 0
        rng = np.random.default_rng([seed, 0])
        self.weights: Array = rng.integers(*s.initial, (s.neurons, PIXELS), dtype=np.int64)
        self.raised: Array = np.zeros(s.neurons, np.int64)

    @property
    def chunks_per_epoch(self) -> int:
        """Chunks in which every training sample is shown once; the last may be shorter."""
        return -(-len(self.data.train_labels) // self.settings.chunk)

    def train_chunk(self) -> Progress:
        """Show the next chunk of training samples; every pass over them has an order of its own."""
        turn, place = divmod(self.chunk, self.chunks_per_epoch)
        order = np.random.default_rng([self.seed, 1, turn]).permutation(len(self.data.train_labels))
        size = self.settings.chunk
        return self.train(order[place * size : (place + 1) * size])

    def train(self, samples: Array) -> Progress:
        """Show these training samples, one after the other, as the next chunk.

        Args:
            samples: their numbers, ``[samples]``.
        """
        s = self.settings
        given = self.inputs(samples)
        found = Simulator(self.program(learning=True), threads=1).run(given)
        self.weights = found.learned["learns"]["weights"][-1, 0].astype(np.int64)
        fired = np.bincount(found.spikes["neurons"].neuron, minlength=s.neurons)
        self.raised = np.maximum(self.raised + s.jump * fired - s.fade * len(samples), s.lowest)
        self.chunk += 1
        counts = found.learning_work["learns"].sum(axis=(0, 1, 3))
        work = {name: int(count) for name, count in zip(LEARNING_WORK, counts, strict=True)}
        events = sum(int(np.count_nonzero(value)) for value in given.values())
        return Progress(len(samples), found.steps, events, int(fired.sum()), work)

    def inputs(self, samples: Array) -> dict[str, Array]:
        """What these training samples are for the network, one after the other: ``[steps, 1, neurons]``."""
        given = {"pixels": _in_a_row(self._encoded(self.data.train_images[samples]))}
        if self.settings.factors == 3:
            given["reward"] = _in_a_row(self._rewards(self.data.train_labels[samples]))
        return given

    def program(self, learning: bool) -> Program:
        """The network as it is now, on one core; with its rule, or frozen.

        A synapse that does not learn holds even weights where both signs occur (`loihi_ranges.effective_weights`).
        """
        s = self.settings
        none, all_of_it, leak, jump = (
            np.full(s.neurons, value, np.int32) for value in (0, 4095, s.leak, s.jump * UNIT)
        )
        neuron = Lif(
            du=all_of_it, dv=leak, bias=none, threshold=((s.threshold + self.raised) * UNIT).astype(np.int32),
            reset_to=none, initial=none, threshold_decay=none if learning else None,
            threshold_jump=jump if learning else None,
        )  # fmt: skip
        others = -s.inhibition * (1 - np.eye(s.neurons, dtype=np.int16))
        populations = [Population("pixels", (PIXELS,), Source()), Population("neurons", (s.neurons,), neuron)]
        weights = self.weights.astype(np.int16) if learning else effective_weights(self.weights)
        odd = int((weights != self.weights).sum())
        notes = (
            {"frozen": f"{odd:,} of {weights.size:,} learned weights rounded down by 1, to even ones"} if odd else {}
        )
        projections = [
            Projection("learns", "pixels", "neurons", Dense(weights), rule=self._rule(learning)),
            Projection("inhibits", "neurons", "neurons", Dense(others.astype(np.int16), INHIBITION_EXPONENT), delay=1),
        ]
        if learning and s.factors == 3:
            populations.insert(1, Population("reward", (s.neurons,), Source(payload_bits=8)))
            one_each = Dense(np.eye(s.neurons, dtype=np.int16))
            projections.append(Projection("rewards", "reward", "neurons", one_each, port=1))
        network = Network("digits", tuple(populations), tuple(projections), ("neurons",), 1e-3, "loihi", notes)
        return Program(network, "loihi1", {"neurons": np.zeros(s.neurons, np.int32)})

    def _rule(self, learning: bool) -> LearningRule | None:
        s = self.settings
        if not learning:
            return None
        # Of all traces, x1 alone is used: a pixel that spikes in every step keeps it at its limit of 127.
        seed = int(np.random.default_rng([self.seed, 2, self.chunk]).integers(1 << 31))
        return LearningRule(
            s.dw, dt=s.dt, x1=Trace(12, 10), epoch=s.epoch, factors=3 if s.factors == 3 else 2, seed=seed
        )

    def _encoded(self, images: Array) -> Array:
        """Spikes and pause, uint8 ``[steps, samples, pixels]``."""
        s = self.settings
        shown = digits.rate(images, s.shown).reshape(s.shown, len(images), PIXELS)
        return np.concatenate([shown, np.zeros((s.pause, len(images), PIXELS), np.uint8)])

    def _rewards(self, labels: Array) -> Array:
        """What arrives at port 1, ``[steps, samples, neurons]``."""
        s = self.settings
        right = np.arange(s.neurons) % digits.CLASSES == labels[:, None]
        rewards = np.zeros((s.steps, len(labels), s.neurons), np.int64)
        rewards[s.shown : s.shown + s.epoch] = np.where(right, s.reward, -s.punishment)
        return rewards

    def responses(self, images: Array) -> Array:
        """Spikes of each neuron for each image, nothing being learned: ``[samples, neurons]``."""
        found: Recording = Simulator(self.program(learning=False)).run({"pixels": self._encoded(images)})
        events = found.spikes["neurons"]
        cells = events.sample.astype(np.int64) * events.neurons + events.neuron
        counts = np.bincount(cells, minlength=len(images) * events.neurons)
        responses: Array = counts.reshape(len(images), events.neurons)
        return responses

    def classes(self) -> Array:
        """The class of each neuron, ``[neurons]``: its own with a reward, else the one to which it responds most."""
        s = self.settings
        if s.factors == 3:
            return np.arange(s.neurons) % digits.CLASSES
        found, labels = self.responses(self.data.train_images), self.data.train_labels
        classes: Array = np.stack([found[labels == c].mean(axis=0) for c in range(digits.CLASSES)]).argmax(axis=0)
        return classes

    def predict(self, images: Array) -> Array:
        """The class of each image, ``[samples]``; see `decisions`."""
        return self.decisions(images).predicted

    def decisions(self, images: Array) -> Decisions:
        """The class of each image: that with the largest mean response of its neurons.

        Which class a neuron has is found on the training set (labels are used for that alone).
        """
        found, classes = self.responses(images), self.classes()
        means = np.zeros((len(images), digits.CLASSES))
        for c in np.unique(classes):
            means[:, c] = found[:, classes == c].mean(axis=1)
        return decided(means, found.sum(axis=1) == 0)

    def accuracy(self) -> float:
        """Part of the test set that is told right, 0 to 1."""
        return float((self.predict(self.data.test_images) == self.data.test_labels).mean())

    def state(self) -> dict[str, Array]:
        """What must be kept to go on later: copies of the weights, the thresholds' rise, and the number of chunks."""
        return {"weights": self.weights.copy(), "raised": self.raised.copy(), "chunk": np.array(self.chunk)}

    def restore(self, state: Mapping[str, Array]) -> None:
        """Go on from a state of an object with the same rule, seed and settings.

        Raises:
            InvalidInputError: it is not such a state.
        """
        for name, value in self.state().items():
            found = state.get(name)
            if found is None or found.shape != value.shape:
                raise InvalidInputError(
                    f"this is no state of the task {self.rule!r}: {name} does not fit",
                    found="nothing" if found is None else list(found.shape),
                    allowed=list(value.shape),
                )
        self.weights, self.raised = state["weights"].astype(np.int64), state["raised"].astype(np.int64)
        self.chunk = int(state["chunk"])


def _in_a_row(samples: Array) -> Array:
    """From ``[steps, samples, neurons]`` to one sample after the other, ``[steps * samples, 1, neurons]``."""
    steps, count, neurons = samples.shape
    return np.ascontiguousarray(samples.transpose(1, 0, 2)).reshape(steps * count, 1, neurons)
