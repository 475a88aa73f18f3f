"""Results of a run that has not finished: its loss so far, and the samples drawn from it."""

import numpy as np

from gendiff.core.errors import DataError
from gendiff.runs import configuration, last_checkpoints
from gendiff.runs.configuration import Resolved
from gendiff.runs.last_checkpoints import Training
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
    trainings = [training for training in last_checkpoints.trainings(folder) if training.lines]
    finished = len(list(folder.rows.glob("*.json")))
    how_far = "; ".join(f"{_label(training)} is at step {training.step}{_saved(training)}" for training in trainings)
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
        figures=[*_loss(trainings, folder), *_samples(folder), *old],
        named=False,
    )
    return summary, f"This run has not finished: {how_far}."


def discard(folder: RunFolder) -> None:
    """Removes the figures of `outcome`, once the run has its own."""
    for name in (LOSS, SAMPLES):
        (folder.path / name).unlink(missing_ok=True)


def _label(training: Training) -> str:
    return f"{training.name and f'{training.name}, '}seed {training.seed}"


def _saved(training: Training) -> str:
    """Where the training goes on from."""
    if not training.checkpoints.is_dir():
        return ""
    with Checkpoints(training.checkpoints, read_only=True) as store:
        step = store.latest()
    return "" if step is None else f", its newest checkpoint is that of step {step}"


def _loss(trainings: list[Training], folder: RunFolder) -> list[Figure]:
    """Not of trainings that log no loss: what they log has names and units of their own."""
    curves = [
        figures.Curve(_label(each), [line["step"] for line in each.lines], [line["loss"] for line in each.lines])
        for each in trainings
        if "loss" in each.lines[0]
    ]
    if not any(curve.finite.size for curve in curves):
        return []
    positive = all((curve.finite > 0).all() for curve in curves)
    path, caption = folder.path / LOSS, "The training loss so far"
    return [figures.curves(curves, path, caption, x_label="optimizer step", y_label="training loss", log_y=positive)]


def _samples(folder: RunFolder) -> list[Figure]:
    from PIL import Image

    paths, images = sorted((folder.path / "samples").glob("*.png"))[:MOST], []
    for path in paths:
        try:
            with Image.open(path, formats=["PNG"]) as opened:
                images.append(np.asarray(opened.convert("L" if opened.mode == "L" else "RGB")))
        except Exception as error:  # Pillow's parsers raise whatever they trip over
            raise DataError(f"{path}: not a whole PNG file ({error}): remove it") from error
    if not images or len({image.shape for image in images}) > 1:
        return []
    caption = f"The first {len(images)} of the samples in the folder samples"
    return [figures.grid(np.stack(images), 8, folder.path / SAMPLES, caption)]
