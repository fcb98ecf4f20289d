"""Verdicts as one HTML page: no script, no outside request, readable on a phone and in print."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from pathlib import Path

from bdtheory.storage import draft_file

from .claim import SOURCES
from .page import badge, band, figure, interval, number, paragraph, table
from .results import digits, language, refined
from .runner import Entry, Result

STYLE = Path(__file__).with_name("report.css")
PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<title>Bilevel data selection: claims, verified numerically</title>
<style>{style}</style></head>
<body><main>{body}</main></body></html>
"""
INTRODUCTION = """Each claim is an instance of what an abstract of arXiv:2511.21056 states (v1,
v2), of what public summaries report of v1 (v1r), or an elementary fact shown here. Its setting is
stated in full. "Supported" means verified numerically: every measured number lies in the band that
the claim gives it, for every seed; with an assumption dropped the claim fails as predicted
(control); with the assumption restored it comes back (recovery). Margin: the least distance of a
number to the edge of its band, in band widths, so that 0.5 is the middle. Proof: whether Coq has
checked a core of the claim on this machine. No theorem of the paper is quoted."""
PROOFS = {
    "machine-checked": "Coq has checked these theorems on this machine; floating point, the "
    "optimiser and the model of the world are not in them",
    "not compiled here": "Theorems for Coq, not compiled on this machine",
    "on paper": "On paper only, by the argument in the documentation",
    "none": "None: what was measured is all there is",
}
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
        language(figures),
        refined(figures),
    ]
    return replace(
        folder / "index.html", PAGE.format(style=STYLE.read_text(), body="\n".join(parts))
    )


def replace(path: Path, text: str) -> Path:
    """Write a file as a whole or not at all; its path."""
    with draft_file(path) as draft:
        draft.write_text(text, encoding="utf-8")
    return path


def summary(results: Sequence[Result]) -> str:
    """The claims table, one row each, linked to the sections."""
    head = (
        "Claim",
        "Title",
        "Source",
        "Verdict",
        "Margin",
        "Control",
        "Recovery",
        "Proof",
        "Seeds",
    )
    rows = [
        [
            f'<a href="#{escape(r.claim)}">{escape(r.claim)}</a>',
            escape(r.title),
            escape(r.source),
            badge(r.verdict),
            number(r.margin),
            "failed as predicted" if r.control else "did not fail as predicted",
            "came back" if r.recovery else "did not come back",
            escape(r.proof),
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
            proof(result),
            "</section>",
        ]
    )


def proof(result: Result) -> str:
    """What is proved of the claim, each theorem in words and, folded away, in Coq."""
    rows = [
        f"<li><b>{escape(t['name'])}</b> ({escape(t['file'])}): {escape(t['words'])}"
        f"<details><summary>In Coq</summary><code>{escape(t['statement'])}</code></details></li>"
        for t in result.details["theorems"]
    ]
    head = paragraph(f"{PROOFS[result.proof]}.", label="Proof")
    return head + (f"\n<ul>{''.join(rows)}</ul>" if rows else "")


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
