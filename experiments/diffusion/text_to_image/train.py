"""The trainings of the text-to-image experiment, each of which goes on where it was; and what they leave, read back."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from experiments.diffusion import captioned_emoji, encoded_captions, image_draws, scenes
from experiments.diffusion.encoded_captions import Encoded
from gendiff.commands.images import image_coding, image_model, image_training
from gendiff.commands.images.image_model import Model
from gendiff.commands.images.image_training import Learning
from gendiff.commands.text_to_image import networks, texts
from gendiff.commands.text_to_image.config import Config
from gendiff.commands.text_to_image.networks import EMOJI, FROZEN, SCRATCH, SHUFFLED, Normalisation, Trained
from gendiff.core.types import Params
from gendiff.data import batches
from gendiff.diffusion.types import Batch
from gendiff.networks import NO_TEXT
from gendiff.runs.progress import Progress
from gendiff.runs.reporting import json_files
from gendiff.runs.run_folder import RunFolder

AUTOENCODER = "emoji_autoencoder"
"""Folder of the autoencoder."""
NORMALISATION = "normalisation.json"


def train(config: Config, folder: RunFolder, progress: Progress) -> None:
    """The networks of drawings, which the `text-to-image` command draws from, then those of scenes."""
    _train_emoji(config, folder, progress)
    _train_scenes(config, folder, progress)


def encoded(name: str, captions: Sequence[str], progress: Progress) -> Encoded:
    """Captions as the network of a folder reads them."""
    return encoded_captions.ids(captions) if name == SCRATCH else encoded_captions.frozen(captions, progress)


def restore(config: Config, folder: RunFolder, name: str, seed: int, step: int | None = None) -> Params:
    """The averaged parameters of the network of a name. Takes and raises what `training_loop.restore_ema` does."""
    return image_training.averaged(networks.model(config, name), folder.inside(name), seed, step)


def restore_autoencoder(config: Config, folder: RunFolder) -> tuple[Params, Normalisation]:
    """The averaged parameters of the autoencoder, and what normalises its latents."""
    drawings, inner = config.drawings, folder.inside(AUTOENCODER)
    params = image_coding.restore(drawings.autoencoder, networks.autoencoder(drawings), inner, drawings.seeds[0])
    return params, json_files.read(inner.path / NORMALISATION, Normalisation)


def restore_all(config: Config, folder: RunFolder, name: str, seed: int, step: int | None = None) -> Trained:
    """A network of a run with all that drawing needs. Takes and raises what `restore` does."""
    params: Any = restore(config, folder, name, seed, step)
    if name == EMOJI:
        decoder, normalisation = restore_autoencoder(config, folder)
        return Trained(config, name, {"text": texts.params(), "network": params, "decoder": decoder}, normalisation)
    return Trained(config, name, params if name == SCRATCH else {"text": texts.params(), "network": params})


def draws(
    model: Model,
    read: Callable[[tuple[str, ...]], Encoded],
    steps: int,
    together: int,
    progress: Progress,
    negative: str = "",
) -> Callable[..., np.ndarray]:
    """(title, params, captions, scale, steps) -> (n, h, w, c) pictures or latents of one network, not clipped.

    One compiled program serves every scale, number of steps, caption and parameters. Picture i starts from the same
    noise whatever else differs. read: captions as the network reads them. steps: most steps, and how many are taken
    unless a call says otherwise. together: pictures per call of the program. negative: the text that guidance leads
    away from; "" leads away from no text. A call raises NonFiniteError with the indices of those that are not finite.
    """

    def draw(title: str, params: Params, captions: Sequence[str], scale: float, taken: int | None = None) -> np.ndarray:
        words, count = read(tuple(captions)).rows(np.arange(len(captions))), len(captions)
        away = read((negative,)).rows(np.zeros(count, int)) if negative else None
        options: dict[str, Any] = {"scale": scale, "rule": image_draws.classifier_free, "steps": taken}
        each = image_draws.Draws(model, steps, together, progress, absent=None if negative else NO_TEXT)
        condition = (words, away) if negative else words
        return each(f"{title}, scale {scale:g}", params, count, condition=condition, **options)

    return draw


def _train_emoji(config: Config, folder: RunFolder, progress: Progress) -> None:
    """The autoencoder with the first seed, then the network of its latents with each."""
    drawings = config.drawings
    training = captioned_emoji.learned(drawings)
    inner, first = folder.inside(AUTOENCODER), drawings.seeds[0]
    progress.line(f"train an autoencoder of {len(training)} drawings")
    network = networks.autoencoder(drawings)
    weights = {"kl_weight": drawings.kl_weight, "perceptual_weight": drawings.perceptual_weight}
    image_coding.train(drawings.autoencoder, network, training.images, inner, progress, seed=first, **weights)
    params = image_coding.restore(drawings.autoencoder, network, inner, first)
    coder, latents = image_coding.normalized(network, params, training.images, drawings.together, progress)
    spread = image_coding.spread(coder.network, params, training.images[: drawings.together])
    scale, shift = (float(np.asarray(number)) for number in (coder.network.scale, coder.network.shift))
    json_files.write(inner.path / NORMALISATION, Normalisation(scale, shift, spread))
    read = encoded_captions.frozen(captioned_emoji.written(training, drawings), progress)
    for seed in drawings.seeds:
        progress.line(f"train the network of latents, seed {seed}")
        _fit(networks.model(config, EMOJI), drawings.latents, latents, read, seed, folder.inside(EMOJI), progress)


def _train_scenes(config: Config, folder: RunFolder, progress: Progress) -> None:
    """With every seed a network that reads MiniLM; with the first one that learns its encoder, and one from shuffled
    captions.
    """
    images, captions = scenes.training(config.scenes)
    progress.line(f"{len(images)} scenes")
    frozen, first = encoded_captions.frozen(captions, progress), config.seeds[:1]
    steps = min(config.shuffled_steps, config.shapes.train_steps)
    shorter = dataclasses.replace(config.shapes, train_steps=steps, warmup=min(config.shapes.warmup, steps - 1))
    for name, learning, seeds, read in (
        (FROZEN, config.shapes, config.seeds, frozen),
        (SCRATCH, config.shapes, first, encoded_captions.ids(captions)),
        (SHUFFLED, shorter, first, frozen.shuffled(first[0])),
    ):
        progress.line(f"train {name or 'with the frozen encoder'}")
        for seed in seeds:
            _fit(networks.model(config, name), learning, images, read, seed, folder.inside(name), progress)


def _fit(
    model: Model, learning: Learning, clean: np.ndarray, read: Encoded, seed: int, folder: RunFolder, progress: Progress
) -> None:
    """Train a network on pictures or latents (n, h, w, c) with their texts. read: of n texts, or of 2n, which are two
    of each in turn.
    """
    data = functools.partial(_batch, clean, read, learning.batch, seed)
    loss = image_model.loss(model, learning.drop_condition, NO_TEXT)
    image_training.train(learning, model, data, folder, progress, seeds=[seed], loss=loss, batch=None)


def _batch(clean: np.ndarray, read: Encoded, count: int, seed: int, step: int) -> Batch:
    texts_of_each = len(read.row) // len(clean)
    rows = batches.batch_at(len(read.row), count, seed, step)
    return Batch(clean=clean[rows // texts_of_each], condition=(read.rows(rows),))
