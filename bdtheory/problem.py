"""The bilevel data selection problem, and the notation used everywhere in this package.

    minimise over w in Delta_N   L_val(theta(w)),
    theta(w) = argmin over theta of   sum_i w_i l_i(theta) + (mu/2) ||theta||^2

| letter             | meaning                                                      | shape      |
| ------------------ | ------------------------------------------------------------ | ---------- |
| N, m, p            | training samples, validation samples, parameters             |            |
| X, y               | features and targets, training                               | (N, p), (N,) |
| X_val, y_val       | features and targets, validation                             | (m, p), (m,) |
| theta              | model parameters                                             | (p,), (p, K) |
| l_i (`losses`)     | per-sample training losses, >= 0                             | (N,)       |
| L_val, L_val*      | mean validation loss, its infimum                            |            |
| S_i, S_val         | minimisers of l_i alone, of L_val                            |            |
| omega, w           | selector logits; weights, w = softmax(omega), on the simplex | (N,)       |
| F_w, v(w), S(w)    | sum_i w_i l_i, its infimum, its minimisers                   |            |
| mu, gamma, tau     | ridge, penalty strength, temperature                         |            |
| lam, eps           | direct-mixing ratio, tolerance                               |            |
| z_i, z~_j          | y_i x_i for a training row, the same for a validation row    | (p,)       |
| H, A               | lower-level Hessian; validation Hessian                      | (p, p)     |

Source: arXiv:2511.21056 (v1, v2) for the problem; everything stated in this package with the tag
`here` is argued in full where it is used.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from array_api_compat import is_torch_array

Array = Any  # a NumPy array or a torch tensor: what comes in decides what goes out


class Problem:
    """Training data to be weighted, trusted validation data, and the model between them.

    Parameters
    ----------
    model : a model of `bdtheory`, such as `Ridge(mu)`, `Logistic(mu)` or `TransformerLM(V)`.
    train, val : pairs ``(X, y)`` with shapes (N, p), (N,) and (m, p), (m,). NumPy arrays, torch
        tensors of any device, or anything `numpy.asarray` takes; float64 or float32. X may be a
        memory-mapped file, ``numpy.load(path, mmap_mode="r")``: it is read in blocks of rows, where
        it lies; what comes out has its dtype, sums over rows are float64. For
        `TransformerLM` pairs ``(prompts, responses)`` of lists of token lists, N and m of them.
    test : a pair like `val`, optional; only ever used for reporting.
    groups : one label per training sample, optional. Samples of a group then share one weight:
        the selector has one logit per group, and a group's mass is split evenly among its samples.

    Attributes
    ----------
    train, val, test : the data as the model reads it (`test` may be None).
    classes : sorted training labels for a classifier, else None.
    groups : integer group codes (N,), or None; group_names : the sorted labels, or None.
    N, m : the number of training and of validation samples; size : entries of X.

    Raises
    ------
    ValueError
        Where the data cannot be used; the message says what was got, what was needed, what to try.

    Examples
    --------
    >>> import numpy as np, bdtheory as bdt
    >>> X, y = np.array([[1.0], [1.0]]), np.array([0.0, 2.0])
    >>> problem = bdt.Problem(bdt.Ridge(mu=0.1), train=(X, y), val=(X[:1], y[:1]))
    >>> problem.N, problem.m
    (2, 1)
    """

    def __init__(self, model: Any, train: Any, val: Any, test: Any = None, *, groups: Any = None):
        if isinstance(model, type) or not hasattr(model, "prepare"):
            raise ValueError(
                f"model is {model!r}; needed a model such as Ridge(mu=1e-2); "
                "try Problem(bdt.Ridge(mu=1e-2), train=(X, y), val=(X_val, y_val))"
            )
        self.model = model
        self.train, self.val, self.test, self.classes = model.prepare(train, val, test)
        self.N, self.m = len(self.train), len(self.val)
        self.size = int(np.prod(getattr(self.train, "X", np.empty(self.N)).shape))
        self.groups, self.group_names = None, None
        if groups is not None:
            self.groups, self.group_names = group_codes(groups, self.N)

    def __repr__(self) -> str:
        test = "" if self.test is None else f", test={len(self.test)}"
        groups = "" if self.group_names is None else f", groups={len(self.group_names)}"
        return f"Problem({self.model!r}, N={self.N}, m={self.m}{test}{groups})"

    def with_train(self, train: Any, model: Any = None) -> Problem:
        """The same problem with other training data, as the model reads them, without groups."""
        other = copy.copy(self)
        other.train, other.N = train, len(train)
        other.size = int(np.prod(getattr(train, "X", np.empty(other.N)).shape))
        other.groups, other.group_names = None, None
        other.model = self.model if model is None else model
        return other

    def joined(self) -> Any:
        """Training samples followed by validation samples, as one data set of N + m samples."""
        return self.train.join(self.val)


def refuse_masked(a: Any, what: str) -> None:
    """A ValueError for masked entries: `numpy.asarray` would read the number beneath each mask."""
    if isinstance(a, np.ma.MaskedArray) and np.ma.is_masked(a):
        raise ValueError(
            f"{what} have masked entries; needed a value in every place; "
            "try dropping or imputing those rows, then numpy.asarray"
        )


def exact_array(a: Any) -> np.ndarray:
    """`numpy.asarray`, but a list of whole numbers stays exact: Python's where int64 is too small.

    Examples
    --------
    >>> exact_array([2**63 + 1, -1]).tolist() == [2**63 + 1, -1], exact_array([1, 2]).dtype.kind
    (True, 'i')
    """
    array = np.asarray(a)
    if array.dtype.kind == "f" and isinstance(a, list | tuple) and all(type(v) is int for v in a):
        return np.asarray(a, dtype=object) if len(a) else array
    return array


def group_codes(groups: Any, n: int, each: str = "training sample") -> tuple[np.ndarray, list[Any]]:
    """Integer codes 0..G-1 (n,) and the sorted names of the groups, one label for `each`.

    Examples
    --------
    >>> codes, names = group_codes(["web", "lab", "web"], 3)
    >>> codes.tolist(), names
    ([1, 0, 1], ['lab', 'web'])
    """
    refuse_masked(groups, "groups")
    groups = groups.detach().cpu().numpy() if is_torch_array(groups) else groups
    labels = np.asarray(groups, dtype=object)  # as they are: NaN among texts must not become 'nan'
    if labels.shape != (n,):
        raise ValueError(
            f"groups has shape {labels.shape}; needed one label per {each}, ({n},); "
            "try a list with the group of each row"
        )
    for row, label in enumerate(labels.tolist()):
        if _no_label(label):
            raise ValueError(
                f"groups has no label at row {row} (got {label!r}); needed one for every {each}; "
                "try a group of its own, such as 'unknown', for the unlabelled"
            )
    try:
        names, codes = np.unique(labels, return_inverse=True)
    except TypeError as error:
        raise ValueError(
            f"groups cannot be sorted ({error}); needed labels of one type; "
            "try turning all of them into strings"
        ) from None
    return codes.reshape(-1), names.tolist()


def _no_label(label: Any) -> bool:
    """Whether this is None, NaN, an empty text, or the NA of pandas, which has no truth value."""
    try:
        return label is None or label is np.ma.masked or bool(label != label or label == "")
    except TypeError:
        return True
