"""What an exact ridge hypergradient costs, in fits: ratios measured in one run, one thread.

    python -m benchmarks.hypergradient [--rows 100000] [--repeats 20]

Each repeat times one fit and one hypergradient, in turn, so that a change in the machine's speed
touches both; the ratio is taken repeat by repeat. A hypergradient contains a fit: what it adds is
one solve with the factor that is there already and one more product with X.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from threadpoolctl import threadpool_limits

import bdtheory as bdt
from bdtheory.hypergradient import refit


def seconds(call) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def ridge(N: int, p: int, m: int) -> tuple[bdt.Problem, np.ndarray]:
    """A random ridge problem and random weights on the simplex."""
    rng = np.random.default_rng(0)
    X, X_val = rng.standard_normal((N, p)), rng.standard_normal((m, p))
    y, y_val = rng.standard_normal(N), rng.standard_normal(m)
    problem = bdt.Problem(bdt.Ridge(1e-2), train=(X, y), val=(X_val, y_val))
    return problem, rng.dirichlet(np.ones(N))


def main() -> None:
    parser = argparse.ArgumentParser(description="Cost of a hypergradient, in fits.")
    parser.add_argument("--rows", type=int, default=100_000, help="training samples (default 1e5)")
    parser.add_argument("--features", type=int, default=100, help="features (default 100)")
    parser.add_argument("--repeats", type=int, default=20, help="paired repeats (default 20)")
    args = parser.parse_args()
    problem, w = ridge(args.rows, args.features, 1_000)
    with threadpool_limits(1):
        pairs = [
            (seconds(lambda: refit(problem, w)), seconds(lambda: bdt.hypergradient(problem, w)))
            for _ in range(args.repeats + 1)
        ][1:]  # the first warms the caches
    fits, hypergradients = np.array(pairs).T
    low, middle, high = np.quantile(hypergradients / fits, [0.25, 0.5, 0.75])
    print(f"ridge, N={args.rows}, p={args.features}, float64, one thread, {args.repeats} pairs")
    print(f"fit            median {np.median(fits):.4f} s")
    print(f"hypergradient  median {np.median(hypergradients):.4f} s")
    print(f"ratio          median {middle:.3f}, quartiles {low:.3f} to {high:.3f} (asked: <= 1.25)")


if __name__ == "__main__":
    main()
