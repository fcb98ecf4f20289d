"""The pages on theory, written at build time from the claim files, so that they cannot drift.

A page says `{{ claims }}` where the claims go. Their text is the six labelled lines of docstrings
in paper_checks, their formulae are in formulae.toml: each is the LaTeX of words in a docstring, and
the build fails where these words are no longer there. In theory.md, letters become mathematics.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent.parent
CHECKS = DOCS.parent / "paper_checks"
NAMES = ("theta", "omega", "mu", "gamma", "tau", "rho", "sigma", "pi", "delta", "Delta")
GREEK = {name: "\\" + name for name in NAMES} | {"lam": r"\lambda", "eps": r"\varepsilon"}
# ^2, ^-1, ^+, ^a, ^(1/tau)
POWER = r"\^(?:-1|\+|\d|[a-z]|\(1/\w+\))(?!\w)"
# theta, theta_lam, L_val*, z~_j, theta^2; a Latin letter only with an index. Not inside words, but
# after the d of a derivative.
INDEX = r"(?:_([A-Za-z0-9]+|\{\w+\}))"
LETTER = re.compile(
    rf"(?:(?<![\w\\])|(?<=\bd))(?<!\w-)"
    rf"(?:({'|'.join(GREEK)})(\d?)(~?){INDEX}?|([A-Za-z])(~?){INDEX})"
    rf"(\*(?![\w*])|{POWER})?(?!\w)(?!=\")"
)
OPERATOR = re.compile(r"\b(min|max|sup|sum|smin|Cov)_([A-Za-z]|theta|tau|eps)\b")
BRACKET_RAISED, RAISED = re.compile(rf"(?<=\)){POWER}"), re.compile(rf"(?<=\w){POWER}")
HAT = re.compile(r"\bw\^(?=[\s)])")
SIGNS = {">=": "≥", "<=": "≤", "!=": "≠", "->": "→", "-+": "∓"}
SIGN = re.compile(r"(?<!-)(>=|<=|!=|->|-\+)")
CODE = re.compile(r"(`[^`]*`)")
MATHS_OR_CODE = re.compile(r"(\$[^$]*\$|`[^`]*`)")


def formulae(found: Sequence[Any], path: Path = DOCS / "formulae.toml") -> dict[str, list[str]]:
    """LaTeX by claim. ValueError where a claim has none, or no longer says what it renders."""
    entries = tomllib.loads(path.read_text(encoding="utf-8"))
    if unknown := set(entries) - {each.claim.name for each in found}:
        raise ValueError(f"got formulae of {sorted(unknown)}; needed names of claims")
    for each in found:
        text = " ".join(" ".join(each.parts.values()).split())
        said = [entry["said"] for entry in entries.get(each.claim.name, [])]
        if not said and "empirical" not in text:
            raise ValueError(f"got no formula of {each.claim.name}; needed one in {path.name}")
        for words in said:
            if words not in text:
                raise ValueError(
                    f"got {words!r} in {path.name}; needed words of {each.claim.name}'s docstring; "
                    "try to say there what the file says now"
                )
    return {name: [entry["tex"] for entry in of] for name, of in entries.items()}


def letters(text: str) -> str:
    r"""Markdown in which Greek letters, letters with an index, and powers are mathematics.

    Code is kept as it is.

    >>> letters("min_w L_val* at `mu`, theta_lam")
    '$\\text{min}{}_{w}$ $L_{\\mathrm{val}}^{*}$ at `mu`, $\\theta_{\\lambda}$'
    """
    parts = CODE.split(text)
    parts[::2] = [LETTER.sub(_tex, OPERATOR.sub(_operator, _marks(part))) for part in parts[::2]]
    parts = MATHS_OR_CODE.split("".join(parts))
    parts[::2] = [RAISED.sub(_raised, part) for part in parts[::2]]
    return "".join(parts)


def _marks(text: str) -> str:
    """What no letter is part of: signs, w^, and the power of a bracket."""
    text = HAT.sub(r"$\\hat{w}$", SIGN.sub(lambda match: SIGNS[match[0]], text))
    return BRACKET_RAISED.sub(_raised, text)


def _raised(match: re.Match[str]) -> str:
    return f"${{}}{_power(match[0])}$"


def _power(text: str) -> str:
    """The LaTeX of * or of a POWER."""
    exponent = re.sub(r"[a-z]+", lambda m: GREEK.get(m[0], m[0]), text.strip("^()"))
    return f"^{exponent}" if exponent.isalnum() else f"^{{{exponent}}}"


def _operator(match: re.Match[str]) -> str:
    """min_w beside its letter: an operator would put it below."""
    name = r"\Sigma" if match[1] == "sum" else rf"\text{{{match[1]}}}"
    return f"${name}{{}}_{{{GREEK.get(match[2], match[2])}}}$"


def _tex(match: re.Match[str]) -> str:
    greek, digit, tilde, index, latin, latin_tilde, latin_index, power = match.groups()
    tex = GREEK[greek] if greek else latin
    tex = rf"{{\tilde{{{tex}}}}}" if tilde or latin_tilde else tex
    index = index or latin_index or digit
    if index:
        tex += f"_{{{GREEK.get(index, _upright(index))}}}"
    return f"${tex}{_power(power) if power else ''}$"


def _upright(index: str) -> str:
    """One letter, or what braces hold, as it is; a word in upright letters."""
    return index.strip("{}") if len(index) == 1 or index[0] == "{" else rf"\mathrm{{{index}}}"


def escape(text: str) -> str:
    """Text of a docstring as Markdown: only code and *emphasis* of one word keep a meaning."""
    parts = CODE.split(text)
    parts[::2] = [re.sub(r"([\\*_\[\]<>|$#~^])", r"\\\1", part) for part in parts[::2]]
    parts[::2] = [re.sub(r"\\\*(\w+)\\\*", r"*\1*", part) for part in parts[::2]]
    return "".join(parts)


def prose(text: str) -> str:
    """Text of a docstring as Markdown, its letters as mathematics."""
    parts = MATHS_OR_CODE.split(letters(" ".join(text.split())))
    parts[::2] = [escape(part) for part in parts[::2]]
    # A word, not a letter such as w: its capital would be another letter.
    parts[0] = re.sub(r"^(a|[a-z]{2,}) ", lambda word: word[0].capitalize(), parts[0])
    return "".join(parts)


def section(each: Any, tex: list[str]) -> str:
    """One claim, an `Entry` of the runner: title, source, formulae, the six lines."""
    from paper_checks.claim import SOURCES

    claim = each.claim
    sources = "; ".join(f"`{tag}`: {SOURCES[tag]}" for tag in claim.source.split(", "))
    out = [f"({claim.name.lower()})=", f"## {claim.name} {claim.title}", ""]
    out += [f"Source: {sources}.", ""]
    out += [f"$$\n{line}\n$$\n" for line in tex]
    out += [f"**{label}.** {prose(text)}\n" for label, text in each.parts.items()]
    links = [f"[the argument](theory-{claim.name.lower()})"]
    if claim.figure:
        links.append(f"[figure `{claim.figure}`](figure-{claim.figure})")
    if claim.proof:
        links.append("[its theorems for Coq](proofs)")
    command = f"`python -m paper_checks {claim.name}`"
    return "\n".join([*out, f"See {', '.join(links)}; to run it: {command}.", ""])


def claims() -> str:
    from paper_checks.runner import discover

    found = discover()
    tex = formulae(found)
    return "\n".join(section(each, tex.get(each.claim.name, [])) for each in found)


def proofs() -> str:
    """A table: each theorem that the claims table names, in words, with its file."""
    from paper_checks.coq import theorems
    from paper_checks.runner import discover

    known = {theorem.name: theorem for theorem in theorems()}
    rows = ["| claim | theorem | in words | file |", "| --- | --- | --- | --- |"]
    for entry in discover():
        claim = entry.claim
        for t in (known[name] for name in claim.proof or ()):
            link = f"[{claim.name}]({claim.name.lower()})"
            rows.append(f"| {link} | `{t.name}` | {prose(t.words)} | `{t.file}` |")
    return "\n".join(rows)


def theory(text: str) -> str:
    """theory.md with its letters as mathematics, and a target at each claim's argument."""
    text = re.sub(r"^\*\*(C\d\d) ", lambda m: f"(theory-{m[1].lower()})=\n{m[0]}", text, flags=re.M)
    return by_line(text)


def by_line(text: str) -> str:
    """A page with its letters as mathematics, but for targets, titles and fences."""
    kept = ("(theory-c", "#", "```")
    return "\n".join(line if line.startswith(kept) else letters(line) for line in text.split("\n"))


PAGES: dict[str, Callable[[str], str]] = {
    "claims": lambda text: text.replace("{{ claims }}", claims()),
    "proofs": lambda text: text.replace("{{ proofs }}", proofs()),
    "theory": theory,
    "glossary": by_line,
}


def write(app: Any, page: str, source: list[str]) -> None:
    """Sphinx's event "source-read"."""
    if page in PAGES:
        source[0] = PAGES[page](source[0])


def setup(app: Any) -> dict[str, bool]:
    app.connect("source-read", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
