"""Kills of commands, at any moment, and what is on disk after them.

    python tests/kills.py --kills 60 --seed 0      a soak: kills at random times
    from kills import WORKS, Bench                 for test_interruption.py: kills at given events

A command runs in a process forked from a server that has imported everything, in a folder of its
own. It is killed after a time, or at its k-th event: a file opened for writing, renamed, removed.
Then whatever has a name must be whole: absent, what it was, or what an uninterrupted run makes,
byte for byte but for seconds. The command is run again until it ends, with --resume where that is
asked for, and must have made the same, with no draft left.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import itertools
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

ROOT = str(Path(__file__).parent.parent)
sys.path[:0] = [path for path in (ROOT, f"{ROOT}/tests") if path not in sys.path]
from killed import CHECKS, WORKS, Work, content, inputs, leftovers, load_all  # noqa: E402

from bdtheory.storage import interrupt_behind  # noqa: E402

CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "shutil.rmtree"}
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
PRELOADED = ["torch", "transformers.models.llama.modeling_llama", "peft", "matplotlib.figure",
             "bdtheory.cli", "bdtheory.methods.train", "bdtheory.models.huggingface"]  # fmt: skip


# One run, in a process of its own ----------------------------------------------------------------


@dataclass(frozen=True)
class Kill:
    """A signal at the k-th event in the folder (from 0), or after so many seconds."""

    signal: signal.Signals
    event: int | None = None
    seconds: float = 0.0


def child(folder: str, run: Callable[[int], int], seed: int, kill: Kill | None, log: str) -> None:
    """Run it in the folder, killed at an event where asked; leaves the log and its `Seen`."""
    os.chdir(folder)
    os.dup2(os.open(f"{log}.err", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.stdout, sys.stderr = open(1, "w"), open(2, "w", buffering=1)  # noqa: SIM115
    gc.freeze()
    seen = 0

    def hook(event: str, args: tuple) -> None:
        nonlocal seen
        if not _writes(event, args) or not _inside(args[0], folder):
            return
        seen += 1
        if kill is not None and kill.event == seen - 1:
            os.kill(os.getpid(), kill.signal)

    sys.addaudithook(hook)
    try:
        Path(f"{log}.started").touch()
        status = run(seed)
    except BaseException as error:
        status = 130 if interrupt_behind(error) else 1
        if status == 1:
            traceback.print_exc()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.collect()  # as at the end of Python: it closes what an interrupt left half closed
    sys.stdout.flush()
    Path(f"{log}.seen").write_text(str(seen))
    os._exit(status)


def _writes(event: str, args: tuple) -> bool:
    if event == "open":
        return isinstance(args[2], int) and bool(args[2] & (os.O_WRONLY | os.O_RDWR))
    return event in CHANGES


def _inside(path: Any, folder: str) -> bool:
    return isinstance(path, str | os.PathLike) and os.path.abspath(path).startswith(folder + os.sep)


class Ran(NamedTuple):
    """How a run ended: exit status (negative: by that signal), standard error, events, seconds."""

    status: int
    said: str
    events: int
    seconds: float


class Bench:
    """A place for runs: the inputs, made once, and what uninterrupted runs make.

    place : a new folder. server : forks a process for each run.
    """

    def __init__(self, place: Path):
        self.place = place.resolve()
        self.server = multiprocessing.get_context("forkserver")
        self.server.set_forkserver_preload(PRELOADED)
        self.known: dict[tuple[str, int], dict[str, Any]] = {}
        self.spans: dict[str, tuple[int, float]] = {}
        self.number = 0
        inputs_at = self.place / "inputs"
        inputs_at.mkdir(parents=True)
        inputs(inputs_at)

    def folder(self) -> Path:
        """A new folder with the inputs."""
        self.number += 1
        folder = self.place / f"run-{self.number}"
        folder.mkdir()
        for path in (self.place / "inputs").iterdir():
            (folder / path.name).symlink_to(path)
        return folder

    def run(self, folder: Path, work: Work, kill: Kill | None = None, seed: int = 0) -> Ran:
        """One run, killed where asked."""
        log = self.place / "log"
        for name in ("log.started", "log.seen", "log.err"):
            (self.place / name).unlink(missing_ok=True)
        process = self.server.Process(
            target=child, args=(str(folder), work.run, seed, kill, str(log))
        )
        process.start()
        while process.is_alive() and not (self.place / "log.started").exists():
            time.sleep(0.002)
        start = time.monotonic()
        if kill is not None and kill.event is None:
            process.join(kill.seconds)
            if process.is_alive():
                with contextlib.suppress(ProcessLookupError):  # it has just ended
                    os.kill(process.pid or 0, kill.signal)
        process.join(300)
        if process.exitcode is None:
            process.kill()
            raise RuntimeError(f"{work.name} does not end after {kill}")
        seen = self.place / "log.seen"
        return Ran(
            process.exitcode,
            (self.place / "log.err").read_text(),
            int(seen.read_text() or -1) if seen.exists() else -1,
            time.monotonic() - start,
        )

    def made(self, work: Work, seed: int = 0) -> dict[str, Any]:
        """What an uninterrupted run makes; it is kept for `older`."""
        if (work.name, seed) not in self.known:
            folder = self.place / "whole" / f"{work.name}-{seed}"
            folder.parent.mkdir(exist_ok=True)
            self.folder().rename(folder)
            ran = self.run(folder, work, seed=seed)
            assert ran.status == 0 and not leftovers(folder), (ran, leftovers(folder))
            load_all(folder)
            self.known[work.name, seed] = {name: content(folder / name) for name in work.made}
            self.spans[work.name] = ran.events, ran.seconds
        return self.known[work.name, seed]

    def older(self, work: Work) -> Path:
        """A new folder with the result of another seed in it."""
        self.made(work, seed=1)
        folder = self.folder()
        for name in work.made:
            place = self.place / "whole" / f"{work.name}-1" / name
            if place.is_dir():
                shutil.copytree(place, folder / name)
            else:
                shutil.copy(place, folder / name)
        return folder

    def check(self, folder: Path, work: Work, before: dict[str, Any]) -> None:
        """What has a name is whole: what it was before, or the new result."""
        from bdtheory.storage import recover

        for name in work.made:
            recover(folder / name)
            now = content(folder / name)
            if work.name == "figures" and isinstance(now, dict):  # six files, whole one by one
                now = self.made(work)[name] | now
            assert now in (before[name], self.made(work)[name]), f"{name} is neither old nor new"
        load_all(folder)

    def killed(self, folder: Path, work: Work, kill: Kill, before: dict[str, Any]) -> Ran:
        """A run that is killed, and what is on disk after it."""
        stale = set(leftovers(folder))
        ran = self.run(folder, work, kill)
        self.check_status(ran, work, kill)
        if work.clean and kill.signal != signal.SIGKILL:
            assert stale.issuperset(leftovers(folder)), f"{leftovers(folder)} after {kill}: {ran}"
        self.check(folder, work, before)
        return ran

    def check_status(self, ran: Ran, work: Work, kill: Kill) -> None:
        """Killed by the signal, or stopped in an orderly way, or done before."""
        orderly = {signal.SIGINT: 130, signal.SIGTERM: 143}.get(kill.signal)
        assert ran.status in (0, -kill.signal, orderly), (ran, kill)
        if work.clean and ran.status == orderly and ran.said:  # else before the command began
            how = "interrupted" if orderly == 130 else "terminated"
            # What Python adds: a ZipFile that was interrupted complains when it is collected.
            own = ran.said.partition("Exception ignored in: <function ZipFile.__del__")
            lines = [*own[0].splitlines(), *own[2].splitlines()]
            assert any(line.startswith(f"bdtheory: {how}; ") for line in lines), ran.said
            assert "Traceback" not in own[0], ran.said

    def finished(self, folder: Path, work: Work) -> None:
        """Run again, not killed: the result of an uninterrupted run, and no draft is left."""
        ran = self.run(folder, work)
        assert ran.status == 0, ran
        assert {name: content(folder / name) for name in work.made} == self.made(work)
        assert not leftovers(folder), leftovers(folder)
        assert not (folder / "out.unfinished").exists()
        shutil.rmtree(folder)


# The soak ----------------------------------------------------------------------------------------


def trial(bench: Bench, work: Work, rng: np.random.Generator, counts: Counter) -> int:
    """One run, killed up to three times at random moments and then left in peace; the kills."""
    bench.made(work)
    folder = bench.older(work) if rng.random() < 0.5 else bench.folder()
    before = {name: content(folder / name) for name in work.made}
    kills = 0
    for _ in range(rng.integers(1, 4)):
        moment = float(rng.uniform(0.0, 1.05 * bench.spans[work.name][1]))
        kill = Kill(SIGNALS[rng.integers(len(SIGNALS))], seconds=moment)
        ran = bench.killed(folder, work, kill, before)
        if ran.status == 0:
            counts["too late"] += 1
            break
        counts[work.name, kill.signal.name] += 1
        kills += 1
    bench.finished(folder, work)
    counts["equal"] += 1
    return kills


def soak(kills: int, seed: int, place: Path) -> int:
    """So many kills over all commands, in turn; the exit status."""
    bench, rng, counts = Bench(place), np.random.default_rng(seed), Counter[Any]()
    done = 0
    for work in itertools.cycle([*WORKS, *CHECKS]):
        if done >= kills:
            break
        try:
            done += trial(bench, work, rng, counts)
        except (AssertionError, ValueError, OSError, RuntimeError) as error:
            counts["failures"] += 1
            done += 1
            sys.stderr.write(f"{work.name}: {error}\n")
    names = [work.name for work in [*WORKS, *CHECKS]]
    table = [f"{name} " + "/".join(str(counts[name, s.name]) for s in SIGNALS) for name in names]
    sys.stdout.write(
        f"{sum(counts[name, s.name] for name in names for s in SIGNALS)} kills "
        f"({'/'.join(s.name for s in SIGNALS)}: {', '.join(table)}); {counts['too late']} came too "
        f"late; {counts['equal']} runs went on to the same bytes; {counts['failures']} failures\n"
    )
    return 1 if counts["failures"] else 0


def main() -> int:
    parser = argparse.ArgumentParser(description="Kill commands at random; check what is left.")
    parser.add_argument("--kills", type=int, default=60, help="how many (default 60)")
    parser.add_argument("--seed", type=int, default=0, help="of when and what (default 0)")
    args = parser.parse_args()
    if args.kills < 1:
        parser.error(f"got --kills {args.kills}; needed at least 1; try --kills 60")
    with tempfile.TemporaryDirectory(prefix="kills-") as folder:
        return soak(args.kills, args.seed, Path(folder) / "bench")


if __name__ == "__main__":
    sys.exit(main())
