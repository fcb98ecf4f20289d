"""Test settings: derandomised Hypothesis, so that CI and a laptop see the same examples.

`make soak` asks for the profile `soak`: SOAK_EXAMPLES of every property, 20,000 unless given.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

sys.path.insert(0, str(Path(__file__).parent))  # for `strategies`, under importlib mode

settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.register_profile(
    "soak",
    derandomize="SOAK_SEED" not in os.environ,
    deadline=None,
    max_examples=int(os.environ.get("SOAK_EXAMPLES", "20000")),
    suppress_health_check=list(HealthCheck),
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))


@pytest.fixture(scope="module")
def root_on_path():
    """For `figures` and `benchmarks`: folders of the repository, not installed packages."""
    root = str(Path(__file__).parent.parent)
    sys.path.insert(0, root)
    yield
    sys.path.remove(root)
