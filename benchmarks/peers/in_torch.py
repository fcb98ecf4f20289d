"""The two levels in torch, for torchopt and betty. float64, one thread."""
# pyright: reportMissingImports=false

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from .exchange import Arrays

torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)


def losses(kind: str, theta: Any, X: Any, y: Any) -> Any:
    """l_i(theta), (n,)."""
    T = X @ theta
    if kind == "squared":
        return 0.5 * (T - y) ** 2
    if kind == "binary":
        return F.softplus(-y * T)
    return F.cross_entropy(T, y.long(), reduction="none")


class Levels:
    """F_w and L_val on tensors."""

    def __init__(self, arrays: Arrays):
        self.arrays, self.kind, self.mu = arrays, arrays.kind, arrays.mu
        self.X, self.y = torch.as_tensor(arrays.X), torch.as_tensor(arrays.y)
        self.X_val, self.y_val = torch.as_tensor(arrays.X_val), torch.as_tensor(arrays.y_val)
        self.codes, self.counts = torch.as_tensor(arrays.codes), torch.as_tensor(arrays.counts)

    def lower(self, theta: Any, omega: Any) -> Any:
        """F_w(theta) with the ridge, at w = softmax(omega) spread over the groups."""
        w = (torch.softmax(omega, 0) / self.counts)[self.codes]
        return w @ losses(self.kind, theta, self.X, self.y) + 0.5 * self.mu * torch.sum(theta**2)

    def upper(self, theta: Any) -> Any:
        """L_val(theta)."""
        return losses(self.kind, theta, self.X_val, self.y_val).mean()
