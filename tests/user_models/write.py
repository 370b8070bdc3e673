"""A plan as the source of a file."""

from __future__ import annotations

from . import forms, sequences
from .neurons import IMPORTS
from .plan import Plan, indented

GAINS = "@GAINS@"
"""Where the gains will stand."""


def write(plan: Plan) -> str:
    """The whole file."""
    root = plan.form == "root"
    if plan.form in ("inside", "root"):
        sequences.numbered(plan, "net" if root else "net.net")
    made: list[str] = []
    if not root:
        net = _class(plan)
        made = ["class Net(nn.Module):", *indented(net), "", ""]
    imports = sorted(
        {*plan.imports, "import torch", "from torch import nn", *IMPORTS[plan.framework]},
        key=lambda line: (line.startswith("from"), line),
    )
    head = [
        f'"""A random program: {", ".join(sorted(plan.kinds))}."""',
        "",
        *imports,
        "",
        f"FRAMEWORK, TIME, STEPS, BATCH = {plan.framework!r}, {_time(plan)}, {plan.steps}, {plan.batch}",
        "",
        "",
    ]
    source = [*head, *plan.classes, *made, *_model(plan, root), "", "", *_sample(plan), "", "", *_answer(plan)]
    return "\n".join(line.rstrip() for line in source) + "\n"


def _time(plan: Plan) -> str:
    return plan.time if plan.time in ("0", "1", "-1") else repr(plan.time)


def _class(plan: Plan) -> list[str]:
    if plan.form == "inside":
        body = sequences.inside(plan)
        made = [f"self.net = {sequences.sequential(plan)}"]
    else:
        made = [
            *_made(plan),
            *(f"self.{part.attr} = {part.make}" for part in plan.head if part.make),
        ]
        made += [line for layer in plan.layers for part in layer.parts for line in part.setup]
        made += [line for part in plan.head for line in part.setup]
        if plan.time == "step":
            body = forms.step(plan)
        else:
            body = {"loop": forms.loop, "method": forms.method, "layers": sequences.layers}[plan.form](plan)
    setup = sorted(plan.setup, key=lambda line: "set_step_mode" in line)
    if "def reset(self):" in body:
        setup.append("self.reset()")
    made = [line for one in made for line in one.split("\n")]
    return ["def __init__(self):", *indented(["super().__init__()", *made, *setup]), "", *body]


def _made(plan: Plan) -> list[str]:
    """Lines of ``__init__`` that make the layers."""
    if plan.blocks:
        blocks = [f"nn.Sequential({', '.join(part.make for part in layer.parts)})" for layer in plan.layers]
        nodes = ", ".join(layer.neuron.make for layer in plan.layers)
        return [f"self.blocks = nn.ModuleList([\n    {', '.join(blocks)}\n])",
                f"self.nodes = nn.ModuleList([\n    {nodes}\n])"]  # fmt: skip
    return [
        *(f"self.{part.attr} = {part.make}" for layer in plan.layers for part in layer.parts if part.make),
        *(f"self.{layer.neuron.attr} = {layer.neuron.make}" for layer in plan.layers if not layer.neuron.shared),
    ]


def _model(plan: Plan, root: bool) -> list[str]:
    made = sequences.sequential(plan) if root else "Net()"
    lines = [f"torch.manual_seed({plan.seed})", *f"net = {made}".split("\n")]
    if root:
        lines += [line.replace("(self", "(net").replace("self.", "net.") for line in plan.setup]
    lines += ["with torch.no_grad():", GAINS]
    if "part norm" in plan.kinds or any("BatchNorm" in p.make for layer in plan.layers for p in layer.parts):
        lines += [
            "    for part in net.modules():  # as after a training",
            "        if isinstance(part, nn.modules.batchnorm._BatchNorm):",
            "            part.running_mean.uniform_(-0.2, 0.2), part.running_var.uniform_(0.4, 1.5)",
            "            part.weight.uniform_(0.7, 1.5), part.bias.uniform_(-0.1, 0.4)",
        ]
    return ["def model():", *indented(lines), "    return net.eval()"]


def _sample(plan: Plan) -> list[str]:
    steps, batch, sides = "STEPS", "BATCH", ", ".join(map(str, plan.shape))
    if plan.time == "none":
        size = f"{batch}, {sides}"
    elif plan.time == "1":
        size = f"{batch}, {steps}, {sides}"
    elif plan.time == "-1":
        size = f"{batch}, {sides}, {steps}"
    elif plan.time == "flat":
        size = f"{steps} * {batch}, {sides}"
    else:
        size = f"{steps}, {batch}, {sides}"
    drawn = f"torch.rand({size}, generator=torch.Generator().manual_seed({plan.seed + 1}))"
    values = {
        "spikes": f"({drawn} < 0.4).float()",
        "counts": f"(3 * {drawn} ** 2).floor()",
        "values": drawn,
        "uint8": f"(3 * {drawn}).to(torch.uint8)",
    }[plan.values]
    return ["def sample():", f"    return {values}"]


def _answer(plan: Plan) -> list[str]:
    lines = []
    if "reset in forward" not in plan.kinds or plan.time == "step":
        lines += forms.resetting(plan, "net")
    if plan.encoder:
        lines.append("torch.manual_seed(7)  # it draws at random")
    norse_root = plan.form == "root" and plan.framework == "norse"
    if plan.time == "step":
        return ["def answer(net, x):", *indented(lines + _stepped(plan, norse_root))]
    if norse_root:
        lines.append("return [net(x)[0]]")
    else:
        several = len(plan.traces) > 1
        whole = {"dict": "list(net(x).values())", "list": "list(net(x))", "tuple": "list(net(x))", "plain": "[net(x)]"}
        lines.append(f"return {whole[plan.returns if several or plan.returns == 'dict' else 'plain']}")
    lines = ["def answer(net, x):", *indented(lines)]
    if plan.encoder:
        encoded = plan.encoder.replace("self.", "net.")
        lines += ["", "", "def chip_input(net, x):", "    torch.manual_seed(7)", f"    return {encoded}"]
    elif plan.source != "{x}":
        lines += ["", "", "def encoded(x):  # time first", f"    return {plan.source.format(x='x')}"]
    return lines


def _stepped(plan: Plan, root: bool) -> list[str]:
    """The user's loop over steps."""
    lines = ["net.reset()"] if plan.store == "self" and forms.states(plan, "BATCH") else []
    if root or "states returned" in plan.kinds:
        return ["state, outs = None, []", "for x_t in x:", "    out, state = net(x_t, state)", "    outs.append(out)",
                "return [torch.stack(outs)]"]  # fmt: skip
    pair = plan.form == "root" and plan.hidden and not plan.head
    if plan.returns == "dict":
        return [*lines, "outs = [list(net(x_t).values()) for x_t in x]",
                "return [torch.stack(out) for out in zip(*outs)]"]  # fmt: skip
    if pair or len(plan.traces) > 1:
        return [*lines, "outs = [net(x_t) for x_t in x]", "return [torch.stack(out) for out in zip(*outs)]"]
    return [*lines, "return [torch.stack([net(x_t) for x_t in x])]"]
