"""Small two-dimensional problems, solved by `bdtheory`: what the Explorer's JavaScript must give.

python docs/explorer/fixtures.py [--out FILE]      writes JSON, by default to standard output;
node docs/explorer/check.mjs FILE                  solves them anew and compares.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

import bdtheory as bdt
from bdtheory.hypergradient import mean_loss, refit
from bdtheory.methods.bmo import closed_form_weights, fit_jointly
from bdtheory.weights import effective_sample_size

EACH = 12  # problems of each kind
STEPS = 30  # temperatures of the closed-form weights, as in solver.js


def arrays(kind: str, seed: int) -> dict[str, Any]:
    """Random data of one kind; noise, corruption, sizes and ridge vary with the seed.

    y = x.theta0 + noise (ridge) or its sign (logistic). Corrupted targets are shifted or flipped.
    Every third problem is free of noise; two have a single validation row (S_val is a line), and
    half of the ridge problems are lines through points, x = (1, t).
    """
    rng = np.random.default_rng([seed, kind == "logistic"])
    N, m = int(rng.integers(4, 61)), 1 if seed in (4, 9) else int(rng.integers(2, 41))
    noise = 0.0 if seed % 3 == 0 else float(rng.uniform(0.1, 0.6))
    theta0 = rng.standard_normal(2)

    def draw(n: int) -> tuple[np.ndarray, np.ndarray]:
        X = rng.standard_normal((n, 2)) * 10 ** rng.uniform(-0.3, 0.5)
        if kind == "ridge" and seed % 2:
            X[:, 0] = 1.0
        scores = X @ theta0 + noise * rng.standard_normal(n)
        return X, scores if kind == "ridge" else np.where(scores > 0, 1.0, -1.0)

    (X, y), (X_val, y_val), (X_test, y_test) = draw(N), draw(m), draw(50)
    bad = rng.random(N) < rng.uniform(0.0, 0.6)
    y = np.where(bad, y + rng.normal(1.0, 1.0, N) if kind == "ridge" else -y, y)
    if kind == "logistic":  # both classes in the training data, or the package has no problem
        y[:2] = 1.0, -1.0
    data = {"X": X, "y": y, "X_val": X_val, "y_val": y_val, "X_test": X_test, "y_test": y_test}
    return data | {
        "kind": kind,
        "mu": float(10 ** rng.uniform(-4, -0.5)),
        "lam": float(10 ** rng.uniform(-2, 1)),
        "tau": float(10 ** rng.uniform(-1.5, 0)),
        "weights": rng.dirichlet(np.full(N, 0.7)),
    }


def problem_of(made: dict[str, Any]) -> bdt.Problem:
    """The package's problem for the arrays of `arrays`, or for what JSON has kept of them."""
    model = (bdt.Ridge if made["kind"] == "ridge" else bdt.Logistic)(mu=made["mu"])
    a = {name: np.asarray(made[name]) for name in ("X", "y", "X_val", "y_val", "X_test", "y_test")}
    return bdt.Problem(
        model, (a["X"], a["y"]), (a["X_val"], a["y_val"]), test=(a["X_test"], a["y_test"])
    )


def solved(made: dict[str, Any]) -> dict[str, Any]:
    """Everything that check.mjs compares, computed by the package."""
    problem = problem_of(made)
    fits = {
        "uniform": bdt.learn_weights(problem, bdt.Uniform()),
        "mixing": bdt.learn_weights(problem, bdt.DirectMixing(ratio=made["lam"])),
        "validation": bdt.learn_weights(problem, bdt.ValidationOnly()),
    }
    value, grad = bdt.hypergradient(problem, made["weights"])
    at = fits["uniform"].theta
    closed = closed_form_weights(problem, at, made["tau"])
    w = annealed(problem, made["tau"])
    theta = refit(problem, w).theta
    return {
        **{name: point(problem, fit.theta) for name, fit in fits.items()},
        "hypergradient": {"value": value, "grad": grad},
        "losses": problem.model.losses(at, problem.train),
        "closed": {"weights": closed, "ess": effective_sample_size(closed)},
        "bmo": {"weights": w, **point(problem, theta)},
        "useful": useful(problem),
        "bds": bdt.learn_weights(problem, bdt.Implicit()).val_loss,
    }


def point(problem: bdt.Problem, theta: np.ndarray) -> dict[str, Any]:
    """theta and its two losses."""
    val, test = (mean_loss(problem, theta, data) for data in (problem.val, problem.test))
    return {"theta": theta, "val": val, "test": test}


def useful(problem: bdt.Problem) -> np.ndarray | None:
    """Decisions (N,), or None where the package says that there is no exact answer."""
    try:
        return bdt.usefulness(problem).useful
    except ValueError:
        return None


def annealed(problem: bdt.Problem, cold: float) -> np.ndarray:
    """The last weights of `BMO(hot=10, cold=cold, steps=STEPS)`, which itself returns the best."""
    w = np.full(problem.N, 1.0 / problem.N)
    joint = fit_jointly(problem, w, 1.0, None)
    scale = mean_loss(problem, joint.theta, problem.train)
    for tau in scale * np.geomspace(10.0, cold, STEPS):
        if not tau > 0 or effective_sample_size(w) < 1.001:
            break
        w = closed_form_weights(problem, joint.theta, float(tau))
        joint = fit_jointly(problem, w, 1.0, joint)
    return w


def fixtures() -> list[dict[str, Any]]:
    """All problems with their solutions, as JSON can hold them: lists, floats and bools."""
    with threadpool_limits(1):
        made = [arrays(kind, seed) for kind in ("ridge", "logistic") for seed in range(EACH)]
        return [plain({**one, "expected": solved(one)}) for one in made]


def plain(value: Any) -> Any:
    """NumPy arrays as lists; floats keep every digit in JSON."""
    if isinstance(value, dict):
        return {name: plain(part) for name, part in value.items()}
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def main() -> None:
    parser = argparse.ArgumentParser(description="Fixtures for docs/explorer/check.mjs, as JSON.")
    parser.add_argument("--out", type=Path, help="a file; standard output without it")
    args = parser.parse_args()
    text = json.dumps(fixtures(), allow_nan=False) + "\n"
    if args.out:
        args.out.write_text(text)
    else:
        sys.stdout.write(text)


if __name__ == "__main__":
    main()
