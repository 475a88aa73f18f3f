"""What the `sample` command has in common for all GANs: its options, and the two files that it leaves."""

import dataclasses
from pathlib import Path

import numpy as np

from gendiff.commands import drawing_options
from gendiff.commands.drawing_options import DrawingOptions, RunOptions
from gendiff.core import files
from gendiff.runs import ranges
from gendiff.runs.reporting import figures
from gendiff.runs.run_folder import RunFolder

MOST_STEPS = 1000


@dataclasses.dataclass(frozen=True)
class DrawOptions(RunOptions, DrawingOptions):
    """Of every draw from a run of GANs."""

    num: int = 1000
    out: str | None = None
    """Where to write NAME.npz, with a picture NAME.png beside it; None is a file in the run folder."""


def trained_seed(options: DrawOptions, seeds: tuple[int, ...]) -> int:
    """The training seed that is drawn from. ConfigError for options that are out of range or do not fit the run."""
    drawing_options.check(options, steps=MOST_STEPS)
    return ranges.trained_seed(options.trained_seed, seeds)


def write(options: DrawOptions, folder: RunFolder, name: str, samples: np.ndarray, tile: np.ndarray) -> Path:
    """The file of the samples, under `samples`, with the tile (h, w, 3) as a picture beside it. name: in words, of a
    file in the folder.
    """
    plain = name.replace(" ", "_").replace("-", "_")
    file = (folder.path / plain if options.out is None else Path(options.out).expanduser().absolute()).with_suffix(
        ".npz"
    )
    with files.replacing(file) as stream:
        np.savez(stream, samples=samples)
    figures.grid(tile[None], 1, file.with_suffix(".png"), "samples", scale=4)
    return file
