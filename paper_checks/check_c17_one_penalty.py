"""C17: the penalty problems of BDS and BMO are one.

Claim: (here, shown by the argument in the statement) under A5 the least over w of
    P_gamma(theta, w) = L_val + gamma (F_w(theta) - v(w)) is L_val + gamma G(theta), with the Pareto
    gap G: penalised BDS is penalised BMO. Why: G(theta) = min_w [F_w(theta) - v(w)] (C01).
Assumptions: A5; squared loss, mu = 0.
Check: p = 2, N = 6; two routes that share nothing. min over w of P_gamma by descent over the
    simplex, with v(w) and its gradient from the package's re-fit; L_val + gamma G(theta) by NumPy,
    with G by SciPy over theta'. At random theta, and at the solutions of penalised BDS for gamma =
    .1 and 10 (the package's joint fit of theta, descent in w), which must have the
    same value for penalised BMO, and be stationary for it by NumPy's multipliers.
Control: without A5, l = 1 - exp(-(theta -+ 1)^2): G(0) = 0 against min_w [F_w(0) - v(w)] = .142, so
    that P_gamma is larger by .142 gamma at every gamma.
Not covered: the least over theta as well, which is a non-convex problem in either form: solutions
    here are stationary points, equal in both; infima that are not attained.
Runtime: about 0.8 s a seed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize

from bdtheory import Problem
from bdtheory.hypergradient import mean_loss, refit
from bdtheory.methods.bmo import fit_jointly

from .claim import Band, Claim, Expect
from .pareto import (
    WELLS_GAP,
    contradictory,
    gradients,
    inner_gap,
    losses,
    midpoint,
    multipliers,
    pareto_gap,
    two_wells,
    validation_loss,
)
from .reference import least_squares

CLAIM = Claim(
    "C17",
    "One penalty for both problems",
    "here",
    proof=("C17_minimum", "C17_values", "C17_models"),
)
GAMMAS = (0.1, 1.0, 10.0, 100.0)
# Relative to the mean loss at theta, or to P_gamma. A descent over the simplex sees falls of 1e-13;
# where its optimum has weights at 0, around which v is not smooth, it may end at 1e-8.
ROUTES = Band.around(0.0, 1e-6)
# Relative to the slope of L_val. Values are exact to 1e-9, hence weights and slopes to 3e-5.
STATIONARY = Band.around(0.0, 1e-4)


class Points(NamedTuple):
    """A problem, and points (k, p) at which the penalties are compared."""

    problem: Problem
    thetas: list[np.ndarray]


def make_instance(rng: np.random.Generator, *, A5: bool = True) -> Points:
    """p = 2, N = 6, all N(0, 1): three theta ~ N(0, 1) and theta_v, which is not in WP.

    Without A5: two wells and the midpoint.
    """
    if not A5:
        problem = two_wells(rng)
        return Points(problem, [midpoint(problem)])
    problem = make_outside_instance(rng)
    theta_v = least_squares(problem.val.X, problem.val.y)
    return Points(problem, [*rng.standard_normal((3, 2)), theta_v])


def measure(points: Points) -> dict[str, float]:
    """(min_w P_gamma - (L_val + gamma G)) / gamma, at its extremes; and relative to the losses."""
    problem, excess, scales, G = points.problem, [], [], []
    for theta in points.thetas:
        w = best_weights(problem, theta)
        G.append(pareto_gap(problem, theta)[0])
        scales.append(np.mean(problem.model.losses(theta, problem.train)))
        for gamma in GAMMAS:
            P = mean_loss(problem, theta, problem.val) + gamma * inner_gap(problem, theta, w)
            excess.append((P - validation_loss(problem, theta) - gamma * G[-1]) / gamma)
    relative = np.array(excess) / np.repeat(scales, len(GAMMAS))
    numbers = {
        "least": relative.min(),
        "largest": relative.max(),
        "least, absolute": min(excess),
        "largest, absolute": max(excess),
        "largest G": np.max(np.array(G) / scales),
        "G > 0": np.sum(np.array(G) > 1e-6 * np.array(scales)),
    }
    return {name: float(value) for name, value in numbers.items()}


def best_weights(problem: Problem, theta: np.ndarray) -> np.ndarray:
    """argmin over w of F_w(theta) - v(w), which is convex, from two starts and at the corners.

    Its derivative in w_i is l_i(theta) - l_i(theta(w)) (Danskin).
    """
    model, data = problem.model, problem.train
    before = model.losses(theta, data)

    def gap(w: np.ndarray) -> tuple[float, np.ndarray]:
        fall = before - model.losses(refit(problem, w).theta, data)
        return float(w @ fall), fall

    starts = np.random.default_rng(0).dirichlet(np.ones(problem.N), 1)
    found = [descend(gap, start) for start in (np.full(problem.N, 1 / problem.N), *starts)]
    return min([*found, *np.eye(problem.N)], key=lambda w: gap(w)[0])


def descend(objective: Callable, start: np.ndarray) -> np.ndarray:
    """A local minimiser over the simplex of a function that gives (value, gradient); by SLSQP."""
    run = minimize(
        lambda w: objective(on_simplex(w)),
        start,
        jac=True,
        method="SLSQP",
        bounds=[(0.0, 1.0)] * len(start),
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1, "jac": lambda w: 0 * w + 1},
        options={"ftol": 1e-13, "maxiter": 60},
    )
    return on_simplex(run.x)


def on_simplex(w: np.ndarray) -> np.ndarray:
    w = np.maximum(w, 0.0)
    return w / w.sum()


def measure_solutions(
    problem: Problem, gammas: tuple[float, ...] = (0.1, 10.0)
) -> dict[str, float]:
    """Penalised BDS, min over theta and w of P_gamma, against L_val + gamma G at its theta.

    The least over theta for given w is the package's joint fit; then d/dw_i is gamma (l_i(theta) -
    l_i(theta(w))). At a stationary w of this w is stationary for P_gamma(theta, .), and so optimal,
    since that is convex: P_gamma = L_val + gamma G there, at a local solution as well.
    """
    model, data, excess, gaps, slopes = problem.model, problem.train, [], [], []
    for gamma in gammas:

        def penalty(w: np.ndarray, gamma: float = gamma) -> tuple[float, np.ndarray]:
            theta = fit_jointly(problem, w, gamma, None).theta
            fall = model.losses(theta, data) - model.losses(refit(problem, w).theta, data)
            return mean_loss(problem, theta, problem.val) + gamma * float(w @ fall), gamma * fall

        w = solve(problem, penalty, gamma)
        theta = fit_jointly(problem, w, gamma, None).theta
        G, best = pareto_gap(problem, theta)
        slopes.append(slope(problem, theta, gamma, multipliers(problem, theta, best)))
        P = validation_loss(problem, theta) + gamma * G
        excess.append(penalty(w)[0] / P - 1)
        gaps.append(G / np.mean(model.losses(theta, data)))
    return {"least": min(excess), "largest": max(excess), "G": gaps[0], "slope": max(slopes)}


def slope(problem: Problem, theta: np.ndarray, gamma: float, w: np.ndarray) -> float:
    """||gradient of L_val + gamma G|| / ||gradient of L_val||, by NumPy, w the multipliers of G.

    G is a least value over w, and a largest over theta': its gradient is that of F_w (Danskin).
    """
    grad = problem.val.X.T @ (problem.val.X @ theta - problem.val.y) / problem.m
    return float(
        np.linalg.norm(grad + gamma * gradients(problem, theta).T @ w) / np.linalg.norm(grad)
    )


def solve(problem: Problem, penalty: Callable, gamma: float) -> np.ndarray:
    """w of a stationary point of penalised BDS.

    A descent may stop early at a kink of v, where one weight is 1: then the best w for its theta
    is lower, and the descent goes on from there.
    """
    w = descend(penalty, np.full(problem.N, 1 / problem.N))
    for _ in range(10):
        theta = fit_jointly(problem, w, gamma, None).theta
        better = best_weights(problem, theta)
        gain = inner_gap(problem, theta, w) - inner_gap(problem, theta, better)
        if gamma * gain <= 1e-8 * penalty(w)[0]:
            break
        w = min(better, descend(penalty, better), key=lambda w: penalty(w)[0])
    return w


def make_outside_instance(rng: np.random.Generator) -> Problem:
    """The first draw with G(theta_v) above 1% of the mean loss: no penalty is 0 at a solution."""
    while True:
        problem = contradictory(rng, p=2, N=6)
        theta_v = least_squares(problem.val.X, problem.val.y)
        if pareto_gap(problem, theta_v)[0] > 0.01 * np.mean(losses(problem, theta_v)):
            return problem


def test_holds(seed: int, expect: Expect) -> None:
    numbers = measure(make_instance(CLAIM.rng(seed)))
    expect("min_w P - (L_val + gamma G), over gamma, least", numbers["least"], ROUTES)
    expect("the same, largest", numbers["largest"], ROUTES)


def test_holds_at_solutions(seed: int, expect: Expect) -> None:
    numbers = measure_solutions(make_outside_instance(CLAIM.rng(seed)))
    expect("P of penalised BDS over L_val + gamma G, less 1, least", numbers["least"], ROUTES)
    expect("the same, largest", numbers["largest"], ROUTES)
    expect("slope of L_val + gamma G there", numbers["slope"], STATIONARY)


def test_fails_without_A5(seed: int, expect: Expect) -> None:
    numbers = measure(make_instance(CLAIM.rng(seed, 1), A5=False))
    expect("G at theta = 0", numbers["largest G"], ROUTES)
    for name in ("least, absolute", "largest, absolute"):
        expect(f"min_w P - (L_val + gamma G), over gamma, {name}", numbers[name], WELLS_GAP)


def test_recovers(seed: int, expect: Expect) -> None:
    """Squares in place of the wells; and points as in `test_holds`."""
    problem = two_wells(CLAIM.rng(seed, 1), A5=True)
    for points in (Points(problem, [midpoint(problem)]), make_instance(CLAIM.rng(seed, 1))):
        numbers = measure(points)
        expect("min_w P - (L_val + gamma G), over gamma, least", numbers["least"], ROUTES)
        expect("the same, largest", numbers["largest"], ROUTES)


def test_not_vacuous(seed: int, expect: Expect) -> None:
    """Some points have a gap, and so have the solutions."""
    numbers = measure(make_instance(CLAIM.rng(seed)))
    expect("points with G > 0, of 4", numbers["G > 0"], Band(0.5, 4.5))
    expect("log10 of the largest G", np.log10(numbers["largest G"]), Band(-4.0, 0.5))
    G = measure_solutions(make_outside_instance(CLAIM.rng(seed)), (0.1,))["G"]
    expect("log10 of G at the solution, gamma = .1", np.log10(G), Band(-5.0, 0.5))
