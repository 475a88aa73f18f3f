"""Network + parameters -> NextLogits, the waist between language models and everything that decodes."""

from collections.abc import Callable

import jax

from gendiff.core.types import NextLogits as NextLogits
from gendiff.core.types import Params, PyTree
from gendiff.language.cache import Cache

Model = Callable[..., tuple[jax.Array, Cache]]
"""A `NextLogits`, or what is called as one: (tokens (b, s), cache, every=False) -> (logits, cache)."""


def from_network(predict: Callable[..., tuple[PyTree, ...]], params: Params) -> NextLogits:
    """A network as NextLogits.

    Args:
        predict: (params, tokens, cache, every) -> (logits, cache), such as `networks.pure(networks.LanguageModel(…))`.
        params: its parameters.
    """
    return NextLogits(predict, params)
