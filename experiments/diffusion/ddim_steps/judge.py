"""How the ddim-steps experiment judges: equivalence tests of paired sets, wall-clock of interleaved draws, controls, and what it shows."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.diffusion import equivalence, image_draws
from experiments.diffusion.ddim_steps import draw
from experiments.diffusion.ddim_steps.config import Config, model
from experiments.diffusion.ddim_steps.draw import DDIM, DDPM, DrawMethod, MethodDraws, Set
from experiments.diffusion.image_judge import DigitsJudge, MeasuredSet
from gendiff.commands.images import image_training
from gendiff.core.types import Params
from gendiff.runs.progress import Progress
from gendiff.runs.registry import Outcome
from gendiff.runs.reporting import figures, intervals, verdicts
from gendiff.runs.reporting.results import Figure, Table
from gendiff.runs.reporting.verdicts import Claim, Kind, Number, Relation
from gendiff.runs.run_folder import RunFolder

Measured = Mapping[Set, tuple[MeasuredSet, float]]
"""Every set's measures, and the seconds that one call took."""


def evaluate(config: Config, folder: RunFolder, progress: Progress) -> Outcome:
    """Claims, figures and the table of every set, from the checkpoints of the folder and the sets that it keeps."""
    network, digits_judge = model(config), DigitsJudge(config.draws, config.draw_size)
    programs = MethodDraws(config, network, progress)
    claims: list[Claim] = []
    pictures: list[Figure] = []
    measured: dict[Set, tuple[MeasuredSet, float]] = {}
    differences: dict[str, Number] = {}
    params = {seed: image_training.averaged(network, folder, seed) for seed in config.seeds}
    for seed in config.seeds:
        wanted = draw.sets(config, seed)
        with progress.phase("sample", seed=seed):
            drawn = {each: draw.kept(config, programs, folder, each, params[seed]) for each in wanted}
        with progress.phase("judge", seed=seed), progress.task(f"judge seed {seed}", len(wanted)) as task:
            for done, (each, (images, seconds)) in enumerate(drawn.items(), 1):
                labels = image_draws.labels(len(images), network.num_classes)
                measured[each] = digits_judge.measure(images, labels), seconds
                task.update(done)
        sets = {each: images for each, (images, _) in drawn.items()}
        with progress.phase("equivalence", seed=seed):
            of_seed, compared = _compare(config, seed, sets, digits_judge.split.held_out_images)
        claims += of_seed
        differences |= {f"seed {seed}, {id}": number for id, number in compared.items()}
        if not pictures:
            pictures.append(_picture(config, folder, sets, seed))
    with progress.phase("time"):
        of_time, timings = _speed(config, programs, params[config.seeds[0]])
    tables = _tables(config, measured, differences)
    return Outcome((*claims, *of_time), (*pictures, *plots(config, folder, tables)), (*tables, timings))


def plots(config: Config, folder: RunFolder, tables: Sequence[Table]) -> list[Figure]:
    """Fréchet distance in floors against evaluations: the two chains, and the samplers of few steps."""
    all_steps, margin = max(config.steps), config.thresholds.equivalence
    values: dict[str, dict[int, list[float]]] = {}
    rows: tuple[Any, ...] = tables[0].rows
    for name, _, _, evaluations, frechet, *_ in rows:
        method = name.removesuffix(" steps").split(", ", 1)[1].rsplit(", ", 1)[0]
        values.setdefault(method, {}).setdefault(evaluations, []).append(frechet[0])
    level = np.full(2, np.mean(values[DDIM.name][all_steps]))
    name = f"DDIM in {all_steps:,} steps ± {100 * margin:g} %"
    labels: dict[str, Any] = {"x_label": "evaluations of the network per sample", "y_label": "Fréchet distance, in floors"}

    def plot(file: str, caption: str, methods: list[str], most: int) -> Figure:
        curves = []
        for method in methods:
            counts = sorted(count for count in values[method] if count <= most)
            means, least, largest = ([reduce(values[method][count]) for count in counts] for reduce in (np.mean, min, max))
            curves.append(figures.Curve(method, counts, means, least, largest))
        ends = [min(min(curve.x) for curve in curves), max(max(curve.x) for curve in curves)]
        curves.append(figures.Curve(name, ends, level, level * (1 - margin), level * (1 + margin), reference=True))
        return figures.curves(curves, folder.figure(file), caption, log_x=True, log_y=True, **labels)

    of_chains = "Fréchet distance of DDPM and DDIM against evaluations; bands reach from the least to the largest seed."
    of_few = "The same for samplers made for few steps, each at most at its budget of evaluations."
    return [plot("steps", of_chains, [DDPM.name, DDIM.name], all_steps), plot("few_steps", of_few, [*config.few], max(config.budgets))]


def _compare(config: Config, seed: int, drawn: Mapping[Set, np.ndarray], held_out: np.ndarray) -> tuple[list[Claim], dict[str, Number]]:
    """Claims of the size of every d, and each d by the claim's id. drawn: images, which are rounded to the data's levels.

    Equivalence is a claim of 20 and 50 steps; a test that can pass finds it at 250, and one that can fail does not at few.
    """
    same, coarse, chain, all_steps, of = config.same, config.coarse, config.coarse_chain, max(config.steps), functools.partial(Set, seed)
    ddim, ddpm = of(DDIM, all_steps), of(DDPM, all_steps)
    pairs: list[tuple[str, str, Set, Set, Kind]] = [
        *((f"ddim-{n}-equivalent", f"DDIM, {n} against", of(DDIM, n), ddim, "claim") for n in config.equivalent),
        *((f"ddim-{n}-equivalent-to-ddpm", f"DDIM, {n} steps against DDPM,", of(DDIM, n), ddpm, "claim") for n in config.equivalent),
        (f"ddim-{same}-equivalent", f"positive control, to be found equal: DDIM, {same} against", of(DDIM, same), ddim, "control"),
        (f"ddim-{coarse}-different", f"DDIM, {coarse} against", of(DDIM, coarse), ddim, "control"),
        (f"ddpm-{chain}-different", f"DDPM, {chain} against", of(DDPM, chain), ddpm, "control"),
    ]
    used = dict.fromkeys(each for _, _, *pair, _ in pairs for each in pair)
    distances = equivalence.of_digits({each: drawn[each] for each in used}, held_out, resamples=config.resamples)
    about = f"{all_steps:,} steps: relative difference of Fréchet distances, 90 % interval (two one-sided tests at 0.05)"
    claim = functools.partial(verdicts.against, config.thresholds, seed, threshold="equivalence", n=config.samples)
    claims, differences = [], {}
    for id, statement, few, many, kind in pairs:
        differences[id] = equivalence.difference(distances[few], distances[many])
        relation: Relation = ">=" if id.endswith("different") else "<="
        claims.append(claim(id, f"{statement} {about}", verdicts.away(differences[id]), relation, kind=kind))
    return claims, differences


def _speed(config: Config, programs: MethodDraws, params: Params) -> tuple[list[Claim], Table]:
    """Wall-clock of `together` samples: DDPM in all steps and, as a control, in as few as DDIM, each against DDIM in few steps."""
    most, few = max(config.steps), config.fast
    timed = ((DDPM, most), (DDIM, few), (DDPM, few))
    seconds: dict[tuple[DrawMethod, int], list[float]] = {each: [] for each in timed}
    for pair in range(config.pairs):
        for method, steps in timed:
            title = f"time {method.name} in {steps} steps, {pair + 1} of {config.pairs}"
            seconds[method, steps].append(programs.draw(title, params, method, steps, config.together)[1])

    def claim(id: str, steps: int, relation: Relation, kind: Kind) -> Claim:
        number = intervals.interval(_ratio_of_medians, seconds[DDPM, steps], seconds[DDIM, few], paired=True)
        statement = f"DDPM in {steps:,} steps over DDIM in {few} steps, median seconds for {config.together} samples"
        return verdicts.against(config.thresholds, None, id, statement, number, relation, "speedup", n=config.pairs, kind=kind)

    claims = [claim("speedup", most, ">=", "claim"), claim("speedup-not-of-ddim", few, "<=", "control")]
    rows = tuple((f"{method.name}, {n} steps", float(np.median(of)), min(of), max(of)) for (method, n), of in seconds.items())
    title = f"Seconds for {config.together} samples in one call, {config.pairs} calls each in turn"
    return claims, Table(title, ("draw", "median", "least", "largest"), rows)


def _ratio_of_medians(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.median(first) / np.median(second))


def _picture(config: Config, folder: RunFolder, drawn: Mapping[Set, np.ndarray], seed: int) -> Figure:
    """Samples 0 … 9 of one seed by DDIM, one number of steps per row."""
    shown = [steps for steps in sorted(config.steps) if steps in draw.SHOWN]
    images = np.concatenate([drawn[Set(seed, DDIM, steps)][:10] for steps in shown])
    caption = f"The same ten samples by DDIM, one row for each number of steps: {', '.join(f'{steps:,}' for steps in shown)}."
    rows = [f"{steps:,} steps" for steps in shown]
    return figures.grid(images, 10, folder.figure("same_samples"), caption, rows=rows)


def _tables(config: Config, measured: Measured, differences: Mapping[str, Number]) -> tuple[Table, ...]:
    """Every number of every set, and every difference with its sign."""
    columns = ("set", "grid", "steps", "evaluations", "Fréchet / floor", "judge", "precision", "recall", f"seconds for {config.together}")
    rows = tuple(
        (at.name, at.method.grid, at.steps, at.evaluations, of.frechet, of.accuracy, of.precision, of.recall, round(seconds, 3))
        for at, (of, seconds) in measured.items()
    )
    title = "Fréchet distances compared, paired by sample: (F - F of all steps) / F of all steps, 90 % intervals"
    return (
        Table(f"Every set of {config.samples:,} samples against the held-out digits", columns, rows),
        Table(title, ("test", "d"), tuple(differences.items())),
    )
