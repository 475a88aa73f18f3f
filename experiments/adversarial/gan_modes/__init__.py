"""Which modes of the data does a GAN lose, which cures help, and does diffusion lose any at equal training FLOPs?

    python -m experiments run gan-modes

Seven GANs and the library's diffusion learn a ring of 8 modes, a grid of 25, and pictures of three stacked digits, which have 1,000 modes.
All networks are equally wide and deep, and every training costs the same number of operations, as XLA counts them: a method whose step
costs more takes fewer. A mode counts when it has a tenth of its fair share of good samples. An exact sampler and uniform noise stand beside
them as what covers everything and what must cover nothing.
"""

from typing import Any

from experiments.adversarial.gan_modes import draw, judge, train
from experiments.adversarial.gan_modes.config import Config, Numbers, Thresholds, check
from gendiff.runs.registry import Experiment

__all__ = ["EXPERIMENT", "Config", "Numbers", "Thresholds"]

_FEW: dict[str, Any] = {"width": 16, "depth": 1, "batch": 16, "denoising_batch": 16, "samples": 100, "last_samples": 200}
_SMOKE: dict[str, Any] = {
    "methods": ("vanilla", "gradient-penalty", "diffusion"),
    "targets": ("ring", "grid"),
    "transported": 50,
    "shares": (1.0,),
}

EXPERIMENT = Experiment(
    name="gan-modes",
    question="Which modes of the data does a GAN lose, which cures help, and does diffusion lose any?",
    config=Config,
    presets={"full": Config()},
    smoke=Config(
        seeds=(0, 1),
        points=Numbers(flops=2e6, noise=2, **_FEW),
        pictures=Numbers(flops=2e7, noise=8, waves=0, gradient_weight=10.0, **_FEW),
        sampling_steps=4,
        log_every=1,
        **_SMOKE,
    ),
    train=train.train,
    evaluate=judge.evaluate,
    sample=draw.COMMAND,
    check=check,
)
