"""The phase diagram: its headline, and arrays that do not depend on joblib's back end or n_jobs."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

joblib = pytest.importorskip("joblib", reason="joblib comes with scikit-learn")
ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module", autouse=True)
def _root_on_path():
    """`figures` is a folder of the repository, not an installed package; workers inherit it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT))
        patch.setenv("PYTHONPATH", str(ROOT))
        yield


@pytest.fixture(scope="module")
def figure(_root_on_path):
    return importlib.import_module("figures.phase_diagram")


@pytest.fixture(scope="module")
def arrays(figure):
    """Quick arrays, in this process."""
    return figure.compute(True, n_jobs=1)


def assert_same(first, second):
    assert first.keys() == second.keys()
    for key, value in first.items():
        assert np.array_equal(value, second[key]), key


def test_two_processes_give_the_same_arrays(figure, arrays):
    assert_same(figure.compute(True, n_jobs=2), arrays)


def test_n_jobs_none_takes_the_back_end_from_parallel_config(figure, arrays):
    with joblib.parallel_config(backend="threading", n_jobs=2):
        assert_same(figure.compute(True, n_jobs=None), arrays)


def test_a_dask_cluster_gives_the_same_arrays(figure, arrays):
    distributed = pytest.importorskip(
        "distributed", reason='a cluster needs pip install "dask[distributed]"'
    )
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster),
        joblib.parallel_config(backend="dask"),
    ):
        assert_same(figure.compute(True, n_jobs=-1), arrays)


def test_headline_holds_and_two_drawings_have_the_same_bytes(figure, arrays, tmp_path):
    figure.headline(arrays)
    save = figure.style.save
    paths = [save(figure.draw, arrays, tmp_path / run, "phase_diagram") for run in "ab"]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert paths[0].with_suffix(".png").read_bytes() == paths[1].with_suffix(".png").read_bytes()


@pytest.mark.parametrize(
    ("key", "tamper", "message"),
    [
        ("bds_val", lambda a: a + 10.0, "mean gap"),
        ("m", lambda a: np.where(a == 40, 40, a**2), "slope in m"),
        ("mixing_test", lambda a: a / 10.0, "few bad"),
        ("mixing_test", lambda a: a * 10.0, "many bad"),
    ],
)
def test_headline_fails_where_a_number_is_changed(figure, arrays, key, tamper, message):
    with pytest.raises(AssertionError, match=message):
        figure.headline(arrays | {key: tamper(arrays[key])})


def test_new_loss_is_the_mean_over_new_data(figure):
    """Against 200,000 rows: one standard error is about 1/2% of the loss."""
    task = figure.noisy_regression(0, N=40, p=20, m=10, n_test=200_000, noise=figure.NOISE)
    theta = task.theta0 + 0.1
    sampled = np.mean((task.test[0] @ theta - task.test[1]) ** 2) / 2
    assert figure.new_loss(task, theta) == pytest.approx(sampled, rel=0.02)


def test_without_joblib_the_figure_is_skipped_with_a_reason(figure, tmp_path, monkeypatch, capsys):
    runner = importlib.import_module("figures.__main__")
    monkeypatch.setitem(sys.modules, "joblib", None)
    assert runner.main(["phase_diagram", "--quick", "--out", str(tmp_path)]) == 0
    assert "phase_diagram   skipped: joblib comes with scikit-learn" in capsys.readouterr().out
