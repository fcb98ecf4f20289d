"""Instances that more than one claim uses, and what is known of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from bdtheory import Problem
from bdtheory.tasks import Task, separable
from bdtheory.usefulness import Combination, usefulness


def guided_separable(rng: np.random.Generator, **kept: Any) -> Task:
    """`separable` with p = 4, m = 80, N = 16, and 0.3 theta0 as its first training row.

    Validation labels come from theta0. The first row's own re-fit points along theta0, so that with
    all weight on it L_val tends to L_val* with mu: the optimum is reached by ridge re-fits, not
    only by other sequences. `kept` are the keywords of `separable`; without A3 no row is replaced.
    """
    task = separable(int(rng.integers(2**31)), p=4, m=80, N=16, **kept)
    if not kept.get("A3", True):
        return task
    assert task.theta0 is not None
    (X, y), guide = task.train, 0.3 * task.theta0
    return replace(task, train=(np.vstack([guide, X[1:]]), np.append(1.0, y[1:])))


def clean(task: Task) -> np.ndarray:
    """The samples with the target that the validation data ask for, (N,) bool."""
    assert task.clean is not None
    return task.clean


def margin_rows(task: Task) -> tuple[np.ndarray, np.ndarray]:
    """z_i = y_i x_i (N, p) and z~_j (m, p), for labels -1 and 1."""
    return task.train[1][:, None] * task.train[0], task.val[1][:, None] * task.val[0]


def useless_with_coefficients(problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    """The useless samples (k,), and a (k, m) with -z_i = sum_j a_j z~_j (binary logistic)."""
    found = dict(enumerate(usefulness(problem).certificates))
    useless = {i: c for i, c in found.items() if isinstance(c, Combination)}
    a = [c.coefficients / c.own[0] for c in useless.values()]
    return np.array(list(useless), dtype=int), np.array(a).reshape(len(useless), problem.m)
