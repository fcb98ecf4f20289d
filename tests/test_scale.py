"""Large data: passes in blocks, float32, memory-mapped files, and the memory that they take."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from strategies import arrays, examples, raw, weighted_problems

import bdtheory as bdt
from bdtheory import linalg
from bdtheory.hypergradient import mean_gradient, refit
from bdtheory.models.newton import _active

few = examples(40)


@contextmanager
def in_blocks(entries):
    """Inside this context, passes over the data go in blocks of so many entries."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(linalg, "ENTRIES", entries)
        yield


@few
@given(weighted_problems(), st.integers(1, 30), st.booleans())
def test_blocks_change_nothing(case, entries, tensors):
    problem, w = case
    if tensors:
        (X, y), (X_val, y_val) = raw(problem)
        pairs = {"train": (X, y), "val": (X_val, y_val)}
        pairs = {k: tuple(torch.tensor(a) for a in pair) for k, pair in pairs.items()}
        problem, w = bdt.Problem(problem.model, **pairs), torch.tensor(w)
    value, grad = bdt.hypergradient(problem, w)
    theta = refit(problem, w).theta
    losses = problem.model.losses(theta, problem.val)
    slope = mean_gradient(problem, theta, problem.val)
    with in_blocks(entries):
        rows = linalg.row_blocks(problem.train.X)
        value_2, grad_2 = bdt.hypergradient(problem, w)
        losses_2 = problem.model.losses(theta, problem.val)
        slope_2 = mean_gradient(problem, theta, problem.val)
    assert len(rows) == -(-problem.N // max(1, entries // problem.train.X.shape[1]))
    assert float(value_2) == pytest.approx(float(value), rel=1e-12, abs=1e-14)
    for got, needed in ((grad_2, grad), (losses_2, losses), (slope_2, slope)):
        np.testing.assert_allclose(got, needed, rtol=1e-8, atol=1e-10)


def least_curvature(problem, w):
    """The least eigenvalue of the lower level's Hessian, by differences of its gradient.

    But for those of 0: intercepts of all classes shifted alike.
    """
    theta, mu, intercept = refit(problem, w).theta, problem.model.mu, problem.model.fit_intercept
    ridge = mu * np.ones_like(theta)
    ridge[-1:] *= not intercept

    def gradient(d):
        at = theta + d.reshape(theta.shape)
        return (problem.model.weighted_gradient(at, w, problem.train) + ridge * at).reshape(-1)

    columns = [gradient(d) - gradient(-d) for d in 1e-4 * np.eye(theta.size)]
    values = np.linalg.eigvalsh(np.array(columns) / 2e-4)
    return values[values > 1e-6 * values.max()].min()


@few
@given(weighted_problems(), st.integers(5, 100))
def test_float32_is_right_within_its_precision(case, entries):
    """Against float64 on the same rounded data: their rounding, amplified by conditioning."""
    problem, w = case
    (X, y), (X_val, y_val) = raw(problem)
    X, X_val, w = (a.astype(np.float32) for a in (X, X_val, w))
    if problem.classes is None:
        y, y_val = y.astype(np.float32), y_val.astype(np.float32)
    exact = bdt.Problem(
        problem.model,
        train=(X.astype(np.float64), y.astype(np.float64)),
        val=(X_val.astype(np.float64), y_val.astype(np.float64)),
    )
    value, grad = bdt.hypergradient(exact, w.astype(np.float64))
    with in_blocks(entries):
        single = bdt.Problem(problem.model, train=(X, y), val=(X_val, y_val))
        value_2, grad_2 = bdt.hypergradient(single, w)
    assert grad_2.dtype == np.float32
    # A fit ends at a gradient of F of 10 eps |x|: theta is off by H^-1 of that, a loss by |x_val|
    # as much, the factors of -g_i' H^-1 g_val by that share; their terms, of size 1, may cancel.
    longest = [1.0 + np.linalg.norm(a, axis=1).max() for a in (X, X_val)]
    least = least_curvature(exact, w.astype(np.float64))
    room = 10 * 2.0**-23 * (1 + float(math.prod(longest)) / least)
    assume(room < 1e-2)  # few draws leave fewer digits than that to check
    assert value_2 == pytest.approx(value, rel=room, abs=1e-6)
    np.testing.assert_allclose(grad_2, grad, atol=room * (0.1 + np.abs(grad).max()))


@pytest.mark.parametrize("classes", [0, 2, 3])
def test_float32_is_mostly_as_exact_as_its_numbers(classes):
    """The bound above is for the worst of many draws: most are off by 2 or 3 roundings."""
    errors, w = [], np.full(12, 1 / 12)
    for seed in range(100):
        exact, single = (
            bdt.Problem(
                bdt.Logistic(0.3) if classes else bdt.Ridge(0.3),
                train=(X.astype(dtype), y),
                val=(X_val.astype(dtype), y_val),
            )
            for (X, y), (X_val, y_val) in [arrays(seed, 12, 4, 6, classes)]
            for dtype in (np.float64, np.float32)
        )
        grad, grad_2 = (bdt.hypergradient(p, w)[1] for p in (exact, single))
        errors.append(np.abs(grad_2 - grad).max() / np.abs(grad).max())
    assert 2e-8 < np.quantile(errors, 0.5) < 5e-7  # float32 tells 6e-8 apart
    assert max(errors) < 2e-5


@pytest.mark.parametrize("classes", [0, 2, 3])
def test_float32_on_many_rows_is_as_exact_as_its_numbers(classes):
    """Sums over 2e4 samples add little to the rounding of theta, 6e-8 of its size."""
    (X, _), (X_val, _) = arrays(0, 20_000, 6, 500)
    X, X_val = X.astype(np.float32), X_val.astype(np.float32)
    rng = np.random.default_rng(1)
    theta = rng.standard_normal((6, max(2, classes)))
    y, y_val = (A @ theta + rng.standard_normal((len(A), theta.shape[1])) for A in (X, X_val))
    y, y_val = (a.argmax(axis=1) if classes else a[:, 0].astype(np.float32) for a in (y, y_val))
    model = bdt.Logistic(1e-2) if classes else bdt.Ridge(1e-2)
    w = np.random.default_rng(0).dirichlet(np.ones(20_000)).astype(np.float32)
    value, grad = bdt.hypergradient(bdt.Problem(model, train=(X, y), val=(X_val, y_val)), w)
    exact = bdt.Problem(
        model, train=(X.astype(float), y.astype(float)), val=(X_val.astype(float), y_val)
    )
    value_2, grad_2 = bdt.hypergradient(exact, w.astype(float))
    assert value == pytest.approx(value_2, rel=1e-6)
    assert np.linalg.norm(grad - grad_2) <= 1e-5 * np.linalg.norm(grad_2)


def test_float32_sums_over_many_rows_are_added_up_in_float64():
    """1e6 equal rows: a running sum in float32 would be off by percents of a unit weight each."""
    N = 1_000_000
    X, u = np.full((N, 1), 1.1, dtype=np.float32), np.full(N, 0.1, dtype=np.float32)
    expected = N * float(np.float32(1.1)) * float(np.float32(0.1))
    assert linalg.weighted_rows(u, X)[0] == pytest.approx(expected, rel=1e-5)
    assert linalg.gram(X, u)[0, 0] == pytest.approx(expected * float(np.float32(1.1)), rel=1e-6)
    assert linalg.gram(X, u).dtype == np.float64


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("classes", [0, 2, 3])
def test_a_memory_mapped_file_gives_what_the_array_gives(tmp_path, classes, dtype):
    (X, y), (X_val, y_val) = arrays(3, 50, 4, 9, classes)
    X, X_val = X.astype(dtype), X_val.astype(dtype)
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    model = bdt.Logistic(0.01) if classes else bdt.Ridge(0.01)
    w = np.random.default_rng(0).dirichlet(np.ones(50))
    results = [
        bdt.hypergradient(bdt.Problem(model, train=(A, y), val=(X_val, y_val)), w)
        for A in (X, mapped)
    ]
    assert results[0][0] == results[1][0]
    np.testing.assert_array_equal(results[0][1], results[1][1])
    problem = bdt.Problem(model, train=(mapped[10:], y[10:]), val=(X_val, y_val))
    assert np.shares_memory(problem.train.X, mapped)  # a view: nothing is read or copied
    fit = bdt.learn_weights(problem, bdt.Uniform())
    assert fit.status is not bdt.Status.DIVERGED


def flat(path):
    np.zeros(6, dtype=np.float64).tofile(path)
    return np.memmap(path, np.float64, "r")


def of_dtype(dtype):
    def make(path):
        array = np.lib.format.open_memmap(path, "w+", dtype, (4, 2))
        array[:] = 1
        return np.load(path, mmap_mode="r")

    return make


@pytest.mark.parametrize(
    "make, part",
    [
        (flat, "shape (6,)"),
        (of_dtype("<i2"), "'<i2'"),
        (of_dtype(">f8"), "'>f8'"),
        (of_dtype("<f2"), "'<f2'"),
        (of_dtype("|b1"), "'|b1'"),
    ],
)
def test_mapped_files_of_a_wrong_shape_or_dtype(tmp_path, make, part):
    X, y = make(tmp_path / "X.npy"), np.array([0.0, 1.0, 2.0, 3.0])
    with pytest.raises(ValueError) as error:
        bdt.Problem(bdt.Ridge(0.1), train=(X, y), val=(np.ones((2, 2)), y[:2]))
    message = str(error.value)
    assert message.startswith("the features of train are a memory-mapped file of")
    assert part in message and "needed" in message and "try" in message and "\n" not in message


@pytest.mark.parametrize("model", [bdt.Ridge(0.1, True), bdt.Logistic(0.1, True)])
def test_an_intercept_would_copy_a_mapped_file(tmp_path, model):
    X = of_dtype("<f8")(tmp_path / "X.npy")
    y = np.array([0, 1, 0, 1])
    with pytest.raises(ValueError, match=r"fit_intercept=True copies.*needed.*try a column of one"):
        bdt.Problem(model, train=(X[1:], y[1:]), val=(np.ones((2, 2)), y[:2]))


@pytest.mark.parametrize("flaw", [np.nan, np.inf, -np.inf])
def test_a_bad_number_in_a_late_block_is_found_with_its_row(flaw):
    X = np.random.default_rng(0).standard_normal((40, 3))
    X[33, 1] = flaw
    with in_blocks(9):
        with pytest.raises(ValueError, match=f"have {flaw} at row 33, column 1"):
            bdt.Problem(bdt.Ridge(0.1), train=(X, np.ones(40)), val=(X[:5], np.ones(5)))
        X[33, 1] = -1e80
        with pytest.raises(ValueError, match=r"reach 1.0e\+80 in size"):
            bdt.Problem(bdt.Ridge(0.1), train=(X, np.ones(40)), val=(X[:5], np.ones(5)))
        y = np.ones(40)
        y[38] = flaw
        with pytest.raises(ValueError, match=f"targets of train have {flaw} at row 38"):
            bdt.Problem(bdt.Ridge(0.1), train=(X[:, :1], y), val=(X[:5, :1], np.ones(5)))


def test_rows_of_weight_zero_are_left_out_only_where_the_copy_is_small():
    p = 8
    for n, kept, copied in ((100, 50, True), (100, 95, False), (10**6, 5 * 10**5, False)):
        X = np.broadcast_to(np.ones(p), (n, p))  # no memory, whatever n
        w = (np.arange(n) < kept).astype(float)
        rows = _active(w, bdt.models.tabular.Data(X, np.ones(n)))[1]
        assert len(rows) == (kept if copied else n)


MEASURE = """
import json, sys, tracemalloc
import numpy as np
import bdtheory as bdt
from bdtheory import linalg

model, N, p, entries, path = sys.argv[1], *map(int, sys.argv[2:5]), sys.argv[5]
linalg.ENTRIES, linalg.ROWS = entries, max(linalg.ROWS, entries // p)
rng = np.random.default_rng(0)
def peak():  # not ru_maxrss, which a process inherits from the one that starts it
    with open("/proc/self/status") as file:
        return 1024 * next(int(line.split()[1]) for line in file if line.startswith("VmHWM"))

bdt.hypergradient(bdt.Problem(bdt.Ridge(1.0), train=(np.eye(3), np.ones(3)),
                              val=(np.eye(3), np.ones(3))), np.ones(3))  # what loads late, loads
before = peak()
if path:
    X = np.lib.format.open_memmap(path, "w+", "float32", (N, p))
else:
    X = np.empty((N, p))
for i in range(0, N, 10_000):
    X[i : i + 10_000] = rng.standard_normal(X[i : i + 10_000].shape)
if path:
    del X
    X = np.load(path, mmap_mode="r")
y, X_val = np.where(rng.random(N) < 0.5, 1.0, -1.0), rng.standard_normal((100, p)).astype(X.dtype)
lower = bdt.Logistic(1e-3) if model == "logistic" else bdt.Ridge(1e-2)
tracemalloc.start()
problem = bdt.Problem(lower, train=(X, y), val=(X_val, y[:100]))
_, grad = bdt.hypergradient(problem, np.full(N, 1.0 / N))
print(json.dumps([(peak() - before) / X.nbytes, tracemalloc.get_traced_memory()[1] / X.nbytes,
                  float(np.linalg.norm(grad))]))
"""


def measured(model, N, p, entries, path=""):
    """(peak of the process, of what NumPy allocates, the gradient's norm); both over X's bytes."""
    command = [sys.executable, "-c", MEASURE, model, str(N), str(p), str(entries), str(path)]
    one = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"), "1")
    run = subprocess.run(
        command, check=True, capture_output=True, text=True, env={**os.environ, **one}
    )
    return json.loads(run.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/status")
@pytest.mark.parametrize("model", ["ridge", "logistic"])
def test_a_hypergradient_takes_half_the_data_s_memory_on_top_at_most(model):
    """200 MB of float64: 1.5 times that with the data. In one block it takes more: the control."""
    peak, allocated, norm = measured(model, 250_000, 100, linalg.ENTRIES)
    assert 1.0 <= peak <= 1.5
    assert allocated <= 0.15  # on top of the data, which lie there before
    control, allocated_2, norm_2 = measured(model, 250_000, 100, 2**40)
    assert control > 1.5 and allocated_2 > 0.5
    assert norm_2 == pytest.approx(norm, rel=1e-9)


@pytest.mark.parametrize("model", ["ridge", "logistic"])
def test_a_mapped_file_is_never_in_memory_as_a_whole(tmp_path, model):
    """100 MB of float32: allocations are blocks and vectors of N numbers."""
    _, allocated, norm = measured(model, 250_000, 100, linalg.ENTRIES, tmp_path / "X.npy")
    assert allocated <= 0.35
    assert norm > 0
