"""The lab, examples/lab.py, run without a browser: its numbers, its figure, its bad input."""

from __future__ import annotations

import base64
import importlib.util
import math
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import bdtheory as bdt
from bdtheory.hypergradient import mean_loss, refit

mo = pytest.importorskip("marimo", reason='the lab needs marimo: pip install "bdtheory[lab]"')

REPOSITORY = Path(__file__).parent.parent
PATH = REPOSITORY / "examples" / "lab.py"


@pytest.fixture(scope="module")
def lab():
    spec = importlib.util.spec_from_file_location("lab_notebook", PATH)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where marimo and dataclasses look for it
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def run(lab, task="labels flipped", method="Implicit", last=1000, **changed):
    """Definitions of the app with these controls, the rest as they are at the start."""
    models, *start = lab.TASKS[task][2:]
    settings = dict(zip(("N", "m", "p", "corrupt", "mu"), start, strict=True))
    settings |= {"model": models[0], "seed": 0} | changed
    seed = settings["seed"]
    problem, clean = lab.make_problem(task, **settings)
    given = {
        "task": mo.ui.dropdown([task], task),
        "method": mo.ui.dropdown([method], method),
        "last": mo.ui.slider(1, 1000, value=last),
    }
    return lab.app.run(defs=given | {"problem": problem, "clean": clean, "seed": seed})[1]


def by_method(found):
    return {row["method"]: row for row in found["rows"]}


def test_the_app_as_it_starts(lab):
    outputs, found = lab.app.run()
    rows = by_method(found)
    assert list(rows) == list(lab.METHODS) and len(outputs) >= 6
    # What the table says is what learn_weights says about the task it names.
    task = lab.tasks.label_noise(0, N=300, p=10, m=100, n_test=2000, corrupt=0.3, mu=0.01)
    assert np.array_equal(found["clean"], task.clean)
    for name in ("Implicit", "ValidationOnly", "Uniform"):
        fit = bdt.learn_weights(task.problem(), getattr(bdt, name)())
        assert math.isclose(rows[name]["validation loss"], fit.val_loss, rel_tol=1e-9)
        assert math.isclose(rows[name]["test loss"], fit.test_loss, rel_tol=1e-9)
    implicit, alone = rows["Implicit"]["validation loss"], rows["ValidationOnly"]["validation loss"]
    assert 0.9 * alone < implicit < 0.99 * alone
    assert rows["Implicit"]["test loss"] > rows["Auto"]["test loss"]  # what validation can't see
    assert rows["Auto"]["AUC"] > 0.9 and rows["Uniform"]["AUC"] == 0.5
    assert math.isclose(rows["Uniform"]["ESS"], 300) and 50 < rows["Implicit"]["ESS"] < 200
    assert math.isnan(rows["DirectMixing"]["AUC"]) and math.isnan(rows["ValidationOnly"]["ESS"])


def test_groups_share_a_weight_and_bad_groups_lose_it(lab):
    found = run(lab, "noisy targets of bad groups", "BMO")
    groups, w = found["problem"].groups, found["fit"].weights
    assert len(np.unique(groups)) == 20 and np.ptp(w) > 0.001
    assert all(np.ptp(w[groups == g]) < 1e-15 for g in range(20))
    assert w[found["clean"]].sum() > 0.99 and by_method(found)["BMO"]["AUC"] == 1.0


def test_the_exact_task_has_no_test_loss(lab):
    found = run(lab, "exact regression")
    rows = by_method(found)
    assert all(math.isnan(row["test loss"]) for row in rows.values())
    assert rows["Implicit"]["validation loss"] < 1e-20 < 1 < rows["Uniform"]["validation loss"]
    assert found["clean"].sum() == 9 and len(found["clean"]) == 15


def test_the_model_and_the_seed_are_used(lab):
    ridge, other = run(lab, model="Ridge"), run(lab, seed=1)
    assert isinstance(ridge["problem"].model, bdt.Ridge) and ridge["problem"].model.mu == 0.01
    assert by_method(ridge)["Uniform"]["validation loss"] != pytest.approx(
        by_method(other)["Uniform"]["validation loss"], rel=1e-3
    )


def test_stopping_early_returns_the_best_weights_so_far(lab):
    found = run(lab, method="Penalty", last=3)
    steps, fit = found["steps"], found["fit"]
    assert steps.shape == (3, 300) and len(fit.history["val_loss"]) == 3
    assert np.allclose(steps.sum(axis=1), 1.0)
    full = by_method(found)["Penalty"]["validation loss"]  # the table lets every method finish
    assert full < 0.99 * fit.val_loss


def test_digits(lab):
    pytest.importorskip("sklearn", reason="the digits come with scikit-learn")
    problem, clean = lab.make_problem(
        "handwritten digits", "Logistic", N=60, m=40, p=65, corrupt=0.5, mu=0.01
    )
    assert (problem.N, problem.m, problem.test.X.shape[0]) == (60, 40, 1797 - 100)
    assert 20 < clean.sum() < 45


def test_the_figure_shows_the_numbers(lab):
    found = run(lab, method="BMO")
    history, shares, weights, losses = found["figure"].axes
    clean, bad, ess = (line.get_ydata() for line in shares.lines)
    assert len(clean) == len(found["steps"]) and np.allclose(clean + bad, 1.0)
    assert clean[-1] > 0.9 > 0.7 > clean[0] and np.isclose(ess[0], 1.0) and ess[-1] < 0.2
    w = found["fit"].weights
    assert f"{w[found['clean']].sum():.1%}" in weights.get_title(loc="left")
    assert history.get_title(loc="left").startswith("BMO")
    row = by_method(found)["BMO"]
    drawn = [line.get_xdata()[0] for line in losses.lines if line.get_ydata()[0] == 2]
    assert drawn == [row["validation loss"], row["test loss"]]


@pytest.mark.parametrize("task", ["labels flipped", "exact regression"])
def test_each_panel_has_a_quarter_of_the_figure_on_its_own(lab, task):
    figure = run(lab, task)["figure"]
    shown = lab.panels(figure).text
    png = base64.b64decode(re.findall(r"--png: url\(data:image/png;base64,([^)]*)\)", shown)[0])
    assert png == lab.saved(figure, "png")  # once, in four places
    places = re.findall(r"var\(--png\) (\d+)% (\d+)% / 200%", shown)
    assert places == [("0", "0"), ("100", "0"), ("0", "100"), ("100", "100")]
    width, height = figure.get_size_inches() * figure.dpi
    for (x, y), axes in zip(places, figure.axes, strict=True):
        left, bottom = int(x) / 200 * width, (100 - int(y)) / 200 * height
        box = axes.get_tightbbox()
        assert left < box.x0 < box.x1 < left + width / 2
        assert bottom < box.y0 < box.y1 < bottom + height / 2


def test_the_files_are_the_same_each_time(lab):
    found = run(lab, "exact regression")
    args = found["fit"], found["steps"], found["fit"].weights, found["clean"], found["rows"]
    svg, png = (lab.saved(lab.draw(*args), kind) for kind in ("svg", "png"))
    assert svg == lab.saved(lab.draw(*args), "svg") and b"<svg" in svg and b"<dc:date>" not in svg
    assert png.startswith(b"\x89PNG")


def test_the_table_marks_the_least_loss(lab):
    empty = {"test loss": math.nan, "ESS": 2.0, "AUC": 0.5, "status": "stationary"}
    rows = [{"method": k, "validation loss": v} | empty for k, v in (("A", 0.5), ("B", 0.25))]
    assert lab.as_table(rows).splitlines()[2:] == [
        "| A | 0.5 | – | 2 | 0.5 | stationary |",
        "| B | **0.25** | – | 2 | 0.5 | stationary |",
    ]


def test_watching_shows_re_fitted_losses_now_and_then(lab, monkeypatch):
    problem, clean = lab.make_problem(
        "labels flipped", "Logistic", N=40, m=30, p=3, corrupt=0.3, mu=0.01
    )
    shown = []
    monkeypatch.setattr(lab, "saved", lambda figure, _: shown.append(figure) or b"png")
    # Made at 0; too early; shown for 1 s from 10 on, so not again before 14; shown again.
    clock = iter([0.0, 0.1, 10.0, 11.0, 11.0, 13.9, 15.0, 16.0, 16.0])
    monkeypatch.setattr(lab, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    uniform, truth = np.full(40, 1 / 40), clean / clean.sum()
    watch = lab.watcher(problem, clean)
    for count in range(1, 5):
        watch([uniform, uniform, truth, truth][:count])
    first, second = (figure.axes for figure in shown)
    losses = [mean_loss(problem, refit(problem, w).theta, problem.val) for w in (uniform, truth)]
    assert losses[0] > 1.05 * losses[1]
    assert first[0].lines[0].get_xydata().tolist() == [[1, losses[0]]]
    assert second[0].lines[0].get_xydata().tolist() == [[1, losses[0]], [3, losses[1]]]
    assert second[1].lines[0].get_ydata()[-1] == pytest.approx(1.0)
    assert not second[3].get_visible()


def test_bad_settings_are_said_in_one_sentence(lab):
    with pytest.raises(ValueError, match="needed at most p in all"):
        run(lab, "exact regression", N=100)


def test_colours_are_those_of_the_figures(lab):
    from figures.style import LOOKS

    assert {name: color for name, (_, color) in lab.METHODS.items()} == {
        name: LOOKS[name].color for name in lab.METHODS
    }


def test_marimo_finds_nothing_to_complain_about():
    command = [sys.executable, "-m", "marimo", "check", "--strict", str(PATH)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(PATH.read_text().splitlines()) <= 250
