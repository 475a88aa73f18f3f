"""Every set of pictures of one network, what is measured of it, and what is shown: curves against evaluations, and the
same pictures.
"""

import functools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from experiments.diffusion import equivalence, few_evaluations, students
from experiments.diffusion.few_step_text import draw, subjects
from experiments.diffusion.few_step_text.config import EMOJI, NETWORKS, Config
from experiments.diffusion.few_step_text.draw import MethodDraws, Set
from experiments.diffusion.few_step_text.methods import (
    DDIM,
    GUIDED,
    GUIDED_DDIM,
    GUIDED_MULTISTEP,
    LEARNED,
    SAVING,
    UNIPC,
    UNTRAINED,
)
from experiments.diffusion.few_step_text.students import teaching
from experiments.diffusion.few_step_text.subjects import ADHERES, Subject
from experiments.diffusion.students import METHODS as STUDENTS
from experiments.diffusion.students import REFLOW
from gendiff.data import emoji
from gendiff.diffusion.learned.learned_grid import LearnedGrid
from gendiff.metrics import frechet, precision_recall, subsampling
from gendiff.runs.progress import Progress
from gendiff.runs.reporting import figures, intervals, verdicts
from gendiff.runs.reporting.intervals import SEED
from gendiff.runs.reporting.results import Figure, Table
from gendiff.runs.reporting.verdicts import Number
from gendiff.runs.run_folder import RunFolder
from gendiff.runs.study import Measured, Measurements

COARSE, NOT_DISTILLED, ONE_STEP, MEAN = (
    "{}, coarse",
    "DDIM, not distilled",
    "guidance in the fewest steps",
    "the mean of real pictures",
)
"""What is compared beside the methods."""
FILES = {
    "unguided": (DDIM, UNIPC, LEARNED),
    "guided": (GUIDED_DDIM, GUIDED, GUIDED_MULTISTEP, *SAVING),
    "students": (GUIDED_DDIM, DDIM, *STUDENTS),
    "adherence": (UNIPC, GUIDED_DDIM, GUIDED, GUIDED_MULTISTEP, *SAVING, REFLOW),
}
"""The methods of each figure of curves."""


@dataclass(frozen=True, eq=False)
class Answer:
    """One set. frechet: in floors, a floor being the distance of real pictures. hits: (n,) 1 where a picture shows its
    caption.

    evaluations, seconds: per picture. points: (n, d) features. shown: the pictures in figures.
    """

    frechet: Number
    recall: float
    hits: np.ndarray
    evaluations: float
    seconds: float
    points: np.ndarray
    shown: np.ndarray


@dataclass(frozen=True, eq=False)
class Answers:
    """Those of one network, by set, and the levels that were learned, by their number of steps."""

    subject: Subject
    sets: Mapping[Set, Answer]
    learned: Mapping[int, LearnedGrid]

    def by_seed(self, method: str, steps: int) -> list[Answer]:
        """Of each seed."""
        return [answer for each, answer in self.sets.items() if (each.method, each.steps) == (method, steps)]

    def hits(self, method: str, steps: int) -> np.ndarray:
        """(n,) of each caption the share of its pictures, one per seed, that show it."""
        return np.mean([answer.hits for answer in self.by_seed(method, steps)], axis=0)

    def evaluations(self, method: str, steps: int) -> float:
        """Per picture, a mean over the seeds."""
        return float(np.mean([answer.evaluations for answer in self.by_seed(method, steps)]))


def answers(config: Config, network: str, folder: RunFolder, progress: Progress) -> Answers:
    """Draw and measure every set of one network, whose students are in the folder."""
    with progress.phase("open"):
        subject = subjects.opened(config, network, progress)
        programs = MethodDraws(config, subject, folder, progress)
    with progress.phase("learn levels"):
        learned = {steps: draw.learned(config, subject, steps) for steps in config.learned}
    size = min(config.subset, config.pictures - 1, len(subject.floor) - 1)
    options: dict[str, Any] = {"count": config.subsets, "size": size, "seed": SEED}
    spread = functools.partial(subsampling.jackknifed, size=size)
    floor = spread(frechet.over_subsets(subject.real, subject.floor, **options), rows=len(subject.floor))
    sets = dict[Set, Answer]()
    for seed in config.seeds:
        for each in draw.sets(config, network, seed):
            with progress.phase("sample", seed=seed):
                samples = programs(each, learned[each.steps].levels if each.method == LEARNED else None)
            with progress.phase("judge", seed=seed):
                points = subjects.measured(config.features, samples.pictures)
                distances = spread(frechet.over_subsets(subject.real, points, **options), rows=len(points))
                sets[each] = Answer(
                    frechet=intervals.interval(intervals.ratio_of_means, distances, floor),
                    recall=precision_recall.measure(subject.real, points).recall,
                    hits=subject.adherence(samples.pictures),
                    evaluations=samples.evaluations,
                    seconds=samples.seconds,
                    points=points,
                    shown=samples.pictures[subject.example_rows(config.shown)],
                )
    return Answers(subject, sets, learned)


def measure(config: Config, folder: RunFolder, progress: Progress) -> Iterator[Measured]:
    """Every set, distances compared, adherence and learned levels of every network, and what students cost."""
    for network in config.networks:
        answered = answers(config, network, folder, progress)
        yield from _sets(config, answered)
        with progress.phase("compare"):
            yield from compare(config, answered)
        yield from adherence(config, answered)
        for steps, grid in answered.learned.items():
            measures: dict[str, Any] = {"evaluations": steps, **few_evaluations.errors(grid)}
            yield Measured(f"{network}: {LEARNED}", measures, n=config.learn_pairs, group="levels")
    yield from students.costs(teaching(config, answered.subject), config.students)  # alike for all networks


def reference_steps(config: Config) -> dict[str, int]:
    """Steps of both references, which make as many evaluations."""
    return {DDIM: config.reference, GUIDED_DDIM: config.reference // 2}


def _sets(config: Config, answered: Answers) -> Iterator[Measured]:
    """All numbers of every set; the first seed's sets of the picture with their rows in it."""
    network, steps = answered.subject.name, reference_steps(config)
    rows = [(GUIDED_DDIM, steps[GUIDED_DDIM]), (DDIM, config.judged), (UNIPC, config.judged), (LEARNED, config.judged)]
    rows += [
        (GUIDED_MULTISTEP, config.default),
        (GUIDED, config.judged),
        *((name, max(config.saving)) for name in (GUIDED, *SAVING)),
    ]
    rows += [*config.judged_at().items(), (UNTRAINED, config.judged)]
    captions = [answered.subject.captions[row] for row in answered.subject.example_rows(config.shown)]
    for each, values in answered.sets.items():
        row, arrays = (each.method, each.steps), {}
        if each.seed == config.seeds[0] and row in rows:
            label = f"{each.method}, {values.evaluations:.3g}"
            arrays = {
                "rows": [at for at, other in enumerate(rows) if other == row],
                "label": label,
                "images": values.shown,
                "asked": captions,
            }
        measures: dict[str, Any] = {
            "evaluations": round(values.evaluations, 2),
            "frechet": values.frechet,
            "recall": values.recall,
        }
        measures |= {"hits": intervals.share(values.hits), "milliseconds": round(1000 * values.seconds, 2)}
        yield Measured(
            f"{network}: {each.method}, {each.steps} steps", measures, each.seed, config.pictures, network, arrays
        )


def compare(config: Config, answered: Answers) -> Iterator[Measured]:
    """Fréchet distances of each seed against those of DDIM.

    Without guidance and with it sets are held against a DDIM of their own kind, which makes as many evaluations in
    both. A set that is closer to the real pictures than DDIM is no worse, and may all the same not be equal. DDIM in as
    few steps is a control of the sampler, and DDIM in `coarse` steps one of the test, which must be able to fail.
    Students draw without guidance and are held against guided DDIM, and so is their network without guidance in as many
    evaluations.
    """
    network, judged = answered.subject.name, config.judged
    of_kind = {
        DDIM: {
            UNIPC: (UNIPC, judged),
            LEARNED: (LEARNED, judged),
            DDIM: (DDIM, judged),
            COARSE.format(DDIM): (DDIM, config.coarse),
        },
        GUIDED_DDIM: {
            GUIDED_MULTISTEP: (GUIDED_MULTISTEP, config.default),
            GUIDED: (GUIDED, judged),
            GUIDED_DDIM: (GUIDED_DDIM, judged),
            COARSE.format(GUIDED_DDIM): (GUIDED_DDIM, config.coarse),
            UNTRAINED: (UNTRAINED, judged),
            **{name: (name, steps) for name, steps in config.judged_at().items()},
            NOT_DISTILLED: (DDIM, config.distilled),
        },
    }
    for seed in config.seeds:
        for method, others in of_kind.items():
            reference = Set(network, seed, method, reference_steps(config)[method])
            sets = {name: Set(network, seed, *other) for name, other in others.items()}
            points = {each: answered.sets[each].points for each in (reference, *sets.values())}
            distances = equivalence.resampled(points, answered.subject.real, resamples=config.resamples, seed=SEED)
            for name, each in sets.items():
                number = equivalence.difference(distances[each], distances[reference])
                measures: dict[str, Any] = {"steps": each.steps, "difference": number, "size": verdicts.away(number)}
                yield Measured(f"{network}: {name}", measures, seed, config.pictures, f"{network} compared")


def adherence(config: Config, answered: Answers) -> Iterator[Measured]:
    """Evaluations of every way to save them, and by how much less often its pictures show their caption, over all
    seeds.

    Beside it what the default of prompts loses, and what no guidance, the fewest steps and the mean of real pictures
    do.
    """
    network, steps, taught = answered.subject.name, max(config.saving), config.judged_at()
    least, blank = min(each.steps for each in answered.sets if each.method == GUIDED), answered.subject.mean
    everywhere, evaluations = answered.hits(GUIDED, steps), answered.evaluations(GUIDED, steps)

    def one(name: str, measures: Mapping[str, Any], group: str = "saving") -> Measured:
        return Measured(f"{network}: {name}", measures, None, config.pictures * len(config.seeds), f"{network} {group}")

    for name in (*SAVING, UNIPC, *taught):
        row = name, taught.get(name, steps)
        measures = {"share": answered.evaluations(*row) / evaluations, "loss": lost(everywhere, answered.hits(*row))}
        yield one(name, measures, "students" if name in taught else "saving")
    yield one(ONE_STEP, {"loss": lost(everywhere, answered.hits(GUIDED, least))})
    pictures = np.broadcast_to(blank, (config.pictures, *blank.shape))
    yield one(MEAN, {"loss": lost(everywhere, answered.subject.adherence(pictures))})
    many = answered.hits(GUIDED_DDIM, reference_steps(config)[GUIDED_DDIM])
    yield one(GUIDED_MULTISTEP, {"less": lost(many, answered.hits(GUIDED_MULTISTEP, config.default))}, "default")


def lost(hits: np.ndarray, others: np.ndarray) -> Number:
    """The share of the first less that of the others, paired by caption."""
    return intervals.interval(intervals.difference_of_means, hits, others, paired=True)


Row = tuple[str, float, float, float]
"""(method and steps, evaluations, Fréchet distance, share that shows its caption) of a seed."""


def plots(config: Config, folder: RunFolder, tables: Sequence[Table]) -> Iterator[Figure]:
    """Curves of distances and of adherence of every network, left in the folder."""
    for network in config.networks:
        table: Any = next(table for table in tables if table.title.startswith(f"{network}: every set"))
        rows = [
            (name.split(": ", 1)[1], evaluations, distance[0], hits[0])
            for name, _, evaluations, distance, _, hits, *_ in table.rows
        ]
        yield from (_curves(network, file, rows, folder) for file in FILES)


def curves(network: str, file: str, measured: Measurements, folder: RunFolder) -> Figure | None:
    """One of `plots`."""
    sets: list[tuple[str, Any]] = [
        (each.name.split(": ", 1)[1], each.measures) for each in measured if each.group == network
    ]
    rows = [(name, values["evaluations"], values["frechet"][0], values["hits"][0]) for name, values in sets]
    return _curves(network, file, rows, folder) if rows else None


def _curves(network: str, file: str, rows: Iterable[Row], folder: RunFolder) -> Figure:
    values: dict[str, dict[int, list[tuple[float, float]]]] = {}
    for name, evaluations, distance, hits in rows:
        method, steps = re.fullmatch(r"(.+), (\d+) steps", name).groups()  # type: ignore[union-attr]
        values.setdefault(method, {}).setdefault(int(steps), []).append(
            (evaluations, hits if file == "adherence" else distance)
        )
    by_evaluations = {
        method: {
            float(np.mean([count for count, _ in points])): [value for _, value in points]
            for _, points in sorted(values[method].items())
        }
        for method in FILES[file]
        if method in values
    }
    reference = DDIM if file == "unguided" else GUIDED_DDIM
    most = max(by_evaluations[reference])
    level = f"{reference} in {most:g}", float(np.mean(by_evaluations[reference][most]))
    axis: dict[str, Any] = {"measure": "share of pictures", "log_y": False} if file == "adherence" else {}
    words = (
        f"share of pictures that {ADHERES[network]},"
        if axis
        else f"Fréchet distance of pictures{' of students' * (file == 'students')}"
    )
    caption = f"{network}: {words} against evaluations of the network per picture"
    return few_evaluations.curves(by_evaluations, level, folder.figure(f"{network}_{file}"), caption, **axis)


def pictures(network: str, measured: Measurements, folder: RunFolder) -> Figure | None:
    """Some captions of the first seed, a row per method."""
    ranked = sorted(
        ((row, each.arrays) for each in measured if each.group == network for row in each.arrays.get("rows", ())),
        key=_row,
    )
    if not ranked:
        return None
    by_row, prompts = [str(values["label"]) for _, values in ranked], ranked[0][1]["asked"]
    source = f" {emoji.ATTRIBUTION}." if network == EMOJI else ""
    described = f"By row, with evaluations per picture: {'; '.join(by_row)}."
    captions = "; ".join(f"{number}: {caption}" for number, caption in enumerate(prompts, 1))
    caption = f"{network}: one caption per column, from the same noise. {described} {captions}.{source}"
    images, heads = (
        np.concatenate([values["images"] for _, values in ranked]),
        [str(number + 1) for number in range(len(prompts))],
    )
    return figures.grid(
        images, len(prompts), folder.figure(f"{network}_pictures"), caption, rows=by_row, heads=heads, colours=256
    )


def _row(ranked: tuple[int, Any]) -> int:
    return ranked[0]


TABLES = {
    **{network: (f"{network}: every set of pictures", "") for network in NETWORKS},
    **{
        f"{network} compared": (f"{network}: Fréchet distances compared, paired by picture, 90 % intervals", "")
        for network in NETWORKS
    },
    **{
        f"{network} {group}": (f"{network}: {words}, against guidance everywhere", "")
        for network in NETWORKS
        for group, words in (("saving", "ways to save evaluations under guidance"), ("students", "students"))
    },
    **{
        f"{network} default": (f"{network}: the default of prompts, against guided DDIM in many steps", "")
        for network in NETWORKS
    },
    "levels": (few_evaluations.TITLE, ""),
    "students": (students.TITLE, ""),
}
