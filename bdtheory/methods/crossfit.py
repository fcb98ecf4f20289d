"""Cross-fitting over validation folds: what was learned without a fold is judged on that fold.

A candidate is a way to use the training data: weights of some temperature, at some ratio to the
validation data. With k the fold that is left out, (k) for what was computed without it:

    w(k)     = argmin over w of  sum_i w_i l_i(theta_0(k)) + tau KL(w, uniform)           (C08)
    theta(k) = argmin over theta of  L_val(k) + ratio * sum_i w_i(k) l_i + (mu/2) ||theta||^2

and the candidate's loss is the mean of l_j(theta(k)) over all validation samples j, k the fold of
j. tau = inf keeps w uniform: direct mixing at that ratio; ratio = 0 is validation only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from array_api_compat import array_namespace

from ..hypergradient import fit_weighted
from ..models.fit import Fit
from ..problem import Array, Problem
from ..selection import to_numpy
from ..weights import drop_negligible, gather, softmax
from .run import as_weights, in_kind


@dataclass(frozen=True, eq=False)
class Candidate:
    """Weights and fits for every fold left out, and last for none left out; and their judgement.

    Attributes
    ----------
    ratio, tau : of the training data against the validation data; the temperature.
    weights : folds + 1 arrays (N,).
    fits : folds + 1 fits theta(k).
    held_out : (m,), the loss of each validation sample at the fit without its fold; all inf where
        one of the fits did not converge.
    """

    ratio: float
    tau: float
    weights: Sequence[Array]
    fits: Sequence[Fit]
    held_out: np.ndarray

    @property
    def loss(self) -> float:
        """The cross-fitted estimate of the test loss."""
        return float(np.mean(self.held_out))


class CrossFit:
    """A problem with its validation samples in folds, drawn by the seed and balanced by class."""

    def __init__(self, problem: Problem, folds: int, seed: int):
        self.problem, self.folds = problem, folds
        self.fold = assign_folds(problem, folds, seed)
        self.data = problem.joined()  # once: a fold is left out by weight 0
        self._last: list[Fit | None] = [None] * (folds + 1)

    def mix(self, ratio: float) -> Candidate:
        """Direct mixing: uniform weights at this ratio; ratio 0 is validation only."""
        w = in_kind(self.problem, np.full(self.problem.N, 1.0 / self.problem.N))
        return self.candidate(ratio, math.inf, [w] * (self.folds + 1))

    def weigh(self, start: Candidate, ratio: float, tau: float) -> Candidate:
        """Closed-form weights at the fits of `start`, at this ratio."""
        ws = [tilted_weights(self.problem, fit.theta, tau) for fit in start.fits]
        return self.candidate(ratio, tau, ws)

    def judge(self, fits: Sequence[Fit]) -> np.ndarray:
        """l_j at the fit without the fold of j, (m,) float64; `fits` has one for each fold."""
        held_out = np.empty(self.problem.m)
        for k, fit in enumerate(fits[: self.folds]):
            rows = self.fold == k
            losses = self.problem.model.losses(fit.theta, self.problem.val.take(rows))
            held_out[rows] = to_numpy(losses).astype(np.float64) if fit.converged else math.inf
        return held_out

    def candidate(self, ratio: float, tau: float, ws: Sequence[Array]) -> Candidate:
        """Any weights, folds + 1 arrays of which the k-th knows nothing of fold k, at this ratio.

        tau is for the record: where the weights come from plays no part.
        """
        fits = [self._fit(k, ratio, w) for k, w in enumerate(ws)]
        held_out = self.judge(fits)
        if not (fits[-1].converged and np.all(np.isfinite(held_out))):
            held_out = np.full_like(held_out, math.inf)
        return Candidate(ratio, tau, ws, fits, held_out)

    def _fit(self, k: int, ratio: float, w: Array) -> Fit:
        """theta(k) by one fit of the joined data, from this fold's own last one."""
        kept = (self.fold != k).astype(np.float64)
        share = in_kind(self.problem, kept / kept.sum())
        weights = array_namespace(w).concat([ratio * w, share])
        self._last[k] = fit = fit_weighted(self.problem, weights, self.data, self._last[k])
        return fit


def standard_error(losses: np.ndarray) -> float:
    """Of the mean of m > 1 losses, as if independent: folds share data. nan where one is inf."""
    if not np.all(np.isfinite(losses)):
        return math.nan
    return float(np.std(losses, ddof=1) / math.sqrt(len(losses)))


def tilted_weights(problem: Problem, theta: Any, tau: float) -> Array:
    """The minimiser of F_w + tau KL(w, uniform) at theta, (N,): w_i ~ exp(-l_i / tau)  (C08).

    With groups the minimiser among weights that are equal within each: a group's mass is its size
    times exp(-its mean loss / tau), so that tau -> infinity gives 1/N to every sample.
    """
    losses = to_numpy(problem.model.losses(theta, problem.train)).astype(np.float64)
    scores = -gather(losses, problem.groups) / tau
    if problem.groups is not None:
        scores = scores + np.log(np.bincount(problem.groups))
    return as_weights(problem, drop_negligible(softmax(scores)))


def assign_folds(problem: Problem, folds: int, seed: int) -> np.ndarray:
    """The fold 0..folds-1 of each validation sample, (m,).

    Sizes differ by at most one, and so do the counts of each class: samples are dealt out class by
    class, in random order within a class.
    """
    shuffled = np.random.default_rng(seed).permutation(problem.m)
    if problem.classes is not None:
        labels = to_numpy(problem.val.y)[shuffled]
        shuffled = shuffled[np.argsort(labels, kind="stable")]
    fold = np.empty(problem.m, dtype=np.int64)
    fold[shuffled] = np.arange(problem.m) % folds
    return fold
