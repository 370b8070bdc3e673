"""``neurodeploy run``: run a Program on a back-end."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from . import options
from .console import Console

if TYPE_CHECKING:
    from neurodeploy.hwsim.chips.arch import Architecture
    from neurodeploy.network.arrays import Array
    from neurodeploy.program.program import Program
    from neurodeploy.program.recording import Recording


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("program", type=Path, help="a Program (.ndp)")
    parser.add_argument(
        "-i", "--input", action="append", required=True, metavar="[NAME=]X.npy", help="spikes, [time, batch, *shape]"
    )
    parser.add_argument(
        "-b",
        "--backend",
        default="hwsim",
        help="reference, hwsim, lava, lava-stock (Lava's own runtime) or onnxruntime (default: hwsim)",
    )
    parser.add_argument("-o", "--output", type=Path, help="write spikes, states and what forward returns as .npz")
    parser.add_argument(
        "--record", default="", metavar="u,v,learning", help="record state variables, and what learns after every step"
    )
    parser.add_argument("--labels", type=Path, metavar="Y.npy", help="classes, [batch]: print the accuracy")
    options.lava_python(parser)
    options.input_axis(parser)
    parser.add_argument("--json", action="store_true", help="machine-readable")


def run(args: argparse.Namespace, console: Console) -> int:
    from neurodeploy import backends
    from neurodeploy.errors import Interrupted, InvalidInputError
    from neurodeploy.hwsim import narrow_states
    from neurodeploy.hwsim.chips.embedded import arithmetic_of
    from neurodeploy.program import likeness, overflow
    from neurodeploy.program.program import Program
    from neurodeploy.program.recording import Record, check_inputs, decisions, returned
    from neurodeploy.report.accuracies import said
    from neurodeploy.verify.stages import accuracy_of

    backend = backends.get(args.backend)
    program = Program.load(args.program)
    arithmetic, arch = arithmetic_of(program), _chip(program)
    inputs = options.over_time(options.load_inputs(args.input), program.network, args.input_axis, console)
    states = tuple(s for s in args.record.split(",") if s)
    if unknown := [s for s in states if s not in ("u", "v", "learning")]:
        raise InvalidInputError("unknown state variable", found=", ".join(unknown), allowed="u, v, learning")
    steps, samples, inputs = check_inputs(program.network, inputs)
    labels = options.load_labels(args.labels, samples, program.network.classes)
    if answer := program.network.answer:
        answer.check_steps(steps)
    record = Record(tuple(s for s in states if s != "learning"), learning="learning" in states)
    options.use_lava_python(args)
    stopped = ""
    try:
        with console.progress(args.backend) as progress:
            recording = backend(program, inputs, record=record, progress=progress)
    except Interrupted as interrupted:
        if interrupted.recording is None:
            raise
        recording, stopped = interrupted.recording, str(interrupted)
        console.error(f"run was stopped; what follows are the {stopped} that were complete")
    values = returned(program.network, recording)
    if args.output:
        _write(recording, values, args.output)
    rows = []
    for name, events in recording.spikes.items():
        size = recording.steps * recording.samples * program.network.by_name[name].size
        rows.append((name, len(events), round(len(events) / recording.samples, 2), f"{100 * len(events) / size:.2f} %"))
    console.table(
        ("population", "spikes", "per sample", "neuron-steps that spike"),
        rows,
        title=f"{args.backend}: {recording.samples} sample(s), {recording.steps} steps",
    )
    console.say(f"arithmetic: {arithmetic}")
    if answer:
        console.say(f"answer: {answer.described()}")
    warnings = likeness.unlike(program.provenance, inputs)
    warnings += overflow.said(recording.left, program.network, recording.steps, recording.samples)
    beyond = None if stopped else narrow_states.found(program, arch, inputs)
    warnings += narrow_states.said(beyond or {}, program, arch, inputs)
    console.warn(*warnings)
    decision = decisions(program.network, recording)
    result = {
        "backend": args.backend,
        "arithmetic": arithmetic,
        "steps": recording.steps,
        "samples": recording.samples,
        "spikes": {name: len(events) for name, events in recording.spikes.items()},
        "complete": not stopped,
        "out_of_range": recording.left,
        "beyond_state_bits": beyond,
        "warnings": warnings,
        "answer": answer.described() if answer else None,
        "returned": [list(value.shape) for value in values],
        "predicted": decision.predicted.tolist(),
        "undecided": decision.undecided,
        "silent": int(decision.silent.sum()),
    }
    if labels is not None and not stopped:
        found = accuracy_of(args.backend, program.network, recording, labels)
        result["accuracy"] = found.accuracy
        console.say(f"accuracy: {said(found)}")
    if args.output:
        console.say(f"wrote {args.output}")
    console.result(result)
    return 2 if stopped else 0


def _chip(program: Program) -> Architecture | None:
    """The chip of a Program; None where it has none, or a damaged description (which `arithmetic_of` says)."""
    from neurodeploy.errors import InvalidInputError
    from neurodeploy.hwsim.chips.embedded import known_chip

    try:
        return known_chip(program)
    except InvalidInputError:
        return None


def _write(recording: Recording, returned: list[Array], output: Path) -> None:
    """Write spikes, states, what was learned and what the user's ``forward`` returns as one .npz."""
    import numpy as np

    from neurodeploy.files.atomic import atomic_path

    arrays: dict[str, Array] = {}
    for name, events in recording.spikes.items():
        arrays |= {
            f"spikes/{name}/time": events.time,
            f"spikes/{name}/sample": events.sample,
            f"spikes/{name}/neuron": events.neuron,
        }
        if events.payload is not None:
            arrays[f"spikes/{name}/payload"] = events.payload
    for state, values in recording.states.items():
        arrays |= {f"{state}/{name}": value for name, value in values.items()}
    for name, learned in recording.learned.items():
        arrays |= {f"learned/{name}/{variable}": value for variable, value in learned.items()}
    arrays |= {f"returned/{index}": value for index, value in enumerate(returned)}
    with atomic_path(output) as path, path.open("wb") as handle:
        np.savez_compressed(handle, allow_pickle=False, **arrays)
