import numpy as np

from gendiff import language
from gendiff.language import scoring
from tests.language import rig
from tests.quickly import quickly
from tests.refusals import refusals

TEXTS = [[3, 1, 4, 1, 5, 9, 2], [6, 5, 3], [5]]
TOKENS = rig.padded(TEXTS, 7)


def test_each_token_has_its_probability_given_those_before_it():
    cache = language.cache.full(rig.NETWORK, 3, 7)
    result = rig.on_host(quickly(lambda tokens: scoring.log_probs(rig.MODEL, cache, tokens, chunk=3))(TOKENS))
    for row, expected in enumerate(rig.log_probs(TEXTS)):
        np.testing.assert_allclose(result[row], np.pad(expected, (0, 6 - len(expected))), atol=1e-5)


test_what_does_not_fit_is_refused = refusals(
    (lambda: scoring.log_probs(rig.MODEL, rig.lengths_only(3, 6), TOKENS), "need room for 7"),
    (lambda: scoring.log_probs(rig.MODEL, rig.lengths_only(3), TOKENS[:, :1]), "at least two tokens"),
)
