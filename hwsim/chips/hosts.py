"""Host files: what the processor beside a chip takes for what it computes of a network, every figure with its source.

A file (``hosts/*.yaml``, or a user's own) prices what `neurodeploy.program.host_work` counts: a multiply-accumulate,
any other operation (all kinds alike, since nobody tells them apart), and a byte over the boundary of chip and host. A
chip's file may name the processor that it carries (``host``). What nobody published is ``value: null`` with a note, and
stands in every bill as not published.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, ValidationError

from neurodeploy.errors import InvalidInputError, did_you_mean
from neurodeploy.files.atomic import existing_file

from . import extends
from .arch import Architecture
from .figures import Energy, Model, Name, Power, Price, Text, refusal

FOLDER = Path(__file__).parent / "hosts"
NONE = "none"
"""Name of the host where none is named: nothing of it has a price."""


def _in_ns(item: Price) -> Price:
    if item.unit != "ns":
        raise ValueError(f"the unit must be ns, not {item.unit}")
    return item


Nanoseconds = Annotated[Price, AfterValidator(_in_ns)]


class HostEnergies(Model):
    """Energy of one multiply-accumulate, of one other operation, and of one byte over the boundary each way, in pJ."""

    mac: Energy
    operation: Energy
    byte_to_host: Energy
    byte_to_chip: Energy


class HostTimes(Model):
    """Time of one multiply-accumulate, of one other operation, and of one byte over the boundary each way, in ns."""

    mac: Nanoseconds
    operation: Nanoseconds
    byte_to_host: Nanoseconds
    byte_to_chip: Nanoseconds


class Host(Model):
    """A processor beside a chip.

    Args:
        format, version: of the file.
        name, title, description: as commands, tables and readers call it.
        energy, latency: of one thing each.
        static_power: of the whole processor, in mW, while a network runs; None with ``included_in`` where the chip's
            static power contains it.
    """

    format: Literal["neurodeploy host"]
    version: Literal[1]
    name: Name
    title: Text
    description: Text
    energy: HostEnergies
    latency: HostTimes
    static_power: Power


KINDS = (Host, HostEnergies, HostTimes, Price)
"""Of which a file is made; their keys are those that a misspelt one may have meant."""


def hosts() -> tuple[str, ...]:
    """Names of the hosts that come with neurodeploy."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.yaml")))


def load_host(name_or_path: str | Path) -> Host:
    """Return a host by its name, or from a file (``*.yaml``, ``*.yml``).

    Raises:
        MissingFileError: the path does not exist.
        InvalidInputError: an unknown host, or a file that is not a valid description; names file and field.
    """
    text = str(name_or_path)
    own = isinstance(name_or_path, Path) or extends.is_path(text)
    if not own and text not in hosts():
        raise InvalidInputError(
            f"unknown host{did_you_mean(text, hosts())}", found=text, allowed=", ".join(hosts()),
            hint="give one of these names, or the path of your own .yaml description",
        )  # fmt: skip
    path = existing_file(text, "a host file (.yaml)") if own else FOLDER / f"{text}.yaml"
    try:
        return Host.model_validate(extends.read(path))
    except ValidationError as error:
        raise refusal(str(path), error, KINDS, "hosts/arm.yaml") from error


def host_of(arch: Architecture, asked: str | Path | None = None) -> Host:
    """The host whose prices are taken: the one asked for, the one that a chip's file names, or none.

    Raises:
        InvalidInputError: there is no such host.
    """
    return load_host(asked if asked is not None else arch.host or NONE)
