"""What the command line writes: files that are complete or absent."""

from __future__ import annotations

import importlib.metadata
import json
import platform
from argparse import Namespace
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import scipy

from . import __version__
from .archive import read_json
from .console import RoundRow, Row
from .problem import Problem
from .refinement import Refinement
from .rows import ENDINGS
from .selection import Selection, as_text
from .storage import draft_file, draft_folder, recover, sha256
from .tasks import write_csv

MANIFEST = "manifest.json"  # of pairs, in the place of config.json
UNFINISHED = ".unfinished"  # after the name of -o: the state of a run on pairs


@dataclass(frozen=True)
class Places:
    """Where to write while the work goes on: drafts, moved to their places at the end.

    sums : sha256 of each data file, by its path, taken before the work.
    """

    folder: Path | None
    file: Path | None
    sums: dict[str, str]


@contextmanager
def outputs(args: Namespace, command: str) -> Iterator[Places]:
    """Drafts of -o FOLDER and --json FILE, made before the work: what cannot be written is found
    out at once. They are moved to their places if the block succeeds, else removed.
    """
    check_apart(args)
    sums = {path: sha256(path) for path in input_files(args) if Path(path).is_file()}
    written = False
    try:
        with _draft_file(args.json) as file, _draft_folder(args.output, command) as folder:
            yield Places(folder, file, sums)
            written = True
    except KeyboardInterrupt as late:
        if written:
            late.args = ("the result was being moved to its place, where it is whole or not there",)
        raise


def check_apart(args: Namespace) -> None:
    """A ValueError where one place to write is within the other, or what is read within one."""
    folder = None if args.output is None else Path(args.output).resolve()
    file = None if args.json is None else Path(args.json).resolve()
    for path in read_places(args):
        place = Path(path).resolve()
        if file is not None and (file == place or place in file.parents):
            raise ValueError(
                f"{args.json} is read as data, or in a folder that is ({path}); needed a file of "
                "its own; try another --json FILE"
            )
        if folder is not None and folder in (place, *place.parents) and not _in_use(folder):
            raise ValueError(
                f"{path} is read, and {args.output} would be replaced with all that is in it; "
                "needed a folder of its own; try another -o FOLDER"
            )
    if folder is None or file is None:
        return
    own = (folder, folder.with_name(f"{folder.name}{UNFINISHED}"))
    if file in folder.parents or any(place == file or place in file.parents for place in own):
        raise ValueError(
            f"--json {args.json} and -o {args.output} are in one another's way; needed a file "
            "outside the folder, which is replaced as a whole; try another --json FILE"
        )


@contextmanager
def _draft_file(path: str | None) -> Iterator[Path | None]:
    if path is None:
        yield None
        return
    place = Path(path).resolve()
    if place.exists() and not place.is_file():
        raise ValueError(f"{path} is not a plain file; needed a file name; try {path}.json")
    needed = "a file name in an existing folder; try another --json FILE"
    with _begun(draft_file(place), path, needed) as draft:
        yield draft


@contextmanager
def _draft_folder(path: str | None, command: str) -> Iterator[Path | None]:
    if path is None:
        yield None
        return
    place = Path(path).resolve()
    recover(place)
    _check_replaceable(path, place, command)
    needed = "a folder name where folders may be made; try another -o FOLDER"
    with _begun(draft_folder(place), path, needed) as draft:
        yield draft


@contextmanager
def _begun(draft: AbstractContextManager[Path], path: str, needed: str) -> Iterator[Path]:
    """The draft; what cannot be begun is said in the user's words, unlike what fails later."""
    with ExitStack() as stack:
        try:
            begun = stack.enter_context(draft)
        except OSError as error:
            raise ValueError(
                f"{path} cannot be written ({error.strerror}); needed {needed}"
            ) from None
        yield begun


def _check_replaceable(path: str, place: Path, command: str) -> None:
    """A ValueError unless the place is free, an empty folder, or holds just a result of `command`.

    A result says so in its config.json or manifest.json, which lists its files.
    """
    if not place.exists():
        return
    if not place.is_dir():
        raise ValueError(f"{path} is a file; needed a folder; try another -o FOLDER")
    if _in_use(place):
        raise ValueError(
            f"{path} cannot be replaced while it is in use; needed a folder of its "
            "own; try a folder inside it"
        )
    found = {
        p.relative_to(place).as_posix()
        for p in place.rglob("*")
        if p.is_symlink() or not p.is_dir()  # a link to a folder is somebody's, too
    }
    mine = set().union(*(_listed(place / name, command) for name in ("config.json", MANIFEST)))
    if not found <= mine:
        raise ValueError(
            f"{path} holds other files, such as {min(found - mine)}; needed a new or "
            f"empty folder, or an earlier result of `{command}`; try a new -o FOLDER"
        )


def _in_use(place: Path) -> bool:
    return place == Path.cwd() or place in Path.cwd().parents or place.is_mount()


def _listed(path: Path, command: str) -> set[str]:
    """The files that belong to a result of `command`, as it says itself; none of another one."""
    try:
        config = read_json(path)
        return set(config["files"]) if config["command"] == command else set()
    except (OSError, ValueError, KeyError, TypeError):
        return set()


def input_files(args: Namespace) -> list[str]:
    """The data files that a command reads."""
    return _given(args, "train", "val", "test")


def read_places(args: Namespace) -> list[str]:
    """All files and folders that a command reads: of pairs also the model, and a selection."""
    pairs = Path(getattr(args, "train", None) or "").suffix.lower() in ENDINGS
    return [*input_files(args), *(_given(args, "model", "selection") if pairs else [])]


def _given(args: Namespace, *names: str) -> list[str]:
    paths = (getattr(args, name, None) for name in names)
    return [path for path in paths if path is not None]


def write_comparison(places: Places, args: Namespace, problem: Problem, rows: list[Row]) -> None:
    """compare.csv, compare.json and config.json into the folder, the rows into the --json file."""
    write_rows_of(places, rows)
    if places.folder:
        _write_config(places, "bdtheory compare", args, problem, {})


def write_rows_of(places: Places, rows: list[Row]) -> None:
    """compare.csv and compare.json into the folder, the rows into the --json file."""
    table = [row.as_json() for row in rows]
    if places.file:
        write_json(places.file, table)
    if places.folder:
        write_json(places.folder / "compare.json", table)
        names = [field.name for field in fields(Row)]
        write_csv(places.folder / "compare.csv", names, [list(asdict(r).values()) for r in rows])


def write_selection(
    places: Places,
    args: Namespace,
    problem: Problem,
    fit: Selection,
    row: Row,
    ids: list[str] | None,
) -> None:
    """weights.csv, history.csv, config.json and selection/ into the folder, a summary into FILE."""
    result = row.as_json() | {"status": row.status, "message": fit.message}
    del result["seconds"]  # kept in history.csv only: everything else is the same in every run
    if places.file:
        write_json(places.file, result)
    if places.folder:
        named = [] if ids is None else [ids]
        rows = zip(range(1, problem.N + 1), *named, fit.weights.tolist(), strict=True)
        write_csv(places.folder / "weights.csv", ["row", *["id"] * len(named), "weight"], rows)
        history = [fit.history[name].tolist() for name in ("iteration", "seconds", "val_loss")]
        columns = ["iteration", "seconds", "val_loss"]
        write_csv(places.folder / "history.csv", columns, zip(*history, strict=True))
        fit.save(places.folder / "selection")
        _write_config(places, "bdtheory select", args, problem, result)


def write_rounds(
    places: Places,
    args: Namespace,
    problem: Problem,
    found: Refinement,
    rows: list[RoundRow],
    texts: dict[str, list[str]],
) -> None:
    """rounds.csv, examples.txt, config.json and refinement/ into the folder, a summary into FILE.

    texts : lines, by the heading that they have in examples.txt.
    """
    result = {
        "task": args.task,
        "method": found.offline.method,
        "message": found.message,
        "rounds": [row.as_json() for row in rows],
        "examples": found.examples,
    }
    if places.file:
        write_json(places.file, result)
    if places.folder:
        kinds = list(rows[0].scores)
        names = ["round", "val_loss", "score", *kinds, "questions", "ess", "clipped", "empty"]
        cells = ({**asdict(row), **row.scores} for row in rows)
        columns = [*names, "seconds"]
        write_csv(places.folder / "rounds.csv", columns, [[c[k] for k in columns] for c in cells])
        blocks = ["\n".join([head, *lines]) + "\n" for head, lines in texts.items()]
        (places.folder / "examples.txt").write_text("\n".join(blocks))
        found.save(places.folder / "refinement")
        torch = importlib.metadata.version("torch")
        _write_config(places, "bdtheory refine", args, problem, result, torch=torch)


def _write_config(
    places: Places,
    command: str,
    args: Namespace,
    problem: Problem,
    result: dict[str, Any],
    **versions: str,
) -> None:
    """config.json: what is needed to run this again, and which files are the result's."""
    folder = places.folder
    assert folder is not None
    files = [p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()]
    config = {
        "command": command,
        "files": sorted([*files, "config.json"]),
        "options": options_of(args),
        "model": as_text(problem.model),
        "sha256": places.sums,
        "versions": {
            "bdtheory": __version__,
            "numpy": np.__version__,
            "scipy": scipy.__version__,
            "python": platform.python_version(),
            **versions,
        },
    }
    write_json(folder / "config.json", config | ({"result": result} if result else {}))


def options_of(args: Namespace) -> dict[str, Any]:
    """The options that say what a result is, not where it went or how it came to be."""
    skipped = ("command", "output", "json", "resume", "dry_run", *getattr(args, "refused", ()))
    return {name: value for name, value in vars(args).items() if name not in skipped}


def write_json(path: Path, value: Any) -> None:
    """The value as JSON, numbers that are not finite refused."""
    path.write_text(json.dumps(value, indent=1, allow_nan=False) + "\n")
