"""What do 8 and 4 bits per weight save, and what do they cost?

    python -m experiments run quantise

reads the weights of SmolLM2 in six formats: bytes, likelihood of real text, answers to a hundred questions, time of a step.
A transformer of digits is trained and sampled in three of them. A matrix with one large output shows why every output has a scale of
its own.
"""

from typing import Any

from experiments.language.quantise import images, judge
from experiments.language.quantise.config import Config, Thresholds, check
from gendiff.runs.registry import Experiment

__all__ = ["EXPERIMENT", "Config", "Thresholds"]

_TEXT: dict[str, Any] = {"tokens": 128, "piece": 32, "questions": 4, "max_tokens": 2, "rounds": 2, "resamples": 20}
_DIGITS: dict[str, Any] = {"width": 16, "depth": 1, "samples": 80, "together": 40, "draws": 3, "draw_size": 60, "sampling_steps": 2}

EXPERIMENT = Experiment(
    name="quantise",
    question="What do 8 and 4 bits per weight save, and what do they cost?",
    config=Config,
    presets={"full": Config()},
    smoke=Config(seeds=(0,), train_steps=4, warmup=1, batch=16, tiny=True, **_TEXT, **_DIGITS),
    train=images.train,
    evaluate=judge.evaluate,
    check=check,
)
