"""Problem: labels as the user has them, and one clear sentence for every bad input."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import bdtheory as bdt

X = np.arange(8.0).reshape(4, 2)
Y = np.array([0.0, 1.0, 2.0, 3.0])
LABELS = np.array(["b", "a", "b", "a"])


def test_two_classes_larger_label_is_plus_one():
    problem = bdt.Problem(bdt.Logistic(0.1), train=(X, LABELS), val=(X, LABELS))
    assert problem.classes == ["a", "b"]
    np.testing.assert_array_equal(problem.train.y, [1.0, -1.0, 1.0, -1.0])


def test_more_classes_are_indices_in_sorted_order():
    problem = bdt.Problem(bdt.Logistic(0.1), train=(X, [7, 3, 5, 3]), val=(X[:1], [5]))
    assert problem.classes == [3, 5, 7]
    np.testing.assert_array_equal(problem.train.y, [2, 0, 1, 0])
    np.testing.assert_array_equal(problem.val.y, [1])
    assert problem.train.K == 3


def test_torch_labels_and_an_intercept():
    problem = bdt.Problem(
        bdt.Logistic(0.1, fit_intercept=True),
        train=(torch.tensor(X), torch.tensor([0, 1, 0, 1])),
        val=(torch.tensor(X), torch.tensor([0, 1, 0, 1])),
    )
    assert isinstance(problem.train.X, torch.Tensor)
    np.testing.assert_array_equal(problem.train.X[:, -1].numpy(), np.ones(4))


def test_lists_and_whole_numbers_become_float64():
    problem = bdt.Problem(bdt.Ridge(0.1), train=([[1, 2], [3, 4]], [0, 1]), val=([[1, 2]], [0]))
    assert problem.train.X.dtype == np.float64 and problem.train.y.dtype == np.float64


def test_nothing_given_is_changed():
    before = X.copy(), Y.copy()
    problem = bdt.Problem(bdt.Ridge(0.1, fit_intercept=True), train=(X, Y), val=(X, Y))
    bdt.learn_weights(problem, bdt.Implicit(max_iterations=3))
    np.testing.assert_array_equal(X, before[0])
    np.testing.assert_array_equal(Y, before[1])


def test_groups_are_coded_by_sorted_name():
    problem = bdt.Problem(
        bdt.Ridge(0.1), train=(X, Y), val=(X, Y), groups=["web", "lab", "web", "lab"]
    )
    assert problem.group_names == ["lab", "web"]
    np.testing.assert_array_equal(problem.groups, [1, 0, 1, 0])


def changed(a, index, value):
    a = np.array(a, dtype=float)
    a[index] = value
    return a


RIDGE, LOGISTIC = bdt.Ridge(0.1), bdt.Logistic(0.1)
BAD = {
    "NaN feature": (RIDGE, (changed(X, (2, 1), np.nan), Y), (X, Y), {}, "nan at row 2, column 1"),
    "infinite val": (RIDGE, (X, Y), (changed(X, (0, 0), np.inf), Y), {}, "inf at row 0, column 0"),
    "NaN target": (RIDGE, (X, changed(Y, 3, np.nan)), (X, Y), {}, "targets of train have nan"),
    "NaN label": (LOGISTIC, (X, changed(Y, 3, np.nan)), (X, Y), {}, "nan at row 3"),
    "one-dimensional X": (RIDGE, (X[:, 0], Y), (X, Y), {}, "shape (4,)"),
    "wrong length": (RIDGE, (X, Y[:3]), (X, Y), {}, "shape (3,)"),
    "column vector y": (RIDGE, (X, Y[:, None]), (X, Y), {}, "shape (4, 1)"),
    "empty validation": (RIDGE, (X, Y), (X[:0], Y[:0]), {}, "val is empty"),
    "no features": (RIDGE, (X[:, :0], Y), (X[:, :0], Y), {}, "train is empty"),
    "other width": (RIDGE, (X, Y), (X[:, :1], Y), {}, "number of features 1"),
    "other dtype": (RIDGE, (X, Y), (X.astype("f4"), Y), {}, "dtype float32"),
    "half precision": (RIDGE, (X.astype("f2"), Y), (X, Y), {}, "float16"),
    "text features": (RIDGE, (X.astype(str), Y), (X, Y), {}, "dtype <U"),
    "ragged": (RIDGE, ([[1.0], [1.0, 2.0]], [0, 1]), (X, Y), {}, "not a rectangular array"),
    "not a pair": (RIDGE, X, (X, Y), {}, "pair (X, y)"),
    "one class": (LOGISTIC, (X, np.ones(4)), (X, np.ones(4)), {}, "one class only"),
    "unseen label": (LOGISTIC, (X, LABELS), (X[:1], np.array(["c"])), {}, "'c' at row 0"),
    "group missing": (RIDGE, (X, Y), (X, Y), {"groups": ["a", None, "b", "a"]}, "at row 1"),
    "group empty": (RIDGE, (X, Y), (X, Y), {"groups": ["a", "", "b", "a"]}, "at row 1"),
    "group NaN": (RIDGE, (X, Y), (X, Y), {"groups": ["a", float("nan"), "b", "a"]}, "at row 1"),
    "group types": (RIDGE, (X, Y), (X, Y), {"groups": ["a", 1, "b", "a"]}, "cannot be sorted"),
    "NaN among texts": (LOGISTIC, (X, ["a", "b", float("nan"), "a"]), (X, LABELS), {}, "nan among"),
    "group masked": (
        RIDGE,
        (X, Y),
        (X, Y),
        {"groups": np.ma.masked_equal([1, 2, 1, 2], 1)},
        "masked",
    ),
    "one group masked": (RIDGE, (X, Y), (X, Y), {"groups": [1, np.ma.masked, 1, 1]}, "at row 1"),
    "target masked": (RIDGE, (X, np.ma.masked_equal(Y, 1.0)), (X, Y), {}, "masked entries"),
    "group shape": (RIDGE, (X, Y), (X, Y), {"groups": ["a"]}, "shape (1,)"),
    "no model": ("ridge", (X, Y), (X, Y), {}, "'ridge'"),
    "model class": (bdt.Ridge, (X, Y), (X, Y), {}, "Ridge"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_clear_sentence(name):
    is_refused(*BAD[name])


def test_sets_of_two_libraries_are_refused():
    is_refused(RIDGE, (X, Y), (torch.tensor(X), torch.tensor(Y)), {}, "Tensor")


def is_refused(model, train, val, more, part):
    with pytest.raises(ValueError) as error:
        bdt.Problem(model, train=train, val=val, **more)
    message = str(error.value)
    assert part in message and "needed" in message and "try" in message and "\n" not in message


@pytest.mark.parametrize("kind", ["string", "object", "category", "Int64", "Float64"])
def test_a_group_that_pandas_says_is_missing(kind):
    pd = pytest.importorskip("pandas")
    labels = [1, None, 2, 1] if kind.endswith("64") else ["a", None, "b", "a"]
    with pytest.raises(
        ValueError, match=r"groups has no label at row 1 \(got .*\); needed .*; try"
    ):
        bdt.Problem(RIDGE, train=(X, Y), val=(X, Y), groups=pd.Series(labels, dtype=kind))
    whole = pd.Series(["b", "a", "b", "a"], dtype="string")
    problem = bdt.Problem(RIDGE, train=(X, Y), val=(X, Y), groups=whole)
    assert problem.groups is not None and problem.groups.tolist() == [1, 0, 1, 0]


@pytest.mark.parametrize("model", [RIDGE, LOGISTIC])
@pytest.mark.parametrize("columns", [["b", "a"], ["a", "c"]])
@pytest.mark.parametrize("name", ["val", "test"])
def test_frames_have_the_columns_of_train_in_its_order(name, columns, model):
    pd = pytest.importorskip("pandas")
    y = np.array([0, 1, 0, 1])
    frame, other = pd.DataFrame(X, columns=["a", "b"]), pd.DataFrame(X, columns=columns)
    sets = {"train": (frame, y), "val": (frame, y), "test": (frame, y)} | {name: (other, y)}
    k = next(k for k in range(2) if columns[k] != "ab"[k])
    said = rf"features of {name} have the column '{columns[k]}' where train has '{'ab'[k]}', at "
    with pytest.raises(ValueError, match=said + rf"position {k}; needed .*; try {name}\[train"):
        bdt.Problem(model, **sets)
    pair = iter((frame, y))  # anything that unpacks
    for fine in ({name: pair}, {name: (X, y)}, {"train": (X, y)}):
        problem = bdt.Problem(model, **(sets | fine))
        np.testing.assert_array_equal(problem.val.X, X)


def test_tensors_of_groups_keep_their_codes():
    problem = bdt.Problem(RIDGE, train=(X, Y), val=(X, Y), groups=torch.tensor([5, 3, 5, 3]))
    assert problem.group_names == [3, 5]
    np.testing.assert_array_equal(problem.groups, [1, 0, 1, 0])
