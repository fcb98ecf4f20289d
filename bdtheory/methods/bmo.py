"""BMO: bilevel multi-objective optimisation with closed-form weights, annealed in temperature."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from array_api_compat import array_namespace, device

from ..hypergradient import fit_weighted, mean_loss, refit
from ..models.checks import check_count, check_flag, check_number
from ..models.fit import Fit
from ..problem import Array, Problem
from ..selection import Selection, to_numpy
from ..weights import drop_negligible, effective_sample_size, gather, softmax
from .online import Ratio, Round
from .run import Callback, Trace, as_weights, finish, uniform_weights
from .selectors import ClosedForm

COLD, COLD_TRAINED = 1e-5, 0.1  # see BMO


@dataclass(frozen=True)
class BMO:
    """Closed-form weights w = softmax(-l(theta) / tau), tau annealed from mixing to selection.

    Alternates the two exact minimisations of L_val + gamma (F_w + tau KL(w, uniform)) over theta
    and over w; the second is closed form (C08). tau -> infinity gives direct mixing's uniform
    weights, tau -> 0 the best single sample; the weights returned are those along the way whose
    re-fit has the lowest validation loss.

    Parameters
    ----------
    gamma : penalty strength > 0, dimensionless: how much theta listens to the training samples.
    steps : temperatures, geometric from `hot` to `cold` times the mean loss at uniform weights.
    hot, cold : the first and last temperature in units of that mean loss, hot > cold > 0. cold is
        1e-5 by default where the model is solved; where it is trained, 0.1, and losses are those
        of the latest batches.
    tol : relative tolerance of the first-order condition; see `Implicit`.
    eps : relative tolerance of a certificate.
    tau, clip, grouped : of generated responses, in `refine`, dimensionless: their weights are
        importance ratios rho^(1/tau), at most `clip` (None: no limit), and normalised within their
        question where `grouped`.

    Raises ValueError for values out of range.

    Source: arXiv:2511.21056v2, abstract (closed-form importance ratios); theory.md, C08.

    Examples
    --------
    >>> import numpy as np, bdtheory as bdt
    >>> X, y = np.ones((3, 1)), np.array([0.0, 0.0, 3.0])                # the last target is wrong
    >>> problem = bdt.Problem(bdt.Ridge(mu=1e-2), train=(X, y), val=(X[:2], y[:2]))
    >>> bdt.learn_weights(problem, BMO()).weights.round(6).tolist()
    [0.5, 0.5, 0.0]
    """

    gamma: float = 1.0
    steps: int = 60
    hot: float = 10.0
    cold: float | None = None
    tol: float = 1e-3
    eps: float = 1e-6
    tau: float = 1.0
    clip: float | None = 10.0
    grouped: bool = False

    def __post_init__(self):
        check_number(self.gamma, "gamma", least=0.0, strict=True, try_="gamma=1.0")
        check_count(self.steps, "steps", try_=60)
        if self.cold is not None:
            check_number(self.cold, "cold", least=0.0, strict=True, try_="cold=1e-5")
        least = COLD_TRAINED if self.cold is None else self.cold
        check_number(self.hot, "hot", least=least, strict=True, try_="hot=10.0")
        check_number(self.tol, "tol", least=0.0, strict=True, try_="tol=1e-3")
        check_number(self.eps, "eps", least=0.0, strict=True, try_="eps=1e-6")
        check_number(self.tau, "tau", least=0.0, strict=True, try_="tau=1.0")
        if self.clip is not None:
            check_number(self.clip, "clip", least=0.0, strict=True, try_="clip=10.0")
        check_flag(self.grouped, "grouped")

    def run(self, problem: Problem, seed: int, callback: Callback | None) -> Selection:
        """See `learn_weights`. Deterministic: the seed plays no part."""
        trace, w = Trace(callback), uniform_weights(problem)
        inner = refit(problem, w)
        joint = fit_jointly(problem, w, self.gamma, None)
        stop = trace.record(w, mean_loss(problem, inner.theta, problem.val))
        scale = mean_loss(problem, joint.theta, problem.train)
        cold = COLD if self.cold is None else self.cold
        for tau in scale * np.geomspace(self.hot, cold, self.steps):
            if stop or not tau > 0 or effective_sample_size(w) < 1.001:
                break  # asked to, nothing to fit, or one sample left: colder changes nothing
            w = closed_form_weights(problem, joint.theta, float(tau))
            joint = fit_jointly(problem, w, self.gamma, joint)
            inner = refit(problem, w, inner)
            stop = trace.record(w, mean_loss(problem, inner.theta, problem.val))
        best = trace.best[1]
        return finish(problem, self, w if best is None else best, trace, tol=self.tol)

    def selector(self, problem: Problem) -> ClosedForm:
        """The same weights for models that are trained, one temperature per step."""
        cold = COLD_TRAINED if self.cold is None else self.cold
        return ClosedForm(problem, self.gamma, self.hot, cold)

    def online(self, problem: Problem, given: Round, level: str) -> Ratio:
        """Importance ratios for a round of `refine`; they are per response, whatever the level."""
        return Ratio(given, self.gamma, tau=self.tau, clip=self.clip, grouped=self.grouped)


def closed_form_weights(problem: Problem, theta: Array, tau: float) -> Array:
    """w = softmax(-l(theta) / tau): the minimiser of F_w + tau KL(w, uniform) (C08), (N,).

    Negligible weights are exactly 0, since at mu = 0 a re-fit depends on the support. The loss of
    a group is the mean over its samples.
    """
    losses = to_numpy(problem.model.losses(theta, problem.train)).astype(np.float64)
    return as_weights(problem, drop_negligible(softmax(-gather(losses, problem.groups) / tau)))


def fit_jointly(problem: Problem, w: Array, gamma: float, warm_start: Fit | None) -> Fit:
    """theta_gamma = argmin of L_val / gamma + F_w: the minimiser of P_gamma for fixed w (C06).

    One fit of the joined data with weights w_i for training and 1 / (gamma m) for validation
    samples; the ridge belongs to F_w.
    """
    xp, X = array_namespace(problem.train.like), problem.train.like
    share = xp.full((problem.m,), 1.0 / (gamma * problem.m), dtype=X.dtype, device=device(X))
    return fit_weighted(problem, xp.concat([w, share]), problem.joined(), warm_start)
