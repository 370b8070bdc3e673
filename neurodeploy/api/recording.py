"""What came out of a run: spikes, potentials, what ``forward`` returns, decisions; and what to be wary of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neurodeploy.errors import InvalidInputError
from neurodeploy.files.atomic import atomic_path
from neurodeploy.files.tables import html_table
from neurodeploy.network.arrays import Array
from neurodeploy.network.network import Network
from neurodeploy.program import recording as recordings
from neurodeploy.verify.stages import Accuracy, accuracy_of

if TYPE_CHECKING:
    from .inputs import Labels

COLUMNS = ("population", "spikes", "per sample", "neuron-steps that spike")


@dataclass(frozen=True, eq=False, repr=False)
class Recording:
    """The result of `Program.run`.

    Args:
        network: that ran.
        of: the recording itself, with everything that was counted (`neurodeploy.program.recording.Recording`).
        arithmetic: with which it ran, in words.
        beyond_state_bits: states that went beyond the chip's bits, by population.
        warnings: what may make this the run of another network.
        stopped: which samples are complete, where the run was interrupted.
    """

    network: Network
    of: recordings.Recording
    arithmetic: str
    beyond_state_bits: Mapping[str, Mapping[str, int]] | None
    warnings: tuple[str, ...]
    stopped: str = ""

    @property
    def backend(self) -> str:
        """Name of the back-end."""
        return self.of.backend

    @property
    def steps(self) -> int:
        """Steps of the run."""
        return self.of.steps

    @property
    def samples(self) -> int:
        """Samples of the run."""
        return self.of.samples

    def spikes(self, population: str) -> Array:
        """Spikes of a population, ``[time, batch, *shape]``; what they carry where they are graded.

        Raises:
            InvalidInputError: no population of that name sends spikes.
        """
        shape = self._of("spikes", self.of.spikes, population)
        return self.of.spikes[population].dense().reshape(self.steps, self.samples, *shape)

    def state(self, variable: str, population: str) -> Array:
        """A recorded state, ``u`` or ``v``, ``[time, batch, *shape]``, after the reset of each step.

        Raises:
            InvalidInputError: it was not recorded.
        """
        shape = self._of(variable, self.of.states.get(variable, {}), population)
        values: Array = self.of.states[variable][population]
        return values.reshape(self.steps, self.samples, *shape)

    def _of(self, what: str, there: Mapping[str, object], population: str) -> tuple[int, ...]:
        """Shape of a population of which ``there`` holds something."""
        if population not in there:
            raise InvalidInputError(
                f"{what} of {population!r} are not in the recording",
                found=population,
                allowed=", ".join(there) or "none",
                hint="record them: run(x, record=('v',))" if what != "spikes" else None,
            )
        return self.network.by_name[population].shape

    @cached_property
    def returned(self) -> tuple[Array, ...]:
        """What the user's ``forward`` returns, each value in its own shape; empty where nobody says how."""
        return tuple(recordings.returned(self.network, self.of))

    @cached_property
    def decisions(self) -> recordings.Decisions:
        """The class of each sample, and which are undecided."""
        return recordings.decisions(self.network, self.of)

    @property
    def predicted(self) -> Array:
        """The class of each sample, ``[batch]``."""
        return self.decisions.predicted

    def accuracy(self, labels: Labels) -> Accuracy:
        """Accuracy against the classes of the samples, ``[batch]``.

        Raises:
            InvalidInputError: labels that do not fit.
        """
        classes = recordings.check_labels(np.asarray(labels), self.samples, self.network.classes)
        return accuracy_of(self.backend, self.network, self.of, classes)

    def save(self, path: Path | str) -> Path:
        """Write spikes, states, what was learned and what ``forward`` returns as one ``.npz``.

        Raises:
            StorageError: the folder cannot be written to, or the disk is full.
        """
        arrays: dict[str, Array] = {}
        for name, events in self.of.spikes.items():
            arrays |= {
                f"spikes/{name}/time": events.time,
                f"spikes/{name}/sample": events.sample,
                f"spikes/{name}/neuron": events.neuron,
            }
            if events.payload is not None:
                arrays[f"spikes/{name}/payload"] = events.payload
        for state, values in self.of.states.items():
            arrays |= {f"{state}/{name}": value for name, value in values.items()}
        for name, learned in self.of.learned.items():
            arrays |= {f"learned/{name}/{variable}": value for variable, value in learned.items()}
        arrays |= {f"returned/{index}": value for index, value in enumerate(self.returned)}
        with atomic_path(path) as temporary, temporary.open("wb") as handle:
            np.savez_compressed(handle, allow_pickle=False, **arrays)
        return Path(path)

    def as_json(self, labels: Labels | None = None) -> dict[str, Any]:
        """Everything for scripts but the arrays; what ``neurodeploy run --json`` prints.

        Args:
            labels: classes of the samples, ``[batch]``, for the accuracy.
        """
        decision, answer = self.decisions, self.network.answer
        return {
            "backend": self.backend,
            "arithmetic": self.arithmetic,
            "steps": self.steps,
            "samples": self.samples,
            "spikes": {name: len(events) for name, events in self.of.spikes.items()},
            "complete": not self.stopped,
            "out_of_range": self.of.left,
            "beyond_state_bits": self.beyond_state_bits,
            "warnings": list(self.warnings),
            "answer": answer.described() if answer else None,
            "returned": [list(value.shape) for value in self.returned],
            "predicted": decision.predicted.tolist(),
            "undecided": decision.undecided,
            "silent": int(decision.silent.sum()),
            **({} if labels is None else {"accuracy": self.accuracy(labels).accuracy}),
        }

    def rows(self) -> list[tuple[str, int, float, str]]:
        """Spikes of each population: all, per sample, and the share of neuron-steps that spike."""
        rows = []
        for name, events in self.of.spikes.items():
            size = self.steps * self.samples * self.network.by_name[name].size
            rows.append((name, len(events), round(len(events) / self.samples, 2), f"{100 * len(events) / size:.2f} %"))
        return rows

    def __repr__(self) -> str:
        spikes = sum(map(len, self.of.spikes.values()))
        size = f"{self.samples} samples, {self.steps} steps"
        return f"<Recording of {self.network.name} on {self.backend}: {size}, {spikes:,} spikes>"

    def _repr_html_(self) -> str:
        return html_table(COLUMNS, self.rows(), repr(self), self.warnings)
