"""What every compared solver shares: the problem as arrays, a clock that can pause, one outer loop.

NumPy and SciPy only: this module is imported in both environments.

    F_w(theta) = sum_i w_i l_i(theta) + (mu/2) ||theta||^2
    w_i = v_g(i) / n_g(i),  v = softmax(omega)

with one logit omega_g per group g of n_g samples; without groups every sample is its own group.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import minimize

FIRST = 3  # outer steps of the first call, whose time beyond that of the same steps is compilation
REPEATS = 5  # timed calls at most, as many as fit into the budget


class Arrays(NamedTuple):
    """A problem: X (N, p), y (N,), X_val (m, p), y_val (m,), mu, codes (N,) of the groups.

    y is real ("squared"), +-1 ("binary") or 0..K-1 ("multinomial"); kind says which.
    """

    X: np.ndarray
    y: np.ndarray
    X_val: np.ndarray
    y_val: np.ndarray
    mu: float
    codes: np.ndarray
    kind: str

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of theta, (p,) or (p, K)."""
        p = self.X.shape[1]
        return (p, int(self.y.max()) + 1) if self.kind == "multinomial" else (p,)

    @property
    def counts(self) -> np.ndarray:
        """n_g, the samples in each group, (G,)."""
        return np.bincount(self.codes)


class Stop(Exception):
    """The budget of a run is used up."""


class Clock:
    """CPU seconds of this process; what `note` itself takes does not count.

    Attributes
    ----------
    seconds, points, own : the time, the weights (N,) and the solver's own value of the upper level
        at every note.
    gradient : the first gradient in the logits (G,), at uniform weights; None before.
    """

    def __init__(self, budget: float, notes: float = float("inf")):
        self.budget, self.notes = budget, notes
        self.seconds: list[float] = []
        self.points: list[np.ndarray] = []
        self.own: list[float] = []
        self.gradient: np.ndarray | None = None
        self.spent, self.mark = 0.0, time.process_time()

    def see(self, gradient: Any) -> None:
        """Keep the first gradient in the logits, so that its error can be told."""
        if self.gradient is None:
            self.gradient = np.array(gradient, dtype=np.float64)

    def note(self, point: Callable[[], Any], own: float) -> None:
        """Keep the weights `point()`; raises `Stop` where seconds or notes are used up."""
        self.spent += time.process_time() - self.mark
        self.seconds.append(self.spent)
        self.points.append(np.array(point(), dtype=np.float64))
        self.own.append(float(own))
        if self.spent > self.budget or len(self.seconds) >= self.notes:
            raise Stop
        self.mark = time.process_time()


Run = Callable[[Clock], None]


def softmax(omega: np.ndarray) -> np.ndarray:
    """exp(omega) / sum exp(omega), along the last axis."""
    e = np.exp(omega - omega.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def weights(arrays: Arrays, omega: np.ndarray) -> np.ndarray:
    """w_i = softmax(omega)_g(i) / n_g(i), (..., N) for logits (..., G)."""
    return (softmax(omega) / arrays.counts)[..., arrays.codes]


Objective = Callable[[np.ndarray], tuple[float, np.ndarray]]


def minimise_logits(objective: Objective, arrays: Arrays, clock: Clock) -> None:
    """SciPy's L-BFGS-B on omega -> (value, gradient) from uniform weights, a note at every step.

    SciPy's defaults but for the stopping rules, so that it goes on until the budget is used or no
    step descends. The steps are the same, and so is t99: SciPy's rules would end after it.
    """

    def fun(omega: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = objective(omega)
        clock.see(gradient)
        return value, gradient

    def step(intermediate_result: Any) -> None:
        at = intermediate_result
        clock.note(lambda: weights(arrays, at.x), at.fun)

    options = {"ftol": 0.0, "gtol": 0.0, "maxiter": 10**6, "maxfun": 10**6}
    start = np.zeros(len(arrays.counts))
    minimize(fun, start, jac=True, method="L-BFGS-B", callback=step, options=options)


def timed(run: Run, budget: float, notes: float = float("inf")) -> Clock:
    """The clock of one call that ended by itself or by its budget."""
    clock = Clock(budget, notes)
    with suppress(Stop):
        run(clock)
    return clock


# Another process ---------------------------------------------------------------------------------


def write(arrays: Arrays, path: Path) -> None:
    """The problem as an .npz file."""
    np.savez(path, **arrays._asdict())


def read(path: Path) -> Arrays:
    """The problem that `write` wrote."""
    with np.load(path, allow_pickle=False) as file:
        fields = {name: file[name] for name in Arrays._fields}
    return Arrays(**fields | {"mu": float(fields["mu"]), "kind": str(fields["kind"])})


def serve(
    build: Callable[[Arrays, dict], Run], grid: list[dict], chosen: dict, *names: str
) -> None:
    """The main program of a peer; `build(arrays, settings)` makes its run.

        PEER IN.npz OUT.npz --problem P1 --budget 5 [--settings JSON]
        PEER --grid

    `chosen` has the settings for each problem, `grid` those that a search tries; `names` are the
    packages whose versions are reported.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("files", type=Path, nargs="*")
    parser.add_argument("--problem")
    parser.add_argument("--budget", type=float, default=5.0)
    parser.add_argument("--settings", type=json.loads)
    parser.add_argument("--grid", action="store_true")
    args = parser.parse_args()
    if args.grid:
        print(json.dumps(grid))
        return
    one_core()
    arrays = read(args.files[0])
    settings = args.settings or chosen[args.problem]
    found = repeated(lambda: build(arrays, settings), args.budget)
    versions = np.array([f"{name} {version(name)}" for name in names])
    np.savez(args.files[1], **found, versions=versions, settings=np.array(json.dumps(settings)))


def repeated(make: Callable[[], Run], budget: float) -> dict[str, Any]:
    """`seconds` (S,), the median over the timed calls, `points`, `own`, `gradient`, `compile`.

    The first call, of `FIRST` steps, compiles; `compile` is what it took beyond the time of the
    same steps in the calls that follow, as many as fit into the budget.
    """
    start = time.process_time()
    run = make()
    first = time.process_time() - start + timed(run, budget, FIRST).spent
    clocks = [timed(run, budget)]
    while len(clocks) < REPEATS and sum(c.spent for c in clocks) + clocks[0].spent < budget:
        clocks.append(timed(run, budget))
    n = min(len(clock.seconds) for clock in clocks)
    seconds = np.median([clock.seconds[:n] for clock in clocks], axis=0)
    return {
        "seconds": seconds,
        "points": np.array(clocks[0].points[:n]),
        "own": np.array(clocks[0].own[:n]),
        "gradient": np.array(clocks[0].gradient),
        "compile": max(0.0, first - float(seconds[min(FIRST, n) - 1])),
    }


def one_core() -> None:
    """One thread: JAX makes as many as there are cores for the process, where a system can say."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
