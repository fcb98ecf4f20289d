"""Where selection pays on new data: few validation rows, many bad samples, and in between (C14).

    y = x.theta0 + e / 10,   bad targets 2 e' + 1,   x, e, e' ~ N(0, I),   p = 20, N = 40, mu = 1e-2

The colour on the left is log2 of L_test(direct mixing) / L_test(BDS), with L_test exact. BDS is
`Implicit`. Mixing has the ratio that is best on validation data by 5-fold cross-validation, 0 among
the choices: the ratio of least L_val itself would always be the smallest one, since L_val falls as
the ratio does. A bad sample is useless up to the noise. Right: the mean of L_test - L_val of the
learned weights, C14's gap, which falls like 1/m once m is well above p. An empirical comparison at
fixed mu > 0, without A2: on new data BDS can lose to mixing, and the left panel shows where.

Each cell is a task of its own, computed through joblib. On a machine, `compute(False, n_jobs=2)`;
on a Dask or Ray cluster that you have, by joblib's own switch, from the repository's root:

    from dask.distributed import Client                 # or: from ray.util.joblib import
    client = Client("scheduler:8786")                   # register_ray; register_ray()
    with joblib.parallel_config(backend="dask"):        # or: backend="ray"
        arrays = phase_diagram.compute(False, n_jobs=-1)

Workers need `bdtheory` and this folder's parent on their path. A cell's numbers depend on its own
arguments only and are put in order by joblib, hence not on the back end or on n_jobs.

Source: theory.md, C14 (`here`), and C04 for what mixing cannot reach.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import threadpoolctl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import bdtheory as bdt
from bdtheory import Problem, Ridge
from bdtheory.tasks import Task, noisy_regression

from . import style
from .style import BDS, MIXING

SIZES = (10, 20, 40, 80, 160, 320)  # m
SHARES = (0.1, 0.3, 0.5, 0.7, 0.9)
RATIOS = (0.0, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0, 3.0, 10.0)
NOISE, MU, FOLDS = 0.1, 1e-2, 5
SHADES = ("#9ECAE1", "#6BAED6", "#3182BD", "#08519C", "#062B57")  # of shares, light to dark
METHOD = bdt.Implicit(max_iterations=10, restarts=0)  # shorter than the default: .1 s a cell
NUMBERS = ("bds_val", "bds_test", "mixing_test")


def compute(quick: bool, n_jobs: int | None = 2) -> dict[str, np.ndarray]:
    """`m` (sizes,), `share` (shares,), and each of NUMBERS as (shares, sizes, seeds).

    n_jobs is joblib's: None leaves it to `joblib.parallel_config`. Quick: 12 cells of 120.
    """
    try:
        from joblib import Parallel, delayed
    except ImportError as error:
        raise style.Skip(
            f"joblib comes with scikit-learn, which is not here ({error}); "
            'try pip install "bdtheory[sklearn]"'
        ) from None
    sizes, shares, seeds = SIZES, SHARES, 4
    if quick:
        sizes, shares, seeds = (10, 40, 320), (0.1, 0.9), 2
    cells = itertools.product(shares, sizes, range(seeds))
    rows = Parallel(n_jobs=n_jobs)(delayed(cell)(*at) for at in cells)
    table = np.array(rows).reshape(len(shares), len(sizes), seeds, len(NUMBERS))
    arrays = dict(zip(NUMBERS, np.moveaxis(table, -1, 0), strict=True))
    return {"m": np.array(sizes), "share": np.array(shares)} | arrays


def cell(share: float, m: int, seed: int) -> list[float]:
    """NUMBERS for one draw of the data; one BLAS thread, wherever it runs."""
    task = noisy_regression(seed, N=40, p=20, m=m, n_test=0, corrupt=share, noise=NOISE, mu=MU)
    problem = task.problem()
    with threadpoolctl.threadpool_limits(1):
        fit = bdt.learn_weights(problem, METHOD)
        mixed = bdt.learn_weights(problem, bdt.DirectMixing(best_ratio(task)))
    return [fit.val_loss, new_loss(task, fit.theta), new_loss(task, mixed.theta)]


def new_loss(task: Task, theta: np.ndarray) -> float:
    """L_test = E (x.theta - y)^2 / 2 = (norm(theta - theta0)^2 + NOISE^2) / 2, x ~ N(0, I)."""
    return float(np.sum((theta - task.theta0) ** 2) + NOISE**2) / 2


def best_ratio(task: Task) -> float:
    """The ratio with the least mean loss on held-out fifths of the validation data."""
    X, y = task.val
    fold, loss = np.arange(len(y)) % FOLDS, np.zeros(len(RATIOS))
    for k in range(FOLDS):
        rest = Problem(Ridge(MU), task.train, (X[fold != k], y[fold != k]))
        for j, ratio in enumerate(RATIOS):
            theta = bdt.learn_weights(rest, bdt.DirectMixing(ratio)).theta
            loss[j] += np.sum((X[fold == k] @ theta - y[fold == k]) ** 2)
    return RATIOS[int(np.argmin(loss))]


def advantage(arrays: dict[str, np.ndarray]) -> np.ndarray:
    """The median over seeds of log2 L_test(mixing) / L_test(BDS), (shares, sizes)."""
    return np.median(np.log2(arrays["mixing_test"] / arrays["bds_test"]), axis=-1)


def overfit(arrays: dict[str, np.ndarray]) -> np.ndarray:
    """The mean over seeds of L_test - L_val of the learned weights, (shares, sizes)."""
    return np.mean(arrays["bds_test"] - arrays["bds_val"], axis=-1)


def headline(arrays: dict[str, np.ndarray]) -> None:
    """C14's gap is > 0 everywhere and falls like 1/m from m = 40 = 2p on; with 10 validation rows
    BDS is ahead of mixing at 10% bad samples, and behind at 90%."""
    gap, ahead, m = overfit(arrays), advantage(arrays), arrays["m"]
    style.check(gap.min() > 0, f"the mean gap is {gap.min():.1e} in a cell; needed > 0")
    typical = np.median(gap, axis=0)
    slope = np.log(typical[-1] / typical[m == 40][0]) / np.log(m[-1] / 40)
    # 1/m + 1/(m - p - 1), the gap of least squares, has the slope -1.2 from m = 40 to 320.
    style.check(abs(slope + 1.1) < 0.3, f"the gap's slope in m is {slope:.2f}; needed -1.1 +- 0.3")
    first, last = ahead[0, 0], ahead[-1, 0]
    style.check(first > 0.5, f"10 rows, few bad: log2 of mixing over BDS is {first:.2f}; not > 0.5")
    style.check(
        last < -0.5, f"10 rows, many bad: log2 of mixing over BDS is {last:.2f}; not < -0.5"
    )


@style.styled
def draw(arrays: dict[str, np.ndarray]) -> Figure:
    """Left who is ahead on new data, right how far the validation loss is too good."""
    figure, (left, right) = style.canvas(2, width_ratios=[1.15, 1])
    _draw_phases(left, arrays)
    _draw_overfit(right, arrays)
    return figure


def _draw_phases(ax: Axes, arrays: dict[str, np.ndarray]) -> None:
    from matplotlib.colors import LinearSegmentedColormap

    colors = LinearSegmentedColormap.from_list("who", [MIXING.color, "white", BDS.color])
    ahead = advantage(arrays)
    ax.imshow(ahead, cmap=colors, vmin=-2, vmax=2, origin="lower", aspect="auto")
    for (row, column), value in np.ndenumerate(ahead):
        text = f"{value:+.1f}" if abs(value) >= 0.05 else "0"
        ax.text(column, row, text.replace("-", "−"), ha="center", va="center", fontsize=9.5)
    ax.set_xticks(range(len(arrays["m"])), [f"{m}" for m in arrays["m"]])
    ax.set_yticks(range(len(arrays["share"])), [f"{share:.0%}" for share in arrays["share"]])
    ax.grid(visible=False)
    ax.set_xlabel("validation samples m")
    ax.set_ylabel("share of useless samples")
    ax.set_title("New-data loss, log₂(mixing / BDS)", pad=24)
    place = {"transform": ax.transAxes, "fontsize": 10, "va": "bottom"}
    ax.text(0, 1.02, "blue: BDS ahead", color=style.dark(BDS.color), **place)
    ax.text(1, 1.02, "orange: mixing ahead", color=style.dark(MIXING.color), ha="right", **place)


def _draw_overfit(ax: Axes, arrays: dict[str, np.ndarray]) -> None:
    m, gap = arrays["m"], overfit(arrays)
    for share, row in zip(arrays["share"], gap, strict=True):
        shade = SHADES[SHARES.index(float(share))]
        ax.plot(m, row, color=shade, marker="o", ms=4.5, lw=1.6)
        y = row[0] * {0.9: 1.25, 0.7: 0.7}.get(float(share), 1.0)  # those two end close together
        style.write(ax, m[0] * 0.88, y, f"{share:.0%}", shade, ha="right", va="center")
    k = NOISE**2 / 2 * np.array([20 / n + 20 / (n - 21) for n in (40, 80, 160, 320)])
    ax.plot((40, 80, 160, 320), k, color=style.MUTED, ls="--", lw=1.2, zorder=3)
    style.write(ax, 72, k[1] * 0.55, "least squares, p = 20", style.MUTED, ha="right")
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlim(4.6, 400)
    ax.set_xticks(m, [f"{n}" for n in m])
    ax.set_xticks([], minor=True)
    ax.set_xlabel("validation samples m")
    ax.set_ylabel(r"mean $L_{\mathrm{test}} - L_{\mathrm{val}}$ of learned weights")
    ax.set_title(f"Overfitting of BDS ({arrays['bds_val'].shape[-1]} seeds)", pad=24)


def main(out: Path, quick: bool = False) -> Path:
    """Compute, assert the headline, draw, save."""
    arrays = compute(quick, n_jobs=1 if quick else 2)
    headline(arrays)
    return style.save(draw, arrays, out, "phase_diagram")
