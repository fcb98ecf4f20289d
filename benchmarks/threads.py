"""What the number of threads changes in a result: the same run with one thread and with two.

python -m benchmarks.threads

Sums over rows are cut into as many parts as there are threads, so that they round in another order.
Up to a size, see `few_threads`, one thread is taken whatever the machine has: there nothing may
differ. "Free": the method alone, without that rule, or a model above that size. The number of
threads that the libraries report is printed first: where it is not 2, nothing was measured.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from threadpoolctl import threadpool_info, threadpool_limits

import bdtheory as bdt
from bdtheory.models.transformer import TransformerLM
from bdtheory.selection import to_numpy
from bdtheory.tasks import noisy_regression

from .transformer import pairs


def closed() -> bdt.Problem:
    """Ridge regression, a hundredth of the size that takes more threads."""
    return noisy_regression(0, N=2_000, p=100, m=500, n_test=2, n_groups=20).problem()


def trained(width: int) -> bdt.Problem:
    """A transformer; above 200,000 parameters, at width 128, as many threads as there are."""
    training = bdt.Training(steps=20, batch_size=16, val_batch_size=16, evaluations=2)
    model = TransformerLM(512, context=64, width=width, heads=4, layers=2, training=training,
                          device="cpu")  # fmt: skip
    return bdt.Problem(model, train=pairs(128, 64), val=pairs(32, 64, seed=1))


def compare(name: str, run: Callable[[], bdt.Selection]) -> None:
    """Print how far weights (N,) and validation loss differ between one thread and two."""
    found = []
    for count in (1, 1, 2):
        torch.set_num_threads(count)
        with threadpool_limits(count):
            fit = run()
        found.append((to_numpy(fit.weights).astype(np.float64), fit.val_loss))
    (w, loss), *others = found
    for threads, (v, value) in zip(("1 and 1", "1 and 2"), others, strict=True):
        off = np.abs(v - w).max() / w.max()
        print(
            f"{name}, {threads} threads: weights differ by at most {off:.1e} of the largest, "
            f"L_val by {abs(value / loss - 1):.1e} of itself",
            flush=True,
        )


def threads() -> str:
    """What the libraries say when they are allowed two."""
    torch.set_num_threads(2)
    with threadpool_limits(2):
        found = {info["internal_api"]: info["num_threads"] for info in threadpool_info()}
    return ", ".join(f"{name} {count}" for name, count in sorted(found.items()))


def main() -> None:
    print(f"threads: {threads()}", flush=True)
    ridge, method = closed(), bdt.BMO()
    compare("ridge", lambda: bdt.learn_weights(ridge, method, seed=0))
    compare("ridge, free", lambda: method.run(ridge, 0, None))
    for name, width in (("transformer", 32), ("transformer, free", 128)):
        problem = trained(width)
        compare(name, lambda problem=problem: bdt.learn_weights(problem, bdt.Penalty(), seed=0))


if __name__ == "__main__":
    main()
