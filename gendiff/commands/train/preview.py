"""What a training draws on its way: every so many steps a grid of samples, each with its nearest training picture below
it.

progress.html shows the grids and the loss, and a browser that shows it reads it again by itself. Looking changes no
step, and a resumed training draws the same grids again.
"""

import functools
import re
import time
from collections.abc import Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from gendiff.commands import drawing_programs
from gendiff.commands.train import facts, opened_pictures
from gendiff.commands.train.config import Config, Numbers
from gendiff.commands.train.facts import Described
from gendiff.commands.train.opened_pictures import Pictures
from gendiff.core.types import Params
from gendiff.metrics import neighbours
from gendiff.runs.reporting import figures, formatting, html_pages
from gendiff.runs.reporting.plots import COLOURS
from gendiff.runs.run_folder import RunFolder
from gendiff.training import TrainState

ACROSS = 8
SEARCHED = 10_000
"""Training pictures at most among which the nearest is looked for; the report looks at more of them."""
FILE, FOLDER = "progress.html", "progress"
MOST, POINTS = 24, 300
"""Grids that are shown, and points of the curve."""
SECONDS = 10
"""Between two readings of the page."""
WIDTH, HEIGHT = 640, 220


class Previews:
    """Grids and the page of one training. `on_step` and `on_state` are those of `training.fit`."""

    def __init__(
        self, config: Config, described: Described, numbers: Numbers, pictures: Pictures, folder: RunFolder, seed: int
    ) -> None:
        self._config, self._of, self._numbers, self._folder, self._seed = config, described, numbers, folder, seed
        self._pictures = pictures.training
        self._written = self._began = time.monotonic()
        self._first: int | None = None
        (folder.path / FOLDER).mkdir(exist_ok=True)

    def on_step(self, step: int, metrics: Mapping[str, object]) -> None:
        """Writes the page again now and then."""
        now = time.monotonic()
        if self._first is None:
            self._first, self._began = step, now
        if now - self._written > SECONDS:
            self._write(step)

    def on_state(self, step: int, state: TrainState) -> None:
        """Draws a grid from the average where one is due, and writes the page. Samples that are not finite give no
        grid.
        """
        if step % self._numbers.preview_every and step != self._numbers.steps:
            return
        samples = self._draw(state.ema)
        if np.isfinite(samples).all():
            pixels = opened_pictures.as_bytes(samples)
            figures.grid(
                self._beside(pixels), min(ACROSS, len(pixels)), file(self._folder, self._seed, step), "", ground=255
            )
        self._write(step)

    def _write(self, step: int) -> None:
        self._written = time.monotonic()
        first = step if self._first is None else self._first
        each = (self._written - self._began) / (step - first) if step > first else 0.0
        write_page(self._folder, self._of, self._numbers, self._seed, step, each)

    def _draw(self, params: Params) -> np.ndarray:
        config, count = self._config, self._config.previews
        program = drawing_programs.label_program(
            facts.model, self._of, config.sampling_steps, config.sampler, guided=config.guidance != 1
        )
        draw = functools.partial(program, params, jax.random.key(0), jnp.float32(config.guidance), jnp.float32(1.0))
        index = np.arange(count, dtype=np.int32)
        return np.asarray(draw(index, (index % max(1, len(self._of.data.classes))).astype(np.int32)))

    def _beside(self, samples: np.ndarray) -> np.ndarray:
        """Rows of samples, each followed by the row of their nearest training pictures."""
        rows, small = self._searched
        _, nearest = neighbours.nearest(opened_pictures.small(samples), small, 1)
        known = np.stack([self._picture(int(rows[row])) for row in nearest[:, 0]])
        across = min(ACROSS, len(samples))
        parts = [each[begin : begin + across] for begin in range(0, len(samples), across) for each in (samples, known)]
        blank = np.full((-len(samples) % across, *samples.shape[1:]), 255, np.uint8)
        return np.concatenate([*parts[:-2], parts[-2], blank, parts[-1]])

    @functools.cached_property
    def _searched(self) -> tuple[np.ndarray, np.ndarray]:
        """(rows of the training pictures, what distances are taken of)."""
        images, _, rows = opened_pictures.arrays(self._pictures, SEARCHED)
        return rows, opened_pictures.small(images)

    def _picture(self, row: int) -> np.ndarray:
        return opened_pictures.as_bytes(self._pictures.image(row), self._pictures.levels)


def file(folder: RunFolder, seed: int, step: int) -> Path:
    """Where the grid of a step lies."""
    return folder.path / FOLDER / f"seed_{seed}_step_{step:07d}.png"


def write_page(folder: RunFolder, described: Described, numbers: Numbers, seed: int, step: int, each: float) -> Path:
    """The page after so many steps. each: seconds per step; 0 while that is unknown."""
    lines = folder.read_metrics(seed)
    loss = [
        (line["step"], line["loss"])
        for line in lines
        if line["step"] <= step and np.isfinite(line["loss"]) and line["loss"] > 0
    ]
    return html_pages.write(
        folder.path / FILE,
        Path(__file__).with_name(FILE),
        data=described.data,
        config=described.config,
        numbers=numbers,
        step=step,
        seed=seed,
        done=step >= numbers.steps,
        left=formatting.duration(each * (numbers.steps - step)) if each else "",
        each=f"{each:.3g} s" if each else "",
        loss=formatting.number(float(np.mean([value for _, value in loss[-20:]]))) if loss else "",
        curve=_curve(loss),
        grids=_grids(folder.path / FOLDER, seed, step),
        seconds=SECONDS,
        colour=COLOURS[0],
        size=(WIDTH, HEIGHT),
        folder=FOLDER,
    )


def _grids(folder: Path, seed: int, step: int) -> list[tuple[int, str]]:
    """(step, file) of the grids, the newest first. Those of steps that a resumed training has yet to do are left
    out.
    """
    matches = (re.fullmatch(rf"seed_{seed}_step_(\d+)\.png", path.name) for path in folder.glob("*.png"))
    grids = sorted((int(match[1]), match[0]) for match in matches if match)
    return [each for each in reversed(grids) if each[0] <= step][:MOST]


def _curve(loss: list[tuple[int, float]]) -> dict[str, object] | None:
    """The loss as means over equal parts of the steps, on a logarithmic axis, in the unit of the picture."""
    if len(loss) < 2:
        return None
    parts = np.array_split(np.array(loss, np.float64), min(POINTS, len(loss)))
    steps, values = (np.array([part[:, column].mean() for part in parts]) for column in (0, 1))
    low, high = float(values.min()), float(values.max())
    x = WIDTH * (steps - steps[0]) / max(steps[-1] - steps[0], 1)
    y = HEIGHT * np.log(high / values) / max(np.log(high / low), 1e-9)
    points = " ".join(f"{across:.1f},{down:.1f}" for across, down in zip(x, y, strict=True))
    first, last = (formatting.number(int(loss[end][0])) for end in (0, -1))
    return {
        "points": points,
        "low": formatting.number(low),
        "high": formatting.number(high),
        "first": first,
        "last": last,
    }
