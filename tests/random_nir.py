"""Random NIR graphs as other tools might write them, for property tests of everything behind the file."""

from __future__ import annotations

import nir
import numpy as np

IMAGE = (2, 6, 6)


class Builder:
    """Nodes and edges while a graph grows."""

    def __init__(self, seed: int, image: tuple[int, ...] = IMAGE) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: dict[str, nir.NIRNode] = {"input": nir.Input(np.array(image))}
        self.edges: list[tuple[str, str]] = []
        self.shape: dict[str, tuple[int, ...]] = {"input": image}

    def add(self, kind: str, node: nir.NIRNode, source: str, shape: tuple[int, ...]) -> str:
        name = f"{kind}{len(self.nodes)}"
        self.nodes[name], self.shape[name] = node, shape
        self.edges.append((source, name))
        return name

    def some(self, *values: object) -> object:
        return values[int(self.rng.integers(len(values)))]

    def linear(self, source: str, outputs: int) -> str:
        shape = self.shape[source]
        if len(shape) > 1:
            size = int(np.prod(shape))
            source = self.add("flatten", nir.Flatten({"input": np.array(shape)}, 0, -1), source, (size,))
        inputs = self.shape[source][0]
        weight = self.rng.normal(size=(outputs, inputs)) * 1.5 / np.sqrt(inputs)
        weight[self.rng.random(weight.shape) < self.some(0.0, 0.3, 0.9)] = 0
        if self.rng.random() < 0.5:
            node: nir.NIRNode = nir.Affine(weight, self.rng.normal(size=outputs) * 0.1)
        else:
            node = nir.Linear(weight)
        return self.add("linear", node, source, (outputs,))

    def conv(self, source: str) -> str:
        channels, height, width = self.shape[source]
        groups = int(self.some(1, channels))
        out = groups * int(self.some(1, 2))
        kernel = int(self.some(1, 2, 3)), int(self.some(1, 3))
        stride, dilation = int(self.some(1, 2)), int(self.some(1, 1, 2))
        padding = kernel[0] - 1, kernel[1] - 1
        weight = self.rng.normal(size=(out, channels // groups, *kernel)) * 0.7
        node = nir.Conv2d((height, width), weight, stride, padding, dilation, groups, self.rng.normal(size=out) * 0.05)
        size = [(n + 2 * p - dilation * (k - 1) - 1) // stride + 1 for n, p, k in zip(
            (height, width), padding, kernel, strict=True)]  # fmt: skip
        return self.add("conv", node, source, (out, *size))

    def conv1d(self, source: str) -> str:
        channels, length = self.shape[source]
        groups, out = int(self.some(1, channels)), int(self.some(1, 2))
        kernel, stride, dilation = int(self.some(1, 2, 3)), int(self.some(1, 2)), int(self.some(1, 2))
        padding = dilation * (kernel - 1)
        weight = self.rng.normal(size=(out * groups, channels // groups, kernel)) * 0.7
        bias = self.rng.normal(size=out * groups) * 0.05
        node = nir.Conv1d(length, weight, stride, padding, dilation, groups, bias)
        size = (length + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
        return self.add("conv1d", node, source, (out * groups, size))

    def pool(self, source: str) -> str:
        channels, height, width = self.shape[source]
        kind = nir.SumPool2d if self.rng.random() < 0.5 else nir.AvgPool2d
        stride = int(self.some(1, 2))
        node = kind(np.array([2, 2]), np.array([stride, stride]), np.array([0, 0]))
        size = (height - 2) // stride + 1, (width - 2) // stride + 1
        return self.add("pool", node, source, (channels, *size))

    def neuron(self, source: str, spiking: bool = True, shape: tuple[int, ...] | None = None) -> str:
        shape = self.shape[source] if shape is None else shape

        def full(low: float, high: float) -> np.ndarray:
            if self.rng.random() < 0.5:
                return np.full(shape, self.rng.uniform(low, high))
            return self.rng.uniform(low, high, shape)

        tau, r = full(2e-3, 2e-2), full(2.0, 6.0)
        leak = full(-0.02, 0.02) if self.rng.random() < 0.3 else np.zeros(shape)
        threshold = full(0.2, 0.6)
        reset = -full(0.0, 0.2) if self.rng.random() < 0.3 else np.zeros(shape)
        kind = str(self.some("LIF", "LIF", "IF", "CubaLIF")) if spiking else str(self.some("LI", "CubaLI"))
        if kind == "LIF":
            node: nir.NIRNode = nir.LIF(tau, r, leak, threshold, reset)
        elif kind == "IF":
            node = nir.IF(r * 50, threshold, reset)
        elif kind == "CubaLIF":
            node = nir.CubaLIF(full(2e-3, 9e-3), tau, r, leak, threshold, reset, full(0.5, 2.0))
            if self.rng.spawn(1)[0].random() < 0.3:
                node.metadata = {"neurodeploy": {"reset_current": True}}
        elif kind == "LI":
            node = nir.LI(tau, r, leak)
        else:
            node = nir.CubaLI(full(2e-3, 9e-3), tau, r, leak, full(0.5, 2.0))
        return self.add(kind.lower(), node, source, shape)


def random_graph(seed: int) -> nir.NIRGraph:
    """Input -> 1 to 4 layers with pools, scales, delays, skips and recurrence -> one or two outputs."""
    b = Builder(seed)
    at, populations = "input", ["input"]
    for _ in range(int(b.rng.integers(1, 5))):
        if len(b.shape[at]) == 3 and min(b.shape[at][1:]) >= 3 and b.rng.random() < 0.6:
            if b.rng.random() < 0.3:
                at = b.pool(at)
            at = b.conv(at)
            if b.rng.random() < 0.2 and min(b.shape[at][1:]) >= 3:
                at = b.pool(at)
        elif len(b.shape[at]) == 3 and b.rng.random() < 0.3:
            channels, height, width = b.shape[at]
            rows = nir.Flatten({"input": np.array(b.shape[at])}, 1, 2)
            at = b.conv1d(b.add("rows", rows, at, (channels, height * width)))
        elif len(b.shape[at]) == 2 and b.rng.random() < 0.5:
            at = b.conv1d(at)
        else:
            at = b.linear(at, int(b.rng.integers(1, 12)))
        if b.rng.random() < 0.2:
            at = b.add("scale", nir.Scale(b.rng.uniform(0.5, 1.5, b.shape[at])), at, b.shape[at])
        if b.rng.random() < 0.15:
            steps = b.rng.integers(0, 3, b.shape[at]) if b.rng.random() < 0.5 else np.full(b.shape[at], 2)
            at = b.add("delay", nir.Delay(steps * 1e-3), at, b.shape[at])
        before, at = at, b.neuron(at)
        size = int(np.prod(b.shape[at]))
        if b.rng.random() < 0.3 and len(b.shape[at]) == 1:
            source = str(b.some(*populations))
            skip = b.linear(source, size)
            b.edges.append((skip, at))
        if b.rng.random() < 0.25 and len(b.shape[at]) == 1:
            loop = b.add("rec", nir.Linear(b.rng.normal(size=(size, size)) * 0.3), at, (size,))
            b.edges.append((loop, at))
        populations.append(at)
        assert before in b.nodes
    if b.rng.random() < 0.3:
        at = b.neuron(b.linear(at, 3), spiking=False)
    outputs = [at]
    if len(populations) > 2 and b.rng.random() < 0.3:
        outputs.append(populations[1])
    for index, name in enumerate(outputs):
        b.nodes[f"output{index}"] = nir.Output(np.array(b.shape[name]))
        b.edges.append((name, f"output{index}"))
    return nir.NIRGraph(b.nodes, b.edges, type_check=False)
