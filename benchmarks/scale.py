"""Large data: seconds and peak memory of a hypergradient and of learned weights, up to N = 1e6.

    python -m benchmarks.scale [--sizes 30000 100000 300000 1000000] [--features 100]
                               [--learn 1000000] [--mapped 10000000] [--mapped-features 20]

Every case runs in a process of its own. The data are made in blocks, in the array that they stay
in. Peak memory is that of the whole process (resident) less what it had before the data, as a
multiple of the size of X. For a memory-mapped file, whose pages the system may keep or drop as it
likes, it is instead what Python and NumPy allocate (tracemalloc), as a share of the file.

`cold` is `bdt.hypergradient` from nothing; `warm` re-fits after weights moved by 10%, and gives the
hypergradient to a relative 1e-7, as along an outer path. CPU seconds, one thread.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

import bdtheory as bdt
from bdtheory.hypergradient import refit, value_and_gradient

BLOCK = 20_000  # rows made at a time
VALIDATION = 1_000
BAD = 0.4  # share of training samples with a target that says nothing


def fill(X: np.ndarray, model: str, seed: int, bad: float) -> np.ndarray:
    """Fill X (N, p) with standard normals, in blocks; returns targets (N,) in its dtype."""
    rng, (N, p) = np.random.default_rng(seed), X.shape
    theta = 3.0 * np.random.default_rng(0).standard_normal(p) / np.sqrt(p)
    y = np.empty(N, dtype=X.dtype)
    for i in range(0, N, BLOCK):
        rows = X[i : i + BLOCK]
        rows[:] = rng.standard_normal(rows.shape, dtype=X.dtype)
        T = rows @ theta + 0.1 * rng.standard_normal(len(rows))
        if model == "logistic":
            T = np.where(rng.random(len(T)) < 1.0 / (1.0 + np.exp(-T)), 1.0, -1.0)
        random = rng.permutation(T)  # another sample's target
        y[i : i + BLOCK] = np.where(rng.random(len(T)) < bad, random, T)
    return y


def peak_bytes() -> int:
    """The most memory this process has had, in bytes.

    On Linux not ru_maxrss, which a process inherits from the one that starts it.
    """
    status = Path("/proc/self/status")
    if status.exists():
        lines = status.read_text().splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def make(model: str, X: np.ndarray, X_val: np.ndarray) -> bdt.Problem:
    """The problem on data that `fill` makes in place."""
    y = fill(X, model, 1, BAD)
    y_val = fill(X_val, model, 2, 0.0)
    lower = bdt.Logistic(1e-3) if model == "logistic" else bdt.Ridge(1e-2)
    return bdt.Problem(lower, train=(X, y), val=(X_val, y_val))


def seconds_of_hypergradients(problem: bdt.Problem) -> dict[str, float]:
    """CPU seconds `cold` and `warm`, each once."""
    rng = np.random.default_rng(3)
    w = rng.exponential(size=problem.N)
    start = time.process_time()
    bdt.hypergradient(problem, w / w.sum())
    cold = time.process_time() - start
    fit = refit(problem, bdt.weights.softmax(np.log(w)).astype(problem.train.X.dtype))
    w *= np.exp(0.1 * rng.standard_normal(problem.N))
    w = (w / w.sum()).astype(problem.train.X.dtype)
    start = time.process_time()
    value_and_gradient(problem, refit(problem, w, fit, rtol=1e-7))
    return {"cold": cold, "warm": time.process_time() - start}


def in_memory(model: str, N: int, p: int, learn: bool) -> dict[str, float]:
    """Seconds and peak memory on an array of float64."""
    before = peak_bytes()
    X = np.empty((N, p))
    problem = make(model, X, np.empty((VALIDATION, p)))
    if learn:
        start = time.process_time()
        fit = bdt.learn_weights(problem, bdt.Implicit())
        out = {"learn": time.process_time() - start, "val_loss": fit.val_loss}
        out["first"] = float(fit.history["val_loss"][0])
    else:
        out = seconds_of_hypergradients(problem)
    return {**out, "peak": (peak_bytes() - before) / X.nbytes}


def mapped(model: str, N: int, p: int) -> dict[str, float]:
    """Seconds and allocated memory on a memory-mapped .npy file of float32, made and deleted."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "X.npy"
        X = np.lib.format.open_memmap(path, "w+", "float32", (N, p))
        y = fill(X, model, 1, BAD)
        del X
        X = np.load(path, mmap_mode="r", allow_pickle=False)
        X_val = np.empty((VALIDATION, p), dtype=np.float32)
        y_val = fill(X_val, model, 2, 0.0)
        lower = bdt.Logistic(1e-3) if model == "logistic" else bdt.Ridge(1e-2)
        tracemalloc.start()
        problem = bdt.Problem(lower, train=(X, y), val=(X_val, y_val))
        out = seconds_of_hypergradients(problem)
        return {**out, "peak": tracemalloc.get_traced_memory()[1] / X.nbytes}


def in_a_process(case: str, model: str, N: int, p: int) -> dict[str, float]:
    """The numbers of one case, measured in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.scale", "--case", case, model, str(N), str(p)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def exponent(sizes: list[int], seconds: list[float]) -> float:
    """The slope of log seconds over log N."""
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


def table_of_sizes(model: str, sizes: list[int], p: int) -> None:
    rows = [in_a_process("memory", model, N, p) for N in sizes]
    print(
        f"\n{model}, float64, p={p}\n{'N':>10} {'cold, s':>10} {'warm, s':>10} {'peak / data':>12}"
    )
    for N, row in zip(sizes, rows, strict=True):
        print(f"{N:10d} {row['cold']:10.3f} {row['warm']:10.3f} {row['peak']:12.2f}", flush=True)
    if len(sizes) > 1:
        cold, warm = (exponent(sizes, [row[k] for row in rows]) for k in ("cold", "warm"))
        print(f"exponent of N: cold {cold:.2f}, warm {warm:.2f} (asked: 1)")


def main() -> None:
    parser = argparse.ArgumentParser(description="Seconds and peak memory on large data.")
    parser.add_argument("--sizes", type=int, nargs="+", default=[30_000, 100_000, 300_000, 10**6])
    parser.add_argument("--features", type=int, default=100)
    parser.add_argument("--learn", type=int, default=10**6, help="N for learn_weights; 0: none")
    parser.add_argument("--mapped", type=int, default=10**7, help="N of the mapped file; 0: none")
    parser.add_argument("--mapped-features", type=int, default=20)
    parser.add_argument("--case", nargs=4, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.case:
        case, model, N, p = args.case
        with threadpool_limits(1):
            run = {"memory": in_memory, "learn": in_memory, "mapped": mapped}[case]
            more = () if case == "mapped" else (case == "learn",)
            print(json.dumps(run(model, int(N), int(p), *more)))
        return
    for model in ("ridge", "logistic"):
        table_of_sizes(model, args.sizes, args.features)
    for model in ("ridge", "logistic") if args.learn else ():
        row = in_a_process("learn", model, args.learn, args.features)
        print(
            f"\nlearn_weights(Implicit()), {model}, N={args.learn}: {row['learn']:.0f} s, L_val "
            f"{row['first']:.4f} -> {row['val_loss']:.4f}, peak {row['peak']:.2f} x data",
            flush=True,
        )
    for model in ("ridge", "logistic") if args.mapped else ():
        row = in_a_process("mapped", model, args.mapped, args.mapped_features)
        print(
            f"\nmemory-mapped float32, {model}, N={args.mapped}, p={args.mapped_features}: cold "
            f"{row['cold']:.1f} s, warm {row['warm']:.1f} s, allocated {row['peak']:.2f} x data",
            flush=True,
        )


if __name__ == "__main__":
    main()
