"""progress.html: what there is to see of a training that goes on. A browser that shows it reads it again by itself."""

import re
from pathlib import Path

import jinja2
import numpy as np

from gendiff.commands.train.facts import Described, Numbers
from gendiff.runs.reporting import formatting, json_files, report
from gendiff.runs.reporting.plots import COLOURS
from gendiff.runs.run_folder import RunFolder

FILE, FOLDER = "progress.html", "progress"
MOST, POINTS = 24, 300
"""Grids that are shown, and points of the curve."""
SECONDS = 10
"""Between two readings of the page."""
WIDTH, HEIGHT = 640, 220


def write(folder: RunFolder, of: Described, numbers: Numbers, seed: int, step: int, each: float) -> Path:
    """The page after so many steps. each: seconds per step; 0 while that is unknown."""
    lines = folder.read_metrics(seed)
    loss = [(line["step"], line["loss"]) for line in lines if line["step"] <= step and np.isfinite(line["loss"]) and line["loss"] > 0]
    templates = [Path(__file__).parent, Path(report.__file__).with_name("templates")]
    loader = jinja2.Environment(
        loader=jinja2.FileSystemLoader(templates), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    page = loader.get_template(FILE).render(
        data=of.data,
        config=of.config,
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
    return json_files.write_bytes(folder.path / FILE, page.encode())


def _grids(folder: Path, seed: int, step: int) -> list[tuple[int, str]]:
    """(step, file) of the grids, the newest first. Those of steps that a resumed training has yet to do are left out."""
    matches = (re.fullmatch(rf"seed_{seed}_step_(\d+)\.png", path.name) for path in folder.glob("*.png"))
    found = sorted((int(match[1]), match[0]) for match in matches if match)
    return [each for each in reversed(found) if each[0] <= step][:MOST]


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
    first, last = (formatting.number(int(loss[place][0])) for place in (0, -1))
    return {"points": points, "low": formatting.number(low), "high": formatting.number(high), "first": first, "last": last}
