"""C03: useless samples get zero weight.

Claim: (v1r, as reported) BDS gives useless samples zero weight. (a) Squared loss, mu = 0: every
    optimal w vanishes off the useful samples U. Why: v(w) = 0 forces l_i(theta) = 0 wherever
    w_i > 0, and theta is in S_val. (b) Logistic loss, strictly separable validation data: a useless
    sample has -z_i = sum_j a_j z~_j with a >= 0, and w_i l_i <= F_w(theta_mu(w)) <= log 2, hence
    w_i <= log 2 / sum_j a_j z~_j.theta for any w and mu; the bound tends to 0 when L_val does.
Assumptions: (a) A2, A3. (b) A1, A3, strictly separable validation data; not A2.
Check: (a) L_val(theta(w)) on every support of N = 6 samples: the least with a useless sample on it,
    over the closed form min_i (x_i.theta_v - y_i)^2 / (2 x_i' A^+ x_i); the useless share of the
    optimal supports; the useless mass that Implicit and BMO learn. (b) The bound, multiplied out
    for learned weights (Penalty) and for paths to a useless sample, and how slowly it tightens with
    mu; the power of mu with which L_val falls from mu = 1e-6 to 1e-8 with half the mass on useless
    samples; the derivative that learns the weights against a difference quotient of NumPy re-fits.
Control: (a) without A2 two contradicting useless rows cancel: optimal weights have all their mass
    on them. Without A3 every optimal weight is on useless samples. (b) Without separable validation
    data useless rows cancel, and without A1 a row x_i = 0 is "useless" and harmless: the power is
    1, as if they were not there. Without A3 it is 0 for every single sample.
Not covered: losses other than these two; the rate of (b) beyond "logarithmic in mu", so no fixed
    threshold on the learned mass; useful samples, which may get zero weight as well.
Runtime: about 1 s a seed.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from bdtheory import (
    BMO,
    Implicit,
    Logistic,
    Penalty,
    ValidationOnly,
    hypergradient,
    learn_weights,
)
from bdtheory.hypergradient import mean_loss, refit
from bdtheory.tasks import Task, linear
from bdtheory.usefulness import usefulness

from .claim import Band, Claim, Expect
from .instances import clean, guided_separable, margin_rows, useless_with_coefficients
from .rational import least_on_support, make_exact, supports, useful
from .reference import least_squares, logistic_loss, logistic_minimiser

CLAIM = Claim(
    "C03",
    "Useless samples get zero weight",
    "v1r",
    figure="useful_weights",
    proof=("C03_zero_weight", "C03_margins", "C03_bound_ridge", "C03_logistic", "C03_control_A2"),
)
EXACT = Band.around(0.0, 1e-15)  # relative: sums of squares of rounding errors are below 1e-25
HALF_A_SAMPLE = Band.around(0.0, 1 / 12)  # shares are multiples of 1/6 or more
ONE = Band.around(1.0, 1e-6)  # two exact formulas, condition numbers up to 1e4
# The power of mu with which L_val falls. 0 for a limit > 0; -.06 where theta_mu misclassifies and
# L_val grows like log(1/mu), by 8/6 from mu = 1e-6 to 1e-8. 1 for L_val proportional to mu: up to
# .05 less for a factor log(1/mu), and more by the share that margins have above the least one.
STAYS = Band.around(0.0, 0.15)
VANISHES = Band.around(1.0, 0.25)


# (a) squared loss --------------------------------------------------------------------------------


def make_instance(rng: np.random.Generator, *, A2: bool = True, A3: bool = True) -> Task:
    """y_val = X_val theta0; 3 useful rows from theta0, 3 shifted ones that X_val contradicts."""
    seed = int(rng.integers(2**31))
    return linear(seed, p=10, m=7, n_useful=3, n_useless=3, A2=A2, A3=A3)


def measure(task: Task) -> dict[str, float]:
    """The optimum over all supports, with uniform weights on each: under A2 others do as well."""
    problem = task.problem()
    useless = ~usefulness(problem).useful
    supports = (np.arange(1, 2**problem.N)[:, None] >> np.arange(problem.N)) % 2
    values = np.array([hypergradient(problem, J / J.sum())[0] for J in supports])
    share = supports @ useless / supports.sum(axis=1)
    price = least_price(task, useless)
    optimal = values <= values.min() + 1e-6 * price
    return {
        "useless": float(useless.sum()),
        "V_BDS / price": float(values.min() / price),
        "price / closed form": float(values[share > 0].min() / price),
        "largest useless share": float(share[optimal].max()),
        "least useless share": float(share[optimal].min()),
        "price / L_val(0)": float(price / np.mean(task.val[1] ** 2 / 2)),
    }


def least_price(task: Task, useless: np.ndarray) -> float:
    """min over useless i of the least L_val on S_i, less L_val* = 0: a one-row projection."""
    (X, y), (X_val, y_val) = task.train, task.val
    A = X_val.T @ X_val / len(y_val)
    r = (X @ least_squares(X_val, y_val) - y)[useless]
    lever = np.einsum("ip,pq,iq->i", X[useless], np.linalg.pinv(A, rcond=1e-10), X[useless])
    return float(np.min(r**2 / (2 * lever)))


def test_holds_linear(seed: int, expect: Expect) -> None:
    task = make_instance(CLAIM.rng(seed))
    numbers = measure(task)
    expect("V_BDS, in units of the price of a useless sample", numbers["V_BDS / price"], EXACT)
    expect("that price over its closed form", numbers["price / closed form"], ONE)
    share = numbers["largest useless share"]
    expect("useless share of optimal supports", share, HALF_A_SAMPLE)
    for method in (Implicit(), BMO()):
        mass = float(learn_weights(task.problem(), method).weights[~clean(task)].sum())
        # Softmax weights are cut at 1e-12 of the largest; a weight above 0 costs its whole price.
        expect(f"useless mass learned by {type(method).__name__}", mass, Band.around(0.0, 1e-9))


def test_holds_exactly(seed: int, expect: Expect) -> None:
    """In rational arithmetic: of all 31 supports exactly those without a useless sample have 0."""
    data = make_exact(CLAIM.rng(seed))
    useless = {i for i, good in enumerate(useful(data)) if not good}
    optimal = [J for J in supports(data.N) if least_on_support(data, J) == 0]
    expect("optimal supports, exactly", len(optimal), Band.around(2**3 - 1, 0.5))
    wrong = sum(bool(useless & set(J)) for J in optimal)
    expect("optimal supports with a useless sample, exactly", wrong, Band.around(0, 0.5))


def test_fails_without_A2_exactly(seed: int, expect: Expect) -> None:
    """Targets 1, -1, 0 on a line, validation target 0, w = (1/4, 1/4, 1/2): theta(w) = 0."""
    w, y = (
        (Fraction(1, 4), Fraction(1, 4), Fraction(1, 2)),
        (Fraction(1), Fraction(-1), Fraction(0)),
    )
    theta = sum(a * t for a, t in zip(w, y, strict=True)) / sum(w)
    expect("L_val at optimal weights, exactly", theta**2 / 2, Band.around(0, 1e-300))
    useless = sum(a for a, t in zip(w, y, strict=True) if t != 0)
    expect("their mass on useless samples", useless, Band.around(0.5, 1e-12))


def test_fails_without_A2(seed: int, expect: Expect) -> None:
    numbers = measure(make_instance(CLAIM.rng(seed, 1), A2=False))
    expect("price over closed form", numbers["price / closed form"], EXACT)
    share = numbers["largest useless share"]
    expect("largest useless share of optimal supports", share, Band.around(1.0, 1e-9))


def test_fails_without_A3(seed: int, expect: Expect) -> None:
    numbers = measure(make_instance(CLAIM.rng(seed, 1), A3=False))
    expect("V_BDS, in units of the price", numbers["V_BDS / price"], ONE)
    share = numbers["least useless share"]
    expect("least useless share of optimal supports", share, Band.around(1.0, 1e-9))


def test_recovers_linear(seed: int, expect: Expect) -> None:
    numbers = measure(make_instance(CLAIM.rng(seed, 1)))
    expect("price over its closed form", numbers["price / closed form"], ONE)
    share = numbers["largest useless share"]
    expect("useless share of optimal supports", share, HALF_A_SAMPLE)


# (b) logistic loss -------------------------------------------------------------------------------


def make_logistic_instance(
    rng: np.random.Generator,
    *,
    A1: bool = True,
    A2: bool = True,
    A3: bool = True,
    separable_val: bool = True,
) -> Task:
    """Validation labels from theta0, training labels from another direction, one row 0.3 theta0."""
    return guided_separable(rng, A1=A1, A2=A2, A3=A3, separable_val=separable_val)


def useless_rows(task: Task) -> tuple[np.ndarray, np.ndarray]:
    """The useless samples (k,), and a (k, m) with -z_i = sum_j a_j z~_j.

    Without separable validation data there is no certificate: those that the generator made, a = 0.
    """
    try:
        return useless_with_coefficients(task.problem())
    except ValueError:
        useless = np.flatnonzero(~clean(task))
        return useless, np.zeros((len(useless), len(task.val[1])))


def measure_logistic(task: Task) -> dict[str, float]:
    """The certificates, the bound on the weights, and what useless mass does to L_val."""
    useless, a = useless_rows(task)
    Z, Z_val = margin_rows(task)
    wrong = np.abs(Z[useless] + a @ Z_val).max() / np.abs(Z).max()
    return {
        "certificate error": float(wrong),
        "bound used": max(used_bound(*path) for path in paths(task, useless, a @ Z_val)),
        "useless mass": power_of_mu(task, probes(len(Z), useless)),
        "one sample": power_of_mu(task, np.eye(len(Z))),
        "derivative": derivative_ratio(task, probes(len(Z), useless)[0]),
    }


def used_bound(w: np.ndarray, combined: np.ndarray, theta: np.ndarray) -> float:
    """max of w_i (sum_j a_j z~_j.theta) / log 2 over useless i; w, combined: (k,), (k, p)."""
    return float(np.max(w * (combined @ theta))) / np.log(2)


def paths(task: Task, useless: np.ndarray, combined: np.ndarray):
    """Arguments of `used_bound` for w = (1 - c) e_1 + c e_i, c over three decades, at two mu."""
    N, i = len(clean(task)), useless[0]
    for mu in (1e-1, 1e-3):
        problem = task.problem(Logistic(mu))
        for c in np.geomspace(1e-3, 0.9, 10):
            w = (1 - c) * np.eye(N)[0] + c * np.eye(N)[i]
            yield w[useless], combined, refit(problem, w).theta


def probes(N: int, useless: np.ndarray) -> np.ndarray:
    """Half the mass on the first sample, half on a useless one or on all of them, (k + 1, N)."""
    each = np.eye(N)[useless]
    return (np.eye(N)[0] + np.vstack([each, each.mean(axis=0)])) / 2


def power_of_mu(task: Task, weights: np.ndarray) -> float:
    """The power of mu with which L_val - L_val* falls from mu = 1e-6 to 1e-8, where it is least.

    `weights` has one row for each w, (k, N).
    """
    Z_val = margin_rows(task)[1]
    share = np.full(len(Z_val), 1 / len(Z_val))
    infimum = logistic_loss(Z_val, logistic_minimiser(Z_val, share, 1e-14))
    sharp, mild = (task.problem(Logistic(mu)) for mu in (1e-8, 1e-6))
    values = [mean_loss(sharp, refit(sharp, w).theta, sharp.val) - infimum for w in weights]
    best = weights[int(np.argmin(values))]
    before = mean_loss(mild, refit(mild, best).theta, mild.val) - infimum
    return float(np.log(min(values) / before) / np.log(1e-2))


def derivative_ratio(task: Task, w: np.ndarray) -> float:
    """dL_val along a shift of mass from sample 1, over a difference quotient of NumPy re-fits."""
    mu, h = 1e-2, 1e-3  # the quotient is exact up to h^4
    Z, Z_val = margin_rows(task)
    d = w - 2 * w[0] * np.eye(len(w))[0]
    slope = hypergradient(task.problem(Logistic(mu)), w)[1] @ d
    f = {t: logistic_loss(Z_val, logistic_minimiser(Z, w + t * h * d, mu)) for t in (-2, -1, 1, 2)}
    return float(slope / ((8 * (f[1] - f[-1]) - (f[2] - f[-2])) / (12 * h)))


def expect_logistic(numbers: dict[str, float], expect: Expect) -> None:
    """What (b) says about any instance with its assumptions."""
    expect("-z_i - sum_j a_j z~_j", numbers["certificate error"], Band.around(0.0, 1e-8))
    expect("w_i over its bound, largest", numbers["bound used"], Band.around(0.0, 1.0))
    expect("power of mu in L_val, useless mass 1/2", numbers["useless mass"], STAYS)
    expect("power of mu in L_val, best single sample", numbers["one sample"], VANISHES)
    expect("hypergradient over difference quotient", numbers["derivative"], ONE)


def test_holds_logistic(seed: int, expect: Expect) -> None:
    task = make_logistic_instance(CLAIM.rng(seed))
    expect_logistic(measure_logistic(task), expect)
    useless, a = useless_rows(task)
    combined, strictest = a @ margin_rows(task)[1], []
    for mu in (1e-1, 1e-2, 1e-3):
        found = learn_weights(task.problem(Logistic(mu)), Penalty(max_iterations=20))
        used = used_bound(found.weights[useless], combined, found.theta)
        expect(f"learned w_i over its bound, mu = {mu:g}", used, Band.around(0.0, 1.0))
        strictest.append(float(np.min(combined @ found.theta)))
    # 1/bound gains as much from each decade of mu: 1 (a power 1/2 of mu: 3.2; a bounded one: 0).
    first, second = np.diff(strictest)
    expect("growth of 1/bound, second decade of mu over first", second / first, Band(0.5, 2.0))


def test_holds_logistic_without_A2(seed: int, expect: Expect) -> None:
    expect_logistic(measure_logistic(make_logistic_instance(CLAIM.rng(seed), A2=False)), expect)


def test_fails_without_separable_validation(seed: int, expect: Expect) -> None:
    numbers = measure_logistic(make_logistic_instance(CLAIM.rng(seed, 1), separable_val=False))
    expect("power of mu in L_val, useless mass 1/2", numbers["useless mass"], VANISHES)


def test_fails_without_A1(seed: int, expect: Expect) -> None:
    numbers = measure_logistic(make_logistic_instance(CLAIM.rng(seed, 1), A1=False))
    expect("power of mu in L_val, useless mass 1/2", numbers["useless mass"], VANISHES)


def test_fails_without_A3_logistic(seed: int, expect: Expect) -> None:
    numbers = measure_logistic(make_logistic_instance(CLAIM.rng(seed, 1), A3=False))
    expect("power of mu in L_val, best single sample", numbers["one sample"], STAYS)


def test_recovers_logistic(seed: int, expect: Expect) -> None:
    expect_logistic(measure_logistic(make_logistic_instance(CLAIM.rng(seed, 1))), expect)


def test_not_vacuous(seed: int, expect: Expect) -> None:
    """Useless samples are there, they cost something, and the bound can be exceeded."""
    numbers = measure(make_instance(CLAIM.rng(seed)))
    expect("useless samples of 6 (linear)", numbers["useless"], Band.around(3.0, 0.5))
    expect("log10 of price over L_val(0)", np.log10(numbers["price / L_val(0)"]), Band(-5.0, 0.0))
    task = make_logistic_instance(CLAIM.rng(seed))
    useless, a = useless_rows(task)
    expect("useless samples of 16 (logistic)", len(useless), Band(0.0, 16.0))
    # theta_v, fitted to validation at mu = 1e-8, is not theta(w) for uniform w, and no bound holds.
    found = learn_weights(task.problem(Logistic(1e-8)), ValidationOnly())
    used = used_bound(found.weights[useless], a @ margin_rows(task)[1], found.theta)
    expect("log10 of w_i over its bound, theta not theta(w)", np.log10(used), Band(0.0, 3.0))
