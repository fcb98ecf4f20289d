"""The mutants of a module, and a run of its tests with one of them in place of the module.

A mutant is the text of a module with one operator, comparison, number or constant changed, by the
operators of cosmic-ray; it never stands on disk.
"""

from __future__ import annotations

import ast
import difflib
import importlib.abc
import importlib.machinery
import importlib.util
import math
import os
import resource
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

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
    """(whether all passed, CPU seconds) of a module's tests, in a child, with that text in place.

    The libraries are there already: only the package and the tests are imported anew.
    """
    child = os.fork()
    if not child:
        _become(module, text, tests, limit)
    _, code, usage = os.wait4(child, 0)
    status = os.waitstatus_to_exitcode(code)
    if status > 2:
        raise SystemExit(f"mutants: pytest ended with {status} on {module}; try its tests by hand")
    return status == 0, usage.ru_utime + usage.ru_stime


def _become(module: str, text: str | None, tests: list[str], limit: float) -> None:
    """The child: pytest, and no return. A signal ends it after `limit` seconds of CPU time."""
    import pytest

    resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(limit), math.ceil(limit)))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.alarm(math.ceil(20 * limit))  # for one that only waits
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1), os.dup2(silent, 2)
    if text is not None:
        name = "bdtheory." + module.replace("/", ".")
        sys.meta_path.insert(0, Changed(name, ROOT / f"bdtheory/{module}.py", text))
    code = 2
    try:
        options = ["-x", "-q", "-n", "0", "--assert=plain", "-p", "no:cacheprovider"]
        code = int(pytest.main([*options, "--hypothesis-seed=0", *tests], plugins=[Unshrunk()]))
    finally:
        os._exit(code)


def preload() -> None:
    """What every child needs and no mutant changes."""
    import matplotlib  # noqa: F401
    import pytest  # noqa: F401
    import scipy.linalg
    import scipy.optimize
    import scipy.stats  # noqa: F401
    import torch

    torch.set_num_threads(1)


class Unshrunk:
    """A plugin of pytest: an example that fails is not made smaller."""

    def pytest_sessionstart(self):
        from hypothesis import Phase, settings

        phases = (Phase.explicit, Phase.generate)
        settings.register_profile("unshrunk", settings.default, database=None, phases=phases)
        settings.load_profile("unshrunk")
