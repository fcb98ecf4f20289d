"""Gradient descent on a one-layer transformer reaches every eps; direct mixing stalls (C07).

    P_gamma(theta, w) = L_val + gamma sum_i w_i l_i(theta),  w = softmax(omega),  gamma = 1

BDS: constant steps h on theta and omega together, full batch. Direct mixing: the same with omega
frozen at 0. Left: L_val at each step, with the levels eps = log V / 10, / 100, / 1000 and the level

    log(1 + (gamma n_j / N) / (1/m + gamma r_j / N))   averaged over the validation questions j

that a lookup table has at direct mixing's optimum, n_j wrong and r_j right of the N training
samples answering question j. Right: the mass on the contradictions, which nothing can fit together
with validation (C18); BDS takes it away, direct mixing can't.

The instance: vocabulary of V = 4 tokens, questions (a, b, q) whose answer is a for even q, b for
odd q; m = 16 validation questions; N = 28 training samples, 8 of them with the other token.

Source: theory.md, "One-layer transformer", C07 (`v2`), C18.
"""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bdtheory.models.attention import OneLayerTransformer, Sequences

from . import style
from .style import BDS, MIXING

MODEL = OneLayerTransformer(vocab_size=4, length=3)
EPS = np.log(4) / 10.0 ** np.arange(1, 4)


def instance() -> tuple[Sequences, np.ndarray, np.ndarray, np.ndarray]:
    """All 32 pairs, validation's share of each (32,), and which are training samples, which bad."""
    near, far = [(0, 1), (1, 0), (2, 3), (3, 2)], [(0, 2), (2, 0), (1, 3), (3, 1)]
    asked = [(a, b, q) for (a, b), q in product(near, range(4))]
    more = [(a, b, q) for (a, b), q in product(far, range(2))]
    hard = [x for x in asked if x[2] >= 2]
    X = np.array([*asked, *more, *hard])
    place = X[:, 2] % 2
    bad = np.arange(len(X)) >= len(asked) + len(more)
    y = X[np.arange(len(X)), np.where(bad, 1 - place, place)]
    val = np.arange(len(X)) < len(asked)
    train = ~val | (X[:, 2] < 3)  # of q = 3 training has the wrong answers alone
    return Sequences(X, y, np.empty(0)), val / val.sum(), train, bad


def compute(quick: bool) -> dict[str, np.ndarray]:
    """`time` (T,), steps; `loss` and `mass` (2, starts, T) of BDS and mixing; `level`, `step`."""
    starts, steps, h = (2, 20_000, 1.0) if quick else (20, 25_000, 1.0)
    data, v, train, bad = instance()
    first = [MODEL.initial_theta(seed) for seed in range(starts)] * 2
    theta = {key: np.stack([one[key].numpy() for one in first]) for key in first[0]}
    omega = np.tile(np.where(train, 0.0, -np.inf), (2 * starts, 1))  # w = 0 off the training set
    rate = h * np.repeat([[1.0], [0.0]], starts, axis=0)
    time = np.unique(np.geomspace(1, steps, 121).round().astype(int))
    seen, wanted = [], set(time.tolist())
    for t in range(1, steps + 1):
        e = np.exp(omega - omega.max(axis=1, keepdims=True))
        w = e / e.sum(axis=1, keepdims=True)
        l, gradient = MODEL.losses_and_gradient(theta, v + w, data)
        if t in wanted:
            seen.append((l @ v, w[:, bad].sum(axis=1)))
        theta = {key: theta[key] - h * gradient[key] for key in theta}
        omega = omega - rate * w * (l - np.sum(w * l, axis=1, keepdims=True))
    loss, mass = np.array(seen).transpose(1, 2, 0).reshape(2, 2, starts, len(time))
    return {"time": time, "loss": loss, "mass": mass, "step": np.array(h), "level": level(16, 28)}


def level(m: int, N: int) -> np.ndarray:
    """The lookup table's L_val: n_j = 1 where q >= 2, r_j = 1 where q < 3, a quarter of each q."""
    at = [np.log1p((1 / N) / (1 / m + r / N)) for r in (1, 0)]  # q = 2, q = 3; 0 elsewhere
    return np.array(sum(at) / 4)


def slopes(arrays: dict[str, np.ndarray]) -> np.ndarray:
    """Slope of log L_val in log t over the last two decades, (starts,), of BDS."""
    late = arrays["time"] >= arrays["time"][-1] / 100
    t, loss = np.log(arrays["time"][late]), np.log(arrays["loss"][0][:, late])
    return np.polyfit(t, loss.T, 1)[0]


def headline(arrays: dict[str, np.ndarray]) -> None:
    """Every start of BDS gets below log V / 1000 at the rate 1/t; mixing ends at the table's."""
    bds, mixing = arrays["loss"]
    arrived = (bds.min(axis=1) <= EPS[-1]).sum()
    style.check(arrived == len(bds), f"{arrived} of {len(bds)} starts arrive at {EPS[-1]:.1e}")
    slope = slopes(arrays)
    style.check((abs(slope + 1) < 0.15).all(), f"slopes {slope.min():.2f} to {slope.max():.2f}")
    end, level = mixing[:, -1], arrays["level"]
    style.check(
        (abs(end / level - 1) < 0.15).all(),
        f"direct mixing ends at {end.min():.3f} to {end.max():.3f}; needed about {level:.3f}",
    )
    left = arrays["mass"][0][:, -1].max()
    style.check(left < 1e-3, f"BDS leaves a mass of {left:.1e} on contradictions; needed < 1e-3")


@style.styled
def draw(arrays: dict[str, np.ndarray]) -> Figure:
    """Left L_val, right the mass on contradictions, both against the step."""
    figure, (left, right) = style.canvas(2, width_ratios=[1.5, 1], height=4.2)
    for ax, values in ((left, arrays["loss"]), (right, arrays["mass"])):
        ax.set_xscale("log")
        ax.set_yscale("log")
        ax.set_xlabel(f"step t (h = {arrays['step']:g})")
        for runs, look in zip(values, (BDS, MIXING), strict=True):
            ax.plot(arrays["time"], runs.T, color=look.color, lw=0.6, alpha=0.5)
            ax.plot(arrays["time"], np.median(runs, axis=0), color=look.color, lw=2.4)
    _label_loss(left, arrays)
    right.set_title("Mass on contradictions")
    right.set_ylabel("sum of their weights (share of 1)")
    time = arrays["time"]
    style.write(right, time[-1], 0.42, MIXING.label, style.dark(MIXING.color), ha="right")
    style.write(right, time[-1] / 5e2, 8e-3, "BDS", style.dark(BDS.color), ha="right")
    right.set_ylim(top=1.0)
    return figure


def _label_loss(ax: Axes, arrays: dict[str, np.ndarray]) -> None:
    """The levels eps with the median first step below them, the table's level, the slope."""
    time, slope, median = arrays["time"], slopes(arrays), np.median(arrays["loss"][0], axis=0)
    for k, eps in enumerate(EPS, start=1):
        ax.axhline(eps, color=style.MUTED, lw=1, ls=":")
        ax.plot(time[np.argmax(median <= eps)], eps, "o", color=BDS.color, mec="white", zorder=6)
        text = rf"$\epsilon = \log V\,/\,10^{k}$"
        style.write(ax, 1.0, 0.85 * eps, text, style.MUTED, va="top", bbox=None)
    ax.axhline(float(arrays["level"]), color="black", lw=1, ls="--", zorder=5)
    text = f"{MIXING.label}\n(dashed: lookup table)"
    style.write(ax, time[-1], 0.27, text, style.dark(MIXING.color), ha="right", va="bottom")
    late = time >= time[-1] / 30
    ax.plot(time[late], 2.5 * median[-1] * time[-1] / time[late], color="black", lw=1)
    style.write(ax, time[-1] / 3, 9 * median[-1], "1 / t", "black")
    text = f"BDS, {len(slope)} starts\nslope {slope.min():.2f} to {slope.max():.2f}"
    style.write(ax, 1.0, 1.3 * median[-1], text, style.dark(BDS.color))
    ax.set_ylim(arrays["loss"].min() / 2, 3.0)
    ax.set_title("Every start reaches each ε; mixing stalls")
    ax.set_ylabel(r"validation loss $L_{\mathrm{val}}$ (nats)")


def main(out: Path, quick: bool = False) -> Path:
    """Compute, assert the headline, draw, save."""
    arrays = compute(quick)
    headline(arrays)
    return style.save(draw, arrays, out, "transformer_convergence")
