"""Runs the arms of claims over seeds and turns what they measured into verdicts.

Verdicts, in this order:

    contradicted   a claim, control or recovery number lies outside its band for some seed
    untested       an arm raised, or is missing: the message says which
    untested       the vacuity guard lies outside its band: there was nothing to see
    supported      every number of every arm lies in its band for every seed

Every seed counts, not a median: a claim about a mean draws its own sample within one seed.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import dataclass
from itertools import chain
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from types import ModuleType
from typing import Any

from threadpoolctl import threadpool_limits

from bdtheory.launched import end_with_parent

from .claim import KINDS, WORST, Claim, Expect, kind_of, labelled
from .coq import proof_of

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Result:
    """A row of the claims table. The fields are the keys of the JSON file, in its order.

    Attributes
    ----------
    verdict : "supported", "contradicted" or "untested".
    margin : the least distance of a number to its band's nearest edge, in band widths, over all
        arms and seeds; negative outside; 0 where nothing was measured.
    control, recovery : whether each control failed as predicted, and the claim came back after.
    details : "message" (what raised, is missing or is vacuous, else ""), and "measurements": for
        every quantity of every arm its median, its interval (least and greatest over the seeds),
        band and margin.
    seconds : CPU time of all seeds.
    proof : "machine-checked" by this machine, "not compiled here", "on paper" or "none".
    """

    claim: str
    title: str
    source: str
    verdict: str
    margin: float
    control: bool
    recovery: bool
    details: dict[str, Any]
    seeds: int
    seconds: float
    proof: str

    @property
    def acceptable(self) -> bool:
        """Supported; or contradicted by nothing but arms named as empirical, and none raised."""
        failed = [row["arm"] for row in self.details["measurements"] if not row["holds"]]
        if self.verdict == "contradicted" and not self.details["message"]:
            return all("empirically" in arm for arm in failed)
        return self.verdict == "supported"


@dataclass(frozen=True)
class Entry:
    """A claim file: its module name, its `Claim`, and the labelled parts of its docstring."""

    module: str
    claim: Claim
    parts: dict[str, str]


def discover() -> list[Entry]:
    """All claims, by their files check_c??_*.py in this folder, sorted by name."""
    entries = []
    for path in sorted(FOLDER.glob("check_c??_*.py")):
        module = importlib.import_module(f"{__package__}.{path.stem}")
        try:
            entries.append(Entry(module.__name__, module.CLAIM, labelled(module.__doc__ or "")))
        except (AttributeError, ValueError) as error:
            raise ValueError(f"{path.name} is no claim file: {error}") from error
        if module.CLAIM.name.lower() != path.stem[6:9]:
            raise ValueError(f"{path.name} has the claim {module.CLAIM.name}; needed the same name")
    return entries


def arms(module: ModuleType) -> dict[str, Callable[[int, Expect], None]]:
    """The arms of a claim file, in its order, by name."""
    return {name: arm for name, arm in vars(module).items() if kind_of(name)}


def run_block(module: str, block: Sequence[int], seeds: int) -> list[dict[str, Any]]:
    """`run_seed` for every seed of the block. What a worker does."""
    return [run_seed(module, seed, seeds) for seed in block]


def run_seed(module: str, seed: int, seeds: int = 1) -> dict[str, Any]:
    """Every arm of one claim at one seed of `seeds`: rows, errors, and CPU seconds.

    An arm that raises leaves an error, and the others still run. One BLAS thread, so that numbers
    do not depend on how many workers share the processor.
    """
    start, rows, errors = time.process_time(), [], []
    with threadpool_limits(1):
        for name, arm in arms(importlib.import_module(module)).items():
            expect = Expect(seeds=seeds)
            try:
                arm(seed, expect)
                if not expect.measurements:
                    raise ValueError("the arm measured nothing; needed a call of expect")
            except Exception as error:
                errors.append(f"{name}, seed {seed}: {type(error).__name__}: {error}")
            rows += [(name, found) for found in expect.measurements]
    return {"rows": rows, "errors": errors, "seconds": time.process_time() - start}


def run(entries: Sequence[Entry], *, seeds: int, jobs: int, tick: Callable = print) -> Iterator:
    """One `Result` for each claim, in order, as they are ready; tick(claim, seeds done) between.

    The seeds are 0 .. seeds - 1, or fewer (`Claim.most_seeds`); with `jobs` > 1 the pairs (claim,
    seed) go to worker processes, those of a claim with `batch` to one.
    """
    counts = [entry.claim.seeds(seeds) for entry in entries]
    tasks = [
        (entry.module, block, count)
        for entry, count in zip(entries, counts, strict=True)
        for block in blocks(entry.claim, count)
    ]
    context = get_context("spawn")
    pool = ProcessPoolExecutor(jobs, context, initializer=end_with_parent) if jobs > 1 else None
    try:
        outcomes = chain.from_iterable(_outcomes(pool, tasks))
        for entry, count in zip(entries, counts, strict=True):
            done = []
            for _ in range(count):
                done.append(next(outcomes))
                tick(entry.claim.name, len(done))
            yield judge(entry.claim, done)
    finally:
        if pool:
            pool.shutdown(cancel_futures=True)


def _outcomes(pool: Executor | None, tasks: list[tuple]) -> Iterator[list[dict[str, Any]]]:
    """run_block of each task, in order; a pool begins with the longest, so that none is left over.

    The longest are the blocks of most seeds.
    """
    if pool is None:
        return (run_block(*task) for task in tasks)
    longest_first = sorted(range(len(tasks)), key=lambda k: -len(tasks[k][1]))
    futures = {k: pool.submit(run_block, *tasks[k]) for k in longest_first}
    return (futures[k].result() for k in range(len(tasks)))


def blocks(claim: Claim, seeds: int) -> list[list[int]]:
    """The seeds as one task each; as one task where the claim asks for it (`Claim.batch`)."""
    return [list(range(seeds))] if claim.batch else [[seed] for seed in range(seeds)]


def judge(claim: Claim, outcomes: Sequence[dict[str, Any]]) -> Result:
    """The verdict on a claim from what `run_seed` gave for each seed."""
    rows = summarise(outcomes)
    good = {kind: [row["holds"] for row in rows if row["kind"] == kind] for kind in KINDS.values()}
    errors = [error for outcome in outcomes for error in outcome["errors"]]
    missing = [prefix for prefix, kind in KINDS.items() if not good[kind]]
    message = errors[0] if errors else f"no arm {', '.join(missing)}" if missing else ""
    if not all(good["holds"] + good["control"] + good["recovery"]):
        verdict = "contradicted"
    elif message:
        verdict = "untested"
    elif not all(good["vacuity"]):
        verdict, message = "untested", "vacuous: the guard found nothing to see"
    else:
        verdict = "supported"
    proof, theorems = proof_of(claim)
    return Result(
        claim=claim.name,
        title=claim.title,
        source=claim.source,
        verdict=verdict,
        margin=min((row["margin"] for row in rows), default=0.0),
        control=bool(good["control"]) and all(good["control"]),
        recovery=bool(good["recovery"]) and all(good["recovery"]),
        details={"message": message, "measurements": rows, "theorems": theorems},
        seeds=len(outcomes),
        seconds=round(sum(outcome["seconds"] for outcome in outcomes), 2),
        proof=proof,
    )


def summarise(outcomes: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row per arm and quantity, over all seeds."""
    found: dict[tuple[str, str], list] = {}
    for outcome in outcomes:
        for arm, measurement in outcome["rows"]:
            found.setdefault((arm, measurement.quantity), []).append(measurement)
    return [_row(arm, quantity, list_) for (arm, quantity), list_ in found.items()]


def _row(arm: str, quantity: str, found: list) -> dict[str, Any]:
    """Median, interval and margin of one quantity; bands may move with the seed: the widest edges.

    JSON has no nan and no infinity: values that are not finite are written as None.
    """
    values = sorted(m.value for m in found)
    finite = all(abs(value) < float("inf") for value in values)
    return {
        "arm": arm,
        "kind": kind_of(arm),
        "quantity": quantity,
        "median": median(values) if finite else None,
        "interval": [values[0], values[-1]] if finite else None,
        "band": [min(m.band.low for m in found), max(m.band.high for m in found)],
        "margin": min((m.band.margin(m.value) for m in found), default=WORST),
        "holds": all(m.holds for m in found),
    }
