"""What a claim file is made of: `Claim` names it, its arms call `expect(quantity, value, Band)`.

An *arm* is a function `test_...(seed, expect)`. pytest calls it with a strict `expect`, which
raises at once; the runner with one that records. The name says what an arm is for:

    test_holds...               the claim, measured
    test_fails_without_<what>   a control: one assumption dropped, the predicted failure measured
    test_recovers...            the control's instance with the assumption restored
    test_not_vacuous...         a guard: there was something to see

An arm whose name contains `empirically` may fail without failing the run (C12, a part of C11).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import SupportsFloat

import numpy as np

# What may be said of a claim, by its source (theory.md, "Where the claims come from").
SOURCES = {
    "v1": "the abstract's claim, arXiv:2511.21056v1",
    "v2": "the abstract's claim, arXiv:2511.21056v2",
    "v1r": "as reported of arXiv:2511.21056v1 by public summaries",
    "here": "shown here, by the elementary argument in the statement",
}
LABELS = ("Claim", "Assumptions", "Check", "Control", "Not covered", "Runtime")
KINDS = {
    "test_holds": "holds",
    "test_fails_without_": "control",
    "test_recovers": "recovery",
    "test_not_vacuous": "vacuity",
}
WORST = -1e9  # the margin of a value that is not finite, or far outside: JSON has no infinity


@dataclass(frozen=True)
class Band:
    """The values low <= value <= high, with low < high. Always two-sided.

    A quantity that is claimed to be 0, or is >= 0 by its construction and claimed to be <= tol,
    gets `Band.around(0, tol)`: the margin then counts to the edge that means something. One that
    spans decades is measured by its logarithm.

    Examples
    --------
    >>> 0.9 in Band.around(1.0, 0.2), 1.3 in Band.around(1.0, 0.2), float("nan") in Band(0.0, 1.0)
    (True, False, False)
    """

    low: float
    high: float

    def __post_init__(self):
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ValueError(
                f"the band is [{self.low}, {self.high}]; needed finite edges, low < high; "
                "try Band.around(value, tol)"
            )

    @classmethod
    def around(cls, centre: float, tol: float) -> Band:
        """centre - tol <= value <= centre + tol."""
        return cls(centre - tol, centre + tol)

    def __contains__(self, value: SupportsFloat) -> bool:
        return self.low <= float(value) <= self.high

    def margin(self, value: float) -> float:
        """The distance of value to the nearest edge in band widths, at most 1/2; < 0 outside.

        Examples
        --------
        >>> Band(0.0, 4.0).margin(1.0), Band(0.0, 4.0).margin(6.0)
        (0.25, -0.5)
        """
        inside = min(value - self.low, self.high - value) / (self.high - self.low)
        return max(float(inside), WORST) if math.isfinite(value) else WORST


@dataclass(frozen=True)
class Measurement:
    """One number that an arm measured, and the band in which the claim puts it."""

    quantity: str
    value: float
    band: Band

    @property
    def holds(self) -> bool:
        return self.value in self.band

    def __str__(self) -> str:
        low, high = self.band.low, self.band.high
        return f"{self.quantity} is {self.value:.6g}; needed {low:.6g} to {high:.6g}"


@dataclass
class Expect:
    """Records measurements; where `strict`, raises AssertionError at the first out of its band.

    `seeds`: 0 .. seeds - 1 will be asked for, so that a claim with `batch` can run them together.
    """

    strict: bool = False
    seeds: int = 1
    measurements: list[Measurement] = field(default_factory=list)

    def __call__(self, quantity: str, value: SupportsFloat, band: Band) -> None:
        found = Measurement(quantity, float(value), band)
        self.measurements.append(found)
        if self.strict and not found.holds:
            raise AssertionError(str(found))


@dataclass(frozen=True)
class Claim:
    """The name of a claim, and where it comes from.

    Attributes
    ----------
    name : "C01" to "C19", as in theory.md and the file's name.
    title : a few words for the table.
    source : tags of `SOURCES`, such as "v1" or "v2, v1r".
    figure : base name of the figure that shows it, "" where there is none.
    batch : its seeds run in one worker: they are the starts of one batch (`Expect.seeds`), or have
        a preparation in common.
    proof : names of the theorems in proofs/*.v that carry its core; () where the argument is on
        paper only (theory.md), None where there is none.
    most_seeds : where each seed is a training run of minutes, how many the runner takes at most;
        pytest then takes none. None: as many as asked for.

    Examples
    --------
    >>> claim = Claim("C04", "BDS beats direct mixing", "v1")
    >>> bool(claim.rng(0).random() == claim.rng(0).random())
    True
    """

    name: str
    title: str
    source: str
    figure: str = ""
    proof: tuple[str, ...] | None = ()
    batch: bool = False
    most_seeds: int | None = None

    def __post_init__(self):
        if not re.fullmatch(r"C\d\d", self.name):
            raise ValueError(f"the claim is {self.name!r}; needed a name such as C04")
        for tag in self.source.split(", "):
            if tag not in SOURCES:
                raise ValueError(f"the source is {tag!r}; needed one of {', '.join(SOURCES)}")
        if self.most_seeds is not None and self.most_seeds < 1:
            raise ValueError(f"most_seeds is {self.most_seeds}; needed at least 1; try 5, or None")

    def seeds(self, asked: int) -> int:
        """How many seeds the runner takes where `asked` are asked for.

        Examples
        --------
        >>> Claim("C12", "Online data", "v1", most_seeds=5).seeds(20)
        5
        """
        return asked if self.most_seeds is None else min(asked, self.most_seeds)

    def rng(self, seed: int, stream: int = 0) -> np.random.Generator:
        """Random numbers that depend on the claim, the seed and the stream, and on nothing else.

        Controls and their recovery take stream=1: one instance, which `test_holds` has not seen.
        """
        return np.random.default_rng([int(self.name[1:]), seed, stream])


def kind_of(name: str) -> str | None:
    """What the arm of that name is for, one of `KINDS`; None for any other function.

    Examples
    --------
    >>> kind_of("test_fails_without_A2"), kind_of("measure")
    ('control', None)
    """
    return next((kind for prefix, kind in KINDS.items() if name.startswith(prefix)), None)


def labelled(docstring: str) -> dict[str, str]:
    """The six labelled parts of a claim file's docstring, by label.

    Raises ValueError where one is missing, empty, or out of order.
    """
    pattern = rf"^({'|'.join(LABELS)}): *(.*?)(?=^(?:{'|'.join(LABELS)}):|\Z)"
    parts = re.findall(pattern, docstring, flags=re.MULTILINE | re.DOTALL)
    found = {label: re.sub(r"\s+", " ", text).strip() for label, text in parts}
    if tuple(found) != LABELS or len(parts) != len(LABELS) or not all(found.values()):
        raise ValueError(
            f"the docstring has {', '.join(label for label, _ in parts) or 'no labelled part'}; "
            f"needed in this order {', '.join(LABELS)}; try one paragraph for each"
        )
    return found
