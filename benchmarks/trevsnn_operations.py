"""How many operations T-RevSNN takes for its parameters, and a plain spiking network of as many parameters.

    python benchmarks/trevsnn_operations.py [--epochs N] [--output DIR] [--record]

Networks of T = 1, 2, 4 and 8 columns (8-12-16-24 channels, digits of 8 x 8) and a plain network of the same blocks,
one column wide enough for the parameters of four columns and run for 4 steps (`neurodeploy.models.trevsnn.plain`), are
trained, exported, compiled for Loihi 2 and run on the 450 test images. Printed are, for each, parameters to deploy,
accuracy, the operations of a pass in which every neuron spikes (all synapses of the torch layers, depth-wise and
1 x 1 apart), and the synaptic operations (SOPs) that the chip counts, where both are one layer, per parameter.
``--record`` keeps it in docs/recorded/trevsnn_operations.txt.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from recorded import recorded
from torch import nn

import neurodeploy as nd
from neurodeploy.models.data import sources
from neurodeploy.models.system import Recipe, parameters
from neurodeploy.models.training import loop
from neurodeploy.models.trevsnn.network import Shape, TRevSNN
from neurodeploy.models.trevsnn.plain import PlainSNN, like
from neurodeploy.models.trevsnn.system import SYSTEM

SHAPE = Shape((8, 12, 16, 24), 1, kernel=3, classes=10, stem=((3, 1),), inputs=1, largest=16)
COLUMNS = (1, 2, 4, 8)


def operations(net: nn.Module, x: torch.Tensor) -> int:
    """Multiply-accumulates of all convolutions behind the stem for one sample."""
    found = []

    def look(module: nn.Module, _args: Any, out: torch.Tensor) -> None:
        assert isinstance(module, nn.Conv2d)
        found.append(out.numel() * module.weight[0].numel())

    for name, module in net.named_modules():
        if isinstance(module, nn.Conv2d) and "stem" not in name and "inner" not in name:
            module.register_forward_hook(look)
    with torch.no_grad():
        net(x[:1])
    return sum(found)


def weights(net: nn.Module, deployed: int) -> int:
    """Parameters as a chip stores them: columns that share the end of a block have a copy each."""
    if not isinstance(net, TRevSNN):
        return deployed
    return deployed + sum(parameters(column) for column in net.columns) - parameters(net.columns)


def measured(net: nn.Module, recipe: Recipe, folder: Path, name: str) -> dict[str, float]:
    """Trained, deployed, counted."""
    data = sources.load("digits")
    trainer = loop.Trainer(net, recipe, data, 0, loop.Machine(threads=1))
    for _ in trainer.epochs():
        pass
    x = data.test.x.astype(np.float32)
    folder.mkdir(parents=True, exist_ok=True)
    model = nd.export(net.eval(), x[:4], folder / f"{name}.nir")
    options = nd.CompileOptions(passes="prune,encode-on-host,encode,quantise")
    program = model.compile("loihi2", options, calibration=data.train.x[:64].astype(np.float32))
    cost = program.cost(x, host="arm") if program.network.stages else program.cost(x)
    deployed = SYSTEM.deployed(net) if SYSTEM.deployed and isinstance(net, TRevSNN) else parameters(net)
    return {
        "parameters": deployed,
        "weights": weights(net, deployed),
        "accuracy": loop.accuracy(net, data.test),
        "chip": program.run(x).accuracy(data.test.y).accuracy,
        "operations": operations(net, torch.from_numpy(x)),
        "sops": cost.totals()["sops"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--output", type=Path, default=Path("zoo-output"))
    parser.add_argument("--record", action="store_true", help="keep what is printed")
    args = parser.parse_args()
    torch.set_num_threads(1)
    ours = Recipe(
        args.epochs, "every-head", learning_rate=4e-3, optimiser="adamw", weight_decay=0.01, warm_up=2, clip=1.0
    )
    found: dict[str, dict[str, float]] = {}
    with recorded("trevsnn_operations" if args.record else None):
        for columns in COLUMNS:
            torch.manual_seed(0)
            net = TRevSNN(replace(SHAPE, columns=columns, heads=min(4, columns)))
            found[f"T = {columns}"] = measured(net, ours, args.output, f"operations-{columns}")
            said(f"T = {columns}", found[f"T = {columns}"])
        four = found["T = 4"]
        torch.manual_seed(0)
        plain = PlainSNN(like(replace(SHAPE, columns=4), int(four["parameters"])))
        found["plain"] = measured(plain, replace(ours, loss="cross-entropy"), args.output, "operations-plain")
        said("plain, 4 steps", found["plain"])
        for what, of in product(("operations", "sops"), ("parameters", "weights")):
            per = [found[f"T = {c}"][what] / found[f"T = {c}"][of] for c in COLUMNS]
            print(f"{what} per {of.removesuffix('s')}, T = 1 to 8: {', '.join(f'{p:.2f}' for p in per)}, a spread of "
                  f"{max(per) / min(per) - 1:.1%}")  # fmt: skip
        for what in ("operations", "sops"):
            print(f"the plain network takes {found['plain'][what] / four[what]:.2f} times the {what} of T = 4")


def said(name: str, one: dict[str, float]) -> None:
    """A network's figures."""
    print(
        f"{name}: {one['parameters']:,.0f} parameters, {one['accuracy']:.2%} in torch, {one['chip']:.2%} on the chip, "
        f"{one['operations']:,.0f} operations if every neuron spikes ({one['operations'] / one['parameters']:.2f} per "
        f"parameter), {one['sops']:,.0f} SOPs ({one['sops'] / one['parameters']:.2f})"
    )


if __name__ == "__main__":
    main()
