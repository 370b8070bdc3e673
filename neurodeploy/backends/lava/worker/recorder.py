"""What we add to any neuron's ProcessModel: many samples in one run, and a record of what it computed.

Lava's own models compute; around their step, `Recorder` does three things. In the *window* of each sample, the chip
steps in which the population computes it, the step runs as it is. At the window's first step all state is set to what
it was before the run. Outside the windows the population is silent and at rest: it takes what arrives and sends zeros,
so that no bias acts before its first input can arrive and nothing of one sample reaches the next.

A Monitor fetches one number per message (20 us each); here the model keeps its messages and states and writes them to
files in the last step of the last window.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from lava.magma.core.model.py.ports import PyInPort, PyOutPort

REPORT_SECONDS = 0.2
TOGETHER = 64
"""Steps whose messages are turned into events at once."""


def recording(model: Any) -> Any:
    """Return a ProcessModel class that computes as ``model`` does, within windows, and records.

    The Process' ``proc_params["recording"]`` holds ``interval``, ``offset``, ``length`` and ``samples`` of the windows
    in chip steps, ``limit`` (of ``|u|``, 0 for none), the population's ``name``, ``reset`` (the names of its state
    variables), ``states`` (result name -> variable), ``prefix`` of the files, and the file in which to report
    ``progress``, or nothing.
    """
    return type(f"Recording{model.__name__}", (Recorder, model), {})


class _Tap:
    """Stands in for an output port and keeps what is sent."""

    def __init__(self, port: Any) -> None:
        self.port, self.sent = port, None

    def send(self, data: Any) -> None:
        self.sent = data
        self.port.send(data)


class Recorder:
    """Mixed in before a ProcessModel; see the module's docstring."""

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)  # type: ignore[call-arg]
        self.window: Mapping[str, Any] = proc_params["recording"]
        names = ("offset", "interval", "samples", "length", "limit")
        self.offset, self.interval, self.samples, self.length, self.limit = (self.window[name] for name in names)
        self.reports = bool(self.window["progress"])
        self.kept: dict[str, Any] = {}
        self.initial: dict[str, Any] = {}
        self.counts: list[Any] = []
        self.neurons: list[Any] = []
        self.payloads: list[Any] = []
        self.waiting: list[Any] = []
        self.chip_step = 0
        self.reported = 0.0

    def run_spk(self) -> None:
        """One chip step."""
        if not self.chip_step:
            self._begin()
        sample, step = divmod(self.chip_step - self.offset, self.interval)
        self.chip_step += 1
        if self.reports:
            self._report()
        if not (0 <= sample < self.samples and step < self.length):
            self._rest()
            return
        if step == 0:
            self._restart()
        super().run_spk()  # type: ignore[misc]
        if self.limit and (most := np.abs(self.u).max()) > self.limit:  # type: ignore[attr-defined]
            raise OverflowError(
                f"the current u of population {self.window['name']!r} has piled up to {most}, beyond what Lava's "
                "32 bits can take; lower its weights, or let it decay faster (du)"
            )
        self._keep(sample * self.length + step)

    def _begin(self) -> None:
        self.tap = self.s_out = _Tap(self.s_out)  # type: ignore[has-type]
        self.initial = {name: np.array(getattr(self, name)) for name in self.window["reset"]}
        rows = self.samples * self.length
        for name, variable in self.window["states"].items():
            values = self.initial[variable]
            self.kept[name] = np.lib.format.open_memmap(
                f"{self.window['prefix']}.{name}.npy", "w+", values.dtype, (rows, values.size)
            )

    def _restart(self) -> None:
        for name, value in self.initial.items():
            setattr(self, name, value.copy())

    def _rest(self) -> None:
        ports = self.py_ports  # type: ignore[attr-defined]
        for port in ports:
            if isinstance(port, PyInPort) and port.csp_ports:
                port.recv()
        for port in ports:
            if isinstance(port, PyOutPort) and port.csp_ports:
                port.send(np.zeros(port._shape, port._d_type))

    def _keep(self, row: int) -> None:
        self.waiting.append(self.tap.sent)  # every model sends a new array
        if len(self.waiting) == TOGETHER:
            self._list()
        for name, array in self.kept.items():
            array[row] = np.ravel(getattr(self, self.window["states"][name]))
        if row == self.samples * self.length - 1:
            self._write()

    def _list(self) -> None:
        """List the events of the steps that wait."""
        sent = np.stack(self.waiting).reshape(len(self.waiting), -1)
        self.waiting.clear()
        step, neuron = np.nonzero(sent)
        self.counts.append(np.bincount(step, minlength=len(sent)))
        self.neurons.append(neuron.astype(np.int32))
        if sent.dtype != bool:
            self.payloads.append(sent[step, neuron])

    def _write(self) -> None:
        if self.waiting:
            self._list()
        for array in self.kept.values():
            array.flush()
        results = {"counts": np.concatenate(self.counts).astype(np.int64), "neurons": np.concatenate(self.neurons)}
        if self.payloads:
            results["payloads"] = np.concatenate(self.payloads)
        np.savez(f"{self.window['prefix']}.npz", allow_pickle=False, **results)

    def _report(self) -> None:
        path, now = self.window["progress"], time.monotonic()
        if now - self.reported > REPORT_SECONDS:
            self.reported = now
            with open(path + ".part", "w", encoding="ascii") as handle:
                handle.write(str(self.chip_step))
            os.replace(path + ".part", path)
