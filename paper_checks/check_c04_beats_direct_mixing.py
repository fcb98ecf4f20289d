"""C04: BDS beats unfiltered direct mixing at every ratio.

Claim: (v1, the abstract's claim) BDS gains over unfiltered direct mixing (DM). (a) Squared loss,
    mu = 0: L_val(theta_lam) > V_BDS = L_val* for every lam > 0, unless the whole training set is
    jointly useful. Why: at a point of S_val the validation gradient vanishes; if theta_lam were one
    the mean training gradient would vanish too, and every sample would be fitted. The gap never
    falls as lam grows, gap / lam^2 never rises, and tends to g' A^+ g / 2 as lam -> 0, with g the
    mean training gradient at the point of S_val of least mean training loss. (b) Logistic loss,
    strictly separable validation data: liminf L_val > V_BDS = 0 along DM's minimising sequences,
    since lam l_i / N <= (1 + lam) log 2 for a useless i, while l_i >= sum_j a_j z~_j.theta would go
    to infinity with L_val -> 0. The gap is of order lam.
Assumptions: (a) A2, A3, A4, A5. (b) A1, A3, A4, strictly separable validation data; not A2.
Check: (a) DM's L_val minus V_BDS, the best single sample (exact under A2), for lam from 1e-6 to
    100: whether it falls, or gap / lam^2 rises, and the limit against NumPy's; V_BDS certified by a
    method, and L_val* by NumPy. (b) The gap at mu = 1e-14 against NumPy's own minimiser, its power
    of lam, and the first inequality of the argument multiplied out.
Control: (a) without A4, or without A2 where two useless rows cancel: gap 0. Without A3: DM wins at
    small lam, gap -V_BDS, and still at lam = V_BDS / mean l(theta_v). Without A5 (absolute loss):
    gap 0 for small lam. (b) Without separable validation data, without A4, or without A1 where
    x_i = 0 is the only useless row: gap below lam / 100. Without A3: DM wins, gap -V_BDS.
Not covered: mu > 0, where DM can beat BDS; how large the gap is on other data; losses for which no
    theta_lam is attained in (a).
Runtime: about 1.2 s a seed.
"""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import numpy as np

from bdtheory import BMO, DirectMixing, Logistic, Problem, Status, learn_weights
from bdtheory.hypergradient import mean_loss, refit
from bdtheory.tasks import Task, linear

from .claim import Band, Claim, Expect
from .instances import guided_separable, margin_rows, useless_with_coefficients
from .rational import Exact, direct_mixing, least_on_support, loss, make_exact
from .reference import best_for, least_squares, logistic_loss, logistic_minimiser, squared_loss

CLAIM = Claim(
    "C04",
    "BDS beats direct mixing at every ratio",
    "v1",
    figure="mixing_ratio",
    proof=("C04_some_every", "C04_gap", "C04_monotone", "C04_squared", "C04_logistic"),
)
RATIOS = np.logspace(-6, 2, 9)
LAMS = [Fraction(1, 1000), Fraction(1, 10), Fraction(1), Fraction(10), Fraction(1000)]
EXACT = Band.around(0.0, 1e-15)  # relative: sums of squares of rounding errors are below 1e-25
# At lam = 1e-6 the ratio is 1 - O(lam / least eigenvalue of A), and that is above 1e-2 here.
LIMIT = Band.around(1.0, 1e-3)


# (a) squared loss --------------------------------------------------------------------------------


def make_instance(
    rng: np.random.Generator,
    *,
    n_useless: int = 6,
    A2: bool = True,
    A3: bool = True,
    A4: bool = True,
    A5: bool = True,
) -> Task:
    """y_val = X_val theta0, m = 30 > p = 20; 9 rows from theta0, the others shifted."""
    seed = int(rng.integers(2**31))
    return linear(seed, p=20, m=30, n_useless=n_useless, A2=A2, A3=A3, A4=A4, A5=A5)


def make_crossed_instance(rng: np.random.Generator) -> Task:
    """Two samples that are useful one by one but not together, in random coordinates.

    Validation a e_1 -> 0, training e_1 + b e_2 -> c and e_1 - b e_2 -> c: each fits where theta_1
    is 0, both only at theta = (c, 0). g = -c e_1, A = a^2 e_1 e_1', hence the limit c^2 / 2a^2.
    """
    a, b, c = rng.uniform(0.5, 2.0, 3)
    Q = np.linalg.qr(rng.standard_normal((2, 2)))[0]
    train = np.array([[1.0, b], [1.0, -b]]) @ Q, np.array([c, c])
    return Task("crossed", train, (a * Q[:1], np.zeros(1)), mu=0.0, clean=np.ones(2, dtype=bool))


@np.errstate(divide="ignore", invalid="ignore")  # controls have gaps of 0
def measure(task: Task) -> dict[str, float]:
    """DM's gap over the ratios, in units of L_val at theta = 0 or of the mean training target."""
    problem = task.problem()
    V = best_single_sample(problem)
    dm = [learn_weights(problem, DirectMixing(float(lam))).val_loss for lam in RATIOS]
    gap, scale = np.array(dm) - V, np.mean(task.train[1] ** 2)
    square = gap / RATIOS**2
    limit = limit_of_gap(task)
    error = 1 - square[:2] / limit
    numbers = {
        "V_BDS": V / scale,
        "gap at .01": gap[4] / scale,
        "largest gap": np.abs(gap).max() / scale,
        "gap / V_BDS": gap[0] / V,
        "limit": limit / scale,
        "small / limit": square[0] / limit,
        "order of the error": np.log10(error[1] / error[0]),
        "fall of the gap": max(0.0, (gap[:-1] / gap[1:] - 1).max()),
        "rise of gap / lam^2": max(0.0, (square[1:] / square[:-1] - 1).max()),
    }
    return {name: float(value) for name, value in numbers.items()}


def best_single_sample(problem: Problem) -> float:
    """min over i of L_val(theta(e_i)): V_BDS, exactly under A2 (C16); for logistic, at that mu."""
    return min(mean_loss(problem, refit(problem, e).theta, problem.val) for e in np.eye(problem.N))


def limit_of_gap(task: Task) -> float:
    """lim gap / lam^2 = g' A^+ g / 2 as lam -> 0, by NumPy."""
    (X, y), (X_val, y_val) = task.train, task.val
    g = X.T @ (X @ best_for(X_val, y_val, X, y) - y) / len(y)
    return float(g @ np.linalg.pinv(X_val.T @ X_val / len(y_val), rcond=1e-10) @ g / 2)


def gap_at_predicted_ratio(task: Task) -> float:
    """gap / V_BDS at lam = V_BDS / mean l(theta_v), where DM is still ahead (L_val* = 0):

    L_val(theta_lam) <= L_val(theta_v) + lam (mean l(theta_v) - mean l(theta_lam)) < V_BDS.
    """
    problem = task.problem()
    V = best_single_sample(problem)
    lam = V / squared_loss(*task.train, least_squares(*task.val))
    return learn_weights(problem, DirectMixing(lam)).val_loss / V - 1


def expect_gap(numbers: dict[str, float], expect: Expect) -> None:
    """What (a) says of any instance with its assumptions."""
    expect("V_BDS - L_val*", numbers["V_BDS"], EXACT)
    expect("gap / lam^2 over its limit, lam = 1e-6", numbers["small / limit"], LIMIT)
    expect("order in lam of the error", numbers["order of the error"], Band.around(1.0, 0.1))
    # gap / lam^2 = g'(A + lam B)^-1 A (A + lam B)^-1 g / 2; rounding of a gap is below 1e-10.
    for quantity in ("fall of the gap", "rise of gap / lam^2"):
        expect(f"largest {quantity}", numbers[quantity], Band.around(0.0, 1e-9))


def test_holds_linear(seed: int, expect: Expect) -> None:
    task = make_instance(CLAIM.rng(seed))
    expect_gap(measure(task), expect)
    found = learn_weights(task.problem(), BMO())
    infimum = squared_loss(*task.val, least_squares(*task.val))
    expect("BMO certified", found.status is Status.CERTIFIED, Band.around(1.0, 0.5))
    expect("its L_val - L_val*", (found.val_loss - infimum) / np.mean(task.val[1] ** 2), EXACT)


def test_holds_for_individually_useful_samples(seed: int, expect: Expect) -> None:
    """A4 does not hold, and yet the gap is c^2 / 2a^2 lam^2: joint usefulness is what counts."""
    numbers = measure(make_crossed_instance(CLAIM.rng(seed)))
    expect("V_BDS - L_val*", numbers["V_BDS"], EXACT)
    expect("gap / lam^2 over its limit, lam = 1e-6", numbers["small / limit"], LIMIT)


def test_holds_exactly(seed: int, expect: Expect) -> None:
    """In rational arithmetic: gap > 0 at every lam, never falling, and V_BDS = 0 = L_val*."""
    data = make_exact(CLAIM.rng(seed))
    floor = min(least_on_support(data, (i,)) for i in range(data.N))
    expect("V_BDS, exactly", floor, Band.around(0, 1e-300))
    gaps = [exact_gap(data, lam) for lam in LAMS]
    expect("ratios with gap > 0, exactly", sum(g > 0 for g in gaps), Band.around(len(LAMS), 0.5))
    falls = sum(b < a for a, b in pairwise(gaps))
    expect("falls of the gap with lam, exactly", falls, Band.around(0, 0.5))


def test_fails_without_A4_exactly(seed: int, expect: Expect) -> None:
    data = make_exact(CLAIM.rng(seed, 1), n_useful=5, n_useless=0)
    zeros = sum(exact_gap(data, lam) == 0 for lam in LAMS)
    expect("ratios with gap = 0, exactly", zeros, Band.around(len(LAMS), 0.5))


def exact_gap(data: Exact, lam: Fraction) -> Fraction:
    """L_val(theta_lam) - L_val*, where L_val* = 0."""
    return loss(data.X_val, data.y_val, direct_mixing(data, lam))


def test_fails_without_A2(seed: int, expect: Expect) -> None:
    numbers = measure(make_instance(CLAIM.rng(seed, 1), n_useless=2, A2=False))
    expect("largest gap", numbers["largest gap"], EXACT)


def test_fails_without_A3(seed: int, expect: Expect) -> None:
    task = make_instance(CLAIM.rng(seed, 1), A3=False)
    numbers = measure(task)
    # DM at lam = 1e-6 is at S_val up to 1e-12, and BDS never sees the validation data: -V_BDS.
    expect("gap / V_BDS, lam = 1e-6", numbers["gap / V_BDS"], Band.around(-1.0, 1e-3))
    # Negative; and >= -1, since L_val >= 0.
    behind = gap_at_predicted_ratio(task)
    expect("gap / V_BDS at the predicted ratio", behind, Band.around(-1.0, 1.0))


def test_fails_without_A4(seed: int, expect: Expect) -> None:
    numbers = measure(make_instance(CLAIM.rng(seed, 1), A4=False))
    expect("largest gap", numbers["largest gap"], EXACT)


def test_fails_without_A5(seed: int, expect: Expect) -> None:
    numbers = measure(make_instance(CLAIM.rng(seed, 1), A5=False))
    # Linear programs are solved to 1e-10; the squared loss has a gap above 1e-6 there.
    expect("gap, lam = .01", numbers["gap at .01"], Band.around(0.0, 1e-9))


def test_recovers_linear(seed: int, expect: Expect) -> None:
    expect_gap(measure(make_instance(CLAIM.rng(seed, 1))), expect)
    expect_gap(measure(make_instance(CLAIM.rng(seed, 1), n_useless=2)), expect)


# (b) logistic loss -------------------------------------------------------------------------------

MU = 1e-14  # stands for mu -> 0: far below every lam
SMALL, LARGER = 1e-6, 1e-4  # the ratios between which the power of lam is taken


def make_logistic_instance(
    rng: np.random.Generator,
    *,
    A1: bool = True,
    A2: bool = True,
    A3: bool = True,
    A4: bool = True,
    separable_val: bool = True,
) -> Task:
    """Validation labels from theta0, training labels from another direction; one row is theta0's.

    Without A1 all labels are from theta0, and x_i = 0 is the only row that is useless.
    """
    kept = {"A1": A1, "A2": A2, "A3": A3, "A4": A1 and A4, "separable_val": separable_val}
    return guided_separable(rng, **kept)


@np.errstate(invalid="ignore")
def measure_logistic(task: Task) -> dict[str, float]:
    """DM's gap at two ratios, for mu -> 0, in units of lam; and the same by NumPy."""
    limit, before = (task.problem(Logistic(mu)) for mu in (MU, 100 * MU))
    V = best_single_sample(limit)
    small, larger = (mixed_loss(limit, lam) for lam in (SMALL, LARGER))
    power = np.log((larger - V) / (small - V)) / np.log(LARGER / SMALL)
    return {
        "V_BDS": V,
        "gap / lam": (small - V) / SMALL,
        "gap / V_BDS": (small - V) / V,
        "over NumPy's": small / mixed_reference(task, SMALL),
        "over that at 100 mu": larger / mixed_loss(before, LARGER),
        "power of lam": float(power),
    }


def mixed_loss(problem: Problem, lam: float) -> float:
    return learn_weights(problem, DirectMixing(lam)).val_loss


def mixed_reference(task: Task, lam: float) -> float:
    """L_val(theta_lam) by NumPy: one logistic fit of both data sets."""
    Z, Z_val = margin_rows(task)
    w = np.concatenate([np.full(len(Z), lam / len(Z)), np.full(len(Z_val), 1 / len(Z_val))])
    return logistic_loss(Z_val, logistic_minimiser(np.vstack([Z, Z_val]), w, MU))


def used_inequality(task: Task, lam: float) -> float:
    """max over useless i of lam (sum_j a_j z~_j.theta_lam) / N, in units of (1 + lam) log 2."""
    problem, Z_val = task.problem(Logistic(MU)), margin_rows(task)[1]
    _, a = useless_with_coefficients(problem)
    margins = Z_val @ learn_weights(problem, DirectMixing(lam)).theta
    return float(np.max(a @ margins)) * lam / problem.N / ((1 + lam) * np.log(2))


def expect_logistic(task: Task, expect: Expect) -> None:
    """What (b) says of any instance with its assumptions."""
    numbers = measure_logistic(task)
    expect("V_BDS, mu = 1e-14", numbers["V_BDS"], Band.around(0.0, 1e-10))
    expect("DM's L_val over NumPy's", numbers["over NumPy's"], Band.around(1.0, 1e-6))
    # A gap that vanished with mu would give .01; mu = 1e-12 is felt by 1e-12 ||theta||^2 / lam.
    expect(
        "DM's L_val, lam = 1e-4, mu / 100 over mu",
        numbers["over that at 100 mu"],
        Band.around(1.0, 1e-2),
    )
    # Exactly 1 in the limit; samples that are not yet fitted at lam = 1e-4 take off some percents.
    expect("power of lam in the gap", numbers["power of lam"], Band.around(1.0, 0.05))


def test_holds_logistic(seed: int, expect: Expect) -> None:
    task = make_logistic_instance(CLAIM.rng(seed))
    expect_logistic(task, expect)
    for lam in (1e-2, 1e-1):
        used = used_inequality(task, lam)
        expect(f"lam l_i / N over its bound, lam = {lam:g}", used, Band.around(0.0, 1.0))


def test_holds_logistic_without_A2(seed: int, expect: Expect) -> None:
    expect_logistic(make_logistic_instance(CLAIM.rng(seed), A2=False), expect)


# Where there is a gap, gap / lam is about 1/16 or more: the last row contradicts a validation row.
NOTHING = Band.around(0.0, 1e-2)


def test_fails_without_separable_validation(seed: int, expect: Expect) -> None:
    numbers = measure_logistic(make_logistic_instance(CLAIM.rng(seed, 1), separable_val=False))
    expect("gap / lam", numbers["gap / lam"], NOTHING)


def test_fails_without_A1(seed: int, expect: Expect) -> None:
    numbers = measure_logistic(make_logistic_instance(CLAIM.rng(seed, 1), A1=False))
    expect("gap / lam", numbers["gap / lam"], NOTHING)


def test_fails_without_A4_logistic(seed: int, expect: Expect) -> None:
    numbers = measure_logistic(make_logistic_instance(CLAIM.rng(seed, 1), A4=False))
    expect("gap / lam", numbers["gap / lam"], NOTHING)


def test_fails_without_A3_logistic(seed: int, expect: Expect) -> None:
    numbers = measure_logistic(make_logistic_instance(CLAIM.rng(seed, 1), A3=False))
    expect("gap / V_BDS, lam = 1e-6", numbers["gap / V_BDS"], Band.around(-1.0, 1e-3))


def test_recovers_logistic(seed: int, expect: Expect) -> None:
    expect_logistic(make_logistic_instance(CLAIM.rng(seed, 1)), expect)


def test_not_vacuous(seed: int, expect: Expect) -> None:
    """There are gaps to speak of, in units of the data."""
    limit = measure(make_instance(CLAIM.rng(seed)))["limit"]
    expect("log10 of the limit of gap / lam^2", np.log10(limit), Band(-3.0, 3.0))
    gap = measure_logistic(make_logistic_instance(CLAIM.rng(seed)))["gap / lam"]
    expect("log10 of gap / lam (logistic)", np.log10(gap), Band(-1.5, 1.0))
