"""The whole way of one network: every stage verified, accuracy, counts, energy and time measured - as one result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Unpack

from neurodeploy import __version__, backends
from neurodeploy.backends.reference.run import run_network
from neurodeploy.compiler import Compiled
from neurodeploy.hwsim import narrow_states
from neurodeploy.hwsim.chips.hosts import host_of
from neurodeploy.hwsim.hybrid import cost_hybrid
from neurodeploy.network.arrays import Array
from neurodeploy.network.network import Network
from neurodeploy.verify.stages import (
    Accuracy,
    Runner,
    Verified,
    VerifyOptions,
    accuracy_of,
    compiled_stage,
    verify_program,
)

from .collect import network_result
from .document import Report
from .hybrid import run_hybrid

if TYPE_CHECKING:
    from neurodeploy.hwsim.chips.arch import Architecture
    from neurodeploy.hwsim.chips.hosts import Host

    from .document import NetworkResult


def document(result: NetworkResult, arch: Architecture) -> Report:
    """The document of one network on its chip."""
    return Report(title=f"{result.name} on {arch.title}", neurodeploy=__version__, chip=arch.name, networks=(result,))


def assess(
    compiled: Compiled,
    arch: Architecture,
    inputs: Mapping[str, Array],
    labels: Array | None,
    *,
    name: str,
    description: str = "",
    verified_samples: int = 64,
    host: Host | None = None,
    **how: Unpack[VerifyOptions],
) -> tuple[NetworkResult, Verified]:
    """Verify on the first samples, then measure accuracy, counts, energy and time on all of them.

    Every stage has an accuracy on the first samples; where there are more, all but Lava have one on all of them too.

    Args:
        inputs, labels: the test set; spikes ``[time, batch, *shape]`` and classes ``[batch]``.
        verified_samples: how many samples go through every stage, Lava included.
        host: the processor that computes host stages; None for the one that the chip carries.
        how: see `neurodeploy.verify.stages.VerifyOptions`.
    """
    few = {key: value[:, :verified_samples] for key, value in inputs.items()}
    few_labels = None if labels is None else labels[:verified_samples]
    verified = verify_program(compiled, few, few_labels, **how)
    model, tell = how.get("model"), how.get("tell")
    program = compiled.program
    network = program.network
    whole: list[Accuracy] = []
    floats = compiled.floats
    first: dict[str, Runner | None] = {"torch": model, "NIR": compiled.nir}
    runners: list[tuple[str, Runner, Network]] = [
        *((stage, run, floats) for stage, run in first.items() if run is not None),
        *([("float network", lambda x: run_network(floats, x), floats)] if compiled.float_network else []),
        (compiled_stage(network), lambda x: run_network(network, x), network),
    ]
    for stage, run, of in runners:
        if tell:
            tell(f"{stage}, all samples", 0, 1)
        whole.append(accuracy_of(stage, of, run(inputs), labels))
    if tell:
        tell("hwsim, all samples", 0, 1)
    cost = None
    if network.stages:
        ran = run_hybrid(program, inputs)
        recording, cost = ran.recording, cost_hybrid(ran, arch, host or host_of(arch))
        said = list(cost.beyond)
    else:
        recording = backends.get("hwsim")(program, inputs)
        said = narrow_states.said(narrow_states.found(program, arch, inputs), program, arch, inputs)
    whole.append(accuracy_of("hwsim", network, recording, labels))
    more = [entry for entry in whole if entry.samples != verified.accuracies[0].samples]
    result = network_result(
        compiled, arch, recording, labels, verified.pairs, [*verified.accuracies, *more], name=name,
        description=description, states=verified.recordings.get(compiled_stage(network)), cost=cost,
    )  # fmt: skip
    found = (*compiled.warnings, *verified.warnings(network), *said)
    lost = [line for line in found if line not in result.warnings]
    result = result.model_copy(update={"warnings": (*lost, *result.warnings)})
    return result, verified
