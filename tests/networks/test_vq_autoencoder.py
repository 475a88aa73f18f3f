"""The codebook: nearest entries, gradients that go straight through, and counts of what is used."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff import networks
from gendiff.core import trees
from gendiff.networks import vq_autoencoder
from gendiff.networks.vq_autoencoder import Quantized
from tests.networks.rig import apply, moved, value_and_slopes
from tests.quickly import quickly
from tests.refusals import refusals

X = np.random.default_rng(0).normal(size=(2, 8, 12, 2)).astype(np.float32)
LATENT = np.random.default_rng(1).normal(size=(2, 4, 6, 3)).astype(np.float32)


def small(**changes):
    fields = {"channels": (2,), "blocks": 1, "latent_channels": 3, "in_channels": 2, "groups": 1, "attention": False, "entries": 5}
    return networks.VQAutoencoder(**(fields | changes))


@functools.cache
def drawn():
    return networks.init(small(), jax.random.key(0), X)


def run(network, method, *inputs):
    return apply(networks.pure(network, method), moved(drawn()), *inputs)


def test_the_nearest_entry_has_the_least_distance_and_of_equal_ones_the_first():
    codebook = np.random.default_rng(2).normal(size=(7, 3)).astype(np.float32)
    distances = np.sum((LATENT[..., None, :] - codebook) ** 2, -1)
    index = vq_autoencoder.nearest(jnp.asarray(LATENT), jnp.asarray(codebook))
    np.testing.assert_array_equal(index, distances.argmin(-1))
    assert len(np.unique(index)) > 3
    assert int(vq_autoencoder.nearest(jnp.zeros((1, 2)), jnp.array([[3.0, 0.0], [0.0, 1.0], [1.0, 0.0]]))[0]) == 1


def test_straight_through_gives_the_chosen_bit_for_bit_and_the_gradient_of_what_it_replaces():
    x, chosen = jnp.array([0.1, 1e-8, 300.0]), jnp.array([0.3, -7.0, 1e-7])
    value, to_x, to_chosen = value_and_slopes(vq_autoencoder.straight_through, x, chosen)
    np.testing.assert_array_equal(value, chosen)
    np.testing.assert_array_equal(to_x, jnp.sin(jnp.arange(1.0, 4.0)))
    np.testing.assert_array_equal(to_chosen, 0)


def test_one_loss_moves_the_codebook_alone_and_the_other_one_the_encoder_alone():
    pure = networks.pure(small(), "reconstruct")

    def numbers(params):
        image, quantized = pure(params, X)
        return jnp.stack([jnp.sum(quantized.codebook_loss), jnp.sum(quantized.commitment_loss), jnp.sum(image**2)])

    slopes = quickly(jax.jacrev(numbers))(moved(drawn()))
    to_codebook, to_encoder, of_image = (jax.tree.map(lambda leaf, row=row: leaf[row], slopes) for row in range(3))
    for slopes, moving in ((to_codebook, {"codebook"}), (to_encoder, {"encoder"})):
        assert {path.split("/")[0] for path, leaf in trees.paths(slopes).items() if np.any(leaf)} == moving
    assert np.any(of_image["encoder"]["output"]["kernel"]) and not np.any(of_image["codebook"])


def test_both_losses_are_the_mean_squared_distance_to_the_entries():
    network, quantized = small(), run(small(), "quantize", LATENT)
    codebook = moved(drawn())["codebook"]
    np.testing.assert_array_equal(quantized.latent, codebook[quantized.index])
    expected = np.mean((LATENT - codebook[quantized.index]) ** 2, (1, 2, 3))
    np.testing.assert_allclose(quantized.codebook_loss, expected, rtol=1e-5)
    np.testing.assert_array_equal(quantized.codebook_loss, quantized.commitment_loss)
    assert quantized.index.shape == LATENT.shape[:3] and quantized.entries == network.entries


def test_the_decoder_sees_entries_alone_so_latents_near_one_entry_are_one_picture():
    quantized, picture = run(small(), "quantize", LATENT), run(small(), "decode", LATENT)
    np.testing.assert_allclose(run(small(), "decode", quantized.latent), picture, atol=1e-6)
    image, again = run(small(), "reconstruct", X)
    np.testing.assert_allclose(image, run(small(), "decode", run(small(), "encode", X)), atol=1e-5)
    np.testing.assert_allclose(image, run(small(), None, X), atol=1e-6)
    np.testing.assert_array_equal(again.index, run(small(), "quantize", run(small(), "encode", X)).index)


def test_scale_and_shift_change_neither_pictures_nor_choices():
    network = small(scale=(0.5, 2.0, 0.1), shift=0.7)
    latent = (LATENT - np.float32(0.7)) * np.float32((0.5, 2.0, 0.1))
    np.testing.assert_array_equal(run(network, "quantize", latent).index, run(small(), "quantize", LATENT).index)
    np.testing.assert_allclose(run(network, "quantize", latent).codebook_loss, run(small(), "quantize", LATENT).codebook_loss, rtol=1e-4)
    np.testing.assert_allclose(run(network, "decode", latent), run(small(), "decode", LATENT), atol=2e-5)
    np.testing.assert_allclose(run(network, None, X), run(small(), None, X), atol=2e-5)


@pytest.mark.parametrize(
    ("index", "perplexity", "usage"),
    [([[2, 2, 2, 2]], 1, 0.25), ([[0, 1, 2, 3]], 4, 1), ([[0, 0, 1, 1]], 2, 0.5), ([[0, 0, 0, 1]], 4 / 3**0.75, 0.5)],
)
def test_perplexity_is_the_exponential_of_the_entropy_and_usage_the_share_of_entries(index, perplexity, usage):
    of = Quantized(None, jnp.array(index), jnp.zeros(1), jnp.zeros(1), 4)
    assert float(of.perplexity()) == pytest.approx(perplexity, rel=1e-6) and float(of.usage()) == usage
    assert float(of.shares().sum()) == 1


@pytest.mark.slow
@pytest.mark.slow
def test_a_fresh_codebook_is_used_by_a_fresh_encoder():
    network = small(entries=16)
    params = networks.init(network, jax.random.key(1), X)
    assert float(apply(networks.pure(network, "reconstruct"), params, X)[1].perplexity()) > 4


test_what_does_not_fit_is_refused = pytest.mark.fault("autoencoder: wrong number of channels", "autoencoder: NaN latents")(
    refusals(
        (lambda: networks.pure(small(), "decode")(drawn(), X), r"\(b, h, w, 3\) is needed"),
        (lambda: networks.pure(small(), "quantize")(drawn(), LATENT * np.float32("nan")), "not finite, in sample 0, 1"),
        (lambda: networks.pure(small(), "decode")(drawn(), np.zeros((2, 4, 6), np.int32)), "floating", TypeError),
        (lambda: networks.pure(small(), "encode")(drawn(), X[..., :1]), "in_channels = 2"),
        (lambda: networks.init(small(entries=1), jax.random.key(0), X), "entries = 1"),
    )
)
