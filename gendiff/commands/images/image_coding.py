"""Autoencoders of images that experiments train themselves: the network, its training, and its halves for many
pictures.
"""

import functools
from collections.abc import Callable
from typing import Annotated, Literal, TypeAlias

import jax
import jax.numpy as jnp
import msgspec
import numpy as np

from gendiff import networks
from gendiff.commands.images import image_features, image_training
from gendiff.commands.images.image_training import Learning
from gendiff.core.errors import ConfigError
from gendiff.core.types import Loss, Params, PyTree
from gendiff.diffusion import latent
from gendiff.diffusion.types import Batch
from gendiff.networks import Autoencoder
from gendiff.networks.images.autoencoder import LatentAutoencoder
from gendiff.runs import devices, drawing, ranges, training_loop
from gendiff.runs.progress import Progress
from gendiff.runs.run_folder import RunFolder

Parts = tuple[np.ndarray, np.ndarray]
Factor: TypeAlias = Literal[2, 4, 8]
"""How many times smaller than a picture its latent is, in each direction."""
LatentChannels: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=64)]


def check(option: str, learning: Learning, factor: int) -> None:
    """ConfigError where the numbers of a training have too few channels for a factor of downsampling."""
    if levels(factor) > len(learning.channels):
        needed = f"a factor of {factor} needs {levels(factor)} of them"
        raise ConfigError(f"--{option}.channels {ranges.as_typed(learning.channels)}: {needed}, one per size")


def levels(factor: int) -> int:
    """Sizes of the feature maps of an autoencoder."""
    return factor.bit_length()


def network(learning: Learning, factor: int, channels: int) -> Autoencoder:
    """Convolutional throughout: attention at the coarsest size would be worth more to one factor than to the other."""
    sizes = learning.channels[: levels(factor)]
    return Autoencoder(channels=sizes, blocks=learning.blocks, latent_channels=channels, groups=8, attention=False)


@functools.lru_cache
def init(coder: Autoencoder) -> Callable[[jax.Array], Params]:
    """Key -> parameters; one object per network, so that its seeds share a compiled start."""
    return lambda key: networks.init(coder, key, jnp.zeros((1, coder.factor, coder.factor, coder.in_channels)))


def train(
    learning: Learning,
    coder: Autoencoder,
    images: np.ndarray,
    folder: RunFolder,
    progress: Progress,
    *,
    seed: int,
    kl_weight: float,
    perceptual_weight: float = 0.0,
) -> None:
    """Train an autoencoder on images (n, h, w, 3) in [-1, 1], from where the folder's training stands."""
    fit(
        learning,
        autoencoding(coder, kl_weight, perceptual_weight),
        init(coder),
        Batch(clean=images),
        seed,
        folder,
        progress,
    )


def autoencoding(coder: Autoencoder, kl_weight: float, perceptual_weight: float = 0.0) -> Loss:
    """Mean absolute difference of pixels, the divergence, and the distance in the map of `image_features.maps` where
    it has a weight. ConfigError as that raises.
    """
    halves = (networks.pure(coder, half) for half in ("encode", "decode"))
    maps = image_features.maps() if perceptual_weight else None
    bottleneck = latent.gaussian_bottleneck(*halves, weight=kl_weight)
    return latent.autoencoding(bottleneck, maps=maps, perceptual_weight=perceptual_weight)


def fit(
    learning: Learning,
    loss: Loss,
    start: Callable[[jax.Array], Params],
    data: Batch,
    seed: int,
    folder: RunFolder,
    progress: Progress,
) -> None:
    """Train by any loss with the numbers of a training. start: key -> parameters."""
    program = training_loop.compile_loss(loss, image_training.optimizer(learning), start, folder, ema=(learning.ema,))
    run = functools.partial(
        training_loop.train, checkpoint_every=learning.checkpoint_every, log_every=learning.log_every
    )
    run(program, data, seed=seed, steps=learning.train_steps, batch=learning.batch, folder=folder, progress=progress)


def restore(learning: Learning, coder: Autoencoder, folder: RunFolder, seed: int) -> Params:
    """The averaged parameters of a trained autoencoder."""
    return training_loop.restore_ema(init(coder), folder, seed=seed, decay=learning.ema)


@functools.lru_cache
def _halves(coder: LatentAutoencoder) -> tuple[Callable[..., tuple[jax.Array, jax.Array]], Callable[..., jax.Array]]:
    """Encode and decode, compiled once per network in this process."""
    encode, decode = (networks.pure(coder, half) for half in ("encode", "decode"))

    def encoded(params: Params, images: jax.Array) -> tuple[jax.Array, jax.Array]:
        gaussian = encode(params, images)
        return gaussian.mode(), gaussian.kl()

    return devices.jit(encoded), devices.jit(decode)


class Coder:
    """The halves of one autoencoder, for any of its parameters. together: pictures that are coded in one call."""

    def __init__(self, network: LatentAutoencoder, together: int, progress: Progress) -> None:
        self.network = network
        self._together, self._progress = together, progress
        self._encode, self._decode = _halves(network)

    def encode(self, params: Params, images: np.ndarray) -> Parts:
        """The most likely latents (n, h, w, c), and the nats (n,) of the divergence from N(0, 1)."""
        parts: Parts = self._coded("encode", functools.partial(self._encode, params), images)
        return parts

    def decode(self, params: Params, latents: np.ndarray) -> np.ndarray:
        """Pictures (n, h, w, 3), clipped to [-1, 1] as a screen would."""
        pictures = self._coded("decode", functools.partial(self._decode, params), latents)
        clipped: np.ndarray = np.clip(pictures, -1, 1)
        return clipped

    def _coded(self, title: str, half: Callable[[np.ndarray], PyTree], values: np.ndarray) -> PyTree:
        return drawing.draw_all(half, values, together=self._together, title=title, progress=self._progress)


def normalized(
    coder: LatentAutoencoder, params: Params, images: np.ndarray, together: int, progress: Progress
) -> tuple[Coder, np.ndarray]:
    """The autoencoder with latents of mean 0 and variance 1 over the training pictures, and their latents."""
    latents, _ = Coder(coder, together, progress).encode(params, images)
    unit = Coder(networks.autoencoder.normalized(coder, latents), together, progress)
    return unit, unit.encode(params, images)[0]


def spread(coder: LatentAutoencoder, params: Params, images: np.ndarray) -> float:
    """The root mean square of the standard deviation of latents, by what the encoder says of it."""
    encode = networks.pure(coder, "encode")
    std = jax.jit(lambda params, x: encode(params, x).std())(params, images)
    return float(np.sqrt(np.mean(np.square(np.asarray(std)))))
