"""How the experiment draws by the fifty thousand, with and without shards, and what it finds after kills."""

import dataclasses
import functools
import shutil
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from experiments.diffusion import image_draws
from experiments.diffusion.batch_jobs import processes, soak
from experiments.diffusion.batch_jobs.config import Config, model
from experiments.diffusion.batch_jobs.processes import Death, Preempted
from experiments.diffusion.batch_jobs.soak import Survived
from gendiff.commands.images import image_sampling, sample_scores
from gendiff.commands.images.sample_scores import SCORES, ScoreOptions, Scores
from gendiff.commands.images.sampling_options import SampleOptions
from gendiff.data import digits, scaling
from gendiff.metrics import features, frechet, statistics_files
from gendiff.runs import drawing, shards
from gendiff.runs.progress import Progress
from gendiff.runs.registry import Outcome
from gendiff.runs.reporting import figures, intervals, json_files, plots, verdicts
from gendiff.runs.reporting.plots import Curve
from gendiff.runs.reporting.results import Figure, Table
from gendiff.runs.reporting.verdicts import Claim
from gendiff.runs.run_folder import RunFolder
from gendiff.runs.shards import Manifest, Shards

FOLDER = "fifty_thousand"


@dataclasses.dataclass(frozen=True)
class Drawn:
    """seconds: of each round, without shards and with them. different: bytes of the two that differ.

    other_seed: share of the bytes of the first shard that differ from those of samples of another seed.
    """

    seconds: list[tuple[float, float]]
    different: int
    other_seed: float


def evaluate(config: Config, folder: RunFolder, progress: Progress) -> Outcome:
    """Claims about the cost of shards, about what kills leave, and about several processes. What an earlier evaluation left is removed."""
    for left in (FOLDER, soak.KILLED):
        shutil.rmtree(folder.path / left, ignore_errors=True)
    with progress.phase("sample"):
        drawn, place = _draw(config, folder, progress)
    with progress.phase("score"):
        scores, whole = _score(place, folder, progress)
    with progress.phase("kill"):
        trained, sampled = soak.train(config, folder, progress), soak.sample(config, folder, progress)
    with progress.phase("several processes"):
        preempted, (deaths, missing) = processes.preempt(config, folder, progress), processes.lose_one(config, folder, progress)
    claims = [
        *_claims(config, drawn, scores, whole),
        *_of_kills(config, trained, sampled),
        *_of_processes(config, preempted, deaths, missing),
    ]
    shown = [*_figures(config, folder, place, drawn, trained, sampled), *_figures_of_processes(config, folder, preempted)]
    return Outcome(tuple(claims), tuple(shown), (*_tables(drawn, scores, trained, sampled), *_tables_of_processes(preempted, deaths)))


def _draw(config: Config, folder: RunFolder, progress: Progress) -> tuple[Drawn, Shards]:
    """The samples twice, in rounds: as one file per round, and into shards. Which of the two comes first changes from round to round."""
    network, plain = model(config), folder.path / "plain.npz"
    options = SampleOptions(steps=config.sampling_steps, sampler="ddim", together=config.together)
    draw = image_sampling.drawer(model, config, folder, options, config.seeds[0])
    settings = {"run": json_files.encode(config)}
    sizes = config.samples, config.shard_size, network.shape
    place, _ = shards.create(folder.path / FOLDER, Manifest("batch-jobs", *sizes, network.names, settings, {}))

    def labels_of(index: np.ndarray) -> np.ndarray:
        return image_draws.labels_of(index, digits.CLASSES)

    def pixels(images: np.ndarray) -> np.ndarray:
        return image_sampling.as_bytes(images, network.levels)

    def without_shards(ids: range) -> None:
        images = drawing.whole(draw, *_asked(ids), together=config.together, title="without shards", progress=progress)
        np.savez(plain, arr_0=pixels(images))

    def in_shards(ids: range) -> None:
        numbers = list(range(ids.start // config.shard_size, -(-ids.stop // config.shard_size)))
        to: dict[str, Any] = {"together": config.together, "progress": progress}
        drawing.into_shards(draw, place, numbers, labels=labels_of, pixels=pixels, **to)

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
            drawn = np.concatenate([place.read(begin + number)[0] for number in range(size // config.shard_size)])
            different += int(np.sum(stored["arr_0"] != drawn))
    plain.unlink()
    rest = range(config.compared, config.samples)
    progress.line(f"samples {rest.start} … {rest.stop - 1}: {timed(in_shards, rest):.1f} s" if rest else "all samples are drawn")
    another = image_sampling.drawer(model, config, folder, dataclasses.replace(options, seed=1), config.seeds[0])
    images = drawing.whole(another, *_asked(place.manifest.ids(0)), together=config.together, title="another seed", progress=progress)
    other_seed = float(np.mean(pixels(images) != place.read(0)[0]))
    return Drawn(seconds, different, other_seed), place


def _asked(ids: range) -> tuple[np.ndarray, np.ndarray]:
    """(index, labels)."""
    index = np.arange(ids.start, ids.stop, dtype=np.int32)
    return index, image_draws.labels_of(index, digits.CLASSES)


def _score(place: Shards, folder: RunFolder, progress: Progress) -> tuple[Scores, float]:
    """(the streamed scores against the held-out digits, the distance of all features at once)."""
    held_out = np.asarray(scaling.from_unit(digits.load().held_out_images, 256))
    reference = folder.path / "held_out.npz"
    statistics_files.save_batch(reference, held_out)
    sample_scores.evaluate(place, ScoreOptions(features="pixels", reference=str(reference)), progress)
    rows = [features.pixels(scaling.to_unit(images, 256)) for images in (held_out, np.concatenate([images for images, _ in place]))]
    return json_files.read(place.folder / SCORES, Scores), frechet.distance(*rows)


def _claims(config: Config, drawn: Drawn, scores: Scores, whole: float) -> list[Claim]:
    rows = np.array(drawn.seconds)
    cost = intervals.interval(intervals.ratio_of_means, rows[:, 1], rows[:, 0], paired=True)
    streamed = abs((scores.frechet or np.nan) / whole - 1)
    claim = functools.partial(verdicts.against, config.thresholds, config.seeds[0])
    difference = "streamed Fréchet distance: relative difference to that of all features at once"
    return [
        claim("cost", "samples in shards: time, in times without shards", cost, "<=", n=len(rows)),
        claim("same", "bytes of the samples that differ with and without shards", drawn.different, "<=", "bits", n=config.compared),
        claim("other-seed", "share of bytes that differ with another seed", drawn.other_seed, ">=", n=config.shard_size, kind="control"),
        claim("streamed", difference, streamed, "<=", n=scores.n),
    ]


def _of_kills(config: Config, trained: list[Survived], sampled: Survived) -> list[Claim]:
    kills, few = sum(len(each.lives) for each in trained), len(sampled.lives)
    lost = sum(each.different for each in trained)
    claim = functools.partial(verdicts.against, config.thresholds, None)
    return [
        claim("kills", "training runs: kills with signal 9", kills, ">=", n=max(kills, 1)),
        claim("training", "bytes of their checkpoints and metrics that differ", lost, "<=", "bits", n=max(len(trained), 1)),
        claim("sample-kills", "a sampling job: kills with signal 9", few, ">=", n=max(few, 1)),
        claim("sampling", "bytes of its shards that differ", sampled.different, "<=", "bits", n=max(config.killed_samples, 1)),
    ]


def _of_processes(config: Config, preempted: list[Preempted], deaths: list[Death], missing: int) -> list[Claim]:
    """None where the configuration asks for none."""
    claim, made = functools.partial(verdicts.against, config.thresholds, None), []
    if preempted:
        agreed = float(np.mean([each.agreed for each in preempted]))
        moved = max(each.difference for each in preempted)
        first, second = (each.losses[1] for each in preempted[:2])
        saved = "two processes, one with SIGTERM: share of times in which both saved one step and ended with 42"
        made += [
            claim("preemptions", saved, agreed, ">=", n=len(preempted)),
            claim("moved", "1, 2 and 4 processes go on from it: largest difference of a loss", moved, "<=", n=len(preempted)),
            claim("other-loss", "that of another seed", float(np.max(np.abs(first - second))), ">=", n=len(first), kind="control"),
        ]
    if deaths:
        slowest = max(each.seconds if each.code else np.inf for each in deaths)
        made += [
            claim("deaths", "one of two processes is killed: seconds until the other ends with an error", slowest, "<=", n=len(deaths)),
            claim("steps", "steps that are then missing or doubled in the metrics", missing, "<=", "bits", n=config.moved_steps),
        ]
    return made


def _figures(config: Config, folder: RunFolder, place: Shards, drawn: Drawn, trained: list[Survived], sampled: Survived) -> list[Figure]:
    images = place.read(place.manifest.count - 1)[0][-100:]
    rows = np.array(drawn.seconds)
    turns = np.arange(1, len(rows) + 1)
    curves = [Curve(name, turns, rows[:, column]) for column, name in enumerate(("without shards", "in shards"))]
    lives = [life for each in (*trained, sampled) for life in each.lives]
    shown = [
        figures.grid(images, 20, folder.figure("last"), f"The last of {config.samples} samples."),
        plots.curves(curves, folder.figure("seconds"), "Seconds of each round.", x_label="round", y_label="seconds"),
    ]
    if lives:
        named = {f"process {number + 1}": life for number, life in enumerate(lives)}
        shown.append(plots.bars(named, folder.figure("lives"), "How long each process lived until it was killed.", x_label="seconds"))
    return shown


def _figures_of_processes(config: Config, folder: RunFolder, preempted: list[Preempted]) -> list[Figure]:
    """How far the losses part."""
    curves = []
    for seed, each in enumerate(preempted):
        alone, *counts = each.losses
        for count in counts:
            steps = np.arange(1, len(each.losses[count]) + 1)
            difference = np.abs(each.losses[count] - each.losses[alone][: len(steps)])
            curves.append(Curve(f"{count} processes, seed {seed}", steps, np.where(difference > 0, difference, np.nan)))
    if not any(curve.finite.size for curve in curves):
        return []
    caption = "Difference of the loss to that of one process; none before the checkpoint, from which all go on."
    limit = (("threshold", config.thresholds.moved),)
    return [plots.curves(curves, folder.figure("moved"), caption, x_label="step", y_label="difference", log_y=True, thresholds=limit)]


def _tables(drawn: Drawn, scores: Scores, trained: list[Survived], sampled: Survived) -> tuple[Table, ...]:
    rounds = [(turn + 1, plain, split, split / plain) for turn, (plain, split) in enumerate(drawn.seconds)]
    jobs = [(f"training run {number}", each) for number, each in enumerate(trained)] + [("sampling", sampled)]
    killed = [(name, len(each.lives), min(each.lives, default=None), max(each.lives, default=None), each.different) for name, each in jobs]
    scored = (scores.n, scores.features, scores.frechet, scores.seconds)
    return (
        Table("Seconds with and without shards", ("round", "without", "in shards", "ratio"), tuple(rounds)),
        Table("Jobs that were killed", ("job", "kills", "shortest life, s", "longest life, s", "bytes that differ"), tuple(killed)),
        Table("Scores of all samples", ("n", "features", "Fréchet distance", "seconds"), (scored,)),
    )


def _tables_of_processes(preempted: list[Preempted], deaths: list[Death]) -> tuple[Table, ...]:
    stopped = [(str(seed), _listed(each.codes), _listed(each.steps), each.difference) for seed, each in enumerate(preempted)]
    ended = [(turn + 1, turn % 2, each.seconds, each.code) for turn, each in enumerate(deaths)]
    return (
        Table("Preemptions of two processes", ("seed", "exit codes", "steps saved", "largest difference of a loss"), tuple(stopped)),
        Table("Deaths of one of two processes", ("death", "killed", "seconds until the other ended", "its exit code"), tuple(ended)),
    )


def _listed(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers))
