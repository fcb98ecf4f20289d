"""C06: the penalty problem has the right minimisers and, in the limit, the right gradient.

Claim: (here) P_gamma(theta, w) = L_val + gamma (F_w(theta) - v(w)) is what gradient-based BDS
    solves. (a) mu = 0: min P_gamma = L_val* for every gamma > 0, with v kept or dropped: w = e_i
    attains it for a useful i. With v dropped every minimiser is supported on a jointly useful set,
    even without A2; w frozen at uniform it is direct mixing (DM) at ratio gamma. (b) mu > 0:
    d/dw_i of min_theta P_gamma = gamma (l_i(theta_gamma) - l_i(theta(w))) tends to dL_val/dw_i,
    with factor 1: gamma times the error tends to r_i x_i'H^-1 A H^-1 g + (x_i'H^-1 g)^2 / 2, where
    r_i = x_i.theta(w) - y_i and g = grad L_val(theta(w)).
Assumptions: (a) A1, A3. (b) mu > 0, squared loss.
Check: (a) min_theta P_gamma on all supports of 6 samples, the least of it against L_val* by NumPy,
    the jointly useful share of its minimisers; DM and its loss against a NumPy fit. (b) slope of
    the error in gamma from 1e2 to 1e6, as gamma (r_i d_i + d_i^2 / 2), d_i = x_i.(theta_gamma -
    theta(w)), against NumPy's hypergradient; its size at 1e6 against the limit; the package's own
    hypergradient and its gradient of P_gamma by subtraction.
Control: (a) without A3, V_BDS - min P_gamma = 1 / (2 (1 + gamma)) for one sample. With v kept and
    without A2 a pair of useless samples attains the minimum: targets 1, -1, 0 at w = (1/4, 1/4,
    1/2) have penalty 0, and gamma / 4 without v. With w frozen at uniform the minimum is above
    L_val*. (b) A duplicated column, mu = 0: a plateau against the minimum-norm hypergradient, at
    its distance from the optimistic one, and slope -1 against the optimistic one.
Not covered: whether gradient steps on (theta, w) reach a minimiser (C07); other losses in (b).
Runtime: about 0.6 s a seed.
"""

from __future__ import annotations

import numpy as np

from bdtheory import (
    DirectMixing,
    Problem,
    Ridge,
    hypergradient,
    jointly_useful,
    learn_weights,
    usefulness,
)
from bdtheory.hypergradient import refit
from bdtheory.methods.bmo import fit_jointly
from bdtheory.methods.penalty import _Objective
from bdtheory.tasks import Task, linear

from .claim import Band, Claim, Expect
from .reference import best_for, least_squares, squared_loss

CLAIM = Claim(
    "C06",
    "The penalty problem",
    "here",
    figure="penalty_rate",
    proof=("C06_minimum", "C06_support"),
)
EXACT = Band.around(0.0, 1e-12)  # sums of squares of rounding errors, times gamma <= 1e3
ONE = Band.around(1.0, 1e-6)  # two exact formulas, condition numbers up to 1e4


# (a) values and minimisers -----------------------------------------------------------------------

GAMMAS = (1e-2, 1e3)


def make_instance(rng: np.random.Generator, *, A2: bool = True, A3: bool = True) -> Task:
    """y_val = X_val theta0, S_val = {theta0}; 3 useful rows from theta0, 2 shifted ones."""
    seed = int(rng.integers(2**31))
    return linear(seed, p=10, m=12, n_useful=3, n_useless=2, A2=A2, A3=A3)


def make_crossed_instance(rng: np.random.Generator) -> Task:
    """Validation a e_1 -> 0, training e_1 +- b e_2 -> c: useful one by one, not together."""
    a, b, c = rng.uniform(0.5, 2.0, 3)
    train = np.array([[1.0, b], [1.0, -b]]), np.array([c, c])
    return Task("crossed", train, (np.array([[a, 0.0]]), np.zeros(1)), mu=0.0)


def measure(task: Task, *, value_function: bool = False) -> dict[str, float]:
    """min over theta of P_gamma on every support, uniform weights there, gamma over five decades.

    Losses in units of the mean squared training target.
    """
    problem, scale = task.problem(), float(np.mean(task.train[1] ** 2))
    infimum = squared_loss(*task.val, least_squares(*task.val))
    supports = (np.arange(1, 2**problem.N)[:, None] >> np.arange(problem.N)) % 2 == 1
    together = np.array([bool(jointly_useful(problem, J)) for J in supports])
    useless = (supports & ~usefulness(problem).useful).sum(axis=1) / supports.sum(axis=1)
    gaps, apart, mass = [], 0.0, 0.0
    for gamma in GAMMAS:
        P = _Objective(problem, gamma, value_function)
        gap = np.array([P(J / J.sum())[0] - infimum for J in supports]) / scale
        minimal = gap <= gap.min() + 1e-9 * gamma
        apart = max(apart, 1 - together[minimal].mean())
        mass = max(mass, useless[minimal].max())
        gaps.append([gap.min(), gap[-1]])
    least, uniform = np.transpose(gaps)
    return {
        "min P - L_val*": float(least[np.argmax(np.abs(least))]),
        "not jointly useful": float(apart),
        "largest useless mass": float(mass),
        "least at uniform": float(uniform.min()),
    }


def price_without_A3(rng: np.random.Generator) -> np.ndarray:
    """2 (1 + gamma) (V_BDS - min P_gamma) / a^2 for x = 1 -> a, validation 1 -> 0."""
    a = rng.uniform(0.5, 2.0)
    one = np.ones((1, 1))
    problem = Problem(Ridge(0.0), (one, np.array([a])), val=(one, np.zeros(1)))
    V_BDS = hypergradient(problem, np.ones(1))[0]
    values = [_Objective(problem, gamma, True)(np.ones(1))[0] for gamma in GAMMAS]
    return (V_BDS - np.array(values)) * 2 * (1 + np.array(GAMMAS)) / a**2


def cancelling_penalties(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """P_gamma / (gamma a^2) at w = (1/4, 1/4, 1/2), targets a, -a, 0, with v kept and dropped.

    Validation target 0: theta = 0 minimises L_val and F_w, and F_w(0) = a^2 / 4 = v(w).
    """
    a, w = rng.uniform(0.5, 2.0), np.array([0.25, 0.25, 0.5])
    train = np.ones((3, 1)), np.array([a, -a, 0.0])
    problem = Problem(Ridge(0.0), train, val=(np.ones((1, 1)), np.zeros(1)))
    kept, dropped = (
        np.array([_Objective(problem, gamma, v)(w)[0] / (gamma * a**2) for gamma in GAMMAS])
        for v in (True, False)
    )
    return kept, dropped


def frozen_selector(task: Task, gamma: float) -> tuple[float, float]:
    """P_gamma at uniform w over NumPy's minimum of L_val + gamma mean l; DM's distance from it."""
    problem, ((X, y), (X_val, y_val)) = task.problem(), (task.train, task.val)
    rows = np.vstack([X * np.sqrt(gamma / len(y)), X_val / np.sqrt(len(y_val))])
    targets = np.concatenate([y * np.sqrt(gamma / len(y)), y_val / np.sqrt(len(y_val))])
    theta = least_squares(rows, targets)
    P = _Objective(problem, gamma, False)(np.full(problem.N, 1 / problem.N))[0]
    reference = squared_loss(X_val, y_val, theta) + gamma * squared_loss(X, y, theta)
    dm = learn_weights(problem, DirectMixing(gamma)).theta
    return P / reference, float(np.linalg.norm(dm - theta) / np.linalg.norm(theta))


def expect_minimum(numbers: dict[str, float], expect: Expect) -> None:
    expect("min P_gamma - L_val*", numbers["min P - L_val*"], EXACT)
    # A share of the minimisers, at most 31 supports: nothing between 0 and 1/31.
    none = Band.around(0.0, 1 / 32)
    expect("minimisers that are not jointly useful", numbers["not jointly useful"], none)


def test_holds_values(seed: int, expect: Expect) -> None:
    task = make_instance(CLAIM.rng(seed))
    for v in (False, True):  # under A2 v(w) = 0 for every w: keeping it changes nothing
        expect_minimum(measure(task, value_function=v), expect)
    expect_minimum(measure(make_crossed_instance(CLAIM.rng(seed))), expect)
    for gamma in GAMMAS:
        ratio, distance = frozen_selector(task, gamma)
        expect(f"P_gamma at uniform w over NumPy's, gamma = {gamma:g}", ratio, ONE)
        expect(f"DM - theta_gamma(uniform), gamma = {gamma:g}", distance, Band.around(0.0, 1e-9))


def test_holds_values_without_A2(seed: int, expect: Expect) -> None:
    expect_minimum(measure(make_instance(CLAIM.rng(seed), A2=False)), expect)


def test_fails_without_A2_where_v_is_kept(seed: int, expect: Expect) -> None:
    numbers = measure(make_instance(CLAIM.rng(seed, 1), A2=False), value_function=True)
    expect("min P_gamma - L_val*", numbers["min P - L_val*"], EXACT)
    # The two useless rows cancel at equal weights: alone, and beside any of 3 useful rows.
    expect("largest useless mass", numbers["largest useless mass"], Band.around(1.0, 1e-9))
    share = Band.around(8 / 15, 1e-9)  # 8 supports with the pair, 7 without any of it
    expect("minimisers that are not jointly useful", numbers["not jointly useful"], share)
    for name, values, at in zip(
        ("kept", "dropped"), cancelling_penalties(CLAIM.rng(seed, 2)), (0.0, 0.25), strict=True
    ):
        worst = values[np.argmax(np.abs(values - at))]
        expect(f"P_gamma / gamma at (1/4, 1/4, 1/2), v {name}", worst, Band.around(at, 1e-9))


def test_fails_without_A3(seed: int, expect: Expect) -> None:
    numbers = measure(make_instance(CLAIM.rng(seed, 1), A3=False))
    expect("log10 of min P_gamma - L_val*", np.log10(numbers["min P - L_val*"]), Band(-6.0, 0.0))
    for gamma, price in zip(GAMMAS, price_without_A3(CLAIM.rng(seed, 2)), strict=True):
        # V_BDS - min P cancels to 1 / (1 + gamma): 1e-16 / 1e-3 is left.
        expect(f"2 (1 + gamma) (V_BDS - min P), gamma = {gamma:g}", price, Band.around(1.0, 1e-9))


def test_fails_without_filtering(seed: int, expect: Expect) -> None:
    """w frozen at uniform: DM. Its least P_gamma is above L_val* by order gamma."""
    numbers = measure(make_instance(CLAIM.rng(seed, 1)))
    least = numbers["least at uniform"] / GAMMAS[0]
    # Over gamma it tends to the useless share of mean l(theta0) <= 2/5 of 9/2, target squares >= 1.
    expect("log10 of (P_gamma - L_val*) / gamma", np.log10(least), Band(-3.0, 1.0))


def test_recovers_values(seed: int, expect: Expect) -> None:
    expect_minimum(measure(make_instance(CLAIM.rng(seed, 1))), expect)


# (b) gradients -----------------------------------------------------------------------------------

STRENGTHS = np.logspace(2, 6, 9)


def make_gradient_instance(
    rng: np.random.Generator, *, mu: float = 0.1, duplicated: bool = False, tie: str = "validation"
) -> tuple[Problem, np.ndarray]:
    """(problem, w): N = 12 > p = 6 noisy rows, m = 8 validation rows, weights all positive.

    duplicated: the last training column repeats the first, in the validation data it does not.
    """
    X, X_val = rng.standard_normal((12, 6)), rng.standard_normal((8, 6))
    theta0, noise = rng.standard_normal(6), rng.standard_normal(12)
    if duplicated:
        X[:, -1], theta0[[0, -1]] = X[:, 0], (2.0, -2.0)  # the least norm wants equal entries
    train, val = (X, X @ theta0 + noise), (X_val, X_val @ theta0)
    w = rng.uniform(0.5, 1.5, 12)
    return Problem(Ridge(mu, tie_break=tie), train, val=val), w / w.sum()


def measure_gradient(problem: Problem, w: np.ndarray) -> dict[str, float]:
    """The error of the penalty's gradient against dL_val/dw of the problem's tie-break."""
    X, exact = problem.train.X, hypergradient(problem, w)[1]
    theta = refit(problem, w).theta
    r, curves = X @ theta - problem.train.y, []
    for gamma in STRENGTHS:
        d = X @ (fit_jointly(problem, w, gamma, None).theta - theta)
        curves.append(gamma * (r * d + d**2 / 2) - exact)
    size = np.linalg.norm(curves, axis=1)
    subtracted = _Objective(problem, 1e3, True)(w)[1] - exact
    reference, limit = gradient_by_numpy(problem, w)
    return {
        "slope": float(np.polyfit(np.log(STRENGTHS), np.log(size), 1)[0]),
        "last slope": float(np.log10(size[-1] / size[-3])),  # from 1e5 to 1e6
        "gamma error / limit": float(STRENGTHS[-1] * curves[-1] @ limit / (limit @ limit)),
        "plateau": float(size[-1] / np.linalg.norm(reference - exact)),
        "by subtraction": float(np.linalg.norm(subtracted) / size[2]),  # STRENGTHS[2] = 1e3
        "against NumPy": float(np.linalg.norm(exact - reference) / np.linalg.norm(reference)),
        "error at 100": float(size[0] / np.linalg.norm(exact)),
    }


def gradient_by_numpy(problem: Problem, w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """-r_i x_i'H^+ g at the optimistic theta(w), and lim gamma error, each (N,).

    H = X'WX + mu I, H^+ its pseudo-inverse. At mu = 0 theta(w) is the minimiser of F_w best for
    validation. The limit is exact for mu > 0 only.
    """
    (X, y), (X_val, y_val) = ((d.X, d.y) for d in (problem.train, problem.val))
    H = (X.T * w) @ X + problem.model.mu * np.eye(X.shape[1])
    A = X_val.T @ X_val / len(y_val)
    inverse = np.linalg.pinv(H, rcond=1e-10, hermitian=True)
    theta = inverse @ (X.T @ (w * y))
    if problem.model.mu == 0.0:
        theta = best_for(X * np.sqrt(w)[:, None], np.sqrt(w) * y, X_val, y_val)
    h = inverse @ (A @ theta - X_val.T @ y_val / len(y_val))
    r = X @ theta - y
    return -r * (X @ h), r * (X @ inverse @ A @ h) + (X @ h) ** 2 / 2


# The next term is of relative size c / gamma with c at most about 20 (the largest eigenvalue of
# H^-1 A, here H >= .1), at its largest for gamma = 100 in a fit over four decades.
SLOPE = Band.around(-1.0, 0.05)
NEXT_TERM = Band.around(1.0, 1e-3)


def expect_gradient(numbers: dict[str, float], expect: Expect) -> None:
    expect("slope of the error in gamma", numbers["slope"], SLOPE)
    # From gamma = 1e5 on the next term is a thousandth of what it is at 100.
    expect("slope of the error, last decade", numbers["last slope"], Band.around(-1.0, 1e-3))
    expect("gamma error over its limit, gamma = 1e6", numbers["gamma error / limit"], NEXT_TERM)
    expect("hypergradient - NumPy's", numbers["against NumPy"], Band.around(0.0, 1e-9))
    # gamma (l_i - l_i) loses 1e3 * 1e-16 of an error above 1e-5.
    expect("error by subtraction, gamma = 1e3", numbers["by subtraction"], ONE)


def test_holds_gradient(seed: int, expect: Expect) -> None:
    expect_gradient(measure_gradient(*make_gradient_instance(CLAIM.rng(seed))), expect)


def test_fails_without_mu(seed: int, expect: Expect) -> None:
    """A duplicated column, mu = 0, and the minimum-norm minimiser instead of the optimistic one."""
    instance = make_gradient_instance(
        CLAIM.rng(seed, 1), mu=0.0, duplicated=True, tie="minimum-norm"
    )
    numbers = measure_gradient(*instance)
    # What falls like 1/gamma is at gamma = 1e5 below 1e-3 of the plateau.
    expect("slope of the error, last decade", numbers["last slope"], Band.around(0.0, 1e-3))
    # The distance of the two hypergradients.
    expect("plateau over its prediction", numbers["plateau"], Band.around(1.0, 1e-3))


def test_recovers_gradient(seed: int, expect: Expect) -> None:
    """The duplicated column again: with the optimistic minimiser, and with mu > 0."""
    optimistic = make_gradient_instance(CLAIM.rng(seed, 1), mu=0.0, duplicated=True)
    numbers = measure_gradient(*optimistic)
    expect("slope of the error, optimistic", numbers["slope"], SLOPE)
    expect("optimistic - NumPy's", numbers["against NumPy"], Band.around(0.0, 1e-9))
    for tie in ("validation", "minimum-norm"):  # with mu > 0 the tie-break plays no part
        instance = make_gradient_instance(CLAIM.rng(seed, 1), duplicated=True, tie=tie)
        expect_gradient(measure_gradient(*instance), expect)


def test_not_vacuous(seed: int, expect: Expect) -> None:
    """At small gamma the gradient is visibly wrong, and useless rows cost something."""
    error = measure_gradient(*make_gradient_instance(CLAIM.rng(seed)))["error at 100"]
    expect("log10 of the error at gamma = 100, relative", np.log10(error), Band(-4.0, 0.0))
    task = make_instance(CLAIM.rng(seed))
    useless = float(np.sum(~usefulness(task.problem()).useful))
    expect("useless samples of 5", useless, Band.around(2.0, 0.5))
