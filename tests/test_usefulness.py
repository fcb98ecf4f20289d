"""Usefulness: known answers, certificates multiplied out here, and exact rational arithmetic."""

import dataclasses
import itertools
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog
from strategies import examples

import bdtheory as bdt
from bdtheory import cones
from bdtheory.cones import Combination, Witness
from bdtheory.usefulness import coverage, jointly_useful, maximum_entropy_weights, usefulness

# ------------------------------------------------------------ second routes, all exact


def feasible(columns, target):
    """Whether some a >= 0 has sum_j a_j columns_j = target: simplex, phase 1, Bland's rule."""
    n, N = len(target), len(columns)
    sign = [-1 if t < 0 else 1 for t in target]
    rows = [
        [Fraction(sign[k]) * Fraction(c[k]) for c in columns]
        + [Fraction(int(j == k)) for j in range(n)]
        + [abs(Fraction(target[k]))]
        for k in range(n)
    ]
    basis = [N + k for k in range(n)]
    cost = [-sum(r[j] for r in rows) for j in range(N)] + [Fraction(0)] * n
    cost.append(-sum(r[-1] for r in rows))
    while True:
        j = next((j for j in range(N + n) if cost[j] < 0), None)
        if j is None:
            return cost[-1] == 0
        _, _, k = min((r[-1] / r[j], basis[i], i) for i, r in enumerate(rows) if r[j] > 0)
        rows[k] = [v / rows[k][j] for v in rows[k]]
        for i in range(n):
            if i != k:
                rows[i] = [u - rows[i][j] * v for u, v in zip(rows[i], rows[k], strict=True)]
        cost = [u - cost[j] * v for u, v in zip(cost, rows[k], strict=True)]
        basis[k] = j


def rank(M):
    """Rank of a matrix of whole numbers by elimination in fractions."""
    M, r = [[Fraction(int(v)) for v in row] for row in M], 0
    for c in range(len(M[0])):
        k = next((i for i in range(r, len(M)) if M[i][c] != 0), None)
        if k is not None:
            M[r], M[k] = M[k], M[r]
            for i in range(r + 1, len(M)):
                f = M[i][c] / M[r][c]
                M[i] = [u - f * v for u, v in zip(M[i], M[r], strict=True)]
            r += 1
    return r


def consistent(X, y, X_val, y_val):
    """theory.md: X_J theta = y_J together with the validation normal equations."""
    A, b = np.vstack([X, X_val.T @ X_val]), np.r_[y, X_val.T @ y_val]
    return rank(A) == rank(np.c_[A, b])


def margins(X, labels, K):
    """Margin rows of each sample: y x for two classes, x (e_y - e_k)' for more."""
    if K == 2:
        return [
            [tuple(np.where(label == 1, 1, -1) * x)] for x, label in zip(X, labels, strict=True)
        ]
    return [
        [
            tuple(np.outer(x, np.eye(K, dtype=int)[y] - np.eye(K, dtype=int)[k]).ravel())
            for k in wrong
        ]
        for x, y in zip(X, labels, strict=True)
        for wrong in [[k for k in range(K) if k != y]]
    ]


def flat(lists):
    return list(itertools.chain.from_iterable(lists))


def separable_with(own, val):
    """Whether one theta makes all rows of `own` and of `val` positive, where one does so for `val`.

    Gordan: it does not exactly when sum b_k own_k + sum a_j val_j = 0, b, a >= 0, sum b = 1.
    """
    columns = [(*r, 1) for r in own] + [(*r, 0) for r in val]
    return not feasible(columns, [0] * len(own[0]) + [1])


# ------------------------------------------------------------ certificates, multiplied out


def multiply_out(problem, J, certificate, tol=1e-8):
    """The definition, with NumPy and the raw data only; entries relative to the terms they sum."""
    X, y, X_val, y_val = (np.asarray(a) for d in (problem.train, problem.val) for a in (d.X, d.y))
    X, y = X[J], y[J]
    witness = isinstance(certificate, Witness)
    if isinstance(problem.model, bdt.Ridge):
        theta = certificate.theta
        size = np.abs(X_val).T @ (np.abs(X_val) @ np.abs(theta) + np.abs(y_val))
        digits = 1e-14 * np.linalg.norm(theta) * np.sum(np.abs(X_val).T @ np.abs(X_val), axis=1)
        off = np.abs(X_val.T @ (X_val @ theta - y_val))
        assert np.all(off <= tol * size + digits)  # theta in S_val, to the digits of its largest
        largest = np.max(np.abs(X_val))  # 0: every theta is in S_val, and 0 is one
        reach = np.linalg.norm(theta) + (np.max(np.abs(y_val)) / largest if largest else 0.0)
        scale = np.linalg.norm(X, axis=1) * reach + np.abs(y)
        if witness:
            assert np.all(np.abs(X @ theta - y) <= tol * scale)
            return
        c, a = certificate.own, certificate.coefficients
        assert np.all(np.abs(c @ X - a @ X_val) <= tol * np.max(np.abs(c) @ np.abs(X)))
        assert abs(c @ (X @ theta - y)) > tol * (np.abs(c) @ scale)
        return
    K = len(problem.classes)
    own, val = (np.array(flat(margins(*d, K))) for d in ((X, y), (X_val, y_val)))
    if witness:
        own = own.reshape(-1, certificate.theta.size)  # of no sample, too
        assert np.all(own @ certificate.theta.ravel() >= 1 - tol)
        assert np.all(val @ certificate.theta.ravel() >= 1 - tol)
        return
    wrong = [np.ones(len(t), bool) if K == 2 else np.arange(K) != t[:, None] for t in (y, y_val)]
    b, a = certificate.own[wrong[0]], certificate.coefficients[wrong[1]]
    assert np.all(b >= 0)
    assert np.all(a >= 0)
    assert np.max(b) == 1
    assert np.all(np.abs(b @ own + a @ val) <= tol * np.max(b @ np.abs(own)))


def check_all(problem, **options):
    """usefulness, with every certificate multiplied out here as well."""
    result = usefulness(problem, **options)
    assert result.useful.dtype == bool
    assert result.useful.shape == (problem.N,) == (len(result.certificates),)
    for i, (useful, certificate) in enumerate(zip(result.useful, result.certificates, strict=True)):
        assert type(certificate) is (Witness if useful else Combination)
        multiply_out(problem, [i], certificate)
    assert 0 <= result.verify(problem) <= 2e-9
    return result


# ------------------------------------------------------------ linear


def ridge(X, y, X_val, y_val, **options):
    data = [np.asarray(a, dtype=float) for a in (X, y, X_val, y_val)]
    return bdt.Problem(bdt.Ridge(mu=0.1, **options), (data[0], data[1]), (data[2], data[3]))


def test_linear_answers_by_hand():
    # Validation says theta_1 = 1 and nothing about theta_2.
    X = [[2, 0], [2, 0], [0, 1], [-1, 3], [0, 0], [0, 0]]
    problem = ridge(X, [2, 3, 9, 5, 0, 1], [[1, 0]], [1])
    result = check_all(problem)
    assert result.useful.tolist() == [True, False, True, True, True, False]
    np.testing.assert_allclose(result.certificates[1].coefficients, [2.0], rtol=1e-14)
    np.testing.assert_allclose(result.certificates[5].coefficients, [0.0], atol=0)  # A1 broken
    np.testing.assert_allclose(result.certificates[2].theta, [1.0, 9.0], rtol=1e-14)


def test_linear_validation_that_contradicts_itself_still_has_minimisers():
    # x = 1 twice with targets 1 and -1: S_val = {0}, found to rounding only. A target of 0, exact
    # or computed, must be met although everything that it is compared with cancels.
    problem = ridge(np.ones((4, 1)), [0, 1e-14, 1e-5, 1], [[1], [1]], [1, -1])
    assert check_all(problem).useful.tolist() == [True, True, False, False]
    problem = ridge([[1], [2], [1]], [1, 2, 2], [[1], [1]], [0, 2])  # S_val = {1}
    assert check_all(problem).useful.tolist() == [True, True, False]


def test_linear_validation_without_information_forbids_only_rows_of_zeros():
    problem = ridge([[1, 2], [0, 0], [0, 0]], [5, 0, 1], [[0, 0], [0, 0]], [1, 2])
    assert check_all(problem).useful.tolist() == [True, True, False]


@pytest.mark.parametrize(("share", "useful"), [(1e-12, True), (1e-6, False)])
def test_linear_tolerance_is_relative_to_the_targets(share, useful):
    for unit in (1e-6, 1.0, 1e6):
        problem = ridge([[3.0, 3.0]], [unit * 6 * (1 + share)], np.eye(2), [unit, unit])
        assert check_all(problem).useful.tolist() == [useful]


@pytest.mark.parametrize(("outside", "useful"), [(1e-12, False), (1e-6, True)])
def test_linear_tolerance_on_the_row_space(outside, useful):
    problem = ridge([[2.0, outside, -outside]], [5.0], [[1, 1, 1], [1, -1, -1]], [1, 1])
    assert check_all(problem).useful.tolist() == [useful]


small = st.integers(-2, 2)


def table(n, p):
    return st.lists(st.lists(small, min_size=p, max_size=p), min_size=n, max_size=n)


@st.composite
def linear_cases(draw):
    p, m, r = draw(st.integers(1, 4)), draw(st.integers(1, 5)), draw(st.integers(0, 4))
    basis = np.array(draw(table(r, p)), dtype=int).reshape(r, p)
    X_val = np.array(draw(table(m, r)), dtype=int).reshape(m, r) @ basis  # of any rank
    X = np.vstack([np.array(draw(table(3, m))) @ X_val, np.array(draw(table(3, p)))])
    theta = np.array(draw(st.lists(small, min_size=p, max_size=p)))
    y = X @ theta + np.array(draw(st.lists(st.integers(0, 1), min_size=6, max_size=6)))
    y_val = X_val @ theta + draw(st.integers(0, 1)) * np.arange(m)
    return X, y, X_val, y_val


@pytest.mark.parametrize("y_val", [[0, 1], [0, 0]])
def test_validation_features_of_zero_and_rows_that_contradict_each_other(y_val):
    problem = ridge(np.array([[0], [1], [1]]), [0, 0, 1], np.zeros((2, 1)), y_val)
    assert check_all(problem).useful.tolist() == [True, True, True]
    joint = jointly_useful(problem, [0, 1, 2])
    assert not joint
    multiply_out(problem, joint.rows, joint.certificate)


def test_no_sample_at_all_is_jointly_useful():
    X, X_val = np.zeros((3, 2)), np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]])
    problem = bdt.Problem(bdt.Logistic(1e-3), (X, [0, 1, 2]), (X_val, [0, 1, 2]))
    joint = jointly_useful(problem, [])
    assert joint
    multiply_out(problem, joint.rows, joint.certificate)


@given(case=linear_cases())
@examples(60)
def test_linear_agrees_with_exact_ranks(case):
    X, y, X_val, y_val = case
    problem = ridge(*case)
    expected = [
        consistent(X[[i]], y[[i]], X_val, y_val) and bool(X[i].any() or y[i] == 0) for i in range(6)
    ]
    result = check_all(problem)
    assert result.useful.tolist() == expected
    for J in (np.flatnonzero(result.useful), [0, 3, 4], [3, 4, 5]):
        joint = jointly_useful(problem, J)
        assert bool(joint) is (len(J) == 0 or consistent(X[J], y[J], X_val, y_val))
        multiply_out(problem, joint.rows, joint.certificate)


# ------------------------------------------------------------ two classes


def logistic(X, y, X_val, y_val, **options):
    data = (np.asarray(X, dtype=float), np.asarray(y)), (np.asarray(X_val, dtype=float), y_val)
    return bdt.Problem(bdt.Logistic(mu=1e-3, **options), data[0], (data[1][0], np.asarray(y_val)))


def test_binary_answers_by_hand():
    # z~ = (1, 0) and (0, 1): useless is the quadrant of non-positive z, borders included.
    z = np.array([[-2, -3], [-1, 0], [-1, 1e-3], [1, -5], [1, 1], [0, 0], [-1, -1]])
    y = np.array([1, 1, 1, -1, -1, 1, -1])
    result = check_all(logistic(y[:, None] * z, y, [[1, 0], [0, -1]], [1, -1]))
    assert result.useful.tolist() == [False, False, True, True, True, False, False]
    for i, a in ((0, [2, 3]), (1, [1, 0]), (5, [0, 0]), (6, [1, 1])):
        np.testing.assert_allclose(result.certificates[i].coefficients, a, atol=1e-14)
        np.testing.assert_allclose(result.certificates[i].own, [1.0])


@given(
    X_val=table(12, 3), theta=st.tuples(small, small, small), X=table(8, 3), seed=st.integers(0, 99)
)
@examples(60)
def test_binary_agrees_with_exact_arithmetic(X_val, theta, X, seed):
    X_val, X, y = np.array(X_val), np.array(X), np.array([1, -1] * 4)
    X_val = X_val[X_val @ theta != 0]
    if len(X_val) == 0:
        return
    y_val = np.sign(X_val @ theta)
    own, val = margins(X, y, 2), flat(margins(X_val, y_val, 2))
    expected = [separable_with(rows, val) for rows in own]
    problem = logistic(X, y, X_val, y_val)
    assert check_all(problem).useful.tolist() == expected
    J = np.flatnonzero(expected)
    joint = jointly_useful(problem, J)
    assert bool(joint) is (len(J) == 0 or separable_with([own[i][0] for i in J], val))
    multiply_out(problem, joint.rows, joint.certificate)
    # Sizes of rows have no say, nor have units of features.
    rng = np.random.default_rng(seed)
    a, b = (10 ** rng.uniform(-6, 6, (len(d), 1)) for d in (X, X_val))
    units = 10 ** rng.uniform(-2, 2, 3)
    assert (
        check_all(logistic(X * a * units, y, X_val * b * units, y_val)).useful.tolist() == expected
    )


@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e6])
def test_units_of_features_have_no_say(unit):
    units = np.array([unit, 1 / unit])
    X = np.array([[2, 0], [2, 1e-3], [1, 1]]) * units
    problem = ridge(X, [3, 9, 7], np.array([[1, 0]]) * units, [1])
    assert check_all(problem).useful.tolist() == [False, True, True]
    Z = np.array([[-1, 0.999], [-1, 1.001], [2, 0.5]]) * units  # useless: |z_2| <= -z_1
    problem = logistic(Z, [1, 1, -1], np.array([[1, -1], [1, 1]]) * units, [1, 1])
    assert check_all(problem).useful.tolist() == [False, True, False]


def flipped(rng, N=100, m=40, p=10, share=0.4):
    """Noise-free labels sign(x.theta0), a share of the training labels flipped."""
    theta0, X, X_val = (rng.standard_normal(s) for s in (p, (N, p), (m, p)))
    flip = rng.random(N) < share
    return X, np.sign(X @ theta0) * np.where(flip, -1, 1), X_val, np.sign(X_val @ theta0), flip


def test_flipped_is_not_useless():
    # theory.md, C03: of 100 samples with 40% flips only a few are useless. No clean one can be.
    counts = []
    for seed in range(20):
        X, y, X_val, y_val, flip = flipped(np.random.default_rng(seed))
        useful = usefulness(logistic(X, y, X_val, y_val)).useful
        assert np.all(useful[~flip])
        counts.append([np.sum(~useful), np.sum(useful & flip)])
        Z_val = y_val[:, None] * X_val  # the linear program of theory.md as a second route
        for i in np.flatnonzero(flip)[:5]:
            run = linprog(-y[i] * X[i], A_ub=-Z_val, b_ub=np.zeros(40), bounds=(-1, 1))
            assert useful[i] == (run.fun < -1e-6)
    useless, flipped_useful = np.median(counts, axis=0)
    assert 4 <= useless <= 12
    assert 24 <= flipped_useful <= 40


def test_more_validation_data_can_only_forbid_more():
    X, y, X_val, y_val, _ = flipped(np.random.default_rng(1), m=400)
    few = usefulness(logistic(X, y, X_val[:40], y_val[:40])).useful
    many = usefulness(logistic(X, y, X_val, y_val)).useful
    assert np.all(few | ~many)
    assert np.sum(~many) > 2 * np.sum(~few) > 0


def test_decisions_follow_the_samples_when_they_are_permuted():
    rng = np.random.default_rng(3)
    X, y, X_val, y_val, _ = flipped(rng, m=100)
    order, order_val = rng.permutation(100), rng.permutation(100)
    result = usefulness(logistic(X, y, X_val, y_val))
    moved = check_all(logistic(X[order], y[order], X_val[order_val], y_val[order_val]))
    assert 10 <= np.sum(~result.useful) <= 40
    assert np.array_equal(moved.useful, result.useful[order])
    i = int(np.flatnonzero(~result.useful)[0])  # p + 1 rows in general position: one combination
    np.testing.assert_allclose(
        moved.certificates[list(order).index(i)].coefficients @ (y_val[:, None] * X_val)[order_val],
        -y[i] * X[i],
        atol=1e-12,
    )


@pytest.mark.parametrize("size", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize(("outside", "useful"), [(1e-7, True), (1e-8, True), (1e-11, False)])
def test_binary_tolerance_close_to_the_border(size, outside, useful):
    # z = -(z~_1 + z~_2) + outside * normal: at a distance of about `outside` from being forbidden.
    rng = np.random.default_rng(0)
    Z_val = np.c_[np.abs(rng.standard_normal((30, 1))), rng.standard_normal((30, 3))]
    Z_val[:2, 0] = 0.0  # the border theta = (1, 0, 0, 0) has margin 0 on these two rows
    Z_val[:2, 1] = 1.0  # ... which are themselves separable
    Z_val[2:, 1:] *= 0.3
    z = -Z_val[0] - Z_val[1] + outside * np.array([1.0, 0, 0, 0])
    problem = logistic(size * np.c_[[z, -z]].reshape(2, 4), [1, -1], Z_val, np.ones(30))
    assert check_all(problem).useful.tolist() == [useful, useful]


def test_near_the_border_every_decision_has_a_verified_certificate():
    # At distances down to 1e-12 the tight rows are re-solved; without that, these raised.
    for seed in range(40):
        rng = np.random.default_rng(seed)
        p, m = rng.integers(2, 8), rng.integers(2, 30)
        Z_val = rng.standard_normal((m, p))
        Z_val[:, 0] = np.abs(Z_val[:, 0]) * 10.0 ** rng.uniform(-3, 0)
        z = -(rng.random(m) * (rng.random(m) < 0.3)) @ Z_val - 1e-3 * Z_val[0]
        noise = 10.0 ** -np.arange(4.0, 13)[:, None] * rng.standard_normal((9, p))
        Z = z / np.linalg.norm(z) + noise
        check_all(logistic(np.vstack([Z, -Z]), [1] * 9 + [-1] * 9, Z_val, np.ones(m)))


# ------------------------------------------------------------ more classes


def test_multinomial_answers_by_hand():
    # Validation: (1, 0) is "a", (0, 1) is "b". The same x with another label is useless, with the
    # same one useful; (-1, 0) as "c" is useful; a row of zeros is called useless.
    X = [[1, 0], [1, 0], [0, 2], [0, 2], [-1, 0], [0, 0], [3, 0]]
    y = ["a", "b", "a", "b", "c", "a", "c"]
    result = check_all(logistic(X, y, [[1, 0], [0, 1]], ["a", "b"]))
    assert result.useful.tolist() == [True, False, False, True, True, False, False]
    # sample 1 says theta_b above theta_a at (1, 0), validation row 0 the opposite
    certificate = result.certificates[1]
    np.testing.assert_allclose(certificate.own, [[1.0, 0.0, 0.0]], atol=1e-14)
    np.testing.assert_allclose(certificate.coefficients, [[0, 1, 0], [0, 0, 0]], atol=1e-14)
    # sample 6, (3, 0) as "c", against "a over c" at (1, 0), three times as long
    np.testing.assert_allclose(result.certificates[6].coefficients[0], [0, 0, 3], atol=1e-13)


@given(
    X_val=table(6, 2),
    theta=st.lists(st.tuples(small, small, small), min_size=2, max_size=2),
    X=table(6, 2),
    seed=st.integers(0, 99),
)
@examples(40)
def test_multinomial_agrees_with_exact_arithmetic(X_val, theta, X, seed):
    X_val, X, y = np.array(X_val), np.array(X), np.arange(6) % 3
    scores = X_val @ np.array(theta)
    clear = np.sort(scores, axis=1)[:, -1] > np.sort(scores, axis=1)[:, -2]
    X_val, y_val = X_val[clear], np.argmax(scores, axis=1)[clear]
    if len(X_val) == 0:
        return
    own, val = margins(X, y, 3), flat(margins(X_val, y_val, 3))
    expected = [separable_with(rows, val) for rows in own]
    a, b = (10 ** np.random.default_rng(seed).uniform(-6, 6, (len(d), 1)) for d in (X, X_val))
    problem = logistic(X * a, y, X_val * b, y_val)
    assert check_all(problem).useful.tolist() == expected
    J = np.flatnonzero(expected)
    joint = jointly_useful(problem, J)
    assert bool(joint) is (len(J) == 0 or separable_with(flat(own[i] for i in J), val))
    multiply_out(problem, joint.rows, joint.certificate)


# ------------------------------------------------------------ what cannot be decided


@pytest.mark.parametrize(
    ("X_val", "y_val"),
    [
        ([[1, 0], [-1, 0], [0, 1]], [1, 1, 1]),  # the control of C03(b)
        ([[1, 0], [1, 0]], [1, -1]),
        ([[1, 0], [0, 0]], [1, 1]),
    ],
)
def test_validation_that_is_not_strictly_separable_is_an_error(X_val, y_val):
    problem = logistic([[0, 1], [1, 0]], [1, -1], X_val, y_val)
    for ask in (usefulness, maximum_entropy_weights, lambda q: jointly_useful(q, [0])):
        with pytest.raises(ValueError, match=r"not strictly separable.*needed.*try"):
            ask(problem)
    with pytest.raises(ValueError, match="not strictly separable"):
        usefulness(logistic([[1], [2], [3]], [0, 1, 2], [[1], [2], [3]], [0, 0, 1]))


def test_other_models_and_bad_arguments_are_errors():
    class Other(bdt.Ridge):
        pass

    problem = ridge([[1.0], [1.0]], [1, 2], [[1.0]], [1])
    assert usefulness(dataclasses.replace(problem.model) and problem).useful.tolist() == [
        True,
        False,
    ]
    for tol in (0.0, -1e-9, np.nan, np.inf, "small"):
        with pytest.raises(ValueError, match="tol is"):
            usefulness(problem, tol=tol)

    class Network:
        def prepare(self, train, val, test):
            return problem.train, problem.val, None, None

        def losses(self, theta, data):
            return np.array([0.0, 5.0])

    other = bdt.Problem(Network(), None, None)
    for ask in (usefulness, maximum_entropy_weights, lambda q: jointly_useful(q, [0])):
        with pytest.raises(TypeError, match=r"no exact rule.*needed Ridge or Logistic.*try"):
            ask(other)
    assert coverage(other, {"any": 1}, useful=np.array([True, True])) == 0.5


def stop_early(E, f, maxiter):
    """What scipy.optimize.nnls did on a few degenerate inputs: feasible, but not the minimiser."""
    u = np.zeros(E.shape[1])
    u[: np.sum(E[-1] > 0)] = 1.0
    return u, 0.0


def give_up(E, f, maxiter):
    raise RuntimeError("Maximum number of iterations reached.")


def no_own_row(E, f, maxiter):
    return np.zeros(E.shape[1]), 1.0


@pytest.mark.parametrize("broken", [stop_early, give_up, no_own_row])
def test_the_linear_program_takes_over_where_the_first_program_fails(monkeypatch, broken):
    X, y, X_val, y_val, _ = flipped(np.random.default_rng(5), m=80, p=5)
    problem = logistic(X, y, X_val, y_val)
    expected = usefulness(problem).useful
    assert 5 < np.sum(~expected) < 40
    monkeypatch.setattr(cones, "nnls", broken)
    assert np.array_equal(check_all(problem).useful, expected)
    X, y = np.array([[1, 0], [1, 0], [-1, 2]]), np.array([0, 1, 2])
    assert check_all(logistic(X, y, X[:1], y[:1])).useful.tolist() == [True, False, True]


def test_no_answer_without_a_certificate(monkeypatch):
    problem = logistic([[1, 1], [1, 1]], [1, -1], [[1, 0], [0, 1]], [1, 1])
    monkeypatch.setattr(cones.Margins, "theta_v", np.ones(2))
    monkeypatch.setattr(cones, "nnls", stop_early)
    monkeypatch.setattr(cones, "_linear_program", lambda rows, k: None)
    with pytest.raises(RuntimeError, match=r"no certificate for training rows \[1\]"):
        usefulness(problem)
    monkeypatch.setattr(cones.Margins, "residual", lambda *_: 1e-3)
    with pytest.raises(RuntimeError, match=r"residual 1.0e-03; needed at most 2.0e-09"):
        jointly_useful(problem, [0])


# ------------------------------------------------------------ verify


def cases():
    X, y, X_val, y_val, _ = flipped(np.random.default_rng(7), m=100, p=5)
    yield logistic(X, y, X_val, y_val)
    rng = np.random.default_rng(8)
    X, X_val = rng.standard_normal((30, 4)), rng.standard_normal((9, 4))
    X_val[:, 3] = 0
    X[:15, 3] = 0
    y, y_val = X.sum(axis=1) + (rng.random(30) < 0.5), X_val.sum(axis=1)
    yield ridge(X, y, X_val, y_val)
    theta = rng.standard_normal((4, 3))
    y = rng.integers(0, 3, 30)
    y[:3] = np.arange(3)
    yield logistic(
        X, y, np.vstack([X_val, X[:20]]), np.argmax(np.vstack([X_val, X[:20]]) @ theta, 1)
    )


@pytest.mark.parametrize("problem", list(cases()), ids=["binary", "linear", "multinomial"])
def test_verify_notices_every_change(problem):
    result = check_all(problem)
    useful, useless = (int(np.flatnonzero(result.useful == v)[-1]) for v in (True, False))
    assert 3 <= np.sum(~result.useful) <= problem.N - 3

    def residual(i, **change):
        certificates = list(result.certificates)
        certificates[i] = dataclasses.replace(certificates[i], **change)
        return dataclasses.replace(result, certificates=certificates).verify(problem)

    theta, combination = result.certificates[useful].theta, result.certificates[useless]
    a, own = combination.coefficients, combination.own
    assert residual(useful, theta=theta) <= 2e-9
    assert residual(useful, theta=-theta) > 0.1
    assert residual(useful, theta=1e-6 * theta) > 1e-2
    assert residual(useful, theta=np.full_like(theta, np.nan)) == np.inf
    assert residual(useless, coefficients=-a) > 0.1
    assert residual(useless, coefficients=1.01 * a) > 1e-3
    assert residual(useless, coefficients=0 * a) > 0.1
    assert not residual(useless, coefficients=np.nan * a) < 1
    assert not residual(useless, own=0 * own) < 1
    if isinstance(problem.model, bdt.Ridge):
        fitting = np.linalg.lstsq(problem.train.X[[useless]], problem.train.y[[useless]])[0]
        assert residual(useless, theta=fitting) == np.inf  # nothing is contradicted there
        assert residual(useless, theta=None) == np.inf
        assert residual(useless, theta=combination.theta + 1e-3) > 1e-6
    swapped = list(result.certificates)
    swapped[useful], swapped[useless] = swapped[useless], swapped[useful]
    assert dataclasses.replace(result, certificates=tuple(swapped)).verify(problem) == np.inf
    assert dataclasses.replace(result, useful=~result.useful).verify(problem) == np.inf
    if not isinstance(problem.model, bdt.Ridge):
        # A coefficient below 0 proves nothing, even where the rows sum to 0 all the same.
        wrong = a != 0 if a.ndim == 1 else np.arange(a.shape[1]) != problem.val.y[:, None]
        wrong = np.ones(len(a), bool) if a.ndim == 1 else wrong
        rows = flat(margins(problem.val.X, problem.val.y, len(problem.classes)))
        n, negative = np.linalg.svd(np.array(rows).T)[2][-1], a.copy()  # the rows sum to 0 with n
        negative[wrong] += 1e3 * np.max(a) * n
        assert np.min(negative) < 0
        assert residual(useless, coefficients=negative) == np.inf


def test_equal_rows_are_decided_once_and_witnesses_are_shared(monkeypatch):
    X, y, X_val, y_val, _ = flipped(np.random.default_rng(7), m=100, p=5)
    solved = []
    original = cones.alternatives
    monkeypatch.setattr(cones, "alternatives", lambda *a: solved.append(1) or original(*a))
    first = usefulness(logistic(X, y, X_val, y_val))
    once = len(solved)
    assert np.sum(~first.useful) < once < 70
    again = usefulness(logistic(np.tile(X, (4, 1)), np.tile(y, 4), X_val, y_val))
    assert len(solved) == 2 * once
    assert np.array_equal(again.useful, np.tile(first.useful, 4))


# ------------------------------------------------------------ jointly useful


def one_by_one_but_not_together(**options):
    """C04: validation theta_1 = 0; training theta_1 + theta_2 = 1 and theta_1 - theta_2 = 1."""
    return ridge([[1, 1], [1, -1]], [1, 1], [[1, 0]], [0], **options)


def test_useful_samples_need_not_be_jointly_useful():
    problem = one_by_one_but_not_together()
    assert check_all(problem).useful.all()
    joint = jointly_useful(problem, [0, 1])
    assert not joint
    assert joint.holds is False
    # x_1 + x_2 = 2 x~_1, but 1 + 1 != 2 * 0
    np.testing.assert_allclose(joint.certificate.own, [1, 1], rtol=1e-12)
    np.testing.assert_allclose(joint.certificate.coefficients, [2], rtol=1e-12)
    multiply_out(problem, [0, 1], joint.certificate)
    together = jointly_useful(problem, [1])
    assert together.holds is True
    np.testing.assert_allclose(together.certificate.theta, [0, -1], atol=1e-14)


def test_logistic_samples_useful_but_not_jointly():
    # Validation theta_1 > 0; training theta_2 > 0 and theta_2 < 0.
    problem = logistic([[0, 1], [0, 3]], [1, -1], [[1, 0]], [1])
    assert check_all(problem).useful.all()
    joint = jointly_useful(problem, [True, True])
    assert not joint
    np.testing.assert_allclose(joint.certificate.own, [1, 1 / 3], rtol=1e-12)
    np.testing.assert_allclose(joint.certificate.coefficients, [0], atol=1e-14)


def test_a_large_target_does_not_hide_a_small_contradiction():
    # Judged by the largest target, 1e9, the gap of 1 in row 1 would pass for rounding.
    problem = ridge([[0, 1, 0], [1, 0, 0]], [1e9, 2], [[1, 0, 0]], [1])
    assert check_all(problem).useful.tolist() == [True, False]
    joint = jointly_useful(problem, [0, 1])
    assert not joint
    np.testing.assert_allclose(joint.certificate.own, [0, 1], atol=1e-15)
    # Nor does a witness that must be long: rows 0 and 1 differ by 1e-6 only.
    problem = ridge([[0, 1, 0], [0, 1, 1e-6], [1, 0, 0]], [0, 1, 1.001], [[1, 0, 0]], [1])
    assert jointly_useful(problem, [0, 1])
    assert not jointly_useful(problem, [0, 1, 2])


@pytest.mark.parametrize("problem", list(cases()), ids=["binary", "linear", "multinomial"])
def test_joint_usefulness_of_one_sample_is_its_usefulness_and_subsets_inherit_it(problem):
    useful = usefulness(problem).useful
    for i in range(0, problem.N, 3):
        joint = jointly_useful(problem, [i])
        assert joint.holds is bool(useful[i])
        multiply_out(problem, [i], joint.certificate)
    rng, answers = np.random.default_rng(0), []
    for k in range(12):
        J = rng.permutation(np.flatnonzero(useful))[: (1, 2, 6, 24)[k % 4]]
        answers.append(bool(jointly_useful(problem, J)))
        if answers[-1]:
            assert jointly_useful(problem, J[1:])
    assert len(set(answers)) == 2


def test_rows_as_numbers_or_mask():
    problem = one_by_one_but_not_together()
    assert jointly_useful(problem, []).holds
    multiply_out(problem, [], jointly_useful(problem, []).certificate)
    assert jointly_useful(problem, np.zeros(2, bool)).holds
    assert jointly_useful(problem, (1, 1)).rows.tolist() == [1]
    assert jointly_useful(problem, torch.tensor([True, False])).rows.tolist() == [0]
    for rows in ([2], [-1], [0.0], 0, [[0]], [True], ["a"]):
        with pytest.raises(ValueError, match=r"rows is .*needed sample numbers in 0..1 or.*try"):
            jointly_useful(problem, rows)
    empty = jointly_useful(logistic([[1], [2]], [1, -1], [[1]], [1]), [])
    assert empty
    assert empty.certificate.theta >= 1


# ------------------------------------------------------------ coverage


def test_coverage_is_the_share_of_useful_samples_that_are_fitted():
    problem = ridge(np.eye(3)[[0, 1, 2, 0]], [1, 2, 3, 7], [[1, 0, 0]], [1])
    theta = np.array([1.0, 2.1, 5.0])  # losses 0, .005, 2 and, useless, 18
    assert usefulness(problem).useful.tolist() == [True, True, True, False]
    for eps, share in ((1e-3, 1 / 3), (0.0051, 2 / 3), (0.0049, 1 / 3), (2.0, 1.0), (0, 1 / 3)):
        assert coverage(problem, theta, eps) == share
    assert coverage(problem, theta) == 1 / 3
    assert coverage(problem, theta, 0.01, useful=np.array([False, True, True, True])) == 1 / 3
    assert coverage(problem, torch.tensor(theta), eps=0.01) == 2 / 3


def test_coverage_errors():
    problem = ridge(np.eye(2), [1, 2], [[1, 0]], [1])
    theta = np.ones(2)
    for eps in (-1e-3, np.nan, np.inf):
        with pytest.raises(ValueError, match=r"eps is .*needed a finite number >= 0; try"):
            coverage(problem, theta, eps)
    for bad in (np.ones(3), np.ones((2, 1)), np.array([np.nan, 1.0])):
        with pytest.raises(ValueError, match=r"theta has shape .*needed .*\(2,\); try"):
            coverage(problem, bad)
    for useful in ([1, 0], [True], usefulness(problem)):
        with pytest.raises(ValueError, match=r"useful is .*needed bool.*try"):
            coverage(problem, theta, useful=useful)
    none = ridge([[1.0]], [2], [[1.0]], [1])
    for ask in (lambda q: coverage(q, np.ones(1)), maximum_entropy_weights):
        with pytest.raises(ValueError, match="none of the 1 training samples is useful; needed"):
            ask(none)


# ------------------------------------------------------------ maximum entropy


def test_maximum_entropy_weights_are_uniform_on_the_useful_samples_where_these_fit_together():
    # The instance of theory.md: p = 20, m = 30 noise-free, 9 labels right, 6 shifted.
    rng = np.random.default_rng(0)
    theta0, X, X_val = (rng.standard_normal(s) for s in (20, (15, 20), (30, 20)))
    problem = ridge(X, X @ theta0 + (np.arange(15) >= 9), X_val, X_val @ theta0)
    w = maximum_entropy_weights(problem)
    np.testing.assert_allclose(w, np.where(np.arange(15) < 9, 1 / 9, 0), rtol=1e-15)
    free = bdt.Ridge(mu=0.0)
    fit = free.fit(w, problem.train, val=problem.val)
    assert np.mean(free.losses(fit.theta, problem.val)) < 1e-25  # optimal: L_val* = 0
    assert coverage(problem, fit.theta, 1e-20) == 1.0


def test_maximum_entropy_weights_on_a_largest_set_where_they_do_not():
    assert sorted(maximum_entropy_weights(one_by_one_but_not_together())) == [0, 1]
    # theta_2 = 5 three times, 6 twice, 7 once; theta_1 = 1 agrees with all, theta_1 = 2 with none.
    X = np.array([[0, 1]] * 6 + [[1, 0]] * 2, dtype=float)
    problem = ridge(X, [6, 5, 7, 5, 6, 5, 1, 2], [[1, 0]], [1])
    expected = np.array([0, 1, 0, 1, 0, 1, 1, 0]) / 4
    assert maximum_entropy_weights(problem).tolist() == expected.tolist()


@pytest.mark.parametrize("seed", range(4))
def test_maximum_entropy_weights_against_enumeration(seed):
    rng = np.random.default_rng(seed)
    X, X_val = rng.standard_normal((9, 4)), np.eye(4)[:1]
    if seed % 2:
        X[:, [0, 3]] = 0
        problem = logistic(X, np.where(np.arange(9) % 2, 1, -1), X_val, [1])
    else:
        problem = ridge(X, rng.integers(0, 2, 9), X_val, [0])
    best = max(
        k
        for k in range(1, 10)
        if any(jointly_useful(problem, J) for J in itertools.combinations(range(9), k))
    )
    w = maximum_entropy_weights(problem)
    assert 3 <= best < 9
    assert np.sum(w > 0) == best
    assert set(w[w > 0]) == {1 / best}
    assert jointly_useful(problem, w > 0)


def test_maximum_entropy_weights_say_when_the_search_is_too_long():
    X = np.tile([0.0, 1.0], (17, 1))
    with pytest.raises(ValueError, match=r"17 useful samples are not.*at most 16.*NP-hard.*try"):
        maximum_entropy_weights(ridge(X, np.arange(17), [[1, 0]], [0]))
    w = maximum_entropy_weights(ridge(X, np.ones(17), [[1, 0]], [0]))
    np.testing.assert_allclose(w, 1 / 17)
    w = maximum_entropy_weights(ridge(X[1:], np.arange(16), [[1, 0]], [0]))
    assert w.tolist() == [1] + [0] * 15


# ------------------------------------------------------------ arrays and intercepts


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("K", [1, 2, 3])
def test_torch_in_numpy_out(dtype, K):
    rng = np.random.default_rng(2)
    X, X_val = (rng.integers(-3, 4, (n, 4)).astype(dtype) for n in (40, 12))
    X_val[:, 3], model = 0, bdt.Logistic(mu=1e-2)
    y, y_val = rng.integers(0, K, 40), np.argmax(X_val @ rng.standard_normal((4, K)), axis=1)
    if K == 1:
        model, y, y_val = bdt.Ridge(mu=1e-2), X.sum(axis=1), X_val.sum(axis=1)
        X[:15, 3] = 0
        y[:10] += 1  # useless
        y[20:] += rng.integers(0, 2, 20)  # useful, but not jointly
    problem = bdt.Problem(model, (X, y), (X_val, y_val))
    tensors = bdt.Problem(model, *(tuple(map(torch.tensor, d)) for d in [(X, y), (X_val, y_val)]))
    expected, result = check_all(problem), usefulness(tensors)
    assert 5 < np.sum(expected.useful) < 40
    assert isinstance(result.useful, np.ndarray)
    assert np.array_equal(result.useful, expected.useful)
    assert result.verify(tensors) <= 2e-9
    theta = torch.zeros((4,) if K < 3 else (4, 3))
    assert coverage(tensors, theta, eps=1e9) == 1.0
    with pytest.raises(ValueError, match="useful samples are not jointly useful"):
        maximum_entropy_weights(tensors)
    X, y = (torch.tensor(a[[0, 1, 2, *np.flatnonzero(result.useful)[:3]]]) for a in (X, y))
    w = maximum_entropy_weights(bdt.Problem(bdt.Ridge(0.0), (X, 0 * y), (X[:1], 0 * y[:1])))
    assert isinstance(w, torch.Tensor)
    assert str(w.dtype) == f"torch.{dtype}"
    np.testing.assert_allclose(w.numpy(), 1 / 6, rtol=1e-6)


@pytest.mark.parametrize("make", [ridge, logistic])
def test_an_intercept_is_a_constant_column(make):
    rng = np.random.default_rng(4)
    X, X_val = rng.standard_normal((40, 3)), rng.standard_normal((30, 3))
    y, y_val = np.sign(X[:, 0] + 0.5), np.sign(X_val[:, 0] + 0.5)
    y[::3] *= -1
    if make is ridge:
        y_val = X_val.sum(axis=1) + 1
        y = X.sum(axis=1) + np.where(np.arange(40) % 3, 1, 2)
    with_column = [np.c_[a, np.ones(len(a))] for a in (X, X_val)]
    expected = check_all(make(with_column[0], y, with_column[1], y_val)).useful
    result = check_all(make(X, y, X_val, y_val, fit_intercept=True))
    assert np.array_equal(result.useful, expected)
    assert 2 < np.sum(~expected) < 30
    assert result.certificates[int(np.argmax(expected))].theta.shape == (4,)


# ------------------------------------------------------------ sizes of residuals, and conflicts


@pytest.mark.parametrize("unit", [1e-3, 1.0, 1e4])
@pytest.mark.parametrize("target", [2.0, -2.0])
def test_residuals_are_relative_and_have_no_units(unit, target):
    """x~ = (1, 0), y~ = target, theta_1 = target (1 + d): what is left is d |target|, of

    |x~| (|theta_v| + |y~| / |x~|) + |y~| = 3 |target|, the sizes of all terms. The training row,
    (0, 3), does not see theta_1; (3, 0) does, and is as far off for its size.
    """
    d = 1e-4
    for row in ([0.0, 3.0], [3.0, 0.0]):
        problem = ridge(np.array([row]) * unit, [3 * target], [[unit, 0]], [target])
        result = check_all(problem)
        theta = result.certificates[0].theta * np.array([1 + d, 1])
        moved = dataclasses.replace(result, certificates=(Witness(theta),))
        assert moved.verify(problem) == pytest.approx(d / 3, rel=1e-6)
    x = np.array([[1.0, 1e3]]) * unit  # columns of other sizes have no say
    problem = ridge(3 * x, [7 * target], x, [target])
    result = check_all(problem)
    combination = result.certificates[0]  # x = 3 x~ at theta_v = y~ / x~
    moved = dataclasses.replace(combination, coefficients=combination.coefficients * (1 + d))
    wrong = dataclasses.replace(result, certificates=(moved,))
    assert wrong.verify(problem) == pytest.approx(d, rel=1e-6)


def test_maximum_entropy_weights_on_two_of_four():
    """theta_2 = 5 twice, 6 and 7: no three agree, and a single sample would be fewer."""
    problem = ridge([[0, 1]] * 4, [6, 5, 7, 5], [[1, 0]], [1])
    assert maximum_entropy_weights(problem).tolist() == [0, 0.5, 0, 0.5]


def test_maximum_entropy_weights_of_more_classes():
    """Validation says class 2 at (1, 0). At (0, 1) there are two votes for 0, one each for 1, 2."""
    X, y = [[0, 1], [0, 2], [0, 1], [0, 3], [1, 0]], [1, 0, 2, 0, 2]
    problem = logistic(X, y, [[1, 0], [1, 0]], [2, 2])
    assert usefulness(problem).useful.all()
    np.testing.assert_allclose(maximum_entropy_weights(problem), np.array([0, 1, 0, 1, 1]) / 3)


def test_results_are_read_only_and_arguments_have_names():
    problem = one_by_one_but_not_together()
    result = usefulness(problem=problem, tol=1e-9)
    joint = jointly_useful(problem=problem, rows=[0], tol=1e-9)
    assert maximum_entropy_weights(problem=problem, tol=1e-9).tolist() == [1.0, 0.0]
    for made, name in ((result, "useful"), (joint, "holds")):
        assert made == made != dataclasses.replace(made)  # by identity: arrays are not compared
        with pytest.raises(dataclasses.FrozenInstanceError, match=f"cannot assign to .*{name}"):
            setattr(made, name, None)
