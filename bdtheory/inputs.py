"""What `bdtheory compare` and `bdtheory select` read: data from files or --dataset, and a model."""

from __future__ import annotations

import csv
import os
from argparse import Namespace
from dataclasses import dataclass

import numpy as np

from .models import Logistic, Ridge
from .models.checks import check_count, check_number
from .storage import fail
from .tasks import Table, Task, align, digits, read_table
from .tasks.task import has_classes


@dataclass(frozen=True)
class Score:
    """A column of scores, as --scores names it: NAME, or NAME:low where low scores are the best."""

    column: str
    low: bool

    def __str__(self) -> str:
        return f"{self.column}:low" if self.low else self.column


def scores_asked(args: Namespace) -> list[Score]:
    """The columns that --scores names; [] without it, or for a command that has no such option."""
    texts = getattr(args, "scores", None) or []
    return [Score(text.removesuffix(":low"), text.endswith(":low")) for text in texts]


def settle_scores(args: Namespace) -> None:
    """--top is 0.5 where it is not given.

    Raises ValueError for a column named twice or not at all, and for a --top that means nothing.
    """
    names = [score.column for score in scores_asked(args)]
    for k, name in enumerate(names):
        if not name or name in names[:k]:
            got = f"the column {name!r} twice" if name else "no name"
            raise ValueError(
                f"got {got} in --scores; needed each column once; try --scores "
                f"{next((each for each in names if each), 'NAME')}"
            )
    if args.top is not None and not names:
        raise ValueError(
            "got --top without --scores; needed the columns whose best rows to take; try --scores "
            "NAME"
        )
    args.top = 0.5 if args.top is None else args.top
    check_top(args.top)


def check_top(top: float) -> None:
    """ValueError for a --top that is no share in (0, 1]."""
    check_number(top, "top", least=0.0, strict=True, try_="--top 0.5")
    if top > 1:
        raise ValueError(f"top is {top!r}; needed at most 1; try --top 0.5")


def choose_model(args: Namespace, y: np.ndarray) -> Ridge | Logistic:
    """The lower-level model that --model, --mu and --intercept ask for, given training targets."""
    logistic = args.model == "logistic" or (args.model == "auto" and has_classes(y))
    return (Logistic if logistic else Ridge)(mu=args.mu, fit_intercept=args.intercept)


def load(args: Namespace) -> tuple[Task, list[str] | None]:
    """The task, from --dataset or from files, and the ids of its training rows where known."""
    check_count(args.seed, "seed", least=0, try_=0)
    for_files = ("train", "val", "target", "test", "id", "group", "truth", "scores")
    given = [name for name in for_files if getattr(args, name, None) is not None]
    if args.dataset is None:
        return load_files(args)
    if given:
        name = "TRAIN.csv" if given[0] == "train" else f"--{given[0]}"
        raise ValueError(f"got {name} and --dataset; needed one of them; try leaving one out")
    args.corrupt = 0.5 if args.corrupt is None else args.corrupt
    return digits(args.seed, corrupt=args.corrupt, mu=args.mu), None


def load_files(args: Namespace) -> tuple[Task, list[str] | None]:
    """The task in the files; features are matched by column name."""
    _check_file_options(args)
    read_scores(args)  # a name that is not there is found out before it changes the features
    columns = _feature_columns(args.train, args)
    clean = None if args.truth is None else _read_truth(columns, args)
    train = read_table(
        args.train, args.target, id_column=args.id, group_column=args.group, columns=columns
    )
    val = _read_like(train, args.val, args)
    test = None if args.test is None else _read_like(train, args.test, args)
    task = Task(
        name=os.path.basename(args.train),
        train=(train.X, train.y),
        val=(val.X, val.y),
        mu=args.mu,
        test=None if test is None else (test.X, test.y),
        clean=clean,
        groups=None if train.groups is None else np.array(train.groups),
    )
    return task, train.ids


def _check_file_options(args: Namespace) -> None:
    if args.train is None:
        raise ValueError("got no data; needed TRAIN.csv or --dataset; try --dataset digits")
    if args.corrupt is not None:
        raise ValueError("got --corrupt with files; needed --dataset for that; try leaving it out")
    if args.val is None:
        raise ValueError("got no --val; needed trusted data to learn from; try --val VAL.csv")
    if args.target is None and _is_csv(args.train):
        raise ValueError("got no --target; needed the name of the target column; try --target y")
    others = [name for name in (args.target, args.id, args.group) if name is not None]
    scores = [score.column for score in scores_asked(args)]  # may be the truth: the best score
    for option, name in [("truth", args.truth), *(("scores", name) for name in scores)]:
        if name in others:
            raise ValueError(
                f"got --{option} {name}, a column with another role; needed a column of its own; "
                f"try leaving --{option} out"
            )


def _is_csv(path: str) -> bool:
    return path.lower().endswith(".csv")


def _feature_columns(path: str, args: Namespace) -> list[str] | None:
    """The columns of a .csv file that no option names; None where `read_table` is to complain."""
    if not _is_csv(path):
        return None
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            header = next(filter(None, csv.reader(file)), [])
    except (OSError, ValueError, csv.Error):
        return None
    scores = [score.column for score in scores_asked(args)]
    aside = (args.target, args.id, args.group, args.truth, *scores)
    return [name.strip() for name in header if name.strip() not in aside] or None


def _read_like(train: Table, path: str, args: Namespace) -> Table:
    """A validation or test table with the features in the order that training has them."""
    table = read_table(path, args.target, columns=_feature_columns(path, args))
    return align(table, like=train)


def _read_truth(columns: list[str] | None, args: Namespace) -> np.ndarray:
    """clean (N,) bool from the column --truth, which is read as if it were the target."""
    one = None if columns is None else columns[:1]  # a table has a feature
    table = read_table(
        args.train, args.truth, id_column=args.id, group_column=args.group, columns=one
    )
    cells = table.y.tolist()
    meaning = {"1": True, "1.0": True, "true": True, "0": False, "0.0": False, "false": False}
    for cell in cells:
        if str(cell).lower() not in meaning:
            raise ValueError(
                f"{args.train}, column {args.truth!r}: got {cell!r}; needed 1 or true for clean "
                "rows, 0 or false for bad ones; try another --truth COLUMN"
            )
    return np.array([meaning[str(cell).lower()] for cell in cells])


def read_scores(args: Namespace) -> dict[Score, np.ndarray]:
    """The values (N,) of each column, or array of a .npz file, that --scores names."""
    asked = scores_asked(args)
    if not asked:
        return {}
    if not _is_csv(args.train):
        return {score: _array_of_scores(args.train, score.column) for score in asked}
    names = [score.column for score in asked]
    table = read_table(
        args.train, args.target, id_column=args.id, group_column=args.group, columns=names
    )
    return dict(zip(asked, table.X.T, strict=True))


def _array_of_scores(path: str, name: str) -> np.ndarray:
    """The array of that name in a .npz file, which is read as if it were the target."""
    values = read_table(path, name).y
    if values.dtype.kind == "U":
        fail(path, "text", "a finite number for each row", "another --scores NAME", column=name)
    return values
