"""From a `.nir` file to a placed Program: read, settle the conventions, lower, quantise, place.

A lava-dl `.net` file holds integers already: read and place. Without a chip (``None``) nothing is placed: all neurons
are on one core without limits, which is enough to run and compare, and for no figure about a chip.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neurodeploy import __version__, hdf5file, netfile, nirfile
from neurodeploy.connectivity import Array
from neurodeploy.conventions import Conventions, resolve
from neurodeploy.errors import InvalidInputError
from neurodeploy.lower import lower
from neurodeploy.network import Network
from neurodeploy.passes.place import Limits, Place
from neurodeploy.passes.quantise import Quantise
from neurodeploy.program import Program

if TYPE_CHECKING:
    from neurodeploy.hwsim.arch import Architecture


@dataclass(frozen=True, eq=False)
class Compiled:
    """Everything between the file and the Program, for `verify` and the report."""

    file: nirfile.NirFile
    conventions: Conventions
    float_network: Network
    program: Program


def limits_of(arch: Architecture) -> Limits:
    """The limits that placement knows, from an architecture file."""
    return Limits(
        chip=arch.name,
        cores=arch.cores,
        neurons=arch.limits.neurons_per_core.value,
        synapse_bytes=arch.limits.synapse_bytes_per_core.value,
        axons_in=arch.limits.axons_in_per_core.value,
        axons_out=arch.limits.axons_out_per_core.value,
    )


NO_CHIP = "none"
"""Name of the chip of a Program that is not placed."""


def place(
    network: Network, arch: Architecture | None, provenance: Mapping[str, str], max_neurons_per_core: int | None = None
) -> Program:
    """Place a network on a chip, or make a Program for none (see the module's docstring).

    Raises:
        DoesNotFitError: it does not fit on the chip; says what is too large.
    """
    if arch is not None:
        return Place(limits_of(arch), max_neurons_per_core).apply(network, provenance)
    inputs = {p.name for p in network.inputs}
    cores = {p.name: np.zeros(p.size, np.int32) for p in network.populations if p.name not in inputs}
    passes = "quantise" if network.arithmetic != "float" else ""
    return Program(network, NO_CHIP, cores, (), {"neurodeploy": __version__, "passes": passes, **provenance})


def compile_net(
    path: Path | str,
    arch: Architecture | None,
    *,
    options: Mapping[str, Any] | None = None,
    max_neurons_per_core: int | None = None,
) -> Program:
    """Place a lava-dl ``.net`` file, whose numbers are already integers of the chip, and which says all conventions.

    Raises:
        InvalidInputError: a convention was given as an option, or the file cannot be used.
        NeurodeployError: as the passes say.
    """
    given = sorted(name for name, value in (options or {}).items() if value is not None)
    if given:
        raise InvalidInputError(
            f"{path} is a lava-dl network, which leaves nothing to settle",
            found=", ".join(given),
            allowed="no conventions: lava-dl's are fixed",
            hint="leave these options out",
        )
    network = netfile.read_net(path)
    provenance = {"source": Path(path).name, "sha256": hdf5file.digest(Path(path)), "framework": "lava-dl"}
    return place(network, arch, {**provenance, "passes": "place" if arch else ""}, max_neurons_per_core)


def compile_file(
    path: Path | str,
    arch: Architecture | None,
    *,
    options: Mapping[str, Any] | None = None,
    calibration: Mapping[str, Array] | None = None,
    integer: bool = True,
    max_neurons_per_core: int | None = None,
    after: Callable[[str, Network], None] | None = None,
) -> Compiled:
    """Compile a NIR file for a chip.

    Args:
        arch: the chip; None to place on none.
        options: conventions that the user settles (`neurodeploy.conventions.resolve`).
        calibration: inputs of a few samples, ``[time, batch, *shape]``.
        integer: quantise to the chip's integers; else the Program is in floats.
        max_neurons_per_core: fewer neurons per core than the chip allows.
        after: called with the name of each pass and the network it gave.

    Raises:
        NeurodeployError: as the passes say.
    """
    file = nirfile.read(path)
    conventions = resolve(file, **(options or {}))
    network = float_network = lower(file, conventions)
    if after:
        after("lower", network)
    if integer:
        network = Quantise(calibration=calibration).apply(network)
        if after:
            after("quantise", network)
    provenance = {
        "source": Path(path).name,
        "sha256": file.sha256,
        "nir": file.nir_version,
        "neurodeploy": __version__,
        **{key: str(file.metadata[key]) for key in ("framework", "framework_version") if key in file.metadata},
    }
    program = place(network, arch, provenance, max_neurons_per_core)
    return Compiled(file, conventions, float_network, program)
