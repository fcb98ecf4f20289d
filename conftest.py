"""Modules that are a face to an extra are left out, and it is said, where that is not installed."""

from importlib.util import find_spec

EXTRAS = {"bdtheory/estimators.py": "sklearn", "bdtheory/sft.py": "trl"}
MISSING = {module: extra for module, extra in EXTRAS.items() if find_spec(extra) is None}
collect_ignore = list(MISSING)


def pytest_report_header() -> list[str]:
    return [f"not tested: {module}, {extra} is not installed" for module, extra in MISSING.items()]
