"""Folders that are complete or absent, and arrays in them; never pickle."""

from __future__ import annotations

import json
import secrets
import shutil
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

# What reading a damaged or foreign file can raise.
UNREADABLE = (OSError, ValueError, KeyError, TypeError, EOFError, BadZipFile, zlib.error)


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
