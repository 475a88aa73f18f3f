"""How recipes are held against plain training: Fréchet distances after equal steps, paired by seed, with the seeds of the control."""

import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from experiments.diffusion import image_draws
from experiments.diffusion.few_evaluations import FRECHET, word
from experiments.diffusion.image_draws import Draws
from experiments.diffusion.image_judge import DigitsJudge, MeasuredSet
from experiments.diffusion.training_recipes import networks, train
from experiments.diffusion.training_recipes.config import Config
from experiments.diffusion.training_recipes.recipes import ALIGNED, BASES, RECIPES
from gendiff.commands import drawing_options
from gendiff.commands.images import image_training
from gendiff.commands.images.image_model import Model
from gendiff.data import digits
from gendiff.diffusion import samplers
from gendiff.diffusion.schedules import Schedule
from gendiff.diffusion.types import Level
from gendiff.networks import count
from gendiff.runs.progress import Progress
from gendiff.runs.registry import Outcome
from gendiff.runs.reporting import figures, intervals, verdicts
from gendiff.runs.reporting.results import Cell, Figure, Table
from gendiff.runs.reporting.verdicts import Claim, Number
from gendiff.runs.run_folder import RunFolder
from gendiff.scaling import accounting

Measured = Mapping[str, Mapping[int, Sequence[MeasuredSet]]]
"""By recipe and seed, after each part."""
UNTRAINED = "untrained network"


def evaluate(config: Config, folder: RunFolder, progress: Progress) -> Outcome:
    """Claims, figures and tables from the averages in the folder."""
    judge = DigitsJudge(config.draws, config.draw_size)
    measured: dict[str, dict[int, list[MeasuredSet]]] = {}
    shown: dict[str, np.ndarray] = {}
    programs = {model: _draws(config, model, progress) for model in {networks.model(config, name) for name in config.names}}
    early = config.parts.index(config.early)
    for name in config.names:
        measured[name] = {}
        measure = functools.partial(_measured, config, judge, programs[networks.model(config, name)], progress)
        for seed in train.seeds(config, name):
            params = [networks.drawn_from(name, each) for each in train.averages(config, folder, name, seed).restore()]
            sets = [measure(f"{name}, {steps} steps", seed, of) for steps, of in zip(config.parts, params, strict=True)]
            measured[name][seed] = [of for of, _ in sets]
            if seed == config.seeds[0]:
                shown[name] = sets[early][1][: config.shown]
    model = networks.model(config, next(base for base in BASES if base in config.names))
    fresh = jax.device_get(jax.jit(model.init)(jax.random.key(config.seeds[0])))
    untrained, _ = _measured(config, judge, programs[model], progress, UNTRAINED, config.seeds[0], fresh)
    right = _accuracy(config, folder, judge)
    claims = (*claimed(config, measured), _untrained_claim(config, untrained))
    return Outcome(claims, tuple(_figures(config, folder, measured, shown)), tuple(_tables(config, folder, measured, right)))


def claimed(config: Config, measured: Measured) -> Iterator[Claim]:
    """Each recipe after few steps and at the end, and plain training with other seeds, which must not seem to learn sooner."""
    early, last = config.parts.index(config.early), len(config.parts) - 1
    claim = functools.partial(verdicts.against, config.thresholds, None, n=len(config.seeds))
    for name in config.names:
        base = RECIPES[name].base
        about = f"Fréchet distance in multiples of that of plain training of the {base}, after"
        if RECIPES[name].claimed:
            of = functools.partial(ratio, measured[name], measured[base], config.seeds, config.seeds)
            yield claim(f"{word(name)}-sooner", f"{name}: {about} {config.early} steps", of(early), "<=", "sooner")
            yield claim(f"{word(name)}-no-worse", f"{name}: {about} {config.parts[-1]} steps", of(last), "<=", "no_worse")
        elif name in BASES:
            same = ratio(measured[name], measured[name], config.control_seeds, config.seeds, early, paired=False)
            statement = f"{name}, plain with other seeds: {about} {config.early} steps"
            yield claim(f"{word(name)}-other-seeds", statement, same, ">=", "sooner", kind="control")


def ratio(
    first: Mapping[int, Sequence[MeasuredSet]],
    second: Mapping[int, Sequence[MeasuredSet]],
    seeds: Sequence[int],
    others: Sequence[int],
    part: int,
    *,
    paired: bool = True,
) -> Number:
    """The mean distance of `first` with some seeds after a part, in units of that of `second` with others; the interval is over seeds."""
    rows = [np.array([of[seed][part].distances.mean() for seed in each]) for of, each in ((first, seeds), (second, others))]
    return intervals.over_seeds(intervals.ratio_of_means, *rows, paired=paired)


def _untrained_claim(config: Config, untrained: MeasuredSet) -> Claim:
    statement = f"{UNTRAINED}: {FRECHET}"
    limits, number = config.thresholds, untrained.frechet
    return verdicts.against(limits, config.seeds[0], "untrained-frechet", statement, number, ">=", n=untrained.n, kind="control")


def _draws(config: Config, model: Model, progress: Progress) -> Draws:
    def resolved(schedule: Schedule, steps: int) -> Level:
        return drawing_options.levels("resolved", (None, None), steps, dataclasses.replace(model, schedule=schedule))

    return Draws(model, config.sampling_steps, config.together, progress, samplers.unipc(2), resolved)


def _measured(
    config: Config, judge: DigitsJudge, draw: Draws, progress: Progress, title: str, seed: int, params: Any
) -> tuple[MeasuredSet, np.ndarray]:
    with progress.phase("sample", seed=seed):
        images = draw(f"{title}, seed {seed}", jax.device_get(params), config.samples)
    with progress.phase("judge", seed=seed):
        return judge.measure(images, image_draws.labels(config.samples, digits.CLASSES)), images


def _figures(config: Config, folder: RunFolder, measured: Measured, shown: Mapping[str, np.ndarray]) -> Iterator[Figure]:
    """The distance against steps, a figure for each network, and the same digits after few steps."""
    for base, file in zip(BASES, ("unet", "transformer"), strict=True):
        names = [name for name in config.names if RECIPES[name].base == base]
        if not names:
            continue
        curves = []
        for name in names:
            values = np.array([[of.frechet[0] for of in measured[name][seed]] for seed in config.seeds])
            curves.append(
                figures.Curve("plain" if name == base else name, config.parts, *(of(values, axis=0) for of in (np.mean, np.min, np.max)))
            )
        caption = f"{base}: Fréchet distance against the steps of training: means over seeds; bands reach from the least to the largest."
        yield figures.curves(curves, folder.figure(file), caption, x_label="optimizer steps", y_label=FRECHET, log_x=True, log_y=True)
    rows, images = "; ".join(shown), np.concatenate(list(shown.values()))
    caption = f"The same digits after {config.early} steps, a row for each recipe: {rows}."
    yield figures.grid(images, config.shown, folder.figure("digits"), caption, rows=list(shown))


def _tables(config: Config, folder: RunFolder, measured: Measured, right: Number | None) -> Iterator[Table]:
    """Every number of every set, the ratios after every part, and what a step costs."""
    columns = ("recipe", *(f"{steps} steps" for steps in config.parts))
    parts = range(len(config.parts))
    rows: list[tuple[Cell, ...]] = [
        (name, *(ratio(measured[name], measured[RECIPES[name].base], config.seeds, config.seeds, part) for part in parts))
        for name in config.names
        if name not in BASES
    ]
    title = "Fréchet distances in multiples of those of plain training, means over seeds"
    yield Table(title, columns, tuple(rows), "An interval is over seeds.", main=True)
    yield Table(
        "What a step costs", ("recipe", "parameters", "operations of a gradient, in those of plain training"), tuple(_costs(config, folder))
    )
    if right is not None:
        yield Table(
            "The classifier that REPA aligns with",
            ("share of held-out digits that it names", "steps"),
            ((right, config.transformer.classifier_steps),),
        )
    every = tuple(
        (name, seed, steps, of.frechet, of.accuracy, of.precision, of.recall)
        for name, seeds in measured.items()
        for seed, sets in seeds.items()
        for steps, of in zip(config.parts, sets, strict=True)
    )
    columns = ("recipe", "seed", "steps", "Fréchet / floor", "judge", "precision", "recall")
    yield Table(f"Every set of {config.samples:,} samples against the held-out digits", columns, every)


def _costs(config: Config, folder: RunFolder) -> Iterator[tuple[str, int, float]]:
    """Of each recipe the parameters of the network that draws, and the operations of a gradient in those of its plain training."""
    found = {name: _cost(config, folder, name) for name in config.names}
    for name, (parameters, operations) in found.items():
        yield name, parameters, operations / found[RECIPES[name].base][1]


def _cost(config: Config, folder: RunFolder, name: str) -> tuple[int, float]:
    """(parameters, operations of a gradient)."""
    model = networks.model(config, name)
    params = jax.eval_shape(networks.init(config, name, model), jax.random.key(0))
    batch = jax.tree.map(lambda leaf: leaf[: config.batch], image_training.digits_batch(digits.load()))
    loss = networks.loss(config, name, model, train.features(config, folder, name))
    gradient = jax.value_and_grad(loss, has_aux=True)
    return count(networks.drawn_from(name, params)), accounting.xla_flops(gradient, params, jax.random.key(0), batch)


def _accuracy(config: Config, folder: RunFolder, judge: DigitsJudge) -> Number | None:
    if ALIGNED not in config.names:
        return None
    split = judge.split
    return intervals.share(networks.accuracy(config, train.classifier(config, folder), split.held_out_images, split.held_out_labels))
