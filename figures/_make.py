"""Make figures, several at a time. Functions for worker processes cannot stand in `__main__`."""

from __future__ import annotations

import importlib
import sys
import time
import traceback
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from threadpoolctl import threadpool_limits

from bdtheory.launched import end_with_parent

from . import style

# These use two processes of their own unless quick, and share them; the language figures come last,
# and share trained models besides.
IN_TWO = ("digits", "phase_diagram", "question_diversity", "self_refining")
IN_TWO += ("offline_language", "refined_language", "language_weights")


def make_all(names: Sequence[str], out: Path, quick: bool, jobs: int) -> bool:
    """Make these figures, so many at a time; whether all of them were made.

    Those that use two processes themselves are made here, one after the other, and the others
    beside them, since one that is drawn leaves its processes idle.
    """
    here = [] if quick else [name for name in IN_TWO if name in names]
    beside = [name for name in dict.fromkeys(names) if name not in here]
    processes = min(jobs - bool(here), len(beside))
    if processes == 0 or (processes == 1 and not here):
        made = [_make_alone(name, out, quick) for name in (*beside, *here)]
        return all(made)
    with ProcessPoolExecutor(processes, get_context("spawn"), end_with_parent) as pool:
        many = len(beside)
        others = pool.map(_make_alone, beside, [out] * many, [quick] * many)
        made = [_make_alone(name, out, quick) for name in here]
        return all([*made, *others])


def _make_alone(name: str, out: Path, quick: bool) -> bool:
    """`make` with one thread: the problems are small, and sums keep their order."""
    with threadpool_limits(1):
        return make(name, out, quick)


def make(name: str, out: Path, quick: bool) -> bool:
    """Make one figure and say so in one line; False where it failed, with its old files removed."""
    start = time.perf_counter()
    try:
        path = importlib.import_module(f".{name}", __package__).main(out, quick)
    except style.Skip as reason:
        print(f"{name:15s} skipped: {reason}", flush=True)
        return True
    except Exception as error:
        for file in (*style.FILES, "{}.json"):
            (out / file.format(name)).unlink(missing_ok=True)
        if isinstance(error, AssertionError):
            print(f"{name:15s} FAILED: {error}", file=sys.stderr, flush=True)
        else:
            print(f"{name:15s} FAILED:\n{traceback.format_exc()}", file=sys.stderr, flush=True)
        return False
    print(f"{name:15s} {time.perf_counter() - start:6.1f} s  {path}", flush=True)
    return True
