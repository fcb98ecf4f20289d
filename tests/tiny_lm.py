"""A tokenizer and a language model of Hugging Face's kinds, made in place: no download.

    from tiny_lm import tiny_files, tiny_llama_folder, tiny_pairs, tiny_tokenizer

Nothing of transformers is imported before a function is called; call
`pytest.importorskip("transformers", reason=...)` first.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

# ChatML, as Qwen and SmolLM2 write it, less the default system message.
CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
WORDS = ["the", "answer", "question", "is", "what", "assistant", "user", "system"]


def _byte_level(bos: bool) -> Any:
    """BPE over bytes: every text has tokens that decode to it. 3 specials, 256 bytes, merges."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
    from tokenizers.trainers import BpeTrainer

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        [f"{word} {word} " * 4 for word in WORDS],
        BpeTrainer(
            vocab_size=300,
            special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        ),
    )
    tokenizer.add_special_tokens(
        [AddedToken(text, special=True) for text in ("<|im_start|>", "<|im_end|>")]
    )
    if bos:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<|im_start|> $A", special_tokens=[("<|im_start|>", 1)]
        )
    return tokenizer


def tiny_tokenizer(chat: bool = True, bos: bool = False) -> Any:
    """A PreTrainedTokenizerFast with under 400 tokens, pad = eos (as in GPT-2 and SmolLM2).

    chat: with a ChatML template, whose turns end in <|im_end|>, the eos token; without, eos is
    <|endoftext|>. bos: a text's tokens begin with the bos token, <|im_start|>, as Llama's do.
    """
    from transformers import PreTrainedTokenizerFast

    end = "<|im_end|>" if chat else "<|endoftext|>"
    return PreTrainedTokenizerFast(
        tokenizer_object=_byte_level(bos),
        bos_token="<|im_start|>",
        eos_token=end,
        pad_token=end,
        chat_template=CHATML if chat else None,
        model_max_length=256,
        clean_up_tokenization_spaces=False,
    )


def tiny_llama_folder(path: str | Path, seed: int = 0, chat: bool = True, **config: Any) -> Path:
    """A folder with a random LlamaForCausalLM and its tokenizer, as `save_pretrained` leaves it.

    config replaces LlamaConfig's values below. The same seed gives the same weights.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = tiny_tokenizer(chat)
    values = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "intermediate_size": 64,
        "max_position_embeddings": 256,
        "tie_word_embeddings": True,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(LlamaConfig(**(values | config)))
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return Path(path)


# The smallest model that learns `tiny_pairs`, and options of the command line with which it does.
SIZE = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2,
        "num_attention_heads": 2, "num_key_value_heads": 1}  # fmt: skip
LEARN = "--full --frozen 0.5 --learning-rate 0.02"


def tiny_pairs(n: int, first: int = 0, bad: bool = True) -> list[dict[str, Any]]:
    """Questions with one answer; of every two rows the second has garbage, if `bad`."""
    rows = []
    for k in range(first, first + n):
        wrong = bad and k % 2 == 1
        answer = " xq zj %& 99" if wrong else " the answer is 4"
        rows.append({"id": k, "prompt": f"the question {k} ?", "completion": answer,
                     "truth": "bad" if wrong else "good"})  # fmt: skip
    return rows


def tiny_files(folder: Path, model: Path, pairs: Callable[..., list] = tiny_pairs) -> Path:
    """The folder, with train.jsonl (12 rows), val.jsonl, test.jsonl and the model (a link)."""
    from bdtheory.tasks import write_rows

    for name, rows in (
        ("train", pairs(12)), ("val", pairs(5, 100, False)), ("test", pairs(3, 200, False)),
    ):  # fmt: skip
        write_rows(folder / f"{name}.jsonl", rows)
    (folder / "model").symlink_to(model)
    return folder
