"""`sample RUN --shard-size`: samples by the hundred thousand, which jobs draw side by side and may be killed at any moment."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from gendiff.commands import drawing_options
from gendiff.commands.images import sampling_options
from gendiff.commands.images.image_model import Model
from gendiff.commands.images.sampling_options import SettledOptions
from gendiff.core.errors import ConfigError
from gendiff.data import scaling
from gendiff.runs import configuration, distributed, drawing, shards
from gendiff.runs.progress import Progress
from gendiff.runs.reporting import formatting, json_files
from gendiff.runs.reporting.environment import machine, versions
from gendiff.runs.run_folder import RunFolder
from gendiff.runs.shards import Manifest, Shards
from gendiff.training import digests


def fill(
    model: Model,
    draw: Callable[[], Callable[..., Any]],
    folder: RunFolder,
    options: SettledOptions,
    settings: dict[str, Any],
    progress: Progress,
) -> None:
    """Draws the shards that are not complete, of those that this process shall draw.

    draw: makes (index, label) -> images. settings: what a sample depends on beside its index.
    """
    if len(model.shape) != 3:
        raise ConfigError(f"--shard-size: samples of shape {model.shape} are no images (h, w, c)")
    place, notes = shards.create(options.out or "", _manifest(model, folder, options, settings))
    for note in notes:
        progress.line(note)
    if options.verify:
        shards.check_complete(place)
        progress.line(f"all {place.manifest.count} shards of {place.folder} are complete: {place.manifest.num} samples")
        return
    process, processes = distributed.share(options.distributed, options.processes, options.process)
    wanted = shards.chosen(options.shards, place.manifest.count, process, processes)
    todo = [number for number in wanted if place.problem(number)]
    progress.line(
        f"{formatting.amount(len(wanted), 'shard')} of {formatting.amount(place.manifest.shard_size, 'sample')}, "
        f"{len(wanted) - len(todo)} complete already: {place.folder}"
    )
    if todo:
        draw_shards(
            draw(),
            place,
            todo,
            labels=lambda index: sampling_options.labels(options, model.num_classes, index),
            pixels=lambda images: as_bytes(images, model.levels),
            together=options.together,
            progress=progress,
        )
    if place.all_complete(verified=set(wanted)):
        place.tidy()
        progress.line(f"all {place.manifest.num} samples are there; `finalize {options.out} --to NAME.npz` makes one file of them")


def draw_shards(
    draw: Callable[..., Any],
    place: Shards,
    todo: list[int],
    *,
    labels: Callable[[np.ndarray], np.ndarray],
    pixels: Callable[[np.ndarray], np.ndarray],
    together: int,
    progress: Progress,
    title: str = "",
) -> None:
    """Draws these shards and writes each as soon as it is whole. NonFiniteError where samples are not finite.

    draw: (index, labels) -> images, always for `together` samples, or a shard where that has fewer. labels: of an index.
    pixels: of images, uint8. title: of what is drawn.
    """

    def group(number: int) -> tuple[np.ndarray, np.ndarray]:
        """(index, labels) of one shard."""
        ids = place.manifest.ids(number)
        index = np.arange(ids.start, ids.stop, dtype=np.int32)
        return index, labels(index)

    groups, size = ((number, group(number)) for number in todo), min(together, place.manifest.shard_size)
    with progress.task(f"sample {title}".strip(), sum(len(place.manifest.ids(number)) for number in todo)) as task:
        begin, done, shard = time.monotonic(), 0, np.empty((0, *place.manifest.shape), np.uint8)
        for number, part, images in drawing.stream(draw, groups, together=size, padded=True):
            index, classes = group(number)
            drawing.check_finite(images, index[part], title)
            if part.start == 0:
                shard = np.empty((len(index), *place.manifest.shape), np.uint8)
            shard[part] = pixels(images)
            if part.stop == len(index):
                place.write(number, shard, classes, time.monotonic() - begin)
                begin = time.monotonic()
            done += len(images)
            task.update(done)


def as_bytes(images: np.ndarray, levels: int | None) -> np.ndarray:
    """uint8 values of images in [-1, 1], which are first rounded to the data's levels."""
    seen = images if levels is None else scaling.round_to_levels(images, levels)
    return np.asarray(scaling.from_unit(np.asarray(seen), 256))


def _manifest(model: Model, folder: RunFolder, options: SettledOptions, settings: dict[str, Any]) -> Manifest:
    known = drawing_options.sampler(options.sampler, options.eta, model.schedule)
    about = {
        "label": "in turn" if options.label is None else options.label,
        "ema": model.ema if options.ema is None else f"length {options.ema:g}",
        "evaluations": known.evaluations(options.steps),
        "digest": digests.of(folder.checkpoints(settings["trained_seed"]) / str(settings["checkpoint"])),
    }
    return Manifest(
        experiment=configuration.read(folder).experiment,
        num=options.num or 0,
        shard_size=options.shard_size or 0,
        shape=tuple(model.shape),
        classes=model.classes,
        settings=json_files.encode(settings | about),
        environment={"versions": versions(), "machine": machine()},
    )
