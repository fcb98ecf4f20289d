"""What `select` and `refine` read for question-response pairs: files, a model, and the tokens."""

from __future__ import annotations

import dataclasses
import logging
import math
from argparse import Namespace
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .inputs import Score, check_top, scores_asked
from .methods import BMO, Penalty
from .models.checks import check_count, check_number
from .problem import Problem
from .rows import ENDINGS, shown
from .storage import fail
from .tasks import Encoded, Pairs, overlap, read_pairs, tokenise
from .weighted import ADDED, check_free

if TYPE_CHECKING:
    from .models.huggingface import HuggingFaceLM

GOOD = {"1", "1.0", "true", "good", "clean"}
LARGEST = float(np.finfo(np.float64).max)


@dataclass(frozen=True, eq=False)
class PairData:
    """Files as pairs and as tokens, and the model that is to be trained on them.

    Attributes
    ----------
    pairs, tokens : by name: "train", "val" and, where given, "test".
    model : with its `Training`.
    clean : bool, one per training pair that has tokens, from --truth; None without.
    shared : validation pairs that also stand in the training data.
    scores : one number per training pair, by what --scores asks for; {} without.
    """

    pairs: dict[str, Pairs]
    tokens: dict[str, Encoded]
    model: HuggingFaceLM
    clean: np.ndarray | None
    shared: int
    scores: dict[Score, np.ndarray] = field(default_factory=dict)

    @property
    def train(self) -> Pairs:
        """All training pairs, those without tokens (dropped for their length) among them."""
        return self.pairs["train"]

    @property
    def rows(self) -> np.ndarray:
        """Which training pairs have tokens, ints in increasing order."""
        return self.tokens["train"].rows

    def problem(self) -> Problem:
        """The `Problem` of these tokens and this model."""
        parts = {name: (t.prompts, t.responses) for name, t in self.tokens.items()}
        return Problem(self.model, **parts)

    def notes(self) -> list[str]:
        """What a user should know of the data before the result."""
        found = []
        if self.shared:
            found.append(
                f"{self.shared} of {len(self.pairs['val'])} validation pairs also stand in the "
                "training data; their weights and the validation loss say less"
            )
        for name, tokens in self.tokens.items():
            if tokens.cut:
                found.append(f"{tokens.cut} {name} rows were too long and have been cut")
            if tokens.dropped:
                weight = " (weight 0)" if name == "train" else ""
                found.append(f"{tokens.dropped} {name} rows were too long and are left out{weight}")
        if len(ways := {tokens.template for tokens in self.tokens.values()}) > 1:
            found.append(f"the files become tokens in different ways: {'; '.join(sorted(ways))}")
        return found


def holds_pairs(path: str | None) -> bool:
    """Whether the training file is one of question-response pairs, by its name."""
    return path is not None and Path(path).suffix.lower() in ENDINGS


def read_files(args: Namespace, added: tuple[str, ...] = ADDED) -> dict[str, Pairs]:
    """The pairs in --val, --test and the training file; `added` columns are to be free there."""
    if args.val is None:
        raise ValueError("got no --val; needed trusted pairs to learn from; try --val VAL.jsonl")
    if args.model is None:
        raise ValueError(
            "got no --model; needed a language model to train; try --model FOLDER, as "
            "bdtheory fetch-model makes one"
        )
    names = [name for name in ("train", "val", "test") if getattr(args, name) is not None]
    pairs = {name: read_pairs(getattr(args, name)) for name in names}
    train = pairs["train"]
    check_free(train.name, train.places, train.rows, added)
    return pairs


def truth_of(pairs: Pairs, column: str) -> np.ndarray:
    """bool (n,): 1, true, good or clean in that column; anything else is bad."""
    cells = _cells(pairs, "truth", column)
    good = np.array([str(cell).strip().lower() in GOOD for cell in cells])
    if good.all() or not good.any():
        got = f"{int(good.sum())} of {len(good)} rows with 1, true, good or clean in {column!r}"
        fail(pairs.name, got, "some that have it and some that have not", "leaving --truth out")
    return good


def scores_of(pairs: Pairs, column: str) -> np.ndarray:
    """float64 (n,): the numbers in that column."""
    cells = _cells(pairs, "scores", column)
    for place, cell in zip(pairs.places, cells, strict=True):
        number = isinstance(cell, int | float) and not isinstance(cell, bool)
        if not number or not abs(cell) <= LARGEST:  # nan, and whole numbers beyond any float
            got = f"{shown(cell)} in --scores {column}"
            fail(f"{pairs.name}, {place}", got, "a finite number", "another column, or that row")
    return np.array(cells, dtype=np.float64)


def _cells(pairs: Pairs, option: str, column: str) -> list[Any]:
    """What each row has in the column that an option names."""
    for place, row in zip(pairs.places, pairs.rows, strict=True):
        if row.get(column) is None:
            more = [", ..."] if len(row) > 20 else []
            names = "".join([", ".join(name[:40] for name in [*row][:20]), *more])
            got = f"no value in --{option} {column} (columns: {names})"
            fail(f"{pairs.name}, {place}", got, "one in each row", "another column")
    return [row[column] for row in pairs.rows]


def load_pairs(
    args: Namespace, added: tuple[str, ...] = ADDED, *, too_long: str | None = None
) -> PairData:
    """Files, model and tokens for the options; `too_long` in the place of --too-long."""
    check_options(args)
    pairs = read_files(args, added)
    good = None if args.truth is None else truth_of(pairs["train"], args.truth)
    scores = {score: scores_of(pairs["train"], score.column) for score in scores_asked(args)}
    model = model_of(args)
    tokens = {
        name: tokenise(
            part,
            model.tokenizer,
            max_length=model.max_length,
            too_long=too_long or args.too_long,
        )
        for name, part in pairs.items()
    }
    training = training_of(args, model.training, len(tokens["train"]))
    return PairData(
        pairs=pairs,
        tokens=tokens,
        model=dataclasses.replace(model, training=training),
        clean=None if good is None else good[tokens["train"].rows],
        shared=overlap(pairs["train"], pairs["val"]),
        scores=scores,
    )


def check_options(args: Namespace) -> None:
    """ValueError for numbers out of range, before anything is read."""
    for name, least, try_ in (("passes", 1, 2), ("batch", 1, 8), ("val_batch", 1, 4)):
        check_count(getattr(args, name), name.replace("_", "-"), least=least, try_=try_)
    check_count(args.seed, "seed", least=0, try_=0)
    check_number(args.learning_rate, "learning-rate", least=0.0, strict=True, try_="1e-3")
    check_number(args.selector_rate, "selector-rate", least=0.0, try_="1.0")
    if args.top is not None:
        check_top(args.top)


def model_of(args: Namespace) -> HuggingFaceLM:
    """The model in --model, read now. Raises ValueError where it cannot be."""
    from .models.huggingface import HuggingFaceLM

    _quiet()
    model = HuggingFaceLM(
        args.model,
        lora=None if args.full else args.lora,
        frozen=args.frozen,
        normalise=args.normalise,
        dtype=args.dtype,
        device=args.device,
        context=args.max_length,
        checkpointing=args.checkpointing,
    )
    if args.max_length is not None and args.max_length > model.max_length:
        raise ValueError(
            f"got --max-length {args.max_length}; needed at most {model.max_length}, the model's "
            f"own; try --max-length {model.max_length}"
        )
    return model


def training_of(args: Namespace, training: Any, N: int) -> Any:
    """The model's `Training` with the options: passes x batches of N pairs, none left out."""
    steps = args.passes * math.ceil(N / args.batch)
    return dataclasses.replace(
        training,
        steps=steps,
        batch_size=args.batch,
        val_batch_size=args.val_batch,
        learning_rate=args.learning_rate,
        drop_last=False,
        selector_rate=args.selector_rate,
        evaluations=min(5 * args.passes, steps),
        progress=True,
    )


def method_of(args: Namespace) -> Penalty | BMO:
    """--method at settings for few passes: BMO ends warm, else a handful of rows has it all."""
    return Penalty(gamma=1.0) if args.method == "penalty" else BMO(hot=3.0, cold=0.5)


def lengths(tokens: Encoded) -> np.ndarray:
    """Tokens of each pair, prompt and response together, ints (k,)."""
    pairs = zip(tokens.prompts, tokens.responses, strict=True)
    return np.array([len(prompt) + len(response) for prompt, response in pairs])


def _quiet() -> None:
    """No progress bar of another program on standard error, and errors only."""
    try:
        from transformers.utils import logging as theirs
    except ImportError:
        return  # said with its remedy where the model is read
    theirs.disable_progress_bar()
    theirs.set_verbosity(logging.ERROR)
