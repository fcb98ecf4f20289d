"""What a generator gives."""

from __future__ import annotations

from typing import Any, NamedTuple


class Samples(NamedTuple):
    """Responses to n prompts, and log pi_theta of each, at temperature 1.

    responses : lists of tokens, or an array (n,) of real responses.
    log_probs : (n,), in nats.
    """

    responses: Any
    log_probs: Any
