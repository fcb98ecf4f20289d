"""The small GPT against independent routes: differences, one pair at a time, no cache, softmax."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import examples

import bdtheory as bdt
from bdtheory.models.gpt import hidden, rotate, rotation
from bdtheory.models.transformer import CHUNK

V, CONTEXT = 7, 12
SHAPE = {"vocab_size": V, "context": CONTEXT, "width": 16, "heads": 2}


def tiny(**changes):
    return bdt.TransformerLM(**{**SHAPE, "layers": 2, "dtype": "float64", **changes})


def theta_of(model, seed=0, scale=10.0):
    """Random parameters ten times GPT-2's start, so that attention is far from uniform."""
    theta = model.initial_theta(seed)
    return {k: t * scale if t.ndim > 1 else t for k, t in theta.items()}


def pairs(n, seed=0, longest=5):
    """(prompts, responses): n pairs of random tokens, 1 to `longest` of each."""
    rng = np.random.default_rng(seed)
    draw = lambda: rng.integers(0, V, rng.integers(1, longest + 1)).tolist()  # noqa: E731
    return [draw() for _ in range(n)], [draw() for _ in range(n)]


def by_hand(model, theta, prompt, response):
    """log pi of one response: a full forward pass without padding, softmax written out."""
    ids = torch.tensor([prompt + response])
    logits = hidden(theta, ids, model.layers, model.heads)[0] @ theta["embedding"].T
    log_pi = logits - logits.logsumexp(-1, keepdim=True)
    places = range(len(prompt) - 1, len(prompt) + len(response) - 1)
    return sum(float(log_pi[at, token]) for at, token in zip(places, response, strict=True))


# Losses ------------------------------------------------------------------------------------------


def test_the_loss_is_minus_the_log_probability_of_the_response_alone():
    model = tiny()
    theta, (prompts, responses) = theta_of(model), pairs(9)
    by_pair = [by_hand(model, theta, p, r) for p, r in zip(prompts, responses, strict=True)]
    # float64: sums of at most 5 logarithms near 5, so 1e-12 leaves a hundred roundings.
    np.testing.assert_allclose(model.log_probs(theta, prompts, responses), by_pair, atol=1e-12)
    assert np.ptp(by_pair) > 1.0  # they differ: the comparison can fail


@examples(25)
@given(st.integers(0, 10**6), st.integers(2, 6))
def test_no_pair_changes_the_loss_of_another_one(seed, n):
    """Padding, order and company play no part."""
    model = tiny(layers=1)
    theta, (prompts, responses) = theta_of(model), pairs(n, seed)
    together = -model.log_probs(theta, prompts, responses)
    alone = [-model.log_probs(theta, [p], [r])[0] for p, r in zip(prompts, responses, strict=True)]
    np.testing.assert_allclose(together, torch.stack(alone), atol=1e-12)


def test_losses_in_parts_equal_losses_in_one(monkeypatch):
    model = tiny(layers=1)
    theta, data = theta_of(model), pairs(23)
    train = bdt.Problem(model, data, data).train
    assert len(train) < CHUNK
    whole = model.losses(theta, train)
    monkeypatch.setattr("bdtheory.models.transformer.CHUNK", 4)
    np.testing.assert_allclose(model.losses(theta, train), whole, atol=1e-12)
    w = np.linspace(0.0, 1.0, 23)
    _, gradient = model.losses_and_gradient(theta, w, train)
    monkeypatch.undo()
    _, expected = model.losses_and_gradient(theta, w, train)
    for name in theta:
        np.testing.assert_allclose(gradient[name], expected[name], atol=1e-10)


def test_gradient_meets_central_differences():
    model = tiny()
    theta = theta_of(model)
    data = bdt.Problem(model, pairs(5), pairs(5)).train
    w = np.array([0.3, 0.0, 0.5, 1.1, 0.2])
    losses, gradient = model.losses_and_gradient(theta, w, data)
    np.testing.assert_allclose(losses, model.losses(theta, data))
    rng, h = np.random.default_rng(1), 1e-5  # h^2 and rounding / h: errors near 1e-9
    for name, tensor in theta.items():
        v = torch.tensor(rng.standard_normal(tensor.shape))
        up, down = (
            float(torch.tensor(w) @ model.losses(theta | {name: tensor + s * h * v}, data))
            for s in (1, -1)
        )
        slope = float((gradient[name] * v).sum())
        assert abs(slope) > 1e-3, name
        assert (up - down) / (2 * h) == pytest.approx(slope, rel=1e-6, abs=1e-7), name


def test_a_prompt_conditions_the_response_and_is_not_counted():
    model = tiny()
    theta = theta_of(model)
    one, other = model.log_probs(theta, [[1, 2, 3], [4, 5, 3]], [[6, 0], [6, 0]])
    assert abs(one - other) > 1e-3
    # Counted, the prompt of five tokens would add several times log V to this loss.
    loss = -model.log_probs(model.initial_theta(0), [[1, 2, 3, 4, 5]], [[6]])[0]
    assert float(loss) == pytest.approx(math.log(V), abs=0.5)


def test_no_token_sees_a_later_one():
    model = tiny()
    theta = theta_of(model)
    ids = torch.tensor([[1, 2, 3, 4, 5, 6]])
    changed = torch.tensor([[1, 2, 3, 0, 5, 6]])
    x, y = (hidden(theta, i, model.layers, model.heads) for i in (ids, changed))
    assert torch.equal(x[:, :3], y[:, :3])
    assert all(float((x - y)[0, t].abs().max()) > 1e-3 for t in range(3, 6))


@pytest.mark.parametrize("layers", [1, 3])
def test_wanted_places_are_those_of_all_places(layers):
    """What is left out after the last attention changes nothing in what is returned."""
    model = tiny(layers=layers)
    theta, ids = theta_of(model), torch.tensor([[1, 2, 3, 4], [4, 1, 0, 2]])
    wanted = torch.tensor([6, 0, 3])
    whole = hidden(theta, ids, layers, model.heads)
    some = hidden(theta, ids, layers, model.heads, wanted=wanted)
    torch.testing.assert_close(some, whole.flatten(0, 1)[wanted])
    assert float((some[0] - some[1]).abs().max()) > 1e-3


def test_attention_scores_depend_on_the_distance_alone():
    """Rotary positions: q at place a against k at place b, shifted by any s (Su et al. 2021)."""
    D, T = 8, 11
    rng = np.random.default_rng(0)
    q, k = (torch.tensor(rng.standard_normal(D)) for _ in range(2))
    turn = rotation(T, D, q, None)
    scores = rotate(q.expand(T, D), turn) @ rotate(k.expand(T, D), turn).T  # (T, T)
    for distance in range(-T + 1, T):
        diagonal = scores.diagonal(distance)
        np.testing.assert_allclose(diagonal, diagonal[0].expand(len(diagonal)), atol=1e-12)
    assert float(scores[0].std()) > 1e-2  # and they do depend on it
    assert float((scores[0, 1:] - scores[1:, 0]).abs().max()) > 1e-2  # with its sign


def test_later_places_are_rotated_as_in_one_pass():
    D = 8
    at = torch.tensor([3, 0, 7])
    cos, sin = rotation(9, D, torch.zeros(1, dtype=torch.float64), None)
    one_by_one = rotation(1, D, torch.zeros(1, dtype=torch.float64), at)
    torch.testing.assert_close(one_by_one[0][:, 0, 0], cos[at])
    torch.testing.assert_close(one_by_one[1][:, 0, 0], sin[at])


def test_weights_are_tied():
    """The embedding is read at both ends, and no other parameter has the vocabulary's size."""
    model = tiny()
    assert [k for k, shape in model.shapes().items() if V in shape] == ["embedding"]
    theta = theta_of(model)
    data = bdt.Problem(model, ([[1]], [[2]]), ([[1]], [[2]])).train
    gradient = model.weighted_gradient(theta, [1.0], data)["embedding"]
    # Tokens 3 to 6 come in nowhere: their rows move by the output side alone.
    assert bool((gradient[3:].abs().amax(1) > 1e-6).all())
    no_token = theta | {
        "embedding": torch.cat([theta["embedding"][:1] * 0, theta["embedding"][1:]])
    }
    uniform = tiny(layers=1).losses({k: t * 0 for k, t in theta_of(tiny(layers=1)).items()}, data)
    assert float(uniform[0]) == pytest.approx(math.log(V))  # all logits equal
    assert float(model.losses(no_token, data)[0]) != float(model.losses(theta, data)[0])


# Number formats, devices, compilation ------------------------------------------------------------


def test_bfloat16_losses_are_close_to_float32():
    full, half = tiny(dtype="float32"), tiny(dtype="bfloat16")
    theta, (prompts, responses) = theta_of(full), pairs(40)
    assert all(t.dtype == torch.float32 for t in half.initial_theta(0).values())
    exact = full.log_probs(theta, prompts, responses)
    error = (half.log_probs(theta, prompts, responses) - exact).abs().numpy()
    length = np.array([len(r) for r in responses])
    logits = float(
        (hidden(theta, torch.tensor(prompts[:1]), 2, 2) @ theta["embedding"].T).abs().max()
    )
    # bfloat16 has 8 bits: a product is right to 2^-8 of its size. A logit's error is about
    # three times that (two layers and the output in turn); a loss of k tokens has k of them.
    assert (error <= length * 3 * 2.0**-8 * max(logits, 1.0)).all()
    assert error.max() > 1e-4  # it really was computed in bfloat16


def test_dtype_of_parameters_and_losses():
    for name, dtype in [("float64", torch.float64), ("float32", torch.float32)]:
        model = tiny(dtype=name)
        theta = model.initial_theta(3)
        assert {t.dtype for t in theta.values()} == {dtype}
        assert model.log_probs(theta, [[1]], [[2]]).dtype == dtype


def test_start_of_theta():
    model = tiny()
    drawn = model.initial_theta(0)
    assert drawn.keys() == model.shapes().keys()
    assert float(drawn["embedding"].std()) == pytest.approx(0.02, rel=0.3)
    assert float(drawn["0.down"].std()) == pytest.approx(0.02 / 2, rel=0.3)  # / sqrt(2 layers)
    assert torch.equal(drawn["norm"], torch.ones(16))
    again, other = model.initial_theta(0), model.initial_theta(1)
    assert all(torch.equal(drawn[k], again[k]) for k in drawn)
    assert not torch.equal(drawn["0.qkv"], other["0.qkv"])
    mine = theta_of(model)
    used = tiny(start=dict(reversed(mine.items()))).initial_theta(5)
    assert list(used) == list(drawn)
    assert all(torch.equal(used[k], mine[k]) for k in mine)
    used["norm"] += 1.0
    assert torch.equal(mine["norm"], torch.ones(16))  # a copy


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, of its own parts
def test_compiled_losses_and_gradient_are_the_same(monkeypatch):
    """The whole pass as one traced graph, run as it stands.

    Not covered: the code that torch.compile would generate from it, which takes a minute to make.
    """
    traced = torch.compile(hidden, dynamic=True, fullgraph=True, backend="eager")
    monkeypatch.setattr("bdtheory.models.transformer._compiled", lambda: traced)
    plain, compiled = tiny(layers=1), tiny(layers=1, compile=True)
    theta = theta_of(plain)
    data = bdt.Problem(plain, pairs(5), pairs(5)).train
    monkeypatch.setattr(
        "bdtheory.models.transformer.hidden", None
    )  # it is the traced one that runs
    b, db = compiled.losses_and_gradient(theta, np.ones(5), data)
    monkeypatch.setattr("bdtheory.models.transformer.hidden", hidden)
    a, da = plain.losses_and_gradient(theta, np.ones(5), data)
    torch.testing.assert_close(a, b, rtol=0.0, atol=1e-10)  # float64, other orders of summation
    for name in da:
        torch.testing.assert_close(da[name], db[name], rtol=0.0, atol=1e-10)


def test_device():
    assert tiny(device="cpu").initial_theta(0)["norm"].device.type == "cpu"
    there = "cuda" if torch.cuda.is_available() else "cpu"
    if not torch.backends.mps.is_available():
        assert tiny(device="auto").initial_theta(0)["norm"].device.type == there


@pytest.mark.parametrize("kind", ["lists", "numpy", "tensor", "tensors"])
def test_tensors_in_tensors_out(kind):
    prompts, responses = [[1, 2], [3, 4]], [[5, 0], [6, 0]]
    convert = {
        "lists": list,
        "numpy": lambda rows: [np.array(row) for row in rows],
        "tensor": torch.tensor,
        "tensors": lambda rows: [torch.tensor(row, dtype=torch.int32) for row in rows],
    }[kind]
    train = convert(prompts), convert(responses)
    model = tiny(layers=1, training=bdt.Training(steps=2))
    seen = []
    fit = bdt.learn_weights(
        bdt.Problem(model, train, (prompts, responses)),
        bdt.Penalty(),
        callback=lambda k, w: seen.append(w),
    )
    expected = torch.Tensor if kind.startswith("tensor") else np.ndarray
    assert isinstance(fit.weights, expected)
    assert all(isinstance(w, expected) for w in seen)
    assert float(fit.weights.sum()) == pytest.approx(1.0)
    assert all(isinstance(t, torch.Tensor) for t in fit.theta.values())


# Sampling ----------------------------------------------------------------------------------------


def without_cache(model, theta, prompt, max_new, end=None):
    """The most likely token each time, by repeated full forward passes."""
    response = []
    while len(response) < max_new and (not response or response[-1] != end):
        x = hidden(theta, torch.tensor([prompt + response]), model.layers, model.heads)[0, -1]
        response.append(int((theta["embedding"] @ x).argmax()))
    return response


@pytest.mark.parametrize("ends", [False, True])
@pytest.mark.parametrize("temperature", [None, 1.0, 0.3])
def test_cached_log_probabilities_are_those_of_the_losses(temperature, ends):
    model = tiny()
    theta, (prompts, _) = theta_of(model, scale=5.0), pairs(20)
    greedy = model.generate(theta, prompts, max_new=7, temperature=None).responses
    end = greedy[0][2] if ends else None  # a token that does come up
    sampled = model.generate(theta, prompts, max_new=7, temperature=temperature, end=end, seed=3)
    again = model.log_probs(theta, prompts, sampled.responses)
    # float64, the same numbers summed in another order.
    np.testing.assert_allclose(sampled.log_probs, again, atol=1e-10)
    lengths = {len(r) for r in sampled.responses}
    assert len(lengths) > 1 if ends else lengths == {7}
    for response in sampled.responses:
        assert end is None or end not in response[:-1]
        assert end is None or len(response) == 7 or response[-1] == end


@pytest.mark.parametrize("end", [None, 0])
def test_cached_greedy_sampling_is_uncached_greedy_sampling(end):
    model = tiny()
    for seed in range(3):
        theta, (prompts, _) = theta_of(model, seed, scale=5.0), pairs(12, seed)
        cached = model.generate(theta, prompts, max_new=7, temperature=None, end=end).responses
        assert cached == [without_cache(model, theta, p, 7, end) for p in prompts]
        assert len({tuple(r) for r in cached}) > 1


@pytest.mark.parametrize("tau", [0.5, 1.0, 2.0])
def test_samples_follow_the_tempered_softmax(tau):
    """Two tokens, all V^2 outcomes: frequencies against products of softmax(logits / tau)."""
    model, n = tiny(vocab_size=3, layers=1), 4000
    theta, prompt = theta_of(model, scale=8.0), [1, 2]

    def conditional(ids):
        x = hidden(theta, torch.tensor([ids]), model.layers, model.heads)[0, -1]
        e = np.exp((theta["embedding"] @ x).numpy() / tau)
        return e / e.sum()

    first = conditional(prompt)
    pi = np.concatenate([first[a] * conditional([*prompt, a]) for a in range(3)])  # (9,)
    drawn = model.generate(theta, [prompt] * n, max_new=2, temperature=tau, seed=1).responses
    counts = np.bincount([3 * a + b for a, b in drawn], minlength=9)
    assert n * pi.min() > 5  # so that Pearson's statistic has its chi-square law
    chi2 = float(((counts - n * pi) ** 2 / (n * pi)).sum())
    # Chi-square with 8 degrees of freedom: 0.86 and 26.1 leave out one part in a thousand each.
    assert 0.86 < chi2 < 26.1
    other = np.full(9, 1 / 9)  # not vacuous: uniform frequencies are far outside
    assert ((counts - n * other) ** 2 / (n * other)).sum() > 100


def test_the_same_seed_gives_the_same_samples():
    model = tiny()
    theta, (prompts, _) = theta_of(model), pairs(10)
    one, same, other = (model.generate(theta, prompts, max_new=6, seed=s) for s in (0, 0, 1))
    assert one.responses == same.responses and torch.equal(one.log_probs, same.log_probs)
    assert one.responses != other.responses


def test_a_temperature_near_zero_is_greedy():
    model = tiny(dtype="float32")
    theta, (prompts, _) = theta_of(model), pairs(10)
    greedy = model.generate(theta, prompts, max_new=6, temperature=None)
    for temperature in (1e-6, 1e-40, 1e-320):
        cold = model.generate(theta, prompts, max_new=6, temperature=temperature)
        assert cold.responses == greedy.responses


def test_a_response_may_fill_the_context():
    model = tiny()
    theta = theta_of(model)
    full = model.generate(theta, [[1], [2] * 4], max_new=CONTEXT - 4).responses
    assert [len(r) for r in full] == [CONTEXT - 4] * 2
    model.log_probs(theta, [[2] * 4], full[1:])


def test_bfloat16_sampling_agrees_with_its_losses():
    model = tiny(dtype="bfloat16")
    theta, (prompts, _) = theta_of(model), pairs(10)
    sampled = model.generate(theta, prompts, max_new=5, seed=0)
    again = model.log_probs(theta, prompts, sampled.responses)
    # Five tokens, each right to a few parts in 2^8 of logits near 1 (see above).
    np.testing.assert_allclose(sampled.log_probs, again, atol=0.5)


# Bad input ---------------------------------------------------------------------------------------

GOOD = [[1, 2], [3]], [[4, 0], [5, 0]]
BAD_DATA = {
    "empty response": (([[1]], [[]]), "the response of pair 0 of train is empty"),
    "empty prompt": (([[1], []], [[2], [2]]), "the prompt of pair 1 of train is empty"),
    "too long": (([[1] * 12], [[2]]), "has 12 \\+ 1 tokens .*; needed at most context = 12"),
    "too large a token": (([[1]], [[V]]), f"token {V}; needed whole numbers 0 to {V - 1}"),
    "negative token": (([[-1]], [[1]]), "the prompt of pair 0 of train has the token -1"),
    "no whole number": (([[1.0]], [[1]]), "token 1.0"),
    "a flag": (([[True]], [[1]]), "token True"),
    "text": ((["ab"], ["cd"]), "'ab'; needed a list of tokens"),
    "one prompt, not a list": (([1, 2], [3, 4]), "is 1; needed a list of tokens"),
    "no pairs": (([], []), "0 prompts and 0 responses"),
    "unequal": (([[1]], [[1], [2]]), "1 prompts and 2 responses"),
    "no data": (None, "train is NoneType; needed a pair"),
    "one thing": (3, "train is int; needed a pair"),
}


def is_one_sentence(error) -> bool:
    """Got, needed, try: in one line, and readable."""
    message = str(error.value)
    return "needed" in message and "try" in message and "\n" not in message and len(message) < 300


@pytest.mark.parametrize("case", BAD_DATA)
def test_bad_data(case):
    train, message = BAD_DATA[case]
    with pytest.raises(ValueError, match=message) as error:
        bdt.Problem(tiny(), train, GOOD)
    assert is_one_sentence(error)


def test_validation_data_cannot_be_left_out():
    """Once, the test data took the place of validation data that were None."""
    with pytest.raises(ValueError, match="val is NoneType; needed a pair"):
        bdt.Problem(tiny(), GOOD, None, GOOD)


BAD_SAMPLING = {
    "temperature 0": ({"temperature": 0}, "temperature is 0; needed a finite number > 0"),
    "temperature -1": ({"temperature": -1.0}, "temperature is -1.0"),
    "temperature nan": ({"temperature": math.nan}, "temperature is nan"),
    "temperature inf": ({"temperature": math.inf}, "temperature is inf"),
    "temperature text": ({"temperature": "hot"}, "temperature is 'hot'"),
    "max_new 0": ({"max_new": 0}, "max_new is 0"),
    "max_new large": ({"max_new": 11}, "prompt 0 has 2 tokens; needed at most 1"),
    "end": ({"end": V}, f"end is {V}; needed None or a token 0 to {V - 1}"),
    "seed": ({"seed": -1}, "seed is -1"),
    "no prompts": ({"prompts": []}, "prompts is \\[\\]"),
    "prompts None": ({"prompts": None}, "prompts is None"),
    "one prompt": ({"prompts": [1, 2]}, "is 1; needed a list of tokens"),
    "an empty prompt": ({"prompts": [[1], []]}, "pair 1 of the prompts is empty"),
    "a long prompt": ({"prompts": [[1], [1] * 12]}, "prompt 1 has 12 tokens; needed at most 8"),
    "token": ({"prompts": [[V]]}, f"token {V}"),
}


@pytest.mark.parametrize("case", BAD_SAMPLING)
def test_bad_sampling(case):
    given_, message = BAD_SAMPLING[case]
    model = tiny()
    with pytest.raises(ValueError, match=message) as error:
        model.generate(theta_of(model), **{"prompts": [[1, 2]], "max_new": 4, **given_})
    assert is_one_sentence(error)


@pytest.mark.parametrize(
    "w, message",
    [
        (np.zeros(2), "all weights of the batch are 0"),
        (np.ones(1), "w has shape \\(1,\\); needed one weight for each of 2 pairs"),
        (np.ones(3), "w has shape \\(3,\\)"),
    ],
)
def test_bad_weights(w, message):
    model = tiny()
    data = bdt.Problem(model, GOOD, GOOD).train
    with pytest.raises(ValueError, match=message) as error:
        model.weighted_gradient(theta_of(model), w, data)
    assert is_one_sentence(error)


def test_bad_log_probs():
    model = tiny()
    for prompts, responses in [([[1]], [[1], [2]]), ([], []), ([[1]], [[]]), ([[1]], [[V]])]:
        with pytest.raises(ValueError, match=r"of data|data has") as error:
            model.log_probs(theta_of(model), prompts, responses)
        assert is_one_sentence(error)


def another(**changes):
    return tiny(**changes).initial_theta(0)


BAD_MODELS = {
    "vocab_size": ({"vocab_size": 0}, "vocab_size is 0"),
    "layers": ({"layers": 1.5}, "layers is 1.5"),
    "width": ({"width": 18, "heads": 4}, "width is 18 with 4 heads"),
    "dtype": ({"dtype": "float16"}, "dtype is 'float16'"),
    "compile": ({"compile": 1}, "compile is 1"),
    "training": ({"training": {"steps": 5}}, "needed a Training"),
    "start of other width": ({"start": another(width=32)}, "'embedding' of shape \\(7, 32\\)"),
    "start with fewer layers": ({"start": another(layers=1)}, "'1.norm1' of shape nothing"),
    "start with more layers": ({"start": another(layers=3)}, "'2.norm1' .* needed nothing"),
    "start of arrays": ({"start": {"norm": np.ones(16)}}, "ndarray; needed a dict of tensors"),
    "start no dict": ({"start": [1.0]}, "list; needed a dict of tensors"),
}


@pytest.mark.parametrize("case", BAD_MODELS)
def test_bad_models(case):
    changes, message = BAD_MODELS[case]
    with pytest.raises(ValueError, match=message) as error:
        tiny(**changes)
    assert is_one_sentence(error)


def test_a_device_that_is_not_there():
    with pytest.raises(ValueError, match=r"device is 'gpu'.*needed one that torch has here"):
        bdt.Problem(tiny(device="gpu"), GOOD, GOOD)


@pytest.mark.parametrize("call", ["generate", "log_probs"])
def test_theta_of_another_model_is_refused(call):
    """A deeper model's theta has every name that a shallow one reads: it was cut off silently."""
    small, deep = (bdt.TransformerLM(8, context=6, layers=k, width=16) for k in (1, 2))
    calls = {
        "generate": lambda theta: small.generate(theta, [[1]], max_new=2),
        "log_probs": lambda theta: small.log_probs(theta, [[1]], [[2]]),
    }
    with pytest.raises(ValueError, match=r"theta has '1\.norm1'"):
        calls[call](deep.initial_theta())
    calls[call](small.initial_theta())
