"""No ratio of direct mixing reaches the validation loss of bilevel data selection (C04).

    theta_lam = argmin of L_val + lam (1/N) sum_i l_i        (direct mixing)
    L_val(theta_lam) > V_BDS = L_val* for every lam > 0      (A2, A3, A4, A5)
    (L_val(theta_lam) - L_val*) / lam^2 -> g' A^+ g / 2      (lam -> 0, squared loss)

with g the mean training gradient at the point of S_val, A the validation Hessian.
Left: the linear instance with A1-A5, where BDS's value is certified; 0 up to rounding. Right: noisy
labels, logistic loss and a ridge: a certified floor above 0. There validation loss and loss on new
data are two things: the mixed model has the same ridge, and both can overfit validation (C14).

Source: theory.md, C04 (claim of v1's abstract; argument `here`), and "Instance with A1-A5".
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import bdtheory as bdt
from bdtheory import Problem, Status
from bdtheory.tasks import label_noise, linear

from . import style
from .style import BDS, MIXING

ZERO = 1e-20  # what "0 up to rounding" means on the left: L_val of BDS is below this


def compute(quick: bool) -> dict[str, np.ndarray]:
    """Losses by seed and ratio: `exact_*` for the linear instance, `noisy_*` for noisy labels."""
    lam = np.geomspace(1e-4, 10.0, 11 if quick else 31)
    seeds = range(3 if quick else 10)
    exact = [_exact(seed, lam) for seed in seeds]
    noisy = [_noisy(seed, lam) for seed in seeds]
    stacked = {f"exact_{key}": np.array([row[key] for row in exact]) for key in exact[0]}
    stacked |= {f"noisy_{key}": np.array([row[key] for row in noisy]) for key in noisy[0]}
    return {"lam": lam} | stacked


def _exact(seed: int, lam: np.ndarray) -> dict[str, np.ndarray]:
    """The linear instance, mu = 0, with the limit g' A^+ g / 2 in closed form."""
    task = linear(seed)
    (X, y), (X_val, _) = task.train, task.val
    A = X_val.T @ X_val / len(X_val)
    g = X.T @ (X @ task.theta0 - y) / len(X)  # theta0 is the point of S_val
    limit = 0.5 * g @ np.linalg.pinv(A) @ g
    return {"limit": limit} | _against_every_ratio(task.problem(), lam)


def _noisy(seed: int, lam: np.ndarray) -> dict[str, np.ndarray]:
    """Binary logistic regression, 40% of the training labels flipped, mu = 0.01."""
    task = label_noise(seed, N=1000, p=20, m=400, n_test=5000, corrupt=0.4, mu=1e-2)
    return _against_every_ratio(task.problem(), lam)


def _against_every_ratio(problem: Problem, lam: np.ndarray) -> dict[str, np.ndarray]:
    fits = [bdt.learn_weights(problem, bdt.DirectMixing(ratio=float(ratio))) for ratio in lam]
    best = bdt.learn_weights(problem, bdt.Implicit())
    return {
        "mixing": np.array([fit.val_loss for fit in fits]),
        "mixing_test": np.array([fit.test_loss for fit in fits], dtype=float),
        "bds": np.array(best.certificate["upper_bound"]),
        "bds_test": np.array(best.test_loss, dtype=float),
        "certified": np.array(best.status is Status.CERTIFIED),
    }


def headline(arrays: dict[str, np.ndarray]) -> None:
    """On every seed BDS is certified and below every ratio; the gap is lam^2 g'A^+g/2 at first."""
    for part in ("exact", "noisy"):
        certified, bds = arrays[f"{part}_certified"], arrays[f"{part}_bds"]
        least = arrays[f"{part}_mixing"].min(axis=1)
        style.check(certified.all(), f"{part}: BDS certified on {certified.sum()} of {len(bds)}")
        style.check(
            (bds < least).all(),
            f"{part}: BDS {bds.tolist()} is not below direct mixing's best {least.tolist()}",
        )
    style.check(
        arrays["exact_bds"].max() < ZERO,
        f"exact: BDS has L_val {arrays['exact_bds'].max():.1e}; needed < {ZERO:.0e}",
    )
    rate = arrays["exact_mixing"][:, 0] / arrays["lam"][0] ** 2 / arrays["exact_limit"]
    style.check(
        (abs(rate - 1.0) < 0.05).all(),
        f"exact: gap / lam^2 over its limit is {rate.tolist()} at lam = {arrays['lam'][0]:.0e}",
    )


@style.styled
def draw(arrays: dict[str, np.ndarray]) -> Figure:
    """Left the exact instance, right noisy labels as differences: medians, range over seeds."""
    figure, (left, right) = style.canvas(2)
    _draw_exact(left, arrays)
    _draw_noisy(right, arrays)
    for ax in (left, right):
        ax.set_xscale("log")
        ax.set_xlabel("mixing ratio λ (training : validation)")
    return figure


def _draw_exact(ax: Axes, arrays: dict[str, np.ndarray]) -> None:
    lam, limit = arrays["lam"], np.median(arrays["exact_limit"])
    ax.set_title("Exact instance, μ = 0")
    ax.set_ylabel(r"validation loss $L_{\mathrm{val}}$ (dimensionless)")
    _median_and_range(ax, lam, arrays["exact_mixing"], "-")
    near = lam <= 0.3
    ax.plot(lam[near], limit * lam[near] ** 2, color=style.MUTED, ls="--", lw=1.5)
    ax.set_yscale("log")
    ax.set_ylim(top=1e1)
    seeds = f"median and range\nof {len(arrays['exact_bds'])} seeds"
    style.write(ax, 11.0, 1.5e-7, seeds, style.MUTED, ha="right")
    level = style.floor(ax, 1e-12, 3e-10, "0 up to rounding")
    ax.axhline(level, color=BDS.color, lw=2.5)
    style.write(ax, 1.3e-4, 1e-9, "BDS, certified: below 1e-20", BDS.color, va="center")
    style.write(ax, 0.12, 6e-4, "direct mixing", style.dark(MIXING.color))
    style.write(ax, 1.3e-4, 3e-3, r"limit  $\lambda^2 g^\prime\!A^{\!+}\!g\,/\,2$", style.MUTED)


def _draw_noisy(ax: Axes, arrays: dict[str, np.ndarray]) -> None:
    level = np.median(arrays["noisy_bds"])
    ax.set_title("40% of labels flipped, μ = 0.01")
    ax.set_ylabel("loss minus BDS's loss (nats)")
    for key, dash in (("", "-"), ("_test", "--")):
        excess = arrays[f"noisy_mixing{key}"] - arrays[f"noisy_bds{key}"][:, None]
        _median_and_range(ax, arrays["lam"], excess, dash)
    ax.axhline(0.0, color=BDS.color, lw=2.5)
    ax.set_ylim(-0.06, 0.16)
    ax.set_yticks([-0.05, 0.0, 0.05, 0.1, 0.15])
    text = f"BDS = 0 (certified; its median\nvalidation loss is {level:.2f})"
    style.write(ax, 11.0, -0.03, text, BDS.color, ha="right", va="top")
    style.write(ax, 1e-4, 0.075, "direct mixing", style.dark(MIXING.color))
    style.write(ax, 1e-4, 0.06, "solid: validation data", style.dark(MIXING.color))
    style.write(ax, 1e-4, 0.045, "dashed: new data", style.dark(MIXING.color))


def _median_and_range(ax: Axes, lam: np.ndarray, loss: np.ndarray, dash: str) -> None:
    """Median over seeds, loss (seeds, ratios); shaded from the least to the greatest seed."""
    ax.fill_between(lam, loss.min(axis=0), loss.max(axis=0), color=MIXING.color, alpha=0.2, lw=0)
    ax.plot(lam, np.median(loss, axis=0), color=MIXING.color, ls=dash)


def main(out: Path, quick: bool = False) -> Path:
    """Compute, assert the headline, draw, save."""
    arrays = compute(quick)
    headline(arrays)
    return style.save(draw, arrays, out, "mixing_ratio")
