"""What is on disk is whole, whenever a command is killed; a resumed run is the uninterrupted one.

The commands, and what "whole" means, are those of kills.py, which kills at random times; here each
is killed at chosen events. A full disk and one that cannot be written leave the old files alone.
"""

from __future__ import annotations

import errno
import functools
import os
import shutil
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers", reason="transformers is not installed (extra lm)")
pytest.importorskip("peft", reason="peft is not installed (extra lm)")
if not hasattr(os, "fork"):
    pytest.skip("needs fork", allow_module_level=True)
from killed import NOT_HERE, WORKS, Work, content, files_of, leftovers, limited, on_disk
from kills import SIGNALS, Bench, Kill

import bdtheory as bdt
from bdtheory import cli, storage
from bdtheory.launched import Terminated, terminable

BY_NAME = {work.name: work for work in WORKS}
KILL = signal.SIGKILL
ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def bench(tmp_path_factory) -> Bench:
    return Bench(tmp_path_factory.mktemp("kills") / "bench")


def kill_and_finish(bench: Bench, name: str, *kills: Kill) -> None:
    """Over an older result: each kill, what is on disk after it, and at last the whole run."""
    work = BY_NAME[name]
    folder = bench.older(work)
    before = {name: content(folder / name) for name in work.made}
    bench.made(work)
    for kill in kills:
        bench.killed(folder, work, kill, before)
    bench.finished(folder, work)


def events(bench: Bench, name: str) -> int:
    """Events of a run over an older result."""
    work = BY_NAME[name]
    folder = bench.older(work)
    ran = bench.run(folder, work)
    shutil.rmtree(folder)
    assert ran.status == 0
    return ran.events


# Kills -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sent", [KILL, signal.SIGINT])
def test_a_saved_selection_is_whole_at_every_event(bench, sent):
    for k in range(events(bench, "save")):
        kill_and_finish(bench, "save", Kill(sent, event=k))


# Shares of a run's events: the start, its checkpoints, and densely where files change places.
SHARES = {
    "learn_weights": (0.35, 0.6, 0.8, 0.95),
    "select table": (0.0, 0.6, 0.7, 0.8, 0.9, 0.99),
    "select pairs": (0.5, 0.8, 0.95),
    "refine pairs": (0.5, 0.9),
    "refine task": (0.9, 0.7),
}


@pytest.mark.parametrize("name", SHARES)
def test_killed_anywhere_a_command_goes_on_to_the_same_bytes(bench, name):
    """The signals take turns; a second kill follows, at another event of the run that goes on."""
    count = events(bench, name)
    for at, share in enumerate(SHARES[name]):
        first = Kill(SIGNALS[at % 3], event=int(share * count))
        second = Kill(KILL, event=int((1.0 - share) * count) // 2)
        kill_and_finish(bench, name, first, *([second] if at % 2 else []))


def test_terminated_says_so_in_one_line_and_leaves_nothing(bench):
    work = BY_NAME["select pairs"]
    folder = bench.folder()
    ran = bench.run(folder, work, Kill(signal.SIGTERM, event=3))
    said = "bdtheory: terminated; nothing was written"
    assert (ran.status, ran.said.splitlines()[-1]) == (143, said)
    assert sorted(p.name for p in folder.iterdir()) == sorted(
        p.name for p in (bench.place / "inputs").iterdir()
    )
    later = int(0.7 * events(bench, work.name))
    ran = bench.run(folder, work, Kill(signal.SIGTERM, event=later))
    said = "bdtheory: terminated; go on with --resume, from out.unfinished"
    assert (ran.status, ran.said.splitlines()[-1]) == (143, said)
    bench.finished(folder, work)


CHECKED = "paper_checks: interrupted; 1 of 2 claims were checked\n"
DRAWN = "figures: interrupted; made are those with a line above\n"


@pytest.mark.parametrize(
    ("words", "line", "said"),
    [
        ("paper_checks C05 C07 --seeds 6 --jobs 2", "C05", CHECKED),
        ("figures coverage useful_weights trap --quick --out made", "coverage", DRAWN),
    ],
)
def test_checks_and_figures_stop_at_ctrl_c_with_one_line(words, line, said, tmp_path):
    command = [sys.executable, "-m", *words.split()]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, start_new_session=True, **streams
    ) as process:
        while not process.stdout.readline().startswith(line):  # its workers are at the next one
            assert process.poll() is None
        os.killpg(process.pid, signal.SIGINT)  # to all, as a terminal does
        _, error = process.communicate(timeout=60)
    assert (process.returncode, error) == (130, said)


def test_the_handler_is_there_for_the_command_alone(monkeypatch):
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    seen = []
    monkeypatch.setattr(cli, "build_parser", lambda: seen.append(signal.getsignal(signal.SIGTERM)))
    with pytest.raises(AttributeError):  # None has no parse_args
        cli.main([])
    assert callable(seen[0]) and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL

    def other(*_):
        """Somebody else's."""

    signal.signal(signal.SIGTERM, other)
    try:
        with terminable():
            assert signal.getsignal(signal.SIGTERM) is other
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with pytest.raises(Terminated), terminable():
        os.kill(os.getpid(), signal.SIGTERM)
    monkeypatch.setenv("WORLD_SIZE", "2")  # a launcher ends its processes itself
    with terminable():
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_an_interrupt_that_another_error_hides_is_one(monkeypatch, capsys):
    """zipfile complains of what it was interrupted in; that is no bad input."""

    def hides(_):
        try:
            raise Terminated("go on")
        finally:
            raise ValueError("Can't close the ZIP file")

    monkeypatch.setattr(cli, "select", hides)
    assert cli.main(["select", "-o", "out"]) == 143
    assert capsys.readouterr().err == "bdtheory: terminated; go on\n"


def test_in_a_thread_there_is_no_handler():
    failed: list[BaseException] = []

    def work():
        try:
            with terminable():
                assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert not failed


# Between the two renames -------------------------------------------------------------------------


def fit(value: float) -> bdt.Selection:
    X = [[1.0, 0.0], [0.0, 1.0]]
    ridge = bdt.Problem(bdt.Ridge(value), train=(X, [1.0, 2.0]), val=(X, [0.0, 1.0]))
    return bdt.learn_weights(ridge, bdt.Uniform())


def killed_between_renames(save, monkeypatch) -> None:
    """Run `save` in a child that ends at once where the old folder has moved and no new one has."""
    real = os.rename

    def rename(source, target, **more):
        real(source, target, **more)
        if ".old-" in str(target):
            os._exit(9)

    if (pid := os.fork()) == 0:
        monkeypatch.setattr(os, "rename", rename)
        try:
            save()
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 9


@pytest.mark.parametrize("depth", ["fit", "out/selection"])
def test_killed_between_the_renames_the_old_folder_comes_back(tmp_path, monkeypatch, depth):
    place = tmp_path / depth
    old, new = fit(0.1), fit(0.5)
    old.save(place)
    assert old != new
    top = tmp_path / depth.split("/")[0]

    def over():
        if place == top:
            return new.save(place)
        with storage.draft_folder(top) as draft:
            return new.save(draft / "selection")

    killed_between_renames(over, monkeypatch)
    assert not place.exists() and len(leftovers(tmp_path)) > 1
    assert bdt.Selection.load(place) == old
    over()
    assert bdt.Selection.load(place) == new and not leftovers(tmp_path)


def test_what_a_living_process_is_at_is_left_alone(tmp_path):
    place, last = tmp_path / "fit", fit(0.7)
    fit(0.1).save(place)
    with storage.draft_folder(place) as draft:
        fit(0.5).save(place)  # another one, meanwhile
        assert draft.exists()
        place.rename(tmp_path / draft.name.replace("draft", "old"))
        storage.recover(place)  # as if in the midst of its renames
        assert not place.exists()
        last.save(draft / "other")
    assert bdt.Selection.load(place / "other") == last
    assert not leftovers(tmp_path)


def test_a_stale_draft_goes_and_what_only_looks_like_one_stays(tmp_path):
    names = [".draft-0a1b2c3d-fit", ".draft-0a1b2c3d-fit2", ".draft-0a1b2c3-fit", ".draft-fit"]
    for name in names:
        (tmp_path / name / "deep").mkdir(parents=True)
    (tmp_path / "a.csv").touch()
    (tmp_path / ".draft-0a1b2c3d-a.csv").touch()
    fit(0.1).save(tmp_path / "fit")
    assert leftovers(tmp_path) == sorted([*names[1:], ".draft-0a1b2c3d-a.csv"])
    with storage.draft_file(tmp_path / "a.csv") as draft:
        draft.write_text("x")
    assert leftovers(tmp_path) == sorted(names[1:])


def test_drafts_are_on_the_disk_before_they_are_renamed(tmp_path, monkeypatch):
    done = []
    for name in ("fsync", "rename"):
        real = getattr(os, name)
        monkeypatch.setattr(
            os, name, lambda *a, name=name, real=real: (done.append(name), real(*a))[1]
        )
    fit(0.1).save(tmp_path / "fit")
    assert done == ["fsync"] * 3 + ["rename"]  # two files, their folder


# Full and read-only disks ------------------------------------------------------------------------

FULL = ["select table", "select pairs", "refine pairs", "refine task"]


def refused(bench: Bench, folder: Path, work: Work, *reasons: str) -> None:
    """The command fails in one line that says why, and the old files are what they were."""
    before = files_of(folder)
    ran = bench.run(folder, work)
    if ran.status == NOT_HERE:
        pytest.skip(ran.said)
    assert ran.status == 2, ran
    last = ran.said.splitlines()[-1]
    assert last.startswith("bdtheory: error: ") and "Traceback" not in ran.said, ran.said
    for needle in ("needed", "; try "):
        assert needle in last, last
    assert any(reason in last for reason in reasons), last
    assert {k: v for k, v in files_of(folder).items() if "unfinished" not in k} == before
    assert not leftovers(folder), leftovers(folder)


@pytest.mark.parametrize("name", FULL)
def test_a_full_disk_leaves_the_old_files(bench, name):
    """Full in the midst of the longest file, and at its end."""
    work = BY_NAME[name]
    bench.made(work)
    whole = bench.place / "whole" / f"{name}-0" / "out"
    longest = max(len(data) for data in files_of(whole).values())
    for size in (longest // 3, longest - 1):
        folder = bench.older(work)
        short = replace(work, run=functools.partial(limited, work.run, size))
        refused(bench, folder, short, "File too large", "no space left")
    bench.finished(folder, work)


@pytest.mark.parametrize("name", FULL)
@pytest.mark.parametrize("room, reason", [(8192, "o space left on"), (None, "Read-only")])
def test_a_disk_without_room_and_one_that_is_read_only(bench, name, room, reason):
    work = BY_NAME[name]
    folder = bench.older(work)
    there = replace(work, run=functools.partial(on_disk, work.run, room))
    refused(bench, folder, there, reason)


def test_the_library_says_where_there_is_no_room(tmp_path, monkeypatch):
    place = tmp_path / "fit"
    fit(0.1).save(place)
    before = files_of(place)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=f"No space left on device: '{place}'"):
        fit(0.5).save(place)
    assert files_of(place) == before and not leftovers(tmp_path)
