"""Which rows can be satisfied together: a theta that does it, or a combination that forbids it.

Theorem of the alternative (Gordan, Farkas) for rows O (k, n) and V (q, n): exactly one holds,

    (i)   some theta has O theta >= 1 and V theta >= 0;
    (ii)  some b >= 0, sum b = 1, and a >= 0 have O'b + V'a = 0.

d = min ||O'b + V'a|| over those a, b decides. Every point s of that convex set has s.q >= ||q||^2
for its shortest point q, so where d > 0 theta = q / d^2 satisfies (i). Here O holds the margin rows
of the training samples asked about, V those of the validation samples.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import linprog, nnls

from .problem import Problem
from .selection import to_numpy

EPS = float(np.finfo(np.float64).eps)
BATCH = 30  # rows that join a least-distance program at once: eight times as fast on 3600 x 650


@dataclass(frozen=True, eq=False)
class Witness:
    """The samples are useful together: `theta`, (p,) or (p, K), is in S_val and in each S_i.

    Linear: X_val'(X_val theta - y_val) = 0 and x_i.theta = y_i. Logistic: every validation margin
    and every margin of the samples is >= 1; then k theta, k -> infinity, sends all losses to 0.
    """

    theta: np.ndarray


@dataclass(frozen=True, eq=False)
class Combination:
    """The samples are not useful together: their rows, combined, contradict the validation rows.

    Attributes
    ----------
    coefficients : one per validation row: (m,); multinomial (m, K), where entry (j, k) belongs to
        the margin row x_j.(theta_y - theta_k) and entry (j, y_j) is 0.
    own : the same for the samples asked about: (1,) or (1, K) for one sample; its maximum is 1.
    theta : linear only, a point theta_v of S_val (p,); None for logistic models.

    Linear: own' X_i = coefficients' X_val, so own' X_i theta is the same for every theta in S_val,
    and own'(X_i theta_v - y_i) != 0. Logistic: all numbers >= 0, own != 0, and
    own' Z_i + coefficients' Z_val = 0, so that not all of these margins can be positive.
    """

    coefficients: np.ndarray
    own: np.ndarray
    theta: np.ndarray | None = None


def sizes(X: np.ndarray, X_val: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """r (N,), r_val (m,), c (p,): the rows of X / (r c) and of X_val / (r_val c) have length 1.

    A positive factor on a row moves no minimiser of its loss, and one on a column moves theta the
    other way: usefulness has no units, so no tolerance may see them. Columns are measured on the
    validation rows, so that no sample depends on the others; those that validation does not use
    (below 1e-13 of every row: rounding) on the training rows. Zero rows and columns get size 1.
    """
    row, val = (_or_one(np.max(np.abs(a), axis=1)) for a in (X, X_val))
    columns = np.max(np.abs(X_val) / val[:, None], axis=0)
    unused = columns < 1e-13
    columns[unused] = np.max(np.abs(X[:, unused]) / row[:, None], axis=0)
    columns[columns < 1e-13] = 1.0
    row = row * _or_one(np.linalg.norm(X / row[:, None] / columns, axis=1))
    val = val * _or_one(np.linalg.norm(X_val / val[:, None] / columns, axis=1))
    return row, val, columns


def _or_one(a: Any) -> Any:
    return np.where(a > 0, a, 1.0)


class Alternative(NamedTuple):
    """A candidate for (i), theta (n,), and one for (ii), b (k,) and a (q,), with ||O'b + V'a||."""

    theta: np.ndarray
    b: np.ndarray
    a: np.ndarray
    distance: float


def alternatives(O: np.ndarray, V: np.ndarray, tol: float) -> Iterator[Alternative]:
    """Up to three attempts to decide between (i), d > tol, and (ii), for rows of about length 1.

    The caller checks, and takes the next where that fails, which is rare: (1) the least-distance
    program decides to rounding, and faster than (3); (2) its theta solved anew from the tight rows
    keeps digits where d is near 0; (3) the linear program, where `scipy.optimize.nnls` stops early,
    as it does on a few degenerate rows.
    """
    rows = np.vstack([O, V])
    first = _least_distance(rows, len(O), tol)
    if first is not None:
        yield first
        tight = np.concatenate([first.b, first.a]) > 0
        goal = (np.arange(len(rows)) < len(O))[tight].astype(float)  # O theta = 1, V theta = 0
        yield first._replace(theta=np.linalg.lstsq(rows[tight], goal, rcond=None)[0])
    last = _linear_program(rows, len(O))
    if last is not None:
        yield last


def _least_distance(rows: np.ndarray, k: int, tol: float) -> Alternative | None:
    """minimise ||O'b + V'a||^2 + (sum b - 1)^2 over a, b >= 0 (Lawson and Hanson 1974, ch. 23).

    Scaled to sum b = 1 the minimiser is the nearest point: with (b, a) = s (b_1, a_1), sum b_1 = 1,
    the best s leaves ||q||^2 / (1 + ||q||^2), which grows with ||q||. Few rows are tight, so rows
    join only when q violates them: o.q >= ||q||^2, v.q >= 0. Any subset that gives d = 0 will do.
    """
    u, own, used = np.zeros(len(rows)), np.arange(len(rows)) < k, np.arange(len(rows)) < BATCH
    used &= own
    while True:
        E = np.vstack([rows[used].T, own[used]])
        f = np.append(np.zeros(len(E) - 1), 1.0)
        try:
            u[used] = nnls(E, f, maxiter=20 * len(rows))[0]
        except RuntimeError:  # its iteration limit
            return None
        if not np.sum(u[:k]) > 0:  # never the minimum: it stopped early
            return None
        u = u / np.sum(u[:k])
        q = u @ rows
        d = float(np.linalg.norm(q))
        excess = np.where(used, np.inf, rows @ q - d**2 * own)
        worst = np.argsort(excess)[:BATCH]
        used[worst[excess[worst] < 0]] = True
        if d <= tol or not np.any(excess < 0):
            return Alternative(q / d**2 if d > 0 else q, u[:k], u[k:], d)


def _linear_program(rows: np.ndarray, k: int) -> Alternative | None:
    """maximise t subject to O theta >= t, V theta >= 0, -1 <= theta <= 1; its duals are b and a."""
    n = rows.shape[1]
    own = (np.arange(len(rows)) < k).astype(float)
    run = linprog(
        np.append(np.zeros(n), -1.0),
        A_ub=np.column_stack([-rows, own]),
        b_ub=np.zeros(len(rows)),
        bounds=[(-1.0, 1.0)] * n + [(None, None)],
        method="highs",
    )
    if run.status != 0:
        return None
    u = np.maximum(-run.ineqlin.marginals, 0.0)
    u = u / _or_one(np.sum(u[:k]))
    t = run.x[-1] if run.x[-1] > 0 else 1.0
    return Alternative(run.x[:-1] / t, u[:k], u[k:], float(np.linalg.norm(u @ rows)))


class Margins:
    """Usefulness for logistic models, decided and re-checked; see `usefulness`.

    One margin row z_i = y_i x_i per sample; multinomial: one per wrong class, see `margin_rows`.
    """

    def __init__(self, problem: Problem, tol: float):
        self.X, self.X_val = (to_numpy(d.X).astype(float) for d in (problem.train, problem.val))
        self.y, self.y_val = (to_numpy(d.y) for d in (problem.train, problem.val))
        self.K, self.tol = problem.train.K, tol
        self.rows, self.val_rows, self.columns = sizes(self.X, self.X_val)
        self.scaled = self.X / self.rows[:, None] / self.columns

    @functools.cached_property
    def V(self) -> np.ndarray:
        """Margin rows of the scaled validation data, (m (K - 1), p K), or (m, p) if binary."""
        return margin_rows(self.X_val / self.val_rows[:, None] / self.columns, self.y_val, self.K)

    @functools.cached_property
    def theta_v(self) -> np.ndarray:
        """The shortest theta with V theta >= 1, or a ValueError: the hard-margin classifier."""
        distance = 0.0
        for found in alternatives(self.V, self.V[:0], self.tol):
            distance = found.distance
            if distance > self.tol and self._least_margin([], self._unscaled(found.theta)) > 0:
                return found.theta
        raise ValueError(
            "the validation data are not strictly separable (a convex combination of their margin "
            f"rows has length {distance:.1e}); needed a theta with every validation margin > 0, "
            "else usefulness has no exact answer; try fit_intercept=True, more features, or "
            "validation rows without zero rows and contradicting labels"
        )

    def decide_all(self) -> list[Witness | Combination]:
        """One certificate per training sample.

        Every theta that was needed for one sample is tried on all that are still open, so that few
        programs are solved; equal rows are decided once.
        """
        rows = self.y[:, None] * self.scaled if self.K == 1 else np.c_[self.scaled, self.y]
        _, first, same = np.unique(rows, axis=0, return_index=True, return_inverse=True)
        same = same.reshape(-1)  # NumPy 2.0 gives it another shape
        served, pool, forbidden = self._decide_by_pool(first)
        witnesses = [
            self._witness(np.flatnonzero(served[same] == k), t) for k, t in enumerate(pool)
        ]
        return [
            witnesses[served[s]] if served[s] >= 0 else self._combination([i], forbidden[s])
            for i, s in enumerate(same.tolist())
        ]

    def _decide_by_pool(self, J: np.ndarray) -> tuple[np.ndarray, list, dict[int, Alternative]]:
        """For each of the samples J the number of a theta in the pool, -1 where it is useless."""
        served, pool, forbidden = np.full(len(J), -1), [], {}

        def offer(theta: np.ndarray) -> None:
            open_ = np.flatnonzero(served < 0)
            X, y = self.scaled[J[open_]], self.y[J[open_]]
            beyond = self.tol * np.linalg.norm(theta)
            served[open_[least_margins(X, y, self._shaped(theta)) > beyond]] = len(pool)
            pool.append(theta)

        offer(self.theta_v)
        for i in np.argsort(J).tolist():  # in the order of the samples
            if served[i] < 0:
                found = self._solve(J[i : i + 1])
                if isinstance(found, Alternative):
                    forbidden[i] = found
                else:
                    offer(found)
                    served[i] = len(pool) - 1
        return served, pool, forbidden

    def decide(self, J: np.ndarray) -> Witness | Combination:
        """A certificate for the samples J (|J|,) together; J = () has the witness theta_v."""
        found = self._solve(J) if len(J) else self.theta_v
        if isinstance(found, Alternative):
            return self._combination(J, found)
        return self._witness(J, found)

    def residual(self, J: np.ndarray, certificate: Witness | Combination) -> float:
        """How far the certificate is from exact, by multiplication alone; inf where it is none.

        Witness: 1 less the least margin, each margin lowered by a bound on its rounding error.
        Combination: the length of the sum of all rows, in units of the samples' own rows.
        """
        if isinstance(certificate, Witness):
            least = self._least_margin(J, certificate.theta)
            return max(0.0, 1.0 - least) if np.isfinite(least) else np.inf
        b, a = certificate.own, certificate.coefficients
        wrong = b if self.K == 1 else b[_wrong(self.y[J], self.K)].reshape(len(J), self.K - 1)
        own = float(np.sum(self.rows[J] @ wrong))
        if not (np.all(b >= 0) and np.all(a >= 0) and own > 0):
            return np.inf
        rest = _combine(self.X[J], self.y[J], b) + _combine(self.X_val, self.y_val, a)
        return float(np.linalg.norm(rest.T / self.columns)) / own

    def _solve(self, J: np.ndarray) -> np.ndarray | Alternative:
        """theta, scaled, that clears all margin rows of J and validation; or what forbids one."""
        O, distance = margin_rows(self.scaled[J], self.y[J], self.K), np.inf
        # V theta = 0 on the tight rows, which theta_v lifts; it takes 1/2 at most off o.theta >= 1.
        lift = 0.5 / max(1.0, -float(np.min(O @ self.theta_v))) * self.theta_v
        for found in alternatives(O, self.V, self.tol):
            distance = found.distance
            if distance <= self.tol:
                return found
            theta = found.theta + lift
            if self._least_margin(J, self._unscaled(theta)) > 0:
                return theta
        raise RuntimeError(
            f"no certificate for training rows {J[:5].tolist()} (distance to the alternative "
            f"{distance:.1e}); needed one that holds to tol={self.tol:.1e}; try a larger tol"
        )

    def _shaped(self, theta: np.ndarray) -> np.ndarray:
        return theta if self.K == 1 else theta.reshape(-1, self.K)

    def _unscaled(self, theta: np.ndarray) -> np.ndarray:
        """theta in the units of the data, (p,) or (p, K)."""
        return (self._shaped(theta).T / self.columns).T

    def _witness(self, J: np.ndarray, theta: np.ndarray) -> Witness:
        """theta in the units of the data, its least margin on J and validation in [1, 2).

        Multiplied by a power of 2, which is exact: what held beyond rounding before holds after.
        """
        theta = self._unscaled(theta)
        return Witness(theta * 2.0 ** np.ceil(-np.log2(self._least_margin(J, theta))))

    def _least_margin(self, J: Any, theta: np.ndarray) -> float:
        """The least margin on the samples J and on validation, rounding errors taken off."""
        both = ((self.X[J], self.y[J]), (self.X_val, self.y_val))
        return min(float(np.min(least_margins(X, y, theta), initial=np.inf)) for X, y in both)

    def _combination(self, J: Any, found: Alternative) -> Combination:
        """The coefficients of the scaled rows, in the units of the data."""
        b, a, rows, val = found.b, found.a, self.rows[J], self.val_rows
        if self.K > 1:
            b, a = _per_class(b, self.y[J], self.K), _per_class(a, self.y_val, self.K)
            rows, val = rows[:, None], val[:, None]
        b, a = b / rows, a / val
        return Combination(coefficients=a / np.max(b), own=b / np.max(b))


def margin_rows(X: np.ndarray, y: np.ndarray, K: int) -> np.ndarray:
    """Rows R with R theta = the margins.

    K = 1 (two classes): y_i x_i, (n, p). Else x_i (e_{y_i} - e_k)' for each k != y_i in order,
    flattened as theta (p, K) is: (n (K - 1), p K).
    """
    if K == 1:
        return y[:, None] * X
    right = np.repeat(np.eye(K)[y], K - 1, axis=0)
    wrong = np.broadcast_to(np.eye(K), (len(y), K, K))[_wrong(y, K)]
    rows = np.repeat(X, K - 1, axis=0)[:, :, None] * (right - wrong)[:, None, :]  # (., p, K)
    return rows.reshape(len(rows), -1)


def least_margins(X: np.ndarray, y: np.ndarray, theta: np.ndarray) -> np.ndarray:
    """The least margin of each sample, less a bound on its rounding error, (n,).

    |fl(x.theta) - x.theta| <= 2 p eps |x|.|theta| (Higham 2002, sec. 3.1), with room for forming x.
    """
    T, error = X @ theta, 4 * (X.shape[1] + 2) * EPS * (np.abs(X) @ np.abs(theta))
    if T.ndim == 1:
        return y * T - error
    wrong = _wrong(y, T.shape[1])
    margins = T[~wrong][:, None] - T[wrong].reshape(len(y), theta.shape[1] - 1)
    return np.min(margins, axis=1) - 2 * np.max(error, axis=1)


def _combine(X: np.ndarray, y: np.ndarray, u: np.ndarray) -> np.ndarray:
    """sum of u times the margin rows, shaped like theta; the margins' transpose."""
    if u.ndim == 1:
        return (u * y) @ X
    wrong = _wrong(y, u.shape[1])
    slopes = np.where(wrong, -u, 0.0)
    slopes[~wrong] = -np.sum(slopes, axis=1)
    return X.T @ slopes


def _per_class(u: np.ndarray, y: np.ndarray, K: int) -> np.ndarray:
    """(n (K - 1),) numbers on the wrong classes as (n, K), 0 on the right one."""
    out = np.zeros((len(y), K))
    out[_wrong(y, K)] = u
    return out


def _wrong(y: np.ndarray, K: int) -> np.ndarray:
    return np.arange(K) != y[:, None]
