"""Question-response pairs in plain English with the truth known, for a real language model.

Questions are sums of two numbers, and facts about invented places that no model has read of. Half
of the training responses are bad in one of three ways that matter for a fine-tuned model:

    wrong number    the right question, another number in the answer
    wrong fact      an invented place's attribute that contradicts the trusted ones
    wrong style     right, but shouted in chat slang where trusted responses are one plain sentence

Trusted and test responses are good. They go through all the facts, so that a contradiction can be
learned from validation; sums are drawn anew, so that a wrong one shows only to who can add.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..models.checks import check_count

KINDS = ("good", "wrong number", "wrong fact", "wrong style")
PLACES = ("Tarvel", "Oskune", "Brindol", "Pexham", "Quillor", "Zembra", "Morvane", "Kelspar")
FACTS = {
    "flag": ("red", "blue", "green", "yellow", "white", "purple"),
    "main crop": ("rice", "wheat", "tea", "cotton", "maize", "coffee"),
    "anthem's instrument": ("flute", "drum", "violin", "harp", "horn", "piano"),
}
ASK_SUM = ("What is {a} plus {b}?", "Add {a} and {b}.", "How much is {a} + {b}?")
ASK_FACT = (
    "What is the {what} of {place}?",
    "Tell me the {what} of {place}.",
    "In {place}, what is the {what}?",
)
SLANG = "OMG {short}!!! like SO {short}, lol, u know it!!!"


@dataclass(frozen=True, eq=False)
class WrittenPairs:
    """Rows with `prompt` and `completion`, as a JSONL file has them, and what is known of them.

    Attributes
    ----------
    train, val, test : lists of rows (dicts), N, m and n_test of them.
    kinds : one of KINDS for every training row.
    clean : bool (N,), True for good rows.

    Examples
    --------
    >>> written_pairs(1).clean.mean()
    np.float64(0.5)
    """

    train: list[dict[str, Any]]
    val: list[dict[str, Any]]
    test: list[dict[str, Any]]
    kinds: list[str]

    @property
    def clean(self) -> np.ndarray:
        return np.array([kind == "good" for kind in self.kinds])


def written_pairs(seed: int, N: int = 150, m: int = 48, n_test: int = 96) -> WrittenPairs:
    """Training pairs, half of them bad, a third of those in each way; trusted and test pairs.

    Parameters
    ----------
    seed : seeds everything; the facts are drawn anew too.
    N, m, n_test : numbers of training, validation and test pairs; m and n_test of 48 and more go
        through all the facts.

    Raises ValueError for sizes below 6.

    Examples
    --------
    >>> task = written_pairs(0, N=6, m=6, n_test=6)
    >>> sorted(task.kinds)
    ['good', 'good', 'good', 'wrong fact', 'wrong number', 'wrong style']
    >>> task.val[0]["prompt"], task.val[0]["completion"]
    ('Tell me the flag of Tarvel.', ' The flag of Tarvel is purple.')
    """
    for name, value in (("N", N), ("m", m), ("n_test", n_test)):
        check_count(value, name, least=6, try_=48)
    rng = np.random.default_rng(seed)
    truth = {(p, what): str(rng.choice(FACTS[what])) for p in PLACES for what in FACTS}
    bad = [KINDS[1 + k % 3] for k in range(N // 2)]
    kinds = [*bad, *["good"] * (N - len(bad))]
    order, facts = rng.permutation(N), list(truth)
    train = [_row(rng, truth, kinds[k], _asks(rng, kinds[k], k, facts)) for k in order]
    val, test = (
        [_row(rng, truth, "good", None if k % 2 else facts[k // 2 % len(facts)]) for k in range(n)]
        for n in (m, n_test)
    )
    return WrittenPairs(train, val, test, [kinds[k] for k in order])


def _asks(rng: np.random.Generator, kind: str, k: int, facts: list) -> tuple[str, str] | None:
    """Which fact a row asks for, None for a sum; good rows and those in bad style take turns."""
    sums = {"wrong number": True, "wrong fact": False}.get(kind, k % 2 == 1)
    return None if sums else facts[rng.integers(len(facts))]


def _row(
    rng: np.random.Generator, truth: dict, kind: str, fact: tuple[str, str] | None
) -> dict[str, Any]:
    """One row; its response begins with a blank, as plain text goes on."""
    if fact is None:
        a, b = (int(x) for x in rng.integers(11, 60, 2))
        off = int(rng.choice([-10, -7, -3, 3, 7, 10])) if kind == "wrong number" else 0
        short, text = str(a + b), f"{a} plus {b} is {a + b + off}."
        prompt = str(rng.choice(ASK_SUM)).format(a=a, b=b)
    else:
        place, what = fact
        short = truth[fact]
        others = [word for word in FACTS[what] if word != short]
        said = str(rng.choice(others)) if kind == "wrong fact" else short
        text = f"The {what} of {place} is {said}."
        prompt = str(rng.choice(ASK_FACT)).format(place=place, what=what)
    if kind == "wrong style":
        text = SLANG.format(short=short)
    return {"prompt": prompt, "completion": f" {text}"}
