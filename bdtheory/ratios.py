"""Importance ratios rho = pi_theta / pi_old: closed-form weights for responses of an older model.

    E_old[rho f] = E_theta[f]   unclipped, unnormalised, tau = 1, pi_old > 0 wherever pi_theta > 0

Tempered, rho^(1/tau) is softmax(-l/tau) up to a factor, with l_i(theta) - l_i(theta_old) for l_i
(C08). Every other setting is biased: by clipping, by O(1/M) for M responses a group normalised
among themselves, by tempering, by responses that pi_old never gives.
NumPy in, NumPy out, and so for any library of the array API standard that `numpy.asarray` reads;
torch in, torch out, and torch gradients flow through.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from array_api_compat import array_namespace, device, is_array_api_obj, is_torch_array

from .models.checks import check_number
from .problem import Array, group_codes, refuse_masked
from .selection import to_numpy
from .weights import effective_sample_size


class ImportanceWeights(NamedTuple):
    """Weights for responses drawn from pi_old, and how far an average with them can be trusted.

    weights : (n,), rho^(1/tau), at most `clip`; with groups divided by their group's mean.
    ess : effective sample size (sum w)^2 / sum w^2, between 1 and n.
    variance : estimated variance of the mean weight, sum (w - mean)^2 / (n (n - 1)); nan for n = 1.
        Unclipped at tau = 1 that mean estimates E_old[rho] = 1. With groups the mean is 1 always,
        and this is the variance that normalisation took away.
    clipped_share : the share of the n weights that `clip` lowered, in [0, 1].
    """

    weights: Array
    ess: float
    variance: float
    clipped_share: float


class Estimate(NamedTuple):
    """An average and its standard error, shaped alike."""

    value: Array
    standard_error: Array


def importance_weights(
    log_pi: Array,
    log_pi_old: Array,
    *,
    tau: float = 1.0,
    clip: float | None = None,
    groups: Any = None,
) -> ImportanceWeights:
    """w_i = min(rho_i^(1/tau), clip), rho_i = exp(log_pi_i - log_pi_old_i), taken in logarithms.

    Parameters
    ----------
    log_pi, log_pi_old : (n,), log probabilities (or densities) of response i under the model now
        and under the one that drew it, in nats. log_pi may be -inf: the weight is 0.
    tau : temperature > 0, dimensionless. 1 is the importance ratio itself.
    clip : the largest weight > 0, before normalisation; None for no limit.
    groups : one label per response (n,), such as its question; None for no normalisation. The
        weights of a group then have mean 1, so that (1/n) sum w f stays an estimate of a mean.

    Raises
    ------
    ValueError : for shapes that differ, a NaN or infinite entry, tau <= 0, clip <= 0, a group whose
        ratios are all 0, a group label that is missing, and a ratio too large for the dtype.

    Examples
    --------
    >>> import numpy as np
    >>> log_pi, log_pi_old = np.log([0.5, 0.25, 0.25]), np.log([0.25, 0.25, 0.5])
    >>> importance_weights(log_pi, log_pi_old).weights.round(12).tolist()
    [2.0, 1.0, 0.5]
    >>> clipped = importance_weights(log_pi, log_pi_old, clip=1.0, groups=[7, 7, 7])
    >>> clipped.weights.round(12).tolist(), round(clipped.clipped_share, 12)
    ([1.2, 1.2, 0.6], 0.333333333333)
    """
    log_w, clipped_share = _clipped(_log_ratios(log_pi, log_pi_old), tau, clip)
    w = _exp(log_w) if groups is None else _normalised(log_w, groups)
    flat = to_numpy(w).astype(np.float64)
    ess = effective_sample_size(flat) if flat.any() else 0.0
    return ImportanceWeights(w, ess, _variance_of_mean(flat), clipped_share)


def reweighted_mean(f: Array, log_pi: Array, log_pi_old: Array) -> Estimate:
    """(1/n) sum_i rho_i f_i, whose expectation over draws from pi_old is E_theta[f], exactly.

    Neither clipped nor normalised nor tempered. The standard error is that of a mean of n
    independent draws, sqrt(sum (rho f - mean)^2 / (n (n - 1))); nan for n = 1. It says nothing of
    responses that pi_old never gives: those are missing, E_theta[f; missed], without a trace.

    Parameters
    ----------
    f : (n,) or (n, ...), a number or an array for each response, finite.
    log_pi, log_pi_old : (n,), see `importance_weights`.

    Examples
    --------
    >>> import numpy as np
    >>> mean = reweighted_mean(np.array([1.0, 3.0]), np.log([0.5, 0.5]), np.log([0.5, 1.0]))
    >>> float(mean.value), float(mean.standard_error)
    (1.25, 0.25)
    """
    log_rho = _log_ratios(log_pi, log_pi_old)
    refuse_masked(f, "the values of f")
    xp, n = array_namespace(log_rho), log_rho.shape[0]
    f = _like(f, log_rho)
    if f.ndim < 1 or f.shape[0] != n:
        raise ValueError(
            f"f has shape {tuple(f.shape)}; needed one entry per response, ({n}, ...); "
            "try f.reshape(n, -1)"
        )
    _refuse(f, ~xp.isfinite(f), "f", "finite numbers")
    terms = xp.reshape(_exp(log_rho), (n,) + (1,) * (f.ndim - 1)) * f
    mean = xp.mean(terms, axis=0)
    if n == 1:
        return Estimate(mean, xp.full_like(mean, math.nan))
    return Estimate(mean, xp.sqrt(xp.sum((terms - mean) ** 2, axis=0) / (n * (n - 1))))


def _like(a: Any, b: Array) -> Array:
    """a as an array of b's library, dtype and device; a tensor keeps its gradient."""
    if is_torch_array(a) and is_torch_array(b):
        return a.to(b)
    return array_namespace(b).asarray(a, dtype=b.dtype, device=device(b))


def _log_ratios(log_pi: Array, log_pi_old: Array) -> Array:
    """log rho (n,), checked; -inf where pi_theta = 0."""
    refuse_masked(log_pi, "the numbers of log_pi")
    refuse_masked(log_pi_old, "the numbers of log_pi_old")
    log_pi = log_pi if is_array_api_obj(log_pi) else np.asarray(log_pi)
    xp = array_namespace(log_pi)
    if log_pi.dtype not in (xp.float32, xp.float64):
        log_pi = xp.astype(log_pi, xp.float64)
    log_pi_old = _like(log_pi_old, log_pi)
    shapes = tuple(log_pi.shape), tuple(log_pi_old.shape)
    if shapes[0] != shapes[1] or len(shapes[0]) != 1 or shapes[0] == (0,):
        raise ValueError(
            f"log_pi has shape {shapes[0]} and log_pi_old {shapes[1]}; needed one number per "
            "response in both, (n,) with n >= 1; try the sum over the tokens of each response"
        )
    _refuse(log_pi, ~(log_pi < math.inf), "log_pi", "finite log probabilities, or -inf")
    needed = "finite log probabilities: a response that was drawn has pi_old > 0"
    _refuse(log_pi_old, ~xp.isfinite(log_pi_old), "log_pi_old", needed)
    return log_pi - log_pi_old


def _refuse(a: Array, bad: Array, name: str, needed: str) -> None:
    """A ValueError that names the first bad entry of a, if there is one."""
    wrong = np.argwhere(to_numpy(bad))
    if len(wrong):
        value = to_numpy(a)[tuple(wrong[0])]
        raise ValueError(
            f"{name} has {value} at row {wrong[0][0]}; needed {needed}; try dropping that response"
        )


def _clipped(log_rho: Array, tau: float, clip: float | None) -> tuple[Array, float]:
    """min(log rho / tau, log clip), and the share of entries that this lowered."""
    check_number(tau, "tau", least=0.0, strict=True, try_="tau=1.0")
    log_w = log_rho / tau
    if clip is None:
        return log_w, 0.0
    check_number(clip, "clip", least=0.0, strict=True, try_="clip=10.0, or None for no limit")
    xp, top = array_namespace(log_w), math.log(clip)
    above = log_w > top
    return xp.where(above, xp.full_like(log_w, top), log_w), float(np.mean(to_numpy(above)))


def _exp(log_w: Array) -> Array:
    """exp, or a ValueError where it would overflow."""
    xp = array_namespace(log_w)
    most, largest = math.log(float(xp.finfo(log_w.dtype).max)), float(to_numpy(log_w).max())
    if largest > most:
        raise ValueError(
            f"the largest log ratio over tau is {largest:.6g}; needed at most {most:.6g} to be a "
            f"{log_w.dtype}; try clip=10.0, groups, or a larger tau"
        )
    return xp.exp(log_w)


def _normalised(log_w: Array, groups: Any) -> Array:
    """n_g exp(log_w_i) / sum over i's group g: mean 1 in each group, without overflow."""
    xp, (n,) = array_namespace(log_w), log_w.shape
    codes, names = group_codes(groups, n, "response")
    peak = np.full(len(names), -math.inf)
    np.maximum.at(peak, codes, to_numpy(log_w))
    if np.any(empty := peak == -math.inf):
        raise ValueError(
            f"all ratios of group {names[np.argmax(empty)]} are 0; needed one response with "
            "pi_theta > 0 in each group; try dropping that group"
        )
    e = xp.exp(log_w - _like(peak[codes], log_w))
    return e / _own_group_sum(e, codes) * _like(np.bincount(codes)[codes], e)


def _own_group_sum(e: Array, codes: np.ndarray) -> Array:
    """The sum of e (n,) over the group of each entry, (n,)."""
    if is_torch_array(e):
        index = array_namespace(e).asarray(codes, device=device(e))
        return e.new_zeros(int(codes.max()) + 1).index_add(0, index, e)[index]
    return _like(np.bincount(codes, weights=to_numpy(e))[codes], e)


@np.errstate(over="ignore")  # weights above 1e154 have a variance of inf, and that is the answer
def _variance_of_mean(w: np.ndarray) -> float:
    """sum (w - mean)^2 / (n (n - 1)) for w (n,); nan for n = 1."""
    if len(w) == 1:
        return math.nan
    peak = np.max(w) if np.any(w) else np.float64(1.0)
    return float(np.var(w / peak, ddof=1) / len(w) * peak**2)
