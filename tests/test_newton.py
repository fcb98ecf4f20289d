"""Newton's method at its ends: no gradient, too large a one, no minimiser to be found."""

import numpy as np
import pytest
from strategies import arrays

import bdtheory as bdt
from bdtheory.hypergradient import refit
from bdtheory.models.newton import Factor, LowerLevel

TRAIN, VAL = arrays(8, 60, 5, 10, 2)


def test_a_right_hand_side_of_zeros_is_its_own_solution():
    problem = bdt.Problem(bdt.Logistic(1e-2), train=TRAIN, val=VAL)
    lower = LowerLevel(np.full(60, 1 / 60), problem.train, np.full(5, 1e-2))
    nothing = np.zeros(5)
    assert not Factor()(lower, lower.at(nothing).P, nothing, 1e-10).any()


def test_a_gradient_that_overflows_is_no_minimum():
    problem = bdt.Problem(bdt.Logistic(1e-2), train=(1e70 * TRAIN[0], TRAIN[1]), val=VAL)
    fit = refit(problem, np.full(60, 1e250))
    assert not fit.converged and fit.message == "the lower-level gradient is not finite"
    assert fit.gap == fit.distance == np.inf


@pytest.mark.parametrize("weight, converges", [(1e-6, True), (1e-12, False)])
def test_a_row_of_next_to_no_weight_keeps_no_theta_finite_without_a_ridge(weight, converges):
    """The minimiser is log(1 / w_3) = 13.8, or 27.6: there F is below 1e-9, which counts as 0."""
    X, y = np.array([[1.0], [-1.0], [1.0]]), np.array([1, 0, 0])
    problem = bdt.Problem(bdt.Logistic(0.0), train=(X, y), val=(X, y))
    fit = refit(problem, np.array([0.5, 0.5, weight]))
    assert fit.converged is converges and ("separable" in fit.message) is not converges
    if converges:
        assert fit.theta[0] == pytest.approx(-np.log(weight), rel=1e-6)
