"""Every example prints what its comments say, and the notebooks are those of the examples."""

from __future__ import annotations

import ast
import contextlib
import io
import json
import re
import runpy
import tempfile
from pathlib import Path

import matplotlib
import pytest

import bdtheory.problem

FOLDER = Path(__file__).parent.parent / "examples"
EXAMPLES = sorted(FOLDER.glob("[0-9]*.py"))
TEN = EXAMPLES[:10]
NOTEBOOKS = runpy.run_path(str(FOLDER / "notebooks.py"))
ROW = re.compile(r"^\| (?P<letters>[^|]+?) +\| ", re.M)


@pytest.fixture(autouse=True)
def _quiet_surroundings(tmp_path, monkeypatch):
    """No window, no figure left open, no file left in the system's temporary folder."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    import matplotlib.pyplot as plt

    backend = matplotlib.get_backend()
    plt.switch_backend("Agg")
    yield
    plt.close("all")
    plt.switch_backend(backend)


def outputs_claimed(source: str) -> list[str]:
    """The comment lines that directly follow statements which print."""
    lines, claimed = source.splitlines(), []
    for statement in ast.parse(source).body:
        names = {node.id for node in ast.walk(statement) if isinstance(node, ast.Name)}
        if "print" in names and not isinstance(statement, ast.FunctionDef):
            for line in lines[statement.end_lineno :]:
                if not line.startswith("# ") or line.startswith("# %%"):
                    break
                claimed.append(line[2:])
    return claimed


def printed_by(run) -> list[str]:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        run()
    return printed.getvalue().splitlines()


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_prints_what_its_comments_say(path):
    claimed = outputs_claimed(path.read_text("utf-8"))
    assert claimed
    assert printed_by(lambda: runpy.run_path(str(path))) == claimed


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_short_and_has_exercises_with_printed_solutions(path):
    source = path.read_text("utf-8")
    assert len(source.splitlines()) <= 90
    text, *solutions = re.split(r"^# %%\n# Solution (?=\d\.)", source, flags=re.M)
    exercises = text.split("# %%\n# Exercises\n# ---------\n")[1]
    assert re.findall(r"^# (\d)\. ", exercises, re.M) == ["1", "2", "3"]
    assert [solution[0] for solution in solutions] == ["1", "2", "3"]
    assert all("print(" in solution for solution in solutions)


def test_there_are_ten_examples_and_each_takes_up_an_earlier_one():
    assert [path.name[:2] for path in EXAMPLES] == [f"{k:02}" for k in range(1, 12)]
    for k, path in enumerate(EXAMPLES[1:], start=2):
        named = re.findall(r"[Ee]xamples? (\d+)", path.read_text("utf-8"))
        assert named and min(map(int, named)) < k


def letters() -> list[str]:
    """The letters of the notation table in bdtheory/problem.py."""
    rows = ROW.findall(bdtheory.problem.__doc__ or "")[1:]  # without the header
    rows = [re.sub(r"\(`(\w+)`\)", r", \1", row) for row in rows if not row.startswith("-")]
    return [letter.strip() for row in rows for letter in row.split(",") if letter.strip()]


def first_example_with(letter: str) -> str | None:
    """A letter is introduced as it is in code, within double backticks."""
    return next((p.stem for p in TEN if f"``{letter}``" in p.read_text("utf-8")), None)


def test_a_reader_of_the_ten_meets_every_letter_of_the_notation_table():
    assert {"N", "L_val*", "v(w)", "z~_j", "losses", "A"} <= set(letters()) and len(letters()) > 25
    assert [letter for letter in letters() if first_example_with(letter) is None] == []


def test_the_readme_says_where_each_letter_appears_first():
    readme = (FOLDER / "README.md").read_text("utf-8")
    for path in TEN:
        (row,) = (line for line in readme.splitlines() if f"({path.name})" in line)
        shown = set(re.findall(r"`([^`]+)`", row.split("|")[3])) & set(letters())
        assert shown == {letter for letter in letters() if first_example_with(letter) == path.stem}


def test_the_notebooks_are_what_the_scripts_give():
    assert NOTEBOOKS["stale"]() == []


def test_a_notebook_whose_script_is_gone_is_deleted_and_nothing_else_is(tmp_path):
    folder = tmp_path / "notebooks"
    folder.mkdir()
    (tmp_path / "01_kept.py").write_text('"""Kept."""\nx = 1\n')
    for name in ("01_kept.ipynb", "02_gone.ipynb", "02_gone.txt", "mine.ipynb"):
        (folder / name).write_text("old")
    assert NOTEBOOKS["stale"](tmp_path) == ["01_kept.ipynb", "02_gone.ipynb"]
    NOTEBOOKS["write"](tmp_path)
    assert NOTEBOOKS["stale"](tmp_path) == []
    texts = {path.name: path.read_text() for path in folder.iterdir()}
    assert json.loads(texts.pop("01_kept.ipynb"))["cells"][1]["source"] == ["x = 1"]
    assert texts == {"02_gone.txt": "old", "mine.ipynb": "old"}
    assert (tmp_path / "01_kept.py").exists()


@pytest.mark.parametrize("name", ["01_two_samples", "04_useless_samples"])
def test_the_cells_of_a_notebook_print_what_the_script_prints(name):
    cells = json.loads((FOLDER / "notebooks" / f"{name}.ipynb").read_text("utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    namespace: dict = {}

    def run():
        for source in code:
            exec(compile(source, name, "exec"), namespace)

    assert printed_by(run) == outputs_claimed((FOLDER / f"{name}.py").read_text("utf-8"))


def test_text_becomes_markdown():
    script = (
        '"""\nT\n=\n\nA ``b``.\n"""\n\nx = 1\n# %%\n# H\n# -\n# :math:`y^2`\n#\n# .. math:: z\nx\n'
    )
    cells = json.loads(NOTEBOOKS["notebook"](script))["cells"]
    assert ["".join(cell["source"]) for cell in cells] == [
        "# T\n\nA `b`.",
        "x = 1",
        "## H\n$y^2$\n\n$$z$$",
        "x",
    ]
