"""Samples against held-out pictures, without a labelled judge: distances beside their floor, precision and recall,
near-copies, and, where there are classes, whether each is nearest to its own.
"""

import functools

import numpy as np

from gendiff.commands.images import image_features
from gendiff.commands.train import opened_pictures
from gendiff.commands.train.config import Config
from gendiff.metrics import features, frechet, kernel_distance, near_copies, neighbours, precision_recall, subsampling
from gendiff.provenance import memorisation
from gendiff.provenance.memorisation import MemorisationReport
from gendiff.runs.reporting import intervals
from gendiff.runs.reporting.verdicts import Number

SEED = 0
"""Of draws and bootstraps."""
COVERED = 1000
"""Held-out pictures at most where every one is compared with every other."""
BLOCKS = 10
"""Behind a kernel distance, at most."""


class Measures:
    """Training and held-out pictures, uint8 (n, h, w, c), and every measure of a set of pictures against them."""

    def __init__(
        self, config: Config, training: np.ndarray, held_out: np.ndarray, labels: np.ndarray | None = None
    ) -> None:
        """labels: of the training pictures, where they have classes: pictures are then named too."""
        self._config, self.training, self.held_out = config, training, held_out
        self._features = image_features.function(config)
        chosen = some(training, config.samples)
        rows = self._rows(chosen)
        self._naming = None if labels is None else Naming(rows, some(labels, config.samples))
        self._held_out = self._rows(held_out)
        self._few_held_out = some(self._held_out, COVERED)
        self._small = opened_pictures.small(training)
        self._real_copies = self._copied(some(held_out, COVERED))
        options = self._draws()
        floor = frechet.over_subsets(self._held_out, rows, **options)
        self._floor = subsampling.jackknifed(floor, rows=len(rows), size=options["size"])
        self.real = self._measured(rows, chosen)
        """Training pictures as if they were samples."""

    def measure(self, images: np.ndarray, labels: np.ndarray | None = None) -> dict[str, Number]:
        """Every number of one set of pictures, uint8. labels: the classes that were asked for; None where none were.

        frechet: in floors. distance: the same in the unit of the features. copies: the rate of near-copies of training
            pictures. excess: that rate above the one of held-out pictures.
            named: as `named`, where there are classes.
        """
        rows = self._rows(images)
        named = {} if labels is None or self._naming is None else {"named": self._naming.share(rows, labels)}
        return self._measured(rows, images) | named

    def named(self, images: np.ndarray, labels: np.ndarray) -> dict[str, Number]:
        """The share of pictures whose class is nearest, where there are classes."""
        return {} if self._naming is None else {"named": self._naming.share(self._rows(images), labels)}

    def memorisation(self, images: np.ndarray) -> MemorisationReport:
        """How near the pictures are to their nearest training pictures."""
        return memorisation.memorisation_report(
            images, self.training, some(self.held_out, COVERED), features=opened_pictures.small
        )

    def _measured(self, rows: np.ndarray, images: np.ndarray) -> dict[str, Number]:
        rng, options = np.random.default_rng(SEED), self._draws()
        spread = functools.partial(subsampling.jackknifed, rows=len(rows), size=options["size"])
        distances = spread(frechet.over_subsets(self._held_out, rows, **options))
        cover = precision_recall.over_subsets(self._few_held_out, rows, **options)
        blocks = max(2, min(BLOCKS, len(rows) // 2, len(self._held_out) // 2))
        kernel = kernel_distance.over_blocks(rows, self._held_out, blocks=blocks, seed=SEED)
        around, copied = 1.96 * kernel.standard_error, self._copied(images)
        mean = float(np.mean(distances))
        return {
            "frechet": intervals.interval(intervals.ratio_of_means, distances, self._floor, rng=rng),
            "distance": (mean, mean, mean),
            "kernel": (kernel.value, kernel.value - around, kernel.value + around),
            "precision": intervals.interval(np.mean, spread(np.array([each.precision for each in cover])), rng=rng),
            "recall": intervals.interval(np.mean, spread(np.array([each.recall for each in cover])), rng=rng),
            "copies": intervals.share(copied),
            "excess": intervals.interval(intervals.difference_of_means, copied, self._real_copies, rng=rng),
        }

    def _copied(self, images: np.ndarray) -> np.ndarray:
        return near_copies.ratios(opened_pictures.small(images), self._small) < near_copies.THRESHOLD

    def _rows(self, images: np.ndarray) -> np.ndarray:
        return features.extract(self._features, images, batch=image_features.TOGETHER)

    def _draws(self) -> dict[str, int]:
        """Draws of one size for all sets, so that their distances have one bias; below each set, or all draws would be
        the set itself.
        """
        config = self._config
        smallest = min(len(self.training), config.controls)
        size = min(config.draw_size, smallest * 4 // 5)
        return {"count": config.draws, "size": size, "seed": SEED}


class Naming:
    """Names pictures by features: the class whose training pictures have the nearest mean direction from their centre.

    Directions, because a blurred picture has small features, and lies near to every class.
    """

    def __init__(self, rows: np.ndarray, labels: np.ndarray) -> None:
        self._centre, self._classes = rows.mean(axis=0), np.unique(labels)
        directions = self._directions(rows)
        self._means = _unit(np.stack([directions[labels == each].mean(axis=0) for each in self._classes]))

    def share(self, rows: np.ndarray, labels: np.ndarray) -> Number:
        """The share whose label is the nearest class, each class counted alike however many pictures it has."""
        _, nearest = neighbours.nearest(self._directions(rows), self._means, 1)
        present, index, counts = np.unique(labels, return_inverse=True, return_counts=True)
        weights = len(labels) / (len(present) * counts[index])
        return intervals.interval(np.mean, weights * (self._classes[nearest[:, 0]] == labels))

    def _directions(self, rows: np.ndarray) -> np.ndarray:
        return _unit(np.asarray(rows, np.float64) - self._centre)


def _unit(rows: np.ndarray) -> np.ndarray:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12))


def some(rows: np.ndarray, most: int) -> np.ndarray:
    """At most so many rows, a random choice where there are more."""
    return rows if len(rows) <= most else rows[np.random.default_rng(SEED).choice(len(rows), most, replace=False)]
