"""C11: offline selection loses questions, self-refining keeps them.

Claim: (v2, the abstract's claim) offline BDS discards questions together with their bad responses;
    regenerated responses repair it. (a) Squared loss, mu = 0: a question whose every response is
    useless has weight 0 in every optimal w (C03), so the kept rank is at most that of the questions
    with a useful response. If theta is in S_val and every question gets the response x.theta, then
    theta fits all: the questions are jointly useful, uniform weights are optimal, and the effective
    number of questions, exp(entropy), is all of them. (b) Logistic loss, strictly separable
    validation data: the same for the response sign(x.theta), margins not 0. (c) A language model:
    offline the questions are lost whose responses all contradict validation (C18); responses of
    a model that fits validation keep them.
Assumptions: (a) offline A2, A3; A2 makes the responses to one question agree. Regenerated: theta in
    S_val, here the limit of self-refining from a random theta_0 (C10). (b) A1; regenerated: theta
    separates the validation data strictly.
Check: (a) L_val(theta(w)) on every support of 5 questions, 2 of them lost: the largest share of
    lost questions and the largest rank among the optimal ones; the maximum-entropy optimum; what
    Implicit and BMO learn. Regenerated: joint usefulness, L_val of uniform weights, the effective
    number. (b) Lost questions against non-negative least squares; both losses along theta's ray.
    (c) A transformer, 8 questions, 4 contradicted: mass on these against C18's bound; effective
    number of questions by Penalty, by BMO, and after a round of `refine`; F_w at uniform weights.
Control: (a) without A2 two responses to one question, wrong by +s and -s, cancel: it stays without
    a useful response, and the rank is one more. Without A3 all weight is on lost questions.
    Responses of theta_0, not in S_val: questions in the row space of X_val are lost, and of the
    others as many stay as null(A) has dimensions. (b) Responses of -theta: as many lost as NumPy
    counts. Both: one useful response for every question, U jointly useful: none lost offline.
    (c) That; responses of a model not trained yet: all are contradictions.
Not covered: mu > 0, where a lost question keeps some weight (C03(b)); what a lost question costs
    on test data (C12); (c) optimal weights: trained ones depend on the settings in language.py.
Runtime: about 1.7 s a seed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

import bdtheory as bdt
from bdtheory import Problem, jointly_useful, maximum_entropy_weights, usefulness
from bdtheory.adaptation import adaptation
from bdtheory.tasks import linear
from bdtheory.weights import entropy

from . import language
from .claim import Band, Claim, Expect
from .instances import clean, guided_separable
from .reference import best_for, least_squares, logistic_loss, row_and_null_space, squared_loss

CLAIM = Claim("C11", "Self-refining keeps questions", "v2", figure="question_diversity")
EXACT = Band.around(0.0, 1e-15)  # relative: sums of squares of rounding errors are below 1e-25
P, M, KEPT, LOST = 7, 5, 3, 2  # (a): features, validation rows, questions kept and lost offline


def whole(n: float) -> Band:
    """A number of questions or a rank, exactly; exp(entropy) is exact to 1e-14."""
    return Band.around(n, 1e-9)


@dataclass(frozen=True, eq=False)
class Questions:
    """Offline responses y (N,) to questions X (N, p); `question` (N,), from 0, says which.

    `before` and `after` (p,) are the model before and after it was adapted to the validation data.
    """

    model: bdt.Ridge | bdt.Logistic
    X: np.ndarray
    y: np.ndarray
    question: np.ndarray
    val: tuple[np.ndarray, np.ndarray]
    before: np.ndarray
    after: np.ndarray

    def offline(self) -> Problem:
        return Problem(self.model, (self.X, self.y), self.val)

    def regenerated(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray, Problem]:
        """Each question once (n, p), its response x.theta or sign(x.theta) (n,), the problem."""
        X = self.X[np.unique(self.question, return_index=True)[1]]
        y = X @ theta if isinstance(self.model, bdt.Ridge) else np.sign(X @ theta)
        return X, y, Problem(self.model, (X, y), self.val)

    def lost(self) -> np.ndarray:
        """The rows of questions without a useful response, (N,) bool."""
        useful = usefulness(self.offline()).useful
        return np.bincount(self.question, weights=useful)[self.question] == 0


def measure(instance: Questions, theta: np.ndarray) -> dict[str, float]:
    """The questions that offline selection keeps, and those it keeps with responses of theta."""
    problem, lost = instance.regenerated(theta)[2], instance.lost()
    n = problem.N
    numbers = {
        "questions": n,
        "lost": len(np.unique(instance.question[lost])),
        "effective, offline": effective_number(instance.offline(), instance.question),
        "useless": np.sum(~usefulness(problem).useful),
        "jointly useful": jointly_useful(problem, np.arange(n)).holds,
        "effective, regenerated": effective_number(problem, np.arange(n)),
    }
    return {name: float(value) for name, value in numbers.items()}


def effective_number(problem: Problem, question: np.ndarray) -> float:
    """exp(entropy) of the questions' weights at the most even optimum; 0 if nothing is useful."""
    if not usefulness(problem).useful.any():
        return 0.0
    w = maximum_entropy_weights(problem)
    return float(np.exp(entropy(np.bincount(question, weights=w))))


def expect_questions(instance: Questions, lost: float, expect: Expect) -> None:
    """Offline all questions stay but `lost` of them; with responses of `after` all of them stay."""
    numbers = measure(instance, instance.after)
    n, number = numbers["questions"], "effective number of questions"
    expect("offline: lost questions", numbers["lost"], whole(lost))
    expect(f"offline: {number}", numbers["effective, offline"], whole(n - lost))
    expect("regenerated: jointly useful", numbers["jointly useful"], whole(1))
    expect(f"regenerated: {number}", numbers["effective, regenerated"], whole(n))


# (a) squared loss --------------------------------------------------------------------------------


def make_instance(
    rng: np.random.Generator, *, A2: bool = True, A3: bool = True, useful_for_all: bool = False
) -> Questions:
    """3 questions answered by theta*, 2 in the row space of X_val whose response it contradicts.

    Without A2 one question has the responses x.theta* + s and x.theta* - s. With `useful_for_all`
    the last 2 have the response x.theta* as well. `before` is random, `after` its limit.
    """
    seed = int(rng.integers(2**31))
    task = linear(seed, p=P, m=M, n_useful=KEPT, n_useless=LOST, A2=A2, A3=A3)
    (X, y), question = task.train, np.arange(KEPT + LOST)
    if not A2:
        question = np.array([0, 1, 2, 3, 3])
    if useful_for_all:
        X, y = np.vstack([X, X[KEPT:]]), np.append(y, X[KEPT:] @ task.theta0)
        question = np.append(question, question[KEPT:])
    before, q = rng.standard_normal(P), np.full(len(X), 1 / len(X))
    # Without A3 no question leaves the row space of X_val, and a round has no unique minimiser.
    after = adaptation(X, q, *task.val, 1.0).limit(before) if A3 else least_squares(*task.val)
    return Questions(bdt.Ridge(0.0), X, y, question, task.val, before, after)


def measure_supports(instance: Questions) -> dict[str, float]:
    """The optimal supports, with uniform weights on each: share of lost questions, and rank."""
    problem, lost = instance.offline(), instance.lost()
    supports = (np.arange(1, 2**problem.N)[:, None] >> np.arange(problem.N)) % 2
    size = np.mean(instance.val[1] ** 2 / 2)  # L_val(0)
    values = np.array([bdt.hypergradient(problem, J / J.sum())[0] / size for J in supports])
    optimal = values <= values.min() + 1e-9
    share = supports[optimal] @ lost / supports[optimal].sum(axis=1)
    return {
        "V_BDS": float(values.min()),
        "next value": float(values[~optimal].min()),
        "largest lost share": float(share.max()),
        "least lost share": float(share.min()),
        "rank": max(rank(instance.X[J > 0]) for J in supports[optimal]),
        "rank with useful": rank(instance.X[~lost]),
    }


def rank(X: np.ndarray) -> float:
    return float(np.linalg.matrix_rank(X, tol=1e-9 * np.linalg.norm(X))) if len(X) else 0.0


def measure_uniform(instance: Questions, theta: np.ndarray) -> dict[str, float]:
    """L_val of uniform weights on responses of theta, in units of L_val(0), and by NumPy."""
    X, y, problem = instance.regenerated(theta)
    size, uniform = float(np.mean(instance.val[1] ** 2 / 2)), np.full(len(X), 1 / len(X))
    unseen = np.abs(X @ row_and_null_space(instance.val[0])[1])
    return {
        "L_val": bdt.hypergradient(problem, uniform)[0] / size,
        "NumPy": squared_loss(*instance.val, best_for(X, y, *instance.val)) / size,
        "in the row space": float(np.sum(unseen.max(axis=1) < 1e-9)),
    }


def expect_linear(instance: Questions, lost: int, expect: Expect) -> None:
    """What (a) says of 5 questions, `lost` of which have no useful response."""
    expect_questions(instance, lost, expect)
    numbers, kept = measure_supports(instance), KEPT + LOST - lost
    expect("offline: V_BDS - L_val*", numbers["V_BDS"], EXACT)
    share = numbers["largest lost share"]  # 1/5 or more, where it is not 0
    expect("offline: lost share of optimal supports", share, Band.around(0.0, 0.1))
    expect("offline: largest rank of an optimal support", numbers["rank"], whole(kept))
    uniform = measure_uniform(instance, instance.after)["L_val"]
    expect("regenerated: L_val of uniform weights - L_val*", uniform, EXACT)


def test_holds_linear(seed: int, expect: Expect) -> None:
    instance = make_instance(CLAIM.rng(seed))
    expect_linear(instance, LOST, expect)
    for method in (bdt.Implicit(), bdt.BMO()):
        mass = bdt.learn_weights(instance.offline(), method).weights[instance.lost()].sum()
        # Weights below 1e-12 of the largest are 0, and a weight above 0 costs its whole price.
        expect(f"lost mass learned by {type(method).__name__}", mass, Band.around(0.0, 1e-9))


def test_fails_without_A2(seed: int, expect: Expect) -> None:
    numbers = measure_supports(make_instance(CLAIM.rng(seed, 1), A2=False))
    expect("V_BDS - L_val*", numbers["V_BDS"], EXACT)
    expect("largest lost share of optimal supports", numbers["largest lost share"], whole(1))
    more = numbers["rank"] - numbers["rank with useful"]
    expect("rank beyond the questions with a useful response", more, whole(1))


def test_fails_without_A3(seed: int, expect: Expect) -> None:
    numbers = measure_supports(make_instance(CLAIM.rng(seed, 1), A3=False))
    expect("least lost share of optimal supports", numbers["least lost share"], whole(1))
    expect("rank of questions with a useful response", numbers["rank with useful"], whole(0))


def test_fails_without_lost_questions(seed: int, expect: Expect) -> None:
    """One useful response per question, U jointly useful: offline selection keeps all 5."""
    expect_linear(make_instance(CLAIM.rng(seed, 1), useful_for_all=True), 0, expect)


def test_fails_without_theta_in_S_val(seed: int, expect: Expect) -> None:
    """Responses of theta_0: X_val contradicts 2; of the rest null(A), of dimension 2, fits 2."""
    instance = make_instance(CLAIM.rng(seed, 1))
    numbers, uniform = (f(instance, instance.before) for f in (measure, measure_uniform))
    expect("jointly useful", numbers["jointly useful"], whole(0))
    expect("questions in the row space of X_val", uniform["in the row space"], whole(LOST))
    expect("useless responses", numbers["useless"], whole(LOST))
    expect("effective number of questions", numbers["effective, regenerated"], whole(P - M))
    value, size = uniform["L_val"], np.log10(uniform["L_val"])
    expect("L_val, uniform, over NumPy's", value / uniform["NumPy"], Band.around(1.0, 1e-6))
    expect("log10 of it over L_val(0)", size, Band(-3.0, 2.0))


def test_recovers_linear(seed: int, expect: Expect) -> None:
    expect_linear(make_instance(CLAIM.rng(seed, 1)), LOST, expect)


# (b) logistic loss -------------------------------------------------------------------------------


def make_logistic_instance(rng: np.random.Generator, *, useful_for_all: bool = False) -> Questions:
    """Up to 16 questions in R^4, some with the wrong sign; 80 validation rows, signs of theta*.

    Wrong responses that are useful one by one are left out: theta* fits U. With `useful_for_all`
    the others get the right sign as well. `after` is fitted to validation, `before` its opposite.
    """
    task = guided_separable(rng)
    keep = clean(task) | ~usefulness(task.problem()).useful
    X, y, wrong = task.train[0][keep], task.train[1][keep], ~clean(task)[keep]
    question = np.arange(len(y))
    if useful_for_all:
        X, y = np.vstack([X, X[wrong]]), np.append(y, -y[wrong])
        question = np.append(question, question[wrong])
    after = bdt.learn_weights(task.problem(bdt.Logistic(1e-6)), bdt.ValidationOnly()).theta
    return Questions(bdt.Logistic(1e-6), X, y, question, task.val, -after, after)


def lost_by_numpy(instance: Questions, y: np.ndarray, question: np.ndarray) -> float:
    """Questions with -z_i = sum_j a_j z~_j, a >= 0, for every response (Lawson and Hanson)."""
    X, Z_val = instance.X[: len(y)], instance.val[1][:, None] * instance.val[0]
    rest = np.array([nnls(Z_val.T, -z)[1] for z in y[:, None] * X])
    useful = rest > 1e-9 * np.linalg.norm(X, axis=1)
    return float(np.sum(np.bincount(question, weights=useful) == 0))


def expect_logistic(instance: Questions, expect: Expect) -> None:
    """What (b) says of any instance; v(w) = L_val* = 0, and one sequence serves both."""
    expect_questions(instance, lost_by_numpy(instance, instance.y, instance.question), expect)
    X, y, _ = instance.regenerated(instance.after)
    Z, Z_val = y[:, None] * X, instance.val[1][:, None] * instance.val[0]
    far = 40.0 * instance.after / np.min(np.vstack([Z, Z_val]) @ instance.after)  # exp(-40) = 4e-18
    expect("regenerated: F_w, w uniform", logistic_loss(Z, far), Band.around(0.0, 1e-17))
    expect("regenerated: L_val there", logistic_loss(Z_val, far), Band.around(0.0, 1e-17))


def test_holds_logistic(seed: int, expect: Expect) -> None:
    expect_logistic(make_logistic_instance(CLAIM.rng(seed)), expect)


def test_fails_without_lost_questions_logistic(seed: int, expect: Expect) -> None:
    expect_questions(make_logistic_instance(CLAIM.rng(seed, 1), useful_for_all=True), 0, expect)


def test_fails_without_theta_in_S_val_logistic(seed: int, expect: Expect) -> None:
    """Signs of -theta: not jointly useful, and as many useless ones as NumPy counts."""
    instance = make_logistic_instance(CLAIM.rng(seed, 1))
    numbers, y = measure(instance, instance.before), instance.regenerated(instance.before)[1]
    expect("jointly useful", numbers["jointly useful"], whole(0))
    expect("useless", numbers["useless"], whole(lost_by_numpy(instance, y, instance.question)))


def test_recovers_logistic(seed: int, expect: Expect) -> None:
    expect_logistic(make_logistic_instance(CLAIM.rng(seed, 1)), expect)


# (c) a language model ----------------------------------------------------------------------------


def expect_offline(problem: Problem, method: bdt.BMO | bdt.Penalty, expect: Expect) -> None:
    numbers, name = language.measure_offline(problem, method), type(method).__name__
    kept = numbers["questions with a useful response"]
    band = Band(0.7 * kept, 1.4 * kept)  # trained weights are uneven; 4 and 8 are told apart
    expect(f"{name}, offline: effective number of questions", numbers["effective"], band)
    expect(f"{name}: mass on contradictions over its bound", numbers["used"], Band.around(0, 1))


def expect_language_model(problem: Problem, expect: Expect) -> None:
    expect_offline(problem, language.BMO, expect)
    numbers = language.measure_regenerated(problem)
    expect("regenerated: contradictions", numbers["contradictions"], whole(0))
    expect("regenerated: F_w at theta, w uniform", numbers["F_w"], Band.around(0.0, 0.1))
    number = numbers["effective"]  # 7.8 where one question has half its share
    expect("regenerated: effective number of questions", number, Band.around(language.ASKED, 0.2))


def test_holds_empirically_in_a_language_model(seed: int, expect: Expect) -> None:
    expect_language_model(language.contradicted(CLAIM.rng(seed)), expect)
    expect_offline(language.contradicted(CLAIM.rng(seed)), bdt.Penalty(), expect)


def test_recovers_empirically_in_a_language_model(seed: int, expect: Expect) -> None:
    expect_language_model(language.contradicted(CLAIM.rng(seed, 1)), expect)


def test_fails_without_lost_questions_empirically(seed: int, expect: Expect) -> None:
    """One useful response for every question: a language model keeps all 8 offline."""
    problem = language.contradicted(CLAIM.rng(seed, 1), useful_for_all=True)
    expect_offline(problem, language.BMO, expect)


def test_fails_without_a_fitted_language_model(seed: int, expect: Expect) -> None:
    """The responses of a model that was not trained contradict validation: all are useless."""
    problem = language.contradicted(CLAIM.rng(seed, 1))
    after = language.answered(problem, problem.model.initial_theta(seed))
    expect("contradictions", language.contradictions(after).sum(), whole(language.ASKED))
    uniform = bdt.learn_weights(after, bdt.Uniform()).val_loss  # the start's is the least: 3 log 14
    expect("L_val of uniform weights", uniform, Band.around(7.92, 0.3))


def test_not_vacuous(seed: int, expect: Expect) -> None:
    """Questions are lost offline, at a price, and self-refining moved the model to keep them."""
    instance = make_instance(CLAIM.rng(seed))
    price = np.log10(measure_supports(instance)["next value"])
    expect("log10 of next best value over L_val(0)", price, Band(-6.0, 1.0))
    moved = np.linalg.norm(instance.after - instance.before)
    expect("log10 of the change by self-refining", np.log10(moved), Band(-1.0, 3.0))
    instance = make_logistic_instance(CLAIM.rng(seed))
    lost = instance.lost()
    expect("lost questions (logistic)", lost.sum(), Band(0.5, len(lost) - 0.5))
