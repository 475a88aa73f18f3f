"""The loss of texts and pictures, beside its formulas in NumPy: a plain function in place of the network shows what it
was told.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from gendiff import diffusion, language, networks
from gendiff.pipelines import Interleaved
from gendiff.pipelines.interleaved import next_token_and_denoising, without_words
from tests.language.rig import padded
from tests.quickly import quickly
from tests.refusals import refusals

RNG = np.random.default_rng(0)
SAMPLES, VOCABULARY = 32, 7
SCHEDULE, FLOW = diffusion.schedules.flow(), diffusion.parameterization.flow()
NO_SIGNAL = diffusion.schedules.zero_terminal_snr(diffusion.schedules.linear())
TEXTS = padded([RNG.integers(0, VOCABULARY, 2 + number % 3) for number in range(SAMPLES)], 5)
WEIGHT = RNG.random(TEXTS.shape).astype(np.float32)
SHAPES = {"drawn": (SAMPLES, 2, 2, 1), "read": (SAMPLES, 2, 4, 1)}
CLEAN = {name: RNG.normal(size=shape).astype(np.float32) for name, shape in SHAPES.items()}
BATCH = (
    Interleaved((language.Texts(TEXTS), CLEAN["drawn"])),
    Interleaved((CLEAN["read"], language.Texts(TEXTS, WEIGHT))),
)
TOLD = ("one", "x", "t", "words")
PARAMS = {
    "table": RNG.normal(size=(VOCABULARY, VOCABULARY)).astype(np.float32),
    **{name: {what: np.zeros(shape, np.float32) for what in TOLD} for name, shape in SHAPES.items()},
}


class Outputs(NamedTuple):
    outputs: tuple


def predict(params, parts):
    """Logits are a row of a table. A picture's output is 0, but its slopes by these parameters are what the network is
    told.
    """
    words = sum(jnp.sum(part >= 0, 1) for part in parts if not isinstance(part, networks.Picture))

    def output(part):
        if not isinstance(part, networks.Picture):
            return params["table"][jnp.maximum(part, 0)]
        slopes_of = params["read" if isinstance(parts[0], networks.Picture) else "drawn"]
        inputs = {"one": 1.0, "x": part.x, "t": part.t[:, None, None, None] / 1000, "words": words[:, None, None, None]}
        return sum(slopes_of[name] * inputs[name] for name in TOLD)

    return Outputs(tuple(output(part) for part in parts))


def run(drop_text, batch=BATCH, seed=0, **options):
    loss = next_token_and_denoising(predict, SCHEDULE, FLOW, drop_text=drop_text, **options)
    program = quickly(lambda params, key, batch: jax.value_and_grad(loss, has_aux=True)(params, key, batch))
    return jax.device_get(program(PARAMS, jax.random.key(seed), batch))


@pytest.fixture(scope="module")
def half():
    return run(0.5)


def slope(slopes, name, what):
    """What the network was told of each picture, by the slope of the loss."""
    return slopes[name][what] / slopes[name]["one"]


def with_words(slopes):
    """Which documents kept the words of their text."""
    words = np.round(slope(slopes, "drawn", "words")[:, 0, 0, 0]).astype(int)
    length = (TEXTS >= 0).sum(1)
    assert ((words == length) | (words == 1)).all()
    return words == length


def nll(rows, weight):
    """Mean surprise of the tokens behind the first ones, and the share of those that are the likeliest."""
    logits, target = np.asarray(PARAMS["table"], np.float64)[np.maximum(rows, 0)][:, :-1], rows[:, 1:]
    weight = np.where(target >= 0, weight[:, 1:], 0)
    surprise = -np.take_along_axis(scipy.special.log_softmax(logits, 2), np.maximum(target, 0)[..., None], 2)[..., 0]
    return (weight * surprise).sum() / weight.sum(), (weight * (logits.argmax(2) == target)).sum() / weight.sum()


def test_pictures_are_noised_at_their_levels_and_judged_by_their_targets(half):
    (loss, metrics), slopes = half
    errors = []
    for name, clean in CLEAN.items():
        target = -slopes[name]["one"] * clean[0].size * 2 * SAMPLES / (2 * 5.0)  # both documents have as many pictures
        noise = target + clean
        sigma = slope(slopes, name, "t")
        np.testing.assert_allclose(sigma, np.broadcast_to(sigma[:, :1, :1], sigma.shape), rtol=1e-4)
        np.testing.assert_allclose(slope(slopes, name, "x"), (1 - sigma) * clean + sigma * noise, atol=1e-4)
        assert abs(noise.mean()) < 0.3 and 0.8 < noise.std() < 1.2
        errors.append(np.mean(target**2, (1, 2, 3)))
    np.testing.assert_allclose(metrics["mse"], np.mean(errors), rtol=1e-5)
    np.testing.assert_allclose(loss, metrics["nll"] + 5 * metrics["mse"], rtol=1e-6)


def test_a_picture_with_a_text_behind_it_has_at_most_half_of_the_noise(half):
    sigma = {name: slope(half[1], name, "t")[:, 0, 0, 0] for name in CLEAN}
    assert 0 < sigma["read"].min() and 0.4 < sigma["read"].max() <= 0.5001 and sigma["drawn"].max() > 0.9


def test_texts_are_judged_token_by_token_where_the_network_is_told_them(half):
    (_, metrics), slopes = half
    rows = with_words(slopes)
    assert 8 < rows.sum() < 28
    name = np.where(rows[:, None], TEXTS, np.asarray(without_words(TEXTS)))
    expected = nll(np.concatenate([name, TEXTS]), np.concatenate([np.ones_like(WEIGHT), WEIGHT]))
    np.testing.assert_allclose((metrics["nll"], metrics["accuracy"]), expected, rtol=1e-5)


def test_texts_alone_cost_what_next_tokens_cost():
    (loss, metrics), _ = run(1.0, Interleaved((language.Texts(TEXTS, WEIGHT),)), z_loss=0.1)
    plain = language.objective.next_token(lambda table, tokens: (table[jnp.maximum(tokens, 0)],), z_loss=0.1)
    expected, slopes_of = quickly(plain)(PARAMS["table"], jax.random.key(0), language.Texts(TEXTS, WEIGHT))
    assert metrics.keys() == slopes_of.keys() == {"nll", "accuracy"}
    np.testing.assert_allclose((loss, metrics["nll"]), (expected, slopes_of["nll"]), rtol=1e-6)


def test_a_text_without_words_keeps_its_first_token():
    np.testing.assert_array_equal(without_words(np.array([[3, 1, 4], [2, -1, -1]])), [[3, -1, -1], [2, -1, -1]])


def built(**options):
    return lambda: next_token_and_denoising(predict, SCHEDULE, FLOW, **options)


def called(batch):
    return lambda: built()()(PARAMS, jax.random.key(0), batch)


test_what_does_not_fit_is_refused = refusals(
    (built(image_weight=-1.0), "image_weight = -1"),
    (built(drop_text=1.5), "drop_text = 1.5"),
    (built(z_loss=-0.1), "z_loss = -0.1"),
    (called((language.Texts(TEXTS), CLEAN["drawn"])), r"pass pipelines.Interleaved", TypeError),
    (called(Interleaved(())), "no part"),
    (called(Interleaved((TEXTS,))), "part 0 must be a floating array", TypeError),
    (called(Interleaved((language.Texts(TEXTS, segments=TEXTS),))), "part 0 has segments or bytes"),
    (lambda: next_token_and_denoising(predict, NO_SIGNAL, diffusion.parameterization.noise()), "divides by alpha"),
)
