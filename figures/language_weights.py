"""Weights of good and bad question-response pairs while a small transformer is fine-tuned.

N w_i, 1 for uniform weights, of all training pairs of `quality` and `safety` at each step; the
median and the quartiles of the good and of the bad ones. `Penalty` moves w against the losses, so
that weights spread steadily; `BMO` has w = softmax(-l / tau), so that weights follow the losses at
once, both ways. One seed each, from the pretrained model.

Source: theory.md, C06 and C08 (the two ways to weights), C12 (the tasks).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import bdtheory as bdt
from bdtheory.weights import auc

from . import _language, style
from ._language import SETTINGS
from .style import LOOKS

METHODS = ["Penalty", "BMO"]
SEED = 0
QUARTILES = 25, 50, 75
FLOOR = 1e-4  # of N w_i: what is below is drawn here


def compute(quick: bool) -> dict[str, np.ndarray]:
    """`step` (T,); `good`, `bad` (tasks, methods, T, quartiles) of N w_i; `auc` (tasks, methods).

    Quick: a tiny model, a dozen steps.
    """
    starts = _language.starts(quick)
    jobs = [(task, method, starts[task], quick) for task in SETTINGS for method in METHODS]
    runs = _language.run_all(trace, jobs, quick)
    shape = len(SETTINGS), len(METHODS)
    tables, detection = (np.array(part) for part in zip(*runs, strict=True))
    tables = tables.reshape(*shape, *tables.shape[1:])
    return {
        "step": 1 + np.arange(tables.shape[2]),
        "good": tables[:, :, :, 0],
        "bad": tables[:, :, :, 1],
        "auc": detection.reshape(shape),
    }


def trace(name: str, method: str, start: dict, quick: bool) -> tuple[np.ndarray, float]:
    """Quartiles of N w_i, (steps, good or bad, quartiles), and the AUC of the last weights."""
    task = _language.make(name, SEED, quick)
    problem = task.problem(_language.model(name, task, start, quick))
    rows: list[np.ndarray] = []
    last = np.empty(0)

    def note(step: int, w: np.ndarray) -> None:
        nonlocal last
        last = w
        parts = w[task.clean], w[~task.clean]
        rows.append(np.array([np.percentile(problem.N * part, QUARTILES) for part in parts]))

    bdt.learn_weights(problem, _language.solver(name, method), seed=SEED, callback=note)
    return np.array(rows), auc(last, task.clean)


def headline(arrays: dict[str, np.ndarray]) -> None:
    """The medians begin near 1; after training that of good pairs is three times that of bad."""
    for part in ("good", "bad"):
        off = np.abs(arrays[part][:, :, 0, 1] - 1.0).max()  # one batch has moved, the others not
        style.check(off < 0.1, f"{part} weights begin {off:.2g} from uniform ones; needed < .1")
    if len(arrays["step"]) < 100:
        return  # a quick run: nothing is learned yet
    for t, m in np.ndindex(arrays["auc"].shape):
        good, bad = (float(arrays[part][t, m, -1, 1]) for part in ("good", "bad"))
        where = f"{list(SETTINGS)[t]}, {METHODS[m]}"
        style.check(good > 3.0 * bad, f"{where}: medians of N w {good:.3g} good, {bad:.3g} bad")


@style.styled
def draw(arrays: dict[str, np.ndarray]) -> Figure:
    """A row for each task, a panel for each method: median and quartiles against the step."""
    figure, axes = style.canvas(2, 2, height=5.4, sharex=True, sharey=True)
    for t, task in enumerate(SETTINGS):
        for m, method in enumerate(METHODS):
            _draw_panel(axes[t, m], arrays, t, m)
            axes[t, m].set_title(f"{task}: {LOOKS[method].label}")
        axes[t, 0].set_ylabel("weight $N w_i$\n(1: uniform)")
    for ax in axes[1]:
        ax.set_xlabel("step of fine-tuning")
    return figure


def _draw_panel(ax: Axes, arrays: dict[str, np.ndarray], t: int, m: int) -> None:
    ax.set_yscale("log")
    for part, look, height in (("good", "useful", 0.9), ("bad", "useless", 0.12)):
        low, median, high = np.maximum(arrays[part][t, m], FLOOR).T
        color = LOOKS[look].color
        ax.fill_between(arrays["step"], low, high, color=color, alpha=0.18, lw=0)
        ax.plot(arrays["step"], median, color=color)
        ax.text(0.03, height - 0.05, f"{part} pairs", transform=ax.transAxes, color=color)
    ax.axhline(1.0, color=style.MUTED, lw=1, ls=":")
    ax.set_ylim(FLOOR, 30)
    ax.text(
        0.97,
        0.05,
        f"AUC {arrays['auc'][t, m]:.2f}",
        transform=ax.transAxes,
        ha="right",
        color=style.MUTED,
    )


def main(out: Path, quick: bool = False) -> Path:
    """Compute, assert the headline, draw, save."""
    arrays = compute(quick)
    headline(arrays)
    return style.save(draw, arrays, out, "language_weights")
