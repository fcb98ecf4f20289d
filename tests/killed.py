"""What kills.py kills: commands and calls on tiny problems, their inputs, and what they leave."""

from __future__ import annotations

import csv
import ctypes
import functools
import io
import json
import os
import shlex
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

MODEL = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2,
         "num_attention_heads": 2, "num_key_value_heads": 1}  # fmt: skip
PAIRS = "train.jsonl --val val.jsonl --model model --full --frozen 0.5 --learning-rate 0.02"


# What is run. Each is called in its own folder, where its inputs are -----------------------------


def problem(seed: int = 0) -> Any:
    """Ten questions and their answers for a transformer of one layer."""
    import bdtheory as bdt

    settings = bdt.Training(steps=12, batch_size=3, val_batch_size=2, evaluations=4)
    model = bdt.TransformerLM(
        vocab_size=9, context=4, layers=1, width=8, dtype="float64", training=settings
    )
    answers = np.random.default_rng(seed).integers(4, 8, 17)
    asked = [[k % 4] * (1 + k % 2) for k in range(17)]
    told = [[int(a), 8] for a in answers]
    return bdt.Problem(model, (asked[:10], told[:10]), (asked[10:], told[10:]))


def learn(seed: int) -> int:
    """A training run with a checkpoint, and its result saved."""
    import bdtheory as bdt

    fit = bdt.learn_weights(problem(), bdt.Penalty(), seed=seed, checkpoint=f"state/{seed}")
    fit.save("out")
    return 0


def save(seed: int) -> int:
    """A result saved."""
    import bdtheory as bdt

    ridge = bdt.Problem(bdt.Ridge(0.1 + seed), (np.eye(3), np.ones(3)), (np.eye(3), np.ones(3)))
    bdt.learn_weights(ridge, bdt.Uniform()).save("out")
    return 0


def command(line: str, seed: int) -> int:
    """A command line; --resume where an earlier run did not end. The toy tasks have few pairs."""
    from bdtheory import cli, cli_refine

    for name, setting in list(cli_refine.SETTINGS.items()):
        few = functools.partial(setting.make, N=40, m=20, n_test=24)
        cli_refine.SETTINGS[name] = setting._replace(make=few)
    more = ["--resume"] if Path("out.unfinished").exists() else []
    return cli.main([*shlex.split(line), "--seed", str(seed), *more])


def claims(seed: int) -> int:
    """Two claims in two processes, with a report."""
    from paper_checks.__main__ import main

    files = "--json out.json --report out --figures none"
    return main(f"C02 C15 --seeds {2 + seed} --jobs 2 {files}".split())


def drawn(seed: int) -> int:
    """A figure."""
    from figures.__main__ import main

    return main(["coverage", "--quick", "--out", "out", "--jobs", "1"])


@dataclass(frozen=True)
class Work:
    """Something to run, kill and run again.

    run : of a seed. made : what it makes. clean : whether SIGTERM is cleaned up after.
    """

    name: str
    run: Callable[[int], int]
    made: tuple[str, ...] = ("out",)
    clean: bool = True


def _line(name: str, line: str, *more: str) -> Work:
    return Work(name, functools.partial(command, line), ("out", *more))


WORKS = [
    Work("learn_weights", learn, clean=False),
    Work("save", save, clean=False),
    _line("select table", "select t.csv --val v.csv --target y --json out.json -o out", "out.json"),
    _line(
        "select pairs", f"select {PAIRS} --passes 2 --batch 4 --json out.json -o out", "out.json"
    ),
    _line("refine pairs", f"refine {PAIRS} --passes 1 --rounds 2 --max-new 4 -o out"),
    _line("refine task", "refine --task safety --steps 8 --pretrain-steps 3 --rounds 2 -o out"),
]
CHECKS = [
    Work("paper_checks", claims, ("out", "out.json"), clean=False),
    Work("figures", drawn, clean=False),
]


def inputs(folder: Path) -> None:
    """The files that the commands read."""
    from tiny_lm import tiny_llama_folder

    from bdtheory.tasks import write_csv, write_rows

    tiny_llama_folder(folder / "model", **MODEL)
    answers = [" the answer is 4", " xq zj %& 99"]
    rows = [{"prompt": f"the question {k} ?", "completion": answers[k % 2]} for k in range(12)]
    write_rows(folder / "train.jsonl", rows)
    write_rows(folder / "val.jsonl", [row | {"completion": answers[0]} for row in rows[:5]])
    numbers = np.random.default_rng(0).standard_normal((30, 3)).tolist()
    write_csv(folder / "t.csv", ["a", "b", "y"], numbers[:20])
    write_csv(folder / "v.csv", ["a", "b", "y"], numbers[20:])


# Where there is no room --------------------------------------------------------------------------

NOT_HERE = 77  # the exit status where this machine cannot do it


def limited(run: Callable[[int], int], size: int, seed: int) -> int:
    """Run it where no file can be longer than `size` bytes, as on a disk that is full then."""
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    return run(seed)


def on_disk(run: Callable[[int], int], room: int | None, seed: int) -> int:
    """Run it on a disk of its own, with these bytes left, or (None) read-only; checks the files."""
    disk = Path("disk").resolve()
    disk.mkdir()
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        private, remount_read_only = 1 << 18 | 1 << 14, 1 << 5 | 1
        if not sys.platform.startswith("linux") or libc.unshare(0x20000):  # CLONE_NEWNS
            raise OSError("needs Linux and root, to mount a disk")
        if libc.mount(b"none", b"/", None, private, None) or libc.mount(
            b"tmpfs", bytes(disk), b"tmpfs", 0, b"size=2m"
        ):
            raise OSError(ctypes.get_errno(), "a disk cannot be mounted")
    except OSError as error:
        sys.stderr.write(str(error))
        return NOT_HERE
    for path in disk.parent.iterdir():
        if path.is_symlink():  # the inputs
            (disk / path.name).symlink_to(path.resolve())
        elif path != disk:
            copy = shutil.copytree if path.is_dir() else shutil.copy
            copy(path, disk / path.name)
    if room is not None:
        free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
        (disk / "ballast").write_bytes(bytes(free - room))
    elif libc.mount(b"none", bytes(disk), None, remount_read_only, None):
        return NOT_HERE
    before = files_of(disk)
    os.chdir(disk)
    status = run(seed)
    after = {name: data for name, data in files_of(disk).items() if "unfinished" not in name}
    assert after == before, sorted(after)
    assert not leftovers(disk), leftovers(disk)
    os.chdir(disk.parent)
    return status


# What is on disk ---------------------------------------------------------------------------------


def files_of(folder: Path) -> dict[str, bytes]:
    """The bytes of all files in the folder; what links lead to is not in it."""
    found = (p for p in sorted(folder.rglob("*")) if p.is_file() and not p.is_symlink())
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in found}


def content(place: Path) -> Any:
    """What lies there, without seconds; None where nothing does. Raises where it cannot be read."""
    if place.is_dir():
        found = (p for p in sorted(place.rglob("*")) if p.is_file())
        return {p.relative_to(place).as_posix(): content(p) for p in found}
    if not place.exists():
        return None
    if place.suffix == ".npz":
        with np.load(place) as arrays:
            timeless = [name for name in arrays.files if not name.endswith("seconds")]
            return {name: (arrays[name].dtype.str, arrays[name].tobytes()) for name in timeless}
    if place.suffix == ".csv":
        return [row | {"seconds": ""} for row in csv.DictReader(io.StringIO(place.read_text()))]
    if place.suffix == ".json":
        return _timeless(json.loads(place.read_text()))
    return place.read_bytes()


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _timeless(item) for key, item in value.items() if key != "seconds"}
    return [_timeless(item) for item in value] if isinstance(value, list) else value


def leftovers(folder: Path) -> list[str]:
    """Drafts, and what they replace, that nobody has taken away."""
    return sorted(str(p.relative_to(folder)) for p in folder.rglob(".*"))


def load_all(folder: Path) -> None:
    """Load every result and state that has a name. Raises where one is damaged."""
    import bdtheory as bdt
    from bdtheory.refinement import Refinement
    from bdtheory.saved import read_parts

    for path in folder.rglob("*.json"):
        if any(part.startswith(".") for part in path.relative_to(folder).parts):
            continue
        match path.stem:
            case "selection":
                bdt.Selection.load(path.parent)
            case "refinement":
                Refinement.load(path.parent)
            case "checkpoint":
                read_parts(path.parent, "checkpoint")
            case _:
                json.loads(path.read_text())
