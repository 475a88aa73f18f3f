"""The autoencoder of FLUX.2 is that of latent diffusion, but for a mean and a variance of each place in a square."""

import jax
import numpy as np
import pytest

from gendiff import networks
from tests.networks import rig
from tests.quickly import quickly

FIELDS = {"channels": (2, 2), "blocks": 1, "latent_channels": 2, "groups": 1}
X = np.random.default_rng(0).normal(size=(1, 8, 12, 3)).astype(np.float32)


def test_latents_are_normalised_place_by_place_and_back():
    network, plain = networks.PatchNormedAutoencoder(**FIELDS), networks.Autoencoder(**FIELDS)
    params = jax.tree.map(np.asarray, rig.random_params(network, X))
    params["latent_mean"], params["latent_variance"] = np.arange(8.0, dtype="f4"), 1 + np.arange(8.0, dtype="f4")
    halves = {name: params[name] for name in ("encoder", "decoder")}

    def draw(params, halves, x):
        raw = networks.pure(plain, "encode")(halves, x).mode()
        latent = networks.pure(network, "encode")(params, x).mode()
        pictures = networks.pure(network, "decode")(params, latent), networks.pure(plain, "decode")(halves, raw)
        return raw, latent, *pictures

    raw, latent, decoded, expected_pictures = map(np.asarray, quickly(draw)(params, halves, X))
    for row, column in ((0, 0), (0, 1), (1, 0), (1, 1)):
        at = slice(2 * (2 * row + column), None)
        mean, variance = (params[f"latent_{name}"][at][:2] for name in ("mean", "variance"))
        expected = (raw[:, row::2, column::2] - mean) / np.sqrt(variance + 1e-4)
        np.testing.assert_allclose(latent[:, row::2, column::2], expected, atol=1e-4)
    np.testing.assert_allclose(decoded, expected_pictures, atol=1e-3)
    with pytest.raises(ValueError, match="both must be multiples of 2"):
        networks.init(network, jax.random.key(0), X[:, :6])
    with pytest.raises(ValueError, match="latent_mean and latent_variance"):
        networks.init(network.clone(scale=2.0), jax.random.key(0), X)
