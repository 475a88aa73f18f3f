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
from gendiff.runs.reporting.answers import Answer, Change

__all__ = ["EXPERIMENT", "Config", "Thresholds", "model"]

_DEMO: dict[str, Any] = {"seeds": (0,), "shuffled_steps": 0}
_QUICK: dict[str, Any] = {"sampling_steps" if name == "steps" else name: value for name, value in sampling_options.FEW.items()}
_FEW: dict[str, Any] = {"samples": 40, "guided_samples": 40, "control_samples": 40, "together": 40, "draws": 3, "draw_size": 30}

ANSWER = Answer(
    roles={
        **dict.fromkeys(("frechet", "accuracy", "precision", "recall", "copies"), "E1"),
        **dict.fromkeys(("guided-accuracy", "untrained-*", "two-steps", "gaussian-*"), "check"),
        **dict.fromkeys(("smote-copies", "noisy-copies", "shuffled-accuracy"), "check"),
    },
    text="yes: {frechet:.2f} times real data's Fréchet distance, and {accuracy:.0%} of the digits are those asked for",
    statements={
        "E1": "Digits: samples are {frechet:.2f interval} times as far from held-out digits as training digits are; "
        "{recall:.0%} of held-out ones lie among them",
    },
    picture="guidance_1.png",
    before=(
        Change(
            "2026-11-24",
            "d53a8a8",
            "A run of one seed and 3,000 steps, not committed: recall was 0.735 where 0.8 is needed; all else passed.",
            "Samples were shrunk towards the means of their classes.",
        ),
        Change(
            "2026-11-24",
            "6c2f936",
            "The flow took the place of velocity on the cosine schedule, batches of 64 that of 128, 2,000 steps that "
            "of 1,600, "
            "and sampling began from noise of temperature 1.04.",
            "DDIM in 50 steps and the network each contract samples by about 3 %.",
        ),
        Change(
            "2026-11-24",
            "6a55d97",
            "Training took 1,600 steps again, and the temperature was 1.05.",
            "No reason is recorded. The thresholds are those from before the first of these runs.",
        ),
    ),
)

EXPERIMENT = Experiment(
    name="digits",
    question="Does a small diffusion model learn real handwritten digits, judged without trusting the model?",
    config=Config,
    presets={"full": Config(), "demo": Config(**_DEMO, **_QUICK, train_steps=1400, samples=2000, guided_samples=2000)},
    smoke=Config(**image_training.SMOKE, **_DEMO, **_FEW, sampling_steps=4),
    train=judge.train,
    evaluate=judge.evaluate,
    plots=judge.plots,
    sample=image_sampling.command(model),
    check=check,
    processes=True,
    answer=ANSWER,
)
