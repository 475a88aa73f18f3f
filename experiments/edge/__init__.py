"""What is left of an ability off the edge of what a network learned from?

    python -m experiments run edge

asks four networks for more and more unlike what they saw. Adders that saw sums of up to three digits, the smaller
number first, are asked for the larger number first, for a zero in front and for a fourth digit. A diffusion network of
handwritten digits sees them turned, inverted and printed; beside what it takes them for stand its errors and its
likelihood. SmolLM2 adds numbers of one to six digits, and answers questions whose words stand in another order. The
committed network of scenes draws counts and relations that no caption of its training had. Whoever had learned the
rule would lose nothing. The controls: adders that saw all of it, pictures of noise, and answers of others.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from experiments.edge import adders, changed_digits, new_scenes, word_order
from experiments.edge.adders import BROAD, NARROW, Adder
from experiments.edge.config import Config, check
from gendiff.commands.images import image_training
from gendiff.runs.progress import Progress
from gendiff.runs.reporting import figures
from gendiff.runs.reporting.answers import Answer, Change
from gendiff.runs.reporting.figures import Curve, Panel
from gendiff.runs.reporting.results import Figure
from gendiff.runs.run_folder import RunFolder
from gendiff.runs.study import Measured, Measurements, Study, claim, control

__all__ = ["EXPERIMENT", "Config"]


def train(config: Config, folder: RunFolder, progress: Progress) -> None:
    """Adders, then networks of digits."""
    adders.train(config.adder, folder, progress)
    changed_digits.train(config, folder, progress)


def measure(config: Config, folder: RunFolder, progress: Progress) -> Iterator[Measured]:
    """Sums, digits, SmolLM2 and scenes."""
    with progress.phase("sums"):
        yield from list(adders.measure(config.adder, folder))
    yield from changed_digits.measure(config, folder, progress)
    yield from word_order.measure(config, progress)
    yield from new_scenes.measure(config, progress)


def edge(measured: Measurements, folder: RunFolder) -> Figure:
    """Of all four what is right against the steps away from what was learned."""
    panels: dict[str, dict[str, dict[int, list[float]]]] = {}
    for each in measured:
        if "at" in each.arrays:
            panel, curve, distance = each.arrays["at"]
            value: Any = each.measures["right"]
            panels.setdefault(panel, {}).setdefault(curve, {}).setdefault(distance, []).append(value[0])
    rows = [Panel(name, [_curve(label, points) for label, points in curves.items()]) for name, curves in panels.items()]
    caption = (
        f"Share that is right against the steps away from what was learned. Sums: {'; '.join(adders.SETS)}. Digits: "
        f"turned by 15° more. SmolLM2: a digit more; questions {word_order.ASKED}, {word_order.TURNED}, "
        f"{word_order.SHUFFLED}. Scenes: {'; '.join(new_scenes.SETS)}. Means over seeds, from the least to the largest."
    )
    return figures.small_multiples(rows, folder.figure("edge"), caption, x_label="steps away", columns=2)


def _curve(label: str, points: dict[int, list[float]]) -> Curve:
    values = [np.array(points[distance]) for distance in sorted(points)]
    return Curve(
        label, sorted(points), *([float(reduce(each)) for each in values] for reduce in (np.mean, np.min, np.max))
    )


def bits(measured: Measurements, folder: RunFolder) -> Figure:
    """Bits per dimension of every set of pictures."""
    numbers = {name: measured.mean(name, "bits") for name in measured.names("digits")}
    caption = "Bits per dimension, at most, that pictures have under a network that learned handwritten digits."
    return figures.bars(numbers, folder.figure("bits"), caption, x_label="bits per dimension")


def pictures(measured: Measurements, folder: RunFolder) -> Figure:
    """A row of every set of digits, of the first seed."""
    rows = {each.name: each.arrays["images"] for each in reversed(measured) if each.group == "digits"}
    caption = "What the network of digits is shown, a row for each set."
    return figures.named_rows(dict(reversed(rows.items())), folder.figure("digits"), caption)


def drawn_scenes(measured: Measurements, folder: RunFolder) -> Figure:
    """The first pictures of every kind of caption."""
    sets = [each for each in measured if each.group == "scenes" and each.arrays]
    by_name = {each.name.removeprefix("scenes: "): each.arrays for each in sets}
    texts = "; ".join(f"{name}: “{arrays['captions'][0]}”" for name, arrays in by_name.items())
    rows = {name: arrays["images"] for name, arrays in by_name.items()}
    caption = f"Pictures of the first captions of each kind, not chosen. The first captions: {texts}."
    return figures.named_rows(rows, folder.figure("scenes"), caption)


HALF: dict[str, Any] = {"role": "E45", "figure": "edge.png", "reason": "a rule would hold here too; half is a coin"}
LEARNED: dict[str, Any] = {"role": "check", "figure": "edge.png"}
STUDY = Study(
    name="edge",
    config=Config,
    presets={"full": Config()},
    smoke=Config(
        **image_training.SMOKE,
        adder=Adder(seeds=(0,), width=16, depth=1, train_steps=2, warmup=1, batch=8, judged=20),
        seeds=(0,),
        pictures=20,
        draws=2,
        levels=1,
        together=20,
        sums=4,
        questions=4,
        max_tokens=4,
        tiny=True,
        prompts=8,
        sampling_steps=2,
    ),
    train=train,
    measure=measure,
    words={
        "right": "share that is right",
        "judge": "share that a judge of real digits names",
        "bits": "bits per dimension, at most",
        "error": "error of denoising",
        "by bits": "share of pairs in which it has more bits than a held-out digit",
        "by error": "share of pairs in which its error is larger than that of a held-out digit",
        "lost": "right as asked, less right so",
        "counted": "share with as many objects as asked for",
    },
    claims=(
        claim(
            f"{NARROW}: {adders.SETS[0]}", "right", ">=", 0.95, reason="the task is learned", id="sums-seen", **LEARNED
        ),
        claim(f"{NARROW}: {adders.SETS[2]}", "right", "<=", 0.5, id="sums-padded", **HALF),
        claim(f"{NARROW}: {adders.SETS[3]}", "right", "<=", 0.5, id="sums-longer", **HALF),
        claim(changed_digits.HELD_OUT, "right", ">=", 0.8, reason="chance is 0.1", id="digits-seen", **LEARNED),
        claim(changed_digits.TURNED.format(90), "right", "<=", 0.5, id="digits-turned", **HALF),
        claim(
            changed_digits.BLANK,
            "by bits",
            "<=",
            0.5,
            role="E45",
            reason="a likelihood that knew its data would have 1, chance 0.5",
            id="likelihood",
            figure="bits.png",
        ),
        claim(
            word_order.SUM.format(1),
            "right",
            ">=",
            0.5,
            reason="most of them stand in any text",
            id="lm-short",
            **LEARNED,
        ),
        claim(word_order.SUM.format(4), "right", "<=", 0.5, id="lm-longer", **HALF),
        claim(
            word_order.FACTS.format(word_order.SHUFFLED),
            "lost",
            ">=",
            0.1,
            role="E45",
            reason="one of ten; the words are the same",
            id="lm-shuffled",
            figure="edge.png",
        ),
        claim(
            f"scenes: {new_scenes.SEEN}", "right", ">=", 0.9, reason="the task is learned", id="scenes-seen", **LEARNED
        ),
        claim(f"scenes: {new_scenes.RELATION}", "right", "<=", 0.5, id="scenes-relation", **HALF),
        claim(f"scenes: {new_scenes.THREE}", "right", "<=", 0.5, id="scenes-three", **HALF),
    ),
    controls=(
        control(
            f"{BROAD}: {adders.SETS[3]}",
            "right",
            against=f"{NARROW}: {adders.SETS[3]}",
            by=">=",
            margin=0.3,
            id="sums-broad",
        ),
        control(changed_digits.NOISE, "bits", against=changed_digits.HELD_OUT, by=">=", margin=1.0, id="noise"),
        control(word_order.OTHERS, "right", against=word_order.SUM.format(1), by="<=", id="lm-others"),
        control(
            f"scenes: {new_scenes.OTHERS}",
            "right",
            against=f"scenes: {new_scenes.SEEN}",
            by="<=",
            margin=-0.5,
            id="scenes-others",
        ),
    ),
    figures=(edge, bits, pictures, drawn_scenes),
    tables={
        "sums": (
            "Sums",
            "Answers stand units first, and count where every digit is right. An adder saw sums of one to three "
            "digits, the smaller number first; the other also four digits and both orders. No judged sum was seen in "
            "any order.",
        ),
        "digits": (
            "Digits",
            "Right: the label under which the network denoises with the least error. Errors are mean squares at levels "
            "around the middle, without a label; bits are the variational bound, without a label. Of a pair 0.5 is "
            "chance, and 1 would tell all such pictures from held-out digits.",
        ),
        "SmolLM2": (
            "SmolLM2",
            f"Sums stand behind {word_order.EXAMPLES} right ones of equal length and count by the whole line; "
            "questions stand in the chat template.",
        ),
        "scenes": (
            "Scenes",
            "Pictures count by an oracle that reads them. Places, where captions name none, are free; of a relation "
            "they decide. The network read places in every caption.",
        ),
    },
    answer=Answer(
        text="sums: {sums-seen:.0%} right as learned, {sums-longer:.0%} a digit longer; scenes: {scenes-seen:.0%} as "
        "learned, {scenes-three:.0%} with three objects; SmolLM2: {lm-short:.0%} of sums of one digit, {lm-longer:.0%} "
        "of four",
        statements={
            "E45": "Adders that do {sums-seen:.0%} of the sums that they learned from do {sums-longer:.1% interval} of "
            "those that are a digit longer"
        },
        picture="edge.png",
        before=(
            Change(
                "2026-12-02",
                "eebd1b97",
                "From the next run on, several names of a country count where capitals are turned round; here, one.",
                "The USA is the United States.",
            ),
        ),
    ),
    more={"check": check},
)
EXPERIMENT = STUDY.experiment()
