"""optimistix: `minimise` with `LBFGS` for the lower level and its implicit adjoint.

`optimistix.minimise(fn, LBFGS(rtol, atol), y0, args)` differentiates by the implicit function
theorem by default (its page "Adjoints"); the linear system goes to `lineax.CG`, since the Hessian
is positive definite and is then never formed. theta starts the next call. Upper level: SciPy's
L-BFGS-B on the compiled value and gradient, the same as for `plain`.
"""
# pyright: reportMissingImports=false

from __future__ import annotations

import lineax
import optimistix

from .exchange import Arrays, Run, serve
from .in_jax import descent, lower_level

# Inner solver and its tolerances: the least t99 in `benchmarks.bilevel --search`.
GRID = [{"tol": tol, "solver": s} for tol in (1e-3, 1e-4, 1e-6) for s in ("BFGS", "LBFGS")]
CHOSEN = {
    "P1": {"tol": 1e-3, "solver": "LBFGS"},
    "P2": {"tol": 1e-3, "solver": "LBFGS"},
    "P3": {"tol": 1e-4, "solver": "LBFGS"},
    "P4": {"tol": 1e-3, "solver": "LBFGS"},
}


def build(arrays: Arrays, settings: dict) -> Run:
    """The run, with its functions compiled at the first call."""
    lower, tol = lower_level(arrays), settings["tol"]
    solver = getattr(optimistix, settings["solver"])(rtol=tol, atol=tol)
    adjoint = optimistix.ImplicitAdjoint(lineax.CG(rtol=1e-6, atol=1e-9))
    definite = frozenset({lineax.positive_semidefinite_tag})

    def fit(theta, w):
        found = optimistix.minimise(
            lower, solver, theta, args=w, adjoint=adjoint, tags=definite, max_steps=500, throw=False
        )
        return found.value

    return descent(arrays, fit)


if __name__ == "__main__":
    serve(build, GRID, CHOSEN, "optimistix", "lineax", "jax")
