"""The `sample` command of text-to-image: pictures of a prompt by a network of a run."""

import dataclasses
from collections.abc import Collection
from typing import Annotated

import tyro

from gendiff.commands.text_to_image import networks, trained
from gendiff.commands.text_to_image.config import Config
from gendiff.commands.text_to_image.model_files import origins, published
from gendiff.commands.text_to_image.prompting import prompt_options, prompted
from gendiff.commands.text_to_image.prompting.prompt_options import PromptOptions
from gendiff.core.errors import ConfigError
from gendiff.runs import training_loop
from gendiff.runs.progress import Progress
from gendiff.runs.registry import SampleCommand
from gendiff.runs.run_folder import RunFolder

NETWORKS = {"shapes": networks.FROZEN, "scratch": networks.SCRATCH, "emoji": networks.EMOJI}
"""What the networks of a run are called, and which each is."""


@dataclasses.dataclass(frozen=True)
class TextOptions(PromptOptions):
    """Draw pictures of a prompt from the network of a run folder."""

    network: Annotated[str, tyro.conf.arg(help="shapes, scratch (of shapes, with an encoder from scratch), or emoji.")] = "shapes"
    trained_seed: int | None = None
    """Which of the run's training seeds; None takes the first."""


def _sample(config: Config, folder: RunFolder, options: TextOptions, progress: Progress) -> None:
    """Raises ConfigError for options that do not fit, NonFiniteError where pictures are not finite, and as `restore_ema` does."""
    out, seed = prompt_options.check(options, folder.path), _seed(config, options)
    name = NETWORKS[options.network]
    place = dataclasses.replace(folder, path=folder.path / name)
    about = {"trained_seed": seed, "checkpoint": training_loop.newest_step(place, seed)}
    given = trained.from_run(config, folder, name, seed)
    prompted.draw(given, _words(config, folder, name), options, out, about, progress)


COMMAND = SampleCommand(TextOptions, _sample)


def _words(config: Config, folder: RunFolder, name: str) -> Collection[str]:
    """Of the training captions, as the evaluation has written them if it has: gathering those of drawings takes long."""
    for called, network in published.MODELS.items():
        file = folder.path / f"{called}{published.SUFFIX}"
        if network == name and file.is_file():
            return frozenset(published.read_about(file).words)
    return origins.words(config, name)


def _seed(config: Config, options: TextOptions) -> int:
    """Of the training."""
    if options.network not in NETWORKS:
        raise ConfigError(f"--network {options.network} is none of {', '.join(NETWORKS)}")
    seeds = {"shapes": config.seeds, "scratch": config.seeds[:1], "emoji": config.drawings.seeds}[options.network]
    seed = seeds[0] if options.trained_seed is None else options.trained_seed
    if seed not in seeds:
        raise ConfigError(f"--trained-seed {seed} was not trained with --network {options.network}: there are {', '.join(map(str, seeds))}")
    return seed
