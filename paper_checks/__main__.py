"""The claims table: `python -m paper_checks [C04 ...] [--seeds K] [--jobs J] [--json FILE]`."""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NoReturn

from .report import replace, write_report
from .runner import Entry, Result, discover, run

COLUMNS = "{:<5} {:<46} {:<8} {:<12} {:>7} {:>8} {:>9} {:<17} {:>8}"
HEAD = ("claim", "title", "source", "verdict", "margin", "control", "recovery", "proof", "seconds")
EPILOG = """The claims are those of arXiv:2511.21056 at the level of its abstracts, and elementary
facts around them, verified numerically. "margin" is the least distance of a measured number to the
edge of the band in which the claim puts it, in band widths; "control": with an assumption dropped
the claim failed as predicted; "recovery": it came back; "proof": whether Coq has checked its core
on this machine (python -m paper_checks.prove). Exit status: 0, 1 where a verdict is not acceptable,
2 for bad input, 130 when interrupted, 141 where the reader of a pipe has gone.
Example: python -m paper_checks C04 --seeds 5 --report build/report"""


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        print(f"paper_checks: {message}", file=sys.stderr)
        sys.exit(2)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the claims asked for, print the table, write the files; the exit status."""
    results: list[Result] = []
    parser = build_parser()
    args = parser.parse_args(argv)
    check_places(parser, args)
    chosen = args.claims
    try:
        chosen = choose(parser, discover(), args.claims)
        check(chosen, args, results)
    except KeyboardInterrupt:
        count = f"{len(results)} of {len(chosen) or 'all'} claims were checked"
        print(f"paper_checks: interrupted; {count}", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `| head` has read enough; Python would complain again at its exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    return 0 if all(result.acceptable for result in results) else 1


def check(chosen: list[Entry], args: argparse.Namespace, results: list[Result]) -> None:
    """Run these claims, print a row of each, append it to `results`, and write the files."""
    print(COLUMNS.format(*HEAD))
    for result in run(chosen, seeds=args.seeds, jobs=args.jobs, tick=progress):
        results.append(result)
        print_row(result)
    if args.json:
        replace(args.json, as_json(results))
    if args.report:
        args.report.mkdir(parents=True, exist_ok=True)
        replace(args.report / "claims.json", as_json(results))
        print(write_report(args.report, chosen, results, figures=args.figures))


def build_parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m paper_checks", description="Check claims.", epilog=EPILOG)
    parser.add_argument("claims", nargs="*", metavar="CLAIM", help="such as C04; default: all")
    parser.add_argument("--seeds", type=count, default=20, metavar="K", help="seeds per claim (20)")
    parser.add_argument("--jobs", type=count, default=1, metavar="J", help="worker processes (1)")
    parser.add_argument("--json", type=place, metavar="FILE", help="write the table as JSON")
    parser.add_argument(
        "--report", type=place, metavar="FOLDER", help="write index.html, claims.json"
    )
    parser.add_argument(
        "--figures",
        type=Path,
        default=Path("build/figures"),
        metavar="FOLDER",
        help="figures for the report, used where they exist (build/figures)",
    )
    return parser


def check_places(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """An error for a file or a folder that cannot be written, or that somebody else has made."""
    file, folder = args.json, args.report
    if file and not file.parent.is_dir():
        parser.error(f"--json is {file}; needed an existing folder; try mkdir {file.parent}")
    if file and file.exists() and not file.is_file():
        parser.error(f"--json is {file}, no plain file; needed a file name; try {file}.json")
    if folder and folder.exists() and not folder.is_dir():
        parser.error(f"--report is {folder}, a file; needed a folder; try --report build/report")
    if folder and (folder / "index.html").exists() and not (folder / "claims.json").is_file():
        parser.error(
            f"--report is {folder}, with an index.html of something else; needed a new folder, or "
            "an earlier report; try --report build/report"
        )


def place(text: str) -> Path:
    """A path from the command line, where an empty text would stand for the working folder."""
    if not text:
        raise argparse.ArgumentTypeError("is ''; needed a name; try build/report")
    return Path(text)


def count(text: str) -> int:
    """A whole number >= 1, from the command line."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"is {text!r}; needed a whole number >= 1; try 2")
    return int(text)


def choose(parser: argparse.ArgumentParser, known: list[Entry], names: list[str]) -> list[Entry]:
    """The claims of these names in the order of the folder; all of them where none is named."""
    wanted = {name.upper() for name in names}
    by_name = {entry.claim.name: entry for entry in known}
    if unknown := sorted(wanted - by_name.keys()):
        parser.error(f"the claim {unknown[0]} is not known; needed one of {', '.join(by_name)}")
    return [entry for name, entry in by_name.items() if name in wanted or not wanted]


def progress(claim: str, done: int) -> None:
    """Seeds done so far, a line on a terminal that the next one overwrites."""
    if sys.stderr.isatty():
        print(f"\r{claim}: seed {done:<20}\r", end="", file=sys.stderr, flush=True)


def print_row(r: Result) -> None:
    """A line of the table; what went wrong below it."""
    control, recovery = ("ok" if good else "WRONG" for good in (r.control, r.recovery))
    cells = r.claim, r.title, r.source, r.verdict, f"{r.margin:.3f}", control, recovery, r.proof
    print(COLUMNS.format(*cells, r.seconds), flush=True)
    if r.details["message"]:
        print(f"      {r.details['message']}")
    for row in r.details["measurements"]:
        if not row["holds"]:
            (low, high), seen = row["band"], row["interval"] or (math.nan, math.nan)
            print(
                f"      {row['arm']}: {row['quantity']} is {seen[0]:.6g} to {seen[1]:.6g}; "
                f"needed {low:.6g} to {high:.6g}"
            )


def as_json(results: Sequence[Result]) -> str:
    return json.dumps([asdict(result) for result in results], indent=1, allow_nan=False) + "\n"


if __name__ == "__main__":
    sys.exit(main())
