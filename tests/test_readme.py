"""Every Python block of the README prints what stands under it."""

from __future__ import annotations

import contextlib
import io
import re
import warnings
from pathlib import Path

import pytest

from bdtheory.methods import OverfitWarning

README = (Path(__file__).parent.parent / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```\s+```text\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_the_block_prints_what_is_shown(number, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # one of them writes files
    code, shown = BLOCKS[number]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), warnings.catch_warnings():
        warnings.simplefilter("ignore", OverfitWarning)  # the README says that it comes
        exec(compile(code, "README.md", "exec"), {})
    assert printed.getvalue() == shown


def test_there_are_blocks_and_every_make_target_exists():
    assert len(BLOCKS) == 5
    makefile = (Path(__file__).parent.parent / "Makefile").read_text()
    for target in set(re.findall(r"\bmake ([\w-]+)", README)) - {"and"}:
        assert f"\n{target}:" in makefile, target
