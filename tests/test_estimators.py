"""BilevelSelector: scikit-learn's own checks, and what its weights and its final model are."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, replace

import numpy as np
import pytest

import bdtheory as bdt
from bdtheory.methods import OverfitWarning
from bdtheory.tasks import label_noise, noisy_regression
from bdtheory.weights import auc

pytest.importorskip("sklearn", reason='needs pip install "bdtheory[sklearn]"')

import sklearn
from sklearn.base import BaseEstimator, ClassifierMixin, clone, is_classifier, is_regressor
from sklearn.cluster import KMeans
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning, NotFittedError, UnsetMetadataPassedError
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.utils.estimator_checks import parametrize_with_checks

from bdtheory.estimators import BilevelSelector

quiet = pytest.mark.filterwarnings("ignore::bdtheory.methods.OverfitWarning")
SEEN: list[tuple[int, int]] = []  # (N, m) of the problems that a `Given` ran on


@dataclass(frozen=True)
class Given:
    """Weights in proportion to these numbers, or equal ones."""

    shares: tuple = ()

    def run(self, problem, seed, callback):
        SEEN.append((problem.N, problem.m))
        uniform = bdt.Uniform().run(problem, seed, callback)
        w = np.array(self.shares or np.ones(problem.N), dtype=float)
        return replace(uniform, weights=w / w.sum())


@pytest.fixture
def routing():
    """Metadata routing on, for one test."""
    with sklearn.config_context(enable_metadata_routing=True):
        yield


def noisy(seed: int = 0, **settings):
    """Rows with flipped labels, trusted rows, test rows, and which labels are right."""
    task = label_noise(seed, **{"N": 500, "p": 10, "m": 100, "n_test": 3000} | settings)
    return *task.train, *task.val, *task.test, task.clean


def small(n: int = 40, p: int = 3, m: int = 12, seed: int = 0):
    """Rows with clean labels 0 and 1, two of them wrong, and trusted rows."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n + m, p))
    y = (X[:, 0] + 0.3 * rng.normal(size=n + m) > 0).astype(int)
    y[:2] = 1 - y[:2]
    return X[:n], y[:n], X[n:], y[n:]


# scikit-learn's checks ---------------------------------------------------------------------------


# Their data are small or mere noise: that the training data do not help is then true, and said.
# No check is expected to fail; the one for array API inputs skips itself unless that is turned on.
@quiet
@parametrize_with_checks(
    [
        BilevelSelector(LogisticRegression(C=10.0)),
        BilevelSelector(Ridge()),
        BilevelSelector(make_pipeline(StandardScaler(), LinearRegression())),
    ]
)
def test_checks_of_scikit_learn(estimator, check):
    check(estimator)


def test_it_is_what_its_estimator_is():
    for final, kind in (
        (None, is_classifier),
        (LinearSVC(), is_classifier),
        (Ridge(), is_regressor),
    ):
        selector = BilevelSelector(final)
        assert kind(selector) and is_classifier(selector) != is_regressor(selector)
    tags = BilevelSelector(RandomForestClassifier()).__sklearn_tags__()
    assert not tags.classifier_tags.multi_label and not tags.input_tags.allow_nan
    assert hasattr(BilevelSelector(), "predict_proba")
    assert not hasattr(BilevelSelector(LinearSVC()), "predict_proba")
    assert not hasattr(BilevelSelector(Ridge()), "decision_function")


# The weights -------------------------------------------------------------------------------------


@quiet
@pytest.mark.parametrize("method", [None, bdt.Auto(), bdt.Implicit(), bdt.Penalty()])
def test_weights_of_a_classifier_are_those_of_learn_weights(method):
    X, y, X_val, y_val, *_ = noisy(N=120, p=4, m=30)
    selector = BilevelSelector(LinearSVC(), method, mu=0.05, random_state=3).fit(X, y, X_val, y_val)
    model = bdt.Logistic(0.05, fit_intercept=True)
    seed = int(np.random.RandomState(3).randint(np.iinfo(np.int32).max))
    problem = bdt.Problem(model, train=(X, y), val=(X_val, y_val))
    direct = bdt.learn_weights(problem, method or bdt.Auto(refit="weights"), seed=seed)
    np.testing.assert_array_equal(selector.weights_, direct.weights)
    assert np.ptp(selector.weights_) > 1e-3 / len(X)
    assert selector.selection_.val_loss == direct.val_loss
    assert selector.validation_indices_ is None
    np.testing.assert_array_equal(selector.support_, direct.weights >= 1 / len(X))
    np.testing.assert_array_equal(
        selector.get_support(indices=True), np.nonzero(selector.support_)[0]
    )


@quiet
def test_weights_of_a_regressor_are_those_of_learn_weights():
    task = noisy_regression(N=100, p=4, m=30, n_test=0)
    (X, y), (X_val, y_val) = task.train, task.val
    selector = BilevelSelector(Ridge(), bdt.Implicit(), mu=0.05).fit(X, y, X_val, y_val)
    model = bdt.Ridge(0.05, fit_intercept=True)
    direct = bdt.learn_weights(bdt.Problem(model, (X, y), (X_val, y_val)), bdt.Implicit())
    np.testing.assert_allclose(selector.weights_, direct.weights, atol=1e-9)  # seeds differ
    assert auc(selector.weights_, task.clean) > 0.85


@pytest.mark.parametrize("final", [LogisticRegression(), Ridge()])
def test_rows_held_out_are_those_of_train_test_split_and_not_trained_on(final):
    X, y, *_ = small(n=45)
    selector = BilevelSelector(final, bdt.Uniform(), validation_fraction=0.3, random_state=5)
    selector.fit(X, y)
    strata = y if is_classifier(final) else None
    rows = np.arange(len(X))
    train, held_out = train_test_split(rows, test_size=0.3, stratify=strata, random_state=5)
    np.testing.assert_array_equal(selector.validation_indices_, np.sort(held_out))
    assert (selector.weights_[held_out] == 0).all() and not selector.support_[held_out].any()
    np.testing.assert_allclose(selector.weights_[train], 1 / len(train), rtol=1e-12)
    by_hand = clone(final).fit(X[np.sort(train)], y[np.sort(train)])
    np.testing.assert_allclose(selector.estimator_.coef_, by_hand.coef_, atol=1e-5)
    assert abs(by_hand.coef_ - clone(final).fit(X, y).coef_).max() > 1e-3  # they would show


@pytest.mark.parametrize("n", [32, 49])  # 49 (1 / 49) is rounded below 1
def test_equal_weights_are_at_their_mean(n):
    X, y, X_val, y_val = small(n=n)
    assert BilevelSelector(None, Given()).fit(X, y, X_val, y_val).support_.all()
    shares = (0.999, 1.001) + (1.0,) * (n - 2)
    support = BilevelSelector(None, Given(shares)).fit(X, y, X_val, y_val).support_
    assert not support[0] and support[1:].all()


def test_a_class_of_one_row_is_not_held_out():
    X, y, *_ = small(n=30)
    y = y.astype(object)
    y[:] = np.where(y == 1, "yes", "no")
    y[7] = "rare"
    selector = BilevelSelector(None, bdt.Uniform(), random_state=0).fit(X, y)
    assert 7 not in selector.validation_indices_ and len(selector.validation_indices_) == 6
    assert selector.classes_.tolist() == ["no", "rare", "yes"]


def test_the_default_estimator_is_the_model_that_weights_are_learned_for():
    X, y, X_val, y_val, *_ = noisy(N=120, p=4, m=30)
    for mu in (0.02, 0.5):
        selector = BilevelSelector(None, bdt.Implicit(tau=0.05), mu=mu).fit(X, y, X_val, y_val)
        final, theta = selector.estimator_, selector.selection_.theta  # the exact re-fit theta(w)
        assert final.C == pytest.approx(1 / (len(X) * mu))
        found = np.append(final.coef_[0], final.intercept_)
        np.testing.assert_allclose(found, theta, atol=2e-3 * abs(theta).max())  # its tol is 1e-4


# What they are good for --------------------------------------------------------------------------


@quiet
@pytest.mark.parametrize("kind", ["flip", "systematic"])
def test_trusted_data_find_the_wrong_labels_and_better_models(kind):
    gains, aucs = {"linear": [], "forest": []}, []
    for seed in range(4):
        X, y, X_val, y_val, X_test, y_test, clean = noisy(seed, kind=kind, m=200)
        forest = RandomForestClassifier(40, min_samples_leaf=5, random_state=0)
        for name, final in (("linear", LogisticRegression(C=0.2)), ("forest", forest)):
            selector = BilevelSelector(final, random_state=0).fit(X, y, X_val, y_val)
            plain = clone(final).fit(X, y).score(X_test, y_test)
            gains[name].append(selector.score(X_test, y_test) - plain)
        aucs.append(auc(selector.weights_, clean))
    # A systematic bad label is by chance the right one for half of the bad rows.
    least, most = {"flip": (0.05, 0.2), "systematic": (0.02, 0.15)}[kind]
    assert least < np.mean(gains["linear"]) < most and least < np.mean(gains["forest"]) < most
    assert 0.75 < np.mean(aucs) < 0.95


@quiet
def test_a_final_booster_is_better_too():
    X, y, X_val, y_val, X_test, y_test, _ = noisy(1)
    final = HistGradientBoostingClassifier(max_iter=20, random_state=0)
    selector = BilevelSelector(final).fit(X, y, X_val, y_val)
    gain = selector.score(X_test, y_test) - clone(final).fit(X, y).score(X_test, y_test)
    assert 0.03 < gain < 0.25
    labels = selector.classes_[selector.predict_proba(X_test).argmax(axis=1)]
    np.testing.assert_array_equal(selector.predict(X_test), labels)


@quiet
def test_regression_with_trusted_data():
    task = noisy_regression(N=300, p=8, m=60, n_test=1000)
    selector = BilevelSelector(Ridge(alpha=3.0)).fit(*task.train, *task.val)
    plain = Ridge(alpha=3.0).fit(*task.train)
    assert selector.score(*task.test) > 0.95 > 0.8 > plain.score(*task.test)


@quiet
def test_rows_held_out_of_wrong_data_are_no_trusted_data():
    gains = []
    for seed in range(4):
        X, y, _, _, X_test, y_test, _ = noisy(seed)
        selector = BilevelSelector(LogisticRegression(C=0.2), random_state=seed).fit(X, y)
        plain = LogisticRegression(C=0.2).fit(X, y).score(X_test, y_test)
        gains.append(selector.score(X_test, y_test) - plain)
    assert -0.08 < np.mean(gains) < 0.03


def test_what_auto_has_to_say_is_said():
    X, y, X_val, y_val = small(m=100)
    with pytest.warns(OverfitWarning, match="the training data did not help"):
        BilevelSelector(random_state=0).fit(X, 1 - y, X_val, y_val)


# The final fit -----------------------------------------------------------------------------------


def test_a_whole_weight_is_a_repeated_row_and_zero_a_removed_one():
    X, y, X_val, y_val = small(n=12)
    k = np.array([3, 1, 0, 2, 1, 0, 1, 1, 1, 0, 1, 1])  # sum N, so that N w_i = k_i
    for final in (LogisticRegression(C=0.3, tol=1e-8), Ridge(alpha=2.0)):
        selector = BilevelSelector(final, Given(tuple(k))).fit(X, y, X_val, y_val)
        repeated = clone(final).fit(np.repeat(X, k, axis=0), np.repeat(y, k))
        np.testing.assert_allclose(selector.estimator_.coef_, repeated.coef_, atol=1e-6)
        assert abs(clone(final).fit(X, y).coef_ - repeated.coef_).max() > 1e-2


@pytest.mark.parametrize(
    "final",
    [
        HistGradientBoostingClassifier(max_iter=3, min_samples_leaf=8),  # counts them in its bins
        RandomForestClassifier(10, random_state=0),  # draws them
        make_pipeline(StandardScaler(), LogisticRegression()),  # averages them
    ],
)
def test_rows_of_weight_zero_are_not_handed_over(final):
    X, y, X_val, y_val = small(n=40)
    X[::4] *= 10.0
    k = np.tile([0, 1, 2, 1], 10)
    selector = BilevelSelector(final, Given(tuple(k))).fit(X, y, X_val, y_val)
    name = (
        "sample_weight" if not isinstance(final, Pipeline) else "logisticregression__sample_weight"
    )
    removed = clone(final).fit(X[k > 0], y[k > 0], **{name: k[k > 0].astype(float)})
    np.testing.assert_array_equal(selector.predict_proba(X), removed.predict_proba(X))
    kept = clone(final).fit(X, y, **{name: k.astype(float)})
    assert abs(kept.predict_proba(X) - removed.predict_proba(X)).max() > 1e-3


def test_a_class_of_weight_zero_is_said_to_be_lost():
    X, y, X_val, y_val = small(n=12)
    y[:3] = 2
    k = (0, 0, 0, *[1] * 9)
    with pytest.warns(UserWarning, match="no row of class 2 has positive weight"):
        selector = BilevelSelector(None, Given(k)).fit(X, y, X_val, y_val)
    assert selector.classes_.tolist() == [0, 1] and selector.predict_proba(X).shape == (12, 2)
    with pytest.raises(ValueError, match="only rows of class 1 have positive weight; needed two"):
        BilevelSelector(None, Given(tuple((y == 1).astype(int)))).fit(X, y, X_val, y_val)


def test_a_selection_that_diverged_warns():
    X = np.array([[-2.0], [-1.0], [1.0], [2.0]])
    with pytest.warns(ConvergenceWarning, match="the selection diverged .*; try a larger mu"):
        BilevelSelector(LinearSVC(), bdt.Uniform(), mu=0.0).fit(X, [0, 0, 1, 1], X, [0, 0, 1, 1])


@quiet
def test_the_same_int_gives_the_same_fit():
    X, y, X_val, y_val, *_ = noisy(N=120, p=4, m=30)
    forest = RandomForestClassifier(10)

    def scores(random_state, *val):
        selector = BilevelSelector(forest, random_state=random_state).fit(X, y, *val)
        return np.append(selector.weights_, selector.predict_proba(X_val)[:, 0])

    for val in ((), (X_val, y_val)):
        first = scores(1, *val)
        np.testing.assert_array_equal(first, scores(1, *val))
        np.testing.assert_array_equal(first, scores(np.random.RandomState(1), *val))
        assert not np.array_equal(first, scores(2, *val))
    assert not np.array_equal(scores(None), scores(None))
    own = RandomForestClassifier(10, random_state=4)  # a state that was given is kept
    assert BilevelSelector(own, random_state=1).fit(X, y).estimator_.random_state == 4


# Pipelines, searches, routing --------------------------------------------------------------------


def requested(*args, **settings):
    """A selector that asks for X_val and y_val, where routing is on."""
    return BilevelSelector(*args, **settings).set_fit_request(X_val=True, y_val=True)


def test_a_pipeline_scales_the_validation_data_too(routing):
    X, y, X_val, y_val = small()
    X, X_val = X * [1.0, 50.0, 3.0] + 7.0, X_val * [1.0, 50.0, 3.0] + 7.0
    steps = [("scale", StandardScaler()), ("select", requested(None, bdt.BMO()))]
    model = Pipeline(steps, transform_input=["X_val"]).fit(X, y, X_val=X_val, y_val=y_val)
    scaler = StandardScaler().fit(X)
    by_hand = BilevelSelector(None, bdt.BMO())
    by_hand.fit(scaler.transform(X), y, scaler.transform(X_val), y_val)
    np.testing.assert_array_equal(model["select"].weights_, by_hand.weights_)
    forgotten = Pipeline(steps).fit(X, y, X_val=X_val, y_val=y_val)
    assert abs(forgotten["select"].weights_ - by_hand.weights_).max() > 0.01


def test_without_routing_a_pipeline_takes_scaled_validation_data():
    X, y, X_val, y_val = small()
    scaler = StandardScaler().fit(X)
    model = make_pipeline(StandardScaler(), BilevelSelector(None, bdt.BMO()))
    name = "bilevelselector"
    model.fit(X, y, **{f"{name}__X_val": scaler.transform(X_val), f"{name}__y_val": y_val})
    by_hand = BilevelSelector(None, bdt.BMO())
    by_hand.fit(scaler.transform(X), y, scaler.transform(X_val), y_val)
    np.testing.assert_array_equal(model[-1].weights_, by_hand.weights_)


def test_a_search_over_the_estimator_the_method_and_mu(routing):
    X, y, X_val, y_val, *_ = noisy(N=200, p=4, m=50)
    grid = {
        "estimator__C": [1e-4, 1.0],
        "method": [bdt.Uniform(), bdt.BMO()],
        "mu": [1e-2, 1e-1],
    }
    search = GridSearchCV(requested(LogisticRegression()), grid, cv=3)
    search.fit(X, y, X_val=X_val, y_val=y_val)
    assert len(search.cv_results_["params"]) == 8
    again = clone(search.best_estimator_).fit(X, y, X_val, y_val)
    np.testing.assert_array_equal(again.weights_, search.best_estimator_.weights_)
    scores = search.cv_results_["mean_test_score"].reshape(2, 2, 2)  # C, method, mu
    assert np.ptp(scores, axis=0).max() > 0.01 and np.ptp(scores, axis=1).max() > 0.01


@pytest.mark.parametrize("routed", [True, False])
def test_a_search_cuts_validation_data_of_as_many_rows_as_the_training_data(routed):
    """scikit-learn cuts every fit parameter of n rows to the fold: documented, not desired."""
    X, y, *_ = small(n=60)
    for m, in_folds in ((60, 40), (59, 59)):
        _, _, X_val, y_val = small(m=m, seed=1)
        SEEN.clear()
        with sklearn.config_context(enable_metadata_routing=routed):
            selector = BilevelSelector(None, Given())
            if routed:
                selector.set_fit_request(X_val=True, y_val=True)
            GridSearchCV(selector, {"mu": [0.1]}, cv=3).fit(X, y, X_val=X_val, y_val=y_val)
        assert SEEN == [(40, in_folds)] * 3 + [(60, m)]


class Recorder(ClassifierMixin, BaseEstimator):
    """A classifier that keeps what its fit was given."""

    def fit(self, X, y, sample_weight=None, X_val=None, ids=None):
        self.classes_ = np.unique(y)
        self.given_ = {"X": X, "sample_weight": sample_weight, "X_val": X_val, "ids": ids}
        return self

    def predict(self, X):
        return np.full(len(X), self.classes_[0])


def test_what_the_estimator_requests_is_cut_to_its_rows_and_its_validation_data_are_not(routing):
    X, y, X_val, y_val = small(n=12, m=12)
    k = np.tile([0, 2, 1], 4)
    final = Recorder().set_fit_request(ids=True, X_val=True)
    selector = requested(final, Given(tuple(k)))
    assert "ids" in str(selector.get_metadata_routing())
    given = selector.fit(X, y, X_val, y_val, ids=np.arange(12)).estimator_.given_
    np.testing.assert_array_equal(given["ids"], np.flatnonzero(k))
    np.testing.assert_array_equal(given["X"], X[k > 0])
    np.testing.assert_array_equal(given["sample_weight"], k[k > 0])
    np.testing.assert_array_equal(given["X_val"], X_val)
    final.set_fit_request(X_val=False)
    assert selector.fit(X, y, X_val, y_val, ids=np.arange(12)).estimator_.given_["X_val"] is None
    with pytest.raises(UnsetMetadataPassedError, match="X_val"):
        BilevelSelector(Recorder(), Given()).fit(X, y, X_val, y_val)
    with pytest.raises(TypeError, match="unknown"):
        selector.fit(X, y, X_val, y_val, unknown=1)
    with pytest.raises(ValueError, match="got sample_weight; needed none"):
        selector.fit(X, y, X_val, y_val, sample_weight=k)


def test_a_pipeline_as_estimator_with_routing(routing):
    X, y, X_val, y_val = small()
    scaler, last = StandardScaler(), LogisticRegression()
    final = make_pipeline(scaler.set_fit_request(sample_weight=False), last)
    with pytest.raises(ValueError, match=r"Pipeline, whose fit takes no .*; try set_fit_request"):
        BilevelSelector(final, bdt.Implicit()).fit(X, y, X_val, y_val)
    last.set_fit_request(sample_weight=True)
    selector = BilevelSelector(final, bdt.Implicit()).fit(X, y, X_val, y_val)
    rows = selector.weights_ > 0
    w = len(X) * selector.weights_[rows]
    by_hand = clone(final).fit(X[rows], y[rows], sample_weight=w)
    np.testing.assert_array_equal(selector.predict_proba(X), by_hand.predict_proba(X))
    assert abs(clone(final).fit(X[rows], y[rows])[-1].coef_ - by_hand[-1].coef_).max() > 0.01


def test_data_frames_keep_their_names():
    pd = pytest.importorskip("pandas")
    X, y, X_val, y_val = small()
    frame, val = pd.DataFrame(X, columns=list("abc")), pd.DataFrame(X_val, columns=list("abc"))
    selector = BilevelSelector(Recorder(), bdt.Uniform()).fit(frame, y, val, y_val)
    assert selector.feature_names_in_.tolist() == ["a", "b", "c"]
    assert list(selector.estimator_.given_["X"].columns) == ["a", "b", "c"]
    with pytest.raises(ValueError, match="feature names should match"):
        selector.fit(frame, y, val[["c", "b", "a"]], y_val)
    with pytest.raises(ValueError, match="feature names should match"):
        selector.fit(frame, y, val, y_val).predict(val[["c", "b", "a"]])


# Bad input ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings, change, message",
    [
        (
            {"estimator": KNeighborsClassifier()},
            {},
            "got the estimator KNeighborsClassifier, whose",
        ),
        (
            {"estimator": make_pipeline(StandardScaler(), KNeighborsClassifier())},
            {},
            "KNeighborsClassifier, whose fit takes no sample_weight; needed one that does; try Log",
        ),
        ({"estimator": KMeans()}, {}, "needed a classifier or a regressor; try Bilevel"),
        ({"estimator": Ridge}, {}, "needed a classifier or a regressor; try Bilevel"),
        ({"estimator": "ridge"}, {}, "got the estimator 'ridge'; needed a classifier"),
        ({}, {"y_val": None}, "got X_val without y_val; needed both or none; try y_val="),
        ({}, {"X_val": None}, "got y_val without X_val; needed both or none; try X_val="),
        ({}, {"X_val": np.ones((12, 5))}, "X_val has 5 features; needed 3, as in X; try the same"),
        ({}, {"X_val": np.ones((11, 3))}, "inconsistent numbers of samples"),
        ({}, {"X_val": np.full((12, 3), np.nan)}, "Input X_val contains NaN"),
        ({}, {"y_val": np.full(12, 9)}, "val have the label 9 at row 0 .* needed one of the train"),
        ({}, {"y": np.zeros(40)}, "one class only"),
        ({}, {"y": np.linspace(-1, 1, 40)}, "Unknown label type: continuous"),
        ({"mu": -1.0}, {}, "mu is -1.0; needed a finite number >= 0; try mu=1e-3"),
        ({"method": "auto"}, {}, "method is 'auto'; needed a method object; try"),
        ({"method": bdt.Implicit}, {}, "needed a method object; try"),
        ({}, {"ids": [1]}, "got ids for the estimator's fit without metadata routing; needed it"),
        ({}, {"sample_weight": np.ones(40)}, "got sample_weight; needed none"),
    ],
)
def test_bad_input_is_one_sentence(settings, change, message):
    X, y, X_val, y_val = small()
    given = {"X": X, "y": y, "X_val": X_val, "y_val": y_val} | change
    with pytest.raises(ValueError, match=message) as raised:
        BilevelSelector(**settings).fit(**given)
    assert "Traceback" not in str(raised.value)


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, 5, "0.2", None])
def test_a_share_is_between_0_and_1(fraction):
    X, y, X_val, y_val = small()
    with pytest.raises(ValueError, match=r"validation_fraction is .*; needed a number in \(0, 1\)"):
        BilevelSelector(validation_fraction=fraction).fit(X, y)
    BilevelSelector(None, bdt.Uniform(), validation_fraction=fraction).fit(X, y, X_val, y_val)


def test_too_few_rows_and_sparse_rows_get_the_usual_errors():
    X, y, *_ = small()
    sparse = pytest.importorskip("scipy.sparse")
    with pytest.raises(TypeError, match="Sparse data was passed"):
        BilevelSelector().fit(sparse.csr_array(X), y)
    with pytest.raises(ValueError, match="minimum of 2 is required"):
        BilevelSelector(Ridge()).fit(X[:1], y[:1])
    with pytest.raises(ValueError, match="smaller than the number of samples 2"):
        BilevelSelector(Ridge()).fit(X[:2], y[:2])
    with pytest.raises(NotFittedError):
        BilevelSelector().get_support()


def test_without_scikit_learn_the_import_says_what_to_install():
    code = (
        "import sys; sys.modules['sklearn'] = None\n"
        "try: import bdtheory.estimators\n"
        "except ImportError as error: print(error)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 'try pip install "bdtheory[sklearn]"' in run.stdout
