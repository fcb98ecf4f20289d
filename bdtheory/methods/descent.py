"""What a training step is made of: batches without replacement, and AdamW with its schedule."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from ..models.training import Training

Theta = dict[str, torch.Tensor]
FLOOR = 0.1  # the learning rate at the end, as a share of the largest
WARM_UP = 0.05  # share of the steps in which it rises


class Batches:
    """Row numbers of batches: each sample at most once per pass, every pass in a new order.

    Without a size, or one of n and more, all rows in order: no randomness. The last batch of a pass
    is smaller than the others, or with `drop_last` is left out.
    """

    def __init__(self, n: int, size: int | None, drop_last: bool = True):
        self.n, self.size = n, n if size is None else min(size, n)
        self.least = self.size if drop_last else 1
        self.order, self.at = np.arange(n), n

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        if self.size == self.n:
            return self.order
        if self.n - self.at < self.least:
            self.order, self.at = rng.permutation(self.n), 0
        rows = self.order[self.at : self.at + self.size]
        self.at += len(rows)
        return rows


class Descent:
    """Parameters and their AdamW (Loshchilov and Hutter 2019): gradient in, parameters moved."""

    def __init__(self, theta: Theta, settings: Training):
        self.theta, self.settings = theta, settings
        self.adamw = torch.optim.AdamW(
            list(theta.values()),
            lr=settings.learning_rate,
            betas=(0.9, 0.95),
            weight_decay=settings.weight_decay,
            fused=True,
        )

    def step(self, gradient: Theta, progress: float) -> bool:
        """One step with the gradient clipped; False, and nothing moved, where it is not finite."""
        for name, parameter in self.theta.items():
            parameter.grad = gradient[name]
        norm = torch.nn.utils.clip_grad_norm_(self.theta.values(), self.settings.clip)
        if not math.isfinite(float(norm)):
            return False
        for group in self.adamw.param_groups:
            group["lr"] = self.settings.learning_rate * schedule(progress)
        self.adamw.step()
        return True

    def state(self) -> dict[str, np.ndarray]:
        """Parameters and moments as NumPy arrays, by name."""
        moments = self.adamw.state_dict()["state"]
        return {f"theta/{name}": _numpy(t) for name, t in self.theta.items()} | {
            f"adamw/{k}/{name}": _numpy(t) for k, s in moments.items() for name, t in s.items()
        }

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Continue from what `state` gave."""
        for name, t in self.theta.items():
            t.copy_(torch.from_numpy(state[f"theta/{name}"]))
        moments: dict[int, dict[str, torch.Tensor]] = {}
        for key, array in state.items():
            if key.startswith("adamw/"):
                _, k, what = key.split("/")
                moments.setdefault(int(k), {})[what] = torch.from_numpy(array)
        groups = self.adamw.state_dict()["param_groups"]
        self.adamw.load_state_dict({"state": moments, "param_groups": groups})


def schedule(progress: float) -> float:
    """The learning rate over its largest: linear warm-up, then a cosine down to `FLOOR`."""
    if progress < WARM_UP:
        return progress / WARM_UP
    along = (progress - WARM_UP) / (1.0 - WARM_UP)
    return FLOOR + (1.0 - FLOOR) * 0.5 * (1.0 + math.cos(math.pi * along))


def _numpy(t: Any) -> np.ndarray:
    return t.detach().cpu().numpy().copy()
