"""What the parts of a walk over a step ask of it (`aten` is the walk)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import nir
from torch import fx

Sum = Mapping[str, float]
"""NIR node -> factor."""


class Walking(Protocol):
    """A walk over a step.

    `sums` holds the values that are weighted sums of nodes; `makers` the operator that made a node; `leaves` the paths
    of modules that hold no others.
    """

    nodes: dict[str, nir.NIRNode]
    edges: list[tuple[str, str]]
    modules: dict[str, str]
    sums: dict[fx.Node, Sum]
    makers: dict[str, fx.Node]
    leaves: set[str]

    def add(
        self, node: fx.Node, made: nir.NIRNode, terms: Sum, name: str = ..., *, shape: tuple[int, ...] | None = ...
    ) -> Sum: ...

    def unique(self, base: str) -> str: ...

    def no_potential(self, node: Any, user: fx.Node | None = None) -> None: ...

    def waits(self, node: fx.Node) -> bool: ...

    def joined(self, node: fx.Node) -> bool: ...

    def sum_of(self, node: Any) -> Sum: ...
