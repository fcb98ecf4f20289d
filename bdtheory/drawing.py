"""Small pictures of a `Selection`: how the validation loss went, and which samples got weight.

See plots.py, which is what to import from; this stands below, so that `Selection.plot` can use it.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .problem import Array
from .selection import Selection, to_numpy

# Okabe and Ito's colours, the same as in the figures.
LOSS, CLEAN, BAD, FLOOR = "#0072B2", "#222222", "#D55E00", "#EFEFEF"


def plot_history(selection: Selection, ax: Any = None) -> Any:
    """Re-fitted validation loss after each outer step, and the best so far, which is returned.

    Parameters
    ----------
    selection : a `Selection`.
    ax : matplotlib Axes to draw into; None makes a new figure (`ax.figure`).

    Returns the Axes. The y-axis is logarithmic unless a loss is 0.

    Examples
    --------
    >>> import numpy as np, bdtheory as bdt
    >>> X, y = np.ones((3, 1)), np.array([0.0, 0.0, 3.0])
    >>> problem = bdt.Problem(bdt.Ridge(mu=1e-2), train=(X, y), val=(X[:2], y[:2] + 0.5))
    >>> ax = plot_history(bdt.learn_weights(problem, bdt.Implicit()))
    >>> ax.get_xlabel()
    'outer step'
    """
    ax = axes_of(ax)
    step, loss = (np.asarray(selection.history[key]) for key in ("iteration", "val_loss"))
    ax.plot(step, loss, ".", color=LOSS, alpha=0.5, label="this step")
    ax.plot(step, np.fmin.accumulate(loss), color=LOSS, drawstyle="steps-post", label="best so far")
    if len(loss) and np.fmin.reduce(loss) > 0:
        ax.set_yscale("log")
    ax.set(xlabel="outer step", ylabel="validation loss (mean per sample)")
    name = selection.method.partition("(")[0]
    ax.set_title(f"{name}: {selection.status.value}", loc="left", fontsize="medium")
    ax.legend(frameon=False)
    return ax


def plot_weights(selection: Selection, clean: Array | None = None, ax: Any = None) -> Any:
    """Weights from the largest to the smallest on a logarithmic axis, exact zeros in a strip below.

    Parameters
    ----------
    selection : a `Selection`.
    clean : bool (N,), optional: which samples are known to be clean; they get a colour of their
        own, and the title says how much weight they carry together.
    ax : matplotlib Axes to draw into; None makes a new figure (`ax.figure`).

    Returns the Axes. Raises ValueError for a `clean` of another shape.

    Examples
    --------
    >>> import numpy as np, bdtheory as bdt
    >>> X, y = np.ones((3, 1)), np.array([0.0, 0.0, 3.0])
    >>> problem = bdt.Problem(bdt.Ridge(mu=1e-2), train=(X, y), val=(X[:2], y[:2]))
    >>> ax = plot_weights(bdt.learn_weights(problem, bdt.Implicit()), clean=y == 0)
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['clean (2)', 'bad (1)']
    """
    w = to_numpy(selection.weights).astype(np.float64)
    known = None if clean is None else _mask(clean, len(w))
    ax, order = axes_of(ax), np.argsort(-w, kind="stable")
    lowest = math.floor(math.log10(w[w > 0].min()))
    zero = 10.0 ** (lowest - 1.5)
    height, rank = np.where(w > 0, w, zero)[order], np.arange(1, len(w) + 1)
    parts = [(None, np.ones(len(w), bool), LOSS)]
    if known is not None:
        parts = [("clean", known[order], CLEAN), ("bad", ~known[order], BAD)]
    for name, part, color in parts:
        label = None if name is None else f"{name} ({part.sum()})"
        ax.plot(rank[part], height[part], ".", color=color, label=label)
    ax.set_yscale("log")
    if np.any(w == 0):
        ax.axhspan(10.0 ** (lowest - 2), 10.0 ** (lowest - 1), color=FLOOR, zorder=0, linewidth=0)
        ax.text(1, zero, "exactly 0 ", va="center", fontsize="small")
    ax.set(xlabel="sample, from the largest weight down", ylabel="weight (share of 1)")
    if known is not None:
        share = f"{w[known].sum():.1%} of the weight on clean samples"
        ax.set_title(share, loc="left", fontsize="medium")
        ax.legend(frameon=False)
    return ax


def plot_selection(selection: Selection, clean: Array | None = None) -> Any:
    """A new Figure with `plot_weights` on the left and `plot_history` on the right."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.0, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    plot_weights(selection, clean, left)
    plot_history(selection, right)
    return figure


def _mask(clean: Array, N: int) -> np.ndarray:
    mask = to_numpy(clean)
    if mask.shape != (N,):
        raise ValueError(
            f"clean has shape {mask.shape}; needed one entry per training sample, ({N},); "
            "try task.clean"
        )
    return mask.astype(bool)


def axes_of(ax: Any) -> Any:
    """The Axes given, or those of a new figure."""
    if ax is not None:
        return ax
    from matplotlib.figure import Figure

    return Figure(figsize=(6.0, 3.6), layout="constrained").subplots()
