"""Is a lowered network still the one that its file was proven to be? The proof's own sample says so.

An exported file holds the sample on which it was compared with its model, and how often each neuron spiked there
(`neurodeploy.nir_graph.proof`). A file that was edited since, an option that overrides what it says, or another version
that reads it otherwise, give other counts.
"""

from __future__ import annotations

import numpy as np

from neurodeploy.backends.reference.run import run_network
from neurodeploy.errors import InvalidInputError, VerificationError
from neurodeploy.network.network import Network
from neurodeploy.nir_graph.conventions import Conventions, named
from neurodeploy.nir_graph.nir_file import NirFile
from neurodeploy.nir_graph.proof import Proof

LARGEST = 1 << 31
"""Synapses times steps times samples up to which the proof is run again also where no samples were given."""

TOLERANCE = 1e-9
"""Part of a read-out's potential that rounding in another order may change."""


def check_proof(file: NirFile, network: Network, conventions: Conventions, *, always: bool = False) -> list[str]:
    """Compare a lowered network with the proof in its file.

    Args:
        always: also where that takes long.

    Returns:
        Warnings: where the user's own options, or a file that was written in spite of its proof, explain a
        contradiction; what the proof left open.

    Raises:
        VerificationError: the network contradicts the proof, and nothing explains it.
        InvalidInputError: the proof is damaged.
    """
    proof = Proof.read(file)
    if proof is None:
        return []
    said = [
        f"the proof in {file.path} says nothing about {item.layer!r}: all of it {item.why}"
        for item in proof.unproven
        if item.neurons == item.of
    ]
    work = proof.steps * proof.samples * sum(p.connectivity.synapses() for p in network.projections)
    if proof.sample is None or (work > LARGEST and not always):
        return said
    found = contradiction(network, proof)
    if not found:
        return said
    what = f"the network that {file.path} holds is not the one that was proven when it was written"
    overridden = named(dict.fromkeys(conventions.given - conventions.by_tool, True))
    if overridden:
        options = ", ".join("--" + name.replace("_", "-") for name in overridden)
        return [f"{what}: {found}; the options given ({options}) make it another network", *said]
    if "failed" in proof.statement:
        return [f"{what}: {found}; it was written in spite of that (--allow-divergence)", *said]
    raise VerificationError(
        what,
        found=found,
        allowed="on the sample in the file, the spikes that its model sent: " + proof.statement,
        hint="export the network again; the file was changed, or another version reads it otherwise",
    )


def contradiction(network: Network, proof: Proof) -> str:
    """Where the network's spikes on the proof's sample differ from the proof's, in words; empty where nowhere."""
    assert proof.sample is not None
    try:
        recording = run_network(network, {"": proof.sample})
    except InvalidInputError as error:
        return f"it does not take the proof's sample ({str(error).splitlines()[0]})"
    spikes = recording.spikes
    for name, expected in proof.spikes.items():
        if name not in spikes:
            return f"it has no spiking population {name!r}"
        found = np.rint(spikes[name].dense().sum((0, 1), dtype=np.float64))
        if len(found) != len(expected):
            return f"{name!r} has {len(found):,} neurons, not {len(expected):,}"
        if (off := found != expected).any():
            return (
                f"{name!r} sends {int(found.sum()):,} spikes on the proof's sample, not {int(expected.sum()):,} "
                f"({int(off.sum()):,} of {len(off):,} neurons differ)"
            )
    for name, expected in proof.potentials.items():
        v = recording.states.get("v", {}).get(name)
        if v is None or name in spikes or v.shape[2] != len(expected):
            return f"it has no read-out {name!r} of {len(expected):,} neurons"
        size = float(np.abs(v).sum((0, 1)).max(initial=0.0)) + float(np.abs(expected).max(initial=0.0))
        if (off := ~(np.abs(v.sum((0, 1)) - expected) <= TOLERANCE * size)).any():
            return (
                f"the potential of {name!r} on the proof's sample is another one "
                f"({int(off.sum()):,} of {len(off):,} neurons differ)"
            )
    return ""
