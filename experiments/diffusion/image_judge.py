"""How the digits experiment judges: every number with its interval, the same number for real digits, and controls that must fail."""

import functools
from typing import Any

import jax
import numpy as np
import scipy.stats

from experiments.diffusion import image_draws, image_training
from experiments.diffusion.digits import figures
from experiments.diffusion.digits.figures import Measured
from experiments.diffusion.image_model import Model
from experiments.framework import training_loop
from experiments.framework.progress import Progress
from experiments.framework.registry import Outcome
from experiments.framework.run_folder import RunFolder
from experiments.reporting import verdicts
from experiments.reporting.verdicts import Claim, Number
from gendiff.core.types import Params
from gendiff.data import digits, scaling
from gendiff.metrics import baselines, bootstrap, classifier_accuracy, features, frechet, kernel_distance, near_copies, precision_recall

SEED = 0
"""Of draws and bootstraps; training has its own seeds."""


class Bench:
    """The real digits, the judge trained on them, and every measure of a set of images against them."""

    def __init__(self, draws: int, size: int) -> None:
        self.split = digits.load()
        self._draws, self._size = draws, size
        self._training = features.pixels(self.split.train_images)
        self._held_out = features.pixels(self.split.held_out_images)
        self._judge = classifier_accuracy.train(self.split.train_images, self.split.train_labels)
        self._real_copies = near_copies.ratios(self._held_out, self._training) < near_copies.THRESHOLD
        self.floor = frechet.over_subsets(self._held_out, self._training, count=draws, size=size, seed=SEED)

    def measure(self, images: np.ndarray, labels: np.ndarray, *, rounded: bool = True) -> Measured:
        """Every number of one set of images, which are first rounded to the data's levels."""
        seen = np.asarray(scaling.round_to_levels(images, digits.LEVELS)) if rounded else images
        rows = features.pixels(seen)
        rng = np.random.default_rng(SEED)
        options: dict[str, Any] = {"count": self._draws, "size": min(self._size, len(rows)), "seed": SEED}
        distances = frechet.over_subsets(self._held_out, rows, **options)
        cover = precision_recall.over_subsets(self._held_out, rows, **options)
        copied = near_copies.ratios(rows, self._training) < near_copies.THRESHOLD
        discrepancy = kernel_distance.over_blocks(rows, self._held_out, seed=SEED)
        spread = 1.96 * discrepancy.standard_error
        return Measured(
            n=len(rows),
            frechet=_bootstrap(rng, _ratio_of_means, distances, self.floor),
            accuracy=_share(classifier_accuracy.correct(self._judge, seen, labels)),
            precision=_bootstrap(rng, np.mean, [each.precision for each in cover]),
            recall=_bootstrap(rng, np.mean, [each.recall for each in cover]),
            copies=_share(copied),
            excess=_bootstrap(rng, _difference_of_means, copied, self._real_copies),
            kernel=(discrepancy.value, discrepancy.value - spread, discrepancy.value + spread),
            distances=distances,
        )

    def ratio(self, first: Measured, second: Measured) -> Number:
        """The first set's Fréchet distance in units of the second's."""
        return _bootstrap(np.random.default_rng(SEED), _ratio_of_means, first.distances, second.distances)


def evaluate(config: Any, model: Model, folder: RunFolder, progress: Progress) -> Outcome:
    """Claims, figures and the table of every set, from the checkpoints of the folder."""
    bench = Bench(config.draws, config.draw_size)
    draw = image_draws.Draws(model, config.sampling_steps, config.together, progress)
    claims: list[Claim] = []
    table: dict[str, Measured] = {"real training digits": bench.measure(bench.split.train_images, bench.split.train_labels)}
    trained: Params = None
    for number, seed in enumerate(config.seeds):
        params = training_loop.restore_ema(model.init, folder, seed=seed, decay=model.ema)
        trained = params if number == 0 else trained
        with progress.phase("sample", seed=seed):
            plain = draw(f"seed {seed}, guidance 1", params, config.samples)
            guided = draw(f"seed {seed}, guidance 2", params, config.guided_samples, scale=2.0)
            coarse = draw(f"seed {seed}, 2 steps", params, config.control_samples, steps=2)
            blank = draw(f"seed {seed}, untrained", model.init(jax.random.key(seed)), config.control_samples)
        with progress.phase("judge", seed=seed):
            sets = {
                f"seed {seed}, guidance 1": plain,
                f"seed {seed}, guidance 2": guided,
                f"seed {seed}, 2 steps": coarse,
                f"seed {seed}, untrained": blank,
            }
            measured = [bench.measure(images, image_draws.labels(len(images), model.num_classes)) for images in sets.values()]
            table |= dict(zip(sets, measured, strict=True))
            raw = bench.measure(plain, image_draws.labels(len(plain), model.num_classes), rounded=False)
            table[f"seed {seed}, guidance 1, not rounded"] = raw
            claims += _claims_of_seed(config.thresholds, bench, seed, *measured)
        if number == 0:
            cold = draw(f"seed {seed}, temperature 1", params, config.control_samples, temperature=1.0)
            table[f"seed {seed}, guidance 1, temperature 1"] = bench.measure(cold, image_draws.labels(len(cold), model.num_classes))
            pictures = figures.pictures(folder, bench.split, plain, guided, draw.trajectory(params, 20, 2.0))
    with progress.phase("controls"):
        more, sets_of_controls = _controls(config, model, bench, draw, folder)
        claims += more
        table |= sets_of_controls
    pictures += figures.plots(config, folder, table)
    return Outcome(tuple(claims), tuple(pictures), (figures.table(table),))


def shuffled_folder(folder: RunFolder) -> RunFolder:
    """Where the control that learns from shuffled labels keeps its checkpoints."""
    return image_training.inside(folder, "shuffled_labels")


def _claims_of_seed(
    limits: Any, bench: Bench, seed: int, plain: Measured, guided: Measured, coarse: Measured, blank: Measured
) -> list[Claim]:
    claim = functools.partial(verdicts.against, limits, seed)
    control = functools.partial(claim, kind="control")
    two_steps = bench.ratio(coarse, plain)
    return [
        claim("frechet", "guidance 1: Fréchet distance to held-out digits, in floors", plain.frechet, "<=", "frechet", n=plain.n),
        claim("accuracy", "guidance 1: the judge sees the digit that was asked for", plain.accuracy, ">=", "accuracy", n=plain.n),
        claim("precision", "guidance 1: precision", plain.precision, ">=", "precision", n=plain.n),
        claim("recall", "guidance 1: recall", plain.recall, ">=", "recall", n=plain.n),
        claim("copies", "guidance 1: near-copies above the held-out digits' own rate", plain.excess, "<=", "copies", n=plain.n),
        claim(
            "guided-accuracy",
            "guidance 2: the judge sees the digit that was asked for",
            guided.accuracy,
            ">=",
            "guided_accuracy",
            n=guided.n,
        ),
        control("untrained-frechet", "untrained network: Fréchet distance, in floors", blank.frechet, ">=", "untrained_frechet", n=blank.n),
        control("untrained-accuracy", "untrained network: judge accuracy", blank.accuracy, "<=", "untrained_accuracy", n=blank.n),
        control("two-steps", "2 steps: Fréchet distance, in multiples of the full number's", two_steps, ">=", "two_steps", n=coarse.n),
    ]


def _controls(
    config: Any, model: Model, bench: Bench, draw: image_draws.Draws, folder: RunFolder
) -> tuple[list[Claim], dict[str, Measured]]:
    """Generators without a model, and the network whose labels mean nothing."""
    images, truth = bench.split.train_images, bench.split.train_labels
    wanted = image_draws.labels(config.control_samples, model.num_classes)
    rng = np.random.default_rng(SEED)
    one_level = 2 / (digits.LEVELS - 1)  # N(0, 1) in the unit of the pixels, 0…16
    sets = {
        "Gaussian a class": bench.measure(baselines.gaussian_per_class(images, truth, rng, wanted), wanted),
        "SMOTE": bench.measure(baselines.smote(images, truth, rng, wanted), wanted),
        "training digits + N(0, 1)": bench.measure(baselines.noisy(images, rng, one_level), truth),
    }
    gaussian, smote, noisy = sets.values()
    control = functools.partial(verdicts.against, config.thresholds, kind="control")
    claims = [
        control(
            None, "gaussian-frechet", "a Gaussian a class: Fréchet distance, in floors", gaussian.frechet, ">=", "frechet", n=gaussian.n
        ),
        control(None, "gaussian-recall", "a Gaussian a class: recall", gaussian.recall, "<=", "recall", n=gaussian.n),
        control(None, "smote-copies", "SMOTE: near-copies above the held-out digits' own rate", smote.excess, ">=", "copies", n=smote.n),
        control(None, "noisy-copies", "training digits + N(0, 1): near-copies above held-out", noisy.excess, ">=", "copies", n=noisy.n),
    ]
    if config.shuffled_steps:
        seed = config.seeds[0]
        params = training_loop.restore_ema(model.init, shuffled_folder(folder), seed=seed, decay=model.ema)
        drawn = draw("shuffled labels", params, config.control_samples)
        shuffled = sets["shuffled labels"] = bench.measure(drawn, wanted)
        claims.append(
            control(
                seed, "shuffled-accuracy", "shuffled labels: judge accuracy", shuffled.accuracy, "<=", "shuffled_accuracy", n=shuffled.n
            )
        )
    return claims, sets


def _ratio_of_means(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.mean(first) / np.mean(second))


def _difference_of_means(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.mean(first) - np.mean(second))


def _bootstrap(rng: np.random.Generator, statistic: Any, *rows: Any) -> Number:
    return bootstrap.interval(rng, statistic, *rows, paired=False).number


def _share(hits: np.ndarray) -> Number:
    """A share with its exact binomial interval: a bootstrap of rows that all agree would have no width."""
    ends = scipy.stats.binomtest(int(hits.sum()), len(hits)).proportion_ci(0.95, method="exact")
    return float(hits.mean()), float(ends.low), float(ends.high)
