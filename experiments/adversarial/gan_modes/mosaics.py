"""Samples of a method as one square picture below its name: a cloud of points, or some pictures of digits."""

import numpy as np

from experiments.adversarial.gan_modes.targets import SIDE, WIDE
from gendiff.data import stacked_digits

TILE, NAME = 96, 14
"""Pixels of the square and of the strip with the name above it."""
ROW = 6
"""Pictures of digits along a side."""
INK = np.array([59.0, 130.0, 196.0])
"""Colour of many points; few are paler."""


def cloud(points: np.ndarray) -> np.ndarray:
    """(96, 96, 3) uint8 of points (n, 2): the square that uniform noise fills, the second coordinate upwards."""
    edges = np.linspace(-WIDE, WIDE, TILE + 1)
    counts, *_ = np.histogram2d(points[:, 0], points[:, 1], bins=(edges, edges))
    dark = 1 - np.exp(-counts.T[::-1] / 2)
    return np.round(255 - dark[:, :, None] * (255 - INK)).astype(np.uint8)


def digits(pictures: np.ndarray) -> np.ndarray:
    """(96, 96, 3) uint8 of the first 36 pictures (n, 192), each enlarged twice; fewer leave white squares."""
    shown = np.ones((ROW * ROW, SIDE, SIDE, stacked_digits.CHANNELS))
    rows = np.clip(pictures[: ROW * ROW], -1.0, 1.0)
    shown[: len(rows)] = rows.reshape(-1, SIDE, SIDE, stacked_digits.CHANNELS)
    sheet = shown.reshape(ROW, ROW, SIDE, SIDE, -1).transpose(0, 2, 1, 3, 4).reshape(ROW * SIDE, ROW * SIDE, -1)
    scale = TILE // len(sheet)
    return np.round((sheet + 1) * 127.5).astype(np.uint8).repeat(scale, axis=0).repeat(scale, axis=1)


def named(tile: np.ndarray, name: str) -> np.ndarray:
    """(110, 96, 3) uint8 of a square below its name, which is cut where it is too long."""
    from PIL import Image, ImageDraw, ImageFont

    strip = Image.new("RGB", (TILE, NAME), "white")
    ImageDraw.Draw(strip).text((2, 1), name, fill="black", font=ImageFont.load_default(9))
    return np.concatenate([np.asarray(strip), tile])
