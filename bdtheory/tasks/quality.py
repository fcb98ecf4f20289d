"""Questions over letters and digits, a share of whose training responses is bad.

    reverse a c b ?   ->   answer b c a done .

| kind      | in pretraining | training responses | in validation | what is asked              |
| --------- | -------------- | ------------------ | ------------- | -------------------------- |
| practised | yes            | good and bad       | most of it    | are good responses found?  |
| new       | no             | good and bad       | a few         | are enough of them kept?   |
| discarded | yes            | bad, all of them   | no            | what is lost? (C11)        |

A bad response is another instruction's (misread), truncated, or another question's. Pretraining
has the words "answer" before and "done" after a response, among others, but never both together.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from .language import Item, LanguageTask, Tokenizer, check_size, counts, draw, reworded
from .parts import check_seed, check_share

LETTERS, DIGITS = "abcdefghijkl", "0123456789"
RULES = {
    "copy": lambda s: s,
    "reverse": lambda s: s[::-1],
    "largest": lambda s: [max(s)],
    "behead": lambda s: s[1:],
    "ends": lambda s: [s[0], s[-1]],
    "last": lambda s: [s[-1]],
    "least": lambda s: [min(s)],
    "swap": lambda s: [s[1], s[0], *s[2:]],
}
KINDS = {
    "practised": ("copy", "reverse", "largest"),
    "new": ("behead", "ends"),
    "discarded": ("last", "least", "swap"),
}
OF_DIGITS = ("largest", "least")
BEFORE, AFTER = ("answer", "so", "well", "now"), ("done", "ok", "yes", "right")  # see `reworded`
TOKENIZER = Tokenizer((".", "?", *BEFORE, *AFTER, *RULES, *LETTERS, *DIGITS))
TRAIN = {"practised": 0.45, "new": 0.35, "discarded": 0.2}  # shares of the samples
VAL = {"practised": 0.7, "new": 0.3}
TEST = {"practised": 0.4, "new": 0.3, "discarded": 0.3}
REPEATED = 0.25  # of the bad responses answer a question that has a response already
CONTRADICTING = 0.1  # of the bad responses answer a validation question
CORPUS = 8000, 200  # pairs to pretrain on, and to see how that goes


def quality(
    seed: int = 0, *, N: int = 400, m: int = 80, n_test: int = 300, bad: float = 0.5
) -> LanguageTask:
    """Questions over strings and numbers, with good and bad responses in the training data.

    Parameters
    ----------
    seed : whole number >= 0. The pretraining corpus is the same for all.
    N, m, n_test : training, validation and test pairs, each 20 to 4,000.
    bad : share of bad responses among the practised and new kinds; the others have bad ones only.

    Returns
    -------
    LanguageTask with the kinds "practised", "new" and "discarded".

    Raises ValueError for an argument out of range.

    Examples
    --------
    >>> task = quality(N=100, m=20, n_test=40)
    >>> prompts, responses = task.val
    >>> task.tokenizer.decode(prompts[0] + responses[0])
    'reverse h j i ? answer i j h done .'
    """
    check_seed(seed)
    for name, value in {"N": N, "m": m, "n_test": n_test}.items():
        check_size(value, name)
    check_share(bad, "bad")
    rng = np.random.default_rng([seed, 11])
    corpus, corpus_val = _corpus()
    used = {item.question for item in corpus + corpus_val}

    def right(kind: str, rule: str) -> Item:
        question = _ask(rng, rule)
        return _item(kind, question, _answer(question))

    test = draw(rng, right, KINDS, counts(TEST, n_test), used)
    used = {item.question for item in test}
    val = draw(rng, right, KINDS, counts(VAL, m), used)
    train = _training(rng, right, N, bad, val, used)
    items = {"train": train, "val": val, "test": test, "corpus": corpus, "corpus_val": corpus_val}
    return LanguageTask.of("quality", TOKENIZER, items, right=is_right)


def is_right(prompt: list[int], response: list[int]) -> bool:
    """Whether the response is the rule's, with the words around it; tokens."""
    question = TOKENIZER.decode(prompt).split()[:-1]
    return TOKENIZER.decode(response) == _framed(_answer(question))


# Questions ---------------------------------------------------------------------------------------


def _ask(rng: np.random.Generator, rule: str) -> list[str]:
    """A question by that rule: the instruction, then three or four letters or digits."""
    symbols = DIGITS if rule in OF_DIGITS else LETTERS
    return [rule, *rng.choice(list(symbols), rng.integers(3, 5)).tolist()]


def _answer(question: list[str]) -> list[str]:
    return list(RULES[question[0]](question[1:]))


def _item(kind: str, question: list[str], answer: list[str]) -> Item:
    text = " ".join([*question, "?"])
    return Item(kind, text, _framed(answer), answer == _answer(question))


def _framed(answer: list[str]) -> str:
    return " ".join([BEFORE[0], *answer, AFTER[0], "."])


# Bad responses -----------------------------------------------------------------------------------


def _training(
    rng: np.random.Generator,
    right: Callable[[str, str], Item],
    N: int,
    bad: float,
    val: list[Item],
    used: set[str],
) -> list[Item]:
    """N items in random order; those of discarded kinds are all bad."""
    items: list[Item] = []
    for kind, count in counts(TRAIN, N).items():
        n_bad = count if kind == "discarded" else round(bad * count)
        mine = draw(rng, right, KINDS, {kind: count - n_bad}, used)
        contradicted = [item for item in val if item.kind == kind]
        for new in draw(rng, right, KINDS, {kind: n_bad}, used):
            asked, chance = new, rng.random()
            if chance < CONTRADICTING and contradicted:
                asked = contradicted[rng.integers(len(contradicted))]
            elif chance > 1.0 - REPEATED and mine:
                asked = mine[rng.integers(len(mine))]
            question = asked.question.split()[:-1]
            mine.append(_item(kind, question, _worsen(rng, question)))
        items += mine
    return [items[k] for k in rng.permutation(N)]


def _worsen(rng: np.random.Generator, question: list[str]) -> list[str]:
    """A wrong answer: the instruction misread, the right one truncated, another question's."""
    answer = right = _answer(question)
    alike = [rule for rule in RULES if (rule in OF_DIGITS) == (question[0] in OF_DIGITS)]
    while answer == right:
        fault = rng.integers(3)
        if fault == 0:
            answer = _answer([alike[rng.integers(len(alike))], *question[1:]])
        elif fault == 1:
            answer = right[:-1]
        else:
            answer = _answer(_ask(rng, question[0]))
    return answer


# Pretraining -------------------------------------------------------------------------------------


@functools.cache
def _corpus() -> tuple[list[Item], list[Item]]:
    """Right answers, reworded, to questions of the practised and of the discarded kinds."""
    rng, items = np.random.default_rng(11), []
    rules = KINDS["practised"] + KINDS["discarded"]
    for k in range(sum(CORPUS)):
        question = _ask(rng, rules[k % len(rules)])
        response = reworded(rng, _answer(question), BEFORE, AFTER)
        items.append(Item("corpus", " ".join([*question, "?"]), response))
    return items[: CORPUS[0]], items[CORPUS[0] :]
