"""What people read out of a spiking network, in a loop over time and of a whole sequence."""

from __future__ import annotations

from .plan import Plan, Trace

OVER_TIME = ("stack", "stack1", "assign", "cat", "sum", "mean", "max", "last")


def choose(plan: Plan) -> None:
    """Fill in ``traces`` and ``returns``: one to three things that are read out."""
    rng, layers = plan.rng, plan.layers
    last = layers[-1]
    size = plan.head[-1].shape if plan.head else last.neuron.shape
    found: list[tuple[str, str, tuple[int, ...]]] = []
    potential = membrane(plan)
    if plan.head:
        found.append(("head", "y", size))
    elif not last.neuron.spiking:
        found.append(("membrane", last.spikes, size))
    else:
        found.append(("spikes", last.out, joined(plan)))
        if potential and plan.chance(0.55):
            found.append(("membrane", potential, last.neuron.shape))
            if plan.chance(0.35):
                del found[0]  # the membrane alone
    if len(layers) > 1 and layers[0].neuron.spiking and plan.chance(0.15):
        found.append(("hidden", layers[0].spikes, layers[0].neuron.shape))
    for what, value, shape in found:
        ways = OVER_TIME if what != "hidden" else ("stack", "sum", "mean")
        how = rng.choice([*ways, "stack", "sum", "mean"])
        trace = Trace(what, value, how, shape)
        if plan.time != "step":
            _post(plan, trace)
        plan.traces.append(trace)
    if len(found) > 1:
        plan.returns = rng.choice(["tuple", "tuple", "list", "dict"])
    elif plan.chance(0.08):
        plan.returns = "dict"
    if plan.time == "step":
        for trace in plan.traces:
            trace.how = "now"


def joined(plan: Plan) -> tuple[int, ...]:
    """Shape of what the last layer hands on."""
    last = plan.layers[-1]
    shape = last.neuron.shape
    if last.join and last.join[0] == "cat":
        other = plan.layers[last.join[1] - 1].neuron.shape
        return (shape[0] + other[0], *shape[1:])
    return shape


def membrane(plan: Plan) -> str:
    """The expression of the last layer's membrane, where there is one."""
    last = plan.layers[-1]
    if not last.neuron.membrane or (plan.mode != "step" and plan.framework != "snntorch") or last.neuron.pair is None:
        return ""
    if plan.mode != "step":
        return "" if plan.hidden else f"mems{last.number}"
    if last.neuron.pair and plan.hidden:
        return f"mem{last.number}"
    states = plan.states(last)
    return last.neuron.membrane.format(n=f"self.{last.neuron.attr}", s=states[-1] if states else "")


def _post(plan: Plan, trace: Trace) -> None:
    """Voting and soft-max behind it."""
    if trace.how in ("stack", "stack1", "assign", "cat") or len(trace.shape) != 1 or trace.what == "hidden":
        return
    rng, size = plan.rng, trace.shape[0]
    if size % 2 == 0 and plan.chance(0.2):
        plan.kinds.add("read-out vote")
        groups = rng.choice([2, size // 2])
        trace.post = rng.choice(
            [
                f"{{y}}.view(-1, {size // groups}, {groups}).mean(-1)",
                f"{{y}}.reshape({plan.batch}, -1, {groups}).sum(2)",
            ]
        )
    if plan.chance(0.15):
        plan.kinds.add("read-out softmax")
        trace.post = rng.choice(["torch.softmax({y}, dim=-1)", "torch.log_softmax({y}, 1)", "{y}.softmax(-1)"]).replace(
            "{y}", trace.post
        )


def in_loop(plan: Plan, number: int, t: str, count: str, batch: str) -> tuple[list[str], list[str], str]:
    """Lines in front of the loop, lines in it, and the result of one trace."""
    trace, rng = plan.traces[number], plan.rng
    name, value, how = f"rec{number}", trace.value, trace.how
    sides = ", ".join(str(side) for side in trace.shape)
    if how == "last":
        return [], [], value
    if how == "assign" and t:
        return [f"{name} = torch.zeros(STEPS, {batch}, {sides})"], [f"{name}[{t}] = {value}"], name
    if how in ("sum", "mean") and plan.chance(0.6):
        start = rng.choice(["0", "0.0", f"torch.zeros({batch}, {sides})"])
        add = f"{name} += {value}" if start.startswith("torch") and plan.chance(0.5) else f"{name} = {name} + {value}"
        return [f"{name} = {start}"], [add], name if how == "sum" else f"({name} / {count})"
    if how == "max" and plan.chance(0.4):
        return ([f"{name} = None"],
                [f"{name} = {value} if {name} is None else torch.maximum({name}, {value})"], name)  # fmt: skip
    return [f"{name} = []"], [f"{name}.append({value})"], of_list(plan, how, name)


def of_list(plan: Plan, how: str, name: str) -> str:
    """The result from a list of steps."""
    rng = plan.rng
    if how == "cat":
        return f"torch.cat([one.unsqueeze(0) for one in {name}])"
    if how == "stack1":
        return f"torch.stack({name}, dim=1)"
    if how in ("stack", "assign"):
        return rng.choice([f"torch.stack({name})", f"torch.stack({name}, dim=0)"])
    if how == "last":
        return f"{name}[-1]"
    return of_sequence(plan, how, f"torch.stack({name})", 0)


def of_sequence(plan: Plan, how: str, name: str, axis: int) -> str:
    """The result from a tensor of the whole sequence."""
    rng = plan.rng
    if how in ("sum", "mean"):
        return rng.choice([f"{name}.{how}({axis})", f"{name}.{how}(dim={axis})", f"torch.{how}({name}, {axis})"])
    if how == "max":
        return rng.choice([f"{name}.max({axis}).values", f"{name}.amax({axis})", f"torch.max({name}, {axis})[0]"])
    if how == "last":
        return f"{name}[-1]" if axis == 0 else f"{name}[:, -1]"
    if how == "stack1":
        return rng.choice([f"{name}.transpose(0, 1)", f"{name}.movedim({axis}, {1 - axis})"])
    return name


def finished(plan: Plan, results: list[str]) -> str:
    """What is returned."""
    made = [trace.post.format(y=result) for trace, result in zip(plan.traces, results, strict=True)]
    made = [plan.finish.format(y=one) for one in made]
    if plan.returns == "dict":
        return "{" + ", ".join(f'"{t.what}": {one}' for t, one in zip(plan.traces, made, strict=True)) + "}"
    if plan.returns == "list":
        return f"[{', '.join(made)}]"
    return ", ".join(made)
