"""What the small GPT costs beside the bare minimum: ratios measured in one run, one thread.

    python -m benchmarks.transformer [--layers 4] [--width 128] [--repeats 20]
    python -m benchmarks.transformer --gpu [--steps 20] [--profile]

1. a joint BDS step (`Penalty`: theta and weights from one pass over training and validation
   samples) over a plain fine-tuning step, written out below, on as many samples of the same data;
2. forward and backward of per-sample losses over those of their mean, the bare cross-entropy on the
   same logits;
3. sampling without a key-value cache over sampling with it, 64 new tokens.

Each repeat times both sides of a ratio in turn, so that a change in the machine's speed touches
both; ratios are taken repeat by repeat. `--gpu` prints tokens per second and the share of the
card's bfloat16 peak, for a model of 100 million parameters with torch.compile, and where the rest
of the time goes.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
import torch.nn.functional as F

import bdtheory as bdt
from bdtheory.methods.joint import Run
from bdtheory.models.gpt import hidden
from bdtheory.models.transformer import TransformerLM

from .hypergradient import seconds

VOCABULARY, CONTEXT, BATCH, NEW = 512, 256, 32, 64
# Dense bfloat16 products per second, as the makers state them (data sheets, without sparsity).
PEAKS = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "L4": 121e12, "T4": 65e12}


def pairs(n: int, longest: int, seed: int = 0) -> tuple[list, list]:
    """n random prompts and responses, together of half to all of `longest` tokens."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(longest // 2, longest + 1, n)
    tokens = [rng.integers(0, VOCABULARY, length).tolist() for length in lengths]
    cuts = [len(row) // 2 for row in tokens]  # half of it prompt
    split = list(zip(tokens, cuts, strict=True))
    return [row[:cut] for row, cut in split], [row[cut:] for row, cut in split]


def plain_step(model: TransformerLM, data, settings: bdt.Training):
    """A fine-tuning step without any of this package's training code: mean loss, clip, AdamW."""
    theta = {k: t.requires_grad_() for k, t in model.initial_theta(0).items()}
    parameters = list(theta.values())
    adamw = torch.optim.AdamW(parameters, lr=settings.learning_rate, weight_decay=0.0)
    rng = np.random.default_rng(0)

    def step() -> None:
        batch = data.take(rng.permutation(len(data))[: 2 * BATCH])
        loss = mean_loss(model, theta, batch)
        adamw.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, settings.clip)
        adamw.step()

    return step


def mean_loss(model: TransformerLM, theta, batch) -> torch.Tensor:
    """The mean over response tokens: cross-entropy on the same logits, and nothing else."""
    x = hidden(theta, batch.ids[:, :-1], model.layers, model.heads)
    at = torch.arange(1, batch.ids.shape[1], device=x.device)
    counts = (at >= batch.prompt[:, None]) & (at < batch.length[:, None])
    index = counts.flatten().nonzero()[:, 0]
    logits = F.linear(x.flatten(0, 1).index_select(0, index), theta["embedding"])
    return F.cross_entropy(logits, batch.ids[:, 1:].flatten()[index])


def sample_without_cache(model: TransformerLM, theta, prompts: torch.Tensor) -> torch.Tensor:
    """`NEW` tokens for prompts (n, T), one full forward pass for each."""
    ids, draw = prompts, torch.Generator(prompts.device).manual_seed(0)
    with torch.no_grad():
        for _ in range(NEW):
            last = hidden(theta, ids, model.layers, model.heads)[:, -1]
            pi = torch.softmax(F.linear(last, theta["embedding"]), -1)
            ids = torch.cat([ids, torch.multinomial(pi, 1, generator=draw)], 1)
    return ids


def compare(name: str, one, other, repeats: int, asked: str) -> None:
    """Print the ratio of one's time to the other's over paired repeats; the first warms up."""
    times = np.array([(seconds(one), seconds(other)) for _ in range(repeats + 1)][1:])
    low, middle, high = np.quantile(times[:, 0] / times[:, 1], [0.25, 0.5, 0.75])
    first, second = np.median(times, axis=0) * 1e3
    print(f"{name:<44} {first:8.1f} ms over {second:8.1f} ms")
    print(f"{'':<44} ratio {middle:.3f}, quartiles {low:.3f} to {high:.3f} (asked: {asked})")


def ratios(layers: int, width: int, repeats: int) -> None:
    """The three comparisons on the CPU."""
    torch.set_num_threads(1)
    settings = bdt.Training(steps=10**6, batch_size=BATCH, val_batch_size=BATCH)
    model = TransformerLM(
        vocab_size=VOCABULARY,
        context=CONTEXT,
        layers=layers,
        heads=4,
        width=width,
        device="cpu",
        training=settings,
    )
    problem = bdt.Problem(model, pairs(512, 64), pairs(128, 64, seed=1))
    theta = model.initial_theta(0)
    print(f"{layers} layers, width {width}, float32, one thread, {repeats} pairs")

    run = Run(problem, bdt.Penalty().selector(problem), seed=0)
    plain = plain_step(model, problem.train, settings)
    compare("joint step, 32 + 32 samples, over a plain one", run.advance, plain, repeats, "<= 1.15")

    batch = problem.train.take(np.arange(2 * BATCH))
    w = np.full(2 * BATCH, 1.0 / (2 * BATCH))

    def mean() -> None:
        leaves = {k: t.detach().requires_grad_() for k, t in theta.items()}
        torch.autograd.grad(mean_loss(model, leaves, batch), list(leaves.values()))

    per_sample = lambda: model.losses_and_gradient(theta, w, batch)  # noqa: E731
    compare("per-sample losses over a mean", per_sample, mean, repeats, "no dearer: <= 1.05")

    prompts = torch.randint(0, VOCABULARY, (16, 32), generator=torch.Generator().manual_seed(0))
    cached = lambda: model.generate(theta, prompts, max_new=NEW)  # noqa: E731
    uncached = lambda: sample_without_cache(model, theta, prompts)  # noqa: E731
    compare("sampling 64 tokens, uncached over cached", uncached, cached, repeats, ">= 5")


# On a GPU ----------------------------------------------------------------------------------------


def gpu(steps: int, profile: bool) -> None:
    """Tokens per second and model-FLOP utilisation of joint steps of a 100M-parameter model."""
    if not torch.cuda.is_available():
        print("no GPU here")
        return
    settings = bdt.Training(steps=10**6, batch_size=BATCH, val_batch_size=BATCH)
    model = TransformerLM(
        vocab_size=16384,
        context=1024,
        layers=12,
        heads=12,
        width=768,
        dtype="bfloat16",
        device="cuda",
        compile=True,
        training=settings,
    )
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 16384, (128, 1024)).tolist()
    data = [row[:512] for row in rows], [row[512:] for row in rows]
    problem = bdt.Problem(model, data, data)
    run = Run(problem, bdt.Penalty().selector(problem), seed=0)
    for _ in range(5):  # compiles
        run.advance()
    took = [timed(run.advance) for _ in range(steps)]
    report(model, took)
    if profile:
        activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
        with torch.profiler.profile(activities=activities) as found:
            for _ in range(3):
                timed(run.advance)
        print(found.key_averages().table(sort_by="self_cuda_time_total", row_limit=15))


def timed(call) -> float:
    """Seconds until the card has finished."""
    torch.cuda.synchronize()
    start = time.perf_counter()
    call()
    torch.cuda.synchronize()
    return time.perf_counter() - start


def report(model: TransformerLM, took: list[float]) -> None:
    """6 products per parameter and token, 3 for attention's 4 T C / 2 per layer and token.

    The embedding counts once, for the half of the positions that need logits (PaLM, appendix B).
    """
    T, C, L = model.context - 1, model.width, model.layers
    blocks = 12 * L * C**2
    parameters = blocks + model.vocab_size * C
    each = 6 * blocks + 6 * model.vocab_size * C / 2 + 3 * L * 4 * T * C / 2
    low, middle, high = np.quantile(took, [0.25, 0.5, 0.75])
    rate = 2 * BATCH * T / middle
    card = torch.cuda.get_device_name()
    peak = next((peak for name, peak in PEAKS.items() if name in card), None)
    print(f"{card}, torch {torch.__version__}, {parameters / 1e6:.0f}M parameters, bfloat16")
    print(f"joint step {middle * 1e3:.1f} ms, quartiles {low * 1e3:.1f} to {high * 1e3:.1f}")
    print(f"{rate:,.0f} tokens/s, {each * rate / 1e12:.0f} TFLOP/s", end="")
    print(f", {each * rate / peak:.1%} of {peak / 1e12:.0f}" if peak else ", peak not known")


def main() -> None:
    parser = argparse.ArgumentParser(description="Cost of joint steps, losses and sampling.")
    parser.add_argument("--layers", type=int, default=4, help="layers (default 4)")
    parser.add_argument("--width", type=int, default=128, help="width (default 128)")
    parser.add_argument("--repeats", type=int, default=20, help="paired repeats (default 20)")
    parser.add_argument("--gpu", action="store_true", help="tokens/s of a 100M-parameter model")
    parser.add_argument("--steps", type=int, default=20, help="timed steps with --gpu")
    parser.add_argument("--profile", action="store_true", help="with --gpu: the dearest operations")
    args = parser.parse_args()
    if args.gpu:
        gpu(args.steps, args.profile)
    else:
        ratios(args.layers, args.width, args.repeats)


if __name__ == "__main__":
    main()
