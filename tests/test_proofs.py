"""The machine-checked proofs: what counts as one, and that theorems and instances assume the same.

Compiling them all is `make proofs`; here Coq, where it is installed, sees small files.
"""

from __future__ import annotations

import ast
import re
import shutil
from pathlib import Path

import pytest

from paper_checks import coq
from paper_checks.claim import Claim
from paper_checks.runner import discover

needs_coq = pytest.mark.skipif(not shutil.which("coqc"), reason="Coq is not installed")
ENTRIES = {entry.claim.name: entry for entry in discover()}
PROVED = {name: entry for name, entry in ENTRIES.items() if entry.claim.proof}
ASSUMED = re.compile(r"(?<!not )\b(A[1-5]|separable)\b")

GOOD = """
From Coq Require Import Reals Lra.
Open Scope R_scope.
(* (i) The square of a number is not negative: no A2 is needed. *)
Theorem C02_square : forall x : R, A1 -> ~ A2 -> 0 <= x * x.
Proof. intros x _ _. nra. Qed.
""".replace("A1 -> ~ A2", "1 = 1 -> ~ 1 = 2")
AXIOM = "Axiom wrong : 0 = 1.\n(* Two. *)\nTheorem C02_two : 1 = 2.\nProof. {} Qed.\n"
WRONG = GOOD + AXIOM.format("pose proof wrong. lra.")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "proofs").mkdir()
    return tmp_path / "proofs"


def test_theorems_and_their_words_are_read(folder):
    (folder / "C02.v").write_text(GOOD.replace("1 = 1 -> ~ 1 = 2", "A1 -> ~ A2 -> lim_A3"))
    (found,) = coq.theorems(folder)
    assert (found.name, found.file) == ("C02_square", "C02.v")
    assert found.words == "The square of a number is not negative: no A2 is needed."
    assert found.statement.startswith("forall x : R, A1 -> ~ A2") and found.statement.endswith(
        "* x"
    )
    assert found.assumes == ("A1", "A3")


def test_a_theorem_without_words_is_an_error(folder):
    (folder / "C02.v").write_text(re.sub(r"\(\*.*\*\)", "", GOOD))
    with pytest.raises(ValueError, match=r"C02_square has no comment; needed .*; try"):
        coq.theorems(folder)


def test_what_does_not_count(folder):
    (folder / "C02.v").write_text(GOOD)
    reals = "ClassicalDedekindReals.sig_forall_dec"
    assert coq.faults({"C02_square": [reals]}, ["C02_square"], folder) == []
    assert coq.faults({"C02_square": [reals, "C02.wrong"]}, [], folder) == [
        "C02_square rests on C02.wrong"
    ]
    assert coq.faults({}, ["C02_square"], folder) == [
        "C02_square: the claims table names it, no file has it"
    ]
    (folder / "C03.v").write_text(GOOD.replace("nra. Qed", "Admitted"))
    assert coq.faults({}, [], folder) == ["C03.v: a proof is left out (Admitted)"]


@needs_coq
def test_coq_says_which_axioms_a_theorem_rests_on(folder, tmp_path):
    (folder / "C02.v").write_text(WRONG)
    found = coq.compile_all(folder, tmp_path / "build")
    assert set(found["C02_square"]) <= coq.AXIOMS and len(found["C02_square"]) >= 1
    assert coq.faults(found, folder=folder) == ["C02_two rests on wrong"]
    assert coq.compiled(folder, tmp_path / "build") == {}  # nothing of a faulty compilation counts


@needs_coq
def test_only_the_files_as_they_are_count(folder, tmp_path):
    build = tmp_path / "build"
    (folder / "C02.v").write_text(GOOD)
    claim = Claim("C02", "Squares", "here", proof=("C02_square",))
    assert coq.proof_of(claim, folder, build)[0] == "not compiled here"
    found = coq.compile_all(folder, build)
    assert coq.compiled(folder, build) == found
    status, (row,) = coq.proof_of(claim, folder, build)
    assert status == "machine-checked" and row["axioms"] == found["C02_square"]
    (folder / "C02.v").write_text(GOOD.replace("nra", "psatz R 2"))
    assert coq.proof_of(claim, folder, build)[0] == "not compiled here"


@needs_coq
def test_what_coq_refuses_is_an_error(folder, tmp_path):
    (folder / "C02.v").write_text(GOOD.replace("0 <= x * x", "0 < x * x"))
    with pytest.raises(RuntimeError, match=r"(?s)coqc C02\.v: .*Cannot find witness"):
        coq.compile_all(folder, tmp_path / "build")
    assert coq.compiled(folder, tmp_path / "build") == {}


def test_other_claims_are_argued_on_paper_or_not_at_all():
    assert coq.proof_of(Claim("C10", "x", "here")) == ("on paper", [])
    assert coq.proof_of(Claim("C12", "x", "here", proof=None)) == ("none", [])
    assert [name for name, entry in ENTRIES.items() if entry.claim.proof is None] == ["C07", "C12"]


def test_eight_claims_have_a_core_that_coq_can_check():
    names = {theorem.name for theorem in coq.theorems()}
    assert len(PROVED) >= 8
    for name, entry in PROVED.items():
        assert set(entry.claim.proof) <= names, name
        assert all(theorem.startswith(name) for theorem in entry.claim.proof)


@pytest.mark.parametrize("name", PROVED)
def test_theorems_assume_what_the_claim_file_says(name):
    """By name, both ways: an assumption of a theorem that the claim does not state, and the other
    way round, would let the two drift apart."""
    entry, known = PROVED[name], {theorem.name: theorem for theorem in coq.theorems()}
    assumed = {a for theorem in entry.claim.proof for a in known[theorem].assumes}
    assert assumed == set(ASSUMED.findall(entry.parts["Assumptions"]))


@pytest.mark.parametrize("name", PROVED)
def test_an_instance_drops_only_what_a_theorem_assumes(name):
    """Keywords such as A2=False of the functions that make instances; a claim may say that it does
    without."""
    entry, known = PROVED[name], {theorem.name: theorem for theorem in coq.theorems()}
    assumed = {a for theorem in entry.claim.proof for a in known[theorem].assumes}
    path = Path(coq.FOLDER).parent / f"{entry.module.rpartition('.')[2]}.py"
    dropped = {
        argument.arg
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("make")
        for argument in [*node.args.args, *node.args.kwonlyargs]
        if re.fullmatch(r"A[1-5]|separable", argument.arg)
    }
    without = set(re.findall(r"without (A[1-5])", entry.parts["Claim"]))
    assert dropped <= assumed | without
