"""What the generators share: argument checks, the split, and sources that go bad as a whole."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..models.checks import check_count, check_flag, check_number
from .task import Pair


def check_seed(seed: Any) -> None:
    """A whole number >= 0."""
    check_count(seed, "seed", least=0, try_=0)


def check_share(value: Any, name: str, *, strict: bool = False) -> None:
    """A number in [0, 1]; in (0, 1) where strict."""
    try:
        check_number(value, name, least=0.0, strict=strict, try_=f"{name}=0.4")
        good = value < 1.0 if strict else value <= 1.0
    except ValueError:
        good = False
    if not good:
        bound = "0 < share < 1" if strict else "0 <= share <= 1"
        raise ValueError(f"{name} is {value!r}; needed {bound}; try {name}=0.4")


def check_kept(kept: dict[str, Any], conflicts: dict[tuple[str, str], str]) -> None:
    """Flags, and no two assumptions dropped together that exclude one another (each with why)."""
    for name, value in kept.items():
        check_flag(value, name)
    for (first, second), why in conflicts.items():
        if not kept[first] and not kept[second]:
            raise ValueError(
                f"{first} and {second} are both False; needed one of them, as {why}; "
                f"try {second}=True"
            )


def split(X: np.ndarray, y: np.ndarray, N: int, m: int) -> tuple[Pair, Pair, Pair | None]:
    """First N rows to train, the next m to validate, the rest to test (None where none is left)."""
    test = (X[N + m :], y[N + m :]) if len(X) > N + m else None
    return (X[:N], y[:N]), (X[N : N + m], y[N : N + m]), test


def sources(
    rng: np.random.Generator, N: int, n_groups: int, corrupt: float
) -> tuple[np.ndarray, np.ndarray]:
    """(groups, bad): sample i is from source i mod n_groups; round(corrupt n_groups) are bad.

    groups: int (N,); bad: bool (N,).
    """
    if n_groups > N:
        raise ValueError(
            f"n_groups is {n_groups}; needed at most one source per training sample, N = {N}; "
            f"try n_groups={N}"
        )
    groups = np.arange(N) % n_groups
    chosen = rng.permutation(n_groups)[: round(corrupt * n_groups)]
    return groups, np.isin(groups, chosen)
