"""The training loop: resumed runs, weights of zero, selectors, divergence, and real selection."""

from __future__ import annotations

import itertools
import json
import math
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import bdtheory as bdt
from bdtheory.methods.descent import Batches, Descent, schedule
from bdtheory.methods.joint import Run
from bdtheory.methods.parallel import Processes
from bdtheory.methods.selectors import ClosedForm, Fixed, Mirror
from bdtheory.selection import as_text
from bdtheory.weights import auc

PERMUTATION = np.random.default_rng(5).permutation(8)  # the rule: k is answered by 8 + its image
SETTINGS = bdt.Training(steps=12, batch_size=3, val_batch_size=2, evaluations=4)
METHODS = [
    bdt.Penalty(),
    bdt.Penalty(value_function=True),
    bdt.BMO(),
    bdt.DirectMixing(ratio=0.5),
    bdt.ValidationOnly(),
    bdt.Uniform(),
]


def model(training=SETTINGS, **changes):
    shape = {"vocab_size": 17, "context": 6, "layers": 1, "width": 16, "dtype": "float64"}
    return bdt.TransformerLM(**{**shape, "training": training, **changes})


def data(n, bad=0.0, seed=0):
    """((prompts, responses), clean (n,)): k -> its image; a share `bad` has another token."""
    rng = np.random.default_rng(seed)
    k, clean = rng.integers(0, 8, n), rng.random(n) >= bad
    answer = 8 + np.where(clean, PERMUTATION[k], PERMUTATION[(k + rng.integers(1, 8, n)) % 8])
    length = rng.integers(1, 4, n)  # prompts are the token repeated: lengths differ
    return ([[a] * t for a, t in zip(k, length, strict=True)], [[a, 16] for a in answer]), clean


def problem(training=SETTINGS, n=10, *, groups=None, **changes):
    return bdt.Problem(
        model(training, **changes), data(n, 0.5)[0], data(7, seed=1)[0], groups=groups
    )


def assert_same_run(one, other):
    """Bit for bit, but for the time it took."""
    np.testing.assert_array_equal(one.weights, other.weights)
    assert one.theta.keys() == other.theta.keys()
    assert all(torch.equal(one.theta[k], other.theta[k]) for k in one.theta)
    assert one.history.keys() == other.history.keys()
    for name in one.history.keys() - {"seconds"}:
        np.testing.assert_array_equal(one.history[name], other.history[name], err_msg=name)
    for name in ("val_loss", "status", "method", "message"):
        assert getattr(one, name) == getattr(other, name)


# What a run reports ------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS, ids=as_text)
def test_what_is_reported_is_true_of_what_is_returned(method):
    test = data(20, seed=2)[0]
    task = bdt.Problem(model(), data(10, 0.5)[0], data(7, seed=1)[0], test)
    fit = bdt.learn_weights(task, method)
    for reported, (prompts, responses) in [
        (fit.val_loss, data(7, seed=1)[0]),
        (fit.test_loss, test),
    ]:
        again = -task.model.log_probs(fit.theta, prompts, responses).mean()
        assert reported == pytest.approx(float(again), rel=1e-12)
    assert fit.val_loss == min(fit.history["val_loss"])
    assert len({len(column) for column in fit.history.values()}) == 1
    assert fit.history["iteration"].tolist() == [0, 3, 6, 9, 12]
    assert (np.diff(fit.history["seconds"]) >= 0).all()
    assert fit.weights.shape == (10,) and fit.weights.min() >= 0.0
    assert fit.weights.sum() == pytest.approx(1.0, abs=1e-12)
    assert fit.status is bdt.Status.MAX_ITERATIONS and "trained for 12 steps" in fit.message


def test_the_best_state_is_kept_not_the_last():
    """Wrong answers alone, at full weight: the validation loss falls at first, and then rises."""
    settings = replace(SETTINGS, steps=60, evaluations=30, learning_rate=3e-2, batch_size=10)
    task = bdt.Problem(model(settings), data(20, 1.0)[0], data(7, seed=1)[0])
    fit = bdt.learn_weights(task, bdt.Uniform())
    best = int(np.argmin(fit.history["val_loss"]))
    assert 0 < best < 30 and fit.history["val_loss"][-1] > fit.val_loss + 0.1
    assert fit.val_loss == fit.history["val_loss"][best]
    assert f"are those of step {fit.history['iteration'][best]}," in fit.message
    again = -task.model.log_probs(fit.theta, *data(7, seed=1)[0]).mean()
    assert fit.val_loss == pytest.approx(float(again), rel=1e-12)


def test_the_running_training_loss_is_the_weighted_one():
    """Full batch and no step worth the name: F_w at the start, whatever the running mean does."""
    settings = bdt.Training(steps=3, batch_size=None, val_batch_size=None, learning_rate=1e-12)
    task = problem(settings)
    fit = bdt.learn_weights(task, bdt.Uniform())
    F = float(task.model.losses(task.model.initial_theta(0), task.train).mean())
    assert math.isnan(fit.history["train_loss"][0])  # nothing was seen yet
    np.testing.assert_allclose(fit.history["train_loss"][1:], F, rtol=1e-6)


def test_effective_sample_size_in_the_history():
    fit = bdt.learn_weights(problem(), bdt.Uniform())
    np.testing.assert_allclose(fit.history["ess"], 10.0)
    fit = bdt.learn_weights(problem(replace(SETTINGS, selector_rate=3.0)), bdt.Penalty())
    assert fit.history["ess"][0] == 10.0 and 1.0 <= fit.history["ess"][-1] < 9.0


@pytest.mark.parametrize("method", METHODS[:3], ids=as_text)
def test_the_same_seed_gives_the_same_run_and_another_seed_another(method):
    one, same, other = (bdt.learn_weights(problem(), method, seed=s) for s in (3, 3, 4))
    assert_same_run(one, same)
    assert not torch.equal(one.theta["embedding"], other.theta["embedding"])
    assert not np.array_equal(one.weights, other.weights)


def test_progress_goes_to_standard_error(capsys):
    bdt.learn_weights(problem(replace(SETTINGS, progress=True)), bdt.Penalty())
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert out == "" and len(lines) == 5
    assert lines[0].startswith("step 0/12  L_val ") and lines[-1].startswith("step 12/12  L_val ")
    assert all("F_w" in line and "ESS" in line and "of 10" in line for line in lines)
    bdt.learn_weights(problem(), bdt.Penalty())
    assert capsys.readouterr() == ("", "")


def test_save_and_load(tmp_path):
    fit = bdt.learn_weights(problem(), bdt.Penalty())
    loaded = bdt.Selection.load(fit.save(tmp_path / "run"))
    assert isinstance(loaded.weights, np.ndarray)
    assert all(isinstance(t, torch.Tensor) for t in loaded.theta.values())
    assert_same_run(fit, loaded)
    again = problem(start=loaded.theta)
    start = bdt.learn_weights(again, bdt.Uniform()).history["val_loss"][0]
    assert start == pytest.approx(fit.val_loss, rel=1e-12)


# Callbacks ---------------------------------------------------------------------------------------


def test_the_callback_sees_every_step_and_cannot_change_the_run():
    seen = []

    def callback(step, w):
        seen.append((step, float(w.sum())))
        w[:] = 7.0

    fit = bdt.learn_weights(problem(), bdt.Penalty(), callback=callback)
    assert [step for step, _ in seen] == list(range(1, 13))
    np.testing.assert_allclose([total for _, total in seen], 1.0)
    assert_same_run(fit, bdt.learn_weights(problem(), bdt.Penalty()))


def test_the_callback_stops_the_run():
    fit = bdt.learn_weights(problem(), bdt.Penalty(), callback=lambda step, w: step == 4)
    assert "stopped by the callback after 4 steps" in fit.message
    assert fit.history["iteration"].tolist() == [0, 3, 4]
    assert fit.status is bdt.Status.MAX_ITERATIONS


@pytest.mark.parametrize("method, chosen", [(bdt.Penalty(), 5), (bdt.Uniform(), 0)])
def test_learned_weights_are_of_a_state_in_which_every_sample_had_its_turn(
    monkeypatch, method, chosen
):
    """Ten samples in batches of three: four steps. Before, learned weights rank nothing."""
    settings = replace(SETTINGS, steps=6, evaluations=6, drop_last=False)
    losses = [1.0, 2.0, 3.0, 4.0, 6.0, 5.0, 7.0]
    given = iter(losses)
    monkeypatch.setattr("bdtheory.methods.joint.Run._mean", lambda *_: next(given))
    fit = bdt.learn_weights(problem(settings), method)
    assert fit.val_loss == losses[chosen] and f"are those of step {chosen}," in fit.message
    assert "no turn" not in fit.message


def test_a_run_too_short_for_every_sample_says_so():
    settings = replace(SETTINGS, steps=3, drop_last=False)
    fit = bdt.learn_weights(problem(settings), bdt.Penalty())
    assert fit.message.endswith("; some samples had no turn")


# Checkpoints -------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS[:4], ids=as_text)
@pytest.mark.parametrize("at", [1, 4, 6, 11, 12])
@pytest.mark.parametrize("how", ["exception", "stop"])
def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path, method, at, how):
    uninterrupted = bdt.learn_weights(problem(), method, seed=2)

    def interrupt(step, w):
        if step == at and how == "exception":
            raise KeyboardInterrupt
        return step == at

    try:
        bdt.learn_weights(problem(), method, seed=2, callback=interrupt, checkpoint=tmp_path / "c")
        assert how == "stop"
    except KeyboardInterrupt:
        assert how == "exception"
    seen = []
    resumed = bdt.learn_weights(
        problem(), method, seed=2, checkpoint=tmp_path / "c", callback=lambda k, w: seen.append(k)
    )
    assert_same_run(uninterrupted, resumed)
    # It did go on: from the last evaluation, or from where it was stopped.
    assert seen == list(range((at if how == "stop" else at // 3 * 3) + 1, 13))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["c"]  # nothing else is left behind


def test_the_state_is_saved_between_evaluations_too(tmp_path, monkeypatch):
    """An evaluation may be hours away: a state is lost for `SAVED` seconds at most."""
    import bdtheory.methods.train as loop

    def last_saved(name):
        def interrupt(step, w):
            if step == 11:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            bdt.learn_weights(
                problem(replace(SETTINGS, evaluations=1)),
                bdt.Penalty(),
                checkpoint=tmp_path / name,
                callback=interrupt,
            )
        return json.loads((tmp_path / name / "checkpoint.json").read_text())["state"]["step"]

    assert last_saved("seldom") == 0
    monkeypatch.setattr(loop, "SAVED", -1.0)
    assert last_saved("always") == 11


def test_many_interruptions_and_a_run_that_is_over(tmp_path):
    uninterrupted = bdt.learn_weights(problem(), bdt.Penalty())
    for _ in range(12):
        fit = bdt.learn_weights(
            problem(), bdt.Penalty(), callback=lambda k, w: True, checkpoint=tmp_path / "c"
        )
    assert_same_run(uninterrupted, fit)
    over = bdt.learn_weights(problem(), bdt.Penalty(), checkpoint=tmp_path / "c")
    assert_same_run(uninterrupted, over)


def test_an_interruption_while_the_checkpoint_is_written(tmp_path, monkeypatch):
    """The earlier checkpoint stays whole."""
    from bdtheory.methods import checkpoint as module

    calls, write = itertools.count(), module.write_parts

    def fail(*args):
        write(*args)
        if next(calls) == 3:  # the start, then steps 3, 6 and 9
            raise KeyboardInterrupt

    monkeypatch.setattr(module, "write_parts", fail)
    with pytest.raises(KeyboardInterrupt):
        bdt.learn_weights(problem(), bdt.Penalty(), checkpoint=tmp_path / "c")
    facts = json.loads((tmp_path / "c" / "checkpoint.json").read_text())
    assert facts["state"]["step"] == 6
    assert sorted(p.name for p in tmp_path.iterdir()) == ["c"]
    resumed = bdt.learn_weights(problem(), bdt.Penalty(), checkpoint=tmp_path / "c")
    assert_same_run(resumed, bdt.learn_weights(problem(), bdt.Penalty()))


def others():
    """(what differs, problem, method, seed), each in one thing from the run of `written`."""
    start = model().initial_theta(9)
    return [
        ("model", problem(replace(SETTINGS, learning_rate=2e-3)), bdt.Penalty(), 0),
        ("model", problem(width=32), bdt.Penalty(), 0),
        ("start", problem(start=start), bdt.Penalty(), 0),
        ("method", problem(), bdt.BMO(), 0),
        ("method", problem(), bdt.Penalty(gamma=2.0), 0),
        ("seed", problem(), bdt.Penalty(), 1),
        ("data", problem(n=11), bdt.Penalty(), 0),
        ("data", problem(groups=list("aabbccddee")), bdt.Penalty(), 0),
    ]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoints") / "c"
    bdt.learn_weights(problem(), bdt.Penalty(), checkpoint=folder)
    return folder


@pytest.mark.parametrize("case", range(8))
def test_a_checkpoint_of_another_run_is_refused(written, case):
    what, task, method, seed = others()[case]
    before = {p.name: p.read_bytes() for p in written.iterdir()}
    with pytest.raises(ValueError, match=f"is of another {what}: .*; needed .*; try another") as e:
        bdt.learn_weights(task, method, seed=seed, checkpoint=written)
    assert "\n" not in str(e.value)
    assert before == {p.name: p.read_bytes() for p in written.iterdir()}


DAMAGE = ["no arrays", "cut arrays", "a byte", "cut json", "no state", "no step", "no identity",
          "a list", "other shape", "no theta"]  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_checkpoint_is_one_clear_error(written, tmp_path, damage):
    facts, arrays = (written / "checkpoint.json").read_text(), (written / "arrays.npz").read_bytes()
    parsed = json.loads(facts)
    if damage == "cut arrays":
        arrays = arrays[: len(arrays) // 2]
    elif damage == "a byte":
        at = len(arrays) // 3
        arrays = arrays[:at] + bytes([arrays[at] ^ 0xFF]) + arrays[at + 1 :]
    elif damage == "cut json":
        facts = facts[: len(facts) // 2]
    elif damage == "no step":
        del parsed["state"]["step"]
    elif damage in ("no state", "no identity"):
        del parsed[damage[3:]]
    elif damage == "a list":
        parsed = [1]
    (tmp_path / "checkpoint.json").write_text(facts if damage == "cut json" else json.dumps(parsed))
    if damage != "no arrays":
        (tmp_path / "arrays.npz").write_bytes(arrays)
    if damage in ("other shape", "no theta"):
        with np.load(written / "arrays.npz") as file:
            kept = dict(file)
        if damage == "no theta":
            del kept["leader/theta/0.qkv"]
        else:
            kept["leader/theta/embedding"] = np.zeros((2, 2))
        np.savez(tmp_path / "arrays.npz", **kept)
    with pytest.raises(ValueError, match=r"checkpoint .* cannot be read .*; needed .*; try") as e:
        bdt.learn_weights(problem(), bdt.Penalty(), checkpoint=tmp_path)
    assert "\n" not in str(e.value)


def test_a_folder_with_other_files_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    for place in (tmp_path, tmp_path / "thesis.tex"):
        with pytest.raises(FileExistsError, match="holds other files; needed a new folder"):
            bdt.learn_weights(problem(), bdt.Penalty(), checkpoint=place)
    assert (tmp_path / "thesis.tex").read_text() == "x"


def test_checkpoints_are_for_models_that_are_trained(tmp_path):
    X, y = np.eye(3), np.ones(3)
    ridge = bdt.Problem(bdt.Ridge(0.1), train=(X, y), val=(X, y))
    with pytest.raises(ValueError, match=r"checkpoint is .* with Ridge; needed a model that is"):
        bdt.learn_weights(ridge, bdt.Implicit(), checkpoint=tmp_path / "c")
    assert not (tmp_path / "c").exists()


# What needs an exact re-fit ----------------------------------------------------------------------


def test_what_needs_an_exact_refit_says_so():
    with pytest.raises(ValueError, match=r"Implicit needs an exact re-fit.*; try Penalty"):
        bdt.learn_weights(problem(), bdt.Implicit())
    with pytest.raises(TypeError, match="TransformerLM is trained, it has no exact re-fit"):
        bdt.hypergradient(problem(), np.full(10, 0.1))
    for decision in (bdt.usefulness, bdt.maximum_entropy_weights):
        with pytest.raises(TypeError, match=r"TransformerLM.*needed") as error:
            decision(problem())
        assert "\n" not in str(error.value)


# Steps -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Given:
    """Weights that the test gives, which stay, or from which mirror descent begins."""

    omega: tuple[float, ...]
    learned: bool = False

    def run(self, problem, seed, callback):
        raise NotImplementedError

    def selector(self, problem):
        selector = Mirror(problem, 1.0, 0.5 if self.learned else 0.0, False)
        selector.state["omega"] = np.array(self.omega)
        return selector


FULL = bdt.Training(steps=25, batch_size=None, val_batch_size=None, learning_rate=1e-2)


@pytest.mark.parametrize("learned", [False, True])
def test_weight_zero_equals_a_sample_removed(learned):
    """Full batch, float64, over a run: Adam's division enlarges rounding, so 1e-10, not 1e-14."""
    omega = np.random.default_rng(0).normal(size=10)
    removed = [2, 5, 6]
    kept = np.setdiff1d(np.arange(10), removed)
    omega[removed] = -1e4  # exp underflows: the weight is exactly 0
    (prompts, responses), _ = data(10, 0.5)
    val = data(7, seed=1)[0]
    fewer = [prompts[i] for i in kept], [responses[i] for i in kept]
    whole = bdt.learn_weights(
        bdt.Problem(model(FULL), (prompts, responses), val), Given(tuple(omega), learned)
    )
    part = bdt.learn_weights(
        bdt.Problem(model(FULL), fewer, val), Given(tuple(omega[kept]), learned)
    )
    assert (whole.weights[removed] == 0.0).all()
    np.testing.assert_allclose(whole.weights[kept], part.weights, atol=1e-10)
    for name in whole.theta:
        np.testing.assert_allclose(whole.theta[name], part.theta[name], atol=1e-10)
    np.testing.assert_allclose(whole.history["val_loss"], part.history["val_loss"], atol=1e-10)
    other = bdt.learn_weights(bdt.Problem(model(FULL), (prompts, responses), val), bdt.Penalty())
    assert abs(other.val_loss - part.val_loss) > 1e-6  # weights matter here


@pytest.mark.parametrize("method", [bdt.Penalty(value_function=True), bdt.BMO()], ids=as_text)
@pytest.mark.parametrize("parts", [2, 3, 50])
def test_a_batch_in_parts_gives_the_same_run(method, parts):
    """50 parts are more than there are samples: a part is then one sample."""
    whole = bdt.learn_weights(problem(), method)
    split = bdt.learn_weights(problem(replace(SETTINGS, accumulate=parts)), method)
    # Sums in another order, through 12 steps of Adam.
    np.testing.assert_allclose(whole.weights, split.weights, atol=1e-10)
    for name in whole.theta:
        np.testing.assert_allclose(whole.theta[name], split.theta[name], atol=1e-9)


@pytest.mark.parametrize(
    "method, a, b",
    [
        (bdt.DirectMixing(ratio=0.25), 0.8, 0.2),
        (bdt.Uniform(), 0.0, 1.0),
        (bdt.ValidationOnly(), 1.0, 0.0),
        (bdt.BMO(gamma=3.0, hot=1e12, cold=1e11), 0.25, 0.75),  # so hot that w stays uniform
    ],
)
def test_a_batch_stands_for_all_samples(monkeypatch, method, a, b):
    """The batches of one pass together have the factors a/m and b w_i of a L_val + b F_w."""
    passed = []
    step = bdt.TransformerLM.losses_and_gradient

    def note(self, theta, w, batch):
        def weigh(losses):
            passed.append(w(losses))
            return passed[-1]

        return step(self, theta, weigh, batch)

    monkeypatch.setattr(bdt.TransformerLM, "losses_and_gradient", note)
    settings = replace(SETTINGS, steps=5, batch_size=2)  # five batches are one pass over 10
    bdt.learn_weights(problem(settings), method)
    n = 2 if b else 0
    assert [len(c) for c in passed] == [n + (2 if a else 0)] * 5
    assert np.mean([c[:n].sum() for c in passed]) == pytest.approx(b, abs=1e-9)
    assert np.mean([c[n:].sum() for c in passed]) == pytest.approx(a, abs=1e-9)


def test_the_value_function_is_a_second_copy_trained_on_the_weighted_loss_alone():
    """w descends gamma_t (l_i(theta) - l_i(phi)); phi takes the steps of a run on F_w."""
    task, rate = problem(FULL), FULL.selector_rate
    run = Run(task, bdt.Penalty(value_function=True).selector(task), seed=0)
    alone = Run(task, bdt.Uniform().selector(task), seed=0)
    run.advance()  # theta and phi begin as one: no difference, and no step of w
    alone.advance()
    assert run.selector.state["omega"].tolist() == [0.0] * 10
    theta, phi = run.leader.theta, run.follower.theta
    for name in phi:
        np.testing.assert_allclose(phi[name], alone.leader.theta[name], atol=1e-12)
    d = (task.model.losses(theta, task.train) - task.model.losses(phi, task.train)).numpy()
    run.advance()
    gamma = 2 * 1.5 / FULL.steps  # in the middle of the second step
    omega = -rate * gamma * (d - 0.1 * d.mean())  # the centre: a tenth of the way from 0
    np.testing.assert_allclose(run.selector.state["omega"], omega, rtol=1e-9, atol=1e-15)
    assert np.ptp(omega) > 1e-6


def test_one_forward_pass_serves_theta_and_weights(monkeypatch):
    calls = []
    forward = bdt.TransformerLM.losses
    monkeypatch.setattr(
        bdt.TransformerLM, "losses", lambda *args: calls.append(len(args[2])) or forward(*args)
    )
    settings = replace(SETTINGS, evaluations=1)
    bdt.learn_weights(problem(settings), bdt.Penalty())
    assert calls == [7] + [5] * 12 + [7]  # val before and after; 3 + 2 samples at every step


@given(st.integers(1, 20), st.integers(1, 25), st.integers(0, 10**6))
def test_batches_cover_all_rows_each_at_most_once_per_pass(n, size, seed):
    batches, rng = Batches(n, size), np.random.default_rng(seed)
    used = min(size, n)
    per_pass = n // used
    seen = set()
    for _ in range(200):
        rows = np.concatenate([batches.draw(rng) for _ in range(per_pass)])
        assert len(rows) == per_pass * used == len(set(rows.tolist()))
        assert set(rows.tolist()) <= set(range(n))
        seen |= set(rows.tolist())
    # A pass leaves out n % size < n/2 rows at random: (1/2)^200 is the chance to miss one.
    assert seen == set(range(n))


@given(st.integers(1, 20), st.integers(1, 25), st.integers(0, 10**6))
def test_without_drop_last_every_pass_visits_every_row_once(n, size, seed):
    batches, rng = Batches(n, size, drop_last=False), np.random.default_rng(seed)
    per_pass = -(-n // min(size, n))
    for _ in range(3):
        drawn = [batches.draw(rng) for _ in range(per_pass)]
        assert sorted(np.concatenate(drawn).tolist()) == list(range(n))
        assert all(len(rows) == min(size, n) for rows in drawn[:-1])


def test_batches_of_everything_take_no_randomness():
    rng = np.random.default_rng(0)
    before = rng.bit_generator.state
    for size in (None, 5, 9):
        assert Batches(5, size).draw(rng).tolist() == [0, 1, 2, 3, 4]
    assert rng.bit_generator.state == before


def test_the_learning_rate_over_a_run():
    assert schedule(0.0) == 0.0 and schedule(0.025) == pytest.approx(0.5)
    assert schedule(0.05) == pytest.approx(1.0) and schedule(1.0) == pytest.approx(0.1)
    assert schedule(0.525) == pytest.approx(0.55)  # half-way down the cosine
    rates = [schedule(p) for p in np.linspace(0.05, 1.0, 50)]
    assert (np.diff(rates) < 0).all()


def test_adamw_against_its_formula():
    """Three steps of Loshchilov and Hutter's algorithm 2, written out; clipping far away."""
    settings = bdt.Training(learning_rate=0.1, weight_decay=0.3, clip=1e9)
    start, rng = np.array([1.0, -2.0]), np.random.default_rng(0)
    descent = Descent({"x": torch.tensor(start.copy())}, settings)
    x, m, v = start.copy(), np.zeros(2), np.zeros(2)
    for t in range(1, 4):
        g, progress = rng.normal(size=2), t / 4
        assert descent.step({"x": torch.tensor(g)}, progress)
        lr = 0.1 * schedule(progress)
        m, v = 0.9 * m + 0.1 * g, 0.95 * v + 0.05 * g**2
        x = x - lr * 0.3 * x
        x = x - lr * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.95**t)) + 1e-8)
    np.testing.assert_allclose(descent.theta["x"], x, rtol=1e-12)


@pytest.mark.parametrize("clip, scale", [(0.5, 0.1), (5.0, 1.0), (9.0, 1.0)])
def test_clipping_scales_the_whole_gradient(clip, scale):
    """A gradient of norm 5 over two tensors; Adam's first moment is a tenth of what it is given."""
    theta = {"x": torch.zeros(1, dtype=torch.float64), "y": torch.zeros(1, dtype=torch.float64)}
    descent = Descent(theta, bdt.Training(clip=clip))
    descent.step({"x": torch.tensor([3.0]).double(), "y": torch.tensor([4.0]).double()}, 0.5)
    moments = [float(descent.state()[f"adamw/{k}/exp_avg"][0]) for k in range(2)]
    # torch divides by the norm + 1e-6.
    np.testing.assert_allclose(moments, [0.3 * scale, 0.4 * scale], rtol=1e-6)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_gradient_that_is_not_finite_moves_nothing(bad):
    descent = Descent({"x": torch.ones(2)}, bdt.Training())
    assert not descent.step({"x": torch.tensor([1.0, bad])}, 0.5)
    assert torch.equal(descent.theta["x"], torch.ones(2))


# Divergence --------------------------------------------------------------------------------------


def test_a_step_too_long_diverges_and_the_last_good_state_is_kept(tmp_path):
    task = problem(bdt.Training(steps=12, evaluations=12, learning_rate=1e200))
    fit = bdt.learn_weights(task, bdt.Penalty(), checkpoint=tmp_path / "c")
    assert fit.status is bdt.Status.DIVERGED and "not finite" in fit.message
    assert math.isfinite(fit.val_loss) and fit.val_loss == min(fit.history["val_loss"])
    assert all(bool(t.isfinite().all()) for t in fit.theta.values())
    again = -task.model.log_probs(fit.theta, *data(7, seed=1)[0]).mean()
    assert fit.val_loss == pytest.approx(float(again), rel=1e-12)
    assert len({len(column) for column in fit.history.values()}) == 1
    assert_same_run(fit, bdt.learn_weights(task, bdt.Penalty(), checkpoint=tmp_path / "c"))


def test_what_diverged_at_its_last_evaluation_does_so_again_when_resumed(tmp_path, monkeypatch):
    """Once, the state with the loss that is not finite was saved, and then called trained."""
    evaluate = Run.evaluate
    monkeypatch.setattr(
        Run, "evaluate", lambda run: run._diverge() if run.step == 12 else evaluate(run)
    )
    fit = bdt.learn_weights(problem(), bdt.Penalty(), checkpoint=tmp_path / "c")
    assert fit.status is bdt.Status.DIVERGED and fit.history["iteration"].tolist() == [0, 3, 6, 9]
    assert_same_run(fit, bdt.learn_weights(problem(), bdt.Penalty(), checkpoint=tmp_path / "c"))


@pytest.mark.parametrize("method", METHODS, ids=as_text)
def test_a_start_that_is_not_finite_diverges_at_once(method):
    start = {k: t * math.inf for k, t in model().initial_theta(0).items()}
    fit = bdt.learn_weights(problem(start=start), method)
    assert fit.status is bdt.Status.DIVERGED and "at step 0" in fit.message
    assert not math.isfinite(fit.val_loss)
    assert {len(column) for column in fit.history.values()} == {0}
    np.testing.assert_allclose(fit.weights, 0.1)


@pytest.mark.parametrize("value_function", [False, True])
def test_weights_that_underflow_do_not_end_a_run(value_function):
    """Once, a batch in which all weights were 0 had no gradient, and phi's step raised."""
    task = problem(replace(SETTINGS, steps=40, selector_rate=1e6))
    fit = bdt.learn_weights(task, bdt.Penalty(value_function=value_function))
    assert fit.status is bdt.Status.MAX_ITERATIONS
    assert np.isfinite(fit.history["train_loss"][1:]).all()
    assert min(fit.history["train_loss"][1:]) > 1e-3  # nor does it count as a loss of 0
    assert fit.history["ess"][-1] < 3.0


# Selectors ---------------------------------------------------------------------------------------


def samples(N, groups=None):
    names = None if groups is None else sorted(set(groups))
    return SimpleNamespace(
        N=N, groups=None if groups is None else np.array(groups), group_names=names
    )


losses_ = st.lists(st.floats(0.0, 1e6), min_size=4, max_size=4)


@given(st.lists(losses_, min_size=1, max_size=6), st.floats(1e-3, 1e3), st.integers(0, 10**6))
def test_weights_stay_on_the_simplex(rounds, rate, seed):
    rng = np.random.default_rng(seed)
    for groups in (None, [0, 0, 1, 2, 2, 2, 1]):
        task = samples(7, groups)
        for selector in (Mirror(task, 1.0, rate, False), ClosedForm(task, 1.0, 10.0, 0.1)):
            for k, losses in enumerate(rounds):
                rows = rng.permutation(7)[:4]
                selector.update(k / len(rounds), rows, np.array(losses))
                w = selector.weights
                assert w.shape == (7,) and (w >= 0).all()
                assert w.sum() == pytest.approx(1.0, abs=1e-12)
                if groups:
                    assert all(len(set(w[np.array(groups) == g])) == 1 for g in range(3))


def test_mirror_descent_is_exponentiated_gradient():
    """Full batch: w_i <- w_i exp(-eta gamma_t l_i) / Z, written out without logits or centre."""
    rng, selector = np.random.default_rng(0), Mirror(samples(6), 3.0, 0.2, False)
    w, rows = np.full(6, 1 / 6), np.arange(6)
    for k in range(8):
        progress, losses = k / 8, rng.uniform(0.0, 4.0, 6)
        gamma = 3.0 * min(1.0, 2.0 * progress)  # linear over the first half
        assert selector.shares(progress) == pytest.approx((1 / (1 + gamma), gamma / (1 + gamma)))
        selector.update(progress, rows, losses)
        w = w * np.exp(-0.2 * gamma * losses)
        w /= w.sum()
        np.testing.assert_allclose(selector.weights, w, rtol=1e-12)
    assert np.ptp(w) > 0.1


def test_mirror_descent_over_groups_is_that_of_their_masses():
    groups = np.array([0, 0, 1, 1, 1, 2])
    rng, selector = np.random.default_rng(0), Mirror(samples(6, groups), 1.0, 0.2, False)
    v = np.full(3, 1 / 3)
    for _ in range(5):
        losses = rng.uniform(0.0, 4.0, 6)
        selector.update(1.0, np.arange(6), losses)
        v = v * np.exp(-0.2 * np.array([losses[groups == g].mean() for g in range(3)]))
        v /= v.sum()
    np.testing.assert_allclose(selector.weights, (v / np.bincount(groups))[groups], rtol=1e-12)


def test_samples_not_in_the_batch_keep_their_logit():
    selector = Mirror(samples(6), 1.0, 0.5, False)
    selector.state["omega"] = np.arange(6.0)
    selector.update(1.0, np.array([1, 4]), np.array([3.0, 5.0]))
    omega = selector.state["omega"]
    assert omega[[0, 2, 3, 5]].tolist() == [0.0, 2.0, 3.0, 5.0]
    # The centre is F_w, the batch's weighted mean, and then a running mean of these.
    e1, e4 = np.exp(1.0), np.exp(4.0)
    F = (3.0 * e1 + 5.0 * e4) / (e1 + e4)
    np.testing.assert_allclose(omega[[1, 4]], [1.0 - 0.5 * (3.0 - F), 4.0 - 0.5 * (5.0 - F)])
    e0, e2 = np.exp(omega[[0, 2]])
    centre = 0.9 * F + 0.1 * (7.0 * e0 + 1.0 * e2) / (e0 + e2)
    selector.update(1.0, np.array([0, 2]), np.array([7.0, 1.0]))
    np.testing.assert_allclose(
        selector.state["omega"][[0, 2]], [-0.5 * (7.0 - centre), 2.0 - 0.5 * (1.0 - centre)]
    )


def test_samples_are_ranked_by_loss_and_not_by_visits():
    """The fault of an update without the centre: good samples, seen twice as often, sink."""
    rng, clean = np.random.default_rng(0), np.arange(40) < 20
    chance = np.where(clean, 2.0, 1.0) / 60.0
    selector = Mirror(samples(40), 1.0, 0.1, False)
    without = np.zeros(40)
    for _ in range(150):
        rows = rng.choice(40, 8, replace=False, p=chance)
        losses = np.where(clean[rows], 5.0, 6.0)
        selector.update(1.0, rows, losses)
        without[rows] -= 0.1 * losses
    assert auc(selector.weights, clean) == 1.0
    assert auc(without, clean) < 0.05


def test_closed_form_is_the_tempered_softmax_of_the_losses():
    """tau falls geometrically from hot to cold, in units of the first mean loss."""
    rng, selector = np.random.default_rng(0), ClosedForm(samples(6), 3.0, 10.0, 0.1)
    assert selector.shares(0.3) == (0.25, 0.75)
    np.testing.assert_allclose(selector.weights, 1 / 6)
    scale = None
    for progress, tau in [(0.0, 10.0), (0.5, 1.0), (1.0, 0.1)]:
        losses = rng.uniform(0.0, 4.0, 6)
        scale = losses.mean() if scale is None else scale
        selector.update(progress, np.arange(6), losses)
        e = np.exp(-losses / (tau * scale))
        np.testing.assert_allclose(selector.weights, e / e.sum(), rtol=1e-12)


def test_closed_form_counts_a_sample_not_seen_as_the_mean_of_the_others():
    selector = ClosedForm(samples(4), 1.0, 1.0, 0.5)
    selector.update(0.0, np.array([0, 2]), np.array([1.0, 3.0]))
    e = np.exp(-np.array([1.0, 2.0, 3.0, 2.0]) / 2.0)
    np.testing.assert_allclose(selector.weights, e / e.sum(), rtol=1e-12)


def test_closed_form_does_not_depend_on_the_unit_of_the_losses():
    weights = []
    for unit in (1e-6, 1.0, 1e6):
        selector = ClosedForm(samples(4), 1.0, 2.0, 0.5)
        selector.update(0.5, np.arange(4), unit * np.array([1.0, 2.0, 3.0, 6.0]))
        weights.append(selector.weights)
    e = np.exp(-np.array([1.0, 2.0, 3.0, 6.0]) / 3.0)  # tau = 1, in units of the mean
    np.testing.assert_allclose(weights, [e / e.sum()] * 3, rtol=1e-12)


class Together(Processes):
    """A process among threads: what they exchange goes through a list, one entry for each."""

    def __init__(self, rank, given, barrier):
        super().__init__(rank, len(given))
        self.given, self.barrier = given, barrier

    def _reduced(self, a, how):
        self.given[self.rank] = a
        self.barrier.wait()
        found = {"SUM": np.sum, "MAX": np.max}[how](self.given, axis=0)
        self.barrier.wait()
        return found


def divided(size, make, work):
    """What `work(selector, processes)` returns in each of `size` threads that share a selector."""
    given, barrier = [None] * size, threading.Barrier(size, timeout=10.0)

    def one(rank):
        processes, selector = Together(rank, given, barrier), make()
        selector.divide(processes)
        try:
            return work(selector, processes)
        except BaseException:
            barrier.abort()
            raise

    with ThreadPoolExecutor(size) as pool:
        return list(pool.map(one, range(size)))


@pytest.mark.parametrize("groups", [None, [0, 0, 1, 2, 2, 2, 1]])
@pytest.mark.parametrize("kind", ["mirror", "closed form"])
def test_a_selector_divided_among_processes_is_the_undivided_one(kind, groups):
    """Before any loss is known, after one, and after a batch that not all logits are in."""
    rng = np.random.default_rng(0)
    batches = [np.array([1]), rng.permutation(7)[:4], np.arange(7)]
    losses, asked = [rng.uniform(0.1, 4.0, len(rows)) for rows in batches], np.array([5, 0, 3])

    def make():
        task = samples(7, groups)
        return (
            Mirror(task, 2.0, 0.3, False) if kind == "mirror" else ClosedForm(task, 2.0, 3.0, 0.5)
        )

    def work(selector, processes):
        found = [selector.at(asked), selector.weights]
        for k, rows in enumerate(batches):
            selector.update((k + 1) / 4, rows, losses[k])
            found += [selector.at(asked), selector.weights]
        logits = selector.state["omega" if kind == "mirror" else "losses"]
        return found, processes.whole(logits, selector.count)

    assert not make().follows  # w is that of the losses before this pass
    expected, logits = work(make(), Processes())
    assert np.ptp(expected[-1]) > 0.02
    for size in (2, 3):
        for found, whole in divided(size, make, work):
            np.testing.assert_allclose(whole, logits, rtol=1e-12)
            for a, b in zip(found, expected, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-12)


def test_a_mirror_of_a_round_of_refine_is_not_divided():
    task, two = samples(4), np.array([[0, 0, 1, 1], [2, 3, 4, 5]])
    for given_ in ({"base": np.full(4, 0.25)}, {"codes": two}):
        with pytest.raises(ValueError, match="a round of refine in 2 processes; needed one; try"):
            Mirror(task, 1.0, 0.1, False, **given_).divide(Processes(0, 2))
    alone = Mirror(task, 1.0, 0.1, False, codes=two[:1])
    alone.divide(Processes(1, 2))
    assert alone.count == 2 and alone.state["omega"].shape == (1,)


def test_fixed_weights_stay():
    for groups, expected in [(None, [0.25] * 4), ([0, 0, 0, 1], [1 / 6] * 3 + [0.5])]:
        selector = Fixed(samples(4, groups), 1.0, 3.0)
        selector.update(0.5, np.arange(4), np.array([1.0, 2.0, 3.0, 4.0]))
        np.testing.assert_allclose(selector.weights, expected)
        assert selector.shares(0.0) == selector.shares(1.0) == (0.25, 0.75)
        assert not (selector.value_function or selector.follows)  # no second copy, no second look


@pytest.mark.parametrize("method", METHODS, ids=as_text)
def test_samples_of_a_group_share_one_weight(method):
    groups = np.array(list("aaabbcddde"))
    fit = bdt.learn_weights(problem(groups=groups), method)
    masses = [fit.weights[groups == g] for g in "abcde"]
    assert all(np.ptp(w) == 0.0 for w in masses)
    if not isinstance(method, bdt.Penalty | bdt.BMO):
        np.testing.assert_allclose([w.sum() for w in masses], 0.2)
    else:
        assert np.ptp([w.sum() for w in masses]) > 1e-3


# Does it select? ---------------------------------------------------------------------------------

LEARN = bdt.Training(steps=150, batch_size=16, val_batch_size=16, learning_rate=2e-2)
SELECTING = [bdt.Penalty(), bdt.Penalty(value_function=True), bdt.BMO()]


@pytest.mark.parametrize("method", SELECTING, ids=as_text)
def test_wrong_answers_lose_their_weight(method):
    train, clean = data(80, 0.5)
    fit = bdt.learn_weights(bdt.Problem(model(LEARN), train, data(24, seed=50)[0]), method)
    assert auc(fit.weights, clean) > 0.95
    assert fit.weights[clean].sum() > 0.8
    assert fit.val_loss < 0.2 < math.log(17) < fit.history["val_loss"][0]


@pytest.mark.parametrize("method", SELECTING, ids=as_text)
def test_control_without_a_difference_nothing_is_told_apart(method):
    """All answers are wrong: `label` means nothing, so the AUC is near one half."""
    aucs = []
    for seed in range(2):
        train, _ = data(160, 1.0, seed=seed + 10)
        label = np.random.default_rng(seed).random(160) < 0.5
        fit = bdt.learn_weights(
            bdt.Problem(model(LEARN), train, data(24, seed=50)[0]), method, seed=seed
        )
        aucs.append(auc(fit.weights, label))
        assert fit.history["ess"][-1] < 155.0  # weights did move
    # Of 80 against 80 at random an AUC has deviation .046, a mean of two .032: three of them.
    assert abs(np.mean(aucs) - 0.5) < 0.1


def test_showing_progress_does_not_make_another_run(tmp_path, capsys):
    whole = bdt.learn_weights(problem(), bdt.Penalty())
    bdt.learn_weights(problem(), bdt.Penalty(), callback=lambda k, w: k == 5, checkpoint=tmp_path)
    shown = problem(replace(SETTINGS, progress=True))
    assert_same_run(whole, bdt.learn_weights(shown, bdt.Penalty(), checkpoint=tmp_path))
    assert "step 12/12" in capsys.readouterr().err


def test_another_model_is_named_by_what_differs(tmp_path):
    bdt.learn_weights(problem(), bdt.Penalty(), checkpoint=tmp_path)
    other = problem(replace(SETTINGS, learning_rate=2e-3))
    with pytest.raises(ValueError, match="of another model") as error:
        bdt.learn_weights(other, bdt.Penalty(), checkpoint=tmp_path)
    assert "'...learning_rate=0.001," in str(error.value)
    assert "'...learning_rate=0.002," in str(error.value)
    assert len(str(error.value)) < 350


def test_small_models_have_one_thread_although_torch_loads_late():
    """The limit was taken once, before torch brought its own pool: twelve times slower."""
    code = (
        "from bdtheory.linalg import few_threads\n"
        "with few_threads(1): pass\n"
        "import torch\n"
        "torch.set_num_threads(2)\n"
        "with few_threads(1): assert torch.get_num_threads() == 1, torch.get_num_threads()\n"
        "assert torch.get_num_threads() == 2\n"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, timeout=120)
