"""C08: closed-form weights are optimal, unbiased for regenerated responses, and adapt at once.

Claim: (v2, the abstract's claim) BMO has a closed-form importance-ratio weight that adapts at once.
    (a) w = softmax(-l/tau) minimises F_w + tau KL(w, uniform), with value smin_tau = -tau log((1/N)
    sum exp(-l_i/tau)) in [min l, min l + tau log N]; tau -> infinity gives uniform weights, tau ->
    0 the best single sample; for l = -log pi it is pi^(1/tau), normalised. (b) rho = pi_theta /
    pi_old, unclipped, unnormalised, tau = 1: E_old[rho f] = E_theta[f] and E_old[rho grad log
    pi_theta] = 0. Normalised in groups of M the bias is O(1/M). E_old[rho^a grad log pi_theta] =
    (1/a) grad E_old[rho^a], a = 1/tau, pulls back to pi_old for a < 1, drives away for a > 1.
    (c) A learned softmax selector needs 1 / (2 h D delta) steps of size h to lift a weight from
    delta to 1/2 against a loss difference D (two samples); the closed form needs none.
Assumptions: (b) pi_old > 0 wherever pi_theta > 0. (c) delta small.
Check: (a) F_w + tau KL(w, uniform) - smin_tau = tau KL(w, w*) at other w, smin_tau and its bounds
    by NumPy; slope -1 in tau of w - uniform. (b) Expectations by enumeration of 4 responses, for
    groups of M over all multisets; M bias -> -E_old[rho^2 (f - E_theta f)]; difference quotients
    in theta; the standard error of the reweighted mean in fresh draws. (c) Counted steps; in a
    transformer that fits validation and answers four questions anew, from its own losses, with
    theta fixed, and with theta trained beside the selector: D is then its mean along the way.
Control: (b) pi_old misses two responses: bias -E_theta[f; missed]. Normalised, and tempered, as
    above. (c) delta = 1/2: no steps.
Not covered: the variance of rho, which grows with the distance of pi_theta from pi_old; draws that
    are kept while theta moves; (c) selectors with a step that adapts, such as Adam or mirror
    descent, which need other numbers of steps; more than two responses.
Runtime: about 1 s a seed.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from scipy.special import gammaln, logsumexp, rel_entr

from bdtheory import Logistic, Problem, Ridge
from bdtheory.linalg import few_threads
from bdtheory.methods.bmo import closed_form_weights
from bdtheory.methods.online import Ratio, Round
from bdtheory.ratios import importance_weights, reweighted_mean
from bdtheory.selection import to_numpy

from .claim import Band, Claim, Expect
from .language import LOST, descending, steps_to_half, two_responses

PROOF = ("C08_bound", "C08_value", "C08_unique", "C08_smin_bounds")
CLAIM = Claim("C08", "Closed-form weights", "v2", figure="closed_form_weights", proof=PROOF)
ROUNDING = Band.around(0.0, 1e-10)  # sums of at most 30 terms of order 1; weights cut at 1e-12
ONE = Band.around(1.0, 1e-6)  # central difference quotients with step 1e-4: h^2 = 1e-8


# (a) the closed form -----------------------------------------------------------------------------


def make_problem(rng: np.random.Generator) -> tuple[Problem, np.ndarray]:
    """A logistic problem, N = 10, p = 3, and a theta: l_i = -log pi_theta(y_i given x_i)."""
    X, y = rng.standard_normal((10, 3)), np.array([-1.0, 1.0] * 5)
    return Problem(Logistic(1e-2), (X, y), val=(X[:4], y[:4])), rng.standard_normal(3)


def measure_closed_form(problem: Problem, theta: np.ndarray) -> dict[str, float]:
    """Optimality, value, bounds and limits of softmax(-l/tau)."""
    losses = np.logaddexp(0.0, -problem.train.y * (problem.train.X @ theta))
    N, numbers = len(losses), {"value": 0.0, "excess": 1.0, "bound used": 0.5, "ratio form": 0.0}

    def keep(name: str, value: float, centre: float) -> None:
        """Of two numbers the one further from the centre of its band."""
        numbers[name] = float(max(numbers[name], value, key=lambda x: abs(x - centre)))

    for tau in (0.3, 1.0, 3.0):
        w = closed_form_weights(problem, theta, tau)
        smin = -tau * (np.log(np.sum(np.exp(-losses / tau))) - math.log(N))
        other = (w > 0) * problem.train.X[:, 0] ** 2
        other = other / other.sum()
        excess = regularised(other, losses, tau) - smin
        keep("value", regularised(w, losses, tau) - smin, 0.0)
        keep("excess", excess / (tau * np.sum(rel_entr(other, w))), 1.0)
        keep("bound used", (smin - losses.min()) / (tau * math.log(N)), 0.5)
        ratios = importance_weights(-losses, 0 * losses, tau=tau, groups=0 * losses).weights
        keep("ratio form", np.abs(ratios / N - w).max(), 0.0)
    away = [np.linalg.norm(closed_form_weights(problem, theta, t) - 0.1) for t in (1e3, 1e4)]
    gap = np.diff(np.sort(losses)[:2])[0]
    cold = closed_form_weights(problem, theta, gap / 50)  # exp(-50) of the second best is left
    return numbers | {
        "slope in tau": float(np.log10(away[1] / away[0])),
        "best sample": float(cold[np.argmin(losses)]),
    }


def regularised(w: np.ndarray, losses: np.ndarray, tau: float) -> float:
    """F_w + tau KL(w, uniform)."""
    return float(w @ losses + tau * np.sum(rel_entr(w, 1 / len(w))))


def test_holds_closed_form(seed: int, expect: Expect) -> None:
    numbers = measure_closed_form(*make_problem(CLAIM.rng(seed)))
    expect("F_w + tau KL - smin_tau", numbers["value"], ROUNDING)
    expect("excess at another w over tau KL(w, w*)", numbers["excess"], ONE)
    expect("(smin_tau - min l) / (tau log N)", numbers["bound used"], Band(0.0, 1.0))
    expect("w - normalised pi^(1/tau)", numbers["ratio form"], ROUNDING)
    # w - uniform = -(l - mean l) / (N tau) (1 + O(1/tau)), tau = 1e3 and 1e4
    expect("slope of w - uniform in tau", numbers["slope in tau"], Band.around(-1.0, 0.01))
    expect("weight of the best sample, tau -> 0", numbers["best sample"], Band.around(1.0, 1e-10))


# (b) importance ratios ---------------------------------------------------------------------------


class Policies(NamedTuple):
    """pi_theta = softmax(features theta) and pi_old over V = 3 responses, and a function f."""

    features: np.ndarray  # (V, p)
    theta: np.ndarray  # (p,)
    old: np.ndarray  # pi_old, (V,)
    f: np.ndarray  # (V,)

    def log_pi(self, theta: np.ndarray) -> np.ndarray:
        scores = self.features @ theta
        return scores - logsumexp(scores)

    def rho(self, seen: np.ndarray, **options: Any) -> np.ndarray:
        """The package's weights of these responses, `seen` (n,)."""
        log_pi, log_old = self.log_pi(self.theta)[seen], np.log(self.old[seen])
        return importance_weights(log_pi, log_old, **options).weights

    def slopes(self) -> np.ndarray:
        """grad log pi_theta of each response, (V, p)."""
        return self.features - np.exp(self.log_pi(self.theta)) @ self.features


def make_instance(
    rng: np.random.Generator, *, whole_support: bool = True, step: float = 1.0
) -> Policies:
    """log rho spans `step` over the responses. Without the whole support pi_old has only two."""
    features, theta_old, shift = (rng.standard_normal(n) for n in ((3, 3), 3, 3))
    theta_old = theta_old / np.ptp(features @ theta_old)  # pi_old is above 1 / (1 + 2 e) everywhere
    shift = step * shift / np.ptp(features @ shift)
    policies = Policies(features, theta_old + shift, np.ones(3), np.ones(3))
    old = np.exp(policies.log_pi(theta_old))
    # f rises with rho, so that the bias of normalisation, -Cov(rho, f) / M, is not 0 by accident.
    f = 2 + (policies.log_pi(policies.theta) - np.log(old)) / step
    if not whole_support:
        old = np.array([old[0], old[1], 0.0]) / old[:2].sum()
    return Policies(features, policies.theta, old, f)


def measure(policies: Policies, *, tau: float = 1.0) -> dict[str, float]:
    """Expectations under pi_old by summing over the responses it can give."""
    pi, seen = np.exp(policies.log_pi(policies.theta)), np.flatnonzero(policies.old > 0)
    mass = policies.old[seen] * policies.rho(seen, tau=tau)
    bias = mass @ policies.f[seen] - pi @ policies.f
    push = mass @ policies.slopes()[seen]
    drift = policies.old @ policies.slopes()  # grad of -KL(pi_old, pi_theta)
    missed = pi[policies.old == 0] @ policies.f[policies.old == 0]
    return {
        "bias": float(bias),
        "bias / missed": float(bias / missed) if missed else 0.0,
        "push": float(np.linalg.norm(push)),
        "push on KL": float(-drift @ push / (drift @ drift)),
        "identity": tempering_identity(policies, push, 1 / tau),
        "spread of rho": float(np.ptp(mass / policies.old[seen])),
    }


def tempering_identity(policies: Policies, push: np.ndarray, a: float) -> float:
    """a E_old[rho^a grad log pi] over grad E_old[rho^a] by difference quotients; 0 for a = 1."""

    def mean(theta: np.ndarray) -> float:
        seen = policies.old > 0
        ratio = np.exp(policies.log_pi(theta))[seen] / policies.old[seen]
        return float(policies.old[seen] @ ratio**a)

    h = 1e-4 * np.eye(len(policies.theta))
    gradient = np.array([mean(policies.theta + e) - mean(policies.theta - e) for e in h]) / 2e-4
    return 0.0 if a == 1 else float(a * push @ gradient / (gradient @ gradient))


def group_bias(policies: Policies, M: int, *, normalised: bool = True) -> float:
    """E of (1/M) sum w f over groups of M responses, minus E_theta[f]: by all multisets."""
    counts = np.array([(i, j, M - i - j) for i in range(M + 1) for j in range(M + 1 - i)])
    log_chance = (
        math.lgamma(M + 1) - gammaln(counts + 1).sum(axis=1) + counts @ np.log(policies.old)
    )
    responses = np.repeat(np.tile(np.arange(3), len(counts)), counts.ravel())  # (len(counts) M,)
    groups = np.repeat(np.arange(len(counts)), M) if normalised else None
    w = policies.rho(responses, groups=groups).reshape(-1, M)
    means = np.mean(w * policies.f[responses].reshape(-1, M), axis=1)
    return float(np.exp(log_chance) @ means - np.exp(policies.log_pi(policies.theta)) @ policies.f)


def measure_groups(policies: Policies, *, normalised: bool = True) -> dict[str, float]:
    """The power of M in the bias from M = 32 to 64, and M bias over its limit, extrapolated."""
    bias = {M: group_bias(policies, M, normalised=normalised) for M in (32, 64)}
    rho = policies.rho(np.arange(3))
    centred = policies.f - (policies.old * rho) @ policies.f
    limit = -policies.old @ (rho**2 * centred)
    return {
        "bias": bias[64],
        "power of M": float(np.log2(bias[64] / bias[32])) if normalised else 0.0,
        "M bias / limit": float((2 * 64 * bias[64] - 32 * bias[32]) / limit),
    }


def standard_scores(policies: Policies, rng: np.random.Generator) -> np.ndarray:
    """(estimate - E_theta[f]) / standard error for 200 samples of 400 fresh draws each."""
    log_pi, log_old, p = policies.log_pi(policies.theta), np.log(policies.old), policies.old
    truth, scores = np.exp(log_pi) @ policies.f, []
    for draw in rng.choice(3, size=(200, 400), p=p):
        found = reweighted_mean(policies.f[draw], log_pi[draw], log_old[draw])
        scores.append((found.value - truth) / found.standard_error)
    return np.array(scores)


def expect_unbiased(numbers: dict[str, float], expect: Expect) -> None:
    expect("E_old[rho f] - E_theta[f]", numbers["bias"], ROUNDING)
    expect("E_old[rho grad log pi_theta]", numbers["push"], ROUNDING)


def test_holds_ratios(seed: int, expect: Expect) -> None:
    policies = make_instance(CLAIM.rng(seed))
    expect_unbiased(measure(policies), expect)
    z = standard_scores(policies, CLAIM.rng(seed, 3))
    # 4 standard errors, 4 / sqrt(200) and 4 sqrt(2 / 200), and the skewness of 400 draws.
    expect("mean standard score in fresh draws", z.mean(), Band.around(0.0, 0.35))
    expect("mean square of it", np.mean(z**2), Band.around(1.0, 0.5))


def test_fails_without_whole_support(seed: int, expect: Expect) -> None:
    numbers = measure(make_instance(CLAIM.rng(seed, 1), whole_support=False))
    expect("bias over E_theta[f; missed]", numbers["bias / missed"], Band.around(-1.0, 1e-10))


def test_fails_without_tau_1(seed: int, expect: Expect) -> None:
    """Tempered: the push on KL(pi_old, pi_theta) is a - 1 close to pi_old, with its sign."""
    for a in (0.5, 2.0):
        numbers = measure(make_instance(CLAIM.rng(seed, 1)), tau=1 / a)
        name = f"E_old[rho^a grad log pi] over (1/a) grad E_old[rho^a], a = {a}"
        expect(name, numbers["identity"], ONE)
        numbers = measure(make_instance(CLAIM.rng(seed, 1), step=1e-4), tau=1 / a)
        # rho - 1 is of order 1e-4 times features of order 1 to 3; the next term is its square.
        band = Band.around(a - 1, 0.01)
        expect(f"push on KL(pi_old, pi_theta), a = {a}", numbers["push on KL"], band)


def test_fails_without_plain_averages(seed: int, expect: Expect) -> None:
    """Normalised within groups of M."""
    numbers = measure_groups(make_instance(CLAIM.rng(seed, 1)))
    expect("power of M in the bias", numbers["power of M"], Band.around(-1.0, 0.1))
    expect("M bias over its limit", numbers["M bias / limit"], Band.around(1.0, 0.05))


def test_recovers(seed: int, expect: Expect) -> None:
    policies = make_instance(CLAIM.rng(seed, 1))
    expect_unbiased(measure(policies), expect)
    numbers = measure_groups(policies, normalised=False)
    expect("bias in groups of 64, not normalised", numbers["bias"], ROUNDING)
    _, scaled, _ = count_steps(CLAIM.rng(seed, 1), 1e-3)
    expect("K 2 h D delta, delta = 1e-3", scaled, SMALL[1e-3])


# (c) how fast weights adapt ----------------------------------------------------------------------

SMALL = {
    1e-2: Band.around(1.1, 0.02),
    1e-3: Band.around(1.016, 0.003),
    1e-4: Band.around(1.002, 0.0005),
}
# sigmoid(D / tau) at tau = D, above 1/2 whatever delta was
SIGMOID = Band.around(1 / (1 + math.exp(-1.0)), 1e-12)


def count_steps(rng: np.random.Generator, delta: float) -> tuple[int, float, float]:
    """(K, K 2 h D delta, closed-form weight at once): losses 0 and D, w_1 = delta, h D <= 1/2."""
    D = rng.uniform(0.5, 2.0)
    problem = Problem(
        Ridge(0.0), (np.ones((2, 1)), np.array([0.0, np.sqrt(2 * D)])), val=([[1.0]], [0.0])
    )
    h = rng.uniform(0.3, 0.5) / D
    K, mean_D = steps_to_half(lambda w: np.array([0.0, D]), h, delta)
    at_once = closed_form_weights(problem, np.zeros(1), D)[0]
    return K, K * 2 * h * mean_D * delta, float(at_once)


def test_holds_adaptation(seed: int, expect: Expect) -> None:
    for delta, band in SMALL.items():
        _, scaled, at_once = count_steps(CLAIM.rng(seed), delta)
        expect(f"K 2 h D delta, delta = {delta:g}", scaled, band)
        expect("closed-form weight at once", at_once, SIGMOID)


def test_fails_without_small_delta(seed: int, expect: Expect) -> None:
    K, _, _ = count_steps(CLAIM.rng(seed, 1), 0.5)
    expect("steps from delta = 1/2", K, Band.around(0.0, 0.5))


# In a transformer -------------------------------------------------------------------------------


def expect_transformer(problem: Problem, log_pi: np.ndarray, expect: Expect) -> None:
    """What (c) says of every question: the steps of a learned selector, and none."""
    theta = problem.model.initial_theta()
    for k in range(LOST):
        pair = problem.with_train(problem.train.take([2 * k, 2 * k + 1]))
        losses = to_numpy(pair.model.losses(theta, pair.train))
        D = losses[1] - losses[0]
        h = (0.3 + 0.05 * k) / D
        for delta in (1e-2, 1e-3):
            K, _ = steps_to_half(lambda w, losses=losses: losses, h, delta)
            expect(f"K 2 h D delta, delta = {delta:g}", K * 2 * h * D * delta, SMALL[delta])
        expect("softmax(-l / D) at once", closed_form_weights(pair, theta, D)[0], SIGMOID)
        expect("ratio weight at once", ratio_weight(losses, log_pi[k]), Band.around(0.5, 1e-9))


def ratio_weight(losses: np.ndarray, log_pi_old: float) -> float:
    """The new response's weight in a round that gives half of the mass to generated ones."""
    given = Round(np.full(2, 0.5), np.zeros(2, int), np.array([log_pi_old, np.nan]))
    ratio = Ratio(given, gamma=1.0, tau=1.0, clip=None, grouped=False)
    ratio.update(0.0, np.arange(2), losses)
    return float(ratio.weights[0])


def test_holds_in_a_transformer(seed: int, expect: Expect) -> None:
    problem, log_pi = two_responses(CLAIM.rng(seed))
    expect_transformer(problem, log_pi, expect)
    losses_at, D = descending(problem)
    with few_threads(0, small=1):
        K, mean_D = steps_to_half(losses_at, 0.4 / D, 0.02)
    scaled = K * 0.8 * mean_D / D * 0.02
    # 1.135 for many small steps, 1.168 at h D = .4, and one step of K > 70.
    expect("training: K 2 h D delta, D its mean", scaled, Band(1.12, 1.19))
    expect("training: that mean over the first D", mean_D / D, Band(0.0, 0.95))


def test_fails_without_small_delta_in_a_transformer(seed: int, expect: Expect) -> None:
    losses_at, D = descending(two_responses(CLAIM.rng(seed, 1))[0])
    K, _ = steps_to_half(losses_at, 0.4 / D, 0.5)
    expect("steps from delta = 1/2", K, Band.around(0.0, 0.5))


def test_recovers_in_a_transformer(seed: int, expect: Expect) -> None:
    expect_transformer(*two_responses(CLAIM.rng(seed, 1)), expect)


def test_not_vacuous(seed: int, expect: Expect) -> None:
    """The ratios differ, clearly, and so do the losses."""
    spread = measure(make_instance(CLAIM.rng(seed)))["spread of rho"]
    expect("max rho - min rho", spread, Band(0.3, 2.5))
    problem, theta = make_problem(CLAIM.rng(seed))
    w = closed_form_weights(problem, theta, 0.3)
    ratio = np.log10(w.max() / w.min())
    expect("log10 of largest over least weight, tau = .3", ratio, Band(0.0, 12.0))
