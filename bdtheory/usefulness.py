"""Which training samples are useful, decided exactly, each with a certificate to multiply out.

Sample i is *useful* when one model fits it and the validation data: S_i meets S_val, the minimisers
of l_i and of L_val (v1r: the definition as reported for v1). The losses count without mu.

| model | useful: a witness theta with | useless: coefficients a with |
| --- | --- | --- |
| linear | X_val'(X_val theta - y_val) = 0, x_i.theta = y_i | x_i = X_val' a, x_i.theta_v != y_i |
| binary | z~_j.theta >= 1 for all j, z_i.theta >= 1 | -z_i = sum_j a_j z~_j, a >= 0 (Farkas) |
| multinomial | all margins >= 1, validation and own | the same for sum_k b_k z_ik, b >= 0, b != 0 |

A row x_i = 0 breaks A1: useless (a = 0; linear: if y_i != 0), but harmless, its loss is constant.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
from array_api_compat import array_namespace, device

from .cones import EPS, Combination, Margins, Witness, sizes
from .models import Logistic, Ridge
from .models.checks import check_number
from .problem import Array, Problem
from .rowspace import weighted_least_squares
from .selection import to_numpy

Certificate = Witness | Combination

SLACK = 2.0  # a certificate found within tol may differ by rounding when it is multiplied out
MOST_TO_SEARCH = 16  # useful samples; the search for a largest jointly useful set is exponential


@dataclass(frozen=True, eq=False)
class Usefulness:
    """Useful or not, for each training sample, and why.

    `useful` is (N,) NumPy bool, whatever library the data are in; `certificates` has a `Witness`
    for each useful sample and a `Combination` for each other one, in NumPy float64.
    """

    useful: np.ndarray
    certificates: tuple[Certificate, ...]
    tol: float

    def verify(self, problem: Problem) -> float:
        """The largest relative residual of all certificates, each multiplied out anew.

        Dimensionless, beyond the rounding errors of a witness's products; inf where something is
        no certificate at all, such as a Farkas coefficient < 0. `usefulness` requires <= 2 tol.
        """
        judge = _judge(problem, self.tol)
        if [isinstance(c, Witness) for c in self.certificates] != self.useful.tolist():
            return np.inf
        residuals = [judge.residual(np.array([i]), c) for i, c in enumerate(self.certificates)]
        return float(np.max(residuals))  # not max(): a nan must count


@dataclass(frozen=True, eq=False)
class Joint:
    """Whether the samples `rows` (|J|,), sorted, are jointly useful; true in a condition if so.

    `certificate` is a `Witness` for all of them, or a `Combination` with one `own` entry per row.
    """

    holds: bool
    certificate: Certificate
    rows: np.ndarray

    def __bool__(self) -> bool:
        return self.holds


def usefulness(problem: Problem, *, tol: float = 1e-9) -> Usefulness:
    """Every training sample decided, useful (S_i meets S_val) or not, with a verified certificate.

    Source: theory.md, "Deciding usefulness"; the definition as reported of arXiv:2511.21056v1.

    Parameters
    ----------
    problem : with `Ridge` (any mu) or `Logistic` (any mu; strictly separable validation data).
    tol : relative. A row within tol of one that validation forbids is called useless; linear
        targets agree within tol. Take about 1e-5 where float32 has rounded the data.

    Raises
    ------
    ValueError : for validation data that a logistic model cannot strictly separate.
    TypeError : for a model other than these two.
    RuntimeError : where a certificate does not hold to 2 tol; no unverified answer is returned.

    Examples
    --------
    >>> import numpy as np, bdtheory as bdt
    >>> X, y = np.array([[2.0, 0.0], [2.0, 0.0], [0.0, 1.0]]), np.array([2.0, 3.0, 9.0])
    >>> problem = bdt.Problem(bdt.Ridge(mu=0.1), train=(X, y), val=(X[:1] / 2, y[:1] / 2))
    >>> result = bdt.usefulness(problem)
    >>> result.useful.tolist()          # validation says theta_1 = 1, and nothing about theta_2
    [True, False, True]
    >>> result.certificates[1].coefficients.tolist()                       # x_2 = 2 x~_1, 3 != 2
    [2.0]
    """
    certificates = tuple(_judge(problem, tol).decide_all())
    useful = np.array([isinstance(c, Witness) for c in certificates])
    result = Usefulness(useful, certificates, tol)
    _require_exact(result.verify(problem), tol)
    return result


def jointly_useful(problem: Problem, rows: Any, *, tol: float = 1e-9) -> Joint:
    """Whether one model fits all of these samples and the validation data: the S_i and S_val meet.

    `rows` are sample numbers 0..N-1 or a mask (N,); none at all are jointly useful (theory.md).
    `problem`, `tol` (relative) and what is raised as for `usefulness`; ValueError for other rows.

    Examples
    --------
    >>> import numpy as np, bdtheory as bdt
    >>> X, y = np.array([[1.0, 1.0], [1.0, -1.0]]), np.array([1.0, 1.0])      # theta = (1, 0) ...
    >>> problem = bdt.Problem(bdt.Ridge(0.0), (X, y), val=(np.array([[1.0, 0.0]]), np.zeros(1)))
    >>> [bdt.jointly_useful(problem, J).holds for J in ([0], [1], [0, 1])]  # but validation: (0, .)
    [True, True, False]
    """
    J = _row_numbers(rows, problem.N)
    return _decide(_judge(problem, tol), J)


def coverage(problem: Problem, theta: Any, eps: float = 1e-3, *, useful: Any = None) -> float:
    """The share of useful samples that theta fits, l_i(theta) <= eps (C05): a number in [0, 1].

    theta : (p,) or (p, K). eps : >= 0, in units of the loss. useful : mask (N,) of bool, that of
    `usefulness` where absent; with it any model of the `problem` will do that has `losses`. Raises
    ValueError where no sample is useful or an argument is none of these.

    Examples
    --------
    >>> import numpy as np, bdtheory as bdt
    >>> X, y = np.eye(2), np.array([1.0, 5.0])
    >>> problem = bdt.Problem(bdt.Ridge(mu=0.1), train=(X, y), val=(X[:1], y[:1]))
    >>> bdt.coverage(problem, np.array([1.0, 0.0]))
    0.5
    """
    check_number(eps, "eps", least=0.0, try_="eps=1e-3")
    if isinstance(problem.model, Ridge | Logistic):
        theta = _model_array(problem, theta)
    mask = usefulness(problem).useful if useful is None else to_numpy(useful)
    if mask.shape != (problem.N,) or mask.dtype != np.bool_:
        raise ValueError(
            f"useful is {mask.dtype} of shape {mask.shape}; needed bool, one per training sample, "
            f"({problem.N},); try usefulness(problem).useful"
        )
    _require_some(mask)
    return float(np.mean(to_numpy(problem.model.losses(theta, problem.train))[mask] <= eps))


def maximum_entropy_weights(problem: Problem, *, tol: float = 1e-9) -> Array:
    """Uniform weights on a largest jointly useful set: the most even optimal weights (C05).

    Under A2 and A3 weights are optimal exactly when their support is jointly useful, and log |J| is
    the most entropy on a support J. That is U, all useful samples, where U is jointly useful. Else
    all sets are searched, if |U| <= 16: the problem is NP-hard. Ties: the earliest samples. w (N,),
    sum 1, is an array like the data. `problem` and `tol` (relative) as for `usefulness`. Raises
    what it does, and ValueError if none is useful or the search too long.

    Examples
    --------
    >>> import numpy as np, bdtheory as bdt
    >>> X, y = np.array([[1.0, 0.0], [2.0, 0.0], [1.0, 0.0]]), np.array([1.0, 2.0, 5.0])
    >>> problem = bdt.Problem(bdt.Ridge(mu=0.1), train=(X, y), val=(X[:1], y[:1]))
    >>> bdt.maximum_entropy_weights(problem).tolist()
    [0.5, 0.5, 0.0]
    """
    useful = usefulness(problem, tol=tol).useful
    _require_some(useful)
    judge, X, w = _judge(problem, tol), problem.train.X, np.zeros(problem.N)
    w[_largest(judge, np.flatnonzero(useful))] = 1.0
    return array_namespace(X).asarray(w / np.sum(w), dtype=X.dtype, device=device(X))


def _largest(judge: Equations | Margins, U: np.ndarray) -> np.ndarray:
    """A largest jointly useful subset of U, whose members are useful one by one."""
    if _decide(judge, U):
        return U
    if len(U) > MOST_TO_SEARCH:
        raise ValueError(
            f"the {len(U)} useful samples are not jointly useful; needed at most {MOST_TO_SEARCH} "
            "to search for a largest set that is (NP-hard); try jointly_useful on your own sets"
        )
    conflicts: list[frozenset] = []
    for k in range(len(U) - 1, 1, -1):
        for J in itertools.combinations(U.tolist(), k):
            if not any(map(frozenset(J).issuperset, conflicts)):
                answer = _decide(judge, np.array(J))
                if answer:
                    return answer.rows
                conflicts.append(_conflict(judge, answer))
    return U[:1]


def _conflict(judge: Equations | Margins, answer: Joint) -> frozenset:
    """Rows of a combination that cannot all be fitted, though any one less of them can."""
    combination: Any = answer.certificate
    conflict = answer.rows[np.any(combination.own.reshape(len(answer.rows), -1) != 0, axis=1)]
    for i in conflict:
        fewer = conflict[conflict != i]
        conflict = conflict if _decide(judge, fewer) else fewer
    return frozenset(conflict.tolist())


class Equations:
    """Usefulness for the squared loss, decided and re-checked; see `usefulness`.

    theta is in S_val exactly when V'theta = V'theta_v, V a basis of the row space of X_val. So J is
    jointly useful exactly when X_J theta = y_J can be met by moving theta_v within the range of Z,
    the complement of V: M phi = -gap, with M = X_J Z and gap = X_J theta_v - y_J.
    """

    def __init__(self, problem: Problem, tol: float):
        self.X, self.y, self.X_val, self.y_val = (
            to_numpy(a).astype(np.float64) for d in (problem.train, problem.val) for a in (d.X, d.y)
        )
        self.tol = tol
        self.rows, self.val_rows, self.columns = rows, val, columns = sizes(self.X, self.X_val)
        c, space, _ = weighted_least_squares(self.X_val / columns, self.y_val, np.ones(problem.m))
        theta_v, self.Z = space.V @ c, space.Z
        self.theta_v = theta_v / columns
        self.inverse = np.linalg.pinv(self.X_val / val[:, None] / columns)  # of rows of length 1
        scaled = self.X / rows[:, None] / columns
        self.M, self.gap = scaled @ self.Z, scaled @ theta_v - self.y / rows
        # The size of theta_v, and of what such targets would need if they did not cancel.
        self.reach = float(np.linalg.norm(theta_v) + val @ np.abs(self.y_val) / (val @ val))

    def decide_all(self) -> list[Certificate]:
        return [self.decide(np.array([i])) for i in range(len(self.X))]

    def decide(self, J: np.ndarray) -> Certificate:
        """A certificate for the samples J (|J|,) together; J = () has the witness theta_v."""
        witness = Witness(self.theta_v)
        if self.residual(J, witness) <= self.tol:
            return witness
        witness, c = self._moved(J)
        if self.residual(J, witness) <= SLACK * self.tol:
            return witness
        # c'M = 0 and c.gap = ||c||^2 > 0 (Fredholm); entries at rounding level are no conflict.
        own = np.where(np.abs(c) > 1e-12 * np.max(np.abs(c)), c, 0.0) / self.rows[J]
        own = own / own[np.argmax(np.abs(own))]
        a = (own @ self.X[J] / self.columns) @ self.inverse / self.val_rows
        return Combination(a, own, self.theta_v)

    def residual(self, J: np.ndarray, certificate: Certificate) -> float:
        """How far the certificate is from exact, by multiplication alone; inf where it is none."""
        theta = certificate.theta
        if theta is None or not np.all(np.isfinite(theta)):
            return np.inf
        # |fl(x.theta) - x.theta| <= 2 p eps ||x|| ||theta|| (Higham 2002, sec. 3.1), with room.
        error = 16 * (len(theta) + 2) * EPS * float(np.linalg.norm(theta * self.columns))
        residual = self._normal_equations(theta, error)
        gap, size = self.X[J] @ theta - self.y[J], np.abs(self.y[J]) + self.rows[J] * self.reach
        if isinstance(certificate, Witness):
            return max(residual, _largest_ratio(np.abs(gap) - error * self.rows[J], size))
        c = certificate.own
        if not abs(c @ gap) > self.tol * (np.abs(c) @ size):
            return np.inf
        rest = (c @ self.X[J] - certificate.coefficients @ self.X_val) / self.columns
        return float(np.maximum(residual, np.linalg.norm(rest) / np.linalg.norm(c * self.rows[J])))

    def _normal_equations(self, theta: np.ndarray, error: float) -> float:
        """The largest entry of X_val'(X_val theta - y_val), relative to the terms it sums."""
        X, y, val = np.abs(self.X_val).T, np.abs(self.y_val), self.val_rows
        rest = np.abs(self.X_val.T @ (self.X_val @ theta - self.y_val))
        rest = rest - X @ (val * error + 4 * len(y) * EPS * y)
        return _largest_ratio(rest, X @ (val * self.reach + y))

    def _moved(self, J: np.ndarray) -> tuple[Witness, np.ndarray]:
        """theta_v + Z phi, phi the shortest minimiser of ||M phi + gap||, and what is left, (|J|,).

        Directions in which rows of length 1 move by at most tol do not count.
        """
        U, s, Wt = np.linalg.svd(self.M[J], full_matrices=False)
        (U, s, Wt), gap = (U[:, s > self.tol], s[s > self.tol], Wt[s > self.tol]), self.gap[J]
        left = gap - U @ (U.T @ gap)
        left = left - U @ (U.T @ left)  # twice is enough (Parlett 1980, sec. 6.9)
        phi = -((U.T @ gap) / s) @ Wt
        return Witness(self.theta_v + self.Z @ phi / self.columns), left


def _largest_ratio(excess: np.ndarray, size: np.ndarray) -> float:
    """max excess / size over the entries with excess > 0, else 0; inf where such a size is 0."""
    with np.errstate(all="ignore"):
        return float(np.max(np.where(excess > 0, excess / size, 0.0), initial=0.0))


def _judge(problem: Problem, tol: float) -> Equations | Margins:
    check_number(tol, "tol", least=0.0, strict=True, try_="tol=1e-9")
    if isinstance(problem.model, Ridge | Logistic):
        return (Equations if isinstance(problem.model, Ridge) else Margins)(problem, tol)
    raise TypeError(
        f"{type(problem.model).__name__} has no exact rule for usefulness; needed Ridge or "
        "Logistic; try coverage(problem, theta, useful=mask) with a mask known from the data"
    )


def _decide(judge: Equations | Margins, J: np.ndarray) -> Joint:
    certificate = judge.decide(J)
    _require_exact(judge.residual(J, certificate), judge.tol)
    return Joint(isinstance(certificate, Witness), certificate, J)


def _require_exact(residual: float, tol: float) -> None:
    if not residual <= SLACK * tol:
        raise RuntimeError(
            f"a certificate of usefulness has relative residual {residual:.1e}; needed at most "
            f"{SLACK * tol:.1e} to return an answer; try a larger tol"
        )


def _require_some(useful: np.ndarray) -> None:
    if not useful.any():
        raise ValueError(
            f"none of the {len(useful)} training samples is useful; needed at least one (A3); "
            "try validation data of the same task, or other training samples"
        )


def _row_numbers(rows: Any, N: int) -> np.ndarray:
    J = to_numpy(rows)
    if J.dtype == np.bool_ and J.shape == (N,):
        return np.flatnonzero(J)
    numbers = J.ndim == 1 and (J.dtype.kind in "iu" or J.size == 0)
    if not numbers or (J.size and not 0 <= J.min() <= J.max() < N):
        raise ValueError(
            f"rows is {J.tolist()!s:.60}; needed sample numbers in 0..{N - 1} or a bool mask of "
            f"shape ({N},); try numpy.flatnonzero(mask)"
        )
    return np.unique(J.astype(np.int64))


def _model_array(problem: Problem, theta: Any) -> Any:
    """theta in the array library of the data, (p,) or (p, K)."""
    X, K = problem.train.X, problem.train.K
    theta = array_namespace(X).asarray(theta, dtype=X.dtype, device=device(X))
    needed = (X.shape[1],) if K == 1 else (X.shape[1], K)
    if tuple(theta.shape) != needed or not np.all(np.isfinite(to_numpy(theta))):
        raise ValueError(
            f"theta has shape {tuple(theta.shape)} or entries that are not finite; needed finite "
            f"numbers of shape {needed}; try the theta of a selection"
        )
    return theta
