"""Results and states on disk: NAME.json and arrays.npz in a folder, complete or absent.

The JSON has a digest of itself, and the archive checksums of its own: what has been changed since
it was saved is refused, rather than read as another result.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from .archive import read_arrays, read_json
from .storage import UNREADABLE, File, draft_folder, interrupt_behind, reason, recover

Parts = tuple[dict[str, Any], dict[str, np.ndarray]]
T = TypeVar("T")


def save(folder: File, name: str, facts: dict[str, Any], arrays: dict[str, np.ndarray]) -> Path:
    """Write `name`.json and arrays.npz into the folder, all or nothing; over an older one.

    Raises FileExistsError where the folder holds something else, or is to be below a file.
    """
    folder = Path(folder).resolve()
    above = next(parent for parent in folder.parents if parent.exists())
    if not above.is_dir():
        raise FileExistsError(f"{above} is a file; needed a folder there; try another name")
    if not replaceable(folder, name):
        raise FileExistsError(
            f"{folder} holds other files or is in use; needed an empty or new folder, or an older "
            f"{name} to replace; try another name"
        )
    with draft_folder(folder) as draft:
        write_parts(draft, name, facts, arrays)
    return folder


def replaceable(folder: Path, name: str) -> bool:
    """Whether a folder is free, empty, or holds `name`.json and arrays.npz and nothing else."""
    found = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    taken = folder.exists() and not folder.is_dir()
    return not (taken or found - {f"{name}.json", "arrays.npz"} or folder.resolve() == Path.cwd())


def load(folder: File, name: str, make: Callable[..., T]) -> T:
    """What `make` makes of the parts that `save` wrote. Raises ValueError where there are none."""
    try:
        return make(*read_parts(Path(folder), name))
    except UNREADABLE as error:
        raise ValueError(
            f"{folder} is not a saved {name} ({reason(error)}); needed a folder with {name}.json "
            f"and arrays.npz; try the folder given to {name.capitalize()}.save"
        ) from error


def write_parts(folder: Path, name: str, facts: dict[str, Any], arrays: dict[str, Any]) -> None:
    """`name`.json, with its digest, and arrays.npz in a folder that is there."""
    try:
        np.savez(folder / "arrays.npz", allow_pickle=False, **arrays)
    except ValueError as error:  # how zipfile closes an archive that Ctrl-C cut short
        raise interrupt_behind(error) or error from None
    text = json.dumps(facts | {"digest": _digest(facts)}, indent=1)
    (folder / f"{name}.json").write_text(text + "\n")


def read_parts(folder: Path, name: str) -> Parts:
    """What `write_parts` wrote. Raises one of UNREADABLE where it does not stand there.

    Files of versions that wrote no digest are read as they are.
    """
    recover(folder)
    facts = read_json(folder / f"{name}.json")
    if facts.pop("digest", None) not in (None, _digest(facts)):
        raise ValueError(f"{name}.json is not what was saved")
    return facts, read_arrays(folder / "arrays.npz")


def _digest(facts: Any) -> str:
    """A fingerprint of JSON types, the same before they are written and after they are read."""
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()
