"""What solving the lower level gives: theta(w), its derivative in w, and how exact both are."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from array_api_compat import array_namespace, device

from ..problem import Array


@dataclass(frozen=True, eq=False)
class Fit:
    """The minimiser theta(w) of sum_i w_i l_i(theta) + (mu/2) ||theta||^2 and its derivative.

    Attributes
    ----------
    theta : the minimiser, (p,) or (p, K).
    vjp : g -> (dtheta/dw_i . g)_i, shapes like theta -> (N,). With g = grad L_val(theta) this is
        the hypergradient: dL_val/dw_i = -grad l_i(theta) . H^-1 g (theory.md, "closed form").
        None where there is no derivative.
    gap : an upper bound on F_w(theta) - v(w), the ridge included in both; inf where none is known.
    distance : an upper bound on ||theta - theta(w)||; inf where none is known.
    converged : whether the first-order condition holds to the model's tolerance.
    message : why not, where it does not.
    factor : whatever speeds up the next fit; opaque.
    """

    theta: Any
    vjp: Callable[[Any], Array] | None
    gap: float
    distance: float
    converged: bool = True
    message: str = ""
    factor: Any = None

    def __post_init__(self):
        for name in ("gap", "distance"):
            if math.isnan(getattr(self, name)):  # of numbers that overflow: no bound is known
                object.__setattr__(self, name, math.inf)


def ridge_rows(mu: float, X: Array, fit_intercept: bool) -> Array:
    """The ridge on each row of theta, (p,): mu, and 0 for the intercept's."""
    xp = array_namespace(X)
    penalised = xp.arange(X.shape[1], device=device(X)) < X.shape[1] - int(fit_intercept)
    return mu * xp.astype(penalised, X.dtype)
