"""How far x_T is from the pure noise that sampling starts with: exact divergences between Gaussians.

With x_T scaled to alpha² + sigma² = 1, q(x_T | x_0) = N(alpha x_0, sigma² I), and per dimension

    KL(q(x_T | x_0) | N(0, I)) = (alpha² (x_0² - 1) - log(1 - alpha²)) / 2,

the prior term of the variational bound (Ho et al., 2020, Eq. 5). Its mean over the digits is an upper bound on the divergence of q(x_T),
in which x_0 is forgotten; that of the Gaussian with q(x_T)'s mean and covariance is a lower one, as the two differ by a divergence.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np

from gendiff.diffusion import schedules
from gendiff.runs.reporting import figures
from gendiff.runs.reporting.results import Figure, Table
from gendiff.runs.reporting.verdicts import Number

SCHEDULES: dict[str, Callable[[], schedules.Schedule]] = {
    "linear": schedules.linear,
    "scaled_linear": schedules.scaled_linear,
    "cosine": schedules.cosine,
    "sigmoid": schedules.sigmoid,
    "edm": schedules.edm,
    "shifted(cosine, 2)": lambda: schedules.shifted(schedules.cosine(), 2.0),
    "zero_terminal_snr(linear)": lambda: schedules.zero_terminal_snr(schedules.linear()),
    "zero_terminal_snr(scaled_linear)": lambda: schedules.zero_terminal_snr(schedules.scaled_linear()),
    "flow": schedules.flow,
    "shifted(flow, 3)": lambda: schedules.shifted(schedules.flow(), 3.0),
}
LATENT = 64 * 64 * 4
"""Entries of a Stable Diffusion latent of 512×512 pixels."""


class Distance(NamedTuple):
    """Of x_T from N(0, I) in nats per image. signal: alpha², where alpha² + sigma² = 1. latent: that of a latent of unit second moment.

    upper: the mean of q(x_T | x_0)'s. lower: at least that of q(x_T). start: as upper, but from N(0, sigma² I), where samplers start.
    """

    signal: float
    upper: Number
    lower: Number
    start: Number
    latent: float


class CleanLaw(NamedTuple):
    """What the lower bound asks of clean data: the squared length of its mean, and its variances (d,) along the principal axes."""

    square_of_mean: float
    variances: np.ndarray


def distances(images: np.ndarray, resamples: int) -> dict[str, Distance]:
    """Of every schedule, for images (n, …) in [-1, 1]; intervals say how far they would move with other images."""
    rows, rng = images.reshape(len(images), -1), np.random.default_rng(0)
    count, dimensions = rows.shape
    squares = np.mean(rows**2, axis=1)
    spread = 1.96 * squares.std(ddof=1) / math.sqrt(count)
    moments = squares.mean() + spread * np.array([0.0, -1.0, 1.0])
    laws = [law(rows), *(law(rows[rng.integers(count, size=count)]) for _ in range(resamples))]

    def of(schedule: schedules.Schedule) -> Distance:
        level = schedule.noisiest
        signal = float(level.alpha**2 / (level.alpha**2 + level.sigma**2))
        upper, start = (tuple(dimensions * float(bound(moment, signal)) for moment in moments) for bound in (upper_bound, from_start))
        least, *drawn = (lower_bound(law, signal) for law in laws)
        low, high = np.quantile(drawn, [0.025, 0.975]).tolist()
        return Distance(signal, cast(Number, upper), (least, low, high), cast(Number, start), LATENT * upper_bound(1.0, signal))

    return {name: of(schedule()) for name, schedule in SCHEDULES.items()}


def upper_bound(second_moment: float, signal: float) -> float:
    """Nats per dimension of q(x_T | x_0) from N(0, I), averaged over any data with this mean square, at alpha² = signal."""
    return (signal * (second_moment - 1) - math.log1p(-signal)) / 2


def from_start(second_moment: float, signal: float) -> float:
    """Nats per dimension of q(x_T | x_0) from N(0, sigma² I), averaged likewise."""
    return signal / (1 - signal) * second_moment / 2


def law(rows: np.ndarray) -> CleanLaw:
    """Of clean rows (n, d)."""
    return CleanLaw(float(np.sum(rows.mean(axis=0) ** 2)), np.linalg.eigvalsh(np.cov(rows, rowvar=False, bias=True)))


def lower_bound(law: CleanLaw, signal: float) -> float:
    """Nats of the Gaussian with the mean and covariance of x_T from N(0, I), all dimensions together."""
    excess = signal * (law.variances - 1)
    return float((signal * law.square_of_mean + np.sum(excess - np.log1p(excess))) / 2)


def plot(distances: dict[str, Distance], path: Path) -> Figure:
    """One bar per schedule. Those at 0 have no place on a logarithmic axis, so the caption names them."""
    far = {name: (of.upper[0], of.lower[0], of.upper[0]) for name, of in distances.items() if of.upper[0] > 0}
    caption = "How far x_T of real digits is from pure noise: at least where the dark part of a bar begins, at most where it ends. "
    caption += f"Exactly 0: {', '.join(name for name in distances if name not in far)}."
    return figures.bars(far, path, caption, x_label="KL from N(0, I), nats per image", log=True)


def table(distances: dict[str, Distance], dimensions: int) -> Table:
    """All of them, for images of so many dimensions."""
    nats = ("nats per image, at most", "nats per image, at least", "bits per dimension, at most", "nats from N(0, sigma²), at most")
    columns = ("schedule", "alpha² at T", *nats, "nats of a 64×64×4 latent")
    rows = [
        (name, of.signal, of.upper, of.lower, of.upper[0] / math.log(2) / dimensions, of.start, of.latent) for name, of in distances.items()
    ]
    return Table("How far x_T is from N(0, I); real digits, and last a latent of unit second moment", columns, tuple(rows))
