"""The error function in float64, which onnxruntime has in float32 alone.

W. J. Cody, "Rational Chebyshev approximations for the error function", Mathematics of Computation 23 (1969), 631-637:
three rational functions, for |x| <= 0.46875, up to 4, and beyond, each within 6e-19 of it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import fx

from .onnx_graph import Graph

_NEAR = (
    (1.85777706184603153e-1, 3.16112374387056560e00, 1.13864154151050156e02, 3.77485237685302021e02,
     3.20937758913846947e03),
    (1.0, 2.36012909523441209e01, 2.44024637934444173e02, 1.28261652607737228e03, 2.84423683343917062e03),
)  # fmt: skip
_MIDDLE = (
    (2.15311535474403846e-8, 5.64188496988670089e-1, 8.88314979438837594e00, 6.61191906371416295e01,
     2.98635138197400131e02, 8.81952221241769090e02, 1.71204761263407058e03, 2.05107837782607147e03,
     1.23033935479799725e03),
    (1.0, 1.57449261107098347e01, 1.17693950891312499e02, 5.37181101862009858e02, 1.62138957456669019e03,
     3.29079923573345963e03, 4.36261909014324716e03, 3.43936767414372164e03, 1.23033935480374942e03),
)  # fmt: skip
_FAR = (
    (1.63153871373020978e-2, 3.05326634961232344e-1, 3.60344899949804439e-1, 1.25781726111229246e-1,
     1.60837851487422766e-2, 6.58749161529837803e-4),
    (1.0, 2.56852019228982242e00, 1.87295284992346725e00, 5.27905102951428412e-1, 6.05183413124413191e-2,
     2.33520497626869185e-3),
)  # fmt: skip
"""Coefficients of numerators and denominators, from the highest power down."""

_ROOT = 5.6418958354775628695e-1
"""1 / sqrt(pi)."""


def erf(g: Graph, n: fx.Node) -> str:
    """The error function."""
    x = g.of(n.args[0], torch.float64)
    size = g.add("Abs", [x])
    square = g.add("Mul", [x, x])
    near = g.add("Mul", [x, _ratio(g, square, _NEAR)])
    falls = g.add("Exp", [g.add("Neg", [square])])
    middle = g.add("Mul", [falls, _ratio(g, g.add("Min", [size, _number(g, 4.0)]), _MIDDLE)])
    away = g.add("Max", [size, _number(g, 4.0)])
    inverse = g.add("Reciprocal", [g.add("Mul", [away, away])])
    part = g.add("Sub", [_number(g, _ROOT), g.add("Mul", [inverse, _ratio(g, inverse, _FAR)])])
    far = g.add("Div", [g.add("Mul", [falls, part]), away])
    rest = g.add("Where", [g.add("LessOrEqual", [size, _number(g, 4.0)]), middle, far])
    outer = g.add("Mul", [g.add("Sign", [x]), g.add("Sub", [_number(g, 1.0), rest])])
    return g.add("Where", [g.add("LessOrEqual", [size, _number(g, 0.46875)]), near, outer])


def _number(g: Graph, value: float) -> str:
    return g.of(value, torch.float64)


def _ratio(g: Graph, x: str, parts: tuple[Sequence[float], Sequence[float]]) -> str:
    return g.add("Div", [_polynomial(g, x, parts[0]), _polynomial(g, x, parts[1])])


def _polynomial(g: Graph, x: str, coefficients: Sequence[float]) -> str:
    made = _number(g, coefficients[0])
    for one in coefficients[1:]:
        made = g.add("Add", [g.add("Mul", [made, x]), _number(g, one)])
    return made
