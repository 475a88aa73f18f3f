"""Which noise schedule learns digits best at equal budget: linear, cosine, sigmoid or learned?

    python -m experiments run schedules

trains the class-conditional U-Net with each schedule from the same seeds, by the same number of steps and the same loss (uniform weight
on the velocity's squared error, u spread evenly over each schedule's own [0, 1]), and samples each with as many DDIM steps. The learned
schedule (Kingma et al., 2021) has the ends of the linear one; its own objective costs `schedule_batch` further evaluations per step, which
move the schedule and not the network. Measured on held-out digits: an upper bound on bits per dimension, with prior and decoder terms
over the 17 values of a pixel, from a log-SNR that all share, and the Fréchet distance of samples.

24 minutes on 2 cores beside another run. Figures to expect, bits and Fréchet distances in floors: cosine 2.00 and 1.45, sigmoid 2.08 and
1.44, linear 2.12 and 1.75, learned 2.00 and 2.5.
"""

from experiments.diffusion.schedules import judge, train
from experiments.diffusion.schedules.config import Config, Thresholds
from experiments.framework.registry import Experiment

__all__ = ["EXPERIMENT", "Config", "Thresholds"]

EXPERIMENT = Experiment(
    name="schedules",
    question="Which noise schedule learns digits best at equal budget: linear, cosine, sigmoid or learned?",
    config=Config,
    presets={"full": Config()},
    smoke=Config(
        names=("linear", "cosine"),
        loud_seeds=0,
        seeds=(0, 1),
        train_steps=4,
        warmup=1,
        batch=16,
        schedule_batch=8,
        hidden=4,
        channels=(8,),
        sampling_steps=4,
        samples=40,
        control_samples=40,
        together=40,
        draws=3,
        draw_size=30,
        bound_draws=2,
    ),
    train=train.train,
    evaluate=judge.evaluate,
)
