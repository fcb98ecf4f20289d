"""Solvers of data cleaning on four problems: seconds until 99% of the gap is closed, one thread.

1. Each solver runs once for its budget. Peers run in the environment of `make bench-env`.
2. Its points are re-fitted exactly; only those losses count. The best known loss is the least of
   this run's and of `KNOWN`; t99 is the time of the first point that has closed 99% of the gap
   from uniform weights to it.
3. Implicit(), plain and handmade run again, in turn, to their own t99: medians, quartiles, and
   ratios repeat by repeat.
4. An exact hypergradient is timed at N = 1e3 to 1e6.

Printed at the end, and in the folder as bilevel.csv, bilevel.json, loss_against_time and
cost_against_size (.svg, .png). Times are CPU seconds, without compilation ("first": what the first
call takes longer than the next) and without what it takes to note a point. "own off": the
validation loss that the solver itself reports at its end, less the exact one. "grad err": the
relative error of its first gradient, that in the logits at uniform weights.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

import bdtheory as bdt

from . import cost, drawing, race, table
from .problems import NAMES, make, problem_of
from .race import OURS, Track
from .table import FIRST, TIGHT, Race

# Least validation losses seen elsewhere, seed 0, at the upper end of their rounding.
KNOWN = {"P1": 0.004545, "P2": 0.325815, "P3": 0.090055}
BUDGET = {"P1": 2.0, "P2": 4.0, "P3": 12.0, "P4": 2.0}  # CPU seconds for each solver
REPEATS = 5


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.bilevel",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add, peers = parser.add_argument, list(race.PEERS)
    add("--problems", nargs="+", choices=NAMES, default=list(NAMES), help="default: all four")
    text = f"of {', '.join(peers)} (default: all); the option alone: none"
    add("--peers", nargs="*", choices=peers, default=peers, metavar="PEER", help=text)
    add("--quick", action="store_true", help="a tenth of the budgets, one repeat, two small N")
    add("--no-scaling", action="store_true", help="leave out the cost against N")
    add("--search", action="store_true", help="only: t99 of the settings in each peer's GRID")
    text = "where the files go (default: %(default)s)"
    add("--out", type=Path, default=Path("build/benchmarks"), metavar="FOLDER", help=text)
    return parser.parse_args(arguments)


def say(text: str) -> None:
    """A line of progress on standard error."""
    print(text, file=sys.stderr, flush=True)


def race_on(name: str, peers: list[str], quick: bool) -> Race:
    """All that is measured on one problem."""
    budget = BUDGET[name] * (0.1 if quick else 1.0)
    say(f"{name}: each solver for at most {budget:g} CPU s")
    tracks = run_all(name, peers, budget)
    uniform = race.uniform_loss(tracks[0].problem)
    best, source = best_known(name, tracks)
    target = race.target_of(uniform, best)
    say(f"  {name}  {', '.join(OURS)} again, in turn")
    again = repeat(tracks, target, 1 if quick else REPEATS)
    return Race(name, tracks, uniform, best, source, target, again)


def run_all(name: str, peers: list[str], budget: float) -> list[Track]:
    """Every solver once on the problem, its points surveyed."""
    problem, tracks = problem_of(make(name)), []
    tight = {TIGHT: lambda problem: race.implicit(problem, race.TIGHT)}
    for solver, build in (OURS | tight).items():
        tracks.append(attempt(problem, solver, build, budget))
        survey(name, tracks[-1])
    for peer in peers:
        tracks.append(race.run_peer(problem, name, peer, budget))
        survey(name, tracks[-1])
    return tracks


def attempt(problem: bdt.Problem, solver: str, build: race.Make, budget: float) -> Track:
    """The run of a solver of ours; one that fails is a row that says so."""
    try:
        return race.run_ours(problem, solver, build, budget)
    except Exception as error:
        return race.skipped(problem, solver, f"{type(error).__name__}: {error}")


def survey(name: str, track: Track) -> None:
    """Re-fit points of the track, and say how it ended."""
    track.survey()
    end = f"skipped: {track.reason}" if track.reason else f"L_val {track.best():.5f}"
    say(f"  {name}  {track.solver:<16} {end}")


def best_known(name: str, tracks: list[Track]) -> tuple[float, str]:
    """The least validation loss known, and where it was seen."""
    best = min(tracks, key=Track.best)
    if best.best() < KNOWN.get(name, np.inf):
        return best.best(), f"{best.solver}, this run"
    return KNOWN[name], "measured elsewhere"


def repeat(tracks: list[Track], target: float, repeats: int) -> dict[str, np.ndarray]:
    """CPU seconds to t99 of each solver of ours that gets there, (repeats,), run in turn."""
    runs = {}
    for track in tracks:
        k = track.first(target)
        if track.solver in OURS and k is not None:
            runs[track.solver] = OURS[track.solver](track.problem), k
    took = [{s: race.seconds_to(run, k) for s, (run, k) in runs.items()} for _ in range(repeats)]
    return {solver: np.array([each[solver] for each in took]) for solver in runs}


def search(problems: list[str], peers: list[str]) -> None:
    """Print t99 of every setting in each peer's grid; the best known loss is plain's or `KNOWN`."""
    grids = {peer: race.grid_of(peer) for peer in peers}
    for name in problems:
        problem = problem_of(make(name))
        tracks = [
            attempt(problem, solver, OURS[solver], BUDGET[name]) for solver in (FIRST, "plain")
        ]
        for track in tracks:
            track.survey()
        target = race.target_of(race.uniform_loss(problem), best_known(name, tracks)[0])
        for peer, grid in grids.items():
            start = time.perf_counter()
            for settings in grid:
                track = race.run_peer(problem, name, peer, BUDGET[name], settings=settings)
                track.survey()
                t99 = track.reason or f"t99 {table.number(track.t99(target), '.4f'):>7} s"
                print(f"{name} {peer:<11} {t99}  L_val {track.best():.5f}  {settings}", flush=True)
            print(f"{name} {peer:<11} searched in {time.perf_counter() - start:.0f} s", flush=True)


def main(arguments: list[str] | None = None) -> None:
    args, start = parse(arguments), time.perf_counter()
    with threadpool_limits(1):
        if args.search:
            search(args.problems, args.peers)
            return
        args.out.mkdir(parents=True, exist_ok=True)
        races = [race_on(name, args.peers, args.quick) for name in args.problems]
        costs: list[cost.Cost] = []
        if not args.no_scaling:
            say("an exact hypergradient against N")
            costs = list(cost.costs(cost.QUICK if args.quick else cost.SIZES))
    rows = {found.name: table.rows_of(found) for found in races}
    for found in races:
        table.print_race(found, rows[found.name])
    if costs:
        table.print_costs(costs)
        drawing.cost_against_size(costs, args.out)
    every = [row for each in rows.values() for row in each]
    table.print_asked(every)
    drawing.loss_against_time(races, args.out)
    seconds = time.perf_counter() - start
    table.write(races, every, costs, seconds, args.out)
    print(f"\n{seconds:.0f} s in all; table and figures in {args.out}")


if __name__ == "__main__":
    main()
