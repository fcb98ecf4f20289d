"""C02: bilevel data selection and bilevel multi-objective optimisation have the same solutions.

Claim: (v2, the abstract's claim; v1r, as reported) BDS, min L_val over w and theta in S(w), and
    BMO, min L_val over the weakly Pareto points WP, recover the same solution. Under A2 WP is the
    union of the S_i and S(w) the intersection of the S_i with w_i > 0, so that the optimal models
    are the same; both values are L_val* under A3. Under A5 alone WP is the union of the S(w) (C01).
Assumptions: squared loss, mu = 0: (a) A2, A3; (b) A5 alone.
Check: (a) G(theta) by SciPy against min_i l_i(theta), 0 exactly on the union of the S_i; the gap of
    w against its value if all w_i > 0 must be fitted; the re-fit's L_val against NumPy's least on
    the intersection; V_BDS by the best of all supports, and by Implicit and BMO, certified; V_BMO
    by NumPy, over all S_i; each one's optimal model put to the other's condition. (b) V_BMO by
    NumPy against the re-fit to certified weights, and the two models, with theta_v, the minimiser
    of L_val, in WP and not in WP.
Control: without A3 both values are L_val* plus the least price of a sample, so equal still. Without
    A2 WP has points in no S_i, where G = 0 < min_i l_i, so that only (b) is left. Without A5, for
    l = 1 - exp(-(theta -+ 1)^2) and L_val = theta^2 / 2: V_BMO = 0 < V_BDS = .458.
Not covered: which of several optimal models a method returns; whether a method finds V_BDS under
    A5 alone (Implicit may end in a local optimum); mu > 0; values that are not attained.
Runtime: about 0.6 s a seed.
"""

from __future__ import annotations

import numpy as np

from bdtheory import BMO, Implicit, Problem, Status, hypergradient, learn_weights
from bdtheory.hypergradient import mean_loss, refit
from bdtheory.tasks import Task, linear

from .claim import Band, Claim, Expect
from .instances import clean
from .pareto import (
    WELLS_VALUE,
    contradictory,
    gradients,
    hull_test,
    inner_gap,
    losses,
    pareto_gap,
    two_wells,
    validation_loss,
)
from .reference import best_for, least_squares, row_and_null_space, squared_loss

CLAIM = Claim(
    "C02",
    "BDS and BMO have the same solutions",
    "v2, v1r",
    figure="principle",
    proof=(
        "C02_S_w",
        "C02_WP",
        "C02_optimal_models",
        "C02_values",
        "C02_values_A3",
        "C02_optimal_models_A5",
        "C02_values_A5",
    ),
)
EXACT = Band.around(0.0, 1e-15)  # relative: sums of squares of rounding errors are below 1e-25
SOLVED = Band.around(0.0, 1e-8)  # of the mean loss: SLSQP finds G to 1e-9 of it
ONE = Band.around(1.0, 1e-6)  # two exact formulas, condition numbers up to 1e4
ROUNDING = Band.around(0.0, 1e-9)  # relative, of models: condition numbers up to 1e4


# (a) A2 ------------------------------------------------------------------------------------------


def make_instance(rng: np.random.Generator, *, A3: bool = True) -> Task:
    """y_val = X_val theta0, p = 8, m = 12; N = 6 rows, 3 from theta0 and 3 shifted; A2."""
    return linear(int(rng.integers(2**31)), p=8, m=12, n_useful=3, n_useless=3, A3=A3)


def measure(task: Task) -> dict[str, float]:
    """The two values, from both sides, and each one's model under the other's condition."""
    problem, scale = task.problem(), np.mean(task.train[1] ** 2)
    prices = [fitted(problem, np.array([i]))[1] for i in range(problem.N)]
    V_BMO, best = min(prices), int(np.argmin(prices))
    theta, e = fitted(problem, np.array([best]))[0], np.eye(problem.N)[best]
    supports = (np.arange(1, 2**problem.N)[:, None] >> np.arange(problem.N)) % 2
    V_BDS = min(hypergradient(problem, J / J.sum())[0] for J in supports)
    found = learn_weights(problem, Implicit())
    infimum = squared_loss(*task.val, least_squares(*task.val))
    numbers = {
        "V_BMO - L_val*": (V_BMO - infimum) / scale,
        "V_BMO - L_val* - least price": (V_BMO - infimum - least_price(task)) / scale,
        "V_BDS - V_BMO": (V_BDS - V_BMO) / scale,
        "learned - V_BMO": (found.val_loss - V_BMO) / scale,
        "certified": found.status is Status.CERTIFIED,
        "least l_i, learned": losses(problem, found.theta).min() / scale,
        "learned model": np.linalg.norm(found.theta - theta) / np.linalg.norm(theta),
        "gap of the BMO model": inner_gap(problem, theta, e) / scale,
        "BMO model": np.linalg.norm(refit(problem, e).theta - theta) / np.linalg.norm(theta),
    }
    return {name: float(value) for name, value in numbers.items()}


def fitted(problem: Problem, J: np.ndarray) -> tuple[np.ndarray, float]:
    """The point of the intersection of S_i, i in J, with the least L_val, and that; by NumPy."""
    (X, y), val = (problem.train.X[J], problem.train.y[J]), (problem.val.X, problem.val.y)
    theta = best_for(X, y, *val)
    return theta, squared_loss(*val, theta)


def least_price(task: Task) -> float:
    """min over i of (x_i.theta_v - y_i)^2 / (2 x_i' A^-1 x_i), of S_i over L_val* = 0."""
    (X, y), (X_val, y_val) = task.train, task.val
    r = X @ least_squares(X_val, y_val) - y
    lever = np.sum(X.T * np.linalg.solve(X_val.T @ X_val / len(y_val), X.T), axis=0)
    return float(np.min(r**2 / (2 * lever)))


def measure_sets(task: Task, rng: np.random.Generator) -> dict[str, float]:
    """WP against the union of the S_i, S(w) against the intersection of the S_i with w_i > 0."""
    problem, p = task.problem(), task.train[0].shape[1]
    scale = np.mean(task.train[1] ** 2)
    outside = list(3.0 * rng.standard_normal((4, p)))
    G = [pareto_gap(problem, theta)[0] / losses(problem, theta).min() for theta in outside]
    no = [hull_test(gradients(problem, theta)).weights is None for theta in outside]
    alone = [point_of(problem, np.array([i]), rng) for i in range(problem.N)]
    yes = [hull_test(gradients(problem, theta)).weights is not None for theta in alone]
    gaps, values = [], []
    for k in (1, 2, 4, 6):
        J = rng.choice(problem.N, k, replace=False)
        w = np.bincount(J, rng.dirichlet(np.ones(k)), problem.N)
        inside, partly = point_of(problem, J, rng), point_of(problem, J[1:], rng)
        gaps.append([inner_gap(problem, inside, w) / scale, inner_gap(problem, partly, w)])
        gaps[-1][1] /= w[J[0]] * losses(problem, partly)[J[0]]
        value = mean_loss(problem, refit(problem, w).theta, problem.val)
        values.append((value - fitted(problem, J)[1]) / scale)
    return {
        "least G over min l_i": float(np.min(G)),
        "largest G over min l_i": float(np.max(G)),
        "answers": float(np.mean(no + yes)),
        "gap, all fitted": float(np.max(np.abs(gaps), axis=0)[0]),
        "least gap, all but one": float(np.min(gaps, axis=0)[1]),
        "largest gap, all but one": float(np.max(gaps, axis=0)[1]),
        "L_val": float(np.max(np.abs(values))),
    }


def point_of(problem: Problem, J: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A random point of the intersection of the S_i, i in J (all of R^p for no i at all)."""
    theta = rng.standard_normal(problem.train.X.shape[1])
    if not len(J):
        return theta
    X, y = problem.train.X[J], problem.train.y[J]
    return least_squares(X, y) + row_and_null_space(X)[1] @ (row_and_null_space(X)[1].T @ theta)


def expect_same(numbers: dict[str, float], expect: Expect) -> None:
    """What A2 gives, with A3 or without."""
    expect("V_BDS - V_BMO", numbers["V_BDS - V_BMO"], ROUNDING)
    expect("V_BMO - L_val* - least price", numbers["V_BMO - L_val* - least price"], ROUNDING)
    # m > p: S_val, and the best point of any S_i, is a single point.
    expect("gap of the BMO model at its e_i", numbers["gap of the BMO model"], EXACT)
    expect("BMO model - re-fit to e_i", numbers["BMO model"], ROUNDING)


def expect_optimum(numbers: dict[str, float], expect: Expect) -> None:
    """What A2 and A3 give."""
    expect_same(numbers, expect)
    expect("V_BMO - L_val*", numbers["V_BMO - L_val*"], EXACT)
    expect("learned L_val - V_BMO", numbers["learned - V_BMO"], EXACT)
    expect("certified", numbers["certified"], Band.around(1.0, 0.5))
    expect("least l_i at the learned model", numbers["least l_i, learned"], EXACT)
    expect("learned model - BMO model", numbers["learned model"], ROUNDING)


def test_holds_under_A2(seed: int, expect: Expect) -> None:
    expect_optimum(measure(make_instance(CLAIM.rng(seed))), expect)


def test_holds_for_the_method_bmo(seed: int, expect: Expect) -> None:
    """p = 20, m = 30, 9 useful rows of 15: enough of them for closed-form weights to settle on."""
    task = linear(int(CLAIM.rng(seed).integers(2**31)))
    found, scale = learn_weights(task.problem(), BMO()), np.mean(task.train[1] ** 2)
    expect("BMO certified", found.status is Status.CERTIFIED, Band.around(1.0, 0.5))
    expect("its L_val - L_val*", found.val_loss / scale, EXACT)
    least = losses(task.problem(), found.theta).min() / scale
    expect("least l_i at its model", least, EXACT)


def test_holds_for_the_sets(seed: int, expect: Expect) -> None:
    rng = CLAIM.rng(seed)
    sets = measure_sets(make_instance(rng), rng)
    for name in ("least G over min l_i", "largest G over min l_i"):
        expect(f"{name}, random theta", sets[name], ONE)
    expect("share of right hull tests, on no S_i and on one", sets["answers"], Band.around(1, 1e-9))
    expect("gap of w where its support is fitted", sets["gap, all fitted"], EXACT)
    for name in ("least gap, all but one", "largest gap, all but one"):
        expect(f"{name}, over w_j l_j", sets[name], ONE)
    expect("L_val of the re-fit, less NumPy's", sets["L_val"], ROUNDING)


def test_fails_without_A3(seed: int, expect: Expect) -> None:
    """The values are no longer L_val*, but equal: V_BMO is L_val* plus the least price."""
    numbers = measure(make_instance(CLAIM.rng(seed, 1), A3=False))
    expect_same(numbers, expect)
    # L_val* = 0: prices, sums of squares of N(0, 1) times a squared shift, come to 1e-5 and more.
    value = np.log10(numbers["V_BMO - L_val*"])
    expect("log10 of V_BMO - L_val*", value, Band(-5.0, 1.0))


# (b) A5 alone ------------------------------------------------------------------------------------


def make_contradictory_instance(
    rng: np.random.Generator, *, inside: bool = True, A5: bool = True
) -> Problem:
    """p = 3, N = 8, m = 8, all N(0, 1): the first draw with theta_v in WP, or not in WP.

    Without A5: two wells.
    """
    if not A5:
        return two_wells(rng)
    while True:
        problem = contradictory(rng, p=3, N=8)
        theta_v = least_squares(problem.val.X, problem.val.y)
        if (hull_test(gradients(problem, theta_v)).weights is not None) == inside:
            return problem


def measure_values(problem: Problem) -> dict[str, float]:
    """V_BMO by NumPy and V_BDS by re-fits, each with its model; L_val at theta = 0 is the unit.

    If theta_v is in WP, V_BMO = L_val*. Else, for the squared loss: the signs of the residuals
    decide whether 0 is in the hull, and every theta with some l_i = 0 is in WP. So on a segment
    from theta_v to a point of WP some residual is 0 first: V_BMO is the least price of one sample.
    """
    theta_v = least_squares(problem.val.X, problem.val.y)
    hull = hull_test(gradients(problem, theta_v))
    if hull.weights is None:
        each = [fitted(problem, np.array([i])) for i in range(problem.N)]
        theta, V_BMO = min(each, key=lambda pair: pair[1])
        w = np.eye(problem.N)[int(np.argmin([value for _, value in each]))]
    else:
        theta, V_BMO, w = theta_v, validation_loss(problem, theta_v), hull.weights
    found, unit = refit(problem, w).theta, float(np.mean(problem.val.y**2) / 2)
    return {
        "V_BMO": V_BMO,
        "V_BDS": mean_loss(problem, found, problem.val),
        "V_BDS - V_BMO": (mean_loss(problem, found, problem.val) - V_BMO) / unit,
        "V_BMO - L_val*": (V_BMO - validation_loss(problem, theta_v)) / unit,
        "models": float(np.linalg.norm(found - theta) / np.linalg.norm(theta)),
        "G": pareto_gap(problem, theta)[0] / float(losses(problem, theta).mean()),
    }


def expect_same_value(problem: Problem, expect: Expect) -> None:
    """What A5 gives."""
    numbers = measure_values(problem)
    expect("V_BDS - V_BMO", numbers["V_BDS - V_BMO"], ROUNDING)
    expect("the two models", numbers["models"], ROUNDING)
    expect("G at the BMO model", numbers["G"], SOLVED)


def test_holds_under_A5(seed: int, expect: Expect) -> None:
    rng = CLAIM.rng(seed)
    for inside in (True, False):
        problem = make_contradictory_instance(rng, inside=inside)
        expect_same_value(problem, expect)


def test_fails_without_A2(seed: int, expect: Expect) -> None:
    """theta_v is in WP and in no S_i: G is 0 where A2 makes it min_i l_i, but the values agree."""
    problem = make_contradictory_instance(CLAIM.rng(seed, 1))
    expect_same_value(problem, expect)
    theta_v = least_squares(problem.val.X, problem.val.y)
    ratio = pareto_gap(problem, theta_v)[0] / losses(problem, theta_v).min()
    expect("G(theta_v) over min_i l_i", ratio, Band.around(0.0, 1e-6))


def test_fails_without_A5(seed: int, expect: Expect) -> None:
    problem = make_contradictory_instance(CLAIM.rng(seed, 1), A5=False)
    numbers = measure_values(problem)
    expect("V_BMO", numbers["V_BMO"], EXACT)
    expect("G at the BMO model", numbers["G"], SOLVED)
    expect("L_val at the weights of the hull", numbers["V_BDS"], WELLS_VALUE)
    thetas = [refit(problem, np.array([a, 1 - a])).theta for a in np.linspace(0, 1, 21)]
    expect("V_BDS, all w tried", min(validation_loss(problem, t) for t in thetas), WELLS_VALUE)


def test_recovers(seed: int, expect: Expect) -> None:
    """Squares in place of the wells; and A3 restored."""
    problem = two_wells(CLAIM.rng(seed, 1), A5=True)
    expect_same_value(problem, expect)
    numbers = measure(make_instance(CLAIM.rng(seed, 1)))
    expect_optimum(numbers, expect)


def test_not_vacuous(seed: int, expect: Expect) -> None:
    """Where the values are not L_val*, they are well above it."""
    rng = CLAIM.rng(seed)
    useless = ~clean(make_instance(rng))
    expect("useless samples, of 6", useless.sum(), Band.around(3.0, 0.5))
    numbers = measure_values(make_contradictory_instance(rng, inside=False))
    value = np.log10(numbers["V_BMO - L_val*"])
    expect("log10 of V_BMO - L_val*, theta_v not in WP", value, Band(-9.0, 1.0))
