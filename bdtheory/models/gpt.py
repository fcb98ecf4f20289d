"""The network of a small GPT: functions of a plain dict of tensors, and a key-value cache.

    x      = embedding[ids]                                             (n, T, C)
    x     += attention(norm(x)),   x += mlp(norm(x))     in every layer (pre-norm)
    hidden = norm(x);   logits = hidden @ embedding.T    (tied weights)

Where it differs from nanoGPT: 1. parameters are a dict, so that selectors and optimisers need
nothing special; 2. positions are rotary (Su et al. 2021), norms are root mean squares (Zhang and
Sennrich 2019), and there are no biases; 3. the caller multiplies with the embedding, and only where
logits are needed.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

Theta = dict[str, torch.Tensor]


def shapes(V: int, C: int, layers: int) -> dict[str, tuple[int, ...]]:
    """The shape of every parameter, by name, for vocabulary V and width C."""
    block = {"norm1": (C,), "qkv": (3 * C, C), "out": (C, C)}
    block |= {"norm2": (C,), "up": (4 * C, C), "down": (C, 4 * C)}
    blocks = {f"{k}.{name}": shape for k in range(layers) for name, shape in block.items()}
    return {"embedding": (V, C)} | blocks | {"norm": (C,)}


def hidden(
    theta: Theta,
    ids: torch.Tensor,
    layers: int,
    heads: int,
    cache: Cache | None = None,
    wanted: torch.Tensor | None = None,
):
    """The normed residual stream (n, T, C) of tokens (n, T); with a cache, of those that follow.

    `wanted` (k,), places in the flattened n * T: only these are returned, (k, C). The others are
    then left out once nobody looks at them any more, after the last attention.
    """
    T, C = ids.shape[1], theta["embedding"].shape[1]
    start = None if cache is None else cache.position
    cos_sin = rotation(T, C // heads, theta["embedding"], start)
    x = F.embedding(ids, theta["embedding"])
    for k in range(layers):
        normed = F.rms_norm(x, (C,), theta[f"{k}.norm1"])
        y = attention(F.linear(normed, theta[f"{k}.qkv"]), heads, cos_sin, cache, k)
        if wanted is not None and k == layers - 1:
            x, y = (part.flatten(0, 1).index_select(0, wanted) for part in (x, y))
        x = x + F.linear(y, theta[f"{k}.out"])
        up = F.linear(F.rms_norm(x, (C,), theta[f"{k}.norm2"]), theta[f"{k}.up"])
        x = x + F.linear(F.gelu(up, approximate="tanh"), theta[f"{k}.down"])
    return F.rms_norm(x, (C,), theta["norm"])


def attention(qkv: torch.Tensor, heads: int, cos_sin, cache: Cache | None, layer: int):
    """Causal multi-head self-attention (n, T, C) of qkv (n, T, 3C), queries and keys rotated."""
    n, T, C = qkv.shape[0], qkv.shape[1], qkv.shape[2] // 3
    parts = qkv.view(n, T, 3, heads, C // heads).permute(2, 0, 3, 1, 4)  # (3, n, heads, T, D)
    qk, v = parts.split([2, 1])
    (q, k), v, mask = rotate(qk, cos_sin), v[0], None
    if cache is not None:
        k, v, mask = cache.append(layer, k, v)
    y = F.scaled_dot_product_attention(
        q.to(v.dtype), k.to(v.dtype), v, attn_mask=mask, is_causal=mask is None
    )
    return y.transpose(1, 2).reshape(n, T, C)


def rotation(T: int, D: int, like: torch.Tensor, start: torch.Tensor | None):
    """cos, and sin with its sign, for `rotate`: of position * 10000^(-2j/D), j < D/2, twice.

    (T, D), or (n, 1, 1, D) at positions `start`.
    """
    rate = 10000.0 ** (-torch.arange(0, D, 2, device=like.device, dtype=like.dtype) / D)
    at = torch.arange(T, device=like.device) if start is None else start[:, None, None]
    angle = at[..., None] * rate
    cos, sin = angle.cos(), angle.sin()
    return torch.cat([cos, cos], dim=-1), torch.cat([-sin, sin], dim=-1)


def rotate(x: torch.Tensor, cos_sin: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """Each pair (x_j, x_{j + D/2}) of the last axis turned by its angle."""
    cos, sin = cos_sin
    return x * cos + x.roll(x.shape[-1] // 2, -1) * sin


@dataclass
class Cache:
    """Keys and values of every layer, (layers, n, heads, T, D = C / heads), and where to write.

    `position` (n,) is None while the prompts are read: they fill the places from 0 on. Padding
    leaves rubbish after the end of a prompt, which nobody looks at before it is written over.
    """

    keys: torch.Tensor
    values: torch.Tensor
    position: torch.Tensor | None = None

    def append(self, layer: int, k: torch.Tensor, v: torch.Tensor):
        """All keys and values of a layer after k, v (n, heads, T_new, D), and who may look where.

        The mask is (n, 1, 1, T), None for causal attention among the new ones.
        """
        keys, values = self.keys[layer], self.values[layer]
        if self.position is None:
            keys[:, :, : k.shape[2]], values[:, :, : v.shape[2]] = k, v
            return k, v, None
        rows = torch.arange(len(self.position), device=k.device)
        keys[rows, :, self.position] = k[:, :, 0].to(keys.dtype)
        values[rows, :, self.position] = v[:, :, 0].to(values.dtype)
        places = torch.arange(keys.shape[2], device=k.device)
        return keys, values, (places <= self.position[:, None])[:, None, None, :]
