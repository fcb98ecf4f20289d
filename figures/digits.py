"""Handwritten digits, half of the training labels redrawn: what each method makes of them.

    min over w of L_val(theta(w)),   theta(w) = argmin sum_i w_i l_i(theta) + (mu/2) norm(theta)^2

multinomial logistic regression, 1,000 training images, 400 validation images with correct labels,
397 for the loss on new data; 5 random splits, three ridges mu. An empirical comparison: nothing
here instantiates a theorem (mu > 0, no A2). The smaller mu, the better 400 images are fitted
without any training data, and the less there is to gain on validation data. The figure and its
`digits.json` say where the advantage over validation only stops, for validation and for new data
separately.

Source: theory.md, C04 (v1's abstract, at fixed mu only as an observation) and C14 (overfitting).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import bdtheory as bdt
from bdtheory.tasks import digits
from bdtheory.weights import auc

from . import _language, style
from .style import LOOKS

MUS = (1e-2, 1e-3, 1e-4)
SEEDS = range(5)
BASELINES = {
    "ValidationOnly()": bdt.ValidationOnly(),
    "Uniform()": bdt.Uniform(),
    **{f"DirectMixing(ratio={r:g})": bdt.DirectMixing(ratio=r) for r in (0.01, 0.1, 1.0, 10.0)},
}
# Shorter than the defaults, and Penalty at the largest mu only, to keep the figure near a minute.
BMO, PENALTY = "BMO(steps=20)", "Penalty(max_iterations=20)"
LEARNED = {
    BMO: bdt.BMO(steps=20),
    PENALTY: bdt.Penalty(max_iterations=20),
    "Implicit()": bdt.Implicit(),
}
METHODS = [*BASELINES, *LEARNED]
LEFT_OUT = {(PENALTY, 1e-3), (PENALTY, 1e-4)}
NUMBERS = ("val_loss", "test_loss", "ess", "auc")


def compute(quick: bool) -> dict[str, np.ndarray]:
    """`mu` (mus,) and each of NUMBERS as (mus, seeds, methods); nan where left out, or no weights.

    Quick: one split, mu = 1e-2, few iterations.
    """
    _require_data()
    mus, seeds = (MUS[:1], SEEDS[:1]) if quick else (MUS, SEEDS)
    jobs = [(mu, seed, quick) for mu in mus for seed in seeds]
    rows = _language.run_all(_compare, jobs, quick)
    table = np.array(rows).reshape(len(mus), len(seeds), len(METHODS), len(NUMBERS))
    return {"mu": np.array(mus)} | dict(zip(NUMBERS, np.moveaxis(table, -1, 0), strict=True))


def _require_data() -> None:
    try:
        digits(N=10, m=10)
    except ImportError as error:
        raise style.Skip(str(error)) from None


def _compare(mu: float, seed: int, quick: bool) -> list[list[float]]:
    """NUMBERS for each method on one split; one process, one BLAS thread."""
    import threadpoolctl

    task = digits(seed, corrupt=0.5, mu=mu)
    problem = task.problem()
    short = {PENALTY: bdt.Penalty(max_iterations=2), "Implicit()": bdt.Implicit(max_iterations=10)}
    methods = BASELINES | LEARNED | (short if quick else {})
    rows = []
    with threadpoolctl.threadpool_limits(1):
        for name, method in methods.items():
            if (name, mu) in LEFT_OUT:
                rows.append([np.nan] * len(NUMBERS))
                continue
            fit = bdt.learn_weights(problem, method, seed=seed)
            detection = auc(fit.weights, np.asarray(task.clean)) if name in LEARNED else np.nan
            ess = bdt.effective_sample_size(fit.weights)
            rows.append([fit.val_loss, fit.test_loss, ess, detection])
    return rows


def wins(arrays: dict[str, np.ndarray], key: str, name: str) -> np.ndarray:
    """On how many splits Implicit() has the lower loss `key` than the method, (mus,)."""
    loss = arrays[key]
    own = loss[:, :, METHODS.index("Implicit()")]
    return np.sum(own < loss[:, :, METHODS.index(name)], axis=1)


def headline(arrays: dict[str, np.ndarray]) -> None:
    """mu = 1e-2, every split: Implicit() below validation only and every ratio, AUC > .95."""
    splits = arrays["val_loss"].shape[1]
    for name in BASELINES:
        won = wins(arrays, "val_loss", name)[0]
        own, other = (
            arrays["val_loss"][0, :, METHODS.index(m)].round(4).tolist()
            for m in ("Implicit()", name)
        )
        style.check(won == splits, f"Implicit() has L_val {own}, {name} has {other}, mu = 0.01")
    least = arrays["auc"][0, :, METHODS.index("Implicit()")].min()
    style.check(least > 0.95, f"the weights of Implicit() have AUC {least:.3f}; needed > 0.95")


def summary(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """What digits.json holds: a row for each mu and method, and the note."""
    rows = []
    for k, mu in enumerate(arrays["mu"].tolist()):
        for j, name in enumerate(METHODS):
            if not np.isnan(arrays["val_loss"][k, 0, j]):
                rows.append({"mu": mu, "method": name} | _row(arrays, k, j))
    return {"rows": rows, "note": note(arrays)}


def _row(arrays: dict[str, np.ndarray], k: int, j: int) -> dict[str, Any]:
    """One row of digits.json: medians over splits, and the range of the validation loss."""
    val, test, ess, detection = (arrays[key][k, :, j] for key in NUMBERS)
    own = METHODS[j] == "Implicit()"
    return {
        "val_loss": float(np.median(val)),
        "val_low": float(val.min()),
        "val_high": float(val.max()),
        "test_loss": float(np.median(test)),
        "ess": float(np.median(ess)),
        "auc": None if np.isnan(detection).any() else float(np.median(detection)),
        "wins": None if own else int(wins(arrays, "val_loss", METHODS[j])[k]),
    }


def note(arrays: dict[str, np.ndarray]) -> str:
    """One sentence: where the advantage over validation only stops, and what was left out."""
    splits = arrays["val_loss"].shape[1]
    parts = []
    for key, what in (("val_loss", "validation"), ("test_loss", "test")):
        won = wins(arrays, key, "ValidationOnly()")
        counts = ", ".join(
            f"{n} of {splits} at mu = {mu:g}" for n, mu in zip(won, arrays["mu"], strict=True)
        )
        lost = arrays["mu"][2 * won <= splits]
        stop = f"stops at mu = {lost.max():g}" if len(lost) else "does not stop in this range"
        parts.append(f"in {what} loss {stop} (lower on {counts})")
    text = f"The advantage of Implicit() over ValidationOnly() {parts[0]}, and {parts[1]}"
    if splits < len(SEEDS):
        text += "; a quick run, with few iterations"
    absent = sorted({f"{mu:g}" for _, mu in LEFT_OUT if mu in arrays["mu"]}, reverse=True)
    return text + (f"; {PENALTY} was left out at mu = {' and '.join(absent)}." if absent else ".")


@style.styled
def draw(arrays: dict[str, np.ndarray]) -> Figure:
    """A panel for each mu: loss of every method on validation and on new data, one dot a split."""
    figure, axes = style.canvas(len(arrays["mu"]), height=4.6, sharey=True, squeeze=False)
    for k, ax in enumerate(axes[0]):
        _draw_panel(ax, arrays, k)
    first = axes[0, 0]
    first.set_yticks(range(len(METHODS)), [_label(name) for name in METHODS])
    first.set_ylim(len(METHODS) - 0.4, -0.6)
    for label, name in zip(first.get_yticklabels(), METHODS, strict=True):
        label.set_color(style.dark(LOOKS[name.partition("(")[0]].color))
    return figure


def _label(name: str) -> str:
    """ "DirectMixing(ratio=0.1)" as "direct mixing, λ = 0.1"; other arguments are not shown."""
    kind, _, arguments = name.partition("(ratio=")
    kind = kind.partition("(")[0]
    return LOOKS[kind].label + (f", λ = {arguments.rstrip(')')}" if arguments else "")


def _draw_panel(ax: Axes, arrays: dict[str, np.ndarray], k: int) -> None:
    for j, name in enumerate(METHODS):
        look = LOOKS[name.partition("(")[0]]
        for key, dy, fill in (("val_loss", -0.17, look.color), ("test_loss", 0.17, "white")):
            x = arrays[key][k, :, j]
            ax.plot([np.median(x)] * 2, [j + dy - 0.2, j + dy + 0.2], color=look.color, lw=2)
            ax.plot(x, np.full(len(x), j + dy), "o", mec=look.color, mfc=fill, ms=5)
    for key, dash in (("val_loss", "-"), ("test_loss", "--")):
        own = np.median(arrays[key][k, :, METHODS.index("Implicit()")])
        ax.axvline(own, color=LOOKS["Implicit"].color, lw=1, ls=dash, zorder=0.8)
    ax.set_xscale("log")
    low, high = arrays["val_loss"][k].min(where=~np.isnan(arrays["val_loss"][k]), initial=9), 1.3
    ticks = [t for t in (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0) if low * 0.8 < t < high]
    ticks = ticks if len(ticks) < 5 else [t for t in ticks if t not in (0.05, 0.3, 0.5)]
    ax.set_xticks(ticks, [f"{t:g}" for t in ticks])
    ax.set_xticks([], minor=True)
    ax.set_xlim(low * 0.88, high)
    ax.set_xlabel("loss (nats per image)")
    _write_wins(ax, arrays, k)


def _write_wins(ax: Axes, arrays: dict[str, np.ndarray], k: int) -> None:
    """Above the panel: on how many splits Implicit() has less loss than validation only."""
    splits = arrays["val_loss"].shape[1]
    ax.set_title(f"μ = {arrays['mu'][k]:g}", pad=54)
    lines = [("Implicit vs validation only:", True)]
    for key, what in (("val_loss", "● validation loss"), ("test_loss", "○ new-data loss")):
        won = int(wins(arrays, key, "ValidationOnly()")[k])
        lines.append((f"{what} lower on {won}/{splits}", 2 * won > splits))
    for height, (line, good) in zip((1.14, 1.085, 1.03), lines, strict=True):
        color = "black" if good else LOOKS["useless"].color
        ax.text(0, height, line, transform=ax.transAxes, fontsize=9.5, color=color)
    for j, name in enumerate(METHODS):
        if (name, float(arrays["mu"][k])) in LEFT_OUT:
            style.write(ax, 0.5, j, "not run", style.MUTED, va="center", ha="center")


def main(out: Path, quick: bool = False) -> Path:
    """Compute, assert the headline, draw, save; the numbers go to digits.json beside it."""
    arrays = compute(quick)
    headline(arrays)
    path = style.save(draw, arrays, out, "digits")
    style.save_numbers(out, "digits", summary(arrays))
    return path
