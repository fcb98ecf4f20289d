"""The Explorer as one file: page.html with its style sheet and scripts inlined.

python docs/explorer/build.py [--out docs/explorer.html]
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

HERE = Path(__file__).parent
STYLE = re.compile(r'<link rel="stylesheet" href="(\w+\.css)">')
SCRIPT = re.compile(r'<script src="(\w+\.js)"></script>')


def page() -> str:
    """page.html with every style sheet and script in place of its link; the same text each time.

    Raises ValueError for a script whose text would end the element that holds it.
    """

    def inline(tag: str):
        return lambda found: f"<{tag}>\n{_part(HERE / found[1], tag)}</{tag}>"

    text = (HERE / "page.html").read_text(encoding="utf-8")
    return SCRIPT.sub(inline("script"), STYLE.sub(inline("style"), text))


def _part(path: Path, tag: str) -> str:
    text = path.read_text(encoding="utf-8")
    if f"</{tag}" in text:
        raise ValueError(
            f"{path.name} contains '</{tag}'; needed a text that can stand inside <{tag}>; "
            "try to write it in two parts"
        )
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the Explorer as one HTML file.")
    parser.add_argument("--out", type=Path, default=HERE.parent / "explorer.html")
    args = parser.parse_args()
    if not args.out.parent.is_dir():
        parser.error(f"got --out {args.out}; needed a folder that exists; try --out a.html")
    args.out.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
