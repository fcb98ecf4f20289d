"""betty-ml: two `ImplicitProblem`s and an `Engine`, as in its data-reweighting tutorial.

The outer problem's module holds the logits, the inner one theta. The inner problem takes
`unroll_steps` gradient steps between two outer steps (SGD with Nesterov momentum; Adam outside).
The hypergradient is its "neumann" or "cg", whichever does better. With enough terms the first is
exact. The second is not: each direction is built from the old residual (betty 0.1.1,
hypergradient/cg.py), and at uniform weights and a converged theta its relative error is .12 with 5
steps and .21 with 60 on P4, 1.5 and 8.4 on P3.
"""
# pyright: reportMissingImports=false

from __future__ import annotations

import itertools
import logging
import warnings

import torch
from betty.configs import Config, EngineConfig
from betty.engine import Engine
from betty.problems import ImplicitProblem
from torch import nn

from .exchange import Arrays, Clock, Run, serve, weights
from .in_torch import Levels

# Step size of the inner SGD, which is also Neumann's; of the outer Adam; inner steps for each outer
# one, and as many Neumann terms: the least t99 in `benchmarks.bilevel --search`, or the least L_val
# where none gets there.
GRID = [
    {"type": kind, "inner": inner, "outer": outer, "steps": steps}
    for kind, inners in (("cg", (0.03, 0.1, 0.3, 1.0)), ("neumann", (0.1, 0.3, 1.0, 3.0)))
    for inner, outer, steps in itertools.product(inners, (0.3, 1.0), (10, 50))
]
CHOSEN = {
    "P1": {"type": "neumann", "inner": 0.3, "outer": 1.0, "steps": 10},
    "P2": {"type": "cg", "inner": 1.0, "outer": 0.3, "steps": 10},
    "P3": {"type": "neumann", "inner": 1.0, "outer": 1.0, "steps": 50},
    "P4": {"type": "neumann", "inner": 3.0, "outer": 1.0, "steps": 10},
}
CG_STEPS = 20


class Values(nn.Module):
    """A tensor as a module, which is what betty optimises."""

    def __init__(self, start):
        super().__init__()
        self.values = nn.Parameter(start)

    def forward(self):
        return self.values


class Outer(ImplicitProblem):
    """The logits; `inner` is set by the engine."""

    levels: Levels
    clock: Clock

    def training_step(self, batch):
        return {"loss": self.levels.upper(self.inner())}

    def get_batch(self):
        return ()

    def param_callback(self, params):
        self.clock.see(self.module.values.grad)
        omega = self.module.values.detach().numpy()
        self.clock.note(lambda: weights(self.levels.arrays, omega), float("nan"))


class Inner(ImplicitProblem):
    """theta; `outer` is set by the engine."""

    levels: Levels

    def training_step(self, batch):
        return self.levels.lower(self.module(), self.outer())

    def get_batch(self):
        return ()


def build(arrays: Arrays, settings: dict) -> Run:
    """The run."""
    levels = Levels(arrays)

    def run(clock: Clock) -> None:
        omega, theta = Values(torch.zeros(len(arrays.counts))), Values(torch.zeros(arrays.shape))
        outer = Outer(
            name="outer",
            config=Config(),
            module=omega,
            optimizer=torch.optim.Adam(omega.parameters(), lr=settings["outer"]),
        )
        inner = Inner(
            name="inner",
            config=Config(
                type=settings["type"],
                cg_iterations=CG_STEPS,
                neumann_iterations=settings["steps"],
                neumann_alpha=settings["inner"],
                unroll_steps=settings["steps"],
            ),
            module=theta,
            optimizer=torch.optim.SGD(
                theta.parameters(), lr=settings["inner"], momentum=0.9, nesterov=True
            ),
        )
        outer.levels = inner.levels = levels
        outer.clock = clock
        Engine(
            problems=[outer, inner],
            config=EngineConfig(train_iters=10**9),
            dependencies={"u2l": {outer: [inner]}, "l2u": {inner: [outer]}},
        ).run()

    return run


if __name__ == "__main__":
    logging.disable(logging.INFO)  # the engine logs its set-up
    warnings.simplefilter("ignore")  # its torch is older than ours
    serve(build, GRID, CHOSEN, "betty-ml", "torch")
