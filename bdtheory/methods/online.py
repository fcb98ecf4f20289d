"""Weights of a round of self-refining: offline pairs beside responses that the model generated.

A round gives every pair a base weight. A method makes of them

    `Ratio`    base_j min(rho_j^(1/tau), clip),   rho_j = pi_theta / pi_old       (BMO; C08(b))
    `Mirror`   base_j exp(learned logits)                                         (Penalty)
    `Fixed`    base_j                                                             (baselines)

Offline pairs have no pi_old: `Ratio` leaves them at their base weight.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .parallel import Processes
from .selectors import State, in_one_process

LARGEST = math.log(np.finfo(np.float64).max)


@dataclass(frozen=True, eq=False)
class Round:
    """The pairs of one round, N of them, offline and generated.

    Attributes
    ----------
    base : weights to begin with (N,), >= 0, sum 1.
    questions : the question of every pair, int codes (N,).
    log_pi_old : log probability of each generated response under the model that gave it (N,); nan
        for an offline pair.
    """

    base: np.ndarray
    questions: np.ndarray
    log_pi_old: np.ndarray

    @property
    def generated(self) -> np.ndarray:
        """bool (N,), False for offline pairs."""
        return np.isfinite(self.log_pi_old)

    def codes(self, level: str) -> np.ndarray:
        """Which logits a pair has (levels, N): its question's, its own, or both added."""
        own = np.arange(len(self.base))
        if level == "response":
            return own[None]
        if level == "question":
            return self.questions[None]
        return np.stack([self.questions, own + self.questions.max() + 1])


class Ratio:
    """Importance ratios as closed-form weights: they follow theta at once, nothing is learned.

    At tau = 1 without a clip a generated response pushes nowhere in expectation, E_old[rho grad
    log pi] = 0; tau > 1 pulls back towards the model that generated, tau < 1 drives away from it
    (C08(b)). `grouped` keeps every question's mass as it was. The factors are those of
    `importance_weights`, without its checks and statistics, which would cost more than all else
    that is done to weights in a step.
    """

    value_function, follows = False, True

    def __init__(
        self, given: Round, gamma: float, *, tau: float, clip: float | None, grouped: bool
    ):
        self.gamma, self.tau = gamma, tau
        self.top = math.inf if clip is None else math.log(clip)
        self.rows = np.flatnonzero(given.generated)
        self.place = np.full(len(given.base), -1)
        self.place[self.rows] = np.arange(len(self.rows))
        self.groups = given.questions[self.rows] if grouped else None
        self.counts = np.bincount(given.questions[self.rows])
        self.old, self.base = given.log_pi_old[self.rows], given.base[self.rows]
        self.state: State = {"log_pi": self.old.copy()}
        self.count = len(self.rows)
        self.weights = given.base.copy()

    def divide(self, processes: Processes) -> None:
        """Raises ValueError: a round of refine is one process's."""
        raise in_one_process(processes)

    def at(self, rows: np.ndarray) -> np.ndarray:
        return self.weights[rows]

    def shares(self, progress: float) -> tuple[float, float]:
        return 1.0 / (1.0 + self.gamma), self.gamma / (1.0 + self.gamma)

    def update(self, progress: float, rows: np.ndarray, losses: np.ndarray) -> None:
        place = self.place[rows]
        online = place >= 0
        if online.any():
            self.state["log_pi"][place[online]] = -losses[online]
            log_rho = self.state["log_pi"] - self.old
            self.weights[self.rows] = self.base * self._factors(log_rho)

    def _factors(self, log_rho: np.ndarray) -> np.ndarray:
        """min(rho^(1/tau), clip) from log rho (k,); grouped with mean 1 in each question."""
        log_w = np.minimum(log_rho / self.tau, self.top)
        if self.groups is None:
            return _exp(log_w)
        peak = np.full(int(self.groups.max()) + 1, -math.inf)
        np.maximum.at(peak, self.groups, log_w)
        e = np.exp(log_w - peak[self.groups])  # at most 1: no overflow, and a sum of at least 1
        mean = np.bincount(self.groups, weights=e) / np.maximum(self.counts, 1)
        return e / mean[self.groups]


def _exp(log_w: np.ndarray) -> np.ndarray:
    """exp, or a ValueError where it would overflow."""
    if (largest := float(log_w.max())) > LARGEST:
        raise ValueError(
            f"the largest log ratio over tau is {largest:.6g}; needed at most {LARGEST:.6g}; "
            "try BMO(clip=10.0), grouped=True, or a larger tau"
        )
    return np.exp(log_w)
