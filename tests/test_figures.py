"""The figures: every headline holds, fails when the numbers do not, and files are reproducible."""

import importlib
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import matplotlib.colors
import numpy as np
import pytest

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.usefixtures("root_on_path")  # for `figures`, which is not installed
needs_data = pytest.mark.skipif(
    importlib.util.find_spec("sklearn") is None, reason="the digits come with scikit-learn"
)
NAMES = [
    "closed_form_weights",
    "coverage",
    pytest.param("digits", marks=needs_data),
    "language_weights",
    "mixing_ratio",
    "offline_language",
    "penalty_rate",
    pytest.param("phase_diagram", marks=needs_data),  # joblib comes with scikit-learn
    "principle",
    "question_diversity",
    "refined_language",
    "self_refining",
    "transformer_convergence",
    "trap",
    "unseen",
    "useful_weights",
    "weight_overfitting",
]
EVERY = ["closed_form_weights", "coverage", "digits", "language_weights", "mixing_ratio"]
EVERY += ["offline_language", "penalty_rate", "principle", "unseen"]
EVERY += ["phase_diagram", "question_diversity", "refined_language", "self_refining"]
EVERY += ["transformer_convergence", "trap", "useful_weights", "weight_overfitting"]


def load(name):
    return importlib.import_module(f"figures.{name}")


@pytest.fixture(scope="module")
def arrays():
    """Quick arrays by figure, computed once."""
    made = {}

    def get(name):
        if name not in made:
            made[name] = load(name).compute(True)
        return {key: np.array(value) for key, value in made[name].items()}

    return get


def command(*arguments):
    """`python -m figures ...` in a process of its own."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "figures", *arguments],
        cwd=ROOT,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.parametrize("name", NAMES)
def test_headline_holds_and_two_drawings_have_the_same_bytes(name, arrays, tmp_path):
    figure, style = load(name), load("style")
    figure.headline(arrays(name))
    for run in "ab":
        style.save(figure.draw, arrays(name), tmp_path / run, name)
    files = [file.format(name) for file in style.FILES]
    first, second = ([(tmp_path / run / file).read_bytes() for file in files] for run in "ab")
    assert first == second
    assert b"<text" not in first[0]  # letters are outlines: no font is looked up


# One tampering for each statement in a headline: (figure, array, what to do to it, message).
TAMPERINGS = [
    ("mixing_ratio", "exact_bds", lambda a: a + 1e-3, "not below direct mixing"),
    ("mixing_ratio", "exact_bds", lambda a: a + 1e-15, "needed < 1e-20"),
    ("mixing_ratio", "noisy_bds", lambda a: a + 0.05, "not below direct mixing"),
    ("mixing_ratio", "noisy_certified", np.logical_not, "certified on 0"),
    ("mixing_ratio", "exact_limit", lambda a: 2 * a, "over its limit"),
    ("useful_weights", "BMO_final", lambda a: a + 1e-9, "mass on useless"),
    ("useful_weights", "Penalty_certified", np.logical_not, "Penalty: certified on 0"),
    ("useful_weights", "Implicit_final", lambda a: 0 * a, "useful samples kept"),
    ("coverage", "bds", lambda a: a + 1e-9, "L_val up to"),
    ("coverage", "bds", lambda a: a * [1, 0.5], "needed n / 14"),
    ("coverage", "mixing", lambda a: np.maximum(a, 0.5), "median of lam"),
    ("coverage", "share_bds", lambda a: 0.9 * a, "maximum-entropy"),
    ("coverage", "share_mixing", lambda a: 0 * a, "control"),
    ("language_weights", "good", lambda a: 1.2 * a, "good weights begin"),
    ("offline_language", "quality number", lambda a: a + 1.0, "quality: w_i over its bound"),
    ("offline_language", "safety number", lambda a: 0 * a, "safety: w_i over its bound up to 0"),
    ("question_diversity", "linear", lambda a: a * [1, 1.1], "regenerated, closed form"),
    ("question_diversity", "linear", lambda a: a * [1.1, 1], "offline, closed form"),
    ("self_refining", "rate", lambda a: 0.9 * a, "of the rate"),
    ("self_refining", "walk", lambda a: 9 * a, "standard errors off"),
    ("refined_language", "quality questions", lambda a: 0 * a, "quality: effective number .* 0 to"),
    ("refined_language", "safety questions", lambda a: 9 * a, "safety: effective number"),
    ("transformer_convergence", "loss", lambda a: np.maximum(a, 2e-3), "0 of 2 starts arrive"),
    ("transformer_convergence", "loss", lambda a: a**1.5, "slopes -1.[56]"),
    ("transformer_convergence", "loss", lambda a: a * [[[1.0]], [[0.5]]], "direct mixing ends"),
    ("transformer_convergence", "mass", lambda a: a + 2e-3, "on contradictions"),
    ("trap", "slice", lambda a: a[[0, 0, 0]], "needed 100"),
    ("trap", "loss", lambda a: a + 1e-5, "needed < 1e-6"),
    ("trap", "loss", lambda a: np.minimum(a, 1e-7), "not trapped"),
    ("weight_overfitting", "said", lambda a: a + np.eye(3)[1] * 9, "needed > 0, falling"),
    ("weight_overfitting", "said", lambda a: a + np.eye(3)[2] * 9, "needed less than half"),
    ("weight_overfitting", "test", lambda a: a[:, :, ::-1], "needed"),
    ("weight_overfitting", "test", lambda a: a * (1 - 0.8 * np.eye(3)[0]), "validation only's"),
    ("principle", "A2 certified", np.logical_not, "certified: False"),
    ("principle", "contradictory learned", lambda a: a + 1e-5, "learned weights' re-fit"),
    ("principle", "A2 distance", lambda a: a + 1e-6, "on jointly useful supports"),
    ("principle", "A2 distance", lambda a: 0 * a, "on jointly useful supports"),
    ("principle", "A2 mixing", lambda a: 0 * a, "direct mixing's L_val"),
    ("principle", "contradictory mixing", lambda a: a[::-1], "direct mixing's L_val"),
    ("principle", "contradictory limit", lambda a: 1.1 * a, "direct mixing's L_val"),
    ("principle", "A2 falls", np.logical_not, "no common descent"),
    ("principle", "contradictory returns", lambda a: a + 1e-3, "missed by up to 1.0e-03"),
    ("principle", "A2 pareto", np.logical_not, "shares of the plane"),
    ("principle", "contradictory pareto", lambda a: a & False, "shares of the plane"),
    ("principle", "contradictory cancelling", lambda a: a[::-1], "useless samples alone"),
    ("principle", "contradictory cancelled", lambda a: a + 1e-6, "useless samples alone"),
    ("principle", "A2 cancelled", lambda a: 0 * a, "useless samples alone"),
    ("penalty_rate", "strength", lambda a: a**1.1, "ridge: slopes -0.9"),
    ("penalty_rate", "optimistic error", lambda a: a + 1e-3, "optimistic: slopes"),
    ("penalty_rate", "ridge limit", lambda a: 1.01 * a, "over its limit"),
    ("penalty_rate", "minimum-norm limit", lambda a: 1.01 * a, "the plateau"),
    ("penalty_rate", "filtered", lambda a: a - 1e-9, "min P_gamma - L_val"),
    ("penalty_rate", "uniform", lambda a: 1e-4 * a, "uniform w"),
    ("penalty_rate", "uniform", lambda a: a[:, ::-1], "uniform w"),
    ("penalty_rate", "price", lambda a: 1.001 * a, "price: 1"),
    ("penalty_rate", "dropped", lambda a: 0.999 * a, "dropped: 0.999"),
    ("penalty_rate", "kept", lambda a: a + 1e-3, "v kept"),
    ("closed_form_weights", "at_once", lambda a: a - 1e-3, "closed form at once"),
    ("closed_form_weights", "K", lambda a: a * [1, 1.2, 1], "over the flow's"),
    ("closed_form_weights", "K", lambda a: a * [1, 1, 0.955], "at delta = 0.001"),
    ("closed_form_weights", "K_control", lambda a: a + 1, "from delta = 1/2"),
    ("closed_form_weights", "smin", lambda a: a + 1, "needed 0 to 1"),
    ("closed_form_weights", "smin", lambda a: a - 1, "needed 0 to 1"),
    ("closed_form_weights", "smin", lambda a: a * np.append(np.ones(12), 0.97), "of mean l"),
    ("closed_form_weights", "value", lambda a: a + 1e-6, "from smin_tau"),
    ("closed_form_weights", "excess", lambda a: 0 * a, "at another w 0"),
    ("unseen", "val", lambda a: a + np.geomspace(1e-6, 1, 41), "L_val moves with y_0"),
    ("unseen", "component", lambda a: 1.1 * a, r"less c\^2 / 2 moves"),
    ("unseen", "minimum norm val", lambda a: 1.01 * a, "minimum norm: curvature"),
    ("unseen", "ridge val", lambda a: 0 * a, "ridge: curvature"),
    ("unseen", "visible curvature", lambda a: 2 * a, "visible: curvature"),
    pytest.param("digits", "auc", lambda a: a - 0.1, "AUC", marks=needs_data),
    pytest.param("digits", "val_loss", lambda a: a[:, :, ::-1], "has L_val", marks=needs_data),
]


@pytest.mark.parametrize(("name", "key", "tamper", "message"), TAMPERINGS)
def test_headline_fails_where_a_number_is_changed(name, key, tamper, message, arrays):
    numbers = arrays(name)
    numbers[key] = tamper(numbers[key])
    with pytest.raises(AssertionError, match=message):
        load(name).headline(numbers)


def test_unseen_asserts_that_the_component_moves(arrays):
    numbers = arrays("unseen")
    c = numbers["component"]
    numbers["component"] = 0.01 * c
    numbers["test"] = numbers["test"] - c**2 / 2 + (0.01 * c) ** 2 / 2
    with pytest.raises(AssertionError, match="component moves by"):
        load("unseen").headline(numbers)


def test_coverage_means_the_useful_samples(arrays):
    """U as the figure has it, the clean rows, is what `usefulness` decides."""
    from bdtheory.tasks import linear
    from bdtheory.usefulness import usefulness

    for n_useless in (1, 6, 8):
        task = linear(0, p=20, m=8, n_useful=20 - n_useless, n_useless=n_useless)
        assert np.array_equal(usefulness(task.problem()).useful, task.clean)


def five_seeds(arrays):
    """Arrays of `offline_language` as if Penalty and BMO had won on five seeds."""
    figure = load("offline_language")
    made = {key: np.repeat(value, 5, axis=0) for key, value in arrays.items()}
    for task, setting in figure.SETTINGS.items():
        made[f"{task} number"][:, :, figure.NUMBERS.index("auc")] = 0.9
        score = made[f"{task} score"]
        score[:] = [[[0.2], [0.3], [0.5], [0.8], [0.7]]]
        score += 0.01 * np.arange(5)[:, None, None]
        if task == "quality":
            score[:, :, 1 + setting.kinds.index("discarded")] = 0.1
            score[:, 0, 1 + setting.kinds.index("discarded")] = [0.4, 0.5, 0.4, 0.5, 0.4]
    return made


def test_offline_language_asserts_each_lead_over_seeds(arrays):
    figure = load("offline_language")
    good = five_seeds(arrays("offline_language"))
    figure.headline(good)
    rows = figure.summary(good)
    assert json.loads(json.dumps(rows, allow_nan=False)) is not None
    assert "trails" not in rows["note"] and "Penalty leads" in rows["note"]
    auc = figure.NUMBERS.index("auc")
    for task, leads in figure.LEADS.items():
        for method, other in leads:
            bad = {key: value.copy() for key, value in good.items()}
            mine, theirs = (figure.METHODS.index(name) for name in (method, other))
            bad[f"{task} score"][:, mine] = bad[f"{task} score"][:, theirs]
            with pytest.raises(AssertionError, match=f"{task}: {method} leads {other} by 0.000"):
                figure.headline(bad)
        bad = {key: value.copy() for key, value in good.items()}
        bad[f"{task} number"][-1, -1, auc] = 0.6
        with pytest.raises(AssertionError, match=f"{task}: the weights of BMO have AUC 0.600"):
            figure.headline(bad)
    bad = {key: value.copy() for key, value in good.items()}
    bad["quality score"][:, :, -1] = 0.4
    with pytest.raises(AssertionError, match="discarded kinds"):
        figure.headline(bad)


def refined_as_seen(arrays):
    """Arrays of `refined_language` as if five seeds gained on discarded kinds and lost new ones."""
    figure = load("refined_language")
    made = {
        key: value if "examples" in key else np.repeat(value, 5, axis=0)
        for key, value in arrays.items()
    }
    for task in figure.SETTINGS:
        made[f"{task} score"][:] = 0.5 + 0.01 * np.arange(5)[:, None, None]
    discarded, new = (1 + figure.SETTINGS["quality"].kinds.index(k) for k in ("discarded", "new"))
    for j, method in enumerate(figure.EVERY):
        made["quality score"][:, j, discarded] += 0.3 * (method in figure.ONLINE)
        made["quality score"][:, j, new] -= 0.3 * method.endswith("online")
        made["quality score"][:, j] += 0.01 * np.cos(j + np.arange(5))[:, None]
    return made


def test_refined_language_asserts_what_is_gained_and_lost(arrays):
    figure = load("refined_language")
    good = refined_as_seen(arrays("refined_language"))
    figure.headline(good)
    found = figure.summary(good)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert "online alone gains +0.3" in found["note"]
    assert {len(row["questions"]) for row in found["rounds"]} == {1 + figure.ROUNDS}
    assert {row["task"] for row in found["examples"]} == set(figure.SETTINGS)
    for kind, part, change in (("discarded", "BMO online", -0.3), ("new", "Penalty online", 0.3)):
        bad = {key: value.copy() for key, value in good.items()}
        k = 1 + figure.SETTINGS["quality"].kinds.index(kind)
        bad["quality score"][:, figure.EVERY.index(part), k] += change
        with pytest.raises(AssertionError, match=f"{kind} kinds: {part} less offline"):
            figure.headline(bad)


def test_a_job_of_language_runs_is_run_once(monkeypatch):
    language, calls = load("_language"), []

    def job(name, start, quick):
        calls.append((name, start is None))
        return len(calls)

    monkeypatch.setattr(language, "_DONE", {})
    start = {"a": np.zeros(1)}
    assert language.run_all(job, [("x", start, True), ("x", None, True)], True) == [1, 2]
    assert language.run_all(job, [("y", None, True), ("x", None, True)], True) == [3, 2]
    assert calls == [("x", False), ("x", True), ("y", True)]


def test_rounds_begin_with_the_selections_that_offline_runs_gave():
    """A selection of `compare` is what the same method would give anew on the same task."""
    import bdtheory as bdt

    language = load("_language")
    with language.one_thread_here():
        found = language.compare("quality", 0, None, True, ["Penalty", "BMO"])
        task, _ = language.make("quality", 0, True).split_validation()
        problem = task.problem(language.model("quality", task, None, True))
        for name, own in found.selections.items():
            method = language.solver("quality", name)
            anew = bdt.learn_weights(problem, method, seed=0)
            np.testing.assert_array_equal(own.weights, anew.weights)
            other = bdt.learn_weights(problem, method, seed=1)
            assert np.abs(other.weights - own.weights).max() > 1e-6
            assert own.theta is None
            assert own.method == anew.method


def test_the_report_shows_the_refined_results(arrays, tmp_path):
    from paper_checks.results import refined

    assert refined(tmp_path) == ""
    figure = load("refined_language")
    text = json.dumps(figure.summary(refined_as_seen(arrays("refined_language"))))
    (tmp_path / "refined_language.json").write_text(text)
    page = refined(tmp_path)
    assert page.count("<table>") == 4  # two tasks, differences, examples
    assert "quality, pretrained start, 5 seeds" in page and "Penalty combined" in page
    first = arrays("refined_language")["quality examples"][0, 0]
    assert first in page


def test_language_weights_asserts_that_good_pairs_end_above_bad_ones(arrays):
    figure, numbers = load("language_weights"), arrays("language_weights")
    long = {"step": np.arange(1, 201), "auc": numbers["auc"]}
    for part, end in (("good", 2.0), ("bad", 0.1)):
        path = np.geomspace(1.0, end, 200)
        long[part] = np.tile(path[:, None], (2, 2, 1, 3))
    figure.headline(long)
    long["bad"] = long["good"]
    with pytest.raises(AssertionError, match="medians of N w 2 good, 2 bad"):
        figure.headline(long)


@needs_data
def test_digits_summary_counts_wins_and_says_where_they_stop(arrays):
    digits = load("digits")
    numbers = arrays("digits")
    worse = {key: value.copy() for key, value in numbers.items()}
    worse["val_loss"][0, 0, digits.METHODS.index("ValidationOnly()")] = 0.0
    rows = {row["method"]: row for row in digits.summary(numbers)["rows"]}
    assert json.loads(json.dumps(rows, allow_nan=False)) == rows
    assert rows["DirectMixing(ratio=0.1)"]["wins"] == 1
    assert rows["DirectMixing(ratio=0.1)"]["auc"] is None
    assert rows["Implicit()"]["wins"] is None
    assert "does not stop" in digits.note(numbers).partition("and in test")[0]
    assert "stops at mu = 0.01" in digits.note(worse).partition("and in test")[0]


def test_command_writes_its_files_and_repeats_itself(tmp_path):
    runs = [command("coverage", "--quick", "--out", str(tmp_path / run)) for run in "ab"]
    for run in runs:
        assert (run.returncode, run.stderr) == (0, "")
        assert len(run.stdout.splitlines()) == 1
    names = ["-column.pdf", "-dark.svg", ".pdf", ".png", ".svg"]
    first = sorted((tmp_path / "a").iterdir())
    assert [path.name for path in first] == [f"coverage{name}" for name in names]
    for path in first:
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_unknown_name_lists_the_known_ones(tmp_path):
    run = command("coverage", "covrage", "--out", str(tmp_path / "new"))
    assert run.returncode == 2
    assert run.stderr.count("\n") == 1
    assert all(name in run.stderr for name in EVERY)
    assert not (tmp_path / "new").exists()


def test_out_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    run = command("coverage", "--quick", "--out", str(tmp_path / "file"))
    assert (run.returncode, run.stderr.count("\n")) == (2, 1)


def test_a_failing_figure_is_loud_and_the_others_are_made(tmp_path, monkeypatch, capsys):
    runner, figure = load("__main__"), load("mixing_ratio")
    monkeypatch.setattr(figure, "ZERO", 0.0)
    (tmp_path / "mixing_ratio.svg").write_text("from an earlier run")
    status = runner.main(
        ["mixing_ratio", "coverage", "--quick", "--out", str(tmp_path), "--jobs", "1"]
    )
    text = capsys.readouterr()
    assert status == 1
    assert "mixing_ratio" in text.err
    assert "needed < 0e+00" in text.err
    assert not (tmp_path / "mixing_ratio.svg").exists()
    assert (tmp_path / "coverage.svg").exists()


def test_digits_without_scikit_learn_are_skipped_with_a_reason(tmp_path, monkeypatch, capsys):
    runner = load("__main__")
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    assert runner.main(["digits", "--quick", "--out", str(tmp_path)]) == 0
    assert "digits          skipped: the digits come with scikit-learn" in capsys.readouterr().out


def test_replace_leaves_the_old_file_where_writing_fails(tmp_path, monkeypatch):
    style, path = load("style"), tmp_path / "a.svg"
    path.write_bytes(b"old")

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        style.replace(path, b"new")
    assert [file.name for file in tmp_path.iterdir()] == ["a.svg"]
    assert path.read_bytes() == b"old"


def contrast(color, ground):
    ground_module = load("_ground")
    rgb = np.array(matplotlib.colors.to_rgb(color))
    lighter, darker = sorted((ground_module._luminance(rgb), ground_module._luminance(ground)))[
        ::-1
    ]
    return (lighter + 0.05) / (darker + 0.05)


def test_dark_ground_keeps_hues_and_swaps_greys():
    style, ground = load("style"), load("_ground")
    assert ground.on_dark("white") == pytest.approx((*ground.GROUND, 1.0))
    assert ground.on_dark((0.0, 0.0, 0.0, 0.3)) == pytest.approx((*ground.INK, 0.3))
    assert contrast("white", np.zeros(3)) == pytest.approx(21.0)  # WCAG 2: white on black
    for look in style.LOOKS.values():
        before, after = look.color, ground.on_dark(look.color)
        assert contrast(after, ground.GROUND) >= ground.CONTRAST
        if np.ptp(matplotlib.colors.to_rgb(before)) >= ground.GREY:
            hues = [
                matplotlib.colors.rgb_to_hsv(matplotlib.colors.to_rgb(c))[0]
                for c in (before, after[:3])
            ]
            assert hues[0] == pytest.approx(hues[1], abs=1e-9)
            if contrast(before, ground.GROUND) >= ground.CONTRAST:
                assert after[:3] == matplotlib.colors.to_rgb(before)


def test_dark_figure_has_no_light_patch_nor_dark_letter():
    style, ground = load("style"), load("_ground")
    figure, (ax, image) = style.styled(style.canvas)(2)
    ax.plot([0, 1], [0, 1], "o-", color="#0072B2", mfc="white")
    style.write(ax, 0.5, 0.5, "text", style.dark("#E69F00"))
    image.imshow([[0.0, 1.0]], cmap="gray")
    on_image = image.text(0, 0, "as drawn", color="black")
    figure.draw_without_rendering()
    ground.darken(figure)
    box = ax.texts[0].get_bbox_patch()
    assert box.get_facecolor() == pytest.approx((*ground.GROUND, 0.85))
    assert box.get_edgecolor()[3] == 0.0  # "none" stays none, whatever the box's own opacity
    assert figure.get_facecolor()[:3] == pytest.approx(tuple(ground.GROUND))
    for text in [*ax.texts, *ax.get_xticklabels(), *ax.get_yticklabels()]:
        assert contrast(text.get_color(), ground.GROUND) >= ground.CONTRAST
    assert ax.lines[0].get_markerfacecolor()[:3] == pytest.approx(tuple(ground.GROUND))
    assert on_image.get_color() == "black"


def test_a_column_has_half_as_many_panels_beside_each_other():
    style = load("style")
    wide, axes = style.canvas(4, 2, height=6.0)
    with style._for_a_column():
        narrow, stacked = style.canvas(4, 2, height=6.0)
        single, three = style.canvas(3, width_ratios=[1, 2, 3])
    assert (axes.shape, stacked.shape, three.shape) == ((2, 4), (2, 4), (3,))
    assert tuple(wide.get_size_inches()) == (8.4, 6.0)
    assert tuple(narrow.get_size_inches()) == (4.2, 12.0)
    assert tuple(single.get_size_inches()) == (4.2, 3.9 * 3)
    places = [[ax.get_subplotspec().num1 for ax in row] for row in stacked]
    assert places == [[0, 1, 2, 3], [4, 5, 6, 7]]  # a row's panels follow each other
    assert stacked[0, 0].get_subplotspec().get_geometry()[:2] == (4, 2)
    assert not style.in_column()


def test_every_method_and_truth_has_a_colour_of_its_own():
    from bdtheory import plots

    looks = load("style").LOOKS
    assert len({look.color for look in looks.values()}) == len(looks)
    assert looks["useful"].color == plots.CLEAN
    assert looks["useless"].color == plots.BAD
    assert looks["Implicit"].color == plots.LOSS
