"""What an exact hypergradient costs against N: CPU seconds, one thread, and a fitted exponent."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

import bdtheory as bdt

SIZES = (1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000)
QUICK = (1_000, 3_000)
LARGE = 10_000  # from here on the products with X dominate
MODELS = "ridge", "logistic"
P, M = 100, 1_000  # features, validation samples
COPIES = 4  # of X that must fit: the data, the problem's own, one product, one to spare
LEAST, MOST = 3, 20  # timed calls
ENOUGH = 0.5  # seconds of timed calls after which no more than LEAST are made


class Cost(NamedTuple):
    """CPU seconds of one hypergradient, or the reason why there is none."""

    model: str
    N: int
    seconds: float
    reason: str = ""


def costs(sizes: tuple[int, ...]) -> Iterator[Cost]:
    """The cost of `bdt.hypergradient` for ridge and logistic regression at every size.

    X standard normal (N, 100), float64; theta ~ 3 N(0, I/p); a start from nothing, so that the
    logistic numbers contain all Newton steps of a fit.
    """
    rng = np.random.default_rng(0)
    theta = 3.0 * rng.standard_normal(P) / np.sqrt(P)
    X_val = rng.standard_normal((M, P))
    for N in sizes:
        need = COPIES * 8 * N * P
        if need > free_memory():
            for model in MODELS:
                yield Cost(model, N, np.nan, f"needs {need / 2**30:.1f} GiB of free memory")
            continue
        X, w = rng.standard_normal((N, P)), rng.exponential(size=N)
        T, T_val, noise = X @ theta, X_val @ theta, rng.logistic(size=N + M)
        targets = {
            "ridge": (bdt.Ridge(1e-2), T + noise[:N], T_val + noise[N:]),
            "logistic": (bdt.Logistic(1e-3), np.sign(T + noise[:N]), np.sign(T_val + noise[N:])),
        }
        for model, (lower, y, y_val) in targets.items():
            problem = bdt.Problem(lower, train=(X, y), val=(X_val, y_val))
            yield Cost(model, N, median_seconds(problem, w / w.sum()))
            del problem


def median_seconds(problem: bdt.Problem, w: np.ndarray) -> float:
    """CPU seconds of a hypergradient: the median of 3 to 20 calls, after one that warms up."""
    bdt.hypergradient(problem, w)
    took: list[float] = []
    while len(took) < LEAST or (len(took) < MOST and sum(took) < ENOUGH):
        start = time.process_time()
        bdt.hypergradient(problem, w)
        took.append(time.process_time() - start)
    return float(np.median(took))


def exponent(rows: list[Cost], least: int = 0) -> float:
    """b of seconds = a N^b, by least squares on logarithms, over the sizes >= `least`."""
    known = [row for row in rows if row.N >= least and np.isfinite(row.seconds)]
    if len(known) < 2:
        return np.nan
    N, seconds = np.array([(row.N, row.seconds) for row in known]).T
    return float(np.polyfit(np.log(N), np.log(seconds), 1)[0])


def free_memory() -> float:
    """Bytes that can be had without swapping; infinite where the system does not say."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            lines = dict(line.split(":", 1) for line in file)
        return 1024.0 * int(lines["MemAvailable"].split()[0])
    except (OSError, KeyError):
        pass
    try:
        return float(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (OSError, ValueError, AttributeError):
        return float("inf")
