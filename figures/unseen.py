"""What validation can't see, BDS can't filter: L_val stays, the loss on new data moves (C13).

Squared loss, mu = 0; x_0 lies outside the span of X_val and of the other training rows. For every
w the best theta in S(w) has the same L_val whatever y_0 is: theta + t d, X_val d = 0, x_j.d = 0,
x_0.d = 1, is to y_0 + t what theta is to y_0. New data, x ~ N(0, I), y = x.theta0, see it: with c
the component of theta - theta0 along d the loss is c^2 / 2 and a rest that y_0 does not move.

Controls at w = e_0, with A the validation Hessian: the minimum-norm re-fit, or a ridge mu > 0, have
L_val with the curvature x_0'A x_0 / (||x_0||^2 + mu)^2 in y_0; where x_0 is projected on the row
space of X_val the price is (y_0 - x_0.theta_v)^2 / (2 x_0'A^+ x_0), theta_v in S_val.

Source: theory.md, C13 (`here`).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bdtheory import BMO, Implicit, Problem, Ridge, learn_weights
from bdtheory.hypergradient import mean_loss, refit

from . import style
from .style import BDS, LOOKS

SHIFTS = np.linspace(-10.0, 10.0, 41)  # y_0 less x_0.theta0, in units of the noise
MU = 2.0
P, SEEN = 7, 4  # dimensions in all, and those of X_val
CONTROLS = {  # whether x_0 is visible, the tie-break, mu
    "minimum norm": (False, "minimum-norm", 0.0),
    "ridge": (False, "validation", MU),
    "visible": (True, "validation", 0.0),
}
CONSTANT = 1e-9  # relative: theta is of order 10, losses of order 1


def compute(quick: bool) -> dict[str, np.ndarray]:
    """`val` and `test` (seeds, weights, T) and `component` c there; by control L_val `{name} val`
    and its predicted `{name} curvature`, (seeds, T) and (seeds,)."""
    runs = [_run(seed) for seed in range(2 if quick else 10)]
    return {key: np.array([run[key] for run in runs]) for key in runs[0]}


def instance(seed: int, *, visible: bool = False) -> tuple[np.ndarray, ...]:
    """X (13, P), y, X_val (14, P), y_val, theta0: y = X theta0 + e, e ~ N(0, 1), all rows but x_0
    in 4 dimensions; y_0 = x_0.theta0. `visible`: x_0 is projected on those dimensions too."""
    rng = np.random.default_rng(seed)
    theta0, x = rng.standard_normal((2, P))
    V = np.linalg.qr(rng.standard_normal((P, SEEN)))[0]
    X_val, X = rng.standard_normal((14, SEEN)) @ V.T, rng.standard_normal((12, SEEN)) @ V.T
    noise, x = rng.standard_normal(26), V @ (V.T @ x) if visible else x
    y = np.append(x @ theta0, X @ theta0 + noise[14:])
    return np.vstack([x, X]), y, X_val, X_val @ theta0 + noise[:14], theta0


def moved(data: tuple[np.ndarray, ...], shift: float, model: Ridge) -> Problem:
    """The problem with y_0 moved by `shift`."""
    X, y, X_val, y_val, _ = data
    return Problem(model, (X, y + shift * np.eye(len(y))[0]), val=(X_val, y_val))


def _run(seed: int) -> dict[str, np.ndarray]:
    data, e_0 = instance(seed), np.eye(13)[0]
    X, X_val, theta0 = data[0], data[2], data[4]
    d = X[0] - np.linalg.pinv(X_val) @ (X_val @ X[0])
    d = d / np.linalg.norm(d)  # the others' span is that of X_val
    thetas = [
        [refit(moved(data, t, Ridge(0.0)), w).theta for t in SHIFTS] for w in _weights(seed, data)
    ]
    off, fixed = np.array(thetas) - theta0, moved(data, 0.0, Ridge(0.0))
    found = {
        "val": np.array([[mean_loss(fixed, t, fixed.val) for t in row] for row in thetas]),
        "test": np.sum(off**2, axis=2) / 2,  # x ~ N(0, I), y = x.theta0
        "component": off @ d,
    }
    for name, (visible, tie, mu) in CONTROLS.items():
        data = instance(seed, visible=visible)
        problems = [moved(data, t, Ridge(mu, tie_break=tie)) for t in SHIFTS]
        at = [mean_loss(p, refit(p, e_0).theta, p.val) for p in problems]
        found |= {f"{name} val": np.array(at), f"{name} curvature": _curvature(name, data)}
    return found


def _weights(seed: int, data: tuple[np.ndarray, ...]) -> np.ndarray:
    """(5, N): e_0, random, uniform, learned by `BMO` at y_0 as it is, and by `Implicit` at + 10."""
    N, rng = len(data[1]), np.random.default_rng([seed, 1])
    w = np.array([np.eye(N)[0], rng.dirichlet(np.ones(N)), np.full(N, 1 / N)])
    methods = (BMO(steps=20), 0.0), (Implicit(max_iterations=20, restarts=0), SHIFTS[-1])
    learned = [learn_weights(moved(data, t, Ridge(0.0)), method).weights for method, t in methods]
    return np.vstack([w, *learned])


def _curvature(name: str, data: tuple[np.ndarray, ...]) -> np.ndarray:
    """Of L_val in y_0 at w = e_0."""
    x, X_val = data[0][0], data[2]
    A = X_val.T @ X_val / len(X_val)
    if name == "visible":
        return np.array(1 / (x @ np.linalg.pinv(A, rcond=1e-10, hermitian=True) @ x))
    return np.array(x @ A @ x / (x @ x + CONTROLS[name][2]) ** 2)


def headline(arrays: dict[str, np.ndarray]) -> None:
    """L_val is constant, the loss on new data c^2 / 2 and a constant; controls are parabolas."""
    val, test, c = (arrays[key] for key in ("val", "test", "component"))
    spread = (np.ptp(val, axis=2) / val.min(axis=2)).max()
    style.check(spread < CONSTANT, f"L_val moves with y_0 by {spread:.1e}; needed < {CONSTANT:.0e}")
    rest = test - c**2 / 2
    off = (np.ptp(rest, axis=2) / test.max(axis=2)).max()
    style.check(
        off < CONSTANT, f"the loss on new data less c^2 / 2 moves by {off:.1e}; needed < 1e-9"
    )
    reach = np.ptp(c, axis=2)[:, :3].min()  # learned weights may leave sample 0 out
    style.check(reach > 1, f"the unseen component moves by {reach:.2f} only; needed > 1")
    for name in CONTROLS:
        second = np.polyfit(SHIFTS, arrays[f"{name} val"].T, 2)[0] * 2
        ratio = second / arrays[f"{name} curvature"]
        style.check(
            (abs(ratio - 1) < 1e-6).all(),
            f"{name}: curvature of L_val in y_0 over the predicted one is {ratio.min():.6f} to "
            f"{ratio.max():.6f}; needed 1",
        )


@style.styled
def draw(arrays: dict[str, np.ndarray]) -> Figure:
    """Left L_val against y_0, right both losses against the component that is not seen; seed 0."""
    figure, (left, right) = style.canvas(2, height=4.0)
    _draw_validation(left, arrays)
    _draw_unseen(right, arrays)
    return figure


def _draw_validation(ax: Axes, arrays: dict[str, np.ndarray]) -> None:
    bad = LOOKS["useless"].color
    for name, dash in zip(CONTROLS, (":", "--", "-"), strict=True):
        ax.plot(SHIFTS, arrays[f"{name} val"][0], color=bad, ls=dash, lw=1.6)
    for row in arrays["val"][0]:
        ax.plot(SHIFTS, row, color=BDS.color)
    color = style.dark(bad)
    ax.set_ylim(-1.5, 12)
    style.write(ax, 0.0, 9.5, r"$x_0$ visible", color, ha="center")
    style.write(ax, 10, 5.6, "minimum norm:\ndotted", color, ha="right")
    style.write(ax, -10, 2.0, f"μ = {MU:g}: dashed", color)
    style.write(ax, 0.0, -0.35, "BDS, five w: constant", BDS.color, ha="center", va="top")
    ax.set_title("Validation does not see it")
    ax.set_xlabel(r"$y_0$ moved by (units of the noise)")
    ax.set_ylabel(r"validation loss $L_{\mathrm{val}}$ (dimensionless)")


def _draw_unseen(ax: Axes, arrays: dict[str, np.ndarray]) -> None:
    c, val, test = (arrays[key][0, 0] for key in ("component", "val", "test"))
    ax.plot(c, test, "-", color=LOOKS["useful"].color)
    ax.plot(c, val, "-", color=BDS.color)
    ax.set_ylim(bottom=0)
    style.write(ax, 0.0, 0.55 * test.max(), "new data:\n$c^2/2$ + constant", "black", ha="center")
    style.write(ax, 0.0, val[0] * 1.3, r"$L_{\mathrm{val}}$", BDS.color, ha="center")
    ax.set_title("New data do")
    ax.set_xlabel(r"c: error of $\theta$ outside the span of $X_{\mathrm{val}}$")
    ax.set_ylabel("loss (dimensionless)")


def main(out: Path, quick: bool = False) -> Path:
    """Compute, assert the headline, draw, save."""
    arrays = compute(quick)
    headline(arrays)
    return style.save(draw, arrays, out, "unseen")
