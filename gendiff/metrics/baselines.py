"""Null controls: generators without a model of images, which fair metrics distinguish from real data."""

import numpy as np
from jaxtyping import Float32, Shaped

from gendiff.core import checks
from gendiff.core.types import ArrayLike
from gendiff.metrics import neighbours as distances
from gendiff.metrics import validation


def gaussian_per_class(
    images: Shaped[ArrayLike, "n *shape"],
    labels: Shaped[ArrayLike, "_"],
    rng: np.random.Generator,
    wanted_labels: Shaped[ArrayLike, "m"],
) -> Float32[np.ndarray, "m *shape"]:
    """Draw images from one Gaussian per class, without clipping.

    The Gaussian of a class has the mean and the unbiased covariance of that class's images.

    Args:
        images: (n, …) real ones.
        labels: (n,) their classes, integers >= 0.
        rng: decides the draws.
        wanted_labels: (m,) the class of each draw.

    Raises:
        ValueError: for a wanted class of fewer than 2 images, labels that are no integers, and images that are not
            finite.
    """
    real, truth, classes = _checked(images, labels, wanted_labels)
    samples = np.empty((len(classes), real.shape[1]))
    for label in np.unique(classes).tolist():
        members, places = _members(real, truth, label, at_least=2), np.flatnonzero(classes == label)
        mean = members.mean(axis=0)
        mixing = rng.standard_normal((len(places), len(members)))
        # a random mixture of the deviations has just their covariance, however deficient its rank
        samples[places] = mean + mixing @ (members - mean) / np.sqrt(len(members) - 1)
    return samples.reshape(len(classes), *np.shape(images)[1:]).astype(np.float32)


def smote(
    images: Shaped[ArrayLike, "n *shape"],
    labels: Shaped[ArrayLike, "_"],
    rng: np.random.Generator,
    wanted_labels: Shaped[ArrayLike, "m"],
    neighbours: int = 5,
) -> Float32[np.ndarray, "m *shape"]:
    """Draw per wanted label a random point between a random image of the class and one of its nearest of the class.

    Args:
        images: (n, …) real ones.
        labels: (n,) their classes, integers >= 0.
        rng: decides the draws.
        wanted_labels: (m,) the class of each draw.
        neighbours: how many nearest images there are to choose from, >= 1.

    Raises:
        ValueError: for a wanted class of fewer than neighbours + 1 images, and as `gaussian_per_class` does.

    References:
        Chawla et al., 2002.
    """
    checks.integer("neighbours", neighbours, 1)
    real, truth, classes = _checked(images, labels, wanted_labels)
    samples = np.empty((len(classes), real.shape[1]))
    for label in np.unique(classes).tolist():
        members, places = _members(real, truth, label, at_least=neighbours + 1), np.flatnonzero(classes == label)
        _, near = distances.nearest(members, members, neighbours, others=True)
        start = rng.integers(len(members), size=len(places))
        end = near[start, rng.integers(neighbours, size=len(places))]
        samples[places] = members[start] + rng.random((len(places), 1)) * (members[end] - members[start])
    return samples.reshape(len(classes), *np.shape(images)[1:]).astype(np.float32)


def noisy(
    images: Shaped[ArrayLike, "n *shape"], rng: np.random.Generator, std: int | float
) -> Float32[np.ndarray, "n *shape"]:
    """Add Gaussian noise of standard deviation `std` >= 0 to images (n, …), in the images' own unit; not clipped."""
    checks.in_range("std", std, 0.0, float("inf"), open_high=True)
    real = validation.as_images("images", images, at_least=1)
    return (real + std * rng.standard_normal(real.shape)).astype(np.float32)


def _checked(
    images: ArrayLike, labels: ArrayLike, wanted_labels: ArrayLike
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    real = validation.as_images("images", images)
    truth = validation.as_labels("labels", labels, len(real))
    classes = validation.as_labels("wanted_labels", wanted_labels, len(np.asarray(wanted_labels)))
    return real.reshape(len(real), -1), truth, classes


def _members(real: np.ndarray, truth: np.ndarray, label: int, at_least: int) -> np.ndarray:
    members: np.ndarray = real[truth == label]
    if len(members) < at_least:
        raise ValueError(f"class {label} has {len(members)} images, at least {at_least} are needed")
    return members
