"""The command line: its numbers are the library's, its files are complete or absent."""

from __future__ import annotations

import functools
import importlib.util
import io
import json
import os
import shlex
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

import bdtheory as bdt
from bdtheory import cli, console, inputs
from bdtheory.methods import OverfitWarning
from bdtheory.storage import sha256
from bdtheory.tasks import align, digits, read_table, write_csv
from bdtheory.weights import auc, effective_sample_size

KEYS = ["method", "val_loss", "test_loss", "ess", "auc", "seconds"]
NAMES = ["ValidationOnly()", "Uniform()", "DirectMixing(ratio=0.01)", "DirectMixing(ratio=0.1)",
         "DirectMixing(ratio=1.0)", "DirectMixing(ratio=10.0)", "BMO()", "Penalty()",
         "Implicit()", "Auto()"]  # fmt: skip
HEADER = ["key", "a", "b", "source", "clean", "target"]
COLUMNS = ["--target", "target", "--id", "key", "--truth", "clean"]


def rows_of(rng, n: int, bad: float = 0.0, labels: bool = False) -> list[list]:
    """target = a - 2 b (or whether that is > 0), for a share `bad` of the rows the opposite."""
    X, wrong = rng.standard_normal((n, 2)), rng.random(n) < bad
    y = X @ [1.0, -2.0] + 0.3 * rng.standard_normal(n)
    y = np.where(wrong, -y, y)
    target = np.where(y > 0, "yes", "no") if labels else y
    return [
        [f"r{i}", *X[i].tolist(), i % 4, ["true", "FALSE"][int(wrong[i])], target[i].item()]
        for i in range(n)
    ]


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A working folder with train.csv, val.csv, test.csv and the same with labels, l*.csv."""
    monkeypatch.chdir(tmp_path)
    for prefix, labels in (("", False), ("l", True)):
        rng = np.random.default_rng(3)
        for name, n, bad in (("train", 40, 0.4), ("val", 12, 0.0), ("test", 30, 0.0)):
            write_csv(f"{prefix}{name}.csv", HEADER, rows_of(rng, n, bad, labels))
    return tmp_path


def arrays(path: str) -> tuple[np.ndarray, np.ndarray]:
    """X, y of one of the files; by `align`, since a sum depends on the order of X in memory."""
    table = read_table(path, "target", columns=["a", "b", "source"])
    return (table if "train" in path else align(table, like=table)).X, table.y


def run(line: str) -> int:
    """Exit status of a command line, without the program's name."""
    return cli.main(shlex.split(line))


def strict_json(path) -> object:
    """The JSON in a file; NaN and Infinity, which JSON does not have, are errors."""

    def refuse(name):
        raise AssertionError(f"{name} is not JSON")

    return json.loads(Path(path).read_text(), parse_constant=refuse)


def tree(folder: Path) -> list[str]:
    """Everything under a folder, hidden files too."""
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*"))


def test_compare_reports_what_learn_weights_gives(files, capsys):
    line = f"compare train.csv --val val.csv --test test.csv {' '.join(COLUMNS)} --json out.json"
    assert run(line) == 0
    rows = strict_json("out.json")
    problem = bdt.Problem(
        bdt.Ridge(mu=1e-2), arrays("train.csv"), arrays("val.csv"), arrays("test.csv")
    )
    clean = read_table("train.csv", "clean", columns=["a"]).y == "true"
    assert 5 < clean.sum() < 35
    methods = [bdt.ValidationOnly(), bdt.Uniform()]
    methods += [bdt.DirectMixing(ratio) for ratio in (0.01, 0.1, 1.0, 10.0)]
    methods += [bdt.BMO(), bdt.Penalty(), bdt.Implicit(), bdt.Auto()]
    assert [row["method"] for row in rows] == NAMES
    for row, method in zip(rows, methods, strict=True):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", OverfitWarning)  # the command makes a note of it
            fit = bdt.learn_weights(problem, method)
        assert list(row) == KEYS
        assert row["val_loss"] == pytest.approx(fit.val_loss, rel=1e-12)
        assert row["test_loss"] == pytest.approx(fit.test_loss, rel=1e-12)
        assert row["ess"] == pytest.approx(effective_sample_size(fit.weights), rel=1e-9)
        assert row["auc"] == pytest.approx(auc(fit.weights, clean), abs=1e-9)
        assert 0 <= row["seconds"] < 30
    # Not vacuous: the rows differ, and learning told clean from bad.
    assert len({row["val_loss"] for row in rows}) > 6
    assert rows[-1]["auc"] > 0.6 > 0.5 == rows[0]["auc"]


def test_the_table_has_the_numbers_and_marks_the_lowest_validation_loss(files, capsys):
    assert run(f"compare ltrain.csv --val lval.csv {' '.join(COLUMNS)} --json out.json") == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "Logistic(mu=0.01)" in out.splitlines()[0]
    assert "test loss " not in out
    rows = {row["method"]: row for row in strict_json("out.json")}
    lines = [line for line in out.splitlines() if line[2:].split("  ")[0] in rows]
    assert len(lines) == len(NAMES)
    for line in lines:
        name, val_loss, ess, area, *_ = line[2:].split()
        assert float(val_loss) == pytest.approx(rows[name]["val_loss"], rel=1e-3)
        assert float(ess) == pytest.approx(rows[name]["ess"], abs=0.06)
        assert float(area) == pytest.approx(rows[name]["auc"], abs=6e-4)
        assert rows[name]["test_loss"] is None
    marked = [line.split()[1] for line in lines if line.startswith("* ")]
    assert marked == [min(rows, key=lambda name: rows[name]["val_loss"])]
    assert "does not by itself mean a low test loss" in " ".join(out.split())


def test_without_truth_there_is_no_auc(files, capsys):
    line = "compare train.csv --val val.csv --target target --id key --group source"
    text = Path("train.csv").read_text()
    Path("train.csv").write_text(text.replace("true", "1").replace("FALSE", "0"))
    Path("val.csv").write_text(Path("val.csv").read_text().replace("true", "1"))
    assert run(f"{line} --json out.json --ratios 0.5") == 0
    assert "AUC" not in capsys.readouterr().out
    rows = strict_json("out.json")
    assert [row["auc"] for row in rows] == [None] * 7
    assert rows[2]["method"] == "DirectMixing(ratio=0.5)"


def test_a_warning_of_overfitting_is_a_note_on_standard_error(files, capsys):
    assert run(f"{SELECT} -o out --method auto") == 0
    out, err = capsys.readouterr()
    assert err.startswith("note: Auto(): the ") and err.count("\n") == 1
    crossfit = bdt.Selection.load("out/selection").crossfit
    assert f"cross-fitted loss      {crossfit['loss']:#.4g} +- " in out


def test_a_single_validation_row_leaves_cross_fitting_out(files):
    lines = Path("val.csv").read_text().splitlines()
    for rows, methods in ((1, [*NAMES[:2], *NAMES[6:9]]), (3, [*NAMES[:2], *NAMES[6:9]])):
        Path("few.csv").write_text("\n".join(lines[: rows + 1]) + "\n")
        line = f"compare train.csv --val few.csv {' '.join(COLUMNS)} --ratios 1 --json out.json"
        assert run(line) == 0
        got = [row["method"] for row in strict_json("out.json")]
        auto = [] if rows == 1 else ["Auto(folds=3)"]
        assert got == [*methods[:2], "DirectMixing(ratio=1.0)", *methods[2:], *auto]


@pytest.mark.parametrize("words", [("1", "0"), ("True", "FALSE"), ("1.0", "0.0")])
def test_truth_may_be_spelled_as_number_or_word(words, files):
    text = Path("train.csv").read_text()
    Path("train.csv").write_text(text.replace("true", words[0]).replace("FALSE", words[1]))
    task, _ = cli.load(cli.build_parser().parse_args(["compare", *shlex.split(GOOD)]))
    assert task.clean.tolist() == [",true," in line for line in text.splitlines()[1:]]


def test_truth_may_be_an_array_of_an_npz_file(files):
    X, y = arrays("train.csv")
    np.savez("train.npz", X=X, y=y, clean=y > 0)
    np.savez("val.npz", X=X, y=y)
    line = "compare train.npz --val val.npz --truth clean"
    task, _ = cli.load(cli.build_parser().parse_args(line.split()))
    assert task.clean.tolist() == (y > 0).tolist()


def test_columns_are_matched_by_name(files):
    options = f"{' '.join(COLUMNS)} --ratios 0.1 --json"
    assert run(f"compare train.csv --val val.csv {options} one.json") == 0
    order = [5, 3, 2, 0, 1]  # no clean: columns with a role in training only need not be there
    lines = [line.split(",") for line in Path("val.csv").read_text().splitlines()]
    Path("val2.csv").write_text("\n".join(",".join(c[k] for k in order) for c in lines) + "\n")
    assert run(f"compare train.csv --val val2.csv {options} two.json") == 0
    for one, two in zip(strict_json("one.json"), strict_json("two.json"), strict=True):
        assert one | {"seconds": 0} == two | {"seconds": 0}


def test_npz_files_give_what_csv_files_give(files):
    for name in ("train", "val"):
        X, y = arrays(f"{name}.csv")
        np.savez(f"{name}.npz", X=X, y=y, id=np.arange(len(y)))
    assert run("select train.npz --val val.npz -o npz") == 0
    assert run(f"select train.csv --val val.csv {' '.join(COLUMNS)} -o csv") == 0
    one, two = (bdt.Selection.load(f"{name}/selection") for name in ("npz", "csv"))
    assert np.array_equal(one.weights, two.weights)
    assert Path("npz/weights.csv").read_text().splitlines()[2].startswith("2,1,")


@pytest.mark.parametrize(
    ("options", "y", "model"),
    [
        ("", [0, 1, 2, 1], bdt.Logistic(mu=1e-2)),
        ("", [0.5, 1, 2, 1], bdt.Ridge(mu=1e-2)),
        ("", list(range(21)), bdt.Ridge(mu=1e-2)),
        ("", list(range(20)), bdt.Logistic(mu=1e-2)),
        ("", ["yes", "no"], bdt.Logistic(mu=1e-2)),
        ("--model ridge --mu 3 --intercept", [0, 1], bdt.Ridge(mu=3.0, fit_intercept=True)),
        ("--model logistic --mu 0", list(range(30)), bdt.Logistic(mu=0.0)),
    ],
)
def test_the_model_follows_the_options_and_the_targets(options, y, model):
    args = cli.build_parser().parse_args(shlex.split(f"compare train.csv {options}"))
    assert cli.choose_model(args, np.array(y)) == model


def test_a_diverged_method_is_a_row_of_compare_and_an_error_of_select(files, capsys):
    # Labels that a sign decides exactly: separable, so at mu = 0 there is no minimiser.
    for name, n in (("s", 30), ("sval", 10)):
        a = np.random.default_rng(n).standard_normal(n)
        write_csv(f"{name}.csv", ["a", "y"], zip(a.tolist(), (a > 0).astype(int), strict=True))
    before = tree(files)
    assert run("select s.csv --val sval.csv --target y --mu 0 -o out --json o.json") == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert "diverged" in message
    assert "try a larger --mu" in message
    assert tree(files) == before
    assert run("compare s.csv --val sval.csv --target y --mu 0 --json o.json") == 0
    out = capsys.readouterr().out
    assert out.count("diverged") == len(NAMES)
    assert not [line for line in out.splitlines() if line.startswith("* Im")]
    assert [row["val_loss"] for row in strict_json("o.json")] == [None] * len(NAMES)


def test_compare_folder_is_written_replaced_and_never_mixed(files, capsys):
    line = f"compare train.csv --val val.csv {' '.join(COLUMNS)} --ratios 1 -o new/out"
    assert run(line) == 0
    assert tree(files / "new") == ["out", "out/compare.csv", "out/compare.json", "out/config.json"]
    rows = strict_json("new/out/compare.json")
    assert [list(row) for row in rows] == [KEYS] * 7
    table = Path("new/out/compare.csv").read_text().splitlines()
    assert table[0] == "method,val_loss,test_loss,ess,auc,status,seconds"
    assert [cells.split(",")[0] for cells in table[1:]] == [row["method"] for row in rows]
    assert [float(cells.split(",")[1]) for cells in table[1:]] == [row["val_loss"] for row in rows]
    assert run(line + " --seed 4") == 0
    assert strict_json("new/out/config.json")["options"]["seed"] == 4
    capsys.readouterr()
    before = tree(files)
    assert run(line.replace("compare", "select", 1).replace("--ratios 1", "")) == 2
    assert "`bdtheory select`" in capsys.readouterr().err
    Path("new/out/notes.txt").write_text("mine")
    assert run(line) == 2
    assert "notes.txt" in capsys.readouterr().err
    assert tree(files) == sorted([*before, "new/out/notes.txt"])


SELECT = f"select train.csv --val val.csv --test test.csv {' '.join(COLUMNS)}"


def test_select_writes_what_it_learned(files, capsys):
    assert run(f"{SELECT} -o out --json out.json") == 0
    fit = bdt.learn_weights(
        bdt.Problem(bdt.Ridge(mu=1e-2), arrays("train.csv"), arrays("val.csv"), arrays("test.csv")),
        bdt.Implicit(),
    )
    assert tree(files / "out") == [
        "config.json", "history.csv", "selection", "selection/arrays.npz",
        "selection/selection.json", "weights.csv",
    ]  # fmt: skip
    table = [line.split(",") for line in Path("out/weights.csv").read_text().splitlines()]
    assert table[0] == ["row", "id", "weight"]
    assert [(r, key) for r, key, _ in table[1:]] == [(str(i + 1), f"r{i}") for i in range(40)]
    weights = np.array([float(w) for *_, w in table[1:]])
    np.testing.assert_allclose(weights, fit.weights, rtol=1e-9, atol=1e-300)
    saved = bdt.Selection.load("out/selection")
    assert np.array_equal(saved.weights, weights)
    assert saved.val_loss == pytest.approx(fit.val_loss, rel=1e-12)
    history = [line.split(",") for line in Path("out/history.csv").read_text().splitlines()]
    assert history[0] == ["iteration", "seconds", "val_loss"]
    assert [int(cells[0]) for cells in history[1:]] == fit.history["iteration"].tolist()
    np.testing.assert_allclose(
        [float(cells[2]) for cells in history[1:]], fit.history["val_loss"], rtol=1e-9
    )
    assert all(float(cells[1]) >= 0 for cells in history[1:])
    summary = strict_json("out.json")
    assert summary["method"] == "Implicit()"
    assert summary["status"] == fit.status.value
    assert summary["test_loss"] == pytest.approx(fit.test_loss, rel=1e-12)
    config = strict_json("out/config.json")
    assert config["result"] == summary
    assert config["options"]["seed"] == 0
    assert config["versions"]["numpy"] == np.__version__
    digest = sha256("train.csv")
    assert config["sha256"]["train.csv"] == digest
    assert set(config["sha256"]) == {"train.csv", "val.csv", "test.csv"}
    out = capsys.readouterr().out
    lowest = np.argsort(weights, kind="stable")[:5]
    assert ", ".join(f"{k + 1} (r{k})" for k in lowest) in out


@pytest.mark.parametrize("how", ["ASCII", "closed"])
def test_a_stdout_that_cannot_take_the_summary_ends_nothing(files, how):
    """Nor does an id with an escape sequence reach the terminal as one."""
    text = Path("train.csv").read_text().replace("\nr", "\n\x1b[2Jïr")
    Path("t.csv").write_text(text, encoding="utf-8")
    line = "select t.csv --val val.csv --target target --id key --truth clean -o out"
    done = subprocess.run(
        f"{shlex.quote(sys.executable)} -m bdtheory {line} {'>&-' if how == 'closed' else ''}",
        shell=True, capture_output=True, text=True, env=os.environ | {"PYTHONIOENCODING": "ascii"},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert Path("out/config.json").exists()
    assert "\x1b" not in done.stdout
    assert ("(\\x1b[2J\\xefr" in done.stdout) == (how == "ASCII")


def test_select_gives_the_same_bytes_twice(files):
    assert run(f"{SELECT} -o one --json one.json") == 0
    assert run(f"{SELECT} -o two --json two.json") == 0
    assert tree(files / "one") == tree(files / "two")
    timed = ("history.csv", "selection", "selection/arrays.npz")  # they hold the seconds
    stable = [name for name in tree(files / "one") if name not in timed]
    assert len(stable) == 3
    saved = [bdt.Selection.load(f"{name}/selection") for name in ("one", "two")]
    for fit in saved:
        fit.history["seconds"] = np.zeros(1)
    assert saved[0] == saved[1]
    for name in stable:
        assert (files / "one" / name).read_bytes() == (files / "two" / name).read_bytes(), name
    assert Path("one.json").read_bytes() == Path("two.json").read_bytes()
    one, two = (Path(f"{name}/history.csv").read_text().splitlines() for name in ("one", "two"))
    assert [c.split(",")[::2] for c in one] == [c.split(",")[::2] for c in two]


def test_groups_share_a_weight_and_ids_are_left_out_if_not_given(files):
    options = "--target target --truth clean --group source -o out"
    for name in ("train.csv", "val.csv"):  # a column of keys that no option names must not be text
        Path(name).write_text(Path(name).read_text().replace("\nr", "\n"))
    assert run(f"select train.csv --val val.csv {options} --method penalty") == 0
    lines = Path("out/weights.csv").read_text().splitlines()
    assert lines[0] == "row,weight"
    weights = np.array([float(line.split(",")[1]) for line in lines[1:]])
    assert weights.sum() == pytest.approx(1.0, abs=1e-12)
    assert all(np.ptp(weights[g::4]) == 0 for g in range(4))
    assert len(set(weights.tolist())) > 1
    assert strict_json("out/config.json")["result"]["method"] == "Penalty()"


def test_select_replaces_its_own_result_only(files, capsys):
    assert run(f"{SELECT} -o out") == 0
    assert run(f"{SELECT} -o out --method bmo") == 0
    assert strict_json("out/config.json")["result"]["method"] == "BMO()"
    before = {name: (files / name).is_dir() or (files / name).read_bytes() for name in tree(files)}
    Path("out/selection/mine.txt").write_text("mine")
    assert run(f"{SELECT} -o out") == 2
    assert "mine.txt" in capsys.readouterr().err
    Path("out/selection/mine.txt").unlink()
    after = {name: (files / name).is_dir() or (files / name).read_bytes() for name in tree(files)}
    assert before == after


def corrupt_train(old: str, new: str):
    return lambda: Path("train.csv").write_text(Path("train.csv").read_text().replace(old, new, 1))


def one_class():
    text = Path("ltrain.csv").read_text()
    Path("ltrain.csv").write_text(text.replace(",no", ",yes"))


def unseen_label():
    text = Path("lval.csv").read_text()
    Path("lval.csv").write_text(text.replace(",yes", ",maybe", 1))


def own_files():
    Path("full").mkdir()
    Path("full/thesis.txt").write_text("mine")


def nan_cell():
    lines = Path("train.csv").read_text().splitlines()
    cells = lines[4].split(",")
    lines[4] = ",".join([*cells[:2], "nan", *cells[3:]])
    Path("train.csv").write_text("\n".join(lines) + "\n")


C = " ".join(COLUMNS)
GOOD = f"train.csv --val val.csv {C}"
BAD = {
    "no command": ("", None, ["COMMAND", "--help"]),
    "unknown command": ("improve train.csv", None, ["improve", "compare"]),
    "no data": ("compare", None, ["--dataset"]),
    "missing --val": (f"compare train.csv {C}", None, ["--val VAL.csv"]),
    "missing --target": ("compare train.csv --val val.csv", None, ["--target"]),
    "missing file": (f"compare trian.csv --val val.csv {C}", None, ["trian.csv", "no such file"]),
    "unknown target": ("compare train.csv --val val.csv --target targte", None, ["'target'"]),
    "unknown group": (f"compare {GOOD} --group sauce", None, ["'source'"]),
    "unknown truth": (f"compare {GOOD} --truth claen", None, ["'clean'"]),
    "truth twice": (f"compare {GOOD} --truth target", None, ["--truth", "another role"]),
    "truth not 0/1": (f"compare {GOOD} --truth b", None, ["'b'", "1 or true"]),
    "nan cell": (f"compare {GOOD}", nan_cell, ["'nan'", "'b'", "row 5"]),
    "text feature": ("compare train.csv --val val.csv --target target", None, ["'key'", "'r0'"]),
    "column not in val": (f"compare {GOOD}", corrupt_train(",a,", ",aa,"), ["val.csv", "'aa'"]),
    "one class": (f"compare ltrain.csv --val lval.csv {C}", one_class, ["one class", "'yes'"]),
    "label unseen": (f"compare ltrain.csv --val lval.csv {C}", unseen_label, ["'maybe'", "row"]),
    "text for ridge": (
        f"compare ltrain.csv --val lval.csv {C} --model ridge", None, ["targets", "numbers"],
    ),
    "negative mu": (f"compare {GOOD} --mu -1", None, ["mu is -1.0"]),
    "mu is nan": (f"compare {GOOD} --mu nan", None, ["mu is nan"]),
    "mu is text": (f"compare {GOOD} --mu big", None, ["--mu", "'big'"]),
    "negative ratio": (f"compare {GOOD} --ratios 1 -1", None, ["ratio is -1.0"]),
    "negative seed": (f"compare {GOOD} --seed -1", None, ["seed is -1"]),
    "empty val": (
        f"compare {GOOD}", lambda: Path("val.csv").write_text(",".join(HEADER) + "\n"),
        ["val.csv", "header only"],
    ),
    "val without a byte": (
        f"compare {GOOD}", lambda: Path("val.csv").write_bytes(b""), ["val.csv", "empty file"],
    ),
    "binary junk": (
        f"compare {GOOD}", lambda: Path("train.csv").write_bytes(bytes(range(256)) * 20),
        ["train.csv", "binary"],
    ),
    "not a table": (
        f"compare train.txt --val val.csv {C}", lambda: Path("train.txt").write_text("a,b\n1,2\n"),
        ["train.txt", ".csv or .npz"],
    ),
    "corrupt 2": ("compare --dataset digits --corrupt 2", None, ["corrupt is 2.0"]),
    "corrupt with files": (f"compare {GOOD} --corrupt 0.5", None, ["--corrupt", "--dataset"]),
    "unknown dataset": ("compare --dataset mnist", None, ["'mnist'", "digits"]),
    "files and dataset": (f"compare {GOOD} --dataset digits", None, ["TRAIN.csv", "--dataset"]),
    "folder not empty": (f"select {GOOD} -o full", own_files, ["full", "thesis.txt"]),
    "folder is a file": (f"select {GOOD} -o val.csv", None, ["val.csv", "folder"]),
    "folder under a file": (f"select {GOOD} -o val.csv/out", None, ["val.csv/out"]),
    "folder in use": (f"select {GOOD} -o .", None, ["in use"]),
    "no folder": (f"select {GOOD}", None, ["-o"]),
    "json is a folder": (
        f"compare {GOOD} --json there", lambda: Path("there").mkdir(), ["not a plain file"],
    ),
    "json in no folder": (f"compare {GOOD} --json nowhere/o.json", None, ["nowhere/o.json"]),
    "json over data": (f"compare {GOOD} --json val.csv", None, ["val.csv", "read as data"]),
    "json in folder": (f"select {GOOD} -o out --json out/o.json", None, ["one another's way"]),
    "unknown option": (f"compare {GOOD} --gamma 1", None, ["--gamma"]),
    "abbreviated option": (f"compare {GOOD} --rat 1", None, ["--rat", "bdtheory compare --help"]),
    "option of another command": (
        f"select {GOOD} -o out --ratios 1", None, ["--ratios", "bdtheory select --help"],
    ),
    "unknown method": (f"select {GOOD} -o out --method magic", None, ["'magic'", "implicit"]),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_nothing_else(case, files, capsys, monkeypatch):
    line, prepare, needles = BAD[case]
    if "digits" in line and importlib.util.find_spec("sklearn") is None:
        pytest.skip("the digits need scikit-learn")
    if prepare:
        prepare()
    where = ["o.json", "out"]
    if line and "--json" not in line and "-o ." not in line:
        line += " --json o.json"
    if line.startswith("compare") and "-o" not in line.split():
        line += " -o out"
    before = {name: (files / name).is_dir() or (files / name).read_bytes() for name in tree(files)}
    if case not in ("negative ratio",):  # everything else is known before anything is computed
        monkeypatch.setattr(cli, "learn_weights", lambda *_, **__: pytest.fail("computed first"))
    assert run(line) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("bdtheory: error: ")
    assert err.count("\n") == 1
    assert len(err) < 400
    for needle in needles:
        assert needle in err
    assert "try" in err
    after = {name: (files / name).is_dir() or (files / name).read_bytes() for name in tree(files)}
    assert after == before
    assert not set(where) & set(after)


@pytest.mark.parametrize("command", ["compare", "select"])
def test_an_interrupt_leaves_nothing(command, files, capsys, monkeypatch):
    def interrupted(*_, **__):
        assert len(tree(files)) == 8  # the drafts are there while the work goes on
        raise KeyboardInterrupt

    before = tree(files)
    monkeypatch.setattr(cli, "learn_weights", interrupted)
    assert run(f"{command} {GOOD} -o deep/out --json o.json") == 130
    assert capsys.readouterr().err.count("\n") == 1
    assert tree(files) == before


def test_a_failing_rename_keeps_the_earlier_result(files, capsys, monkeypatch):
    assert run(f"{SELECT} -o out") == 0
    before = {p: (files / p).read_bytes() for p in tree(files) if (files / p).is_file()}
    rename, failed = Path.rename, []

    def only_away(self, target):
        if Path(target) == (files / "out").resolve() and not failed:
            failed.append(self)
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", only_away)
    assert run(f"{SELECT} -o out --seed 1") == 2
    assert "No space left" in capsys.readouterr().err
    assert {p: (files / p).read_bytes() for p in tree(files) if (files / p).is_file()} == before


def test_a_missing_extra_is_an_error_with_its_remedy(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    assert run("compare --dataset digits") == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "pip install" in err


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_progress_is_one_line_on_a_terminal_and_silent_elsewhere(files, capsys, monkeypatch):
    assert run(f"{SELECT} -o one --method bmo") == 0
    assert capsys.readouterr().err == ""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    assert run(f"{SELECT} -o two --method bmo") == 0
    shown = terminal.getvalue()
    assert "\n" not in shown
    assert shown.endswith("\r\033[K")  # the line is cleared at the end
    first = Path("two/history.csv").read_text().splitlines()[1].split(",")[2]
    assert f"BMO()  step 0  validation loss {float(first):.4g}" in shown
    one, two = (Path(f"{name}/weights.csv").read_bytes() for name in ("one", "two"))
    assert one == two


def test_as_text_shows_arguments_that_are_not_the_defaults():
    assert console.as_text(bdt.Implicit()) == "Implicit()"
    assert console.as_text(bdt.Penalty(gamma=5.0, value_function=False)) == (
        "Penalty(gamma=5.0, value_function=False)"
    )
    assert console.as_text(bdt.DirectMixing(ratio=0.1)) == "DirectMixing(ratio=0.1)"
    assert console.as_text(bdt.Ridge(mu=0.5, fit_intercept=True)) == (
        "Ridge(mu=0.5, fit_intercept=True)"
    )


@pytest.mark.parametrize("command", ["", "compare", "select"])
def test_help_teaches_with_examples_that_parse(command, capsys):
    with pytest.raises(SystemExit) as done:
        run(f"{command} --help")
    assert done.value.code == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 100
    examples = [line.strip() for line in text.splitlines() if line.startswith("  bdtheory ")]
    assert len(examples) == {"": 4, "compare": 4, "select": 4}[command]
    for example in examples:
        args = cli.build_parser().parse_args(shlex.split(example)[1:])
        assert args.command.__name__ == example.split()[1]
    if command:
        for option in ("--val", "--target", "--truth", "--mu", "--seed", "--json", "-o"):
            assert option in text
        assert "default 0.01" in " ".join(text.split())


@pytest.fixture(scope="module")
def small_digits(tmp_path_factory):
    """One comparison on a part of the digits: rows, and what was printed."""
    pytest.importorskip("sklearn")
    file = tmp_path_factory.mktemp("digits") / "rows.json"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inputs, "digits", functools.partial(digits, N=200, m=80))
        patch.setattr(sys, "stdout", printed := io.StringIO())
        assert run(f"compare --dataset digits --corrupt 0.4 --seed 2 --mu 0.1 --json {file}") == 0
    return strict_json(file), printed.getvalue()


def test_digits_rows_are_the_librarys(small_digits):
    rows, _ = small_digits
    task = digits(2, corrupt=0.4, N=200, m=80, mu=0.1)
    assert [row["method"] for row in rows] == NAMES
    for row, method in ((rows[1], bdt.Uniform()), (rows[6], bdt.BMO())):
        fit = bdt.learn_weights(task.problem(), method, seed=2)
        assert row["val_loss"] == pytest.approx(fit.val_loss, rel=1e-9)
        assert row["test_loss"] == pytest.approx(fit.test_loss, rel=1e-9)
        assert row["auc"] == pytest.approx(auc(fit.weights, task.clean), abs=1e-6)


def test_digits_table_knows_the_truth(small_digits):
    rows, printed = small_digits
    assert "200 training" in printed
    assert "AUC" in printed
    assert "test loss" in printed
    assert all(row["auc"] is not None and row["test_loss"] is not None for row in rows)


def test_digits_have_1000_training_and_400_validation_rows_by_default():
    pytest.importorskip("sklearn")
    task, ids = cli.load(cli.build_parser().parse_args(["compare", "--dataset", "digits"]))
    assert ids is None
    assert task.train[0].shape == (1000, 65)
    assert len(task.val[1]) == 400
    assert task.test is not None
    assert len(task.test[1]) == 397
    assert task.mu == 1e-2
    assert 0.4 < np.mean(~task.clean) < 0.5  # half redrawn, a tenth of these unchanged by chance


def test_as_a_module_help_is_there_without_torch_and_matplotlib():
    code = "import sys; from bdtheory.cli import main\ntry: main(['--help'])\nfinally: " + (
        "print(sorted({'torch', 'matplotlib', 'sklearn'} & {m.split('.')[0] for m in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "examples:" in done.stdout
    assert done.stdout.rstrip().endswith("[]")


def test_as_a_process_bad_input_is_exit_status_2_without_a_traceback(files):
    command = [sys.executable, "-m", "bdtheory", "select", "train.csv", "--val", "nothing.csv"]
    command += [*COLUMNS, "-o", "out"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("bdtheory: error: nothing.csv: got no such file; needed")
    assert done.stderr.count("\n") == 1
    assert not (files / "out").exists()
