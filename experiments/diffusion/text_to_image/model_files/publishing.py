"""What an evaluation leaves beside its results: each network in a file that may be committed."""

import functools
from collections.abc import Callable

import numpy as np

from experiments.diffusion.text_to_image import sets
from gendiff.commands.text_to_image import networks, scenes, texts, trained
from gendiff.commands.text_to_image.config import Config
from gendiff.commands.text_to_image.drawings import latents, pictures
from gendiff.commands.text_to_image.draws import Draws
from gendiff.commands.text_to_image.model_files import origins, published
from gendiff.core.types import Params
from gendiff.runs import training_loop
from gendiff.runs.progress import Progress
from gendiff.runs.run_folder import RunFolder


def shapes(config: Config, folder: RunFolder, scale: float, progress: Progress) -> None:
    """The network of scenes that reads MiniLM, of the first seed. scale: of guidance, with which precisions are compared."""
    draws, prompts = sets.SceneDraws(config, networks.FROZEN, Progress(quiet=True)), scenes.prompts(config.prompts, held_out=True)

    def draw(params: dict[str, Params]) -> np.ndarray:
        return draws("precision", params["network"], prompts, scale)

    publish(config, folder, networks.FROZEN, config.seeds[0], draw, progress)


def drawings(config: Config, folder: RunFolder, scale: float, progress: Progress) -> None:
    """The network of drawings, of its first seed, with the autoencoder. scale: of guidance, with which precisions are compared."""
    quiet, numbers = Progress(quiet=True), config.drawings
    _, normalisation = latents.restore_autoencoder(config, folder)
    coder, encode = latents.coder(config, normalisation, quiet), functools.partial(texts.frozen, progress=quiet)
    draws = Draws(latents.model(config), encode, config.sampling_steps, numbers.together, quiet)
    captions = pictures.load(numbers)[0].captions[: numbers.together]

    def draw(params: dict[str, Params]) -> np.ndarray:
        return coder.decode(params["decoder"], draws("precision", params["network"], captions, scale))

    publish(config, folder, networks.EMOJI, numbers.seeds[0], draw, progress)


def publish(
    config: Config, folder: RunFolder, name: str, seed: int, draw: Callable[[dict[str, Params]], np.ndarray], progress: Progress
) -> None:
    """Leave the network of a name and a seed in the run folder. draw: as for `published.write`."""
    (called,) = (model for model, network in published.MODELS.items() if network == name)
    path = folder.path / f"{called}{published.SUFFIX}"
    step = training_loop.newest_step(RunFolder(folder.path / name), seed)
    given, words = trained.from_run(config, folder, name, seed), origins.words(config, name)
    about = published.write(path, given, draw, origins.origin(name), words, trained_seed=seed, checkpoint=step)
    size = path.stat().st_size
    progress.line(f"{path.name}: {size / 10**6:.1f} MB, {about.dtype}")
    if size > published.LARGEST:
        progress.line(f"note: {path.name} is above {published.LARGEST / 10**6:g} MB, so it may not be committed")
