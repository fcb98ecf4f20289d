"""BDS by exact hypergradients: quasi-Newton steps on the selector, every value a re-fit."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from array_api_compat import array_namespace

from ..hypergradient import mean_loss, refit, value_and_gradient
from ..models.checks import check_count, check_number
from ..models.fit import Fit
from ..problem import Array, Problem
from ..selection import Selection, Status, to_numpy
from ..weights import drop_negligible, entropy, gather
from .bmo import BMO
from .certify import lower_bound
from .inverse import inverse_start
from .outer import Coordinates, minimise_weights, simplex, squares
from .penalty import Penalty
from .run import (
    Callback,
    Stopped,
    Trace,
    as_weights,
    finish,
    in_kind,
    masses,
    still_promised,
    uniform_weights,
)
from .secondorder import few_groups, minimise_masses, revived

# Below this share of the losses at theta = 0 the uniform fit interpolates: C15's trap is near.
INTERPOLATES = 0.02
RTOL = 1e-7  # of a hypergradient along the way; the end is re-fitted exactly
SMALL = 4_000  # entries of X times columns of theta
LIFT = 1e-3  # share of uniform weights in a start, where a weight of 0 could not be left


@dataclass(frozen=True)
class Implicit:
    """Minimise L_val(theta(w)) + tau KL(w, uniform) over the simplex by its exact gradient in w.

    L-BFGS on square roots of the weights, from those under which the validation fit itself nearly
    solves the lower level (`inverse_weights`); each value and gradient comes from an exact re-fit.
    No step size is to be chosen. Where uniform weights turn out to be better, it starts from them
    too. For logistic models with few groups, and tau = 0, steps are of second order, from uniform
    weights first and then from the others; L-BFGS goes on where such a step fails (`secondorder`).
    Where the training data can be (nearly) interpolated, weights are inert inside the simplex (C15,
    C19) and such a start is trapped. There, unless the result is optimal by its lower bound, it
    starts again from closed-form weights with annealed temperature (`BMO`) and from the penalty
    problem with growing gamma (`Penalty`); on small problems also from random weights, in
    coordinates that reach exact zeros. The best of all is returned.

    KL(w, uniform) = log N - H(w), with H the entropy of the sample weights: tau > 0 spreads them.
    `history` still has L_val, but the weights returned are those of the least regularised loss.
    STATIONARY then speaks of that loss; CERTIFIED, which speaks of L_val alone, is not said.

    Parameters
    ----------
    max_iterations : outer steps for each start.
    restarts : random starts on small problems, drawn by the seed; 0 or more.
    tol : relative tolerance of the first-order condition, dimensionless: STATIONARY means that
        w.g - min_i g_i <= tol * L_val, with g the hypergradient: no shift of mass promises more.
    eps : relative tolerance of a certificate (theory.md, "What a certificate is").
    tau : strength of the regularisation >= 0, in units of the loss; 0 is none, and tau -> infinity
        gives 1/N to every sample.

    Raises ValueError for values out of range.

    Examples
    --------
    >>> import numpy as np, bdtheory as bdt
    >>> X, y = np.ones((2, 1)), np.array([0.0, 2.0])
    >>> problem = bdt.Problem(bdt.Ridge(mu=0.1), train=(X, y), val=(X[:1], y[:1]))
    >>> for tau in (0.0, 1.0, 100.0):
    ...     print(bdt.learn_weights(problem, Implicit(tau=tau)).weights.round(3).tolist())
    [1.0, 0.0]
    [0.718, 0.282]
    [0.504, 0.496]
    """

    max_iterations: int = 100
    restarts: int = 4
    tol: float = 1e-3
    eps: float = 1e-6
    tau: float = 0.0

    def __post_init__(self):
        check_count(self.max_iterations, "max_iterations", try_=100)
        check_count(self.restarts, "restarts", least=0, try_=4)
        check_number(self.tol, "tol", least=0.0, strict=True, try_="tol=1e-3")
        check_number(self.eps, "eps", least=0.0, strict=True, try_="eps=1e-6")
        check_number(self.tau, "tau", least=0.0, try_="tau=0.01")

    def run(self, problem: Problem, seed: int, callback: Callback | None) -> Selection:
        """See `learn_weights`. The seed draws the restarts."""
        trace, failure = _Trace(callback, self.tau), ""
        try:
            if self.tau == 0.0 and few_groups(problem):
                uniform = self._descend_by_newton(problem, trace)
            else:
                uniform = self._descend_from_inverse(problem, trace)
            if start_again(problem, uniform) and not self._optimal(problem, trace.best[0]):
                self._descend_from_elsewhere(problem, seed, trace)
        except Stopped:
            pass
        except FloatingPointError as error:
            failure = str(error)
        w = uniform_weights(problem) if trace.best[1] is None else trace.best[1]
        found = finish(problem, self, w, trace, tol=self.tol, failure=failure)
        return found if self.tau == 0.0 else self._judged(problem, found)

    def _descend_by_newton(self, problem: Problem, trace: Trace) -> Fit:
        """From uniform weights, whose fit is returned, and from the inverse problem's."""
        w = uniform_weights(problem)
        uniform = refit(problem, w, rtol=RTOL)
        self._newton(problem, w, uniform, trace)
        w, near = inverse_start(problem)
        self._newton(problem, w, refit(problem, w, near, rtol=RTOL), trace)
        return uniform

    def _newton(self, problem: Problem, w: Array, fit: Fit, trace: Trace) -> None:
        """Steps of second order from weights with their fit; where one fails L-BFGS goes on."""
        at, done = minimise_masses(problem, w, fit, trace, max_iterations=self.max_iterations)
        if not done:
            self._descend(problem, squares(revived(at.v)), trace, at.fit)

    def _descend_from_inverse(self, problem: Problem, trace: Trace) -> Fit:
        """From the inverse problem's weights, and from uniform ones if better: their fit."""
        w, near = inverse_start(problem)
        self._descend(problem, squares(masses(problem, w)), trace, near)
        base = self._uniform(problem)
        uniform = refit(problem, base)
        if mean_loss(problem, uniform.theta, problem.val) < trace.best[0]:
            self._descend(problem, squares(masses(problem, base)), trace, uniform)
        return uniform

    def _uniform(self, problem: Problem) -> Array:
        """Equal masses of groups, or where the divergence is from equal samples, 1/N."""
        if self.tau == 0.0:
            return uniform_weights(problem)
        return in_kind(problem, np.full(problem.N, 1.0 / problem.N))

    def _judged(self, problem: Problem, found: Selection) -> Selection:
        """The same weights with the status that the regularised loss deserves."""
        if found.status is Status.DIVERGED:
            return found
        promise = regularised_descent_left(problem, found.weights, self.tau)
        status, message = Status.STATIONARY, "the first-order condition of L_val + tau KL holds"
        if reason := still_promised(promise, self.tol * found.val_loss):
            status, message = Status.MAX_ITERATIONS, reason
        return replace(found, status=status, message=message, certificate={})

    def _optimal(self, problem: Problem, value: float) -> bool:
        """Whether the lower bound on V_BDS leaves nothing to gain; it bounds L_val + tau KL too."""
        lower, infimum = lower_bound(problem)
        return value - lower <= self.eps * max(1.0, infimum)

    def _descend_from_elsewhere(self, problem: Problem, seed: int, trace: Trace) -> None:
        for other in (BMO(), Penalty()):
            w = other.run(problem, seed, None).weights
            self._descend(problem, squares(self._inside(problem, masses(problem, w))), trace)
        if small(problem):
            best = masses(problem, trace.best[1])
            coordinates = simplex if self.tau == 0.0 else squares  # an exact zero is no optimum
            for v in (best, *random_masses(len(best), self.restarts, seed)):
                self._descend(problem, coordinates(self._inside(problem, v)), trace)

    def _inside(self, problem: Problem, v: np.ndarray) -> np.ndarray:
        """Masses to start from: none 0 where all are positive at the optimum, tau > 0 and mu > 0.

        At mu = 0 L_val jumps between faces of the simplex, and a face may be the better place.
        """
        if self.tau == 0.0 or getattr(problem.model, "mu", 0.0) == 0.0:
            return v
        return (1.0 - LIFT) * v + LIFT * masses(problem, self._uniform(problem))

    def _descend(
        self, problem: Problem, coordinates: Coordinates, trace: Trace, near: Fit | None = None
    ) -> None:
        """L-BFGS from the start of these coordinates; the trace keeps the best weights.

        `near` is a fit that is close to the one there.
        """
        state: dict[str, Fit | None] = {"fit": near}

        def objective(w: Array) -> tuple[float, Array, float]:
            fit = state["fit"] = refit(problem, w, state["fit"], rtol=RTOL)
            if not fit.converged:
                raise FloatingPointError(fit.message)
            value, grad = value_and_gradient(problem, fit)
            if self.tau == 0.0:
                return float(value), grad, float(value)
            return float(value) + self.tau * divergence(w), grad + self.tau * slope(w), float(value)

        w = as_weights(problem, drop_negligible(coordinates.masses(coordinates.start)))
        if trace.record(w, objective(w)[2]):
            raise Stopped
        minimise_weights(problem, objective, coordinates, trace, max_iterations=self.max_iterations)


class _Trace(Trace):
    """A trace whose best weights are those of the least L_val + tau KL(w, uniform)."""

    def __init__(self, callback: Callback | None, tau: float):
        super().__init__(callback)
        self.tau = tau

    def record(self, w: Array, val_loss: float) -> bool:
        before, stop = self.best, super().record(w, val_loss)
        value = float(val_loss) + (self.tau * divergence(w) if self.tau else 0.0)
        self.best = (value, w) if value < before[0] else before
        return stop


def divergence(w: Array) -> float:
    """KL(w, uniform) = log N - H(w) >= 0 of weights (N,) that sum to 1, in nats.

    With groups the sum over samples, sum_g v_g log(v_g N / n_g) for n_g samples of mass v_g.

    Examples
    --------
    >>> import numpy as np
    >>> round(divergence(np.full(4, 0.25)), 12), round(divergence(np.array([1.0, 0.0])), 12)
    (0.0, 0.69314718056)
    """
    return math.log(w.shape[0]) - entropy(w)


def slope(w: Array) -> Array:
    """dKL/dw_i = log(N w_i) + 1, (N,); at w_i = 0 a large negative number instead of -inf.

    Examples
    --------
    >>> import numpy as np
    >>> slope(np.array([0.5, 0.5])).tolist()
    [1.0, 1.0]
    """
    xp = array_namespace(w)
    return xp.log(w.shape[0] * xp.clip(w, xp.finfo(w.dtype).smallest_normal, None)) + 1.0


def regularised_descent_left(problem: Problem, w: Array, tau: float) -> float:
    """What L_val + tau KL could still lose if L_val were linear, >= 0: tau KL(w, w').

    With g the hypergradient at w and w' the minimiser of w'.g + tau KL(w', uniform), which is
    w'_i ~ exp(-g_i / tau), with groups v'_g ~ n_g exp(-mean g / tau): zero exactly where
    g_i + tau log w_i is the same for all i, and w.g - min_i g_i for tau -> 0 (source: here).
    NaN where the hypergradient overflows.
    """
    g = to_numpy(value_and_gradient(problem, refit(problem, w))[1]).astype(np.float64)
    scores = -gather(g, problem.groups) / tau
    shares = masses(problem, in_kind(problem, np.full(problem.N, 1.0 / problem.N)))
    top = float(scores.max())
    least = -tau * (math.log(float(shares @ np.exp(scores - top))) + top)
    w = to_numpy(w).astype(np.float64)
    return float(w @ g) + tau * divergence(w) - least


def start_again(problem: Problem, uniform: Fit) -> bool:
    """Whether further starts are cheap (a small problem) or C15's trap is near.

    It is near where samples are few for the parameters, or where the re-fit interpolates.
    """
    X = problem.train.X
    if small(problem) or 2 * X.shape[1] > len(X):
        return True
    xp = array_namespace(X)
    fitted = problem.model.losses(uniform.theta, problem.train)
    nothing = problem.model.losses(xp.zeros_like(uniform.theta), problem.train)
    return float(xp.mean(fitted)) <= INTERPOLATES * float(xp.mean(nothing))


def small(problem: Problem) -> bool:
    """Whether all starts together take about a second."""
    return problem.size * problem.train.K <= SMALL


def random_masses(G: int, count: int, seed: int) -> np.ndarray:
    """`count` points of the simplex (count, G), Dirichlet(1/2): most mass on a few entries."""
    return np.random.default_rng(seed).dirichlet(np.full(G, 0.5), size=count)
