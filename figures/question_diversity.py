"""Offline selection loses questions, responses of a model that fits validation keep them (C11).

The effective number of questions, exp(entropy of their weights), against the number of questions
whose only offline response is useless. Left: squared loss, 8 questions, closed form: the most even
optimal weights, offline and with the responses x.theta, theta in S_val the limit of self-refining.
Right: a one-layer transformer that is trained, 8 questions, all of them asked in validation; a
useless response contradicts the validation answer, and is useless for every model (C18). Offline:
weights learned by Penalty and BMO. Regenerated: a round of `refine` with Penalty, from a model that
was trained on the validation data. One dot per seed; the line is 8 less the lost questions.

Source: arXiv:2511.21056v2, abstract; theory.md, C11 and C18.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import bdtheory as bdt
from bdtheory import Problem, Training, maximum_entropy_weights
from bdtheory.adaptation import adaptation
from bdtheory.tasks import linear
from bdtheory.weights import entropy

from . import _language, style
from .style import LOOKS

QUESTIONS, V, END = 8, 14, 0  # tokens; 0 ends a response
LOST = (1, 3, 5, 7)  # questions without a useful response
METHODS = {"Penalty": bdt.Penalty(), "BMO": bdt.BMO(cold=0.02)}
TRAINING = Training(120, None, None, learning_rate=3e-2, selector_rate=0.05, evaluations=3)


def compute(quick: bool) -> dict[str, np.ndarray]:
    """Effective numbers: `linear` (lost, seeds, offline or regenerated), `transformer` (lost,
    seeds, one for each method, then regenerated)."""
    seeds = range(1 if quick else 5)
    jobs = [(lost, seed, quick) for lost in LOST for seed in seeds]
    trained = _language.run_all(transformer, jobs, quick)
    closed = [[closed_form(lost, seed) for seed in seeds] for lost in LOST]
    return {
        "linear": np.array(closed),
        "transformer": np.array(trained).reshape(len(LOST), len(seeds), -1),
    }


def closed_form(lost: int, seed: int) -> tuple[float, float]:
    """Of the most even optimal weights, offline and regenerated, squared loss."""
    task = linear(seed, p=12, m=9, n_useful=QUESTIONS - lost, n_useless=lost)
    X, y = task.train
    offline = Problem(bdt.Ridge(0.0), (X, y), task.val)
    theta_0, q = np.random.default_rng(seed).standard_normal(12), np.full(len(X), 1 / len(X))
    # Validation sees 9 of 12 directions; the questions need not see the others (gamma B + A > 0).
    limit = adaptation(np.vstack([X, np.eye(12)]), np.append(q, np.full(12, 0.1)), *task.val, 1.0)
    refined = Problem(bdt.Ridge(0.0), (X, X @ limit.limit(theta_0)), task.val)
    asked = np.arange(QUESTIONS)
    first, again = (_effective(maximum_entropy_weights(p), asked) for p in (offline, refined))
    return first, again


def _effective(w: np.ndarray, question: np.ndarray) -> float:
    return float(np.exp(entropy(np.bincount(question, weights=w))))


def transformer(lost: int, seed: int, quick: bool) -> list[float]:
    """Of the weights that each method learns offline, and of a round with regenerated responses."""
    problem = contradicted(lost, seed, 4 if quick else 120)
    found = [bdt.learn_weights(problem, method).weights for method in METHODS.values()]
    theta = bdt.learn_weights(_begun_at(problem, None, 4 if quick else 100), bdt.ValidationOnly())
    online: dict[str, Any] = {"temperature": None, "max_new": 3, "end": END}
    generation = bdt.Generation(share=1.0, offline=0.0, responses=1, **online)
    start = _begun_at(problem, theta.theta, 4 if quick else 20)
    after = bdt.refine(start, METHODS["Penalty"], 1, generation=generation)
    numbers = [_effective(np.asarray(w), np.arange(QUESTIONS)) for w in found]
    return [*numbers, float(after.history["questions"][-1])]


def contradicted(lost: int, seed: int, steps: int) -> Problem:
    """8 questions of three tokens, answers of two; training has another second token for `lost`."""
    rng = np.random.default_rng([11, lost, seed])
    prompts = rng.integers(1 + QUESTIONS, V, (QUESTIONS, 3))
    prompts[:, 0] = 1 + rng.permutation(QUESTIONS)  # a token that no other question has
    right = rng.integers(1, V, (QUESTIONS, 2))
    given = right.copy()
    given[:lost, 1] = (right[:lost, 1] + rng.integers(0, V - 2, lost)) % (V - 1) + 1
    training = dataclasses.replace(TRAINING, steps=steps)
    model = bdt.TransformerLM(
        V, context=6, layers=1, width=16, dtype="float64", device="cpu", training=training
    )
    asked = prompts.tolist()
    train, val = ([[*r, END] for r in answers.tolist()] for answers in (given, right))
    return Problem(model, (asked, train), val=(asked, val))


def _begun_at(problem: Problem, theta: Any, steps: int) -> Problem:
    """The same with another start (None: random) and number of steps."""
    training = dataclasses.replace(problem.model.training, steps=steps)
    model = dataclasses.replace(problem.model, start=theta, training=training)
    return problem.with_train(problem.train, model)


def headline(arrays: dict[str, np.ndarray]) -> None:
    """Closed form: 8 less the lost ones offline, all 8 regenerated; trained: close to that."""
    kept = QUESTIONS - np.array(LOST)[:, None]
    offline, regenerated = np.moveaxis(arrays["linear"], -1, 0)
    off = np.abs(offline - kept).max()
    style.check(off < 1e-6, f"offline, closed form: {off:.2g} questions from 8 less the lost ones")
    off = np.abs(regenerated - QUESTIONS).max()
    style.check(off < 1e-6, f"regenerated, closed form: {off:.2g} questions from all 8")
    if arrays["transformer"].shape[1] < 2:
        return  # a quick run: nothing is learned yet
    median = np.median(arrays["transformer"], axis=1)
    for m, name in enumerate(METHODS):
        ratio = median[:, m] / kept[:, 0]
        told = (
            f"{name}, trained: {ratio.round(2).tolist()} of 8 less the lost ones; needed .7 to 1.4"
        )
        style.check(((ratio > 0.7) & (ratio < 1.4)).all(), told)
    least = median[:, -1].min()
    style.check(least > 7.8, f"regenerated, trained: {least:.2f} questions; needed 7.8 of 8")


@style.styled
def draw(arrays: dict[str, np.ndarray]) -> Figure:
    """Effective number against lost questions: closed form, and the transformer."""
    figure, axes = style.canvas(2, height=4.2, sharey=True)
    offline = LOOKS["Implicit"]._replace(label="offline, most even optimum")
    again = LOOKS["useful"]._replace(label="regenerated")
    _draw_panel(axes[0], arrays["linear"], [offline, again])
    looks = [LOOKS[name]._replace(label=f"offline, {name}") for name in METHODS]
    _draw_panel(axes[1], arrays["transformer"], [*looks, again])
    axes[0].set_title("Squared loss, closed form")
    axes[1].set_title("A small transformer, trained")
    axes[0].set_ylabel("effective number of questions")
    return figure


def _draw_panel(ax: Axes, numbers: np.ndarray, looks: list[style.Look]) -> None:
    ax.plot(LOST, QUESTIONS - np.array(LOST), color=style.MUTED, lw=1, ls=":")
    ax.axhline(QUESTIONS, color=style.MUTED, lw=1, ls=":")
    for k, look in enumerate(looks):
        shift = 0.28 * (k - (len(looks) - 1) / 2)
        x = np.array(LOST)[:, None] + shift + np.linspace(-0.08, 0.08, numbers.shape[1])
        ax.plot(
            x.ravel(),
            numbers[:, :, k].ravel(),
            look.marker,
            color=look.color,
            ms=4.5,
            mew=0,
            label=look.label,
        )
    ax.set_xticks(LOST)
    ax.set_ylim(0, 9)
    ax.set_xlabel("questions whose only response is useless")
    ax.legend(loc="lower left")


def main(out: Path, quick: bool = False) -> Path:
    """Compute, assert the headline, draw, save."""
    arrays = compute(quick)
    headline(arrays)
    return style.save(draw, arrays, out, "question_diversity")
