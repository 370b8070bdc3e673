"""Neuron layers of the four frameworks, as people make them."""

from __future__ import annotations

from .plan import Neuron, Plan, Shape


def _args(*given: str) -> str:
    return ", ".join(part for part in given if part)


def snntorch(plan: Plan, shape: Shape, last: bool, read: bool) -> Neuron:
    """``read``: its membrane is what is read out."""
    rng = plan.rng
    kind = rng.choice(["Leaky"] * 5 + ["Synaptic"] * 2 + ["Lapicque"] + (["RLeaky"] * 2 if len(shape) == 1 else []))
    beta = f"{rng.uniform(0.5, 0.95):.2f}"
    if len(shape) == 1 and kind in ("Leaky", "Synaptic") and plan.chance(0.2):
        beta = f"torch.linspace(0.6, 0.95, {shape[0]})"
        plan.kinds.add("neuron per-neuron beta")
    threshold = f"threshold={rng.choice([0.5, 0.7, 0.8, 1.2])}" if plan.chance(0.5) else ""
    reset = rng.choice(["", "", 'reset_mechanism="zero"', 'reset_mechanism="subtract"'])
    if read and plan.chance(0.4):
        reset = 'reset_mechanism="none"'
        plan.kinds.add("neuron reset none")
    learned = kind in ("Leaky", "Synaptic") and plan.chance(0.25)
    learn = _args("learn_beta=True", "learn_threshold=True" if plan.chance(0.6) else "") if learned else ""
    if learned:
        plan.kinds.add("neuron learned")
    at_once = ""
    if kind in ("Leaky", "Synaptic") and plan.chance(0.2):
        at_once = "reset_delay=False"
        plan.kinds.add("neuron reset at once")
    output = plan.hidden and last and plan.form in ("inside", "root")
    hidden = _args("init_hidden=True" if plan.hidden else "", "output=True" if output else "")
    surrogate = "spike_grad=surrogate.fast_sigmoid(slope=25)" if plan.chance(0.3) else ""
    more = _args(threshold, learn, reset, at_once, surrogate, hidden)
    states: tuple[str, ...] = ("mem",)
    if kind == "Synaptic":
        first, states = f"alpha={rng.uniform(0.4, 0.9):.2f}, beta={beta}", ("syn", "mem")
    elif kind == "RLeaky":
        size = f"linear_features={shape[0]}" if plan.chance(0.6) else "all_to_all=False, V=0.5"
        first, states = f"beta={beta}, {size}", ("spk", "mem")
    else:
        first = f"beta={beta}"
    attr = plan.name("lif")
    if plan.hidden:
        return Neuron(kind, f"snn.{kind}({_args(first, more)})", attr, shape, membrane="{n}.mem", pair=output)
    start = f"{{n}}.init_{kind.lower()}()" if plan.chance(0.7) else "{n}.reset_mem()"
    return Neuron(kind, f"snn.{kind}({_args(first, more)})", attr, shape, states, start, "{s}", pair=True,
                  zeros=kind in ("Leaky", "Lapicque") and plan.chance(0.2))  # fmt: skip


def norse(plan: Plan, shape: Shape, last: bool, read: bool) -> Neuron:
    rng = plan.rng
    attr = plan.name("lif")
    sequence = plan.mode != "step"
    if read:
        kind = "LI" if sequence else rng.choice(["LICell", "LICell", "LIBoxCell"])
        return Neuron(kind, f"snn.{kind}()", attr, shape, ("s",), membrane="spk", pair=True, sequence=sequence,
                      spiking=False)  # fmt: skip
    kinds = ["LIF"] * 4 + ["IAF"] if sequence else ["LIFCell"] * 3 + ["LIFBoxCell"] * 3 + ["IAFCell"]
    if len(shape) == 1:
        kinds += ["LIFRecurrent", "LIFRecurrent"] if sequence else ["LIFRecurrentCell", "LIFRecurrentCell"]
    kind = rng.choice(kinds)
    threshold = f"v_th=torch.tensor({rng.choice([0.2, 0.3, 0.5])})"
    inside = f"{shape[0]}, {shape[0]}, " if "Recurrent" in kind else ""
    if kind.startswith("IAF"):
        return Neuron(kind, f"snn.{kind}(snn.IAFParameters({threshold}))" if kind == "IAFCell" else f"snn.{kind}()",
                      attr, shape, ("s",), membrane="{s}.v", pair=True, sequence=sequence)  # fmt: skip
    more = f"tau_mem_inv=torch.tensor({rng.choice([100.0, 200.0, 300.0])})" if plan.chance(0.5) else ""
    if kind == "LIFBoxCell":
        soft = ""
        if plan.chance(0.25):
            soft = "reset_method=reset_subtract"
            plan.imports.add("from norse.torch.functional.reset import reset_subtract")
        made = f"snn.LIFBoxCell(snn.LIFBoxParameters({_args(more, threshold, soft)}))"
    else:
        syn = f"tau_syn_inv=torch.tensor({rng.choice([200.0, 300.0])})" if plan.chance(0.4) else ""
        made = f"snn.{kind}({inside}p=snn.LIFParameters({_args(syn, more, threshold)}))"
    return Neuron(kind, made, attr, shape, ("s",), membrane="{s}.v", pair=True, sequence=sequence,
                  weights=f"{attr}.input_weights" if inside else "")  # fmt: skip


def spikingjelly(plan: Plan, shape: Shape, last: bool, read: bool) -> Neuron:
    rng = plan.rng
    multi = plan.mode != "step" and plan.rng.random() < 0.8  # else looped over by a helper
    kind = rng.choice(["IFNode"] * 2 + ["LIFNode"] * 3 + ["ParametricLIFNode"] * 2 + ["CUBALIFNode"])
    threshold = f"v_threshold={rng.choice([0.5, 0.8])}" if plan.chance(0.4) else ""
    soft = "v_reset=None" if plan.chance(0.3) else ""
    usual = "" if plan.chance(0.5) else rng.choice(["surrogate_function=surrogate.ATan()", "detach_reset=True"])
    mode = 'step_mode="m"' if multi else ""
    if kind == "LIFNode":
        tau = f"tau={rng.choice([1.5, 2.0, 3.0])}"
        decay = "decay_input=False" if plan.chance(0.4) else ""
        given = _args(tau, decay, threshold, soft, usual, mode)
    elif kind == "ParametricLIFNode":
        decay = "decay_input=False" if plan.chance(0.4) else ""
        given = _args(f"init_tau={rng.choice([1.5, 2.0, 3.0])}", decay, threshold, soft, usual, mode)
    elif kind == "CUBALIFNode":
        given, multi = _args(threshold, soft, "surrogate_function=surrogate.ATan()"), False
    else:
        given = _args(threshold, soft, usual, mode)
    attr = plan.name("sn")
    made = f"neuron.{kind}({given})"
    if kind != "CUBALIFNode" and len(shape) == 1 and plan.chance(0.12):
        inner = f"neuron.{kind}({given.replace(mode, '').rstrip(', ')})" if multi else made
        size = f"{shape[0]}, {shape[0]}{', bias=False' if plan.chance(0.5) else ''}"
        made = f"layer.LinearRecurrentContainer({inner}, {size}{', ' + mode if multi else ''})"
        return Neuron("LinearRecurrentContainer", made, attr, shape, sequence=multi)
    return Neuron(kind, made, attr, shape, membrane="" if multi else "{n}.v", sequence=multi)


def sinabs(plan: Plan, shape: Shape, last: bool, read: bool) -> Neuron:
    rng = plan.rng
    squeeze = plan.mode == "flat" or (plan.mode == "step" and (plan.form != "loop" or plan.chance(0.6)))
    ending = "Squeeze" if squeeze else ""
    known = f"batch_size={plan.batch}" if plan.chance(0.7) or plan.mode == "step" else f"num_timesteps={plan.steps}"
    size = known if squeeze else ""
    attr = plan.name("spike")
    if read:
        return Neuron(f"ExpLeak{ending}", f"sl.ExpLeak{ending}({_args('tau_mem=5.0', size)})", attr, shape,
                      membrane="spk", sequence=True, spiking=False)  # fmt: skip
    kind = rng.choice(["IAF", "IAF", "LIF", "LIF", "LIF syn"])
    floor = f"min_v_mem={rng.choice([-1.0, -0.5])}" if plan.chance(0.3) else ""
    single = rng.choice(["", "", "spike_fn=SingleSpike", "spike_fn=SingleSpike, reset_fn=MembraneReset()"])
    if single:
        plan.imports.add("from sinabs.activation import MembraneReset, SingleSpike")
    if kind == "IAF":
        given = _args(floor, single, size)
    else:
        tau = f"tau_mem={rng.choice([3.0, 5.0, 10.0])}"
        syn = f"tau_syn={rng.choice([2.0, 4.0])}" if "syn" in kind else ""
        given = _args(tau, syn, "norm_input=False" if plan.chance(0.7) else "", floor, single, size)
    name = kind[:3] + ending
    return Neuron(name, f"sl.{name}({given})", attr, shape, sequence=True)


MAKERS = {"snntorch": snntorch, "norse": norse, "spikingjelly": spikingjelly, "sinabs": sinabs}

IMPORTS = {
    "snntorch": ["import snntorch as snn", "from snntorch import surrogate, utils"],
    "norse": ["import norse.torch as snn"],
    "spikingjelly": ["from spikingjelly.activation_based import functional, layer, neuron, surrogate"],
    "sinabs": ["import sinabs", "import sinabs.layers as sl"],
}
