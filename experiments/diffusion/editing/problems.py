"""What the editing experiment takes from digits, and the rivals that give it back without having learned digits."""

import dataclasses
import functools
from typing import Any

import numpy as np

from experiments.diffusion.editing.config import Config
from gendiff.data import digits
from gendiff.diffusion import linear_operators

FACTOR = 2
"""Super-resolution: pixels of a box along each axis."""
SEED = 0
"""Of the noise on blurred digits."""
MASKS = {"centre": (slice(2, 6), slice(2, 6)), "lower half": (slice(4, 8), slice(0, 8))}
"""Rows and columns that each mask hides: 4×4 pixels in the middle, and rows 4 to 7."""


@dataclasses.dataclass(frozen=True)
class Problem:
    """One way to degrade images (n, 8, 8, 1).

    operator: y = A x, `noise_std` of the noise on y. measured: y (n, …). rival: images (n, 8, 8, 1) by the method
        called `rival_name`.
    where: (1, 8, 8, 1), True at the pixels whose error counts: the hidden ones, or all. mask: that again where pixels
        are hidden.
    """

    operator: Any
    measured: np.ndarray
    noise_std: float
    rival_name: str
    rival: np.ndarray
    where: np.ndarray
    mask: np.ndarray | None = None

    def errors(self, images: np.ndarray, truth: np.ndarray) -> np.ndarray:
        """The mean square error of each image where it counts (n,), values clipped to the data's [-1, 1]."""
        differences = (np.clip(images, -1, 1) - truth)[:, self.where[0]]
        return np.mean(np.square(differences, dtype=np.float64), axis=1)

    @property
    def picture(self) -> np.ndarray:
        """What is measured, as images (n, 8, 8, 1): hidden pixels in mid grey, small ones as large as they are."""
        enlarged = self.measured.repeat(8 // self.measured.shape[1], axis=1).repeat(8 // self.measured.shape[2], axis=2)
        return enlarged if self.mask is None else np.where(self.mask, np.float32(0), enlarged)


def problems(config: Config, split: digits.Split, truth: np.ndarray) -> dict[str, Problem]:
    """Every problem of the config for the clean images `truth` (n, 8, 8, 1), by name.

    Masks, which the mean training digit fills; means of boxes, against bicubic interpolation; and a circular Gaussian
    blur under noise, against the Wiener filter.
    """
    training, everywhere = split.train_images, np.ones((1, 8, 8, 1), bool)
    all_problems: dict[str, Problem] = {}
    for name, rows in MASKS.items():
        mask = np.zeros((1, 8, 8, 1), bool)
        mask[:, *rows] = True
        hidden, filled = (
            np.where(mask, np.float32(0), truth),
            np.where(mask, training.mean(axis=0), truth).astype(np.float32),
        )
        all_problems[name] = Problem(linear_operators.inpaint(mask), hidden, 0.0, "mean digit", filled, mask, mask)
    box = linear_operators.downsample(FACTOR)
    small = np.asarray(box.forward(truth))
    all_problems["super-resolution"] = Problem(box, small, 0.0, "bicubic", bicubic(small, FACTOR), everywhere)
    kernel, std = gaussian_kernel(config.blur_std), config.noise_std
    blur, noise = (
        linear_operators.blur(kernel),
        np.random.default_rng(SEED).standard_normal(truth.shape).astype(np.float32),
    )
    blurred = np.asarray(blur.forward(truth)) + np.float32(std) * noise
    all_problems["deblurring"] = Problem(
        blur, blurred, std, "Wiener", wiener(blurred, training, kernel, std), everywhere
    )
    return all_problems


def gaussian_kernel(std: float, radius: int = 3) -> np.ndarray:
    """exp(-(i² + j²) / 2 std²), normalised, of 2 radius + 1 entries along each axis."""
    line = np.exp(-(np.arange(-radius, radius + 1) ** 2) / (2 * std**2))
    return (np.outer(line, line) / line.sum() ** 2).astype(np.float32)


def bicubic(small: np.ndarray, factor: int) -> np.ndarray:
    """(n, h, w, 1) enlarged by cubic convolution (Keys, 1981, a = -1/2), with each small pixel at the middle of its
    box.
    """
    from PIL import Image

    size = small.shape[2] * factor, small.shape[1] * factor
    return np.stack(
        [np.asarray(Image.fromarray(image[..., 0]).resize(size, Image.Resampling.BICUBIC)) for image in small]
    )[..., None]


def wiener(blurred: np.ndarray, training: np.ndarray, kernel: np.ndarray, noise_std: float) -> np.ndarray:
    """The best linear estimate for stationary images: mean + S H* / (S |H|² + noise variance) (y - H mean), frequency
    by frequency.

    mean, S: the mean of the training images (n, h, w, 1) and the power spectrum of their deviations from it (Wiener,
        1949).
    """
    (height, width), (down, across) = blurred.shape[1:3], kernel.shape
    transform = functools.partial(np.fft.fft2, axes=(1, 2))
    mean = training.mean(axis=0, dtype=np.float64)
    spectrum = np.mean(np.abs(transform(training - mean)) ** 2, axis=0) / (height * width)
    wide = np.zeros((1, height, width, 1))
    wide[0, :down, :across, 0] = kernel
    transfer = transform(np.roll(wide, (-(down // 2), -(across // 2)), axis=(1, 2)))[0]
    gain = spectrum * np.conj(transfer) / (spectrum * np.abs(transfer) ** 2 + noise_std**2)
    deviation = gain * (transform(blurred) - transfer * transform(mean[None]))
    return (mean + np.fft.ifft2(deviation, axes=(1, 2)).real).astype(np.float32)


def nearest(problem: Problem, training: np.ndarray) -> np.ndarray:
    """The training image (n, 8, 8, 1) whose measurement is nearest to each measured one: a rival that knows digits by
    heart.
    """
    references = np.asarray(problem.operator.forward(training)).reshape(len(training), -1).astype(np.float64)
    measurements = problem.measured.reshape(len(problem.measured), -1).astype(np.float64)
    distances = np.sum(references**2, axis=1)[None] - 2 * measurements @ references.T
    return training[np.argmin(distances, axis=1)]
