"""The same seed gives the same bytes: in another process, with another PYTHONHASHSEED, after other
use of the global random states, which are neither read nor changed.

What is run is in seeded.py. More of it elsewhere: that what an interrupted run leaves goes on to
the same bytes, in test_stateful.py, test_training.py, test_refining.py and those of the commands;
every figure drawn twice in test_figures.py; claims with one worker and two in test_paper_checks.py,
seeds of a figure in test_phase_diagram.py; several processes of one training in test_parallel.py.
That no call in the source draws without a generator is in test_source.py. What threads change is
measured by `python -m benchmarks.threads`; see docs/reproducibility.md.
"""

from __future__ import annotations

import importlib
import inspect
import json
import os
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import bdtheory

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> list[dict]:
    """What seeded.py says, in two processes that differ in all that must not matter."""
    for name in ("torch", "transformers", "peft", "matplotlib", "hypothesis"):
        pytest.importorskip(name, reason=f"{name} is not installed")
    started = []
    for salt in ("1", "2"):  # also the number of jobs
        env = os.environ | {"PYTHONHASHSEED": salt, "PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, str(HERE / "seeded.py"), salt, salt]
        started.append(subprocess.Popen(
            command, cwd=tmp_path_factory.mktemp(f"salt-{salt}"), env=env, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE))  # fmt: skip
    told = [process.communicate(timeout=600) for process in started]
    for process, (_, err) in zip(started, told, strict=True):
        assert process.returncode == 0, err[-2000:]
    return [json.loads(out.splitlines()[-1]) for out, _ in told]


def results(runs: list[dict]) -> Iterator[tuple[str, list[str], list[str]]]:
    """For every case its name, the hashes of its two results, and the states that it changed."""
    first, second = (run["cases"] for run in runs)
    assert first.keys() == second.keys()
    for name, one in first.items():
        two = second[name]
        yield name, [one["hash"], two["hash"]], [*one["changed"], *two["changed"]]


# What the session must notice, or may: (the results differ, the states that are changed).
NOTICED = {
    "reads random": (True, ["random"] * 2),
    "reads numpy": (True, ["numpy"] * 2),
    "reads torch": (True, ["torch"] * 2),
    "changes torch": (False, ["torch"] * 2),
    "reads the order of a set": (True, []),
    "BilevelSelector, random_state=None": (True, ["numpy"] * 2),  # as in all of scikit-learn
}


def test_the_same_seed_gives_the_same_bytes(runs):
    differ = {name: len(set(hashes)) > 1 for name, hashes, _ in results(runs)}
    assert len(differ) >= 55
    wrong = [name for name, other in differ.items() if other != NOTICED.get(name, (False,))[0]]
    assert wrong == []


def test_global_random_states_are_not_changed(runs):
    wrong = {name: changed for name, _, changed in results(runs)
             if changed != NOTICED.get(name, (False, []))[1]}  # fmt: skip
    assert wrong == {}


def test_results_depend_on_the_case(runs):
    """Hashes of nothing would all be equal."""
    hashes = [hashes[0] for name, hashes, _ in results(runs)]
    assert len(hashes) - len(set(hashes)) <= 2  # two cases have no result: a dry run, a check


def seeded() -> Iterator[str]:
    """Every public function and method with a seed, as seeded.py names it: file:name."""
    root = Path(bdtheory.__file__).parent
    for found in pkgutil.walk_packages(bdtheory.__path__, "bdtheory."):
        try:
            module = importlib.import_module(found.name)
        except ModuleNotFoundError:  # an extra that is not installed
            continue
        own = [o for o in vars(module).values() if getattr(o, "__module__", "") == found.name]
        own += [f for o in own if inspect.isclass(o) for f in vars(o).values()]
        for function in filter(inspect.isfunction, own):
            name = function.__qualname__
            known = {"seed", "rng", "generator"} & set(inspect.signature(function).parameters)
            if known and not any(part.startswith("_") for part in name.split(".")):
                place = Path(inspect.unwrap(function).__code__.co_filename)
                yield f"{place.relative_to(root).as_posix()}:{name}"


# Called by nothing but the checks: with a generator that the caller made.
ASIDE = {"models/gaussian.py:LinearGaussian.respond"}


def test_every_public_function_with_a_seed_was_called(runs):
    found, called = set(seeded()), set(runs[0]["called"])
    assert len(found) > 30
    assert found - called == ASIDE
