"""Every neuron class of a framework, found by introspection, with sets of parameters: exported exactly or refused.

A class that nobody tried is an error, so that a new release cannot bring one unseen. Each set is a network of two
layers, as one step and as whole sequences, exported with proof; then it runs once more on other spikes and more
steps, as its user runs it, and its last layer is compared with what the file gives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from inspect import isclass
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

import numpy as np
import torch
from torch import nn

from neurodeploy.backends.reference.run import run_network
from neurodeploy.errors import InvalidInputError, NeurodeployError, UnsupportedError
from neurodeploy.exporters import framework
from neurodeploy.exporters.usage import TimeAxis, Usage
from neurodeploy.exporters.user_run import run_user
from neurodeploy.lowering.lower import lower
from neurodeploy.nir_graph import nir_file
from neurodeploy.nir_graph.conventions import resolve
from neurodeploy.program.recording import Record, returned
from neurodeploy.verify.export_proof import export_proven

INPUTS, NEURONS, OUTPUTS, STEPS, BATCH = 12, 10, 6, 20, 3


@dataclass(frozen=True, eq=False)
class Way:
    """A network around a neuron, and how its user calls it.

    Args:
        name: "step" or "sequence".
        net: calls one layer of the neurons, then a plain one; of the shapes here.
        axis: where time lies in what it takes.
    """

    name: str
    net: nn.Module
    axis: TimeAxis


@dataclass(frozen=True)
class Tried:
    """What became of a class.

    Args:
        verdict: ``exact``, ``refused``, or ``differs``, which must not be.
        reason: of the refusal, or what differs.
        sets, networks: parameter sets, and networks made of them.
        compared, spikes: values of the last layer of all networks, and spikes among them.
    """

    verdict: str
    reason: str = ""
    sets: int = 0
    networks: int = 0
    compared: int = 0
    spikes: int = 0


Make = Callable[[], Any]
Ways = Callable[[Make], Iterator[Way]]


def modules_in(package: str, without: tuple[str, ...] = ()) -> dict[str, type[nn.Module]]:
    """All public module classes that are defined in a package and in the modules directly in it, but for some."""
    outer = import_module(package)
    names = [
        package,
        *(f"{package}.{found.name}" for found in iter_modules(outer.__path__) if found.name not in without),
    ]
    found: dict[str, type[nn.Module]] = {}
    for name in names:
        for kind in vars(import_module(name)).values():
            here = isclass(kind) and issubclass(kind, nn.Module) and kind.__module__ == name
            if here and not kind.__name__.startswith("_"):
                found[kind.__name__] = kind
    return found


def spikes(seed: int, steps: int = STEPS) -> np.ndarray:
    """Random input ``[time, batch, inputs]``, a spike in 0.4 of all places."""
    return (np.random.default_rng(seed).random((steps, BATCH, INPUTS)) < 0.4).astype(np.float32)


def dense(inputs: int, outputs: int, gain: float = 3.0) -> nn.Linear:
    """A layer whose weights make the neurons behind it spike."""
    made = nn.Linear(inputs, outputs)
    with torch.no_grad():
        made.weight.mul_(gain)
        made.bias.abs_()
    return made


def tried(sets: list[Make], ways: Ways, folder: Path) -> Tried:
    """Export and compare all networks of a class."""
    reasons: dict[str, None] = {}
    networks = compared = spikes_ = exact = 0
    for make in sets:
        torch.manual_seed(0)
        for way in ways(make):
            networks += 1
            verdict, reason, values, sent = _one(way, folder / "net.nir")
            compared, spikes_, exact = compared + values, spikes_ + sent, exact + (verdict == "exact")
            if verdict == "differs":
                return Tried("differs", f"{way.name}: {reason}", len(sets), networks)
            if reason:
                reasons[reason] = None
    verdict = "exact" if exact == networks else "refused" if not exact else "partly"
    return Tried(verdict, "; ".join(reasons), len(sets), networks, compared, spikes_)


def _one(way: Way, path: Path) -> tuple[str, str, int, int]:
    usage = Usage(way.axis, STEPS, BATCH)
    try:
        export_proven(way.net.eval(), usage.as_given(spikes(1)), None, path, time_axis=way.axis)
    except (UnsupportedError, InvalidInputError) as error:
        return "refused", str(error.found or error.what), 0, 0
    except NeurodeployError as error:
        return "differs", str(error), 0, 0
    return _again(way, path)


def _again(way: Way, path: Path) -> tuple[str, str, int, int]:
    """On other spikes and more steps: what forward returns, as its user calls it, and what the file gives."""
    steps, x = STEPS + 7, spikes(2, STEPS + 7)
    usage = Usage(way.axis, steps, BATCH)
    theirs = run_user(way.net, usage.as_given(x), usage, torch.float64, observe=False).returned[0]
    file = nir_file.read(path)
    network = lower(file, resolve(file))
    ours = returned(network, run_network(network, {network.inputs[0].name: x}, record=Record(("v",))))[0]
    if ours.shape != theirs.shape:
        return "differs", f"of shape {list(ours.shape)}, not {list(theirs.shape)}", 0, 0
    off = int((np.abs(ours - theirs) > 1e-9 * max(1.0, float(np.abs(theirs).max()))).sum())
    if off:
        return "differs", f"{off} of {ours.size} values of the last layer", 0, 0
    return "exact", "", ours.size, int((theirs != 0).sum())


def refused_by_name(name: str, make: Make) -> str | None:
    """Why a framework's exporter refuses a neuron; None where it takes it."""
    return framework.get(name).refusal(make())
