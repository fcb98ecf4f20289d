"""Rows of data with their weights: which of them are selected, and files that say so.

A row's weight in a file is N w_i, so that the weights of all rows have mean 1 and a trainer's
learning rate keeps its meaning; a row that was left out has 0.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .csv_rows import header_of, records_of, write_csv
from .rows import ENDINGS, Row, placed_rows, write_rows
from .storage import File, draft_file, fail
from .weights import count_of

ADDED = ("weight", "selected")  # the columns that are written


def scaled(weights: np.ndarray, rows: np.ndarray, N: int) -> np.ndarray:
    """N w_i (N,) float64, mean 1: the weights (k,), sum 1, at `rows`, and 0 elsewhere."""
    w = np.zeros(N)
    w[rows] = weights
    return N * w / w.sum()


def largest(weights: np.ndarray, count: int) -> np.ndarray:
    """The places of the `count` largest weights, the earlier first among equals, ints (count,)."""
    return np.argsort(-weights, kind="stable")[:count]


def chosen(weights: np.ndarray, rows: np.ndarray, top: float | None) -> np.ndarray:
    """bool (N,): the share `top` of all rows, by weight, the earlier row first among equals; or
    those of at least the mean weight. Never a row that is not among `rows`.
    """
    if top is None:
        return weights >= 1.0 - 1e-9
    gate = np.zeros(len(weights), bool)
    gate[rows[largest(weights[rows], min(count_of(top, len(weights)), len(rows)))]] = True
    return gate


def with_weights(rows: Sequence[Row], weights: np.ndarray, gate: np.ndarray) -> list[Row]:
    """The rows with the columns `weight` and `selected`, from (N,) numbers and an (N,) mask."""
    return [
        row | {"weight": float(w), "selected": bool(s)}
        for row, w, s in zip(rows, weights, gate, strict=True)
    ]


def check_free(name: str, places: list[str], rows: list[Row], added: Sequence[str]) -> None:
    """ValueError where a row has one of the columns that are to be added."""
    for column in added:
        for place, row in zip(places, rows, strict=True):
            if column in row:
                needed = "that name for what is written"
                fail(f"{name}, {place}", f"a column {column!r}", needed, "renaming it")


def ending_of(path: File) -> str:
    """The ending of the files written: Parquet for Parquet, .csv for .csv, else JSON Lines."""
    kind = Path(path).suffix.lower()
    return kind if kind in (".parquet", ".csv") else ".jsonl"


def apply_weights(w: np.ndarray, path: File, out: File | None, overwrite: bool) -> Path:
    """What `Selection.apply` says, with weights (N,), sum 1; the path of the file written."""
    path = Path(path)
    place = path.with_name(f"{path.stem}.weighted{ending_of(path)}") if out is None else Path(out)
    _check_endings(path, place)
    _check_place(path, place, overwrite)
    table = path.suffix.lower() == ".csv"
    name, rows, places = _csv_rows(path) if table else placed_rows(path)
    check_free(name, places, rows, ADDED)
    if len(rows) != len(w):
        needed = f"{len(w)}, one for each weight"
        fail(path, f"{len(rows)} rows", needed, "the file that the weights were learned for")
    N = len(w)
    weight = scaled(w, np.arange(N), N)
    rows = with_weights(rows, weight, chosen(weight, np.arange(N), None))
    if table:
        words = (row | {"selected": str(row["selected"]).lower()} for row in rows)
        write_csv(place, list(rows[0]), [[*row.values()] for row in words])
        return place
    with draft_file(place) as draft:
        try:
            write_rows(draft, rows, like=path)
        except ValueError as error:
            raise ValueError(str(error).replace(str(draft), str(place))) from None
    return place


def _check_endings(path: Path, place: Path) -> None:
    """ValueError for a file that cannot be read, or not be written from such a one."""
    if path.suffix.lower() not in (*ENDINGS, ".csv"):
        got = f"a name that ends in {path.suffix!r}"
        fail(path, got, "a .jsonl, .json, .parquet or .csv file", "another format")
    kinds = (".csv",) if path.suffix.lower() == ".csv" else ENDINGS
    if place.suffix.lower() not in kinds:
        got, needed = f"a name that ends in {place.suffix!r}", " or ".join(kinds)
        fail(place, got, f"{needed} for the rows of a {path.suffix} file", "another out")


def _check_place(path: Path, place: Path, overwrite: bool) -> None:
    """An error where the file is not to be written there."""
    if not place.parent.is_dir():
        fail(place, "a folder that does not exist", "an existing folder", "making it first")
    if not place.exists():
        return
    if path.exists() and os.path.samefile(path, place):
        fail(place, "the file that is read", "another one to write", "another out")
    if not place.is_file():
        fail(place, "something else than a file", "a file name", "another out")
    if not overwrite:
        raise FileExistsError(
            f"{place}: got a file that is there; needed a free name, or leave to replace it; try "
            "another out, or overwrite=True"
        )


def _csv_rows(path: Path) -> tuple[str, list[Row], list[str]]:
    """(name, rows, where each stands) of a table, its cells as the text that they are."""
    records = records_of(path)
    header = header_of(path, next(records, None))
    rows, places = [], []
    for line, cells in records:
        if len(cells) != len(header):
            remedy = "quotes around cells with commas"
            fail(path, f"{len(cells)} cells", f"{len(header)}, as in the header", remedy, row=line)
        rows.append(dict(zip(header, cells, strict=True)))
        places.append(f"line {line}")
    return str(path), rows, places
