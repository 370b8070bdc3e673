"""Learning in Lava: its own LearningDense, restarted for each sample, and a neuron that teaches it.

Lava's LearningLIF never sends on its ports for back-propagating spikes and traces, so what listens to them waits for
ever. `LearningNeuron` sends them: the spikes, ``y1`` (the trace of its spikes), ``y2`` (what arrived at
``a_third_factor_in``, the reward) and ``y3`` (the trace of that).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.learning.learning_rule import Loihi2FLearningRule, Loihi3FLearningRule
from lava.magma.core.model.py.ports import PyInPort, PyOutPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.ports.ports import InPort, OutPort
from lava.magma.core.process.variable import Var
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol

from .neurons import FixedNeuron, FloatNeuron, Neuron

LEARNED = ("weights", "tag_1", "tag_2", "x1", "x2", "y1", "y2", "y3")
_RESET = (*LEARNED, "tx", "ty", "x0", "y0", "a_buff")


def learning_rule(entry: Mapping[str, Any]) -> Any:
    """Make Lava's rule from the job's."""
    shared = {name: entry[name] or None for name in ("dw", "dd", "dt")}
    shared |= {"t_epoch": entry["epoch"], "rng_seed": entry["seed"]}
    names = ("x1", "x2") if entry["factors"] == 3 else ("x1", "x2", "y1", "y2", "y3")
    for name in names:
        shared[f"{name}_impulse"], shared[f"{name}_tau"] = entry[name]
    return (Loihi3FLearningRule if entry["factors"] == 3 else Loihi2FLearningRule)(**shared)


def learning(model: Any) -> Any:
    """Return a ProcessModel class that learns as ``model`` does, anew in each sample, and records.

    The Process' ``proc_params["recording"]`` is as in `recorder.recording`, with ``everything`` for all steps instead
    of the last of each sample.
    """
    return type(f"Windowed{model.__name__}", (Windowed, model), {})


class Windowed:
    """Mixed in before a LearningDense model: its clock, state and random numbers begin anew with each window."""

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)  # type: ignore[call-arg]
        self.window: Mapping[str, Any] = proc_params["recording"]
        self.chip_step = 0
        self.row: int | None = None
        self.initial: dict[str, Any] = {}
        self.kept: dict[str, Any] = {}

    def run_spk(self) -> None:
        """One chip step; what the step before learned, after its spikes, is written down now."""
        window = self.window
        if not self.chip_step:
            self._begin()
        if self.row is not None:
            for name, array in self.kept.items():
                array[self.row] = np.ravel(getattr(self, name))
        sample, step = divmod(self.chip_step - window["offset"], window["interval"])
        self.chip_step += 1
        self.row = None
        if 0 <= sample < window["samples"] and step < window["length"]:
            if step == 0:
                for name, value in self.initial.items():
                    setattr(self, name, value.copy())
                self._init_randoms()  # type: ignore[attr-defined]
            self.time_step = step + 1
            if window["everything"]:
                self.row = sample * window["length"] + step
            elif step == window["length"] - 1:
                self.row = sample
        super().run_spk()  # type: ignore[misc]

    def _begin(self) -> None:
        window = self.window
        self.initial = {name: np.array(getattr(self, name)) for name in _RESET}
        rows = window["samples"] * (window["length"] if window["everything"] else 1)
        for name in LEARNED:
            values = self.initial[name]
            self.kept[name] = np.lib.format.open_memmap(
                f"{window['prefix']}.{name}.npy", "w+", values.dtype, (rows, values.size)
            )


class LearningNeuron(Neuron):  # type: ignore[misc, unused-ignore]
    """`Neuron` that sends what a three-factor rule needs; see the module's docstring.

    Args:
        traces: ``[impulse, tau]`` of ``y1`` and ``y3``.
    """

    def __init__(self, *, traces: Mapping[str, Any], **neuron: Any) -> None:
        super().__init__(**neuron)
        shape = neuron["shape"]
        self.proc_params["traces"] = traces
        self.a_third_factor_in = InPort(shape=shape)
        self.s_out_bap = OutPort(shape=shape)
        for name in ("y1", "y2", "y3"):
            setattr(self, f"s_out_{name}", OutPort(shape=shape))
            setattr(self, name, Var(shape=shape, init=0))


class _Teaching:
    """Mixed in before a model of `Neuron`."""

    def run_spk(self) -> None:
        """One step."""
        reward = self.a_third_factor_in.recv()  # type: ignore[attr-defined]
        spikes = self.advance(self.a_in.recv())  # type: ignore[attr-defined]
        self.s_out.send(spikes)  # type: ignore[attr-defined]
        self.teach(spikes, reward)
        self.s_out_bap.send(spikes)  # type: ignore[attr-defined]
        for name in ("y1", "y2", "y3"):
            getattr(self, f"s_out_{name}").send(getattr(self, name))

    def remains(self, name: str) -> float:
        """The part of a trace that a step leaves."""
        tau = self.proc_params["traces"][name][1]  # type: ignore[attr-defined]
        return float(np.exp(-1 / tau)) if tau else 0.0

    def teach(self, spikes: Any, reward: Any) -> None:
        """Update the traces."""
        raise NotImplementedError


@implements(proc=LearningNeuron, protocol=LoihiProtocol)
@requires(CPU)
@tag("floating_pt")
class LearningNeuronModelFloat(_Teaching, FloatNeuron):
    """`LearningNeuron` in float64."""

    a_third_factor_in: Any = LavaPyType(PyInPort.VEC_DENSE, float)
    s_out_bap: Any = LavaPyType(PyOutPort.VEC_DENSE, float)
    s_out_y1: Any = LavaPyType(PyOutPort.VEC_DENSE, float)
    s_out_y2: Any = LavaPyType(PyOutPort.VEC_DENSE, float)
    s_out_y3: Any = LavaPyType(PyOutPort.VEC_DENSE, float)
    y1: Any = LavaPyType(np.ndarray, float)
    y2: Any = LavaPyType(np.ndarray, float)
    y3: Any = LavaPyType(np.ndarray, float)

    def teach(self, spikes: Any, reward: Any) -> None:
        self.y1 = self.remains("y1") * self.y1 + self.proc_params["traces"]["y1"][0] * spikes
        self.y2 = reward
        self.y3 = self.remains("y3") * self.y3 + reward


@implements(proc=LearningNeuron, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class LearningNeuronModelFixed(_Teaching, FixedNeuron):
    """`LearningNeuron` in integers: traces of 7 bits, decays of 12."""

    a_third_factor_in: Any = LavaPyType(PyInPort.VEC_DENSE, np.int64, precision=24)
    s_out_bap: Any = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=1)
    s_out_y1: Any = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=7)
    s_out_y2: Any = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=8)
    s_out_y3: Any = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=8)
    y1: Any = LavaPyType(np.ndarray, np.int64, precision=7)
    y2: Any = LavaPyType(np.ndarray, np.int64, precision=8)
    y3: Any = LavaPyType(np.ndarray, np.int64, precision=8)

    def teach(self, spikes: Any, reward: Any) -> None:
        reward = np.clip(reward, -128, 127)
        k1, k3 = (round(4096 * self.remains(name)) for name in ("y1", "y3"))
        self.y1 = np.minimum(((k1 * self.y1) >> 12) + int(self.proc_params["traces"]["y1"][0]) * spikes, 127)
        self.y2 = reward
        self.y3 = np.clip(np.sign(self.y3) * ((np.abs(self.y3) * k3) >> 12) + reward, -128, 127)
