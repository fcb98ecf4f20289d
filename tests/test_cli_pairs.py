"""`select` and `refine` on question-response pairs: files in, the same rows with weights out."""

from __future__ import annotations

import csv
import dataclasses
import errno
import hashlib
import io
import json
import shlex
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

import bdtheory as bdt
from bdtheory import cli, pairs_estimate, pairs_output, pairs_refine, pairs_refined, pairs_run
from bdtheory.tasks import read_pairs, read_rows, tokenise, write_rows
from bdtheory.weights import effective_sample_size

pytest.importorskip("transformers", reason="transformers is not installed (extra lm)")
pytest.importorskip("peft", reason="peft is not installed (extra lm)")
from tiny_lm import LEARN, SIZE, tiny_files, tiny_llama_folder, tiny_pairs

from bdtheory.models import network

FILES = ["history.csv", "manifest.json", "model-card.md", "report.html", "selection",
         "selection/arrays.npz", "selection/selection.json", "weighted.jsonl"]  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """A random Llama of two layers with its tokenizer."""
    return tiny_llama_folder(tmp_path_factory.mktemp("lm") / "model", **SIZE)


@pytest.fixture
def files(tmp_path, monkeypatch, model):
    """A working folder: see `tiny_files`."""
    monkeypatch.chdir(tmp_path)
    return tiny_files(tmp_path, model)


BASE = "train.jsonl --val val.jsonl --model model"


def run(line: str) -> int:
    return cli.main(shlex.split(line))


def fresh() -> None:
    """Forget the loaded model and what it remembers, as a new process would."""
    network.load.cache_clear()


def tree(folder: Path | str) -> list[str]:
    found = [p.relative_to(folder).as_posix() for p in Path(folder).rglob("*")]
    return sorted(name for name in found if name != "model")


def weights(path: str = "out/weighted.jsonl") -> np.ndarray:
    return np.array([row["weight"] for row in read_rows(path)])


def interrupt_at(step: int, monkeypatch) -> None:
    """Ctrl-C after that step of selection."""
    real = pairs_run.learn_weights

    def learn(problem, method, *, callback=None, **more):
        def stop(now, weights):
            if now == step:
                raise KeyboardInterrupt

        return real(problem, method, callback=stop, **more)

    monkeypatch.setattr(pairs_run, "learn_weights", learn)


# What is written


def test_the_weights_are_those_of_the_library(files, model, capsys):
    line = f"select {BASE} --test test.jsonl --passes 3 --seed 5 --truth truth --json o.json -o out"
    assert run(f"{line} {LEARN}") == 0
    from bdtheory.models.huggingface import LM, HuggingFaceLM

    training = dataclasses.replace(
        LM, steps=6, batch_size=8, val_batch_size=4, learning_rate=0.02, drop_last=False,
        selector_rate=1.0, evaluations=6,
    )  # fmt: skip
    lm = HuggingFaceLM(str(model), lora=None, frozen=0.5, training=training)
    sets = {}
    for name in ("train", "val", "test"):
        tokens = tokenise(read_pairs(f"{name}.jsonl"), lm.tokenizer, max_length=256)
        sets[name] = tokens.prompts, tokens.responses
    fit = bdt.learn_weights(bdt.Problem(lm, **sets), bdt.Penalty(gamma=1.0), seed=5)
    assert weights() == pytest.approx(12 * fit.weights, rel=1e-4)
    assert np.ptp(fit.weights) > 1e-3
    rows, given = read_rows("out/weighted.jsonl"), read_rows("train.jsonl")
    added = {"weight", "selected"}
    assert [{k: v for k, v in row.items() if k not in added} for row in rows] == given
    assert [row["selected"] for row in rows] == (weights() >= 1).tolist()
    assert weights().mean() == pytest.approx(1.0)
    result = json.loads(Path("o.json").read_text())
    assert result["val_loss"] == pytest.approx(fit.val_loss, rel=1e-4)
    assert result["test_loss"] == pytest.approx(fit.test_loss, rel=1e-4)
    assert result["ess"] == pytest.approx(effective_sample_size(fit.weights), rel=1e-4)
    assert result["val_loss_start"] == pytest.approx(fit.history["val_loss"][0], rel=1e-5)
    saved = bdt.Selection.load("out/selection")
    assert 12 * saved.weights == pytest.approx(weights(), rel=1e-12)
    assert tree("out") == FILES
    out = capsys.readouterr().out
    assert f"validation loss        {result['val_loss']:#.4g}" in out
    assert (
        f"{result['ess']:.1f} of 12" in out and f"AUC of the weights     {result['auc']:.3f}" in out
    )
    lowest = np.argsort(weights(), kind="stable")[:5]
    shown = [line.split()[:2] for line in out.splitlines() if line.startswith("  line ")]
    assert shown == [["line", str(k + 1)] for k in lowest]


def test_the_manifest_says_what_it_was_made_of(files, model):
    assert run(f"select {BASE} --passes 1 -o out") == 0
    manifest = json.loads(Path("out/manifest.json").read_text())
    for path in ("train.jsonl", "val.jsonl"):
        assert manifest["sha256"][path] == hashlib.sha256(Path(path).read_bytes()).hexdigest()
    sums = manifest["model_sha256"]
    for name in ("model.safetensors", "config.json", "tokenizer.json"):
        assert sums[name] == hashlib.sha256((model / name).read_bytes()).hexdigest()
    tokens = manifest["tokens"]["train"]
    from bdtheory.models.huggingface import HuggingFaceLM

    made = tokenise(read_pairs("train.jsonl"), HuggingFaceLM("model").tokenizer, max_length=256)
    each = [len(p) + len(r) for p, r in zip(made.prompts, made.responses, strict=True)]
    assert (tokens["tokens"], tokens["longest"]) == (sum(each), max(each))
    assert manifest["template"] == made.template
    assert manifest["options"]["lora"] == 16 and manifest["seed"] == 0
    assert sorted(manifest["files"]) == [name for name in FILES if name != "selection"]
    assert {"torch", "transformers", "peft", "python"} <= set(manifest["versions"])
    card = Path("out/model-card.md").read_text()
    assert "Training data: 12 question-response pairs" in card and "5 trusted" in card


def chat(row: dict) -> list[dict]:
    return [{"role": "user", "content": row["prompt"]},
            {"role": "assistant", "content": row["completion"].strip()}]  # fmt: skip


FORMS = {
    "question": lambda r: {"question": r["prompt"], "response": r["completion"].strip()},
    "messages": lambda r: {"messages": chat(r)},
    "lists": lambda r: {"prompt": chat(r)[:1], "completion": chat(r)[1:]},
}


@pytest.mark.parametrize("ending", [".jsonl", ".json", ".parquet"])
def test_all_file_types_give_the_same_weights(files, ending):
    if ending == ".parquet":
        pytest.importorskip("pyarrow")
    for name in ("train", "val"):
        rows = read_rows(f"{name}.jsonl")
        write_rows(f"x{name}{ending}", rows)
        if ending == ".json":
            Path(f"x{name}.json").write_text(json.dumps(rows, indent=2))
    assert run(f"select {BASE} --passes 1 -o out") == 0
    assert run(f"select xtrain{ending} --val xval{ending} --model model --passes 1 -o other") == 0
    kind = ".parquet" if ending == ".parquet" else ".jsonl"
    assert read_rows(f"other/weighted{kind}") == read_rows("out/weighted.jsonl")


@pytest.mark.parametrize("form", FORMS)
def test_formats_of_conversations(files, form):
    """All three are one user message through the chat template: the same tokens, so weights."""
    for name in ("train", "val"):
        rows = read_rows(f"{name}.jsonl")
        write_rows(f"{name}-q.jsonl", [{"id": r["id"]} | FORMS["question"](r) for r in rows])
        write_rows(f"{name}-x.jsonl", [{"id": r["id"]} | FORMS[form](r) for r in rows])
    for x in "qx":
        line = f"select train-{x}.jsonl --val val-{x}.jsonl --model model --passes 1 -o {x}"
        assert run(f"{line} --method bmo") == 0
    found = read_rows("x/weighted.jsonl")
    assert [row["id"] for row in found] == list(range(12))
    assert [row["weight"] for row in found] == weights("q/weighted.jsonl").tolist()
    assert all(set(FORMS[form](tiny_pairs(1)[0])) < set(row) for row in found)
    template = json.loads(Path("x/manifest.json").read_text())["template"]
    assert template.startswith("the tokenizer's chat template")


def test_two_runs_write_the_same_bytes_but_seconds(files):
    for name in ("one", "two"):
        fresh()
        assert run(f"select {BASE} --top 0.5 --truth truth --json {name}.json -o {name}") == 0
    assert tree("one") == tree("two") == sorted([*FILES, "selected.jsonl"])
    assert Path("one.json").read_bytes() == Path("two.json").read_bytes()
    for name in tree("one"):
        if (files / "one" / name).is_file() and name != "history.csv":
            assert (files / "one" / name).read_bytes() == (files / "two" / name).read_bytes(), name
    tables = []
    for name in ("one", "two"):
        with open(f"{name}/history.csv", newline="") as file:
            tables.append([row | {"seconds": ""} for row in csv.DictReader(file)])
    assert tables[0] == tables[1] and len(tables[0]) > 2
    assert run(f"select {BASE} --seed 1 --passes 1 -o one") == 0  # an earlier result is replaced
    assert "selected.jsonl" not in tree("one")


@pytest.mark.parametrize(
    "options",
    ["--dtype bfloat16", "--checkpointing", "--normalise sample --selector-rate 0.1",
     "--method bmo", "--max-length 64 --too-long cut --device cpu"],
)  # fmt: skip
def test_every_option_trains(options, files):
    """And changes what it says: the manifest has it, and the same run without it is another."""
    assert run(f"select {BASE} --passes 1 -o out") == 0
    assert run(f"select {BASE} --passes 1 {options} -o other") == 0
    given = json.loads(Path("other/manifest.json").read_text())
    plain = json.loads(Path("out/manifest.json").read_text())
    assert given["options"] != plain["options"]
    assert given["result"]["val_loss"] < given["result"]["val_loss_start"]
    start = plain["result"]["val_loss_start"]
    if "sample" in options:
        assert given["result"]["val_loss_start"] > 3 * start  # a sum over tokens
    else:
        assert given["result"]["val_loss_start"] == pytest.approx(start, rel=1e-2)
    if "checkpointing" in options or "max-length" in options:  # same numbers, another way
        assert weights() == pytest.approx(weights("other/weighted.jsonl"), rel=1e-5)
    else:
        assert np.abs(weights() - weights("other/weighted.jsonl")).max() > 1e-5


@pytest.mark.parametrize("top, count", [(0.5, 6), (0.01, 1), (1.0, 12)])
def test_the_top_share_is_marked_and_written(files, top, count):
    assert run(f"select {BASE} --passes 1 --top {top} --selector-rate 9 -o out") == 0
    rows = read_rows("out/weighted.jsonl")
    order = np.argsort(-weights(), kind="stable")[:count]
    assert [k for k, row in enumerate(rows) if row["selected"]] == sorted(order)
    assert read_rows("out/selected.jsonl") == [row for row in rows if row["selected"]]


def test_ties_go_to_the_earlier_row_and_never_to_a_dropped_one():
    w, kept = np.array([1.0, 0.0, 2.0, 1.0, 1.0]), np.array([0, 2, 3, 4])
    gate = [pairs_output.chosen(w, kept, top).nonzero()[0].tolist() for top in (0.4, 0.6, 1.0)]
    assert gate == [[0, 2], [0, 2, 3], [0, 2, 3, 4]]
    assert pairs_output.chosen(w, kept, None).tolist() == [True, False, True, True, True]


def test_planted_rows_get_lower_weights_and_a_still_selector_none(files):
    write_rows("train.jsonl", tiny_pairs(32))
    line = f"select {BASE} {LEARN} --truth truth --passes 6 --json o.json -o out"
    assert run(line) == 0
    assert json.loads(Path("o.json").read_text())["auc"] > 0.95
    w = weights()
    assert w[::2].mean() > 1.1 and w[1::2].mean() < 0.9
    assert run(f"{line} --selector-rate 0") == 0
    assert json.loads(Path("o.json").read_text())["auc"] == 0.5
    assert weights().tolist() == pytest.approx([1.0] * 32, abs=1e-12)


def test_truth_is_not_read_while_learning(files):
    assert run(f"select {BASE} --passes 1 -o out") == 0
    assert run(f"select {BASE} --passes 1 -o with --truth truth") == 0
    assert weights().tolist() == weights("with/weighted.jsonl").tolist()


# Notes


def test_notes(files, capsys):
    write_rows("val.jsonl", [*tiny_pairs(5, 100, False), tiny_pairs(1)[0], tiny_pairs(3)[2]])
    assert run(f"select {BASE} --passes 1 -o out") == 0
    err = capsys.readouterr().err
    assert "note: 2 of 7 validation pairs also stand in the training data" in err
    assert "collapsed" not in err and "never went below" not in err
    assert "2 of 7 validation pairs also stand" in Path("out/model-card.md").read_text()
    assert run(f"select {BASE} {LEARN} --passes 4 --selector-rate 300 -o out") == 0
    assert "collapsed on few rows; try a smaller --selector-rate" in capsys.readouterr().err
    assert run(f"select {BASE} --learning-rate 1e-12 --passes 1 -o out") == 0
    assert "never went below its start" in capsys.readouterr().err


def test_rows_too_long(files, capsys):
    long = {"id": 99, "prompt": "the question " * 60, "completion": " is", "truth": "good"}
    write_rows("train.jsonl", [*tiny_pairs(6), long, *tiny_pairs(3, 6)])
    assert run(f"select {BASE} --max-length 40 -o out") == 2
    assert "1 of 10 pairs with too many tokens" in capsys.readouterr().err
    assert run(f"select {BASE} --max-length 40 --too-long drop --truth truth --top 1 -o out") == 0
    assert "1 train rows were too long and are left out (weight 0)" in capsys.readouterr().err
    rows = read_rows("out/weighted.jsonl")
    assert [row["id"] for row in rows] == [0, 1, 2, 3, 4, 5, 99, 6, 7, 8]
    assert weights()[6] == 0.0 and weights().mean() == pytest.approx(1.0)
    assert (weights() > 0).sum() == 9
    assert [row["id"] for row in rows if not row["selected"]] == [99]
    assert "1 were left out for their length" in Path("out/model-card.md").read_text()
    assert run(f"select {BASE} --max-length 40 --too-long cut -o out") == 0
    assert "1 train rows were too long and have been cut" in capsys.readouterr().err
    assert (weights() > 0).all()


def test_text_stays_text(files):
    evil = "<script>alert(1)</script><img src=x onerror=alert(2)> & \x1b[31m"
    write_rows("train.jsonl", [{"prompt": evil, "completion": evil}, *tiny_pairs(3)])
    assert run(f"select {BASE} --passes 1 -o out") == 0
    html = Path("out/report.html").read_text()
    assert "<script" not in html and "<img" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;&lt;img src=x onerror=alert(2)&gt; &amp;" in html


def test_an_escape_sequence_does_not_reach_the_terminal(files, capsys):
    write_rows("train.jsonl", [{"prompt": "a\x1b[31m", "completion": "b\x1b[0m"}])
    assert run(f"select {BASE} --passes 1 -o out") == 0
    assert "\x1b" not in capsys.readouterr().out


# Interruption


def test_resume_gives_what_an_uninterrupted_run_gives(files, capsys, monkeypatch):
    line = f"select {BASE} --passes 2 --batch 4 {LEARN}"
    fresh()
    assert run(f"{line} -o whole") == 0
    for name in tree("whole"):
        assert not name.endswith(".unfinished")
    capsys.readouterr()
    with monkeypatch.context() as patch:
        interrupt_at(4, patch)
        fresh()
        assert run(f"{line} -o out") == 130
    err = capsys.readouterr().err
    assert err.splitlines()[-1] == (
        "bdtheory: interrupted; go on with --resume, from out.unfinished"
    )
    assert not Path("out").exists() and Path("out.unfinished").is_dir()
    assert run(f"{line} -o out") == 2
    err = capsys.readouterr().err
    assert "out.unfinished is there" in err and "--resume" in err and "delete" in err
    assert run(f"{line} --seed 3 -o out --resume") == 2
    assert "is of another seed" in capsys.readouterr().err
    assert Path("out.unfinished").is_dir()
    fresh()
    assert run(f"{line} -o out --resume") == 0
    assert "step 0/" not in capsys.readouterr().err
    assert not Path("out.unfinished").exists()
    for name in ("weighted.jsonl", "selection/arrays.npz", "manifest.json", "report.html"):
        assert Path(f"out/{name}").read_bytes() == Path(f"whole/{name}").read_bytes(), name


def test_resume_with_another_model_in_the_same_folder(files, capsys, monkeypatch):
    shutil.copytree("model", "mine")
    data = BASE.replace("--model model", "--model mine")
    line = f"select {data} --passes 2 --batch 4 {LEARN} -o out"
    with monkeypatch.context() as patch:
        interrupt_at(4, patch)
        fresh()
        assert run(line) == 130
    config = Path("mine/generation_config.json")
    config.write_text(config.read_text() + " ")
    capsys.readouterr()
    fresh()
    assert run(f"{line} --resume") == 2
    assert "is of another content of the model" in capsys.readouterr().err
    assert Path("out.unfinished").is_dir()


def test_the_manifest_is_of_the_files_that_were_read(files, monkeypatch):
    before = hashlib.sha256(Path("train.jsonl").read_bytes()).hexdigest()
    real = pairs_run.learn_weights

    def learn(*args, **more):
        with open("train.jsonl", "a") as file:
            file.write('{"prompt": "late", "completion": "late"}\n')
        return real(*args, **more)

    monkeypatch.setattr(pairs_run, "learn_weights", learn)
    assert run(f"select {BASE} --passes 1 -o out") == 0
    manifest = json.loads(Path("out/manifest.json").read_text())
    assert manifest["sha256"]["train.jsonl"] == before
    assert len(read_rows("out/weighted.jsonl")) == len(read_rows("train.jsonl")) - 1


def test_resume_without_an_unfinished_run(files, capsys):
    assert run(f"select {BASE} -o out --resume") == 2
    assert "no out.unfinished" in capsys.readouterr().err


def test_an_interrupt_before_the_first_step_leaves_nothing(files, capsys, monkeypatch):
    def interrupted(*_, **__):
        assert len(tree(files)) == 4  # the draft is there
        raise KeyboardInterrupt

    before = tree(files)
    monkeypatch.setattr(pairs_run, "learn_weights", interrupted)
    assert run(f"select {BASE} -o deep/out") == 130
    assert capsys.readouterr().err.endswith("interrupted; nothing was written\n")
    assert tree(files) == before


@pytest.mark.parametrize(
    "error, needles",
    [
        (MemoryError(), ["--batch 4", "--max-length", "--checkpointing", "--frozen"]),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), ["--batch 4"]),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), ["--batch 4"]),
        (RuntimeError("unable to mmap 9 bytes: Cannot allocate memory (12)"), ["--dtype bfloat16"]),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), ["--batch 4"]),
        (OSError(errno.ENOSPC, "No space left on device"), ["no space left", "-o on another"]),
    ],
)
def test_what_runs_out_is_said_in_one_line(files, capsys, monkeypatch, error, needles):
    def fails(problem, method, *, checkpoint, **_):
        checkpoint.mkdir(parents=True)
        (checkpoint / "checkpoint.json").write_text('{"state": {"step": 0}}')
        raise error

    before = tree(files)
    monkeypatch.setattr(pairs_run, "learn_weights", fails)
    assert run(f"select {BASE} -o deep/out") == 2
    err = capsys.readouterr().err
    assert err.startswith("bdtheory: error: ") and err.count("\n") == 1
    for needle in [*needles, "needed", "try"]:
        assert needle in err
    assert tree(files) == before


def test_a_full_disk_after_steps_keeps_the_checkpoint(files, capsys, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    line = f"select {BASE} --passes 1 -o out"
    with monkeypatch.context() as patch:
        patch.setattr(pairs_output, "write_rows", full)
        assert run(line) == 2
    err = capsys.readouterr().err.splitlines()[-1]
    assert "no space left" in err and "go on with --resume" in err
    assert not Path("out").exists()
    assert run(f"{line} --resume") == 0
    assert tree("out") == FILES


def test_another_runtime_error_is_not_explained_away(files, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("shapes differ")

    monkeypatch.setattr(pairs_run, "learn_weights", broken)
    with pytest.raises(RuntimeError, match="shapes differ"):
        run(f"select {BASE} -o out")


def test_a_run_that_diverges_leaves_nothing(files, capsys):
    before = tree(files)
    assert run(f"select {BASE} --full --learning-rate 1e30 --passes 3 --batch 2 -o out") == 2
    err = capsys.readouterr().err.splitlines()[-1]
    assert "diverged" in err and "--learning-rate" in err
    assert tree(files) == before


# Bad input


def lines(name: str, *texts: str):
    return lambda: Path(f"{name}.jsonl").write_text("".join(f"{text}\n" for text in texts))


def bare_model():
    import shutil

    shutil.copytree("model", "bare")
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        Path(f"bare/{name}").unlink(missing_ok=True)


def own_files():
    Path("full").mkdir()
    Path("full/thesis.txt").write_text("mine")


GOOD = '{"prompt": "a", "completion": "b"}'
S = f"select {BASE} -o out"
BAD = {
    "no json": (S, lines("train", GOOD, "{oops"), ["train.jsonl, line 2", "no JSON"]),
    "missing column": (
        S, lines("train", '{"prompt": "a", "answer": "b"}'),
        ["line 1", "no column 'completion'", "prompt, answer"],
    ),
    "empty completion": (
        S, lines("train", GOOD, '{"prompt": "a", "completion": " "}'),
        ["line 2", "an empty completion"],
    ),
    "mixed formats": (
        S, lines("train", GOOD, '{"question": "a", "response": "b"}'),
        ["line 2", "question/response", "prompt/completion"],
    ),
    "empty file": (S, lines("val"), ["val.jsonl", "an empty file"]),
    "missing file": (S.replace("val.jsonl", "vla.jsonl"), None, ["vla.jsonl", "no such file"]),
    "weights already": (
        S, lines("train", GOOD[:-1] + ', "weight": 1}'), ["a column 'weight'", "renaming"],
    ),
    "no val": ("select train.jsonl --model model -o out", None, ["--val"]),
    "no model": ("select train.jsonl --val val.jsonl -o out", None, ["--model", "fetch-model"]),
    "no -o": (f"select {BASE}", None, ["-o"]),
    "no such model": (f"{S} --model nowhere/at/all", None, ["nowhere/at/all", "fetch-model"]),
    "a folder without a model": (f"{S} --model .", None, ["config.json"]),
    "no tokenizer": (f"{S} --model bare", bare_model, ["tokenizer", "bare"]),
    "a table's option": (f"{S} --mu 0.1", None, ["--mu", "pairs"]),
    "a table's target": (f"{S} --target y", None, ["--target", "pairs"]),
    "a data set": (f"{S} --dataset digits", None, ["--dataset", "pairs"]),
    "an option of pairs": (
        "select a.csv --val b.csv --target y -o out --lora 4", None, ["--lora", "tables"],
    ),
    "a folder for a table": (
        "select a.csv --val b.csv --target y -o out --model model", None, ["ridge", "'model'"],
    ),
    "implicit": (f"{S} --method implicit", None, ["'implicit'", "penalty, bmo"]),
    "lora and full": (f"{S} --lora 4 --full", None, ["--full", "--lora"]),
    "rank 0": (f"{S} --lora 0", None, ["lora is 0"]),
    "all frozen": (f"{S} --frozen 1", None, ["frozen is 1.0"]),
    "no pass": (f"{S} --passes 0", None, ["passes is 0"]),
    "no batch": (f"{S} --batch 0", None, ["batch is 0"]),
    "no val batch": (f"{S} --val-batch -1", None, ["val-batch is -1"]),
    "negative rate": (f"{S} --learning-rate -1", None, ["learning-rate is -1.0"]),
    "rate nan": (f"{S} --selector-rate nan", None, ["selector-rate is nan"]),
    "top 0": (f"{S} --top 0", None, ["top is 0.0"]),
    "top 2": (f"{S} --top 2", None, ["top is 2.0"]),
    "seed": (f"{S} --seed -1", None, ["seed is -1"]),
    "beyond the context": (f"{S} --max-length 9999", None, ["9999", "at most 256"]),
    "one token": (f"{S} --max-length 1", None, ["context is 1"]),
    "no such device": (f"{S} --device abacus", None, ["abacus"]),
    "no truth": (f"{S} --truth colour", None, ["colour", "id, prompt, completion, truth"]),
    "one truth": (f"{S} --truth prompt", None, ["0 of 12", "prompt"]),
    "other files": (f"select {BASE} -o full", own_files, ["full", "thesis.txt"]),
    "json over data": (f"{S} --json val.jsonl", None, ["val.jsonl", "read as data"]),
    "json in folder": (f"{S} --json out/o.json", None, ["one another's way"]),
    "typo": (f"{S} --pases 2", None, ["--pases", "bdtheory select --help"]),
    "refine: task and pairs": (f"refine {BASE} --task safety -o out", None, ["--task", "pairs"]),
    "refine: a table": ("refine a.csv --task safety -o out", None, ["a.csv"]),
    "refine: pairs' option": ("refine --task safety --lora 3", None, ["--lora", "--task"]),
    "refine: neither": ("refine -o out", None, ["--task"]),
    "refine: no round": (f"refine {BASE} --rounds 0 -o out", None, ["rounds is 0"]),
    "refine: share": (f"refine {BASE} --share 2 -o out", None, ["share is 2.0"]),
    "refine: no room": (f"refine {BASE} --max-new 250 -o out", None, ["250", "256"]),
    "refine: no selection": (
        f"refine {BASE} --max-new 4 --selection nowhere -o out", None, ["nowhere", "--selection"],
    ),
    "refine: columns": (
        f"refine {BASE} --max-new 4 -o out", lines("train", GOOD[:-1] + ', "round": 1}'),
        ["a column 'round'"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_nothing_else(case, files, capsys, monkeypatch):
    line, prepare, needles = BAD[case]
    if prepare:
        prepare()
    before = {name: (files / name).is_dir() or (files / name).read_bytes() for name in tree(files)}
    monkeypatch.setattr(pairs_run, "learn_weights", lambda *_, **__: pytest.fail("computed first"))
    assert run(line) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("bdtheory: error: ")
    assert err.count("\n") == 1
    assert len(err) < 500
    for needle in [*needles, "try"]:
        assert needle in err
    after = {name: (files / name).is_dir() or (files / name).read_bytes() for name in tree(files)}
    assert after == before


# Progress and estimates


def test_progress_on_a_terminal_leaves_the_evaluations(files, monkeypatch):
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stderr", terminal)
    assert run(f"select {BASE} --passes 1 --batch 3 -o out") == 0
    text = terminal.getvalue()
    assert text.endswith("\r\033[K")
    steps = [part for part in text.split("\r\033[K") if part.startswith("step")]
    assert [part.split()[1] for part in steps] == ["1/4", "2/4", "3/4", "4/4"]
    for part in steps:  # the evaluation's line takes the place of the shorter status before it
        status, _, evaluated = part.partition("\r")
        assert (" s left" in status) == (part != steps[0])  # the first step tells no speed yet
        assert evaluated == "" or len(evaluated.splitlines()[0]) >= len(status)
    found = [line for line in text.splitlines() if "L_val" in line]
    assert len(found) == 5


def test_dry_run_counts_and_writes_nothing(files, capsys, monkeypatch):
    before = tree(files)
    monkeypatch.setattr(pairs_run, "learn_weights", lambda *_, **__: pytest.fail("computed"))
    assert run(f"select {BASE} --dry-run --max-length 16 --batch 4") == 0
    assert tree(files) == before
    out = capsys.readouterr().out
    from bdtheory.models.huggingface import HuggingFaceLM

    made = tokenise(read_pairs("train.jsonl"), HuggingFaceLM("model").tokenizer, max_length=256)
    each = np.array([len(p) + len(r) for p, r in zip(made.prompts, made.responses, strict=True)])
    long = int((each > 16).sum())
    assert 0 < long < 12
    assert f"12 pairs (prompt/completion); tokens: {each.sum()}, mean {each.mean():.1f}" in out
    assert f"longest {each.max()}; {long} too long for 16" in out
    assert "; cut below" in out  # without --too-long a run would stop there
    assert "overlap  0 of 5 validation pairs" in out
    assert "for 6 steps" in out and "GiB" in out
    theta = HuggingFaceLM("model", frozen=0.67).initial_theta()
    assert f"trained  {sum(t.numel() for t in theta.values())} parameters" in out


def test_a_dry_run_that_runs_out_of_memory_says_so(files, capsys, monkeypatch):
    def fails(*_):
        raise RuntimeError("unable to mmap 9 bytes: Cannot allocate memory (12)")

    monkeypatch.setattr(pairs_estimate, "estimate", fails)
    assert run(f"select {BASE} --dry-run") == 2
    err = capsys.readouterr().err
    assert err.startswith("bdtheory: error: out of memory") and err.count("\n") == 1


@pytest.mark.parametrize("train", ["", "train.txt", "train.jsonl.gz", "train.csv"])
def test_a_language_model_beside_another_file_is_told_so(files, capsys, train):
    assert run(f"select {train} --val val.jsonl --model model -o out") == 2
    err = capsys.readouterr().err
    assert (train or "no training file") in err and "a file of pairs (.jsonl" in err
    assert err.count("\n") == 1 and not Path("out").exists()


def test_resume_with_other_options_is_told_so(files, capsys, monkeypatch):
    def stops(step, weights):
        if step == 2:
            raise KeyboardInterrupt

    real = pairs_run.learn_weights
    monkeypatch.setattr(
        pairs_run, "learn_weights", lambda *a, **more: real(*a, **more | {"callback": stops})
    )
    assert run(f"select {BASE} -o out") == 130
    capsys.readouterr()
    assert run(f"select {BASE} -o out --passes 3 --resume") == 2
    err = capsys.readouterr().err
    assert "got --resume with other options" in err and "delete out.unfinished" in err
    assert "go on with --resume" not in err and Path("out.unfinished").is_dir()
    monkeypatch.undo()


@pytest.mark.parametrize("normalise, unit", [("token", "token"), ("sample", "response")])
def test_the_report_says_what_losses_count(files, capsys, normalise, unit):
    assert run(f"select {BASE} --passes 1 --top 0.25 --normalise {normalise} -o out") == 0
    assert f"Losses are in nats per {unit}." in Path("out/report.html").read_text()
    assert "selected               3 of 12 rows (--top 0.25)\n" in capsys.readouterr().out
    assert run(f"select {BASE} --passes 1 --normalise {normalise} -o all") == 0
    count = sum(row["weight"] >= 1 for row in read_rows("all/weighted.jsonl"))
    assert f"selected               {count} of 12 rows (weight >= 1)\n" in capsys.readouterr().out


def test_the_estimate_adds_up_steps_and_evaluations(files, monkeypatch):
    """With 1 s for a first pass, 0.25 s for another and 0.5 s for 5 of 5 pairs evaluated."""
    times = iter([1.0, 0.25, 0.5])
    monkeypatch.setattr(pairs_estimate, "_seconds", lambda work: (work(), next(times))[1])
    found = []
    real = pairs_estimate.estimate
    monkeypatch.setattr(pairs_estimate, "estimate", lambda *a: found.append(real(*a)) or found[0])
    assert run(f"select {BASE} --dry-run --batch 5 --passes 3") == 0
    assert found[0].steps == 9
    assert found[0].seconds == pytest.approx(3 * 1.0 + 6 * 0.25 + (9 + 1) * 0.5)


# Refine

R = f"refine {BASE} --max-new 6 --passes 1 {LEARN}"


def test_refine_writes_the_enlarged_data(files, capsys):
    assert run(f"select {BASE} --passes 1 {LEARN} -o chosen") == 0
    line = f"{R} --share 0.25 --responses 2 --truth truth --test test.jsonl"
    assert run(f"{line} --json o.json -o out") == 0
    rows, given = read_rows("out/refined.jsonl"), read_rows("train.jsonl")
    old, new = rows[:12], rows[12:]
    marks = {"weight", "generated", "round"}
    assert [{k: v for k, v in row.items() if k not in marks} for row in old] == given
    assert {(row["generated"], row["round"]) for row in old} == {(False, 0)}
    assert {(row["generated"], row["round"]) for row in new} == {(True, 1)}
    result = json.loads(Path("o.json").read_text())
    assert len(new) == result["generated"] and len(new) + result["without_text"] <= 6
    assert len(new) >= 1
    w = np.array([row["weight"] for row in rows])
    assert w.mean() == pytest.approx(1.0) and (w > 0).all()
    # Asked again: the three questions of lowest weight.
    lowest = np.argsort(weights("chosen/weighted.jsonl"), kind="stable")[:3]
    assert {row["id"] for row in new} <= {given[k]["id"] for k in lowest}
    for row in new:
        assert row["prompt"] == given[row["id"]]["prompt"]
        assert row["completion"] != given[row["id"]]["completion"]
        assert row["truth"] is None
    after = bdt.Selection.load("out/selection")
    assert len(after.weights) >= len(rows) and result["val_loss"] == after.val_loss
    offline = after.weights[:12]  # the training rows stand first
    assert w[:12] / w[:12].sum() == pytest.approx(offline / offline.sum())
    assert np.ptp(offline) > 1e-4
    html = Path("out/report.html").read_text()
    assert "responses before and after" in html
    assert "Nobody has checked them" in Path("out/model-card.md").read_text()
    out, err = capsys.readouterr()
    assert f"{result['not_ended']} of 6 generated responses did not end within --max-new 6" in err
    assert f"generated rows   {len(new)} of {len(rows)}" in out


def test_the_generated_text_is_what_the_model_says(files):
    """At round 1 the model as it is answers; by hand, with the seed of the round."""
    assert run(f"{R} --share 0.5 --seed 4 -o out") == 0
    new = [row for row in read_rows("out/refined.jsonl") if row["generated"]]
    from bdtheory.models.huggingface import HuggingFaceLM

    lm = HuggingFaceLM("model", lora=None, frozen=0.5)
    tokens = tokenise(read_pairs("train.jsonl"), lm.tokenizer, max_length=256)
    offline = bdt.Selection.load("out/offline").weights
    asked = np.argsort(offline, kind="stable")[:6]
    made = lm.generate(
        lm.initial_theta(4), [tokens.prompts[k] for k in asked], max_new=6, temperature=0.8,
        seed=int(np.random.default_rng([4, 1]).integers(2**31)),
    )  # fmt: skip
    texts = [lm.tokenizer.decode(r, skip_special_tokens=True) for r in made.responses]
    said = {int(k): text for k, text in zip(asked, texts, strict=True) if text.strip()}
    assert {row["id"]: row["completion"] for row in new} == said


def test_refine_goes_on_from_a_selection(files, capsys):
    assert run(f"select {BASE} --passes 1 {LEARN} --top 0.5 -o chosen") == 0
    Path("chosen").rename(".old-01234567-chosen")  # as a kill between two renames leaves it
    for name, more in (("a", ""), ("b", "--selection chosen")):
        fresh()
        assert run(f"{R} {more} -o {name}") == 0
    for name in ("refined.jsonl", "selection/arrays.npz", "offline/arrays.npz"):
        assert Path(f"a/{name}").read_bytes() == Path(f"b/{name}").read_bytes()
    capsys.readouterr()
    write_rows("other.jsonl", tiny_pairs(4, 300, False))
    for more, needle in (
        ("--val other.jsonl", "another val file"),
        ("--passes 2", "passes 1, got 2"),
        ("--seed 1", "seed 0, got 1"),
    ):
        assert run(f"{R} --selection chosen {more} -o c") == 2
        assert needle in capsys.readouterr().err
        assert not Path("c").exists()


def test_refine_resumes_between_rounds(files, capsys, monkeypatch):
    line = f"{R} --rounds 2"
    assert run(f"{line} -o whole") == 0
    real = pairs_refine.PairRounds.advance

    def stop(self):
        if self.found.rounds == 1:
            raise KeyboardInterrupt
        real(self)

    with monkeypatch.context() as patch:
        patch.setattr(pairs_refine.PairRounds, "advance", stop)
        assert run(f"{line} -o out") == 130
    assert "--resume" in capsys.readouterr().err
    fresh()
    assert run(f"{line} -o out --resume") == 0
    err = capsys.readouterr().err
    assert "round 2 of 2" in err and "round 1 of 2" not in err
    assert tree("out") == tree("whole")
    for name in ("refined.jsonl", "selection/arrays.npz", "model-card.md"):
        assert Path(f"out/{name}").read_bytes() == Path(f"whole/{name}").read_bytes(), name


def test_refine_resumes_after_the_last_round(files, monkeypatch):
    assert run(f"{R} -o whole") == 0

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(pairs_refined, "write_rows", full)
        assert run(f"{R} -o out") == 2
    fresh()
    assert run(f"{R} -o out --resume") == 0
    for name in ("refined.jsonl", "report.html"):
        assert Path(f"out/{name}").read_bytes() == Path(f"whole/{name}").read_bytes(), name


def test_refine_online_only_gives_the_training_rows_no_weight(files):
    assert run(f"{R} --offline 0 -o out") == 0
    rows = read_rows("out/refined.jsonl")
    assert all((row["weight"] > 0) == row["generated"] for row in rows)
    assert np.mean([row["weight"] for row in rows]) == pytest.approx(1.0)
