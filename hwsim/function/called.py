"""Neuron models whose step is a function of their own, called by its address from the compiled loop.

So a model of another package needs no change here, and the loop is not compiled anew for it. The step is a function in
numba's subset of Python over the arrays of one population and one sample,

    step(parameters, options, current, second, u, v, memory, sent, flags)

with ``n`` neurons, ``k`` parameters and ``m`` variables of its own:

    parameters   [k, n], the fields that `Kernel.parameters` names, in that order
    options      whole numbers that `Kernel.options` takes from the neuron
    current      [n], the sum of what arrived at port 0 (integers: not shifted);  second: at port 1, or empty
    u, v         [n], states; what `Neuron.states` names is recorded after the step
    memory       [m, n], 0 before the first step
    sent         [n], to be written: the message of each neuron, 0 for none
    flags        [n], to be written: `neuron_kernels.mark` of each neuron

In an integer network ``parameters``, ``current``, ``u``, ``memory`` and ``sent`` are int64 and ``v`` is int32; in a
float network all are of its precision. An exception does not leave the step, so it must not raise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import carray, cfunc, njit, types  # type: ignore[attr-defined]
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.numpy_support import from_dtype

from neurodeploy.errors import UnsupportedError
from neurodeploy.network.network import Population


def _no_options(neuron: Any) -> tuple[int, ...]:
    del neuron
    return ()


@dataclass(frozen=True)
class Kernel:
    """How hwsim computes a neuron model; see the module's docstring.

    Args:
        floats, integers: the step in each arithmetic, not compiled yet; None where the model has none.
        parameters: names of fields of the neuron that are arrays ``[neurons]``.
        memory: how many variables it keeps beside u and v.
        options: whole numbers that the step gets, from the neuron.
    """

    floats: Callable[..., None] | None = None
    integers: Callable[..., None] | None = None
    parameters: tuple[str, ...] = ()
    memory: int = 0
    options: Callable[[Any], tuple[int, ...]] = _no_options

    def address(self, population: Population, number: np.dtype[Any], state: np.dtype[Any]) -> int:
        """Where its compiled step begins, for currents of type ``number`` and potentials of type ``state``.

        Raises:
            UnsupportedError: the model has no step in this arithmetic.
        """
        integer = number.kind == "i"
        step = self.integers if integer else self.floats
        if step is None:
            raise UnsupportedError(
                f"hwsim computes the neurons of population {population.name!r} in one arithmetic only",
                found=f"{type(population.neuron).__name__} in {'integers' if integer else 'floats'}",
                allowed="floats" if integer else "integers",
            )
        shape = len(self.parameters), self.memory, population.neuron.ports > 1
        return int(_compiled(step, shape, number, state).address)


@cache
def _compiled(
    function: Callable[..., None], shape: tuple[int, int, bool], number: np.dtype[Any], state: np.dtype[Any]
) -> Any:
    """The step behind a C function of pointers, kept as long as the process runs.

    Args:
        shape: parameters, variables of its own, whether there is a second port.
    """
    step = njit(nogil=True, error_model="numpy")(function)
    k, m, two = shape
    value, level, whole, byte = (
        types.CPointer(kind)  # type: ignore[no-untyped-call]
        for kind in (from_dtype(number), from_dtype(state), types.int64, types.uint8)
    )

    def entry(
        n: Any, count: Any, parameters: Any, options: Any, current: Any, second: Any, u: Any, v: Any, memory: Any,
        sent: Any, flags: Any,
    ) -> None:  # fmt: skip
        step(
            carray(parameters, (k, n)), carray(options, count), carray(current, n), carray(second, n if two else 0),
            carray(u, n), carray(v, n), carray(memory, (m, n)), carray(sent, n), carray(flags, n),
        )  # fmt: skip

    signature = types.void(
        types.int64, types.int64, value, whole, value, value, value, level, value, value, byte
    )  # fmt: skip
    return cfunc(signature)(entry)


@intrinsic
def _call(typing: Any, address: Any, n: Any, arrays: Any) -> Any:  # pragma: no cover (runs in the compiler)
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kinds = signature.args[2]
        views = [context.make_array(kind)(context, builder, builder.extract_value(args[2], k))
                 for k, kind in enumerate(kinds)]  # fmt: skip
        count = cgutils.unpack_tuple(builder, views[1].shape, 1)[0]  # type: ignore[no-untyped-call]
        pointers = [view.data for view in views]
        whole = ir.IntType(64)
        kind = ir.FunctionType(ir.VoidType(), [whole, whole, *(p.type for p in pointers)])
        function = builder.inttoptr(args[0], kind.as_pointer())
        builder.call(function, [args[1], count, *pointers])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, arrays), generate


call: Callable[..., None] = _call
"""``call(address, n, (parameters, options, current, second, u, v, memory, sent, flags))``, in compiled code."""
