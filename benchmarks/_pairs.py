"""Methods on question-response pairs with a real language model, shared by `lm_demo` and
`gsm8k_pairs`: one training for each method and seed, free scores beside it, a table of both.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import re
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

import bdtheory as bdt
from bdtheory.fetch import find_model
from bdtheory.tasks import read_pairs, tokenise
from bdtheory.weights import auc

# The rate of the weights, and BMO's temperatures, were tried out on seeds 0 and 100 of the demo's
# data, which are reported nowhere.
BATCH, VAL_BATCH = 8, 4
RATIOS = 0.1, 0.3, 1.0
METHODS: dict[str, Any] = {
    "uniform": bdt.Uniform(),
    "validation only": bdt.ValidationOnly(),
    **{f"mixing {r:g}": bdt.DirectMixing(ratio=r) for r in RATIOS},
    "Penalty": bdt.Penalty(),
    "BMO": bdt.BMO(hot=3.0, cold=0.1),
}
FREE = "word overlap", "loss before training", "unconditional less conditional"


@dataclass(frozen=True)
class Data:
    """Rows of a JSONL file, and the kind of every training row, "good" for the clean ones."""

    train: list[dict[str, Any]]
    val: list[dict[str, Any]]
    test: list[dict[str, Any]]
    kinds: list[str]


@dataclass(frozen=True)
class Run:
    """What one training of one method and seed gave; `weights` (N,)."""

    method: str
    seed: int
    test_loss: float
    val_loss: float
    weights: np.ndarray
    seconds: float


def model_folder(given: str | None) -> str:
    """The folder asked for, else that of `bdtheory fetch-model`; exits where there is none."""
    folder = given or find_model()
    if folder is None:
        sys.exit(
            "no language model: got no --model, and the default folder has none; needed one; "
            "try bdtheory fetch-model"
        )
    return str(folder)


def problem_of(data: Data, folder: str, passes: int, **options: Any) -> bdt.Problem:
    """The data as tokens, and the model with so many passes over the training pairs."""
    from bdtheory.models.huggingface import HuggingFaceLM

    training = bdt.Training(
        steps=passes * -(-len(data.train) // BATCH),
        batch_size=BATCH,
        val_batch_size=VAL_BATCH,
        learning_rate=1e-3,
        accumulate=2,
        selector_rate=2.0,
        evaluations=passes,
        drop_last=False,
    )
    model = HuggingFaceLM(folder, training=training, **options)
    parts = []
    for rows in (data.train, data.val, data.test):
        found = tokenise(read_pairs(rows), model.tokenizer, max_length=model.max_length)
        parts.append((found.prompts, found.responses))
    return bdt.Problem(model, *parts)


def run_one(data: Data, folder: str, passes: int, name: str, seed: int) -> Run:
    """One training."""
    one_thread()
    start = time.process_time()
    problem = problem_of(data, folder, passes)
    fit = bdt.learn_weights(problem, METHODS[name], seed=seed)
    seconds = time.process_time() - start
    return Run(name, seed, fit.test_loss or np.nan, fit.val_loss, np.asarray(fit.weights), seconds)


def free_scores(data: Data, folder: str) -> dict[str, np.ndarray]:
    """Scores (N,) that need no training, high for good rows."""
    one_thread()
    problem = problem_of(data, folder, 1)
    model: Any = problem.model
    import torch

    with torch.no_grad():
        before = model.losses(model.initial_theta(0), problem.train).numpy().astype(np.float64)
    alone = model.unconditional(problem.train)
    overlap = np.array([word_overlap(row["prompt"], row["completion"]) for row in data.train])
    return dict(zip(FREE, (overlap, -before, alone - before), strict=True))


def word_overlap(prompt: str, completion: str) -> float:
    """The share of the response's words that the prompt has too."""
    asked, said = (set(re.findall(r"\w+", text.lower())) for text in (prompt, completion))
    return len(asked & said) / max(len(said), 1)


def one_thread() -> None:
    import torch

    torch.set_num_threads(1)
    with contextlib.suppress(ImportError):
        from transformers.utils import logging

        logging.disable_progress_bar()
        logging.set_verbosity_error()


def run_all(
    by_seed: dict[int, Data], folder: str, passes: int, jobs: int
) -> tuple[list[Run], dict[int, dict[str, np.ndarray]]]:
    """All methods on all seeds, so many processes of one thread; and the free scores by seed."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context) as pool:
        free = {s: pool.submit(free_scores, data, folder) for s, data in by_seed.items()}
        work = [
            pool.submit(run_one, data, folder, passes, name, seed)
            for seed, data in by_seed.items()
            for name in METHODS
        ]
        runs = []
        for done, future in enumerate(work, 1):
            runs.append(future.result())
            last = runs[-1]
            print(
                f"{done}/{len(work)}  seed {last.seed}  {last.method:16s} test loss "
                f"{last.test_loss:.3f}  {last.seconds:.0f} s",
                file=sys.stderr,
                flush=True,
            )
        return runs, {s: future.result() for s, future in free.items()}


def compare(by_seed: dict[int, Data], folder: str, passes: int, jobs: int) -> None:
    """All methods on all seeds, and what they gave, printed."""
    start, data = time.perf_counter(), next(iter(by_seed.values()))
    runs, free = run_all(by_seed, folder, passes, jobs)
    bad = sum(kind != "good" for kind in data.kinds)
    print(
        f"{len(data.train)} training pairs, {bad} of them bad; {len(data.val)} trusted, "
        f"{len(data.test)} held out; {len(by_seed)} seeds\n"
    )
    print_losses(runs)
    print_detection(runs, free, by_seed)
    print(f"\n{time.perf_counter() - start:.0f} s")


# Tables ------------------------------------------------------------------------------------------


def interval(values: np.ndarray) -> tuple[float, float, float]:
    """Mean and 95% t-interval over the seeds; nan ends with one seed."""
    n, mean = len(values), float(np.mean(values))
    if n < 2:
        return mean, np.nan, np.nan
    half = float(stats.t.ppf(0.975, n - 1) * np.std(values, ddof=1) / np.sqrt(n))
    return mean, mean - half, mean + half


def of(runs: list[Run], method: str) -> list[Run]:
    """The runs of one method, by seed."""
    return sorted((r for r in runs if r.method == method), key=lambda r: r.seed)


def best_mixing(runs: list[Run]) -> str:
    """The ratio of least mean test loss, in hindsight: a favour to the baseline."""
    names = [name for name in METHODS if name.startswith("mixing")]
    return min(names, key=lambda name: np.mean([r.test_loss for r in of(runs, name)]))


def print_losses(runs: list[Run]) -> None:
    """Held-out loss by method, and the learned ones' paired leads with what they carry."""
    mixing = best_mixing(runs)
    shown = ["uniform", "validation only", mixing, "Penalty", "BMO"]
    print("held-out loss, nats per token (mean over seeds, 95% t-interval)")
    losses = {name: np.array([r.test_loss for r in of(runs, name)]) for name in shown}
    for name in shown:
        mean, low, high = interval(losses[name])
        note = "  (best ratio, in hindsight)" if name == mixing else ""
        print(f"  {name:18s} {mean:.3f}  [{low:.3f}, {high:.3f}]{note}")
    print("\npaired differences of held-out loss")
    for name in ("Penalty", "BMO"):
        for other in shown[:3]:
            mean, low, high = interval(losses[name] - losses[other])
            word = "lower" if high < 0 else "higher" if low > 0 else "no difference shown"
            word = "one seed: no interval" if np.isnan(low) else word
            print(f"  {name:8s} less {other:18s} {mean:+.3f}  [{low:+.3f}, {high:+.3f}]  {word}")


def print_detection(runs: list[Run], free: dict, by_seed: dict[int, Data]) -> None:
    """AUC by kind of corruption, effective sample size and mass, beside the free scores."""
    kinds = [k for k in dict.fromkeys(next(iter(by_seed.values())).kinds) if k != "good"]
    print("\nAUC against good rows, by kind of corruption (mean over seeds)")
    print(
        f"  {'':31s} {'all':>6s} "
        + " ".join(f"{k:>13s}" for k in kinds)
        + f" {'ESS':>6s} {'good mass':>10s}"
    )
    for name in ("Penalty", "BMO", *FREE):
        rows = []
        for seed, data in by_seed.items():
            learned = name in METHODS
            score = (
                of(runs, name)[sorted(by_seed).index(seed)].weights if learned else free[seed][name]
            )
            rows.append(_row(score, np.array(data.kinds), kinds, learned))
        cells = np.mean(rows, axis=0)
        tail = f" {cells[-2]:6.0f} {cells[-1]:10.2f}" if name in METHODS else ""
        print(f"  {name:31s} {cells[0]:6.3f} " + " ".join(f"{c:13.3f}" for c in cells[1:-2]) + tail)


def _row(score: np.ndarray, truth: np.ndarray, kinds: list[str], learned: bool) -> list[float]:
    clean = truth == "good"
    each = [auc(score[part], clean[part]) for part in (clean | (truth == k) for k in kinds)]
    tail = [bdt.effective_sample_size(score), score[clean].sum()] if learned else [0.0, 0.0]
    return [auc(score, clean), *each, *tail]
