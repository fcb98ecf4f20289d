"""`Selection` as a table: rows in order of weight, and files of rows with their weights."""

from __future__ import annotations

import csv
import json
import os
import sys
import types
from pathlib import Path

import numpy as np
import pytest

import bdtheory as bdt
from bdtheory.csv_rows import write_csv
from bdtheory.drawing import BAD, CLEAN
from bdtheory.rows import read_rows, write_rows
from bdtheory.weights import count_of, top_scores

W = [0.1, 0.3, 0.1, 0.2, 0.0, 0.3]  # ties at the top and below; mean 1/6


def selection(weights=W):
    history = {"iteration": np.arange(2), "seconds": np.zeros(2), "val_loss": np.array([2.0, 1.0])}
    if isinstance(weights, list):
        weights = np.array(weights)
        weights.setflags(write=False)
    return bdt.Selection(weights, np.zeros(1), 1.0, None, bdt.Status.STATIONARY, history)


def tensor(dtype):
    torch = pytest.importorskip("torch")
    return torch.tensor(W, dtype=getattr(torch, dtype), requires_grad=True)


# Rows in order


@pytest.mark.parametrize(
    "k, rows",
    [(1, [1]), (2, [1, 5]), (4, [1, 5, 3, 0]), (6, [1, 5, 3, 0, 2, 4]), (1.0, [1, 5, 3, 0, 2, 4]),
     (0.5, [1, 5, 3]), (0.01, [1]), (np.int32(2), [1, 5]), (np.float32(0.5), [1, 5, 3])],
)  # fmt: skip
def test_top_rows_come_largest_first_and_of_equals_the_earlier(k, rows):
    for weights in (W, tensor("float32"), tensor("float64")):
        got = selection(weights).top(k)
        assert got.tolist() == rows and got.dtype.kind == "i"


@pytest.mark.parametrize("k", [0, 7, -1, 0.0, 1.0001, -0.5, float("nan"), True, "3", None])
def test_another_k_is_one_sentence(k):
    with pytest.raises(ValueError, match=r"got .*; needed a whole number from 1 to N = 6.*; try"):
        selection().top(k)


def test_a_share_is_rounded_as_the_option_top_is():
    from bdtheory.weighted import chosen

    for share in (0.01, 0.25, 1 / 3, 0.4, 0.75, 1.0):
        gate = chosen(6 * np.array(W), np.arange(6), share)
        assert sorted(selection().top(share)) == np.flatnonzero(gate).tolist()
        assert gate.sum() == count_of(share, 6) == max(1, round(6 * share))


# A table


@pytest.mark.parametrize("dtype", [None, "float32", "float64"])
def test_the_frame_has_rows_weights_ranks_and_what_is_selected(dtype):
    pandas = pytest.importorskip("pandas")
    frame = selection(W if dtype is None else tensor(dtype)).to_dataframe()
    assert type(frame) is pandas.DataFrame
    assert list(frame.columns) == ["row", "weight", "rank", "selected"]
    assert frame["row"].tolist() == [0, 1, 2, 3, 4, 5]
    assert frame["weight"].tolist() == pytest.approx(W, abs=1e-7)
    assert frame["weight"].dtype == np.float64
    assert frame["rank"].tolist() == [4, 1, 5, 3, 6, 2]
    assert frame["selected"].tolist() == [False, True, False, True, False, True]


def test_the_frame_is_not_the_selection():
    pytest.importorskip("pandas")
    fit = selection(np.array(W))
    frame = fit.to_dataframe()
    frame.loc[0, "weight"] = 9.0
    assert fit.weights.tolist() == W
    assert selection([1 / 3] * 3).to_dataframe()["selected"].all()  # at the mean is selected


def test_polars_where_pandas_is_missing_and_a_sentence_without_both(monkeypatch):
    polars = types.ModuleType("polars")
    polars.DataFrame = lambda columns: ("polars", sorted(columns))
    monkeypatch.setitem(sys.modules, "pandas", None)
    monkeypatch.setitem(sys.modules, "polars", polars)
    assert selection().to_dataframe() == ("polars", ["rank", "row", "selected", "weight"])
    monkeypatch.setitem(sys.modules, "polars", None)
    with pytest.raises(ImportError, match=r"needed one of them; try pip install pandas$"):
        selection().to_dataframe()


def test_a_pandas_that_is_broken_is_not_taken_for_missing(tmp_path, monkeypatch):
    (tmp_path / "pandas.py").write_text("import something_that_it_needs")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "pandas", raising=False)
    with pytest.raises(ModuleNotFoundError, match="something_that_it_needs"):
        selection().to_dataframe()


def test_the_picture_has_the_weights_and_the_losses():
    clean = np.array([True, True, False, True, False, True])
    figure = selection().plot(clean)
    left, right = figure.axes
    good, bad = left.get_lines()
    assert good.get_ydata().tolist() == [0.3, 0.3, 0.2, 0.1]
    assert (good.get_color(), bad.get_color()) == (CLEAN, BAD)
    assert right.get_lines()[0].get_ydata().tolist() == [2.0, 1.0]
    assert len(selection().plot().axes[0].get_lines()) == 1
    with pytest.raises(ValueError, match="clean has shape"):
        selection().plot(np.ones(5, bool))


# A file


def rows(n=6):
    return [{"id": k, "prompt": f"{k} + 0 =", "completion": f" {k}", "é": None} for k in range(n)]


EXPECTED = [0.6, 1.8, 0.6, 1.2, 0.0, 1.8]
SELECTED = [False, True, False, True, False, True]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_rows("data.jsonl", rows())
    return tmp_path


def check(path, ending):
    assert path == Path(f"data.weighted{ending}")
    found = read_rows(path)
    assert [row["weight"] for row in found] == pytest.approx(EXPECTED, rel=1e-12)
    assert np.mean([row["weight"] for row in found]) == pytest.approx(1.0, rel=1e-12)
    assert [row["selected"] for row in found] == SELECTED
    assert [{k: row[k] for k in rows()[0]} for row in found] == rows()
    assert all(list(row)[-2:] == ["weight", "selected"] for row in found)


def test_rows_of_a_file_get_their_weight(folder):
    before = Path("data.jsonl").read_bytes()
    check(selection().apply("data.jsonl"), ".jsonl")
    assert Path("data.jsonl").read_bytes() == before
    assert sorted(os.listdir()) == ["data.jsonl", "data.weighted.jsonl"]


def test_an_array_and_parquet(folder):
    Path("data.json").write_text(json.dumps(rows()))
    check(selection().apply("data.json"), ".jsonl")
    pytest.importorskip("pyarrow")
    write_rows("data.parquet", rows())
    check(selection().apply(Path("data.parquet")), ".parquet")
    out = selection().apply("data.parquet", "data.weighted.jsonl", overwrite=True)
    check(out, ".jsonl")


def test_the_cells_of_a_table_stay_as_they_are(folder):
    cells = [["007", "1.50"], ["x", 'a, "b"'], ["", "1e3"], ["é", "-0"], ["5", "nan"],
             [" 6 ", "two\nlines"]]  # fmt: skip
    write_csv("data.csv", ["id", "note"], cells)
    with open(selection().apply("data.csv"), encoding="utf-8", newline="") as file:
        head, *found = csv.reader(file)
    assert head == ["id", "note", "weight", "selected"]
    assert [row[:2] for row in found] == cells
    assert [float(row[2]) for row in found] == pytest.approx(EXPECTED, rel=1e-12)
    assert [row[3] for row in found] == [str(s).lower() for s in SELECTED]


def test_weights_and_choice_are_those_that_select_writes():
    """`scaled` and `chosen` are one code for both; here that `apply` calls them for all rows."""
    from bdtheory.weighted import chosen, scaled

    weight = scaled(np.array(W), np.arange(6), 6)
    assert weight.tolist() == pytest.approx(EXPECTED)
    assert chosen(weight, np.arange(6), None).tolist() == SELECTED


def another(column):
    return lambda: write_rows("data.jsonl", [row | {column: 1} for row in rows()])


REFUSED = {
    "too few rows": (lambda: write_rows("data.jsonl", rows(5)), {}, ["5 rows", "needed 6"]),
    "a weight": (another("weight"), {}, ["data.jsonl, line 1", "column 'weight'", "renaming"]),
    "selected": (another("selected"), {}, ["data.jsonl, line 1", "column 'selected'"]),
    "no file": (lambda: os.remove("data.jsonl"), {}, ["data.jsonl", "no such file"]),
    "ending": (None, {"path": "data.txt"}, ["data.txt", "'.txt'", ".jsonl, .json, .parquet"]),
    "ending out": (None, {"out": "o.csv"}, ["o.csv", "'.csv'", ".jsonl"]),
    "over the input": (None, {"out": "./data.jsonl"}, ["the file that is read"]),
    "over it all the same": (
        None, {"out": "data.jsonl", "overwrite": True}, ["the file that is read"],
    ),
    "over another": (lambda: Path("o.jsonl").write_text("mine"), {"out": "o.jsonl"},
                     ["o.jsonl", "overwrite=True"]),
    "no folder": (None, {"out": "there/o.jsonl"}, ["o.jsonl", "a folder that does not exist"]),
    "a folder": (lambda: os.mkdir("o.jsonl"), {"out": "o.jsonl", "overwrite": True},
                 ["o.jsonl", "something else than a file"]),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_applied_is_one_sentence_and_leaves_nothing(folder, case):
    prepare, options, needles = REFUSED[case]
    if prepare:
        prepare()
    before = {p.name: p.is_dir() or p.read_bytes() for p in folder.iterdir()}
    with pytest.raises((ValueError, FileExistsError)) as error:
        selection().apply(**{"path": "data.jsonl"} | options)
    message = str(error.value)
    assert "\n" not in message and len(message) < 300 and "; try" in message
    assert not [needle for needle in needles if needle not in message]
    assert {p.name: p.is_dir() or p.read_bytes() for p in folder.iterdir()} == before


def test_what_the_ending_cannot_hold_names_the_file_and_leaves_nothing(folder):
    pyarrow = pytest.importorskip("pyarrow")
    table = pyarrow.table({"a": pyarrow.array([b"\xff"] * 6)})
    import pyarrow.parquet

    pyarrow.parquet.write_table(table, "data.parquet")
    with pytest.raises(ValueError, match=r"^o.jsonl, line 1: got a value that JSON cannot hold"):
        selection().apply("data.parquet", "o.jsonl")
    assert sorted(os.listdir()) == ["data.jsonl", "data.parquet"]


def test_overwriting_is_done_when_told(folder):
    Path("o.jsonl").write_text("old")
    assert selection().apply("data.jsonl", "o.jsonl", overwrite=True) == Path("o.jsonl")
    assert len(read_rows("o.jsonl")) == 6


# Scores of another tool


def test_scores_become_equal_weights_on_the_best():
    scores = [3, 1, 2, 3, 0]
    assert top_scores(scores, 2).tolist() == [0.5, 0, 0, 0.5, 0]
    assert top_scores(scores, 3).tolist() == pytest.approx([1 / 3, 0, 1 / 3, 1 / 3, 0])
    assert top_scores(scores, 0.4, low=True).tolist() == [0, 0.5, 0, 0, 0.5]
    assert top_scores([1.0] * 4, 0.5).tolist() == [0.5, 0.5, 0, 0]  # ties: from the first row
    assert top_scores([1.0] * 4, 0.5, low=True).tolist() == [0.5, 0.5, 0, 0]


def test_low_scores_are_minus_the_scores_and_types_are_kept():
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 9, 40).astype(float)
    for k in (1, 7, 0.3, 1.0):
        low, minus = top_scores(scores, k, low=True), top_scores(-scores, k)
        assert np.array_equal(low, minus) and low.sum() == pytest.approx(1.0)
        if k != 1.0:
            assert not np.array_equal(low, top_scores(scores, k))
            assert scores[low > 0].max() <= scores[low == 0].min()
    torch = pytest.importorskip("torch")
    got = top_scores(torch.tensor([1, 3, 2]), 1)
    assert got.tolist() == [0, 1, 0] and got.dtype is torch.float64
    assert top_scores(torch.tensor([1.0, 3.0]), 1).dtype is torch.float32


@pytest.mark.parametrize(
    "scores, k, needle",
    [([1.0, np.nan, 2.0], 1, "nan at row 1"), ([1.0, 2.0, np.inf], 1, "inf at row 2"),
     ([[1.0], [2.0]], 1, r"shape \(2, 1\)"), ([], 1, r"shape \(0,\)"),
     (["a", "b"], 1, "not numbers"), ([1.0, 2.0], 3, "N = 2"), ([1.0, 2.0], 1.5, r"\(0, 1\]")],
)  # fmt: skip
def test_scores_that_say_nothing_are_refused(scores, k, needle):
    with pytest.raises(ValueError, match=rf"{needle}.*needed.*try|needed.*{needle}.*try"):
        top_scores(scores, k)
