"""Fine-tuning on weighted rows with TRL: a `SFTTrainer` that reads the column `weight` (extra trl).

Loss of an optimiser step over its rows i, of all micro-batches and processes; l_it is the loss of
token t of row i in nats, of n_i that count; w_i >= 0 has mean 1 over the data set:

    "weights"    sum_i w_i sum_t l_it / sum_i w_i n_i
    "tokens"     sum_i w_i sum_t l_it / sum_i n_i
    "responses"  sum_i w_i (1/n_i) sum_t l_it / sum_i 1      unbiased for F_w = (1/N) sum_i w_i l_i

In code all three are TRL's own loss, sum_i f_i sum_t l_it / sum_i n_i, with another factor f_i of
each row (`row_factors`), so that whatever TRL does to its denominator stays right.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from .models.checks import check_choice
from .weights import mean_one

try:
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer  # pyright: ignore[reportPrivateImportUsage]
except ImportError as error:
    raise ImportError(
        f'got {error}; needed TRL, the trainer; try pip install "bdtheory[trl]"'
    ) from error

__all__ = ["WeightedSFTTrainer"]

ROW = "bdtheory_row"  # column: the row's number in the data set as it was given
FACTOR = "bdtheory_factor"  # f_i, in a batch
NORMALISE = ("weights", "tokens", "responses")
# --normalise of select, and what matches it.
SELECT = {"token": "responses", "sample": "tokens"}


class WeightedSFTTrainer(SFTTrainer):
    """TRL's `SFTTrainer`, which it is in all else, with the loss of row i times its `weight`.

    Parameters
    ----------
    model, args, train_dataset, kwargs : as for `SFTTrainer`; `train_dataset` is a `Dataset` with a
        column `weight`, (N,) finite numbers >= 0, dimensionless, as `bdtheory select` writes it.
        Their scale has no effect: they are brought to mean 1. With equal weights the first two
        choices below are `SFTTrainer`.
    normalise : what the loss of an optimiser step is divided by, and so what it estimates.
        "weights": the weighted number of tokens. A weighted mean per token; rows of weight 0 are as
        if removed from the step. A step counts as much as any other, whatever its weights, so that
        in small steps weights cancel in part: have many rows in a step. One row is refused.
        "tokens": the number of tokens, TRL's own. A step of low weights moves less. Matches
        ``bdtheory select --normalise sample``, whose l_i is the sum over a response.
        "responses": the number of rows, of losses that are means over a response: an unbiased
        estimate, from steps of any size, of F_w = sum_i w_i l_i as ``bdtheory select`` minimises
        it with its default, ``--normalise token``.

    Evaluation is unweighted; a column `weight` of an evaluation set is ignored. Metrics of entropy
    and accuracy are unweighted as well. A step whose weights are all 0 has loss and gradient 0, and
    the first one warns; an optimiser's momentum and weight decay go on. Checkpoints hold no
    weights.

    Raises ValueError, each in one sentence: for bad weights; for what would leave them unread
    (packing, padding_free, an IterableDataset, loss_type "dft", compute_loss_func, label smoothing,
    tensor, context or sequence parallelism) or make the denominator wrong
    (average_tokens_across_devices=False). ImportError without TRL, when this module is imported.

    Examples
    --------
    >>> from datasets import Dataset
    >>> rows = Dataset.from_dict({"prompt": ["2 + 2 ="], "completion": [" 4"], "weight": [-1.0]})
    >>> WeightedSFTTrainer("models/smollm2", train_dataset=rows)
    Traceback (most recent call last):
    ValueError: got the weight -1.0 in row 0, counted from 0; needed a finite number >= 0; try \
weights as bdtheory select writes them, or top_scores for scores
    """

    def __init__(
        self,
        model: Any,
        args: Any = None,
        *,
        train_dataset: Any,
        normalise: str = "weights",
        **kwargs: Any,
    ):
        if normalise in SELECT:
            raise ValueError(
                f"got normalise={normalise!r}, which is a word of bdtheory select; needed one of "
                f"{', '.join(NORMALISE)}; try normalise={SELECT[normalise]!r}, which matches it"
            )
        check_choice(normalise, "normalise", NORMALISE)
        weights = _column(train_dataset)
        _check_paths(args, kwargs)
        self.normalise, self._N, self._warned = normalise, len(train_dataset), False
        super().__init__(model, args, train_dataset=_numbered(train_dataset), **kwargs)
        _check_trainer(self)
        self.set_weights(weights)

    def set_weights(self, weights: Any) -> None:
        """Other weights from the next optimiser step on, in every process the same.

        weights : (N,), one for each row of `train_dataset` as it was given, in its order, whatever
        TRL shuffled or dropped. Raises ValueError for another length and for bad values.
        """
        w = mean_one(weights, self._N)
        self._weights = torch.tensor(w, dtype=torch.float32, device=self.args.device)

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: Any) -> Any:
        """The micro-batches of a step, as transformers collects them, with f_i of their rows."""
        batches, tokens = super().get_batch_samples(epoch_iterator, num_batches, device)
        if not batches:
            return batches, tokens
        rows = [batch.pop(ROW).to(device) for batch in batches]
        w = self._weights.to(device)[torch.cat(rows)]
        n = torch.cat([(b["labels"][:, 1:] != -100).sum(1) for b in batches]).to(w)
        sums = torch.stack([w @ n, (n > 0).sum().to(w)])
        weighted, count = self.accelerator.reduce(sums, "sum")  # over processes
        self._warn_of_nothing(weighted)
        totals = weighted, torch.as_tensor(tokens).to(w), count
        factors = row_factors(self.normalise, w, n, totals)
        for batch, f in zip(batches, factors.split([len(r) for r in rows]), strict=True):
            batch[FACTOR] = f
        return batches, tokens

    def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """TRL's loss of log probabilities times f_i; of an evaluation's batch, TRL's loss."""
        inputs = {key: value for key, value in inputs.items() if key != ROW}
        f = inputs.pop(FACTOR, None)
        if f is None:
            return super().compute_loss(model, inputs, *args, **kwargs)

        def weighted(**given: Any) -> Any:  # for TRL, the model
            outputs = model(**given)
            outputs.log_probs = outputs.log_probs * f[:, None]  # TRL: loss = -sum / tokens
            return outputs

        trained: Any = weighted
        return super().compute_loss(trained, inputs, *args, **kwargs)

    def get_train_dataloader(self) -> Any:
        """TRL's, with the rows' numbers in its batches."""
        plain, self.data_collator = self.data_collator, Numbered(self.data_collator)
        try:
            return super().get_train_dataloader()
        finally:
            self.data_collator = plain  # evaluation has no such column

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        if ROW not in self._signature_columns:
            self._signature_columns = [*self._signature_columns, ROW]

    def _warn_of_nothing(self, total: torch.Tensor) -> None:
        if not self._warned and not total > 0:
            self._warned = True
            warnings.warn(
                "got an optimiser step in which all weights are 0, and which teaches nothing; "
                "needed rows of positive weight in each; try leaving rows of weight 0 out, or a "
                "larger gradient_accumulation_steps",
                stacklevel=2,
            )


def row_factors(
    normalise: str, w: torch.Tensor, n: torch.Tensor, totals: Sequence[torch.Tensor]
) -> torch.Tensor:
    """f_i (b,) such that sum_i f_i sum_t l_it / sum_i n_i is the loss; 0 where it would be 0 / 0.

    w, n : (b,) weights and numbers of tokens of the rows of this process. totals : over all
    processes sum_i w_i n_i, sum_i n_i as TRL counts it, and the number of rows with tokens.
    """
    weighted, tokens, count = totals
    if normalise == "tokens":
        return w
    if normalise == "responses":
        return torch.where(n > 0, w * tokens / (n * count), 0.0)
    # In this order equal weights give 1 exactly, and tiny ones do not overflow.
    return torch.where(weighted > 0, w * tokens / weighted, 0.0)


@dataclass(frozen=True)
class Numbered:
    """A collator whose batches have the rows' numbers (b,) beside what `collate` puts there."""

    collate: Any

    def __call__(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        rows = [example[ROW] for example in examples]
        plain = [{k: v for k, v in example.items() if k != ROW} for example in examples]
        return {**self.collate(plain), ROW: torch.tensor(rows)}


def _column(dataset: Any) -> list[Any]:
    """The column `weight`, its values checked."""
    if not isinstance(dataset, Dataset):
        raise ValueError(
            f"got train_dataset of type {type(dataset).__name__}; needed a datasets.Dataset, whose "
            "rows have numbers; try datasets.load_dataset without streaming"
        )
    if "weight" not in dataset.column_names:
        names = ", ".join(map(repr, dataset.column_names))
        raise ValueError(
            f"got train_dataset with the columns {names}; needed the column 'weight'; "
            "try weighted.jsonl as bdtheory select writes it"
        )
    weights = dataset.with_format(None)["weight"][:]
    mean_one(weights)
    return weights


def _numbered(dataset: Any) -> Any:
    """The data set with the rows' numbers in the place of the weights."""
    names = [name for name in ("weight", ROW) if name in dataset.column_names]
    return dataset.remove_columns(names).add_column(ROW, list(range(len(dataset))))


def _check_paths(args: Any, given: dict[str, Any]) -> None:
    """Refuse what goes past `compute_loss` above, or mixes rows in one sequence."""
    refused = {
        "packing": getattr(args, "packing", False),
        "padding_free": getattr(args, "padding_free", False),
        "loss_type": getattr(args, "loss_type", "nll") != "nll",
        "label_smoothing_factor": getattr(args, "label_smoothing_factor", 0) != 0,
        "compute_loss_func": given.get("compute_loss_func") is not None,
    }
    for name in (name for name, found in refused.items() if found):
        value = getattr(args, name, "a function")
        raise ValueError(
            f"got {name}={value!r}; needed TRL's plain loss of rows that stay apart; "
            f"try {name}={getattr(SFTConfig, name, None)!r}, or SFTTrainer on rows drawn by weight"
        )


def _check_trainer(trainer: WeightedSFTTrainer) -> None:
    """Refuse what only the trainer knows: how a step is spread, and what TRL counts for it."""
    args = trainer.args
    shards = trainer.get_tp_size() * trainer.get_cp_size() * trainer.get_sp_size()
    if shards > 1:
        raise ValueError(
            "got tensor, context or sequence parallelism; needed whole rows in each process; "
            "try data parallelism, by DDP or FSDP"
        )
    if args.world_size > 1 and not args.average_tokens_across_devices:
        raise ValueError(
            "got average_tokens_across_devices=False; needed one denominator for all processes; "
            "try average_tokens_across_devices=True"
        )
    if not trainer.model_accepts_loss_kwargs:
        raise ValueError(
            f"got the model {type(trainer.model).__name__}, for which transformers counts no "
            "tokens of a step; needed a forward that takes **kwargs; try another model"
        )
    rows = args.train_batch_size * args.gradient_accumulation_steps * args.world_size
    if rows == 1 and trainer.normalise == "weights":
        raise ValueError(
            "got optimiser steps of one row with normalise='weights', in which its weight cancels; "
            "needed several rows; try gradient_accumulation_steps=8, or normalise='tokens'"
        )
