"""What an evaluation leaves beside its results: each network in a file that may be committed."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from experiments.diffusion import captioned_emoji, encoded_captions, scenes
from experiments.diffusion.text_to_image import sets, train
from gendiff.commands.images.image_coding import Coder
from gendiff.commands.text_to_image import networks, published, texts
from gendiff.commands.text_to_image.config import Config
from gendiff.core.types import Params
from gendiff.data import emoji
from gendiff.runs import training_loop
from gendiff.runs.progress import Progress
from gendiff.runs.run_folder import RunFolder

RENDERED = {
    "data": "scenes of one or two coloured shapes, rendered by this repository, and their captions",
    "licence": "Apache-2.0",
}
NAMES = {"openmoji": "OpenMoji", "noto": "Noto", "twemoji": "Twemoji", "fluent": "Fluent"}
"""What the authors of each style call it."""


def origin(config: Config, name: str) -> dict[str, str]:
    """What the network of a name has learned from, with its licences: fields of `published.About`."""
    if name != networks.EMOJI:
        return RENDERED
    styles = {NAMES[style]: emoji.STYLES[style] for style in config.drawings.styles}
    licences = [f"{style.license} ({name})" if len(styles) > 1 else style.license for name, style in styles.items()]
    return {
        "data": f"drawings of {', '.join(styles)}, their Unicode names and CLDR's keywords",
        "licence": ", ".join(licences),
        "attribution": " · ".join(style.attribution for style in styles.values()),
    }


def words(config: Config, name: str) -> frozenset[str]:
    """The words of its training captions. Those of drawings need the packages that bring them."""
    if name != networks.EMOJI:
        return scenes.words()
    captions = captioned_emoji.written(captioned_emoji.learned(config.drawings), config.drawings)
    return frozenset(word for caption in captions for word in texts.words(caption))


def shapes(config: Config, folder: RunFolder, scale: float, progress: Progress) -> None:
    """The network of scenes that reads MiniLM, of the first seed. scale: of guidance, with which precisions are
    compared.
    """
    draws, prompts = (
        sets.SceneDraws(config, networks.FROZEN, Progress(quiet=True)),
        scenes.prompts(config.prompts, held_out=True),
    )

    def draw(params: dict[str, Params]) -> np.ndarray:
        return draws("precision", params["network"], prompts, scale)

    publish(config, folder, networks.FROZEN, config.seeds[0], draw, progress)


def drawings(config: Config, folder: RunFolder, scale: float, progress: Progress) -> None:
    """The network of drawings, of its first seed, with the autoencoder. scale: of guidance, with which precisions are
    compared.
    """
    quiet, numbers = Progress(quiet=True), config.drawings
    _, normalisation = train.restore_autoencoder(config, folder)
    coder = Coder(networks.autoencoder(numbers, normalisation), numbers.together, quiet)
    encode = functools.partial(encoded_captions.frozen, progress=quiet)
    model, negative = networks.model(config, networks.EMOJI), networks.negative(config, networks.EMOJI)
    draws = train.draws(model, encode, config.sampling_steps, numbers.together, quiet, negative)
    captions = captioned_emoji.load(numbers)[0].captions[: numbers.together]

    def draw(params: dict[str, Params]) -> np.ndarray:
        return coder.decode(params["decoder"], draws("precision", params["network"], captions, scale))

    publish(config, folder, networks.EMOJI, numbers.seeds[0], draw, progress)


def publish(
    config: Config,
    folder: RunFolder,
    name: str,
    seed: int,
    draw: Callable[[dict[str, Params]], np.ndarray],
    progress: Progress,
) -> None:
    """Leave the network of a name and a seed in the run folder. draw: as for `published.write`."""
    (called,) = (model for model, network in published.MODELS.items() if network == name)
    path = folder.path / f"{called}{published.SUFFIX}"
    step = training_loop.newest_step(RunFolder(folder.path / name), seed)
    trained = train.restore_all(config, folder, name, seed)
    dtype = config.drawings.stored if name == networks.EMOJI else "float16"
    facts: dict[str, Any] = {**origin(config, name), "trained_seed": seed, "checkpoint": step}
    about = published.write(path, trained, draw, words(config, name), dtype=dtype, **facts)
    size = path.stat().st_size
    progress.line(f"{path.name}: {size / 10**6:.1f} MB, {about.dtype}")
    if size > published.LARGEST:
        progress.line(f"note: {path.name} is above {published.LARGEST / 10**6:g} MB, so it may not be committed")
