"""Digests of a stored step: the SHA-256 and size of each file, and the step's number, written beside the files.

They reveal a flipped byte, and the folder of another step.
"""

import hashlib
import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import NotRequired, TypedDict

from gendiff.core import files, foreign_files
from gendiff.core.errors import CheckpointCorruptError, CheckpointMismatchError, DataError

NAME = "digests.json"
FORMAT = 1
"""Format of the listing. Earlier listings had no format and no step."""

# It gets the time of the commit after the digests; it must exist and be JSON, no more. The step's own
# commit_success.txt comes after them too. No value is read from either.
_REWRITTEN = ("_CHECKPOINT_METADATA",)


class FileDigest(TypedDict):
    """The size and the SHA-256 of a file."""

    size: int
    sha256: str


class Listing(TypedDict):
    """The content of `digests.json`, with its own digest."""

    format: NotRequired[int]
    step: NotRequired[int]
    files: dict[str, FileDigest]
    sha256: NotRequired[str]


def write(folder: Path, step: int) -> None:
    """Write `digests.json` for all files now under the folder of a step, whole or not at all."""
    entries = {name: _entry(folder / name) for name in _names(folder) if name not in _REWRITTEN}
    listing: Listing = {"format": FORMAT, "step": step, "files": entries}
    listing["sha256"] = _of(listing)
    with files.replacing(folder / NAME) as stream:
        stream.write(json.dumps(listing, indent=1).encode())


def folder_digest(folder: Path) -> str:
    """Return one digest for all bytes of a folder, as `write` left it.

    Raises:
        CheckpointCorruptError: without a readable `digests.json`.
    """
    listing = _listing(folder)
    if isinstance(listing, str):
        raise CheckpointCorruptError(f"{folder}: {NAME} {listing}")
    return _of(listing["files"])


def verify(folder: Path, step: int, item: str | None = None) -> None:
    """Compare the files of a folder with their digests, and the expected step with the step that was written.

    With an item, such as "meta", its files alone are compared. A listing of before steps were recorded is taken with
    a warning: nothing tells whether its folder was renamed.

    Raises:
        CheckpointCorruptError: naming the step and the item of each bad file, unless the files are byte for byte those
            of that step.
        CheckpointMismatchError: where a later version of gendiff wrote the listing.
    """
    listing = _listing(folder)
    bad = [(NAME, listing)] if isinstance(listing, str) else _problems(folder, listing, step, item)
    if bad:
        problems = [f"item {name.split('/')[0]}: {name} {problem}" for name, problem in bad]
        raise CheckpointCorruptError(f"step {step} is corrupt: {'; '.join(problems)} (in {folder})")


def _problems(folder: Path, listing: Listing, step: int, item: str | None) -> list[tuple[str, str]]:
    problems = []
    if "format" not in listing:
        warnings.warn(
            f"{folder} was written before steps were recorded: that it is step {step} cannot be verified", stacklevel=5
        )
    elif listing["format"] != FORMAT:
        raise CheckpointMismatchError(
            f"{folder} has format {listing['format']}, this version of gendiff reads {FORMAT}: use a later one"
        )
    elif listing["step"] != step:
        problems.append((NAME, f"was written as step {listing['step']}: the folder was renamed, copied or linked"))
    for name, expected in listing["files"].items():
        if item is not None and name.split("/")[0] != item:
            continue
        path = folder / name
        if not path.is_file():
            problems.append((name, "is missing"))
        elif path.stat().st_size != expected["size"]:
            problems.append((name, f"has {path.stat().st_size} bytes instead of {expected['size']}"))
        elif _entry(path) != expected:
            problems.append((name, "has other bytes than were written (sha256 differs)"))
    for name in _REWRITTEN:
        try:
            foreign_files.json_object(folder / name)
        except DataError as error:
            problems.append((name, str(error).removeprefix(f"{folder / name}: ")))
    return problems


def _listing(folder: Path) -> Listing | str:
    """Return the stored listing without its digest, or a text that says what is wrong with it."""
    if not (folder / NAME).exists():
        return "is missing, so nothing tells whether the bytes are those that were written"
    try:
        stored: Listing = foreign_files.decoded(foreign_files.text(folder / NAME), NAME)
        digest = stored.pop("sha256")
        # before there were formats, the digest was that of the files alone
        intact = isinstance(stored["files"], dict) and digest == _of(stored if "format" in stored else stored["files"])
    except (DataError, KeyError, TypeError, AttributeError) as error:
        return f"cannot be read ({type(error).__name__})"
    if not intact:
        return "has other bytes than were written (its own sha256 differs)"
    if stored.get("format", FORMAT) == FORMAT:  # a later version may record other things
        entries = stored["files"].values()
        complete = all(isinstance(each, dict) and {"size", "sha256"} <= each.keys() for each in entries)
        if not complete or "format" in stored and "step" not in stored:
            return "lacks its step, or the size or sha256 of a file"
    return stored


def _names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def _entry(path: Path) -> FileDigest:
    with open(path, "rb") as stream:
        return {"size": path.stat().st_size, "sha256": hashlib.file_digest(stream, "sha256").hexdigest()}


def _of(listing: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(listing, sort_keys=True).encode()).hexdigest()
