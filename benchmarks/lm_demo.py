"""Selection of question-response pairs with SmolLM2, end to end on pairs made here.

120 training pairs, half of them bad (wrong numbers, contradicted facts, slang), 48 trusted ones;
LoRA in the upper third of the layers, three passes, the same steps for every method. Direct mixing
has the ratio that is best on the test pairs, which favours it. `make lm-demo` runs it.
"""

from __future__ import annotations

import argparse

from bdtheory.tasks.written import written_pairs

from ._pairs import Data, compare, model_folder

PASSES = 3


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lm_demo", description=__doc__)
    parser.add_argument("--model", help="folder of a language model (default: fetch-model's)")
    parser.add_argument("--seeds", type=int, default=3, help="data sets and runs (default 3)")
    parser.add_argument("--jobs", type=int, default=2, help="processes of one thread (default 2)")
    options = parser.parse_args()
    by_seed = {}
    for seed in range(1, 1 + options.seeds):  # what is tried out beforehand is tried on seed 0
        task = written_pairs(seed, N=120, n_test=72)
        by_seed[seed] = Data(task.train, task.val, task.test, task.kinds)
    compare(by_seed, model_folder(options.model), PASSES, options.jobs)


if __name__ == "__main__":
    main()
