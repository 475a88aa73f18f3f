"""Many samples in a folder, some thousand per file: a job may be killed at any moment, and several may fill one folder
at once.

Shard k holds the samples k · size … (k + 1) · size - 1. It is complete when its .npz and a .json with the digest of
that file are there. Each of the two appears whole or not at all. What is complete is never drawn again; the bytes
depend on the manifest alone.
"""

import dataclasses
import hashlib
import io
import os
import re
import secrets
import zipfile
from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np

from gendiff.core import files, foreign_files, npz
from gendiff.core.errors import ConfigError, DataError
from gendiff.runs.reporting import json_files

MANIFEST = "manifest.json"
LARGEST = 2**31
"""Samples of a folder: an index is an int32."""


@dataclasses.dataclass(frozen=True)
class Manifest:
    """manifest.json: all that the samples of a folder depend on.

    experiment: whose samples they are. num: how many. shard_size: in a shard. shape: of a sample, (h, w, c).
    classes: the name of label 0, 1, …
    settings: what a sample depends on; other settings are refused. environment: versions and machine of the process
        that began the folder.
    """

    experiment: str
    num: int
    shard_size: int
    shape: tuple[int, ...]
    classes: tuple[str, ...]
    settings: dict[str, object]
    environment: dict[str, object]

    def __post_init__(self) -> None:
        if not 1 <= self.num <= LARGEST:
            raise ConfigError(f"--num {self.num} is outside 1 … {LARGEST}, the number of different samples")
        if not 1 <= self.shard_size <= self.num:
            raise ConfigError(f"--shard-size {self.shard_size} is outside 1 … {self.num}, the number of samples")

    @property
    def count(self) -> int:
        """How many shards there are; the last may be smaller."""
        return -(-self.num // self.shard_size)

    def ids(self, number: int) -> range:
        """The samples of one shard."""
        return range(number * self.shard_size, min((number + 1) * self.shard_size, self.num))


@dataclasses.dataclass(frozen=True)
class ShardRecord:
    """shard_000000.json. first, count: its samples. finite: that every value was finite before it became a whole
    number.
    """

    sha256: str
    first: int
    count: int
    shape: tuple[int, ...]
    dtype: str
    finite: bool
    seconds: float


@dataclasses.dataclass(frozen=True)
class Shards:
    """The shards of one folder."""

    folder: Path
    manifest: Manifest

    def path(self, number: int) -> Path:
        """The .npz of a shard: `arr_0` (n, h, w, c) uint8 and `arr_1` (n,) int32, the classes."""
        return self.folder / f"shard_{number:06d}.npz"

    def problem(self, number: int, read: bool = True) -> str:
        """What is wrong with a shard, "" for a complete one. read: whether its bytes are compared with their digest."""
        path, ids = self.path(number), self.manifest.ids(number)
        about = path.with_suffix(".json")
        if not self._present(number):
            return "is absent"
        try:
            record = json_files.read(about, ShardRecord)
        except DataError as error:
            return f"has a broken record ({error})"
        if (record.first, record.count) != (ids.start, len(ids)):
            return f"holds samples {record.first} … {record.first + record.count - 1}, not {ids.start} … {ids.stop - 1}"
        if not read:
            return ""
        with open(foreign_files.regular(path), "rb") as file:
            intact = hashlib.file_digest(file, "sha256").hexdigest() == record.sha256
        return "" if intact else "has other bytes than were written (sha256 differs)"

    def write(self, number: int, images: np.ndarray, labels: np.ndarray, seconds: float) -> None:
        """Writes one shard. images: (n, h, w, c) uint8. labels: (n,) int32."""
        content, ids = io.BytesIO(), self.manifest.ids(number)
        np.savez(content, arr_0=images, arr_1=labels)  # NumPy stores no time, so equal arrays are equal bytes
        data = content.getvalue()
        json_files.write_bytes(self.path(number), data)
        digest = hashlib.sha256(data).hexdigest()
        record = ShardRecord(digest, ids.start, len(ids), images.shape, str(images.dtype), True, round(seconds, 3))
        json_files.write(self.path(number).with_suffix(".json"), record)

    def read(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """(images, labels) of one shard. DataError unless it is complete, intact, and of the manifest's shape."""
        path, ids = self.path(number), self.manifest.ids(number)
        if wrong := self.problem(number):
            raise DataError(f"{path} {wrong}: run the `sample` command of this folder again")
        images, labels = npz.guarded(path, lambda: npz.read(path, ["arr_0", "arr_1"])).values()
        shape = (len(ids), *self.manifest.shape)
        if images.shape != shape or images.dtype != np.uint8 or labels.shape != shape[:1] or labels.dtype != np.int32:
            stored = f"{images.dtype} {images.shape} and {labels.dtype} {labels.shape}"
            raise DataError(
                f"{path} holds {stored}, not uint8 {shape} and int32 {shape[:1]}: remove it, and run the `sample` "
                "command of this folder again"
            )
        return images, labels

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Every shard in order, one in memory at a time."""
        return map(self.read, range(self.manifest.count))

    def incomplete(self, read: bool = True) -> dict[int, str]:
        """The shards that are absent or damaged, and what is wrong with each. read: as for `problem`."""
        return {number: wrong for number in range(self.manifest.count) if (wrong := self.problem(number, read))}

    def all_complete(self, verified: Collection[int]) -> bool:
        """Whether every shard is complete. verified: those that are known to be, whose bytes are not read again."""
        others = [number for number in range(self.manifest.count) if number not in verified]
        return all(map(self._present, others)) and not any(map(self.problem, others))

    def _present(self, number: int) -> bool:
        path = self.path(number)
        return path.exists() and path.with_suffix(".json").exists()

    def tidy(self) -> None:
        """Removes what killed processes left behind. Only where all shards are complete, for then nobody writes."""
        for left in self.folder.glob(files.HALF_WRITTEN):
            left.unlink(missing_ok=True)


def create(path: str | os.PathLike[str], manifest: Manifest) -> tuple[Shards, list[str]]:
    """(the shards of the folder, notes on what differs in the environment); the folder and its manifest are made where
    they are absent.

    Raises ConfigError where the folder holds samples of other settings, or something else.
    """
    folder = foreign_files.expanded(path).absolute()
    if "://" in os.fspath(path) or folder.suffix or (folder.exists() and not folder.is_dir()):
        raise ConfigError(
            f"--out {os.fspath(path)}: --shard-size writes into a folder; `finalize` makes one file of it"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / MANIFEST
        if not file.exists():
            names = sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))
            strange = [] if MANIFEST in names else names  # another process may have begun since
            if strange:
                raise ConfigError(f"{folder} holds {strange[0]} but no {MANIFEST}: choose another --out")
            _write_first(file, manifest)
    except PermissionError as error:
        raise ConfigError(f"{folder} is not writable: choose another --out") from error
    from gendiff.training import compatibility  # loads JAX

    stored = json_files.read(file, Manifest)
    previous, new = (dataclasses.replace(each, environment={}) for each in (stored, manifest))
    if rows := compatibility.in_config(json_files.encode(previous), json_files.encode(new)):
        raise ConfigError(
            f"{folder} holds samples of other settings; choose another --out\n{compatibility.table(rows, most=7)}"
        )
    other = compatibility.in_config(json_files.encode(stored.environment), json_files.encode(manifest.environment))
    notes = [
        f"note: the folder was begun with {key} {old}, this process has {new}: bits may differ"
        for key, old, new in other
    ]
    return Shards(folder, stored), notes


def is_folder(path: str | os.PathLike[str]) -> bool:
    """Whether a folder of shards lies there."""
    return (foreign_files.expanded(path) / MANIFEST).is_file()


def existing(path: str | os.PathLike[str]) -> Shards:
    """The shards of a folder. DataError where there are none."""
    folder = foreign_files.expanded(path).absolute()
    if not is_folder(folder):
        raise DataError(f"{folder} holds no {MANIFEST}: it is no folder of `sample --shard-size`")
    return Shards(folder, json_files.read(folder / MANIFEST, Manifest))


def chosen(text: str | None, count: int, process: int = 0, processes: int = 1) -> list[int]:
    """The shards that `--shards FIRST-LAST` (both included) or `--shards N` names; None: all of them.

    Of these, process p of P takes those that are p modulo P. Raises ConfigError for another text, and for shards that
    do not exist.
    """
    begin, end = 0, count - 1
    if text is not None:
        pieces = text.split("-")
        if len(pieces) > 2 or not all(re.fullmatch(r"\d{1,9}", piece, re.ASCII) for piece in pieces):
            raise ConfigError(f"--shards {text}: give FIRST-LAST, such as 0-9, or one number")
        begin, end = int(pieces[0]), int(pieces[-1])
    if not 0 <= begin <= end < count:
        raise ConfigError(f"--shards {text}: the shards are 0 … {count - 1}")
    return [number for number in range(begin, end + 1) if number % processes == process]


def check_complete(shards: Shards, read: bool = True) -> None:
    """DataError that names the first shards that are not complete, if there are any. read: False where `Shards.read`
    follows for all.
    """
    if wrong := shards.incomplete(read):
        listed = "; ".join(f"shard {number} {reason}" for number, reason in list(wrong.items())[:5])
        raise DataError(f"{len(wrong)} of {shards.manifest.count} shards of {shards.folder} are not complete: {listed}")


def write_npz(shards: Shards, out: Path) -> None:
    """Writes `arr_0` (n, h, w, c) uint8 and `arr_1` (n,) int32 of all samples as one file, with one shard in memory at
    a time.
    """
    with files.replacing(out) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        with archive.open("arr_0.npy", "w", force_zip64=True) as member:
            shape = (shards.manifest.num, *shards.manifest.shape)
            header = {"shape": shape, "fortran_order": False, "descr": np.lib.format.dtype_to_descr(np.dtype(np.uint8))}
            np.lib.format.write_array_header_1_0(member, header)
            labels = []
            for images, classes in shards:
                member.write(np.ascontiguousarray(images).data)
                labels.append(classes)
        with archive.open("arr_1.npy", "w") as member:
            np.lib.format.write_array(member, np.concatenate(labels), allow_pickle=False)


def _write_first(file: Path, manifest: Manifest) -> None:
    """Writes the manifest unless another process has been faster."""
    mine = file.with_name(f".{file.name}.{secrets.token_hex(6)}.mine.tmp")  # containers share numbers of processes
    json_files.write(mine, manifest)
    try:
        os.link(mine, file)
    except FileExistsError:
        pass
    except OSError:  # a file system without hard links
        os.replace(mine, file)
    finally:
        mine.unlink(missing_ok=True)
