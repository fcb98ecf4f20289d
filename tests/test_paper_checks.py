"""The runner of the claims can say no: sabotage turns verdicts, and bad input is refused."""

from __future__ import annotations

import dataclasses
import json
import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bdtheory import DirectMixing, Problem, learn_weights
from bdtheory.tasks import quality
from paper_checks import check_c03_useless_zero_weight as c03
from paper_checks import check_c04_beats_direct_mixing as c04
from paper_checks import check_c12_offline_online as c12
from paper_checks.__main__ import main
from paper_checks.claim import Band, Claim, Expect, Measurement, labelled
from paper_checks.report import write_report
from paper_checks.runner import Result, arms, blocks, discover, judge, run, run_seed

KEYS = ["claim", "title", "source", "verdict", "margin", "control", "recovery"]
KEYS += ["details", "seeds", "seconds", "proof"]


def verdicts(tmp_path: Path, *argv: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """Exit status and JSON rows by claim of one run."""
    status = main([*argv, "--json", str(tmp_path / "claims.json")])
    return status, {row["claim"]: row for row in json.loads((tmp_path / "claims.json").read_text())}


def patch_everywhere(monkeypatch: pytest.MonkeyPatch, name: str, change) -> None:
    """Replace a function of bdtheory in every module that imported it, by change(function)."""
    modules = [m for key, m in sys.modules.items() if key.startswith("bdtheory") and m]
    found = [m for m in modules if callable(vars(m).get(name))]
    assert found, name
    for module in found:
        monkeypatch.setattr(module, name, change(getattr(module, name)))


# Sabotage ----------------------------------------------------------------------------------------


def test_a_wrong_sign_in_the_hypergradient_is_seen(tmp_path, monkeypatch, capsys):
    def negated(f):
        def value_and_gradient(problem, fit):
            value, gradient = f(problem, fit)
            return value, -gradient

        return value_and_gradient

    patch_everywhere(monkeypatch, "value_and_gradient", negated)
    status, rows = verdicts(tmp_path, "C03", "--seeds", "1")
    assert status == 1
    assert rows["C03"]["verdict"] == "contradicted"
    assert rows["C03"]["margin"] < 0
    assert "hypergradient over difference quotient" in capsys.readouterr().out


def test_a_swapped_validation_set_is_seen(tmp_path, monkeypatch):
    init = Problem.__init__

    def swapped(self, model, train, val, test=None, **rest):
        init(self, model, train, (val[0], -val[1]), test, **rest)

    monkeypatch.setattr(Problem, "__init__", swapped)
    status, rows = verdicts(tmp_path, "C03", "C04", "--seeds", "1")
    assert status == 1
    assert {row["verdict"] for row in rows.values()} == {"contradicted"}


def test_a_frozen_selector_is_seen(tmp_path, monkeypatch):
    def frozen(f):
        return lambda omega, *rest, **options: f(0.0 * omega, *rest, **options)

    patch_everywhere(monkeypatch, "softmax", frozen)
    status, rows = verdicts(tmp_path, "C03", "--seeds", "1")
    assert status == 1
    assert rows["C03"]["verdict"] == "contradicted"


# Verdicts ----------------------------------------------------------------------------------------


def test_a_claim_that_raises_is_untested_and_the_rest_run(tmp_path, monkeypatch):
    def broken(seed: int, expect: Expect) -> None:
        raise ZeroDivisionError("no instance")

    monkeypatch.setattr(c04, "test_holds_linear", broken)
    status, rows = verdicts(tmp_path, "C03", "C04", "C19", "--seeds", "1")
    assert status == 1
    assert rows["C04"]["verdict"] == "untested"
    assert "test_holds_linear, seed 0: ZeroDivisionError" in rows["C04"]["details"]["message"]
    assert {row["verdict"] for name, row in rows.items() if name != "C04"} == {"supported"}


def outcome(**values: float) -> dict[str, Any]:
    """What one seed gives where each arm measures one number; a number in [0, 1] holds."""
    rows = [(arm, Measurement("number", value, Band(0.0, 1.0))) for arm, value in values.items()]
    return {"rows": rows, "errors": [], "seconds": 0.0}


GOOD = {
    "test_holds": 0.5,
    "test_fails_without_A2": 0.5,
    "test_recovers": 0.5,
    "test_not_vacuous": 0.5,
}


@pytest.mark.parametrize(
    ("change", "verdict", "control", "recovery"),
    [
        ({}, "supported", True, True),
        ({"test_holds": 1.5}, "contradicted", True, True),
        ({"test_holds": -0.5}, "contradicted", True, True),
        ({"test_holds": float("nan")}, "contradicted", True, True),
        ({"test_fails_without_A2": 2.0}, "contradicted", False, True),
        ({"test_recovers": 2.0}, "contradicted", True, False),
        ({"test_not_vacuous": 2.0}, "untested", True, True),
    ],
)
def test_verdicts(change, verdict, control, recovery):
    result = judge(Claim("C09", "t", "here"), [outcome(**GOOD), outcome(**(GOOD | change))])
    assert (result.verdict, result.control, result.recovery) == (verdict, control, recovery)
    assert result.acceptable == (verdict == "supported")
    assert (result.margin < 0) == (verdict != "supported")
    json.dumps(dataclasses.asdict(result), allow_nan=False)


def test_a_claim_without_a_control_is_untested():
    arms_left = {name: 0.5 for name in GOOD if "without" not in name}
    result = judge(Claim("C09", "t", "here"), [outcome(**arms_left)])
    assert (result.verdict, result.control) == ("untested", False)
    assert "test_fails_without_" in result.details["message"]


def test_only_empirical_arms_may_be_contradicted():
    claim = Claim("C12", "t", "v1")
    seen = judge(claim, [outcome(**GOOD, test_holds_empirically=2.0)])
    assert (seen.verdict, seen.acceptable) == ("contradicted", True)
    both = judge(claim, [outcome(**(GOOD | {"test_recovers": 2.0}), test_holds_empirically=2.0)])
    assert (both.verdict, both.acceptable) == ("contradicted", False)
    raised = outcome(**GOOD, test_holds_empirically=2.0) | {"errors": ["test_holds: KeyError"]}
    assert not judge(claim, [raised]).acceptable


def test_an_arm_that_measures_nothing_is_an_error(monkeypatch):
    monkeypatch.setattr(c03, "test_holds_linear", lambda seed, expect: None)
    assert "measured nothing" in run_seed(c03.__name__, 0)["errors"][0]


def note_seeds(monkeypatch):
    """C03 with arms that only note (seed, number of seeds): the list, and the claim's entry."""
    seen = []

    def arm(seed: int, expect: Expect) -> None:
        seen.append((seed, expect.seeds))
        expect("number", 0.5, Band(0.0, 1.0))

    for name in arms(c03):
        monkeypatch.setattr(c03, name, arm)
    return seen, next(entry for entry in discover() if entry.module == c03.__name__)


def test_the_seeds_of_a_batch_go_to_one_worker_and_know_their_number(monkeypatch):
    seen, entry = note_seeds(monkeypatch)
    for batch, tasks in ((False, [[0], [1], [2]]), (True, [[0, 1, 2]])):
        claim = dataclasses.replace(entry.claim, batch=batch)
        assert blocks(claim, 3) == tasks
        ticks, chosen = [], [dataclasses.replace(entry, claim=claim)]
        (result,) = run(chosen, seeds=3, jobs=1, tick=lambda _, done, to=ticks: to.append(done))
        assert (result.seeds, ticks) == (3, [1, 2, 3])
    assert set(seen) == {(0, 3), (1, 3), (2, 3)}
    assert len(seen) == 2 * 3 * len(arms(c03))


def test_a_claim_of_training_runs_takes_at_most_its_number_of_seeds(monkeypatch):
    seen, entry = note_seeds(monkeypatch)
    few = dataclasses.replace(entry, claim=dataclasses.replace(entry.claim, most_seeds=2))
    results = list(run([few, entry], seeds=3, jobs=1, tick=lambda *_: None))
    assert [result.seeds for result in results] == [2, 3]
    assert sorted(set(seen)) == [(0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]
    assert dataclasses.replace(entry.claim, most_seeds=5).seeds(3) == 3
    with pytest.raises(ValueError, match="needed at least 1"):
        dataclasses.replace(entry.claim, most_seeds=0)


# C12, whose seeds are training runs ---------------------------------------------------------------

KINDS = {
    "quality": ("practised", "new", "discarded"),
    "safety": ("harmful seen", "harmful held out", "benign seen", "benign held out"),
}


def as_claimed(instance: c12.Instance, method: str) -> dict[str, float]:
    """Scores under which all of C12 holds."""
    scores = dict.fromkeys(KINDS[instance.task], 0.9) | {"overall": 0.7}
    scores["overall"] += 0.1 * (method == "combination")
    if not instance.pretrained:
        scores = scores | {"discarded": 0.01, "overall": 0.4}
    elif method == "offline":
        scores["discarded"] = 0.2
    return scores


@pytest.fixture
def c12_as_claimed(monkeypatch):
    """C12's arms, with numbers as claimed in place of training."""

    def small(instance):
        task = c12.SETTINGS[instance.task].make(0, N=100, m=20, n_test=40)
        return task, task.val, None

    def selection(instance):
        """The discarded questions keep about a tenth of their share."""
        w = np.where(small(instance)[0].kinds.train == "discarded", 0.1, 1.0)
        return SimpleNamespace(weights=w / w.sum())

    def known(instance, theta):
        """Right answers, in other words."""
        task = small(instance)[0]
        words = [task.tokenizer.decode(r).replace("answer ", "so ") for r in task.test[1]]
        return [task.tokenizer.encode(text) for text in words]

    monkeypatch.setattr(c12, "set_up", small)
    monkeypatch.setattr(c12, "selected", selection)
    monkeypatch.setattr(c12, "answers", known)
    monkeypatch.setattr(c12, "start", lambda name: None)
    monkeypatch.setattr(c12, "measure", as_claimed)
    return lambda: judge(c12.CLAIM, [run_seed(c12.__name__, 0)])


def test_c12_is_supported_where_the_numbers_are_as_claimed(c12_as_claimed):
    result = c12_as_claimed()
    assert (result.verdict, result.details["message"]) == ("supported", "")


@pytest.mark.parametrize(
    ("method", "pretrained", "change", "verdict", "acceptable"),
    [
        ("online", True, {"overall": 0.9}, "contradicted", True),  # the claim as made, not seen
        ("combination", True, {"discarded": 0.25}, "contradicted", False),
        ("combination", False, {"discarded": 0.2}, "contradicted", False),
        ("combination", False, {"overall": 0.5}, "contradicted", False),
        ("combination", False, {"practised": 0.0}, "contradicted", False),
        ("offline", True, {"practised": 0.5}, "untested", False),
    ],
)
def test_c12_sees_each_change(
    method, pretrained, change, verdict, acceptable, c12_as_claimed, monkeypatch
):
    def changed(instance, name):
        mine = (name, instance.pretrained, instance.task) == (method, pretrained, "quality")
        return as_claimed(instance, name) | (change if mine else {})

    monkeypatch.setattr(c12, "measure", changed)
    result = c12_as_claimed()
    assert (result.verdict, result.acceptable) == (verdict, acceptable)


def test_c12_notices_that_pretraining_is_not_dropped(c12_as_claimed, monkeypatch):
    make = c12.make_instance
    monkeypatch.setattr(c12, "make_instance", lambda *args, pretrained=True, **rest: make(*args))
    assert not c12_as_claimed().control


def test_c12_guards_against_a_model_that_does_not_know(c12_as_claimed, monkeypatch):
    monkeypatch.setattr(c12, "answers", lambda instance, theta: [[0]] * 40)
    assert c12_as_claimed().verdict == "untested"


def test_c12_measures_every_method_on_a_tiny_task(monkeypatch):
    def tiny(seed: int):
        return quality(seed, N=40, m=20, n_test=20)

    training = dataclasses.replace(c12.SETTINGS["quality"].training, steps=8)
    own = c12.SETTINGS["quality"]._replace(make=tiny, training=training, pretraining=2)
    monkeypatch.setitem(c12.SETTINGS, "quality", own)
    c12.start.cache_clear()
    instance = c12.make_instance(np.random.default_rng(0))
    assert instance != c12.make_instance(np.random.default_rng(1))
    methods = ("validation only", "uniform", "direct mixing", "offline", "online", "combination")
    found = {method: c12.trained(instance, method) for method in methods}
    names = found["offline"].keys()
    assert len({sum(float(theta[n].abs().sum()) for n in names) for theta in found.values()}) == 6
    scores = c12.measure(instance, "combination")
    assert set(scores) == {"overall", "practised", "new", "discarded"}
    assert c12.start("quality").keys() == names
    task, choose, problem = c12.set_up(instance)
    assert (len(task.val[0]), len(choose[0]), problem.m) == (15, 5, 15)
    fits = [learn_weights(problem, DirectMixing(ratio)).theta for ratio in c12.RATIOS]
    held_out = [float(problem.model.log_probs(theta, *choose).mean()) for theta in fits]
    best, mixed = fits[int(np.argmax(held_out))], found["direct mixing"]
    assert all(bool((best[name] == mixed[name]).all()) for name in names)
    other, _, scratch = c12.set_up(dataclasses.replace(instance, seed=1, pretrained=False))
    assert other.train != task.train
    assert (scratch.model.start, scratch.model.training.learning_rate) == (None, c12.FROM_SCRATCH)
    for cached in (c12.start, c12.set_up, c12.refined, c12.measure):
        cached.cache_clear()


# Command line ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["C99"], "C99 is not known; needed one of C01"),
        (["--seeds", "0"], "--seeds: is '0'; needed a whole number >= 1"),
        (["--jobs", "0"], "--jobs: is '0'"),
        (["--seeds", "two"], "--seeds: is 'two'"),
        (["--json", "no/such/folder/x.json"], "needed an existing folder"),
        (["--json", "/dev/null"], "no plain file"),
        (["--json", "."], "no plain file"),
        (["--json", ""], "needed a name"),
        (["--report", ""], "needed a name"),
    ],
)
def test_bad_input_is_refused_in_one_line(argv, words, capsys):
    with pytest.raises(SystemExit) as stop:
        main(argv)
    printed = capsys.readouterr()
    assert stop.value.code == 2
    assert words in printed.err
    assert printed.err.count("\n") == 1
    assert printed.out == ""


def test_a_report_takes_the_place_of_no_other_page(tmp_path, capsys):
    (tmp_path / "index.html").write_text("mine")
    with pytest.raises(SystemExit) as stop:
        main(["C05", "--report", str(tmp_path)])
    assert stop.value.code == 2 and "index.html of something else" in capsys.readouterr().err
    assert (tmp_path / "index.html").read_text() == "mine"


def test_json_keys_and_independence_of_jobs(tmp_path, capsys):
    one = verdicts(tmp_path, "C05", "C04", "--seeds", "2", "--jobs", "1")
    two = verdicts(tmp_path, "c04", "c05", "--seeds", "2", "--jobs", "2")
    for status, rows in (one, two):
        assert status == 0
        for row in rows.values():
            assert list(row) == KEYS
            assert row.pop("seconds") > 0
            assert (row["seeds"], row["verdict"]) == (2, "supported")
    assert one == two
    assert capsys.readouterr().out.count("supported") == 4


# Claim files and report --------------------------------------------------------------------------


def test_every_claim_file_is_complete():
    entries = discover()
    assert [entry.claim.name for entry in entries] == sorted({e.claim.name for e in entries})
    for entry in entries:
        names = list(arms(sys.modules[entry.module]))
        for prefix in ("test_holds", "test_fails_without_", "test_recovers", "test_not_vacuous"):
            assert any(name.startswith(prefix) for name in names), (entry.module, prefix)


def test_labelled_parts_are_required_in_order():
    text = (
        "C01: x.\n\nClaim: a\n  b\nAssumptions: c\nCheck: d\nControl: e\nNot covered: f\nRuntime: g"
    )
    assert labelled(text)["Claim"] == "a b"
    for wrong in (text.replace("Control", "Contrl"), text.replace("Runtime: g", "Runtime:")):
        with pytest.raises(ValueError, match="needed in this order"):
            labelled(wrong)


def test_random_numbers_depend_on_claim_seed_and_stream_only():
    drawn = {
        (name, seed, stream): Claim(name, "t", "here").rng(seed, stream).random()
        for name in ("C03", "C04")
        for seed in (0, 1)
        for stream in (0, 1)
    }
    assert len(set(drawn.values())) == len(drawn)
    assert drawn["C03", 0, 0] == Claim("C03", "t", "here").rng(0).random()


def nasty_report(tmp_path: Path) -> str:
    """A page of all claims, one with a hostile title and message, with a figure and the digits."""
    entries, figures = discover(), tmp_path / "figures"
    figures.mkdir()
    (figures / "mixing_ratio.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg"/>')
    row = {"mu": 0.01, "method": "<i>Implicit()", "val_loss": 0.25, "auc": None, "wins": 3}
    (figures / "digits.json").write_text(json.dumps({"rows": [row], "note": "a < b"}))
    results = [judge(entry.claim, [outcome(**GOOD)]) for entry in entries]
    details = results[0].details | {"message": "<script>alert(1)</script>"}
    results[0] = dataclasses.replace(
        results[0], details=details, verdict="untested", title="a<b>&c"
    )
    return write_report(tmp_path, entries, results, figures=figures).read_text()


def test_report_shows_every_claim_and_needs_nothing_else(tmp_path):
    page = nasty_report(tmp_path)
    for entry in discover():
        assert f'id="{entry.claim.name}"' in page
        assert f'href="#{entry.claim.name}"' in page
    assert not re.search(r"""(src|href)\s*=\s*["']?\s*(https?:)?//""", page)
    assert "<script" not in page
    assert "@import" not in page
    assert page.count('src="data:image/svg+xml;base64,') == 1
    assert "a&lt;b&gt;&amp;c" in page
    assert "&lt;script&gt;alert(1)" in page
    assert "&lt;i&gt;Implicit()" in page
    assert "a &lt; b" in page


def test_report_option_writes_the_page_and_the_json(tmp_path, capsys):
    status = main(["C05", "--seeds", "1", "--report", str(tmp_path / "new" / "report")])
    assert status == 0
    rows = json.loads((tmp_path / "new" / "report" / "claims.json").read_text())
    assert [list(row) for row in rows] == [KEYS]
    assert [field.name for field in dataclasses.fields(Result)] == KEYS
    assert "C05" in (tmp_path / "new" / "report" / "index.html").read_text()
    assert "index.html" in capsys.readouterr().out


def test_bands():
    assert Band.around(1.0, 0.5).margin(1.0) == 0.5
    assert Band(0.0, 2.0).margin(-1.0) == -0.5
    assert Band(0.0, 1.0).margin(np.inf) < -1e8
    for low, high in ((1.0, 1.0), (2.0, 1.0), (0.0, np.inf)):
        with pytest.raises(ValueError, match="needed finite edges"):
            Band(low, high)
    with pytest.raises(AssertionError, match="slope is 2; needed 0 to 1"):
        Expect(strict=True)("slope", 2.0, Band(0.0, 1.0))
