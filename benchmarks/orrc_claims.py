"""What ORRC + SynA claims, measured on the networks that ``make zoo`` trains.

    python benchmarks/orrc_claims.py [--output DIR] [--seeds N] [--record]

- Convolutions behind the first hear zeros and ones alone; with spikes added instead (ADD), some values are 2.
- Accuracy of OR and of ADD, on the test images, seed by seed.
- Gates of inhibitory attention: how many are open before training and after it, on the training images. "Natural
  pruning" is a gate that training closes; one that was never open is none.
- Shortcuts that are silent on all test images are taken off by ``prune-silent``; the scores are compared bit by bit.
- The published energies, from the released rates: as published, and from what each layer hears.

Networks are taken from DIR (zoo-output), or trained. ``--record`` keeps what is printed in docs/recorded/.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from recorded import recorded
from torch import nn

import neurodeploy as nd
from neurodeploy.models import registry
from neurodeploy.models.data import sources
from neurodeploy.models.data.dataset import DataSet
from neurodeploy.models.orrc import energy
from neurodeploy.models.orrc.network import OrrcResNet, gate_rates
from neurodeploy.models.training.loop import Machine

KINDS = ("temporal", "channel", "spatial")


def trained(name: str, seed: int, folder: Path) -> tuple[OrrcResNet, float]:
    """The network of a preset, and its accuracy on the test images."""
    found = nd.train(name, folder / f"{name}-{seed}", seed=seed, machine=Machine(threads=1))
    assert isinstance(found.module, OrrcResNet)
    return found.module, found.accuracy


def outside(net: OrrcResNet, x: torch.Tensor) -> float:
    """Share of what convolutions behind the first and the classifier's mean hear that is not 0 or 1."""
    counts = [0, 0]

    def look(_module: nn.Module, args: tuple[torch.Tensor, ...]) -> None:
        counts[0] += int(((args[0] != 0) & (args[0] != 1)).sum())
        counts[1] += args[0].numel()

    wide = [m for m in net.modules() if isinstance(m, nn.Conv2d) and m.in_channels > 2]
    hooks = [m.register_forward_pre_hook(look) for m in wide if m is not net.first.convolution]
    with torch.no_grad():
        net(x)
    for hook in hooks:
        hook.remove()
    return counts[0] / counts[1]


def silent(net: OrrcResNet, data: DataSet) -> str:
    """What ``prune-silent`` takes off on the test images, and whether their scores stay."""
    x = data.test.x.astype(np.float32)
    model = nd.export(net, x[:8], host="work")
    before = model.compile(None, nd.CompileOptions(passes="prune"), calibration=x)
    after = model.compile(None, nd.CompileOptions(passes="prune,prune-silent"), calibration=x)
    gone = {p.name for p in before.network.populations} - {p.name for p in after.network.populations}
    shortcuts = sorted(name for name in gone if "shortcut" in name and name.endswith("lif") and "attention" not in name)
    same = np.array_equal(before.run(x).returned[0], after.run(x).returned[0])
    return f"{len(shortcuts)} of {len(net.stages)} shortcuts, scores {'equal bit by bit' if same else 'DIFFER'}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("zoo-output"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--record", action="store_true", help="keep what is printed")
    args = parser.parse_args()
    torch.set_num_threads(1)
    data = sources.load("digits")
    test, training = (torch.from_numpy(part.x.astype(np.float32)) for part in (data.test, data.train))
    with recorded("orrc_claims" if args.record else None):
        for seed in range(args.seeds):
            both = {name: trained(name, seed, args.output) for name in ("orrc-digits", "orrc-digits-add")}
            shares = {name: outside(net, test) for name, (net, _) in both.items()}
            accuracies = [accuracy for _, accuracy in both.values()]
            print(
                f"seed {seed}: OR {accuracies[0]:.2%}, ADD {accuracies[1]:.2%}; inputs of convolutions that are not 0 "
                f"or 1: OR {shares['orrc-digits']:.4%}, ADD {shares['orrc-digits-add']:.4%}"
            )
        for kind in KINDS:
            name = f"orrc-digits-{kind}"
            system, preset = registry.preset(name)
            for seed in range(args.seeds if kind == "temporal" else 1):
                torch.manual_seed(seed)
                fresh = system.build(preset.shape).eval()
                assert isinstance(fresh, OrrcResNet)
                net, accuracy = trained(name, seed, args.output)
                rates = [", ".join(f"{r:.3f}" for r in gate_rates(n, training)) for n in (fresh, net)]
                print(f"{name}, seed {seed}: {accuracy:.2%}; open gates before {rates[0]}, after {rates[1]}; "
                      f"silent on all test images: {silent(net, data)}")  # fmt: skip
        for name, said in energy.released()["sets"].items():
            theirs, ours = energy.published(name), energy.counted(name)
            print(
                f"{name}: {theirs.energy:.5f} mJ (printed {said['printed']['energy']:.5f}), {ours.energy:.5f} mJ from "
                f"what each layer hears; {theirs.spikes / theirs.neurons:.2f} spikes per neuron"
            )


if __name__ == "__main__":
    main()
