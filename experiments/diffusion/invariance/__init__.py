"""Is a sample a function of (parameters, key, index), and does one compile serve a whole grid of settings?

    python -m experiments run invariance

trains the network of `digits` for a minute and draws the same samples in many ways: alone, among others, in another order, padded, in
chunks, on 8 devices. Everything but the index may change, and nothing of a sample may. It takes 15 minutes or less on 2 cores. The
figures to expect are in experiments/results/invariance/README.md.
"""

from experiments.diffusion import image_sampling
from experiments.diffusion.invariance.config import Config, Thresholds
from experiments.diffusion.invariance.judge import evaluate
from experiments.diffusion.invariance.train import model, train
from experiments.framework.registry import Experiment

__all__ = ["EXPERIMENT", "Config", "Thresholds"]

EXPERIMENT = Experiment(
    name="invariance",
    question="Is a sample a function of (parameters, key, index), and does one compile serve a whole grid of settings?",
    config=Config,
    presets={"full": Config()},
    smoke=Config(
        seeds=(0,),
        train_steps=4,
        batch=16,
        warmup=1,
        channels=(8,),
        sampling_steps=3,
        guidance=(1.0, 7.5),
        samples=8,
        small=2,
        ways=("shuffled",),
        sampler_ways=("shuffled",),
        samplers=("ddim",),
        trace_steps=(2, 3),
    ),
    train=train,
    evaluate=evaluate,
    sample=image_sampling.command(model),
)
