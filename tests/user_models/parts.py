"""Linear layers, as people write them."""

from __future__ import annotations

from collections.abc import Callable

from .plan import Part, Plan, Shape


def linear(plan: Plan, shape: Shape, size: int) -> Part:
    attr = plan.name("fc")
    bias = "" if plan.chance(0.6) else ", bias=False"
    return Part("linear", f"self.{attr}({{h}})", (size,), attr, f"nn.Linear({shape[0]}, {size}{bias})", gain=attr)


def conv2d(plan: Plan, shape: Shape) -> Part:
    rng, (channels, height, width) = plan.rng, shape
    attr = plan.name("conv")
    out, kernel = rng.choice([2, 3, 4]), rng.choice([1, 3, 3, 3])
    stride = 2 if kernel == 3 and min(height, width) >= 6 and plan.chance(0.3) else 1
    padding = 1 if kernel == 3 and (plan.chance(0.7) or min(height, width) < 5) else 0
    groups = channels if out % channels == 0 and plan.chance(0.3) else 1
    sides = [(side + 2 * padding - kernel) // stride + 1 for side in (height, width)]
    more = "".join(
        f", {key}={value}"
        for key, value, usual in (("stride", stride, 1), ("padding", padding, 0), ("groups", groups, 1))
        if value != usual
    )
    more += "" if plan.chance(0.6) else ", bias=False"
    return Part("conv2d", f"self.{attr}({{h}})", (out, *sides), attr, f"nn.Conv2d({channels}, {out}, {kernel}{more})",
                folds=True, gain=attr)  # fmt: skip


def conv1d(plan: Plan, shape: Shape) -> Part:
    channels, length = shape
    attr, out = plan.name("conv"), plan.rng.choice([2, 3, 4])
    stride = 2 if length >= 8 and plan.chance(0.3) else 1
    return Part(
        "conv1d", f"self.{attr}({{h}})", (out, (length - 1) // stride + 1), attr,
        f"nn.Conv1d({channels}, {out}, 3, stride={stride}, padding=1)", folds=True, gain=attr,
    )  # fmt: skip


def transposed(plan: Plan, shape: Shape) -> Part:
    channels, height, width = shape
    attr, out = plan.name("up"), plan.rng.choice([2, 3])
    return Part("transposed", f"self.{attr}({{h}})", (out, 2 * height, 2 * width), attr,
                f"nn.ConvTranspose2d({channels}, {out}, 2, stride=2)", folds=True, gain=attr)  # fmt: skip


def norm(plan: Plan, shape: Shape) -> Part:
    kind = {1: "BatchNorm1d", 2: "BatchNorm1d", 3: "BatchNorm2d"}[len(shape)]
    attr = plan.name("bn")
    return Part("norm", f"self.{attr}({{h}})", shape, attr, f"nn.{kind}({shape[0]})", folds=True)


def dropout(plan: Plan, shape: Shape) -> Part:
    attr = plan.name("drop")
    return Part("dropout", f"self.{attr}({{h}})", shape, attr, f"nn.Dropout({plan.rng.choice([0.2, 0.5])})")


def scale(plan: Plan, shape: Shape) -> Part:
    """By a number, a buffer or a parameter."""
    rng = plan.rng
    how = rng.choice(["number", "divided", "buffer", "parameter", "each"])
    value = round(rng.uniform(0.6, 1.8), 2)
    if how == "number":
        return Part("scale number", f"({{h}} * {value})", shape)
    if how == "divided":
        return Part("scale number", f"({{h}} / {value})", shape)
    attr = plan.name("scale")
    each = "1" if how == "buffer" else f"{shape[0]}{', 1' * (len(shape) - 1)}"
    if how == "each":
        made = f"torch.rand({each}) + 0.5"
    else:
        made = f"torch.tensor({value})"
    if how == "buffer":
        setup = [f'self.register_buffer("{attr}", {made})']
    else:
        setup = [f"self.{attr} = nn.Parameter({made})"]
    return Part(f"scale {'buffer' if how == 'buffer' else 'parameter'}", f"({{h}} * self.{attr})", shape, setup=setup)


def average(plan: Plan, shape: Shape) -> Part:
    channels, height, width = shape
    out = (channels, height // 2, width // 2)
    if plan.framework == "sinabs" and plan.chance(0.5):
        attr = plan.name("pool")
        return Part("sum pool", f"self.{attr}({{h}})", out, attr, "sl.SumPool2d(2)", folds=True)
    if plan.chance(0.2) and plan.form in ("loop", "method"):
        plan.imports.add("import torch.nn.functional as F")
        return Part("average pool", "F.avg_pool2d({h}, 2)", out, folds=True)
    attr = plan.name("pool")
    return Part("average pool", f"self.{attr}({{h}})", out, attr, "nn.AvgPool2d(2)", folds=True)


def largest(plan: Plan, shape: Shape) -> Part:
    """Max pooling of what arrives: of spikes, where it is the first part in front of weights."""
    channels, height, width = shape
    plan.imports.add("import torch.nn.functional as F")
    ways = [("F.max_pool2d({h}, 2)", height // 2, width // 2), ("F.max_pool2d({h}, 3, 1, 1)", height, width),
            ("F.max_pool2d({h}, 3, 2, 1, ceil_mode=True)", height // 2 + 1, width // 2 + 1),
            ("F.adaptive_max_pool2d({h}, 2)", 2, 2)]  # fmt: skip
    code, tall, wide = plan.rng.choice(ways[: 4 if height % 2 == 0 and width % 2 == 0 else 2])
    return Part("max pool", code, (channels, tall, wide), folds=True)


def logic(plan: Plan, shape: Shape) -> Part:
    """A function of the spikes that arrive, with those of a shifted copy."""
    code = plan.rng.choice(
        ["({h} * (1 - {h}.roll(1, -1)))", "({h} * {h}.flip(-1))", "({h} + {h}.roll(1, -1) > 0).to({h}.dtype)",
         "torch.maximum({h}, {h}.flip(-1))", "(1 - {h})", "torch.where({h} > 0, {h}.flip(-1), {h})"]
    )  # fmt: skip
    return Part("function of spikes", code, shape)


def adaptive(plan: Plan, shape: Shape) -> Part:
    channels, height, width = shape
    side = 2 if height % 2 == 0 and width % 2 == 0 and plan.chance(0.5) else 1
    attr = plan.name("pool")
    return Part("adaptive pool", f"self.{attr}({{h}})", (channels, side, side), attr,
                f"nn.AdaptiveAvgPool2d({side})", folds=True)  # fmt: skip


def upsample(plan: Plan, shape: Shape) -> Part:
    channels, height, width = shape
    attr = plan.name("wide")
    return Part("upsample", f"self.{attr}({{h}})", (channels, 2 * height, 2 * width), attr,
                'nn.Upsample(scale_factor=2, mode="nearest")', folds=True)  # fmt: skip


def flatten(plan: Plan, shape: Shape) -> Part:
    size = 1
    for side in shape:
        size *= side
    dims = len(shape)
    if plan.form in ("loop", "method") and plan.chance(0.5):
        code = plan.rng.choice(
            [f"{{h}}.flatten(-{dims})", "torch.flatten({h}, 1)", f"{{h}}.reshape(-1, {size})",
             f"{{h}}.view({plan.batch}, -1)"]
        )  # fmt: skip
        return Part("flatten", code, (size,), folds=True)
    attr = plan.name("flat")
    return Part("flatten", f"self.{attr}({{h}})", (size,), attr, "nn.Flatten()", folds=True)


def identity(plan: Plan, shape: Shape) -> Part:
    attr = plan.name("skip")
    return Part("identity", f"self.{attr}({{h}})", shape, attr, "nn.Identity()")


def modules_only(plan: Plan) -> bool:
    """Whether every part must be a module."""
    return plan.form in ("inside", "root")


def in_front(plan: Plan, shape: Shape, first: bool) -> list[Part]:
    """What stands before the weights: pooling, dropout, a scale."""
    found: list[Part] = []
    makers: list[Callable[[Plan, Shape], Part]] = [dropout, identity]
    if not modules_only(plan):
        makers += [scale, scale]
    if len(shape) == 3:
        makers += [average] * 4 if min(shape[1:]) >= 4 else [upsample]
    if not modules_only(plan) and not first and plan.framework != "sinabs" and plan.chance(0.25):
        joins = [logic, largest, largest] if len(shape) == 3 and min(shape[1:]) >= 4 else [logic]
        return [plan.rng.choice(joins)(plan, shape)]
    if plan.chance(0.2 if first else 0.45):
        found.append(plan.rng.choice(makers)(plan, shape))
    return found


def weights(plan: Plan, shape: Shape, size: int | None) -> list[Part]:
    """Weights and what stands behind them; to ``size`` features where it is given."""
    rng = plan.rng
    found: list[Part] = []
    if size is not None and len(shape) > 1:
        if len(shape) == 3 and plan.chance(0.2):
            found.append(adaptive(plan, shape))
            shape = found[-1].shape
        found.append(flatten(plan, shape))
        shape = found[-1].shape
    if len(shape) == 1:
        if plan.chance(0.1):  # two in a row
            found.append(linear(plan, shape, rng.randint(5, 9)))
            shape = found[-1].shape
        found.append(linear(plan, shape, size or rng.randint(6, 12)))
    elif len(shape) == 2:
        found.append(conv1d(plan, shape))
    elif min(shape[1:]) <= 3 and plan.chance(0.3):
        found.append(transposed(plan, shape))
    else:
        found.append(conv2d(plan, shape))
    shape = found[-1].shape
    if plan.chance(0.3):
        found.append(norm(plan, shape))
    if not modules_only(plan) and plan.chance(0.12):
        found.append(scale(plan, shape))
    if plan.chance(0.08):
        found.append(dropout(plan, shape))
    return found
