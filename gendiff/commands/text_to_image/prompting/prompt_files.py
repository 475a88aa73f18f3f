"""The files of pictures of prompts: a grid of one prompt, or a row for each of several, with the settings in the file."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gendiff.provenance import metadata
from gendiff.runs.reporting import captioned, figures

COLUMNS = 4
SIDE = 128
"""Least pixels of a side that small pictures are enlarged to."""


def write_grid(pictures: np.ndarray, path: Path, settings: Mapping[str, Any]) -> None:
    """Pictures (n, h, w, 3) in rows of four."""
    figures.grid(pictures, min(COLUMNS, len(pictures)), path, "", scale=_scale(pictures), ground=255, entries=metadata.entries(settings))


def write_rows(prompts: Sequence[str], pictures: np.ndarray, path: Path, settings: Mapping[str, Any]) -> None:
    """Pictures (prompts · n, h, w, 3): a row for each prompt, above its words."""
    rows = pictures.reshape(len(prompts), -1, *pictures.shape[1:])
    captioned.grid(rows, prompts, path, scale=_scale(pictures), entries=metadata.entries(settings))


def _scale(pictures: np.ndarray) -> int:
    return -(-SIDE // pictures.shape[1])
