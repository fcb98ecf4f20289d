"""Several processes that train together, through torch.distributed: data parallel, logits divided.

    theta    in every process; all take the same step, with the sum of their gradients
    rows     of a batch are divided evenly, row i to process i mod P as far as that is even
    logits   g belongs to process g mod P, which alone keeps and moves it; the others ask by index

A step of b training and m validation rows with d trained numbers sums over the processes

    the gradient, d float32;  the losses, b + m float64;  omega of the batch, twice b float64;
    and the two scalars of a softmax, its largest logit and its sum.

An evaluation sums the validation loss and all weights, N float64; a checkpoint sums all logits.
One process alone does nothing of this, and computes what it would without.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np


class Processes:
    """P processes, and which of them this one is; alone unless told otherwise.

    Attributes
    ----------
    rank, size : this process, 0..P-1, and P.
    device : where tensors are for an exchange.

    Every method that returns a sum, a maximum or the whole is to be called by all, in one order.
    """

    def __init__(self, rank: int = 0, size: int = 1, device: Any = None):
        self.rank, self.size, self.device = rank, size, device

    @staticmethod
    def current(device: Any) -> Processes:
        """Those of torch.distributed's default group, where somebody has made one."""
        dist = sys.modules.get("torch.distributed")
        if dist is None or not dist.is_available() or not dist.is_initialized():
            return Processes()
        return Processes(dist.get_rank(), dist.get_world_size(), device)

    # Exchange ------------------------------------------------------------------------------------

    def sum(self, a: Any) -> np.ndarray:
        """The sum over the processes of arrays or numbers of one shape, float64."""
        return self._reduced(np.asarray(a, dtype=np.float64), "SUM")

    def max(self, a: Any) -> np.ndarray:
        """The largest over the processes, place by place, float64."""
        return self._reduced(np.asarray(a, dtype=np.float64), "MAX")

    def any(self, flag: bool) -> bool:
        """Whether it is true in one of them."""
        return bool(self.max(float(flag)))

    def sum_gradient(self, gradient: dict[str, Any]) -> dict[str, Any]:
        """The sum over the processes, of all parameters at once."""
        if self.size == 1:
            return gradient
        import torch

        flat = torch.cat([g.reshape(-1) for g in gradient.values()])
        self._reduce(flat, "SUM")
        parts = flat.split([g.numel() for g in gradient.values()])
        return {k: p.view_as(g) for (k, g), p in zip(gradient.items(), parts, strict=True)}

    def _reduced(self, a: np.ndarray, how: str) -> np.ndarray:
        if self.size == 1:
            return a
        import torch

        tensor = torch.from_numpy(a.copy()).to(self.device)
        self._reduce(tensor, how)
        return tensor.cpu().numpy()

    def _reduce(self, tensor: Any, how: str) -> None:
        import torch.distributed as dist

        try:
            dist.all_reduce(tensor, getattr(dist.ReduceOp, how))
        except RuntimeError as error:
            raise ConnectionError(
                f"process {self.rank} of {self.size} lost the others "
                f"({str(error).splitlines()[0][:80]}); needed all of them until the end; "
                "try the message of the one that ended first"
            ) from error

    # Division ------------------------------------------------------------------------------------

    def share(self, rows: np.ndarray) -> np.ndarray:
        """Places of those rows that are this process's, as many as the others have (+-1)."""
        order = np.argsort(rows % self.size, kind="stable")
        return np.array_split(order, self.size)[self.rank]

    def mine(self, codes: np.ndarray) -> np.ndarray:
        """bool: which logits are this process's."""
        return codes % self.size == self.rank

    def part(self, a: np.ndarray) -> np.ndarray:
        """This process's part of an array with an entry for each logit; a number as it is."""
        return a[self.rank :: self.size].copy() if a.ndim and self.size > 1 else a

    def whole(self, part: np.ndarray, n: int) -> np.ndarray:
        """The array (n,) of which every process has its `part`; a number as it is."""
        if self.size == 1 or not part.ndim:
            return part
        a = np.zeros(n)
        a[self.rank :: self.size] = part
        return self.sum(a)

    def at(self, part: np.ndarray, codes: np.ndarray) -> np.ndarray:
        """Entries by index, the whole array's at `codes`: each comes from the one that has it."""
        if self.size == 1:
            return part[codes]
        mine = self.mine(codes)
        a = np.zeros(codes.shape)
        a[mine] = part[codes[mine] // self.size]
        return self.sum(a)


def masses_at(processes: Processes, z: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """softmax(z)[codes] where every process has its part of z (G,) alone."""
    top = float(processes.max(z.max(initial=-np.inf)))
    total = float(processes.sum(np.exp(z - top).sum()))
    return np.exp(processes.at(z, codes) - top) / total
