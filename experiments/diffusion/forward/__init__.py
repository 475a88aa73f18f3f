"""Does the chain end where its closed form says, and how far is that from pure noise?

    python -m experiments run forward

draws x_t by a thousand steps of q(x_t | x_{t-1}) from real digits and holds its moments against `add_noise`, then computes the exact
divergence of x_T from N(0, I) for every schedule. Everything is float64 and nothing is trained. Half a minute on 2 cores. The figures to
expect are in experiments/results/forward/README.md.
"""

from experiments.diffusion.forward import judge
from experiments.diffusion.forward.config import Config, Thresholds, check
from gendiff.runs.registry import Experiment

__all__ = ["EXPERIMENT", "Config", "Thresholds"]

EXPERIMENT = Experiment(
    name="forward",
    question="Does the chain end where its closed form says, and how far is that from pure noise?",
    config=Config,
    presets={"full": Config()},
    smoke=Config(seeds=(0,), chains=60, resamples=20),
    train=None,
    evaluate=judge.evaluate,
    check=check,
)
