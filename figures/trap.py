"""Where training data can be interpolated, weights are inert inside the simplex (C15).

    norm(theta_mu(w) - theta*) <= norm(theta*) mu / (mu + min w sigma^2)      (A2, p >= N)

theta* is the minimum-norm interpolator of all samples, useless ones included, and sigma the least
non-zero singular value of X: a weight matters only near or below mu / norm(x)^2. Left: L_val along
the line from all mass on useless samples to all on useful ones, falling only as the useless mass
comes down to the order of mu. Right: what this does to searches that start from uniform weights.

The instance: N = 30, p = 60, m = 10, 20 useful samples,

    y_val = X_val theta0,   y_i = x_i.theta0 + s_i,   theta0 in the row space of the useful rows

so that the re-fit of uniform weights on the useful samples is theta0 up to O(mu), and weights of
small L_val are known to exist at every mu > 0. (For a theta0 in general position, as in C15's own
prototype, they need not: the minimum-norm re-fit of the useful samples then has a large L_val, and
a large L_val says nothing about a search.)

"Gradient descent": omega_k+1 = omega_k - h w * (g - w.g), h fixed, the best of several h for each
seed. "L-BFGS": SciPy's, on the same function. Both start at omega = 0 and have 200 steps.

Source: theory.md, C15 (`here`) and "The models in closed form".
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.optimize import minimize

import bdtheory as bdt
from bdtheory import Problem, Ridge
from bdtheory.tasks import linear

from . import style
from .style import LOOKS

MUS = (1e-2, 1e-4, 1e-6)
SHADES = ("#A6A6A6", "#5E5E5E", "#000000")  # of mu, light to dark
STEPS = (1e1, 1e2, 1e3)  # h, dimensionless; smaller ones ended higher (median of five seeds)
METHODS = {
    "gradient\ndescent": None,
    "L-BFGS": None,
    "Implicit": bdt.Implicit(),
    "Penalty": bdt.Penalty(),
    "BMO": bdt.BMO(),
    "direct\nmixing": bdt.DirectMixing(ratio=1e-3),
}


def instance(seed: int, mu: float) -> tuple[Problem, np.ndarray]:
    """The problem of the module's docstring, and which samples are useful, (N,) bool."""
    task = linear(seed, p=60, m=10, n_useful=20, n_useless=10)
    (X, y), (X_val, _) = task.train, task.val
    useful = np.asarray(task.clean)
    useful_rows = X[useful]
    theta0 = np.linalg.pinv(useful_rows) @ (useful_rows @ task.theta0)
    y = y - X @ (np.asarray(task.theta0) - theta0)
    return Problem(Ridge(mu), train=(X, y), val=(X_val, X_val @ theta0)), useful


def compute(quick: bool) -> dict[str, np.ndarray]:
    """`mass` and `slice` (mus, seeds, masses); `loss` and `useless` (mus, seeds, methods)."""
    seeds = (5, 6) if quick else range(10)
    mass = np.geomspace(1e-12, 0.999, 25 if quick else 73)
    slices = [[_slice(*instance(seed, mu), mass) for seed in seeds] for mu in MUS]
    ends = [[_searches(*instance(seed, mu), 60 if quick else 200) for seed in seeds] for mu in MUS]
    loss, useless = np.moveaxis(np.array(ends), -1, 0)
    return {"mass": mass, "slice": np.array(slices), "loss": loss, "useless": useless}


def _slice(problem: Problem, useful: np.ndarray, mass: np.ndarray) -> list[float]:
    """L_val of w = (1 - s) (equal on useful samples) + s (equal on useless ones), s in `mass`."""
    good, bad = useful / useful.sum(), ~useful / (~useful).sum()
    return [bdt.hypergradient(problem, (1 - s) * good + s * bad)[0] for s in mass]


def _searches(problem: Problem, useful: np.ndarray, steps: int) -> list[tuple[float, float]]:
    """(L_val, mass on useless samples) at the end of every method, in the order of METHODS."""
    ends = [_gradient_descent(problem, steps), _quasi_newton(problem, steps)]
    for method in list(METHODS.values())[2:]:
        fit = bdt.learn_weights(problem, method)
        ends.append((fit.val_loss, fit.weights))
    return [(val_loss, float(w[~useful].sum())) for val_loss, w in ends]


def _objective(problem: Problem, omega: np.ndarray) -> tuple[float, np.ndarray]:
    """L_val(theta(softmax(omega))) and its gradient w * (g - w.g), (N,)."""
    w = bdt.softmax(omega)
    value, g = bdt.hypergradient(problem, w)
    return value, w * (g - w @ g)


def _gradient_descent(problem: Problem, steps: int) -> tuple[float, np.ndarray]:
    """The best end of descents from omega = 0 with fixed steps h."""
    ends = []
    for h in STEPS:
        omega = np.zeros(problem.N)
        for _ in range(steps):
            omega = omega - h * _objective(problem, omega)[1]
        ends.append((_objective(problem, omega)[0], bdt.softmax(omega)))
    return min(ends, key=lambda end: end[0])


def _quasi_newton(problem: Problem, steps: int) -> tuple[float, np.ndarray]:
    """L-BFGS from omega = 0."""
    options = {"maxiter": steps, "ftol": 1e-14, "gtol": 0.0}
    run = minimize(
        lambda omega: _objective(problem, omega),
        np.zeros(problem.N),
        jac=True,
        method="L-BFGS-B",
        options=options,
    )
    return float(run.fun), bdt.softmax(run.x)


def headline(arrays: dict[str, np.ndarray]) -> None:
    """The useless mass that matters is proportional to mu; searches from uniform weights can end
    high, `Implicit()` does not."""
    per_mu = [[threshold(arrays["mass"], row) for row in rows] for rows in arrays["slice"]]
    ratio = np.array(per_mu[:-1]) / np.array(per_mu[1:])
    style.check(
        (abs(ratio / 100 - 1) < 0.1).all(),
        f"the useless mass at which L_val is 1 falls by {ratio.tolist()} for mu / 100; needed 100",
    )
    ends = dict(zip(METHODS, np.moveaxis(arrays["loss"], -1, 0), strict=True))
    worst = ends["Implicit"].max()
    style.check(worst < 1e-6, f"Implicit() ends at L_val up to {worst:.1e}; needed < 1e-6")
    for name in ("gradient\ndescent", "L-BFGS"):
        high = ends[name].max()
        style.check(high > 1e-2, f"{name!r} from uniform ends at most at {high:.1e}; not trapped")


def threshold(mass: np.ndarray, loss: np.ndarray, level: float = 1.0) -> float:
    """The least mass at which the loss reaches the level, interpolated in logarithms."""
    k = int(np.argmax(loss >= level))
    x, y = np.log(mass[k - 1 : k + 1]), np.log(loss[k - 1 : k + 1])
    return float(np.exp(np.interp(np.log(level), y, x)))


@style.styled
def draw(arrays: dict[str, np.ndarray]) -> Figure:
    """Left L_val along a line in the simplex, right where searches end: L_val and useless mass."""
    figure, (left, upper, lower) = _panels()
    _draw_slice(left, arrays)
    _draw_ends(upper, arrays["loss"])
    _draw_ends(lower, arrays["useless"])
    upper.set_title(f"Where searches end ({arrays['loss'].shape[1]} seeds)")
    upper.set_ylabel(r"$L_{\mathrm{val}}$")
    upper.set_ylim(1e-17, 1e7)
    upper.set_yticks(10.0 ** np.arange(-16, 3, 4))
    upper.tick_params(labelbottom=False, bottom=False)
    style.write(upper, -0.4, 2e2, "gradient only,\nuniform start", style.MUTED, bbox=None)
    lower.set_ylabel("useless mass")
    _name_methods(lower)
    return figure


def _panels() -> tuple[Figure, list[Axes]]:
    """One panel over the whole height, two beside it; all below each other in a column."""
    if style.in_column():
        figure, axes = style.canvas(1, 3, height=8.4)
        return figure, list(axes)
    figure, axes = style.canvas(2, 2, height=4.8, width_ratios=[1, 1.5])
    for ax in axes[:, 0]:
        ax.remove()
    left = figure.add_subplot(axes[0, 0].get_gridspec()[:, 0])
    return figure, [left, *axes[:, 1]]


def _draw_slice(ax: Axes, arrays: dict[str, np.ndarray]) -> None:
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlim(1e-12, 3.0)
    ax.set_ylim(1e-12, 1e4)
    labels = ((1.5e-6, 4e-5), (6e-9, 3e-9), (3e-11, 1e-11))
    for mu, shade, rows, (x, y) in zip(MUS, SHADES, arrays["slice"], labels, strict=True):
        ax.plot(arrays["mass"], np.median(rows, axis=0), color=shade)
        text = rf"$\mu = 10^{{{round(np.log10(mu))}}}$"
        style.write(ax, x, y, text, style.dark(shade))
    ax.axvline(1 / 3, color=style.MUTED, lw=1, ls=":")
    style.write(ax, 0.2, 1e-8, "uniform weights", style.MUTED, ha="right", rotation=90)
    ax.set_title("Inert until useless mass ~ μ")
    ax.set_xlabel("mass on useless samples (share of 1)")
    ax.set_ylabel(r"validation loss $L_{\mathrm{val}}$ (dimensionless)")


def _draw_ends(ax: Axes, values: np.ndarray) -> None:
    """One dot per seed, values (mus, seeds, methods); what is below 1e-15 of mass in a strip."""
    ax.set_yscale("log")
    ax.set_ylim(1e-19, 1e2)
    if values.max() <= 1.0:
        floor = style.floor(ax, 1e-20, 1e-16, r"0, or below $10^{-16}$", x=0.4)
        values = np.where(values < 1e-16, floor, values)
    for j, k in np.ndindex(len(METHODS), len(MUS)):
        y = values[k, :, j]
        x = j + 0.25 * (k - 1) + np.linspace(-0.07, 0.07, len(y))
        ax.plot(x, y, "o", color=SHADES[k], ms=3.5, mew=0)
    ax.axvspan(-0.5, 1.5, color="#FFF3D6", zorder=0, lw=0)
    ax.set_xlim(-0.5, len(METHODS) - 0.5)
    ax.grid(axis="x", visible=False)


def _name_methods(ax: Axes) -> None:
    size = 8.5 if style.in_column() else 10
    ax.set_xticks(range(len(METHODS)), list(METHODS), fontsize=size)
    for label, name in zip(ax.get_xticklabels(), METHODS, strict=True):
        look = LOOKS.get("DirectMixing" if name.startswith("direct") else name)
        label.set_color(style.dark(look.color) if look else "black")


def main(out: Path, quick: bool = False) -> Path:
    """Compute, assert the headline, draw, save."""
    arrays = compute(quick)
    headline(arrays)
    return style.save(draw, arrays, out, "trap")
