"""Settings inside the files of pictures (a text entry of PNG, the comment of JPEG), and entries of other programs.

Metadata is the weakest provenance: anybody can write any, and most sites and programs strip it. Its absence proves
nothing.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
from jaxtyping import UInt8

from gendiff.core import checks, extras, files, foreign_files
from gendiff.core.errors import DataError
from gendiff.core.types import Config

ENTRY = "gendiff"
"""Name of the text entry of a PNG, and the first word of the comment of a JPEG."""
FORMATS = ("PNG", "JPEG")
LONGEST_COMMENT = 65533
"""Bytes of a JPEG's comment."""
_EXIF = {0x010E: "ImageDescription", 0x0131: "Software", 0x013B: "Artist", 0x8298: "Copyright", 0x9286: "UserComment"}
_EXIF_PART = 0x8769


@dataclass(frozen=True)
class Metadata:
    """The metadata of a picture's file.

    Args:
        format: "PNG" or "JPEG".
        size: (width, height).
        settings: what gendiff wrote of how the picture was made; None where there is no such entry.
        others: texts of other programs by the name of their entry, such as "parameters", "Software" or "XMP".
    """

    format: str
    size: tuple[int, int]
    settings: Config | None
    others: dict[str, str]


def entries(settings: Config) -> dict[str, str]:
    """Give the text entries of a PNG that hold settings, for programs that write the file themselves.

    Args:
        settings: what JSON can hold; finite numbers.

    Raises:
        ValueError: for what JSON cannot hold.
    """
    try:
        return {ENTRY: json.dumps(dict(settings), ensure_ascii=False, allow_nan=False)}
    except (TypeError, ValueError) as error:
        raise ValueError(f"settings must be what JSON can hold: {error}") from error


def save(
    path: str | os.PathLike[str], image: UInt8[np.ndarray, "h w c"], settings: Config, *, quality: int = 95
) -> None:
    """Write a picture with its settings, whole or not at all.

    A `.png` keeps every pixel, and a `.jpg` or `.jpeg` does not.

    Args:
        path: the file.
        image: (h, w, c) whole values 0 … 255, c 1 or 3.
        settings: as of `entries`.
        quality: of a JPEG, 1 … 95.

    Raises:
        ValueError: for another suffix, other channels, settings that JSON cannot hold, and too many for the comment of
            a JPEG.
        ImportError: without Pillow.
    """
    pillow = _pillow()
    checks.integer("quality", quality, 1, 95)
    suffix, texts = Path(path).suffix.lower(), entries(settings)
    if suffix not in (".png", ".jpg", ".jpeg"):
        raise ValueError(f"{os.fspath(path)} ends in {suffix!r}: give a .png, .jpg or .jpeg")
    if image.ndim != 3 or image.shape[2] not in (1, 3) or image.dtype != np.uint8:
        raise ValueError(f"image is {image.dtype}{list(image.shape)}: uint8 (h, w, c) with 1 or 3 channels is needed")
    picture = pillow.Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)
    if suffix == ".png":
        information = pillow.PngImagePlugin.PngInfo()
        for name, text in texts.items():
            information.add_itxt(name, text)
        options: dict[str, object] = {"format": "PNG", "pnginfo": information}
    else:
        comment = f"{ENTRY} {json.dumps(dict(settings))}".encode("ascii")
        if len(comment) > LONGEST_COMMENT:
            raise ValueError(
                f"settings take {len(comment)} bytes, and the comment of a JPEG {LONGEST_COMMENT}: leave some out, or "
                "write a .png"
            )
        options = {"format": "JPEG", "quality": quality, "comment": comment}
    with files.replacing(path) as file:
        picture.save(file, **options)


def read(path: str | os.PathLike[str]) -> Metadata:
    """Read the metadata of a PNG or JPEG.

    Args:
        path: the file.

    Raises:
        DataError: path first, for what is no whole picture of these kinds, and for an entry of gendiff that is no JSON
            object.
        ImportError: without Pillow.
    """
    pillow = _pillow()
    file_name = os.fspath(foreign_files.regular(path))
    try:
        with pillow.Image.open(path, formats=FORMATS) as opened:
            opened.load()  # the entries of a PNG may stand behind its pixels
            format, size = str(opened.format), tuple(opened.size)
            comment = opened.info.get("comment", b"")
            texts = dict(getattr(opened, "text", {})) if format == "PNG" else _of_jpeg(comment)
            tags = opened.getexif()
            exif = {**tags, **tags.get_ifd(_EXIF_PART)}
            texts |= {name: _text(exif[tag]) for tag, name in _EXIF.items() if tag in exif}
            texts.pop("XML:com.adobe.xmp", None)  # the packet of XMP, where DigitalSourceType may tell the origin
            if "xmp" in opened.info:
                texts["XMP"] = _text(opened.info["xmp"])
    except Exception as error:  # Pillow's parsers raise whatever they trip over
        raise DataError(f"{file_name}: no whole PNG or JPEG: {error}") from error
    entry = texts.pop(ENTRY, None)
    return Metadata(
        format,
        size,
        None if entry is None else _settings(file_name, entry),
        {name: text for name, text in texts.items() if text},
    )


def _settings(file_name: str, text: str) -> Config:
    content = foreign_files.decoded(text, f"{file_name}: its entry {ENTRY!r}")
    if not isinstance(content, dict):
        raise DataError(f"{file_name}: its entry {ENTRY!r} must hold one JSON object, got {type(content).__name__}")
    return content


def _of_jpeg(comment: bytes) -> dict[str, str]:
    text = comment.decode("utf-8", "backslashreplace")
    first, _, rest = text.partition(" ")
    return {ENTRY: rest} if first == ENTRY else {"comment": text}


def _text(value: object) -> str:
    """A text, or bytes that begin with the name of their code (UserComment)."""
    if not isinstance(value, bytes):
        return str(value).strip("\0 ")
    for code, name in ((b"UNICODE\0", "utf-16-be"), (b"ASCII\0\0\0", "ascii")):
        if value.startswith(code):
            return value[8:].decode(name, "backslashreplace").strip("\0 ")
    return value.decode("utf-8", "backslashreplace").strip("\0 ")


def _pillow() -> ModuleType:
    try:
        import PIL.Image
        import PIL.PngImagePlugin
    except ImportError as error:
        raise ImportError(extras.needs("metadata of pictures needs", "Pillow", "data")) from error
    return PIL
