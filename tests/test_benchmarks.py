"""The comparison of solvers: exact gradients, t99 read right, rows for what cannot run."""

import importlib
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import bdtheory as bdt
from bdtheory.hypergradient import mean_loss, refit

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.usefixtures("root_on_path")  # for `benchmarks`, which is not installed
needs_digits = pytest.mark.skipif(
    importlib.util.find_spec("sklearn") is None, reason="the digits come with scikit-learn"
)
NAMES = ["P1", "P2", pytest.param("P3", marks=needs_digits), "P4"]


def load(name):
    return importlib.import_module(f"benchmarks.{name}")


def problem(name, seed=0):
    problems = load("problems")
    return problems.problem_of(problems.make(name, seed))


# The problems ------------------------------------------------------------------------------------

# (name, uniform L_val to four digits)
FIRST_MEASURED = [("P1", 0.1165), ("P2", 0.6216), pytest.param("P3", 0.9020, marks=needs_digits)]


@pytest.mark.parametrize(("name", "uniform"), FIRST_MEASURED)
def test_the_problems_are_those_that_were_measured_first(name, uniform):
    assert load("race").uniform_loss(problem(name)) == pytest.approx(uniform, abs=5e-5)


def test_eight_of_twenty_sources_are_bad():
    for seed in (0, 1):
        made = load("problems").make("P4", seed)
        clean = [made.clean[made.groups == g].mean() for g in range(20)]
        assert sum(share < 0.6 for share in clean) == 8
        assert sum(share > 0.85 for share in clean) == 12
        assert (np.bincount(made.groups) == 100).all()


def test_a_name_that_is_no_problem():
    with pytest.raises(ValueError, match="got 'P5'; needed one of P1, P2, P3, P4"):
        load("problems").make("P5")


# Plain and handmade ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_plain_and_handmade_have_the_exact_hypergradient(name):
    """Three routes to one gradient: bdtheory's, a factor at every step, and an old factor with CG.

    The weights move in between, so that the old factor is old and the start is warm.
    """
    plain, handmade, race = load("peers.plain"), load("peers.handmade"), load("race")
    bilevel = problem(name)
    arrays = race.arrays_of(bilevel)
    rng, theta, newton = np.random.default_rng(0), np.zeros(arrays.shape), handmade.Newton(arrays)
    for concentration in (10.0, 1.0, 0.3):
        w = rng.dirichlet(np.full(bilevel.N, concentration))
        value, g = bdt.hypergradient(bilevel, w)
        theta, at, solve = plain.fit(arrays, w, theta)
        at_newton = newton.fit(w)

        def old_factor(b, w=w, at=at_newton):
            return newton.system(w, at, b, handmade.TIGHT)

        for curve, found, H in ((at, theta, solve), (at_newton, newton.theta, old_factor)):
            own_value, own = plain.hypergradient(arrays, curve, found, H)
            assert own_value == pytest.approx(value, rel=1e-9)
            assert np.linalg.norm(own - g) <= 1e-6 * np.linalg.norm(g)
            assert np.linalg.norm(g) > 1e-3


def test_the_gradient_in_the_logits_of_groups_is_a_finite_difference():
    exchange, plain, race = load("peers.exchange"), load("peers.plain"), load("race")
    bilevel = problem("P4")
    arrays = race.arrays_of(bilevel)
    rng = np.random.default_rng(0)
    omega, direction = rng.standard_normal((2, 20))

    def value(t):
        return bdt.hypergradient(bilevel, exchange.weights(arrays, omega + t * direction))

    gradient = plain.in_logits(arrays, omega, value(0.0)[1])
    difference = (value(1e-5)[0] - value(-1e-5)[0]) / 2e-5
    assert abs(difference) > 1e-3
    assert gradient @ direction == pytest.approx(difference, rel=1e-6)


def test_a_run_starts_descends_and_stops_at_its_budget():
    race, exchange = load("race"), load("peers.exchange")
    bilevel = problem("P1")
    run = race.OURS["plain"](bilevel)
    clock = exchange.timed(run, 60.0, 4)
    assert len(clock.seconds) == len(clock.points) == len(clock.own) == 4
    assert (np.diff(clock.seconds) > 0).all()
    for w, own in zip(clock.points, clock.own, strict=True):
        assert w.sum() == pytest.approx(1.0) and (w >= 0).all()
        assert own == pytest.approx(mean_loss(bilevel, refit(bilevel, w).theta, bilevel.val))
    assert clock.own[-1] < 0.5 * race.uniform_loss(bilevel)
    assert len(exchange.timed(run, 0.0).seconds) == 1
    assert race.gradient_error(bilevel, clock.gradient) < 1e-9
    assert race.gradient_error(bilevel, 1.5 * clock.gradient) == pytest.approx(0.5)


def test_what_a_note_takes_does_not_count(monkeypatch):
    exchange, now = load("peers.exchange"), [0.0]
    monkeypatch.setattr(exchange.time, "process_time", lambda: now[0])

    def pass_by(seconds):
        now[0] += seconds
        return np.ones(2)

    clock = exchange.Clock(60.0)
    pass_by(3.0)
    clock.note(lambda: pass_by(100.0), 0.0)
    pass_by(4.0)
    clock.note(lambda: pass_by(100.0), 0.0)
    assert clock.seconds == [3.0, 7.0]


# t99 ---------------------------------------------------------------------------------------------


def made_up(losses):
    """A track of known losses; point k is at k + 1 seconds. It notes which points it re-fits."""
    race = load("race")
    asked = []

    class Track(race.Track):
        def loss(self, k):
            if k not in self.losses:
                asked.append(k)
                self.losses[k] = losses[k]
            return self.losses[k]

    S = len(losses)
    track = Track(problem("P1"), "made up", np.arange(1.0, S + 1), np.empty((S, 0)))
    return track, asked


def test_t99_is_the_first_point_within_one_percent_of_the_gap():
    race = load("race")
    assert race.target_of(2.0, 1.0) == pytest.approx(1.01)
    k = np.arange(1_000)
    losses = 1.0 + 0.99**k  # from 2 to 1: 0.99^k <= .01 first at k = 459
    track, asked = made_up(losses)
    track.survey()
    assert len(asked) <= race.POINTS and 0 in asked and 999 in asked and 459 not in asked
    assert track.first(race.target_of(2.0, 1.0)) == 459
    assert track.t99(race.target_of(2.0, 1.0)) == 460.0
    assert len(asked) < 120


def test_t99_of_a_run_that_never_gets_there_or_diverges():
    track, _ = made_up(np.array([2.0, 1.5, np.nan, 1.2]))
    track.survey()
    assert track.t99(1.01) == np.inf and track.first(1.01) is None
    assert track.best() == 1.2
    assert track.t99(1.2) == 4.0


def test_ratios_are_taken_repeat_by_repeat():
    table = load("table")
    ours, plain = made_up(np.array([2.0, 1.0]))[0], made_up(np.array([2.0, 1.5, 1.0]))[0]
    race = load("race")
    peer = race.skipped(problem("P1"), "jaxopt", "not here")
    ours.solver, plain.solver = "Implicit()", "plain"
    for track in (ours, plain):
        track.survey()
        track.points = np.full((3, 2_000), 1.0 / 2_000)
    again = {"Implicit()": np.array([1.0, 2.0, 4.0]), "plain": np.array([4.0, 4.0, 4.0])}
    found = table.Race("P1", [ours, plain, peer], 2.0, 1.0, "made up", 1.01, again)
    rows = {row["solver"]: row for row in table.rows_of(found)}
    assert rows["plain"]["times_implicit"] == 2.0  # the median of 4, 2, 1
    assert (rows["plain"]["times_low"], rows["plain"]["times_high"]) == (1.5, 3.0)
    assert rows["Implicit()"]["t99"] == 2.0 and rows["Implicit()"]["times_implicit"] == 1.0
    plain.own = 1.25
    assert table.rows_of(found)[1]["own_off"] == 0.25  # its last loss is 1
    assert np.isnan(rows["plain"]["own_off"]) and rows["plain"]["val_loss"] == 1.0
    assert rows["jaxopt"]["t99"] == np.inf and rows["jaxopt"]["reason"] == "not here"


@pytest.mark.parametrize(
    ("ratio", "says"),
    [(8.0, "8.00, met"), (2.0, "2.00, missed by a factor of 2.00"), (np.inf, "not measured")],
)
def test_what_was_asked_for_is_met_missed_or_not_measured(ratio, says, capsys):
    load("table").print_asked([{"problem": "P2", "solver": "plain", "times_implicit": ratio}])
    line = capsys.readouterr().out.splitlines()[2]
    assert line.startswith(f"  P2: t99 of plain over that of Implicit() at least 4: {says}")


# Peers -------------------------------------------------------------------------------------------


def test_a_missing_peer_is_skipped_with_the_reason(tmp_path):
    race, bilevel = load("race"), problem("P4")
    none = race.run_peer(bilevel, "P4", "jaxopt", 1.0, python=tmp_path / "python")
    assert none.reason == "no environment for peers; try make bench-env"
    assert len(none.seconds) == 0 and none.best() == np.inf
    if importlib.util.find_spec("betty") is None:
        here = race.run_peer(bilevel, "P4", "betty", 1.0, python=Path(sys.executable))
        assert here.reason == "ModuleNotFoundError: No module named 'betty'"


def test_a_problem_survives_the_way_to_another_process(tmp_path):
    race, exchange = load("race"), load("peers.exchange")
    arrays = race.arrays_of(problem("P4"))
    exchange.write(arrays, tmp_path / "problem.npz")
    back = exchange.read(tmp_path / "problem.npz")
    for name, value in arrays._asdict().items():
        assert np.array_equal(getattr(back, name), value)
    assert back.kind == "binary" and back.mu == 1e-3 and back.shape == (50,)


# Cost against N, and the command -----------------------------------------------------------------


def test_the_exponent_is_that_of_a_power_law():
    cost = load("cost")
    rows = [cost.Cost("ridge", N, 1e-6 * N**1.25) for N in (10, 100, 1_000)]
    assert cost.exponent(rows) == pytest.approx(1.25)
    rows.append(cost.Cost("ridge", 10_000, np.nan, "no memory"))
    assert cost.exponent(rows, 100) == pytest.approx(1.25)
    assert np.isnan(cost.exponent(rows, 1_000))


def test_sizes_that_do_not_fit_are_left_out_with_the_reason(monkeypatch):
    cost = load("cost")
    monkeypatch.setattr(cost, "free_memory", lambda: 1e6)
    rows = list(cost.costs((1_000_000,)))
    assert [row.model for row in rows] == ["ridge", "logistic"]
    assert all("GiB of free memory" in row.reason and np.isnan(row.seconds) for row in rows)


def test_the_command(tmp_path):
    """Quick, one problem, no peers: the table, its files, and the figures."""
    options = ["--quick", "--problems", "P4", "--peers"]
    run = subprocess.run(
        [sys.executable, "-m", "benchmarks.bilevel", *options, "--out", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    for word in ("P4: L_val uniform 0.49973", "plain", "handmade", "Asked for", "seconds ~ N^"):
        assert word in run.stdout
    report = json.loads((tmp_path / "bilevel.json").read_text())
    rows = {row["solver"]: row for row in report["rows"]}
    assert list(rows) == ["Implicit()", "plain", "handmade", "Implicit, tight"]
    for row in rows.values():
        assert report["problems"]["P4"]["best"] <= row["val_loss"] < 0.33
    assert rows["plain"]["t99"] > 0 and rows["Implicit()"]["t99"] > 0
    for name in ("loss_against_time", "cost_against_size"):
        assert (tmp_path / f"{name}.svg").read_text().startswith("<?xml")
        assert (tmp_path / f"{name}.png").stat().st_size > 10_000


# Language models ---------------------------------------------------------------------------------


def run_of(pairs, method, seed, test_loss, weights):
    return pairs.Run(method, seed, test_loss, 0.0, np.array(weights), 1.0)


def test_pairs_are_compared_seed_by_seed(capsys):
    """Losses that vary more between seeds than between methods: the pairing shows the lead."""
    pairs = load("_pairs")
    losses = {"uniform": 0.30, "validation only": 0.25, "mixing 0.1": 0.22, "Penalty": 0.20}
    runs = [
        run_of(pairs, name, seed, loss + 0.1 * seed + 0.001 * seed * (name == "Penalty"), [1.0])
        for seed in (1, 2, 3)
        for name, loss in (losses | {"mixing 0.3": 0.23, "mixing 1": 0.24, "BMO": 0.22}).items()
    ]
    assert pairs.best_mixing(runs) == "mixing 0.1"
    pairs.print_losses(runs)
    lines = capsys.readouterr().out.splitlines()
    assert any(l.split()[:3] == ["mixing", "0.1", "0.420"] and "hindsight" in l for l in lines)
    lead = next(l for l in lines if "Penalty  less mixing 0.1" in l)
    # Differences -.019, -.018, -.017: mean -.018, half width 4.303 * .001 / sqrt(3) = .0025.
    assert lead.split()[4:] == ["-0.018", "[-0.020,", "-0.016]", "lower"]
    tie = next(l for l in lines if "BMO      less mixing 0.1" in l)
    assert tie.endswith("no difference shown")


def test_detection_is_told_by_kind(capsys):
    """Weights that find one kind of two; ESS and mass of the weights, none for free scores."""
    pairs = load("_pairs")
    kinds = ["good", "good", "slang", "number"]
    data = pairs.Data([], [], [], kinds)
    weights = [0.4, 0.3, 0.0, 0.3]
    runs = [run_of(pairs, name, 5, 1.0, weights) for name in ("Penalty", "BMO")]
    free = {5: {name: np.array([0.0, 0.0, 1.0, 0.0]) for name in pairs.FREE}}
    pairs.print_detection(runs, free, {5: data})
    lines = {l[2:33].strip(): l[33:].split() for l in capsys.readouterr().out.splitlines() if l}
    ess = 1.0 / (0.16 + 0.09 + 0.09)
    assert lines["Penalty"] == ["0.875", "1.000", "0.750", f"{ess:.0f}", "0.70"]
    assert lines["word overlap"] == ["0.250", "0.000", "0.500"]


def test_words_that_prompt_and_response_share():
    pairs = load("_pairs")
    assert pairs.word_overlap("What is 2 plus 3?", "2 plus 3 is five, I guess") == 4 / 7
    assert pairs.word_overlap("What?", "!") == 0.0


def test_the_real_pairs_are_skipped_with_a_reason_where_they_are_not(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "argv", ["gsm8k_pairs", "--data", str(tmp_path)])
    load("gsm8k_pairs").main()
    assert capsys.readouterr().out.startswith(f"skipped: {tmp_path} has no train.jsonl")


def test_what_is_learned_from_has_no_truth(tmp_path):
    row = {"prompt": "a", "completion": "b", "truth": "wrong_numbers"}
    for name in ("train", "val", "test"):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(row) + "\n")
    data = load("gsm8k_pairs").read(tmp_path)
    assert data.kinds == ["wrong numbers"]
    assert data.train == data.val == data.test == [{"prompt": "a", "completion": "b"}]
