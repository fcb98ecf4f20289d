"""Online self-refining generation: responses that selection throws away are generated anew.

Offline selection gives every question a mass. A round regenerates the responses to some questions
with the model of the round before, and adapts the model to the validation data and to all pairs,

    theta_next = argmin of  L_val + gamma sum_i w_i l_i,    i over offline pairs and generated ones,

with importance ratios as weights of the generated pairs (`BMO`), learned ones (`Penalty`), or equal
ones (the baselines). Rounds begin with the model's start, not with the offline result: what offline
training forgot it cannot generate. For the linear-Gaussian generator a round is closed form, and
all that rounds can and cannot do is known: see adaptation.py (C10).

Source: arXiv:2511.21056v1 and v2, abstracts; theory.md, C08, C10, C11, C12.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .methods import BMO, learn_weights
from .methods.checkpoint import Checkpoint
from .models.checks import check_choice, check_count, check_flag, check_number
from .problem import Problem
from .refinement import Refinement
from .rounds import Rounds
from .selection import Selection, Status, as_text

LEVELS = ("response", "question", "both")


@dataclass(frozen=True)
class Generation:
    """What a round generates, and how much it counts.

    Parameters
    ----------
    share : the share of the questions that a round regenerates, in (0, 1].
    lowest : whether those of lowest weight (True) or random ones (False).
    responses : how many for each question.
    temperature : > 0 of the samples, dimensionless; None gives the most likely responses.
    offline : mass of the offline pairs in [0, 1), which keep their weights in proportion; None is
        1 - share. 0 leaves them out: online only.
    level : whose weights a learned selector moves: "response", "question", or "both" together.
    steps : optimiser steps of a round, for models that are trained; None is their own setting.
    max_new, end : most tokens of a response, and the token that ends one; for token models.

    Raises ValueError for values out of range.

    Examples
    --------
    >>> Generation(share=0.25, responses=2).settings()
    {'temperature': 1.0}
    """

    share: float = 0.5
    lowest: bool = True
    responses: int = 4
    temperature: float | None = 1.0
    offline: float | None = None
    level: str = "response"
    steps: int | None = None
    max_new: int | None = None
    end: int | None = None

    def __post_init__(self):
        check_number(self.share, "share", least=0.0, strict=True, try_="share=0.5")
        if self.share > 1:
            raise ValueError(f"share is {self.share!r}; needed at most 1; try share=0.5")
        check_flag(self.lowest, "lowest")
        check_count(self.responses, "responses", try_=4)
        if self.temperature is not None:
            try_ = "temperature=1.0, or None for the most likely response"
            check_number(self.temperature, "temperature", least=0.0, strict=True, try_=try_)
        if self.offline is not None:
            check_number(self.offline, "offline", least=0.0, try_="offline=0.5")
            if self.offline >= 1:
                raise ValueError(f"offline is {self.offline!r}; needed less than 1; try 0.5")
        check_choice(self.level, "level", LEVELS)
        for name in ("steps", "max_new"):
            if getattr(self, name) is not None:
                check_count(getattr(self, name), name, try_=50)
        if self.end is not None:
            check_count(self.end, "end", least=0, try_=0)

    def settings(self) -> dict[str, Any]:
        """What the model's `generate` is given: the temperature, and what was set for tokens."""
        given = {"max_new": self.max_new, "end": self.end}
        given = {name: value for name, value in given.items() if value is not None}
        return {"temperature": self.temperature} | given


def refine(
    problem: Problem,
    method: Any,
    rounds: int = 3,
    *,
    generation: Generation | None = None,
    offline: Selection | None = None,
    score: Callable[[Any], float] | None = None,
    seed: int = 0,
    callback: Callable[[int, Refinement], Any] | None = None,
    checkpoint: str | Path | None = None,
) -> Refinement:
    """Offline selection, then `rounds` rounds of generation and adaptation.

    Parameters
    ----------
    problem : a `Problem` whose model can generate: `TransformerLM` or `LinearGaussian`.
    method : how weights are found, offline and online: `BMO()`, `Penalty()`, or a baseline.
    rounds : >= 0; with 0 the result is that of `learn_weights`.
    generation : see `Generation`; None takes its defaults.
    offline : the selection to start from, where ``learn_weights(problem, method)`` has run already;
        a checkpoint has one of its own.
    score : theta -> a number to be recorded each round, such as the share of right responses.
    seed : seeds the selection and every round.
    callback : called as ``callback(round, refinement)`` after each round; True stops.
    checkpoint : folder for the result after each round, and to go on from it. A run that stopped
        goes on with the next round, and may be given more rounds than before.

    Returns
    -------
    Refinement : `selection` is that of the last round, `offline` that before the first. A selection
        that DIVERGED is the last one: no round follows it.

    Raises
    ------
    ValueError : for arguments out of range, a model that cannot generate, a method without
        weights for what it generates, an offline selection of another problem or method, no
        question left to regenerate, nothing generated at all, or a checkpoint of another run, or of
        more rounds.

    Examples
    --------
    >>> import numpy as np, bdtheory as bdt
    >>> from bdtheory.models import LinearGaussian
    >>> model = LinearGaussian(s=0.1, start=np.array([0.0, 7.0]))
    >>> X, y = np.eye(2), np.array([5.0, 5.0])
    >>> problem = bdt.Problem(model, train=(X, y), val=(X[:1], np.ones(1)))
    >>> online = bdt.Generation(share=1.0, temperature=None, responses=1)
    >>> found = bdt.refine(problem, bdt.BMO(gamma=2.0), rounds=1, generation=online)
    >>> found.selection.theta.round(6).tolist()        # moved in what validation sees, C10
    [0.5, 7.0]
    """
    generation = Generation() if generation is None else generation
    _check(problem, method, rounds, seed)
    _check_generation(problem, generation)
    if offline is not None:
        _check_offline(problem, method, offline)
    run = Rounds(problem, method, generation, score, seed)
    store = None
    if checkpoint is not None:
        more = {"generation": repr(generation), "score": str(score is not None)}
        store = Checkpoint(checkpoint, problem, method, seed, **more)
    if store is None or not store.resume(run):
        first = learn_weights(problem, method, seed=seed) if offline is None else offline
        run.found = Refinement(first, first)
        if store is not None:
            store.save(run)  # a folder that cannot be written is found out now
    if run.found.rounds > rounds:
        raise ValueError(
            f"checkpoint {checkpoint} is of {run.found.rounds} rounds; needed at most rounds = "
            f"{rounds}; try rounds={run.found.rounds}, or another folder"
        )
    while run.found.rounds < rounds and run.found.selection.status is not Status.DIVERGED:
        run.advance()
        if store is not None:
            store.save(run)
        if callback is not None and callback(run.found.rounds, run.found):
            break
    return run.found


def _check(problem: Problem, method: Any, rounds: int, seed: int) -> None:
    check_count(rounds, "rounds", least=0, try_=3)
    check_count(seed, "seed", least=0, try_=0)
    if not isinstance(problem, Problem):
        raise ValueError(
            f"problem is {type(problem).__name__}; needed a Problem; "
            "try Problem(model, train=(prompts, responses), val=...)"
        )
    if not hasattr(problem.model, "generate"):
        raise ValueError(
            f"{type(problem.model).__name__} cannot generate responses; needed TransformerLM or "
            "LinearGaussian; try learn_weights for selection alone"
        )
    if problem.model.initial_theta(seed) is None:
        raise ValueError(
            f"{type(problem.model).__name__} has no start; needed theta of a model that generates "
            "first; try LinearGaussian(s, start=theta_0)"
        )
    if not hasattr(method, "online") or isinstance(method, type):
        raise ValueError(
            f"method is {method!r}; needed one that weighs generated responses; "
            "try BMO() or Penalty()"
        )
    if not hasattr(problem.model, "training") and not isinstance(method, BMO):
        raise ValueError(
            f"method is {type(method).__name__} with {type(problem.model).__name__}; needed "
            "closed-form weights, since the round is one exact fit; try BMO(gamma=1.0)"
        )


def _check_offline(problem: Problem, method: Any, offline: Any) -> None:
    if not isinstance(offline, Selection):
        raise ValueError(
            f"offline is {type(offline).__name__}; needed a Selection; "
            "try learn_weights(problem, method)"
        )
    got, needed = (len(offline.weights), offline.method), (problem.N, as_text(method))
    if got != needed:
        raise ValueError(
            f"offline has {got[0]} weights by {got[1]}; needed {needed[0]} by {needed[1]}; "
            "try learn_weights(problem, method) with these"
        )


def _check_generation(problem: Problem, generation: Any) -> None:
    if not isinstance(generation, Generation):
        raise ValueError(
            f"generation is {generation!r}; needed a Generation; try Generation(share=0.5)"
        )
    for name in ("steps", "max_new", "end"):
        if getattr(generation, name) is not None and not hasattr(problem.model, "training"):
            raise ValueError(
                f"generation has {name}={getattr(generation, name)}, which "
                f"{type(problem.model).__name__} has no use for; needed a TransformerLM; "
                f"try Generation without {name}"
            )
