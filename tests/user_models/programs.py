"""Random programs: a spiking network as somebody may have written it, from a seed."""

from __future__ import annotations

import random
from dataclasses import dataclass

from . import forms, neurons, parts, reads, sequences
from .calibrate import calibrated
from .oddities import ODDITIES
from .plan import Layer, Part, Plan, Shape
from .traps import TRAPS
from .twists import Twist

FRAMEWORKS = ("snntorch", "spikingjelly", "norse", "sinabs")

TIMES = ("none", "0", "1", "-1", "flat", "step")

FORMS = {
    "snntorch": ("loop",) * 5 + ("method", "layers", "inside", "root"),
    "norse": ("loop",) * 4 + ("method", "layers", "layers", "inside", "root", "root"),
    "spikingjelly": ("loop",) * 2 + ("method", "layers", "layers", "layers", "inside", "root", "root"),
    "sinabs": ("layers", "layers", "layers", "root", "root", "loop"),
}


ENCODERS = {
    "norse": ("self.encoder(x)", "self.encoder = snn.PoissonEncoder(seq_length=STEPS, f_max=400)", ""),
    "snntorch": ("spikegen.rate(x, num_steps=STEPS)", "", "from snntorch import spikegen"),
    "spikingjelly": (
        "torch.stack([self.encoder(x) for _ in range(STEPS)])", "self.encoder = encoding.PoissonEncoder()",
        "from spikingjelly.activation_based import encoding",
    ),
}  # fmt: skip
"""A random spike train of a static sample: its expression, a line of ``__init__``, an import."""

WEIGHTS = dict.fromkeys(
    ("membrane clamped", "states anew in the step", "states anew now and then", "another layer's state",
     "states not zero at first", "membrane handed on", "product of spikes", "counter", "called twice a step",
     "one neuron, one state, two places", "weights of the step", "time mixed between", "first steps dropped",
     "stopped early", "summed up between", "shared layer", "one neuron, two states", "states as zeros",
     "delay by shifting", "maximum pooling"), 4,
)  # fmt: skip
"""How much likelier a twist is that fits few programs."""


@dataclass(frozen=True)
class Program:
    """A random program.

    Args:
        source: of a file with ``FRAMEWORK``, ``TIME``, ``STEPS``, ``BATCH``, ``model()``, ``sample()`` and
            ``answer(net, x)``, the list of what forward returns (one step a call: stacked over time).
        kinds: what it is made of.
        trap: changes what a step means: it must be refused, or exact.
        random: does not even give its own answer twice.
        order: of batch and time where they are one dimension, ``TB`` or ``BT``.
    """

    seed: int
    source: str
    framework: str
    time: str
    kinds: frozenset[str]
    trap: bool
    random: bool
    order: str


def program(seed: int) -> Program:
    """The program of a seed."""
    rng = random.Random(seed)
    framework = FRAMEWORKS[seed % len(FRAMEWORKS)]
    time = rng.choice(("none", "0", "0", "1", "1", "-1", "flat", "step", "step"))
    form = rng.choice(FORMS[framework])
    if time == "step" and form in ("method", "layers"):
        form = "loop"
    if time == "step" and form == "inside":
        form = "root"
    if form == "root":
        time = _time_of_root(rng, framework, time)
    batch = rng.choice((2, 3))
    plan = Plan(rng, seed, framework, time, rng.choice((5, 6, 7, 8, 10)), batch, _shape(rng), form)
    _style(plan)
    _network(plan)
    wanted = rng.random()
    if wanted < 0.25 and not (parts.modules_only(plan) and plan.chance(0.5)):
        _twist(plan, TRAPS, trap=True)
    elif 0.25 <= wanted < 0.5:
        _twist(plan, ODDITIES, trap=False)
    _grouped(plan)
    source = calibrated(plan, _written(plan))
    return Program(seed, source, framework, time, frozenset(plan.kinds), plan.trap, plan.random, plan.order)


def _time_of_root(rng: random.Random, framework: str, time: str) -> str:
    """A Sequential by itself takes what its layers take."""
    if framework == "snntorch":
        return "step"
    if framework == "sinabs":
        return rng.choice(("flat", "flat", "1", "1", "step"))
    return rng.choice(("0", "0", "step"))


def _shape(rng: random.Random) -> Shape:
    return rng.choice(
        [(rng.randint(6, 12),)] * 4 + [(rng.choice((1, 2)), 6, 6), (2, 8, 8), (1, 5, 6), (2, rng.choice((6, 8)))]
    )


def _style(plan: Plan) -> None:
    """How states are kept, what a sequence looks like inside, and what the sample holds."""
    rng, framework, time = plan.rng, plan.framework, plan.time
    plan.kinds |= {f"framework {framework}", f"time {time}", f"form {plan.form}"}
    plan.hidden = framework == "snntorch" and (plan.form in ("inside", "root") or plan.chance(0.25))
    whole = plan.form == "layers" or (plan.form == "root" and time != "step")
    if whole:
        plan.mode = "TB"
        if framework == "sinabs":
            folded = plan.form == "layers" and time in ("1", "none") and plan.chance(0.4)
            plan.mode = "flat" if time == "flat" or folded else "BT"
    sinabs = framework == "sinabs"
    plan.order = "BT" if sinabs or plan.chance(0.4) else "TB"
    if plan.form == "method" or (time == "step" and plan.form == "loop"):
        plan.store = "self"
    elif plan.form == "loop":
        plan.store = rng.choice(("local", "local", "local", "list", "dict"))
    if time == "step" and plan.form == "loop" and framework == "norse" and plan.chance(0.5):
        plan.store = "local"
        plan.kinds.add("states returned")
    plan.values = rng.choice(("spikes",) * 6 + ("counts", "values"))
    if plan.form not in ("root",) and time != "step" and plan.chance(0.08):
        plan.values = "uint8"
        plan.kinds.add("sample uint8")
    if time == "none":
        plan.values = "values"
        if framework in ENCODERS and plan.form != "root" and plan.chance(0.3):
            plan.kinds.add("encoder")
            plan.encoder, setup, imports = ENCODERS[framework]
            plan.setup += [setup] if setup else []
            plan.imports |= {imports} if imports else set()
    if framework != "norse" and plan.chance(0.5) and plan.form in ("loop", "layers", "inside"):
        plan.kinds.add("reset in forward")


def _network(plan: Plan) -> None:
    """Layers, what joins them, and what is read out."""
    rng, shape = plan.rng, plan.shape
    count = rng.choice((1, 2, 2, 2, 3, 3))
    ending = rng.choice(("spikes", "spikes", "spikes", "read-out", "analogue", "pool"))
    if ending == "pool" and len(shape) != 3:
        ending = "analogue"
    if plan.framework == "spikingjelly" and ending == "read-out":
        ending = "vote" if plan.chance(0.5) else "spikes"
    modules = parts.modules_only(plan)
    for number in range(1, count + 1):
        last = number == count
        flat = len(shape) == 1 or (last and ending != "pool" and (plan.chance(0.85) or ending == "vote"))
        size = rng.choice((4, 6, 8, 10)) if flat else None
        read = last and ending == "read-out" and plan.framework != "spikingjelly" and count > 1
        front = parts.in_front(plan, shape, number == 1)
        inner = front[-1].shape if front else shape
        found = front + parts.weights(plan, inner, size)
        shape = found[-1].shape
        made = neurons.MAKERS[plan.framework](plan, shape, last and ending in ("spikes", "read-out"), read)
        if made.weights:
            plan.gains[made.weights] = 1.0
        for part in found:
            if part.gain:
                plan.gains[part.gain] = 1.0
        layer = Layer(number, found, made)
        plan.layers.append(layer)
        if not modules and made.spiking:
            _joined(plan, layer)
        shape = forms.shape_out(plan, layer)
        if read:
            plan.kinds.add("read-out layer")
    if not modules and plan.mode == "step" and "states returned" not in plan.kinds:
        _recurrence(plan)
    if ending == "vote" and len(shape) == 1 and shape[0] % 2 == 0:
        attr = plan.name("vote")
        plan.head = [Part("voting layer", f"self.{attr}({{h}})", (shape[0] // 2,), attr, "layer.VotingLayer(2)",
                          folds=True)]  # fmt: skip
    if ending in ("analogue", "pool") and plan.layers[-1].neuron.spiking:
        _analogue(plan, shape, ending)
    reads.choose(plan)
    if modules:
        del plan.traces[1:]
        if plan.returns != "dict" or plan.form == "root":
            plan.returns = "plain"
        plan.traces[0].value = "out"


def _joined(plan: Plan, layer: Layer) -> None:
    """Residual sums and channels side by side."""
    for other in plan.layers[:-1]:
        one, two = layer.neuron.shape, other.neuron.shape
        if one == two and plan.chance(0.35):
            layer.join = ("add", other.number)
            plan.kinds.add("join add")
        elif one[1:] == two[1:] and plan.chance(0.15):
            layer.join = ("cat", other.number)
            plan.kinds.add("join concatenation")
    if layer.join:
        return


def _recurrence(plan: Plan) -> None:
    """Spikes that return by hand, and delays."""
    for layer in plan.layers:
        if len(layer.neuron.shape) == 1 and layer.neuron.spiking and plan.chance(0.1) and not layer.back:
            later = [other for other in plan.layers[layer.number - 1 :] if len(other.neuron.shape) == 1]
            source = plan.rng.choice([other for other in later if other.neuron.spiking])
            attr = plan.name("back")
            size = layer.neuron.shape[0]
            plan.setup.append(f"self.{attr} = nn.Linear({source.neuron.shape[0]}, {size}, bias=False)")
            layer.back = (source.number, plan.rng.choice((1, 1, 2, 3)), attr)
            plan.kinds.add("recurrent by hand" if layer.back[1] == 1 else "recurrent delayed by hand")
        elif plan.chance(0.05):
            layer.late = plan.rng.choice((1, 2, 3))
            plan.kinds.add("delay by hand")


def _analogue(plan: Plan, shape: Shape, ending: str) -> None:
    plan.kinds.add(f"read-out {ending} without neurons")
    if ending == "pool" and len(shape) == 3:
        plan.head = [parts.adaptive(plan, shape)]
        plan.head.append(parts.flatten(plan, plan.head[-1].shape))
        return
    if len(shape) > 1:
        plan.head.append(parts.flatten(plan, shape))
    plan.head.append(parts.linear(plan, plan.head[-1].shape if plan.head else shape, plan.rng.choice((4, 6))))


def _grouped(plan: Plan) -> None:
    """Layers in containers: a Sequential for each, or two ModuleLists that a step goes through."""
    if plan.form == "root" and plan.framework in ("spikingjelly", "sinabs") and plan.mode in ("step", "flat"):
        plan.nested = plan.chance(0.3)
        plan.kinds |= {"form nested"} if plan.nested else set()
    if plan.form != "loop" or plan.mode != "step" or plan.trap:
        return
    alone = all(
        not (layer.join or layer.back or layer.late or layer.before or layer.after or layer.neuron.shared)
        and len(layer.neuron.states) < 2 and layer.parts and all(part.make for part in layer.parts)
        and layer.current == "{h}" and all(part.code == f"self.{part.attr}({{h}})" for part in layer.parts)
        for layer in plan.layers
    )  # fmt: skip
    hidden = any(trace.what == "hidden" for trace in plan.traces)
    if alone and not hidden and plan.framework != "sinabs" and plan.time != "step" and plan.chance(0.4):
        plan.blocks, plan.store = True, "list"
        plan.kinds.add("form ModuleList")
        for number, layer in enumerate(plan.layers):
            for place, part in enumerate(layer.parts):
                sequences.renamed(plan, part, f"blocks[{number}][{place}]")
            sequences.renamed(plan, layer.neuron, f"nodes[{number}]")
        for trace in plan.traces:
            if trace.what == "membrane" and plan.layers[-1].neuron.spiking:
                trace.value = reads.membrane(plan)


def _twist(plan: Plan, twists: dict[str, Twist], trap: bool) -> None:
    """Apply one of those that fit."""
    for name in sorted(twists, key=lambda name: plan.rng.random() ** (1 / WEIGHTS.get(name, 1)), reverse=True):
        if twists[name](plan):
            plan.kinds.add(f"{'trap' if trap else 'oddity'} {name}")
            plan.trap = trap
            return


def _written(plan: Plan) -> str:
    """The program's source, with a place for the gains."""
    from .write import write

    for layer in plan.layers:
        plan.kinds.add(f"neuron {layer.neuron.kind}")
        plan.kinds |= {f"part {part.kind}" for part in layer.parts}
    plan.kinds |= {f"part {part.kind}" for part in plan.head}
    if plan.mode != "step":
        how = sequences.wrapping(plan)
        for layer in plan.layers:
            layer.parts = sequences.wrapped(plan, layer.parts, how)
        plan.head = sequences.wrapped(plan, plan.head, how)
        plan.kinds.add(f"layers over time {how}")
        if how == "layer":
            plan.setup.append('functional.set_step_mode(self, "m")')
            for layer in plan.layers:
                layer.neuron.sequence = True
        elif plan.framework == "spikingjelly":
            _multi_step(plan)
    looped = plan.form == "loop" and plan.mode == "step" and not plan.blocks
    if looped and plan.time not in ("none", "step") and plan.chance(0.12):
        first = plan.layers[0]
        if not any(".view(" in part.code for part in first.parts) and not first.late:
            plan.kinds.add("loop first layer outside")
    for trace in plan.traces:
        plan.kinds |= {f"read-out {trace.what}", f"read-out {trace.how}"}
    if len(plan.traces) > 1 or plan.returns == "dict":
        plan.kinds.add(f"returns {plan.returns if len(plan.traces) == 1 else 'several'}")
    return write(plan)


def _multi_step(plan: Plan) -> None:
    """Neurons of SpikingJelly that do not take whole sequences by themselves."""
    for layer in plan.layers:
        if not layer.neuron.sequence and (plan.form == "root" or plan.chance(0.4)):
            layer.neuron.make = f"layer.MultiStepContainer({layer.neuron.make})"
            layer.neuron.sequence = True
            plan.kinds.add("layers MultiStepContainer")
