"""Weights that move while theta is trained: the selectors of the single-loop methods.

One joint step, of theta by a gradient and of w beside it (theory.md, C06 and C08):

    theta descends   L_val(theta) + gamma_t F_w(theta)
    w     descends   gamma_t F_w(theta)                     `Mirror`
    or     equals    softmax(-l(theta) / tau_t)             `ClosedForm`
    or     stays                                            `Fixed`: the baselines

A selector works on NumPy float64, whatever theta is, and sees the losses of a batch at a time.
`progress` is the share of the run that is done, 0 to 1. Where several processes train together
(`parallel`), each keeps and moves the logits that are its own.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from ..problem import Problem
from ..weights import softmax, spread
from .parallel import Processes, masses_at

State = dict[str, np.ndarray]


class Selector(Protocol):
    """What the training loop needs. `weights` (N,) is on the simplex; `state` is all that moves,
    its arrays with an entry for each logit that this process has, of `count` in all."""

    value_function: bool  # whether losses are to be less those of phi, trained on F_w alone
    follows: bool  # whether w is a function of theta, taken at the losses of the same pass
    state: State
    count: int

    @property
    def weights(self) -> np.ndarray: ...

    def divide(self, processes: Processes) -> None:
        """Keep this process's part of the logits only."""
        ...

    def at(self, rows: np.ndarray) -> np.ndarray:
        """The weights of these samples (b,)."""
        ...

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
        self.count = problem.N

    def divide(self, processes: Processes) -> None:
        pass

    def at(self, rows: np.ndarray) -> np.ndarray:
        return self.weights[rows]

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
        self.count, self.processes, self.given = int(self.codes.max()) + 1, Processes(), base
        self.state = {"omega": np.zeros(self.count), "centre": np.array(np.nan)}

    def divide(self, processes: Processes) -> None:
        """Raises ValueError with weights to begin with, or two levels: these are `refine`'s."""
        if self.given is not None or len(self.codes) > 1:
            raise in_one_process(processes)
        self.processes = processes
        self.state["omega"] = processes.part(self.state["omega"])

    def shares(self, progress: float) -> tuple[float, float]:
        gamma = self._gamma(progress)
        return 1.0 / (1.0 + gamma), gamma / (1.0 + gamma)

    @property
    def weights(self) -> np.ndarray:
        omega = self.processes.whole(self.state["omega"], self.count)
        return _softmax(self.log_base + omega[self.codes].sum(axis=0))

    def at(self, rows: np.ndarray) -> np.ndarray:
        if self.processes.size == 1:
            return self.weights[rows]
        v = masses_at(self.processes, self.state["omega"], self.codes[0, rows])
        return v * self.count * np.exp(self.log_base[rows])  # 1 / (members of the group)

    def update(self, progress: float, rows: np.ndarray, losses: np.ndarray) -> None:
        omega = self.processes.at(self.state["omega"], self.codes[:, rows])
        log_w = self.log_base[rows] + omega.sum(axis=0)
        if log_w.max() == -np.inf:  # weights of 0 alone: nothing to estimate, nothing to move
            return
        w, old = _softmax(log_w), float(self.state["centre"])
        F = float(w @ losses)  # this batch's estimate of F_w
        centre = F if np.isnan(old) else self.MEMORY * old + (1 - self.MEMORY) * F
        self.state["centre"] = np.array(centre)
        for codes in self.codes:
            logits, excess = _mean_by_code(codes[rows], losses - centre)
            own = self.processes.mine(logits)
            step = self.rate * self._gamma(progress) * excess[own]
            self.state["omega"][logits[own] // self.processes.size] -= step

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
        self.count, self.processes = _count(problem), Processes()
        seen = np.full(self.count, np.nan)
        self.state = {"losses": seen, "scale": np.array(np.nan), "tau": np.array(np.inf)}

    def divide(self, processes: Processes) -> None:
        self.processes = processes
        self.state["losses"] = processes.part(self.state["losses"])

    def shares(self, progress: float) -> tuple[float, float]:
        return 1.0 / (1.0 + self.gamma), self.gamma / (1.0 + self.gamma)

    @property
    def weights(self) -> np.ndarray:
        losses = self.processes.whole(self.state["losses"], self.count)
        seen = np.isfinite(losses)
        mean = losses[seen].mean() if seen.any() else 0.0
        return softmax(-np.where(seen, losses, mean) / float(self.state["tau"]), self.groups)

    def at(self, rows: np.ndarray) -> np.ndarray:
        if self.processes.size == 1:
            return self.weights[rows]
        losses = self.state["losses"]
        seen = np.isfinite(losses)
        total, number = self.processes.sum([losses[seen].sum(), seen.sum()])
        z = -np.where(seen, losses, total / max(number, 1.0)) / float(self.state["tau"])
        codes = rows if self.groups is None else self.groups[rows]
        v = masses_at(self.processes, z, codes)
        return v if self.groups is None else v / np.bincount(self.groups)[codes]

    def update(self, progress: float, rows: np.ndarray, losses: np.ndarray) -> None:
        if np.isnan(self.state["scale"]):
            self.state["scale"] = np.array(max(float(losses.mean()), 1e-300))
        tau = self.hot ** (1.0 - progress) * self.cold**progress
        self.state["tau"] = tau * self.state["scale"]
        codes = rows if self.groups is None else self.groups[rows]
        groups, means = _mean_by_code(codes, losses)
        own = self.processes.mine(groups)
        self.state["losses"][groups[own] // self.processes.size] = means[own]


def in_one_process(processes: Processes) -> ValueError:
    """What a round of `refine` says to more than one."""
    return ValueError(
        f"got a round of refine in {processes.size} processes; needed one; try it without a "
        "launcher such as accelerate launch"
    )


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
