"""`bdtheory select` on question-response pairs, with a language model of Hugging Face.

From here to the loss, reading down: select_pairs -> pairs_input.load_pairs, pairs_run.learned ->
methods/train.py -> models/huggingface.py. What is written is in pairs_output.py and report.py.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from .launched import complain, launched, need_even_batches, need_one_process, together
from .methods import learn_weights
from .methods.parallel import Processes
from .outputs import Places, outputs
from .pairs_estimate import print_estimate
from .pairs_input import PairData, lengths, load_pairs, method_of
from .pairs_output import write_selected
from .pairs_run import explained, learned, notes_on, say, unfinished, unfinished_folder
from .rows import shown
from .selection import Selection, to_numpy
from .tasks import tokenise
from .weighted import ending_of, scaled

# The options of runs on pairs, and what they are where they are not given.
PAIRS: dict[str, Any] = {
    "method": "penalty",
    "model": None,
    "lora": 16,
    "full": False,
    "frozen": 0.67,
    "passes": 2,
    "batch": 8,
    "val_batch": 4,
    "learning_rate": 1e-3,
    "selector_rate": 1.0,
    "dtype": "float32",
    "device": "auto",
    "normalise": "token",
    "max_length": None,
    "too_long": "error",
    "checkpointing": False,
    "top": None,
    "resume": False,
    "dry_run": False,
}
TABLES = {"mu", "intercept", "target", "id", "group", "dataset", "corrupt"}  # theirs alone


def settle(args: Namespace, own: dict[str, Any], others: set[str], kind: str) -> None:
    """Fill in the defaults of one kind of input; the other kind's options are refused.

    Raises ValueError for one of `others` that was given; none of them stays in `args`.
    """
    for name in sorted(others - own.keys()):
        if getattr(args, name, None) is not None:
            option = f"--{name.replace('_', '-')}"
            raise ValueError(
                f"got {option} with {kind}; needed an option that {kind} have; try leaving it out"
            )
        vars(args).pop(name, None)
    for name, value in own.items():
        if getattr(args, name, None) is None:
            setattr(args, name, value)


def need_output(args: Namespace) -> None:
    """ValueError without -o."""
    if args.output is None:
        raise ValueError("got no -o; needed a folder for the result; try -o FOLDER")


def one_of(args: Namespace, name: str, values: tuple[str, ...], kind: str) -> None:
    """ValueError where an option has a value that this kind of input does not know."""
    if getattr(args, name) not in values:
        raise ValueError(
            f"got --{name} {getattr(args, name)!r} with {kind}; needed one of "
            f"{', '.join(values)}; try --{name} {values[0]}"
        )


def pair_options(parser: ArgumentParser) -> None:
    """The options of `select` and `refine` on pairs alone; None where not given, see `PAIRS`."""
    group = parser.add_argument_group("language model, for pairs")
    add, either = group.add_argument, group.add_mutually_exclusive_group().add_argument
    either("--lora", type=int, metavar="RANK", help="rank of the LoRA adapters (default 16)")
    text = "train the layers themselves, without LoRA; with --frozen 0 all parameters"
    either("--full", action="store_true", default=None, help=text)
    text = "share of the layers, from below, that stay as they are, in [0, 1) (default 0.67)"
    add("--frozen", type=float, metavar="SHARE", help=text)
    text = "float32 (default) or bfloat16, of what is frozen"
    add("--dtype", choices=("float32", "bfloat16"), help=text)
    add("--device", metavar="NAME", help="auto (default: a GPU if there is one), cpu, cuda, mps")
    text = "loss of a response: mean over its tokens (token, default) or their sum (sample)"
    add("--normalise", choices=("token", "sample"), help=text)
    text = "most tokens of a pair (default: what the model takes)"
    add("--max-length", type=int, metavar="TOKENS", help=text)
    text = "pairs of more tokens: error (default), cut their prompt from the left, or drop them"
    add("--too-long", choices=("error", "cut", "drop"), help=text)
    text = "recompute activations in the backward pass: less memory, more time"
    add("--checkpointing", action="store_true", default=None, help=text)
    add = parser.add_argument_group("training, for pairs").add_argument
    text = "passes over the training pairs (default 2); a row is ranked after its first"
    add("--passes", type=int, help=text)
    add("--batch", type=int, metavar="ROWS", help="training pairs of a step (default 8)")
    add("--val-batch", type=int, metavar="ROWS", help="validation pairs of a step (default 4)")
    add("--learning-rate", type=float, metavar="RATE", help="of AdamW (default 0.001)")
    text = (
        "how fast weights move, logits per nat (default 1.0); 0: not at all; for penalty; with "
        "--normalise sample try 1 over the tokens of a response"
    )
    add("--selector-rate", type=float, metavar="RATE", help=text)


def select_pair_options(parser: ArgumentParser) -> None:
    """The options of `select` on pairs that `refine` has not, or has of its own."""
    add = parser.add_argument_group("output, for pairs").add_argument
    text = "select this share of the rows, by weight, in (0, 1], and write them to a file as well"
    add("--top", type=float, metavar="FRACTION", help=text)
    text = "go on with an interrupted run, from FOLDER.unfinished, to the same result"
    add("--resume", action="store_true", default=None, help=text)
    text = "read, count tokens, time one step; print estimates of time and memory; write nothing"
    add("--dry-run", action="store_true", default=None, help=text)


def select_pairs(args: Namespace) -> None:
    """A weight for each pair: a folder of files, and a summary."""
    settle(args, PAIRS, TABLES, "pairs")
    one_of(args, "method", ("penalty", "bmo"), "pairs")
    if args.dry_run:
        need_one_process("--dry-run")
        return dry_run(args)
    need_output(args)
    with launched(args.device) as processes:
        need_even_batches(processes, batch=args.batch, val_batch=args.val_batch)
        if processes.rank == 0:
            _select(args, processes)
        else:
            _compute(args, processes)


def _select(args: Namespace, processes: Processes) -> None:
    """What process 0 does: all of it."""
    with ExitStack() as stack:

        def opened() -> tuple[Path, Places, PairData]:
            folder = stack.enter_context(unfinished(args))
            places = stack.enter_context(outputs(args, "bdtheory select"))
            return folder, places, load_pairs(args)

        folder, places, data = together(processes, opened)
        say(data.notes(), sys.stderr)
        fit = learned(data, data.problem(), method_of(args), args, folder)
        result = write_selected(places, args, data, fit)
    say(notes_on(fit), sys.stderr)
    print_result(sys.stdout, data, fit, result, args.top)
    ending = ending_of(args.train)
    files = [f"weighted{ending}", *([f"selected{ending}"] if args.top else []), FILES]
    sys.stdout.write(f"written to {args.output}: {', '.join(files)}\n")


def _compute(args: Namespace, processes: Processes) -> None:
    """What the other processes do: their share of each step, and nothing that can be seen."""
    data = together(processes, lambda: load_pairs(args))
    try:
        checkpoint = unfinished_folder(args) / "selection"
        learn_weights(data.problem(), method_of(args), seed=args.seed, checkpoint=checkpoint)
    except (RuntimeError, OSError, MemoryError) as error:
        if reason := explained(error, args):
            complain(processes, ValueError(reason))
            sys.exit(2)
        raise


FILES = "report.html, model-card.md, manifest.json, history.csv, selection/"


def dry_run(args: Namespace) -> None:
    """What the files hold and what a run would take, on standard output; no file."""
    try:
        data = load_pairs(args, too_long="cut")
        model = data.model
        whole = {
            name: lengths(tokenise(pairs, model.tokenizer, max_length=2**31))
            for name, pairs in data.pairs.items()
        }
        print_estimate(sys.stdout, args, data, whole)
    except (RuntimeError, OSError, MemoryError) as error:
        if reason := explained(error, args):
            raise ValueError(reason) from error
        raise


def print_result(
    stream: TextIO, data: PairData, fit: Selection, result: dict[str, Any], top: float | None
) -> None:
    """The numbers, and the pairs of lowest weight to look at first."""
    weight = scaled(to_numpy(fit.weights), data.rows, len(data.train))
    test, area = result["test_loss"], result["auc"]
    rule = "weight >= 1" if top is None else f"--top {top:g}"
    lines = [
        f"{result['method']}: {fit.message}",
        f"validation loss        {result['val_loss']:#.4g}, at the start "
        f"{result['val_loss_start']:#.4g}",
        "" if test is None else f"test loss              {test:#.4g}",
        f"effective sample size  {result['ess']:.1f} of {result['N']} training pairs",
        "" if area is None else f"AUC of the weights     {area:.3f}",
        f"selected               {result['selected']} of {len(data.train)} rows ({rule})",
        "lowest weights (mean 1):",
    ]
    for k in data.rows[np.argsort(weight[data.rows], kind="stable")[:5]]:
        pair = f"{_last(data.train.prompts[k])} -> {shown(data.train.completions[k])}"
        lines.append(f"  {data.train.places[k]}  {weight[k]:.3g}  {pair}")
    stream.write("\n".join(line for line in lines if line) + "\n")


def _last(prompt: Any) -> str:
    """The prompt on one short line; of a conversation its last message."""
    return shown(prompt if isinstance(prompt, str) else prompt[-1]["content"])


PAIRS_HELP = """\
pairs, a row each:
  .jsonl, .json, .parquet with the columns prompt and completion, or question and response, or
        messages (the tokenizer's chat template); other columns are kept. Loss: response only.

output of pairs in FOLDER, complete or not there at all:
  weighted.jsonl  the same rows in the same order with `weight`, mean 1 over all rows (0 for rows
                  left out by --too-long drop), and `selected`: the --top share, or weight >= 1
  selected.jsonl  with --top: those rows alone. Both are .parquet for a .parquet file
  report.html     numbers, histogram of weights, losses, the pairs of lowest and highest weight
  model-card.md   a paragraph on what was done;  manifest.json: options, checksums, versions
  history.csv, selection/  as for a table. Checkpoints are in FOLDER.unfinished meanwhile

The model trains in --passes over the pairs, validation pairs beside them; nothing is downloaded.
Rows of pairs get their weight while it trains: with one pass they are hardly ranked. A small
effective sample size says that few rows have it all: try a smaller --selector-rate."""
