"""Methods that learn weights, and the baselines they are compared with.

A method is a frozen dataclass with `run(problem, seed, callback) -> Selection`.
"""

from __future__ import annotations

from os import PathLike
from typing import Any

import numpy as np

from ..linalg import few_threads
from ..models.checks import check_count
from ..problem import Problem
from ..selection import Selection
from .auto import Auto, OverfitWarning
from .bmo import BMO
from .given import Given
from .implicit import Implicit
from .mixing import DirectMixing, Uniform, ValidationOnly
from .penalty import Penalty
from .run import Callback

__all__ = [
    "BMO",
    "Auto",
    "DirectMixing",
    "Given",
    "Implicit",
    "OverfitWarning",
    "Penalty",
    "Uniform",
    "ValidationOnly",
]


def learn_weights(
    problem: Problem,
    method: Any = None,
    *,
    seed: int = 0,
    callback: Callback | None = None,
    checkpoint: str | PathLike | None = None,
) -> Selection:
    """Weights for the training samples of `problem`, with the model re-fitted to them.

    Parameters
    ----------
    problem : a `Problem`.
    method : a method object such as `Implicit()`, `Penalty()`, `BMO()`, `DirectMixing(ratio=0.1)`;
        by default `Auto()`, which chooses what generalises by cross-fitting.
    seed : seeds whatever is random in a method; the same seed gives the same result.
    callback : called as ``callback(iteration, weights)`` after each outer step; True stops the run,
        which then returns the best weights so far.
    checkpoint : folder for the state of a run, and to go on from it bit for bit (on the CPU); only
        for models that are trained, such as `TransformerLM`.

    Returns
    -------
    Selection : check its `status`; DIVERGED results are returned, not raised.

    Raises ValueError for something that is not a method, for a method that the model does not
    support, and for a checkpoint of another run.

    Examples
    --------
    >>> import numpy as np, bdtheory as bdt
    >>> X = np.ones((3, 1)); y = np.array([0.0, 0.0, 3.0])          # the last target is wrong
    >>> problem = bdt.Problem(bdt.Ridge(mu=1e-2), train=(X, y), val=(X[:2], y[:2]))
    >>> fit = bdt.learn_weights(problem, bdt.Implicit())
    >>> bool(fit.weights[2] < 1e-4), fit.val_loss < 1e-6
    (True, True)
    """
    method = Auto() if method is None else method
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
    if hasattr(problem.model, "training"):
        return _train(problem, method, seed, callback, checkpoint)
    if checkpoint is not None:
        raise ValueError(
            f"checkpoint is {str(checkpoint)!r} with {type(problem.model).__name__}; needed a "
            "model that is trained step by step; try without, and Selection.save for the result"
        )
    # What overflows on the way is judged by what comes out of it, and at the end by a status.
    with few_threads(problem.size), np.errstate(over="ignore", invalid="ignore"):
        return method.run(problem, seed, callback)


def _train(problem: Problem, method: Any, seed: int, callback: Any, checkpoint: Any) -> Selection:
    """The training loop, for models with a `training`; torch is imported here."""
    if not hasattr(method, "selector"):
        raise ValueError(
            f"{type(method).__name__} needs an exact re-fit, which {type(problem.model).__name__} "
            "has not; needed a method that trains; try Penalty() or BMO()"
        )
    from .train import train

    return train(problem, method, seed=seed, callback=callback, checkpoint=checkpoint)
