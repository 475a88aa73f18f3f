"""The picture that a draw begins from, and what of it is drawn anew, fitted to the pictures of a network."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gendiff.commands.text_to_image.prompting import prompt_options
from gendiff.commands.text_to_image.prompting.prompt_options import PromptOptions
from gendiff.core.errors import ConfigError
from gendiff.data import image_files, scaling
from gendiff.runs.progress import Progress

WHITE = 128
"""Least grey, 0 … 255, of what is drawn anew."""


@dataclass(frozen=True, eq=False)
class StartPicture:
    """picture: (h, w, 3) in [-1, 1]. redrawn: (h, w, 1), 1 where it is drawn anew and 0 elsewhere; None without a mask.

    strength: share of the steps that are run.
    """

    picture: np.ndarray
    redrawn: np.ndarray | None
    strength: float


def read(options: PromptOptions, side: int, progress: Progress) -> StartPicture | None:
    """What --init and --mask name, as squares of `side` pixels; a line says what was done to their size. None without --init.

    Raises DataError for files that are no pictures, ConfigError for a mask of another size, or without anything white.
    """
    if options.init is None:
        return None
    pixels = image_files.read(options.init, mode="RGB", background=(255, 255, 255))
    picture = np.asarray(scaling.to_unit(_fitted("--init", options.init, pixels, side, progress), 256), np.float32)
    return StartPicture(picture, _redrawn(options, pixels.shape[:2], side, progress), prompt_options.strength(options))


def _redrawn(options: PromptOptions, size: tuple[int, ...], side: int, progress: Progress) -> np.ndarray | None:
    if options.mask is None:
        return None
    grey = image_files.read(options.mask, mode="L", background=(0, 0, 0))
    if grey.shape[:2] != size:
        sizes = " and ".join(f"{width} × {height}" for height, width in (grey.shape[:2], size))
        raise ConfigError(f"--mask {options.mask} and --init {options.init} are {sizes} pixels: a mask has the size of its picture")
    redrawn = (_fitted("--mask", options.mask, grey, side, progress) >= WHITE).astype(np.float32)
    if not redrawn.any():
        raise ConfigError(f"--mask {options.mask}: nothing of it is white, so nothing would be drawn: paint white what is to be drawn anew")
    return redrawn


def _fitted(option: str, path: str, pixels: np.ndarray, side: int, progress: Progress) -> np.ndarray:
    """The middle square, scaled."""
    height, width = pixels.shape[:2]
    if (height, width) == (side, side):
        return pixels
    short = min(height, width)
    cut = f"its middle {short} × {short} is" if height != width else "it is"
    progress.line(f"note: {option} {Path(path).name} is {width} × {height} pixels: {cut} scaled to {side} × {side}, the network's size")
    return image_files.convert(path, pixels, mode="RGB" if pixels.shape[2] == 3 else "L", size=side)
