"""What numba lacks for a fast loop: inlining on demand, prefetching, arrays without an owner."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils
from numba.cpython.unsafe import numbers
from numba.extending import intrinsic

from neurodeploy.network.arrays import Array

Function = TypeVar("Function", bound=Callable[..., Any])


def inlined(function: Function) -> Function:
    """As `compiled`, and always a part of its caller: passing an array to a function costs seven words."""
    return cast(Function, numba.njit(nogil=True, error_model="numpy", forceinline=True)(function))


@intrinsic
def _prefetch(typing: Any, array: Any, index: Any) -> Any:  # pragma: no cover (runs in the compiler)
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        place = builder.bitcast(builder.gep(data, [args[1]]), ir.IntType(8).as_pointer())
        number = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [place.type, number, number, number])
        function = cgutils.get_or_insert_function(  # type: ignore[no-untyped-call]
            builder.module, kind, "llvm.prefetch.p0i8"
        )
        builder.call(function, [place, number(0), number(2), number(1)])
        return context.get_dummy_value()

    return types.void(array, types.intp), generate


prefetch: Callable[[Array, Any], None] = cast(Any, _prefetch)
"""Ask for the cache line of ``array[index]`` (of the flat array); changes nothing. It goes to the second level of
cache: rows that wait in the first push out the sums that they are added to (10 % at 10^8 synapses)."""


@intrinsic
def _borrowed(typing: Any, value: Any) -> Any:  # pragma: no cover (runs in the compiler)
    def disown(context: Any, builder: Any, kind: Any, one: Any) -> Any:
        if isinstance(kind, types.BaseTuple):
            for k, inner in enumerate(cast(Any, kind)):
                part = disown(context, builder, inner, builder.extract_value(one, k))
                one = builder.insert_value(one, part, k)
            return one
        view = context.make_array(kind)(context, builder, one)
        for member in ("meminfo", "parent"):
            setattr(view, member, cgutils.get_null_value(getattr(view, member).type))  # type: ignore[no-untyped-call]
        return view._getvalue()

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return disown(context, builder, signature.args[0], args[0])

    return value(value), generate


borrowed: Callable[[Any], Any] = cast(Any, _borrowed)
"""The same array, or tuple of arrays, without an owner: neither it nor a slice of it counts references, which cost a
small network as much as its arithmetic. The caller's own references keep the memory."""

trailing_zeros: Callable[[Any], Any] = cast(Any, numbers.trailing_zeros)
"""Zeros below the lowest 1 of a whole number."""
