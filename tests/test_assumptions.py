"""Every assumption keyword does something: ignoring it makes a control arm fail."""

from __future__ import annotations

import functools
import importlib
import inspect
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))  # `paper_checks` is a folder of the repository
NAMES = sorted(path.stem for path in (ROOT / "paper_checks").glob("check_c??_*.py"))

# Keywords that choose an instance on which the claim holds as well.
NOT_ASSUMED = {
    ("c02", "make_contradictory_instance", "inside"),  # theta_v in WP or not
    ("c03", "make_logistic_instance", "A2"),  # C03(b) is stated without A2
    ("c04", "make_logistic_instance", "A2"),  # so is C04(b)
    ("c15", "make_instance", "tight"),  # the case of equality
}


def switches():
    """(module, function, keyword) for each keyword of a make_... function that is True or False."""
    for name in NAMES:
        module = importlib.import_module(f"paper_checks.{name}")
        if module.CLAIM.most_seeds is not None:
            continue  # its controls train for a minute: see test_paper_checks.py for them
        for function, call in inspect.getmembers(module, inspect.isfunction):
            if function.startswith("make_") and call.__module__ == module.__name__:
                for keyword, parameter in inspect.signature(call).parameters.items():
                    if (name[6:9], function, keyword) in NOT_ASSUMED:
                        continue
                    if isinstance(parameter.default, bool):
                        yield pytest.param(
                            module, function, keyword, id=f"{name[6:9]}-{function}-{keyword}"
                        )


@pytest.mark.parametrize("module, function, keyword", list(switches()))
def test_a_control_fails_where_the_keyword_is_ignored(module, function, keyword, monkeypatch):
    from paper_checks.claim import Expect, kind_of

    make = getattr(module, function)
    default = inspect.signature(make).parameters[keyword].default
    used = []

    @functools.wraps(make)
    def deaf(*args, **kwargs):
        if kwargs.get(keyword, default) != default:
            used.append(keyword)
            kwargs[keyword] = default
        return make(*args, **kwargs)

    monkeypatch.setattr(module, function, deaf)
    for arm, call in inspect.getmembers(module, inspect.isfunction):
        if kind_of(arm) != "control":
            continue
        used.clear()
        try:
            call(0, Expect(strict=True))
        except Exception:
            if used:
                return  # this control noticed
    pytest.fail(f"no control of {module.__name__} notices that {keyword} is ignored")


@pytest.mark.parametrize("name", NAMES)
def test_every_arm_is_run_under_a_kind(name):
    from paper_checks.claim import kind_of

    module = importlib.import_module(f"paper_checks.{name}")
    arms = [arm for arm, _ in inspect.getmembers(module, inspect.isfunction) if arm[:5] == "test_"]
    assert {kind_of(arm) for arm in arms} == {"holds", "control", "recovery", "vacuity"}
