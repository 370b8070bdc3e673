"""How people step through time."""

from __future__ import annotations

from dataclasses import dataclass, field

from .plan import Plan


@dataclass
class Loop:
    """A loop over time in ``forward(self, x)``.

    Args:
        before: lines in front of it.
        header: its ``for`` or ``while``.
        step: expression of one step's input.
        inside: lines at the beginning of its body.
        end: lines at the end of its body.
        t: the name of the step's number, where there is one.
        count: expression of the number of steps.
        batch: expression of the number of samples, at the start of forward.
        sequence: expression of the steps' inputs, to iterate over.
    """

    kind: str
    header: str
    step: str
    count: str
    batch: str
    before: list[str] = field(default_factory=list)
    inside: list[str] = field(default_factory=list)
    end: list[str] = field(default_factory=list)
    t: str = ""
    sequence: str = ""


def _dims(plan: Plan, first: int, second: int) -> str:
    """A permutation that brings two dimensions to the front."""
    count = len(plan.shape) + 2
    rest = [d for d in range(count) if d not in (first % count, second % count)]
    return ", ".join(str(d) for d in (first % count, second % count, *rest))


def time_first(plan: Plan) -> tuple[list[str], str]:
    """Lines that make ``x`` time first, whatever the sample is, and how that was done."""
    rng, sides = plan.rng, ", ".join(str(side) for side in plan.shape)
    if plan.time in ("0", "step"):
        return [], ""
    if plan.time == "1":
        how = rng.choice(
            ["x.transpose(0, 1)", "x.movedim(1, 0)", f"x.permute({_dims(plan, 1, 0)})", "x.swapaxes(0, 1)"]
        )
        return [f"x = {how}"], how[2 : how.index("(")]
    if plan.time == "-1":
        how = rng.choice(["x.movedim(-1, 0)", f"x.permute({_dims(plan, -1, 0)})"])
        return [f"x = {how}"], how[2 : how.index("(")]
    if plan.time == "flat":
        first, second = ("STEPS", "BATCH") if plan.order == "TB" else ("BATCH", "STEPS")
        how = rng.choice(
            [f"x.unflatten(0, ({first}, {second}))", f"x.view({first}, {second}, {sides})",
             f"x.reshape({first}, -1, {sides})"]
        )  # fmt: skip
        return [f"x = {how}{'' if plan.order == 'TB' else '.transpose(0, 1)'}"], how[2 : how.index("(")]
    ones = ", 1" * (len(plan.shape) + 1)
    how = rng.choice(
        [f"x.unsqueeze(0).repeat(STEPS{ones})", "x.expand(STEPS, *x.shape)", "torch.stack([x] * STEPS)",
         f"x[None].expand(STEPS{', -1' * (len(plan.shape) + 1)})"]
    )  # fmt: skip
    return [f"x = {how}"], "repeat" if "repeat" in how else "stack" if "stack" in how else "expand"


def choose(plan: Plan, needs_number: bool) -> Loop:
    """A way to step through time; with the step's number where something needs it."""
    rng, axis = plan.rng, plan.time
    if axis == "none" and not plan.encoder and plan.source == "{x}" and plan.chance(0.5):
        t = "t" if needs_number else rng.choice(["t", "_"])
        return Loop("range, the same x", f"for {t} in range(STEPS):", "x", "STEPS", "x.shape[0]",
                    t="t" if t == "t" else "", sequence="[x] * STEPS")  # fmt: skip
    direct = axis in ("1", "-1") and plan.source == "{x}" and not plan.kinds & {"loop first layer outside"}
    if direct and plan.chance(0.55):
        return _along(plan, needs_number)
    before, how = ([], "") if plan.encoder else time_first(plan)
    loop = _over_first(plan, needs_number)
    loop.before = before + loop.before
    loop.kind = f"{how}, {loop.kind}" if how else loop.kind
    return loop


def _along(plan: Plan, needs_number: bool) -> Loop:
    """Over the dimension where time lies."""
    rng, axis = plan.rng, plan.time
    one = "x[:, t]" if axis == "1" else "x[..., t]"
    ways = [
        Loop("index", f"for t in range(x.shape[{axis}]):", one, f"x.shape[{axis}]", "x.shape[0]", t="t",
             sequence=f"x.unbind({axis})"),
        Loop("select", "for t in range(STEPS):", f"x.select({axis}, t)", "STEPS", "x.size(0)", t="t",
             sequence=f"x.unbind(dim={axis})"),
    ]  # fmt: skip
    if not needs_number:
        ways += [
            Loop("unbind", f"for x_t in x.unbind({axis}):", "x_t", f"x.size({axis})", "x.shape[0]",
                 sequence=f"torch.unbind(x, dim={axis})"),
            Loop("split", f"for x_t in torch.split(x, 1, dim={axis}):", f"x_t.squeeze({axis})", f"x.size({axis})",
                 "len(x)", sequence=f"x.unbind({axis})"),
        ]  # fmt: skip
    return rng.choice(ways)


def _over_first(plan: Plan, needs_number: bool) -> Loop:
    rng = plan.rng
    source = plan.source.format(x="x")
    iterated = rng.choice([source, f"torch.unbind({source}, dim=0)"])
    if plan.source != "{x}":
        return Loop("iterate", f"for t, x_t in enumerate({source}):", "x_t", "STEPS", "x.shape[1]", t="t",
                    sequence=source)  # fmt: skip
    ways = [
        Loop("index", "for t in range(x.shape[0]):", "x[t]", "x.shape[0]", "x.shape[1]", t="t", sequence="x"),
        Loop("index", "for step in range(STEPS):", "x[step]", "STEPS", "x.size(1)", t="step", sequence=iterated),
        Loop("enumerate", "for t, x_t in enumerate(x):", "x_t", "len(x)", "x.shape[1]", t="t", sequence=iterated),
        Loop("while", "while t < x.size(0):", "x[t]", "x.size(0)", "x.shape[1]", before=["t = 0"], end=["t += 1"],
             t="t", sequence=iterated),
    ]  # fmt: skip
    if not needs_number:
        ways += [
            Loop("iterate", "for x_t in x:", "x_t", "len(x)", "x.shape[1]", sequence=iterated),
            Loop("unbind", "for x_t in torch.unbind(x, dim=0):", "x_t", "x.shape[0]", "x.shape[1]", sequence=iterated),
            Loop("split", "for x_t in torch.split(x, 1):", "x_t.squeeze(0)", "x.shape[0]", "x.shape[1]",
                 sequence=iterated),
            Loop("chunk", "for x_t in x.chunk(STEPS, dim=0):", "x_t[0]", "STEPS", "x.shape[1]", sequence=iterated),
        ]  # fmt: skip
    return rng.choice(ways)
