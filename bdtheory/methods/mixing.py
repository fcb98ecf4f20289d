"""Baselines: direct mixing at a ratio, validation only, and uniform weights."""

from __future__ import annotations

from dataclasses import dataclass

from array_api_compat import array_namespace, device

from ..hypergradient import fit_weighted, mean_loss, refit
from ..models.checks import check_number
from ..models.fit import Fit
from ..problem import Array, Problem
from ..selection import Selection, Status, as_text
from .online import Round
from .run import Callback, Trace, finish, loss_on_test, uniform_weights
from .selectors import Fixed


@dataclass(frozen=True)
class DirectMixing:
    """Unfiltered mixing: theta minimises L_val + ratio * (1/N) sum_i l_i + (mu/2) ||theta||^2.

    The weights are uniform and play no part in theta: nothing is selected.

    Parameters
    ----------
    ratio : lam >= 0, dimensionless.

    Raises ValueError for a ratio that is negative or not finite.

    Source: arXiv:2511.21056v1, abstract ("unfiltered direct mixing"); theory.md, C04.

    Examples
    --------
    >>> import numpy as np, bdtheory as bdt
    >>> X, y = np.ones((2, 1)), np.array([0.0, 2.0])       # validation says 0, the mean target is 1
    >>> problem = bdt.Problem(bdt.Ridge(mu=0.0), train=(X, y), val=(X[:1], y[:1]))
    >>> for lam in (0.0, 1.0):
    ...     print(bdt.learn_weights(problem, DirectMixing(lam)).theta.round(3).tolist())
    [0.0]
    [0.5]
    """

    ratio: float

    def __post_init__(self):
        check_number(self.ratio, "ratio", least=0.0, try_="ratio=0.1")

    def run(self, problem: Problem, seed: int, callback: Callback | None) -> Selection:
        """See `learn_weights`. Deterministic: the seed plays no part."""
        return mixed(problem, self, self.ratio, callback)

    def selector(self, problem: Problem) -> Fixed:
        """Weights that stay, for models that are trained."""
        return Fixed(problem, val=1.0, train=self.ratio)

    def online(self, problem: Problem, given: Round, level: str) -> Fixed:
        """The round's base weights, for `refine`."""
        return Fixed(problem, val=1.0, train=self.ratio, weights=given.base)


@dataclass(frozen=True)
class ValidationOnly:
    """The model trained on the validation data alone: direct mixing at ratio 0.

    Examples
    --------
    >>> import numpy as np, bdtheory as bdt
    >>> problem = bdt.Problem(bdt.Ridge(0.0), ([[1.0]], [5.0]), val=([[1.0]], [2.0]))
    >>> bdt.learn_weights(problem, ValidationOnly()).theta.round(9).tolist()
    [2.0]
    """

    def run(self, problem: Problem, seed: int, callback: Callback | None) -> Selection:
        """See `learn_weights`. Deterministic: the seed plays no part."""
        return mixed(problem, self, 0.0, callback)

    def selector(self, problem: Problem) -> Fixed:
        """Weights that play no part, for models that are trained."""
        return Fixed(problem, val=1.0, train=0.0)

    def online(self, problem: Problem, given: Round, level: str) -> Fixed:
        """The round's base weights, for `refine`."""
        return Fixed(problem, val=1.0, train=0.0, weights=given.base)


@dataclass(frozen=True)
class Uniform:
    """The re-fit of uniform weights, w_i = 1/N (with groups: equal mass for every group).

    Parameters
    ----------
    eps : relative tolerance of a certificate.

    Raises ValueError for an eps that is not positive.

    Examples
    --------
    >>> import numpy as np, bdtheory as bdt
    >>> problem = bdt.Problem(bdt.Ridge(1.0), ([[1.0]] * 4, [2.0] * 4), val=([[1.0]], [2.0]))
    >>> bdt.learn_weights(problem, Uniform()).weights.tolist()
    [0.25, 0.25, 0.25, 0.25]
    """

    eps: float = 1e-6

    def __post_init__(self):
        check_number(self.eps, "eps", least=0.0, strict=True, try_="eps=1e-6")

    def run(self, problem: Problem, seed: int, callback: Callback | None) -> Selection:
        """See `learn_weights`. Deterministic: the seed plays no part."""
        trace, w = Trace(callback), uniform_weights(problem)
        trace.record(w, mean_loss(problem, refit(problem, w).theta, problem.val))
        return finish(problem, self, w, trace, tol=None)

    def selector(self, problem: Problem) -> Fixed:
        """Weights that stay, for models that are trained."""
        return Fixed(problem, val=0.0, train=1.0)

    def online(self, problem: Problem, given: Round, level: str) -> Fixed:
        """The round's base weights, for `refine`."""
        return Fixed(problem, val=0.0, train=1.0, weights=given.base)


def mix(problem: Problem, ratio: float, w: Array | None = None) -> Fit:
    """theta_lam: one fit with weights lam w_i on training and 1/m on validation samples.

    w : (N,), sum 1; uniform, 1/N, by default.
    """
    xp, X = array_namespace(problem.train.like), problem.train.like

    def share(n: int, mass: float):
        return xp.full((n,), mass / n, dtype=X.dtype, device=device(X))

    train = share(problem.N, ratio) if w is None else ratio * w
    return fit_weighted(problem, xp.concat([train, share(problem.m, 1.0)]), problem.joined())


def mixed(
    problem: Problem,
    method: object,
    ratio: float,
    callback: Callback | None,
    w: Array | None = None,
) -> Selection:
    """The selection at theta_lam, with weights w (N,), or uniform ones, which select nothing."""
    trace, fit = Trace(callback), mix(problem, ratio, w)
    val_loss = mean_loss(problem, fit.theta, problem.val)
    weights = uniform_weights(problem) if w is None else w
    trace.record(weights, val_loss)
    said = "its weights select nothing" if w is None else "at weights that were given"
    return Selection(
        weights=weights,
        theta=fit.theta,
        val_loss=val_loss,
        test_loss=loss_on_test(problem, fit.theta),
        status=Status.STATIONARY if fit.converged else Status.DIVERGED,
        history=trace.history(),
        method=as_text(method),
        message=fit.message or f"theta minimises the mixed loss; {said}",
    )
