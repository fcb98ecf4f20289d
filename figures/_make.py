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

from . import style

# These share trained models, which a process keeps; the longest first.
TOGETHER = ("offline_language", "refined_language", "language_weights")


def make_all(names: Sequence[str], out: Path, quick: bool, jobs: int) -> bool:
    """Make these figures in so many processes at most; whether all of them were made."""
    groups = _groups(names)
    outs, quicks = [out] * len(groups), [quick] * len(groups)
    if min(jobs, len(groups)) == 1:
        return all(list(map(_make_group, groups, outs, quicks)))
    with ProcessPoolExecutor(min(jobs, len(groups)), mp_context=get_context("spawn")) as pool:
        return all(list(pool.map(_make_group, groups, outs, quicks)))


def _groups(names: Sequence[str]) -> list[list[str]]:
    """Figures by the process that makes them."""
    together = [name for name in TOGETHER if name in names]
    alone = [[name] for name in dict.fromkeys(names) if name not in TOGETHER]
    return [together, *alone] if together else alone


def _make_group(names: Sequence[str], out: Path, quick: bool) -> bool:
    """With one thread: the problems are small, and sums keep their order."""
    with threadpool_limits(1):
        made = [make(name, out, quick) for name in names]
    return all(made)


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
