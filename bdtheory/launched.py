"""A command in several processes, as `accelerate launch` starts them: one speaks, all compute. And
how a command ends that was told to end.

Process 0 reads, trains, prints and writes; the others read and train. The group is accelerate's,
from its own configuration, on one machine or on several.
"""

from __future__ import annotations

import contextlib
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing import parent_process
from typing import Any, NoReturn, TypeVar

import numpy as np

from .methods.parallel import Processes

T = TypeVar("T")
PAUSE = 2.0  # seconds
SHARDED = {"ACCELERATE_USE_FSDP": "FSDP", "ACCELERATE_USE_DEEPSPEED": "DeepSpeed"}


def launched_size() -> int:
    """How many processes a launcher has started; 1 without one."""
    size = os.environ.get("WORLD_SIZE", "1")
    return int(size) if size.isdigit() else 1


def silent() -> bool:
    """Whether another process of this launch says what this one would."""
    return launched_size() > 1 and os.environ.get("RANK", "0") != "0"


def let_others_speak() -> None:
    """Wait before failing in silence: a launcher ends all processes as soon as one has failed."""
    time.sleep(PAUSE)


class Terminated(KeyboardInterrupt):
    """SIGTERM came: like Ctrl-C, but by `kill`, `timeout` or a scheduler."""


def interrupted(interrupt: KeyboardInterrupt) -> int:
    """One line that says how to go on, where one can; the exit status, as shells give it."""
    terminated = isinstance(interrupt, Terminated)
    if not silent():
        how = "terminated" if terminated else "interrupted"
        sys.stderr.write(f"bdtheory: {how}; {str(interrupt) or 'nothing was written'}\n")
    return 143 if terminated else 130


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """SIGTERM raises `Terminated` in the block, so that what is unfinished is cleaned up.

    Only where nobody else handles or ignores the signal, and in the main thread, which alone may.
    Not in several processes: a launcher ends those, also one that waits for the others in C++,
    where no handler of Python's would run.
    """
    free = signal.getsignal(signal.SIGTERM) is signal.SIG_DFL and launched_size() == 1
    if not free or threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(*_: Any) -> NoReturn:
        raise Terminated

    signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def end_with_parent() -> None:
    """In a worker of a pool: end with its parent, and silently at Ctrl-C, which goes to both.

    A parent that is killed would leave it waiting for ever.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)

    def watch() -> None:
        if parent := parent_process():
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def need_one_process(command: str) -> None:
    """ValueError in several processes, for a command that is made for one."""
    if (size := launched_size()) > 1:
        raise ValueError(
            f"got {command} in {size} processes; needed one, since only select on pairs divides "
            "its work; try it without accelerate launch"
        )


def need_even_batches(processes: Processes, **sizes: int) -> None:
    """ValueError for a size, named as its option, that the number of processes does not divide."""
    for name, size in sizes.items():
        if size % (P := processes.size):
            option = f"--{name.replace('_', '-')}"
            raise ValueError(
                f"got {option} {size} in {P} processes; needed a multiple of {P}, so that each "
                f"has as many rows; try {option} {P * math.ceil(size / P)}"
            )


@contextlib.contextmanager
def launched(device: str) -> Iterator[Processes]:
    """The processes of this launch, in a group while the block runs; alone without a launcher.

    Raises ValueError for a launch that shards the model.
    """
    if launched_size() == 1:
        yield Processes()
        return
    for name, kind in SHARDED.items():
        if os.environ.get(name, "").lower() == "true":
            raise ValueError(
                f"got {kind} in accelerate's configuration; needed a whole model in every "
                "process while weights are learned; try accelerate launch --multi_gpu, and "
                f"{kind} for the training that follows"
            )
    import torch.distributed as dist
    from accelerate import PartialState

    state = PartialState(cpu=device == "cpu")
    try:
        yield Processes.current(state.device)
        dist.barrier()
    finally:
        dist.destroy_process_group()  # else Gloo's threads can make a process abort at its exit


def together(processes: Processes, work: Callable[[], T]) -> T:
    """What `work` gives, if it succeeds in all processes; else all end, and the first to fail says
    why. For what can fail before anything is exchanged: bad input.
    """
    result: Any = None
    error: Exception | None = None
    try:
        result = work()
    except (ValueError, OSError, ImportError) as caught:
        error = caught
    failed = np.zeros(processes.size)
    failed[processes.rank] = error is not None
    failed = processes.sum(failed)
    if error is not None and processes.rank == int(np.argmax(failed)):
        if processes.rank:
            complain(processes, error)
        raise error
    if failed.any():
        let_others_speak()
        sys.exit(2)
    return result


def complain(processes: Processes, error: BaseException) -> None:
    """One line on standard error from a process that is otherwise silent."""
    said = " ".join(str(error).split())
    sys.stderr.write(f"bdtheory: error: process {processes.rank}: {said}\n")
