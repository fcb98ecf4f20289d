"""What the question-response tasks share: a tokenizer, the task, a small pretrained model.

A question is a prompt, a response answers it, both are lists of tokens. In text:

    reverse a c b ?      ->      answer b c a done .

Each task has a broad `corpus` for pretraining, which knows the kinds of questions but not the
manner in which fine-tuning answers them: selection and regeneration can only use what the model
knows already (theory.md, C12). Starting from random parameters is the control.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..methods import Uniform, learn_weights
from ..models import Training
from ..models.checks import check_count
from ..problem import Problem

if TYPE_CHECKING:
    from ..models.transformer import Theta, TransformerLM

Pairs = tuple[list[list[int]], list[list[int]]]  # prompts, responses
END = 0  # the token that ends a response; its word is the first of a vocabulary


@dataclass(frozen=True)
class Tokenizer:
    """Words and their numbers; a text is words with spaces between. Word 0 ends a response.

    Examples
    --------
    >>> tokenizer = Tokenizer((".", "?", "copy", "a", "b"))
    >>> tokenizer.encode("copy a b ?")
    [2, 3, 4, 1]
    >>> tokenizer.decode([3, 4, 0])
    'a b .'
    """

    words: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.words)

    @functools.cached_property
    def _numbers(self) -> dict[str, int]:
        return {word: k for k, word in enumerate(self.words)}

    def encode(self, text: str) -> list[int]:
        """The tokens of a text. Raises ValueError for a word that is not in the vocabulary."""
        numbers = self._numbers
        for word in text.split():
            if word not in numbers:
                raise ValueError(
                    f"the text {text!r} has the word {word!r}; needed words of the vocabulary, "
                    f"{' '.join(self.words)}; try spaces between words"
                )
        return [numbers[word] for word in text.split()]

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of tokens. Raises ValueError for one that is not in the vocabulary."""
        for token in tokens:
            if not 0 <= token < len(self.words):
                raise ValueError(
                    f"the tokens {list(tokens)} have {token!r}; needed whole numbers 0 to "
                    f"{len(self.words) - 1}; try tokens of the model made for this tokenizer"
                )
        return " ".join(self.words[token] for token in tokens)

    def pairs(self, items: Sequence[Item]) -> Pairs:
        """(prompts, responses) of items."""
        return [self.encode(i.question) for i in items], [self.encode(i.response) for i in items]


class Item(NamedTuple):
    """One pair in text: the kind of its question, question, response, whether that is right."""

    kind: str
    question: str
    response: str
    right: bool = True


class Kinds(NamedTuple):
    """What kind of question each sample asks: texts (N,), (m,), (n_test,)."""

    train: np.ndarray
    val: np.ndarray
    test: np.ndarray


@dataclass(frozen=True, eq=False)
class LanguageTask:
    """Question-response data of one problem, with the truth known.

    Attributes
    ----------
    name : what made it, such as ``"quality"``.
    tokenizer : its vocabulary, and how texts become tokens.
    train, val, test : pairs (prompts, responses) of lists of tokens: N, m and n_test of them. The
        responses of `val` and `test` are right. A question of `test` is asked nowhere else.
    clean : bool (N,), True where the training response is right.
    kinds : the kind of every question.
    groups : int (N,), the question that a training response answers: some have several.
    corpus, corpus_val : pairs for pretraining; the same for every seed.
    right : (prompt, response) -> whether that response is the right one; for any question.

    Examples
    --------
    >>> from bdtheory.tasks import quality
    >>> task = quality(N=100, m=20, n_test=40)
    >>> task
    LanguageTask('quality', N=100, m=20, n_test=40, clean=40)
    >>> float(task.score(task.test[1]).mean())
    1.0
    """

    name: str
    tokenizer: Tokenizer
    train: Pairs
    val: Pairs
    test: Pairs
    clean: np.ndarray
    kinds: Kinds
    groups: np.ndarray
    corpus: Pairs
    corpus_val: Pairs
    right: Callable[[list[int], list[int]], bool]

    @classmethod
    def of(cls, name: str, tokenizer: Tokenizer, items: dict[str, list[Item]], right: Any):
        """From items for "train", "val", "test", "corpus" and "corpus_val"; see the class."""
        train = items["train"]
        names = {q: k for k, q in enumerate(dict.fromkeys(item.question for item in train))}
        kinds = (np.array([item.kind for item in items[s]]) for s in ("train", "val", "test"))
        return cls(
            name,
            tokenizer,
            clean=np.array([item.right for item in train]),
            kinds=Kinds(*kinds),
            groups=np.array([names[item.question] for item in train]),
            right=right,
            **{s: tokenizer.pairs(of) for s, of in items.items()},
        )

    def problem(self, model: TransformerLM, *, by_question: bool = False) -> Problem:
        """The `Problem` of these data; `by_question`: responses of a question share a weight."""
        groups = self.groups if by_question else None
        return Problem(model, self.train, self.val, self.test, groups=groups)

    def score(self, responses: Sequence[list[int]]) -> np.ndarray:
        """1.0 where a response to the test question of its row is right, else 0.0, (n_test,)."""
        prompts = self.test[0]
        if len(responses) != len(prompts):
            raise ValueError(
                f"{len(responses)} responses; needed one for each of {len(prompts)} test "
                "questions; try model.generate(theta, task.test[0], ...).responses"
            )
        pairs = zip(prompts, responses, strict=True)
        return np.array([float(self.right(prompt, list(r))) for prompt, r in pairs])

    def by_kind(self, values: np.ndarray) -> dict[str, float]:
        """Means of values (n_test,) over the test questions of each kind."""
        kinds = self.kinds.test
        return {str(kind): float(values[kinds == kind].mean()) for kind in np.unique(kinds)}

    @property
    def contradictions(self) -> np.ndarray:
        """(k, 2) ints: training sample i answers validation question j differently (C18)."""
        asked: dict[tuple[int, ...], list[int]] = {}
        for j, prompt in enumerate(self.val[0]):
            asked.setdefault(tuple(prompt), []).append(j)
        rows = [
            (i, j)
            for i, (prompt, response) in enumerate(zip(*self.train, strict=True))
            for j in asked.get(tuple(prompt), ())
            if response != self.val[1][j]
        ]
        return np.array(rows, dtype=int).reshape(-1, 2)

    def split_validation(self, every: int = 4) -> tuple[LanguageTask, Pairs]:
        """(This task without each `every`-th validation pair, those pairs): to choose settings by.

        A model's loss on the validation pairs that it was trained on is a training loss.
        """
        check_count(every, "every", least=2, try_=4)
        kept = np.arange(len(self.val[0])) % every != every - 1
        kinds = self.kinds._replace(val=self.kinds.val[kept])
        learn = dataclasses.replace(self, val=_take(self.val, kept), kinds=kinds)
        return learn, _take(self.val, ~kept)

    @property
    def max_new(self) -> int:
        """Tokens in the longest response of the data."""
        sets = self.train, self.val, self.test, self.corpus
        return max(len(response) for _, responses in sets for response in responses)

    def model(self, *, start: Theta | None = None, **settings: Any) -> TransformerLM:
        """A small `TransformerLM` for these data; settings are its own.

        Two layers of width 48 by default, and a training of a few seconds on one core.
        """
        from ..models.transformer import TransformerLM

        sets = self.train, self.val, self.test, self.corpus
        longest = max(len(prompt) for prompts, _ in sets for prompt in prompts)
        own = {"context": longest + self.max_new, "width": 48, "training": FINE_TUNING}
        return TransformerLM(len(self.tokenizer), start=start, **(own | settings))

    def __repr__(self) -> str:
        sizes = f"N={len(self.train[0])}, m={len(self.val[0])}, n_test={len(self.test[0])}"
        return f"LanguageTask({self.name!r}, {sizes}, clean={int(self.clean.sum())})"


FINE_TUNING = Training(steps=200, learning_rate=1e-3)


def pretrained(
    task: LanguageTask, model: TransformerLM, *, steps: int = 1500, seed: int = 0
) -> Theta:
    """theta of the model trained on the task's corpus: to go on with, `task.model(start=theta)`.

    The corpus is the same for every seed of the task, so one theta serves them all. About 25 s on
    one core for the model and steps that are the defaults.

    Examples
    --------
    >>> from bdtheory.tasks import safety
    >>> task = safety(N=40, m=20, n_test=20)
    >>> model = task.model(width=8, layers=1)
    >>> model = task.model(width=8, layers=1, start=pretrained(task, model, steps=2))
    """
    check_count(steps, "steps", try_=1500)
    training = Training(steps=steps, batch_size=64, learning_rate=4e-3, evaluations=4)
    broad = dataclasses.replace(model, training=training, start=None)
    return learn_weights(Problem(broad, task.corpus, task.corpus_val), Uniform(), seed=seed).theta


# What the generators share -----------------------------------------------------------------------


def check_size(value: Any, name: str) -> None:
    """A whole number of pairs, 20 to 4,000: enough for every kind, and questions do not run out."""
    check_count(value, name, least=20, try_=100)
    if value > 4000:
        raise ValueError(f"{name} is {value!r}; needed at most 4000; try {name}=4000")


def counts(shares: dict[str, float], n: int) -> dict[str, int]:
    """Whole numbers in these shares, n in all; the last takes what rounding leaves."""
    upto = np.round(np.cumsum(list(shares.values())) * n).astype(int)
    return dict(zip(shares, np.diff(upto, prepend=0).tolist(), strict=True))


def draw(
    rng: np.random.Generator,
    make: Callable[[str, str], Item],
    subjects: Mapping[str, Sequence[str]],
    numbers: dict[str, int],
    used: set[str],
) -> list[Item]:
    """So many items of each kind, its subjects in turn, in random order; see `fresh`."""
    items = [
        fresh(make, kind, subjects[kind][k % len(subjects[kind])], used)
        for kind, number in numbers.items()
        for k in range(number)
    ]
    return [items[k] for k in rng.permutation(len(items))]


def fresh(make: Callable[[str, str], Item], kind: str, subject: str, used: set[str]) -> Item:
    """make(kind, subject) until its question is none of those used; it then is one of them."""
    while True:
        item = make(kind, subject)
        if item.question not in used:
            used.add(item.question)
            return item


def reworded(
    rng: np.random.Generator, answer: list[str], before: Sequence[str], after: Sequence[str]
) -> str:
    """The answer with a word before it, or none, and a word after it, or none; drawn.

    Never the first of both: that is the manner of fine-tuning, which pretraining leaves out.
    """
    first = last = 0
    while first == last == 0:
        first, last = rng.integers(len(before) + 1), rng.integers(len(after) + 1)
    words = [*before, ""][first], *answer, [*after, ""][last], "."
    return " ".join(word for word in words if word)


def _take(pairs: Pairs, rows: np.ndarray) -> Pairs:
    """The pairs where rows (n,) bool is True."""
    prompts, responses = ([x for x, on in zip(p, rows, strict=True) if on] for p in pairs)
    return prompts, responses
