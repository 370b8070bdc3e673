"""The two ways of stepping a compiled graph.

``stock`` is Lava's own runtime: one operating system process for each Process, with messages through shared memory.

``local`` takes what Lava's compiler made, the builders of the ProcessModels and of the channels between them, and runs
all of it in this process. A channel is a queue, and each model's step is a coroutine (greenlet) that yields where it
waits for a message; since a step's order is learned from the step before, hardly any ever waits. The phases of a step
are Lava's: all models spike, then those learn whose guard says so, then those manage.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from multiprocessing.connection import wait
from typing import Any

import numpy as np

NOTICE_SECONDS = 5.0
"""In which Lava notices a process that ended with an exception."""

GONE = "one of Lava's processes was killed by the system (out of memory, or the disk of the temporary folder is full?)"


class LavaError(Exception):
    """A run failed; the text carries the tracebacks of the models that raised."""


def local(process: Any, models: Mapping[Any, Any], tag: str, steps: int) -> None:
    """Run all Processes that are connected to ``process``.

    Raises:
        LavaError: the models wait for messages that none of them sends.
    """
    executable = _compiled(process, models, tag)
    _connect(executable)
    running = [builder.build() for builder in executable.proc_builders.values()]
    for model in running:
        _arrange(model)
    _Stepper(running).run(steps)


def stock(process: Any, models: Mapping[Any, Any], tag: str, steps: int, give_up: Callable[[str], None]) -> None:
    """Run all Processes that are connected to ``process`` with Lava's own runtime.

    Args:
        give_up: called with a reason when a process of Lava's is gone, for which Lava would wait for ever.

    Raises:
        LavaError: a model raised.
    """
    from lava.magma.core.run_conditions import RunSteps

    finished = threading.Event()
    threading.Thread(target=_watch, args=(process, finished, give_up), daemon=True).start()
    try:
        process.run(condition=RunSteps(num_steps=steps), run_cfg=_config(models, tag))
    except RuntimeError as error:
        raise LavaError("\n".join(_tracebacks(process)) or str(error)) from None
    finally:
        finished.set()
    process.stop()
    _quiet()


def _config(models: Mapping[Any, Any], tag: str) -> Any:
    from lava.magma.core.run_configs import Loihi2SimCfg

    return Loihi2SimCfg(select_tag=tag, exception_proc_model_map=dict(models))


def _compiled(process: Any, models: Mapping[Any, Any], tag: str) -> Any:
    from lava.magma.compiler.compiler import Compiler

    executable = Compiler().compile(process, _config(models, tag))
    _quiet()
    return executable


def _quiet() -> None:
    """Drop the handler that every compilation adds to the same logger."""
    logging.getLogger("lava.magma.compiler.compiler").handlers.clear()


def _arrange(model: Any) -> None:
    """Save a model some time.

    A port that hears of one channel takes a message as it is; Lava's adds it to zeros. And a model that is built gets
    no more ports, which Lava looks for at every assignment to it.
    """
    for port in model.py_ports:
        ends = [end for end in port.csp_ports if isinstance(end, _Receiver)]
        alone = len(ends) == len(port.csp_ports) == 1 and type(port._transformer).__name__ == "IdentityTransformer"
        if alone and np.result_type(port._d_type, ends[0].d_type) == ends[0].d_type:
            port.recv = ends[0].recv
    kind = type(model)
    model.__class__ = type(kind.__name__, (kind,), {"__setattr__": object.__setattr__})


def _arrange_matrix(model: Any) -> None:
    """Save a model some time: integer matrices are read column by column, so they stand in memory that way."""
    for name in ("weights", "data"):
        matrix = getattr(model, name, None)
        if isinstance(matrix, np.ndarray) and matrix.ndim == 2 and matrix.dtype.kind == "i":
            setattr(model, name, np.asfortranarray(matrix))


class _End:
    """One end of a channel between two models: a queue without bounds, in the data type of the sender."""

    moves = 0
    """Messages sent and received so far, over all channels: where it stands still, nothing will ever come."""

    def __init__(self, name: str, initializer: Any, queue: deque[Any]) -> None:
        self.name, self.queue = name, queue
        self.shape, self.d_type, self.size = initializer.shape, initializer.d_type, initializer.size

    def start(self) -> None:
        """Nothing to start."""

    def join(self) -> None:
        """Nothing to end."""


class _Sender(_End):
    def send(self, data: Any) -> None:
        if data.shape != self.shape:
            raise LavaError(f"port {self.name!r} sends the shape {data.shape} where {self.shape} is expected")
        _End.moves += 1
        self.queue.append(np.array(data, dtype=self.d_type))


class _Receiver(_End):
    def recv(self) -> Any:
        while not self.queue:
            _yield(self.name)
        _End.moves += 1
        return self.queue.popleft()


def _connect(executable: Any) -> None:
    """Build the channels that the compiler planned, and tell each builder of its ends."""
    from lava.magma.core.process.ports.ports import create_port_id

    builders = executable.proc_builders
    for plan in executable.channel_builders:
        out, into = plan.src_port_initializer, plan.dst_port_initializer
        queue: deque[Any] = deque()
        sender, receiver = _Sender(out.name, out, queue), _Receiver(into.name, out, queue)
        builders[plan.src_process].set_csp_ports([sender])
        target = builders[plan.dst_process]
        target.set_csp_ports([receiver])
        target.add_csp_port_mapping(create_port_id(plan.src_process.id, out.name), receiver)


def _yield(port: str) -> None:
    """Let another model run until a message may have come."""
    from greenlet import getcurrent  # type: ignore[import-untyped, unused-ignore]

    parent = getcurrent().parent
    if parent is None:
        raise LavaError(f"deadlock: port {port!r} waits for a message that no Process sends any more")
    parent.switch(False)


class _Stepper:
    """Steps models in an order that is learned from step to step: in that of their ends in the step before.

    A model that waits yields to the next. Once nobody had to wait, nobody will, since a model sends and receives in the
    same way in every step: from then on they are called one after the other.
    """

    def __init__(self, models: Iterable[Any]) -> None:
        self.order = list(models)

    def run(self, steps: int) -> None:
        from greenlet import greenlet  # type: ignore[import-untyped, unused-ignore]

        routines = {id(model): greenlet(_endless) for model in self.order}
        settled = False
        for step in range(steps):
            for model in self.order:
                model.time_step += 1
            if settled:
                for model in self.order:
                    model.run_spk()
            else:
                settled = self._spike(routines) and step > 0
                for model in self.order:
                    _arrange_matrix(model)
            if learning := [model for model in self.order if model.lrn_guard()]:
                for model in learning:
                    if model.pre_guard():
                        model.run_pre_mgmt()
                for model in learning:
                    model.run_lrn()
            for model in self.order:
                if model.post_guard():
                    model.run_post_mgmt()

    def _spike(self, routines: Mapping[int, Any]) -> bool:
        """Run the spiking phase; return whether no model had to wait."""
        waiting, rounds = self.order, 0
        done: list[Any] = []
        while waiting:
            still: list[Any] = []
            moves = _End.moves
            for model in waiting:
                (done if routines[id(model)].switch(model) else still).append(model)
            if len(still) == len(waiting) and moves == _End.moves:
                names = ", ".join(type(model).__name__ for model in still)
                raise LavaError(f"deadlock: {names} wait for messages that no Process sends")
            waiting, rounds = still, rounds + 1
        self.order = done
        return rounds == 1


def _endless(model: Any) -> None:
    """Run one step each time it is switched to; tell when a step is over (a model that waits tells that it is not)."""
    from greenlet import getcurrent  # type: ignore[import-untyped, unused-ignore]

    hub = getcurrent().parent
    while True:
        model.run_spk()
        hub.switch(True)


def _watch(process: Any, finished: threading.Event, give_up: Callable[[str], None]) -> None:
    """Give up when one of Lava's processes is gone: Lava waits for ever for one that the system has killed."""
    with suppress(ValueError, OSError):  # Lava itself has noticed, and closes them
        while not finished.wait(0.5):
            if wait([actor.sentinel for actor in _actors(process)], 0) and not finished.wait(NOTICE_SECONDS):
                give_up(GONE)


def _tracebacks(process: Any) -> list[str]:
    """Return what Lava's processes raised; its runtime keeps that to itself."""
    found = (getattr(actor, "exception", None) for actor in _actors(process))
    return [str(item[1]) for item in found if item]


def _actors(process: Any) -> list[Any]:
    infrastructure = getattr(getattr(process, "runtime", None), "_messaging_infrastructure", None)
    return list(getattr(infrastructure, "actors", ()))
