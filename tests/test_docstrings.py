"""Every public name says what it takes, in which shape or unit, what it raises, with an example."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import re
import textwrap
from typing import Any

import pytest

import bdtheory

MODULES = ["bdtheory"] + [
    f"bdtheory.{name}" for name in ("methods", "tasks", "weights", "refining", "plots", "testing")
]
MODULES += ["bdtheory.models.huggingface", "bdtheory.tasks.written", "bdtheory.sampling"]
FACES = {"bdtheory.estimators": "sklearn", "bdtheory.sft": "trl"}
MODULES += [name for name, extra in FACES.items() if importlib.util.find_spec(extra)]
# What a claim of the paper, or an argument of theory.md, stands behind: these say where it is from.
FROM_THEORY = {
    "BMO", "Implicit", "Penalty", "DirectMixing", "OneLayerTransformer", "refine", "usefulness",
    "hypergradient", "coverage", "jointly_useful", "maximum_entropy_weights", "entropy", "linear",
    "separable", "exact_problems", "LeastAbsolute",
}  # fmt: skip
SOURCE = re.compile(r"\bC\d\d\b|theory\.md|arXiv|\bSource:")
ENTRY = re.compile(r"(?:^|(?<=[\s.]))(\*{0,2}\w+(?:, \w+)*) : ")
SHAPE = re.compile(r"\((?:\w+,|\w+, \w+)[^)]*\)|\b0-d\b")
UNIT = re.compile(
    r"dimensionless|units?\b|in nats|share|relative|probability|mass|per second|ratio of|\[0, 1\]"
)


def names_of(module: Any) -> list[str]:
    """What `__all__` names, or else the functions and classes that the module defines."""
    return getattr(module, "__all__", None) or [
        name
        for name, thing in vars(module).items()
        if not name.startswith("_")
        and (inspect.isfunction(thing) or inspect.isclass(thing))
        and thing.__module__ == module.__name__
    ]


def public() -> dict[str, Any]:
    """Every documented name, once, with its object."""
    found: dict[int, tuple[str, Any]] = {}
    for path in MODULES:
        module = importlib.import_module(path)
        for name in names_of(module):
            thing = getattr(module, name)
            found.setdefault(id(thing), (f"{path}.{name}", thing))
    return dict(found.values())


def described(doc: str) -> dict[str, str]:
    """Name -> text, for every "name : text" in a docstring; "a, b : text" describes both."""
    parts = ENTRY.split(doc)
    return {
        name.strip("* "): text
        for names, text in zip(parts[1::2], parts[2::2], strict=True)
        for name in names.split(", ")
    }


def missing(name: str, thing: Any) -> list[str]:
    """What the docstring does not say; [] where it says all."""
    doc = inspect.cleandoc(thing.__doc__ or "")
    if not doc or doc.startswith(f"{thing.__name__}("):  # what a dataclass writes by itself
        return ["a docstring"]
    if inspect.isclass(thing) and issubclass(thing, Warning):
        return []
    gaps = [] if ">>>" in doc else ["an example"]
    if name.rpartition(".")[2] in FROM_THEORY and not SOURCE.search(doc):
        gaps.append("its source: a claim, theory.md or arXiv")
    if raises(thing) and not re.search(r"\b[Rr]aise", doc):
        gaps.append(f"what it raises ({', '.join(sorted(raises(thing)))})")
    return gaps + [gap for parameter in taken(thing) for gap in undescribed(parameter, doc)]


def taken(thing: Any) -> list[inspect.Parameter]:
    """Parameters of a function or of a constructor; none for an enumeration."""
    if inspect.isclass(thing) and hasattr(thing, "__members__"):
        return []
    return list(inspect.signature(thing).parameters.values())


def undescribed(parameter: inspect.Parameter, doc: str) -> list[str]:
    """What the docstring does not say of one parameter: anything, its shape, or its unit."""
    name, kinds = parameter.name, str(parameter.annotation).split(" | ")
    text = described(doc).get(name)
    if text is None and f"`{name}`" not in doc:
        return [f"the parameter {name}"]
    text = text or doc
    if {"Array", "np.ndarray"} & set(kinds) and not SHAPE.search(text):
        return [f"the shape of {name}"]
    if "float" in kinds and not UNIT.search(text):
        return [f'the unit of {name}, or "dimensionless"']
    return []


def raises(thing: Any) -> set[str]:
    """Errors that its own code raises, or that its calls of `check_...` do; not those of `run`."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(thing)))
    parts: list[Any] = list(ast.walk(tree))
    if inspect.isclass(thing):
        parts = [
            node for node in parts if getattr(node, "name", "") in ("__init__", "__post_init__")
        ]
    found = set()
    for node in (inner for part in parts for inner in ast.walk(part)):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            found.add(ast.unparse(node.exc.func))
        if isinstance(node, ast.Call) and re.match(r"_?check_", ast.unparse(node.func)):
            found.add("ValueError")
    return found


PUBLIC = public()


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_the_docstring_says_all(name):
    gaps = missing(name, PUBLIC[name])
    assert not gaps, f"{name} does not say: {'; '.join(gaps)}"


@pytest.mark.parametrize("name", sorted(n for n in PUBLIC if inspect.isclass(PUBLIC[n])))
def test_public_methods_have_docstrings(name):
    own = {n: f for n, f in vars(PUBLIC[name]).items() if n[0] != "_" and inspect.isfunction(f)}
    assert [n for n, f in own.items() if not f.__doc__] == []


def test_names_are_found():
    assert {f"bdtheory.{name}" for name in bdtheory.__all__} <= set(PUBLIC)
    assert len(PUBLIC) > 45


def half_described(w: np.ndarray, tau: float, k: int) -> float:  # noqa: F821
    """Something of k.

    w : weights. tau : temperature.
    """
    raise ValueError("always")


def test_a_gap_is_named():
    assert missing("softmax", half_described) == [
        "an example",
        "what it raises (ValueError)",
        "the shape of w",
        'the unit of tau, or "dimensionless"',
        "the parameter k",
    ]
    assert described("a, b : one.\n\nc : two. d : three") == {
        "a": "one.\n\n",
        "b": "one.\n\n",
        "c": "two. ",
        "d": "three",
    }
