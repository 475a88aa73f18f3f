"""A trained network of the text-to-image experiment with all that drawing from it needs, wherever it was kept."""

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from gendiff import networks as library
from gendiff.commands.images.image_model import Model
from gendiff.commands.text_to_image import networks, texts
from gendiff.commands.text_to_image.config import Config
from gendiff.commands.text_to_image.drawings import latents
from gendiff.commands.text_to_image.drawings.latents import Normalisation
from gendiff.core.types import Params
from gendiff.diffusion.sampling import Sampler
from gendiff.networks import Autoencoder
from gendiff.pipelines import TextToImage
from gendiff.runs.run_folder import RunFolder


@dataclasses.dataclass(frozen=True, eq=False)
class Trained:
    """One network. config, name: which of the experiment's it is.

    params: {"text", "network"}, as `TextToImage` takes them, and for a network of latents "decoder", the whole autoencoder.
    normalisation: of the latents; None where the network draws pixels.
    """

    config: Config
    name: str
    params: dict[str, Params]
    normalisation: Normalisation | None = None

    @property
    def model(self) -> Model:
        """The network without its parameters."""
        return self.model_of()

    def model_of(self, **options: Any) -> Model:
        """The same with options of `networks.unet`."""
        of = self.config
        return latents.model(of, **options) if self.name == networks.EMOJI else networks.model(of, self.name, **options)

    @property
    def autoencoder(self) -> Autoencoder | None:
        """Of the latents; None where the network draws pixels."""
        return None if self.normalisation is None else latents.autoencoder(self.config.drawings, self.normalisation)

    def init_autoencoder(self, key: jax.Array) -> Params:
        """Parameters of the autoencoder, as before its training."""
        coder = self.autoencoder
        if coder is None:
            raise ValueError(f"the network {self.name!r} draws pixels and has no autoencoder")
        rows, columns, _ = self.model.shape
        return library.init(coder, key, np.zeros((1, rows * coder.factor, columns * coder.factor, coder.in_channels), np.float32))

    @property
    def side(self) -> int:
        """Pixels of a side of its pictures, which are square."""
        return self.model.shape[0] * (1 if self.autoencoder is None else self.autoencoder.factor)

    @property
    def resolution(self) -> float | None:
        """Of `grids.resolved`: between two of 256 values of a pixel, or by the noise of latents; None where that is not known."""
        if self.normalisation is None:
            return 2 / 255
        return None if self.normalisation.spread is None else math.sqrt(12) * self.normalisation.spread

    def latents(self, pictures: np.ndarray) -> np.ndarray:
        """Pictures (b, h, w, 3) in [-1, 1] as what the network draws: their most likely latents, or the pictures themselves."""
        coder = self.autoencoder
        if coder is None:
            return pictures
        encode = library.pure(coder, "encode")
        return np.asarray(jax.jit(lambda params, x: encode(params, x).mode())(self.params["decoder"], pictures))

    def pipeline(self, sampler: Sampler) -> TextToImage:
        """From prompts to pictures."""
        model, predict, coder = self.model, self.model.predict, self.autoencoder
        if isinstance(predict, networks.WithEncoder):
            return TextToImage(predict.encode, predict.predict, model.parameterization, sampler, model.shape)
        decode = None if coder is None else decoder(coder)
        return TextToImage(library.pure(texts.ENCODER), predict, model.parameterization, sampler, model.shape, decode)


@functools.lru_cache
def decoder(coder: Autoencoder) -> Callable[[Params, Any], jax.Array]:
    """Latents to pictures, of which each corner is the pixel diagonally inside of it. One function per network: programs are shared.

    Past a corner the convolutions see zeros on two sides, and four pixels of a picture weigh too little in training for that to be learned:
    the decoder tints them, and them alone. It has learned the zeros past the edges, so a latent with a margin would spoil every edge.
    """
    decode = library.pure(coder, "decode")

    def decoded(params: Params, latents: Any) -> jax.Array:
        pictures, inside = decode(params, latents), {0: 1, -1: -2}
        for row, column in itertools.product(inside, repeat=2):
            pictures = pictures.at[:, row, column].set(pictures[:, inside[row], inside[column]])
        return pictures

    return decoded


def from_run(config: Config, folder: RunFolder, name: str, seed: int) -> Trained:
    """The averaged parameters of a run's network. Raises as `training_loop.restore_ema` does."""
    if name == networks.EMOJI:
        params, normalisation = latents.restore_autoencoder(config, folder)
        parts = {"text": texts.params(), "network": latents.restore(config, folder, seed), "decoder": params}
        return Trained(config, name, parts, normalisation)
    restored: Any = networks.restore(config, folder, name, seed)
    return Trained(config, name, restored if name == networks.SCRATCH else {"text": texts.params(), "network": restored})
