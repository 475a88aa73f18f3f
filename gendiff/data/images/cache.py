"""Decoded or encoded pictures on disk: computed once, in shards, and read back by memory map.

A folder holds one folder per key, and that one holds `shard_00000.npy` (the arrays of a run of rows),
`shard_00000.json` (its SHA-256, and what a look at each picture gave) and so on. Each file is written under a temporary
name, synced and renamed, the JSON last; so a shard counts if and only if its JSON fits it, and a build that was killed
at any moment goes on where it was. The key is SHA-256 over the fingerprint of the source (the contents of its files and
the options), the name of the encoding, the shard size and the version of this layout: a changed file has another key.
Folders of keys that are no longer needed may be deleted at any time.
"""

import dataclasses
import functools
import json
import math
import os
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

from gendiff.core import checks, files, foreign_files
from gendiff.core.errors import DataError
from gendiff.core.types import ArrayLike
from gendiff.data.images import random_access
from gendiff.data.images.random_access import Look, Source

VERSION = 1
PIXELS = "pixels"
_STALE_SECONDS = 3600


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class CachedImages(Source):
    """The arrays of a cache, each copied out of its shard when it is read. `build` makes it."""

    shards: tuple[Path, ...]
    stops: np.ndarray

    def image(self, i: int) -> np.ndarray:
        """Copy array i."""
        shard = int(np.searchsorted(self.stops, i, side="right"))
        return np.array(self._mapped[shard][i - (self.stops[shard - 1] if shard else 0)])

    def name(self, i: int) -> str:
        """The shards' folder and the number of the array."""
        return f"{random_access.printable(self.shards[0].parent)}: image {i}"

    @functools.cached_property
    def _mapped(self) -> list[np.ndarray]:
        return [np.load(shard, mmap_mode="r") for shard in self.shards]

    def __getstate__(self) -> dict[str, object]:
        # another process maps the files for itself
        return {name: value for name, value in self.__dict__.items() if name != "_mapped"}


def build(
    source: Source,
    folder: str | os.PathLike[str],
    *,
    encode: Callable[[np.ndarray], ArrayLike] | None = None,
    name: str = PIXELS,
    shard_size: int = 1024,
    batch: int = 64,
    on_shard: Callable[[int, int], object] | None = None,
) -> CachedImages:
    """Complete the cache of a source, and open it.

    What is there already is verified (its SHA-256 is computed, 0.4 GB per second and core or more) and not computed
    again. A shard whose bytes changed is computed again, with a warning. Memory holds the pictures of one shard.
    Several processes may build one cache at a time: they do the same work twice, and the result is right.

    Args:
        source: (n,) pictures of one size; one that was opened with `scan=False` is decoded here only.
        folder: where the cache lies; it is made where it is missing.
        encode: from pictures (b, h, w, c), b ≤ `batch`, to their arrays (b, …), such as the latents of an autoencoder.
            It must give the same each time. None keeps the pictures.
        name: of the encoding, part of the key: it must say which function this is, with its version and its parameters'
            digest.
        shard_size: pictures per shard, 1 or more.
        batch: the most pictures that `encode` gets at a time.
        on_shard: is called as `on_shard(done, shards)` after each shard.

    Returns:
        The arrays as a source, with the source's labels, classes and digests. `fingerprint` is the source's own without
        `encode`.

    Raises:
        DataError: as `random_access.scan` does, for bad pictures and mixed sizes.
        ValueError: for `encode` without a name of its own, or a name without `encode`.
        OSError: where the cache cannot be written.
    """
    checks.integer("shard_size", shard_size, 1)
    checks.integer("batch", batch, 1)
    if (encode is None) != (name == PIXELS):
        raise ValueError(
            f"name = {name!r}: {PIXELS!r} is the name without encode, and an encode function needs one of its own"
        )
    key = random_access.fingerprint("cache", VERSION, source.fingerprint, name, shard_size)
    target = Path(folder) / key[:32]
    target.mkdir(parents=True, exist_ok=True)
    _clear(target)
    total = math.ceil(len(source) / shard_size)
    looks: list[Look] = []
    for number in range(total):
        path = target / f"shard_{number:05d}.npy"
        rows = range(number * shard_size, min((number + 1) * shard_size, len(source)))
        there = _complete(path, len(rows))
        looks += _make(path, source, rows, encode, batch, looks) if there is None else there
        if on_shard is not None:
            on_shard(number + 1, total)
    result = random_access.checked(source, looks)
    counts = [
        sum(not isinstance(look, str) for look in looks[at : at + shard_size])
        for at in range(0, len(looks), shard_size)
    ]
    filled = [number for number, count in enumerate(counts) if count]
    return CachedImages(
        labels=result.labels,
        classes=result.classes,
        levels=result.levels,
        skipped=result.skipped,
        fingerprint=result.fingerprint if encode is None else random_access.fingerprint(name, result.fingerprint),
        known_digests=result.known_digests,
        shards=tuple(target / f"shard_{number:05d}.npy" for number in filled),
        stops=np.cumsum([counts[number] for number in filled]),
    )


def _make(
    path: Path,
    source: Source,
    rows: range,
    encode: Callable[[np.ndarray], ArrayLike] | None,
    batch: int,
    before: list[Look],
) -> list[Look]:
    """Write one shard and its JSON, and return what the looks gave."""
    images: list[np.ndarray] = []
    looks: list[Look] = []
    for look, image in random_access.in_threads(functools.partial(_look, source), rows):
        looks.append(look)
        if image is not None:
            images.append(image)
    random_access.check_one_size(source, [*before, *looks])
    if images:
        pictures = np.stack(images)
        encoded = (
            [_encoded(encode, pictures[at : at + batch]) for at in range(0, len(pictures), batch)]
            if encode
            else [pictures]
        )
        with files.replacing(path) as stream:
            np.save(stream, np.concatenate(encoded))
    about: dict[str, object] = {
        "looks": [look if isinstance(look, str) else [look[0].hex(), look[1]] for look in looks]
    }
    about |= {"sha256": random_access.file_digest(path).hex() if images else ""}
    text = json.dumps({"about": about, "sha256": random_access.fingerprint(json.dumps(about))})
    with files.replacing(path.with_suffix(".json")) as stream:
        stream.write(text.encode())
    return looks


def _look(source: Source, row: int) -> tuple[Look, np.ndarray | None]:
    try:
        image = source.image(row)
    except DataError as error:
        return str(error), None
    return (random_access.digest(image), image.shape), image


def _encoded(encode: Callable[[np.ndarray], ArrayLike], pictures: np.ndarray) -> np.ndarray:
    result = np.asarray(encode(pictures))
    if result.dtype.kind not in "uif" or result.shape[:1] != pictures.shape[:1]:
        raise ValueError(
            f"encode gave {result.dtype} {result.shape} for {len(pictures)} pictures; integers or floats "
            f"({len(pictures)}, …) that NumPy itself has are needed, so cast bfloat16 to float32"
        )
    return result


def _complete(path: Path, count: int) -> list[Look] | None:
    """What the looks gave, if the shard is whole; else None, with a warning if it once was."""
    about = path.with_suffix(".json")
    if not about.exists():
        return None
    try:
        stored = foreign_files.json_object(about)
        if (
            random_access.fingerprint(json.dumps(stored["about"])) != stored["sha256"]
            or len(stored["about"]["looks"]) != count
        ):
            raise ValueError("its JSON has other content than was written")
        sha256 = stored["about"]["sha256"]
        if sha256 and random_access.file_digest(path).hex() != sha256:
            raise ValueError("it has other bytes than were written")
        looks = stored["about"]["looks"]
        return [look if isinstance(look, str) else (bytes.fromhex(look[0]), tuple(look[1])) for look in looks]
    except (OSError, ValueError, KeyError, TypeError) as error:
        warnings.warn(f"{path}: damaged ({error}); it is computed again", stacklevel=3)
        about.unlink(missing_ok=True)
        return None


def _clear(folder: Path) -> None:
    """Remove what killed builds have left; a younger file may belong to another process that is at work."""
    for left in folder.glob(files.HALF_WRITTEN):
        try:
            if time.time() - left.stat().st_mtime > _STALE_SECONDS:
                left.unlink()
        except FileNotFoundError:
            pass  # the other process was faster
