"""A selection problem whose truth is known: data, which targets are right, the parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..models import Logistic, Ridge
from ..problem import Problem

Pair = tuple[np.ndarray, np.ndarray]

# At most this many distinct whole numbers are read as class labels, more as real targets.
MAX_CLASSES = 20


@dataclass(frozen=True, eq=False)
class Task:
    """Training, validation and test data of one problem, with the truth where it is known.

    Attributes
    ----------
    name : what made it, such as ``"digits"``.
    train, val : pairs (X, y) of NumPy arrays, (N, p), (N,) and (m, p), (m,).
    test : such a pair, or None.
    clean : bool (N,), True where the training target is the one drawn; None where nobody knows.
    mu : ridge of the lower level, in units of squared features.
    groups : one label per training sample (N,), or None.
    theta0 : the generating parameters (p,), or None.
    model : the lower-level model where it is neither `Ridge(mu)` nor `Logistic(mu)`, else None.

    Examples
    --------
    >>> import numpy as np
    >>> pair = np.eye(2), np.array([1.5, 2.5])
    >>> Task("two points", train=pair, val=pair, mu=0.1).problem()
    Problem(Ridge(mu=0.1, fit_intercept=False, tie_break='validation'), N=2, m=2)
    """

    name: str
    train: Pair
    val: Pair
    mu: float
    test: Pair | None = None
    clean: np.ndarray | None = None
    groups: np.ndarray | None = None
    theta0: np.ndarray | None = None
    model: Any = None

    def problem(self, model: Any = None) -> Problem:
        """The `Problem` with these data; its `model` is the one given, else the task's own.

        Without either: `Logistic(mu)` where the training targets are classes (`has_classes`),
        `Ridge(mu)` where they are real numbers. Raises what `Problem` raises.
        """
        if model is None:
            model = self.model
        if model is None:
            model = Logistic(self.mu) if has_classes(self.train[1]) else Ridge(self.mu)
        return Problem(model, self.train, self.val, self.test, groups=self.groups)

    def __repr__(self) -> str:
        N, p = self.train[0].shape
        known = "" if self.clean is None else f", clean={int(self.clean.sum())}"
        return f"Task({self.name!r}, N={N}, p={p}, m={len(self.val[1])}{known}, mu={self.mu:g})"


def has_classes(y: Any) -> bool:
    """Whether targets y (N,) are classes: text, booleans, or at most 20 distinct whole numbers.

    Examples
    --------
    >>> has_classes(["yes", "no"]), has_classes([1.0, -1.0]), has_classes([0.5, 1.0])
    (True, True, False)
    """
    y = np.asarray(y)
    if y.dtype.kind not in "iuf":
        return True
    distinct = np.unique(y)
    return len(distinct) <= MAX_CLASSES and bool(np.all(distinct == np.round(distinct)))
