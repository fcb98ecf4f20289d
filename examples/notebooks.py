"""The examples as notebooks: ``python examples/notebooks.py`` writes them, ``--check`` compares.

A script is its docstring, then blocks that begin with ``# %%``: comment lines in reStructuredText,
then code. In a notebook text is Markdown, so the constructs used in the scripts are rewritten:
titles, ``:math:``, ``.. math::`` and double backticks. No outputs, no random ids: same bytes.
A notebook whose script is gone is deleted; one whose name begins with no digit is left alone.
"""

from __future__ import annotations

import argparse
import ast
import itertools
import json
import re
import sys
from pathlib import Path

HERE = Path(__file__).parent
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
MARKDOWN = [
    (r"^(\S.*)\n=+$", r"# \1"),
    (r"^(\S.*)\n-+$", r"## \1"),
    (r"^\.\. math:: (.*)$", r"$$\1$$"),
    (r":math:`(.+?)`", r"$\1$"),
    (r"``(.+?)``", r"`\1`"),
]


def notebook(script: str) -> str:
    """The notebook of a script, both as text."""
    docstring = ast.get_docstring(ast.parse(script))
    if docstring is None:
        raise ValueError("the script has no docstring; needed a title; try three quotes first")
    cells = [("markdown", markdown(docstring))]
    first, *blocks = script.split('"""', 2)[2].split("# %%\n")
    cells.append(("code", first))
    for block in blocks:
        lines = block.splitlines(True)
        text = list(itertools.takewhile(lambda line: line.startswith("#"), lines))
        prose = re.sub(r"^# ?", "", "".join(text), flags=re.M)
        cells += [("markdown", markdown(prose)), ("code", "".join(lines[len(text) :]))]
    filled = [(kind, source.strip("\n")) for kind, source in cells if source.strip()]
    content = {
        "cells": [_cell(k, *cell) for k, cell in enumerate(filled)],
        "metadata": METADATA,
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def markdown(text: str) -> str:
    """reStructuredText as Markdown, for the constructs above."""
    for pattern, replacement in MARKDOWN:
        text = re.sub(pattern, replacement, text, flags=re.M)
    return text


def _cell(k: int, kind: str, source: str) -> dict:
    cell = {"cell_type": kind, "id": f"cell-{k}", "metadata": {}, "source": source.splitlines(True)}
    return cell | ({"execution_count": None, "outputs": []} if kind == "code" else {})


def wanted(here: Path) -> dict[str, str]:
    """The notebooks that the scripts in a folder give: text by file name."""
    scripts = sorted(here.glob("[0-9]*.py"))
    return {f"{path.stem}.ipynb": notebook(path.read_text("utf-8")) for path in scripts}


def found(here: Path) -> dict[str, str]:
    """The notebooks that lie there under names a script could have: text by file name."""
    places = (here / "notebooks").glob("[0-9]*.ipynb")
    return {place.name: place.read_text("utf-8") for place in places}


def stale(here: Path = HERE) -> list[str]:
    """Notebooks that are not what their scripts give, that lack, or whose script is gone."""
    old, new = found(here), wanted(here)
    return sorted(name for name in old | new if old.get(name) != new.get(name))


def write(here: Path = HERE) -> None:
    """Write the notebooks of the scripts, and delete those whose script is gone."""
    folder, new = here / "notebooks", wanted(here)
    folder.mkdir(exist_ok=True)
    for name in found(here).keys() - new:
        (folder / name).unlink()
    for name, text in new.items():
        (folder / name).write_text(text, encoding="utf-8")


def main() -> int:
    """Write the notebooks, or with --check name those that differ; the exit status."""
    parser = argparse.ArgumentParser(description="Write the examples as notebooks.")
    parser.add_argument("--check", action="store_true", help="name those that differ; status 1")
    if not parser.parse_args().check:
        write()
        return 0
    names = stale()
    for name in names:
        print(f"{name} is not what its script gives; try python examples/notebooks.py")
    return int(bool(names))


if __name__ == "__main__":
    sys.exit(main())
