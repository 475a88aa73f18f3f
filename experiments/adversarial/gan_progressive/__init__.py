"""Does progressive growing give a better GAN at equal cost, and where does a GAN still win against diffusion?

    python -m experiments run gan-progressive

Three trainings learn digits of 8×8 pixels and emoji of 32×32. A pair that grows from 4×4 pixels and one that does not are the same networks
and do equally many operations. A diffusion model trains for the seconds of the pair that does not grow. Fréchet distance, recall and
near-copies are measured against held-out pictures. A picture of a GAN is one evaluation; one of diffusion is 10 or 50, and both are
timed in turn. An untrained generator, and training pictures as if they were samples, stand beside them as what must be told apart.
"""

from typing import Any

from experiments.adversarial.gan_progressive import draw, judge, train
from experiments.adversarial.gan_progressive.config import Config, PictureNumbers, Thresholds, check
from gendiff.commands.images.image_training import Recipe
from gendiff.runs.registry import Experiment
from gendiff.runs.reporting.answers import Answer, Change

__all__ = ["EXPERIMENT", "Config", "PictureNumbers", "Thresholds"]

_DENOISER = Recipe(batch=8, warmup=1, channels=(8,))
_PAIR: dict[str, Any] = {"width": 4, "widest": 8, "noise": 4, "batch": 8, "slopes_weight": 0.0, "samples": 16, "draw_size": 12}

ANSWER = Answer(
    roles={
        "progressive-*": "E29",
        "recall-*": "E29",
        "copies-*": "check",
        "equal-*": "check",
        "few-*": "check",
        "many-*": "check",
        "copied-*": "check",
        "untrained-*": "check",
        "mean-picture-*": "check",
    },
    text="no, not at these sizes: {progressive-digits:.2f} times the Fréchet distance on digits; "
    "but a GAN draws {few-digits:.0f} times as fast as diffusion",
    statements={
        "E29": "At equal cost a GAN that grows has {progressive-digits:.2f interval} times the Fréchet distance "
        "of one that does not on digits, {progressive-emoji:.2f} times on emoji",
        "E30": "A GAN draws faster: 10 steps of diffusion take {few-digits:.0f interval} times as long for a digit",
    },
    picture="samples_emoji.png",
    before=(
        Change(
            "2026-11-30",
            "9fdd4e3",
            "Both Fréchet distances and the recall of digits are open; they pass in some seeds and fail in others.",
            "Claims are judged by the mean over seeds, in all studies.",
        ),
    ),
)

EXPERIMENT = Experiment(
    name="gan-progressive",
    question="Does progressive growing give a better GAN at equal cost, and where does a GAN still win against diffusion?",
    config=Config,
    presets={"full": Config()},
    smoke=Config(
        seeds=(0,),
        subjects=("digits",),
        digits=PictureNumbers(flops=2e7, denoiser=_DENOISER, **_PAIR),
        shares=(0.5, 1.0),
        few=2,
        many=4,
        together=16,
        rounds=2,
        call_seconds=0.001,
        draws=3,
        log_every=1,
    ),
    train=train.train,
    evaluate=judge.evaluate,
    sample=draw.COMMAND,
    check=check,
    answer=ANSWER,
)
