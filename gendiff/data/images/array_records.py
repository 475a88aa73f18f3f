"""Images in an ArrayRecord file, which is made for random access: the layout, a writer and a source.

Record 0 is JSON: {"format": "gendiff images", "version": 1, "count": n, "classes": […], "levels": L}. Record 1 + i is
image i: one line of JSON, {"label": k, "encoding": "png"} or {"label": k, "encoding": "raw", "dtype": "uint8", "shape":
[h, w, c]}, a newline, and then the bytes of a PNG file or the array's values in C order, little-endian. ArrayRecord
compresses the records and holds a checksum of each block.
"""

import dataclasses
import functools
import io
import json
import math
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from gendiff.core import checks, extras, files, foreign_files
from gendiff.core.errors import DataError
from gendiff.core.types import NO_LABEL, Config
from gendiff.data.images import image_files, random_access
from gendiff.data.images.random_access import Example, Source

if TYPE_CHECKING:
    from array_record.python.array_record_module import ArrayRecordReader

SUFFIX = ".arrayrecord"
FORMAT, VERSION = "gendiff images", 1
ENCODINGS = ("png", "raw")
_DTYPES = ("uint8", "uint16", "float32")
_MOST_HEADER = 4096


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ArrayRecordImages(Source):
    """The images of one ArrayRecord file, each read when it is asked for. `source` builds it."""

    path: Path
    mode: str | None
    size: int | None
    background: tuple[int, int, int] | None

    def image(self, i: int) -> np.ndarray:
        """Read image i, (h, w, c)."""
        name = self.name(i)
        header, payload = _split(name, _read(name, self._reader, i + 1))
        if header["encoding"] == "png":
            # colour type 0 in the header of a PNG file is grey without alpha; the decoder refuses other bytes
            mode = self.mode or ("L" if payload[25:26] == b"\0" else "RGB")
            image = image_files.decode(name, payload, mode=mode, size=self.size, background=self.background)
            return _within(name, image, self.levels)
        stored = _within(name, _array(name, header, payload), self.levels)
        return image_files.convert_stored(
            name, stored, self.levels, mode=self.mode, size=self.size, background=self.background
        )

    def short_side(self, i: int) -> int | None:
        """The shorter side of image i, from the header of its PNG or the shape of its array."""
        name = self.name(i)
        try:
            header, payload = _split(name, _read(name, self._reader, i + 1))
            return (
                image_files.short_side(io.BytesIO(payload))
                if header["encoding"] == "png"
                else min(_array(name, header, payload).shape[:2])
            )
        except DataError:
            return None

    def name(self, i: int) -> str:
        """The path and the number of image i."""
        return f"{random_access.printable(self.path)}: image {i}"

    @functools.cached_property
    def _reader(self) -> "ArrayRecordReader":
        return _open(self.path)

    def __getstate__(self) -> dict[str, object]:
        # another process opens the file for itself
        return {name: value for name, value in self.__dict__.items() if name != "_reader"}


def source(
    path: str | os.PathLike[str],
    *,
    size: int | None = None,
    mode: str | None = None,
    background: tuple[int, int, int] | None = None,
    on_bad: str = "raise",
    conditional: str = "auto",
) -> ArrayRecordImages:
    """Open an ArrayRecord file of the layout above. Every record's header is read now.

    Args:
        path: the file.
        size: the side of the square images, or None; `image_files.read` states how 8-bit images are resized and
            cropped.
        mode: "RGB" or "L", or None to keep the channels.
        background: the colour under transparent pixels.
        on_bad: "raise" or "skip", for bad pictures in `random_access.scan`.
        conditional: "auto" uses the file's classes if there are 2 or more; "none" gives NO_LABEL.

    Raises:
        DataError: path first, for a file of another layout, or a damaged one.
        ImportError: without array_record.
    """
    image_files.check_options(mode, size, background)
    checks.choice("on_bad", on_bad, random_access.ON_BAD)
    file = Path(path)
    name = random_access.printable(file)
    _module()
    if not file.is_file():
        raise DataError(f"{name}: {'not a regular file' if file.exists() else 'no such file'}")
    reader = _open(file)
    about = _about(name, reader)
    labels: np.ndarray = np.array(
        [_split(f"{name}: image {i}", _read(name, reader, i + 1))[0]["label"] for i in range(about["count"])], np.int64
    )
    if labels.max() >= len(about["classes"]):
        raise DataError(
            f"{name}: labels lie in {labels.min()}…{labels.max()}, but there are {len(about['classes'])} classes"
        )
    used_labels, classes = random_access.labelled(labels, about["classes"], conditional)
    return ArrayRecordImages(
        labels=used_labels,
        classes=classes,
        levels=about["levels"],
        fingerprint=random_access.fingerprint(
            "array_record", random_access.file_digest(file), mode, size, background, classes
        ),
        on_bad=on_bad,
        path=file,
        mode=mode,
        size=size,
        background=background,
    )


def write(
    path: str | os.PathLike[str],
    images: Sequence[Example] | Source,
    *,
    classes: Sequence[str] = (),
    levels: int = 256,
    encoding: str = "png",
) -> None:
    """Write images to an ArrayRecord file, first under a temporary name: a complete file or none is there.

    Args:
        path: the file, whose name must end in .arrayrecord.
        images: (n,) examples, n ≥ 1.
        classes: the name of label 0, 1, …
        levels: whole values that a channel has.
        encoding: "png" for 8-bit images of 1 or 3 channels, without loss; "raw" for any image.

    Raises:
        DataError: for an image that the encoding cannot hold, or with values beyond the levels.
        ImportError: without array_record.
    """
    checks.choice("encoding", encoding, ENCODINGS)
    file = Path(path)
    if file.suffix != SUFFIX:
        raise DataError(f"{file}: must be named {SUFFIX}")
    if not len(images):
        raise DataError(f"{file}: no images to write")
    with files.replaced(file) as temporary:
        writer = _module().ArrayRecordWriter(str(temporary), "group_size:1")
        about = {"format": FORMAT, "version": VERSION, "count": len(images), "classes": list(classes), "levels": levels}
        writer.write(json.dumps(about).encode())
        for record in _records(file, images, encoding, levels):
            writer.write(record)
        writer.close()


def _records(file: Path, images: Sequence[Example] | Source, encoding: str, levels: int) -> Iterable[bytes]:
    for i in range(len(images)):
        image, label = images[i]
        _within(f"{file}: image {i}", image, levels)
        header: dict[str, object] = {"label": int(label), "encoding": encoding}
        if encoding == "png":
            payload = image_files.to_png(f"{file}: image {i}", image)
        elif image.dtype.name in _DTYPES:
            header |= {"dtype": image.dtype.name, "shape": list(image.shape)}
            payload = image.astype(image.dtype.newbyteorder("<")).tobytes()
        else:
            raise DataError(f"{file}: image {i} is {image.dtype}; {', '.join(_DTYPES)} can be stored")
        yield json.dumps(header).encode() + b"\n" + payload


def _module() -> ModuleType:
    try:
        from array_record.python import array_record_module
    except ImportError as error:
        raise ImportError(extras.needs("ArrayRecord files need", "array_record", "data")) from error
    module: ModuleType = array_record_module
    return module


def _open(file: Path) -> "ArrayRecordReader":
    try:
        return _module().ArrayRecordReader(str(file))
    except RuntimeError as error:
        raise DataError(f"{random_access.printable(file)}: not a whole ArrayRecord file: {error}") from error


def _read(name: str, reader: "ArrayRecordReader", number: int) -> bytes:
    try:
        record: bytes = reader.read([number])[0]
        return record
    except (RuntimeError, IndexError) as error:
        raise DataError(f"{name}: record {number} cannot be read: {error}") from error


def _about(name: str, reader: "ArrayRecordReader") -> Config:
    if not reader.num_records():
        raise DataError(f"{name}: not a whole ArrayRecord file: it holds no records")
    record = _read(name, reader, 0)
    try:
        about = foreign_files.decoded(record, name)
    except DataError:
        about = None
    if not isinstance(about, dict) or about.get("format") != FORMAT or about.get("version") != VERSION:
        raise DataError(
            f'{name}: record 0 is not the JSON of "{FORMAT}", version {VERSION}; array_records.write states and writes '
            "the layout"
        )
    classes, count, levels = about.get("classes"), about.get("count"), about.get("levels")
    if (
        not isinstance(classes, list)
        or not all(isinstance(each, str) for each in classes)
        or len(classes) > random_access.MOST_CLASSES
    ):
        raise DataError(f"{name}: record 0 holds no list of classes")
    if not isinstance(levels, int) or not 2 <= levels <= 2**16:
        raise DataError(f"{name}: record 0 says levels {levels!r}; 2 … 65536 are needed")
    if not isinstance(count, int) or count < 1 or count != reader.num_records() - 1:
        raise DataError(f"{name}: holds {reader.num_records() - 1} images, but record 0 says {count!r}; write it again")
    return about


def _split(name: str, record: bytes) -> tuple[Config, bytes]:
    end = record.find(b"\n", 0, _MOST_HEADER)
    try:
        header = foreign_files.decoded(record[: max(end, 0)], name)
    except DataError:
        header = None
    if (
        not isinstance(header, dict)
        or header.get("encoding") not in ENCODINGS
        or not isinstance(header.get("label"), int)
    ):
        raise DataError(f"{name}: its record does not begin with a line of JSON with label and encoding")
    if not NO_LABEL <= header["label"] < random_access.MOST_CLASSES:
        raise DataError(
            f"{name}: label {header['label']}; 0 … {random_access.MOST_CLASSES - 1} or NO_LABEL = {NO_LABEL} are needed"
        )
    return header, record[end + 1 :]


def _array(name: str, header: Config, payload: bytes) -> np.ndarray:
    dtype, shape = str(header.get("dtype")), header.get("shape")
    sides = shape if isinstance(shape, list) and all(isinstance(side, int) and side > 0 for side in shape) else []
    if dtype not in _DTYPES or len(sides) != 3 or len(payload) != math.prod(sides) * np.dtype(dtype).itemsize:
        raise DataError(f"{name}: {len(payload)} bytes are no {dtype} array of shape {shape!r}")
    return np.frombuffer(payload, np.dtype(dtype).newbyteorder("<")).reshape(sides)


def _within(name: str, image: np.ndarray, levels: int) -> np.ndarray:
    """The image, whose whole values lie in 0 … levels - 1. Floats have no levels."""
    if np.issubdtype(image.dtype, np.integer) and image.size and not 0 <= image.min() <= image.max() < levels:
        raise DataError(
            f"{name}: pixels lie in {image.min()}…{image.max()}, but {levels} levels are 0…{levels - 1}; write it with "
            "their levels"
        )
    return image
