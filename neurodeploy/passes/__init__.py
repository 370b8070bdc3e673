"""The compiler's passes: one a file, named as on the command line, each a frozen dataclass whose fields are options."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import ClassVar, Protocol, cast

from neurodeploy.errors import InvalidInputError
from neurodeploy.network import Network


class NetworkPass(Protocol):
    """A step from network to network.

    The network it gets and the one it gives are both valid (`neurodeploy.network.check`); what it folded, rounded or
    left it says in the network's notes under its own name. Its docstring says whether it is exact.
    """

    name: ClassVar[str]

    def apply(self, network: Network) -> Network:
        """Return the transformed network.

        Raises:
            UnsupportedError: names the population or projection and the reason.
        """


BUILTIN = {
    "quantise": "neurodeploy.passes.quantise:Quantise",
}


def get(name: str) -> Callable[..., NetworkPass]:
    """Import and return the pass called ``name``.

    Raises:
        InvalidInputError: there is no such pass.
    """
    if name not in BUILTIN:
        raise InvalidInputError(f"unknown pass {name!r}", allowed=", ".join(BUILTIN))
    module, _, attribute = BUILTIN[name].partition(":")
    return cast(Callable[..., NetworkPass], getattr(import_module(module), attribute))
