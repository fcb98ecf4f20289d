"""plots.py: what is drawn is the data of the selection."""

import dataclasses

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

import bdtheory as bdt
from bdtheory.models import LinearGaussian
from bdtheory.plots import BAD, CLEAN, plot_history, plot_rounds, plot_weights
from bdtheory.refinement import Refinement


@pytest.fixture(scope="module")
def problem():
    """Three samples of y = 0 at x = 1, one of y = 3; validation y = 0.5, out of reach."""
    X, y = np.ones((4, 1)), np.array([0.0, 0.0, 3.0, 0.0])
    return bdt.Problem(bdt.Ridge(mu=1e-2), train=(X, y), val=(X[:2], y[:2] + 0.5))


@pytest.fixture(scope="module")
def selection(problem):
    return bdt.learn_weights(problem, bdt.Implicit())


def lines(ax):
    return [np.asarray(line.get_ydata()) for line in ax.get_lines()]


def test_history_shows_each_step_and_the_running_minimum(selection):
    each, best = lines(plot_history(selection))
    assert np.array_equal(each, selection.history["val_loss"])
    assert np.array_equal(best, np.minimum.accumulate(each))
    assert best[-1] < each[0]  # otherwise the two lines could be swapped unseen


def test_history_survives_a_loss_of_zero_and_one_that_is_not_finite(selection):
    history = {"iteration": np.arange(3), "seconds": np.zeros(3)}
    odd = dataclasses.replace(selection, history=history | {"val_loss": np.array([1, np.nan, 0])})
    ax = plot_history(odd)
    assert ax.get_yscale() == "linear"
    assert lines(ax)[1].tolist() == [1.0, 1.0, 0.0]


def test_weights_are_sorted_and_coloured_by_truth(selection):
    w, clean = np.array([0.1, 0.4, 0.2, 0.3]), np.array([True, True, False, True])
    ax = plot_weights(dataclasses.replace(selection, weights=w), clean=clean)
    good, bad = ax.get_lines()
    assert good.get_ydata().tolist() == [0.4, 0.3, 0.1]
    assert bad.get_xdata().tolist() == [3]
    assert (good.get_color(), bad.get_color()) == (CLEAN, BAD)
    assert "80.0%" in ax.get_title(loc="left")


def test_exact_zeros_lie_below_every_positive_weight(selection):
    w = np.array([0.5, 0.0, 0.5 - 1e-9, 1e-9])
    ax = plot_weights(dataclasses.replace(selection, weights=w))
    assert lines(ax)[0][-1] < 1e-10
    assert "exactly 0" in ax.texts[0].get_text()
    assert not plot_weights(dataclasses.replace(selection, weights=np.full(4, 0.25))).texts


def test_draws_into_the_axes_given_and_changes_no_setting(selection):
    def settings():  # reading the backend resolves it: a setting of its own kind
        return {key: value for key, value in matplotlib.rcParams.items() if key != "backend"}

    before = settings()
    ax = Figure().subplots()
    assert plot_history(selection, ax) is ax
    assert plot_weights(selection, ax=ax) is ax
    assert settings() == before


def test_torch_weights_are_drawn_as_numpy(problem, selection):
    torch = pytest.importorskip("torch")
    weights = torch.from_numpy(selection.weights)
    ax = plot_weights(dataclasses.replace(selection, weights=weights), clean=torch.ones(4) > 0)
    assert np.array_equal(lines(ax)[0], -np.sort(-selection.weights))


def test_a_mask_of_another_shape_is_refused(selection):
    with pytest.raises(ValueError, match=r"clean has shape \(3,\); needed .* \(4,\); try"):
        plot_weights(selection, clean=np.ones(3, dtype=bool))


@pytest.fixture(scope="module")
def refinement():
    """Two rounds on two questions whose targets validation contradicts, with a score."""
    model = LinearGaussian(s=0.1, start=np.zeros(1))
    train = np.array([[1.0], [2.0]]), np.array([3.0, 6.0])
    problem = bdt.Problem(model, train=train, val=(np.ones((1, 1)), np.ones(1)))
    return bdt.refine(problem, bdt.BMO(), rounds=2, score=lambda theta: float(theta[0]))


def test_rounds_show_losses_questions_and_scores(refinement):
    ax = plot_rounds(refinement)
    offline, loss = lines(ax)
    (questions,) = lines(ax.figure.axes[1])
    assert offline.tolist() == [refinement.offline.val_loss]
    assert np.array_equal(loss, refinement.history["val_loss"])
    assert np.array_equal(questions, refinement.history["questions"])
    assert len({*offline.tolist(), *loss.tolist(), *questions.tolist()}) >= 4  # not to be swapped
    one, two = refinement.history["score"]
    assert [text.get_text() for text in ax.texts] == [f"score {one:.3g}", f"{two:.3g}"]
    assert ax.get_yscale() == "log"


def test_rounds_without_a_score_or_with_a_loss_of_zero(refinement):
    zero = np.array([0.0, 1.0])
    unknown = {"score": np.full(2, np.nan), "val_loss": zero}
    ax = plot_rounds(dataclasses.replace(refinement, history=refinement.history | unknown))
    assert (len(ax.texts), ax.get_yscale()) == (0, "linear")


def test_no_round_is_drawn_as_offline_alone(refinement):
    ax = Figure().subplots()
    assert plot_rounds(Refinement(refinement.offline, refinement.offline), ax) is ax
    assert [text.get_text() for text in ax.get_xticklabels()] == ["offline"]
