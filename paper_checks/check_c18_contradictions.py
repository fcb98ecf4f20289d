"""C18: an answer that contradicts a validation answer is useless for every model.

Claim: (here) Cross-entropy, any network: if training sample i answers validation question j
    differently, their probabilities sum to at most 1, so l_i >= -log(1 - exp(-l~_j)), and with
    w_i l_i <= F_w(theta) the weight obeys w_i <= F_w(theta) / (-log(1 - exp(-l~_j))): C03 without
    convexity. In a lookup table direct mixing (DM) leaves a question that n of N training samples
    contradict at validation loss log(1 + lam m n / N).
Assumptions: the two questions are the same input, the two answers differ.
Check: exp(-l_i) + exp(-l~_j) for random networks of many scales, for fitted ones, along BDS
    weights in a lookup table, and in a small transformer trained on question-response pairs; w_i
    over its bound at each. DM's loss in a lookup table by the
    package and by the formula, at lam m n / N = .24 among others.
Control: a paraphrased question, which is another input: probabilities sum to 2 in the limit, w_i
    exceeds its bound by orders of magnitude, DM's loss falls to 0.
Not covered: whether two texts are the same question; large language models; how fast the bound
    tightens, which is logarithmic in L_val.
Runtime: about 2.5 s a seed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.special import log_softmax

from bdtheory import (
    DirectMixing,
    Logistic,
    Penalty,
    Problem,
    Training,
    TransformerLM,
    Uniform,
    learn_weights,
)
from bdtheory.hypergradient import refit
from bdtheory.models import Data
from bdtheory.models.tabular import prepare_labels
from bdtheory.selection import to_numpy

from .claim import Band, Claim, Expect

CLAIM = Claim("C18", "Contradicting answers are useless for every model", "here")
NO_EXCESS = Band.around(0.0, 1e-9)  # max(0, sum of probabilities - 1), rounding 1e-15
BOUND = Band.around(0.0, 1.0)  # a weight >= 0 over its upper bound
K = 4  # answers


@dataclass(frozen=True)
class Network:
    """scores = tanh(x A) B, cross-entropy; theta = (A, B) flat. Not convex in theta."""

    hidden: int = 10

    def prepare(self, train: Any, val: Any, test: Any):
        return prepare_labels(train, val, test, fit_intercept=True)

    def initial_theta(self, data: Data) -> np.ndarray:
        size = self.hidden * (data.X.shape[1] + K)
        return 0.5 * np.random.default_rng(size).standard_normal(size)

    def losses(self, theta: np.ndarray, data: Data) -> np.ndarray:
        """l_i = -log pi_theta(y_i given x_i), (n,)."""
        log_pi = self._forward(theta, data)[2]
        return -log_pi[np.arange(len(data)), data.y]

    def weighted_gradient(self, theta: np.ndarray, w: np.ndarray, data: Data) -> np.ndarray:
        B, h, log_pi = self._forward(theta, data)
        slopes = w[:, None] * (np.exp(log_pi) - np.eye(K)[data.y])  # (n, K)
        back = (slopes @ B.T) * (1 - h**2)  # (n, hidden)
        return np.concatenate([(data.X.T @ back).ravel(), (h.T @ slopes).ravel()])

    def _forward(self, theta: np.ndarray, data: Data):
        """B (hidden, K), h (n, hidden), log probabilities (n, K)."""
        A, B = np.split(theta, [self.hidden * data.X.shape[1]])
        h = np.tanh(data.X @ A.reshape(-1, self.hidden))
        return B.reshape(-1, K), h, log_softmax(h @ B.reshape(-1, K), axis=1)


# The bound ---------------------------------------------------------------------------------------

PAIRS = 4  # the first training rows answer the first validation questions differently


def make_instance(rng: np.random.Generator, *, same_question: bool = True) -> Problem:
    """8 questions in R^5 with random answers; training: 4 contradictions, then all 8 answers.

    Without the same question the contradictions are about new inputs: paraphrases, to a network.
    """
    X, y = rng.standard_normal((8, 5)), rng.permutation(np.arange(8) % K)
    other = (y[:PAIRS] + rng.integers(1, K, PAIRS)) % K
    asked = X[:PAIRS] + (0.0 if same_question else 1.0) * rng.standard_normal((PAIRS, 5))
    train = np.vstack([asked, X]), np.concatenate([other, y])
    return Problem(Network(), train, val=(X, y))


def measure(problem: Problem) -> dict[str, float]:
    """exp(-l_i) + exp(-l~_j) and w_i over its bound, the largest over networks and weights."""
    rng = np.random.default_rng(problem.N)
    start = problem.model.initial_theta(problem.train)
    random = [(rng.dirichlet(np.ones(problem.N)), s * start) for s in np.geomspace(0.1, 30, 12)]
    bad = np.arange(problem.N) < PAIRS
    mixed = [np.where(bad, c / PAIRS, (1 - c) / 8) for c in (0.01, 0.6)]
    fitted = [(w, refit(problem, w).theta) for w in mixed]
    sums, used = np.transpose([pairs_at(problem, *point) for point in [*random, *fitted]])
    return {
        "random": float(sums[:12].max()),
        "fitted": float(sums[12:].max()),
        "used, random": float(used[:12].max()),
        "used, fitted": float(used[12:].max()),
        "fit": float(sums[12:].min()),
    }


def pairs_at(problem: Problem, w: np.ndarray, theta: np.ndarray) -> tuple[float, float]:
    """The largest exp(-l_i) + exp(-l~_j) and w_i (-log(1 - exp(-l~_j))) / F_w of the pairs."""
    l = to_numpy(problem.model.losses(theta, problem.train))
    l_val = to_numpy(problem.model.losses(theta, problem.val))[:PAIRS]
    sums = np.exp(-l[:PAIRS]) + np.exp(-l_val)
    return float(sums.max()), float(np.max(w[:PAIRS] * least_loss(l_val)) / (w @ l))


def least_loss(l_val: np.ndarray) -> np.ndarray:
    """-log(1 - exp(-l~_j)); below l~_j = 1e-10, where rounding counts, the value there: less."""
    return -np.log(-np.expm1(-np.maximum(l_val, 1e-10)))


def expect_bound(numbers: dict[str, float], expect: Expect) -> None:
    for of in ("random", "fitted"):
        excess = max(0.0, numbers[of] - 1.0)
        expect(f"exp(-l_i) + exp(-l~_j) - 1 if > 0, {of} networks", excess, NO_EXCESS)
        expect(f"w_i over its bound, {of} networks", numbers[f"used, {of}"], BOUND)


def test_holds_bound(seed: int, expect: Expect) -> None:
    problem = make_instance(CLAIM.rng(seed))
    expect_bound(measure(problem), expect)
    expect("weighted gradient - quotients", gradient_error(problem), Band.around(0.0, 1e-6))


def gradient_error(problem: Problem) -> float:
    """The network's hand-made gradient less central differences, relative."""
    model, theta = problem.model, problem.model.initial_theta(problem.train)
    w, d = np.arange(1.0, problem.N + 1), np.cos(np.arange(len(theta)))
    value = {t: w @ model.losses(theta + t * d, problem.train) for t in (-1e-5, 1e-5)}
    slope = model.weighted_gradient(theta, w, problem.train) @ d
    return float((value[1e-5] - value[-1e-5]) / 2e-5 / slope - 1)


def test_fails_without_same_question(seed: int, expect: Expect) -> None:
    """Paraphrases: a network fits both answers, and the weight is free."""
    numbers = measure(make_instance(CLAIM.rng(seed, 1), same_question=False))
    expect("exp(-l_i) + exp(-l~_j), fitted", numbers["fitted"], Band.around(2.0, 0.1))
    expect("log10 of w_i over its bound", np.log10(numbers["used, fitted"]), Band(0.5, 15.0))


def test_recovers_bound(seed: int, expect: Expect) -> None:
    expect_bound(measure(make_instance(CLAIM.rng(seed, 1))), expect)


# A lookup table ----------------------------------------------------------------------------------

MU = 1e-12  # stands for mu -> 0
M, N, COPIES = 8, 20, 6  # lam M COPIES / N = .24 at lam = .1
LOOKUP = Band.around(0.0, 1e-6)  # third answers keep a probability of order mu log(1/mu) M


def make_lookup(
    rng: np.random.Generator, *, same_question: bool = True, correct: int = 0, mu: float = MU
) -> Problem:
    """One-hot questions; COPIES answer the first one differently, `correct` rightly, others right.

    Without the same question those copies ask one more question, an input of their own.
    """
    y = rng.permutation(np.arange(M) % K)
    asked = np.concatenate(
        [np.zeros(COPIES + correct), 1 + np.arange(N - COPIES - correct) % (M - 1)]
    )
    asked = asked.astype(int)
    answers = y[asked]
    answers[:COPIES] = (y[0] + rng.integers(1, K)) % K
    asked[:COPIES] = 0 if same_question else M
    table = np.eye(M + 1)
    return Problem(Logistic(mu), (table[asked], answers), val=(table[:M], y))


def measure_lookup(problem: Problem, lam: float) -> float:
    """DM's validation loss at the contradicted question, mu -> 0."""
    theta = learn_weights(problem, DirectMixing(lam)).theta
    return float(problem.model.losses(theta, problem.val)[0])


def measure_weights(problem: Problem, ratio: float) -> float:
    """The same loss at theta(w), with `ratio` times the right copy's mass on wrong ones."""
    w = np.ones(problem.N)
    w[:COPIES] = ratio / COPIES  # one right copy
    theta = refit(problem, w / w.sum()).theta
    return float(problem.model.losses(theta, problem.val)[0])


def test_holds_lookup(seed: int, expect: Expect) -> None:
    problem = make_lookup(CLAIM.rng(seed))
    for lam in (0.1, 1.0, 10.0):
        formula = np.log1p(lam * M * COPIES / N)
        expect(
            f"DM's loss - formula, lam = {lam:g}", measure_lookup(problem, lam) - formula, LOOKUP
        )
    instance = Band.around(0.21511, 1e-5)
    expect("DM's loss at lam m n / N = .24", measure_lookup(problem, 0.1), instance)
    weighted = make_lookup(CLAIM.rng(seed), correct=1)
    for ratio in (1e-3, 1.0):
        off = measure_weights(weighted, ratio) - np.log1p(ratio)
        expect(f"loss at theta(w) - log(1 + ratio), ratio {ratio:g}", off, LOOKUP)


def test_holds_for_learned_weights(seed: int, expect: Expect) -> None:
    problem = make_lookup(CLAIM.rng(seed), correct=1, mu=1e-3)
    found = learn_weights(problem, Penalty(max_iterations=20))
    w, l = found.weights, problem.model.losses(found.theta, problem.train)
    l_val = problem.model.losses(found.theta, problem.val)[0]
    # F_w <= log K, its value at theta = 0: the bound as it is used without knowing F_w.
    for name, F in (("F_w", w @ l), ("log K", np.log(K))):
        used = w[:COPIES].max() * least_loss(l_val) / F
        expect(f"learned w_i over its bound with {name}", used, BOUND)
    expect(
        "mass on wrong copies over the right one",
        w[:COPIES].sum() / w[COPIES],
        Band.around(0.0, 0.05),
    )


def test_fails_without_same_question_in_a_lookup(seed: int, expect: Expect) -> None:
    problem = make_lookup(CLAIM.rng(seed, 1), same_question=False)
    expect("DM's loss, lam = .1", measure_lookup(problem, 0.1), LOOKUP)
    weighted = make_lookup(CLAIM.rng(seed, 1), same_question=False, correct=1)
    expect("loss at theta(w), equal mass", measure_weights(weighted, 1.0), LOOKUP)


def test_recovers_lookup(seed: int, expect: Expect) -> None:
    off = measure_lookup(make_lookup(CLAIM.rng(seed, 1)), 0.1) - np.log(1.24)
    expect("DM's loss - log 1.24", off, LOOKUP)
    weighted = make_lookup(CLAIM.rng(seed, 1), correct=1)
    expect("loss at theta(w) - log 2", measure_weights(weighted, 1.0) - np.log(2), LOOKUP)


# A language model --------------------------------------------------------------------------------

V, END = 14, 0  # tokens; 0 ends a response
TRAINING = Training(
    steps=60, batch_size=None, val_batch_size=None, learning_rate=2e-2, selector_rate=0.02
)


def make_pairs(rng: np.random.Generator, *, same_question: bool = True) -> Problem:
    """8 questions of three tokens with answers of two; training: 4 contradictions, then 8 answers.

    Without the same question the contradictions answer new questions, and training goes on until
    both are fitted.
    """
    asked = rng.integers(1, V, (8 + PAIRS, 3))
    asked[:, 0] = rng.permutation(np.arange(1, V))[: 8 + PAIRS]  # all different
    answers = rng.integers(1, V, (8, 2))
    other = answers[:PAIRS].copy()
    other[:, 1] = (other[:, 1] + rng.integers(0, V - 2, PAIRS)) % (V - 1) + 1  # another token
    about = asked[:PAIRS] if same_question else asked[8:]
    prompts = np.vstack([about, asked[:8]]).tolist()
    responses = [[*r, END] for r in np.vstack([other, answers]).tolist()]
    training = TRAINING if same_question else replace(TRAINING, steps=150)
    model = TransformerLM(V, context=6, layers=1, width=16, dtype="float64", training=training)
    return Problem(model, (prompts, responses), val=(prompts[PAIRS:], responses[PAIRS:]))


def measure_language_model(problem: Problem, method: Any) -> tuple[float, float]:
    """exp(-l_i) + exp(-l~_j) and w_i over its bound, the largest over the pairs, after training."""
    found = learn_weights(problem, method)
    return pairs_at(problem, found.weights, found.theta)


def expect_language_model(problem: Problem, expect: Expect) -> None:
    for method in (Penalty(), Uniform()):
        total, used = measure_language_model(problem, method)
        name = type(method).__name__
        expect(f"exp(-l_i) + exp(-l~_j) - 1 if > 0, {name}", max(0.0, total - 1), NO_EXCESS)
        expect(f"w_i over its bound, {name}", used, BOUND)
        expect(f"exp(-l_i) + exp(-l~_j), {name}: close to 1", total, Band(0.5, 1.5))


def test_holds_for_a_language_model(seed: int, expect: Expect) -> None:
    expect_language_model(make_pairs(CLAIM.rng(seed)), expect)


def test_fails_without_same_question_in_a_language_model(seed: int, expect: Expect) -> None:
    problem = make_pairs(CLAIM.rng(seed, 1), same_question=False)
    total, used = measure_language_model(problem, Uniform())
    expect("exp(-l_i) + exp(-l~_j)", total, Band.around(2.0, 0.5))
    expect("log10 of w_i over its bound", np.log10(used), Band(0.3, 15.0))


def test_recovers_in_a_language_model(seed: int, expect: Expect) -> None:
    expect_language_model(make_pairs(CLAIM.rng(seed, 1)), expect)


def test_not_vacuous(seed: int, expect: Expect) -> None:
    """Networks come close to their bounds."""
    numbers = measure(make_instance(CLAIM.rng(seed)))
    expect("exp(-l_i) + exp(-l~_j), largest", numbers["fitted"], Band(0.5, 1.5))
    expect("w_i over its bound, largest", numbers["used, fitted"], Band(0.01, 1.1))
