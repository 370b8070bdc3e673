"""When integers are another network than the floats were: what is worth a warning, and what to try."""

from __future__ import annotations

SPIKES = 0.10
"""Share of the float network's spikes that may differ without a word, in neuron-steps."""
POINTS = 0.02
"""Accuracy that may be lost without a word, as a fraction."""
TRY = (
    "try --calibration with samples like these, --passes quantise{thresholds=8} where the chip has them, "
    "split-signs before quantise, fine-tune behind it, or weights that are closer together in training"
)


def warnings(spikes: int, different: int, before: float | None = None, after: float | None = None) -> list[str]:
    """Warnings about a network in integers beside the same in floats.

    Args:
        spikes: of the float network.
        different: neuron-steps in which only one of the two spikes.
        before, after: accuracy in floats and in integers, where there are labels.
    """
    said = []
    if different > SPIKES * spikes:
        of = (
            f"{100 * different / spikes:.1f} % of the float network's {spikes:,} spikes"
            if spikes
            else "a silent network"
        )
        said.append(f"integers change {different:,} neuron-steps, {of}; {TRY}")
    if before is not None and after is not None and before - after > POINTS:
        said.append(f"integers lose {100 * (before - after):.2f} points of accuracy; {TRY}")
    return said
