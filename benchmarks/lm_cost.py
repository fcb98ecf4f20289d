"""What selection costs beside plain fine-tuning: processor time and peak memory, in one run.

Plain: transformers and peft alone, one pass of LoRA over training and validation pairs, each once.
Selection: `Penalty` as `bdtheory select` runs it, with one pass over the training pairs and with
two (the default), validation pairs beside them, five evaluations a pass. The same model, layers,
rank, and batch; each in a process of its own, with one thread, twice in turn; the better of each.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from bdtheory.tasks import read_pairs, tokenise
from bdtheory.tasks.written import written_pairs

from . import gsm8k_pairs
from ._pairs import BATCH, METHODS, Data, model_folder, one_thread, problem_of

RANK, FROZEN = 16, 2 / 3


def read(folder: Path | None) -> Data:
    """Pairs of `gsm8k_pairs` where its folder is given, else those of the demo."""
    if folder is not None:
        return gsm8k_pairs.read(folder)
    task = written_pairs(0)
    return Data(task.train, task.val, task.test, task.kinds)


def plain(data: Data, folder: str) -> dict[str, float]:
    """One pass over training and validation tokens, as a fine-tuning script does it."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    given: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    tokenizer = AutoTokenizer.from_pretrained(folder, **given)
    found = [
        tokenise(read_pairs(rows), tokenizer, max_length=2048) for rows in (data.train, data.val)
    ]
    pairs = [pair for part in found for pair in zip(part.prompts, part.responses, strict=True)]
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **given)
    layers = model.config.num_hidden_layers
    config = LoraConfig(
        r=RANK,
        lora_alpha=2 * RANK,
        target_modules=[
            "q_proj",
            "k_proj",
            "v_proj",
            "o_proj",
            "gate_proj",
            "up_proj",
            "down_proj",
        ],
        layers_to_transform=list(range(int(FROZEN * layers), layers)),
    )
    model = get_peft_model(model, config)
    adamw = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    tokens, start = 0, time.process_time()
    order = torch.randperm(len(pairs), generator=torch.Generator().manual_seed(0)).tolist()
    for at in range(0, len(order), BATCH):
        batch = [pairs[k] for k in order[at : at + BATCH]]
        T = max(len(p) + len(r) for p, r in batch)
        ids = torch.tensor([[*p, *r] + [0] * (T - len(p) - len(r)) for p, r in batch])
        mask = torch.tensor(
            [[1] * (len(p) + len(r)) + [0] * (T - len(p) - len(r)) for p, r in batch]
        )
        labels = torch.tensor(
            [[-100] * len(p) + [*r] + [-100] * (T - len(p) - len(r)) for p, r in batch]
        )
        model(input_ids=ids, attention_mask=mask, labels=labels).loss.backward()
        adamw.step()
        adamw.zero_grad()
        tokens += int(mask.sum())
    return {"seconds": time.process_time() - start, "tokens": tokens}


def selection(data: Data, folder: str, passes: int) -> dict[str, float]:
    """`learn_weights` on the same pairs; loading the model is not counted, as above."""
    import bdtheory as bdt

    problem: Any = problem_of(data, folder, passes, frozen=FROZEN, lora=RANK)
    training = replace(problem.model.training, evaluations=5 * passes)
    problem.model = replace(problem.model, training=training)
    start = time.process_time()
    bdt.learn_weights(problem, METHODS["Penalty"])
    seconds = time.process_time() - start
    return {"seconds": seconds, "tokens": int(problem.joined().length.sum())}


def child(passes: int, options: argparse.Namespace) -> dict[str, float]:
    """The same module in a process of its own: its time, and its peak memory in MiB."""
    command = [sys.executable, "-m", "benchmarks.lm_cost", "--only", str(passes)]
    command += ["--model", options.model]
    command += ["--data", str(options.data)] if options.data else []
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"a run failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lm_cost", description=__doc__)
    parser.add_argument("--data", type=Path, help="folder of gsm8k_pairs (default: demo pairs)")
    parser.add_argument("--model", help="folder of a language model (default: fetch-model's)")
    parser.add_argument("--only", type=int, help=argparse.SUPPRESS)  # passes; 0: plain
    options = parser.parse_args()
    options.model = model_folder(options.model)
    if options.only is not None:
        one_thread()
        data, passes = read(options.data), options.only
        found = selection(data, options.model, passes) if passes else plain(data, options.model)
        found["MiB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps(found))
        return
    runs = [(passes, child(passes, options)) for passes in (0, 1, 2) * 2]
    print(f"{runs[0][1]['tokens']:.0f} tokens of training and validation pairs")
    plainly: dict[str, float] = {}
    for passes, name in enumerate(("plain", "selection, one pass", "selection, two passes")):
        own = [found for which, found in runs if which == passes]
        row = {"seconds": min(r["seconds"] for r in own), "MiB": max(r["MiB"] for r in own)}
        plainly = plainly or row
        time_ratio, memory_ratio = (row[key] / plainly[key] for key in ("seconds", "MiB"))
        print(
            f"  {name:22s} {row['seconds']:7.1f} s ({time_ratio:.2f})  {row['MiB']:6.0f} MiB "
            f"({memory_ratio:.2f})"
        )
    print("wanted: at most 2.2 times the time and 1.2 times the memory of the plain pass")


if __name__ == "__main__":
    main()
