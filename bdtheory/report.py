"""One HTML file that shows what was done with a data set: numbers, pictures, pairs with their text.

The file asks for nothing outside itself, runs no script, and says so to the browser; whatever text
it shows is escaped. Pictures are SVG by matplotlib, without dates and random ids, so that the same
result gives the same bytes.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from .drawing import BAD, LOSS
from .selection import Selection

SHORT = 90  # characters of a text before it is folded
INK = "#010203"  # drawn in this colour, then in that of the page's text
RC: Any = {
    "svg.fonttype": "none",  # letters stay text
    "font.family": "sans-serif",
    "font.size": 11.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    **dict.fromkeys(
        ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK
    ),
}


@dataclass(frozen=True)
class Shown:
    """A pair in a table: where it stands, its weight, and its texts by the column's name."""

    place: str
    weight: float
    texts: dict[str, str]


def page(title: str, lead: str, sections: Sequence[tuple[str, str]]) -> str:
    """The whole file. title, lead: texts; sections: headings (texts) with their HTML."""
    body = "\n".join(f"<h2>{escape(head)}</h2>\n{html}" for head, html in sections)
    return PAGE.format(title=escape(title), style=STYLE, lead=escape(lead), body=body)


def numbers(values: dict[str, str]) -> str:
    """Names and numbers, as HTML."""
    cells = (
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>"
        for name, value in values.items()
    )
    return f"<dl>{''.join(cells)}</dl>"


def paragraph(text: str) -> str:
    """A text as a paragraph of HTML."""
    return f"<p>{escape(text)}</p>"


def table(pairs: Sequence[Shown]) -> str:
    """Pairs as an HTML table; a long text is folded, a click shows it."""
    columns = list(pairs[0].texts) if pairs else []
    lines = [
        [escape(p.place), f"{p.weight:.3g}", *(folded(text) for text in p.texts.values())]
        for p in pairs
    ]
    return _table(["row", "weight", *columns], lines)


def grid(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Lines of texts under a heading, as an HTML table."""
    return _table(head, [[escape(cell) for cell in cells] for cells in lines])


def _table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A heading of texts, and lines of cells that are HTML."""
    first = "".join(f"<th>{escape(name)}</th>" for name in head)
    rows = "\n".join(f"<tr>{''.join(f'<td>{c}</td>' for c in cells)}</tr>" for cells in lines)
    return f'<div class="wide"><table><tr>{first}</tr>\n{rows}\n</table></div>'


def folded(text: str) -> str:
    """The text as HTML, behind its beginning where it is long or has several lines."""
    line = " ".join(text.split())
    if len(line) <= SHORT and "\n" not in text.strip():
        return escape(line)
    return (
        f"<details><summary>{escape(line[:SHORT])} …</summary><pre>{escape(text)}</pre></details>"
    )


# Pictures ----------------------------------------------------------------------------------------


def histogram(weights: np.ndarray, clean: np.ndarray | None) -> str:
    """How many pairs have which weight (n,), mean about 1, on a logarithmic axis, as SVG.

    clean : bool (n,), or None; the two kinds then have a colour each. Weights of 0, and those
    below a millionth of the largest, are counted at the left edge.
    """
    w, edges = bins(weights)
    parts = [("all rows", np.ones(len(w), bool), LOSS)]
    if clean is not None:
        parts = [("good", clean, LOSS), ("others", ~clean, BAD)]

    def draw(ax: Any) -> None:
        label = [f"{name} ({int(part.sum())})" for name, part, _ in parts]
        color = [color for *_, color in parts]
        ax.hist([w[part] for _, part, _ in parts], edges, stacked=True, color=color, label=label)
        ax.axvline(1.0, color=INK, linewidth=0.8, linestyle=":")
        ax.set(xscale="log", xlabel="weight (1 is the mean)", ylabel="rows")
        ax.legend()

    label = f"Histogram of {len(w)} weights from {weights.min():.3g} to {weights.max():.3g}"
    return _svg(draw, "histogram", label)


def bins(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(weights (n,) as they are counted, the edges of 30 equal bins of their logarithm).

    Examples
    --------
    >>> counted, edges = bins(np.array([0.0, 1.0, 2.0]))
    >>> counted.tolist(), len(edges)
    ([0.5, 1.0, 2.0], 31)
    """
    top = max(float(weights.max()), 1.0)
    least = float(weights[weights > 0].min(initial=top))
    low = min(max(least, 1e-6 * top), 0.5)  # the mean, 1, is in sight
    return np.clip(weights, low, None), np.geomspace(0.9 * low, 1.1 * top, 31)


def curves(fit: Selection) -> tuple[str, str]:
    """Losses, and the effective sample size, over the steps of a run, as two SVGs."""
    step = fit.history["iteration"]

    def losses(ax: Any) -> None:
        ax.plot(step, fit.history["val_loss"], ".-", color=LOSS, label="validation, L_val")
        ax.plot(step, fit.history["train_loss"], ".-", color=BAD, label="weighted training, F_w")
        ax.set(xlabel="step", ylabel="loss (nats)")
        ax.legend()
        ax.xaxis.get_major_locator().set_params(integer=True)

    def sizes(ax: Any) -> None:
        ax.plot(step, fit.history["ess"], ".-", color=LOSS)
        ax.axhline(len(fit.weights), color=INK, linewidth=0.8, linestyle=":")
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.set(xlabel="step", ylabel="effective sample size", ylim=(0, 1.05 * len(fit.weights)))

    first, last = fit.history["val_loss"][0], fit.val_loss
    return (
        _svg(losses, "losses", f"Validation loss from {first:.4g} to {last:.4g}"),
        _svg(sizes, "sizes", f"Effective sample size, at the end {fit.history['ess'][-1]:.4g}"),
    )


def losses_by_method(
    names: Sequence[str], val: Sequence[float], test: Sequence[float] | None
) -> str:
    """Losses of methods, one line each, the first at the top, as SVG: test filled, validation open.

    test : None where there is none.
    """
    places = np.arange(len(names))
    shown = val if test is None else test

    def draw(ax: Any) -> None:
        if test is not None:
            ax.plot(test, places, "o", color=LOSS, label="test")
        ax.plot(val, places, "o", color=BAD, fillstyle="none", label="validation")
        # The user's own texts: a long one would leave the axes no room.
        ax.set_yticks(places, [_begun(name) for name in names], parse_math=False)
        ax.set_ylim(len(names) - 0.5, -0.5)
        ax.grid(axis="y", linewidth=0.3)
        ax.set(xlabel="loss (nats)")
        ax.legend()

    label = "; ".join(f"{n} {v:.4g}" for n, v in zip(names, shown, strict=True))
    kind = "Validation" if test is None else "Test"
    height = max(3.0, 1.0 + 0.3 * len(names))
    return _svg(draw, "compared", f"{kind} loss of each method: {label}", height)


def _begun(name: str, size: int = 40) -> str:
    """The name, or its beginning."""
    return name if len(name) <= size else f"{name[: size - 1]}…"


def _svg(draw: Any, name: str, label: str, height: float = 3.0) -> str:
    """One picture for a page: no size of its own, no date, the ids of `name`."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(RC | {"svg.hashsalt": name})
        figure = Figure(figsize=(5.0, height), layout="constrained")
        draw(figure.subplots())
        file = io.StringIO()
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    text = file.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'id="([^"]*)"', rf'id="{name}-\1"', text)
    text = re.sub(r'(xlink:href="|url\()#', rf"\1#{name}-", text)
    text = text.replace("<svg", f'<svg role="img" aria-label="{escape(label)}"', 1)
    return text.replace(INK, "currentColor").strip()


STYLE = """
:root { color-scheme: light dark; --back: #fff; --ink: #1c1c1c; --line: #d8d8d8; --soft: #666; }
@media (prefers-color-scheme: dark) {
  :root { --back: #16181b; --ink: #e6e6e6; --line: #3c4046; --soft: #a0a6ad; }
}
body { background: var(--back); color: var(--ink); font: 16px/1.5 system-ui, sans-serif;
  max-width: 60rem; margin: 0 auto; padding: 1rem; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(10rem, 1fr)); gap: .8rem; }
dl div { border-top: 1px solid var(--line); padding-top: .3rem; }
dt { color: var(--soft); font-size: .85rem; } dd { margin: 0; font-size: 1.2rem; }
svg { display: block; width: 100%; max-width: 38rem; height: auto; color: var(--ink); }
.wide { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-size: .9rem; }
th, td { text-align: left; vertical-align: top; padding: .35rem .5rem;
  border-top: 1px solid var(--line); min-width: 3.5rem; }
td:nth-child(-n+2) { white-space: nowrap; }
th { color: var(--soft); font-weight: normal; } summary { cursor: pointer; }
pre { white-space: pre-wrap; margin: .4rem 0; }
"""

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<h1>{title}</h1>
<p>{lead}</p>
{body}
</body>
</html>
"""
