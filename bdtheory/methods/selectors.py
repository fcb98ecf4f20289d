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

    value_function: bool
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
    """Uniform weights that stay: L_val and F_w are mixed in the shares val : train."""

    value_function = False

    def __init__(self, problem: Problem, val: float, train: float):
        self._shares = val / (val + train), train / (val + train)
        self.weights = _uniform(problem)
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
    """

    MEMORY = 0.9  # of the running mean, per batch

    def __init__(self, problem: Problem, gamma: float, rate: float, value_function: bool):
        self.groups, self.gamma, self.rate = problem.groups, gamma, rate
        self.value_function = value_function
        self.state = {"omega": np.zeros(_count(problem)), "centre": np.array(np.nan)}

    def shares(self, progress: float) -> tuple[float, float]:
        gamma = self._gamma(progress)
        return 1.0 / (1.0 + gamma), gamma / (1.0 + gamma)

    @property
    def weights(self) -> np.ndarray:
        return softmax(self.state["omega"], self.groups)

    def update(self, progress: float, rows: np.ndarray, losses: np.ndarray) -> None:
        w, old = self.weights[rows], float(self.state["centre"])
        F = float(w @ losses / w.sum()) if w.any() else old  # this batch's estimate of F_w
        centre = F if np.isnan(old) else self.MEMORY * old + (1 - self.MEMORY) * F
        self.state["centre"] = np.array(centre)
        groups, excess = _by_group(self.groups, rows, losses - centre)
        self.state["omega"][groups] -= self.rate * self._gamma(progress) * excess

    def _gamma(self, progress: float) -> float:
        return self.gamma * min(1.0, 2.0 * progress)


class ClosedForm:
    """w = softmax(-l(theta) / tau_t), the minimiser of F_w + tau_t KL(w, uniform) (C08).

    l is each sample's loss when last seen; one not seen yet counts as the mean of the others.
    tau_t falls geometrically from `hot` to `cold` times the mean loss of the first batch.
    """

    value_function = False

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
        groups, means = _by_group(self.groups, rows, losses)
        self.state["losses"][groups] = means


def _count(problem: Problem) -> int:
    """The number of logits: samples, or groups."""
    return problem.N if problem.group_names is None else len(problem.group_names)


def _uniform(problem: Problem) -> np.ndarray:
    """1/N, or with groups an equal mass for every group, (N,)."""
    G = _count(problem)
    return np.asarray(spread(np.full(G, 1.0 / G), problem.groups))


def _by_group(groups: np.ndarray | None, rows: np.ndarray, values: np.ndarray):
    """The logits that the rows belong to, each once, and the mean of the values of each."""
    if groups is None:
        return rows, values
    codes, place = np.unique(groups[rows], return_inverse=True)
    return codes, np.bincount(place, weights=values) / np.bincount(place)
