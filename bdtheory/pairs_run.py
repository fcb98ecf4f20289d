"""One run of selection on pairs: its unfinished state, its progress, its failures in one line."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from .archive import read_json
from .console import StatusLine
from .launched import launched_size
from .methods import learn_weights
from .outputs import UNFINISHED
from .pairs_input import PairData
from .problem import Problem
from .selection import Selection, Status, as_text
from .storage import UNREADABLE, discard, interrupt_behind, is_full, tidy
from .weights import effective_sample_size


def unfinished_folder(args: Namespace) -> Path:
    """OUT.unfinished, beside the folder of the result."""
    place = Path(args.output).resolve()
    return place.with_name(f"{place.name}{UNFINISHED}")


@contextlib.contextmanager
def unfinished(args: Namespace) -> Iterator[Path]:
    """OUT.unfinished, a folder for checkpoints, removed if the block succeeds.

    After a failure or an interruption it stays where --resume can go on from it, that is after a
    first step. Raises ValueError where it is there without --resume, or not there with it.
    """
    folder = unfinished_folder(args)
    tidy(folder)  # one that was being removed
    _check(args, folder)
    made = [parent for parent in folder.parents if not parent.exists()]
    try:
        yield folder
    except BaseException as error:
        kept = folder.exists() and (args.resume or _has_steps(folder))
        if not kept:
            remove(folder, made)
        hint = f"go on with --resume, from {folder.name}" if kept else ""
        if interrupt := interrupt_behind(error):
            raise type(interrupt)(*([hint] if kept else [])) from None
        if reason := _of_another_run(error, args):
            raise ValueError(reason) from error
        if reason := explained(error, args):
            raise ValueError(f"{reason}; {hint}" if kept else reason) from error
        raise
    try:
        remove(folder, [])
    except KeyboardInterrupt as late:
        raise type(late)(f"the result in {args.output} is complete") from None


def _check(args: Namespace, folder: Path) -> None:
    """Whether --resume fits what is there."""
    shown = f"{os.path.normpath(args.output)}{UNFINISHED}"
    if folder.exists() and not args.resume:
        raise ValueError(
            f"{shown} is there, of a run that did not end; needed to know what to do with it; try "
            f"--resume to go on, or delete {shown}"
        )
    if args.resume and not folder.exists():
        raise ValueError(
            f"got --resume, but there is no {shown}; needed one that an interrupted run left; try "
            "leaving --resume out"
        )


def remove(folder: Path, made: list[Path]) -> None:
    """The folder, and those above it that were made for it and are empty, from below."""
    discard(folder)
    for parent in made:
        with contextlib.suppress(OSError):
            parent.rmdir()


def _has_steps(folder: Path) -> bool:
    """Whether a checkpoint in the folder holds more than a start."""
    for path in folder.rglob("checkpoint.json"):
        with contextlib.suppress(*UNREADABLE):
            if read_json(path)["state"].get("step", 1):  # a round has no steps
                return True
    return False


def _of_another_run(error: BaseException, args: Namespace) -> str:
    """What to do about a checkpoint that does not fit, in the command's words; "" for others."""
    if not (args.resume and isinstance(error, ValueError) and "checkpoint " in str(error)[:11]):
        return ""
    return (
        f"got --resume with other options or files than the interrupted run had "
        f"({str(error).partition('; try ')[0]}); needed the same; try the same command, or delete "
        f"{os.path.normpath(args.output)}{UNFINISHED} to start anew"
    )


def explained(error: BaseException, args: Namespace) -> str:
    """Out of memory or of disk in words; "" for anything else."""
    text = str(error).lower()
    # torch says "can't allocate" of tensors, and "Cannot allocate" where it maps a model's file.
    short = "out of memory" in text or "can't allocate" in text or "cannot allocate memory" in text
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError | OSError) and short):
        less = max(1, args.batch // 2)
        return (
            f"out of memory on batches of {args.batch} + {args.val_batch} pairs; needed less; try "
            f"--batch {less}, --max-length, --checkpointing, --frozen nearer to 1, or --dtype "
            "bfloat16"
        )
    if is_full(error):
        return (
            f"no space left on the device while writing {args.output}; needed room for the result "
            "and a checkpoint; try -o on another disk, or deleting files"
        )
    return ""


class Steps(StatusLine):
    """One line on a terminal while a model is trained: step, sample size, time gone and left."""

    def __init__(self, stream: TextIO, steps: int):
        super().__init__(stream)
        self.steps, self.first = steps, -1
        self.start = time.monotonic()
        self.callback: Any = self._step if self.shown else None

    def show(self, text: str) -> None:
        # The cursor goes back: an evaluation's line, which is longer, then takes this one's place.
        super().show(f"{text}\r" if text else "")

    def _step(self, step: int, weights: np.ndarray) -> None:
        if self.first < 0:  # before it come the frozen layers, and a first evaluation
            self.first, self.start = step, time.monotonic()
        gone, done = time.monotonic() - self.start, step - self.first
        left = f", {gone * (self.steps - step) / done:.0f} s left" if done else ""
        ess = effective_sample_size(weights)
        self.show(f"step {step}/{self.steps}  ESS {ess:.0f}  {gone:.0f} s{left}")


def learned(
    data: PairData, problem: Problem, method: Any, args: Namespace, folder: Path
) -> Selection:
    """The selection, its state in `folder`/selection meanwhile. ValueError where it diverged."""
    with Steps(sys.stderr, data.model.training.steps) as line:
        line.show("starting: frozen layers over all pairs, once")
        fit = learn_weights(
            problem,
            method,
            seed=args.seed,
            callback=line.callback if launched_size() == 1 else None,  # it asks for all weights
            checkpoint=folder / "selection",
        )
    if fit.status is Status.DIVERGED:
        discard(folder)  # to go on would end here again
        raise ValueError(
            f"{as_text(method)} diverged ({fit.message}); needed finite losses; try a smaller "
            "--learning-rate"
        )
    return fit


def notes_on(fit: Selection) -> list[str]:
    """What a user should know of the result before trusting it."""
    N, ess, loss = len(fit.weights), effective_sample_size(fit.weights), fit.history["val_loss"]
    found = []
    if ess < max(min(10.0, N / 2), 0.05 * N):
        found.append(
            f"the effective sample size is {ess:.1f} of {N}: weights have collapsed on few rows; "
            "try a smaller --selector-rate or fewer --passes"
        )
    if not np.min(loss[1:], initial=np.inf) < loss[0]:
        found.append(
            f"the validation loss never went below its start, {loss[0]:.4g}; "
            "try another --learning-rate, or more --passes"
        )
    return found


def say(notes: list[str], stream: TextIO) -> None:
    """A line for each note."""
    for note in notes:
        stream.write(f"note: {note}\n")
