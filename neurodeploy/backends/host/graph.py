"""The graph of a host stage in onnxruntime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from neurodeploy.errors import BackendError, InvalidInputError
from neurodeploy.network.arrays import Array
from neurodeploy.network.host import HostStage
from neurodeploy.packages.commands import naming

KINDS = {
    "tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(int64)": np.int64, "tensor(int32)": np.int32,
    "tensor(uint8)": np.uint8, "tensor(bool)": np.bool_,
}  # fmt: skip


class Graph:
    """A stage that can be computed.

    Args:
        stage: whose graph it is; it runs on one thread, so that it gives the same on every machine.

    Raises:
        MissingPackageError: onnxruntime is not installed.
        BackendError: onnxruntime does not take the graph.
        InvalidInputError: its inputs and outputs are not those that the stage names.
    """

    def __init__(self, stage: HostStage) -> None:
        with naming(f"the host stage {stage.name!r}"):
            import onnxruntime

        self.stage = stage
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session: Any = onnxruntime.InferenceSession(
                stage.graph.tobytes(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's exceptions share no base but Exception
            raise BackendError(
                f"onnxruntime does not take the graph of the host stage {stage.name!r}",
                found=str(error).splitlines()[0], hint="export it again, with operators that onnxruntime has",
            ) from error  # fmt: skip
        self._kinds = {value.name: value.type for value in self._session.get_inputs()}
        self._shapes = {value.name: value.shape for value in self._session.get_inputs()}
        there = {value.name for value in self._session.get_outputs()}
        for what, named, known in (
            ("inputs", {t.name for t in stage.takes}, set(self._kinds)),
            ("outputs", {g.name for g in stage.gives}, there),
        ):  # fmt: skip
            if named != known and not (what == "outputs" and named < known):
                raise InvalidInputError(
                    f"the {what} of the graph of the host stage {stage.name!r} are not those that it names",
                    found=", ".join(sorted(known)), allowed=", ".join(sorted(named)),
                )  # fmt: skip

    def check_steps(self, steps: int) -> None:
        """Refuse a run of so many steps where the graph takes another number of them at once.

        Raises:
            InvalidInputError: says both.
        """
        if self.stage.when == "step":
            return
        for taken in self.stage.takes:
            shape = self._shapes[taken.name] or [None]
            if taken.over == "steps" and isinstance(shape[0], int) and shape[0] != steps:
                raise InvalidInputError(
                    f"the host stage {self.stage.name!r} takes all steps at once, and another number of them",
                    found=f"{steps} steps", allowed=f"{shape[0]} steps, as when it was exported",
                    hint="export the model with a sample of as many steps as the runs have",
                )  # fmt: skip

    def __call__(self, given: Mapping[str, Array]) -> list[Array]:
        """What it gives, float64 each, in the order of the stage.

        Args:
            given: by name of the graph's inputs.

        Raises:
            BackendError: onnxruntime failed, on shapes that do not fit for example.
        """
        names: Sequence[str] = [g.name for g in self.stage.gives]
        fed: dict[str, Array] = {
            name: np.ascontiguousarray(value, KINDS[self._kinds[name]]) for name, value in given.items()
        }
        try:
            found = self._session.run(names, fed)
        except Exception as error:  # as above
            raise BackendError(
                f"the host stage {self.stage.name!r} failed", found=str(error).splitlines()[0],
                hint=f"it got {', '.join(f'{name} {list(value.shape)}' for name, value in fed.items())}",
            ) from error  # fmt: skip
        return [np.asarray(value, np.float64) for value in found]
