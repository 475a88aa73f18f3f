"""What the progressive GAN gains and copies, and what a picture costs, as claims."""

import functools
from collections.abc import Iterator, Mapping

from experiments.adversarial.gan_progressive import budget, figures, sets
from experiments.adversarial.gan_progressive.budget import StepSeconds
from experiments.adversarial.gan_progressive.config import DIRECT, PROGRESSIVE, Config
from experiments.adversarial.gan_progressive.sets import FEW, MANY, OfSubject, OfTraining
from gendiff.runs.progress import Progress
from gendiff.runs.registry import Outcome
from gendiff.runs.reporting import intervals, verdicts
from gendiff.runs.reporting.verdicts import Claim
from gendiff.runs.run_folder import RunFolder


def evaluate(config: Config, folder: RunFolder, progress: Progress) -> Outcome:
    """Every claim, from the samples and networks that training left."""
    times = budget.read(folder)
    found = {subject: sets.of_subject(config, folder, subject, progress) for subject in config.subjects}
    with progress.phase("figures"):
        shown = figures.every(config, folder, found)
        explorer = figures.over_training(config, folder, found)
    return Outcome(claims(config, times, found), shown, figures.tables(config, times, found), (explorer,))


def claims(config: Config, times: StepSeconds, found: Mapping[str, OfSubject]) -> tuple[Claim, ...]:
    """Every claim, by what was found of each subject."""
    return tuple(claim for subject, of in found.items() for claim in _of_subject(config, times, subject, of))


def _of_subject(config: Config, times: StepSeconds, subject: str, of: OfSubject) -> Iterator[Claim]:
    claim = functools.partial(verdicts.against, config.thresholds, None)
    first, second = (budget.spent(config, subject, method, times)[0] for method in (PROGRESSIVE, DIRECT))
    apart = verdicts.away((first / second,) * 3, 1.0)
    statement = f"{subject}: distance from 1 of the operations of the progressive training over those of the direct one"
    yield claim(f"equal-{subject}", statement, apart, "<=", "equal", n=1)
    yield from _of_seeds(config, subject, of)
    rounds = config.rounds
    for name, what, steps in (("few", FEW, config.few), ("many", MANY, config.many)):
        statement = f"{subject}: seconds of a picture in {steps} steps of diffusion over those of the GAN's one evaluation"
        yield claim(f"{name}-{subject}", statement, sets.slower(of.seconds, what), ">=", name, n=rounds, figure="seconds.png")
    statement = f"{subject}: near-copies of training pictures themselves above those of held-out ones, a share"
    excess = intervals.interval(intervals.difference_of_means, of.floor.copied, of.real)
    yield claim(f"copied-{subject}", statement, excess, ">=", "copied", n=len(of.floor.copied), kind="control")
    statement = f"{subject}: Fréchet distance of an untrained generator over that of the progressive GAN"
    untrained = sets.ratio(of.untrained, of.trainings[PROGRESSIVE][0].last.distances)
    yield claim(f"untrained-{subject}", statement, untrained, ">=", "untrained", n=len(of.untrained), kind="control")
    statement = f"{subject}: Fréchet distance of the mean training picture over that of the progressive GAN"
    mean = sets.ratio(of.mean, of.trainings[PROGRESSIVE][0].last.distances)
    yield claim(f"mean-picture-{subject}", statement, mean, ">=", "untrained", n=len(of.mean), kind="control")


def _of_seeds(config: Config, subject: str, of: OfSubject) -> Iterator[Claim]:
    for seed, grown, direct in zip(config.seeds, of.trainings[PROGRESSIVE], of.trainings[DIRECT], strict=True):
        yield from _of_seed(config, subject, seed, of, grown, direct)


def _of_seed(config: Config, subject: str, seed: int, of: OfSubject, grown: OfTraining, direct: OfTraining) -> Iterator[Claim]:
    claim = functools.partial(verdicts.against, config.thresholds, seed, n=len(grown.last.copied))
    statement = f"{subject}: Fréchet distance of the progressive GAN over that of the direct one"
    distances = sets.ratio(grown.last.distances, direct.last.distances)
    yield claim(f"progressive-{subject}", statement, distances, "<=", "progressive", figure="frechet.png")
    statement = f"{subject}: recall of the progressive GAN minus that of the direct one"
    recall = intervals.interval(intervals.difference_of_means, grown.last.recall, direct.last.recall)
    yield claim(f"recall-{subject}", statement, recall, ">=", "recall")
    statement = f"{subject}: near-copies of the progressive GAN above those of held-out pictures, a share"
    excess = intervals.interval(intervals.difference_of_means, grown.last.copied, of.real)
    yield claim(f"copies-{subject}", statement, excess, "<=", "copies")
