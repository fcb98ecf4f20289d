"""From selector logits omega to weights w on the simplex Delta_N, and how spread the weights are.

Every function takes and returns arrays of one namespace: NumPy in, NumPy out; torch in, torch out;
and so for any library that keeps to the array API standard and that `numpy.asarray` reads.
"""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any

import numpy as np
from array_api_compat import array_namespace, is_torch_array

from .problem import Array, exact_array, refuse_masked

# A softmax never gives an exact 0. Weights below this share of the largest are set to 0 before a
# re-fit (theory.md, "When mu = 0 ..."): the optimal set depends on which weights are positive.
NEGLIGIBLE = 1e-12
LARGEST = float(np.finfo(np.float64).max)


def softmax(omega: Array, groups: Array | None = None) -> Array:
    """Weights w_i = exp(omega_i) / sum_j exp(omega_j), on the simplex.

    Parameters
    ----------
    omega : selector logits (N,), dimensionless; with `groups`, one logit per group (G,).
    groups : integer group codes 0..G-1 (N,), optional. A group's mass, softmax(omega)[g], is then
        split evenly among its samples, so that sum_i w_i = 1.

    Returns
    -------
    w : (N,), non-negative, sum 1.

    Examples
    --------
    >>> import numpy as np
    >>> softmax(np.array([0.0, 0.0, np.log(2.0)])).tolist()
    [0.25, 0.25, 0.5]
    >>> softmax(np.zeros(2), groups=np.array([0, 0, 1])).tolist()
    [0.25, 0.25, 0.5]
    """
    xp = _library(omega)
    e = xp.exp(omega - xp.max(omega))
    return spread(e / xp.sum(e), groups)


def sigmoid(omega: Array, groups: Array | None = None) -> Array:
    """Weights w_i = s(omega_i) / sum_j s(omega_j) with s the logistic function, on the simplex.

    A sample's raw score s(omega_i) does not depend on the other logits, so keeping one sample
    costs another one nothing until the scores are normalised. `omega` and `groups` as for
    `softmax`, (N,) or with `groups` (G,) and (N,); w (N,) comes out.

    Examples
    --------
    >>> import numpy as np
    >>> sigmoid(np.zeros(4)).tolist()
    [0.25, 0.25, 0.25, 0.25]
    """
    xp = _library(omega)
    log_s = -xp.logaddexp(xp.zeros_like(omega), -omega)
    return softmax(log_s, groups)  # s_i / sum s_j, computed in logarithms: no overflow, no 0/0


def spread(v: Array, groups: Array | None) -> Array:
    """Each group's mass v_g split evenly among its samples: w_i = v_g(i) / n_g(i), (N,).

    v : masses (G,), dimensionless. groups : codes 0..G-1 (N,); None returns v itself. Raises
    ValueError where a group has no sample.

    Examples
    --------
    >>> import numpy as np
    >>> spread(np.array([0.5, 0.5]), np.array([0, 0, 1])).tolist()
    [0.25, 0.25, 0.5]
    """
    if groups is None:
        return v
    xp = _library(v)
    counts = np.bincount(np.asarray(groups), minlength=v.shape[0])
    if not counts.all():
        raise ValueError(
            f"group {int(np.argmin(counts))} has no sample; needed {v.shape[0]} non-empty groups; "
            "try codes 0..G-1 without gaps and one logit per group"
        )
    codes = xp.asarray(groups, device=_device(v))
    share = v / xp.asarray(counts, dtype=v.dtype, device=_device(v))
    return xp.take(share, codes, axis=0)


def gather(g: np.ndarray, groups: np.ndarray | None) -> np.ndarray:
    """Gradient for group masses v from the gradient for samples: dL/dv_g = mean of g over group g.

    The transpose of `spread`. g : (N,) NumPy, in units of the loss. groups : codes 0..G-1 (N,), or
    None. Returns (G,), or g itself without groups.

    Examples
    --------
    >>> import numpy as np
    >>> gather(np.array([1.0, 3.0, 5.0]), np.array([0, 0, 1])).tolist()
    [2.0, 5.0]
    """
    if groups is None:
        return g
    return np.bincount(groups, weights=g) / np.bincount(groups)


def drop_negligible(w: Array, floor: float = NEGLIGIBLE) -> Array:
    """Weights with everything below floor * max(w) set to exactly 0, renormalised to sum 1.

    w : (N,), non-negative. floor : a share of the largest weight, dimensionless.

    Examples
    --------
    >>> import numpy as np
    >>> drop_negligible(np.array([0.5, 0.5, 1e-13])).tolist()
    [0.5, 0.5, 0.0]
    """
    xp = _library(w)
    w = xp.where(w >= floor * xp.max(w), w, xp.zeros_like(w))
    return w / xp.sum(w)


def top_k(w: Array, k: int) -> Array:
    """Uniform weights on the k samples of largest weight (ties: the earlier sample), 0 elsewhere.

    w : (N,). k : how many, 1 to N. Raises ValueError for another k.

    Examples
    --------
    >>> import numpy as np
    >>> top_k(np.array([0.1, 0.6, 0.3]), 2).tolist()
    [0.0, 0.5, 0.5]
    """
    xp, N = _library(w), w.shape[0]
    if not 1 <= k <= N:
        raise ValueError(f"k is {k}; needed 1 <= k <= N = {N}; try k = {max(1, N // 2)}")
    order = xp.argsort(-w, stable=True)
    gate = xp.astype(xp.arange(N, device=_device(w)) < k, w.dtype) / k
    return xp.take(gate, xp.argsort(order, stable=True), axis=0)


def count_of(k: int | float, N: int) -> int:
    """How many of N rows `k` asks for: so many, or a share of them, rounded and at least one.

    k : an int from 1 to N, or a float, a share in (0, 1]. N : rows, at least 1. Raises ValueError
    for another k.

    Examples
    --------
    >>> count_of(3, 10), count_of(0.25, 10), count_of(0.01, 10), count_of(1.0, 10), count_of(1, 10)
    (3, 2, 1, 10, 1)
    """
    number = isinstance(k, Real) and not isinstance(k, bool | np.bool_)
    if number and isinstance(k, Integral) and 1 <= k <= N:
        return int(k)
    if number and not isinstance(k, Integral) and 0.0 < k <= 1.0:
        return max(1, round(float(k) * N))
    raise ValueError(
        f"got {k!r} for the rows to take; needed a whole number from 1 to N = {N}, or a share in "
        "(0, 1] as a float; try 0.5"
    )


def top_scores(scores: Array, k: int | float, low: bool = False) -> Array:
    """Equal weights, sum 1, on the rows of highest score, 0 elsewhere: what another tool keeps.

    Parameters
    ----------
    scores : (N,), finite, one per training row, in any unit; equal ones count from the first row.
    k : how many rows, an int, or which share of them, a float in (0, 1]; see `count_of`.
    low : whether the lowest scores are the best, as of perplexities.

    Raises ValueError for scores that are not (N,) finite numbers, and for another k.

    Examples
    --------
    >>> top_scores([0.1, 0.7, 0.2, 0.9], 0.5).tolist()
    [0.0, 0.5, 0.0, 0.5]
    >>> top_scores([5.0, 3.0, 4.0], 1, low=True).tolist()
    [0.0, 1.0, 0.0]
    """
    refuse_masked(scores, "scores")
    values = _numbers(scores)
    xp = _library(values)
    if values.ndim != 1 or not values.shape[0]:
        raise ValueError(
            f"scores have shape {tuple(values.shape)}; needed one number per training row, (N,); "
            "try scores.reshape(-1)"
        )
    finite = xp.isfinite(values)
    if not bool(xp.all(finite)):
        row = int(xp.argmin(xp.astype(finite, xp.int8)))
        raise ValueError(
            f"scores have {float(values[row])} at row {row} (counted from 0); needed finite "
            "numbers; try a score below all others for rows that have none"
        )
    return top_k(-values if low else values, count_of(k, values.shape[0]))


def _numbers(scores: Array) -> Array:
    """A tensor of floats as it is, anything else as floats; of whole numbers their ranks.

    Ranks, because float64 would merge whole numbers beyond 2^53.
    """
    if is_torch_array(scores):
        if scores.dtype.is_floating_point:
            return scores
        xp = _library(scores)
        ranks = _numbers(scores.cpu().numpy())
        return xp.asarray(ranks, dtype=xp.float64, device=_device(scores))
    try:
        values = exact_array(scores)
        kind = values.dtype.kind
        if kind in "iu" or (kind == "O" and all(type(v) is int for v in values.flat)):
            return np.unique(values, return_inverse=True)[1].astype(np.float64)
        return np.asarray(scores, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"scores are not numbers ({error}); needed one per training row, (N,); try "
            "numpy.asarray(scores, dtype=float)"
        ) from None


def effective_sample_size(w: Array) -> float:
    """The number of equally weighted samples with the same sum of squares, (sum w)^2 / sum w^2.

    Between 1 (one sample has everything) and N (uniform), a number of samples. w : (N,), >= 0.

    Examples
    --------
    >>> import numpy as np
    >>> effective_sample_size(np.array([0.5, 0.5, 0.0]))
    2.0
    """
    xp = _library(w)
    share = w / xp.max(w)  # first, so that squares of weights near 1e-200 do not underflow
    return float(xp.sum(share)) ** 2 / float(xp.sum(share * share))


def entropy(w: Array) -> float:
    """Shannon entropy -sum w_i log w_i of weights that sum to 1, in nats; 0 log 0 = 0.

    exp(entropy) is the effective number of samples in the sense of C11. w : (N,), sum 1.

    Examples
    --------
    >>> import numpy as np
    >>> round(float(entropy(np.full(8, 1 / 8)) / np.log(2)), 12)
    3.0
    """
    xp = _library(w)
    positive = w > 0
    return -float(xp.sum(w * xp.log(xp.where(positive, w, xp.ones_like(w))))) + 0.0


def auc(w: np.ndarray, clean: np.ndarray) -> float:
    """Probability that a clean sample outweighs a bad one, ties counting one half.

    The area under the ROC curve of the weights `w` (N,) as a detector of `clean` (N,) bool; nan
    where all samples are clean, or none is.

    Examples
    --------
    >>> import numpy as np
    >>> auc(np.array([0.5, 0.3, 0.2]), np.array([True, True, False]))
    1.0
    """
    from scipy.stats import rankdata

    w, clean = np.asarray(w), np.asarray(clean, dtype=bool)
    n_clean, n_bad = int(clean.sum()), int((~clean).sum())
    if n_clean == 0 or n_bad == 0:
        return math.nan
    ranks = rankdata(w)  # Mann-Whitney: AUC = (sum of clean ranks - n(n+1)/2) / (n_clean n_bad)
    return float((ranks[clean].sum() - n_clean * (n_clean + 1) / 2) / (n_clean * n_bad))


def _device(w: Array):
    from array_api_compat import device

    return device(w)


def mean_one(weights: Any, N: int | None = None) -> np.ndarray:
    """Weights (N,) that somebody gives, as NumPy float64 of mean 1. Their scale has no meaning.

    weights : a list, an array or a tensor of finite numbers >= 0, dimensionless, not all 0, or a
    mask; `Selection.weights` have sum 1, those of weighted.jsonl mean 1. N : how many are needed.
    Raises ValueError, in one sentence, for others.

    Examples
    --------
    >>> mean_one([1.0, 3.0]).tolist()
    [0.5, 1.5]
    """
    refuse_masked(weights, "weights")
    try:
        w: Any = np.asarray(weights.detach().cpu().double() if is_torch_array(weights) else weights)
    except (TypeError, ValueError):  # rows of different lengths
        w = np.empty(())
    if w.ndim != 1 or not len(w):
        what = f"shape {w.shape}" if w.ndim else f"type {type(weights).__name__}, no row of numbers"
        raise ValueError(
            f"got weights of {what}; needed numbers (N,), one a row; try Selection.weights"
        )
    if N is not None and len(w) != N:
        raise ValueError(
            f"got {len(w)} weights; needed {N}, one for each row; "
            "try the weights of this very data set, in its order"
        )
    w = w.astype(np.float64) if w.dtype == np.bool_ else w  # a mask
    w = np.array([_number(value, row) for row, value in enumerate(w.tolist())])
    if not w.any():
        raise ValueError(
            "got weights that are all 0; needed at least one > 0; "
            "try the selection again with a lower rate, or numpy.ones(N)"
        )
    w /= w.max()  # first, so that the sum neither overflows nor is lost
    return w / w.mean()


def _number(value: Any, row: int) -> float:
    """A weight as a float; rows are counted from 0."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if number and 0 <= value <= LARGEST:
        return float(value)
    raise ValueError(
        f"got the weight {value!r:.40} in row {row}, counted from 0; needed a finite number >= 0; "
        "try weights as bdtheory select writes them, or top_scores for scores"
    )


def _library(a: Any) -> Any:
    """The functions of the array's library. TypeError for a list, which has none."""
    try:
        return array_namespace(a)
    except TypeError:
        raise TypeError(
            f"got {type(a).__name__}; needed an array of NumPy or of torch; try numpy.asarray of it"
        ) from None
