"""What learning on events reaches and what it costs, beside surrogate gradients back through time.

    python benchmarks/learning_energy.py [--chip anp-i] [--seeds 3] [--epochs 30]

1. Digits, 64-100-10 and a small convolutional network, latency code, 16 steps: test accuracy by rule.
2. Learning energy against clocked engines that take the same samples (dense; skipping zeros; skipping zeros and handing
   the read-out's error down once), for 8, 16 and 32 steps, latency and rate code; and at other chips' prices.
3. Adaptive thresholds: networks begun with a tenth of the usual weights, without and with them.
4. Words stored for the way back, 8 to 128 steps.
5. Samples that teach nothing are skipped: how much of the energy is left.
6. Time of an epoch (CPU).
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace

import numpy as np

from neurodeploy.hwsim.chips.arch import load_architecture
from neurodeploy.learning.run import Run
from neurodeploy.learning.setup import NETWORKS, Setup
from neurodeploy.report.html import quantity

RULES = ("bptt", "mpd-ed", "std-ed")
CHIPS = ("anp-i", "loihi1", "paper-45nm", "reckon", "odin")


def finished(setup: Setup) -> Run:
    run = Run(setup, portion=10**9)
    while not run.done:
        run.advance()
    return run


def several(setup: Setup, seeds: int) -> list[Run]:
    return [finished(replace(setup, seed=seed)) for seed in range(seeds)]


def percents(runs: list[Run]) -> str:
    found = [100 * run.accuracies[-1] for run in runs]
    return f"{np.mean(found):6.2f} % ({', '.join(f'{a:.2f}' for a in found)})"


def energies(runs: list[Run], chip: str) -> tuple[float, float, dict[str, float]]:
    """Learning and inference, pJ a sample, and ratios; means over runs."""
    arch, learning, inference, ratios = load_architecture(chip), [], [], []
    for run in runs:
        total = np.sum(run.counts, axis=0)
        own = run.learner.costs(total, run.taken, arch)
        learning.append(own.learning_pj)
        inference.append(own.inference_pj)
        others = run.learner.baselines(total, run.taken, arch)
        ratios.append({name: other.learning_pj / (own.learning_pj or np.nan) for name, other in others.items()})
    mean = {name: float(np.mean([r[name] for r in ratios])) for name in ratios[0]}
    return float(np.mean(learning)), float(np.mean(inference)), mean


def of(runs: list[Run], kind: str) -> float:
    """A kind's mean count per sample."""
    return float(np.mean([np.sum(run.counts, axis=(0, 1))[run.learner.kinds.index(kind)] / run.taken for run in runs]))


def ratio_text(ratios: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.1f}x" for name, value in ratios.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chip", default="anp-i")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=30)
    args = parser.parse_args()
    base = Setup("mpd-ed", epochs=args.epochs)
    kept: dict[tuple[str, str, int], list[Run]] = {}
    for title, hidden in (("64-100-10", NETWORKS["mlp"]), ("convolution 8 x 3 x 3 stride 2, 48", NETWORKS["conv"])):
        print(f"{title}, latency code, 16 steps: test accuracy, mean of {args.seeds} seeds; spikes a sample")
        for rule in RULES:
            runs = several(replace(base, rule=rule, hidden=hidden), args.seeds)
            if hidden == NETWORKS["mlp"]:
                kept[rule, "latency", 16] = runs
            print(f"  {rule:7} {percents(runs)}, {of(runs, 'events_out'):.0f} spikes")
    print(f"learning energy of a sample at {args.chip}'s prices, 64-100-10; what clocked engines take for the same")
    for code in ("latency", "rate"):
        for steps in (8, 16, 32):
            for rule in ("mpd-ed", "std-ed"):
                key = rule, code, steps
                if key not in kept:
                    kept[key] = several(replace(base, rule=rule, code=code, steps=steps), args.seeds)
                learning, inference, ratios = energies(kept[key], args.chip)
                print(
                    f"  {code:7} T = {steps:2} {rule:7} {quantity(learning, 'pJ'):>8} (forward "
                    f"{quantity(inference, 'pJ')}): {ratio_text(ratios)}; {percents(kept[key])}"
                )
    print("the same at other prices, latency code, 16 steps")
    for chip in CHIPS:
        for rule in ("mpd-ed", "std-ed"):
            learning, _, ratios = energies(kept[rule, "latency", 16], chip)
            text = f"{quantity(learning, 'pJ'):>8}: {ratio_text(ratios)}" if learning else "no price of learning"
            print(f"  {chip:10} {rule:7} {text}")
    print("weights begun at a tenth")
    for rule in RULES:
        for adapt in (False, True):
            runs = several(replace(base, rule=rule, initial=0.1, adapt=adapt), args.seeds)
            print(f"  {rule:7} {'adaptive' if adapt else 'fixed':8} thresholds {percents(runs)}")
    print("words stored for the way back, a sample (latency code); clocked, dense")
    for rule in ("mpd-ed", "std-ed"):
        for steps in (8, 16, 32, 64, 128):
            runs = kept.get((rule, "latency", steps)) or several(replace(base, rule=rule, steps=steps), 1)
            events = of(runs, "events_in")
            print(
                f"  {rule:7} T = {steps:3} {of(runs, 'stored_words'):6.0f} words for {events:4.0f} events; "
                f"{2 * steps * 100:6,} words"
            )
    print("samples that are right with probability 1 - skip teach nothing")
    for rule in ("mpd-ed", "std-ed"):
        for skip in (0.0, 0.1, 0.2):
            runs = several(replace(base, rule=rule, skip=skip), args.seeds)
            learning, inference, _ = energies(runs, args.chip)
            last = [energies_of_last(run, args.chip) for run in runs]
            print(
                f"  {rule:7} skip {skip:.1f}: {percents(runs)}, {100 * of(runs, 'learned'):.0f} % of samples taught, "
                f"learning / forward {learning / inference:.2f}, {np.mean(last):.2f} in the last five epochs"
            )
    print("CPU time of an epoch of 1,347 samples, one core")
    for rule in RULES:
        run = Run(replace(base, rule=rule), portion=10**9)
        run.advance()
        times = []
        for _ in range(5):
            started = time.process_time()
            run.advance()
            times.append(time.process_time() - started)
        print(f"  {rule:7} {min(times) * 1e3:.0f} ms, test samples included")


def energies_of_last(run: Run, chip: str) -> float:
    """Learning over forward energy in the last five epochs."""
    arch, last = load_architecture(chip), np.sum(run.counts[-5:], axis=0)
    found = run.learner.costs(last, 5 * run.learner.size, arch)
    return found.learning_pj / found.inference_pj


if __name__ == "__main__":
    main()
