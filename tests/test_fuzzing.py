"""Files that are damaged, foreign or hostile: a documented error or a sound result, and no code.

Hypothesis damages valid files (`test_damaged_files`); `BOMBS` are small files that ask for a large
memory or a long time, measured in a process of their own; `TRAPS` hold a pickle that would write a
file. The number of examples is the profile's.
"""

from __future__ import annotations

import argparse
import functools
import io
import json
import os
import pickle
import random
import struct
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
from bad_inputs import MODEL, good_files, problem, rounds
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import bdtheory as bdt
from bdtheory import cli, cli_refine, outputs, pairs_refine
from bdtheory.methods.checkpoint import Checkpoint
from bdtheory.methods.joint import Run
from bdtheory.models.pretrained import files_of
from bdtheory.refinement import Refinement
from bdtheory.rounds import Rounds
from bdtheory.storage import sha256
from bdtheory.tasks import Pairs, Table, read_pairs, read_rows, read_table

MB = 2**20
slow = settings(
    deadline=timedelta(seconds=5),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


# What is read, and what holds of a result


class Reader(NamedTuple):
    """The file that is damaged, and what reads it; `sound` says whether a result can be so."""

    file: str
    read: Callable[[Path], Any]
    sound: Callable[[Any], bool]


def is_table(table: Table) -> bool:
    return bool(np.isfinite(table.X).all()) and table.X.shape == (len(table.y), len(table.columns))


def is_rows(rows: list[dict]) -> bool:
    return len(json.dumps(rows, ensure_ascii=False, default=str).encode()) > 1


def is_pairs(pairs: Pairs) -> bool:
    return all(text.strip() for text in pairs.completions) and len(pairs) == len(pairs.prompts)


def is_selection(fit: bdt.Selection) -> bool:
    return len(repr(fit)) > 20 and bool(np.isfinite(fit.weights).all()) and fit.top(1).shape == (1,)


def is_refinement(found: Refinement) -> bool:
    return is_selection(found.selection) and found.rounds >= 0


def is_state(run: Any) -> bool:
    return run is None or run.found.rounds >= 0


def resumed(folder: Path) -> Any:
    """Rounds of a closed-form model with the state in a checkpoint; None where there is none."""
    setting = problem(MODEL), bdt.BMO(), bdt.Generation(share=1.0, responses=1)
    run = Rounds(*setting, None, 0)
    more = {"generation": repr(setting[2]), "score": "False"}
    store = Checkpoint(folder / "rounds", run.problem, run.method, 0, **more)
    return run if store.resume(run) else None


@functools.cache
def tiny() -> tuple[bdt.Problem, Any]:
    """A transformer of two hundred parameters or so, trained for three steps."""
    training = bdt.Training(steps=3, batch_size=2, val_batch_size=2, evaluations=2)
    from bdtheory.models.transformer import TransformerLM

    model = TransformerLM(5, context=4, width=4, heads=1, layers=1, training=training)
    data = [[1, 2]] * 4, [[3], [4], [3], [4]]
    return bdt.Problem(model, train=data, val=data), bdt.Penalty(gamma=1.0)


def trained(folder: Path) -> Any:
    """A run of training with the state in a checkpoint."""
    setting, method = tiny()
    run = Run(setting, method.selector(setting), 0)
    return run if Checkpoint(folder / "trained", setting, method, 0).resume(run) else None


def is_run(run: Any) -> bool:
    return run is None or (0 <= run.step <= 3 and bool(np.isfinite(run.weights()).all()))


def earlier(folder: Path) -> bdt.Selection:
    """What `refine --selection` of pairs goes on from."""
    own = {name: str(folder / f"{name}.jsonl") for name in ("train", "val")}
    more = {"selection": str(folder / "out"), "model": str(folder / "model"), "seed": 0}
    data: Any = SimpleNamespace(model=SimpleNamespace(files=files_of(more["model"])))
    sums = {path: sha256(path) for path in own.values()}
    return pairs_refine.earlier(argparse.Namespace(**own, **more), data, sums)


def manifest(folder: Path) -> dict[str, Any]:
    """manifest.json of a result of `select` on pairs, as far as `earlier` reads it."""
    names = {name: str(folder / f"{name}.jsonl") for name in ("train", "val")}
    return {
        "options": {**names, "seed": 0, "model": str(folder / "model")},
        "sha256": {path: sha256(path) for path in names.values()},
        "model_sha256": files_of(str(folder / "model")),
    }


def result(folder: Path) -> Refinement:
    """What `refine --task --resume` goes on from."""
    args = argparse.Namespace(output=str(folder / "task"), task="quality", seed=0, rounds=4)
    return cli_refine.earlier_result(args)[0]


READERS = {
    "csv": Reader("train.csv", lambda f: read_table(f / "train.csv", "y", id_column="key"),
                  is_table),
    "npz": Reader("train.npz", lambda f: read_table(f / "train.npz"), is_table),
    "npz, packed": Reader("packed.npz", lambda f: read_table(f / "packed.npz"), is_table),
    "jsonl": Reader("train.jsonl", lambda f: read_pairs(f / "train.jsonl"), is_pairs),
    "json": Reader("rows.json", lambda f: read_rows(f / "rows.json"), is_rows),
    "parquet": Reader("rows.parquet", lambda f: read_rows(f / "rows.parquet"), is_rows),
    "selection": Reader("run/selection.json", lambda f: bdt.Selection.load(f / "run"),
                        is_selection),
    "selection, arrays": Reader("run/arrays.npz", lambda f: bdt.Selection.load(f / "run"),
                                is_selection),
    "refinement": Reader("task/refinement/refinement.json",
                         lambda f: Refinement.load(f / "task/refinement"), is_refinement),
    "checkpoint": Reader("rounds/checkpoint.json", resumed, is_state),
    "checkpoint, arrays": Reader("rounds/arrays.npz", resumed, is_state),
    "training": Reader("trained/checkpoint.json", trained, is_run),
    "training, arrays": Reader("trained/arrays.npz", trained, is_run),
    "manifest": Reader("out/manifest.json", earlier, is_selection),
    "config": Reader("task/config.json", result, is_refinement),
    "files of a result": Reader(
        "task/config.json", lambda f: outputs._listed(f / "task/config.json", "bdtheory refine"),
        lambda found: isinstance(found, set)),
}  # fmt: skip


def fill(folder: Path) -> None:
    """Good files for every reader."""
    good_files(folder)
    table = np.load(folder / "train.npz")
    np.savez_compressed(folder / "packed.npz", id=np.arange(6), groups=[*"ababab"], **table)
    (folder / "rows.json").write_text(json.dumps(read_rows(folder / "train.jsonl"), indent=1))
    found = rounds(str(folder / "rounds"))
    found.save(folder / "task/refinement")
    config = {"options": {"task": "quality", "seed": 0}, "result": {"rounds": [{"scores": {}}] * 2}}
    config |= {"command": "bdtheory refine", "files": ["config.json"]}
    (folder / "task/config.json").write_text(json.dumps(config))
    bdt.learn_weights(*tiny(), checkpoint=folder / "trained")
    (folder / "model").mkdir()
    (folder / "model/config.json").write_text("{}")
    found.offline.save(folder / "out/selection")
    (folder / "out/manifest.json").write_text(json.dumps(manifest(folder)))


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    fill(folder)
    return folder


def check(name: str, folder: Path, content: bytes) -> bool:
    """Read the file with this content: True for a result, False for the documented error."""
    reader = READERS[name]
    path = folder / reader.file
    good = path.read_bytes()
    path.write_bytes(content)
    refusal = None
    try:
        found = reader.read(folder)
    except ValueError as error:
        refusal = error
    finally:
        path.write_bytes(good)
    if refusal is None:
        assert reader.sound(found), found
        return True
    message = str(refusal)
    assert type(refusal) is ValueError, repr(refusal)
    assert "\n" not in message and "; needed " in message and "; try " in message, message
    assert len(message) < 1000, message
    return False


@pytest.mark.parametrize("name", READERS)
def test_the_good_files_are_read(name, files):
    assert check(name, files, (files / READERS[name].file).read_bytes())


# Damage

ODD = [b"\0", b"\xff", b"\r", b'"', b"[", b"]", b"{", b"}", b",", b":", b"-", b"e999", b"NaN",
       b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\\ud800", b"\\u0000", b"null", b"true", b"-1", b"1e999",
       b"9" * 5000, b"\xe2\x80\xa8", b"PK\x03\x04", b"\x93NUMPY", b"a" * 300, b"[[]]", b"{}",
       b'""']  # fmt: skip


def damaged(good: bytes, seed: int, times: int) -> bytes:
    """The file with so many places flipped, cut, doubled, swapped, or written over."""
    draw, data = random.Random(seed), bytearray(good)
    for _ in range(times):
        a, b = sorted(draw.randrange(len(data) + 1) for _ in range(2))
        match draw.randrange(7):
            case 0 if data:
                data[min(a, len(data) - 1)] ^= 1 << draw.randrange(8)
            case 1:
                del data[a : a + draw.randrange(20)]
            case 2:
                data = data[:a] if draw.random() < 0.3 else data
            case 3:
                data[b:b] = data[a:b]
            case 4:
                data = data[b:] + data[a:b] + data[:a]
            case 5:
                data[a:a] = draw.choice(ODD)
            case _:
                piece = draw.choice(ODD)
                data[a : a + len(piece)] = piece
    return bytes(data)


def swapped(good: bytes, seed: int) -> bytes | None:
    """JSON with one of its values replaced by a value of another kind; None for no JSON."""
    try:
        tree = json.loads(good)
    except ValueError:
        return None
    draw, places = random.Random(seed), []

    def walk(node: Any) -> None:
        for key in list(node) if isinstance(node, dict) else range(len(node)):
            places.append((node, key))
            if isinstance(node[key], dict | list):
                walk(node[key])

    walk(tree)
    node, key = draw.choice(places)
    kinds = [None, True, -1, 2**70, 1e308, "", "\x00", [], {}, [[]], {"a": 1}, 0.5, "nan", [0] * 9]
    if draw.random() < 0.2:
        del node[key]
    else:
        node[key] = draw.choice(kinds)
    return json.dumps(tree).encode()


@pytest.mark.parametrize("name", READERS)
@slow
@given(seed=st.integers(0, 2**32), times=st.integers(1, 4))
def test_damaged_files(name, files, seed, times):
    good = (files / READERS[name].file).read_bytes()
    check(name, files, damaged(good, seed, times))
    if (other := swapped(good, seed)) is not None:
        check(name, files, other)


@pytest.mark.parametrize("name", READERS)
@slow
@given(content=st.binary(max_size=200) | st.text(max_size=60).map(lambda t: t.encode("utf-8")))
@example(content=b"")
@example(content=b"\xef\xbb\xbf")
@example(content=b"[" * 100_000)
@example(content=b'{"a":' * 100_000)
@example(content=b"9" * 10**6)
@example(content=b"1e999")
@example(content=b'["\\ud800"]')
@example(content=b"[]")
@example(content=b"{}")
@example(content=b"a,y\r1,2\r")
@example(content=b"\0" * 1000)
@example(content=b"PK\x05\x06" + b"\0" * 18)
def test_any_bytes(name, files, content):
    if name == "files of a result":
        assert outputs._listed(files / "nothing", "bdtheory refine") == set()
    assert not check(name, files, content) or name in ("csv", "json", "files of a result")


# Small files that ask for much. They are read in a process of their own, whose memory is measured.

LONG = b"x" * MB
ZEROS = bytes(2**24)


def header(shape: tuple[int, ...], dtype: str = "<f8", more: bytes = b"") -> bytes:
    """The beginning of an array as NumPy writes it, which may lie."""
    text = repr({"descr": dtype, "fortran_order": False, "shape": shape}).encode() + more + b"\n"
    return b"\x93NUMPY\x02\x00" + struct.pack("<I", len(text)) + text


def archive(**members: bytes | tuple[bytes, int]) -> bytes:
    """A packed archive; a pair is a header and how often 16 MB of zeros follow it."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in members.items():
            start, times = content if isinstance(content, tuple) else (content, 0)
            with packed.open(f"{name}.npy", "w", force_zip64=True) as member:
                member.write(start)
                for _ in range(times):
                    member.write(ZEROS)
    return file.getvalue()


@functools.cache
def many_zeros() -> bytes:
    """Arrays of 16 MB each."""
    return archive(weights=Y2, **{f"theta/{k}": (header((2**21,)), 1) for k in range(14)})


def saved(value: Any, **more: Any) -> bytes:
    """A NumPy array in its format."""
    file = io.BytesIO()
    np.lib.format.write_array(file, np.asarray(value), **more)
    return file.getvalue()


def parquet(rows: int, text: str) -> bytes:
    """So many equal rows, which take a few bytes together."""
    path = Path("made.parquet")
    import pyarrow as pa
    import pyarrow.parquet as pq

    column = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array([text]))
    pq.write_table(pa.table({"prompt": column, "completion": column}), path)
    content = path.read_bytes()
    path.unlink()
    return content


Y2 = saved([0.0, 1.0])
BOMBS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "zeros": ("npz", lambda: archive(X=(header((2**22, 16), "|b1"), 4), y=Y2)),
    "a shape of 10^12": ("npz", lambda: archive(X=header((10**12, 2)), y=Y2)),
    "a shape of 10^10": ("npz", lambda: archive(X=header((10**10, 1)) + bytes(80), y=Y2)),
    "a shape beyond integers": ("npz", lambda: archive(X=header((2**62, 2**62)), y=Y2)),
    "a negative shape": ("npz", lambda: archive(X=header((-4, -4)) + bytes(128), y=Y2)),
    "a shape that leaves rows out": ("npz", lambda: archive(
        X=header((2, 1)) + bytes(80), y=Y2)),
    "texts of no length": ("npz", lambda: archive(X=Y2, y=header((10**9,), "<U0"))),
    "ids of one zero": ("npz", lambda: archive(X=(header((2**22, 1), "<i4"), 1), y=(
        header((2**22,), "<i4"), 1), id=(header((2**22,), "<i4"), 1))),
    "a deep header": ("npz", lambda: archive(X=header((1,), more=b"(" * 60_000), y=Y2)),
    "a header of 1 MB": ("npz", lambda: archive(X=header((1,), more=LONG), y=Y2)),
    "a header of Python 2": ("npz", lambda: archive(
        X=header((1,)).replace(b"(1,)", b"(2L, 2L)") + bytes(32), y=Y2)),
    "zeros in many arrays": ("selection, arrays", lambda: many_zeros()),
    "zeros in a state": ("checkpoint, arrays", lambda: many_zeros()),
    "100,000 columns": ("csv", lambda: b",".join(b"c%d" % k for k in range(100_000)) + b",y,key\n"
                        + b"0," * 100_001 + b"id\n"),
    "100,000 columns, twice": ("csv", lambda: b",".join(
        [*(b"c%d" % k for k in range(100_000)), b"c99999"]) + b"\n"),
    "100,000 columns, no target": ("csv", lambda: b",".join(
        b"c%d" % k for k in range(100_000)) + b"\n" + b"1," * 99_999 + b"1\n"),
    "a million blank lines": ("csv", lambda: b"a,y,key" + b"\n" * 10**6),
    "a million digits": ("csv", lambda: b"a,y,key\n1," + b"9" * 10**5 + b",k\n"),
    "a line of 1 MB": ("csv", lambda: LONG),
    "a cell that never ends": ("csv", lambda: b'a,y,key\n"' + b"1\n" * 2**19),
    "deep lists": ("json", lambda: b"[" * MB),
    "deep objects": ("json", lambda: b'[{"a":' * (MB // 6)),
    "a million digits in JSON": ("json", lambda: b'[{"a": ' + b"9" * 10**6 + b"}]"),
    "100,000 keys, one twice": ("json", lambda: json.dumps([{
        f"k{k}": 0 for k in range(80_000)}]).encode()[:-2] + b', "k79999": 1}]'),
    "200,000 numbers for rows": ("json", lambda: b"[" + b"1," * (MB // 5) + b"1]"),
    "200,000 empty rows": ("json", lambda: b"[" + b"{}," * (MB // 5) + b"{}]"),
    "200,000 empty pairs": ("jsonl", lambda: b"{}\n" * (MB // 5)),
    "a text of 1 MB": ("jsonl", lambda: b'{"prompt": "' + LONG + b'", "completion": 1}'),
    "a name of 1 MB": ("jsonl", lambda: b'{"' + LONG + b'": 1}'),
    "2 million equal rows": ("parquet", lambda: parquet(2 * 10**6, "a")),
    "long equal rows": ("parquet", lambda: parquet(10**4, "x" * 300_000)),
    "a deep selection": ("selection", lambda: b"[" * MB),
    "a deep manifest": ("manifest", lambda: b'{"options":' * (MB // 11)),
    "a deep config": ("config", lambda: b"[" * MB),
    "a deep list of files": ("files of a result", lambda: b"[" * MB),
    "a deep checkpoint": ("training", lambda: b'{"state":' * (MB // 9)),
}  # fmt: skip


def resident(field: str) -> int:
    """VmRSS, the memory that is in use, or VmHWM, the most since it was reset; bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(field))


def measure(names: list[str]) -> None:
    """Print what each bomb came to, and what it took; run as a process in a folder of its own."""
    folder = Path.cwd()
    fill(folder)
    for name in names:
        reader, make = BOMBS[name]
        content = make()
        check(reader, folder, (folder / READERS[reader].file).read_bytes())  # what it imports
        Path("/proc/self/clear_refs").write_text("5")  # VmHWM becomes VmRSS
        start, before = time.process_time(), resident("VmRSS")
        outcome = check(reader, folder, content)
        took = {"seconds": time.process_time() - start, "memory": resident("VmHWM") - before}
        sys.stdout.write(json.dumps({"name": name, "size": len(content), "good": outcome} | took))
        sys.stdout.write("\n")


def test_a_small_file_takes_little_memory_and_time(tmp_path):
    if not os.access("/proc/self/clear_refs", os.W_OK):
        pytest.skip("the memory is measured by /proc")
    names = list(BOMBS)
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        names = [name for name in names if BOMBS[name][0] != "parquet"]
    code = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
    code += f"import test_fuzzing; test_fuzzing.measure({names!r})"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = {row["name"]: row for row in map(json.loads, done.stdout.splitlines())}
    assert list(found) == names
    for name, row in found.items():
        assert row["size"] < 1.2 * MB, row
        assert row["memory"] < 200 * MB, row
        assert row["seconds"] < 10, row
        assert row["good"] == (name in SOUND), row


SOUND = {"200,000 empty rows", "100,000 columns", "a deep list of files"}


# Pickles: nothing that one of them says is done


class Trap:
    """Writes a file where it is unpickled."""

    def __init__(self, path: Path):
        self.path = str(path)

    def __reduce__(self) -> tuple:
        return open, (self.path, "w")


def traps(path: Path) -> dict[str, bytes]:
    """A pickle as a file, as an array of objects, and in an archive."""
    array = np.array([Trap(path)] * 2, dtype=object)
    objects = saved(array, allow_pickle=True)
    names = ["X", "y", "id", "weights", "theta/", "order", "rounds/round", "offline/weights"]
    member = io.BytesIO()
    with zipfile.ZipFile(member, "w") as packed:
        for name in names:
            packed.writestr(name, pickle.dumps(Trap(path)))  # numpy.load gives these as bytes
    return {
        "pickle": pickle.dumps(Trap(path)),
        "array": objects,
        "archive": archive(**dict.fromkeys(names, objects)),
        "members": member.getvalue(),
        "pickles as arrays": archive(**dict.fromkeys(names, pickle.dumps(Trap(path)))),
    }


def test_the_traps_work(tmp_path):
    path = tmp_path / "sprung"
    pickle.loads(traps(path)["pickle"]).close()
    assert path.exists()
    path.unlink()
    np.load(io.BytesIO(traps(path)["archive"]), allow_pickle=True)["y"][0].close()
    assert path.exists()


@pytest.mark.parametrize("name", [name for name in READERS if READERS[name].file.endswith("npz")])
def test_no_pickle_runs(name, files, tmp_path):
    for content in traps(tmp_path / "sprung").values():
        assert not check(name, files, content)
    assert not (tmp_path / "sprung").exists()


def test_no_pickle_runs_where_other_files_are_expected(files, tmp_path):
    for name in ("csv", "jsonl", "json", "parquet", "selection", "checkpoint", "manifest"):
        for content in traps(tmp_path / "sprung").values():
            assert not check(name, files, content)
    assert not (tmp_path / "sprung").exists()


def test_no_pickle_runs_in_the_folder_of_a_language_model(tmp_path):
    """transformers reads pytorch_model.bin where it finds no safetensors: it must not be asked."""
    pytest.importorskip("transformers", reason="transformers is not installed (extra lm)")
    pytest.importorskip("peft", reason="peft is not installed (extra lm)")
    from tiny_lm import tiny_llama_folder

    from bdtheory.models.huggingface import HuggingFaceLM

    folder = tiny_llama_folder(tmp_path / "model", hidden_size=16, num_hidden_layers=1)
    (folder / "model.safetensors").unlink()
    for name in ("pytorch_model.bin", "model.pt", "adapter_model.bin"):
        (folder / name).write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
    with pytest.raises(ValueError, match="needed"):
        _ = HuggingFaceLM(str(folder)).network
    assert not (tmp_path / "sprung").exists()


def test_a_hostile_folder_is_no_traceback_on_the_command_line(files, capsys, monkeypatch):
    """The folders that the commands look into before they write."""
    monkeypatch.chdir(files)
    (files / "hostile").mkdir()
    (files / "hostile/config.json").write_bytes(b"[" * MB)
    for line in ("compare train.csv --val val.csv --target y --id key -o hostile",
                 "refine --task quality --resume -o hostile"):  # fmt: skip
        assert cli.main(line.split()) == 2
        err = capsys.readouterr().err
        assert err.startswith("bdtheory: error: hostile ") and err.count("\n") == 1
