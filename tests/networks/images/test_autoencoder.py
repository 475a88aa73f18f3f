"""The KL autoencoder against its formula, its one normalisation, and what it refuses."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from gendiff import networks
from gendiff.core import trees
from gendiff.networks import autoencoder
from tests.networks import formulas, rig
from tests.quickly import quickly
from tests.refusals import refusals
from tests.tables import table

pytestmark = pytest.mark.numbers

RNG = np.random.default_rng(0)
X = RNG.normal(size=(2, 8, 12, 2)).astype(np.float32)
LATENT = RNG.normal(size=(2, 4, 6, 3)).astype(np.float32)


def small(kind=networks.Autoencoder, **changes):
    fields = {"channels": (4, 8), "blocks": 1, "latent_channels": 3, "in_channels": 2, "groups": 2}
    return kind(**(fields | changes))


@functools.cache
def random_params(network):
    return rig.random_params(network, X)


def run(network, method, *inputs):
    return rig.apply(
        networks.pure(network, method), random_params(network.clone(dtype=None, scale=1.0, shift=0.0)), *inputs
    )


# The formula, in NumPy.


def activated(params, x):
    return formulas.silu(formulas.group_normed(params, x, 2, 1e-6))


def block(params, x):
    y = formulas.convolved(params["convolution_0"], activated(params["norm_0"], x))
    y = formulas.convolved(params["convolution_1"], activated(params["norm_1"], y))
    return y + (formulas.linear(params["shortcut"], x) if "shortcut" in params else x)


def middle(params, x):
    x, layer = block(params["middle_0"], x), params["middle_attention"]
    b, h, w, c = x.shape
    parts = np.split(formulas.linear(layer["qkv"], formulas.group_normed(layer["norm"], x, 2, 1e-6)), 3, -1)
    query, key, value = (part.reshape(b, h * w, c) for part in parts)
    mixed = scipy.special.softmax(query @ key.swapaxes(1, 2) / c**0.5, -1) @ value
    return block(params["middle_1"], x + formulas.linear(layer["output"], mixed.reshape(x.shape)))


def ended(params, x):
    return formulas.convolved(params["output"], activated(params["output_norm"], x))


def encoded(params, x):
    y = block(params["down_0_0"], formulas.convolved(params["input"], x))
    y = formulas.convolved(params["down_0_resize"]["convolution"], y, ((0, 1), (0, 1)), 2)
    return formulas.linear(params["pointwise"], ended(params, middle(params, block(params["down_1_0"], y))))


def decoded(params, latent):
    y = middle(params, formulas.convolved(params["input"], formulas.linear(params["pointwise"], latent)))
    y = block(params["up_1_1"], block(params["up_1_0"], y)).repeat(2, 1).repeat(2, 2)
    return ended(
        params,
        block(params["up_0_1"], block(params["up_0_0"], formulas.convolved(params["up_1_resize"]["convolution"], y))),
    )


def test_encoder_and_decoder_are_their_formulas():
    network = small()
    params, gaussian = formulas.exact(random_params(network)), jax.tree.map(np.asarray, run(network, "encode", X))
    moments = encoded(params["encoder"], X)
    np.testing.assert_allclose(gaussian.mean, moments[..., :3], rtol=1e-5, atol=2e-5)
    np.testing.assert_allclose(gaussian.log_variance, moments[..., 3:], rtol=1e-5, atol=2e-5)
    assert gaussian.mean.std() > 0.1 and gaussian.log_variance.std() > 0.1
    pictures = decoded(params["decoder"], LATENT)
    np.testing.assert_allclose(run(network, "decode", LATENT), pictures, rtol=1e-5, atol=2e-5)
    assert pictures.shape == X.shape and pictures.std() > 0.1


# One normalisation.


class Flat(rig.Pointwise, networks.Autoencoder):
    """The Gaussian between two layers."""


flat = functools.partial(small, Flat, channels=(2,))
measures = quickly(lambda gaussian: (gaussian.mode(), gaussian.std(), gaussian.kl()))


RAW = RNG.normal(size=(2, 8, 12, 3)).astype(np.float32)


@table("scale, shift", [(0.25, 1.5), ((0.5, 2.0, 0.1), (0.0, -1.0, 3.0))])
def test_scale_and_shift_stand_between_the_network_and_its_user_once_each_way(scale, shift):
    network, factor, away = flat(scale=scale, shift=shift), np.float32(scale), np.float32(shift)
    mean, std, nats = map(np.asarray, measures(run(flat(), "encode", X)))
    for result, expected in zip(
        measures(run(network, "encode", X)), ((mean - away) * factor, std * factor, nats), strict=True
    ):
        np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(run(network, "decode", (RAW - away) * factor), run(flat(), "decode", RAW), atol=2e-5)
    np.testing.assert_allclose(run(network, None, X), run(flat(), "decode", mean), atol=2e-5)


def test_the_whole_goes_through_the_mode():
    network = flat(scale=0.25, shift=1.5)
    np.testing.assert_allclose(
        run(network, None, X), run(network, "decode", run(network, "encode", X).mode()), atol=1e-6
    )


@table("per_channel", [False, True])
def test_a_normalized_network_gives_latents_of_mean_0_and_variance_1_and_the_same_pictures(per_channel):
    network = flat(scale=(0.5, 2.0, 0.1), shift=0.7)
    before = np.asarray(run(network, "encode", X).mode())
    again = autoencoder.normalized(network, before, per_channel=per_channel)
    latent = np.asarray(run(again, "encode", X).mode())
    axes = (0, 1, 2) if per_channel else None
    np.testing.assert_allclose(np.mean(latent, axes), 0, atol=1e-5)
    np.testing.assert_allclose(np.std(latent, axes), 1, atol=1e-5)
    np.testing.assert_allclose(run(again, "decode", latent), run(network, "decode", before), atol=2e-5)
    np.testing.assert_allclose(
        autoencoder.normalized(again, latent, per_channel=per_channel).scale, again.scale, rtol=1e-5
    )


# What every network promises.


def test_parameters_are_a_plain_float32_dict_and_options_leave_out_their_layers():
    params = random_params(small())
    assert type(params) is dict and all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(params))
    bare = small(attention=False, encoder_pointwise=False, decoder_pointwise=False)
    left_out = set(trees.paths(params)) - set(
        trees.paths(jax.eval_shape(lambda: networks.init(bare, jax.random.key(0), X)))
    )
    assert {path.split("/")[1] for path in left_out} == {"middle_attention", "pointwise"}
    assert small().factor == 2 and networks.Autoencoder().factor == 8


def test_an_equal_module_built_again_does_not_retrace():
    first, again = networks.pure(small(), "encode"), networks.pure(small(), "encode")
    assert first == again and hash(first) == hash(again) and first != networks.pure(small(scale=0.5), "encode")
    traces = [(run(flat(), "encode", X), rig.apply.traces)[1] for _ in range(2)]
    assert traces[0] == traces[1]


def test_the_halves_run_on_a_mesh_with_explicit_axes_and_keep_the_batch_split():
    mesh = jax.make_mesh((1,), ("data",), axis_types=(jax.sharding.AxisType.Explicit,))
    x, latent = jax.device_put((X, LATENT), jax.NamedSharding(mesh, jax.P("data")))
    full = jax.tree.map(lambda leaf: jax.device_put(leaf, jax.NamedSharding(mesh, jax.P())), random_params(small()))
    for method, input_of_it in (("encode", x), ("decode", latent)):
        shapes = jax.eval_shape(networks.pure(small(), method), full, input_of_it)
        assert all(leaf.sharding.spec[0] == "data" for leaf in jax.tree.leaves(shapes)), method


@pytest.mark.slow
def test_bfloat16_is_close_to_float32_and_the_output_keeps_the_dtype_of_its_input():
    full, half = run(small(), "decode", LATENT), run(small(dtype="bfloat16"), "decode", LATENT)
    assert half.dtype == jnp.float32
    assert 0 < np.sqrt(np.mean((half - full) ** 2)) < 0.05 * np.sqrt(np.mean(full**2))
    for method, input_of_it in (("decode", LATENT), ("encode", X)):
        shapes = jax.eval_shape(
            networks.pure(small(), method), random_params(small()), input_of_it.astype(jnp.bfloat16)
        )
        assert all(leaf.dtype == jnp.bfloat16 for leaf in jax.tree.leaves(shapes))


@pytest.mark.slow
@pytest.mark.float64
def test_pictures_in_float64_are_computed_in_float64_alone():
    with jax.enable_x64(False):
        params = random_params(small())
    jaxpr = jax.make_jaxpr(networks.pure(small(scale=0.5, shift=0.1)))(*trees.cast((params, X), jnp.float64))
    assert "f32[" not in str(jaxpr) and jaxpr.out_avals[0].dtype == jnp.float64


def test_remat_and_the_implementations_reach_every_block_and_every_convolution():
    def traced(**changes):
        apply = small(**changes).apply  # which writes out equal blocks
        return str(jax.make_jaxpr(lambda params: apply({"params": params}, X))(random_params(small())))

    plain, changed = traced(), traced(remat=True, convolution="fast_backward", precision="highest")
    assert "fast_backward_convolution" not in plain
    assert changed.count("fast_backward_convolution") >= sum(
        leaf.ndim == 4 for leaf in jax.tree.leaves(random_params(small()))
    )
    # blocks of the encoder and of the decoder, and attention
    assert changed.count("remat") == plain.count("remat") + 4 + 6 + 2
    assert (
        changed.count("Precision.HIGHEST") > plain.count("Precision.HIGHEST")
        and traced(attention_implementation="xla") != plain
    )


def called(network, method, *inputs):
    return lambda: networks.pure(network, method)(random_params(small()), *inputs)


def built(**changes):
    return lambda: jax.eval_shape(lambda: networks.init(small(**changes), jax.random.key(0), X))


NAN = np.where(np.arange(2).reshape(2, 1, 1, 1) == 1, np.nan, LATENT).astype(np.float32)

test_pictures_that_do_not_fit_are_refused = pytest.mark.fault("images: height not divisible by patch or downsampling")(
    refusals(
        (called(small(), "encode", X[:, :7]), r"\(2, 7, 12, 2\).*multiples of 2 \(downsampling\)"),
        (called(small(), "encode", X[..., :1]), "x has 1 channels.*in_channels = 2"),
        (called(small(), "encode", X[0]), "images are"),
        (called(small(), "encode", X.astype(np.uint8)), "floating", TypeError),
    )
)
test_latents_that_do_not_fit_are_refused = pytest.mark.fault(
    "autoencoder: wrong number of channels", "autoencoder: NaN latents"
)(
    refusals(
        (called(small(), "decode", X), r"latent has shape \(2, 8, 12, 2\): \(b, h, w, 3\) is needed"),
        (called(small(), "decode", LATENT.transpose(0, 3, 1, 2)), "channels-first"),
        (called(small(), "decode", LATENT[0]), "is needed"),
        (called(small(), "decode", NAN), "latent of shape .* not finite, in sample 1"),
        (called(small(), "decode", LATENT.astype(np.int32)), "latent must be a floating array.*int32", TypeError),
    )
)


@pytest.mark.fault("autoencoder: NaN latents")
def test_a_latent_that_is_not_finite_spoils_its_own_picture_alone_under_jit():
    pictures, full = (run(small(), "decode", latent) for latent in (NAN, LATENT))
    assert np.isnan(pictures[1]).all()
    np.testing.assert_allclose(pictures[0], full[0], atol=1e-6)


test_fields_out_of_their_range_are_refused = refusals(
    (built(channels=()), "no level"),
    (built(blocks=0), "blocks"),
    (built(latent_channels=0), "latent_channels"),
    (built(groups=3), "does not divide"),
    (built(scale=0.0), r"scale = 0 is outside \(0, inf\)"),
    (built(scale=(1.0, 2.0)), "latent_channels = 3"),
    (built(shift=float("nan")), "shift"),
    (built(remat="dots"), "products"),
    (lambda: autoencoder.normalized(small(), X), r"\(b, h, w, 3\) is needed"),
    (lambda: autoencoder.normalized(small(), np.ones_like(LATENT)), "standard deviation of latent = 0"),
)
