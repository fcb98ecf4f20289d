"""How the language tasks are trained on: the same for the command line, the figures and C12."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ..methods import BMO
from ..models import Training
from .language import LanguageTask
from .quality import quality
from .safety import safety


class Setting(NamedTuple):
    """One task: how it is made, the kinds of its questions, and the training of all methods on it.

    Tried out on seeds 100 to 103 of the tasks, which are reported nowhere. `bmo` has the task's
    temperatures; tau = 2 for importance ratios keeps a generated response near the model that gave
    it (C08(b)), and plays no part offline. `pretraining` is a number of steps.
    """

    make: Callable[..., LanguageTask]
    kinds: tuple[str, ...]
    training: Training
    bmo: BMO
    pretraining: int


SETTINGS = {
    "quality": Setting(
        quality,
        ("practised", "new", "discarded"),
        Training(steps=200, learning_rate=1.5e-3, selector_rate=0.1),
        BMO(hot=3.0, cold=0.05, tau=2.0),
        1500,
    ),
    "safety": Setting(
        safety,
        ("harmful seen", "harmful held out", "benign seen", "benign held out"),
        Training(steps=200, learning_rate=7e-4, selector_rate=2.0),
        BMO(gamma=0.3, hot=0.3, cold=0.03, tau=2.0),
        1000,
    ),
}
