"""Which changes to training make a network learn sooner, at equal steps?

    python -m experiments run training-recipes

trains networks of digits with the same seeds, batches and learning rate: a U-Net plainly, with logit-normal levels
(Esser et al., 2024), with the weights of min-SNR (Hang et al., 2023), with immiscible noise (Li et al., 2025), by Muon
(Jordan et al., 2024), and by Muon with logit-normal levels; and a small DiT plainly, by Muon, with the blocks of
LightningDiT (RMS norm, SwiGLU, rotary positions, normalised heads; Yao et al., 2025), and aligned with the tokens of a
classifier (REPA; Yu et al., 2024). Plain training is the squared error of the velocity at levels spread evenly, by
AdamW. After each of several numbers of steps the average draws, and its digits are held against held-out ones by the
Fréchet distance.

Plain training with other seeds must seem to learn later than the best recipe, and alignment with a network that learned
nothing stands beside REPA.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from experiments.diffusion import image_draws, image_judge
from experiments.diffusion.few_evaluations import FRECHET, word
from experiments.diffusion.image_draws import Draws
from experiments.diffusion.image_judge import DigitsJudge
from experiments.diffusion.part_averages import PartAverages
from experiments.diffusion.training_recipes import networks
from experiments.diffusion.training_recipes.networks import (
    ALIGNED,
    BASES,
    DIT,
    IMMISCIBLE,
    LOGIT_NORMAL,
    MIN_SNR,
    MODERN,
    MUON,
    MUON_DIT,
    MUON_LOGIT_NORMAL,
    RECIPES,
    UNET,
    UNTAUGHT,
    Config,
    Transformer,
)
from gendiff.commands import drawing_programs
from gendiff.commands.images import image_training
from gendiff.commands.images.image_model import Model
from gendiff.core.errors import ConfigError
from gendiff.core.types import Params
from gendiff.data import digits
from gendiff.diffusion import samplers
from gendiff.diffusion.schedules import Schedule
from gendiff.diffusion.types import Level
from gendiff.networks import count
from gendiff.runs import ranges, training_loop
from gendiff.runs.progress import Progress
from gendiff.runs.reporting import figures, intervals
from gendiff.runs.reporting.answers import Answer, Change
from gendiff.runs.reporting.results import Figure
from gendiff.runs.reporting.verdicts import Number
from gendiff.runs.run_folder import RunFolder
from gendiff.runs.study import Measured, Measurements, Study, claim, control
from gendiff.scaling import accounting
from gendiff.training import TrainState, optimizers

__all__ = ["EXPERIMENT", "Config", "Transformer"]

CLASSIFIER = "classifier"
"""Folder of the classifier."""
UNTRAINED, OTHER = "untrained network", "{}, other seeds"
CLAIMED = (LOGIT_NORMAL, MIN_SNR, IMMISCIBLE, MUON, MUON_LOGIT_NORMAL, MODERN, ALIGNED, MUON_DIT)
"""Recipes that are said to learn sooner."""
SHOWN = 10
"""Samples of each recipe in the picture."""


def check(config: Config) -> None:
    """ConfigError where numbers of the configuration do not fit each other."""
    image_training.check(config)
    ranges.among("early", config.early, "parts", config.parts)
    if list(config.parts) != sorted(config.parts) or config.parts[-1] != config.train_steps:
        raise ConfigError(f"--parts {ranges.as_typed(config.parts)} must ascend to --train-steps {config.train_steps}")
    if both := set(config.seeds) & set(config.control_seeds):
        raise ConfigError(f"--control-seeds {min(both)} is one of --seeds: a control needs others")
    if config.warmup >= config.parts[0]:
        raise ConfigError(f"--warmup {config.warmup} must be below the first of --parts, {config.parts[0]}")


def train(config: Config, folder: RunFolder, progress: Progress) -> None:
    """Each training goes on where it was. Nothing of a step depends on how many follow, so the parts are one
    training.
    """
    progress.line("train a classifier")
    _train_classifier(config, folder, progress)
    saving: dict[str, Any] = {
        "checkpoint_every": config.checkpoint_every,
        "log_every": config.log_every,
        "progress": progress,
    }

    def train_part(name: str, seed: int, arguments: dict[str, Any], part: int) -> TrainState:
        return training_loop.train(
            **arguments, seed=seed, steps=config.parts[part], folder=folder.inside(word(name)), **saving
        )

    for name in RECIPES:
        progress.line(f"train: {name}")
        arguments = training(config, folder, name)
        for seed in seeds(config, name):
            with progress.phase(name, seed=seed):
                averages(config, folder, name, seed).fill(functools.partial(train_part, name, seed, arguments))


def training(config: Config, folder: RunFolder, name: str) -> dict[str, Any]:
    """The arguments of `training_loop.train` that name the training of a recipe."""
    model = networks.model(config, name)
    loss = networks.loss(config, name, model, features(config, folder, name))
    optimizer, init = networks.optimizer(config, name), networks.init(config, name, model)
    return {
        "program": training_loop.compile_loss(loss, optimizer, init, folder, ema=(config.ema,), ema_warm_up=True),
        "data": image_training.digits_batch(digits.load()),
        "batch": config.batch,
    }


def features(config: Config, folder: RunFolder, name: str) -> Callable[[Any], jax.Array] | None:
    """What a recipe is aligned with: the classifier, as it is trained or as it began; None for others."""
    if name == ALIGNED:
        return networks.features(config, classifier(config, folder))
    if name == UNTAUGHT:
        return networks.features(config, jax.jit(networks.init_classifier(config))(jax.random.key(min(config.seeds))))
    return None


def seeds(config: Config, name: str) -> tuple[int, ...]:
    """Those that a recipe trains with."""
    return (*config.seeds, *config.control_seeds) if name in BASES else config.seeds


def averages(config: Config, folder: RunFolder, name: str, seed: int) -> PartAverages:
    """Of one training, the averages after each part."""
    start = networks.init(config, name, networks.model(config, name))
    return PartAverages(folder.inside(word(name)).path, seed, len(config.parts), start)


def classifier(config: Config, folder: RunFolder) -> Params:
    """Its parameters, trained."""
    return training_loop.restore_params(
        networks.init_classifier(config), folder.inside(CLASSIFIER), seed=min(config.seeds)
    )


def _train_classifier(config: Config, folder: RunFolder, progress: Progress) -> None:
    settings = config.transformer
    rate: dict[str, Any] = {
        "warmup": min(config.warmup, settings.classifier_steps - 1),
        "total": settings.classifier_steps,
    }
    optimizer = optimizers.adamw(settings.learning_rate, **rate, weight_decay=config.weight_decay, clip=config.clip)
    training_loop.train(
        training_loop.compile_loss(networks.classifying(config), optimizer, networks.init_classifier(config), folder),
        image_training.digits_batch(digits.load()),
        batch=config.batch,
        seed=min(config.seeds),
        steps=settings.classifier_steps,
        folder=folder.inside(CLASSIFIER),
        progress=progress,
        checkpoint_every=config.checkpoint_every,
        log_every=config.log_every,
    )


def measure(config: Config, folder: RunFolder, progress: Progress) -> Iterator[Measured]:
    """Ratios of all recipes, what a step costs, the classifier, and every set, from the averages in the folder."""
    judge, sets, distances = DigitsJudge(config.draws, config.draw_size), [], dict[str, dict[int, list[np.ndarray]]]()
    programs = {model: _draws(config, model, progress) for model in {networks.model(config, name) for name in RECIPES}}

    def one(name: str, title: str, seed: int, params: Any, group: str, steps: int) -> np.ndarray:
        """(draws,) Fréchet distances of a set, whose numbers are kept for the table."""
        with progress.phase("sample", seed=seed):
            images = programs[networks.model(config, group)](
                f"{title}, seed {seed}", jax.device_get(params), config.samples
            )
        with progress.phase("judge", seed=seed):
            measured = judge.measure(images, image_draws.labels(config.samples, digits.CLASSES))
        numbers = {measure: measured.measures[measure] for measure in ("frechet", "accuracy", "precision", "recall")}
        sets.append(Measured(name, {"steps": steps, **numbers}, seed, measured.n, "sets", {"images": images[:SHOWN]}))
        return measured.distances

    for name in RECIPES:
        distances[name] = {}
        for seed in seeds(config, name):
            params = [networks.drawn_from(name, each) for each in averages(config, folder, name, seed).restore()]
            called = name if seed in config.seeds else OTHER.format(name)
            distances[name][seed] = [
                one(called, f"{name}, {steps} steps", seed, group, name, steps)
                for steps, group in zip(config.parts, params, strict=True)
            ]
    fresh = jax.device_get(jax.jit(networks.model(config, UNET).init)(jax.random.key(config.seeds[0])))
    one(UNTRAINED, UNTRAINED, config.seeds[0], fresh, UNET, 0)
    yield from ratios(config, distances)
    yield from _costs(config, folder)
    split = judge.split
    right = networks.accuracy(config, classifier(config, folder), split.held_out_images, split.held_out_labels)
    yield Measured(
        CLASSIFIER, {"share": intervals.share(right), "steps": config.transformer.classifier_steps}, group=CLASSIFIER
    )
    yield from sets


def ratios(config: Config, distances: Mapping[str, Mapping[int, Sequence[np.ndarray]]]) -> Iterator[Measured]:
    """Of each recipe, and of plain training with other seeds, against plain training. distances: by recipe and seed
    after each part.
    """
    keys = {config.early: "early", config.parts[-1]: "last"}
    for name, base in RECIPES.items():
        others = config.control_seeds if name == base else config.seeds
        ratio_to_base = functools.partial(
            ratio, distances[name], distances[base], others, config.seeds, paired=name != base
        )
        measures = {keys.get(steps, f"{steps} steps"): ratio_to_base(part) for part, steps in enumerate(config.parts)}
        yield Measured(OTHER.format(name) if name == base else name, measures, n=len(config.seeds))


def ratio(
    first: Mapping[int, Sequence[np.ndarray]],
    second: Mapping[int, Sequence[np.ndarray]],
    seeds: Sequence[int],
    others: Sequence[int],
    part: int,
    *,
    paired: bool = True,
) -> Number:
    """The mean distance of `first` with some seeds after a part, in units of that of `second` with others; the interval
    is over seeds.
    """
    rows = [
        np.array([by_seed[seed][part].mean() for seed in each]) for by_seed, each in ((first, seeds), (second, others))
    ]
    return intervals.over_seeds(intervals.ratio_of_means, *rows, paired=paired)


def _draws(config: Config, model: Model, progress: Progress) -> Draws:
    def resolved(schedule: Schedule, steps: int) -> Level:
        return drawing_programs.levels("resolved", (None, None), steps, dataclasses.replace(model, schedule=schedule))

    return Draws(model, config.sampling_steps, config.together, progress, samplers.unipc(2), resolved)


def _costs(config: Config, folder: RunFolder) -> Iterator[Measured]:
    """Of each recipe the parameters of the network that draws, and the operations of a gradient in those of its plain
    training.
    """
    operations: dict[str, float] = {}
    for name, base in RECIPES.items():
        model = networks.model(config, name)
        params = jax.eval_shape(networks.init(config, name, model), jax.random.key(0))
        batch = jax.tree.map(lambda leaf: leaf[: config.batch], image_training.digits_batch(digits.load()))
        gradient = jax.value_and_grad(networks.loss(config, name, model, features(config, folder, name)), has_aux=True)
        operations[name] = accounting.xla_flops(gradient, params, jax.random.key(0), batch)
        measures = {
            "parameters": count(networks.drawn_from(name, params)),
            "operations": operations[name] / operations[base],
        }
        yield Measured(name, measures, group="costs")


def curves(base: str, file: str, measured: Measurements, folder: RunFolder) -> Figure:
    """The distance against steps, of all recipes of a network."""
    series = []
    for name in (name for name, parent in RECIPES.items() if parent == base):
        sets = [each for each in measured if (each.name, each.group) == (name, "sets")]
        steps = list(dict.fromkeys(each.measures["steps"] for each in sets))
        distances: list[Any] = [(each.measures["frechet"], each.measures["steps"]) for each in sets]
        values = [[frechet[0] for frechet, at in distances if at == step] for step in steps]
        label = "plain" if name == base else name
        series.append(
            figures.Curve(label, steps, *(reduce(np.array(values), axis=1) for reduce in (np.mean, np.min, np.max)))
        )
    caption = (
        f"{base}: Fréchet distance against the steps of training: means over seeds; bands reach from the least "
        "to the largest."
    )
    return figures.curves(
        series, folder.figure(file), caption, x_label="optimizer steps", y_label=FRECHET, log_x=True, log_y=True
    )


def same_digits(measured: Measurements, folder: RunFolder) -> Figure:
    """Of the first seed after few steps, a row for each recipe."""
    sets, early = (
        [each for each in measured if each.group == "sets" and each.name in RECIPES],
        list(measured[0].measures).index("early"),
    )
    steps = list(dict.fromkeys(each.measures["steps"] for each in sets))[early]
    first_sets = [each for each in sets if (each.seed, each.measures["steps"]) == (sets[0].seed, steps)]
    rows = [each.name for each in first_sets]
    caption = f"The same digits after {steps} steps, a row for each recipe: {'; '.join(rows)}."
    images = np.concatenate([each.arrays["images"] for each in first_sets])
    return figures.grid(images, len(first_sets[0].arrays["images"]), folder.figure("digits"), caption, rows=rows)


_ABOUT = "Fréchet distance in multiples of that of plain training of the {}, after {} steps"
_FEW: dict[str, Any] = {"samples": 40, "together": 40, "draws": 3, "draw_size": 30, "sampling_steps": 2}
_SHORT: dict[str, Any] = {"seeds": (0, 1), "control_seeds": (2, 3), "parts": (2, 4), "early": 2}

ANSWER = Answer(
    text="Muon: {muon-on-the-dit-sooner:.2f} times plain training's distance at 250 steps on a DiT, "
    "{muon-and-logit-normal-levels-sooner:.2f} with logit-normal levels on a U-Net; REPA has "
    "{alignment-repa-sooner:.2f}, three others do not",
    statements={
        "E3": "Where t is drawn more often from the middle, the Fréchet distance after 250 steps is "
        "{logit-normal-levels-sooner:.2f interval} times that of even draws",
    },
    picture="transformer.png",
    before=(
        Change(
            "2026-11-30",
            "670dae5bf",
            "Controls are compared with a treatment of the same measure, where they shared the threshold of their "
            "claim.",
            "A control that the treatment itself meets says nothing.",
        ),
        Change(
            "2026-12-01",
            "446e1c9f1",
            "Muon joins: on the U-Net, there with logit-normal levels, and on the DiT. There are 4 seeds instead of 5, "
            "so that the run costs as much. The run before had logit-normal levels at 0.86 times the distance of plain "
            "training after 250 steps, REPA at 0.92.",
            "Muon taught the network of text-to-image sooner, and was no recipe here.",
        ),
    ),
)

STUDY = Study(
    name="training-recipes",
    config=Config,
    presets={"full": Config()},
    smoke=Config(
        **image_training.SMOKE,
        **_FEW,
        **_SHORT,
        transformer=Transformer(width=16, depth=2, projector=8, classifier_steps=2),
    ),
    train=train,
    measure=measure,
    words=image_judge.WORDS
    | {
        "early": "after `early` steps",
        "last": "at the end",
        "steps": "steps",
        "parameters": "parameters",
        "operations": "operations of a gradient, in those of plain training",
        "share": "share of held-out digits that it names",
    },
    claims=(
        *(
            claim(
                name,
                measure,
                "<=",
                threshold,
                role="aim",
                reason=reason,
                statement=f"{name}: {_ABOUT.format(RECIPES[name], steps)}",
                id=f"{word(name)}-{suffix}",
            )
            for name in CLAIMED
            for measure, steps, threshold, suffix, reason in (
                ("early", 250, 0.95, "sooner", "seeds alone change it by a few percent"),
                ("last", 1000, 1.05, "no-worse", "seeds alone change it by a few percent"),
            )
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
    ),
    controls=tuple(
        control(
            OTHER.format(base),
            "early",
            against=best,
            by=">=",
            statement=f"{base}, plain with other seeds, less {best}: {_ABOUT.format(base, 250)}",
            id=f"{word(base)}-other-seeds",
        )
        for base, best in ((UNET, LOGIT_NORMAL), (DIT, ALIGNED))
    ),
    figures=(functools.partial(curves, UNET, "unet"), functools.partial(curves, DIT, "transformer"), same_digits),
    tables={
        "": (
            "Fréchet distances in multiples of those of plain training, means over seeds",
            "An interval is over seeds.",
        ),
        "costs": ("What a step costs", ""),
        CLASSIFIER: ("The classifier that REPA aligns with", ""),
        "sets": ("Every set against the held-out digits", ""),
    },
    answer=ANSWER,
    more={"check": check},
)
EXPERIMENT = STUDY.experiment()
