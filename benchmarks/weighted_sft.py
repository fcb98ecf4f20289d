"""What weighted fine-tuning gains, and what is simpler: the table of docs/howto/trl.md.

150 training pairs, half of them bad, and 48 trusted ones, made here. `bdtheory select` weighs the
former with its defaults; SmolLM2 is then tuned by TRL in six ways, and its loss on held-out pairs
printed. One seed, the same rows in the same order; where rows are fewer, as many steps.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bdtheory.cli import main as bdtheory
from bdtheory.tasks import read_rows, write_rows
from bdtheory.tasks.written import written_pairs

from ._pairs import model_folder

BATCH = 8


def tuned(model: str, rows: Sequence[dict[str, Any]], test: Any, steps: int, folder: str) -> float:
    """Held-out loss after these steps over the rows, by their column `weight`; nats per token."""
    import datasets
    from transformers import set_seed
    from trl.trainer.sft_config import SFTConfig

    from bdtheory.sft import WeightedSFTTrainer

    set_seed(0)
    options = SFTConfig(
        folder,
        max_steps=steps,
        per_device_train_batch_size=BATCH,
        learning_rate=2e-5,
        seed=0,
        save_strategy="no",
        report_to="none",
        activation_checkpointing=False,
        disable_tqdm=True,
        use_cpu=True,
        bf16=False,
    )
    data = [datasets.Dataset.from_list([_columns(row) for row in part]) for part in (rows, test)]
    trainer = WeightedSFTTrainer(
        model, options, train_dataset=data[0], eval_dataset=data[1], normalise="responses"
    )
    trainer.train()
    return trainer.evaluate()["eval_loss"]


def _columns(row: dict[str, Any]) -> dict[str, Any]:
    return {key: row[key] for key in ("prompt", "completion", "weight")}


def weighing(rows: Sequence[dict[str, Any]], weight: float) -> list[dict[str, Any]]:
    """The rows with this weight each."""
    return [{**row, "weight": weight} for row in rows]


def ways(weighted: list[dict[str, Any]], trusted: list[dict[str, Any]]) -> dict[str, list]:
    """The rows to train on, by the name of the way."""
    mass = len(weighted) / len(trusted)  # the trusted rows together weigh what the others do
    selected = [row for row in weighted if row["selected"]]
    return {
        "all rows, no weights": weighing(weighted, 1.0),
        "weighted rows": weighted,
        f"the {len(selected)} selected rows, no weights": weighing(selected, 1.0),
        "all rows and the trusted ones, weight 1": weighing([*weighted, *trusted], 1.0),
        f"the {len(trusted)} trusted pairs alone": weighing(trusted, 1.0),
        "weighted rows and trusted ones": [*weighted, *weighing(trusted, mass)],
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.weighted_sft", description=__doc__)
    parser.add_argument("--model", help="folder of a language model (default: fetch-model's)")
    parser.add_argument("--seed", type=int, default=0, help="of the pairs (default 0)")
    options = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"  # TRL sends its makers a note of each trainer otherwise
    model, task = model_folder(options.model), written_pairs(options.seed, N=150, m=48)
    with tempfile.TemporaryDirectory() as folder:
        train, trusted = Path(folder) / "train.jsonl", Path(folder) / "trusted.jsonl"
        write_rows(train, task.train)
        write_rows(trusted, task.val)
        out = Path(folder) / "result"
        status = bdtheory(["select", str(train), "--val", str(trusted), "--model", model,
                           "-o", str(out)])  # fmt: skip
        if status:
            raise SystemExit(status)
        weighted = read_rows(out / "weighted.jsonl")
        test = weighing(task.test, 1.0)
        print(f"{'training rows':45s} {'steps':>5s}  held-out loss, nats per token")
        for name, rows in ways(weighted, task.val).items():
            steps = -(-max(len(rows), len(weighted)) // BATCH)
            loss = tuned(model, rows, test, steps, folder)
            print(f"{name:45s} {steps:5d}  {loss:.3f}", flush=True)


if __name__ == "__main__":
    main()
