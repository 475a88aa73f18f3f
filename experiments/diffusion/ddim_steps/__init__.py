"""Does DDIM in 20-50 steps lose quality against 1,000 steps, and what do the best few-step samplers add?

    python -m experiments run ddim-steps

trains one small network a seed on DDPM's own process (1,000 levels, linear variances, noise prediction) and draws the same 5,000 samples,
that is the same labels and the same x_T, by DDPM and DDIM in 1,000 to 5 steps, and by samplers made for few steps.

The network is smaller than that of `digits` because of the budget: 43 million evaluations of it take 40 minutes on 2 idle cores, 76
beside other work. Finished sets are kept in the folder `samples` of the run, and a run that was interrupted goes on with the next one;
delete the folder when the results are written.

Figures to expect, Fréchet distances in floors: DDIM 1.7 at 1,000 steps, 1.8 at 50, 2.0 at 20, 2.5 at 10; DDPM 1.6 at 1,000 and 2.2 at 20;
DPM-Solver++ 2M 1.6 at 10 evaluations.
"""

import dataclasses

from experiments.diffusion import image_sampling, image_training
from experiments.diffusion.ddim_steps import draw, judge
from experiments.diffusion.image_model import Model
from experiments.framework.progress import Progress
from experiments.framework.registry import Experiment, Outcome
from experiments.framework.run_folder import RunFolder
from gendiff.data.digits import load
from gendiff.diffusion import parameterization, schedules
from gendiff.diffusion.types import Batch


@dataclasses.dataclass(frozen=True)
class Thresholds:
    """Written down before the run."""

    equivalence: float = 0.1
    """Largest relative difference of two Fréchet distances that still counts as none."""
    speedup: float = 15.0
    """Least ratio of the times of DDPM in all steps and DDIM in `fast` of them; counting evaluations it is 20."""


@dataclasses.dataclass(frozen=True)
class Config(image_training.Learning):
    """Every number of the experiment, those of `Learning` among them."""

    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds of training; each trains a network of its own."""
    train_steps: int = 1600
    """Optimizer steps."""
    levels: int = 1000
    """Levels of the process, with DDPM's linear variances."""
    steps: tuple[int, ...] = (1000, 250, 100, 50, 20, 10, 5)
    """Steps of DDPM and DDIM; the first is what all others are held against."""
    few: tuple[str, ...] = tuple(draw.FEW)
    """Samplers of few steps."""
    budgets: tuple[int, ...] = (5, 10, 20)
    """Most evaluations of the samplers of few steps."""
    equivalent: tuple[int, ...] = (20, 50)
    """Steps of DDIM that are claimed to lose nothing, each one of `steps`."""
    same: int = 250
    """Steps of DDIM that must be found equivalent: the positive control, one of `steps`."""
    coarse: int = 5
    """Steps of DDIM that must be found different, one of `steps`."""
    coarse_chain: int = 20
    """Steps of DDPM that must be found different, one of `steps`."""
    fast: int = 50
    """Steps of DDIM whose time is held against that of DDPM in all steps, one of `steps`."""
    samples: int = 5000
    """Samples of each set, class-balanced."""
    together: int = 500
    """Samples drawn in one call."""
    draws: int = 20
    """Draws behind each Fréchet distance in floors, precision and recall."""
    draw_size: int = 1000
    """Samples in a draw."""
    resamples: int = 400
    """Bootstrap resamples of each equivalence test."""
    pairs: int = 7
    """Interleaved timings of `together` samples by each of the methods that are timed."""
    thresholds: Thresholds = Thresholds()


def model(config: Config) -> Model:
    """The network of the digits experiment in this size, on DDPM's process."""
    return image_training.model(config, schedules.linear(config.levels), parameterization.noise())


def train(config: Config, folder: RunFolder, progress: Progress) -> None:
    """One network a seed."""
    split, made, optimizer = load(), model(config), image_training.optimizer(config)
    data = Batch(clean=split.train_images, condition=(split.train_labels,))
    loss = image_training.loss(config, made)
    for seed in config.seeds:
        image_training.learn(config, loss, optimizer, made.init, data, folder, progress, seed=seed, steps=config.train_steps)


def evaluate(config: Config, folder: RunFolder, progress: Progress) -> Outcome:
    """Draws every set that is not in the folder yet, and compares them."""
    return judge.evaluate(config, model(config), folder, progress)


EXPERIMENT = Experiment(
    name="ddim-steps",
    question="Does DDIM in 20-50 steps lose quality against 1,000 steps, and what do the best few-step samplers add?",
    config=Config,
    presets={"full": Config()},
    smoke=Config(
        seeds=(0,),
        train_steps=4,
        batch=16,
        warmup=1,
        channels=(8,),
        levels=30,
        steps=(30, 20, 10, 5, 2),
        few=("DDIM", "Heun"),
        budgets=(2, 5),
        equivalent=(5, 10),
        same=20,
        coarse=2,
        coarse_chain=5,
        fast=2,
        samples=80,
        together=40,
        draws=3,
        draw_size=60,
        resamples=5,
        pairs=2,
    ),
    train=train,
    evaluate=evaluate,
    sample=image_sampling.command(model),
)
