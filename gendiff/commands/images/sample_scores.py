"""`evaluate SAMPLES`: the Fréchet distance of a folder of shards to reference statistics, one shard in memory at a
time.
"""

import dataclasses
import time
from collections.abc import Iterator

import numpy as np

from gendiff.commands.images import image_features
from gendiff.commands.images.sampling_options import ScoreOptions
from gendiff.core import foreign_files
from gendiff.core.errors import ConfigError
from gendiff.metrics import frechet, statistics_files
from gendiff.runs import shards
from gendiff.runs.progress import Progress
from gendiff.runs.reporting import json_files
from gendiff.runs.shards import Shards

SCORES = "scores.json"
ENOUGH = 10_000
"""Images from which on the bias of a Fréchet distance is small beside what people compare."""


@dataclasses.dataclass(frozen=True)
class Scores:
    """scores.json. n: samples. reference_n: images of the reference, None where its file does not say. dimensions: of a
    feature.

    frechet: None without a reference.
    """

    n: int
    reference_n: int | None
    features: str
    dimensions: int
    reference: str | None
    frechet: float | None
    seconds: float


def evaluate(samples: Shards, options: ScoreOptions, progress: Progress) -> None:
    """Prints the scores and writes scores.json beside the shards.

    Raises ConfigError for a reference of other features, DataError where a shard is not complete or the reference is no
    such file.
    """
    shards.check_complete(samples, read=False)
    measured = image_features.function(options)
    begin, fitted, count = time.monotonic(), None, None
    if options.reference is not None:
        path = foreign_files.expanded(options.reference)
        with image_features.option_errors():
            fitted, count = image_features.reference(
                path, measured, samples.manifest.shape, options.background, options.on_bad_image
            )
    with progress.task("features", samples.manifest.count) as task:

        def images() -> Iterator[np.ndarray]:
            for number, (batch, _) in enumerate(samples):
                yield batch
                task.update(number + 1)

        statistics, _ = image_features.fitted(str(samples.folder), measured, images())
    if options.save_statistics is not None:
        statistics_files.save(foreign_files.expanded(options.save_statistics), statistics)
    if fitted is not None and fitted.mean.shape != statistics.mean.shape:
        raise ConfigError(
            f"{options.reference} has {len(fitted.mean)} features, and --features {options.features} "
            f"{len(statistics.mean)}"
        )
    scores = Scores(
        n=samples.manifest.num,
        reference_n=count,
        features=f"{options.features}, {options.resize}" if options.features == "inception" else options.features,
        dimensions=len(statistics.mean),
        reference=options.reference,
        frechet=None if fitted is None else frechet.frechet_distance(fitted, statistics),
        seconds=round(time.monotonic() - begin, 3),
    )
    json_files.write(samples.folder / SCORES, scores)
    print(f"{scores.n} samples, {scores.dimensions} features ({scores.features})", flush=True)
    if scores.frechet is not None:
        behind = "" if count is None else f", {count} images"
        print(f"Fréchet distance to {options.reference}{behind}: {scores.frechet:.4g}", flush=True)
        if min(scores.n, count or scores.n) < ENOUGH:
            print(
                f"note: with fewer than {ENOUGH} images the distance is biased upwards; compare only sets of equal "
                "size",
                flush=True,
            )
    if options.save_statistics is not None:
        print(f"statistics: {options.save_statistics}", flush=True)
