"""Layers of the frameworks that compute whole sequences, run as their users run them."""

from __future__ import annotations

import norse.torch as norse
import numpy as np
import pytest
import sinabs.layers as sl
import torch
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn

from neurodeploy.exporters.usage import Usage
from neurodeploy.exporters.user_run import run_user
from tests.exporters.user_parts import BATCH, NEURONS, STEPS, dense, sequence


def norse_parameters():
    return norse.LIFParameters(v_th=torch.tensor(0.03))


def multi(made):
    functional.set_step_mode(made, "m")
    return made


def recurrent(kind, **how):
    torch.manual_seed(1)
    return kind(5.0, rec_connect=nn.Linear(NEURONS, NEURONS), **how)


WHOLE = {
    "norse LIF": (lambda: norse.SequentialState(dense(), norse.LIF(norse_parameters())), 0),
    "norse LI": (lambda: norse.SequentialState(dense(), norse.LI()), 0),
    "norse LIFRecurrent": (
        lambda: norse.SequentialState(dense(), norse.LIFRecurrent(NEURONS, NEURONS, norse_parameters())), 0,
    ),
    "norse Lift": (lambda: nn.Sequential(norse.Lift(dense()), norse.Lift(norse.LIFCell(norse_parameters()))), 0),
    "spikingjelly IF": (lambda: nn.Sequential(dense(), neuron.IFNode(step_mode="m")), 0),
    "spikingjelly LIF": (lambda: nn.Sequential(dense(), neuron.LIFNode(v_threshold=0.4, step_mode="m")), 0),
    "spikingjelly CUBA": (
        lambda: nn.Sequential(dense(), multi(neuron.CUBALIFNode(c_decay=0.5, v_decay=0.7))), 0,
    ),
    "spikingjelly container": (
        lambda: nn.Sequential(
            layer.SeqToANNContainer(dense()),
            layer.LinearRecurrentContainer(neuron.LIFNode(v_threshold=0.2), NEURONS, NEURONS, step_mode="m"),
        ), 0,
    ),
    "sinabs LIF": (lambda: nn.Sequential(dense(), sl.LIF(5.0, spike_threshold=torch.tensor(0.1))), 1),
    "sinabs LIF with a synapse": (
        lambda: nn.Sequential(dense(), sl.LIF(5.0, tau_syn=3.0, min_v_mem=-0.1, spike_threshold=torch.tensor(0.1))), 1,
    ),
    "sinabs IAF": (lambda: nn.Sequential(dense(), sl.IAF(min_v_mem=-1.0)), 1),
    "sinabs ALIF": (lambda: nn.Sequential(dense(), sl.ALIF(5.0, 4.0, spike_threshold=torch.tensor(0.1))), 1),
    "sinabs LIFRecurrent": (
        lambda: nn.Sequential(dense(), recurrent(sl.LIFRecurrent, spike_threshold=torch.tensor(0.1))), 1,
    ),
    "sinabs ExpLeak": (lambda: nn.Sequential(dense(), sl.ExpLeak(5.0)), 1),
    "sinabs IAFSqueeze": (lambda: nn.Sequential(dense(), sl.IAFSqueeze(batch_size=BATCH)), "flat"),
    "sinabs LIFSqueeze": (
        lambda: nn.Sequential(
            dense(), sl.LIFSqueeze(tau_mem=2.0, spike_threshold=torch.tensor(0.1), num_timesteps=STEPS)
        ), "flat",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WHOLE)
def test_layers_that_compute_sequences(name):
    make, axis = WHOLE[name]
    x, usage = sequence(), Usage(axis, STEPS, BATCH)
    found = run_user(make().eval(), usage.as_given(x), usage)
    with torch.no_grad():
        theirs = make().eval()(torch.from_numpy(usage.as_given(x)))
    theirs = theirs[0] if isinstance(theirs, tuple) else theirs
    np.testing.assert_array_equal(found.returned[0], theirs.numpy())
    (path,) = found.outputs
    np.testing.assert_array_equal(found.outputs[path], usage.time_first(theirs.numpy()))
    # The same layers step by step, by our own loop, are the same potentials.
    steps = run_user(make().eval(), usage.as_given(x), usage, torch.float64)
    np.testing.assert_allclose(found.potentials[path], steps.potentials[path], rtol=0, atol=1e-5)
    np.testing.assert_allclose(found.potentials[path], stepped(make(), x, name), rtol=0, atol=1e-5)
    assert found.outputs[path].any()


def stepped(module, x, name):
    """Membranes after each step of the same layers, called by hand with one step at a time."""
    front, last = module[0], module[1]
    if "Recurrent" in name and name.startswith("sinabs"):
        back, v, found = 0.0, None, []
        decay = float(torch.exp(torch.tensor(-1 / 5.0)))
        v = torch.zeros(BATCH, NEURONS)
        for step in torch.from_numpy(x):  # the equations of the module's documentation
            v = decay * v + (1 - decay) * (front(step) + back)
            z = torch.where(v > 0, torch.floor(v / 0.1), torch.zeros(()))
            v = v - 0.1 * z
            back = last.rec_connect(z)
            found.append(v.detach().numpy())
        return np.stack(found)
    found, state = [], None
    for step in torch.from_numpy(x):
        with torch.no_grad():
            if name.startswith("norse"):
                _, state = last(front(step[None]), *([] if "Lift" in name else [state])) if "Lift" not in name else (
                    last.lifted_module(front(step[None])[0], state)
                )  # fmt: skip
                found.append(state.v.numpy().copy())
            elif name.startswith("spikingjelly"):
                last(front(step[None]))
                found.append((last.sub_module if "container" in name else last).v.numpy().copy())
            else:
                if "Squeeze" in name:
                    last.batch_size, last.num_timesteps = BATCH, 1
                    last(front(step))
                else:
                    last(front(step[:, None]))
                found.append(last.v_mem.numpy().copy())
    return np.stack(found)
