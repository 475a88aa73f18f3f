"""A trained network in one .safetensors file, small enough to be committed, which says what it is and is checked when
it is read.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol, TypeVar

import msgspec
import numpy as np
import safetensors
import safetensors.numpy

from gendiff.core import files, foreign_files
from gendiff.core.errors import CheckpointCorruptError, CheckpointMismatchError, DataError, NonFiniteError
from gendiff.core.types import Numeric
from gendiff.runs.ranges import Config
from gendiff.runs.reporting import json_files
from gendiff.training import compatibility

ENTRY = "gendiff"
"""The text entry in which a file says what it is."""


class Stated(Config, Protocol):
    """What a file says of itself, with its digest."""

    @property
    def sha256(self) -> str: ...


About = TypeVar("About", bound=Stated)
"""A frozen dataclass of what a file says of itself, with the fields `format` and `sha256`."""
_HEADINGS = ("parameter", "in the file", "in the network")


def write(path: Path, arrays: Mapping[str, np.ndarray], about: About) -> About:
    """Write a network, and return what the file tells of itself, its digest too."""
    header = dataclasses.replace(about, sha256=digest(arrays, about))
    text = json.dumps(json_files.encode(header), ensure_ascii=False, sort_keys=True)
    # several entries would come in random order
    content = safetensors.numpy.save(dict(sorted(arrays.items())), metadata={ENTRY: text})
    with files.replacing(path) as file:
        file.write(content)
    return header


def read_about(path: Path, kind: type[About], number: int, experiment: str) -> About:
    """What a file says of itself, without its parameters.

    Raises DataError for what is no whole file of a network of this experiment, and CheckpointMismatchError for one
    whose format has another number.
    """
    try:
        with safetensors.safe_open(foreign_files.regular(path), "np") as file:
            text = (file.metadata() or {}).get(ENTRY)
    except (safetensors.SafetensorError, OSError) as error:
        raise DataError(f"{path}: not a whole safetensors file: {error}") from error
    if text is None:
        raise DataError(
            f"{path}: holds no network of {experiment}: it has no text entry {ENTRY!r}, which `run {experiment}` "
            "writes; a single file of another model goes with its folder: --model DIR --weights FILE"
        )
    fields = foreign_files.decoded(text, f"{path}: its text entry {ENTRY!r}")
    if isinstance(fields, dict) and fields.get("experiment", experiment) != experiment:
        raise DataError(f"{path}: holds no network of {experiment}, but one of {fields['experiment']}")
    written = fields.get("format") if isinstance(fields, dict) else None
    if written != number:
        raise CheckpointMismatchError(
            f"{path}: has format {written!r}, and this version of gendiff reads {number}: use a later one"
        )
    return json_files.decode(kind, fields, f"{path}: {ENTRY}")


def check_whole(path: Path, arrays: Mapping[str, np.ndarray], about: Stated) -> None:
    """CheckpointCorruptError for other bytes than were written."""
    if about.sha256 != digest(arrays, about):
        raise CheckpointCorruptError(
            f"{path}: has other bytes than were written (sha256 differs): copy it again, or check it out anew"
        )


def check_parameters(path: Path, arrays: Mapping[str, np.ndarray], expected: Mapping[str, Numeric]) -> None:
    """CheckpointMismatchError for other parameters than these, and NonFiniteError for some with NaN."""
    rows = compatibility.in_outline(compatibility.outline(arrays), compatibility.outline(expected))
    compatibility.refuse(
        f"{path}: its parameters are not those of the network that its configuration describes", rows, _HEADINGS
    )
    if bad := [name for name, array in arrays.items() if not np.isfinite(array).all()]:
        raise NonFiniteError(
            f"{path}: {len(bad)} parameters are not finite, the first is {bad[0]}: its training has failed"
        )


def digest(arrays: Mapping[str, np.ndarray], about: Stated) -> str:
    """SHA-256 of every name, type, shape and byte, and of what the file says of itself."""
    state = hashlib.sha256(
        msgspec.json.encode(json_files.encode(dataclasses.replace(about, sha256="")), order="sorted")
    )
    for name, array in sorted(arrays.items()):
        state.update(f"\n{name} {array.dtype} {array.shape}\n".encode())
        state.update(np.ascontiguousarray(array).tobytes())
    return state.hexdigest()
