"""Self-refining adapts at a known rate, and drifts where validation cannot see (C10).

Upper row, the linear-Gaussian generator by `refine`, against closed forms. With mean responses the
error theta_t - theta* falls at least by the rate, the largest eigenvalue below 1 of

    M = (A + gamma B)^-1 gamma B,

and with sampled ones the part P0 (theta_t - theta_0) that validation cannot see is a random walk,

    E ||P0 (theta_t - theta_0)||^2 = t tr(P0 C P0'),   C = s^2 gamma^2 G (sum_i q_i^2 x_i x_i') G,

temperature / responses times that for other settings; where offline pairs keep half of the mass it
stays below a third of tr(P0 C P0'). Means over runs.

Lower row, the same looked for in a small GPT, pretrained on the `quality` corpus: the entropy of
its responses (the mean of -log pi over samples) and its loss on held-out pairs, over rounds of
training on its own responses. Alone: nothing but those, and never the state of least validation
loss. Anchored: L_val + F_w on other pairs of the corpus, with half of the mass of F_w on offline
pairs or none. Observed, not predicted.

Source: theory.md, C10 (`v1`); arXiv:2511.21056v1, abstract.
"""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import bdtheory as bdt
from bdtheory.adaptation import adaptation
from bdtheory.models import LinearGaussian
from bdtheory.tasks import quality
from bdtheory.tasks.language import END, LanguageTask

from . import _language, style
from .style import LOOKS

GAMMAS = (0.1, 1.0, 10.0)
SHADES = ("#A6A6A6", "#5E5E5E", "#000000")  # of gamma, light to dark
S = 0.3  # standard deviation of a response
WALKS: dict[str, dict[str, Any]] = {
    "1 response": {},
    "4 responses, temperature 0.5": {"responses": 4, "temperature": 0.5},
    "1 response, half offline": {"offline": 0.5},
}
COLORS = (LOOKS["useless"].color, LOOKS["DirectMixing"].color, LOOKS["Implicit"].color)
# name: (temperature, mass of offline pairs; None: alone, without validation)
SETTINGS: dict[str, tuple[float, float | None]] = {
    "alone, temperature 1": (1.0, None),
    "alone, temperature 0.7": (0.7, None),
    "validation, temperature 1": (1.0, 0.0),
    "validation + offline, temperature 1": (1.0, 0.5),
    "validation + offline, temperature 0.7": (0.7, 0.5),
}
LINES = (
    (LOOKS["DirectMixing"].color, "-"),
    (LOOKS["useless"].color, "-"),
    (LOOKS["Penalty"].color, "-"),
    (LOOKS["Implicit"].color, "-"),
    (LOOKS["Implicit"].color, "--"),
)
ASKED, SAMPLES, PAIRS = 32, 8, 256  # questions of a run, samples of each to see; pairs to anchor


def compute(quick: bool) -> dict[str, np.ndarray]:
    """`error` (gammas, rounds + 1), `rate` (gammas,); `walk` (settings, rounds + 1) and `step`;
    `entropy`, `distinct`, `held_out` (GPT settings, rounds + 1)."""
    rounds, runs = (10, 20) if quick else (30, 40)
    errors, rates = zip(*(_approach(gamma, rounds) for gamma in GAMMAS), strict=True)
    walks = [_walk(runs, rounds, options) for options in WALKS.values()]
    theta = _pretrain(quick)
    jobs = [(*setting, theta, quick) for setting in SETTINGS.values()]
    seen = np.array(_language.run_all(drift, jobs, quick))  # (settings, rounds + 1, 3)
    return {
        "error": np.array(errors),
        "rate": np.array(rates),
        "walk": np.array([squares.mean(axis=0) for squares in walks]),
        "spread": np.array([squares.std(axis=0) / np.sqrt(runs) for squares in walks]),
        "step": np.array(_step()),
        "entropy": seen[..., 0],
        "distinct": seen[..., 1],
        "held_out": seen[..., 2],
    }


# The linear-Gaussian generator -------------------------------------------------------------------


def _instance() -> tuple[np.ndarray, ...]:
    """30 questions in R^8, 12 validation rows that see 5 directions, theta_0."""
    rng = np.random.default_rng(10)
    X, X_val = rng.standard_normal((30, 8)), rng.standard_normal((12, 5))
    X_val = X_val @ np.linalg.qr(rng.standard_normal((8, 5)))[0].T
    return X, X_val, X_val @ rng.standard_normal(8), rng.standard_normal(8)


def _closed(gamma: float):
    X, X_val, y_val, _ = _instance()
    return adaptation(X, np.full(len(X), 1 / len(X)), X_val, y_val, gamma)


def _rounds(gamma: float, rounds: int, seed: int = 0, **options: Any) -> np.ndarray:
    """theta_0, theta_1, ... by `refine`, (rounds + 1, p); online only by default."""
    X, X_val, y_val, theta_0 = _instance()
    model, thetas = LinearGaussian(S, start=theta_0), [theta_0]
    problem = bdt.Problem(model, (X, X @ theta_0), val=(X_val, y_val))
    settings = {"share": 1.0, "offline": 0.0, "responses": 1, "temperature": 1.0} | options

    def note(_: int, found: Any) -> None:
        thetas.append(found.selection.theta)

    method = bdt.BMO(gamma=gamma, steps=1, hot=1e12)  # so hot that offline weights are uniform
    generation = bdt.Generation(**settings)
    bdt.refine(problem, method, rounds, generation=generation, seed=seed, callback=note)
    return np.array(thetas)


def _approach(gamma: float, rounds: int) -> tuple[np.ndarray, float]:
    """||theta_t - limit|| over the first one with mean responses, and the predicted rate.

    In the norm of A + gamma B, in which M is symmetric: there no round falls short of the rate.
    """
    X, X_val, _, theta_0 = _instance()
    found, A = _closed(gamma), X_val.T @ X_val / len(X_val)
    H = A + gamma * X.T @ X / len(X)
    off = _rounds(gamma, rounds, temperature=None) - found.limit(theta_0)
    size = np.sqrt(np.einsum("ti,ij,tj->t", off, H, off))
    return size / size[0], found.rate


def _walk(runs: int, rounds: int, options: dict[str, Any]) -> np.ndarray:
    """||P0 (theta_t - theta_0)||^2 at gamma = 1, (runs, rounds + 1)."""
    P0, theta_0 = _closed(1.0).P0, _instance()[3]
    thetas = np.array([_rounds(1.0, rounds, k, **options) for k in range(runs)])
    return np.sum(((thetas - theta_0) @ P0.T) ** 2, axis=-1)


def _step() -> float:
    """tr(P0 C P0') at gamma = 1."""
    found = _closed(1.0)
    return S**2 * float(np.trace(found.P0 @ found.noise @ found.P0.T))


def predicted(step: float, rounds: int) -> np.ndarray:
    """E ||P0 (theta_t - theta_0)||^2 for each of `WALKS`, (settings, rounds + 1)."""
    t = np.arange(rounds + 1)
    # Half offline: theta_t - theta_0 halves each round, noise C / 4 is added.
    return step * np.array([t, t / 8, (1 - 0.25**t) / 3])


# A small GPT -------------------------------------------------------------------------------------


@functools.cache
def _task() -> LanguageTask:
    return quality(0)


def _pretrain(quick: bool) -> dict[str, np.ndarray]:
    """theta after training on the corpus of `quality`, as NumPy arrays."""
    task, steps = _task(), 10 if quick else 300
    training = bdt.Training(steps, 64, learning_rate=1e-2, evaluations=1)
    model = _model(training)
    with _language.one_thread_here():
        problem = bdt.Problem(model, task.corpus, task.corpus_val)
        theta = bdt.learn_weights(problem, bdt.Uniform()).theta
    return {name: tensor.numpy() for name, tensor in theta.items()}


def _model(training: bdt.Training) -> Any:
    return _task().model(width=24, layers=1, device="cpu", training=training)


def drift(
    temperature: float, offline: float | None, start: dict[str, np.ndarray], quick: bool
) -> np.ndarray:
    """(entropy, distinct responses, held-out loss) after each of 20 rounds, (21, 3)."""
    import torch

    rounds = 2 if quick else 20
    training = bdt.Training(12, 64, 64, learning_rate=3e-3, evaluations=1)
    theta = {name: torch.from_numpy(a.copy()) for name, a in start.items()}
    model = dataclasses.replace(_model(training), start=theta)
    rows = [_seen(model, theta)]
    if offline is None:
        for r in range(rounds):
            theta = _alone(model, theta, temperature, r)
            rows.append(_seen(model, theta))
        return np.array(rows)

    def note(_: int, found: Any) -> None:
        rows.append(_seen(model, found.selection.theta))

    pairs = _corpus(0, PAIRS), _corpus(PAIRS, 2 * PAIRS)
    generation = bdt.Generation(
        share=ASKED / PAIRS,
        lowest=False,
        responses=2,
        temperature=temperature,
        offline=offline,
        max_new=_task().max_new,
        end=END,
    )
    problem = bdt.Problem(model, *pairs)
    bdt.refine(problem, bdt.DirectMixing(1.0), rounds, generation=generation, callback=note)
    return np.array(rows)


def _alone(model: Any, theta: Any, temperature: float, r: int) -> Any:
    """theta trained on two of its own responses to each of 32 questions, and on nothing else."""
    task, prompts = _task(), _corpus(0, PAIRS)[0]
    asked = [prompts[k] for k in np.random.default_rng(r).choice(PAIRS, ASKED, replace=False)] * 2
    made = model.generate(
        theta, asked, max_new=task.max_new, temperature=temperature, end=END, seed=r
    )
    own, now = (asked, made.responses), dataclasses.replace(model, start=theta)
    return bdt.learn_weights(bdt.Problem(now, own, own), bdt.Uniform(), seed=r).theta


def _corpus(first: int, last: int) -> tuple[list[list[int]], list[list[int]]]:
    prompts, responses = _task().corpus
    return prompts[first:last], responses[first:last]


def _seen(model: Any, theta: Any) -> tuple[float, float, float]:
    """Entropy of responses in nats, how many of 256 differ, loss on held-out pairs in nats."""
    task, asked = _task(), _corpus(0, ASKED)[0] * SAMPLES
    made = model.generate(theta, asked, max_new=task.max_new, end=END, seed=1)
    pairs = {(*p, -1, *r) for p, r in zip(asked, made.responses, strict=True)}
    held_out = -float(model.log_probs(theta, *task.corpus_val).mean())
    return -float(made.log_probs.mean()), float(len(pairs)), held_out


# The figure --------------------------------------------------------------------------------------


def headline(arrays: dict[str, np.ndarray]) -> None:
    """Errors fall at the predicted rate, walks have the predicted size; a GPT alone collapses."""
    for gamma, error, rate in zip(GAMMAS, arrays["error"], arrays["rate"], strict=True):
        falls = error[1:] / error[:-1]
        early = error[1:] > 1e-9  # above rounding
        worst = falls[early].max(initial=0.0) / rate
        style.check(
            worst < 1 + 1e-6, f"gamma = {gamma:g}: a round's fall is {worst:.4g} of the rate"
        )
    rounds = arrays["walk"].shape[1] - 1
    expected = predicted(float(arrays["step"]), rounds)[:, -1]
    off = (arrays["walk"][:, -1] - expected) / arrays["spread"][:, -1]
    style.check(
        np.abs(off).max() < 4.0,
        f"invisible mean squares are {off.round(1).tolist()} standard errors off; needed 4 at most",
    )
    if arrays["entropy"].shape[1] < 21:
        return  # a quick run: 2 rounds of a model that knows nothing
    kept = dict(zip(SETTINGS, arrays["entropy"][:, -1] / arrays["entropy"][:, 0], strict=True))
    for name, share in kept.items():
        alone = SETTINGS[name][1] is None
        bad = f"{name}: {share:.2f} of the entropy is left; needed {'< .7' if alone else '> .85'}"
        style.check(share < 0.7 if alone else share > 0.85, bad)


@style.styled
def draw(arrays: dict[str, np.ndarray]) -> Figure:
    """Above the closed forms and what `refine` does; below the GPT, settings as lines."""
    figure, axes = style.canvas(2, 2, height=6.9)
    _draw_approach(axes[0, 0], arrays)
    _draw_walk(axes[0, 1], arrays)
    for ax, key in ((axes[1, 0], "entropy"), (axes[1, 1], "held_out")):
        for line, (color, dashes) in zip(arrays[key], LINES, strict=True):
            ax.plot(line, color=color, ls=dashes)
        ax.set_xlabel("round")
        ax.set_xlim(0, arrays[key].shape[1] - 1)
    axes[1, 0].set_title("A small GPT: diversity")
    axes[1, 0].set_ylabel("entropy of a response (nats)")
    axes[1, 0].set_ylim(bottom=0)
    axes[1, 1].set_title("A small GPT: held-out pairs")
    axes[1, 1].set_ylabel("loss of a pair (nats)")
    axes[1, 1].set_yscale("log")
    axes[1, 1].set_yticks([10, 20, 50], ["10", "20", "50"])
    axes[1, 1].set_yticks([], minor=True)
    handles = axes[1, 0].get_lines()
    figure.legend(handles, list(SETTINGS), loc="outside lower center", ncols=style.beside(2))
    return figure


def _draw_approach(ax: Axes, arrays: dict[str, np.ndarray]) -> None:
    t = np.arange(arrays["error"].shape[1])
    for gamma, shade, error, rate in zip(
        GAMMAS, SHADES, arrays["error"], arrays["rate"], strict=True
    ):
        shown = error > 1e-9
        ax.plot(t[shown], error[shown], "o", color=shade, ms=3.5, mew=0, label=f"γ = {gamma:g}")
        ax.plot(t, rate**t, color=shade, lw=1.2)
    ax.set_yscale("log")
    ax.set_ylim(1e-9, 3)
    ax.set_xlim(0, t[-1])
    ax.legend(loc="lower right", handletextpad=0.2)
    ax.set_title("Mean responses: to the limit")
    ax.set_xlabel("round (line: predicted rate, a bound)")
    ax.set_ylabel("error, of the first")


def _draw_walk(ax: Axes, arrays: dict[str, np.ndarray]) -> None:
    rounds = arrays["walk"].shape[1] - 1
    t, lines = np.arange(rounds + 1), predicted(float(arrays["step"]), rounds)
    for color, seen, error, line, name in zip(
        COLORS, arrays["walk"], arrays["spread"], lines, WALKS, strict=True
    ):
        ax.plot(t[1:], line[1:], color=color, lw=1.2)
        ax.errorbar(t[1:], seen[1:], error[1:], fmt="o", color=color, ms=3, lw=1, label=name)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_ylim(lines[1, 1] / 3, lines[0, -1] * 60)
    ax.legend(loc="upper left", handletextpad=0.2)
    ax.set_title("Sampled responses: a random walk")
    ax.set_xlabel("round (line: predicted)")
    ax.set_ylabel("invisible mean square")


def main(out: Path, quick: bool = False) -> Path:
    """Compute, assert the headline, draw, save."""
    arrays = compute(quick)
    headline(arrays)
    return style.save(draw, arrays, out, "self_refining")
