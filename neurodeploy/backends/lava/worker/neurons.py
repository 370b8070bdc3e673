"""Our own Processes, for neurons that Lava does not have, in floats and in the fixed point of Loihi 2's microcode.

=================  ====================================================================================================
`Neuron`           leaky integrate-and-fire with per-neuron reset potential, floor, soft reset, four times of the reset,
                   several spikes a step, ternary spikes, refractory time, adaptive threshold, reset current; or a
                   read-out that sends its potential
`SigmaDeltaNeuron` sigma-delta with fractional bits that are not lost (Lava 0.10.0 adds unshifted what it sends shifted)
`ReluNeuron`       graded rectifier with bias and saturation
`ProductNeuron`    gate: the product of two inputs, saturated
`MaxCurrent`       compartments without decay in front of neurons: passes on the largest of the currents of each neuron
=================  ====================================================================================================

Their state has 24 bits: `u` wraps, all else saturates. Equations as Lava's ``LIF`` where both exist.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.model.py.ports import PyInPort, PyOutPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.ports.ports import InPort, OutPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.process.variable import Var
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol

HALF = 1 << 23
INPUT_SHIFT = 6

PARAMETERS = ("du", "dv", "bias", "threshold", "reset_to", "floor", "lower", "refractory", "theta_decay", "theta_jump")


class Neuron(AbstractProcess):
    """Leaky integrate-and-fire neurons of every kind.

    Args:
        shape: of the population.
        v: initial potential.
        values: for each name of `PARAMETERS` an array of that shape.
        rules: ``reset`` (hard, subtract, none), ``reset_time`` (now, next, gate, once), ``equal`` (a potential equal to
            its threshold fires), ``spiking``, ``max_spikes``, ``ternary``, ``send_shift``, ``reset_current`` (a spike
            also sets `u` to 0).
    """

    def __init__(self, *, shape: tuple[int, ...], v: Any, values: Mapping[str, Any], rules: Mapping[str, Any]) -> None:
        super().__init__(shape=shape, rules=rules)
        self.a_in = InPort(shape=shape)
        self.s_out = OutPort(shape=shape)
        self.u = Var(shape=shape, init=0)
        self.v = Var(shape=shape, init=v)
        self.wait = Var(shape=shape, init=0)
        self.theta = Var(shape=shape, init=0)
        for name in PARAMETERS:
            setattr(self, name, Var(shape=shape, init=values[name]))


class AbstractNeuronModel(PyLoihiProcessModel):  # type: ignore[misc, unused-ignore]
    """One step of `Neuron`; what differs between floats and fixed point is left to the subclasses."""

    wait: Any = LavaPyType(np.ndarray, np.int64)
    refractory: Any = LavaPyType(np.ndarray, np.int64)
    u: Any
    v: Any
    theta: Any

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self.rules = proc_params["rules"]

    def run_spk(self) -> None:
        """One step."""
        self.s_out.send(self.advance(self.a_in.recv()))

    def advance(self, arrived: Any) -> Any:
        """Return what is sent after ``arrived`` came in."""
        rules, before = self.rules, self.v
        limit = self.threshold + self.theta
        late = rules["reset_time"] != "now"
        crossed = self.worth(before, limit) if late else np.zeros_like(self.wait)
        self.u = self.current(arrived)
        start = before
        if rules["reset"] == "hard" and rules["reset_time"] == "next":
            start = np.where(crossed > 0, self.reset_to, before)
        v = self.leaked(start) + self.u + self.bias
        if late and rules["reset"] == "subtract":
            v = v - crossed * limit
        elif rules["reset_time"] == "gate":
            v = np.where(crossed > 0, self.reset_to, v)
        v = self.held(v)
        if not rules["spiking"]:
            self.v = np.maximum(v, self.floor)
            return self.message(self.v)
        sent = self.worth(v, limit)
        if rules["reset_time"] == "once":
            v = v - (sent - crossed) * limit
        elif not late and rules["reset"] == "hard":
            v = np.where(sent != 0, self.reset_to, v)
        elif not late and rules["reset"] == "subtract":
            v = np.where(sent < 0, v - self.lower, v - np.maximum(sent, 0) * limit) if self.ternary() else (
                v - sent * limit
            )  # fmt: skip
        v = np.maximum(v, self.floor)
        resting = self.wait > 0
        self.v, sent = np.where(resting, before, v), np.where(resting, 0, sent)
        self.wait = np.where(sent != 0, self.refractory, np.maximum(self.wait - 1, 0))
        self.theta = self.held(self.relaxed(self.theta) + self.theta_jump * np.abs(sent))
        if rules["reset_current"]:
            self.u = np.where(sent != 0, np.zeros_like(self.u), self.u)
        return sent

    def ternary(self) -> bool:
        """Whether some neuron has a lower threshold."""
        return bool(self.rules["ternary"])

    def worth(self, v: Any, limit: Any) -> Any:
        """How many spikes a potential is worth."""
        equal, most = self.rules["equal"], self.rules["max_spikes"]
        if most > 1:
            return np.where(v > 0, np.minimum(self.times(v, limit), most), 0)
        up = (v >= limit) if equal else (v > limit)
        if not self.ternary():
            return up.astype(np.int64)
        down = ((v <= self.lower) if equal else (v < self.lower)) & ~up
        return up.astype(np.int64) - down


class FloatNeuron(AbstractNeuronModel):
    """The arithmetic of `Neuron` in float64."""

    a_in: Any = LavaPyType(PyInPort.VEC_DENSE, float)
    s_out: Any = LavaPyType(PyOutPort.VEC_DENSE, float)
    u: Any = LavaPyType(np.ndarray, float)
    v: Any = LavaPyType(np.ndarray, float)
    theta: Any = LavaPyType(np.ndarray, float)
    du: Any = LavaPyType(np.ndarray, float)
    dv: Any = LavaPyType(np.ndarray, float)
    bias: Any = LavaPyType(np.ndarray, float)
    threshold: Any = LavaPyType(np.ndarray, float)
    reset_to: Any = LavaPyType(np.ndarray, float)
    floor: Any = LavaPyType(np.ndarray, float)
    lower: Any = LavaPyType(np.ndarray, float)
    theta_decay: Any = LavaPyType(np.ndarray, float)
    theta_jump: Any = LavaPyType(np.ndarray, float)

    def current(self, arrived: Any) -> Any:
        return self.u * (1 - self.du) + arrived

    def leaked(self, v: Any) -> Any:
        return v * (1 - self.dv)

    def relaxed(self, theta: Any) -> Any:
        return theta * (1 - self.theta_decay)

    def held(self, v: Any) -> Any:
        return v

    def times(self, v: Any, limit: Any) -> Any:
        return np.trunc(v / limit)

    def message(self, v: Any) -> Any:
        return v


class FixedNeuron(AbstractNeuronModel):
    """The arithmetic of `Neuron` in Loihi's integers; parameters are effective (``vth << 6``, ``mant << exp``)."""

    a_in: Any = LavaPyType(PyInPort.VEC_DENSE, np.int64, precision=24)
    s_out: Any = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=24)
    u: Any = LavaPyType(np.ndarray, np.int64, precision=24)
    v: Any = LavaPyType(np.ndarray, np.int64, precision=24)
    theta: Any = LavaPyType(np.ndarray, np.int64, precision=24)
    du: Any = LavaPyType(np.ndarray, np.int64, precision=12)
    dv: Any = LavaPyType(np.ndarray, np.int64, precision=12)
    bias: Any = LavaPyType(np.ndarray, np.int64, precision=24)
    threshold: Any = LavaPyType(np.ndarray, np.int64, precision=24)
    reset_to: Any = LavaPyType(np.ndarray, np.int64, precision=24)
    floor: Any = LavaPyType(np.ndarray, np.int64, precision=24)
    lower: Any = LavaPyType(np.ndarray, np.int64, precision=24)
    theta_decay: Any = LavaPyType(np.ndarray, np.int64, precision=12)
    theta_jump: Any = LavaPyType(np.ndarray, np.int64, precision=24)

    @staticmethod
    def decayed(value: Any, fraction: Any) -> Any:
        """``value (4096 - fraction) / 4096``, rounded toward zero."""
        return np.sign(value) * ((np.abs(value) * (4096 - fraction)) >> 12)

    def current(self, arrived: Any) -> Any:
        u = self.decayed(self.u, self.du + 1) + (arrived.astype(np.int64) << INPUT_SHIFT)
        return np.where(u > HALF, u - 2 * HALF, np.where(u <= -HALF, u + 2 * HALF, u))

    def leaked(self, v: Any) -> Any:
        return self.decayed(v, self.dv)

    def relaxed(self, theta: Any) -> Any:
        return self.decayed(theta, self.theta_decay)

    def held(self, v: Any) -> Any:
        return np.clip(v, 1 - HALF, HALF - 1)

    def times(self, v: Any, limit: Any) -> Any:
        return v // limit

    def message(self, v: Any) -> Any:
        return v >> self.rules["send_shift"]


@implements(proc=Neuron, protocol=LoihiProtocol)
@requires(CPU)
@tag("floating_pt")
class NeuronModelFloat(FloatNeuron):
    """`Neuron` in floats."""


@implements(proc=Neuron, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class NeuronModelFixed(FixedNeuron):
    """`Neuron` in integers."""


class SigmaDeltaNeuron(AbstractProcess):
    """Sends the change of ``f(sum of what came in + bias)`` where it reaches ``vth``, less its last ``state_exp`` bits.

    Args:
        shape: of the population.
        bias, vth: of each neuron, in units of the state.
        relu: whether f is the rectifier rather than the identity.
        state_exp: fractional bits of the state (fixed point).
        accumulate: whether what comes in adds up; else it is the value itself.
        keep: whether the last bits of a message stay to be sent; else they are lost, as in Lava 0.10.
    """

    def __init__(
        self, *, shape: tuple[int, ...], bias: Any, vth: Any, relu: bool, state_exp: int = 0, accumulate: bool = True,
        keep: bool = True,
    ) -> None:  # fmt: skip
        super().__init__(shape=shape, relu=relu, state_exp=state_exp, accumulate=accumulate, keep=keep)
        self.a_in = InPort(shape=shape)
        self.s_out = OutPort(shape=shape)
        self.sigma = Var(shape=shape, init=0)
        self.act = Var(shape=shape, init=0)
        self.sent = Var(shape=shape, init=0)
        self.bias = Var(shape=shape, init=bias)
        self.vth = Var(shape=shape, init=vth)


class AbstractSigmaDeltaModel(PyLoihiProcessModel):  # type: ignore[misc, unused-ignore]
    """One step of `SigmaDeltaNeuron`."""

    sigma: Any
    act: Any
    sent: Any

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self.relu, self.state_exp = proc_params["relu"], proc_params["state_exp"]
        self.accumulate, self.keep = proc_params["accumulate"], proc_params["keep"]

    def run_spk(self) -> None:
        """One step."""
        arrived = self.a_in.recv()
        self.sigma = self.held(self.sigma + arrived if self.accumulate else arrived)
        act = self.held(self.sigma + self.bias)
        self.act = np.maximum(act, 0) if self.relu else act
        change = self.act - self.sent
        sent = message = np.where(np.abs(change) >= self.vth, change, 0)
        if self.state_exp:
            message = sent >> self.state_exp
            sent = message << self.state_exp if self.keep else sent
        self.sent = self.sent + sent
        self.s_out.send(message)


@implements(proc=SigmaDeltaNeuron, protocol=LoihiProtocol)
@requires(CPU)
@tag("floating_pt")
class SigmaDeltaNeuronModelFloat(AbstractSigmaDeltaModel):
    """`SigmaDeltaNeuron` in float64."""

    a_in: Any = LavaPyType(PyInPort.VEC_DENSE, float)
    s_out: Any = LavaPyType(PyOutPort.VEC_DENSE, float)
    sigma: Any = LavaPyType(np.ndarray, float)
    act: Any = LavaPyType(np.ndarray, float)
    sent: Any = LavaPyType(np.ndarray, float)
    bias: Any = LavaPyType(np.ndarray, float)
    vth: Any = LavaPyType(np.ndarray, float)

    def held(self, value: Any) -> Any:
        return value


@implements(proc=SigmaDeltaNeuron, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class SigmaDeltaNeuronModelFixed(AbstractSigmaDeltaModel):
    """`SigmaDeltaNeuron` in integers."""

    a_in: Any = LavaPyType(PyInPort.VEC_DENSE, np.int64, precision=24)
    s_out: Any = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=24)
    sigma: Any = LavaPyType(np.ndarray, np.int64, precision=24)
    act: Any = LavaPyType(np.ndarray, np.int64, precision=24)
    sent: Any = LavaPyType(np.ndarray, np.int64, precision=24)
    bias: Any = LavaPyType(np.ndarray, np.int64, precision=24)
    vth: Any = LavaPyType(np.ndarray, np.int64, precision=24)

    def held(self, value: Any) -> Any:
        return np.clip(value, 1 - HALF, HALF - 1)


class ReluNeuron(AbstractProcess):
    """Sends ``a + bias`` where it is above ``vth``; without memory."""

    def __init__(self, *, shape: tuple[int, ...], bias: Any, vth: Any) -> None:
        super().__init__(shape=shape)
        self.a_in = InPort(shape=shape)
        self.s_out = OutPort(shape=shape)
        self.bias = Var(shape=shape, init=bias)
        self.vth = Var(shape=shape, init=vth)


@implements(proc=ReluNeuron, protocol=LoihiProtocol)
@requires(CPU)
@tag("floating_pt")
class ReluNeuronModelFloat(PyLoihiProcessModel):  # type: ignore[misc, unused-ignore]
    """`ReluNeuron` in float64."""

    a_in: Any = LavaPyType(PyInPort.VEC_DENSE, float)
    s_out: Any = LavaPyType(PyOutPort.VEC_DENSE, float)
    bias: Any = LavaPyType(np.ndarray, float)
    vth: Any = LavaPyType(np.ndarray, float)

    def run_spk(self) -> None:
        """One step."""
        v = self.a_in.recv() + self.bias
        self.s_out.send(np.where(v > self.vth, v, 0))


@implements(proc=ReluNeuron, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class ReluNeuronModelFixed(PyLoihiProcessModel):  # type: ignore[misc, unused-ignore]
    """`ReluNeuron` in integers."""

    a_in: Any = LavaPyType(PyInPort.VEC_DENSE, np.int64, precision=24)
    s_out: Any = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=24)
    bias: Any = LavaPyType(np.ndarray, np.int64, precision=24)
    vth: Any = LavaPyType(np.ndarray, np.int64, precision=24)

    def run_spk(self) -> None:
        """One step."""
        v = np.clip(self.a_in.recv() + self.bias, 1 - HALF, HALF - 1)
        self.s_out.send(np.where(v > self.vth, v, 0))


class ProductNeuron(AbstractProcess):
    """Sends ``(a_in1 a_in2) >> exp`` where its magnitude is above ``vth``; without memory."""

    def __init__(self, *, shape: tuple[int, ...], vth: Any, exp: int = 0) -> None:
        super().__init__(shape=shape, exp=exp)
        self.a_in1 = InPort(shape=shape)
        self.a_in2 = InPort(shape=shape)
        self.s_out = OutPort(shape=shape)
        self.vth = Var(shape=shape, init=vth)


@implements(proc=ProductNeuron, protocol=LoihiProtocol)
@requires(CPU)
@tag("floating_pt")
class ProductNeuronModelFloat(PyLoihiProcessModel):  # type: ignore[misc, unused-ignore]
    """`ProductNeuron` in float64."""

    a_in1: Any = LavaPyType(PyInPort.VEC_DENSE, float)
    a_in2: Any = LavaPyType(PyInPort.VEC_DENSE, float)
    s_out: Any = LavaPyType(PyOutPort.VEC_DENSE, float)
    vth: Any = LavaPyType(np.ndarray, float)

    def run_spk(self) -> None:
        """One step."""
        v = self.a_in1.recv() * self.a_in2.recv()
        self.s_out.send(np.where(np.abs(v) > self.vth, v, 0))


@implements(proc=ProductNeuron, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class ProductNeuronModelFixed(PyLoihiProcessModel):  # type: ignore[misc, unused-ignore]
    """`ProductNeuron` in integers."""

    a_in1: Any = LavaPyType(PyInPort.VEC_DENSE, np.int64, precision=24)
    a_in2: Any = LavaPyType(PyInPort.VEC_DENSE, np.int64, precision=24)
    s_out: Any = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=24)
    vth: Any = LavaPyType(np.ndarray, np.int64, precision=24)

    def run_spk(self) -> None:
        """One step."""
        product = self.a_in1.recv().astype(np.int64) * self.a_in2.recv()
        v = np.clip(product >> self.proc_params["exp"], 1 - HALF, HALF - 1)
        self.s_out.send(np.where(np.abs(v) > self.vth, v, 0))


class MaxCurrent(AbstractProcess):
    """Compartments in front of neurons: passes on the largest current of each neuron's in the same step; 0 without any.

    Args:
        neurons: behind it.
        parent: neuron of each compartment.
        limit: a current beyond it, or not above its negative, wraps once (fixed point).
    """

    def __init__(self, *, neurons: int, parent: Any, limit: int = 0) -> None:
        super().__init__(neurons=neurons, limit=limit, parent=parent)
        self.a_in = InPort(shape=(len(parent),))
        self.a_out = OutPort(shape=(neurons,))


class AbstractMaxCurrentModel(PyLoihiProcessModel):  # type: ignore[misc, unused-ignore]
    """One step of `MaxCurrent`."""

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        parent = np.asarray(proc_params["parent"])
        self.by_neuron = np.argsort(parent, kind="stable")
        self.having, self.first = np.unique(parent[self.by_neuron], return_index=True)

    def run_spk(self) -> None:
        """One step."""
        arrived = self.wrapped(self.a_in.recv())
        largest = np.zeros(self.proc_params["neurons"], arrived.dtype)
        largest[self.having] = np.maximum.reduceat(arrived[self.by_neuron], self.first)
        self.a_out.send(largest)


@implements(proc=MaxCurrent, protocol=LoihiProtocol)
@requires(CPU)
@tag("floating_pt")
class MaxCurrentModelFloat(AbstractMaxCurrentModel):
    """`MaxCurrent` in float64."""

    a_in: Any = LavaPyType(PyInPort.VEC_DENSE, float)
    a_out: Any = LavaPyType(PyOutPort.VEC_DENSE, float)

    def wrapped(self, current: Any) -> Any:
        return current


@implements(proc=MaxCurrent, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class MaxCurrentModelFixed(AbstractMaxCurrentModel):
    """`MaxCurrent` in integers."""

    a_in: Any = LavaPyType(PyInPort.VEC_DENSE, np.int64, precision=24)
    a_out: Any = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=24)

    def wrapped(self, current: Any) -> Any:
        limit, c = self.proc_params["limit"], current.astype(np.int64)
        return np.where(c > limit, c - 2 * limit, np.where(c <= -limit, c + 2 * limit, c))
