"""Best of n over the noises that pictures start from: a network that knows no labels is steered to a digit by choice
alone.

Verifiers choose, and a judge of another kind, trained on other digits, says what the chosen pictures show. Where a
verifier calls more of its choices right than the judge does, they exploit what it got wrong.
"""

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np

from experiments.diffusion import image_draws
from experiments.preferences.test_time import choosing
from experiments.preferences.test_time.config import Config, counts
from gendiff.commands.images import image_training
from gendiff.commands.images.image_model import Model
from gendiff.core.types import Scalar
from gendiff.data import digits, scaling
from gendiff.diffusion import parameterization, schedules
from gendiff.diffusion.denoiser import NetworkDenoiser
from gendiff.diffusion.types import Denoiser
from gendiff.metrics import classifier_accuracy, features
from gendiff.metrics.classifier_accuracy import Judge
from gendiff.runs.progress import Progress
from gendiff.runs.run_folder import RunFolder

GOOD, WEAK, SHUFFLED, JUDGE, UNCHOSEN = "many digits", "few digits", "shuffled labels", "the judge itself", "not chosen"
VERIFIERS = (GOOD, WEAK, SHUFFLED)
"""What each verifier has seen; `JUDGE` is the choice that nothing could beat, in whose eyes it is made."""
SEED = 3
"""Of the halves of the digits, and of shuffled labels."""
FOLDER = "pictures"


@dataclass(frozen=True)
class Digits:
    """Real digits in two halves that share none: for verifiers and for the judge, with the held-out ones, as features
    (n, d).
    """

    verifiers: np.ndarray
    verifiers_labels: np.ndarray
    judge_images: np.ndarray
    judge_labels: np.ndarray


@dataclass(frozen=True)
class Chosen:
    """Of one seed and verifier, at each count of pictures: (counts, questions) shares of choices.

    claimed: that the verifier calls the digit which was asked for. judged: that the judge does.
    """

    claimed: np.ndarray
    judged: np.ndarray


@dataclass(frozen=True)
class Shown:
    """What figures show of one seed: by verifier, the best picture of all of the first set for each digit (classes, h,
    w, c).
    """

    pictures: dict[str, np.ndarray]


def model(config: Config) -> Model:
    """The network and what its output means."""
    return image_training.unet(config.pictures, schedules.flow(), parameterization.flow())


def train(config: Config, folder: RunFolder, progress: Progress) -> None:
    """One network per seed, on all training digits."""
    data, settings = image_training.digits_batch(digits.load()), config.pictures
    image_training.train(settings, model(config), data, folder.inside(FOLDER), progress, seeds=config.seeds)


def unconditional(
    conditioned: NetworkDenoiser, absent: NetworkDenoiser, second: NetworkDenoiser, scale: Scalar
) -> Denoiser:
    """The network without a label: what was asked for does not reach it."""
    return absent


def draw(config: Config, folder: RunFolder, seed: int, progress: Progress) -> np.ndarray:
    """(sets, samples, h, w, c) pictures of one seed's network. Picture j of a set starts from the same noise, whatever
    the count.
    """
    network, numbers = model(config), config.pictures
    draws = image_draws.Draws(network, numbers.sampling_steps, numbers.together, progress)
    params = image_training.averaged(network, folder.inside(FOLDER), seed)
    images = draws(f"seed {seed}", params, numbers.sets * config.samples, rule=unconditional)
    rounded = np.asarray(scaling.round_to_levels(images, digits.LEVELS))
    return rounded.reshape(numbers.sets, config.samples, *network.shape)


@functools.cache
def real() -> Digits:
    """The digits of verifiers and judge."""
    split = digits.load()
    order = np.random.default_rng(SEED).permutation(len(split.train_images))
    first, second = order[: len(order) // 2], order[len(order) // 2 :]
    images = np.concatenate([split.train_images[second], split.held_out_images])
    labels = np.concatenate([split.train_labels[second], split.held_out_labels])
    return Digits(features.pixels(split.train_images[first]), split.train_labels[first], images, labels)


@functools.lru_cache(maxsize=8)
def verifier(few: int, name: str) -> Any:
    """A logistic regression on pixels, as scikit-learn's classifier. few: digits that the weak one has seen."""
    from sklearn.linear_model import LogisticRegression

    split = real()
    rows, labels = split.verifiers, split.verifiers_labels
    if name == WEAK:
        each = few // digits.CLASSES
        first_of_digit = np.concatenate([np.flatnonzero(labels == digit)[:each] for digit in range(digits.CLASSES)])
        rows, labels = rows[first_of_digit], labels[first_of_digit]
    if name == SHUFFLED:
        labels = np.random.default_rng(SEED).permutation(labels)
    return LogisticRegression(C=0.1, max_iter=1000).fit(rows, labels)


@functools.cache
def judge() -> Judge:
    """A support vector machine that has seen none of the verifiers' digits."""
    return classifier_accuracy.train(real().judge_images, real().judge_labels)


def accuracies(config: Config) -> dict[str, float]:
    """Of verifiers on the judge's digits, and of the judge on theirs."""
    split, shape = real(), (8, 8, 1)
    theirs = features.pixels(split.judge_images)
    values = {
        name: float((verifier(config.pictures.few, name).predict(theirs) == split.judge_labels).mean())
        for name in VERIFIERS
    }
    unseen = split.verifiers.reshape(-1, *shape).astype(np.float32)
    return values | {JUDGE: classifier_accuracy.measure(judge(), unseen, split.verifiers_labels)}


def choose(config: Config, images: np.ndarray) -> tuple[dict[str, Chosen], Shown]:
    """Every digit from every set, by each verifier and by the judge itself."""
    flat = images.reshape(-1, *images.shape[2:])
    rows, readings = features.pixels(flat), classifier_accuracy.predict(judge(), flat)
    chosen: dict[str, Chosen] = {}
    best_images: dict[str, np.ndarray] = {}
    for name in VERIFIERS:
        classifier = verifier(config.pictures.few, name)
        odds = classifier.predict_log_proba(rows).astype(np.float32)
        chosen[name] = _chosen(config, odds, np.argmax(odds, 1), readings)
        best = np.argmax(odds[: config.samples], 0)
        best_images[name] = images[0, best]
    right = (readings[:, None] == np.arange(digits.CLASSES)).astype(np.float32)
    chosen[JUDGE] = _chosen(config, right, readings, readings)
    return chosen, Shown(best_images | {UNCHOSEN: images[0, : digits.CLASSES]})


def _chosen(config: Config, scores: np.ndarray, claimed: np.ndarray, readings: np.ndarray) -> Chosen:
    """scores: (sets · samples, classes), by which pictures are chosen. claimed, readings: (sets · samples,) the class
    of each.
    """
    sets = len(scores) // config.samples
    labels = np.tile(np.arange(digits.CLASSES), sets)
    by = scores.reshape(sets, config.samples, -1).swapaxes(1, 2).reshape(-1, config.samples)  # a row per set and digit
    hits = [
        np.repeat(classes.reshape(sets, -1), digits.CLASSES, 0) == labels[:, None] for classes in (claimed, readings)
    ]
    parts = []
    for count in counts(config):
        at = choosing.best(by.reshape(-1, count))[:, None]
        parts.append(
            [np.take_along_axis(hit.reshape(-1, count), at, 1).reshape(len(labels), -1).mean(1) for hit in hits]
        )
    shares = np.array(parts)
    return Chosen(shares[:, 0], shares[:, 1])
