"""C09: explicit and implicit weights are one thing.

Claim: (v1, the abstract's claim) Offline selection and online self-refining give each question and
    response a learned weight, explicitly or implicitly. For tau > 0 the stationary points and local
    minima of J(theta, w) = L_val + gamma (F_w + tau KL(w, uniform)) are those of the implicit
    problem L_val + gamma smin_tau(losses(theta)), with w = softmax(-l(theta)/tau). Why: J is
    strictly convex in w, and its minimum over w is closed form and lies inside the simplex.
Assumptions: tau > 0.
Check: Stationary points of J found by the package (exact minimisation over theta and w in turn) and
    by root finding in (theta, omega), those of the implicit problem by BFGS and root finding in
    NumPy; the gradient of each problem at the points of the other, theta and w of minima, and the
    number of negative Hessian eigenvalues, saddles included. The gradient in theta at any theta.
Control: tau = 0, l = theta^2 / 2 and (theta - a)^2 / 2, L_val = theta^2 / 2, gamma = 1/2: at theta
    = a/3, w = e_2 the theta- and omega-gradients of J vanish, the implicit gradient is a/2.
Not covered: that a method finds all stationary points; tau -> 0; models other than ridge.
Runtime: about 0.6 s a seed.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize, root
from scipy.special import logsumexp, softmax

from bdtheory import Problem, Ridge
from bdtheory.hypergradient import mean_gradient
from bdtheory.methods.bmo import closed_form_weights, fit_jointly

from .claim import Band, Claim, Expect

CLAIM = Claim(
    "C09",
    "Explicit and implicit weights are one thing",
    "v1",
    proof=("C09_partial_minimum", "C09_minimisers", "C09_local", "C09_stationary"),
)
STARTS = 5


class Instance(NamedTuple):
    problem: Problem
    gamma: float
    tau: float
    starts: np.ndarray  # (STARTS, p)


def make_instance(rng: np.random.Generator, *, tau: float = 0.3) -> Instance:
    """Half of 8 training rows follow a, half b, validation a + b: J has one to three minima."""
    X, X_val = rng.standard_normal((8, 3)), rng.standard_normal((6, 3))
    a, b = rng.standard_normal((2, 3))
    y = np.concatenate([X[:4] @ (2 * a), X[4:] @ (2 * b)])
    problem = Problem(Ridge(1e-2), (X, y), val=(X_val, X_val @ (a + b)))
    return Instance(problem, 5.0, tau, 2 * rng.standard_normal((STARTS, 3)))


def make_line(rng: np.random.Generator, *, tau: float = 0.05) -> Instance:
    """Training targets 0 and a on a line, validation target 0, gamma = 1/2; tau in units of a^2."""
    a, one = rng.uniform(0.5, 2.0), np.ones((1, 1))
    problem = Problem(Ridge(0.0), (np.ones((2, 1)), np.array([0.0, a])), val=(one, np.zeros(1)))
    return Instance(problem, 0.5, tau * a**2, a * np.linspace(-1.0, 1.0, STARTS)[:, None])


def make_wells(rng: np.random.Generator, *, tau: float = 0.2) -> Instance:
    """Training targets -a and a (1 + e), validation target 0: two minima and a saddle between."""
    (a, e), one = rng.uniform((0.5, 0.0), (2.0, 0.1)), np.ones((1, 1))
    y = np.array([-a, a * (1 + e)])
    problem = Problem(Ridge(0.0), (np.ones((2, 1)), y), val=(one, np.zeros(1)))
    return Instance(problem, 5.0, tau * a**2, a * np.linspace(-1.0, 1.0, STARTS)[:, None])


# The two problems in NumPy -----------------------------------------------------------------------


def losses(instance: Instance, theta: np.ndarray) -> np.ndarray:
    train = instance.problem.train
    return (train.X @ theta - train.y) ** 2 / 2


def gradient_in_theta(instance: Instance, theta: np.ndarray, w: np.ndarray) -> np.ndarray:
    """grad of L_val + gamma (F_w + (mu/2) ||theta||^2)."""
    problem, gamma = instance.problem, instance.gamma
    train, val = problem.train, problem.val
    inner = train.X.T @ (w * (train.X @ theta - train.y)) + problem.model.mu * theta
    return val.X.T @ (val.X @ theta - val.y) / problem.m + gamma * inner


def implicit(instance: Instance, theta: np.ndarray) -> tuple[float, np.ndarray]:
    """L_val + gamma smin_tau(l) and its gradient; the least loss for tau = 0."""
    problem, l, tau = instance.problem, losses(instance, theta), instance.tau
    smin = -tau * (logsumexp(-l / tau) - np.log(len(l))) if tau else l.min()
    w = softmax(-l / tau) if tau else np.eye(len(l))[np.argmin(l)]
    val = np.mean((problem.val.X @ theta - problem.val.y) ** 2) / 2
    value = val + instance.gamma * (smin + problem.model.mu * theta @ theta / 2)
    return float(value), gradient_in_theta(instance, theta, w)


def explicit(instance: Instance, point: np.ndarray) -> np.ndarray:
    """The gradient of J in (theta, omega), w = softmax(omega): w (c - w.c) / gamma in omega.

    c_i = l_i + tau log(N w_i). Divided by w_i > 0, so that w_i -> 0 does not look stationary, and
    with sum(omega) added, since a common shift of omega changes nothing.
    """
    p = instance.starts.shape[1]
    theta, omega = point[:p], point[p:]
    log_w = omega - logsumexp(omega)
    w, c = np.exp(log_w), losses(instance, theta) + instance.tau * (log_w + np.log(len(omega)))
    return np.concatenate([gradient_in_theta(instance, theta, w), c - w @ c + omega.sum()])


def joined(instance: Instance, theta: np.ndarray) -> np.ndarray:
    """(theta, omega) with the closed-form weights, sum(omega) = 0."""
    l = losses(instance, theta)
    return np.concatenate([theta, -(l - l.mean()) / instance.tau])


# Stationary points -------------------------------------------------------------------------------


def alternate(instance: Instance, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(theta, w) where the package's two exact minimisations of J no longer move."""
    problem, gamma, tau, _ = instance
    w = closed_form_weights(problem, theta, tau)
    for _ in range(3000):
        before, theta = theta, fit_jointly(problem, w, gamma, None).theta
        w = closed_form_weights(problem, theta, tau)
        if np.linalg.norm(theta - before) <= 1e-13 * (1 + np.linalg.norm(theta)):
            break
    return theta, w


def explicit_points(instance: Instance) -> list[tuple[np.ndarray, np.ndarray]]:
    """Stationary points (theta, w) of J. For tau = 0 every vertex of the simplex gives one."""
    problem, N = instance.problem, instance.problem.N
    if not instance.tau:
        return [(fit_jointly(problem, e, instance.gamma, None).theta, e) for e in np.eye(N)]
    return [alternate(instance, start) for start in instance.starts]


def roots(function, starts: np.ndarray) -> np.ndarray:
    """Where the function vanishes, by Powell's method from every start: minima and saddles."""
    found = [root(function, start, tol=1e-12) for start in starts]
    return np.array([r.x for r in found if np.abs(r.fun).max() < 1e-9]).reshape(-1, starts.shape[1])


def negative_eigenvalues(gradient, point: np.ndarray) -> int:
    """Of the Jacobian, which is D^-1 Hessian with a diagonal D > 0: the same signs."""
    h = 1e-5 * np.eye(len(point))
    J = np.array([(gradient(point + e) - gradient(point - e)) / 2e-5 for e in h]).T
    return int(np.sum(np.linalg.eigvals(J).real < -1e-6))


def measure(instance: Instance) -> dict[str, float]:
    """All gradients at the stationary points of J, in units of the largest target (omega: 1)."""
    scale, points = np.abs(instance.problem.train.y).max(), explicit_points(instance)
    sizes = []
    for theta, w in points:
        on = w > 0
        c = losses(instance, theta)[on] + instance.tau * np.log(len(w) * w[on])
        in_omega = np.abs(w[on] * (c - w[on] @ c)).max() / scale**2
        in_theta = np.abs(gradient_in_theta(instance, theta, w)).max() / scale
        sizes.append([in_theta, in_omega, np.abs(implicit(instance, theta)[1]).max() / scale])
    in_theta, in_omega, of_implicit = np.max(sizes, axis=0)
    return {
        "theta-gradient": float(in_theta),
        "omega-gradient": float(in_omega),
        "implicit gradient": float(of_implicit),
        "distinct": float(len({tuple((theta / scale).round(4)) for theta, _ in points})),
    }


def measure_minima(instance: Instance) -> dict[str, float]:
    """tau > 0: the package's minima of J against BFGS on the implicit problem, from each other."""
    theta_off, w_off, anywhere = 0.0, 0.0, 0.0
    for start in instance.starts:
        ours, theirs = alternate(instance, start)[0], minimise(instance, start)
        theta, w = alternate(instance, theirs)  # stays, if `theirs` is stationary for J
        nudged = ours + 1e-2 * (start - ours)  # comes back, if `ours` is an implicit minimum
        off = np.linalg.norm(theta - theirs), np.linalg.norm(minimise(instance, nudged) - ours)
        theta_off = max(theta_off, *off)
        w_theirs = softmax(-losses(instance, theirs) / instance.tau)
        w_off = max(w_off, np.abs(w - w_theirs).max())
        anywhere = max(anywhere, gradient_error(instance, start))
    return {"theta": float(theta_off), "w": float(w_off), "gradient": float(anywhere)}


def minimise(instance: Instance, start: np.ndarray) -> np.ndarray:
    """A local minimum of the implicit problem, by BFGS."""
    f = lambda theta: implicit(instance, theta)  # noqa: E731
    return minimize(f, start, jac=True, method="BFGS", options={"gtol": 1e-10}).x


def gradient_error(instance: Instance, theta: np.ndarray) -> float:
    """The package's theta-gradient of J at closed-form w, less difference quotients; relative."""
    problem = instance.problem
    w = closed_form_weights(problem, theta, instance.tau)
    train = problem.model.weighted_gradient(theta, w, problem.train) + problem.model.mu * theta
    ours = mean_gradient(problem, theta, problem.val) + instance.gamma * train
    h = 1e-4 * np.eye(len(theta))
    quotient = [
        (implicit(instance, theta + e)[0] - implicit(instance, theta - e)[0]) / 2e-4 for e in h
    ]
    return float(np.linalg.norm(ours - quotient) / np.linalg.norm(quotient))


def measure_saddles(instance: Instance) -> dict[str, float]:
    """tau > 0: stationary points that root finding reaches, of either problem, in the other."""
    p = instance.starts.shape[1]
    starts = np.vstack([instance.starts, minimise(instance, instance.starts[0])])
    of_implicit = roots(lambda theta: implicit(instance, theta)[1], starts)
    of_explicit = roots(
        lambda point: explicit(instance, point),
        np.array([joined(instance, theta) for theta in starts]),
    )
    lifted = [joined(instance, theta) for theta in of_implicit]
    both = [*lifted, *of_explicit]
    gradients = [explicit(instance, point) for point in lifted]
    gradients += [implicit(instance, point[:p])[1] for point in of_explicit]
    negative = [
        (
            negative_eigenvalues(lambda x: explicit(instance, x), point),
            negative_eigenvalues(lambda x: implicit(instance, x)[1], point[:p]),
        )
        for point in both
    ]
    scale = np.abs(instance.problem.train.y).max()
    return {
        "gradient": float(max(np.abs(g).max() for g in gradients) / scale),
        "index": float(max(abs(a - b) for a, b in negative)),
        "found": float(len(both)),
        "saddles": float(sum(b > 0 for _, b in negative)),
    }


# Arms --------------------------------------------------------------------------------------------


def expect_one_thing(instance: Instance, expect: Expect) -> None:
    """What the claim says of any instance with tau > 0."""
    numbers = measure(instance)
    for name in ("theta-gradient", "omega-gradient", "implicit gradient"):
        # Alternation ends at steps of 1e-13, times a curvature up to 1e3 (gamma l^2 / tau).
        expect(f"{name} at the package's points", numbers[name], Band.around(0.0, 1e-9))
    minima = measure_minima(instance)
    # BFGS ends where values differ by rounding: gradients of 1e-8, over curvatures above .1.
    expect("theta, package - BFGS", minima["theta"], Band.around(0.0, 1e-6))
    expect("w, package - BFGS", minima["w"], Band.around(0.0, 1e-6))
    # Steps of 1e-4: their square, times a third derivative of up to 1e3 gradients.
    expect("gradient anywhere - quotients", minima["gradient"], Band.around(0.0, 1e-5))
    saddles = measure_saddles(instance)
    expect("gradient at the other's roots", saddles["gradient"], Band.around(0.0, 1e-9))
    index = saddles["index"]  # a whole number
    expect("difference in negative eigenvalues", index, Band.around(0.0, 0.5))


def test_holds(seed: int, expect: Expect) -> None:
    expect_one_thing(make_instance(CLAIM.rng(seed)), expect)


def test_holds_at_saddles(seed: int, expect: Expect) -> None:
    expect_one_thing(make_wells(CLAIM.rng(seed)), expect)


def test_fails_without_tau(seed: int, expect: Expect) -> None:
    """tau = 0: both vertices are stationary for J; at w = e_2 the implicit gradient is a/2."""
    numbers = measure(make_line(CLAIM.rng(seed, 1), tau=0.0))
    for name in ("theta-gradient", "omega-gradient"):
        expect(f"{name} of J", numbers[name], Band.around(0.0, 1e-12))
    half = Band.around(0.5, 1e-9)
    expect("largest implicit gradient / a", numbers["implicit gradient"], half)
    expect("stationary points of J", numbers["distinct"], Band.around(2.0, 0.5))


def test_recovers(seed: int, expect: Expect) -> None:
    instance = make_line(CLAIM.rng(seed, 1))
    expect_one_thing(instance, expect)
    expect("stationary points of J", measure(instance)["distinct"], Band.around(1.0, 0.5))


def test_not_vacuous(seed: int, expect: Expect) -> None:
    """There are several minima, saddles, and weights that matter."""
    wells = make_wells(CLAIM.rng(seed))
    expect("minima of the wells", measure(wells)["distinct"], Band.around(2.0, 0.5))
    # At most 6 starts in each of two searches; each search that reached the saddle counts.
    found = measure_saddles(wells)
    expect("saddles found", found["saddles"], Band(0.5, 12.5))
    instance = make_instance(CLAIM.rng(seed))
    expect("roots found of 12", measure_saddles(instance)["found"], Band(1.5, 12.5))
    w = alternate(instance, instance.starts[0])[1]
    expect("largest weight over 1/8", 8 * w.max(), Band(1.05, 8.5))
