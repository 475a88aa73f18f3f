"""How often does a training succeed, whatever its seed and learning rate, and do training curves oscillate?

    python -m experiments run gan-stability

Seven GANs and the library's diffusion learn the grid of 25 modes, each at three learning rates and with five seeds: its own rate, and a
quarter and four times of it. All trainings cost the same number of operations. A run succeeds when it covers all modes and more than 80 %
of its samples are good. Fisher's exact test compares each method with diffusion. What share of a critic's loss swings slowly is a
number from its spectrum, with diffusion's loss and losses in random order beside it.
"""

from typing import Any

from experiments.adversarial.gan_stability import draw, figures, judge, train
from experiments.adversarial.gan_stability.config import Config, Success, Thresholds, check
from experiments.adversarial.training_numbers import Numbers
from gendiff.runs.registry import Experiment
from gendiff.runs.reporting.answers import Answer, Cell, Change

__all__ = ["EXPERIMENT", "Config", "Success", "Thresholds"]

_FEW: dict[str, Any] = {"width": 16, "depth": 1, "batch": 16, "denoising_batch": 16, "samples": 50, "last_samples": 100}

ANSWER = Answer(
    roles={
        "oscillation": "E26",
        "diffusion": "E30",
        "p-value": "E30",
        "difference": "E30",
        "steady": "E30",
        "shuffled": "check",
        "noise-runs": "check",
        "exact-runs": "check",
    },
    text="diffusion in {diffusion:.0%} of 15 runs, the plain GAN in {plain:.0%}; "
    "the GAN's loss hardly swings ({oscillation:.2f} of it is slow, of noise {noise:.2f})",
    statements={
        "E26": "The plain GAN's loss hardly swings: {oscillation:.2f interval} of its variance is slow, "
        "of white noise {noise:.2f}; 0.5 was expected",
        "E27": "With a tenth of the operations of gan-modes, WGAN-GP succeeds in {penalised:.2f interval} of 15 runs, "
        "the plain GAN in {plain:.2f}",
        "E30": "Diffusion succeeds in {diffusion:.2f interval} of 15 runs at 3 learning rates, a GAN in {plain:.2f}",
    },
    numbers={
        "plain": Cell("Runs that succeed", ("GAN",), "share"),
        "penalised": Cell("Runs that succeed", ("WGAN-GP",), "share"),
        "noise": Cell("Spectrum", ("GAN",), "white noise"),
    },
    before=(
        Change(
            "2026-11-27",
            "ae97ea9",
            "A training costs 5e10 operations instead of 1e11; no full run came before.",
            "With it the three studies of GANs take about an hour together.",
        ),
    ),
)

EXPERIMENT = Experiment(
    name="gan-stability",
    question="How often does a training succeed, whatever its seed and learning rate, and do training curves oscillate?",
    config=Config,
    presets={"full": Config()},
    smoke=Config(
        seeds=(0, 1),
        paces=(0.5, 1.0),
        methods=("vanilla", "diffusion"),
        points=Numbers(flops=1e7, noise=2, **_FEW),
        shares=(0.5, 1.0),
        sampling_steps=4,
        slowest=16,
        fastest=4,
    ),
    train=train.train,
    evaluate=judge.evaluate,
    plots=figures.plots,
    sample=draw.COMMAND,
    check=check,
    answer=ANSWER,
)
