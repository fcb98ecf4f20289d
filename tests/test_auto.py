"""Auto: its baselines are inside its family, nothing leaks, and it helps on test data."""

from __future__ import annotations

import dataclasses
import math
import warnings

import numpy as np
import pytest
import torch

import bdtheory as bdt
from bdtheory.hypergradient import mean_loss, refit
from bdtheory.methods import Auto, OverfitWarning, auto
from bdtheory.methods.auto import BUDGET, LEAST, MOST, compass
from bdtheory.methods.crossfit import CrossFit, assign_folds, standard_error, tilted_weights
from bdtheory.selection import to_numpy
from bdtheory.weights import drop_negligible

pytestmark = pytest.mark.filterwarnings("ignore::bdtheory.methods.OverfitWarning")


def noisy(seed, kind="ridge", *, N=120, p=6, m=60, bad=0.4, groups=None, mu=1e-2, n_test=2000):
    """A problem with a share `bad` of wrong training targets, and the truth (N,)."""
    rng = np.random.default_rng(seed)
    X, K = rng.standard_normal((N + m + n_test, p)), {"ridge": 0, "binary": 1, "multinomial": 3}
    theta = 2.0 * rng.standard_normal((p, max(K[kind], 1)))
    scores = X @ theta
    wrong = rng.random(N) < bad if groups is None else np.isin(groups, [0, 1])
    if kind == "ridge":
        y = scores[:, 0] + 0.3 * rng.standard_normal(len(X))
        y[:N][wrong] = 4.0 * rng.standard_normal(wrong.sum()) + 2.0
    elif kind == "binary":
        y = np.where(rng.random(len(X)) < 1 / (1 + np.exp(-scores[:, 0])), 1, -1)
        y[:N][wrong] *= -1
    else:
        y = np.argmax(scores + rng.gumbel(size=scores.shape), axis=1)
        y[:N][wrong] = rng.integers(0, 3, wrong.sum())
    model = bdt.Ridge(mu) if kind == "ridge" else bdt.Logistic(mu)
    rows = (slice(N), slice(N, N + m), slice(N + m, None))
    train, val, test = ((X[r], y[r]) for r in rows)
    return bdt.Problem(model, train=train, val=val, test=test, groups=groups), ~wrong


KINDS = ["ridge", "binary", "multinomial"]


# The family ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ratio", [0.0, 0.3, 2.0])
def test_mixing_and_validation_only_are_inside_the_family(kind, ratio):
    problem, _ = noisy(0, kind)
    baseline = bdt.DirectMixing(ratio) if ratio else bdt.ValidationOnly()
    expected = bdt.learn_weights(problem, baseline)
    got = CrossFit(problem, folds=5, seed=0).mix(ratio)
    np.testing.assert_allclose(got.fits[-1].theta, expected.theta, rtol=0, atol=1e-8)
    assert np.linalg.norm(expected.theta) > 0.1


def test_a_high_temperature_is_direct_mixing_also_with_groups_of_different_sizes():
    problem, _ = noisy(1, "binary", groups=np.repeat([0, 1, 2, 3], [10, 20, 30, 60]))
    crossfit = CrossFit(problem, folds=5, seed=0)
    hot = crossfit.weigh(crossfit.mix(0.0), 0.7, 1e9)
    np.testing.assert_allclose(hot.weights[-1], 1 / problem.N, rtol=1e-8)
    expected = bdt.learn_weights(problem, bdt.DirectMixing(0.7)).theta
    np.testing.assert_allclose(hot.fits[-1].theta, expected, rtol=0, atol=1e-8)


@pytest.mark.parametrize("groups", [None, np.repeat([0, 1, 2, 3], [10, 20, 30, 60])])
def test_weights_minimise_the_loss_plus_the_divergence_from_uniform(groups):
    problem, _ = noisy(2, groups=groups)
    theta, tau, rng = np.ones(6), 8.0, np.random.default_rng(0)
    losses = problem.model.losses(theta, problem.train)

    def objective(w):
        return w @ losses + tau * np.sum(w * np.log(w * problem.N))

    w = tilted_weights(problem, theta, tau)
    least = objective(w)
    for _ in range(50):  # other weights of the same kind: equal within a group
        noise = 1e-3 * rng.standard_normal(problem.N if groups is None else 4)
        other = w * np.exp(noise if groups is None else noise[groups])
        assert 0 < objective(other / other.sum()) - least < 1e-4


@pytest.mark.parametrize("kind", KINDS)
def test_the_union_refit_is_the_stated_minimiser(kind):
    problem, _ = noisy(3, kind)
    fit = bdt.learn_weights(problem, Auto(), seed=1)
    ratio, model = fit.crossfit["ratio"], problem.model
    share = np.full(problem.m, 1 / problem.m)
    parts = (
        model.weighted_gradient(fit.theta, share, problem.val),
        ratio * model.weighted_gradient(fit.theta, fit.weights, problem.train),
        model.mu * fit.theta,
    )
    assert np.abs(sum(parts)).max() < 1e-9 < 1e-4 < np.abs(parts[1]).max()
    assert f"L_val + {ratio:.4g} sum_i w_i l_i" in fit.message
    assert fit.val_loss == mean_loss(problem, fit.theta, problem.val)
    assert fit.test_loss == mean_loss(problem, fit.theta, problem.test)


@pytest.mark.parametrize("kind", KINDS)
def test_the_other_refit_is_theta_of_w_and_close_to_the_union(kind):
    problem, _ = noisy(3, kind)
    fit = bdt.learn_weights(problem, Auto(refit="weights"), seed=1)
    np.testing.assert_allclose(fit.theta, refit(problem, fit.weights).theta, rtol=0, atol=1e-8)
    assert "theta is the exact re-fit theta(w)" in fit.message
    union = bdt.learn_weights(problem, Auto(), seed=1)
    far = bdt.learn_weights(problem, bdt.Uniform()).theta - union.theta
    assert np.linalg.norm(fit.theta - union.theta) < 0.25 * np.linalg.norm(far)


def test_the_default_method_is_auto():
    problem, _ = noisy(4)
    one, other = bdt.learn_weights(problem), bdt.learn_weights(problem, bdt.Auto())
    one.history = other.history  # but for the seconds
    assert one == other and one.method == "Auto()"


# Nothing leaks ------------------------------------------------------------------------------------


def test_test_data_change_the_reported_test_loss_only():
    problem, _ = noisy(5, "binary")
    one = bdt.learn_weights(problem, seed=2)
    problem.test.y[:] = np.random.default_rng(0).permutation(problem.test.y)
    other = bdt.learn_weights(problem, seed=2)
    assert one.test_loss != other.test_loss
    one.test_loss = other.test_loss
    one.history, other.history = {}, {}
    assert one == other


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fold", [0, 3])
def test_a_fold_left_out_has_no_part_in_what_is_judged_on_it(kind, fold):
    def stages(scale):
        problem, _ = noisy(6, kind)
        problem.val.X[assign_folds(problem, 5, 0) == fold] *= scale
        crossfit = CrossFit(problem, folds=5, seed=0)
        start = crossfit.mix(0.2)
        return start, crossfit.weigh(start, 1.5, 0.5)

    for one, other in zip(stages(1.0), stages(-3.0), strict=True):
        for k in range(6):
            moved = np.abs(one.fits[k].theta - other.fits[k].theta).max()
            shifted = np.abs(one.weights[k] - other.weights[k]).max()
            assert (moved < 1e-9) == (k == fold), (k, moved)
            assert (shifted < 1e-10) == (k == fold or math.isinf(one.tau))


def test_the_estimate_is_made_of_held_out_losses():
    problem, _ = noisy(7)
    crossfit = CrossFit(problem, folds=4, seed=3)
    candidate = crossfit.mix(0.5)
    for k in range(4):
        rows = crossfit.fold == k
        (X, y), (X_val, y_val) = ((d.X, d.y) for d in (problem.train, problem.val))
        rest = bdt.Problem(problem.model, train=(X, y), val=(X_val[~rows], y_val[~rows]))
        theta = bdt.learn_weights(rest, bdt.DirectMixing(0.5)).theta
        expected = 0.5 * (X_val[rows] @ theta - y_val[rows]) ** 2
        np.testing.assert_allclose(candidate.held_out[rows], expected, rtol=1e-9)
    in_sample = mean_loss(problem, candidate.fits[-1].theta, problem.val)
    assert candidate.loss > 1.01 * in_sample


def test_a_candidate_of_folds_is_read_only():
    crossfit = CrossFit(noisy(7)[0], folds=3, seed=0)
    candidate = crossfit.mix(0.5)
    assert candidate == candidate != dataclasses.replace(candidate)  # by identity
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot assign to field 'ratio'"):
        candidate.ratio = 1.0  # pyright: ignore[reportAttributeAccessIssue]


def test_folds_are_even_and_balanced_by_class():
    problem, _ = noisy(8, "multinomial", m=53)
    fold = assign_folds(problem, 5, 0)
    counts = np.array([np.bincount(fold[problem.val.y == c], minlength=5) for c in range(3)])
    assert np.bincount(fold).tolist() == [11, 11, 11, 10, 10]
    assert (np.ptp(counts, axis=1) <= 1).all() and counts.min() >= 1
    assert (fold != assign_folds(problem, 5, 1)).any()


def test_same_seed_same_result_and_the_seed_draws_the_folds():
    problem, _ = noisy(9, "binary")
    one, again, other = (bdt.learn_weights(problem, seed=s) for s in (4, 4, 5))
    assert one.crossfit == again.crossfit != other.crossfit
    assert np.array_equal(one.weights, again.weights) and one.val_loss == again.val_loss


# It helps -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", [Auto(), Auto(refit="weights")], ids=repr)
@pytest.mark.parametrize(
    "kind, least, most", [("ridge", 0.8, 1.2), ("binary", 0.35, 0.65), ("multinomial", 0.65, 1.05)]
)
def test_it_closes_part_of_the_gap_to_clean_data(kind, least, most, method):
    """(L_alone - L_auto) / (L_alone - L_clean), means of test losses over ten seeds."""
    losses = []
    for seed in range(10):
        problem, clean = noisy(100 + seed, kind, N=400, p=15, m=45, bad=0.3)
        w = np.append(clean, np.ones(problem.m)) / (clean.sum() + problem.m)
        goal = problem.model.fit(w, problem.joined()).theta
        alone = bdt.learn_weights(problem, bdt.ValidationOnly()).test_loss
        auto = bdt.learn_weights(problem, method, seed=seed).test_loss
        losses.append((alone, auto, mean_loss(problem, goal, problem.test)))
    alone, auto, goal = np.mean(losses, axis=0)
    assert least < (alone - auto) / (alone - goal) < most


def test_bad_sources_get_no_mass():
    problem, clean = noisy(11, "binary", N=600, m=100, groups=np.arange(600) % 10)
    fit = bdt.learn_weights(problem)
    assert fit.weights[~clean].sum() < 0.02
    assert np.ptp(fit.weights[np.arange(600) % 10 == 5]) == 0
    assert fit.test_loss < bdt.learn_weights(problem, bdt.ValidationOnly()).test_loss


def test_the_estimate_agrees_with_the_test_loss():
    """In standard errors, over seeds: centred within one, and spread by about one."""
    z = []
    for seed in range(12):
        fit = bdt.learn_weights(noisy(200 + seed, N=300, m=100)[0], seed=seed)
        z.append((fit.crossfit["loss"] - fit.test_loss) / fit.crossfit["standard_error"])
    assert -1.0 < np.mean(z) < 1.0 and 0.4 < np.std(z) < 2.0


# Endings and warnings -----------------------------------------------------------------------------


def caught(problem, method=None):
    """(selection, the overfitting warnings)."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        fit = bdt.learn_weights(problem, method)
    return fit, [w for w in found if issubclass(w.category, OverfitWarning)]


def test_it_warns_once_where_the_validation_loss_misleads():
    """C14: as many features as a third of the validation samples, and labels that are noise."""
    problem, _ = noisy(12, "binary", N=200, p=30, m=90, bad=0.5, mu=1e-4)
    fit, found = caught(problem)
    numbers = fit.crossfit
    assert numbers["loss"] > fit.val_loss + 2 * numbers["standard_error"]
    assert len(found) == 1 and found[0].filename == __file__
    text = str(found[0].message)
    assert f"val_loss is {fit.val_loss:.4g}" in text and f"{numbers['loss']:.4g} +-" in text
    assert "try more validation data" in text


def test_it_warns_where_the_training_data_do_not_help():
    for seed in range(13, 18):
        problem, _ = noisy(seed, N=60, p=2, m=400, bad=1.0)
        fit, found = caught(problem)
        assert 0.99 < fit.crossfit["loss"] / fit.crossfit["validation_only"] <= 1
        assert len(found) == 1 and "training data did not help" in str(found[0].message)
    problem, _ = noisy(16, N=60, p=2, m=400, bad=1.0)  # here not even by chance
    fit, _ = caught(problem)
    assert fit.crossfit["ratio"] == 0 and fit.crossfit["tau"] == math.inf
    alone = bdt.learn_weights(problem, bdt.ValidationOnly()).theta
    np.testing.assert_allclose(fit.theta, alone, rtol=0, atol=1e-8)


def test_it_is_silent_where_training_data_help_and_validation_data_are_many():
    fit, found = caught(noisy(14, N=800, p=10, m=100, mu=1e-3)[0])
    assert not found
    assert fit.crossfit["loss"] < 0.97 * fit.crossfit["validation_only"]
    assert abs(fit.crossfit["loss"] - fit.val_loss) < 2 * fit.crossfit["standard_error"]


def test_a_callback_sees_every_candidate_and_stops():
    problem, _ = noisy(15)
    seen = []
    fit = bdt.learn_weights(problem, callback=lambda i, w: seen.append((i, w.sum())))
    assert [i for i, _ in seen] == list(range(len(fit.history["crossfit"])))
    assert len(seen) <= BUDGET and np.allclose([s for _, s in seen], 1)
    assert fit.status is bdt.Status.STATIONARY
    assert fit.crossfit["loss"] == fit.history["crossfit"].min()
    for last in (0, 3):
        short = bdt.learn_weights(problem, callback=lambda i, w, last=last: i == last)
        assert short.status is bdt.Status.MAX_ITERATIONS and "asked to stop" in short.message
        history = short.history
        assert [len(a) for a in history.values()] == [last + 1] * 4
        np.testing.assert_array_equal(history["crossfit"], fit.history["crossfit"][: last + 1])
        assert short.crossfit["loss"] == history["crossfit"].min()


def test_the_search_ends_at_its_budget():
    asked = set()

    def loss(place):
        asked.add(place)
        return abs(place[0] + 7.0) + abs(place[1] + 7.0)

    compass(loss, (-1.0, 2.0), lambda: len(asked) >= 4)
    assert len(asked) == 4


def test_ratio_and_temperature_are_in_the_stated_units():
    """Half decades of N / m; half octaves of the best mixing ratio's cross-fitted loss."""
    fit = bdt.learn_weights(noisy(25, N=300, m=50)[0])
    unit = fit.history["crossfit"][:8].min()  # 0 and seven ratios come first
    octaves, decades = np.log2(fit.crossfit["tau"] / unit), np.log10(fit.crossfit["ratio"] / 6)
    assert abs(2 * octaves - round(2 * octaves)) < 1e-9 and 0 < 2 * octaves < 18
    assert abs(4 * decades - round(4 * decades)) < 1e-9 and decades <= 1 + 1e-12


def test_the_search_ends_where_half_a_step_is_no_better():
    seen = set()

    def loss(place):
        seen.add(place)
        return (place[0] + 3.5) ** 2 + (place[1] - 0.5) ** 2

    assert compass(loss, (-1.0, 2.0), lambda: False) == (-3.5, 0.5)
    assert {(-3.0, 0.5), (-4.0, 0.5), (-3.5, 0.0), (-3.5, 1.0)} <= seen


def test_the_search_stays_inside_and_reaches_corners():
    for corner in (LEAST, MOST, (LEAST[0], MOST[1])):
        target = np.array(corner) * 2
        got = compass(lambda z, t=target: float(np.sum((z - t) ** 2)), (-1.0, 2.0), lambda: False)
        assert got == corner


def test_a_fold_without_a_minimiser_is_passed_over_and_nothing_else_diverges():
    """At mu = 0 separable validation data have no minimiser; with training data there is one."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((200, 3))
    y = np.where(X[:, 0] > 0, 1, -1)
    y[:50] *= -1
    problem = bdt.Problem(bdt.Logistic(0.0), train=(X[:180], y[:180]), val=(X[180:], y[180:]))
    assert bdt.learn_weights(problem, bdt.ValidationOnly()).status is bdt.Status.DIVERGED
    fit = bdt.learn_weights(problem)
    assert fit.status is bdt.Status.STATIONARY and fit.crossfit["ratio"] > 0
    assert fit.crossfit["validation_only"] == math.inf and math.isfinite(fit.crossfit["loss"])
    separable = bdt.Problem(bdt.Logistic(0.0), train=(X[50:180], y[50:180]), val=(X[180:], y[180:]))
    assert bdt.learn_weights(separable).status is bdt.Status.DIVERGED


@pytest.mark.parametrize("how", ["union", "weights"])
def test_ridge_without_mu(how):
    problem, _ = noisy(16, mu=0.0, N=200)
    fit = bdt.learn_weights(problem, Auto(refit=how))
    assert fit.status is bdt.Status.STATIONARY
    assert fit.test_loss < bdt.learn_weights(problem, bdt.Uniform()).test_loss


# Bad input, array kinds, files --------------------------------------------------------------------


@pytest.mark.parametrize("m, folds, advice", [(4, 5, "folds=4"), (1, 2, "more validation data")])
def test_fewer_validation_samples_than_folds(m, folds, advice):
    problem, _ = noisy(17, m=m)
    with pytest.raises(ValueError, match=f"got {m} validation samples.*needed.*try {advice}"):
        bdt.learn_weights(problem, Auto(folds=folds))


def test_as_many_folds_as_validation_samples_leave_one_out():
    problem, _ = noisy(18, m=12)
    fit = bdt.learn_weights(problem, Auto(folds=12))
    assert fit.status is bdt.Status.STATIONARY and fit.crossfit["standard_error"] > 0


@pytest.mark.parametrize("folds", [1, 0, 2.5, True, "5"])
def test_folds_that_are_no_number_of_folds(folds):
    with pytest.raises(ValueError, match=r"folds is .*needed a whole number >= 2; try folds=5"):
        Auto(folds=folds)


def test_a_refit_of_another_name():
    with pytest.raises(ValueError, match="refit is 'both'; needed one of 'union', 'weights'"):
        Auto(refit="both")


@pytest.mark.parametrize("kind", ["binary", "multinomial"])
def test_validation_data_of_one_class_are_allowed(kind):
    """theta has its shape from the training classes; with mu > 0 every fit exists."""
    problem, _ = noisy(19, kind)
    X, y = problem.val.X[problem.val.y == 1], np.full(int((problem.val.y == 1).sum()), 1)
    names = np.asarray(problem.classes)
    labels = names[(problem.train.y > 0).astype(int) if kind == "binary" else problem.train.y]
    one = bdt.Problem(problem.model, train=(problem.train.X, labels), val=(X, y))
    fit = bdt.learn_weights(one)
    assert fit.status is bdt.Status.STATIONARY and fit.theta.shape[1:] == (3,) * (kind[0] == "m")
    assert abs(fit.weights.sum() - 1) < 1e-12


def test_a_class_seen_once_is_missing_where_its_fold_is_left_out():
    problem, _ = noisy(20, "multinomial", m=40)
    problem.val.y[:] = np.where(np.arange(40) == 7, 2, np.arange(40) % 2)
    fit = bdt.learn_weights(problem)
    assert fit.status is bdt.Status.STATIONARY and math.isfinite(fit.crossfit["loss"])


def test_an_empty_training_set_is_refused_by_the_problem():
    empty = (np.empty((0, 2)), np.empty(0))
    with pytest.raises(ValueError, match="train"):
        bdt.learn_weights(bdt.Problem(bdt.Ridge(0.1), train=empty, val=(np.eye(2), np.ones(2))))


def test_a_trained_model_is_told_what_to_pass():
    pairs = ([[0], [1], [2]], [[1], [2], [0]])
    problem = bdt.Problem(bdt.TransformerLM(3), train=pairs, val=pairs)
    with pytest.raises(ValueError, match=r"Auto needs an exact re-fit.*try Penalty\(\) or BMO\(\)"):
        bdt.learn_weights(problem)


@pytest.mark.parametrize("how", ["union", "weights"])
@pytest.mark.parametrize("kind", KINDS)
def test_torch_in_torch_out(kind, how):
    problem, _ = noisy(21, kind, groups=np.arange(120) % 12)
    names = problem.classes

    def tensors(data):
        code = data.y if names is None else (data.y > 0 if kind == "binary" else data.y)
        y = code if names is None else np.asarray(names)[code.astype(int)]
        return torch.tensor(data.X), torch.tensor(y)

    sets = [tensors(d) for d in (problem.train, problem.val)]
    other = bdt.Problem(problem.model, *sets, groups=np.arange(120) % 12)
    expected = bdt.learn_weights(problem, Auto(refit=how), seed=3)
    fit = bdt.learn_weights(other, Auto(refit=how), seed=3)
    assert isinstance(fit.weights, torch.Tensor) and isinstance(fit.theta, torch.Tensor)
    assert fit.weights.dtype == torch.float64
    np.testing.assert_allclose(to_numpy(fit.weights), expected.weights, atol=1e-6)
    assert abs(fit.crossfit["loss"] - expected.crossfit["loss"]) < 1e-6


def test_float32_stays_float32():
    problem, _ = noisy(22)
    sets = [(d.X.astype(np.float32), d.y.astype(np.float32)) for d in (problem.train, problem.val)]
    fit = bdt.learn_weights(bdt.Problem(problem.model, *sets))
    assert fit.weights.dtype == fit.theta.dtype == np.float32
    assert abs(fit.val_loss / bdt.learn_weights(problem).val_loss - 1) < 1e-2


@pytest.mark.parametrize("how", ["union", "weights"])
def test_saved_and_loaded(tmp_path, how):
    fit = bdt.learn_weights(noisy(23)[0], Auto(refit=how))
    loaded = bdt.Selection.load(fit.save(tmp_path / "run"))
    assert loaded == fit and loaded.crossfit == fit.crossfit
    assert set(loaded.crossfit) == {"loss", "standard_error", "validation_only", "ratio", "tau"}


def test_weights_are_sparse_by_the_packages_own_floor():
    fit = bdt.learn_weights(noisy(24, N=300)[0])
    np.testing.assert_allclose(fit.weights, drop_negligible(fit.weights), rtol=1e-15, atol=0)
    assert (fit.weights >= 0).all() and abs(fit.weights.sum() - 1) < 1e-12


def test_standard_error_on_known_numbers():
    assert standard_error(np.array([1.0, 3.0])) == pytest.approx(1.0)
    assert math.isnan(standard_error(np.array([1.0, np.inf])))


@pytest.mark.parametrize("last", [False, True])
def test_one_fit_without_a_minimiser_is_enough_to_pass_a_candidate_over(last, monkeypatch):
    problem, _ = noisy(26)
    crossfit = CrossFit(problem, folds=5, seed=0)
    fit, bad = crossfit._fit, 5 if last else 2

    def broken(k, ratio, w):
        found = fit(k, ratio, w)
        return bdt.models.fit.Fit(found.theta, None, 0.0, 0.0, converged=k != bad)

    monkeypatch.setattr(crossfit, "_fit", broken)
    assert np.isinf(crossfit.mix(0.5).held_out).all()


def test_the_search_takes_diagonals():
    """A narrow valley along ratio up, temperature down: each axis alone leads uphill."""
    valley = lambda z: 10 * abs(z[0] + z[1] - 1) + abs(z[0] + 4)  # noqa: E731
    assert compass(valley, (-1.0, 2.0), lambda: False) == (-4.0, 5.0)
    back = lambda z: 10 * abs(z[0] + z[1] - 1) + abs(z[0])  # noqa: E731
    assert compass(back, (-1.0, 2.0), lambda: False) == (0.0, 1.0)


def test_the_first_stage_mixes_at_half_decades_below_pooling():
    problem, _ = noisy(27, N=300, m=50)
    fit, crossfit = bdt.learn_weights(problem), CrossFit(problem, 5, 0)
    ratios = [0.0, *(6.0 * 10 ** (a / 2) for a in (-6, -5, -4, -3, -2, -1, 0))]
    expected = [crossfit.mix(r).loss for r in ratios]
    np.testing.assert_allclose(fit.history["crossfit"][:8], expected, rtol=1e-9)


def test_without_any_difference_validation_only_wins():
    """Training rows of zeros change no fit: every candidate ties."""
    plain, _ = noisy(28)
    X = np.zeros_like(plain.train.X)
    problem = bdt.Problem(plain.model, (X, plain.train.y), (plain.val.X, plain.val.y))
    fit = bdt.learn_weights(problem)
    assert np.ptp(fit.history["crossfit"]) < 1e-12 * fit.crossfit["loss"]
    assert fit.crossfit["ratio"] == 0.0 and fit.crossfit["tau"] == math.inf


def test_a_loss_of_zero_ends_the_search():
    X = np.random.default_rng(0).standard_normal((20, 3))
    problem = bdt.Problem(bdt.Ridge(0.1), (X, np.zeros(20)), (X, np.zeros(20)))
    fit = bdt.learn_weights(problem)
    assert fit.crossfit["loss"] == 0.0 and len(fit.history["crossfit"]) == 8


def test_a_spent_budget_is_said(monkeypatch):
    monkeypatch.setattr(auto, "BUDGET", 10)
    fit = bdt.learn_weights(noisy(15)[0])
    assert fit.status is bdt.Status.MAX_ITERATIONS and "10 candidates were judged" in fit.message
    assert len(fit.history["crossfit"]) == 10


def test_the_other_refit_is_judged_by_its_own_held_out_losses():
    problem, _ = noisy(3)
    fit = bdt.learn_weights(problem, Auto(refit="weights"), seed=1)
    least = fit.history["crossfit"].min()  # of the union
    assert fit.crossfit["loss"] != pytest.approx(least, rel=1e-4)
    union = bdt.learn_weights(problem, Auto(), seed=1).crossfit
    assert union["loss"] == least
    assert fit.crossfit["standard_error"] != pytest.approx(union["standard_error"], rel=1e-4)


def test_weights_that_no_refit_can_use_give_way_to_others():
    """Blobs far apart: the inverse problem's weights keep one row, whose re-fit is far from it."""
    rng = np.random.default_rng(0)

    def blobs(n):
        y = np.arange(n) % 2
        return rng.normal(size=(n, 2)) + 10.0 * y[:, None], y

    problem = bdt.Problem(
        bdt.Logistic(1e-2, fit_intercept=True), train=blobs(60), val=blobs(20), test=blobs(400)
    )
    uniform = bdt.learn_weights(problem, bdt.Uniform())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OverfitWarning)
        fit = bdt.learn_weights(problem, Auto(refit="weights"))
        search = auto.Search(auto.CrossFit(problem, 5, 0), None)
        search.run()
    w = auto._weights_for(problem, search.best.fits[-1].theta, otherwise=None)
    inverse = mean_loss(problem, refit(problem, w).theta, problem.val)
    assert inverse > 10.0 * uniform.val_loss  # the fault is there
    assert fit.val_loss <= uniform.val_loss * (1 + 1e-9)
    np.testing.assert_allclose(fit.theta, refit(problem, fit.weights).theta, rtol=0, atol=1e-8)


@pytest.mark.parametrize("excess, warned", [(1.9, False), (2.1, True)])
def test_two_standard_errors_are_the_threshold(excess, warned):
    held_out = np.array([1.0, 3.0, 1.0, 3.0])
    error = standard_error(held_out)
    numbers = {"loss": 2.0, "standard_error": error}
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        auto._warn(2.0 - excess * error, numbers, held_out, held_out + np.array([5, 6, 5, 6.0]))
    assert len(found) == warned
