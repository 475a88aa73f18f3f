"""Does a small diffusion model learn real handwritten digits?

    python -m experiments run digits --preset demo    one seed, few evaluations; 4 minutes
    python -m experiments run digits                  three seeds and every control; 14 minutes

A class-conditional U-Net learns the flow from 1,347 digits of 8×8 pixels to noise; DDIM in 50 steps draws from its average. Each of the two
contracts the samples towards the mean of their class, so they start from noise of a temperature above 1. What a temperature of 1 gives is
in the table beside. The demo draws as `sample` does by default, with fewer evaluations. The figures to expect are in
experiments/results/digits/README.md.
"""

from typing import Any

from experiments.diffusion.digits import judge
from experiments.diffusion.digits.config import Config, Thresholds, check, model
from gendiff.commands.images import image_sampling, image_training, sampling_options
from gendiff.runs.registry import Experiment

__all__ = ["EXPERIMENT", "Config", "Thresholds", "model"]

_DEMO: dict[str, Any] = {"seeds": (0,), "shuffled_steps": 0}
_QUICK: dict[str, Any] = {"sampling_steps" if name == "steps" else name: value for name, value in sampling_options.FEW.items()}
_FEW: dict[str, Any] = {"samples": 40, "guided_samples": 40, "control_samples": 40, "together": 40, "draws": 3, "draw_size": 30}

EXPERIMENT = Experiment(
    name="digits",
    question="Does a small diffusion model learn real handwritten digits, judged without trusting the model?",
    config=Config,
    presets={"full": Config(), "demo": Config(**_DEMO, **_QUICK, train_steps=1400, samples=2000, guided_samples=2000)},
    smoke=Config(**image_training.SMOKE, **_DEMO, **_FEW, sampling_steps=4),
    train=judge.train,
    evaluate=judge.evaluate,
    sample=image_sampling.command(model),
    check=check,
    processes=True,
)
