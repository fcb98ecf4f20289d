"""From selector logits omega to weights w on the simplex Delta_N, and how spread the weights are.

Every function takes and returns arrays of one namespace: NumPy in, NumPy out; torch in, torch out.
"""

from __future__ import annotations

import math

import numpy as np
from array_api_compat import array_namespace

from .problem import Array

# A softmax never gives an exact 0. Weights below this share of the largest are set to 0 before a
# re-fit (theory.md, "When mu = 0 ..."): the optimal set depends on which weights are positive.
NEGLIGIBLE = 1e-12


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
    xp = array_namespace(omega)
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
    xp = array_namespace(omega)
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
    xp = array_namespace(v)
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
    xp = array_namespace(w)
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
    xp, N = array_namespace(w), w.shape[0]
    if not 1 <= k <= N:
        raise ValueError(f"k is {k}; needed 1 <= k <= N = {N}; try k = {max(1, N // 2)}")
    order = xp.argsort(-w, stable=True)
    gate = xp.where(xp.arange(N, device=_device(w)) < k, 1.0 / k, 0.0)
    return xp.take(xp.astype(gate, w.dtype), xp.argsort(order, stable=True), axis=0)


def effective_sample_size(w: Array) -> float:
    """The number of equally weighted samples with the same sum of squares, (sum w)^2 / sum w^2.

    Between 1 (one sample has everything) and N (uniform), a number of samples. w : (N,), >= 0.

    Examples
    --------
    >>> import numpy as np
    >>> effective_sample_size(np.array([0.5, 0.5, 0.0]))
    2.0
    """
    xp = array_namespace(w)
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
    xp = array_namespace(w)
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
