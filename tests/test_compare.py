"""`bdtheory compare` with scores of other tools, on tables and on question-response pairs."""

from __future__ import annotations

import csv
import dataclasses
import json
import shlex
from pathlib import Path

import numpy as np
import pytest
from tiny_lm import LEARN, SIZE, tiny_files, tiny_llama_folder, tiny_pairs

import bdtheory as bdt
from bdtheory import cli, compare_pairs
from bdtheory.methods import Given
from bdtheory.rows import read_rows, write_rows
from bdtheory.tasks import read_pairs, read_table, tokenise, write_csv
from bdtheory.weights import auc, effective_sample_size, top_scores

KEYS = ["method", "val_loss", "test_loss", "ess", "auc", "seconds"]


def run(line: str) -> int:
    """Exit status of a command line, without the program's name."""
    return cli.main(shlex.split(line))


def rows_of(path: str) -> dict[str, dict]:
    """By method, what --json wrote; NaN would be an error."""

    def refuse(name):
        raise AssertionError(f"{name} is not JSON")

    rows = json.loads(Path(path).read_text(), parse_constant=refuse)
    assert all(list(row) == KEYS for row in rows)
    return {row["method"]: row for row in rows}


# Tables ------------------------------------------------------------------------------------------

HEADER = ["a", "b", "reward", "ppl", "tied", "clean", "target"]
T = "--target target --truth clean"


@pytest.fixture
def tables(tmp_path, monkeypatch):
    """target = a - 2 b, with the other sign in a third of the training rows; two of the scores say
    which, one says nothing."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(3)
    for name, n, bad in (("train", 36, 1 / 3), ("val", 12, 0.0), ("test", 30, 0.0)):
        X, clean = rng.standard_normal((n, 2)), np.arange(n) >= bad * n
        y = (X @ [1.0, -2.0] + 0.3 * rng.standard_normal(n)) * np.where(clean, 1, -1)
        reward, ppl = np.where(clean, 2.0, -1.0) + 0.1 * rng.random(n), 50 - 40.0 * clean
        columns = [*X.T, reward, ppl, np.full(n, 7), clean.astype(int), y]
        write_csv(
            f"{name}.csv", HEADER, [[c.item() for c in row] for row in zip(*columns, strict=True)]
        )
    return tmp_path


def test_a_row_for_each_score_is_what_the_library_gives(tables, capsys):
    line = f"compare train.csv --val val.csv --test test.csv {T} --scores reward ppl:low tied"
    assert run(f"{line} --top 0.25 --json o.json -o out") == 0
    rows = rows_of("o.json")
    sets = {name: read_table(f"{name}.csv", "target", columns=["a", "b"]) for name in
            ("train", "val", "test")}  # fmt: skip
    problem = bdt.Problem(bdt.Ridge(1e-2), **{name: (t.X, t.y) for name, t in sets.items()})
    more = read_table("train.csv", "clean", columns=["reward", "ppl", "tied"])
    clean = more.y == 1
    names = ["Given('reward')", "Given('ppl:low')", "Given('tied')"]
    assert list(rows)[6:9] == names and len(rows) == 13
    for name, scores, low in zip(names, more.X.T, (False, True, False), strict=True):
        w = top_scores(scores, 0.25, low=low)
        fit, row = bdt.learn_weights(problem, Given(w)), rows[name]
        assert row["val_loss"] == pytest.approx(fit.val_loss, rel=1e-12)
        assert row["test_loss"] == pytest.approx(fit.test_loss, rel=1e-12)
        assert row["ess"] == pytest.approx(9.0)  # a quarter of 36
        assert row["auc"] == pytest.approx(auc(w, clean))
    # The columns are no features: the other rows are those of the problem without them.
    uniform = bdt.learn_weights(problem, bdt.Uniform())
    assert rows["Uniform()"]["test_loss"] == pytest.approx(uniform.test_loss, rel=1e-12)
    # Of equal scores the first rows, all of them bad, and 9 of 36: never a clean one.
    assert rows["Given('tied')"]["auc"] == pytest.approx(0.5 * (1 - 9 / 12))
    assert rows["Given('reward')"]["auc"] == pytest.approx(0.5 * (1 + 9 / 24))
    assert 10 * rows["Given('reward')"]["test_loss"] < rows["Given('tied')"]["test_loss"]
    out = capsys.readouterr().out
    assert "Given: the best 0.25 of the rows by that column" in " ".join(out.split())
    options = json.loads(Path("out/config.json").read_text())["options"]
    assert options["scores"] == ["reward", "ppl:low", "tied"] and options["top"] == 0.25


def test_scores_that_are_the_truth_have_an_auc_of_1(tables):
    line = f"compare train.csv --val val.csv {T} --scores ppl:low clean --top {24 / 36}"
    assert run(f"{line} --json o.json") == 0
    for name in ("ppl:low", "clean"):
        assert rows_of("o.json")[f"Given('{name}')"]["auc"] == 1.0


def test_low_scores_are_minus_the_column(tables):
    with open("train.csv", newline="") as file:
        head, *lines = csv.reader(file)
    write_csv("train.csv", [*head, "minus"], [[*line, -float(line[3])] for line in lines])
    found = []
    for one, other in (("ppl:low", "minus"), ("ppl", "minus:low")):
        line = f"compare train.csv --val val.csv {T} --scores {one} {other} tied"
        assert run(f"{line} --json o.json") == 0
        rows = rows_of("o.json")
        pair = [rows[f"Given('{name}')"] for name in (one, other)]
        found.append([{k: row[k] for k in KEYS[1:5]} for row in pair])
    assert found[0][0] == found[0][1] and found[1][0] == found[1][1]
    assert found[0][0]["auc"] > 0.5 > found[1][0]["auc"]


def test_arrays_of_an_npz_file_are_scores(tables):
    assert (
        run(f"compare train.csv --val val.csv {T} --scores reward ppl:low tied --json o.json") == 0
    )
    extra = read_table("train.csv", "clean", columns=["reward", "ppl"])
    for name in ("train", "val"):
        table = read_table(f"{name}.csv", "target", columns=["a", "b"])
        more = {"reward": extra.X[:, 0], "ppl": extra.X[:, 1].astype(int), "clean": extra.y}
        more = more if name == "train" else {}
        np.savez(f"{name}.npz", X=table.X, y=table.y, word=np.array(["a"] * len(table)), **more)
    line = "compare train.npz --val val.npz --truth clean --json n.json --scores"
    assert run(f"{line} reward ppl:low") == 0
    one, other = rows_of("o.json"), rows_of("n.json")
    for name in ("Given('reward')", "Given('ppl:low')"):
        assert {k: one[name][k] for k in KEYS[:5]} == {k: other[name][k] for k in KEYS[:5]}


def change(old: str, new: str):
    def write():
        Path("train.csv").write_text(Path("train.csv").read_text().replace(old, new, 1))

    return write


def npz_of_words():
    table = read_table("train.csv", "target", columns=["a", "b"])
    np.savez("train.npz", X=table.X, y=table.y, word=np.array(["a"] * 36))


GOOD = f"compare train.csv --val val.csv {T}"
BAD_TABLES = {
    "unknown": (f"{GOOD} --scores rewrad", None, ["'rewrad'", "'reward', 'ppl'", "train.csv"]),
    "text": (f"{GOOD} --scores ppl", change(",50.0,", ",high,"),
             ["'high'", "column 'ppl'", "row 2"]),
    "nan": (f"{GOOD} --scores ppl", change(",50.0,", ",nan,"), ["'nan'", "column 'ppl'", "row 2"]),
    "twice": (f"{GOOD} --scores ppl ppl:low", None, ["'ppl' twice"]),
    "no name": (f"{GOOD} --scores :low", None, ["no name"]),
    "top 0": (f"{GOOD} --scores ppl --top 0", None, ["top is 0.0"]),
    "top 2": (f"{GOOD} --scores ppl --top 2", None, ["top is 2.0", "at most 1"]),
    "top nan": (f"{GOOD} --scores ppl --top nan", None, ["top is nan"]),
    "top alone": (f"{GOOD} --top 0.5", None, ["--top without --scores"]),
    "the target": (f"{GOOD} --scores target", None, ["--scores target", "another role"]),
    "digits": ("compare --dataset digits --scores ppl", None, ["--scores and --dataset"]),
    "option of pairs": (f"{GOOD} --lora 4", None, ["--lora with tables"]),
    "a model": (f"{GOOD} --model there", None, ["--model 'there'", ".jsonl"]),
    "words": ("compare train.npz --val train.npz --scores word", npz_of_words,
              ["'word'", "got text", "a finite number"]),
    "no array": ("compare train.npz --val train.npz --scores ppl", npz_of_words,
                 ["'ppl'", "no such array"]),
}  # fmt: skip


def refused(line: str, needles: list[str], capsys) -> None:
    """Exit status 2, one line on standard error, and no file."""
    before = sorted(Path().iterdir())
    assert run(f"{line} -o out --json o.json") == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("bdtheory: error: ") and err.count("\n") == 1
    assert len(err) < 400 and "needed" in err and "; try " in err
    assert not [needle for needle in needles if needle not in err], err
    assert sorted(Path().iterdir()) == before


@pytest.mark.parametrize("case", BAD_TABLES)
def test_bad_scores_are_one_line(case, tables, capsys, monkeypatch):
    line, prepare, needles = BAD_TABLES[case]
    if prepare:
        prepare()
    monkeypatch.setattr(cli, "learn_weights", lambda *_, **__: pytest.fail("computed first"))
    refused(line, needles, capsys)


# Pairs -------------------------------------------------------------------------------------------

FILES = ["compare.csv", "compare.json", "manifest.json", "report.html"]
METHODS = ["ValidationOnly()", "Uniform()", "DirectMixing(ratio=1.0)", "Penalty(gamma=1.0)",
           "BMO(hot=3.0, cold=0.5)"]  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """A random Llama of two layers with its tokenizer."""
    pytest.importorskip("transformers", reason="transformers is not installed (extra lm)")
    pytest.importorskip("peft", reason="peft is not installed (extra lm)")
    return tiny_llama_folder(tmp_path_factory.mktemp("lm") / "model", **SIZE)


def pairs(n: int, first: int = 0, bad: bool = True) -> list[dict]:
    """`tiny_pairs` with columns that hold scores, and some that do not."""
    more = {"$a_{$": 1, "odd": [3]}
    return [
        row | more | {"n": row["id"], "ppl": 10.5 if row["truth"] == "good" else 50 + row["id"]}
        for row in tiny_pairs(n, first, bad)
    ]


@pytest.fixture
def files(tmp_path, monkeypatch, model):
    """A working folder: see `tiny_files`."""
    monkeypatch.chdir(tmp_path)
    return tiny_files(tmp_path, model, pairs)


P = "compare train.jsonl --val val.jsonl --model model"


def library(model: Path, **changes) -> bdt.Problem:
    """The same problem, made without the command line."""
    from bdtheory.models.huggingface import LM, HuggingFaceLM

    settings = {"steps": 6, "batch_size": 8, "val_batch_size": 4, "learning_rate": 0.02,
                "drop_last": False, "selector_rate": 1.0, "evaluations": 6}  # fmt: skip
    training = dataclasses.replace(LM, **settings | changes)
    lm = HuggingFaceLM(str(model), lora=None, frozen=0.5, training=training)
    sets = {}
    for name in ("train", "val", "test"):
        tokens = tokenise(read_pairs(f"{name}.jsonl"), lm.tokenizer, max_length=256)
        sets[name] = tokens.prompts, tokens.responses
    return bdt.Problem(lm, **sets)


def test_pairs_rows_are_what_the_library_gives(files, model, capsys):
    line = f"{P} --test test.jsonl --truth truth --scores ppl:low n --top 0.25 --ratios 0.5 1"
    assert run(f"{line} --passes 3 --seed 5 --json o.json -o out {LEARN}") == 0
    out, err = capsys.readouterr()
    rows, problem = rows_of("o.json"), library(model)
    low, high = np.zeros(12), np.zeros(12)
    low[[0, 2, 4]], high[[9, 10, 11]] = 1 / 3, 1 / 3
    expected = {
        "ValidationOnly()": bdt.ValidationOnly(),
        "Uniform()": bdt.Uniform(),
        "DirectMixing(ratio=0.5)": bdt.DirectMixing(0.5),
        "DirectMixing(ratio=1.0)": bdt.DirectMixing(1.0),
        "Given('ppl:low', ratio=1.0)": Given(low, ratio=1.0),
        "Given('n', ratio=1.0)": Given(high, ratio=1.0),
        "Penalty(gamma=1.0)": bdt.Penalty(gamma=1.0),
        "BMO(hot=3.0, cold=0.5)": bdt.BMO(hot=3.0, cold=0.5),
    }
    assert list(rows) == list(expected)
    clean = np.arange(12) % 2 == 0
    for name, method in expected.items():
        fit, row = bdt.learn_weights(problem, method, seed=5), rows[name]
        assert row["val_loss"] == pytest.approx(fit.val_loss, rel=1e-4)
        assert row["test_loss"] == pytest.approx(fit.test_loss, rel=1e-4)
        assert row["ess"] == pytest.approx(effective_sample_size(fit.weights), rel=1e-3)
        assert row["auc"] == pytest.approx(auc(fit.weights, clean), abs=1e-9)
    assert len({round(row["test_loss"], 4) for row in rows.values()}) >= 6  # not all the same
    assert rows["Given('ppl:low', ratio=1.0)"]["auc"] == 0.75  # 3 of 6 clean ones above all others
    assert [line for line in err.splitlines() if line.startswith("method ")] == [
        f"method {k} of 8: {name}" for k, name in enumerate(expected, start=1)
    ]
    for name, row in rows.items():
        (line,) = [line for line in out.splitlines() if line[2:].startswith(name)]
        assert f"{row['val_loss']:#.4g}  " in line and f"{row['auc']:.3f}" in line
    assert "12 training (6 of them known to be bad), 5 validation, 3 test pairs; 6 steps" in out


def test_pairs_folder_has_table_report_and_manifest(files, capsys):
    line = f"{P} --test test.jsonl --scores ppl:low $a_{{$ --passes 1 -o out"
    assert run(line) == 0
    assert sorted(path.name for path in Path("out").iterdir()) == FILES
    rows = json.loads(Path("out/compare.json").read_text())
    names = [*METHODS[:3], "Given('ppl:low', ratio=1.0)", "Given('$a_{$', ratio=1.0)", *METHODS[3:]]
    assert [row["method"] for row in rows] == names
    assert all(row["auc"] is None for row in rows)
    with open("out/compare.csv", newline="") as file:
        head, *cells = csv.reader(file)
    assert head == [*KEYS[:5], "status", "seconds"]
    assert [[c[0], float(c[1]), c[4]] for c in cells] == [
        [row["method"], row["val_loss"], ""] for row in rows
    ]
    manifest = json.loads(Path("out/manifest.json").read_text())
    assert manifest["command"] == "bdtheory compare" and manifest["files"] == FILES
    assert manifest["options"]["scores"] == ["ppl:low", "$a_{$"]
    assert set(manifest["sha256"]) == {"train.jsonl", "val.jsonl", "test.jsonl"}
    assert [row["val_loss"] for row in manifest["result"]["rows"]] == [r["val_loss"] for r in rows]
    html = Path("out/report.html").read_text()
    assert "<script" not in html and "http://" not in html.replace("http://www.w3.org", "")
    assert html.count("<tr>") == 1 + len(rows) and html.count("<svg") == 1
    for row in rows:
        assert f"{row['test_loss']:#.4g}</td>" in html and f"{row['test_loss']:.4g}" in html
    first = {name: Path("out", name).read_bytes() for name in ("report.html", "manifest.json")}
    assert run(line) == 0  # over its own result, to the same bytes
    assert {name: Path("out", name).read_bytes() for name in first} == first
    assert run("select train.jsonl --val val.jsonl --model model --passes 1 -o out") == 2
    assert "bdtheory select" in capsys.readouterr().err


def test_pairs_without_test_and_rows_too_long(files, capsys):
    rows = pairs(12)
    rows[0]["prompt"] += " what" * 100
    write_rows("train.jsonl", rows)
    line = f"{P} --scores ppl:low --passes 1 --max-length 40 --too-long drop --json o.json"
    assert run(f"{line} --truth truth --top {5 / 11}") == 0
    out, err = capsys.readouterr()
    found = rows_of("o.json")
    assert all(row["test_loss"] is None for row in found.values())
    # 5 of the 11 rows that are left: the clean ones.
    assert found["Given('ppl:low', ratio=1.0)"]["auc"] == 1.0
    assert found["Given('ppl:low', ratio=1.0)"]["ess"] == pytest.approx(5.0)
    assert "give --test FILE" in " ".join(out.split()) and "test loss " not in out
    assert "1 train rows were too long" in err


def test_pairs_a_diverged_method_is_a_row_without_losses(files, capsys, monkeypatch):
    real = compare_pairs.learn_weights

    def learn(problem, method, **more):
        fit = real(problem, method, **more)
        if isinstance(method, bdt.Uniform):
            fit.status, fit.message = bdt.Status.DIVERGED, "a loss was not finite"
        return fit

    monkeypatch.setattr(compare_pairs, "learn_weights", learn)
    assert run(f"{P} --passes 1 --json o.json -o out") == 0
    rows = rows_of("o.json")
    assert rows["Uniform()"]["val_loss"] is None and rows["BMO(hot=3.0, cold=0.5)"]["val_loss"] > 0
    out, err = capsys.readouterr()
    assert "note: Uniform(): a loss was not finite" in err
    assert next(line for line in out.splitlines() if "Uniform() " in line).split()[1] == "-"


def with_row(k: int, **cells):
    def write():
        rows = pairs(12)
        rows[k] |= cells
        write_rows("train.jsonl", rows)

    return write


def a_nan_in_parquet():
    pytest.importorskip("pyarrow")
    rows = [{k: row[k] for k in ("prompt", "completion", "ppl")} for row in pairs(12)]
    write_rows("train.parquet", [row | {"ppl": float(row["ppl"])} for row in rows[:3]]
               + [rows[3] | {"ppl": float("nan")}])  # fmt: skip


BAD_PAIRS = {
    "unknown": (f"{P} --scores pl", None, ["line 1", "--scores pl", "prompt, completion, truth"]),
    "text": (f"{P} --scores truth", None, ["train.jsonl, line 1", "'good'", "a finite number"]),
    "a list": (f"{P} --scores odd", None, ["line 1", "'[3]'"]),
    "a bool": (f"{P} --scores ppl", with_row(4, ppl=True), ["train.jsonl, line 5", "'True'"]),
    "a null": (f"{P} --scores ppl", with_row(6, ppl=None), ["train.jsonl, line 7", "no value"]),
    "huge": (f"{P} --scores ppl", with_row(2, ppl=10**400), ["train.jsonl, line 3", "finite"]),
    "nan": ("compare train.parquet --val val.jsonl --model model --scores ppl", a_nan_in_parquet,
            ["train.parquet, row 3", "'nan'"]),
    "twice": (f"{P} --scores ppl ppl", None, ["'ppl' twice"]),
    "top 1.5": (f"{P} --scores ppl --top 1.5", None, ["top is 1.5"]),
    "top alone": (f"{P} --top 1.0", None, ["--top without --scores"]),
    "ratio": (f"{P} --ratios -1", None, ["ratio is -1.0"]),
    "ridge": (f"{P} --mu 3", None, ["--mu with pairs"]),
    "no model": ("compare train.jsonl --val val.jsonl", None, ["no --model"]),
    "no val": ("compare train.jsonl --model model", None, ["no --val"]),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_PAIRS)
def test_bad_pairs_are_one_line_before_the_model_is_read(case, files, capsys, monkeypatch):
    line, prepare, needles = BAD_PAIRS[case]
    if prepare:
        prepare()
    monkeypatch.setattr("bdtheory.pairs_input.model_of", lambda _: pytest.fail("read first"))
    refused(line, needles, capsys)


def test_pairs_out_of_memory_is_one_line_and_an_interrupt_leaves_nothing(
    files, capsys, monkeypatch
):
    before = sorted(Path().iterdir())
    for error, status in ((RuntimeError("CUDA out of memory"), 2), (KeyboardInterrupt(), 130)):

        def fails(*_, error=error, **__):
            raise error

        monkeypatch.setattr(compare_pairs, "learn_weights", fails)
        assert run(f"{P} -o out --json o.json") == status
        said = capsys.readouterr().err.splitlines()
        assert said[0] == "method 1 of 5: ValidationOnly()" and len(said) == 2
        assert ("out of memory" in said[1]) == (status == 2)
        assert sorted(Path().iterdir()) == before


def test_the_rows_of_the_file_are_not_changed(files):
    before = read_rows("train.jsonl")
    assert run(f"{P} --scores ppl --passes 1") == 0
    assert read_rows("train.jsonl") == before
