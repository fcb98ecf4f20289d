"""Reads a pretrained model of Hugging Face from a folder or the local cache, and nowhere else.

Nothing that lies in the folder is run, and no pickle is opened.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from ..storage import sha256

FILES = (".safetensors", ".json", ".jinja", ".model", ".txt")  # of a model and its tokenizer


def read_pretrained(folder: str, dtype: torch.dtype) -> tuple[Any, Any]:
    """Tokenizer and model. Raises ValueError where one of them is missing; asks no server."""
    try:
        import peft  # noqa: F401
        from transformers import AutoModelForCausalLM, AutoTokenizer
    except ImportError as error:
        raise ImportError(
            f"{error}; needed transformers and peft for language models; "
            'try pip install "bdtheory[lm]"'
        ) from None
    # Said, since without a word transformers asks on the terminal whether to run a folder's code.
    given: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    if os.path.isdir(folder) and not os.path.exists(os.path.join(folder, "config.json")):
        raise ValueError(
            f"model folder {folder} has no config.json; needed one that save_pretrained wrote; "
            "try bdtheory fetch-model"
        )
    with offline():
        try:
            tokenizer = AutoTokenizer.from_pretrained(folder, **given)
        except Exception as error:  # of transformers, tokenizers, huggingface_hub
            raise _unread("tokenizer", folder, error) from None
        try:
            model = AutoModelForCausalLM.from_pretrained(
                folder, dtype=dtype, use_safetensors=True, **given
            )
        except Exception as error:  # of safetensors and torch besides
            raise _unread("model", folder, error) from None
    return tokenizer, model


def files_of(folder: str) -> dict[str, str]:
    """sha256 by name of the model's own files, and of its tokenizer's."""
    place = Path(folder)
    if not place.is_dir():  # a name in the local cache
        from transformers.utils.hub import cached_file

        with offline():
            place = Path(str(cached_file(folder, "config.json", local_files_only=True))).parent
    paths = sorted(path for path in place.iterdir() if path.suffix in FILES)
    return {path.name: sha256(path) for path in paths}


@contextlib.contextmanager
def offline() -> Iterator[None]:
    """No request to a server: with `local_files_only` alone huggingface_hub 2.4 still makes one."""
    from huggingface_hub import constants

    before, constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE, True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def _unread(what: str, folder: str, error: Exception) -> Exception:
    """The ValueError to raise; the error itself where it says nothing of the folder."""
    why = " ".join(str(error).split())[:150]
    if isinstance(error, ImportError | MemoryError) or "allocate" in why:
        return error
    if type(error).__name__ == "UnpicklingError":  # which says how to load it all the same
        why = "its weights are a pickle, which may hold code"
    if not os.path.isdir(folder):  # the error would speak of a connection, which nobody tried
        why = "no such folder, and no such name in the local cache"
    return ValueError(
        f"no {what} can be read from {folder} ({why}); needed a folder with a model in safetensors "
        "and its tokenizer, or a name in the local Hugging Face cache; "
        "try bdtheory fetch-model, or tokenizer.save_pretrained there"
    )
