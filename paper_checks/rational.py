"""Squared-loss instances in rational arithmetic: no rounding, no tolerance, nothing of the package.

Small integer data; every number is a `fractions.Fraction`, so that "equal to 0" means what it says.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, combinations

import numpy as np

Vector = list[Fraction]
Matrix = list[Vector]


@dataclass(frozen=True)
class Exact:
    """Training and validation rows with targets; theta0 fits all validation rows, and is S_val."""

    X: Matrix
    y: Vector
    X_val: Matrix
    y_val: Vector

    @property
    def N(self) -> int:
        return len(self.y)


def make_exact(rng: np.random.Generator, *, n_useful: int = 3, n_useless: int = 2) -> Exact:
    """y_val = X_val theta0; useful rows y = x.theta0, useless ones shifted; N = p rows, so A2.

    Integer entries in -4..4; X and X_val are drawn until both have full column rank.
    """
    p = n_useful + n_useless
    while True:
        X, X_val = (rng.integers(-4, 5, size=(n, p)) for n in (p, p + 2))
        if rank(to_fractions(X)) == rank(to_fractions(X_val)) == p:
            break
    theta0 = rng.integers(-4, 5, size=p)
    shift = np.r_[np.zeros(n_useful, dtype=int), rng.integers(1, 4, size=n_useless)]
    y, y_val = X @ theta0 + shift, X_val @ theta0
    return Exact(
        to_fractions(X), to_fractions([y])[0], to_fractions(X_val), to_fractions([y_val])[0]
    )


def to_fractions(rows) -> Matrix:
    """Integers, row by row, as fractions."""
    return [[Fraction(int(x)) for x in row] for row in rows]


def reduced(M: Matrix) -> tuple[Matrix, list[int]]:
    """The reduced row echelon form, and its pivot columns."""
    M, pivots = [row[:] for row in M], []
    for column in range(len(M[0])):
        top = len(pivots)
        row = next((k for k in range(top, len(M)) if M[k][column] != 0), None)
        if row is None:
            continue
        M[top], M[row] = M[row], M[top]
        M[top] = [x / M[top][column] for x in M[top]]
        for k in range(len(M)):
            if k != top and M[k][column] != 0:
                M[k] = [a - M[k][column] * b for a, b in zip(M[k], M[top], strict=True)]
        pivots.append(column)
        if len(pivots) == len(M):
            break
    return M, pivots


def rank(M: Matrix) -> int:
    """The number of pivots."""
    return len(reduced(M)[1])


def solve(M: Matrix, b: Vector) -> Vector:
    """Some x with M x = b, exactly; ValueError where there is none."""
    R, pivots = reduced([[*row, value] for row, value in zip(M, b, strict=True)])
    n = len(M[0])
    if n in pivots:
        raise ValueError("the system is inconsistent; needed M x = b with a solution")
    x = [Fraction(0)] * n
    for row, column in zip(R, pivots, strict=False):
        x[column] = row[n]
    return x


def dot(a: Vector, b: Vector) -> Fraction:
    """sum a_k b_k."""
    return sum((x * y for x, y in zip(a, b, strict=True)), Fraction(0))


def loss(X: Matrix, y: Vector, theta: Vector) -> Fraction:
    """The mean of (x_i.theta - y_i)^2 / 2."""
    return sum(((dot(x, theta) - t) ** 2 for x, t in zip(X, y, strict=True)), Fraction(0)) / (
        2 * len(y)
    )


def least_on_support(data: Exact, J: tuple[int, ...]) -> Fraction:
    """The least L_val over S(w), for any w with support J. Under A2 S(w) is X_J theta = y_J.

    Lagrange: A theta + X_J' c = X_val' y_val / m and X_J theta = y_J, A = X_val' X_val / m.
    """
    A, b = normal_equations(data.X_val, data.y_val)
    rows = [data.X[j] for j in J]
    upper = [[*A[k], *(row[k] for row in rows)] for k in range(len(b))]
    lower = [[*row, *[Fraction(0)] * len(J)] for row in rows]
    solution = solve(upper + lower, [*b, *(data.y[j] for j in J)])
    return loss(data.X_val, data.y_val, solution[: len(b)])


def normal_equations(X: Matrix, y: Vector) -> tuple[Matrix, Vector]:
    """(X' X / n, X' y / n)."""
    columns, n = list(zip(*X, strict=True)), len(y)
    M = [[dot(list(a), list(b)) / n for b in columns] for a in columns]
    return M, [dot(list(a), y) / n for a in columns]


def direct_mixing(data: Exact, lam: Fraction) -> Vector:
    """theta_lam, the minimiser of L_val + lam (1/N) sum_i l_i."""
    (A, b), (B, c) = normal_equations(data.X_val, data.y_val), normal_equations(data.X, data.y)
    M = [[a + lam * h for a, h in zip(*rows, strict=True)] for rows in zip(A, B, strict=True)]
    return solve(M, [s + lam * t for s, t in zip(b, c, strict=True)])


def useful(data: Exact) -> list[bool]:
    """x_i.theta_v = y_i with theta_v the one point of S_val."""
    theta_v = solve(*normal_equations(data.X_val, data.y_val))
    return [dot(x, theta_v) == t for x, t in zip(data.X, data.y, strict=True)]


def supports(N: int) -> list[tuple[int, ...]]:
    """All non-empty sets of sample numbers."""
    return list(chain.from_iterable(combinations(range(N), k) for k in range(1, N + 1)))
