"""What `refine` writes for question-response pairs: the training rows, then those generated.

The weights of all rows together have mean 1. A generated row is the training row that asks the same
with another response: same format, same further columns, but --truth, which nobody has judged.
"""

from __future__ import annotations

from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from . import report
from .console import finite
from .outputs import Places
from .pairs_input import PairData
from .pairs_output import (
    HISTORY,
    card,
    history_cells,
    result_of,
    selection_sections,
    text_of,
    untimed,
    write_manifest,
    write_result,
)
from .refinement import Refinement
from .report import Shown
from .rows import Row
from .rows import shown as short
from .selection import to_numpy
from .tasks import write_csv, write_rows
from .weighted import ending_of, scaled

COMMAND = "bdtheory refine"
SHOWN = 20  # responses before and after in the report


@dataclass(frozen=True)
class Made:
    """Generated responses of the last round.

    rows : which training row asks. texts : as decoded. ended : whether the model ended it itself.
    """

    rows: list[int]
    texts: list[str]
    ended: list[bool]

    @property
    def kept(self) -> list[int]:
        """Those with a text in them."""
        return [k for k, text in enumerate(self.texts) if text.strip()]


def write_refined(
    places: Places, args: Namespace, data: PairData, found: Refinement, made: Made
) -> dict[str, Any]:
    """All files of `refine` for pairs, into the folder, and the numbers into the --json file; these
    numbers."""
    folder = places.folder
    assert folder is not None
    N, kept = len(data.train), made.kept
    weight = weights(data, found, made)
    rows = enlarged(args, data, found, made, weight)
    write_rows(folder / f"refined{ending_of(args.train)}", rows, like=args.train)
    result = {
        "offline": result_of(data, found.offline),
        "rounds": [
            {name: finite(value[k]) for name, value in found.history.items() if name in KEPT}
            for k in range(found.rounds)
        ],
        "val_loss": found.selection.val_loss,
        "test_loss": found.selection.test_loss,
        "rows": N + len(kept),
        "generated": len(kept),
        "generated_share": float(weight[N:].sum() / weight.sum()),
        "without_text": len(made.texts) - len(kept),
        "not_ended": sum(not ended for ended in made.ended),
        "message": found.message,
    }
    cells = [
        [number, *line]
        for number, fit in ((0, found.offline), (found.rounds, found.selection))
        for line in history_cells(fit)
    ]
    write_csv(folder / "history.csv", ["round", *HISTORY], cells)
    untimed(found.offline).save(folder / "offline")
    untimed(found.selection).save(folder / "selection")
    words = f"{card(args, data, found.offline, result['offline']).strip()} {more(args, result)}\n"
    (folder / "model-card.md").write_text(words, encoding="utf-8")
    html = refined_report(args, data, found, made, weight, words)
    (folder / "report.html").write_text(html, encoding="utf-8")
    write_manifest(places, COMMAND, args, data, found.offline.method, result)
    write_result(places.file, result)
    return result


KEPT = ("round", "val_loss", "questions", "ess", "clipped", "empty")  # all but seconds and score


def weights(data: PairData, found: Refinement, made: Made) -> np.ndarray:
    """(N + generated,), mean 1, of the training rows and then of the generated ones."""
    w, k = to_numpy(found.selection.weights), len(made.rows)
    offline = np.zeros(len(data.train))
    if len(w) > k:  # else the offline pairs have no mass
        offline[data.rows] = w[: len(w) - k]
    both = np.concatenate([offline, w[len(w) - k :][made.kept]])
    return scaled(both, np.arange(len(both)), len(both))


def enlarged(
    args: Namespace, data: PairData, found: Refinement, made: Made, weight: np.ndarray
) -> list[Row]:
    """The rows of the new data set."""
    kind, N = data.train.kind, len(data.train)
    rows = [row | {"generated": False, "round": 0} for row in data.train.rows]
    for k in made.kept:
        row = answered(data.train.rows[made.rows[k]], kind, made.texts[k])
        if args.truth is not None:
            row[args.truth] = None
        rows.append(row | {"generated": True, "round": found.rounds})
    assert len(rows) == len(weight) and N <= len(rows)
    return [row | {"weight": float(w)} for row, w in zip(rows, weight, strict=True)]


def answered(row: Row, kind: str, text: str) -> Row:
    """The row with another response.

    Examples
    --------
    >>> answered({"question": "2 + 2?", "response": "5", "id": 7}, "question/response", "4")
    {'question': '2 + 2?', 'response': '4', 'id': 7}
    """
    message = {"role": "assistant", "content": text}
    match kind:
        case "question/response":
            return row | {"response": text}
        case "messages":
            return row | {"messages": [*row["messages"][:-1], message]}
        case _:
            told = isinstance(row["completion"], list)
            return row | {"completion": [message] if told else text}


# Words -------------------------------------------------------------------------------------------


def more(args: Namespace, result: dict[str, Any]) -> str:
    """What the rounds add to the paragraph of the selection."""
    return " ".join(
        f"""\
Then {len(result["rounds"])} round(s) of self-refining: the model answered the questions of lowest
weight again (a share of {args.share:g} of them, {args.responses} response(s) each, temperature
{args.temperature:g}), and was trained from its start on validation pairs, training pairs and these
responses. {result["generated"]} generated responses of the last round are part of the data, with
{result["generated_share"]:.0%} of the weight; {result["not_ended"]} were cut at {args.max_new}
tokens. Nobody has checked them: what the model cannot answer, it does not learn from its own
answers. The validation loss after the last round is {result["val_loss"]:.4g}.""".split()
    )


def refined_report(
    args: Namespace,
    data: PairData,
    found: Refinement,
    made: Made,
    weight: np.ndarray,
    words: str,
) -> str:
    """report.html of `refine`."""
    N, offline = len(data.train), found.offline
    own = scaled(to_numpy(offline.weights), data.rows, N)
    pairs = [
        Shown(
            data.train.places[made.rows[k]],
            float(weight[N + at]),
            {
                "prompt": text_of(data.train.prompts[made.rows[k]]),
                "before": data.train.completions[made.rows[k]],
                "generated": made.texts[k],
            },
        )
        for at, k in enumerate(made.kept[:SHOWN])
    ]
    last = found.selection
    values = {"rounds": f"{found.rounds}", "validation loss after": f"{last.val_loss:.4g}"}
    if last.test_loss is not None:
        values["held-out loss after"] = f"{last.test_loss:.4g}"
    values["generated rows"] = f"{len(made.kept)}"
    result = result_of(data, offline)
    sections = [
        ("After the rounds", report.numbers(values)),
        (f"{len(pairs)} responses before and after", report.table(pairs)),
        *[(f"{head} (before the rounds)", html) for head, html in
          selection_sections(data, offline, result, own)],
        ("For a model card", report.paragraph(words)),
    ]  # fmt: skip
    title = f"Self-refining: {Path(args.train).name}"
    return report.page(title, f"{offline.method}, seed {args.seed}. {found.message}.", sections)


def print_refined(stream: TextIO, data: PairData, result: dict[str, Any], made: Made) -> None:
    """The numbers, and a few responses before and after."""
    offline = result["offline"]
    test = "" if result["test_loss"] is None else f"; test loss {result['test_loss']:#.4g}"
    lines = [
        f"{offline['method']}: {result['message']}",
        f"validation loss  {offline['val_loss_start']:#.4g} at the start, "
        f"{offline['val_loss']:#.4g} offline, {result['val_loss']:#.4g} after the rounds{test}",
        f"generated rows   {result['generated']} of {result['rows']}, with "
        f"{result['generated_share']:.0%} of the weight; {result['not_ended']} not ended, "
        f"{result['without_text']} without text, left out",
        "before -> generated:",
    ]
    for k in made.kept[:5]:
        row = made.rows[k]
        lines.append(
            f"  {data.train.places[row]}  {short(data.train.completions[row])} -> "
            f"{short(made.texts[k])}"
        )
    stream.write("\n".join(lines) + "\n")
