"""Is a sample a function of (parameters, key, index), and does one compile serve a whole grid of settings?

    python -m experiments run invariance

trains the network of `digits` for a minute and draws the same samples in many ways: alone, among others, in another order, padded, in
chunks, on 8 devices. Everything but the index may change, and nothing of a sample may. Below 15 minutes on 2 cores; figures to expect:
no full run has been measured yet.
"""

import dataclasses

from experiments.diffusion import digits, image_sampling
from experiments.diffusion.image_model import Model
from experiments.diffusion.invariance import draw, judge, samplers
from experiments.framework import training_loop
from experiments.framework.progress import Progress
from experiments.framework.registry import Experiment, Outcome
from experiments.framework.run_folder import RunFolder
from gendiff.data.digits import load
from gendiff.diffusion import objectives, weighting
from gendiff.diffusion.types import Batch
from gendiff.training import optimizers


@dataclasses.dataclass(frozen=True)
class Thresholds:
    """Written down before the run. Differences are the largest of any pixel; a network's are divided by max(1, rms of the samples)."""

    noise: float = 0.0
    """Largest share of noise values that differ in any bit."""
    shared_noise: float = 0.5
    """Noise drawn from one key for the whole batch must differ in at least this share."""
    oracle: float = 5e-6
    """Largest difference after 50 evaluations of an exact denoiser."""
    network: float = 1e-4
    """Largest difference after 50 evaluations of a trained network at guidance 1 to 3."""
    guided: float = 3e-4
    """Largest difference at guidance above 3; samplers that look at the whole batch must exceed it."""
    traces: float = 1.0
    """Most traces of one sampler for all values of its settings."""
    static_traces: float = 2.0
    """A step count that is part of the program must need at least so many traces."""
    settings: float = 1.0
    """Least share of settings whose samples are their own: a value that is ignored would need no trace either."""


@dataclasses.dataclass(frozen=True)
class Config:
    """Every number of the experiment."""

    seeds: tuple[int, ...] = (0, 1)
    """Seeds of training; each trains a network of its own."""
    train_steps: int = 600
    """Optimizer steps."""
    batch: int = 64
    """Images a step."""
    learning_rate: float = 1e-3
    """Peak learning rate of AdamW."""
    warmup: int = 50
    """Steps until the learning rate peaks."""
    ema: float = 0.99
    """Decay of the parameter average that is sampled from, a step."""
    channels: tuple[int, ...] = (32, 64)
    """Channels of the U-Net at 8×8 and 4×4 pixels."""
    blocks: int = 1
    """Residual blocks a level."""
    sampling_steps: int = 50
    """Steps of each draw, of one evaluation each but for samplers that need more."""
    guidance: tuple[float, ...] = (1.0, 3.0, 7.5)
    """Scales of classifier-free guidance."""
    etas: tuple[float, ...] = (0.0, 1.0)
    """Noise scales of DDIM."""
    samples: int = 16
    """Samples that are drawn in every way, a multiple of 8 (the devices)."""
    alone: int = 4
    """How many of them are also drawn one by one."""
    small: int = 4
    """Samples in a small batch, a divisor of `samples`."""
    crowd: int = 64
    """Samples in the largest batch."""
    chunk: int = 5
    """Samples in a chunk."""
    ways: tuple[str, ...] = draw.WAYS
    """Ways to draw them, besides all at once."""
    sampler_ways: tuple[str, ...] = ("alone", "shuffled", "chunks")
    """Ways to draw with every sampler of the library, from an exact denoiser."""
    samplers: tuple[str, ...] = samplers.SAMPLERS
    """Samplers of the library."""
    trace_steps: tuple[int, ...] = (5, 20, 50)
    """Numbers of steps, each 2 or more, that share one trace."""
    checkpoint_every: int = 300
    """Steps between checkpoints."""
    thresholds: Thresholds = Thresholds()


def model(config: Config) -> Model:
    """The network of the digits experiment, in this size."""
    return digits.model(digits.Config(channels=config.channels, blocks=config.blocks, ema=config.ema))


def train(config: Config, folder: RunFolder, progress: Progress) -> None:
    """One network a seed."""
    made, split = model(config), load()
    optimizer = optimizers.adamw(config.learning_rate, warmup=config.warmup, total=config.train_steps, clip=1.0)
    loss = objectives.denoising(
        made.predict, made.schedule, made.parameterization, levels=weighting.stratified_levels(), drop_condition=0.1
    )
    for seed in config.seeds:
        training_loop.train(
            loss,
            optimizer,
            made.init,
            Batch(clean=split.train_images, condition=(split.train_labels,)),
            seed=seed,
            steps=config.train_steps,
            batch=config.batch,
            folder=folder,
            progress=progress,
            ema=(config.ema,),
            checkpoint_every=config.checkpoint_every,
        )


def evaluate(config: Config, folder: RunFolder, progress: Progress) -> Outcome:
    """Draws in every way and counts traces."""
    return judge.evaluate(config, model(config), folder, progress)


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
