"""Random access to the examples of a data set: `source[i]` is one image and its label, wherever they lie."""

import abc
import dataclasses
import hashlib
import itertools
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

import numpy as np

from gendiff.core import checks
from gendiff.core.errors import BadPicturesError, DataError
from gendiff.core.renamed import renamed
from gendiff.core.types import NO_LABEL

T = TypeVar("T")
S = TypeVar("S")
CONDITIONAL = ("auto", "none")
ON_BAD = ("raise", "skip")
Look = tuple[bytes, tuple[int, ...]] | str
"""What reading a picture gave: its digest and shape, or the message of what is wrong with it."""
MOST_CLASSES = 2**20
"""A network holds a row for each class, so a stray label must not set their number."""
_LISTED = 5
_BLOCK = 4096


class Example(NamedTuple):
    """One image and its label.

    Args:
        image: (h, w, c) whole values 0 … levels - 1, uint8 up to 256 levels and uint16 above; or float32, which is used
            as it is.
        label: int32, NO_LABEL where there is no class.
    """

    image: np.ndarray
    label: np.int32


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Source(abc.ABC):
    """A set of images that are read one at a time. A kind of source defines `image` and `name`.

    Also known as: map-style dataset.

    Args:
        labels: (n,) int32, NO_LABEL where there are no classes.
        classes: the name of label 0, 1, …
        levels: whole values that a channel has.
        skipped: one message, path first, per picture that was left out.
        fingerprint: SHA-256 (hexadecimal) over contents, names and options: equal if and only if a resumed run sees the
            same data.
        on_bad: "raise" or "skip": what `scan` does with a picture that cannot be read.
        known_digests: what `digests` returns, where it is known already.
    """

    labels: np.ndarray
    classes: tuple[str, ...] = ()
    levels: int = 256
    skipped: tuple[str, ...] = ()
    fingerprint: str
    on_bad: str = "raise"
    known_digests: tuple[bytes, ...] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, i: int) -> Example:
        if not 0 <= i < len(self):
            raise IndexError(f"example {i} of {len(self)}")
        return Example(self.image(int(i)), np.int32(self.labels[i]))

    @abc.abstractmethod
    def image(self, i: int) -> np.ndarray:
        """Read image i, (h, w, c)."""

    @abc.abstractmethod
    def name(self, i: int) -> str:
        """The name of image i in errors: its path."""

    def short_side(self, i: int) -> int | None:
        """The shorter side of image i as stored, before any resizing; None where it cannot be read or has no file."""
        return None

    def digests(self) -> tuple[bytes, ...]:
        """SHA-256 of each image after decoding: equal for exact copies of a picture.

        Reads every image, unless a scan has done so.
        """
        return self.known_digests or tuple(in_threads(lambda i: digest(self.image(i)), range(len(self))))


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Subset(Source):
    """Some rows of a source, as a source. `subset` builds it."""

    source: Source
    rows: np.ndarray

    def image(self, i: int) -> np.ndarray:
        """Read image i, (h, w, c)."""
        return self.source.image(int(self.rows[i]))

    def name(self, i: int) -> str:
        """The name of image i in errors."""
        return self.source.name(int(self.rows[i]))

    def short_side(self, i: int) -> int | None:
        """The shorter side of image i as it is stored."""
        return self.source.short_side(int(self.rows[i]))


def subset(
    source: Source, rows: np.ndarray, *, skipped: tuple[str, ...] | None = None, digests: Sequence[bytes] | None = None
) -> Source:
    """Choose rows of a source.

    Args:
        source: (n,) examples.
        rows: (k,) integers 0 … n - 1, in the order of the result.
        skipped: messages of the result; None keeps the source's.
        digests: those of the chosen images, where they are known.
    """
    rows = np.asarray(rows, dtype=np.int64)
    known = source.known_digests
    return Subset(
        source=source,
        rows=rows,
        labels=source.labels[rows],
        classes=source.classes,
        levels=source.levels,
        skipped=source.skipped if skipped is None else skipped,
        fingerprint=source.fingerprint
        if np.array_equal(rows, np.arange(len(source)))
        else fingerprint(source.fingerprint, rows.tobytes()),
        on_bad=source.on_bad,
        known_digests=tuple(digests) if digests is not None else known and tuple(known[row] for row in rows),
    )


def scan(source: Source) -> Source:
    """Read every picture once, so that a bad one is known before any training.

    Returns:
        The source with its digests. With `on_bad="skip"` pictures that cannot be read are left out, and their messages
        are in `skipped`.

    Raises:
        DataError: one for all bad pictures, a BadPicturesError if there are several; for mixed sizes; when no picture
            is left.
    """

    def look(i: int) -> Look:
        try:
            image = source.image(i)
        except DataError as error:
            return str(error)
        return digest(image), image.shape

    return checked(source, in_threads(look, range(len(source))))


def checked(source: Source, looks: Sequence[Look]) -> Source:
    """The source after a look at every picture; raises and returns what `scan` states."""
    bad = [look for look in looks if isinstance(look, str)]
    rows = [row for row, look in enumerate(looks) if not isinstance(look, str)]
    if bad and (source.on_bad == "raise" or not rows):
        raise refusal(bad, len(looks), fixable=bool(rows))
    check_one_size(source, looks)
    digests = [look[0] for look in looks if not isinstance(look, str)]
    return subset(source, np.array(rows), skipped=(*source.skipped, *bad), digests=digests)


def check_one_size(source: Source, looks: Sequence[Look]) -> None:
    """Raise DataError unless all pictures that could be read, rows 0, 1, … of the source, have one shape."""
    shapes = {row: look[1] for row, look in enumerate(looks) if not isinstance(look, str)}
    first = next(iter(shapes), 0)
    for row, shape in shapes.items():
        if shape != shapes[first]:
            raise DataError(
                f"{source.name(row)}: shape {shape}, but {source.name(first)} has {shapes[first]}; "
                "pass size= to resize and crop all to one size"
            )


def refusal(bad: Sequence[str], count: int, *, fixable: bool = True) -> DataError:
    """The error for bad files: the first 5 of them, how many of `count` there are, and how many for each reason."""
    if len(bad) == 1:
        return DataError(bad[0] + ('; repair or remove it, or pass on_bad="skip"' if fixable else ""))
    more = [f"… and {len(bad) - _LISTED} more"] if len(bad) > _LISTED else []
    fix = 'repair or remove them, or pass on_bad="skip"' if fixable else "none is left"
    last = f"{len(bad)} of {count} files cannot be used: {reasons(bad)}; {fix}"
    return BadPicturesError("\n".join([*bad[:_LISTED], *more, last]), tuple(bad))


def reasons(messages: Sequence[str]) -> str:
    """Counts of messages by reason, the most frequent first: "has transparent pixels (16), animated (2)".

    A message is `path: reason: details; fix`, where a path may be followed by the number of its image, row or record.
    """
    counts = Counter(
        re.split(r"[:;] ", re.sub(r"^.*?: ((image|row|record) \d+: )?", "", message))[0] for message in messages
    )
    return ", ".join(f"{reason} ({count})" for reason, count in counts.most_common())


def labelled(labels: np.ndarray, classes: Sequence[str], conditional: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Labels and classes by `conditional`: "auto" leaves 2 or more classes as they are, "none" gives NO_LABEL."""
    checks.choice("conditional", conditional, CONDITIONAL)
    if conditional == "none" or len(classes) < 2:
        return np.full(len(labels), NO_LABEL, np.int32), ()
    return labels.astype(np.int32), tuple(classes)


def fingerprint(*parts: object) -> str:
    """SHA-256 over parts, each with its length, so that no two lists of parts are taken for each other."""
    sha256 = hashlib.sha256()
    for part in parts:
        content = part if isinstance(part, bytes) else str(part).encode()
        sha256.update(len(content).to_bytes(8, "little") + content)
    return sha256.hexdigest()


def digest(image: np.ndarray) -> bytes:
    """SHA-256 of an image: its dtype, shape and values."""
    return bytes.fromhex(fingerprint(image.dtype.str, image.shape, np.ascontiguousarray(image).tobytes()))


def file_digest(path: str | os.PathLike[str]) -> bytes:
    """SHA-256 of a file, read in pieces."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").digest()


def in_threads(function: Callable[[S], T], items: Iterable[S]) -> list[T]:
    """Map over items in one thread per core, in order; decoding and hashing release Python's lock."""
    with ThreadPoolExecutor(min(32, os.cpu_count() or 1)) as pool:
        blocks = iter(items)
        results: list[T] = []
        while block := list(itertools.islice(blocks, _BLOCK)):  # a pool remembers all that it was given
            results += pool.map(function, block)
        return results


def status(path: str | os.PathLike[str]) -> os.stat_result | None:
    """What is at a path, links followed; None where nothing is.

    Raises:
        DataError: path first, where this user may not look.
    """
    try:
        return os.stat(path)
    except PermissionError as error:
        raise DataError(forbidden(path)) from error
    except OSError:
        return None


def forbidden(path: str | os.PathLike[str]) -> str:
    """The message for what the system keeps from this user."""
    return f"{printable(path)}: may not be read by this user; change its permissions"


def printable(path: str | os.PathLike[str]) -> str:
    """A path as one line that every terminal can print: bytes that are not UTF-8 and control characters are escaped."""
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)


_RENAMED = {
    "settled": ("data.random_access.checked", checked),
    "shown": ("data.random_access.printable", printable),
}
__getattr__ = renamed("data.random_access", _RENAMED)
