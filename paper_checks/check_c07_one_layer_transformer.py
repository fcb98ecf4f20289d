"""C07: gradient descent on a one-layer transformer reaches every eps, direct mixing stalls.

Claim: (v2) For a one-layer transformer, gradient descent on (theta, omega) jointly in P_gamma =
    L_val + gamma sum_i w_i l_i, w = softmax(omega), with v dropped (C06(a)), drives L_val below
    every eps > 0 in finite time; direct mixing (DM), the same descent with w frozen at uniform,
    stalls with the same budget. No theorem of the paper is quoted: the setting is this file's.
Assumptions: some head answers all useful samples (their loss has infimum 0); the answers that
    contradict validation answers are useless (C18); one validation answer per question.
Check: constant steps, full batch, 20 random starts in one batch, seen at 20 steps a decade: the
    first with L_val <= eps for eps over three decades down from log V, where every start arrives;
    slope of log L_val against log t over the last two decades of 1e5 steps; the weights of
    contradictions against C18's bound.
Control: w frozen: L_val ends where a lookup table has DM's optimum, log(1 + (lam n_j / N) /
    (1/m + lam r_j / N)) at question j with n_j wrong and r_j right of N samples, never below C18's
    bound for its F_w. Some validation questions with two answers: L_val stops at their entropy.
Not covered: other vocabularies, lengths and steps; momentum and mini-batches; the paper's own
    conditions and constants. The lookup table bounds DM's objective for every model; that a head
    comes near it is measured, not shown.
Runtime: about 45 s for 20 seeds, which are the starts of one batch; about 20 s for one or two.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from bdtheory.models.attention import OneLayerTransformer, Sequences

from .claim import Band, Claim, Expect

CLAIM = Claim(
    "C07",
    "An eps-global optimum in finite time",
    "v2",
    figure="transformer_convergence",
    batch=True,
    proof=None,
)
V, L = 4, 3
MODEL = OneLayerTransformer(vocab_size=V, length=L)
GAMMA, STEP, STEPS = 1.0, 0.25, 100_000
TIMES = np.unique(np.geomspace(1, STEPS, 101).round().astype(int))  # 20 a decade
DECADES = (1, 2, 3)  # eps = log V / 10^k
SLOPE = "slope of log L_val in log t, last two decades"
ONE = 1.2 / 20  # one useful sample, as a share of them

Pair = tuple[tuple[int, int, int], int]  # a question and its answer


@dataclass(frozen=True)
class Instance:
    """Training and validation pairs, the seed of theta's start, and whether omega is learned."""

    seed: int
    train: tuple[Pair, ...]
    val: tuple[Pair, ...]
    learned: bool


def make_instance(
    rng: np.random.Generator, *, learned_weights: bool = True, one_answer: bool = True
) -> Instance:
    """Questions (a, b, q): the answer is a where q is even, b where it is odd.

    Validation: m = 16, with each (a, b, q) also (b, a, q). Training, N = 28: the right answers to
    those with q < 3, right answers to 8 other questions, and to those with q >= 2 the token at the
    wrong place: 8 contradictions. Without one answer validation gives the wrong one as well.
    """
    near, far = [(0, 1), (1, 0), (2, 3), (3, 2)], [(0, 2), (2, 0), (1, 3), (3, 1)]
    asked = [(a, b, q) for (a, b), q in product(near, range(4))]
    more = [(a, b, q) for (a, b), q in product(far, range(2))]
    wrong = [(x, x[1 - x[2] % 2]) for x in asked if x[2] >= 2]
    right = [(x, x[x[2] % 2]) for x in [*asked, *more]]
    train = [pair for pair in right if pair[0][2] < 3] + wrong
    val = right[: len(asked)] + ([] if one_answer else wrong)
    return Instance(int(rng.integers(2**31)), tuple(train), tuple(val), learned_weights)


class Run(NamedTuple):
    """One start: the n pairs of its batch, their shares in the two sets, and what TIMES saw."""

    pairs: list[Pair]
    v: np.ndarray  # share of validation (n,): L_val = v.l
    u: np.ndarray  # share of training (n,), the uniform weights
    l: np.ndarray  # losses (times, n)
    w: np.ndarray  # weights (times, n)
    start: dict[str, np.ndarray]  # theta before the first step
    end: dict[str, np.ndarray]  # and after the last

    @property
    def L_val(self) -> np.ndarray:
        return self.l @ self.v

    @property
    def F(self) -> np.ndarray:
        """F_w = w.l at TIMES."""
        return np.sum(self.w * self.l, axis=1)


@functools.cache
def descend(instances: tuple[Instance, ...]) -> list[Run]:
    """theta <- theta - h dP/dtheta, omega <- omega - h gamma w (l - w.l); frozen: omega stays.

    All instances are one batch over all their pairs: a pair that is not in an instance's training
    set has omega = -inf there, so w = 0.
    """
    pairs = sorted({pair for i in instances for pair in i.train + i.val})
    data = as_data(pairs)
    v = np.array([shares(pairs, i.val) for i in instances])
    u = np.array([shares(pairs, i.train) for i in instances])
    theta = start = stacked([MODEL.initial_theta(i.seed) for i in instances])
    omega = np.where(u > 0, 0.0, -np.inf)  # uniform weights on the training pairs
    rate = STEP * GAMMA * np.array([[float(i.learned)] for i in instances])
    seen, times = [], set(TIMES.tolist())
    keep_memory()
    for t in range(1, STEPS + 1):
        e = np.exp(omega - omega.max(axis=1, keepdims=True))
        w = e / e.sum(axis=1, keepdims=True)
        l, gradient = MODEL.losses_and_gradient(theta, v + GAMMA * w, data)
        if t in times:
            seen.append((l, w))
        theta = {key: theta[key] - STEP * gradient[key] for key in theta}
        omega = omega - rate * w * (l - np.sum(w * l, axis=1, keepdims=True))
    l, w = (np.stack(arrays, axis=1) for arrays in zip(*seen, strict=True))  # (S, times, n)
    ends = ([{key: a[k] for key, a in at.items()} for at in (start, theta)] for k in range(len(v)))
    return [Run(pairs, *row, *end) for *row, end in zip(v, u, l, w, ends, strict=True)]


def shares(pairs: list[Pair], of: tuple[Pair, ...]) -> np.ndarray:
    """The share of `of` that each pair is, (n,), sum 1."""
    return np.array([of.count(pair) for pair in pairs]) / len(of)


def as_data(pairs: list[Pair]) -> Sequences:
    X, y = [question for question, _ in pairs], [answer for _, answer in pairs]
    return Sequences(np.array(X), np.array(y), np.empty(0))


def stacked(thetas: list[dict]) -> dict[str, np.ndarray]:
    """Several thetas as one with a leading axis, in NumPy."""
    return {key: np.stack([theta[key].numpy() for theta in thetas]) for key in thetas[0]}


def keep_memory() -> None:
    """Allocate 16 MiB, untouched, and free them: glibc then keeps blocks below that size.

    Otherwise every temporary above 128 KiB goes back to the system, and its page faults double the
    time. Nothing else changes.
    """
    np.empty(1 << 21)


# What is measured --------------------------------------------------------------------------------


def measure(run: Run) -> dict[str, Any]:
    """Numbers of one start; the same for every arm. `bad`: the contradictions in training."""
    L_val, late = run.L_val, TIMES >= STEPS / 100
    answers = [is_right(pair) for pair in run.pairs]
    bad, good = ((run.u > 0) & (np.array(answers) == right) for right in (False, True))
    unused = {"key_query": 0.0 * run.end["key_query"], "readout": run.end["readout"]}
    joint = run.v + GAMMA * run.u  # the weights of the pairs in direct mixing's objective
    return {
        "start": L_val[0],
        "least": L_val.min(),
        "end": L_val[-1],
        "slope": np.polyfit(np.log(TIMES[late]), np.log(L_val[late]), 1)[0],
        "bad share": run.u[bad].sum(),
        "bad mass": run.w[-1, bad].sum(),
        "coverage": np.mean(run.l[np.searchsorted(TIMES, 1000), good] <= 0.1),
        "without attention": run.v @ MODEL.losses(unused, as_data(run.pairs)),
        "table": run.v @ lookup(run, joint),
        "labels": run.v @ lookup(run, run.v),
        "excess of P": L_val[-1] + GAMMA * run.F[-1] - joint @ lookup(run, joint),
        **{f"arrival {k}": arrival(L_val, np.log(V) / 10.0**k) for k in DECADES},
        **{f"{key} moved": distance(run.end[key], at) for key, at in run.start.items()},
        **contradictions(run, bad),
    }


def is_right(pair: Pair) -> bool:
    (a, b, q), answer = pair
    return answer == (a, b)[q % 2]


def arrival(L_val: np.ndarray, eps: float) -> float:
    """The first of TIMES with L_val <= eps, inf where there is none."""
    return min(TIMES[L_val <= eps], default=np.inf)


def distance(end: np.ndarray, start: np.ndarray) -> float:
    """norm(end - start) / norm(start)."""
    return float(np.linalg.norm(end - start) / np.linalg.norm(start))


def lookup(run: Run, weights: np.ndarray) -> np.ndarray:
    """Losses (n,) of the lookup table that is best for these weights of the pairs (n,).

    It answers each question in proportion to the weights: l = -log(W_i / sum of W over the
    question); 0 where W_i = 0, which counts nowhere. No model has a smaller weighted sum.
    """
    asked = [question for question, _ in run.pairs]
    total = np.array([[a == b for b in asked] for a in asked]) @ weights
    return np.log(np.where(weights > 0, total, 1.0) / np.where(weights > 0, weights, 1.0))


def contradictions(run: Run, bad: np.ndarray) -> dict[str, Any]:
    """C18 along the run: f(l~) = -log(1 - exp(-l~)) <= l_i where i contradicts a right answer.

    "used": the largest w_i f(l~_j) / F_w, at most 1. "over floor": for equal weights the mean of
    f(l~_j) is at most F_w / (mass on bad), and f is convex, falling and its own inverse, so that
    the mean of l~_j is at least f(F_w / mass): the least L_val over what this gives.
    """
    bad_numbers = np.flatnonzero(bad)
    right = {question: k for k, (question, _) in enumerate(run.pairs) if is_right(run.pairs[k])}
    j = [right[run.pairs[i][0]] for i in bad_numbers]
    used = run.w[:, bad_numbers] * least_loss(run.l[:, j]) / run.F[:, None]
    floor = run.v[j].sum() * least_loss(run.F / run.w[:, bad].sum(axis=1))
    return {"used": used.max(), "over floor": np.min(run.L_val / floor)}


def least_loss(l_val: np.ndarray) -> np.ndarray:
    """f(l~) = -log(1 - exp(-l~)), the least loss of an answer that contradicts one of loss l~."""
    return -np.log(-np.expm1(-l_val))


# Arms --------------------------------------------------------------------------------------------

# (stream, assumption dropped) of all arms: with all seeds asked for they are one batch.
BATCH = ((0, {}), (1, {}), (1, {"learned_weights": False}), (1, {"one_answer": False}))


def at_start(seed: int, expect: Expect, stream: int, **dropped: bool) -> dict[str, Any]:
    """The numbers of one start."""
    batch = [
        make_instance(CLAIM.rng(k, stream_), **dropped_)
        for k in range(max(expect.seeds, seed + 1))
        for stream_, dropped_ in BATCH
    ]
    wanted = make_instance(CLAIM.rng(seed, stream), **dropped)
    return measure(descend(tuple(batch))[batch.index(wanted)])


ARRIVAL = {1: Band(0.5, 1.5), 2: Band(0.0, 1.0), 3: Band(0.0, 1.0)}


def expect_arrival(numbers: dict[str, Any], expect: Expect) -> None:
    """Every eps is reached, at the rate 1/t.

    With saturated attention and the read-out c (I - 1/V), norm^2 = 3 c^2, L_val = 3 exp(-c), so
    that dL_val/dt = -h L_val^2 / 3 without training data and twice that where they pull as much
    (gamma = 1): h t L_val ends between 1.5 and 3, and is larger while the head still learns where
    to look, which is most of the time to the first eps. Hence the bands for h t eps, a decade each,
    and a slope of -1, steeper as that time wears off.
    """
    for k in DECADES:
        taken = np.log10(STEP * numbers[f"arrival {k}"] * np.log(V) / 10.0**k)
        expect(f"log10 of h t eps on arrival, eps = log V / 1e{k}", taken, ARRIVAL[k])
    end, mass = (STEP * STEPS * numbers[key] for key in ("end", "bad mass"))
    expect("log10 of h t L_val at the end", np.log10(end), Band(0.0, 1.0))
    expect(SLOPE, numbers["slope"], Band.around(-1.0, 0.15))
    # omega_i falls by h w_i l_i: w_i = 1 / (h l_i t) each, less where the other logits rise. Of the
    # 8 contradictions l_i >= 9 at the end (C18): at most 8/9; seen a decade below that at most.
    expect("log10 of h t times the mass on contradictions", np.log10(mass), Band(-1.5, 0.0))
    expect("weight of a contradiction over its C18 bound", numbers["used"], Band.around(0.0, 1.0))
    expect("useful samples fitted after 1000 steps", numbers["coverage"], Band.around(1.0, ONE))


def test_holds(seed: int, expect: Expect) -> None:
    expect_arrival(at_start(seed, expect, 0), expect)


def test_fails_without_learned_weights(seed: int, expect: Expect) -> None:
    """Direct mixing with lam = gamma, the whole budget: the level of the lookup table."""
    numbers = at_start(seed, expect, 1, learned_weights=False)
    # Third answers keep a probability of order 1/(h t); constant steps overshoot as attention
    # sharpens, by less than a tenth of the level.
    level = Band.around(0.0, 0.02)
    m, N = 16, 28  # q = 2 has a wrong and a right answer in training, q = 3 a wrong one alone
    formula = sum(np.log1p(GAMMA / N / (1 / m + GAMMA * r / N)) for r in (1, 0)) / 4
    expect("lookup level - theory's formula", numbers["table"] - formula, Band.around(0.0, 1e-9))
    expect("L_val at the end - lookup level", numbers["end"] - formula, level)
    expect("least L_val of the run - lookup level", numbers["least"] - formula, level)
    expect(SLOPE, numbers["slope"], Band.around(0.0, 0.05))
    expect("P at the end - its infimum", numbers["excess of P"], Band.around(0.0, 0.01))
    expect("L_val over its bound by C18, least", numbers["over floor"], Band(1.0, 1.5))
    # The right answers with q = 2 have l = log(1 + 1 / (1 + N / m)) = .31: 16 of 20 are fitted.
    expect("useful samples fitted after 1000 steps", numbers["coverage"], Band.around(0.8, ONE))


def test_fails_without_one_answer(seed: int, expect: Expect) -> None:
    """Half of the questions have two validation answers: L_val stops at the labels' entropy."""
    numbers = at_start(seed, expect, 1, one_answer=False)
    entropy = 16 / 24 * np.log(2)  # 16 of the 24 labels are of such questions
    expect("entropy by counting - 2/3 log 2", numbers["labels"] - entropy, Band.around(0.0, 1e-9))
    # Above it by O(1/(h t)) = 1e-4 and what constant steps leave; below it by rounding at most.
    for when in ("end", "least"):
        above = numbers[when] - entropy
        expect(f"L_val, {when}, - entropy of the labels", above, Band(-1e-9, 0.003))
    expect(SLOPE, numbers["slope"], Band.around(0.0, 0.02))


def test_recovers(seed: int, expect: Expect) -> None:
    expect_arrival(at_start(seed, expect, 1), expect)


def test_not_vacuous(seed: int, expect: Expect) -> None:
    numbers = at_start(seed, expect, 0)
    expect("L_val at the start over log V", numbers["start"] / np.log(V), Band.around(1.0, 0.1))
    for key in ("key_query", "readout"):
        moved = np.log10(numbers[f"{key} moved"])
        expect(f"log10 of how far {key} moved, over its norm", moved, Band(0.0, 3.0))
    # Without attention (a, b, q) and (b, a, q) look the same and have different answers: no
    # read-out has less than log 2. The learned one has more, as it counts on the head.
    expect("L_val with attention turned off", numbers["without attention"], Band(np.log(2), 5.0))
    expect("share of contradictions in training", numbers["bad share"], Band(0.2, 0.5))
