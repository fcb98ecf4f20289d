"""Every command on hostile names and texts, in one process that is watched.

    python tests/hostile.py       in the current, empty folder; what was seen, as JSON on the output

Python's audit hooks (PEP 578) tell what is connected to, unpickled, started and written; native
code has none. See test_security.py.
"""

# ruff: noqa: T201

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import pkgutil
import socket
import sys
from pathlib import Path
from typing import Any

import bdtheory as bdt
from bdtheory import cli
from bdtheory.rows import write_rows
from bdtheory.tasks import write_csv

ROOT = Path(__file__).parent.parent
OWNED = "<script>document.title = 'owned'</script>"
IMAGE = "\"'><img src=x onerror=\"document.title = 'owned'\">"
EVIL = f"{OWNED}{IMAGE}<a href=\"javascript:document.title='owned'\">{{style}}</a></title></svg>"
FILE = "<img src=x onerror=document.title='owned'>.jsonl"  # a name has no slash
# What an unpickler, or a library that makes objects of JSON, would act on.
PICKLED = "cos\nsystem\n(S'touch sprung'\ntR."
ROW = {"__reduce__": ["os.system", ["touch sprung"]], "py/object": "os.system", "key": "../../x"}


def hostile(folder: Path) -> None:
    """A table, pairs in a file with a hostile name, conversations, and a tiny model for them."""
    from tiny_lm import SIZE, tiny_llama_folder, tiny_pairs

    rows = [row | {EVIL: float(k), "truth": EVIL if k % 2 else "good"} | ROW
            for k, row in enumerate(tiny_pairs(6))]  # fmt: skip
    rows[0] |= {"prompt": EVIL, "completion": f" {EVIL}"}
    rows[1] |= {"prompt": f"{PICKLED}\n{EVIL}", "completion": f" {EVIL}\n{EVIL}"}  # folded
    rows[2] |= {"prompt": OWNED, "completion": f" {IMAGE}"}  # short: not folded
    write_rows(folder / FILE, rows)
    write_rows(folder / "val.jsonl", tiny_pairs(3, 100, bad=False))
    said = [{"role": role, "content": EVIL} for role in ("system", "user", "assistant")]
    write_rows(folder / "talk.jsonl", [{"messages": said}, {"messages": said[1:]}])
    cells = [[k % 5, k % 3, f"{k % 2}{EVIL}", f"../../{k}{EVIL}"] for k in range(12)]
    for name in ("table", "trusted"):
        write_csv(folder / f"{name}.csv", [EVIL, "=cmd()", IMAGE, "key"], cells)
    place = tiny_llama_folder(folder / "model", **SIZE, max_position_embeddings=4096)
    change(place / "tokenizer_config.json", model_max_length=4096)


def change(path: Path, **facts: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | facts))


TABLE = ["table.csv", "--val", "trusted.csv", "--target", IMAGE, "--id", "key"]
PAIRS = ["--val", "val.jsonl", "--model", "model", "--passes", "1"]
LINES = [
    ["select", *TABLE, "-o", "rows"],
    ["compare", *TABLE, "--scores", EVIL, "-o", "compared"],
    ["select", FILE, *PAIRS, "--truth", "truth", "-o", "select"],
    ["compare", FILE, *PAIRS, "--scores", EVIL, "-o", "compare"],
    ["refine", "talk.jsonl", *PAIRS, "--share", "1", "--max-new", "2", "-o", "refine"],
    ["select", FILE, "--val", "val.jsonl", "--model", "nobody/nothing", "-o", "no"],
]
REPORTS = ["select/report.html", "compare/report.html", "refine/report.html", "report/index.html"]


def watched(seen: dict[str, list]) -> Any:
    """An audit hook that notes what goes on; a connection fails besides."""
    kinds = {"socket.connect": "network", "socket.getaddrinfo": "network", "socket.bind": "network",
             "socket.gethostbyname": "network", "socket.sendto": "network",
             "urllib.Request": "network", "http.client.connect": "network",
             "pickle.find_class": "unpickled",
             "os.system": "started", "os.exec": "started", "os.posix_spawn": "started",
             "os.fork": "started", "subprocess.Popen": "started"}  # fmt: skip

    def hook(event: str, args: tuple) -> None:
        if event == "open" and isinstance(args[0], str | bytes):
            if args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                seen["written"].append(os.path.realpath(os.fsdecode(args[0])))
        elif event in ("os.rename", "os.mkdir", "os.symlink", "os.link"):
            seen["written"] += [os.path.realpath(a) for a in args[:2] if isinstance(a, str)]
        elif (kind := kinds.get(event)) is not None:
            seen[kind].append(f"{event} {args!r:.200}")
            if kind == "network":
                raise OSError("the network was asked for something")

    return hook


def every_module() -> list[str]:
    """Import all modules of the package; those that need an extra that is missing are left out."""
    names = [found.name for found in pkgutil.walk_packages(bdt.__path__, "bdtheory.")]
    imported = []
    for name in names:
        with contextlib.suppress(ModuleNotFoundError):
            importlib.import_module(name)
            imported.append(name)
    return imported


def session() -> dict[str, Any]:
    """What every command did, in the current folder."""
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    hostile(Path())
    seen: dict[str, Any] = {name: [] for name in
                            ("network", "unpickled", "started", "written")}  # fmt: skip
    sys.addaudithook(watched(seen))
    with contextlib.redirect_stdout(io.StringIO()):
        seen["modules"] = every_module()
        seen["status"] = [cli.main(line) for line in LINES]
        import figures.__main__
        import paper_checks.__main__
        from paper_checks import report, runner

        check = ["C05", "--seeds", "1", "--json", "claims.json"]
        seen["status"].append(paper_checks.__main__.main(check))
        seen["status"].append(
            figures.__main__.main(["coverage", "--quick", "--jobs", "1", "--out", "figures"])
        )
        Path("report").mkdir()
        (claim,) = json.loads(Path("claims.json").read_text())
        claim["details"] |= {"message": EVIL}
        row = runner.Result(**claim | {"title": EVIL, "claim": f"C05{EVIL}", "verdict": "untested"})
        entry = [entry for entry in runner.discover() if entry.claim.name == "C05"]
        report.write_report(Path("report"), entry, [row], figures=Path("figures"))
    told = len(seen["network"])
    with contextlib.suppress(OSError):  # what an attempt leaves behind
        socket.create_connection(("127.0.0.1", 9))
    seen["network"], seen["control"] = seen["network"][:told], seen["network"][told:]
    return seen


if __name__ == "__main__":
    print(json.dumps(session()))
