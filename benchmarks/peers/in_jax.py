"""The two levels in JAX, for jaxopt and optimistix. float64."""
# pyright: reportMissingImports=false

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .exchange import Arrays, Clock, Run, minimise_logits

jax.config.update("jax_enable_x64", True)


def losses(kind: str, theta: Any, X: Any, y: Any) -> Any:
    """l_i(theta), (n,)."""
    T = X @ theta
    if kind == "squared":
        return 0.5 * (T - y) ** 2
    if kind == "binary":
        return jnp.logaddexp(0.0, -y * T)
    chosen = jnp.take_along_axis(T, y[:, None].astype(int), axis=1)[:, 0]
    return jax.nn.logsumexp(T, axis=1) - chosen


def lower_level(arrays: Arrays) -> Callable[[Any, Any], Any]:
    """(theta, w) -> F_w(theta) with the ridge."""
    X, y = jnp.asarray(arrays.X), jnp.asarray(arrays.y)

    def lower(theta, w):
        return w @ losses(arrays.kind, theta, X, y) + 0.5 * arrays.mu * jnp.sum(theta**2)

    return lower


def upper_level(arrays: Arrays, fit: Callable[[Any, Any], Any]) -> Any:
    """(omega, start) -> ((L_val(theta(w)), theta(w)), gradient in omega), compiled."""
    X, y = jnp.asarray(arrays.X_val), jnp.asarray(arrays.y_val)
    codes, counts = jnp.asarray(arrays.codes), jnp.asarray(arrays.counts)

    def outer(omega, start):
        w = (jax.nn.softmax(omega) / counts)[codes]
        theta = fit(jax.lax.stop_gradient(start), w)
        return jnp.mean(losses(arrays.kind, theta, X, y)), theta

    return jax.jit(jax.value_and_grad(outer, has_aux=True))


def descent(arrays: Arrays, fit: Callable[[Any, Any], Any]) -> Run:
    """L-BFGS-B outside, with the derivative of `fit` as the library gives it."""
    outer = upper_level(arrays, fit)

    def run(clock: Clock) -> None:
        theta = jnp.zeros(arrays.shape)

        def objective(omega: np.ndarray) -> tuple[float, np.ndarray]:
            nonlocal theta
            (value, theta), grad = outer(omega, theta)
            return float(value), np.asarray(grad)

        minimise_logits(objective, arrays, clock)

    return run
