"""The key and the settings of a text watermark as one JSON file, from which generator and detector build the same record."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from gendiff.core import json_object
from gendiff.core.errors import DataError
from gendiff.provenance import text_watermarks
from gendiff.provenance.text_watermarks import GreenList, Gumbel, TextWatermark, Tournament

FORMAT = "gendiff text watermark 1"
_GREEN: dict[str, type] = {"gamma": float, "delta": float, "width": int}
_KINDS: dict[str, tuple[Any, type[TextWatermark], dict[str, type]]] = {
    "green list": (text_watermarks.green_list, GreenList, _GREEN),
    "self-hash": (text_watermarks.self_hash, GreenList, _GREEN),
    "gumbel": (text_watermarks.gumbel, Gumbel, {"width": int}),
    "tournament": (text_watermarks.tournament, Tournament, {"layers": int, "width": int}),
}
"""What a file calls a mark -> its builder, its record and its settings."""


def save(path: str | Path, mark: TextWatermark) -> None:
    """Write a watermark, its secret key included: who reads the file can write the mark and remove it.

    Raises:
        TypeError: for a record that is none of gendiff's, and numbers that are not one each.
    """
    kind = _kind(mark)
    words = np.asarray(mark.words).tolist()
    found: dict[str, Any] = {"format": FORMAT, "kind": kind, "key": f"{words[0]:08x}{words[1]:08x}", "vocabulary": mark.vocabulary}
    for name, of in _KINDS[kind][2].items():
        if np.ndim(getattr(mark, name)) != 0:
            raise TypeError(f"{name} has shape {np.shape(getattr(mark, name))}: a file holds one number")
        found[name] = of(getattr(mark, name))
    if isinstance(mark, GreenList) and mark.payload is not None:
        found["payload"] = np.asarray(mark.payload).tolist()
    Path(path).write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def load(path: str | Path, *, vocabulary: int | None = None) -> TextWatermark:
    """Read a watermark.

    Args:
        path: what `save` wrote.
        vocabulary: tokens of the model or tokenizer at hand, which must be those of the mark.

    Raises:
        DataError: path first, for a file that is no such mark, lacks a setting or has an unknown one, and for another vocabulary.
    """
    file = Path(path)
    found = json_object.read(file)
    if found.pop("format", None) != FORMAT:
        raise DataError(f"{file}: no watermark of a text: its format is not {FORMAT!r}")
    kind = found.pop("kind", None)
    if kind not in _KINDS:
        raise DataError(f"{file}: kind = {kind!r} is none of {', '.join(_KINDS)}")
    needed: dict[str, type] = {"key": str, "vocabulary": int, **_KINDS[kind][2]}
    allowed = needed | ({"payload": list} if kind == "green list" else {})
    if wrong := [name for name in {**needed, **found} if name not in allowed or (name in needed and name not in found)]:
        raise DataError(f"{file}: {', '.join(wrong)}: unknown to a {kind}, or missing in it")
    for name, value in found.items():
        if isinstance(value, bool) or not isinstance(value, (int, float) if allowed[name] is float else allowed[name]):
            raise DataError(f"{file}: {name} = {value!r} must be {allowed[name].__name__}")
    if vocabulary is not None and found["vocabulary"] != vocabulary:
        raise DataError(f"{file}: the mark is for {found['vocabulary']} tokens, but there are {vocabulary}")
    try:
        return _KINDS[kind][0](int(found.pop("key"), 16), **found)
    except (ValueError, TypeError) as error:
        raise DataError(f"{file}: {error}") from error


def _kind(mark: TextWatermark) -> str:
    if isinstance(mark, GreenList) and mark.robust:
        return "self-hash"
    for kind, (_, of, _) in _KINDS.items():
        if isinstance(mark, of):
            return kind
    raise TypeError(f"a watermark of this module is needed, got {type(mark).__name__}")
