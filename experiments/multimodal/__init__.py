"""Can one network draw what a text says, say what a picture shows, and answer questions about it, and does it lose by
doing both?

    python -m experiments run multimodal

trains transformers whose sequence holds texts and pictures (Transfusion): next tokens by their likelihood, pictures by
denoising. On digits one learns both directions, and two twins one direction each. Its drawings are read by a
classifier, its captions of held-out digits are compared with the labels, and both losses with those of the twins. On
scenes of shapes two learn questions. Training shows the one a part of all objects, and it is asked about the others,
such as a large red circle at the top left: no two of the colour, the size and the position say which shape it cannot
have. Training shows the other a part of all pairs of colour and shape: there the colour alone says which shape cannot
be. Captions of other digits and questions about other scenes must miss. About 45 minutes on 2 cores.

    python -m experiments sample runs/multimodal --caption "a three" --out threes.png
"""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from experiments.multimodal import documents, draw, measures, tasks
from experiments.multimodal.config import (
    BOTH,
    CAPTIONS,
    NETWORKS,
    OBJECTS,
    PAIRS,
    PICTURES,
    SCENES,
    TOGETHER,
    Config,
    check,
)
from experiments.multimodal.measures import SHOWN, Judged
from experiments.tasks import scene_questions
from gendiff.data import digits
from gendiff.runs import vmapped_seeds
from gendiff.runs.progress import Progress
from gendiff.runs.reporting import figures, intervals
from gendiff.runs.reporting.answers import Answer, Change
from gendiff.runs.reporting.results import Figure
from gendiff.runs.run_folder import RunFolder
from gendiff.runs.study import Measured, Measurements, Study, claim, control

DRAWINGS, OTHER_CAPTION = "drawings of captions", "drawings by another caption"
CAPTIONED = "captions of held-out digits"
ASKED, OTHER_SCENE, ASKED_OF_PAIRS = (
    "answers about held-out objects",
    "answers about another scene",
    "answers about held-out pairs",
)
TWINS, TEXTS = "both directions over one", "texts alone"
LOSSES, KINDS, WORDS, QUESTIONS = "losses", "kinds", "captions", "questions"
"""Groups of sets; the claims have none."""


def measure(config: Config, folder: RunFolder, progress: Progress) -> Iterator[Measured]:
    """What the networks of each seed draw, write and answer, and what both directions cost each other."""
    params, judged = {name: documents.restore(config, folder, name) for name in NETWORKS}, dict[int, Judged]()
    for number, seed in enumerate(config.seeds):
        with progress.phase("judge", seed=seed):
            judged[seed] = measures.judge(
                config, {name: vmapped_seeds.of_seed(side_by_side, number) for name, side_by_side in params.items()}
            )
    yield from losses(judged)
    yield from kinds(config, judged)
    for seed, judgement in judged.items():
        yield from seed_by_seed(seed, judgement)
    yield from examples(config, judged[config.seeds[0]])


def losses(judged: Mapping[int, Judged]) -> Iterator[Measured]:
    """Means over seeds, with intervals over them."""
    for name, set in ((BOTH, "both directions"), (CAPTIONS, "twin that captions"), (PICTURES, "twin that draws")):
        of_kind = {
            "loss of captions": [each_seed.text_loss for each_seed in judged.values()],
            "loss of pictures": [each_seed.picture_loss for each_seed in judged.values()],
        }
        means = {
            kind: [float(each_seed[name].mean()) for each_seed in each]
            for kind, each in of_kind.items()
            if name in each[0]
        }
        yield Measured(
            set,
            {kind: intervals.over_seeds(np.mean, each) if len(each) > 1 else each[0] for kind, each in means.items()},
            group=LOSSES,
        )


def kinds(config: Config, judged: Mapping[int, Judged]) -> Iterator[Measured]:
    """Right answers of all seeds together, by network and kind of question."""
    for name, kind in itertools.product(SCENES, scene_questions.BY_PLACE):
        answered = [each_seed.scenes[name] for each_seed in judged.values()]
        unseen, trained = (
            np.array([scene_questions.kind(question) == kind for question in tasks.questions(task)])
            for task in (tasks.unseen_scenes(config, name), tasks.seen_scenes(config, name))
        )
        columns: dict[str, Any] = {"what is held out": name}
        for column, of_kind, right in (
            ("of training", trained, [each_seed.trained for each_seed in answered]),
            ("held out", unseen, [each_seed.unseen for each_seed in answered]),
            ("held out, another scene", unseen, [each_seed.blind for each_seed in answered]),
        ):
            columns[column] = (
                intervals.share(np.concatenate([each[of_kind] for each in right])) if of_kind.any() else None
            )
        yield Measured(kind, columns, group=KINDS)


def seed_by_seed(seed: int, judgement: Judged) -> Iterator[Measured]:
    """What is claimed."""
    for set, right in (
        (DRAWINGS, judgement.drawn),
        (OTHER_CAPTION, judgement.mismatched),
        (CAPTIONED, judgement.captioned),
        (ASKED, judgement.scenes[OBJECTS].unseen),
        (OTHER_SCENE, judgement.scenes[OBJECTS].blind),
        (ASKED_OF_PAIRS, judgement.scenes[PAIRS].unseen),
    ):
        yield Measured(set, {"right": intervals.share(right)}, seed, len(right))
    ratios = {
        name: intervals.interval(intervals.ratio_of_means, each[BOTH], each[twin], paired=True)
        for name, each, twin in (("text", judgement.text_loss, CAPTIONS), ("picture", judgement.picture_loss, PICTURES))
    }
    yield Measured(TWINS, ratios, seed, len(judgement.text_loss[BOTH]))
    yield Measured(TEXTS, {"difference": judgement.language}, seed, TOGETHER)


def examples(config: Config, first: Judged) -> Iterator[Measured]:
    """The first captions and answers of a seed, and its pictures."""
    known, arrays = tasks.held_out_digits(), {"config": config, "pictures": first.pictures}
    for label, written in zip(known.answers, first.captions, strict=False):
        yield Measured(label, {"written caption": written}, group=WORDS, arrays=arrays)
    scenes = tasks.unseen_scenes(config, OBJECTS)
    answers = zip(tasks.questions(scenes), scenes.answers, first.scenes[OBJECTS].answers, strict=False)
    for question, answer, likeliest in answers:
        yield Measured(question, {"answer": answer, "likeliest answer": likeliest}, group=QUESTIONS)


def pictures_of_captions(measured: Measurements, folder: RunFolder) -> Figure:
    """Of the first seed, digits in turn."""
    config, pictures = (next(each.arrays for each in measured if each.arrays)[name] for name in ("config", "pictures"))
    caption = (
        f"Pictures of the captions of the digits in turn, seed {config.seeds[0]}, guidance {config.guidance:g}. "
        "Not selected."
    )
    heads = [str(digit) for digit in range(digits.CLASSES)]
    return figures.grid(pictures, digits.CLASSES, folder.figure("drawn"), caption, heads=heads)


def scenes(measured: Measurements, folder: RunFolder) -> Figure:
    """That the table asks about."""
    config = next(each.arrays["config"] for each in measured if each.arrays)
    caption = "Scenes with a held-out object, about which the table has the questions. Not selected."
    pictures = tasks.unseen_scenes(config, OBJECTS).pictures[:SHOWN]
    return figures.grid(pictures, digits.CLASSES, folder.figure("scenes"), caption)


ANSWER = Answer(
    text="{drawn:.0%} of drawings, {captioned:.0%} of captions and {answered:.0%} of answers on unseen objects are "
    "right; the captions' loss is {text-loss:.2f} of a twin's",
    statements={
        "E40": "One network draws {drawn:.2f} and captions {captioned:.2f interval} of digits right; "
        "about objects that it never saw {answered:.2f} of the answers are right",
    },
    before=(
        Change(
            "2026-11-28",
            "a806574",
            "Before any full run: scenes are new in each step instead of 20,000; two pairs of colour and shape are "
            "held out instead of one of each colour; digits train for 800 steps instead of 1,500, "
            "scenes for 6,000 instead of 3,000; there are 2 seeds instead of 3.",
            "In pilots with seed 100, 20,000 scenes were learned by heart, and longer training made captions worse.",
        ),
        Change(
            "2026-11-30",
            "9fdd4e3",
            "Answers about unseen pairs are open; both seeds fail, with shares of 0.39 and 0.51 that differ widely.",
            "Claims are judged by the mean over seeds, in all studies.",
        ),
        Change(
            "2026-11-30",
            "43b80d15",
            "Claims are rows; numbers are unchanged. Another caption is compared with the right one, and answers about "
            "another scene with those about the right one, where each had a threshold.",
            "A control is compared with its treatment.",
        ),
        Change(
            "2026-12-01",
            "a806574",
            "An earlier full run, with two held-out pairs of colour and shape: 0.39 and 0.51 of answers about them "
            "were right. Now a quarter of all objects is held out: their colour, shape, size and position together. A "
            "second network, the control, is asked about pairs: of each colour one is held out.",
            "A colour that never comes with one shape teaches that it cannot. In a pilot with seed 100 and a pair of "
            "each colour held out, 0.98 of shapes were right, and 0.26 of those of held-out pairs, also where a place "
            "is asked about and no word tells. With objects held out it was 0.96 and 0.88.",
        ),
        Change(
            "2026-12-01",
            "a806574",
            "Colours and shapes are asked for by the place of an object instead of by each other. Scenes have patches "
            "of 6 pixels instead of 4, are not denoised, and train at 0.005 instead of 0.02, for 5,000 steps of each "
            "network instead of 6,000.",
            "A question that names a colour tells of its shape. In pilots with seed 100 and 1,500 steps, 0.96 of "
            "shapes were right at 0.005, 0.85 at 0.002, and 0.57 at 0.02 after 3,900 steps.",
        ),
        Change(
            "2026-12-01",
            "a806574",
            "In that run the captions' loss was 2.3 and 3.2 times that of the twin. Captions are now learned behind "
            "pictures alone, pictures weigh 3 instead of 5 beside them, and the limit is 1.1 instead of 1.05.",
            "Half of the tokens were captions before any picture, of which only the frequency of digits can be "
            "learned; the twin has none. In a pilot with seed 7 captions had 1.65, 1.39 and 1.91 times the twin's loss "
            "with weights of 5, 3 and 2, and pictures 1.01, 1.02 and 1.04 times. A few of 450 captions make most of "
            "the loss, so a twentieth is less than can be told.",
        ),
    ),
)

_TINY: dict[str, Any] = {
    "width": 16,
    "depth": 1,
    "heads": 2,
    "train_steps": 3,
    "scene_steps": 3,
    "batch": 4,
    "side": 18,
}
NEARLY: dict[str, Any] = {"role": "E40", "reason": "nine of ten"}

STUDY = Study(
    name="multimodal",
    config=Config,
    presets={"full": Config()},
    smoke=Config(seeds=(0,), sampling_steps=2, samples=20, asked=20, **_TINY),
    train=documents.train,
    measure=measure,
    words={
        "right": "share that is right",
        "text": "loss of captions of held-out digits, over that of the twin that only captions",
        "picture": "loss of held-out pictures with their captions, over that of the twin that only draws",
        "difference": "largest difference between logits and those of a language model with the same parameters",
    },
    claims=(
        claim(DRAWINGS, "right", ">=", 0.9, id="drawn", figure="drawn.png", **NEARLY),
        claim(CAPTIONED, "right", ">=", 0.9, id="captioned", **NEARLY),
        claim(ASKED, "right", ">=", 0.9, id="answered", figure="scenes.png", **NEARLY),
        claim(
            TWINS,
            "text",
            "<=",
            1.1,
            role="E40",
            reason="equal losses, give or take a tenth: few of 450 captions make most of the loss",
            id="text-loss",
        ),
        claim(
            TWINS,
            "picture",
            "<=",
            1.05,
            role="E40",
            reason="equal losses, give or take a twentieth",
            id="picture-loss",
        ),
        claim(TEXTS, "difference", "<=", 0.0, role="check", reason="it is the same function", id="language"),
    ),
    controls=(
        control(OTHER_CAPTION, "right", against=DRAWINGS, by="<=", id="mismatched", figure="drawn.png"),
        control(OTHER_SCENE, "right", against=ASKED, by="<=", id="blind", figure="scenes.png"),
        control(ASKED_OF_PAIRS, "right", against=ASKED, by="<=", id="pairs"),
    ),
    figures=(pictures_of_captions, scenes),
    tables={
        LOSSES: (
            "What both directions cost each other",
            "Nats per token of captions of held-out digits, and mean squared error of the target of held-out pictures; "
            "means over seeds, with intervals over them. Each network takes as many steps, of as many documents of "
            "each kind that it learns.",
        ),
        KINDS: (
            "Right answers by kind of question",
            "Shares over all seeds. Of one network a quarter of all objects is held out, of the other a quarter of all "
            "pairs of colour and shape: no scene and no question of its training has them.",
        ),
        "": (
            "Seed by seed",
            "A drawing is right where the classifier sees the digit of its caption, a caption where it is that of the "
            "held-out digit, an answer about a held-out object where it is the likeliest one.",
        ),
        WORDS: ("Captions of digits", "The first held-out digits, by the captions of their labels. Not selected."),
        QUESTIONS: ("Questions about held-out objects", "The scenes of the figure, row by row. Not selected."),
    },
    answer=ANSWER,
    more={"sample": draw.SAMPLE, "check": check, "plan": documents.plan},
)
EXPERIMENT = STUDY.experiment()
