"""Clips frame by frame, players of them, drift against length, and costs against size."""

import numpy as np

from experiments.video import costs
from gendiff.commands.video.config import REAL
from gendiff.data import clip_files
from gendiff.runs.reporting import figures
from gendiff.runs.reporting.figures import Curve
from gendiff.runs.reporting.results import Axis, Explorer, Figure
from gendiff.runs.run_folder import RunFolder
from gendiff.runs.study import Measurements

SCALE = 3
"""How often pixels are repeated in players and files."""
ACROSS = 8
"""Clips of a row of a player."""


def _first(measured: Measurements, group: str) -> dict[str, np.ndarray]:
    """The first clips of every set of a group, of its first seed, as many of each."""
    sets = {
        each.name: each.arrays["shown"] for each in reversed(measured) if each.group == group and "shown" in each.arrays
    }
    count = min(map(len, sets.values()))
    return {name: sets[name][:count] for name in measured.names(group) if name in sets}


def _caption(measured: Measurements, words: str) -> str:
    seed = next(each.seed for each in measured if each.seed is not None)
    return f"{words}, seed {seed}. Not selected."


def clips(measured: Measurements, folder: RunFolder) -> Figure:
    """Two clips of each set, a row each."""
    sets = _first(measured, "clips")
    rows, names = (
        [clip for clips_of_set in sets.values() for clip in clips_of_set[:2]],
        [name for name in sets for _ in range(2)],
    )
    heads = [f"frame {number}" for number in range(1, len(rows[0]) + 1)]
    caption = _caption(measured, f"Frames of clips, two of each: {', '.join(sets)}")
    return figures.grid(np.concatenate(rows), len(rows[0]), folder.figure("clips"), caption, rows=names, heads=heads)


def long(measured: Measurements, folder: RunFolder) -> Figure:
    """Some frames of long rollouts."""
    sets, frames = _first(measured, "long"), _first(measured, "clips")[REAL].shape[1]
    length = next(iter(sets.values())).shape[1]
    at = np.unique(np.linspace(0, length - 1, length // frames + 1).round().astype(int))
    rows = {
        f"digit {digit}, {name.removeprefix('long rollouts ')}": clips_of_set[digit][at]
        for name, clips_of_set in sets.items()
        for digit in range(4)
    }
    caption = _caption(measured, f"Rollouts of digits to {length // frames} times the length of training")
    heads = [f"frame {frame + 1}" for frame in at]
    return figures.named_rows(rows, folder.figure("long"), caption, heads=heads)


def drift(measured: Measurements, folder: RunFolder) -> Figure:
    """Confidence by frame."""
    curves = []
    for name in measured.names("long"):
        by_seed = np.stack([each.arrays["confidence"] for each in measured if each.name == name])
        curves.append(Curve(name, np.arange(1, by_seed.shape[1] + 1), by_seed.mean(0), by_seed.min(0), by_seed.max(0)))
    caption = (
        "Confidence in the digit that was asked for, by frame of rollouts; training clips have "
        f"{_first(measured, 'clips')[REAL].shape[1]} frames. Means of seeds, and the least and the largest."
    )
    limits = [("held-out clips", measured.mean(REAL, "confidence")[0])]
    return figures.curves(
        curves, folder.figure("drift"), caption, x_label="frame", y_label="confidence", thresholds=limits
    )


def cost(axis: str, measured: Measurements, folder: RunFolder) -> Figure:
    """Milliseconds of an evaluation along an axis."""
    curves = []
    for each in (each for each in measured if each.group == "costs"):
        along, seconds = each.arrays[axis]
        low, high = np.quantile(1000 * seconds, [0.025, 0.975], axis=0)
        curves.append(Curve(each.name, along, np.median(1000 * seconds, 0), low, high))
    frames, side = _first(measured, "clips")[REAL].shape[1:3]
    fixed, label = (
        (f"{side}×{side} pixels", "frames") if axis == costs.FRAMES else (f"{frames} frames", "pixels of a frame")
    )
    caption = f"Milliseconds of one evaluation of one clip of {fixed}: medians over rounds, and where 95 % of them lie."
    path = folder.figure(f"cost_{axis}")
    return figures.curves(curves, path, caption, x_label=label, y_label="milliseconds", log_x=True, log_y=True)


def player(group: str, file: str, caption: str, label: str, measured: Measurements, folder: RunFolder) -> Explorer:
    """The first clips of every set of a group under a slider over their frames, and a file of each that any viewer
    plays.
    """
    sets = _first(measured, group)
    for name, clips_of_set in sets.items():
        path = folder.path / f"{file}_{name.removeprefix('long rollouts ').replace(' ', '_')}.webp"
        clip_files.write_clip(path, clip_files.sheet(clips_of_set, columns=ACROSS), scale=SCALE)
    panels = [
        (clips_of_set if group == "clips" else clips_of_set[:ACROSS]).swapaxes(0, 1) for clips_of_set in sets.values()
    ]
    enlarged = np.stack(panels).repeat(SCALE, axis=-3).repeat(SCALE, axis=-2)  # (sets, frames, n, h, w, 1)
    axes = (Axis(label, tuple(sets)), Axis("frame", tuple(range(1, enlarged.shape[1] + 1))))
    path = folder.figure("player" if group == "clips" else file)
    return figures.explorer(enlarged, axes, path, _caption(measured, caption), start=(1, 0), columns=ACROSS)
