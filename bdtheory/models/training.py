"""How a model without a closed-form fit is trained: the settings of one loop, in one place."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from ..linalg import few_threads
from .checks import check_count, check_flag, check_number


@dataclass(frozen=True)
class Training:
    """Mini-batch training of theta by AdamW, and of the selector beside it.

    A model that carries a `Training` is trained, not solved: `learn_weights` takes `steps` joint
    steps on batches of training and validation samples, and reports the trained theta.

    Parameters
    ----------
    steps : optimiser steps.
    batch_size : training samples per step; None takes all of them, in order, without randomness.
    val_batch_size : validation samples per step; None takes all of them.
    learning_rate : of AdamW for theta, in units of theta; the largest of the schedule: linear
        warm-up over a twentieth of the steps, then a cosine down to a tenth.
    weight_decay : of AdamW, per unit of learning rate.
    clip : the largest norm of the gradient of theta, in units of the loss over those of theta;
        longer ones are scaled down to it.
    accumulate : a batch is computed in this many parts, to save memory; the result is the same.
    drop_last : whether a pass over the samples leaves out those that fill no batch, as in PyTorch's
        DataLoader; False where there are few passes, so that every sample has its turn in each.
    selector_rate : step of the selector's mirror descent, in units of logits per nat (`Penalty`).
    evaluations : how often, evenly spread, the validation loss is measured on all validation data.
    progress : whether each evaluation writes a line to standard error.

    Raises ValueError for values out of range.

    Examples
    --------
    >>> Training(steps=100).batch_size
    32
    """

    steps: int = 500
    batch_size: int | None = 32
    val_batch_size: int | None = 32
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    clip: float = 1.0
    accumulate: int = 1
    drop_last: bool = True
    selector_rate: float = 0.1
    evaluations: int = 10
    progress: bool = False

    def __post_init__(self):
        check_count(self.steps, "steps", try_=500)
        for name in ("batch_size", "val_batch_size"):
            if getattr(self, name) is not None:
                check_count(getattr(self, name), name, try_=32)
        check_number(self.learning_rate, "learning_rate", least=0.0, strict=True, try_="1e-3")
        check_number(self.weight_decay, "weight_decay", least=0.0, try_="weight_decay=0.0")
        check_number(self.clip, "clip", least=0.0, strict=True, try_="clip=1.0")
        check_count(self.accumulate, "accumulate", try_=1)
        check_flag(self.drop_last, "drop_last")
        check_number(self.selector_rate, "selector_rate", least=0.0, try_="selector_rate=0.1")
        check_count(self.evaluations, "evaluations", try_=10)
        check_flag(self.progress, "progress")


DEFAULT = Training()
SMALL = 200_000  # parameters; a step of fewer is too short for two threads


def threads_for(model: Any, theta: Any) -> AbstractContextManager:
    """One thread while a model of few parameters is trained or sampled from.

    `size` of the model is their number; without, it is that of theta, an array or a dict.
    """
    parts = theta.values() if isinstance(theta, dict) else [theta]
    size = getattr(model, "size", None) or sum(math.prod(t.shape) for t in parts)
    return few_threads(size, small=SMALL)
