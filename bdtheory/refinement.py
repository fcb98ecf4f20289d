"""What self-refining gives: the selections before and after, and what happened in each round."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from . import saved
from .selection import Selection

HISTORY = ("round", "seconds", "val_loss", "score", "questions", "ess", "clipped", "empty")

COUNTS = ("round", "empty")  # whole numbers


@dataclass(eq=False)
class Refinement:
    """The result of `refine`.

    Attributes
    ----------
    offline : the `Selection` before the first round.
    selection : that of the last round, its weights over the pairs of that round: the offline ones,
        where they count, then the generated ones. The same as `offline` with no round.
    history : dict of equal-length arrays, one entry per round: `round` from 1; `seconds` (CPU);
        `val_loss`; `score`, nan without one; `questions`, exp of the entropy of the question
        masses; `ess` of the importance ratios at the round's end, and the share of them that was
        `clipped`; `empty`, questions for which nothing was generated, which stayed offline.
    examples : of every round a few dicts with `round`, `prompt`, `before` (offline), `after`.
    message : one sentence on how it went.

    Examples
    --------
    >>> import numpy as np, bdtheory as bdt
    >>> from bdtheory.models import LinearGaussian
    >>> model = LinearGaussian(s=0.1, start=np.zeros(1))
    >>> problem = bdt.Problem(model, train=([[1.0]], [3.0]), val=([[1.0]], [1.0]))
    >>> found = bdt.refine(problem, bdt.BMO(), rounds=2, generation=bdt.Generation(share=1.0))
    >>> found.history["round"].tolist(), found.history["val_loss"].shape
    ([1, 2], (2,))
    """

    offline: Selection
    selection: Selection
    history: dict[str, np.ndarray] = field(
        default_factory=lambda: {k: np.zeros(0, int if k in COUNTS else float) for k in HISTORY}
    )
    examples: list[dict[str, Any]] = field(default_factory=list)
    message: str = "no round: offline selection alone"

    @property
    def rounds(self) -> int:
        """Rounds done."""
        return len(self.history["round"])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Refinement):
            return NotImplemented
        mine, theirs = [self.offline, self.selection], [other.offline, other.selection]
        return (
            mine == theirs
            and (self.examples, self.message) == (other.examples, other.message)
            and self.history.keys() == other.history.keys()
            and all(np.array_equal(a, other.history[k], True) for k, a in self.history.items())
        )

    def __repr__(self) -> str:
        return f"Refinement({self.selection.method}, rounds={self.rounds}: {self.message})"

    def save(self, folder: str | os.PathLike) -> Path:
        """Write `refinement.json` and `arrays.npz` into `folder`; all or nothing.

        Raises FileExistsError where the folder holds something else than a refinement, or is to be
        below a file.
        """
        return saved.save(folder, "refinement", *self.parts())

    @staticmethod
    def load(folder: str | os.PathLike) -> Refinement:
        """The refinement that `save` wrote. Raises ValueError where there is none."""
        return saved.load(folder, "refinement", Refinement.of_parts)

    def parts(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Everything in it: as JSON types, and as NumPy arrays by name."""
        facts: dict[str, Any] = {"examples": self.examples, "message": self.message}
        arrays = {f"rounds/{name}": np.asarray(a) for name, a in self.history.items()}
        for name in ("offline", "selection"):
            facts[name], own = getattr(self, name).parts()
            arrays |= {f"{name}/{key}": a for key, a in own.items()}
        return facts, arrays

    @staticmethod
    def of_parts(facts: dict[str, Any], arrays: dict[str, np.ndarray]) -> Refinement:
        """The refinement that `parts` took apart."""

        def part(name: str) -> dict[str, np.ndarray]:
            return {k.partition("/")[2]: a for k, a in arrays.items() if k.startswith(name + "/")}

        offline, selection = (
            Selection.of_parts(facts[name], part(name)) for name in ("offline", "selection")
        )
        return Refinement(offline, selection, part("rounds"), facts["examples"], facts["message"])
