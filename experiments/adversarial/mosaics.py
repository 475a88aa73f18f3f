"""Samples of a method as one square picture below its name: a cloud of points, or some pictures."""

import numpy as np

from experiments.adversarial.targets import SIDE, WIDE
from experiments.tasks import stacked_digits

TILE, NAME = 96, 14
"""Pixels of the square and of the strip with the name above it."""
SMALL = 16
"""Pixels that a side of a small picture is enlarged to."""
LARGE = 32
"""Pixels that a side of a larger picture is reduced to."""
INK = np.array([59.0, 130.0, 196.0])
"""Colour of many points; few are paler."""


def cloud(points: np.ndarray) -> np.ndarray:
    """(96, 96, 3) uint8 of points (n, 2): the square that uniform noise fills, the second coordinate upwards."""
    edges = np.linspace(-WIDE, WIDE, TILE + 1)
    counts, *_ = np.histogram2d(points[:, 0], points[:, 1], bins=(edges, edges))
    dark = 1 - np.exp(-counts.T[::-1] / 2)
    return np.round(255 - dark[:, :, None] * (255 - INK)).astype(np.uint8)


def digits(rows: np.ndarray) -> np.ndarray:
    """The mosaic of stacked digits (n, 192)."""
    return pictures(rows.reshape(-1, SIDE, SIDE, stacked_digits.CHANNELS))


def pictures(images: np.ndarray) -> np.ndarray:
    """(96, 96, 3) uint8 of the first of images (n, s, s, 1 or 3) in [-1, 1], small ones enlarged to 16 pixels and large
    ones reduced to 32; fewer leave white squares.

    The side s divides 96, a side below 16 divides that, and one above 32 is a multiple of that.
    """
    if (squares := images.shape[1] // LARGE) > 1:
        images = images.reshape(len(images), LARGE, squares, LARGE, squares, -1).mean((2, 4))
    side, channels = images.shape[1], images.shape[3]
    scale = max(1, SMALL // side)
    across = TILE // (scale * side)
    tiles = np.ones((across**2, side, side, channels))
    rows = np.clip(images[: across**2], -1.0, 1.0)
    tiles[: len(rows)] = rows
    sheet = (
        tiles.reshape(across, across, side, side, -1).transpose(0, 2, 1, 3, 4).reshape(across * side, across * side, -1)
    )
    pixels = np.round((sheet + 1) * 127.5).astype(np.uint8).repeat(scale, axis=0).repeat(scale, axis=1)
    return np.broadcast_to(pixels, (*pixels.shape[:2], 3)).copy()


def named(tile: np.ndarray, name: str) -> np.ndarray:
    """(110, 96, 3) uint8 of a square below its name, which is cut where it is too long."""
    from PIL import Image, ImageDraw, ImageFont

    strip = Image.new("RGB", (TILE, NAME), "white")
    ImageDraw.Draw(strip).text((2, 1), name, fill="black", font=ImageFont.load_default(9))
    return np.concatenate([np.asarray(strip), tile])
