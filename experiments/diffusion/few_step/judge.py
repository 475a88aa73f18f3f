"""How the few-step experiment judges: Fréchet distances paired by sample, what each method costs, controls, and what it shows."""

import functools
from collections.abc import Mapping

import numpy as np

from experiments.diffusion import equivalence, few_evaluations, image_draws, students
from experiments.diffusion.few_step import draw, train
from experiments.diffusion.few_step.config import Config, model
from experiments.diffusion.few_step.draw import CUT, DDIM, FIXED, LEARNED, UNTRAINED, MethodDraws, Set
from experiments.diffusion.image_judge import DigitsJudge, MeasuredSet
from experiments.diffusion.students import STUDENTS
from gendiff.commands.images import image_training
from gendiff.diffusion.learned_grid import LearnedGrid
from gendiff.runs.progress import Progress
from gendiff.runs.registry import Outcome
from gendiff.runs.reporting import figures, verdicts
from gendiff.runs.reporting.results import Figure, Table
from gendiff.runs.reporting.verdicts import Claim
from gendiff.runs.run_folder import RunFolder

Measured = Mapping[Set, tuple[MeasuredSet, float]]
"""Every set's measures, and the seconds that drawing it took."""


def evaluate(config: Config, folder: RunFolder, progress: Progress) -> Outcome:
    """Claims, figures and the tables, from the checkpoints of the folder."""
    network, judge = model(config), DigitsJudge(config.draws, config.draw_size)
    programs = MethodDraws(config, folder, progress)
    claims: list[Claim] = []
    pictures: list[Figure] = []
    measured: dict[Set, tuple[MeasuredSet, float]] = {}
    learned: dict[Set, LearnedGrid] = {}
    for seed in config.seeds:
        teacher, drawn = image_training.averaged(network, folder, seed), {}
        for each in draw.sets(config, seed):
            if each.method in LEARNED:
                with progress.phase("learn levels", seed=seed):
                    learned[each] = draw.learned(config, each.method, teacher, each.evaluations)
            with progress.phase("sample", seed=seed):
                drawn[each], seconds = programs(each, teacher, learned[each].levels if each in learned else None)
            with progress.phase("judge", seed=seed):
                labels = image_draws.labels(config.samples, network.num_classes)
                measured[each] = judge.measure(drawn[each], labels), seconds
        with progress.phase("compare", seed=seed):
            claims += _claims(config, seed, drawn, judge.split.held_out_images)
        if not pictures:
            pictures.append(_picture(config, folder, drawn, seed))
    pictures = [*_curves(config, folder, measured), *pictures]
    return Outcome(tuple(claims), tuple(pictures), tuple(_tables(config, measured, learned)))


def _claims(config: Config, seed: int, drawn: Mapping[Set, np.ndarray], held_out: np.ndarray) -> list[Claim]:
    """Equivalence of samplers, and by how much students exceed their teacher at most; the controls must."""
    of = functools.partial(Set, seed)
    equal = [of(CUT, config.certified), *(of(name, config.equal) for name in LEARNED)]
    taught = [of(name, min(config.judged, STUDENTS[name].most)) for name in config.students]
    controls = [of(DDIM, config.judged), of(UNTRAINED, config.judged)]
    reference = of(DDIM, config.reference)
    compared = {each: drawn[each] for each in (reference, *equal, *taught, *controls)}
    distances = equivalence.of_digits(compared, held_out, resamples=config.resamples)
    claim = functools.partial(verdicts.against, config.thresholds, seed, n=config.samples, figure="few_step.png")
    about = f"Fréchet distance, relative to that of DDIM in {config.reference}"
    claims = []
    for each in equal:
        number = verdicts.away(equivalence.difference(distances[each], distances[reference]))
        statement = f"{each.method}, {each.evaluations} evaluations: size of the change of the {about}, 90 % interval"
        claims.append(claim(f"{few_evaluations.word(each.method)}-equal", statement, number, "<=", "equivalence"))
    for each in taught:
        number = equivalence.difference(distances[each], distances[reference])
        statement = (
            f"{each.method}, {each.evaluations} evaluation{'s' if each.evaluations > 1 else ''}: change of the {about}, 90 % interval"
        )
        claims.append(claim(few_evaluations.word(each.method), statement, number, "<=", "student"))
    for each in controls:
        number = equivalence.difference(distances[each], distances[reference])
        statement = f"{each.method}, {each.evaluations} evaluations: change of the {about}, 90 % interval"
        claims.append(claim(f"{few_evaluations.word(each.method)}-worse", statement, number, ">=", "student", kind="control"))
    return claims


def _curves(config: Config, folder: RunFolder, measured: Measured) -> list[Figure]:
    """The Fréchet distance against the evaluations, as means over seeds: of samplers of the teacher, and of students."""
    values: dict[str, dict[float, list[float]]] = {}
    for each, (of, _) in measured.items():
        values.setdefault(each.method, {}).setdefault(each.evaluations, []).append(of.frechet[0])
    reference = f"DDIM in {config.reference}", float(np.mean(values[DDIM][config.reference]))

    def plot(file: str, caption: str, methods: list[str]) -> Figure:
        return few_evaluations.curves({method: values[method] for method in methods}, reference, folder.figure(file), caption)

    return [
        plot("few_step", "Fréchet distance of the teacher's samples against evaluations of the network per digit", [*FIXED, *LEARNED]),
        plot("students", "The same of students, with DDIM of the teacher", [DDIM, *config.students]),
    ]


def _picture(config: Config, folder: RunFolder, drawn: Mapping[Set, np.ndarray], seed: int) -> Figure:
    """Samples 0 … 9 of one seed, a row per method."""
    shown = [Set(seed, DDIM, config.reference), Set(seed, DDIM, config.judged), Set(seed, CUT, config.judged)]
    shown += [Set(seed, name, min(config.judged, STUDENTS[name].most)) for name in config.students]
    images = np.concatenate([drawn[each][:10] for each in shown])
    rows = [f"{each.method} in {each.evaluations}" for each in shown]
    return figures.grid(images, 10, folder.figure("same_samples"), f"The same ten samples, a row each: {', '.join(rows)}.", rows=rows)


def _tables(config: Config, measured: Measured, learned: Mapping[Set, LearnedGrid]) -> list[Table]:
    """Every number of every set, what the students cost, and the levels that were learned."""
    columns = ("set", "evaluations", "Fréchet / floor", "judge", "precision", "recall", "milliseconds per digit")
    rows = tuple(
        (each.name, each.evaluations, of.frechet, of.accuracy, of.precision, of.recall, round(1000 * seconds / config.samples, 3))
        for each, (of, seconds) in measured.items()
    )
    return [
        Table(f"Every set of {config.samples:,} samples against the held-out digits", columns, rows),
        students.costs(train.teaching(config), config.students),
        few_evaluations.learned_levels((each.name, each.evaluations, found) for each, found in learned.items()),
    ]
