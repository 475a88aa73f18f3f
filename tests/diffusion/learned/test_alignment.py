"""Alignment: what it measures, whom its gradient reaches, and that it leaves the denoising loss as it is."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gendiff import networks, training
from gendiff.diffusion import alignment, objectives, parameterization, schedules
from gendiff.diffusion.types import Batch
from tests.networks.rig import random_params
from tests.quickly import in_numpy
from tests.refusals import refusals

CLEAN = jnp.asarray(np.random.default_rng(0).normal(size=(3, 4, 2)), jnp.float32)
PARAMS = {"network": jnp.float32(0.5), "projector": jnp.eye(2)}


def network(params, x, t):
    """A network whose tokens are its input, four places of two channels."""
    return params * x, x


def project(params, tokens):
    return tokens @ params


def denoising(predict=network):
    return objectives.denoising(predict, schedules.flow(), parameterization.flow(), drop_condition=0.0)


def aligned(features, project=project, **options):
    return alignment.aligned(denoising(), project, features, **options)


def test_perfect_alignment_loses_minus_one_times_the_scale_and_the_denoising_part_stays():
    def value(loss, params=PARAMS):
        return loss(params, jax.random.key(0), Batch(CLEAN))

    def perfect(project, scale):
        return value(aligned(lambda clean: 3 * clean, project, scale=scale))

    plain, near, far, none = in_numpy(
        lambda: (
            value(denoising(lambda *inputs: network(*inputs)[0]), PARAMS["network"]),
            perfect(lambda params, tokens: CLEAN, 0.25),
            perfect(lambda params, tokens: -CLEAN, 1.0),
            perfect(project, 0.0),
        )
    )()
    assert float(near[1]["alignment"]) == pytest.approx(1, abs=1e-6) and float(near[1]["mse"]) == pytest.approx(
        float(plain[1]["mse"])
    )
    assert float(near[0]) == pytest.approx(float(plain[0]) - 0.25, abs=1e-6)
    assert float(far[0]) == pytest.approx(float(plain[0]) + 1, abs=1e-6) and float(none[0]) == pytest.approx(
        float(plain[0])
    )


def test_the_cosine_is_the_mean_over_places_and_a_vector_per_sample_is_held_against_the_mean_token():
    tokens, features = (np.random.default_rng(seed).normal(size=(2, 3, 5)).astype(np.float32) for seed in (0, 1))

    def cosines(a, b):
        return (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)

    @in_numpy
    def cosines_of(tokens, features):
        cases = (tokens, features), (tokens, features[:, 0]), (tokens.reshape(2, 1, 3, 5), features)
        return jnp.stack([alignment.cosine_similarity(*case) for case in cases])

    full, pooled = cosines(tokens, features).mean(), cosines(tokens.mean(1), features[:, 0]).mean()
    np.testing.assert_allclose(cosines_of(tokens, features), [full, pooled, full], rtol=1e-5)


def test_tokens_of_zero_have_no_similarity_and_a_finite_gradient():
    value, slope = in_numpy(jax.value_and_grad(alignment.cosine_similarity))(jnp.zeros((1, 2, 3)), jnp.ones((1, 2, 3)))
    assert value == 0 and not np.any(slope)


def test_features_see_the_clean_samples_and_what_stands_behind_the_batch_and_get_no_gradient():
    calls = []

    def features(weights, clean):
        calls.append(clean)
        return clean @ weights

    batch, weights = Batch(CLEAN), jnp.float32([[1.0, 2.0], [0.0, -1.0]])
    loss = aligned(features)
    slope = in_numpy(jax.grad(lambda weights: loss(PARAMS, jax.random.key(0), batch, weights)[0]))(weights)
    assert not np.any(slope) and calls[0] is CLEAN


class Blocks(nn.Module):
    """Three blocks on the places of x, and an output."""

    @nn.compact
    def __call__(self, x, t):
        y = x + t[:, None, None] / 1000
        for number in range(3):
            y = jnp.tanh(nn.Dense(2, name=f"block_{number}")(y))
        return nn.Dense(2, name="output")(y)


def test_the_gradient_of_the_alignment_reaches_the_blocks_up_to_the_chosen_one_and_none_after():
    blocks, projector = Blocks(), networks.Projector(channels=2, width=4)
    params = dict(
        zip(alignment.PARTS, (random_params(blocks, CLEAN, np.zeros(3)), random_params(projector, CLEAN)), strict=True)
    )
    predict = networks.with_intermediate(blocks, "block_1")
    loss = alignment.aligned(denoising(predict), networks.pure(projector), jnp.cos)
    slopes = in_numpy(jax.grad(lambda params: loss(params, jax.random.key(0), Batch(CLEAN))[1]["alignment"]))(params)
    reached = {name for name, part in slopes["network"].items() if np.any(part["kernel"])}
    assert reached == {"block_0", "block_1"}
    assert all(np.any(leaf) for leaf in jax.tree.leaves(slopes["projector"]))


def test_a_training_step_takes_frozen_features_behind_the_batch_and_learns_to_align():
    loss = aligned(lambda weights, clean: clean @ weights, scale=1.0)
    state = training.start(PARAMS, optax.adam(0.1), jax.random.key(0), ema=())
    step = in_numpy(training.make_step(loss, optax.adam(0.1)))
    turn = jnp.float32([[0.0, 1.0], [-1.0, 0.0]])
    first, _ = step(state, Batch(CLEAN), turn)
    state = first
    for _ in range(30):
        state, _ = step(state, Batch(CLEAN), turn)

    def turned(state):
        learned = np.asarray(state.params["projector"])
        return (learned * np.asarray(turn)).sum() / np.linalg.norm(learned) / np.linalg.norm(turn)

    assert abs(turned(first)) < 0.3 < 0.8 < turned(state)


def refused(features=jnp.sin, params=PARAMS):
    return jax.eval_shape(aligned(features), params, jax.random.key(0), Batch(CLEAN))


test_mistakes_are_refused = refusals(
    (lambda: alignment.aligned(len, project, len), "denoising is a builtin_function_or_method", TypeError),
    (lambda: aligned(jnp.sin, scale=-1.0), "scale = -1 is outside"),
    (lambda: refused(params={"network": 1}), r"network and projector, got \['network'\]"),
    (lambda: refused(lambda clean: clean[:, :3]), "4 projected tokens of 2 channels .* with 3 features of 2"),
    (lambda: refused(lambda clean: clean[..., :1]), "with 4 features of 1"),
)
