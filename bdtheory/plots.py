"""Small pictures of a `Selection`: how the validation loss went, and which samples got weight; and
of a `Refinement`: what its rounds did.

Each function draws into the Axes given, or into a new figure, and returns the Axes; no pyplot, so
nothing pops up and no global setting changes. Save with ``ax.figure.savefig("weights.svg")``.
matplotlib is imported on use. `Selection.plot` has both pictures of a selection side by side.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .drawing import BAD as BAD
from .drawing import CLEAN as CLEAN
from .drawing import LOSS, axes_of, plot_history, plot_weights
from .refinement import Refinement

__all__ = ["plot_history", "plot_rounds", "plot_weights"]

QUESTIONS = "#D55E00"


def plot_rounds(refinement: Refinement, ax: Any = None) -> Any:
    """Validation loss (left) and effective number of questions (right) after each round.

    Parameters
    ----------
    refinement : a `Refinement`.
    ax : matplotlib Axes to draw into; None makes a new figure (`ax.figure`).

    Returns the Axes of the loss, which begins with that of offline selection, round 0; the y-axis
    is logarithmic unless a loss is 0. The number of questions has an axis of its own, from 0.
    Where the rounds were scored, the score stands beside each loss.

    Examples
    --------
    >>> import numpy as np, bdtheory as bdt
    >>> from bdtheory.models import LinearGaussian
    >>> model = LinearGaussian(s=0.1, start=np.zeros(1))
    >>> problem = bdt.Problem(model, train=([[1.0], [2.0]], [3.0, 6.0]), val=([[1.0]], [1.0]))
    >>> ax = plot_rounds(bdt.refine(problem, bdt.BMO(), rounds=2))
    >>> [text.get_text() for text in ax.get_xticklabels()]
    ['offline', '1', '2']
    """
    ax, history = axes_of(ax), refinement.history
    r, loss, offline = history["round"], history["val_loss"], refinement.offline.val_loss
    # No line from offline to round 1: rounds begin with the model's start.
    ax.plot([0], [offline], "o", color=LOSS, fillstyle="none")
    ax.plot(r, loss, "o-", color=LOSS)
    if np.fmin.reduce(np.append(loss, offline)) > 0:
        ax.set_yscale("log")
    ax.margins(0.1, 0.15)
    for k, score in enumerate(history["score"]):
        if np.isfinite(score):
            text = f"{score:.3g}" if k else f"score {score:.3g}"
            above = {"xytext": (0, 7), "textcoords": "offset points", "ha": "center"}
            ax.annotate(text, (r[k], loss[k]), color=LOSS, fontsize="small", **above)
    ax.set_xticks([0, *r], ["offline", *map(str, r)])
    ax.set_xlabel("round")
    ax.set_ylabel("validation loss (mean per sample)", color=LOSS)
    right = ax.twinx()
    right.plot(r, history["questions"], "s--", color=QUESTIONS)
    right.margins(y=0.15)
    right.set_ylim(bottom=0)
    right.set_ylabel("effective number of questions", color=QUESTIONS)
    name = refinement.selection.method.partition("(")[0]
    ax.set_title(f"{name}: {refinement.message}", loc="left", fontsize="medium")
    return ax
