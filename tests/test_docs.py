"""What the documentation is made of: nothing here needs Sphinx, and no page is built.

`make docs` builds all of it, with warnings as errors, and runs the link checker tested here.
"""

from __future__ import annotations

import contextlib
import doctest
import importlib.util
import io
import json
import os
import re
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

import bdtheory
from paper_checks.claim import LABELS
from paper_checks.runner import discover

REPOSITORY = Path(__file__).parent.parent
DOCS = REPOSITORY / "docs"
PAGES = sorted(p for p in DOCS.rglob("*.md") if "gallery" not in p.relative_to(DOCS).parts)
BLOCK = re.compile(r"```python\n(.*?)```\s+```text\n(.*?)```", re.DOTALL)
BLOCKS = [(p, *block) for p in PAGES for block in BLOCK.findall(p.read_text())]


def extension(name: str) -> ModuleType:
    """A file of docs/_ext, which is no package."""
    spec = importlib.util.spec_from_file_location(f"docs_{name}", DOCS / "_ext" / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# The claims and their formulae --------------------------------------------------------------------


def test_every_claim_is_a_section_with_its_six_lines_and_formulae():
    claims = extension("claims")
    page = claims.claims()
    sections = re.split(r"^\(c\d\d\)=$", page, flags=re.MULTILINE)[1:]
    assert len(sections) == len(discover()) == 19
    for entry, section in zip(discover(), sections, strict=True):
        assert f"## {entry.claim.name} {entry.claim.title}" in section
        for label in LABELS:
            assert section.count(f"**{label}.** ") == 1
        assert ("$$" in section) == (entry.claim.name != "C12")  # C12 is empirical: it has none


def test_a_formula_whose_words_have_gone_fails(tmp_path):
    claims, text = extension("claims"), (DOCS / "formulae.toml").read_text()
    changed = tmp_path / "formulae.toml"
    changed.write_text(text.replace("WP is the union of the S(w)", "WP is the union of S(w)"))
    with pytest.raises(ValueError, match=r"needed words of C01's docstring"):
        claims.formulae(discover(), changed)
    changed.write_text(text.replace("[[C07]]", "[[C77]]"))
    with pytest.raises(ValueError, match=r"C77.*needed names of claims"):
        claims.formulae(discover(), changed)
    changed.write_text(re.sub(r"\[\[C16\]\]\n.*\n.*\n", "", text))
    with pytest.raises(ValueError, match="no formula of C16"):
        claims.formulae(discover(), changed)


def test_letters_become_mathematics_and_words_do_not():
    claims = extension("claims")
    assert doctest.testmod(claims).failed == 0
    for text, tex in {
        "z~_j.theta": r"$\tilde{z}_{j}$.$\theta$",
        "-z_i = x_i.theta_v": r"-$z_{i}$ = $x_{i}$.$\theta_{v}$",
        "theta0, sigma^2, F_{w_k}": r"$\theta_{0}$, $\sigma^2$, $F_{w_k}$",
        "pi_theta / pi_old": r"$\pi_{\theta}$ / $\pi_{\mathrm{old}}$",
        "(x - mu)^2 H^-1 A^+ R^p": r"(x - $\mu$)${}^2$ H${}^{-1}$ A${}^{+}$ R${}^p$",
        "f(x)^(1/tau), rho^(1/tau)": r"f(x)${}^{1/\tau}$, $\rho^{1/\tau}$",
        "dL_val/dw_i, w^ >= w -> 0": r"d$L_{\mathrm{val}}$/d$w_{i}$, $\hat{w}$ ≥ w → 0",
        "smin_tau, Cov_eps": r"$\text{smin}{}_{\tau}$, $\text{Cov}{}_{\varepsilon}$",
        'tie_break="x", non-mu, epsilon, chi^2_5': 'tie_break="x", non-mu, epsilon, chi^2_5',
    }.items():
        assert claims.letters(text).replace(r"{\tilde{z}}", r"\tilde{z}") == tex
    assert claims.prose("an a_i * b <c> `d_e` *one*") == r"An $a_{i}$ \* b \<c\> `d_e` *one*"
    assert [claims.prose(text) for text in ("no w", "a w", "w is")] == ["No w", "A w", "w is"]


def test_letters_of_the_glossary_become_mathematics_inside_its_fence():
    page = extension("claims").PAGES["glossary"]((DOCS / "glossary.md").read_text())
    assert page.count("```") == 2 and "\n```{glossary}\n" in page
    assert r"$V_{\mathrm{BDS}}$" in page and r"0 for a {term}`re-fit`" in page
    assert r"$F_{w}$($\theta$) - v(w)" in page and "F_w" not in page


def test_the_theory_has_a_target_for_every_claim():
    page = extension("claims").theory((DOCS / "theory.md").read_text())
    for entry in discover():
        assert page.count(f"(theory-{entry.claim.name.lower()})=\n**{entry.claim.name} ") == 1


def test_every_formula_is_mathml():
    pytest.importorskip("sphinx", reason="the extra docs is not there")
    nodes, mathml = pytest.importorskip("docutils.nodes"), extension("mathml")
    claims = extension("claims")
    found = [tex for of in claims.formulae(discover()).values() for tex in of]
    written = [mathml.mathml(nodes.math(tex, tex), as_block=True) for tex in found]
    assert len(found) > 30 and all(text.startswith("<math") for text in written)
    assert all("merror" not in text and "\\" not in text for text in written)
    accented = mathml.mathml(nodes.math("", r"\tilde z_j"), as_block=False)
    assert '<msub><mover accent="true"><mi>z</mi>' in accented  # docutils writes <munderover>
    norm = mathml.mathml(nodes.math("", r"\frac{\mu}{2}\|\theta\|^2"), as_block=True)
    assert norm.count('<mo stretchy="false">‖</mo>') == norm.count("‖") == 2
    with pytest.raises(Exception, match=r"got the formula '\\\\nothing'.*try"):
        mathml.mathml(nodes.math("", r"\nothing"), as_block=False)


# The reference ------------------------------------------------------------------------------------


def test_the_reference_has_every_public_name():
    api = extension("api")
    for page in (DOCS / "api").glob("*.md"):
        for module in api.MARK.findall(page.read_text()):
            assert importlib.util.find_spec(module)
    text = api.reference("bdtheory")
    entries = re.findall(r"^\.\. auto(?:class|function):: (\w+)$", text, re.MULTILINE)
    assert sorted(entries) == sorted(bdtheory.__all__)
    table = text.partition(".. autosummary::")[2].partition("\n----")[0]
    assert all(f"\n   {name}\n" in table for name in bdtheory.__all__)
    rest = api.reference("bdtheory.weights", frozenset(bdtheory.__all__))
    assert ":: auc\n" in rest and ":: softmax\n" not in rest


def test_a_docstring_is_restructured():
    lines = [
        "Size |x|.",
        "",
        "Parameters",
        "----------",
        "a, b : one",
        "    two.",
        "",
        "Raises it.",
    ]
    assert extension("api").restructure([*lines, "", "Examples", "--------", ">>> 1 | 2"]) == [
        r"Size \|x\|.", "", ".. rubric:: Parameters", "", "**a, b**", "    one", "    two.", "",
        "Raises it.", "", ".. rubric:: Examples", "", ">>> 1 | 2",
    ]  # fmt: skip


# Figures and report -------------------------------------------------------------------------------


def test_quick_figures_are_called_quick_and_old_ones_are_not_shown(tmp_path, monkeypatch):
    pictures = extension("pictures")
    assert not pictures.complete(tmp_path)
    for name in pictures.names():
        for file in pictures.FILES:
            (tmp_path / file.format(name)).touch()
    assert pictures.complete(tmp_path)
    os.utime(tmp_path / "trap.svg", (0, 0))  # older than its script
    assert not pictures.complete(tmp_path)
    page = pictures.figures(tmp_path)
    assert "**quick** figures" in page and page.count("(figure-") == len(pictures.names())
    assert 'class="only-light picture" src="figures/trap.svg"' in page
    assert 'class="only-dark picture" src="figures/trap-dark.svg"' in page
    monkeypatch.setattr(pictures, "FULL", tmp_path)
    assert "with all their seeds" in pictures.figures(tmp_path)
    (tmp_path / "digits.svg").unlink()
    assert pictures.figures(tmp_path).count("skipped here") == 1


def test_the_report_is_shown_or_how_to_make_it(tmp_path, monkeypatch):
    report, out = extension("report"), tmp_path / "site"
    monkeypatch.setattr(report, "REPORT", tmp_path)
    report.copy(SimpleNamespace(outdir=out), None)
    assert "`make verify` has not run" in report.report(tmp_path) and not out.exists()
    row = {"claim": "C04", "title": "t", "verdict": "supported", "margin": 0.28349, "seeds": 20}
    (tmp_path / "claims.json").write_text(json.dumps([row | {"seconds": 20.61}]))
    (tmp_path / "index.html").touch()
    assert "| [C04](#c04) | t | supported | 0.283 | 20 | 20.6 |" in report.report(tmp_path)
    report.copy(SimpleNamespace(outdir=out), None)
    assert (out / report.TARGET / "index.html").is_file()


# Links --------------------------------------------------------------------------------------------

GOOD = '<h1 id="top">t</h1><a href="b/two.html#x%20y">2</a><a href="#top"></a><img src="p.svg">'
BAD = {
    '<a href="three.html">': "index.html links to three.html; needed a file of the site",
    '<a href="b/two.html#no">': "index.html links to b/two.html#no; needed an element",
    '<a href="#no">': "index.html links to #no; needed an element",
    '<script src="https://x.org/a.js">': "index.html loads https://x.org/a.js from outside",
    '<link rel="stylesheet" href="//x.org/a.css">': "loads //x.org/a.css from outside",
    '<img srcset="p.svg 1x, q.svg 2x">': "index.html links to q.svg; needed a file",
    "<style>p { background: url(http://x.org/p) }</style>": "loads http://x.org/p from outside",
}


def site(folder: Path, more: str) -> Path:
    (folder / "b").mkdir()
    (folder / "p.svg").touch()
    (folder / "b" / "two.html").write_text('<p id="x y"><a href="../index.html">1</a></p>')
    (folder / "index.html").write_text(f'{GOOD}{more}<a href="https://arxiv.org/abs/1">out</a>')
    return folder


def test_a_good_site_has_no_problem(tmp_path, capsys):
    links = extension("links")
    assert links.main(site(tmp_path, "")) == 0
    assert "2 pages, every link resolves" in capsys.readouterr().out
    (tmp_path / "a.css").write_text("@font-face { src: url(https://x.org/f.ttf) }")
    assert list(links.problems(tmp_path)) == ["a.css loads https://x.org/f.ttf from outside"]


@pytest.mark.parametrize("html", BAD)
def test_a_bad_link_is_named(html, tmp_path):
    assert any(BAD[html] in text for text in extension("links").problems(site(tmp_path, html)))
    assert extension("links").main(tmp_path) == 1


def test_no_site_is_no_success(tmp_path):
    with pytest.raises(SystemExit, match=r"with no index\.html; needed a built site"):
        extension("links").main(tmp_path)


# Pages --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", range(len(BLOCKS)), ids=[str(b[0].stem) for b in BLOCKS])
def test_a_block_prints_what_stands_under_it(number, monkeypatch):
    page, code, shown = BLOCKS[number]
    for extra in ("sklearn", "trl", "transformers"):
        if re.search(rf"^(?:import|from) {extra}\b", code, re.MULTILINE):
            pytest.importorskip(extra, reason=f"{page.name} needs {extra}")
    module = ModuleType("block")  # dataclasses look their module up
    monkeypatch.setitem(sys.modules, "block", module)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, page.name, "exec"), vars(module))
    assert printed.getvalue() == shown


def test_there_are_blocks_and_every_command_exists():
    assert {"property-test", "select", "scores"} <= {page.stem for page, *_ in BLOCKS}
    makefile = (REPOSITORY / "Makefile").read_text()
    for page in PAGES:
        text = page.read_text()
        for target in re.findall(r"(?:^    |`)make ([\w-]+)", text, re.MULTILINE):
            assert f"\n{target}:" in makefile, (page.name, target)
        for path in re.findall(r"(?:paper_checks|figures|docs|benchmarks)/\w+\.\w+", text):
            assert (REPOSITORY / path).is_file() or path.startswith("figures/NAME"), path


def test_every_figure_and_claim_that_a_page_names_exists():
    known = {entry.claim.name.lower() for entry in discover()}
    figures = set(extension("pictures").names())
    for page in PAGES:
        assert set(re.findall(r"\(#(c\d\d)\)", page.read_text())) <= known
        assert set(re.findall(r"\(#figure-(\w+)\)", page.read_text())) <= figures


def test_numbers_of_the_comparison_are_those_of_the_benchmarks():
    measured = (REPOSITORY / "benchmarks" / "README.md").read_text()
    text = (DOCS / "comparison.md").read_text()
    numbers = set(re.findall(r"(?<![\w.])\d*\.\d+|\d,\d{3}|\d+%", text))
    assert {".93", "5,000", "99%"} <= numbers
    assert not [number for number in numbers if number not in measured]
    for mark in re.findall(r':(?:start-after|end-before): "(.*)"', text):
        assert measured.count(f"\n{mark}\n") == 1
