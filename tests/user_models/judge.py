"""A judge of what the exporter makes of a user's program, by the command line alone and by the user's own run.

The user's module is run here, in double precision: made again, with every single-precision number on the way widened.
Its own spikes, layer by layer, and what its `answer` returns are compared with what the written file gives in `run`.
"""

from __future__ import annotations

import collections
import contextlib
import io
import re
import time
import traceback
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map

from neurodeploy.cli import main
from neurodeploy.nir_graph import nir_file

from .calibrate import loaded
from .programs import Program

TOLERANCE = 1e-6
"""Relative, of what is returned."""


@dataclass(frozen=True)
class Verdict:
    """What became of a program, and why.

    ``exact``; ``partly``: what the file keeps is exact, and the rest was said not to be kept; ``unchecked``;
    ``DIFFERENT``; ``refused``; ``crash``.
    """

    verdict: str
    remark: str
    asked: bool = False
    seconds: float = 0.0


class Widened(TorchFunctionMode):
    """Double precision wherever single is asked for or met; what is written in place stays what it is."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.Tensor.float:
            return args[0].double()
        name = getattr(func, "__name__", "")
        inplace = name in ("__setitem__", "__set__", "__get__") or (name.endswith("_") and not name.endswith("__"))
        if not inplace:
            args, kwargs = tree_map(_wide, args), tree_map(_wide, kwargs)
        return func(*args, **kwargs)


def _wide(value: Any) -> Any:
    if value is torch.float32:
        return torch.float64
    if type(value) is Tensor and value.dtype is torch.float32:
        return value.double()
    return value


def command(*args: object) -> tuple[int, str, str]:
    """Exit code, output and errors of a command; -1 and the traceback where it raised."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main([str(a) for a in args])
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        except BaseException:
            return -1, out.getvalue(), err.getvalue() + traceback.format_exc()
    return code, out.getvalue(), err.getvalue()


@cache
def knows_time_axis() -> bool:
    return "--time-axis" in command("export", "--help")[1]


def own_run(
    program: Program, encoder: bool = False
) -> tuple[list[np.ndarray], dict[str, list[np.ndarray]], np.ndarray]:
    """What the user takes as the answer, what each module returned in each call, and the input, time first.

    The input is what an encoder makes of the sample where the file begins behind one.
    """
    case = loaded(program.source)
    net = case.model().double()
    seen: dict[str, list[np.ndarray]] = collections.defaultdict(list)

    def hook(name: str) -> Any:
        def keep(_module: Any, _args: Any, out: Any) -> None:
            out = out[0] if isinstance(out, tuple) else out
            if isinstance(out, Tensor):
                seen[name].append(out.detach().clone().double().numpy())

        return keep

    for name, part in net.named_modules():
        part.register_forward_hook(hook(name))
    x = case.sample()
    given = x.double() if x.is_floating_point() else x
    torch.set_default_dtype(torch.float64)
    try:
        with torch.no_grad(), Widened():
            wanted = [out.detach().clone().double().numpy() for out in case.answer(net, given)]
            if encoder and hasattr(case, "chip_input"):
                chip = case.chip_input(net, given)
            else:
                chip = _time_first(case, program, given)
                chip = case.encoded(chip) if encoder and hasattr(case, "encoded") else chip
    finally:
        torch.set_default_dtype(torch.float32)
    return wanted, seen, chip.double().numpy()


def _time_first(case: Any, program: Program, x: Tensor) -> Tensor:
    if case.TIME in (0, "step"):
        return x
    if case.TIME in (1, -1):
        return x.movedim(case.TIME, 0)
    if case.TIME == "flat":
        if program.order == "TB":
            return x.unflatten(0, (case.STEPS, case.BATCH))
        return x.unflatten(0, (case.BATCH, case.STEPS)).transpose(0, 1)
    return x.unsqueeze(0).repeat(case.STEPS, *[1] * x.dim())


def readings(calls: list[np.ndarray], chain: int, steps: int, batch: int) -> list[np.ndarray]:
    """``[time, batch, neurons]`` of what a module returned: in each step, or at once in any of the usual orders.

    ``chain`` counts the places of a module that is called with several states of its own.
    """
    found = []
    if len(calls) % steps == 0 and len(calls) // steps > chain:
        each = len(calls) // steps
        found.append(calls[chain::each])
        if each > 1:
            found.append(calls[chain * steps : (chain + 1) * steps])
        found = [np.stack(one) for one in found if len({a.shape for a in one}) == 1]
        found = [one.reshape(steps, batch, -1) for one in found if one.size and one[0].size % batch == 0]
    elif chain < len(calls):
        whole = calls[chain]
        lead = whole.shape[:2]
        if lead == (steps, batch):
            found.append(whole.reshape(steps, batch, -1))
        if lead == (batch, steps):
            found.append(whole.swapaxes(0, 1).reshape(steps, batch, -1))
        if whole.shape[0] == steps * batch:
            found.append(whole.reshape(steps, batch, -1))
            found.append(whole.reshape(batch, steps, -1).swapaxes(0, 1))
    return found


def _dense(npz: dict[str, np.ndarray], name: str, steps: int, batch: int, size: int) -> np.ndarray:
    spikes = np.zeros((steps, batch, size))
    if f"spikes/{name}/time" in npz:
        at = [npz[f"spikes/{name}/{key}"].astype(int) for key in ("time", "sample", "neuron")]
        payload = npz.get(f"spikes/{name}/payload")
        np.add.at(spikes, tuple(at), 1 if payload is None else payload)
    return spikes


def _layer(seen: dict[str, list[np.ndarray]], name: str) -> tuple[list[np.ndarray], int] | None:
    """The calls of the module that a population stands for, and at which of its places."""
    if name in seen:
        return seen[name], 0
    if name == "neuron" and "" in seen:
        return seen[""], 0
    path, _, number = name.rpartition("_")
    if path in seen and number.isdigit() and int(number) >= 2:
        return seen[path], int(number) - 1
    return None


def close(a: np.ndarray, b: np.ndarray) -> bool:
    return bool(np.all(np.abs(a - b) <= TOLERANCE * max(1.0, float(np.abs(a).max(initial=0)))))


def check(program: Program, written: Path, folder: Path, said: str = "") -> tuple[str, str]:
    """What the written file gives, compared with the user's own run; ``said`` is the output of ``export``."""
    case = loaded(program.source)
    steps, batch = case.STEPS, case.BATCH
    if case.TIME == "none":  # neurons that a step calls several times have so many more steps
        steps = int(nir_file.read(written).metadata.get("steps", steps))
    code, _, err = command("compile", written, "-o", folder / "m.ndp", "--chip", "none", "--float")
    if code:
        return "crash", f"compile of what was exported: {_said(err)}"
    wanted, seen, chip = own_run(program, encoder="encoder, which stays on the host" in said)
    np.save(folder / "chip.npy", chip if len(chip) == steps or case.TIME != "none" else np.repeat(chip[:1], steps, 0))
    code, _, err = command("run", folder / "m.ndp", "-b", "reference", "-i", folder / "chip.npy", "--record", "v",
                           "-o", folder / "m.npz")  # fmt: skip
    if code:
        return "crash", f"run of what was exported: {_said(err)}"
    with np.load(folder / "m.npz") as file:
        npz = dict(file)
    compared, silent = 0, True
    for name in [key[2:] for key in npz if key.startswith("v/")]:
        size = int(np.prod(npz[f"v/{name}"].shape[2:]))
        spikes = _dense(npz, name, steps, batch, size)
        if f"spikes/{name}/time" not in npz or (found := _layer(seen, name)) is None:
            continue
        own = [one for one in readings(*found, steps, batch) if one.shape == spikes.shape]
        if own and not any(np.array_equal(one, spikes) for one in own):
            return "DIFFERENT", f"spikes of {name}: {spikes.sum():.0f} instead of {own[0].sum():.0f}"
        compared += bool(own)
        silent = silent and not spikes.any()
    returned = [npz[key] for key in npz if key.startswith("returned/")]
    if not returned:
        return "unchecked", f"{compared} layers compared, no answer in the result"
    left = {int(number) for number in re.findall(r"returned\[(\d+)\] is not kept", said)}
    wanted = [one for number, one in enumerate(wanted) if number not in left]
    if len(returned) != len(wanted):
        return "DIFFERENT", f"{len(returned)} results instead of {len(wanted)}"
    for number, (a, b) in enumerate(zip(wanted, returned, strict=True)):
        if a.shape != b.shape:
            return "DIFFERENT", f"result {number} of shape {list(b.shape)} instead of {list(a.shape)}"
        if not close(a, b):
            return "DIFFERENT", f"result {number} differs by {np.abs(a - b).max():.3g} of {np.abs(a).max():.3g}"
    verdict = "partly" if left else "exact"
    return verdict, f"answer equal; {compared} layers compared{', silent' if silent else ''}"


def _said(err: str) -> str:
    """The message: its first line and what was found."""
    lines = [line.rstrip() for line in err.splitlines() if line.strip()]
    at = next((i for i, line in enumerate(lines) if line.startswith("error:")), None)
    if at is None:
        return lines[-1] if lines else "nothing was said"
    more = [line.strip() for line in lines[at + 1 : at + 2] if line.strip().startswith("found:")]
    return " | ".join([lines[at], *more])


def _export(program: Program, folder: Path, axis: bool) -> tuple[int, str, str]:
    given = ["--time-axis", program.time] if axis and knows_time_axis() else []
    (folder / "m.nir").unlink(missing_ok=True)
    return command("export", f"{folder / 'program.py'}:model", "--sample", folder / "x.npy", *given,
                   "-o", folder / "m.nir")  # fmt: skip


def judge(program: Program, folder: Path, axis: bool = True) -> Verdict:
    """Export a program as its user would, and compare; without the axis at first where ``axis`` is False."""
    began = time.perf_counter()
    (folder / "program.py").write_text(program.source)
    np.save(folder / "x.npy", loaded(program.source).sample().numpy())
    code, out, err = _export(program, folder, axis)
    asked = not axis and code == 2 and knows_time_axis()
    if asked:
        if (bad := _bad_refusal(code, err, folder)) is not None:
            return Verdict("crash", bad, True, time.perf_counter() - began)
        code, out, err = _export(program, folder, True)
    if code == 0 and (folder / "m.nir").exists():
        verdict, remark = check(program, folder / "m.nir", folder, out)
    else:
        bad = _bad_refusal(code, err, folder)
        verdict, remark = ("refused", _said(err)) if bad is None else ("crash", bad)
    return Verdict(verdict, remark, asked, time.perf_counter() - began)


def _bad_refusal(code: int, err: str, folder: Path) -> str | None:
    """What is wrong with a refusal: its exit code, a traceback, no message or several, a file left behind."""
    if "Traceback" in err or code == -1:
        lines = [line for line in err.splitlines() if line.strip()]
        where = next((line.strip() for line in reversed(lines) if line.strip().startswith("File ")), "")
        return f"traceback: {lines[-1][:200]} ({where})"
    messages = [line for line in err.splitlines() if line.startswith("error:")]
    if len(messages) != 1:
        return f"{len(messages)} messages: {_said(err)}"
    if code != 2:
        return f"exit code {code}: {messages[0]}"
    return "a file was written beside the refusal" if (folder / "m.nir").exists() else None
