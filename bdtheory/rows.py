"""Rows with named columns, from JSON Lines, Parquet or a `datasets.Dataset`, and back to a file.

A row of a text file is its line number; another row is its index, counted from 0.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from .archive import ROOM, UNPACKED
from .storage import File, clipped, fail, readable

Row = dict[str, Any]
ENDINGS = (".jsonl", ".json", ".parquet")
CELLS = 64  # of Parquet that are unpacked together, more of a large file
BLANK = re.compile(r"[ \t\r\n]*")  # what JSON allows between its parts, RFC 8259, section 2


def read_rows(source: Any) -> list[Row]:
    """The rows of a file or of an object, every column kept, in their order.

    Parameters
    ----------
    source : one of
        the path of a .jsonl file in UTF-8, one object per line, blank lines skipped;
        the path of a .json file with the same, or with one array of objects;
        the path of a .parquet file, as Python's own types;
        a `datasets.Dataset`, or a list of dicts, whose rows are copied, one level deep.

    Returns a list of dicts, one per row, at least one.

    Raises
    ------
    ValueError : in one line with file and line, for anything else: text that is no JSON, a key
        twice in one object, NaN or an infinite number in JSON, bytes that are not UTF-8.
    ImportError : for a .parquet file without pyarrow.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_rows(f"{folder}/a.jsonl", [{"prompt": "2 + 2 =", "completion": " 4", "id": 7}])
    ...     read_rows(f"{folder}/a.jsonl")
    [{'prompt': '2 + 2 =', 'completion': ' 4', 'id': 7}]
    """
    return placed_rows(source)[1]


def placed_rows(source: Any, name: str | None = None) -> tuple[str, list[Row], list[str]]:
    """(name, rows, where each stands): "line 3" of a text file, "row 2" counted from 0 else.

    The name is for errors: the file's path, or `name` for an object.
    """
    if isinstance(source, str | os.PathLike):
        name = os.fspath(source)
        kind = _file_kind(source)
        numbered = list(enumerate(_read_parquet(source)) if kind == ".parquet" else _texts(source))
        word = "row" if kind == ".parquet" else "line"
    else:
        name = name or "the rows"
        numbered, word = list(enumerate(_listed(name, source))), "row"
    if not numbered:
        fail(name, "no rows", "at least one", "the file or data set that they were made from")
    rows, places = [], [f"{word} {number}" for number, _ in numbered]
    for place, (_, row) in zip(places, numbered, strict=True):
        if not isinstance(row, dict) or not all(isinstance(key, str) for key in row):
            got = f"{shown(row)} of type {type(row).__name__}"
            remedy = '{"prompt": "2 + 2 =", "completion": " 4"}'
            fail(f"{name}, {place}", got, "an object with named columns", remedy)
        rows.append(dict(row))
    return name, rows, places


def shown(value: Any) -> str:
    """A value on one short line, for errors."""
    text = value if isinstance(value, str) else repr(value)
    return repr(text[:40]) + ("..." if len(text) > 40 else "")


def _file_kind(path: File) -> str:
    """The ending of a file that is there and not empty, in lower case."""
    kind, needed = Path(path).suffix.lower(), "a .jsonl, .json or .parquet file"
    if kind not in ENDINGS and not os.path.isdir(path):
        remedy = "another format, or a data set by datasets.load_dataset in its place"
        fail(path, f"a name that ends in {kind!r}", needed, remedy)
    readable(path, needed, "at least one row")
    return kind


def _listed(name: str, source: Any) -> list[Any]:
    """The rows of a `datasets.Dataset` or of a list."""
    if isinstance(source, dict):
        splits = [key for key, value in source.items() if hasattr(value, "to_list")]
        if splits:
            got = f"a DatasetDict with the splits {', '.join(map(repr, splits))}"
            fail(name, got, "one split", f"choosing one, as in data[{splits[0]!r}]")
        fail(name, "one dict", "a list of dicts, one per row", "a list around it")
    if hasattr(source, "to_list"):
        return source.to_list()
    if isinstance(source, Sequence) and not isinstance(source, bytes):
        return list(source)
    needed = "a path, a datasets.Dataset or a list of dicts"
    fail(name, f"{type(source).__name__}", needed, "list(...) if it yields dicts")


def _texts(path: File) -> Iterator[tuple[int, Any]]:
    """(line number, value) of each row of a .jsonl or .json file."""
    lines = _lines(path)
    if Path(path).suffix.lower() == ".json":
        lines = list(lines)
        text = "\n".join(line for _, line in lines)
        if text.lstrip().startswith("["):
            yield from _array(path, text)
            return
    for number, text in lines:
        if not text:
            continue
        value, end = _decode(path, number, text, 0)
        if end < len(text):
            got = f"more after the row, {shown(text[end:].lstrip())}"
            fail(f"{path}, line {number}", got, "one JSON object per line", "a line for each")
        yield number, value


def _lines(path: File) -> Iterable[tuple[int, str]]:
    r"""(number, text) of the lines, stripped. Only \n ends a line: JSON may hold U+2028."""
    with open(path, "rb") as file:
        for number, raw in enumerate(file, start=1):
            content = raw.removeprefix(b"\xef\xbb\xbf") if number == 1 else raw
            try:
                yield number, content.decode("utf-8").strip(" \t\r\n")
            except UnicodeDecodeError as error:
                got = f"bytes that are not UTF-8 ({error.reason})"
                fail(f"{path}, line {number}", got, "text in UTF-8", "saving the file as UTF-8")


def _array(path: File, text: str) -> Iterator[tuple[int, Any]]:
    """(line number, value) of each item of the one array in `text`."""
    end = text.index("[")
    line, mark = 1 + text.count("\n", 0, end), "["
    while mark != "]":
        at = _skip(text, end + 1)
        line += text.count("\n", end, at)
        if mark == "[" and text[at : at + 1] == "]":
            end = at
            break
        value, after = _decode(path, line, text, at)
        yield line, value
        end = _skip(text, after)
        line += text.count("\n", at, end)
        mark = text[end : end + 1]
        if mark not in (",", "]"):
            got = shown(text[end:]) if mark else "the end of the file"
            fail(f"{path}, line {line}", got, "',' or ']' after an item", "one array of objects")
    if rest := text[end + 1 :].strip():
        got = f"more after the array, {shown(rest)}"
        fail(path, got, "one array of objects", "the ending .jsonl for one object per line")


def _skip(text: str, at: int) -> int:
    """The index of the first character from `at` on that is not blank."""
    return BLANK.match(text, at).end()  # type: ignore[union-attr]  # it matches the empty text too


def _twice(names: Iterable[str]) -> str:
    """The first of these names that is there twice."""
    return next(name for name, count in Counter(names).items() if count > 1)


class _Refused(ValueError):
    """What the hooks below say of JSON that Python would take."""


def _object(pairs: list[tuple[str, Any]]) -> Row:
    row = dict(pairs)
    if len(row) < len(pairs):
        raise _Refused(f"the key {shown(_twice(key for key, _ in pairs))} twice in one object")
    return row


def _finite(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise _Refused(f"the number {text[:40]}, which is not finite")
    return value


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_float=_finite, parse_constant=_finite)


def _decode(path: File, line: int, text: str, at: int) -> tuple[Any, int]:
    """(value, index of its end) of the JSON that begins at `at`, which is in line `line`."""
    try:
        value, end = _DECODER.raw_decode(text, at)
        if "\\u" in text[at:end]:  # half a surrogate pair is a text that no file in UTF-8 can hold
            json.dumps(value, ensure_ascii=False).encode()
        return value, end
    except json.JSONDecodeError as error:
        line += text.count("\n", at, error.pos)
        rest = text[error.pos :].partition("\n")[0]
        got = f"no JSON ({error.msg}) at {shown(rest) if rest else 'the end of the line'}"
    except _Refused as error:
        got = str(error)
    except UnicodeEncodeError:
        got = "half of a surrogate pair, \\ud800 to \\udfff alone"
    except (ValueError, RecursionError) as error:  # Python's limits: digits of a number, depth
        got = f"JSON that Python does not read ({str(error).partition(';')[0]})"
    fail(f"{path}, line {line}", got, "one JSON object per row", "json.dumps for each row")


def _pyarrow() -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise ImportError(
            'got no pyarrow; needed it for .parquet files; try pip install "bdtheory[lm]"'
        ) from None
    return pyarrow


def _read_parquet(path: File) -> list[Row]:
    arrow = _pyarrow()
    try:
        # Not read_table: in a folder called year=2020 that makes up a column.
        with arrow.parquet.ParquetFile(path) as file:
            names, rows = file.schema_arrow.names, []
            size = os.path.getsize(path)
            room, cells = max(ROOM, UNPACKED * size), max(CELLS, size // 500)
            for batch in file.iter_batches(max(1, cells // max(1, len(names)))):
                room -= 64 * batch.num_rows * (1 + len(names)) + sum(map(_size, batch.columns))
                if room < 0:  # a column of one value takes a few bytes of the file
                    raise ValueError(f"it unpacks to more than {UNPACKED} times its size")
                rows += batch.to_pylist()
    except (arrow.ArrowException, OSError, ValueError) as error:
        got = f"an unreadable Parquet file ({str(error)[:80]})"
        fail(path, got, "one by pyarrow or datasets", "writing it again")
    if len(set(names)) < len(names):
        fail(path, f"the column {clipped(_twice(names))} twice", "distinct names", "renaming one")
    return rows


def _size(column: Any) -> int:
    """Bytes of a column of Arrow, each value counted where it stands."""
    return (column.dictionary_decode() if hasattr(column, "dictionary_decode") else column).nbytes


def _schema(path: File | None) -> Any:
    """The names and types of a Parquet file's columns; none of another file."""
    arrow = _pyarrow()
    if path is None or Path(path).suffix.lower() != ".parquet":
        return arrow.schema([])
    return arrow.parquet.read_schema(path)


def write_rows(path: File, rows: list[Row], *, like: File | None = None) -> None:
    """The rows as JSON Lines or, for a name that ends in .parquet, as Parquet, to this very path.

    The same rows give the same bytes, of Parquet with the same pyarrow. For a file that is
    complete or not there, write to a draft beside it, and rename that.

    Parameters
    ----------
    path : the file, .jsonl, .json (one object per line as well) or .parquet.
    rows : dicts. JSON Lines: columns in each row's own order, numbers so that reading gives them
        back. Parquet: the columns of all rows, null where a row has none; one type per column.
    like : the file that the rows were read from. From Parquet to Parquet its columns keep their
        types, and the file its metadata; else it is not read.

    Raises ValueError for another ending and for values that the format cannot hold, NaN in JSON
    among them; ImportError for Parquet without pyarrow.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_rows(f"{folder}/a.jsonl", [{"question": "2 + 2?", "weight": 0.1}])
    ...     print(Path(f"{folder}/a.jsonl").read_text(), end="")
    {"question": "2 + 2?", "weight": 0.1}
    """
    kind = Path(path).suffix.lower()
    if kind not in ENDINGS:
        needed = "a .jsonl, .json or .parquet file"
        fail(path, f"a name that ends in {kind!r}", needed, "another name")
    if not Path(path).parent.is_dir():
        fail(path, "a folder that does not exist", "an existing folder", "making it first")
    if kind == ".parquet":
        _write_parquet(path, rows, like)
    else:
        text = [_json(path, number, row) for number, row in enumerate(rows, start=1)]
        Path(path).write_bytes(b"".join(text))


def _json(path: File, line: int, row: Row) -> bytes:
    """One row and its line end."""
    try:
        return json.dumps(row, ensure_ascii=False, allow_nan=False).encode() + b"\n"
    except (TypeError, ValueError, RecursionError) as error:
        got = f"a value that JSON cannot hold ({error})"
        fail(f"{path}, line {line}", got, "texts, finite numbers, lists, dicts", "a .parquet file")


def _write_parquet(path: File, rows: list[Row], like: File | None) -> None:
    arrow = _pyarrow()
    # Table.from_pylist takes the first row's columns only.
    names = list(dict.fromkeys(name for row in rows for name in row))
    try:
        known = _schema(like)
        types = dict(zip(known.names, known.types, strict=True))
        columns = [
            arrow.array([row.get(name) for row in rows], type=types.get(name)) for name in names
        ]
        table = arrow.table(columns, names=names).replace_schema_metadata(known.metadata)
        arrow.parquet.write_table(table, path)
    except (arrow.ArrowException, TypeError, ValueError, OverflowError) as error:
        got = f"values that Parquet cannot hold ({str(error)[:80]})"
        fail(path, got, "one type per column", "a .jsonl file")
