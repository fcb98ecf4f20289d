"""Rows, words and files of `benchmarks.bilevel`: what was measured, and what was asked for."""

from __future__ import annotations

import csv
import json
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from . import cost, race
from .race import Track

FIRST = "Implicit()"  # the solver that the others are compared with
TIGHT = "Implicit, tight"
ASKED_RATIO = {"P2": 4.0, "P3": 8.0}  # of plain's t99 to that of `Implicit()`
ASKED_LOSS = {("P3", FIRST): 0.0910, ("P3", TIGHT): 0.0903}


class Race(NamedTuple):
    """All that was measured on one problem.

    best, source: the least validation loss known and where it was seen. target: the L_val of t99.
    again: seconds to t99 of our own solvers, (repeats,) each, run in turn.
    """

    name: str
    tracks: list[Track]
    uniform: float
    best: float
    source: str
    target: float
    again: dict[str, np.ndarray]


def rows_of(found: Race) -> list[dict[str, Any]]:
    """One row per solver: times in CPU seconds, losses by exact re-fits."""
    ours, rows = found.again.get(FIRST, np.array([np.nan])), []
    for track in found.tracks:
        # A solver that ran once has one time against each repeat of ours; the others are paired.
        seconds = found.again.get(track.solver, np.full(len(ours), track.t99(found.target)))
        row: dict[str, Any] = {"problem": found.name, "solver": track.solver}
        row |= dict(zip(("t99_low", "t99", "t99_high"), quartiles(seconds), strict=True))
        ratios = quartiles(seconds / ours)
        row |= dict(zip(("times_low", "times_implicit", "times_high"), ratios, strict=True))
        row["first_call"] = track.compile
        row["end"] = float(track.seconds[-1]) if len(track.seconds) else np.nan
        row |= {"val_loss": track.best(), "test_loss": test_loss(track), "own_off": own_off(track)}
        row["gradient_error"] = track.error
        rows.append(row | {"reason": track.reason, "detail": track.detail})
    return rows


def quartiles(values: np.ndarray) -> list[float]:
    """Lower quartile, median and upper quartile; all infinite, or nan, where a value is."""
    if not np.isfinite(values).all():
        return [float(np.max(values))] * 3
    return np.quantile(values, [0.25, 0.5, 0.75]).tolist()


def test_loss(track: Track) -> float:
    """The test loss at the re-fit of the point with the least validation loss."""
    if not np.isfinite(track.best()):
        return np.nan
    k = next(k for k, value in track.losses.items() if value == track.best())
    fit = race.refit(track.problem, track.points[k])
    return race.mean_loss(track.problem, fit.theta, track.problem.test)


def own_off(track: Track) -> float:
    """What the solver reports at its last point, less the exact re-fit there."""
    S = len(track.seconds)
    return track.own - track.loss(S - 1) if S else np.nan


# Words ------------------------------------------------------------------------------------------


def number(value: float, form: str) -> str:
    """The number; a dash where there is none."""
    return format(value, form) if np.isfinite(value) else "-"


def print_race(found: Race, rows: list[dict[str, Any]]) -> None:
    """The part of the table for one problem."""
    print(
        f"\n{found.name}: L_val uniform {found.uniform:.5f}, best known {found.best:.5f} "
        f"({found.source}), t99 at L_val <= {found.target:.5f}"
    )
    head = f"{'solver':<16}{'t99 s':>9}  {'quartiles':<17}{'x Implicit':>10}  {'quartiles':<14}"
    print(
        f"  {head}{'first':>7}{'end s':>7}{'L_val':>9}{'own off':>9}{'L_test':>8}{'grad err':>10}"
    )
    for row in rows:
        print(f"  {row['solver']:<16}" + (line(row) if not row["reason"] else skip(row)))


def skip(row: dict[str, Any]) -> str:
    return f"  skipped: {row['reason']}"


def line(row: dict[str, Any]) -> str:
    """A row after the solver's name."""
    t99 = "never" if np.isinf(row["t99"]) else number(row["t99"], ".4f")
    times = spread(row["t99_low"], row["t99_high"], ".4f")
    ratios = spread(row["times_low"], row["times_high"], ".2f")
    return (
        f"{t99:>9}  {times:<17}{number(row['times_implicit'], '.2f'):>10}  {ratios:<14}"
        f"{number(row['first_call'], '.2f'):>7}{number(row['end'], '.2f'):>7}"
        f"{number(row['val_loss'], '.5f'):>9}{number(row['own_off'], '.0e'):>9}"
        f"{number(row['test_loss'], '.4f'):>8}{number(row['gradient_error'], '.1e'):>10}"
    )


def spread(low: float, high: float, form: str) -> str:
    """Two quartiles, where there are repeats that differ."""
    return f"{low:{form}} to {high:{form}}" if np.isfinite(high) and low < high else ""


def print_costs(costs: list[cost.Cost]) -> None:
    """Cost against N, and the fitted exponents."""
    print(f"\nAn exact hypergradient, p = {cost.P}, m = {cost.M}, float64, CPU seconds")
    for row in costs:
        value = f"skipped: {row.reason}" if row.reason else f"{row.seconds:.4f}"
        print(f"  {row.model:<10} N = {row.N:>9,}  {value}")
    for model in cost.MODELS:
        rows = [row for row in costs if row.model == model]
        every = number(cost.exponent(rows), ".3f")
        large = number(cost.exponent(rows, cost.LARGE), ".3f")
        print(f"  {model:<10} seconds ~ N^{every}; from N = {cost.LARGE:,} ~ N^{large}")


def print_asked(rows: list[dict[str, Any]]) -> None:
    """Each number that was asked for, beside the one measured."""
    at = {(row["problem"], row["solver"]): row for row in rows}
    print("\nAsked for")
    for name, asked in ASKED_RATIO.items():
        if (name, "plain") in at:
            ratio = at[name, "plain"]["times_implicit"]
            says = verdict(ratio, asked, ratio >= asked, ".2f")
            print(f"  {name}: t99 of plain over that of {FIRST} at least {asked:g}: {says}")
    for (name, solver), asked in ASKED_LOSS.items():
        if (name, solver) in at:
            loss = at[name, solver]["val_loss"]
            says = verdict(loss, asked, loss <= asked, ".5f")
            print(f"  {name}: L_val of {solver} at most {asked:.4f}: {says}")
    for name in dict.fromkeys(row["problem"] for row in rows):
        peers = [at[name, peer] for peer in race.PEERS if (name, peer) in at]
        ran = [row for row in peers if np.isfinite(row["times_implicit"])]
        if ran:
            best = min(ran, key=lambda row: row["times_implicit"])
            says = verdict(best["times_implicit"], 1.0, best["times_implicit"] > 1.0, ".2f")
            print(f"  {name}: t99 of the fastest peer, {best['solver']}, over {FIRST}'s: {says}")


def verdict(value: float, asked: float, met: bool, form: str) -> str:
    """The value, and whether it is met or by which factor it is missed."""
    if not np.isfinite(value):
        return "not measured: one of the two did not get there within its budget"
    if met:
        return f"{value:{form}}, met"
    return f"{value:{form}}, missed by a factor of {max(value / asked, asked / value):.2f}"


# Files ------------------------------------------------------------------------------------------


def write(
    races: list[Race],
    rows: list[dict[str, Any]],
    costs: list[cost.Cost],
    seconds: float,
    out: Path,
) -> None:
    """bilevel.csv, the rows; bilevel.json, rows, costs, targets and versions."""
    with open(out / "bilevel.csv", "w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    names = ("uniform", "best", "source", "target")
    report = {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "versions": {name: version(name) for name in ("bdtheory", "numpy", "scipy")},
        "wall_seconds": seconds,
        "problems": {r.name: {k: json_value(getattr(r, k)) for k in names} for r in races},
        "rows": [{k: json_value(v) for k, v in row.items()} for row in rows],
        "costs": [{k: json_value(v) for k, v in row._asdict().items()} for row in costs],
    }
    (out / "bilevel.json").write_text(json.dumps(report, indent=1), encoding="utf-8")


def json_value(value: Any) -> Any:
    """The value, None for a number that is not finite."""
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    return value
