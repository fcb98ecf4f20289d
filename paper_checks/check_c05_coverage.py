"""C05: BDS can cover all useful data; direct mixing does not.

Claim: (v2, the abstract's claim) the BDS optimum beats direct mixing (DM) in useful data coverage,
    Cov_eps(theta) = share of U with l_i(theta) <= eps. If U, the useful samples, is jointly useful,
    uniform weights on U admit a theta with L_val* and coverage 1. Weights are optimal exactly when
    their support is jointly useful, so an optimal support of k samples may cover k of U only. DM
    covers U only if its other pulls cancel: grad L_val + (lam/N) sum over non-U of grad l_i = 0.
Assumptions: squared loss, mu = 0, A1, A2, A3; U jointly useful; S_val more than a point; some
    useful row in the span of the other rows. Ties in S(w) go to the least L_val, then to the least
    norm.
Check: (L_val, coverage) for supports of 1, 7 and 14 useful samples, for maximum-entropy weights,
    and for DM at lam from 1e-4 to 1e4, with coverage up to rounding (eps = 1e-20) and at eps =
    1e-6; the first by NumPy as well; whether 30 supports are optimal exactly when jointly useful.
Control: S_val a point: every support covers U. Useful rows independent modulo the others: DM
    covers U at every lam, BDS on one sample does not. U not jointly useful: the most even optimal
    weights cover 13 of 14. Without A2 supports with two rows that cancel are optimal, though not
    jointly useful. Without A3 there is nothing to cover, and no weights reach L_val*.
Not covered: logistic loss, where coverage at mu -> 0 depends on the path taken to infinity; which
    optimal weights a method finds; coverage at mu > 0.
Runtime: about 0.6 s a seed.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from bdtheory import DirectMixing, learn_weights
from bdtheory.hypergradient import mean_loss, refit
from bdtheory.tasks import Task, linear
from bdtheory.usefulness import coverage, jointly_useful, maximum_entropy_weights, usefulness

from .claim import Band, Claim, Expect
from .instances import clean
from .reference import best_for

CLAIM = Claim(
    "C05",
    "BDS can cover all useful data, mixing does not",
    "v2",
    figure="coverage",
    proof=("C05_coverage", "C05_optimal"),
)
RATIOS = np.logspace(-4, 4, 9)
# Squares of rounding errors are below 1e-25. DM's residuals on U are of order lam, and 1/lam for
# large lam: 1e-4 and more, of which a factor 1e-6 by chance would be needed to come below.
FITTED = 1e-20
VISIBLE = 1e-6
EXACT = Band.around(0.0, 1e-15)  # so L_val > 0 means 1e-10 or more: five decades above
ONE = Band.around(1.0, 1e-9)
N_SUPPORTS = 30


def make_instance(
    rng: np.random.Generator,
    *,
    m: int = 8,
    n_useful: int = 14,
    n_useless: int = 6,
    joint: bool = True,
    A2: bool = True,
    A3: bool = True,
) -> Task:
    """y_val = X_val theta0, p = 20; useful rows from theta0, others shifted, in the span of X_val.

    joint=False moves the first useful target by 1: that sample is useful by itself, as its row
    leaves the span of X_val, but contradicts the other useful samples with X_val.
    """
    seed = int(rng.integers(2**31))
    task = linear(seed, p=20, m=m, n_useful=n_useful, n_useless=n_useless, A2=A2, A3=A3)
    if joint:
        return task
    (X, y), first = task.train, np.eye(len(clean(task)))[0]
    return replace(task, train=(X, y + first))


def measure(task: Task) -> dict[str, float]:
    """L_val and coverage of BDS on 1, half and all of U and at maximum entropy, and of DM."""
    problem, scale = task.problem(), np.mean(task.val[1] ** 2)
    U = usefulness(problem).useful
    thetas = {name: refit(problem, w).theta for name, w in weights_on(U).items()}
    thetas["most even"] = refit(problem, maximum_entropy_weights(problem)).theta
    dm = [learn_weights(problem, DirectMixing(float(lam))).theta for lam in RATIOS]
    fitted = [coverage(problem, theta, FITTED, useful=U) for theta in dm]
    visible = [coverage(problem, theta, VISIBLE, useful=U) for theta in dm]
    numbers = (
        {name: coverage(problem, theta, FITTED, useful=U) for name, theta in thetas.items()}
        | {f"L_val, {k}": mean_loss(problem, t, problem.val) / scale for k, t in thetas.items()}
        | {"against NumPy": sum(differences(task, U, thetas))}
        | {"DM, most": max(fitted), "DM, least": min(fitted)}
        | {"DM, visible, least": min(visible), "DM, visible, lam = 1e-4": visible[0]}
        | {"U": float(U.sum()), "mismatches": np.mean(mismatches(task))}
    )
    return {name: float(value) for name, value in numbers.items()}


def weights_on(U: np.ndarray) -> dict[str, np.ndarray]:
    """Uniform weights on the first useful sample, the first half, and all of them."""
    rows, n = np.flatnonzero(U), int(U.sum())
    chosen = {"one": rows[:1], "half": rows[: n // 2], "all": rows}
    return {name: np.bincount(J, minlength=len(U)) / len(J) for name, J in chosen.items()}


def differences(task: Task, U: np.ndarray, thetas: dict[str, np.ndarray]):
    """|coverage by theta - coverage by NumPy's own optimistic re-fit|, for each support."""
    X, y = task.train
    for name, w in weights_on(U).items():
        numpys = best_for(X[w > 0], y[w > 0], *task.val)
        fitted = [(X[U] @ theta - y[U]) ** 2 / 2 <= FITTED for theta in (thetas[name], numpys)]
        yield abs(fitted[0].mean() - fitted[1].mean())


def supports(task: Task) -> list[np.ndarray]:
    """All samples; and random sets of all and of clean samples, the same for every seed."""
    rng, N = np.random.default_rng(0), len(clean(task))
    share = rng.uniform(0.1, 0.9, (N_SUPPORTS, 1))
    drawn = rng.random((N_SUPPORTS, N)) < share
    drawn[::2] &= clean(task)
    return [np.ones(N, dtype=bool), *(J for J in drawn if J.any())]


def mismatches(task: Task) -> list[bool]:
    """For each support whether "uniform weights on it are optimal" and "jointly useful" differ."""
    problem, scale = task.problem(), np.mean(task.val[1] ** 2)
    found = []
    for J in supports(task):
        value = mean_loss(problem, refit(problem, J / J.sum()).theta, problem.val)
        found.append((value / scale in EXACT) != jointly_useful(problem, J).holds)
    return found


def expect_coverage(numbers: dict[str, float], n: int, expect: Expect) -> None:
    """What the claim says of any instance with its assumptions; shares are multiples of 1/n."""
    for name, k in {"one": 1, "half": n // 2, "all": n, "most even": n}.items():
        expect(f"BDS, {name}: L_val", numbers[f"L_val, {name}"], EXACT)
        expect(f"BDS, {name}: coverage", numbers[name], Band.around(k / n, 0.5 / n))
    expect("coverage less NumPy's", numbers["against NumPy"], Band.around(0.0, 0.5 / n))
    expect("DM, any lam: most coverage, fitted", numbers["DM, most"], Band.around(0.0, 0.5 / n))
    # At eps = 1e-6 some row may be hit by chance, as losses on U come down to 1e-2 and 1e-4 there.
    least = numbers["DM, visible, least"]
    expect("DM, worst lam: coverage at eps = 1e-6", least, Band.around(0.0, 2.5 / n))
    expect("share of supports where optimal is not jointly useful", numbers["mismatches"], EXACT)


def test_holds(seed: int, expect: Expect) -> None:
    expect_coverage(measure(make_instance(CLAIM.rng(seed))), 14, expect)


def test_fails_without_wide_validation_optimum(seed: int, expect: Expect) -> None:
    """S_val a point: one sample covers all of U."""
    numbers = measure(make_instance(CLAIM.rng(seed, 1), m=30))
    expect("BDS, one: coverage", numbers["one"], Band.around(1.0, 0.5 / 14))


def test_fails_without_dependent_rows(seed: int, expect: Expect) -> None:
    """10 useful rows, independent modulo those of X_val: DM covers all, BDS on one sample not."""
    numbers = measure(make_instance(CLAIM.rng(seed, 1), n_useful=10))
    expect("DM, any lam: least coverage, fitted", numbers["DM, least"], Band.around(1.0, 0.05))
    expect("BDS, one: coverage", numbers["one"], Band.around(0.1, 0.05))


def test_fails_without_joint_usefulness(seed: int, expect: Expect) -> None:
    numbers = measure(make_instance(CLAIM.rng(seed, 1), joint=False))
    expect("useful samples", numbers["U"], Band.around(14.0, 0.5))
    expect("BDS, most even: coverage", numbers["most even"], Band.around(13 / 14, 0.5 / 14))
    expect("log10 of L_val, uniform on U", np.log10(numbers["L_val, all"]), Band(-10.0, 0.0))


def test_fails_without_A2(seed: int, expect: Expect) -> None:
    task = make_instance(CLAIM.rng(seed, 1), n_useless=2, A2=False)
    both = float(np.mean([J[-2:].all() for J in supports(task)]))
    share = measure(task)["mismatches"]
    expect("supports optimal, not jointly useful, over those with both rows", share / both, ONE)


def test_fails_without_A3(seed: int, expect: Expect) -> None:
    task = make_instance(CLAIM.rng(seed, 1), n_useful=5, n_useless=3, A3=False)
    problem = task.problem()
    values = [mean_loss(problem, refit(problem, e).theta, problem.val) for e in np.eye(8)]
    least = min(values) / np.mean(task.val[1] ** 2)
    expect("log10 of V_BDS", np.log10(least), Band(-10.0, 0.0))
    try:
        coverage(problem, np.zeros(20))
        refused = False
    except ValueError:
        refused = True
    expect("coverage of nothing is refused", refused, ONE)


def test_recovers(seed: int, expect: Expect) -> None:
    expect_coverage(measure(make_instance(CLAIM.rng(seed, 1))), 14, expect)


def test_not_vacuous(seed: int, expect: Expect) -> None:
    """Coverage is no constant: at eps = 1e-6 a small ratio reaches 1; supports of both kinds."""
    task = make_instance(CLAIM.rng(seed))
    numbers = measure(task)
    expect("DM, lam = 1e-4: coverage at eps = 1e-6", numbers["DM, visible, lam = 1e-4"], ONE)
    useful = np.mean([jointly_useful(task.problem(), J).holds for J in supports(task)])
    expect("share of supports that are jointly useful", useful, Band(0.1, 0.9))
