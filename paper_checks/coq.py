"""The machine-checked proofs of proofs/*.v: what they state, and what Coq says of them.

Coq compiles the files and prints, for every theorem, the axioms that its proof rests on. Nothing
else is trusted to say that a theorem is proved: a claim is "machine-checked" where this machine has
compiled the files as they are now, and "not compiled here" elsewhere. `paper_checks.prove` does it.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bdtheory.storage import draft_file

from .claim import Claim

FOLDER = Path(__file__).with_name("proofs")
BUILD = Path(__file__).parent.parent / "build/proofs"
# What Coq's library of real numbers is built on: decisions about reals, functions equal where their
# values are, and (where a proof says so) excluded middle. Anything else is a gap in a proof.
AXIOMS = {
    "ClassicalDedekindReals.sig_forall_dec",
    "ClassicalDedekindReals.sig_not_dec",
    "FunctionalExtensionality.functional_extensionality_dep",
    "Classical_Prop.classic",
}
COMMENT = r"\(\*((?:(?!\*\)).)*)\*\)"
THEOREM = re.compile(COMMENT + r"\s*Theorem\s+(C\d\d\w*)(.*?)\.\s+Proof\.", re.DOTALL)
ASSUMPTION = re.compile(r"(?<!~ )\b(?:lim_)?(A[1-5]|separable)\b")  # and not where it is denied


@dataclass(frozen=True)
class Theorem:
    """A theorem C04_... of a file: the comment above it, and its statement in Coq."""

    name: str
    file: str
    words: str
    statement: str

    @property
    def assumes(self) -> tuple[str, ...]:
        """The assumptions of theory.md that its statement names, attained or in the limit."""
        return tuple(sorted(set(ASSUMPTION.findall(self.statement))))


def theorems(folder: Path = FOLDER) -> list[Theorem]:
    """All theorems named after a claim, by file and place.

    Raises ValueError where one has no comment in words right above it.
    """
    found = []
    for path in sorted(folder.glob("*.v")):
        text = path.read_text("utf-8")
        said = [
            Theorem(
                name,
                path.name,
                re.sub(r"^\([ivx]+\) ", "", _line(words)),
                _line(statement.lstrip(" :")),
            )
            for words, name, statement in THEOREM.findall(text)
        ]
        silent = set(re.findall(r"Theorem\s+(C\d\d\w*)", text)) - {t.name for t in said}
        if silent:
            raise ValueError(
                f"{path.name}: {min(silent)} has no comment; needed its statement in words; "
                "try (* ... *) on the line above"
            )
        found += said
    return found


def _line(text: str) -> str:
    return " ".join(text.split())


def digest(folder: Path = FOLDER) -> str:
    """Changes with every character of the proofs."""
    parts = (f"{path.name}\n{path.read_text('utf-8')}" for path in sorted(folder.glob("*.v")))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def compiled(folder: Path = FOLDER, build: Path = BUILD) -> dict[str, list[str]]:
    """Theorem -> its axioms, of a compilation on this machine of the files as they are; else {}."""
    try:
        record = json.loads((build / "proofs.json").read_text())
    except (OSError, json.JSONDecodeError):
        return {}
    return record["theorems"] if record.get("digest") == digest(folder) else {}


def compile_all(folder: Path = FOLDER, build: Path = BUILD) -> dict[str, list[str]]:
    """Theorem -> the axioms of its proof, by Coq; kept for `compiled` if nothing is wrong.

    Raises RuntimeError with Coq's message where a file does not compile.
    """
    names = [theorem.name for theorem in theorems(folder)]
    before = digest(folder)
    shutil.rmtree(build, ignore_errors=True)
    shutil.copytree(folder, build, ignore=lambda _, names: [n for n in names if n[-2:] != ".v"])
    files = _coq("coqdep", "-sort", *sorted(path.name for path in build.glob("*.v")), at=build)
    for file in files.split():
        _coq("coqc", file, at=build)
    found = _axioms(names, [Path(file).stem for file in files.split()], build)
    if not faults(found, folder=folder):
        with draft_file(build / "proofs.json") as draft:
            draft.write_text(json.dumps({"digest": before, "theorems": found}, indent=1) + "\n")
    return found


def _axioms(names: list[str], modules: list[str], build: Path) -> dict[str, list[str]]:
    """Coq's `Print Assumptions` of every theorem."""
    lines = [f"From BDTheory Require Import {' '.join(modules)}."]
    for name in names:
        lines += [
            f'Goal True. idtac "== {name}". exact Logic.I. Qed.',
            f"Print Assumptions {name}.",
        ]
    (build / "Assumptions.v").write_text("\n".join(lines) + "\n")
    said = _coq("coqc", "Assumptions.v", at=build)
    parts = re.split(r"^== (\w+)$", said, flags=re.MULTILINE)[1:]
    return {
        name: re.findall(r"^([\w.]+)\s*:", text.replace("Axioms:", ""), flags=re.MULTILINE)
        for name, text in zip(parts[::2], parts[1::2], strict=True)
    }


def _coq(command: str, *arguments: str, at: Path) -> str:
    ran = subprocess.run(
        [command, "-Q", ".", "BDTheory", *arguments], cwd=at, capture_output=True, text=True
    )
    if ran.returncode:
        raise RuntimeError(f"{command} {' '.join(arguments)}: {(ran.stderr or ran.stdout).strip()}")
    return ran.stdout


def faults(
    found: dict[str, list[str]], named: Iterable[str] = (), folder: Path = FOLDER
) -> list[str]:
    """What keeps theorems from counting: a gap, an axiom too many, a name without a proof."""
    said = []
    for path in sorted(folder.glob("*.v")):
        if re.search(r"\b(Admitted|admit|give_up)\b", path.read_text("utf-8")):
            said.append(f"{path.name}: a proof is left out (Admitted)")
    for name, axioms in found.items():
        said += [f"{name} rests on {axiom}" for axiom in sorted(set(axioms) - AXIOMS)]
    missing = [name for name in named if name not in found]
    return said + [f"{name}: the claims table names it, no file has it" for name in missing]


def proof_of(
    claim: Claim, folder: Path = FOLDER, build: Path = BUILD
) -> tuple[str, list[dict[str, Any]]]:
    """(what the claims table says, the theorems with their axioms) of a claim.

    "machine-checked", "not compiled here", "on paper" or "none"; axioms is None where this machine
    has not compiled the theorem.
    """
    if not claim.proof:
        return ("none" if claim.proof is None else "on paper"), []
    known, axioms = {t.name: t for t in theorems(folder)}, compiled(folder, build)
    rows = [asdict(known[name]) | {"axioms": axioms.get(name)} for name in claim.proof]
    checked = all(row["axioms"] is not None for row in rows)
    return ("machine-checked" if checked else "not compiled here"), rows
