"""The scale of DPS, chosen on training digits: of those tried, the one with the least mean square error."""

from collections.abc import Callable, Mapping

import numpy as np

from experiments.diffusion.editing import problems as editing_problems
from experiments.diffusion.editing.config import Config
from experiments.diffusion.editing.problems import Problem
from gendiff.data import digits


def training_problems(config: Config, split: digits.Split) -> tuple[np.ndarray, dict[str, Problem]]:
    """(the first training digits, every problem of them)."""
    truth = split.train_images[: config.scale_digits]
    return truth, editing_problems.problems(config, split, truth)


def try_scales(
    config: Config, restore: Callable[..., np.ndarray], problem: Problem, truth: np.ndarray
) -> dict[float, np.ndarray]:
    """Of each scale the square error of every digit (n,). restore: (problem, scale=…) -> images."""
    return {scale: problem.errors(restore(problem, scale=scale), truth) for scale in config.dps_scales}


def best(errors: Mapping[float, np.ndarray]) -> float:
    """The scale with the least mean square error; of equals the first."""
    return min(errors, key=lambda scale: float(errors[scale].mean()))
