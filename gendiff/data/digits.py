"""Scikit-learn's 1,797 real handwritten digits (8×8, 17 levels), with 450 held out."""

import numpy as np

from gendiff.core import extras, records
from gendiff.data import scaling

LEVELS = 17
CLASSES = 10
HELD_OUT = 450


@records.record
class Split:
    """The digits, 1,347 to train on and 450 held out.

    Args:
        train_images: (1347, 8, 8, 1) float32 in [-1, 1].
        train_labels: (1347,) int32 0…9.
        held_out_images: (450, 8, 8, 1) float32 in [-1, 1].
        held_out_labels: (450,) int32 0…9.
    """

    train_images: np.ndarray
    train_labels: np.ndarray
    held_out_images: np.ndarray
    held_out_labels: np.ndarray


def load() -> Split:
    """Load the digits, split by class (seed 0): the same rows in every version and on every machine.

    They come with scikit-learn, so nothing is downloaded.

    Raises:
        ImportError: without scikit-learn.
    """
    try:
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split
    except ImportError as error:
        raise ImportError(extras.needs("the digits need", "scikit-learn", "metrics")) from error

    pixels, labels = load_digits(return_X_y=True)  # float64 that holds whole numbers
    images = np.asarray(scaling.to_unit(pixels.astype(np.uint8), LEVELS)).reshape(-1, 8, 8, 1)
    labels = labels.astype(np.int32)
    train, held_out = train_test_split(np.arange(len(labels)), test_size=HELD_OUT, stratify=labels, random_state=0)
    return Split(images[train], labels[train], images[held_out], labels[held_out])
