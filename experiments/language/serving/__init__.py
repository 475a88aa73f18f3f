"""How fast is a language model served, and what bounds it?

    python -m experiments run serving

times steps of SmolLM2 for several numbers of texts and tokens, fits the two rates of the roofline to them, and says what published machines
could do at best. It also generates texts of unequal lengths, once in batches that wait for their longest, once with refilled places.
"""

from typing import Any

from experiments.language.serving import judge
from experiments.language.serving.config import Config, Thresholds, check
from gendiff.runs.registry import Experiment

__all__ = ["EXPERIMENT", "Config", "Thresholds"]

_TEXTS: dict[str, Any] = {"prompts": 4, "places": 2, "longest": 6}

EXPERIMENT = Experiment(
    name="serving",
    question="How fast is a language model served, and what bounds it?",
    config=Config,
    presets={"full": Config()},
    smoke=Config(batches=(1, 2), contexts=(16, 32), rounds=2, read_megabytes=4, resamples=20, tiny=True, **_TEXTS),
    train=None,
    evaluate=judge.evaluate,
    check=check,
)
