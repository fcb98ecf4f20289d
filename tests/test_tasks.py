"""The generators: each keyword drops the assumption it names and no other, by independent means."""

import importlib.util
import itertools
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import linprog

import bdtheory as bdt
from bdtheory.models import Logistic, Ridge
from bdtheory.tasks import (
    LeastAbsolute,
    Task,
    digits,
    label_noise,
    linear,
    noisy_regression,
    read_table,
    separable,
)
from bdtheory.tasks.task import has_classes

SEEDS = [0, 1, 2]
REFERENCE = Path(__file__).parents[2] / "shared" / "problems.py"


def rank(A):
    return np.linalg.matrix_rank(A) if len(A) else 0


def fitted_together(X, y):
    """Whether X theta = y has a solution (Rouche-Capelli)."""
    return rank(X) == rank(np.column_stack([X, y]))


def linear_facts(task):
    """A1 to A4 for squared loss, from the definitions and rank conditions only."""
    (X, y), (X_val, y_val) = task.train, task.val
    assert fitted_together(X_val, y_val)  # so S_val is the solution set of X_val theta = y_val
    zero = ~X.any(axis=1)
    useful = np.array(
        [
            # S_i is all of R^p for x_i = 0; otherwise S_i meets S_val when one theta fits both.
            bool(not x.any() or fitted_together(np.vstack([X_val, x]), np.append(y_val, t)))
            for x, t in zip(X, y, strict=True)
        ]
    )
    together = fitted_together(np.vstack([X_val, X[~zero]]), np.concatenate([y_val, y[~zero]]))
    facts = {
        "A1": not np.any(y[zero]),
        "A2": bool(fitted_together(X[~zero], y[~zero])),
        "A3": bool(useful.any()),
        "A4": bool(not useful.all()),
        "A5": isinstance(task.problem().model, Ridge),
    }
    return facts, useful, together


ALL = {"A1": True, "A2": True, "A3": True, "A4": True, "A5": True}
SIZES = [{}, {"m": 8, "n_useful": 14}, {"m": 20, "n_useful": 3, "n_useless": 4}]


@pytest.mark.parametrize("sizes", SIZES, ids=["point", "larger", "square"])
@pytest.mark.parametrize("seed", SEEDS)
def test_linear_has_all_assumptions(seed, sizes):
    task = linear(seed, **sizes)
    facts, useful, together = linear_facts(task)
    assert facts == ALL
    assert useful.tolist() == task.clean.tolist()
    assert useful.sum() == sizes.get("n_useful", 9)
    assert not together


@pytest.mark.parametrize("dropped", list(ALL))
@pytest.mark.parametrize("m", [30, 16])
@pytest.mark.parametrize("seed", SEEDS)
def test_linear_drops_exactly_one(seed, m, dropped):
    full, task = linear(seed, m=m), linear(seed, m=m, **{dropped: False})
    facts, useful, together = linear_facts(task)
    assert facts == ALL | {dropped: False}
    assert together == (dropped == "A4")
    # The other rows, the validation data and theta0 are those of the full instance.
    assert np.array_equal(task.val[0], full.val[0])
    assert np.array_equal(task.theta0, full.theta0)
    same = np.all(task.train[0] == full.train[0], axis=1) & (task.train[1] == full.train[1])
    changed = {"A1": 1, "A2": 1, "A3": 9, "A4": 6, "A5": 0}[dropped]
    assert (~same).sum() == changed
    if dropped != "A1":
        assert useful.tolist() == task.clean.tolist()
    else:  # by the letter of the definition the row x_i = 0 is useful, yet its target is wrong
        assert useful[-1]
        assert not task.clean[-1]


def test_linear_in_the_row_space():
    """C05's instance: useless rows in the row space of X_val, useful ones in the span of others."""
    task = linear(0, m=8, n_useful=14)
    X, X_val = task.train[0], task.val[0]
    assert rank(X_val) == 8
    assert rank(np.vstack([X_val, X[~task.clean]])) == 8
    assert rank(np.vstack([X_val, X[task.clean]])) == 20 < 8 + 14
    for x in X[task.clean]:
        assert rank(np.vstack([X_val, x])) == 9


def test_linear_contradiction_without_A2():
    X, y = linear(3, A2=False).train
    assert np.array_equal(X[9], X[10])
    assert abs(y[9] - y[10]) >= 2.0


def test_linear_takes_two_dropped_assumptions():
    facts, *_ = linear_facts(linear(0, A1=False, A2=False))
    assert facts == ALL | {"A1": False, "A2": False}
    facts, *_ = linear_facts(linear(0, A1=False, A4=False))
    assert facts == ALL | {"A1": False, "A4": False}


def test_linear_has_no_more_rows_than_A2_allows_but_without_it():
    with pytest.raises(ValueError, match=r"25 training rows.*needed at most p in all"):
        linear(n_useful=19)
    facts, *_ = linear_facts(linear(n_useful=40, n_useless=20, A2=False))
    assert facts == ALL | {"A2": False}


# Least absolute deviations


def absolute_problem(X, y, X_val, y_val):
    return Task("test", train=(X, y), val=(X_val, y_val), mu=0.0, model=LeastAbsolute()).problem()


def test_absolute_loss_is_convex_with_a_kink():
    task = linear(0, A5=False)
    problem = task.problem()
    theta, d, h = task.theta0, np.linalg.pinv(task.train[0])[:, 0], 1e-6  # x_0.d = 1
    at = [problem.model.losses(theta + k * h * d, problem.train)[0] for k in (-1, 0, 1)]
    slopes = np.diff(at) / h
    assert slopes == pytest.approx([-1.0, 1.0], abs=1e-6)  # two slopes at one point: no derivative


def test_absolute_fit_is_the_least_of_all_vertices():
    """F_w has a minimiser that fits p rows exactly: try all pairs (p = 2)."""
    rng = np.random.default_rng(0)
    X, y, w = rng.standard_normal((9, 2)), rng.standard_normal(9), rng.uniform(0.1, 3, 9)
    problem = absolute_problem(X, y, X[:1], y[:1])
    value = {}
    for pair in itertools.combinations(range(9), 2):
        theta = np.linalg.solve(X[list(pair)], y[list(pair)])
        value[pair] = w @ np.abs(X @ theta - y)
    fit = problem.model.fit(w, problem.train)
    F = w @ np.abs(X @ fit.theta - y)
    assert abs(F - min(value.values())) <= 1e-12 * F
    assert fit.converged
    assert fit.message == ""
    assert fit.gap <= 1e-12


@pytest.mark.parametrize(("target", "answer"), [(-3.0, 0.0), (0.4, 0.4), (7.0, 1.0)])
def test_absolute_fit_decides_ties_by_validation(target, answer):
    """Two points of equal weight: everything between them minimises F_w."""
    one = np.ones((1, 1))
    problem = absolute_problem(np.ones((2, 1)), np.array([0.0, 1.0]), one, np.array([target]))
    fit = problem.model.fit(np.array([0.5, 0.5]), problem.train, val=problem.val)
    assert fit.theta == pytest.approx([answer], abs=1e-12)
    assert fit.gap <= 1e-12


def test_absolute_fit_is_optimistic_on_an_affine_set():
    """Fewer rows than parameters: S(w) is X theta = y, and L_val = 0 on a part of it."""
    rng = np.random.default_rng(1)
    theta0 = rng.standard_normal(5)
    X, X_val = rng.standard_normal((2, 5)), rng.standard_normal((3, 5))
    problem = absolute_problem(X, X @ theta0, X_val, X_val @ theta0)
    fit = problem.model.fit(np.array([1.0, 1e-8]), problem.train, val=problem.val)
    assert np.abs(fit.theta - theta0).max() < 1e-10
    alone = problem.model.fit(np.array([1.0, 1e-8]), problem.train)
    assert problem.model.losses(alone.theta, problem.val).mean() > 1e-2


def optimistic_value(X, y, w, X_val, y_val):
    """(v(w), least L_val over S(w)) with S(w) as {F_w <= v(w)}: one program after the other."""
    (n, p), m = X.shape, len(y_val)
    A, b = np.vstack([X, X_val]), np.concatenate([y, y_val])
    above = np.block([[A, -np.eye(n + m)], [-A, -np.eye(n + m)]])  # |A theta - b| <= t
    bounds = [(None, None)] * p + [(0, None)] * (n + m)
    F = np.concatenate([np.zeros(p), w, np.zeros(m)])
    L_val = np.concatenate([np.zeros(p + n), np.full(m, 1 / m)])
    sides = np.concatenate([b, -b])
    v = linprog(F, A_ub=above, b_ub=sides, bounds=bounds).fun
    run = linprog(L_val, A_ub=np.vstack([above, F]), b_ub=np.append(sides, v + 1e-9), bounds=bounds)
    return v, run.fun


def test_absolute_fit_against_another_program():
    """Small whole numbers and equal weights: many ties and degenerate vertices. Which of them HiGHS
    takes changes with its version, and so how many ties matter."""
    rng = np.random.default_rng(0)
    decided = 0
    for _ in range(60):
        X, X_val = rng.integers(-2, 3, (6, 3)) * 1.0, rng.integers(-2, 3, (4, 3)) * 1.0
        y, y_val = rng.integers(-2, 3, 6) * 1.0, rng.integers(-2, 3, 4) * 1.0
        problem, w = absolute_problem(X, y, X_val, y_val), np.full(6, 1 / 6)
        fit = problem.model.fit(w, problem.train, val=problem.val)
        v, best = optimistic_value(X, y, w, X_val, y_val)
        assert w @ problem.model.losses(fit.theta, problem.train) == pytest.approx(v, abs=1e-10)
        L_val = problem.model.losses(fit.theta, problem.val).mean()
        assert L_val == pytest.approx(best, abs=1e-6)  # the 1e-9 above, times a slope
        plain = problem.model.fit(w, problem.train)
        decided += problem.model.losses(plain.theta, problem.val).mean() > L_val + 1e-3
    assert decided >= 5  # ties that mattered


def test_absolute_weights_scale_and_vanish():
    """A common factor changes nothing, and a zero weight equals a removed row."""
    task = linear(2, A5=False, A2=False, n_useful=30, n_useless=20)
    problem = task.problem()
    w = np.random.default_rng(0).uniform(0.1, 1.0, 50) * (np.arange(50) % 5 > 0)
    theta = problem.model.fit(w, problem.train, val=problem.val).theta
    assert np.abs(theta - task.theta0).max() > 0.1  # not the trivial answer
    for scale in (1e-100, 1e6, 1e100):
        fit = problem.model.fit(scale * w, problem.train, val=problem.val)
        assert fit.converged
        assert np.abs(fit.theta - theta).max() < 1e-10
        assert fit.gap <= 1e-12 * scale
    kept = problem.model.fit(w[w > 0], problem.train.take(w > 0), val=problem.val)
    assert np.abs(kept.theta - theta).max() < 1e-10


def test_absolute_direct_mixing_reaches_the_optimum_at_a_positive_ratio():
    """C04's control, why A5 is there: the kink of L_val holds theta0 against a small pull."""

    def gap(task, lam):
        problem = task.problem()
        w = np.concatenate([np.full(problem.N, lam / problem.N), np.full(problem.m, 1 / problem.m)])
        fit = problem.model.fit(w, problem.joined())
        return problem.model.losses(fit.theta, problem.val).mean()

    assert gap(linear(0, A5=False), 1e-2) < 1e-12
    assert gap(linear(0, A5=False), 10.0) > 0.1
    assert gap(linear(0), 1e-2) > 1e-5


def test_absolute_gradient_and_missing_derivative():
    task = linear(0, A5=False)
    problem, h = task.problem(), 1e-7
    rng = np.random.default_rng(0)
    theta, w = rng.standard_normal(20), rng.uniform(0.5, 1.0, problem.N)
    g = problem.model.weighted_gradient(theta, w, problem.train)
    for k in range(20):
        e = np.eye(20)[k] * h
        up, down = (w @ problem.model.losses(theta + s * e, problem.train) for s in (1, -1))
        assert g[k] == pytest.approx((up - down) / (2 * h), abs=1e-6)
    assert problem.model.fit(w, problem.train).vjp is None
    with pytest.raises(TypeError, match=r"no derivative.*needed.*try Penalty"):
        bdt.learn_weights(problem, bdt.Implicit())


def test_closed_form_weights_need_no_derivative():
    problem = linear(0, A5=False).problem()
    fit = bdt.learn_weights(problem, bdt.BMO(steps=20))
    assert fit.status is bdt.Status.MAX_ITERATIONS
    assert fit.val_loss < 0.5 * bdt.learn_weights(problem, bdt.Uniform()).val_loss


def test_absolute_takes_torch_tensors():
    torch = pytest.importorskip("torch")
    pair = torch.ones((3, 1), dtype=torch.float32), torch.tensor([0.0, 1.0, 5.0])
    problem = absolute_problem(*pair, *pair)
    fit = problem.model.fit(torch.ones(3), problem.train, val=problem.val)
    assert fit.theta.dtype == torch.float32
    assert fit.theta.tolist() == [1.0]


# The separable instance


def strictly_separates(Z):
    """Whether some theta has Z theta >= 1: HiGHS's answer to a feasibility program."""
    n, p = Z.shape
    run = linprog(np.zeros(p), A_ub=-Z, b_ub=-np.ones(n), bounds=(None, None))
    assert run.status in (0, 2)
    return run.status == 0


def rows(pair):
    X, y = pair
    return y[:, None] * X


def separable_facts(task):
    """A1 to A4 for logistic loss with separable validation data, by linear programs."""
    Z, Z_val = rows(task.train), rows(task.val)
    zero = ~Z.any(axis=1)  # log 2 whatever theta is: fits and is useful by the definition
    useful = np.array([not z.any() or strictly_separates(np.vstack([Z_val, z])) for z in Z])
    facts = {
        "A1": not zero.any(),
        "A2": strictly_separates(Z[~zero]),
        "A3": bool(useful[~zero].any()),
        "A4": bool(not useful.all()),
        "separable_val": strictly_separates(Z_val),
    }
    return facts, useful


SEPARABLE = {"A1": True, "A2": True, "A3": True, "A4": True, "separable_val": True}


@pytest.mark.parametrize("seed", SEEDS)
def test_separable_has_all_assumptions(seed):
    task = separable(seed)
    facts, useful = separable_facts(task)
    assert facts == SEPARABLE
    assert np.all(useful[task.clean])
    # Many flipped samples are useless, and usually not all of them.
    assert (~useful).sum() >= 0.4 * (~task.clean).sum() >= 3
    Z, Z_val = rows(task.train), rows(task.val)
    assert np.all(Z_val @ task.theta0 >= 0.3 - 1e-12)
    assert ((Z @ task.theta0 > 0) == task.clean).all()


def test_flipped_is_not_useless():
    both = [(separable_facts(t)[1] & ~t.clean).sum() for t in map(separable, range(5))]
    assert sum(both) > 0


@pytest.mark.parametrize("dropped", ["A1", "A2", "A3", "A4"])
@pytest.mark.parametrize("seed", SEEDS)
def test_separable_drops_exactly_one(seed, dropped):
    task = separable(seed, **{dropped: False})
    facts, useful = separable_facts(task)
    assert facts == SEPARABLE | {dropped: False}
    assert np.array_equal(task.val[0], separable(seed).val[0])
    if dropped == "A3":
        assert not useful.any()
        assert not task.clean.any()
    if dropped == "A4":
        assert task.clean.all()
        assert strictly_separates(np.vstack([rows(task.train), rows(task.val)]))
    if dropped == "A2":
        Z = rows(task.train)
        assert np.array_equal(Z[0], -Z[-1])
        assert (~task.clean).sum() == 16


@pytest.mark.parametrize("A4", [True, False])
@pytest.mark.parametrize("seed", SEEDS)
def test_separable_validation_dropped(seed, A4):
    """The last two validation rows contradict one another; a training row q is useless by S_val."""
    task = separable(seed, separable_val=False, A4=A4)
    Z, Z_val = rows(task.train), rows(task.val)
    assert not strictly_separates(Z_val)
    q = Z_val[-2]
    assert np.array_equal(Z_val[-1], -q)
    # L_val >= (2/m) log 2 from those two rows, and t theta0 comes as close as one likes: so along
    # S_val q.theta -> 0 and every other validation margin grows.
    assert abs(q @ task.theta0) < 1e-12
    assert np.all(Z_val[:-2] @ task.theta0 >= 0.3 - 1e-12)
    losses = np.logaddexp(0, -1e3 * Z_val @ task.theta0)
    assert losses.mean() == pytest.approx(2 * np.log(2) / len(Z_val), rel=1e-9)
    # The same t theta0 fits the clean rows (A3); the others need q.theta of one sign (A4, no A2).
    assert np.all(Z[task.clean] @ task.theta0 >= 0.3 - 1e-12)
    assert (~task.clean).sum() == (16 if A4 else 0)
    assert np.array_equal(Z[~task.clean][::2], np.tile(q, (len(Z[~task.clean]) // 2, 1)))
    assert np.array_equal(Z[~task.clean][1::2], -Z[~task.clean][::2])
    assert np.all(Z.any(axis=1))


def test_separable_validation_dropped_direct_mixing_has_no_gap():
    """C04(b)'s control: along t theta0 both losses reach their infima, so mixing costs nothing."""
    task = separable(0, separable_val=False)
    Z, Z_val = rows(task.train), rows(task.val)
    train, val = (np.logaddexp(0, -1e3 * A @ task.theta0).mean() for A in (Z, Z_val))
    assert train == pytest.approx(np.log(2) * (~task.clean).mean(), rel=1e-9)
    assert val == pytest.approx(2 * np.log(2) / len(Z_val), rel=1e-9)


def test_expected_share_of_bad_rows():
    """The angle pi * corrupt: over many rows the share of disagreements is corrupt."""
    bad = [~separable(s, N=2000, corrupt=c).clean for s, c in ((0, 0.2), (1, 0.4))]
    # 2000 rows: a standard deviation of .01; `margin` moves no row across a hyperplane.
    assert np.mean(bad, axis=1) == pytest.approx([0.2, 0.4], abs=0.05)


# Noisy data

# Clean samples of P1, P2, P3 at seed 0, counted in the reference.
CLEAN_COUNTS = [1195, 2956, 573]


def reference(name, seed):
    if not REFERENCE.exists():
        pytest.skip("the reference problems are not beside this repository")
    spec = importlib.util.spec_from_file_location("problems", REFERENCE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.make(name, seed)


@pytest.mark.parametrize("seed", [0, 5])
@pytest.mark.parametrize("name", ["P1", "P2", "P3"])
def test_reproduces_the_reference_problems(name, seed):
    if name == "P3":
        pytest.importorskip("sklearn")
    X, y, X_val, y_val, X_test, y_test, clean, mu = reference(name, seed)
    make = {"P1": noisy_regression, "P2": label_noise, "P3": digits}[name]
    task = make(seed, mu=1e-3) if name == "P3" else make(seed)
    ours = (*task.train, *task.val, *task.test, task.clean)
    for a, b in zip(ours, (X, y, X_val, y_val, X_test, y_test, clean), strict=True):
        assert a.dtype == b.dtype
        assert np.array_equal(a, b)
    assert task.mu == mu


def test_default_sizes_and_shares():
    """The same problems by a few numbers, for where the reference is not at hand."""
    P1, P2 = noisy_regression(), label_noise()
    assert [a.shape for a in (P1.train[0], P1.val[0], P1.test[0])] == [
        (2000, 50),
        (500, 50),
        (5000, 50),
    ]
    assert [len(a[1]) for a in (P2.train, P2.val, P2.test)] == [5000, 1000, 5000]
    assert [int(t.clean.sum()) for t in (P1, P2)] == CLEAN_COUNTS[:2]
    residual = P1.train[1] - P1.train[0] @ P1.theta0
    assert np.std(residual[P1.clean]) == pytest.approx(0.1, rel=0.1)
    assert np.mean(P1.train[1][~P1.clean]) == pytest.approx(1.0, abs=0.3)


def test_digits_sizes_and_share():
    pytest.importorskip("sklearn")
    task = digits()
    assert task.train[0].shape == (1000, 65)
    assert task.val[0].shape == (400, 65)
    assert task.test[0].shape == (397, 65)
    assert np.all(task.train[0][:, -1] == 1)
    assert task.train[0].max() == 1.0
    assert task.mu == 1e-2
    assert int(task.clean.sum()) == CLEAN_COUNTS[2]  # half, and a tenth of the other half
    assert digits(N=1397, m=400).test is None
    assert digits(corrupt=0.0).clean.all()


def test_systematic_targets_come_from_one_wrong_theta():
    task = noisy_regression(kind="systematic", noise=0.01)
    X, y = task.train
    bad = ~task.clean
    theta1, residual, *_ = np.linalg.lstsq(X[bad], y[bad], rcond=None)
    assert np.sqrt(residual[0] / bad.sum()) == pytest.approx(0.01, rel=0.1)
    assert np.linalg.norm(theta1 - task.theta0) > 0.5
    plain = noisy_regression(noise=0.01)
    assert np.array_equal(task.clean, plain.clean)
    assert np.array_equal(y[task.clean], plain.train[1][task.clean])


def test_systematic_labels_follow_one_wrong_theta():
    task, plain = label_noise(kind="systematic"), label_noise(corrupt=0.0)
    changed = task.train[1] != plain.train[1]
    assert np.array_equal(changed, ~task.clean)
    assert changed.mean() == pytest.approx(0.2, abs=0.05)  # half of 0.4 by chance as before
    X = task.train[0][changed]
    direction = task.train[1][changed] @ X  # X'y points to theta1 where labels follow it
    score = task.train[1][changed] * (X @ direction)
    assert (score > 0).mean() > 0.9


@pytest.mark.parametrize("make", [noisy_regression, label_noise])
def test_groups_go_bad_as_a_whole(make):
    task = make(kind="groups", N=1003, m=20, n_test=0)
    names = np.unique(task.groups)
    assert len(names) == 20
    per_group = [set(task.clean[task.groups == g].tolist()) for g in names]
    assert all(len(values) == 1 for values in per_group)
    assert sum(values == {False} for values in per_group) == 8
    assert task.test is None
    assert len(task.problem().group_names) == 20
    untouched = make(kind="groups", N=1003, m=20, n_test=0, corrupt=0.0)
    assert np.array_equal(untouched.train[1] == task.train[1], task.clean)


# The task itself


def test_default_models():
    assert isinstance(linear().problem().model, Ridge)
    assert linear().problem().model.mu == 0.0
    assert noisy_regression(N=50, m=20, n_test=5).problem().model == Ridge(1e-2)
    assert label_noise(N=50, m=20, n_test=5).problem().model == Logistic(1e-3)
    assert separable().problem().model == Logistic(1e-3)
    assert linear(A5=False).problem().model == LeastAbsolute()
    assert linear(A5=False).problem(Ridge(0.5)).model == Ridge(0.5)
    assert len(label_noise(N=50, m=20, n_test=5).problem().test) == 5


def test_has_classes():
    assert has_classes(np.arange(20))
    assert not has_classes(np.arange(21))
    assert not has_classes(np.array([0.5, 1.0]))
    assert has_classes(np.array(["a"] * 30))
    assert has_classes(np.array([True, False]))


@pytest.mark.parametrize("make", [linear, separable, noisy_regression, label_noise])
def test_seeds_decide_everything(make):
    a, b, other = make(7), make(7), make(8)
    assert np.array_equal(a.train[0], b.train[0])
    assert np.array_equal(a.train[1], b.train[1])
    assert not np.array_equal(a.train[0], other.train[0])
    assert np.all(np.isfinite(a.train[0]))


BAD_ARGUMENTS = [
    (linear, {"seed": -1}, "seed is -1; needed"),
    (linear, {"p": 0}, "p is 0; needed"),
    (linear, {"n_useful": 2.5}, "n_useful is 2.5; needed"),
    (linear, {"A1": 0}, "A1 is 0; needed True or False"),
    (linear, {"A1": False, "A3": False}, "A1 and A3 are both False; needed one"),
    (linear, {"A3": False, "A4": False}, "A3 and A4 are both False; needed one"),
    (linear, {"A2": False, "A4": False}, "A2 and A4 are both False; needed one"),
    (linear, {"A2": False, "n_useless": 1}, "n_useless is 1; needed at least 2"),
    (linear, {"A1": False, "A2": False, "n_useless": 2}, "n_useless is 2; needed at least 3"),
    (linear, {"m": 4}, "6 of them shifted, with p = 20, m = 4; needed"),
    (linear, {"m": 10, "A3": False}, "15 of them shifted, with p = 20, m = 10; needed"),
    (separable, {"p": 1}, "p is 1; needed"),
    (separable, {"m": 2}, "m is 2; needed"),
    (separable, {"corrupt": 0.0}, "corrupt is 0.0; needed 0 < share < 1"),
    (separable, {"corrupt": 1.0}, "corrupt is 1.0; needed 0 < share < 1"),
    (separable, {"margin": 0.0}, "margin is 0.0; needed"),
    (separable, {"mu": -1.0}, "mu is -1.0; needed"),
    (separable, {"A2": False, "A3": False}, "A2 and A3 are both False; needed one"),
    (separable, {"A3": False, "separable_val": False}, "A3 and separable_val are both False"),
    (separable, {"m": 3, "corrupt": 0.01}, "3 validation rows on which both labellings agree"),
    (noisy_regression, {"corrupt": 1.2}, "corrupt is 1.2; needed 0 <= share <= 1"),
    (noisy_regression, {"corrupt": float("nan")}, "corrupt is nan; needed 0 <= share <= 1"),
    (noisy_regression, {"corrupt": "half"}, "corrupt is 'half'; needed"),
    (noisy_regression, {"kind": "flip"}, "kind is 'flip'; needed one of 'noise'"),
    (noisy_regression, {"noise": -0.1}, "noise is -0.1; needed"),
    (noisy_regression, {"n_test": -1}, "n_test is -1; needed"),
    (label_noise, {"kind": "groups", "N": 10}, "n_groups is 20; needed at most"),
    (label_noise, {"corrupt": -0.1}, "corrupt is -0.1; needed"),
    (label_noise, {"kind": "noise"}, "kind is 'noise'; needed one of 'flip'"),
    (digits, {"N": 1500}, "N [+] m is 1900; needed at most 1797"),
    (digits, {"corrupt": 2}, "corrupt is 2; needed"),
]


@pytest.mark.parametrize(("make", "arguments", "message"), BAD_ARGUMENTS)
def test_bad_arguments(make, arguments, message):
    if make is digits:
        pytest.importorskip("sklearn")
    with pytest.raises(ValueError, match=message) as caught:
        make(**arguments)
    assert "; try " in str(caught.value)
    assert "\n" not in str(caught.value)


def test_digits_without_scikit_learn(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ImportError, match=r'pip install "bdtheory\[sklearn\]"') as caught:
        digits()
    assert "\n" not in str(caught.value)


# Numbers in files that int64 or float64 does not hold


def csv_of(folder, cells):
    path = folder / "t.csv"
    path.write_text("a,y\n" + "".join(f"0,{cell}\n" for cell in cells))
    return path


def test_whole_numbers_that_float64_would_merge_are_refused_with_their_row(tmp_path):
    for cells, row in (
        ([10**19, 12345678901234567890, 12345678901234567891], 3),
        ([2**64, 2**53 + 1], 3),
        ([-(2**64) - 1, 0], 2),
        ([2**64, 1, 18446744073709552000], 4),  # the float's own text
    ):
        with pytest.raises(ValueError) as error:
            read_table(csv_of(tmp_path, cells), "y")
        message = str(error.value)
        assert f"t.csv, column 'y', row {row}: got '{cells[row - 2]}'; needed whole" in message
        assert "try a word before each number if they are labels" in message
        assert "\n" not in message


def test_large_numbers_that_float64_holds_stay(tmp_path):
    y = read_table(csv_of(tmp_path, [10**20, 2**64, -3]), "y").y
    assert y.dtype == np.float64 and y.tolist() == [1e20, 2.0**64, -3.0]
    assert read_table(csv_of(tmp_path, [10**30, 2]), "y").y.tolist() == [1e30, 2.0]
    y = read_table(csv_of(tmp_path, [2**63 - 1, -(2**63)]), "y").y
    assert y.dtype == np.int64 and y.tolist() == [2**63 - 1, -(2**63)]
    y = read_table(csv_of(tmp_path, ["12345678901234567891.0", 1]), "y").y  # a quantity
    assert y.tolist() == [12345678901234567891.0, 1.0]


def npz_of(folder, **arrays):
    np.savez(folder / "t.npz", **arrays)
    return folder / "t.npz"


def test_unsigned_targets_beyond_int64_are_refused_with_their_row(tmp_path):
    y = np.array([1, 2**63 - 1, 2**63], dtype=np.uint64)
    needed = "y.*row 2: got 9223372036854775808; needed at most 2\\^63 - 1 .*; try y.astype"
    with pytest.raises(ValueError, match=needed):
        read_table(npz_of(tmp_path, X=np.ones((3, 1)), y=y))
    kept = read_table(npz_of(tmp_path, X=np.ones((2, 1)), y=y[:2])).y
    assert kept.dtype == np.int64 and kept.tolist() == [1, 2**63 - 1]


@pytest.mark.skipif(np.finfo(np.longdouble).max == np.finfo(np.float64).max, reason="same range")
@pytest.mark.parametrize("name, column", [("X", "x0"), ("y", "y")])
def test_numbers_beyond_float64_are_not_finite_and_warn_of_nothing(name, column, tmp_path):
    """A warning would be an error here: see filterwarnings."""
    arrays = {"X": np.ones((2, 1), np.longdouble), "y": np.ones(2, np.longdouble)}
    assert read_table(npz_of(tmp_path, **arrays)).y.dtype == np.float64
    arrays[name][1] = np.longdouble("1e400")
    with pytest.raises(ValueError, match=f"column '{column}', row 1: got inf; needed a finite"):
        read_table(npz_of(tmp_path, **arrays))
