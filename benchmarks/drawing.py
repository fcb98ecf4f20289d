"""The two figures of `benchmarks.bilevel`: loss against time, cost against N. SVG and PNG."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from . import cost
from .cost import Cost, exponent
from .race import Track
from .table import Race

# Okabe and Ito (2008), and a marker for each; Implicit looks as in the other figures.
LOOKS = {
    "Implicit()": ("#0072B2", "o"),
    "handmade": ("#8C8C8C", "v"),
    "plain": ("#222222", "s"),
    "jaxopt": ("#D55E00", "^"),
    "optimistix": ("#E69F00", "D"),
    "torchopt": ("#009E73", "P"),
    "betty": ("#CC79A7", "X"),
    "ridge": ("#0072B2", "o"),
    "logistic": ("#D55E00", "^"),
}
FLOOR = 1e-4  # share of the gap below which a curve is drawn at the bottom
RC: Any = {
    "font.size": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E4E4E4",
    "legend.frameon": False,
    "svg.fonttype": "path",
    "svg.hashsalt": "bdtheory",
}


def loss_against_time(races: list[Race], out: Path) -> None:
    """One panel per problem: the share of the gap still open, uniform to best known, by time."""
    with matplotlib.rc_context(RC):
        columns = min(2, len(races))
        rows = -(-len(races) // columns)
        figure = Figure(figsize=(4.6 * columns, 3.3 * rows + 0.5), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False, sharey=True)
        drawn: dict[str, Any] = {}
        for ax, found in zip(axes.flat, races, strict=False):
            for track in found.tracks:
                if track.losses and track.solver in LOOKS:
                    drawn[track.solver] = panel(ax, track, found.uniform, found.best)
            finish_panel(ax, found.name)
        for ax in axes[-1]:
            ax.set_xlabel("CPU seconds, one thread, compilation apart")
        for ax in axes[:, 0]:
            ax.set_ylabel("share of the gap still open")
        for ax in axes.flat[len(races) :]:
            ax.remove()
        order = [solver for solver in LOOKS if solver in drawn]
        handles = [drawn[solver] for solver in order]
        figure.legend(handles, order, loc="outside lower center", ncols=min(4, max(1, len(order))))
        save(figure, out, "loss_against_time")


def panel(ax: Axes, track: Track, uniform: float, best: float) -> Any:
    """The running minimum of a solver's re-fitted losses."""
    seconds, losses = track.curve()
    gap = (np.fmin.accumulate(losses) - best) / (uniform - best)
    color, marker = LOOKS[track.solver]
    ours = track.solver == "Implicit()"
    return ax.plot(
        np.maximum(seconds, 1e-4),
        np.clip(gap, FLOOR, None),
        color=color,
        marker=marker,
        markersize=4,
        markevery=max(1, len(seconds) // 8),
        linewidth=2.6 if ours else 1.5,
        zorder=5 if ours else 3,
        drawstyle="steps-post",
    )[0]


def finish_panel(ax: Axes, name: str) -> None:
    """Scales, the line that t99 is read from, and words."""
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_ylim(FLOOR, 1.5)
    ax.axhline(0.01, color="#5A5A5A", linewidth=1, linestyle=":")
    ax.annotate("99% closed", (1.0, 0.01), xycoords=("axes fraction", "data"), fontsize=8.5,
                color="#5A5A5A", ha="right", va="bottom")  # fmt: skip
    ax.set_title(name)
    low, high = np.log10(ax.get_xlim())
    ax.set_xlim(
        10.0 ** np.floor(low + 0.05), 10.0 ** np.ceil(high - 0.05)
    )  # a labelled tick each side


def cost_against_size(costs: list[Cost], out: Path) -> None:
    """CPU seconds of a hypergradient by N, with the fitted exponents."""
    with matplotlib.rc_context(RC):
        figure = Figure(figsize=(5.6, 4.0), layout="constrained")
        ax = figure.subplots()
        for model in cost.MODELS:
            rows = [row for row in costs if row.model == model and np.isfinite(row.seconds)]
            if rows:
                color, marker = LOOKS[model]
                all_, large = exponent(rows), exponent(rows, cost.LARGE)
                label = rf"{model}: $N^{{{all_:.2f}}}$, from N = {cost.LARGE:,} $N^{{{large:.2f}}}$"
                x, y = [row.N for row in rows], [row.seconds for row in rows]
                ax.plot(x, y, color=color, marker=marker, label=label)
        ax.set_xscale("log")
        ax.set_yscale("log")
        ax.set_title("An exact hypergradient, p = 100, float64")
        ax.set_xlabel("training samples N")
        ax.set_ylabel("CPU seconds, one thread")
        ax.legend(loc="upper left")
        save(figure, out, "cost_against_size")


def save(figure: Figure, out: Path, name: str) -> None:
    """name.svg and name.png in the folder."""
    figure.savefig(out / f"{name}.svg", metadata={"Date": None})
    figure.savefig(out / f"{name}.png", dpi=160)
