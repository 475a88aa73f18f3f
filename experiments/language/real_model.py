"""The model that studies of language work with, real text for it, and one more token as a work that can be timed."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from gendiff import language, networks
from gendiff.commands.chat import models
from gendiff.core import records
from gendiff.data import text
from gendiff.pipelines import Chat


def opened(tiny: bool, context: int = 256) -> Chat:
    """SmolLM2; or a small network with random weights and room for `context` tokens."""
    return models.tiny(context) if tiny else models.opened()


def manual(chat: Chat, documents: int | None = None) -> np.ndarray:
    """Tokens (n,) of the first documents of Python's manual."""
    return np.asarray(chat.tokenizer.encode("\n".join(text.python_manual().texts[:documents])))


def next_logits(chat: Chat) -> Any:
    """What `language.generate` asks for logits."""
    return language.from_network(networks.pure(chat.network), chat.params)


def one_more(step: Callable[..., Any], chat: Chat, batch: int, capacity: int, length: int) -> Callable[[], Any]:
    """One more token of texts of this length. All slots of the cache are read, whatever they hold.

    step: `steps.in_place()`, which shares its program among works.
    """
    cache = language.cache.full(chat.network, batch, capacity)
    held = records.replace(cache, length=jnp.full((batch,), length, jnp.int32))
    return step(next_logits(chat), jnp.ones((batch, 1), jnp.int32), held)
