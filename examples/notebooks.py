"""The examples as notebooks: ``python examples/notebooks.py`` writes them, ``--check`` compares.

A script is its docstring, then blocks that begin with ``# %%``: comment lines in reStructuredText,
then code. In a notebook text is Markdown, so the constructs used in the scripts are rewritten:
titles, ``:math:``, ``.. math::`` and double backticks. No outputs, no random ids: same bytes.
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
SCRIPTS = sorted(HERE.glob("[0-9]*.py"))
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


def stale() -> list[str]:
    """Notebooks in the folder that are not what their scripts give, by name."""
    wanted = {f"{path.stem}.ipynb": notebook(path.read_text("utf-8")) for path in SCRIPTS}
    found = {p.name: p.read_text("utf-8") for p in (HERE / "notebooks").glob("*.ipynb")}
    return sorted(k for k in wanted | found if wanted.get(k) != found.get(k))


def main() -> int:
    """Write the notebooks, or with --check name those that differ; the exit status."""
    parser = argparse.ArgumentParser(description="Write the examples as notebooks.")
    parser.add_argument("--check", action="store_true", help="name those that differ; status 1")
    if parser.parse_args().check:
        for name in stale():
            print(f"{name} is not what its script gives; try python examples/notebooks.py")
        return int(bool(stale()))
    (HERE / "notebooks").mkdir(exist_ok=True)
    for path in SCRIPTS:
        place = HERE / "notebooks" / f"{path.stem}.ipynb"
        place.write_text(notebook(path.read_text("utf-8")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
