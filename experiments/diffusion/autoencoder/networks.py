"""The networks of the autoencoder experiment: what each is, where it is kept, and how it is read back and used."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.diffusion import image_training
from experiments.diffusion.autoencoder.config import Config
from experiments.diffusion.autoencoder.pictures import SIDE, SUBJECTS
from experiments.diffusion.image_model import Model
from experiments.framework import drawing, ranges, training_loop
from experiments.framework.progress import Progress
from experiments.framework.run_folder import RunFolder
from gendiff import networks
from gendiff.core.errors import ConfigError
from gendiff.core.types import Params
from gendiff.diffusion import parameterization, schedules
from gendiff.networks import Autoencoder
from gendiff.networks.autoencoder import LatentAutoencoder

EDGES, LONGER = "decoder_edges", "decoder_longer"
"""Folders of the decoders that train on: with the loss on edges, and without."""
LATENTS, PIXELS = "latents", "pixels"
"""Folders of the diffusion models."""
Parts = tuple[np.ndarray, np.ndarray]


def check(config: Config) -> None:
    """ConfigError where numbers of the configuration do not fit each other."""
    pictures = len(SUBJECTS) * config.pictures
    for name in ("autoencoders", "decoders", "latents", "pixels"):
        image_training.check(getattr(config, name), f"{name}.", images=pictures)
    for option, values in (("factors", config.factors), ("latent-channels", config.latent_channels)):
        ranges.rising(option, values)
    ranges.among("factor", config.factor, "factors", config.factors)
    ranges.among("channels", config.channels, "latent-channels", config.latent_channels)
    if levels(config.factors[-1]) > len(config.autoencoders.channels):
        given = ranges.shown(config.autoencoders.channels)
        needed = f"a factor of {config.factors[-1]} needs {levels(config.factors[-1])} of them"
        raise ConfigError(f"--autoencoders.channels {given}: {needed}, one per size")
    for name, side in (("latents", SIDE // config.factor), ("pixels", SIDE)):
        if side % 2 ** (len(getattr(config, name).channels) - 1):
            given = ranges.shown(getattr(config, name).channels)
            raise ConfigError(f"--{name}.channels {given}: {side}×{side} cannot be halved so often; give fewer")
    ranges.at_most("shown", config.shown, "samples per subject", config.samples // 2)
    ranges.at_most("shown", config.shown, "held-out", config.held_out)


def levels(factor: int) -> int:
    """Sizes of the feature maps of an autoencoder."""
    return factor.bit_length()


def autoencoder(config: Config, factor: int, channels: int) -> Autoencoder:
    """Convolutional throughout: attention at the coarsest size would be worth more to one factor than to the other."""
    sizes, blocks = config.autoencoders.channels[: levels(factor)], config.autoencoders.blocks
    return Autoencoder(channels=sizes, blocks=blocks, latent_channels=channels, groups=8, attention=False)


@functools.lru_cache
def init(network: Autoencoder) -> Callable[[jax.Array], Params]:
    """Key -> parameters; one object per network, so that its seeds share a compiled start."""
    return lambda key: networks.init(network, key, jnp.zeros((1, SIDE, SIDE, 3)))


def name(factor: int, channels: int) -> str:
    """The folder of an autoencoder."""
    return f"f{factor}_c{channels}"


def restore(config: Config, folder: RunFolder, factor: int, channels: int, seed: int) -> Params:
    """The averaged parameters of an autoencoder."""
    place, start = image_training.inside(folder, name(factor, channels)), init(autoencoder(config, factor, channels))
    return training_loop.restore_ema(start, place, seed=seed, decay=config.autoencoders.ema)


def restore_decoder(config: Config, folder: RunFolder, of: str, seed: int, params: Params) -> Params:
    """The parameters of the chosen autoencoder `params` with the decoder that trained on, EDGES or LONGER."""
    place = image_training.inside(folder, of)
    decoder = training_loop.restore_ema(lambda key: params["decoder"], place, seed=seed, decay=config.decoders.ema)
    return {**params, "decoder": decoder}


def latent_model(config: Config) -> Model:
    """The diffusion model of the chosen autoencoder's latents."""
    side = SIDE // config.factor
    return _unet(config.latents, (side, side, config.channels))


def pixel_model(config: Config) -> Model:
    """The diffusion model of the pictures themselves."""
    return _unet(config.pixels, (SIDE, SIDE, 3))


def _unet(learning: image_training.Learning, shape: tuple[int, int, int]) -> Model:
    fields: dict[str, Any] = {"shape": shape, "num_classes": len(SUBJECTS), "levels": None}
    return image_training.unet(learning, schedules.flow(), parameterization.flow(), **fields)


@functools.lru_cache
def _halves(network: LatentAutoencoder) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Encode and decode, compiled once per network in this process."""
    encode, decode = (networks.pure(network, half) for half in ("encode", "decode"))

    def encoded(params: Params, images: jax.Array) -> tuple[jax.Array, jax.Array]:
        gaussian = encode(params, images)
        return gaussian.mode(), gaussian.kl()

    return drawing.jit(encoded), drawing.jit(decode)


class Coder:
    """The halves of one autoencoder, for any of its parameters."""

    def __init__(self, network: LatentAutoencoder, together: int, progress: Progress) -> None:
        self.network = network
        self._together, self._progress = together, progress
        self._encode, self._decode = _halves(network)

    def encode(self, params: Params, images: np.ndarray) -> Parts:
        """The most likely latents (n, h, w, c), and the nats (n,) of the divergence from N(0, 1)."""
        return self._whole("encode", functools.partial(self._encode, params), images)

    def decode(self, params: Params, latents: np.ndarray) -> np.ndarray:
        """Pictures (n, SIDE, SIDE, 3), clipped to [-1, 1] as a screen would."""
        return np.clip(self._whole("decode", functools.partial(self._decode, params), latents), -1, 1)

    def _whole(self, title: str, half: Callable[[Any], Any], values: np.ndarray) -> Any:
        return drawing.whole(half, values, together=self._together, title=title, progress=self._progress)


def normalized(config: Config, params: Params, images: np.ndarray, progress: Progress) -> tuple[Coder, np.ndarray]:
    """The chosen autoencoder with latents of mean 0 and variance 1 over the training pictures, and their latents."""
    network = autoencoder(config, config.factor, config.channels)
    latents, _ = Coder(network, config.together, progress).encode(params, images)
    coder = Coder(networks.autoencoder.normalized(network, latents), config.together, progress)
    return coder, coder.encode(params, images)[0]
