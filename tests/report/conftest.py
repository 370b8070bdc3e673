"""A made-up but plausible report of two networks."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest

from neurodeploy.hwsim.chips.arch import load_architecture
from neurodeploy.hwsim.counts.counts import CORE, FABRIC, LAYER, Counts
from neurodeploy.hwsim.prices.pricing import price
from neurodeploy.hwsim.timing.tiers import core_timing
from neurodeploy.report.build import energy_of, latency_of
from neurodeploy.report.document import (
    Core,
    Divergence,
    Layer,
    NetworkResult,
    Pair,
    Raster,
    RasterPopulation,
    Report,
    Source,
    Stage,
)

Spec = tuple[str, str, str, tuple[int, ...], int, int, float]


def make_network(name: str, description: str, specs: tuple[Spec, ...], seed: int, failed: bool) -> NetworkResult:
    """A made-up network; the numbers are plausible, not measured."""
    rng = np.random.default_rng(seed)
    steps, samples = 32, 3
    cores = [(layer, part) for layer, spec in enumerate(specs) for part in range(spec[4])]
    layers, core = [], {key: np.zeros((len(cores), steps + 3, samples), np.int64) for key in CORE}
    for index, (title, handle, kind, shape, used, synapses, rate) in enumerate(specs):
        neurons = math.prod(shape)
        wave = rate * (0.55 + 0.45 * np.sin(np.arange(steps) / 4 + index)) * (1 - np.exp(-np.arange(steps) / 3))
        events = neurons * np.clip(wave + 0.1 * rate * rng.standard_normal(steps), 0, None)
        arriving = (
            synapses * specs[index - 1][6] * (0.6 + 0.4 * np.sin(np.arange(steps) / 4 + index)) if index else 0 * events
        )
        layers.append(
            Layer(
                name=title,
                handle=handle,
                kind=kind,
                shape=shape,
                neurons=neurons,
                cores=used,
                synapses=synapses,
                events_per_inference=float(events.sum()),
                rate=float(events.mean() / neurons),
                sops=float(arriving.sum()),
                nonzero_sops=float(0.81 * arriving.sum()),
                updates=float(neurons * (steps + 3)) if index else 0.0,
                active_updates=float(0.4 * neurons * (steps + 3)) if index else 0.0,
                events_per_step=tuple(events.tolist()),
                sops_per_step=tuple(arriving.tolist()) if index else (),
            )
        )
        for row, (layer, _) in enumerate(cores):
            if layer == index:
                noise = rng.uniform(0.9, 1.1, (steps, samples))
                core["sops"][row, 3:] = (arriving[:, None] / used * noise).astype(np.int64)
                core["updates"][row] = neurons // used
                core["active_updates"][row, 3:] = (0.4 * neurons / used * noise).astype(np.int64)
    numbers = tuple(range(len(cores)))
    counts = Counts(
        populations=tuple(spec[0] for spec in specs),
        cores=numbers,
        layer={key: np.zeros((len(specs), steps, samples), np.int64) for key in LAYER},
        core=core,
        fabric={key: rng.integers(0, 900, (steps + 3, samples)) for key in FABRIC},
    )
    chip = load_architecture("loihi1")
    timing = core_timing(counts, chip)
    raster = []
    for spec, layer in zip(specs, layers, strict=True):
        fired = rng.random((steps, layer.neurons)) < np.array(layer.events_per_step)[:, None] / layer.neurons
        times, indices = np.nonzero(fired)
        raster.append(
            RasterPopulation(
                name=spec[0], neurons=layer.neurons, times=tuple(times.tolist()), indices=tuple(indices.tolist())
            )
        )
    names = ("torch model", "NIR graph", "float network", "integer network", "program on hwsim", "program on Lava")
    pairs = []
    for first, second in pairwise(names):
        quantised, wrong = second == "integer network", failed and second == "program on Lava"
        differs = quantised or wrong
        pairs.append(
            Pair(
                first=first,
                second=second,
                exact_by_design=not quantised,
                equal=not differs,
                samples=40,
                compared=40 * 32 * 2186,
                spikes_different=20_144 if differs else 0,
                states_different=1_204_377 if differs else 0,
                spike_distance=0.0517 if differs else 0.0,
                verdict="failed" if wrong else "measured" if quantised else "equal",
                divergence=Divergence(
                    population=specs[1][0],
                    handle=specs[1][1],
                    step=4,
                    sample=0,
                    neuron=187,
                    first_v=0.98412,
                    second_v=1.00375,
                )
                if differs
                else None,
            )
        )
    return NetworkResult(
        name=name,
        description=description,
        source=Source(
            framework="snnTorch",
            versions={"snntorch": "1.0.0", "torch": "2.13.0", "nir": "1.0.8"},
            file=f"models/{name}.nir",
            sha256="9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
            dt=1e-3,
            steps=steps,
        ),
        stages=(
            Stage(name="torch", accuracy=0.978, samples=1000),
            Stage(name="quantised", accuracy=0.974, samples=1000),
            Stage(name="chip", accuracy=0.974 if not failed else None, samples=1000),
        ),
        pairs=tuple(pairs),
        layers=tuple(layers),
        energy=energy_of(price(counts, chip, timing)),
        latency=latency_of(timing),
        cores=tuple(
            Core(
                core=number,
                tile=chip.tile_of(number),
                neurons=layers[layer].neurons // specs[layer][4],
                neurons_limit=1024,
                synapse_bytes=min(131072, layers[layer].synapses // specs[layer][4]),
                synapse_limit=131072,
                axons_in=[784, 1152, 512, 1024][layer % 4],
                axons_in_limit=4096,
                axons_out=min(4096, layers[layer].neurons),
                axons_out_limit=4096,
                populations=(specs[layer][0],),
                sops=float(core["sops"][number].sum() / samples),
            )
            for number, (layer, _) in zip(numbers, cores, strict=True)
        ),
        raster=Raster(sample=7, label=4, predicted=4, steps=steps, populations=tuple(raster)),
        notes={
            "time": "Every hop on the chip costs one step; recordings are aligned to network time.",
            "net.1 (BatchNorm2d)": "Folded into the weights of net.0.",
            "weights": "8 bits with a common exponent per layer; weights of both signs keep only even values.",
        },
    )


@pytest.fixture(scope="module")
def report() -> Report:
    """Two networks, one of them with a failed comparison."""
    conv: tuple[Spec, ...] = (
        ("input", "input", "input", (2, 34, 34), 0, 0, 0.012),
        ("conv1", "net.0", "conv2d", (8, 16, 16), 2, 36_864, 0.06),
        ("conv2", "net.3", "conv2d", (16, 8, 8), 2, 294_912, 0.045),
        ("fc1", "net.7", "dense", (128,), 1, 131_072, 0.08),
        ("out", "net.9", "dense", (10,), 1, 1_280, 0.11),
    )
    wide: tuple[Spec, ...] = (
        ("input", "input", "input", (700,), 0, 0, 0.02),
        ("hidden", "encoder.hidden + encoder.hidden.recurrent", "dense", (4608,), 20, 2_400_000, 0.03),
        ("readout", "readout", "dense", (20,), 1, 92_160, 0.04),
    )
    return Report(
        title="Convolutional and recurrent classifiers on Loihi",
        neurodeploy="0.1.0",
        chip="loihi1",
        networks=(
            make_network("nmnist-conv", "Event-camera digits, two convolutions, 32 steps of 1 ms.", conv, 1, False),
            make_network("shd-recurrent", "Spoken digits from a silicon cochlea, one recurrent layer.", wide, 2, True),
        ),
    )
