"""The picture that a request begins from and its mask, out of the bytes of files that a stranger sent."""

import io
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from gendiff.commands.serve.api_errors import ApiError
from gendiff.commands.text_to_image import drawing
from gendiff.core.errors import DataError
from gendiff.data import scaling
from gendiff.data.images import image_files

MOST_PIXELS = 4096 * 4096


class StartPicture(NamedTuple):
    """pixels: (h, w, 3) in [-1, 1], of the size that is drawn. file_size: (height, width) before. notes: of what was
    changed.
    """

    pixels: np.ndarray
    file_size: tuple[int, ...]
    notes: Sequence[str]


def read(content: bytes, width: int, height: int, name: str = "image") -> StartPicture:
    """The picture of a file. ApiError for no picture, or a large one. name: what notes call it."""
    _check(content, "image", image_files.FORMATS)
    try:
        picture = image_files.decode("image", content, mode="RGB", background=(255, 255, 255))
    except DataError as error:
        raise ApiError(str(error)[:200], field="image") from error
    size = picture.shape[:2]
    notes = [] if size == (height, width) else [f"{name}: its middle is scaled from {_size(size)} to {width}x{height}"]
    pixels = np.asarray(scaling.to_unit(drawing.middle(picture, height, width), 256), np.float32)
    return StartPicture(pixels, size, notes)


def read_mask(content: bytes, file_size: tuple[int, ...], width: int, height: int) -> np.ndarray:
    """The mask (height, width, 1) of a PNG file, 1 where it is fully transparent. file_size: of its picture.

    It is scaled as the picture is. ApiError for no such file, another size, and a mask that marks nothing.
    """
    _check(content, "mask", ("PNG",))
    try:
        alpha = image_files.decode_alpha("mask", content)
    except DataError as error:
        raise ApiError(str(error)[:200], field="mask") from error
    if alpha.shape[:2] != file_size:
        raise ApiError(
            f"mask is {_size(alpha.shape)} and image {_size(file_size)}: a mask has the size of the first picture",
            field="mask",
        )
    clear = np.where(alpha == 0, 255, 0).astype(np.uint8)
    mask = (drawing.middle(clear, height, width) >= 128).astype(np.float32)
    if not mask.any():
        raise ApiError(
            "mask marks nothing of what is drawn: make fully transparent (alpha 0) what is to be drawn anew",
            field="mask",
        )
    return mask


def _check(content: bytes, field: str, formats: tuple[str, ...]) -> None:
    """ApiError for a header of no picture in these formats, or of a large one."""
    try:
        with Image.open(io.BytesIO(content), formats=formats) as opened:
            pixels = opened.width * opened.height
    except Image.DecompressionBombError as error:
        raise ApiError(f"{field} is too large: at most {MOST_PIXELS} pixels are read", field=field) from error
    except Exception as error:  # Pillow's parsers raise whatever they trip over
        raise ApiError(f"{field} is no file of {', '.join(formats)}", field=field) from error
    if pixels > MOST_PIXELS:
        raise ApiError(f"{field} has {pixels} pixels: at most {MOST_PIXELS} are read", field=field)


def _size(shape: Sequence[int]) -> str:
    return f"{shape[1]}x{shape[0]}"
