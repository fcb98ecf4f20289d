"""`WeightedSFTTrainer` against the model's own logits: losses, steps, epochs, and what it refuses.

Steps are of plain gradient descent, so that parameters after a step are the gradient of its loss.
"""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("trl", reason="trl is not installed (extra trl)")
from datasets import Dataset, IterableDataset
from tiny_lm import tiny_llama_folder
from torch.utils.data import SequentialSampler
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import SFTConfig, SFTTrainer

import bdtheory.sft
from bdtheory.models.pretrained import offline
from bdtheory.sft import WeightedSFTTrainer, row_factors

SIZE = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2,
        "num_attention_heads": 2, "num_key_value_heads": 1,
        "initializer_range": 0.3}  # fmt: skip  # losses that differ from token to token
RATE = 0.05  # of a step of gradient descent
ANSWERS = [
    " 4",
    " the answer is 4",
    " what",
    " is the question, user",
    " 7 7",
    " the",
    " a b c",
    "",
]
W = [2.0, 0.5, 0.0, 1.5]
MODES = ["weights", "tokens", "responses"]


@pytest.fixture(autouse=True)
def _no_request(tmp_path, monkeypatch):
    """Nothing to a server, no cache and no output outside the test's folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))
    with offline():
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return str(tiny_llama_folder(tmp_path_factory.mktemp("lm") / "model", **SIZE))


def pairs(w, first=0, **columns):
    """A data set of as many pairs as weights, with responses of different length."""
    rows = range(first, first + len(w))
    prompts = [f"the question {k} ?" for k in rows]
    answers = [ANSWERS[k % len(ANSWERS)] for k in rows]
    told = {"prompt": prompts, "completion": answers, "weight": list(w)} | columns
    return Dataset.from_dict({name: values for name, values in told.items() if values is not None})


class InOrder:
    """Batches of rows in their order."""

    def _get_train_sampler(self, train_dataset=None):
        return SequentialSampler(train_dataset or self.train_dataset)


class Weighted(InOrder, WeightedSFTTrainer):
    pass


class Plain(InOrder, SFTTrainer):
    pass


def trainer(folder, data, kind=Weighted, peft_config=None, callbacks=None, eval_data=None,
            normalise=None, **options):  # fmt: skip
    """A trainer of the tiny model with plain gradient descent, one step of all rows unless told."""
    options = {
        "output_dir": "out", "use_cpu": True, "bf16": False, "report_to": "none",
        "disable_tqdm": True, "save_strategy": "no", "logging_steps": 1, "optim": "sgd",
        "learning_rate": RATE, "lr_scheduler_type": "constant", "max_grad_norm": 0,
        "activation_checkpointing": False, "dataloader_pin_memory": False, "num_train_epochs": 1,
        "per_device_train_batch_size": len(data), "logging_nan_inf_filter": False,
    } | options  # fmt: skip
    more = {} if normalise is None else {"normalise": normalise}
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return kind(
        model, SFTConfig(**options), train_dataset=data, eval_dataset=eval_data,
        processing_class=AutoTokenizer.from_pretrained(folder), peft_config=peft_config,
        callbacks=callbacks, **more,
    )  # fmt: skip


def parameters(made):
    """The parameters by name, copied."""
    return {n: p.detach().clone() for n, p in made.model.named_parameters()}


def trained(*args, **more):
    """(parameters after training, logged losses)."""
    made = trainer(*args, **more)
    made.train()
    return parameters(made), losses(made)


def losses(made):
    return [entry["loss"] for entry in made.state.log_history if "loss" in entry]


def token_losses(made, data):
    """l_it of each pair from the model's logits, one pair at a time: no padding, no TRL."""
    say, out = made.processing_class, []
    for row in data:
        prompt = say(row["prompt"])["input_ids"]
        ids = say(row["prompt"] + row["completion"] + say.eos_token)["input_ids"]
        logits = made.model(input_ids=torch.tensor([ids])).logits[0]
        each = -logits.log_softmax(-1)[range(len(ids) - 1), ids[1:]]
        out.append(each[len(prompt) - 1 :])
    return out


def by_hand(made, data, w, normalise):
    """The loss of a step of these rows, from its definition."""
    each, w = token_losses(made, data), torch.tensor(w)
    sums, n = torch.stack([l.sum() for l in each]), torch.tensor([float(len(l)) for l in each])
    means = torch.stack([l.mean() for l in each])
    return {
        "weights": (w * sums).sum() / (w * n).sum(),
        "tokens": (w * sums).sum() / n.sum(),
        "responses": (w * means).mean(),
    }[normalise]


def stepped(made, loss):
    """Parameters after a step of gradient descent on the loss."""
    named = {n: p for n, p in made.model.named_parameters() if p.requires_grad}
    slopes = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
    moves = dict(zip(named, slopes, strict=True))
    return {
        n: p if moves.get(n) is None else p - RATE * moves[n] for n, p in parameters(made).items()
    }


def apart(a, b):
    """The largest difference of two sets of parameters."""
    assert a.keys() == b.keys()
    return max(float((a[n] - b[n]).abs().max()) for n in a)


SAME, OTHER = 1e-6, 1e-3


# One step -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("normalise", MODES)
def test_a_step_is_that_of_the_definition_however_it_is_accumulated(folder, normalise):
    data, after = pairs(W), []
    for batch in (4, 2, 1):
        made = trainer(
            folder, data, normalise=normalise, per_device_train_batch_size=batch,
            gradient_accumulation_steps=4 // batch,
        )  # fmt: skip
        loss = by_hand(made, data, W, normalise)
        expected, before = stepped(made, loss), parameters(made)
        made.train()
        after.append(parameters(made))
        assert apart(after[-1], expected) < SAME
        assert losses(made) == pytest.approx([loss.item()], abs=1e-5)
    assert apart(before, expected) > OTHER
    fresh = trainer(folder, data)
    others = {mode: by_hand(fresh, data, W, mode) for mode in MODES}
    others["plain"] = by_hand(fresh, data, [1.0] * 4, "weights")
    del others[normalise]
    assert min(abs((other - loss).item()) for other in others.values()) > 1e-2


def test_the_scale_of_the_weights_has_no_effect_and_low_weights_are_not_clamped(folder):
    rows = pairs([3e-7, 1e-7, 0.0, 0.0, 5.0, 5.0])
    made = trainer(folder, rows, per_device_train_batch_size=4, max_steps=1)
    expected = stepped(made, by_hand(made, rows.select(range(2)), [3.0, 1.0], "weights"))
    for scale in (1.0, 1e-300):
        data = pairs([scale * w for w in (3e-7, 1e-7, 0.0, 0.0, 5.0, 5.0)])
        got, _ = trained(folder, data, per_device_train_batch_size=4, max_steps=1)
        assert apart(got, expected) < SAME
    for normalise in MODES[1:]:
        sums = [trained(folder, pairs([c * w for w in W]), normalise=normalise) for c in (1, 1e-5)]
        assert apart(sums[0][0], sums[1][0]) < SAME


@pytest.mark.parametrize("batch", [1, 2])
def test_the_mean_over_steps_of_an_epoch_is_F_w_with_responses_only(folder, batch):
    """The rate is 0, so that all steps are of one model."""
    w, means = [2.0, 0.5, 0.25, 1.25], {}
    for normalise in MODES:
        options = {"learning_rate": 0.0, "per_device_train_batch_size": batch}
        if batch == 1 and normalise == "weights":
            continue  # refused
        made = trainer(folder, pairs(w), normalise=normalise, **options)
        each = [l.mean().item() for l in token_losses(made, pairs(w))]
        made.train()
        means[normalise] = np.mean(losses(made))
    F_w = np.dot(w, each) / sum(w)
    assert means.pop("responses") == pytest.approx(F_w, rel=1e-5)
    if batch == 2:
        assert min(abs(mean - F_w) for mean in means.values()) > 0.01 * F_w


# Rows that weigh nothing, rows that weigh the same ------------------------------------------------


def test_rows_of_weight_zero_are_as_if_removed(folder):
    steps = {"num_train_epochs": 3, "optim": "adamw_torch", "learning_rate": 1e-2}
    with_zeros, one = trained(folder, pairs([1.5, 0, 2.5, 0]), **steps)
    told = {name: pairs([1] * 3)[name][::2] for name in ("prompt", "completion")}
    without, two = trained(folder, pairs([1.5, 2.5], **told), **steps)
    assert apart(with_zeros, without) < 1e-5 and one == pytest.approx(two, abs=1e-5)
    unweighted, _ = trained(folder, pairs([1] * 4), **steps)
    assert apart(with_zeros, unweighted) > OTHER


@pytest.mark.parametrize("w", [1, 0.37, 3e5])
@pytest.mark.parametrize("normalise", MODES[:2])
def test_equal_weights_are_the_trainer_of_trl_to_the_bit(folder, w, normalise):
    options = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2,
               "optim": "adamw_torch", "learning_rate": 1e-2, "max_grad_norm": 1.0}  # fmt: skip
    plain, one = trained(folder, pairs([1] * 7, weight=None), Plain, **options)
    equal, two = trained(folder, pairs([w] * 7), normalise=normalise, **options)
    assert apart(plain, equal) == 0 and one == two


def test_a_step_without_weight_moves_nothing_and_warns_once(folder):
    data = pairs([0, 0, 0, 0, 1, 1])
    made = trainer(folder, data, per_device_train_batch_size=2)
    expected = stepped(made, by_hand(made, data.select([4, 5]), [1.0, 1.0], "weights"))
    with pytest.warns(UserWarning, match=r"got .* all weights are 0.*; needed .*; try ") as caught:
        made.train()
    assert sum("all weights are 0" in str(w.message) for w in caught) == 1
    assert losses(made)[:2] == [0, 0] and losses(made)[2] > 1
    assert apart(parameters(made), expected) < SAME


# Rows and their weights stay together -------------------------------------------------------------


def test_weights_follow_their_rows_through_shuffling_and_dropped_rows(folder):
    data = pairs([1.0, 8.0, 3.0, 0.5, 0.2, 2.0])
    long = ["the question " * 40 if k == 1 else p for k, p in enumerate(data["prompt"])]
    data = pairs(data["weight"][:], prompt=long, selected=[True] * 6)
    made = trainer(folder, data, shuffle_dataset=True, max_length=60, seed=3,
                   per_device_train_batch_size=3, max_steps=1)  # fmt: skip
    order = made.train_dataset["bdtheory_row"][:]
    assert sorted(order) == [0, 2, 3, 4, 5] and order != sorted(order)
    rows = data.select(order[:3])
    expected = stepped(made, by_hand(made, rows, rows["weight"][:], "weights"))
    made.train()
    assert apart(parameters(made), expected) < SAME


class Change(TrainerCallback):
    """Other weights from the second epoch on."""

    def __init__(self, w):
        self.w = w

    def on_epoch_begin(self, args, state, control, **more):
        if state.epoch >= 1:
            self.trainer.set_weights(self.w)


@pytest.mark.parametrize("workers", [{}, {"dataloader_num_workers": 1,
                                          "dataloader_persistent_workers": True}])  # fmt: skip
def test_weights_set_between_epochs_hold_from_the_next_step(folder, workers):
    data, new, change = pairs(W), np.array([0.0, 1.0, 3.0, 0.0]), Change(None)
    change.w = new
    made = trainer(folder, data, num_train_epochs=2, callbacks=[change], **workers)
    change.trainer = made
    other = trainer(folder, data)
    for w in (W, new.tolist()):
        other.model.load_state_dict(
            stepped(other, by_hand(other, data, w, "weights")), strict=False
        )
    with warnings.catch_warnings():  # of torch, where the process has threads
        warnings.filterwarnings("ignore", message=".*fork.*", category=DeprecationWarning)
        made.train()
    assert apart(parameters(made), parameters(other)) < 5 * SAME
    same, _ = trained(folder, data, num_train_epochs=2)
    assert apart(parameters(made), same) > OTHER


def test_evaluation_is_unweighted(folder):
    held_out = pairs([9.0, 0.0, 0.0], first=4)
    made = trainer(folder, pairs(W), eval_data=held_out, per_device_eval_batch_size=4,
                   eval_strategy="epoch")  # fmt: skip
    loss = torch.cat(token_losses(made, held_out)).mean().item()
    assert made.evaluate()["eval_loss"] == pytest.approx(loss, abs=1e-5)
    assert made.evaluate(held_out)["eval_loss"] == pytest.approx(loss, abs=1e-5)
    on_train = torch.cat(token_losses(made, pairs(W))).mean().item()
    assert made.evaluate(made.train_dataset)["eval_loss"] == pytest.approx(on_train, abs=1e-5)
    made.train()
    loss = torch.cat(token_losses(made, held_out)).mean().item()
    during = [e["eval_loss"] for e in made.state.log_history if "eval_loss" in e][-1]
    assert during == pytest.approx(loss, abs=1e-5)


# With other parts of TRL --------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
def test_lora_moves_the_adapter_alone(folder):
    peft = pytest.importorskip("peft", reason="peft is not installed (extra trl)")
    lora = peft.LoraConfig(r=2, target_modules=["q_proj", "v_proj"], init_lora_weights=True)
    data = pairs(W)
    made = trainer(folder, data, peft_config=lora)
    before, expected = parameters(made), stepped(made, by_hand(made, data, W, "weights"))
    made.train()
    after = parameters(made)
    assert apart(after, expected) < SAME
    moved = {name for name in after if not torch.equal(after[name], before[name])}
    assert moved and all("lora_B" in name for name in moved)  # A's gradient is 0 where B is


def test_a_run_goes_on_from_a_checkpoint(folder):
    data = pairs([*W, 3.0, 0.1])
    options = {"per_device_train_batch_size": 2, "num_train_epochs": 2, "optim": "adamw_torch",
               "learning_rate": 1e-2}  # fmt: skip
    whole, _ = trained(folder, data, **options)
    trained(folder, data, **options, save_strategy="steps", save_steps=4)
    made = trainer(folder, data, **options)
    made.train(resume_from_checkpoint="out/checkpoint-4")
    assert made.state.global_step == 6 and apart(parameters(made), whole) < SAME


def test_messages_and_a_collator_of_ones_own(folder):
    """Rows as chats; a collator that is a plain function, in the place of TRL's."""
    talk = Dataset.from_dict({
        "messages": [[{"role": "user", "content": "what"}, {"role": "assistant", "content": a}]
                     for a in ("4", "the answer")],
        "weight": [0.5, 1.5],
    })  # fmt: skip
    made = trainer(folder, talk)
    plain, seen = made.data_collator, []

    def collate(examples):
        seen.append([sorted(example) for example in examples])
        return plain(examples)

    made.data_collator = collate
    made.train()
    assert seen == [[["input_ids", "labels"]] * 2] and made.data_collator is collate
    each = []
    for ids in made.train_dataset["input_ids"]:
        with torch.no_grad():
            model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
            logits = model(input_ids=torch.tensor([ids])).logits[0]
        each.append(-logits.log_softmax(-1)[range(len(ids) - 1), ids[1:]])
    (a, b), (n, m) = [float(l.sum()) for l in each], [len(l) for l in each]
    assert losses(made) == pytest.approx([(0.5 * a + 1.5 * b) / (0.5 * n + 1.5 * m)], abs=1e-5)


TWO = """
import sys
sys.path.insert(0, {tests!r})
import torch
import test_sft
with test_sft.offline():
    data = test_sft.pairs(test_sft.W)
    for mode in test_sft.MODES:
        made = test_sft.trainer({folder!r}, data, normalise=mode, per_device_train_batch_size=1,
                                gradient_accumulation_steps=2, ddp_backend="gloo")
        expected = test_sft.stepped(made, test_sft.by_hand(made, data, test_sft.W, mode))
        made.train()
        assert made.args.world_size == 2
        assert test_sft.apart(test_sft.parameters(made), expected) < test_sft.SAME, mode
        print(mode)
    try:
        test_sft.trainer({folder!r}, data, average_tokens_across_devices=False)
    except ValueError as error:
        print(error)
"""


def test_two_processes_have_one_denominator(folder):
    code = TWO.format(tests=str(Path(__file__).parent), folder=folder)
    place = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1",
             "MASTER_PORT": str(free_port())}  # fmt: skip
    running = [
        subprocess.Popen(
            [sys.executable, "-c", code], text=True, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **place, "RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(2)
    ]  # fmt: skip
    ended = [process.communicate() for process in running]
    assert [process.returncode for process in running] == [0, 0], ended[0][1] + ended[1][1]
    for out, _ in ended:
        assert [line for line in out.splitlines() if line in MODES] == MODES
        assert "got average_tokens_across_devices=False; needed" in out


def free_port():
    import socket

    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


# What is refused ----------------------------------------------------------------------------------


def complaint(act):
    """The message of the ValueError; one line that says got, needed and try."""
    with pytest.raises(ValueError) as caught:
        act()
    assert type(caught.value) is ValueError
    message = str(caught.value)
    assert "\n" not in message and len(message) < 300
    for part in ("got ", "; needed ", "; try "):
        assert message.count(part) == 1, message
    return message


BAD_WEIGHTS = {
    "negative": ([1.0, -0.5], "got the weight -0.5 in row 1, counted from 0"),
    "nan": ([1.0, 1.0, float("nan")], "got the weight nan in row 2"),
    "infinite": ([float("inf"), 1.0], "got the weight inf in row 0"),
    "text": (["much", "little"], "got the weight 'much' in row 0"),
    "missing": ([1.0, None], "got the weight None in row 1"),
    "all zero": ([0.0, 0.0], "got weights that are all 0"),
    "lists": ([[1.0], [2.0]], "got weights of shape (2, 1)"),
}


@pytest.mark.parametrize("case", BAD_WEIGHTS)
def test_bad_weights_are_refused_before_a_model_is_read(case):
    w, said = BAD_WEIGHTS[case]
    data = pairs(w)
    assert said in complaint(lambda: WeightedSFTTrainer("no/model", train_dataset=data))


def test_data_without_weights_are_refused():
    data = pairs([1.0], weight=None)
    assert "the columns 'prompt', 'completion'; needed the column 'weight'" in complaint(
        lambda: WeightedSFTTrainer("no/model", train_dataset=data)
    )
    stream = IterableDataset.from_generator(lambda: iter([{"text": "a", "weight": 1.0}]))
    for data, kind in ((stream, "IterableDataset"), (None, "NoneType"), ([], "list")):
        assert f"train_dataset of type {kind}" in complaint(
            lambda data=data: WeightedSFTTrainer("no/model", train_dataset=data)
        )


@pytest.mark.parametrize("options", [
    {"packing": True}, {"packing": True, "packing_strategy": "wrapped"},
    {"packing": True, "packing_strategy": "bfd_split"}, {"padding_free": True},
    {"loss_type": "dft"}, {"label_smoothing_factor": 0.1},
], ids=str)  # fmt: skip
def test_what_passes_the_weights_by_is_refused(options):
    name = "packing" if "packing" in options else next(iter(options))
    args = SFTConfig("out", use_cpu=True, bf16=False, activation_checkpointing=False, **options)
    said = complaint(lambda: WeightedSFTTrainer("no/model", args, train_dataset=pairs(W)))
    assert said.startswith(f"got {name}={options[name]!r}; needed")


def test_other_paths_past_the_weights_are_refused(folder, monkeypatch):
    given = {"train_dataset": pairs(W), "compute_loss_func": lambda *a, **k: None}
    assert "got compute_loss_func='a function'" in complaint(
        lambda: WeightedSFTTrainer("no/model", **given)
    )
    assert "steps of one row" in complaint(
        lambda: trainer(folder, pairs(W), per_device_train_batch_size=1)
    )
    for size in ("get_sp_size", "get_cp_size", "get_tp_size"):
        with monkeypatch.context() as patch:
            patch.setattr(SFTTrainer, size, lambda self: 2)
            assert "context or sequence parallelism" in complaint(lambda: trainer(folder, pairs(W)))


def test_the_choice_of_normalisation_is_checked():
    with pytest.raises(ValueError, match="normalise is 'rows'; needed one of 'weights', "):
        WeightedSFTTrainer("no/model", train_dataset=pairs(W), normalise="rows")


def test_weights_of_another_length_are_refused(folder):
    made = trainer(folder, pairs(W))
    said = complaint(lambda: made.set_weights([1.0, 2.0]))
    assert "got 2 weights; needed 4, one for each row" in said
    assert "all 0" in complaint(lambda: made.set_weights(np.zeros(4)))


def test_without_trl_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "trl", None)
    with pytest.raises(ImportError, match=r'^got .*; needed .*; try pip install "bdtheory\[trl\]"'):
        importlib.reload(bdtheory.sft)


# The factors --------------------------------------------------------------------------------------


def test_equal_weights_have_the_factor_1_to_the_bit():
    for tokens in range(1, 500):
        w, n = torch.ones(2), torch.tensor([float(tokens), 1.0])
        f = row_factors("weights", w, n, (w @ n, n.sum(), torch.tensor(2)))
        assert f.tolist() == [1.0, 1.0]


@pytest.mark.parametrize("normalise", MODES)
def test_factors_are_finite_where_rows_have_no_tokens_or_no_weight(normalise):
    w, n = torch.tensor([0.0, 2.0, 1e-38]), torch.tensor([3.0, 0.0, 5.0])
    for keep in ([0, 1, 2], [0], [1], [2], [0, 1]):
        a, b = w[keep], n[keep]
        f = row_factors(normalise, a, b, (a @ b, b.sum(), (b > 0).sum()))
        assert torch.isfinite(f).all() and (f[a == 0] == 0).all()
        if normalise == "weights":
            assert float(f @ b) == pytest.approx(float(b.sum()) if a @ b > 0 else 0.0, rel=1e-5)


# The how-to page ----------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:'pin_memory' argument is set as true but no accelerator")
def test_the_scripts_of_the_page_run(folder, monkeypatch, tmp_path):
    page = Path(__file__).parent.parent / "docs" / "howto" / "trl.md"
    blocks = re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    Path("result").mkdir()
    pairs(W * 4).to_json("result/weighted.jsonl")
    pairs([1] * 3, weight=None).to_json("test.jsonl")
    monkeypatch.setattr(sys, "argv", ["tune.py", folder])
    seen = []

    def weights_of(epoch):
        seen.append(epoch)
        return W[::-1] * 4

    space = {"schedule": type("Schedule", (), {"__getitem__": lambda self, k: weights_of(k)})()}
    for block in blocks:
        exec(compile(block, "trl.md", "exec"), space)
    assert seen == [0] and Path("tuned/model.safetensors").is_file()
    assert "eval_loss" in space["trainer"].state.log_history[-2]
    both = space["with_trusted"](pairs(W * 4), pairs([1] * 3, weight=None))["weight"][:]
    assert sum(both[-3:]) == pytest.approx(len(W) * 4) and both[:-3] == W * 4
    turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "r"}]
    for told in ({"question": ["q"], "response": ["r"]}, {"messages": [turns]}):
        row = space["in_two"](Dataset.from_dict(told | {"weight": [0.5]}))[0]
        assert row == {"weight": 0.5, "prompt": turns[:1], "completion": turns[1:]}
