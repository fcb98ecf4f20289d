"""Tables of features and targets: checked once, here, with errors that name the row and column."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from array_api_compat import array_namespace, device, is_array_api_obj, is_torch_array

from ..linalg import row_blocks
from ..problem import Array, exact_array, refuse_masked


@dataclass(frozen=True, eq=False)
class Data:
    """Features X (n, p) and encoded targets y (n,): real, -1/+1, or class indices 0..K-1.

    With an intercept the last column of X is constant 1. K is the number of columns of theta:
    the number of classes where there are more than two, else 1.
    """

    X: Array
    y: Array
    K: int = 1

    def __len__(self) -> int:
        return self.X.shape[0]

    @cached_property
    def lengths(self) -> Array:
        """||x_i||, (n,), computed once."""
        xp, X = array_namespace(self.X), self.X
        parts = [xp.sqrt(xp.sum(X[b, :] ** 2, axis=1)) for b in row_blocks(X)]
        return parts[0] if len(parts) == 1 else xp.concat(parts)

    @property
    def like(self) -> Array:
        """An array of the library, dtype and device that sample weights have."""
        return self.X

    def join(self, other: Data) -> Data:
        """These samples followed by the other's."""
        xp = array_namespace(self.X)
        return Data(xp.concat([self.X, other.X]), xp.concat([self.y, other.y]), self.K)

    def prompts(self) -> Array:
        """The questions: X itself."""
        return self.X

    def responses(self) -> Array:
        """The targets: y itself."""
        return self.y

    def answered(self, rows: np.ndarray, responses: Array) -> Data:
        """The questions of these rows, each with a response, (k,)."""
        y = array_namespace(self.X).asarray(responses, dtype=self.X.dtype, device=device(self.X))
        return Data(self.X[rows], y, self.K)

    def take(self, rows: Array) -> Data:
        """The samples with these row numbers (or where the mask is True)."""
        rows = array_namespace(self.X).asarray(rows, device=device(self.X))
        return Data(self.X[rows], self.y[rows], self.K)


def prepare(train: Any, val: Any, test: Any, *, fit_intercept: bool):
    """The three data sets with real targets, checked, and no classes: what `Ridge` reads."""
    sets = _sets(train, val, test)
    out = [Data(_with_constant(X, fit_intercept), _real_targets(y, X, name)) for X, y, name in sets]
    return out[0], out[1], (out[2] if len(out) > 2 else None), None


def prepare_labels(train: Any, val: Any, test: Any, *, fit_intercept: bool):
    """The three data sets with encoded labels and the sorted classes: what `Logistic` reads.

    Two classes: the larger is +1, the smaller -1. More: the index in the sorted classes.
    """
    sets = _sets(train, val, test)
    classes = _classes(sets[0][1])
    K = 1 if len(classes) == 2 else len(classes)
    out = []
    for X, y, name in sets:
        encoded = _encode(y, classes, X, name)
        out.append(Data(_with_constant(X, fit_intercept), encoded, K))
    return out[0], out[1], (out[2] if len(out) > 2 else None), classes.tolist()


def _sets(train: Any, val: Any, test: Any) -> list[tuple[Array, Array, str]]:
    """(X, y, name) of every data set, all of one kind and with the columns of train."""
    pairs = [(train, "train"), (val, "val")] + ([] if test is None else [(test, "test")])
    sets = [_features(pair, name) for pair, name in pairs]
    for X, _, name, columns in sets:
        _same_kind(X, sets[0][0], name)
        _same_columns(columns, sets[0][3], name)
    return [found[:3] for found in sets]


def _features(pair: Any, name: str) -> tuple[Array, Array, str, list[Any] | None]:
    """(X, y, name, columns), X finite floating (n, p), n >= 1, p >= 1, y (n,); see `_columns`."""
    try:
        X, y = pair
    except (TypeError, ValueError):
        raise ValueError(
            f"{name} is {type(pair).__name__}; needed a pair (X, y); try {name}=(X, y)"
        ) from None
    _check_mapped(X, name)
    columns = _columns(X)
    X, y = _as_array(X, f"the features of {name}"), _as_array(y, f"the targets of {name}")
    if X.ndim != 2:
        raise ValueError(
            f"the features of {name} have shape {tuple(X.shape)}; needed (samples, features); "
            "try X.reshape(-1, 1) for a single feature"
        )
    if X.shape[0] == 0 or X.shape[1] == 0:
        raise ValueError(
            f"{name} is empty (features of shape {tuple(X.shape)}); needed at least one sample and "
            "one feature; try a larger share for this split"
        )
    if tuple(y.shape) != (X.shape[0],):
        raise ValueError(
            f"the targets of {name} have shape {tuple(y.shape)}; needed ({X.shape[0]},), one per "
            "row of the features; try y.reshape(-1)"
        )
    return _floating(X, f"the features of {name}"), y, name, columns


def _columns(X: Any) -> list[Any] | None:
    """The names of a data frame's columns; None for arrays and lists."""
    columns = getattr(X, "columns", None)
    return None if columns is None or callable(columns) else list(columns)


def _check_mapped(X: Any, name: str) -> None:
    """A memory-mapped file is read in blocks, where it lies: its numbers must be usable as such."""
    if not isinstance(X, np.memmap):
        return
    if X.ndim != 2:
        raise ValueError(
            f"the features of {name} are a memory-mapped file of shape {X.shape}; needed (samples, "
            "features); try numpy.load(path, mmap_mode='r') on a .npy file with two axes, or "
            "numpy.memmap(path, dtype, 'r', shape=(n, p))"
        )
    if X.dtype not in (np.float32, np.float64):
        raise ValueError(
            f"the features of {name} are a memory-mapped file of dtype {X.dtype.str!r}; needed "
            "float32 or float64 in native byte order, which is read without a copy; try writing "
            "it again in blocks with numpy.lib.format.open_memmap(path, 'w+', 'float32', shape)"
        )


def _on_disk(X: Any) -> bool:
    """Whether these are numbers in a memory-mapped file, directly or as a view."""
    while isinstance(X, np.ndarray) and not isinstance(X, np.memmap):
        X = X.base
    return isinstance(X, np.memmap)


def _as_array(a: Any, what: str) -> Array:
    if is_torch_array(a):
        return a.detach()  # derivatives are in the weights, never in the data
    if is_array_api_obj(a) and not isinstance(a, np.ndarray):
        return a
    refuse_masked(a, what)
    try:
        array = exact_array(a)
    except ValueError as error:
        raise ValueError(
            f"{what} are not a rectangular array ({error}); needed one number per row and column; "
            "try numpy.asarray on them to see which row differs"
        ) from None
    if array.dtype.kind in "US" and not isinstance(a, np.ndarray):
        return _texts(np.asarray(a, dtype=object), what)
    return array


def _texts(a: Array, what: str) -> Array:
    """Texts only: NumPy would turn a NaN or a number among them into text without a word."""
    for row, value in enumerate(a.reshape(-1).tolist()):
        if not isinstance(value, str):
            raise ValueError(
                f"{what} have {value!r} among texts, at position {row}; needed one type; "
                "try dropping that row, or turning all of them into strings"
            )
    return a.astype(str)


def _floating(a: Array, what: str) -> Array:
    """The array as float64, or float32 where it came so; whole numbers become float64."""
    xp = array_namespace(a)
    if isinstance(a, np.ndarray) and a.dtype.kind == "O":
        try:
            a = a.astype(np.float64)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"{what} have dtype object ({error}); needed numbers; try a numeric encoding"
            ) from None
    if isinstance(a, np.ndarray) and a.dtype.kind not in "fiub":
        raise ValueError(
            f"{what} have dtype {a.dtype}; needed numbers; try a numeric encoding of each column"
        )
    if a.dtype not in (xp.float32, xp.float64):
        if str(a.dtype).endswith(("float16", "longdouble", "float128", "complex64", "complex128")):
            raise ValueError(
                f"{what} have dtype {a.dtype}; needed float64 or float32; try X.astype('float64')"
            )
        a = xp.astype(a, xp.float64)
    _finite(a, what, most=float(xp.finfo(a.dtype).max) ** 0.25)
    return a


def _finite(a: Array, what: str, most: float = math.inf) -> None:
    """Only finite numbers, of size `most` at most; looked at in blocks, without a copy.

    Gram matrices and losses square the data: beyond a certain size they overflow, silently.
    """
    xp, table = array_namespace(a), a if a.ndim == 2 else a[:, None]
    for b in row_blocks(table):
        rows = table[b, :]
        largest = max(float(xp.max(rows)), -float(xp.min(rows)))  # NaN where any is NaN
        if not math.isfinite(largest):
            _say_where(a, b, what)
        if largest > most:
            raise ValueError(
                f"{what} reach {largest:.1e} in size; needed at most {most:.1e}, so that squares "
                "stay finite; try other units"
            )


def _say_where(a: Array, b: slice, what: str) -> None:
    """Raise, with the first number in these rows that is not finite."""
    rows = np.asarray(a[b, ...].cpu() if is_torch_array(a) else a[b, ...])
    row, *column = (int(k) for k in np.argwhere(~np.isfinite(rows))[0])
    where = f"row {b.start + row}" + (f", column {column[0]}" if column else "")
    raise ValueError(
        f"{what} have {float(rows[(row, *column)])} at {where}; needed finite numbers; "
        "try dropping or imputing that row"
    )


def _real_targets(y: Array, X: Array, name: str) -> Array:
    what = f"the targets of {name}"
    xp, y = array_namespace(X), _floating(y, what)
    _finite(y, what, most=float(xp.finfo(X.dtype).max) ** 0.25)
    return xp.asarray(y, dtype=X.dtype, device=device(X))


def _same_kind(X: Array, first: Array, name: str) -> None:
    """Every set in one array library, dtype, device and width: nothing is converted silently."""
    for got, needed, what, remedy in (
        (type(X).__name__, type(first).__name__, "array type", "converting one of them"),
        (X.dtype, first.dtype, "dtype", "X.astype or X.to on one of them"),
        (device(X), device(first), "device", "X.to(device)"),
        (X.shape[1], first.shape[1], "number of features", "the same columns in the same order"),
    ):
        if got != needed:
            raise ValueError(
                f"the features of {name} have {what} {got}; needed {needed}, as in train; "
                f"try {remedy}"
            )


def _same_columns(got: list[Any] | None, needed: list[Any] | None, name: str) -> None:
    """Data frames have the columns of train in its order: fits go by position, not by name."""
    if got is not None and needed is not None and got != needed:
        k = next(k for k, pair in enumerate(zip(got, needed, strict=True)) if pair[0] != pair[1])
        raise ValueError(
            f"the features of {name} have the column {got[k]!r:.40} where train has "
            f"{needed[k]!r:.40}, at position {k}; needed the same columns in the same order as "
            f"train's; try {name}[train.columns], or to_numpy() of both if names mean nothing"
        )


def _with_constant(X: Array, fit_intercept: bool) -> Array:
    if not fit_intercept:
        return X
    if _on_disk(X):
        raise ValueError(
            "fit_intercept=True copies the features into memory, and these are a memory-mapped "
            "file; needed fit_intercept=False; try a column of ones in the file"
        )
    xp = array_namespace(X)
    return xp.concat([X, xp.ones((X.shape[0], 1), dtype=X.dtype, device=device(X))], axis=1)


def _labels(y: Array) -> np.ndarray:
    """Labels as NumPy, of any dtype that sorts."""
    return y.detach().cpu().numpy() if is_torch_array(y) else np.asarray(y)


def _classes(y: Array) -> np.ndarray:
    labels = _labels(y)
    if labels.dtype.kind == "f":
        _finite(labels, "the targets of train")
    try:
        classes = np.unique(labels)
    except TypeError as error:
        raise ValueError(
            f"the targets of train cannot be sorted ({error}); needed labels of one type; "
            "try turning all of them into strings"
        ) from None
    if len(classes) < 2:
        raise ValueError(
            f"the targets of train have one class only ({classes.tolist()[0]!r}); needed at least "
            "two; try a larger training set, or ridge for a regression"
        )
    return classes


def _encode(y: Array, classes: np.ndarray, X: Array, name: str) -> Array:
    labels = _labels(y)
    index = _places(labels, classes)
    if (index < 0).any():
        row = int(np.argmax(index < 0))
        raise ValueError(
            f"the targets of {name} have the label {labels.tolist()[row]!r} at row {row} (from 0); "
            f"needed one of the training labels {_some(classes)}; try dropping these rows of "
            f"{name}, or ridge if targets are quantities"
        )
    xp = array_namespace(X)
    if len(classes) == 2:
        return xp.asarray(2.0 * index - 1.0, dtype=X.dtype, device=device(X))
    return xp.asarray(index, dtype=xp.int64, device=device(X))


def _places(labels: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """The index of each label in the sorted classes, -1 for one that is none of them."""
    kinds = {labels.dtype.kind, classes.dtype.kind}
    if labels.dtype != classes.dtype and kinds <= set("iufO"):
        # NumPy compares numbers of two types as float64, which merges those beyond 2^53.
        place = {label: k for k, label in enumerate(classes.tolist())}
        return np.array([place.get(label, -1) for label in labels.tolist()])
    known, index = np.isin(labels, classes), np.full(len(labels), -1)
    index[known] = np.searchsorted(classes, labels[known])
    return index


def _some(classes: np.ndarray) -> str:
    shown = ", ".join(repr(c) for c in classes[:8].tolist())
    return f"[{shown}{', ...' if len(classes) > 8 else ''}]"
