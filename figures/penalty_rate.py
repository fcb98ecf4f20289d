"""The penalty's gradient is wrong by 1/gamma, its minimum is right at every gamma (C06).

    P_gamma(theta, w) = L_val + gamma (F_w(theta) - v(w))

Left, mu > 0: d/dw_i of min over theta of P_gamma, gamma (l_i(theta_gamma) - l_i(theta(w))), tends
to dL_val/dw_i with the error

    gamma error -> r_i x_i'H^-1 A H^-1 g + (x_i'H^-1 g)^2 / 2,   r_i = x_i.theta(w) - y_i

g = grad L_val(theta(w)), A the validation Hessian. Control, a duplicated column at mu = 0: against
the hypergradient of the minimum-norm re-fit the error stays, against that of the optimistic one,
the theta in S(w) best for validation, it falls like 1/gamma: the penalty solves that problem.

Right, mu = 0: min P_gamma = L_val* for every gamma, over all supports of w (A1, A3; v(w) = 0 by
A2). With w frozen at uniform, direct mixing, it is not. Control without A3 (x = 1, training target
1, validation target 0): V_BDS - min P_gamma = 1 / (2 (1 + gamma)). Control without A2 (targets 1,
-1, 0, validation target 0): at w = (1/4, 1/4, 1/2) the penalty is 0 where v is kept, gamma / 4
where it is dropped.

Source: theory.md, C06 (`here`).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bdtheory import Problem, Ridge, hypergradient
from bdtheory.hypergradient import mean_loss, refit
from bdtheory.methods.bmo import fit_jointly
from bdtheory.tasks import linear

from . import style
from .style import LOOKS, MIXING

PENALTY = LOOKS["Penalty"]
# mu, whether a column is duplicated, and whose hypergradient the error is against
SETTINGS = {
    "ridge": (0.1, False, "validation"),
    "optimistic": (0.0, True, "validation"),
    "minimum-norm": (0.0, True, "minimum-norm"),
}
FITTED = 1e2  # slopes are fitted from this gamma on
ZERO = 1e-10  # of P_gamma in units of the mean squared target: gamma <= 1e3 times rounding


def compute(quick: bool) -> dict[str, np.ndarray]:
    """`strength` (K,), and by setting `{setting} error` (seeds, K, N) and `size` (seeds,) of the
    gradient, `{setting} limit` (seeds, N); `gamma` (T,), `filtered` and `uniform` (seeds, T),
    `price`, `kept`, `dropped` (T,)."""
    strength, seeds = np.logspace(0, 6, 7 if quick else 13), range(3 if quick else 10)
    arrays = {"strength": strength}
    for name in SETTINGS:
        runs = [_gradient_error(seed, name, strength) for seed in seeds]
        arrays |= {f"{name} {key}": np.array([run[key] for run in runs]) for key in runs[0]}
    gamma = np.logspace(-3, 3, 7 if quick else 13)
    values = np.array([_least_penalty(seed, gamma) for seed in seeds])
    arrays |= {"gamma": gamma, "filtered": values[:, 0], "uniform": values[:, 1]}
    return arrays | _controls(gamma)


def _gradient_error(seed: int, setting: str, strength: np.ndarray) -> dict[str, np.ndarray]:
    """The error of the penalty's gradient at every gamma (K, N), and what is known of it."""
    mu, duplicated, tie = SETTINGS[setting]
    problem, w = instance(seed, mu, duplicated=duplicated, tie=tie)
    X, exact, theta = problem.train.X, hypergradient(problem, w)[1], refit(problem, w).theta
    r, errors = X @ theta - problem.train.y, []
    for gamma in strength:
        d = X @ (fit_jointly(problem, w, gamma, None).theta - theta)
        errors.append(gamma * (r * d + d**2 / 2) - exact)  # gamma (l_i - l_i), not by subtraction
    best, _ = instance(seed, mu, duplicated=duplicated)
    limit = _limit(problem, w) if mu > 0 else hypergradient(best, w)[1] - exact
    return {"error": np.array(errors), "size": np.array(np.linalg.norm(exact)), "limit": limit}


def _limit(problem: Problem, w: np.ndarray) -> np.ndarray:
    """lim gamma error (N,), for mu > 0."""
    (X, y), (X_val, y_val) = ((d.X, d.y) for d in (problem.train, problem.val))
    H, A = (X.T * w) @ X + problem.model.mu * np.eye(X.shape[1]), X_val.T @ X_val / len(y_val)
    theta = np.linalg.solve(H, X.T @ (w * y))
    h = np.linalg.solve(H, A @ theta - X_val.T @ y_val / len(y_val))  # H^-1 g
    return (X @ theta - y) * (X @ np.linalg.solve(H, A @ h)) + (X @ h) ** 2 / 2


def instance(
    seed: int, mu: float, *, duplicated: bool, tie: str = "validation"
) -> tuple[Problem, np.ndarray]:
    """(problem, w): N = 12 noisy rows, p = 6, m = 8, positive weights (N,). `duplicated`: the last
    training column repeats the first; in the validation data it does not."""
    rng = np.random.default_rng(seed)
    X, X_val = rng.standard_normal((12, 6)), rng.standard_normal((8, 6))
    theta0, noise = rng.standard_normal(6), rng.standard_normal(12)
    if duplicated:
        X[:, -1], theta0[[0, -1]] = X[:, 0], (2.0, -2.0)  # the least norm wants equal entries
    train, w = (X, X @ theta0 + noise), rng.uniform(0.5, 1.5, 12)
    return Problem(Ridge(mu, tie_break=tie), train, val=(X_val, X_val @ theta0)), w / w.sum()


def penalty(problem: Problem, w: np.ndarray, gamma: float, *, keep_v: bool = True) -> float:
    """min over theta of P_gamma(theta, w), at mu = 0."""
    theta, v = fit_jointly(problem, w, gamma, None).theta, 0.0
    if keep_v:
        v = w @ problem.model.losses(refit(problem, w).theta, problem.train)
    F = w @ problem.model.losses(theta, problem.train)
    return float(mean_loss(problem, theta, problem.val) + gamma * (F - v))


def _least_penalty(seed: int, gamma: np.ndarray) -> np.ndarray:
    """(2, T), in units of the mean squared target: the least P_gamma over the supports of w, and
    P_gamma at uniform w, less L_val* = 0. 3 useful samples, 2 useless ones."""
    task = linear(seed, p=10, m=12, n_useful=3, n_useless=2)
    problem, N = task.problem(), 5
    J = (np.arange(1, 2**N)[:, None] >> np.arange(N)) % 2
    values = [[penalty(problem, row / row.sum(), g) for row in J] for g in gamma]
    return np.array([np.min(values, axis=1), [row[-1] for row in values]]) / np.mean(
        task.train[1] ** 2
    )


def _controls(gamma: np.ndarray) -> dict[str, np.ndarray]:
    """Without A3: V_BDS - min P_gamma. Without A2: P_gamma at weights that cancel."""
    one, val = np.ones((1, 1)), (np.ones((1, 1)), np.zeros(1))
    priced = Problem(Ridge(0.0), (one, np.ones(1)), val=val)
    V_BDS, w = hypergradient(priced, np.ones(1))[0], np.array([0.25, 0.25, 0.5])
    cancelling = Problem(Ridge(0.0), (np.ones((3, 1)), np.array([1.0, -1.0, 0.0])), val=val)
    return {
        "price": np.array([V_BDS - penalty(priced, np.ones(1), g) for g in gamma]),
        "kept": np.array([penalty(cancelling, w, g) for g in gamma]),
        "dropped": np.array([penalty(cancelling, w, g, keep_v=False) for g in gamma]),
    }


def sizes(arrays: dict[str, np.ndarray], setting: str) -> np.ndarray:
    """The error's norm over that of the gradient, (seeds, K)."""
    return np.linalg.norm(arrays[f"{setting} error"], axis=2) / arrays[f"{setting} size"][:, None]


def slopes(arrays: dict[str, np.ndarray], setting: str) -> np.ndarray:
    """Slope of the log error in log gamma from FITTED on, (seeds,)."""
    late = arrays["strength"] >= FITTED
    size = np.log(sizes(arrays, setting)[:, late])
    return np.polyfit(np.log(arrays["strength"][late]), size.T, 1)[0]


def headline(arrays: dict[str, np.ndarray]) -> None:
    """Slope -1 and the predicted size, a plateau for the control; and the values of (a)."""
    for setting in ("ridge", "optimistic"):
        slope = slopes(arrays, setting)
        style.check(
            (abs(slope + 1) < 0.05).all(),
            f"{setting}: slopes {slope.min():.3f} to {slope.max():.3f}; needed -1",
        )
    last, limit = (arrays[f"ridge {key}"] for key in ("error", "limit"))
    ratio = arrays["strength"][-1] * np.sum(last[:, -1] * limit, axis=1) / np.sum(limit**2, axis=1)
    style.check(
        (abs(ratio - 1) < 1e-3).all(),
        f"ridge: gamma error over its limit {ratio.min():.4f} to {ratio.max():.4f}; needed 1",
    )
    size, apart = arrays["minimum-norm size"], arrays["minimum-norm limit"]
    plateau = sizes(arrays, "minimum-norm")[:, -1] * size / np.linalg.norm(apart, axis=1)
    style.check(
        (abs(plateau - 1) < 1e-3).all(),
        f"minimum-norm: the plateau over the distance of the two hypergradients is "
        f"{plateau.min():.4f} to {plateau.max():.4f}; needed 1",
    )
    _check_values(arrays)


def _check_values(arrays: dict[str, np.ndarray]) -> None:
    gamma, filtered, uniform = (arrays[key] for key in ("gamma", "filtered", "uniform"))
    worst = np.abs(filtered).max()
    style.check(worst < ZERO, f"min P_gamma - L_val* is up to {worst:.1e}; needed < {ZERO:.0e}")
    least = (uniform / gamma).min(axis=0)
    style.check(
        least[0] > 1e-2 and (np.diff(uniform, axis=1) > 0).all(),
        f"uniform w: (P_gamma - L_val*) / gamma is {least[0]:.1e} at first; needed > 1e-2, and "
        "values that rise with gamma",
    )
    for name, expected in (("price", 1 / (2 * (1 + gamma))), ("dropped", gamma / 4)):
        ratio = arrays[name] / expected
        style.check(
            (abs(ratio - 1) < 1e-9).all(),
            f"{name}: {ratio.min():.3g} to {ratio.max():.3g} of what is predicted; needed 1",
        )
    kept = np.abs(arrays["kept"]).max()
    style.check(kept < ZERO, f"v kept: the penalty that cancels is {kept:.1e}; needed 0")


@style.styled
def draw(arrays: dict[str, np.ndarray]) -> Figure:
    """Left the gradient's error, right the values."""
    figure, (left, right) = style.canvas(2, height=4.2)
    for ax in (left, right):
        ax.set_xscale("log")
        ax.set_yscale("log")
        ax.set_xlabel("penalty strength γ")
    _draw_errors(left, arrays)
    _draw_values(right, arrays)
    return figure


def _median_and_range(ax: Axes, x: np.ndarray, y: np.ndarray, color: str, ls: str = "-") -> None:
    """Median over seeds, y (seeds, K); shaded from the least to the greatest."""
    ax.fill_between(x, y.min(axis=0), y.max(axis=0), color=color, alpha=0.2, lw=0)
    ax.plot(x, np.median(y, axis=0), color=color, ls=ls)


def _draw_errors(ax: Axes, arrays: dict[str, np.ndarray]) -> None:
    x = arrays["strength"]
    _median_and_range(ax, x, sizes(arrays, "ridge"), PENALTY.color)
    _median_and_range(ax, x, sizes(arrays, "optimistic"), PENALTY.color, ls="--")
    _median_and_range(ax, x, sizes(arrays, "minimum-norm"), LOOKS["useless"].color)
    ax.set_title("Gradient: error of order 1/γ")
    ax.set_ylabel("error of the gradient in w (relative)")
    bad, good = style.dark(LOOKS["useless"].color), style.dark(PENALTY.color)
    ax.set_ylim(top=15)
    style.write(ax, x[-1], 2.2, "control, μ = 0: against the\nminimum-norm re-fit", bad, ha="right")
    slope = slopes(arrays, "ridge")
    steep = f"{slope.min():.2f} to {slope.max():.2f}".replace("-", "−")
    text = f"μ = 0.1 (dashed: μ = 0,\noptimistic re-fit)\nslope {steep}"
    style.write(ax, 1.0, 1e-4, text, good, va="center")


def _draw_values(ax: Axes, arrays: dict[str, np.ndarray]) -> None:
    x = arrays["gamma"]
    _median_and_range(ax, x, arrays["uniform"], MIXING.color)
    ax.plot(x, arrays["price"], color=style.MUTED, ls="--")
    ax.plot(x, arrays["dropped"], color=LOOKS["useless"].color, ls=":")
    ax.set_title("Minimum: exact for every γ")
    ax.set_ylabel(r"$\min_\theta P_\gamma$, from $L_{\mathrm{val}}^*$ (dimensionless)")
    level = style.floor(ax, 1e-7, 2e-5, "0 up to rounding")
    ax.axhline(level, color=PENALTY.color, lw=2.5)
    ax.set_ylim(top=1e4)
    bad, good = style.dark(LOOKS["useless"].color), style.dark(PENALTY.color)
    style.write(ax, x[-1], level * 1.6, "min over w, at a useful sample", good, ha="right")
    style.write(ax, 0.02, 4e-5, "w uniform: direct mixing", style.dark(MIXING.color))
    style.write(ax, x[0], 0.9, "no A3: what is missing,\n1 / (2 (1 + γ))", style.MUTED)
    style.write(ax, 4.0, 150, "no A2, v dropped,\ncancelling w: γ / 4", bad, ha="right")


def main(out: Path, quick: bool = False) -> Path:
    """Compute, assert the headline, draw, save."""
    arrays = compute(quick)
    headline(arrays)
    return style.save(draw, arrays, out, "penalty_rate")
