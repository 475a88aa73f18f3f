"""Losses of autoencoders: each part by hand, and the whole in a training step."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gendiff import networks, training
from gendiff.diffusion import latent
from gendiff.diffusion.types import Batch
from gendiff.networks import diagonal_gaussian
from gendiff.networks.images.vq_autoencoder import Quantized
from tests.quickly import quickly
from tests.refusals import refusals

RNG = np.random.default_rng(0)
X = RNG.uniform(-1, 1, size=(4, 8, 8, 1)).astype(np.float32)
KEY = jax.random.key(0)


# An autoencoder and a discriminator of squares of 2 × 2 pixels: what a loss does with them does not depend on their
# size.


def kernel(*shape):
    return {"kernel": RNG.normal(size=shape).astype(np.float32)}


PARAMS = {"encoder": kernel(4, 4), "decoder": {"input": kernel(2, 8), "output": kernel(8, 4)}}
BOTH = {"autoencoder": PARAMS, "discriminator": {"input": kernel(4, 3), "output": kernel(3, 1)}}


def squares(x):
    return jnp.asarray(x).reshape(-1, 4, 2, 4, 2).swapaxes(2, 3).reshape(-1, 4, 4, 4)


def encode(params, x):
    return diagonal_gaussian.from_moments(jnp.tanh(squares(x) @ params["encoder"]["kernel"]))


def decode(params, z):
    y = jnp.tanh(z @ params["decoder"]["input"]["kernel"]) @ params["decoder"]["output"]["kernel"]
    return y.reshape(-1, 4, 4, 2, 2).swapaxes(2, 3).reshape(-1, 8, 8, 1)


def judge(params, x):
    return jnp.tanh(squares(x) @ params["input"]["kernel"]) @ params["output"]["kernel"]


GAUSSIAN = latent.gaussian_bottleneck(encode, decode, weight=0.1)


def edges(x):
    """Two feature maps of a picture."""
    return {"x": jnp.concatenate([x[:, 1:] - x[:, :-1], x[:, 1:]], -1), "mean": x.mean((1, 2))}


# Bottlenecks.


def test_the_gaussian_bottleneck_draws_and_pays_the_divergence_per_number_of_a_picture():
    @quickly
    def parts(params, x):
        gaussian = encode(params, x)
        decoded = [decode(params, latent) for latent in (gaussian.sample(KEY, np.arange(4)), gaussian.mode())]
        return GAUSSIAN(params, KEY, x), gaussian.kl(), *decoded

    result, kl, samples, likeliest = parts(PARAMS, X)
    np.testing.assert_allclose(result.metrics["kl"], np.mean(kl), rtol=1e-6)
    np.testing.assert_allclose(result.penalty, 0.1 * np.mean(kl) / 64, rtol=1e-6)
    np.testing.assert_allclose(result.image, samples, atol=1e-6)
    assert np.abs(np.subtract(result.image, likeliest)).max() > 0.01


def test_the_codebook_bottleneck_pays_for_the_codebook_and_for_commitment():
    def reconstruct(params, x):
        return params * x, Quantized(x, jnp.array([[0, 1], [1, 1]]), jnp.array([1.0, 3.0]), jnp.array([10.0, 30.0]), 6)

    result = quickly(lambda x: latent.codebook_bottleneck(reconstruct, commitment=0.5)(2.0, KEY, x))(X)
    np.testing.assert_array_equal(result.image, 2 * X)
    assert float(result.penalty) == pytest.approx(2 + 0.5 * 20)
    expected = {"codebook": 2.0, "perplexity": 4 / 3**0.75, "usage": 2 / 6}
    assert jax.tree.map(float, result.metrics) == pytest.approx(expected, rel=1e-5)


# Errors.


def test_the_error_is_the_mean_distance_of_pixels_plus_penalty_and_perceptual_part():
    def half_off(params, key, x):
        return latent.Reconstruction(x + params, jnp.float32(3), {"own": jnp.float32(7)})

    @quickly
    def losses(x):
        all_losses = []
        for distance in ("l1", "l2"):
            seeing = latent.autoencoding(half_off, distance=distance, maps=edges, perceptual_weight=2.0)
            blind = latent.autoencoding(half_off, distance=distance)
            all_losses.append((seeing(jnp.float32(0.5), KEY, Batch(x)), blind(jnp.float32(0), KEY, Batch(x))))
        return all_losses, latent.perceptual(edges, x + 0.5, x)

    both, measures = losses(X)
    for ((value, metrics), (of_equal, without)), expected in zip(both, (0.5, 0.25), strict=True):
        assert float(metrics["reconstruction"]) == pytest.approx(expected, rel=1e-5) and float(metrics["own"]) == 7
        assert float(value) == pytest.approx(expected + 3 + 2 * float(measures), rel=1e-5) and float(measures) > 0.01
        assert float(of_equal) == 3 and "perceptual" not in without


def test_the_perceptual_distance_is_that_of_unit_vectors_so_no_scale_of_features_counts():
    first, second = (np.array(rows, np.float32) for rows in ([[[3, 4]], [[0, 2]]], [[[0, 1]], [[0, 9]]]))

    @quickly
    def distances(first, second):
        of_itself, of_two = (
            latent.perceptual(lambda x: x, first, second),
            latent.perceptual(lambda x: (x, x), first, 5 * second),
        )
        slope = jax.grad(lambda x: latent.perceptual(lambda x: x, x, second))(jnp.zeros_like(second))
        return of_itself, of_two, latent.perceptual(edges, X, X), slope

    of_itself, of_two, equal, slope = distances(first, second)
    assert float(of_itself) == pytest.approx((0.6**2 + 0.2**2) / 2, rel=1e-5)
    assert float(of_two) == pytest.approx(0.4, rel=1e-5) and float(equal) == 0
    assert np.isfinite(slope).all()  # where a map is 0 everywhere


# The adversary.


def test_hinge_losses_have_their_values():
    real, fake = jnp.array([2.0, 0.5]), jnp.array([-3.0, 0.0, 1.0])
    assert float(latent.hinge_judging(real, fake)) == pytest.approx((0.25 + 1.0) / 2)
    assert float(latent.hinge_fooling(fake)) == pytest.approx(2 / 3)
    assert float(latent.hinge_judging(jnp.ones(2), -jnp.ones(3))) == 0  # at its margin it is content


def test_the_adaptive_weight_is_the_ratio_of_norms_clipped_and_without_gradient():
    three, four = (
        {"a": np.array(a, np.float32), "b": np.array(b, np.float32)} for a, b in (([1, 2], [2]), ([0, 4], [0]))
    )

    @quickly
    def weights(three, four):
        nothing, weight = jax.tree.map(jnp.zeros_like, three), latent.adaptive_weight
        values = (
            weight(three, four, delta=0.0),
            weight(three, four, delta=2.0),
            weight(four, three, most=1.25),
            weight(three, nothing),
        )
        return values, jax.grad(lambda a, b: weight(a, b), (0, 1))(three, nothing)

    values, slopes = weights(three, four)
    np.testing.assert_allclose(values, [0.75, 0.5, 1.25, 1e4], rtol=1e-6)
    assert all(not np.any(leaf) for leaf in jax.tree.leaves(slopes))


@pytest.fixture(scope="module")
def parts():
    """(scalar, metrics, gradient) of the adversarial loss, and the pieces of it by hand."""
    full = latent.adversarial(latent.autoencoding(GAUSSIAN, maps=edges), judge, weight=0.7, delta=0.01)

    @quickly
    def all_losses(params, x):
        def pieces(autoencoder):
            result = GAUSSIAN(autoencoder, KEY, x)
            error = jnp.mean(jnp.abs(result.image - x)) + latent.perceptual(edges, result.image, x)
            return jnp.stack([error, -jnp.mean(judge(params["discriminator"], result.image)), result.penalty])

        def judging(other):
            fake = judge(other, GAUSSIAN(params["autoencoder"], KEY, x).image)
            return (jnp.mean(jnp.maximum(0, 1 - judge(other, x))) + jnp.mean(jnp.maximum(0, 1 + fake))) / 2

        autoencoder = params["autoencoder"]
        (value, metrics), slopes = jax.value_and_grad(full, has_aux=True)(params, KEY, Batch(x))
        return (
            value,
            metrics,
            slopes,
            pieces(autoencoder),
            jax.jacrev(pieces)(autoencoder),
            jax.value_and_grad(judging)(params["discriminator"]),
        )

    return jax.tree.map(np.asarray, all_losses(BOTH, X))


def test_the_adaptive_weight_of_the_loss_is_the_ratio_of_gradients_at_the_last_layer_by_hand(parts):
    _, metrics, _, _, slopes, _ = parts
    error, fooling, _ = np.linalg.norm(slopes["decoder"]["output"]["kernel"].reshape(3, -1), axis=1)
    assert (
        float(metrics["adaptive_weight"])
        == pytest.approx(error / (fooling + 0.01), rel=1e-4)
        != pytest.approx(1, rel=0.1)
    )


def test_the_scalar_is_the_sum_of_all_and_each_player_gets_the_gradient_of_its_own_part(parts):
    value, metrics, slopes, (error, fooling, penalty), by_hand, (judging, of_judge) = parts
    factor = 0.7 * metrics["adaptive_weight"]
    assert float(value) == pytest.approx(float(error + factor * fooling + penalty + judging), rel=1e-5)
    expected = {
        "autoencoder": jax.tree.map(lambda rows: rows[0] + factor * rows[1] + rows[2], by_hand),
        "discriminator": of_judge,
    }
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5), slopes, expected)
    assert metrics.keys() >= {
        "reconstruction",
        "perceptual",
        "kl",
        "adversarial",
        "adaptive_weight",
        "discriminator",
        "real",
        "fake",
    }
    assert all(np.abs(leaf).max() > 1e-3 for leaf in jax.tree.leaves(slopes))


# The networks that the losses are for.

FIELDS = {"channels": (4,), "blocks": 1, "latent_channels": 2, "in_channels": 1, "groups": 2, "attention": False}
NETWORK, VQ = networks.Autoencoder(**FIELDS), networks.VQAutoencoder(entries=6, **FIELDS)
JUDGE = networks.PatchDiscriminator(channels=(4, 4), in_channels=1, groups=2)


@pytest.mark.slow
def test_a_loss_trains_with_a_step_of_training_and_pictures_come_closer():
    bottleneck = latent.codebook_bottleneck(networks.pure(VQ, "reconstruct"), commitment=0.5)
    loss, optimizer = latent.autoencoding(bottleneck), optax.adam(1e-2)
    state = training.start(networks.init(VQ, jax.random.key(1), X), optimizer, KEY)
    step = quickly(training.make_step(loss, optimizer))
    errors = []
    for _ in range(25):
        state, metrics = step(state, Batch(X))
        errors.append(float(metrics["reconstruction"]))
    assert errors[-1] < 0.8 * errors[0] and bool(metrics["finite"])


@pytest.mark.parametrize(
    "options",
    [pytest.param({}, marks=pytest.mark.slow), {"remat": True, "convolution": "fast_backward", "dtype": "bfloat16"}],
    ids=["plain", "all options"],
)
def test_the_step_of_both_players_is_traced_whatever_the_options_and_half_batches_accumulate(options):
    network, optimizer = NETWORK.clone(**options), optax.adam(1e-2)
    bottleneck = latent.gaussian_bottleneck(networks.pure(network, "encode"), networks.pure(network, "decode"))
    loss = latent.adversarial(latent.autoencoding(bottleneck), networks.pure(JUDGE))

    def started():
        keys = jax.random.split(KEY)
        params = {
            name: networks.init(network, key, X)
            for name, network, key in zip(latent.PARTS, (NETWORK, JUDGE), keys, strict=True)
        }
        return training.start(params, optimizer, jax.random.key(1))

    state = jax.eval_shape(started)
    after, metrics = jax.eval_shape(training.make_step(loss, optimizer, accumulate=2), state, Batch(X))
    jax.tree.map(
        lambda a, b: (a.shape, a.dtype) == (b.shape, b.dtype) or pytest.fail(f"{a} {b}"), after.params, state.params
    )
    assert metrics["adaptive_weight"].shape == ()


LOSS = latent.autoencoding(GAUSSIAN)

test_what_does_not_fit_is_refused = refusals(
    (lambda: latent.gaussian_bottleneck(encode, decode, weight=-1.0), "weight = -1"),
    (lambda: latent.codebook_bottleneck(encode, commitment=-1.0), "commitment = -1"),
    (lambda: latent.autoencoding(GAUSSIAN, distance="l3"), "l1, l2"),
    (lambda: latent.autoencoding(GAUSSIAN, perceptual_weight=float("nan")), "perceptual_weight"),
    (lambda: latent.adversarial(LOSS, abs, delta=-1.0), "delta"),
    (lambda: latent.adversarial(GAUSSIAN, abs), "latent.autoencoding, got GaussianBottleneck", TypeError),
    (lambda: LOSS(PARAMS, KEY, X), r"diffusion.Batch\(clean=images", TypeError),
    (lambda: LOSS(PARAMS, KEY, Batch((X * 9).astype(np.uint8))), "batch.clean must be a floating array", TypeError),
    (
        lambda: latent.autoencoding(lambda p, k, x: latent.Reconstruction(x[:2], 0, {}))(0, KEY, Batch(X)),
        r"\(2, 8, 8, 1\)",
        TypeError,
    ),
    (lambda: latent.adversarial(LOSS, abs)(PARAMS, KEY, Batch(X)), r"got \['decoder', 'encoder'\]"),
    (
        lambda: latent.adversarial(LOSS, abs, last_layer="output")(BOTH, KEY, Batch(X)),
        "last_layer = 'output'.*decoder/output/kernel",
    ),
)
