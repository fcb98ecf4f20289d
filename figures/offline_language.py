"""Two question-response tasks, a small transformer: what each offline method makes of them.

A pretrained model is fine-tuned on N = 400 pairs, some of them bad, with trusted validation pairs:
`quality` (m = 80) and `safety` (m = 60) of `bdtheory.tasks`, 5 seeds each. A quarter of the
validation pairs is set aside to choose direct mixing's ratio by; nobody learns from it. Shown is
the share of right responses to new questions, sampled greedily. An empirical comparison (C12): the
theory says only that w_i of a contradicting pair is below its bound (C18), which is asserted.

Source: theory.md, C12 and C11 (v1, v2; empirical), C18 (here).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

from . import _language, style
from ._language import METHODS, NUMBERS, SETTINGS
from .style import LOOKS

SEEDS = range(5)
CONTROL = ["ValidationOnly", "Penalty"]  # from random parameters as well
CONTROL_SEEDS = 3
# For each task what selection is for: kinds of questions whose mean score is compared.
AIMS = {"quality": ("practised", "new"), "safety": ("harmful held out", "benign held out")}
SHOWN = {
    "quality": ("overall", "practised", "new", "discarded"),
    "safety": ("overall", "harmful seen", "harmful held out", "benign held out"),
}
TITLES = {
    "new": "new in\nfine-tuning",
    "discarded": "discarded:\nall bad",
    "harmful seen": "harmful, seen:\nrefused",
    "harmful held out": "harmful, not\nseen: refused",
    "benign held out": "harmless, not\nseen: helped",
}
STARTS = {"score": "pretrained", "control": "random"}
# Paired leads in the mean of the AIMS whose intervals are asserted to be above 0.
LEADS = {
    "quality": [("Penalty", "ValidationOnly"), ("BMO", "ValidationOnly")],
    "safety": [("Penalty", "ValidationOnly"), ("BMO", "ValidationOnly"), ("Penalty", "Uniform")],
}
LEAST_AUC = 0.8


def compute(quick: bool) -> dict[str, np.ndarray]:
    """For each task `score` (seeds, methods, 1 + kinds), `number` (seeds, methods, NUMBERS), and
    `control`, scores from scratch (fewer seeds, CONTROL, 1 + kinds). Quick: one seed, no learning.
    """
    tasks, seeds = list(SETTINGS), SEEDS[:1] if quick else SEEDS
    starts = _language.starts(quick)
    jobs: dict[tuple, tuple] = {
        (t, s, "score"): (t, s, starts[t], quick, METHODS) for t in tasks for s in seeds
    }
    for task in tasks:
        for s in seeds[:CONTROL_SEEDS]:
            jobs[task, s, "control"] = task, s, None, quick, CONTROL
    results = dict(
        zip(jobs, _language.run_all(_language.compare, jobs.values(), quick), strict=True)
    )
    arrays = {}
    for t in tasks:
        own, control = (
            [result for (task, _, what), result in results.items() if (task, what) == (t, part)]
            for part in ("score", "control")
        )
        arrays[f"{t} score"] = np.array([result.scores for result in own])
        arrays[f"{t} number"] = np.array([result.numbers for result in own])
        arrays[f"{t} control"] = np.array([result.scores for result in control])
    return arrays


# What holds --------------------------------------------------------------------------------------


def interval(values: np.ndarray) -> tuple[float, float, float]:
    """Mean of values (seeds,), and the ends of its 95% t-interval; nan with one seed."""
    mean, n = float(np.mean(values)), len(values)
    half = np.nan
    if n > 1:
        half = float(stats.t.ppf(0.975, n - 1) * np.std(values, ddof=1) / np.sqrt(n))
    return mean, mean - half, mean + half


def aim(arrays: dict[str, np.ndarray], task: str, part: str = "score") -> np.ndarray:
    """The mean score over the task's AIMS, (seeds, methods)."""
    kinds = [1 + SETTINGS[task].kinds.index(kind) for kind in AIMS[task]]
    return arrays[f"{task} {part}"][:, :, kinds].mean(axis=-1)


def discarded(arrays: dict[str, np.ndarray]) -> np.ndarray:
    """The score on the discarded kinds of `quality`, (seeds, methods)."""
    return arrays["quality score"][:, :, 1 + SETTINGS["quality"].kinds.index("discarded")]


def number(arrays: dict[str, np.ndarray], task: str, method: str, name: str) -> np.ndarray:
    """One of NUMBERS for one method, (seeds,)."""
    return arrays[f"{task} number"][:, METHODS.index(method), NUMBERS.index(name)]


def lead(scores: np.ndarray, method: str, other: str) -> tuple[float, float, float]:
    """The paired difference of scores (seeds, methods), method less other, with its interval."""
    return interval(scores[:, METHODS.index(method)] - scores[:, METHODS.index(other)])


def headline(arrays: dict[str, np.ndarray]) -> None:
    """The bound of C18 in every run; over seeds, what the paired intervals say."""
    for task in SETTINGS:
        used = arrays[f"{task} number"][:, :, NUMBERS.index("used")]
        style.check(
            0.0 < used.max() <= 1.0,
            f"{task}: w_i over its bound up to {used.max():.3g}; needed <= 1",
        )
        if len(used) > 1:
            _check_selection(arrays, task)
    mean, _, high = lead(discarded(arrays), "Penalty", "ValidationOnly")
    lost = np.isnan(high) or high < 0.0
    style.check(lost, f"discarded kinds: Penalty less validation only {mean:.3f}, up to {high:.3f}")


def _check_selection(arrays: dict[str, np.ndarray], task: str) -> None:
    for method in ("Penalty", "BMO"):
        least = number(arrays, task, method, "auc").min()
        style.check(least > LEAST_AUC, f"{task}: the weights of {method} have AUC {least:.3f}")
    for method, other in LEADS[task]:
        mean, low, _ = lead(aim(arrays, task), method, other)
        style.check(
            low > 0.0, f"{task}: {method} leads {other} by {mean:.3f}, interval from {low:.3f}"
        )


# The numbers beside the figure -------------------------------------------------------------------


def summary(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """What offline_language.json holds: a row for each task, start and method, and the note."""
    rows = []
    for task, setting in SETTINGS.items():
        kinds = ("overall", *setting.kinds)
        for part, methods in (("score", METHODS), ("control", CONTROL)):
            for j, method in enumerate(methods):
                scores = arrays[f"{task} {part}"][:, j]
                row: dict[str, Any] = {"task": task, "start": STARTS[part], "method": method}
                row["seeds"] = len(scores)
                row |= {kind: _three(scores[:, k]) for k, kind in enumerate(kinds)}
                row["aim"] = _three(aim(arrays, task, part)[:, j])
                if part == "score":
                    row |= {
                        n: _three(number(arrays, task, method, n)) for n in NUMBERS if n != "ratio"
                    }
                if part == "score" and method == "DirectMixing":
                    row["ratios"] = number(arrays, task, method, "ratio").tolist()  # as chosen
                rows.append(row)
    leads = {
        f"{task}: {method} less {other}": three_of(lead(aim(arrays, task), method, other))
        for task in SETTINGS
        for method in ("Penalty", "BMO")
        for other in METHODS[:3]
    }
    return {"rows": rows, "aims": AIMS, "leads": leads, "note": note(arrays)}


def _three(values: np.ndarray) -> list[float] | None:
    """[mean, low, high] of values (seeds,); None where there is no such number."""
    return None if np.isnan(values).any() else three_of(interval(values))


def three_of(numbers: tuple[float, float, float]) -> list[float]:
    """[mean, low, high]; an interval that one seed cannot give is the mean itself."""
    return [float(numbers[0] if np.isnan(x) else x) for x in numbers]


def verdict(leads: dict[str, tuple[float, float, float]]) -> str:
    """What the intervals of paired differences say, as "leads a (+0.20); trails b (-0.10)"."""
    said: dict[str, list[str]] = {"leads": [], "trails": [], "does not differ from": []}
    for other, (mean, low, high) in leads.items():
        word = "leads" if low > 0 else "trails" if high < 0 else "does not differ from"
        said[word].append(f"{other} ({mean:+.2f})")
    return "; ".join(f"{word} {', '.join(of)}" for word, of in said.items() if of)


def note(arrays: dict[str, np.ndarray]) -> str:
    """Sentences: where a learned selection leads, where it does not, made from the numbers."""
    if len(arrays["quality score"]) < 2:
        return "A quick run: one seed, and hardly any training; it says nothing about the methods."
    parts = []
    for task in SETTINGS:
        for method in ("Penalty", "BMO"):
            leads = {LOOKS[o].label: lead(aim(arrays, task), method, o) for o in METHODS[:3]}
            said = verdict(leads)
            parts.append(f"{task}, mean of {' and '.join(AIMS[task])}: {method} {said}.")
    for what, scores in (
        ("Over all questions of quality", arrays["quality score"][:, :, 0]),
        ("On its discarded kinds, what offline selection loses,", discarded(arrays)),
    ):
        mean, low, high = lead(scores, "Penalty", "ValidationOnly")
        parts.append(
            f"{what} Penalty less validation only is {mean:+.2f} [{low:+.2f}, {high:+.2f}]."
        )
    best = {task: arrays[f"{task} control"][:, :, 0].mean(axis=0).max() for task in SETTINGS}
    parts.append(
        f"From random parameters the better of {' and '.join(LOOKS[m].label for m in CONTROL)} "
        "scores "
        + " and ".join(f"{value:.2f} on {task}" for task, value in best.items())
        + f" overall ({CONTROL_SEEDS} seeds; without pretraining, the same steps)."
    )
    return " ".join(parts)


# Drawing -----------------------------------------------------------------------------------------


@style.styled
def draw(arrays: dict[str, np.ndarray]) -> Figure:
    """A row for each task, a panel for each kind: every seed, mean and interval."""
    figure, axes = style.canvas(4, 2, height=6.2, sharey=True, sharex=True)
    for row, (task, setting) in zip(axes, SETTINGS.items(), strict=True):
        kinds = ("overall", *setting.kinds)
        for ax, kind in zip(row, SHOWN[task], strict=True):
            _draw_panel(ax, arrays, task, kinds.index(kind))
            ax.set_title(TITLES.get(kind, kind))
        row[0].set_yticks(range(len(METHODS)), [_label(m) for m in METHODS])
        row[0].set_ylabel(task, fontweight="bold")
        for ax in row[:: style.beside(len(row))]:
            for label, method in zip(ax.get_yticklabels(), METHODS, strict=True):
                label.set_color(style.dark(LOOKS[method].color))
    axes[0, 0].set_ylim(len(METHODS) - 0.4, -0.6)
    axes[0, 0].set_xlim(-0.05, 1.05)
    axes[0, 0].set_xticks([0, 0.5, 1], ["0", ".5", "1"])
    figure.supxlabel(
        "share of right responses to new questions (hollow: from random parameters)", fontsize=11
    )
    return figure


def _label(method: str) -> str:
    return LOOKS[method].label.replace("direct mixing", "mixing, best λ")


def _draw_panel(ax: Axes, arrays: dict[str, np.ndarray], task: str, k: int) -> None:
    for j, method in enumerate(METHODS):
        color = LOOKS[method].color
        x = arrays[f"{task} score"][:, j, k]
        draw_seeds(ax, j, x, color)
        if method in CONTROL:
            x = arrays[f"{task} control"][:, CONTROL.index(method), k]
            y = np.full(len(x), j + 0.36)
            ax.plot(x, y, "o", mec=color, mfc="white", ms=4, clip_on=False)


def draw_seeds(ax: Axes, j: int, x: np.ndarray, color: str) -> None:
    """Row j: a dot for every seed, their mean and its interval."""
    spread = j + np.linspace(-0.13, 0.13, len(x))
    ax.plot(x, spread, "o", mec="none", mfc=color, ms=4, alpha=0.6)
    mean, low, high = interval(x)
    ax.plot([mean] * 2, [j - 0.28, j + 0.28], color=color, lw=2.5)
    ax.plot([low, high], [j, j], color=color, lw=1.2)


def main(out: Path, quick: bool = False) -> Path:
    """Compute, assert the headline, draw, save; numbers go to offline_language.json beside it."""
    arrays = compute(quick)
    headline(arrays)
    path = style.save(draw, arrays, out, "offline_language")
    style.save_numbers(out, "offline_language", summary(arrays))
    return path
