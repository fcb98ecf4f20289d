"""Self-refining: ratios on enumerated responses, rounds in closed form, resumed runs."""

from __future__ import annotations

import itertools
import math
from dataclasses import FrozenInstanceError, dataclass, replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import bdtheory as bdt
from bdtheory import refining
from bdtheory.adaptation import adaptation, refining_round
from bdtheory.methods.online import Ratio, Round
from bdtheory.methods.parallel import Processes
from bdtheory.methods.selectors import Mirror
from bdtheory.models import LinearGaussian
from bdtheory.models.samples import Samples
from bdtheory.models.transformer import TransformerLM
from bdtheory.ratios import importance_weights
from bdtheory.refinement import HISTORY, Refinement
from bdtheory.rounds import Rounds
from bdtheory.selection import as_text

PERMUTATION = np.random.default_rng(5).permutation(8)  # the rule: k is answered by 8 + its image
SETTINGS = bdt.Training(steps=6, batch_size=4, val_batch_size=3, evaluations=3, learning_rate=1e-2)
END = 16
TOKENS = bdt.Generation(share=0.5, responses=2, max_new=3, end=END)
FULL = replace(TOKENS, end=None)  # none of its responses can be empty
SHORT = bdt.BMO(steps=6)


def language(n=12, **changes):
    """A tiny transformer; half of the answers are wrong, and questions repeat."""
    rng = np.random.default_rng(0)

    def pairs(n, bad):
        k = rng.integers(0, 8, n)
        answer = 8 + PERMUTATION[(k + (rng.random(n) < bad) * rng.integers(1, 8, n)) % 8]
        return [[int(a)] * (1 + int(a) % 2) for a in k], [[int(a), END] for a in answer]

    shape = {"vocab_size": 17, "context": 6, "layers": 1, "width": 16, "dtype": "float64"}
    model = TransformerLM(**{**shape, "device": "cpu", "training": SETTINGS, **changes})
    return bdt.Problem(model, pairs(n, 0.5), pairs(7, 0.0))


def gaussian(seed=0, p=4, n=8, m=6, rank=3, s=0.3, **arrays):
    """(Problem of a linear-Gaussian generator, its arrays); validation sees `rank` directions."""
    rng = np.random.default_rng(seed)
    a = {
        "X": rng.standard_normal((n, p)),
        "y": rng.standard_normal(n),
        "X_val": rng.standard_normal((m, rank)) @ rng.standard_normal((rank, p)),
        "y_val": rng.standard_normal(m),
        "start": 3 * rng.standard_normal(p),
    } | arrays
    model = LinearGaussian(s=s, start=a["start"])
    return bdt.Problem(model, (a["X"], a["y"]), (a["X_val"], a["y_val"])), SimpleNamespace(**a)


@pytest.fixture
def calls(monkeypatch):
    """Every call of `generate`: theta, prompts, settings, samples."""
    seen = []
    for cls in (LinearGaussian, TransformerLM):

        def generate(self, theta, prompts, _real=cls.generate, **settings):
            samples = _real(self, theta, prompts, **settings)
            seen.append(SimpleNamespace(theta=theta, prompts=prompts, samples=samples, **settings))
            return samples

        monkeypatch.setattr(cls, "generate", generate)
    return seen


def without_time(selection):
    history = {k: a for k, a in selection.history.items() if k != "seconds"}
    return replace(selection, history=history)


def assert_same(one: Refinement, other: Refinement):
    """Bit for bit, but for the time it took."""
    assert without_time(one.offline) == without_time(other.offline)
    assert without_time(one.selection) == without_time(other.selection)
    assert (one.examples, one.message) == (other.examples, other.message)
    for name in set(HISTORY) - {"seconds"}:
        np.testing.assert_array_equal(one.history[name], other.history[name], err_msg=name)


# Ratios on all responses there are ---------------------------------------------------------------


@dataclass(frozen=True)
class Space:
    """All responses of at most two tokens to one question, under an old and a new model."""

    model: TransformerLM
    old: dict
    theta: dict
    data: object
    log_pi_old: np.ndarray
    log_pi: np.ndarray

    def weights(self, a: float, clip: float | None = None) -> np.ndarray:
        """pi_old rho^a for every response: E_old[rho^a f] = sum of weights f."""
        base = np.exp(self.log_pi_old)
        given = Round(base, np.zeros(len(base), int), self.log_pi_old)
        ratio = Ratio(given, 1.0, tau=1 / a, clip=clip, grouped=False)
        ratio.update(0.5, np.arange(len(base)), -self.log_pi)
        return ratio.weights

    def push(self, w: np.ndarray) -> np.ndarray:
        """sum_i w_i grad log pi_theta at theta, flat: where a descent step on F_w goes."""
        gradient = self.model.weighted_gradient(self.theta, w, self.data)
        return -np.concatenate([gradient[k].numpy().ravel() for k in self.theta])

    def apart(self) -> np.ndarray:
        """theta - theta_old, flat."""
        return np.concatenate([(self.theta[k] - self.old[k]).numpy().ravel() for k in self.theta])


SCALE = 6  # of a random start: responses far from equally likely


def space(distance=0.3, seed=0):
    model = TransformerLM(4, context=3, layers=1, width=16, dtype="float64", device="cpu")
    old = {k: SCALE * t for k, t in model.initial_theta(seed).items()}  # far from uniform
    other = model.initial_theta(seed + 1)
    theta = {k: t + distance * SCALE * other[k] for k, t in old.items()}
    stopped = [[0]] + [[a, b] for a in (1, 2, 3) for b in range(4)]  # 0 ends a response
    prompts = [[1]] * len(stopped)
    data = bdt.Problem(model, (prompts, stopped), ([[1]], [[0]])).train
    with torch.no_grad():
        log_pi = [-model.losses(t, data).numpy() for t in (old, theta)]
    return Space(model, old, theta, data, *log_pi)


def test_the_responses_are_all_there_are():
    s = space()
    for log_pi in (s.log_pi_old, s.log_pi):
        assert np.exp(log_pi).sum() == pytest.approx(1.0, abs=1e-12)
        assert np.exp(log_pi).max() < 0.95
    assert np.abs(s.log_pi - s.log_pi_old).max() > 0.5
    drawn = s.model.generate(s.old, [[1]] * 400, max_new=2, end=0, seed=0)
    counts = np.zeros(13)
    names = [tuple(r) for _, r in s.data.pairs()]
    for response, log_pi in zip(drawn.responses, drawn.log_probs.tolist(), strict=True):
        k = names.index(tuple(response))
        counts[k] += 1
        assert log_pi == pytest.approx(s.log_pi_old[k], abs=1e-12)
    pi = np.exp(s.log_pi_old)  # 5 standard errors of a count among 400
    assert np.all(np.abs(counts - 400 * pi) < 5 * np.sqrt(400 * pi * (1 - pi)) + 1)


@pytest.mark.parametrize("seed", range(3))
def test_the_unnormalised_estimator_is_unbiased(seed):
    """E_old[rho f] = E_theta[f] as a sum over all responses, for any f: theory.md, C08(b)."""
    s = space(seed=10 * seed)
    f = np.random.default_rng(seed).standard_normal((13, 4))
    found, exact = s.weights(1.0) @ f, np.exp(s.log_pi) @ f
    np.testing.assert_allclose(found, exact, rtol=0, atol=1e-12)
    assert np.abs(np.exp(s.log_pi_old) @ f - exact).max() > 0.01
    assert np.abs(s.weights(1.0, clip=1.0) @ f - exact).max() > 0.01  # a clip is a bias


@pytest.mark.parametrize("seed", range(3))
def test_a_self_generated_response_pushes_nowhere(seed):
    s = space(seed=10 * seed)
    scale = np.abs(s.push(np.exp(s.log_pi_old))).max()  # without the ratio: back to the old model
    assert scale > 1e-3
    assert np.abs(s.push(s.weights(1.0))).max() < 1e-12 + 1e-12 * scale


@pytest.mark.parametrize("a", [0.25, 0.5, 1.5, 2.0])
@pytest.mark.parametrize("seed", range(3))
def test_tempering_pulls_back_or_drives_away(a, seed):
    """E_old[rho^a grad log pi].d = (a - 1) E_old[(log rho)^2] to leading order in d."""
    s = space(distance=1e-3, seed=10 * seed)
    fisher = np.exp(s.log_pi_old) @ (s.log_pi - s.log_pi_old) ** 2
    pull = s.push(s.weights(a)) @ s.apart()
    assert fisher > 1e-9
    assert pull / fisher == pytest.approx(a - 1.0, rel=0.1)  # the next order is about 1e-2


def test_the_ratio_of_an_unchanged_model_is_one():
    """What `generate` says of its responses is what `losses` says of them, padded in a batch."""
    for dtype, atol in (("float64", 1e-12), ("float32", 2e-5)):  # some 5 tokens of rounding
        model = language(dtype=dtype).model
        theta = model.initial_theta(3)
        prompts = [[k] * (1 + k % 3) for k in range(8)] * 5
        for temperature in (1.0, 0.5, None):
            drawn = model.generate(theta, prompts, max_new=3, end=END, temperature=temperature)
            again = model.log_probs(theta, prompts, drawn.responses)
            np.testing.assert_allclose(drawn.log_probs, again, rtol=0, atol=atol)


@pytest.mark.parametrize("generation", [FULL, replace(TOKENS, responses=12)], ids=["all", "some"])
@pytest.mark.parametrize("method", [bdt.BMO(clip=None), bdt.Penalty()], ids=as_text)
def test_a_round_without_a_step_worth_the_name_leaves_all_ratios_at_one(method, generation, calls):
    problem = language(training=replace(SETTINGS, learning_rate=1e-14))
    found = bdt.refine(problem, method, 1, generation=generation)
    generated = len(found.selection.weights) - problem.N
    empty = calls[0].samples.responses.count([END])  # left out, and their probabilities with them
    assert generated == len(calls[0].prompts) - empty and (empty > 0) == (generation != FULL)
    np.testing.assert_allclose(found.history["ess"], generated, rtol=1e-9)
    np.testing.assert_array_equal(found.history["clipped"], 0.0)
    moved = bdt.refine(language(), method, 1, generation=generation)
    assert moved.history["ess"][0] < generated - 1e-6


# The weights of a round --------------------------------------------------------------------------

GIVEN = Round(
    base=np.array([0.3, 0.1, 0.1, 0.1, 0.2, 0.2]),
    questions=np.array([0, 1, 0, 0, 3, 3]),
    log_pi_old=np.array([np.nan, np.nan, -1.0, -2.0, -3.0, -4.0]),
)


def test_ratios_by_hand():
    losses = np.array([9.0, 9.0, 1.0 + math.log(2), 2.0, 3.0 - math.log(4), 4.0 - math.log(100)])
    for settings, factors in [
        ({"tau": 1.0, "clip": None}, [0.5, 1.0, 4.0, 100.0]),
        ({"tau": 1.0, "clip": 10.0}, [0.5, 1.0, 4.0, 10.0]),
        ({"tau": 2.0, "clip": None}, [0.5**0.5, 1.0, 2.0, 10.0]),
        ({"tau": 0.5, "clip": 3.0}, [0.25, 1.0, 3.0, 3.0]),
    ]:
        ratio = Ratio(GIVEN, 1.0, grouped=False, **settings)
        ratio.update(0.0, np.arange(6), losses)
        by_hand = [0.3, 0.1, *np.array([0.1, 0.1, 0.2, 0.2]) * factors]
        np.testing.assert_allclose(ratio.weights, by_hand, rtol=1e-12)
    grouped = Ratio(GIVEN, 1.0, tau=1.0, clip=None, grouped=True)
    grouped.update(0.0, np.arange(6), losses)
    by_hand = [0.3, 0.1, 0.2 / 3, 0.4 / 3, 0.4 * 4 / 104, 0.4 * 100 / 104]
    np.testing.assert_allclose(grouped.weights, by_hand, rtol=1e-12)


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("clip", [None, 1.3])
@pytest.mark.parametrize("tau", [0.5, 1.0, 2.0])
def test_ratios_are_importance_weights_however_they_come_in(tau, clip, grouped):
    rng = np.random.default_rng(0)
    old = np.where(np.arange(30) < 8, np.nan, rng.normal(-5, 1, 30))
    given = Round(rng.dirichlet(np.ones(30)), rng.integers(0, 6, 30), old)
    ratio = Ratio(given, 2.0, tau=tau, clip=clip, grouped=grouped)
    np.testing.assert_array_equal(ratio.weights, given.base)
    losses = rng.normal(5, 1, 30)
    for rows in np.split(rng.permutation(30), 6):
        ratio.update(0.1, rows, losses[rows])
    groups = given.questions[8:] if grouped else None
    exact = importance_weights(-losses[8:], old[8:], tau=tau, clip=clip, groups=groups).weights
    np.testing.assert_allclose(ratio.weights[8:], given.base[8:] * exact, rtol=1e-12)
    np.testing.assert_array_equal(ratio.weights[:8], given.base[:8])  # offline: as they were
    assert ratio.shares(0.0) == ratio.shares(1.0) == pytest.approx((1 / 3, 2 / 3))


def test_a_response_not_seen_keeps_its_ratio():
    ratio = Ratio(GIVEN, 1.0, tau=1.0, clip=None, grouped=False)
    ratio.update(0.0, np.array([0, 3]), np.array([1.0, 2.0 - math.log(3)]))
    np.testing.assert_allclose(ratio.weights, [0.3, 0.1, 0.1, 0.3, 0.2, 0.2], rtol=1e-12)
    ratio.update(0.0, np.array([0, 1]), np.array([1.0, 2.0]))  # offline pairs alone
    np.testing.assert_allclose(ratio.weights, [0.3, 0.1, 0.1, 0.3, 0.2, 0.2], rtol=1e-12)


def test_ratios_that_overflow_are_taken_in_logarithms():
    losses = np.array([0.0, 0.0, 1.0 - 1e4, 2.0, 3.0 + 1e4, 4.0])
    clipped = Ratio(GIVEN, 1.0, tau=1.0, clip=7.0, grouped=False)
    clipped.update(0.0, np.arange(6), losses)
    np.testing.assert_allclose(clipped.weights, [0.3, 0.1, 0.7, 0.1, 0.0, 0.2], rtol=1e-12)
    grouped = Ratio(GIVEN, 1.0, tau=1.0, clip=None, grouped=True)
    grouped.update(0.0, np.arange(6), losses)
    np.testing.assert_allclose(grouped.weights, [0.3, 0.1, 0.2, 0.0, 0.0, 0.4], rtol=1e-12)
    free = Ratio(GIVEN, 1.0, tau=1.0, clip=None, grouped=False)
    with pytest.raises(ValueError, match=r"log ratio over tau is 10000; needed .*; try .*clip"):
        free.update(0.0, np.arange(6), losses)


def test_two_levels_add_their_logits():
    """Two steps: the second estimate of F_w is at the weights that both levels have moved."""
    codes, rate = GIVEN.codes("both"), 0.1
    mirror = Mirror(
        SimpleNamespace(groups=None, N=6), 1.0, rate, False, base=GIVEN.base, codes=codes
    )
    question, own, centre = np.zeros(4), np.zeros(6), None
    for rows, losses in ((np.arange(6), [1.0, 2, 3, 5, 8, 13]), (np.array([2, 4]), [2.0, 7])):
        w = (GIVEN.base * np.exp(question[GIVEN.questions] + own))[rows]
        F = w @ losses / w.sum()
        centre = F if centre is None else 0.9 * centre + 0.1 * F
        excess, of = np.array(losses) - centre, GIVEN.questions[rows]
        own[rows] -= rate * excess
        for q in set(of):
            question[q] -= rate * excess[of == q].mean()
        mirror.update(1.0, rows, np.array(losses))
    w = GIVEN.base * np.exp(question[GIVEN.questions] + own)
    np.testing.assert_allclose(mirror.weights, w / w.sum(), rtol=1e-12)


def test_a_round_and_its_ratios_are_read_only_and_of_one_process():
    assert GIVEN == GIVEN != replace(GIVEN)  # by identity: arrays are not compared
    with pytest.raises(FrozenInstanceError, match="cannot assign to field 'base'"):
        GIVEN.base = np.ones(6)  # pyright: ignore[reportAttributeAccessIssue]
    ratio = Ratio(given=GIVEN, gamma=1.0, tau=1.0, clip=None, grouped=True)
    assert ratio.follows and not ratio.value_function  # no second copy is trained
    assert ratio.count == 4 and ratio.at(np.array([4, 0])).tolist() == [0.2, 0.3]
    with pytest.raises(ValueError, match="a round of refine in 3 processes; needed one; try"):
        ratio.divide(Processes(1, 3))


def test_ratios_up_to_the_largest_number():
    """log rho = log of the largest float is no overflow; a little more is."""
    top = math.log(np.finfo(np.float64).max)
    given = Round(np.array([1.0]), np.array([0]), np.array([0.0]))
    free = Ratio(given, 1.0, tau=1.0, clip=None, grouped=False)
    free.update(0.0, np.array([0]), np.array([-top]))
    assert free.weights[0] == pytest.approx(np.finfo(np.float64).max, rel=1e-10)
    with pytest.raises(ValueError, match="log ratio over tau is"):
        free.update(0.0, np.array([0]), np.array([-top * (1 + 1e-12)]))


def test_a_single_response_of_a_question_has_factor_1_where_grouped():
    given = Round(np.array([0.25, 0.75]), np.array([1, 3]), np.array([-1.0, -2.0]))
    ratio = Ratio(given, 1.0, tau=1.0, clip=None, grouped=True)
    ratio.update(0.0, np.arange(2), np.array([5.0, 0.1]))
    np.testing.assert_allclose(ratio.weights, given.base, rtol=1e-12)


def test_levels_are_logits_that_pairs_share():
    assert GIVEN.generated.tolist() == [False, False, True, True, True, True]
    assert GIVEN.codes("response").tolist() == [[0, 1, 2, 3, 4, 5]]
    assert GIVEN.codes("question").tolist() == [[0, 1, 0, 0, 3, 3]]
    assert GIVEN.codes("both").tolist() == [[0, 1, 0, 0, 3, 3], [4, 5, 6, 7, 8, 9]]
    one = SimpleNamespace(groups=None, N=6)
    losses, rate = np.array([1.0, 2.0, 3.0, 5.0, 8.0, 13.0]), 0.1
    excess = losses - GIVEN.base @ losses
    mean = np.array([3.0, 2.0, 3.0, 3.0, 10.5, 10.5]) - GIVEN.base @ losses  # of their questions
    for level, moved in {"response": excess, "question": mean, "both": excess + mean}.items():
        mirror = Mirror(one, 1.0, rate, False, base=GIVEN.base, codes=GIVEN.codes(level))
        mirror.update(1.0, np.arange(6), losses)
        by_hand = GIVEN.base * np.exp(-rate * moved)
        np.testing.assert_allclose(mirror.weights, by_hand / by_hand.sum(), rtol=1e-12)


def test_a_first_batch_of_weights_of_zero_moves_nothing():
    """Offline selection sets weights to 0: a batch of such pairs made the centre, and all, nan."""
    base = np.array([0.0, 0.0, 0.5, 0.5])
    for level in ("question", "response", "both"):
        given = Round(base, np.array([0, 1, 0, 1]), np.full(4, np.nan))
        mirror = Mirror(
            SimpleNamespace(groups=None, N=4), 1.0, 0.1, False, base=base, codes=given.codes(level)
        )
        mirror.update(0.5, np.array([0, 1]), np.array([1.0, 2.0]))
        np.testing.assert_array_equal(mirror.weights, base)
        mirror.update(0.5, np.array([1, 2, 3]), np.array([9.0, 1.0, 2.0]))
        assert mirror.weights[:2].tolist() == [0.0, 0.0] and mirror.weights[2] != 0.5
        assert mirror.weights.sum() == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("level", ["question", "response", "both"])
def test_levels_in_a_round(level, calls):
    problem = language(training=replace(SETTINGS, selector_rate=0.5))
    generation = replace(FULL, responses=3, level=level)
    found = bdt.refine(problem, bdt.Penalty(), 1, generation=generation)
    # Those whose best state is the start have no learned weights to look at.
    assert "step 0" not in found.selection.message
    offline, online = np.split(found.selection.weights, [problem.N])
    asked = [tuple(p) for p in calls[-1].prompts]
    each = [online[[q == a for q in asked]] for a in dict.fromkeys(asked)]
    assert {len(w) for w in each} == {3}
    spread = max(np.ptp(w) / w.mean() for w in each)
    assert (spread < 1e-12) if level == "question" else (spread > 1e-3)
    ratios = [w.mean() / each[0].mean() for w in each]
    assert max(abs(np.log(ratios))) > 1e-3  # questions differ, at every level
    assert offline.sum() > 0.1


# Which questions, and how much they count --------------------------------------------------------


@pytest.mark.parametrize("share, count", [(0.05, 1), (0.3, 3), (0.44, 4), (0.46, 5), (1.0, 10)])
def test_a_share_of_the_questions_of_lowest_offline_mass(share, count, calls):
    """Ten questions, two of them asked twice: it is their mass that counts, not a pair's weight."""
    rows = np.array([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 3, 7])
    X = np.random.default_rng(0).standard_normal((10, 4))
    problem, _ = gaussian(n=12, X=X[rows])
    if share == 0.05:  # 0.5 questions: half to even, none
        with pytest.raises(ValueError, match=r"share is 0.05 of 10 .* try share=0.1 or more"):
            bdt.refine(problem, SHORT, 1, generation=bdt.Generation(share=share))
        return
    generation = bdt.Generation(share=share, responses=3)
    uniform = bdt.learn_weights(problem, bdt.Uniform())
    assert np.bincount(rows, weights=uniform.weights)[3] == pytest.approx(2 / 12)
    found = bdt.refine(problem, SHORT, 2, generation=generation)
    mass = np.bincount(rows, weights=found.offline.weights)
    chosen = np.sort(np.argsort(mass, kind="stable")[:count])
    for call in calls:
        asked = np.array([np.flatnonzero((X == x).all(1))[0] for x in call.prompts])
        assert np.unique(asked).tolist() == chosen.tolist()
        assert (np.bincount(asked)[chosen] == 3).all()


def test_random_questions_are_others_each_round_and_for_each_seed(calls):
    problem, a = gaussian(n=20)
    generation = bdt.Generation(share=0.3, lowest=False, responses=1)
    for seed in (0, 0, 1):
        bdt.refine(problem, SHORT, 2, generation=generation, seed=seed)
    asked = [frozenset(int(np.flatnonzero((a.X == x).all(1))[0]) for x in c.prompts) for c in calls]
    assert {len(q) for q in asked} == {6}
    assert asked[:2] == asked[2:4] and len(set(asked)) == 4


@pytest.mark.parametrize("offline", [None, 0.2, 0.0])
def test_base_weights_have_the_masses_that_were_asked_for(offline):
    problem = language()
    generation = replace(FULL, offline=offline, share=0.7, responses=3)
    method = bdt.DirectMixing(ratio=1.0)  # keeps the base weights
    found = bdt.refine(problem, method, 1, generation=generation)
    mass, w = (0.3 if offline is None else offline), found.selection.weights
    questions = len({tuple(p) for p in problem.train.prompts()})
    chosen = round(0.7 * questions)
    kept = problem.N if mass else 0
    assert len(w) == kept + 3 * chosen and w.sum() == pytest.approx(1.0, abs=1e-12)
    np.testing.assert_allclose(w[:kept], mass * found.offline.weights[:kept], rtol=1e-12)
    np.testing.assert_allclose(w[kept:], (1 - mass) / (3 * chosen), rtol=1e-12)


def test_the_number_of_questions_is_the_entropy_of_their_masses():
    X = np.eye(4)[[0, 0, 1, 2, 3]]
    problem, _ = gaussian(n=5, X=X)
    generation = bdt.Generation(share=1.0, responses=2)
    found = bdt.refine(problem, SHORT, 1, generation=generation)
    np.testing.assert_allclose(found.history["questions"], 4.0, rtol=1e-12)
    found = bdt.refine(problem, SHORT, 1, generation=replace(generation, offline=0.6))
    mass = 0.6 * np.bincount([0, 0, 1, 2, 3], weights=found.offline.weights) + 0.1
    np.testing.assert_allclose(
        found.history["questions"], np.exp(-(mass * np.log(mass)).sum()), rtol=1e-12
    )


# Rounds in closed form ---------------------------------------------------------------------------


@pytest.mark.parametrize("gamma", [0.3, 4.0])
@pytest.mark.parametrize("temperature", [None, 1.0, 0.25])
@pytest.mark.parametrize("share, offline", [(1.0, None), (0.5, None), (0.75, 0.1), (1.0, 0.5)])
def test_a_round_is_the_closed_form(share, offline, temperature, gamma, calls):
    problem, a = gaussian()
    generation = bdt.Generation(
        share=share, offline=offline, temperature=temperature, responses=2, lowest=False
    )
    method, thetas = bdt.BMO(gamma=gamma, steps=6), [a.start]
    found = bdt.refine(
        problem,
        method,
        3,
        generation=generation,
        callback=lambda r, found: thetas.append(found.selection.theta),
    )
    mass = 1 - share if offline is None else offline
    for call, theta, theta_next in zip(calls, thetas[:-1], thetas[1:], strict=True):
        np.testing.assert_array_equal(call.theta, theta)  # the start first, then the round before
        y, mean = call.samples.responses, call.prompts @ theta
        noise = (y - mean) / 0.3
        assert np.abs(noise).max() < 4 * math.sqrt(temperature or 1e-30)
        assert len(y) == 2 * round(share * 8)
        X, q = np.vstack([a.X, call.prompts]), np.full(len(y), (1 - mass) / len(y))
        exact = refining_round(
            theta,
            X,
            np.append(mass * found.offline.weights, q),
            a.X_val,
            a.y_val,
            gamma,
            responses=np.append(a.y, y),
        )
        np.testing.assert_allclose(theta_next, exact, rtol=0, atol=1e-10)
        assert np.abs(theta_next - theta).max() > 1e-3
    assert np.abs(found.offline.theta - a.start).max() > 0.1  # it was not the start of round one


def test_mean_responses_to_all_questions_are_a_step_of_adaptation():
    problem, a = gaussian()
    generation = bdt.Generation(share=1.0, temperature=None, responses=1)
    found = bdt.refine(problem, bdt.BMO(gamma=2.0, steps=6), 1, generation=generation)
    exact = refining_round(a.start, a.X, np.full(8, 1 / 8), a.X_val, a.y_val, 2.0)
    np.testing.assert_allclose(found.selection.theta, exact, rtol=0, atol=1e-10)


def test_many_rounds_reach_the_limit_of_adaptation():
    problem, a = gaussian(seed=1)
    generation = bdt.Generation(share=1.0, temperature=None, responses=1)
    fixed = adaptation(a.X, np.full(8, 1 / 8), a.X_val, a.y_val, 1.0)
    assert fixed.rate < 0.97
    rounds = math.ceil(math.log(1e-10) / math.log(fixed.rate))
    found = bdt.refine(problem, bdt.BMO(gamma=1.0, steps=6), rounds, generation=generation)
    limit = fixed.limit(a.start)
    np.testing.assert_allclose(found.selection.theta, limit, rtol=0, atol=1e-8)
    assert (np.diff(found.history["val_loss"]) < 1e-12).all()
    assert np.abs(limit - fixed.limit(found.offline.theta)).max() > 0.1


def test_what_nothing_sees_stays_as_it_was():
    """No question and no validation sample sees the last feature: the fit there is the start's.

    A fit of least norm set it to 0, where training from the model before would not touch it.
    """
    _, a = gaussian(p=5, rank=2)
    X, X_val = a.X.copy(), a.X_val.copy()
    X[:, 4] = X_val[:, 4] = 0.0
    start = np.array([1.0, -1.0, 2.0, 0.0, 7.0])
    problem, _ = gaussian(p=5, X=X, X_val=X_val, y_val=a.y_val, start=start)
    generation = bdt.Generation(share=1.0, temperature=None)
    found = bdt.refine(problem, bdt.BMO(gamma=2.0, steps=6), 2, generation=generation)
    theta = found.selection.theta
    assert theta[4] == pytest.approx(7.0, abs=1e-12) and found.offline.theta[4] == 0.0
    start = start[:4]
    for _ in range(2):
        start = refining_round(start, X[:, :4], np.full(8, 1 / 8), X_val[:, :4], a.y_val, 2.0)
    np.testing.assert_allclose(theta[:4], start, rtol=0, atol=1e-10)


def test_tensors_come_back_as_tensors_of_the_same_numbers():
    _, a = gaussian()
    found, generation = [], bdt.Generation(share=1.0, temperature=None)
    for kind in (np.asarray, torch.tensor):
        train, val = (kind(a.X), kind(a.y)), (kind(a.X_val), kind(a.y_val))
        for start in (a.start, torch.tensor(a.start), a.start.tolist()):
            problem = bdt.Problem(LinearGaussian(0.3, start=start), train, val)
            found.append(bdt.refine(problem, SHORT, 2, generation=generation).selection)
            assert type(found[-1].theta) is type(found[-1].weights) is type(train[0])
    for selection in found[1:]:
        np.testing.assert_allclose(selection.theta, found[0].theta, rtol=0, atol=1e-10)


# Runs: none, resumed, stopped, seeded ------------------------------------------------------------

RUNS = {
    "language, BMO": (language, bdt.BMO(), TOKENS),
    "language, Penalty": (language, bdt.Penalty(), replace(TOKENS, level="both", steps=4)),
    "language, a random model": (lambda: language(5), bdt.Uniform(), TOKENS),
    "gaussian": (lambda: gaussian()[0], SHORT, bdt.Generation(lowest=False, responses=2)),
}


@pytest.mark.parametrize("name", RUNS)
def test_no_round_is_offline_selection(name):
    make, method, generation = RUNS[name]
    found = bdt.refine(make(), method, 0, generation=generation, seed=2)
    alone = bdt.learn_weights(make(), method, seed=2)
    assert without_time(found.selection) == without_time(alone)
    assert without_time(found.offline) == without_time(alone)
    assert found.rounds == 0 and found.examples == [] and set(found.history) == set(HISTORY)
    assert repr(found) == f"Refinement({as_text(method)}, rounds=0: {found.message})"


class Interrupted(Exception):
    pass


def interrupt(r, found):
    raise Interrupted


@pytest.mark.parametrize("name", RUNS)
def test_a_resumed_run_is_the_uninterrupted_one(name, tmp_path):
    make, method, generation = RUNS[name]

    def run(rounds, folder, callback=None, score=None):
        return bdt.refine(
            make(),
            method,
            rounds,
            generation=generation,
            seed=3,
            callback=callback,
            checkpoint=folder,
            score=score,
        )

    whole = run(3, None)
    for stop in (1, 2):
        stopped = run(3, tmp_path / f"stop{stop}", lambda r, found, stop=stop: r == stop)
        assert stopped.rounds == stop
        assert_same(run(3, tmp_path / f"stop{stop}"), whole)
    for _ in range(3):  # one round each time
        with pytest.raises(Interrupted):
            run(3, tmp_path / "exception", interrupt)
    assert_same(run(3, tmp_path / "exception", interrupt), whole)  # nothing left: no callback
    assert run(2, tmp_path / "more").rounds == 2
    assert_same(run(3, tmp_path / "more"), whole)
    with pytest.raises(
        ValueError, match=r"checkpoint .* is of 3 rounds; needed at most rounds = 2"
    ):
        run(2, tmp_path / "more")


def test_a_run_interrupted_within_a_round_repeats_that_round(tmp_path):
    thetas = []

    def score(theta):
        thetas.append(theta)
        if len(thetas) == 2:
            raise Interrupted
        return float(theta.sum())

    def run(folder, score):
        problem = gaussian()[0]
        return bdt.refine(problem, SHORT, 3, score=score, checkpoint=folder)

    with pytest.raises(Interrupted):
        run(tmp_path / "run", score)
    assert_same(run(tmp_path / "run", score), run(None, lambda theta: float(theta.sum())))
    np.testing.assert_array_equal(thetas[1], thetas[2])


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    def run(folder, *, n=12, start=None, method=SHORT, generation=TOKENS, seed=0):
        problem = language(n, start=start)
        return bdt.refine(
            problem, method, 1, generation=generation, seed=seed, checkpoint=tmp_path / folder
        )

    run("one")
    for what, change in {
        "seed": {"seed": 1},
        "method": {"method": bdt.Penalty()},
        "generation": {"generation": replace(TOKENS, temperature=0.5)},
        "data": {"n": 11},
        "start": {"start": language().model.initial_theta(5)},
    }.items():
        with pytest.raises(ValueError, match=f"is of another {what}: .* try another folder"):
            run("one", **change)
    bdt.learn_weights(language(), SHORT, checkpoint=tmp_path / "selection")
    with pytest.raises(ValueError, match="is of another generation"):
        run("selection")
    with pytest.raises(ValueError, match="is of another generation"):
        bdt.learn_weights(language(), SHORT, checkpoint=tmp_path / "one")
    (tmp_path / "one" / "arrays.npz").write_bytes(b"no")
    with pytest.raises(ValueError, match=r"cannot be read .* try another folder"):
        run("one")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "letter.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="holds other files"):
        run("taken")


def test_a_folder_that_cannot_be_written_is_found_out_before_the_first_round(tmp_path, calls):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(OSError):
        bdt.refine(gaussian()[0], SHORT, 1, checkpoint=tmp_path / "file" / "run")
    assert not calls


@pytest.mark.parametrize("name", RUNS)
def test_the_seed_decides(name, calls):
    make, method, generation = RUNS[name]
    runs = [bdt.refine(make(), method, 2, generation=generation, seed=s) for s in (0, 0, 1)]
    assert_same(runs[0], runs[1])
    drawn = [c.samples.log_probs.tolist() for c in calls]
    assert drawn[0] == drawn[2] and drawn[1] == drawn[3] and drawn[0] != drawn[4]
    assert without_time(runs[0].selection) != without_time(runs[2].selection)


def test_rounds_draw_afresh(calls):
    bdt.refine(gaussian()[0], SHORT, 6, generation=bdt.Generation(share=1.0, responses=1))
    assert len({call.seed for call in calls}) == 6
    noise = np.array([c.samples.responses - c.prompts @ c.theta for c in calls])
    for one, other in itertools.combinations(noise, 2):
        assert np.abs(one - other).max() > 0.05


@pytest.mark.parametrize("given", [False, True])
def test_a_language_model_starts_from_its_start_not_from_offline(given, calls):
    start = language().model.initial_theta(9) if given else None
    problem = language(start=start)
    found, first = bdt.refine(problem, SHORT, 2, generation=TOKENS, seed=4), None
    first = start if given else language().model.initial_theta(4)
    one = bdt.refine(problem, SHORT, 1, generation=TOKENS, seed=4)
    for call, theta in zip(calls[:2], [first, one.selection.theta], strict=True):
        assert all(torch.equal(call.theta[k], theta[k]) for k in theta)
    assert any(not torch.equal(found.offline.theta[k], first[k]) for k in first)
    # Round one trains from there too: its state before any step has the loss of the start.
    loss = float(problem.model.losses(first, problem.val).mean())
    assert one.selection.history["val_loss"][0] == pytest.approx(loss, rel=1e-12)


def test_steps_of_a_round_and_settings_of_generation(calls):
    generation = replace(TOKENS, steps=4, temperature=0.7)
    found = bdt.refine(language(), SHORT, 1, generation=generation)
    assert found.selection.history["iteration"][-1] == 4
    assert found.offline.history["iteration"][-1] == 6
    assert (calls[0].temperature, calls[0].max_new, calls[0].end) == (0.7, 3, END)
    found = bdt.refine(language(), SHORT, 1, generation=TOKENS)
    assert found.selection.history["iteration"][-1] == 6


# Records -----------------------------------------------------------------------------------------


def test_history_score_and_callback():
    problem, seen = language(), []

    def callback(r, found):
        seen.append((r, found.rounds, found.history["val_loss"][-1]))
        return r == 2

    score = lambda theta: float(sum(t.sum() for t in theta.values()))  # noqa: E731
    found = bdt.refine(problem, SHORT, 5, generation=TOKENS, callback=callback, score=score, seed=1)
    assert [s[:2] for s in seen] == [(1, 1), (2, 2)] and found.rounds == 2
    assert set(found.history) == set(HISTORY)
    assert {len(a) for a in found.history.values()} == {2}
    assert found.history["round"].tolist() == [1, 2] and found.history["round"].dtype.kind == "i"
    assert found.history["val_loss"].tolist() == [s[2] for s in seen]
    assert found.history["val_loss"][-1] == found.selection.val_loss
    assert found.history["score"][-1] == score(found.selection.theta)
    assert (found.history["seconds"] > 0).all() and not found.history["empty"].any()
    assert np.isnan(bdt.refine(problem, SHORT, 1, generation=TOKENS).history["score"]).all()
    assert repr(found) == f"Refinement({as_text(SHORT)}, rounds=2: 2 rounds of generation)"


def test_effective_sample_size_and_clipped_share_are_those_of_the_ratios(calls):
    """By hand from the responses, at theta after the round."""
    problem, a = gaussian(s=0.6)
    generation = bdt.Generation(share=1.0, offline=0.3, responses=5)
    method = bdt.BMO(gamma=1.0, steps=6, tau=2.0, clip=1.01)
    found = bdt.refine(problem, method, 1, generation=generation)
    X, y = calls[0].prompts, calls[0].samples.responses
    squares = [(y - X @ theta) ** 2 for theta in (a.start, found.selection.theta)]
    rho = np.exp((squares[0] - squares[1]) / (2 * 0.6**2))
    w = np.minimum(np.sqrt(rho), 1.01)
    assert 0 < (np.sqrt(rho) > 1.01).mean() < 1
    assert found.history["clipped"][0] == pytest.approx((np.sqrt(rho) > 1.01).mean())
    assert found.history["ess"][0] == pytest.approx(w.sum() ** 2 / (w**2).sum(), rel=1e-9)


def test_records_of_ratios_that_overflow():
    """Log ratios of -1e5 and beyond: their effective sample size is a number all the same."""
    problem, _ = gaussian(s=1e-3)
    for method in (SHORT, bdt.BMO(clip=None, steps=6)):
        found = bdt.refine(problem, method, 2, generation=bdt.Generation(share=1.0))
        assert ((found.history["ess"] >= 1.0) & (found.history["ess"] <= 32.0)).all()


def test_examples_show_responses_before_and_after(calls):
    problem = language()
    found = bdt.refine(problem, SHORT, 2, generation=FULL)
    assert {e["round"] for e in found.examples} == {1, 2} and len(found.examples) == 6
    pairs = problem.train.pairs()
    for e in found.examples:
        call = calls[e["round"] - 1]
        first = call.prompts.index(e["prompt"])
        assert e["after"] == call.samples.responses[first]
        assert (e["prompt"], e["before"]) in pairs


@pytest.mark.parametrize("name", RUNS)
def test_a_refinement_saved_and_loaded_is_equal(name, tmp_path):
    make, method, generation = RUNS[name]
    found = bdt.refine(make(), method, 2, generation=generation)
    again = Refinement.load(found.save(tmp_path / "found"))
    assert again == found and repr(again) == repr(found)
    assert type(again.selection.theta) is type(found.selection.theta)
    other = replace(found, history=found.history | {"ess": found.history["ess"] + 1})
    assert other != found and replace(found, message="no") != found and found != 3
    assert replace(found, offline=found.selection) != found
    other.save(tmp_path / "found")  # over an older one
    assert Refinement.load(tmp_path / "found") == other
    with pytest.raises(ValueError, match="is not a saved refinement"):
        Refinement.load(tmp_path)
    (tmp_path / "letter.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="holds other files"):
        found.save(tmp_path)


# Nothing generated -------------------------------------------------------------------------------


class Mute(TransformerLM):
    """Answers only questions of even tokens, and those of 2 and 6 once in three times."""

    def generate(self, theta, prompts, **settings):
        samples = super().generate(theta, prompts, **settings)
        answers = [p[0] % 4 == 0 or (p[0] % 4 == 2 and k % 3 == 1) for k, p in enumerate(prompts)]
        silent = ([], [END])
        responses = [[8, END] if on else silent[k % 2] for k, on in enumerate(answers)]
        return Samples(responses, samples.log_probs)


@pytest.mark.parametrize("offline, said", [(0.5, "kept it offline"), (0.0, "left it out")])
def test_a_question_without_a_response_is_counted_and_said(offline, said):
    plain = language(n=40)
    prompts = plain.train.prompts()
    problem = bdt.Problem(
        Mute(17, 6, 1, 2, 16, "float64", "cpu", training=SETTINGS),
        (prompts, plain.train.responses()),
        (plain.val.prompts(), plain.val.responses()),
    )
    generation = replace(TOKENS, share=1.0, offline=offline, responses=3)
    found = bdt.refine(problem, bdt.DirectMixing(1.0), 2, generation=generation)
    assert found.history["empty"].tolist() == [4, 4]  # the four odd tokens, of eight questions
    assert found.message.startswith("2 rounds of generation; nothing was generated for a question")
    assert " 8 times, " in found.message and said in found.message
    w, kept = found.selection.weights, 40 if offline else 0
    assert w.sum() == pytest.approx(1.0, abs=1e-12)
    np.testing.assert_allclose(w[:kept], offline / 40, rtol=1e-12)  # also of the mute questions
    online = w[kept:] / (1 - offline) * 4  # every question that answered has the same mass
    np.testing.assert_allclose(np.sort(online), [1 / 3] * 6 + [1.0] * 2, rtol=1e-12)
    if offline == 0.0:
        assert found.history["questions"] == pytest.approx(4.0)


def test_a_model_that_ends_at_once_generates_nothing():
    settings = bdt.Training(steps=40, learning_rate=3e-2)
    plain = language()
    prompts = plain.train.prompts()
    silent = bdt.Problem(
        replace(plain.model, training=settings), *[(prompts, [[END]] * len(prompts))] * 2
    )
    start = bdt.learn_weights(silent, bdt.Uniform()).theta
    problem = language(start=start)
    generation = replace(TOKENS, temperature=None)
    with pytest.raises(
        ValueError, match=r"generated nothing for any of .* questions; needed .*try"
    ):
        bdt.refine(problem, SHORT, 1, generation=generation)


# Bad input ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong, what",
    [
        ({"share": 0.0}, "share is 0.0; needed"),
        ({"share": -0.5}, "share is -0.5; needed"),
        ({"share": 1.01}, "share is 1.01; needed at most 1"),
        ({"share": math.nan}, "share is nan; needed"),
        ({"temperature": 0.0}, "temperature is 0.0; needed"),
        ({"temperature": -1.0}, "temperature is -1.0; needed"),
        ({"offline": 1.0}, "offline is 1.0; needed less than 1"),
        ({"offline": -0.1}, "offline is -0.1; needed"),
        ({"responses": 0}, "responses is 0; needed"),
        ({"lowest": "yes"}, "lowest is 'yes'; needed"),
        ({"level": "pair"}, "level is 'pair'; needed"),
        ({"steps": 0}, "steps is 0; needed"),
        ({"max_new": 1.5}, "max_new is 1.5; needed"),
        ({"end": -1}, "end is -1; needed"),
    ],
)
def test_settings_out_of_range(wrong, what):
    with pytest.raises(ValueError, match=what + ".*; try"):
        bdt.Generation(**wrong)


def with_model(model):
    _, a = gaussian()
    return bdt.Problem(model, (a.X, a.y), (a.X_val, a.y_val))


@pytest.mark.parametrize(
    "changes, what",
    [
        ({"rounds": -1}, "rounds is -1; needed"),
        ({"rounds": 1.5}, "rounds is 1.5; needed"),
        ({"seed": -1}, "seed is -1; needed"),
        ({"problem": None}, "problem is NoneType; needed"),
        ({"method": bdt.Implicit()}, r"method is Implicit\(.*; needed one that weighs"),
        ({"method": bdt.BMO}, "method is <class .*; needed one that weighs"),
        ({"method": bdt.Penalty(max_iterations=2)}, "method is Penalty with LinearGaussian"),
        ({"method": bdt.Uniform()}, "method is Uniform with LinearGaussian"),
        ({"problem": with_model(bdt.Ridge(1.0))}, "Ridge cannot generate responses; needed"),
        ({"problem": with_model(LinearGaussian(0.1))}, "LinearGaussian has no start; needed"),
        ({"generation": {"share": 0.5}}, "generation is {.*; needed a Generation"),
        ({"generation": bdt.Generation(share=0.05)}, "leaves no question to regenerate; needed"),
        ({"generation": bdt.Generation(max_new=3)}, "has max_new=3, which LinearGaussian has no"),
        ({"generation": bdt.Generation(steps=3)}, "has steps=3, which LinearGaussian has no"),
    ],
)
def test_bad_input_is_one_clear_error(changes, what):
    arguments = {"problem": gaussian()[0], "method": SHORT, "rounds": 1} | changes
    with pytest.raises(ValueError, match=what + ".*; try"):
        bdt.refine(**arguments)


def test_the_one_layer_transformer_cannot_generate():
    model = bdt.models.OneLayerTransformer(vocab_size=4, length=3)
    sequences = [[0, 1, 2], [3, 1, 0]]
    problem = bdt.Problem(model, (sequences, [1, 2]), (sequences, [1, 2]))
    with pytest.raises(ValueError, match="OneLayerTransformer cannot generate responses; needed"):
        bdt.refine(problem, SHORT, 1)


def test_tokens_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r"context - max_new; try"):
        bdt.refine(language(), SHORT, 1, generation=replace(TOKENS, max_new=5))
    with pytest.raises(ValueError, match="end is 17; needed"):
        bdt.refine(language(), SHORT, 1, generation=replace(TOKENS, end=17))


def test_ratios_are_those_of_the_same_pass(monkeypatch):
    """A response's first visit must not use the ratio 1 of its birth: theta has moved since."""
    from bdtheory.methods.joint import Run

    pass_, used = TransformerLM.losses_and_gradient, []

    def noted(model, theta, w, data):
        return pass_(model, theta, lambda losses: used.append(w(losses)) or used[-1], data)

    monkeypatch.setattr(TransformerLM, "losses_and_gradient", noted)
    task = language(training=replace(SETTINGS, batch_size=None, val_batch_size=None))
    old = -task.model.losses(task.model.initial_theta(1), task.train).numpy().astype(float)
    given = Round(np.full(task.N, 1 / task.N), np.arange(task.N), old)
    selector = Ratio(given, 1.0, tau=1.0, clip=None, grouped=False)
    run = Run(task, selector, seed=0)  # theta of seed 0 is not the one of seed 1
    log_pi = -task.model.losses(run.leader.theta, task.train).numpy()
    run.advance()
    rho = np.exp(log_pi - old)
    half = 0.5 / task.N  # gamma = 1: validation and training have a half each
    np.testing.assert_allclose(used[0][: task.N], rho * half, rtol=1e-5)
    assert np.abs(log_pi - old).max() > 1e-3


def test_rounds_go_on_from_a_selection_that_is_there():
    problem = language()
    offline = bdt.learn_weights(problem, SHORT, seed=3)
    own, given = (
        bdt.refine(problem, SHORT, 2, generation=TOKENS, seed=3, offline=start)
        for start in (None, offline)
    )
    assert given.offline is offline
    np.testing.assert_array_equal(own.selection.weights, given.selection.weights)
    np.testing.assert_array_equal(own.history["val_loss"], given.history["val_loss"])


def test_a_selection_of_another_method_or_problem_is_refused():
    problem = language()
    offline = bdt.learn_weights(problem, SHORT)
    for other, method in ((language(n=11), SHORT), (problem, bdt.BMO(steps=7))):
        with pytest.raises(ValueError, match=r"offline has 12 weights by BMO\(.*steps=6"):
            bdt.refine(other, method, 1, generation=TOKENS, offline=offline)
    with pytest.raises(ValueError, match="offline is ndarray; needed a Selection"):
        bdt.refine(problem, SHORT, 1, generation=TOKENS, offline=offline.weights)


def test_no_round_follows_one_that_diverged(monkeypatch):
    """Its theta is not one to generate with."""
    advance, done = Rounds.advance, []

    def fail(self):
        advance(self)
        done.append(self.found.rounds)
        if len(done) == 2:
            self.found.selection.status = bdt.Status.DIVERGED

    monkeypatch.setattr(Rounds, "advance", fail)
    found = bdt.refine(language(), SHORT, rounds=5, generation=FULL)
    assert done == [1, 2] and found.rounds == 2
    assert found.selection.status is bdt.Status.DIVERGED


def test_a_method_without_closed_form_is_refused_before_any_work(monkeypatch):
    def work(*_, **__):
        raise AssertionError("offline selection ran first")

    monkeypatch.setattr(refining, "learn_weights", work)
    with pytest.raises(ValueError, match="closed-form weights"):
        bdt.refine(gaussian()[0], bdt.Penalty(max_iterations=2), rounds=1)
