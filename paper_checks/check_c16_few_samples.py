"""C16: p + 1 samples suffice, and under A2 a single one.

Claim: (here, shown by the argument in the statement) under A5 every theta in some S(w) is in S(w')
    for a w' with at most p + 1 non-zero weights: 0 is a convex combination of gradients in R^p, and
    of p + 1 of them by Caratheodory; a vertex of the hull program has no more. Under A2 one sample
    suffices: V_BDS = min over i of min over S_i of L_val. So a low loss says nothing about
    coverage, which must be asked for.
Assumptions: A5 for the first half, A2 for the second; squared loss, mu = 0.
Check: theta = theta(w) for N = 15 positive weights; w' by non-negative least squares and at three
    vertices of the hull program (dual simplex, random costs): the number of non-zero weights, and
    theta(w') by the package's re-fit. Under A2 the least L_val over all supports of N = 6 samples,
    and over those of each size, against NumPy's best single sample.
Control: without A5, l = 1 - exp(-(theta -+ 1)^2): the hull's weights do not give back theta = 0,
    whose gap is .142; and three losses in one parameter for which theta = 0 is in S(w) for uniform
    w, but in no S(w') with two samples, whose gap is predicted. Without A2, theta_v in the hull
    of its gradients: up to p samples do no better than one, p + 1 reach L_val*.
Not covered: which of the many small supports a method finds.
Runtime: about 0.3 s a seed.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.optimize import linprog

from bdtheory import Problem, hypergradient
from bdtheory.hypergradient import refit
from bdtheory.tasks import linear

from .claim import Band, Claim, Expect
from .pareto import (
    WELLS_GAP,
    WELLS_THETA,
    contradictory,
    gradients,
    hull_test,
    inner_gap,
    midpoint,
    two_wells,
)
from .reference import best_for, least_squares, squared_loss

CLAIM = Claim(
    "C16",
    "Few samples suffice",
    "here",
    proof=("C16_few_samples", "C16_few_value", "C16_one_model", "C16_one_value"),
)
ROUNDING = Band.around(0.0, 1e-9)  # relative, of models: condition numbers up to 1e4


# p + 1 samples -----------------------------------------------------------------------------------


def make_instance(rng: np.random.Generator, *, A5: bool = True) -> tuple[Problem, np.ndarray]:
    """p = 5, N = 15, all N(0, 1), theta = theta(w), all w_i > 0. Without A5: wells, midpoint."""
    if not A5:
        problem = two_wells(rng)
        return problem, midpoint(problem)
    problem = contradictory(rng, p=5, N=15)
    return problem, refit(problem, rng.dirichlet(np.full(15, 5.0))).theta


def measure(problem: Problem, theta: np.ndarray) -> dict[str, float]:
    """The number of non-zero weights at vertices, and how well they give back theta."""
    G, X = gradients(problem, theta), problem.train.X
    vertices = [hull_test(G).weights, *(vertex(G, k) for k in range(3))]
    found = [refit(problem, w).theta for w in vertices]
    counts = [np.count_nonzero(w) for w in vertices]
    moved = [np.linalg.norm(X @ (t - theta)) / np.sqrt(problem.N) for t in found]
    gaps = [inner_gap(problem, theta, w) for w in vertices]
    unit = np.linalg.norm(X @ theta) / np.sqrt(problem.N)
    numbers = {
        "least number": min(counts),
        "largest number": max(counts),
        "moved": max(moved) / unit,
        "moved, absolute": max(moved),
        "gap": max(gaps),
        "supports": len({tuple(np.flatnonzero(w)) for w in vertices}),
    }
    return {name: float(value) for name, value in numbers.items()}


def vertex(G: np.ndarray, seed: int) -> np.ndarray:
    """A vertex of {w >= 0, sum w = 1, G'w = 0}, least for a random cost; by the dual simplex."""
    cost = np.random.default_rng(seed).standard_normal(len(G))
    A = np.vstack([G.T / np.abs(G).max(), np.ones(len(G))])
    b = np.append(np.zeros(G.shape[1]), 1.0)
    w = linprog(cost, A_eq=A, b_eq=b, method="highs-ds").x
    on = w > 1e-9  # HiGHS solves to 1e-9 or so; on its support w is the solution of A w = b
    return np.bincount(np.flatnonzero(on), np.linalg.lstsq(A[:, on], b)[0], len(w))


def test_holds(seed: int, expect: Expect) -> None:
    numbers = measure(*make_instance(CLAIM.rng(seed)))
    # p + 1 exactly: p samples in general position are fitted by S(w), and theta fits none.
    for name in ("least number", "largest number"):
        expect(f"{name} of non-zero weights, p = 5", numbers[name], Band.around(6.0, 0.5))
    expect("re-fit to them - theta", numbers["moved"], ROUNDING)
    expect("gap of theta", numbers["gap"], ROUNDING)


def test_fails_without_A5(seed: int, expect: Expect) -> None:
    numbers = measure(*make_instance(CLAIM.rng(seed, 1), A5=False))
    expect("gap of theta", numbers["gap"], WELLS_GAP)
    expect("re-fit - theta", numbers["moved, absolute"], WELLS_THETA)


def test_recovers(seed: int, expect: Expect) -> None:
    numbers = measure(*make_instance(CLAIM.rng(seed, 1)))
    expect("least number of non-zero weights", numbers["least number"], Band.around(6.0, 0.5))
    expect("re-fit to them - theta", numbers["moved"], ROUNDING)
    problem = two_wells(CLAIM.rng(seed, 1), A5=True)
    theta = midpoint(problem)
    moved = problem.train.X @ (refit(problem, hull_test(gradients(problem, theta)).weights).theta)
    expect("squares for wells: re-fit", (moved - problem.train.X @ theta)[0], ROUNDING)


# Three losses for which two samples do not suffice -----------------------------------------------

THETAS = np.linspace(-4.0, 4.0, 8001)


@dataclass(frozen=True, eq=False)
class Bumps:
    """l_i = 1 + theta^2 / 20 + height sum_j (3 [i = j] - 1) exp(-(theta - c_j)^2 / .09), p = 1.

    The bumps cancel for uniform w: F_w = 1 + theta^2 / 20, least at 0. At c_j every loss but l_j
    has a well of depth `height`; so for any w on the other two samples theta = 0 has a gap of at
    least height - c_j^2 / 20. Convex for height = 0. c (3,), all |c_j| >= 1 and well apart.
    """

    c: np.ndarray
    height: float
    curve: ClassVar[float] = 1 / 20

    def losses(self, theta: np.ndarray) -> np.ndarray:
        """(3, k) for theta (k,)."""
        bumps = np.exp(-((theta - self.c[:, None]) ** 2) / 0.09)
        return 1 + self.curve * theta**2 + self.height * (3 * bumps - bumps.sum(axis=0))


def make_bumps(rng: np.random.Generator, *, A5: bool = True) -> Bumps:
    c = np.array([-1.0, 1.0, 2.5]) * rng.uniform(1.0, 1.3, 3)
    return Bumps(c * rng.choice([-1.0, 1.0]), 0.0 if A5 else 1.0)


def measure_bumps(bumps: Bumps) -> dict[str, float]:
    """The gap of theta = 0 for uniform weights, and the least over all weights on two samples."""
    fall = bumps.losses(np.zeros(1)) - bumps.losses(THETAS)  # (3, k): l_i(0) - l_i
    a = np.linspace(0.0, 1.0, 101)[:, None]
    pairs = itertools.combinations(range(3), 2)
    gaps = [np.min(np.max(a * fall[i] + (1 - a) * fall[j], axis=1)) for i, j in pairs]
    return {
        "uniform": float(np.max(fall.mean(axis=0))),
        "two samples": float(np.min(gaps)),
        "predicted": bumps.height - bumps.curve * float(np.max(bumps.c**2)),
    }


def test_fails_without_A5_for_three_losses(seed: int, expect: Expect) -> None:
    numbers = measure_bumps(make_bumps(CLAIM.rng(seed, 1), A5=False))
    expect("gap of theta = 0 at uniform weights", numbers["uniform"], ROUNDING)
    # The slope of theta^2 / 20 moves the bottom of a well, which gains .3^2 / (4 / .09) at most.
    ratio = numbers["two samples"] / numbers["predicted"]
    expect("least gap, two samples, over prediction", ratio, Band(1.0 - 1e-3, 1.0 + 1e-2))


def test_recovers_for_three_losses(seed: int, expect: Expect) -> None:
    numbers = measure_bumps(make_bumps(CLAIM.rng(seed, 1)))
    expect("gap of theta = 0 at uniform weights", numbers["uniform"], ROUNDING)
    expect("least gap, two samples", numbers["two samples"], ROUNDING)


# One sample --------------------------------------------------------------------------------------

P = 3


def make_single_instance(rng: np.random.Generator, *, A2: bool = True) -> Problem:
    """y_val = X_val theta0, p = 8, m = 12, N = 6: each row shifted, so that V_BDS > L_val* = 0.

    Without A2: p = 3, N = 6, all N(0, 1), the first draw with theta_v in WP.
    """
    if A2:
        seed = int(rng.integers(2**31))
        return linear(seed, p=8, m=12, n_useful=3, n_useless=3, A3=False).problem()
    while True:
        problem = contradictory(rng, p=P, N=6)
        theta_v = least_squares(problem.val.X, problem.val.y)
        if hull_test(gradients(problem, theta_v)).weights is not None:
            return problem


def measure_sizes(problem: Problem) -> dict[str, float]:
    """The least L_val with at most 1, P, P + 1 and N samples, less that of NumPy's best single one.

    For a support J: weights that have theta_v in S(w) where there are some; else uniform ones,
    which under A2 do as well as any (and without, V_BDS on J is that of a single sample: C02).
    """
    val, unit = (problem.val.X, problem.val.y), float(np.mean(problem.val.y**2) / 2)
    G, N = gradients(problem, least_squares(*val)), problem.N
    least = np.full(N + 1, np.inf)
    for k in range(1, N + 1):
        least[k] = least[k - 1]
        for J in map(list, itertools.combinations(range(N), k)):
            w, found = np.zeros(N), hull_test(G[J]).weights
            w[J] = 1 / k if found is None else found
            least[k] = min(least[k], hypergradient(problem, w)[0])
    rows = zip(problem.train.X, problem.train.y, strict=True)
    best = min(squared_loss(*val, best_for(x[None], y[None], *val)) for x, y in rows)
    infimum = squared_loss(*val, least_squares(*val))
    return {
        "one": float(least[1] - best) / unit,
        "P": float(least[P] - best) / unit,
        "P + 1": float(least[P + 1] - infimum) / unit,
        "all": float(least[N] - best) / unit,
        "best - L_val*": (best - infimum) / unit,
    }


def test_holds_for_one_sample(seed: int, expect: Expect) -> None:
    numbers = measure_sizes(make_single_instance(CLAIM.rng(seed)))
    expect("best single re-fit - NumPy's", numbers["one"], ROUNDING)
    expect("V_BDS, all supports - best single sample", numbers["all"], ROUNDING)


def test_fails_without_A2(seed: int, expect: Expect) -> None:
    numbers = measure_sizes(make_single_instance(CLAIM.rng(seed, 1), A2=False))
    expect("least L_val of up to p samples - best single", numbers["P"], ROUNDING)
    expect("least L_val of p + 1 samples - L_val*", numbers["P + 1"], ROUNDING)
    # In units of L_val at theta = 0; a squared distance to the nearest of 6 planes.
    gap = np.log10(numbers["best - L_val*"])
    expect("log10 of best single - L_val*", gap, Band(-9.0, 0.0))


def test_recovers_for_one_sample(seed: int, expect: Expect) -> None:
    numbers = measure_sizes(make_single_instance(CLAIM.rng(seed, 1)))
    expect("V_BDS, all supports - best single sample", numbers["all"], ROUNDING)


def test_not_vacuous(seed: int, expect: Expect) -> None:
    """Different supports give the same theta, and one sample costs something."""
    numbers = measure(*make_instance(CLAIM.rng(seed)))
    expect("different supports found, of 4", numbers["supports"], Band(1.5, 4.5))
    price = measure_sizes(make_single_instance(CLAIM.rng(seed)))["best - L_val*"]
    expect("log10 of best single - L_val*", np.log10(price), Band(-6.0, 1.0))
