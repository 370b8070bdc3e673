"""Writes `tool_files.zip`: small networks as each tool's own exporter writes them, with the tool's own spikes.

    python make_tool_files.py snntorch|norse|sinabs|spikingjelly|spyx|rockpool|nengo|lava_dl

in an environment that has the tool. Made with snnTorch 1.0.0, norse 1.1.0, sinabs 3.1.3, SpikingJelly 2.0.0 (torch
2.13.0), spyx 1.0.0 (jax 0.10.2), Rockpool 3.1.0, Nengo 4.1.0 and lava-dl 0.6.0, nir 1.0.8 and nirtorch 2.6. The
networks are random and made here; nothing of the tools is in the file. Nengo and lava-dl have no NIR writer: their
graphs are made here, with the parameters that the NIR repository's scripts give them. For each network ``NAME`` the
file holds ``NAME.nir`` and ``NAME.npz``: ``x [time, batch, inputs]`` and, by the name of its node in the graph, the
spikes (or potentials) ``[time, batch, neurons]`` of each layer as the tool computed them.
"""

from __future__ import annotations

import io
import itertools
import sys
import tempfile
import types
import zipfile
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent / "tool_files.zip"
INPUTS, HIDDEN, OUTPUTS, STEPS, SAMPLES = 6, 8, 3, 40, 2
RNG = np.random.default_rng(0)


def x() -> np.ndarray:
    return (RNG.random((STEPS, SAMPLES, INPUTS)) < 0.4).astype(np.float32)


def spread(neurons: int, low: float, high: float) -> np.ndarray:
    return np.linspace(low, high, neurons, dtype=np.float32)


def save(name: str, graph: object, inputs: np.ndarray, spikes: dict[str, np.ndarray]) -> None:
    import nir

    assert all(a.any() for a in spikes.values()), f"{name}: a layer is silent"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.nir"
        nir.write(path, graph)
        arrays = io.BytesIO()
        np.savez_compressed(arrays, x=inputs.astype(np.uint8), **{k: small(v) for k, v in spikes.items()})
        kept = {}
        if HERE.exists():
            with zipfile.ZipFile(HERE) as old:
                kept = {n: old.read(n) for n in old.namelist()}
        kept |= {f"{name}.nir": path.read_bytes(), f"{name}.npz": arrays.getvalue()}
    with zipfile.ZipFile(HERE, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as new:
        for member, data in sorted(kept.items()):
            new.writestr(zipfile.ZipInfo(member), data, zipfile.ZIP_DEFLATED, 9)
    sys.stdout.write(f"{name} { {k: float(v.sum()) for k, v in spikes.items()} }\n")


def small(values: np.ndarray) -> np.ndarray:
    whole = (values == np.rint(values)).all() and values.max() < 256 and values.min() >= 0
    return values.astype(np.uint8 if whole else np.float32)


def linear(inputs: int, outputs: int, gain: float, bias: bool = True):
    import torch

    layer = torch.nn.Linear(inputs, outputs, bias=bias)
    layer.weight.data *= gain
    return layer


def stepped(net, layers: list[str], inputs: np.ndarray, state: bool = False):
    """Outputs of these modules, by a forward hook, over time; ``state`` where the network passes it on."""
    import torch

    found: dict[str, list[np.ndarray]] = {name: [] for name in layers}
    for name in layers:
        net.get_submodule(name).register_forward_hook(
            lambda _, __, out, name=name: found[name].append(
                (out[0] if isinstance(out, tuple) else out).detach().numpy().copy()
            )
        )
    memory = None
    with torch.no_grad():
        for step in inputs:
            if state:
                _, memory = net(torch.tensor(step), memory)
            else:
                net(torch.tensor(step))
    return {name: np.stack(values) for name, values in found.items()}


def snntorch() -> None:
    import snntorch as snn
    import torch
    from snntorch.export_nir import export_to_nir

    def make(name: str, neuron, second_gain: float, gain: float, layer: str = "1", **rules) -> None:
        torch.manual_seed(1)
        beta = torch.tensor(spread(OUTPUTS, 0.7, 0.95))
        last = snn.Leaky(beta=beta, threshold=torch.ones(OUTPUTS) / 2, init_hidden=True, output=True, **rules)
        net = torch.nn.Sequential(
            linear(INPUTS, HIDDEN, gain), neuron(**rules), linear(HIDDEN, OUTPUTS, second_gain), last
        )
        graph, inputs = export_to_nir(net, torch.zeros(1, INPUTS), ignore_dims=[0]), x()
        for module in net:
            for memory in ("mem", "syn", "spk"):
                if hasattr(module, memory):
                    setattr(module, memory, torch.zeros(0))
        found = stepped(net, ["1", "3"], inputs)
        save(name, graph, inputs, {layer: found["1"], "3": found["3"]})

    shared = {"threshold": torch.ones(HIDDEN) / 2, "init_hidden": True}
    beta, alpha = torch.tensor(spread(HIDDEN, 0.7, 0.95)), torch.tensor(spread(HIDDEN, 0.4, 0.8))
    leaky = lambda **r: snn.Leaky(beta=beta, **shared, **r)  # noqa: E731
    synaptic = lambda **r: snn.Synaptic(alpha=alpha, beta=beta, **shared, **r)  # noqa: E731
    rleaky = lambda **r: snn.RLeaky(beta=beta, linear_features=HIDDEN, **shared, **r)  # noqa: E731
    make("snntorch-leaky", leaky, 3, 3)
    make("snntorch-leaky-zero", leaky, 3, 3, reset_mechanism="zero")
    make("snntorch-leaky-once", leaky, 3, 3, reset_delay=False)
    make("snntorch-leaky-zero-now", leaky, 3, 3, reset_mechanism="zero", reset_delay=False)
    make("snntorch-synaptic", synaptic, 3, 1.5)
    make("snntorch-synaptic-zero", synaptic, 3, 1.5, reset_mechanism="zero")
    make("snntorch-rleaky", rleaky, 3, 3, layer="1.lif")
    make("snntorch-rleaky-zero", rleaky, 3, 3, layer="1.lif", reset_mechanism="zero")
    beta = torch.ones(HIDDEN)
    make("snntorch-beta-1", leaky, 3, 1)


def norse() -> None:
    import norse.torch as norse
    import torch
    from norse.torch.utils.export_nir import to_nir

    def make(name: str, cell, gains: tuple[float, float], **how) -> None:
        torch.manual_seed(2)
        net = norse.SequentialState(
            linear(INPUTS, HIDDEN, gains[0]), cell(HIDDEN), linear(HIDDEN, OUTPUTS, gains[1]), cell(OUTPUTS)
        )
        graph, inputs = to_nir(net, torch.zeros(INPUTS), **how), x()
        save(name, graph, inputs, stepped(net, ["1", "3"], inputs, state=True))

    def box(n: int):
        rate, rest = torch.tensor(spread(n, 70, 130)), torch.full((n,), 0.05)
        return norse.LIFBoxCell(norse.LIFBoxParameters(rate, v_leak=rest, v_th=torch.full((n,), 0.25)))

    def cell(n: int):
        rate, rest = torch.tensor(spread(n, 70, 130)), torch.full((n,), 0.05)
        return norse.LIFCell(
            norse.LIFParameters(tau_syn_inv=2 * rate, tau_mem_inv=rate, v_leak=rest, v_th=torch.full((n,), 0.25))
        )

    make("norse-box", box, (6, 9))
    make("norse-box-seconds", box, (6, 9), dt=1.0)
    make("norse-cell", cell, (2, 3))
    make("norse-iaf", lambda n: norse.IAFCell(norse.IAFParameters(v_th=torch.ones(n))), (1, 2))


def sinabs() -> None:
    import sinabs.layers as sl
    import torch
    from sinabs.activation import SingleSpike
    from sinabs.nir import to_nir

    def make(name: str, gains: tuple[float, float], first, last) -> None:
        torch.manual_seed(3)
        net = torch.nn.Sequential(linear(INPUTS, HIDDEN, gains[0]), first, linear(HIDDEN, OUTPUTS, gains[1]), last)
        inputs = x()
        flat = torch.tensor(inputs).transpose(0, 1).reshape(-1, INPUTS)
        found = {}
        hooks = [
            net[i].register_forward_hook(lambda _, __, out, i=i: found.__setitem__(str(i), out.detach().numpy()))
            for i in (1, 3)
        ]
        with torch.no_grad():
            net(flat)
        for hook in hooks:
            hook.remove()
        graph = to_nir(net, flat)
        graph.infer_types()
        save(name, graph, inputs, {k: v.reshape(SAMPLES, STEPS, -1).swapaxes(0, 1) for k, v in found.items()})

    def lif(n: int, **rules):
        tau = torch.tensor(spread(n, 7, 13))
        return sl.LIFSqueeze(tau_mem=tau, spike_threshold=torch.full((n,), 0.2), batch_size=SAMPLES, **rules)

    def iaf(n: int, **rules):
        return sl.IAFSqueeze(spike_threshold=torch.full((n,), 0.5), batch_size=SAMPLES, **rules)

    make("sinabs-lif", (6, 6), lif(HIDDEN), lif(OUTPUTS))
    make("sinabs-lif-unscaled", (1, 1), lif(HIDDEN, norm_input=False), lif(OUTPUTS, norm_input=False))
    make("sinabs-iaf", (1, 2), iaf(HIDDEN), iaf(OUTPUTS))
    make("sinabs-iaf-single", (1, 2), iaf(HIDDEN, spike_fn=SingleSpike), iaf(OUTPUTS, spike_fn=SingleSpike))
    make("sinabs-iaf-floor", (1, 2), iaf(HIDDEN, min_v_mem=-0.5), iaf(OUTPUTS, min_v_mem=-0.5))
    tau = torch.tensor(spread(OUTPUTS, 7, 13))
    make("sinabs-expleak", (1, 2), iaf(HIDDEN), sl.ExpLeakSqueeze(tau_mem=tau, batch_size=SAMPLES))


def spikingjelly() -> None:
    import torch
    from spikingjelly.activation_based import functional, neuron
    from spikingjelly.activation_based.nir_exchange import export_to_nir

    def make(name: str, gains: tuple[float, float], first, last, **how) -> None:
        torch.manual_seed(4)
        net = torch.nn.Sequential(linear(INPUTS, HIDDEN, gains[0]), first, linear(HIDDEN, OUTPUTS, gains[1]), last)
        graph, inputs = export_to_nir(net, torch.zeros(1, INPUTS), **how), x()
        functional.reset_net(net)
        found = stepped(net, ["1", "3"], inputs)
        save(name, graph, inputs, {f"_{key}": spikes for key, spikes in found.items()})

    half = {"v_threshold": 0.5}
    make("spikingjelly-lif", (5, 5), neuron.LIFNode(5.0, **half), neuron.LIFNode(4.0, v_reset=-0.25, **half))
    unscaled = {"decay_input": False, **half}
    make("spikingjelly-lif-unscaled", (1, 2), neuron.LIFNode(5.0, **unscaled), neuron.LIFNode(4.0, **unscaled))
    make("spikingjelly-if", (1, 2), neuron.IFNode(**half), neuron.IFNode(**half), dt=1e-3)
    cuba = {"c_decay": 0.6, "v_decay": 0.8, **half}
    make("spikingjelly-cuba", (1, 2), neuron.CUBALIFNode(**cuba), neuron.CUBALIFNode(**cuba))


def spyx() -> None:
    import jax.numpy as jnp
    import spyx.nir
    import spyx.nn as snn
    from flax import nnx

    seeds = nnx.Rngs(0)

    def make(name: str, gains: tuple[float, float], first, last, **how) -> None:
        layers = [nnx.Linear(INPUTS, HIDDEN, rngs=seeds), first, nnx.Linear(HIDDEN, OUTPUTS, rngs=seeds), last]
        for layer, gain in zip(layers[::2], gains, strict=True):
            layer.kernel[...] = layer.kernel[...] * gain
            layer.bias[...] = jnp.asarray(RNG.normal(0, 0.1, layer.bias.shape), jnp.float32)
        for layer in layers[1::2]:
            for decay in ("alpha", "beta"):
                if hasattr(layer, decay):
                    getattr(layer, decay)[...] = jnp.asarray(spread(layer.hidden_shape[0], 0.5, 0.95))
            if hasattr(layer, "recurrent_w"):
                layer.recurrent_w[...] = layer.recurrent_w[...] * 0.2
        inputs, net = x(), snn.Sequential(*layers)
        state, found = list(net.initial_state(SAMPLES)), {1: [], 3: []}
        for step in inputs:
            value = jnp.asarray(step)
            for index, layer in enumerate(layers):
                if index in found:
                    value, state[index] = layer(value, state[index])
                    found[index].append(np.asarray(value))
                else:
                    value = layer(value)
        ends = {"input": np.array([INPUTS])}, {"output": np.array([OUTPUTS])}
        node = "layer_1.layer_1.lif" if hasattr(first, "recurrent_w") else "layer_1"
        node += "_threshold" if isinstance(first, snn.PSU_LIF) else ""
        spikes = {node: np.stack(found[1]), "layer_3": np.stack(found[3])}
        save(name, spyx.nir.to_nir(net, *ends, **how), inputs, spikes)

    def of(kind, n: int):
        return kind((n,), rngs=seeds)

    make("spyx-lif", (3, 5), of(snn.LIF, HIDDEN), of(snn.LIF, OUTPUTS))
    make("spyx-cuba", (1, 3), of(snn.CuBaLIF, HIDDEN), of(snn.CuBaLIF, OUTPUTS), dt=1e-3)
    make("spyx-if", (1, 3), of(snn.IF, HIDDEN), of(snn.IF, OUTPUTS))
    make("spyx-rlif", (3, 5), of(snn.RLIF, HIDDEN), of(snn.LIF, OUTPUTS))
    make("spyx-rcuba", (1, 5), of(snn.RCuBaLIF, HIDDEN), of(snn.LIF, OUTPUTS))
    make("spyx-psu", (3, 5), of(snn.PSU_LIF, HIDDEN), of(snn.LIF, OUTPUTS))


def rockpool() -> None:
    sys.modules["samna"] = types.ModuleType("samna")  # else its import installs itself anew
    import torch
    from rockpool.nn.combinators import Sequential
    from rockpool.nn.modules.torch import ExpSynTorch, LIFNeuronTorch, LIFTorch, LinearTorch
    from rockpool.nn.modules.torch.nir import to_nir

    def make(name: str, gains: tuple[float, float], first, last) -> None:
        torch.manual_seed(5)
        layers = [LinearTorch((INPUTS, HIDDEN), has_bias=True), first, LinearTorch((HIDDEN, OUTPUTS)), last]
        net, inputs, found = Sequential(*layers), x(), {}
        with torch.no_grad():
            layers[0].weight *= gains[0]
            layers[2].weight *= gains[1]
            value = torch.tensor(inputs).transpose(0, 1)
            for index, layer in enumerate(layers):
                value, _, _ = layer(value)
                if index % 2:
                    found[f"{index}_{type(layer).__name__}"] = value.detach().numpy().swapaxes(0, 1).copy()
        for parameter in net.parameters().values():
            for inner in parameter.values() if isinstance(parameter, dict) else [parameter]:
                inner.requires_grad_(False)
        save(name, to_nir(net), inputs, found)

    def lif(n: int, uniform: bool = False):
        tau = {"tau_mem": 0.02, "tau_syn": 0.01, "threshold": 1.0}
        if not uniform:
            tau = {"tau_mem": (0.01, 0.03), "tau_syn": (0.005, 0.02), "threshold": (0.8, 1.2)}
            tau = {key: torch.tensor(spread(n, *ends)) for key, ends in tau.items()}
        return LIFTorch(n, dt=1e-3, **tau)

    def neuron(n: int):
        tau = torch.tensor(spread(n, 0.01, 0.03))
        return LIFNeuronTorch(n, tau_mem=tau, threshold=torch.full((n,), 0.5), dt=1e-3)

    make("rockpool-lif", (0.5, 0.5), lif(HIDDEN), lif(OUTPUTS))
    make("rockpool-lif-uniform", (0.5, 0.5), lif(HIDDEN, True), lif(OUTPUTS, True))
    make("rockpool-neuron", (0.7, 0.7), neuron(HIDDEN), neuron(OUTPUTS))
    tau = torch.tensor(spread(OUTPUTS, 0.01, 0.03))
    make("rockpool-expsyn", (0.5, 0.5), lif(HIDDEN), ExpSynTorch(OUTPUTS, tau=tau, dt=1e-3))


def chain(first: object, second: object, weights: list[np.ndarray]) -> object:
    import nir

    nodes = {"input": nir.Input(np.array([INPUTS])), "0": nir.Linear(weights[0]), "1": first,
             "2": nir.Linear(weights[1]), "3": second, "output": nir.Output(np.array([OUTPUTS]))}  # fmt: skip
    return nir.NIRGraph(nodes, list(itertools.pairwise(nodes)))


def nengo() -> None:
    import nengo
    import nir

    class IF(nengo.SpikingRectifiedLinear):
        """As the NIR repository's script has it: a hard reset, no rectification."""

        def step(self, dt: float, J: np.ndarray, output: np.ndarray, voltage: np.ndarray) -> None:
            voltage += J * dt
            output[:] = np.where(voltage > 1, self.amplitude / dt, 0)
            voltage[output > 0] = 0

    dt, zero = 1e-3, {"initial_state": {"voltage": nengo.dists.Choice([0])}}

    def make(name: str, gain: float, kind: object, of: object, scale: float) -> None:
        weights = [RNG.normal(0.1, gain, (HIDDEN, INPUTS)), RNG.normal(0.1, gain, (OUTPUTS, HIDDEN))]
        inputs, found = x(), []
        for sample in inputs.swapaxes(0, 1):
            with nengo.Network() as model:
                node = nengo.Node(lambda t, sample=sample: sample[round(t / dt) - 1])
                probes = []
                for weight in weights:
                    n = len(weight)
                    layer = nengo.Ensemble(n, 1, neuron_type=kind, gain=np.full(n, scale), bias=np.zeros(n))
                    nengo.Connection(node, layer.neurons, transform=weight, synapse=None)
                    node = layer.neurons
                    probes.append(nengo.Probe(node))
            with nengo.Simulator(model, dt=dt, progress_bar=False) as simulator:
                simulator.run_steps(STEPS)
            found.append([(simulator.data[probe] > 0).astype(float) for probe in probes])
        spikes = {key: np.stack([s[i] for s in found], 1) for i, key in enumerate(("1", "3"))}
        save(name, chain(of(HIDDEN), of(OUTPUTS), weights), inputs, spikes)

    one, tau = np.ones, 0.01
    lif = lambda n: nir.LIF(tau=tau * one(n), r=one(n), v_leak=0 * one(n), v_threshold=one(n))  # noqa: E731
    make("nengo-lif", 4, nengo.LIF(tau_rc=tau, tau_ref=0, amplitude=dt, **zero), lif, 1)
    make("nengo-if", 1, IF(amplitude=dt, **zero), lambda n: nir.IF(r=one(n), v_threshold=2 * one(n)), 1 / dt / 2)


def lava_dl() -> None:
    import nir
    import torch
    from lava.lib.dl.slayer.neuron import cuba

    def make(name: str, current_decay: float, voltage_decay: float) -> None:
        weights = [np.rint(RNG.normal(0.1, 0.7, s) * 32) / 32 for s in ((HIDDEN, INPUTS), (OUTPUTS, HIDDEN))]
        inputs, layers, found = x(), [], {}
        value = torch.tensor(np.moveaxis(inputs, 0, -1))
        for key, weight in zip(("1", "3"), weights, strict=True):
            neuron = cuba.Neuron(threshold=1.0, current_decay=current_decay, voltage_decay=voltage_decay)
            value = neuron(torch.einsum("oi,bit->bot", torch.tensor(weight, dtype=torch.float32), value)).detach()
            found[key] = (np.moveaxis(value.numpy(), -1, 0) > 0).astype(float)
            registers, n = neuron.device_params, np.ones(len(weight))
            with np.errstate(divide="ignore"):
                tau = [1e-4 / (np.float64(registers[key]) / 4096) for key in ("iDecay", "vDecay")]
            layers.append(nir.CubaLIF(
                tau_syn=tau[0] * n, tau_mem=tau[1] * n, r=tau[1] / 1e-4 * n, w_in=tau[0] / 1e-4 * n, v_leak=0 * n,
                v_threshold=registers["vThMant"] / 64 * n, v_reset=0 * n,
            ))  # fmt: skip
        save(name, chain(*layers, weights), inputs, found)

    make("lava-dl-cuba", 0.25, 0.1)
    make("lava-dl-if", 1.0, 0.0)


if __name__ == "__main__":
    tools = {f.__name__: f for f in (snntorch, norse, sinabs, spikingjelly, spyx, rockpool, nengo, lava_dl)}
    if sys.argv[1:] and sys.argv[1] in tools:
        tools[sys.argv[1]]()
    else:
        raise SystemExit(__doc__)
