"""C13: what validation can't see, BDS can't filter.

Claim: (here) Squared loss, mu = 0, x_i outside the span of X_val and of the other training rows:
    for every w the least L_val over S(w), hence the set of optimal w, does not depend on y_i; the
    test loss does. Why: there is d with X_val d = 0, x_j.d = 0 for the others and x_i.d = 1, and
    theta + t d is to the target y_i + t what theta is to y_i.
Assumptions: squared loss; mu = 0 with the optimistic re-fit; x_i outside that span. Not A2, not A3:
    the other rows contradict one another and the validation data.
Check: the relative spread of L_val over y_i = 0, 1, 10, 100 at fixed, random and learned weights;
    L_val against NumPy's; theta + t d re-fitted for a NumPy d, by its inner gradient; for w_i > 0
    the slope d theta / d y_i against NumPy's, in the test loss of x ~ N(0, I).
Control: tie_break="minimum-norm", or mu > 0: L_val is a parabola in y_i, as curved as the slope
    d theta / d y_i of a NumPy re-fit says. x_i in the row space of X_val: sample i is useful at one
    y_i and useless when y_i moves by t, at the price t^2 / (2 x_i' A^+ x_i).
Not covered: rows that are nearly in the span, where y_i is seen, but badly; other losses; which of
    the optimal weights a method returns.
Runtime: about 0.5 s a seed.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from bdtheory import BMO, Implicit, Ridge, learn_weights
from bdtheory.hypergradient import refit
from bdtheory.tasks import Task
from bdtheory.usefulness import usefulness

from .claim import Band, Claim, Expect
from .reference import least_squares, row_and_null_space, squared_loss

CLAIM = Claim("C13", "What validation can't see, BDS can't filter", "here", figure="unseen")
TARGETS = (0.0, 1.0, 10.0, 100.0)  # y_i, in units of the other targets
MU = 0.1  # of the control
# L_val and the residuals behind it are of order 1; theta is of order 100, and its rounding 1e-12.
CONSTANT = Band.around(0.0, 1e-9)
ONE = Band.around(1.0, 1e-6)  # two exact formulas, condition numbers up to 1e4


def make_instance(
    rng: np.random.Generator, *, invisible: bool = True, optimistic: bool = True, mu_0: bool = True
) -> Task:
    """y = X theta0 + e, e ~ N(0, 1), 14 validation and 12 training rows in 4 of p = 7 dimensions.

    A first training row x_0 ~ N(0, I) with y_0 = x_0.theta0 lies outside; without `invisible` it is
    projected on the row space of X_val. Test rows are x ~ N(0, I), y = x.theta0.
    """
    p, r, m, n = 7, 4, 14, 12
    theta0, x = rng.standard_normal((2, p))
    V = np.linalg.qr(rng.standard_normal((p, r)))[0]
    X_val, X = rng.standard_normal((m, r)) @ V.T, rng.standard_normal((n, r)) @ V.T
    e = rng.standard_normal(m + n)
    x = x if invisible else V @ (V.T @ x)
    y = np.append(x @ theta0, X @ theta0 + e[m:])
    model = Ridge(0.0 if mu_0 else MU, tie_break="validation" if optimistic else "minimum-norm")
    val = (X_val, X_val @ theta0 + e[:m])
    return Task("invisible", (np.vstack([x, X]), y), val, model.mu, theta0=theta0, model=model)


def moved(task: Task, y_0: float) -> Task:
    """The same data with another target of sample 0."""
    X, y = task.train
    return replace(task, train=(X, np.append(y_0, y[1:])))


def some_weights(rng: np.random.Generator, task: Task) -> np.ndarray:
    """(8, N): three random faces of samples 0 .. 0, 0 .. 1, 0 .. 2, which leave directions of X_val
    open; one without sample 0; uniform, and random; learned for y_0 = 0 and for y_0 = 100."""
    N = len(task.train[1])
    w = rng.dirichlet(np.ones(N), size=6)
    for k in range(3):
        w[k, k + 1 :] = 0.0
    w[3, 0], w[4] = 0.0, 1.0
    problems = [moved(task, y_0).problem() for y_0 in (TARGETS[0], TARGETS[-1])]
    methods = (BMO(steps=20), Implicit(max_iterations=20, restarts=0))
    w = np.vstack([w, *(learn_weights(problems[k], methods[k]).weights for k in (0, 1))])
    return w / w.sum(axis=1, keepdims=True)


def measure(task: Task, weights: np.ndarray) -> dict[str, float]:
    """How L_val at the package's theta(w) depends on y_0 and on w; curvatures in y_0.

    theta(w) is affine in y_0; the curvature of L_val is mean (x~_j.c)^2 with c its slope, that of
    the test loss norm(c)^2 / 2 times 2. Where w_0 = 0 the slope is 0.
    """
    X_val, y_val = task.val
    thetas = np.array([[theta(moved(task, t), w) for t in TARGETS] for w in weights])
    val = np.array([[squared_loss(X_val, y_val, at) for at in row] for row in thetas])
    first = [squared_loss(X_val, y_val, reference(moved(task, TARGETS[0]), w)) for w in weights]
    slope = (thetas[:, -1] - thetas[:, 0]) / (TARGETS[-1] - TARGETS[0])
    expected = np.array([reference_slope(task, w) for w in weights])
    seen, expected_seen = (np.mean((c[:3] @ X_val.T) ** 2, axis=1) for c in (slope, expected))
    return {
        "spread in y": float(np.max(np.ptp(val, axis=1) / val[:, 0])),
        "spread in w": float(np.ptp(val[:, 0]) / val[:, 0].min()),
        "over NumPy's": worst_ratio(val[:, 0], np.array(first)),
        "gap of theta + t d": shifted_gap(task, weights, thetas[:, 0]),
        "slope": float(np.abs(slope - expected).max() / np.abs(expected).max()),
        "least test": float(np.min(np.sum(slope[:3] ** 2, axis=1))),
        "seen": worst_ratio(seen, expected_seen),
        "least seen": float(np.min(seen)),
    }


def theta(task: Task, w: np.ndarray) -> np.ndarray:
    """The package's re-fit, (p,)."""
    return refit(task.problem(), w).theta


def reference(task: Task, w: np.ndarray) -> np.ndarray:
    """theta(w) by NumPy: stacked rows for mu > 0, else one of the two tie-breaks."""
    (X, y), s = task.train, np.sqrt(w)[:, None]
    if task.mu > 0:
        p = X.shape[1]
        rows = np.vstack([s * X, np.sqrt(task.mu) * np.eye(p)])
        return least_squares(rows, np.append(s[:, 0] * y, np.zeros(p)))
    if task.model.tie_break == "minimum-norm":
        return least_squares(s * X, s[:, 0] * y)
    theta, Z = least_squares(s * X, s[:, 0] * y), row_and_null_space(s * X)[1]
    # The rank of X_val Z by an absolute tolerance: it is 0 up to rounding where the rows span V.
    U, size, Vt = np.linalg.svd(task.val[0] @ Z, full_matrices=False)
    on = size > 1e-9
    return theta + Z @ (Vt[on].T @ ((U[:, on].T @ (task.val[1] - task.val[0] @ theta)) / size[on]))


def reference_slope(task: Task, w: np.ndarray) -> np.ndarray:
    """d theta / d y_0 by NumPy: the re-fit to the targets (1, 0, .., 0), and to 0 in validation."""
    X, y = task.train
    X_val, y_val = task.val
    return reference(replace(task, train=(X, np.eye(len(y))[0]), val=(X_val, 0 * y_val)), w)


def shifted_gap(task: Task, weights: np.ndarray, thetas: np.ndarray) -> float:
    """The largest inner and outer residuals of theta + t d, t = 1, at the target y_0 = t.

    d by NumPy from the rows alone. Residuals: the gradient of F_w, and the move of X_val theta.
    """
    (X, y), X_val = moved(task, TARGETS[1]).train, task.val[0]
    d = least_squares(np.vstack([X, X_val]), np.eye(len(X) + len(X_val))[0])
    at = thetas + d
    inner = (weights * (at @ X.T - y)) @ X
    return float(max(np.abs(inner).max(), np.abs(X_val @ d).max()))


def worst_ratio(a: np.ndarray, b: np.ndarray) -> float:
    """The entry of a / b that is farthest from 1."""
    ratio = a / b
    return float(ratio[np.argmax(np.abs(ratio - 1))])


def expect_blind(numbers: dict[str, float], expect: Expect) -> None:
    """What the claim says of any instance with its assumptions."""
    expect("relative spread of L_val over y_i, largest", numbers["spread in y"], CONSTANT)
    expect("L_val over NumPy's", numbers["over NumPy's"], ONE)
    expect("residuals of theta + t d", numbers["gap of theta + t d"], CONSTANT)
    expect("error of d theta / d y_i, relative", numbers["slope"], CONSTANT)


def test_holds(seed: int, expect: Expect) -> None:
    rng = CLAIM.rng(seed)
    task = make_instance(rng)
    expect_blind(measure(task, some_weights(rng, task)), expect)


def test_fails_without_optimistic_refit(seed: int, expect: Expect) -> None:
    rng = CLAIM.rng(seed, 1)
    task = make_instance(rng, optimistic=False)
    expect_seen(measure(task, some_weights(rng, task)), expect)


def test_fails_without_mu_0(seed: int, expect: Expect) -> None:
    rng = CLAIM.rng(seed, 1)
    task = make_instance(rng, mu_0=False)
    expect_seen(measure(task, some_weights(rng, task)), expect)


def expect_seen(numbers: dict[str, float], expect: Expect) -> None:
    """L_val is a parabola in y_i, as curved as NumPy says, and far from a constant."""
    expect("curvature of L_val in y_i over NumPy's", numbers["seen"], ONE)
    expect("log10 of the least curvature", np.log10(numbers["least seen"]), Band(-6.0, 1.0))
    # 1e7 times what the claim allows, or more.
    expect("log10 of the spread over y_i", np.log10(numbers["spread in y"]), Band(-2.0, 6.0))


def test_fails_without_invisibility(seed: int, expect: Expect) -> None:
    """Sample i becomes useless, and its price is paid."""
    task = make_instance(CLAIM.rng(seed, 1), invisible=False)
    (X, _), (X_val, y_val) = task.train, task.val
    theta_v, e_0 = least_squares(X_val, y_val), np.eye(len(X))[0]
    lever = X[0] @ np.linalg.pinv(X_val.T @ X_val / len(y_val), rcond=1e-10) @ X[0]
    for t, useful in ((0.0, 1.0), (3.0, 0.0)):
        at = moved(task, float(X[0] @ theta_v) + t)
        found = usefulness(at.problem()).useful[0]
        expect(f"useful, y_i moved by {t:g}", found, Band.around(useful, 0.5))
        price = squared_loss(X_val, y_val, theta(at, e_0)) - squared_loss(X_val, y_val, theta_v)
        expect(
            f"price at t = {t:g} over 1 / (2 x' A^+ x)", price * 2 * lever, Band.around(t * t, 1e-6)
        )


def test_recovers(seed: int, expect: Expect) -> None:
    rng = CLAIM.rng(seed, 1)
    task = make_instance(rng)
    expect_blind(measure(task, some_weights(rng, task)), expect)
    # Useful whatever its target: validation never contradicts it.
    for y_0 in TARGETS:
        found = usefulness(moved(task, y_0).problem()).useful[0]
        expect(f"useful, y_i = {y_0:g}", found, Band.around(1.0, 0.5))


def test_not_vacuous(seed: int, expect: Expect) -> None:
    """Weights matter to L_val, and y_i matters to the test loss."""
    rng = CLAIM.rng(seed)
    task = make_instance(rng)
    numbers = measure(task, some_weights(rng, task))
    expect("log10 of the spread of L_val over w", np.log10(numbers["spread in w"]), Band(-1.0, 4.0))
    least = np.log10(numbers["least test"])
    expect("log10 of the curvature of the test loss in y_i", least, Band(-2.0, 2.0))
