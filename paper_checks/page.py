"""Pieces of an HTML page: figures inside it, tables, paragraphs, numbers. All text is escaped."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path


def figure(figures: Path, name: str, alt: str) -> str:
    """The SVG of that name inside the page, as data; "" where there is none."""
    path = figures / f"{name}.svg"
    if not name or not path.is_file():
        return ""
    data = base64.b64encode(path.read_bytes()).decode("ascii")
    return f'<img alt="Figure: {escape(alt)}" src="data:image/svg+xml;base64,{data}">'


def table(head: Iterable[str], rows: Iterable[Sequence[str]]) -> str:
    """An HTML table that scrolls by itself where the screen is narrow; cells are HTML."""
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "\n".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    top, body = f"<thead><tr>{top}</tr></thead>", f"<tbody>{body}</tbody>"
    return f'<div class="wide"><table>{top}\n{body}</table></div>'


def paragraph(text: str, *, label: str = "", kind: str = "") -> str:
    """The text, escaped, after a bold label; "" for no text."""
    start = f"<strong>{escape(label)}.</strong> " if label else ""
    return f'<p class="{kind}">{start}{escape(text)}</p>' if text else ""


def badge(word: str) -> str:
    return f'<span class="badge {escape(word)}">{escape(word)}</span>'


def number(value: float | None) -> str:
    """Four significant digits; "" for None."""
    if value is None:
        return ""
    return str(int(value)) if float(value).is_integer() and abs(value) < 1e6 else f"{value:.4g}"


def band(low: float, high: float) -> str:
    """ "c ± h" where the band is narrow or around 0, else "low to high"."""
    centre, half = (low + high) / 2, (high - low) / 2
    narrow = half <= 0.01 * abs(centre) or abs(centre) <= 1e-9 * half
    return f"{number(round(centre, 12))} ± {number(half)}" if narrow else interval((low, high))


def interval(ends: Sequence[float | None] | None) -> str:
    """ "a to b", or one number where both print the same."""
    low, high = (number(end) for end in ends) if ends else ("", "")
    return low if low == high else f"{low} to {high}"
