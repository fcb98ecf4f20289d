"""Tables from comma-separated files, checked cell by cell.

A row is its line number in the file; the header is line 1.
"""

from __future__ import annotations

import difflib
import math
from array import array
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import NoReturn

import numpy as np

from ..csv_rows import header_of, records_of
from ..storage import File, clipped, fail
from .table import Table, no_empty


def read_csv(
    path: File,
    target: str,
    *,
    id_column: str | None = None,
    group_column: str | None = None,
    columns: Sequence[str] | None = None,
) -> Table:
    """The table in a comma-separated file in UTF-8 with one header line; blank lines are skipped.

    Parameters
    ----------
    path : the file.
    target : name of the target column. Numbers or text, not a mixture.
    id_column, group_column : names of columns that are kept aside as text, optional.
    columns : names of the feature columns, in the order wanted; all the remaining ones if None.

    Raises ValueError, in one line, for anything that is not such a table; see `read_table`.
    """
    records = records_of(path)
    header = header_of(path, next(records, None))
    aside = [name for name in (target, id_column, group_column) if name is not None]
    names = [name for name in header if name not in aside] if columns is None else list(columns)
    _check_roles(path, header, aside + names)
    if not names:
        fail(path, "no feature column", "at least one", "another target column", row=1)
    X, texts, lines = _read(path, records, header, names, aside)
    if group_column is not None:
        no_empty(path, group_column, texts[group_column], lines)
    return Table(
        X=X,
        y=_target(path, target, texts[target], lines),
        columns=tuple(names),
        ids=None if id_column is None else texts[id_column],
        groups=None if group_column is None else texts[group_column],
        path=str(path),
    )


def _read(
    path: File,
    records: Iterator[tuple[int, list[str]]],
    header: list[str],
    names: list[str],
    aside: list[str],
) -> tuple[np.ndarray, dict[str, list[str]], Sequence[int]]:
    """Features (n, p) of the columns `names`, the texts of those `aside`, the line of each row."""
    place = {name: k for k, name in enumerate(header)}
    where, kept = [[place[name] for name in part] for part in (names, aside)]
    # Flat arrays of machine numbers: a tenth of the memory of lists of lists.
    X, texts, lines = array("d"), [[] for _ in aside], array("q")
    for line, cells in records:
        if len(cells) != len(header):
            remedy = "quotes around cells with commas"
            fail(path, f"{len(cells)} cells", f"{len(header)}, as in the header", remedy, row=line)
        X.extend(_numbers(path, line, names, [cells[k] for k in where]))
        for text, k in zip(texts, kept, strict=True):
            text.append(cells[k].strip())
        lines.append(line)
    if not lines:
        fail(path, "a header only", "at least one row of data", "the file it was made from")
    features = np.frombuffer(X, dtype=np.float64).reshape(len(lines), len(names))
    return features, dict(zip(aside, texts, strict=True)), lines


def _check_roles(path: File, header: list[str], names: list[str]) -> None:
    """Every name is a column, and none has two roles."""
    there, seen = set(header), set[str]()
    for name in names:
        if name in seen:
            fail(path, "two roles for one column", "one", "dropping one", column=name, row=1)
        if name not in there:
            _no_such(path, header, name)
        seen.add(name)


def _no_such(path: File, header: list[str], name: str) -> NoReturn:
    """A complaint about a column that is not there, with the name that is closest to it."""
    some = [each for each in header if len(each) <= 80][:1000] or [header[0]]
    close = clipped(difflib.get_close_matches(name[:80], some, n=1, cutoff=0.0)[0])
    shown = ", ".join(map(clipped, header[:20])) + (", ..." if len(header) > 20 else "")
    commas = " (is it separated by commas?)" if len(header) == 1 else ""
    fail(path, "no such column", f"one of {shown}{commas}", close, column=name, row=1)


def _numbers(path: File, line: int, names: list[str], cells: list[str]) -> list[float]:
    """The cells as finite floats."""
    try:
        values = [float(cell) for cell in cells]
        # A sum is finite only if every term is, short of an overflow, which the slow way settles;
        # float() takes 1_000 for a number, which in a file is more likely a slip.
        if math.isfinite(sum(values)) and not any("_" in cell for cell in cells):
            return values
    except ValueError:
        pass
    return [_number(path, line, name, cell) for name, cell in zip(names, cells, strict=True)]


def _number(path: File, line: int, name: str, cell: str) -> float:
    """The cell as a finite float, or a complaint about it."""
    value = _as_float(cell)
    if value is None or not math.isfinite(value):
        got = clipped(cell) if cell.strip() else "an empty cell"
        remedy = "a numeric code, or dropping that row or column"
        fail(path, got, "a finite number", remedy, column=name, row=line)
    return value


def _as_float(cell: str) -> float | None:
    """The cell as a float, which may be nan or inf; None for text."""
    try:
        return None if "_" in cell else float(cell)
    except ValueError:
        return None


def _target(path: File, name: str, cells: list[str], lines: Sequence[int]) -> np.ndarray:
    """The target as int64, float64 or text, (n,)."""
    no_empty(path, name, cells, lines)
    values = [_as_float(cell) for cell in cells]
    texts = [k for k, value in enumerate(values) if value is None]
    numbers = [k for k, value in enumerate(values) if value is not None]
    if not numbers:
        return np.array(cells)
    if texts:
        odd, other = (texts, "numbers") if len(texts) <= len(numbers) else (numbers, "text")
        fail(
            path,
            f"{clipped(cells[odd[0]])} in a column that also has {other}",
            "numbers or text, not both",
            "a word before each number if they are labels",
            column=name,
            row=lines[odd[0]],
        )
    for line, cell in zip(lines, cells, strict=True):
        _number(path, line, name, cell)
    try:
        whole = [int(cell) for cell in cells]
    except ValueError:
        return np.array(values, dtype=np.float64)
    return _whole(path, name, whole, lines)


def _whole(path: File, name: str, whole: list[int], lines: Sequence[int]) -> np.ndarray:
    """Whole numbers as int64, or as float64 where that tells them apart: labels must not merge."""
    try:
        return np.array(whole, dtype=np.int64)
    except OverflowError:
        values, first = np.array(whole, dtype=np.float64), dict[float, int]()
    for line, number, value in zip(lines, whole, values.tolist(), strict=True):
        # The float is the number, or is written like it: 1e30 is not 10^30 but nothing else's text.
        held = number in (value, int(Decimal(repr(value))))
        if not held or first.setdefault(value, number) != number:
            needed = "whole numbers that int64 or float64 holds"
            remedy = "a word before each number if they are labels, a decimal point if quantities"
            fail(path, clipped(str(number)), needed, remedy, column=name, row=line)
    return values
