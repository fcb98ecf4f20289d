"""Runs of several solvers on one problem, judged by exact re-fits alone.

A solver's run is a series of (CPU seconds, weights). What it reports of itself is not used: for
each point the validation loss is that of theta(w), re-fitted by `bdtheory.hypergradient.refit`
outside of the timing. t99 is the time of the first point whose re-fitted loss has closed 99% of
the gap from uniform weights to the best known.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

import bdtheory as bdt
from bdtheory.hypergradient import mean_loss, refit

from .peers import handmade, plain
from .peers.exchange import Arrays, Clock, Run, timed, weights, write

ROOT = Path(__file__).parent.parent
PYTHON = ROOT / ".bench-env" / "bin" / "python"  # of `make bench-env`
PEERS = ("jaxopt", "optimistix", "torchopt", "betty")
POINTS = 60  # points of a run that are re-fitted at first, evenly in the logarithm of their number
ONE_THREAD = {
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
}


def arrays_of(problem: bdt.Problem) -> Arrays:
    """The problem as plain arrays."""
    kind = "squared" if problem.classes is None else "binary"
    if problem.train.K > 1:
        kind = "multinomial"
    codes = np.arange(problem.N) if problem.groups is None else problem.groups
    train, val = problem.train, problem.val
    return Arrays(train.X, train.y, val.X, val.y, problem.model.mu, codes, kind)


# Solvers of this environment ---------------------------------------------------------------------


def implicit(problem: bdt.Problem, method: bdt.Implicit) -> Run:
    """`learn_weights` with a note at each outer step, and one at the end."""

    def run(clock: Clock) -> None:
        note = lambda k, w: clock.note(lambda: w, np.nan)  # noqa: E731
        fit = bdt.learn_weights(problem, method, callback=note)
        clock.note(lambda: fit.weights, fit.val_loss)

    return run


Make = Callable[[bdt.Problem], Run]
OURS: dict[str, Make] = {
    "Implicit()": lambda problem: implicit(problem, bdt.Implicit()),
    "plain": lambda problem: plain.build(arrays_of(problem), {}),
    "handmade": lambda problem: handmade.build(arrays_of(problem), {}),
}
TIGHT = bdt.Implicit(tol=1e-5, max_iterations=1_000)


# A run and its re-fits ---------------------------------------------------------------------------


@dataclass
class Track:
    """One solver's run: seconds (S,), points (S, N), and re-fitted losses by index, as asked for.

    compile: seconds of the first call beyond those of the same steps later. own: the solver's own
    L_val at its last point, nan where it reports none. error: of its gradient at uniform weights,
    see `gradient_error`. reason: why there is no run.
    """

    problem: bdt.Problem
    solver: str
    seconds: np.ndarray
    points: np.ndarray
    compile: float = np.nan
    own: float = np.nan
    error: float = np.nan
    reason: str = ""
    detail: str = ""
    losses: dict[int, float] = field(default_factory=dict)

    def loss(self, k: int) -> float:
        """The re-fitted L_val at point k; nan for weights that are not finite."""
        if k not in self.losses:
            w, value = self.points[k], np.nan
            if np.isfinite(w).all():
                fit = refit(self.problem, w)
                value = mean_loss(self.problem, fit.theta, self.problem.val)
                if not fit.converged:
                    value = np.nan
            self.losses[k] = value
        return self.losses[k]

    def survey(self) -> None:
        """Re-fit `POINTS` of the points, first and last included."""
        S = len(self.seconds)
        if S:
            for k in np.unique(np.round(np.geomspace(1, S, POINTS)).astype(int)) - 1:
                self.loss(int(k))

    def curve(self) -> tuple[np.ndarray, np.ndarray]:
        """(seconds, re-fitted L_val) of all points re-fitted so far, in order."""
        at = sorted(self.losses)
        return self.seconds[at], np.array([self.losses[k] for k in at])

    def best(self) -> float:
        """The least re-fitted L_val so far; inf without any."""
        return min((v for v in self.losses.values() if np.isfinite(v)), default=np.inf)

    def first(self, target: float) -> int | None:
        """The first point with L_val <= target, None where none is known.

        Between the last re-fitted point above the target and the first one below, every point is
        re-fitted.
        """
        above = -1
        for k in sorted(self.losses):
            if self.losses[k] <= target:
                return next(j for j in range(above + 1, k + 1) if self.loss(j) <= target)
            above = k
        return None

    def t99(self, target: float) -> float:
        """Seconds at the first point with L_val <= target; inf where there is none."""
        k = self.first(target)
        return np.inf if k is None else float(self.seconds[k])


def target_of(uniform: float, best: float) -> float:
    """The validation loss that closes 99% of the gap from uniform weights to the best known."""
    return uniform - 0.99 * (uniform - best)


def uniform_loss(problem: bdt.Problem) -> float:
    """Re-fitted L_val of the start of every solver: equal mass for every sample, or group."""
    return bdt.learn_weights(problem, bdt.Uniform()).val_loss


def run_ours(problem: bdt.Problem, solver: str, make: Make, budget: float) -> Track:
    """A run of a solver of this environment, after one short call that is not counted."""
    run = make(problem)
    first = timed(run, budget, 3)
    clock = timed(run, budget)
    n = min(len(first.seconds), len(clock.seconds)) - 1
    return Track(
        problem,
        solver,
        np.array(clock.seconds),
        np.array(clock.points),
        compile=max(0.0, first.seconds[n] - clock.seconds[n]),
        own=clock.own[-1],
        error=gradient_error(problem, clock.gradient),
    )


def gradient_error(problem: bdt.Problem, gradient: np.ndarray | None) -> float:
    """Relative error of a gradient in the logits at uniform weights; nan where there is none."""
    if gradient is None:
        return np.nan
    arrays = arrays_of(problem)
    omega = np.zeros(len(arrays.counts))
    exact = bdt.hypergradient(problem, weights(arrays, omega))[1]
    exact = plain.in_logits(arrays, omega, exact)
    return float(np.linalg.norm(gradient - exact) / np.linalg.norm(exact))


def seconds_to(run: Run, k: int) -> float:
    """CPU seconds of one more run to its point k."""
    return timed(run, np.inf, k + 1).seconds[-1]


# Solvers of the other environment ----------------------------------------------------------------


def run_peer(
    problem: bdt.Problem,
    name: str,
    peer: str,
    budget: float,
    *,
    settings: dict | None = None,
    python: Path = PYTHON,
) -> Track:
    """A run of a peer on the problem called `name`, or a track without points and the reason."""
    if not python.exists():
        return skipped(problem, peer, "no environment for peers; try make bench-env")
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / "problem.npz", Path(folder) / "run.npz"]
        write(arrays_of(problem), files[0])
        options = ["--problem", name, "--budget", str(budget)]
        if settings is not None:
            options += ["--settings", json.dumps(settings)]
        reason = call(python, peer, *map(str, files), *options, seconds=120 + 4 * budget)[1]
        if reason:
            return skipped(problem, peer, reason)
        with np.load(files[1], allow_pickle=False) as run:
            return Track(
                problem,
                peer,
                run["seconds"],
                run["points"],
                compile=float(run["compile"]),
                own=float(run["own"][-1]),
                error=gradient_error(problem, run["gradient"]),
                detail=f"{', '.join(run['versions'])}; {run['settings']}",
            )


def call(python: Path, peer: str, *arguments: str, seconds: float) -> tuple[str, str]:
    """(what a peer's module printed, why it failed or "")."""
    try:
        done = subprocess.run(
            [str(python), "-m", f"benchmarks.peers.with_{peer}", *arguments],
            cwd=ROOT,
            env={**os.environ, **ONE_THREAD},
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "", f"not finished after {seconds:.0f} s"
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        return "", lines[-1]
    return done.stdout, ""


def grid_of(peer: str) -> list[dict]:
    """The settings that a search for the peer tries; empty where it does not run."""
    printed, reason = call(PYTHON, peer, "--grid", seconds=120)
    if reason:
        print(f"{peer}: skipped: {reason}", file=sys.stderr)
        return []
    return json.loads(printed)


def skipped(problem: bdt.Problem, solver: str, reason: str) -> Track:
    """A track without points."""
    return Track(problem, solver, np.empty(0), np.empty((0, problem.N)), reason=reason)
