"""The networks of the text-to-image experiment: what each reads, where it is kept, and how it is trained and read back."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gendiff import networks
from gendiff.commands.images import image_training
from gendiff.commands.images.image_model import Model
from gendiff.commands.images.image_training import Learning
from gendiff.commands.text_to_image import scenes, texts
from gendiff.commands.text_to_image.config import Config
from gendiff.commands.text_to_image.texts import Encoded
from gendiff.core.types import Params
from gendiff.data import batches
from gendiff.diffusion import parameterization, schedules
from gendiff.diffusion.types import Batch
from gendiff.networks import dit
from gendiff.runs.progress import Progress
from gendiff.runs.run_folder import RunFolder

FROZEN, SCRATCH, SHUFFLED, EMOJI = "", "scratch", "shuffled", "emoji"
"""Folders of networks within the run's: those of scenes, the first of which are in the run's own, and those of drawings."""
SHAPE = (scenes.SIDE, scenes.SIDE, 3)
FOLD = 2


@dataclasses.dataclass(frozen=True)
class Folded:
    """A network of images that sees squares of 2×2 pixels as channels: a quarter of the cost, at the resolution of its first level."""

    predict: Callable[..., Any]

    def __call__(self, params: Params, x: Any, t: Any, *condition: Any) -> Any:
        """(b, h, w, c) -> (b, h, w, c), both even; with `DeepFeatures` the network answers them too, and so does this."""
        rows, columns = x.shape[1] // FOLD, x.shape[2] // FOLD
        squares = dit.patches(jnp.asarray(x), FOLD)
        answer = self.predict(params, squares.reshape(x.shape[0], rows, columns, squares.shape[-1]), t, *condition)
        output, *kept = answer if isinstance(answer, tuple) else (answer,)
        image = dit.image(output.reshape(squares.shape), rows, columns, FOLD)
        return (image, *kept) if kept else image


@dataclasses.dataclass(frozen=True)
class WithEncoder:
    """A network and the encoder of its texts, trained together. params: {"text", "network"}; the condition is {"ids", "mask"}."""

    encoder: Callable[..., Any]
    predict: Callable[..., Any]

    def __call__(self, params: Params, x: Any, t: Any, words: dict[str, Any]) -> jax.Array:
        """(b, h, w, c) -> (b, h, w, c)."""
        return self.predict(params["network"], x, t, self.encode(params["text"], words["ids"], words["mask"]))

    def encode(self, params: Params, ids: Any, mask: Any) -> networks.Text:
        """The tokens of the texts, without their mean, which is NaN for a text that is dropped."""
        return networks.Text(self.encoder(params, ids, mask).tokens, mask)


def model(config: Config, name: str = FROZEN, **options: Any) -> Model:
    """The network of scenes in a folder, which learns the flow. options: of `unet`."""
    width, own = (config.scratch_width, encoder(config)) if name == SCRATCH else (texts.WIDTH, None)
    return unet(config.shapes, config.reading, SHAPE, width, own, **options)


def unet(
    learning: Learning,
    reading: str,
    shape: tuple[int, int, int],
    width: int,
    encoder: networks.TextEncoder | None = None,
    *,
    pooled: bool = False,
    convolution: str = "direct",
    second_time: bool = False,
) -> Model:
    """A folded U-Net of one shape that reads tokens of so many channels, of MiniLM or of an encoder of its own.

    pooled: MiniLM's encoding of the whole text joins the time. convolution, second_time: as for `image_training.unet`.
    """
    return _model(learning.channels, learning.blocks, reading, learning.ema, shape, width, encoder, pooled, convolution, second_time)


def encoder(config: Config) -> networks.TextEncoder:
    """The small one that is trained from scratch."""
    fields: dict[str, Any] = {"vocabulary": texts.VOCABULARY, "positions": texts.LENGTH, "causal": False, "pooling": "mean"}
    return networks.TextEncoder(width=config.scratch_width, depth=config.scratch_depth, heads=2, **fields)


def encoded(name: str, captions: Sequence[str], progress: Progress) -> Encoded:
    """Captions as the network of a folder reads them."""
    return texts.ids(captions) if name == SCRATCH else texts.frozen(captions, progress)


def train(config: Config, folder: RunFolder, progress: Progress) -> None:
    """With every seed a network that reads MiniLM; with the first one that learns its encoder, and one from shuffled captions."""
    images, captions = scenes.training(config.scenes)
    progress.line(f"{len(images)} scenes")
    frozen, first = texts.frozen(captions, progress), config.seeds[:1]
    for name, seeds, read in (
        (FROZEN, config.seeds, frozen),
        (SCRATCH, first, texts.ids(captions)),
        (SHUFFLED, first, frozen.shuffled(first[0])),
    ):
        progress.line(f"train {name or 'with the frozen encoder'}")
        of = model(config, name), _learning(config, name), images, read
        for seed in seeds:
            fit(*of, seed, folder.inside(name), progress)


def fit(model: Model, learning: Learning, clean: np.ndarray, read: Encoded, seed: int, folder: RunFolder, progress: Progress) -> None:
    """Train a network on pictures or latents (n, h, w, c) with their texts. read: of n texts, or of 2n, which are two of each in turn."""
    data = functools.partial(_batch, clean, read, learning.batch, seed)
    loss = image_training.loss(model, learning.drop_condition, networks.NO_TEXT)
    image_training.train(learning, model, data, folder, progress, seeds=[seed], loss=loss, batch=None)


def restore(config: Config, folder: RunFolder, name: str, seed: int) -> Params:
    """The averaged parameters of one network of the folder `name`."""
    return image_training.averaged(model(config, name), folder.inside(name), seed)


def _learning(config: Config, name: str) -> Learning:
    if name != SHUFFLED:
        return config.shapes
    steps = min(config.shuffled_steps, config.shapes.train_steps)
    return dataclasses.replace(config.shapes, train_steps=steps, warmup=min(config.shapes.warmup, steps - 1))


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
    levels = (len(channels) - 1,) if reading == "coarsest" else ()
    fields: dict[str, Any] = {"attention": (), "attention_levels": levels, "heads": 2, "groups": 8, "text_channels": width}
    fields |= {"pooled_channels": width if pooled else None, "convolution": convolution, "second_time": second_time}
    network = networks.UNet(channels=channels, blocks=blocks, **fields)
    inner = networks.pure(network)
    folded = (1, shape[0] // FOLD, shape[1] // FOLD, FOLD * FOLD * shape[2])
    words = np.zeros((1, texts.LENGTH), np.int32)
    text = networks.Text(np.zeros((1, texts.LENGTH, width), np.float32), words > -1, np.zeros((1, width), np.float32))
    told = (text, networks.SecondTime(np.zeros(1, np.float32))) if second_time else (text,)

    def init(key: jax.Array) -> Params:
        own, other = jax.random.split(key)
        params = networks.init(network, own, np.zeros(folded, np.float32), np.zeros(1, np.float32), *told)
        return params if encoder is None else {"text": networks.init(encoder, other, words), "network": params}

    predict: Any = Folded(inner) if encoder is None else WithEncoder(networks.pure(encoder), Folded(inner))
    return Model(predict, init, schedules.flow(), parameterization.flow(), shape, ema=ema)


def _batch(clean: np.ndarray, read: Encoded, count: int, seed: int, step: int) -> Batch:
    texts_of_each = len(read.row) // len(clean)
    rows = batches.batch_at(len(read.row), count, seed, step)
    return Batch(clean=clean[rows // texts_of_each], condition=(read.rows(rows),))
