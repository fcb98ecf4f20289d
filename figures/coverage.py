"""Bilevel data selection can fit all useful data at the least validation loss; mixing can't (C05).

    Cov_eps(theta) = share of the useful samples U with l_i(theta) <= eps
    grad L_val + (lam/N) sum over non-U of grad l_i = 0 at theta_lam      (when DM fits all of U)

Every w on a jointly useful support is optimal, so that L_val alone leaves coverage open: one
sample is enough for L_val* (C16), uniform weights on U (the maximum-entropy optimum) cover all.
Hence pairs (L_val, coverage) are compared, not coverages. Squared loss, mu = 0, p = 20, m = 8,
N = 20, useless rows in the row space of X_val with shifted targets. Left: 14 useful, 6 useless.
Right: k useless and 20 - k useful ones. Modulo the span of X_val (dimension 8) the useful rows are
dependent up to k = 7. At k = 8 they are 12 rows in 12 dimensions: C05's control, where direct
mixing covers U at every lam.

Source: theory.md, C05 (claim of v2's abstract; argument `here`).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import bdtheory as bdt
from bdtheory import Problem
from bdtheory.tasks import Task, linear

from . import style
from .style import BDS, MIXING

EPS = 1e-6  # a useful sample counts as covered when its loss is at most this, in units of y^2 / 2
SUPPORTS = (1, 7, 14)
RATIOS = (1e-2, 1e-1, 1.0)  # of the right panel
LEFT, ZERO_BELOW = 1e-15, 1e-12  # the strip for L_val = 0 up to rounding


def compute(quick: bool) -> dict[str, np.ndarray]:
    """`lam`, `mixing` (seeds, ratios, 2), `bds` (seeds, supports, 2) as (L_val, coverage) pairs;
    `useless` counts with `share_mixing` (counts, seeds, ratios) and `share_bds` (counts, seeds)."""
    seeds = range(2 if quick else 10)
    lam = np.geomspace(1e-4, 1e6, 11 if quick else 41)
    left = [linear(seed, p=20, m=8, n_useful=14, n_useless=6) for seed in seeds]
    useless = np.array([1, 4, 8] if quick else range(1, 9))
    right = [
        [linear(s, p=20, m=8, n_useful=20 - k, n_useless=k) for s in seeds]
        for k in useless.tolist()
    ]
    return {
        "lam": lam,
        "mixing": np.array([_mixing(task, lam) for task in left]),
        "bds": np.array([[_selected(task, n) for n in SUPPORTS] for task in left]),
        "useless": useless,
        "share_mixing": np.array([[_mixing(t, RATIOS)[:, 1] for t in row] for row in right]),
        "share_bds": np.array([[_selected(t, int(_useful(t).sum()))[1] for t in r] for r in right]),
    }


def _useful(task: Task) -> np.ndarray:
    """U as a mask (N,): by construction the clean rows; the tests compare with `usefulness`."""
    return np.asarray(task.clean)


def _pair(task: Task, problem: Problem, theta: np.ndarray) -> tuple[float, float]:
    """(L_val, coverage) at theta."""
    val_loss = problem.model.losses(theta, problem.val).mean()
    covered = problem.model.losses(theta, problem.train)[_useful(task)] <= EPS
    return float(val_loss), float(covered.mean())


def _mixing(task: Task, lam) -> np.ndarray:
    """(L_val, coverage) of direct mixing at each ratio, (ratios, 2)."""
    problem = task.problem()
    fits = [bdt.learn_weights(problem, bdt.DirectMixing(ratio=float(ratio))) for ratio in lam]
    return np.array([_pair(task, problem, fit.theta) for fit in fits])


def _selected(task: Task, n: int) -> tuple[float, float]:
    """(L_val, coverage) of the optimistic re-fit of equal weights on the first n useful samples."""
    problem, w = task.problem(), np.zeros(len(_useful(task)))
    w[np.flatnonzero(_useful(task))[:n]] = 1.0 / n
    return _pair(task, problem, problem.model.fit(w, problem.train, val=problem.val).theta)


def headline(arrays: dict[str, np.ndarray]) -> None:
    """BDS: L_val 0 and coverage 1/14, 1/2, 1. DM: at most .1 in the median of 1 <= lam <= 100, on
    every seed (not at every lam: on one of ten seeds the pulls nearly cancel at lam = 1, with
    coverage .71)."""
    loss, covered = np.moveaxis(arrays["bds"], -1, 0)
    style.check(loss.max() < 1e-20, f"BDS has L_val up to {loss.max():.1e}; needed < 1e-20")
    style.check(
        np.allclose(covered, np.array(SUPPORTS) / 14),
        f"coverage of BDS on {SUPPORTS} samples is {covered.tolist()}; needed n / 14",
    )
    between = (arrays["lam"] >= 0.99) & (arrays["lam"] <= 101.0)
    typical = np.median(arrays["mixing"][:, between, 1], axis=1).tolist()
    style.check(max(typical) <= 0.1, f"mixing covers {typical} in the median of lam 1 to 100")
    share = arrays["share_bds"]
    style.check((share == 1).all(), f"maximum-entropy BDS covers {share.min()} somewhere; needed 1")
    control = arrays["share_mixing"][arrays["useless"] == 8]
    style.check((control == 1).all(), f"control: mixing covers {control.min()}; needed 1")


@style.styled
def draw(arrays: dict[str, np.ndarray]) -> Figure:
    """Left pairs for one contamination, right coverage against contamination."""
    figure, (left, right) = style.canvas(2, sharey=True, width_ratios=[1.3, 1])
    _draw_pairs(left, arrays)
    _draw_shares(right, arrays)
    left.set_ylim(-0.16, 1.16)
    left.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", "25%", "50%", "75%", "100%"])
    left.set_ylabel(r"useful samples with loss $\leq 10^{-6}$")
    return figure


def _draw_pairs(ax: Axes, arrays: dict[str, np.ndarray]) -> None:
    lam, orange = arrays["lam"], style.dark(MIXING.color)
    ax.set_title("14 useful, 6 useless samples")
    for path in arrays["mixing"][1:5]:
        ax.plot(path[:, 0], path[:, 1], color=MIXING.color, lw=0.8, alpha=0.35)
    loss, covered = arrays["mixing"][0].T
    ax.plot(loss, covered, color=MIXING.color, marker=MIXING.marker, ms=4, lw=1.5)
    places = {1e-4: (1.0, 0.08), 1e-2: (0.015, 0.0), 1.0: (1.0, -0.09), 1e6: (0.2, 0.08)}
    for ratio, (factor, dy) in places.items():
        k = int(np.argmin(abs(np.log(lam / ratio))))
        power = round(np.log10(ratio))
        text = rf"$\lambda = 10^{{{power}}}$" if power else r"$\lambda = 1$"
        style.write(ax, loss[k] * factor, covered[k] + dy, text, orange, ha="center", va="center")
    style.write(ax, 3e-4, 0.62, "direct mixing", orange)
    _draw_bds(ax, arrays["bds"][0, :, 1])
    ax.set_xlabel(r"validation loss $L_{\mathrm{val}}$ (dimensionless)")


def _draw_bds(ax: Axes, covered: np.ndarray) -> None:
    """BDS in a strip at the left for L_val = 0 up to rounding."""
    ax.set_xscale("log")
    ax.set_xlim(LEFT, 1e4)
    ax.set_xticks(10.0 ** np.arange(-9, 4, 3))
    ax.set_xticks([], minor=True)
    ax.axvspan(LEFT, ZERO_BELOW, color=style.FLOOR, zorder=0.5, lw=0)
    ax.plot(
        [LEFT**0.8 * ZERO_BELOW**0.2] * len(SUPPORTS), covered, BDS.marker, color=BDS.color, ms=8
    )
    for n, height in zip(SUPPORTS, covered, strict=True):
        text = f"BDS on {n}" if n > 1 else "BDS on 1 sample"
        style.write(ax, LEFT * 10, height, text, BDS.color, va="center")
    ax.text(LEFT * 1.3, -0.11, "0 up to rounding", fontsize=9.5, color=style.MUTED, va="center")


def _draw_shares(ax: Axes, arrays: dict[str, np.ndarray]) -> None:
    share, orange = arrays["useless"] / 20, style.dark(MIXING.color)
    ax.set_title(f"Medians of {arrays['share_bds'].shape[1]} seeds")
    one = 1 / (20 - arrays["useless"])
    ax.fill_between(share, one, 1, color=BDS.color, alpha=0.12, lw=0)
    for j, ratio in enumerate(RATIOS):
        median = np.median(arrays["share_mixing"][:, :, j], axis=1)
        ax.plot(share, median, color=MIXING.color, marker=MIXING.marker, ms=5, lw=1.5)
        height = float(np.interp(0.2, share, median))
        text = f"mixing, λ = {ratio:g}" if j == 0 else f"λ = {ratio:g}"
        style.write(ax, 0.2, height + (-0.06 if j == 2 else 0.06), text, orange, va="center")
    ax.plot(share, np.median(arrays["share_bds"], axis=1), color=BDS.color, marker=BDS.marker)
    style.write(ax, 0.05, 1.08, "BDS, uniform on all useful", BDS.color, va="center")
    style.write(ax, 0.05, 0.27, "BDS on fewer", BDS.color, va="center")
    style.write(ax, 0.335, 0.9, "independent\nrows (control)", style.MUTED, ha="right", va="center")
    ax.set_xticks([0.1, 0.2, 0.3, 0.4], ["10%", "20%", "30%", "40%"])
    ax.set_xlabel("share of useless samples")


def main(out: Path, quick: bool = False) -> Path:
    """Compute, assert the headline, draw, save."""
    arrays = compute(quick)
    headline(arrays)
    return style.save(draw, arrays, out, "coverage")
