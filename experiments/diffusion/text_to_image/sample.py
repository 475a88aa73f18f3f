"""The `sample` command of text-to-image: pictures of a prompt by a network of a run."""

import dataclasses
from typing import Annotated

import tyro

from experiments.diffusion.text_to_image import publishing, train
from gendiff.commands.drawing_options import RunOptions
from gendiff.commands.text_to_image import drawing, networks, options, published, texts
from gendiff.commands.text_to_image.config import Config
from gendiff.commands.text_to_image.options import PromptOptions
from gendiff.core.errors import ConfigError
from gendiff.runs import ranges, training_loop
from gendiff.runs.progress import Progress
from gendiff.runs.registry import SampleCommand
from gendiff.runs.run_folder import RunFolder

NETWORKS = {"shapes": networks.FROZEN, "scratch": networks.SCRATCH, "emoji": networks.EMOJI}
"""What the networks of a run are called, and which each is."""


@dataclasses.dataclass(frozen=True)
class TextOptions(RunOptions, PromptOptions):
    """Draw pictures of a prompt from the network of a run folder."""

    network: Annotated[
        str, tyro.conf.arg(help="shapes, scratch (of shapes, with an encoder from scratch), or emoji.")
    ] = "shapes"


def _sample(config: Config, folder: RunFolder, chosen: TextOptions, progress: Progress) -> None:
    """Raises ConfigError for options that do not fit, NonFiniteError where pictures are not finite, and as
    `restore_ema` does.
    """
    chosen = options.renamed(chosen, progress)
    texts.check()
    out = options.check(chosen, folder.path)
    if chosen.network not in NETWORKS:
        raise ConfigError(f"--network {chosen.network} is none of {', '.join(NETWORKS)}")
    name = NETWORKS[chosen.network]
    seeds = {"shapes": config.seeds, "scratch": config.seeds[:1], "emoji": config.drawings.seeds}[chosen.network]
    seed = ranges.trained_seed(chosen.trained_seed, seeds)
    step = training_loop.newest_step(dataclasses.replace(folder, path=folder.path / name), seed)
    about = {"trained_seed": seed, "checkpoint": step}
    # an evaluation leaves it, and gathering the words of drawings takes long
    file = folder.path / f"{chosen.network}{published.SUFFIX}"
    known = frozenset(published.read_about(file).words) if file.is_file() else publishing.words(config, name)
    drawing.draw(train.restore_all(config, folder, name, seed, step), known, chosen, out, about, progress)


COMMAND = SampleCommand(TextOptions, _sample)
