"""The networks of text to image: U-Nets of scenes of shapes and of the latents of emoji, and a trained one with all
that drawing needs.
"""

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np

from gendiff import networks
from gendiff.commands.images import image_coding
from gendiff.commands.images.image_model import Model
from gendiff.commands.text_to_image import texts
from gendiff.commands.text_to_image.config import Config, Drawings
from gendiff.core.types import ArrayLike, Condition, Params, PyTree
from gendiff.data import emoji_names
from gendiff.diffusion import parameterization, schedules
from gendiff.diffusion.sampling import Sampler
from gendiff.diffusion.types import Predict
from gendiff.networks import Autoencoder, dit
from gendiff.pipelines import TextToImage

FROZEN, SCRATCH, SHUFFLED, EMOJI = "", "scratch", "shuffled", "emoji"
"""Networks by the folders of a run that hold them: three of scenes, the first of which is in the run's own folder, and
that of emoji.
"""
SHAPE = (32, 32, 3)
"""Of a picture of a scene."""
SIDE = 64
"""Pixels of a side of an emoji."""
FACTOR = 4
"""How many times smaller than an emoji its latent is."""
FOLD = 2


@dataclasses.dataclass(frozen=True)
class Folded:
    """A network of images that sees squares of 2×2 pixels as channels: a quarter of the cost, at the resolution of its
    first level.
    """

    predict: Callable[..., PyTree]

    def __call__(self, params: Params, x: ArrayLike, t: ArrayLike, *condition: Condition) -> PyTree:
        """(b, h, w, c) -> (b, h, w, c), both even; with `DeepFeatures` the network answers them too, and so does
        this.
        """
        rows, columns = x.shape[1] // FOLD, x.shape[2] // FOLD
        squares = dit.patches(jnp.asarray(x), FOLD)
        answer = self.predict(params, squares.reshape(x.shape[0], rows, columns, squares.shape[-1]), t, *condition)
        output, *features = answer if isinstance(answer, tuple) else (answer,)
        image = dit.image(output.reshape(squares.shape), rows, columns, FOLD)
        return (image, *features) if features else image


@dataclasses.dataclass(frozen=True)
class WithEncoder:
    """A network and the encoder of its texts, trained together. params: {"text", "network"}; the condition is {"ids",
    "mask"}.
    """

    encoder: Callable[..., networks.Text]
    predict: Predict

    def __call__(self, params: Params, x: ArrayLike, t: ArrayLike, words: Mapping[str, ArrayLike]) -> jax.Array:
        """(b, h, w, c) -> (b, h, w, c)."""
        return self.predict(params["network"], x, t, self.encode(params["text"], words["ids"], words["mask"]))

    def encode(self, params: Params, ids: ArrayLike, mask: ArrayLike) -> networks.Text:
        """The tokens of the texts, without their mean, which is NaN for a text that is dropped."""
        return networks.Text(self.encoder(params, ids, mask).tokens, mask)


@dataclasses.dataclass(frozen=True)
class Normalisation:
    """What makes latents of the training drawings of mean 0 and variance 1: (z - shift) · scale.

    spread: root mean square of the standard deviations that the encoder gives these latents; None in files from before
        it was kept.
    """

    scale: float
    shift: float
    spread: float | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Trained:
    """One trained network. config, name: which it is.

    params: {"text", "network"}, as `TextToImage` takes them, and for a network of latents "decoder", the whole
        autoencoder.
    normalisation: of the latents; None where the network draws pixels.
    """

    config: Config
    name: str
    params: dict[str, Params]
    normalisation: Normalisation | None = None

    @property
    def model(self) -> Model:
        """The network without its parameters."""
        return model(self.config, self.name)

    @property
    def negative(self) -> str:
        """The text that guidance leads away from where a person names none."""
        return negative(self.config, self.name)

    @property
    def autoencoder(self) -> Autoencoder | None:
        """Of the latents; None where the network draws pixels."""
        return None if self.normalisation is None else autoencoder(self.config.drawings, self.normalisation)

    def init_autoencoder(self, key: jax.Array) -> Params:
        """Parameters of the autoencoder, as before its training."""
        coder = self.autoencoder
        if coder is None:
            raise ValueError(f"the network {self.name!r} draws pixels and has no autoencoder")
        return networks.init(coder, key, np.zeros((1, self.side, self.side, coder.in_channels), np.float32))

    @property
    def side(self) -> int:
        """Pixels of a side of its pictures, which are square."""
        return self.model.shape[0] * (1 if self.autoencoder is None else self.autoencoder.factor)

    @property
    def resolution(self) -> float | None:
        """Of `grids.resolved`: between two of 256 values of a pixel, or by the noise of latents; None where that is not
        known.
        """
        if self.normalisation is None:
            return 2 / 255
        return None if self.normalisation.spread is None else math.sqrt(12) * self.normalisation.spread

    def latents(self, pictures: np.ndarray) -> np.ndarray:
        """Pictures (b, h, w, 3) in [-1, 1] as what the network draws: their most likely latents, or the pictures
        themselves.
        """
        coder = self.autoencoder
        if coder is None:
            return pictures
        encode = networks.pure(coder, "encode")
        return np.asarray(jax.jit(lambda params, x: encode(params, x).mode())(self.params["decoder"], pictures))

    def pipeline(self, sampler: Sampler) -> TextToImage:
        """From prompts to pictures."""
        network, predict, coder = self.model, self.model.predict, self.autoencoder
        if isinstance(predict, WithEncoder):
            return TextToImage(predict.encode, predict.predict, network.parameterization, sampler, network.shape)
        decode = None if coder is None else _decoder(coder)
        return TextToImage(
            networks.pure(texts.ENCODER), predict, network.parameterization, sampler, network.shape, decode
        )


def model(config: Config, name: str = FROZEN, *, convolution: str = "direct", second_time: bool = False) -> Model:
    """The network of a name, which learns the flow. convolution, second_time: as for `image_training.unet`."""
    learning, shape, width, encoder = config.shapes, SHAPE, texts.WIDTH, None
    if name == EMOJI:
        learning, shape = config.drawings.latents, (SIDE // FACTOR, SIDE // FACTOR, config.drawings.latent_channels)
    elif name == SCRATCH:
        width, encoder = config.scratch_width, scratch_encoder(config)
    options = (learning.ema, shape, width, encoder, name == EMOJI, convolution, second_time)
    return _model(learning.channels, learning.blocks, config.reading, *options)


def negative(config: Config, name: str) -> str:
    """The negative caption that the network of a name has learned; "" where it has learned none."""
    return emoji_names.NEGATIVE if name == EMOJI and config.drawings.captions == "varied" else ""


def scratch_encoder(config: Config) -> networks.TextEncoder:
    """The small text encoder that is trained from scratch."""
    return networks.TextEncoder(
        vocabulary=texts.VOCABULARY,
        positions=texts.LENGTH,
        width=config.scratch_width,
        depth=config.scratch_depth,
        heads=2,
        causal=False,
        pooling="mean",
    )


def autoencoder(config: Drawings, normalisation: Normalisation | None = None) -> Autoencoder:
    """Of emoji, with latents as its convolutions give them, or normalised."""
    network = image_coding.network(config.autoencoder, FACTOR, config.latent_channels)
    return network if normalisation is None else network.clone(scale=normalisation.scale, shift=normalisation.shift)


@functools.cache  # one object, so that all trainings and draws of a network share a compiled program
def _model(
    channels: tuple[int, ...],
    blocks: int,
    reading: str,
    ema: float,
    shape: tuple[int, int, int],
    width: int,
    encoder: networks.TextEncoder | None,
    pooled: bool,
    convolution: str,
    second_time: bool,
) -> Model:
    """A folded U-Net that reads tokens of `width` channels. pooled: MiniLM's encoding of the whole text joins the
    time.
    """
    network = networks.UNet(
        channels=channels,
        blocks=blocks,
        attention=(),
        attention_levels=(len(channels) - 1,) if reading == "coarsest" else (),
        heads=2,
        groups=8,
        text_channels=width,
        pooled_channels=width if pooled else None,
        convolution=convolution,
        second_time=second_time,
    )
    x = np.zeros((1, shape[0] // FOLD, shape[1] // FOLD, FOLD * FOLD * shape[2]), np.float32)
    words, one = np.zeros((1, texts.LENGTH), np.int32), np.zeros(1, np.float32)
    text = networks.Text(np.zeros((1, texts.LENGTH, width), np.float32), words > -1, np.zeros((1, width), np.float32))
    condition = (text, networks.EndTime(one)) if second_time else (text,)

    def init(key: jax.Array) -> Params:
        first, second = jax.random.split(key)
        params = networks.init(network, first, x, one, *condition)
        return params if encoder is None else {"text": networks.init(encoder, second, words), "network": params}

    folded = Folded(networks.pure(network))
    predict: Predict = folded if encoder is None else WithEncoder(networks.pure(encoder), folded)
    return Model(predict, init, schedules.flow(), parameterization.flow(), shape, ema=ema)


@functools.lru_cache
def _decoder(coder: Autoencoder) -> Callable[[Params, jax.Array], jax.Array]:
    """Latents to pictures, of which each corner is the pixel diagonally inside of it. One function per network:
    programs are shared.

    Past a corner the convolutions see zeros on two sides, and four pixels of a picture weigh too little in training for
    that to be learned soon: a decoder of few steps tints them, and them alone. It has learned the zeros past the edges,
    so a latent with a margin would spoil every edge.
    """
    decode = networks.pure(coder, "decode")

    def decoded(params: Params, latents: jax.Array) -> jax.Array:
        pictures: jax.Array = decode(params, latents)
        inside = {0: 1, -1: -2}
        for row, column in itertools.product(inside, repeat=2):
            pictures = pictures.at[:, row, column].set(pictures[:, inside[row], inside[column]])
        return pictures

    return decoded
