"""What a method returns: weights, the model that follows, and how far both can be trusted."""

from __future__ import annotations

import enum
import importlib
import os
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from array_api_compat import is_torch_array

from . import saved
from .problem import Array
from .storage import File
from .weighted import apply_weights, chosen, largest, scaled
from .weights import count_of


class Status(enum.Enum):
    """How a run ended. Nothing that failed looks like success.

    CERTIFIED: `val_loss` is within the method's `eps` of the optimal value V_BDS, by a lower bound
    and an inner gap that were both computed. One-sided: not certified is not evidence against.
    STATIONARY: the outer first-order condition holds to the method's tolerance.
    MAX_ITERATIONS: the budget ended first, or no further descent could be found before that.
    DIVERGED: a loss or gradient was not finite, or the lower level has no minimiser.

    Examples
    --------
    >>> Status("certified").name
    'CERTIFIED'
    """

    CERTIFIED = "certified"
    STATIONARY = "stationary"
    MAX_ITERATIONS = "max_iterations"
    DIVERGED = "diverged"


@dataclass(eq=False)
class Selection:
    """Learned weights with the re-fitted model and its losses.

    Attributes
    ----------
    weights : (N,), non-negative, sum 1.
    theta : parameters of the reported model, (p,), (p, K) or a dict of tensors; the exact re-fit
        theta(w) for weight-learning methods, the trained theta for models that are trained.
    val_loss, test_loss : unpenalised mean losses at `theta`, floats, in units of the loss (nats, or
        squared targets); `test_loss` None without data.
    status : a `Status`.
    history : dict of equal-length arrays `iteration`, `seconds` (CPU), `val_loss` (re-fitted);
        for models that are trained also `train_loss` (F_w, running) and `ess`.
    method : the method that made it, as text, such as ``"DirectMixing(ratio=0.1)"``.
    message : one sentence on why it ended.
    certificate : numbers behind the status, floats: `upper_bound` and `lower_bound` on V_BDS,
        `inner_gap`, `eps`; empty where they are not known.
    crossfit : numbers of `Auto`, floats: `loss`, the cross-fitted estimate of the test loss (the
        least of some twenty, so a little low), its `standard_error`, the estimate for
        `validation_only`, and the `ratio` and the temperature `tau` chosen; else empty.

    Examples
    --------
    >>> import numpy as np, bdtheory as bdt
    >>> X, y = np.array([[1.0], [1.0]]), np.array([0.0, 2.0])
    >>> problem = bdt.Problem(bdt.Ridge(mu=0.1), train=(X, y), val=(X[:1], y[:1]))
    >>> bdt.learn_weights(problem, bdt.Uniform()).weights.tolist()
    [0.5, 0.5]
    """

    weights: Array
    theta: Any
    val_loss: float
    test_loss: float | None
    status: Status
    history: dict[str, np.ndarray]
    method: str = ""
    message: str = ""
    certificate: dict[str, float] = field(default_factory=dict)
    crossfit: dict[str, float] = field(default_factory=dict)

    def __repr__(self) -> str:
        """One line: theta and the weights can be long."""
        test = "" if self.test_loss is None else f", test_loss={self.test_loss:.6g}"
        return (
            f"Selection({self.method}, {self.status.name}, N={len(self.weights)}, "
            f"val_loss={self.val_loss:.6g}{test})"
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Selection):
            return NotImplemented
        mine, theirs = self._arrays(), other._arrays()
        return (
            repr(self._facts()) == repr(other._facts())  # as text, where nan equals nan
            and mine.keys() == theirs.keys()
            and all(
                mine[k].dtype == theirs[k].dtype
                and np.array_equal(mine[k], theirs[k], equal_nan=mine[k].dtype.kind == "f")
                for k in mine
            )
        )

    def top(self, k: int | float) -> np.ndarray:
        """The numbers of the rows with the k largest weights, counted from 0, largest first.

        Equal weights: the earlier row first. k is an int from 1 to N, or a float, a share of the
        rows in (0, 1], rounded, at least one row. Raises ValueError for another k.

        >>> import numpy as np
        >>> fit = Selection(np.array([0.1, 0.6, 0.3]), None, 0.0, None, Status.STATIONARY, {})
        >>> fit.top(2).tolist(), fit.top(1.0).tolist()
        ([1, 2], [1, 2, 0])
        """
        return largest(self._floats(), count_of(k, len(self.weights)))

    def to_dataframe(self) -> Any:
        """A line for each training row, a DataFrame of pandas, or of polars where that is missing.

        Its columns are `row`, counted from 0; `weight`, sum 1; `rank`, 1 for the largest weight,
        the earlier row first among equals; and `selected`, weights of at least their mean, 1/N.
        Raises ImportError without pandas and polars.
        """
        w, N = self._floats(), len(self.weights)
        rank = np.empty(N, np.int64)
        rank[largest(w, N)] = np.arange(1, N + 1)
        rows = np.arange(N)
        gate = chosen(scaled(w, rows, N), rows, None)
        return _frame({"row": rows, "weight": w, "rank": rank, "selected": gate})

    def plot(self, clean: Array | None = None) -> Any:
        """A matplotlib Figure: the weights from the largest down, and the losses of the run.

        clean : bool (N,), optional: which samples are known to be clean. For the pictures one by
        one, into Axes of your own, see ``bdtheory.plots``. Raises ValueError for a `clean` of
        another shape.
        """
        from .drawing import plot_selection

        return plot_selection(self, clean)

    def apply(self, path: File, out: File | None = None, *, overwrite: bool = False) -> Path:
        """Write the rows of a file with `weight`, N w_i, of mean 1, and `selected`; its path.

        path : .jsonl, .json, .parquet or .csv with a row for each weight, in their order; of a .csv
        file all cells are kept as they are. out : by default data.weighted.jsonl beside data.jsonl,
        .parquet for Parquet, .csv for .csv. overwrite : whether a file there may be replaced; that
        at `path` never is. `selected` are weights of at least their mean. The file is complete or
        not there.

        Raises ValueError for another number of rows, for a column of one of these names and for a
        file that cannot be read or written so; FileExistsError where `out` is there.
        """
        return apply_weights(self._floats(), path, out, overwrite)

    def save(self, folder: str | os.PathLike) -> Path:
        """Write `selection.json` and `arrays.npz` into `folder`; all or nothing.

        Raises FileExistsError where the folder holds something else than a selection, or is to be
        below a file.
        """
        return saved.save(folder, "selection", *self.parts())

    @staticmethod
    def load(folder: str | os.PathLike) -> Selection:
        """The selection that `save` wrote to `folder`, equal to the one saved.

        torch tensors come back as torch tensors on the CPU. Raises ValueError where the folder
        does not hold a selection; never unpickles anything.
        """
        return saved.load(folder, "selection", Selection.of_parts)

    def parts(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Everything in it: as JSON types, and as NumPy arrays by name."""
        return self._facts(), self._arrays()

    @staticmethod
    def of_parts(facts: dict[str, Any], arrays: dict[str, np.ndarray]) -> Selection:
        """The selection that `parts` took apart."""
        return _from_parts(facts, arrays)

    def _facts(self) -> dict[str, Any]:
        """Everything that is not an array, as JSON types."""
        return {
            "format": 1,
            "backend": {"weights": _backend(self.weights), "theta": _backend(self._theta())},
            "method": self.method,
            "status": self.status.value,
            "message": self.message,
            "val_loss": self.val_loss,
            "test_loss": self.test_loss,
            "certificate": self.certificate,
            "crossfit": self.crossfit,
        }

    def _arrays(self) -> dict[str, np.ndarray]:
        """Every array as NumPy, by the name it has in the file."""
        return (
            {"weights": to_numpy(self.weights)}
            | {f"theta/{name}": to_numpy(value) for name, value in self._theta().items()}
            | {f"history/{name}": np.asarray(value) for name, value in self.history.items()}
        )

    def _floats(self) -> np.ndarray:
        """The weights as NumPy float64, a copy."""
        return np.array(to_numpy(self.weights), dtype=np.float64)

    def _theta(self) -> dict[str, Array]:
        """The parameters by name; a single array is called ""."""
        return self.theta if isinstance(self.theta, dict) else {"": self.theta}


def _frame(columns: dict[str, np.ndarray]) -> Any:
    """A DataFrame of the columns."""
    for library in ("pandas", "polars"):
        try:
            return importlib.import_module(library).DataFrame(columns)
        except ModuleNotFoundError as error:
            if error.name != library:  # there, but broken: not to be hidden
                raise
    raise ImportError("got neither pandas nor polars; needed one of them; try pip install pandas")


def _backend(arrays: Any) -> str:
    first = next(iter(arrays.values())) if isinstance(arrays, dict) else arrays
    return "torch" if is_torch_array(first) else "numpy"


def as_text(thing: Any) -> str:
    """A model or method as its class name with the arguments that are not the defaults.

    One with a `__str__` of its own, such as `Given` with its N weights, says it itself.

    Examples
    --------
    >>> from bdtheory import DirectMixing, Implicit
    >>> as_text(Implicit()), as_text(Implicit(tol=0.1)), as_text(DirectMixing(ratio=0.1))
    ('Implicit()', 'Implicit(tol=0.1)', 'DirectMixing(ratio=0.1)')
    """
    if type(thing).__str__ is not object.__str__:
        return str(thing)
    given = [(f.name, getattr(thing, f.name), f.default) for f in fields(thing) if f.repr]
    shown = [f"{name}={value!r}" for name, value, default in given if value != default]
    return f"{type(thing).__name__}({', '.join(shown)})"


# What is saved beside the arrays, and its types.
SAVED: dict[str, Any] = {
    "backend": dict,
    "method": str,
    "message": str,
    "val_loss": int | float,
    "test_loss": int | float | None,
    "certificate": dict,
}


def to_numpy(a: Array) -> np.ndarray:
    """The array as NumPy, copied off its device where it has one."""
    return a.detach().cpu().numpy() if is_torch_array(a) else np.asarray(a)


def _check_parts(facts: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    """ValueError for parts that are of no selection, or of a later version's."""
    if not isinstance(facts, dict):
        raise ValueError(f"selection.json holds a {type(facts).__name__}, not an object")
    if facts["format"] != 1:
        raise ValueError(f"its format is {facts['format']!r}, not 1: of a later version")
    for name, kinds in SAVED.items():
        if not isinstance(facts[name], kinds) or isinstance(facts[name], bool):
            raise ValueError(f"its {name} is {facts[name]!r:.40}")
    for part, library in facts["backend"].items():
        if library not in ("numpy", "torch"):
            raise ValueError(f"its {part} are arrays of {library!r:.40}")
    w = arrays["weights"]
    if w.ndim != 1 or not len(w) or w.dtype.kind != "f" or not np.isfinite(w).all():
        raise ValueError(f"its weights are {w.dtype} of shape {w.shape}, not (N,) finite numbers")


def _from_parts(facts: dict[str, Any], arrays: dict[str, np.ndarray]) -> Selection:
    def restore(a: np.ndarray, part: str) -> Array:
        if facts["backend"][part] == "numpy":
            return a
        import torch

        return torch.from_numpy(a)

    _check_parts(facts, arrays)
    theta = {k[6:]: restore(a, "theta") for k, a in arrays.items() if k.startswith("theta/")}
    return Selection(
        weights=restore(arrays["weights"], "weights"),
        theta=theta[""] if list(theta) == [""] else theta,
        val_loss=facts["val_loss"],
        test_loss=facts["test_loss"],
        status=Status(facts["status"]),
        history={k[8:]: a for k, a in arrays.items() if k.startswith("history/")},
        method=facts["method"],
        message=facts["message"],
        certificate=facts["certificate"],
        crossfit=facts.get("crossfit", {}),  # absent in folders of older versions
    )
