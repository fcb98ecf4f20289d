"""`Given`: weights from elsewhere are judged exactly as learned ones are."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import bdtheory as bdt
from bdtheory.methods import Given
from bdtheory.selection import as_text
from bdtheory.weights import auc, top_scores

torch = pytest.importorskip("torch")


def noisy(seed=0, N=60, p=3, m=20):
    """Ridge data of which the first third has targets of the wrong sign: (problem, clean)."""
    rng = np.random.default_rng(seed)
    X, X_val = rng.standard_normal((N, p)), rng.standard_normal((m, p))
    clean = np.arange(N) >= N // 3
    y = X @ np.ones(p) * np.where(clean, 1, -1) + 0.1 * rng.standard_normal(N)
    data = {"train": (X, y), "val": (X_val, X_val @ np.ones(p)), "test": (X_val, X_val.sum(1))}
    return bdt.Problem(bdt.Ridge(1e-2), **data), clean


def normal_equations(problem, w, lam=None):
    """argmin of F_w + (mu/2) |theta|^2, or of L_val + lam F_w + (mu/2) |theta|^2."""
    X, y, V, v = problem.train.X, problem.train.y, problem.val.X, problem.val.y
    H, b = (X.T * w) @ X, (X.T * w) @ y
    if lam is not None:
        H, b = lam * H + V.T @ V / len(V), lam * b + V.T @ v / len(V)
    return np.linalg.solve(H + problem.model.mu * np.eye(X.shape[1]), b)


@pytest.mark.parametrize("lam", [None, 0.0, 0.3, 1.0])
def test_theta_is_that_of_the_normal_equations(lam):
    problem, _ = noisy()
    w = np.random.default_rng(1).random(problem.N)
    fit = bdt.learn_weights(problem, Given(w, ratio=lam))
    expected = normal_equations(problem, w / w.sum(), lam)
    np.testing.assert_allclose(fit.theta, expected, rtol=1e-9)
    np.testing.assert_allclose(fit.weights, w / w.sum(), rtol=1e-12)
    loss = 0.5 * np.mean((problem.val.X @ expected - problem.val.y) ** 2)
    assert fit.val_loss == pytest.approx(loss, rel=1e-9)
    assert fit.history["val_loss"].tolist() == pytest.approx([loss], rel=1e-9)
    if lam:  # the ratio matters
        other = bdt.learn_weights(problem, Given(w, ratio=2 * lam))
        assert abs(other.val_loss / loss - 1) > 1e-3


def test_uniform_weights_are_the_baselines_and_learned_ones_the_learned():
    problem, _ = noisy()
    ones = np.ones(problem.N)
    for ratio, method in ((None, bdt.Uniform()), (0.3, bdt.DirectMixing(0.3))):
        fit, same = (bdt.learn_weights(problem, m) for m in (Given(ones, ratio=ratio), method))
        np.testing.assert_allclose(fit.theta, same.theta, rtol=1e-12)
        assert (fit.val_loss, fit.test_loss) == pytest.approx((same.val_loss, same.test_loss))
    learned = bdt.learn_weights(problem, bdt.Implicit())
    fit = bdt.learn_weights(problem, Given(learned.weights))
    assert fit.val_loss == pytest.approx(learned.val_loss, rel=1e-9)
    assert fit.status is learned.status is bdt.Status.CERTIFIED
    uniform = bdt.learn_weights(problem, bdt.Uniform())
    assert uniform.val_loss > 2 * fit.val_loss  # otherwise the above would say little


def test_scores_that_are_the_truth_have_an_auc_of_1_and_their_opposite_of_0():
    problem, clean = noisy()
    share = float(np.mean(clean))
    for low, area in ((False, 1.0), (True, 0.0)):
        w = top_scores(clean.astype(float), share if not low else 1 - share, low=low)
        fit = bdt.learn_weights(problem, Given(w, "truth"))
        assert auc(fit.weights, clean) == area
        assert fit.weights.mean() == pytest.approx(1 / problem.N, rel=1e-12)
        expected = normal_equations(problem, (clean != low) / np.sum(clean != low))
        np.testing.assert_allclose(fit.theta, expected, rtol=1e-9)
    good = bdt.learn_weights(problem, Given(clean)).test_loss
    bad = bdt.learn_weights(problem, Given(~clean)).test_loss
    assert 100 * good < bad


@pytest.mark.parametrize("scores", [["high", "low"], [0.5, "low"], [0.5, None]])
def test_scores_of_objects_are_refused_unless_all_are_numbers(scores):
    """As pandas hands over a column of mixed entries; None is NaN to NumPy."""
    with pytest.raises(ValueError, match=r"^scores (are not numbers|have nan at row 1) "):
        top_scores(np.array(scores, dtype=object), 1)
    np.testing.assert_array_equal(top_scores(np.array([0.5, 2**70], dtype=object), 1), [0, 1])


def test_the_text_is_short_and_the_numbers_stay_out():
    w = np.arange(1.0, 1001.0)
    assert as_text(Given(w, "perplexity")) == str(Given(w, "perplexity")) == "Given('perplexity')"
    assert as_text(Given(w, "a b", ratio=1.0)) == "Given('a b', ratio=1.0)"
    assert as_text(Given(w)) == "Given()"
    assert len(repr(Given(w, "perplexity"))) < 80
    problem, clean = noisy()
    assert bdt.learn_weights(problem, Given(clean, "x")).method == "Given('x')"


def test_the_weights_are_a_copy_of_sum_1():
    w = np.array([1.0, 3.0])
    given = Given(w)
    w[0] = 9.0
    assert given.weights.tolist() == [0.25, 0.75] and not given.weights.flags.writeable
    assert Given([1e308, 1e308]).weights.tolist() == [0.5, 0.5]
    assert Given([5e-324, 0.0]).weights.tolist() == [1.0, 0.0]
    assert Given(torch.tensor([1.0, 1.0], requires_grad=True)).weights.tolist() == [0.5, 0.5]


def test_tensors_and_groups():
    problem, clean = noisy()
    X, y, V, v = (getattr(part, k) for part in (problem.train, problem.val) for k in "Xy")
    tensors = bdt.Problem(
        problem.model,
        train=(torch.tensor(X), torch.tensor(y)),
        val=(torch.tensor(V), torch.tensor(v)),
        groups=np.arange(len(X)) % 7,
    )
    for ratio in (None, 1.0):
        expected = bdt.learn_weights(problem, Given(clean, ratio=ratio))
        fit = bdt.learn_weights(tensors, Given(torch.tensor(clean), ratio=ratio))
        assert isinstance(fit.weights, torch.Tensor) and isinstance(fit.theta, torch.Tensor)
        np.testing.assert_allclose(fit.theta.numpy(), expected.theta, rtol=1e-9)
        np.testing.assert_allclose(fit.weights.numpy(), expected.weights, rtol=1e-12)


BAD = {
    "negative": (lambda: Given([1.0, -1.0]), "weight -1.0 in row 1"),
    "nan": (lambda: Given([1.0, 2.0, float("nan")]), "weight nan in row 2"),
    "zero": (lambda: Given(np.zeros(3)), "all 0"),
    "two axes": (lambda: Given(np.ones((3, 1))), r"shape \(3, 1\)"),
    "none": (lambda: Given([]), r"shape \(0,\)"),
    "text": (lambda: Given(["a"]), "weight 'a' in row 0"),
    "masked": (lambda: Given(np.ma.masked_equal([1.0, 2.0], 2.0)), "weights have masked entries"),
    "ratio": (lambda: Given([1.0], ratio=-1.0), "ratio is -1.0"),
    "eps": (lambda: Given([1.0], eps=0.0), "eps is 0.0"),
    "name": (lambda: Given([1.0], 5), "name is 5"),
    "length": (lambda: bdt.learn_weights(noisy()[0], Given([1.0, 2.0])), "2 weights; needed .*60"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_weight_is_refused(case):
    make, needle = BAD[case]
    with pytest.raises(ValueError, match=needle) as error:
        make()
    assert "; needed" in str(error.value) and "; try" in str(error.value)


# Where the model is trained


def sequences(rows, answer):
    return [[int(k)] for k in rows], [[int(a), 16] for a in answer]


def trained(rows, weights=None, ratio=1.0, method=None):
    """The run on these rows of a small language task; every batch is all rows."""
    answers = np.where(np.arange(8) % 2 == 0, 8 + np.arange(8), 15)
    training = bdt.Training(steps=6, batch_size=len(rows), val_batch_size=4, evaluations=3)
    shape = {"vocab_size": 17, "context": 4, "layers": 1, "width": 16, "dtype": "float64"}
    problem = bdt.Problem(
        bdt.TransformerLM(**shape, training=training),
        train=sequences(rows, answers[rows]),
        val=sequences([0, 2, 4, 6], [8, 10, 12, 14]),
    )
    return bdt.learn_weights(problem, method or Given(weights, ratio=ratio), seed=1)


def test_given_weights_of_0_are_rows_that_are_not_there():
    rows = np.arange(8)
    kept = trained(rows, top_scores(rows % 2, 0.5, low=True))
    alone = trained(rows[::2], np.ones(4))
    every = trained(rows, np.ones(8))
    assert kept.val_loss == pytest.approx(alone.val_loss, rel=1e-9)
    assert abs(every.val_loss / alone.val_loss - 1) > 1e-4
    assert kept.weights.tolist() == [0.25, 0] * 4


def test_ratio_is_that_of_direct_mixing_and_none_is_uniform():
    rows, runs = np.arange(8), []
    for ratio, method in ((0.5, bdt.DirectMixing(0.5)), (None, bdt.Uniform())):
        fit, same = trained(rows, np.ones(8), ratio), trained(rows, method=method)
        assert fit.history["val_loss"].tolist() == pytest.approx(same.history["val_loss"].tolist())
        runs.append(fit.val_loss)
    assert abs(runs[0] / runs[1] - 1) > 1e-3


def test_a_checkpoint_of_other_weights_is_refused(tmp_path):
    training = bdt.Training(steps=2, batch_size=2, val_batch_size=2, evaluations=1)
    shape = {"vocab_size": 17, "context": 4, "layers": 1, "width": 16, "dtype": "float64"}
    data = sequences([0, 1], [8, 9])
    problem = bdt.Problem(bdt.TransformerLM(**shape, training=training), train=data, val=data)
    first = bdt.learn_weights(problem, Given([1.0, 1.0], "x"), checkpoint=tmp_path / "c")
    again = bdt.learn_weights(problem, Given([2.0, 2.0], "x"), checkpoint=tmp_path / "c")
    assert again.val_loss == first.val_loss
    with pytest.raises(ValueError, match="of another weights"):
        bdt.learn_weights(problem, Given([1.0, 2.0], "x"), checkpoint=tmp_path / "c")


def test_refine_begins_with_the_given_weights():
    training = bdt.Training(steps=4, batch_size=2, val_batch_size=2, evaluations=2)
    shape = {"vocab_size": 17, "context": 8, "layers": 1, "width": 16, "dtype": "float64"}
    data = sequences([0, 1], [8, 9])
    problem = bdt.Problem(bdt.TransformerLM(**shape, training=training), train=data, val=data)
    generation = bdt.Generation(share=0.5, responses=1, max_new=2)
    found = bdt.refine(problem, Given([3.0, 1.0], "x", 1.0), rounds=1, generation=generation)
    assert found.offline.weights.tolist() == [0.75, 0.25]
    # The row of lower weight was asked again; the share of what is offline stays as it was given.
    offline = found.selection.weights[:2]
    assert offline[0] / offline[1] == pytest.approx(3.0) and len(found.selection.weights) == 3
    assert found.selection.method == "Given('x', ratio=1.0)"


def test_a_default_certificate_is_tight_and_settings_stay():
    """Clean samples alike are not optimal: an eps near 1 would certify them all the same."""
    problem, clean = noisy()
    fit = bdt.learn_weights(problem, Given(clean))
    assert fit.status is bdt.Status.STATIONARY
    assert 1e-5 < fit.val_loss - bdt.learn_weights(problem, bdt.Implicit()).val_loss < 1e-2
    given = Given([1.0, 1.0])
    assert given == given != Given([1.0, 1.0])  # by identity: N numbers are not compared
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot assign to field 'ratio'"):
        given.ratio = 1.0  # pyright: ignore[reportAttributeAccessIssue]
