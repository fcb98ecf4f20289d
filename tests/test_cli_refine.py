"""`bdtheory refine`: its numbers are the library's, its files are complete or absent."""

from __future__ import annotations

import csv
import dataclasses
import functools
import io
import json
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest

import bdtheory as bdt
from bdtheory import cli, cli_refine, console
from bdtheory.refinement import Refinement
from bdtheory.tasks.language import END, pretrained
from bdtheory.weights import entropy

pytest.importorskip("torch")
SHORT = "--steps 8 --pretrain-steps 3"
PARTS = ["config.json", "examples.txt", "refinement", "refinement/arrays.npz",
         "refinement/refinement.json", "rounds.csv"]  # fmt: skip
RESUMABLE = f"refine --task safety {SHORT} --seed 3 --method penalty -o out"


@pytest.fixture(autouse=True)
def small(tmp_path, monkeypatch):
    """A working folder, and tasks of few pairs."""
    monkeypatch.chdir(tmp_path)
    small = {
        name: setting._replace(make=functools.partial(setting.make, N=40, m=20, n_test=24))
        for name, setting in cli_refine.SETTINGS.items()
    }
    monkeypatch.setattr(cli_refine, "SETTINGS", small)
    return tmp_path


def run(line: str) -> int:
    return cli.main(shlex.split(line))


def tree(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*"))


def table(path: str) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def shares(task, model, theta) -> dict[str, float]:
    """The share of right greedy responses to the test questions of each kind, counted by hand."""
    made = model.generate(theta, task.test[0], max_new=task.max_new, temperature=None, end=END)
    right = [task.right(*pair) for pair in zip(task.test[0], made.responses, strict=True)]
    kinds = task.kinds.test.tolist()
    return {
        kind: sum(r for r, k in zip(right, kinds, strict=True) if k == kind) / kinds.count(kind)
        for kind in set(kinds)
    }


@pytest.mark.parametrize(("name", "steps"), [("quality", 8), ("safety", 80)])
def test_the_numbers_are_those_of_the_library(name, steps, small, capsys):
    options = "--rounds 2 --share 0.6 --offline 0.3 --temperature 0.9 --seed 1"
    line = f"refine --task {name} {options} --steps {steps} --pretrain-steps 20 --json out.json"
    assert run(line) == 0
    out, err = capsys.readouterr()
    assert err == ""
    setting = cli_refine.SETTINGS[name]
    task = setting.make(1)
    training = dataclasses.replace(setting.training, steps=steps)
    model = task.model(training=training, device="cpu")
    problem = task.problem(task.model(
        training=training, device="cpu", start=pretrained(task, model, steps=20)
    ))  # fmt: skip
    generation = bdt.Generation(
        share=0.6, offline=0.3, responses=2, temperature=0.9, steps=steps // 4,
        max_new=task.max_new, end=END,
    )  # fmt: skip
    thetas = []
    found = bdt.refine(
        problem, setting.bmo, 2, generation=generation, seed=1,
        callback=lambda _, so_far: thetas.append(so_far.selection.theta),
    )  # fmt: skip
    result = json.loads(Path("out.json").read_text())
    rows = result["rounds"]
    assert list(result) == ["task", "method", "message", "rounds", "examples"]
    assert [row["round"] for row in rows] == [0, 1, 2]
    losses = [found.offline.val_loss, *found.history["val_loss"]]
    assert [row["val_loss"] for row in rows] == pytest.approx(losses, rel=1e-5)
    assert len(set(losses)) == 3
    for key in ("questions", "ess", "clipped", "empty"):
        expected = found.history[key].tolist()
        assert [row[key] for row in rows[1:]] == pytest.approx(expected, rel=1e-4), key
    masses = np.bincount(task.groups, weights=found.offline.weights)
    assert rows[0]["questions"] == pytest.approx(np.exp(entropy(masses)), rel=1e-5)
    assert rows[0]["ess"] is None
    for row, theta in zip(rows, [found.offline.theta, *thetas], strict=True):
        by_kind = shares(task, model, theta)
        assert row["scores"] == pytest.approx(by_kind)
        overall = [by_kind[kind] for kind in task.kinds.test]
        assert row["score"] == pytest.approx(np.mean(overall))
    if steps > 8:  # refusals are learned first; else the scores would all be 0
        assert len({row["scores"]["harmful seen"] for row in rows}) > 1
    assert result["examples"] == found.examples
    assert f"{rows[2]['score']:.2f}" in console.verdict(task, as_rows(rows))
    assert " ".join(console.verdict(task, as_rows(rows)).split()) in " ".join(out.split())
    assert all(f"{row['val_loss']:#.4g}" in out for row in rows)


def as_rows(rows: list[dict]) -> list[console.RoundRow]:
    return [console.RoundRow(**row, seconds=0.0) for row in rows]


def test_folder_holds_the_rounds_the_examples_and_the_refinement(small, capsys):
    line = f"refine --task quality {SHORT} --rounds 2 -o out --json out.json"
    assert run(line) == 0
    assert tree(small / "out") == PARTS
    result = json.loads(Path("out.json").read_text())
    config = json.loads(Path("out/config.json").read_text())
    assert config["result"] == result
    assert config["options"]["pretrain_steps"] == 3
    assert config["versions"]["torch"]
    assert not {"mu", "test", "refused", "resume"} & set(config["options"])
    assert set(config["files"]) == {name for name in PARTS if name != "refinement"}
    rows, found = table("out/rounds.csv"), Refinement.load("out/refinement")
    names = ["round", "val_loss", "score", "discarded", "new", "practised", "questions", "ess",
             "clipped", "empty", "seconds"]  # fmt: skip
    assert [list(row) for row in rows] == [names] * 3
    assert [float(row["val_loss"]) for row in rows[1:]] == found.history["val_loss"].tolist()
    assert [float(row["new"]) for row in rows] == [r["scores"]["new"] for r in result["rounds"]]
    text, task = Path("out/examples.txt").read_text(), cli_refine.SETTINGS["quality"].make(0)
    assert text.count("round ") == 2
    for example in found.examples:
        for key in ("prompt", "before", "after"):
            assert task.tokenizer.decode(example[key]) in text
    written = capsys.readouterr().out.splitlines()[-1]
    assert all(name.partition("/")[0] in written for name in PARTS)
    assert run(line + " --seed 1") == 0  # an earlier result is replaced
    Path("out/notes.txt").write_text("mine")
    before = tree(small)
    assert run(line) == 2
    assert "notes.txt" in capsys.readouterr().err
    assert tree(small) == before


def test_resume_gives_what_one_run_gives(small, capsys):
    straight = RESUMABLE.replace("-o out", "-o straight --json straight.json")
    assert run(f"{straight} --rounds 3") == 0
    whole = capsys.readouterr().out.splitlines()[:-1]
    assert run(f"{RESUMABLE} --rounds 1") == 0
    capsys.readouterr()
    assert run(f"{RESUMABLE} --rounds 3 --resume --json out.json") == 0
    assert capsys.readouterr().out.splitlines()[:-1] == whole
    assert Path("out.json").read_bytes() == Path("straight.json").read_bytes()
    for name in ("examples.txt", "config.json"):
        assert Path(f"out/{name}").read_bytes() == Path(f"straight/{name}").read_bytes()
    for name in ("out", "straight"):
        assert Refinement.load(f"{name}/refinement").rounds == 3


def test_resume_refuses_another_run_and_keeps_it(small, capsys):
    assert run(f"{RESUMABLE} --rounds 2") == 0
    before = {p: (small / p).read_bytes() for p in tree(small) if (small / p).is_file()}
    capsys.readouterr()
    for more, needle in (
        ("--rounds 1", "has 2 rounds"),
        ("--offline 0.2", "made with offline 0.5, got 0.2"),
        ("--pretrain-steps 4", "--pretrain-steps 3"),
        ("--method bmo", "'penalty'"),
    ):
        assert run(f"{RESUMABLE} --resume {more}") == 2
        err = capsys.readouterr().err
        assert needle in err
        assert err.count("\n") == 1
    Path("out/config.json").unlink()
    assert run(f"{RESUMABLE} --resume") == 2
    assert "earlier result" in capsys.readouterr().err
    Path("out/config.json").write_bytes(before["out/config.json"])
    assert before == {p: (small / p).read_bytes() for p in tree(small) if (small / p).is_file()}


T = "refine --task quality"
BAD = {
    "no task": ("refine", ["--task"]),
    "unknown task": ("refine --task poetry", ["'poetry'", "quality", "safety"]),
    "unknown method": (f"{T} --method implicit", ["'implicit'", "bmo"]),
    "no round": (f"{T} --rounds 0", ["rounds is 0"]),
    "half a round": (f"{T} --rounds 1.5", ["--rounds", "'1.5'"]),
    "no share": (f"{T} --share 0", ["share is 0.0"]),
    "share over 1": (f"{T} --share 1.1", ["share is 1.1"]),
    "share nan": (f"{T} --share nan", ["share is nan"]),
    "all offline": (f"{T} --offline 1", ["offline is 1.0"]),
    "negative offline": (f"{T} --offline -0.1", ["offline is -0.1"]),
    "no response": (f"{T} --responses 0", ["responses is 0"]),
    "cold": (f"{T} --temperature 0", ["temperature is 0.0"]),
    "infinite": (f"{T} --temperature inf", ["temperature is inf"]),
    "no step": (f"{T} --steps 0", ["steps is 0"]),
    "no pretraining": (f"{T} --pretrain-steps 0", ["pretrain-steps is 0"]),
    "negative seed": (f"{T} --seed -1", ["seed is -1"]),
    "a ridge": (f"{T} --mu 0.1", ["--mu", "no ridge"]),
    "test rows": (f"{T} --test test.csv", ["--test", "own test questions"]),
    "resume what": (f"{T} --resume", ["-o"]),
    "resume nothing": (f"{T} --resume -o out", ["out", "earlier"]),
    "typo": (f"{T} --round 2", ["--round", "bdtheory refine --help"]),
    "json in folder": (f"{T} -o out --json out/x.json", ["one another's way"]),
    "folder in use": (f"{T} -o .", ["in use"]),
    "a file": (f"{T} -o mine.txt", ["mine.txt", "is a file"]),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_nothing_else(case, small, capsys, monkeypatch):
    line, needles = BAD[case]
    Path("mine.txt").write_text("mine")
    monkeypatch.setattr(cli_refine, "pretrained", lambda *_, **__: pytest.fail("computed first"))
    assert run(line if "-o" in line or case == "resume what" else f"{line} -o out") == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("bdtheory: error: ")
    assert err.count("\n") == 1
    assert len(err) < 300
    for needle in [*needles, "try"]:
        assert needle in err
    assert tree(small) == ["mine.txt"]


@pytest.mark.parametrize("where", ["pretrained", "score_kinds"])
def test_an_interrupt_leaves_nothing(where, small, capsys, monkeypatch):
    def interrupted(*_, **__):
        assert len(tree(small)) == 2  # the drafts are there while the work goes on
        raise KeyboardInterrupt

    monkeypatch.setattr(cli_refine, where, interrupted)
    assert run(f"{T} {SHORT} -o deep/out --json o.json") == 130
    assert capsys.readouterr().err.count("\n") == 1
    assert tree(small) == []


def test_no_result_of_a_run_that_diverged(small, capsys, monkeypatch):
    def diverged(self):
        lost = dataclasses.replace(self.found.offline, status=bdt.Status.DIVERGED)
        history = {key: np.ones(1) for key in self.found.history}
        self.found = Refinement(self.found.offline, lost, history)

    monkeypatch.setattr(cli_refine.Rounds, "advance", diverged)
    assert run(f"{T} {SHORT} --rounds 1 -o out") == 2
    assert "diverged" in capsys.readouterr().err
    assert tree(small) == []


def test_progress_is_one_line_on_a_terminal(capsys, monkeypatch):
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stderr", terminal)
    assert run(f"{T} {SHORT} --rounds 2") == 0
    shown = terminal.getvalue().split("\r\033[K")
    assert [text.split("  ")[0] for text in shown] == [
        "", "pretraining the model, 3 steps", "offline selection, 8 steps", "round 1 of 2",
        "round 2 of 2", "",
    ]  # fmt: skip


def test_help_teaches_with_examples_that_parse(capsys):
    with pytest.raises(SystemExit) as done:
        run("refine --help")
    assert done.value.code == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 100
    examples = [line.strip() for line in text.splitlines() if line.startswith("  bdtheory ")]
    assert len(examples) == 4
    for example in examples:
        assert cli.build_parser().parse_args(shlex.split(example)[1:]).command is cli_refine.refine
    for word in ("what happens", "half a minute", "--resume", "rounds.csv", "--json", "[0, 1)"):
        assert word in text


def test_defaults_said_in_the_help_are_the_settings():
    for name, steps in (("quality", 1500), ("safety", 1000)):
        setting = cli_refine.SETTINGS[name]
        assert setting.pretraining == steps
        assert setting.training.steps == 200


def test_the_verdict_has_the_changes_with_their_sign_and_what_chance_allows():
    task = cli_refine.SETTINGS["quality"].make(0)
    least = min(task.kinds.test.tolist().count(kind) for kind in set(task.kinds.test))
    rows = [
        console.RoundRow(r, 1.0, score, {"new": new, "discarded": old}, 1.0, 1.0, 0.0, 0, 0.0)
        for r, score, new, old in ((0, 0.5, 0.9, 0.1), (1, 0.9, 1.0, 1.0), (2, 0.6, 0.7, 0.5))
    ]
    text = console.verdict(task, rows)
    assert "to round 2" in text
    assert "from 0.50 to 0.60 (new -0.20, discarded +0.40)" in text
    # Two standard deviations of the difference of two shares of `least`, at worst p = 1/2.
    assert f"below {2 * (0.25 / least + 0.25 / least) ** 0.5:.2f} may be chance" in text


def test_examples_say_which_response_is_right():
    task = cli_refine.SETTINGS["quality"].make(0)
    prompt, right = task.test[0][0], task.test[1][0]
    example = {"round": 1, "prompt": prompt, "before": right[1:], "after": right}
    head, line = console.example_lines(task, [example])
    assert head.split() == ["question", "offline", "response", "generated"]
    said = task.tokenizer.decode
    assert [cell.strip() for cell in line.split("  ") if cell] == [
        said(prompt), f"{said(right[1:])} (wrong)", f"{said(right)} (right)",
    ]  # fmt: skip
