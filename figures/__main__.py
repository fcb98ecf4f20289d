"""`python -m figures [NAME ...] [--quick] [--out FOLDER] [--jobs J]`: figures, each with its check.

Exit status: 0; 1 where a figure's headline does not hold or it could not be made (the others are
still made); 2 for a name that is no figure, or a folder that cannot be written; 130
when interrupted.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ._make import make_all

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
        + "\n\nexamples:\n  python -m figures --quick\n  python -m figures coverage --out build",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="figures to make (default: all)")
    parser.add_argument("--quick", action="store_true", help="few seeds and steps: a smoke test")
    parser.add_argument(
        "--out",
        type=_folder,
        default=Path("build/figures"),
        metavar="FOLDER",
        help="where the files go (default: %(default)s)",
    )
    parser.add_argument(
        "--jobs", type=_count, default=2, metavar="J", help="figures at a time (default: 2)"
    )
    return parser.parse_args(arguments)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"is {text!r}; needed a whole number >= 1; try 2")
    return int(text)


def _folder(text: str) -> Path:
    if not text:
        raise argparse.ArgumentTypeError("is ''; needed a folder; try build/figures")
    return Path(text)


def _title(name: str) -> str:
    """The first line of the file's docstring, without importing it."""
    with open(HERE / f"{name}.py", encoding="utf-8") as file:
        return file.readline().strip().strip('"')


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
    names = options.names or known()
    try:
        return 0 if make_all(names, options.out, options.quick, options.jobs) else 1
    except KeyboardInterrupt:
        print("figures: interrupted; made are those with a line above", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
