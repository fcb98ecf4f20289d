"""Models that are trained on their own responses: their drift, exactly and in a small GPT."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from bdtheory import (
    BMO,
    DirectMixing,
    Generation,
    Problem,
    Training,
    TransformerLM,
    Uniform,
    learn_weights,
    refine,
)
from bdtheory.adaptation import adaptation
from bdtheory.models import LinearGaussian
from bdtheory.refinement import Refinement

if TYPE_CHECKING:
    from .check_c10_self_refining import Instance

# The linear-Gaussian generator through `refine` --------------------------------------------------

WALKS, STEPS = 3, 60  # runs of a seed and their rounds; increments of a walk are independent


def refined(instance: Instance, *, seed: int = 0, **generation: Any) -> np.ndarray:
    """theta_0, theta_1, ... (rounds + 1, p), by `refine`: q is uniform, mean responses by default.

    The offline pairs, which count where `offline` > 0, are the mean responses of theta_0.
    """
    model, thetas = LinearGaussian(instance.s, start=instance.theta_0), [instance.theta_0]
    train = instance.X, instance.X @ instance.theta_0
    problem = Problem(model, train, val=(instance.X_val, instance.y_val))
    settings = {"share": 1.0, "offline": 0.0, "responses": 1, "temperature": None} | generation

    def note(_: int, found: Refinement) -> None:
        thetas.append(found.selection.theta)

    # One temperature, so hot that the offline weights are uniform.
    method = BMO(gamma=instance.gamma, steps=1, hot=1e12)
    refine(
        problem,
        method,
        instance.rounds,
        generation=Generation(**settings),
        seed=seed,
        callback=note,
    )
    return np.array(thetas)


def walk(instance: Instance, **generation: Any) -> tuple[float, float]:
    """Mean square of P0 (theta_{t+1} - theta_t) over tr(P0 C P0'), and its standard error."""
    S, P0 = covariance(instance), adaptation(*instance.data, instance.gamma).P0
    thetas = [refined(instance, seed=k, **generation) for k in range(WALKS)]
    squares = np.sum((np.diff(thetas, axis=1) @ P0.T) ** 2, axis=-1)
    return float(squares.mean() / np.trace(S)), relative_error(S, squares.size)


def spread_with_offline(instance: Instance) -> tuple[float, float]:
    """Mean square of the invisible error, half of the mass on offline pairs, over its prediction.

    theta_next = M theta / 2 + a constant + noise of covariance C / 4: M is the same, since offline
    pairs ask the same questions equally often. With P0 M = P0 the sum of P0 M^t C M'^t P0' / 4^t
    over t >= 1 is P0 C P0' / 3, which bounds it for ever. Every fifth state counts, correlated by
    2^-5; and the standard error.
    """
    S = covariance(instance) / 3
    thetas = [refined(instance, seed=k, temperature=1.0, offline=0.5) for k in range(WALKS)]
    P0 = adaptation(*instance.data, instance.gamma).P0
    ends = (np.array(thetas)[:, 10::5] - instance.theta_0) @ P0.T
    squares = np.sum(ends**2, axis=-1)
    return float(squares.mean() / np.trace(S)), relative_error(S, squares.size)


def covariance(instance: Instance) -> np.ndarray:
    """P0 C P0' (p, p), C = s^2 noise: what sampled responses add to the invisible error a round."""
    found = adaptation(*instance.data, instance.gamma)
    return instance.s**2 * found.P0 @ found.noise @ found.P0.T


def relative_error(S: np.ndarray, n: int) -> float:
    """Standard error over mean of n squares of a Gaussian: mean tr(S), variance 2 tr(S^2)."""
    return float(np.sqrt(2 * np.trace(S @ S) / n) / np.trace(S))


# A model that is trained on its own responses ----------------------------------------------------

WORDS, STYLES, RESPONSES = 4, 8, 4  # question tokens of a kind; answers; samples a question
ROUNDS, TAILS = 20, np.array([(a, WORDS + b) for a in range(WORDS) for b in range(WORDS)])
SMALL = TransformerLM(2 * WORDS + STYLES, context=4, layers=1, width=16)


def entropy_of_the_source() -> float:
    """Of the true response to any question, in nats."""
    p = _zipf(0)
    return float(-2 * p @ np.log(p))


def _zipf(shift: int) -> np.ndarray:
    """Probabilities in the proportions 1, 1/2, ..., 1/8, rolled: an answer's, (STYLES,)."""
    p = 1.0 / np.arange(1, STYLES + 1)
    return np.roll(p / p.sum(), shift)


def source(rng: np.random.Generator, n: int) -> tuple[list[list[int]], list[list[int]]]:
    """n pairs: the 16 questions in turn, two tokens each, with two random tokens as response."""
    asked = TAILS[np.arange(n) % len(TAILS)]
    shifts = np.stack([2 * asked[:, 0], 2 * (asked[:, 1] - WORDS) + 1], axis=1)
    drawn = [[rng.choice(STYLES, p=_zipf(shift)) for shift in row] for row in shifts]
    return asked.tolist(), (2 * WORDS + np.array(drawn)).tolist()


@functools.cache
def pretrained() -> Any:
    """theta of `SMALL` after 300 steps on 2,000 pairs of the source: once per process."""
    rng, training = np.random.default_rng(10), Training(300, 64, learning_rate=1e-2, evaluations=1)
    broad = replace(SMALL, training=training)
    return learn_weights(Problem(broad, source(rng, 2000), source(rng, 16)), Uniform()).theta


class Diversity(NamedTuple):
    """Of 32 responses to each question: their entropy (nats), how many differ; held-out loss."""

    entropy: float  # the mean of -log pi; its standard error is .03
    distinct: int
    held_out: float  # mean -log pi of 512 fresh pairs of the source, at least its entropy


def diversity(theta: Any) -> Diversity:
    asked, held_out = TAILS.tolist() * 32, source(np.random.default_rng(11), 512)
    made = SMALL.generate(theta, asked, max_new=2, seed=12)
    pairs = {(*p, *r) for p, r in zip(asked, made.responses, strict=True)}
    loss = -SMALL.log_probs(theta, *held_out).mean()
    return Diversity(-float(made.log_probs.mean()), len(pairs), float(loss))


OF_A_ROUND = Training(12, 64, 64, learning_rate=3e-3, evaluations=1)


@functools.cache
def alone(seed: int, temperature: float) -> Diversity:
    """After 20 rounds in which the model is trained on 64 responses of its own, and nothing else.

    Not through `refine`, which keeps the state of least validation loss: that alone is an anchor.
    """
    theta, asked = pretrained(), TAILS.tolist() * RESPONSES
    for seed_r in _round_seeds(seed):
        model = replace(SMALL, training=OF_A_ROUND, start=theta)
        made = model.generate(theta, asked, max_new=2, temperature=temperature, seed=seed_r)
        own = asked, made.responses
        theta = learn_weights(Problem(model, own, own), Uniform(), seed=seed_r).theta
    return diversity(theta)


@functools.cache
def anchored(seed: int, temperature: float, offline: float) -> Diversity:
    """After 20 rounds of `refine`, L_val + F_w: 256 validation pairs, the mass `offline` on 256."""
    rng = np.random.default_rng([13, seed])
    model = replace(SMALL, training=OF_A_ROUND, start=pretrained())
    problem = Problem(model, source(rng, 256), val=source(rng, 256))
    generation = Generation(
        share=1.0, offline=offline, responses=RESPONSES, temperature=temperature, max_new=2
    )
    found = refine(problem, DirectMixing(1.0), ROUNDS, generation=generation, seed=seed)
    return diversity(found.selection.theta)


def _round_seeds(seed: int) -> Sequence[int]:
    return np.random.default_rng([14, seed]).integers(2**31, size=ROUNDS).tolist()
