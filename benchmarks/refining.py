"""Where a round of self-refining spends its time: the shares of generation and of the weights.

    python -m benchmarks.refining [--responses 4] [--steps 50] [--repeats 10]

A round on the quality task with the small GPT it comes with, all questions regenerated: generation,
training steps with the selector beside them, records. Both shares are taken round by round and in
CPU time of one thread, so that a change in the machine's speed touches the part and the whole. The
start is random: its responses are as long as they may be, so that generation is at its dearest.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

import bdtheory as bdt
from bdtheory.methods.online import Round
from bdtheory.methods.selectors import Selector
from bdtheory.refinement import Refinement
from bdtheory.rounds import Rounds
from bdtheory.selection import as_text
from bdtheory.tasks.language import END
from bdtheory.tasks.quality import quality


class Stopwatch:
    """CPU seconds inside `with` blocks, added up."""

    def __init__(self):
        self.seconds = 0.0

    def __enter__(self) -> None:
        self.start = time.process_time()

    def __exit__(self, *error: object) -> None:
        self.seconds += time.process_time() - self.start


WEIGHTS = Stopwatch()


class TimedSelector:
    """A selector as it is, and `WEIGHTS` running while it works."""

    def __init__(self, selector: Selector):
        self.selector = selector
        self.value_function, self.follows = selector.value_function, selector.follows
        self.state = selector.state

    @property
    def weights(self) -> np.ndarray:
        with WEIGHTS:
            return self.selector.weights

    def shares(self, progress: float) -> tuple[float, float]:
        return self.selector.shares(progress)

    def update(self, progress: float, rows: np.ndarray, losses: np.ndarray) -> None:
        with WEIGHTS:
            self.selector.update(progress, rows, losses)


@dataclass(frozen=True)
class TimedBMO(bdt.BMO):
    def online(self, problem: bdt.Problem, given: Round, level: str) -> Any:
        return TimedSelector(super().online(problem, given, level))


@dataclass(frozen=True)
class TimedPenalty(bdt.Penalty):
    def online(self, problem: bdt.Problem, given: Round, level: str) -> Any:
        return TimedSelector(super().online(problem, given, level))


class TimedRounds(Rounds):
    """Rounds that know how long they generated."""

    generating: Stopwatch

    def _generate(self, theta: Any, chosen: np.ndarray, seed: int) -> Any:
        with self.generating:
            return super()._generate(theta, chosen, seed)


def shares(run: TimedRounds, offline: bdt.Selection) -> tuple[float, float, float]:
    """CPU seconds of one first round; of its generation and of its weights, as shares of it."""
    run.found = Refinement(offline, offline)
    run.generating, whole, WEIGHTS.seconds = Stopwatch(), Stopwatch(), 0.0
    with whole:
        run.advance()
    total = whole.seconds
    return total, run.generating.seconds / total, WEIGHTS.seconds / total


def show(name: str, values: np.ndarray, asked: str) -> None:
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    print(f"  {name:<12} {middle:7.2%} of it, quartiles {low:.2%} to {high:.2%} (asked: {asked})")


def main() -> None:
    parser = argparse.ArgumentParser(description="Shares of a round of self-refining.")
    parser.add_argument("--responses", type=int, default=4, help="per question (default 4)")
    parser.add_argument("--steps", type=int, default=50, help="training steps (default 50)")
    parser.add_argument("--repeats", type=int, default=10, help="rounds timed (default 10)")
    args = parser.parse_args()
    torch.set_num_threads(1)
    task = quality(0)
    problem = task.problem(task.model(device="cpu", training=bdt.Training(steps=args.steps)))
    generation = bdt.Generation(
        share=1.0, responses=args.responses, max_new=task.max_new, end=END, steps=args.steps
    )
    offline = bdt.learn_weights(problem, bdt.Uniform())
    for method in (TimedBMO(), TimedBMO(grouped=True), TimedPenalty()):
        run = TimedRounds(problem, method, generation, None, 0)
        took = np.array([shares(run, offline) for _ in range(args.repeats + 1)][1:])  # 1st: warm-up
        print(f"{as_text(method)}, {args.steps} steps: {np.median(took[:, 0]):.2f} CPU s a round")
        show("generation", took[:, 1], f"<= 50% at 4 responses, here {args.responses}")
        show("weights", took[:, 2], "< 1%")


if __name__ == "__main__":
    main()
