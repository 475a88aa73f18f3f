"""The numbers of the few-step experiment on pictures with text."""

import dataclasses
from typing import Annotated

import msgspec

from experiments.diffusion.students import METHODS, STUDENTS
from gendiff.commands.images.image_features import Judging
from gendiff.commands.text_to_image import texts
from gendiff.core.errors import ConfigError
from gendiff.runs import ranges
from gendiff.runs.ranges import Count, Distinct, NonNegative, Positive, Seed, Several

SHAPES, EMOJI = "shapes", "emoji"
NETWORKS = (SHAPES, EMOJI)
"""The committed networks of text-to-image, by the names of their files."""
Cosine = Annotated[float, msgspec.Meta(ge=-1, le=1)]


@dataclasses.dataclass(frozen=True)
class Guiding:
    """How one network is guided."""

    scale: Positive
    """Guidance scale; 1 is the conditional network."""
    low: NonNegative
    """Guidance on an interval: the sigma/alpha above which it guides."""
    high: Positive
    """The largest sigma/alpha at which it guides."""
    stop: Cosine
    """Adaptive guidance: the cosine of the two velocities of a picture above which it is guided no longer."""


@dataclasses.dataclass(frozen=True)
class Config:
    """The numbers that are turned."""

    seeds: Distinct[Seed] = (0, 1, 2)
    """Seeds of the noise that pictures start from; the first one is that of the students too."""
    networks: Distinct[str] = NETWORKS
    """Which of the committed networks draw."""
    fresh: bool = False
    """Whether small networks without training take their places, to see the program run."""
    shapes: Guiding = Guiding(scale=2.0, low=0.4, high=2.5, stop=0.99)
    """Of the network of scenes. The numbers were chosen on captions that are not judged."""
    emoji: Guiding = Guiding(scale=5.0, low=2.0, high=8.0, stop=0.98)
    """Of the network of drawings. The numbers were chosen on captions that are not judged."""
    features: Judging = "classifier"
    """What Fréchet distances and the likeness of drawings are of: the features of EfficientNet-Lite0 (extra `judge`).

    random-convolutions is a fixed network for distances, and squares of pixels for likeness, which like a blur too."""
    pictures: Annotated[int, msgspec.Meta(ge=8, le=703)] = 224
    """Captions that are judged, each with one picture per set."""
    real: Annotated[int, msgspec.Meta(ge=8, le=1534)] = 1534
    """Real pictures that drawn ones are held against."""
    reference: Several = 50
    """Evaluations of DDIM that all else is held against."""
    steps: Distinct[Count] = (1, 2, 4, 8, 16)
    """Steps of samplers without guidance, and with guidance those that make at most as many evaluations."""
    judged: Count = 8
    """Steps at which samplers are judged, with guidance and without, one of `steps`."""
    coarse: Count = 2
    """Steps in which DDIM must be found worse, with guidance and without, one of `steps` and below `judged`."""
    default: Count = 16
    """Steps in which `text-to-image` draws by DPM-Solver++ 2M unless its options say otherwise, one of `steps`."""
    saving: Distinct[Count] = (8, 16)
    """Steps of the ways to save evaluations under guidance; those of the last entry are judged."""
    learned: Distinct[Count] = (4, 8)
    """Steps whose levels are learned, without guidance; `judged` is one of them."""
    fine: Count = 32
    """Steps of the solution that levels are learned from."""
    learn_pairs: Count = 64
    """Noises that levels are learned from, and as many that decide between them and fixed grids."""
    learn_batch: Count = 16
    """Noises and captions in one gradient; divides `learn_pairs`."""
    learn_iterations: Count = 40
    """Gradient steps of the levels."""
    pairs: Count = 4096
    """Pictures of captions of training that the guided network draws for its students, each from a noise of its own."""
    pair_steps: Count = 16
    """Steps of UniPC of order 2 in which it draws them."""
    students: Distinct[str] = METHODS
    """Which ways to train a student. Reflow, which won on digits, is claimed to lose nothing; the others are shown."""
    student_steps: Several = 800
    """Optimizer steps of a student that asks nobody, such as that of reflow. The others have as many operations, so
    fewer steps.
    """
    student_batch: Count = 64
    """Pictures in one of them."""
    student_rate: Positive = 1e-3
    """Peak learning rate of the students."""
    distilled: Count = 4
    """Evaluations at which students are judged, one of `steps`; distribution matching draws in 1."""
    together: Count = 64
    """Pictures drawn in one call."""
    subsets: Several = 20
    """Random subsets behind the interval of a distance in the tables."""
    subset: Count = 200
    """Pictures in one of them."""
    resamples: Several = 200
    """Bootstrap resamples of each comparison."""
    shown: Count = 10
    """Pictures of each row of the figures."""

    def drawn_in(self) -> dict[str, list[int]]:
        """Of each student the numbers of evaluations in which it draws."""
        return {name: STUDENTS[name].counts(self.steps) for name in self.students}

    def judged_at(self) -> dict[str, int]:
        """Of each student the evaluations in which it is judged: `distilled`, or the most below that in which it
        draws.
        """
        return {
            name: max(count for count in counts if count <= self.distilled) for name, counts in self.drawn_in().items()
        }

    def guiding(self, network: str) -> Guiding:
        """Of a network."""
        return {SHAPES: self.shapes, EMOJI: self.emoji}[network]


def check(config: Config) -> None:
    """ConfigError where numbers of the configuration do not fit each other, and where the text encoder is not
    installed.
    """
    ranges.known("networks", config.networks, NETWORKS)
    ranges.among("judged", config.judged, "steps", config.steps)
    ranges.among("judged", config.judged, "learned", config.learned)
    ranges.among("coarse", config.coarse, "steps", config.steps)
    ranges.among("default", config.default, "steps", config.steps)
    ranges.among("distilled", config.distilled, "steps", config.steps)
    ranges.known("students", config.students, METHODS)
    ranges.at_most("student-batch", config.student_batch, "pairs", config.pairs)
    for name, counts in config.drawn_in().items():
        if not counts or min(counts) > config.distilled:
            least = min(STUDENTS[name].rounds or (1,))
            raise ConfigError(
                f"--students {name!r} draws in none of --steps up to --distilled {config.distilled}: add {least} to "
                "--steps"
            )
    if config.coarse >= config.judged:
        raise ConfigError(f"--coarse {config.coarse} must be below --judged {config.judged}")
    if config.learn_pairs % config.learn_batch:
        raise ConfigError(f"--learn-batch {config.learn_batch} must divide --learn-pairs {config.learn_pairs}")
    if 2 * config.judged >= config.reference:
        raise ConfigError(
            f"--judged {config.judged} steps make {2 * config.judged} evaluations under guidance, which must be below "
            f"--reference {config.reference}"
        )
    for name in ("learn_batch", "subset", "shown"):
        ranges.at_most(name.replace("_", "-"), getattr(config, name), "pictures", config.pictures)
    ranges.at_most("subset", config.subset, "real", config.real)
    for name in NETWORKS:
        guiding = config.guiding(name)
        if not guiding.low < guiding.high:
            raise ConfigError(f"--{name}.low {guiding.low:g} must be below --{name}.high {guiding.high:g}")
    texts.check()
