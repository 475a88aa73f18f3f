"""SHA-256 and size of every file of a folder, written beside them: a flipped byte restores without an error unless somebody looks."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from gendiff.core.errors import CheckpointCorruptError

NAME = "digests.json"

_REWRITTEN = ("_CHECKPOINT_METADATA",)  # gets the time of the commit after the digests; must exist and be JSON, no more


def write(folder: Path) -> None:
    """Write `digests.json` for all files now under the folder, through a temporary file, an fsync and a rename."""
    files = {name: _entry(folder / name) for name in _names(folder) if name not in _REWRITTEN}
    temporary = folder / f"{NAME}.tmp"
    with open(temporary, "w", encoding="utf-8") as stream:
        json.dump({"files": files, "sha256": _of_listing(files)}, stream, indent=1)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(temporary, folder / NAME)


def of(folder: Path) -> str:
    """Return one digest for all bytes of a folder, as `write` left it.

    Raises:
        CheckpointCorruptError: without a readable `digests.json`.
    """
    files = _listing(folder)
    if isinstance(files, str):
        raise CheckpointCorruptError(f"{folder}: {NAME} {files}")
    return _of_listing(files)


def verify(folder: Path, what: str) -> None:
    """Compare the files of a folder with their digests.

    Raises:
        CheckpointCorruptError: naming `what` and the item of each bad file, unless the files are byte for byte those that were written.
    """
    problems = [f"item {name.split('/')[0]}: {name} {problem}" for name, problem in _problems(folder)]
    if problems:
        raise CheckpointCorruptError(f"{what} is corrupt: {'; '.join(problems)} (in {folder})")


def _problems(folder: Path) -> list[tuple[str, str]]:
    files = _listing(folder)
    if isinstance(files, str):
        return [(NAME, files)]
    found = []
    for name, expected in files.items():
        path = folder / name
        if not path.is_file():
            found.append((name, "is missing"))
        elif path.stat().st_size != expected["size"]:
            found.append((name, f"has {path.stat().st_size} bytes instead of {expected['size']}"))
        elif _entry(path) != expected:
            found.append((name, "has other bytes than were written (sha256 differs)"))
    for name in _REWRITTEN:
        try:
            json.loads((folder / name).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            found.append((name, f"cannot be read ({type(error).__name__})"))
    return found


def _listing(folder: Path) -> dict[str, Any] | str:
    """The stored entries by file name, or what is wrong with them."""
    try:
        stored = json.loads((folder / NAME).read_text(encoding="utf-8"))
        files = stored["files"]
        intact = isinstance(files, dict) and stored["sha256"] == _of_listing(files)
    except FileNotFoundError:
        return "is missing, so nothing tells whether the bytes are those that were written"
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"cannot be read ({type(error).__name__})"
    return files if intact else "has other bytes than were written (its own sha256 differs)"


def _names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def _entry(path: Path) -> dict[str, Any]:
    with open(path, "rb") as stream:
        return {"size": path.stat().st_size, "sha256": hashlib.file_digest(stream, "sha256").hexdigest()}


def _of_listing(files: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()
