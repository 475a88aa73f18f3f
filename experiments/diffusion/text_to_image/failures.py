"""In which way a picture misses its caption, from what the oracle reads."""

import numpy as np

from experiments.tasks import shapes

KINDS = ("unclear", "count", "position", "colour swapped", "colour", "shape", "size")
"""unclear: the oracle reads no scene. count: another number of objects. position: the right number elsewhere. The
others are of scenes with the right positions: two objects have each other's colours, or some object another colour,
shape or size.
"""


def kinds(readings: np.ndarray, requested: np.ndarray) -> dict[str, np.ndarray]:
    """(n,) of each of KINDS whether it is so; a picture may have several of the last four.

    readings, requested: (n, 3, 4) attributes, objects in the order of their positions.
    """
    unclear = np.any(readings < shapes.ABSENT, axis=(1, 2))
    there, expected = readings[:, :, 0] >= 0, requested[:, :, 0] >= 0
    count = ~unclear & (there.sum(axis=1) != expected.sum(axis=1))
    same = ~unclear & ~count
    colour, shape, size, position = (readings[:, :, column] != requested[:, :, column] for column in range(4))
    elsewhere = same & position.any(axis=1)
    placed = same & ~elsewhere
    crossed = np.all(readings[:, :2, 0] == requested[:, 1::-1, 0], axis=1) & (requested[:, 1, 0] >= 0)
    swapped = placed & crossed & colour.any(axis=1)
    others = (placed & ~swapped & colour.any(axis=1), placed & shape.any(axis=1), placed & size.any(axis=1))
    return dict(zip(KINDS, (unclear, count, elsewhere, swapped, *others), strict=True))
