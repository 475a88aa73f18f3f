"""Samples at places of a training: it goes on from each place to the next, and what has been drawn is not drawn
again.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gendiff.core import files, npz
from gendiff.runs.run_folder import RunFolder


def train(
    folder: RunFolder,
    shares: Iterable[float],
    advance: Callable[[float], Any],
    draw: Callable[[Any, float], Mapping[str, np.ndarray]],
) -> None:
    """Trains as far as each share of a training whose samples are missing, and keeps what is drawn there.

    advance: from a share to the state after that part of the training, which goes on from a checkpoint. draw: (state,
    share) -> arrays by name.
    """
    for share in missing(folder, shares):
        write(folder, share, draw(advance(share), share))


def missing(folder: RunFolder, shares: Iterable[float]) -> list[float]:
    """The shares at which nothing has been drawn."""
    return [share for share in shares if not _file(folder, share).exists()]


def write(folder: RunFolder, share: float, samples: Mapping[str, np.ndarray]) -> None:
    """Keeps what was drawn at a share of the training, by name."""
    with files.replacing(_file(folder, share)) as file:
        np.savez(file, **samples)  # type: ignore[arg-type]  # names, none of which is an option of savez


def read(folder: RunFolder, share: float, names: list[str]) -> dict[str, np.ndarray]:
    """What was drawn at a share of the training, by name. DataError where it is missing or damaged."""
    file = npz.existing(_file(folder, share), ".npz")
    return npz.guarded(file, lambda: npz.read(file, names))


def steps_at(share: float, total: int) -> int:
    """Steps that a share of so many is, at least one."""
    return max(1, round(share * total))


def _file(folder: RunFolder, share: float) -> Path:
    return folder.path / f"samples_at_{share:g}.npz"
