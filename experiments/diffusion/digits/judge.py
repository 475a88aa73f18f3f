"""How the digits experiment trains and judges: every number with its interval, the same for real digits, and controls that must fail."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from experiments.diffusion import image_draws, image_judge
from experiments.diffusion.digits.config import Config, Thresholds, levels, model
from experiments.diffusion.image_judge import DigitsJudge, MeasuredSet
from gendiff.commands import drawing_options
from gendiff.commands.images import image_training
from gendiff.data import digits
from gendiff.metrics import baselines
from gendiff.runs.progress import Progress
from gendiff.runs.registry import Outcome
from gendiff.runs.reporting import figures, formatting, intervals, verdicts
from gendiff.runs.reporting.results import Figure, Table
from gendiff.runs.run_folder import RunFolder

SHUFFLED = "shuffled_labels"
"""Folder of the control that learns from shuffled labels."""


def train(config: Config, folder: RunFolder, progress: Progress) -> None:
    """One network per seed and, where it is wanted, the control that learns from shuffled labels."""
    image_training.per_seed(model)(config, folder, progress)
    if config.shuffled_steps:
        first, place = config.seeds[0], folder.inside(SHUFFLED)
        data = image_training.digits_batch(digits.load(), first)
        image_training.train(config, model(config), data, place, progress, seeds=[first], steps=config.shuffled_steps)


def evaluate(config: Config, folder: RunFolder, progress: Progress) -> Outcome:
    """Claims, figures and the table of every set, from the checkpoints of the folder."""
    judge, network = DigitsJudge(config.draws, config.draw_size), model(config)
    sampler = drawing_options.sampler(config.sampler, None, network.schedule)
    visited = functools.partial(levels, config, network)
    draw = image_draws.Draws(network, config.sampling_steps, config.together, progress, sampler, visited)
    claims: list[verdicts.Claim] = []
    pictures: list[Figure] = []
    table: dict[str, MeasuredSet] = {"real training digits": judge.measure(judge.split.train_images, judge.split.train_labels)}

    def measure(name: str, images: np.ndarray, *, rounded: bool = True) -> MeasuredSet:
        table[name] = judge.measure(images, image_draws.labels(len(images), network.num_classes), rounded=rounded)
        return table[name]

    for seed in config.seeds:
        params, controls = image_training.averaged(network, folder, seed), config.control_samples
        with progress.phase("sample", seed=seed):
            sets = {
                "guidance 1": draw(f"seed {seed}, guidance 1", params, config.samples),
                "guidance 2": draw(f"seed {seed}, guidance 2", params, config.guided_samples, scale=2.0),
                "2 steps": draw(f"seed {seed}, 2 steps", params, controls, steps=2),
                "untrained": draw(f"seed {seed}, untrained", network.init(jax.random.key(seed)), controls),
            }
        with progress.phase("judge", seed=seed):
            measured = [measure(f"seed {seed}, {name}", images) for name, images in sets.items()]
            measure(f"seed {seed}, guidance 1, not rounded", sets["guidance 1"], rounded=False)
            claims += _claims_of_seed(config.thresholds, seed, *measured)
        if seed == config.seeds[0]:
            measure(f"seed {seed}, guidance 1, temperature 1", draw(f"seed {seed}, temperature 1", params, controls, temperature=1.0))
            frames = draw.trajectory(params, 20, 2.0)
            pictures = _pictures(folder, judge.split, sets["guidance 1"], sets["guidance 2"], frames)
    with progress.phase("controls"):
        claims += _generators(config, judge, table)
        if config.shuffled_steps:
            params = image_training.averaged(network, folder.inside(SHUFFLED), config.seeds[0])
            shuffled, id = measure("shuffled labels", draw("shuffled labels", params, config.control_samples)), "shuffled-accuracy"
            control = functools.partial(verdicts.against, config.thresholds, config.seeds[0], id, kind="control", n=shuffled.n)
            claims.append(control("shuffled labels: judge accuracy", shuffled.accuracy, "<="))
    columns = ("set", "n", "Fréchet / floor", "judge", "precision", "recall", "near-copies", "kernel distance")
    rows = [(name, of.n, of.frechet, of.accuracy, of.precision, of.recall, of.copies, of.kernel) for name, of in table.items()]
    every = Table("Every set against the held-out digits, in draws of equal size", columns, tuple(rows))
    return Outcome(tuple(claims), (*pictures, *plots(config, folder, (every,)), _loss(config, folder)), (every,))


def plots(config: Config, folder: RunFolder, tables: Sequence[Table]) -> tuple[Figure, ...]:
    """The Fréchet distance of every set."""
    label, limit = "Fréchet distance to held-out digits, in floors", ("threshold at guidance 1", config.thresholds.frechet)
    caption = "Fréchet distance of every set; the floor, 1, is training digits against held-out ones."
    distances: dict[str, Any] = {str(row[0]): row[2] for row in tables[0].rows}
    return (figures.bars(distances, folder.figure("frechet"), caption, x_label=label, log=True, thresholds=[limit]),)


def _claims_of_seed(
    limits: Thresholds, seed: int, plain: MeasuredSet, guided: MeasuredSet, coarse: MeasuredSet, blank: MeasuredSet
) -> list[verdicts.Claim]:
    def claim(of: MeasuredSet, id: str, statement: str, number: verdicts.Number, relation: verdicts.Relation) -> verdicts.Claim:
        """Other sets than the two guided ones are controls."""
        kind: verdicts.Kind = "claim" if of is plain or of is guided else "control"
        return verdicts.against(limits, seed, id, statement, number, relation, n=of.n, kind=kind)

    seen, two_steps = "the judge sees the digit that was asked for", image_judge.ratio(coarse, plain)
    return [
        claim(plain, "frechet", "guidance 1: Fréchet distance to held-out digits, in floors", plain.frechet, "<="),
        claim(plain, "accuracy", f"guidance 1: {seen}", plain.accuracy, ">="),
        claim(plain, "precision", "guidance 1: precision", plain.precision, ">="),
        claim(plain, "recall", "guidance 1: recall", plain.recall, ">="),
        claim(plain, "copies", "guidance 1: near-copies above the held-out digits' own rate", plain.excess, "<="),
        claim(guided, "guided-accuracy", f"guidance 2: {seen}", guided.accuracy, ">="),
        claim(blank, "untrained-frechet", "untrained network: Fréchet distance, in floors", blank.frechet, ">="),
        claim(blank, "untrained-accuracy", "untrained network: judge accuracy", blank.accuracy, "<="),
        claim(coarse, "two-steps", "2 steps: Fréchet distance, in multiples of the full number's", two_steps, ">="),
    ]


def _generators(config: Config, judge: DigitsJudge, table: dict[str, MeasuredSet]) -> list[verdicts.Claim]:
    """Controls: generators without a model, which are added to the table."""
    images, truth = judge.split.train_images, judge.split.train_labels
    wanted = image_draws.labels(config.control_samples, digits.CLASSES)
    rng = np.random.default_rng(intervals.SEED)
    one_level = 2 / (digits.LEVELS - 1)  # N(0, 1) in the unit of the pixels, 0…16
    sets = {
        "Gaussian per class": (baselines.gaussian_per_class(images, truth, rng, wanted), wanted),
        "SMOTE": (baselines.smote(images, truth, rng, wanted), wanted),
        "training digits + N(0, 1)": (baselines.noisy(images, rng, one_level), truth),
    }
    gaussian, smote, noisy = (judge.measure(drawn, labels) for drawn, labels in sets.values())
    table.update(zip(sets, (gaussian, smote, noisy), strict=True))
    control = functools.partial(verdicts.against, config.thresholds, None, kind="control")
    return [
        control("gaussian-frechet", "a Gaussian per class: Fréchet distance, in floors", gaussian.frechet, ">=", "frechet", n=gaussian.n),
        control("gaussian-recall", "a Gaussian per class: recall", gaussian.recall, "<=", "recall", n=gaussian.n),
        control("smote-copies", "SMOTE: near-copies above the held-out digits' own rate", smote.excess, ">=", "copies", n=smote.n),
        control("noisy-copies", "training digits + N(0, 1): near-copies above held-out", noisy.excess, ">=", "copies", n=noisy.n),
    ]


def _pictures(folder: RunFolder, split: digits.Split, plain: np.ndarray, guided: np.ndarray, trajectory: np.ndarray) -> list[Figure]:
    """Grids of real digits and samples, and the frames of the denoising scrubber."""
    order = np.argsort(split.held_out_labels, kind="stable")
    by_class = np.concatenate([order[split.held_out_labels[order] == digit][:10] for digit in range(digits.CLASSES)])
    count = min(100, len(plain), len(guided))
    index = np.arange(count).reshape(-1, digits.CLASSES).T.ravel()  # one class per row
    across = count // digits.CLASSES
    figures.denoising_sprite(trajectory, folder.figure("denoising"), columns=10)
    names, steps = [str(digit) for digit in range(digits.CLASSES)], np.linspace(0, len(trajectory) - 1, 6).round().astype(int)
    frames, of_frames = trajectory[steps, : digits.CLASSES], "Ten samples at guidance 2 on their way from noise, after so many steps."
    after = [formatting.amount(int(step), "step") for step in steps]
    of_plain = "Samples at guidance 1, one class per row, not selected."
    return [
        figures.grid(split.held_out_images[by_class], 10, folder.figure("real"), "Held-out digits: ten of each class.", rows=names),
        figures.grid(plain[index], across, folder.figure("guidance_1"), of_plain, rows=names),
        figures.grid(guided[index], across, folder.figure("guidance_2"), "Samples from the same noise at guidance 2.", rows=names),
        figures.grid(np.concatenate(frames), digits.CLASSES, folder.figure("denoising_steps"), of_frames, rows=after, heads=names),
    ]


def _loss(config: Config, folder: RunFolder) -> Figure:
    curves = [image_training.loss_curve(f"seed {seed}", folder, seed) for seed in config.seeds]
    caption = "Training loss: the squared error of the predicted flow, noise less digit, per pixel; a mean over 20 lines of the log."
    return figures.curves(curves, folder.figure("loss"), caption, x_label="step", y_label="squared error", log_y=True)
