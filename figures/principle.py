"""The principle in a plane: solution sets, what the two methods reach, and the weakly Pareto set.

theta is a point of the plane, l_i = (x_i.theta - y_i)^2 / 2, mu = 0: every S_i is a line.

    useful: S_i meets S_val.     WP, the weakly Pareto set, is the union of all S(w)      (A5)
    BDS: the points of S_val in WP.     direct mixing: L_val(theta_lam) > L_val* for lam > 0
    L_val(theta_lam) / lam^2 -> g' A^+ g / 2     as lam -> 0

Left, with A2 (all lines meet), WP is the union of the S_i, and the best theta in S(w) is in S_val
exactly where the samples with w_i > 0 are jointly useful: for one of the two useful samples, but
not for both of them, which meet elsewhere. Right, without A2, WP has a region as well. theta_v is
in it, so that weights on useless samples alone, which cancel, are optimal too.
A point is in WP where 0 is in the hull of the gradients (found here by their angles).

Source: theory.md, C01 (`here`), C02 (`v2`), C03(a) with its control (`v1r`), C04(a) (`v1`).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.linalg import null_space
from scipy.optimize import nnls

import bdtheory as bdt
from bdtheory import Problem, Ridge, Status, jointly_useful, usefulness
from bdtheory.hypergradient import refit

from . import style
from .style import BDS, LOOKS, MIXING

PANELS = ("A2", "contradictory")
ON, OFF = 1e-9, 1e-2  # a distance from S_val is below ON, or above OFF; the panels are 4 wide
LEARNED = 1e-6  # of an iterative method's theta: L_val, its square, is then below 1e-12
FRAME = (-2.0, 2.4, -1.6, 2.2)  # both panels, theta_1 and theta_2


GREY = "#DCDCDC"
Pair = tuple[float, float]


def instance(*, A2: bool = True) -> Problem:
    """Three lines through (.3, 1.4), the last parallel to S_val, the line theta_2 = 0. Without A2
    S_val is the point 0, with one line through it and three around it."""
    if A2:
        X, meet = np.array([[1.0, -1.0], [1.4, 1.2], [0.0, 1.0]]), np.array([0.3, 1.4])
        return Problem(Ridge(0.0), (X, X @ meet), val=(np.array([[0.0, 1.0]]), np.zeros(1)))
    X = np.array([[0.1, -0.5], [2.4, 1.2], [-1.8, 1.3], [-0.1, -1.0]])
    y = np.array([0.0, 2.5, 2.1, 1.0])
    return Problem(Ridge(0.0), (X, y), val=(np.array([[0.3, -0.6], [1.5, 0.9]]), np.zeros(2)))


def compute(quick: bool) -> dict[str, np.ndarray]:
    """By panel, as `{panel} name`: the samples, direct mixing by ratio, BDS's re-fits, WP."""
    lam, n = np.geomspace(1e-3, 1e3, 13 if quick else 61), 60 if quick else 300
    arrays = {"lam": lam}
    for panel in PANELS:
        problem = instance(A2=panel == "A2")
        parts = _samples(problem) | _mixing(problem, lam) | _bds(problem) | _pareto(problem, n)
        arrays |= {f"{panel} {key}": np.asarray(value) for key, value in parts.items()}
    return arrays


def _samples(problem: Problem) -> dict[str, np.ndarray]:
    """X (N, 2), y (N,), and which are useful (N,)."""
    useful = np.asarray(usefulness(problem).useful)
    return {"X": problem.train.X, "y": problem.train.y, "useful": useful}


def _mixing(problem: Problem, lam: np.ndarray) -> dict[str, np.ndarray]:
    """theta_lam (K, 2), L_val there (K,), where the path begins (2,), and g' A^+ g / 2."""
    (X, y), (X_val, y_val) = ((d.X, d.y) for d in (problem.train, problem.val))
    fits = [bdt.learn_weights(problem, bdt.DirectMixing(float(ratio))) for ratio in lam]
    theta_v, Z = np.linalg.pinv(X_val) @ y_val, null_space(X_val)
    start = theta_v + Z @ np.linalg.pinv(X @ Z) @ (y - X @ theta_v)  # in S_val, best on X
    A, g = X_val.T @ X_val / len(y_val), X.T @ (X @ start - y) / len(y)
    return {
        "path": np.array([fit.theta for fit in fits]),
        "mixing": np.array([fit.val_loss for fit in fits]),
        "start": start,
        "limit": np.array(g @ np.linalg.pinv(A) @ g / 2),
    }


def _bds(problem: Problem) -> dict[str, np.ndarray]:
    """Over all supports J, uniform weights there: whether J is `joint`ly useful, the re-fit's
    distance to S_val; what `Implicit` finds; and weights on useless samples that cancel."""
    J = (np.arange(1, 2**problem.N)[:, None] >> np.arange(problem.N)) % 2 == 1
    thetas = [refit(problem, row / row.sum()).theta for row in J]
    found = bdt.learn_weights(problem, bdt.Implicit())
    useless = ~np.asarray(usefulness(problem).useful)
    w = _cancelling(problem, np.zeros(2), useless)
    return {
        "joint": np.array([bool(jointly_useful(problem, row)) for row in J]),
        "refit": np.array(thetas),
        "distance": np.array([_distance(problem, theta) for theta in thetas]),
        "learned": np.array(_distance(problem, found.theta)),
        "certified": np.array(found.status is Status.CERTIFIED),
        "cancelling": w,
        "cancelled": np.array(_distance(problem, refit(problem, w).theta)),
    }


def _distance(problem: Problem, theta: np.ndarray) -> float:
    """From theta to S_val, an affine set."""
    X, y = problem.val.X, problem.val.y
    return float(np.linalg.norm(np.linalg.pinv(X) @ (X @ theta - y)))


def _gradients(problem: Problem, theta: np.ndarray) -> np.ndarray:
    """grad l_i at theta (..., 2), (..., N, 2)."""
    X, y = problem.train.X, problem.train.y
    return (theta @ X.T - y)[..., None] * X


def _cancelling(problem: Problem, theta: np.ndarray, among: np.ndarray) -> np.ndarray:
    """w (N,) on the simplex, 0 off `among`, with sum_i w_i grad l_i(theta) as near 0 as it gets."""
    G = _gradients(problem, theta)[among]
    size = np.linalg.norm(G, axis=1)
    w = np.zeros(problem.N)
    w[among] = nnls(np.vstack([(G / size[:, None]).T, np.ones(len(G))]), np.eye(3)[2])[0] / size
    return w / w.sum()


def _pareto(problem: Problem, n: int) -> dict[str, np.ndarray]:
    """On an n by n grid whether theta, on no S_i, is in WP, (n, n); both answers are confirmed.

    In the plane 0 is in the hull of vectors exactly where no gap between their angles is above pi.
    Else the middle of that gap lowers every l_i. `falls`: whether a step there does, `returns`: the
    distance of the re-fit to the weights of the hull, at every 50th point of WP.
    """
    axes = [np.linspace(a, b, n) for a, b in (FRAME[:2], FRAME[2:])]
    theta = np.stack(np.meshgrid(*axes), axis=-1)
    G = _gradients(problem, theta)
    angle = np.sort(np.arctan2(G[..., 1], G[..., 0]), axis=-1)
    gap = np.diff(angle, axis=-1, append=angle[..., :1] + 2 * np.pi)
    widest = np.argmax(gap, axis=-1)[..., None]
    off = np.abs(theta @ problem.train.X.T - problem.train.y).min(axis=-1) > 1e-12
    inside, outside = (off & (gap.max(axis=-1) <= np.pi)), (off & (gap.max(axis=-1) > np.pi))
    middle = (np.take_along_axis(angle + gap / 2, widest, axis=-1))[..., 0]
    d = np.stack([np.cos(middle), np.sin(middle)], axis=-1)
    slope, curve = np.sum(G * d[..., None, :], axis=-1), (d @ problem.train.X.T) ** 2
    # l_i(theta + t d) - l_i(theta) = t slope + t^2 curve / 2, lowest at t = -slope / curve
    t = np.min(-slope / np.maximum(curve, 1e-12), axis=-1, keepdims=True)
    falls = (t * slope + t**2 * curve / 2 < 0).all(axis=-1)
    everyone, some = np.ones(problem.N, dtype=bool), theta[inside][::50]
    back = [refit(problem, _cancelling(problem, at, everyone)).theta - at for at in some]
    returns = np.linalg.norm(np.reshape(back, (-1, 2)), axis=1)
    return {"pareto": inside, "falls": falls[outside], "returns": returns}


def headline(arrays: dict[str, np.ndarray]) -> None:
    """BDS's re-fits are in S_val, direct mixing nowhere; WP is lines, and without A2 a region."""
    for panel in PANELS:
        a = {key.partition(" ")[2]: value for key, value in arrays.items() if panel in key}
        learned = float(a["learned"])
        style.check(
            a["certified"] and learned < LEARNED,
            f"{panel}: learned weights' re-fit is {learned:.1e} from S_val, certified: "
            f"{bool(a['certified'])}; needed < {LEARNED:.0e}, certified",
        )
        near, far = a["distance"][a["joint"]].max(), a["distance"][~a["joint"]].min()
        style.check(
            near < ON and far > OFF,
            f"{panel}: re-fits are up to {near:.1e} from S_val on jointly useful supports, and at "
            f"least {far:.1e} on others; needed < {ON:.0e} and > {OFF:.0e}",
        )
        loss, rate = a["mixing"], a["mixing"][0] / arrays["lam"][0] ** 2 / a["limit"]
        style.check(
            loss[0] > 0 and (np.diff(loss) > 0).all() and abs(rate - 1) < 0.02,
            f"{panel}: direct mixing's L_val is from {loss[0]:.1e} to {loss[-1]:.1e}, over lam^2 "
            f"g'A^+g/2 at first {rate:.3f}; needed rising with lam, from 1",
        )
        back = a["returns"].max(initial=0.0)
        style.check(
            a["falls"].all() and back < 1e-6,
            f"{panel}: {np.mean(~a['falls']):.1%} of the points not in WP have no common descent; "
            f"those in WP are missed by up to {back:.1e}",
        )
    share = [float(arrays[f"{panel} pareto"].mean()) for panel in PANELS]
    style.check(share[0] == 0 < share[1], f"shares of the plane in WP {share}; needed 0, and > 0")
    mass, far = arrays["contradictory cancelling"], float(arrays["contradictory cancelled"])
    mass = mass[~arrays["contradictory useful"]].sum()
    style.check(
        far < ON and abs(mass - 1) < ON and float(arrays["A2 cancelled"]) > OFF,
        f"useless samples alone, mass {mass:.3f}: {far:.1e} from S_val without A2, "
        f"{float(arrays['A2 cancelled']):.1e} with it; needed < {ON:.0e} and > {OFF:.0e}",
    )


@style.styled
def draw(arrays: dict[str, np.ndarray]) -> Figure:
    """Left with A2, right without."""
    figure, axes = style.canvas(2, height=3.75)
    for ax, panel in zip(axes, PANELS, strict=True):
        _draw_plane(ax, {k.partition(" ")[2]: v for k, v in arrays.items() if panel in k})
    _label_left(axes[0])
    _label_right(axes[1])
    return figure


def _draw_plane(ax: Axes, a: dict[str, np.ndarray]) -> None:
    """WP in grey, the lines S_i, direct mixing's path, BDS's solutions."""
    x = np.array(FRAME[:2])
    if a["pareto"].any():
        n = len(a["pareto"])
        grid = np.linspace(*FRAME[:2], n), np.linspace(*FRAME[2:], n)
        region = ax.contourf(*grid, a["pareto"], [0.5, 1.5], zorder=0.5)
        region.set_array(None)  # one colour, which the dark version can replace
        region.set_facecolor(GREY)
    for (u, v), y, useful in zip(a["X"], a["y"], a["useful"], strict=True):
        look = LOOKS["useful" if useful else "useless"]
        ax.plot(x, (y - u * x) / v, color=look.color, lw=1.8, ls="-" if useful else "--")
    path = np.vstack([a["start"], a["path"]])
    ax.plot(*path.T, color=MIXING.color, lw=3)
    ax.plot(*path[-1], MIXING.marker, color=MIXING.color, ms=6)
    ax.plot(*a["start"], MIXING.marker, color=MIXING.color, mfc="white", ms=5, zorder=5)
    ax.plot(*a["refit"][a["joint"]].T, BDS.marker, color=BDS.color, ms=11, mec="white", zorder=4)
    ax.set_xlim(FRAME[:2])
    ax.set_ylim(FRAME[2:])
    ax.set_aspect("equal")
    ax.grid(visible=False)
    ax.set_xlabel(r"$\theta_1$")
    ax.set_ylabel(r"$\theta_2$")


def _label_left(ax: Axes) -> None:
    useful, useless, val = (LOOKS[name] for name in ("useful", "useless", "ValidationOnly"))
    ax.set_title("With A2: WP is the three lines")
    ax.axhline(0, color=val.color, lw=6, alpha=0.5, zorder=0.8)
    style.write(ax, 2.35, 0.12, r"$S_{\mathrm{val}}$", style.dark(val.color), ha="right")
    style.write(ax, -0.82, 0.62, "useful", useful.color, ha="right", va="center")
    style.write(ax, 1.2, 0.62, "useful", useful.color, va="center")
    style.write(ax, 2.35, 1.5, "useless", style.dark(useless.color), ha="right")
    style.write(ax, 0.2, -0.68, "BDS: either point", BDS.color, ha="center", va="center")
    _label_mixing(ax, (0.4, 0.48), (0.62, -0.16), (0.3, 1.8))


def _label_mixing(ax: Axes, name: Pair, first: Pair, last: Pair) -> None:
    """The path's name, and which ratio its ends have."""
    color = style.dark(MIXING.color)
    style.write(ax, *name, "direct\nmixing", color, ha="right", va="center", bbox=None)
    style.write(ax, *first, r"$\lambda \to 0$", color, ha="center", va="top", fontsize=9)
    style.write(ax, *last, r"$\lambda \to \infty$", color, ha="center", fontsize=9)


def _label_right(ax: Axes) -> None:
    useful, useless, val = (LOOKS[name] for name in ("useful", "useless", "ValidationOnly"))
    ax.set_title("Without A2: WP has a region, too")
    ax.plot(0, 0, "o", color=val.color, ms=19, mec="none", alpha=0.5, zorder=0.8)
    style.write(ax, -0.3, 0.28, r"$S_{\mathrm{val}}$", style.dark(val.color), ha="right", bbox=None)
    style.write(ax, 2.35, 0.58, "useful", useful.color, ha="right")
    for x, y, ha in ((-0.55, 1.2, "right"), (0.85, 0.95, "left"), (0.3, -1.4, "right")):
        style.write(ax, x, y, "useless", style.dark(useless.color), ha=ha)
    style.write(ax, 0.05, -0.3, "BDS", BDS.color, ha="center", va="top", bbox=None)
    style.write(ax, -0.1, -0.85, "the region: WP", style.MUTED, ha="center", bbox=None)
    style.write(ax, 0.1, 0.42, "direct\nmixing", style.dark(MIXING.color), bbox=None)


def main(out: Path, quick: bool = False) -> Path:
    """Compute, assert the headline, draw, save."""
    arrays = compute(quick)
    headline(arrays)
    return style.save(draw, arrays, out, "principle")
