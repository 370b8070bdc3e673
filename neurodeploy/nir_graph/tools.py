"""What each tool that writes or reads NIR means by it: one row a tool, all its conventions at once (``--as``).

A row says what the tool computes, not what NIR's equations say; the names are those of
`neurodeploy.nir_graph.conventions.Conventions`. What a tool computes differently for one type of node stands in
``by_kind``, so that for instance the input of norse's IF comes in whole and that of its LIF scaled by the step.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from neurodeploy.network.neurons import UNLIMITED


@dataclass(frozen=True)
class Tool:
    """The conventions of one tool.

    Args:
        title: name and version.
        values: the convention of every name; ``dt`` in seconds, None where only the file can tell.
        by_kind: type of node -> those that differ there.
        hard_time: type of node (or ``loop``, a neuron that feeds itself) -> ``reset_time`` of a hard reset, where the
            tool has one beside its default.
        source: in which of its functions this is written.
        measured: what was compared with the tool's own spikes, and what was not.
    """

    title: str
    values: Mapping[str, Any]
    source: str
    measured: str
    by_kind: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    hard_time: Mapping[str, str] = field(default_factory=dict)


NIR: Mapping[str, Any] = {
    "reset": "hard",
    "reset_time": "now",
    "comparison": ">",
    "decay": "euler",
    "gain": "nir",
    "initial": "zero",
    "max_spikes": 1,
    "v_floor": -math.inf,
    "arrival": "same-step",
    "recurrent_bias": "from-start",
}
"""NIR's own equations, one Euler step at a time, from rest."""

TOOLS: Mapping[str, Tool] = {
    "snntorch": Tool(
        "snnTorch 1.0.0",
        {**NIR, "dt": 1e-4, "reset": "subtract", "reset_time": "next"},
        "export_nir.py (dt = 1e-4, tau = dt / (1 - beta), r = tau / dt, the reset is not written); Leaky, Synaptic, "
        "RLeaky (reset_mechanism='subtract', reset_delay=True by default; spike where mem > threshold)",
        "exact: Leaky, Synaptic, RLeaky, RSynaptic, beta = 1; with reset_mechanism='zero' --reset hard; with "
        "reset_delay=False --reset-time once (subtract) or now (zero)",
        hard_time={"LIF": "next", "CubaLIF": "gate", "loop": "gate"},
    ),
    "norse": Tool(
        "norse 1.1.0",
        {**NIR, "dt": 1e-3, "initial": "v_leak", "recurrent_bias": "after-delay"},
        "utils/export_nir.py (dt = 1e-3; v_reset is not written; tau = dt / tau_inv, which is dt times the time "
        "constant: undone where all are shorter than dt); functional/lif_box.py, lif.py, iaf.py",
        "exact: LIFBoxCell, LIFCell, IAFCell, and its recording of the NIR paper's Braille graphs",
        by_kind={"IF": {"gain": "unit", "initial": "v_reset"}},
    ),
    "sinabs": Tool(
        "sinabs 3.1.3",
        {**NIR, "dt": 1.0, "reset": "subtract", "comparison": ">=", "decay": "exponential", "max_spikes": UNLIMITED},
        "nir.py (tau in steps; spike_fn, reset_fn, norm_input and min_v_mem are not written); "
        "layers/functional/lif.py, activation/spike_generation.py (MultiSpike by default)",
        "exact: LIF (norm_input; without it: --gain unit), IAF, ExpLeak, MultiSpike and SingleSpike (--max-spikes 1)",
        by_kind={"IF": {"gain": "unit"}, "LI": {"gain": "unit"}},
    ),
    "spikingjelly": Tool(
        "SpikingJelly 2.0.0",
        {**NIR, "dt": 1e-4, "comparison": ">=", "initial": "v_reset"},
        "activation_based/nir_exchange/to_nir.py (dt = 1e-4 by default; it refuses the soft reset); neuron/lif.py",
        "exact: LIFNode (decay_input or not, v_reset), IFNode, CUBALIFNode",
    ),
    "rockpool": Tool(
        "Rockpool 3.1.0",
        {
            **NIR,
            "dt": None,
            "reset": "subtract",
            "comparison": ">=",
            "decay": "exponential",
            "gain": "unit",
            "max_spikes": 1 << 16,
        },
        "nn/modules/torch/nir.py (r = tau exp(-dt / tau) / dt, which gives dt back; bias and recurrent weights are not "
        "written); lif_torch.py, lif_neuron_torch.py, exp_syn_torch.py",
        "exact: LIFTorch, LIFNeuronTorch, ExpSynTorch",
        by_kind={"CubaLIF": {"gain": "decayed"}, "LI": {"gain": "decayed"}},
    ),
    "spyx": Tool(
        "spyx 1.0.0",
        {**NIR, "dt": 1.0, "reset": "subtract", "reset_time": "next", "gain": "unit", "arrival": "next-step"},
        "nir.py (dt = 1 by default, tau = dt / (1 - beta), r = beta, which gives dt back; the input of a recurrent "
        "layer is drawn into its recurrent weights); nn.py (a spike is taken from the potential of the step before)",
        "exact, one step earlier than spyx writes it: LIF, CuBaLIF, IF, RLIF, RCuBaLIF, PSU_LIF",
        by_kind={"CubaLIF": {"reset_time": "now"}},
    ),
    "lava-dl": Tool(
        "lava-dl 0.6.0",
        {**NIR, "dt": 1e-4, "gain": "unit"},
        "no NIR writer of its own; NIR repository, paper/lava_to_nir.py (dt = 1e-4, tau = dt / decay, r = tau / dt, "
        "w_in = tau_syn / dt); slayer neuron/cuba.py (threshold_eps makes its >= Loihi's >). A .net needs no option",
        "exact: slayer's CUBA neuron, leaky and not, in graphs made by that script's formulas",
    ),
    "nengo": Tool(
        "Nengo 4.1.0",
        {**NIR, "dt": 1e-3, "decay": "exponential", "v_floor": 0.0},
        "no NIR writer; NIR repository, paper/03_rnn/nir_to_nengo.py (nengo.LIF with tau_ref = 0); nengo/neurons.py",
        "exact: nengo.LIF and the IF of that script, in graphs made by hand; CubaLIF and LI were not measured",
        by_kind={"IF": {"gain": "unit", "v_floor": -math.inf}},
    ),
}
"""Tool, as ``--as`` names it, -> its conventions."""
