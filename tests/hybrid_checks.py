"""What is checked of a network that a chip and its host run together, from torch to the simulators."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

import neurodeploy as nd
from neurodeploy.backends.host.run import messages
from neurodeploy.backends.reference.run import run_network
from neurodeploy.exporters.user_run import run_user
from neurodeploy.lowering.interpreted import interpreted
from neurodeploy.nir_graph import nir_file
from neurodeploy.nir_graph.conventions import resolve
from neurodeploy.program.recording import Record
from neurodeploy.verify.margins import decisions, flips

from .hybrid_models import Hybrid

MARGIN = 1e-4
"""Margin to the threshold, in thresholds, above which a spike must be the same in float32."""


@dataclass(frozen=True)
class Checked:
    """What was found.

    Args:
        stages: schedules of the stages, in order.
        spikes: of all layers.
        flipped: samples in which float32 parts from float64 at a margin of `MARGIN` or less.
    """

    stages: tuple[str, ...]
    spikes: int
    flipped: int


def check(one: Hybrid, folder: Path, host: str = "bits") -> Checked:
    """Export a network and run it; see the assertions.

    Raises:
        NeurodeployError: it is refused.
    """
    path = folder / "net.nir"
    made = nd.export(one.module, one.sample, path, time_axis=one.axis, host=host).exported  # type: ignore[arg-type]
    assert made is not None and all(pair.passed or pair.verdict == "silent" for pair in made.pairs)
    program = nd.load(path).compile(None, nd.CompileOptions(integer=False))
    network = program.network
    ran = {name: program.run(one.sample, name, record=("v",)).of for name in ("reference", "hwsim")}
    first = ran["reference"]
    for found in ran.values():  # each back-end, chip and host together
        for name, events in first.spikes.items():
            near = 1e-9 if network.by_name[name].external else 0.0  # what a host made of potentials, to rounding
            np.testing.assert_allclose(found.spikes[name].dense(), events.dense(), near, near, err_msg=name)
        for name, v in first.states["v"].items():
            np.testing.assert_allclose(found.states["v"][name], v, rtol=1e-9, atol=1e-9, err_msg=name)
    part = network.chip_part
    fed = {p.name: made.x for p in part.inputs}
    fed |= {p.name: messages(network, p, first.hosted[p.name]) for p in part.inputs if p.name in first.hosted}
    alone = run_network(part, fed, record=Record(("v",)))  # the chip, fed with what the host gave
    for name, events in alone.spikes.items():
        np.testing.assert_array_equal(events.dense(), first.spikes[name].dense(), err_msg=name)
    for name, v in alone.states["v"].items():
        if name in first.states["v"]:
            np.testing.assert_array_equal(v, first.states["v"][name], err_msg=name)
    file = nir_file.read(path)
    reference = interpreted(file, resolve(file), network, decisions=True)
    decided = decisions(reference({network.inputs[0].name: made.x}))
    usage, watch = made.captured.usage, made.captured.watch
    own = run_user(one.module, one.sample, usage, watch=watch)
    wide = run_user(one.module, one.sample, usage, torch.float64, watch=watch)
    for name, sent in wide.outputs.items():  # torch in float64 is the hybrid in every spike
        if name in first.spikes:
            np.testing.assert_array_equal(sent, first.spikes[name].dense().reshape(sent.shape), err_msg=name)
    parted = flips(own, wide, decided, [p.name for p in network.populations])
    assert all(flip.margin <= MARGIN for flip in parted), max(parted, key=lambda flip: flip.margin)
    layers = [p.name for p in network.populations if not p.external and p.spiking]
    return Checked(
        tuple(stage.when for stage in network.stages), sum(len(first.spikes[name]) for name in layers), len(parted)
    )
