import jax
import numpy as np

from gendiff import language
from gendiff.language import scoring
from tests.language import rig
from tests.quickly import quickly
from tests.refusals import refusals

TOKENS = rig.padded([[3, 1, 4, 1, 5, 9, 2], [6, 5, 3], [5]], 7)


def test_each_token_has_its_probability_given_those_before_it():
    cache = language.cache.full(rig.NETWORK, 3, 7)
    result = quickly(lambda tokens: scoring.log_probs(rig.MODEL, cache, tokens, chunk=3))(TOKENS)
    expected = np.asarray(quickly(lambda tokens: jax.nn.log_softmax(rig.MODEL(tokens, None, True)[0], 2))(TOKENS))
    for row, length in enumerate((7, 3, 1)):
        values = [expected[row, at, TOKENS[row, at + 1]] for at in range(length - 1)]
        np.testing.assert_allclose(result[row], [*values, *[0] * (7 - length)], atol=1e-5)


test_what_does_not_fit_is_refused = refusals(
    (lambda: scoring.log_probs(rig.MODEL, rig.lengths_only(3, 6), TOKENS), "need room for 7"),
    (lambda: scoring.log_probs(rig.MODEL, rig.lengths_only(3), TOKENS[:, :1]), "at least two tokens"),
)
