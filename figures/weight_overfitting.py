"""What learned weights promise and what they keep, with and without cross-fitting (C14).

    E[min_w L_val] <= min_w L_test <= E[L_test(theta(w^))],   w^ of least L_val

Binary logistic regression, N = 1,000, p = 20, mu = 1e-3, 40% of the training labels flipped; the
loss on new data is that of 5,000 samples. `Implicit` makes L_val as small as weights can: with so
many samples that is the fit of the validation data alone, and L_val says little about new data.
`Auto` judges every candidate on validation samples that had no part in it, fits selected and
validation data together, and reports the cross-fitted loss. "clean + validation" is the fit that
knows which labels are right: no method can be expected to get below it.

Source: theory.md, C14 (`here`). The comparison is empirical: nothing here is a theorem on `Auto`.
"""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import bdtheory as bdt
from bdtheory.hypergradient import fit_weighted, mean_loss
from bdtheory.methods import OverfitWarning
from bdtheory.tasks import label_noise

from . import style
from .style import LOOKS

SIZES = (50, 100, 200, 400, 800)  # m
SEEDS = range(10)
METHODS = {
    "ValidationOnly": bdt.ValidationOnly(),
    "Implicit": bdt.Implicit(max_iterations=50),
    "Auto": bdt.Auto(),
}


def compute(quick: bool) -> dict[str, np.ndarray]:
    """`m` (sizes,); `said` and `test` (sizes, seeds, methods): the loss that a method reports of
    itself, cross-fitted for `Auto`, and that on new data; `clean` (sizes, seeds), the reference.

    Quick: two sizes, three seeds.
    """
    sizes, seeds = (SIZES[:2], SEEDS[:3]) if quick else (SIZES, SEEDS)
    rows = np.array([[_losses(m, seed) for seed in seeds] for m in sizes])
    return {
        "m": np.array(sizes),
        "said": rows[:, :, 0, :-1],
        "test": rows[:, :, 1, :-1],
        "clean": rows[:, :, 1, -1],
    }


def _losses(m: int, seed: int) -> list[list[float]]:
    """(said, on new data), each for METHODS and the fit to clean and validation data."""
    task = label_noise(seed, N=1000, p=20, m=m, corrupt=0.4, mu=1e-3)
    problem, said, test = task.problem(), [], []
    for method in METHODS.values():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", OverfitWarning)  # it is what is shown here
            fit = bdt.learn_weights(problem, method, seed=seed)
        said.append(fit.crossfit.get("loss", fit.val_loss))
        test.append(fit.test_loss)
    kept = np.concatenate([np.asarray(task.clean), np.ones(problem.m)])  # each sample the same
    theta = fit_weighted(problem, kept / problem.m, problem.joined()).theta
    return [
        [*said, mean_loss(problem, theta, problem.val)],
        [*test, mean_loss(problem, theta, problem.test)],
    ]


def gap(arrays: dict[str, np.ndarray], method: str) -> np.ndarray:
    """Loss on new data less the loss that the method reports, (sizes, seeds)."""
    return (arrays["test"] - arrays["said"])[:, :, list(METHODS).index(method)]


def headline(arrays: dict[str, np.ndarray]) -> None:
    """Implicit() promises too much, most with few validation samples; Auto() by far less, and on
    new data it is nowhere worse than validation only."""
    promised, kept = gap(arrays, "Implicit").mean(1), np.abs(gap(arrays, "Auto").mean(1))
    style.check(
        (promised > 0).all() and (np.diff(promised) < 0).all(),
        f"Implicit()'s loss on new data less L_val is {promised.tolist()}; needed > 0, falling",
    )
    few = arrays["m"] <= 200
    style.check(
        (kept < promised / 2)[few].all(),
        f"Auto()'s estimate is off by {kept.tolist()}, where L_val is by {promised.tolist()}; "
        "needed less than half up to m = 200",
    )
    test = dict(zip(METHODS, np.moveaxis(arrays["test"], -1, 0), strict=True))
    ratio = test["Auto"].mean(1) / test["ValidationOnly"].mean(1)
    style.check(
        (ratio < 1.01).all() and ratio[0] < 0.9,
        f"Auto()'s loss on new data over validation only's is {ratio.tolist()}; needed below 1.01, "
        "and .9 at the fewest samples",
    )


def summary(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """Means over seeds by m, with standard errors: what each method says, and what it keeps."""
    rows = []
    for k, m in enumerate(arrays["m"].tolist()):
        for j, method in enumerate(METHODS):
            said, test = arrays["said"][k, :, j], arrays["test"][k, :, j]
            row = {"m": m, "method": method, "said": float(said.mean())}
            error = float(test.std(ddof=1) / math.sqrt(len(test)))
            rows.append(row | {"test": float(test.mean()), "test_error": error})
        clean = float(arrays["clean"][k].mean())
        rows.append({"m": m, "method": "clean + validation", "said": None, "test": clean})
    return {"rows": rows}


@style.styled
def draw(arrays: dict[str, np.ndarray]) -> Figure:
    """Left the loss on new data; right what methods say of themselves, and what came."""
    figure, (left, right) = style.canvas(2, height=4.2, sharey=True)
    m = arrays["m"]
    test, said = (np.moveaxis(arrays[name], -1, 0).mean(2) for name in ("test", "said"))
    for name, values in zip(METHODS, test, strict=True):
        look = LOOKS[name]
        left.plot(m, values, look.marker + "-", color=look.color, label=look.label)
    left.plot(m, arrays["clean"].mean(1), ":", color=style.MUTED, label="clean + validation")
    left.legend(loc="upper right")
    for name in ("Implicit", "Auto"):
        _promise(right, m, test, said, name)
    for ax in (left, right):
        ax.set_xscale("log")
        ax.set_yscale("log")
        ax.set_xticks(m, [str(size) for size in m])
        ax.set_xticks([], minor=True)
        ax.set_xlabel("validation samples $m$")
    ticks = (0.05, 0.1, 0.2, 0.5, 1, 2)
    left.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    left.set_yticks([], minor=True)
    left.set_ylabel("loss (dimensionless)")
    left.set_title("On new data")
    right.set_title("Said before, and found on new data")
    return figure


def _promise(ax: Axes, m: np.ndarray, test: np.ndarray, said: np.ndarray, name: str) -> None:
    """A band from what the method says (hollow) to what is found (filled)."""
    look, row = LOOKS[name], list(METHODS).index(name)
    color = style.dark(look.color)
    ax.fill_between(m, said[row], test[row], color=look.color, alpha=0.15, lw=0)
    ax.plot(m, said[row], look.marker + "--", color=look.color, mfc="white")
    ax.plot(m, test[row], look.marker + "-", color=look.color)
    if name == "Implicit":
        style.write(ax, m[0] * 1.2, said[row][0], r"its $L_{\mathrm{val}}$", color, va="center")
        style.write(ax, m[0] * 1.2, test[row][0], "Implicit: found", color, va="center")
    else:
        style.write(ax, m[-1], 0.55, "Auto: found,\nand its cross-fit", color, ha="right")


def main(out: Path, quick: bool = False) -> Path:
    """Compute, assert the headline, draw, save; the numbers go to weight_overfitting.json."""
    arrays = compute(quick)
    headline(arrays)
    path = style.save(draw, arrays, out, "weight_overfitting")
    style.save_numbers(out, "weight_overfitting", summary(arrays))
    return path
