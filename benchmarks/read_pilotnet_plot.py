"""Reads the measured curves out of lava-dl's PilotNet notebook, by drawing them again until the pictures agree.

    python benchmarks/read_pilotnet_plot.py NOTEBOOK FOLDER
    python benchmarks/read_pilotnet_plot.py --check

NOTEBOOK is ``tutorials/lava/lib/dl/netx/pilotnet_snn/benchmark.ipynb`` of lava-dl's source archive::

    pip download --no-deps --no-binary lava-dl --ignore-requires-python lava-dl==0.4.0

FOLDER gets ``activity_per_core.csv`` and ``time_per_step.csv``, some minutes later. ``--check`` draws curves that are
known and reads those.

The plots are matplotlib's: it is known where each point of a curve lies from left to right, and how a line is drawn. So
the heights of all points are found together: those with which matplotlib draws the picture that is there (Gauss-Newton
on the pixels' colours). The scale comes from the tick marks. A point that other curves hide is left empty.
"""

from __future__ import annotations

import argparse
import base64
import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np

Array = Any
DPI, WIDTH, HEIGHT, MARGIN = 100, 1162.5, 385.0, 0.05
"""Of the axes of a figure of 15 by 5 inches, in pixels; and the part of the data's range left free at each side."""
COLOURS = ("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728")
DARK = 110
"""A pixel of a tick mark or of the frame is darker than this."""
HIDDEN = 0.3
"""Pixels: a point known no better than this (three standard deviations) is not read."""
DISAGREE = 2.0
"""Nor one around which the pixels drawn still differ by more than this, of 255."""


def pictures(notebook: Path) -> dict[str, Array]:
    """The plots of a notebook by the label of their vertical axis, as ``[rows, columns, 3]``."""
    found = {}
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        for output in cell.get("outputs", []):
            image = output.get("data", {}).get("image/png")
            if image:
                found[source] = read(base64.b64decode("".join(image)))
    names = {"time": "execution_time_per_step", "activity": "activity_logger.syn_ops"}
    return {key: next(found[source] for source in found if name in source) for key, name in names.items()}


def read(png: bytes) -> Array:
    import matplotlib.image

    image = np.asarray(matplotlib.image.imread(io.BytesIO(png), format="png"), np.float64)
    alpha = image[..., 3:] if image.shape[2] == 4 else 1.0
    return 255 * (image[..., :3] * alpha + (1 - alpha))


def runs(dark: Array) -> list[float]:
    """The middles of the runs of dark pixels."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], dark.astype(int), [0]])))
    return [(a + b) / 2 for a, b in edges.reshape(-1, 2)]


class Plot:
    """A picture: its frame, its ticks and its pixels inside. Positions count pixels from the left and from below."""

    def __init__(self, image: Array) -> None:
        self.image = image
        self.rows, self.columns = image.shape[:2]
        grey = image.mean(axis=2)
        left = int(np.flatnonzero((grey < DARK).mean(axis=0) > 0.7)[0])
        bottom = int(np.flatnonzero((grey < DARK).mean(axis=1) > 0.7)[-1])
        top = int(np.flatnonzero((grey < DARK).mean(axis=1) > 0.7)[0])
        self.left, self.bottom = left + 0.5, self.rows - bottom - 0.5
        self.ticks = self.rows - np.array(runs(grey[:, left - 3] < DARK))[::-1]
        self.inside = np.zeros(grey.shape, bool)
        self.inside[top + 2 : bottom - 1, left + 2 : left + int(WIDTH) - 2] = True
        # The legend's box has a light grey frame.
        frame = self.inside & (np.ptp(image, axis=2) < 2) & (grey > 195) & (grey < 240)
        sides = np.flatnonzero(frame.sum(axis=0) > 30), np.flatnonzero(frame.sum(axis=1) > 30)
        if len(sides[0]) and len(sides[1]):
            self.inside[sides[1][0] - 4 : sides[1][-1] + 5, sides[0][0] - 4 : sides[0][-1] + 5] = False

    def draw(self, curves: list[tuple[Array, Array]]) -> Array:
        from matplotlib.backends.backend_agg import RendererAgg
        from matplotlib.colors import to_rgb
        from matplotlib.path import Path as Line
        from matplotlib.transforms import IdentityTransform

        renderer = RendererAgg(self.columns, self.rows, DPI)
        renderer.clear()
        for (x, y), colour in zip(curves, COLOURS, strict=False):
            gc = renderer.new_gc()
            gc.set_linewidth(1.5)
            gc.set_capstyle("projecting")
            gc.set_joinstyle("round")
            gc.set_foreground(to_rgb(colour))
            gc.set_snap(False)
            renderer.draw_path(gc, Line(np.stack([x, y], axis=1)), IdentityTransform())
        drawn = np.asarray(renderer.buffer_rgba(), np.float64)
        alpha = drawn[..., 3:] / 255
        return drawn[..., :3] * alpha + 255 * (1 - alpha)


def across(plot: Plot, points: int) -> Array:
    """Where the points lie from left to right."""
    each = WIDTH / ((1 + 2 * MARGIN) * (points - 1))
    return plot.left + each * (np.arange(points) + MARGIN * (points - 1))


def guess(plot: Plot, x: Array, colour: str) -> Array:
    """A first height for each point: the end of the ink farther away from the ink on both sides."""
    from matplotlib.colors import to_rgb

    target = 255 * np.array(to_rgb(colour))
    ink = plot.inside & (np.abs(plot.image - target).sum(axis=2) < 90)
    step = (x[1] - x[0]) / 2
    heights = np.full(len(x), np.nan)
    for i, at in enumerate(x):
        here = np.flatnonzero(ink[:, int(at) - 1 : int(at) + 2].any(axis=1))
        if not len(here):
            continue
        sides = np.concatenate([np.flatnonzero(ink[:, int(at + d)]) for d in (-step, step)])
        middle = sides.mean() if len(sides) else here.mean()
        row = here[0] + 1 if abs(here[0] - middle) > abs(here[-1] - middle) else here[-1]
        heights[i] = plot.rows - row
    heights[np.isnan(heights)] = np.nanmin(heights)
    return heights


def jump(plot: Plot, x: Array, y: Array) -> Array:
    """Moves each point by up to some pixels where that makes the picture around it agree better."""
    nearest = np.clip(np.rint((np.arange(plot.columns) + 0.5 - x[0]) / (x[1] - x[0])), 0, len(x) - 1).astype(int)

    def error(y: Array) -> Array:
        off = ((plot.image - plot.draw([(x, line) for line in y])) ** 2).sum(axis=2) * plot.inside
        near = np.bincount(nearest, off.sum(axis=0), len(x))
        return near + np.roll(near, 1) + np.roll(near, -1)

    best, y = error(y), y.copy()
    for curve in range(len(y)):
        for step in (-3, -2, -1, -0.5, 0.5, 1, 2, 3):
            for group in range(4):
                moved = y.copy()
                moved[curve, group::4] += step
                better = np.flatnonzero(error(moved)[group::4] < best[group::4] - 1) * 4 + group
                if len(better):
                    y[curve, better] += step
                    best = error(y)
    return y


def fit(plot: Plot, points: int, curves: int, rounds: int = 30) -> tuple[Array, float]:
    """Heights ``[curves, points]`` in pixels (not a number: not known), and by how much pixels still differ."""
    x = across(plot, points)
    y = np.stack([guess(plot, x, colour) for colour in COLOURS[:curves]])
    small, damping = 0.1, 1e-3

    def drawn(y: Array, shift: float) -> Array:
        return plot.draw([(x + shift, line) for line in y])

    def error(y: Array, shift: float) -> tuple[Array, float]:
        off = (plot.image - drawn(y, shift)) * plot.inside[..., None]
        return off, float((off**2).sum())

    shift = min(np.linspace(-1, 1, 9).tolist(), key=lambda shift: error(y, shift)[1])
    off, best = error(y, shift)
    for turn in range(rounds):
        if curves > 1 and turn % 8 == 0:  # a curve beside others can come to rest in the wrong place: try others
            y, damping = jump(plot, x + shift, y), 1e-3
            off, best = error(y, shift)
        use = plot.inside & ((plot.image < 254).any(axis=2) | (drawn(y, shift) < 254).any(axis=2))
        jacobian = np.zeros((int(use.sum()) * 3, curves * points + 1), np.float32)
        column = np.broadcast_to(np.arange(plot.columns), use.shape)[use].repeat(3)
        base = drawn(y, shift)
        for curve in range(curves):
            for group in range(3):
                moved = y.copy()
                moved[curve, group::3] += small
                change = ((drawn(moved, shift) - base)[use] / small).ravel()
                nearest = np.rint((column + 0.5 - x[0] - shift) / (x[1] - x[0]) / 3 - group / 3).astype(int) * 3 + group
                good = (nearest >= 0) & (nearest < points)
                jacobian[good, curve * points + nearest[good]] = change[good]
        jacobian[:, -1] = ((drawn(y, shift + small) - base)[use] / small).ravel()
        normal, right = jacobian.T @ jacobian, jacobian.T @ off[use].ravel()
        before = best
        for _ in range(8):
            change = np.linalg.solve(normal + np.diag(damping * np.diag(normal) + 1.0), right)
            trial = y + np.clip(change[:-1].reshape(y.shape), -4, 4), shift + float(np.clip(change[-1], -0.3, 0.3))
            new_off, new = error(*trial)
            if new < best:
                (y, shift), off, best, damping = trial, new_off, new, damping / 5
                break
            damping = min(damping * 8, 1e6)
        if best > before * (1 - 1e-6) and (curves == 1 or turn > rounds - 8):
            break
    # A point is known as well as the pixels around it agree with the picture.
    nearest = np.clip(np.rint((np.arange(plot.columns) + 0.5 - x[0]) / (x[1] - x[0])), 0, points - 1).astype(int)
    local = np.bincount(nearest, (off**2).sum(axis=(0, 2)), points) / np.bincount(nearest, 3 * use.sum(axis=0), points)
    spread = np.sqrt(np.diag(np.linalg.inv(normal + 1e-3 * np.eye(len(normal)))))[:-1].reshape(y.shape)
    y[(3 * spread * np.sqrt(local) > HIDDEN) | (local > DISAGREE**2)] = np.nan
    return y, float(np.sqrt(np.median(local)))


def scale(plot: Plot, heights: Array, ticks: Array, lowest: float | None = None) -> tuple[Array, float, float]:
    """Values of heights, and by how much they may be off: all by as much, and in proportion.

    The lowest point lies a known number of pixels below the highest, and matplotlib moves each tick down to the middle
    of a pixel. Of all scales that have every tick where it is drawn (and the lowest point at ``lowest``, if that is
    known), the middle one is taken."""
    low = np.nanmax(heights) - HEIGHT / (1 + 2 * MARGIN)
    per, value = np.polyfit(plot.ticks + 0.5 - low, ticks, 1)
    starts = value + per * np.linspace(-1, 1, 801) if lowest is None else np.array([lowest])
    slopes = per * np.linspace(0.99, 1.01, 2001)[:, None]
    moved = np.stack([low + (tick - starts) / slopes - at for tick, at in zip(ticks, plot.ticks, strict=True)])
    one, other = np.nonzero(((moved > -0.01) & (moved < 1.01)).all(axis=0))
    if not len(one):
        raise SystemExit("the tick marks are not where the labels say: is this another plot?")
    slope, start = slopes[one, 0], starts[other]
    values = start.mean() + slope.mean() * (heights - low)
    return values, float(np.ptp(start)) / 2, float(np.ptp(slope)) / slope.mean() / 2


def time_per_step(image: Array) -> tuple[Array, str]:
    """The 128 steps, us."""
    plot = Plot(image)
    heights, noise = fit(plot, 128, 1)
    values, fixed, share = scale(plot, heights[0], np.arange(80, 201, 20.0))
    return values, f"off by at most {fixed:.2f} us and {share:.2%}; pixels differ by {noise:.1f} of 255"


def activity(image: Array) -> tuple[Array, str]:
    """The counters, ``[4, 74]``. Their lowest point is 0: cores of the input have no synapses."""
    plot = Plot(image)
    heights, noise = fit(plot, 74, 4)
    values, _, share = scale(plot, heights, np.arange(0, 1.5e9, 0.2e9), lowest=0.0)
    return values, f"off by at most {share:.2%}; pixels differ by {noise:.1f} of 255"


def write(path: Path, names: list[str], columns: Array) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["idx", *names])
        for index, row in enumerate(np.atleast_2d(columns).T):
            writer.writerow([index, *(f"{value:.6g}" for value in row)])


def check() -> None:
    """Draws curves that are known, reads them, and says how far off that was."""
    import matplotlib.pyplot as plt

    def drawn(curves: Array) -> Array:
        figure = plt.figure(figsize=(15, 5), dpi=DPI)
        for curve, colour in zip(curves, COLOURS, strict=False):
            plt.plot(curve, color=colour)
        png = io.BytesIO()
        figure.savefig(png, format="png", bbox_inches="tight")
        plt.close(figure)
        return read(png.getvalue())

    random = np.random.default_rng(0)
    steps = np.tile([201.0, 107.0, 180.0, 125.0], 32) + random.normal(0, 0.5, 128)
    steps[-1] = 79.0
    values, note = time_per_step(drawn(steps[None]))
    print(f"time per step: wrong by at most {np.abs(values - steps).max():.2f} us; {note}")
    counts = np.zeros((4, 74))
    counts[:, 15:36] = random.uniform(0.01, 1, (4, 21)) * np.array([1.48e9, 6e7, 1.5e7, 2.5e7])[:, None]
    counts[0, 20] = 1.48e9
    counts[1, 36:] = 7e7
    values, note = activity(drawn(counts))
    wrong = np.abs(values[0, 15:36] - counts[0, 15:36]).max()
    print(f"synaptic operations: wrong by at most {wrong / 1e6:.2f} million of {counts.max() / 1e6:.0f}; {note}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebook", type=Path, nargs="?")
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--check", action="store_true")
    chosen = parser.parse_args()
    if chosen.check:
        check()
    if chosen.notebook is None or chosen.folder is None:
        return
    found = pictures(chosen.notebook)
    chosen.folder.mkdir(parents=True, exist_ok=True)
    values, note = time_per_step(found["time"])
    write(chosen.folder / "time_per_step.csv", ["time_us"], values)
    print(f"time per step: {note}")
    values, note = activity(found["activity"])
    write(
        chosen.folder / "activity_per_core.csv", ["syn_ops", "neuron_updates", "output_spikes", "input_spikes"], values
    )
    print(f"activity per core: {note}")


if __name__ == "__main__":
    main()
