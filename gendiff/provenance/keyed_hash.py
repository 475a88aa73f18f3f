"""A fixed integer hash: equal on every device and in every release. Numbers of `jax.random` may change with JAX.

Two words of 32 bits take one number after the other. The finaliser of MurmurHash3 (Appleby, public domain; from memory)
mixes each of them. It is no cipher: whoever sees much marked text and knows the rule may learn the key's choices.
"""

import jax.numpy as jnp
from jaxtyping import Array, UInt32

from gendiff.core import checks
from gendiff.core.types import Scalar

State = tuple[Array, Array]
"""Two words of any shape."""


def key(value: int) -> UInt32[Array, "2"]:
    """A secret key as two words, which are data under jit.

    Args:
        value: 0 … 2⁶⁴ − 1, such as `secrets.randbits(64)`.

    Raises:
        ValueError: for a number outside of this range.
    """
    checks.integer("key", value, 0, 2**64 - 1)
    return jnp.array([value >> 32, value & 0xFFFFFFFF], jnp.uint32)


def start(words: UInt32[Array, "2"]) -> State:
    """The state that has taken the key alone."""
    first = _mixed(words[0] ^ jnp.uint32(0x6A09E667))
    second = _mixed(words[1] ^ jnp.uint32(0xBB67AE85))
    return _mixed(first + second * jnp.uint32(0x9E3779B1)), _mixed(second ^ first)


def taken(state: State, number: Scalar) -> State:
    """The state that has taken one more number: integers below 2³², which broadcast with its words."""
    first, second = state
    number = jnp.asarray(number).astype(jnp.uint32)
    mixed = _mixed(first ^ (number * jnp.uint32(0x9E3779B1)))
    return mixed, _mixed(second + mixed * jnp.uint32(5) + number)


def word(state: State) -> UInt32[Array, "*shape"]:
    """32 bits of a state."""
    first, second = state
    return _mixed(first + (second << 16 | second >> 16))


def _mixed(word: Array) -> Array:
    word = (word ^ word >> 16) * jnp.uint32(0x85EBCA6B)
    word = (word ^ word >> 13) * jnp.uint32(0xC2B2AE35)
    return word ^ word >> 16
