"""What people do beside layers and loops that changes nothing."""

from __future__ import annotations

from dataclasses import replace

from .plan import Part, Plan
from .twists import Twist, by_hand, listed, share_neuron, spiking, stepped, written

ODDITIES: dict[str, Twist] = {}


@listed(ODDITIES, "no operation")
def _nothing(plan: Plan) -> bool:
    if not written(plan):
        return False
    layer = plan.rng.choice(plan.layers)
    what = plan.rng.choice(
        ["{s}.detach()", "{s}.clone()", "{s}.contiguous()", "{s} * 1.0", "{s} + 0", "{s}.to(x.device)",
         "{s}.type_as({s})", "{s}.requires_grad_(False)", "torch.squeeze({s}.unsqueeze(0), 0)"]
    )  # fmt: skip
    layer.after.append(f"{layer.spikes} = {what.format(s=layer.spikes)}")
    return True


@listed(ODDITIES, "dead code")
def _dead(plan: Plan) -> bool:
    if not written(plan):
        return False
    layer = plan.rng.choice(plan.layers)
    layer.after.append(
        plan.rng.choice(["unused = {s}.sum() * 2", "unused = torch.softmax({s}, dim=-1)", "_ = {s}.mean().detach()"])
        .format(s=layer.spikes)
    )  # fmt: skip
    return True


@listed(ODDITIES, "logged")
def _logged(plan: Plan) -> bool:
    if not written(plan):
        return False
    layer = plan.rng.choice(plan.layers)
    plan.setup.append("self.activity = 0")
    layer.after.append(f"self.activity = self.activity + {layer.spikes}.detach().sum()")
    return True


@listed(ODDITIES, "calls counted")
def _counted(plan: Plan) -> bool:
    if not stepped(plan):
        return False
    plan.setup.append("self.calls = 0")
    plan.first.append("self.calls += 1")
    return True


@listed(ODDITIES, "training branch")
def _branch(plan: Plan) -> bool:
    if plan.form not in ("loop", "layers") or plan.time == "step" or plan.values == "uint8":
        return False
    plan.start += ["if self.training:", "    x = x + 0.1 * torch.randn_like(x)"]
    return True


@listed(ODDITIES, "shared layer")
def _shared(plan: Plan) -> bool:
    """One module used at two places: a stateless one, or weights where the sizes fit."""
    if not stepped(plan):
        return False
    found = [part for layer in plan.layers for part in layer.parts if part.make]
    same = [(a, b) for i, a in enumerate(found) for b in found[i + 1 :] if a.make == b.make and a.kind != "norm"]
    weights = [pair for pair in same if pair[0].gain]
    if same:
        first, second = plan.rng.choice(weights or same)
        plan.gains.pop(second.gain, None)
        second.code, second.make, second.attr = second.code.replace(second.attr, first.attr), "", first.attr
        second.gain = ""
        plan.kinds |= {"oddity shared weights"} if first.gain else set()
        return True
    layer = plan.rng.choice(plan.layers)
    square = Part("linear", "", layer.neuron.shape, plan.name("fc"), gain="")
    if len(square.shape) != 1 or not layer.parts:
        return False
    square.make, square.code = f"nn.Linear({square.shape[0]}, {square.shape[0]})", f"self.{square.attr}({{h}})"
    layer.parts += [square, replace(square, make="")]
    plan.kinds.add("oddity shared weights")
    return True


@listed(ODDITIES, "one neuron, two states")
def _two_states(plan: Plan) -> bool:
    plain = ("Leaky", "Synaptic", "Lapicque", "LIFCell", "LIFBoxCell", "IAFCell")
    found = [layer for layer in by_hand(plan) if layer.neuron.kind in plain and "linspace" not in layer.neuron.make]
    if len(found) < 2:
        return False
    first, second = found[:2]
    share_neuron(plan, first, second)
    return True


@listed(ODDITIES, "states as zeros")
def _zeros(plan: Plan) -> bool:
    found = [layer for layer in by_hand(plan) if layer.neuron.kind in ("Leaky", "Lapicque")]
    for layer in found:
        layer.neuron.zeros = True
    return bool(found)


@listed(ODDITIES, "weights by hand")
def _weights(plan: Plan) -> bool:
    """The weights of a module used by a function."""
    found = [part for layer in plan.layers for part in layer.parts if part.kind == "linear"]
    if not written(plan) or not found or (plan.framework == "spikingjelly" and plan.mode != "step"):
        return False
    part = plan.rng.choice(found)
    module = f"self.{part.attr}"
    plan.imports.add("import torch.nn.functional as F")
    ways = [
        f"F.linear({{h}}, {module}.weight, {module}.bias)",
        f"F.linear({{h}}, {module}.weight * 0.5, {module}.bias)",
    ]
    if "bias=False" in part.make:
        ways += [f"({{h}} @ {module}.weight.T)", f"torch.matmul({{h}}, {module}.weight.t())"]
    part.code = plan.rng.choice(ways)
    return True


@listed(ODDITIES, "regularised")
def _regularised(plan: Plan) -> bool:
    """norse's cell that counts spikes while training."""
    found = [layer for layer in by_hand(plan) if layer.neuron.spiking]
    if plan.framework != "norse" or not found:
        return False
    layer = plan.rng.choice(found)
    plan.setup.append("self.reg = snn.RegularizationCell()")
    layer.after.append(f"{layer.spikes}, self.activity = self.reg({layer.spikes}, {plan.states(layer)[0]})")
    return True


@listed(ODDITIES, "delay by shifting")
def _shifted(plan: Plan) -> bool:
    if plan.form != "layers" or plan.mode != "TB" or not spiking(plan):
        return False
    spikes = plan.rng.choice(spiking(plan)).spikes
    layer = next(layer for layer in plan.layers if layer.spikes == spikes)
    layer.after.append(f"{spikes} = torch.cat([torch.zeros_like({spikes}[:1]), {spikes}[:-1]])")
    return True
