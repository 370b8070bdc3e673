"""What a module's forward returns, against what its file gives by the answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from neurodeploy.errors import VerificationError
from neurodeploy.network.answer import Answer, Returned, Series
from neurodeploy.network.arrays import Array
from neurodeploy.network.network import Network
from neurodeploy.program.recording import Recording
from neurodeploy.program.recording import returned as given_back

from .compare import FLOAT_TOLERANCE, Divergence, Pair

if TYPE_CHECKING:
    from neurodeploy.exporters.user_run import UserRun

WHAT = "forward returns"
"""First stage of the pair that compares it."""


def compare_returned(
    run: UserRun, recording: Recording, network: Network, kept: Sequence[int], silent: Mapping[int, Returned]
) -> Pair:
    """Compare what forward returned with what the network's answer gives, value by value.

    Args:
        run: of the untouched module, in float64.
        recording: of the network on the same sample.
        kept: numbers of the values that the answer gives, in its order.
        silent: values by number that the answer leaves out, since no layer that they depend on spikes.

    Returns:
        A pair without spikes whose "states" are the values; its divergence names the value that differs first.
    """
    theirs = [*zip(kept, given_back(network, recording), strict=True)]
    for number, one in silent.items():
        theirs += [(number, b) for b in Answer((one,)).evaluate(lambda leaf: _silence(leaf, recording))]
    compared = different = bad = 0
    first: Divergence | None = None
    for place, b in theirs:
        a = np.asarray(run.returned[place], np.float64)
        compared += a.size
        name = f"returned[{place}]"
        if a.shape != b.shape:
            different += a.size
            first = first or Divergence(name, f"of shape {list(a.shape)}, not {list(b.shape)}", -1, -1, -1, None, None)
            continue
        finite = np.isfinite(a) & np.isfinite(b)
        largest = max(1.0, float(np.abs(a).max(initial=0.0, where=finite)))
        with np.errstate(invalid="ignore"):
            off = ~((np.abs(a - b) <= FLOAT_TOLERANCE * largest) | (a == b))
        bad += int((np.isnan(a) | np.isnan(b)).sum())
        different += int(off.sum())
        if off.any() and first is None:
            at = np.unravel_index(int(np.argmax(off)), off.shape)
            where = ", ".join(str(int(i)) for i in at)
            first = Divergence(name, f"at [{where}]", -1, -1, -1, float(a[at]), float(b[at]))
    pair = Pair(WHAT, "the file", True, recording.samples, compared, (0, 0), 0, different, 0.0, first, {}, bad)
    return replace(pair, states_different=different)


def _silence(leaf: Series, recording: Recording) -> Array:
    return np.zeros((recording.steps, recording.samples, *leaf.shape))


def returned_refusal(path: Path, pair: Pair, where: str = "") -> VerificationError:
    """The refusal of a file that gives something else than forward returns."""
    d = pair.divergence
    assert d is not None
    values = "" if d.first_v is None else f": {d.first_v:.9g} and {d.second_v:.9g}"
    return VerificationError(
        f"{path} is not written: forward returns something else than the file gives{where}",
        found=f"{pair.states_different:,} of {pair.compared:,} values differ; first {d.population} {d.handle}{values}",
        allowed="the same values, as the module returns them in float64",
        hint="look for what a step depends on besides its layers: time, the batch, values read by numpy, states; or "
        "write it all the same with --allow-divergence",
    )
