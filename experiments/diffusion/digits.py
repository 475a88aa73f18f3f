"""Does a small diffusion model learn real handwritten digits?

    python -m experiments run digits --preset demo    one seed, few evaluations; 4 minutes
    python -m experiments run digits                  three seeds and every control; 14 minutes

A class-conditional U-Net learns the flow from 1,347 digits of 8×8 pixels to noise; DDIM in 50 steps draws from its
average. Each of the two contracts the samples towards the mean of their class, so they start from noise of a
temperature above 1. What a temperature of 1 gives is in the table beside. The demo draws as `sample` does by default,
with fewer evaluations.
"""

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np

from experiments.diffusion import image_draws, image_judge
from experiments.diffusion.image_judge import DigitsJudge
from gendiff.commands import drawing_options, drawing_programs
from gendiff.commands.images import image_sampling, image_training, sampling_options
from gendiff.commands.images.image_model import Model
from gendiff.data import digits
from gendiff.diffusion import parameterization, schedules
from gendiff.diffusion.schedules import Schedule
from gendiff.diffusion.types import Level
from gendiff.metrics import baselines
from gendiff.runs import ranges
from gendiff.runs.dtypes import WithDtype
from gendiff.runs.progress import Progress
from gendiff.runs.ranges import Count, Natural, Positive, Several
from gendiff.runs.reporting import figures, formatting, intervals
from gendiff.runs.reporting.answers import Answer, Change
from gendiff.runs.reporting.results import Figure, Table
from gendiff.runs.run_folder import RunFolder
from gendiff.runs.study import Measured, Measurements, Study, claim, control

SHUFFLED_FOLDER = "shuffled_labels"
"""Of the control that learns from shuffled labels."""
REAL, PLAIN, GUIDED, COARSE, UNTRAINED = "real training digits", "guidance 1", "guidance 2", "2 steps", "untrained"
GAUSSIAN, SMOTE, NOISY, SHUFFLED = "Gaussian per class", "SMOTE", "training digits + N(0, 1)", "shuffled labels"


@dataclasses.dataclass(frozen=True)
class Config(image_training.JudgedLearning, WithDtype):
    """Every number of the experiment; `samples` are those at guidance 1."""

    train_steps: Count = 1600
    """Optimizer steps."""
    channels: image_training.Channels = (32, 64)
    """Channels of the U-Net at 8×8 and 4×4 pixels."""
    sampler: str = "ddim"
    """What draws: a name of the `sample` command."""
    grid: str = drawing_options.DEFAULT_GRID
    """Which levels it visits: a name of that command."""
    sampling_steps: Several = 50
    """Its steps, at least the 2 of a control."""
    temperature: Positive = 1.05
    """Factor on the noise that samples start from: it undoes most of the contraction of DDIM in 50 steps and of the
    network.
    """
    guided_samples: image_training.Balanced = 2000
    """Samples at guidance 2, class-balanced."""
    control_samples: image_training.Balanced = 2000
    """Samples of each control, class-balanced; more than draw_size, so that draws differ."""
    shuffled_steps: Natural = 1000
    """Optimizer steps of the control that learns from shuffled labels, with the first seed; 0 leaves it out."""


def check(config: Config) -> None:
    """ConfigError, before anything is trained, for what cannot be trained or drawn."""
    image_training.check(config)
    ranges.known("sampler", [config.sampler], drawing_options.SAMPLERS)
    ranges.known("grid", [config.grid], drawing_options.GRIDS)


def levels(config: Config, network: Model, schedule: Schedule, steps: int) -> Level:
    """Those that the sampler visits."""
    return drawing_programs.levels(config.grid, (None, None), steps, dataclasses.replace(network, schedule=schedule))


def model(config: Config) -> Model:
    """The network and what its output means, from the configuration alone."""
    return image_training.unet(
        config, schedules.flow(), parameterization.flow(), temperature=config.temperature, dtype=config.dtype
    )


def train(config: Config, folder: RunFolder, progress: Progress) -> None:
    """One network per seed and, where it is wanted, the control that learns from shuffled labels."""
    image_training.per_seed(model)(config, folder, progress)
    if config.shuffled_steps:
        first, inside = config.seeds[0], folder.inside(SHUFFLED_FOLDER)
        data = image_training.digits_batch(digits.load(), first)
        image_training.train(config, model(config), data, inside, progress, seeds=[first], steps=config.shuffled_steps)


def measure(config: Config, folder: RunFolder, progress: Progress) -> Iterator[Measured]:
    """Samples of every seed's network, then generators without a model, and shuffled labels; the real digits first."""
    judge, network = DigitsJudge(config.draws, config.draw_size), model(config)
    sampler = drawing_programs.sampler(config.sampler, None, network.schedule)
    visited = functools.partial(levels, config, network)
    draw = image_draws.Draws(network, config.sampling_steps, config.together, progress, sampler, visited)

    def judged(
        name: str, images: np.ndarray, seed: int | None, labels: np.ndarray | None = None, **more: Any
    ) -> Measured:
        labels = image_draws.labels(len(images), network.num_classes) if labels is None else labels
        arrays = more.pop("arrays", {}) | {"images": images[:100]}
        return Measured(name, judge.measure(images, labels, **more).measures, seed, len(images), arrays=arrays)

    yield judged(REAL, judge.split.train_images, None, judge.split.train_labels)
    for seed in config.seeds:
        params, few = image_training.averaged(network, folder, seed), config.control_samples
        with progress.phase("sample", seed=seed):
            sets = {
                PLAIN: draw(f"seed {seed}, {PLAIN}", params, config.samples),
                GUIDED: draw(f"seed {seed}, {GUIDED}", params, config.guided_samples, scale=2.0),
                COARSE: draw(f"seed {seed}, {COARSE}", params, few, steps=2),
                UNTRAINED: draw(f"seed {seed}, {UNTRAINED}", network.init(jax.random.key(seed)), few),
            }
        first = seed == config.seeds[0]
        frames = {GUIDED: {"frames": draw.trajectory(params, 20, 2.0)}} if first else {}
        with progress.phase("judge", seed=seed):
            yield from (judged(name, images, seed, arrays=frames.get(name, {})) for name, images in sets.items())
            yield judged(f"{PLAIN}, not rounded", sets[PLAIN], seed, rounded=False)
        if first:
            yield judged(
                f"{PLAIN}, temperature 1", draw(f"seed {seed}, temperature 1", params, few, temperature=1.0), seed
            )
    with progress.phase("controls"):
        images, truth, rng = judge.split.train_images, judge.split.train_labels, np.random.default_rng(intervals.SEED)
        labels = image_draws.labels(config.control_samples, digits.CLASSES)
        yield judged(GAUSSIAN, baselines.gaussian_per_class(images, truth, rng, labels), None, labels)
        yield judged(SMOTE, baselines.smote(images, truth, rng, labels), None, labels)
        # in the unit of the pixels, 0…16
        yield judged(NOISY, baselines.noisy(images, rng, 2 / (digits.LEVELS - 1)), None, truth)
        if config.shuffled_steps:
            params = image_training.averaged(network, folder.inside(SHUFFLED_FOLDER), config.seeds[0])
            yield judged(SHUFFLED, draw(SHUFFLED, params, config.control_samples), config.seeds[0])


def plots(config: Config, folder: RunFolder, tables: Sequence[Table]) -> tuple[Figure, ...]:
    """The Fréchet distance of every set."""
    label, limit = "Fréchet distance to held-out digits, in floors", ("threshold at guidance 1", 1.75)
    caption = "Fréchet distance of every set; the floor, 1, is training digits against held-out ones."
    rows: tuple[Any, ...] = tables[0].rows
    distances: dict[str, Any] = {row[0] if row[1] is None else f"seed {row[1]}, {row[0]}": row[3] for row in rows}
    return (figures.bars(distances, folder.figure("frechet"), caption, x_label=label, log=True, thresholds=[limit]),)


def frechet(measured: Measurements, folder: RunFolder) -> Figure:
    """As `plots` draws it again."""
    return plots(Config(), folder, tuple(STUDY.show(measured)))[0]


def real(measured: Measurements, folder: RunFolder) -> Figure:
    """Held-out digits."""
    split = digits.load()
    order = np.argsort(split.held_out_labels, kind="stable")
    by_class = np.concatenate([order[split.held_out_labels[order] == digit][:10] for digit in range(digits.CLASSES)])
    return figures.grid(
        split.held_out_images[by_class], 10, folder.figure("real"), "Held-out digits: ten of each class.", rows=_NAMES
    )


def samples(name: str, file: str, caption: str, measured: Measurements, folder: RunFolder) -> Figure:
    """Of the first seed, one class per row."""
    both = [next(each.arrays["images"] for each in measured if each.name == chosen) for chosen in (name, PLAIN, GUIDED)]
    count = min(map(len, both))
    index = np.arange(count).reshape(-1, digits.CLASSES).T.ravel()
    return figures.grid(both[0][index], count // digits.CLASSES, folder.figure(file), caption, rows=_NAMES)


def denoising(measured: Measurements, folder: RunFolder) -> Figure:
    """Frames of a trajectory; all of them in the scrubber beside."""
    trajectory = next(each.arrays["frames"] for each in measured if each.name == GUIDED)
    figures.denoising_sprite(trajectory, folder.figure("denoising"), columns=10)
    steps = np.linspace(0, len(trajectory) - 1, 6).round().astype(int)
    after, caption = (
        [formatting.amount(int(step), "step") for step in steps],
        "Ten samples at guidance 2 on their way from noise, ",
    )
    frames, file = np.concatenate(trajectory[steps, : digits.CLASSES]), folder.figure("denoising_steps")
    return figures.grid(frames, digits.CLASSES, file, f"{caption}after so many steps.", rows=after, heads=_NAMES)


def loss(measured: Measurements, folder: RunFolder) -> Figure:
    """Of every seed's training."""
    curves = [
        image_training.loss_curve(f"seed {seed}", folder, seed)
        for seed in measured.seeds(PLAIN, "frechet")
        if seed is not None
    ]
    caption = (
        "Training loss: the squared error of the predicted flow, noise less digit, per pixel; a mean over 20 "
        "lines of the log."
    )
    return figures.curves(curves, folder.figure("loss"), caption, x_label="step", y_label="squared error", log_y=True)


_NAMES = [str(digit) for digit in range(digits.CLASSES)]
_DEMO: dict[str, Any] = {"seeds": (0,), "shuffled_steps": 0}
_QUICK: dict[str, Any] = {
    "sampling_steps" if name == "steps" else name: value for name, value in sampling_options.FEW.items()
}
_FEW: dict[str, Any] = {
    "samples": 40,
    "guided_samples": 40,
    "control_samples": 40,
    "together": 40,
    "draws": 3,
    "draw_size": 30,
}

ANSWER = Answer(
    text="yes: {frechet:.2f} times real data's Fréchet distance, and {accuracy:.0%} of the digits are those asked for",
    statements={
        "E1": "Digits: samples are {frechet:.2f interval} times as far from held-out digits as training digits are; "
        "{recall:.0%} of held-out ones lie among them",
    },
    picture="guidance_1.png",
    before=(
        Change(
            "2026-11-24",
            "d53a8a8",
            "A run of one seed and 3,000 steps, not committed: recall was 0.735 where 0.8 is needed; all else passed.",
            "Samples were shrunk towards the means of their classes.",
        ),
        Change(
            "2026-11-24",
            "6c2f936",
            "The flow took the place of velocity on the cosine schedule, batches of 64 that of 128, 2,000 steps that "
            "of 1,600, and sampling began from noise of temperature 1.04.",
            "DDIM in 50 steps and the network each contract samples by about 3 %.",
        ),
        Change(
            "2026-11-24",
            "6a55d97",
            "Training took 1,600 steps again, and the temperature was 1.05.",
            "No reason is recorded. The thresholds are those from before the first of these runs.",
        ),
        Change(
            "2026-11-30",
            "057865d",
            "Sampling in 2 steps, a Gaussian per class, SMOTE, noisy copies and shuffled labels are compared with the "
            "samples at guidance 1; the Gaussian and the copies had to miss the thresholds of those samples.",
            "A control is compared with its treatment.",
        ),
        Change(
            "2026-12-01",
            "6a55d97",
            "The run at this commit: 1.33 floors, 0.971 read as asked, recall 0.830, with the code of eight days "
            "before. It was run again by the code of today. Recipe and thresholds are unchanged.",
            "training-recipes knows no better one for this U-Net: Muon and logit-normal levels begin sooner, and "
            "after 1,000 steps neither is certainly nearer; Muon is farther on average, and with logit-normal levels "
            "recall is lower.",
        ),
    ),
)

STUDY = Study(
    name="digits",
    config=Config,
    presets={"full": Config(), "demo": Config(**_DEMO, **_QUICK, train_steps=1400, samples=2000, guided_samples=2000)},
    smoke=Config(**image_training.SMOKE, **_DEMO, **_FEW, sampling_steps=4),
    train=train,
    measure=measure,
    words=image_judge.WORDS,
    claims=(
        claim(
            PLAIN, "frechet", "<=", 1.75, role="E1", reason="real data have 1, a Gaussian per class 1.9", id="frechet"
        ),
        claim(PLAIN, "accuracy", ">=", 0.95, role="E1", reason="chance is 0.1", id="accuracy"),
        claim(
            PLAIN,
            "precision",
            ">=",
            0.8,
            role="E1",
            reason="real data have 0.91, an untrained network 0",
            id="precision",
        ),
        claim(
            PLAIN, "recall", ">=", 0.8, role="E1", reason="real data have 0.89, a Gaussian per class 0.62", id="recall"
        ),
        claim(PLAIN, "excess", "<=", 0.01, role="E1", reason="0 copies nothing", id="copies"),
        claim(
            GUIDED, "accuracy", ">=", 0.985, role="check", reason="guidance makes labels clearer", id="guided-accuracy"
        ),
        claim(
            UNTRAINED,
            "frechet",
            ">=",
            10.0,
            role="check",
            reason="what has learned nothing is far",
            id="untrained-frechet",
        ),
        claim(UNTRAINED, "accuracy", "<=", 0.3, role="check", reason="chance is 0.1", id="untrained-accuracy"),
    ),
    controls=(
        control(COARSE, "frechet", against=PLAIN, by=">=", margin=1.0, id="two-steps"),
        control(GAUSSIAN, "frechet", against=PLAIN, by=">=", id="gaussian-frechet"),
        control(GAUSSIAN, "recall", against=PLAIN, by="<=", id="gaussian-recall"),
        control(SMOTE, "excess", against=PLAIN, by=">=", margin=0.5, id="smote-copies"),
        control(NOISY, "excess", against=PLAIN, by=">=", margin=0.5, id="noisy-copies"),
        control(SHUFFLED, "accuracy", against=PLAIN, by="<=", margin=-0.5, id="shuffled-accuracy"),
    ),
    figures=(
        real,
        functools.partial(samples, PLAIN, "guidance_1", "Samples at guidance 1, one class per row, not selected."),
        functools.partial(samples, GUIDED, "guidance_2", "Samples from the same noise at guidance 2."),
        denoising,
        frechet,
        loss,
    ),
    tables={"": ("Every set against the held-out digits, in draws of equal size", "")},
    answer=ANSWER,
    more={"plots": plots, "sample": image_sampling.command(model), "check": check, "processes": True},
)
EXPERIMENT = STUDY.experiment()
