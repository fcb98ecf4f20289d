"""jaxopt: implicit differentiation of the lower level, warm-started, as in its documentation.

Lower level: ridge in closed form under `implicit_diff.custom_root` (its page "Implicit
differentiation"); logistic by `jaxopt.LBFGS`, which differentiates implicitly by default. Both
with `solve_cg` for the linear system. theta comes back as auxiliary data and starts the next call
(its example "lasso implicit diff"). Upper level: SciPy's L-BFGS-B on the compiled value and
gradient, the same as for `plain`.
"""
# pyright: reportMissingImports=false

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxopt import LBFGS, implicit_diff, linear_solve

from .exchange import Arrays, Run, serve
from .in_jax import descent, lower_level

# `tol` of the inner LBFGS (ridge needs none): the least t99 in `benchmarks.bilevel --search`.
GRID = [{"tol": tol} for tol in (1e-3, 1e-4, 1e-5, 1e-6)]
CHOSEN = {"P1": {"tol": 1e-4}, "P2": {"tol": 1e-3}, "P3": {"tol": 1e-4}, "P4": {"tol": 1e-4}}


def build(arrays: Arrays, settings: dict) -> Run:
    """The run, with its functions compiled at the first call."""
    lower = lower_level(arrays)
    if arrays.kind == "squared":
        X, y = jnp.asarray(arrays.X), jnp.asarray(arrays.y)

        @implicit_diff.custom_root(jax.grad(lower), solve=linear_solve.solve_cg)
        def fit(theta, w):  # theta, the start, is not needed
            H = X.T @ (w[:, None] * X) + arrays.mu * jnp.eye(X.shape[1])
            return jnp.linalg.solve(H, X.T @ (w * y))
    else:
        tol, solve = settings["tol"], linear_solve.solve_cg
        solver = LBFGS(lower, maxiter=500, tol=tol, implicit_diff_solve=solve)

        def fit(theta, w):
            return solver.run(theta, w).params

    return descent(arrays, fit)


if __name__ == "__main__":
    serve(build, GRID, CHOSEN, "jaxopt", "jax")
