"""A stage enters by its weight: at 0 it is the stage before, and whatever it is, the stages above play no part."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from gendiff import networks
from gendiff.networks import progressive
from tests.networks import rig
from tests.networks.adversarial.adversaries import NOISE
from tests.quickly import quickly
from tests.refusals import refusals
from tests.tables import table

SMALL = {"size": 16, "width": 2, "widest": 5, "image_channels": 2}
PICTURES = {
    side: np.random.default_rng(side).uniform(-1, 1, (3, side, side, 2)).astype(np.float32) for side in (4, 8, 16)
}
GENERATOR, CRITIC = networks.ProgressiveGenerator(**SMALL), networks.ProgressiveCritic(**SMALL)


@functools.cache
def random_params(network):
    return rig.random_params(network, NOISE if isinstance(network, networks.ProgressiveGenerator) else PICTURES[16])


def generated(stage, *weight, params=None):
    return np.asarray(
        rig.apply(networks.pure(GENERATOR.clone(stage=stage)), params or random_params(GENERATOR), NOISE, *weight)
    )


def judged(stage, x, *weight, params=None):
    return np.asarray(rig.apply(networks.pure(CRITIC.clone(stage=stage)), params or random_params(CRITIC), x, *weight))


ZEROS, WEIGHT = np.zeros(3, np.float32), np.array([0.0, 0.25, 1.0], np.float32)


def test_at_weight_0_a_stage_gives_the_pictures_of_the_stage_before_with_each_pixel_four_times():
    before = generated(0)
    assert before.shape == (3, 4, 4, 2) and before.std() > 0.1
    np.testing.assert_allclose(generated(1, ZEROS), before.repeat(2, 1).repeat(2, 2), atol=1e-6)


def test_at_weight_0_a_stage_judges_as_the_stage_before_does_the_means_of_squares():
    before = judged(0, PICTURES[8].reshape(3, 4, 2, 4, 2, 2).mean((2, 4)))
    assert before.shape == (3,) and before.std() > 0.1
    np.testing.assert_allclose(judged(1, PICTURES[8], ZEROS), before, atol=1e-5)


def test_at_weight_1_the_stage_before_is_gone_and_between_each_sample_is_mixed_by_its_own_weight_which_is_data():
    old, new, traces = generated(1, ZEROS), generated(1), rig.apply.traces
    each = WEIGHT.reshape(3, 1, 1, 1)
    np.testing.assert_allclose(generated(1, WEIGHT), (1 - each) * old + each * new, atol=1e-6)
    assert rig.apply.traces == traces
    judgements = judged(1, PICTURES[8], WEIGHT)
    np.testing.assert_allclose(judgements[0], judged(1, PICTURES[8], ZEROS)[0], atol=1e-6)
    np.testing.assert_allclose(judgements[2], judged(1, PICTURES[8])[2], atol=1e-5)
    assert np.abs(judgements - judged(1, PICTURES[8]))[1] > 1e-3


def initialised(network, *arrays):
    return jax.eval_shape(lambda: networks.init(network, jax.random.key(0), *arrays))


@table("network, arrays", [(GENERATOR, (NOISE,) * 3), (CRITIC, tuple(PICTURES.values()))])
def test_every_stage_has_the_same_parameters(network, arrays):
    full = initialised(network, arrays[2])
    assert all(
        initialised(network.clone(stage=stage), arrays[stage], *weight) == full
        for stage, weight in ((0, (0.5,)), (1, ()), (2, (0.5,)))
    )
    assert {"picture_0", "picture_1", "picture_2", "stage_0", "stage_1", "stage_2"} <= set(full)


def test_layers_of_stages_above_and_pictures_of_stages_before_play_no_part():
    for params, run in (
        (random_params(GENERATOR), generated),
        (random_params(CRITIC), functools.partial(judged, x=PICTURES[8])),
    ):
        spoilt = params | {
            name: jax.tree.map(jnp.zeros_like, params[name]) for name in ("stage_2", "picture_2", "picture_0")
        }
        np.testing.assert_array_equal(run(1, params=spoilt), run(1))


# The formulas, written once more with JAX's own operations.


def bent(x):
    return jnp.where(x > 0, x, 0.2 * x)


def linear(params, x):
    return x @ params["kernel"] + params["bias"].reshape((1,) * (x.ndim - 1) + (-1,))


def convolved(params, x):
    y = jax.lax.conv_general_dilated(x, params["kernel"], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    return y + params["bias"].reshape(1, 1, 1, -1)


def normed(params, x):
    return x / jnp.sqrt(jnp.mean(x * x, -1, keepdims=True) + 1e-6) * params["scale"].reshape(1, 1, 1, -1)


@quickly
def drawn_picture(params, noise):
    y = bent(normed(params["input_norm"], linear(params["input"], noise).reshape(-1, 4, 4, 5)))
    for stage, number in (("stage_0", 0), ("stage_1", 0), ("stage_1", 1)):
        y = y.repeat(2, 1).repeat(2, 2) if (stage, number) == ("stage_1", 0) else y
        y = bent(normed(params[stage][f"norm_{number}"], convolved(params[stage][f"convolution_{number}"], y)))
    return linear(params["picture_1"], y)


@quickly
def judgement(params, x):
    y = bent(linear(params["picture_1"], x))
    for number in (0, 1):
        y = bent(convolved(params["stage_1"][f"convolution_{number}"], y))
    y = y.reshape(3, 4, 2, 4, 2, -1).mean((2, 4))
    y = bent(convolved(params["stage_0"]["convolution_0"], y))
    return linear(params["head"]["output"], y.reshape(3, -1))[:, 0]


def test_both_are_their_formulas():
    np.testing.assert_allclose(generated(1), drawn_picture(random_params(GENERATOR), NOISE), atol=2e-5)
    np.testing.assert_allclose(judged(1, PICTURES[8]), judgement(random_params(CRITIC), PICTURES[8]), atol=2e-5)


def test_sizes_of_stages():
    assert [GENERATOR.clone(stage=stage).side for stage in (0, 1, 2, None)] == [4, 8, 16, 16] and GENERATOR.stages == 3
    assert networks.ProgressiveCritic(size=4).stages == 1 and progressive.GrowingBlock((3,)).features == (3,)


def called(network, *arrays):
    return lambda: networks.pure(network)(
        random_params(GENERATOR if isinstance(network, networks.ProgressiveGenerator) else CRITIC), *arrays
    )


test_what_does_not_fit_is_refused = refusals(
    (called(GENERATOR.clone(stage=3), NOISE), r"stage = 3 is outside \[0, 2\]"),
    (called(CRITIC.clone(stage=-1), PICTURES[4]), "stage = -1"),
    (called(CRITIC.clone(stage=1), PICTURES[16]), r"\(batch, 8, 8, 2\) is needed"),
    (called(GENERATOR, NOISE, 1.5), "weight = 1.5 is outside"),
    (called(GENERATOR, NOISE, 0.5, 0.25), "two conditions are each a weight"),
    (called(GENERATOR, NOISE, 1), "without classes"),
    (called(GENERATOR, NOISE, np.ones(2, np.float32)), "per sample"),
    (called(CRITIC.clone(size=20), PICTURES[16]), "choose 16 or 32"),
)
