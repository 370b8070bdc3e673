"""Messages between cores of a 35,000-neuron convolutional network on 32 cores, by the order in which neurons are dealt.

    python benchmarks/partition.py [--rate R] [--record]

Four layers of 5 x 5 convolutions on images of 32 x 32 (two polarities in), 7.8 million synapses; every neuron spikes
with probability R in a step (1 by default). A message is a spike sent to one other core that holds a synapse of it.
mt-KaHyPar minimises exactly that (objective km1); it is an extra (pip install '.[partition]') and left out
without it. ``--record`` keeps what is printed in docs/recorded/partition.txt, where figures of docs/howto-fit-a-chip.md
are looked up.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from recorded import recorded

from neurodeploy.errors import NeurodeployError
from neurodeploy.network.arrays import Array
from neurodeploy.network.connectivity import Conv2d, Dense
from neurodeploy.network.network import Network, Population, Projection
from neurodeploy.network.neurons import Lif, Source
from neurodeploy.placement.partition import Partition
from neurodeploy.placement.place import Place
from neurodeploy.program.limits import Limits
from neurodeploy.program.program import Program
from neurodeploy.program.routing import fan_out

CORES = 32


def neurons(count: int) -> Lif:
    zero = np.zeros(count, np.int32)
    return Lif(zero + 4095, zero + 400, zero, zero + 6400, zero, zero)


def network() -> Network:
    """2 x 32 x 32 -> 8 x 32 x 32 -> 16 x 32 x 32 -> 32 x 16 x 16 -> 32 x 8 x 8 -> 10."""
    rng = np.random.default_rng(0)
    shapes = [(2, 32, 32), (8, 32, 32), (16, 32, 32), (32, 16, 16), (32, 8, 8)]
    populations = [Population("input", shapes[0], Source())]
    projections = []
    for index, shape in enumerate(shapes[1:], 1):
        name = f"conv{index}"
        weights = (2 * rng.integers(1, 60, (shape[0], shapes[index - 1][0], 5, 5))).astype(np.int16)
        stride = shapes[index - 1][1] // shape[1]
        kind = Conv2d(weights, shapes[index - 1], (stride, stride), (2, 2))
        populations.append(Population(name, shape, neurons(int(np.prod(shape)))))
        projections.append(Projection(f"to {name}", populations[-2].name, name, kind))
    last = populations[-1]
    dense = Dense(np.full((10, last.size), 2, np.int16))
    populations.append(Population("out", (10,), neurons(10)))
    projections.append(Projection("to out", last.name, "out", dense))
    return Network("convolutions", tuple(populations), tuple(projections), ("out",), 1e-3, "loihi")


def messages(program: Program) -> int:
    """Messages to other cores when every neuron on the chip spikes once."""
    total = 0
    for projection in program.network.projections:
        if projection.source in program.core_of:
            table = fan_out(projection, program.core_of[projection.target])
            own: Array = np.repeat(program.core_of[projection.source], np.diff(table.indptr))
            total += int((table.cores != own).sum())
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=1.0, help="spikes of a neuron in a step")
    parser.add_argument("--record", action="store_true", help="keep what is printed in docs/recorded/partition.txt")
    chosen = parser.parse_args()
    with recorded("partition" if chosen.record else None):
        compare(chosen.rate)


def compare(rate: float) -> None:
    """All orders, one after the other."""
    net = network()
    on_chip = [p for p in net.populations if not isinstance(p.neuron, Source)]
    total = sum(p.size for p in on_chip)
    synapses = sum(int(fan_out(p, np.zeros(p.connectivity.outputs, int)).synapses.sum()) for p in net.projections)
    print(f"{total:,} neurons, {synapses:,} synapses, {CORES} cores")
    found: dict[str, int] = {}
    for order in ("random", "sequential", "spatial", "hypergraph"):
        # The smallest cores with which this order needs no more than CORES of them.
        started = time.process_time()
        cap = -(-total // CORES)
        try:
            while True:
                limits = Limits("cores", CORES, cap)
                if order == "hypergraph":
                    parts = Partition(limits, int(cap * 1.05), order, blocks=CORES).parts(net)
                else:
                    parts = Partition(limits, cap, order, share=True).parts(net)
                if len(parts) <= CORES:
                    break
                cap += max(cap // 100, 1)
        except NeurodeployError as error:
            print(f"{order:<11} {error}")
            continue
        largest = max(sum(map(len, part.values())) for part in parts)
        place = Place(Limits("cores", CORES, largest), order="sequential")
        found[order] = messages(_program(place, net, parts))
        print(
            f"{order:<11} {found[order] * rate:>12,.0f} messages a step  {len(parts)} cores of at most {largest:,} "
            f"neurons  {time.process_time() - started:.1f} s"
        )
    print(f"random / spatial      {found['random'] / found['spatial']:.1f}")
    print(f"sequential / spatial  {found['sequential'] / found['spatial']:.1f}")
    if "hypergraph" in found:
        print(f"spatial / hypergraph  {found['spatial'] / found['hypergraph']:.2f}")


def _program(place: Place, net: Network, parts: list) -> Program:  # type: ignore[type-arg]
    core_of = {p.name: np.zeros(p.size, np.int32) for p in net.populations if not isinstance(p.neuron, Source)}
    for core, part in enumerate(parts):
        for name, members in part.items():
            core_of[name][members] = core
    return Program(net, place.limits.chip, core_of)


if __name__ == "__main__":
    main()
