"""The report: one file that asks for nothing, with every text escaped and the same bytes twice."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest

from bdtheory import report
from bdtheory.report import Shown
from bdtheory.selection import Selection, Status

EVIL = "</td><script>alert('x')</script><a href=http://a.b>&amp;\"'"


def selection(n: int = 6) -> Selection:
    w = np.arange(1.0, n + 1) / (n * (n + 1) / 2)
    history = {
        "iteration": np.arange(3), "seconds": np.zeros(3), "val_loss": np.array([3.0, 2.0, 1.5]),
        "train_loss": np.array([np.nan, 2.5, 2.0]), "ess": np.array([6.0, 5.0, 4.5]),
    }  # fmt: skip
    return Selection(w, {}, 1.5, None, Status.MAX_ITERATIONS, history)


def whole() -> str:
    fit = selection()
    losses, sizes = report.curves(fit)
    pairs = [Shown("line 1", 0.5, {"prompt": EVIL, "response": "b\n" * 99 + EVIL})]
    picture = report.histogram(6 * fit.weights, np.arange(6) > 2)
    return report.page(EVIL, EVIL, [
        (EVIL, report.numbers({EVIL: EVIL})), ("weights", picture), ("losses", losses),
        ("sizes", sizes), ("pairs", report.table(pairs)), ("words", report.paragraph(EVIL)),
    ])  # fmt: skip


class Page(HTMLParser):
    """Tags, attributes and texts of a page; what is left open."""

    def __init__(self, html: str):
        super().__init__()
        self.tags, self.attributes, self.text, self.open = [], [], "", []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in ("meta", "path", "use", "rect"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        if tag not in ("path", "use", "rect"):
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_text_is_escaped_wherever_it_stands():
    page = Page(whole())
    assert page.open == []
    assert not {"script", "a", "img", "iframe", "object", "link"} & set(page.tags)
    assert page.text.count("alert('x')") == 9  # title twice, lead, heading, 2 numbers, 2 cells, p
    assert page.text.count(EVIL) == 9


def test_it_asks_for_nothing_outside():
    html = whole()
    page = Page(html)
    links = [value for name, value in page.attributes if name.endswith("href") or name == "src"]
    assert links and all(value.startswith("#") for value in links)
    for what in ("@import", "@font-face", "javascript:"):
        assert what not in html
    assert re.findall(r"url\(([^)]{0,9})", html) and not re.findall(r"url\((?!#)", html)
    assert "default-src 'none'" in html
    assert "prefers-color-scheme: dark" in html and "width=device-width" in html


def test_ids_are_unique_and_every_reference_has_one():
    page = Page(whole())
    ids = [value for name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids)) > 10
    for name, value in page.attributes:
        if name == "xlink:href":
            assert value[1:] in ids
    clips = re.findall(r"url\(#([^)]*)\)", whole())
    assert clips and set(clips) <= set(ids)


def test_the_same_bytes_twice_and_no_date():
    assert whole() == whole()
    assert not re.search(r"20\d\d-\d\d-\d\d", whole())


def test_pictures_follow_the_page():
    svg = report.histogram(np.array([0.5, 1.5]), None)
    root = ElementTree.fromstring(svg)
    assert "width" not in root.attrib and "viewBox" in root.attrib
    assert "currentColor" in svg and report.INK not in svg and "metadata" not in svg


@pytest.mark.parametrize(
    "w", [[1.0], [1.0] * 5, [0.0, 2.0], [0.0, 0.0, 3.0], [1e-300, 2.0], [1e-9, 1.0, 1.0]]
)
def test_histograms_of_odd_weights_count_every_row(w):
    counted, edges = report.bins(np.array(w))
    assert (np.diff(edges) > 0).all() and np.isfinite(edges).all()
    assert np.histogram(counted, edges)[0].sum() == len(w)
    assert edges[0] <= 1.0 <= edges[-1]  # where the line of the mean stands
    assert np.array_equal(np.sort(counted), counted[np.argsort(w)])
    assert f"Histogram of {len(w)} weights from {min(w):.3g} to" in report.histogram(
        np.array(w), None
    )


def test_a_short_text_is_shown_and_a_long_one_folded():
    assert report.folded("2 + 2 < 5") == "2 + 2 &lt; 5"
    long = "x" * 50 + "<" + "y" * 50
    html = report.folded(long)
    assert html.startswith(f"<details><summary>{'x' * 50}&lt;{'y' * 39} …</summary>")
    assert html.endswith(f"<pre>{'x' * 50}&lt;{'y' * 50}</pre></details>")
    assert "<pre>a\nb</pre>" in report.folded("a\nb")


def test_steps_are_marked_by_whole_numbers_and_weights_stay_on_one_line():
    _, sizes = report.curves(selection())
    marks = re.findall(r"<text[^>]*>([^<]*)</text>", sizes)
    assert {"0", "1", "2"} <= set(marks) and not [mark for mark in marks if "." in mark]
    assert "td:nth-child(-n+2) { white-space: nowrap; }" in report.STYLE  # row and weight
