"""Which options belong to `train PHOTOS --model DIR --lora RANK`, and the numbers that follow from the pictures."""

import dataclasses
from pathlib import Path

from gendiff.commands.train.config import SETS, Config, Numbers
from gendiff.core import foreign_files
from gendiff.core.errors import ConfigError

USED = {
    *(
        "data",
        "model",
        "lora",
        "size",
        "dtype",
        "remat",
        "background",
        "on_bad_image",
        "held_out",
        "seeds",
        "steps",
        "batch",
    ),
    *(
        "learning_rate",
        "warmup",
        "weight_decay",
        "clip",
        "ema",
        "drop_condition",
        "checkpoint_every",
        "log_every",
        "sampling_steps",
    ),
    *("together", "level_pictures"),
}
"""Fields of the configuration that count with --model."""
PASSES, FEWEST, MOST = 100, 400, 4000
"""Passes over the pictures, and the fewest and the most steps, where no number of steps is given."""
BATCH, RATE = 4, 1e-4


def check(config: Config) -> None:
    """ConfigError, before anything is read, for options that need each other or do not belong together."""
    if config.model is None or config.lora is None:
        raise ConfigError(
            "--model DIR and --lora RANK go together: the model of the folder learns a change of this rank"
        )
    if config.data == SETS:
        raise ConfigError("--model learns from pictures with captions: give their folder by --data FOLDER")
    if len(config.data) != 1:
        raise ConfigError(f"--data {' '.join(config.data)}: --model learns from one folder of pictures with captions")
    if config.data[0] in SETS:
        raise ConfigError(f"--data {config.data[0]} has no captions: give a folder of pictures with captions")
    for field in dataclasses.fields(config):
        if field.name not in USED and getattr(config, field.name) != getattr(Config(), field.name):
            raise ConfigError(f"--{field.name.replace('_', '-')} has no meaning with --model: leave it out")


def folder_of(config: Config) -> Path:
    """The folder of the model. ConfigError without one."""
    if config.model is None:
        raise ConfigError("--model DIR is needed")
    return foreign_files.expanded(config.model).absolute()


def rank_of(config: Config) -> int:
    """The rank of the change. ConfigError without one."""
    if config.lora is None:
        raise ConfigError("--lora RANK is needed")
    return config.lora


def numbers(config: Config, training: int, devices: int) -> Numbers:
    """What the configuration says, and what it leaves open by rule. ConfigError for a batch that pictures or devices do
    not allow.
    """
    batch = config.batch or max(devices, min(BATCH, training) // devices * devices)
    if batch > training:
        raise ConfigError(f"--batch {batch} is more than the {training} training pictures of {config.data[0]}")
    if batch % devices:
        raise ConfigError(f"--batch {batch} is no multiple of the {devices} devices")
    steps = config.steps or min(max(FEWEST, PASSES * training // batch), MOST)
    return Numbers(steps, batch, config.learning_rate or RATE, steps)
