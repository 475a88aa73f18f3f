"""What the tests of language share: a tiny trained-looking network, and a chain whose next token depends on the last
one alone.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special

from gendiff import language, networks
from gendiff.core.records import record
from tests.networks.rig import random_params
from tests.quickly import quickly

VOCABULARY, CAPACITY = 20, 24
DEEP = networks.LanguageModel(
    vocabulary=VOCABULARY, context=96, width=16, depth=2, heads=4, key_value_heads=2, tied=False
)
PARAMS = random_params(DEEP, np.zeros((1, 2), np.int32))
NETWORK = DEEP.clone(depth=1)  # it compiles in half of the time
MODEL = language.from_network(networks.pure(NETWORK), PARAMS)


@record
class Markov:
    """Logits of the next token are a row of a table, that of the last token."""

    table: np.ndarray

    def __call__(self, tokens, cache, every=False):
        logits = jnp.asarray(self.table)[jnp.maximum(tokens, 0)]
        count = jnp.sum(tokens >= 0, 1, dtype=jnp.int32)
        if not every:
            logits = jnp.take_along_axis(logits, jnp.maximum(count - 1, 0)[:, None, None], 1)[:, 0]
        return logits, cache.advanced((), count)


def markov(vocabulary, seed=0, scale=1.5):
    return Markov((np.random.default_rng(seed).normal(size=(vocabulary, vocabulary)) * scale).astype(np.float32))


def lengths_only(batch, capacity=CAPACITY):
    """The cache of a chain, which keeps how long its texts are and nothing else."""
    return language.cache.Cache((), np.zeros(batch, np.int32), capacity)


def on_host(tree):
    """The same in NumPy, whose operations need no compilation."""
    return jax.tree.map(np.asarray, tree)


def padded(texts, width):
    return np.stack([np.pad(np.asarray(text, np.int32), (0, width - len(text)), constant_values=-1) for text in texts])


@functools.cache
def _program():
    return quickly(lambda tokens: MODEL(tokens, None, True)[0])


def full(texts):
    """Logits (s, v) of each of at most 8 texts of s ≤ 16 tokens, at once and without a cache, by one program for all
    tests.
    """
    logits = np.asarray(_program()(padded([*texts, *[[0]] * (8 - len(texts))], 16)))
    return [logits[row, : len(text)] for row, text in enumerate(texts)]


def log_probs(texts):
    """Those of each text's tokens (s − 1,) given the ones before."""
    pairs = [
        (scipy.special.log_softmax(logits[:-1], 1), text[1:]) for logits, text in zip(full(texts), texts, strict=True)
    ]
    return [logits[np.arange(len(text)), np.asarray(text, int)] for logits, text in pairs]
