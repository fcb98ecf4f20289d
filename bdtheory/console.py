"""What the command line shows: progress and tables. Nothing here computes a result."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, TextIO

import numpy as np

from .hypergradient import mean_loss, refit
from .problem import Array, Problem
from .selection import Selection, as_text
from .tasks import Task


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


class Progress:
    """One line on a terminal while a method runs: method, step, validation loss, elapsed time.

    Silent, and without cost, where the stream is no terminal. A step only hands over its weights,
    so the loss is re-fitted here, seldom enough to add at most a tenth to the run; `spent` is the
    processor time that this took.
    """

    def __init__(self, problem: Problem, method: str, stream: TextIO):
        self.problem, self.method, self.stream = problem, method, stream
        self.start = self.due = time.monotonic()
        self.spent, self.fit = 0.0, None
        shown = stream is not None and stream.isatty()
        self.callback: Callable[[int, Array], None] | None = self._step if shown else None

    def __enter__(self) -> Progress:
        if self.callback:
            self._show(f"{self.method}  starting")
        return self

    def __exit__(self, *exception: object) -> None:
        if self.callback:
            self._show("")

    def _step(self, iteration: int, weights: Array) -> None:
        begin, cpu = time.monotonic(), time.process_time()
        if begin < self.due:
            return
        self.fit = refit(self.problem, weights, self.fit)
        val_loss = mean_loss(self.problem, self.fit.theta, self.problem.val)
        elapsed = f"{begin - self.start:.1f} s"
        self._show(f"{self.method}  step {iteration}  validation loss {val_loss:.4g}  {elapsed}")
        self.due = time.monotonic() + max(0.2, 10 * (time.monotonic() - begin))
        self.spent += time.process_time() - cpu

    def _show(self, text: str) -> None:
        self.stream.write(f"\r\033[K{text}")  # back to the line's start, and clear it
        self.stream.flush()


def print_table(stream: TextIO, task: Task, problem: Problem, rows: list[Row]) -> None:
    """The rows under a headline, the one with the lowest validation loss marked; how to read it."""
    columns: list[tuple[str, Callable[[Row], str]]] = [
        ("val loss", lambda row: _number(row.val_loss, "#.4g")),
        ("test loss", lambda row: _number(row.test_loss, "#.4g")),
        ("ess", lambda row: _number(row.ess, ".1f")),
        ("AUC", lambda row: _number(row.auc, ".3f")),
        ("status", lambda row: row.status),
        ("seconds", lambda row: _number(row.seconds, ".2f")),
    ]
    if problem.test is None:
        columns = [column for column in columns if column[0] != "test loss"]
    if task.clean is None:
        columns = [column for column in columns if column[0] != "AUC"]
    known = [row.val_loss for row in rows if row.val_loss is not None]
    lines = [["  method", *(name for name, _ in columns)]]
    for row in rows:
        mark = "* " if known and row.val_loss == min(known) else "  "
        lines.append([mark + row.method, *(text(row) for _, text in columns)])
    widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
    stream.write(headline(task, problem) + "\n\n")
    for first, *cells in lines:
        right = [cell.rjust(n) for cell, n in zip(cells, widths[1:], strict=True)]
        stream.write("  ".join([first.ljust(widths[0]), *right]) + "\n")
    stream.write("\n" + _explanation(task, problem) + "\n")


def _number(value: float | None, spec: str) -> str:
    return "-" if value is None else format(value, spec).rstrip(".")


def _explanation(task: Task, problem: Problem) -> str:
    """What stands under the table: what the columns mean, and what they do not."""
    truth = "" if task.clean is None else " AUC: the chance that a clean row outweighs a bad one;"
    advice = "give --test FILE to see it" if problem.test is None else "compare the test losses"
    return textwrap.fill(
        "* lowest validation loss. ess: how many equally weighted rows, of the "
        f"{problem.N} for training, the weights amount to;{truth} the uniform weights of "
        "ValidationOnly and DirectMixing select nothing. Learned weights are chosen by the "
        "validation loss itself, so a low one does not by itself mean a low test loss: "
        f"{advice}.",
        width=100,
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
    names = [f"{k + 1}" if ids is None else f"{k + 1} ({ids[k]})" for k in lowest]
    zero = int(np.sum(fit.weights == 0))
    lines = [
        headline(task, problem),
        f"{row.method}: {fit.status.value}, {fit.message}",
        f"validation loss        {_number(row.val_loss, '#.4g')}",
        f"test loss              {_number(row.test_loss, '#.4g')}" if problem.test else "",
        f"effective sample size  {_number(row.ess, '.1f')} of {problem.N} training rows",
        f"AUC of the weights     {_number(row.auc, '.3f')}" if task.clean is not None else "",
        f"lowest weights         rows {', '.join(names)}; {zero} rows have weight 0",
    ]
    stream.write("\n".join(line for line in lines if line) + "\n")
