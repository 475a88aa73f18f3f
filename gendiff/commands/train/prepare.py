"""`prepare images`: decode pictures once, so that every run on them reads arrays."""

import dataclasses
from typing import Literal

from gendiff.commands.train import data_paths
from gendiff.commands.train.config import Config
from gendiff.core.errors import ConfigError
from gendiff.runs import ranges, run_folder
from gendiff.runs.progress import Progress
from gendiff.runs.ranges import Byte, Natural, Side
from gendiff.runs.registry import Command
from gendiff.runs.reporting import formatting


@dataclasses.dataclass(frozen=True)
class PrepareOptions:
    """Decode pictures into a folder, which `train PHOTOS --cache FOLDER` with the same options then reads.

    A job that is killed goes on where it was. Pictures that have changed are decoded again.
    """

    data: str
    """A folder of pictures, an .npz, .npy or .arrayrecord file, a saved Hugging Face dataset, or emoji."""
    cache: str
    """Folder of the decoded pictures; several sets and sizes may share one."""
    size: Side | None = None
    """Side of the square pictures in pixels, as for `train`."""
    mode: Literal["RGB", "L"] | None = None
    """Colour or grey, as for `train`."""
    conditional: Literal["auto", "none"] = "auto"
    """Whether sub-folders are classes, as for `train`."""
    least_per_class: Natural = 0
    """Pictures that a class needs, as for `train`."""
    background: tuple[Byte, Byte, Byte] | None = None
    """Colour under transparent pixels, as for `train`."""
    on_bad_image: Literal["raise", "skip"] = "raise"
    """skip leaves out pictures that cannot be read, and counts them; raise stops and lists them."""


def check(options: PrepareOptions) -> None:
    """ConfigError for options out of range, a cache that cannot be written, and data that need no preparation."""
    ranges.check(options)
    run_folder.writable("cache", options.cache)
    if options.data == "textures":
        raise ConfigError("--data textures: they are cut from photographs in seconds, so there is nothing to prepare")


def prepare(options: PrepareOptions, progress: Progress) -> None:
    """Raises DataError for pictures that cannot be used."""
    from gendiff.commands.train import opened_pictures  # loads JAX

    config = Config(**vars(options) | {"data": (options.data,)})
    pictures = opened_pictures.prepare(config, data_paths.resolve(options.data), progress)
    left_out = f", {len(pictures.skipped)} left out" if pictures.skipped else ""
    progress.line(f"{formatting.amount(len(pictures), 'picture')}{left_out}: {data_paths.resolve(options.cache)}")


COMMAND = Command(PrepareOptions, prepare, check=check)
