"""Every example prints what its comments say."""

from __future__ import annotations

import contextlib
import io
import runpy
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("*.py"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_prints_what_its_comments_say(path):
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        runpy.run_path(str(path))
    lines = [f"# {line}" for line in printed.getvalue().splitlines()]
    source = path.read_text().splitlines()
    assert lines and [line for line in source if line in lines] == lines
    assert len(source) <= 90


def test_there_are_examples():
    assert EXAMPLES
