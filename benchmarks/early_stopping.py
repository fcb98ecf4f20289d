"""Would learned weights help Auto: stopped early, or regularised by the divergence from uniform?

    python -m benchmarks.early_stopping [--seeds 5] [--first 100] [--problems P1 P2 P3 P4]

`Auto` has weights in closed form. Here are others, learned on validation data without a fold, put
into the same union re-fit at Auto's ratio and at 10^-.5 and 10^.5 times it, and judged on that
fold; Auto's own candidate is always among them, so that only chance can make the choice worse.

    ratio         Auto's weights, at the two other ratios: what the ratio alone does
    from uniform  exponentiated-gradient steps on L_val(theta(w)) by exact hypergradients, w_i
                  multiplied by exp(-.1 g_i / sd g) with the sd of the first step, from w = 1/N;
                  1 to 64 steps
    from Auto     the same steps from Auto's weights
    KL            `Implicit(tau)`, the optimum of L_val + tau KL(w, uniform); tau from .03 to 2
                  times Auto's cross-fitted loss
    again         closed-form weights at Auto's theta, not at direct mixing's; one to three rounds

Columns, over seeds: Auto's mean test loss; `chosen`, test loss of the candidate with the least
cross-fitted loss, against Auto's, in percent, with the standard error; `taken`, seeds in which it
was not Auto's own; `hindsight`, the same for the least test loss, which nobody can choose: a bound
on what a better choice among these candidates could give. Negative is better. Auto's ratio is
at most 10 N / m; beyond, the ridge fades: what `ratio` gains there is not due to other weights.
"""

from __future__ import annotations

import argparse
import copy
import math
from collections.abc import Iterator, Sequence

import numpy as np
from threadpoolctl import threadpool_limits

import bdtheory as bdt
from bdtheory.hypergradient import mean_loss, refit, value_and_gradient
from bdtheory.methods.auto import Search
from bdtheory.methods.crossfit import Candidate, CrossFit
from bdtheory.methods.run import as_weights, masses
from bdtheory.weights import gather, softmax

from .problems import NAMES, make, problem_of

OTHER = (10**-0.5, 1.0, 10**0.5)  # ratios, in Auto's
STEPS = (1, 2, 4, 8, 16, 32, 64)
SIZE = 0.1  # of a step
TAUS = (0.03, 0.1, 0.3, 1.0, 2.0)
FAMILIES = ("ratio", "from uniform", "from Auto", "KL", "again")
Weights = Sequence[np.ndarray]  # for every fold left out, and for none


def study(name: str, seed: int) -> np.ndarray:
    """(families, 4): Auto's test loss; chosen over it, less 1; whether not Auto's; hindsight."""
    problem = problem_of(make(name, seed))
    search = Search(CrossFit(problem, folds=5, seed=seed), None)
    search.run()
    crossfit, own = search.crossfit, search.best
    assert own is not None  # what `Auto` returns
    found: dict[str, list[tuple[float, float]]] = {family: [] for family in FAMILIES}

    def test(c: Candidate) -> float:
        return mean_loss(problem, c.fits[-1].theta, problem.test)

    for family, ws in weights(crossfit, own):
        for r in OTHER:
            if family != "ratio" or r != 1.0:
                c = crossfit.candidate(own.ratio * r, math.nan, ws)
                found[family].append((c.loss, test(c)))
    base, rows = test(own), []
    for judged in found.values():
        chosen = min([(own.loss, base), *judged])
        least = min(base, *(loss for _, loss in judged))
        rows.append((base, chosen[1] / base - 1, chosen[0] < own.loss, least / base - 1))
    return np.array(rows, dtype=float)


def weights(crossfit: CrossFit, own: Candidate) -> Iterator[tuple[str, Weights]]:
    """(family, weights) of all candidates."""
    problem, folds = crossfit.problem, range(crossfit.folds + 1)
    yield "ratio", own.weights
    left = [without(problem, crossfit.fold == k) for k in folds]
    for family, first in (("from uniform", crossfit.mix(0.0).weights), ("from Auto", own.weights)):
        paths = [path(*pair) for pair in zip(left, first, strict=True)]
        yield from ((family, [p[t] for p in paths]) for t in STEPS)
    for tau in TAUS:
        method = bdt.Implicit(tau=tau * own.loss)
        yield "KL", [bdt.learn_weights(p, method).weights for p in left]
    again = own
    for _ in range(3):
        again = crossfit.weigh(again, own.ratio, own.tau)
        yield "again", again.weights


def without(problem: bdt.Problem, rows: np.ndarray) -> bdt.Problem:
    """The problem without these validation samples."""
    other = copy.copy(problem)
    other.val, other.m = problem.val.take(~rows), int(np.sum(~rows))
    return other


def path(problem: bdt.Problem, w: np.ndarray) -> list[np.ndarray]:
    """Weights after 0, 1, ... max(STEPS) exponentiated-gradient steps."""
    fit, ws, scale = None, [w], 0.0
    for _ in range(max(STEPS)):
        fit = refit(problem, w, fit, rtol=1e-7)
        g = gather(np.asarray(value_and_gradient(problem, fit)[1]), problem.groups)
        scale = scale or float(np.std(g))
        v = masses(problem, w)
        log_v = np.log(np.where(v > 0, v, 1.0)) - np.where(v > 0, 0.0, np.inf)
        ws.append(w := as_weights(problem, softmax(log_v - SIZE * g / scale)))
    return ws


def lines(name: str, rows: np.ndarray) -> Iterator[str]:
    """The lines of one problem from (seeds, families, 4)."""
    n = len(rows)
    error = rows[:, :, 1].std(0, ddof=1) / math.sqrt(n) if n > 1 else np.full(len(FAMILIES), np.nan)
    for family, row, e in zip(FAMILIES, rows.mean(0), error, strict=True):
        change, taken = f"{100 * row[1]:+.2f} +- {100 * e:.2f}", f"{round(row[2] * n)}/{n}"
        yield f"{name:<4}{family:<14}{row[0]:>9.5f}{change:>16}{taken:>8}{100 * row[3]:>+13.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description="Learned weights in place of Auto's.")
    parser.add_argument("--seeds", type=int, default=5, help="how many (default 5)")
    parser.add_argument("--first", type=int, default=100, help="the first seed (default 100)")
    parser.add_argument("--problems", nargs="+", choices=NAMES, default=NAMES)
    args = parser.parse_args()
    if args.seeds < 1:
        parser.error(f"got --seeds {args.seeds}; needed at least 1; try --seeds 3")
    print(f"{'':<4}{'':<14}{'Auto':>9}{'chosen %':>16}{'taken':>8}{'hindsight %':>13}")
    seeds = range(args.first, args.first + args.seeds)
    for name in args.problems:
        with threadpool_limits(1):
            rows = np.array([study(name, seed) for seed in seeds])
        print("\n".join(lines(name, rows)), flush=True)


if __name__ == "__main__":
    main()
