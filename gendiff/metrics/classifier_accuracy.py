"""An independent judge of classes: a support vector machine that is trained on real images only."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Int64, Shaped

from gendiff.core import extras
from gendiff.core.renamed import renamed
from gendiff.core.types import ArrayLike
from gendiff.metrics import features, validation

if TYPE_CHECKING:
    import sklearn.svm


@dataclass(frozen=True)
class Judge:
    """A trained judge.

    Args:
        classifier: a fitted scikit-learn SVC on flattened images.
        shape: of one image.
        classes: how many it knows.
    """

    classifier: "sklearn.svm.SVC"
    shape: tuple[int, ...]
    classes: int


def train(images: Shaped[ArrayLike, "n *shape"], labels: Shaped[ArrayLike, "_"]) -> Judge:
    """Train a judge on real images; there is no chance in it.

    Args:
        images: (n, …) in [-1, 1].
        labels: (n,) integers 0, 1, …
    Raises:
        ImportError: without scikit-learn.
        ValueError: for labels that are no integers or not one per image, fewer than 2 classes, and images that are not
            finite.
    """
    try:
        from sklearn.svm import SVC
    except ImportError as error:
        raise ImportError(extras.needs("the judge needs", "scikit-learn", "metrics")) from error

    real = validation.as_images("images", images)
    truth = validation.as_labels("labels", labels, len(real))
    if len(np.unique(truth)) < 2:
        raise ValueError(f"a judge needs at least 2 classes, all {len(truth)} labels are {truth[0]}")
    classifier = SVC(C=10.0, gamma="scale").fit(features.pixels(real), truth)
    return Judge(classifier, real.shape[1:], int(truth.max()) + 1)


def measure(judge: Judge, images: Shaped[ArrayLike, "n *shape"], labels: Shaped[ArrayLike, "_"]) -> float:
    """Measure the accuracy: the share of images whose predicted class is their label, in [0, 1].

    Args:
        judge: from `train`.
        images: (n, …) in [-1, 1].
        labels: (n,) the classes that were asked for.

    Raises:
        ValueError: as `correct` does.
    """
    return float(correct(judge, images, labels).mean())


def correct(
    judge: Judge, images: Shaped[ArrayLike, "n *shape"], labels: Shaped[ArrayLike, "_"]
) -> Bool[np.ndarray, "n"]:
    """Return whether the judge predicts the class of each image's label.

    `measure` is the mean of these rows. They serve for a bootstrap.

    Args:
        judge: from `train`.
        images: (n, …) in [-1, 1].
        labels: (n,) the classes that were asked for.

    Raises:
        ValueError: for images of another shape than it was trained on, labels it does not know, and what `train`
            refuses.
    """
    rows = _rows(judge, images)
    classes = validation.as_labels("labels", labels, len(rows))
    if classes.max() >= judge.classes:
        raise ValueError(f"label {classes.max()} is none of the {judge.classes} classes the judge knows")
    return np.asarray(judge.classifier.predict(features.pixels(rows)) == classes)


def predict(judge: Judge, images: Shaped[ArrayLike, "n *shape"]) -> Int64[np.ndarray, "n"]:
    """Return the class that the judge predicts for each image: the labels of `modes.classifier_modes`.

    Args:
        judge: from `train`.
        images: (n, …) in [-1, 1].

    Raises:
        ValueError: for images of another shape than it was trained on, and images that are not finite.
    """
    return np.asarray(judge.classifier.predict(features.pixels(_rows(judge, images))), np.int64)


def _rows(judge: Judge, images: ArrayLike) -> np.ndarray:
    rows = validation.as_images("images", images, at_least=1)
    if rows.shape[1:] != judge.shape:
        raise ValueError(f"images have shape {rows.shape[1:]}, but the judge was trained on {judge.shape}")
    return rows


__getattr__ = renamed("metrics.classifier_accuracy", {"seen": ("metrics.classifier_accuracy.predict", predict)})
