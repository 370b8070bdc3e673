"""What a random program is made of, before it is written in a style."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

Shape = tuple[int, ...]
"""Of one sample in one step: ``(features,)``, ``(channels, length)`` or ``(channels, height, width)``."""


def indented(lines: list[str], depth: int = 1) -> list[str]:
    return [f"{'    ' * depth}{line}" for line in lines]


@dataclass
class Part:
    """A layer without state.

    Args:
        code: what it computes of ``{h}``.
        shape: of a sample behind it.
        attr: of the module, where it is one.
        make: the module's constructor.
        folds: takes exactly ``[batch, *shape]``, so time must be folded into the batch.
        gain: the attribute whose weight may be multiplied.
        setup: further lines of ``__init__``.
        trap: changes what a step means.
    """

    kind: str
    code: str
    shape: Shape
    attr: str = ""
    make: str = ""
    folds: bool = False
    gain: str = ""
    setup: list[str] = field(default_factory=list)
    trap: bool = False


@dataclass
class Neuron:
    """A layer of neurons.

    Args:
        states: names of the states that are handed in by hand, without the layer's number.
        init: expression of the first states, ``{n}`` is the module.
        membrane: expression of its potential after the call; ``{n}`` the module, ``{s}`` the first state.
        weights: attribute of the weights that it holds itself, before which no linear layer stands.
        pair: returns its states with its output.
        sequence: takes a whole sequence.
        zeros: its first states are given as zeros.
        shared: is the module of another layer.
    """

    kind: str
    make: str
    attr: str
    shape: Shape
    states: tuple[str, ...] = ()
    init: str = "None"
    membrane: str = ""
    weights: str = ""
    pair: bool = False
    sequence: bool = False
    spiking: bool = True
    zeros: bool = False
    shared: bool = False


@dataclass
class Layer:
    """Linear parts and the neurons behind them.

    Args:
        join: how the output of an earlier layer joins this one's (``add``, ``cat``), and which.
        back: a layer whose spikes of an earlier step come in, how late, and the module in between.
        late: steps by which the input is delayed.
        before, after: lines of a step around the call.
        call: the neuron's call where it is not the usual one.
        current: what becomes of ``{h}`` before the neuron.
    """

    number: int
    parts: list[Part]
    neuron: Neuron
    join: tuple[str, int] | None = None
    back: tuple[int, int, str] | None = None
    late: int = 0
    before: list[str] = field(default_factory=list)
    after: list[str] = field(default_factory=list)
    call: str = ""
    current: str = "{h}"

    @property
    def spikes(self) -> str:
        return f"spk{self.number}"

    @property
    def out(self) -> str:
        return f"h{self.number}" if self.join else self.spikes


@dataclass
class Plan:
    """A network and how it is to be written.

    Args:
        time: where time lies, as ``--time-axis`` says it.
        form: ``loop`` (in forward), ``method`` (a helper for a step), ``layers`` (each over the whole sequence),
            ``inside`` (a Sequential called in a loop), ``root`` (a Sequential by itself).
        store: where states by hand are kept: ``local``, ``list``, ``dict`` or ``self``.
        mode: ``step``, or what a whole sequence looks like inside: ``TB``, ``BT`` or ``flat``.
        hidden: snnTorch's layers keep their states by themselves.
        nested: a Sequential holds one for each layer.
        blocks: layers and neurons stand in two ModuleLists, which each step goes through.
        head: parts behind the last neurons.
        traces: what is read out, in which way.
        source: what becomes of the sequence ``{x}``, time first, before it is stepped through.
        encoder: expression of the sequence made of a static sample at random.
        counted: a line of a step asks for its number.
        first, last: lines at the beginning and the end of each step.
        start: lines in front of the loop.
    """

    rng: random.Random
    seed: int
    framework: str
    time: str
    steps: int
    batch: int
    shape: Shape
    form: str = "loop"
    store: str = "local"
    mode: str = "step"
    order: str = "TB"
    values: str = "spikes"
    hidden: bool = False
    nested: bool = False
    blocks: bool = False
    layers: list[Layer] = field(default_factory=list)
    head: list[Part] = field(default_factory=list)
    traces: list[Trace] = field(default_factory=list)
    returns: str = "plain"
    setup: list[str] = field(default_factory=list)
    imports: set[str] = field(default_factory=set)
    classes: list[str] = field(default_factory=list)
    kinds: set[str] = field(default_factory=set)
    gains: dict[str, float] = field(default_factory=dict)
    source: str = "{x}"
    first: list[str] = field(default_factory=list)
    last: list[str] = field(default_factory=list)
    start: list[str] = field(default_factory=list)
    finish: str = "{y}"
    encoder: str = ""
    counted: bool = False
    trap: bool = False
    random: bool = False
    names: dict[str, int] = field(default_factory=dict)

    def name(self, stem: str) -> str:
        """A new attribute: fc1, fc2, conv1."""
        self.names[stem] = self.names.get(stem, 0) + 1
        return f"{stem}{self.names[stem]}"

    def held(self, name: str) -> str:
        """Where something is kept from step to step."""
        if self.store == "self":
            return f"self.{name}"
        if self.store == "dict":
            return f'state["{name}"]'
        if self.store == "list":
            known = [f"{s}{layer.number}" for layer in self.layers for s in layer.neuron.states]
            if name in known:
                return f"states[{known.index(name)}]"
        return name

    def states(self, layer: Layer) -> list[str]:
        return [self.held(f"{state}{layer.number}") for state in layer.neuron.states]

    def chance(self, share: float) -> bool:
        return self.rng.random() < share


@dataclass
class Trace:
    """Something that is read out.

    Args:
        what: ``spikes``, ``membrane``, ``head`` or ``hidden``.
        value: its expression in a step, or over the sequence.
        how: ``stack``, ``stack1``, ``assign``, ``cat``, ``sum``, ``mean``, ``max`` or ``last``.
        post: what becomes of the result ``{y}``.
    """

    what: str
    value: str
    how: str
    shape: Shape
    post: str = "{y}"
