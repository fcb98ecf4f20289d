"""`bdtheory refine`: self-refining on a toy language task, with a small model pretrained for it.

On question-response pairs of the user's own it is in pairs_refine.py.

From here to the model, reading down: refine -> refining.refine for offline selection, go_on for the
rounds -> rounds.py -> methods/train.py. What is printed is made in console.py, what is written in
outputs.py.
"""

from __future__ import annotations

import dataclasses
import functools
import sys
from argparse import SUPPRESS, ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from . import refining
from .archive import read_json
from .cli_pairs import PAIRS, pair_options, settle
from .console import RoundRow, StatusLine, example_lines, finite, print_rounds
from .linalg import few_threads
from .methods import Penalty
from .models.checks import check_count
from .outputs import options_of, outputs, write_rounds
from .pairs_input import holds_pairs
from .pairs_refine import refine_pair_options, refine_pairs
from .refinement import Refinement
from .refining import Generation
from .rounds import Rounds
from .selection import Status, to_numpy
from .tasks.language import END, LanguageTask, pretrained
from .tasks.settings import SETTINGS, Setting
from .weights import entropy

if TYPE_CHECKING:
    from .models.transformer import TransformerLM

COMMAND = "bdtheory refine"
REFUSED = {  # options of the other commands, and why they mean nothing here
    "mu": "the model is a transformer, which has no ridge",
    "test": "the task makes its own test questions",
}
# The options of a task, and what they are where they are not given; None: the task's own.
TASK: dict[str, Any] = {
    "method": "bmo",
    "rounds": 4,
    "share": 1.0,
    "offline": 0.5,
    "responses": 2,
    "temperature": 1.0,
    "steps": 200,
    "pretrain_steps": None,
}
OF_PAIRS = {*PAIRS, "train", "val", "truth", "selection", "max_new"} - {"resume"}


def refine_options(parser: ArgumentParser) -> None:
    """The options of `bdtheory refine`."""
    add = parser.add_argument_group("data: pairs of your own, or --task").add_argument
    add("train", nargs="?", metavar="TRAIN", help="training pairs (.jsonl, .json, .parquet)")
    add("--val", metavar="FILE", help="trusted validation pairs, from which weights are learned")
    add("--test", metavar="FILE", help="test pairs; nothing but the test loss depends on them")
    text = "training column: 1, true, good or clean, anything else is bad; only for the AUC"
    add("--truth", metavar="COLUMN", help=text)
    add("--model", metavar="FOLDER", help="language model, for pairs: a folder, or a cached name")
    text = "quality: half of the responses are bad; safety: harmful questions are complied with"
    add("--task", choices=tuple(SETTINGS), help=text)
    text = (
        "bmo (default for --task): importance ratios as weights; penalty (default for pairs): a "
        "selector that is learned"
    )
    add("--method", choices=("bmo", "penalty"), help=text)
    add = parser.add_argument_group("rounds").add_argument
    add("--rounds", type=int, help="rounds of generation, >= 1 (default 4; for pairs 1)")
    text = (
        "share of the questions regenerated in a round, those of lowest weight, in (0, 1] (default "
        "1.0; for pairs 0.25)"
    )
    add("--share", type=float, help=text)
    text = (
        "mass of the offline pairs beside the generated ones, in [0, 1); 0: online only (default "
        "0.5; for pairs 1 - share)"
    )
    add("--offline", type=float, help=text)
    text = "responses generated for a question (default 2; for pairs 1)"
    add("--responses", type=int, help=text)
    text = "> 0; near 0 all responses to a question are the same (default 1.0; for pairs 0.8)"
    add("--temperature", type=float, help=text)
    add = parser.add_argument_group("training, for --task").add_argument
    text = "optimiser steps of offline selection; each round takes a quarter (default 200)"
    add("--steps", type=int, help=text)
    text = "optimiser steps of pretraining (default 1500 for quality, 1000 for safety)"
    add("--pretrain-steps", type=int, metavar="STEPS", help=text)
    refine_pair_options(parser)
    pair_options(parser)
    add = parser.add_argument_group("run and output").add_argument
    add("--seed", type=int, default=0, help="seeds data, training and rounds, >= 0 (default 0)")
    add("--json", metavar="FILE", help="also write the result to FILE as JSON")
    text = "write files there: a new folder, or an earlier result, which is replaced"
    add("-o", dest="output", metavar="FOLDER", help=text)
    text = (
        "--task: go on from the earlier result in FOLDER, made with the same options, up to "
        "--rounds; pairs: go on with an interrupted run, from FOLDER.unfinished"
    )
    add("--resume", action="store_true", help=text)
    parser.add_argument("--mu", help=SUPPRESS)


def refine(args: Namespace) -> None:
    """Offline selection and rounds on a toy task: a table, examples, and files where asked for."""
    if holds_pairs(args.train):
        return refine_pairs(args)
    setting = check(args)
    method = setting.bmo if args.method == "bmo" else Penalty()
    task = setting.make(args.seed)
    generation = generation_of(args, task)
    with outputs(args, COMMAND) as places:
        found, shares = earlier_result(args) if args.resume else (None, [])
        training = dataclasses.replace(setting.training, steps=args.steps)
        model = task.model(training=training, device="cpu")
        # One thread: sums then have one order. After the model, which loads torch and its threads.
        with StatusLine(sys.stderr) as line, few_threads(1):
            if found is None:
                line.show(f"pretraining the model, {args.pretrain_steps} steps")
                theta = pretrained(task, model, steps=args.pretrain_steps)
                model = dataclasses.replace(model, start=theta)
            problem = task.problem(model)
            score = functools.partial(score_kinds, task, model, shares)
            if found is None:
                line.show(f"offline selection, {args.steps} steps")
                found = refining.refine(problem, method, 0, generation=generation, seed=args.seed)
                score(found.offline.theta)
            rounds = Rounds(problem, method, generation, score, args.seed)
            found = go_on(rounds, found, args.rounds, line)
        rows = rows_of(task, found, shares)
        texts = {
            f"round {r}": example_lines(task, [e for e in found.examples if e["round"] == r])
            for r in range(1, found.rounds + 1)
        }
        write_rounds(places, args, problem, found, rows, texts)
    print_rounds(sys.stdout, task, found.offline.method, rows, texts[f"round {found.rounds}"])
    if args.output is not None:
        files = "rounds.csv, examples.txt, config.json, refinement/"
        sys.stdout.write(f"written to {args.output}: {files}\n")


def check(args: Namespace) -> Setting:
    """The task's setting, for options that fit together; their last defaults are filled in."""
    for name, reason in REFUSED.items():
        if getattr(args, name) is not None:
            raise ValueError(f"got --{name}; needed none: {reason}; try leaving it out")
        vars(args).pop(name)
    if args.train is not None:
        raise ValueError(
            f"got {args.train}; needed pairs in a .jsonl, .json or .parquet file; try another file"
        )
    if args.task is None:
        raise ValueError(
            "got neither training pairs nor --task; needed one of them; try --task quality"
        )
    settle(args, TASK, OF_PAIRS, "--task")
    if args.resume and args.output is None:
        raise ValueError("got --resume without -o; needed the folder of a result; try -o FOLDER")
    setting = SETTINGS[args.task]
    if args.pretrain_steps is None:
        args.pretrain_steps = setting.pretraining
    for name, least, try_ in (("rounds", 1, 4), ("steps", 1, 200), ("seed", 0, 0)):
        check_count(getattr(args, name), name, least=least, try_=try_)
    check_count(args.pretrain_steps, "pretrain-steps", try_=setting.pretraining)
    return setting


def generation_of(args: Namespace, task: LanguageTask) -> Generation:
    """What the options ask of a round."""
    return Generation(
        share=args.share,
        offline=args.offline,
        responses=args.responses,
        temperature=args.temperature,
        steps=max(1, args.steps // 4),
        max_new=task.max_new,
        end=END,
    )


def earlier_result(args: Namespace) -> tuple[Refinement, list[dict[str, float]]]:
    """The refinement in the folder -o, and the scores by kind of its offline part and rounds.

    Raises ValueError where there is none, or one of other options: --rounds may grow.
    """
    folder = Path(args.output)
    try:
        config = read_json(folder / "config.json")
        options = {"task": config["options"]["task"], **config["options"]}
        scores = [r["scores"] for r in config["result"]["rounds"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{folder} has no result to go on from ({type(error).__name__}); needed the folder of "
            f"an earlier `{COMMAND} -o`; try leaving --resume out"
        ) from None
    for name, value in options_of(args).items():
        if name != "rounds" and options.get(name) != value:
            made = options.get(name)
            raise ValueError(
                f"{folder} was made with {name} {made!r:.40}, got {value!r}; needed the same to "
                f"go on; try --{name.replace('_', '-')} {made!s:.40}"
            )
    found = Refinement.load(folder / "refinement")
    if found.rounds > args.rounds:
        raise ValueError(
            f"{folder} has {found.rounds} rounds; needed --rounds of at least that to go on, got "
            f"{args.rounds}; try --rounds {2 * found.rounds}"
        )
    return found, scores


def go_on(rounds: Rounds, found: Refinement, upto: int, line: StatusLine) -> Refinement:
    """The refinement after as many rounds as asked for; a round needs the one before only."""
    rounds.found = found
    while rounds.found.rounds < upto:
        r, val_loss = rounds.found.rounds + 1, rounds.found.selection.val_loss
        line.show(f"round {r} of {upto}  validation loss {val_loss:.4g} before it")
        rounds.advance()
    for selection in (rounds.found.offline, rounds.found.selection):
        if selection.status is Status.DIVERGED:
            raise ValueError(
                f"{selection.method} diverged ({selection.message}); needed finite losses; try "
                "another --seed or more --pretrain-steps"
            )
    return rounds.found


def score_kinds(
    task: LanguageTask, model: TransformerLM, shares: list[dict[str, float]], theta: Any
) -> float:
    """The share of right responses to the test questions, greedily sampled; by kind into shares."""
    made = model.generate(
        theta, task.test[0], max_new=task.max_new, temperature=None, end=END
    ).responses
    score = task.score(made)
    shares.append(task.by_kind(score))
    return float(score.mean())


def rows_of(
    task: LanguageTask, found: Refinement, shares: list[dict[str, float]]
) -> list[RoundRow]:
    """Offline selection as round 0, then the rounds; shares by kind (1 + rounds of them)."""
    offline, history = found.offline, found.history
    count = [int(np.sum(task.kinds.test == kind)) for kind in shares[0]]
    masses = np.bincount(task.groups, weights=to_numpy(offline.weights))  # of every question
    first = RoundRow(
        round=0,
        val_loss=finite(offline.val_loss),
        score=float(np.average(list(shares[0].values()), weights=count)),
        scores=shares[0],
        questions=float(np.exp(entropy(masses))),
        ess=None,
        clipped=None,
        empty=0,
        seconds=float(offline.history["seconds"][-1]),
    )
    return [first] + [
        RoundRow(
            round=int(history["round"][k]),
            val_loss=finite(history["val_loss"][k]),
            score=float(history["score"][k]),
            scores=shares[k + 1],
            questions=float(history["questions"][k]),
            ess=finite(history["ess"][k]),
            clipped=finite(history["clipped"][k]),
            empty=int(history["empty"][k]),
            seconds=float(history["seconds"][k]),
        )
        for k in range(found.rounds)
    ]


REFINE = """\
Self-refining: responses that selection throws away are generated anew by the model, and learned
from beside the offline ones. On question-response pairs of your own, with a language model; or with
--task on a toy task whose truth is known, to see what that gains and loses on each kind of
question."""

REFINE_EPILOG = """\
what happens with --task:
  pretraining   a transformer of two layers learns the task's corpus; the same for every --seed
  offline       each training pair gets a weight, learned from trusted validation pairs, while the
                model learns from both
  round         1. the model of the round before answers the questions again (--responses each;
                   before the first round that is the pretrained model, not the offline one)
                2. it is trained on validation pairs, generated pairs and, with --offline of the
                   mass, the offline pairs; generated ones are weighted as --method says
Most matters --offline: 0 keeps nothing of the training responses, near 1 hardly any generated ones.
--share below 1 leaves the questions of largest weight as they are. What the pretrained model cannot
do at all, generation does not teach it.

examples:
  bdtheory refine --task quality
  bdtheory refine --task safety --method penalty --offline 0 --rounds 6 -o safety-online
  bdtheory refine --task safety --method penalty --offline 0 --rounds 9 -o safety-online --resume
  bdtheory refine train.jsonl --val trusted.jsonl --model models/smollm2 -o refined

A run of a task takes about half a minute on one core, nearly all of it pretraining;
--pretrain-steps 200 is for a first look. Two runs with the same options write the same numbers, the
seconds apart.

output of a task in FOLDER, complete or not there at all:
  rounds.csv    a row for offline selection (round 0) and for every round, as in the table
  examples.txt  a few questions with the offline response and a generated one, of every round
  config.json   options, versions, the same rows
  refinement/   for Python: bdtheory.refinement.Refinement.load("FOLDER/refinement")
--json writes task, method, message, rounds and examples (as tokens) as one object.
A task has no use for --mu and --test: its model has no ridge, and it makes its own test questions.

output of pairs in FOLDER, complete or not there at all:
  refined.jsonl   the training rows, then the generated ones (the same columns, another response),
                  with `weight`, mean 1 over all rows, `generated` and `round`; .parquet likewise
  report.html, model-card.md, manifest.json, history.csv, selection/ (last round), offline/
Pairs have no pretraining: selection is that of `bdtheory select`, whose help says more on files and
options; rounds begin with the model as it is. --selection takes an earlier result of it."""
