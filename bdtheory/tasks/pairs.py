"""Question-response pairs from rows with named columns, and their tokens.

The loss counts the tokens of the response only: of a conversation the last message, no turn of
the assistant before it. The formats are in formats.py.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..rows import Row, placed_rows
from ..storage import fail
from .encoding import Encoded, fitted, plain, rendered
from .formats import Message, Prompt, parts_of

TOO_LONG = ("error", "cut", "drop")


@dataclass(frozen=True, eq=False)
class Pairs:
    """Rows, and the prompt and the completion that each of them holds.

    Attributes
    ----------
    rows : list of dicts, one per pair, with all their columns.
    kind : "prompt/completion", "question/response" or "messages".
    prompts : texts, or lists of messages, the same for all pairs.
    completions : texts.
    name : for errors: the file, or what the data set is called.
    places : for errors: where each row stands, as "line 3" of a file.

    Examples
    --------
    >>> pairs = read_pairs([{"question": "2 + 2?", "response": "4"}], "train")
    >>> pairs
    Pairs(n=1, kind='question/response', name='train')
    >>> pairs.prompts, pairs.completions
    (['2 + 2?'], ['4'])
    """

    rows: list[Row]
    kind: str
    prompts: list[Prompt]
    completions: list[str]
    name: str
    places: list[str]

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        return f"Pairs(n={len(self)}, kind={self.kind!r}, name={self.name!r})"

    def take(self, rows: Any) -> Pairs:
        """The pairs with these row numbers, (k,) ints, or where an (n,) mask is True."""
        picked = np.arange(len(self))[list(rows)]
        parts = self.prompts, self.completions, self.places
        prompts, completions, places = ([part[k] for k in picked] for part in parts)
        kept = [self.rows[k] for k in picked]
        return Pairs(kept, self.kind, prompts, completions, self.name, places)


def read_pairs(source: Any, name: str | None = None) -> Pairs:
    """The pairs in a file, a `datasets.Dataset` or a list of dicts; the columns say the format.

    Parameters
    ----------
    source : see `read_rows`.
    name : for errors, of a source that is no file, as "train".

    Raises ValueError, in one line with the file and the line, for a missing column, rows of
    different formats, an empty prompt or completion, and anything else that is no such pair. A
    prompt that is an empty text is left to `tokenise`: a tokenizer that begins texts with a token
    of its own has a prompt then. A column that is null counts as missing.

    Examples
    --------
    >>> asked = {"role": "user", "content": "2 + 2?"}
    >>> pairs = read_pairs([{"messages": [asked, {"role": "assistant", "content": "4"}]}])
    >>> pairs.prompts, pairs.completions
    ([[{'role': 'user', 'content': '2 + 2?'}]], ['4'])
    """
    name, rows, places = placed_rows(source, name)
    kind = form = None
    prompts, completions = [], []
    for row, place in zip(rows, places, strict=True):
        kind, prompt, completion = parts_of(f"{name}, {place}", row, kind)
        form = form or type(prompt)
        if type(prompt) is not form:
            got = "a prompt that is a " + ("text" if isinstance(prompt, str) else "conversation")
            fail(f"{name}, {place}", got, "one form for all rows", "a file for each form")
        prompts.append(prompt)
        completions.append(completion)
    return Pairs(rows, kind or "", prompts, completions, name, places)


def overlap(train: Pairs, val: Pairs) -> int:
    """How many validation pairs also stand in the training data, prompt and completion alike.

    Parameters
    ----------
    train, val : compared by content: a question is the one user message that it stands for.

    Examples
    --------
    >>> train = read_pairs([{"prompt": "1 + 1 =", "completion": " 2"}] * 3)
    >>> overlap(train, read_pairs([{"prompt": "1 + 1 =", "completion": " 2", "id": 1}]))
    1
    """
    seen = set(_contents(train))
    return sum(content in seen for content in _contents(val))


def _contents(pairs: Pairs) -> list[str]:
    """Each pair as JSON."""
    both = zip(conversations(pairs) or pairs.prompts, pairs.completions, strict=True)
    return [json.dumps(pair, sort_keys=True) for pair in both]


def conversations(pairs: Pairs) -> list[list[Message]] | None:
    """The prompts as lists of messages; None where they are plain texts."""
    if pairs.kind == "question/response":
        return [[{"role": "user", "content": question}] for question in pairs.prompts]
    messages = [prompt for prompt in pairs.prompts if not isinstance(prompt, str)]
    return messages or None


def tokenise(pairs: Pairs, tokenizer: Any, *, max_length: int, too_long: str = "error") -> Encoded:
    """The tokens of prompts and responses.

    Plain texts: the tokens that the tokenizer puts in front of a text (BOS) and the prompt's; then
    the completion's and the end token, unless it ends in that. Conversations: the chat template's
    rendering of the prompt with the header of the assistant's turn; then what the rendering of
    the whole conversation has after that, its end of turn included. Questions go through the chat
    template if there is one; else a question is plain text with a line break after it.

    Parameters
    ----------
    pairs : from `read_pairs`.
    tokenizer : a `transformers` tokenizer.
    max_length : the most tokens that prompt and response may have together, at least 2.
    too_long : what happens to a longer pair: "error"; "cut", which drops tokens at the left of
        the prompt, the first of all included, and where one token of it is left, at the end of
        the response; or "drop", which leaves the pair out.

    Raises ValueError for pairs too long, all pairs dropped, messages without a chat template, a
    template that renders a prompt otherwise when a response follows, and text without any token.

    Examples
    --------
    >>> class Bytes:  # a stand-in for a tokenizer
    ...     chat_template, eos_token, eos_token_id = None, "<end>", 0
    ...     def __call__(self, texts, **options):
    ...         return {"input_ids": [list(text.encode()) for text in texts]}
    >>> pairs = read_pairs([{"prompt": "ab", "completion": "c"}])
    >>> encoded = tokenise(pairs, Bytes(), max_length=8)
    >>> encoded.prompts, encoded.responses
    ([[97, 98]], [[99, 0]])
    """
    if too_long not in TOO_LONG:
        needed = "'error', 'cut' or 'drop'"
        raise ValueError(f"too_long: got {too_long!r}; needed {needed}; try 'cut'")
    if max_length < 2:
        raise ValueError(f"max_length: got {max_length}; needed at least 2; try 256")
    if not len(pairs):
        fail(pairs.name, "no pairs", "at least one", "other rows")
    places = [f"{pairs.name}, {place}" for place in pairs.places]
    asked = conversations(pairs)
    if getattr(tokenizer, "chat_template", None) is not None and asked is not None:
        parts = rendered(asked, pairs.completions, tokenizer, places)
    else:
        texts, how = _texts(pairs)
        prompts, responses, end = plain(texts, pairs.completions, tokenizer, places)
        parts = prompts, responses, f"{how}, {end}"
    return fitted(parts, max_length, too_long, places)


def _texts(pairs: Pairs) -> tuple[list[str], str]:
    """(prompts, how) as plain text."""
    if pairs.kind == "question/response":
        how = "plain text, as the tokenizer has no chat template: question, line break, response"
        return [f"{question}\n" for question in pairs.prompts], how
    texts = [prompt for prompt in pairs.prompts if isinstance(prompt, str)]
    if not texts:
        got, needed = "a tokenizer without a chat template", "one for conversations"
        remedy = "an instruction-tuned model's tokenizer, or columns prompt and completion"
        fail(pairs.name, got, needed, remedy)
    return texts, "plain text: prompt, completion"
