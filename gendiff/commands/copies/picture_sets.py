"""The three sets of pictures that `copies` compares: each is read once, for its features; single pictures are read
again to be shown.
"""

import dataclasses
import functools
import os
import re
from pathlib import Path

import numpy as np

from gendiff.commands.copies.copies_options import CopiesOptions
from gendiff.commands.images import image_features, sample_files
from gendiff.commands.images.feature_options import FeatureOptions
from gendiff.commands.images.image_features import TOGETHER
from gendiff.commands.images.sample_archives import Examples
from gendiff.commands.train import opened_pictures
from gendiff.core import foreign_files
from gendiff.core.errors import ConfigError, DataError
from gendiff.core.types import NO_LABEL
from gendiff.data import image_files, image_folder, random_access, sources
from gendiff.data.images.random_access import Example, Look, Source
from gendiff.metrics import features
from gendiff.metrics.features import Features
from gendiff.runs import shards
from gendiff.runs.progress import Progress
from gendiff.runs.shards import Shards


@dataclasses.dataclass(frozen=True, eq=False)
class PictureSet:
    """place: where it lies. source: its pictures, without those that cannot be read. rows: (n, d) their features."""

    place: str
    source: Source
    rows: np.ndarray

    def picture(self, row: int) -> np.ndarray:
        """(h, w, c) uint8."""
        return opened_pictures.as_bytes(self.source.image(int(row)), self.source.levels)

    def name(self, row: int) -> str:
        """The name within the set."""
        path = random_access.printable(self.place)
        return self.source.name(int(row)).removeprefix(f"{path}{os.sep}").removeprefix(f"{path}: ")

    def classes(self) -> list[str | None]:
        """The name of each picture's class, None where it has none."""
        known = self.source.classes
        return [
            None if label == NO_LABEL else known[label] if label < len(known) else str(label)
            for label in self.source.labels
        ]

    @functools.cached_property
    def shape(self) -> tuple[int, ...]:
        """(h, w, c) of every picture."""
        return self.source.image(0).shape


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ShardPictures(Source):
    """The samples of a folder of shards, at the size and in the colours of the options."""

    examples: Examples
    place: Shards
    options: CopiesOptions

    def image(self, i: int) -> np.ndarray:
        """Sample i."""
        example: Example = self.examples[i]
        size, mode, background = self.options.size, self.options.mode, self.options.background
        return image_files.convert_stored(self.name(i), example.image, 256, mode=mode, size=size, background=background)

    def name(self, i: int) -> str:
        """The folder and the number of the sample."""
        return f"{random_access.printable(self.place.folder)}{os.sep}sample {i}"


def feature_function(options: CopiesOptions) -> Features:
    """uint8 pictures -> features. ConfigError for weights that are missing or not wanted."""
    if options.features == "small-pixels":
        if options.inception_weights is not None:
            raise ConfigError("--inception-weights belongs to --features inception")
        return opened_pictures.small
    return image_features.function(FeatureOptions(options.features, options.inception_weights, options.resize))


def read_samples(location: str, options: CopiesOptions, measured: Features, progress: Progress) -> PictureSet:
    """The samples. Raises DataError and ConfigError as `data.sources.open` would, in the words of the command line."""
    path = foreign_files.expanded(location)
    with image_features.option_errors():
        if shards.is_folder(path):
            folder = shards.existing(path)
            shards.check_complete(folder, read=False)
            image_files.check_options(options.mode, options.size, options.background)
            location, source = str(folder.folder), _of_shards(folder, options)
        else:
            listed = path.is_dir() and (path / sample_files.SETTINGS).is_file()
            source = _of_sample_files(path, options) if listed else _opened(path, options, options.size, options.mode)
    samples = read("samples", location, source, measured, progress)
    opened_pictures.check_channels(location, samples.shape[2])
    return samples


def read_data(
    title: str, location: str, options: CopiesOptions, like: tuple[int, ...], measured: Features, progress: Progress
) -> PictureSet:
    """Training or held-out pictures at the size and in the colours of the samples. Raises as `read_samples`, and for
    another size.
    """
    height, width, channels = like
    size = height if height == width else options.size
    with image_features.option_errors():
        source = _opened(foreign_files.expanded(location), options, size, "L" if channels == 1 else "RGB")
    pictures = read(title, location, source, measured, progress)
    check_alike(pictures, like, "the samples")
    return pictures


def check_alike(pictures: PictureSet, like: tuple[int, ...], others: str) -> None:
    """DataError for pictures of another shape than others have, (h, w, c)."""
    if pictures.shape[:2] != like[:2]:
        sizes = [f"{across} × {down}" for down, across, _ in (pictures.shape, like)]
        raise DataError(
            f"{pictures.place}: pictures have {sizes[0]} pixels, and {others} {sizes[1]}: make all of one size with "
            "--size N"
        )
    if pictures.shape != like:
        raise DataError(
            f"{pictures.place}: pictures have {pictures.shape[2]} channels, and {others} {like[2]}: give --mode RGB or "
            "L"
        )


def without(held_out: PictureSet, train: PictureSet) -> tuple[PictureSet, int]:
    """The held-out pictures that equal no training picture, and how many do. DataError where none is left."""
    known = set(train.source.digests())
    remaining = np.array([row for row, digest in enumerate(held_out.source.digests()) if digest not in known], np.int64)
    equal = len(held_out.source) - len(remaining)
    if not remaining.size:
        raise DataError(
            f"{held_out.place}: all {equal} held-out pictures equal training pictures of {train.place}: give others, "
            "or none"
        )
    if not equal:
        return held_out, 0
    return dataclasses.replace(
        held_out, source=random_access.subset(held_out.source, remaining), rows=held_out.rows[remaining]
    ), equal


def read(title: str, location: str, source: Source, measured: Features, progress: Progress) -> PictureSet:
    """Reads every picture once. DataError for pictures that cannot be read, unless they are skipped, and for mixed
    sizes.
    """
    looks: list[Look] = []
    parts: list[np.ndarray] = []
    first: tuple[int, ...] | None = None
    serial = isinstance(source, ShardPictures)  # one shard is in memory at a time

    def look(row: int) -> tuple[Look, np.ndarray | None]:
        try:
            image = source.image(row)
        except DataError as error:
            return str(error), None
        return (random_access.digest(image), image.shape), opened_pictures.as_bytes(image, source.levels)

    with progress.task(title, len(source)) as task:
        for begin in range(0, len(source), TOGETHER):
            block = range(begin, min(begin + TOGETHER, len(source)))
            results = list(map(look, block)) if serial else random_access.in_threads(look, block)
            looks += [entry for entry, _ in results]
            images = [image for _, image in results if image is not None]
            first = images[0].shape if first is None and images else first
            if alike := [image for image in images if image.shape == first]:
                parts.append(features.extract(measured, np.stack(alike), batch=TOGETHER))
            task.update(block.stop)
    with image_features.option_errors():
        readable = random_access.checked(source, looks)
    for message in readable.skipped[:5]:
        progress.line(f"left out: {image_features.translated(message)}")
    if len(readable.skipped) > 5:
        progress.line(f"left out: {len(readable.skipped)} pictures of {location} in all")
    return PictureSet(location, readable, np.concatenate(parts))


def _opened(path: Path, options: CopiesOptions, size: int | None, mode: str | None) -> Source:
    return sources.open(
        path, size=size, mode=mode, background=options.background, on_bad=options.on_bad_image, scan=False
    )


def _of_sample_files(path: Path, options: CopiesOptions) -> Source:
    """A folder that `sample` wrote: a picture's label stands in its name, and the file with the settings is no
    picture.
    """
    settings = {"size": options.size, "background": options.background, "on_bad": options.on_bad_image}
    source = image_folder.source(path, mode=options.mode or "RGB", conditional="none", **settings)  # type: ignore[arg-type]
    rows = np.array(
        [row for row, file in enumerate(source.files) if Path(file).name != sample_files.SETTINGS], np.int64
    )
    if not rows.size:
        raise DataError(f"{path}: no samples in it")
    matches = [re.search(r"_label(\d+)\.png$", source.files[row]) for row in rows]
    labels = np.array([int(match[1]) if match else NO_LABEL for match in matches], np.int32)
    return dataclasses.replace(random_access.subset(source, rows), labels=labels)


def _of_shards(folder: Shards, options: CopiesOptions) -> Source:
    labels = np.concatenate([classes for _, classes in folder])
    print_of = random_access.fingerprint("shards", str(folder.folder), folder.manifest.num)
    return ShardPictures(
        labels=labels,
        classes=folder.manifest.classes,
        fingerprint=print_of,
        examples=Examples(folder),
        place=folder,
        options=options,
    )
