"""Comma-separated text: cells line by line, and written all or nothing.

A row is its line number in the file; the header is line 1.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from .storage import File, draft_file, fail, readable


def records_of(path: File) -> Iterator[tuple[int, list[str]]]:
    """(line number, cells) of every line that is not blank; a record's line is its first one."""
    readable(path, "a .csv file", "a table with rows of data")
    with open(path, "rb") as file:
        start = file.read(4096)
    if start.startswith(b"PK\x03\x04") or b"\0" in start:
        fail(path, "binary content", "comma-separated text", "the ending .npz if it is one", row=1)
    with open(path, encoding="utf-8-sig", newline="") as file:
        reader, line = csv.reader(file, strict=True), 1
        try:
            for cells in reader:
                if cells:
                    yield line, cells
                line = reader.line_num + 1
        except csv.Error as error:
            remedy = 'each " in a cell twice, or shorter cells'
            fail(path, f"{error}", "comma-separated cells", remedy, row=line)
        except UnicodeDecodeError as error:
            row = _not_utf8(path)
            fail(path, f"bytes with {error.reason}", "text in UTF-8", "saving it as UTF-8", row=row)


def _not_utf8(path: File) -> int:
    """Line number of the first line that is not UTF-8."""
    with open(path, "rb") as file:
        for line, content in enumerate(file, start=1):
            try:
                content.decode("utf-8")
            except UnicodeDecodeError:
                return line
    return 1


def header_of(path: File, record: tuple[int, list[str]] | None) -> list[str]:
    """The column names, stripped: none empty, none twice."""
    if record is None:
        fail(path, "blank lines only", "a header and rows of data", "the file it was made from")
    line, names = record[0], [name.strip() for name in record[1]]
    seen: set[str] = set()
    for k, name in enumerate(names):
        if not name:
            fail(path, f"no name for column {k + 1}", "a name", "naming or dropping it", row=line)
        if name in seen:
            fail(path, "that name twice", "distinct names", "renaming one", column=name, row=line)
        seen.add(name)
    return names


class _UnixLines:
    r"""A file whose lines end in \n. Written with \r\n, so that csv quotes a \r inside a cell."""

    def __init__(self, file: TextIO):
        self.file = file

    def write(self, line: str) -> int:
        """One line, its \\r\\n replaced; csv calls this once per row."""
        return self.file.write(line.removesuffix("\r\n") + "\n")


def write_csv(path: File, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """A .csv file in UTF-8 that is complete or not there: written beside its place, then moved.

    Parameters
    ----------
    path : where the file goes; its folder must exist.
    header : one name per column.
    rows : the cells of each row, as many as names. Numbers are written so that reading them gives
        the same number; None is an empty cell.

    Raises
    ------
    ValueError : for a row of another length than the header, a folder that does not exist, or a
        path that is not a plain file.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_csv(f"{folder}/a.csv", ["x", "label"], [[0.1, "yes"]])
    ...     print(Path(f"{folder}/a.csv").read_text(), end="")
    x,label
    0.1,yes
    """
    place = Path(os.path.realpath(path))
    if not place.parent.is_dir():
        fail(path, "a folder that does not exist", "an existing folder", "making it first")
    if place.exists() and not place.is_file():
        fail(path, "something else than a file", "a file name", "a new name")
    with draft_file(place) as draft, open(draft, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(_UnixLines(file))
        writer.writerow(header)
        for line, row in enumerate(rows, start=2):
            if len(row) != len(header):
                fail(path, f"{len(row)} cells", f"{len(header)}", "one per column", row=line)
            writer.writerow(row)
