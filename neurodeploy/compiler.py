"""From a `.nir` file to a placed Program: read, settle the conventions, lower, quantise, place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neurodeploy import __version__, nirfile
from neurodeploy.connectivity import Array
from neurodeploy.conventions import Conventions, resolve
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


def compile_file(
    path: Path | str,
    arch: Architecture,
    *,
    options: Mapping[str, Any] | None = None,
    calibration: Mapping[str, Array] | None = None,
    integer: bool = True,
    max_neurons_per_core: int | None = None,
    after: Callable[[str, Network], None] | None = None,
) -> Compiled:
    """Compile a NIR file for a chip.

    Args:
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
    program = Place(limits_of(arch), max_neurons_per_core).apply(network, provenance)
    return Compiled(file, conventions, float_network, program)
