"""What the latent experiment shows: pictures of every part of training, curves against seconds, and costs by resolution."""

from pathlib import Path
from typing import Any

import numpy as np

from experiments.diffusion.latent import costs
from experiments.diffusion.latent.accounts import Found
from experiments.diffusion.latent.config import Config
from experiments.diffusion.latent.networks import LATENTS, PIXELS
from gendiff.data import emoji
from gendiff.runs.reporting import figures as draw
from gendiff.runs.reporting.results import Figure
from gendiff.runs.run_folder import RunFolder


def figures(config: Config, folder: RunFolder, found: Found) -> tuple[Figure, ...]:
    """Pictures of the first seed, then curves; left in the folder."""
    return (
        _pictures(config, found, folder.figure("pictures")),
        _curves(config, found, folder.figure("curves")),
        *_costs(config, found, folder),
        _whole(config, found, folder.figure("whole_picture")),
    )


def _pictures(config: Config, found: Found, path: Path) -> Figure:
    shown = found.seeds[config.seeds[0]].shown
    parts = ", ".join(f"{part:g}" for part in config.fractions)
    samples = f"samples of the pixel model after {parts} of {config.seconds:g} s of training, and those of the latent model"
    caption = f"Rows: held-out pictures, their reconstructions, {samples}; not selected. {emoji.ATTRIBUTION}."
    return draw.grid(np.concatenate(list(shown.values())), config.shown, path, caption, rows=list(shown), colours=256)


def _curves(config: Config, found: Found, path: Path) -> Figure:
    """Means over the seeds; the bands reach from the least to the largest seed."""
    owed, curves = found.times.before_latents(config), []
    for label, name, before in ((PIXELS, PIXELS, 0.0), (LATENTS, LATENTS, 0.0), (f"{LATENTS}, autoencoder included", LATENTS, owed)):
        means = np.stack([of.curves[name].mean(axis=1) for of in found.seeds.values()]) / found.judge.floor.mean()
        seconds = found.times.spent(config, name) + before
        curves.append(draw.Curve(label, seconds, means.mean(axis=0), means.min(axis=0), means.max(axis=0)))
    ends = np.array([min(curve.x[0] for curve in curves), max(curve.x[-1] for curve in curves)])
    decoded = np.mean([of.decoded.mean() for of in found.seeds.values()]) / found.judge.floor.mean()
    curves.append(draw.Curve("training pictures, decoded", ends, np.full(2, decoded)))
    caption = "Fréchet distance to held-out pictures against seconds of training; bands reach from the least to the largest seed."
    labels: dict[str, Any] = {"x_label": "seconds of training", "y_label": "Fréchet distance, in floors"}
    return draw.curves(curves, path, caption, log_x=True, log_y=True, thresholds=(("training pictures", 1.0),), **labels)


def _costs(config: Config, found: Found, folder: RunFolder) -> tuple[Figure, Figure]:
    x, seconds, memory = np.array(config.resolutions), [], []
    for what in costs.TIMED:
        of = [found.costs[what, resolution] for resolution in config.resolutions]
        middle = np.array([costs.over_rounds(np.array(each.seconds), config.resamples) for each in of])
        seconds.append(draw.Curve(what, x, *(1000 * middle.T)))
        memory.append(draw.Curve(what, x, np.array([each.peak for each in of]) / 2**20))
    axes: dict[str, Any] = {"log_x": True, "log_y": True}
    label = "pixels of a side"
    caption = f"One evaluation for one picture; latents are {costs.FACTOR} times smaller per side. Medians with 95 % intervals."
    return (
        draw.curves(seconds, folder.figure("cost"), caption, x_label=label, y_label="milliseconds", **axes),
        draw.curves(memory, folder.figure("memory"), "Memory of the same calls, by XLA's analysis.", x_label=label, y_label="MiB", **axes),
    )


def _whole(config: Config, found: Found, path: Path) -> Figure:
    curves = []
    for resolution in config.resolutions:
        ratios = [costs.whole_picture(found.costs, resolution, steps, config.resamples) for steps in config.picture_steps]
        curves.append(draw.Curve(f"{resolution} pixels", np.array(config.picture_steps), *np.array(ratios).T))
    caption = "Seconds of a whole picture in pixels over those in latents, which are decoded once, against the evaluations per picture."
    return draw.curves(curves, path, caption, x_label="evaluations per picture", y_label="ratio of seconds", log_x=True, log_y=True)
