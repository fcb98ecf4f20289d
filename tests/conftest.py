"""Test settings: derandomised Hypothesis, so that CI and a laptop see the same examples.

`make soak` asks for the profile `soak`: SOAK_EXAMPLES of every property, 20,000 unless given; see
`soaking`.
"""

from __future__ import annotations

import os
import shutil
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

sys.path.insert(0, str(Path(__file__).parent))  # for `strategies`, under importlib mode

import soaking

settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.register_profile(
    "soak",
    derandomize=soaking.SEED is None,
    deadline=timedelta(seconds=60),  # an example that takes longer is a failure
    max_examples=soaking.EXAMPLES,
    suppress_health_check=list(HealthCheck),
)
settings.load_profile("soak" if soaking.ON else "repeatable")


def pytest_configure(config: pytest.Config) -> None:
    if soaking.ON:
        config.pluginmanager.register(soaking.Soaking())


@pytest.fixture(scope="module")
def root_on_path():
    """For `figures` and `benchmarks`: folders of the repository, not installed packages."""
    root = str(Path(__file__).parent.parent)
    sys.path.insert(0, root)
    yield
    sys.path.remove(root)


@pytest.fixture(scope="module")
def browser():
    """The system's Chromium, driven by Playwright; skips with a reason where one is missing."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    found = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("no Chromium: none on the path, and CHROMIUM is not set")
    with api.sync_playwright() as p:
        running = p.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield running
        running.close()
