"""Bilevel data selection, made checkable: weights for training samples, learned on validation data.

Reading map, in order (the package can be read in an hour):

    problem.py         the problem, and the notation table used everywhere
    weights.py         selector logits -> weights on the simplex
    models/            ridge, logistic: losses, exact re-fit, its derivative; transformers, trained
    hypergradient.py   dL_val/dw
    methods/           Auto, Implicit, Penalty, BMO, baselines; learn_weights; the training loop
    usefulness.py      which samples are useful: exact decisions with certificates
    refining.py        self-refining: rounds of generation; ratios.py, adaptation.py: its theory
    tasks/             generators with the truth known, and file loaders
    testing.py         invariants for solvers of your own
    plots.py, cli.py   pictures and the command line

>>> import numpy as np, bdtheory as bdt
>>> X, y = np.ones((3, 1)), np.array([0.0, 0.0, 3.0])                   # the last target is wrong
>>> problem = bdt.Problem(bdt.Ridge(mu=1e-2), train=(X, y), val=(X[:2], y[:2]))
>>> bool(bdt.learn_weights(problem, bdt.Implicit()).weights[2] < 1e-4)
True
"""

from typing import TYPE_CHECKING

from .hypergradient import hypergradient
from .methods import (
    BMO,
    Auto,
    DirectMixing,
    Implicit,
    Penalty,
    Uniform,
    ValidationOnly,
    learn_weights,
)
from .models import Logistic, OneLayerTransformer, Ridge, Training
from .problem import Problem
from .refining import Generation, refine
from .selection import Selection, Status
from .usefulness import coverage, jointly_useful, maximum_entropy_weights, usefulness
from .weights import effective_sample_size, softmax

if TYPE_CHECKING:
    from .models.transformer import TransformerLM

__version__ = "0.1.0"
__all__ = [
    "BMO",
    "Auto",
    "DirectMixing",
    "Generation",
    "Implicit",
    "Logistic",
    "OneLayerTransformer",
    "Penalty",
    "Problem",
    "Ridge",
    "Selection",
    "Status",
    "Training",
    "TransformerLM",
    "Uniform",
    "ValidationOnly",
    "coverage",
    "effective_sample_size",
    "hypergradient",
    "jointly_useful",
    "learn_weights",
    "maximum_entropy_weights",
    "refine",
    "softmax",
    "usefulness",
]


def __getattr__(name: str):
    """`TransformerLM` on first use: it is the one name that needs torch."""
    if name == "TransformerLM":
        from .models.transformer import TransformerLM

        return TransformerLM
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
