"""What the run shows beside its claims: clips frame by frame, players of them, drift against length, costs against size, and tables."""

from typing import Any

import numpy as np

from experiments.video import costs, findings, measures
from experiments.video.findings import Found
from gendiff.commands.video import networks
from gendiff.commands.video.config import ATTENTIONS, CAUSAL, REAL, SHUFFLED, Config
from gendiff.data import clip_files
from gendiff.runs.reporting import figures, intervals
from gendiff.runs.reporting.figures import Curve
from gendiff.runs.reporting.results import Axis, Explorer, Figure, Table
from gendiff.runs.run_folder import RunFolder

SCALE = 3
"""How often pixels are repeated in players and files."""
ACROSS = 8
"""Clips of a row of a player."""
NOT_SELECTED = "Not selected."


def every(config: Config, folder: RunFolder, found: Found) -> tuple[Figure, ...]:
    """All figures."""
    return (
        _frames(config, folder, found),
        _long_frames(config, folder, found),
        _drift(config, folder, found),
        *(_cost(config, folder, found, axis) for axis in costs.AXES),
    )


def players(config: Config, folder: RunFolder, found: Found) -> tuple[Explorer, ...]:
    """Clips of every set, and long rollouts, with a slider over their frames."""
    sets = _shown(found)
    pictures = np.stack([_enlarged(given.swapaxes(0, 1)) for given in sets.values()])  # (sets, frames, n, h, w, 1)
    axes = (Axis("clips", tuple(sets)), Axis("frame", tuple(range(1, config.frames + 1))))
    caption = f"Clips of each attention, seed {config.seeds[0]}, of the digits in turn, beside held-out ones. {NOT_SELECTED}"
    first = figures.explorer(pictures, axes, folder.figure("player"), caption, start=(1, 0), columns=ACROSS)
    noises = findings.noises(config)
    long = np.stack([_enlarged(found.long[noise][0].shown[:ACROSS].swapaxes(0, 1)) for noise in noises])
    axes = (Axis("context noise", noises), Axis("frame", tuple(range(1, long.shape[1] + 1))))
    caption = f"Rollouts of the causal network to {config.long} times the length of training, seed {config.seeds[0]}. {NOT_SELECTED}"
    second = figures.explorer(long, axes, folder.figure("rollouts"), caption, start=(1, 0), columns=ACROSS)
    return first, second


def write_clips(config: Config, folder: RunFolder, found: Found) -> None:
    """A file of each set, and of long rollouts with each context noise: a sheet of clips that any viewer plays."""
    named = {f"clips_{name.replace(' ', '_')}": given for name, given in _shown(found).items()}
    named |= {f"rollouts_noise_{noise:g}": found.long[noise][0].shown for noise in findings.noises(config)}
    for name, given in named.items():
        clip_files.write_clip(folder.path / f"{name}.webp", clip_files.sheet(given, columns=ACROSS), scale=SCALE)


def tables(config: Config, found: Found) -> tuple[Table, ...]:
    """What each set shows, how costs grow, and what a frame costs."""
    return _quality(config, found), _long(config, found), _exponents(config, found), _frame_costs(config, found)


def _shown(found: Found) -> dict[str, np.ndarray]:
    """The first clips of every set, of the first seed."""
    sets = {attention: found.sets[attention][0].shown for attention in ATTENTIONS}
    every = {REAL: found.real.shown} | sets | {SHUFFLED: found.shuffled.shown}
    count = min(map(len, every.values()))
    return {name: given[:count] for name, given in every.items()}


def _frames(config: Config, folder: RunFolder, found: Found) -> Figure:
    """Two clips of each set, a row each."""
    rows = [clip for given in _shown(found).values() for clip in given[:2]]
    names = ", ".join(_shown(found))
    caption = f"Frames of clips, two of each: {names}; seed {config.seeds[0]}. {NOT_SELECTED}"
    beside = [name for name in _shown(found) for _ in range(2)]
    heads = [f"frame {number}" for number in range(1, config.frames + 1)]
    return figures.grid(np.concatenate(rows), config.frames, folder.figure("clips"), caption, rows=beside, heads=heads)


def _long_frames(config: Config, folder: RunFolder, found: Found) -> Figure:
    """Some frames of the first long rollouts, without context noise and with it."""
    at = np.unique(np.linspace(0, config.long * config.frames - 1, config.long + 1).round().astype(int))
    rows = {
        f"digit {digit}, noise {noise:g}": found.long[noise][0].shown[digit][at] for noise in findings.noises(config) for digit in range(4)
    }
    caption = (
        f"Rollouts of digits to {config.long} times the length of training, without context noise and with it, seed {config.seeds[0]}. "
        f"{NOT_SELECTED}"
    )
    heads = [f"frame {frame + 1}" for frame in at]
    return figures.grid(np.concatenate([*rows.values()]), len(at), folder.figure("long"), caption, rows=list(rows), heads=heads)


def _drift(config: Config, folder: RunFolder, found: Found) -> Figure:
    curves = []
    for noise in findings.noises(config):
        by_seed = np.stack([rollout.confidence.mean(0) for rollout in found.long[noise]])
        frames = np.arange(1, by_seed.shape[1] + 1)
        curves.append(Curve(f"context noise {noise:g}", frames, by_seed.mean(0), by_seed.min(0), by_seed.max(0)))
    caption = (
        f"Confidence in the digit that was asked for, by frame of rollouts; training clips have {config.frames} frames. Means of seeds, "
        "and the least and the largest."
    )
    limits = [("held-out clips", float(found.real.confidence.mean()))]
    return figures.curves(curves, folder.figure("drift"), caption, x_label="frame", y_label="confidence", thresholds=limits)


def _cost(config: Config, folder: RunFolder, found: Found, axis: str) -> Figure:
    along, curves = costs.values(config, axis), []
    for attention in ATTENTIONS:
        rounds = 1000 * found.costs.seconds[axis][attention]
        low, high = np.quantile(rounds, [0.025, 0.975], axis=1)
        curves.append(Curve(f"{attention} attention", along, np.median(rounds, 1), low, high))
    fixed = f"{config.side}×{config.side} pixels" if axis == costs.FRAMES else f"{config.frames} frames"
    caption = f"Milliseconds of one evaluation of one clip of {fixed}: medians over rounds, and where 95 % of them lie."
    label = "frames" if axis == costs.FRAMES else "pixels of a frame"
    place = folder.figure(f"cost_{axis}")
    return figures.curves(curves, place, caption, x_label=label, y_label="milliseconds", log_x=True, log_y=True)


def _quality(config: Config, found: Found) -> Table:
    rows = [(REAL, None, *_of_set(config, found, [found.real]))]
    rows += [
        (f"{attention} attention", networks.steps(config, attention), *_of_set(config, found, found.sets[attention]))
        for attention in ATTENTIONS
    ]
    rows += [(name, None, *_of_set(config, found, [of])) for name, of in ((SHUFFLED, found.shuffled), ("untrained", found.untrained))]
    columns = ("clips", "steps", *measures.numbers(config, found.real, found.real, found.floor))
    note = (
        f"Means over {len(config.seeds)} seeds, with intervals over them; of single sets, over clips. Every training takes "
        f"{config.flops:.3g} operations. Confidence: the probability of the digit that was asked for. Identity kept: the share of frames "
        "that show the digit of most frames of their clip. Displacement error: pixels per frame away from a constant velocity. "
        "Displacement: pixels per frame. Fréchet distance: to held-out clips, in floors, that of clips of training digits."
    )
    return Table("What clips show.", columns, tuple(rows), note, True)


def _of_set(config: Config, found: Found, sets: Any) -> tuple[Any, ...]:
    each = [measures.numbers(config, of, found.real, found.floor) for of in sets]
    if len(each) == 1:
        return tuple(each[0].values())
    return tuple(intervals.over_seeds(np.mean, [of[name][0] for of in each]) for name in each[0])


def _long(config: Config, found: Found) -> Table:
    rows = []
    for noise in findings.noises(config):
        by_part = np.stack([findings.parts(config, rollout).mean(0) for rollout in found.long[noise]]).mean(0)
        error = float(np.mean([rollout.displacement.mean() for rollout in found.long[noise]]))
        chosen = [0, len(by_part) // 2, len(by_part) - 1]
        rows.append((noise, *(float(by_part[at]) for at in chosen), error))
    columns = ("context noise", "first part", "middle part", "last part", "displacement error")
    note = (
        f"Confidence in parts of {config.frames} frames of rollouts of {config.long * config.frames}, and pixels per frame away from a "
        f"constant velocity; means over {config.long_samples} clips of {len(config.seeds)} seeds."
    )
    return Table("Long rollouts of the causal network.", columns, tuple(rows), note, True)


def _exponents(config: Config, found: Found) -> Table:
    rows = []
    for attention in ATTENTIONS:
        cells: list[Any] = []
        for axis in costs.AXES:
            along = costs.values(config, axis)
            cells.append(costs.exponent(along, found.costs.flops[axis][attention]))
            cells.append(costs.measured_exponent(config, along, found.costs.seconds[axis][attention]))
        rows.append((f"{attention} attention", *cells))
    columns = ("network", "operations by frames", "seconds by frames", "operations by pixels", "seconds by pixels")
    note = (
        f"Exponents of the cost of one evaluation of one clip: in {config.lengths[0]} to {config.lengths[-1]} frames of {config.side}×"
        f"{config.side} pixels, and in the pixels of {config.frames} frames, of {config.sides[0]}×{config.sides[0]} to {config.sides[-1]}×"
        f"{config.sides[-1]}. Causal attention computes what it hides; with a cache its cost per frame does not grow."
    )
    return Table("How costs grow.", columns, tuple(rows), note, True)


def _frame_costs(config: Config, found: Found) -> Table:
    counted = costs.frame_flops(config)
    rows = [
        (way, counted[way], intervals.interval(np.median, 1000 * found.costs.frame[way] / config.together))
        for way in (costs.CACHED, costs.WHOLE)
    ]
    columns = (f"a frame of the {CAUSAL} network", "operations", "milliseconds")
    note = (
        f"Per clip, {config.together} clips at once, {config.sampling_steps} steps per frame. With the cache, frames are computed alone, "
        f"and once more to be written. Without it, every call computes all {config.frames} frames that are seen."
    )
    return Table("What a frame of a rollout costs.", columns, tuple(rows), note, True)


def _enlarged(given: np.ndarray) -> np.ndarray:
    """Frames (…, h, w, 1) with every pixel repeated."""
    return given.repeat(SCALE, axis=-3).repeat(SCALE, axis=-2)
