"""The key and the settings of a watermark as one JSON file, from which generator and detector build the same record."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np

from gendiff.core import files, foreign_files
from gendiff.core.errors import DataError
from gendiff.provenance import image_watermarks, spread_spectrum, text_watermarks
from gendiff.provenance.image_watermarks import GaussianShading, ImageWatermark, TreeRing
from gendiff.provenance.spread_spectrum import SpreadSpectrum
from gendiff.provenance.text_watermarks import GreenList, Gumbel, TextWatermark, Tournament

FORMAT = "gendiff text watermark 1"
IMAGE_FORMAT = "gendiff image watermark 1"
_NAMES = {FORMAT: "a text", IMAGE_FORMAT: "a picture"}

Mark = TypeVar("Mark", bound=TextWatermark | ImageWatermark)


@dataclass(frozen=True)
class _Kind(Generic[Mark]):
    """How a mark is built, its record, its settings, and those that may be missing."""

    build: Callable[..., Mark]
    record: type[Mark]
    settings: dict[str, type]
    optional: dict[str, type] = field(default_factory=dict)


_GREEN: dict[str, type] = {"vocabulary": int, "gamma": float, "delta": float, "width": int}
_TEXTS: dict[str, _Kind[TextWatermark]] = {
    "green list": _Kind(text_watermarks.green_list, GreenList, _GREEN, {"payload": list}),
    "self-hash": _Kind(text_watermarks.self_hash, GreenList, _GREEN),
    "gumbel": _Kind(text_watermarks.gumbel, Gumbel, {"vocabulary": int, "width": int}),
    "tournament": _Kind(text_watermarks.tournament, Tournament, {"vocabulary": int, "layers": int, "width": int}),
}
_SPREAD: dict[str, type] = {"shape": list, "strength": float, "bits": list, "cell": int, "masked": bool}
_IMAGES: dict[str, _Kind[ImageWatermark]] = {
    "tree ring": _Kind(image_watermarks.tree_ring, TreeRing, {"shape": list, "radius": int, "channel": int}),
    "gaussian shading": _Kind(image_watermarks.gaussian_shading, GaussianShading, {"shape": list, "bits": list}),
    "spread spectrum": _Kind(spread_spectrum.spread_spectrum, SpreadSpectrum, _SPREAD),
}
_KINDS: dict[str, dict[str, _Kind[TextWatermark]] | dict[str, _Kind[ImageWatermark]]] = {
    FORMAT: _TEXTS,
    IMAGE_FORMAT: _IMAGES,
}
"""The watermarks of each format, by their names in files."""


def save(path: str | Path, mark: TextWatermark | ImageWatermark) -> None:
    """Write a watermark, its secret key included: who reads the file can write the mark and remove it.

    A nonce is no setting: it belongs to one picture and travels with that.

    Raises:
        TypeError: for a record that is none of gendiff's, and numbers that are not one each.
    """
    form, name = _kind(mark)
    kind, words = _KINDS[form][name], np.asarray(mark.words).tolist()
    data: dict[str, object] = {"format": form, "kind": name, "key": f"{words[0]:08x}{words[1]:08x}"}
    for setting, cast in (kind.settings | kind.optional).items():
        value = getattr(mark, setting)
        if value is None and setting in kind.optional:
            continue
        if cast is not list and np.ndim(value) != 0:
            raise TypeError(f"{setting} has shape {np.shape(value)}: a file holds one number")
        data[setting] = np.asarray(value).tolist() if cast is list else cast(value)
    with files.replacing(path) as file:  # the key is in it, and the old one must not be lost
        file.write((json.dumps(data, indent=2) + "\n").encode())


def load(path: str | Path, *, vocabulary: int | None = None) -> TextWatermark:
    """Read the watermark of texts.

    Args:
        path: what `save` wrote.
        vocabulary: tokens of the model or tokenizer at hand, which must be those of the mark.

    Raises:
        DataError: path first, for a file that is no such mark, lacks a setting or has an unknown one, and for another
            vocabulary.
    """
    mark = _read(Path(path), FORMAT, _TEXTS)
    if vocabulary is not None and mark.vocabulary != vocabulary:
        raise DataError(f"{path}: the mark is for {mark.vocabulary} tokens, but there are {vocabulary}")
    return mark


def load_image(path: str | Path, *, shape: tuple[int, ...] | None = None) -> ImageWatermark:
    """Read the watermark of pictures.

    Args:
        path: what `save` wrote.
        shape: of the pictures at hand or their noise, which must be that of the mark.

    Raises:
        DataError: path first, for a file that is no such mark, lacks a setting or has an unknown one, and for another
            shape.
    """
    mark = _read(Path(path), IMAGE_FORMAT, _IMAGES)
    if shape is not None and mark.shape != tuple(shape):
        raise DataError(f"{path}: the mark is for the shape {list(mark.shape)}, but pictures are {list(shape)}")
    return mark


def _read(file: Path, form: str, kinds: Mapping[str, _Kind[Mark]]) -> Mark:
    data = foreign_files.json_object(file)
    if (label := data.pop("format", None)) != form:
        other = f": it is one of {_NAMES[label]}" if isinstance(label, str) and label in _NAMES else ""
        raise DataError(f"{file}: no watermark of {_NAMES[form]}: its format is not {form!r}{other}")
    name = data.pop("kind", None)
    if not isinstance(name, str) or name not in kinds:
        raise DataError(f"{file}: kind = {name!r} is none of {', '.join(kinds)}")
    needed: dict[str, type] = {"key": str, **kinds[name].settings}
    allowed = needed | kinds[name].optional
    if wrong := [each for each in {**needed, **data} if each not in allowed or (each in needed and each not in data)]:
        raise DataError(f"{file}: {', '.join(wrong)}: unknown to a {name}, or missing in it")
    for setting, value in data.items():
        cast = allowed[setting]
        if isinstance(value, bool) != (cast is bool) or not isinstance(value, (int, float) if cast is float else cast):
            raise DataError(f"{file}: {setting} = {value!r} must be {cast.__name__}")
    with foreign_files.naming(file):
        return kinds[name].build(int(data.pop("key"), 16), **data)


def _kind(mark: object) -> tuple[str, str]:
    """The format and the name of a mark."""
    if isinstance(mark, GreenList) and mark.robust:
        return FORMAT, "self-hash"
    for form, kinds in _KINDS.items():
        for name, kind in kinds.items():
            if isinstance(mark, kind.record):
                return form, name
    raise TypeError(f"a watermark of this chapter is needed, got {type(mark).__name__}")
