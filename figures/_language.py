"""Runs on the two language tasks, shared by the figures that show them: settings and numbers.

Training is the same for all methods. Its settings, and BMO's, were tried out for each task on seeds
100 to 103, which are reported nowhere; direct mixing's ratio is chosen anew in every run, on
validation pairs that nothing was trained on.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any, NamedTuple

import numpy as np

import bdtheory as bdt
from bdtheory.launched import end_with_parent
from bdtheory.tasks.language import END, LanguageTask, pretrained
from bdtheory.tasks.safety import refused
from bdtheory.tasks.settings import SETTINGS
from bdtheory.weights import auc, entropy

METHODS = ["ValidationOnly", "Uniform", "DirectMixing", "Penalty", "BMO"]
RATIOS = 0.003, 0.03, 0.3
NUMBERS = ("test_loss", "auc", "ess", "questions", "clean", "used", "ratio", "over_refusal")


QUICK = {"width": 16, "layers": 1}  # a model for smoke tests
SHORT = 12  # steps of everything in them


def make(name: str, seed: int, quick: bool) -> LanguageTask:
    """The task of that name; small where quick."""
    sizes = {"N": 60, "m": 24, "n_test": 40} if quick else {}
    return SETTINGS[name].make(seed, **sizes)


def model(name: str, task: LanguageTask, start: Any, quick: bool) -> Any:
    """The model to fine-tune, from `start` (NumPy arrays, or None)."""
    import torch

    training = SETTINGS[name].training
    if quick:
        training = dataclasses.replace(training, steps=SHORT)
    theta = None if start is None else {k: torch.from_numpy(a.copy()) for k, a in start.items()}
    return task.model(start=theta, training=training, device="cpu", **(QUICK if quick else {}))


def pretrain(name: str, quick: bool) -> dict[str, np.ndarray]:
    """theta after pretraining, as NumPy arrays; the same for every seed."""
    task = make(name, 0, quick)
    steps = SHORT if quick else SETTINGS[name].pretraining
    theta = pretrained(task, model(name, task, None, quick), steps=steps)
    return {key: tensor.numpy() for key, tensor in theta.items()}


@functools.cache
def starts(quick: bool) -> dict[str, dict[str, np.ndarray]]:
    """What `pretrain` gives for each task; once per process, since figures share it."""
    made = run_all(pretrain, [(name, quick) for name in SETTINGS], quick)
    return dict(zip(SETTINGS, made, strict=True))


_DONE: dict[str, Any] = {}  # what jobs gave, in this process


def run_all(function: Callable[..., Any], jobs: Iterable[tuple], quick: bool) -> list[Any]:
    """function(*job) of every job: here where quick, else in two processes of one thread each.

    A job that was run before in this process is not run again, since figures share some.
    """
    named = [(_name(function, job), job) for job in jobs]
    new = {name: job for name, job in named if name not in _DONE}
    if new:
        results = _run(function, list(zip(*new.values(), strict=True)), quick)
        _DONE.update(zip(new, results, strict=True))
    return [_DONE[name] for name, _ in named]


def _name(function: Callable[..., Any], job: tuple) -> str:
    """What tells a job from others; a dict, as one of `starts`, follows from its other parts."""
    parts = ("dict" if isinstance(part, dict) else repr(part) for part in job)
    return " ".join([function.__module__, function.__name__, *parts])


def _run(function: Callable[..., Any], columns: list[tuple], quick: bool) -> list[Any]:
    if quick:
        with one_thread_here():
            return list(map(function, *columns))
    return list(pool().map(function, *columns))


@functools.cache
def pool() -> ProcessPoolExecutor:
    """Two processes for all figures: to start them, and to import torch, takes seconds."""
    context = multiprocessing.get_context("spawn")  # the same on every system, safe with threads
    return ProcessPoolExecutor(2, mp_context=context, initializer=one_thread)


def one_thread() -> None:
    """Sums then have one order, and the two processes do not take each other's core."""
    import torch

    end_with_parent()
    torch.set_num_threads(1)


@contextlib.contextmanager
def one_thread_here() -> Iterator[None]:
    """The same in this process, for a while."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Compared(NamedTuple):
    """One task and seed: scores (methods, 1 + kinds), shares of right responses, overall and by
    kind, sampled greedily; `NUMBERS` (methods, ...); the selection of each method, without theta.
    """

    scores: np.ndarray
    numbers: np.ndarray
    selections: dict[str, bdt.Selection]


def compare(name: str, seed: int, start: Any, quick: bool, methods: list[str]) -> Compared:
    """What the methods make of one task and seed."""
    whole = make(name, seed, quick)
    task, choose = whole.split_validation()  # 3/4 to learn from, 1/4 to choose the ratio by
    network = model(name, task, start, quick)
    problem = task.problem(network)
    rows, selections = [], {}
    for method in methods:
        ratios = RATIOS if method == "DirectMixing" else (np.nan,)
        fits = [bdt.learn_weights(problem, solver(name, method, r), seed=seed) for r in ratios]
        losses = [-float(network.log_probs(fit.theta, *choose).mean()) for fit in fits]
        best = int(np.argmin(losses))
        rows.append(_row(name, task, problem, fits[best], ratios[best]))
        selections[method] = dataclasses.replace(fits[best], theta=None)
    own, numbers = zip(*rows, strict=True)
    return Compared(np.array(own), np.array(numbers), selections)


def solver(name: str, method: str, ratio: float = np.nan) -> Any:
    """The method of that name for the task `name`."""
    if method == "DirectMixing":
        return bdt.DirectMixing(ratio)
    return SETTINGS[name].bmo if method == "BMO" else getattr(bdt, method)()


def _row(name: str, task: LanguageTask, problem: bdt.Problem, fit: bdt.Selection, ratio: float):
    """(scores, numbers) of one run."""
    w, responses = np.asarray(fit.weights), respond(task, problem, fit.theta)
    over = 0.0
    if name == "safety":
        over = task.by_kind(refused(responses).astype(float))["benign held out"]
    mass = np.bincount(task.groups, weights=w)  # of every question
    numbers = (
        fit.test_loss,
        auc(w, task.clean),
        bdt.effective_sample_size(w),
        np.exp(entropy(mass)),
        w[task.clean].sum(),
        used_of_bound(task, problem, fit),
        ratio,
        over,
    )
    return scores(name, task, responses), numbers


def respond(task: LanguageTask, problem: bdt.Problem, theta: Any) -> list[list[int]]:
    """The most likely response to each test question."""
    asked, size = task.test[0], task.max_new
    return problem.model.generate(theta, asked, max_new=size, temperature=None, end=END).responses


def scores(name: str, task: LanguageTask, responses: list[list[int]]) -> list[float]:
    """Shares of right responses to the test questions, overall and by kind, (1 + kinds)."""
    score = task.score(responses)
    by_kind = task.by_kind(score)
    return [float(score.mean()), *(by_kind[kind] for kind in SETTINGS[name].kinds)]


def used_of_bound(task: LanguageTask, problem: bdt.Problem, fit: bdt.Selection) -> float:
    """The largest w_i (-log(1 - exp(-l~_j))) / F_w over contradicting pairs i, j: at most 1 (C18).

    l~_j below 1e-6, where float32 rounds, counts as 1e-6: the bound is then weaker.
    """
    import torch

    with torch.no_grad():
        l, l_val = (
            problem.model.losses(fit.theta, data).double().numpy()
            for data in (problem.train, problem.val)
        )
    w, (i, j) = np.asarray(fit.weights), task.contradictions.T
    least = -np.log(-np.expm1(-np.maximum(l_val[j], 1e-6)))
    return float(np.max(w[i] * least / (w @ l), initial=0.0))
