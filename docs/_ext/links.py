"""`python docs/_ext/links.py FOLDER`: what is wrong with the links of a built site; exit status 1.

Every link within the site must lead to a file and, after #, to an element. Nothing that a page
loads (scripts, styles, pictures, fonts) may come from outside. Links to other sites are not
followed.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

PICTURE, FRAME = ("src", "srcset"), ("src", "data")
LOADED = {"script": ("src",), "link": ("href",), "img": PICTURE, "source": PICTURE}
LOADED |= dict.fromkeys(("iframe", "object", "embed", "video", "audio", "track"), FRAME)
IN_CSS = re.compile(r"""(?:url\(|@import)\s*['"]?([^'")\s]+)""")
NO_REQUEST = ("canonical", "next", "prev", "index", "search", "genindex", "author")  # of <link>


class Page(HTMLParser):
    """What one page links to, loads, and can be linked at."""

    def __init__(self, path: Path):
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.anchors: set[str] = {""}
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        self.loads += IN_CSS.findall(given.get("style", ""))
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if tag == "link" and given.get("rel") in NO_REQUEST:
            self.links.append(given.get("href", ""))
            return
        for name in LOADED.get(tag, ()):
            parts = given.get(name, "").split(",") if name == "srcset" else [given.get(name, "")]
            self.loads += [part.split()[0] for part in parts if part.strip()]

    def handle_data(self, data: str) -> None:
        if self.lasttag == "style":
            self.loads += IN_CSS.findall(data)


def problems(folder: Path) -> Iterator[str]:
    """One sentence per link or request that is wrong."""
    pages = {path: Page(path) for path in sorted(folder.rglob("*.html"))}
    for path, page in pages.items():
        where = path.relative_to(folder)
        for link in page.links + page.loads:
            parts = urlsplit(link)
            if link in page.loads and (parts.netloc or parts.scheme in ("http", "https")):
                yield f"{where} loads {link} from outside; needed a file of the site"
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path.resolve()
            if not target.is_file():
                yield f"{where} links to {link}; needed a file of the site"
            elif target in pages and unquote(parts.fragment) not in pages[target].anchors:
                yield f"{where} links to {link}; needed an element with that id"
    for path in sorted(folder.rglob("*.css")):
        for link in IN_CSS.findall(path.read_text(encoding="utf-8")):
            if link.startswith(("http:", "https:", "//")):
                yield f"{path.relative_to(folder)} loads {link} from outside"


def main(folder: Path) -> int:
    """The exit status, after one line per problem, or a line that counts the pages."""
    if not (folder / "index.html").is_file():
        sys.exit(f"links: got {folder}, with no index.html; needed a built site; try make docs")
    found = list(problems(folder.resolve()))
    for problem in found:
        print(problem, file=sys.stderr)  # noqa: T201
    if not found:
        print(f"links: {len(list(folder.rglob('*.html')))} pages, every link resolves")  # noqa: T201
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
