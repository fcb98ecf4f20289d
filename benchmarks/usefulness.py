"""How long exact decisions on usefulness take; every answer with its certificate multiplied out.

python -m benchmarks.usefulness [--samples 5000] [--validation 500] [--features 50]
"""

from __future__ import annotations

import argparse
import time

from threadpoolctl import threadpool_limits

import bdtheory as bdt
from bdtheory.tasks import linear, separable


def main() -> None:
    parser = argparse.ArgumentParser(description="Seconds to decide usefulness, one thread.")
    parser.add_argument("--samples", type=int, default=5_000, help="training samples")
    parser.add_argument("--validation", type=int, default=500, help="validation samples")
    parser.add_argument("--features", type=int, default=50, help="features")
    args = parser.parse_args()
    N, m, p = args.samples, args.validation, args.features
    tasks = {
        "logistic, separable validation": separable(0, p=p, m=m, N=N),
        "linear": linear(0, p=p, m=m, n_useful=N // 2, n_useless=N - N // 2, A2=False),
    }
    with threadpool_limits(1):
        for name, task in tasks.items():
            problem = task.problem()
            start = time.perf_counter()
            decided = bdt.usefulness(problem)
            seconds = time.perf_counter() - start
            print(
                f"{name}: N={N}, m={m}, p={p}: {seconds:.1f} s, "
                f"{int((~decided.useful).sum())} useless, residual {decided.verify(problem):.1e}"
            )


if __name__ == "__main__":
    main()
