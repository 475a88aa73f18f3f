"""What the guidance experiment measures of a set of samples, as rows whose mean is the measure: of samples, real images
or classes.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from experiments.diffusion import image_draws
from experiments.diffusion.guidance import networks
from experiments.diffusion.guidance.config import Config
from experiments.diffusion.sweeps import Rows
from experiments.tasks import shapes, shapes_oracle
from gendiff.data import digits, scaling
from gendiff.metrics import classifier_accuracy, features, precision_recall, saturation, vendi

NAMES: Mapping[str, str] = {
    "adherence": "adherence",
    "recall": "recall within class",
    "vendi": "Vendi score within class",
    "clipped": "clipped fraction",
    "contrast": "RMS contrast",
}
"""Every measure, and what figures and tables call it."""
MEASURES = tuple(NAMES)


@dataclass(frozen=True)
class Subject:
    """A data set, and how samples of it are judged.

    adherent: (images, labels) -> (n,) whether an image shows what was asked for. reference, reference_labels: real
    images that no network saw. means: (classes, d), of the training images of each class. limit: a value beyond ±limit
    is clipped.
    """

    name: str
    classes: int
    adherent: Callable[[np.ndarray, np.ndarray], np.ndarray]
    reference: np.ndarray
    reference_labels: np.ndarray
    means: np.ndarray
    limit: float

    def rows(self, images: np.ndarray) -> Rows:
        """Of images (n, h, w, c), whose classes are 0, 1, … in turn; n at least 4 a class.

        Recall counts the held-out images of a class that its samples reach. The Vendi score of a class is that of the
        deviations from the mean of its training images, so that what all images of the class share is no likeness.
        """
        labels, clipped = image_draws.labels(len(images), self.classes), np.clip(images, -1.0, 1.0)
        reached, distinct = [], []
        for label in range(self.classes):
            observed, real = (
                features.pixels(clipped[labels == label]),
                features.pixels(self.reference[self.reference_labels == label]),
            )
            reached.append(precision_recall.inside(real, observed))
            distinct.append(vendi.score(observed - self.means[label]))
        return {
            "adherence": self.adherent(images, labels).astype(np.float64),
            "recall": np.concatenate(reached).astype(np.float64),
            "vendi": np.array(distinct),
            "clipped": saturation.clipped_fraction(images, low=-self.limit, high=self.limit),
            "contrast": saturation.rms_contrast(images),
        }


def of_digits() -> Subject:
    """Real digits and a judge that has seen no sample. Half a level beyond ±1 is what rounding still takes for black or
    white.
    """
    split = digits.load()
    judging = classifier_accuracy.train(split.train_images, split.train_labels)

    def adherent(images: np.ndarray, labels: np.ndarray) -> np.ndarray:
        return classifier_accuracy.correct(judging, np.asarray(scaling.round_to_levels(images, digits.LEVELS)), labels)

    means, limit = _means(split.train_images, split.train_labels, digits.CLASSES), 1 + 1 / (digits.LEVELS - 1)
    return Subject("digits", digits.CLASSES, adherent, split.held_out_images, split.held_out_labels, means, limit)


def of_shapes(config: Config) -> Subject:
    """Rendered shapes, whose colour, shape and size an oracle reads from the pixels. Renders stay within ±0.81."""
    training, held_out = (
        networks.rendered(networks.TRAINING, config.scenes),
        networks.rendered(networks.HELD_OUT, config.reference),
    )
    means = _means(training.clean, training.labels, networks.RECIPE.num_classes)
    return Subject("shapes", len(means), read_as_asked, held_out.clean, held_out.labels, means, limit=1.0)


def read_as_asked(images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Whether the oracle reads one object of the colour, shape and size asked for."""
    return shapes.labels(networks.RECIPE, shapes_oracle.read(images)) == labels


def _means(images: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    return np.stack([features.pixels(images[labels == label]).mean(axis=0) for label in range(classes)])
