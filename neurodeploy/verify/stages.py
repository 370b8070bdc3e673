"""The stages of one network, from torch to Lava, run and compared, with their accuracies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypedDict, Unpack

from neurodeploy import backends
from neurodeploy.backends.reference.run import run_network
from neurodeploy.compiler import Compiled
from neurodeploy.errors import InvalidInputError
from neurodeploy.network.arrays import Array
from neurodeploy.network.network import Network
from neurodeploy.program import overflow
from neurodeploy.program.program import Program
from neurodeploy.program.recording import (
    Decisions,
    Events,
    Record,
    Recording,
    check_inputs,
    check_labels,
    decidable,
    decisions,
)

from . import losses
from .compare import Pair, Stage, verify

if TYPE_CHECKING:
    from torch import nn

    from neurodeploy.exporters.usage import Usage
    from neurodeploy.exporters.user_run import UserRun


Runner = Callable[[Mapping[str, Array]], Recording]
Tell = Callable[[str, int, int], None]

STATES = Record(("u", "v"))


@dataclass(frozen=True, eq=False)
class Accuracy:
    """Share of samples whose largest score is their label's, at one stage.

    Args:
        undecided: samples whose largest score several classes share, or that no output neuron answered with a spike.
        silent: of these, the latter.
    """

    stage: str
    accuracy: float | None
    samples: int
    undecided: int | None = None
    silent: int | None = None


@dataclass(frozen=True, eq=False)
class Verified:
    """What `verify_program` found."""

    pairs: list[Pair]
    recordings: dict[str, Recording]
    accuracies: list[Accuracy]

    @property
    def passed(self) -> bool:
        """No pair failed."""
        return all(pair.passed for pair in self.pairs)

    def warnings(self, network: Network) -> list[str]:
        """What ``network``, the one in integers, has lost, and which of its integers left their range."""
        said: list[str] = []
        right = {entry.stage: entry.accuracy for entry in self.accuracies}
        for pair in self.pairs:
            if not pair.exact_by_design:
                said += losses.warnings(
                    pair.spikes[0], pair.spikes_different, right.get(pair.first), right.get(pair.second)
                )
        last = list(self.recordings.values())
        counting = [r for r in last if r.left] or ([] if any(r.left is not None for r in last[-2:]) else last[-1:])
        return said + [line for r in counting[:1] for line in overflow.said(r.left, network, r.steps, r.samples)]


def torch_runner(module: nn.Module, network: Network, usage: Usage | None = None) -> Runner:
    """Run a torch module, untouched and in float64, as a stage; its layers are named as the populations of ``network``.

    Args:
        usage: how it is called, whatever its number of steps and samples; None takes what its layers say
            (`neurodeploy.exporters.trace.own_usage`).
    """
    import torch

    from neurodeploy.exporters.sequence.capture import watch_of
    from neurodeploy.exporters.trace import own_usage
    from neurodeploy.exporters.user_run import run_user

    def run(inputs: Mapping[str, Array]) -> Recording:
        steps, samples, flat = check_inputs(network, inputs)
        (source,) = network.inputs
        x = flat[source.name].reshape(steps, samples, *source.shape)
        called = own_usage(module, steps, samples) if usage is None else replace(usage, steps=steps, samples=samples)
        given = called.as_given(x)
        made = run_user(module, given, called, torch.float64, watch=watch_of(module, given, called))
        return recording_of(made, network, {source.name: x})

    return run


def recording_of(run: UserRun, network: Network, inputs: Mapping[str, Array]) -> Recording:
    """What a torch module did, as the recording of a stage.

    Args:
        inputs: what the network receives, ``[time, batch, *shape]``.
    """
    (source,) = network.inputs
    x = inputs[source.name]
    steps, samples = x.shape[:2]
    spikes = {source.name: Events.from_dense(x.reshape(steps, samples, -1))}
    known = {name: sent for name, sent in run.outputs.items() if name in network.by_name}
    if not known:
        raise InvalidInputError(
            "the torch module has no layer of the network",
            found=", ".join(run.outputs) or "no neuron that was called",
            allowed=", ".join(p.name for p in network.populations if not p.external),
            hint="give the module that the network was exported from",
        )
    spikes |= {name: Events.from_dense(sent) for name, sent in known.items() if network.by_name[name].spiking}
    v = {name: value for name, value in run.potentials.items() if name in network.by_name}
    v |= {name: sent for name, sent in known.items() if name not in v and not network.by_name[name].spiking}
    return Recording("torch", steps, samples, spikes, {"v": v})


def compiled_stage(network: Network) -> str:
    """What the stage is called that runs the compiled network on the reference."""
    return "integer network" if network.arithmetic == "loihi" else "compiled network"


def stages_of(compiled: Compiled, model: Runner | None, names: tuple[str, ...]) -> list[Stage]:
    """The stages of a compiled network: torch (if a model is given), NIR, float network, then the back-ends named.

    Args:
        model: runs the torch model and names its layers as NIR does.
        names: back-ends that run the Program, in order.
    """
    program, float_network = compiled.program, compiled.float_network
    stages = []
    if model is not None:
        stages.append(Stage("torch", model, exact=True, integer=False))
    if compiled.nir is not None:
        stages.append(Stage("NIR", compiled.nir, True, False))
    if float_network is not None:
        stages.append(Stage("float network", lambda x: run_network(float_network, x, record=STATES), True, False))
    integer, before = program.network.arithmetic == "loihi", len(stages)
    for name in names:
        title = compiled_stage(program.network) if name == "reference" else name
        measured = len(stages) == before > 0 and integer
        stages.append(Stage(title, _runner(name, program), exact=not measured, integer=integer))
    return stages


def _runner(name: str, program: Program) -> Runner:
    run = backends.get(name)
    return lambda inputs: run(program, inputs, record=STATES)


BACKENDS = ("reference", "hwsim", "lava")


class VerifyOptions(TypedDict, total=False):
    """How a network is verified.

    Args:
        model: runs the torch model, as a first stage.
        names: back-ends that run the Program, in order (default: `BACKENDS`).
        tell: called with ``(stage, done, of)``.
    """

    model: Runner | None
    names: tuple[str, ...]
    tell: Tell | None


def verify_program(
    compiled: Compiled,
    inputs: Mapping[str, Array],
    labels: Array | None = None,
    **how: Unpack[VerifyOptions],
) -> Verified:
    """Run every stage on ``inputs`` and compare neighbours."""
    stages = stages_of(compiled, how.get("model"), how.get("names", BACKENDS))
    recordings, pairs = verify(stages, inputs, compiled.program.network, how.get("tell"))
    accuracies = []
    for stage in stages:
        network = compiled.program.network if stage.integer else compiled.floats
        recording = recordings[stage.name]
        accuracies.append(accuracy_of(stage.name, network, recording, labels))
    return Verified(pairs, recordings, accuracies)


def accuracy_of(stage: str, network: Network, recording: Recording, labels: Array | None) -> Accuracy:
    """Accuracy of a recording; ties of the scores go to the lower class, as argmax does.

    None without labels, and of a stage that does not record what the network's answer reads.
    """
    if labels is None or not decidable(network, recording):
        return Accuracy(stage, None, recording.samples)
    classes = check_labels(labels, recording.samples, network.classes)
    return judged(stage, decisions(network, recording), classes)


def judged(stage: str, found: Decisions, classes: Array) -> Accuracy:
    """Accuracy of decisions, with the undecided counted; ``classes`` as `check_labels` returns them."""
    return Accuracy(stage, found.accuracy(classes), len(classes), found.undecided, int(found.silent.sum()))
