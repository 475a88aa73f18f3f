"""The picture that a request begins from, out of the bytes of a file that a stranger sent."""

import io

import numpy as np
from PIL import Image

from gendiff.commands.serve.api_errors import ApiError
from gendiff.commands.text_to_image import drawing
from gendiff.core.errors import DataError
from gendiff.data import scaling
from gendiff.data.images import image_files

MOST_PIXELS = 4096 * 4096


def read(content: bytes, width: int, height: int, name: str = "image") -> tuple[np.ndarray, list[str]]:
    """(picture (height, width, 3) in [-1, 1], notes of what was changed). ApiError for no picture, or a large one.

    name: what notes call it.
    """
    try:
        with Image.open(io.BytesIO(content), formats=image_files.FORMATS) as opened:
            pixels = opened.width * opened.height
    except Image.DecompressionBombError as error:
        raise ApiError(f"image is too large: at most {MOST_PIXELS} pixels are read", field="image") from error
    except Exception as error:  # Pillow's parsers raise whatever they trip over
        raise ApiError(f"image is no file of {', '.join(image_files.FORMATS)}", field="image") from error
    if pixels > MOST_PIXELS:
        raise ApiError(f"image has {pixels} pixels: at most {MOST_PIXELS} are read", field="image")
    try:
        picture = image_files.decode("image", content, mode="RGB", background=(255, 255, 255))
    except DataError as error:
        raise ApiError(str(error)[:200], field="image") from error
    notes = []
    if picture.shape[:2] != (height, width):
        notes.append(f"{name}: its middle is scaled from {picture.shape[1]}x{picture.shape[0]} to {width}x{height}")
    return np.asarray(scaling.to_unit(drawing.middle(picture, height, width), 256), np.float32), notes
