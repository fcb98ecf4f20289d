"""Selectors give weights on the simplex; summaries have known values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bdtheory.weights import (
    LARGEST,
    auc,
    count_of,
    drop_negligible,
    effective_sample_size,
    entropy,
    gather,
    mean_one,
    sigmoid,
    softmax,
    spread,
    top_k,
    top_scores,
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


def test_an_entropy_of_zero_has_no_sign():
    assert np.copysign(1.0, entropy(np.array([1.0, 0.0]))) == 1.0


def test_a_weight_at_the_floor_stays():
    assert drop_negligible(np.array([0.8, 0.2]), floor=0.25).tolist() == [0.8, 0.2]
    assert drop_negligible(np.array([0.75, 0.25]), floor=0.5).tolist() == [1.0, 0.0]


def test_ties_among_many_samples_go_to_the_earlier_ones():
    """More samples than NumPy sorts by insertion, which would keep their order by chance."""
    w = np.tile([0.1, 0.3, 0.2], 100)
    kept = np.flatnonzero(top_k(w, 150))
    assert kept.tolist() == [i for i in range(300) if i % 3 == 1 or (i % 3 == 2 and i < 150)]
    np.testing.assert_allclose(top_k(w, 300), 1 / 300)


@pytest.mark.parametrize("N", [1, 2, 3, 7])
def test_the_k_that_is_suggested_can_be_taken(N):
    for k in (0, N + 1):
        with pytest.raises(ValueError, match="try k = ") as error:
            top_k(np.ones(N), k)
        suggested = int(str(error.value).split("try k = ")[1])
        assert np.count_nonzero(top_k(np.ones(N), suggested)) == suggested
        assert 2 * suggested in (N, N - 1, 2)  # half of them, or one


def test_how_many_rows_a_number_or_a_share_asks_for():
    for k, count in ((1, 1), (0.04, 1), (0.26, 3), (1.0, 10), (10, 10)):
        assert count_of(k, 10) == count
    others: list[Any] = [0, 11, -1, True, np.True_, 0.0, -0.5, 1.01, 1.5, float("nan"), "2", 1j]
    for k in others:
        with pytest.raises(ValueError, match="needed a whole number from 1 to N = 10, or a share"):
            count_of(k, 10)


def test_scores_of_any_kind_of_number_and_of_one_axis():
    by_hand = [0.0, 0.5, 0.5, 0.0]
    for scores in ([1, 3, 2, 0], np.array([1, 3, 2, 0]), torch.tensor([1, 3, 2, 0])):
        assert top_scores(scores, 2).tolist() == by_hand
    assert top_scores(torch.tensor([1.0, 3.0]), 1).dtype == torch.float32
    assert top_scores([1, 3, 2, 0], 2).dtype == np.float64
    assert top_scores([1.0, 2.0], 2).tolist() == [0.5, 0.5]
    for scores in (np.ones((2, 2)), np.ones(0), 1.0):
        with pytest.raises(ValueError, match=r"scores have shape .*needed one number per training"):
            top_scores(scores, 1)
    with pytest.raises(ValueError, match=r"scores have nan at row 1 \(counted from 0\)"):
        top_scores([1.0, np.nan, np.inf], 1)


@pytest.mark.parametrize("low", [False, True])
def test_whole_scores_are_compared_as_whole_numbers(low):
    """float64 holds 2^53 and 2^53 + 1 as one number; ties still go to the earlier row."""
    n, kept = 2**53, [0.0, 1.0, 0.0]
    rows = [n + 1, n, n + 1] if low else [n, n + 1, n]
    exact: list[Any] = [rows, np.array(rows), np.array(rows, dtype=np.uint64), torch.tensor(rows)]
    exact += [[value + 2**64 for value in rows], [value + 2**63 - n for value in rows]]
    for scores in exact:
        assert top_scores(scores, 1, low=low).tolist() == kept
    assert top_scores([2**63, -1, 2**63 + 1], 1).tolist() == [0.0, 0.0, 1.0]
    assert top_scores(np.array([3, 5, 5], dtype=np.uint8), 1).tolist() == [0.0, 1.0, 0.0]


@pytest.mark.parametrize("use", [mean_one, lambda w: top_scores(w, 1)])
def test_masked_entries_are_refused_and_a_mask_of_nothing_is_none(use):
    whole = np.ma.array([1.0, 3.0], mask=[False, False])
    np.testing.assert_array_equal(use(whole), use([1.0, 3.0]))
    with pytest.raises(ValueError, match=r"have masked entries; needed .*; try dropping"):
        use(np.ma.array([1.0, 3.0], mask=[False, True]))


def test_auc_where_a_class_has_one_member_or_none():
    w = np.array([3.0, 1.0, 2.0])
    assert auc(w, np.array([True, False, False])) == 1.0
    assert auc(w, np.array([True, True, False])) == 0.5
    assert np.isnan(auc(w, np.zeros(3, dtype=bool)))


def test_weights_of_mean_one_up_to_the_largest_number():
    assert mean_one([LARGEST, 0.0]).tolist() == [2.0, 0.0]
    assert mean_one([3.0, 1.0], 2).tolist() == [1.5, 0.5]
    assert mean_one(np.array([True, False, True, True])).tolist() == [4 / 3, 0, 4 / 3, 4 / 3]
    with pytest.raises(ValueError, match="got 2 weights; needed 3, one for each row"):
        mean_one([3.0, 1.0], 3)
    with pytest.raises(ValueError, match="got the weight inf in row 1"):
        mean_one([1.0, np.inf])
