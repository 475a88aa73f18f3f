"""Opens what `--data` names: training pictures and held-out ones, with errors that name the options of the command
line.
"""

import dataclasses
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from gendiff.commands.images import image_features
from gendiff.commands.train.config import SETS, Config
from gendiff.core import foreign_files
from gendiff.core.errors import BadPicturesError, ConfigError, DataError
from gendiff.core.types import NO_LABEL
from gendiff.data import audio, cache, emoji, held_out, pipeline, random_access, scaling, sources, textures
from gendiff.data.audio import spectrogram
from gendiff.data.audio.sound_folder import SoundFolder
from gendiff.data.images.random_access import Source
from gendiff.runs import distributed
from gendiff.runs.progress import Progress
from gendiff.runs.run_folder import RunFolder

FEWEST, FEWEST_HELD_OUT = 20, 4
"""Pictures without which nothing can be measured: precision needs the third neighbour of each held-out one."""
SIZES = {"": 64, ".npy": None, ".npz": None, ".arrayrecord": None}
"""Default size by suffix; folders have none."""
COMMITTED_SIZE, SPLIT_SEED = 32, 0
DECODED = ".pictures"
"""Folder of decoded pictures within a run that has no `cache`; it may be deleted at any time."""
NO_LIST = "a run without --dry-run lists them in a file"
SMALL = 16
"""Pixels to which pictures are averaged where near-copies are looked for."""
MULTIPLE = 8
"""Of the frames of a sound, which a U-Net can then halve three times."""


@dataclasses.dataclass(frozen=True)
class Pictures:
    """Opened pictures.

    training, held_out: without a common picture. skipped: one message per picture that was left out. listed: the file
    that holds them all, if there is one. enlarged: (pictures that are smaller than the side they get, that side).
    sound: what sounds became; None of pictures. notes: what happened to some of the sounds.
    """

    training: Source
    held_out: Source
    skipped: tuple[str, ...] = ()
    listed: Path | None = None
    enlarged: tuple[int, int] = (0, 0)
    sound: audio.Spectrogram | None = None
    notes: tuple[str, ...] = ()

    @property
    def fingerprint(self) -> str:
        """Of both sides; equal if and only if a resumed run sees the same data."""
        return random_access.fingerprint(self.training.fingerprint, self.held_out.fingerprint)


def open_pictures(config: Config, path: str, folder: RunFolder | None) -> Pictures:
    """The pictures at a path of `data_paths.resolve`, all of them decoded once.

    folder: of the run, which keeps them for the next start unless there is a `cache`, and lists the bad ones; None
        lists nothing.

    Raises DataError for missing, empty and damaged data and for too few pictures, and ConfigError for options out of
    range.
    """
    with image_features.option_errors():
        if path == "textures":
            _spectrogram(config, path)
            pictures = Pictures(*textures.split(config.size or COMMITTED_SIZE))
        else:
            pictures = _opened(config, path, folder)
    check_channels(path, pictures.training[0].image.shape[-1])
    return pictures


def check_channels(path: str, channels: int) -> None:
    """DataError for pictures that are neither grey nor of three colours."""
    if channels not in (1, 3):
        raise DataError(
            f"{path}: pictures have {channels} channels, and 1 or 3 are needed; choose with --mode RGB or --mode L"
        )


def check_apart(path: str, folder: RunFolder | None) -> None:
    """Refuses a run folder inside of the pictures, the run's own too: its previews and samples would be taken for
    pictures.

    folder: of the run. Raises ConfigError for its own, and DataError for another one.
    """
    root = Path(path)
    if not root.is_dir():
        return
    if folder is not None and root.resolve() in (folder.path.resolve(), *folder.path.resolve().parents):
        other = root.parent / "runs" / folder.path.name
        raise ConfigError(
            f"--out {folder.path} lies inside of the pictures in {root}: its previews would be taken for pictures; "
            f"give --out {other}"
        )
    for here, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        if "config.json" in names and ("metrics.jsonl" in names or "checkpoints" in folders):
            raise DataError(
                f"{root} holds the run folder {here}, whose pictures would be taken for data: move it out of there"
            )


def arrays(source: Source, most: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """At most so many pictures (n, h, w, c) uint8, their labels (n,), and their rows; a random choice where there are
    more.
    """
    count = len(source)
    rows = (
        np.arange(count) if count <= most else np.sort(np.random.default_rng(seed).choice(count, most, replace=False))
    )
    images = np.stack([as_bytes(source.image(int(row)), source.levels) for row in rows])
    return images, source.labels[rows], rows


def as_bytes(images: np.ndarray, levels: int = 256) -> np.ndarray:
    """uint8 of whole values 0 … levels - 1, or of floats, which are clipped to [-1, 1]."""
    if images.dtype == np.uint8 and levels == 256:
        return images
    integers = np.issubdtype(images.dtype, np.integer)
    unit = (
        np.asarray(scaling.to_unit(images, levels)) if integers else np.clip(np.asarray(images, np.float32), -1.0, 1.0)
    )
    return np.asarray(scaling.from_unit(unit, 256))


def batches(
    pictures: Pictures, batch: int, seed: int, flip: bool, share: tuple[int, int] = (0, 1)
) -> pipeline.Pipeline:
    """Batches of the training pictures, read ahead, or the part that `share` names. ConfigError for a batch that they
    do not fill.
    """
    if not 1 <= batch <= len(pictures.training):
        raise ConfigError(f"--batch {batch} is outside 1 … {len(pictures.training)}, the number of training pictures")
    with image_features.option_errors():
        return pipeline.batches(
            pictures.training, batch=batch, seed=seed, flip=flip, process=share[0], processes=share[1]
        )


def prepare(config: Config, path: str, progress: Progress) -> Source:
    """Decodes the pictures at a path of `data_paths.resolve` into `config.cache`. Raises as `open_pictures` does."""
    with image_features.option_errors():
        source = listed(config, path)
        with progress.task("pictures", len(source)) as task:
            return _decoded(source, _cache(config, None), lambda done, total: task.update(len(source) * done // total))


def listed(config: Config, path: str) -> Source:
    """The pictures at a path of `data_paths.resolve`, before any is decoded. Raises as `data.sources.open` does."""
    sound = _spectrogram(config, path)
    if path == "emoji":
        source: Source = emoji.source(config.size or COMMITTED_SIZE, kinds=config.least_per_class > 0)
    else:
        source = _opened_source(config, path, sound)
    return populated(source, path, config.least_per_class) if config.least_per_class else source


def populated(source: Source, path: str, least: int) -> Source:
    """The pictures whose class has at least so many. ConfigError without classes, DataError where all are smaller."""
    if not source.classes:
        raise ConfigError(f"--least-per-class {least}: the pictures of {path} have no classes")
    counts = np.bincount(source.labels[source.labels >= 0], minlength=len(source.classes))
    large = np.flatnonzero(counts >= least)
    if not large.size:
        raise DataError(
            f"{path}: no class has the {least} pictures of --least-per-class; the largest has {max(counts)}"
        )
    chosen = random_access.subset(source, np.flatnonzero(np.isin(source.labels, large)))
    labels = np.searchsorted(large, chosen.labels).astype(np.int32)
    return dataclasses.replace(chosen, labels=labels, classes=tuple(source.classes[each] for each in large))


def _opened_source(config: Config, path: str, sound: audio.Spectrogram | None) -> Source:
    size = (
        config.size
        if config.size is not None
        else SIZES.get(Path(path).suffix.lower() if os.path.isfile(path) else "", 64)
    )
    return sources.open(
        path,
        size=size,
        mode=config.mode,
        background=config.background,
        on_bad=config.on_bad_image,
        conditional=config.conditional,
        scan=False,
        spectrogram=sound,
    )


def _spectrogram(config: Config, path: str) -> audio.Spectrogram | None:
    """What the sounds of a folder become; None of pictures. ConfigError for options that these data do not take."""
    is_sound = os.path.isdir(path) and audio.sound_folder.recognises(path)
    background, least = config.background is not None, config.least_per_class > 0
    foreign = (
        {"mode RGB": config.mode == "RGB", "background": background, "flip": config.flip, "least-per-class": least}
        if is_sound
        else {"sample-rate": config.sample_rate is not None, "seconds": config.seconds is not None}
    )
    kinds = ("pictures", "sounds") if is_sound else ("sounds", "pictures")
    _refuse(foreign, f"is for {kinds[0]}, and {path} holds {kinds[1]}")
    if path in SETS:
        skip = config.on_bad_image == "skip"
        foreign = {"mode L": config.mode == "L", "background": background, "on-bad-image skip": skip}
        if config.data == ("textures",):  # beside others, these are for the others
            others = {"held-out": config.held_out, "cache": config.cache}
            foreign |= {"least-per-class": least} | {name: value is not None for name, value in others.items()}
        _refuse(foreign, f"is for files of your own, and {path} come with the package as they are: leave it out")
    if not is_sound:
        return None
    settings = audio.Spectrogram(config.sample_rate or audio.Spectrogram.rate, config.size or audio.Spectrogram.mels)
    if config.seconds is None:
        return settings
    frames = max(1, round(config.seconds * settings.rate / (spectrogram.HOP * MULTIPLE))) * MULTIPLE
    return dataclasses.replace(settings, frames=frames)


def _refuse(options: dict[str, bool], reason: str) -> None:
    """ConfigError, with the reason, for the first option that is chosen."""
    if chosen := [option for option, is_chosen in options.items() if is_chosen]:
        raise ConfigError(f"--{chosen[0]} {reason}")


def split(config: Config, path: str, source: Source) -> Pictures:
    """Training pictures and held-out ones of decoded pictures. DataError where there are too few."""
    count = len(source)
    share = min(0.2, max(0.05, 500 / count)) if config.held_out is None else config.held_out
    if count < FEWEST:
        raise DataError(
            f"{path}: {count} {'picture is' if count == 1 else 'pictures are'} too few: at least {FEWEST} are needed, "
            "to learn from some and judge by the others"
        )
    try:
        training, kept_out = held_out.split(source, share, seed=SPLIT_SEED)
    except DataError as error:  # it names what the pictures were decoded into
        raise DataError(path + str(error).removeprefix(source.name(0))) from error
    if len(kept_out) < FEWEST_HELD_OUT:
        raise DataError(
            f"{path}: --held-out {share:g} of {count} pictures keeps out {len(kept_out)}: at least {FEWEST_HELD_OUT} "
            "are needed"
        )
    absent = sorted({*source.labels.tolist()} - {*training.labels.tolist()} - {NO_LABEL})
    if absent:
        raise DataError(
            f"{path}: every picture of the class {source.classes[absent[0]]} is held out, so that none is learned: add "
            "pictures to it, or remove its folder"
        )
    return Pictures(training, kept_out, source.skipped)


def _opened(config: Config, path: str, folder: RunFolder | None) -> Pictures:
    check_apart(path, folder)
    file = None if folder is None else folder.bad_files
    try:
        source = listed(config, path)
        pictures = split(config, path, _decoded(source, _cache(config, folder)))
    except BadPicturesError as error:
        _write(tuple(map(image_features.translated, error.messages)), path, file)
        raise DataError(f"{error}\nall of them: {file or NO_LIST}") from error
    pictures = dataclasses.replace(pictures, skipped=tuple(map(image_features.translated, pictures.skipped)))
    _write(pictures.skipped, path, file)
    return dataclasses.replace(
        pictures,
        listed=file if pictures.skipped else None,
        enlarged=_enlarged(source, pictures),
        sound=source.spectrogram if isinstance(source, SoundFolder) else None,
        notes=source.notes() if isinstance(source, SoundFolder) else (),
    )


def _write(messages: Sequence[str], path: str, file: Path | None) -> None:
    """The list of bad pictures at a path, below those of other sets; no file where there are none."""
    if file is not None and distributed.first():
        stored = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        readable = random_access.printable(path)
        lines = [line for line in stored if not line.startswith((f"{readable}/", f"{readable}: "))] + list(messages)
        file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        if not lines:
            file.unlink()


def _enlarged(source: Source, pictures: Pictures) -> tuple[int, int]:
    side = min(pictures.training[0].image.shape[:2])
    # a path may hold ": "
    starts = {message[: colon.start()] for message in pictures.skipped for colon in re.finditer(": ", message)}
    sides = random_access.in_threads(source.short_side, range(len(source)))
    return sum(
        each is not None and each < side and source.name(row) not in starts for row, each in enumerate(sides)
    ), side


def _cache(config: Config, folder: RunFolder | None) -> Path | None:
    if config.cache is not None:
        return foreign_files.expanded(config.cache).absolute()
    return None if folder is None else folder.path / DECODED


def _decoded(source: Source, folder: Path | None, on_shard: Callable[[int, int], object] | None = None) -> Source:
    if folder is None:
        return random_access.scan(source)
    with distributed.first_alone():
        return cache.build(source, folder, on_shard=on_shard)


def small(images: np.ndarray) -> np.ndarray:
    """(n, d) the pixels of uint8 pictures, averaged over squares so that the shorter side has SMALL of them or a few
    more.
    """
    count, height, width, channels = images.shape
    square = max(1, min(height, width) // SMALL)
    down, across = height // square, width // square
    cropped = images[:, : down * square, : across * square].astype(np.float64)
    return cropped.reshape(count, down, square, across, square, channels).mean(axis=(2, 4)).reshape(count, -1) / 255
