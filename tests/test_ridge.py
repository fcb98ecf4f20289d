"""Ridge regression where its columns have very different units and there is no ridge."""

import numpy as np
import pytest
from strategies import arrays

import bdtheory as bdt


@pytest.mark.parametrize("unit", [1.0, 1e-9])
def test_the_hypergradient_at_mu_zero_is_the_slope_in_any_units(unit):
    """theta.x has no unit of x in it, so neither has the slope: that of central differences."""
    train, val = arrays(3, 20, 4, 6)
    units, w = np.array([1.0, 1.0, 1.0, unit]), np.random.default_rng(0).dirichlet(np.ones(20))
    scaled = {"train": (train[0] * units, train[1]), "val": (val[0] * units, val[1])}
    problem = bdt.Problem(bdt.Ridge(0.0), **scaled)
    _, grad = bdt.hypergradient(problem, w)
    towards = np.random.default_rng(1).standard_normal(20)
    values = (bdt.hypergradient(problem, w * (1 + h * towards))[0] for h in (1e-4, -1e-4))
    slope = (next(values) - next(values)) / 2e-4
    assert grad @ (w * towards) == pytest.approx(slope, rel=1e-6) and abs(slope) > 1e-2
