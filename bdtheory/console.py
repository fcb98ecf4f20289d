"""What the command line shows: progress and tables. Nothing here computes a result."""

from __future__ import annotations

import io
import math
import os
import sys
import textwrap
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self, TextIO

import numpy as np

from .hypergradient import mean_loss, refit
from .problem import Array, Problem
from .selection import Selection, Status, as_text, to_numpy
from .storage import printable
from .tasks import Task
from .tasks.language import LanguageTask
from .weights import auc, effective_sample_size


@dataclass(frozen=True)
class Row:
    """One method's line in the table; None where a number is not known."""

    method: str
    val_loss: float | None
    test_loss: float | None
    ess: float | None
    auc: float | None
    status: str
    seconds: float

    def as_json(self) -> dict[str, Any]:
        """The row as `compare --json` writes it: without its status."""
        return {name: value for name, value in asdict(self).items() if name != "status"}


@dataclass(frozen=True)
class RoundRow:
    """One line of `refine`: offline selection is round 0, which has no ratios.

    `scores` are shares of right responses to the test questions, by kind; `score` is that of all.
    """

    round: int
    val_loss: float | None
    score: float
    scores: dict[str, float]
    questions: float
    ess: float | None
    clipped: float | None
    empty: int
    seconds: float

    def as_json(self) -> dict[str, Any]:
        """The row as `refine --json` writes it: without its seconds."""
        return {name: value for name, value in asdict(self).items() if name != "seconds"}


def row_of(fit: Selection, clean: np.ndarray | None, seconds: float) -> Row:
    """The row of one selection; clean: bool (N,), which samples are known to be clean, or None."""
    # A loss at a theta that is not the minimiser is not that method's loss: unknown, not small.
    failed = fit.status is Status.DIVERGED
    return Row(
        method=fit.method,
        val_loss=None if failed else finite(fit.val_loss),
        test_loss=None if failed or fit.test_loss is None else finite(fit.test_loss),
        ess=finite(effective_sample_size(fit.weights)),
        auc=None if clean is None else finite(auc(to_numpy(fit.weights), clean)),
        status=fit.status.value,
        seconds=seconds,
    )


def prepare_stdout() -> None:
    """What is printed ends no command: closed, stdout takes nothing; what it cannot write, as ï in
    ASCII, becomes an escape."""
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


class StatusLine:
    """A line on a terminal that is written over, and cleared at the end; silent elsewhere."""

    def __init__(self, stream: TextIO):
        self.stream = stream
        self.shown = stream is not None and stream.isatty()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.show("")

    def show(self, text: str) -> None:
        if self.shown:
            self.stream.write(f"\r\033[K{text}")  # back to the line's start, and clear it
            self.stream.flush()


class Progress(StatusLine):
    """One line on a terminal while a method runs: method, step, validation loss, elapsed time.

    Silent, and without cost, where the stream is no terminal. A step only hands over its weights,
    so the loss is re-fitted here, seldom enough to add at most a tenth to the run; `spent` is the
    processor time that this took.
    """

    def __init__(self, problem: Problem, method: str, stream: TextIO):
        super().__init__(stream)
        self.problem, self.method = problem, method
        self.start = self.due = time.monotonic()
        self.spent, self.fit = 0.0, None
        self.callback: Callable[[int, Array], None] | None = self._step if self.shown else None

    def __enter__(self) -> Self:
        self.show(f"{self.method}  starting")
        return self

    def _step(self, iteration: int, weights: Array) -> None:
        begin, cpu = time.monotonic(), time.process_time()
        if begin < self.due:
            return
        self.fit = refit(self.problem, weights, self.fit)
        val_loss = mean_loss(self.problem, self.fit.theta, self.problem.val)
        elapsed = f"{begin - self.start:.1f} s"
        self.show(f"{self.method}  step {iteration}  validation loss {val_loss:.4g}  {elapsed}")
        self.due = time.monotonic() + max(0.2, 10 * (time.monotonic() - begin))
        self.spent += time.process_time() - cpu


def print_table(
    stream: TextIO, task: Task, problem: Problem, rows: list[Row], more: str = ""
) -> None:
    """The rows under a headline, and how to read them; `more` is a further sentence on that."""
    stream.write(headline(task, problem) + "\n\n")
    write_table(stream, rows, problem.test is not None, task.clean is not None)
    text = " ".join([_explanation(task, problem), more])
    stream.write("\n" + textwrap.fill(text, width=100) + "\n")


def write_table(
    stream: TextIO, rows: list[Row], test: bool, truth: bool, skip: Sequence[str] = ()
) -> None:
    """The rows in columns; see `cells_of`."""
    _write_columns(stream, cells_of(rows, test, truth, skip))


def cells_of(rows: list[Row], test: bool, truth: bool, skip: Sequence[str] = ()) -> list[list[str]]:
    """A heading and a line for each row, as texts; the lowest validation loss has a mark.

    test, truth : whether there are test losses and AUCs to show. skip : columns left out.
    """
    columns: list[tuple[str, Callable[[Row], str]]] = [
        ("val loss", lambda row: _number(row.val_loss, "#.4g")),
        ("test loss", lambda row: _number(row.test_loss, "#.4g")),
        ("ess", lambda row: _number(row.ess, ".1f")),
        ("AUC", lambda row: _number(row.auc, ".3f")),
        ("status", lambda row: row.status),
        ("seconds", lambda row: _number(row.seconds, ".2f")),
    ]
    unknown = {"test loss": not test, "AUC": not truth}
    shown = [c for c in columns if not unknown.get(c[0]) and c[0] not in skip]
    known = [row.val_loss for row in rows if row.val_loss is not None]
    lines = [["  method", *(name for name, _ in shown)]]
    for row in rows:
        mark = "* " if known and row.val_loss == min(known) else "  "
        lines.append([mark + row.method, *(text(row) for _, text in shown)])
    return lines


def _write_columns(stream: TextIO, lines: list[list[str]]) -> None:
    """Lines of as many cells each: the first column to the left, the others to the right."""
    widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
    for first, *cells in lines:
        right = [cell.rjust(n) for cell, n in zip(cells, widths[1:], strict=True)]
        stream.write("  ".join([first.ljust(widths[0]), *right]).rstrip() + "\n")


def finite(value: float) -> float | None:
    """The number, or None for one that says nothing."""
    return float(value) if math.isfinite(value) else None


def _number(value: float | None, spec: str) -> str:
    return "-" if value is None else format(value, spec).rstrip(".")


def _explanation(task: Task, problem: Problem) -> str:
    """What stands under the table: what the columns mean, and what they do not."""
    truth = "" if task.clean is None else " AUC: the chance that a clean row outweighs a bad one;"
    advice = "give --test FILE to see it" if problem.test is None else "compare the test losses"
    return (
        "* lowest validation loss. ess: how many equally weighted rows, of the "
        f"{problem.N} for training, the weights amount to;{truth} the uniform weights of "
        "ValidationOnly and DirectMixing select nothing. Learned weights are chosen by the "
        "validation loss itself, so a low one does not by itself mean a low test loss: "
        f"{advice}. Auto chooses by cross-fitting instead; its theta is fitted to selected and "
        "validation rows together."
    )


def headline(task: Task, problem: Problem) -> str:
    """What was computed on: data, sizes, model."""
    test = "" if problem.test is None else f", {len(problem.test)} test"
    bad = "" if task.clean is None else f" ({int((~task.clean).sum())} of them known to be bad)"
    groups = "" if problem.group_names is None else f" in {len(problem.group_names)} groups"
    return (
        f"{task.name}: {problem.N} training{groups}{bad}, {problem.m} validation{test} rows; "
        f"{task.train[0].shape[1]} features; {as_text(problem.model)}"
    )


def print_selection(
    stream: TextIO, task: Task, problem: Problem, fit: Selection, row: Row, ids: list[str] | None
) -> None:
    """A summary of one selection, with the rows of lowest weight to look at first."""
    lowest = np.argsort(fit.weights, kind="stable")[:5]
    names = [f"{k + 1}" if ids is None else f"{k + 1} ({printable(ids[k])})" for k in lowest]
    zero = int(np.sum(fit.weights == 0))
    lines = [
        headline(task, problem),
        f"{row.method}: {fit.status.value}, {fit.message}",
        f"validation loss        {_number(row.val_loss, '#.4g')}",
        _cross_fitted(fit.crossfit),
        f"test loss              {_number(row.test_loss, '#.4g')}" if problem.test else "",
        f"effective sample size  {_number(row.ess, '.1f')} of {problem.N} training rows",
        f"AUC of the weights     {_number(row.auc, '.3f')}" if task.clean is not None else "",
        f"lowest weights         rows {', '.join(names)}; {zero} rows have weight 0",
    ]
    stream.write("\n".join(line for line in lines if line) + "\n")


def _cross_fitted(crossfit: dict[str, float]) -> str:
    """The estimate of the test loss that `Auto` makes; "" for other methods."""
    if not crossfit:
        return ""
    return f"cross-fitted loss      {crossfit['loss']:#.4g} +- {crossfit['standard_error']:.2g}"


def print_rounds(
    stream: TextIO, task: LanguageTask, method: str, rows: list[RoundRow], examples: list[str]
) -> None:
    """A row for offline selection and for every round, examples, and what the numbers say."""
    kinds = list(rows[0].scores)
    head = ["round", "val loss", *kinds, "questions", "ess", "clipped"]
    over, under = zip(*(text.rpartition(" ")[::2] for text in head), strict=True)
    lines = [list(over), list(under)]
    for row in rows:
        cells = [_number(row.val_loss, "#.4g"), *(f"{row.scores[kind]:.2f}" for kind in kinds)]
        cells += [f"{row.questions:.1f}", _number(row.ess, ".1f"), _number(row.clipped, ".1%")]
        lines.append([str(row.round) if row.round else "offline", *cells])
    sizes = (
        f"{len(task.train[0])} training, {len(task.val[0])} validation, {len(task.test[0])} test"
    )
    wrong = int((~task.clean).sum())
    stream.write(f"{task.name}: {sizes} pairs; {wrong} training responses wrong; {method}\n\n")
    _write_columns(stream, lines if any(over) else lines[1:])
    notes = (
        f"{', '.join(kinds)}: share of right responses to test questions of that kind. questions: "
        f"how many equally weighted questions, of {task.groups.max() + 1}, the weights amount to. "
        "ess, clipped: effective sample size of the importance ratios of the generated responses, "
        "and the share of them at the limit; far below their number, the model has left what it "
        "generated."
    )
    stream.write(f"\n{textwrap.fill(notes, width=100)}\n\n" + "\n".join(examples) + "\n")
    stream.write("\n" + textwrap.fill(verdict(task, rows), width=100) + "\n")


def verdict(task: LanguageTask, rows: list[RoundRow]) -> str:
    """What the rounds changed in the scores, beside what the number of questions leaves to chance.

    Two shares of n questions differ by chance with a standard deviation of at most sqrt(1/(2n)).
    """
    first, last = rows[0], rows[-1]
    changes = [f"{kind} {last.scores[kind] - share:+.2f}" for kind, share in first.scores.items()]
    n = min(int(np.sum(task.kinds.test == kind)) for kind in first.scores)
    return (
        f"From offline selection to round {last.round} the share of right test responses went from "
        f"{first.score:.2f} to {last.score:.2f} ({', '.join(changes)}); with {n} questions of a "
        f"kind, a change below {2 * math.sqrt(0.5 / n):.2f} may be chance, and another --seed is "
        "another draw of the data."
    )


def example_lines(task: LanguageTask, examples: list[dict[str, Any]]) -> list[str]:
    """Question, offline response and generated response of each example as text, in columns."""
    lines = [["question", "offline response", "generated"]]
    for example in examples:
        prompt = example["prompt"]
        cells = [task.tokenizer.decode(prompt)]
        for response in (example["before"], example["after"]):
            mark = "right" if task.right(prompt, response) else "wrong"
            cells.append(f"{task.tokenizer.decode(response)} ({mark})")
        lines.append(cells)
    widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
    padded = ([c.ljust(n) for c, n in zip(cells, widths, strict=True)] for cells in lines)
    return ["  ".join(cells).rstrip() for cells in padded]
