"""A compiled network: run it, count it, verify it, report it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from neurodeploy import backends
from neurodeploy.compiler import NO_CHIP, Compiled, CompileOptions, Stages, lacks
from neurodeploy.errors import Interrupted, InvalidInputError, UnsupportedError
from neurodeploy.files.tables import html_table
from neurodeploy.hwsim import narrow_states
from neurodeploy.hwsim.chips.arch import Architecture, load_architecture
from neurodeploy.hwsim.chips.computed import named
from neurodeploy.hwsim.chips.embedded import architecture_of, arithmetic_of, known_chip
from neurodeploy.hwsim.chips.hosts import Host, host_of
from neurodeploy.hwsim.cost import Cost, Tier, check_tier, cost
from neurodeploy.hwsim.hybrid import cost_hybrid
from neurodeploy.network.arrays import Array
from neurodeploy.network.network import Network
from neurodeploy.program import likeness, overflow
from neurodeploy.program.program import CoreUse
from neurodeploy.program.program import Program as Placed
from neurodeploy.program.recording import Record, check_inputs, check_labels
from neurodeploy.report.hybrid import run_hybrid
from neurodeploy.verify.after_passes import Measured, measure
from neurodeploy.verify.after_passes import warnings as lost
from neurodeploy.verify.stages import Runner, VerifyOptions, torch_runner, verify_program

from .explanation import Explanation, explain
from .inputs import Inputs, Labels, Taken, given, over_time
from .inspection import Inspection, of_program
from .lava import LavaScript, lava_script
from .recording import Recording
from .show import progress
from .verification import Verification, chosen

if TYPE_CHECKING:
    from torch import nn

    from neurodeploy.exporters.usage import TimeAxis
    from neurodeploy.report.document import Report

Variable = Literal["u", "v", "learning"]


@dataclass(frozen=True, eq=False, repr=False)
class Program:
    """A network in the chip's integers (or in floats), each neuron on its core.

    Args:
        of: the Program itself (`neurodeploy.program.program.Program`).
        compiled: how it was made; None where it was loaded from its file.
        torch: runs the module that it was exported from, for `verify`.
        options: with which it was compiled; samples for calibration ``[time, batch, *shape]``.
        path: of its file, where it is in one.
    """

    of: Placed
    compiled: Compiled | None = None
    torch: Runner | None = None
    options: CompileOptions = field(default_factory=CompileOptions)
    path: Path | None = None

    @property
    def network(self) -> Network:
        """Populations and projections."""
        return self.of.network

    @property
    def chip(self) -> str:
        """Name of the chip; ``none`` where it is placed on none."""
        return self.of.chip

    @property
    def use(self) -> tuple[CoreUse, ...]:
        """What each used core holds."""
        return self.of.use

    @property
    def arithmetic(self) -> str:
        """With which it runs, in words."""
        return arithmetic_of(self.of)

    @property
    def stages(self) -> Stages:
        """The network after each pass, by its name, in order; empty where it was loaded."""
        return self.compiled.stages if self.compiled else ()

    @property
    def warnings(self) -> tuple[str, ...]:
        """What contradicts the proof in the file it was made from."""
        return self.compiled.warnings if self.compiled else ()

    @cached_property
    def after_passes(self) -> tuple[Measured, ...]:
        """The network after each pass, run on the samples for calibration; empty where there were none."""
        given = self.options
        return tuple(measure(self.stages, given.calibration, given.labels)) if given.calibration else ()

    @cached_property
    def calibration_warnings(self) -> tuple[str, ...]:
        """What the samples for calibration show to be wary of; they are run to find out."""
        calibration = self.options.calibration
        if not calibration:
            return ()
        found, arch = likeness.unlike(self.of.provenance, calibration), self._described()
        found += lost(list(self.after_passes))
        found += narrow_states.said(_beyond(self.of, arch, calibration), self.of, arch, calibration)
        return tuple(found)

    def explain(self) -> Explanation:
        """What of it fits on its chip, layer by layer, how it is stored, and what was done to it."""
        chips = int(self.of.provenance.get("chips", "1"))
        return explain(self.network, self._described(), self.options.max_neurons_per_core, chips)

    def inspect(self) -> Inspection:
        """Say what it holds, and what of it its chip does not hold."""
        return of_program(self.of, self.path)

    def as_json(self, *, explained: bool = False) -> dict[str, Any]:
        """Everything for scripts but the network; what ``neurodeploy compile --json`` prints.

        Args:
            explained: with what `explain` says, as ``--explain`` has it.
        """
        return {
            "program": str(self.path) if self.path else None,
            "chip": self.chip,
            "arithmetic": self.arithmetic,
            "cores": len(self.of.cores),
            "use": [dict(vars(use)) for use in self.use],
            "passes": [dict(vars(stage)) for stage in self.after_passes],
            "warnings": [*self.warnings, *self.calibration_warnings],
            "notes": dict(self.network.notes),
            **({"explained": self.explain().as_json()} if explained else {}),
        }

    def save(self, path: Path | str) -> Path:
        """Write the Program (``.ndp``).

        Raises:
            StorageError: the folder cannot be written to, or the disk is full.
        """
        self.of.save(path)
        return Path(path)

    def export_lava(self, path: Path | str) -> LavaScript:
        """Write it as a script (``.py``) that runs it with lava-nc alone, and its numbers beside it.

        Raises:
            InvalidInputError: another ending.
            UnsupportedError: Lava cannot express it.
            StorageError: the folder cannot be written to, or the disk is full.
        """
        return lava_script(self.of, path)

    def run(
        self, x: Inputs, backend: str = "hwsim", *, record: Sequence[Variable] = (), input_axis: TimeAxis | None = None
    ) -> Recording:
        """Run it on some samples.

        Args:
            x: as the exported model takes it (``[time, batch, *shape]`` where nobody says), for each input by name
                where there are several.
            backend: ``reference``, ``hwsim``, ``lava``, ``lava-stock`` or ``onnxruntime``.
            record: state variables to keep, and ``learning`` for what learns after every step.
            input_axis: where time lies in ``x``, if not there: as ``time_axis`` of `neurodeploy.export`; 0 for
                ``[time, batch, *shape]``.

        Raises:
            InvalidInputError: inputs that do not match, or an unknown back-end or variable.
            UnsupportedError: the back-end cannot express the Program.
            BackendError: the back-end failed, or is not there.
        """
        run, network = backends.get(backend), self.network
        if unknown := [s for s in record if s not in ("u", "v", "learning")]:
            raise InvalidInputError("unknown state variable", found=", ".join(unknown), allowed="u, v, learning")
        steps, _, inputs = check_inputs(network, over_time(given(x), network, input_axis))
        if network.answer:
            network.answer.check_steps(steps)
        kept = Record(tuple(s for s in record if s != "learning"), learning="learning" in record)
        stopped = ""
        with progress(backend) as tell:
            try:
                found = run(self.of, inputs, record=kept, progress=tell)
            except Interrupted as interrupted:
                if interrupted.recording is None:
                    raise
                found, stopped = interrupted.recording, str(interrupted)
        warnings = likeness.unlike(self.of.provenance, inputs)
        warnings += overflow.said(found.left, network, found.steps, found.samples)
        arch = self._described()
        beyond = None if stopped else _beyond(self.of, arch, inputs)
        warnings += narrow_states.said(beyond or {}, self.of, arch, inputs)
        return Recording(network, found, self.arithmetic, beyond, tuple(warnings), stopped)

    def cost(
        self,
        x: Inputs,
        tier: Tier = "core",
        *,
        chip: str | Path | None = None,
        host: str | Path | None = None,
        flits: int = 1,
        input_axis: TimeAxis | None = None,
    ) -> Cost:
        """Run it on some samples and count, price and time what it does, chip and host.

        Args:
            x, input_axis: as for `run`.
            tier: how much of the chip the times see: ``core``, ``link``, ``event`` or ``flit``.
            chip: prices and times of this one (a name, or the path of an architecture file); None for its own.
            host: of the processor that computes its host stages (``arm``, ``cpu``, ``gpu``, ``x86``, ``none``, or the
                path of a host file); None for the one that the chip carries.
            flits: of a message, in the flit tier.

        Raises:
            InvalidInputError: it is placed on no chip, inputs that do not match, a tier that cannot time it, or a host
                for a network of which the chip computes all.
            UnsupportedError: a host stage multiplies in a way that nobody can count.
        """
        arch = self.priced(chip)
        inputs = over_time(given(x), self.network, input_axis)
        processor = self._processor(arch, host)
        with progress("hwsim") as tell:
            if processor is not None:
                check_tier(tier)
                ran = run_hybrid(self.of, inputs, tell)
                found = cost_hybrid(ran, arch, processor, tier=tier, flits=flits)
            else:
                found = cost(self.of, inputs, arch, tier=tier, flits=flits, progress=tell)
        return replace(found, not_held=tuple(lacks(self.network, arch)))

    def _processor(self, arch: Architecture, host: str | Path | None) -> Host | None:
        """What computes its host stages; None where there are none."""
        if self.network.stages:
            return host_of(arch, host)
        if host is not None:
            raise InvalidInputError(
                f"the host computes nothing of {self.network.name}", found=f"a host, {str(host)!r}",
                hint="leave it out: the prices of a host are those of host stages",
            )  # fmt: skip
        return None

    def priced(self, chip: str | Path | None = None) -> Architecture:
        """The chip whose prices are taken: the one given, or the Program's own.

        Raises:
            InvalidInputError: it is placed on no chip, or there is no such one.
        """
        if self.chip == NO_CHIP and not self.of.chip_file:
            raise InvalidInputError(
                f"{self.network.name} is placed on no chip",
                hint="compile it for one: neurodeploy compile ... --chip loihi1",
            )
        return load_architecture(str(chip)) if chip else architecture_of(self.of)

    def against(self, module: nn.Module, *, time_axis: TimeAxis | None = None) -> Program:
        """The same, with a torch module as the first stage of `verify`.

        Args:
            module: that the network was exported from.
            time_axis: where time lies in what it takes; None as its file says.

        Raises:
            UnsupportedError: the file begins behind an encoder of the module, so that both cannot take the same input.
        """
        from neurodeploy.exporters.usage import Usage

        file, usage = self.compiled.file if self.compiled else None, None
        taken = Taken.of(file if file is not None else self.network)
        inside = taken.order != "time outside"
        if time_axis is not None:
            usage = Usage(time_axis, 0, 0, inside)
        elif file is not None and "encoder" in file.metadata:
            raise UnsupportedError(
                f"{file.path} begins behind an encoder of its model, so that both cannot take the same input",
                found=f"encoder: {file.metadata['encoder']}",
                hint="leave --model out: the file was proven against it when it was exported",
            )
        elif file is not None and "time_axis" in file.metadata:
            usage = Usage(taken.axis, 0, 0, inside)
        floats = self.compiled.floats if self.compiled else self.network
        return replace(self, torch=torch_runner(module, floats, usage))

    def verify(
        self, x: Inputs, labels: Labels | None = None, *, backends: Sequence[str] | None = None, samples: int = 64,
        input_axis: TimeAxis | None = None, measure: bool = False, host: str | Path | None = None,
    ) -> Verification:  # fmt: skip
        """Run some samples through every stage and compare each with the one before.

        Args:
            x, input_axis: as for `run`.
            labels: classes, ``[batch]``, for accuracies.
            backends: in this order; None for reference, hwsim and Lava, the last where it is set up.
            samples: how many go through every stage.
            measure: accuracy, counts, energy and time of all samples, too.
            host: whose prices are taken for host stages then; as for `cost`.

        Raises:
            InvalidInputError: inputs or labels that do not match, or nothing to measure since it is on no chip.
            BackendError: a back-end that was asked for cannot run here.
        """
        names, left_out = chosen(backends)
        network, compiled = self.network, self.compiled or Compiled(None, None, None, self.of)
        given_over_time = over_time(given(x), network, input_axis)
        warnings = [*compiled.warnings, *likeness.unlike(self.of.provenance, given_over_time)]
        steps, count, inputs = check_inputs(network, given_over_time)
        if network.answer:
            network.answer.check_steps(steps)
        classes = None if labels is None else check_labels(np.asarray(labels), count, network.classes)
        few = {key: value[:, :samples] for key, value in inputs.items()}
        measured: Report | None = None
        with progress("verify") as tell:
            how: VerifyOptions = {"model": self.torch, "names": names, "tell": lambda what, i, of: tell(i, of, what)}
            if measure:
                from neurodeploy.report.assess import assess, document

                chip = self.priced()
                result, found = assess(
                    compiled, chip, inputs, classes, name=network.name, verified_samples=samples,
                    host=self._processor(chip, host), **how,
                )  # fmt: skip
                measured = document(result, chip)
            else:
                found = verify_program(compiled, few, None if classes is None else classes[:samples], **how)
        arch = self._described()
        warnings += found.warnings(network)
        warnings += narrow_states.said(_beyond(self.of, arch, few), self.of, arch, few)
        return Verification(network, found, self.arithmetic, left_out, tuple(warnings), measured)

    def report(
        self, path: Path | str, x: Inputs, labels: Labels | None = None, *, backends: Sequence[str] | None = None,
        samples: int = 64, input_axis: TimeAxis | None = None, host: str | Path | None = None,
    ) -> Path:  # fmt: skip
        """Verify, measure and write one self-contained HTML page.

        Args:
            path: of the page.
            x, labels, backends, samples, input_axis, host: as for `verify`; all samples are measured.

        Raises:
            InvalidInputError: it is placed on no chip, or inputs or labels that do not match.
            StorageError: the page cannot be written.
        """
        from neurodeploy.report.html import write_html

        found = self.verify(
            x, labels, backends=backends, samples=samples, input_axis=input_axis, measure=True, host=host
        )
        assert found.measured is not None
        write_html(found.measured, path)
        return Path(path)

    def _described(self) -> Architecture | None:
        """Its chip; None where it has none, or a damaged description (which `arithmetic_of` says)."""
        try:
            return known_chip(self.of)
        except InvalidInputError:
            return None

    COLUMNS = ("population", "model", "shape", "neurons", "cores")

    def rows(self) -> list[tuple[object, ...]]:
        """Its populations."""
        found: list[tuple[object, ...]] = []
        for p in self.network.populations:
            cores = len(set(self.of.core_of[p.name].tolist())) if p.name in self.of.core_of else 0
            found.append((p.name, p.neuron.label, " x ".join(map(str, p.shape)), p.size, cores or "-"))
        return found

    def __repr__(self) -> str:
        neurons = sum(p.size for p in self.network.populations if not p.external)
        synapses = sum(p.connectivity.synapses() for p in self.network.projections)
        where = "on no chip" if self.chip == NO_CHIP else f"on {len(self.of.cores)} core(s) of {self.chip}"
        kind = named(self.network.arithmetic, None) if self.chip == NO_CHIP else self.arithmetic
        return f"<Program {self.network.name}: {neurons:,} neurons, {synapses:,} synapses, {where}; {kind}>"

    def _repr_html_(self) -> str:
        return html_table(self.COLUMNS, self.rows(), repr(self), self.warnings)


def _beyond(program: Placed, arch: Architecture | None, inputs: Mapping[str, Array]) -> overflow.Left:
    """States beyond the chip's bits, with its host stages run, too."""
    return narrow_states.found(program, arch, inputs, backends.get("hwsim"))
