"""When does a diffusion model copy its training pictures?

    python -m experiments run memorise

Small networks learn nested sets of digits, two disjoint halves, and a set in which some pictures stand many times, all by the same steps.
Samples on a grid of steps show which share of them are copies, and since when. The exact memoriser and a Gaussian stand beside them as
what copies everything and what copies nothing.
"""

from typing import Any

from experiments.provenance.memorise import judge, train
from experiments.provenance.memorise.config import Config, Thresholds, check
from gendiff.runs.registry import Experiment

__all__ = ["EXPERIMENT", "Config", "Thresholds"]

_SETS: dict[str, Any] = {"sizes": (16, 32, 64), "halves": (16, 32), "copies": (1, 4), "copied": 4, "inside": 32}
_FEW: dict[str, Any] = {"train_steps": 8, "first": 4, "warmup": 1, "batch": 16, "width": 16, "samples": 40, "last_samples": 60}

EXPERIMENT = Experiment(
    name="memorise",
    question="When does a diffusion model copy its training pictures, and which of them?",
    config=Config,
    presets={"full": Config()},
    smoke=Config(seeds=(0,), sampling_steps=4, resamples=20, permutations=100, **_SETS, **_FEW),
    train=train.train,
    evaluate=judge.evaluate,
    check=check,
)
