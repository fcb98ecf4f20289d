"""`bdtheory compare` on question-response pairs: baselines, scores of other tools, learned weights.

Every method trains the same model from the same start for as many steps, on the same files, and is
judged on the same validation and test pairs. From here to the loss, reading down: compare_pairs ->
measured -> methods/train.py -> models/huggingface.py.
"""

from __future__ import annotations

import math
import sys
import textwrap
import time
from argparse import Namespace
from pathlib import Path
from typing import Any, TextIO

from . import report
from .cli_compare import given
from .cli_pairs import PAIRS, TABLES, settle
from .console import Row, cells_of, row_of, write_table
from .inputs import settle_scores
from .methods import DirectMixing, Uniform, ValidationOnly, learn_weights
from .outputs import Places, outputs, write_rows_of
from .pairs_input import PairData, load_pairs, method_of
from .pairs_output import unit, write_manifest
from .pairs_run import Steps, explained, notes_on, say
from .problem import Problem
from .selection import Status, as_text

COMMAND = "bdtheory compare"
# What learned methods, at the settings of `select`, let the training pairs count beside L_val = 1.
RATIO = 1.0
OWN: dict[str, Any] = {
    **{name: PAIRS[name] for name in PAIRS if name not in ("method", "resume", "dry_run")},
    "ratios": [RATIO],
}
# What options for tables are where nobody gave them.
NOT_GIVEN = {"model": "auto", "mu": 1e-2, "intercept": False}


def compare_pairs(args: Namespace) -> None:
    """Every method on one problem: a table, and files where asked for."""
    for name, default in NOT_GIVEN.items():
        if getattr(args, name) == default:
            setattr(args, name, None)
    settle(args, OWN, TABLES, "pairs")
    settle_scores(args)
    baselines = [ValidationOnly(), Uniform(), *[DirectMixing(ratio) for ratio in args.ratios]]
    learned = [method_of(Namespace(method=name)) for name in ("penalty", "bmo")]
    with outputs(args, COMMAND) as places:
        try:
            data = load_pairs(args, ())
            say(data.notes(), sys.stderr)
            scores = ((score, values[data.rows]) for score, values in data.scores.items())
            methods = [*baselines, *given(args, scores, RATIO), *learned]
            rows = measured(data, methods, args.seed)
        except (RuntimeError, OSError, MemoryError) as error:
            if reason := explained(error, args):
                raise ValueError(reason) from error
            raise
        write_compared(places, args, data, rows)
    print_compared(sys.stdout, args, data, rows)


def measured(data: PairData, methods: list[Any], seed: int) -> list[Row]:
    """A row for each method; which one is running, and what to know of it, on standard error."""
    problem, rows = data.problem(), []
    for part in (problem.val, problem.train):
        problem.model.remember(part)  # the frozen layers, once, in no method's time
    for number, method in enumerate(methods, start=1):
        sys.stderr.write(f"method {number} of {len(methods)}: {as_text(method)}\n")
        rows.append(_measured(data, problem, method, seed))
    return rows


def _measured(data: PairData, problem: Problem, method: Any, seed: int) -> Row:
    start = time.process_time()
    with Steps(sys.stderr, data.model.training.steps) as line:
        fit = learn_weights(problem, method, seed=seed, callback=line.callback)
    notes = [fit.message] if fit.status is Status.DIVERGED else notes_on(fit)
    say([f"{fit.method}: {note}" for note in notes], sys.stderr)
    return row_of(fit, data.clean, time.process_time() - start)


def write_compared(places: Places, args: Namespace, data: PairData, rows: list[Row]) -> None:
    """compare.csv, compare.json, report.html and manifest.json, and the --json file."""
    write_rows_of(places, rows)
    if places.folder is not None:
        html = compared_report(args, data, rows)
        (places.folder / "report.html").write_text(html, encoding="utf-8")
        lasting = [row.as_json() for row in rows]
        for row in lasting:
            del row["seconds"]  # all else is the same in every run
        names = [row.method for row in rows]
        write_manifest(places, COMMAND, args, data, names, {"rows": lasting})


def compared_report(args: Namespace, data: PairData, rows: list[Row]) -> str:
    """report.html: the table without seconds, a picture of the losses, and how to read them."""
    test, truth = "test" in data.pairs, data.clean is not None
    head, *lines = cells_of(rows, test, truth, skip=("status", "seconds"))
    names = [row.method for row in rows]
    val = [math.nan if row.val_loss is None else row.val_loss for row in rows]
    held = [math.nan if row.test_loss is None else row.test_loss for row in rows]
    sections = [
        ("Numbers", report.grid(head, lines)),
        ("Losses", report.losses_by_method(names, val, held if test else None)),
        ("How to read this", report.paragraph(" ".join(reading(args, data)))),
    ]
    title = f"Methods compared: {Path(args.train).name}"
    return report.page(title, f"{headline(data)}; seed {args.seed}.", sections)


def headline(data: PairData) -> str:
    """What was computed on: data, sizes, steps."""
    test = f", {len(data.pairs['test'])} test" if "test" in data.pairs else ""
    bad = "" if data.clean is None else f" ({int((~data.clean).sum())} of them known to be bad)"
    return (
        f"{Path(data.train.name).name}: {len(data.rows)} training{bad}, {len(data.pairs['val'])} "
        f"validation{test} pairs; {data.model.training.steps} steps for each method"
    )


def reading(args: Namespace, data: PairData) -> list[str]:
    """What stands under the table: what the columns mean, and what they do not. In sentences."""
    N, found = len(data.rows), []
    found.append(f"* lowest validation loss. Losses are in nats per {unit(args.normalise)}.")
    found.append(f"ess: how many equally weighted rows, of {N}, the weights amount to.")
    if data.clean is not None:
        found.append("AUC: the chance that a clean row outweighs a bad one.")
    found.append("The uniform weights of ValidationOnly and DirectMixing select nothing.")
    if args.scores:
        found.append(
            f"Given: the share {args.top:g} of the rows that is best by that column, equally "
            "weighted."
        )
    found.append(
        "Given, BMO and DirectMixing(ratio=1.0) train on the validation pairs and, at the same "
        "total weight, on the training pairs; Penalty comes to that at half of its steps; Uniform "
        "trains on the training pairs alone. Each is the state of least validation loss along its "
        "run, so that loss by itself promises nothing for new data: "
        + ("compare the test losses" if "test" in data.pairs else "give --test FILE to see it")
        + ", over several seeds where they are close."
    )
    return found


def print_compared(stream: TextIO, args: Namespace, data: PairData, rows: list[Row]) -> None:
    """The table under a headline, and how to read it."""
    stream.write(headline(data) + "\n\n")
    write_table(stream, rows, "test" in data.pairs, data.clean is not None, skip=("status",))
    stream.write("\n" + textwrap.fill(" ".join(reading(args, data)), width=100) + "\n")
    if args.output is not None:
        files = "compare.csv, compare.json, report.html, manifest.json"
        stream.write(f"written to {args.output}: {files}\n")
