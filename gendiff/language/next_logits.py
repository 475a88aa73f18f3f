"""Network + parameters -> NextLogits, the waist between language models and everything that decodes."""

from typing import Any

from gendiff.core.types import NextLogits as NextLogits
from gendiff.core.types import Params


def from_network(predict: Any, params: Params) -> NextLogits:
    """A network as NextLogits.

    Args:
        predict: (params, tokens, cache, every) -> (logits, cache), such as `networks.pure(networks.LanguageModel(…))`.
        params: its parameters.
    """
    return NextLogits(predict, params)
