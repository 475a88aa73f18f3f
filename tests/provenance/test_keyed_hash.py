"""The hash is fixed for ever: it is that of plain Python integers, and of numbers written down here."""

import jax
import jax.numpy as jnp
import numpy as np

from gendiff.provenance import keyed_hash
from tests.refusals import refusals

WORD = 2**32 - 1
FROZEN = 0x1E7BF0A5


def mixed(word):
    word = ((word ^ word >> 16) * 0x85EBCA6B) & WORD
    word = ((word ^ word >> 13) * 0xC2B2AE35) & WORD
    return word ^ word >> 16


def in_python(key, numbers):
    """The same formulas on Python's integers."""
    first, second = mixed((key >> 32) ^ 0x6A09E667), mixed((key & WORD) ^ 0xBB67AE85)
    first, second = mixed((first + second * 0x9E3779B1) & WORD), mixed(second ^ first)
    for number in numbers:
        taken = mixed(first ^ (number * 0x9E3779B1 & WORD))
        first, second = taken, mixed((second + taken * 5 + number) & WORD)
    return mixed((first + (second << 16 & WORD | second >> 16)) & WORD)


def hashed(words, numbers):
    state = keyed_hash.start(words)
    for column in range(numbers.shape[-1]):
        state = keyed_hash.taken(state, numbers[..., column])
    return keyed_hash.word(state)


def test_it_is_that_of_python_integers_under_jit_vmap_and_scan():
    draw = np.random.default_rng(0)
    keys = [int(high) << 32 | int(low) for high, low in draw.integers(0, 2**32, (5, 2))]
    numbers = draw.integers(0, 2**31 - 1, (5, 7, 3)).astype(np.int32)
    expected = [[in_python(key, row.tolist()) for row in rows] for key, rows in zip(keys, numbers, strict=True)]
    words = jnp.stack([keyed_hash.key(key) for key in keys])
    np.testing.assert_array_equal(jax.jit(jax.vmap(hashed))(words, numbers), expected)
    _, scanned = jax.lax.scan(lambda carry, row: (carry, hashed(*row)), None, (words, numbers))
    np.testing.assert_array_equal(scanned, expected)


def test_its_numbers_stay_as_they_are():
    assert hashed(keyed_hash.key(1), np.array([2, 3], np.int32)) == in_python(1, [2, 3]) == FROZEN


def test_bits_and_neighbouring_numbers_are_independent():
    words = np.asarray(
        hashed(keyed_hash.key(7), np.stack(np.meshgrid(np.arange(256), np.arange(256)), -1).reshape(-1, 2))
    )
    bits = (words[:, None] >> np.arange(32, dtype=np.uint32)) & 1
    error = 0.5 * len(words) ** -0.5
    assert np.abs(bits.mean(0) - 0.5).max() < 5 * error
    together = np.corrcoef(bits.T) - np.eye(32)
    assert np.abs(together).max() < 6 * len(words) ** -0.5
    after = [np.corrcoef(bits[:-shift, 31], bits[shift:, 31])[0, 1] for shift in (1, 2, 256, 257)]
    assert np.abs(after).max() < 5 * len(words) ** -0.5


test_keys_out_of_range_are_refused = refusals(
    (lambda: keyed_hash.key(-1), "key = -1"), (lambda: keyed_hash.key(2**64), "key = ")
)
