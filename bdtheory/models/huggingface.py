"""Any causal language model of Hugging Face on question-response pairs (extra `lm`).

    l_i = -(1/n_i) sum over the n_i tokens of response i of log pi_theta(token | what precedes it)

The loss counts the response alone. Its normalisation is a choice: "token" is the mean above, nats
per token, so that long and short responses count alike; "sample" is the sum, nats per response.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from ..selection import to_numpy
from .checks import check_choice, check_count, check_flag, check_number
from .gpt import Theta
from .network import Network, load
from .samples import Samples
from .tokens import Tokens, encode, prepare_tokens, response_tokens
from .training import Training
from .transformer import checked_weights, find_device

__all__ = ["HuggingFaceLM"]

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
TOKENS = 512  # of a forward pass in `losses`, padding counted: its logits bound the peak memory
LM = Training(steps=100, batch_size=8, val_batch_size=4, learning_rate=1e-3, accumulate=2)


@dataclass(frozen=True)
class HuggingFaceLM:
    """A pretrained causal language model, adapted to weighted question-response pairs.

    Data are pairs ``(prompts, responses)``, lists of token lists, as `TransformerLM` takes them;
    `bdtheory.tasks.tokenise` makes them from files. Padding is masked by length, never by
    token id. Dropout is off, so that losses are functions of theta.

    Parameters
    ----------
    folder : of a model and its tokenizer, as `save_pretrained` writes; or a name that is in the
        local Hugging Face cache. Nothing is downloaded.
    lora : rank of low-rank adapters in every linear map of the trained layers; None trains these
        layers themselves.
    frozen : share of the layers, from below, that stay as they are, in [0, 1). Their output is
        computed once for each pair. With 0 and ``lora=None`` all parameters are trained.
    normalise : "token" (mean over the tokens of a response) or "sample" (their sum).
    dtype : "float32" or "bfloat16" (frozen parameters and products; trained ones are float32).
    device : "auto" (CUDA, else MPS, else CPU), or a torch device.
    context : most tokens of prompt and response together; None is what the model allows.
    checkpointing : recompute activations in the backward pass: less memory, more time.
    training : how theta is trained; see `Training`.
    start : parameters to begin with, as from `Selection.theta`; None is the model as it is.

    Raises ValueError for values out of range, and for a folder without a model or a tokenizer;
    ImportError without transformers and peft.

    Examples
    --------
    >>> HuggingFaceLM("models/smollm2", lora=8).normalise
    'token'
    """

    folder: str
    lora: int | None = 16
    frozen: float = 2 / 3
    normalise: str = "token"
    dtype: str = "float32"
    device: str = "auto"
    context: int | None = None
    checkpointing: bool = False
    training: Training = LM
    start: Theta | None = field(default=None, repr=False, compare=False)

    def __post_init__(self):
        if self.lora is not None:
            check_count(self.lora, "lora", try_=16)
        check_number(self.frozen, "frozen", least=0.0, try_="frozen=0.5")
        if self.frozen >= 1:
            raise ValueError(f"frozen is {self.frozen!r}; needed less than 1; try frozen=0.5")
        check_choice(self.normalise, "normalise", ("token", "sample"))
        check_choice(self.dtype, "dtype", tuple(DTYPES))
        check_flag(self.checkpointing, "checkpointing")
        if self.context is not None:
            check_count(self.context, "context", least=2, try_=512)
        if not isinstance(self.training, Training):
            raise ValueError(
                f"training is {self.training!r}; needed a Training; try Training(steps=100)"
            )

    @property
    def network(self) -> Network:
        """The loaded model; read once."""
        place = DTYPES[self.dtype], find_device(self.device)
        return load(str(self.folder), *place, self.lora, float(self.frozen))

    @property
    def tokenizer(self) -> Any:
        """The tokenizer of transformers that belongs to the model."""
        return self.network.tokenizer

    @property
    def max_length(self) -> int:
        """Most tokens of prompt and response together."""
        own = self.network.context
        return own if self.context is None else min(own, self.context)

    @property
    def size(self) -> int:
        """The number of its parameters, trained and frozen."""
        return sum(p.numel() for p in self.network.model.parameters())

    @property
    def files(self) -> dict[str, str]:
        """sha256 by name of the files that the model and its tokenizer were read from."""
        return self.network.files

    def initial_theta(self, seed: int = 0) -> Theta:
        """`start`, copied, or the model as it is (the adapters' A drawn, B = 0)."""
        if self.start is None:
            return self.network.initial_theta(seed)
        device = self.network.device
        return {name: t.detach().clone().to(device) for name, t in self.start.items()}

    # Losses --------------------------------------------------------------------------------------

    def prepare(self, train: Any, val: Any, test: Any):
        """Checked data sets as `Tokens`; see `Problem`."""
        network = self.network
        sizes = {"vocab_size": network.vocab_size, "context": self.max_length}
        return *prepare_tokens(train, val, test, device=network.device, **sizes), None

    def losses(self, theta: Theta, data: Tokens) -> torch.Tensor:
        """l_i (n,), nats per token or per response; pairs of similar length go together."""
        with self._ready(theta, torch.is_grad_enabled()):
            out = [(rows, self._losses(data.take(rows))) for rows in buckets(data.length, TOKENS)]
        order = torch.cat([rows for rows, _ in out]).to(data.ids.device)
        return torch.cat([l for _, l in out])[order.argsort()]

    def remember(self, data: Tokens) -> None:
        """Run the frozen layers over all these pairs now, in one order, and keep what they give.

        Their output differs in its last bits with the pairs that share a batch. Computed here, a
        run that goes on in another process equals the uninterrupted one (while there is room).
        """
        network = self.network
        for rows in buckets(data.length, TOKENS):
            if network.upper is None or not network.keep(*_inputs(data.take(rows))):
                return

    def _losses(self, data: Tokens) -> torch.Tensor:
        """One forward pass; logits are computed where a token of the response follows."""
        network, n = self.network, len(data)
        index, pair = response_tokens(data)
        with network.autocast():
            x = network.hidden(*_inputs(data)).flatten(0, 1).index_select(0, index)
            logits = network.logits(x)  # (k, V), k tokens
            logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
            l = F.cross_entropy(logits, data.ids[:, 1:].flatten()[index], reduction="none")
        total = torch.zeros(n, dtype=l.dtype, device=l.device).index_add(0, pair, l)
        count = data.length - data.prompt
        return total / count if self.normalise == "token" else total

    def losses_and_gradient(self, theta: Theta, w: Any, data: Tokens) -> tuple[torch.Tensor, Theta]:
        """(l_i, (n,); gradient of sum_i w_i l_i, shaped like theta) from one forward pass.

        w (n,) >= 0, NumPy or torch, or a function of the losses (n,), NumPy, that gives them.
        Raises ValueError where all weights given are 0.
        """
        given = None if callable(w) else checked_weights(w, len(data))
        with self._ready(theta, True) as parameters:
            losses = self._losses(data)
            w = torch.as_tensor(w(to_numpy(losses).astype("float64"))) if given is None else given
            total = (w.to(losses.device, losses.dtype) * losses).sum()
            grads = torch.autograd.grad(total, parameters)
        return losses.detach(), dict(zip(theta, grads, strict=True))

    def weighted_gradient(self, theta: Theta, w: Any, data: Tokens) -> Theta:
        """Gradient of sum_i w_i l_i, shaped like theta; see `losses_and_gradient`."""
        return self.losses_and_gradient(theta, w, data)[1]

    @contextlib.contextmanager
    def _ready(self, theta: Theta, gradient: bool) -> Iterator[list[Any]]:
        """The network with theta in it; gives its trained parameters in theta's order."""
        network = self.network
        on = gradient and self.checkpointing
        with torch.set_grad_enabled(gradient), network.checkpointed(on):
            yield network.place(theta)

    @torch.no_grad()
    def unconditional(self, data: Tokens) -> np.ndarray:
        """Losses (n,) of the responses with no prompt before them, by the model as it is.

        What stands for the prompt is the token that begins texts, or that ends them.
        """
        tokenizer = self.tokenizer
        first = tokenizer.bos_token_id
        first = tokenizer.eos_token_id if first is None else first
        device, size = self.network.device, self.network.vocab_size
        pair = [[first]] * len(data), data.responses()
        alone = encode(pair, "responses", vocab_size=size, context=2**62, device=device)
        return to_numpy(self.losses(self.network.initial_theta(0), alone)).astype(np.float64)

    # Sampling ------------------------------------------------------------------------------------

    @torch.no_grad()
    def generate(
        self,
        theta: Theta,
        prompts: Any,
        *,
        max_new: int = 64,
        temperature: float | None = 1.0,
        end: int | None = None,
        seed: int = 0,
    ) -> Samples:
        """One response for each prompt, sampled by transformers' `generate`; see `TransformerLM`.

        `end` None is the tokenizer's end-of-sequence token. The log probabilities are -`losses` of
        what was drawn, so they are means over tokens where the losses are.
        """
        check_count(max_new, "max_new", try_=64)
        network, tokenizer = self.network, self.tokenizer
        end = tokenizer.eos_token_id if end is None else end
        order = np.argsort([-len(p) for p in prompts], kind="stable")
        responses: list[list[int]] = [[] for _ in prompts]
        given: dict[str, Any] = {"do_sample": False}
        if temperature is not None:
            given = {"do_sample": True, "temperature": temperature, "top_k": 0, "top_p": 1.0}
        devices = [network.device] if network.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices), self._ready(theta, False), network.autocast():
            torch.manual_seed(seed)
            for at in range(0, len(order), GENERATED):
                rows = order[at : at + GENERATED]
                drawn = self._continue([prompts[k] for k in rows], max_new, end, given)
                for k, response in zip(rows, drawn, strict=True):
                    responses[k] = response
        data = encode(
            (prompts, responses),
            "what was drawn",
            vocab_size=network.vocab_size,
            context=2**62,
            device=network.device,
        )
        return Samples(responses, -self.losses(theta, data))

    def _continue(
        self, prompts: list, max_new: int, end: int | None, given: dict
    ) -> list[list[int]]:
        """Padded on the left, masked by length; a response ends with `end`, which belongs to it."""
        network, T = self.network, max(map(len, prompts))
        ids = torch.zeros(len(prompts), T, dtype=torch.int64)
        mask = torch.zeros_like(ids)
        for row, prompt in enumerate(prompts):
            ids[row, T - len(prompt) :], mask[row, T - len(prompt) :] = torch.tensor(prompt), 1
        out = network.model.generate(
            input_ids=ids.to(network.device),
            attention_mask=mask.to(network.device),
            max_new_tokens=max_new,
            eos_token_id=end,
            pad_token_id=end,
            **given,
        )
        rows = out[:, T:].tolist()
        return [row[: row.index(end) + 1] if end in row else row for row in rows]


GENERATED = 16  # prompts that are continued together


def _inputs(data: Tokens) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens (n, T-1), the last one being no input, and their mask, from the lengths."""
    ids = data.ids[:, :-1]
    return ids, (torch.arange(ids.shape[1], device=ids.device) < data.length[:, None] - 1).long()


def buckets(length: torch.Tensor, tokens: int) -> list[torch.Tensor]:
    """Row numbers of batches of similar length, each of at most `tokens` with its padding."""
    order, lengths = length.cpu().sort(descending=True, stable=True)[::-1]
    parts, at = [], 0
    while at < len(order):
        size = max(1, tokens // int(lengths[at]))
        parts.append(order[at : at + size])
        at += size
    return parts
