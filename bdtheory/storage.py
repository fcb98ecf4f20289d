"""Files and folders that are complete or absent, arrays in them (never pickle), and the one way to
complain about a file.

Every complaint is a ValueError of one line: file, column, row; what was got, what was needed, what
to try.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn
from zipfile import BadZipFile

import numpy as np

File = str | os.PathLike[str]

# What reading a damaged or foreign file can raise.
UNREADABLE = (OSError, ValueError, KeyError, TypeError, EOFError, BadZipFile, zlib.error)


@contextmanager
def draft_file(place: Path) -> Iterator[Path]:
    """An empty file beside `place` that takes its place if the block succeeds, else is removed.

    It has the ending of `place`. Raises OSError where nothing can be written.

    Source: the way of POSIX rename(2), which replaces a file in one step.
    """
    draft = place.with_name(f".{secrets.token_hex(4)}-{place.name}")
    draft.touch(exist_ok=False)
    try:
        yield draft
        os.replace(draft, place)
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def draft_folder(place: Path) -> Iterator[Path]:
    """An empty folder that takes the place of `place` if the block succeeds, else is removed.

    Folders above it that do not exist are made then. Raises OSError where nothing can be written.
    """
    place = place.resolve()
    above = next(parent for parent in place.parents if parent.exists())
    draft, old = (above / f".{place.name}-{secrets.token_hex(4)}" for _ in range(2))
    draft.mkdir()
    try:
        yield draft
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.exists():
            place.rename(old)
        draft.rename(place)
    finally:
        if old.exists() and not place.exists():  # the second rename failed: undo the first
            old.rename(place)
        shutil.rmtree(draft, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def write_parts(folder: Path, name: str, facts: dict[str, Any], arrays: dict[str, Any]) -> None:
    """`name`.json and arrays.npz in the folder."""
    np.savez(folder / "arrays.npz", allow_pickle=False, **arrays)
    (folder / f"{name}.json").write_text(json.dumps(facts, indent=1) + "\n")


def read_parts(folder: Path, name: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What `write_parts` wrote. Raises one of UNREADABLE where it does not stand there."""
    facts = json.loads((folder / f"{name}.json").read_text())
    with open(folder / "arrays.npz", "rb") as raw, np.load(raw, allow_pickle=False) as file:
        return facts, {key: file[key] for key in file.files}


def readable(path: File) -> None:
    """A ValueError unless the path is a plain file that is not empty and may be read."""
    if os.path.isdir(path):
        fail(path, "a folder", "a file", "one of the files in it")
    if not os.path.isfile(path):
        fail(path, "no such file", "a .csv or .npz file", "the full path")
    if not os.access(path, os.R_OK):
        fail(path, "a file that may not be read", "permission to read it", "chmod")
    if os.path.getsize(path) == 0:
        fail(path, "an empty file", "a table with rows of data", "the file it was made from")


def fail(
    path: File,
    got: str,
    needed: str,
    try_: str,
    *,
    column: str | None = None,
    row: int | None = None,
) -> NoReturn:
    """A ValueError in one line: file, column and row; got, needed, try."""
    where = os.fspath(path) or "the table"
    where += "" if column is None else f", column {column!r}"
    where += "" if row is None else f", row {row}"
    raise ValueError(" ".join(f"{where}: got {got}; needed {needed}; try {try_}".split()))
