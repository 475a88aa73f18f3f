"""What the run shows beside its claims: curves over steps, copies that are regenerated, agreement, pictures, and two tables."""

from typing import Any

import numpy as np

from experiments.provenance.memorise import findings, sets
from experiments.provenance.memorise.config import Config, grid
from experiments.provenance.memorise.findings import Found
from gendiff.data import digits
from gendiff.metrics import neighbours
from gendiff.runs.reporting import figures, intervals
from gendiff.runs.reporting.results import Figure, Table
from gendiff.runs.run_folder import RunFolder

SHOWN = 12
"""Samples in each row of the picture."""


def every(config: Config, folder: RunFolder, found: list[Found], split: digits.Split) -> tuple[Figure, ...]:
    """All figures."""
    return (
        _shares(config, folder, found),
        _losses(config, folder, found),
        _regenerated(config, folder, found),
        _agreement(config, folder, found),
        _pictures(config, folder, found[0], split),
    )


def sizes_table(config: Config, found: list[Found], split: digits.Split) -> Table:
    """A row for each size: means over seeds at the last step."""
    rows: list[tuple[Any, ...]] = []
    steps = np.array(grid(config))
    times = np.stack([of.crossings(config) for of in found])
    held_out = split.held_out_images.reshape(len(split.held_out_images), -1)
    pictures = split.train_images.reshape(len(split.train_images), -1)
    for at, size in enumerate(config.sizes):
        curve = np.stack([of.held_out[:, at] for of in found]).mean(0)
        share = float(np.mean([of.shares[-1, at] for of in found]))
        fresh = float(np.mean([findings.copied(config, held_out, pictures[of.learned[at].rows]).mean() for of in found]))
        time = float(np.mean(times[:, at])) if np.isfinite(times[:, at]).all() else None
        seen = float(np.mean([of.seen[-1, at] for of in found]))
        rows.append((size, share, fresh, time, seen, float(curve[-1]), float(np.min(curve)), int(steps[np.argmin(curve)])))
    columns = ("pictures", "copies", "of held-out digits", "step of memorisation", "loss seen", "loss held out", "its least", "at step")
    note = (
        f"Copies: share of samples whose nearest training picture is nearer than {config.ratio:.3g} of the second. Where no step of "
        "memorisation stands, some seed had not reached it by the last step."
    )
    return Table("By the number of pictures, means over seeds.", columns, tuple(rows), note=note, main=True)


def copies_table(config: Config, found: list[Found]) -> Table:
    """A row for each number of copies."""
    rows = []
    times = sets.times(config)
    for count in config.copies:
        both = [np.concatenate([of.regenerated[at, times == count] for of in found]) for at in range(2)]
        rows.append((count, len(both[0]), float(both[0].mean()), float(both[1].mean())))
    columns = ("copies", "pictures", "regenerated", "de-duplicated")
    note = f"Regenerated: at least one of {config.last_samples} samples at the last step is a copy of the picture."
    return Table("By how often a picture stands in its set, over all seeds.", columns, tuple(rows), note=note, main=True)


def _curves(config: Config, tables: list[list[np.ndarray]], labels: list[str]) -> list[figures.Curve]:
    """tables: for each curve those (steps,) of all seeds. The band reaches from the least to the largest seed."""
    steps = np.array(grid(config))
    stacked = [np.stack(of) for of in tables]
    return [figures.Curve(label, steps, of.mean(0), of.min(0), of.max(0)) for label, of in zip(labels, stacked, strict=True)]


def _shares(config: Config, folder: RunFolder, found: list[Found]) -> Figure:
    series = [[of.shares[:, at] for of in found] for at in range(len(config.sizes))]
    curves = _curves(config, series, [f"{size} pictures" for size in config.sizes])
    caption = "Share of samples that are copies by training step; the bands reach from the least to the largest seed."
    marks = [("time of memorisation", config.level)]
    path = folder.figure("shares")
    return figures.curves(curves, path, caption, x_label="step", y_label="share of copies", log_x=True, thresholds=marks)


def _losses(config: Config, folder: RunFolder, found: list[Found]) -> Figure:
    """The smallest and the largest set, on pictures of training and on held-out ones."""
    series, labels = [], []
    for at in (0, len(config.sizes) - 1):
        for name, where in (("seen", "seen"), ("held out", "held_out")):
            series.append([getattr(of, where)[:, at] for of in found])
            labels.append(f"{config.sizes[at]}, {name}")
    caption = "Loss on pictures of training and on held-out ones, by training step."
    curves, path = _curves(config, series, labels), folder.figure("losses")
    return figures.curves(curves, path, caption, x_label="step", y_label="squared error of the clean picture", log_x=True, log_y=True)


def _regenerated(config: Config, folder: RunFolder, found: list[Found]) -> Figure:
    times, curves = sets.times(config), []
    for at, label in enumerate(("with copies", "de-duplicated")):
        numbers = np.array(
            [intervals.share(np.concatenate([of.regenerated[at, times == count] for of in found])) for count in config.copies]
        )
        curves.append(figures.Curve(label, np.array(config.copies), *numbers.T))
    caption = f"Share of pictures that {config.last_samples} samples regenerate, by how often they stand in the set."
    path = folder.figure("regenerated")
    return figures.curves(curves, path, caption, x_label="copies of a picture", y_label="share regenerated", log_x=True)


def _agreement(config: Config, folder: RunFolder, found: list[Found]) -> Figure:
    bars = {
        f"{size} pictures": intervals.interval(np.mean, np.concatenate([of.agreements[at] for of in found]), resamples=config.resamples)
        for at, size in enumerate(config.halves)
    }
    caption = "Cosine of samples from the same noise by two networks of disjoint sets, less that of shuffled pairs."
    return figures.bars(
        bars, folder.figure("agreement"), caption, x_label="cosine", thresholds=[("threshold", config.thresholds.agreement)]
    )


def _pictures(config: Config, folder: RunFolder, found: Found, split: digits.Split) -> Figure:
    """Samples of the smallest and the largest set, each above its nearest training picture."""
    pictures, rows = split.train_images.reshape(len(split.train_images), -1), []
    for at in (0, len(config.sizes) - 1):
        drawn, known = found.last[at][:SHOWN], pictures[found.learned[at].rows]
        _, nearest = neighbours.nearest(drawn.astype(np.float64), known.astype(np.float64), 1)
        rows += [drawn, known[nearest[:, 0]]]
    images = np.concatenate(rows).reshape(-1, 8, 8, 1)
    small, large = config.sizes[0], config.sizes[-1]
    caption = f"Samples and below them the nearest picture of training: networks of {small} and of {large} pictures. Not selected."
    names = [words for size in (small, large) for words in (f"{size} pictures: samples", "nearest in training")]
    return figures.grid(images, SHOWN, folder.figure("pictures"), caption, rows=names)
