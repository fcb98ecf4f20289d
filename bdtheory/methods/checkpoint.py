"""Checkpoints of a training run: complete or absent, and only its own run goes on from one."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from ..problem import Problem
from ..saved import read_parts, replaceable, write_parts
from ..selection import as_text, to_numpy
from ..storage import UNREADABLE, draft_folder, reason, tidy


class Checkpoint:
    """The folder in which one run leaves its state, and from which the same run goes on.

    What the run is: model, method, seed, data and groups, and whatever `more` says. Raises
    FileExistsError where the folder holds other files.
    """

    def __init__(self, folder: str | Path, problem: Problem, method: Any, seed: int, **more: str):
        self.folder = Path(folder)
        start = getattr(problem.model, "start", None)
        start = start if isinstance(start, dict) or start is None else {"": start}
        weights = getattr(method, "weights", None)  # which the text of `Given` leaves out
        files = getattr(problem.model, "files", None)  # its text names the folder alone
        self.identity = {
            "model": as_text(quiet(problem.model)),
            "start": "" if start is None else _digest(start),
            "method": as_text(method),
            "seed": int(seed),
            "data": _digest(_everything(problem)),
            **({} if files is None else {"content of the model": str(files)}),
            **({} if weights is None else {"weights": _digest({"": weights})}),
            **more,
        }
        tidy(self.folder)
        if not replaceable(self.folder, "checkpoint"):
            raise FileExistsError(
                f"checkpoint {self.folder} holds other files; needed a new folder, or the one of "
                "an earlier run; try another name"
            )

    def resume(self, run: Any) -> bool:
        """Whether there was a state of this very run to go on from.

        Raises ValueError for a checkpoint of another run, or a damaged one.
        """
        if not (self.folder / "checkpoint.json").exists():
            return False
        try:
            facts, arrays = read_parts(self.folder, "checkpoint")
            identity, state = facts["identity"], facts["state"]
            names = sorted(self.identity.keys() | identity.keys())
            other = next((k for k in names if identity.get(k) != self.identity.get(k)), None)
            if other is None:
                run.restore(state, arrays)
        except (*UNREADABLE, AttributeError, RuntimeError) as error:
            raise ValueError(
                f"checkpoint {self.folder} cannot be read ({reason(error)}); "
                "needed one written by the same function; try another folder, or remove it"
            ) from error
        if other is not None:
            got, needed = apart(str(identity.get(other)), str(self.identity.get(other)))
            raise ValueError(
                f"checkpoint {self.folder} is of another {other:.40}: {got!r}; "
                f"needed {needed!r}; try another folder for this run"
            )
        return True

    def save(self, run: Any) -> None:
        """Write the state of the run over the earlier one."""
        facts, arrays = run.state()
        with draft_folder(self.folder) as draft:
            whole = {"identity": self.identity, "state": facts}
            write_parts(draft, "checkpoint", whole, arrays)


def apart(a: str, b: str, size: int = 60) -> tuple[str, str]:
    """Two texts from the argument in which they begin to differ, `size` characters at most.

    Examples
    --------
    >>> apart("M(width=16, steps=5)", "M(width=16, steps=7)")
    ('...steps=5)', '...steps=7)')
    """
    same = next((k for k, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), 0)
    start = a.rfind(" ", 0, same) + 1
    dots = "..." if start else ""
    return dots + a[start : start + size], dots + b[start : start + size]


def quiet(model: Any) -> Any:
    """The model without what changes no result: whether it shows progress."""
    training = getattr(model, "training", None)
    if training is None:
        return model
    return dataclasses.replace(model, training=dataclasses.replace(training, progress=False))


def _everything(problem: Problem) -> dict[str, Any]:
    sets = {"train": problem.train, "val": problem.val}
    arrays = {f"{name}.{k}": a for name, data in sets.items() for k, a in vars(data).items()}
    return arrays if problem.groups is None else arrays | {"groups": problem.groups}


def _digest(arrays: dict[str, Any]) -> str:
    """A fingerprint of named arrays."""
    sha = hashlib.sha256()
    for name in sorted(arrays):
        array = to_numpy(arrays[name])
        sha.update(f"{name}{array.dtype}{array.shape}".encode())
        sha.update(np.ascontiguousarray(array).tobytes())
    return sha.hexdigest()
