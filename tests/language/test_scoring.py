import jax
import jax.numpy as jnp
import numpy as np

from gendiff import language, networks
from gendiff.language import processors, scoring
from tests.language import rig
from tests.quickly import quickly
from tests.refusals import refusals

TEXTS = [[3, 1, 4, 1, 5, 9, 2], [6, 5, 3], [5]]
TOKENS = rig.padded(TEXTS, 7)
PREDICT = networks.pure(rig.NETWORK)


def test_each_token_has_its_probability_given_those_before_it():
    cache = language.cache.full(rig.NETWORK, 3, 7)
    result = rig.on_host(quickly(lambda tokens: scoring.log_probs(rig.MODEL, cache, tokens, chunk=3))(TOKENS))
    for row, expected in enumerate(rig.log_probs(TEXTS)):
        np.testing.assert_allclose(result[row], np.pad(expected, (0, 6 - len(expected))), atol=1e-5)


def processor(temperature, number):
    """Of numbers per text, of the tokens so far, and of how many were generated."""
    steps = processors.repetition_penalty(1.3), processors.temperature(temperature), processors.top_k(number)
    return processors.chain(*steps, processors.min_tokens(2, [7]))


WARM, KEPT = np.array([0.7, 1.0, 1.6], np.float32), np.array([4, 9, 20])


def test_sampled_tokens_have_the_probabilities_that_they_were_drawn_with():
    """Temperature and truncation included; prompts, and what stands behind a text that has stopped, have 0."""

    @quickly
    def write(prompt, temperature, number):
        cache = language.cache.full(rig.NETWORK, 3, rig.CAPACITY)
        options = {"max_tokens": 6, "processor": processor(temperature, number), "stop": jnp.array([7, 11])}
        return language.generate(jax.random.key(3), rig.MODEL, cache, prompt, jnp.arange(3), **options)

    written, lengths = rig.on_host(write(TOKENS, WARM, KEPT)), np.array([len(text) for text in TEXTS])
    pieces = zip(TEXTS, written.tokens, written.length, strict=True)
    tokens = rig.padded([[*text, *new[:length]] for text, new, length in pieces], 13)

    @quickly
    def again(output, temperature, number):
        """By the gradient of the last layer, into which every logit that is no number would come."""

        def total(output):
            params = rig.PARAMS | {"output": output}
            log_probs = scoring.sampled_log_probs(PREDICT, params, tokens, lengths, processor(temperature, number))
            return jnp.sum(log_probs), log_probs

        return jax.value_and_grad(total, has_aux=True)(output)

    (_, sampled), slope = again(rig.PARAMS["output"], WARM, KEPT)
    expected = np.zeros((3, 12), np.float32)
    for row, length in enumerate(lengths):
        expected[row, length - 1 : length + 5] = written.log_probs[row]
    np.testing.assert_allclose(sampled, expected, atol=1e-5)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(slope))
    (_, cold), _ = again(rig.PARAMS["output"], np.ones(3, np.float32), KEPT)
    assert (
        np.abs(np.asarray(cold)[0] - expected[0]).max() > 0.01
        and np.abs(np.asarray(cold)[1] - expected[1]).max() < 1e-5
    )


def test_without_a_processor_and_after_one_token_they_are_the_probabilities_of_the_text():
    result = rig.on_host(quickly(lambda tokens: scoring.sampled_log_probs(PREDICT, rig.PARAMS, tokens, 1))(TOKENS))
    for row, expected in enumerate(rig.log_probs(TEXTS)):
        np.testing.assert_allclose(result[row], np.pad(expected, (0, 6 - len(expected))), atol=1e-5)


test_what_does_not_fit_is_refused = refusals(
    (lambda: scoring.log_probs(rig.MODEL, rig.lengths_only(3, 6), TOKENS), "need room for 7"),
    (lambda: scoring.log_probs(rig.MODEL, rig.lengths_only(3), TOKENS[:, :1]), "at least two tokens"),
    (lambda: scoring.sampled_log_probs(PREDICT, rig.PARAMS, TOKENS[:, :1], 1), "at least two tokens"),
    (lambda: scoring.sampled_log_probs(PREDICT, rig.PARAMS, TOKENS, 0), r"start = 0 is outside \[1, 7\]"),
    (lambda: scoring.sampled_log_probs(PREDICT, rig.PARAMS, TOKENS[:, ::-1], 1), "padding before tokens"),
)
