"""What `make soak` counts and keeps: a property that has passed is not run again.

    make soak                                    # 20,000 examples of every property: hours
    SOAK_EXAMPLES=500 SOAK_SEED=1 make soak      # fewer, and others
    make soak ARGS='-k usefulness'               # of some properties

A plugin of pytest, loaded by conftest.py under the profile `soak`. What has passed lies in
build/soak, a line per property with its examples and seconds; a run that was interrupted goes on.
A property is begun anew where the package, its own file or what the tests share has changed, or
where other examples are asked for.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from functools import cache
from pathlib import Path

import pytest

ON = os.environ.get("HYPOTHESIS_PROFILE") == "soak"
ROOT = Path(__file__).resolve().parent.parent
GIVEN = os.environ.get("SOAK_EXAMPLES", "20000")
if not GIVEN.isdecimal() or int(GIVEN) < 1:
    raise pytest.UsageError(
        f"SOAK_EXAMPLES is {GIVEN!r}; needed a whole number >= 1; try SOAK_EXAMPLES=500"
    )
EXAMPLES = int(GIVEN)
SEED = os.environ.get("SOAK_SEED")  # None: the same examples every time
RUN_SHARE = 20  # examples that are whole runs of a method are fewer by this factor
PASSED = re.compile(r"(\d+) passing")  # in Hypothesis's statistics; none found is an error below


@cache
def _identity(test: Path) -> str:
    """Changes with the package, this file of tests and what tests share, and with what is asked."""
    shared = [ROOT / "tests" / name for name in ("conftest.py", "strategies.py", "tiny_lm.py")]
    files = [*sorted((ROOT / "bdtheory").rglob("*.py")), *shared, test]
    parts = [f"{path.relative_to(ROOT)}\n{path.read_text('utf-8')}" for path in files]
    asked = [str(EXAMPLES), str(RUN_SHARE), str(SEED)]
    return hashlib.sha256("\0".join([*asked, *parts]).encode()).hexdigest()


def _of(name: str) -> str:
    """The identity of a property by its node id; "" where its file is gone."""
    test = ROOT / name.partition("::")[0]
    return _identity(test) if test.is_file() else ""


class Soaking:
    """The properties that have passed, by their names: those of earlier runs, and this one's."""

    def __init__(self):
        self.store = ROOT / "build/soak/passed.jsonl"
        lines = self.store.read_text().splitlines() if self.store.exists() else []
        every = (json.loads(line) for line in lines)
        self.known = {f["name"]: f for f in every if f["identity"] == _of(f["name"])}

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]):
        passed = [item for item in items if item.nodeid in self.known]
        items[:] = [item for item in items if item.nodeid not in self.known]
        config.hook.pytest_deselected(items=passed)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo):
        """What Hypothesis counted, as a property of the report: that reaches the main process."""
        report = yield
        counts = PASSED.findall(getattr(item, "hypothesis_statistics", ""))
        if report.when == "call" and counts:
            report.user_properties.append(("examples", sum(map(int, counts))))
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport):
        if report.when != "call" or not report.passed or "PYTEST_XDIST_WORKER" in os.environ:
            return
        found = {"name": report.nodeid, "identity": _of(report.nodeid)}
        found["examples"] = dict(report.user_properties)["examples"]
        found["seconds"] = round(report.duration, 1)
        self.known[report.nodeid] = found
        self.store.parent.mkdir(parents=True, exist_ok=True)
        with self.store.open("a") as file:
            file.write(json.dumps(found) + "\n")

    def pytest_terminal_summary(self, terminalreporter):
        examples, seconds = (
            sum(f[k] for f in self.known.values()) for k in ("examples", "seconds")
        )
        failed = len(terminalreporter.stats.get("failed", []))
        terminalreporter.write_line(
            f"soak: {len(self.known)} properties passed, {examples:,} examples, {seconds:,.0f} s, "
            f"earlier runs counted in; {failed} failed"
        )
