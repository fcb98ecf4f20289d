"""C01: what is optimal for some weights is weakly Pareto, and under A5 the converse holds.

Claim: (here, shown by the argument in the statement) theta in S(w) for some w is weakly Pareto,
    theta in WP: no theta' lowers every l_i, or it would lower F_w. Under A5 the converse holds: 0
    is then in the convex hull of the gradients of the l_i, and its weights make theta a minimiser.
    So WP is the union of the S(w), and G(theta) = min_w [F_w(theta) - v(w)].
Assumptions: A5 for the converse and the identity, none for the first half.
Check: squared loss, N >= 2p: random theta, some of which are theta(w), are put to the hull test. A
    "yes" is confirmed by re-fitting to the certified weights, a "no" by a step along the certified
    common descent direction, which must lower every l_i as far as the slopes promise; G by SciPy
    bounds min_w from below, the gap of its multipliers, by the package's re-fit, from above. The
    share of "yes" for random theta, against a large sample; where gradients are symmetric (theta =
    theta0, or any theta for the logistic loss) against Wendel's formula. Logistic re-fits as well.
Control: without A5, l = 1 - exp(-(theta -+ 1)^2): theta = 0 is weakly Pareto and 0 is in the hull
    (w = 1/2, 1/2), yet min_w [F_w(0) - v(w)] = .142: stationarity is not enough. The first half
    still holds.
Not covered: losses whose infimum is not attained, where WP and S(w) are limits of sequences.
Runtime: about 0.3 s a seed.
"""

from __future__ import annotations

from math import comb
from typing import NamedTuple

import numpy as np

from bdtheory import Logistic, Problem
from bdtheory.hypergradient import refit

from .claim import Band, Claim, Expect
from .pareto import (
    WELLS_GAP,
    WELLS_THETA,
    certificate_error,
    contradictory,
    gradients,
    hull_test,
    inner_gap,
    losses,
    midpoint,
    multipliers,
    pareto_gap,
    two_wells,
)

CLAIM = Claim(
    "C01",
    "Weakly Pareto means optimal for some weights",
    "here",
    proof=("C01_forward", "C01_identity", "C01"),
)
# Relative residuals of sums of N terms: 1e-15, times condition numbers of a few hundred.
ROUNDING = Band.around(0.0, 1e-10)
# SLSQP finds G to 1e-9 of the losses or better; 1e-8 is what the statement asks for.
IDENTITY = Band.around(0.0, 1e-8)


class Points(NamedTuple):
    """A problem and points (k, p); the last `known` of them are in S(w) for a known w."""

    problem: Problem
    thetas: list[np.ndarray]
    known: int


def make_instance(rng: np.random.Generator, *, A5: bool = True) -> Points:
    """Squared loss, p = 5, N = 12: random points, points near theta(w), and theta(w) themselves.

    Without A5: two wells with the point between them, and theta(w).
    """
    problem = contradictory(rng, p=5, N=12) if A5 else two_wells(rng)
    w = rng.dirichlet(np.ones(problem.N), 3)
    known = [refit(problem, v).theta for v in w]
    if not A5:
        return Points(problem, [midpoint(problem), *known], len(known))
    near = [theta + 0.5 * rng.standard_normal(5) for theta in known]
    return Points(problem, [*rng.standard_normal((4, 5)), *near, *known], len(known))


def measure(points: Points) -> dict[str, float]:
    """The two answers, their confirmation, and G against an upper bound on min_w of the gap."""
    problem, scale = points.problem, np.mean(points.problem.train.y**2)
    G = [gradients(problem, theta) for theta in points.thetas]
    hulls = [hull_test(g) for g in G]
    yes = np.array([hull.weights is not None for hull in hulls])
    bounds = np.array([bounds_of_gap(problem, theta) for theta in points.thetas])
    steps = [step_ratios(problem, *point) for point in zip(points.thetas, hulls, strict=True)]
    moved = [refit_distance(problem, *point) for point in zip(points.thetas, hulls, strict=True)]
    numbers = {
        "yes": yes.sum(),
        "no": (~yes).sum(),
        "known, yes": yes[-points.known :].sum(),
        "certificate error": max(map(certificate_error, G, hulls)),
        "moved by the re-fit": max(moved),
        "least fall": min((s.min() for s in steps if len(s)), default=np.nan),
        "min_w gap - G": np.max(bounds[:, 1] - bounds[:, 0]) / scale,
        "min_w gap - G, absolute": np.max(bounds[:, 1] - bounds[:, 0]),
        "least min_w gap - G": np.min(bounds[:, 1] - bounds[:, 0]) / scale,
        "G, yes": np.max(bounds[yes, 0], initial=0.0) / scale,
        "G, no": np.min(bounds[~yes, 0], initial=np.inf) / scale,
        "largest G": np.max(bounds[:, 0]) / scale,
    }
    return {name: float(value) for name, value in numbers.items()}


def bounds_of_gap(problem: Problem, theta: np.ndarray) -> tuple[float, float]:
    """(G(theta), an upper bound on min_w [F_w(theta) - v(w)])."""
    G, best = pareto_gap(problem, theta)
    return G, inner_gap(problem, theta, multipliers(problem, theta, best))


def step_ratios(problem: Problem, theta: np.ndarray, hull) -> np.ndarray:
    """For a "no": the fall of each l_i over the fall that its slope promises, (N,); else empty.

    l_i falls by t m_i - t^2 c_i / 2 or more, m_i = -grad l_i.d and c_i >= l_i'' along d; the step
    t = min m_i / c_i leaves at least half of t m_i, and convexity at most all of it.
    """
    if hull.direction is None:
        return np.empty(0)
    d, bend = hull.direction, 0.25 if isinstance(problem.model, Logistic) else 1.0
    m, c = -gradients(problem, theta) @ d, bend * (problem.train.X @ d) ** 2
    t = np.min(m / c)
    return (losses(problem, theta) - losses(problem, theta + t * d)) / (t * m)


def refit_distance(problem: Problem, theta: np.ndarray, hull) -> float:
    """For a "yes": ||theta(w) - theta|| over the size of theta, w the certificate; else 0.

    Where one gradient vanishes, w = e_i and S(w) is more than a point: its distance from theta.
    In u = b theta - c for two wells.
    """
    if hull.weights is None:
        return 0.0
    found, X = refit(problem, hull.weights).theta, problem.train.X[hull.weights > 0]
    moved = X @ (found - theta)
    unit = 1.0 if theta.size == 1 else np.linalg.norm(X, axis=1) * np.linalg.norm(theta)
    return float(np.max(np.abs(moved / unit)))


def expect_scalarisation(points: Points, expect: Expect) -> None:
    """What the claim says of any instance with A5."""
    numbers = measure(points)
    known = float(points.known)
    expect("theta(w) found weakly Pareto", numbers["known, yes"], Band.around(known, 0.5))
    expect("certificates, multiplied out", numbers["certificate error"], ROUNDING)
    expect("yes: re-fit to the hull's weights - theta", numbers["moved by the re-fit"], ROUNDING)
    if numbers["no"]:
        # The sample that sets t falls by exactly half, as its loss is quadratic.
        least = numbers["least fall"]
        expect("no: least fall over what slopes promise", least, Band.around(0.5, 1e-6))
    expect("min_w gap - G, largest", numbers["min_w gap - G"], IDENTITY)
    expect("min_w gap - G, least", numbers["least min_w gap - G"], IDENTITY)
    expect("yes: G", numbers["G, yes"], IDENTITY)


def test_holds(seed: int, expect: Expect) -> None:
    expect_scalarisation(make_instance(CLAIM.rng(seed)), expect)


def test_fails_without_A5(seed: int, expect: Expect) -> None:
    points = make_instance(CLAIM.rng(seed, 1), A5=False)
    numbers = measure(points)
    expect("points found stationary", numbers["yes"], Band.around(1.0 + points.known, 0.5))
    expect("largest G: all are weakly Pareto", numbers["largest G"], IDENTITY)
    expect("min_w gap - G at theta = 0", numbers["min_w gap - G, absolute"], WELLS_GAP)
    expect("re-fit to the hull's weights - theta", numbers["moved by the re-fit"], WELLS_THETA)
    weights = np.linspace(0.0, 1.0, 21)
    gaps = [inner_gap(points.problem, points.thetas[0], np.array([a, 1 - a])) for a in weights]
    expect("min_w gap at theta = 0, all w tried", min(gaps), WELLS_GAP)


def test_recovers(seed: int, expect: Expect) -> None:
    """Squares in place of the wells: the midpoint is theta(1/2, 1/2)."""
    problem = two_wells(CLAIM.rng(seed, 1), A5=True)
    expect_scalarisation(Points(problem, [midpoint(problem)], 1), expect)
    expect_scalarisation(make_instance(CLAIM.rng(seed, 1)), expect)


# How often the answer is yes ---------------------------------------------------------------------

DRAWS = 400
SIZES = ((5, 4), (5, 5), (5, 10), (5, 15))
# 60,000 draws each, to .002; an interior-point linear program gave the same answers on 2,000. The
# share is 0 for N <= p, where gradients are independent.
SHARES = {(5, 4): 0.0, (5, 5): 0.0, (5, 10): 0.085, (5, 15): 0.269}


def share_of_yes(rng: np.random.Generator, p: int, N: int, *, symmetric: bool = False) -> float:
    """The share of DRAWS draws of X, y, theta ~ N(0, 1) with 0 in the hull of r_i x_i.

    Symmetric: residuals r_i ~ N(0, 1) independent of X, as at theta0 where y = X theta0 + noise.
    """
    found = 0
    for _ in range(DRAWS):
        X, r = rng.standard_normal((N, p)), rng.standard_normal(N)
        r = r if symmetric else X @ rng.standard_normal(p) - r
        found += hull_test(r[:, None] * X).weights is not None
    return found / DRAWS


def wendel(p: int, N: int) -> float:
    """P(0 in the hull of N symmetric points in R^p) = 1 - 2^(1-N) sum_{k<p} C(N-1, k) (1962)."""
    return 1 - sum(comb(N - 1, k) for k in range(p)) / 2 ** (N - 1)


def binomial(share: float) -> Band:
    """share +- 4.5 standard deviations of a mean of DRAWS: missed by chance once in 1e5."""
    return Band.around(share, 4.5 * np.sqrt(share * (1 - share) / DRAWS) or 0.5 / DRAWS)


def test_holds_share(seed: int, expect: Expect) -> None:
    rng = CLAIM.rng(seed)
    for p, N in SIZES:
        band = binomial(SHARES[p, N])
        expect(f"share of theta in WP, p = {p}, N = {N}", share_of_yes(rng, p, N), band)
        found = share_of_yes(rng, p, N, symmetric=True)
        expect(f"the same at theta0, p = {p}, N = {N}", found, binomial(wendel(p, N)))


# Logistic ----------------------------------------------------------------------------------------


def make_logistic_instance(rng: np.random.Generator, N: int) -> Points:
    """p = 3, mu = 0, labels independent of the features: z_i ~ N(0, I), separable or not."""
    X, y = rng.standard_normal((N, 3)), np.where(rng.random(N) < 0.5, -1.0, 1.0)
    y[:2] = -1.0, 1.0
    problem = Problem(Logistic(0.0), (X, y), (X, y))
    return Points(problem, list(rng.standard_normal((2, 3))), 0)


def measure_logistic(points: Points) -> dict[str, float]:
    """As `measure`, without G, which is infinite for separable data."""
    problem = points.problem
    G = [gradients(problem, theta) for theta in points.thetas]
    hulls = [hull_test(g) for g in G]
    steps = [step_ratios(problem, *point) for point in zip(points.thetas, hulls, strict=True)]
    moved = [refit_distance(problem, *point) for point in zip(points.thetas, hulls, strict=True)]
    return {
        "yes": float(np.mean([hull.weights is not None for hull in hulls])),
        "certificate error": max(map(certificate_error, G, hulls)),
        "moved by the re-fit": max(moved),
        "least fall": min((float(s.min()) for s in steps if len(s)), default=np.nan),
    }


def test_holds_logistic(seed: int, expect: Expect) -> None:
    """Signs of the hull test do not depend on theta here: WP is everything, or nothing."""
    rng, found = CLAIM.rng(seed), []
    for _ in range(8):
        numbers = measure_logistic(make_logistic_instance(rng, 6))
        found.append(numbers["yes"])
        expect("certificates, multiplied out", numbers["certificate error"], ROUNDING)
        # Newton's method ends at 1e-10 of the gradient's scale; Hessians here go down to 1e-3.
        expect("yes: re-fit - theta", numbers["moved by the re-fit"], Band.around(0.0, 1e-6))
        if numbers["yes"] == 0:
            # Between half and all: the bend of a logistic loss is at most the 1/4 assumed.
            least = numbers["least fall"]
            expect("no: least fall over what slopes promise", least, Band(0.5 - 1e-9, 1.0 + 1e-9))
    mixed = float(np.mean([0 < share < 1 for share in found]))
    expect("share of data sets with WP neither all nor nothing", mixed, Band.around(0.0, 1e-9))


def test_not_vacuous(seed: int, expect: Expect) -> None:
    """Both answers occur, and a "no" has a gap to speak of."""
    numbers = measure(make_instance(CLAIM.rng(seed)))
    expect("points that are weakly Pareto, of 10", numbers["yes"], Band(2.5, 9.5))
    expect("points that are not, of 10", numbers["no"], Band(0.5, 7.5))
    expect("log10 of the least G of those", np.log10(numbers["G, no"]), Band(-7.0, 1.0))
    expect("log10 of the largest G", np.log10(numbers["largest G"]), Band(-4.0, 1.0))
