"""Draws in proportion to weights: their frequencies, their mean, their epochs, what is refused."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

import bdtheory as bdt
from bdtheory.sampling import weighted_sampler
from bdtheory.tasks import read_rows, write_rows
from bdtheory.weights import mean_one

W = [0.0, 3.0, 1.0, 0.5]


def test_rows_are_drawn_in_proportion_to_their_weights():
    n = 40_000
    drawn = np.bincount(list(weighted_sampler(W, n)), minlength=4) / n
    p = np.array(W) / sum(W)
    assert drawn[0] == 0
    assert (abs(drawn - p) <= 4 * np.sqrt(p * (1 - p) / n)).all()


def test_the_mean_of_batches_is_F_w():
    """Over 4000 batches of 5 the means of l are F_w apart from their standard error."""
    l = torch.tensor([10.0, 1.0, 2.0, 4.0])
    loader = DataLoader(l, batch_size=5, sampler=weighted_sampler(W, 20_000, seed=3))
    means = torch.stack([batch.mean() for batch in loader])
    F_w, error = float(l @ torch.tensor(W)) / sum(W), float(means.std()) / len(means) ** 0.5
    assert abs(float(means.mean()) - F_w) < 4 * error
    assert abs(float(l.mean()) - F_w) > 40 * error  # which unweighted draws would give


@pytest.mark.parametrize("make", [list, tuple, np.array, torch.tensor, np.float32, torch.bfloat16])
def test_any_array_of_weights_in_any_scale_gives_the_same_draws(make):
    if isinstance(make, torch.dtype):
        w = torch.tensor(W, dtype=make, requires_grad=True)
    else:
        w = make(W)
    sampler = weighted_sampler(w, 50)
    assert sampler.weights.dtype == torch.double and sampler.weights.mean() == 1
    assert list(sampler) == list(weighted_sampler([x * 1e-300 for x in W], 50))


def test_the_weights_of_a_selection():
    X = np.eye(3)
    problem = bdt.Problem(bdt.Ridge(0.1), train=(X, X[0]), val=(X[:1], X[0, :1]))
    fit = bdt.learn_weights(problem, bdt.Penalty())
    sampler = weighted_sampler(fit.weights)
    assert len(sampler) == 3
    np.testing.assert_allclose(sampler.weights.numpy() / 3, fit.weights, rtol=1e-12)


def test_seeds_and_epochs():
    one, again, other = (weighted_sampler(W, 30, seed=s) for s in (7, 7, 8))
    torch.manual_seed(0)
    first = list(one)
    torch.manual_seed(1)  # its generator is its own
    assert first == list(again) != list(other)
    assert list(one) != first


@pytest.mark.parametrize("workers", [0, 1])
def test_weights_changed_between_epochs_are_read_when_the_next_begins(workers):
    sampler = weighted_sampler([1.0, 0.0, 0.0], 6)
    loader = DataLoader(torch.arange(3), batch_size=2, sampler=sampler, num_workers=workers,
                        persistent_workers=workers > 0)  # fmt: skip
    seen = []
    for w in ([1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0]):
        sampler.weights = weighted_sampler(w).weights
        for k, batch in enumerate(loader):
            if k == 0:  # in the middle of an epoch: too late for it
                sampler.weights = weighted_sampler([1.0, 1.0, 1.0]).weights
            seen += batch.tolist()
    assert seen == [0] * 6 + [1] * 6 + [2] * 6


REFUSED = {
    "got the weight nan in row 1": [1.0, float("nan")],
    "got the weight inf in row 0": np.array([np.inf, 1.0]),
    "got the weight -1 in row 2": torch.tensor([1, 2, -1]).tolist(),
    "got the weight '0.5' in row 0": ["0.5", "0.5"],
    "got the weight None in row 1": [1.0, None],
    "got the weight 1000000": [10**400],
    "got weights that are all 0": [0.0, 0.0],
    "got weights of shape (1, 2)": np.ones((1, 2)),
    "got weights of shape (0,)": [],
    "got weights of type float": 0.5,
    "got weights of type object": object(),
}


@pytest.mark.parametrize("said", REFUSED)
def test_bad_weights_are_refused_in_one_sentence(said):
    with pytest.raises(ValueError) as caught:
        weighted_sampler(REFUSED[said])
    message = str(caught.value)
    assert message.startswith(said) and "\n" not in message and len(message) < 200
    assert [message.count(part) for part in ("got ", "; needed ", "; try ")] == [1, 1, 1]


def test_weights_of_another_length_are_refused():
    with pytest.raises(ValueError, match=r"got weights of type list, no row of numbers; needed"):
        weighted_sampler([[1.0], [1.0, 2.0]])
    with pytest.raises(ValueError, match="got 2 weights; needed 3, one for each row; try"):
        mean_one([1.0, 2.0], 3)


def test_masked_weights_are_refused():
    with pytest.raises(ValueError, match=r"weights have masked entries; needed .*; try"):
        weighted_sampler(np.ma.masked_equal([1.0, 2.0, 3.0], 2.0))


def test_more_rows_than_torch_draws_from_are_refused(monkeypatch):
    with pytest.raises(RuntimeError, match="cannot exceed"):
        list(torch.multinomial(torch.ones(2**24 + 1, dtype=torch.double), 1))
    monkeypatch.setattr("bdtheory.sampling.MOST", 3)
    with pytest.raises(ValueError, match="got 4 weights; needed at most 3; try"):
        weighted_sampler(W)


@pytest.mark.parametrize("given", [{"num_samples": 0}, {"num_samples": 2.0}, {"seed": -1}])
def test_counts_are_checked(given):
    name = next(iter(given))
    with pytest.raises(ValueError, match=f"{name} is .*; needed a whole number >= .*; try {name}="):
        weighted_sampler(W, **given)


def blocks(name):
    """The Python of a how-to page."""
    page = Path(__file__).parent.parent / "docs" / "howto" / f"{name}.md"
    return re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.DOTALL)


def test_the_script_for_axolotl_writes_rows_in_proportion(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("result").mkdir()
    rows = [{"question": f"q{k}", "response": "r", "weight": w} for k, w in enumerate(W * 100)]
    rows += [{"prompt": "p", "completion": "c", "weight": 0.0}]
    write_rows("result/weighted.jsonl", rows)
    (script,) = blocks("axolotl")
    exec(compile(script, "axolotl.md", "exec"), {})
    written = read_rows("resampled.jsonl")
    assert len(written) == 401 and {row["weight"] for row in written} == {3.0, 1.0, 0.5}
    share = sum(row["weight"] == 3.0 for row in written) / 401
    assert abs(share - 3 / 4.5) < 4 * (share * (1 - share) / 401) ** 0.5
    k = int(written[0]["messages"][0]["content"].removeprefix("q"))
    assert written[0] == {
        "weight": W[k % 4],
        "messages": [
            {"role": "user", "content": f"q{k}"},
            {"role": "assistant", "content": "r"},
        ],
    }
