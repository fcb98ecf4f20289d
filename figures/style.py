"""One style for all figures: a colour for every method, sizes, and files with reproducible bytes.

Colours are those of Okabe and Ito (2008), which colour-blind readers can tell apart; every method
has a marker of its own as well. Nothing here touches pyplot or leaves a global setting behind.
Each figure is drawn as wide as a slide or a page, on white and on dark ground, and once more with
its panels below each other for a column of text, where its letters are 9 points high.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import math
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import matplotlib.colors
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from bdtheory.storage import draft_file

from ._ground import darken


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


_COLUMN: ContextVar[bool] = ContextVar("for a column of text", default=False)


@contextlib.contextmanager
def _for_a_column() -> Iterator[None]:
    token = _COLUMN.set(True)
    try:
        yield
    finally:
        _COLUMN.reset(token)


def in_column() -> bool:
    """Whether a figure for a column of text is being drawn."""
    return _COLUMN.get()


def beside(columns: int) -> int:
    """How many of so many panels, or legend entries, stand beside each other."""
    return max(1, columns // 2) if in_column() else columns


def canvas(columns: int = 1, rows: int = 1, *, height: float = 3.9, **more: Any) -> Any:
    """(Figure 8.4 inches wide, its Axes as `Figure.subplots` returns them).

    For a column of text the figure is 4.2 inches wide, to be printed at 3.5. Its panels are of the
    same size, half as many beside each other.
    """
    width = 4.2 if in_column() else 8.4
    across = beside(columns)
    lines = math.ceil(columns / across)
    if lines > 1:
        more.pop("width_ratios", None)
    figure = Figure(figsize=(width, height * lines), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.1, h_pad=0.08, wspace=0.05, hspace=0.05)  # type: ignore[union-attr]
    squeeze = more.pop("squeeze", True)
    axes = figure.subplots(rows * lines, across, squeeze=False, **more)
    axes = axes.reshape(rows, lines * across)  # a row's panels, wherever they stand
    return figure, (axes.squeeze() if axes.size > 1 else axes.item()) if squeeze else axes


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


FILES = ("{}.svg", "{}.pdf", "{}.png", "{}-dark.svg", "{}-column.pdf")  # of every figure


def save(draw: Callable[[Any], Figure], arrays: Any, folder: Path, name: str) -> Path:
    """Draw the arrays and write FILES; the same arrays give the same bytes. The SVG's path."""
    folder.mkdir(parents=True, exist_ok=True)
    wide = _laid_out(draw(arrays))
    contents = [_bytes(wide, name, kind) for kind in ("svg", "pdf", "png")]
    darken(wide)
    contents.append(_bytes(wide, name, "svg"))
    with _for_a_column():
        narrow = draw(arrays)
        _wrap(narrow)
        contents.append(_bytes(narrow, name, "pdf"))
    paths = [folder / file.format(name) for file in FILES]
    for path, content in zip(paths, contents, strict=True):
        replace(path, content)
    return paths[0]


def _wrap(figure: Figure) -> None:
    """Titles and labels in several lines where one is too long."""
    for ax in figure.axes:
        titles = [child for child in ax.get_children() if isinstance(child, Text)]
        for text in (*titles, ax.xaxis.label):
            text.set_wrap(text not in ax.texts)
    for text in figure.texts:
        text.set_wrap(True)


@styled
def _laid_out(figure: Figure) -> Figure:
    """The figure with its layout done: once, not for each file."""
    FigureCanvasAgg(figure).draw()
    figure.set_layout_engine("none")
    return figure


@styled
def _bytes(figure: Figure, name: str, kind: str) -> bytes:
    """The figure in this format, without dates or random ids."""
    FigureCanvasAgg(figure)
    metadata = {
        "svg": {"Date": None, "Creator": "bdtheory"},
        "pdf": {"CreationDate": None, "Creator": "bdtheory"},
        "png": {"Software": None},
    }[kind]
    file = io.BytesIO()
    figure.savefig(file, format=kind, dpi=160, metadata={"Title": name} | metadata)
    return file.getvalue()


def save_numbers(folder: Path, name: str, numbers: dict[str, Any]) -> Path:
    """Write name.json; its path. Raises ValueError for nan and infinity, which JSON has not."""
    text = json.dumps(numbers, indent=1, allow_nan=False) + "\n"
    return replace(folder / f"{name}.json", text.encode())


def replace(path: Path, content: bytes) -> Path:
    """Write a file as a whole or not at all; its path."""
    with draft_file(path) as draft:
        draft.write_bytes(content)
    return path
