"""A one-layer transformer, small enough that every derivative is written out.

    e_t = (one-hot of token x_t, one-hot of place t)          embeddings of a question, (L, d)
    a   = softmax over t of  e_t . K e_L                      one head, the last token asks, (L,)
    z   = R' h,  h = sum_t a_t e_t                            linear read-out, (V,)
    l   = log sum_v exp(z_v) - z_y                            cross-entropy on the response token y

theta = {"key_query": K (d, d), "readout": R (d, V)}, d = V + L, V the size of the vocabulary; both
are trained, and there is nothing else: no value matrix, no scaling of the scores, no bias.

Source: theory.md, "One-layer transformer". Derivatives of sum_i w_i l_i, p = softmax(z):

    G_i = w_i (p_i - one-hot(y_i))       dR = sum_i h_i G_i'       da_it = e_it . R G_i
    ds_it = a_it (da_it - sum_u a_iu da_iu)                        dK = sum_it ds_it e_it e_iL'
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from array_api_compat import array_namespace, device, is_torch_array

from ..problem import Array
from ..selection import to_numpy
from .checks import check_count
from .training import DEFAULT, Training

SCALE = 0.1  # of the random start, see `initial_theta`
KINDS = ("questions", "responses")


@dataclass(frozen=True, eq=False)
class Sequences:
    """Questions X (n, L) and one response token each, y (n,): whole numbers from 0 to V - 1.

    `like` is an empty float64 array of the kind (NumPy or torch) that the user's data were; weights
    of the samples are made in that kind.
    """

    X: Array
    y: Array
    like: Array

    def __len__(self) -> int:
        return self.X.shape[0]

    def join(self, other: Sequences) -> Sequences:
        """These samples followed by the other's."""
        xp = array_namespace(self.X)
        return Sequences(xp.concat([self.X, other.X]), xp.concat([self.y, other.y]), self.like)

    def take(self, rows: Array) -> Sequences:
        """The samples with these row numbers (or where the mask is True)."""
        return Sequences(self.X[rows], self.y[rows], self.like)


@dataclass(frozen=True)
class OneLayerTransformer:
    """Question-response pairs by one softmax-attention head and a linear read-out, in float64.

    Parameters
    ----------
    vocab_size : V >= 2; tokens are 0 .. V - 1.
    length : L >= 1, tokens of every question.
    training : settings of the training loop.

    `losses` and the gradients take theta in NumPy or torch and answer in that kind. theta may have
    leading axes, one entry for each of several starts: what comes out has them too.

    Raises ValueError for sizes that are not such whole numbers.

    Source: theory.md, "One-layer transformer"; C07 is about it.

    Examples
    --------
    >>> import numpy as np
    >>> model = OneLayerTransformer(vocab_size=4, length=2)
    >>> data, *_ = model.prepare(([[0, 1], [3, 2]], [1, 0]), ([[0, 1]], [1]), None)
    >>> zero = {"key_query": np.zeros((6, 6)), "readout": np.zeros((6, 4))}
    >>> bool(np.allclose(model.losses(zero, data), np.log(4)))
    True
    """

    vocab_size: int
    length: int
    training: Training = DEFAULT

    def __post_init__(self):
        check_count(self.vocab_size, "vocab_size", least=2, try_=4)
        check_count(self.length, "length", try_=3)
        if not isinstance(self.training, Training):
            raise ValueError(
                f"training is {self.training!r}; needed a Training; "
                "try training=Training(steps=500)"
            )

    def prepare(self, train: Any, val: Any, test: Any):
        """Checked data sets as torch tensors on the CPU, what a training loop reads; no classes.

        Each is a pair (X, y): whole numbers, X (n, length) and y (n,), as lists, NumPy or torch.
        Raises ValueError with the row for tokens outside the vocabulary and the like.
        """
        import torch

        like = np.empty(0)
        if isinstance(train, tuple | list) and len(train) and is_torch_array(train[0]):
            like = torch.empty(0, dtype=torch.float64)
        out = []
        for pair, name in ((train, "train"), (val, "val"), (test, "test")):
            if pair is None and name == "test":
                return out[0], out[1], None, None
            X, y = _pair(pair, name, self.length, self.vocab_size)
            out.append(Sequences(torch.from_numpy(X), torch.from_numpy(y), like))
        return out[0], out[1], out[2], None

    def initial_theta(self, seed: int = 0) -> dict[str, Array]:
        """Random theta as torch tensors, entries Normal(0, SCALE^2).

        Small, so that attention is near uniform and every loss near log V: no start prefers an
        answer. Not 0, so that starts differ and ties between tokens are broken.
        """
        import torch

        check_count(seed, "seed", least=0, try_=0)
        rng, d = np.random.default_rng(seed), self.vocab_size + self.length
        shapes = {"key_query": (d, d), "readout": (d, self.vocab_size)}
        return {k: torch.from_numpy(SCALE * rng.standard_normal(s)) for k, s in shapes.items()}

    def losses(self, theta: dict[str, Array], data: Sequences) -> Array:
        """l_i(theta) = -log pi_theta(y_i given x_i), (n,); (S, n) for a theta of S starts."""
        run = _forward(theta, data)
        return _starts_first(run.l, theta)

    def weighted_gradient(
        self, theta: dict[str, Array], w: Array, data: Sequences
    ) -> dict[str, Array]:
        """Gradient of sum_i w_i l_i at theta, with the keys and shapes of theta."""
        return self.losses_and_gradient(theta, w, data)[1]

    def losses_and_gradient(
        self, theta: dict[str, Array], w: Array, data: Sequences
    ) -> tuple[Array, dict[str, Array]]:
        """(losses, gradient of sum_i w_i l_i) in one pass; w (n,), or (S, n) for S starts.

        w may be a function of the losses (n,), NumPy, that gives the weights, for one start. Raises
        ValueError where all weights given (of one start) are zero: there is nothing to fit.
        """
        run = _forward(theta, data)
        losses = _starts_first(run.l, theta)
        if callable(w):
            w = array_namespace(run.l).asarray(w(to_numpy(losses)))[:, None, None]
        else:
            w = _weights(w, run)
        return losses, _backward(run, w, theta)


# The equations. Starts run along the last axis, so that a contraction with the one-hot embeddings
# is one product of matrices for all of them (and 20 starts cost little more than one).


class _Forward(NamedTuple):
    e: Array  # embeddings (n, L, d)
    q: Array  # those of the last token (n, d)
    Y: Array  # one-hot responses (n, V, 1)
    a: Array  # attention (n, L, S)
    r: Array  # read-out of every embedding, R' e_t (n, L, V, S)
    p: Array  # probabilities of the responses (n, V, S)
    l: Array  # losses (n, S)


def _forward(theta: dict[str, Array], data: Sequences) -> _Forward:
    """Losses and all that their derivatives need."""
    K, R = theta["key_query"], theta["readout"]
    xp, (d, V) = array_namespace(K), R.shape[-2:]
    K = xp.permute_dims(K.reshape(-1, d, d), (2, 1, 0))  # by query, key, start
    R = xp.permute_dims(R.reshape(-1, d, V), (1, 2, 0))
    e, Y = _one_hot(data, xp, R)
    n, L, q, S = *e.shape[:2], e[:, -1, :], K.shape[-1]
    keys = (q @ K.reshape(d, d * S)).reshape(n, d, S)  # K e_L
    a = _softmax(e @ keys, xp)[0]
    r = (e.reshape(n * L, d) @ R.reshape(d, V * S)).reshape(n, L, V, S)
    z = xp.sum(a[:, :, None, :] * r, axis=1)  # R' sum_t a_t e_t (n, V, S)
    p, log_p = _softmax(z, xp)
    return _Forward(e, q, Y, a, r, p, -xp.sum(Y * log_p, axis=1))


def _backward(run: _Forward, w: Array, theta: dict[str, Array]) -> dict[str, Array]:
    """The derivatives in the module's docstring, with the shapes of theta."""
    e, a = run.e, run.a
    xp, (n, L, d), (V, S) = array_namespace(e), e.shape, run.p.shape[1:]
    G = (w * (run.p - run.Y))[:, None, :, :]  # (n, 1, V, S)
    by_place = (a[:, :, None, :] * G).reshape(n * L, V * S)
    dR = (e.reshape(n * L, d).T @ by_place).reshape(d, V, S)
    da = xp.sum(run.r * G, axis=2)  # (n, L, S)
    ds = a * (da - xp.sum(a * da, axis=1, keepdims=True))
    u = xp.permute_dims(e, (0, 2, 1)) @ ds  # sum_t ds_t e_t (n, d, S)
    dK = (run.q.T @ u.reshape(n, d * S)).reshape(d, d, S)  # by query, key, start
    first = {"key_query": xp.permute_dims(dK, (2, 1, 0)), "readout": xp.permute_dims(dR, (2, 0, 1))}
    return {key: g.reshape(theta[key].shape) for key, g in first.items()}


def _one_hot(data: Sequences, xp: Any, R: Array) -> tuple[Array, Array]:
    """Embeddings (n, L, d), 1 in columns x_t and V + t; responses (n, V, 1); both like R."""
    (d, V), dev = R.shape[:2], device(R)
    X, y = (xp.asarray(tokens, device=dev)[..., None] for tokens in (data.X, data.y))
    column = xp.arange(d, device=dev)
    e = (X == column) | (column[V:, None] == column)
    return xp.astype(e, R.dtype), xp.astype(y == column[:V], R.dtype)[..., None]


def _softmax(s: Array, xp: Any) -> tuple[Array, Array]:
    """softmax over axis 1, and its logarithm; a shift of s changes neither."""
    s = s - xp.max(s, axis=1, keepdims=True)
    exp = xp.exp(s)
    total = xp.sum(exp, axis=1, keepdims=True)
    return exp / total, s - xp.log(total)


def _weights(w: Array, run: _Forward) -> Array:
    """w, (n,) or one row for each start, as (n, 1, S or 1); ValueError where a row is all zero."""
    xp, n = array_namespace(run.l), len(run.l)
    w = xp.asarray(w, dtype=run.l.dtype, device=device(run.l))
    if w.shape[-1] != n or math.prod(w.shape[:-1]) not in (1, run.l.shape[1]):
        raise ValueError(
            f"the weights have shape {tuple(w.shape)}; needed ({n},), or one such row for each of "
            f"{run.l.shape[1]} starts; try numpy.full({n}, 1 / {n})"
        )
    w = w.reshape(-1, n).T
    if not bool(xp.all(xp.any(w != 0, axis=0))):
        raise ValueError(
            "the weights are all zero; needed at least one positive weight (for each start); "
            f"try numpy.full({n}, 1 / {n})"
        )
    return w[:, None, :]


def _starts_first(l: Array, theta: dict[str, Array]) -> Array:
    """(n, S) to (n,) or (S, n), as the leading axes of theta have it."""
    return l.T.reshape(*theta["readout"].shape[:-2], l.shape[0])


# Checks of what comes in --------------------------------------------------------------------------


def _pair(pair: Any, name: str, length: int, vocab_size: int) -> tuple[np.ndarray, np.ndarray]:
    """(X, y) as int64 arrays (n, length) and (n,), n >= 1."""
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        got = type(pair).__name__
        raise ValueError(f"{name} is {got}; needed a pair (X, y); try {name}=(X, y)")
    X, y = (_tokens(a, f"the {what} of {name}") for a, what in zip(pair, KINDS, strict=True))
    if not X.size:
        raise ValueError(f"{name} is empty; needed at least one question; try a larger share")
    if X.ndim != 2:
        raise ValueError(
            f"the questions of {name} have shape {X.shape}; needed (n, {length}), one row of "
            "tokens for each; try X.reshape(1, -1) for one question"
        )
    if X.shape[1] != length:
        raise ValueError(
            f"the questions of {name} have {X.shape[1]} tokens at row 0; needed {length}; "
            f"try OneLayerTransformer(vocab_size={vocab_size}, length={X.shape[1]})"
        )
    if y.shape != (len(X),):
        raise ValueError(
            f"the responses of {name} have shape {y.shape}; needed ({len(X)},), one token per "
            "question; try y[:, 0] where each is a sequence of one"
        )
    for tokens, what in zip((X, y), KINDS, strict=True):
        bad = np.argwhere((tokens < 0) | (tokens >= vocab_size))
        if len(bad):
            least = max(int(X.max()), int(y.max())) + 1
            raise ValueError(
                f"the {what} of {name} have token {tokens[tuple(bad[0])]} at row {bad[0][0]}; "
                f"needed 0 to {vocab_size - 1}; try tokens from 0, and vocab_size={least} or more"
            )
    return X.astype(np.int64), y.astype(np.int64)


def _tokens(a: Any, what: str) -> np.ndarray:
    """An array of whole numbers from lists, NumPy or torch; errors name the row."""
    a = a.detach().cpu().numpy() if is_torch_array(a) else a
    a = a if isinstance(a, np.ndarray) else _from_rows(a, what)
    if a.dtype.kind in "iu" and not np.ma.is_masked(a):
        return np.atleast_1d(np.asarray(a))
    for where in np.ndindex(a.shape):
        token = a[where].item() if isinstance(a[where], np.generic) else a[where]
        if isinstance(token, bool) or not isinstance(token, int):
            raise ValueError(
                f"{what} have {token!r} at row {where[0] if where else 0}; needed whole numbers; "
                "try the numbers that a tokenizer gives, as int64"
            )
    return a


def _from_rows(a: Any, what: str) -> np.ndarray:
    """Lists of tokens, or of rows of tokens, as an array of objects."""
    try:
        rows = [row.tolist() if hasattr(row, "tolist") else row for row in a]
    except TypeError:
        raise ValueError(
            f"{what} are {a!r}; needed rows of tokens; try a list of lists of whole numbers"
        ) from None
    sizes = [len(row) if hasattr(row, "__len__") else 0 for row in rows]
    odd = next((k for k, size in enumerate(sizes) if size != sizes[0]), None)
    if odd is not None:
        raise ValueError(
            f"{what} have {sizes[odd]} tokens at row {odd} and {sizes[0]} at row 0; needed the "
            "same number everywhere; try cutting or padding them"
        )
    return np.array(
        [list(row) if size else row for row, size in zip(rows, sizes, strict=True)], dtype=object
    )
