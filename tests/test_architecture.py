"""Imports go down only, and importing the package stays light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import bdtheory

PACKAGE = Path(bdtheory.__file__).parent
REPOSITORY = PACKAGE.parent

# From the bottom up. A module may import from its own layer's folder and from layers above it here.
LAYERS = [
    ["problem"],
    ["archive", "storage", "saved", "rows", "csv_rows"],
    ["weights", "weighted", "selection", "drawing", "linalg", "rowspace"],
    ["models"],
    ["hypergradient", "ratios"],
    ["methods"],
    ["cones", "usefulness", "adaptation", "refinement", "rounds", "refining"],
    ["tasks", "plots"],
    ["testing", "sampling", "sft", "estimators"],
    ["console", "inputs", "outputs", "fetch", "launched"],
    ["pairs_input", "report"],
    ["pairs_run", "pairs_output", "pairs_estimate"],
    ["pairs_refined", "cli_pairs", "cli_fetch"],
    ["pairs_refine", "cli_compare"],
    ["cli_refine", "compare_pairs"],
    ["cli"],
    ["__main__", "__init__"],
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}


def imported(path: Path) -> set[str]:
    """Dotted names that a file imports, those of the package as bdtheory.x.y."""
    here = ("bdtheory", *path.relative_to(PACKAGE).parts[:-1]) if PACKAGE in path.parents else ()
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = list(here[: len(here) - node.level + 1]) if node.level else []
            base += node.module.split(".") if node.module else []
            names |= {".".join([*base, alias.name]) for alias in node.names}
    return names


def layer_of(path: Path) -> str:
    part = path.relative_to(PACKAGE).parts[0]
    return part.removesuffix(".py")


MODULES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_down_only(path):
    layer = layer_of(path)
    if layer == "__init__":
        return
    for name in imported(path):
        parts = name.split(".")
        if parts[0] != "bdtheory" or parts[1] == layer or parts[1] == "__version__":
            continue
        assert LEVEL[parts[1]] <= LEVEL[layer], f"{path.name} imports {name}, which is above it"


@pytest.mark.parametrize("folder", ["paper_checks", "figures", "examples", "benchmarks"])
def test_what_stands_beside_the_package_imports_it_and_not_one_another(folder):
    others = {"paper_checks", "figures", "examples", "benchmarks", "tests"} - {folder}
    for path in (REPOSITORY / folder).rglob("*.py"):
        assert not {name.split(".")[0] for name in imported(path)} & others, path
    for path in MODULES:
        assert folder not in {name.split(".")[0] for name in imported(path)}, path


NEED_TORCH = ["models/gpt.py", "models/transformer.py", "methods/joint.py", "methods/descent.py"]
NEED_TORCH += ["models/network.py", "models/pretrained.py", "models/huggingface.py"]
NEED_TORCH += ["sft.py"]
NEED_SKLEARN = ["estimators.py"]  # a subclass of its BaseEstimator


def test_only_what_trains_imports_torch_at_the_top_of_a_module():
    """Closed-form work on NumPy arrays needs no torch: it loads where a tensor comes in."""
    for path in MODULES:
        if str(path.relative_to(PACKAGE)) in NEED_TORCH + NEED_SKLEARN:
            continue
        tree = ast.parse(path.read_text())
        top = [n for n in tree.body if isinstance(n, ast.Import | ast.ImportFrom)]
        for node in top:
            module = getattr(node, "module", None) or node.names[0].name
            assert not module.startswith(("torch", "matplotlib", "sklearn")), path


def test_importing_is_light_and_the_surface_small():
    code = (
        "import sys, bdtheory; "
        "heavy = {'torch', 'matplotlib', 'sklearn', 'pandas'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert len(bdtheory.__all__) <= 25


def test_no_module_is_long():
    for path in MODULES:
        lines = path.read_text().count("\n")
        assert lines <= 350, f"{path.name} has {lines} lines"
