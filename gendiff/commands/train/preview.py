"""What a training draws on its way: every so many steps a grid of samples, each with its nearest training picture below it.

Looking changes no step, and a resumed training draws the same grids again.
"""

import functools
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gendiff.commands import drawing_options
from gendiff.commands.train import facts, measures, opened_pictures, progress_page
from gendiff.commands.train.config import Config
from gendiff.commands.train.facts import Described, Numbers
from gendiff.commands.train.opened_pictures import Pictures
from gendiff.commands.train.progress_page import FOLDER
from gendiff.metrics import neighbours
from gendiff.runs.reporting import figures
from gendiff.runs.run_folder import RunFolder
from gendiff.training import TrainState

ACROSS = 8
SEARCHED = 10_000
"""Training pictures at most among which the nearest is looked for; the report looks at more of them."""


class Previews:
    """Grids and the page of one training. `on_step` and `on_state` are those of `training.fit`."""

    def __init__(self, config: Config, of: Described, numbers: Numbers, pictures: Pictures, folder: RunFolder, seed: int) -> None:
        self._config, self._of, self._numbers, self._folder, self._seed = config, of, numbers, folder, seed
        self._pictures = pictures.training
        self._written = self._began = time.monotonic()
        self._first: int | None = None
        (folder.path / FOLDER).mkdir(exist_ok=True)

    def on_step(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Writes the page again now and then."""
        now = time.monotonic()
        if self._first is None:
            self._first, self._began = step, now
        if now - self._written > progress_page.SECONDS:
            self._write(step)

    def on_state(self, step: int, state: TrainState) -> None:
        """Draws a grid from the average where one is due, and writes the page. Samples that are not finite give no grid."""
        if step % self._numbers.preview_every and step != self._numbers.steps:
            return
        samples = self._draw(state.ema)
        if np.isfinite(samples).all():
            seen = opened_pictures.as_bytes(samples)
            figures.grid(self._beside(seen), min(ACROSS, len(seen)), file(self._folder, self._seed, step), "", ground=255)
        self._write(step)

    def _write(self, step: int) -> None:
        self._written = time.monotonic()
        first = step if self._first is None else self._first
        each = (self._written - self._began) / (step - first) if step > first else 0.0
        progress_page.write(self._folder, self._of, self._numbers, self._seed, step, each)

    def _draw(self, params: Any) -> np.ndarray:
        config, count = self._config, self._config.previews
        program = drawing_options.label_program(facts.model, self._of, config.sampling_steps, config.sampler)
        draw = functools.partial(program, params, jax.random.key(0), jnp.float32(1.0), jnp.float32(1.0))
        index = np.arange(count, dtype=np.int32)
        return np.asarray(draw(index, (index % max(1, len(self._of.data.classes))).astype(np.int32)))

    def _beside(self, samples: np.ndarray) -> np.ndarray:
        """Rows of samples, each followed by the row of their nearest training pictures."""
        rows, small = self._searched
        _, nearest = neighbours.nearest(measures.small(samples), small, 1)
        known = np.stack([self._picture(int(rows[place])) for place in nearest[:, 0]])
        across = min(ACROSS, len(samples))
        parts = [each[begin : begin + across] for begin in range(0, len(samples), across) for each in (samples, known)]
        blank = np.full((-len(samples) % across, *samples.shape[1:]), 255, np.uint8)
        return np.concatenate([*parts[:-2], parts[-2], blank, parts[-1]])

    @functools.cached_property
    def _searched(self) -> tuple[np.ndarray, np.ndarray]:
        """(rows of the training pictures, what distances are taken of)."""
        images, _, rows = opened_pictures.arrays(self._pictures, SEARCHED)
        return rows, measures.small(images)

    def _picture(self, row: int) -> np.ndarray:
        return opened_pictures.as_bytes(self._pictures.image(row), self._pictures.levels)


def file(folder: RunFolder, seed: int, step: int) -> Path:
    """Where the grid of a step lies."""
    return folder.path / FOLDER / f"seed_{seed}_step_{step:07d}.png"
