"""Tiny language models and question-response data with the truth known, for several claims."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

import bdtheory as bdt
from bdtheory import (
    Generation,
    Penalty,
    Problem,
    Training,
    TransformerLM,
    ValidationOnly,
    learn_weights,
    refine,
)
from bdtheory.methods.outer import logits
from bdtheory.selection import to_numpy
from bdtheory.weights import entropy

# Questions whose answers are contradicted --------------------------------------------------------

V, END = 14, 0  # tokens; 0 ends a response
ASKED, LOST = 8, 4  # questions that validation answers; of these the contradicted ones
GREEDY: dict[str, Any] = {"temperature": None, "max_new": 3, "end": END}  # the likeliest responses
TRAINING = Training(
    steps=60,
    batch_size=None,
    val_batch_size=None,
    learning_rate=3e-2,
    selector_rate=0.05,
    evaluations=3,
)


def contradicted(rng: np.random.Generator, *, useful_for_all: bool = False) -> Problem:
    """8 questions, all asked in validation; training answers the first 4 of them differently.

    A response that contradicts a validation answer is useless for every model (C18), one that
    repeats it is useful. With `useful_for_all` the first 4 questions have the right answer as well.
    """
    questions = rng.integers(1 + ASKED, V, (ASKED, 3))
    questions[:, 0] = 1 + rng.permutation(ASKED)  # a token that no other question has
    right = rng.integers(1, V, (ASKED, 2))
    wrong = right[:LOST].copy()
    wrong[:, 1] = (wrong[:, 1] + rng.integers(0, V - 2, LOST)) % (V - 1) + 1  # another token
    kept = 0 if useful_for_all else LOST
    prompts = np.vstack([questions[:LOST], questions[kept:]]).tolist()
    responses = [[*r, END] for r in np.vstack([wrong, right[kept:]]).tolist()]
    model = TransformerLM(V, context=6, layers=1, width=16, dtype="float64", training=TRAINING)
    val = questions.tolist(), [[*r, END] for r in right.tolist()]
    return Problem(model, (prompts, responses), val)


def contradictions(problem: Problem) -> np.ndarray:
    """Whether a training pair answers its question otherwise than validation does, (N,) bool."""
    answers = {tuple(prompt): response for prompt, response in problem.val.pairs()}
    return np.array([answers[tuple(p)] != response for p, response in problem.train.pairs()])


def fitted(problem: Problem) -> Any:
    """theta after 80 steps on the validation data alone: it fits them."""
    return learn_weights(begun_at(problem, None, steps=80), ValidationOnly()).theta


def answered(problem: Problem, theta: Any) -> Problem:
    """Every training pair with theta's likeliest response to its question."""
    made = problem.model.generate(theta, problem.train.prompts(), **GREEDY)
    return problem.with_train(problem.train.answered(np.arange(problem.N), made.responses))


def begun_at(problem: Problem, theta: Any, *, steps: int) -> Problem:
    """The same problem, with theta as the model's start (None: random), for so many steps."""
    training = replace(problem.model.training, steps=steps)
    return problem.with_train(problem.train, replace(problem.model, start=theta, training=training))


BMO = bdt.BMO(cold=0.05)  # of the mean loss at first, about 8: between losses of 5 and of 0.1


def measure_offline(problem: Problem, method: Any) -> dict[str, float]:
    """The effective number of questions, exp(entropy), and mass on contradictions over C18's bound.

    The bound of their mass is F_w sum_i 1 / (-log(1 - exp(-l~_j(i)))).
    """
    found = learn_weights(problem, method)
    asked, bad = problem.val.prompts(), contradictions(problem)
    question = np.array([asked.index(prompt) for prompt in problem.train.prompts()])
    l, l_val = (
        to_numpy(problem.model.losses(found.theta, d)) for d in (problem.train, problem.val)
    )
    least = -np.log(-np.expm1(-l_val[question[bad]]))
    bound = found.weights @ l * np.sum(1 / least)
    return {
        "questions with a useful response": len(np.unique(question[~bad])),
        "effective": float(np.exp(entropy(np.bincount(question, weights=found.weights)))),
        "used": float(found.weights[bad].sum() / bound),
    }


ONLINE = Generation(share=1.0, offline=0.0, responses=1, **GREEDY)


def measure_regenerated(problem: Problem) -> dict[str, float]:
    """The questions with the responses of a model that was trained on validation, and a round.

    F_w is that of the model itself at uniform weights; the round is one of Penalty's, 20 steps.
    """
    theta = fitted(problem)
    after = answered(problem, theta)
    found = refine(begun_at(problem, theta, steps=20), Penalty(), 1, generation=ONLINE)
    return {
        "contradictions": float(contradictions(after).sum()),
        "F_w": float(problem.model.losses(theta, after.train).mean()),
        "effective": float(found.history["questions"][0]),
    }


# A response that is new ---------------------------------------------------------------------------

MOST = 20_000  # steps: more than 1 / (2 h D delta) anywhere, and the end where D < 0
GAMMA, STEP = 0.005, 0.03  # at a larger gamma theta learns the old response first, and D < 0


def two_responses(rng: np.random.Generator) -> tuple[Problem, np.ndarray]:
    """Training pairs (new, old) of four questions, in turn, and log pi of the new ones (4,).

    The old responses contradict validation; the new ones are the likeliest under a model that was
    trained on validation, which is the problem's start.
    """
    problem = contradicted(rng)
    theta, rows = fitted(problem), np.arange(LOST)
    asked, old = problem.train.prompts()[:LOST], problem.train.responses()[:LOST]
    made = problem.model.generate(theta, asked, **GREEDY)
    responses = [r for pair in zip(made.responses, old, strict=True) for r in pair]
    pairs = problem.train.answered(np.repeat(rows, 2), responses)
    return begun_at(problem.with_train(pairs), theta, steps=1), to_numpy(made.log_probs)


def descending(problem: Problem) -> tuple[Callable[[np.ndarray], np.ndarray], float]:
    """w -> the losses of the first (new, old), and a step of theta; and D before the first one.

    theta descends L_val + GAMMA F_w, F_w on these two responses, by plain gradient steps.
    """
    model, batch = problem.model, problem.train.take([0, 1]).join(problem.val)
    theta, val = model.initial_theta(), np.full(problem.m, 1 / problem.m)

    def losses_at(w: np.ndarray) -> np.ndarray:
        losses, gradient = model.losses_and_gradient(theta, np.append(GAMMA * w, val), batch)
        for name in theta:
            theta[name] -= STEP * gradient[name]
        return to_numpy(losses)[:2]

    new, old = to_numpy(model.losses(theta, problem.train.take([0, 1])))
    return losses_at, float(old - new)


def steps_to_half(
    losses_at: Callable[[np.ndarray], np.ndarray], h: float, delta: float
) -> tuple[int, float]:
    """(K, mean loss difference on the way) of two weights from w_1 = delta to 1/2.

    The selector's own step in omega, w * (g - w.g) for g = losses, which are asked for every step.
    """
    selector, differences = logits(np.array([delta, 1 - delta])), []
    omega = selector.start
    while (w := selector.masses(omega))[0] < 0.5 and len(differences) < MOST:
        losses = losses_at(w)
        omega = omega - h * selector.pull_back(omega, w, losses)
        differences.append(losses[1] - losses[0])
    return len(differences), float(np.mean(differences)) if differences else 0.0
