"""Lava's own LIFReset, with a memory: it computes nothing itself, it only writes down what the stock model computed.

A Monitor fetches one number per message (20 us each); here the model keeps its spikes and states and writes them to a
file in its last step.
"""

from __future__ import annotations

import os
import time
from typing import Any

import numpy as np
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol
from lava.proc.lif.models import PyLifResetModelBitAcc
from lava.proc.lif.process import LIFReset

REPORT_SECONDS = 0.2


@implements(proc=LIFReset, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class RecordingLif(PyLifResetModelBitAcc):  # type: ignore[misc, unused-ignore]
    """LIFReset that records.

    The Process' ``proc_params["recording"]`` holds ``steps`` of the run, the ``states`` to keep (``"u"``, ``"v"``),
    the file names' ``prefix``, and optionally the file in which to report ``progress``.
    """

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self.recording = proc_params["recording"]
        self.kept: dict[str, Any] = {}
        self.events: list[Any] = []
        self.reported = 0.0

    def run_spk(self) -> None:
        """Run the stock step, then keep its result."""
        super().run_spk()
        step, steps = self.time_step - 1, self.recording["steps"]
        if step == 0:
            for name in self.recording["states"]:
                self.kept[name] = np.lib.format.open_memmap(
                    f"{self.recording['prefix']}.{name}.npy", "w+", np.int32, (steps, self.v.size)
                )
        for name, array in self.kept.items():
            array[step] = getattr(self, name).ravel()
        self._report(step + 1)
        if step == steps - 1:
            self._write()

    def spiking_activation(self) -> Any:
        """Return the stock result, which the stock step asks for once, and keep its events."""
        spikes = super().spiking_activation()
        self.events.append(np.flatnonzero(spikes).astype(np.int32))
        return spikes

    def _write(self) -> None:
        for array in self.kept.values():
            array.flush()
        np.savez(
            f"{self.recording['prefix']}.npz",
            counts=np.array([len(neurons) for neurons in self.events], dtype=np.int64),
            neurons=np.concatenate(self.events),
        )

    def _report(self, done: int) -> None:
        path, now = self.recording["progress"], time.monotonic()
        if path and now - self.reported > REPORT_SECONDS:
            self.reported = now
            with open(path + ".part", "w", encoding="ascii") as handle:
                handle.write(str(done))
            os.replace(path + ".part", path)
