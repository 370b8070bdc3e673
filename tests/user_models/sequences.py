"""Forms that take whole sequences: each layer over all steps, and Sequential containers."""

from __future__ import annotations

from . import loops, reads
from .forms import joining, prelude, through
from .plan import Layer, Neuron, Part, Plan, indented

CONTAINERS = {
    "spikingjelly": "layer.SeqToANNContainer({})",
    "norse": "snn.Lift({})",
    "sinabs": "sl.Repeat({})",
}

OF_SPIKINGJELLY = (
    "Linear", "Conv1d", "Conv2d", "BatchNorm1d", "BatchNorm2d", "AvgPool2d", "AdaptiveAvgPool2d", "Flatten", "Dropout",
    "ConvTranspose2d", "Upsample",
)  # fmt: skip
"""Layers of torch that SpikingJelly has in both step modes."""


def wrapping(plan: Plan) -> str:
    """How layers that take one batch are given a sequence: ``plain``, ``layer``, ``container`` or ``flatten``."""
    rng, folds = plan.rng, any(part.folds for layer in plan.layers for part in layer.parts)
    if plan.mode == "flat" or plan.mode == "step":
        return "plain"
    if plan.framework == "spikingjelly":
        return rng.choice(["layer", "layer", "container"] + ([] if plan.form == "root" else ["flatten"]))
    if not folds and not any(part.folds for part in plan.head):
        return "plain"
    if plan.framework == "snntorch":
        return "flatten"
    return "container" if plan.form == "root" else rng.choice(["container", "flatten"])


def wrapped(plan: Plan, parts: list[Part], how: str) -> list[Part]:
    """Parts that take sequences."""
    if how == "layer":
        plan.kinds.add("layers layer.*")
        for part in parts:
            name = part.make.partition("(")[0].removeprefix("nn.")
            if part.make.startswith("layer."):
                part.folds = False
            elif name in OF_SPIKINGJELLY:
                part.make = part.make.replace("nn.", "layer.", 1)
                part.folds = False
    if how != "container":
        return parts
    plan.kinds.add("layers container")
    made: list[Part] = []
    group: list[Part] = []
    for part in [*parts, None]:
        if part is not None and part.make and (part.folds or group):
            group.append(part)
            continue
        if group:
            made.append(_container(plan, group))
            group = []
        if part is not None:
            made.append(part)
    return made


def _container(plan: Plan, group: list[Part]) -> Part:
    attr = plan.name("seq")
    several = len(group) > 1
    inner = ", ".join(part.make for part in group)
    if several and plan.framework != "spikingjelly":
        inner = f"nn.Sequential({inner})"
    inside = {"norse": ".lifted_module", "sinabs": ".module"}.get(plan.framework, "")
    for number, part in enumerate(group):
        if part.gain:
            index = f"[{number}]" if several or plan.framework == "spikingjelly" else ""
            if part.gain in plan.gains:
                plan.gains[f"{attr}{inside}{index}"] = plan.gains.pop(part.gain)
    return Part("container", f"self.{attr}({{h}})", group[-1].shape, attr, CONTAINERS[plan.framework].format(inner))


def over_all(plan: Plan, parts: list[Part], h: str, to: str) -> list[str]:
    """Lines that take a sequence through parts; time is folded into the batch where a part asks for it."""
    folding = [number for number, part in enumerate(parts) if part.folds]
    if not folding or plan.mode == "flat":
        return through(plan, parts, h, to) if parts else [f"{to} = {h}"]
    first, last = folding[0], folding[-1] + 1
    lead = "STEPS, BATCH" if plan.mode == "TB" else "BATCH, STEPS"
    fold = plan.rng.choice([f"{to} = {to}.flatten(0, 1)", f"{to} = {to}.reshape(-1, *{to}.shape[2:])"])
    back = plan.rng.choice(
        [f"{to} = {to}.unflatten(0, ({lead}))", f"{to} = {to}.view({lead}, *{to}.shape[1:])",
         f"{to} = {to}.reshape({lead}, *{to}.shape[1:])"]
    )  # fmt: skip
    lines = through(plan, parts[:first], h, to) if first else [f"{to} = {h}"]
    lines += [fold, *through(plan, parts[first:last], to, to), back]
    return lines + (through(plan, parts[last:], to, to) if parts[last:] else [])


def call(plan: Plan, layer: Layer, h: str) -> list[str]:
    """One layer of neurons over a whole sequence."""
    module, neuron, spikes, number = f"self.{layer.neuron.attr}", layer.neuron, layer.spikes, layer.number
    if plan.framework == "norse":
        return [f"{spikes}, state{number} = {module}({h})" if plan.chance(0.5) else f"{spikes}, _ = {module}({h})"]
    if plan.framework == "sinabs" or neuron.sequence:
        return [f"{spikes} = {module}({h})"]
    if plan.framework == "spikingjelly":
        if plan.chance(0.5):
            return [f"{spikes} = functional.multi_step_forward({h}, {module})"]
        return [f"{spikes} = torch.stack([{module}(one) for one in {h}])"]
    if plan.hidden:
        return [f"{spikes} = torch.stack([{module}(one) for one in {h}])"]
    return _by_hand(plan, layer, h)


def _by_hand(plan: Plan, layer: Layer, h: str) -> list[str]:
    """snnTorch's layers over a sequence: a loop of their own, or a helper."""
    module, neuron, spikes, number = f"self.{layer.neuron.attr}", layer.neuron, layer.spikes, layer.number
    states = list(neuron.states)
    outs = ["spk", *[s for s in states if s != "spk"]]
    return [f"{', '.join(states)} = {neuron.init.format(n=module)}", f"{spikes}, mems{number} = [], []",
             f"for one in {h}:", f"    {', '.join(outs)} = {module}(one, {', '.join(states)})",
             f"    {spikes}.append(spk)", f"    mems{number}.append(mem)",
             f"{spikes}, mems{number} = torch.stack({spikes}), torch.stack(mems{number})"]  # fmt: skip


def layers(plan: Plan) -> list[str]:
    """Forward takes the whole sequence through one layer after another."""
    before, how = _arranged(plan)
    if how:
        plan.kinds.add(f"loop by {how}")
    lines, h = prelude(plan) + before, "x"
    if plan.source != "{x}":
        lines.append(f"x = {plan.source.format(x='x')}")
    lines += plan.start
    for layer in plan.layers:
        current = f"cur{layer.number}"
        lines += layer.before + over_all(plan, layer.parts, h, current)
        lines += call(plan, layer, layer.current.format(h=current)) + layer.after + joining(layer)
        h = layer.out
    if plan.head:
        lines += over_all(plan, plan.head, h, "y")
    axis = 0 if plan.mode == "TB" else 1
    results = []
    for trace in plan.traces:
        value = trace.value
        if plan.mode == "flat":
            if trace.how == "stack" and plan.chance(0.5):
                results.append(value)
                continue
            lead = "STEPS, BATCH" if plan.order == "TB" else "BATCH, STEPS"
            value, axis = f"{value}.unflatten(0, ({lead}))", 0 if plan.order == "TB" else 1
        results.append(reads.of_sequence(plan, trace.how, value, axis))
    return ["def forward(self, x):", *indented([*lines, f"return {reads.finished(plan, results)}"])]


def _arranged(plan: Plan) -> tuple[list[str], str]:
    """Lines that bring the sample into the order that the layers take."""
    if plan.encoder:
        return [], ""
    if plan.mode == "TB":
        return loops.time_first(plan)
    if plan.mode == "flat":
        if plan.time == "flat":
            return [], ""
        if plan.time == "1":
            return ["x = x.flatten(0, 1)"], "flatten"
        return ["x = x.repeat_interleave(STEPS, dim=0)"], "repeat_interleave"
    if plan.time == "1":
        return [], ""
    if plan.time == "flat":
        return ["x = x.unflatten(0, (BATCH, STEPS))"], "unflatten"
    if plan.time == "none":
        return [f"x = x.unsqueeze(1).repeat(1, STEPS{', 1' * len(plan.shape)})"], "repeat"
    return (["x = x.movedim(-1, 1)"], "movedim") if plan.time == "-1" else (["x = x.transpose(0, 1)"], "transpose")


def sequential(plan: Plan) -> str:
    """The expression of a Sequential of all layers."""
    kind = "snn.SequentialState" if plan.framework == "norse" else "nn.Sequential"
    made = []
    for layer in plan.layers:
        own = [part.make for part in layer.parts] + [layer.neuron.make]
        made += [f"nn.Sequential({', '.join(own)})"] if plan.nested else own
    made += [part.make for part in plan.head]
    inner = "".join(f"    {one},\n" for one in made)
    return f"{kind}(\n{inner})"


def numbered(plan: Plan, root: str) -> None:
    """Give the layers of a Sequential their numbers as attributes, and the gains too."""
    at = 0
    for number, layer in enumerate(plan.layers):
        for place, one in enumerate([*layer.parts, layer.neuron]):
            renamed(plan, one, f"{root}[{number}][{place}]" if plan.nested else f"{root}[{at}]")
            at += 1
    for place, part in enumerate(plan.head):
        part.attr = f"{root}[{place + (len(plan.layers) if plan.nested else at)}]"


def renamed(plan: Plan, one: Part | Neuron, attr: str) -> None:
    """Another attribute for a part or a neuron, and for its gain."""
    old = one.attr
    for key in [key for key in plan.gains if old and (key == old or key.startswith((f"{old}.", f"{old}[")))]:
        plan.gains[f"{attr}{key.removeprefix(old)}"] = plan.gains.pop(key)
    if isinstance(one, Part):
        one.code = one.code.replace(f"self.{old}", f"self.{attr}")
    one.attr = attr


def inside(plan: Plan) -> list[str]:
    """A Sequential of all layers, called for each step of a loop in forward."""
    found = loops.choose(plan, False)
    plan.kinds |= {f"loop {found.kind.rpartition(', ')[2]}"}
    call = f"self.net({found.step})"
    start, pair = [], plan.layers[-1].neuron.pair and not plan.head
    if plan.framework == "norse":
        start, inner = ["state = None"], [f"out, state = self.net({found.step}, state)"]
    elif pair:
        inner = [f"out, {'syn, ' if plan.layers[-1].neuron.kind == 'Synaptic' else ''}mem = {call}"]
    else:
        inner = [f"out = {call}"]
    trace = plan.traces[0]
    trace.value = "out" if trace.what != "membrane" or plan.framework != "snntorch" else "mem"
    before, within, result = reads.in_loop(plan, 0, "", found.count, found.batch)
    return ["def forward(self, x):", *indented([*prelude(plan), *found.before, *start, *before, found.header]),
            *indented([*plan.first, *inner, *within, *plan.last, *found.end], 2),
            f"    return {reads.finished(plan, [result])}"]  # fmt: skip
