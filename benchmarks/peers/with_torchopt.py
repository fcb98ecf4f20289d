"""torchopt: `ImplicitMetaGradientModule`, as in its documentation of implicit gradients.

The lower level is the module's `objective`, solved by `solve` from the previous theta with
`torch.optim.LBFGS`; the derivative goes through `linear_solve.solve_cg`. Upper level: Adam on the
logits, the usual choice of its examples, with the step size that a coarse search found best.
"""
# pyright: reportMissingImports=false, reportGeneralTypeIssues=false, reportCallIssue=false

from __future__ import annotations

import torch
import torchopt
from torch import nn

from .exchange import Arrays, Clock, Run, serve, weights
from .in_torch import Levels

# Adam's step size: the least t99 in `benchmarks.bilevel --search`.
GRID = [{"lr": lr} for lr in (0.1, 0.3, 1.0, 3.0)]
CHOSEN = {"P1": {"lr": 3.0}, "P2": {"lr": 3.0}, "P3": {"lr": 1.0}, "P4": {"lr": 1.0}}
INNER_TOL, INNER_STEPS, CG_STEPS = 1e-5, 100, 100


class Inner(
    torchopt.nn.ImplicitMetaGradientModule,
    linear_solve=torchopt.linear_solve.solve_cg(maxiter=CG_STEPS, rtol=1e-5, atol=0.0),
):
    """theta(w) as a module: theta is its parameter, omega its meta-parameter."""

    def __init__(self, levels: Levels, theta, omega):
        super().__init__()
        self.levels = levels
        self.theta = nn.Parameter(theta)
        self.omega = omega

    def objective(self):
        return self.levels.lower(self.theta, self.omega)

    def solve(self):
        lbfgs = torch.optim.LBFGS(
            [self.theta],
            max_iter=INNER_STEPS,
            tolerance_grad=INNER_TOL,
            tolerance_change=0.0,
            line_search_fn="strong_wolfe",
        )

        def closure():
            with torch.enable_grad():
                lbfgs.zero_grad()
                value = self.objective()
                value.backward(inputs=[self.theta])
            return value

        lbfgs.step(closure)
        return self


def build(arrays: Arrays, settings: dict) -> Run:
    """The run."""
    levels = Levels(arrays)

    def run(clock: Clock) -> None:
        omega = torch.zeros(len(arrays.counts), requires_grad=True)
        theta = torch.zeros(arrays.shape)
        adam = torch.optim.Adam([omega], lr=settings["lr"])
        while True:
            inner = Inner(levels, theta, omega)
            inner.solve()
            value = levels.upper(inner.theta)
            adam.zero_grad()
            value.backward()
            clock.see(omega.grad)
            clock.note(lambda: weights(arrays, omega.detach().numpy()), value.item())
            adam.step()
            theta = inner.theta.detach().clone()

    return run


if __name__ == "__main__":
    serve(build, GRID, CHOSEN, "torchopt", "torch")
