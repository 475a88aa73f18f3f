"""Pictures from texts and texts from pictures: what the pipeline does with a cache is what the network answers to whole
documents.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from gendiff import diffusion, language, networks
from gendiff.pipelines import multimodal
from gendiff.pipelines.interleaved import without_words
from tests.networks.rig import random_params
from tests.quickly import quickly
from tests.traced import Traced

RNG = np.random.default_rng(0)
SHAPE, PATCHES, VOCABULARY = (4, 4, 1), 4, 12
NETWORK = networks.MultimodalTransformer(vocabulary=VOCABULARY, context=24, width=16, depth=1, heads=2)
PICTURES = RNG.normal(size=(3, *SHAPE)).astype(np.float32)
TEXTS = np.array([[3, 1, 4, 1], [2, 7, 1, -1], [8, 2, -1, -1]], np.int32)
PARAMS = random_params(NETWORK, (TEXTS, networks.Picture(PICTURES, np.zeros(3, np.float32))))
SCHEDULE, FLOW = diffusion.schedules.flow(), diffusion.parameterization.flow()
LEVELS = diffusion.grids.padded(diffusion.grids.trailing(SCHEDULE, 3), 5)
MODEL = multimodal.Multimodal(NETWORK, FLOW, diffusion.samplers.ddim(1.0), SCHEDULE.clean)
INDEX = np.array([4, 0, 9], np.uint32)
GREEDY = language.processors.temperature(0.0)


def answer(params, *parts):
    return networks.pure(NETWORK)(params, parts).outputs


# Pictures.


@functools.partial(Traced, jit=quickly)
def draw(params, key, text, scale, levels, index, num_steps):
    return MODEL.image_from_text(key, params, text, scale, levels, SHAPE, index, num_steps=num_steps)


def pictures(*, params=PARAMS, seed=0, text=TEXTS, scale=3.0, index=INDEX, steps=3):
    return np.asarray(draw(params, jax.random.key(seed), text, scale, LEVELS, index, steps))


@functools.cache
def base():
    return pictures()


@pytest.mark.slow
def test_a_picture_of_a_text_is_drawn_as_from_whole_documents_with_and_without_its_words():
    def predict(params, x, t, text):
        return answer(params, text, networks.Picture(x, t))[1]

    @quickly
    def by_hand(params):
        conditional = diffusion.from_network(predict, params, FLOW, TEXTS)
        guided = diffusion.guidance.classifier_free(
            conditional, conditional.with_condition(without_words(TEXTS)), 3.0, batched=True
        )
        return diffusion.sample(
            jax.random.key(0), guided, diffusion.samplers.ddim(1.0), LEVELS, SHAPE, INDEX, num_steps=3
        )

    assert base().shape == (3, *SHAPE) and base().std() > 0.1
    np.testing.assert_allclose(base(), by_hand(PARAMS), atol=2e-5)


def test_a_picture_is_a_function_of_its_own_text_and_index_and_padding_does_not_enter():
    order = [2, 0, 1]
    np.testing.assert_allclose(pictures(text=TEXTS[order], index=INDEX[order]), base()[order], atol=1e-5)
    beside_strangers = pictures(text=np.stack([TEXTS[0], TEXTS[1], TEXTS[0]]), index=np.array([1, 0, 2**31], np.uint32))
    np.testing.assert_allclose(beside_strangers[1], base()[1], atol=1e-5)


def test_scale_1_is_the_text_alone_and_scale_0_no_words():
    one, none = pictures(scale=1.0), pictures(scale=0.0)
    np.testing.assert_allclose(pictures(text=np.asarray(without_words(TEXTS)), scale=1.0), none, atol=1e-5)
    assert np.abs(one - none).max() > 1e-3 and np.abs(base() - one).max() > 1e-3
    changed = jax.tree.map(np.copy, TEXTS)
    changed[:, 1] = 5
    np.testing.assert_allclose(pictures(text=changed, scale=0.0), none, atol=1e-5)


def test_one_compile_serves_texts_scales_steps_keys_and_parameters():
    others = [pictures(steps=2), pictures(seed=1), pictures(params=jax.tree.map(lambda leaf: 0.9 * leaf, PARAMS))]
    others += [pictures(text=TEXTS[::-1]), pictures(scale=1.5), pictures(index=INDEX + np.uint32(1))]
    assert all(np.abs(other - base()).max() > 1e-3 for other in others) and draw.traces == 1


# Texts.

CLEAN = networks.Picture(PICTURES, np.zeros(3, np.float32))
QUESTIONS = np.array([[5, 1, 4], [6, -1, -1], [7, 2, -1]], np.int32)


@functools.cache
def logits():
    """A function of texts (3, 6) behind the pictures."""
    program = quickly(lambda params, texts: answer(params, CLEAN, texts)[1])
    return lambda texts: np.asarray(
        program(PARAMS, np.pad(texts, ((0, 0), (0, 6 - texts.shape[1])), constant_values=-1))
    )


def test_a_text_of_a_picture_is_what_whole_documents_make_likely():
    write = quickly(
        lambda params, index: MODEL.text_from_image(
            jax.random.key(0), params, PICTURES, QUESTIONS, index, max_tokens=3, processor=GREEDY
        )
    )
    generated = write(PARAMS, INDEX)
    tokens = np.asarray(generated.tokens)
    assert tokens.shape == (3, 3) and (tokens >= 0).all()
    for row, question in enumerate(QUESTIONS):
        length = (question >= 0).sum()
        text = np.tile(np.concatenate([question[:length], tokens[row]]), (3, 1))
        expected = logits()(text)[row, length - 1 : length + 2].argmax(-1)
        np.testing.assert_array_equal(tokens[row], expected)


@functools.cache
def likelihoods():
    """A function of answers (3, VOCABULARY, 3)."""
    program = quickly(lambda params, answers: MODEL.log_likelihood(params, PICTURES, QUESTIONS, answers))
    return lambda answers: np.asarray(program(PARAMS, answers))


def test_probabilities_of_all_answers_of_one_token_sum_to_1():
    answers = np.full((3, VOCABULARY, 3), -1, np.int32)
    answers[:, :, 0] = np.arange(VOCABULARY)
    result = likelihoods()(answers)
    np.testing.assert_allclose(np.exp(result).sum(1), 1, rtol=1e-5)
    assert np.ptp(result, 0).max() > 1e-2


def test_likelihoods_of_answers_are_those_of_whole_documents():
    answers = RNG.integers(0, VOCABULARY, (3, VOCABULARY, 3)).astype(np.int32)
    answers[0, 1, 1:] = -1
    result = likelihoods()(answers)
    for row, question in enumerate(QUESTIONS):
        length = (question >= 0).sum()
        for number, words in enumerate(answers[row, :3]):
            tokens = words[words >= 0]
            text = np.tile(np.concatenate([question[:length], tokens]), (3, 1))
            log_probs = scipy.special.log_softmax(logits()(text)[row], -1)[length - 1 : length - 1 + len(tokens)]
            np.testing.assert_allclose(result[row, number], log_probs[np.arange(len(tokens)), tokens].sum(), atol=2e-5)


# Both in one document.


@pytest.mark.slow
def test_one_cache_goes_from_a_text_to_its_picture_and_on_to_what_is_said_of_it():
    @quickly
    def both(params):
        held = MODEL.read(params, language.cache.full(NETWORK, 3, 18), TEXTS)
        away = MODEL.read(params, language.cache.full(NETWORK, 3, 18), without_words(TEXTS))
        pictures = MODEL.draw(jax.random.key(0), params, held, away, 3.0, LEVELS, SHAPE, INDEX, num_steps=3)
        held = MODEL.read(params, held, pictures)
        answer_text = MODEL.write(jax.random.key(1), params, held, QUESTIONS, INDEX, max_tokens=2, processor=GREEDY)
        text = jnp.concatenate([QUESTIONS[1:2, :1], answer_text.tokens[1:2, :1]], 1)
        document = TEXTS[1:2], networks.Picture(pictures[1:2], jnp.zeros(1)), text
        return pictures, answer_text.tokens, answer(params, *document)[2][0].argmax(-1)

    images, tokens, expected = jax.device_get(both(PARAMS))
    np.testing.assert_allclose(images, base(), atol=1e-5)
    np.testing.assert_array_equal(tokens[1], expected)
