"""The one-layer transformer: its architecture as an explicit loop, and its gradient three ways."""

from __future__ import annotations

import math
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest

from bdtheory.models.attention import OneLayerTransformer, Sequences
from bdtheory.models.training import Training

torch = pytest.importorskip("torch")

V, L, N = 5, 4, 12
D = V + L
MODEL = OneLayerTransformer(vocab_size=V, length=L)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def random_theta(rng, *lead, scale=1.0):
    shapes = {"key_query": (D, D), "readout": (D, V)}
    return {k: scale * rng.standard_normal((*lead, *shape)) for k, shape in shapes.items()}


def random_data(rng, n=N):
    return Sequences(rng.integers(0, V, (n, L)), rng.integers(0, V, n), np.empty(0))


def as_torch(theta, data):
    tensors = {key: torch.from_numpy(a.copy()) for key, a in theta.items()}
    X, y = torch.from_numpy(data.X), torch.from_numpy(data.y)
    return tensors, Sequences(X, y, torch.empty(0, dtype=torch.float64))


def assert_same(got, needed, tol=1e-12):
    assert got.keys() == needed.keys()
    for key in needed:
        np.testing.assert_allclose(got[key], needed[key], rtol=tol, atol=tol)


def loop_loss(theta, x, y):
    """One sample by the definition: one head, last token asks, linear read-out, cross-entropy."""
    K, R = theta["key_query"].tolist(), theta["readout"].tolist()
    embedded = [
        [float(x[t] == k) for k in range(V)] + [float(t == k) for k in range(L)] for t in range(L)
    ]
    asks = embedded[-1]
    scores = [sum(e[i] * K[i][j] * asks[j] for i in range(D) for j in range(D)) for e in embedded]
    total = sum(math.exp(s) for s in scores)
    h = [sum(math.exp(scores[t]) / total * embedded[t][i] for t in range(L)) for i in range(D)]
    logits = [sum(h[i] * R[i][v] for i in range(D)) for v in range(V)]
    return math.log(sum(math.exp(z) for z in logits)) - logits[y]


# Architecture ------------------------------------------------------------------------------------


def test_losses_are_those_of_an_explicit_loop(rng):
    theta, data = random_theta(rng), random_data(rng)
    by_hand = [loop_loss(theta, x, y) for x, y in zip(data.X, data.y, strict=True)]
    np.testing.assert_allclose(MODEL.losses(theta, data), by_hand, rtol=1e-12)
    assert np.ptp(by_hand) > 0.1  # there was something to get wrong


def test_theta_is_two_matrices_and_nothing_else():
    theta = MODEL.initial_theta()
    assert {key: tuple(a.shape) for key, a in theta.items()} == {
        "key_query": (D, D),
        "readout": (D, V),
    }


def test_zero_theta_knows_nothing(rng):
    zero = random_theta(rng, scale=0.0)
    np.testing.assert_allclose(MODEL.losses(zero, random_data(rng)), math.log(V), rtol=1e-14)


def test_a_known_answer_by_hand():
    """K looks at the place that the last token names, R repeats the token there: loss log(1 + (V -
    1) exp(-c)) up to the attention elsewhere, exp(-40)."""
    theta = {"key_query": np.zeros((D, D)), "readout": np.zeros((D, V))}
    for place in range(L - 1):
        theta["key_query"][V + place, place] = 40.0  # the last token is `place`
    theta["readout"][:V] = 3.0 * np.eye(V)
    data = Sequences(np.array([[4, 3, 1, 0], [4, 3, 1, 2]]), np.array([4, 1]), np.empty(0))
    needed = math.log1p((V - 1) * math.exp(-3.0))
    np.testing.assert_allclose(MODEL.losses(theta, data), needed, rtol=1e-12)


def test_shifting_scores_or_logits_changes_nothing(rng):
    """All keys shifted alike, and all responses shifted alike; large shifts must not overflow."""
    theta, data = random_theta(rng), random_data(rng)
    shifted = {
        # e_t . K e_L gains 500 for every t: each e_t has one place, each e_L one place.
        "key_query": theta["key_query"] + 500.0 * np.outer(np.arange(D) >= V, np.arange(D) >= V),
        "readout": theta["readout"] + np.outer(np.arange(D) >= V, np.full(V, 700.0)),
    }
    got, needed = MODEL.losses(shifted, data), MODEL.losses(theta, data)
    np.testing.assert_allclose(got, needed, atol=1e-10)


def test_losses_stay_finite_far_out(rng):
    theta, data = random_theta(rng, scale=1e4), random_data(rng)
    losses, gradient = MODEL.losses_and_gradient(theta, np.ones(N), data)
    assert np.isfinite(losses).all()
    assert all(np.isfinite(a).all() for a in gradient.values())


# Gradient ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["key_query", "readout"])
def test_gradient_is_the_limit_of_difference_quotients(rng, key):
    theta, data, w = random_theta(rng), random_data(rng), rng.random(N)
    gradient = MODEL.weighted_gradient(theta, w, data)[key]
    h = 1e-5  # error h^2 = 1e-10 by the formula, 1e-16 / h = 1e-11 by rounding
    quotients = np.zeros_like(gradient)
    for i in np.ndindex(gradient.shape):
        ends = []
        for step in (h, -h):
            moved = {k: a.copy() for k, a in theta.items()}
            moved[key][i] += step
            ends.append(w @ MODEL.losses(moved, data))
        quotients[i] = (ends[0] - ends[1]) / (2 * h)
    np.testing.assert_allclose(gradient, quotients, atol=1e-8)
    assert abs(gradient).max() > 0.1


def test_gradient_is_that_of_autograd(rng):
    theta, data, w = random_theta(rng), random_data(rng), rng.random(N)
    tensors, rows = as_torch(theta, data)
    for a in tensors.values():
        a.requires_grad_(True)
    value = torch.dot(torch.from_numpy(w), MODEL.losses(tensors, rows))
    value.backward()
    got = MODEL.weighted_gradient(theta, w, data)
    assert_same(got, {key: a.grad.numpy() for key, a in tensors.items()})


def test_numpy_and_torch_give_the_same_each_in_its_kind(rng):
    theta, data = random_theta(rng, 3), random_data(rng)
    w = rng.random((3, N))
    losses, gradient = MODEL.losses_and_gradient(theta, w, data)
    tensors, rows = as_torch(theta, data)
    for weights in (w, torch.from_numpy(w)):  # the selector may live in the other kind
        in_torch, gradient_in_torch = MODEL.losses_and_gradient(tensors, weights, rows)
        assert in_torch.dtype == torch.float64
        np.testing.assert_allclose(in_torch.numpy(), losses, rtol=1e-12)
        assert_same({k: a.numpy() for k, a in gradient_in_torch.items()}, gradient)
    assert isinstance(losses, np.ndarray)
    mixed = MODEL.losses(theta, rows)  # theta decides
    assert isinstance(mixed, np.ndarray)
    np.testing.assert_array_equal(mixed, losses)


@pytest.mark.parametrize("each", [False, True])
def test_a_batch_of_starts_is_each_start_alone(rng, each):
    theta, data = random_theta(rng, 2, 3), random_data(rng)
    w = rng.random((2, 3, N)) if each else rng.random(N)
    losses, gradient = MODEL.losses_and_gradient(theta, w, data)
    assert losses.shape == (2, 3, N)
    assert {key: a.shape for key, a in gradient.items()} == {k: a.shape for k, a in theta.items()}
    for k in np.ndindex(2, 3):
        alone = {key: a[k] for key, a in theta.items()}
        l, g = MODEL.losses_and_gradient(alone, w[k] if each else w, data)
        np.testing.assert_allclose(losses[k], l, rtol=1e-12)
        assert_same({key: a[k] for key, a in gradient.items()}, g)


# Samples and weights -----------------------------------------------------------------------------


def test_order_of_samples_does_not_matter(rng):
    theta, data, w = random_theta(rng), random_data(rng), rng.random(N)
    order = rng.permutation(N)
    losses, gradient = MODEL.losses_and_gradient(theta, w, data)
    permuted, same = MODEL.losses_and_gradient(theta, w[order], data.take(order))
    np.testing.assert_array_equal(permuted, losses[order])
    assert_same(same, gradient)


def test_zero_weight_is_a_removed_sample_and_weight_two_a_repeated_one(rng):
    theta, data = random_theta(rng), random_data(rng)
    w = np.ones(N)
    w[0], w[1] = 0.0, 2.0
    kept = data.take(np.arange(1, N)).join(data.take(np.array([1])))
    assert len(kept) == N
    needed = MODEL.weighted_gradient(theta, np.ones(N), kept)
    assert_same(MODEL.weighted_gradient(theta, w, data), needed)


@pytest.mark.parametrize("w", [np.zeros(N), np.stack([np.ones(N), np.zeros(N)])])
def test_zero_weights_are_refused(rng, w):
    theta, data = random_theta(rng, 2), random_data(rng)
    with pytest.raises(ValueError, match=r"weights are all zero; needed .*; try"):
        MODEL.losses_and_gradient(theta, w, data)


@pytest.mark.parametrize("shape", [(N - 1,), (3, N), (N, 2)])
def test_weights_of_another_shape_are_refused(rng, shape):
    with pytest.raises(ValueError, match=r"needed \(12,\), or one such row for each of 2 starts"):
        MODEL.weighted_gradient(random_theta(rng, 2), np.ones(shape), random_data(rng))


def test_starts_are_small_random_and_repeatable():
    theta, same, other = (MODEL.initial_theta(seed) for seed in (0, 0, 1))
    for key, a in theta.items():
        assert a.dtype == torch.float64
        assert torch.equal(a, same[key])
        assert not torch.equal(a, other[key])
        assert 0.05 < float(a.std()) < 0.2
    with pytest.raises(ValueError, match="seed is -1"):
        MODEL.initial_theta(-1)


# What comes in -----------------------------------------------------------------------------------

GOOD = ([[0, 1, 2, 3], [4, 3, 2, 1]], [0, 4])


@pytest.mark.parametrize("kind", ["lists", "numpy", "torch", "int32", "uint8"])
def test_prepare_takes_whole_numbers_of_every_kind(kind):
    change = {
        "lists": lambda a: a,
        "numpy": np.array,
        "torch": torch.tensor,
        "int32": lambda a: np.array(a, dtype=np.int32),
        "uint8": lambda a: torch.tensor(a, dtype=torch.uint8),
    }[kind]
    pair = tuple(map(change, GOOD))
    train, val, test, classes = MODEL.prepare(pair, GOOD, None)
    assert (len(train), len(val), test, classes) == (2, 2, None, None)
    assert train.X.dtype == train.y.dtype == torch.int64
    assert (train.X.tolist(), train.y.tolist()) == GOOD
    assert isinstance(train.like, torch.Tensor if kind in ("torch", "uint8") else np.ndarray)
    assert (len(train.like), val.like.dtype) == (0, train.like.dtype)
    assert "float64" in str(train.like.dtype)
    assert len(MODEL.prepare(pair, GOOD, GOOD)[2]) == 2
    assert train.join(val).X.shape == (4, L)


@pytest.mark.parametrize(
    ("X", "y", "words"),
    [
        ([[0, 1, 2, 3], [0, 1, 5, 3]], [0, 1], "questions of .* token 5 at row 1; needed 0 to 4"),
        ([[0, 1, 2, 3], [0, 1, 5, 3], [6] * 4], [0, 1, 2], "token 5 at row 1; .* vocab_size=7"),
        ([[0, 1, 2, -1]], [0], "token -1 at row 0"),
        ([[0, 1, 2, 3]], [9], "responses of train have token 9 at row 0; .* vocab_size=10"),
        ([[0, 1, 2]], [0], "have 3 tokens at row 0; needed 4; try .*length=3"),
        ([[0, 1, 2, 3], [0, 1]], [0, 1], "have 2 tokens at row 1 and 4 at row 0"),
        ([[0, 1, 2, 3], 4], [0, 1], "have 0 tokens at row 1 and 4 at row 0"),
        (np.array(5), [0], r"questions of train have shape \(1,\)"),
        (np.array(5.0), [0], "have 5.0 at row 0"),
        ([[0, 1, 2, 10**30]], [0], "token 10+ at row 0"),
        ([0, 1, 2, 3], [0], r"have shape \(4,\); needed \(n, 4\)"),
        ([], [], "train is empty; needed at least one question"),
        (np.zeros((0, 4), dtype=int), np.zeros(0, dtype=int), "train is empty"),
        ([[0, 1, 2, 3], [0, 1.5, 2, 3]], [0, 1], "have 1.5 at row 1; needed whole numbers"),
        (np.zeros((2, 4)), [0, 1], "questions of train have 0.0 at row 0; needed whole"),
        ([[0, 1, 2, True]], [0], "have True at row 0"),
        ([["a", "b", "c", "d"]], [0], "have 'a' at row 0"),
        ([[0, 1, 2, 3]], [[0, 1]], r"responses of train have shape \(1, 2\); needed \(1,\), one"),
        ([[0, 1, 2, 3]], [[0]], r"shape \(1, 1\).*try y\[:, 0\]"),
        ([[0, 1, 2, 3]], [0, 1], r"shape \(2,\); needed \(1,\)"),
        (7, [0], "questions of train are 7; needed rows of tokens"),
        (np.ma.masked_equal([[0, 1, 2, 3]], 2), [0], "at row 0; needed whole numbers"),
    ],
)  # fmt: skip
def test_bad_data_are_refused_with_the_row(X, y, words):
    is_refused(X, y, words)


def test_tensors_of_fractions_are_refused_with_the_row():
    is_refused(torch.zeros((2, 4)), [0, 1], "at row 0; needed whole numbers")


def is_refused(X, y, words):
    with pytest.raises(ValueError, match=words) as error:
        MODEL.prepare((X, y), GOOD, None)
    assert "; needed " in str(error.value)
    assert "; try " in str(error.value)


@pytest.mark.parametrize("pair", [None, 3, (1, 2, 3), np.zeros((2, 4))])
def test_what_is_no_pair_is_refused_by_name(pair):
    with pytest.raises(ValueError, match=r"val is .*; needed a pair \(X, y\); try val=\(X, y\)"):
        MODEL.prepare(GOOD, pair, None)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"vocab_size": 1, "length": 3}, "vocab_size is 1; needed a whole number >= 2"),
        ({"vocab_size": 2, "length": -1}, "length is -1; needed a whole number >= 1"),
        ({"vocab_size": 4, "length": 0}, "length is 0; needed a whole number >= 1"),
        ({"vocab_size": 4.0, "length": 3}, "vocab_size is 4.0"),
        ({"vocab_size": 4, "length": 3, "training": None}, "training is None; needed a Training"),
    ],
)
def test_sizes_are_checked_at_construction(arguments, words):
    with pytest.raises(ValueError, match=words):
        OneLayerTransformer(**arguments)


def test_the_smallest_model_by_hand():
    """V = 2, L = 1: attention is 1, and the logits are the rows of token and place, added."""
    model = OneLayerTransformer(vocab_size=2, length=1)
    train, *_ = model.prepare(([[0], [1], [1]], [0, 0, 1]), ([[0]], [1]), None)
    R = np.array([[1.0, 0.0], [0.0, 3.0], [0.5, 0.0]])
    theta = {"key_query": np.ones((3, 3)), "readout": R}
    z = (R[:2] + R[2])[[0, 1, 1]]
    expected = np.log(np.exp(z).sum(axis=1)) - z[[0, 1, 2], [0, 0, 1]]
    np.testing.assert_allclose(model.losses(theta, train), expected, rtol=1e-12)


def test_sequences_are_joined_and_taken_by_number_or_mask_and_keep_what_they_have():
    train, val, *_ = MODEL.prepare(GOOD, ([[4, 4, 4, 4]], [2]), None)
    both = train.join(val)
    assert (both.X.tolist(), both.y.tolist()) == ([*GOOD[0], [4] * 4], [0, 4, 2])
    for rows, order in (([2, 1], [2, 1]), ([False, True, True], [1, 2])):
        taken = both.take(torch.tensor(rows))
        assert taken.y.tolist() == [both.y.tolist()[k] for k in order]
        assert taken.X.tolist() == [both.X.tolist()[k] for k in order]
    assert train == train != replace(train)  # by identity: arrays are not compared
    with pytest.raises(FrozenInstanceError, match="cannot assign to field 'X'"):
        train.X = None  # pyright: ignore[reportAttributeAccessIssue]
    assert {MODEL: 1}[replace(MODEL)] == 1 and replace(MODEL, length=3) != MODEL


def test_one_row_of_weights_counts_for_every_start(rng):
    theta, data, w = random_theta(rng, 2), random_data(rng), rng.dirichlet(np.ones(N))
    each = MODEL.weighted_gradient(theta, np.stack([w, w]), data)
    for same in (w, w[None]):
        assert_same(MODEL.weighted_gradient(theta, same, data), each)


def test_three_data_sets_stay_apart():
    single = [([[k] * L], [k]) for k in range(3)]
    for part, k in zip(MODEL.prepare(*single)[:3], range(3), strict=True):
        assert (part.X.tolist(), part.y.tolist()) == ([[k] * L], [k])


def test_training_is_carried():
    assert OneLayerTransformer(4, 3).training == Training()
    assert OneLayerTransformer(4, 3, Training(steps=7)).training.steps == 7
