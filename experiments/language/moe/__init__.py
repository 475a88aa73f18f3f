"""What does a mixture of experts gain over one MLP?

    python -m experiments run moe

trains small language models of bytes on Python's manual: with experts, of which each token goes to a few; dense with as much computation
per token; dense with as many parameters. Experts without a balance loss show what that loss is for.
"""

from typing import Any

from experiments.language.moe import judge, networks
from experiments.language.moe.config import Config, Thresholds, check
from gendiff.runs.registry import Experiment

__all__ = ["EXPERIMENT", "Config", "Thresholds"]

_TINY: dict[str, Any] = {
    "train_steps": 4,
    "warmup": 1,
    "batch": 4,
    "length": 16,
    "width": 16,
    "depth": 1,
    "experts": 4,
    "judged": 8,
    "rounds": 2,
}

EXPERIMENT = Experiment(
    name="moe",
    question="What does a mixture of experts gain over one MLP?",
    config=Config,
    presets={"full": Config()},
    smoke=Config(seeds=(0,), resamples=20, **_TINY),
    train=networks.train,
    evaluate=judge.evaluate,
    check=check,
)
