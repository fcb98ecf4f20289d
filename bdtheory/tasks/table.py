"""A table of features and a target. Every complaint about its file is one of `storage.fail`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..storage import File, fail


@dataclass(frozen=True, eq=False)
class Table:
    """Numeric features and a target, with what else the file says about each row.

    Attributes
    ----------
    X : features (n, p), float64, finite.
    y : target (n,): int64 where every cell is a whole number, float64 for other numbers, else text.
    columns : the p feature names.
    ids : one text per row, or None.
    groups : one non-empty text per row, or None.
    path : the file it was read from.

    Examples
    --------
    >>> Table(np.eye(2), np.array([0, 1]), ("a", "b"))
    Table(n=2, columns=('a', 'b'), path='')
    """

    X: np.ndarray
    y: np.ndarray
    columns: tuple[str, ...]
    ids: list[str] | None = None
    groups: list[str] | None = None
    path: str = ""

    def __len__(self) -> int:
        return len(self.X)

    def __repr__(self) -> str:
        return f"Table(n={len(self)}, columns={self.columns!r}, path={self.path!r})"


def align(table: Table, like: Table) -> Table:
    """`table` with its feature columns in the order that `like` has them; a column is its name.

    Raises ValueError where a column is missing from either.

    Examples
    --------
    >>> a = Table(np.array([[1.0, 2.0]]), np.array([0]), ("u", "v"))
    >>> b = Table(np.array([[4.0, 3.0]]), np.array([1]), ("v", "u"))
    >>> align(b, like=a).X.tolist()
    [[3.0, 4.0]]
    """
    place, wanted = {name: k for k, name in enumerate(table.columns)}, set(like.columns)
    missing = [name for name in like.columns if name not in place]
    extra = [name for name in table.columns if name not in wanted]
    if missing or extra:
        got = "no such column" if missing else "a column too many"
        needed = f"the {len(like.columns)} feature columns of {like.path or 'the first table'}"
        column = (missing or extra)[0]
        try_ = "the same columns in both, or an option (--scores, --id) for one that is no feature"
        fail(table.path, got, needed, try_, column=column, row=1)
    order = [place[name] for name in like.columns]
    return replace(table, X=np.ascontiguousarray(table.X[:, order]), columns=like.columns)


def no_empty(path: File, name: str, cells: list[str], rows: Sequence[int]) -> None:
    """A ValueError if a cell of the column is empty; `rows` are the row numbers of the cells."""
    if "" in cells:
        row = rows[cells.index("")]
        fail(path, "an empty cell", "a value", "'unknown' or dropping it", column=name, row=row)
