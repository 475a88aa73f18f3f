"""Every set of pictures of one network, drawn and measured."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from experiments.diffusion.few_step_text import draw, subjects
from experiments.diffusion.few_step_text.config import Config
from experiments.diffusion.few_step_text.draw import MethodDraws, Set
from experiments.diffusion.few_step_text.methods import LEARNED
from experiments.diffusion.few_step_text.subjects import Subject
from gendiff.diffusion.learned_grid import LearnedGrid
from gendiff.metrics import frechet, precision_recall
from gendiff.runs.progress import Progress
from gendiff.runs.reporting.intervals import SEED, interval, ratio_of_means
from gendiff.runs.reporting.verdicts import Number
from gendiff.runs.run_folder import RunFolder


@dataclass(frozen=True, eq=False)
class Answer:
    """One set. frechet: in floors, a floor being the distance of real pictures. hits: (n,) 1 where a picture shows its caption.

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
    every: Mapping[Set, Answer]
    learned: Mapping[int, LearnedGrid]

    def of(self, method: str, steps: int) -> list[Answer]:
        """Of each seed."""
        return [answer for each, answer in self.every.items() if (each.method, each.steps) == (method, steps)]

    def hits(self, method: str, steps: int) -> np.ndarray:
        """(n,) of each caption the share of its pictures, one per seed, that show it."""
        return np.mean([answer.hits for answer in self.of(method, steps)], axis=0)

    def evaluations(self, method: str, steps: int) -> float:
        """Per picture, a mean over the seeds."""
        return float(np.mean([answer.evaluations for answer in self.of(method, steps)]))


def answers(config: Config, network: str, folder: RunFolder, progress: Progress) -> Answers:
    """Draw and measure every set of one network, whose students are in the folder."""
    with progress.phase("open"):
        subject = subjects.opened(config, network, progress)
        programs = MethodDraws(config, subject, folder, progress)
    with progress.phase("learn levels"):
        learned = {steps: draw.learned(config, subject, steps) for steps in config.learned}
    options = {"count": config.subsets, "size": min(config.subset, len(subject.floor)), "seed": SEED}
    floor, every = frechet.over_subsets(subject.real, subject.floor, **options), {}
    for seed in config.seeds:
        for each in draw.sets(config, network, seed):
            with progress.phase("sample", seed=seed):
                drawn = programs(each, learned[each.steps].levels if each.method == LEARNED else None)
            with progress.phase("judge", seed=seed):
                points = subjects.measured(config.features, drawn.pictures)
                every[each] = Answer(
                    frechet=interval(ratio_of_means, frechet.over_subsets(subject.real, points, **options), floor),
                    recall=precision_recall.measure(subject.real, points).recall,
                    hits=subject.adherence(drawn.pictures),
                    evaluations=drawn.evaluations,
                    seconds=drawn.seconds,
                    points=points,
                    shown=drawn.pictures[subject.shown(config.shown)],
                )
    return Answers(subject, every, learned)
