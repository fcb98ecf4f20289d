"""Methods that learn weights, and the baselines they are compared with.

A method is a frozen dataclass with `run(problem, seed, callback) -> Selection`.
"""

from __future__ import annotations

from typing import Any

from ..linalg import few_threads
from ..models.checks import check_count
from ..problem import Problem
from ..selection import Selection
from .bmo import BMO
from .implicit import Implicit
from .mixing import DirectMixing, Uniform, ValidationOnly
from .penalty import Penalty
from .run import Callback

__all__ = ["BMO", "DirectMixing", "Implicit", "Penalty", "Uniform", "ValidationOnly"]


def learn_weights(
    problem: Problem, method: Any, *, seed: int = 0, callback: Callback | None = None
) -> Selection:
    """Weights for the training samples of `problem`, with the model re-fitted to them.

    Parameters
    ----------
    problem : a `Problem`.
    method : a method object such as `Implicit()`, `Penalty()`, `BMO()`, `DirectMixing(ratio=0.1)`.
    seed : seeds whatever is random in a method; the same seed gives the same result.
    callback : called as ``callback(iteration, weights)`` after each outer step; True stops the run,
        which then returns the best weights so far.

    Returns
    -------
    Selection : check its `status`; DIVERGED results are returned, not raised.

    Raises ValueError for something that is not a method.

    Examples
    --------
    >>> import numpy as np, bdtheory as bdt
    >>> X = np.ones((3, 1)); y = np.array([0.0, 0.0, 3.0])          # the last target is wrong
    >>> problem = bdt.Problem(bdt.Ridge(mu=1e-2), train=(X, y), val=(X[:2], y[:2]))
    >>> fit = bdt.learn_weights(problem, bdt.Implicit())
    >>> bool(fit.weights[2] < 1e-4), fit.val_loss < 1e-6
    (True, True)
    """
    if not hasattr(method, "run") or isinstance(method, type):
        raise ValueError(
            f"method is {method!r}; needed a method object; try learn_weights(problem, Implicit())"
        )
    if not isinstance(problem, Problem):
        raise ValueError(
            f"problem is {type(problem).__name__}; needed a Problem; "
            "try Problem(Ridge(mu=1e-2), train=(X, y), val=(X_val, y_val))"
        )
    check_count(seed, "seed", least=0, try_=0)
    with few_threads(problem.size):
        return method.run(problem, seed, callback)
