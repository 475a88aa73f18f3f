"""What a report says of pictures or sounds: counted from the files, their declarations, and pixels or spectrograms."""

import dataclasses
import os
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from gendiff.commands.copies.picture_sets import PictureSet
from gendiff.core import extras
from gendiff.core.errors import ConfigError, DataError
from gendiff.data import emoji, random_access
from gendiff.data.audio import sound_files
from gendiff.data.audio.sound_folder import SoundFolder
from gendiff.data.images.image_folder import ImageFolder
from gendiff.data.images.random_access import Source, Subset
from gendiff.metrics import neighbours
from gendiff.provenance import content_credentials, declared_rights
from gendiff.provenance.declared_rights import DeclaredRights
from gendiff.runs.progress import Progress
from gendiff.runs.reporting import formatting

LISTED, COMPARED, TOGETHER = 100, 20_000, 500
"""Names that are listed and pictures that are compared with all others, at most; files that are read between two steps
of the progress.
"""
LEVELS = 255
ATTRIBUTIONS = {"emoji": emoji.ATTRIBUTION}
LICENCE_FILES = ("licen", "copying", "readme", "attribution", "notice")
"""How the names of files begin that may say a licence, in lower case."""
Pairs = tuple[tuple[str, str], ...]


@dataclasses.dataclass(frozen=True)
class Sets:
    """All pictures, those of them that are trained on, and held-out ones, which may be others. captions: of these two;
    none where pictures are learned without them. Sounds are pictures of their spectrograms.
    """

    pictures: PictureSet
    training: PictureSet
    held_out: PictureSet | None
    captions: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())


@dataclasses.dataclass(frozen=True)
class OfRun:
    """The folder of a run, its network, and the model that learned a change, whose own data nobody knows here."""

    path: str | None = None
    network: str | None = None
    base: str | None = None


NO_RUN = OfRun()


@dataclasses.dataclass(frozen=True)
class SoundFacts:
    """What the headers of sounds state. seconds: of all. lengths: least, median and largest seconds. rates, channels:
    files by theirs. compared: the seconds, from the start, and the rate that were compared.
    """

    seconds: float
    lengths: tuple[float, float, float]
    rates: dict[str, int]
    channels: dict[str, int]
    compared: tuple[float, int]


@dataclasses.dataclass(frozen=True)
class Declared:
    """What the files declare. n: files that were read. credentials: whether content credentials were.

    licences, creators, ai_marks, reservations: files by what they declare. licensed, marked, reserved: files that
    declare any. names: the files with reservations, as many as are listed. unread: messages.
    """

    n: int
    credentials: bool
    licences: dict[str, int]
    creators: dict[str, int]
    ai_marks: dict[str, int]
    reservations: dict[str, int]
    licensed: int
    marked: int
    reserved: int
    names: tuple[str, ...]
    unread_n: int
    unread: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Repeats:
    """Pictures that stand twice: (a later one, the first that it equals), or (one, its nearest other one).

    compared: pictures whose nearest other one was searched, drawn at random where there are more.
    """

    equal_n: int
    equal: Pairs
    compared: int
    near_n: int
    near: Pairs


@dataclasses.dataclass(frozen=True)
class Contents:
    """data_report.json.

    data: where the pictures lie. kind: "pictures" or "sounds". run, network, base: as of `OfRun`, of the run that was
    trained on them. captions: how many there are. fingerprint: SHA-256 of pictures and captions.
    shape: of the pictures as they were compared. sides: least, median and largest shorter side of the files.
    repeats: within the training pictures. leaks: held-out pictures that stand among the training pictures.
    """

    data: str
    kind: str
    run: str | None
    network: str | None
    base: str | None
    captions: int
    fingerprint: str
    n: int
    training_n: int
    held_out_n: int | None
    left_out_n: int
    left_out: tuple[str, ...]
    classes: dict[str, int]
    shape: tuple[int, ...]
    bytes: int | None
    sides: tuple[int, int, int] | None
    sounds: SoundFacts | None
    formats: dict[str, int]
    licence_files: tuple[str, ...]
    attribution: str
    declared: Declared | None
    near: int
    repeats: Repeats
    leaks: Repeats | None


def files(source: Source) -> tuple[str, ...] | None:
    """The file of each picture; None where pictures have no file of their own."""
    if isinstance(source, Subset):
        inner = files(source.source)
        return None if inner is None else tuple(inner[row] for row in source.rows)
    return source.files if isinstance(source, ImageFolder | SoundFolder) else None


def sound_folder(source: Source) -> SoundFolder | None:
    """The folder that sounds come from; None of pictures."""
    if isinstance(source, Subset):
        return sound_folder(source.source)
    return source if isinstance(source, SoundFolder) else None


def kind(source: Source) -> str:
    """What they are, in a word."""
    return "pictures" if sound_folder(source) is None else "sounds"


def summarize(sets: Sets, near: int, progress: Progress, run: OfRun = NO_RUN) -> Contents:
    """Counts and compares. near: as the option of the command."""
    location, held_out = sets.pictures.place, sets.held_out
    source, paths = sets.pictures.source, files(sets.pictures.source)
    sides = [side for side in random_access.in_threads(source.short_side, range(len(source))) if side is not None]
    with progress.phase("compare"):
        repeats = _repeats(sets.training, sets.training, near)
        leaks = None if held_out is None else _repeats(held_out, sets.training, near)
    return Contents(
        data=location,
        kind=kind(source),
        run=run.path,
        network=run.network,
        base=run.base,
        captions=sum(map(len, sets.captions)),
        fingerprint=_fingerprint(sets),
        n=len(source),
        training_n=len(sets.training.source),
        held_out_n=None if held_out is None else len(held_out.source),
        left_out_n=len(source.skipped),
        left_out=source.skipped[:LISTED],
        classes=_counts(name for name in sets.pictures.classes() if name is not None),
        shape=tuple(sets.pictures.shape),
        bytes=None if paths is None else sum(map(os.path.getsize, paths)),
        sides=(min(sides), int(np.median(sides)), max(sides)) if sides else None,
        sounds=_sound_facts(source, paths or ()),
        formats=_counts(Path(path).suffix.lower() for path in paths or ()),
        licence_files=_licence_files(Path(location)) if paths is not None else (),
        attribution=ATTRIBUTIONS.get(location, ""),
        declared=None if paths is None else declared(paths, sets.pictures.name, progress, kind(source)),
        near=near,
        repeats=repeats,
        leaks=leaks,
    )


def declared(paths: tuple[str, ...], name: Callable[[int], str], progress: Progress, kind: str) -> Declared:
    """What the files declare. name: of each in lists. Raises ConfigError without Pillow."""
    credentials = kind == "pictures" and content_credentials.available()
    suffixes = (*content_credentials.MEDIA, *sound_files.SUFFIXES)
    readable = [row for row, path in enumerate(paths) if Path(path).suffix.lower() in suffixes]

    def look(row: int) -> DeclaredRights | str:
        try:
            if kind == "sounds":
                return declared_rights.from_tags(sound_files.tags(paths[row]))
            return declared_rights.read(paths[row], credentials=credentials)
        except DataError as error:
            return str(error)

    looks: list[DeclaredRights | str] = []
    try:
        with progress.task("declarations", len(readable)) as task:
            for begin in range(0, len(readable), TOGETHER):
                looks += random_access.in_threads(look, readable[begin : begin + TOGETHER])
                task.update(len(looks))
    except ImportError as error:
        raise ConfigError(str(error)) from error
    rights = [(row, each) for row, each in zip(readable, looks, strict=True) if isinstance(each, DeclaredRights)]
    unread = [each for each in looks if isinstance(each, str)]
    fields = ("licences", "creators", "ai_marks", "reservations")
    counts = {field: _counts(text for _, each in rights for text in getattr(each, field)) for field in fields}
    reserved = [name(row) for row, each in rights if each.reservations]
    return Declared(
        n=len(rights),
        credentials=credentials,
        **counts,
        licensed=sum(bool(each.licences) for _, each in rights),
        marked=sum(bool(each.ai_marks) for _, each in rights),
        reserved=len(reserved),
        names=tuple(reserved[:LISTED]),
        unread_n=len(unread),
        unread=tuple(unread[:LISTED]),
    )


def hashes(pictures: PictureSet) -> str:
    """A line per picture, as `sha256sum` writes them: of its file, or of its pixels where it has no file."""
    paths = files(pictures.source)
    digests = pictures.source.digests() if paths is None else random_access.in_threads(random_access.file_digest, paths)
    return "".join(f"{digest.hex()}  {pictures.name(row)}\n" for row, digest in enumerate(digests))


def _repeats(pictures: PictureSet, training: PictureSet, near: int) -> Repeats:
    """Pictures of a set that stand among the training pictures; of the training pictures, among the earlier ones."""
    same = pictures is training
    first: dict[bytes, int] = {}
    known, equal = np.ones(len(pictures.rows), bool), []
    digests = training.source.digests()
    for row, digest in enumerate(digests):
        first.setdefault(digest, row)
    for row, digest in enumerate(digests if same else pictures.source.digests()):
        twin = first.get(digest)
        if twin is not None and not (same and twin == row):
            equal.append((row, twin))
            known[row] = False
    rows = np.flatnonzero(known)
    if len(rows) > COMPARED:
        rows = np.sort(np.random.default_rng(0).choice(rows, COMPARED, replace=False))
    points = rows if same else np.arange(len(training.rows))
    pairs: list[tuple[int, int]] = []
    if len(rows) and len(points) > same:
        distances, index = neighbours.nearest(pictures.rows[rows], training.rows[points], 1, others=same)
        differences = LEVELS * distances[:, 0] / np.sqrt(pictures.rows.shape[1])
        order = np.argsort(differences, kind="stable")
        pairs = [(int(rows[at]), int(points[index[at, 0]])) for at in order if differences[at] <= near]
    once = list(dict.fromkeys((min(pair), max(pair)) for pair in pairs)) if same else pairs

    def named(rows: list[tuple[int, int]]) -> Pairs:
        return tuple((pictures.name(one), training.name(other)) for one, other in rows[:LISTED])

    return Repeats(len(equal), named(equal), len(rows), len(pairs), named(once))


def sentences(result: Contents) -> dict[str, str]:
    """The findings in plain words, by the part of the page that they belong to."""
    declared, repeats, leaks = result.declared, result.repeats, result.leaks
    size = "" if result.bytes is None else f", {formatting.scaled(result.bytes, 'B')}"
    sides = (
        ""
        if result.sides is None
        else "; shorter sides of {} to {} pixels, median {}".format(*(result.sides[at] for at in (0, 2, 1)))
    )
    kind, length = result.kind, ""
    if result.sounds is not None:
        least, median, largest = result.sounds.lengths
        length = f"; {result.sounds.seconds:.4g} s in all, {least:.3g} to {largest:.3g} s each, median {median:.3g} s"
    captions = f"; {result.captions} captions" if result.captions else ""
    held_out = "" if result.held_out_n is None else f", and {result.held_out_n} held-out ones"
    left_out = f"; {result.left_out_n} files are left out" if result.left_out_n else ""
    lines = {"size": f"{result.training_n} training {kind}{held_out}{size}{sides}{length}{captions}{left_out}."}
    if declared is None:
        lines["declared"] = "The pictures have no files of their own, so nothing is declared of any."
    elif kind == "sounds":
        lines["declared"] = (
            f"Tags were read in {declared.n} of {result.n} files. Content credentials of sounds are not."
        )
        lines["licences"] = f"{share(declared.licensed, declared.n)} declare a licence or a copyright."
        lines["marks"] = "No tag says that a model made a sound, so nothing was counted."
        lines["reserved"] = "No tag reserves rights against training or data mining, so nothing was counted."
    else:
        n = declared.n
        without = "" if declared.credentials else f" Content credentials are not read: {extras.install('c2pa')}."
        lines["declared"] = (
            f"Metadata was read in {n} of {result.n} files: those that are PNG or JPEG and whole.{without}"
        )
        lines["licences"] = f"{share(declared.licensed, n)} declare a licence or a copyright."
        lines["marks"] = f"{share(declared.marked, n)} say that a model made them, or a part of them."
        lines["reserved"] = f"{share(declared.reserved, n)} reserve their rights against training or data mining."
    compared = "" if result.sounds is None else " in the first {:.3g} s at {} Hz".format(*result.sounds.compared)
    among = "" if repeats.compared + repeats.equal_n == result.training_n else f" ({repeats.compared} were compared)"
    lines["repeats"] = (
        f"{share(repeats.equal_n, result.training_n)} training {kind} equal an earlier one{compared}, and "
        f"{share(repeats.near_n, repeats.compared)} nearly equal another{among}."
    )
    if leaks is not None:
        lines["leaks"] = (
            f"{share(leaks.equal_n, result.held_out_n or 0)} held-out {kind} equal a training {kind[:-1]}{compared}, "
            f"and {share(leaks.near_n, leaks.compared)} nearly equal one."
        )
    return lines


def share(count: int, n: int) -> str:
    """How many of how many, with percent."""
    return f"{count} of {n}" + (f" ({100 * count / n:.1f} %)" if n else "")


def _fingerprint(sets: Sets) -> str:
    """As a run records it, where there are held-out pictures."""
    if sets.held_out is None:
        return sets.training.source.fingerprint
    parts = zip((sets.training, sets.held_out), sets.captions, strict=True)
    return random_access.fingerprint(*(each for part, texts in parts for each in (part.source.fingerprint, *texts)))


def _sound_facts(source: Source, paths: tuple[str, ...]) -> SoundFacts | None:
    """By the headers, which were whole where the sounds were."""
    folder = sound_folder(source)
    if folder is None:
        return None
    headers = [each for each in random_access.in_threads(sound_files.header, paths) if each is not None]
    seconds = [each.samples / each.rate for each in headers]
    return SoundFacts(
        seconds=sum(seconds),
        lengths=(min(seconds), float(np.median(seconds)), max(seconds)),
        rates=_counts(f"{each.rate} Hz" for each in headers),
        channels=_counts(str(each.channels) for each in headers),
        compared=(folder.spectrogram.seconds, folder.spectrogram.rate),
    )


def _licence_files(folder: Path) -> tuple[str, ...]:
    names = sorted(os.listdir(folder)) if folder.is_dir() else []
    return tuple(random_access.printable(name) for name in names if name.lower().startswith(LICENCE_FILES))


def _counts(texts: Iterable[str]) -> dict[str, int]:
    """The most frequent first."""
    return dict(Counter(texts).most_common())
