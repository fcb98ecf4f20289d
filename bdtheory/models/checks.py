"""Checks of model and method arguments: what was got, what was needed, what to try."""

from __future__ import annotations

import math
import numbers
from typing import Any


def check_number(value: Any, name: str, *, least: float, strict: bool = False, try_: str) -> None:
    """A finite real number >= least (> least where strict)."""
    bound = f"a finite number {'>' if strict else '>='} {least:g}"
    good = (
        isinstance(value, numbers.Real)
        and not isinstance(value, bool)
        and math.isfinite(value)
        and (float(value) > least if strict else float(value) >= least)
    )
    if not good:
        raise ValueError(f"{name} is {value!r}; needed {bound}; try {try_}")


def check_ridge(mu: Any) -> None:
    """mu >= 0, finite, and small enough that its square is."""
    check_number(mu, "mu", least=0.0, try_="mu=1e-3")
    if mu > 1e75:
        raise ValueError(f"mu is {mu!r}; needed at most 1e75; try mu=1e-3")


def check_count(value: Any, name: str, *, least: int = 1, try_: int) -> None:
    """A whole number >= least."""
    if not isinstance(value, numbers.Integral) or isinstance(value, bool) or int(value) < least:
        raise ValueError(
            f"{name} is {value!r}; needed a whole number >= {least}; try {name}={try_}"
        )


def check_flag(value: Any, name: str) -> None:
    """True or False."""
    if not isinstance(value, bool):
        raise ValueError(f"{name} is {value!r}; needed True or False; try {name}=False")


def check_choice(value: Any, name: str, choices: tuple[str, ...]) -> None:
    """One of the choices."""
    if value not in choices:
        raise ValueError(
            f"{name} is {value!r}; needed one of {', '.join(map(repr, choices))}; "
            f"try {name}={choices[0]!r}"
        )
