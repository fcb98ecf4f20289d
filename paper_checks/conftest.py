"""The arguments of every arm under pytest: a few seeds, and an `expect` that raises at once."""

import pytest

from .claim import Expect

SEEDS = 2  # the runner takes 20; two show a check that broke


@pytest.fixture(params=range(SEEDS))
def seed(request: pytest.FixtureRequest) -> int:
    if request.module.CLAIM.most_seeds is not None:
        pytest.skip("each seed trains models for a minute: python -m paper_checks runs it")
    return request.param


@pytest.fixture
def expect() -> Expect:
    return Expect(strict=True, seeds=SEEDS)
