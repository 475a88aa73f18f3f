"""How the few-step experiment on pictures with text judges: Fréchet distances paired by picture, adherence, evaluations, and controls."""

import functools
from collections.abc import Iterator

import numpy as np

from experiments.diffusion import equivalence, few_evaluations, students
from experiments.diffusion.few_step_text import answers, shown
from experiments.diffusion.few_step_text.answers import Answers
from experiments.diffusion.few_step_text.config import Config
from experiments.diffusion.few_step_text.draw import Set
from experiments.diffusion.few_step_text.methods import (
    DDIM,
    GUIDED,
    GUIDED_DDIM,
    GUIDED_MULTISTEP,
    INTERVAL,
    LEARNED,
    SAVING,
    UNIPC,
    UNTRAINED,
)
from experiments.diffusion.few_step_text.students import teaching
from experiments.diffusion.few_step_text.subjects import ADHERES
from experiments.diffusion.students import STUDENTS
from gendiff.runs.progress import Progress
from gendiff.runs.registry import Outcome
from gendiff.runs.reporting import intervals, verdicts
from gendiff.runs.reporting.results import Figure, Table
from gendiff.runs.reporting.verdicts import Claim, Number
from gendiff.runs.run_folder import RunFolder


def evaluate(config: Config, folder: RunFolder, progress: Progress) -> Outcome:
    """Claims, figures and tables of every network."""
    claims: list[Claim] = []
    figures: list[Figure] = []
    tables: list[Table] = []
    for network in config.networks:
        answered = answers.answers(config, network, folder, progress)
        with progress.phase("compare"):
            of_network, differences = compared(config, answered)
        claims += [*of_network, *adhering(config, answered)]
        figures.append(shown.pictures(config, folder, answered))
        losses = {name: loss(answered, name, max(config.saving)) for name in (*SAVING, UNIPC)}
        losses |= {name: loss(answered, name, max(config.saving), steps) for name, steps in config.judged_at().items()}
        tables += shown.tables(config, answered, differences, losses)
        costs = students.costs(teaching(config, answered.subject), config.students)  # alike for all networks
    return Outcome(tuple(claims), (*shown.plots(config, folder, tables), *figures), (*tables, costs))


def compared(config: Config, answered: Answers) -> tuple[list[Claim], dict[str, Number]]:
    """Fréchet distances of each seed against those of DDIM: claims, and every difference with its sign.

    Without guidance and with it sets are held against a DDIM of their own kind, which makes as many evaluations in both. A set that is
    closer to the real pictures than DDIM is no worse, and may all the same not be equal. DDIM in as few steps is a control of the sampler,
    and DDIM in `coarse` steps one of the test, which must be able to fail. Students draw without guidance and are held against guided DDIM;
    one of them is claimed to be no worse, and its control is its network without guidance in as many evaluations.
    """
    network, judged = answered.subject.name, config.judged
    of_kind = {
        DDIM: ((UNIPC, judged), (LEARNED, judged), (DDIM, judged), (DDIM, config.coarse)),
        GUIDED_DDIM: (
            (GUIDED_MULTISTEP, config.default),
            *((GUIDED, judged), (GUIDED_DDIM, judged), (GUIDED_DDIM, config.coarse), (UNTRAINED, judged)),
            *config.judged_at().items(),
            (DDIM, config.distilled),
        ),
    }
    claims: list[Claim] = []
    differences: dict[str, Number] = {}
    for seed in config.seeds:
        claim = functools.partial(verdicts.against, config.thresholds, seed, n=config.pictures, threshold="equivalence")
        for method, others in of_kind.items():
            reference = Set(network, seed, method, shown.reference_steps(config)[method])
            sets = [Set(network, seed, *other) for other in others]
            points = {each: answered.every[each].points for each in (reference, *sets)}
            distances = equivalence.resampled(points, answered.subject.real, resamples=config.resamples, seed=intervals.SEED)
            about = f"the Fréchet distance, relative to that of {method} in {config.reference} evaluations, 90 % interval"
            figure = f"{network}_{shown.FILES[method]}.png"
            for each in sets:
                number = equivalence.difference(distances[each], distances[reference])
                undistilled = method == GUIDED_DDIM and each.method == DDIM
                differences[f"{each.name}, against {method}" if undistilled else each.name] = number
                if each.method in STUDENTS and each.method != config.judged_student:
                    continue
                id, who = f"{network}-{few_evaluations.word(each.method)}", f"{network}: {each.method}, {each.steps} steps"
                if each.method in (DDIM, GUIDED_DDIM, UNTRAINED):
                    word = "not-distilled-worse" if undistilled else "coarse-worse" if each.steps == config.coarse else "worse"
                    claims.append(claim(f"{id}-{word}", f"{who}: change of {about}", number, ">=", figure=figure, kind="control"))
                    continue
                if each.method in (UNIPC, LEARNED, GUIDED):  # the others are claimed to be no worse alone
                    claims.append(claim(f"{id}-equal", f"{who}: size of the change of {about}", verdicts.away(number), "<=", figure=figure))
                claims.append(claim(f"{id}-no-worse", f"{who}: change of {about}", number, "<=", figure=figure))
    return claims, differences


def adhering(config: Config, answered: Answers) -> Iterator[Claim]:
    """What the default of prompts loses, what guidance on an interval loses and saves, what the student loses; over all seeds.

    Controls are what no guidance, the fewest steps and the mean of real pictures lose.
    """
    network, steps = answered.subject.name, max(config.saving)
    claim = functools.partial(verdicts.against, config.thresholds, None, figure=f"{network}_adherence.png")
    count = config.pictures * len(config.seeds)
    of_share = f"loss of the share of pictures that {ADHERES[network]}, against"
    many = shown.reference_steps(config)[GUIDED_DDIM]
    number = lost(answered, (GUIDED_DDIM, many), (GUIDED_MULTISTEP, config.default))
    about = f"{network}: {GUIDED_MULTISTEP}, {config.default} steps: {of_share} {GUIDED_DDIM} in {many} steps"
    yield claim(f"{network}-{few_evaluations.word(GUIDED_MULTISTEP)}-adheres", about, number, "<=", "adherence", n=count)
    words = f"{of_share} guidance everywhere, in {steps} steps"
    number = loss(answered, INTERVAL, steps)
    yield claim(f"{network}-interval-adheres", f"{network}: guidance on an interval: {words}", number, "<=", "adherence", n=count)
    share = answered.evaluations(INTERVAL, steps) / answered.evaluations(GUIDED, steps)
    about = f"{network}: evaluations with guidance on an interval in those with guidance everywhere, in {steps} steps"
    yield claim(f"{network}-interval-evaluations", about, share, "<=", "evaluations", n=count)
    student, few = config.judged_student, config.judged_at()[config.judged_student]
    about = f"{network}: {student}, {few} steps: {of_share} guidance in {steps} steps"
    number = loss(answered, student, steps, few)
    yield claim(f"{network}-{few_evaluations.word(student)}-adheres", about, number, "<=", "adherence", n=count)
    blank = np.broadcast_to(answered.subject.mean, (config.pictures, *answered.subject.mean.shape))
    least = min(each.steps for each in answered.every if each.method == GUIDED)
    controls = {
        "unguided": ("no guidance", loss(answered, UNIPC, steps)),
        "one-step": (f"guidance in the fewest steps, {least}", lost(answered, (GUIDED, steps), (GUIDED, least))),
        "mean-picture": (
            "the mean of real pictures",
            less(answered.hits(GUIDED, steps), answered.subject.adherence(blank)),
        ),
    }
    for name, (what, number) in controls.items():
        about = f"{network}: {what}: {words}"
        yield claim(f"{network}-{name}-loses", about, number, ">=", "adherence", n=count, kind="control")


def loss(answered: Answers, method: str, steps: int, few: int | None = None) -> Number:
    """By how much less often pictures show their caption than with guidance everywhere, paired by caption.

    steps: of guidance everywhere, and of the method unless it takes so `few`.
    """
    return lost(answered, (GUIDED, steps), (method, few or steps))


def lost(answered: Answers, reference: tuple[str, int], other: tuple[str, int]) -> Number:
    """By how much less often the other's pictures show their caption, paired by caption. Both: (method, steps)."""
    return less(answered.hits(*reference), answered.hits(*other))


def less(hits: np.ndarray, others: np.ndarray) -> Number:
    """The share of the first less that of the others, paired by caption."""
    return intervals.interval(intervals.difference_of_means, hits, others, paired=True)
