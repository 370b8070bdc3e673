"""A folder in which a page is run: its commands, its Python and its files, as its reader would."""

from __future__ import annotations

import contextlib
import io
import os
import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from neurodeploy.cli import main

from .blocks import ROOT

_PROGRESS = re.compile(r"^  .*: [\d,]+ of [\d,]+$")
_WIDTH = "160"


class _Errors(io.TextIOBase):
    """Standard error: what a command says to its user, without its progress, which depends on the machine."""

    def __init__(self, out: io.StringIO) -> None:
        self._out, self._line, self._inside = out, "", False

    def write(self, text: str) -> int:
        *whole, self._line = (self._line + text).split("\n")
        for line in whole:
            begins = line.startswith(("error: ", "warning: "))
            self._inside = begins or (self._inside and line.startswith("  ") and not _PROGRESS.match(line))
            if self._inside:
                self._out.write(line + "\n")
        return len(text)


class Session:
    """Where a page runs.

    Args:
        folder: empty; its files lie there, and it is the current one while something runs.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.names: dict[str, Any] = vars(ModuleType("page"))
        self.code = 0
        self._neurons = [id(neuron) for neuron in _kept_by_snntorch()]

    def close(self) -> None:
        """Forget what frameworks keep of a page's modules: snnTorch resets every neuron that was ever made."""
        kept = _kept_by_snntorch()
        kept[:] = [neuron for neuron in kept if id(neuron) in self._neurons]

    def file(self, name: str, text: str) -> None:
        """Save a file of the page."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def python(self, code: str, where: str) -> str:
        """Run Python in the page's namespace; what it printed."""
        with self._here() as out:
            exec(compile(code, where, "exec"), self.names)
        return self._told(out)

    def command(self, line: str) -> str:
        """Run a command line; what it printed. Its exit code is in `code`."""
        words = shlex.split(line.replace("\\\n", " "), comments=True)
        given = {}
        while words and re.match(r"\w+=", words[0]):
            name, _, value = words.pop(0).partition("=")
            given[name] = value
        plain = not re.search(r"(?:^|\s)[|>&;]{1,2}(?:\s|$)", line)
        with self._environment(given):
            if plain and words[0] == "neurodeploy":
                with self._here() as out:
                    self.code = main(words[1:])
                return self._told(out)
            if words[0] == "make":
                return self._make(words[1:])
            if plain and words[0] == "python" and words[1].endswith(".py"):
                return self._script(words[1:])
            return self._shell(line)

    def _script(self, words: list[str]) -> str:
        before, self.code = sys.argv, 0
        with self._here() as out:
            sys.argv = words
            try:
                runpy.run_path(str(self.folder / words[0]), run_name="__main__")
            except SystemExit as end:
                self.code = int(end.code or 0)
            finally:
                sys.argv = before
        return self._told(out)

    def _make(self, targets: list[str]) -> str:
        """Run make where its file is, with what it makes in the page's folder; `test` is what runs the pages."""
        if targets == ["test"]:
            self.code = 0
            return ""
        made = f"OUT={self.folder / 'demo-output'}"
        told = self._shell(shlex.join(["make", "--silent", "--directory", str(ROOT), made, *targets]) + " 2>&1")
        return "".join(line for line in told.splitlines(keepends=True) if not _PROGRESS.match(line))

    def _shell(self, line: str) -> str:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            line, shell=True, cwd=self.folder, capture_output=True, text=True, check=False,
            env={**os.environ, "PATH": path, "PYTHONPATH": f"{self.folder}{os.pathsep}{ROOT}"},
        )  # fmt: skip
        out = io.StringIO()
        out.write(done.stdout)
        _Errors(out).write(done.stderr)
        self.code = done.returncode
        if done.returncode and not out.getvalue():
            out.write(done.stderr)
        return self._told(out)

    @contextlib.contextmanager
    def _here(self) -> Iterator[io.StringIO]:
        """The page's folder as the current one and first on the path, and what is printed."""
        known, paths = set(sys.modules), sys.path[:]
        out = io.StringIO()
        back = _torch_state()
        sys.path.insert(0, str(self.folder))
        try:
            with (
                contextlib.chdir(self.folder),
                contextlib.redirect_stdout(out),
                contextlib.redirect_stderr(_Errors(out)),
            ):
                yield out
        finally:
            sys.path[:] = paths
            for name in set(sys.modules) - known:
                if str(getattr(sys.modules[name], "__file__", None) or "").startswith(str(self.folder)):
                    del sys.modules[name]
            back()

    @contextlib.contextmanager
    def _environment(self, given: dict[str, str]) -> Iterator[None]:
        before = dict(os.environ)
        os.environ.update(given, COLUMNS=_WIDTH)
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)

    def _told(self, out: io.StringIO) -> str:
        text = out.getvalue().replace(str(self.folder), "...").replace(str(Path.home()), "~")
        return "".join(line.rstrip() + "\n" for line in text.splitlines())


def _kept_by_snntorch() -> list[Any]:
    """Every neuron of snnTorch that was made in this process."""
    module = sys.modules.get("snntorch._neurons.neurons")
    return module.SpikingNeuron.instances if module else []


def _torch_state() -> Callable[[], None]:
    """Give torch one thread; a function that gives it back the precision and the threads that it had."""
    try:
        import torch
    except ModuleNotFoundError:
        return lambda: None
    dtype, threads = torch.get_default_dtype(), torch.get_num_threads()
    torch.set_num_threads(1)

    def back() -> None:
        torch.set_default_dtype(dtype)
        torch.set_num_threads(threads)

    return back
