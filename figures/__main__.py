"""`python -m figures [NAME ...] [--quick] [--out FOLDER]`: regenerate figures, each with its check.

Exit status: 0; 1 where a figure's headline does not hold or it could not be made (the others are
still made); 2 for a name that is no figure, or a folder that cannot be written.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
import traceback
from pathlib import Path

from threadpoolctl import threadpool_limits

from . import style

HERE = Path(__file__).parent


def known() -> list[str]:
    """The names of the figures: every file here that is neither `style` nor private."""
    names = (path.stem for path in HERE.glob("*.py"))
    return sorted(name for name in names if name != "style" and not name.startswith("_"))


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Command line; the help lists every figure with the first line of its docstring."""
    parser = argparse.ArgumentParser(
        prog="python -m figures",
        description="Regenerate the figures as SVG, PDF and PNG; NAME-dark.svg is for dark pages,\n"
        "NAME-column.pdf for a column of text. Each one computes its numbers, asserts the\n"
        "sentence that it is drawn for, and only then draws. Two runs give identical files.",
        epilog="figures:\n"
        + "\n".join(f"  {name:15s} {_title(name)}" for name in known())
        + "\n\nexamples:\n  python -m figures --quick\n  python -m figures coverage --out /tmp",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="figures to make (default: all)")
    parser.add_argument("--quick", action="store_true", help="few seeds and steps: a smoke test")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("build/figures"),
        metavar="FOLDER",
        help="where the files go (default: %(default)s)",
    )
    return parser.parse_args(arguments)


def _title(name: str) -> str:
    """The first line of the file's docstring, without importing it."""
    with open(HERE / f"{name}.py", encoding="utf-8") as file:
        return file.readline().strip().strip('"')


def make(name: str, out: Path, quick: bool) -> bool:
    """Make one figure and say so in one line; False where it failed, with its old files removed."""
    start = time.perf_counter()
    try:
        path = importlib.import_module(f".{name}", __package__).main(out, quick)
    except style.Skip as reason:
        print(f"{name:15s} skipped: {reason}", flush=True)
        return True
    except Exception as error:
        for file in (*style.FILES, "{}.json"):
            (out / file.format(name)).unlink(missing_ok=True)
        if isinstance(error, AssertionError):
            print(f"{name:15s} FAILED: {error}", file=sys.stderr, flush=True)
        else:
            print(f"{name:15s} FAILED:\n{traceback.format_exc()}", file=sys.stderr, flush=True)
        return False
    print(f"{name:15s} {time.perf_counter() - start:6.1f} s  {path}", flush=True)
    return True


def main(arguments: list[str] | None = None) -> int:
    """The exit status."""
    options = parse(arguments)
    for name in options.names:
        if name not in known():
            print(
                f"figures: got {name!r}; needed one of {', '.join(known())}; "
                "try python -m figures --help",
                file=sys.stderr,
            )
            return 2
    try:
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        print(
            f"figures: got --out {options.out} ({error.strerror}); needed a folder that can be "
            "written; try --out build/figures",
            file=sys.stderr,
        )
        return 2
    with threadpool_limits(1):  # the problems are small, and sums keep their order
        made = [make(name, options.out, options.quick) for name in options.names or known()]
    return 0 if all(made) else 1


if __name__ == "__main__":
    sys.exit(main())
