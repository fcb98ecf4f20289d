"""What selection costs in two processes beside one: processor time and exchange of a step.

`Penalty` on the demo's pairs, as `bdtheory select` runs it, in one process and in two that
torch.distributed joins on this machine's CPU; each process has one thread. The bytes are those that
torch.distributed was asked to sum, counted at its door, beside what the arithmetic of
`bdtheory/methods/parallel.py` says; and those that went over the loopback interface, where the
system counts them (a ring of P sends 2 (P - 1) / P times as much, from each process).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from bdtheory.methods import Penalty
from bdtheory.methods.joint import Run
from bdtheory.methods.parallel import Processes, masses_at
from bdtheory.tasks.written import written_pairs

from ._pairs import BATCH, VAL_BATCH, Data, model_folder, one_thread, problem_of

STEPS = 16
MANY = 100_000_000 // 64  # logits of one of 64 processes that weight 1e8 pairs
LOOPBACK = Path("/sys/class/net/lo/statistics/tx_bytes")


def steps(folder: str, rank: int, size: int, meeting: str) -> dict[str, Any]:
    """STEPS joint steps in this process, the frozen layers' output of its rows computed before."""
    import torch.distributed as dist

    one_thread()
    if size > 1:
        where = f"file://{meeting}/meeting"
        dist.init_process_group("gloo", init_method=where, rank=rank, world_size=size)
    task = written_pairs(0)
    problem: Any = problem_of(Data(task.train, task.val, task.test, task.kinds), folder, 2)
    start = time.process_time()
    run = Run(problem, Penalty().selector(problem), seed=0)
    run.remember()
    before = time.process_time() - start
    summed, all_reduce = [], dist.all_reduce

    def counted(tensor: Any, *given: Any) -> Any:
        summed.append(tensor.numel() * tensor.element_size())
        return all_reduce(tensor, *given)

    dist.all_reduce = counted
    run.processes.sum(0.0)  # all begin together
    summed.clear()
    wire, wall, start = _wire(), time.perf_counter(), time.process_time()
    for _ in range(STEPS):
        run.advance()
    found = {
        "frozen": before,
        "processor": (time.process_time() - start) / STEPS,
        "wall": (time.perf_counter() - wall) / STEPS,
        "bytes": sum(summed) / STEPS,
        "sums": len(summed) / STEPS,
        "wire": (_wire() - wire) / STEPS,
        "trained": sum(t.numel() for t in run.leader.theta.values()),
        "weights": run.selector.weights.tolist(),
    }
    if size > 1:
        dist.barrier()
        dist.destroy_process_group()
    return found


def normalising() -> float:
    """Seconds for the weights of a batch where this process has MANY logits."""
    z, codes, alone = np.random.default_rng(0).normal(size=MANY), np.arange(8), Processes()
    start = time.process_time()
    for _ in range(10):
        masses_at(alone, z, codes)
    return (time.process_time() - start) / 10


def _wire() -> float:
    return float(LOOPBACK.read_text()) if LOOPBACK.exists() else float("nan")


def together(folder: str, size: int) -> list[dict[str, Any]]:
    """What each of so many processes found."""
    with tempfile.TemporaryDirectory() as meeting:
        command = [sys.executable, "-m", "benchmarks.parallel", "--model", folder]
        running = [
            subprocess.Popen(
                [*command, "--only", f"{rank},{size},{meeting}"],
                stdout=subprocess.PIPE,
                env=os.environ | {"OMP_NUM_THREADS": "1"},
            )
            for rank in range(size)
        ]
        out = [process.communicate()[0] for process in running]
    if any(process.returncode for process in running):
        sys.exit("a process failed: see above")
    return [json.loads(text.splitlines()[-1]) for text in out]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.parallel", description=__doc__)
    parser.add_argument("--model", help="folder of a language model (default: fetch-model's)")
    parser.add_argument("--only", help=argparse.SUPPRESS)  # rank,size,folder
    options = parser.parse_args()
    options.model = model_folder(options.model)
    if options.only:
        rank, size, meeting = options.only.split(",")
        print(json.dumps(steps(options.model, int(rank), int(size), meeting)))
        return
    found = {size: together(options.model, size) for size in (1, 2)}
    alone = found[1][0]
    print(f"{STEPS} steps of {BATCH} + {VAL_BATCH} pairs, {alone['trained']:,} trained parameters")
    print("processes  processor s/step, each  of one  wall s/step  frozen layers s, each")
    for size, each in found.items():
        own = max(r["processor"] for r in each)
        wall, frozen = max(r["wall"] for r in each), max(r["frozen"] for r in each)
        ratio = own / alone["processor"]
        print(f"{size:9d}  {own:22.3f}  {ratio:6.2f}  {wall:11.3f}  {frozen:22.1f}")
    two = found[2][0]
    by_formula = 4 * two["trained"] + 8 * (BATCH + VAL_BATCH) + 2 * 8 * BATCH + 2 * 8
    print(f"summed in a step: {two['bytes']:,.0f} bytes in {two['sums']:.0f} sums; by the formula")
    print(f"  4 d + 8 (b + m) + 16 b + 16 = {by_formula:,}; on the wire {two['wire']:,.0f}")
    print(f"softmax over {MANY:,} logits: {1e3 * normalising():.1f} ms")
    apart = np.max(np.abs(np.subtract(alone["weights"], two["weights"]))) * len(two["weights"])
    print(f"weights (mean 1) of two processes less those of one: at most {apart:.1e}")


if __name__ == "__main__":
    main()
