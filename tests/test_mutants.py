"""`make mutants` itself: the lists that it leaves mutants out by, and what it makes of a module."""

from __future__ import annotations

import json
from pathlib import Path

import mutants
import pytest
from mutating import mutants_of

TESTS = Path(__file__).parent


@pytest.mark.parametrize("name", ["equivalent", "surviving"])
def test_every_mutant_left_out_is_of_a_line_that_is_still_there(name):
    entries = json.loads((TESTS / f"{name}_mutants.json").read_text())
    assert len(entries) > 50 and len(mutants.listed(name)) == len(entries)
    for entry in entries:
        assert len(entry["reason"]) > 10 and entry["before"] != entry["after"]
        source = (TESTS.parent / f"bdtheory/{entry['module']}.py").read_text()
        assert entry["before"] in " ".join(source.split()), entry
    assert not mutants.listed("equivalent") & mutants.listed("surviving")


def test_the_survivors_of_the_readme_are_those_of_the_list():
    assert (TESTS / "README.md").read_text().endswith("## Survivors\n\n" + mutants.reasons())


@pytest.mark.parametrize("given", [["--sample", "0"], ["--sample", "-5"], ["models/nwton"]])
def test_a_sample_of_none_and_a_typo_are_refused(given, monkeypatch, capsys):
    """[:-5] would be all mutants but five, and of none nothing is known."""
    monkeypatch.setattr("sys.argv", ["mutants.py", *given])
    with pytest.raises(SystemExit, match="2"):
        mutants.main()
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert f"got {' '.join(given)}; needed " in line and "; try " in line


def test_mutants_are_programs_and_differ_by_one_line():
    pytest.importorskip("cosmic_ray", reason="cosmic-ray is in the extra `trust`")
    source = "def f(a: int, b):\n    if a < 3:\n        return a + b\n    return a\n"
    found = {mutant.after: mutant for mutant in mutants_of(source)}
    assert {"return a - b", "if a >= 3:", "if a <= 3:", "if a < 4:", "if a < 2:"} <= set(found)
    assert found["return a - b"].line == 3 and found["return a - b"].before == "return a + b"
    for mutant in found.values():
        compile(mutant.text, "mutant", "exec")
        pairs = zip(mutant.text.split("\n"), source.split("\n"), strict=True)
        assert sum(a != b for a, b in pairs) == 1
