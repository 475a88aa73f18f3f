"""One image file -> 8-bit integers, by stated rules; a file that no rule covers is an error, path first."""

import functools
import io
import os
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from jaxtyping import Shaped, UInt8

from gendiff.core import checks, extras
from gendiff.core.errors import DataError
from gendiff.data.images import random_access

if TYPE_CHECKING:
    from PIL import Image, ImageFile

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".webp")
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "WEBP")
MODES = {"RGB": 3, "L": 1}
MAX_PIXELS = 2**26
"""Pixels of the largest image that is decoded (8192 × 8192): a forged header may promise any number."""


def read(
    path: str | os.PathLike[str], *, mode: str, size: int | None = None, background: tuple[int, int, int] | None = None
) -> UInt8[np.ndarray, "h w c"]:
    """Read the picture of one file.

    - 1-bit, grey, palette and RGB files are converted: palettes by their entries, RGB to grey by 299/587/114 luma, grey
      to RGB by repetition.
    - CMYK files become RGB by Pillow's formula, 255 (1 - C) (1 - K) with C, M, Y, K in [0, 1]; the colour profile would
      say more.
    - PNG files of 16 bits keep the high byte of each channel, floor(v / 256).
    - A camera's rotation (EXIF) is applied; colour profiles are ignored.
    - An alpha channel that is opaque everywhere is dropped; any other is laid over `background`, and is an error
      without one.
    - With `size`, the shorter side is resized to it (bicubic with antialiasing, smaller images are enlarged) and the
      centre is cropped to size × size, the extra pixel of an odd margin falling at the right and the bottom.

    Args:
        path: the file.
        mode: "RGB" for 3 channels, "L" for 1.
        size: the side of the square result, or None to keep the picture's own sides.
        background: the colour under transparent pixels, each value 0 … 255.

    Returns:
        (h, w, c) whole values 0 … 255.

    Raises:
        DataError: for other colour modes, for animated files, for 16 bits with one transparent colour (tRNS), for more
            than MAX_PIXELS, and for whatever is no whole BMP, GIF, JPEG, PNG or WebP file.
        ImportError: without Pillow.
    """
    return _decode(random_access.printable(path), path, _finisher(mode, size, background))


def decode(
    name: str, content: bytes, *, mode: str, size: int | None = None, background: tuple[int, int, int] | None = None
) -> UInt8[np.ndarray, "h w c"]:
    """Read the picture in the bytes of an image file, as `read` does; errors start with `name`."""
    return _decode(name, io.BytesIO(content), _finisher(mode, size, background))


def decode_alpha(name: str, content: bytes) -> UInt8[np.ndarray, "h w 1"]:
    """Read the alpha channel of the picture in the bytes of an image file: 0 is transparent, 255 opaque.

    Raises:
        DataError: for a picture without transparency, and as `read` does; errors start with `name`.
        ImportError: without Pillow.
    """
    return _decode(name, io.BytesIO(content), _alpha)


def short_side(file: str | os.PathLike[str] | BinaryIO | io.BytesIO) -> int | None:
    """The shorter side that the header of an image file states; None for a file without such a header."""
    Image, *_ = _pillow()
    try:
        with Image.open(file, formats=FORMATS) as opened:
            return int(min(opened.size))
    except Exception:  # Pillow's parsers raise whatever they trip over; `read` says what is wrong
        return None


def convert(
    name: str,
    pixels: UInt8[np.ndarray, "height width k"],
    *,
    mode: str,
    size: int | None = None,
    background: tuple[int, int, int] | None = None,
) -> UInt8[np.ndarray, "h w c"]:
    """Convert an array to a mode and a size by the rules of `read`.

    Args:
        name: what an error starts with.
        pixels: (height, width, k) with k = 1 (grey), 3 (RGB) or 4 (RGBA).
        mode: "RGB" for 3 channels, "L" for 1.
        size: the side of the square result, or None.
        background: the colour under transparent pixels.

    Returns:
        (h, w, c) whole values 0 … 255.

    Raises:
        DataError: for other channels, or transparent pixels without a background.
        ImportError: without Pillow.
    """
    if pixels.shape[2] not in (1, 3, 4):
        raise DataError(
            f"{name}: {pixels.shape[2]} channels have no rule for mode {mode} or a size; store 1, 3 or 4, or convert "
            "them first"
        )
    Image, *_ = _pillow()
    picture = Image.fromarray(np.ascontiguousarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels))
    return _finished(name, picture, mode, size, background)


def to_png(name: str, image: np.ndarray) -> bytes:
    """Encode an 8-bit image of 1 or 3 channels as a PNG file.

    Raises:
        DataError: for any other array.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] not in MODES.values():
        raise DataError(f"{name} is {image.dtype} {image.shape}; a PNG holds uint8 (h, w, 1) or (h, w, 3)")
    Image, *_ = _pillow()
    stream = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[2] == 1 else image).save(stream, format="PNG")
    return stream.getvalue()


def convert_stored(
    name: str,
    stored: np.ndarray,
    levels: int,
    *,
    mode: str | None,
    size: int | None,
    background: tuple[int, int, int] | None,
) -> Shaped[np.ndarray, "h w c"]:
    """Copy an image out of an array, converted where a mode or a size asks for it.

    Args:
        name: what an error starts with.
        stored: (h, w, k) whole values 0 … levels - 1, or floats.
        levels: whole values that a channel has.
        mode: "RGB", "L", or None to keep the channels.
        size: the side of the square result, or None.
        background: the colour under transparent pixels.

    Returns:
        uint8 up to 256 levels, uint16 above, and float32 for floats.

    Raises:
        DataError: where images other than 8-bit would have to be converted.
    """
    floating = np.issubdtype(stored.dtype, np.floating)
    image = stored.astype(np.float32 if floating else np.uint8 if levels <= 256 else np.uint16)
    height, width, channels = image.shape
    if (mode is None or MODES[mode] == channels) and (size is None or (height, width) == (size, size)):
        return image
    if floating or levels != 256:
        raise DataError(
            f"{name}: only 8-bit images are converted to a mode or a size; this one is {image.shape}, {image.dtype}"
        )
    chosen = mode or ("L" if channels == 1 else "RGB")
    return convert(name, image, mode=chosen, size=size, background=background)


def check_options(mode: str | None, size: int | None, background: tuple[int, int, int] | None) -> None:
    """Raise ValueError for a mode, a size or a background that no picture can be given."""
    if mode is not None:
        checks.choice("mode", mode, MODES)
    if size is not None:
        checks.integer("size", size, 1, 2**13)
    if background is not None:
        if len(background) != 3:
            raise ValueError(f"background = {background!r} must be 3 values 0 … 255: red, green, blue")
        for value in background:
            checks.integer("background", value, 0, 255)


def check_installed() -> None:
    """Raise ImportError without Pillow."""
    _pillow()


def _decode(
    name: str,
    file: str | os.PathLike[str] | BinaryIO | io.BytesIO,
    finish: Callable[[str, "Image.Image"], np.ndarray],
) -> np.ndarray:
    """What `finish` makes of (name, the picture of a file)."""
    Image, ImageOps, UnidentifiedImageError = _pillow()
    try:
        with Image.open(file, formats=FORMATS) as opened:
            _refuse(name, opened)
            opened.load()
            return finish(name, ImageOps.exif_transpose(opened))
    except (DataError, MemoryError):
        raise
    except PermissionError as error:
        raise DataError(random_access.forbidden(name)) from error
    except UnidentifiedImageError as error:
        raise DataError(f"{name}: not a whole image: none of {', '.join(FORMATS)}") from error
    except Exception as error:  # Pillow's parsers raise whatever they trip over: OSError, SyntaxError, struct.error, …
        raise DataError(f"{name}: not a whole image: {error}") from error


def _finisher(
    mode: str, size: int | None, background: tuple[int, int, int] | None
) -> Callable[[str, "Image.Image"], np.ndarray]:
    return functools.partial(_finished, mode=mode, size=size, background=background)


def _alpha(name: str, picture: "Image.Image") -> np.ndarray:
    if not picture.has_transparency_data:
        raise DataError(f"{name}: no alpha channel: its pixels are neither opaque nor transparent")
    return np.array(picture.convert("RGBA").getchannel("A"))[..., None]


def _finished(
    name: str, picture: "Image.Image", mode: str, size: int | None, background: tuple[int, int, int] | None
) -> np.ndarray:
    flat = _flat(name, picture, background).convert(mode)
    sized = flat if size is None else _fit(name, flat, size)
    return np.array(sized, dtype=np.uint8).reshape(sized.height, sized.width, MODES[mode])


def _pillow() -> tuple[ModuleType, ModuleType, type[Exception]]:
    try:
        from PIL import Image, ImageOps, UnidentifiedImageError
    except ImportError as error:
        raise ImportError(extras.needs("image files need", "Pillow", "data")) from error
    return Image, ImageOps, UnidentifiedImageError


def _refuse(path: str, file: "ImageFile.ImageFile") -> None:
    width, height = file.size
    if width * height > MAX_PIXELS:
        raise DataError(f"{path}: too large: {width} × {height} is more than {MAX_PIXELS} pixels")
    # Pillow cuts colour PNGs of 16 bits to their high bytes, and compares these with all 16 bits of the colour in tRNS
    if "transparency" in file.info and any("16" in str(tile[3]) for tile in file.tile):
        raise DataError(
            f"{path}: 16 bits with a transparent colour: no rule covers this; save it with 8 bits or with an alpha "
            "channel"
        )
    if file.mode not in ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "I;16"):
        raise DataError(f"{path}: colour mode {file.mode}: no rule covers it; convert it to RGB first")
    # an MPO is a camera's JPEG with a preview behind it
    if getattr(file, "is_animated", False) and file.format != "MPO":
        raise DataError(f"{path}: animated: {getattr(file, 'n_frames', 2)} frames; extract the frame that is meant")


def _flat(path: str, picture: "Image.Image", background: tuple[int, int, int] | None) -> "Image.Image":
    """The picture without alpha, in mode L or RGB."""
    from PIL import Image

    if picture.mode == "I;16":
        return Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
    if not picture.has_transparency_data:
        return picture.convert("L" if picture.mode in ("1", "L") else "RGB")
    layered = picture.convert("RGBA")
    if layered.getchannel("A").getextrema()[0] == 255:
        return layered.convert("RGB")
    if background is None:
        raise DataError(f"{path}: has transparent pixels; pass background=(255, 255, 255) to lay it over white")
    return Image.alpha_composite(Image.new("RGBA", layered.size, (*background, 255)), layered).convert("RGB")


def _fit(path: str, picture: "Image.Image", size: int) -> "Image.Image":
    from PIL import Image

    short = min(picture.size)
    width, height = ((2 * side * size + short) // (2 * short) for side in picture.size)
    if width * height > MAX_PIXELS:
        raise DataError(
            f"{path}: too large: {picture.width} × {picture.height} resized to a shorter side of {size} is more than "
            f"{MAX_PIXELS} pixels"
        )
    scaled = picture if short == size else picture.resize((width, height), Image.Resampling.BICUBIC)
    left, top = (width - size) // 2, (height - size) // 2
    return scaled.crop((left, top, left + size, top + size))
