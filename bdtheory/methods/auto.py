"""Auto: weights and their share in the fit, chosen by cross-fitting over validation folds."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..hypergradient import mean_loss, refit
from ..models.checks import check_choice, check_count
from ..models.fit import Fit
from ..problem import Array, Problem
from ..selection import Selection, Status, as_text
from ..weights import drop_negligible
from .crossfit import Candidate, CrossFit, standard_error
from .inverse import inverse_weights
from .run import Callback, Stopped, Trace, as_weights, loss_on_test, uniform_weights

# Places on the grid are (a, b): ratio = (N / m) 10^(a/2), and tau = 2^b times the cross-fitted loss
# of the best mixing ratio. At a = 0 an average training sample counts as much as a validation one.
# Beyond, good samples count for more than the noisy ones cost, or the ridge was too strong.
RATIOS = range(-6, 1)  # of direct mixing, the first stage
START = (-1.0, 2.0)
LEAST, MOST = (-8.0, -9.0), (2.0, 9.0)
STEPS = (1.0, 0.5)
# The ratio and the temperature trade off: more data of better quality. Hence two diagonals.
AROUND = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, -1), (-1, 1))
BUDGET = 60  # candidates, each of folds + 1 fits


class OverfitWarning(UserWarning):
    """The validation loss is no estimate of the test loss, or the training data did not help."""


@dataclass(frozen=True)
class Auto:
    """Weights that generalise: temperature and ratio are chosen on validation folds left out.

    Two stages; every candidate is judged on validation samples that had no part in it (`crossfit`).
    (1) theta_0: direct mixing at the ratio with the least cross-fitted loss, 0 among them.
    (2) Weights in closed form at theta_0, w = softmax(-l(theta_0) / tau), and

        theta = argmin of L_val + ratio * sum_i w_i l_i + (mu/2) ||theta||^2,

    with (ratio, tau) by a compass search for the least cross-fitted loss. Validation only
    (ratio = 0) and direct mixing (tau = inf) are in the family, and win ties.

    Parameters
    ----------
    folds : validation folds, 2 or more, at most m.
    refit : "union": theta is fitted to selected and validation data, as above. "weights": theta is
        the exact re-fit theta(w): of the weights nearest to closed-form ones whose re-fit nearly is
        that theta (`inverse_weights`; not at mu = 0), of the closed-form ones, or of uniform ones,
        whichever cross-fits best.

    Warns `OverfitWarning` where the validation loss is no estimate of the test loss, or where the
    training data did not help. Raises ValueError for values out of range.

    Examples
    --------
    >>> import numpy as np, bdtheory as bdt
    >>> rng = np.random.default_rng(0)
    >>> X, theta = rng.standard_normal((300, 5)), np.ones(5)
    >>> y = X @ theta + 0.1 * rng.standard_normal(300)
    >>> y[:80] = 3 * rng.standard_normal(80)                        # 80 of 200 targets are wrong
    >>> problem = bdt.Problem(bdt.Ridge(1e-3), train=(X[:200], y[:200]), val=(X[200:], y[200:]))
    >>> fit = bdt.learn_weights(problem)
    >>> bool(fit.weights[:80].sum() < 0.1), sorted(fit.crossfit)[:2]
    (True, ['loss', 'ratio'])
    """

    folds: int = 5
    refit: str = "union"

    def __post_init__(self):
        check_count(self.folds, "folds", least=2, try_=5)
        check_choice(self.refit, "refit", ("union", "weights"))

    def run(self, problem: Problem, seed: int, callback: Callback | None) -> Selection:
        """See `learn_weights`. The seed draws the folds."""
        if problem.m < self.folds:
            raise ValueError(
                f"got {problem.m} validation samples for {self.folds} folds; needed at least one "
                f"a fold; try {_fewer(problem.m)}"
            )
        search = Search(CrossFit(problem, self.folds, seed), callback)
        ending = search.run()
        return _selection(self, search, ending)


def _fewer(m: int) -> str:
    return f"folds={m}, or more validation data" if m > 1 else "more validation data"


class Search:
    """The candidates judged so far: the best one, the one without training data, the record."""

    def __init__(self, crossfit: CrossFit, callback: Callback | None):
        self.crossfit, self.problem = crossfit, crossfit.problem
        self.trace, self.losses = Trace(callback), []
        self.pooled = self.problem.N / self.problem.m  # the ratio that counts all samples alike
        self.alone: Candidate | None = None
        self.best: Candidate | None = None

    def run(self) -> str:
        """Both stages; why it ended before it was done, or ""."""
        try:
            for ratio in (0.0, *(self.pooled * 10 ** (a / 2) for a in RATIOS)):
                self._note(self.crossfit.mix(ratio))
            start = self.best
            if start is not None and 0 < start.loss < math.inf:
                self._descend(start)
        except Stopped:
            return "the callback asked to stop"
        return f"{BUDGET} candidates were judged" if len(self.losses) >= BUDGET else ""

    def _descend(self, start: Candidate) -> None:
        """Stage 2: to a place whose neighbours are no better."""
        known: dict[tuple[float, float], float] = {}

        def loss(place: tuple[float, float]) -> float:
            if place not in known:
                ratio, tau = self.pooled * 10 ** (place[0] / 2), start.loss * 2 ** place[1]
                known[place] = self._note(self.crossfit.weigh(start, ratio, tau)).loss
            return known[place]

        compass(loss, START, lambda: len(self.losses) >= BUDGET)

    def _note(self, candidate: Candidate) -> Candidate:
        """Into the record, and to the user's callback."""
        self.alone = self.alone or candidate
        if self.best is None or candidate.loss < self.best.loss:
            self.best = candidate
        self.losses.append(candidate.loss)
        val_loss = mean_loss(self.problem, candidate.fits[-1].theta, self.problem.val)
        if self.trace.record(candidate.weights[-1], val_loss):
            raise Stopped
        return candidate


def compass(
    loss: Callable[[tuple[float, float]], float],
    place: tuple[float, float],
    spent: Callable[[], bool],
) -> tuple[float, float]:
    """A place from which no step of the smaller size lowers the loss, or where `spent` says stop.

    Steps go to the first neighbour that is better, in the order of AROUND; the larger size first.

    Examples
    --------
    >>> compass(lambda z: (z[0] + 3) ** 2 + (z[1] - 0.5) ** 2, (-1.0, 2.0), lambda: False)
    (-3.0, 0.5)
    """
    least = loss(place)
    for step in STEPS:
        moved = True
        while moved:
            moved = False
            for direction in AROUND:
                there = (place[0] + step * direction[0], place[1] + step * direction[1])
                if spent():
                    return place
                inside = all(np.less_equal(LEAST, there)) and all(np.less_equal(there, MOST))
                if inside and loss(there) < least:
                    place, least, moved = there, loss(there), True
                    break
    return place


def _selection(method: Auto, search: Search, ending: str) -> Selection:
    """The best candidate as a selection, with the numbers of the cross-fit and a warning."""
    best, problem = search.best, search.problem
    assert best is not None and search.alone is not None  # the first one is noted before any stop
    w, fit, held_out = best.weights[-1], best.fits[-1], best.held_out
    if method.refit == "weights":
        w, fit, held_out = _refitted(search.crossfit, best)
    val_loss = mean_loss(problem, fit.theta, problem.val)
    numbers = {
        "loss": float(np.mean(held_out)),
        "standard_error": standard_error(held_out),
        "validation_only": search.alone.loss,
        "ratio": best.ratio,
        "tau": best.tau,
    }
    status, message = _ending(fit, numbers["loss"], val_loss, ending)
    if status is not Status.DIVERGED:
        _warn(val_loss, numbers, held_out, search.alone.held_out)
    return Selection(
        weights=w,
        theta=fit.theta,
        val_loss=val_loss,
        test_loss=loss_on_test(problem, fit.theta),
        status=status,
        history=search.trace.history() | {"crossfit": np.array(search.losses)},
        method=as_text(method),
        message=f"{message}; {_which_theta(method, best)}",
        crossfit=numbers,
    )


def _refitted(crossfit: CrossFit, best: Candidate) -> tuple[Array, Fit, np.ndarray]:
    """Weights, their exact re-fit and its held-out losses: the least of three ways, on average.

    The inverse weights of the candidate miss its theta where no weights reach it (a training set
    that can be separated); then its closed-form ones may do better, or uniform ones.
    """
    problem = crossfit.problem
    inverse = [
        _weights_for(problem, fit.theta, otherwise=w)
        for w, fit in zip(best.weights, best.fits, strict=True)
    ]
    ways = []
    for ws in (inverse, best.weights, [uniform_weights(problem)] * len(inverse)):
        fits = [refit(problem, w) for w in ws]
        ways.append((ws[-1], fits[-1], crossfit.judge(fits)))
    return min(ways, key=lambda way: float(np.mean(way[2])))


def _weights_for(problem: Problem, theta: Any, *, otherwise: Array) -> Array:
    """Weights whose exact re-fit is nearly theta, by the inverse of the lower level where it is."""
    if not hasattr(problem.model, "slopes") or problem.model.mu == 0.0:
        return otherwise
    return as_weights(problem, drop_negligible(inverse_weights(problem, theta)))


def _ending(fit: Fit, loss: float, val_loss: float, reason: str) -> tuple[Status, str]:
    """STATIONARY: on the grid of ratios and temperatures, by the cross-fitted loss."""
    if not (fit.converged and math.isfinite(val_loss) and math.isfinite(loss)):
        return Status.DIVERGED, fit.message or "without some fold there is no minimiser"
    if reason:
        return Status.MAX_ITERATIONS, reason
    return Status.STATIONARY, "no neighbouring ratio or temperature has a lower cross-fitted loss"


def _which_theta(method: Auto, best: Candidate) -> str:
    """Which re-fit theta is."""
    mixed = f"L_val + {best.ratio:.4g} sum_i w_i l_i + (mu/2) ||theta||^2"
    if method.refit == "weights":
        return (
            "theta is the exact re-fit theta(w); of the weights made to reproduce the minimiser of "
            f"{mixed}, its closed-form ones and uniform ones, w are those that cross-fit best"
        )
    return f"theta minimises {mixed}, not sum_i w_i l_i alone"


def _warn(
    val_loss: float, numbers: dict[str, float], held_out: np.ndarray, alone: np.ndarray
) -> None:
    """Where val_loss misleads, or where validation data alone do as well."""
    loss, error = numbers["loss"], numbers["standard_error"]
    gain = alone - held_out  # paired, sample by sample; inf where validation alone has no fit
    if loss - val_loss > 2 * error:
        text = (
            f"the validation data are overfitted: val_loss is {val_loss:.4g}, but the cross-fitted "
            f"estimate of the test loss {loss:.4g} +- {error:.2g}; report the latter "
            "(Selection.crossfit), and try more validation data or a larger mu"
        )
    elif np.mean(gain) <= standard_error(gain):
        text = (
            f"the training data did not help: the cross-fitted loss is {loss:.4g} with them and "
            f"{np.mean(alone):.4g} without: not better by more than a standard error; "
            "try ValidationOnly(), or other training data"
        )
    else:
        return
    warnings.warn(text, OverfitWarning, stacklevel=5)  # the line that called learn_weights
