"""The results of a run as one JSON document: what the HTML report, scripts and later comparisons read.

All counts, energies and times are means per inference (one sample), unless a field says otherwise. Energies are in pJ,
times in ns; a field named ``..._us`` is in microseconds. Unknown fields are refused: a typo never passes for data.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from neurodeploy.errors import InvalidInputError
from neurodeploy.files.atomic import existing_file, storage_errors, write_text
from neurodeploy.program.count_kinds import Part

from .diagram.parts import Diagram

FORMAT = "neurodeploy report"
VERSION: Literal[3] = 3
"""Written into every document; raised when an older neurodeploy could no longer read what is written."""

Count = Annotated[int, Field(ge=0)]
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, le=1)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")


class Source(_Model):
    """Where a network came from; `dt` in seconds, `steps` of one inference in network time."""

    framework: str
    versions: dict[str, str] = {}
    file: str = ""
    sha256: str = ""
    dt: Amount
    steps: Count


class Stage(_Model):
    """One stage of the pipeline and its accuracy (0 to 1) on `samples` samples.

    Args:
        undecided: samples whose largest score several classes share (the lowest is taken), or that no output neuron
            answered with a spike; None where they were not counted.
        silent: of these, the latter.
    """

    name: str
    accuracy: Fraction | None = None
    samples: Count
    undecided: Count | None = None
    silent: Count | None = None


class Divergence(_Model):
    """The first place where two stages differ, and both membrane potentials there (None where a stage has none)."""

    population: str
    handle: str
    step: Count
    sample: Count
    neuron: Count
    first_v: float | None = None
    second_v: float | None = None


class Pair(_Model):
    """Two stages, run on the same input and compared.

    Args:
        exact_by_design: anything but equality is a failure.
        compared: neuron-steps looked at (neurons x steps x samples).
        spikes_different, states_different: of these, where the spike or the membrane potential differs; None where the
            potentials are not in the same units.
        not_finite: neuron-steps in which a potential or message of either is infinite or not a number, which equals
            nothing; None where they were not counted.
        spike_distance: spikes that only one of the two has, divided by the spikes of both together (0 to 1).
        verdict: ``measured`` where a difference is expected and its size is the result; ``silent`` where nothing
            spiked, so that the comparison proves nothing.
    """

    first: str
    second: str
    exact_by_design: bool
    equal: bool
    samples: Count
    compared: Count
    spikes_different: Count
    states_different: Count | None
    not_finite: Count | None = None
    spike_distance: Amount | None = None
    verdict: Literal["equal", "measured", "failed", "silent"]
    divergence: Divergence | None = None


class Layer(_Model):
    """What one population did.

    Args:
        handle: torch module path or NIR nodes.
        kind: ``"input"`` for what the user feeds, ``"from the host"`` for what a host stage does, and ``"bias axon"``
            for an always-on source, none counted among the neurons and spikes of the chip; else for example
            ``"conv2d"`` or ``"dense"``.
        cores: number of cores that hold it.
        synapses: stored synapses that end in it.
        events_per_inference: spikes that it sends.
        rate: spikes per neuron and step.
        sops, nonzero_sops: synaptic operations that arrive at it, with and without zero weights.
        updates, active_updates: of its neurons.
        events_per_step, sops_per_step: by network step.
    """

    name: str
    handle: str
    kind: str
    shape: tuple[Count, ...]
    neurons: Count
    cores: Count
    synapses: Count
    events_per_inference: Amount
    rate: Amount
    sops: Amount
    nonzero_sops: Amount
    updates: Amount
    active_updates: Amount
    events_per_step: tuple[Amount, ...] = ()
    sops_per_step: tuple[Amount, ...] = ()


class EnergyLine(_Model):
    """One component: ``energy_pj = count * price``.

    Args:
        component: key of the price in an architecture file.
        kind: name of what was counted; see `neurodeploy.program.count_kinds`.
        part: whether it belongs to the forward pass or to learning.
    """

    component: str
    kind: str = ""
    part: Part = "inference"
    label: str
    count: Amount
    count_unit: str
    price: Amount
    price_unit: str
    energy_pj: Amount
    source: str
    confidence: str
    bound: str = "nominal"
    note: str = ""


class MissingLine(_Model):
    """A component that the total lacks (`count` None: not counted) and why; see `EnergyLine`."""

    component: str
    kind: str = ""
    part: Part = "inference"
    label: str
    count: Amount | None = None
    count_unit: str = ""
    reason: str


class Energy(_Model):
    """Energy of an inference at the prices of one chip: ``total_pj = dynamic_pj + static_pj``.

    Args:
        total_pj, dynamic_pj: None where the host computes a part of the network (`HostShare`), and not all that it did
            has a price: a sum without it would pass for the whole.
        chip_pj: the chip alone; as `total_pj` where it computes all. None in older files.
        lines, missing: of the chip.
    """

    chip: str
    total_pj: Amount | None
    dynamic_pj: Amount | None
    static_pj: Amount
    chip_pj: Amount | None = None
    lines: tuple[EnergyLine, ...]
    missing: tuple[MissingLine, ...] = ()


class Term(_Model):
    """A part of the time of an inference, ns."""

    name: str
    label: str
    ns: Amount


class HostedStage(_Model):
    """What the host computed in one stage, per inference.

    Args:
        when: it runs: before the first step, in every step, between two phases of the chip, or behind the last step.
        runs: of its graph.
        macs: multiply-accumulates.
        operations: all others, by the operator's name.
        bytes_read, bytes_given: over the boundary of chip and host.
    """

    name: str
    when: Literal["before", "step", "phase", "behind"]
    runs: Count
    macs: Amount
    operations: dict[str, Amount]
    bytes_read: Amount
    bytes_given: Amount


class HostTime(_Model):
    """A part of the time of an inference on chip and host, ns; None where it was not published."""

    label: str
    ns: Amount | None
    note: str = ""


class HostShare(_Model):
    """What the host does of a network, and what that takes, per inference; see `neurodeploy.program.host_work`.

    Args:
        processor, title: whose prices were taken.
        bytes_to_host, bytes_to_chip: over the boundary; what two stages read crosses once.
        barriers: of chip and host.
        buffered: bytes that the host keeps, by what it keeps.
        energy: in words: a sum, or each share where one is not published.
        host_pj, boundary_pj: None where nothing of it has a price.
        lines, missing: of host and boundary.
        times: of chip, host and boundary, one after another.
        total_ns: None where one of them was not published.
    """

    processor: str
    title: str
    stages: tuple[HostedStage, ...]
    bytes_to_host: Amount
    bytes_to_chip: Amount
    barriers: Amount
    buffered: dict[str, Count]
    energy: str
    host_pj: Amount | None
    boundary_pj: Amount | None
    lines: tuple[EnergyLine, ...] = ()
    missing: tuple[MissingLine, ...] = ()
    times: tuple[HostTime, ...] = ()
    total_ns: Amount | None = None


class Latency(_Model):
    """Time on the chip; `mean_ns` and `max_ns` are over samples, by chip step; `terms` add up to the inference."""

    tier: str
    mean_ns: tuple[Amount, ...]
    max_ns: tuple[Amount, ...]
    inference_us: Amount
    terms: tuple[Term, ...]
    dominant: str
    busiest_core: Count | None = None
    busiest_share: Fraction = 0.0
    tiles: Count
    missing: tuple[str, ...] = ()
    clock: str = ""


class Core(_Model):
    """What a core holds against what it can hold, and its synaptic operations per inference."""

    core: Count
    tile: Count
    neurons: Count
    neurons_limit: Count
    synapse_bytes: Count
    synapse_limit: Count
    axons_in: Count
    axons_in_limit: Count | None = None
    axons_out: Count
    axons_out_limit: Count | None = None
    populations: tuple[str, ...]
    sops: Amount


class RasterPopulation(_Model):
    """Spikes of one population: spike k is of neuron ``indices[k]`` in network step ``times[k]``."""

    name: str
    neurons: Count
    times: tuple[Count, ...]
    indices: tuple[Count, ...]


class Raster(_Model):
    """Spikes of one sample; `undecided` where other classes score as high as the predicted one, or nothing spiked."""

    sample: Count
    label: int | str | None = None
    predicted: int | str | None = None
    undecided: bool | None = None
    steps: Count
    populations: tuple[RasterPopulation, ...]


class Spread(_Model):
    """Magnitudes of one kind of value, zeros left out, against what the integers can hold.

    Args:
        smallest, largest: step and largest value of the format.
        box: minimum, quartiles, maximum; empty without values.
        lost: share that would round to zero.
        full: share at or beyond the largest value.
    """

    layer: str
    what: str
    smallest: Amount
    largest: Amount
    values: Count = 0
    box: tuple[Amount, ...] = ()
    lost: Fraction = 0.0
    full: Fraction = 0.0


class NetworkResult(_Model):
    """Everything about one network; parts that were not computed are empty or None.

    Args:
        stages: all on the same samples (in version 1 of the format, some on more than others).
        stages_on_all: those that also ran all samples, where there are more.
        arithmetic: the numbers with which it was run as a Program, and whether they are the chip's own.
        host: what the host does of it; None where the chip computes all. `energy` and `latency` are then the chip's.
        diagram: what runs where, of a network with host stages.
    """

    name: str
    description: str = ""
    arithmetic: str = ""
    source: Source
    stages: tuple[Stage, ...] = ()
    stages_on_all: tuple[Stage, ...] = ()
    pairs: tuple[Pair, ...] = ()
    layers: tuple[Layer, ...] = ()
    energy: Energy | None = None
    latency: Latency | None = None
    host: HostShare | None = None
    diagram: Diagram | None = None
    cores: tuple[Core, ...] = ()
    raster: Raster | None = None
    spreads: tuple[Spread, ...] = ()
    warnings: tuple[str, ...] = ()
    notes: dict[str, str] = {}


Document = TypeVar("Document", bound=BaseModel)


def parsed(kind: type[Document], name: str, version: int, text: str | bytes, where: str) -> Document:
    """Read a document of a kind.

    Args:
        name, version: of its format; the newest that can be read.
        where: for messages.

    Raises:
        InvalidInputError: not such a document, a damaged one, or one from a newer neurodeploy; names the field.
    """
    try:
        data: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(
            f"{where} is damaged or not JSON", found=str(error), hint="run the report command again"
        ) from error
    found = data.get("format") if isinstance(data, dict) else type(data).__name__
    if found != name:
        raise InvalidInputError(f"{where} is another kind of file", found=found, allowed=name)
    written = data.get("version")
    if isinstance(written, int) and written > version:
        raise InvalidInputError(
            f"{where} was written by a newer neurodeploy",
            found=f"format version {written}",
            allowed=f"format version {version} or older",
            hint="upgrade neurodeploy, or make the report again with this one",
        )
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise InvalidInputError(
            f"{where} is damaged: {'.'.join(str(part) for part in first['loc'])}",
            found="nothing" if first["type"] == "missing" else repr(first["input"])[:80],
            allowed=first["msg"],
            hint="run the report command again",
        ) from error


class Report(_Model):
    """The document."""

    format: Literal["neurodeploy report"] = "neurodeploy report"
    version: Literal[1, 2, 3] = VERSION
    title: str
    neurodeploy: str
    chip: str
    networks: tuple[NetworkResult, ...]

    def to_json(self) -> str:
        """Return the document as indented JSON; infinities and NaN of membrane potentials become strings."""
        return self.model_dump_json(indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes, where: str = "the report") -> Report:
        """Read what `to_json` wrote; see `parsed` for the errors."""
        return parsed(cls, FORMAT, VERSION, text, where)

    def save(self, path: Path | str) -> None:
        """Write the document atomically.

        Raises:
            StorageError: the folder cannot be written to, or the disk is full.
        """
        write_text(path, self.to_json())

    @classmethod
    def load(cls, path: Path | str) -> Report:
        """Read a document.

        Raises:
            MissingFileError: there is no such file.
            InvalidInputError: see `from_json`.
        """
        path = existing_file(path, "a report document (.json)")
        with storage_errors("read", path):
            data = path.read_bytes()
        return cls.from_json(data, str(path))
