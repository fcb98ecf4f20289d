"""For those who property-test a solver of their own: problems to draw, and invariants to check.

`check_method(method)` draws problems and checks what any weight-learning method must satisfy, each
invariant by its name (`INVARIANTS`), in the manner of scikit-learn's `check_estimator`. A failure
names the invariant and shows the smallest problem that Hypothesis could find. `problems` and
`exact_problems` are the strategies, to use in tests of your own. Needs Hypothesis, on use only.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

import numpy as np

from .hypergradient import mean_loss, refit
from .methods import learn_weights
from .methods.certify import lower_bound
from .methods.run import descent_left, uniform_weights
from .models import Logistic, Ridge
from .models.checks import check_count
from .problem import Problem
from .selection import Selection, Status, as_text, to_numpy
from .tasks import linear

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

MODELS = [(K, mu) for K in (0, 2, 3) for mu in (0.1, 0.01)]  # K classes, 0: real targets
FLAWS = ["none", "duplicated column", "constant feature", "zero feature", "duplicated row"]
RELATIVE = 1e-6  # of a loss or of theta: what two exact solvers, or two orders of a sum, agree to


# Problems to draw --------------------------------------------------------------------------------


def problems(*, well_posed: bool = False) -> SearchStrategy[Problem]:
    """Problems with mu > 0: ridge, binary and multinomial logistic; theta(w) is always unique.

    Drawn with: N < p and N > p, a single training sample (ridge), a single validation sample, a
    duplicated column, a constant or zero feature, a repeated row, an intercept (ridge). Entries
    have one decimal. With `well_posed` none of this: N >= 8 p, m >= 4 p, no intercept.

    Examples
    --------
    >>> import bdtheory as bdt, hypothesis
    >>> @hypothesis.settings(max_examples=5, database=None)
    ... @hypothesis.given(problems())
    ... def test_uniform_weights_sum_to_one(problem):
    ...     assert abs(bdt.learn_weights(problem, bdt.Uniform()).weights.sum() - 1) < 1e-9
    >>> test_uniform_weights_sum_to_one()
    """
    st = _hypothesis().strategies

    @st.composite
    def draw_problem(draw: Any) -> Problem:
        K, mu = draw(st.sampled_from(MODELS))
        p = draw(st.integers(1, 3 if well_posed else 6))
        N = draw(st.integers(8 * p, 12 * p) if well_posed else st.integers(max(K, 1), 10))
        m = draw(st.integers(4 * p, 8 * p) if well_posed else st.integers(1, 6))
        flaw = "none" if well_posed else draw(st.sampled_from([*FLAWS, "intercept"]))
        rng = np.random.default_rng(draw(st.integers(0, 999)))
        X, X_val = _with_flaw(flaw, rng.normal(size=(N + m, p)).round(1), N)
        y, y_val = _targets(rng, N, m, K)
        model = Logistic(mu) if K else Ridge(mu, fit_intercept=flaw == "intercept")
        return Problem(model, train=(X, y), val=(X_val, y_val))

    return draw_problem()


def exact_problems(
    *, A1: bool = True, A2: bool = True, A3: bool = True, A4: bool = True, A5: bool = True
) -> SearchStrategy[Problem]:
    """Squared-loss problems with mu = 0 in which each keyword drops one assumption of the theory.

    A1, A2, A3, A4, A5 : whether it is kept. The instances of `tasks.linear`, which says what drops
    what (theory.md) and what excludes what (a ValueError), in small sizes: m = 1 and N = 2 among
    them, N < p; also a duplicated column or a zero feature, which change no assumption.

    >>> exact_problems(A4=False).validate()  # for use see `problems`
    """
    st = _hypothesis().strategies
    kept = {"A1": A1, "A2": A2, "A3": A3, "A4": A4, "A5": A5}
    linear(0, **kept)  # a combination that cannot be has its ValueError here

    @st.composite
    def draw_problem(draw: Any) -> Problem:
        n_useless = draw(st.integers(1 + (not A1) + (not A2), 4))
        n_useful = draw(st.integers(1, 4))
        N = n_useful + n_useless
        m = draw(st.integers(N if not A3 else n_useless, N + 3))
        p = draw(st.integers(N, N + 4))
        flaw = draw(st.sampled_from(["none", "duplicated column", "zero feature"]))
        sizes = {"p": p, "m": m, "n_useful": n_useful, "n_useless": n_useless}
        task = linear(draw(st.integers(0, 999)), **sizes, **kept)
        X, X_val = _with_flaw(flaw, np.vstack([task.train[0], task.val[0]]), N)
        return Problem(task.model or Ridge(0.0), (X, task.train[1]), (X_val, task.val[1]))

    return draw_problem()


def _with_flaw(flaw: str, X: np.ndarray, N: int) -> tuple[np.ndarray, np.ndarray]:
    """Training and validation rows of X (N + m, p), changed as `flaw` says."""
    if flaw == "duplicated column":
        X = np.hstack([X, X[:, :1]])
    elif flaw in ("constant feature", "zero feature"):
        X = np.hstack([X, np.full((len(X), 1), float(flaw == "constant feature"))])
    elif flaw == "duplicated row":
        X[N - 1] = X[0]
    return X[:N], X[N:]


def _targets(rng: np.random.Generator, N: int, m: int, K: int) -> tuple[np.ndarray, np.ndarray]:
    """Real targets (K = 0), or labels 0..K-1 with every class among the training labels."""
    if not K:
        return rng.normal(size=N).round(1), rng.normal(size=m).round(1)
    y = np.append(np.arange(K), rng.integers(0, K, N - K))
    return rng.permutation(y), rng.integers(0, K, m)


# The invariants ----------------------------------------------------------------------------------


class _Broken(Exception):
    """An invariant does not hold; the message has what was got and what was needed."""


def _require(holds: bool, got: str, needed: str) -> None:
    if not holds:
        raise _Broken(f"got {got}; needed {needed}")


def _close(got: Any, needed: Any, what: str) -> None:
    """Numbers or arrays that agree to RELATIVE * (1 + size)."""
    _require(np.shape(got) == np.shape(needed), f"{what} {np.shape(got)}", f"{np.shape(needed)}")
    error, size = np.max(np.abs(got - needed)), np.max(np.abs(needed))
    _require(bool(error <= RELATIVE * (1 + size)), f"{what} off by {error:.1e}", "no error")


class _Runs:
    """Runs of one method; each is made once, whatever the number of invariants that look at it."""

    def __init__(self, method: Any):
        self.method = method
        self.known: dict[tuple[str, int], Selection] = {}

    def __call__(self, problem: Problem, run: int = 0) -> Selection:
        key = as_code(problem), run
        if key not in self.known:
            try:
                self.known[key] = learn_weights(problem, self.method, seed=0)
            except Exception as error:
                raise _Broken(f"got {type(error).__name__}: {error}; needed a result") from error
        return self.known[key]


def _returns_a_selection(runs: _Runs, problem: Problem) -> None:
    fit = runs(problem)
    _require(isinstance(fit, Selection), f"run returned {type(fit).__name__}", "a Selection")
    numbers = [fit.val_loss, *to_numpy(fit.weights).ravel(), *to_numpy(fit.theta).ravel()]
    _require(bool(np.all(np.isfinite(numbers))), "inf or nan in the result", "finite numbers")


def _simplex(runs: _Runs, problem: Problem) -> None:
    w = to_numpy(runs(problem).weights)
    _require(w.shape == (problem.N,), f"weights of shape {w.shape}", f"({problem.N},)")
    _require(bool(np.all(w >= 0)), f"a weight of {w.min():g}", "weights >= 0")
    _require(abs(w.sum() - 1) <= 1e-9, f"weights of sum {w.sum():.12g}", "sum 1")


def _loss_at_theta(runs: _Runs, problem: Problem) -> None:
    fit = runs(problem)
    _close(fit.val_loss, mean_loss(problem, fit.theta, problem.val), "val_loss")


def _theta_is_refit(runs: _Runs, problem: Problem) -> None:
    fit = runs(problem)
    _close(fit.theta, refit(problem, fit.weights).theta, "theta")


def _zero_weight_is_removed_row(runs: _Runs, problem: Problem) -> None:
    fit = runs(problem)
    on = to_numpy(fit.weights) > 0
    exact = problem.model.fit(fit.weights[on], problem.train.take(on), val=problem.val)
    _close(fit.theta, exact.theta, "theta, against the re-fit without rows of weight 0,")


def _never_worse_than_uniform(runs: _Runs, problem: Problem) -> None:
    got, theta = runs(problem).val_loss, refit(problem, uniform_weights(problem)).theta
    most = mean_loss(problem, theta, problem.val)
    _require(got <= most + 1e-9 * (1 + most), f"val_loss {got:.9g}", f"at most {most:.9g}")


def _honest_status(runs: _Runs, problem: Problem) -> None:
    fit = runs(problem)
    numbers, tol = fit.certificate, getattr(runs.method, "tol", None)
    _require(isinstance(fit.status, Status), f"status {fit.status!r}", "a Status")
    _require(fit.status is not Status.DIVERGED, "DIVERGED", "a result: every theta(w) exists")
    if fit.status is Status.CERTIFIED:
        missing = {"upper_bound", "lower_bound", "eps"} - set(numbers)
        _require(not missing, f"CERTIFIED without {sorted(missing)}", "these in `certificate`")
        gap = numbers["upper_bound"] - numbers["lower_bound"]
        _require(gap <= numbers["eps"], f"CERTIFIED with a gap of {gap:.1e}", "at most eps")
    if fit.status is Status.STATIONARY and tol is not None:
        promise = descent_left(problem, fit.weights, refit(problem, fit.weights))
        most = tol * fit.val_loss + RELATIVE * (1 + fit.val_loss)
        _require(promise <= most, f"STATIONARY with descent {promise:.1e} left", "tol * L_val")


def _certificate_holds(runs: _Runs, problem: Problem) -> None:
    fit = runs(problem)
    if fit.status is not Status.CERTIFIED:
        return
    value = mean_loss(problem, refit(problem, fit.weights).theta, problem.val)
    known, infimum = lower_bound(problem)
    room = 1e-9 * (1 + value)  # sums in another order; a thousandth of the least eps
    most = getattr(runs.method, "eps", 1e-6) * max(1.0, infimum)
    upper, lower, eps = (fit.certificate[k] for k in ("upper_bound", "lower_bound", "eps"))
    _require(upper >= value - room, f"upper_bound {upper:g}", f"at least L_val = {value:g}")
    _require(lower <= known + room, f"lower_bound {lower:g}", f"at most {known:g}, recomputed")
    _require(eps <= most + room, f"eps {eps:g}", f"at most {most:g}")


def _permutation(runs: _Runs, problem: Problem) -> None:
    """val_loss to 1e-6; to 1e-2 only where the budget ended a run, which then claims nothing."""
    order, ((X, y), val) = np.random.default_rng(0).permutation(problem.N), _pairs(problem)
    one, other = runs(problem), runs(Problem(problem.model, (X[order], y[order]), val))
    unfinished = Status.MAX_ITERATIONS in (one.status, other.status)
    room = (1e-2 if unfinished else RELATIVE) * (1 + abs(one.val_loss))
    got = f"val_loss {other.val_loss:.9g} with rows permuted"
    _require(abs(one.val_loss - other.val_loss) <= room, got, f"{one.val_loss:.9g}, as before")


def _same_seed(runs: _Runs, problem: Problem) -> None:
    one, other = runs(problem), runs(problem, run=1)
    same = np.array_equal(to_numpy(one.weights), to_numpy(other.weights))
    same = same and one.val_loss == other.val_loss and one.status is other.status
    _require(same, "another result from the same seed", "the same weights, val_loss and status")


INVARIANTS: dict[str, Callable[[Any, Problem], None]] = {
    "returns a finite selection": _returns_a_selection,
    "weights are on the simplex": _simplex,
    "reported loss is the loss at theta": _loss_at_theta,
    "theta is the re-fit of the weights": _theta_is_refit,
    "zero weight equals removed row": _zero_weight_is_removed_row,
    "status is honest": _honest_status,
    "certificate holds when recomputed": _certificate_holds,
    "never worse than uniform weights": _never_worse_than_uniform,
    "same seed, same result": _same_seed,
    "order of the rows does not matter": _permutation,
}
WELL_POSED = ("order of the rows does not matter",)  # N >> p only: elsewhere optima are many


def check_method(
    method: Any, *, max_examples: int = 20, seed: int = 0, skip: Collection[str] = ()
) -> None:
    """Nothing where `method` keeps all `INVARIANTS`; else AssertionError, naming the first broken.

    The message ends with the smallest problem on which it was seen to break, as code.

    Parameters
    ----------
    method : what `learn_weights` takes: an object with `run(problem, seed, callback) -> Selection`,
        such as `Implicit()`. Methods whose theta is not the re-fit of their weights, such as
        `DirectMixing`, are not meant.
    max_examples : problems drawn, with mu > 0 and with mu = 0; four runs or so for each.
    seed : seeds the draws; the method itself always gets seed 0.
    skip : names of invariants to leave out: the certificate's, say, where your lower bound is too
        good for this package's to confirm.

    Raises ValueError for other arguments, and ImportError where Hypothesis is not installed.

    Examples
    --------
    >>> import bdtheory as bdt
    >>> check_method(bdt.Uniform(), max_examples=3)
    """
    check_count(max_examples, "max_examples", try_=20)
    if unknown := sorted(set(skip) - set(INVARIANTS)):
        raise ValueError(
            f"skip has {unknown[0]!r}; needed names of invariants; try one of {list(INVARIANTS)}"
        )
    runs, st = _Runs(method), _hypothesis().strategies
    anything = st.one_of(problems(), exact_problems())
    for name in [name for name in INVARIANTS if name not in skip]:
        drawn = problems(well_posed=True) if name in WELL_POSED else anything
        found = _smallest_failure(INVARIANTS[name], runs, drawn, max_examples, seed)
        if found:
            broken, problem = found
            raise AssertionError(
                f"{method!r} breaks the invariant {name!r}: {broken}\n"
                f"smallest problem found: {as_code(problem)}"
            ) from broken.__cause__


def _smallest_failure(
    invariant: Callable, runs: _Runs, drawn: Any, max_examples: int, seed: int
) -> tuple[_Broken, Problem] | None:
    """The failure on the smallest problem, or None. Hypothesis runs that problem last."""
    hypothesis, last = _hypothesis(), []
    quiet = {
        "verbosity": hypothesis.Verbosity.quiet,
        "suppress_health_check": list(hypothesis.HealthCheck),
        "report_multiple_bugs": False,
    }

    @hypothesis.seed(seed)  # the same problems for every invariant
    @hypothesis.settings(max_examples=max_examples, deadline=None, database=None, **quiet)
    @hypothesis.given(drawn)
    def holds(problem: Problem) -> None:
        last[:] = [problem]
        invariant(runs, problem)

    try:
        holds()
    except _Broken as broken:
        return broken, last[0]
    return None


def as_code(problem: Problem) -> str:
    """The `problem` as an expression that makes it again, with `Problem`, `Ridge` and `Logistic`.

    Examples
    --------
    >>> as_code(Problem(Ridge(0.5), train=([[1.0]], [2.0]), val=([[3.0]], [4.0])))
    'Problem(Ridge(mu=0.5), train=([[1.0]], [2.0]), val=([[3.0]], [4.0]))'
    """
    train, val = (f"({X.tolist()}, {y.tolist()})" for X, y in _pairs(problem))
    return f"Problem({as_text(problem.model)}, train={train}, val={val})"


def _pairs(problem: Problem) -> list[tuple[np.ndarray, np.ndarray]]:
    """(X, y) of train and val, to build the problem again: codes of classes are labels as well."""
    p = problem.train.X.shape[1] - getattr(problem.model, "fit_intercept", False)
    return [(to_numpy(data.X)[:, :p], to_numpy(data.y)) for data in (problem.train, problem.val)]


def _hypothesis() -> Any:
    try:
        import hypothesis
    except ImportError as error:
        raise ImportError(
            "Hypothesis is not installed; bdtheory.testing needed it to draw problems; "
            "try pip install hypothesis"
        ) from error
    return hypothesis
