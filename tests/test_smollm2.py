"""The real model, where `bdtheory fetch-model` has put it: parts, losses, answers, a few steps."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import bdtheory as bdt
from bdtheory.fetch import find_model
from bdtheory.tasks import read_pairs, tokenise
from bdtheory.tasks.written import written_pairs

pytest.importorskip("transformers", reason="transformers is not installed (extra lm)")
pytest.importorskip("peft", reason="peft is not installed (extra lm)")

FOLDER = find_model()
pytestmark = [
    pytest.mark.smollm2,
    pytest.mark.skipif(FOLDER is None, reason="no SmolLM2 here; bdtheory fetch-model gets it"),
]


@pytest.fixture(scope="module")
def problem():
    from bdtheory.models.huggingface import HuggingFaceLM

    training = bdt.Training(steps=6, batch_size=4, val_batch_size=4, learning_rate=3e-3)
    model = HuggingFaceLM(str(FOLDER), lora=4, frozen=0.9, training=training)
    task = written_pairs(0, N=8, m=8, n_test=6)
    parts = [
        tokenise(read_pairs(rows), model.tokenizer, max_length=model.max_length)
        for rows in (task.train, task.val)
    ]
    return bdt.Problem(model, *((part.prompts, part.responses) for part in parts))


def test_the_parts_are_the_whole_and_losses_those_of_transformers(problem):
    from transformers import AutoModelForCausalLM

    network = problem.model.network
    assert (network.below, network.upper is not None, network.whole) == (27, True, False)
    got = problem.model.losses(problem.model.initial_theta(0), problem.train).detach()
    plain = AutoModelForCausalLM.from_pretrained(FOLDER, dtype=torch.float32)
    for l, (prompt, response) in zip(got, problem.train.pairs(), strict=True):
        ids = torch.tensor([prompt + response])
        labels = torch.tensor([[-100] * len(prompt) + response])
        with torch.no_grad():
            assert float(l) == pytest.approx(float(plain(ids, labels=labels).loss), rel=1e-4)


def test_it_knows_a_sum_and_shouting_from_a_sentence(problem):
    model = problem.model
    tokenizer = model.tokenizer
    said = [" 31 plus 12 is 43.", " 31 plus 12 is 58.", " OMG 43!!! like SO 43, lol"]
    asked = [tokenizer("What is 31 plus 12?")["input_ids"]] * 3
    responses = [tokenizer(text)["input_ids"] for text in said]
    data = bdt.Problem(model, (asked, responses), val=([[1]], [[2]]))
    right, wrong, shouted = model.losses(model.initial_theta(0), data.train).tolist()
    assert right + 0.2 < wrong < shouted


def test_a_few_steps_lower_the_validation_loss(problem):
    fit = bdt.learn_weights(problem, bdt.Penalty())
    assert fit.history["val_loss"][0] - fit.val_loss > 0.3
    assert np.isfinite(fit.weights).all() and fit.weights.sum() == pytest.approx(1.0)
