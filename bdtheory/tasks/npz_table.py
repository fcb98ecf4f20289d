"""NumPy archives with a table: arrays X and y, checked, and never unpickled."""

from __future__ import annotations

import zipfile

import numpy as np

from ..archive import read_arrays
from ..storage import File, fail, readable
from .table import Table, no_empty


def read_npz(path: File, target: str = "y") -> Table:
    """The table in a NumPy archive with arrays `X` (n, p) and `y` (n,), features named x0, x1, ...

    Optional arrays `id` and `groups`, (n,) each. Nothing is ever unpickled. In a complaint a row
    is an index, counted from 0. Raises ValueError, in one line, for anything else.
    """
    readable(path, "a .npz file", "a table with rows of data")
    if target in ("X", "id", "groups"):
        fail(path, "the same array twice", "an array of targets", 'target="y"', column=target)
    arrays = _load(path, ("X", target, "id", "groups"))
    for name in ("X", target):
        if name not in arrays:
            fail(path, "no such array", f"arrays X and {target}", "numpy.savez", column=name)
    n = _check_shapes(path, arrays)
    return Table(
        X=_numeric(path, "X", arrays["X"]).astype(np.float64, copy=False),
        y=_target(path, target, arrays[target]),
        columns=tuple(f"x{k}" for k in range(arrays["X"].shape[1])),
        ids=_texts(path, "id", arrays, n),
        groups=_texts(path, "groups", arrays, n),
        path=str(path),
    )


def _load(path: File, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Those of the named arrays that the archive has."""
    if not zipfile.is_zipfile(path):
        with open(path, "rb") as file:
            cut = file.read(2) == b"PK"
        got = "no NumPy archive (it is cut off)" if cut else "no NumPy archive"
        remedy = "writing or copying it again" if cut else "the ending .csv if it is text"
        fail(path, got, "a file by numpy.savez", remedy)
    try:
        return read_arrays(path, names)
    except (OSError, ValueError) as error:
        got = f"an unreadable archive ({str(error)[:120]})"
        fail(path, got, "plain arrays", "numpy.savez without pickle, not compressed")


def _check_shapes(path: File, arrays: dict[str, np.ndarray]) -> int:
    """The number of rows n: X is (n, p), n and p at least 1, everything else (n,)."""
    X = arrays["X"]
    if X.ndim != 2 or 0 in X.shape:
        fail(path, f"shape {X.shape}", "(rows, features)", "X.reshape(len(X), -1)", column="X")
    for name, a in arrays.items():
        if name != "X" and a.shape != (len(X),):
            needed = f"({len(X)},), one per row of X"
            fail(path, f"shape {a.shape}", needed, f"{name}.reshape(-1)", column=name)
    return len(X)


def _numeric(path: File, name: str, a: np.ndarray) -> np.ndarray:
    """The array, real and finite; numbers with a point as float64."""
    if a.dtype.kind not in "fiub":
        fail(path, f"dtype {a.dtype}", "numbers", "a numeric encoding", column=name)
    if a.dtype.kind == "f":
        with np.errstate(over="ignore"):  # what float64 cannot hold is infinite, and refused
            a = a.astype(np.float64, copy=False)
    bad = np.argwhere(~np.isfinite(a))
    if len(bad):
        row, value = int(bad[0][0]), float(a[tuple(bad[0])])
        column = f"x{bad[0][1]}" if a.ndim == 2 else name
        needed = "a finite number (rows count from 0)"
        fail(path, f"{value}", needed, "dropping that row", column=column, row=row)
    return a


def _target(path: File, name: str, y: np.ndarray) -> np.ndarray:
    """Text as it is, whole numbers and booleans as int64, other numbers as float64."""
    if y.dtype.kind == "U":
        no_empty(path, name, y.tolist(), range(len(y)))
        return y
    y = _numeric(path, name, y)
    large = np.flatnonzero(y > np.iinfo(np.int64).max) if y.dtype.kind == "u" else []
    if len(large):
        row, needed = int(large[0]), "at most 2^63 - 1 (rows count from 0)"
        remedy = "y.astype(str) for labels, y.astype(float) for quantities"
        fail(path, str(y[row]), needed, remedy, column=name, row=row)
    return y if y.dtype.kind == "f" else y.astype(np.int64)


def _texts(path: File, name: str, arrays: dict[str, np.ndarray], n: int) -> list[str] | None:
    """The labels of the n rows as text, or None without such an array."""
    if name not in arrays:
        return None
    labels = arrays[name]
    if labels.dtype.kind != "U":
        _numeric(path, name, labels)
    texts = [str(value) for value in labels.tolist()]
    if name == "groups":
        no_empty(path, name, texts, range(n))
    return texts
