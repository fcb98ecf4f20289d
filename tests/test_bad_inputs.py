"""Every case of bad_inputs.py: the error that is documented, in one line of three parts."""

from __future__ import annotations

import importlib.util
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from bad_inputs import COMMANDS, FILES, PYTHON, Bad, good_files

from bdtheory import cli

NEEDS = {"selector": "sklearn", "parquet": "pyarrow", "language": "peft"}
AS_PROCESSES = ["compare: half a seed", "select: deep pairs", "fetch-model: no archive"]


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A working folder of good files."""
    good_files(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def skip_without_extra(name: str) -> None:
    extra = NEEDS.get(name.partition(":")[0].partition(" ")[0], "numpy")
    if importlib.util.find_spec(extra) is None:
        pytest.skip(f"{extra} is not installed")


def snapshot(folder: Path) -> dict[str, bytes | None]:
    """Every file with its bytes, every folder with None; hidden ones too."""
    return {
        path.relative_to(folder).as_posix(): None if path.is_dir() else path.read_bytes()
        for path in folder.rglob("*")
    }


def check_message(message: str, case: Bad) -> None:
    """One line, not too long, with the three parts in their order."""
    assert "\n" not in message and "\r" not in message
    assert len(message) < 500
    assert case.word in message, message
    needed, remedy = message.find("; needed "), message.rfind("; try ")
    assert 0 < needed < remedy < len(message) - len("; try "), message


def test_the_table_covers_every_face():
    assert len(PYTHON) >= 60 and len(FILES) >= 45 and len(COMMANDS) >= 35
    first = {line.does.split()[0] for line in COMMANDS.values() if isinstance(line.does, str)}
    assert first == {"compare", "select", "refine", "fetch-model"}


@pytest.mark.parametrize("name", [*PYTHON, *FILES])
def test_python_and_files(name, files):
    skip_without_extra(name)
    case = (PYTHON | FILES)[name]
    if case.first:
        case.first()
    before = snapshot(files)
    with pytest.raises(case.error) as caught:
        case.does()  # type: ignore[operator]
    assert type(caught.value) is case.error
    check_message(str(caught.value), case)
    assert snapshot(files) == before


def check_lines(status: int, out: str, err: str, case: Bad) -> None:
    assert (status, out) == (2, "")
    assert err.startswith("bdtheory: error: ") and err.endswith("\n")
    check_message(err.removesuffix("\n"), case)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_command_line(name, files, capsys):
    case = COMMANDS[name]
    if "--model nowhere" in str(case.does) and "no such model" in name:
        pytest.importorskip("transformers", reason="transformers is not installed (extra lm)")
    if case.first:
        case.first()
    before = snapshot(files)
    status = cli.main(shlex.split(str(case.does)))
    check_lines(status, *capsys.readouterr(), case)
    assert snapshot(files) == before


@pytest.mark.parametrize("name", AS_PROCESSES)
def test_the_command_line_as_a_process(name, files):
    case = COMMANDS[name]
    if case.first:
        case.first()
    before = snapshot(files)
    done = subprocess.run(
        [sys.executable, "-m", "bdtheory", *shlex.split(str(case.does))],
        capture_output=True,
        text=True,
        env=os.environ | {"COLUMNS": "40"},  # a narrow terminal breaks no line
    )
    check_lines(done.returncode, done.stdout, done.stderr, case)
    assert snapshot(files) == before
