"""Row spaces, null spaces and least squares of any rank, by NumPy and SciPy: a rank is decided in
float64 on the processor, whatever library the data are of.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import scipy.linalg


class RowSpace(NamedTuple):
    """Orthonormal bases of the row space (p, r) and of its complement (p, p - r).

    `condition` is that of the rows, scaled to length 1, on their row space: Z is off by about
    condition times eps.
    """

    V: np.ndarray
    Z: np.ndarray
    condition: float


def column_scale(*arrays: np.ndarray) -> np.ndarray:
    """The size of each column over all arrays, as a power of 2, (p,); 1 for a column of zeros."""
    ends = [(np.max(X, axis=0, initial=0.0), -np.min(X, axis=0, initial=0.0)) for X in arrays]
    size = np.max(ends, axis=(0, 1))
    exponents = np.round(np.log2(np.where(size > 0, size, 1.0)))
    return np.exp2(exponents).astype(arrays[0].dtype)


def row_space(X: np.ndarray) -> RowSpace:
    """Bases of the row space of X (n, p) and of its null space, by a singular value decomposition.

    Rows are first scaled to length 1: whether a row counts does not depend on its size. The rank
    counts singular values above max(n, p) eps times the largest.
    """
    n, p = X.shape
    length = np.max(np.abs(X), axis=1) if len(X) else np.zeros(0)
    X = X[length > 0] / length[length > 0, None]
    if len(X) == 0:
        return RowSpace(np.zeros((p, 0)), np.eye(p), 1.0)
    X = X / np.linalg.norm(X, axis=1, keepdims=True)
    if len(X) > p:  # X = Q R has the row space of R, which is only (p, p)
        X = np.asarray(np.linalg.qr(X, mode="r"))
    _, s, Vt = scipy.linalg.svd(X, full_matrices=True, check_finite=False)
    rank = int(np.sum(s > max(n, p) * np.finfo(X.dtype).eps * s[0]))
    return RowSpace(Vt[:rank].T, Vt[rank:].T, float(s[0] / s[rank - 1]))


def weighted_least_squares(
    X: np.ndarray, y: np.ndarray, w: np.ndarray
) -> tuple[Any, RowSpace, Any]:
    """(c, space, R) with theta = V c the minimum-norm minimiser of sum_i w_i (x_i.theta - y_i)^2.

    All w_i > 0, of any range: the rank comes from the unweighted rows (`row_space`), and the
    weighted system in the coordinates c, which then has full column rank, is solved by QR with
    column pivoting on rows sorted by size, which is stable row by row (Cox and Higham 1998). So no
    positive weight is lost to a tolerance. R: b -> (V'X'WXV)^-1 b, (r,) to (r,).
    """
    space = row_space(X)
    A = np.sqrt(w)[:, None] * (X @ space.V)
    b = np.sqrt(w) * y
    order = np.argsort(-np.max(np.abs(A), axis=1, initial=0.0), kind="stable")
    qr: Any = scipy.linalg.qr(A[order], mode="economic", pivoting=True, check_finite=False)
    Q, T, pivot = qr

    def gram_solve(g: np.ndarray) -> np.ndarray:
        u = scipy.linalg.solve_triangular(T, g[pivot], trans=1, check_finite=False)
        x = np.empty_like(g)
        x[pivot] = scipy.linalg.solve_triangular(T, u, check_finite=False)
        return x

    c = np.zeros(space.V.shape[1], dtype=X.dtype)
    if len(c):
        c[pivot] = scipy.linalg.solve_triangular(T, Q.T @ b[order], check_finite=False)
    return c, space, gram_solve


def least_norm(A: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The minimiser of ||A u - b|| of least norm, whatever the rank of A."""
    V = row_space(A).V
    if not V.shape[1]:
        return np.zeros(A.shape[1], dtype=A.dtype)
    return V @ np.linalg.lstsq(A @ V, b, rcond=None)[0]


def least_norm_beyond(space: RowSpace, X: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The minimiser of ||X Z u - b|| of least norm, Z = space.Z.

    Rows are scaled by ||x_i||, not by ||x_i' Z||: a row, or a direction, that Z hides from X is
    rounding in the computed product and must not be scaled up. The error of Z is about eps times
    `space.condition`, so directions seen by less than 100 max(n, p) of that count as hidden.
    """
    Z = space.Z
    size = np.linalg.norm(X, axis=1)
    A = X @ Z
    S = A[size > 0] / size[size > 0, None]
    if len(S) > S.shape[1]:
        S = np.asarray(np.linalg.qr(S, mode="r"))
    _, s, Vt = scipy.linalg.svd(S, full_matrices=False, check_finite=False)
    V = Vt[s > 100 * max(X.shape) * np.finfo(X.dtype).eps * space.condition].T
    if not V.shape[1]:
        return np.zeros(Z.shape[1], dtype=X.dtype)
    return V @ np.linalg.lstsq(A @ V, b, rcond=None)[0]
