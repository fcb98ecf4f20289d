"""One style for all figures: a colour for every method, sizes, and files with reproducible bytes.

Colours are those of Okabe and Ito (2008), which colour-blind readers can tell apart; every method
has a marker of its own as well. Nothing here touches pyplot or leaves a global setting behind.
"""

from __future__ import annotations

import functools
import io
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import matplotlib.colors
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


class Look(NamedTuple):
    """How one thing looks wherever it is drawn."""

    color: str
    marker: str
    label: str


# Implicit and Penalty solve the bilevel problem (BDS); BMO is its multi-objective sibling.
LOOKS = {
    "Implicit": Look("#0072B2", "o", "Implicit (BDS)"),
    "Penalty": Look("#56B4E9", "D", "Penalty (BDS)"),
    "Auto": Look("#882255", "*", "Auto"),
    "BMO": Look("#009E73", "^", "BMO"),
    "DirectMixing": Look("#E69F00", "s", "direct mixing"),
    "ValidationOnly": Look("#CC79A7", "P", "validation only"),
    "Uniform": Look("#8C8C8C", "v", "uniform"),
    "useful": Look("#222222", "o", "useful"),
    "useless": Look("#D55E00", "X", "useless"),
}
BDS = LOOKS["Implicit"]
MIXING = LOOKS["DirectMixing"]
MUTED = "#5A5A5A"
FLOOR = "#EFEFEF"

RC: Any = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so every machine draws the same letters
    "font.size": 11.0,
    "axes.titlesize": 11.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 9.0,
    "axes.labelsize": 11.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.8,
    "lines.linewidth": 2.0,
    "lines.markersize": 6.0,
    "xtick.labelsize": 10.0,
    "ytick.labelsize": 10.0,
    "legend.frameon": False,
    "legend.fontsize": 10.0,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "svg.fonttype": "path",  # letters as outlines: no font is looked up where the file is shown
    "svg.hashsalt": "bdtheory",
}


def styled(draw: Callable[..., Any]) -> Callable[..., Any]:
    """`draw` with matplotlib's settings replaced by `RC` while it runs."""

    @functools.wraps(draw)
    def inside(*args: Any, **kwargs: Any) -> Any:
        with matplotlib.rc_context():
            matplotlib.rcdefaults()
            matplotlib.rcParams.update(RC)
            return draw(*args, **kwargs)

    return inside


def canvas(columns: int = 1, rows: int = 1, *, height: float = 3.9, **more: Any):
    """(Figure 8.4 inches wide, its Axes as `Figure.subplots` returns them)."""
    figure = Figure(figsize=(8.4, height), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.1, h_pad=0.08, wspace=0.05, hspace=0.05)  # type: ignore[union-attr]
    return figure, figure.subplots(rows, columns, **more)


def write(ax: Axes, x: float, y: float, text: str, color: str, **more: Any) -> None:
    """A direct label in data coordinates, on a white ground so that no line crosses it."""
    ground = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1.0}
    ax.text(x, y, text, **{"color": color, "fontsize": 10, "bbox": ground, "zorder": 6} | more)


def dark(color: str) -> str:
    """The colour at 70% brightness, for letters on white."""
    red, green, blue = matplotlib.colors.to_rgb(color)
    return matplotlib.colors.to_hex((0.7 * red, 0.7 * green, 0.7 * blue))


def floor(ax: Axes, bottom: float, top: float, text: str, *, x: float = 0.03) -> float:
    """A grey strip below a logarithmic y-axis for what is 0, or too small to show.

    The text goes to its upper third; returned is the height of its lower third, for data. Ticks
    inside the strip are removed: heights there mean nothing.
    """
    ax.set_ylim(bottom=bottom)
    ax.axhspan(bottom, top, color=FLOOR, zorder=0.5, linewidth=0)
    high = ax.get_ylim()[1]
    decades = np.arange(np.ceil(np.log10(top) + 1e-9), np.floor(np.log10(high) + 1e-9) + 1)
    ax.set_yticks(10.0 ** decades[:: 1 + len(decades) // 7])
    ax.set_yticks([], minor=True)
    ax.set_ylim(bottom, high)
    place, upper = ax.get_yaxis_transform(), bottom ** (1 / 4) * top ** (3 / 4)
    ax.text(x, upper, text, transform=place, va="center", fontsize=9.5, color=MUTED, zorder=7)
    return bottom ** (2 / 3) * top ** (1 / 3)


def check(holds: Any, message: str) -> None:
    """AssertionError with the message unless it holds; stays when Python runs with -O."""
    if not bool(holds):
        raise AssertionError(message)


class Skip(Exception):
    """A figure that cannot be made here, and why."""


@styled
def save(figure: Figure, folder: Path, name: str) -> Path:
    """Write name.svg and name.png; the same figure gives the same bytes. Returns the SVG's path."""
    folder.mkdir(parents=True, exist_ok=True)
    FigureCanvasAgg(figure)
    svg, png = io.BytesIO(), io.BytesIO()
    metadata = {"Date": None, "Creator": "bdtheory", "Title": name}
    figure.savefig(svg, format="svg", metadata=metadata)
    figure.savefig(png, format="png", dpi=160, metadata={"Software": None, "Title": name})
    replace(folder / f"{name}.png", png.getvalue())
    return replace(folder / f"{name}.svg", svg.getvalue())


def save_numbers(folder: Path, name: str, numbers: dict[str, Any]) -> Path:
    """Write name.json; its path. Raises ValueError for nan and infinity, which JSON has not."""
    text = json.dumps(numbers, indent=1, allow_nan=False) + "\n"
    return replace(folder / f"{name}.json", text.encode())


def replace(path: Path, content: bytes) -> Path:
    """Write a file as a whole or not at all: a temporary one, then a rename."""
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path
