"""Importance ratios: known values, extreme logarithms, and errors that say what to try."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bdtheory.ratios import importance_weights, reweighted_mean
from bdtheory.weights import softmax

logs = st.integers(0, 10**6).map(
    lambda seed: tuple(np.random.default_rng(seed).normal(0, 3, (2, 12)))
)
GROUPS = np.repeat(["b", "a", "c"], [5, 1, 6])


@given(logs, st.sampled_from([0.5, 1.0, 3.0]))
def test_weights_are_tempered_ratios(pair, tau):
    found = importance_weights(*pair, tau=tau)
    rho = np.exp(pair[0]) / np.exp(pair[1])
    np.testing.assert_allclose(found.weights, rho ** (1 / tau), rtol=1e-12)
    assert found.ess == pytest.approx(found.weights.sum() ** 2 / (found.weights**2).sum())
    assert found.variance == pytest.approx(np.var(rho ** (1 / tau), ddof=1) / 12)
    assert found.clipped_share == 0.0


@given(logs)
def test_a_group_has_mean_1_and_the_weights_of_a_softmax(pair):
    """Sum 1 instead of mean 1 is softmax(-l/tau) with l_i(theta) - l_i(theta_old) for l_i."""
    w = importance_weights(*pair, tau=2.0, groups=GROUPS).weights
    for name in "abc":
        of = name == GROUPS
        np.testing.assert_allclose(
            w[of] / of.sum(), softmax((pair[0] - pair[1])[of] / 2), rtol=1e-12
        )


@given(logs, st.floats(0.05, 5.0))
def test_clipping_bounds_the_weights_and_is_counted(pair, clip):
    free, found = importance_weights(*pair).weights, importance_weights(*pair, clip=clip)
    np.testing.assert_allclose(found.weights, np.minimum(free, clip), rtol=1e-12)
    assert found.clipped_share == np.mean(free > clip)


@given(logs)
def test_torch_gives_what_numpy_gives_and_lets_gradients_through(pair):
    tensors = [torch.tensor(a, requires_grad=True) for a in pair]
    for options in ({}, {"groups": GROUPS, "tau": 2.0}, {"clip": 0.7, "groups": GROUPS}):
        mine, theirs = importance_weights(*pair, **options), importance_weights(*tensors, **options)
        assert isinstance(theirs.weights, torch.Tensor) and theirs.weights.dtype == torch.float64
        np.testing.assert_allclose(theirs.weights.detach().numpy(), mine.weights, rtol=1e-12)
        assert theirs[1:] == pytest.approx(mine[1:], rel=1e-9)
    theirs = importance_weights(*tensors)
    (gradient,) = torch.autograd.grad(theirs.weights.sum(), tensors[:1])
    np.testing.assert_allclose(
        gradient, theirs.weights.detach(), rtol=1e-12
    )  # d rho = rho d log pi
    f = np.arange(24.0).reshape(12, 2)
    for mine, theirs in zip(reweighted_mean(f, *pair), reweighted_mean(f, *tensors), strict=True):
        np.testing.assert_allclose(theirs.detach().numpy(), mine, rtol=1e-12)


def test_float32_stays_and_lists_become_float64():
    ones = np.zeros(3, dtype=np.float32)
    assert importance_weights(ones, ones, groups=[0, 0, 1]).weights.dtype == np.float32
    assert importance_weights([0, 0], [0, 0]).weights.dtype == np.float64


def test_nothing_overflows_that_need_not():
    log_pi, log_pi_old = np.array([900.0, 899.0, -900.0]), np.zeros(3)
    grouped = importance_weights(log_pi, log_pi_old, groups=np.zeros(3))
    np.testing.assert_allclose(grouped.weights, 3 * softmax(log_pi), rtol=1e-12)
    clipped = importance_weights(log_pi, log_pi_old, clip=2.0)
    np.testing.assert_allclose(clipped.weights, [2.0, 2.0, 0.0], atol=1e-300)
    assert clipped.clipped_share == pytest.approx(2 / 3)
    # A weight that equals the limit is not lowered by it.
    assert importance_weights([0.0, 0.0, 1.0], [0.0] * 3, clip=1.0).clipped_share == 1 / 3
    assert importance_weights(np.array([700.0, 0.0]), np.zeros(2)).variance == math.inf
    with pytest.raises(ValueError, match=r"over tau is 900; needed at most 709.*try clip=10"):
        importance_weights(log_pi, log_pi_old)


def test_a_response_the_model_no_longer_gives_has_weight_0():
    found = importance_weights([-math.inf, 0.0], [-1.0, -1.0])
    np.testing.assert_allclose(found.weights, [0.0, math.e], rtol=1e-12)
    nothing = importance_weights([-math.inf, -math.inf], [-1.0, -1.0])
    assert (nothing.ess, nothing.variance) == (0.0, 0.0)
    assert math.isnan(importance_weights([0.0], [0.0]).variance)


def test_the_reweighted_mean_is_unbiased_and_knows_its_error():
    """Two responses, 2,000 averages of 50 draws: z-scores of mean 0 and mean square 1."""
    rng = np.random.default_rng(0)
    q, p, f = np.array([0.6, 0.4]), np.array([0.3, 0.7]), np.array([[1.0, 0.0], [-2.0, 1.0]])
    z = []
    for _ in range(2000):
        y = (rng.random(50) < q[1]).astype(int)
        found = reweighted_mean(f[y], np.log(p)[y], np.log(q)[y])
        z.append((found.value - p @ f) / found.standard_error)
    np.testing.assert_allclose(np.mean(z, axis=0), 0.0, atol=0.1)  # 4 standard errors
    np.testing.assert_allclose(np.mean(np.square(z), axis=0), 1.0, atol=0.15)


@pytest.mark.parametrize(
    "arguments, options, message",
    [
        ((np.zeros(3), np.zeros(2)), {}, r"shape \(3,\) and log_pi_old \(2,\); needed .* try the"),
        ((np.zeros((3, 2)), np.zeros((3, 2))), {}, "needed one number per response"),
        ((np.zeros(0), np.zeros(0)), {}, "n >= 1"),
        (([0.0, math.nan], [0.0, 0.0]), {}, "log_pi has nan at row 1; needed .* try"),
        (([math.inf], [0.0]), {}, "log_pi has inf at row 0; needed .* try"),
        (([0.0, math.nan, math.inf], [0.0] * 3), {}, "log_pi has nan at row 1; needed"),
        (([0.0], [-math.inf]), {}, "log_pi_old has -inf at row 0; needed .* try"),
        (([0.0], [0.0]), {"tau": 0.0}, "tau is 0.0; needed a finite number > 0; try"),
        (([0.0], [0.0]), {"tau": -1.0}, "tau is -1.0; needed"),
        (([0.0], [0.0]), {"clip": 0.0}, "clip is 0.0; needed a finite number > 0; try"),
        (([0.0], [0.0]), {"clip": math.nan}, "clip is nan; needed"),
        (([0.0], [0.0]), {"groups": [0, 1]}, r"groups has shape \(2,\); needed .* try"),
        (
            ([0.0], [0.0]),
            {"groups": [None]},
            r"no label at row 0 \(got None\); needed one for every",
        ),
        (([0.0] * 2, [0.0] * 2), {"groups": ["a", None]}, "no label at row 1 .*response; try"),
        (([0.0] * 2, [0.0] * 2), {"groups": [math.nan, 1.0]}, "no label at row 0"),
        (([0.0] * 2, [0.0] * 2), {"groups": np.ma.masked_equal([1, 2], 2)}, "groups have masked"),
        ((np.ma.masked_equal([0.0, 1.0], 1.0), [0.0] * 2), {}, "log_pi have masked entries"),
        (([0.0] * 2, np.ma.masked_equal([0.0, 1.0], 1.0)), {}, "log_pi_old have masked entries"),
        (([0.0, -math.inf], [0.0, 0.0]), {"groups": [4, 5]}, "ratios of group 5 are 0; needed"),
    ],
)
def test_bad_input_is_refused(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        importance_weights(*arguments, **options)


@pytest.mark.parametrize(
    "f, message",
    [
        (np.zeros(3), r"f has shape \(3,\); needed one entry per response, \(2, ...\); try"),
        (np.float64(1.0), r"f has shape \(\)"),
        (np.array([[0.0, 1.0], [math.nan, 0.0]]), "f has nan at row 1; needed finite"),
        (np.ma.masked_equal([0.0, 1.0], 1.0), "the values of f have masked entries; needed"),
    ],
)
def test_a_bad_f_is_refused(f, message):
    with pytest.raises(ValueError, match=message):
        reweighted_mean(f, np.zeros(2), np.zeros(2))


def test_a_mean_of_few_by_hand():
    log_pi = np.log([0.5, 0.5, 0.2])
    found = reweighted_mean(f=np.array([1.0, 3.0, 5.0]), log_pi=log_pi, log_pi_old=np.zeros(3))
    terms = np.array([0.5, 1.5, 1.0])
    assert found.value == pytest.approx(1.0, rel=1e-12)
    assert found.standard_error == pytest.approx(np.std(terms, ddof=1) / np.sqrt(3), rel=1e-12)
    two = reweighted_mean(np.array([1.0, 3.0]), log_pi[:2], np.zeros(2))
    assert (two.value, two.standard_error) == pytest.approx((1.0, 0.5), rel=1e-12)
    one = reweighted_mean(np.array([[1.0, 3.0]]), log_pi[:1], np.zeros(1))
    np.testing.assert_allclose(one.value, [0.5, 1.5], rtol=1e-12)
    assert one.standard_error.shape == (2,) and np.isnan(one.standard_error).all()


def test_arguments_by_name_and_the_first_bad_row():
    found = importance_weights(log_pi=[0.0, 0.0], log_pi_old=[0.0, -np.log(2.0)], tau=1.0)
    np.testing.assert_allclose(found.weights, [1.0, 2.0], rtol=1e-12)
    with pytest.raises(ValueError, match="log_pi has nan at row 1; needed"):
        importance_weights([0.0, math.nan, math.nan], [0.0, 0.0, 0.0])
