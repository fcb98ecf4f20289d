"""The value L_val(theta(w)) and its exact gradient in the weights."""

from __future__ import annotations

from typing import Any

import numpy as np
from array_api_compat import array_namespace, device, is_torch_array

from .models.firstorder import fit_by_gradient
from .models.fit import Fit
from .models.logistic import Logistic
from .problem import Array, Problem, refuse_masked
from .selection import to_numpy


def hypergradient(problem: Problem, weights: Array) -> tuple[Any, Array]:
    """L_val(theta(w)) and the plain partial derivatives dL_val/dw_i, exact to solver precision.

    With g = grad L_val(theta(w)) and H the lower-level Hessian, the implicit function theorem gives

        dL_val/dw_i = -grad l_i(theta(w))' H^-1 g            (theory.md, "closed form")

    Parameters
    ----------
    problem : a `Problem` whose model can be solved (`Ridge`, `Logistic`).
    weights : (N,), non-negative, finite, not all zero; taken as given, not normalised.

    Returns
    -------
    value : L_val, a float for NumPy, a 0-d tensor for torch.
    grad : (N,), neither projected on the simplex nor multiplied by w.

    Raises
    ------
    ValueError : for weights of another shape, negative, not finite, or all zero; or where the lower
        level has no minimiser (separable data at mu = 0), or the derivatives overflow.
    TypeError : for a model without an exact re-fit.

    Examples
    --------
    >>> import numpy as np, bdtheory as bdt
    >>> X, y = np.array([[1.0], [1.0]]), np.array([0.0, 2.0])
    >>> problem = bdt.Problem(bdt.Ridge(mu=1.0), train=(X, y), val=(X[:1], y[:1]))
    >>> value, grad = bdt.hypergradient(problem, np.array([0.5, 0.5]))
    >>> round(value, 12), grad.round(12).tolist()   # theta = 2 w_2 / (w_1 + w_2 + mu) = 0.5
    (0.125, [-0.125, 0.375])
    """
    fit = refit(problem, check_weights(problem, weights))
    if not fit.converged:
        raise ValueError(
            f"the lower level has no exact solution ({fit.message}); needed a minimiser theta(w); "
            "try a larger mu"
        )
    value, grad = value_and_gradient(problem, fit)
    if not bool(array_namespace(grad).all(array_namespace(grad).isfinite(grad))):
        raise ValueError(
            "the hypergradient overflows at these weights, too far apart in size; needed numbers "
            "that its dtype holds; try bdtheory.weights.drop_negligible, or a larger mu"
        )
    return (value if is_torch_array(grad) else float(value)), grad


def check_weights(problem: Problem, weights: Array) -> Array:
    """The weights in the problem's array library and dtype, or a ValueError."""
    like = problem.train.like
    xp = array_namespace(like)
    refuse_masked(weights, "weights")
    try:
        w = xp.asarray(weights, dtype=like.dtype, device=device(like))
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"weights are not numbers ({' '.join(str(error).split())}); needed one per training "
            f"sample, ({problem.N},); try numpy.full(N, 1 / N)"
        ) from None
    if tuple(w.shape) != (problem.N,):
        raise ValueError(
            f"weights have shape {tuple(w.shape)}; needed one per training sample, ({problem.N},); "
            "try numpy.full(N, 1 / N)"
        )
    bad = ~(xp.isfinite(w) & (w >= 0))
    if bool(xp.any(bad)):
        row = int(np.argmax(to_numpy(bad)))
        raise ValueError(
            f"weights have {float(w[row])} at row {row}; needed finite numbers >= 0; "
            "try softmax of your scores"
        )
    if not bool(xp.any(w > 0)):
        raise ValueError(
            "weights are all zero; needed at least one positive; try numpy.full(N, 1 / N)"
        )
    return w


def refit(problem: Problem, w: Array, warm_start: Fit | None = None, *, rtol: float = 0.0) -> Fit:
    """theta(w), ties at mu = 0 decided by the validation data where the model says so.

    `rtol` : the relative error, in norm, that the hypergradient of this fit may have; 0 for as
    exact as rounding allows. Iterative fits then stop sooner.
    """
    return fit_weighted(problem, w, problem.train, warm_start, val=problem.val, rtol=rtol)


@np.errstate(over="ignore", invalid="ignore")  # comes out as not converged, or as a bound of inf
def fit_weighted(
    problem: Problem,
    w: Array,
    data: Any,
    warm_start: Fit | None = None,
    *,
    val: Any = None,
    rtol: float = 0.0,
) -> Fit:
    """theta for weights w on any data set: by the model's own `fit`, or else by gradients."""
    model = problem.model
    if hasattr(model, "training"):
        raise TypeError(
            f"{type(model).__name__} is trained, it has no exact re-fit; needed Ridge or Logistic; "
            "try learn_weights with Penalty() or BMO(), which do without"
        )
    if isinstance(model, Logistic):  # iterative: the one fit that a tolerance makes cheaper
        return model.fit(w, data, warm_start, val=val, rtol=rtol)
    if hasattr(model, "fit"):
        return model.fit(w, data, warm_start, val=val)
    return fit_by_gradient(model, w, data, warm_start)


def value_and_gradient(problem: Problem, fit: Fit) -> tuple[Array, Array]:
    """L_val(theta) as a 0-d array and the hypergradient (N,) at a fit; may overflow, in silence."""
    if fit.vjp is None:
        raise TypeError(
            f"{type(problem.model).__name__} has no derivative of theta(w); needed a "
            "differentiable model with an exact `fit`, as Ridge or Logistic; try Penalty() or "
            "BMO(), which do without"
        )
    losses = problem.model.losses(fit.theta, problem.val)
    with np.errstate(over="ignore", invalid="ignore"):  # the callers look at what comes out
        grad = fit.vjp(mean_gradient(problem, fit.theta, problem.val))
    return array_namespace(losses).mean(losses), grad


def mean_loss(problem: Problem, theta: Any, data: Any) -> float:
    """Unpenalised mean loss at theta, a float."""
    losses = problem.model.losses(theta, data)
    return float(array_namespace(losses).mean(losses))


def mean_gradient(problem: Problem, theta: Any, data: Any) -> Any:
    """Gradient of the unpenalised mean loss at theta, shaped like theta."""
    n, X = len(data), data.X
    share = array_namespace(X).full((n,), 1.0 / n, dtype=X.dtype, device=device(X))
    return problem.model.weighted_gradient(theta, share, data)
