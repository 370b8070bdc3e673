"""What learning on events reaches and what it costs, beside surrogate gradients back through time.

    python benchmarks/learning_energy.py [--chip anp-i] [--seeds 3] [--epochs 30] [--record]

1. Digits, 64-100-10 and a small convolutional network, latency code, 16 steps: test accuracy by rule.
2. Learning energy against clocked engines that take the same samples (dense; skipping zeros; skipping zeros and handing
   the read-out's error down once), for 8, 16 and 32 steps, latency and rate code; and at other chips' prices.
3. Adaptive thresholds: networks begun with a tenth of the usual weights, without and with them; ten hidden neurons with
   one threshold a layer, and one a neuron.
4. Words stored for the way back, 8 to 128 steps.
5. Samples that teach nothing are skipped: how much of the energy is left.
6. Time of an epoch (CPU).

Tables are printed as docs/explanation-learning.md has them; ``--record`` keeps them in docs/recorded.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace

import numpy as np
from printed import TITLES, header, percents, recorded, row, times

from neurodeploy.hwsim.chips.arch import load_architecture
from neurodeploy.learning.run import Run
from neurodeploy.learning.setup import NETWORKS, Setup
from neurodeploy.report.html import quantity

RULES = ("bptt", "mpd-ed", "std-ed")
EVENT_RULES = ("mpd-ed", "std-ed")
CHIPS = ("anp-i", "loihi1", "paper-45nm", "reckon", "odin")
ENGINES = ("dense", "zero-skipping", "once")
TITLE_OF = {"mlp": "64-100-10", "conv": "convolution 8 x 3 x 3, stride 2, then 48"}


def finished(setup: Setup) -> Run:
    run = Run(setup, portion=10**9)
    while not run.done:
        run.advance()
    return run


def several(setup: Setup, seeds: int) -> list[Run]:
    return [finished(replace(setup, seed=seed)) for seed in range(seeds)]


def reached(runs: list[Run], digits: int = 1) -> str:
    """Mean and single test accuracies."""
    return percents([run.accuracies[-1] for run in runs], digits)


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


def costs(title: str, found: list[tuple[float, float, dict[str, float]]]) -> str:
    """A row: learning energy of both rules, and what the clocked engines take beside each."""
    learning = ", ".join(quantity(pj, "pJ") for pj, _, _ in found)
    return row(title, learning, *(", ".join(times(r[name]) for _, _, r in found) for name in ENGINES))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chip", default="anp-i")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--record", action="store_true", help="keep what is printed in docs/recorded")
    args = parser.parse_args()
    with recorded(__file__, args.record):
        tables(args.chip, args.seeds, args.epochs)


def tables(chip: str, seeds: int, epochs: int) -> None:
    """Print everything."""
    base = Setup("mpd-ed", epochs=epochs)
    kept: dict[tuple[str, str, int], list[Run]] = {}
    print(f"test accuracy, latency code, 16 steps: mean of {seeds} seeds, {epochs} epochs")
    print(header("digits, latency code, 16 steps", *(TITLES[rule] for rule in RULES)))
    single = []
    for name, hidden in NETWORKS.items():
        runs = {rule: several(replace(base, rule=rule, hidden=hidden), seeds) for rule in RULES}
        if name == "mlp":
            kept |= {(rule, "latency", 16): found for rule, found in runs.items()}
        means = (np.mean([100 * run.accuracies[-1] for run in runs[rule]]) for rule in RULES)
        print(row(TITLE_OF[name], *(f"{mean:.1f} %" for mean in means)))
        for rule in RULES:
            spikes = of(runs[rule], "events_out")
            single.append(f"  {name}, {TITLES[rule]}: {reached(runs[rule], 2)}, {spikes:.0f} spikes a sample")
    print("\n".join(single))
    print(f"learning energy of a sample, 64-100-10, prices of {chip}; what clocked engines take for the same samples")
    print(header("what learns: MPD-ED, STD-ED", "learning", *ENGINES))
    for code in ("latency", "rate"):
        for steps in (8, 16, 32):
            for rule in EVENT_RULES:
                key = rule, code, steps
                if key not in kept:
                    kept[key] = several(replace(base, rule=rule, code=code, steps=steps), seeds)
            print(costs(f"{code}, {steps} steps", [energies(kept[rule, code, steps], chip) for rule in EVENT_RULES]))
    for other in CHIPS:
        found = [energies(kept[rule, "latency", 16], other) for rule in EVENT_RULES]
        title = f"latency, 16 steps, prices of {other}"
        print(costs(title, found) if found[0][0] else f"{title}: no price of learning")
    print("learning and forward pass together, latency code, 16 steps, beside those of the rule")
    for rule in EVENT_RULES:
        learning, inference, ratios = energies(kept[rule, "latency", 16], chip)
        whole = {name: (learning * ratios[name] + inference) / (learning + inference) for name in ENGINES}
        print(f"  {TITLES[rule]}: {', '.join(f'{name} {times(ratio)}' for name, ratio in whole.items())}")
    print("weights begun at a tenth")
    for rule in RULES:
        for adapt in (False, True):
            runs = several(replace(base, rule=rule, initial=0.1, adapt=adapt), seeds)
            print(f"  {TITLES[rule]} {'adaptive' if adapt else 'fixed'} thresholds: {reached(runs)}")
    print("ten hidden neurons, MPD-ED, seeds 1 to 3")
    for each in ("layer", "neuron"):
        runs = [finished(replace(base, hidden=(10,), each=each, seed=seed)) for seed in (1, 2, 3)]
        print(f"  a threshold a {each}: {reached(runs)}")
    print("words stored for the way back, a sample; the clocked engine, dense, stores u and s of each neuron and step")
    lengths = (8, 16, 32, 64, 128)
    print(header("steps, latency code", *map(str, lengths)))
    for rule in EVENT_RULES:
        words = []
        for steps in lengths:
            runs = kept.get((rule, "latency", steps)) or several(replace(base, rule=rule, steps=steps), 1)
            words.append(f"{of(runs, 'stored_words'):.0f}")
        print(row(f"{TITLES[rule]}, words a sample", *words))
    print(row("clocked, dense", *(f"{2 * steps * 100:,}" for steps in lengths)))
    print("samples that are right with a probability of 1 - skip teach nothing")
    for rule in EVENT_RULES:
        for skip in (0.0, 0.1, 0.2):
            runs = several(replace(base, rule=rule, skip=skip), seeds)
            learning, inference, _ = energies(runs, chip)
            last = [energies_of_last(run, chip) for run in runs]
            print(
                f"  {TITLES[rule]} skip {skip:.1f}: {reached(runs)}, {100 * of(runs, 'learned'):.0f} % of samples "
                f"taught, learning takes {100 * learning / inference:.0f} % of the forward pass, "
                f"{100 * np.mean(last):.0f} % in the last five epochs"
            )
    print("CPU time of an epoch of 1,347 samples, one core")
    for rule in RULES:
        run = Run(replace(base, rule=rule), portion=10**9)
        run.advance()
        taken = []
        for _ in range(5):
            started = time.process_time()
            run.advance()
            taken.append(time.process_time() - started)
        print(f"  {TITLES[rule]}: {min(taken) * 1e3:.0f} ms, test samples included")


def energies_of_last(run: Run, chip: str) -> float:
    """Learning over forward energy in the last five epochs."""
    arch, last = load_architecture(chip), np.sum(run.counts[-5:], axis=0)
    found = run.learner.costs(last, 5 * run.learner.size, arch)
    return found.learning_pj / found.inference_pj


if __name__ == "__main__":
    main()
