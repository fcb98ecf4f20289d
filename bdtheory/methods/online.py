"""Weights of a round of self-refining: offline pairs beside responses that the model generated.

A round gives every pair a base weight. A method makes of them

    `Ratio`    base_j min(rho_j^(1/tau), clip),   rho_j = pi_theta / pi_old       (BMO; C08(b))
    `Mirror`   base_j exp(learned logits)                                         (Penalty)
    `Fixed`    base_j                                                             (baselines)

Offline pairs have no pi_old: `Ratio` leaves them at their base weight.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..ratios import importance_weights
from .selectors import State


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
    (C08(b)). `grouped` keeps every question's mass as it was.
    """

    value_function = False

    def __init__(
        self, given: Round, gamma: float, *, tau: float, clip: float | None, grouped: bool
    ):
        self.given, self.gamma, self.tau, self.clip = given, gamma, tau, clip
        self.rows = np.flatnonzero(given.generated)
        self.place = np.full(len(given.base), -1)
        self.place[self.rows] = np.arange(len(self.rows))
        self.groups = given.questions[self.rows] if grouped else None
        old = given.log_pi_old[self.rows]
        self.state: State = {"log_pi": old.copy()}
        self.old, self.weights = old, given.base.copy()

    def shares(self, progress: float) -> tuple[float, float]:
        return 1.0 / (1.0 + self.gamma), self.gamma / (1.0 + self.gamma)

    def update(self, progress: float, rows: np.ndarray, losses: np.ndarray) -> None:
        place = self.place[rows]
        self.state["log_pi"][place[place >= 0]] = -losses[place >= 0]
        if len(self.rows):
            factors = self.ratios().weights
            self.weights[self.rows] = self.given.base[self.rows] * factors

    def ratios(self):
        """`ImportanceWeights` of the generated responses, as last seen."""
        log_pi = self.state["log_pi"]
        return importance_weights(
            log_pi, self.old, tau=self.tau, clip=self.clip, groups=self.groups
        )
