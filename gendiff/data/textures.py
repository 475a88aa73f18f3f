"""Patches of photographs and textures of scikit-image and scikit-learn: a class per picture, and held-out regions.

Each picture is cut into blocks of pixels. Every fourth block is held out, and no patch crosses the edge of a block, so
that no pixel is in a training patch and in a held-out one.
"""

import dataclasses

import numpy as np

from gendiff.core import checks, extras
from gendiff.data.images import random_access
from gendiff.data.images.random_access import Source

CLASSES = ("brick", "flower", "galaxies", "grass", "gravel", "temple", "tissue")
"""The picture that a patch is cut from; brick, grass and gravel are grey."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Patches(Source):
    """Patches of pictures in memory. `split` builds it.

    Args:
        pictures: one per class, each (h, w, 3) uint8.
        corners: (n, 2) the row and the column of each patch's upper left pixel.
        size: the side of a patch.
    """

    pictures: tuple[np.ndarray, ...]
    corners: np.ndarray
    size: int

    def image(self, i: int) -> np.ndarray:
        """Copy patch i, uint8 (size, size, 3)."""
        row, column = self.corners[i]
        return np.array(self.pictures[self.labels[i]][row : row + self.size, column : column + self.size])

    def name(self, i: int) -> str:
        """The class and the corner of patch i."""
        row, column = self.corners[i]
        return f"{CLASSES[self.labels[i]]} at {row}, {column}"


def split(size: int = 32, *, stride: int = 8) -> tuple[Patches, Patches]:
    """Cut the pictures into patches for training and held-out ones, 3 to 1.

    A block has 2 · size pixels in both directions. Block (i, j) is held out where i + 2 j is a multiple of 4.

    Args:
        size: the side of a patch, 8 … 96.
        stride: pixels between the corners of neighbouring patches of a block, 1 … size.

    Returns:
        (trained on, held out), sorted by class, then by block.

    Raises:
        ValueError: for numbers out of range.
        ImportError: without the packages of the extra `metrics`.
    """
    checks.integer("size", size, 8, 96)
    checks.integer("stride", stride, 1, size)
    pictures = _pictures()
    rows: list[list[tuple[int, int, int]]] = [[], []]
    for label, picture in enumerate(pictures):
        down, across = (side // (2 * size) for side in picture.shape[:2])
        for i in range(down):
            for j in range(across):
                inside = range(0, size + 1, stride)
                rows[(i + 2 * j) % 4 == 0] += [
                    (label, 2 * size * i + y, 2 * size * j + x) for y in inside for x in inside
                ]
    contents = [picture.tobytes() for picture in pictures]
    train, held_out = (_patches(pictures, contents, np.array(side, np.int32), size) for side in rows)
    return train, held_out


def _patches(pictures: tuple[np.ndarray, ...], contents: list[bytes], rows: np.ndarray, size: int) -> Patches:
    return Patches(
        labels=rows[:, 0],
        classes=CLASSES,
        fingerprint=random_access.fingerprint("textures", size, rows.tobytes(), *contents),
        pictures=pictures,
        corners=rows[:, 1:],
        size=size,
    )


def _pictures() -> tuple[np.ndarray, ...]:
    """Those of CLASSES, in its order. All lie within the installed packages."""
    try:
        import skimage.data
        from sklearn.datasets import load_sample_image
    except ImportError as error:
        raise ImportError(extras.needs("the textures need", "scikit-image and scikit-learn", "metrics")) from error
    grey = {
        name: np.repeat(getattr(skimage.data, name)()[..., None], 3, axis=-1) for name in ("brick", "grass", "gravel")
    }
    colour = {
        "flower": load_sample_image("flower.jpg"),
        "galaxies": skimage.data.hubble_deep_field(),
        "temple": load_sample_image("china.jpg"),
        "tissue": skimage.data.immunohistochemistry(),
    }
    return tuple(np.ascontiguousarray((grey | colour)[name]) for name in CLASSES)
