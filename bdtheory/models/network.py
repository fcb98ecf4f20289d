"""A causal language model of Hugging Face in two parts: frozen layers below, trained ones above.

    h   = the frozen layers' output        a fixed map of the tokens, computed once for each pair
    x   = upper(h; theta)                  layers with LoRA, W + (alpha / r) B A, or trained whole
    log pi(token at t + 1) = log softmax(head(x_t))

A row that is visited again finds its h. That the two parts together are the whole model is not
assumed but computed when the model is loaded; where it does not hold, every pass goes through the
whole.

LoRA: Hu et al. 2021, arXiv:2106.09685; B = 0 at the start, so that training begins at the model.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from .gpt import Theta
from .pretrained import files_of, read_pretrained

SCALE = 2.0  # alpha / r of LoRA
CACHE = 2**31  # bytes of h that are kept; beyond, the frozen layers run each time
SAME = 2e-3  # largest difference of log probabilities between the parts and the whole, nats


@functools.lru_cache(maxsize=1)
def load(folder: str, dtype: torch.dtype, device: torch.device, lora: int | None, frozen: float):
    """The `Network` in that folder; the last one is kept, with what it remembers."""
    return Network(folder, dtype, device, lora, frozen)


class Network:
    """The model of one folder, with what is trained of it.

    Attributes
    ----------
    model, tokenizer : what transformers loaded.
    start : the trained parameters by name, as they are at the start.
    below : number of frozen layers, of `layers`.
    context : most tokens of a pair.
    """

    def __init__(
        self,
        folder: str,
        dtype: torch.dtype,
        device: torch.device,
        lora: int | None,
        frozen: float,
    ):
        self.folder = folder
        self.tokenizer, self.model = read_pretrained(folder, dtype if lora else torch.float32)
        self.model.to(device).eval().requires_grad_(False)
        self.device, self.dtype = device, dtype
        self.decoder, self.head = self.model.base_model, self.model.get_output_embeddings()
        self.name, layers = _layers(self.decoder, folder)
        self.layers, self.below = layers, math.floor(frozen * len(layers))
        self.context = _context(self.model, self.tokenizer)
        self.vocab_size = self.model.get_input_embeddings().weight.shape[0]
        self.kept: dict[bytes, torch.Tensor] = {}
        self.room = CACHE
        self.upper = self._upper() if self.below else None
        self.whole = False
        self._check_parts()
        self._mark_trained(lora)
        self.start = {n: p.data for n, p in self.model.named_parameters() if p.requires_grad}

    @functools.cached_property
    def files(self) -> dict[str, str]:
        """sha256 by name of the model's and the tokenizer's files, when first asked for."""
        return files_of(self.folder)

    # Parts ---------------------------------------------------------------------------------------

    def _upper(self) -> nn.Module:
        """The decoder that begins with layer `below`; it shares all parameters with the whole."""
        upper = copy.copy(self.decoder)
        upper._modules = dict(self.decoder._modules)
        upper._modules[self.name] = nn.ModuleList(list(self.layers)[self.below :])
        upper.config = copy.deepcopy(self.decoder.config)
        upper.config.num_hidden_layers = len(self.layers) - self.below
        return upper

    @torch.no_grad()
    def _check_parts(self) -> None:
        """Give up the parts that do not make the whole: first the cut, then the head."""
        draw = torch.Generator().manual_seed(0)
        ids = torch.randint(self.vocab_size, (2, 6), generator=draw).to(self.device)
        mask = torch.ones_like(ids)
        mask[1, 4:] = 0
        with self.autocast():
            exact = self.model(input_ids=ids, attention_mask=mask, use_cache=False).logits
            for step in ("as it is", "without the cut", "whole"):
                if step == "without the cut":
                    self.upper = None
                self.whole = step == "whole"
                try:
                    logits = self.logits(self.hidden(ids, mask))
                except (RuntimeError, TypeError, ValueError, AttributeError, IndexError):
                    continue
                off = (logits.float().log_softmax(-1) - exact.float().log_softmax(-1)).abs()
                room = SAME if self.dtype is torch.float32 else 0.5
                if float(off[mask.bool()].max()) <= room:
                    break
        self.kept.clear()

    def _mark_trained(self, lora: int | None) -> None:
        """LoRA in every linear map of the upper layers, or these layers themselves (and, where
        nothing is frozen, everything)."""
        upper = list(self.layers)[self.below :]
        if lora is None:
            for part in upper if self.below else [self.model]:
                part.requires_grad_(True)
            return
        from peft import LoraConfig, inject_adapter_in_model
        from transformers.pytorch_utils import Conv1D

        names = {id(module): name for name, module in self.model.named_modules()}
        maps = [m for layer in upper for m in layer.modules() if isinstance(m, nn.Linear | Conv1D)]
        config = LoraConfig(
            r=lora,
            lora_alpha=round(SCALE * lora),
            target_modules=[names[id(m)] for m in maps],
            fan_in_fan_out=any(isinstance(m, Conv1D) for m in maps),
        )
        with torch.random.fork_rng(devices=[]):  # peft draws A; `initial_theta` draws it again
            inject_adapter_in_model(config, self.model)
        for p in self.model.parameters():  # peft makes the adapters in the dtype of what they adapt
            p.data = p.data.float() if p.requires_grad else p.data

    def initial_theta(self, seed: int) -> Theta:
        """The trained parameters at the start, copied: A uniform in +-1 / sqrt(fan in), B = 0."""
        draw, theta = torch.Generator().manual_seed(seed), {}
        for name, p in self.start.items():
            if ".lora_A." in name:
                bound = 1.0 / math.sqrt(p.shape[1])
                drawn = torch.rand(p.shape, generator=draw, dtype=torch.float64)
                theta[name] = ((2.0 * drawn - 1.0) * bound).to(p.device, p.dtype)
            else:
                theta[name] = p.clone()
        return theta

    # Passes --------------------------------------------------------------------------------------

    def place(self, theta: Theta) -> list[nn.Parameter]:
        """Let the model compute with theta (no copy is made), and its parameters in that order."""
        own = dict(self.model.named_parameters())
        for name, value in theta.items():
            own[name].data = value
        return [own[name] for name in theta]

    def autocast(self) -> Any:
        return torch.autocast(
            self.device.type, torch.bfloat16, enabled=self.dtype is torch.bfloat16
        )

    def hidden(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """x (n, T, C), or the logits (n, T, V) themselves where only the whole model has them."""
        given: dict[str, Any] = {"attention_mask": mask, "use_cache": False}
        if self.whole:
            return self.model(input_ids=ids, **given).logits
        if self.upper is None:
            return self.decoder(input_ids=ids, **given).last_hidden_state
        return self.upper(inputs_embeds=self._frozen(ids, mask), **given).last_hidden_state

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        """(..., V) of x (..., C)."""
        return x if self.whole else self.head(x)

    def keep(self, ids: torch.Tensor, mask: torch.Tensor) -> bool:
        """Compute h of these tokens and remember it; False, and nothing done, where it is full."""
        size = self.model.config.hidden_size * next(self.model.parameters()).element_size()
        if int(mask.sum()) * size > self.room:
            return False
        self._frozen(ids, mask)
        return True

    @torch.no_grad()
    def _frozen(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """h (n, T, C): what is remembered, and the rest computed and remembered where it fits."""
        lengths = mask.sum(1).tolist()
        keys = [row[:k].tobytes() for row, k in zip(ids.cpu().numpy(), lengths, strict=True)]
        new = [k for k, key in enumerate(keys) if key not in self.kept]
        found: dict[bytes, torch.Tensor] = {}
        if new:
            T = max(lengths[k] for k in new)
            for k, h in zip(new, self._below(ids[new, :T], mask[new, :T]), strict=True):
                found[keys[k]] = h[: lengths[k]].clone()
        rows = [found[key] if key in found else self.kept[key] for key in keys]
        for key, h in found.items():
            if (size := h.numel() * h.element_size()) <= self.room:
                self.kept[key], self.room = h, self.room - size
        out = rows[0].new_zeros(*ids.shape, rows[0].shape[-1])
        for row, h in zip(out, rows, strict=True):
            row[: len(h)] = h
        return out

    def _below(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """What enters layer `below`: the pass ends there."""
        caught: list[torch.Tensor] = []

        def catch(module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> None:
            caught.append(args[0] if args else kwargs["hidden_states"])
            raise _Reached

        hook = self.layers[self.below].register_forward_pre_hook(catch, with_kwargs=True)
        try:
            with contextlib.suppress(_Reached), self.autocast():
                self.decoder(input_ids=ids, attention_mask=mask, use_cache=False)
        finally:
            hook.remove()
        return caught[0]

    @contextlib.contextmanager
    def checkpointed(self, on: bool) -> Iterator[None]:
        """Recompute activations in the backward pass (less memory); no dropout all the same."""
        if not on:
            yield
            return
        again = functools.partial(checkpoint, use_reentrant=False)
        layers: list[Any] = list(self.layers)
        for layer in layers:  # of the layer alone, which asks; dropout inside stays off
            layer.training, layer.gradient_checkpointing = True, True
            layer._gradient_checkpointing_func = again
        try:
            yield
        finally:
            for layer in layers:
                layer.training, layer.gradient_checkpointing = False, False


class _Reached(Exception):
    """The pass has come to the first trained layer."""


def _layers(decoder: nn.Module, folder: str) -> tuple[str, nn.ModuleList]:
    """The decoder's stack of layers, and its name."""
    count = getattr(decoder.config, "num_hidden_layers", 0)
    for name, part in decoder.named_children():
        if isinstance(part, nn.ModuleList) and len(part) == count:
            return name, part
    raise ValueError(
        f"{type(decoder).__name__} in {folder} has no list of {count} layers; needed a decoder "
        "with one, as Llama, Qwen, Mistral and GPT-2 have; try another model"
    )


def _context(model: Any, tokenizer: Any) -> int:
    """Most tokens: the least of what the model and the tokenizer say."""
    own = getattr(model.config, "max_position_embeddings", None) or 2**31
    return int(min(own, tokenizer.model_max_length or own))
