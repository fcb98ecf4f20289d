"""Learned weights of useless samples fall to exactly 0, those of useful ones do not (C03).

    v(w) = 0 forces l_i(theta) = 0 wherever w_i > 0, and theta is in S_val:
    every BDS-optimal w vanishes on the useless samples                      (A2, A3; squared loss)

The linear instance with A1-A5: N = 15, 9 useful, 6 useless, mu = 0. A weight below 1e-12 of the
largest is set to exactly 0, since at mu = 0 a re-fit depends on which weights are positive. How the
mass is spread over the useful samples is not decided by L_val: BMO's closed form leaves it uniform,
the penalty method puts almost all of it on one of them (C05, C16). `Implicit` starts from their
weights here, because gradients in w are blind at mu = 0 (C15); only its result is shown.

Source: theory.md, C03(a) (as reported for v1; argument there) and "Instance with A1-A5".
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import bdtheory as bdt
from bdtheory import Status
from bdtheory.tasks import linear

from . import style
from .style import LOOKS

LEARNED = {"BMO": bdt.BMO(), "Penalty": bdt.Penalty(), "Implicit": bdt.Implicit()}
BOTTOM, ZERO_BELOW = 1e-17, 1e-13  # the strip for exact zeros; positive weights are above 1e-12 / N


def compute(quick: bool) -> dict[str, np.ndarray]:
    """`{method}_path` (steps, N) on seed 0, and final weights on all seeds, (seeds, N)."""
    seeds = range(2 if quick else 10)
    arrays = {"useful": np.array([linear(seed).clean for seed in seeds])}
    for name, method in LEARNED.items():
        runs = [_run(seed, method) for seed in seeds]
        arrays[f"{name}_path"] = runs[0][0]
        arrays[f"{name}_final"] = np.array([final for _, final, _ in runs])
        arrays[f"{name}_certified"] = np.array([certified for *_, certified in runs])
    return arrays


def _run(seed: int, method: object) -> tuple[np.ndarray, np.ndarray, bool]:
    """Weights after every outer step (steps, N), those returned (N,), whether certified."""
    path: list[np.ndarray] = []

    def record(iteration: int, w: np.ndarray) -> None:
        path.append(np.array(w))

    fit = bdt.learn_weights(linear(seed).problem(), method, seed=seed, callback=record)
    return np.array(path), fit.weights, fit.status is Status.CERTIFIED


def headline(arrays: dict[str, np.ndarray]) -> None:
    """Every method is certified on every seed, with exactly 0 on every useless sample, and not
    on the useful ones."""
    useful = arrays["useful"]
    for name in LEARNED:
        w, certified = arrays[f"{name}_final"], arrays[f"{name}_certified"]
        mass = np.where(useful, 0.0, w).sum(axis=1)
        style.check(certified.all(), f"{name}: certified on {certified.sum()} of {len(w)} seeds")
        style.check((mass == 0).all(), f"{name}: mass on useless samples {mass.tolist()}; needed 0")
        kept = np.sum((w > 0) & useful, axis=1)
        style.check((kept > 0).all(), f"{name}: useful samples kept {kept.tolist()}")


@style.styled
def draw(arrays: dict[str, np.ndarray]) -> Figure:
    """Two paths of the weights, and the weights that the three methods return."""
    figure, axes = style.canvas(3, sharey=True, width_ratios=[1, 1, 1.25])
    useful = arrays["useful"][0]
    axes[0].set_yscale("log")
    axes[0].set_ylim(BOTTOM, 9.0)
    zero = style.floor(axes[0], BOTTOM, ZERO_BELOW, "exactly 0", x=0.5)
    for ax in axes[1:]:
        style.floor(ax, BOTTOM, ZERO_BELOW, "exactly 0")
    for ax, name in zip(axes, ("BMO", "Penalty"), strict=False):
        _draw_path(ax, arrays[f"{name}_path"], useful, zero)
        ax.set_title(LOOKS[name].label, color=style.dark(LOOKS[name].color))
    _draw_final(axes[2], arrays, useful, zero)
    axes[0].set_ylabel("weight of a sample (share of 1)")
    style.write(axes[0], 58, 0.3, "9 useful samples", LOOKS["useful"].color, ha="right")
    style.write(axes[0], 24, 1e-7, "6 useless\nsamples", LOOKS["useless"].color)
    return figure


def _draw_path(ax: Axes, path: np.ndarray, useful: np.ndarray, zero: float) -> None:
    """One line per sample; exact zeros in their strip."""
    for i in np.argsort(useful):
        look = LOOKS["useful" if useful[i] else "useless"]
        ax.plot(np.where(path[:, i] > 0, path[:, i], zero), color=look.color, lw=1.3)
    ax.set_xlabel("outer step")


def _draw_final(ax: Axes, arrays: dict[str, np.ndarray], useful: np.ndarray, zero: float) -> None:
    """One marker per sample and method; zeros of different methods at different heights."""
    for k, name in enumerate(LEARNED):
        look, w = LOOKS[name], arrays[f"{name}_final"][0]
        x, y = 1 + np.arange(len(w)) + 0.3 * (k - 1), np.where(w > 0, w, zero * 10.0 ** (1 - k))
        ax.plot(x, y, look.marker, color=look.color, ms=5, label=look.label)
    ax.axvline(useful.sum() + 0.5, color=style.MUTED, lw=1)
    ax.set_xticks([1, 5, 9, 15])
    ax.set_xlabel("useful samples | useless")
    ax.set_title("Returned weights")
    ax.legend(loc="center left", bbox_to_anchor=(0.0, 0.68), handletextpad=0.1, borderpad=0)


def main(out: Path, quick: bool = False) -> Path:
    """Compute, assert the headline, draw, save."""
    arrays = compute(quick)
    headline(arrays)
    return style.save(draw, arrays, out, "useful_weights")
