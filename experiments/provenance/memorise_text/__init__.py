"""What does a language model remember word for word?

    python -m experiments run memorise-text

Random canaries are put into Python's manual 1 to 32 times, and two small models of bytes learn it. Whether greedy decoding after a part of
a canary gives the rest grows with its copies, with the size of the model and with the length of the part. Canaries that were never
trained on are the control.
"""

from typing import Any

from experiments.provenance.memorise_text import judge, train
from experiments.provenance.memorise_text.config import Config, Thresholds, check
from gendiff.runs.registry import Experiment

__all__ = ["EXPERIMENT", "Config", "Thresholds"]

_TINY: dict[str, Any] = {
    "train_steps": 4,
    "warmup": 1,
    "batch": 4,
    "rows": 60,
    "length": 32,
    "letters": 12,
    "suffix": 4,
    "prefixes": (2, 8),
    "copies": (1, 4),
    "canaries": 4,
    "unseen": 8,
    "candidates": 31,
    "widths": (8, 16),
    "depths": (1, 1),
}

EXPERIMENT = Experiment(
    name="memorise-text",
    question="What does a language model remember word for word?",
    config=Config,
    presets={"full": Config()},
    smoke=Config(seeds=(0,), resamples=20, permutations=100, **_TINY),
    train=train.train,
    evaluate=judge.evaluate,
    check=check,
)
