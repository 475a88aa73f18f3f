"""What the editing experiment shows: digits before and after, errors as bars, round trips against steps, and tables."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.diffusion.editing import measures
from experiments.diffusion.editing.config import Config
from experiments.diffusion.editing.measures import Edited, Restoration
from experiments.diffusion.editing.problems import Problem
from experiments.framework.run_folder import RunFolder
from experiments.reporting import figures
from experiments.reporting.results import Figure, Table

Rivals = Mapping[str, list[Restoration]]
"""By problem."""
Restored = Mapping[str, Mapping[str, Restoration]]
"""By problem and method."""


def pictures(
    folder: RunFolder,
    problems: Mapping[str, Problem],
    truth: np.ndarray,
    rivals: Rivals,
    restored: Restored,
    edits: Mapping[float, np.ndarray],
    between: np.ndarray,
    chosen: np.ndarray,
) -> list[Figure]:
    """One grid per problem, with one digit per column; img2img by strength; and the way from digit to digit."""
    grids = []
    for name, problem in problems.items():
        methods = [method for method in ("RePaint", "PiGDM", "DPS") if method in restored[name]]
        rows = [truth, problem.picture, rivals[name][0].first, *(restored[name][method].first for method in methods)]
        file = name.replace(" ", "_").replace("-", "_")
        figures.grid(np.concatenate([row[chosen] for row in rows]), len(chosen), folder.figure(file))
        named = ", ".join(["the digit", "what is measured", problem.rival_name, *methods])
        grids.append(Figure(f"{file}.png", f"{name.capitalize()}, one row each: {named}. One sample each, not selected."))
    figures.grid(np.concatenate([images[chosen] for images in edits.values()]), len(chosen), folder.figure("strengths"))
    across = between.swapaxes(0, 1)  # one pair per row
    figures.grid(across.reshape(-1, *across.shape[2:]), len(between), folder.figure("between"))
    shares = ", ".join(f"{strength:g}" for strength in edits)
    return [
        *grids,
        Figure("strengths.png", f"img2img without a label, one strength per row: {shares}."),
        Figure("between.png", "From one held-out digit (left) to another (right), by slerp between their noises under reversible Heun."),
    ]


def plots(
    config: Config, folder: RunFolder, rivals: Rivals, restored: Mapping[int, Restored], edited: Mapping[int, Edited]
) -> list[Figure]:
    """PSNR of every method of the first seed, and the round trip's error of every seed."""
    first = config.seeds[0]
    shown = {name: (*rivals[name][:2], *by.values()) for name, by in restored[first].items()}
    numbers = {f"{name}: {of.name}": measures.decibels(of.error) for name, each in shown.items() for of in each}
    values, ends = [number[0] for number in numbers.values()], [number[1:] for number in numbers.values()]
    figures.bars(list(numbers), values, folder.figure("psnr"), x_label="PSNR in dB", intervals=ends)
    errors = {seed: np.sqrt([each.mean() for each in of.trips.values()]) for seed, of in edited.items()}
    curves = [figures.Curve(f"seed {seed}", np.array(config.round_trips), error) for seed, error in errors.items()]
    options: Any = {"x_label": "steps there, and as many back", "y_label": "rms error", "log_x": True, "log_y": True}
    figures.curves(curves, folder.figure("round_trip"), **options)
    return [
        Figure("psnr.png", f"PSNR over all digits, of hidden pixels only where there are some; seed {first}, 95 % intervals."),
        Figure("round_trip.png", "DDIM inversion and back: root mean square error of the digits against the number of steps."),
    ]


def tables(rivals: Rivals, restored: Mapping[int, Restored], edited: Mapping[int, Edited]) -> tuple[Table, ...]:
    """Every number of every method and seed, and of every round trip and edit."""
    lines = [_line(None, problem, of) for problem, results in rivals.items() for of in results]
    lines += [_line(seed, problem, of) for seed, results in restored.items() for problem, by in results.items() for of in by.values()]
    columns = ("problem", "method", "seed", "PSNR", "PSNR of one sample", "judge", "rms of y - A x")
    trips = []
    for seed, of in edited.items():
        trips += [(seed, f"DDIM, {steps} steps and back", _rms(error)) for steps, error in of.trips.items()]
        trips += [(seed, "reversible Heun and back", _rms(of.reversible)), (seed, "DDIM from fresh noise", _rms(of.fresh))]
        trips += [(seed, f"img2img of strength {strength:g}", _rms(error)) for strength, error in of.own.items()]
    title = "What is restored, in dB of the mean square error over all digits, and how often the judge reads it right"
    return (
        Table(title, columns, tuple(lines)),
        Table("Root mean square distance to the digit", ("seed", "by", "distance"), tuple(trips)),
    )


def _line(seed: int | None, problem: str, of: Restoration) -> tuple[Any, ...]:
    exact = not of.single.any()  # no error, no decibels
    psnr = [None, None] if exact else [measures.decibels(of.error), measures.decibels(of.single)[0]]
    return (problem, of.name, seed, *psnr, measures.share(of.right), _rms(of.residual))


def _rms(square: np.ndarray) -> float:
    return float(f"{np.sqrt(square.mean()):.4g}")
