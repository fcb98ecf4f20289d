"""The Explorer: built from its parts, right against the package, and it works in a browser."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import bdtheory as bdt

DOCS = Path(__file__).parent.parent / "docs"
FOLDER, PAGE = DOCS / "explorer", DOCS / "explorer.html"
NODE = shutil.which("node")
needs_node = pytest.mark.skipif(NODE is None, reason="no `node` on the path")


def load(name: str):
    """A module of docs/explorer, which is no package."""
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# The file ----------------------------------------------------------------------------------------


def test_the_page_is_what_its_parts_give():
    """After a change: python docs/explorer/build.py."""
    assert load("build").page() == PAGE.read_text(encoding="utf-8")


def test_the_page_is_small_and_asks_for_nothing():
    text = PAGE.read_text(encoding="utf-8")
    assert 20_000 < len(text.encode()) < 150_000
    assert not re.search(
        r"<link|\bsrc=|@import|url\(|import\(|fetch\(|XMLHttp|WebSocket|eval", text
    )
    urls = set(re.findall(r"https?://[^\s\"'`)]+", text))
    assert urls == {"http://www.w3.org/2000/svg"}  # a name, never loaded


def test_a_script_that_would_end_its_element_is_refused(tmp_path):
    build = load("build")
    (tmp_path / "bad.js").write_text("const s = '</script>';")
    with pytest.raises(ValueError, match=r"bad\.js contains '</script'; needed"):
        build._part(tmp_path / "bad.js", "script")


def test_methods_have_the_colours_of_the_figures():
    root = DOCS.parent
    looks = (root / "figures" / "style.py").read_text()
    style = (FOLDER / "style.css").read_text()
    names = {"bds": "Implicit", "bmo": "BMO", "mixing": "DirectMixing", "uniform": "Uniform"}
    for ours, theirs in {**names, "validation": "ValidationOnly"}.items():
        color = re.search(rf'"{theirs}": Look\("(#\w+)"', looks)[1]
        assert re.search(rf"--{ours}: (#\w+)", style)[1] == color.lower()


# The solver --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def problems():
    return load("fixtures").fixtures()


def check(problems) -> subprocess.CompletedProcess:
    return subprocess.run(
        [NODE, str(FOLDER / "check.mjs")],
        input=json.dumps(problems),
        capture_output=True,
        text=True,
        check=False,
    )


@needs_node
def test_the_script_agrees_with_the_package(problems):
    run = check(problems)
    assert run.returncode == 0, run.stderr
    assert run.stderr == ""
    report = json.loads(run.stdout)
    assert report["compared"] > 4_000
    assert len(report["bds"]) == len(problems) == 24


@needs_node
def test_the_loss_of_the_scripts_weights_is_what_it_says(problems):
    """BDS: the package re-fits the script's weights; no better than the package claims to be."""
    fixtures, report = load("fixtures"), json.loads(check(problems).stdout)
    for made, found in zip(problems, report["bds"], strict=True):
        w = np.array(found["weights"])
        assert w.min() >= 0 and w.sum() == pytest.approx(1.0, abs=1e-12)
        value, _ = bdt.hypergradient(fixtures.problem_of(made), w)
        assert value == pytest.approx(found["value"], rel=1e-8, abs=1e-12)
        assert value <= made["expected"]["bds"] + 1e-8


def test_the_problems_are_of_many_kinds(problems):
    """What the comparison would not see if it were missing."""
    useful = [one["expected"]["useful"] for one in problems]
    assert sum(u is None for u in useful) >= 2  # logistic, not separable
    assert sum(u is not None and any(u) and not all(u) for u in useful) >= 8
    assert sum(len(one["y_val"]) == 1 for one in problems) == 4
    assert max(len(one["y"]) for one in problems) > 50
    assert sum(one["expected"]["bds"] > 1e-3 for one in problems) >= 12


PARTS = [
    ("uniform", "theta"),
    ("uniform", "test"),
    ("mixing", "theta"),
    ("mixing", "val"),
    ("validation", "theta"),
    ("hypergradient", "value"),
    ("hypergradient", "grad"),
    ("closed", "weights"),
    ("closed", "ess"),
    ("bmo", "weights"),
    ("bmo", "theta"),
]


@needs_node
@pytest.mark.parametrize("kind", ["ridge", "logistic"])
def test_a_change_by_a_millionth_is_seen(problems, kind):
    one = next(made for made in problems if made["kind"] == kind)
    for name, part in PARTS:
        expected = json.loads(json.dumps(one["expected"]))
        value = expected[name][part]
        if isinstance(value, list):
            value[-1] += 1e-6
        else:
            expected[name][part] = value + 1e-6 * max(1.0, abs(value))
        run = check([{**one, "expected": expected}])
        assert run.returncode == 1
        assert len(run.stderr.splitlines()) == 1


@needs_node
def test_another_decision_and_a_lower_loss_are_seen(problems):
    one = problems[0]
    useful = [not one["expected"]["useful"][0], *one["expected"]["useful"][1:]]
    run = check([{**one, "expected": {**one["expected"], "useful": useful}}])
    assert run.returncode == 1 and "useful" in run.stderr
    lower = {**one["expected"], "bds": one["expected"]["bds"] - 1e-6}
    run = check([{**one, "expected": lower}])
    assert run.returncode == 1 and "bds" in run.stderr


# The page in a browser ---------------------------------------------------------------------------


@pytest.fixture
def page(browser):
    """The page, opened from disk; it must ask for no other file and log nothing."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
    opened, requests, messages = context.new_page(), [], []
    opened.on("request", lambda request: requests.append(request.url))
    opened.on("console", lambda message: messages.append(message.text))
    opened.on("pageerror", lambda error: messages.append(str(error)))
    opened.goto(PAGE.as_uri())
    yield opened
    assert requests == [PAGE.as_uri()]
    assert messages == []
    context.close()


STATE = """() => { const r = explorer.result(); return {
  weights: r.bds.weights, closed: r.bmo.weights, useful: r.useful, y: r.problem.train.y,
  x: r.problem.train.X, mu: r.problem.model.mu, bad: explorer.state.train.map((p) => p.bad),
  ...Object.fromEntries(["uniform", "mixing", "validation", "bds", "bmo"].map(
    (k) => [k, { theta: r[k].theta, val: r[k].val, test: r[k].test }])) }; }"""


def settled(page) -> dict:
    """What is shown once pending pictures are drawn."""
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => setTimeout(done, 30)))")
    return page.evaluate(STATE)


def centre(page, selector: str) -> tuple[float, float]:
    box = page.locator(selector).bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def drag(page, selector: str, dx: float, dy: float) -> None:
    """With real pointer events, in ten steps."""
    x, y = centre(page, selector)
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + dx, y + dy, steps=10)
    page.mouse.up()


def test_dragging_a_point_moves_the_solutions(page):
    before = settled(page)
    i = int(np.argmax(before["weights"]))
    drag(page, f'[data-set=train][data-index="{i}"] .hit', 10, -70)
    after = settled(page)
    assert after["y"][i] > before["y"][i] + 1.0
    assert after["x"][i][1] > before["x"][i][1]
    assert after["y"][:i] == before["y"][:i] and after["y"][i + 1 :] == before["y"][i + 1 :]
    assert before["useful"][i] and not after["useful"][i]
    moved = np.subtract(after["uniform"]["theta"], before["uniform"]["theta"])
    assert np.linalg.norm(moved) > 0.01
    assert after["weights"][i] < 0.5 * before["weights"][i]
    assert after["validation"] == before["validation"]


def test_a_point_dragged_onto_the_line_becomes_useful(page):
    before = settled(page)
    i = before["bad"].index(True)
    theta = before["bds"]["theta"]
    gap = before["y"][i] - theta[0] * before["x"][i][0] - theta[1] * before["x"][i][1]
    height = page.locator("#data").bounding_box()["height"]
    drag(page, f'[data-set=train][data-index="{i}"] .hit', 0, gap * height * 364 / 400 / 8)
    after = settled(page)
    assert not before["useful"][i] and after["useful"][i]
    assert page.locator(f'[data-set=train][data-index="{i}"] .ring').is_visible()


def test_the_keyboard_moves_a_point_and_flips_it(page):
    point = page.locator('[data-set=train][data-index="3"]')
    point.focus()
    before = settled(page)
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowRight")
    moved = settled(page)
    assert moved["y"][3] == pytest.approx(before["y"][3] + 0.1, abs=0.05)  # or onto the line
    assert moved["x"][3][1] == pytest.approx(before["x"][3][1] + 0.1)
    page.keyboard.press("Enter")
    flipped = settled(page)
    assert flipped["bad"][3] != before["bad"][3]
    assert abs(flipped["y"][3] - moved["y"][3]) > 1.0
    assert point.evaluate("e => e === document.activeElement")
    page.keyboard.press("Space")
    assert settled(page)["y"][3] == pytest.approx(moved["y"][3])


def test_sliders_do_what_they_say(page):
    before = settled(page)
    page.locator("#lam").focus()
    page.keyboard.press("ArrowRight")
    after = settled(page)
    assert after["mixing"]["val"] > before["mixing"]["val"] + 1e-3
    assert after["uniform"] == before["uniform"]
    box = page.locator("#share").bounding_box()
    page.mouse.click(box["x"] + 2, box["y"] + box["height"] / 2)
    assert not any(settled(page)["bad"])
    page.locator("#N").fill("7")
    assert len(settled(page)["weights"]) == 7
    assert page.locator("[data-set=train]").count() == 7
    page.click("#reset")
    assert settled(page) == before
    page.click("#new")
    assert settled(page)["x"] != before["x"]


def test_two_classes_with_flips_and_noise(page):
    page.click("[data-mode=logistic]")
    before = settled(page)
    assert set(before["y"]) == {-1, 1}
    assert any(before["useful"]) and not all(before["useful"])
    point = page.locator('[data-set=train][data-index="0"]')
    point.focus()
    page.click("#flip")
    after = settled(page)
    assert after["y"][0] == -before["y"][0] and after["y"][1:] == before["y"][1:]
    page.locator("#noise").fill("0.8")
    assert settled(page)["useful"] is None
    assert "no exact answer" in page.inner_text("#facts")


@pytest.mark.parametrize(("width", "height"), [(1280, 900), (360, 740)])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_its_window_and_draws_something(browser, width, height, scheme):
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=scheme, has_touch=width < 500
    )
    page = context.new_page()
    page.goto(PAGE.as_uri())
    for mode in ("ridge", "logistic"):
        page.click(f"[data-mode={mode}]")
        settled(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        for element in page.locator("button:visible, input:visible, svg.plane:visible").all():
            box = element.bounding_box()
            assert box["x"] >= 0 and box["x"] + box["width"] <= width
        assert page.locator("#theta .solutions path").count() == 5
        assert len(page.locator("#data").screenshot()) > 8_000  # an empty one has about 2,000 bytes
    context.close()


# What the texts say ------------------------------------------------------------------------------


def set_up(page, number: int, **state) -> dict:
    """The number-th visible button "Set up", then settings as a slider would make them."""
    page.locator(".tries ol:visible button").nth(number).click()
    page.evaluate("s => Object.assign(explorer.state, s)", state)
    page.evaluate("explorer.recompute()")
    return settled(page)


def corrupted_mass(shown: dict, weights: str) -> float:
    return sum(w for w, bad in zip(shown[weights], shown["bad"], strict=False) if bad)


def effective(w) -> float:
    return float(bdt.effective_sample_size(np.array(w)))


def test_mixing_is_above_bds_at_every_ratio(page):
    shown = [set_up(page, 1, lam=lam) for lam in np.geomspace(0.01, 100, 9).tolist()]
    mixing = [s["mixing"]["val"] for s in shown]
    assert np.all(np.diff(mixing) > 0)
    assert mixing[0] > shown[0]["bds"]["val"] + 1e-6


def test_a_small_validation_set_misleads_bds(page):
    few, many = set_up(page, 2), set_up(page, 2, m=40)
    rest = ("uniform", "mixing", "bmo")
    assert few["bds"]["val"] < 0.5 * min(few[key]["val"] for key in rest)
    assert few["bds"]["test"] > 1.1 * few["uniform"]["test"]
    assert abs(many["bds"]["test"] - many["bds"]["val"]) < 0.1 * many["bds"]["val"]


def test_a_colder_temperature_leaves_fewer_samples(page):
    shown = [set_up(page, 3, tau=tau) for tau in (5.0, 0.3, 0.003)]
    sizes = [effective(s["closed"]) for s in shown]
    assert sizes[0] > 50 and sizes[1] < 40 and sizes[2] < 10
    assert corrupted_mass(shown[1], "closed") < 0.25 * corrupted_mass(shown[0], "closed")


def test_two_samples_are_inert_until_the_ridge_is_large(page):
    small, large = set_up(page, 4), set_up(page, 4, mu=0.1)
    assert min(small["weights"]) < 1e-3 < 0.1 < min(large["weights"])
    X, y = np.array(small["x"]), np.array(small["y"])
    moderate = bdt.Problem(bdt.Ridge(small["mu"]), (X, y), val=(X, y))
    crossing = np.linalg.solve(X, y)
    for w in ([0.5, 0.5], [0.9, 0.1]):
        assert (
            np.linalg.norm(moderate.model.fit(np.array(w), moderate.train).theta - crossing) < 0.02
        )
    assert np.linalg.norm(np.subtract(small["bds"]["theta"], crossing)) > 0.1


def test_what_is_said_of_two_classes(page):
    page.click("[data-mode=logistic]")
    useless = [set_up(page, 1, m=m)["useful"].count(False) for m in (2, 3, 4, 6, 12, 40)]
    assert np.all(np.diff(useless) >= 0) and useless[-1] > useless[0]
    assert effective(set_up(page, 2)["weights"]) <= 2.0
    noisy = set_up(page, 3, noise=0.8)
    assert noisy["useful"] is None and effective(noisy["weights"]) > 10
