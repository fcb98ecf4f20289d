"""Test settings: derandomised Hypothesis, so that CI and a laptop see the same examples."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parent))  # for `strategies`, under importlib mode

settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")


@pytest.fixture(scope="module")
def root_on_path():
    """For `figures` and `benchmarks`: folders of the repository, not installed packages."""
    root = str(Path(__file__).parent.parent)
    sys.path.insert(0, root)
    yield
    sys.path.remove(root)
