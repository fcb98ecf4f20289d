"""The command line: `bdtheory compare`, `bdtheory select` and `bdtheory refine`.

From here to the linear solve, reading down: main -> build_parser -> compare or select -> load
-> measure -> learn_weights; then methods/implicit.py -> hypergradient.py (`refit`) -> models/.
What is read is in inputs.py, what is printed in console.py, what is written in outputs.py.
On question-response pairs `compare` is in compare_pairs.py and `select` in cli_pairs.py; `refine`
is in cli_refine.py.
"""

from __future__ import annotations

import os
import sys
import time
import warnings
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from typing import Any, NoReturn

from . import __version__
from .cli_compare import (
    COMPARE,
    COMPARE_EPILOG,
    FILES,
    RATIOS,
    compare_options,
    given,
)
from .cli_fetch import FETCH, FETCH_EPILOG, fetch, fetch_options
from .cli_pairs import (
    PAIRS,
    PAIRS_HELP,
    need_output,
    pair_options,
    select_pair_options,
    select_pairs,
    settle,
)
from .cli_refine import REFINE, REFINE_EPILOG, refine, refine_options
from .compare_pairs import compare_pairs
from .console import Progress, Row, prepare_stdout, print_selection, print_table, row_of
from .inputs import choose_model, load, read_scores, settle_scores
from .launched import (
    interrupted,
    let_others_speak,
    need_one_process,
    silent,
    terminable,
)
from .methods import (
    BMO,
    Auto,
    DirectMixing,
    Implicit,
    OverfitWarning,
    Penalty,
    Uniform,
    ValidationOnly,
    learn_weights,
)
from .outputs import outputs, write_comparison, write_selection
from .pairs_input import holds_pairs
from .problem import Problem
from .selection import Selection, Status, as_text
from .storage import clipped, interrupt_behind, is_full, printable


def main(argv: Sequence[str] | None = None) -> int:
    """The exit status: 0, 2 for bad input, 130 when interrupted, 143 when terminated.

    Bad input gives one line on standard error and leaves nothing written.
    """
    prepare_stdout()
    try:
        with terminable():
            args = build_parser().parse_args(argv)
            _check_names(args)
            if args.command is not select or not holds_pairs(args.train):
                need_one_process("this command")
            args.command(args)
            sys.stdout.flush()
    except BrokenPipeError:  # `| head` has read enough; Python would complain again at its exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (Exception, KeyboardInterrupt) as error:
        if interrupt := interrupt_behind(error):
            return interrupted(interrupt)
        if not isinstance(error, ValueError | OSError | ImportError):
            raise
        if silent():
            let_others_speak()
        else:
            said = printable(" ".join(explained(error).split()))
            print("bdtheory: error:", said, file=sys.stderr)
        return 2
    return 0


def explained(error: BaseException) -> str:
    """What went wrong; of a full disk also what to do."""
    if not is_full(error):
        return str(error)
    assert isinstance(error, OSError)
    return (
        f"{error.filename or 'the output'} cannot be written ({error.strerror}); needed room for "
        "it; try another disk, or deleting files"
    )


def _check_names(args: Namespace) -> None:
    """ValueError for an empty text, and for a place with a name that no file system takes."""
    for name, value in vars(args).items():
        if value == "":
            what = {"train": "TRAIN", "output": "-o"}.get(name, f"--{name.replace('_', '-')}")
            raise ValueError(f"got an empty text for {what}; needed a name; try another one")
    for option, path in (("-o FOLDER", args.output), ("--json FILE", getattr(args, "json", None))):
        try:
            if path is not None:
                os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            pass
        except OSError as error:
            raise ValueError(
                f"{clipped(str(path))} cannot be written ({error.strerror}); needed a name that "
                f"can; try another {option}"
            ) from None


class Parser(ArgumentParser):
    """An `ArgumentParser` whose complaints are a ValueError of one line, like all others."""

    def error(self, message: str) -> NoReturn:
        needed = "a command line as in its help"
        raise ValueError(f"{message}; needed {needed}; try {self.prog} --help")

    def parse_known_args(self, *args: Any, **more: Any) -> Any:
        """As inherited, but what a command does not know is its own error, not the program's."""
        found, unknown = super().parse_known_args(*args, **more)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return found, unknown


def build_parser() -> Parser:
    """The parser; its result has `command`, the function to call with it."""
    layout: Any = {"formatter_class": RawDescriptionHelpFormatter, "allow_abbrev": False}
    parser = Parser(prog="bdtheory", description=PROGRAM, epilog=PROGRAM_EPILOG, **layout)
    parser.add_argument("--version", action="version", version=f"bdtheory {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True, title="commands")
    summary = "every method on one problem, as a table"
    sub = commands.add_parser(
        "compare", help=summary, description=COMPARE, epilog=COMPARE_EPILOG, **layout
    )
    _shared_options(sub)
    compare_options(sub)
    pair_options(sub)
    sub.set_defaults(command=compare, model="auto")
    summary = "the weights of one method, as files"
    sub = commands.add_parser(
        "select", help=summary, description=SELECT, epilog=SELECT_EPILOG, **layout
    )
    _shared_options(sub)
    _select_options(sub)
    pair_options(sub)
    select_pair_options(sub)
    sub.set_defaults(command=select, mu=None, intercept=None)  # see TABLES
    summary = "rounds of generation after selection, on pairs or a toy language task"
    sub = commands.add_parser(
        "refine", help=summary, description=REFINE, epilog=REFINE_EPILOG, **layout
    )
    sub.set_defaults(command=refine)
    refine_options(sub)
    summary = "a small language model, downloaded once, as a folder"
    sub = commands.add_parser(
        "fetch-model", help=summary, description=FETCH, epilog=FETCH_EPILOG, **layout
    )
    sub.set_defaults(command=fetch)
    fetch_options(sub)
    return parser


def _shared_options(parser: Parser) -> None:
    add = parser.add_argument_group("data, from files or --dataset").add_argument
    text = "training rows: a table (.csv, .npz) or pairs (.jsonl, .json, .parquet)"
    add("train", nargs="?", metavar="TRAIN", help=text)
    add("--val", metavar="FILE", help="trusted validation rows, from which weights are learned")
    add("--target", metavar="NAME", help="target column of every file (in .npz: array, default y)")
    add("--test", metavar="FILE", help="test rows; nothing but the test loss depends on them")
    add("--id", metavar="COLUMN", help="training column that names rows; kept, not a feature")
    add("--group", metavar="COLUMN", help="training column; the rows of a group share one weight")
    text = (
        "training column: 1 or true for clean rows, 0 or false for bad ones; only for the AUC; of "
        "pairs also good or clean, and anything else is bad"
    )
    add("--truth", metavar="COLUMN", help=text)
    text = "handwritten digits (needs scikit-learn): 1000 training, 400 validation, 397 test rows"
    add("--dataset", choices=("digits",), help=text)
    text = "share of the labels of --dataset that are redrawn at random, 0 to 1 (default 0.5)"
    add("--corrupt", type=float, metavar="SHARE", help=text)
    add = parser.add_argument_group("model and run").add_argument
    text = "auto (default): logistic for text or at most 20 distinct whole numbers, else ridge"
    text = f"tables: ridge, logistic or {text}; pairs: a folder, or a name in the local cache"
    add("--model", metavar="MODEL", help=text)
    text = "ridge penalty on the parameters, >= 0, in units of squared features (default 0.01)"
    add("--mu", type=float, default=1e-2, help=text)
    add("--intercept", action="store_true", help="add an unpenalised intercept (default: none)")
    add("--seed", type=int, default=0, help="seeds all random numbers, >= 0 (default 0)")
    add("--json", metavar="FILE", help="also write the result to FILE as JSON")


def _select_options(parser: Parser) -> None:
    add = parser.add_argument_group("selection").add_argument
    text = (
        "implicit (default for tables): least validation loss, by exact hypergradients; penalty "
        "(default for pairs): the same in one level; bmo: closed-form weights; auto: what "
        "generalises, chosen by cross-fitting"
    )
    add("--method", choices=("implicit", "penalty", "bmo", "auto"), help=text)
    text = "where the result goes: a new folder, or an earlier result, which is replaced"
    add("-o", dest="output", metavar="FOLDER", help=text)


MODELS = ("ridge", "logistic", "auto")
# The options of `select` on tables, and what they are where they are not given.
TABLES: dict[str, Any] = {"mu": 1e-2, "intercept": False, "model": "auto", "method": "implicit"}


def compare(args: Namespace) -> None:
    """Every method on one problem: a table, and files where asked for."""
    if holds_pairs(args.train):
        return compare_pairs(args)
    settle(args, {"ratios": RATIOS}, set(PAIRS) - {"model", "top"}, "tables")
    settle_scores(args)
    _check_model(args)
    task, _ = load(args)
    scores = read_scores(args)
    problem = task.problem(choose_model(args, task.train[1]))
    methods = [
        ValidationOnly(),
        Uniform(),
        *[DirectMixing(ratio=ratio) for ratio in args.ratios],
        *given(args, scores.items()),
        BMO(),
        Penalty(),
        Implicit(),
        *([Auto(folds=min(5, problem.m))] if problem.m > 1 else []),
    ]
    with outputs(args, "bdtheory compare") as places:
        rows = [measure(problem, method, args.seed, task.clean)[1] for method in methods]
        write_comparison(places, args, problem, rows)
    more = f"Given: the best {args.top:g} of the rows by that column, re-fitted." if scores else ""
    print_table(sys.stdout, task, problem, rows, more)


def select(args: Namespace) -> None:
    """The weights of one method: a folder of files, and a summary."""
    if holds_pairs(args.train):
        return select_pairs(args)
    settle(args, TABLES, set(PAIRS), "tables")
    _check_model(args)
    need_output(args)
    task, ids = load(args)
    problem = task.problem(choose_model(args, task.train[1]))
    match args.method:
        case "implicit":
            method = Implicit()
        case "penalty":
            method = Penalty()
        case "auto":
            method = Auto(folds=max(2, min(5, problem.m)))
        case _:
            method = BMO()
    with outputs(args, "bdtheory select") as places:
        fit, row = measure(problem, method, args.seed, task.clean)
        if fit.status is Status.DIVERGED:
            raise ValueError(
                f"{row.method} diverged ({fit.message}); needed a finite solution; "
                "try a larger --mu"
            )
        write_selection(places, args, problem, fit, row, ids)
    print_selection(sys.stdout, task, problem, fit, row, ids)
    print(f"written to {args.output}: weights.csv, history.csv, config.json, selection/")


def _check_model(args: Namespace) -> None:
    """ValueError for a language model beside a file that, by its name, holds no pairs."""
    if args.model not in MODELS:
        raise ValueError(
            f"got --model {args.model!r} with {args.train or 'no training file'}; needed for a "
            "language model a file of pairs (.jsonl, .json, .parquet), for a table one of "
            f"{', '.join(MODELS)}; try TRAIN.jsonl, or --model auto"
        )


def measure(problem: Problem, method: Any, seed: int, clean: Any) -> tuple[Selection, Row]:
    """The selection that the method makes, and its row of the table; its warnings to stderr."""
    start = time.process_time()
    with (
        warnings.catch_warnings(record=True) as caught,
        Progress(problem, as_text(method), sys.stderr) as progress,
    ):
        warnings.simplefilter("always", OverfitWarning)
        fit = learn_weights(problem, method, seed=seed, callback=progress.callback)
    for warning in caught:
        print(f"note: {as_text(method)}: {warning.message}", file=sys.stderr)
    seconds = time.process_time() - start - progress.spent
    return fit, row_of(fit, clean, seconds)


PROGRAM = """\
Learn one weight per training sample, so that a model trained with these weights does well on
validation data that you trust (bilevel data selection). Weights near 0 mark samples that
disagree with the validation data: wrong labels, another source, another population."""

PROGRAM_EPILOG = """\
examples:
  bdtheory compare --dataset digits
  bdtheory select train.csv --val trusted.csv --target label -o result
  bdtheory select train.jsonl --val trusted.jsonl --model FOLDER -o result
  bdtheory refine --task safety

`bdtheory compare --help`, `bdtheory select --help` and `bdtheory refine --help` say more.
Exit status: 0; 2 for bad input, with one line that says what was got, what was needed and what to
try; 130 when interrupted, 143 when terminated, with one line that says how to go on."""

SELECT = """\
Weights for training samples, learned from trusted validation data, written to a folder. TRAIN is a
table (.csv, .npz), or question-response pairs (.jsonl, .json, .parquet) with a language model."""

SELECT_EPILOG = f"""\
examples:
  bdtheory select train.csv --val trusted.csv --target label --id key -o result
  bdtheory select --dataset digits --corrupt 0.3 --method bmo -o digits-weights
  bdtheory select train.jsonl --val trusted.jsonl --model models/smollm2 --dry-run
  bdtheory select train.jsonl --val trusted.jsonl --model models/smollm2 --top 0.5 -o result

output of a table in FOLDER, complete or not there at all:
  weights.csv   row (1 is the first row of data), the id if --id is given, weight; weights sum to 1
  history.csv   iteration, seconds of processor time, val_loss after each outer step
  config.json   options, versions, checksums of the input files, status, losses
  selection/    weights and model for Python: bdtheory.Selection.load("FOLDER/selection")
Two runs with the same seed write the same numbers, the seconds apart.
--json writes status, message, losses, ess and auc as one object.

{FILES}

{PAIRS_HELP}"""
