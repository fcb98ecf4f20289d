"""The training loop: joint steps of theta and of a selector, evaluations, checkpoints."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from ..models.training import threads_for
from ..problem import Problem
from ..selection import Selection
from .checkpoint import Checkpoint
from .joint import Run
from .run import Callback, in_kind
from .selectors import Selector

SAVED = 60.0  # seconds of processor time between states that go to the checkpoint, at most


def train(
    problem: Problem,
    method: Any,
    *,
    seed: int = 0,
    callback: Callback | None = None,
    checkpoint: str | Path | None = None,
    selector: Selector | None = None,
) -> Selection:
    """The state with the least validation loss among those evaluated; see `learn_weights`.

    `selector` takes the place of the method's own, as in a round of `refine`.
    """
    run = Run(problem, selector or method.selector(problem), seed)
    run.remember()
    store = None if checkpoint is None else Checkpoint(checkpoint, problem, method, seed)
    with threads_for(problem.model, run.leader.theta):
        if store is None or not store.resume(run):
            run.evaluate()
            run.save(store)  # a folder that cannot be written is found out now
        while not run.ended:
            run.advance()
            if run.due():
                run.evaluate()
                run.save(store)
            elif store is not None and run.processes.any(time.process_time() - run.saved > SAVED):
                run.save(store)
            if callback is not None and run.processes.any(
                bool(callback(run.step, in_kind(problem, run.weights())))
            ):
                run.stop(store)
        return run.selection(method)
