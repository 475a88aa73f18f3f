import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff import language, networks
from tests.quickly import quickly

NETWORK = networks.LanguageModel(vocabulary=50, context=16, width=16, depth=2, heads=4, key_value_heads=2)
TOKENS = np.random.default_rng(0).integers(0, 50, (3, 12)).astype(np.int32)
PARAMS = jax.tree.map(lambda leaf: leaf + 0.1, networks.init(NETWORK, jax.random.key(0), TOKENS))
next_logits = language.from_network(networks.pure(NETWORK), PARAMS)
ask = quickly(lambda next_logits, tokens, cache: next_logits(tokens, cache, True))


def test_texts_of_unequal_lengths_answer_as_without_a_cache_and_a_rewound_cache_goes_on_from_there():
    whole = networks.pure(NETWORK)(PARAMS, TOKENS).logits
    lengths = np.array([7, 4, 5])
    first, cache = ask(next_logits, np.where(np.arange(7)[None] < lengths[:, None], TOKENS[:, :7], -1), language.cache.full(NETWORK, 3, 16))
    np.testing.assert_array_equal(cache.length, lengths)
    rows = np.stack([TOKENS[text, start : start + 5] for text, start in enumerate(lengths)])
    for start in (cache, ask(next_logits, (rows + 1) % 50, cache)[1].rewound(lengths)):
        second, after = ask(next_logits, rows, start)
        np.testing.assert_array_equal(after.length, lengths + 5)
        for text, length in enumerate(lengths):
            np.testing.assert_allclose(first[text, :length], whole[text, :length], atol=1e-5)
            np.testing.assert_allclose(second[text], whole[text, length : length + 5], atol=1e-5)
    last, _ = quickly(lambda next_logits, tokens, cache: next_logits(tokens, cache))(next_logits, rows, cache)
    np.testing.assert_allclose(last, second[:, -1], atol=1e-6)


@pytest.mark.usefixtures("unchecked")
def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"capacity = 17 is outside \[1, 16\]"):
        language.cache.full(NETWORK, 1, 17)
    with pytest.raises(ValueError, match="length = 1 is outside"):
        language.cache.full(NETWORK, 1, 8).rewound(1)
    assert jnp.all(language.cache.full(NETWORK, 2, 8).length == 0)
