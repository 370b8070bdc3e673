"""What can be done here with the packages that are installed, and the command that makes the rest possible."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from neurodeploy.packages import commands, requirements

TORCH = ("torch", "safetensors")
NEEDS: Mapping[str, tuple[str, ...]] = {
    "export from norse": (*TORCH, "norse"),
    "export from snnTorch": (*TORCH, "snntorch"),
    "export from SpikingJelly": (*TORCH, "spikingjelly"),
    "export from sinabs": (*TORCH, "sinabs", "pbr"),
    "export from plain torch, fine-tune": TORCH,
    "ONNX in and out": ("onnx", "onnxruntime"),
    "compile, run on hwsim, cost": (),
    "run on Lava": (),
    "learn and adapt on the digits": ("sklearn",),
    "hypergraph placement": ("mtkahypar",),
    "demo": (*TORCH, "norse", "sklearn"),
}
"""What one may want to do -> the optional packages that it takes, as Python imports them."""


@dataclass(frozen=True)
class Capability:
    """Something that one may want to do here.

    Args:
        what: its name.
        works: whether it can be done.
        lacks: why not, in words; empty where it can.
        todo: the command, on one line, that makes it possible; empty where it can, or where no command does.
    """

    what: str
    works: bool
    lacks: str = ""
    todo: str = ""


def capability(what: str, kernels: str, lava: tuple[str, str]) -> Capability:
    """Look at one thing of `NEEDS`.

    Args:
        what: its name.
        kernels: what hinders anything here: needed packages that are missing, kernels that do not run; or empty.
        lava: what hinders Lava, and the command; or empty.
    """
    if kernels:
        return Capability(what, False, f"must be repaired: {kernels}", _needed())
    if what == "run on Lava":
        return Capability(what, not lava[0], *lava)
    missing = [module for module in NEEDS[what] if not requirements.is_there(module)]
    if not missing:
        return Capability(what, True)
    todo = commands.install(requirements.of_extra("demo")) if what == "demo" else commands.how_to_install(missing[-1])
    return Capability(what, False, f"{', '.join(missing)} not installed", todo or "")


def _needed() -> str:
    missing = [r for r in requirements.needed() if not requirements.is_there(r.module)]
    return commands.install(missing) if missing else ""
