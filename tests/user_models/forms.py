"""Forms that compute a step at a time: a loop in forward, a method for a step, forward itself."""

from __future__ import annotations

from . import loops, reads
from .plan import Layer, Part, Plan, indented


def through(plan: Plan, parts: list[Part], h: str, to: str) -> list[str]:
    """Lines that take ``h`` through parts and keep the result as ``to``."""
    apart = any(part.code.count("{h}") != 1 for part in parts) or plan.chance(0.4)
    lines = []
    for part in parts:
        h = part.code.format(h=h)
        if apart and part is not parts[-1]:
            lines.append(f"{to} = {h}")
            h = to
    return [*lines, f"{to} = {h}"]


def call(plan: Plan, layer: Layer, current: str) -> list[str]:
    """The call of one layer of neurons in a step."""
    module, neuron, spikes = f"self.{layer.neuron.attr}", layer.neuron, layer.spikes
    if layer.call:
        return [layer.call.format(n=module, h=current, out=spikes)]
    if plan.framework == "sinabs" and "Squeeze" not in neuron.kind:
        return [f"{spikes} = {module}({current}.unsqueeze(1)).squeeze(1)"]
    if not neuron.states:
        return [
            f"{spikes}, mem{layer.number} = {module}({current})" if neuron.pair else f"{spikes} = {module}({current})"
        ]
    states = plan.states(layer)
    given = f"{module}({', '.join([current, *states])})"
    if neuron.states[0] == "spk":  # its own last spikes are a state
        again = [f"{spikes} = {states[0]}"] if states[0] != spikes else []
        return [f"{', '.join(states)} = {given}", *again]
    return [f"{', '.join([spikes, *states])} = {given}"]


def _blocks(plan: Plan, h: str) -> list[str]:
    """Lines of one step through two ModuleLists."""
    lines, last = [f"h = {h}"], plan.layers[-1]
    if last.neuron.states:
        lines += ["for i, (block, node) in enumerate(zip(self.blocks, self.nodes)):",
                  "    h, states[i] = node(block(h), states[i])"]  # fmt: skip
    else:
        lines += ["for block, node in zip(self.blocks, self.nodes):", "    h = node(block(h))"]
    return [*lines, f"{last.spikes} = h"]


def body(plan: Plan, h: str) -> list[str]:
    """Lines of one step."""
    lines = list(plan.first)
    if plan.blocks:
        lines += _blocks(plan, h)
        h = plan.layers[-1].spikes
    for layer in plan.layers if not plan.blocks else ():
        lines += layer.before
        if layer.late:
            queue = plan.held(f"late{layer.number}")
            lines += [f"{queue}.append({h})", f"old{layer.number} = {queue}.pop(0)"]
            h = f"old{layer.number}"
        current = f"cur{layer.number}"
        if layer.parts:
            lines += through(plan, layer.parts, h, current)
        elif layer.back or current in "".join(layer.after):
            lines.append(f"{current} = {h}")
        else:
            current = h
        if layer.back:
            source, delay, attr = layer.back
            kept = plan.held(f"last{layer.number}")
            value = kept if delay == 1 else f"{kept}[0]"
            lines.append(f"{current} = {current} + self.{attr}({value})")
        lines += call(plan, layer, layer.current.format(h=current))
        lines += layer.after
        lines += joining(layer)
        h = layer.out
    for layer in plan.layers:
        if layer.back:
            source, delay, _ = layer.back
            kept, spikes = plan.held(f"last{layer.number}"), plan.layers[source - 1].spikes
            lines.append(f"{kept} = {spikes}" if delay == 1 else f"{kept}.append({spikes})")
    if plan.head:
        lines += through(plan, plan.head, h, "y")
    return lines


def joining(layer: Layer) -> list[str]:
    if layer.join is None:
        return []
    how, other = layer.join
    axis = -len(layer.neuron.shape)
    joined = f"{layer.spikes} + spk{other}" if how == "add" else f"torch.cat([{layer.spikes}, spk{other}], dim={axis})"
    return [f"{layer.out} = {joined}"]


def states(plan: Plan, batch: str) -> list[str]:
    """Lines that start the states kept by hand."""
    lines = []
    if plan.store == "dict":
        lines.append("state = {}")
    if plan.store == "list" and any(layer.neuron.states for layer in plan.layers):
        lines.append(f"states = [None] * {sum(len(layer.neuron.states) for layer in plan.layers)}")
    for layer in plan.layers:
        neuron, sides = layer.neuron, ", ".join(str(side) for side in layer.neuron.shape)
        if neuron.states and not plan.hidden:
            kept = plan.states(layer)
            start = f"torch.zeros({batch}, {sides})" if neuron.zeros else neuron.init.format(n=f"self.{neuron.attr}")
            lines.append(f"{', '.join(kept)} = {start}")
        zeros = f"torch.zeros({batch}, {sides})"
        if layer.late:
            before = plan.shape if layer.number == 1 else shape_out(plan, plan.layers[layer.number - 2])
            old = f"torch.zeros({batch}, {', '.join(map(str, before))})"
            lines.append(f"{plan.held(f'late{layer.number}')} = [{', '.join([old] * layer.late)}]")
        if layer.back:
            source, delay, _ = layer.back
            sides = ", ".join(map(str, plan.layers[source - 1].neuron.shape))
            zeros = f"torch.zeros({batch}, {sides})"
            kept = plan.held(f"last{layer.number}")
            if delay == 1:
                lines.append(f"{kept} = {zeros}")
            else:
                plan.imports.add("from collections import deque")
                lines.append(f"{kept} = deque([{', '.join([zeros] * delay)}], maxlen={delay})")
    return lines


def shape_out(plan: Plan, layer: Layer) -> tuple[int, ...]:
    """Shape of what a layer hands on."""
    if layer.join and layer.join[0] == "cat":
        other = plan.layers[layer.join[1] - 1].neuron.shape
        return (layer.neuron.shape[0] + other[0], *layer.neuron.shape[1:])
    return layer.neuron.shape


def resetting(plan: Plan, what: str) -> list[str]:
    """Lines that forget what the layers keep by themselves."""
    if plan.framework == "snntorch" and plan.hidden:  # which looks at the module's own children alone
        inner = ".net" if plan.form == "inside" else ".nodes" if plan.blocks else ""
        return [f"utils.reset({what}{inner})"]
    if plan.framework == "spikingjelly":
        return [f"functional.reset_net({what})"]
    return [f"sinabs.reset_states({what})"] if plan.framework == "sinabs" else []


def loop(plan: Plan) -> list[str]:
    """A loop over time in forward."""
    needs = plan.counted or any(trace.how == "assign" for trace in plan.traces)
    outside = _first_outside(plan)
    found = loops.choose(plan, needs)
    plan.kinds.add(f"loop {found.kind.rpartition(', ')[2]}")
    if ", " in found.kind:
        plan.kinds.add(f"loop by {found.kind.partition(', ')[0]}")
    before, inside, results = [], [], []
    for number in range(len(plan.traces)):
        first, within, result = reads.in_loop(plan, number, found.t, found.count, found.batch)
        before += first
        inside += within
        results.append(result)
    if "x.shape[1]" in found.batch or "x.size(1)" in found.batch:  # after time is first
        start = found.before + outside + states(plan, found.batch)
    else:
        start = states(plan, found.batch) + found.before + outside
    inner = found.inside + body(plan, found.step) + inside + plan.last + found.end
    inner = [line.replace("STEP_NUMBER", found.t or "t") for line in inner]
    return ["def forward(self, x):", *indented(prelude(plan) + start + plan.start + before), f"    {found.header}",
            *indented(inner, 2), f"    return {reads.finished(plan, results)}"]  # fmt: skip


def prelude(plan: Plan) -> list[str]:
    """First lines of forward: its states forgotten, integers made floats, an encoder."""
    lines = resetting(plan, "self") if "reset in forward" in plan.kinds and plan.time != "step" else []
    if plan.values == "uint8":
        lines.append("x = x.float()")
    if plan.encoder:
        lines.append(f"x = {plan.encoder}")
    return lines


def _first_outside(plan: Plan) -> list[str]:
    """The first layer's linear parts over the whole sequence, in front of the loop."""
    if "loop first layer outside" not in plan.kinds:
        return []
    first, lines = plan.layers[0], []
    folds = any(part.folds for part in first.parts)
    if folds:
        lines.append(plan.rng.choice(["x = x.flatten(0, 1)", "x = x.reshape(-1, *x.shape[2:])"]))
    lines += through(plan, first.parts, "x", "x")
    if folds:
        lines.append(plan.rng.choice(["x = x.unflatten(0, (STEPS, BATCH))", "x = x.view(STEPS, BATCH, *x.shape[1:])"]))
    first.parts = []
    return lines


def method(plan: Plan) -> list[str]:
    """A helper method for one step, states kept in the module; forward calls it for each."""
    found = loops.choose(plan, False)
    values = ", ".join(trace.value for trace in plan.traces)
    lines = ["def reset(self):", *indented(states(plan, "BATCH") or ["pass"]), ""]
    lines += ["def one_step(self, x):", *indented(body(plan, "x")), f"    return {values}", ""]
    several = len(plan.traces) > 1
    names = [f"rec{number}" for number in range(len(plan.traces))]
    way = plan.rng.choice(["comprehension", "append", "map"])
    plan.kinds |= {f"loop {way}"} | ({f"loop by {found.kind.partition(', ')[0]}"} if ", " in found.kind else set())
    source = found.sequence
    if way == "comprehension":
        calls = [f"outs = [self.one_step(x_t) for x_t in {source}]"]
    elif way == "map":
        calls = [f"outs = list(map(self.one_step, {source}))"]
        if plan.chance(0.5):
            plan.imports.add("import functools")
            calls = [f"outs = functools.reduce(lambda done, x_t: [*done, self.one_step(x_t)], {source}, [])"]
    else:
        calls = ["outs = []", f"for x_t in {source}:", "    outs.append(self.one_step(x_t))"]
    calls.append(f"{', '.join(names)} = zip(*outs)" if several else f"{names[0]} = outs")
    results = [
        reads.of_list(plan, t.how, f"list({n})" if several else n) for t, n in zip(plan.traces, names, strict=True)
    ]
    lines += ["def forward(self, x):",
              *indented([*prelude(plan), "self.reset()", *[x for x in found.before if "t = 0" not in x], *calls,
                         f"return {reads.finished(plan, results)}"])]  # fmt: skip
    return lines


def step(plan: Plan) -> list[str]:
    """Forward is one step; states are kept by the module, or handed in and returned."""
    values = [trace.value for trace in plan.traces]
    if "states returned" in plan.kinds:
        kept = [name for layer in plan.layers for name in plan.states(layer)]
        names = ", ".join(kept) + ("," if len(kept) == 1 else "")
        return ["def forward(self, x, state=None):", f"    {names} = state or (None,) * {len(kept)}",
                *indented(body(plan, "x")), f"    return {values[0]}, ({names})"]  # fmt: skip
    start = states(plan, "BATCH")
    lines = ["def reset(self):", *indented(start), ""] if start else []
    return [*lines, "def forward(self, x):", *indented(prelude(plan) + body(plan, "x") + plan.last),
            f"    return {reads.finished(plan, values)}"]  # fmt: skip
