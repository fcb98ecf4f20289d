"""Runs of learn_weights with checkpoints, in any order: interrupted, resumed, mixed up, saved.

A machine of Hypothesis draws the order. The model is a transformer of a few hundred numbers.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

pytest.importorskip("torch")
from killed import leftovers, problem
from strategies import examples
from test_training import assert_same_run

import bdtheory as bdt

METHODS = [bdt.Penalty(), bdt.Penalty(value_function=True), bdt.BMO(), bdt.Uniform()]
STEPS = 12
Run = tuple[int, int]  # which method, and which seed
runs = st.tuples(st.integers(0, len(METHODS) - 1), st.integers(0, 1))
folders, steps = st.integers(0, 1), st.integers(1, STEPS)
TASK = problem()
WHOLE: dict[Run, bdt.Selection] = {}  # uninterrupted, without a checkpoint


def whole(run: Run) -> bdt.Selection:
    if run not in WHOLE:
        WHOLE[run] = bdt.learn_weights(TASK, METHODS[run[0]], seed=run[1])
    return WHOLE[run]


class Runs(RuleBasedStateMachine):
    """Two folders for checkpoints, two for results, and what should be in each."""

    @initialize()
    def begin(self):
        self.place = Path(tempfile.mkdtemp(prefix="runs-"))
        self.states: dict[int, Run] = {}
        self.results: dict[int, Run] = {}

    def teardown(self):
        shutil.rmtree(self.place, ignore_errors=True)

    def learn(self, run: Run, folder: int, callback=None) -> bdt.Selection:
        method, seed = METHODS[run[0]], run[1]
        place = self.place / f"state-{folder}"
        return bdt.learn_weights(TASK, method, seed=seed, callback=callback, checkpoint=place)

    def refused(self, run: Run, folder: int) -> bool:
        """Whether the folder is another run's, which is seen to be refused and left as it was."""
        if self.states.get(folder, run) == run:
            return False
        place = self.place / f"state-{folder}"
        before = {p.name: p.read_bytes() for p in place.iterdir()}
        with pytest.raises(ValueError, match=r"is of another (method|seed)"):
            self.learn(run, folder)
        assert before == {p.name: p.read_bytes() for p in place.iterdir()}
        return True

    def stopped(self, run: Run, folder: int, step: int, raises: bool) -> None:
        """By an exception, which loses steps since the last evaluation, or by the callback."""

        def stop(now, weights):
            if now >= step and raises:
                raise KeyboardInterrupt
            return now >= step

        try:
            fit = self.learn(run, folder, stop)
            assert not raises or fit.message.startswith(f"trained for {STEPS} steps")
        except KeyboardInterrupt:
            assert raises
        self.states[folder] = run

    @rule(run=runs, folder=folders, step=steps, raises=st.booleans())
    def begin_one(self, run: Run, folder: int, step: int, raises: bool):
        if not self.refused(run, folder):
            self.stopped(run, folder, step, raises)

    @precondition(lambda self: self.states)
    @rule(pick=st.integers(0, 1), step=steps, raises=st.booleans())
    def interrupt_again(self, pick: int, step: int, raises: bool):
        folder, run = sorted(self.states.items())[pick % len(self.states)]
        self.stopped(run, folder, step, raises)

    @precondition(lambda self: self.states)
    @rule(pick=st.integers(0, 1))
    def finish(self, pick: int):
        """The result is the uninterrupted one, bit for bit."""
        folder, run = sorted(self.states.items())[pick % len(self.states)]
        assert_same_run(whole(run), self.learn(run, folder))

    @precondition(lambda self: self.states)
    @rule(pick=st.integers(0, 1), seed=st.booleans())
    def mix_up(self, pick: int, seed: bool):
        """Another seed, or another method, in the folder of a run."""
        folder, (method, own) = sorted(self.states.items())[pick % len(self.states)]
        other = (method, 1 - own) if seed else ((method + 1) % len(METHODS), own)
        assert self.refused(other, folder)

    @rule(run=runs, at=st.integers(0, 1))
    def save(self, run: Run, at: int):
        """Over whatever was saved there."""
        whole(run).save(self.place / f"result-{at}")
        self.results[at] = run

    @rule(folder=folders)
    def forget(self, folder: int):
        shutil.rmtree(self.place / f"state-{folder}", ignore_errors=True)
        self.states.pop(folder, None)

    @rule(folder=folders, to=folders)
    def move(self, folder: int, to: int):
        """A checkpoint does not depend on where it lies."""
        if folder in self.states and to not in self.states:
            (self.place / f"state-{folder}").rename(self.place / f"state-{to}")
            self.states[to] = self.states.pop(folder)

    @rule(at=st.integers(0, 1), folder=folders)
    def mistake(self, at: int, folder: int):
        """The folder of a result as a checkpoint, and the other way round: refused."""
        if at in self.results:
            with pytest.raises(FileExistsError, match="holds other files"):
                bdt.learn_weights(TASK, METHODS[0], checkpoint=self.place / f"result-{at}")
        if folder in self.states:
            with pytest.raises(FileExistsError):
                whole(self.states[folder]).save(self.place / f"state-{folder}")

    @invariant()
    def what_was_saved_is_what_is_loaded(self):
        for at, run in self.results.items():
            loaded = bdt.Selection.load(self.place / f"result-{at}")
            assert loaded == whole(run)
            np.testing.assert_array_equal(loaded.weights, whole(run).weights)

    @invariant()
    def nothing_else_lies_about(self):
        names = {f"state-{k}" for k in self.states} | {f"result-{k}" for k in self.results}
        assert names == {p.name for p in self.place.iterdir()}
        assert not leftovers(self.place)


TestRuns = Runs.TestCase
TestRuns.settings = settings(examples(40, whole_runs=True), stateful_step_count=8)
