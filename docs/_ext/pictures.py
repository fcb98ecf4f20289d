"""The figures on their page, in light and dark: `{{ figures }}` becomes one section per figure.

They come from build/figures where `make figures` has made all of them, in both versions; otherwise
quick ones are made first, from few seeds. The page says which it shows.
"""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parent.parent.parent
FULL = REPOSITORY / "build" / "figures"
QUICK = REPOSITORY / "build" / "figures-quick"
COPIES = "figures"  # in the built site
FILES = ("{}.svg", "{}-dark.svg", "{}-column.pdf")


def names() -> list[str]:
    """The names of the figures, as `python -m figures` lists them."""
    from figures.__main__ import known

    return known()


def complete(folder: Path) -> bool:
    """Whether every figure is there in every version, and none is older than its script."""
    return all(
        (folder / file.format(name)).is_file()
        and (folder / file.format(name)).stat().st_mtime
        >= (REPOSITORY / "figures" / f"{name}.py").stat().st_mtime
        for name in names()
        for file in FILES
    )


def make(app: Any) -> None:
    """Sphinx's event "builder-inited": choose the folder; make quick figures where it is needed."""
    app.env.figures = FULL if complete(FULL) else QUICK
    if app.env.figures is QUICK and not complete(QUICK):
        command = [sys.executable, "-m", "figures", "--quick", "--out", str(QUICK)]
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command[1:])} failed:\n{done.stdout}{done.stderr}")


def section(name: str, folder: Path) -> str:
    """One figure: its sentence, its picture on both grounds, where to read on, its command."""
    text = ast.get_docstring(ast.parse((REPOSITORY / "figures" / f"{name}.py").read_text())) or ""
    out = [f"(figure-{name})=", f"## `{name}`", "", text.split("\n\n")[0].replace("\n", " "), ""]
    if not (folder / f"{name}.svg").is_file():  # scikit-learn is an extra, for one figure
        return "\n".join([*out, "This figure was skipped here: see `python -m figures`.", ""])
    for file, ground in ((f"{name}.svg", "light"), (f"{name}-dark.svg", "dark")):
        out += [f'<img class="only-{ground} picture" src="{COPIES}/{file}" alt="{name}">', ""]
    links = f'<a href="{COPIES}/{name}.svg">SVG</a>, <a href="{COPIES}/{name}-column.pdf">PDF</a>'
    return "\n".join([*out, f"{links}; to make it: `python -m figures {name}`", ""])


def figures(folder: Path) -> str:
    """All sections, after a sentence that says what is shown."""
    shown = (
        "These are the figures of `make figures`, with all their seeds."
        if folder == FULL
        else "These are **quick** figures, from few seeds and steps: a look, not a result. Run "
        "`make figures` and then `make docs` for the full ones."
    )
    return "\n".join([shown, "", *(section(name, folder) for name in names())])


def write(app: Any, page: str, source: list[str]) -> None:
    """Sphinx's event "source-read"."""
    source[0] = source[0].replace("{{ figures }}", figures(app.env.figures))


def copy(app: Any, error: Exception | None) -> None:
    """Sphinx's event "build-finished"."""
    if error:
        return
    target = Path(app.outdir) / COPIES
    target.mkdir(exist_ok=True)
    for name in names():
        for file in FILES:
            if (source := app.env.figures / file.format(name)).is_file():
                shutil.copy2(source, target)


def setup(app: Any) -> dict[str, bool]:
    app.connect("builder-inited", make)
    app.connect("source-read", write)
    app.connect("build-finished", copy)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
