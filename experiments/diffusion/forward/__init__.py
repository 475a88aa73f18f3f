"""Does the chain end where its closed form says, and how far is that from pure noise?

    python -m experiments run forward

draws x_t by a thousand steps of q(x_t | x_{t-1}) from real digits and holds its moments against `add_noise`, then computes the exact
divergence of x_T from N(0, I) for every schedule. Everything is float64 and nothing is trained. Half a minute on 2 cores. The figures to
expect are in experiments/results/forward/README.md.
"""

from experiments.diffusion.forward import judge
from experiments.diffusion.forward.config import Config, Thresholds, check
from gendiff.runs.registry import Experiment
from gendiff.runs.reporting.answers import Answer, Cell

__all__ = ["EXPERIMENT", "Config", "Thresholds"]

ANSWER = Answer(
    roles={"moments": "E3", **dict.fromkeys(("moments-shifted", "closed-form*", "terminal-*"), "check")},
    text="yes, within {moments:.1f} standard errors; it ends {linear:.4f} nats per image from noise (linear schedule), "
    "{diffusion:.2f} by Stable Diffusion's",
    statements={
        "E2": "8×8 digits end {linear:.4f interval} nats per image from pure noise by the linear schedule, "
        "{diffusion:.2f} by that of Stable Diffusion",
        "E3": "Digits that are noised step by step agree with the closed form: the largest of 180 deviations is "
        "{moments:.1f interval} standard errors",
    },
    numbers={
        "linear": Cell("How far x_T", ("linear",), "nats per image, at most"),
        "diffusion": Cell("How far x_T", ("scaled_linear",), "nats per image, at most"),
    },
    picture="prior.png",
)

EXPERIMENT = Experiment(
    name="forward",
    question="Does the chain end where its closed form says, and how far is that from pure noise?",
    config=Config,
    presets={"full": Config()},
    smoke=Config(seeds=(0,), chains=60, resamples=20),
    train=None,
    evaluate=judge.evaluate,
    check=check,
    answer=ANSWER,
)
