"""Compile the proofs: `make proofs`, or `python -m paper_checks.prove`.

Prints every theorem with its file and the axioms that its proof rests on. Exit status: 0; 1 where a
file does not compile, a proof is left out, an axiom is not one of Coq's library of real numbers, or
a theorem that the claims table names is missing; 2 where Coq is not installed.
"""

from __future__ import annotations

import argparse
import shutil
import sys

from . import coq
from .runner import discover


def main() -> int:
    """Compile, print, judge; the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m paper_checks.prove",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.parse_args()
    if not shutil.which("coqc"):
        print("proofs: not compiled here: Coq is not installed (on Debian: apt-get install coq)")
        return 2
    named = [name for entry in discover() for name in entry.claim.proof or ()]
    try:
        found = coq.compile_all()
        wrong = coq.faults(found, named)
    except (RuntimeError, ValueError) as error:
        print(f"proofs: {error}", file=sys.stderr)
        return 1
    for theorem in coq.theorems():
        print(f"{theorem.name:26s} {theorem.file:18s} {axioms(found[theorem.name])}")
    for line in wrong:
        print(f"proofs: {line}", file=sys.stderr)
    claims = sorted({name[:3] for name in found})
    print(
        f"proofs: {len(found)} theorems compiled, of {len(claims)} claims: {', '.join(claims)}; "
        f"{len(wrong)} faults"
    )
    return int(bool(wrong))


def axioms(names: list[str]) -> str:
    """Their short names."""
    return ", ".join(name.rsplit(".", 1)[-1] for name in names) or "no axiom"


if __name__ == "__main__":
    sys.exit(main())
