"""Question-response pairs as padded tokens: checked once, here, with errors that name the pair."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from array_api_compat import is_torch_array

from ..problem import Array


@dataclass(frozen=True, eq=False)
class Tokens:
    """n pairs, each a prompt and then its response, padded on the right with 0.

    Attributes
    ----------
    ids : torch int64 (n, T), tokens.
    prompt, length : torch int64 (n,): tokens of the prompt; of prompt and response together.
    like : an empty float64 array of the kind, NumPy or torch, that selector weights have.
    """

    ids: Any
    prompt: Any
    length: Any
    like: Array

    def __len__(self) -> int:
        return self.ids.shape[0]

    def join(self, other: Tokens) -> Tokens:
        """These pairs followed by the other's."""
        import torch

        T = max(self.ids.shape[1], other.ids.shape[1])
        pad = torch.nn.functional.pad
        ids = torch.cat([pad(d.ids, (0, T - d.ids.shape[1])) for d in (self, other)])
        prompt = torch.cat([self.prompt, other.prompt])
        return Tokens(ids, prompt, torch.cat([self.length, other.length]), self.like)

    def take(self, rows: Any) -> Tokens:
        """The pairs with these row numbers, (k,) ints, without padding that none of them needs."""
        import torch

        rows = torch.as_tensor(rows, device=self.ids.device)
        length = self.length[rows]
        T = int(length.max()) if len(length) else 0
        return Tokens(self.ids[rows, :T], self.prompt[rows], length, self.like)

    def prompts(self) -> list[list[int]]:
        """The questions, lists of tokens."""
        return [prompt for prompt, _ in self.pairs()]

    def responses(self) -> list[list[int]]:
        """The responses, lists of tokens."""
        return [response for _, response in self.pairs()]

    def answered(self, rows: np.ndarray, responses: list[list[int]]) -> Tokens:
        """The questions of these rows, each with a response."""
        asked = self.prompts()
        return _padded([asked[k] for k in rows], responses, self.like, self.ids.device)

    def pairs(self) -> list[tuple[list[int], list[int]]]:
        """(prompt, response) of each pair as lists of tokens."""
        rows = zip(self.ids.tolist(), self.prompt.tolist(), self.length.tolist(), strict=True)
        return [(ids[:p], ids[p:n]) for ids, p, n in rows]


def prepare_tokens(
    train: Any, val: Any, test: Any, *, vocab_size: int, context: int, device: Any
) -> tuple[Tokens, Tokens, Tokens | None]:
    """The three data sets as `Tokens` on the device, checked."""
    sizes = {"vocab_size": vocab_size, "context": context, "device": device}
    return (
        encode(train, "train", **sizes),
        encode(val, "val", **sizes),
        None if test is None else encode(test, "test", **sizes),
    )


def encode(pair: Any, name: str, *, vocab_size: int, context: int, device: Any) -> Tokens:
    """`Tokens` of (prompts, responses), sequences of token sequences; `name` is for errors."""
    import torch

    prompts, responses = _pair(pair, name)
    torch_in = is_torch_array(prompts) or is_torch_array(next(iter(prompts)))
    prompts, responses = (_lists(part) for part in (prompts, responses))
    for row, (prompt, response) in enumerate(zip(prompts, responses, strict=True)):
        where = f"pair {row} of {name}"
        _check_tokens(prompt, f"the prompt of {where}", vocab_size)
        _check_tokens(response, f"the response of {where}", vocab_size)
        if len(prompt) + len(response) > context:
            raise ValueError(
                f"{where} has {len(prompt)} + {len(response)} tokens in prompt and response; "
                f"needed at most context = {context} together; try a larger context, or drop it"
            )
    like = torch.empty(0, dtype=torch.float64) if torch_in else np.empty(0)
    return _padded(prompts, responses, like, device)


def _padded(prompts: Any, responses: Any, like: Array, device: Any) -> Tokens:
    """`Tokens` of lists of token lists, as they are."""
    import torch

    length = torch.tensor([len(p) + len(r) for p, r in zip(prompts, responses, strict=True)])
    ids = torch.zeros(len(prompts), int(length.max()), dtype=torch.int64)
    for row, (prompt, response) in enumerate(zip(prompts, responses, strict=True)):
        ids[row, : int(length[row])] = torch.tensor([*prompt, *response])
    prompt_length = torch.tensor([len(p) for p in prompts])
    return Tokens(ids.to(device), prompt_length.to(device), length.to(device), like)


def response_tokens(data: Tokens) -> tuple[Any, Any]:
    """Where a token of a response follows, among the n (T - 1) inputs (k,); and of which pair (k,).

    Position t predicts token t + 1, so the last token is no input.
    """
    import torch

    T = data.ids.shape[1]
    at = torch.arange(1, T, device=data.ids.device)  # position of the token predicted
    counts = (at >= data.prompt[:, None]) & (at < data.length[:, None])  # (n, T-1)
    index = counts.flatten().nonzero()[:, 0]
    return index, index // (T - 1)


def encode_prompts(prompts: Any, room: int, *, vocab_size: int, device: Any) -> Tokens:
    """`Tokens` of prompts of at most `room` tokens; the response is one token still to be drawn."""
    if not hasattr(prompts, "__len__") or not len(prompts):
        raise ValueError(
            f"prompts is {prompts!r}; needed a list of token lists, at least one; try [[1, 2]]"
        )
    pair = prompts, [[0]] * len(prompts)
    data = encode(pair, "the prompts", vocab_size=vocab_size, context=2**62, device=device)
    if (longest := int(data.prompt.max())) > room:
        raise ValueError(
            f"prompt {int(data.prompt.argmax())} has {longest} tokens; needed at most {room}, "
            "context - max_new; try a smaller max_new or a larger context"
        )
    return data


def _pair(pair: Any, name: str) -> tuple[Any, Any]:
    try:
        prompts, responses = pair
        sizes = len(prompts), len(responses)
    except (TypeError, ValueError):
        raise ValueError(
            f"{name} is {type(pair).__name__}; needed a pair (prompts, responses) of lists of "
            f"token lists; try {name}=([[1, 2]], [[3, 0]])"
        ) from None
    if sizes[0] != sizes[1] or not sizes[0]:
        raise ValueError(
            f"{name} has {sizes[0]} prompts and {sizes[1]} responses; needed as many of both, at "
            "least one; try the lists of one data set"
        )
    return prompts, responses


def _lists(part: Any) -> list[list[int]]:
    return [row.tolist() if hasattr(row, "tolist") else row for row in part]


def _check_tokens(tokens: Any, what: str, vocab_size: int) -> None:
    """At least one token, all of them whole numbers in 0..vocab_size-1."""
    if not isinstance(tokens, Sequence) or isinstance(tokens, str):
        raise ValueError(
            f"{what} is {tokens!r}; needed a list of tokens, whole numbers; try your tokenizer's "
            "encode first"
        )
    if not tokens:
        raise ValueError(f"{what} is empty; needed at least one token; try dropping this pair")
    for token in tokens:
        whole = isinstance(token, int | np.integer) and not isinstance(token, bool)
        if not whole or not 0 <= token < vocab_size:
            raise ValueError(
                f"{what} has the token {token!r}; needed whole numbers 0 to {vocab_size - 1}, the "
                "vocabulary; try the tokenizer that the model was made for"
            )
