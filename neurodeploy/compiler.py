"""From a `.nir` file to a placed Program: read, settle the conventions, lower, run the passes, place.

A lava-dl `.net` file holds integers already: read and place. Without a chip (``None``) nothing is placed: all neurons
are on one core without limits, which is enough to run and compare, and for no figure about a chip.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from neurodeploy import __version__, passes
from neurodeploy.errors import InvalidInputError
from neurodeploy.files import hdf5
from neurodeploy.lowering import lava_dl
from neurodeploy.lowering.interpreted import interpreted
from neurodeploy.lowering.lower import lower
from neurodeploy.lowering.proven import check_proof
from neurodeploy.network.arrays import Array
from neurodeploy.network.network import Network, check_registers
from neurodeploy.network.neurons import Feature
from neurodeploy.nir_graph import nir_file
from neurodeploy.nir_graph.conventions import Conventions, named, resolve
from neurodeploy.nir_graph.proof import Proof
from neurodeploy.passes.graded_inputs import with_graded_inputs
from neurodeploy.placement import fit, holds
from neurodeploy.placement.orders import Order
from neurodeploy.placement.place import Place
from neurodeploy.placement.tiling import Tiling
from neurodeploy.program import likeness
from neurodeploy.program.limits import Limits, Mesh
from neurodeploy.program.program import NO_CHIP as NO_CHIP
from neurodeploy.program.program import Program

if TYPE_CHECKING:
    from neurodeploy.hwsim.chips.arch import Architecture
    from neurodeploy.hwsim.chips.figures import Limit
    from neurodeploy.program.recording import Recording


Stages = tuple[tuple[str, Network], ...]
"""Networks after each pass, by its name, in order; the first is ``"lower"``."""


@dataclass(frozen=True, eq=False)
class Compiled:
    """Everything between the file and the Program, for `verify` and the report.

    Args:
        file, conventions: of a `.nir` file; None where something else was compiled.
        float_network: before the passes; None of a lava-dl file, whose numbers are integers.
        program: what came of it.
        stages: networks on the way.
        warnings: what contradicts the file's proof.
    """

    file: nir_file.NirFile | None
    conventions: Conventions | None
    float_network: Network | None
    program: Program
    stages: Stages = ()
    warnings: tuple[str, ...] = ()

    @property
    def floats(self) -> Network:
        """The network before the passes; that of a lava-dl file is in integers all along."""
        return self.float_network or self.program.network

    @property
    def nir(self) -> Callable[[Mapping[str, Array]], Recording] | None:
        """Interprets the graph of the file; None where there is none."""
        file, conventions = self.file, self.conventions
        if file is None or conventions is None:
            return None
        return interpreted(file, conventions, self.floats)


def limits_of(arch: Architecture) -> Limits:
    """The limits that placement knows, from an architecture file."""
    from neurodeploy.hwsim.chips.computed import not_checked, registers_of

    limits = arch.limits

    def value(limit: Limit | None) -> int | None:
        return None if limit is None else limit.value

    return Limits(
        chip=arch.name,
        cores=arch.cores,
        neurons=arch.limits.neurons_per_core.value,
        synapse_bytes=arch.limits.synapse_bytes_per_core.value,
        axons_in=value(limits.axons_in_per_core),
        axons_out=value(limits.axons_out_per_core),
        thresholds=value(limits.thresholds_per_core),
        delay=limits.delay_max.value,
        payload_bits=value(limits.spike_payload_bits),
        mesh=Mesh(arch.mesh.columns.value, arch.mesh.cores_per_tile.value),
        registers=registers_of(arch),
        resets=arch.arithmetic.resets.value,
        features=get_args(Feature) if arch.arithmetic.neurons.value == "any" else arch.arithmetic.neurons.value,
        unsure=arch.arithmetic.neurons.unknown,
        of_subtract=arch.arithmetic.of_subtract,
        unknown=not_checked(arch),
    )


def needs(network: Network, arch: Architecture, cap: int | None = None, chips: int = 1) -> tuple[fit.Need, ...]:
    """What a network needs of a chip (`neurodeploy.placement.fit.needs`), and which others have what this one has not.

    Args:
        network: that is to be placed.
        arch: the chip.
        cap: neurons that a core takes at most, where that is less than it could.
        chips: how many there are.
    """
    found = fit.needs(network, limits_of(arch), cap, chips)
    if not any(need.lacks for need in found):
        return found
    from neurodeploy.hwsim.chips.arch import available, load_architecture

    others = [limits_of(load_architecture(name)) for name in available()]
    return tuple(replace(need, remedy=_elsewhere(need, others)) if need.lacks else need for need in found)


def lacks(network: Network, arch: Architecture) -> list[str]:
    """The numbers and kinds of neuron of a network that a chip has not, in words."""
    return [str(need) for need in needs(network, arch) if holds.of_arithmetic(need) and (need.lacks or not need.fits)]


def _elsewhere(need: fit.Need, others: Sequence[Limits]) -> str:
    there = [
        one.chip
        for one in others
        if need.lacks in (*(one.resets or ()), *(one.features or ()))
        or (need.lacks == "subtract" and one.of_subtract > 1)
    ]
    return f"use a chip that has it (--chip {' or '.join(there)}), or {need.remedy}" if there else need.remedy


"""Name of the chip of a Program that is not placed."""


def place(network: Network, arch: Architecture | None, provenance: Mapping[str, str], **options: Any) -> Program:
    """Place a network on a chip, or make a Program for none (see the module's docstring).

    Args:
        network: in the integers or floats in which it is to run.
        arch: the chip; None for none.
        provenance: where it came from (`neurodeploy.program.program.Program`).
        options: fields of `neurodeploy.placement.place.Place`.

    Raises:
        DoesNotFitError: it does not fit on the chip; says what is too large.
        UnsupportedError: integers that Loihi's registers do not hold.
    """
    check_registers(network)
    network = replace(network, notes=holds.others(network.notes))
    if arch is not None:
        from neurodeploy.hwsim.chips.embedded import chip_file

        limits, table = limits_of(arch), options.get("tiling")
        found = needs(network, arch, options.get("max_neurons_per_core"), options.get("chips", 1))
        # A table says itself how neurons lie on cores; it changes nothing about what they compute.
        fit.refuse(found if table is None else tuple(n for n in found if holds.of_arithmetic(n)), network, limits)
        network = replace(network, notes={**network.notes, **holds.notes(network, limits)})
        return replace(Place(limits, **options).apply(network, provenance), chip_file=chip_file(arch))
    passes = "quantise" if network.arithmetic != "float" else ""
    return Program.unplaced(network, {"neurodeploy": __version__, "passes": passes, **provenance})


@dataclass(frozen=True, kw_only=True, eq=False)
class CompileOptions:
    """What may be said beside the file and the chip.

    Args:
        conventions: that the user settles: ``tool``, ``dt`` ... (`neurodeploy.nir_graph.conventions.resolve`).
        calibration: inputs of a few samples, ``[time, batch, *shape]``, by input (``""`` names the only one).
        labels: classes of these samples, ``[batch]``, for passes that train.
        passes: to run, as `neurodeploy.passes.parse` reads them; None for the usual ones.
        integer: without ``passes``, quantise to the chip's integers; else the Program is in floats.
        max_neurons_per_core: fewer than the chip allows.
        order: which neurons stand together on a core (`neurodeploy.placement.orders`).
        share: let neighbouring layers share a core.
        chips: how many there are.
        seed: of everything random in the placement.
        tiling: take the mapping from this table.
        after: called with the name of each pass and the network it gave.
        tell: progress of a pass that takes long: ``(done, of, text)``.
    """

    conventions: Mapping[str, Any] = field(default_factory=dict)
    calibration: Mapping[str, Array] | None = None
    labels: Array | None = None
    passes: str | None = None
    integer: bool = True
    max_neurons_per_core: int | None = None
    order: Order = "spatial"
    share: bool = False
    chips: int = 1
    seed: int = 0
    tiling: Tiling | None = None
    after: Callable[[str, Network], None] | None = None
    tell: Callable[[int, int, str], None] | None = None

    @property
    def placement(self) -> dict[str, Any]:
        """Fields of `neurodeploy.placement.place.Place`."""
        names = ("max_neurons_per_core", "order", "share", "chips", "seed", "tiling")
        return {name: getattr(self, name) for name in names}


def compile(path: Path | str, arch: Architecture | None, options: CompileOptions | None = None) -> Compiled:
    """Compile a `.nir` file, a lava-dl `.net` file, or a Program in floats (`.ndp`), for a chip.

    Args:
        path: of the file.
        arch: the chip; None to place on none.
        options: what else may be said.

    Raises:
        VerificationError: the network contradicts the proof in its file.
        InvalidInputError: conventions were given for a file that leaves none open, or the file cannot be used.
        NeurodeployError: as the passes say.
    """
    given = options or CompileOptions()
    suffix = Path(path).suffix
    if suffix == ".net":
        return _from_net(path, arch, given)
    return _from_program(path, arch, given) if suffix == ".ndp" else _from_nir(path, arch, given)


def _from_net(path: Path | str, arch: Architecture | None, given: CompileOptions) -> Compiled:
    """A lava-dl network, whose numbers are already integers of the chip, and which says all conventions."""
    more = {"calibration": given.calibration is not None, "labels": given.labels is not None,
            "passes": given.passes is not None, "float": not given.integer}  # fmt: skip
    settled = sorted([*named(given.conventions), *(name for name, there in more.items() if there)])
    if settled:
        raise InvalidInputError(
            f"{path} is a lava-dl network, which leaves nothing to settle",
            found=", ".join(settled),
            allowed="no conventions, samples or passes: lava-dl's numbers are integers already",
            hint="leave these options out",
        )
    network = lava_dl.read_net(path)
    if given.after:
        given.after("read", network)
    provenance = {"source": Path(path).name, "sha256": hdf5.digest(Path(path)), "framework": "lava-dl"}
    program = place(network, arch, {**provenance, "passes": "place" if arch else ""}, **given.placement)
    return Compiled(None, None, None, program, (("read", network),))


def _from_nir(path: Path | str, arch: Architecture | None, given: CompileOptions) -> Compiled:
    file = nir_file.read(path)
    conventions = resolve(file, **given.conventions)
    network = float_network = lower(file, conventions)
    warnings = check_proof(file, network, conventions, always=given.calibration is not None)
    stages, ran = _passed(network, arch, given)
    provenance = {
        "source": Path(path).name,
        "sha256": file.sha256,
        "nir": file.nir_version,
        "neurodeploy": __version__,
        "passes": ", ".join(ran + (["place"] if arch else [])),
        **{key: str(file.metadata[key]) for key in ("framework", "framework_version") if key in file.metadata},
    }
    if (proof := Proof.read(file)) is not None:
        provenance |= likeness.facts(proof.steps, proof.samples, proof.rate)
    program = place(stages[-1][1], arch, provenance, **given.placement)
    return Compiled(file, conventions, float_network, program, stages, tuple(warnings))


def _from_program(path: Path | str, arch: Architecture | None, given: CompileOptions) -> Compiled:
    """A Program in floats, as `neurodeploy learn` and `neurodeploy convert` write it."""
    settled = named(given.conventions)
    source = Program.load(path)
    if settled or source.network.arithmetic != "float":
        raise InvalidInputError(
            f"{path} is a Program" + (", which leaves no convention to settle" if settled else " in integers already"),
            found=", ".join(settled) or source.network.arithmetic,
            allowed="a Program in floats, and no conventions",
            hint="leave these options out" if settled else "compile the .nir file, or the Program in floats",
        )
    stages, ran = _passed(source.network, arch, given)
    passes_run = ", ".join(ran + (["place"] if arch else []))
    provenance = {**source.provenance, "source": Path(path).name, "neurodeploy": __version__, "passes": passes_run}
    program = place(stages[-1][1], arch, provenance, **given.placement)
    return Compiled(None, None, source.network, program, stages)


def _passed(network: Network, arch: Architecture | None, given: CompileOptions) -> tuple[Stages, list[str]]:
    """The network after each pass, the given one first, and the passes that ran."""
    pipeline = given.passes
    if pipeline is None:
        pipeline = passes.INTEGER if given.integer else passes.FLOAT
    steps = passes.parse(pipeline)
    calibration, after = given.calibration, given.after
    limits = None if arch is None else limits_of(arch)
    data = passes.PassData(calibration, given.labels, network, limits, given.tell)
    stages = [("lower", network)]
    if after:
        after("lower", network)
    for step in steps:
        if step.name == "quantise" and network.arithmetic == "float" and calibration is not None:
            # Not before: passes may take inputs off the chip.
            bits = None if limits is None else limits.payload_bits
            network = with_graded_inputs(network, calibration, arch.name if arch else NO_CHIP, bits)
        if network.arithmetic == "float":
            data = replace(data, teacher=network)
        network = step.build().apply(network, data)
        stages.append((step.name, network))
        if after:
            after(step.name, network)
    return tuple(stages), [step.name for step in steps]
