"""What `make audit` makes of pip-audit's answers; the service itself is not asked here."""

from __future__ import annotations

import audit

BAD = {"name": "urllib3", "version": "1.26.4", "vulns": [{"id": "PYSEC-2021-108"}]}
FINE = {"name": "numpy", "version": "2.5.1", "vulns": []}
SKIPPED = {"name": "scipy", "skip_reason": "Dependency not found on PyPI"}


def test_a_silent_service_is_not_a_clean_bill():
    """pip-audit 2.10 skips every package then, and says that it found nothing."""
    for control in ([], [SKIPPED], [{**BAD, "vulns": []}]):
        line, status = audit.judge([FINE, SKIPPED], control)
        assert line.startswith("audit: not run") and status == 0


def test_what_is_found_is_named_and_counted():
    assert audit.judge([FINE, SKIPPED], [BAD]) == (
        "audit: 1 of 2 packages audited, 0 with known vulnerabilities", 0,
    )  # fmt: skip
    assert audit.judge([FINE, BAD], [BAD]) == (
        "urllib3 1.26.4: PYSEC-2021-108\n"
        "audit: 2 of 2 packages audited, 1 with known vulnerabilities", 1,
    )  # fmt: skip


def test_answers_that_are_none(monkeypatch):
    for printed in ("", "Traceback", "{}"):
        ran = type("Ran", (), {"stdout": printed})
        monkeypatch.setattr(audit.subprocess, "run", lambda *_, ran=ran, **__: ran)
        assert audit.answer("numpy==2.5.1\n") == []
