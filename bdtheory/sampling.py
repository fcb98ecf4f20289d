"""Weights for training loops of PyTorch: a sampler that draws rows by their weight.

    P(row i is drawn) = w_i / sum_j w_j,   so that   E[mean of l over a batch] = F_w = sum_i w_i l_i

Draws are independent and with replacement. `torch` is imported on use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .models.checks import check_count
from .weights import mean_one

if TYPE_CHECKING:
    from torch.utils.data import WeightedRandomSampler

__all__ = ["weighted_sampler"]

MOST = 2**24  # rows that torch.multinomial takes


def weighted_sampler(
    weights: Any, num_samples: int | None = None, seed: int = 0
) -> WeightedRandomSampler:
    """A sampler for `torch.utils.data.DataLoader` that draws row i with probability w_i / sum w.

    The plain mean of the losses of a batch is then an unbiased estimate of F_w: do not multiply by
    the weights once more. A row of weight 0 is never drawn.

    Parameters
    ----------
    weights : (N,), one for each row of the data set, finite, >= 0, dimensionless; a list, an array,
        a tensor on any device, or `Selection.weights`. Any scale.
    num_samples : draws of an epoch; None is N.
    seed : of the sampler's own generator. A second epoch draws other rows.

    Returns a `WeightedRandomSampler`. It reads its `weights` (double, mean 1) when an epoch begins:
    assign ``sampler.weights = weighted_sampler(new).weights`` between epochs.

    Raises ValueError in one sentence for weights that are not such numbers, for more than 2^24 rows
    (as many as `torch.multinomial` takes), and for another `num_samples` or `seed`.

    Examples
    --------
    >>> from torch.utils.data import DataLoader
    >>> sampler = weighted_sampler([0.0, 3.0, 1.0], num_samples=4000)
    >>> rows = list(sampler)
    >>> rows.count(0), round(rows.count(1) / 4000, 1)
    (0, 0.8)
    >>> loader = DataLoader(["bad", "good", "fair"], batch_size=4, sampler=sampler)
    >>> sampler.weights = weighted_sampler([0.0, 1.0, 0.0]).weights
    >>> next(iter(loader))
    ['good', 'good', 'good', 'good']
    """
    import torch
    from torch.utils.data import WeightedRandomSampler

    w = mean_one(weights)
    if len(w) > MOST:
        raise ValueError(
            f"got {len(w)} weights; needed at most {MOST}; try drawing rows with "
            "numpy.random.Generator.choice, or weighting the loss"
        )
    check_count(seed, "seed", least=0, try_=0)
    if num_samples is not None:
        check_count(num_samples, "num_samples", try_=len(w))
    draw = torch.Generator().manual_seed(int(seed))
    return WeightedRandomSampler(w.tolist(), int(num_samples or len(w)), generator=draw)
