"""A small GPT on question-response pairs: the loss of each pair, and sampling.

    l_i = -sum over the tokens of response i of log pi_theta(token given what precedes it)

The network is in gpt.py. Here: only response positions are multiplied with the embedding, so that
prompts cost no logits, and losses come per pair, not as a mean.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F

from ..selection import to_numpy
from .checks import check_choice, check_count, check_flag, check_number
from .gpt import Cache, Theta, hidden, shapes
from .samples import Samples
from .tokens import Tokens, encode, encode_prompts, prepare_tokens, response_tokens
from .training import DEFAULT, Training

CHUNK = 256  # pairs per forward pass of `losses`: bounds the memory of an evaluation
DTYPES = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.float32}


@dataclass(frozen=True)
class TransformerLM:
    """A decoder-only transformer on question-response pairs; the loss counts the response only.

    Data are pairs ``(prompts, responses)``, lists of lists of tokens 0..vocab_size-1; a response
    ends with whatever token ends it. `l_i` is the sum over its tokens, in nats, not their mean. The
    model is trained, so the status of a run that went well is MAX_ITERATIONS: nothing is certified.

    Parameters
    ----------
    vocab_size, context : tokens in the vocabulary; most tokens of prompt and response together.
    layers, heads, width : shape; `width` is a multiple of 2 * `heads`.
    dtype : "float32", "float64", or "bfloat16" (parameters float32, products by autocast).
    device : "auto" (CUDA, else MPS, else CPU), or a torch device.
    compile : whether the training pass goes through `torch.compile`; pays on GPUs.
    training : how theta is trained; see `Training`.
    start : parameters to begin with, as from `Selection.theta`; None draws them.

    Raises ValueError for sizes that do not fit together.

    Examples
    --------
    >>> import bdtheory as bdt
    >>> prompts, responses = [[1, 7], [2, 7], [3, 7]], [[4, 0], [5, 0], [6, 0]]     # 0 ends
    >>> training = bdt.Training(steps=60, learning_rate=1e-2)
    >>> model = bdt.TransformerLM(vocab_size=8, context=4, layers=1, width=16, training=training)
    >>> problem = bdt.Problem(model, (prompts, responses), val=(prompts, responses))
    >>> fit = bdt.learn_weights(problem, bdt.Penalty())
    >>> model.generate(fit.theta, [[2, 7]], max_new=2, temperature=None, end=0).responses
    [[5, 0]]
    """

    vocab_size: int
    context: int = 64
    layers: int = 2
    heads: int = 2
    width: int = 64
    dtype: str = "float32"
    device: str = "auto"
    compile: bool = False
    training: Training = DEFAULT
    start: Theta | None = field(default=None, repr=False, compare=False)

    def __post_init__(self):
        for name, try_ in (("vocab_size", 64), ("context", 64), ("layers", 2), ("heads", 2)):
            check_count(getattr(self, name), name, try_=try_)
        check_count(self.width, "width", try_=64)
        check_choice(self.dtype, "dtype", tuple(DTYPES))
        check_flag(self.compile, "compile")
        unit = 2 * self.heads
        if self.width % unit:
            raise ValueError(
                f"width is {self.width} with {self.heads} heads; needed a multiple of 2 * heads, "
                f"for rotary positions; try width={unit * math.ceil(self.width / unit)}"
            )
        if not isinstance(self.training, Training):
            raise ValueError(
                f"training is {self.training!r}; needed a Training; try Training(steps=500)"
            )
        if self.start is not None:
            self._check_theta(self.start, "start")

    # Parameters ----------------------------------------------------------------------------------

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of every parameter, by name."""
        return shapes(self.vocab_size, self.width, self.layers)

    def initial_theta(self, seed: int = 0) -> Theta:
        """`start`, copied, or random parameters as in GPT-2: normal, std .02; norms are 1.

        What is added to the residual stream is scaled by 1 / sqrt(2 layers).
        """
        place = {"device": find_device(self.device), "dtype": DTYPES[self.dtype]}
        if self.start is not None:
            return {name: self.start[name].detach().clone().to(**place) for name in self.shapes()}
        generator, theta = torch.Generator().manual_seed(seed), {}
        for name, shape in self.shapes().items():
            added = name.endswith(("out", "down"))
            std = 0.02 / math.sqrt(2 * self.layers) if added else 0.02
            drawn = torch.randn(shape, generator=generator, dtype=torch.float64) * std
            theta[name] = (drawn if len(shape) > 1 else torch.ones(shape)).to(**place)
        return theta

    def _check_theta(self, theta: Theta, name: str = "theta") -> None:
        """A ValueError unless theta is a dict of tensors of this model's shapes."""
        parts = theta.values() if isinstance(theta, dict) else [theta]
        if not isinstance(theta, dict) or not all(isinstance(p, torch.Tensor) for p in parts):
            raise ValueError(
                f"{name} is or holds {type(next(iter(parts))).__name__}; needed a dict of tensors; "
                "try Selection.theta of an earlier run"
            )
        got, needed = {key: tuple(t.shape) for key, t in theta.items()}, self.shapes()
        if got != needed:
            wrong = next(n for n in [*needed, *got] if got.get(n) != needed.get(n))
            raise ValueError(
                f"{name} has {wrong!r} of shape {got.get(wrong, 'nothing')}; needed "
                f"{needed.get(wrong, 'nothing')}; try the parameters of a model with the same "
                "vocab_size, layers and width"
            )

    # Losses --------------------------------------------------------------------------------------

    def prepare(self, train: Any, val: Any, test: Any):
        """Checked data sets as `Tokens`; see `Problem`."""
        sizes = {"vocab_size": self.vocab_size, "context": self.context}
        return *prepare_tokens(train, val, test, device=find_device(self.device), **sizes), None

    def losses(self, theta: Theta, data: Tokens) -> torch.Tensor:
        """l_i = -log pi_theta(response i given prompt i), (n,), differentiable in theta."""
        if len(data) <= CHUNK:
            return self._losses(theta, data)
        parts = torch.arange(len(data)).split(CHUNK)
        return torch.cat([self._losses(theta, data.take(rows)) for rows in parts])

    def _losses(self, theta: Theta, data: Tokens) -> torch.Tensor:
        """One forward pass. Padding follows every token that counts, and attention is causal."""
        index, pair = response_tokens(data)
        trunk = _compiled() if self.compile else hidden
        with self._autocast(data.ids.device):
            x = trunk(theta, data.ids[:, :-1], self.layers, self.heads, wanted=index)  # (k, C)
            logits = F.linear(x, theta["embedding"])  # (k, V)
            per_token = F.cross_entropy(logits, data.ids[:, 1:].flatten()[index], reduction="none")
        zero = torch.zeros(len(data), dtype=per_token.dtype, device=x.device)
        return zero.index_add(0, pair, per_token)

    def losses_and_gradient(self, theta: Theta, w: Any, data: Tokens) -> tuple[torch.Tensor, Theta]:
        """(l_i, (n,); gradient of sum_i w_i l_i, shaped like theta) from one forward pass.

        w (n,) >= 0, NumPy or torch, or a function of the losses (n,), NumPy, that gives them.
        Raises ValueError where all weights given are 0.
        """
        given = None if callable(w) else checked_weights(w, len(data))
        leaves = {name: t.detach().requires_grad_() for name, t in theta.items()}
        losses = self.losses(leaves, data)
        w = torch.as_tensor(w(to_numpy(losses).astype("float64"))) if given is None else given
        total = (w.to(losses.device, losses.dtype) * losses).sum()
        grads = torch.autograd.grad(total, list(leaves.values()))
        return losses.detach(), dict(zip(leaves, grads, strict=True))

    def weighted_gradient(self, theta: Theta, w: Any, data: Tokens) -> Theta:
        """Gradient of sum_i w_i l_i, shaped like theta; see `losses_and_gradient`."""
        return self.losses_and_gradient(theta, w, data)[1]

    def log_probs(self, theta: Theta, prompts: Any, responses: Any) -> torch.Tensor:
        """log pi_theta(response given prompt) of each pair, (n,)."""
        self._check_theta(theta)
        sizes = {"vocab_size": self.vocab_size, "context": self.context}
        data = encode((prompts, responses), "data", device=find_device(self.device), **sizes)
        return -self.losses(theta, data)

    def _autocast(self, device: torch.device):
        return torch.autocast(device.type, torch.bfloat16, enabled=self.dtype == "bfloat16")

    # Sampling ------------------------------------------------------------------------------------

    @torch.no_grad()
    def generate(
        self,
        theta: Theta,
        prompts: Any,
        *,
        max_new: int = 32,
        temperature: float | None = 1.0,
        end: int | None = None,
        seed: int = 0,
    ) -> Samples:
        """One response for each prompt, sampled in one batch with a key-value cache.

        Parameters
        ----------
        theta : parameters.
        prompts : lists of tokens, of any lengths.
        max_new : most tokens of a response; prompt and response must fit in the context.
        temperature : > 0; None takes the most likely token each time.
        end : the token that ends a response, and belongs to it; None goes on to `max_new`.
        seed : seeds the draws; they also depend on which prompts are in the batch.
        """
        self._check_theta(theta)
        check_count(max_new, "max_new", try_=32)
        check_count(seed, "seed", least=0, try_=0)
        if max_new >= self.context:
            raise ValueError(
                f"max_new is {max_new} with a context of {self.context}; needed room for a prompt; "
                "try a smaller max_new, or a model with a larger context"
            )
        if temperature is not None:
            greedy = "temperature=None for the most likely token each time"
            check_number(temperature, "temperature", least=0.0, strict=True, try_=greedy)
        if end is not None and end not in range(self.vocab_size):
            raise ValueError(
                f"end is {end!r}; needed None or a token 0 to {self.vocab_size - 1}; try end=None"
            )
        room, device = self.context - max_new, find_device(self.device)
        data = encode_prompts(prompts, room, vocab_size=self.vocab_size, device=device)
        generator = torch.Generator(device).manual_seed(seed)
        with self._autocast(device):
            return self._continue(theta, data, max_new, temperature, end, generator)

    def _continue(
        self,
        theta: Theta,
        data: Tokens,
        max_new: int,
        temperature: float | None,
        end: int | None,
        generator: torch.Generator,
    ) -> Samples:
        """Prompts at once into the cache, then one token at a time for the whole batch."""
        n, position = len(data), data.prompt  # position of the next token, (n,)
        cache = self._empty_cache(theta, n, int(position.max()) + max_new)
        x = hidden(theta, data.ids[:, :-1], self.layers, self.heads, cache)
        last = x[torch.arange(n, device=x.device), position - 1]  # (n, C)
        running = torch.ones(n, dtype=torch.bool, device=x.device)
        log_probs = torch.zeros(n, dtype=theta["embedding"].dtype, device=x.device)
        tokens, lengths = [], torch.zeros_like(position)
        for _ in range(max_new):
            logits = F.linear(last, theta["embedding"]).to(theta["embedding"].dtype)  # (n, V)
            if temperature is None:
                token = logits.argmax(-1)
            else:
                below = logits - logits.amax(-1, keepdim=True)  # no overflow at small temperatures
                pi = torch.softmax(below / max(temperature, 1e-30), -1)
                token = torch.multinomial(pi, 1, generator=generator)[:, 0]
            log_pi = -F.cross_entropy(logits, token, reduction="none")
            log_probs += torch.where(running, log_pi, 0.0)
            tokens.append(token)
            lengths += running
            if end is not None:
                running = running & (token != end)
            if len(tokens) == max_new or not bool(running.any()):
                break
            cache.position = position
            last = hidden(theta, token[:, None], self.layers, self.heads, cache)[:, 0]
            position = position + 1
        drawn = torch.stack(tokens, 1).tolist()
        responses = [row[:k] for row, k in zip(drawn, lengths.tolist(), strict=True)]
        return Samples(responses, log_probs)

    def _empty_cache(self, theta: Theta, n: int, T: int) -> Cache:
        like = theta["embedding"]
        dtype = torch.bfloat16 if self.dtype == "bfloat16" else like.dtype
        shape = self.layers, n, self.heads, T, self.width // self.heads
        return Cache(*(torch.zeros(shape, dtype=dtype, device=like.device) for _ in range(2)))


def checked_weights(w: Any, n: int) -> torch.Tensor:
    """w as a tensor (n,). Raises ValueError for another shape, or where all weights are 0."""
    w = torch.as_tensor(w)
    if w.shape != (n,):
        raise ValueError(
            f"w has shape {tuple(w.shape)}; needed one weight for each of {n} pairs; "
            "try the weights of this batch"
        )
    if not bool((w != 0).any()):
        raise ValueError(
            "all weights of the batch are 0; needed at least one positive; try a larger batch, "
            "or drop samples of weight 0"
        )
    return w


@functools.cache
def _compiled():
    return torch.compile(hidden, dynamic=True)


def find_device(name: str) -> torch.device:
    """The device of that name; "auto" is CUDA where there is one, else MPS, else the CPU."""
    if name != "auto":
        try:
            return torch.empty(0, device=name).device
        except (RuntimeError, AssertionError, TypeError) as error:
            raise ValueError(
                f"device is {name!r} ({str(error).splitlines()[0]}); needed one that torch has "
                "here; try device='auto'"
            ) from None
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
