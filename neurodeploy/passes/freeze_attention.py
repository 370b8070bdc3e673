"""Pass ``freeze-attention``: what the host makes becomes its mean over the calibration data. Not exact, and measured.

Each stage that runs in every step or between two phases is replaced by a constant: of each neuron that it feeds, the
mean of what it made for it over all samples, and all steps in which it sent. A gate becomes a part of the weights
behind its products, a current a part of the bias (`neurodeploy.passes.constants`); the host and its barrier between two
phases are gone. How far off the mean is, which spikes of the calibration samples change, and how many of their classes,
stand in the notes.

A stage stays where its output has to: another stage that stays reads it, the user does, or its synapses learn. Stages
before the first step and behind the last one stay, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from neurodeploy.backends.reference.run import run_network
from neurodeploy.errors import InvalidInputError, did_you_mean
from neurodeploy.network.arrays import Array
from neurodeploy.network.host import HostStage, fed
from neurodeploy.network.network import Network
from neurodeploy.program.recording import Recording, decidable, decisions, differing, scores

from .constants import Constant, with_constants
from .data import NOTHING, PassData


@dataclass(frozen=True)
class FreezeAttention:
    """Replace host stages by constants; notes say what each became and what that changes.

    Args:
        stage: name of the only one that is frozen; empty for all that can be.
    """

    name: ClassVar[str] = "freeze-attention"
    stage: str = ""

    def apply(self, network: Network, data: PassData = NOTHING) -> Network:
        """See the module's docstring.

        Raises:
            InvalidInputError: the network is not in floats, there are no samples, or no such stage.
        """
        inner = [s for s in network.stages if s.when in ("step", "phase")]
        names = [s.name for s in inner]
        if self.stage and self.stage not in names:
            raise InvalidInputError(
                "there is no such host stage to freeze", found=self.stage + did_you_mean(self.stage, names),
                allowed=", ".join(names) or "none: none runs in a step or between phases",
            )  # fmt: skip
        if not inner:
            return network
        if network.arithmetic != "float":
            raise InvalidInputError("stages are frozen before quantisation", found=network.arithmetic, allowed="float")
        if data.calibration is None:
            raise InvalidInputError(
                "freezing host stages needs samples: a constant is the mean of what they made",
                found="no calibration", hint="give --calibration",
            )  # fmt: skip
        before = run_network(network, data.calibration)
        frozen, why = _chosen(network, [s for s in inner if self.stage in ("", s.name)])
        notes = dict(network.notes) | {f"freeze-attention {name}": f"left: {text}" for name, text in why.items()}
        constants: dict[str, Constant] = {}
        for stage in frozen:
            each, said = _means(stage, before.hosted)
            constants |= each
            notes[f"freeze-attention {stage.name}"] = said
        if not frozen:
            return replace(network, notes=notes)
        stages = tuple(s for s in network.stages if s not in frozen)
        made, became = with_constants(replace(network, stages=stages), constants)
        after = run_network(made, data.calibration)
        notes["freeze-attention"] = f"{became}; {_changed(network, before, made, after)}"
        return replace(made, notes=notes)


def _chosen(network: Network, wanted: Sequence[HostStage]) -> tuple[list[HostStage], dict[str, str]]:
    """Which of these can be frozen, and why the others cannot."""
    frozen, why = list(wanted), dict[str, str]()
    feeds = fed(network.stages)
    changed = True
    while changed:
        changed = False
        read = {t.source: s.name for s in network.stages if s not in frozen for t in s.takes}
        for stage in tuple(frozen):
            own = [name for name, by in feeds.items() if by is stage]
            learning = [p for p in network.projections if p.source in own and p.rule is not None]
            for name in own:
                if name in read or name in network.heard or learning:
                    why[stage.name] = (
                        f"the host stage {read[name]!r} reads {name!r}" if name in read else
                        f"the user reads {name!r}" if name in network.heard else
                        f"the synapses {learning[0].name!r} learn"
                    )  # fmt: skip
            if stage.name in why:
                frozen.remove(stage)
                changed = True
    return frozen, why


def _means(stage: HostStage, hosted: Mapping[str, Array]) -> tuple[dict[str, Constant], str]:
    """The constants of a stage, and how far off they are, in words."""
    found, said = {}, []
    for given in stage.gives:
        made = hosted[given.target][given.delay :]
        mean = made.mean(axis=(0, 1)) if made.size else np.zeros(hosted[given.target].shape[2])
        found[given.target] = Constant(mean, given.delay)
        off = float(np.sqrt(np.mean((made - mean) ** 2))) if made.size else 0.0
        said.append(
            f"{given.target!r} is its mean, {mean.min():.4g} to {mean.max():.4g}, which what it made is off by "
            f"{off:.4g} (root mean square)"
        )
    return found, "; ".join(said)


def _changed(network: Network, before: Recording, made: Network, after: Recording) -> str:
    """How spikes and classes change on the calibration samples."""
    sent = differ = 0
    for population in (p for p in made.populations if p.spiking and not p.external):
        sent += len(before.spikes[population.name])
        differ += differing(population, before, after)
    text = f"on {before.samples:,} samples, {differ:,} neuron-steps differ, {differ / max(sent, 1):.2%} of the spikes"
    if not network.outputs or not decidable(network, before) or not decidable(made, after):
        return text
    both = ((network, before), (made, after))
    classes, found = [decisions(*one).predicted for one in both], [scores(*one) for one in both]
    off = float(np.sqrt(np.mean((found[0] - found[1]) ** 2)))
    low, high, others = found[0].min(), found[0].max(), int((classes[0] != classes[1]).sum())
    return (
        f"{text}; scores are off by {off:.4g} (root mean square) where they were {low:.4g} to {high:.4g}, and "
        f"{others:,} of {before.samples:,} samples get another class"
    )
