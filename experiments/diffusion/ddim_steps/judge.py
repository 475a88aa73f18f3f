"""How the ddim-steps experiment judges: equivalence tests of paired sets, wall-clock of interleaved draws, controls, and what it shows."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from experiments.diffusion import image_draws, image_judge, image_training
from experiments.diffusion.ddim_steps import draw, equivalence
from experiments.diffusion.ddim_steps.config import Config, model
from experiments.diffusion.ddim_steps.draw import DDIM, DDPM, FEW, DrawMethod, Kept, MethodDraws, Set
from experiments.diffusion.ddim_steps.equivalence import Difference
from experiments.diffusion.image_judge import SEED, DigitsJudge, MeasuredSet
from experiments.framework.progress import Progress
from experiments.framework.registry import Outcome
from experiments.framework.run_folder import RunFolder
from experiments.reporting import figures, verdicts
from experiments.reporting.results import Figure, Table
from experiments.reporting.verdicts import Claim
from gendiff.core.types import Params
from gendiff.data import digits, scaling
from gendiff.metrics import features

SHOWN = (5, 10, 20, 50, 1000)
"""Steps of the rows of the picture, as far as they were drawn."""


@dataclass(frozen=True)
class Row:
    """One set, its measures, and the seconds that one call took."""

    set: Set
    measured: MeasuredSet
    seconds: float


def evaluate(config: Config, folder: RunFolder, progress: Progress) -> Outcome:
    """Claims, figures and the table of every set, from the checkpoints of the folder and the sets that it keeps."""
    network = model(config)
    programs = MethodDraws(config, network, progress)
    kept = Kept(config, programs, folder)
    digits_judge = DigitsJudge(config.draws, config.draw_size)
    claims: list[Claim] = []
    rows: list[Row] = []
    differences: dict[tuple[int, str], Difference] = {}
    params = {seed: image_training.averaged(network, folder, seed) for seed in config.seeds}
    for seed in config.seeds:
        wanted = draw.sets(config, seed)
        with progress.phase("sample", seed=seed):
            drawn = {each: kept(each, params[seed]) for each in wanted}
        with progress.phase("judge", seed=seed), progress.task(f"judge seed {seed}", len(wanted)) as task:
            for done, (each, (images, seconds)) in enumerate(drawn.items(), 1):
                labels = image_draws.labels(len(images), network.num_classes)
                rows.append(Row(each, digits_judge.measure(images, labels), seconds))
                task.update(done)
        sets = {each: images for each, (images, _) in drawn.items()}
        with progress.phase("equivalence", seed=seed):
            compared = compare(config, seed, sets, digits_judge.split.held_out_images)
        differences |= {(seed, id): of for id, of in compared.items()}
        claims += claims_of_seed(config, seed, compared)
        if seed == config.seeds[0]:
            pictures = [_picture(config, folder, sets, seed)]
    with progress.phase("time"):
        of_time, timings = _speed(config, programs, params[config.seeds[0]])
    pictures += _plots(config, folder, rows)
    return Outcome((*claims, *of_time), tuple(pictures), (*_tables(config, rows, differences), timings))


def compare(config: Config, seed: int, drawn: dict[Set, np.ndarray], held_out: np.ndarray) -> dict[str, Difference]:
    """The d of every comparison by its id. drawn: images, which are rounded to the data's levels."""
    all_steps, of = max(config.steps), functools.partial(Set, seed)
    pairs = {f"ddim-{n}-equivalent": (of(DDIM, n), of(DDIM, all_steps)) for n in config.equivalent}
    pairs |= {f"ddim-{n}-equivalent-to-ddpm": (of(DDIM, n), of(DDPM, all_steps)) for n in config.equivalent}
    pairs |= {
        f"ddim-{config.same}-equivalent": (of(DDIM, config.same), of(DDIM, all_steps)),
        f"ddim-{config.coarse}-different": (of(DDIM, config.coarse), of(DDIM, all_steps)),
        f"ddpm-{config.coarse_chain}-different": (of(DDPM, config.coarse_chain), of(DDPM, all_steps)),
    }
    used = dict.fromkeys(each for pair in pairs.values() for each in pair)
    points = {each.name: features.pixels(np.asarray(scaling.round_to_levels(drawn[each], digits.LEVELS))) for each in used}
    distances = equivalence.resampled(points, features.pixels(held_out), resamples=config.resamples, seed=SEED)
    return {id: equivalence.difference(distances[few.name], distances[many.name]) for id, (few, many) in pairs.items()}


def claims_of_seed(config: Config, seed: int, compared: dict[str, Difference]) -> list[Claim]:
    """Equivalence is a claim of 20 and 50 steps; a test that can pass finds it at 250, and one that can fail does not at few."""
    most, about = f"{max(config.steps):,} steps", "relative difference of Fréchet distances, 90 % interval (two one-sided tests at 0.05)"

    def claim(id: str, statement: str, kind: verdicts.Kind) -> Claim:
        relation: verdicts.Relation = ">=" if id.endswith("different") else "<="
        about_it, number = f"{statement} {most}: {about}", compared[id].size
        return verdicts.against(config.thresholds, seed, id, about_it, number, relation, "equivalence", n=config.samples, kind=kind)

    same, coarse, chain = config.same, config.coarse, config.coarse_chain
    return [
        *(claim(f"ddim-{n}-equivalent", f"DDIM, {n} against", "claim") for n in config.equivalent),
        *(claim(f"ddim-{n}-equivalent-to-ddpm", f"DDIM, {n} steps against DDPM,", "claim") for n in config.equivalent),
        claim(f"ddim-{same}-equivalent", f"positive control, to be found equal: DDIM, {same} against", "control"),
        claim(f"ddim-{coarse}-different", f"DDIM, {coarse} against", "control"),
        claim(f"ddpm-{chain}-different", f"DDPM, {chain} against", "control"),
    ]


def _speed(config: Config, programs: MethodDraws, params: Params) -> tuple[list[Claim], Table]:
    """Wall-clock of `together` samples: DDPM in all steps and, as a control, in as few as DDIM, each against DDIM in few steps."""
    most, few = max(config.steps), config.fast
    timed = ((DDPM, most), (DDIM, few), (DDPM, few))
    seconds: dict[tuple[DrawMethod, int], list[float]] = {each: [] for each in timed}
    for pair in range(config.pairs):
        for method, steps in timed:
            title = f"time {method.name} in {steps} steps, {pair + 1} of {config.pairs}"
            seconds[method, steps].append(programs.draw(title, params, method, steps, config.together)[1])

    def claim(id: str, steps: int, count: str, relation: verdicts.Relation, kind: verdicts.Kind) -> Claim:
        number = image_judge.interval(_ratio_of_medians, seconds[DDPM, steps], seconds[DDIM, few], paired=True)
        statement = f"DDPM in {count} steps over DDIM in {few} steps, median seconds for {config.together} samples"
        return verdicts.against(config.thresholds, None, id, statement, number, relation, "speedup", n=config.pairs, kind=kind)

    claims = [claim("speedup", most, f"{most:,}", ">=", "claim"), claim("speedup-not-of-ddim", few, f"{few}", "<=", "control")]
    rows = tuple((f"{method.name}, {n} steps", float(np.median(of)), min(of), max(of)) for (method, n), of in seconds.items())
    title = f"Seconds for {config.together} samples in one call, {config.pairs} calls each in turn"
    return claims, Table(title, ("draw", "median", "least", "largest"), rows)


def _ratio_of_medians(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.median(first) / np.median(second))


def _picture(config: Config, folder: RunFolder, drawn: Mapping[Set, np.ndarray], seed: int) -> Figure:
    """Samples 0 … 9 of one seed by DDIM, one number of steps per row."""
    shown = [steps for steps in sorted(config.steps) if steps in SHOWN]
    caption = f"The same ten samples by DDIM, one row for each number of steps: {', '.join(f'{steps:,}' for steps in shown)}."
    images = np.concatenate([drawn[Set(seed, DDIM, steps)][:10] for steps in shown])
    return figures.grid(images, 10, folder.figure("same_samples"), caption)


def _plots(config: Config, folder: RunFolder, rows: Sequence[Row]) -> list[Figure]:
    """Fréchet distance in floors against evaluations: the two chains, and the samplers of few steps."""
    all_steps, margin = max(config.steps), config.thresholds.equivalence
    reference = np.mean([row.measured.frechet[0] for row in rows if row.set.method == DDIM and row.set.steps == all_steps])
    options: Any = {
        "x_label": "evaluations of the network per sample",
        "y_label": "Fréchet distance, in floors",
        "log_x": True,
        "log_y": True,
    }
    name, few = f"DDIM in {all_steps:,} steps ± {100 * margin:g} %", [FEW[name] for name in config.few]
    of_chains = "Fréchet distance of DDPM and DDIM against evaluations; bands reach from the least to the largest seed."
    of_few = "The same for samplers made for few steps, each at most at its budget of evaluations."
    shown = []
    for file, caption, methods, most in (
        ("steps", of_chains, [DDPM, DDIM], all_steps),
        ("few_steps", of_few, few, max(config.budgets)),
    ):
        curves = []
        for method in methods:
            of_method = [row for row in rows if row.set.method == method and row.set.evaluations <= most]
            evaluations = np.array(sorted({row.set.evaluations for row in of_method}))
            values = [[row.measured.frechet[0] for row in of_method if row.set.evaluations == count] for count in evaluations]
            over_seeds = (np.array([reduce(each) for each in values]) for reduce in (np.mean, np.min, np.max))
            curves.append(figures.Curve(method.name, evaluations, *over_seeds))
        ends = np.array([min(curve.x.min() for curve in curves), max(curve.x.max() for curve in curves)], np.float64)
        level = np.full(2, reference)
        band = figures.Curve(name, ends, level, level * (1 - margin), level * (1 + margin))
        shown.append(figures.curves([*curves, band], folder.figure(file), caption, **options))
    return shown


def _tables(config: Config, rows: Sequence[Row], differences: Mapping[tuple[int, str], Difference]) -> tuple[Table, ...]:
    """Every number of every set, and every difference with its sign."""
    columns = ("set", "grid", "steps", "evaluations", "Fréchet / floor", "judge", "precision", "recall", f"seconds for {config.together}")
    lines = []
    for row in rows:
        of, at = row.measured, row.set
        about = (at.name, at.method.grid, at.steps, at.evaluations)
        lines.append((*about, of.frechet, of.accuracy, of.precision, of.recall, round(row.seconds, 3)))
    signed = tuple((f"seed {seed}, {id}", (of.value, of.low, of.high)) for (seed, id), of in differences.items())
    return (
        Table(f"Every set of {config.samples:,} samples against the held-out digits", columns, tuple(lines)),
        Table("Fréchet distances compared, paired by sample: (F - F of all steps) / F of all steps, 90 % intervals", ("test", "d"), signed),
    )
