"""Random networks whose neurons are written by hand, in the ways in which people write them."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import torch

from .calibrate import loaded
from .programs import Program

TIMES = ("none", "0", "0", "1", "1", "step", "step", "flat")
LOOPS = {
    "step": ("attributes", "passed"),
    "flat": ("sequence",),
    "": ("sequence", "attributes", "passed", "function", "inline"),
}
ODD = (
    "squares", "clamps", "bounds below", "noise", "resets to a part", "two thresholds", "threshold adapts", "tanh",
    "refractory counter", "threshold over time", "soft spike", "reset of all", "input after a spike is halved",
)  # fmt: skip

HEAD = '''"""Neurons by hand: {kinds}."""

import torch
from torch import nn
import torch.nn.functional as F

FRAMEWORK, TIME, STEPS, BATCH = "torch", {time!r}, {steps}, 2

'''

FUNCTION = """
class Spike(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x{more}):
        ctx.save_for_backward(x)
        return {forward}

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * (x.abs() < 0.5).to(grad.dtype){none}

"""


@dataclass
class _Neuron:
    """The code of one neuron: its parameters, and one step on ``x`` with ``v``, ``i`` and ``s``."""

    init: list[str] = field(default_factory=list)
    start: list[str] = field(default_factory=list)
    step: list[str] = field(default_factory=list)
    sent: str = "s"
    states: tuple[str, ...] = ("v",)
    functions: str = ""
    kinds: set[str] = field(default_factory=set)


def by_hand(seed: int) -> Program:
    """The program of a seed."""
    rng = random.Random(seed)
    time = rng.choice(TIMES)
    loop = rng.choice(LOOPS.get(time, LOOPS[""]))
    odd = rng.choice(ODD) if rng.random() < 0.2 else ""
    neuron = _neuron(rng, odd)
    image = rng.random() < 0.5
    kinds = {f"time {time}", f"loop: {loop}", "image" if image else "vector", *neuron.kinds}
    if odd:
        kinds.add(f"trap: {odd}")
    steps = rng.choice((3, 4, 5, 6, 7, 8))
    source = HEAD.format(kinds=", ".join(sorted(kinds)), steps=steps, time=time if time in ("none", "flat", "step") else
                         int(time)) + neuron.functions  # fmt: skip
    source += _class(neuron, loop, time) + _network(rng, loop, time, image, kinds, neuron) + _sample(rng, time, image)
    source = _lively(source)
    return Program(seed, source, "torch", time, frozenset(kinds), bool(odd), odd == "noise", "TB")


def _lively(source: str) -> str:
    """The source with weights with which its last neurons spike, now and then."""
    best = source.replace("GAIN", "3.0")
    for gain in (2.5, 1.5, 4.0, 6.0, 10.0):
        made = source.replace("GAIN", str(gain))
        case = loaded(made)
        net, seen = case.model(), list[float]()
        net.head.register_forward_hook(lambda _m, x, _y, seen=seen: seen.append(float((x[0] != 0).float().mean())))
        try:
            with torch.no_grad():
                case.answer(net, case.sample())
        except (RuntimeError, TypeError, AttributeError):
            return best
        if 0.05 <= sum(seen) / max(len(seen), 1) <= 0.7:
            return made
    return best


def _neuron(rng: random.Random, odd: str) -> _Neuron:
    made = _Neuron()
    decay = _decay(rng, made)
    threshold = _parameter(rng, made, "threshold", rng.choice(("number", "number", "parameter", "channel", "exp")), 0.8)
    made.kinds.add("synaptic current" if (cuba := rng.random() < 0.2) else "one state")
    _input(rng, made)
    kind = rng.choice(("hard", "hard", "soft", "soft", "to a number", "none", "other number"))
    when = rng.choice(("after", "after", "before", "gate" if kind in ("hard", "to a number") else "before"))
    if cuba:
        kept = _parameter(rng, made, "kept", rng.choice(("number", "sigmoid", "channel")), 0.5)
        made.states = ("v", "i")
        made.step.append(f"i = {kept} * i + x")
        made.start.append("i = " + rng.choice(("0.0", "torch.zeros_like(x)")))
    arriving = "i" if cuba else "x"
    form, update = _update(rng, decay, arriving)
    made.kinds.add(f"update: {form}")
    to = {"hard": "0", "to a number": "0.1"}.get(kind, "")
    made.kinds |= {f"reset: {kind}", f"reset {when}"}
    take = {"soft": threshold, "other number": "0.45"}.get(kind, "")
    if odd == "resets to a part":
        kind, when, after = "part", "after", ["v = v * (1 - 0.7 * s)"]
    elif odd == "reset of all":
        after = ["v = v - v.detach() * s.amax(1, keepdim=True) * 0.5"]
        when = "after"
    else:
        after = _after(rng, kind, to, take)
    if odd == "input after a spike is halved":
        made.step.append("x = x * (1 - 0.5 * s)")
        made.states, when = (*made.states, "s"), "before"
        made.step[:0] = [made.step.pop()]
    if when == "after":
        made.step += [f"v = {update}"]
    else:
        made.states = tuple(dict.fromkeys((*made.states, "s")))
        late = [line.replace("(v > threshold)", "s") for line in after]
        made.step += [f"v = {update}", *late] if when == "gate" else [*late, f"v = {update}"]
    _odd_update(odd, made)
    if odd == "threshold adapts":
        made.states = (*made.states, "a")
        made.start.append("a = torch.zeros_like(x)")
        compared = f"({threshold} + a)"
    elif odd == "threshold over time":
        made.states = (*made.states, "n")
        made.start.append("n = 0")
        made.step.append("n = n + 1")
        compared = f"({threshold} + 0.1 * n)"
    else:
        compared = threshold
    made.step.append(_spike(rng, made, compared, odd))
    if odd == "threshold adapts":
        made.step.append("a = 0.8 * a + 0.3 * s")
    if when == "after":
        made.step += after
    if odd == "clamps":
        made.step.append("v = v.clamp(-0.5, 1.5)")
    if odd == "bounds below":
        made.step.append("v = torch.clamp(v, min=-0.2)")
    if odd == "refractory counter":
        made.states = (*made.states, "r")
        made.start.append("r = torch.zeros_like(x)")
        place = next(k for k, line in enumerate(made.step) if line.startswith("s = "))
        made.step[place + 1 : place + 1] = ["s = s * (r == 0)", "r = (r - 1).clamp(min=0) + 2 * s"]
    _start(rng, made, threshold)
    height = rng.choice(("1", "1", "1", "threshold", "number"))
    made.kinds.add(f"height: {height}")
    made.sent = {"1": "s", "threshold": f"s * {threshold}", "number": "0.5 * s"}[height]
    return made


def _parameter(rng: random.Random, made: _Neuron, name: str, how: str, value: float) -> str:
    """An expression of a constant, and what ``__init__`` must hold for it."""
    value = round(value * rng.uniform(0.8, 1.2), 2)
    made.kinds.add(f"{name}: {how}")
    each = "torch.rand(shape)"
    if how == "number":
        return f"{value}"
    if how == "parameter":
        made.init.append(f"self.{name} = nn.Parameter(torch.tensor({value}))")
        return f"self.{name}"
    if how == "channel":
        made.init.append(f"self.{name} = nn.Parameter({value} * (0.8 + 0.4 * {each}))")
        return f"self.{name}"
    if how == "buffer":
        made.init.append(f'self.register_buffer("{name}", {value} * (0.8 + 0.4 * {each}))')
        return f"self.{name}"
    if how == "sigmoid":
        made.init.append(f"self.{name} = nn.Parameter(torch.tensor({value}) + 0.3)")
        return f"torch.sigmoid(self.{name})"
    if how == "exp":
        made.init.append(f"self.{name} = nn.Parameter(-{value} * 0.3 * {each})")
        return f"torch.exp(self.{name})"
    made.init.append(f"self.{name} = nn.Parameter({value} + 0.2 * {each})")
    return f"self.{name}.clamp(0, 1)"


def _decay(rng: random.Random, made: _Neuron) -> str:
    how = rng.choice(("none", "number", "number", "sigmoid", "channel sigmoid", "clamp", "exp", "tau"))
    if how == "none":
        made.kinds.add("decay: none")
        return ""
    if how == "tau":
        made.kinds.add("decay: tau")
        return "tau"
    if how == "channel sigmoid":
        made.kinds.add("decay: channel sigmoid")
        made.init.append("self.decay = nn.Parameter(torch.randn(shape))")
        return rng.choice(("self.decay.sigmoid()", "torch.sigmoid(self.decay)"))
    return _parameter(rng, made, "decay", how, 0.75)


def _update(rng: random.Random, decay: str, arriving: str) -> tuple[str, str]:
    if not decay:
        return "v + x", rng.choice((f"v + {arriving}", f"{arriving} + v"))
    if decay == "tau":
        tau = rng.choice(("2.0", "1.5", "4.0"))
        rest = rng.choice(("v", "v", "(v - 0.05)"))
        return "v + (x - v) / tau", f"v + ({arriving} - {rest}) / {tau}"
    how = rng.choice(("a v + x", "a v + x", "a v + (1 - a) x", "v - leak"))
    if how == "a v + x":
        return how, rng.choice((f"{decay} * v + {arriving}", f"v * {decay} + {arriving}", f"{arriving} + {decay} * v"))
    if how == "v - leak":
        return how, f"v - (1 - {decay}) * v + {arriving}"
    return how, f"{decay} * v + (1 - {decay}) * {arriving}"


def _after(rng: random.Random, kind: str, to: str, take: str) -> list[str]:
    if kind == "hard":
        return [rng.choice(("v = v * (1 - s)", "v = (1.0 - s) * v", "v = torch.where(s > 0, torch.zeros_like(v), v)",
                            "v = v - v * s.detach()", "v = v.masked_fill(s.bool(), 0.0)"))]  # fmt: skip
    if kind == "to a number":
        return [rng.choice((f"v = (1 - s) * v + s * {to}", f"v = torch.where(s.bool(), torch.full_like(v, {to}), v)"))]
    if kind == "none":
        return []
    return [rng.choice((f"v = v - s * {take}", f"v = v - {take} * s.detach()", f"v = v + (-{take}) * s"))]


def _input(rng: random.Random, made: _Neuron) -> None:
    gain = rng.choice(("none", "none", "none", "number", "parameter", "buffer"))
    if gain != "none":
        made.step.append(f"x = x * {_parameter(rng, made, 'gain', gain, 1.3)}")
    bias = rng.choice(("none", "none", "none", "number", "channel"))
    if bias != "none":
        made.step.append(f"x = x + {_parameter(rng, made, 'bias', bias, 0.1)}")


def _spike(rng: random.Random, made: _Neuron, threshold: str, odd: str) -> str:
    if odd == "soft spike":
        return f"s = torch.sigmoid(4 * (v - {threshold}))"
    if odd == "two thresholds":
        return f"s = (v > {threshold}).float() + (v > 1.6 * {threshold}).float()"
    how = rng.choice(("function >", "function >=", "function with width", "v > threshold", "v >= threshold", "gt",
                      "heaviside", "surrogate", "surrogate", "ratio", "relu of sign", "threshold < v",
                      "where"))  # fmt: skip
    made.kinds.add(f"spike: {how}")
    if how.startswith("function"):
        many = "width" in how
        forward = {"function >": "(x > 0).float()", "function >=": "(x >= 0).to(x.dtype)"}.get(how, "x.gt(0).float()")
        made.functions = FUNCTION.format(more=", width" if many else "", forward=forward, none=", None" if many else "")
        return f"s = Spike.apply(v - {threshold}{', 0.5' if many else ''})"
    if how == "surrogate":
        made.functions = rng.choice(
            (
                "\ndef fire(x):\n    hard, soft = (x > 0).float(), torch.sigmoid(4 * x)\n"
                "    return (hard - soft).detach() + soft\n\n",
                "\ndef fire(x):\n    soft = torch.clamp(x + 0.5, 0, 1)\n"
                "    return soft + ((x >= 0).float() - soft).detach()\n\n",
                "\ndef fire(x):\n    y = torch.tanh(x)\n    return (x > 0).float().detach() - y.detach() + y\n\n",
            )
        )
        return f"s = fire(v - {threshold})"
    return {
        "v > threshold": f"s = (v > {threshold}).float()",
        "v >= threshold": f"s = (v >= {threshold}).float()",
        "gt": f"s = torch.gt(v, {threshold}).to(v.dtype)",
        "heaviside": f"s = torch.heaviside(v - {threshold}, torch.zeros(1, dtype=v.dtype))",
        "ratio": f"s = (v / {threshold} > 1.0).float()",
        "relu of sign": f"s = torch.relu(torch.sign(v - {threshold}))",
        "threshold < v": f"s = ({threshold} < v).float()",
        "where": f"s = torch.where(v > {threshold}, torch.ones_like(v), torch.zeros_like(v))",
    }[how]


def _odd_update(odd: str, made: _Neuron) -> None:
    place = next(k for k, line in enumerate(made.step) if line.startswith("v = ") and "+" in line)
    extra = {
        "squares": "v = v + 0.1 * v * v",
        "noise": "v = v + 0.05 * torch.randn_like(v)",
        "tanh": "v = torch.tanh(v) * 1.5",
    }
    if odd in extra:
        made.step.insert(place + 1, extra[odd])


def _start(rng: random.Random, made: _Neuron, threshold: str) -> None:
    how = rng.choice(("0", "0", "zeros", "zeros", "half a threshold", "a number"))
    made.kinds.add(f"starts at {how}")
    value = {"0": "0.0", "zeros": "torch.zeros_like(x)", "half a threshold": f"torch.zeros_like(x) + 0.5 * {threshold}",
             "a number": "torch.full_like(x, 0.15)"}[how]  # fmt: skip
    place = next(k for k, line in enumerate(made.step) if line.startswith("v = ") and "+" in line)
    if how == "0" and any("like(v)" in line or "v.masked" in line for line in made.step[:place]):
        value = "torch.zeros_like(x)"
    made.start.append(f"v = {value}")
    if "s" in made.states:
        tensor = any(word in line for line in made.step for word in ("where(s", "s.bool", "s.detach"))
        made.start.append("s = " + rng.choice(("0.0", "torch.zeros_like(x)")[tensor:]))


def _lines(lines: list[str], indent: int) -> str:
    return "".join(f"{'    ' * indent}{line}\n" for line in lines)


def _class(neuron: _Neuron, loop: str, time: str) -> str:
    states = ", ".join(neuron.states)
    head = "\nclass Neuron(nn.Module):\n    def __init__(self, shape):\n        super().__init__()\n"
    head += _lines(neuron.init, 2)
    if loop == "sequence":
        axis = 1 if time == "1" else 0
        body = f"        first, out = x.select({axis}, 0), []\n        whole, x = x, first\n" + _lines(neuron.start, 2)
        body += f"        for t in range(whole.shape[{axis}]):\n            x = whole.select({axis}, t)\n"
        body += _lines(neuron.step, 3) + f"            out.append({neuron.sent})\n"
        return f"{head}\n    def forward(self, x):\n{body}        return torch.stack(out, {axis})\n\n"
    if loop == "attributes":
        names = ", ".join(f"self.{name}" for name in (f"{s}_" for s in neuron.states))
        head += f"        self.{neuron.states[0]}_ = None\n"
        first = [f"if self.{neuron.states[0]}_ is None:", *(f"    {line}" for line in neuron.start), "else:",
                 f"    {states} = {names}"]  # fmt: skip
        body = _lines(first, 2) + _lines(neuron.step, 2) + f"        {names} = {states}\n"
        return f"{head}\n    def forward(self, x):\n{body}        return {neuron.sent}\n\n"
    first = ["if state is None:", *(f"    {line}" for line in neuron.start), "else:", f"    {states}, = state"]
    body = _lines(first, 2) + _lines(neuron.step, 2)
    if loop == "function":
        function = "\ndef update(op, x, p, state):\n    x = op(x)\n" + _lines(first, 1) + _lines(neuron.step, 1)
        function = function.replace("self.", "p.") + f"    return {neuron.sent.replace('self.', 'p.')}, ({states},)\n\n"
        return head + "\n" + function
    return f"{head}\n    def forward(self, x, state=None):\n{body}        return {neuron.sent}, ({states},)\n\n"


def _network(rng: random.Random, loop: str, time: str, image: bool, kinds: set[str], neuron: _Neuron) -> str:
    head = rng.choice(("spikes", "spikes", "linear"))
    pool = rng.choice(("avg", "none"))
    kinds |= {f"ends in {head}"}
    if image:
        size, pooled = (3, "nn.AvgPool2d(2), ") if pool == "avg" else (6, "")
        layers = [("nn.Conv2d(2, 4, 3, padding=1, bias=False)", "(4, 1, 1)"),
                  (f"nn.Sequential({pooled}nn.Flatten(), nn.Linear({4 * size**2}, 5))", "(5,)")]  # fmt: skip
    else:
        layers = [("nn.Linear(8, 7)", "(7,)"), ("nn.Linear(7, 5)", "(5,)")]
    last = "nn.Linear(5, 3)" if head == "linear" else "nn.Identity()"
    held = "".join(f"        self.op{k}, self.n{k} = {op}, Neuron({shape})\n" for k, (op, shape) in enumerate(layers))
    text = "\nclass Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n" + held
    text += f"        self.head = {last}\n"
    if loop == "sequence":
        text = _OVER + text
        axis = 1 if time == "1" else 0
        body = []
        if time == "none":
            body.append("x = x.unsqueeze(0).repeat(STEPS, *[1] * x.dim())")
        if time == "flat":
            body.append("x = x.unflatten(0, (STEPS, -1))")
        for k in range(2):
            body += [f"x = self.n{k}(over(self.op{k}, x))"]
        body += ["x = over(self.head, x)", f"return x.{rng.choice(('mean', 'sum'))}({axis})"]
        return f"{text}\n    def forward(self, x):\n{_lines(body, 2)}\n"
    calls = {"attributes": ["x = self.n{k}(self.op{k}(x))"], "passed": ["x, s{k} = self.n{k}(self.op{k}(x), s{k})"],
             "function": ["x, s{k} = update(self.op{k}, x, self.n{k}, s{k})"],
             "inline": ["x, s{k} = self.n{k}(self.op{k}(x), s{k})"]}[loop]  # fmt: skip
    step = [line.format(k=k) for k in range(2) for line in calls] + ["x = self.head(x)"]
    if time == "step":
        if loop == "attributes":
            return f"{text}\n    def forward(self, x):\n{_lines([*step, 'return x'], 2)}\n"
        first = ["s0, s1 = (None, None) if state is None else state"]
        return f"{text}\n    def forward(self, x, state=None):\n{_lines([*first, *step, 'return x, (s0, s1)'], 2)}\n"
    reset = ["self.n0.v_ = self.n1.v_ = None"] if loop == "attributes" else ["s0 = s1 = None"]
    each = {"none": ["for t in range(STEPS):", "    x = sample"],
            "0": ["for t in range(len(sample)):", "    x = sample[t]"],
            "1": ["for t in range(sample.shape[1]):", "    x = sample[:, t]"]}[time]  # fmt: skip
    end = rng.choice(("sum", "stack"))
    keep = ["total = 0"] if end == "sum" else ["total = []"]
    step += ["total = total + x"] if end == "sum" else ["total.append(x)"]
    last = (
        "return total"
        if end == "sum"
        else rng.choice(("return torch.stack(total)", "return torch.stack(total).mean(0)"))
    )
    body = [*reset, *keep, *each, *(f"    {line}" for line in step), last]
    if loop == "inline":
        body = _inlined(body, neuron)
    return f"{text}\n    def forward(self, sample):\n{_lines(body, 2)}\n"


def _inlined(body: list[str], neuron: _Neuron) -> list[str]:
    """The neurons' steps in the loop itself, their states as its variables."""
    made: list[str] = []
    for line in body:
        if line == "s0 = s1 = None":
            made += [f"{s}0 = {s}1 = None" for s in neuron.states]
        elif ", s" in line and "self.op" in line:
            k = "0" if "op0" in line else "1"
            states = ", ".join(neuron.states)
            mine = ", ".join(f"{s}{k}" for s in neuron.states)
            start = [f"    {one}" for one in neuron.start]
            inner = [f"x = self.op{k}(x)", f"if {neuron.states[0]}{k} is None:", *start, "else:",
                     f"    {states} = {mine}", *neuron.step, f"{mine} = {states}", f"x = {neuron.sent}"]  # fmt: skip
            made += [f"    {one.replace('self.', f'self.n{k}.') if 'self.op' not in one else one}" for one in inner]
        else:
            made.append(line)
    return made


_OVER = """
def over(layer, x):
    return layer(x.flatten(0, 1)).unflatten(0, x.shape[:2])

"""


def _sample(rng: random.Random, time: str, image: bool) -> str:
    shape = "2, 6, 6" if image else "8"
    lead = {"none": "BATCH", "1": "BATCH, STEPS", "flat": "STEPS * BATCH"}.get(time, "STEPS, BATCH")
    seed = rng.randrange(1000)
    draw = f"torch.rand({lead}, {shape}, generator=torch.Generator().manual_seed({seed}))"
    draw = f"({draw} < 0.4).float()" if rng.random() < 0.5 else draw
    if time == "step":
        answer = "    out, state = [], None\n    for one in x:\n        made = net(one, state) if takes else net(one)\n"
        answer = "    import inspect\n    takes = 'state' in inspect.signature(net.forward).parameters\n" + answer
        answer += "        one, state = made if takes else (made, None)\n        out.append(one)\n"
        answer += "    return [torch.stack(out)]\n"
    else:
        answer = "    return [net(x)]\n"
    return f"""
def model():
    torch.manual_seed({seed})
    net = Net()
    with torch.no_grad():
        for part in net.modules():
            if isinstance(part, (nn.Linear, nn.Conv2d)):
                part.weight.mul_(GAIN)
    return net.eval()


def sample():
    return {draw}


def answer(net, x):
{answer}"""
