"""The report of `make verify` inside the site, where there is one: `{{ report }}` on its page.

The table of verdicts is read from claims.json; the whole report is copied beside it.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

REPORT = Path(__file__).parent.parent.parent / "build" / "report"
TARGET = "report-of-make-verify"
MISSING = """\
```{admonition} No report yet
`make verify` has not run in this clone, so there is nothing to show here. It makes all figures,
runs all claims and writes `build/report/index.html`. Run it, then `make docs` again.
```
"""


def table(results: list[dict[str, Any]]) -> str:
    """One row per claim, from claims.json as the run wrote it."""
    rows = ["| claim | | verdict | margin | seeds | CPU seconds |", "| --- " * 6 + "|"]
    for row in results:
        name, margin, seconds = row["claim"], f"{row['margin']:.3g}", f"{row['seconds']:.1f}"
        cells = (f"[{name}](#{name.lower()})", row["title"], row["verdict"], margin)
        rows.append(" | ".join(("", *cells, str(row["seeds"]), seconds, "")).strip())
    return "\n".join(rows)


def there(folder: Path) -> bool:
    """Whether `make verify` has written a report there."""
    return (folder / "index.html").is_file() and (folder / "claims.json").is_file()


def report(folder: Path = REPORT) -> str:
    """Markdown: the table and a link to the whole report, or how to make one."""
    if not there(folder):
        return MISSING
    results = json.loads((folder / "claims.json").read_text(encoding="utf-8"))
    link = f'<a href="{TARGET}/index.html">The whole report</a>'
    return f"<p>{link}, with every number and its band.</p>\n\n{table(results)}\n"


def write(app: Any, page: str, source: list[str]) -> None:
    """Sphinx's event "source-read"."""
    source[0] = source[0].replace("{{ report }}", report())


def copy(app: Any, error: Exception | None) -> None:
    """Sphinx's event "build-finished"."""
    if not error and there(REPORT):
        shutil.copytree(REPORT, Path(app.outdir) / TARGET, dirs_exist_ok=True)


def setup(app: Any) -> dict[str, bool]:
    app.connect("source-read", write)
    app.connect("build-finished", copy)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
