"""After regeneration closed-form weights are there at once, a learned selector takes 1/delta (C08).

    closed form  w = softmax(-l / tau), the minimiser of F_w + tau KL(w, uniform), of value smin_tau
    learned      omega <- omega - h w * (l - w.l), w = softmax(omega)
    K = 1 / (2 h D delta) steps to lift a weight from delta to 1/2 against a loss difference D

A useless response (loss D at theta_v, the model that fits validation) held the mass; beside it
stands, with weight delta, the response that this model gives anew (loss 0). Left: the learned
weight on its way, and the closed form at tau = D, sigmoid(1). Middle: K of many such pairs; with
delta = 1/2, the control, K = 0. For the gradient flow K 2 h D delta is

    1 + delta (2 log((1 - delta) / delta) - 1 / (1 - delta))          (-> 1 as delta -> 0)

Right: min l <= smin_tau <= min l + tau log N, and smin_tau <= mean l, with logistic losses: one
dial from the best sample (tau -> 0) to direct mixing's uniform weights (tau -> infinity).

Source: arXiv:2511.21056v2, abstract; theory.md, C08(a) and (c).
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.special import expit, rel_entr

from bdtheory import Logistic, Problem, Ridge
from bdtheory.methods.bmo import closed_form_weights
from bdtheory.tasks import linear

from . import style
from .style import BDS, LOOKS

BMO = LOOKS["BMO"]
DELTAS = (1e-1, 1e-2, 1e-3, 1e-4)


def compute(quick: bool) -> dict[str, np.ndarray]:
    """`delta` (d,); by pair `D`, `h` (n,), `at_once` (n,), `K` (n, d), `K_control` (n,); `path`
    (d, T) of the first pair; `tau`, `smin`, `value`, `excess` (seeds, T), `losses` (seeds, N)."""
    delta = np.array(DELTAS[:3] if quick else DELTAS)
    pairs = [pair for seed in range(2 if quick else 5) for pair in regenerated(seed)]
    D = np.array([loss for _, loss in pairs])
    h = np.random.default_rng(0).uniform(0.1, 0.5, len(D)) / D  # D h <= 1/2
    at_once = [closed_form_weights(pair, np.zeros(1), loss)[0] for pair, loss in pairs]
    K, path = learn(D, h, delta)
    tau = np.geomspace(1e-2, 1e2, 13 if quick else 41)
    runs = [_soft_minimum(seed, tau) for seed in range(3 if quick else 10)]
    arrays = {"delta": delta, "D": D, "h": h, "at_once": np.array(at_once), "K": K, "path": path}
    arrays |= {"K_control": learn(D, h, np.array([0.5]))[0][:, 0], "tau": tau}
    return arrays | {key: np.array([run[key] for run in runs]) for key in runs[0]}


def regenerated(seed: int) -> list[tuple[Problem, float]]:
    """By useless sample of the linear instance: (x_i, x_i.theta_v) beside (x_i, y_i), and D.

    In the coordinate u = x_i.(theta - theta_v): targets 0 and y_i - x_i.theta_v, validation u = 0.
    """
    task, one = linear(seed), np.ones((1, 1))
    (X, y), (X_val, y_val) = task.train, task.val
    shift = (y - X @ np.linalg.lstsq(X_val, y_val, rcond=None)[0])[~np.asarray(task.clean)]
    train = [(np.ones((2, 1)), np.array([0.0, s])) for s in shift]
    return [
        (Problem(Ridge(0.0), pair, val=(one, np.zeros(1))), float(s**2 / 2))
        for pair, s in zip(train, shift, strict=True)
    ]


def learn(D: np.ndarray, h: np.ndarray, delta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Steps K (n, d) until the new response's weight is 1/2, and the first pair's weight until all
    are there, (d, K + 1).

    l = (0, D): omega_1 += h D w_1 w_2 and omega_2 -= h D w_1 w_2.
    """
    s = np.tile(np.log(delta / (1 - delta)), (len(D), 1))  # omega_1 - omega_2
    rate, K, path = 2 * (h * D)[:, None], np.zeros(s.shape, dtype=int), [expit(s[0])]
    while (s < -1e-12).any():
        w = expit(s)
        K += s < -1e-12
        s = s + rate * w * (1 - w)
        path.append(expit(s[0]))
    return K, np.array(path).T


def _soft_minimum(seed: int, tau: np.ndarray) -> dict[str, np.ndarray]:
    """Logistic losses, N = 10; smin_tau, the package's weights' value, and another w's excess."""
    rng = np.random.default_rng(seed)
    X, y, theta = rng.standard_normal((10, 3)), np.array([-1.0, 1.0] * 5), rng.standard_normal(3)
    problem, losses = Problem(Logistic(1e-2), (X, y), (X, y)), np.logaddexp(0.0, -y * (X @ theta))
    shifted = np.exp(-(losses - losses.min()) / tau[:, None])
    found = [closed_form_weights(problem, theta, t) for t in tau]
    other = rng.dirichlet(np.ones(10))
    smin = losses.min() - tau * np.log(shifted.mean(axis=1))
    value = np.array([regularised(w, losses, t) for w, t in zip(found, tau, strict=True)])
    excess = np.array([regularised(other, losses, t) for t in tau]) - smin
    return {"losses": losses, "smin": smin, "value": value, "excess": excess}


def regularised(w: np.ndarray, losses: np.ndarray, tau: float) -> float:
    """F_w + tau KL(w, uniform)."""
    return float(w @ losses + tau * np.sum(rel_entr(w, 1 / len(w))))


def scaled(arrays: dict[str, np.ndarray]) -> np.ndarray:
    """K 2 h D delta, (n, d)."""
    return arrays["K"] * (2 * arrays["h"] * arrays["D"])[:, None] * arrays["delta"]


def headline(arrays: dict[str, np.ndarray]) -> None:
    """At once sigmoid(1), against K = 1 / (2 h D delta); smin_tau is between its bounds."""
    delta, at_once, K = (arrays[key] for key in ("delta", "at_once", "K_control"))
    off = np.abs(at_once - expit(1.0)).max()
    style.check(off < 1e-12, f"closed form at once is {off:.1e} from sigmoid(1) = .731; needed 0")
    flow = 1 + delta * (2 * np.log((1 - delta) / delta) - 1 / (1 - delta))
    # One step of K > 10 / (2 h D), and Euler's error, which h D <= 1/2 keeps to a few per cent.
    late = (delta <= 1e-2) * scaled(arrays) / flow + (delta > 1e-2)
    style.check(
        (abs(late - 1) < 0.05).all(),
        f"K 2 h D delta over the flow's is {late.min():.3f} to {late.max():.3f}; needed 1",
    )
    least = scaled(arrays)[:, -1]
    near = 3 * delta[-1] * np.log(1 / delta[-1])  # the flow's 2 delta log(1 / delta), and some
    style.check(
        (abs(least - 1) < near).all(),
        f"K 2 h D delta at delta = {delta[-1]:g} is {least.min():.4f} to {least.max():.4f}; "
        f"needed 1 to {near:.1e}",
    )
    style.check((K == 0).all(), f"from delta = 1/2 up to {K.max()} steps; needed 0")
    _check_bounds(arrays)


def _check_bounds(arrays: dict[str, np.ndarray]) -> None:
    tau, smin, losses = (arrays[key] for key in ("tau", "smin", "losses"))
    low, mean = losses.min(axis=1, keepdims=True), losses.mean(axis=1, keepdims=True)
    share = (smin - low) / (tau * math.log(losses.shape[1]))
    style.check(
        (share > 0).all() and (share < 1 + 1e-12).all() and (smin < mean).all(),
        f"(smin - min l) / (tau log N) is {share.min():.3f} to {share.max():.3f}; needed 0 to 1, "
        "and smin below mean l",
    )
    reach = ((smin - low) / (mean - low))[:, -1]
    style.check((reach > 0.98).all(), f"at the largest tau {reach.min():.3f} of mean l; needed 1")
    off, excess = np.abs(arrays["value"] - smin).max(), arrays["excess"].min()
    style.check(
        off < 1e-10 and excess > 1e-3,
        f"F_w + tau KL is {off:.1e} from smin_tau at the closed form, at another w {excess:.1e} "
        "above; needed 0, and > 1e-3",
    )


@style.styled
def draw(arrays: dict[str, np.ndarray]) -> Figure:
    """Paths of a weight, numbers of steps, and bounds."""
    figure, (left, middle, right) = style.canvas(3, height=3.9)
    _draw_paths(left, arrays)
    _draw_steps(middle, arrays)
    _draw_bounds(right, arrays)
    return figure


def _draw_paths(ax: Axes, arrays: dict[str, np.ndarray]) -> None:
    for path, delta, K in zip(arrays["path"], arrays["delta"], arrays["K"][0], strict=True):
        shown = np.arange(min(len(path), 4 * K))
        ax.plot(1 + shown, path[shown], color=BDS.color)
        ax.plot(1 + K, path[K], BDS.marker, color=BDS.color, mec="white", ms=7)
        text = rf"$10^{{{math.log10(delta):.0f}}}$"
        style.write(ax, 1.1 * (1 + K), 0.2, text, BDS.color, fontsize=8, bbox=None)
    style.write(ax, 1.0, 0.2, "δ =", BDS.color, fontsize=8, bbox=None)
    ax.axhline(arrays["at_once"][0], color=BMO.color, lw=2.5)
    style.write(ax, 1.0, 0.76, "closed\nform", style.dark(BMO.color))
    style.write(ax, 1.0, 0.5, "learned", BDS.color, fontsize=9, bbox=None)
    ax.set_xscale("log")
    ax.set_xlim(right=10 * arrays["K"][0].max())
    ax.set_ylim(0, 1)
    ax.set_title("After regeneration")
    ax.set_xlabel("1 + step")
    ax.set_ylabel("weight of the new response")


def _draw_steps(ax: Axes, arrays: dict[str, np.ndarray]) -> None:
    predicted = 1 / (2 * (arrays["h"] * arrays["D"])[:, None] * arrays["delta"])
    ends = np.array([predicted.min() / 2, predicted.max() * 2])
    ax.plot(ends, ends, color=style.MUTED, lw=1.2)
    ax.plot(predicted.ravel(), arrays["K"].ravel(), BDS.marker, color=BDS.color, ms=4, mew=0)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_ylim(top=1e6)
    level = style.floor(ax, 0.05, 1.0, "0 steps")
    ax.axhline(level, color=BMO.color, lw=2.5)
    style.write(ax, ends[1], level * 1.3, "closed form", style.dark(BMO.color), ha="right")
    style.write(ax, ends[0], 3e4, "learned", BDS.color)
    ax.set_title("Steps K to ½")
    ax.set_xlabel("1 / (2 h D δ)")
    ax.set_ylabel("steps K")


def _draw_bounds(ax: Axes, arrays: dict[str, np.ndarray]) -> None:
    tau, smin, losses = arrays["tau"], arrays["smin"][0], arrays["losses"][0]
    low, mean = losses.min(), losses.mean()
    top = np.minimum(low + tau * math.log(len(losses)), mean)
    ax.fill_between(tau, low, top, color=BMO.color, alpha=0.2, lw=0)
    ax.plot(tau, smin, color=BMO.color)
    style.write(ax, tau[-1], low, "min l", style.MUTED, ha="right", va="bottom")
    style.write(ax, tau[0], mean, "mean l", style.MUTED, va="top")
    style.write(ax, 0.05, low + 0.62 * (mean - low), "τ log N", style.MUTED)
    style.write(ax, 2.0, low + 0.55 * (mean - low), r"smin$_\tau$", style.dark(BMO.color))
    ax.set_xscale("log")
    ax.set_title("One dial")
    ax.set_xlabel("temperature τ")
    ax.set_ylabel("loss (nats)")


def main(out: Path, quick: bool = False) -> Path:
    """Compute, assert the headline, draw, save."""
    arrays = compute(quick)
    headline(arrays)
    return style.save(draw, arrays, out, "closed_form_weights")
