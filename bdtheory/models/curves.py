"""Logistic losses as functions of the scores: values, slopes and curvature, binary and multinomial.

    binary       T_i = x_i.theta, (n,), y_i = -1 or +1:   l_i = log(1 + exp(-y_i T_i))
    multinomial  T_ki = x_i.theta_k, (K, n), y_i < K:      l_i = log sum_k exp(T_ki - T_{y_i} i)

Samples are the last axis, so that weights (n,), and T = theta X' with rows of theta for classes,
read the same for both, and sums over classes run along contiguous memory.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from array_api_compat import array_namespace, device

from ..problem import Array


class Curve(NamedTuple):
    """Losses l_i (n,); slopes dl_i/dT_i and probabilities, both shaped like the scores.

    Probabilities are s_i = sigmoid(-y_i T_i), of the wrong class, for two classes; P for more.
    """

    losses: Array
    slopes: Array
    P: Array


def curve(T: Array, y: Array) -> Curve:
    """l_i, dl_i/dT_i and probabilities at scores T; exact relative to each l_i in both tails.

    Examples
    --------
    >>> import numpy as np
    >>> curve(np.array([[800.0], [0.0]]), np.array([1])).losses.tolist()
    [800.0]
    """
    return _binary(T, y) if T.ndim == 1 else _multinomial(T, y)


def curvature(P: Array, D: Array) -> Array:
    """(d2 l_i / dT_i^2) D_i for directions D shaped like the scores.

    s (1 - s) D for two classes, (diag(P_i) - P_i P_i') D_i for more.
    """
    if P.ndim == 1:
        return P * (1 - P) * D
    return P * (D - array_namespace(P).sum(P * D, axis=0))


def margins(T: Array, y: Array) -> Array:
    """y_i T_i, or T_{y_i} - max of the others, (n,): positive exactly where y_i is predicted."""
    if T.ndim == 1:
        return y * T
    xp, own = array_namespace(T), _own(T, y)
    rival = xp.max(xp.where(own, -math.inf, T), axis=0)
    return xp.sum(xp.where(own, T, 0.0), axis=0) - rival


def _binary(T: Array, y: Array) -> Curve:
    xp = array_namespace(T)
    margin = y * T
    e = xp.exp(-xp.abs(margin))  # <= 1: no overflow
    zero = xp.zeros_like(margin)
    losses = xp.log1p(e) + xp.where(margin < 0, -margin, zero)
    s = xp.where(margin < 0, zero + 1, e) / (1 + e)
    return Curve(losses, -y * s, s)


def _multinomial(T: Array, y: Array) -> Curve:
    """l = log(others + e_y) + top - T_y, with e_k = exp(T_k - top), others their sum over k != y.

    Where y is on top, e_y = 1 exactly and log1p(others) keeps the relative precision of a tiny
    loss; the slope of y is -others / total for the same reason, and not P_y - 1.
    """
    xp, own = array_namespace(T), _own(T, y)
    top = xp.max(T, axis=0)
    e = xp.exp(T - top)
    behind = top - xp.sum(xp.where(own, T, 0.0), axis=0)
    e_y = xp.exp(-behind)
    others = xp.sum(xp.where(own, 0.0, e), axis=0)
    losses = xp.log1p(others + (e_y - 1)) + behind
    P = e / (others + e_y)
    return Curve(losses, xp.where(own, -others / (others + e_y), P), P)


def _own(T: Array, y: Array) -> Array:
    """(K, n) mask of each sample's own class."""
    return y == array_namespace(T).arange(T.shape[0], device=device(T))[:, None]
