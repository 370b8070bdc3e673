"""Reading and trying the install commands that neurodeploy prints."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

FLAGS = {"--no-deps", "--force-reinstall", "--reinstall"}
VALUED = {"-c", "--extra-index-url", "--python", "--torch-backend"}
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
REQUIREMENT = re.compile(r"^([A-Za-z0-9][\w.-]*)((?:[<>=!]=?[\d.]+,?)*)$")


def pins(constraints: Path) -> dict[str, str]:
    """Name -> version in a file of constraints."""
    lines = (line.partition("#")[0].strip() for line in constraints.read_text(encoding="utf-8").splitlines())
    return dict(line.split("==") for line in lines if line)  # type: ignore[misc]


def calls(command: str) -> list[list[str]]:
    """The words of each call of a command line."""
    found: list[list[str]] = [[]]
    for word in shlex.split(command):
        if word == "&&":
            found.append([])
        else:
            found[-1].append(word)
    return found


def printed(text: str) -> list[str]:
    """Every install command that stands in a text, each once."""
    lines = (line.strip().removeprefix("to do:").strip() for line in text.splitlines())
    return list(dict.fromkeys(line for line in lines if re.search(r"\bpip'? install ", line)))


def asked(call: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """The requirements and the options with a value of one call of an installer."""
    words = iter(call[call.index("install") + 1 :])
    names, options = [], {}
    for word in words:
        if word in VALUED:
            options[word] = next(words)
        elif word not in FLAGS:
            names.append(word)
    return names, options


def problems(command: str) -> Iterator[str]:
    """What is wrong with a command before anything is asked of an index."""
    for call in calls(command):
        python = call[0]
        if python != "uv" and not (os.access(python, os.X_OK) and Path(python).is_absolute()):
            yield f"{python} is no program"
        if "install" not in call:
            continue
        if call[1:3] != ["-m", "pip"] and call[:2] != ["uv", "pip"]:
            yield f"no installer that is known: {call}"
        names, options = asked(call)
        constraints = Path(options.get("-c", "/nowhere"))
        if not constraints.is_file():
            yield f"{constraints} is no file"
            continue
        if options.get("--extra-index-url", CPU_INDEX) != CPU_INDEX:
            yield f"an index that is not known: {options}"
        if not names:
            yield "nothing is asked for"
        for name in names:
            match = REQUIREMENT.match(name)
            if match is None:
                yield f"{name} is no requirement"
            elif match[1].lower() not in pins(constraints):
                yield f"{name} has no pin"


def tried(
    command: str, *options: str, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """What a command would do: each call of its installer with ``--dry-run``; the first that fails, or the last."""
    quick = {"PIP_RETRIES": "0", "PIP_NO_INPUT": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1", **(environment or {})}
    for call in calls(command):
        done = subprocess.run(
            [*call, "--dry-run", *options], capture_output=True, text=True, check=False, env={**os.environ, **quick}
        )
        if done.returncode:
            break
    return done
