"""Do the denoisers that draw pictures also learn sounds, so that a listener understands what was asked for?

    python -m experiments run audio     two seeds; 18 minutes; extras run and speech

A class-conditional U-Net learns the flow from log-mel spectrograms of spoken digits, 0.51 s by twelve voices, to noise.
Its samples become sounds by Griffin-Lim. What is judged are spectrograms of these sounds, so that all that the way back
loses counts: by a classifier that learned from twelve other voices, and by the Fréchet distance to held-out sounds.

Operations: forward and backward pass take 0.65 GFLOP for a spectrogram (XLA's count), so that 2 seeds of 1,300 steps on
32 are 54 TFLOP; drawing 2 × 400 samples in 25 steps, 0.22 GFLOP each, is 4 TFLOP. That is 10 minutes at 100
GFLOP/s, and 15 at the 63 that so narrow a network reaches on 2 cores. Speaking 3,100 sounds, 1,600 times Griffin-Lim in
0.06 s, compiling and judging take 3 more.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import msgspec
import numpy as np

from experiments.diffusion import image_draws, image_judge
from experiments.diffusion.image_judge import DigitsJudge
from experiments.tasks import spoken_digits
from experiments.tasks.spoken_digits import HELD_OUT, JUDGE, SPECTROGRAM, TRAINING
from gendiff.commands.images import emoji_pictures, image_sampling, image_training, sample_files
from gendiff.commands.images.image_model import Model
from gendiff.data import digits
from gendiff.diffusion import parameterization, samplers, schedules
from gendiff.diffusion.types import Batch
from gendiff.metrics import baselines, classifier_accuracy, features
from gendiff.runs import ranges
from gendiff.runs.progress import Progress
from gendiff.runs.ranges import Count, Positive
from gendiff.runs.reporting import figures, intervals, json_files
from gendiff.runs.reporting.answers import Answer
from gendiff.runs.reporting.results import Figure
from gendiff.runs.run_folder import RunFolder
from gendiff.runs.study import Measured, Measurements, Study, claim, control

REAL, HELD, REBUILT = "training sounds", "held-out sounds", "rebuilt training sounds"
SAMPLES, SPECTROGRAMS, NEXT = "samples", "samples, before Griffin-Lim", "samples, held against the next digit"
GAUSSIAN, VOICES = "Gaussian per class", "other voices"
SIDE = (SPECTROGRAM.mels, SPECTROGRAM.frames)
Sounds = Annotated[int, msgspec.Meta(ge=20, le=20_000, multiple_of=digits.CLASSES)]
"""As many of each digit."""


@dataclasses.dataclass(frozen=True)
class Config(image_training.JudgedLearning):
    """The numbers that are turned."""

    seeds: ranges.Distinct[ranges.Seed] = (0, 1)
    """Seeds of training; each trains a network of its own."""
    training: Sounds = 1500
    """Sounds to learn from."""
    held_out: Sounds = 600
    """Sounds of the same voices that samples are held against."""
    judged: Sounds = 1000
    """Sounds of other voices that the classifier learns from."""
    train_steps: Count = 1300
    """Optimizer steps."""
    batch: Count = 32
    """Sounds per step."""
    channels: image_training.Channels = (16, 32, 64)
    """Channels of the U-Net at 40×32, 20×16 and 10×8."""
    optimizer: image_training.Optimizer = "muon"
    """adamw, or muon: Muon on matrices and kernels, and AdamW on the rest."""
    learning_rate: Positive = 1e-3
    """Peak learning rate of AdamW."""
    samples: image_training.Balanced = 400
    """Sounds of each set, class-balanced."""
    together: Count = 100
    """Samples drawn in one call."""
    draw_size: Annotated[int, msgspec.Meta(ge=4, le=20_000)] = 300
    """Sounds in a draw."""
    sampling_steps: Count = 25
    """Steps of UniPC of order 2."""


def check(config: Config) -> None:
    """ConfigError where numbers of the configuration do not fit each other."""
    image_training.check(config, images=config.training)
    ranges.at_most("draw-size", config.draw_size, "training", config.training)


def model(config: Config) -> Model:
    """The network, which learns the flow from spectrograms to noise; its samples are sounds."""
    shape = (*SIDE, 1)
    network = image_training.unet(config, schedules.flow(), parameterization.flow(), shape=shape, levels=256)
    return dataclasses.replace(network, sound=SPECTROGRAM)


def train(config: Config, folder: RunFolder, progress: Progress) -> None:
    """One network per seed, on sounds that are spoken first."""
    with progress.phase("speak"):
        counts = {TRAINING: config.training, HELD_OUT: config.held_out, JUDGE: config.judged}
        spoken_digits.write(folder.path / "sounds", counts)
    images, labels = spoken_digits.load(folder.path / "sounds" / TRAINING)
    data = Batch(clean=images, condition=(labels,))
    image_training.train(config, model(config), data, folder, progress, seeds=config.seeds)


def measure(config: Config, folder: RunFolder, progress: Progress) -> Iterator[Measured]:
    """Real sounds and a generator without a network, then the samples of every seed."""
    with progress.phase("real sounds"):
        sounds = {name: spoken_digits.load(folder.path / "sounds" / name) for name in (TRAINING, HELD_OUT, JUDGE)}
        (images, truth), (other_images, other_labels) = sounds[TRAINING], sounds[JUDGE]
        split = digits.Split(images, truth, *sounds[HELD_OUT])
        classifier = classifier_accuracy.train(other_images, other_labels)
        judge = DigitsJudge(config.draws, config.draw_size, split, classifier, features.random_convolutions(0))
        chosen = emoji_pictures.at_equal_distances(len(images), config.samples)

        def judged(name: str, images: np.ndarray, labels: np.ndarray, seed: int | None = None) -> Measured:
            measures = judge.measure(images, labels, rounded=False).measures
            return Measured(name, measures, seed, len(images), arrays={"images": _of_each_digit(images, labels)})

        def accuracy(name: str, images: np.ndarray, labels: np.ndarray, seed: int | None = None) -> Measured:
            arrays = {"images": _of_each_digit(images, labels)}
            return Measured(name, {"accuracy": judge.accuracy(images, labels)}, seed, len(images), "read", arrays)

        yield judged(REAL, images, truth)
        yield judged(REBUILT, spoken_digits.there_and_back(images[chosen]), truth[chosen])
        yield accuracy(HELD, *sounds[HELD_OUT])
        others = judged(VOICES, other_images, other_labels)
        yield dataclasses.replace(others, measures={**others.measures, "accuracy": None})  # it learned from them
        labels = image_draws.labels(config.samples, digits.CLASSES)
        gaussian = baselines.gaussian_per_class(images, truth, np.random.default_rng(intervals.SEED), labels)
        yield judged(GAUSSIAN, spoken_digits.there_and_back(gaussian), labels)
    network = model(config)
    draw = image_draws.Draws(network, config.sampling_steps, config.together, progress, samplers.unipc(2))
    for seed in config.seeds:
        with progress.phase("sample", seed=seed):
            drawings = draw(f"seed {seed}", image_training.averaged(network, folder, seed), config.samples)
            returned = spoken_digits.there_and_back(drawings)
        with progress.phase("judge", seed=seed):
            yield judged(SAMPLES, returned, labels, seed)
            yield judged(SPECTROGRAMS, np.clip(drawings, -1.0, 1.0), labels, seed)
            yield accuracy(NEXT, returned, (labels + 1) % digits.CLASSES, seed)


def _of_each_digit(images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return np.stack([images[np.flatnonzero(labels == digit)[0]] for digit in range(digits.CLASSES)])


def spectrograms(measured: Measurements, folder: RunFolder) -> Figure:
    """One sound of each digit, real, without a network, and of the first seed; those of a network become WAV files."""
    first: Mapping[str, np.ndarray] = {
        name: next(each.arrays["images"] for each in measured if each.name == name)
        for name in (HELD, REBUILT, GAUSSIAN, SPECTROGRAMS, SAMPLES)
    }
    path = folder.figure("spectrograms")
    for word, images in (("held_out", first[HELD]), ("sample", first[SPECTROGRAMS])):
        for digit, image in enumerate(images):
            name = path.with_name(f"{path.stem}_{digit}_{word}.wav")
            json_files.write_bytes(name, sample_files.wav(SPECTROGRAM, image))
    caption = (
        "Zero to nine, not selected: time goes to the right, pitch upwards. The WAV files have the first row and the "
        "samples, both from their spectrograms. Voices: eSpeak NG."
    )
    return figures.named_rows(first, path, caption, heads=list(map(str, range(digits.CLASSES))))


def frechet(measured: Measurements, folder: RunFolder) -> Figure:
    """The Fréchet distance of every set."""
    distances: dict[str, Any] = {
        each.name if each.seed is None else f"{each.name}, seed {each.seed}": each.measures["frechet"]
        for each in measured
        if "frechet" in each.measures
    }
    caption = "Fréchet distance of every set to held-out sounds; the floor, 1, is training sounds."
    label, limit = "Fréchet distance to held-out sounds, in floors", [("threshold", FARTHEST)]
    return figures.bars(distances, folder.figure("frechet"), caption, x_label=label, log=True, thresholds=limit)


FARTHEST = 4.0
"""Fréchet distance of samples at most, in floors."""
E1: dict[str, Any] = {"role": "E1", "figure": "frechet.png"}
STUDY = Study(
    name="audio",
    config=Config,
    presets={"full": Config()},
    smoke=Config(
        **image_training.SMOKE,
        seeds=(0,),
        training=40,
        held_out=20,
        judged=20,
        samples=20,
        together=20,
        draws=2,
        draw_size=16,
        sampling_steps=2,
    ),
    train=train,
    measure=measure,
    words=image_judge.WORDS | {"excess": "near-copies above the held-out sounds' own rate"},
    claims=(
        claim(SAMPLES, "accuracy", ">=", 0.8, id="accuracy", reason="chance is 0.1, training sounds have 0.99", **E1),
        claim(
            SAMPLES,
            "frechet",
            "<=",
            FARTHEST,
            id="frechet",
            reason="other voices and a Gaussian per class had 7 or more before any training",
            **E1,
        ),
        claim(
            SAMPLES,
            "precision",
            ">=",
            0.6,
            id="precision",
            reason="training sounds have 0.9, a Gaussian per class 0.5",
            **E1,
        ),
        claim(SAMPLES, "recall", ">=", 0.6, id="recall", reason="two thirds of the 0.95 of training sounds", **E1),
        claim(SAMPLES, "excess", "<=", 0.1, id="copies", reason="0 copies nothing", **E1),
        claim(
            HELD,
            "accuracy",
            ">=",
            0.95,
            role="check",
            id="judge",
            reason="a judge that misreads real sounds says little of samples",
        ),
        claim(
            REBUILT,
            "accuracy",
            ">=",
            0.9,
            role="check",
            id="rebuilt-accuracy",
            reason="samples go the same way, and cannot be read better",
        ),
        claim(
            REBUILT,
            "frechet",
            "<=",
            2.0,
            role="check",
            id="rebuilt-frechet",
            reason="half of what samples may have",
        ),
    ),
    controls=(
        control(NEXT, "accuracy", against=SAMPLES, by="<=", margin=-0.5, id="next-accuracy"),
        control(GAUSSIAN, "frechet", against=SAMPLES, by=">=", id="gaussian-frechet"),
        control(GAUSSIAN, "precision", against=SAMPLES, by="<=", id="gaussian-precision"),
        control(VOICES, "frechet", against=SAMPLES, by=">=", id="voices-frechet"),
        control(REBUILT, "excess", against=SAMPLES, by=">=", margin=0.1, id="rebuilt-copies"),
    ),
    figures=(spectrograms, frechet),
    tables={
        "": (
            "Every set against the held-out sounds, in draws of equal size",
            "Distances, precision, recall and near-copies are in 224 features of spectrograms, by random convolutions. "
            "All sets but training sounds, other voices and samples before Griffin-Lim have become sounds and "
            "spectrograms again.",
        ),
        "read": ("What the classifier reads besides", "It learned from other voices than these."),
    },
    answer=Answer(
        text="{accuracy:.0%} of the samples are heard as the digit that was asked for, of real sounds after the "
        "same way {rebuilt-accuracy:.0%}, and they are {frechet:.1f} times as far from held-out sounds as training "
        "sounds are",
        statements={
            "E1": "Spoken digits: {accuracy:.0% interval} of the sounds that were drawn are heard as asked; they are "
            "{frechet:.1f interval} times as far from held-out sounds as training sounds are"
        },
        picture="spectrograms.png",
    ),
    more={"check": check, "sample": image_sampling.command(model)},
)
EXPERIMENT = STUDY.experiment()
