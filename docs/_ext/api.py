"""The reference, from docstrings: a page says `{{ api MODULE }}`, and gets all of its public names.

First a table of them, then each in full. Public is what `__all__` names, or else what the module
itself defines without an underscore. So no list of names is kept by hand.
"""

from __future__ import annotations

import importlib
import inspect
import re
from types import ModuleType
from typing import Any

MARK = re.compile(r"^\{\{ api ([\w.]+) \}\}$", re.MULTILINE)


def public(module: ModuleType) -> list[str]:
    """Names of the functions and classes that a reader may use, in alphabetical order."""
    names = getattr(module, "__all__", None) or [
        name
        for name, thing in vars(module).items()
        if not name.startswith("_")
        and (inspect.isfunction(thing) or inspect.isclass(thing))
        and thing.__module__ == module.__name__
    ]
    return sorted(names, key=str.lower)


def reference(name: str, skip: frozenset[str] = frozenset()) -> str:
    """reStructuredText for one module, in a block that MyST hands to docutils."""
    module = importlib.import_module(name)
    names = [each for each in public(module) if each not in skip]
    out = [f".. currentmodule:: {name}", "", ".. autosummary::", "   :nosignatures:", ""]
    out += [f"   {each}" for each in names] + [""]
    for each in names:
        kind = "class" if inspect.isclass(getattr(module, each)) else "function"
        out += [each, "-" * len(each), "", f".. auto{kind}:: {each}"]
        if kind == "class":
            out += [f"   :members: {own(getattr(module, each))}", "   :member-order: bysource"]
        out += [""]
    return "\n".join(["```{eval-rst}", *out, "```"])


def own(cls: type) -> str:
    """The public members that the class itself defines; others put some there (scikit-learn)."""
    found = {name: getattr(cls, name) for name in vars(cls) if not name.startswith("_")}
    ours = cls.__module__.partition(".")[0]
    return ", ".join(n for n, v in found.items() if getattr(v, "__module__", ours).startswith(ours))


def write(app: Any, page: str, source: list[str]) -> None:
    """Sphinx's event "source-read"; what `bdtheory` itself exports is described there only."""
    top = frozenset(importlib.import_module("bdtheory").__all__)
    source[0] = MARK.sub(
        lambda match: reference(match[1], frozenset() if match[1] == "bdtheory" else top),
        source[0],
    )


ENTRY = re.compile(r"^([\w*]+(?:, [\w*]+)*) : (.*)$")


def restructure(lines: list[str]) -> list[str]:
    """A docstring of this package as reStructuredText.

    Its sections are NumPy's, but what follows "name :" is the description, not a type, and a
    section ends where text starts at the margin again. Bars are absolute values.
    """
    out: list[str] = []
    section = ""
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        entry = ENTRY.match(line)
        if line and following == "-" * len(line):
            section = line
            out += [f".. rubric:: {line}", ""]
        elif section and line == "-" * len(section) and out[-2:] == [f".. rubric:: {section}", ""]:
            continue
        elif section == "Examples":
            out.append(line)
        elif section and entry:
            out += [f"**{entry[1].replace('*', chr(92) + '*')}**", f"    {_bars(entry[2])}"]
        else:
            out.append(_bars(line))
    return out


def _bars(line: str) -> str:
    return line if "``" in line else line.replace("|", r"\|")


def process(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Sphinx's event "autodoc-process-docstring"."""
    lines[:] = restructure(lines)


def plain(app: Any, env: Any, node: Any, content: Any) -> Any:
    """A word in single backticks that is no name of its module: one of `bdtheory`, or just code."""
    if node.get("reftype") != "obj" or node["reftarget"].startswith("bdtheory."):
        return None
    target = f"bdtheory.{node['reftarget'].partition('(')[0]}"
    domain = env.domains.python_domain
    found = domain.resolve_xref(env, node["refdoc"], app.builder, "obj", target, node, content)
    return found or content


def hide(app: Any, what: str, name: str, thing: Any, skip: bool, options: Any) -> bool | None:
    """Fields of named tuples and dataclasses are described in the class: no second entry."""
    field = type(thing).__name__ in ("_tuplegetter", "member_descriptor")
    return True if field else None


def setup(app: Any) -> dict[str, bool]:
    app.connect("source-read", write)
    app.connect("autodoc-process-docstring", process)
    app.connect("missing-reference", plain)
    app.connect("autodoc-skip-member", hide)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
