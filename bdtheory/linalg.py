"""The few factorisations: NumPy through SciPy's LAPACK, torch through torch.linalg.

Only what the models need: sums over rows in blocks, a Cholesky factor with a safe fallback, a
preconditioned conjugate gradient method. What needs a rank is in `rowspace`.
"""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, NamedTuple

import numpy as np
import scipy.linalg
from array_api_compat import array_namespace, device, is_numpy_array, is_torch_array

from .problem import Array

# Below this many entries of X one BLAS thread is fastest: on two busy cores, two threads were
# seen to take several times as long on the digits.
SMALL = 20_000_000

# Entries of X in one block of rows: 4 MB in float64. Small next to data that fill the memory, large
# next to the overhead of a call; a graphics card needs more at a time to be busy.
ENTRIES = 2**19
ENTRIES_ON_DEVICE = 2**26
ROWS = 2**14  # at most: float32 adds up more rows than this with a visible error


@functools.cache
def _threadpools(with_torch: bool) -> Any:
    """The thread pools of the libraries loaded so far; once before torch came in, once after."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def few_threads(entries: int, small: int = SMALL) -> AbstractContextManager:
    """One BLAS and OpenMP thread while a small problem is solved; leaves large ones alone."""
    if entries > small:
        return nullcontext()
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.get_num_threads()  # a thread's first use of torch would undo the limit
    return _threadpools(torch is not None).limit(limits=1)


Solve = Callable[[Array], Array]


@contextmanager
def unless_singular() -> Iterator[None]:
    """Goes on behind the block where a matrix cannot be factorised."""
    try:
        yield
    except Exception as error:  # each library has its own LinAlgError
        if "LinAlgError" not in type(error).__name__:
            raise


def inverse_spd(H: Array) -> Array | None:
    """H^-1 (p, p) through a Cholesky factor, or None where H is not positive definite to rounding.

    An explicit inverse is less exact than `solve_spd`, and several times faster to apply: a matter
    for preconditioners.
    """
    if is_numpy_array(H):
        potrf, potri = scipy.linalg.get_lapack_funcs(("potrf", "potri"), (H,))
        L, failed = potrf(H, lower=True, clean=True)
        if failed:
            return None
        half, failed = potri(L, lower=True)
        return None if failed else half + np.tril(half, -1).T
    xp = array_namespace(H)
    with unless_singular():
        L = xp.linalg.cholesky(H)
        if is_torch_array(H):
            import torch

            return torch.cholesky_inverse(L)
        return xp.linalg.inv(H)
    return None


def solve_spd(H: Array) -> Solve:
    """b -> H^-1 b for a symmetric positive (semi-)definite H (p, p); b is (p,) or (p, k).

    Cholesky. Where H is singular to rounding, the pseudo-inverse through the eigenvalues instead:
    then b -> H^+ b, the minimum-norm solution of the consistent system.
    """
    with unless_singular():
        if is_numpy_array(H):
            factor = scipy.linalg.cho_factor(H, lower=True, check_finite=False)
            return lambda b: scipy.linalg.cho_solve(factor, b, check_finite=False)
        xp = array_namespace(H)
        L = xp.linalg.cholesky(H)
        return lambda b: _cholesky_solve(L, b)
    return _solve_semidefinite(H)


def solve_general(M: Array) -> Solve:
    """b -> M^-1 b by LU; by the pseudo-inverse where a pivot is exactly 0.

    That happens where a ridge is lost beside much larger entries; what comes out is then as good as
    its residual, which the caller has to look at.
    """
    xp = array_namespace(M)
    if is_numpy_array(M):
        (getrf,) = scipy.linalg.get_lapack_funcs(("getrf",), (M,))
        lu, pivots, info = getrf(M)  # as lu_factor does, but without its warning
        if info == 0:
            return lambda b: scipy.linalg.lu_solve((lu, pivots), b, check_finite=False)
    elif is_torch_array(M):
        import torch

        LU, pivots, info = torch.linalg.lu_factor_ex(M)
        if not int(info):
            return lambda b: torch.linalg.lu_solve(LU, pivots, b[:, None])[:, 0]
    else:
        with unless_singular():
            xp.linalg.solve(M, xp.ones_like(M[:, :1]))
            return lambda b: xp.linalg.solve(M, b[:, None])[:, 0]
    inverse = xp.linalg.pinv(M)
    return lambda b: inverse @ b


def _cholesky_solve(L: Array, b: Array) -> Array:
    xp, column = array_namespace(L), b.ndim == 1
    B = b[:, None] if column else b
    if is_torch_array(L):
        import torch

        x = torch.cholesky_solve(B, L)
    else:  # any other array-API library: two general solves, correct though not fast
        x = xp.linalg.solve(xp.matrix_transpose(L), xp.linalg.solve(L, B))
    return x[:, 0] if column else x


def _solve_semidefinite(H: Array) -> Solve:
    """By eigenvalues of D H D with unit diagonal: large units of one entry erase no other."""
    xp = array_namespace(H)
    size = xp.linalg.diagonal(H)
    d = xp.where(size > 0, 1.0 / xp.sqrt(xp.where(size > 0, size, 1.0 + 0.0 * size)), 0.0 * size)
    values = None
    with unless_singular():
        values, Q = xp.linalg.eigh(d[:, None] * H * d)
    if values is None:  # H is not finite: nor is what comes out, and the caller looks at that
        return lambda b: xp.nan * b
    cut = float(xp.max(xp.abs(values))) * H.shape[0] * float(xp.finfo(H.dtype).eps)
    keep = values > cut
    inverse = xp.where(keep, 1.0 / xp.where(keep, values, xp.ones_like(values)), 0.0 * values)

    def solve(b: Array) -> Array:
        D, scaled = (d, inverse) if b.ndim == 1 else (d[:, None], inverse[:, None])
        return D * (Q @ (scaled * (xp.matrix_transpose(Q) @ (D * b))))

    return solve


class Krylov(NamedTuple):
    """Result of `conjugate_gradients`: solution, steps, and whether the tolerance was met."""

    x: Array
    steps: int
    converged: bool


# Of a residual: more than sqrt(cond H) for any H that float64 can tell from a singular one.
GROWN = 1e12


def conjugate_gradients(
    matvec: Solve, b: Array, *, preconditioner: Solve, rtol: float, max_steps: int
) -> Krylov:
    """x with ||b - H x||_M <= rtol ||b||_M, for H symmetric positive definite given by its product.

    ||r||_M^2 = r.z with z = M r the preconditioner's answer: about the energy norm of the error of
    x where M is about H^-1. Preconditioned conjugate gradients (Hestenes and Stiefel 1952; Golub
    and Van Loan, Alg. 11.5.1). Differences from the textbook:
    1. the preconditioner's answer is the first step, so an exact preconditioner ends at once;
    2. a direction of non-positive curvature, a preconditioner that is not positive, or a residual
       that has grown by `GROWN` stops the iteration with `converged=False`: the caller factorises
       anew.
    """
    xp = array_namespace(b)
    if not bool(xp.any(b != 0)):
        return Krylov(b, 0, True)
    x, r = xp.zeros_like(b), b
    z = preconditioner(r)
    d, rz = z, dot(r, z)
    target, most = rtol**2 * rz, GROWN * float(xp.max(xp.abs(b)))
    for step in range(max_steps):
        Hd = matvec(d)
        curvature = dot(d, Hd)
        if not (curvature > 0 and rz > 0):  # NaN as well
            return Krylov(x, step, False)
        alpha = rz / curvature
        x, r = x + alpha * d, r - alpha * Hd
        if not float(xp.max(xp.abs(r))) < most:  # NaN as well; float32 may not hold it
            return Krylov(x, step + 1, False)
        z = preconditioner(r)
        rz, previous = dot(r, z), rz
        if 0 <= rz <= target:
            return Krylov(x, step + 1, True)
        d = z + (rz / previous) * d
    return Krylov(x, max_steps, False)


def row_blocks(X: Array, width: int = 0) -> list[slice]:
    """Rows of X in consecutive blocks: at most `ENTRIES` entries and `ROWS` rows of them.

    Off the CPU `ENTRIES_ON_DEVICE` entries, whatever the rows.

    `width` : entries in a row of what is made from X, where that is more than X has.

    Every pass over data of N rows goes through them: temporaries then have the size of a block,
    whatever N, and a block that is read twice in a row is still in the cache.
    """
    width = max(width, X.shape[1])
    on_device = is_torch_array(X) and X.device.type != "cpu"
    rows = max(1, ENTRIES_ON_DEVICE // width if on_device else min(ROWS, ENTRIES // width))
    return [slice(i, min(i + rows, X.shape[0])) for i in range(0, X.shape[0], rows)]


def weighted_rows(u: Array, X: Array) -> Array:
    """sum_i u_i x_i for u (n,), or (K, n): (p,) or (K, p), added up over blocks in float64."""
    xp = array_namespace(X)
    total = xp.zeros((*u.shape[:-1], X.shape[1]), dtype=xp.float64, device=device(X))
    for b in row_blocks(X):
        total = total + xp.astype(u[..., b] @ X[b, :], xp.float64, copy=False)
    return total


def gram(X: Array, w: Array, dtype: Any = None) -> Array:
    """X' diag(w) X (p, p) for w (n,) >= 0, over blocks, in float64 or another `dtype`.

    The product A'A of one matrix with itself takes half the work of X' (w X).
    """
    xp = array_namespace(X)
    dtype = xp.float64 if dtype is None else dtype
    G = xp.zeros((X.shape[1], X.shape[1]), dtype=dtype, device=device(X))
    for b in row_blocks(X):
        A = xp.astype(xp.sqrt(w[b])[:, None] * X[b, :], dtype, copy=False)
        G += A.T @ A
    return G


def dot(a: Array, b: Array) -> float:
    """sum a_k b_k over all entries, as a float."""
    return float(array_namespace(a).sum(a * b))


def norm(a: Array) -> float:
    """Euclidean norm of all entries, as a float; scaled where their squares would overflow."""
    xp = array_namespace(a)
    with np.errstate(over="ignore"):
        value = dot(a, a) ** 0.5
    if math.isinf(value) and math.isfinite(most := float(xp.max(xp.abs(a)))):
        return most * dot(a / most, a / most) ** 0.5
    return value


def add_to_diagonal(H: Array, d: Array) -> Array:
    """H + diag(d)."""
    xp = array_namespace(H)
    return H + d * xp.eye(H.shape[0], dtype=H.dtype, device=device(H))
