"""HuggingFaceLM against plain transformers: losses, gradients, parts, sampling, learning."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

import bdtheory as bdt
from bdtheory.weights import auc

pytest.importorskip("transformers", reason="transformers is not installed (extra lm)")
pytest.importorskip("peft", reason="peft is not installed (extra lm)")

from tiny_lm import tiny_llama_folder, tiny_tokenizer

from bdtheory.models import network as networks
from bdtheory.models.huggingface import HuggingFaceLM, buckets

SHORT = bdt.Training(steps=4, batch_size=4, val_batch_size=2, evaluations=2, drop_last=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return str(tiny_llama_folder(tmp_path_factory.mktemp("llama")))


@pytest.fixture
def forget():
    """Networks loaded in this test are its own."""
    networks.load.cache_clear()
    yield
    networks.load.cache_clear()


def pairs(n=6, seed=0, vocab=250):
    """Prompts and responses of different lengths."""
    rng = np.random.default_rng(seed)
    draw = [[rng.integers(3, vocab, rng.integers(2, 9)).tolist() for _ in range(n)] for _ in "pr"]
    return draw[0], draw[1]


def problem_of(model, n=6, m=4):
    return bdt.Problem(model, pairs(n), val=pairs(m, seed=1))


def moved(model, seed=3):
    """theta with nothing at 0, so that every gradient is seen."""
    draw = torch.Generator().manual_seed(seed)
    theta = model.initial_theta(seed)
    return {k: t + 0.05 * torch.randn(t.shape, generator=draw) for k, t in theta.items()}


def by_hand(folder, prompt, response):
    """-log pi of each token of the response: one pair, no padding, transformers alone."""
    from transformers import AutoModelForCausalLM

    plain = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with torch.no_grad():
        logits = plain(input_ids=torch.tensor([prompt + response])).logits[0]
    log_pi = logits.log_softmax(-1)
    at = range(len(prompt), len(prompt) + len(response))
    return np.array([-float(log_pi[t - 1, (prompt + response)[t]]) for t in at])


@pytest.mark.parametrize("normalise", ["token", "sample"])
@pytest.mark.parametrize("frozen", [0.0, 0.5])
def test_losses_are_those_of_transformers_on_single_pairs(folder, frozen, normalise):
    model = HuggingFaceLM(folder, frozen=frozen, normalise=normalise, lora=4)
    data = problem_of(model).train
    got = model.losses(model.initial_theta(0), data)
    reduce = np.mean if normalise == "token" else np.sum
    needed = [reduce(by_hand(folder, p, r)) for p, r in zip(*pairs(), strict=True)]
    np.testing.assert_allclose(got.detach(), needed, rtol=2e-5)


def test_padding_that_is_the_end_token_hides_no_end_token(folder):
    """pad = eos in this tokenizer: a mask by token id would lose the response's last token."""
    model, tokenizer = HuggingFaceLM(folder, lora=4), tiny_tokenizer()
    assert tokenizer.pad_token_id == tokenizer.eos_token_id
    end = tokenizer.eos_token_id
    given = [[5, end, 6], [7]], [[8, end], [9, 10, end, end]]
    data = bdt.Problem(model, given, val=given).train
    needed = [by_hand(folder, p, r).mean() for p, r in zip(*given, strict=True)]
    got = model.losses(model.initial_theta(0), data).detach()
    np.testing.assert_allclose(got, needed, rtol=2e-5)


@pytest.mark.parametrize("lora", [3, None])
def test_parts_give_what_the_whole_gives(folder, lora):
    """Frozen layers remembered, computed anew, or with nothing cut: one function."""
    cut = HuggingFaceLM(folder, frozen=0.5, lora=lora)
    data, theta = problem_of(cut).train, moved(cut)
    w = np.arange(1.0, 7.0) / 21
    first = cut.losses_and_gradient(theta, w, data)
    assert cut.network.upper is not None and cut.network.below == 2 and cut.network.kept
    again = cut.losses_and_gradient(theta, w, data)  # from what is remembered
    upper, cut.network.upper = cut.network.upper, None
    whole = cut.losses_and_gradient(theta, w, data)
    cut.network.upper = upper
    for other, rtol in ((again, 0), (whole, 2e-5)):
        torch.testing.assert_close(other[0], first[0], rtol=rtol, atol=0)
        for name in theta:
            torch.testing.assert_close(other[1][name], first[1][name], rtol=rtol, atol=1e-7)


def test_what_does_not_fit_is_not_remembered(folder, forget):
    model = HuggingFaceLM(folder, frozen=0.5, lora=3)
    data = problem_of(model).train
    model.network.room = 4 * 32 * 20  # 20 positions of 32 numbers
    l = model.losses(model.initial_theta(0), data)
    positions = sum(len(h) for h in model.network.kept.values())
    assert 0 < positions <= 20 and model.network.room == 4 * 32 * (20 - positions)
    torch.testing.assert_close(model.losses(model.initial_theta(0), data), l)


@pytest.mark.parametrize("frozen", [0.0, 0.5])
@pytest.mark.parametrize("lora", [3, None])
def test_gradient_meets_finite_differences(folder, forget, frozen, lora):
    """In float64, but for the norms, which transformers computes in float32: 1e-6 over 2h."""
    model = HuggingFaceLM(folder, frozen=frozen, lora=lora)
    model.network.model.double()
    data = problem_of(model).train
    theta = {k: t.double() for k, t in moved(model).items()}
    w, draw = np.arange(1.0, 7.0), torch.Generator().manual_seed(0)
    along = {k: torch.randn(t.shape, generator=draw).double() for k, t in theta.items()}

    def value(h):
        l = model.losses({k: t + h * along[k] for k, t in theta.items()}, data)
        return float((torch.from_numpy(w) * l.detach()).sum())

    gradient = model.weighted_gradient(theta, w, data)
    slope = float(sum((gradient[k] * along[k]).sum() for k in theta))
    h = 2e-4
    assert abs(slope) > 0.5
    assert slope == pytest.approx((value(h) - value(-h)) / (2 * h), rel=2e-3)


def test_what_is_trained(folder):
    """Everything; the upper layers; or adapters in each linear map of these."""
    everything = HuggingFaceLM(folder, lora=None, frozen=0.0).initial_theta(0)
    assert "model.embed_tokens.weight" in everything and len(everything) == 2 + 4 * 9
    upper = HuggingFaceLM(folder, lora=None, frozen=0.5).initial_theta(0)
    assert len(upper) == 2 * 9 and all(".layers.2." in k or ".layers.3." in k for k in upper)
    adapters = HuggingFaceLM(folder, lora=3, frozen=0.75).initial_theta(0)
    assert len(adapters) == 2 * 7 and all(".layers.3." in k for k in adapters)
    assert all(t.shape[0] == 3 for k, t in adapters.items() if ".lora_A." in k)


def test_adapters_begin_at_the_model_and_a_seed_draws_them(folder):
    model = HuggingFaceLM(folder, lora=3)
    a, b, c = (model.initial_theta(seed) for seed in (0, 0, 1))
    for name in a:
        assert torch.equal(a[name], b[name])
        assert (not a[name].any()) == (".lora_B." in name)
        assert torch.equal(a[name], c[name]) == (".lora_B." in name)


def test_the_start_is_not_moved_by_training(folder):
    model = HuggingFaceLM(folder, lora=None, frozen=0.5, training=SHORT)
    before = model.initial_theta(0)
    fit = bdt.learn_weights(problem_of(model), bdt.ValidationOnly())
    after = model.initial_theta(0)
    assert all(torch.equal(before[k], after[k]) for k in before)
    assert not all(torch.equal(before[k], fit.theta[k]) for k in before)


def test_checkpointing_changes_no_gradient(folder):
    plain = HuggingFaceLM(folder, lora=3, frozen=0.25)
    saving = dataclasses.replace(plain, checkpointing=True)
    data, theta = problem_of(plain).train, moved(plain)
    calls = []
    layer = plain.network.layers[2].input_layernorm
    hook = layer.register_forward_hook(lambda *_: calls.append(1))
    a = plain.losses_and_gradient(theta, np.ones(6), data)
    once = len(calls)
    b = saving.losses_and_gradient(theta, np.ones(6), data)
    hook.remove()
    assert (once, len(calls)) == (1, 3)  # the second time forward, and again in backward
    for name in theta:
        torch.testing.assert_close(a[1][name], b[1][name], rtol=1e-6, atol=1e-8)


def other_architecture(path, name):
    """GPT-2 adds positions to what it is given; Gemma 2 caps its logits."""
    import transformers

    llama = {
        "hidden_size": 32,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "intermediate_size": 64,
    }
    shape = {
        "GPT2": {"n_embd": 32, "n_layer": 4, "n_head": 4, "n_positions": 64},
        "Gemma2": llama | {"final_logit_softcapping": 0.05},
        "Qwen3": llama,
    }[name]
    tokenizer = tiny_tokenizer()
    config = getattr(transformers, f"{name}Config")(vocab_size=len(tokenizer), **shape)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        kind = "GPT2LMHeadModel" if name == "GPT2" else f"{name}ForCausalLM"
        getattr(transformers, kind)(config).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return str(path)


@pytest.mark.parametrize(
    "name, cut, whole", [("Qwen3", True, False), ("GPT2", False, False), ("Gemma2", False, True)]
)
def test_models_that_cannot_be_cut_are_run_whole(tmp_path, name, cut, whole):
    path = other_architecture(tmp_path, name)
    model = HuggingFaceLM(path, frozen=0.5, lora=3)
    assert (model.network.upper is not None, model.network.whole) == (cut, whole)
    data, theta = problem_of(model).train, model.initial_theta(0)
    needed = [by_hand(path, p, r).mean() for p, r in zip(*pairs(), strict=True)]
    np.testing.assert_allclose(model.losses(theta, data).detach(), needed, rtol=2e-5)
    gradient = model.weighted_gradient(theta, np.ones(6), data)
    assert all(bool(g.any()) == (".lora_B." in k) for k, g in gradient.items())


def test_unconditional_losses_leave_the_prompt_out(folder):
    model, tokenizer = HuggingFaceLM(folder, lora=4), tiny_tokenizer()
    data = problem_of(model).train
    needed = [by_hand(folder, [tokenizer.bos_token_id], r).mean() for r in pairs()[1]]
    np.testing.assert_allclose(model.unconditional(data), needed, rtol=2e-5)


def test_buckets_hold_every_row_once_within_the_budget():
    length = torch.tensor([5, 1, 9, 3, 3, 2, 30])
    parts = buckets(length, 10)
    assert sorted(torch.cat(parts).tolist()) == list(range(7))
    for part in parts:
        assert len(part) == 1 or int(length[part].max()) * len(part) <= 10
    assert len(parts) < 7


def test_sampling_meets_single_prompts_and_is_seeded(folder):
    """Prompts of different lengths together give what each gives alone; log pi is -losses."""
    model = HuggingFaceLM(folder, lora=4, normalise="sample")
    theta, prompts = moved(model), [[5, 6, 7, 8, 9], [10], [11, 12]]
    together = model.generate(theta, prompts, max_new=5, temperature=None)
    for prompt, response in zip(prompts, together.responses, strict=True):
        alone = model.generate(theta, [prompt], max_new=5, temperature=None)
        assert alone.responses == [response]
    data = bdt.Problem(model, (prompts, together.responses), val=pairs(2)).train
    np.testing.assert_allclose(together.log_probs, -model.losses(theta, data).detach(), rtol=1e-6)
    state = torch.random.get_rng_state()
    a, b, c = (model.generate(theta, prompts, max_new=5, seed=s).responses for s in (0, 0, 1))
    assert a == b != c
    assert torch.equal(state, torch.random.get_rng_state())


def test_a_response_ends_with_the_end_token(folder):
    model = HuggingFaceLM(folder, lora=4)
    theta = moved(model)
    free = model.generate(theta, [[5, 6]], max_new=6, temperature=None, end=0).responses[0]
    short = model.generate(theta, [[5, 6]], max_new=6, temperature=None, end=free[2]).responses[0]
    assert short == free[: free.index(free[2]) + 1]


# Learning ----------------------------------------------------------------------------------------


def taught(folder, **more):
    """Pairs whose response repeats the prompt; bad ones answer at random."""
    rng = np.random.default_rng(0)

    def draw(n, bad):
        prompts = rng.integers(3, 40, (n, 2)).tolist()
        clean = rng.random(n) >= bad
        wrong = rng.integers(3, 40, (n, 2)).tolist()
        given = [p if c else b for p, c, b in zip(prompts, clean, wrong, strict=True)]
        return (prompts, given), clean

    train, clean = draw(64, 0.5)
    val, _ = draw(48, 0.0)
    training = bdt.Training(
        steps=128, batch_size=16, val_batch_size=16, learning_rate=1e-2, drop_last=False, **more
    )
    model = HuggingFaceLM(folder, lora=None, frozen=0.0, training=training)
    return bdt.Problem(model, train, val), clean


def test_learned_weights_prefer_what_validation_confirms(folder):
    problem, clean = taught(folder, selector_rate=0.5)
    fit = bdt.learn_weights(problem, bdt.Penalty())
    assert fit.history["val_loss"][0] - fit.val_loss > 1.5
    assert auc(fit.weights, clean) > 0.9


def test_parts_of_a_batch_give_the_step_of_the_whole(folder):
    """`accumulate` sorts by length; the trajectory is that of one pass, to rounding."""
    runs = []
    for accumulate in (1, 3):
        training = dataclasses.replace(SHORT, accumulate=accumulate)
        model = HuggingFaceLM(folder, lora=3, training=training)
        runs.append(bdt.learn_weights(problem_of(model), bdt.Penalty()))
    np.testing.assert_allclose(runs[0].weights, runs[1].weights, rtol=1e-4)
    assert runs[0].val_loss == pytest.approx(runs[1].val_loss, rel=1e-5)


def test_a_run_goes_on_bit_for_bit(folder, tmp_path):
    model = HuggingFaceLM(folder, lora=3, training=SHORT)
    problem = problem_of(model)
    whole = bdt.learn_weights(problem, bdt.Penalty())
    parts = {"checkpoint": tmp_path / "state"}
    networks.load.cache_clear()  # as in a new process: the frozen layers' output is computed anew
    bdt.learn_weights(problem, bdt.Penalty(), callback=lambda step, w: step == 2, **parts)
    networks.load.cache_clear()
    resumed = bdt.learn_weights(problem, bdt.Penalty(), **parts)
    assert np.array_equal(whole.weights, resumed.weights)
    assert all(torch.equal(whole.theta[k], resumed.theta[k]) for k in whole.theta)


def test_a_selection_is_saved_and_loaded(folder, tmp_path):
    fit = bdt.learn_weights(problem_of(HuggingFaceLM(folder, training=SHORT)), bdt.BMO())
    assert bdt.Selection.load(fit.save(tmp_path / "selection")) == fit


def test_rounds_of_generation_run(folder):
    model = HuggingFaceLM(folder, lora=3, training=SHORT)
    generation = bdt.Generation(share=0.5, responses=2, max_new=4)
    found = bdt.refine(problem_of(model), bdt.BMO(), 1, generation=generation)
    assert found.rounds == 1 and np.isfinite(found.selection.val_loss)
    assert found.selection.weights.sum() == pytest.approx(1.0)


# Bad input ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change, message",
    [
        ({"lora": 0}, "lora is 0; needed a whole number >= 1; try lora=16"),
        ({"frozen": 1.0}, "frozen is 1.0; needed less than 1; try frozen=0.5"),
        ({"normalise": "none"}, "normalise is 'none'"),
        ({"dtype": "float16"}, "dtype is 'float16'"),
        ({"context": 1}, "context is 1"),
        ({"training": 3}, "training is 3; needed a Training"),
    ],
)
def test_arguments_are_checked(change, message):
    with pytest.raises(ValueError, match=message):
        HuggingFaceLM("folder", **change)


@pytest.mark.parametrize("missing", ["tokenizer", "config.json", "model.safetensors"])
def test_a_folder_with_something_missing_is_named(tmp_path, missing):
    for path in tiny_llama_folder(tmp_path / "model").iterdir():
        if path.name.startswith(missing):
            path.unlink()
    with pytest.raises(ValueError, match=r"needed .*; try .*"):
        HuggingFaceLM(str(tmp_path / "model")).network  # noqa: B018


def test_a_name_that_is_nowhere_asks_no_server(monkeypatch):
    def connect(*_):
        pytest.fail("a connection was tried")

    monkeypatch.setattr("socket.socket.connect", connect)
    monkeypatch.setattr("socket.getaddrinfo", connect)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    with pytest.raises(ValueError, match=r"from no/such-model \(no such folder, and no such"):
        HuggingFaceLM("no/such-model").network  # noqa: B018


def test_pairs_longer_than_the_context_are_refused(folder):
    model = HuggingFaceLM(folder, context=8, lora=3)
    with pytest.raises(ValueError, match="needed at most context = 8 together"):
        bdt.Problem(model, ([[5] * 6], [[6] * 3]), val=pairs(2))
