"""Options that several commands share."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neurodeploy.errors import InvalidInputError

if TYPE_CHECKING:
    from neurodeploy.network.arrays import Array
    from neurodeploy.network.network import Network
    from neurodeploy.nir_graph.nir_file import NirFile

    from .console import Console

TOOLS = ("snntorch", "norse", "sinabs", "spikingjelly", "rockpool", "spyx", "lava-dl", "nengo")
"""Tools that ``--as`` knows: the rows of `neurodeploy.nir_graph.tools`."""


def conventions(parser: argparse.ArgumentParser) -> None:
    """Add what NIR does not say: ``--as``, which settles all of it, and an option for each convention."""
    group = parser.add_argument_group(
        "conventions (override what the file says)",
        "what NIR leaves open; --as settles all of it, and a single option overrides that",
    )
    group.add_argument("--as", dest="tool", choices=TOOLS, help="all conventions of the tool that wrote the file")
    group.add_argument("--dt", type=float, metavar="SECONDS", help="length of a time step")
    group.add_argument("--reset", choices=("hard", "subtract", "none"), help="what a spike does to the membrane")
    group.add_argument(
        "--reset-time", choices=("now", "next", "gate", "once"),
        help="when: in its own step, or (snnTorch) in the next, gating that step's input, or once (no double reset)",
    )  # fmt: skip
    group.add_argument("--comparison", choices=(">", ">="), help="whether v equal to the threshold spikes")
    group.add_argument(
        "--decay", choices=("euler", "exponential"), help="what is kept in a step: 1 - dt / tau, or exp(-dt / tau)"
    )
    group.add_argument(
        "--gain", choices=("nir", "unit", "membrane", "decayed"),
        help="what multiplies the input: r, w_in and the step (nir); nothing (unit); r and the membrane's step; or "
        "what the current keeps in a step",
    )  # fmt: skip
    group.add_argument(
        "--initial", choices=("zero", "v_leak", "v_reset"), help="membrane potential before the first step"
    )
    group.add_argument("--max-spikes", type=_spikes, metavar="N", help="most spikes in one step, or unlimited")
    group.add_argument(
        "--v-floor", type=_floor, metavar="V", help="least membrane potential, or none (sinabs' min_v_mem)"
    )
    group.add_argument(
        "--arrival",
        choices=("same-step", "next-step"),
        help="when a spike reaches the layers behind its own (spyx: next)",
    )
    group.add_argument(
        "--recurrent-bias",
        choices=("from-start", "after-delay"),
        help="first step in which the bias of a recurrent layer acts: step 0 (snnTorch) or step 1 (norse)",
    )


def host(parser: argparse.ArgumentParser) -> None:
    """Add ``--host``: whose prices are taken for what the processor beside the chip computes."""
    parser.add_argument(
        "--host", metavar="HOST",
        help="prices and times of the processor that computes host stages: arm, cpu, gpu, x86 (Loihi's own), none, or "
        "a .yaml (default: the one that the chip carries)",
    )  # fmt: skip


CONVENTIONS = (
    "tool", "dt", "reset", "reset_time", "comparison", "decay", "gain", "initial", "max_spikes", "v_floor", "arrival",
    "recurrent_bias",
)  # fmt: skip
"""Names of these options, as `neurodeploy.nir_graph.conventions.resolve` takes them."""


def given_conventions(args: argparse.Namespace) -> dict[str, Any]:
    """The conventions that were given, as `neurodeploy.nir_graph.conventions.resolve` takes them."""
    return {name: getattr(args, name) for name in CONVENTIONS}


def _floor(text: str) -> float:
    """A potential, or ``none`` (argparse type)."""
    return float("-inf") if text == "none" else float(text)


def _spikes(text: str) -> int:
    """A number of spikes, or ``unlimited`` (argparse type)."""
    from neurodeploy.network.neurons import UNLIMITED

    return UNLIMITED if text == "unlimited" else positive(text)


def lava_python(parser: argparse.ArgumentParser) -> None:
    """Add ``--lava-python``."""
    parser.add_argument(
        "--lava-python", metavar="PYTHON", help="run Lava with this interpreter, which has lava-nc, not the sidecar's"
    )


def use_lava_python(args: argparse.Namespace) -> None:
    """Let the Lava back-end use what was given as ``--lava-python``."""
    if args.lava_python:
        os.environ["NEURODEPLOY_LAVA_PYTHON"] = args.lava_python


def chip(parser: argparse.ArgumentParser, *, or_none: bool = False) -> None:
    """Add ``--chip`` and ``--max-neurons-per-core``; ``or_none`` where the command can do without a chip."""
    text = "name of a chip, or the path of an architecture file"
    text += "; none to place nothing (the Program runs, but has no cores, counts or energy)" if or_none else ""
    parser.add_argument("--chip", default="loihi1", help=text)
    parser.add_argument("--max-neurons-per-core", type=positive, metavar="N", help="fewer than the chip allows")


def placement(parser: argparse.ArgumentParser) -> None:
    """Add how neurons are given cores."""
    group = parser.add_argument_group("placement")
    group.add_argument(
        "--order", choices=("spatial", "sequential", "random", "hypergraph"), default="spatial",
        help="which neurons stand together on a core (default: spatial, which keeps messages few)",
    )  # fmt: skip
    group.add_argument("--share-cores", action="store_true", help="let neighbouring layers share a core")
    group.add_argument("--chips", type=positive, default=1, metavar="N", help="over how many chips (default: 1)")
    group.add_argument("--tiling", metavar="T.csv", help="take the mapping from this table, layer by layer")
    group.add_argument("--seed", type=int, default=0, help="of everything random in the placement (default: 0)")


def given_placement(args: argparse.Namespace) -> dict[str, Any]:
    """The options of `placement` and ``--max-neurons-per-core``, as `neurodeploy.placement.place.Place` takes them."""
    from neurodeploy.placement.tiling import Tiling

    return {
        "max_neurons_per_core": args.max_neurons_per_core,
        "order": args.order,
        "share": args.share_cores,
        "chips": args.chips,
        "seed": args.seed,
        "tiling": Tiling.read(args.tiling) if args.tiling else None,
    }


def shape(text: str) -> tuple[int, ...]:
    """The shape of a sample, as in ``1,28,28``.

    Raises:
        InvalidInputError: it is not one.
    """
    try:
        found = tuple(int(part) for part in text.split(","))
        if min(found) < 1:
            raise ValueError
    except ValueError:
        raise InvalidInputError("--shape is not a shape", found=text, allowed="numbers, as in 1,28,28") from None
    return found


def time_axis(text: str) -> int | str:
    """Where time lies in what a module takes (argparse type)."""
    allowed = ("0", "1", "-1", "flat", "none", "step")
    if text not in allowed:
        raise argparse.ArgumentTypeError(f"must be one of {', '.join(allowed)}, not {text}")
    return text if text in ("flat", "none", "step") else int(text)


def positive(text: str) -> int:
    """A positive whole number (argparse type)."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {value}")
    return value


def load_array(path: str | Path, what: str) -> Array:
    """Read an array from ``.npy``.

    Raises:
        MissingFileError: there is no such file.
        InvalidInputError: not a ``.npy`` file, a damaged one, or one that holds Python objects.
    """
    import numpy as np

    from neurodeploy.files.atomic import existing_file, storage_errors

    path = existing_file(path, f"a .npy file with {what}")
    try:
        with storage_errors("read", path), path.open("rb") as handle:
            found: Array = np.lib.format.read_array(handle, allow_pickle=False)
            return found
    except (ValueError, EOFError, SyntaxError) as error:
        raise InvalidInputError(
            f"{path} is not a usable .npy file",
            found=str(error).split("\n")[0],
            allowed=f"{what}, saved with numpy.save",
            hint="save it again with numpy.save (no object arrays)",
        ) from error


def load_labels(path: str | Path | None, samples: int, classes: int | None = None) -> Any:
    """The class of each of so many samples from ``.npy``, or None where there is no file.

    Raises:
        MissingFileError, InvalidInputError: as `load_array` and `neurodeploy.program.recording.check_labels` say.
    """
    if path is None:
        return None
    from neurodeploy.program.recording import check_labels

    return check_labels(load_array(path, "one class for each sample"), samples, classes, str(path))


def input_axis(parser: argparse.ArgumentParser) -> None:
    """Add ``--input-axis``."""
    parser.add_argument(
        "--input-axis", type=time_axis, metavar="AXIS",
        help="where time lies in the input, as --time-axis of export (default: 0, [time, batch, *shape]; what a model "
        "that repeats a static input takes is repeated)",
    )  # fmt: skip


def over_time(inputs: Mapping[str, Any], model: Network | NirFile, axis: Any, console: Console) -> Mapping[str, Any]:
    """Inputs as ``[time, batch, *shape]``; see `neurodeploy.api.inputs.over_time`."""
    from neurodeploy.api import inputs as reading

    return reading.over_time(inputs, model, axis, console.note)


def load_inputs(specs: list[str]) -> Mapping[str, Any]:
    """Inputs from ``x.npy`` (the network's only input) or ``name=x.npy`` options."""
    inputs = {}
    for spec in specs:
        name, separator, path = spec.partition("=")
        if separator and not Path(spec).exists():
            inputs[name] = load_array(path, f"the input {name!r}")
        else:
            inputs[""] = load_array(spec, "the input, [time, batch, *shape]")
    return inputs
