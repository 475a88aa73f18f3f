"""One image file -> whole 8-bit values, by stated rules; whatever no rule covers is an error that starts with the path."""

import os
import warnings
from typing import Any

import numpy as np
from jaxtyping import UInt8

from gendiff.core import extras
from gendiff.core.errors import DataError

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".webp")
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "WEBP")
MODES = {"RGB": 3, "L": 1}
MAX_PIXELS = 2**26
"""Pixels of the largest image that is decoded (8192 × 8192): a forged header may promise any number."""


def read(
    path: str | os.PathLike, *, mode: str, size: int | None = None, background: tuple[int, int, int] | None = None
) -> UInt8[np.ndarray, "h w c"]:
    """Read the picture of one file.

    - 1-bit, grey, palette and RGB files are converted: palettes by their entries, RGB to grey by 299/587/114 luma, grey to RGB by
      repetition.
    - A camera's rotation (EXIF) is applied; colour profiles are ignored.
    - An alpha channel that is opaque everywhere is dropped; any other is laid over `background`, and is an error without one.
    - With `size`, the shorter side is resized to it (bicubic with antialiasing, smaller images are enlarged) and the centre is cropped
      to size × size, the extra pixel of an odd margin falling at the right and the bottom.

    Args:
        path: the file.
        mode: "RGB" for 3 channels, "L" for 1.
        size: the side of the square result, or None to keep the picture's own sides.
        background: the colour under transparent pixels, each value 0 … 255.

    Returns:
        (h, w, c) whole values 0 … 255.

    Raises:
        DataError: for 16-bit, CMYK, float and animated files, for more than MAX_PIXELS, and for whatever is no whole BMP, GIF, JPEG, PNG
            or WebP file.
        ImportError: without Pillow.
    """
    Image, ImageOps = _pillow()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=FORMATS) as file:
                _refuse(path, file)
                file.load()
                picture = _flat(path, Image, ImageOps.exif_transpose(file), background)
                picture = picture.convert(mode) if size is None else _fit(path, Image, picture.convert(mode), size)
    except (DataError, MemoryError):
        raise
    except Exception as error:  # Pillow's parsers raise whatever they trip over: OSError, SyntaxError, struct.error, …
        raise DataError(f"{path}: not a whole {', '.join(FORMATS)} image: {error}") from error
    return np.array(picture, dtype=np.uint8).reshape(picture.height, picture.width, MODES[mode])


def _pillow() -> Any:
    try:
        from PIL import Image, ImageOps
    except ImportError as error:
        raise ImportError(extras.needs("image files need", "Pillow", "experiments")) from error
    return Image, ImageOps


def _refuse(path: Any, file: Any) -> None:
    width, height = file.size
    if width * height > MAX_PIXELS:
        raise DataError(f"{path}: {width} × {height} is more than {MAX_PIXELS} pixels")
    # Pillow cuts colour PNGs of 16 bits to 8 without a word; only the raw mode of the tile tells
    if file.mode.startswith(("I", "F")) or (file.format == "PNG" and any("16" in str(tile[3]) for tile in file.tile)):
        raise DataError(
            f"{path}: holds more than 8 bits per channel; convert it to 8 bits, or store arrays with their own number of levels"
        )
    if file.mode not in ("1", "L", "LA", "P", "PA", "RGB", "RGBA"):
        raise DataError(f"{path}: colour mode {file.mode} has no rule here; convert it to RGB first")
    if getattr(file, "is_animated", False) and file.format != "MPO":  # an MPO is a camera's JPEG with a preview behind it
        raise DataError(f"{path}: animated, {file.n_frames} frames; extract the frame that is meant")


def _flat(path: Any, Image: Any, picture: Any, background: tuple[int, int, int] | None) -> Any:
    """The picture without alpha, in mode L or RGB."""
    if not picture.has_transparency_data:
        return picture.convert("L" if picture.mode in ("1", "L") else "RGB")
    layered = picture.convert("RGBA")
    if layered.getchannel("A").getextrema()[0] == 255:
        return layered.convert("RGB")
    if background is None:
        raise DataError(f"{path}: has transparent pixels; pass background=(255, 255, 255) to lay it over white")
    return Image.alpha_composite(Image.new("RGBA", layered.size, (*background, 255)), layered).convert("RGB")


def _fit(path: Any, Image: Any, picture: Any, size: int) -> Any:
    short = min(picture.size)
    width, height = ((2 * side * size + short) // (2 * short) for side in picture.size)
    if width * height > MAX_PIXELS:
        raise DataError(f"{path}: {picture.width} × {picture.height} resized to a shorter side of {size} is more than {MAX_PIXELS} pixels")
    scaled = picture if short == size else picture.resize((width, height), Image.Resampling.BICUBIC)
    left, top = (width - size) // 2, (height - size) // 2
    return scaled.crop((left, top, left + size, top + size))
