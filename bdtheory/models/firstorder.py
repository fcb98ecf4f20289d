"""theta(w) for a model that offers losses and gradients only: L-BFGS on the weighted losses.

Nothing is exact here: no bound on the gap is known, so such fits are never certified, and there is
no hypergradient. `Penalty` and `BMO` need neither.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from array_api_compat import array_namespace, device
from scipy.optimize import minimize

from ..linalg import dot
from ..problem import Array
from ..selection import to_numpy
from .fit import Fit

MAX_ITERATIONS = 500


def fit_by_gradient(model: Any, w: Array, data: Any, warm_start: Fit | None) -> Fit:
    """A local minimiser of sum_i w_i l_i(theta), from the previous theta or `model.initial_theta`.

    `model` has `losses(theta, data)`, `weighted_gradient(theta, w, data)` and
    `initial_theta(data)`; theta is one array.
    """
    start = model.initial_theta(data) if warm_start is None else warm_start.theta
    xp, dev, shape = array_namespace(start), device(start), tuple(start.shape)

    def restore(flat: np.ndarray) -> Array:
        return xp.asarray(flat.reshape(shape), dtype=start.dtype, device=dev)

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        theta = restore(flat)
        grad = to_numpy(model.weighted_gradient(theta, w, data)).astype(np.float64)
        return dot(w, model.losses(theta, data)), grad.reshape(-1)

    flat = to_numpy(start).astype(np.float64).reshape(-1)
    options = {"maxiter": MAX_ITERATIONS, "ftol": 1e-14, "gtol": 1e-9}
    run = minimize(objective, flat, jac=True, method="L-BFGS-B", options=options)
    finite = math.isfinite(run.fun)
    message = "" if finite else f"the weighted loss is {run.fun}"
    return Fit(restore(run.x), None, math.inf, math.inf, finite, message)
