"""What a run on pairs would take, from one real training step: the numbers of --dry-run.

The time is that of a step on the longest of a few batches, drawn as training draws them: its first
pass, which also runs the frozen layers, and a second, which finds their output remembered. A first
pass over the data counts as the former, all others as the latter; evaluations are measured on a
few validation pairs. Longest batch, so rather too much. The memory is the most that the process has
used by then, and what the frozen layers' output of all pairs takes.
"""

from __future__ import annotations

import math
import sys
import time
from argparse import Namespace
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TextIO

import numpy as np

from .pairs_input import PairData, lengths, method_of
from .problem import Problem
from .selection import as_text

DRAWN = 20  # batches, of which the longest is timed
TOO_LONG = {
    "error": "which a run refuses without --too-long cut or drop; cut below",
    "cut": "cut",
    "drop": "left out; cut below, so rather too much",
}
VALIDATION = 8  # pairs on which an evaluation is timed


@dataclass(frozen=True)
class Estimate:
    """Of a whole run: steps, seconds, bytes (None where the system does not say), parameters."""

    steps: int
    seconds: float
    memory: float | None
    trained: int


def estimate(data: PairData, seed: int) -> Estimate:
    """The model is loaded and one step is computed twice; nothing is changed."""
    from .models.training import threads_for

    problem, model = data.problem(), data.model
    training, theta = model.training, model.initial_theta(seed)
    batch = _longest_batch(problem, seed)
    val = problem.val.take(np.arange(min(problem.m, VALIDATION)))
    with threads_for(problem.model, theta):
        first = _seconds(lambda: _step(model, theta, batch))
        again = _seconds(lambda: _step(model, theta, batch))
        _losses(model, theta, val)
        evaluation = _seconds(lambda: _losses(model, theta, val)) * problem.m / len(val)
    tokens = sum(int(lengths(part).sum()) for part in data.tokens.values())
    kept = tokens * _bytes_per_token(model)
    room = model.network.room
    once = math.ceil(problem.N / (training.batch_size or problem.N))
    fast = again if kept <= room else first
    seconds = once * first + (training.steps - once) * fast
    seconds += (training.evaluations + 1) * evaluation
    used = _memory(model)
    trained = sum(t.numel() for t in theta.values())
    memory = None if used is None else used + min(kept, room)
    return Estimate(training.steps, seconds, memory, trained)


def _longest_batch(problem: Problem, seed: int) -> Any:
    """Of some batches as training draws them, the one with the most tokens, padding counted."""
    rng, training = np.random.default_rng(seed), problem.model.training
    N, m = problem.N, problem.m
    sizes = min(training.batch_size or N, N), min(training.val_batch_size or m, m)
    best, most = None, -1
    for _ in range(DRAWN):
        rows, val_rows = (
            rng.choice(n, size, replace=False) for n, size in zip((N, m), sizes, strict=True)
        )
        parts = problem.train.take(rows), problem.val.take(val_rows)
        longest = max(int(part.length.max()) for part in parts)
        if longest > most:
            best, most = parts[0].join(parts[1]), longest
    return best


def _step(model: Any, theta: Any, batch: Any) -> None:
    """The passes of one training step, in as many parts as training takes."""
    order = np.argsort(batch.length.cpu().numpy(), kind="stable")
    for places in np.array_split(order, min(model.training.accumulate, len(order))):
        model.losses_and_gradient(theta, np.ones(len(places)), batch.take(places))


def _losses(model: Any, theta: Any, data: Any) -> None:
    import torch

    with torch.no_grad():
        model.losses(theta, data)


def _seconds(work: Callable[[], None]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _bytes_per_token(model: Any) -> int:
    """Of the frozen layers' output, which is remembered."""
    if not model.network.below:
        return 0
    width = model.network.model.get_input_embeddings().weight.shape[1]
    return width * (2 if model.dtype == "bfloat16" else 4)


def _memory(model: Any) -> float | None:
    """The most bytes that this process, or the model's GPU, has had in use."""
    if model.network.device.type == "cuda":
        import torch

        return float(torch.cuda.max_memory_allocated(model.network.device))
    try:
        import resource
    except ImportError:  # Windows
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(most * (1 if sys.platform == "darwin" else 1024))


def print_estimate(
    stream: TextIO, args: Namespace, data: PairData, whole: dict[str, np.ndarray]
) -> None:
    """What the files hold, and what a run would take.

    data : with pairs that are too long cut. whole : tokens of each pair by name, nothing cut.
    """
    found, limit = estimate(data, args.seed), data.model.max_length
    lines = [f"{as_text(method_of(args))} with {args.model}: nothing was written"]
    for name, each in whole.items():
        long = int(np.sum(each > limit))
        lines.append(
            f"{name:8} {len(each)} pairs ({data.pairs[name].kind}); tokens: {each.sum()}, mean "
            f"{each.mean():.1f}, longest {each.max()}; {long} too long for {limit}"
            + (f", {TOO_LONG[args.too_long]}" if long else "")
        )
    memory = "unknown" if found.memory is None else f"{found.memory / 2**30:.2f} GiB"
    lines += [
        f"overlap  {data.shared} of {len(data.pairs['val'])} validation pairs also stand in the "
        "training data",
        f"trained  {found.trained} parameters",
        f"time     about {duration(found.seconds)} for {found.steps} steps, by two passes over the "
        f"longest of {DRAWN} batches",
        f"memory   about {memory}: the most used so far, and the remembered output of the frozen "
        "layers",
    ]
    stream.write("\n".join(lines) + "\n")


def duration(seconds: float) -> str:
    """Seconds, minutes or hours, to two digits.

    Examples
    --------
    >>> duration(3.21), duration(480), duration(9000)
    ('3.2 s', '8 min', '2.5 h')
    """
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.2g} {unit}"
    return f"{seconds:.2g} s"
