"""The picture that a draw begins from, and its mask, fitted to the size that is drawn."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from gendiff.commands.text_to_image.folders.folder_options import FolderOptions
from gendiff.commands.text_to_image.prompting.prompt_options import PromptOptions
from gendiff.commands.text_to_image.prompting.start_picture import WHITE
from gendiff.core.errors import ConfigError
from gendiff.data import image_files, scaling
from gendiff.runs.progress import Progress


@dataclass(frozen=True, eq=False)
class FittedPicture:
    """picture: (1, h, w, 3) in [-1, 1]. mask: (1, h, w, 1), 1 where it is drawn anew; None without a mask."""

    picture: np.ndarray
    mask: np.ndarray | None


def read(options: PromptOptions, height: int, width: int, progress: Progress) -> FittedPicture | None:
    """What --init and --mask name; a line says what was done to their size. None without --init.

    Raises DataError for files that are no pictures, ConfigError for a mask of another size, or without anything white.
    """
    if options.init is None:
        return None
    pixels = image_files.read(options.init, mode="RGB", background=(255, 255, 255))
    if pixels.shape[:2] != (height, width):
        size = f"{pixels.shape[1]} × {pixels.shape[0]}"
        progress.line(f"note: --init {options.init} is {size} pixels: its middle is scaled to {width} × {height}")
    picture = np.asarray(scaling.to_unit(_fitted(pixels, height, width), 256), np.float32)[None]
    if options.mask is None:
        return FittedPicture(picture, None)
    grey = image_files.read(options.mask, mode="L", background=(0, 0, 0))
    if grey.shape[:2] != pixels.shape[:2]:
        sizes = " and ".join(f"{shape[1]} × {shape[0]}" for shape in (grey.shape, pixels.shape))
        raise ConfigError(f"--mask {options.mask} and --init {options.init} are {sizes} pixels: a mask has the size of its picture")
    mask = (_fitted(grey, height, width) >= WHITE).astype(np.float32)[None]
    if not mask.any():
        raise ConfigError(f"--mask {options.mask}: nothing of it is white, so nothing would be drawn: paint white what is to be drawn anew")
    return FittedPicture(picture, mask)


def read_hint(options: FolderOptions, height: int, width: int, progress: Progress) -> np.ndarray | None:
    """What --hint names, (1, h, w, 3) in [0, 1], fitted to the size that is drawn. None without one. DataError for what is no picture."""
    if options.hint is None:
        return None
    pixels = image_files.read(options.hint, mode="RGB", background=(0, 0, 0))
    if pixels.shape[:2] != (height, width):
        size = f"{pixels.shape[1]} × {pixels.shape[0]}"
        progress.line(f"note: --hint {options.hint} is {size} pixels: its middle is scaled to {width} × {height}")
    return _fitted(pixels, height, width)[None].astype(np.float32) / 255


def _fitted(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """The middle of a picture (h, w, c) in the wanted shape, scaled to its size."""
    if pixels.shape[:2] == (height, width):
        return pixels
    from PIL import Image, ImageOps

    one = pixels.shape[2] == 1
    picture: Any = Image.fromarray(pixels[..., 0] if one else pixels)
    fitted = np.asarray(ImageOps.fit(picture, (width, height), method=Image.Resampling.BICUBIC))
    return fitted[..., None] if one else fitted
