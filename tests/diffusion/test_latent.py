"""Losses of autoencoders: each part by hand, and the whole in a training step."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gendiff import networks, training
from gendiff.diffusion import latent
from gendiff.diffusion.types import Batch
from tests.quickly import quickly
from tests.refusals import refusals

X = np.random.default_rng(0).uniform(-1, 1, size=(4, 8, 8, 1)).astype(np.float32)
KEY = jax.random.key(0)
FIELDS = {"channels": (4,), "blocks": 1, "latent_channels": 2, "in_channels": 1, "groups": 2, "attention": False}
NETWORK, VQ = networks.Autoencoder(**FIELDS), networks.VQAutoencoder(entries=6, **FIELDS)
JUDGE = networks.PatchDiscriminator(channels=(4, 4), in_channels=1, groups=2)
ENCODE, DECODE = networks.pure(NETWORK, "encode"), networks.pure(NETWORK, "decode")
GAUSSIAN = latent.gaussian_bottleneck(ENCODE, DECODE, weight=0.1)
CODEBOOK = latent.codebook_bottleneck(networks.pure(VQ, "reconstruct"), commitment=0.5)


@functools.cache
def params_of(network):
    return networks.init(network, jax.random.key(1), X)


def both():
    return {"autoencoder": params_of(NETWORK), "discriminator": params_of(JUDGE)}


def edges(x):
    """Two feature maps of a picture."""
    return {"x": jnp.concatenate([x[:, 1:] - x[:, :-1], x[:, 1:]], -1), "mean": x.mean((1, 2))}


# Bottlenecks.


def test_the_gaussian_bottleneck_draws_and_pays_the_divergence_per_number_of_a_picture():
    @quickly
    def parts(params, x):
        gaussian = ENCODE(params, x)
        decoded = [DECODE(params, latent) for latent in (gaussian.sample(KEY, np.arange(4)), gaussian.mode())]
        return GAUSSIAN(params, KEY, x), gaussian.kl(), *decoded

    result, kl, drawn, likeliest = parts(params_of(NETWORK), X)
    np.testing.assert_allclose(result.metrics["kl"], kl.mean(), rtol=1e-6)
    np.testing.assert_allclose(result.penalty, 0.1 * kl.mean() / 64, rtol=1e-6)
    np.testing.assert_allclose(result.image, drawn, atol=1e-6)
    assert np.abs(result.image - likeliest).max() > 0.01


def test_the_codebook_bottleneck_pays_for_the_codebook_and_for_commitment():
    params = params_of(VQ)
    parts = quickly(lambda params, x: (CODEBOOK(params, KEY, x), networks.pure(VQ, "reconstruct")(params, x)))
    result, (image, quantized) = parts(params, X)
    np.testing.assert_allclose(result.image, image, atol=1e-6)
    np.testing.assert_allclose(result.penalty, 1.5 * quantized.codebook_loss.mean(), rtol=1e-6)
    assert result.metrics.keys() == {"codebook", "perplexity", "usage"} and float(result.metrics["perplexity"]) >= 1


# Errors.


@pytest.mark.parametrize(("distance", "expected"), [("l1", 0.5), ("l2", 0.25)])
def test_the_error_is_the_mean_distance_of_pixels_plus_penalty_and_perceptual_part(distance, expected):
    def half_off(params, key, x):
        return latent.Reconstruction(x + params, jnp.float32(3), {"own": jnp.float32(7)})

    loss = latent.autoencoding(half_off, distance=distance, maps=edges, perceptual_weight=2.0)
    value, metrics = loss(jnp.float32(0.5), KEY, Batch(X))
    seen = latent.perceptual(edges, X + 0.5, X)
    assert float(metrics["reconstruction"]) == pytest.approx(expected, rel=1e-5) and float(metrics["own"]) == 7
    assert float(value) == pytest.approx(expected + 3 + 2 * float(seen), rel=1e-5) and float(seen) > 0.01
    value, metrics = latent.autoencoding(half_off, distance=distance)(jnp.float32(0), KEY, Batch(X))
    assert float(value) == 3 and "perceptual" not in metrics


def test_the_perceptual_distance_is_that_of_unit_vectors_so_no_scale_of_features_counts():
    first, second = jnp.array([[[3.0, 4.0]], [[0.0, 2.0]]]), jnp.array([[[0.0, 1.0]], [[0.0, 9.0]]])
    assert float(latent.perceptual(lambda x: x, first, second)) == pytest.approx((0.6**2 + 0.2**2) / 2, rel=1e-5)
    assert float(latent.perceptual(lambda x: (x, x), first, 5 * second)) == pytest.approx(0.4, rel=1e-5)
    assert float(latent.perceptual(edges, X, X)) == 0
    slope = jax.grad(lambda x: latent.perceptual(lambda x: x, x, second))(jnp.zeros_like(second))
    assert np.isfinite(slope).all()  # where a map is 0 everywhere


# The adversary.


def test_hinge_losses_have_their_values():
    real, fake = jnp.array([2.0, 0.5]), jnp.array([-3.0, 0.0, 1.0])
    assert float(latent.hinge_judging(real, fake)) == pytest.approx((0.25 + 1.0) / 2)
    assert float(latent.hinge_fooling(fake)) == pytest.approx(2 / 3)
    assert float(latent.hinge_judging(jnp.ones(2), -jnp.ones(3))) == 0  # at its margin it is content


def test_the_adaptive_weight_is_the_ratio_of_norms_clipped_and_without_gradient():
    three, four = {"a": jnp.array([1.0, 2.0]), "b": jnp.array([2.0])}, {"a": jnp.array([0.0, 4.0]), "b": jnp.array([0.0])}
    assert float(latent.adaptive_weight(three, four, delta=0.0)) == 0.75
    assert float(latent.adaptive_weight(three, four, delta=2.0)) == 0.5
    assert float(latent.adaptive_weight(four, three, most=1.25)) == 1.25
    nothing = jax.tree.map(jnp.zeros_like, three)
    assert float(latent.adaptive_weight(three, nothing)) == 1e4
    slopes = jax.grad(lambda a, b: latent.adaptive_weight(a, b), (0, 1))(three, nothing)
    assert all(not leaf.any() for leaf in jax.tree.leaves(slopes))


@pytest.fixture(scope="module")
def parts():
    """(scalar, metrics, gradient) of the adversarial loss, and the pieces of it by hand."""
    loss = latent.autoencoding(GAUSSIAN, maps=edges)
    judge = networks.pure(JUDGE)
    whole = latent.adversarial(loss, judge, weight=0.7, delta=0.01)
    params = both()
    (value, metrics), slopes = quickly(jax.value_and_grad(whole, has_aux=True))(params, KEY, Batch(X))

    @quickly
    def by_hand(params):
        def pieces(own):
            result = GAUSSIAN(own, KEY, jnp.asarray(X))
            error = jnp.mean(jnp.abs(result.image - X)) + latent.perceptual(edges, result.image, X)
            return jnp.stack([error, -jnp.mean(judge(params["discriminator"], result.image)), result.penalty])

        def judging(other):
            fake = judge(other, GAUSSIAN(params["autoencoder"], KEY, jnp.asarray(X)).image)
            return (jnp.mean(jnp.maximum(0, 1 - judge(other, X))) + jnp.mean(jnp.maximum(0, 1 + fake))) / 2

        own = params["autoencoder"]
        return pieces(own), jax.jacrev(pieces)(own), jax.value_and_grad(judging)(params["discriminator"])

    return value, metrics, slopes, *by_hand(params)


def test_the_adaptive_weight_of_the_loss_is_the_ratio_of_gradients_at_the_last_layer_by_hand(parts):
    _, metrics, _, _, slopes, _ = parts
    error, fooling, _ = np.linalg.norm(slopes["decoder"]["output"]["kernel"].reshape(3, -1), axis=1)
    assert float(metrics["adaptive_weight"]) == pytest.approx(error / (fooling + 0.01), rel=1e-4) != pytest.approx(1, rel=0.1)


def test_the_scalar_is_the_sum_of_all_and_each_player_gets_the_gradient_of_its_own_part(parts):
    value, metrics, slopes, (error, fooling, penalty), by_hand, (judging, of_judge) = parts
    factor = 0.7 * metrics["adaptive_weight"]
    assert float(value) == pytest.approx(float(error + factor * fooling + penalty + judging), rel=1e-5)
    expected = {"autoencoder": jax.tree.map(lambda rows: rows[0] + factor * rows[1] + rows[2], by_hand), "discriminator": of_judge}
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5), slopes, expected)
    assert metrics.keys() >= {"reconstruction", "perceptual", "kl", "adversarial", "adaptive_weight", "discriminator", "real", "fake"}
    assert sum(float(jnp.abs(leaf).max()) > 1e-4 for leaf in jax.tree.leaves(slopes)) > 20


@pytest.mark.slow
@pytest.mark.slow
def test_a_loss_trains_with_a_step_of_training_and_pictures_come_closer():
    loss, optimizer = latent.autoencoding(CODEBOOK), optax.adam(1e-2)
    state = training.start(params_of(VQ), optimizer, KEY)
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
    network = NETWORK.clone(**options)
    bottleneck = latent.gaussian_bottleneck(networks.pure(network, "encode"), networks.pure(network, "decode"))
    loss = latent.adversarial(latent.autoencoding(bottleneck), networks.pure(JUDGE))
    state = training.start(both(), optax.adam(1e-2), KEY)
    after, metrics = jax.eval_shape(training.make_step(loss, optax.adam(1e-2), accumulate=2), state, Batch(X))
    jax.tree.map(lambda a, b: (a.shape, a.dtype) == (b.shape, b.dtype) or pytest.fail(f"{a} {b}"), after.params, state.params)
    assert metrics["adaptive_weight"].shape == ()


LOSS = latent.autoencoding(GAUSSIAN)

test_what_does_not_fit_is_refused = refusals(
    (lambda: latent.gaussian_bottleneck(ENCODE, DECODE, weight=-1.0), "weight = -1"),
    (lambda: latent.codebook_bottleneck(ENCODE, commitment=-1.0), "commitment = -1"),
    (lambda: latent.autoencoding(GAUSSIAN, distance="l3"), "l1, l2"),
    (lambda: latent.autoencoding(GAUSSIAN, perceptual_weight=float("nan")), "perceptual_weight"),
    (lambda: latent.adversarial(LOSS, abs, delta=-1.0), "delta"),
    (lambda: latent.adversarial(GAUSSIAN, abs), "latent.autoencoding, got GaussianBottleneck", TypeError),
    (lambda: LOSS(params_of(NETWORK), KEY, X), r"diffusion.Batch\(clean=images\)", TypeError),
    (lambda: LOSS(params_of(NETWORK), KEY, Batch((X * 9).astype(np.uint8))), "batch.clean must be a floating array", TypeError),
    (lambda: latent.autoencoding(lambda p, k, x: latent.Reconstruction(x[:2], 0, {}))(0, KEY, Batch(X)), r"\(2, 8, 8, 1\)", TypeError),
    (lambda: latent.adversarial(LOSS, abs)(params_of(NETWORK), KEY, Batch(X)), r"got \['decoder', 'encoder'\]"),
    (lambda: latent.adversarial(LOSS, abs, last_layer="output")(both(), KEY, Batch(X)), "last_layer = 'output'.*decoder/output/kernel"),
)
