"""Test settings: derandomised Hypothesis, so that CI and a laptop see the same examples."""

from __future__ import annotations

import sys
from pathlib import Path

from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parent))  # for `strategies`, under importlib mode

settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")
