"""The command line: one file a command, imported only when that command is given.

A command's module offers ``add_arguments(parser)`` and ``run(args, console) -> int`` (the exit code). Exit codes: 0
done, 1 a check found a difference, 2 a wrong call or input (one message, no traceback).
"""

from __future__ import annotations

import os
import sys
from importlib import import_module

from neurodeploy import __version__
from neurodeploy.errors import InvalidInputError, NeurodeployError, did_you_mean

COMMANDS = {
    "demo": "train two small networks, compile, run, verify and report them",
    "models": "list the published systems, or read their authors' checkpoints",
    "train": "train one of them",
    "export": "write a trained torch network as a .nir or .onnx file, with proof",
    "convert": "turn an ordinary network (ANN) into a spiking or a sigma-delta one",
    "inspect": "show what a .nir file or a Program holds, and what was assumed",
    "passes": "list the compiler's passes and their options",
    "compile": "turn a .nir file into an integer Program placed on a chip (.ndp)",
    "run": "run a Program on a back-end",
    "learn": "learn on the chip, event by event, and what that costs",
    "adapt": "let a deployed network go on learning on the chip when its world changes",
    "cost": "count what a Program does on its chip, and what that takes in energy and time",
    "verify": "run one input through every stage and compare them, neuron by neuron",
    "report": "make the HTML report from a results file",
    "doctor": "say what is installed, what works and what to do",
    "completion": "print what a shell needs to complete commands, options and names",
    "lava": "set up Lava in an environment of its own",
}


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    arguments = sys.argv[1:] if argv is None else argv
    try:
        return _main(arguments)
    except KeyboardInterrupt:  # before the command has begun
        sys.stderr.write("error: neurodeploy was stopped\n  to do:   run it again\n")
        return 2


def _main(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        sys.stdout.write(_overview())
        return 0 if arguments else 2
    if arguments[0] in ("-V", "--version"):
        sys.stdout.write(f"neurodeploy {__version__}\n")
        return 0
    name = arguments[0]
    if name not in COMMANDS:
        from .console import Console

        Console(json="--json" in arguments).failed(InvalidInputError(
            f"unknown command {name!r}{did_you_mean(name, COMMANDS)}", allowed=", ".join(COMMANDS),
            hint="neurodeploy --help",
        ))  # fmt: skip
        return 2
    return _run(name, arguments[1:])


def _overview() -> str:
    width = max(map(len, COMMANDS)) + 2
    lines = [
        "usage: neurodeploy <command> [options]",
        "",
        "From a trained spiking network to a verified program for a neuromorphic chip, and what it costs.",
        "",
        "commands:",
        *(f"  {name:<{width}}{text}" for name, text in COMMANDS.items()),
        "",
        "neurodeploy <command> --help shows the options of a command; neurodeploy --version the version.",
    ]
    return "\n".join(lines) + "\n"


def _run(name: str, arguments: list[str]) -> int:
    from logging import ERROR, getLogger

    from neurodeploy.api import show

    from .console import Console
    from .parsing import parser_of

    # torch says several times that Triton, a compiler for GPUs, is missing when SpikingJelly is imported.
    getLogger("torch._library.triton").setLevel(ERROR)
    command = import_module(f"neurodeploy.cli.{name}")
    console = Console(json="--json" in arguments)
    try:
        args = parser_of(name, COMMANDS[name]).read(arguments)
    except SystemExit:  # --help
        return 0
    except NeurodeployError as error:
        console.failed(error)
        return 2
    console = Console(json=getattr(args, "json", False))
    console.listen("neurodeploy.compiling")
    reporter = show.REPORTER.set(console.progress)
    try:
        code = command.run(args, console)
        sys.stdout.flush()
        return int(code)
    except NeurodeployError as error:
        console.failed(error)
    except KeyboardInterrupt:
        hint = "run it again; files are only put in place when they are complete"
        console.failed(NeurodeployError(f"{name} was stopped", hint=hint))
    except MemoryError:
        console.failed(NeurodeployError(f"{name} ran out of memory", hint="use fewer samples or steps at a time"))
    except BrokenPipeError:
        # The reader of our output has gone (`| head`); keep Python from complaining about it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except ModuleNotFoundError as error:
        from neurodeploy.packages.commands import lacks, missing

        package = (error.name or "").partition(".")[0]
        if not lacks(package):
            raise
        console.failed(missing(name, package))
    finally:
        show.REPORTER.reset(reporter)
    return 2
