"""The numbers of the ddpo experiment."""

import dataclasses
from typing import Annotated

import msgspec

from gendiff.commands.images import image_training
from gendiff.commands.images.image_training import Learning
from gendiff.commands.text_to_image import texts
from gendiff.core.errors import ConfigError
from gendiff.data import digits
from gendiff.runs import ranges
from gendiff.runs.ranges import Count, Distinct, Positive, Seed, Several

DIGIT, INK, SCENES = "digit", "ink", "scenes"
"""What is rewarded: that a classifier sees a chosen digit, how much is drawn, and that a scene shows exactly what was
asked for.
"""
DDPO, SHUFFLED, DRAFT, DPO = "ddpo", "shuffled", "draft", "dpo"
"""How a policy learns: policy gradient, the same from rewards of other samples, gradient of the reward itself, and
preferences.
"""


@dataclasses.dataclass(frozen=True)
class Policy:
    """The numbers of one policy gradient training and of its judgement."""

    updates: Count = 120
    """Rollouts, each of which is learned from once."""
    batch: Count = 64
    """Samples of a rollout."""
    parts: Count = 2
    """Optimizer steps for each rollout, each on its own part of it: the first has ratios of 1, later ones are
    clipped.
    """
    learning_rate: Positive = 3e-4
    """Of AdamW without decay, constant."""
    steps: Several = 10
    """Ancestral denoising steps of a sample."""
    acting: Count = 9
    """How many of them are actions of the policy, the noisiest first. The reference takes the rest; the last one,
    without noise, always.
    """
    samples: Count = 1000
    """Samples of each policy that are judged, for each prompt where there are prompts."""
    reference: Count = 10_000
    """Samples of the reference, among which best-of-n chooses, for each prompt."""
    together: Count = 500
    """Samples drawn in one call."""


@dataclasses.dataclass(frozen=True)
class Config:
    """The numbers that are turned."""

    seeds: Distinct[Seed] = (0, 1, 2)
    """Seeds of the policies of digits; all begin at one network."""
    base: Learning = Learning(train_steps=1000, channels=(16, 32), drop_condition=0.0)
    """Of the network of digits without labels that is the reference, trained with seed 0."""
    digit: Annotated[int, msgspec.Meta(ge=0, le=digits.CLASSES - 1)] = 3
    """The digit that is rewarded."""
    digits: Policy = Policy()
    """Of digits."""
    scenes_seeds: Distinct[Seed] = (0,)
    """Seeds of the policies of scenes, which begin at the committed network of text-to-image."""
    scenes: Policy = Policy(
        updates=80, batch=128, parts=1, learning_rate=1e-2, acting=3, samples=80, reference=250, together=80
    )
    """Of scenes of two red circles, in words."""
    rank: Annotated[int, msgspec.Meta(ge=1, le=32)] = 2
    """Of the low-rank changes that a policy of scenes learns, in the layers that read the text; all else stays the
    reference's.
    """
    prompts: Annotated[int, msgspec.Meta(ge=1, le=8)] = 4
    """Prompts of scenes that are learned; as many others are asked for at the end."""
    networks: bool = True
    """Whether there are networks: one of digits, which is trained, and the committed one of scenes. Otherwise functions
    of one number take their places, to see the program run."""
    beta: Positive = 0.4
    """Weight of the KL to the reference, per nat, in standard deviations of the reference's reward."""
    shuffled_updates: Count = 60
    """Rollouts of the control that is taught by rewards of other samples, with the first seed."""
    draft_updates: Count = 60
    """Updates by the reward's own gradient."""
    last: Count = 2
    """Denoising steps of the policy that the gradient of the reward passes through, from the end."""
    dpo_updates: Count = 200
    """Updates by preferences between two samples of the reference."""
    scene_crops: Several = 1200
    """Rendered scenes from whose quarters the judge of scenes learns."""


ARMS = ((DIGIT, DDPO), (DIGIT, SHUFFLED), (DIGIT, DRAFT), (DIGIT, DPO), (INK, DDPO), (SCENES, DDPO))
"""What is trained: (reward, how)."""


def policy(config: Config, reward: str) -> Policy:
    """The numbers of a reward's trainings."""
    return config.scenes if reward == SCENES else config.digits


def seeds(config: Config, reward: str, how: str) -> tuple[int, ...]:
    """The seeds of an arm."""
    seeds_of_reward = config.scenes_seeds if reward == SCENES else config.seeds
    return seeds_of_reward[:1] if how == SHUFFLED else seeds_of_reward


def updates(config: Config, reward: str, how: str) -> int:
    """How many updates an arm learns for."""
    updates_of_policy = policy(config, reward).updates
    return {
        DDPO: updates_of_policy,
        SHUFFLED: config.shuffled_updates,
        DRAFT: config.draft_updates,
        DPO: config.dpo_updates,
    }[how]


def check(config: Config) -> None:
    """ConfigError where numbers of the configuration do not fit each other, and where the text encoder is not
    installed.
    """
    image_training.check(config.base, "base.")
    for name, settings, prompts in (("digits", config.digits, 1), ("scenes", config.scenes, config.prompts)):
        if settings.batch % (2 * settings.parts):
            raise ConfigError(f"twice --{name}.parts {settings.parts} must divide --{name}.batch {settings.batch}")
        if settings.batch % prompts or settings.batch // prompts < 2:
            raise ConfigError(
                f"--{name}.batch {settings.batch} must hold each of --prompts {prompts} equally often, and at least "
                "twice"
            )
        if settings.acting >= settings.steps:
            raise ConfigError(
                f"--{name}.acting {settings.acting} must be below --{name}.steps {settings.steps}, whose last one the "
                "reference takes"
            )
    ranges.at_most("last", config.last, "digits.acting", config.digits.acting)
    if config.networks:
        texts.check()
