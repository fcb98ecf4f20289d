"""Weights that move while theta is trained: the selectors of the single-loop methods.

One joint step, of theta by a gradient and of w beside it (theory.md, C06 and C08):

    theta descends   L_val(theta) + gamma_t F_w(theta)
    w     descends   gamma_t F_w(theta)                     `Mirror`
    or     equals    softmax(-l(theta) / tau_t)             `ClosedForm`
    or     stays                                            `Fixed`: the baselines

A selector works on NumPy float64, whatever theta is, and sees the losses of a batch at a time.
`progress` is the share of the run that is done, 0 to 1.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from ..problem import Problem
from ..weights import softmax, spread

State = dict[str, np.ndarray]


class Selector(Protocol):
    """What the training loop needs. `weights` (N,) is on the simplex; `state` is all that moves."""

    value_function: bool  # whether losses are to be less those of phi, trained on F_w alone
    follows: bool  # whether w is a function of theta, taken at the losses of the same pass
    state: State

    @property
    def weights(self) -> np.ndarray: ...

    def shares(self, progress: float) -> tuple[float, float]:
        """The weights of L_val and of F_w in theta's objective, >= 0, of sum 1."""
        ...

    def update(self, progress: float, rows: np.ndarray, losses: np.ndarray) -> None:
        """New weights from the losses (b,) of the training samples `rows` (b,)."""
        ...


class Fixed:
    """Weights that stay, uniform unless given: L_val and F_w in the shares val : train."""

    value_function = follows = False

    def __init__(
        self, problem: Problem, val: float, train: float, weights: np.ndarray | None = None
    ):
        self._shares = val / (val + train), train / (val + train)
        self.weights = np.exp(_log_uniform(problem)) if weights is None else weights
        self.state: State = {}

    def shares(self, progress: float) -> tuple[float, float]:
        return self._shares

    def update(self, progress: float, rows: np.ndarray, losses: np.ndarray) -> None:
        pass


class Mirror:
    """Mirror descent on the simplex, w_i <- w_i exp(-eta gamma_t (l_i - F_w)) / Z (C06).

    The step of w against the gradient of gamma_t sum_i w_i l_i in the geometry of the entropy: in
    logits omega_i -= eta gamma_t (l_i - F_w), without the factor w_i of plain gradient descent
    on omega, which freezes a sample at small weight. The centre F_w, a running mean, changes
    nothing where all samples are seen; in batches it keeps those not seen where they are, so that
    samples are ranked by loss, not by visits (the fault of Adam on omega).

    With `value_function` the losses are l_i(theta) - l_i(phi), phi trained on F_w alone: the
    gradient of gamma_t (F_w - v(w)). gamma_t grows linearly to gamma over the first half.

    w = softmax(log base + sum over levels k of omega[codes[k]]): `base` (N,) are the weights to
    begin with, `codes` (levels, N) say which logits a sample has. By default uniform, one logit
    for each sample, or for each group.
    """

    MEMORY = 0.9  # of the running mean, per batch
    follows = False

    def __init__(
        self,
        problem: Problem,
        gamma: float,
        rate: float,
        value_function: bool,
        *,
        base: np.ndarray | None = None,
        codes: np.ndarray | None = None,
    ):
        self.gamma, self.rate, self.value_function = gamma, rate, value_function
        own = np.arange(problem.N) if problem.groups is None else problem.groups
        self.codes = np.atleast_2d(own if codes is None else codes)
        with np.errstate(divide="ignore"):  # a weight of 0 stays 0
            self.log_base = _log_uniform(problem) if base is None else np.log(base)
        omega = np.zeros(int(self.codes.max()) + 1)
        self.state = {"omega": omega, "centre": np.array(np.nan)}

    def shares(self, progress: float) -> tuple[float, float]:
        gamma = self._gamma(progress)
        return 1.0 / (1.0 + gamma), gamma / (1.0 + gamma)

    @property
    def weights(self) -> np.ndarray:
        return _softmax(self.log_base + self.state["omega"][self.codes].sum(axis=0))

    def update(self, progress: float, rows: np.ndarray, losses: np.ndarray) -> None:
        log_w = self.log_base[rows] + self.state["omega"][self.codes[:, rows]].sum(axis=0)
        if log_w.max() == -np.inf:  # weights of 0 alone: nothing to estimate, nothing to move
            return
        w, old = _softmax(log_w), float(self.state["centre"])
        F = float(w @ losses)  # this batch's estimate of F_w
        centre = F if np.isnan(old) else self.MEMORY * old + (1 - self.MEMORY) * F
        self.state["centre"] = np.array(centre)
        for codes in self.codes:
            logits, excess = _mean_by_code(codes[rows], losses - centre)
            self.state["omega"][logits] -= self.rate * self._gamma(progress) * excess

    def _gamma(self, progress: float) -> float:
        return self.gamma * min(1.0, 2.0 * progress)


class ClosedForm:
    """w = softmax(-l(theta) / tau_t), the minimiser of F_w + tau_t KL(w, uniform) (C08).

    l is each sample's loss when last seen; one not seen yet counts as the mean of the others.
    tau_t falls geometrically from `hot` to `cold` times the mean loss of the first batch.
    """

    value_function = follows = False

    def __init__(self, problem: Problem, gamma: float, hot: float, cold: float):
        self.groups, self.gamma, self.hot, self.cold = problem.groups, gamma, hot, cold
        seen = np.full(_count(problem), np.nan)
        self.state = {"losses": seen, "scale": np.array(np.nan), "tau": np.array(np.inf)}

    def shares(self, progress: float) -> tuple[float, float]:
        return 1.0 / (1.0 + self.gamma), self.gamma / (1.0 + self.gamma)

    @property
    def weights(self) -> np.ndarray:
        losses = self.state["losses"]
        seen = np.isfinite(losses)
        mean = losses[seen].mean() if seen.any() else 0.0
        return softmax(-np.where(seen, losses, mean) / float(self.state["tau"]), self.groups)

    def update(self, progress: float, rows: np.ndarray, losses: np.ndarray) -> None:
        if np.isnan(self.state["scale"]):
            self.state["scale"] = np.array(max(float(losses.mean()), 1e-300))
        tau = self.hot ** (1.0 - progress) * self.cold**progress
        self.state["tau"] = tau * self.state["scale"]
        codes = rows if self.groups is None else self.groups[rows]
        groups, means = _mean_by_code(codes, losses)
        self.state["losses"][groups] = means


def _softmax(omega: np.ndarray) -> np.ndarray:
    """`softmax` of NumPy logits, without finding out each time that they are."""
    e = np.exp(omega - omega.max())
    return e / e.sum()


def _count(problem: Problem) -> int:
    """The number of logits: samples, or groups."""
    return problem.N if problem.group_names is None else len(problem.group_names)


def _log_uniform(problem: Problem) -> np.ndarray:
    """log 1/N, or with groups of an equal mass for every group, (N,)."""
    G = _count(problem)
    return np.log(np.asarray(spread(np.full(G, 1.0 / G), problem.groups)))


def _mean_by_code(codes: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each code once, and the mean of its values."""
    counts = np.bincount(codes)
    each = np.flatnonzero(counts)
    return each, np.bincount(codes, weights=values)[each] / counts[each]
