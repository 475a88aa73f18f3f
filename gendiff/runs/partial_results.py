"""Results of a run that has not finished: its loss so far, and the samples drawn from it."""

import numpy as np

from gendiff.core.types import Numeric
from gendiff.runs import configuration
from gendiff.runs.configuration import Resolved
from gendiff.runs.progress import stage_seconds
from gendiff.runs.registry import Experiment
from gendiff.runs.reporting import figures, results
from gendiff.runs.reporting.environment import environment
from gendiff.runs.reporting.results import Figure, Results
from gendiff.runs.run_folder import RunFolder
from gendiff.training.checkpoints import Checkpoints

LOSS, SAMPLES = "loss_so_far.png", "samples_so_far.png"
MOST = 64
"""Samples that are shown."""


def outcome(experiment: Experiment, stored: Resolved, folder: RunFolder) -> tuple[Results, str]:
    """(results without claims, a sentence on how far the run is). Draws two figures into the folder."""
    by_seed: dict[int, list[dict[str, Numeric]]] = {}
    for line in folder.read_metrics():
        by_seed.setdefault(line["seed"], []).append(line)
    finished = len(list(folder.rows.glob("*.json")))
    how_far = "; ".join(
        f"seed {seed} is at step {lines[-1]['step']}{_saved(folder, seed)}" for seed, lines in by_seed.items()
    )
    how_far = how_far or (f"{finished} rows of its sweep are finished" if finished else "no step is logged yet")
    # of an interrupted evaluation
    others = sorted(path.name for path in folder.path.glob("*.png") if path.name not in (LOSS, SAMPLES))
    old = [
        Figure(name, f"{name}, of an evaluation that has not finished")
        for name in others
        if not name.startswith("denoising")
    ]
    summary = results.conclude(
        stored.experiment,
        experiment.question,
        stored.config,
        (),
        seeds=configuration.seeds(configuration.restore(stored, experiment.config, folder)),
        seconds={"train": stage_seconds(folder.timings, "train")},
        environment={**environment(), "commit": stored.commit, "dirty": stored.dirty},
        figures=[*_loss(by_seed, folder), *_samples(folder), *old],
        named=False,
    )
    return summary, f"This run has not finished: {how_far}."


def discard(folder: RunFolder) -> None:
    """Removes the figures of `outcome`, once the run has its own."""
    for name in (LOSS, SAMPLES):
        (folder.path / name).unlink(missing_ok=True)


def _saved(folder: RunFolder, seed: int) -> str:
    """Where the training goes on from."""
    if not folder.checkpoints(seed).is_dir():
        return ""
    with Checkpoints(folder.checkpoints(seed), read_only=True) as store:
        step = store.latest()
    return "" if step is None else f", its newest checkpoint is that of step {step}"


def _loss(by_seed: dict[int, list[dict[str, Numeric]]], folder: RunFolder) -> list[Figure]:
    curves = [
        figures.Curve(f"seed {seed}", [line["step"] for line in lines], [line["loss"] for line in lines])
        for seed, lines in by_seed.items()
    ]
    if not any(curve.finite.size for curve in curves):
        return []
    positive = all((curve.finite > 0).all() for curve in curves)
    path, caption = folder.path / LOSS, "The training loss so far"
    return [figures.curves(curves, path, caption, x_label="optimizer step", y_label="training loss", log_y=positive)]


def _samples(folder: RunFolder) -> list[Figure]:
    from PIL import Image

    paths = sorted((folder.path / "samples").glob("*.png"))[:MOST]
    images = [np.asarray(Image.open(path)) for path in paths]
    if not images or len({image.shape for image in images}) > 1:
        return []
    caption = f"The first {len(images)} of the samples in the folder samples"
    return [figures.grid(np.stack(images), 8, folder.path / SAMPLES, caption)]
