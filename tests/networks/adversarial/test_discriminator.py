"""The discriminator of patches: its formula, exactly which pixels an answer sees, and that it learns to judge."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gendiff import networks
from gendiff.core import trees
from gendiff.diffusion import latent
from tests.networks import formulas, rig
from tests.networks.rig import apply
from tests.quickly import quickly
from tests.refusals import refusals
from tests.tables import table

X = np.random.default_rng(0).normal(size=(2, 13, 16, 2)).astype(np.float32)


def small(**changes):
    return networks.PatchDiscriminator(**({"channels": (4, 8, 4), "in_channels": 2, "groups": 2} | changes))


@functools.cache
def random_params(network):
    return rig.random_params(network, X)


def run(network, x=X):
    return np.asarray(apply(networks.pure(network), random_params(network.clone(dtype=None)), x))


# The formula, in NumPy.


def bent(x):
    return np.where(x > 0, x, 0.2 * x)


def judged(params, x):
    y = bent(formulas.convolved(params["level_0"]["convolution"], x, stride=2))
    for level, stride in (("level_1", 2), ("level_2", 1)):
        y = formulas.convolved(params[level]["convolution"], y, stride=stride)
        y = bent(formulas.group_normed(params[level]["norm"], y, 2, 1e-5))
    return formulas.convolved(params["output"], y)[..., 0]


def test_the_discriminator_is_its_formula_for_even_and_odd_sizes():
    answers = run(small())
    assert answers.shape == (2, 1, 2) and answers.std() > 0.1
    np.testing.assert_allclose(answers, judged(formulas.exact(random_params(small())), X), rtol=1e-5, atol=2e-5)


def pixels_behind(network, shape, places):
    """(places, h, w) whether each pixel has a gradient to these answers. Kernels and inputs above 0: nothing can cancel
    or be cut off.
    """
    params = jax.tree.map(
        lambda leaf: np.abs(leaf) + np.float32(0.01), rig.random_params(network, np.zeros(shape, np.float32))
    )
    slope = quickly(jax.jacrev(lambda x, params: networks.pure(network)(params, x)[0, *zip(*places, strict=True)]))
    slopes = slope(np.ones(shape, np.float32), params)
    return np.asarray(slopes)[:, 0, ..., 0] > 0


@table("levels", [1, 4])
def test_an_answer_without_norms_sees_exactly_its_patch(levels):
    network = networks.PatchDiscriminator(channels=(2,) * levels, in_channels=1, groups=None)
    side, factor = 17 * network.factor, network.factor
    assert (network.receptive_field, factor, network.offset) == {1: (7, 1, -2), 4: (70, 8, -23)}[levels]
    places = [(0, 7), (7, 14)]  # at the edges, where a part of the patch is padding, and inside
    expected = np.zeros((2, side, side), bool)
    for area, position in zip(expected, places, strict=True):
        first = [network.offset + factor * at for at in position]
        rows, columns = (slice(max(0, start), start + network.receptive_field) for start in first)
        area[rows, columns] = True
    np.testing.assert_array_equal(pixels_behind(network, (1, side, side, 1), places), expected)


def test_group_norms_let_the_whole_picture_reach_an_answer_and_batch_mates_never():
    network = networks.PatchDiscriminator(channels=(2, 2), in_channels=1, groups=1)
    x = np.random.default_rng(1).normal(size=(2, 40, 40, 1)).astype(np.float32)
    answers, params = quickly(networks.pure(network)), rig.random_params(network, x)
    far, mate = x.copy(), x.copy()
    far[0, -1, -1], mate[1] = 9.0, 7.0
    assert not np.array_equal(answers(params, far)[0, 0, 0], answers(params, x)[0, 0, 0])
    np.testing.assert_array_equal(answers(params, mate)[0], answers(params, x)[0])


def test_the_default_is_the_network_of_latent_diffusion():
    network = networks.PatchDiscriminator()
    shapes = jax.eval_shape(
        lambda x: networks.init(network, jax.random.key(0), x), np.zeros((1, 32, 32, 3), np.float32)
    )
    kernels = [leaf.shape for path, leaf in trees.paths(shapes).items() if path.endswith("kernel")]
    assert kernels == [(4, 4, 3, 64), (4, 4, 64, 128), (4, 4, 128, 256), (4, 4, 256, 512), (4, 4, 512, 1)]
    assert network.receptive_field == 70 and network.smallest == 24
    answers = jax.eval_shape(networks.pure(network), shapes, jax.ShapeDtypeStruct((1, 256, 256, 3), jnp.float32))
    assert answers.shape == (1, 30, 30)  # as Isola et al. count them


@pytest.mark.slow
def test_the_hinge_loss_of_pictures_that_differ_falls_to_its_margin_and_answers_part():
    network = networks.PatchDiscriminator(channels=(4, 4), in_channels=1, groups=None)
    judge, optimizer = networks.pure(network), optax.adam(0.02)
    noise = 0.1 * jax.random.normal(jax.random.key(0), (2, 4, 8, 8, 1))
    real, fake = noise[0] + jnp.linspace(-1, 1, 8).reshape(1, 1, 8, 1), noise[1]  # stripes against none

    def loss(params):
        return latent.hinge_judging(judge(params, real), judge(params, fake))

    def fooling(params, image):
        return latent.hinge_fooling(judge(params, image))

    @quickly
    def trained(params):
        def step(carry, _):
            value, slopes = jax.value_and_grad(loss)(carry[0])
            updates, state = optimizer.update(slopes, carry[1])
            return (optax.apply_updates(carry[0], updates), state), value

        (params, _), values = jax.lax.scan(step, (params, optimizer.init(params)), length=60)
        before, slope = jax.value_and_grad(fooling, 1)(params, fake)
        return values, slope, before, fooling(params, fake - slope / jnp.linalg.norm(slope))

    values, slope, before, after = trained(networks.init(network, jax.random.key(1), real))
    assert 0.5 < values[0] < 3 and values[-1] < 0.1 * values[0]
    # it leads a generator the right way
    assert np.isfinite(slope).all() and np.abs(slope).max() > 1e-4 and after < before


# What every network promises.


def test_parameters_are_a_plain_float32_dict_and_an_equal_module_built_again_does_not_retrace():
    params = random_params(small())
    assert type(params) is dict and all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(params))
    assert networks.pure(small()) == networks.pure(small()) != networks.pure(small(groups=None))
    traces = [(run(small()), apply.traces)[1] for _ in range(2)]
    assert traces[0] == traces[1]
    each = quickly(jax.vmap(networks.pure(small()), (None, 0)))(params, X[:, None])
    np.testing.assert_allclose(each[:, 0], run(small()), atol=2e-5)


def test_bfloat16_is_close_to_float32_and_answers_have_the_dtype_of_x():
    full, half = run(small()), run(small(dtype="bfloat16"))
    assert half.dtype == jnp.float32 and 0 < np.abs(half - full).max() < 0.1 * np.abs(full).max()
    assert jax.eval_shape(networks.pure(small()), random_params(small()), X.astype(jnp.bfloat16)).dtype == jnp.bfloat16


@pytest.mark.float64
def test_pictures_in_float64_are_computed_in_float64_alone():
    with jax.enable_x64(False):
        params = random_params(small())
    jaxpr = jax.make_jaxpr(networks.pure(small()))(*trees.cast((params, X), jnp.float64))
    assert "f32[" not in str(jaxpr) and jaxpr.out_avals[0].dtype == jnp.float64


def test_remat_reaches_every_level_options_every_product_and_a_mesh_keeps_the_batch_split():
    @functools.cache
    def traced(**changes):
        return str(jax.make_jaxpr(networks.pure(small(**changes)))(random_params(small()), X))

    assert traced(remat=True).count("remat") == traced().count("remat") + 3
    assert (
        traced(convolution="fast_backward").count("fast_backward_convolution")
        >= 4
        > traced().count("fast_backward_convolution")
    )
    assert traced(precision="highest").count("Precision.HIGHEST") >= 4 > traced().count("Precision.HIGHEST")
    mesh = jax.make_mesh((1,), ("data",), axis_types=(jax.sharding.AxisType.Explicit,))
    x = jax.device_put(X, jax.NamedSharding(mesh, jax.P("data")))
    full = jax.tree.map(lambda leaf: jax.device_put(leaf, jax.NamedSharding(mesh, jax.P())), random_params(small()))
    assert jax.eval_shape(networks.pure(small()), full, x).sharding.spec[0] == "data"


def called(x=X, **changes):
    return lambda: networks.pure(small(**changes))(random_params(small()), x)


test_what_does_not_fit_is_refused = refusals(
    (called(X[:, :11]), r"\(2, 11, 16, 2\).*3 levels, sides of at least 12 pixels"),
    (called(X[..., :1]), "x has 1 channels.*in_channels = 2"),
    (called(X[0]), "images are"),
    (called(X.transpose(0, 3, 1, 2)), "channels-first"),
    (called(X.astype(np.uint8)), "floating", TypeError),
    (called(channels=()), "no level"),
    (called(channels=(4, 0)), "channels = 0"),
    (called(groups=0), "groups = 0"),
    (called(groups=3), "does not divide"),
    (called(remat="dots"), "products"),
)


def test_the_receptive_field_follows_from_the_kernels_by_hand():
    for levels in range(1, 6):
        network = networks.PatchDiscriminator(channels=(8,) * levels)
        side = functools.reduce(lambda side, stride: (side - 1) * stride + 4, [1, 1] + [2] * (levels - 1), 1)
        assert network.receptive_field == side and math.log2(network.factor) == levels - 1
