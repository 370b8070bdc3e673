"""Counts against a brute-force walk over every synapse, one spike at a time."""

from dataclasses import replace

import numpy as np
import pytest

from neurodeploy.errors import InvalidInputError
from neurodeploy.hwsim import engine
from neurodeploy.hwsim.chips.arch import load_architecture
from neurodeploy.hwsim.counts import counts as module
from neurodeploy.hwsim.counts.counts import Counter, count
from neurodeploy.hwsim.prices.pricing import price
from neurodeploy.program.schedule import schedule
from tests.networks import placed, random_network, random_spikes


@pytest.mark.parametrize("seed", range(0, 24, 2))
@pytest.mark.parametrize("most", [1 << 31, 60, 1], ids=["one portion", "portions", "an event each"])
def test_counts_equal_a_walk_over_every_synapse(seed: int, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", most)
    program = placed(random_network(seed, "loihi"), cores=9)
    network, arch = program.network, load_architecture("loihi1")
    run = engine.run(program, {"input": random_spikes(network, seed, steps=6, samples=2)})
    counts = count(program, run, arch)
    times = schedule(network)
    row = {name: index for index, name in enumerate(counts.populations)}
    core_row = {core: index for index, core in enumerate(counts.cores)}
    chip_steps = run.steps + times.depth
    sops, nonzero = np.zeros_like(counts.layer["sops"]), np.zeros_like(counts.layer["sops"])
    core_sops = np.zeros((len(counts.cores), chip_steps, run.samples), int)
    messages_in, east_west = np.zeros_like(core_sops), np.zeros((chip_steps, run.samples), int)
    host = np.zeros_like(east_west)
    for p in network.projections:
        matrix, home = p.connectivity.to_csr(), program.core_of[p.target]
        events = run.spikes[p.source]
        for t, b, i in zip(events.time, events.sample, events.neuron, strict=True):
            if t + p.delay >= run.steps:
                continue
            targets = matrix.indices[matrix.indptr[i] : matrix.indptr[i + 1]]
            values = matrix.data[matrix.indptr[i] : matrix.indptr[i + 1]]
            sops[row[p.target], t + p.delay, b] += len(targets)
            nonzero[row[p.target], t + p.delay, b] += np.count_nonzero(values)
            walked = t + times.lag[p.source]
            for target in targets:
                core_sops[core_row[home[target]], walked, b] += 1
            for core in {int(home[target]) for target in targets}:
                messages_in[core_row[core], walked, b] += 1
                if p.source in program.core_of:
                    hops = arch.hops(int(program.core_of[p.source][i]), core)
                    east_west[t + times.lag[p.source], b] += hops[0]
                else:
                    host[t + times.lag[p.source], b] += 1
    np.testing.assert_array_equal(counts.layer["sops"], sops)
    np.testing.assert_array_equal(counts.layer["nonzero_sops"], nonzero)
    np.testing.assert_array_equal(counts.core["sops"], core_sops)
    np.testing.assert_array_equal(counts.core["messages_in"], messages_in)
    np.testing.assert_array_equal(counts.fabric["hops_east_west"], east_west)
    np.testing.assert_array_equal(counts.fabric["host_messages"], host)
    assert sops.sum() > 0


def test_layers_and_cores_agree_in_sum() -> None:
    program = placed(random_network(3, "loihi"))
    run = engine.run(program, {"input": random_spikes(program.network, 3)})
    counts = count(program, run, load_architecture("loihi1"))
    for name in ("sops", "nonzero_sops", "active_updates"):
        np.testing.assert_array_equal(counts.layer[name].sum(axis=(0, 1)), counts.core[name].sum(axis=(0, 1)))
    mapped = sum(p.size for p in program.network.populations if p.name in run.active)
    assert (counts.core["updates"].sum(axis=0) == mapped).all(), "every mapped neuron, every chip step"


def test_a_recording_without_active_updates_is_refused() -> None:
    from neurodeploy.backends.reference import run as reference

    program = placed(random_network(3, "loihi"))
    run = reference.run(program, {"input": random_spikes(program.network, 3)})
    with pytest.raises(InvalidInputError, match="does not count active updates"):
        count(program, run, load_architecture("loihi1"))


def test_no_count_wraps() -> None:
    """As if every message walked 2^30 synapses: some 2^40 in a step and core, 2^42 in all."""
    arch = load_architecture("loihi1")
    program = placed(random_network(3, "loihi"), cores=1)
    run = engine.run(program, {"input": random_spikes(program.network, 3, steps=40, samples=2, rate=0.9)})
    counter = Counter(program, arch)
    counter.routes = tuple(
        replace(r, synapses=np.full(len(r.synapses), 1 << 30, np.int32), nonzero=r.nonzero[:0], words=r.words * 0 + 7)
        for r in counter.routes
    )
    counts = counter.count(run)
    messages = int(counts.layer["messages_out"].sum())
    assert messages > 1 << 10
    assert counts.core["sops"].sum() == counts.core["messages_in"].sum() << 30 == messages << 30
    assert counts.layer["sops"].min() >= 0
    assert counts.core["words"].sum() == 7 * messages
    bill = {line.component: line for line in price(counts, arch).lines}
    walked = sum(line.count for name, line in bill.items() if name.startswith("synaptic_operation"))
    assert walked == (messages << 30) / run.samples
    assert all(line.energy_pj >= 0 for line in bill.values())
