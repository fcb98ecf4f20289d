"""Selection of question-response pairs with SmolLM2, end to end on pairs made here.

150 training pairs, half of them bad (wrong numbers, contradicted facts, slang), 48 trusted ones;
LoRA in the upper third of the layers, three passes, the same steps for every method. Direct mixing
has the ratio that is best on the test pairs, which favours it. `make lm-demo` runs it.
"""

from __future__ import annotations

import argparse
import time

from bdtheory.tasks.written import written_pairs

from ._pairs import Data, model_folder, print_detection, print_losses, run_all

PASSES = 3


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lm_demo", description=__doc__)
    parser.add_argument("--model", help="folder of a language model (default: fetch-model's)")
    parser.add_argument("--seeds", type=int, default=3, help="data sets and runs (default 3)")
    parser.add_argument("--jobs", type=int, default=2, help="processes of one thread (default 2)")
    options = parser.parse_args()
    start, folder, by_seed = time.perf_counter(), model_folder(options.model), {}
    for seed in range(options.seeds):
        task = written_pairs(seed)
        by_seed[seed] = Data(task.train, task.val, task.test, task.kinds)
    runs, free = run_all(by_seed, folder, PASSES, options.jobs)
    data = by_seed[0]
    print(
        f"{len(data.train)} training pairs, half of them bad; {len(data.val)} trusted, "
        f"{len(data.test)} held out; {options.seeds} seeds\n"
    )
    print_losses(runs)
    print_detection(runs, free, by_seed)
    print(f"\n{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
