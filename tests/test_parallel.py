"""Several processes that train together find what one finds alone."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_lm import tiny_llama_folder

from bdtheory.cli import main
from bdtheory.launched import launched, need_even_batches, together
from bdtheory.methods.parallel import Processes, masses_at
from bdtheory.tasks import read_rows
from bdtheory.weights import softmax

# Processes of one thread each in a group, without a launcher: they meet in a file.
WORKER = """
import json, pickle, sys
import torch, torch.distributed as dist

rank, size, folder = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
torch.set_num_threads(1)
dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=size)
work, given = pickle.loads(open(f"{folder}/work", "rb").read())
namespace = {}
exec(work, namespace)
result = namespace["work"](*given)
with open(f"{folder}/result-{rank}", "wb") as file:
    pickle.dump(result, file)
dist.barrier()
dist.destroy_process_group()
"""


def in_processes(folder: Path, size: int, work: str, *given):
    """What `work(*given)`, source text, returns in each of `size` processes."""
    folder.mkdir()
    (folder / "work").write_bytes(pickle.dumps((work, given)))
    command = [sys.executable, "-c", WORKER]
    running = [
        subprocess.Popen([*command, str(rank), str(size), str(folder)], stderr=subprocess.PIPE)
        for rank in range(size)
    ]
    errors = [process.communicate(timeout=120)[1].decode() for process in running]
    assert [process.returncode for process in running] == [0] * size, "\n".join(errors)
    return [pickle.loads((folder / f"result-{rank}").read_bytes()) for rank in range(size)]


# A small problem with ragged prompts, and everything that a run reports.
PROBLEM = """
import numpy as np, torch, bdtheory as bdt
from dataclasses import replace

SETTINGS = bdt.Training(
    steps=12, batch_size=6, val_batch_size=4, accumulate=2, evaluations=4, drop_last=False,
    selector_rate=2.0,
)

def problem(groups=False, **changes):
    rng = np.random.default_rng(0)
    def pairs(n):
        k = rng.integers(0, 8, n)
        return [[a] * t for a, t in zip(k, rng.integers(1, 4, n))], [[8 + a, 16] for a in k]
    model = bdt.TransformerLM(vocab_size=17, context=6, layers=1, width=16, dtype="float64",
                              training=replace(SETTINGS, **changes))
    train, val, test = pairs(15), pairs(9), pairs(5)
    for row in range(0, 15, 3):
        train[1][row][0] = 8
    codes = [f"g{k}" for k in np.arange(15) % 7] if groups else None
    return bdt.Problem(model, train, val, test, groups=codes)

METHODS = [bdt.Penalty(), bdt.Penalty(value_function=True), bdt.BMO(), bdt.DirectMixing(ratio=0.5),
           bdt.ValidationOnly(), bdt.Uniform()]

def numbers(fit):
    history = {k: a.tolist() for k, a in fit.history.items() if k != "seconds"}
    theta = {k: t.numpy() for k, t in fit.theta.items()}
    return fit.weights, theta, history, fit.val_loss, fit.test_loss, fit.message
"""
ALL = (
    PROBLEM
    + """
def work(groups):
    return [numbers(bdt.learn_weights(problem(groups), m, seed=3)) for m in METHODS]
"""
)


def here(work: str, *given):
    namespace: dict = {}
    exec(work, namespace)
    return namespace["work"](*given)


def assert_close(one, other, rtol=1e-9):
    (w, theta, history, *facts), (w2, theta2, history2, *facts2) = one, other
    np.testing.assert_allclose(w2, w, rtol=rtol, atol=1e-15)
    for name in theta:
        np.testing.assert_allclose(theta2[name], theta[name], rtol=rtol, atol=1e-9)
    for name in history:
        np.testing.assert_allclose(history2[name], history[name], rtol=rtol)
    np.testing.assert_allclose(facts2[:2], facts[:2], rtol=rtol)
    assert facts2[2] == facts[2]


@pytest.mark.parametrize("size, groups", [(2, False), (2, True), (3, False)])
def test_processes_find_what_one_finds(tmp_path, size, groups):
    """With 3 processes a batch of 6 + 4 does not divide: the validation batch is all of it then."""
    work = ALL if size == 2 else ALL.replace("val_batch_size=4", "val_batch_size=None")
    alone = here(work, groups)
    together = in_processes(tmp_path / "p", size, work, groups)
    for found in together:
        for one, other in zip(alone, found, strict=True):
            assert_close(one, other)
    learned = [np.ptp(found[0]) for found in alone[:3]]
    assert min(learned) > 1e-3  # the weights did move


RESUMED = (
    PROBLEM
    + """
def work(folder, at):
    if at:
        stop = lambda step, w: step == at
        bdt.learn_weights(problem(), bdt.Penalty(), checkpoint=folder, callback=stop)
    else:
        return numbers(bdt.learn_weights(problem(), bdt.Penalty(), checkpoint=folder))
"""
)


@pytest.mark.parametrize("before, after", [(2, 1), (1, 2)])
def test_a_run_goes_on_in_another_number_of_processes(tmp_path, before, after):
    whole = here(RESUMED, str(tmp_path / "whole"), 0)

    def run(size, at):
        given = str(tmp_path / "c"), at
        folder = tmp_path / f"{at}"
        return in_processes(folder, size, RESUMED, *given) if size > 1 else [here(RESUMED, *given)]

    run(before, 5)
    facts = json.loads((tmp_path / "c" / "checkpoint.json").read_text())
    assert facts["state"]["step"] == 5
    for found in run(after, 0):
        assert_close(whole, found)


REFUSED = (
    PROBLEM
    + """
def work():
    found = []
    for changes in ({"batch_size": 7}, {"val_batch_size": 3}):
        try:
            bdt.learn_weights(problem(**changes), bdt.Penalty())
        except ValueError as error:
            found.append(str(error))
    try:
        bdt.refine(problem(), bdt.Penalty(), rounds=1, generation=bdt.Generation(max_new=2))
    except ValueError as error:
        found.append(str(error))
    return found
"""
)


def test_what_cannot_be_divided_is_refused(tmp_path):
    for batch, val_batch, refine in in_processes(tmp_path / "p", 2, REFUSED):
        assert batch == (
            "batch_size is 7 in 2 processes; needed a multiple of 2, so that each has as many "
            "rows; try batch_size=8"
        )
        assert val_batch.startswith("val_batch_size is 3 in 2 processes") and "=4" in val_batch
        assert refine.startswith("got a round of refine in 2 processes; needed one")


# What is exchanged -------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_rows_are_shared_evenly_and_once(size):
    rng = np.random.default_rng(0)
    for n in (1, 4, 12):
        rows = rng.choice(50, n, replace=False)
        shares = [Processes(rank, size).share(rows) for rank in range(size)]
        assert sorted(np.concatenate(shares).tolist()) == list(range(n))
        assert max(map(len, shares)) - min(map(len, shares)) <= 1
    whole = np.arange(size * 4)  # where it can be, each process has its own rows
    for rank in range(size):
        mine = whole[Processes(rank, size).share(whole)]
        assert (mine % size == rank).all() and len(mine) == 4


@pytest.mark.parametrize("size", [1, 2, 3])
def test_every_logit_has_one_owner(size):
    a = np.random.default_rng(0).normal(size=8)
    all_ = [Processes(rank, size) for rank in range(size)]
    assert sum(p.mine(np.arange(8)).astype(int) for p in all_).tolist() == [1] * 8
    for p in all_:
        np.testing.assert_array_equal(p.part(a), a[p.mine(np.arange(8))])


def test_weights_by_index_are_those_of_the_whole_softmax(tmp_path):
    work = """
import numpy as np, torch
from bdtheory.methods.parallel import Processes, masses_at
def work(z, codes):
    p = Processes.current(torch.device("cpu"))
    return masses_at(p, p.part(z), codes), p.whole(p.part(z), len(z)), p.at(p.part(z), codes)
"""
    z, codes = 300.0 * np.random.default_rng(1).normal(size=7), np.array([6, 0, 0, 3])
    for v, whole, at in in_processes(tmp_path / "p", 2, work, z, codes):
        np.testing.assert_allclose(v, softmax(z)[codes], rtol=1e-12)
        np.testing.assert_array_equal(whole, z)
        np.testing.assert_array_equal(at, z[codes])
    np.testing.assert_allclose(masses_at(Processes(), z, codes), softmax(z)[codes], rtol=1e-12)


# The command line --------------------------------------------------------------------------------


SPEAK = """
import sys
from bdtheory.launched import together
from bdtheory.methods.parallel import Processes
import torch
def work():
    processes = Processes.current(torch.device("cpu"))
    def fails():
        if processes.rank == 1:
            raise ValueError("got a; needed b; try c")
        return 3
    try:
        together(processes, fails)
    except (SystemExit, ValueError) as error:
        return repr(error)
"""


def test_all_end_where_one_has_bad_input_and_that_one_says_so(tmp_path, monkeypatch):
    found = in_processes(tmp_path / "p", 2, SPEAK)
    assert found == ["SystemExit(2)", "ValueError('got a; needed b; try c')"]
    assert together(Processes(), lambda: 3) == 3


@pytest.mark.parametrize(
    "words, said",
    [
        ("compare --dataset digits", "got this command in 2 processes; needed one"),
        ("refine --task safety", "got this command in 2 processes; needed one"),
        ("select a.csv --val b.csv --target y -o r", "got this command in 2 processes"),
        ("select a.jsonl --val b.jsonl --model m --dry-run", "got --dry-run in 2 processes"),
    ],
)
def test_what_is_made_for_one_process_says_so_once(monkeypatch, capsys, words, said):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr("bdtheory.launched.PAUSE", 0.0)
    for rank, expected in (("0", said), ("1", "")):
        monkeypatch.setenv("RANK", rank)
        assert main(words.split()) == 2
        out, err = capsys.readouterr()
        assert (expected in err) and bool(err) == (rank == "0") and not out
        assert err.count("\n") == (rank == "0")


def test_batches_must_divide_and_the_model_is_whole(monkeypatch):
    need_even_batches(Processes(0, 3), batch=9, val_batch=3)
    with pytest.raises(ValueError, match=r"got --val-batch 4 in 3 processes; .* try --val-batch 6"):
        need_even_batches(Processes(0, 3), batch=9, val_batch=4)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(ValueError, match="got FSDP in accelerate's configuration"), launched("cpu"):
        pass


def accelerate_launch(folder: Path, *words: str) -> subprocess.CompletedProcess:
    """`accelerate launch` of two processes: on a machine without cards they use its CPU."""
    launch = "-m accelerate.commands.launch --multi_gpu --num_processes 2 --num_machines 1"
    launch += " --mixed_precision no --dynamo_backend no --main_process_port 0 -m bdtheory"
    return subprocess.run(
        [sys.executable, *launch.split(), *words],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HOME": str(folder / "hf")},
    )


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """A folder with a tiny model and sums, half of the training answers wrong."""
    for name in ("transformers", "peft", "accelerate"):
        pytest.importorskip(name, reason="language models need the extra lm")
    folder, rng = tmp_path_factory.mktemp("pairs"), np.random.default_rng(0)
    tiny_llama_folder(folder / "model")
    for name, n in (("train", 23), ("val", 10)):
        rows = []
        for k, (a, b) in enumerate(rng.integers(0, 9, (n, 2)).tolist()):
            answer = a + b if name == "val" or k % 2 else (a + b + 3) % 17
            rows.append(json.dumps({"prompt": f"{a}+{b}=", "completion": f" {answer}"}))
        (folder / f"{name}.jsonl").write_text("\n".join(rows) + "\n")
    return folder


SELECT = [
    "select",
    "train.jsonl",
    "--val",
    "val.jsonl",
    "--model",
    "model",
    "--device",
    "cpu",
    "--batch",
    "4",
]


@pytest.mark.skipif(torch.cuda.is_available(), reason="the launcher would use the cards")
def test_select_in_two_processes_writes_the_weights_of_one(pairs):
    alone = subprocess.run(
        [sys.executable, "-m", "bdtheory", *SELECT, "-o", "one"], cwd=pairs, capture_output=True
    )
    assert alone.returncode == 0, alone.stderr.decode()
    both = accelerate_launch(pairs, *SELECT, "-o", "two")
    assert both.returncode == 0, both.stderr
    assert both.stdout.count("written to two") == 1 == both.stderr.count("step 12/12")
    one, two = (
        np.array([row["weight"] for row in read_rows(pairs / name / "weighted.jsonl")])
        for name in ("one", "two")
    )
    assert one.sum() == pytest.approx(23.0) and np.ptp(one) > 0.01
    np.testing.assert_allclose(two, one, atol=1e-5)
    said = [json.loads((pairs / name / "manifest.json").read_text()) for name in ("one", "two")]
    assert [manifest["processes"] for manifest in said] == [1, 2]
    assert sorted(p.name for p in (pairs / "two").iterdir()) == sorted(
        p.name for p in (pairs / "one").iterdir()
    )
    assert not [p.name for p in pairs.iterdir() if "unfinished" in p.name or p.name[0] == "."]


@pytest.mark.skipif(torch.cuda.is_available(), reason="the launcher would use the cards")
def test_bad_input_in_two_processes_is_said_once(pairs):
    bad = accelerate_launch(pairs, *SELECT[:-1], "3", "-o", "three")
    assert bad.returncode == 1  # the launcher's own
    assert bad.stderr.count("bdtheory: error:") == 1
    assert "got --batch 3 in 2 processes; needed a multiple of 2" in bad.stderr
    assert not list(pairs.glob("*three*"))
