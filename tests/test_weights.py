"""Selectors give weights on the simplex; summaries have known values."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bdtheory.weights import (
    auc,
    drop_negligible,
    effective_sample_size,
    entropy,
    gather,
    sigmoid,
    softmax,
    spread,
    top_k,
)

logits = st.lists(st.floats(-700, 700), min_size=1, max_size=30).map(np.array)


@given(logits)
def test_weights_are_on_the_simplex(omega):
    for selector in (softmax, sigmoid):
        w = selector(omega)
        assert np.all(w >= 0) and np.all(np.isfinite(w))
        assert w.sum() == pytest.approx(1.0, abs=1e-12)


@given(logits, st.floats(-100, 100))
def test_softmax_ignores_a_common_shift_and_orders_by_logit(omega, shift):
    np.testing.assert_allclose(softmax(omega + shift), softmax(omega), rtol=1e-9, atol=1e-15)
    assert np.all(np.diff(softmax(np.sort(omega))) >= 0)


@given(st.integers(0, 10**6), st.integers(1, 5))
def test_groups_share_their_mass_evenly(seed, G):
    rng = np.random.default_rng(seed)
    groups = np.r_[np.arange(G), rng.integers(0, G, 7)]
    v, w = softmax(rng.standard_normal(G)), None
    w = spread(v, groups)
    assert w.sum() == pytest.approx(1.0, abs=1e-12)
    for g in range(G):
        assert np.ptp(w[groups == g]) == 0
        assert w[groups == g].sum() == pytest.approx(v[g], rel=1e-12)


@given(st.integers(0, 10**6))
def test_gather_is_the_transpose_of_spread(seed):
    """<spread(v), g> = <v, gather(g)> for all v, g."""
    rng = np.random.default_rng(seed)
    groups = np.r_[np.arange(3), rng.integers(0, 3, 5)]
    v, g = rng.standard_normal(3), rng.standard_normal(8)
    assert spread(v, groups) @ g == pytest.approx(v @ gather(g, groups), rel=1e-12, abs=1e-14)


def test_sigmoid_is_the_normalised_logistic_function():
    omega = np.array([-1.0, 0.0, 2.0])
    s = 1 / (1 + np.exp(-omega))
    np.testing.assert_allclose(sigmoid(omega), s / s.sum(), rtol=1e-14)


def test_torch_in_torch_out():
    omega = torch.tensor([0.0, 1.0, 2.0], dtype=torch.float64)
    for f in (softmax, sigmoid, drop_negligible, lambda w: top_k(w, 2)):
        out = f(omega)
        assert isinstance(out, torch.Tensor) and out.dtype == torch.float64
        np.testing.assert_allclose(out.numpy(), f(omega.numpy()), rtol=1e-14)


def test_summaries_at_known_weights():
    assert effective_sample_size(np.full(7, 1 / 7)) == pytest.approx(7.0, rel=1e-14)
    assert effective_sample_size(np.array([1.0, 0.0])) == 1.0
    assert effective_sample_size(np.array([1e-200, 1e-200])) == 2.0
    assert effective_sample_size(np.array([0.75, 0.25])) == pytest.approx(1.6, rel=1e-14)
    assert entropy(np.array([1.0, 0.0])) == 0.0
    assert entropy(np.array([0.75, 0.25])) == pytest.approx(0.5623351446188083, rel=1e-12)


def test_negligible_weights_become_exactly_zero():
    w = drop_negligible(np.array([0.6, 0.4, 5e-13, 7e-13]))
    assert w[2] == 0.0 and w[3] > 0 and w.sum() == pytest.approx(1.0, abs=1e-15)


def test_top_k_breaks_ties_by_position_and_checks_k():
    np.testing.assert_array_equal(top_k(np.array([0.2, 0.4, 0.4]), 1), [0, 1, 0])
    for k in (0, 4):
        with pytest.raises(ValueError, match="needed 1 <= k <= N = 3"):
            top_k(np.ones(3), k)


def test_auc_counts_pairs_and_halves_ties():
    w, clean = np.array([3.0, 1.0, 2.0, 1.0]), np.array([True, True, False, False])
    pairs = [(3 > 2) + 0.5 * (3 == 2), 1.0, 0.0, 0.5]
    assert auc(w, clean) == np.mean(pairs)
    assert np.isnan(auc(w, np.ones(4, dtype=bool)))


def test_an_empty_group_is_refused():
    with pytest.raises(ValueError, match="group 1 has no sample"):
        spread(np.array([0.5, 0.3, 0.2]), np.array([0, 2, 2]))
