"""The linear-Gaussian generator: a language model in which everything is closed form (C10, C11).

It answers a question x with pi_theta(y given x) = Normal(x.theta, s^2). -log pi is the squared loss
over s^2 and a constant, so that squared losses are losses of this language model.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from .checks import check_number
from .fit import Fit
from .ridge import Ridge
from .samples import Samples
from .tabular import Data

RIDGE = Ridge(0.0)  # its losses, and its re-fits: optimistic, exact


@dataclass(frozen=True)
class LinearGaussian:
    """pi_theta(y given x) = Normal(x.theta, s^2): a generator whose self-refining is closed form.

    As the model of a `Problem` it is `Ridge(mu=0)`: losses (x_i.theta - y_i)^2 / 2, exact re-fits.

    Parameters
    ----------
    s : standard deviation > 0 of a response, in units of y.
    start : theta_0 (p,), the model that generates first; None is 0.

    Examples
    --------
    >>> import numpy as np
    >>> model, theta, X = LinearGaussian(s=0.5), np.array([2.0]), np.ones((3, 1))
    >>> model.mean_responses(theta, X).tolist()
    [2.0, 2.0, 2.0]
    >>> model.respond(theta, X, np.random.default_rng(0)).round(3).tolist()
    [2.063, 1.934, 2.32]
    """

    s: float
    start: Any = field(default=None, repr=False, compare=False)

    mu: ClassVar[float] = 0.0
    fit_intercept: ClassVar[bool] = False

    def __post_init__(self):
        check_number(self.s, "s", least=0.0, strict=True, try_="s=0.1")

    # A model of `Problem`

    def prepare(self, train: Any, val: Any, test: Any):
        """Checked data sets; see `Problem`."""
        return RIDGE.prepare(train, val, test)

    def losses(self, theta: Any, data: Data) -> Any:
        """l_i(theta) = (x_i.theta - y_i)^2 / 2, shape (n,): -s^2 log pi, less a constant."""
        return RIDGE.losses(theta, data)

    def weighted_gradient(self, theta: Any, w: Any, data: Data) -> Any:
        """Gradient of sum_i w_i l_i at theta, (p,)."""
        return RIDGE.weighted_gradient(theta, w, data)

    def fit(
        self, w: Any, data: Data, warm_start: Fit | None = None, *, val: Data | None = None
    ) -> Fit:
        """theta(w), exactly; see `Ridge.fit`."""
        return RIDGE.fit(w, data, warm_start, val=val)

    def initial_theta(self, seed: int = 0) -> np.ndarray | None:
        """theta_0; the seed plays no part. None where there is no `start`."""
        return None if self.start is None else np.asarray(self.start, dtype=np.float64)

    # A generator

    def generate(
        self, theta: Any, prompts: Any, *, temperature: float | None = 1.0, seed: int = 0
    ) -> Samples:
        """One response y_i ~ Normal(x_i.theta, temperature s^2) for each question x_i of (n, p).

        temperature None gives the mean responses. log pi is at temperature 1.
        """
        if temperature is not None:
            check_number(temperature, "temperature", least=0.0, strict=True, try_="temperature=1.0")
        mean = self.mean_responses(theta, prompts)
        noise = np.random.default_rng(seed).standard_normal(len(mean))
        y = mean if temperature is None else mean + self.s * np.sqrt(temperature) * noise
        return Samples(y, self.log_probs(theta, prompts, y))

    def mean_responses(self, theta: Any, X: Any) -> np.ndarray:
        """x_i.theta for questions X (n, p), shape (n,)."""
        X = matrix(X, "X")
        return X @ vector(theta, "theta", X.shape[1])

    def respond(self, theta: Any, X: Any, rng: np.random.Generator) -> np.ndarray:
        """One response y_i ~ Normal(x_i.theta, s^2) for each question of X (n, p), shape (n,)."""
        mean = self.mean_responses(theta, X)
        return mean + self.s * rng.standard_normal(len(mean))

    def log_probs(self, theta: Any, X: Any, y: Any) -> np.ndarray:
        """log pi_theta(y_i given x_i) = -(x_i.theta - y_i)^2 / 2s^2 - log(2 pi s^2) / 2, (n,)."""
        mean = self.mean_responses(theta, X)
        r = (mean - vector(y, "y", len(mean))) / self.s
        return -0.5 * r * r - 0.5 * np.log(2.0 * np.pi) - np.log(self.s)


def matrix(a: Any, name: str) -> np.ndarray:
    array = np.asarray(a, dtype=np.float64)
    if array.ndim != 2 or 0 in array.shape or not np.all(np.isfinite(array)):
        raise ValueError(
            f"{name} has shape {array.shape} or entries that are not finite; needed finite numbers "
            f"of shape (samples, features), at least one of each; try {name}.reshape(-1, 1)"
        )
    return array


def vector(a: Any, name: str, size: int) -> np.ndarray:
    array = np.asarray(a, dtype=np.float64)
    if array.shape != (size,) or not np.all(np.isfinite(array)):
        raise ValueError(
            f"{name} has shape {array.shape} or entries that are not finite; needed finite numbers "
            f"of shape ({size},); try {name}.reshape(-1)"
        )
    return array
