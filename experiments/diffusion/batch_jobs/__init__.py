"""Does a batch job lose anything: 50,000 samples in shards, and commands that are killed at random moments?

    python -m experiments run batch-jobs

trains the network of `digits`, draws 50,000 samples into shards, some of them once more without, in pairs of rounds,
and scores them. Then training runs and a sampling job are killed with signal 9 again and again, and compared byte by
byte with the same commands left alone. Last, two processes train together, and are preempted or lose one of them. About
30 minutes on 2 cores.
"""

import dataclasses
import shutil
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from experiments.diffusion import image_draws
from experiments.diffusion.batch_jobs import processes, soak
from experiments.diffusion.batch_jobs.config import Config, check, model
from gendiff.commands.images import image_sampling, image_training, sample_scores
from gendiff.commands.images.sample_scores import SCORES, Scores
from gendiff.commands.images.sampling_options import SampleOptions, ScoreOptions
from gendiff.data import digits, scaling
from gendiff.metrics import features, frechet, statistics_files
from gendiff.runs import drawing, shards
from gendiff.runs.progress import Progress
from gendiff.runs.reporting import figures, intervals, json_files, plots
from gendiff.runs.reporting.answers import Answer, Cell, Change
from gendiff.runs.reporting.plots import Curve
from gendiff.runs.reporting.results import Figure
from gendiff.runs.run_folder import RunFolder
from gendiff.runs.shards import Manifest, Shards
from gendiff.runs.study import Measured, Measurements, Study, claim, control

__all__ = ["EXPERIMENT", "Config", "model"]

FOLDER = "fifty_thousand"
IN_SHARDS, OTHER_SAMPLES, STREAMED = "samples in shards", "samples of another seed", "the streamed score"
TRAINING, SAMPLING = "training that is killed", "sampling that is killed"
PREEMPTED, MOVED, OTHER_TRAINING = (
    "two processes, one with SIGTERM",
    "1, 2 and 4 processes",
    "training from another seed",
)
DEATHS = "two processes, one of which is killed"


@dataclasses.dataclass(frozen=True)
class DrawnTwice:
    """seconds: of each round, without shards and with them. different: bytes of the two that differ.

    other_seed: share of the bytes of the first shard that differ from those of samples of another seed.
    """

    seconds: list[tuple[float, float]]
    different: int
    other_seed: float


def measure(config: Config, folder: RunFolder, progress: Progress) -> Iterator[Measured]:
    """The cost of shards, what kills leave, and several processes. What an earlier evaluation left is removed."""
    for left in (FOLDER, soak.KILLED):
        shutil.rmtree(folder.path / left, ignore_errors=True)
    with progress.phase("sample"):
        twice, store = _draw(config, folder, progress)
    seed, rounds = config.seeds[0], np.array(twice.seconds)
    cost = intervals.interval(intervals.ratio_of_means, rounds[:, 1], rounds[:, 0], paired=True)
    share = twice.different / (config.compared * store.read(0)[0][0].size)
    yield Measured(IN_SHARDS, {"cost": cost}, seed, len(rounds))
    last = store.read(store.manifest.count - 1)[0][-100:]
    yield Measured(IN_SHARDS, {"bytes": twice.different, "share": share}, seed, config.compared, arrays={"last": last})
    yield Measured(OTHER_SAMPLES, {"share": twice.other_seed}, seed, config.shard_size)
    for turn, (plain, split) in enumerate(twice.seconds, 1):
        yield Measured(f"round {turn}", {"plain": plain, "split": split, "ratio": split / plain}, group="rounds")
    with progress.phase("score"):
        scores, at_once = _score(store, folder, progress)
    yield Measured(STREAMED, {"relative": abs((scores.frechet or np.nan) / at_once - 1)}, seed, scores.n)
    measures: dict[str, Any] = {
        "n": scores.n,
        "features": scores.features,
        "frechet": scores.frechet,
        "seconds": scores.seconds,
    }
    yield Measured("all samples", measures, group="scores")
    with progress.phase("kill"):
        yield from kills(config, folder, progress)
    with progress.phase("several processes"):
        yield from several(config, folder, progress)


def kills(config: Config, folder: RunFolder, progress: Progress) -> Iterator[Measured]:
    """Bytes that kills change, in all and job by job."""
    trained, sampled = soak.train(config, folder, progress), soak.sample(config, folder, progress)
    if trained:
        yield Measured(TRAINING, {"bytes": sum(each.different for each in trained)}, n=len(trained))
    if sampled.lives:
        yield Measured(SAMPLING, {"bytes": sampled.different}, n=config.killed_samples)
    for name, each in (
        *((f"training run {number}", each) for number, each in enumerate(trained)),
        ("sampling", sampled),
    ):
        measures: dict[str, Any] = {"kills": len(each.lives), "shortest": min(each.lives, default=None)}
        measures |= {"longest": max(each.lives, default=None), "bytes": each.different}
        yield Measured(name, measures, group="killed", arrays={"lives": each.lives})


def several(config: Config, folder: RunFolder, progress: Progress) -> Iterator[Measured]:
    """Two processes that are preempted or lose one of them, as far as the configuration asks for it."""
    preempted, (deaths, missing) = (
        processes.preempt(config, folder, progress),
        processes.lose_one(config, folder, progress),
    )
    if preempted:
        first, second = (each.losses[1] for each in preempted[:2])
        yield Measured(PREEMPTED, {"agreed": float(np.mean([each.agreed for each in preempted]))}, n=len(preempted))
        yield Measured(MOVED, {"moved": max(each.difference for each in preempted)}, n=len(preempted))
        yield Measured(OTHER_TRAINING, {"moved": float(np.max(np.abs(first - second)))}, n=len(first))
    if deaths:
        slowest = max(each.seconds if each.code else np.inf for each in deaths)
        yield Measured(DEATHS, {"slowest": slowest, "missing": missing}, n=len(deaths))
    for seed, each in enumerate(preempted):
        ends: dict[str, Any] = {"codes": _joined(each.codes), "steps": _joined(each.steps), "moved": each.difference}
        yield Measured("preempted", ends, seed, group="preempted", arrays={"losses": each.losses})
    for turn, death in enumerate(deaths):
        yield Measured(
            f"death {turn + 1}", {"killed": turn % 2, "until": death.seconds, "code": death.code}, group="deaths"
        )


def _joined(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers))


def _draw(config: Config, folder: RunFolder, progress: Progress) -> tuple[DrawnTwice, Shards]:
    """The samples twice, in rounds: as one file per round, and into shards. Which of the two comes first changes from
    round to round.
    """
    network, plain = model(config), folder.path / "plain.npz"
    options = SampleOptions(steps=config.sampling_steps, sampler="ddim", together=config.together)
    draw = image_sampling.drawer(model, config, folder, options, config.seeds[0])
    settings = {"run": json_files.encode(config)}
    sizes = config.samples, config.shard_size, network.shape
    store, _ = shards.create(folder.path / FOLDER, Manifest("batch-jobs", *sizes, network.names, settings, {}))

    def labels_of(index: np.ndarray) -> np.ndarray:
        return image_draws.labels_of(index, digits.CLASSES)

    def pixels(images: np.ndarray) -> np.ndarray:
        return image_sampling.as_bytes(images, network.levels)

    def without_shards(ids: range) -> None:
        images = drawing.draw_all(
            draw, *_index_and_labels(ids), together=config.together, title="without shards", progress=progress
        )
        np.savez(plain, arr_0=pixels(images))

    def in_shards(ids: range) -> None:
        numbers = list(range(ids.start // config.shard_size, -(-ids.stop // config.shard_size)))
        to: dict[str, Any] = {"together": config.together, "progress": progress}
        drawing.into_shards(draw, store, numbers, labels=labels_of, pixels=pixels, **to)

    def timed(job: Callable[[range], None], ids: range) -> float:
        begin = time.monotonic()
        job(ids)
        return time.monotonic() - begin

    without_shards(range(config.together))  # compiles
    seconds, different, size = [], 0, config.compared // config.rounds
    for turn in range(config.rounds):
        ids = range(turn * size, (turn + 1) * size)
        order = (without_shards, in_shards) if turn % 2 == 0 else (in_shards, without_shards)
        times = {job: timed(job, ids) for job in order}
        seconds.append((times[without_shards], times[in_shards]))
        with np.load(plain) as stored:
            begin = ids.start // config.shard_size
            images = np.concatenate([store.read(begin + number)[0] for number in range(size // config.shard_size)])
            different += int(np.sum(stored["arr_0"] != images))
    plain.unlink()
    rest = range(config.compared, config.samples)
    progress.line(
        f"samples {rest.start} … {rest.stop - 1}: {timed(in_shards, rest):.1f} s" if rest else "all samples are drawn"
    )
    another = image_sampling.drawer(model, config, folder, dataclasses.replace(options, seed=1), config.seeds[0])
    images = drawing.draw_all(
        another,
        *_index_and_labels(store.manifest.ids(0)),
        together=config.together,
        title="another seed",
        progress=progress,
    )
    other_seed = float(np.mean(pixels(images) != store.read(0)[0]))
    return DrawnTwice(seconds, different, other_seed), store


def _index_and_labels(ids: range) -> tuple[np.ndarray, np.ndarray]:
    """(index, labels)."""
    index = np.arange(ids.start, ids.stop, dtype=np.int32)
    return index, image_draws.labels_of(index, digits.CLASSES)


def _score(store: Shards, folder: RunFolder, progress: Progress) -> tuple[Scores, float]:
    """(the streamed scores against the held-out digits, the distance of all features at once)."""
    held_out = np.asarray(scaling.from_unit(digits.load().held_out_images, 256))
    reference = folder.path / "held_out.npz"
    statistics_files.save_batch(reference, held_out)
    sample_scores.evaluate(store, ScoreOptions(features="pixels", reference=str(reference)), progress)
    rows = [
        features.pixels(scaling.to_unit(images, 256))
        for images in (held_out, np.concatenate([images for images, _ in store]))
    ]
    return json_files.read(store.folder / SCORES, Scores), frechet.frechet_distance(*rows)


def last(measured: Measurements, folder: RunFolder) -> Figure:
    """Samples of the last shard."""
    images = next(each.arrays["last"] for each in measured if "last" in each.arrays)
    (total,) = (each.measures["n"] for each in measured if each.group == "scores")
    return figures.grid(images, 20, folder.figure("last"), f"The last of {total} samples.")


def seconds(measured: Measurements, folder: RunFolder) -> Figure:
    """Of each round."""
    rounds = [each.measures for each in measured if each.group == "rounds"]
    turns = np.arange(1, len(rounds) + 1)
    names = {"plain": "without shards", "split": "in shards"}
    curves = [
        Curve(name, turns, np.array([counts[column] for counts in rounds], np.float64))
        for column, name in names.items()
    ]
    return plots.curves(curves, folder.figure("seconds"), "Seconds of each round.", x_label="round", y_label="seconds")


def lifetimes(measured: Measurements, folder: RunFolder) -> Figure | None:
    """None where nothing was killed."""
    lives = [life for each in measured if each.group == "killed" for life in each.arrays["lives"]]
    if not lives:
        return None
    named = {f"process {number + 1}": life for number, life in enumerate(lives)}
    return plots.bars(
        named, folder.figure("lives"), "How long each process lived until it was killed.", x_label="seconds"
    )


def moved(measured: Measurements, folder: RunFolder) -> Figure | None:
    """How far the losses part; None where they do not."""
    curves = []
    for each in measured:
        if each.group == "preempted":
            alone, *counts = each.arrays["losses"]
            for count in counts:
                losses = each.arrays["losses"][count]
                difference = np.abs(losses - each.arrays["losses"][alone][: len(losses)])
                steps = np.arange(1, len(losses) + 1)
                curves.append(
                    Curve(f"{count} processes, seed {each.seed}", steps, np.where(difference > 0, difference, np.nan))
                )
    if not any(curve.finite.size for curve in curves):
        return None
    caption = "Difference of the loss to that of one process; none before the checkpoint, from which all go on."
    options: Any = {"x_label": "step", "y_label": "difference", "log_y": True, "thresholds": (("threshold", 1e-5),)}
    return plots.curves(curves, folder.figure("moved"), caption, **options)


_FEW: dict[str, Any] = {
    "samples": 80,
    "compared": 40,
    "shard_size": 10,
    "rounds": 2,
    "together": 10,
    "sampling_steps": 4,
}
_UNDISTURBED: dict[str, Any] = {"kills": 0, "sample_kills": 0, "killed_samples": 0, "preemptions": 0, "deaths": 0}

ANSWER = Answer(
    text="no: after {kills:.0f} kills of a training and {sample-kills:.0f} of a sampling job, "
    "{training:.0f} bytes differ; shards take {cost:.2f} times as long",
    numbers={
        "kills": Cell("Jobs that were killed", ("training run 0",), "kills"),
        "sample-kills": Cell("Jobs that were killed", ("sampling",), "kills"),
    },
    before=(
        Change(
            "2026-11-30",
            "a19e1a3f",
            "How often jobs were killed is a number of a table and no claim; samples and losses of another seed are "
            "compared with those of shards and of several processes.",
            "The configuration says how often, and a control is compared with its treatment.",
        ),
    ),
)

STUDY = Study(
    name="batch-jobs",
    config=Config,
    presets={"full": Config()},
    smoke=Config(**image_training.SMOKE, **_FEW, **_UNDISTURBED),
    train=image_training.per_seed(model),
    measure=measure,
    words={
        "cost": "time, in times without shards",
        "bytes": "bytes that differ",
        "share": "share of bytes that differ",
        "relative": "relative difference of the Fréchet distance to that of all features at once",
        "agreed": "share of times in which both saved one step and ended with 42",
        "moved": "largest difference of a loss",
        "slowest": "seconds until the other ends with an error",
        "missing": "steps that are then missing or doubled in the metrics",
        "plain": "without",
        "split": "in shards",
        "frechet": "Fréchet distance",
        "shortest": "shortest life, s",
        "longest": "longest life, s",
        "codes": "exit codes",
        "steps": "steps saved",
        "until": "seconds until the other ended",
        "code": "its exit code",
    },
    claims=(
        claim(
            IN_SHARDS,
            "cost",
            "<=",
            1.03,
            role="aim",
            reason="rounds differ by as much",
            id="cost",
            figure="seconds.png",
        ),
        claim(IN_SHARDS, "bytes", "<=", 0.0, role="promise", reason="nothing may be lost", id="same"),
        claim(STREAMED, "relative", "<=", 1e-9, role="check", reason="rounding of sums of float64", id="streamed"),
        claim(TRAINING, "bytes", "<=", 0.0, role="promise", reason="nothing may be lost", id="training"),
        claim(SAMPLING, "bytes", "<=", 0.0, role="promise", reason="nothing may be lost", id="sampling"),
        claim(PREEMPTED, "agreed", ">=", 1.0, role="promise", reason="all times", id="preemptions"),
        claim(
            MOVED,
            "moved",
            "<=",
            1e-5,
            role="promise",
            reason="rounding of float32 sums",
            id="moved",
            figure="moved.png",
        ),
        claim(DEATHS, "slowest", "<=", 60.0, role="check", reason="a scheduler waits longer", id="deaths"),
        claim(DEATHS, "missing", "<=", 0.0, role="promise", reason="nothing may be lost", id="steps"),
    ),
    controls=(
        control(OTHER_SAMPLES, "share", against=IN_SHARDS, by=">=", margin=0.05, id="other-seed"),
        control(OTHER_TRAINING, "moved", against=MOVED, by=">=", margin=0.01, id="other-loss"),
    ),
    figures=(last, seconds, lifetimes, moved),
    tables={
        "": ("Everything that is claimed", ""),
        "rounds": ("Seconds with and without shards", ""),
        "killed": ("Jobs that were killed", ""),
        "scores": ("Scores of all samples", ""),
        "preempted": ("Preemptions of two processes", ""),
        "deaths": ("Deaths of one of two processes", ""),
    },
    answer=ANSWER,
    more={"sample": image_sampling.command(model), "check": check},
)
EXPERIMENT = STUDY.experiment()
