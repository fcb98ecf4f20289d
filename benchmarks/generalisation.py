"""Do learned weights help on test data? `Auto` against what needs no weights, over seeds.

    python -m benchmarks.generalisation [--seeds 10] [--problems P1 P2 P3 P4] [--refit weights]

Baselines: validation data alone; direct mixing at the ratio with the least cross-fitted loss, of
25 from 1e-3 to 1e3, and 0 (the folds of `Auto`); uniform weights. The goal post is the fit to all
validation and all clean training samples, each counted once, at the same ridge. It is no bound:
`Auto` may count training samples for more, so that the ridge counts for less.

Test data are for the table only. `Auto` was designed on other seeds (100 and up) and other
problems. Columns: mean test losses; `gain`, best mean of the baselines over Auto's mean, less one;
`worst`, the largest excess of Auto over the best baseline of a seed, in percent; `closed`, the mean
distance from validation alone to the goal post that Auto covers, in percent; `estimate`, the
cross-fitted estimate of the test loss less the test loss, mean, in standard errors of a seed;
`warned`, how many runs warned of overfitting; CPU seconds of one run, one thread.
"""

from __future__ import annotations

import argparse
import time
import warnings
from typing import NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

import bdtheory as bdt
from bdtheory.hypergradient import fit_weighted, mean_loss
from bdtheory.methods import Auto, OverfitWarning
from bdtheory.methods.crossfit import CrossFit

from .problems import NAMES, make, problem_of

RATIOS = (0.0, *np.geomspace(1e-3, 1e3, 25))


class Row(NamedTuple):
    """Test losses of one problem and seed, and what else is shown of Auto."""

    auto: float
    alone: float
    mixing: float
    uniform: float
    goal: float
    estimate: float  # (cross-fitted loss - test loss) / standard error
    warned: bool
    seconds: float


def goal_post(problem: bdt.Problem, clean: np.ndarray) -> float:
    """Test loss of the fit to all clean training and all validation samples, counted alike."""
    w = np.concatenate([clean.astype(float), np.ones(problem.m)])
    return mean_loss(
        problem, fit_weighted(problem, w / w.sum(), problem.joined()).theta, problem.test
    )


def mixing(problem: bdt.Problem, seed: int) -> bdt.DirectMixing:
    """Direct mixing at its cross-validated ratio."""
    crossfit = CrossFit(problem, folds=5, seed=seed)
    return bdt.DirectMixing(min(RATIOS, key=lambda ratio: crossfit.mix(ratio).loss))


def measure(name: str, seed: int, method: Auto) -> Row:
    """One seed of one problem."""
    instance = make(name, seed)
    problem = problem_of(instance)

    def test_loss(baseline: object) -> float:
        loss = bdt.learn_weights(problem, baseline, seed=seed).test_loss
        return np.nan if loss is None else loss

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", OverfitWarning)
        start = time.process_time()
        fit = bdt.learn_weights(problem, method, seed=seed)
        seconds = time.process_time() - start
    test = np.nan if fit.test_loss is None else fit.test_loss
    return Row(
        auto=test,
        alone=test_loss(bdt.ValidationOnly()),
        mixing=test_loss(mixing(problem, seed)),
        uniform=test_loss(bdt.Uniform()),
        goal=goal_post(problem, instance.clean),
        estimate=(fit.crossfit["loss"] - test) / fit.crossfit["standard_error"],
        warned=any(issubclass(w.category, OverfitWarning) for w in caught),
        seconds=seconds,
    )


def line(name: str, rows: list[Row]) -> str:
    """One problem's line of the table."""
    columns = np.array(rows, dtype=float).T
    auto, alone, _, _, goal, estimate, warned, seconds = columns
    baselines = columns[1:4]  # (3, seeds)
    best = baselines[np.argmin(baselines.mean(1))]
    error = (best - auto).std(ddof=1) / np.sqrt(len(rows)) if len(rows) > 1 else np.nan
    closed = (alone.mean() - auto.mean()) / (alone.mean() - goal.mean())
    gain = f"{100 * (best.mean() / auto.mean() - 1):.1f} +- {100 * error / auto.mean():.1f}"
    worst = np.max(auto / baselines.min(0) - 1)
    means = "".join(f"{mean:>10.5f}" for mean in columns[:5].mean(1))
    return (
        f"{name:<4}{means}{gain:>15}{100 * worst:>8.1f}{100 * closed:>8.0f}"
        f"{estimate.mean():>10.2f}{int(warned.sum()):>6}/{len(rows):<2}{seconds.mean():>7.2f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Test losses of Auto and of the baselines.")
    parser.add_argument("--seeds", type=int, default=10, help="seeds 0, 1, ... (default 10)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (default 0)")
    parser.add_argument("--problems", nargs="+", choices=NAMES, default=NAMES)
    parser.add_argument("--refit", choices=("union", "weights"), default="union")
    args = parser.parse_args()
    if args.seeds < 1:
        parser.error(f"got --seeds {args.seeds}; needed at least 1; try --seeds 3")
    names = ("Auto", "val. only", "mixing", "uniform", "val+clean")
    print(
        f"{'':<4}{''.join(f'{n:>10}' for n in names)}{'gain %':>15}{'worst %':>8}{'closed':>8}"
        f"{'estimate':>10}{'warned':>9}{'CPU s':>7}"
    )
    with threadpool_limits(1):
        for name in args.problems:
            seeds = range(args.first, args.first + args.seeds)
            rows = [measure(name, seed, Auto(refit=args.refit)) for seed in seeds]
            print(line(name, rows), flush=True)


if __name__ == "__main__":
    main()
