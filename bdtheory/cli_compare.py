"""`bdtheory compare`: its options and its help, and what it makes of columns of scores.

The command is `compare` in cli.py for tables, and in compare_pairs.py for question-response pairs.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterable

import numpy as np

from .inputs import Score
from .methods import Given
from .weights import top_scores

RATIOS = [0.01, 0.1, 1.0, 10.0]  # of direct mixing, on tables


def compare_options(parser: ArgumentParser) -> None:
    """The options of `compare` beside those of data, model and training."""
    add = parser.add_argument_group("comparison").add_argument
    text = (
        "direct mixing: weight of the training loss, validation = 1 (default 0.01 0.1 1 10; for "
        "pairs 1)"
    )
    add("--ratios", type=float, nargs="+", metavar="RATIO", help=text)
    text = (
        "training columns with scores of other tools, no features then: a row of the table for "
        "each, with the best rows by that score; :low where low scores are the best"
    )
    add("--scores", nargs="+", metavar="NAME[:low]", help=text)
    text = "which share of the rows each score keeps, equally weighted, in (0, 1] (default 0.5)"
    add("--top", type=float, metavar="SHARE", help=text)
    text = (
        "also write compare.csv, compare.json and config.json there (pairs: manifest.json and "
        "report.html; new, or an earlier result)"
    )
    add("-o", dest="output", metavar="FOLDER", help=text)


def given(
    args: Namespace, scores: Iterable[tuple[Score, np.ndarray]], ratio: float | None = None
) -> list[Given]:
    """A baseline for each column of scores: equal weights on its share --top."""
    return [
        Given(top_scores(values, args.top, score.low), str(score), ratio)
        for score, values in scores
    ]


COMPARE = """\
Which way of using doubtful training data serves trusted validation data best? Runs baselines
(validation data only, all training data, mixing both), methods that learn a weight per training
sample, and whatever scores you bring in columns of your own, and prints one row for each. TRAIN is
a table (.csv, .npz), or question-response pairs (.jsonl, .json, .parquet) with a language model."""

FILES = """\
files:
  .csv  one header line; the target may be text; every column that no option names is a feature
        and must be numeric. Features are matched by name between files and are not rescaled.
  .npz  arrays X (rows, features) and y; for training optionally id and groups."""

COMPARE_EPILOG = f"""\
examples:
  bdtheory compare --dataset digits --corrupt 0.5
  bdtheory compare train.csv --val trusted.csv --target label --test test.csv --json rows.json
  bdtheory compare train.csv --val trusted.csv --target label --scores reward perplexity:low
  bdtheory compare train.jsonl --val trusted.jsonl --test test.jsonl --model FOLDER --scores reward

output, a row per method (* marks the lowest validation loss):
  val loss, test loss  mean losses without the ridge: cross-entropy in nats, or half the squared
                       error; - where unknown. Learned weights are judged by an exact re-fit.
  ess                  effective sample size: the weights amount to so many equally weighted rows
  AUC                  probability that a clean row outweighs a bad one; 0.5 is chance
  status               certified: within 1e-6 of a computed lower bound on what weights can reach;
                       stationary: no descent left; max_iterations: stopped before that;
                       diverged: no solution, losses not shown
  seconds              processor time
--json writes a list of objects with method, val_loss, test_loss, ess, auc and seconds; null where
unknown.

scores: Given('reward') keeps the --top share of the training rows with the highest values in the
column reward, equally weighted; Given('perplexity:low') those with the lowest. Of equal values the
first rows count. On a table the model is re-fitted to them; in .npz files scores are arrays.

pairs, a row per method, each of them a training run as long as that of bdtheory select:
  ValidationOnly, Uniform, DirectMixing for each of --ratios, a Given for each of --scores, Penalty
  and BMO: from the same start, for the same number of steps, reported at the least validation loss
  along the way. Given and BMO train on the validation pairs and, with the same total weight, on
  the training pairs, and so does Penalty from half of its steps on. Losses are in nats per token
  (--normalise). There is no --resume
  -o FOLDER  compare.csv, compare.json, manifest.json, and report.html with table and picture

{FILES}"""
