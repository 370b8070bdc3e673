"""What people do that changes what a step means: it must be refused, or exact."""

from __future__ import annotations

from . import parts
from .plan import Part, Plan
from .twists import Twist, by_hand, listed, membrane, pairs, share_neuron, spiking, stepped, written

TRAPS: dict[str, Twist] = {}


@listed(TRAPS, "membrane clamped")
def _clamped(plan: Plan) -> bool:
    found = [layer for layer in by_hand(plan) if plan.framework == "snntorch"]
    if found:
        layer = plan.rng.choice(found)
        mem = plan.states(layer)[-1]
        way = plan.rng.choice(["{m}.clamp(min=0)", "torch.relu({m})", "{m}.clamp(-0.3, 0.3)", "{m} * 0.9"])
        layer.after.append(f"{mem} = {way.format(m=mem)}")
        return True
    if plan.framework == "norse" and by_hand(plan):
        layer = plan.rng.choice(by_hand(plan))
        state = plan.states(layer)[0]
        layer.after.append(f"{state} = {state}._replace(v={state}.v.clamp(min=0))")
        return True
    if plan.framework == "spikingjelly" and stepped(plan):
        layer = plan.rng.choice(plan.layers)
        if layer.neuron.membrane:
            module = f"self.{layer.neuron.attr}"
            layer.after.append(f"{module}.v = {module}.v.clamp(min=0.0)")
            return True
    return False


@listed(TRAPS, "states anew in the step")
def _anew(plan: Plan) -> bool:
    if plan.framework == "snntorch" and by_hand(plan):
        layer = plan.rng.choice(by_hand(plan))
        layer.before.append(
            f"{', '.join(plan.states(layer))} = {layer.neuron.init.format(n=f'self.{layer.neuron.attr}')}"
        )
        return True
    if plan.framework == "norse" and by_hand(plan):
        layer = plan.rng.choice(by_hand(plan))
        layer.call = plan.rng.choice(["{out}, _ = {n}({h})", "{out}, _ = {n}({h}, None)"])
        if any(layer.neuron.membrane.format(n="", s=s) in t.value for s in plan.states(layer) for t in plan.traces):
            layer.call = f"{{out}}, {plan.states(layer)[0]} = {{n}}({{h}})"
        return True
    if not stepped(plan):
        return False
    resets = {"snntorch": "utils.reset(self)", "spikingjelly": "functional.reset_net(self)",
              "sinabs": "sinabs.reset_states(self)"}  # fmt: skip
    plan.first.append(resets[plan.framework])
    return True


@listed(TRAPS, "states anew now and then")
def _sometimes(plan: Plan) -> bool:
    if plan.form != "loop" or plan.time == "step" or plan.framework != "snntorch" or not by_hand(plan):
        return False
    layer = plan.rng.choice(by_hand(plan))
    plan.counted = True
    start = layer.neuron.init.format(n=f"self.{layer.neuron.attr}")
    layer.before += ["if STEP_NUMBER % 3 == 0:", f"    {', '.join(plan.states(layer))} = {start}"]
    return True


@listed(TRAPS, "another layer's state")
def _foreign(plan: Plan) -> bool:
    found = [(a, b) for a, b in pairs(plan) if a.neuron.kind == b.neuron.kind and a in by_hand(plan)]
    if not found:
        return False
    first, second = plan.rng.choice(found)
    one, two = plan.states(first)[-1], plan.states(second)[-1]
    first.before.append(plan.rng.choice([f"{one}, {two} = {two}, {one}", f"{two} = {one}"]))
    return True


@listed(TRAPS, "states not zero at first")
def _started(plan: Plan) -> bool:
    found = [layer for layer in by_hand(plan) if plan.framework == "snntorch"]
    if plan.form != "loop" or plan.time == "step" or not found:
        return False
    layer = plan.rng.choice(found)
    sides = ", ".join(map(str, layer.neuron.shape))
    plan.start.append(f"{plan.states(layer)[-1]} = torch.full((BATCH, {sides}), 0.4)")
    return True


@listed(TRAPS, "membrane handed on")
def _analogue(plan: Plan) -> bool:
    found = [layer for layer in spiking(plan) if layer.neuron.membrane and stepped(plan)]
    if not found:
        return False
    layer = plan.rng.choice(found)
    way = plan.rng.choice(["{m}", "{s} * {m}", "{s} + {m}"])
    layer.after.append(f"{layer.spikes} = {way.format(m=membrane(plan, layer), s=layer.spikes)}")
    return True


@listed(TRAPS, "product of spikes")
def _product(plan: Plan) -> bool:
    found = [(a, b) for a, b in pairs(plan) if written(plan)]
    if not found:
        return False
    first, second = plan.rng.choice(found)
    way = plan.rng.choice(["{b} * {a}", "{b} * (1 - {a})", "torch.maximum({a}, {b})"])
    second.after.append(f"{second.spikes} = {way.format(a=first.spikes, b=second.spikes)}")
    return True


CURRENTS = {
    "soft-max between": "torch.softmax({h}, dim=-1)",
    "normalised between": "torch.nn.functional.layer_norm({h}, {h}.shape[-1:])",
    "rectified between": "torch.relu({h})",
    "squashed between": "torch.tanh({h})",
    "rounded": "(({h} * 4).round() / 4)",
    "clamped current": "{h}.clamp(-1, 1)",
    "absolute": "{h}.abs()",
    "squared": "({h} * {h})",
    "mixed over samples": "({h} - {h}.mean(0, keepdim=True))",
    "by an item": "({h} * (1 + float({h}.mean())))",
    "divided by its largest": "({h} / {h}.abs().max().clamp(min=0.1))",
    "strongest alone": "({h} * ({h} >= {h}.amax(-1, keepdim=True)))",
}
"""What becomes of a current, as an expression."""

RANDOM = {
    "noise": "({h} + 0.3 * torch.randn_like({h}))",
    "dropout while running": "torch.nn.functional.dropout({h}, 0.3, training=True)",
    "random number": "({h} * random.uniform(0.5, 1.5))",
}


def _current(expression: str, drawn: bool) -> Twist:
    def twist(plan: Plan) -> bool:
        found = [layer for layer in plan.layers if layer.parts]
        if not written(plan) or not found:
            return False
        plan.rng.choice(found).current = expression
        if "random." in expression:
            plan.imports.add("import random")
        plan.random = drawn
        return True

    return twist


for _name, _expression in CURRENTS.items():
    TRAPS[_name] = _current(_expression, drawn=False)
for _name, _expression in RANDOM.items():
    TRAPS[_name] = _current(_expression, drawn=True)


@listed(TRAPS, "module between")
def _module(plan: Plan) -> bool:
    """A module that no synapse computes."""
    if not parts.modules_only(plan):
        return False
    layer = plan.rng.choice(plan.layers)
    shape, attr = layer.neuron.shape, plan.name("odd")
    ways = ["nn.ReLU()", "nn.Tanh()", "nn.Softmax(dim=-1)", "nn.LeakyReLU(0.3)", "nn.Hardtanh()"]
    if len(shape) == 3:
        ways += ["nn.MaxPool2d(3, 1, 1)", f"nn.GroupNorm(1, {shape[0]})"]
    if len(shape) == 1:
        ways.append(f"nn.LayerNorm({shape[0]})")
    layer.parts.append(Part("trap", f"self.{attr}({{h}})", shape, attr, plan.rng.choice(ways), folds=len(shape) == 3))
    return True


@listed(TRAPS, "maximum pooling")
def _pooled(plan: Plan) -> bool:
    found = [layer for layer in plan.layers if len(layer.neuron.shape) == 3 and layer.parts]
    if not stepped(plan) or not found:
        return False
    plan.rng.choice(found).current = "torch.nn.functional.max_pool2d({h}, 3, 1, 1)"
    return True


@listed(TRAPS, "flow by data")
def _flow(plan: Plan) -> bool:
    if not written(plan) or not spiking(plan):
        return False
    layer = plan.rng.choice(spiking(plan))
    s = layer.spikes
    layer.after += plan.rng.choice(
        [[f"if {s}.sum() > 2:", f"    {s} = {s} * 0.5"],
         [f"if float({s}.mean()) < 0.2:", f"    {s} = torch.ones_like({s})"],
         [f"{s} = {s} if bool({s}.any()) else {s} + 1"]]
    )  # fmt: skip
    return True


@listed(TRAPS, "condition on values")
def _where(plan: Plan) -> bool:
    found = [layer for layer in spiking(plan) if layer.parts]
    if not written(plan) or not found:
        return False
    layer = plan.rng.choice(found)
    s = layer.spikes
    layer.after.append(f"{s} = torch.where(cur{layer.number} > 0.5, {s}, torch.zeros_like({s}))")
    return True


@listed(TRAPS, "weights of the step")
def _weights_in_time(plan: Plan) -> bool:
    found = [layer for layer in plan.layers if layer.parts]
    if plan.form != "loop" or plan.time == "step" or not found:
        return False
    layer = plan.rng.choice(found)
    plan.counted = True
    if len(layer.neuron.shape) == 1 and plan.chance(0.5):
        plan.setup.append(f"self.bns = nn.ModuleList([nn.BatchNorm1d({layer.neuron.shape[0]}) for _ in range(STEPS)])")
        layer.current = "self.bns[STEP_NUMBER]({h})"
        plan.kinds.add("part norm")
    else:
        plan.setup.append("self.gain = nn.Parameter(torch.rand(STEPS) + 0.5)")
        layer.current = "({h} * self.gain[STEP_NUMBER])"
    return True


@listed(TRAPS, "counter")
def _counter(plan: Plan) -> bool:
    found = [layer for layer in plan.layers if layer.parts]
    if not stepped(plan) or not found:
        return False
    plan.setup.append("self.calls = 0")
    plan.first.append("self.calls += 1")
    plan.rng.choice(found).current = "({h} * (1 + self.calls % 3))"
    plan.random = True
    return True


@listed(TRAPS, "weights that change")
def _plastic(plan: Plan) -> bool:
    found = [part for layer in plan.layers for part in layer.parts if part.gain]
    if not stepped(plan) or not found:
        return False
    plan.last.append(f"self.{plan.rng.choice(found).attr}.weight.data.mul_(0.9)")
    plan.random = True
    return True


SOURCES = {
    "time reversed": "{x}.flip(0)",
    "time rolled": "{x}.roll(1, 0)",
    "summed over time": "{x}.cumsum(0)",
    "differences in time": "({x} - {x}.roll(1, 0))",
    "mean over time taken off": "({x} - {x}.mean(0, keepdim=True))",
    "sorted in time": "{x}.sort(0).values",
    "step used twice": "{x}[[0] + list(range(len({x}) - 1))]",
}
"""What becomes of the sequence before it is stepped through."""


def _source(expression: str) -> Twist:
    def twist(plan: Plan) -> bool:
        if (
            plan.time in ("step", "none")
            or not written(plan)
            or plan.mode not in ("step", "TB")
            or plan.values == "uint8"
        ):
            return False
        plan.source = expression
        return True

    return twist


for _name, _expression in SOURCES.items():
    TRAPS[_name] = _source(_expression)


@listed(TRAPS, "time mixed between")
def _mixed(plan: Plan) -> bool:
    if plan.form != "layers" or plan.mode not in ("TB", "BT") or not spiking(plan):
        return False
    layer, axis = plan.rng.choice(spiking(plan)), 0 if plan.mode == "TB" else 1
    s = layer.spikes
    way = plan.rng.choice(
        ["{s}.flip({a})", "{s}.cumsum({a})", "({s} - {s}.mean({a}, keepdim=True))", "{s}.roll(1, {a})",
         "{s}.sort({a}).values", "({s} * torch.linspace(0.5, 1.5, STEPS).view({v}))"]
    )  # fmt: skip
    view = ["1"] * (len(layer.neuron.shape) + 2)
    view[axis] = "-1"
    layer.after.append(f"{s} = {way.format(s=s, a=axis, v=', '.join(view))}")
    return True


@listed(TRAPS, "first steps dropped")
def _burnt(plan: Plan) -> bool:
    kept = all(trace.how in ("stack", "cat", "assign") for trace in plan.traces) and not parts.modules_only(plan)
    if plan.time == "step" or not kept or plan.mode not in ("step", "TB"):
        return False
    plan.finish = plan.rng.choice(["{y}[2:]", "{y}[2:].mean(0)", "{y}[::2].sum(0)", "{y}[-3:].sum(0)"])
    return True


@listed(TRAPS, "stopped early")
def _stopped(plan: Plan) -> bool:
    if plan.form != "loop" or plan.time == "step" or any(trace.how == "assign" for trace in plan.traces):
        return False
    plan.counted = True
    plan.last += ["if STEP_NUMBER == 3:", "    break"]
    return True


@listed(TRAPS, "called twice a step")
def _twice(plan: Plan) -> bool:
    """A neuron that keeps its own state."""
    found = [layer for layer in spiking(plan) if not layer.neuron.states and stepped(plan) and layer.parts]
    if not found or plan.framework == "sinabs":
        return False
    layer = plan.rng.choice(found)
    layer.after.append(f"{layer.spikes} = self.{layer.neuron.attr}(cur{layer.number})")
    return True


@listed(TRAPS, "one neuron, one state, two places")
def _one_state(plan: Plan) -> bool:
    found = [(a, b) for a, b in pairs(plan) if not a.neuron.states and not b.neuron.states and stepped(plan)]
    if not found:
        return False
    first, second = plan.rng.choice(found)
    share_neuron(plan, first, second)
    return True


@listed(TRAPS, "summed up between")
def _summed(plan: Plan) -> bool:
    if plan.form != "loop" or plan.time == "step" or not spiking(plan):
        return False
    layer = plan.rng.choice(spiking(plan))
    plan.start.append("total = 0")
    decay = plan.rng.choice(["", "0.8 * "])
    layer.after += [f"total = {decay}total + {layer.spikes}", f"{layer.spikes} = total"]
    return True


@listed(TRAPS, "threshold that moves")
def _threshold(plan: Plan) -> bool:
    found = [layer for layer in spiking(plan) if "learn_threshold" not in layer.neuron.make and stepped(plan)]
    if not found or plan.framework != "snntorch":
        return False
    module = f"self.{plan.rng.choice(found).neuron.attr}"
    plan.last.append(f"{module}.threshold = {module}.threshold * 1.1")
    plan.random = True
    return True
