"""What does more computation at test time bring, and when is a verifier worse than a vote?

    python -m experiments run test-time

trains small networks on sums of numbers of four digits: one answers at once, one writes scratch-work first, one writes as many tokens
without content, and a larger one answers at once. Up to 64 answers of each are drawn, and made one by votes, by exact, noisy and learned
verifiers, against the operations that they take. Scratch-work gets budgets. Last, networks of digits that know no labels are steered by
choosing among the noises that their pictures start from, and a judge tells where a verifier is exploited. It takes about 20 minutes on 2
cores. Expect coverage to rise steadily, the majority to help where the right answer is the most frequent one and to hurt elsewhere, and
best of n to fall below it as the verifier's noise grows. The controls are filler tokens and a verifier that learned shuffled labels.
"""

from typing import Any

from experiments.preferences.test_time import judge, train
from experiments.preferences.test_time.config import Config, Pictures, Thresholds, check
from gendiff.commands.images import image_training
from gendiff.runs.registry import Experiment

__all__ = ["EXPERIMENT", "Config", "Pictures", "Thresholds"]

_TINY: dict[str, Any] = {
    "digits": 2,
    "small": 8,
    "large": 12,
    "depth": 1,
    "train_steps": 8,
    "halvings": 1,
    "warmup": 2,
    "batch": 8,
    "log_every": 1,
}
_FEW: dict[str, Any] = {"pool": 64, "questions": 40, "samples": 4, "doublings": 1, "noises": (0.5, 2.0), "resamples": 20}

EXPERIMENT = Experiment(
    name="test-time",
    question="What does more computation at test time bring, and when is a verifier worse than a vote?",
    config=Config,
    presets={"full": Config()},
    smoke=Config(
        seeds=(0,), pictures=Pictures(**image_training.SMOKE, sampling_steps=2, sets=4, together=16, few=20, log_every=1), **_TINY, **_FEW
    ),
    train=judge.train_all,
    evaluate=judge.evaluate,
    check=check,
    plan=train.plan,
)
