"""What the tests of watermarks share: every kind, texts that know no key, and a loop that draws from given logits."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from gendiff.core.records import record
from gendiff.provenance import text_watermarks
from tests.quickly import quickly

V = 64
KEY = 0x0123456789ABCDEF
MARKS = {
    "green list": lambda key=KEY, vocabulary=V: text_watermarks.green_list(key, vocabulary),
    "green list of 3": lambda key=KEY, vocabulary=V: text_watermarks.green_list(key, vocabulary, gamma=0.5, width=3),
    "payload": lambda key=KEY, vocabulary=V: text_watermarks.green_list(key, vocabulary, width=1, payload=(3, 0, 2)),
    "unigram": lambda key=KEY, vocabulary=V: text_watermarks.unigram(key, vocabulary),
    "self-hash": lambda key=KEY, vocabulary=V: text_watermarks.self_hash(key, vocabulary),
    "gumbel": lambda key=KEY, vocabulary=V: text_watermarks.gumbel(key, vocabulary, width=2),
    "tournament": lambda key=KEY, vocabulary=V: text_watermarks.tournament(key, vocabulary, width=2),
}


@record
class Written:
    """What a processor is told of the texts, without the chapter of language."""

    tokens: jax.Array
    length: jax.Array


@functools.partial(quickly, static_argnames="number")
def written(key, mark, logits, number):
    """(b, number) tokens drawn one after the other from logits (b, v), which are the same at each place, as the mark
    changes them.
    """
    rows = logits.shape[0]

    def step(tokens, position):
        changed = mark(logits, Written(tokens, jnp.full(rows, position)))
        token = jax.random.categorical(jax.random.fold_in(key, position), changed)
        return tokens.at[:, position].set(token), None

    return jax.lax.scan(step, jnp.full((rows, number), -1), jnp.arange(number))[0]


def unmarked(rows, length, seed=0, vocabulary=V):
    return np.random.default_rng(seed).integers(0, vocabulary, (rows, length))


def repetitive(rows, length, seed=0):
    """Texts that say the same again and again: a chain whose next token is nearly always one of two."""
    draw = np.random.default_rng(seed)
    likely = draw.integers(0, V, (V, 2))
    texts = draw.integers(0, V, (rows, length))
    for position in range(1, length):
        often = draw.random(rows) < 0.9
        texts[often, position] = likely[texts[often, position - 1], draw.integers(0, 2, often.sum())]
    return texts
