"""A pytest plugin for a Python without torch: `python -m pytest -p tests.no_torch`.

Test modules import torch at the top, and use it in some of their tests. While a module is
collected, the import gives a stand-in: a test that uses it is skipped, a module that uses it at the
top is an error, since all its tests would be lost. While tests run there is no stand-in, and
importing torch skips the test; so the package sees no torch, and what it does without is what is
tested. Without the plugin a missing torch is an error, as it should be: it is a dependency.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from types import ModuleType

import pytest


class StandIn(ModuleType):
    """Importing it works; names in it do not, but for Python's own questions."""

    Tensor = type("Tensor", (), {})  # for isinstance and annotations: no array is one
    int64 = "torch.int64"  # in tables of tests: no array has it

    def __getattr__(self, name: str) -> None:
        if name.startswith("__"):
            raise AttributeError(name)
        if finder.collecting:
            raise RuntimeError(f"torch.{name} at the top of a test module; needed within a test")
        pytest.skip("torch is not installed")


class Finder:
    """Stands for torch and its submodules on sys.meta_path."""

    collecting = False

    def find_spec(self, name: str, path=None, target=None) -> ModuleSpec | None:
        if name.split(".")[0] != "torch":
            return None
        if not self.collecting:
            pytest.skip("torch is not installed")
        return ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: ModuleSpec) -> StandIn:
        return StandIn(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Nothing: it has no contents."""


finder = Finder()


def pytest_configure() -> None:
    sys.meta_path.insert(0, finder)


def pytest_unconfigure() -> None:
    sys.meta_path.remove(finder)


def left_over(module: object, path: str | None) -> bool:
    """Stand-ins, and a module that was skipped halfway: pytest leaves it in sys.modules."""
    return isinstance(module, StandIn) or (
        path is not None and getattr(module, "__file__", None) == path
    )


@pytest.hookimpl(hookwrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Iterator[None]:
    finder.collecting = True
    outcome = yield
    finder.collecting = False
    skipped = str(collector.path) if outcome.get_result().skipped else None
    for name in [name for name, module in sys.modules.items() if left_over(module, skipped)]:
        del sys.modules[name]
