"""One training run: theta by AdamW on mini-batches, a selector beside it, in one pass each step.

    theta <- AdamW step on   a L_val(theta) + b F_w(theta),   (a, b) = selector.shares
    w     <- selector.update(losses of the same pass)

The joint batch goes through the model once: the per-sample losses that the selector needs are
those of theta's own step. A learned w moves after it, together with theta; one in closed form that
`follows` theta is taken at those losses, before the gradient. A run between two steps is all in
`Run.state`, so that a checkpoint continues bit for bit. Processes in one group of torch.distributed
run the loop together, each on its share of every batch (`parallel`).
"""

from __future__ import annotations

import functools
import math
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch

from ..models.training import Training
from ..problem import Problem
from ..selection import Selection, Status, as_text, to_numpy
from ..weights import drop_negligible, effective_sample_size
from .checkpoint import Checkpoint
from .descent import Batches, Descent, Theta
from .parallel import Processes
from .run import in_kind
from .selectors import Selector

Weigh = Callable[[np.ndarray, np.ndarray], np.ndarray]
HISTORY = ("iteration", "seconds", "val_loss", "train_loss", "ess")
MEMORY = 0.9  # of the running mean of F_w, per batch


class Step(NamedTuple):
    """The batch of one step: rows of training and of validation, and what their losses count.

    w are the weights of `rows`, None where the selector follows theta.
    """

    progress: float
    a: float
    b: float
    rows: np.ndarray
    val_rows: np.ndarray
    w: np.ndarray | None


class Run:
    """One run of the loop, between two steps.

    Attributes
    ----------
    step : steps taken.
    leader : theta and its AdamW; follower : phi, trained on F_w alone, with a value function.
    history : rows of `HISTORY`, one per evaluation.
    best : (validation loss, step, theta, weights) of the best evaluation; one whose weights rank is
        better than one whose weights do not.
    saved : when the state last went to the checkpoint.
    ended : why the run is over, "" while it is not; diverged : whether a number was not finite.
    """

    def __init__(self, problem: Problem, selector: Selector, seed: int):
        self.problem, self.selector = problem, selector
        self.settings: Training = problem.model.training
        self.rng = np.random.default_rng(seed)
        drop_last = self.settings.drop_last
        self.rows = Batches(problem.N, self.settings.batch_size, drop_last)
        self.val_rows = Batches(problem.m, self.settings.val_batch_size, drop_last)
        self.leader = Descent(problem.model.initial_theta(seed), self.settings)
        self.processes = Processes.current(next(iter(self.leader.theta.values())).device)
        self._divide()
        start = {name: t.clone() for name, t in self.leader.theta.items()}
        self.follower = Descent(start, self.settings) if selector.value_function else None
        self.step, self.train_loss, self.ended, self.diverged = 0, math.nan, "", False
        self.history: list[tuple[float, ...]] = []
        self.best: tuple[float, int, Theta, np.ndarray] = (math.inf, 0, start, self.weights())
        self.clock = self.saved = time.process_time()

    def weights(self) -> np.ndarray:
        """(N,), sum 1; those that cannot matter exactly 0."""
        return drop_negligible(self.selector.weights)

    def _divide(self) -> None:
        """The logits among the processes. Raises ValueError where a batch cannot be divided."""
        if (P := self.processes.size) == 1:
            return
        for name, rows in (("batch_size", self.rows), ("val_batch_size", self.val_rows)):
            if rows.size < rows.n and rows.size % P:
                raise ValueError(
                    f"{name} is {rows.size} in {P} processes; needed a multiple of {P}, so that "
                    f"each has as many rows; try {name}={P * math.ceil(rows.size / P)}"
                )
        self.selector.divide(self.processes)

    def remember(self) -> None:
        """What no step changes: frozen layers, over the rows that mostly come to this process."""
        for data in (self.problem.val, self.problem.train):
            rows = self.processes.part(np.arange(len(data)))
            own = data if len(rows) == len(data) else data.take(rows)
            getattr(self.problem.model, "remember", _nothing)(own)

    # One step ------------------------------------------------------------------------------------

    def advance(self) -> None:
        """One joint step; `ended` is set where the budget is used or a number is not finite."""
        step = self._draw()
        rows, k, weigh = step.rows, len(step.rows), functools.partial(self._weigh, step)
        batch = _joint(self.problem, rows, step.val_rows)
        mine = self.processes.share(rows)
        joint = np.concatenate([mine, k + self.processes.share(step.val_rows)])
        losses, gradient = self._pass(self.leader.theta, weigh, batch, joint)
        shown = losses[:k]
        if self.follower is not None and k:
            train = self.problem.train.take(rows)
            only = self.follower.theta, lambda at, l: weigh(at, l) / step.b, train, mine
            own, back = self._pass(*only)
            if not (np.isfinite(own).all() and self.follower.step(back, step.progress)):
                return self._diverge()
            shown = shown - own
        if not (np.isfinite(losses).all() and self.leader.step(gradient, step.progress)):
            return self._diverge()
        if k:
            w = self.selector.at(rows) if step.w is None else step.w
            self._note_train_loss(w, losses[:k])
            if not self.selector.follows:
                self.selector.update(step.progress, rows, shown)
        self.step += 1
        self._end()

    def _draw(self) -> Step:
        """The batch of this step, and what its parts count."""
        progress = (self.step + 0.5) / self.settings.steps
        a, b = self.selector.shares(progress)
        rows = self.rows.draw(self.rng) if b else np.arange(0)
        val_rows = self.val_rows.draw(self.rng) if a else np.arange(0)
        w = None if self.selector.follows else self.selector.at(rows)
        return Step(progress, a, b, rows, val_rows, w)

    def _weigh(self, step: Step, places: np.ndarray, losses: np.ndarray) -> np.ndarray:
        """The weights of these places of the joint batch, from the losses of this very pass.

        Unbiased for a L_val + b F_w: a batch of k training samples stands for N / k times as many.
        """
        k, m = len(step.rows), len(step.val_rows)
        own = places < k  # training samples come first
        at, c = places[own], np.full(len(places), step.a / max(m, 1))
        if step.w is None and len(at) and np.isfinite(losses).all():
            self.selector.update(step.progress, step.rows[at], losses[own])
        w = self.selector.at(step.rows[at]) if step.w is None else step.w[at]
        c[own] = w * step.b * self.problem.N / max(k, 1)
        return c

    def _pass(
        self, theta: Theta, weigh: Weigh, batch: Any, mine: np.ndarray
    ) -> tuple[np.ndarray, Theta]:
        """Losses of the batch, (n,) NumPy, and the gradient of sum c_i l_i.

        This process computes those at the places `mine`, in parts, and hears of the others.
        """
        model, n, gradient = self.problem.model, len(batch), dict[str, Any]()
        losses = np.zeros(n)
        parts = min(math.ceil(self.settings.accumulate / self.processes.size), len(mine))
        if parts > 1:  # those of similar length together: less padding in each part
            mine = mine[np.argsort(to_numpy(batch.length)[mine], kind="stable")]
        for places in np.array_split(mine, parts) if parts else ():
            part = batch if len(places) == n else batch.take(places)
            l, g = model.losses_and_gradient(theta, functools.partial(weigh, places), part)
            losses[places] = to_numpy(l)
            gradient = {name: g[name] + gradient.get(name, 0.0) for name in g}
        gradient = gradient or {name: torch.zeros_like(t) for name, t in theta.items()}
        return self.processes.sum(losses), self.processes.sum_gradient(gradient)

    def _note_train_loss(self, w: np.ndarray, losses: np.ndarray) -> None:
        """The running mean of F_w = sum_i w_i l_i, from this batch's share of it."""
        if not w.any():  # all underflowed: this batch has no share
            return
        F = float(w @ losses / w.sum())
        old = F if math.isnan(self.train_loss) else self.train_loss
        self.train_loss = MEMORY * old + (1.0 - MEMORY) * F

    def save(self, store: Checkpoint | None) -> None:
        """The state to the checkpoint, where there is one and the state is good."""
        if store is not None and not self.diverged:
            if self.processes.rank == 0:
                store.save(self)
            else:
                self.state()  # each process has a part of it
        self.saved = time.process_time()

    def stop(self, store: Checkpoint | None) -> None:
        """End here, as the callback asked; a later run with the checkpoint goes on all the same."""
        if self.ended:
            return
        self.save(store)  # before the evaluation, which an uninterrupted run would not make
        self.ended = f"stopped by the callback after {self.step} steps"
        self.evaluate()

    def _end(self) -> None:
        if self.step == self.settings.steps:
            self.ended = f"trained for {self.step} steps"

    def _diverge(self) -> None:
        self.diverged = True
        self.ended = f"a loss or gradient was not finite at step {self.step}"

    # Evaluation ----------------------------------------------------------------------------------

    def due(self) -> bool:
        """Whether the state after this step is to be evaluated: evenly, and at the end."""
        settings = self.settings
        done = self.step * settings.evaluations // settings.steps
        before = (self.step - 1) * settings.evaluations // settings.steps
        return not self.diverged and (done > before or bool(self.ended))

    def evaluate(self) -> None:
        """Validation loss on all validation data into the history; the best state is kept."""
        theta, w = self.leader.theta, self.weights()
        val_loss, seconds = self._mean(theta, self.problem.val), self._seconds()
        if not math.isfinite(val_loss):
            return self._diverge()
        ess = effective_sample_size(w)
        self.history.append((self.step, seconds, val_loss, self.train_loss, ess))
        best = not self.ranks(self.best[1]), self.best[0]
        if (not self.ranks(self.step), val_loss) < best:
            copy = {name: t.clone() for name, t in theta.items()}
            self.best = val_loss, self.step, copy, w
        if self.settings.progress and self.processes.rank == 0:
            sys.stderr.write(
                f"step {self.step}/{self.settings.steps}  L_val {val_loss:.4f}  "
                f"F_w {self.train_loss:.4f}  ESS {ess:.0f} of {self.problem.N}  {seconds:.1f} s\n"
            )

    def _mean(self, theta: Theta, data: Any) -> float:
        """Mean loss at theta, of all data; each process computes its share."""
        rows = self.processes.part(np.arange(len(data)))
        with torch.no_grad():
            if len(rows) == len(data):
                return float(self.problem.model.losses(theta, data).mean())
            own = self.problem.model.losses(theta, data.take(rows)).sum() if len(rows) else 0.0
        return float(self.processes.sum(float(own))) / len(data)

    def ranks(self, step: int) -> bool:
        """Whether weights of that step rank: fixed ones do, learned ones after each sample's turn.

        A sample not visited yet has the weight that it began with, whatever its loss.
        """
        return not self.selector.state or step * self.rows.size >= self.problem.N

    def _seconds(self) -> float:
        return time.process_time() - self.clock

    def selection(self, method: Any) -> Selection:
        """The best evaluated state as the result; never certified, since there is no re-fit."""
        val_loss, step, theta, w = self.best
        test, rows = self.problem.test, self.history
        return Selection(
            weights=in_kind(self.problem, w),
            theta=theta,
            val_loss=val_loss,
            test_loss=None if test is None else self._mean(theta, test),
            status=Status.DIVERGED if self.diverged else Status.MAX_ITERATIONS,
            history={name: np.array([r[k] for r in rows]) for k, name in enumerate(HISTORY)},
            method=as_text(method),
            message=f"{self.ended}; theta and weights are those of step {step}, of least "
            "validation loss" + ("" if self.ranks(step) else "; some samples had no turn"),
        )

    # State ---------------------------------------------------------------------------------------

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """All that moves, as JSON types and as arrays."""
        whole = self.processes.whole
        facts = {
            "step": self.step,
            "seconds": self._seconds(),
            "train_loss": self.train_loss,
            "history": self.history,
            "best": self.best[:2],
            "rng": self.rng.bit_generator.state,
            "at": [self.rows.at, self.val_rows.at],
        }
        arrays = {"order": self.rows.order, "val_order": self.val_rows.order, "w": self.best[3]}
        parts: dict[str, dict[str, Any]] = {
            "best": {name: to_numpy(t) for name, t in self.best[2].items()},
            "selector": {k: whole(a, self.selector.count) for k, a in self.selector.state.items()},
            "leader": self.leader.state(),
            "follower": self.follower.state() if self.follower else {},
        }
        named = {f"{part}/{key}": a for part, of in parts.items() for key, a in of.items()}
        return facts, arrays | named

    def restore(self, facts: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        """Continue where `state` was taken."""

        def part(name: str) -> dict[str, np.ndarray]:
            return {k.partition("/")[2]: a for k, a in arrays.items() if k.startswith(name + "/")}

        self.step = facts["step"]
        self._end()
        self.train_loss, self.history = facts["train_loss"], [tuple(r) for r in facts["history"]]
        self.clock = time.process_time() - facts["seconds"]
        self.rng.bit_generator.state = facts["rng"]
        self.rows.at, self.val_rows.at = facts["at"]
        self.rows.order, self.val_rows.order = arrays["order"], arrays["val_order"]
        own = {k: self.processes.part(arrays[f"selector/{k}"]) for k in self.selector.state}
        self.selector.state.update(own)
        self.leader.restore(part("leader"))
        if self.follower is not None:
            self.follower.restore(part("follower"))
        device = next(iter(self.leader.theta.values())).device
        best = {k: torch.from_numpy(arrays[f"best/{k}"]).to(device) for k in self.leader.theta}
        self.best = facts["best"][0], facts["best"][1], best, arrays["w"]


def _nothing(data: Any) -> None:
    """A model without frozen parts has nothing to compute beforehand."""


def _joint(problem: Problem, rows: np.ndarray, val_rows: np.ndarray) -> Any:
    """Training and validation samples of one step as one batch."""
    if not len(val_rows):
        return problem.train.take(rows)
    val = problem.val.take(val_rows)
    return problem.train.take(rows).join(val) if len(rows) else val
