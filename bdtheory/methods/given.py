"""Baseline: weights that came from elsewhere, such as another tool's scores."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..hypergradient import mean_loss, refit
from ..models.checks import check_number
from ..problem import Array, Problem
from ..selection import Selection
from ..weights import mean_one
from .mixing import mixed
from .online import Round
from .run import Callback, Trace, finish, in_kind
from .selectors import Fixed


@dataclass(frozen=True, eq=False)
class Given:
    """The model at weights that were found by other means, to be judged beside learned ones.

    For scores of another tool, see `bdtheory.weights.top_scores`.

    Parameters
    ----------
    weights : (N,), >= 0, not all 0, one per training sample; kept as NumPy float64 of sum 1.
    name : what it is called in a table, such as the name of the scores.
    ratio : lam >= 0, dimensionless: theta minimises L_val + lam F_w + (mu/2) ||theta||^2 at these
        weights, as `DirectMixing` does at uniform ones. None (default): the validation data have no
        part in theta, which is the exact re-fit theta(w). Where a model is trained, `Penalty` and
        `BMO` let theta hear L_val at every step: a fair comparison has ratio 1, their own gamma.
    eps : relative tolerance of a certificate.

    Raises ValueError for weights or numbers out of range; `learn_weights` for another N.

    Examples
    --------
    >>> import bdtheory as bdt
    >>> from bdtheory.weights import top_scores
    >>> X, y = [[1.0], [1.0], [1.0]], [0.0, 0.0, 3.0]                    # the last target is wrong
    >>> problem = bdt.Problem(bdt.Ridge(mu=0.0), train=(X, y), val=(X[:2], y[:2]))
    >>> perplexity = [10.0, 12.0, 90.0]                                  # of another tool
    >>> method = Given(top_scores(perplexity, 2, low=True), "perplexity")
    >>> bdt.learn_weights(problem, method).theta.round(9).tolist(), str(method)
    ([0.0], "Given('perplexity')")
    """

    weights: Array = field(repr=False)
    name: str = ""
    ratio: float | None = None
    eps: float = 1e-6

    def __post_init__(self):
        if not isinstance(self.name, str):
            raise ValueError(f"name is {self.name!r}; needed a text; try name='perplexity'")
        if self.ratio is not None:
            check_number(self.ratio, "ratio", least=0.0, try_="ratio=1.0")
        check_number(self.eps, "eps", least=0.0, strict=True, try_="eps=1e-6")
        w = mean_one(self.weights)
        w /= len(w)
        w.setflags(write=False)
        object.__setattr__(self, "weights", w)

    def __str__(self) -> str:
        """Its name and ratio, without the N numbers."""
        name = [repr(self.name)] if self.name else []
        ratio = [] if self.ratio is None else [f"ratio={self.ratio!r}"]
        return f"Given({', '.join(name + ratio)})"

    def run(self, problem: Problem, seed: int, callback: Callback | None) -> Selection:
        """See `learn_weights`. Deterministic: the seed plays no part."""
        w = in_kind(problem, self._checked(problem).copy())  # torch warns of read-only memory
        if self.ratio is not None:
            return mixed(problem, self, self.ratio, callback, w)
        trace = Trace(callback)
        trace.record(w, mean_loss(problem, refit(problem, w).theta, problem.val))
        return finish(problem, self, w, trace, tol=None)

    def selector(self, problem: Problem) -> Fixed:
        """Weights that stay, for models that are trained."""
        return Fixed(problem, *self._shares(), weights=self._checked(problem))

    def online(self, problem: Problem, given: Round, level: str) -> Fixed:
        """The round's base weights, for `refine`."""
        return Fixed(problem, *self._shares(), weights=given.base)

    def _shares(self) -> tuple[float, float]:
        """What L_val and F_w count in theta's objective."""
        return (0.0, 1.0) if self.ratio is None else (1.0, self.ratio)

    def _checked(self, problem: Problem) -> np.ndarray:
        """The weights, one per training sample of this problem."""
        if len(self.weights) != problem.N:
            raise ValueError(
                f"{self} has {len(self.weights)} weights; needed one per training sample, "
                f"{problem.N}; try weights in the order of the training rows"
            )
        return self.weights
