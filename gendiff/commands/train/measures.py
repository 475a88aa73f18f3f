"""Samples against held-out pictures, without a labelled judge: distances beside their floor, precision and recall,
near-copies.
"""

import numpy as np

from gendiff.commands.images import image_features
from gendiff.commands.train import opened_pictures
from gendiff.commands.train.config import Config
from gendiff.metrics import features, frechet, kernel_distance, near_copies, precision_recall
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

    def __init__(self, config: Config, training: np.ndarray, held_out: np.ndarray) -> None:
        self._config, self.training, self.held_out = config, training, held_out
        self._features = image_features.function(config)
        chosen = some(training, config.samples)
        rows = self._rows(chosen)
        self._held_out = self._rows(held_out)
        self._few_held_out = some(self._held_out, COVERED)
        self._small = opened_pictures.small(training)
        self._real_copies = self._copied(some(held_out, COVERED))
        self._floor = frechet.over_subsets(self._held_out, rows, **self._draws())
        self.real = self._measured(rows, chosen)
        """Training pictures as if they were samples."""

    def measure(self, images: np.ndarray) -> dict[str, Number]:
        """Every number of one set of pictures, uint8.

        frechet: in floors. distance: the same in the unit of the features. copies: the rate of near-copies of training
            pictures. excess: that rate above the one of held-out pictures.
        """
        return self._measured(self._rows(images), images)

    def memorisation(self, images: np.ndarray) -> MemorisationReport:
        """How near the pictures are to their nearest training pictures."""
        return memorisation.memorisation_report(
            images, self.training, some(self.held_out, COVERED), features=opened_pictures.small
        )

    def _measured(self, rows: np.ndarray, images: np.ndarray) -> dict[str, Number]:
        rng, options = np.random.default_rng(SEED), self._draws()
        distances = frechet.over_subsets(self._held_out, rows, **options)
        cover = precision_recall.over_subsets(self._few_held_out, rows, **options)
        blocks = max(2, min(BLOCKS, len(rows) // 2, len(self._held_out) // 2))
        kernel = kernel_distance.over_blocks(rows, self._held_out, blocks=blocks, seed=SEED)
        spread, copied = 1.96 * kernel.standard_error, self._copied(images)
        mean = float(np.mean(distances))
        return {
            "frechet": intervals.interval(intervals.ratio_of_means, distances, self._floor, rng=rng),
            "distance": (mean, mean, mean),
            "kernel": (kernel.value, kernel.value - spread, kernel.value + spread),
            "precision": intervals.interval(np.mean, [each.precision for each in cover], rng=rng),
            "recall": intervals.interval(np.mean, [each.recall for each in cover], rng=rng),
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


def some(rows: np.ndarray, most: int) -> np.ndarray:
    """At most so many rows, a random choice where there are more."""
    return rows if len(rows) <= most else rows[np.random.default_rng(SEED).choice(len(rows), most, replace=False)]
