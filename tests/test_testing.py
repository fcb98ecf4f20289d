"""The checker passes what is right, and says of each thing that is wrong which one it is."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import hypothesis
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from strategies import examples

import bdtheory as bdt
from bdtheory import Logistic, Problem, Ridge, Selection, Status, Uniform
from bdtheory.hypergradient import refit
from bdtheory.testing import INVARIANTS, as_code, check_method, exact_problems, problems


@pytest.mark.parametrize(
    "method, max_examples",
    [
        (Uniform(), 10),
        (bdt.BMO(steps=15), 8),
        (bdt.Penalty(max_iterations=10), 5),
        (bdt.Implicit(max_iterations=20, restarts=1), 3),
    ],
    ids=["Uniform", "BMO", "Penalty", "Implicit"],
)
def test_our_methods_keep_every_invariant(method, max_examples):
    check_method(method, max_examples=max_examples)


# Broken on purpose: each changes one thing in the result of uniform weights ----------------------


@dataclasses.dataclass(frozen=True)
class Changed:
    """Uniform weights, and then `change` applied to the selection."""

    name: str
    change: object

    def __repr__(self):
        return self.name

    def run(self, problem, seed, callback):
        return self.change(problem, honest(problem, np.full(problem.N, 1 / problem.N)))


def honest(problem, w):
    """The selection of these weights, with everything as it should be."""
    theta = refit(problem, w).theta
    val_loss = float(np.mean(problem.model.losses(theta, problem.val)))
    return Selection(w, theta, val_loss, None, Status.STATIONARY, {})


def edited(**changes):
    """A change that replaces these fields, each by a function of the problem and the selection."""

    def change(problem, fit):
        new = {name: make(problem, fit) for name, make in changes.items()}
        return dataclasses.replace(fit, **new)

    return change


def negative_weights(problem, fit):
    w = fit.weights.copy()
    w[0], w[-1] = w[0] + w[-1] + 0.1, -0.1
    return w


def first_row_only(problem, fit):
    """All weight on the first row, re-fitted honestly: it depends on the order of the rows."""
    return honest(problem, np.eye(problem.N)[0])


def closed_gap(problem, fit):
    upper = fit.val_loss
    return {"upper_bound": upper, "lower_bound": upper, "inner_gap": 0.0, "eps": 1e-6}


def no_matter_what(problem, fit):
    raise ZeroDivisionError("a step of length 0")


class Restless:
    """Another result in each run."""

    runs = 0

    def __call__(self, problem, fit):
        self.runs += 1
        rng = np.random.default_rng(self.runs)
        return dataclasses.replace(fit, weights=rng.dirichlet(np.ones(problem.N)))


ALL = set(INVARIANTS)
BROKEN = {
    "returns a finite selection": (no_matter_what, ()),
    "weights are on the simplex": (edited(weights=negative_weights), ()),
    "reported loss is the loss at theta": (edited(val_loss=lambda _, f: 0.9 * f.val_loss), ()),
    "theta is the re-fit of the weights": (edited(weights=lambda p, f: np.eye(p.N)[0]), ()),
    "zero weight equals removed row": (
        edited(weights=lambda p, f: np.eye(p.N)[0]),
        ("theta is the re-fit of the weights",),
    ),
    "status is honest": (edited(status=lambda *_: Status.CERTIFIED), ()),
    "certificate holds when recomputed": (
        edited(status=lambda *_: Status.CERTIFIED, certificate=closed_gap),
        (),
    ),
    "never worse than uniform weights": (first_row_only, ()),
    "same seed, same result": (Restless(), ALL - {"same seed, same result"}),
    "order of the rows does not matter": (
        first_row_only,
        ("never worse than uniform weights",),
    ),
}


def test_every_invariant_has_a_method_that_breaks_it():
    assert list(BROKEN) == list(INVARIANTS)


@pytest.mark.parametrize("name", INVARIANTS)
def test_a_broken_method_fails_by_name_with_a_small_example(name):
    change, skip = BROKEN[name]
    with pytest.raises(AssertionError) as caught:
        check_method(Changed("Mine()", change), skip=skip)
    message = str(caught.value)
    assert message.startswith(f"Mine() breaks the invariant {name!r}: got ")
    assert "; needed " in message
    shown = message.split("\nsmallest problem found: ")[1]
    problem = eval(shown, {"Problem": Problem, "Ridge": Ridge, "Logistic": Logistic})
    assert as_code(problem) == shown
    small = 12 if name.startswith("order") else 2  # Hypothesis shrinks to the least N that breaks
    assert problem.N <= small and problem.m <= small
    assert name == "certificate holds when recomputed" or "Ridge(mu=0.1" in shown  # one decimal


class Claiming:
    """Uniform weights and a status, with the first-order tolerance and the eps of a learner."""

    tol, eps = 1e-3, 1e-6

    def __init__(self, status, certificate):
        self.status, self.certificate = status, certificate

    def run(self, problem, seed, callback):
        fit = bdt.learn_weights(problem, Uniform())
        lower, upper = fit.certificate.get("lower_bound", 0.0), fit.val_loss
        numbers = {"lower_bound": lower, "upper_bound": upper, "eps": 1e-6} | self.certificate
        return dataclasses.replace(fit, status=self.status, certificate=numbers)


@pytest.mark.parametrize(
    "status, certificate, name, got",
    [
        (Status.STATIONARY, {}, "status is honest", "STATIONARY with descent .* left"),
        (Status.DIVERGED, {}, "status is honest", "DIVERGED"),
        (Status.CERTIFIED, {}, "status is honest", "CERTIFIED with a gap of .*"),
        (Status.CERTIFIED, {"eps": 1e6}, "certificate holds when recomputed", r"eps 1e\+06"),
        (Status.CERTIFIED, {"upper_bound": -1.0}, "certificate holds when rec", "upper_bound -1"),
    ],
)
def test_a_status_that_is_not_earned_is_seen(status, certificate, name, got):
    with pytest.raises(AssertionError, match=rf"(?s)breaks the invariant '{name}.*: got {got}; ne"):
        check_method(Claiming(status, certificate), max_examples=8)


def test_the_message_says_what_was_got():
    def change(problem, fit):
        return dataclasses.replace(fit, weights=2 * fit.weights)

    with pytest.raises(AssertionError, match=r"got weights of sum 2; needed sum 1"):
        check_method(Changed("Mine()", change))


def test_bad_arguments():
    with pytest.raises(ValueError, match=r"max_examples is 0; needed .*; try"):
        check_method(Uniform(), max_examples=0)
    with pytest.raises(ValueError, match=r"skip has 'simplex'; needed .*; try"):
        check_method(Uniform(), skip=["simplex"])


# The strategies ----------------------------------------------------------------------------------


def found(strategy, condition):
    """Whether such a problem is drawn."""
    quick = settings(max_examples=300, derandomize=True, database=None)
    return hypothesis.find(strategy, condition, settings=quick)


def has_equal_columns(problem):
    X = np.vstack([problem.train.X, problem.val.X])
    return len(np.unique(X, axis=1).T) < X.shape[1] and len(X) > 3


@pytest.mark.parametrize(
    "condition",
    [
        lambda P: P.N == 1,
        lambda P: P.m == 1,
        lambda P: P.train.X.shape[1] > P.N,
        lambda P: P.train.X.shape[1] < P.N,
        has_equal_columns,
        lambda P: P.N > 2 and np.all(P.train.X[:, -1] == 1.0) and not P.model.fit_intercept,
        lambda P: P.N > 2 and np.all(P.train.X[:, -1] == 0.0),
        lambda P: P.classes is not None and P.train.K == 3,
        lambda P: P.model.fit_intercept,
    ],
)
def test_degenerate_problems_are_drawn(condition):
    found(problems(), condition)


@settings(examples(20), suppress_health_check=[HealthCheck.too_slow])
@given(problem=problems(well_posed=True))
def test_well_posed_problems_are(problem):
    X = problem.train.X
    assert len(X) >= 8 * X.shape[1] and np.linalg.matrix_rank(X) == X.shape[1]


@pytest.mark.parametrize("kept", [{}, {"A2": False}, {"A3": False}, {"A4": False}])
@examples(20)
@given(data=hypothesis.strategies.data())
def test_each_keyword_drops_its_assumption_and_no_other(kept, data):
    problem = data.draw(exact_problems(**kept))
    useful = bdt.usefulness(problem).useful
    X, y = problem.train.X, problem.train.y
    fitted = np.abs(X @ np.linalg.lstsq(X, y, rcond=1e-10)[0] - y).max() < 1e-6
    assert fitted == kept.get("A2", True)
    assert useful.any() == kept.get("A3", True)
    assert useful.all() != kept.get("A4", True)


def test_the_other_two_keywords():
    without_A1 = found(exact_problems(A1=False), lambda P: True)
    assert np.all(without_A1.train.X[-1] == 0) and without_A1.train.y[-1] != 0
    assert not isinstance(found(exact_problems(A5=False), lambda P: True).model, Ridge)
    with pytest.raises(ValueError, match="A3"):
        exact_problems(A3=False, A4=False)


def test_hypothesis_is_needed_on_use_only():
    code = (
        "import sys; sys.modules['hypothesis'] = None; import bdtheory.testing as t\n"
        "try: t.problems()\n"
        "except ImportError as error: print(error)"
    )
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert "not installed" in run.stdout and "try pip install hypothesis" in run.stdout
