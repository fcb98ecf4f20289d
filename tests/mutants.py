"""Would the tests notice a fault? Faults are put into the core one at a time, and its tests run.

    make mutants                                             # all modules, 200 mutants each
    python tests/mutants.py weights ridge --sample 50        # some; --help

Each module has tests of its own, of at most 10 seconds. A mutant is killed where one of them fails
or takes three times as long (CPU time). The sample is drawn by the seed. What has been found lies
in build/mutants, with the table, table.md: a run that was interrupted goes on, and a module is
begun anew where it or its tests have changed. Mutants that change nothing a test could see are
listed in tests/equivalent_mutants.json, with the reason, and are left out, unless a test does see
them. The other survivors are printed, but for those that tests/surviving_mutants.json gives a
reason for; tests/README.md lists those (--reasons).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shlex
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from mutating import ROOT, Mutant, mutants_of, preload, run_tests

LONGEST = 10.0  # seconds of the unchanged tests of a module
ASKED = 0.9  # share of mutants that are to be killed

# Modules of the core, and their own tests, as a command line of pytest.
GRADIENTS = "tests/test_hypergradient.py"
METHODS, REFINED = "tests/test_methods.py", "tests/test_refining.py"
MODULES = {
    "weights": "tests/test_weights.py bdtheory/weights.py tests/test_given.py",
    "hypergradient": f"{GRADIENTS} bdtheory/hypergradient.py tests/test_models.py"
    " -k 'not three_routes and not central and not path'",
    "ratios": "tests/test_ratios.py",
    "usefulness": "tests/test_usefulness.py",
    "models/ridge": f"{GRADIENTS} tests/test_models.py tests/test_ridge.py"
    " -k 'not path and not tolerance and not factor and not precondition and not three_routes'",
    "models/logistic": f"{GRADIENTS} tests/test_models.py -k 'not routes'",
    "models/newton": f"{GRADIENTS} tests/test_models.py tests/test_newton.py"
    " -k 'not routes and not most_paths'",
    "models/attention": "tests/test_attention.py",
    "methods/outer": "tests/test_outer.py",
    "methods/inverse": "tests/test_inverse.py",
    "methods/secondorder": "tests/test_secondorder.py",
    "methods/selectors": f"tests/test_training.py {REFINED}"
    " -k 'mirror or closed or fixed or simplex or logit or ranked or moves_nothing or levels_a'",
    "methods/online": f"{REFINED}"
    " -k 'by_hand or importance or not_seen or overflow or level or same_pass or ratio or single'",
    "methods/mixing": f"{METHODS} tests/test_given.py"
    " -k '(mixing or uniform or validationonly or arguments) and not never and not tau'",
    "methods/bmo": f"{METHODS} -k '(bmo or closed or arguments or minimiser) and not never'",
    "methods/penalty": f"{METHODS} -k '(penalty or arguments or minimiser) and not never'",
    "methods/implicit": f"{METHODS} tests/test_secondorder.py tests/test_inverse.py"
    " bdtheory/methods/implicit.py"
    " -k '(implicit or regularised or lbfgs or worse_than or large_tau or at_zero or best_of or"
    " promises or arguments or minimiser) and not never and not what_is and not torch'",
    "methods/crossfit": "tests/test_auto.py"
    " -k '(fold or held or minimise or error) and not closes and not seed and not once'",
    "methods/given": "tests/test_given.py",
}


@dataclass
class Row:
    """What became of a module's mutants: counts, and CPU seconds."""

    module: str
    killed: int = 0
    survivors: int = 0
    unexplained: int = 0
    equivalent: int = 0
    seconds: float = 0.0

    @property
    def mutants(self) -> int:
        return self.killed + self.survivors

    @property
    def share(self) -> float:
        return self.killed / max(self.mutants, 1)


COUNTS = ("killed", "survivors", "unexplained", "equivalent", "seconds")


def results(module: str, sample: int, seed: int, out: Path) -> Iterator[dict]:
    """The mutants of the sample with what became of each: Mutant but text, survived, seconds."""
    path, tests = ROOT / f"bdtheory/{module}.py", shlex.split(MODULES[module])
    source = path.read_text()
    texts = [source, *(Path(ROOT / t).read_text() for t in tests if t.endswith(".py"))]
    identity = hashlib.sha256("\0".join([*texts, *tests]).encode()).hexdigest()
    store = out / f"{module.replace('/', '-')}.jsonl"
    names, known = _known(store, identity)
    mutants: dict[str, Mutant] = {}
    if not names:
        mutants = {mutant.name: mutant for mutant in mutants_of(source)}
        names = list(mutants)
        store.parent.mkdir(parents=True, exist_ok=True)
        store.write_text(json.dumps({"identity": identity, "names": names}) + "\n")
    random.Random(seed).shuffle(names)
    limit = None
    for name in names[:sample]:
        if name not in known:
            if limit is None:
                mutants = mutants or {mutant.name: mutant for mutant in mutants_of(source)}
                passed, seconds = run_tests(module, None, tests, 4 * LONGEST)
                if not passed or seconds > LONGEST:
                    raise SystemExit(f"mutants: {module}: its tests fail, or take {seconds:.0f} s")
                limit = 3.0 * seconds + 2.0
            passed, seconds = run_tests(module, mutants[name].text, tests, limit)
            known[name] = asdict(mutants[name]) | {"survived": passed, "seconds": seconds}
            del known[name]["text"]
            with store.open("a") as file:
                file.write(json.dumps(known[name]) + "\n")
        yield known[name]


def _known(store: Path, identity: str) -> tuple[list[str], dict[str, dict]]:
    """What an earlier run of the same module and tests has found: all names, and the mutants."""
    lines = store.read_text().splitlines() if store.exists() else []
    head = json.loads(lines[0]) if lines else {}
    if head.get("identity") != identity:
        return [], {}
    return head["names"], {found["name"]: found for found in map(json.loads, lines[1:])}


def listed(name: str) -> set[tuple[str, str, str]]:
    """(module, line before, line after) of the mutants that a file of tests/ gives a reason for."""
    path = ROOT / f"tests/{name}_mutants.json"
    entries = json.loads(path.read_text()) if path.exists() else []
    return {(e["module"], e["before"], e["after"]) for e in entries if e["reason"]}


def reasons() -> str:
    """The survivors that have a reason, in Markdown: by module, then by reason."""
    found: dict[str, dict[str, list[str]]] = {module: {} for module in MODULES}
    for entry in json.loads((ROOT / "tests/surviving_mutants.json").read_text()):
        change = f"  - `{entry['before']}` -> `{entry['after']}`"
        found[entry["module"]].setdefault(entry["reason"], []).append(change)
    lines: list[str] = []
    for module, by_reason in found.items():
        lines += [f"\n**{module}**\n"] if by_reason else []
        for reason, changes in sorted(by_reason.items()):
            lines += [f"- {reason}", *sorted(changes)]
    return "\n".join(lines).strip() + "\n"


def judge(module: str, options: argparse.Namespace) -> Row:
    """The row of one module; survivors without a reason are printed as they are found."""
    left_out, explained = listed("equivalent"), listed("surviving")
    row = Row(module)
    for found in results(module, options.sample, options.seed, options.out):
        key = (module, found["before"], found["after"])
        row.seconds += found["seconds"]
        if not found["survived"]:
            row.killed += 1
        elif key in left_out:
            row.equivalent += 1
        else:
            row.survivors += 1
            row.unexplained += key not in explained
            if key not in explained:
                print(f"  {module}:{found['line']}  {key[1]}\n      ->  {key[2]}", flush=True)
    return row


def table(rows: list[Row]) -> str:
    """The rows in Markdown."""
    lines = ["| Module | Mutants | Killed | Share | Survivors | No reason | Equivalent | CPU, s |"]
    lines.append("| :-- |" + " --: |" * 7)
    for r in rows:
        lines.append(
            f"| {r.module} | {r.mutants} | {r.killed} | {r.share:.1%} | {r.survivors} "
            f"| {r.unexplained} | {r.equivalent} | {r.seconds:.0f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("modules", nargs="*", metavar="MODULE", help=f"of {', '.join(MODULES)}")
    parser.add_argument("--sample", type=int, default=200, help="mutants of a module (default 200)")
    parser.add_argument("--seed", type=int, default=0, help="of the sample (default 0)")
    parser.add_argument("--out", type=Path, default=ROOT / "build/mutants", help="what was found")
    parser.add_argument("--reasons", action="store_true", help="print the survivors' list, and end")
    options = parser.parse_args()
    if options.reasons:
        print(reasons(), end="")
        return 0
    if unknown := set(options.modules) - set(MODULES):
        parser.error(f"got {min(unknown)}; needed some of {', '.join(MODULES)}; try models/newton")
    if options.sample < 1:
        parser.error(f"got --sample {options.sample}; needed at least 1; try --sample 20")
    os.chdir(ROOT)
    preload()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = folder
        for module in options.modules or MODULES:
            rows.append(judge(module, options))
            print(table(rows[-1:]).splitlines()[-1], flush=True)
    total = Row("all", *(sum(getattr(row, key) for row in rows) for key in COUNTS))
    text = table([*rows, total])
    print(f"\n{text}")
    if not options.modules:
        (options.out / "table.md").write_text(text)
    return int(any(row.share < ASKED for row in rows))


if __name__ == "__main__":
    sys.exit(main())
