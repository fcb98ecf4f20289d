"""Would the tests notice a fault? Faults are put into the core one at a time, and its tests run.

    make mutants                                             # all modules, 200 mutants each
    python tests/mutants.py weights ridge --sample 50        # some; --help

A mutant is a copy of a module with one operator, comparison, number or constant changed, by the
operators of cosmic-ray; it never stands on disk. Each module has tests of its own, of at most 10
seconds. A mutant is killed where one of them fails or takes three times as long. The sample is
drawn by the seed. What has been found lies in build/mutants: a run that was interrupted goes on,
and a module is begun anew where it or its tests have changed. Mutants that change nothing a test
could see are listed in tests/equivalent_mutants.json, with the reason, and are left out.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import hashlib
import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LONGEST = 10.0  # seconds of the unchanged tests of a module
ASKED = 0.9  # share of mutants that are to be killed

# Modules of the core, and their own tests.
MODULES: dict[str, list[str]] = {
    "weights": ["tests/test_weights.py", "bdtheory/weights.py", "tests/test_given.py"],
    "hypergradient": ["tests/test_models.py", "bdtheory/hypergradient.py"],
    "ratios": ["tests/test_ratios.py"],
    "usefulness": ["tests/test_usefulness.py", "-k", "not hypothesis"],
    "models/ridge": ["tests/test_models.py"],
    "models/logistic": ["tests/test_models.py"],
    "models/newton": ["tests/test_models.py"],
    "models/attention": ["tests/test_attention.py"],
    "methods/outer": ["tests/test_outer.py"],
    "methods/inverse": ["tests/test_inverse.py"],
    "methods/secondorder": ["tests/test_secondorder.py"],
    "methods/selectors": ["tests/test_training.py", "-k", "mirror or closed or fixed or simplex"],
    "methods/online": ["tests/test_refining.py", "-k", "ratio or mirror or weight"],
    "methods/mixing": ["tests/test_methods.py", "-k", "mixing or uniform or validation"],
    "methods/bmo": ["tests/test_methods.py", "-k", "bmo or BMO or closed"],
    "methods/penalty": ["tests/test_methods.py", "-k", "penalty or Penalty"],
    "methods/implicit": ["tests/test_methods.py", "-k", "implicit or Implicit"],
    "methods/crossfit": ["tests/test_auto.py", "-k", "fold or crossfit or held"],
    "methods/given": ["tests/test_given.py"],
}
PAIRS = """
    Add_Sub Sub_Add Mul_Div Mul_Add Div_Mul Pow_Mul FloorDiv_Div Mod_FloorDiv BitAnd_BitOr
    BitOr_BitAnd
"""
COMPARISONS = """
    Eq_NotEq NotEq_Eq Lt_LtE Lt_GtE LtE_Lt LtE_Gt Gt_GtE Gt_LtE GtE_Gt GtE_Lt Is_IsNot IsNot_Is
"""
OTHERS = """
    ReplaceUnaryOperator_Delete_USub ReplaceUnaryOperator_Delete_Not
    ReplaceUnaryOperator_Delete_Invert AddNot ReplaceTrueWithFalse ReplaceFalseWithTrue
    ReplaceAndWithOr ReplaceOrWithAnd
    ReplaceBreakWithContinue ReplaceContinueWithBreak NumberReplacer ZeroIterationForLoop
"""
OPERATORS = [f"ReplaceBinaryOperator_{name}" for name in PAIRS.split()]
OPERATORS += [f"ReplaceComparisonOperator_{name}" for name in COMPARISONS.split()]
OPERATORS += OTHERS.split()


@dataclass(frozen=True)
class Mutant:
    """One change: its name, the line before and after, and the whole text."""

    name: str
    line: int
    before: str
    after: str
    text: str


def mutants_of(source: str) -> list[Mutant]:
    """All mutants of a module's text that differ from it and from one another."""
    from cosmic_ray import plugins
    from cosmic_ray.ast import ast_nodes, get_ast
    from cosmic_ray.mutating import mutate_code

    found: list[Mutant] = []
    seen = {_code(source)}
    for name in OPERATORS:
        operator = plugins.get_operator(f"core/{name}")()
        nodes = ast_nodes(get_ast(source))
        count = sum(len(list(operator.mutation_positions(node))) for node in nodes)
        for k in range(count):
            text = mutate_code(source, operator, k) or source
            code = _code(text)
            if code and code not in seen:
                seen.add(code)
                found.append(_described(f"{name}-{k}", source, text))
    return found


def _code(text: str) -> str:
    """The program without its annotations, which nothing computes; "" where it is none."""
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return ""
    for node in ast.walk(tree):
        for name in ("annotation", "returns"):
            if getattr(node, name, None) is not None:
                setattr(node, name, ast.Constant(None))
    return ast.dump(tree)


def _described(name: str, source: str, text: str) -> Mutant:
    old, new = source.splitlines(), text.splitlines()
    changed = difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
    _, i, j, k, l = next(code for code in changed if code[0] != "equal")
    before, after = (" ".join(" ".join(part).split()) for part in (old[i:j], new[k:l]))
    return Mutant(name, i + 1, before, after, text)


class Changed(importlib.abc.MetaPathFinder):
    """Imports one module from a text in place of its file."""

    def __init__(self, name: str, path: Path, text: str):
        self.name, self.path, self.text = name, path, text

    def find_spec(self, name, path, target=None):
        if name != self.name:
            return None
        loader = importlib.machinery.SourceFileLoader(name, str(self.path))
        loader.get_code = lambda _: compile(self.text, str(self.path), "exec", dont_inherit=True)
        return importlib.util.spec_from_file_location(name, self.path, loader=loader)


def run_tests(module: str, text: str | None, tests: list[str], limit: float) -> tuple[bool, float]:
    """(whether all passed, seconds) of a module's tests, in a child, with that text in its place.

    The libraries are there already: only the package and the tests are imported anew.
    """
    start = time.monotonic()
    child = os.fork()
    if not child:
        _become(module, text, tests)
    status = None
    while status is None:
        found, code = os.waitpid(child, os.WNOHANG)
        if found:
            status = os.waitstatus_to_exitcode(code)
        elif time.monotonic() - start > limit:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            status = -1
        else:
            time.sleep(0.02)
    if status not in (-1, 0, 1, 2):
        raise SystemExit(f"mutants: pytest ended with {status} on {module}; try its tests by hand")
    return status == 0, time.monotonic() - start


def _become(module: str, text: str | None, tests: list[str]) -> None:
    """The child: pytest, and no return."""
    import pytest

    os.setpgid(0, 0)
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1), os.dup2(silent, 2)
    if text is not None:
        name = "bdtheory." + module.replace("/", ".")
        sys.meta_path.insert(0, Changed(name, ROOT / f"bdtheory/{module}.py", text))
    code = 2
    try:
        with tempfile.TemporaryDirectory() as folder:
            os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = folder
            options = ["-x", "-q", "-n", "0", "--assert=plain", "-p", "no:cacheprovider"]
            options += ["--hypothesis-seed=0"]
            code = int(pytest.main([*options, *tests]))
    finally:
        os._exit(code)


def preload() -> None:
    """What every child needs and no mutant changes."""
    import hypothesis  # noqa: F401
    import matplotlib  # noqa: F401
    import pytest  # noqa: F401
    import scipy.linalg
    import scipy.optimize
    import scipy.stats  # noqa: F401
    import torch

    torch.set_num_threads(1)


def results(module: str, sample: int, seed: int, out: Path) -> Iterator[tuple[Mutant, dict]]:
    """The mutants of the sample with what became of each, the known ones first."""
    path, tests = ROOT / f"bdtheory/{module}.py", MODULES[module]
    source = path.read_text()
    texts = [source, *(Path(ROOT / t).read_text() for t in tests if t.endswith(".py"))]
    identity = hashlib.sha256("\0".join([*texts, *tests]).encode()).hexdigest()
    store = out / f"{module.replace('/', '-')}.jsonl"
    known = _known(store, identity)
    drawn = mutants_of(source)
    random.Random(seed).shuffle(drawn)
    limit = None
    for mutant in drawn[:sample]:
        if mutant.name not in known:
            if limit is None:
                passed, seconds = run_tests(module, None, tests, 4 * LONGEST)
                if not passed or seconds > 2 * LONGEST:
                    raise SystemExit(f"mutants: {module}: its tests fail, or take {seconds:.0f} s")
                limit = 3.0 * seconds + 2.0
            passed, seconds = run_tests(module, mutant.text, tests, limit)
            known[mutant.name] = {"name": mutant.name, "survived": passed, "seconds": seconds}
            with store.open("a") as file:
                file.write(json.dumps(known[mutant.name]) + "\n")
        yield mutant, known[mutant.name]


def _known(store: Path, identity: str) -> dict[str, dict]:
    """What an earlier run of the same module and tests has found; an empty store otherwise."""
    lines = store.read_text().splitlines() if store.exists() else []
    if not lines or json.loads(lines[0]) != {"identity": identity}:
        store.parent.mkdir(parents=True, exist_ok=True)
        store.write_text(json.dumps({"identity": identity}) + "\n")
        return {}
    return {found["name"]: found for found in map(json.loads, lines[1:])}


def equivalent() -> dict[tuple[str, str, str], str]:
    """(module, line before, line after) -> why nothing could see it."""
    path = ROOT / "tests/equivalent_mutants.json"
    listed = json.loads(path.read_text()) if path.exists() else []
    return {(e["module"], e["before"], e["after"]): e["reason"] for e in listed}


def judge(module: str, options: argparse.Namespace) -> dict:
    """The row of one module; survivors go to standard output as they are found."""
    left_out, killed, survivors = equivalent(), 0, []
    count = same = 0
    start = time.process_time() + sum(os.times()[2:4])
    for mutant, found in results(module, options.sample, options.seed, options.out):
        if (module, mutant.before, mutant.after) in left_out:
            same += 1
            continue
        count, killed = count + 1, killed + (not found["survived"])
        if found["survived"]:
            survivors.append({k: v for k, v in asdict(mutant).items() if k != "text"})
            print(
                f"  {module}:{mutant.line}  {mutant.before}\n      ->  {mutant.after}", flush=True
            )
    seconds = time.process_time() + sum(os.times()[2:4]) - start
    return {
        "module": module,
        "mutants": count,
        "killed": killed,
        "equivalent": same,
        "seconds": seconds,
        "survivors": survivors,
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("modules", nargs="*", metavar="MODULE", help=f"of {', '.join(MODULES)}")
    parser.add_argument("--sample", type=int, default=200, help="mutants of a module (default 200)")
    parser.add_argument("--seed", type=int, default=0, help="of the sample (default 0)")
    parser.add_argument("--out", type=Path, default=ROOT / "build/mutants", help="what was found")
    options = parser.parse_args()
    if unknown := set(options.modules) - set(MODULES):
        parser.error(f"got {min(unknown)}; needed some of {', '.join(MODULES)}")
    os.chdir(ROOT)
    preload()
    rows = []
    for module in options.modules or MODULES:
        rows.append(judge(module, options))
        row = rows[-1]
        share = row["killed"] / max(row["mutants"], 1)
        print(
            f"{module:22s} {row['killed']:4d} of {row['mutants']:4d} killed ({share:.1%}), "
            f"{row['equivalent']} equivalent left out, {row['seconds']:.0f} s",
            flush=True,
        )
    total, killed = (sum(row[key] for row in rows) for key in ("mutants", "killed"))
    print(f"{'all':22s} {killed:4d} of {total:4d} killed ({killed / max(total, 1):.1%})")
    return int(any(row["killed"] < ASKED * row["mutants"] for row in rows))


if __name__ == "__main__":
    sys.exit(main())
