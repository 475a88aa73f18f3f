"""Does a small diffusion model learn real handwritten digits?

    python -m experiments run digits --preset demo    one seed; 4 minutes; the figures to expect are in README.md
    python -m experiments run digits                  three seeds and every control; 14 minutes; experiments/results/digits

A class-conditional U-Net learns the flow from 1,347 digits of 8×8 pixels to noise; DDIM in 50 steps draws from its average. Each of the two
contracts the samples towards the mean of their class by about 3 %, so they start from noise of a temperature above 1. What a temperature
of 1 gives is in the table beside.
"""

from typing import Any

from experiments.diffusion import image_sampling
from experiments.diffusion.digits import judge, train
from experiments.diffusion.digits.config import Config, Thresholds
from experiments.diffusion.digits.train import model
from experiments.framework.registry import Experiment

__all__ = ["EXPERIMENT", "Config", "Thresholds", "model"]

_DEMO: dict[str, Any] = {"seeds": (0,), "shuffled_steps": 0}

EXPERIMENT = Experiment(
    name="digits",
    question="Does a small diffusion model learn real handwritten digits, judged without trusting the model?",
    config=Config,
    presets={"full": Config(), "demo": Config(**_DEMO, train_steps=1400, samples=2000, guided_samples=2000)},
    smoke=Config(
        **_DEMO,
        train_steps=4,
        warmup=1,
        batch=16,
        channels=(8,),
        sampling_steps=4,
        samples=40,
        guided_samples=40,
        control_samples=40,
        together=40,
        draws=3,
        draw_size=30,
    ),
    train=train.train,
    evaluate=judge.evaluate,
    sample=image_sampling.command(model),
)
