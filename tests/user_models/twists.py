"""What people do beside layers and loops: oddities that change nothing, and traps that change what a step means."""

from __future__ import annotations

from collections.abc import Callable

from .plan import Plan

ODDITIES: dict[str, Callable[[Plan], bool]] = {}
TRAPS: dict[str, Callable[[Plan], bool]] = {}
