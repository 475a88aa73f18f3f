"""Known frames: with the exact network of a Gaussian process the denoiser is that of the conditional law, in closed
form.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff import diffusion
from gendiff.diffusion import guidance, parameterization, samplers, schedules, video
from gendiff.diffusion.types import Level
from tests.diffusion.video.autoregressive import covariance, knows_the_law
from tests.quickly import in_numpy, quickly
from tests.refusals import refusals

RNG = np.random.default_rng(0)
FLOW, CLEAN = schedules.flow(), schedules.flow().clean
CLIP, X = RNG.normal(size=(2, 2, 4, 3, 1))
GIVEN = diffusion.from_network(knows_the_law, (), parameterization.clean())

MASKS = {
    "a picture that moves": np.array([True, False, False, False]),
    "frames between": np.array([True, False, False, True]),
    "each clip its own": np.array([[False, True, False, False], [True, True, False, True]]),
    "none": np.zeros(4, bool),
}


def conditional_mean(x, clip, known, alpha, sigma):
    """E[clean | noised unknown frames, clean known ones] of one clip (f, pixels), by the law of the unknown frames
    given the known ones.
    """
    k, clean = covariance(4), clip.copy()
    gain = k[~known][:, known] @ np.linalg.inv(k[known][:, known])
    mean, spread = gain @ clip[known], k[~known][:, ~known] - gain @ k[known][:, ~known]
    noised = alpha**2 * spread + sigma**2 * np.eye(len(spread))
    clean[~known] = mean + alpha * spread @ np.linalg.solve(noised, x[~known] - alpha * mean)
    return clean


@in_numpy
def predicted(known, x, level):
    return video.known_frames(GIVEN, CLIP, known, CLEAN)(x, level)


@pytest.mark.float64
def test_the_denoiser_is_that_of_the_law_of_the_other_frames_given_the_known_ones():
    u = np.array([0.7, 0.2])
    for known in MASKS.values():
        prediction = predicted(known, X, Level(t=1000 * u, alpha=1 - u, sigma=u))
        for i in range(2):
            row = np.broadcast_to(known, (2, 4))[i]
            expected = conditional_mean(X[i, ..., 0], CLIP[i, ..., 0], row, 1 - u[i], u[i])
            np.testing.assert_allclose(prediction.clean[i, ..., 0], expected, atol=1e-12)
            np.testing.assert_array_equal(prediction.clean[i][row], CLIP[i][row])
            np.testing.assert_allclose((1 - u[i]) * prediction.clean[i] + u[i] * prediction.noise[i], X[i], atol=1e-12)


def test_a_draw_ends_with_the_known_frames_as_they_are_and_others_that_follow_them():
    levels = diffusion.grids.trailing(FLOW, 3)
    clip, known = jnp.asarray(CLIP, jnp.float32), MASKS["frames between"]

    @quickly
    def draw(clip):
        held = video.known_frames(GIVEN, clip, known, CLEAN)
        return diffusion.sample(jax.random.key(0), held, samplers.ddim(), levels, (4, 3, 1), jnp.arange(2))

    first, other = draw(clip), draw(clip + 1)
    np.testing.assert_array_equal(first[:, known], clip[:, known])
    assert np.mean(other[:, 1] - first[:, 1]) > 0.3  # frames between follow their neighbours
    assert np.all(np.isfinite(first))


def test_the_network_sees_known_frames_scaled_for_their_own_level_and_is_told_that_they_are_clean():
    clean = schedules.edm().clean

    @in_numpy
    def network_inputs(clip, noised):
        calls = []

        def network(params, x, t, label):
            calls.append((x, t, label))
            return x

        conditional = diffusion.from_network(network, (), parameterization.edm(0.5), np.array([3, 4]))
        held = video.known_frames(conditional, clip, MASKS["a picture that moves"], clean)
        for denoise in (held, held.with_condition(7)):
            denoise(noised, Level(t=0.7, alpha=1.0, sigma=2.0))
        return calls

    (x, t, label), (_, _, other) = network_inputs(CLIP.astype(np.float32), X.astype(np.float32))
    np.testing.assert_allclose(x[:, 0], CLIP[:, 0] / 0.5, rtol=1e-5)
    np.testing.assert_allclose(x[:, 1:], X[:, 1:] / np.sqrt(4.25), rtol=1e-5)
    np.testing.assert_allclose(t, [[clean.t, 0.7, 0.7, 0.7]] * 2, rtol=1e-6)
    np.testing.assert_array_equal(label, [3, 4])
    np.testing.assert_array_equal(other, [7, 7])


def test_known_frames_can_be_guided_and_are_finite_where_nothing_is_noised():
    @in_numpy
    def both(clip, x):
        held = video.known_frames(GIVEN, clip, MASKS["a picture that moves"], CLEAN)
        guided = guidance.classifier_free(held, held.with_condition(), 1.0)
        return [denoise(x, FLOW.at(0.5)).clean for denoise in (held, guided)], held(x, CLEAN).noise

    (alone, guided), noise = both(CLIP.astype(np.float32), X.astype(np.float32))
    np.testing.assert_allclose(alone, guided, atol=1e-6)
    assert np.all(np.isfinite(noise))


def hold(denoise=GIVEN, clip=CLIP, known=MASKS["frames between"]):
    return lambda: video.known_frames(denoise, clip, known, CLEAN)


test_what_does_not_fit_is_refused = refusals(
    (hold(diffusion.oracles.gaussian(0.5)), "denoise must be made by denoiser.from_network", TypeError),
    (hold(clip=CLIP.astype(int)), "clip must be a floating array", TypeError),
    (hold(clip=np.full_like(CLIP, 200.0)), "like unscaled pixels"),
    (hold(known=np.ones(4)), "known must hold booleans", TypeError),
    (hold(known=np.ones((1, 4), bool)), r"known has shape \(1, 4\): \(4,\), or \(2, 4\) for each clip"),
    (lambda: hold()()(jnp.asarray(X)[:, :3], FLOW.at(0.5)), "clip has shape .* but x has shape"),
)
