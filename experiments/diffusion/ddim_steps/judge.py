"""How the ddim-steps experiment judges: equivalence tests of paired sets, wall-clock of interleaved draws, and controls."""

import functools

import numpy as np

from experiments.diffusion import image_draws, image_judge, image_training
from experiments.diffusion.ddim_steps import draw, equivalence, figures
from experiments.diffusion.ddim_steps.config import Config
from experiments.diffusion.ddim_steps.draw import DDIM, DDPM, DrawMethod, Kept, MethodDraws, Set
from experiments.diffusion.ddim_steps.equivalence import Difference
from experiments.diffusion.ddim_steps.figures import Row
from experiments.diffusion.ddim_steps.train import model
from experiments.diffusion.image_judge import SEED, DigitsJudge
from experiments.framework.progress import Progress
from experiments.framework.registry import Outcome
from experiments.framework.run_folder import RunFolder
from experiments.reporting import verdicts
from experiments.reporting.results import Cell, Table
from experiments.reporting.verdicts import Claim, Kind, Relation
from gendiff.core.types import Params
from gendiff.data import digits, scaling
from gendiff.metrics import features


def evaluate(config: Config, folder: RunFolder, progress: Progress) -> Outcome:
    """Claims, figures and the table of every set, from the checkpoints of the folder and the sets that it keeps."""
    network = model(config)
    programs = MethodDraws(config, network, progress)
    kept = Kept(config, programs, folder)
    digits_judge = DigitsJudge(config.draws, config.draw_size)
    claims: list[Claim] = []
    rows: list[Row] = []
    differences: dict[tuple[int, str], Difference] = {}
    params: dict[int, Params] = {}
    for seed in config.seeds:
        params[seed] = image_training.averaged(network, folder, seed)
        wanted = draw.sets(config, seed)
        with progress.phase("sample", seed=seed):
            drawn = {each: kept(each, params[seed]) for each in wanted}
        with progress.phase("judge", seed=seed), progress.task(f"judge seed {seed}", len(wanted)) as task:
            for each, (images, seconds) in drawn.items():
                labels = image_draws.labels(len(images), network.num_classes)
                rows.append(Row(each, digits_judge.measure(images, labels), seconds))
                task.update(len([row for row in rows if row.set.seed == seed]))
        with progress.phase("equivalence", seed=seed):
            compared = compare(config, seed, {each: images for each, (images, _) in drawn.items()}, digits_judge.split.held_out_images)
        differences |= {(seed, id): of for id, of in compared.items()}
        claims += claims_of_seed(config, seed, compared)
        if seed == config.seeds[0]:
            pictures = figures.pictures(config, folder, {each: images for each, (images, _) in drawn.items()}, seed)
    with progress.phase("time"):
        of_time, timings = speed(config, programs, params[config.seeds[0]])
    pictures += figures.plots(config, folder, rows)
    return Outcome((*claims, *of_time), tuple(pictures), (*figures.tables(config, rows, differences), timings))


def compare(config: Config, seed: int, drawn: dict[Set, np.ndarray], held_out: np.ndarray) -> dict[str, Difference]:
    """D of every comparison by its id. drawn: images, which are rounded to the data's levels."""
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
    claim, control = (functools.partial(_claim, config, seed, compared, kind) for kind in ("claim", "control"))
    same, coarse, chain = config.same, config.coarse, config.coarse_chain
    return [
        *(claim(f"ddim-{n}-equivalent", f"DDIM, {n} against {most}: {about}", "<=") for n in config.equivalent),
        *(claim(f"ddim-{n}-equivalent-to-ddpm", f"DDIM, {n} steps against DDPM, {most}: {about}", "<=") for n in config.equivalent),
        control(f"ddim-{same}-equivalent", f"positive control, to be found equal: DDIM, {same} against {most}: {about}", "<="),
        control(f"ddim-{coarse}-different", f"DDIM, {coarse} against {most}: {about}", ">="),
        control(f"ddpm-{chain}-different", f"DDPM, {chain} against {most}: {about}", ">="),
    ]


def speed(config: Config, programs: MethodDraws, params: Params) -> tuple[list[Claim], Table]:
    """Wall-clock of `together` samples: DDPM in all steps and, as a control, in as few as DDIM, each against DDIM in few steps."""
    most, few = max(config.steps), config.fast
    timed = ((DDPM, most), (DDIM, few), (DDPM, few))
    seconds: dict[tuple[DrawMethod, int], list[float]] = {each: [] for each in timed}
    for pair in range(config.pairs):
        for method, steps in timed:
            title = f"time {method.name} in {steps} steps, {pair + 1} of {config.pairs}"
            seconds[method, steps].append(programs.draw(title, params, method, steps, config.together)[1])
    about = f"in {few} steps, median seconds for {config.together} samples"
    claims = [
        _ratio(config, "speedup", f"DDPM in {most:,} steps over DDIM {about}", seconds[DDPM, most], seconds[DDIM, few], ">=", "claim"),
        _ratio(
            config, "speedup-not-of-ddim", f"DDPM in {few} steps over DDIM {about}", seconds[DDPM, few], seconds[DDIM, few], "<=", "control"
        ),
    ]
    rows: list[tuple[Cell, ...]] = []
    for method, steps in timed:
        of = seconds[method, steps]
        rows.append((f"{method.name}, {steps} steps", float(np.median(of)), min(of), max(of)))
    title = f"Seconds for {config.together} samples in one call, {config.pairs} calls each in turn"
    return claims, Table(title, ("draw", "median", "least", "largest"), tuple(rows))


def _claim(config: Config, seed: int, compared: dict[str, Difference], kind: Kind, id: str, statement: str, relation: Relation) -> Claim:
    return verdicts.against(config.thresholds, seed, id, statement, compared[id].size, relation, "equivalence", n=config.samples, kind=kind)


def _ratio(config: Config, id: str, statement: str, slow: list[float], fast: list[float], relation: Relation, kind: Kind) -> Claim:
    number = image_judge.interval(_ratio_of_medians, slow, fast, paired=True)
    return verdicts.against(config.thresholds, None, id, statement, number, relation, "speedup", n=config.pairs, kind=kind)


def _ratio_of_medians(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.median(first) / np.median(second))
