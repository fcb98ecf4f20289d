"""Empirical results beside the claims, from JSON files of figures: digits, language, refined."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from .page import figure, interval, number, paragraph, table

# Columns of the language tables that are not kinds of questions, and what they are called.
MEASURES = {
    "over_refusal": "harmless refused",
    "test_loss": "L_test",
    "auc": "AUC",
    "ess": "ESS",
    "questions": "questions",
    "clean": "mass on clean",
    "used": "w over its bound",
}
LANGUAGE = """Fine-tuning data with bad responses, a small pretrained transformer, a few trusted
validation pairs. Scores are shares of right responses to questions that were asked nowhere before,
sampled greedily; means over seeds, with 95% t-intervals in brackets. Questions: the effective
number, exp of the entropy of the question masses. The last column is the largest weight of a pair
that contradicts a validation answer, over the bound of C18: at most 1."""
REFINED = """The same tasks, seeds and steps. Online: rounds in which the model answers training
questions anew, and is trained on its responses. Combined: these beside the selected offline pairs.
Questions: the effective number in the last round. What wins depends on what is scored: the kinds of
question that offline selection discards, or those that only offline pairs show."""


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


def language(figures: Path) -> str:
    """Offline selection on the language tasks, from offline_language.json; "" without."""
    path = figures / "offline_language.json"
    if not path.is_file():
        return ""
    found = json.loads(path.read_text(encoding="utf-8"))
    parts = [
        '<section id="language"><h2>Question-response data, offline</h2>',
        paragraph(LANGUAGE),
        figure(figures, "offline_language", "outcome by method on both tasks"),
    ]
    parts += language_tables(found["rows"])
    parts += ["<h3>Paired differences of the score that selection is for</h3>"]
    parts += [
        paragraph("; ".join(f"{t}: mean of {' and '.join(k)}" for t, k in found["aims"].items()))
    ]
    parts += [differences(found["leads"]), paragraph(found["note"])]
    parts += [figure(figures, "language_weights", "weights of good and bad pairs over training")]
    return "\n".join([*parts, "</section>"])


def refined(figures: Path) -> str:
    """Self-refining on the language tasks, from refined_language.json; "" without."""
    path = figures / "refined_language.json"
    if not path.is_file():
        return ""
    found = json.loads(path.read_text(encoding="utf-8"))
    head = ("Task", "Question", "Offline response", "First round", "Last round")
    asked = [
        [escape(row[key]) for key in ("task", "question", "offline", "first", "last")]
        for row in found["examples"]
    ]
    parts = [
        '<section id="refined"><h2>Question-response data, online</h2>',
        paragraph(REFINED),
        figure(figures, "refined_language", "outcome by method, questions by round"),
        *language_tables(found["rows"]),
        "<h3>Paired differences, combined less other methods</h3>",
        differences(found["leads"]),
        paragraph(found["note"]),
        "<h3>Training responses before and after</h3>",
        table(head, asked),
    ]
    return "\n".join([*parts, "</section>"])


def differences(leads: dict[str, Sequence[float]]) -> str:
    """A table of paired differences by name."""
    rows = [[escape(name), estimate(three)] for name, three in leads.items()]
    return table(("Difference", "mean [interval]"), rows)


def language_tables(rows: Sequence[dict[str, Any]]) -> list[str]:
    """A table for each task and start, in the order of the rows."""
    pairs = dict.fromkeys((row["task"], row["start"]) for row in rows)
    return [
        language_table([row for row in rows if row["task"] == task], start) for task, start in pairs
    ]


def language_table(rows: Sequence[dict[str, Any]], start: str) -> str:
    """The methods on one task from one start: scores by kind, then `MEASURES` where they exist."""
    mine = [row for row in rows if row["start"] == start]
    known = {"task", "start", "method", "seeds", "aim", "ratio", *MEASURES}
    kinds = [key for key in mine[0] if key not in known]
    measures = [key for key in MEASURES if any(any(row.get(key) or ()) for row in mine)]
    cells = [
        [escape(method_name(row)), *(estimate(row.get(key)) for key in [*kinds, *measures])]
        for row in mine
    ]
    head = ("Method", *kinds, *(MEASURES[key] for key in measures))
    title = f"{mine[0]['task']}, {start} start, {mine[0]['seeds']} seeds"
    return f"<h3>{escape(title)}</h3>\n{table(head, cells)}"


def method_name(row: dict[str, Any]) -> str:
    """The method, with the mean of the ratios that were chosen for direct mixing."""
    ratio = row.get("ratio")
    return row["method"] + (f", ratio {number(ratio[0])} on average" if ratio else "")


def estimate(three: Sequence[float] | None) -> str:
    """ "mean [low, high]", two decimals where numbers are of the size of 1; "" for None."""
    if three is None:
        return ""
    mean, low, high = (f"{x:.2f}" if abs(three[0]) < 100 else f"{x:.0f}" for x in three)
    return f"{mean} [{low}, {high}]"
