"""Verdicts as one HTML page: no script, no outside request, readable on a phone and in print."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

from .claim import SOURCES
from .runner import Entry, Result

STYLE = Path(__file__).with_name("report.css")
PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Bilevel data selection: claims, verified numerically</title>
<style>{style}</style></head>
<body><main>{body}</main></body></html>
"""
INTRODUCTION = """Each claim is an instance of what an abstract of arXiv:2511.21056 states (v1,
v2), of what public summaries report of v1 (v1r), or an elementary fact shown here. Its setting is
stated in full. "Supported" means verified numerically: every measured number lies in the band that
the claim gives it, for every seed; with an assumption dropped the claim fails as predicted
(control); with the assumption restored it comes back (recovery). Margin: the least distance of a
number to the edge of its band, in band widths, so that 0.5 is the middle. No theorem of the paper
is quoted."""
GROUPS = {
    "holds": "What was measured",
    "control": "What the controls did",
    "recovery": "Recovery: the assumption restored",
    "vacuity": "Something to see: the guard",
}


def write_report(
    folder: Path, entries: Sequence[Entry], results: Sequence[Result], *, figures: Path
) -> Path:
    """`folder`/index.html with every claim, and the figures that exist in `figures` inside it."""
    parts = [
        "<h1>Bilevel data selection: claims, verified numerically</h1>",
        paragraph(INTRODUCTION),
        summary(results),
        *(section(e, r, figures) for e, r in zip(entries, results, strict=True)),
        digits(figures),
    ]
    path = folder / "index.html"
    path.write_text(PAGE.format(style=STYLE.read_text(), body="\n".join(parts)), encoding="utf-8")
    return path


def summary(results: Sequence[Result]) -> str:
    """The claims table, one row each, linked to the sections."""
    head = ("Claim", "Title", "Source", "Verdict", "Margin", "Control", "Recovery", "Seeds")
    rows = [
        [
            f'<a href="#{escape(r.claim)}">{escape(r.claim)}</a>',
            escape(r.title),
            escape(r.source),
            badge(r.verdict),
            number(r.margin),
            "failed as predicted" if r.control else "did not fail as predicted",
            "came back" if r.recovery else "did not come back",
            str(r.seeds),
        ]
        for r in results
    ]
    return table(head, rows)


def section(entry: Entry, result: Result, figures: Path) -> str:
    """One claim: statement, source, figure, numbers, and what is not covered."""
    claim, parts = entry.claim, entry.parts
    source = "; ".join(f"{tag}: {SOURCES[tag]}" for tag in claim.source.split(", "))
    message = result.details["message"]
    return "\n".join(
        [
            f'<section id="{escape(claim.name)}">',
            f"<h2>{escape(claim.name)} {escape(claim.title)} {badge(result.verdict)}</h2>",
            paragraph(f"{source}.", label="Source"),
            paragraph(parts["Claim"], kind="statement"),
            paragraph(parts["Assumptions"], label="Assumptions"),
            paragraph(message, label="What went wrong", kind="untested"),
            figure(figures, claim.figure, claim.title),
            paragraph(parts["Check"], label="Check"),
            paragraph(parts["Control"], label="Control"),
            *(measured(kind, result) for kind in GROUPS),
            paragraph(parts["Not covered"], label="Not covered"),
            "</section>",
        ]
    )


def measured(kind: str, result: Result) -> str:
    """The numbers of the arms of one kind: median and interval over the seeds, band, margin."""
    rows = [row for row in result.details["measurements"] if row["kind"] == kind]
    head = ("Arm", "Quantity", "Median", "Least to greatest", "Band", "In its band", "Margin", "")
    cells = [
        [
            escape(row["arm"].removeprefix("test_").replace("_", " ")),
            escape(row["quantity"]),
            number(row["median"]),
            interval(row["interval"]),
            band(*row["band"]),
            strip(row["interval"], row["median"], row["band"]),
            number(row["margin"]),
            "" if row["holds"] else badge("outside"),
        ]
        for row in rows
    ]
    return f"<h3>{GROUPS[kind]} ({result.seeds} seeds)</h3>\n{table(head, cells)}" if rows else ""


def strip(interval: Sequence[float], median: float, band: Sequence[float]) -> str:
    """A picture of one row: the band as a box, the range over the seeds as a bar, the median a dot.

    The box spans 20 to 120 of 140 units; what lies farther out is drawn at the edge.
    """
    low, high = band

    def x(value: float) -> float:
        share = (value - low) / (high - low) if math.isfinite(value) else math.inf
        return min(max(20.0 + 100.0 * share, 3.0), 137.0)

    left, right = x(interval[0]), x(interval[1])
    return (
        '<svg class="strip" viewBox="0 0 140 16" width="140" height="16" role="img" '
        f'aria-label="median {median:.3g} in {low:.3g} to {high:.3g}">'
        '<rect x="20" y="1" width="100" height="14" fill="#0072B2" fill-opacity="0.15"/>'
        f'<line x1="{left:.1f}" x2="{right:.1f}" y1="8" y2="8" stroke="#0072B2" stroke-width="3"/>'
        f'<circle cx="{x(median):.1f}" cy="8" r="3.5" fill="#0072B2"/></svg>'
    )


def digits(figures: Path) -> str:
    """The methods on the digits, from digits.json: one table per mu, and its note; "" without."""
    path = figures / "digits.json"
    if not path.is_file():
        return ""
    found = json.loads(path.read_text(encoding="utf-8"))
    head = ("Method", "L_val, median", "interval", "L_test", "ESS", "AUC", "Implicit() lower")
    parts = [
        '<section id="digits"><h2>Handwritten digits</h2>',
        figure(figures, "digits", "digits"),
    ]
    for mu in sorted({row["mu"] for row in found["rows"]}, reverse=True):
        rows = [digits_row(row) for row in found["rows"] if row["mu"] == mu]
        parts.append(f"<h3>mu = {number(mu)}</h3>\n{table(head, rows)}")
    legend = "Last column: seeds in which Implicit() has the lower validation loss."
    return "\n".join([*parts, paragraph(legend), paragraph(found.get("note", "")), "</section>"])


def digits_row(row: dict[str, Any]) -> list[str]:
    """One method's cells; what is missing or null is left empty."""
    between = interval([row.get("val_low"), row.get("val_high")])
    values = (row.get(key) for key in ("test_loss", "ess", "auc", "wins"))
    return [
        escape(str(row["method"])),
        number(row.get("val_loss")),
        between,
        *(number(v) for v in values),
    ]


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
