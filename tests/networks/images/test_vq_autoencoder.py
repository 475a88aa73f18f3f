"""The codebook: nearest entries, gradients that go straight through, and counts of what is used."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff import networks
from gendiff.core import trees
from gendiff.networks import vq_autoencoder
from gendiff.networks.images.vq_autoencoder import Quantized
from tests.networks.rig import Pointwise, apply, random_params, value_and_slopes
from tests.quickly import quickly
from tests.refusals import refusals
from tests.tables import table

X = np.random.default_rng(0).normal(size=(2, 8, 12, 2)).astype(np.float32)
LATENT = np.random.default_rng(1).normal(size=(2, 4, 6, 3)).astype(np.float32)


def small(kind=networks.VQAutoencoder, **changes):
    fields = {
        "channels": (2,),
        "blocks": 1,
        "latent_channels": 3,
        "in_channels": 2,
        "groups": 1,
        "attention": False,
        "entries": 5,
    }
    return kind(**(fields | changes))


class Flat(Pointwise, networks.VQAutoencoder):
    """The codebook between two layers."""


flat = functools.partial(small, Flat)


@functools.cache
def params(kind=Flat):
    return random_params(small(kind), X)


def run(network, method, *inputs):
    return jax.tree.map(np.asarray, apply(networks.pure(network, method), params(), *inputs))


def test_the_nearest_entry_has_the_least_distance_and_of_equal_ones_the_first():
    codebook, nearest = np.random.default_rng(2).normal(size=(7, 3)).astype(np.float32), quickly(vq_autoencoder.nearest)
    distances = np.sum((LATENT[..., None, :] - codebook) ** 2, -1)
    index = nearest(LATENT, codebook)
    np.testing.assert_array_equal(index, distances.argmin(-1))
    assert len(np.unique(index)) > 3
    assert int(nearest(np.zeros((1, 2)), np.array([[3.0, 0.0], [0.0, 1.0], [1.0, 0.0]]))[0]) == 1


def test_straight_through_gives_the_chosen_bit_for_bit_and_the_gradient_of_what_it_replaces():
    x, chosen = jnp.array([0.1, 1e-8, 300.0]), jnp.array([0.3, -7.0, 1e-7])
    value, to_x, to_chosen = value_and_slopes(vq_autoencoder.straight_through, x, chosen)
    np.testing.assert_array_equal(value, chosen)
    np.testing.assert_array_equal(to_x, jnp.sin(jnp.arange(1.0, 4.0)))
    np.testing.assert_array_equal(to_chosen, 0)


def test_one_loss_moves_the_codebook_alone_and_the_other_one_the_encoder_alone():
    pure = networks.pure(flat(), "reconstruct")

    def numbers(params):
        image, quantized = pure(params, X)
        return jnp.stack([jnp.sum(quantized.codebook_loss), jnp.sum(quantized.commitment_loss), jnp.sum(image**2)])

    slopes = jax.tree.map(np.asarray, quickly(jax.jacrev(numbers))(params()))
    to_codebook, to_encoder, of_image = (jax.tree.map(lambda leaf, row=row: leaf[row], slopes) for row in range(3))
    for slopes, moving in ((to_codebook, {"codebook"}), (to_encoder, {"encoder"})):
        assert {path.split("/")[0] for path, leaf in trees.paths(slopes).items() if np.any(leaf)} == moving
    assert np.any(of_image["encoder"]["kernel"]) and not np.any(of_image["codebook"])


def test_both_losses_are_the_mean_squared_distance_to_the_entries():
    network, quantized = flat(), run(flat(), "quantize", LATENT)
    codebook = np.asarray(params()["codebook"])
    np.testing.assert_array_equal(quantized.latent, codebook[quantized.index])
    expected = np.mean((LATENT - codebook[quantized.index]) ** 2, (1, 2, 3))
    np.testing.assert_allclose(quantized.codebook_loss, expected, rtol=1e-5)
    np.testing.assert_array_equal(quantized.codebook_loss, quantized.commitment_loss)
    assert quantized.index.shape == LATENT.shape[:3] and quantized.entries == network.entries


def test_the_decoder_sees_entries_alone_so_latents_near_one_entry_are_one_picture():
    quantized, picture = run(flat(), "quantize", LATENT), run(flat(), "decode", LATENT)
    np.testing.assert_allclose(run(flat(), "decode", quantized.latent), picture, atol=1e-6)
    assert len(np.unique(quantized.index)) > 2


def test_to_reconstruct_is_to_encode_and_to_decode():
    encode, decode, quantize, reconstruct = (
        networks.pure(small(), name) for name in ("encode", "decode", "quantize", "reconstruct")
    )

    @quickly
    def all_parts(params):
        latent = encode(params, X)
        return (
            reconstruct(params, X),
            networks.pure(small())(params, X),
            decode(params, latent),
            quantize(params, latent).index,
        )

    (image, quantized), reconstructed, decoded, index = jax.tree.map(
        np.asarray, all_parts(params(networks.VQAutoencoder))
    )
    np.testing.assert_allclose(image, decoded, atol=1e-5)
    np.testing.assert_allclose(image, reconstructed, atol=1e-6)
    np.testing.assert_array_equal(quantized.index, index)
    assert image.shape == X.shape and image.std() > 0.01 and len(np.unique(index)) > 1


def test_scale_and_shift_change_neither_pictures_nor_choices():
    network = flat(scale=(0.5, 2.0, 0.1), shift=0.7)
    latent = (LATENT - np.float32(0.7)) * np.float32((0.5, 2.0, 0.1))
    quantized, plain = run(network, "quantize", latent), run(flat(), "quantize", LATENT)
    np.testing.assert_array_equal(quantized.index, plain.index)
    np.testing.assert_allclose(quantized.codebook_loss, plain.codebook_loss, rtol=1e-4)
    np.testing.assert_allclose(run(network, "decode", latent), run(flat(), "decode", LATENT), atol=2e-5)
    np.testing.assert_allclose(run(network, None, X), run(flat(), None, X), atol=2e-5)


@quickly
def use(index):
    quantized_latent = Quantized(None, index, jnp.zeros(1), jnp.zeros(1), 4)
    return quantized_latent.perplexity(), quantized_latent.usage(), jnp.sum(quantized_latent.shares())


@table(
    "index, perplexity, usage",
    [([[2, 2, 2, 2]], 1, 0.25), ([[0, 1, 2, 3]], 4, 1), ([[0, 0, 1, 1]], 2, 0.5), ([[0, 0, 0, 1]], 4 / 3**0.75, 0.5)],
)
def test_perplexity_is_the_exponential_of_the_entropy_and_usage_the_share_of_entries(index, perplexity, usage):
    assert [float(number) for number in use(np.array(index))] == [pytest.approx(perplexity, rel=1e-6), usage, 1]


@pytest.mark.slow
def test_a_fresh_codebook_is_used_by_a_fresh_encoder():
    network = small(entries=16)
    fresh = networks.init(network, jax.random.key(1), X)
    assert float(apply(networks.pure(network, "reconstruct"), fresh, X)[1].perplexity()) > 4


test_what_does_not_fit_is_refused = pytest.mark.fault(
    "autoencoder: wrong number of channels", "autoencoder: NaN latents"
)(
    refusals(
        (lambda: networks.pure(flat(), "decode")(params(), X), r"\(b, h, w, 3\) is needed"),
        (lambda: networks.pure(flat(), "quantize")(params(), LATENT * np.float32("nan")), "not finite, in sample 0, 1"),
        (lambda: networks.pure(flat(), "decode")(params(), np.zeros((2, 4, 6), np.int32)), "floating", TypeError),
        (lambda: networks.pure(flat(), "encode")(params(), X[..., :1]), "in_channels = 2"),
        (lambda: networks.init(small(entries=1), jax.random.key(0), X), "entries = 1"),
    )
)
