"""240 real pairs, half of them corrupted in three ways: what learned weights find, what is free.

Pairs of GSM8K's training split (Cobbe et al. 2021, MIT), which are not part of this repository;
give their folder with --data. `truth` is read for the tables alone. One data set, several seeds of
the training: the intervals are over these, not over data sets.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from bdtheory.tasks import read_rows

from ._pairs import Data, compare, model_folder

PASSES = 2


def read(folder: Path) -> Data:
    """train.jsonl, val.jsonl and test.jsonl there; `truth` is taken out of what is learned from."""
    parts = [read_rows(folder / f"{name}.jsonl") for name in ("train", "val", "test")]
    kinds = [row["truth"].replace("_", " ") for row in parts[0]]
    train, val, test = (
        [{k: row[k] for k in ("prompt", "completion")} for row in rows] for rows in parts
    )
    return Data(train, val, test, kinds)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gsm8k_pairs", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/gsm8k_pairs"))
    parser.add_argument("--model", help="folder of a language model (default: fetch-model's)")
    parser.add_argument("--seeds", type=int, default=3, help="runs of every method (default 3)")
    parser.add_argument("--jobs", type=int, default=2, help="processes of one thread (default 2)")
    options = parser.parse_args()
    if not (options.data / "train.jsonl").is_file():
        print(f"skipped: {options.data} has no train.jsonl; try --data FOLDER")
        return
    by_seed = dict.fromkeys(range(options.seeds), read(options.data))
    compare(by_seed, model_folder(options.model), PASSES, options.jobs)


if __name__ == "__main__":
    main()
