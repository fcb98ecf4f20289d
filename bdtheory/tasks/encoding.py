"""How texts and conversations become tokens that fit a model's context.

`places` say in errors which pair it is, as "train.jsonl, line 3".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..storage import fail
from .formats import Message

Tokens = list[list[int]]


@dataclass(frozen=True, eq=False)
class Encoded:
    """Pairs as tokens, and what it took to get there.

    Attributes
    ----------
    prompts, responses : lists of token lists, none of them empty.
    rows : (k,) ints, which of the pairs these are, in increasing order.
    cut, dropped : numbers of pairs that were shortened, and left out, for their length.
    template : one line that says how a pair becomes tokens.

    Examples
    --------
    >>> Encoded([[5, 6]], [[7, 2]], np.array([0]), 0, 0, "plain text")
    Encoded(k=1, cut=0, dropped=0, template='plain text')
    """

    prompts: list[list[int]]
    responses: list[list[int]]
    rows: np.ndarray
    cut: int
    dropped: int
    template: str

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        counts = f"k={len(self)}, cut={self.cut}, dropped={self.dropped}"
        return f"Encoded({counts}, template={self.template!r})"


def rendered(
    asked: list[list[Message]], completions: list[str], tokenizer: Any, places: list[str]
) -> tuple[Tokens, Tokens, str]:
    """(prompts, responses, how) of conversations, by the chat template."""
    texts = [
        _turn(where, tokenizer, prompt, completion)
        for where, prompt, completion in zip(places, asked, completions, strict=True)
    ]
    prompts = _ids([prompt for prompt, _ in texts], "prompt", tokenizer, places)
    responses = _ids([response for _, response in texts], "response", tokenizer, places)
    how = "the tokenizer's chat template; the response is the last turn with its end"
    return prompts, responses, how


def _turn(where: str, tokenizer: Any, prompt: list[Message], completion: str) -> tuple[str, str]:
    """(text of the prompt with the header of the assistant's turn, what follows in the whole)."""
    before = _render(where, tokenizer, prompt, True)
    answer = {"role": "assistant", "content": completion}
    whole = _render(where, tokenizer, [*prompt, answer], False)
    if not whole.startswith(before):
        got = "a chat template that renders the prompt otherwise when a response follows"
        needed = "one whose rendering of the whole begins with that of the prompt"
        fail(where, got, needed, "columns prompt and completion with plain text")
    return before, whole[len(before) :]


def _render(where: str, tokenizer: Any, messages: list[Message], ask: bool) -> str:
    """The conversation as text; with the header of the assistant's turn if `ask`."""
    try:
        return tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=ask)
    except Exception as error:  # a template may raise whatever it likes
        roles = ", ".join(message["role"] for message in messages)
        got = f"messages that the chat template refuses ({error}; roles {roles})"
        fail(where, got, "roles in an order that it takes", "user and assistant in turn")


def plain(
    prompts: list[str], completions: list[str], tokenizer: Any, places: list[str]
) -> tuple[Tokens, Tokens, str]:
    """(prompts, responses, how they end) of plain texts: BOS, prompt; completion, end token."""
    front = _front(completions[0], tokenizer)
    asked = _ids(prompts, "prompt", tokenizer, places, front)
    responses = _ids(completions, "completion", tokenizer, places)
    end = tokenizer.eos_token_id
    if end is None:
        return asked, responses, "no end token, as the tokenizer has none"
    responses = [ids if ids[-1] == end else [*ids, end] for ids in responses]
    return asked, responses, f"end token {tokenizer.eos_token!r}"


def _front(text: str, tokenizer: Any) -> list[int]:
    """The tokens that the tokenizer puts in front of a text; it may put some behind as well."""
    bare, full = (
        tokenizer([text], add_special_tokens=special, verbose=False)["input_ids"][0]
        for special in (False, True)
    )
    starts = range(len(full) - len(bare) + 1)
    return next((full[:k] for k in starts if full[k : k + len(bare)] == bare), [])


def _ids(
    texts: list[str], part: str, tokenizer: Any, places: list[str], front: list[int] | None = None
) -> Tokens:
    """The tokens of the texts, `front` before each; at least one."""
    # verbose: no warning of texts longer than the model's context, as length is seen to later.
    found = tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]
    tokens = [[*(front or []), *ids] for ids in found]
    for ids, where in zip(tokens, places, strict=True):
        if not ids:
            remedy = "dropping this row, or a tokenizer with a BOS token"
            fail(where, f"no token in the {part}", "at least one", remedy)
    return tokens


def fitted(
    parts: tuple[Tokens, Tokens, str], max_length: int, too_long: str, places: list[str]
) -> Encoded:
    """The pairs that have at most max_length tokens, or all of them, shortened to that."""
    prompts, responses, template = parts
    length = np.array([len(p) + len(r) for p, r in zip(prompts, responses, strict=True)])
    long, rows = np.flatnonzero(length > max_length), np.arange(len(length))
    if not len(long):
        return Encoded(prompts, responses, rows, 0, 0, template)
    got = f"{len(long)} of {len(rows)} pairs with too many tokens, the longest {length.max()}"
    needed = f"at most {max_length} in prompt and response"
    where = places[long[0]]
    if too_long == "error":
        fail(where, got, needed, "--too-long cut or --too-long drop, or a larger --max-length")
    if too_long == "drop":
        rows = np.flatnonzero(length <= max_length)
        if not len(rows):
            fail(where, got, needed, "--too-long cut, or a larger --max-length")
        prompts, responses = ([part[k] for k in rows] for part in (prompts, responses))
        return Encoded(prompts, responses, rows, 0, len(long), template)
    responses = [ids[: max_length - 1] for ids in responses]
    # At least one token of the prompt stays: the response's first token is predicted from it.
    prompts = [p[len(r) - max_length :] for p, r in zip(prompts, responses, strict=True)]
    return Encoded(prompts, responses, rows, len(long), 0, template)
