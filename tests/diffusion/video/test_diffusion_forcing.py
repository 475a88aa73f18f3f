"""Diffusion forcing: each frame is noised to its own level and the network is told of it; the loss is that of frames as
samples.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff.core.types import NO_LABEL
from gendiff.diffusion import Batch, parameterization, schedules, video, weighting
from tests.quickly import in_numpy
from tests.refusals import refusals

VELOCITY, FLOW = parameterization.velocity(), schedules.flow()
CLIPS = np.random.default_rng(0).normal(size=(256, 6, 2, 2, 1)).astype(np.float32)


def linear(params, x, t, *condition):
    return params * x


@functools.partial(in_numpy, static_argnums=0)
def value_and_slope(loss, params, key, clips):
    return jax.value_and_grad(loss, has_aux=True)(params, key, Batch(clips))


def inputs_of(clips, *condition, **options):
    """What the network is shown after its parameters."""

    @in_numpy
    def inputs(key, clips, condition):
        calls = []

        def network(params, x, *rest):
            calls.append((x, *rest))
            return x

        video.diffusion_forcing(network, FLOW, VELOCITY, **options)((), key, Batch(clips, condition))
        return calls[-1]

    return inputs(jax.random.key(0), clips, condition)


def test_a_silent_network_loses_the_mean_square_of_the_target_and_weights_are_those_of_each_frame():
    """Of unit variance, for data of unit variance on a chain; min-SNR gives min(s, 5) / (s + 1) on velocity, on average
    over the table.
    """
    options = {"weight": weighting.min_snr(5.0), "levels": weighting.stratified_levels()}
    loss = video.diffusion_forcing(linear, schedules.cosine(50), VELOCITY, **options)
    (value, metrics), _ = value_and_slope(loss, np.float32(0), jax.random.key(0), CLIPS)
    table = schedules.cosine(50).table
    snr = table.alpha**2 / table.sigma**2
    assert value == pytest.approx(np.mean(np.minimum(snr, 5) / (snr + 1)), rel=0.1)
    assert metrics["mse"] == pytest.approx(1.0, rel=0.1)


def test_a_network_that_knows_each_frame_has_no_loss_if_its_time_is_that_of_the_frame():
    """Frame j of every clip is one picture, of one value: the noise is x less that, exactly. A time of another frame
    would show.
    """
    values = np.linspace(-0.9, 0.8, 6, dtype=np.float32).reshape(1, 6, 1, 1, 1)

    def knowing(params, x, t):
        u = (t / 1000).reshape(*t.shape, 1, 1, 1)
        noise = (x - (1 - u) * values) / u
        return noise - values

    flow = parameterization.flow()
    clips = np.broadcast_to(values, (16, 6, 2, 2, 1))
    options = {"levels": weighting.uniform_levels((0.1, 1.0))}

    @in_numpy
    def losses(keys, clips):
        networks = knowing, lambda params, x, t: knowing(params, x, jnp.roll(t, 1, 1))
        return [
            video.diffusion_forcing(network, FLOW, flow, **options)((), key, Batch(clips))[0]
            for network, key in zip(networks, keys, strict=True)
        ]

    right, wrong = losses(jax.random.split(jax.random.key(0)), clips)
    assert right < 1e-9 and wrong > 0.1


def test_levels_of_frames_are_independent_but_for_a_share_of_clips_that_have_one_level():
    """Stratified levels come in order, which must not be that of frames. Samples are told whole clips of their labels,
    or nothing.
    """
    options = {"levels": weighting.stratified_levels(), "shared": 0.3, "drop_condition": 0.5}
    label = np.arange(1500, dtype=np.int32)
    x, t, labels = inputs_of(np.ones((1500, 4, 1), np.float32), label, **options)
    assert x.shape == (1500, 4, 1) and t.shape == (1500, 4) and t.dtype == np.float32
    alike = np.all(t == t[:, :1], 1)
    assert abs(alike.mean() - 0.3) <= 5 * np.sqrt(0.3 * 0.7 / 1500)
    np.testing.assert_allclose(t.mean(0), 500, atol=50)
    independent = t[~alike]
    assert np.abs(np.corrcoef(independent.T) - np.eye(4)).max() < 0.12
    assert np.abs(np.corrcoef(independent[:-1, 0], independent[1:, 0])[0, 1]) < 0.12
    dropped = labels == NO_LABEL
    assert labels.shape == (1500,) and 0.4 < dropped.mean() < 0.6
    np.testing.assert_array_equal(labels[~dropped], label[~dropped])


def test_a_loss_is_a_function_of_its_key_equals_its_like_and_has_finite_slopes():
    loss, same, other = (video.diffusion_forcing(linear, FLOW, VELOCITY, shared=share) for share in (0.5, 0.5, 0.25))
    assert loss == same != other and hash(loss) == hash(same)
    ((first, _), slope), ((again, _), _), ((third, _), _) = (
        value_and_slope(loss, np.float32(0.5), jax.random.key(seed), CLIPS) for seed in (0, 0, 1)
    )
    assert first == again != third
    assert np.isfinite(slope) and slope != 0


def ask(clips=CLIPS, network=linear, **options):
    options = {"schedule": FLOW, "parameterization": VELOCITY} | options
    return lambda: jax.eval_shape(
        lambda: video.diffusion_forcing(network, **options)(np.float32(0), jax.random.key(0), Batch(clips))
    )


test_what_is_no_clip_and_what_does_not_fit_is_refused = refusals(
    (ask(shared=1.5), "shared = 1.5 is outside"),
    (ask(np.ones((4, 3))), r"shape \(4, 3\): clips are \(batch, frames"),
    (ask(parameterization=parameterization.noise()), "divides by alpha"),
    (ask(drop_condition=-0.1), "drop_condition"),
    (ask(network=lambda params, x, t: x[:, :, :1]), "the network answered shape", TypeError),
)
