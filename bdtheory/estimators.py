"""A scikit-learn face: weights of training rows, then any estimator fitted with them.

    w          = learn_weights(Problem(Logistic(mu) or Ridge(mu), train, val), method).weights
    estimator_ = clone(estimator).fit(X, y, sample_weight=N w)       on the rows with w_i > 0

Importing it needs scikit-learn (the extra `sklearn`); the rest of the package does not.
"""

from __future__ import annotations

import math
import numbers
import warnings
from typing import Any

import numpy as np

try:
    from sklearn import get_config
    from sklearn.base import BaseEstimator, MetaEstimatorMixin, clone, is_classifier, is_regressor
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import train_test_split
    from sklearn.pipeline import Pipeline
    from sklearn.utils import _safe_indexing, check_random_state, get_tags, indexable, validation
    from sklearn.utils import metadata_routing as routing
    from sklearn.utils.metaestimators import available_if
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import check_is_fitted, has_fit_parameter
except ImportError as error:
    raise ImportError(
        f"got no scikit-learn that can be used ({error}); needed version 1.6 or later for "
        'bdtheory.estimators; try pip install "bdtheory[sklearn]"'
    ) from error

from .methods import Auto, learn_weights
from .models import Logistic, Ridge
from .problem import Problem
from .selection import Status

__all__ = ["BilevelSelector"]

_validated: Any = validation.validate_data  # what these return depends on their arguments
_array: Any = validation.check_array
ROUNDING = 1e-9  # relative: uniform weights are at the mean, whatever the last digit of 1/N


def _has(name: str) -> Any:
    """For `available_if`: whether the final estimator has a method of this name."""
    return lambda self: hasattr(getattr(self, "estimator_", self._final()), name)


class BilevelSelector(MetaEstimatorMixin, BaseEstimator):
    """Any estimator, fitted with one learned weight per training row.

    The weights are learned for a linear model with an intercept, `Logistic(mu)` where `estimator`
    is a classifier and `Ridge(mu)` where it is a regressor: those under which that model does well
    on the validation data. A clone of `estimator` is then fitted to X, y with ``sample_weight`` =
    N w_i, N the number of training rows: their sum is N, so that C or alpha mean what they mean
    without weights. Rows of weight 0 are not handed over: for every estimator they are then removed
    rows, also for one that counts rows (bootstraps, bins). No validation row is handed over either.

    Features are not rescaled, and `mu` is in units of squared features: put a StandardScaler
    before, in a Pipeline. There X_val is scaled too with ``transform_input=["X_val"]`` and metadata
    routing only; otherwise hand over X_val as the scaler leaves it. Nothing notices where it was
    forgotten.

    **Without X_val** a share of X, y is held out: rows with the same flaws as the others. They are
    not trusted data. Where the data are wrong on average so are weights learned on them: expect no
    better model than without weights, fitted to fewer rows. Give X_val, y_val that you trust.

    Parameters
    ----------
    estimator : a classifier or a regressor whose ``fit`` takes ``sample_weight``, or a Pipeline
        whose last step does. None: ``LogisticRegression(C=1 / (N mu))``, a classifier, the very
        model that the weights are learned for. For a regression give one, such as Ridge().
    method : a method object such as `Implicit()`, `Penalty()`, `BMO()`. None:
        ``Auto(refit="weights")``, with fewer folds where there are fewer than 5 validation rows;
        `Auto()` leaves a part of its work to validation rows, which `estimator` never sees. Methods
        that learn no weights, such as `DirectMixing`, leave all rows alike.
    mu : ridge of the linear model, in units of squared features; >= 0.
    validation_fraction : share of the rows held out where no X_val is given, in (0, 1), as
        `train_test_split` does it; stratified for a classifier, but classes of one row stay.
    random_state : int, RandomState or None; draws the held-out rows, then the seed of the method.
        Unless it is None, also every ``random_state`` of `estimator` that is None.

    Attributes
    ----------
    weights_ : (n,), >= 0, sum 1; 0 for rows held out.
    support_ : (n,) bool, rows of at least the mean weight of the training rows, 1/N.
    validation_indices_ : row numbers held out, sorted; None where X_val was given.
    selection_ : the `Selection`, with the N training rows in their order.
    estimator_ : the final model.
    classes_ : its classes, for a classifier.
    n_features_in_, feature_names_in_ : as everywhere in scikit-learn.

    `fit` raises ValueError for arguments out of range, an estimator that takes no weights, and data
    that cannot be used (TypeError for sparse X). It warns with `OverfitWarning` (see `Auto`), with
    ConvergenceWarning where the selection diverged, and where a class has only rows of weight 0.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LinearRegression
    >>> X, y = np.arange(8.0).reshape(-1, 1), np.arange(8.0)
    >>> y[[1, 6]] = 20.0, -20.0                                    # two targets are wrong
    >>> selector = BilevelSelector(LinearRegression(), random_state=0)
    >>> selector.fit(X, y, X_val=[[0.5], [3.5], [4.5], [6.5]], y_val=[0.5, 3.5, 4.5, 6.5]).support_
    array([ True, False,  True,  True,  True,  True, False,  True])
    >>> selector.predict([[10.0]]).round(1)
    array([10.])
    """

    def __init__(
        self,
        estimator: Any = None,
        method: Any = None,
        *,
        mu: float = 1e-2,
        validation_fraction: float = 0.2,
        random_state: Any = None,
    ):
        self.estimator = estimator
        self.method = method
        self.mu = mu
        self.validation_fraction = validation_fraction
        self.random_state = random_state

    def fit(self, X: Any, y: Any, X_val: Any = None, y_val: Any = None, **fit_params: Any) -> Any:
        """Learn the weights, then fit the estimator with them.

        X, X_val : (n, p), (m, p), dense and finite. y, y_val : (n,), (m,). fit_params : for the
        estimator's ``fit``, with metadata routing; values of length n are cut to its rows.
        """
        final = self._final()
        weight_name = _weight_name(_checked(final))
        routed = self._routed(fit_params | {"X_val": X_val, "y_val": y_val})
        rng = check_random_state(self.random_state)
        X_all, y_all = _validated(
            self, X, y, dtype=np.float64, ensure_min_samples=2, y_numeric=is_regressor(final)
        )
        if is_classifier(final):
            check_classification_targets(y_all)
        train, held_out = np.arange(len(y_all)), None
        val = self._checked_val(X_val, y_val, X_all.shape[1])
        if val is None:
            train, held_out = self._hold_out(y_all, rng)
            val = X_all[held_out], y_all[held_out]
        self.validation_indices_ = held_out
        w = self._learn((X_all[train], y_all[train]), val, rng)
        self.weights_ = np.zeros(len(y_all))
        self.weights_[train] = w
        self.support_ = self.weights_ * len(w) >= 1.0 - ROUNDING
        return self._fit_final(X, y_all, weight_name, routed, len(w), rng)

    def get_support(self, indices: bool = False) -> np.ndarray:
        """`support_`, (n,) bool, or with `indices` the row numbers where it is True."""
        check_is_fitted(self)
        return np.flatnonzero(self.support_) if indices else self.support_

    @available_if(_has("predict"))
    def predict(self, X: Any) -> np.ndarray:
        """The final estimator's, (n,)."""
        return self._fitted(X).predict(X)

    @available_if(_has("predict_proba"))
    def predict_proba(self, X: Any) -> np.ndarray:
        """The final estimator's, (n, K), columns as in `classes_`."""
        return self._fitted(X).predict_proba(X)

    @available_if(_has("decision_function"))
    def decision_function(self, X: Any) -> np.ndarray:
        """The final estimator's, (n,) or (n, K)."""
        return self._fitted(X).decision_function(X)

    @available_if(_has("score"))
    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """The final estimator's: accuracy of a classifier, R^2 of a regressor, as a rule."""
        given = {} if sample_weight is None else {"sample_weight": sample_weight}
        return self._fitted(X).score(X, y, **given)

    def get_metadata_routing(self) -> routing.MetadataRouter:
        """X_val and y_val for itself, whatever the estimator's ``fit`` asks for to that."""
        fit_to_fit = routing.MethodMapping().add(caller="fit", callee="fit")
        router = routing.MetadataRouter(owner=self).add_self_request(self)
        return router.add(estimator=self._final(), method_mapping=fit_to_fit)

    def __sklearn_tags__(self) -> Any:
        """The final estimator's kind; X dense and finite, and one target: the linear model's."""
        tags, final = super().__sklearn_tags__(), get_tags(self._final())
        tags.estimator_type = final.estimator_type
        tags.classifier_tags, tags.regressor_tags = final.classifier_tags, final.regressor_tags
        if tags.classifier_tags is not None:
            tags.classifier_tags.multi_label = False
        tags.target_tags.required = True
        tags.target_tags.positive_only = final.target_tags.positive_only
        tags.input_tags.positive_only = final.input_tags.positive_only
        return tags

    def _final(self) -> Any:
        """The estimator; where it is the default, before C is known."""
        return LogisticRegression(max_iter=1000) if self.estimator is None else self.estimator

    def _fit_final(self, X: Any, y: Any, weight_name: str, routed: Any, N: int, rng: Any) -> Any:
        """`estimator_`, on the rows of positive weight, with N w_i each."""
        rows = np.flatnonzero(self.weights_)
        final: Any = clone(self._final())
        if self.estimator is None:  # N (sum_i w_i l_i + (mu/2) ||theta||^2): its fit is theta(w)
            final.set_params(C=1.0 / (N * self.mu) if self.mu > 0 else math.inf)
        if self.random_state is not None:
            final.set_params(**{name: _seed(rng) for name in _open_seeds(final)})
        params = _of_rows(X, routed, rows) | {weight_name: N * self.weights_[rows]}
        if is_classifier(final):
            _check_classes(y, rows)
        self.estimator_ = final.fit(_safe_indexing(indexable(X)[0], rows), y[rows], **params)
        if is_classifier(final):
            self.classes_ = self.estimator_.classes_
        return self

    def _fitted(self, X: Any) -> Any:
        """The fitted estimator, for X that the selector accepts: finite, with its features."""
        check_is_fitted(self)
        _validated(self, X, reset=False)
        return self.estimator_

    def _routed(self, given: dict[str, Any]) -> dict[str, Any]:
        """What of this goes to the estimator's ``fit``: what it requested."""
        given = {name: value for name, value in given.items() if value is not None}
        more = sorted(given.keys() - {"X_val", "y_val"})
        if "sample_weight" in more:
            raise ValueError(
                "got sample_weight; needed none: weights are learned here; try repeated rows"
            )
        if get_config()["enable_metadata_routing"]:
            routed: Any = routing.process_routing(self, "fit", **given)
            return dict(routed.estimator.fit)
        if more:
            raise ValueError(
                f"got {', '.join(more)} for the estimator's fit without metadata routing; needed "
                "it enabled; try sklearn.set_config(enable_metadata_routing=True)"
            )
        return {}

    def _checked_val(self, X_val: Any, y_val: Any, p: int) -> tuple[np.ndarray, np.ndarray] | None:
        """The validation data given, as arrays with p features; None without."""
        if X_val is None and y_val is None:
            return None
        if X_val is None or y_val is None:
            got, other = ("y_val", "X_val") if X_val is None else ("X_val", "y_val")
            raise ValueError(f"got {got} without {other}; needed both or none; try {other}=...")
        X = _array(X_val, dtype=np.float64, input_name="X_val")
        if X.shape[1] != p:
            raise ValueError(
                f"X_val has {X.shape[1]} features; needed {p}, as in X; try the same columns"
            )
        _validated(self, X_val, reset=False, skip_check_array=True)  # names of the features
        y = validation.column_or_1d(y_val, warn=True)
        validation.check_consistent_length(X, y)
        return X, y

    def _hold_out(self, y: np.ndarray, rng: Any) -> tuple[np.ndarray, np.ndarray]:
        """Row numbers to train on and to validate on, sorted; at least 2 of these, and K."""
        fraction = self.validation_fraction
        if not (isinstance(fraction, numbers.Real) and 0.0 < fraction < 1.0):
            raise ValueError(
                f"validation_fraction is {fraction!r}; needed a number in (0, 1); try 0.2"
            )
        size, rows, labels = max(2, math.ceil(fraction * len(y))), np.arange(len(y)), None
        if is_classifier(self):
            _, codes, counts = np.unique(y, return_inverse=True, return_counts=True)
            rows = np.flatnonzero(counts[codes] > 1)  # a class of one row cannot be split
            labels, size = codes[rows], max(size, int(np.sum(counts > 1)))
        _, held_out = train_test_split(rows, test_size=size, stratify=labels, random_state=rng)
        return np.setdiff1d(np.arange(len(y)), held_out), np.sort(held_out)

    def _learn(self, train: Any, val: Any, rng: Any) -> np.ndarray:
        """The weights (N,) of `selection_`; a warning where it diverged."""
        model = Logistic if is_classifier(self) else Ridge
        problem = Problem(model(self.mu, fit_intercept=True), train=train, val=val)
        folds = max(2, min(5, problem.m))
        method = Auto(folds, refit="weights") if self.method is None else self.method
        self.selection_ = learn_weights(problem, method, seed=_seed(rng))
        if self.selection_.status is Status.DIVERGED:
            text = f"the selection diverged ({self.selection_.message}); try a larger mu"
            warnings.warn(text, ConvergenceWarning, stacklevel=3)
        return self.selection_.weights


def _checked(final: Any) -> Any:
    """A classifier or a regressor, as an object."""
    fits = hasattr(final, "fit") and not isinstance(final, type)
    if not fits or not (is_classifier(final) or is_regressor(final)):
        raise ValueError(
            f"got the estimator {final!r}; needed a classifier or a regressor; "
            "try BilevelSelector(LogisticRegression())"
        )
    return final


def _weight_name(final: Any, prefix: str = "") -> str:
    """The name under which its ``fit`` takes one weight per row."""
    routed, last = get_config()["enable_metadata_routing"], final
    if has_fit_parameter(final, "sample_weight"):
        return f"{prefix}sample_weight"
    if isinstance(final, Pipeline):
        name, last = final.steps[-1]
        if not routed:
            return _weight_name(last, f"{prefix}{name}__")
    if routed and routing.get_routing_for_object(last).consumes("fit", ["sample_weight"]):
        return "sample_weight"
    advice = "set_fit_request(sample_weight=True) on what is inside it, or " if routed else ""
    raise ValueError(
        f"got the estimator {type(final).__name__}, whose fit takes no sample_weight; needed one "
        f"that does; try {advice}LogisticRegression() or RandomForestClassifier()"
    )


def _check_classes(y: np.ndarray, rows: np.ndarray) -> None:
    """Classes without a row of positive weight are unknown to the final estimator."""
    left = np.unique(y[rows])
    lost = np.setdiff1d(y, left).tolist()
    if len(left) < 2:
        raise ValueError(
            f"only rows of class {left.tolist()[0]!r} have positive weight; needed two classes "
            "to fit the estimator to; try validation data with more classes, or BMO()"
        )
    if lost:
        text = (
            f"no row of class {', '.join(map(repr, lost))} has positive weight: the final "
            "estimator does not know it; try validation data with that class"
        )
        warnings.warn(text, UserWarning, stacklevel=4)


def _of_rows(X: Any, params: dict[str, Any], rows: np.ndarray) -> dict[str, Any]:
    """Metadata for the estimator: of these rows, where there is one value per row of X."""
    whole = {name: params[name] for name in ("X_val", "y_val") if name in params}
    return validation._check_method_params(X, params, indices=rows) | whole


def _seed(rng: Any) -> int:
    return int(rng.randint(np.iinfo(np.int32).max))


def _open_seeds(final: Any) -> list[str]:
    """Parameters that are a random state, or end in one, and are None."""
    given = sorted(final.get_params().items())
    return [k for k, v in given if v is None and k.rpartition("__")[2] == "random_state"]
