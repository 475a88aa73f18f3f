"""Can one tell which pictures a diffusion model was trained on?

    python -m experiments run membership

Shadow models and targets learn random halves of the digits, all of them as one program. The likelihood-ratio attack, which compares a
target with the shadow models picture by picture, finds more members at a false positive rate of 1 % than the loss alone does. With
shuffled membership it finds as many as chance.
"""

from typing import Any

from experiments.provenance.membership import judge, train
from experiments.provenance.membership.config import Config, Thresholds, check
from gendiff.runs.registry import Experiment

__all__ = ["EXPERIMENT", "Config", "Thresholds"]

_TINY: dict[str, Any] = {"shadows": 4, "targets": 3, "train_steps": 4, "warmup": 1, "batch": 16, "width": 16, "draws": 2}

EXPERIMENT = Experiment(
    name="membership",
    question="Can one tell which pictures a diffusion model was trained on?",
    config=Config,
    presets={"full": Config()},
    smoke=Config(seeds=(0,), resamples=20, **_TINY),
    train=train.train,
    evaluate=judge.evaluate,
    check=check,
)
